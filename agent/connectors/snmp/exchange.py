"""One request until its answer: tries, the test of an answer, and why others failed it.

Sans-IO. All tries carry one request id: the answer to an earlier try counts too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from agent.connectors.snmp.errors import MalformedSnmpError, RequestRefusedError, UncountedMessageError
from agent.connectors.snmp.limits import REPORTS_MAX, SHORT_BUFFER_TRIES
from agent.connectors.snmp.pdu import Pdu, PduKind
from agent.connectors.snmp.questions import SnmpQuestion
from agent.connectors.snmp.security import AGAIN, Again, Security

Dice = Callable[[int], int]
"""Random bits, as `chance.randbits` gives them."""


class SnmpExchange:
    """One request of a question."""

    def __init__(self, question: SnmpQuestion, security: Security, dice: Dice) -> None:
        self._question, self._security, self._dice = question, security, dice
        self._request_id = dice(31)
        self._messages: list[int] = []
        self._reports, self._shrinks = 0, SHORT_BUFFER_TRIES
        self.sent = 0
        """Messages that were sent."""
        self.asked = False
        """Whether the device may have got the request itself, not only the question for its engine."""
        self.ignored = 0
        """Answers that did not count."""
        self.why = ""
        """Why the last one of them did not."""
        self.malformed = False
        """Whether the last try got something malformed: an answer that the device, or the way, cut."""

    def datagram(self, now: float) -> bytes:
        """Return the message of the next try."""
        # Another one for each try (RFC 3412, section 6.2): a Report counts only where it repeats one of them
        message_id = self._dice(31)
        self._messages.append(message_id)
        self.sent += 1
        self.asked = self._security.ready
        return self._security.seal(self._question.body(self._request_id), message_id, now)

    def receive_untrusted(self, data: bytes, now: float) -> Pdu | Literal[Again.AGAIN] | None:
        """Return the answer, or that the request must be sent again; None: it does not count.

        Raises:
            RequestRefusedError: the device reports that it takes no message with this security.
        """
        try:
            answer = self._security.open_untrusted(data, self._messages, now, self._question.columns)
        except (MalformedSnmpError, UncountedMessageError) as err:
            self.ignored += 1
            self.malformed, self.why = isinstance(err, MalformedSnmpError), str(err)
            return None
        if answer is AGAIN or (answer.kind is PduKind.RESPONSE and answer.request_id == self._request_id):
            return answer
        self.ignored += 1
        self.why = "it belongs to another request, or came late"
        return None

    def again(self) -> None:
        """Allow one more message, because a Report asks for it.

        Raises:
            RequestRefusedError: there were too many.
        """
        self._reports += 1
        if self._reports > REPORTS_MAX:
            raise RequestRefusedError(f"the device sent more than {REPORTS_MAX} Reports for one request", "reports")

    def shrink(self) -> bool:
        """Ask for less, under a new request id: the answer to the larger request no longer fits; False: impossible."""
        if self._question.once or self._shrinks <= 0 or not self._question.shrink():
            return False
        self._shrinks -= 1
        self._request_id = self._dice(31)
        self.malformed = False
        return True
