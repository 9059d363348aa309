"""Streams of many clients in few calls of a graph: whatever waits at the same time in the same shape is run together.

Where calls come seldom none waits for company: one that finds the processor free runs alone. Where they come often, a call
waits `PATIENCE` for others, since the weights are read once for all of them: 32 streams together take a third of the time that
they take alone. Rows of a batch do not see each other, but products of another shape round otherwise, so that a code whose two
best scores are a rounding error apart may depend on the company.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from .runtime import StreamingCodec
from .runtime_streams import Array

MOST = 32  # calls run together: more gain nothing, and take memory
PATIENCE = 0.02  # seconds
COMPANY = 4  # calls within that time, from which on waiting gains more than it costs


class BatchingCodec(StreamingCodec):
    """A `StreamingCodec` whose streams share calls; each stream is used as ever, in a thread of its own.

    Args:
        folder: what `codec export` made.
        runners: calls of each graph that run side by side, each on one core.
        patience: seconds that a call waits for others where calls come often.
    """

    def __init__(self, folder: str | Path, runners: int = 2, patience: float = PATIENCE) -> None:
        super().__init__(folder, threads=1)
        self.runners, self.patience = runners, patience
        self._batching: dict[str, BatchingSession] = {}
        self._making = threading.Lock()

    def session(self, file: str) -> "BatchingSession":  # the part of a session that streams use
        """Return the loaded graph of a file, calls of which are joined."""
        with self._making:
            if file not in self._batching:
                self._batching[file] = BatchingSession(super().session(file), self.runners, patience=self.patience)
            return self._batching[file]

    def close(self) -> None:
        """End the threads once what waits is done."""
        for session in self._batching.values():
            session.close()


class BatchingSession:
    """A session of ONNX Runtime whose `run` may be called from many threads and runs their inputs together."""

    def __init__(self, session: Any, runners: int = 2, most: int = MOST, patience: float = PATIENCE) -> None:
        self._session, self._most, self._patience = session, most, patience
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self._axes = {value.name: _batch_axis(value.shape) for value in (*session.get_inputs(), *session.get_outputs())}
        self._waiting: list[_Call] = []
        self._lately: deque[float] = deque(maxlen=COMPANY)  # when the last calls came
        self._ready = threading.Condition()
        self._pool = ThreadPoolExecutor(runners, thread_name_prefix="toneme-run")
        self.calls = self.joined = 0

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[Array]:
        """Return the named outputs for these inputs, as the session itself does."""
        call = _Call(tuple(outputs), inputs, self._axes)
        with self._ready:
            self._expect(call)
            self._waiting.append(call)
            if len(self._waiting) >= self._most:
                self._ready.notify()
        self._pool.submit(self._run_next)
        return call.result.result()

    def close(self) -> None:
        """End the threads once what waits is done."""
        self._pool.shutdown()

    def _expect(self, call: "_Call") -> None:
        """Say until when a call waits for company."""
        self._lately.append(now := time.monotonic())
        often = len(self._lately) == COMPANY and now - self._lately[0] < self._patience
        call.until = now + self._patience if often else now

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
        """Take the call that waits longest and those of its kind, once it has waited long enough or there are many."""
        with self._ready:
            while self._waiting:
                left = self._waiting[0].until - time.monotonic()
                if left <= 0 or len(self._waiting) >= self._most:
                    return self._take_kind(self._waiting[0].kind)
                self._ready.wait(left)
        return []

    def _take_kind(self, kind: tuple[Any, ...]) -> list["_Call"]:
        taken = [call for call in self._waiting if call.kind == kind][: self._most]
        gone = set(map(id, taken))
        self._waiting = [call for call in self._waiting if id(call) not in gone]
        self._ready.notify_all()  # others wait for the one that waited longest, which is gone
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
        self.outputs, self.inputs, self.until = outputs, inputs, 0.0
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
