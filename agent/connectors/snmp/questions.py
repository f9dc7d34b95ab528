"""GET and SET, one request at a time: the questions left, and how answers are taken.

Sans-IO: a session sends `body`, gives the answer to `receive`, and calls `shrink` when a device is too small for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.connectors.snmp import pdu
from agent.connectors.snmp.errors import AgentFaultError, RequestRefusedError
from agent.connectors.snmp.limits import GET_VARBINDS
from agent.connectors.snmp.pdu import NO_SUCH_NAME, TOO_BIG, Pdu, PduKind
from agent.connectors.snmp.values import NO_SUCH_OBJECT, Oid, Value, dotted


class SnmpQuestion(Protocol):
    """Anything that a session asks a device."""

    once: bool
    """Whether it must not be sent again after silence."""

    @property
    def columns(self) -> tuple[Oid, ...]:
        """The columns of which the answer to its last request may have whole rows; none: single varbinds are read."""

    def body(self, request_id: int) -> bytes:
        """Return the PDU of the next request."""

    def shrink(self) -> bool:
        """Ask for less from now on; return whether that is possible."""


def refused(answer: Pdu, names: Sequence[Oid]) -> RequestRefusedError:
    """Return the error that an answer with an error-status stands for."""
    status = pdu.status_name(answer.status)
    at = f" for {dotted(names[answer.index - 1])}" if 1 <= answer.index <= len(names) else ""
    return RequestRefusedError(f"the device answered {status}{at}", status)


class GetQuestion:
    """The values of some names, in as many requests as the device needs.

    `unread`: gets the names that the device answers an error for, each with that error; None: the error is raised.
    """

    once = False
    columns: tuple[Oid, ...] = ()

    def __init__(self, names: Sequence[Oid], unread: dict[Oid, str] | None = None) -> None:
        self._left = list(dict.fromkeys(names))
        self._unread = unread
        self._width = GET_VARBINDS
        self._asked: list[Oid] = []
        self.found: dict[Oid, Value] = {}

    @property
    def done(self) -> bool:
        return not self._left

    def body(self, request_id: int) -> bytes:
        self._asked = self._left[: self._width]
        return pdu.encode_question(PduKind.GET, request_id, self._asked)

    def shrink(self) -> bool:
        if len(self._asked) <= 1:
            return False
        self._width = len(self._asked) // 2
        return True

    def receive(self, answer: Pdu) -> None:
        """Take the answer to the last request.

        Raises:
            RequestRefusedError: it is an error that a smaller request does not cure.
            AgentFaultError: it names other objects than were asked.
        """
        if answer.status == NO_SUCH_NAME and 1 <= answer.index <= len(self._asked):
            # Version 1 has no exceptions: the error is about one name, and the others are asked again
            name = self._asked[answer.index - 1]
            self.found[name] = (NO_SUCH_OBJECT, b"")
            self._left.remove(name)
            return
        if answer.status or not answer.varbinds:
            if self.shrink():
                return
            if answer.status == NO_SUCH_NAME:
                self.found[self._left.pop(0)] = (NO_SUCH_OBJECT, b"")
                return
            if answer.status:
                error = refused(answer, self._asked)
                if self._unread is None:
                    raise error
                # An agent that cannot get one value answers genErr for the whole GET (RFC 3416, section 4.2.1). Halving
                # found the one: error-index is not believed, since agents set it to 0 or 1 whichever value it is
                self._unread[self._left.pop(0)] = str(error)
                self._width = GET_VARBINDS
                return
        # An agent that cuts the answer gives the first ones
        for asked, (name, value) in zip(self._asked, answer.varbinds, strict=False):
            if name != asked:
                raise AgentFaultError(f"asked for {dotted(asked)}, the device answered {dotted(name)}")
            self.found[name] = value
        if not answer.varbinds:
            raise AgentFaultError(f"asked for {dotted(self._asked[0])}, the device answered without any value")
        del self._left[: min(len(answer.varbinds), len(self._asked))]


class SetQuestion:
    """New values of some names: one request, all or nothing (RFC 3416, section 4.2.5), never sent again unasked."""

    once = True
    columns: tuple[Oid, ...] = ()

    def __init__(self, values: Mapping[Oid, Value]) -> None:
        self._values = tuple(values.items())

    def body(self, request_id: int) -> bytes:
        return pdu.encode(Pdu(PduKind.SET, request_id, 0, 0, self._values))

    def shrink(self) -> bool:
        return False

    def receive(self, answer: Pdu) -> None:
        """Take the answer.

        Raises:
            RequestRefusedError: the device set nothing.
        """
        if answer.status == TOO_BIG:
            raise RequestRefusedError("the device answered tooBig: set fewer values at once", "tooBig")
        if answer.status:
            raise refused(answer, [name for name, _ in self._values])
