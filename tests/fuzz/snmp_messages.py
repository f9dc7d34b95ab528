"""SNMP messages that devices send, and the calls that hear them: seeds of the harnesses."""

from __future__ import annotations

import copy

from agent.connectors.snmp import ber, messages, notification_events, pdu, usm, v3_messages
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import RequestRefusedError
from agent.connectors.snmp.exchange import SnmpExchange
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.notifications import (
    SNMP_TRAP_OID,
    SYS_UP_TIME,
    Notification,
    NotificationReceiver,
    OurEngine,
)
from agent.connectors.snmp.pdu import Pdu, PduKind
from agent.connectors.snmp.questions import GetQuestion
from agent.connectors.snmp.security import CommunitySecurity
from agent.connectors.snmp.usm_client import UsmSecurity
from agent.connectors.snmp.usm_keys import keys_at
from agent.connectors.snmp.v3_messages import V3Header
from agent.connectors.snmp.values import (
    COUNTER64,
    END_OF_MIB_VIEW,
    INTEGER,
    IP_ADDRESS,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    TIME_TICKS,
    Oid,
    dotted,
    oid,
)
from agent.connectors.snmp.walk import Sizes, TableWalk

COMMUNITY = SnmpCredential(SnmpVersion.V2C, community=b"public")
REQUEST_ID = 77
COLUMNS = (oid("1.3.6.1.2.1.2.2.1.2"), oid("1.3.6.1.2.1.31.1.1.1.6"), oid("1.3.6.1.4.1.41112.1.4"))
VARBINDS = (
    (oid("1.3.6.1.2.1.2.2.1.2.1"), (OCTET_STRING, b"ge-0/0/1")),
    (oid("1.3.6.1.2.1.31.1.1.1.6.1"), (COUNTER64, 2**64 - 1)),
    (oid("1.3.6.1.4.1.41112.1.4.300"), (OCTET_STRING, b"x" * 200)),
    (oid("1.3.6.1.2.1.2.2.1.3"), (INTEGER, -2)),
    (oid("1.3.6.1.2.1.31.1.1.1.6.2"), (TIME_TICKS, 4_294_967_295)),
    (oid("1.3.6.1.4.1.41112.1.4.301"), (OBJECT_IDENTIFIER, oid("1.3.6.1.4.1.10002.1"))),
    (oid("1.3.6.1.2.1.2.2.1.4"), (IP_ADDRESS, b"\xc0\x00\x02\x01")),
    (oid("1.3.6.1.2.1.31.1.1.1.7"), (END_OF_MIB_VIEW, b"")),
)


def response(status: int = 0, index: int = 0) -> bytes:
    return pdu.encode(Pdu(PduKind.RESPONSE, REQUEST_ID, status, index, VARBINDS))


def rows(count: int) -> bytes:
    """Return a response with so many whole rows, which are read by a pattern, and the end of the view behind them."""
    whole = [(Oid(c + bytes((n,))), v) for n in range(1, count + 1) for c, (_, v) in zip(COLUMNS, PLAIN, strict=True)]
    return pdu.encode(Pdu(PduKind.RESPONSE, REQUEST_ID, 0, 0, (*whole, VARBINDS[-1])))


PLAIN = (*VARBINDS[:2], VARBINDS[4])
BODIES = (response(), response(1), response(2, 2), response(5, 9), rows(24))
ANSWERS = tuple(messages.encode(SnmpVersion.V2C, b"public", body) for body in BODIES)


def answer(data: bytes) -> object:
    """Take an answer to a walk, and show its names as an error would."""
    limits = SnmpLimits()
    walk = TableWalk(COLUMNS, Sizes(limits), limits, bulk=True)
    exchange = SnmpExchange(walk, CommunitySecurity(COMMUNITY), lambda bits: REQUEST_ID)
    exchange.datagram(0.0)
    got = exchange.receive_untrusted(data, 0.0)
    if isinstance(got, Pdu):
        walk.receive(got)
        return [dotted(name) for name, _ in got.varbinds]
    return got


# --- version 3 -------------------------------------------------------------------------------------------------------

ENGINE_ID = bytes.fromhex("8000000001020304")
USER = SnmpCredential(
    SnmpVersion.V3,
    user="reader",
    auth=AuthProtocol.SHA_256,
    auth_key=b"authpass12345",
    priv=PrivProtocol.DES,
    priv_key=b"privpass12345",
)
KEYS = keys_at(USER, ENGINE_ID)


def v3_message(scoped: bytes, flags: int = 3, time_s: int = 100) -> bytes:
    """Return a message of the device that only holders of the keys can make."""
    user = USER.user.encode()
    return usm.seal(USER, KEYS, V3Header(REQUEST_ID, flags, ENGINE_ID, 2, time_s, user, b"", b""), scoped, 7)


