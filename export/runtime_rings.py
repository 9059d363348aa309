"""States that are rings (`manifest`): a call's new rows are written over the oldest and no other moves. Needs numpy alone."""

from collections.abc import Mapping

import numpy as np

Array = np.ndarray
Place = tuple[int | slice, ...]
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
    for stream, position in enumerate(states[POSITION].tolist()):
        places: dict[tuple[int, int, int], list[tuple[Place, Place]]] = {}  # the same for rings of one size
        for name, axis in axes.items():
            ring, new = states[name], rows[name]
            kind = axis, ring.shape[axis], new.shape[axis]
            if kind not in places:
                before = stream, *[slice(None)] * (axis - 1)
                places[kind] = [((*before, to), (*before, of)) for to, of in spans(position, *kind[1:])]
            for to, of in places[kind]:
                ring[to] = new[of]


def spans(position: int, size: int, count: int) -> list[tuple[slice, slice]]:
    """Return where in a ring of `size` which of `count` rows from `position` on are written: all, or the last that it holds."""
    found, first = [], max(0, count - size)
    while first < count:
        slot = (position + first) % size
        stop = min(count, first + size - slot)
        found.append((slice(slot, slot + stop - first), slice(first, stop)))
        first = stop
    return found
