"""Streams of many clients in few calls of a graph: whatever waits at the same time in the same shape is run together.

Nothing waits for company: a call that finds the processor free runs alone. Rows of a batch do not see each other, but products
of another shape round otherwise, so that a code whose two best scores are a rounding error apart may depend on the company.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from .runtime import StreamingCodec
from .runtime_streams import Array

MOST = 32  # calls run together: more gain nothing, and take memory


class BatchingCodec(StreamingCodec):
    """A `StreamingCodec` whose streams share calls; each stream is used as ever, in a thread of its own.

    Args:
        folder: what `codec export` made.
        runners: calls of each graph that run side by side, each on one core.
    """

    def __init__(self, folder: str | Path, runners: int = 2) -> None:
        super().__init__(folder, threads=1)
        self.runners = runners
        self._batching: dict[str, BatchingSession] = {}
        self._making = threading.Lock()

    def session(self, file: str) -> "BatchingSession":  # the part of a session that streams use
        """Return the loaded graph of a file, calls of which are joined."""
        with self._making:
            if file not in self._batching:
                self._batching[file] = BatchingSession(super().session(file), self.runners)
            return self._batching[file]

    def close(self) -> None:
        """End the threads once what waits is done."""
        for session in self._batching.values():
            session.close()


class BatchingSession:
    """A session of ONNX Runtime whose `run` may be called from many threads and runs their inputs together."""

    def __init__(self, session: Any, runners: int = 2, most: int = MOST) -> None:
        self._session, self._most = session, most
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self._axes = {value.name: _batch_axis(value.shape) for value in (*session.get_inputs(), *session.get_outputs())}
        self._waiting: list[_Call] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(runners, thread_name_prefix="toneme-run")
        self.calls = self.joined = 0

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Return the named outputs for these inputs, as the session itself does."""
        call = _Call(tuple(outputs), inputs, self._axes)
        with self._lock:
            self._waiting.append(call)
        self._pool.submit(self._run_next)
        return call.result.result()

    def close(self) -> None:
        """End the threads once what waits is done."""
        self._pool.shutdown()

    def _run_next(self) -> None:
        calls = self._take()
        if not calls:
            return  # an earlier call took this one's along
        try:
            for call, values in zip(calls, self._run(calls), strict=True):
                call.result.set_result(values)
        except Exception as error:  # of the runtime: each caller must hear of it
            for call in calls:
                call.result.set_exception(error)

    def _take(self) -> list["_Call"]:
        """Take the call that waits longest and those of its kind."""
        with self._lock:
            if not self._waiting:
                return []
            kind = self._waiting[0].kind
            taken = [call for call in self._waiting if call.kind == kind][: self._most]
            self._waiting = [call for call in self._waiting if call not in taken]
            self.calls, self.joined = self.calls + 1, self.joined + len(taken)
            return taken

    def _run(self, calls: list["_Call"]) -> list[list[Array]]:
        first, outputs = calls[0].inputs, calls[0].outputs
        if len(calls) == 1:
            return [self._session.run(outputs, first)]
        joined = {
            name: value if (axis := self._axes[name]) is None else np.concatenate([call.inputs[name] for call in calls], axis)
            for name, value in first.items()
        }
        values = self._session.run(outputs, joined)
        ends = np.cumsum([call.rows for call in calls])[:-1]
        parts = [np.split(value, ends, self._axes[name] or 0) for name, value in zip(outputs, values, strict=True)]
        # copies, since a view would keep the states of all alive as long as one of the streams lives
        return [[np.ascontiguousarray(part[n]).copy() for part in parts] for n in range(len(calls))]


class _Call:
    """Inputs that wait, and what becomes of them."""

    def __init__(self, outputs: tuple[str, ...], inputs: Mapping[str, Array], axes: Mapping[str, int | None]) -> None:
        self.outputs, self.inputs = outputs, inputs
        self.result: Future[list[Array]] = Future()
        self.rows = next(value.shape[axis] for name, value in inputs.items() if (axis := axes[name]) is not None)
        self.kind = (outputs, tuple(_kind(name, value, axes[name]) for name, value in inputs.items()))


def _kind(name: str, value: Array, axis: int | None) -> tuple[Any, ...]:
    """Return what inputs of one call must have in common: the shape of each item, or the values where there are no items."""
    if axis is None:
        return name, value.tobytes()
    return name, value.dtype.str, value.shape[:axis], value.shape[axis + 1 :]


def _batch_axis(shape: Sequence[int | str]) -> int | None:
    return list(shape).index("batch") if "batch" in shape else None
