"""Notifications of devices: traps and informs of versions 1, 2c and 3, authenticated, and the answers to informs.

Sans-IO. Traps of version 3 belong to the sender's engine, informs to ours (RFC 3413, section 3.4; RFC 3414, 3.2).

* A message counts when its secret is one of those of its sender, with exactly that authentication and encryption.
* An authentic message of another engine must be inside of the time window that its earlier ones opened.
* Reports answer only messages that ask for them, and tell nothing but our engine's id and time.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.snmp import messages, pdu, usm, v3_messages
from agent.connectors.snmp.ber import Varbind
from agent.connectors.snmp.credential import SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import MalformedSnmpError, UncountedMessageError
from agent.connectors.snmp.exchange import Dice
from agent.connectors.snmp.limits import BOOTS_MAX, ENGINES_KEPT, TIME_WINDOW_S
from agent.connectors.snmp.pdu import Pdu, PduKind, TrapV1
from agent.connectors.snmp.usm import EngineTime
from agent.connectors.snmp.usm_keys import UserKeys, keys_at
from agent.connectors.snmp.v3_messages import AUTH_FLAG, PRIV_FLAG, REPORTABLE_FLAG, V3Header, V3Message
from agent.connectors.snmp.values import COUNTER32, OBJECT_IDENTIFIER, TIME_TICKS, Oid, oid, suffix

SYS_UP_TIME: Final = oid("1.3.6.1.2.1.1.3.0")
SNMP_TRAP_OID: Final = oid("1.3.6.1.6.3.1.1.4.1.0")
STANDARD_TRAPS: Final = oid("1.3.6.1.6.3.1.1.5")
"""Parent of coldStart(1) to egpNeighborLoss(6) (RFC 3418; RFC 3584, section 3.1)."""
_ENTERPRISE_SPECIFIC: Final = 6
_LEVEL_FLAGS: Final = AUTH_FLAG | PRIV_FLAG


@dataclass(frozen=True, slots=True)
class OurEngine:
    """The engine that informs are for.

    Args:
        engine_id: 5 to 32 octets, the same for ever.
        boots: larger at every start.
        began: our clock at this start, seconds.
    """

    engine_id: bytes
    boots: int
    began: float

    def time_s(self, now: float) -> int:
        """Return the engine's time."""
        return min(BOOTS_MAX, int(now - self.began))


@dataclass(frozen=True, slots=True)
class Notification:
    """One trap or inform whose secret was right.

    Args:
        name: its kind (snmpTrapOID); of version 1 as RFC 3584 maps it.
        ticks: sysUpTime of the device in 1/100 s, or 0.
        varbinds: its values, without these two.
        authenticated: whether a digest proves its sender, and a poll or our engine its time; a community proves none.
        answer: the message that acknowledges an inform, or none.
    """

    name: Oid
    ticks: int
    varbinds: Sequence[Varbind]
    authenticated: bool
    answer: bytes | None


@dataclass(frozen=True, slots=True)
class Reported:
    """A Report for the sender of an inform, who needs it to send a better one."""

    answer: bytes


