"""Texts of the access method for fixed addresses: the present state, the state after the change, and its proof."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from agent.connectors.routeros.comment_marker import COMMENT, SUSPENDED, marks_in
from agent.model import Access

if TYPE_CHECKING:
    from agent.connectors.routeros.addresses import Network


def entry_text(entry: Mapping[str, str], name: str) -> str:
    """Return how an address stands in a list, and whether we made it so: `in list suspended, NOT made by us`."""
    if not entry:
        return f"not in list {name}"
    if entry.get("disabled") == "true":
        return f"in list {name}, but disabled"
    comment = entry.get(COMMENT, "")
    if SUSPENDED in marks_in(comment):
        return f"in list {name}"
    return f"in list {name}, NOT made by us: {comment}" if comment else f"in list {name}, NOT made by us"


def now_text(router: str, listed: Sequence[str], queue: str) -> str:
    """Return `192.0.2.7 not in list suspended · queue home-7 at 5M/20M · on edge-1`."""
    return " · ".join(filter(None, (*listed, queue, f"on {router}")))


def queue_text(name: str, limit: str) -> str:
    """Return `queue home-7 at 5M/20M`: upload/download in the largest units that say it exactly."""
    return f"queue {name} at {rate_text(limit)}"


def rate_text(limit: str) -> str:
    """Return a max-limit for people; 0 is no limit."""
    return "/".join(_rate_text(half) for half in limit.split("/"))


def _rate_text(bits: str) -> str:
    if not bits.isdecimal():
        return bits
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if int(bits) and int(bits) % size == 0:
            return f"{int(bits) // size}{unit}"
    return bits if int(bits) else "unlimited"


def list_after(kept: Sequence[str], mine: Collection[Network], *, from_outside: bool) -> str:
    """Return the effect of a suspension by list: `pay page only: rule 0 (…) drops list suspended · IPv4 only: …`."""
    versions = {one.version for one in mine}
    alone = "" if len(versions) > 1 else f"IPv{min(versions)} only: the login names no other address"
    outside = "connections from outside are not dropped (no rule of dst-address-list)" if from_outside else ""
    return " · ".join(filter(None, (f"pay page only: {' · '.join(dict.fromkeys(kept))}", alone, outside)))


def queue_after(name: str, limit: str, *, stays: bool) -> str:
    """Return the effect of a queue's limit; `stays`: it is the suspension, so the subscriber stays online."""
    return f"stays ONLINE at {rate_text(limit)} (queue {name})" if stays else queue_text(name, limit)


def proof_text(access: Access, name: str, *, queue: bool, within_s: int) -> str:
    """Return how enforcement will be judged.

    Args:
        access: the wanted one.
        name: the list that is judged; "" where only the queue is.
        queue: whether the queue is judged.
        within_s: how long a cut may take to show.
    """
    shaped = "the queue at its limit, and no other queue or FastTrack takes the traffic" if queue else ""
    listed = f"its addresses in no entry of list {name}" if name else ""
    if name and access is Access.SUSPENDED:
        listed = f"its addresses in list {name}, its rule above FastTrack, what was fasttracked cut within {within_s} s"
    written = "written if it reads as planned just before (RouterOS cannot do both at once)"
    return " · ".join(filter(None, (shaped, listed, written)))
