"""Accounting as FreeRADIUS 3.2 writes it into radacct with its stock queries: Start, Interim-Update, Stop, On and Off.

The unique id follows FreeRADIUS' `acct_unique` policy. One function is one transaction, given a cursor.
"""

from __future__ import annotations

import hashlib
from typing import Final

from lab.database import Cursor, Engine
from lab.errors import AttributeValueError
from lab.radius_codec import Packet

_COLUMNS: Final = (
    "acctsessionid, acctuniqueid, username, realm, nasipaddress, nasportid, nasporttype, acctstarttime, "
    "acctupdatetime, acctstoptime, acctsessiontime, acctauthentic, connectinfo_start, connectinfo_stop, "
    "acctinputoctets, acctoutputoctets, calledstationid, callingstationid, acctterminatecause, servicetype, "
    "framedprotocol, framedipaddress, framedipv6address, framedipv6prefix, framedinterfaceid, delegatedipv6prefix"
)


def unique_id(packet: Packet) -> str:
    """Return Acct-Unique-Session-Id: MD5 in hex over the attributes that tell one session from all others (policy
    acct_unique).
    """
    klass = packet.data("Class") or b""
    session = packet.text("Acct-Session-Id") or ""
    if len(klass) >= 35 and klass.startswith(b"ai:") and all(c in b"0123456789abcdefABCDEF" for c in klass[3:35]):
        text = f"{klass[3:35].decode()},{session}"
    else:
        nas = packet.text("NAS-IPv6-Address") or packet.text("NAS-IP-Address") or ""
        rest = (packet.text(n) or "" for n in ("NAS-Identifier", "NAS-Port-Id", "NAS-Port"))
        text = ",".join((packet.text("User-Name") or "", session, nas, *rest))
    return hashlib.md5(text.encode()).hexdigest()


def _number(packet: Packet, name: str) -> int:
    return int(packet.text(name) or 0)


def _octets(packet: Packet, direction: str) -> int:
    low = _number(packet, f"Acct-{direction}-Octets")
    return (_number(packet, f"Acct-{direction}-Gigawords") << 32) | low


def _or_empty(cursor: Cursor, text: str | None) -> str | None:
    """The empty value: NULL in PostgreSQL's stock queries (its addresses are inet), '' in the others'."""
    return text or (None if cursor.engine is Engine.POSTGRESQL else "")


def _address(cursor: Cursor, packet: Packet, name: str) -> str | None:
    return _or_empty(cursor, packet.text(name))


def _event_time(packet: Packet, now_s: float) -> int:
    # FreeRADIUS' preprocess adds Event-Timestamp, less the delay, only where the NAS sent none
    stamp = packet.text("Event-Timestamp")
    return int(stamp) if stamp else int(now_s) - _number(packet, "Acct-Delay-Time")


def _insert(cursor: Cursor, packet: Packet, now_s: float, kind: str) -> None:
    at, seconds = _event_time(packet, now_s), _number(packet, "Acct-Session-Time")
    start, stopped = kind == "Start", kind == "Stop"
    info = packet.text("Connect-Info") or ""
    moment = cursor.time()
    marks = ["?"] * 26
    marks[7] = marks[8] = moment
    marks[9] = moment if stopped else "?"
    cursor.execute(
        f"INSERT INTO radacct ({_COLUMNS}) VALUES ({', '.join(marks)})",  # noqa: S608 (constants only)
        (
            packet.text("Acct-Session-Id") or "",
            unique_id(packet),
            packet.text("User-Name") or "",
            _or_empty(cursor, None),
            packet.text("NAS-IP-Address") or "",
            _or_empty(cursor, packet.text("NAS-Port-Id") or packet.text("NAS-Port")),
            packet.text("NAS-Port-Type") or "",
            at if start else at - seconds,
            at,
            at if stopped else None,
            0 if start else seconds,
            packet.text("Acct-Authentic") or "",
            "" if stopped else info,
            info if stopped else _or_empty(cursor, None),
            0 if start else _octets(packet, "Input"),
            0 if start else _octets(packet, "Output"),
            packet.text("Called-Station-Id") or "",
            packet.text("Calling-Station-Id") or "",
            (packet.text("Acct-Terminate-Cause") or "") if stopped else _or_empty(cursor, None),
            packet.text("Service-Type") or "",
            packet.text("Framed-Protocol") or "",
            _address(cursor, packet, "Framed-IP-Address"),
            _address(cursor, packet, "Framed-IPv6-Address"),
            _address(cursor, packet, "Framed-IPv6-Prefix"),
            _address(cursor, packet, "Framed-Interface-Id"),
            _address(cursor, packet, "Delegated-IPv6-Prefix"),
        ),
    )