class NotificationReceiver:
    """Turns datagrams into notifications; remembers the engines of senders."""

    def __init__(self, ours: OurEngine, dice: Dice) -> None:
        self._ours = ours
        self._counter = dice(64)
        self._times: dict[bytes, EngineTime] = {}
        self._proven: set[bytes] = set()
        """Engines whose time a poll proved. Without it, a recording of years ago passes for new after a start."""
        self._keys: dict[tuple[SnmpCredential, bytes], UserKeys] = {}
        self._reports = 0

    def learn(self, engine_id: bytes, clock: EngineTime) -> None:
        """Take the time of an engine that answered a question of ours, which a recording cannot."""
        self._put(engine_id, clock)
        self._proven.add(engine_id)

    def _put(self, engine_id: bytes, clock: EngineTime) -> None:
        self._times.pop(engine_id, None)
        if len(self._times) >= ENGINES_KEPT:
            oldest = next(iter(self._times))
            del self._times[oldest]
            self._proven.discard(oldest)
        self._times[engine_id] = clock

    def receive_untrusted(
        self, data: bytes, credentials: Collection[SnmpCredential], now: float
    ) -> Notification | Reported:
        """Return the notification in a datagram from a sender with one of these secrets, or a Report for it.

        Raises:
            MalformedSnmpError: it is no notification.
            UncountedMessageError: its secret is none of these, or it is out of its time.
        """
        if messages.version_untrusted(data)[0] is SnmpVersion.V3:
            return self._version_3(v3_messages.message_untrusted(data), credentials, now)
        message = messages.message_untrusted(data)
        known = [c for c in credentials if c.version is message.version]
        if not any(hmac.compare_digest(c.community, message.community) for c in known):
            raise UncountedMessageError(f"expected a community of this sender, version {message.version.value}")
        answer = None
        if isinstance(message.pdu, Pdu) and message.pdu.kind is PduKind.INFORM:
            answer = messages.encode(message.version, message.community, _response(message.pdu))
        return _notification(message.pdu, answer, authenticated=False)

    def _version_3(
        self, message: V3Message, credentials: Collection[SnmpCredential], now: float
    ) -> Notification | Reported:
        header = message.header
        if not any(c.version is SnmpVersion.V3 for c in credentials):
            raise UncountedMessageError("expected a community: no user of version 3 is configured for this sender")
        ours = header.engine_id == self._ours.engine_id
        if not ours and (header.flags & REPORTABLE_FLAG or not header.engine_id):
            return self._report(header, usm.UNKNOWN_ENGINE_IDS, now)
        named = [c for c in credentials if c.version is SnmpVersion.V3 and c.user.encode() == header.user]
        if not named:
            return self._report(header, usm.UNKNOWN_USER_NAMES, now)
        levels = [c for c in named if usm.level(c) == header.flags & _LEVEL_FLAGS]
        if not levels:
            return self._report(header, usm.UNSUPPORTED_SEC_LEVELS, now)
        for credential in levels:
            keys = self._keys_of(credential, header.engine_id)
            if not header.flags & AUTH_FLAG or usm.is_authentic_untrusted(message, credential, keys):
                break
        else:
            return self._report(header, usm.WRONG_DIGESTS, now)
        if header.flags & AUTH_FLAG and not self._in_time(header, now, ours=ours):
            return self._report(header, usm.NOT_IN_TIME_WINDOWS, now, credential, keys)
        scoped = v3_messages.scoped_untrusted(usm.scoped_octets_untrusted(message, credential, keys))
        answer = None
        if isinstance(scoped.pdu, Pdu) and scoped.pdu.kind is PduKind.INFORM:
            if not ours:
                raise UncountedMessageError("expected an inform for our engine, got one for another")
            body = v3_messages.scoped(scoped.engine_id, scoped.context, _response(scoped.pdu))
            answer = self._sealed(header, credential, keys, header.flags & _LEVEL_FLAGS, body, now)
        proven = bool(header.flags & AUTH_FLAG) and (ours or header.engine_id in self._proven)
        return _notification(scoped.pdu, answer, authenticated=proven)

    def _keys_of(self, credential: SnmpCredential, engine_id: bytes) -> UserKeys:
        place = (credential, engine_id)
        if place not in self._keys:
            if len(self._keys) >= ENGINES_KEPT:
                self._keys.clear()
            self._keys[place] = keys_at(credential, engine_id)
        return self._keys[place]

    def _in_time(self, header: V3Header, now: float, *, ours: bool) -> bool:
        """Return whether an authentic message is in time, by our clock or by that of the sender's engine."""
        if ours:
            late = abs(header.time_s - self._ours.time_s(now)) > TIME_WINDOW_S
            return header.boots == self._ours.boots and not late
        known = self._times.get(header.engine_id) or EngineTime(header.boots, header.time_s, now)
        self._put(header.engine_id, known)
        return known.admits(header, now)

    def _report(
        self,
        header: V3Header,
        name: Oid,
        now: float,
        credential: SnmpCredential | None = None,
        keys: UserKeys | None = None,
    ) -> Reported:
        """Return a Report, with authentication where the sender's key is known.

        Raises:
            UncountedMessageError: the sender asks for none, as with every trap.
        """
        if not header.flags & REPORTABLE_FLAG:
            raise UncountedMessageError(f"a message of version 3 that does not count: {_WHY[name]}")
        self._reports += 1
        varbinds = ((name, (COUNTER32, self._reports & 0xFFFFFFFF)),)
        body = pdu.encode(Pdu(PduKind.REPORT, 0, 0, 0, varbinds))
        scoped = v3_messages.scoped(self._ours.engine_id, b"", body)
        flags = AUTH_FLAG if credential else 0
        asked = credential or SnmpCredential(SnmpVersion.V3, user="-")
        return Reported(self._sealed(header, asked, keys or UserKeys(b"", b""), flags, scoped, now))

    def _sealed(
        self, to: V3Header, credential: SnmpCredential, keys: UserKeys, flags: int, scoped: bytes, now: float
    ) -> bytes:
        ours = self._ours
        header = V3Header(to.message_id, flags, ours.engine_id, ours.boots, ours.time_s(now), to.user, b"", b"")
        self._counter += 1
        return usm.seal(credential, keys, header, scoped, self._counter)


