"""Simple queues: the dynamic ones that access brings, and which queue takes a packet. Pure.

"Simple queues have a strict order": a packet takes the first queue with conditions that fit it (MikroTik's manual,
"Queues"). A queue below a parent is bounded by the parent too; a packet that a parent takes goes on to the first of its
children that fits. A queue with packet marks or a time of day is passed over: the lab marks no packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from lab.router import values as v
from lab.router.firewall import Packet, covers
from lab.router.store import Store
from lab.router.table import Row

QUEUES: Final = "/queue/simple"

# what a rate limit sets of a queue, in the order in which it says it
LIMITS: Final = (
    ("max-limit", v.pair(v.rate)),
    ("burst-limit", v.pair(v.rate)),
    ("burst-threshold", v.pair(v.rate)),
    ("burst-time", v.pair(v.duration())),
    ("priority", v.pair(v.integer(1, 8))),
    ("limit-at", v.pair(v.rate)),
)


def queue_of(rate_limit: str) -> dict[str, str]:
    """The limits of the queue that a profile's or a lease's rate-limit makes.

    rx[/tx] [rx-burst[/tx] [rx-threshold[/tx] [rx-time[/tx] [priority [rx-min[/tx]]]]]], rx being the subscriber's
    upload (MikroTik's manual, "PPP AAA"). A part that cannot be read is left out.
    """
    out: dict[str, str] = {}
    for part, (name, kind) in zip(rate_limit.split(), LIMITS, strict=False):
        try:
            out[name] = kind(part)
        except v.BadValueError:
            continue
    return out


def place_of(store: Store, before: str) -> Row | None:
    """The queue before which `insert-queue-before` puts a dynamic one: `first`, `bottom` (None: last) or a name."""
    if before == "first":
        return next(iter(store.table(QUEUES)), None)
    return store.named(QUEUES, before) if before not in ("", "bottom") else None


def _fits(queue: Row, packet: Packet) -> bool:
    props = queue.props
    if props.get("disabled") == "true" or props.get("packet-marks") or props.get("time"):
        return False
    target = props.get("target", "")
    if target and not any(one == packet.in_interface or covers(one, packet.source) for one in target.split(",")):
        return False
    there = props.get("dst", "")
    return not there or there == packet.out_interface or covers(there, packet.destination)


def _limits(queue: Row) -> tuple[int, int]:
    up, _, down = queue.props.get("max-limit", "0/0").partition("/")
    return int(up or 0), int(down or up or 0)


def _least(one: int, other: int) -> int:
    return min(one, other) if one and other else one or other


def speed_limit(queues: Iterable[Row], packet: Packet) -> tuple[int, int] | None:
    """Upload and download in bits a second of the first queue that takes a packet; None where none does.

    0 is no limit. Bursts, guaranteed rates and totals are not reckoned with.
    """
    order = list(queues)
    below: dict[str, list[Row]] = {}
    for queue in order:
        below.setdefault(queue.props.get("parent", "none"), []).append(queue)
    named = {queue.props.get("name", ""): queue for queue in order}
    taker = next((queue for queue in order if _fits(queue, packet)), None)
    if taker is None:
        return None
    seen = {taker.id}
    while child := next((q for q in _children(below, taker) if q.id not in seen and _fits(q, packet)), None):
        seen.add(child.id)
        taker = child
    up, down = _limits(taker)
    return _bounded(named, taker, up, down)


def _children(below: Mapping[str, list[Row]], queue: Row) -> list[Row]:
    return below.get(queue.props.get("name", ""), [])


def _bounded(named: Mapping[str, Row], taker: Row, up: int, down: int) -> tuple[int, int]:
    seen = {taker.id}
    parent = named.get(taker.props.get("parent", "none"))
    while parent is not None and parent.id not in seen:
        seen.add(parent.id)
        if parent.props.get("disabled") != "true":
            more_up, more_down = _limits(parent)
            up, down = _least(up, more_up), _least(down, more_down)
        parent = named.get(parent.props.get("parent", "none"))
    return up, down