def _start(cursor: Cursor, packet: Packet, now_s: float) -> None:
    at, key = _event_time(packet, now_s), unique_id(packet)
    if cursor.fetch("SELECT 1 FROM radacct WHERE acctuniqueid = ?", (key,)):
        moment = cursor.time()
        cursor.execute(
            f"UPDATE radacct SET acctstarttime = {moment}, acctupdatetime = {moment}, connectinfo_start = ? "  # noqa: S608 (constants only)
            "WHERE acctuniqueid = ?",
            (at, at, packet.text("Connect-Info") or "", key),
        )
    else:
        _insert(cursor, packet, now_s, "Start")


_SINCE_UPDATE: Final = {
    Engine.SQLITE: "? * 0",  # the stock query says 0
    Engine.POSTGRESQL: "? - EXTRACT(EPOCH FROM COALESCE(acctupdatetime, acctstarttime))",
    Engine.MARIADB: "? - UNIX_TIMESTAMP(acctupdatetime)",
}


def _interim(cursor: Cursor, packet: Packet, now_s: float) -> None:
    # acctinterval first: MariaDB assigns from left to right
    touched = cursor.execute(
        f"UPDATE radacct SET acctinterval = {_SINCE_UPDATE[cursor.engine]}, "  # noqa: S608 (constants only)
        f"acctupdatetime = {cursor.time()}, framedipaddress = ?, "
        "framedipv6address = ?, framedipv6prefix = ?, framedinterfaceid = ?, delegatedipv6prefix = ?, "
        "acctsessiontime = ?, acctinputoctets = ?, acctoutputoctets = ? WHERE acctuniqueid = ?",
        (
            _event_time(packet, now_s),
            _event_time(packet, now_s),
            _address(cursor, packet, "Framed-IP-Address"),
            _address(cursor, packet, "Framed-IPv6-Address"),
            _address(cursor, packet, "Framed-IPv6-Prefix"),
            _address(cursor, packet, "Framed-Interface-Id"),
            _address(cursor, packet, "Delegated-IPv6-Prefix"),
            _number(packet, "Acct-Session-Time"),
            _octets(packet, "Input"),
            _octets(packet, "Output"),
            unique_id(packet),
        ),
    )
    if not touched:
        _insert(cursor, packet, now_s, "Interim-Update")


def _stop(cursor: Cursor, packet: Packet, now_s: float) -> None:
    touched = cursor.execute(
        f"UPDATE radacct SET acctstoptime = {cursor.time()}, acctsessiontime = ?, acctinputoctets = ?, "  # noqa: S608 (constants only)
        "acctoutputoctets = ?, acctterminatecause = ?, connectinfo_stop = ? WHERE acctuniqueid = ?",
        (
            _event_time(packet, now_s),
            _number(packet, "Acct-Session-Time"),
            _octets(packet, "Input"),
            _octets(packet, "Output"),
            packet.text("Acct-Terminate-Cause") or "",
            packet.text("Connect-Info") or "",
            unique_id(packet),
        ),
    )
    if not touched:
        _insert(cursor, packet, now_s, "Stop")


def _close_all(cursor: Cursor, packet: Packet, now_s: float) -> None:
    """Accounting-On and Accounting-Off: the NAS has no session any more (RFC 2866 section 5.1)."""
    at, moment = _event_time(packet, now_s), cursor.time()
    cursor.execute(
        f"UPDATE radacct SET acctstoptime = {moment}, acctterminatecause = ? "  # noqa: S608 (constants only)
        f"WHERE acctstoptime IS NULL AND nasipaddress = ? AND acctstarttime <= {moment}",
        (at, packet.text("Acct-Terminate-Cause") or "", packet.text("NAS-IP-Address") or "", at),
    )


_HANDLERS: Final = {
    "Start": _start,
    "Interim-Update": _interim,
    "Stop": _stop,
    "Accounting-On": _close_all,
    "Accounting-Off": _close_all,
}


def record(cursor: Cursor, packet: Packet, now_s: float) -> None:
    """Write one Accounting-Request into radacct.

    Raises:
        AttributeValueError: Acct-Status-Type is missing or unknown, or a value does not fit its attribute.
    """
    status = packet.text("Acct-Status-Type") or ""
    handler = _HANDLERS.get(status)
    if handler is None:
        raise AttributeValueError(f"Acct-Status-Type: expected Start, Interim-Update, Stop, On or Off, got {status!r}")
    handler(cursor, packet, now_s)