_WHY: Final = {
    usm.UNKNOWN_ENGINE_IDS: "it is for an engine that is not ours",
    usm.UNKNOWN_USER_NAMES: "no such user is configured for this sender",
    usm.UNSUPPORTED_SEC_LEVELS: "another authentication or encryption is configured for this user",
    usm.WRONG_DIGESTS: "wrong secret: auth or auth_secret differs from the sender's",
    usm.NOT_IN_TIME_WINDOWS: "it is out of its time window: late, or repeated",
}


def _response(inform: Pdu) -> bytes:
    return pdu.encode(Pdu(PduKind.RESPONSE, inform.request_id, 0, 0, inform.varbinds))


def _notification(found: Pdu | TrapV1, answer: bytes | None, *, authenticated: bool) -> Notification:
    if isinstance(found, TrapV1):
        return Notification(_name_of_v1(found), found.ticks, found.varbinds, authenticated, None)
    if found.kind not in (PduKind.TRAP, PduKind.INFORM):
        raise MalformedSnmpError(f"expected a notification, got {found.kind.name}")
    names = [name for name, _ in found.varbinds[:2]]
    if names != [SYS_UP_TIME, SNMP_TRAP_OID]:
        raise MalformedSnmpError("expected sysUpTime.0 and snmpTrapOID.0 first (RFC 3416, section 4.2.6), got others")
    (_, (ticks_tag, ticks)), (_, (name_tag, name)) = found.varbinds[:2]
    if ticks_tag != TIME_TICKS or name_tag != OBJECT_IDENTIFIER or isinstance(ticks, bytes) or isinstance(name, int):
        raise MalformedSnmpError("expected TimeTicks and an object identifier first, got other types")
    return Notification(Oid(name), ticks, found.varbinds[2:], authenticated, answer)


def _name_of_v1(trap: TrapV1) -> Oid:
    """Return the snmpTrapOID of a trap of version 1 (RFC 3584, section 3.1)."""
    if trap.generic == _ENTERPRISE_SPECIFIC:
        return Oid(trap.enterprise + b"\0" + suffix((min(max(trap.specific, 0), 0xFFFFFFFF),)))
    if not 0 <= trap.generic < _ENTERPRISE_SPECIFIC:
        raise MalformedSnmpError(f"expected generic-trap 0 to 6, got {trap.generic}")
    return Oid(STANDARD_TRAPS + bytes((trap.generic + 1,)))
