"""Which simple queue shapes a subscriber, and whether it is the one that takes their traffic. Pure.

"Simple queues have a strict order": a packet goes to the first queue with conditions that fit it, and a queue below
never sees it. So a queue holds its subscriber to a speed only where no queue above it takes any of their traffic. A
doubtful condition counts as taking it: an interface, a time of day, marks.

Source: RouterOS manual, "Queues" (simple queues: target, dst, parent, order).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agent.connectors.routeros.addresses import Network, networks, within
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.values import RouterKind, normalize

Queue = Mapping[str, str]

LIMIT: Final = "max-limit"
_NARROWER: Final = ("dst", "time", "packet-marks")
"""Conditions of a queue beside its target."""
_UNLIMITED: Final = "0/0"


@dataclass(frozen=True, slots=True)
class Unfit:
    """No queue that can be worked with: `reason` is a short code, `detail` for people."""

    reason: RouterReason
    detail: str


def limit_of(queue: Queue) -> str:
    """Return a queue's `max-limit`, upload/download, in its one spelling."""
    return normalize(RouterKind.RATE_PAIR, queue.get(LIMIT, _UNLIMITED))


def own(queues: Sequence[Queue], mine: Collection[Network]) -> Queue | Unfit:
    """Return the queue that is of exactly these addresses and takes all of their traffic.

    Args:
        queues: all simple queues in their order, each with its properties as RouterOS prints them.
        mine: a subscriber's addresses.
    """
    wanted = set(mine)
    found = [queue for queue in queues if len(_targets(queue)) >= len(wanted) and set(_targets(queue)) == wanted]
    if not found:
        return Unfit(RouterReason.NO_QUEUE, "no simple queue has exactly its addresses as target")
    if len(found) > 1:
        return Unfit(
            RouterReason.SEVERAL_QUEUES, f"{len(found)} simple queues have its addresses as target: {_names(found)}"
        )
    (queue,) = found
    for prop in ("dynamic", "disabled", "invalid"):
        if queue.get(prop) == "true":
            return Unfit(RouterReason(f"{prop}-queue"), f"its simple queue {_name(queue)} is {prop}")
    narrower = _narrower(queue)
    if narrower:
        return Unfit(
            RouterReason.QUEUE_IN_PART, f"its simple queue {_name(queue)} takes only what has its {', '.join(narrower)}"
        )
    return _refuse_place(queues, queue, mine) or queue


def speed_of(queues: Sequence[Queue], place: str, rate_limit: str) -> str:
    """Return why an address does not have the speed of a `rate-limit`, or nothing where it has.

    A lease with a `rate-limit` brings a dynamic queue.

    Args:
        queues: all simple queues in their order.
        place: an address.
        rate_limit: normalized, `upload/download ...`; "": none, so no dynamic queue is the address' own.
    """
    mine = networks(place)
    live = [queue for queue in queues if "true" not in (queue.get("disabled"), queue.get("invalid"))]
    found = [q for q in live if q.get("dynamic") == "true" and any(one in _targets(q) for one in mine)]
    if not rate_limit:
        return f"{place} still has queue {_name(found[0])}" if found else ""
    wanted = rate_limit.split(" ")[0]
    if not found:
        return f"{place} has no queue of {wanted} yet"
    if limit_of(found[0]) != wanted:
        return f"the queue of {place} is {limit_of(found[0])}, not {wanted} yet"
    behind = _refuse_place(live, found[0], mine)
    return behind.detail if behind else ""


def _refuse_place(queues: Sequence[Queue], queue: Queue, mine: Collection[Network]) -> Unfit | None:
    """Refuse a queue that its traffic does not come to: by its parents, or by a queue above."""
    named = {one.get("name", ""): one for one in queues}
    above = list(_ancestors(named, queue))
    for parent in above:
        if not _takes_all(parent, mine):
            return Unfit(
                RouterReason.QUEUE_PARENT, f"parent {_name(parent)} of its simple queue may not take all its traffic"
            )
    until = max(_place(queues, one) for one in (queue, *above))
    for other in queues[:until]:
        if other is not queue and _takes_some(other, mine) and not _in_line(named, other, queue, above):
            text = f"simple queue {_name(other)} stands above {_name(queue)} and may take its traffic first"
            return Unfit(RouterReason.QUEUE_BEHIND, text)
    return None


def _place(queues: Sequence[Queue], queue: Queue) -> int:
    return next(n for n, one in enumerate(queues) if one is queue)


def _in_line(named: Mapping[str, Queue], other: Queue, queue: Queue, above: Sequence[Queue]) -> bool:
    """Tell whether a queue is a parent or a child of this one: this one takes its packets too."""
    return any(other is one for one in above) or any(queue is one for one in _ancestors(named, other))


def _ancestors(named: Mapping[str, Queue], queue: Queue) -> Iterator[Queue]:
    """Yield a queue's parents, from the nearest; one that is not there, or a circle, ends it."""
    met = [queue]
    while (parent := named.get(queue.get("parent", ""))) is not None and not any(parent is one for one in met):
        met.append(parent)
        queue = parent
        yield parent


def _takes_all(queue: Queue, mine: Collection[Network]) -> bool:
    if "true" in (queue.get("disabled"), queue.get("invalid")) or _narrower(queue):
        return False
    targets = _targets(queue)
    return not queue.get("target") or all(
        any(target is not None and within(one, target) for target in targets) for one in mine
    )


def _takes_some(queue: Queue, mine: Collection[Network]) -> bool:
    """Tell whether a queue may take any of the traffic, whatever else it asks for."""
    if "true" in (queue.get("disabled"), queue.get("invalid")):
        return False
    targets = _targets(queue)
    return not targets or any(target is None or any(map(target.overlaps, mine)) for target in targets)


def _targets(queue: Queue) -> tuple[Network | None, ...]:
    """Return a queue's targets; None for one that is an interface."""
    return _parsed(queue.get("target", ""))


@lru_cache(maxsize=65_536)
def _parsed(target: str) -> tuple[Network | None, ...]:
    texts = filter(None, target.split(","))
    return tuple(found[0] if (found := networks(text)) and len(found) == 1 else None for text in texts)


def _narrower(queue: Queue) -> list[str]:
    return [prop for prop in _NARROWER if queue.get(prop)]


def _name(queue: Queue) -> str:
    return queue.get("name", "")


def _names(queues: Sequence[Queue]) -> str:
    return ", ".join(map(_name, queues))
