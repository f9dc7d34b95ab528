"""Datagrams in, replies out, for the devices behind one socket (RFC 3412 section 7.2, RFC 3414 section 3.2). Pure.

A wrong community is met with silence, as devices do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from lab.snmp import ber, usm, v3, values
from lab.snmp.answers import Asked
from lab.snmp.device import Clock, Device, Engine
from lab.snmp.errors import MalformedSnmpError
from lab.snmp.messages import (
    Kind,
    Status,
    Version,
    decode_untrusted,
    encode_message,
    encode_pdu,
    version_untrusted,
)
from lab.snmp.mib import varbind
from lab.snmp.usm import User
from lab.snmp.v3 import AUTH, PRIV, REPORTABLE, Envelope, Scoped, Sealed

_USM_STATS: Final = "1.3.6.1.6.3.15.1.1"
_UNSUPPORTED_LEVELS: Final = f"{_USM_STATS}.1.0"
_NOT_IN_TIME: Final = f"{_USM_STATS}.2.0"
_UNKNOWN_USERS: Final = f"{_USM_STATS}.3.0"
_UNKNOWN_ENGINES: Final = f"{_USM_STATS}.4.0"
_WRONG_DIGESTS: Final = f"{_USM_STATS}.5.0"
_DECRYPTION_ERRORS: Final = f"{_USM_STATS}.6.0"
_UNKNOWN_CONTEXTS: Final = "1.3.6.1.6.3.12.1.5.0"
_READS: Final = (Kind.GET, Kind.GET_NEXT, Kind.GET_BULK, Kind.SET)
_BYTES_LEAST: Final = 484  # RFC 3412 section 6: nobody takes less


class Reply(NamedTuple):
    """A datagram to send; `device`: the one with the faults that it suffers, None: of none."""

    datagram: bytes
    device: Device | None


class Agent:
    """The devices behind one socket.

    Args:
        devices: one, or those that community and context tell apart.
        users: of SNMPv3.
        clock: seconds.
        engine: of a socket that several devices share; None: the one device's own.
    """

    def __init__(
        self, devices: Sequence[Device], users: Iterable[User], clock: Clock, engine: Engine | None = None
    ) -> None:
        self._users = {user.name: user for user in users}
        self._clock = clock
        self._engine = engine
        self._only = devices[0] if engine is None else None
        self._contexts = {device.name: device for device in devices}
        self._communities = {d.community.encode(): (d, False) for d in devices}
        self._communities |= {d.write_community.encode(): (d, True) for d in devices}
        self._stats: Counter[str] = Counter()

    @property
    def engine(self) -> Engine:
        """The engine that answers here."""
        if self._engine is not None:
            return self._engine
        return next(iter(self._contexts.values())).engine

    def receive(self, datagram: bytes) -> Reply | None:
        """Return the answer to a datagram; None: there is none."""
        try:
            if version_untrusted(datagram) == Version.V3:
                return self._receive_v3(v3.read_untrusted(datagram))
            return self._receive_community(datagram)
        except MalformedSnmpError:
            return None

    def _receive_community(self, datagram: bytes) -> Reply | None:
        message = decode_untrusted(datagram)
        device, writes = self._communities.get(message.community, (None, False))
        if device is None or message.pdu.kind not in _READS or not device.reachable():
            return None
        room = device.bytes_max - len(message.community) - 16
        pdu = device.answer(message.pdu, Asked(message.version, writes, room))
        return None if pdu is None else Reply(encode_message(message.version, message.community, pdu), device)

    # --- v3 -----------------------------------------------------------------------------------------------------------

    def _receive_v3(self, sealed: Sealed) -> Reply | None:
        if sealed.model != v3.USM or sealed.flags & (AUTH | PRIV) == PRIV:
            return None
        if self._only is not None and not self._only.reachable():
            return None
        engine, now = self.engine, self._clock()
        user = self._users.get(sealed.user)
        if sealed.engine_id != engine.engine_id:
            return self._report(sealed, _UNKNOWN_ENGINES, None)
        if user is None:
            return self._report(sealed, _UNKNOWN_USERS, None)
        if sealed.flags & PRIV and not user.priv:
            return self._report(sealed, _UNSUPPORTED_LEVELS, None)
        if sealed.flags & AUTH:
            if not usm.proves(user, engine.engine_id, sealed.datagram, *sealed.digest_at):
                return self._report(sealed, _WRONG_DIGESTS, None)
            late = abs(engine.time(now) - sealed.time) > usm.TIME_WINDOW_S
            if sealed.boots != engine.boots or late:
                return self._report(sealed, _NOT_IN_TIME, user)
        try:
            scoped = v3.open_untrusted(sealed, user)
        except MalformedSnmpError:
            return self._report(sealed, _DECRYPTION_ERRORS, None) if sealed.flags & PRIV else None
        return self._answer_v3(sealed, user, scoped)

    def _device_of(self, context: str) -> Device | None:
        return self._only if self._only is not None and not context else self._contexts.get(context)

    def _answer_v3(self, sealed: Sealed, user: User, scoped: Scoped) -> Reply | None:
        device, level = self._device_of(scoped.context), sealed.flags & (AUTH | PRIV)
        if device is None:
            return self._report(sealed, _UNKNOWN_CONTEXTS, user, level)
        if scoped.pdu.kind not in _READS or not device.reachable():
            return None
        pdu: bytes | None
        if level != (AUTH | PRIV if user.priv else AUTH):
            # a user's view is for its own level alone (RFC 3415 section 3.2, noAccessEntry)
            asked = [varbind(oid, value) for oid, value in scoped.pdu.binds]
            pdu = encode_pdu(Kind.RESPONSE, scoped.pdu.request_id, Status.AUTHORIZATION_ERROR, 0, asked)
        else:
            room = min(device.bytes_max, max(sealed.bytes_max, _BYTES_LEAST)) - v3.OVERHEAD_BYTES_MAX
            pdu = device.answer(scoped.pdu, Asked(Version.V3, user.writes, room))
        if pdu is None:
            return None
        return Reply(v3.seal(self._envelope(sealed, user, level), scoped.engine_id, scoped.context, pdu), device)

    def _envelope(self, sealed: Sealed, user: User | None, level: int) -> Envelope:
        engine = self.engine
        time = engine.time(self._clock())
        return Envelope(sealed.message_id, level, engine.engine_id, engine.boots, time, user, sealed.user)

    def _report(self, sealed: Sealed, counter: str, user: User | None, level: int = AUTH) -> Reply | None:
        """Return a Report; one that a user's key proves where `user` is given (RFC 3414 section 3.2, step 7)."""
        self._stats[counter] += 1
        if not sealed.flags & REPORTABLE or (self._only is not None and self._only.faults.no_report):
            return None
        request_id = 0
        try:
            request_id = v3.open_untrusted(sealed, user if sealed.flags & PRIV else None).pdu.request_id
        except MalformedSnmpError:
            pass  # it is encrypted: the number is not known (RFC 3412 section 7.1, step 3)
        told = [varbind(ber.oid(counter), values.counter32(self._stats[counter]))]
        pdu = encode_pdu(Kind.REPORT, request_id, 0, 0, told)
        envelope = self._envelope(sealed, user, level if user is not None else 0)
        return Reply(v3.seal(envelope, self.engine.engine_id, "", pdu), self._only)
