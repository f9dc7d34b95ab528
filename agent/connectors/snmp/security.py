"""The security of messages as a session sees it, and that of versions 1 and 2c: none but a community."""

from __future__ import annotations

import enum
import hmac
from collections.abc import Collection
from typing import Final, Literal, Protocol

from agent.connectors.snmp import messages
from agent.connectors.snmp.credential import SnmpCredential
from agent.connectors.snmp.errors import UncountedMessageError
from agent.connectors.snmp.pdu import Pdu
from agent.connectors.snmp.values import Oid


class Again(enum.Enum):
    """The device told something that the next message needs: send the request again."""

    AGAIN = enum.auto()


AGAIN: Final = Again.AGAIN


class Security(Protocol):
    """Messages around PDUs, of one device."""

    @property
    def ready(self) -> bool:
        """Whether enough is known of the device to send it a request."""

    @property
    def boots(self) -> int | None:
        """A number that grows when the device restarts; None: it tells none."""

    def seal(self, body: bytes, message_id: int, now: float, /) -> bytes:
        """Return the message to send for a PDU; while too little is known of the device, one that asks for that."""

    def open_untrusted(
        self, data: bytes, message_ids: Collection[int], now: float, columns: tuple[Oid, ...] = (), /
    ) -> Pdu | Literal[Again.AGAIN]:
        """Return the PDU of an answer to one of these messages. `columns`: those whose rows it may have.

        Raises:
            MalformedSnmpError: it is no message.
            UncountedMessageError: it does not count: it is not authentic, or answers something else.
            RequestRefusedError: the device reports that it takes no message with this security.
        """


class CommunitySecurity:
    """Versions 1 and 2c."""

    def __init__(self, credential: SnmpCredential) -> None:
        self._version, self._community = credential.version, credential.community

    @property
    def ready(self) -> bool:
        return True

    @property
    def boots(self) -> None:
        return None

    def seal(self, body: bytes, _message_id: int, _now: float, /) -> bytes:
        """Return the message around a PDU."""
        return messages.encode(self._version, self._community, body)

    def open_untrusted(
        self, data: bytes, _message_ids: Collection[int], _now: float, columns: tuple[Oid, ...] = (), /
    ) -> Pdu:
        """Return the PDU of an answer.

        Raises:
            MalformedSnmpError: it is none.
            UncountedMessageError: its version or community differs.
        """
        message = messages.message_untrusted(data, columns)
        if message.version is not self._version:
            raise UncountedMessageError(f"expected version {self._version.value}, got {message.version.value}")
        if not hmac.compare_digest(message.community, self._community):
            raise UncountedMessageError("expected the community of the request, got another one")
        if not isinstance(message.pdu, Pdu):
            raise UncountedMessageError("expected an answer, got a trap")
        return message.pdu
