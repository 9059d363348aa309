"""States that are rings (`manifest`): a call's new rows are written over the oldest and no other moves. Needs numpy alone."""

from collections.abc import Mapping

import numpy as np

Array = np.ndarray
POSITION = "state.position"  # int64 [batch]: rows so far of each stream


def states_after(before: Mapping[str, Array], given: dict[str, Array], axes: Mapping[str, int]) -> dict[str, Array]:
    """Return the states after a call, by their names before it.

    Args:
        before: what the call was given; its rings are written to.
        given: what the call gave in their places.
        axes: of the slots of those that are rings.
    """
    write_rows(before, given, axes)
    return {**given, **{name: before[name] for name in axes}}


def write_rows(states: Mapping[str, Array], rows: Mapping[str, Array], axes: Mapping[str, int]) -> None:
    """Write the rows that a call gave into the rings that it was given, in place."""
    if not axes:
        return
    positions = states[POSITION].tolist()
    for name, axis in axes.items():
        for ring, new, position in zip(states[name], rows[name], positions, strict=True):
            _write(ring.swapaxes(0, axis - 1), new.swapaxes(0, axis - 1), position)


def _write(ring: Array, rows: Array, position: int) -> None:
    """Write the rows from `position` on into the ring of one stream, slots first: all of them, or the last that it holds."""
    size, count = len(ring), len(rows)
    first = max(0, count - size)
    while first < count:
        slot = (position + first) % size
        stop = min(count, first + size - slot)
        ring[slot : slot + stop - first] = rows[first:stop]
        first = stop
