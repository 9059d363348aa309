"""Recordings shared out to batches so that little time is spent on padding, and little on batches of few."""

from collections.abc import Sequence


def in_batches(lengths: Sequence[int], most: float, each: float) -> list[range]:
    """Return ranges of items that are coded together, the cheapest of all ways to part them.

    A batch costs its items times the longest of them, which the others are padded to, and `each` on top.

    Args:
        lengths: of the items in samples, ascending.
        most: samples that a batch may have, padding included; an item that is longer is alone.
        each: what a batch costs beside its samples, in samples.
    """
    costs, starts = [0.0], [0]  # of the first n items, and where the last of their batches starts
    for stop, longest in enumerate(lengths, 1):
        first = max(0, stop - max(1, int(most // longest))) if longest else 0
        cost, start = min((costs[start] + (stop - start) * longest + each, start) for start in range(first, stop))
        costs.append(cost)
        starts.append(start)
    parts, stop = [], len(lengths)
    while stop:
        parts.append(range(starts[stop], stop))
        stop = starts[stop]
    return parts[::-1]
