"""Version 3 as a client of one device speaks it: discovery, keys at its engine, time, and what its Reports mean.

* A Report that asks for nothing but another try is obeyed a few times a request (`exchange`), and only for messages
  that we sent: it must carry the random id of one of them.
* An unauthenticated Report is heard only where the engine has no key to authenticate it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final, Literal

from agent.connectors.snmp import pdu, usm, v3_messages
from agent.connectors.snmp.credential import SnmpCredential
from agent.connectors.snmp.errors import RequestRefusedError, UncountedMessageError
from agent.connectors.snmp.pdu import Pdu, PduKind
from agent.connectors.snmp.security import AGAIN, Again
from agent.connectors.snmp.usm import EngineTime
from agent.connectors.snmp.usm_keys import UserKeys, keys_at
from agent.connectors.snmp.v3_messages import AUTH_FLAG, PRIV_FLAG, REPORTABLE_FLAG, V3Header, V3Message
from agent.connectors.snmp.values import Oid, dotted, oid

_REFUSALS: Final[dict[Oid, tuple[str, str]]] = {
    usm.UNSUPPORTED_SEC_LEVELS: (
        "usmStatsUnsupportedSecLevels",
        "the device does not take this user with this authentication and encryption: compare auth and priv",
    ),
    usm.UNKNOWN_USER_NAMES: ("usmStatsUnknownUserNames", "the device does not know this user"),
    usm.WRONG_DIGESTS: ("usmStatsWrongDigests", "wrong secret: auth or auth_secret differs from the device's"),
    usm.DECRYPTION_ERRORS: ("usmStatsDecryptionErrors", "wrong secret: priv or priv_secret differs from the device's"),
    oid("1.3.6.1.6.3.12.1.4.0"): ("snmpUnavailableContexts", "the device says that this context is not available"),
    oid("1.3.6.1.6.3.12.1.5.0"): ("snmpUnknownContexts", "the device does not know this context"),
}


class UsmSecurity:
    """The security of messages to one device, with everything that was learned of its engine."""

    def __init__(self, credential: SnmpCredential, dice: Callable[[int], int]) -> None:
        self._credential = credential
        self._level = usm.level(credential)
        self._user, self._context = credential.user.encode(), credential.context.encode()
        # A salt must not come twice under one key, and a restart forgets the last (RFC 3414 section 8.1.1.1, RFC 3826)
        self._counter = dice(64)
        self._keys = UserKeys(b"", b"")
        self._time = EngineTime(0, 0, 0.0)
        self._synchronized = False
        """Whether an authentic message told the time."""
        self.engine_id = b""
        """The device's, as it says; empty: not known yet."""

    @property
    def ready(self) -> bool:
        return bool(self.engine_id)

    @property
    def boots(self) -> int | None:
        """The number of the engine's restarts, once it is known."""
        return self._time.boots if self.ready else None

    @property
    def clock(self) -> EngineTime | None:
        """The engine's time, once an authentic answer to one of our questions told it."""
        return replace(self._time) if self._synchronized and self._level else None

    def seal(self, body: bytes, message_id: int, now: float, /) -> bytes:
        """Return the message around a PDU; while the engine is unknown, the question for it (RFC 3414, section 4)."""
        if not self.ready:
            header = V3Header(message_id, REPORTABLE_FLAG, b"", 0, 0, b"", b"", b"")
            nothing = v3_messages.scoped(b"", b"", pdu.encode_question(PduKind.GET, message_id, ()))
            return v3_messages.encode(header, nothing)[0]
        self._counter += 1
        flags = self._level | REPORTABLE_FLAG
        boots, time_s = self._time.boots, self._time.now_s(now)
        header = V3Header(message_id, flags, self.engine_id, boots, time_s, self._user, b"", b"")
        scoped = v3_messages.scoped(self.engine_id, self._context, body)
        return usm.seal(self._credential, self._keys, header, scoped, self._counter)

    def open_untrusted(
        self, data: bytes, message_ids: Collection[int], now: float, columns: tuple[Oid, ...] = (), /
    ) -> Pdu | Literal[Again.AGAIN]:
        """Return the PDU of an answer, or that a Report taught us the needs of the next message.

        Raises:
            MalformedSnmpError: it is no message.
            UncountedMessageError: it does not count.
            RequestRefusedError: a Report says that the device takes no such message.
        """
        message = v3_messages.message_untrusted(data)
        header = message.header
        if header.message_id not in message_ids:
            raise UncountedMessageError("it belongs to another request, or came late")
        authentic = self._authentic_untrusted(message)
        scoped = usm.scoped_octets_untrusted(message, self._credential, self._keys)
        found = v3_messages.scoped_untrusted(scoped, columns).pdu
        if not isinstance(found, Pdu):
            raise UncountedMessageError("expected an answer, got a trap")
        if found.kind is PduKind.REPORT:
            return self._heard(found, header, now, authentic=authentic)
        if header.flags & (AUTH_FLAG | PRIV_FLAG) != self._level:
            raise UncountedMessageError("expected the authentication and encryption of the request, got others")
        if header.user != self._user or header.engine_id != self.engine_id:
            raise UncountedMessageError("expected the user and the engine of the request, got others")
        if authentic and not self._in_time(header, now):
            raise UncountedMessageError(
                f"outside of the time window: expected boots {self._time.boots} and time {self._time.now_s(now)} s, "
                f"got {header.boots} and {header.time_s} s"
            )
        return found

    def _authentic_untrusted(self, message: V3Message) -> bool:
        """Return whether a message is authenticated; one that says so and is not does not count."""
        if not message.header.flags & AUTH_FLAG:
            return False
        if message.header.engine_id != self.engine_id:
            raise UncountedMessageError("expected the engine of the request, got another one")
        if not usm.is_authentic_untrusted(message, self._credential, self._keys):
            raise UncountedMessageError(
                "wrong digest: auth or auth_secret differs from the device's, or it was changed"
            )
        return True

    def _in_time(self, header: V3Header, now: float) -> bool:
        if not self._synchronized:
            # Until now the time was what anybody could have told
            self._synchronize(header, now)
        return self._time.admits(header, now)

    def _synchronize(self, header: V3Header, now: float) -> None:
        self._time, self._synchronized = EngineTime(header.boots, header.time_s, now), True

    def _heard(self, report: Pdu, header: V3Header, now: float, *, authentic: bool) -> Literal[Again.AGAIN]:
        name = report.varbinds[0][0] if report.varbinds else Oid(b"\0")
        if not authentic and self._level and name not in usm.UNAUTHENTICATED_REPORTS:
            raise UncountedMessageError(
                f"expected an authenticated Report of {dotted(name)}, got one that anybody can send"
            )
        if name == usm.UNKNOWN_ENGINE_IDS and header.engine_id and header.engine_id != self.engine_id:
            # Its first answer, or it has another engine than before: replaced, or reset
            self.engine_id, self._synchronized = header.engine_id, False
            self._keys = keys_at(self._credential, header.engine_id)
            self._time = EngineTime(header.boots, header.time_s, now)
            return AGAIN
        if name == usm.NOT_IN_TIME_WINDOWS and (authentic or not self._level):
            # Fresh, since it carries the random id of our message: so boots may go back too. Devices forget theirs
            self._synchronize(header, now)
            return AGAIN
        status, text = _REFUSALS.get(name, (dotted(name), f"the device reports {dotted(name)}"))
        raise RequestRefusedError(text, status)
