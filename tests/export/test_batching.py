"""Calls that wait at the same time run together, and each gets its own results."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from toneme.export.batching import COMPANY, BatchingCodec, BatchingSession
from toneme.export.golden import made_audio
from toneme.export.runtime import StreamingCodec

from .agreement import check_share


class Slow:
    """A session that doubles what it gets, once it is let."""

    def __init__(self) -> None:
        self.go, self.sizes = threading.Event(), []

    def get_inputs(self):
        return [type("Value", (), {"name": "x", "shape": ["batch", "n"]}), type("Value", (), {"name": "length", "shape": [1]})]

    def get_outputs(self):
        return [type("Value", (), {"name": "y", "shape": ["batch", "n"]})]

    def run(self, outputs, inputs):
        assert self.go.wait(10)
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise RuntimeError("negative")
        return [2 * inputs["x"] + inputs["length"]]


@pytest.fixture
def slow() -> Slow:
    return Slow()


def started(pool, session, arrays, lengths):
    """Start a call for each array and wait until all but the first are waiting."""
    calls = [
        pool.submit(lambda a=a, n=n: session.run(["y"], {"x": a, "length": np.array([n])})[0])
        for a, n in zip(arrays, lengths, strict=True)
    ]
    while session.joined + len(session._waiting) < len(calls):
        threading.Event().wait(0.001)
    return calls


def test_calls_of_one_kind_run_together(slow):
    session = BatchingSession(slow, runners=1)
    arrays = [np.full((1 + n % 2, 3 if n < 6 else 4), n) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        calls = started(pool, session, arrays, [0] * 5 + [7] + [0] * 2)
        slow.go.set()
        for n, (call, array) in enumerate(zip(calls, arrays, strict=True)):
            np.testing.assert_array_equal(call.result(10), 2 * array + (7 if n == 5 else 0))
    session.close()
    assert sum(slow.sizes) == sum(map(len, arrays))
    assert len(slow.sizes) == session.calls <= 5  # the first, the rest of its kind, the one of another length, those of 4
    assert session.joined == 8


def test_a_call_that_comes_alone_waits_for_nobody(slow):
    slow.go.set()
    session = BatchingSession(slow, patience=3600)
    np.testing.assert_array_equal(run_one(session, 1).result(10), [[2]])
    session.close()


def test_calls_that_come_often_wait_for_company_though_the_processor_is_free(slow):
    slow.go.set()
    session = BatchingSession(slow, runners=4, most=6, patience=3600)
    calls = [run_one(session, n) for n in range(COMPANY - 1)]
    [call.result(10) for call in calls]  # from here on they come often
    calls = [run_one(session, n) for n in range(6)]
    assert [call.result(10).item() for call in calls] == [0, 2, 4, 6, 8, 10]
    session.close()
    assert max(slow.sizes) == 6


def run_one(session, number) -> Future:
    """Call in a thread of its own, and return once the call waits or has run."""
    seen, result = session.joined + len(session._waiting), Future()
    call = lambda: result.set_result(session.run(["y"], {"x": np.array([[number]]), "length": np.zeros(1)})[0])  # noqa: E731
    threading.Thread(target=call, daemon=True).start()
    while session.joined + len(session._waiting) == seen:
        threading.Event().wait(0.001)
    return result


def test_an_error_reaches_all_whom_it_concerns_and_nobody_else(slow):
    session = BatchingSession(slow, runners=1)
    with ThreadPoolExecutor(2) as pool:
        bad, good = started(pool, session, [np.array([[-1]]), np.array([[1, 2]])], [0, 0])
        slow.go.set()
        with pytest.raises(RuntimeError, match="negative"):
            bad.result(10)
        np.testing.assert_array_equal(good.result(10), [[2, 4]])
    session.close()


def test_streams_together_are_streams_alone(small_folder):
    items = [made_audio(24000, 1, 0.3 + 0.1 * n) for n in range(6)]
    alone, together = StreamingCodec(small_folder), BatchingCodec(small_folder)

    def code(item):
        encoder, decoder = together.encoder(), together.decoder()
        codes = [encoder.push(item[..., i : i + 960]) for i in range(0, item.shape[-1], 960)] + [encoder.flush()]
        sound = [decoder.push(piece) for piece in codes] + [decoder.flush()]
        return np.concatenate(codes, -1), np.concatenate(sound, -1)

    with ThreadPoolExecutor(6) as pool:
        for item, (codes, sound) in zip(items, pool.map(code, items), strict=True):
            check_share(codes, alone.encode(item), least=0.99)
            np.testing.assert_allclose(sound, alone.decode(codes), atol=1e-5, rtol=0)
    together.close()
