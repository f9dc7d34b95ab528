"""Notifications as events of a line: their kind, the part that they are about, a line for people."""

from __future__ import annotations

import hashlib
from typing import Final

from agent.connectors.snmp import ber
from agent.connectors.snmp.notifications import STANDARD_TRAPS, Notification
from agent.connectors.snmp.values import INTEGER, IP_ADDRESS, OBJECT_IDENTIFIER, Oid, Value, dotted, index, oid
from agent.line_model.reading import EventKind, LineEvent

_KINDS: Final = {
    1: ("coldStart", EventKind.RESTARTED),
    2: ("warmStart", EventKind.RESTARTED),
    3: ("linkDown", EventKind.PART_DOWN),
    4: ("linkUp", EventKind.PART_UP),
    5: ("authenticationFailure", EventKind.REFUSED),
}
_IF_INDEX: Final = oid("1.3.6.1.2.1.2.2.1.1")
_IF_TABLES: Final = (oid("1.3.6.1.2.1.2.2.1"), oid("1.3.6.1.2.1.31.1.1.1"))
_TOLD_MAX: Final = 240
"""Characters of the line for people; chosen so that it stands in one row of a wide terminal."""
_VALUES_TOLD: Final = 8
_INDEX_MAX: Final = (1 << 32) - 1
"""PON ports have indexes of 32 bits: as INTEGER such a one is negative, or has five octets."""


def event(notification: Notification, target: str, sender: str, heard_s: int) -> LineEvent:
    """Return the event of a notification.

    Args:
        notification: the notification.
        target: id of the target; "": its sender is not configured.
        sender: the address that it came from.
        heard_s: unix seconds.
    """
    label, kind = dotted(notification.name), EventKind.OTHER
    if notification.name.startswith(STANDARD_TRAPS) and len(notification.name) == len(STANDARD_TRAPS) + 1:
        label, kind = _KINDS.get(notification.name[-1], (label, kind))
    shown = [f"{dotted(name)}={text(value)}" for name, value in notification.varbinds[:_VALUES_TOLD]]
    told = " ".join((label, *shown))
    return LineEvent(
        target=target,
        kind=kind,
        once=_once(notification, target or sender),
        heard_s=heard_s,
        index=_if_index(notification),
        told=told if len(told) <= _TOLD_MAX else told[: _TOLD_MAX - 1] + "…",
        authenticated=notification.authenticated,
    )


def text(value: Value) -> str:
    """Return a value for people: text where all of it is printable, else hexadecimal."""
    tag, content = value
    if isinstance(content, int):
        return str(content)
    if tag == OBJECT_IDENTIFIER:
        return dotted(Oid(content))
    if tag == IP_ADDRESS:
        return ".".join(map(str, content))
    try:
        shown = content.decode()
    except UnicodeDecodeError:
        return content.hex()
    return shown if shown.isprintable() else content.hex()


def _once(notification: Notification, sender: str) -> str:
    """Return a name of the notification: the same for its retries, and where a device sends it in two versions."""
    digest = hashlib.sha256(f"{sender}\0{notification.ticks}\0".encode() + notification.name)
    for name, value in notification.varbinds:
        digest.update(ber.varbind_element(name, value))
    return digest.hexdigest()[:32]


def _if_index(notification: Notification) -> int | None:
    """Return the ifIndex that the values name; some agents send it only as the index of another column."""
    by_suffix = None
    for name, (tag, content) in notification.varbinds:
        if name.startswith(_IF_INDEX) and tag == INTEGER and isinstance(content, int) and 0 < content <= _INDEX_MAX:
            return content
        for table in _IF_TABLES:
            tail = index(name[len(table) :]) if name.startswith(table) else ()
            if by_suffix is None and len(tail) == 2 and 0 < tail[1] <= _INDEX_MAX:
                by_suffix = tail[1]
    return by_suffix