def report(name: Oid) -> bytes:
    body = pdu.encode(Pdu(PduKind.REPORT, REQUEST_ID, 0, 0, ((name, (COUNTER64, 1)),)))
    return v3_messages.scoped(ENGINE_ID, b"", body)


SCOPED = (v3_messages.scoped(ENGINE_ID, b"", response()), report(usm.NOT_IN_TIME_WINDOWS))
V3_ANSWERS = (
    *map(v3_message, SCOPED),
    v3_message(report(usm.UNKNOWN_ENGINE_IDS), flags=0),
    v3_message(report(usm.NOT_IN_TIME_WINDOWS), flags=1),
    v3_message(report(usm.UNKNOWN_USER_NAMES), flags=0),
)


QUESTION = GetQuestion([name for name, _ in VARBINDS[:1]])
DISCOVERED = UsmSecurity(USER, lambda bits: REQUEST_ID)
DISCOVERED.open_untrusted(V3_ANSWERS[2], [REQUEST_ID], 0.0)


def v3_answer(data: bytes) -> object:
    """Take an answer of version 3, before the engine is known and after."""
    got: object = None
    for security in (UsmSecurity(USER, lambda bits: REQUEST_ID), copy.copy(DISCOVERED)):
        exchange = SnmpExchange(QUESTION, security, lambda bits: REQUEST_ID)
        exchange.datagram(0.0)
        try:
            got = exchange.receive_untrusted(data, 0.0)
        except RequestRefusedError as err:
            got = str(err)
    return got


def v3_scoped(data: bytes) -> object:
    """Take any octets as the scoped PDU of an authentic and encrypted message: the device itself may be broken."""
    return v3_answer(v3_message(data))


# --- notifications ---------------------------------------------------------------------------------------------------

OUR_ENGINE = OurEngine(bytes.fromhex("80000000010203040506"), 3, -1000.0)
OUR_KEYS = keys_at(USER, OUR_ENGINE.engine_id)
LINK_DOWN = (
    (SYS_UP_TIME, (TIME_TICKS, 1234)),
    (SNMP_TRAP_OID, (OBJECT_IDENTIFIER, oid("1.3.6.1.6.3.1.1.5.3"))),
    (oid("1.3.6.1.2.1.2.2.1.1.7"), (INTEGER, 7)),
    (oid("1.3.6.1.2.1.31.1.1.1.18.7"), (OCTET_STRING, b"Zo\xc3\xab's port")),
)


def _notice(kind: PduKind) -> bytes:
    return pdu.encode(Pdu(kind, REQUEST_ID, 0, 0, LINK_DOWN))


def _to_us(scoped: bytes, flags: int, boots: int = 3) -> bytes:
    header = V3Header(REQUEST_ID, flags, OUR_ENGINE.engine_id, boots, 1000, USER.user.encode(), b"", b"")
    return usm.seal(USER, OUR_KEYS, header, scoped, 7)


INFORM = v3_messages.scoped(OUR_ENGINE.engine_id, b"", _notice(PduKind.INFORM))
NOTICES = (
    messages.encode(SnmpVersion.V2C, b"public", _notice(PduKind.TRAP)),
    messages.encode(SnmpVersion.V2C, b"public", _notice(PduKind.INFORM)),
    messages.encode(
        SnmpVersion.V1,
        b"public",
        ber.element(
            PduKind.TRAP_V1,
            ber.element(OBJECT_IDENTIFIER, oid("1.3.6.1.4.1.2021"))
            + ber.element(IP_ADDRESS, b"\xc0\x00\x02\x01")
            + ber.integer(6)
            + ber.integer(300)
            + ber.element(TIME_TICKS, b"\x0a")
            + ber.element(ber.SEQUENCE, ber.varbind_element(*LINK_DOWN[3])),
        ),
    ),
    v3_message(v3_messages.scoped(ENGINE_ID, b"", _notice(PduKind.TRAP))),
    _to_us(INFORM, 7),
    _to_us(INFORM, 7, boots=2),
    v3_message(INFORM, flags=4),
)


def notice(data: bytes) -> object:
    """Take a notification as a listener does, up to the event and the answer."""
    receiver = NotificationReceiver(OUR_ENGINE, lambda bits: 5)
    one = SnmpCredential(SnmpVersion.V1, community=b"public")
    found = receiver.receive_untrusted(data, (one, COMMUNITY, USER), 0.0)
    if isinstance(found, Notification):
        return notification_events.event(found, "sw-1", "192.0.2.1", 1)
    return found


def notice_scoped(data: bytes) -> object:
    """Take any octets as the scoped PDU of an authentic inform."""
    return notice(_to_us(data, 7))
