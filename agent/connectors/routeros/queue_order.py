"""Which speed a subscriber's address has by the simple queues: the first that takes its packets counts. Pure.

A lease, a session or a profile with a `rate-limit` brings a dynamic queue. A queue that stands before it and takes the
same packets makes it idle; its own parents stand before it too, and do not. What cannot be told counts as taking them.

Source: MikroTik's manual, "Queues": simple queues have a strict order.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from agent.connectors.routeros.addresses import member
from agent.connectors.routeros.values import Kind, normalise

Row = Mapping[str, str]


def speed_of(queues: Mapping[str, Row], place: str, rate_limit: str) -> str:
    """Return why an address does not have the speed of a `rate-limit`, or nothing where it has.

    Args:
        queues: the simple queues in their order (the value of `queue/order/all`).
        place: an address.
        rate_limit: normalised, `upload/download ...`; "": none, so no dynamic queue is the address' own.
    """
    live = [row for row in queues.values() if "true" not in (row.get("disabled"), row.get("invalid"))]
    own = [row for row in live if row.get("dynamic") == "true" and _names(row, place)]
    if not rate_limit:
        return f"{place} still has queue {own[0].get('name', '?')}" if own else ""
    wanted = rate_limit.split(" ")[0]
    if not own:
        return f"{place} has no queue of {wanted} yet"
    got = normalise(Kind.RATE_PAIR, own[0].get("max-limit", "0/0"))
    if got != wanted:
        return f"the queue of {place} is {got}, not {wanted} yet"
    above = _parents(own[0], live)
    for row in live:
        if row is own[0]:
            break
        beside = row.get("name") not in above and row.get("parent", "none") in (own[0].get("parent", "none"), "none")
        if beside and _takes(row, place):
            return f"queue {row.get('name', '?')} stands before that of {place}, and may have its packets"
    return ""


def _parents(row: Row, queues: list[Row]) -> frozenset[str]:
    named = {queue.get("name", ""): queue for queue in queues}
    found: list[str] = []
    while (name := row.get("parent", "none")) not in ("none", *found) and name in named:
        found.append(name)
        row = named[name]
    return frozenset(found)


def _names(row: Row, place: str) -> bool:
    return normalise(Kind.PREFIX, place) in [normalise(Kind.PREFIX, one) for one in row.get("target", "").split(",")]


def _takes(row: Row, place: str) -> bool:
    """Tell whether a queue may take the packets of an address: by its target, or by none; an interface may be any."""
    targets = row.get("target", "").split(",")
    return any(not _is_place(one) or member({normalise(Kind.RANGE, one): "static"}, place) for one in targets)


def _is_place(text: str) -> bool:
    try:
        ip_address(text.partition("/")[0])
    except ValueError:
        return False
    return True
