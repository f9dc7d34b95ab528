"""Sets of packets: boxes, each the combinations of a set of numbers on every axis. Pure.

Firewall rules cut such boxes exactly where their matchers are exact, so two rules that each drop a half drop the whole.
"""

from __future__ import annotations

from collections.abc import Iterable

Spans = tuple[tuple[int, int], ...]
"""A set of numbers: first and last of each run, in order, with a gap between two runs."""
Box = tuple[Spans, ...]
"""The packets that have their number on each axis in that axis' set; no axis is empty."""


def spans(pairs: Iterable[tuple[int, int]]) -> Spans:
    """Return the set of all numbers in these runs, in whatever order they come and overlap."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(pair for pair in pairs if pair[0] <= pair[1]):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def both(one: Spans, other: Spans) -> Spans:
    """Return the numbers that are in both sets."""
    return spans((max(a, c), min(b, d)) for a, b in one for c, d in other)


def less(one: Spans, other: Spans) -> Spans:
    """Return the numbers of the first set that are not in the second."""
    left = list(one)
    for low, high in other:
        left = [part for a, b in left for part in ((a, min(b, low - 1)), (max(a, high + 1), b)) if part[0] <= part[1]]
    return tuple(left)


def meet(one: Box, other: Box) -> Box | None:
    """Return the packets that are in both boxes; None: there are none."""
    found = tuple(map(both, one, other))
    return found if all(found) else None


def minus(one: Box, other: Box) -> list[Box]:
    """Return boxes of the packets of the first that are not in the second."""
    if meet(one, other) is None:
        return [one]
    rest, current = [], one
    for axis, wanted in enumerate(other):
        left = less(current[axis], wanted)
        if left:
            rest.append((*current[:axis], left, *current[axis + 1 :]))
        current = (*current[:axis], both(current[axis], wanted), *current[axis + 1 :])
    return rest


def apart(boxes: Iterable[Box]) -> list[Box]:
    """Return the boxes without those that lie in another one."""
    found: list[Box] = []
    for box in dict.fromkeys(boxes):
        if not any(not minus(box, other) for other in found):
            found = [other for other in found if minus(other, box)] + [box]
    return found
