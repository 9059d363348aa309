"""Rings hold the last rows of every stream, each in the slot of its own position."""

import numpy as np
import pytest

from toneme.export.runtime_rings import states_after, write_rows

SIZE = 5


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("counts", [[1] * 13, [2, 3, 4, 2], [5, 5, 1], [3, 17, 2], [12]])
def test_every_slot_holds_the_last_row_that_belongs_there(axis, counts):
    start = np.array([0, 3, 1000])
    shape = [3, SIZE, 2] if axis == 1 else [3, 2, SIZE]
    states = {"state.position": start.copy(), "state.x": np.zeros(shape, np.int64)}
    for count in counts:
        places = states["state.position"][:, None] + np.arange(count)
        rows = np.stack([places, -places], axis=3 - axis)
        given = {"state.position": states["state.position"] + count, "state.x": rows}
        ring = states["state.x"]
        states = states_after(states, given, {"state.x": axis})
        assert states["state.x"] is ring
    for stream in range(3):
        written = range(start[stream], start[stream] + sum(counts))
        for slot in range(SIZE):
            last = max((place for place in written if place % SIZE == slot), default=0)
            assert states["state.x"][stream].take(slot, axis - 1).tolist() == [last, -last]


def test_states_without_rings_are_what_the_call_gave():
    given = {"state.total": np.ones(2)}
    assert states_after({"state.total": np.zeros(2)}, given, {}) == given
    write_rows({}, {}, {})
