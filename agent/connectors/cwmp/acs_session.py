"""One session of a CPE with an ACS, the ACS' side (TR-069 section 3.7). Pure: POSTs in, events and replies out.

For each POST, `receive_untrusted` returns its events and `respond` gives the HTTP response, in this order:

    CPE                                     ACS
    POST Inform                      ->     `Informed`     200 InformResponse
    POST TransferComplete, …         ->     `CpeAsks`      200 its response
    POST (empty: the floor is ours)  ->                    200 the first request that was queued by `send`
    POST its response or a fault     ->     `Answered`     200 the next request
    POST its response                ->     `Answered`     204: nothing more; `Ended`

**`respond` is the acknowledgement.** A CPE forgets a TransferComplete once that is answered, so an event must be
durable before `respond` is called. Requests are sent one at a time; one that was sent and not answered when the session
ends stands in `Ended.unanswered`: whether it took effect is *unknown*, never "failed".

**The same POST twice is handled once.** A CPE sends its POST again when its connection broke: it is given the same
bytes again, without an event. An answer is told from a repetition by its ID. A CPE that does not repeat our IDs leaves
only HTTP's order to tell by (`Answered.id_echoed` is False): its answer counts for the request that was sent last.

A request that cannot be read is refused by a fault, and the session goes on, up to `limits.STRIKES` in a row. An
*answer* that cannot be read ends it with HTTP 400, since no fault answers an answer (TR-069 section 3.5).

An Inform, the report of a transfer, and the answer to a request that only reads, are read a second time where a few
values in them cannot be decoded (`salvage`); the event says so. The answer to a write never is.
"""

from __future__ import annotations

import enum
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Final

from agent.connectors.cwmp import envelope, limits, reading, soap
from agent.connectors.cwmp.errors import (
    HeaderNotUnderstoodError,
    LocalCwmpError,
    RemoteCwmpError,
    UnknownMethodError,
)
from agent.connectors.cwmp.faults import AcsFault, refusal
from agent.connectors.cwmp.messages import (
    AutonomousTransferComplete,
    Fault,
    GetParameterNames,
    GetParameterNamesResponse,
    GetParameterValues,
    GetParameterValuesResponse,
    Inform,
    InformResponse,
    TransferComplete,
)
from agent.connectors.cwmp.methods import (
    ANSWERS_OF_ACS,
    ANSWERS_OF_CPE,
    AcsRequest,
    AcsResponse,
    CpeRequest,
    CpeResponse,
    Message,
    since,
    standard_answer,
)
from agent.connectors.cwmp.reading import BodyRead
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.versions import PROTOCOL_VERSIONS, CwmpVersion

# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Informed:
    """A session begins. It proves nothing that the CPE says of itself. `misread`: why some values are unreadable."""

    inform: Inform
    header: Header
    version: CwmpVersion
    misread: RemoteCwmpError | None = None


@dataclass(frozen=True, slots=True)
class CpeAsks:
    """The CPE asks, or tells that something is done. Answered by `methods.standard_answer`, unless by `answer`.

    `misread`: the reason why values of its report could not be decoded, None where all were read.
    """

    request: CpeRequest
    misread: RemoteCwmpError | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A request of ours was answered.

    `id_echoed`: the answer had its ID, as it should. `misread`: why some values in it are unreadable.
    """

    request: AcsRequest
    answer: CpeResponse | Fault
    id_echoed: bool
    misread: RemoteCwmpError | None = None


@dataclass(frozen=True, slots=True)
class Misread:
    """A POST could not be read, or had no place here; the CPE was told so by a fault."""

    error: RemoteCwmpError | None
    fault: AcsFault


class EndReason(enum.Enum):
    """Why a session is over."""

    DONE = "done"  # neither side has more
    TIMEOUT = "timeout"  # nothing came for too long
    REFUSED = "refused"  # its Inform was answered by a fault of ours
    INFORMED_AGAIN = "informed-again"  # the CPE began anew
    UNREADABLE = "unreadable"  # an answer that cannot be read, or too many such requests
    UNEXPECTED = "unexpected"  # an answer to nothing, or to something else
    REPEATED = "repeated"  # the same POST again and again
    TOO_LONG = "too-long"  # more POSTs than a session has


@dataclass(frozen=True, slots=True)
class Ended:
    """A session is over.

    `unanswered`: was sent, and its fate is unknown. `unsent`: never left. `error`: the part that could not be read.
    INFORMED_AGAIN is followed by `Informed`: the next session, in the same object.
    """

    reason: EndReason
    unanswered: AcsRequest | None = None
    unsent: tuple[AcsRequest, ...] = ()
    error: RemoteCwmpError | None = None


SessionEvent = Informed | CpeAsks | Answered | Misread | Ended


@dataclass(frozen=True, slots=True)
class AcsReply:
    """The HTTP response: 200 with an envelope, 204, or 400. `ended`: the session ended by giving it."""

    status: int
    body: bytes = b""
    ended: Ended | None = None


# --- the session ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request that was sent and not answered."""

    request: AcsRequest
    id: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request of the CPE that is to be answered now."""

    request: CpeRequest
    id: str | None
    version: CwmpVersion


class _Last(enum.Enum):
    """The POST before this one, for telling a repetition from a new one."""

    NOTHING = enum.auto()
    REQUEST = enum.auto()
    ANSWER = enum.auto()  # with our ID in it
    ANSWER_WITHOUT_ID = enum.auto()
    EMPTY = enum.auto()
    REFUSED = enum.auto()


_BAD: Final = AcsReply(400)
_NOTHING: Final = AcsReply(204)


class AcsSession:
    """One session. After `ended`, a POST that is not the last one again belongs to a new session."""

    def __init__(self, name: str, now: float) -> None:
        """Begin to wait for an Inform.

        Args:
            name: begins the ID of every request: letters and digits, of this session alone, up to 24 characters.
            now: seconds on a clock that does not go back, here and everywhere.

        Raises:
            LocalCwmpError: another name.
        """
        if not name.isascii() or not name.isalnum() or len(name) > 24:
            raise LocalCwmpError("session: expected a name of 1 to 24 letters and digits")
        self._name = name
        self._number = self._posts = self._strikes = self._repeats = 0
        self._queue: deque[AcsRequest] = deque()
        self._pending: _Pending | None = None
        self._asked: _Asked | None = None
        self._reply: AcsReply | None = None  # decided by the POST alone
        self._given: AcsReply | None = None  # the last that `respond` gave
        self._waiting = False  # for `respond`
        self._last, self._key = _Last.NOTHING, b""
        self._informed: Informed | None = None
        self._silent_since, self._timeout_s = now, limits.TIMEOUT_S
        self.ended = False

    @property
    def pending(self) -> AcsRequest | None:
        """The request that was sent and is not answered."""
        return self._pending.request if self._pending else None

    @property
    def idle(self) -> bool:
        """Whether a POST waits for its response, the floor is ours, and we have nothing to say yet."""
        ours = self._waiting and self._reply is None and self._asked is None
        return ours and not self._queue and not self.ended

    # --- time

    def deadline(self) -> float | None:
        """Return when the session times out, if nothing comes; None when it is over, or it is ours to respond."""
        return None if self.ended or self._waiting else self._silent_since + self._timeout_s

    def handle_timer(self, now: float) -> tuple[SessionEvent, ...]:
        """Return that the session ended, when its deadline has passed."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return ()
        self._given = _BAD  # what was given last is not given again: it may hold a request
        return (self._end(EndReason.TIMEOUT),)

    def accept(self) -> None:
        """Take note that the CPE is an accepted one: the silence that it asked for (SessionTimeout) is granted."""
        asked_s = self._informed.header.session_timeout_s if self._informed else None
        self._timeout_s = min(max(limits.TIMEOUT_S, asked_s or 0), limits.TIMEOUT_MOST_S)

    # --- what we want

    def send(self, request: AcsRequest) -> None:
        """Queue a request; it goes out when the floor is ours.

        Raises:
            LocalCwmpError: no session is open, the CPE's version does not have it, its schema does not have a value in
                it, or the queue is full. Nothing is queued.
        """
        if self._informed is None or self.ended:
            raise LocalCwmpError("session: expected an Inform before a request")
        if type(request) not in ANSWERS_OF_CPE:
            raise LocalCwmpError(f"session: expected a request to a CPE, got {type(request).__name__}")
        if len(self._queue) >= limits.QUEUE:
            raise LocalCwmpError(f"session: expected at most {limits.QUEUE} requests in the queue")
        envelope.element_of(request, self._informed.version)  # that it can be written
        self._queue.append(request)

    def answer(self, message: AcsResponse | Fault) -> None:
        """Answer the CPE's request otherwise than by the standard answer; before `respond`.

        A fault in answer to an Inform ends the session, but 8005: then the CPE informs again, at once.

        Raises:
            LocalCwmpError: nothing is asked, this is no answer to it, the schema does not have a value in it, or an
                Inform is to be refused and requests are queued.
        """
        if self._asked is None:
            raise LocalCwmpError("session: expected a request of the CPE before an answer")
        asked = self._asked
        if isinstance(message, Fault):
            if message.fault_code is None or not 8000 <= message.fault_code <= 8899:
                raise LocalCwmpError("session: expected a fault of an ACS, 8000 to 8899")
        elif type(message) is not ANSWERS_OF_ACS[type(asked.request)]:
            raise LocalCwmpError(
                f"session: expected {ANSWERS_OF_ACS[type(asked.request)].__name__}, got {type(message).__name__}"
            )
        refuses = isinstance(message, Fault) and isinstance(asked.request, Inform)
        if refuses and self._queue:
            raise LocalCwmpError("session: expected no request in the queue of a CPE that is refused")
        reply = AcsReply(200, self._answer_written(message, asked))
        if isinstance(message, Fault) and refuses:
            self._informed = None
            ended = self._end(EndReason.REFUSED)
            if message.fault_code == AcsFault.RETRY_REQUEST:
                # The same Inform, perhaps the same bytes, is to come again and to be looked at again
                self.ended, self._last = False, _Last.NOTHING
            else:
                reply = AcsReply(200, reply.body, ended)
        self._asked, self._reply = None, reply

    # --- what comes

    def receive_untrusted(self, body: bytes, read: BodyRead | None = None) -> tuple[SessionEvent, ...]:
        """Take a POST and return its events; `respond` is to follow.

        Args:
            body: of the POST, decompressed; empty for an empty POST.
            read: the result of reading it; None: it is read now, in one go.

        Raises:
            LocalCwmpError: the POST before was not responded to.
        """
        if self._waiting:
            raise LocalCwmpError("session: expected a response to the POST before")
        self._waiting = True
        self._asked = self._reply = None
        self._posts += 1
        empty = not body.strip(b" \t\r\n")
        key = hashlib.sha256(b"" if empty else body).digest()
        if key == self._key and self._is_repeated():
            return self._repeat()
        self._key, self._repeats = key, 0
        if self.ended:
            self._reply = _BAD
            return ()
        if self._posts > limits.POSTS:
            return self._break(EndReason.TOO_LONG)
        return self._take_empty() if empty else self._take_untrusted(read or reading.read_untrusted(body))

    def _is_repeated(self) -> bool:
        """Return whether the same bytes as before are the same POST again."""
        match self._last:
            case _Last.REQUEST | _Last.ANSWER:
                return True
            case _Last.EMPTY:
                # Again before the request that it was given was answered; or after the end
                return self._pending is not None or self.ended
            case _Last.ANSWER_WITHOUT_ID | _Last.REFUSED:
                return self.ended
            case _Last.NOTHING:
                return False

    def _repeat(self) -> tuple[SessionEvent, ...]:
        self._repeats += 1
        if self._repeats > limits.REPEATS and not self.ended:
            return self._break(EndReason.REPEATED)
        self._reply = self._given
        return ()

    def _take_empty(self) -> tuple[SessionEvent, ...]:
        if self._informed is None:
            # A session begins with an Inform; there is nothing to say to this
            self._reply = _NOTHING
            return (self._end(EndReason.UNEXPECTED),)
        if self._pending is not None:
            # The floor is handed over in place of an answer: what became of the request nobody knows
            return self._break(EndReason.UNEXPECTED)
        self._last = _Last.EMPTY
        return ()

    def _take_untrusted(self, read: BodyRead) -> tuple[SessionEvent, ...]:
        opened, message, misread = read.opened, read.message, read.error
        if misread is not None:
            found = self._salvaged(read)
            if found is None:
                return self._misread(misread, opened)
            opened, message = found
        if opened is None or message is None:
            raise LocalCwmpError("session: expected a message, or why there is none")
        version = opened.version or (self._informed.version if self._informed else CwmpVersion.V1_0)
        if isinstance(message, Inform):
            return self._inform(message, opened.header, version, misread)
        if isinstance(message, CpeRequest):
            if self._informed is None:
                return self._refuse(AcsFault.REQUEST_DENIED, "expected an Inform first", opened)
            self._strikes, self._last = 0, _Last.REQUEST
            # One that the CPE's version does not have is answered in the first that does
            version = max(self._informed.version, since(type(message)), key=lambda v: v.value)
            self._asked = _Asked(message, opened.header.id, version)
            return (CpeAsks(message, misread),)
        if isinstance(message, CpeResponse | Fault):
            return self._answered(message, opened.header.id, misread)
        if isinstance(message, AcsRequest):
            return self._refuse(AcsFault.METHOD_NOT_SUPPORTED, "expected a method of an ACS", opened)
        return self._break(EndReason.UNEXPECTED)

    def _salvaged(self, read: BodyRead) -> tuple[soap.Opened, Message] | None:
        """Return a message that only reports, without the values in it that cannot be decoded; None: it is no such."""
        if read.salvaged is None:
            return None
        reads = self._pending is not None and isinstance(self._pending.request, GetParameterValues | GetParameterNames)
        opened, message = read.salvaged
        answers = isinstance(message, GetParameterValuesResponse | GetParameterNamesResponse | Fault)
        reports = isinstance(message, Inform | TransferComplete | AutonomousTransferComplete)
        return (opened, message) if reports or (reads and answers) else None

    def _inform(
        self, inform: Inform, header: Header, version: CwmpVersion, misread: RemoteCwmpError | None
    ) -> tuple[SessionEvent, ...]:
        ended: tuple[SessionEvent, ...] = ()
        if self._informed is not None:
            ended = (self._end(EndReason.INFORMED_AGAIN),)
            self.ended = False
        self._strikes, self._last = 0, _Last.REQUEST
        self._timeout_s = limits.TIMEOUT_S
        self._informed = Informed(inform, header, version, misread)
        self._asked = _Asked(inform, header.id, version)
        return (*ended, self._informed)

    def _answered(
        self, message: CpeResponse | Fault, identity: str | None, misread: RemoteCwmpError | None
    ) -> tuple[SessionEvent, ...]:
        pending = self._pending
        if pending is None:
            return self._break(EndReason.UNEXPECTED)
        echoed = soap.same_id(identity, pending.id)
        # An ID of ours that is another request's: a late answer, which must not count for the request of now
        of_another = not echoed and identity is not None and identity.strip().startswith(f"{self._name}-")
        if of_another or not isinstance(message, ANSWERS_OF_CPE[type(pending.request)] | Fault):
            return self._break(EndReason.UNEXPECTED)
        self._pending, self._strikes = None, 0
        self._last = _Last.ANSWER if echoed else _Last.ANSWER_WITHOUT_ID
        return (Answered(pending.request, message, echoed, misread),)

    # --- what cannot be read

    def _misread(self, error: RemoteCwmpError, opened: soap.Opened | None) -> tuple[SessionEvent, ...]:
        name = opened.message.name if opened else None
        if name is None:
            is_answer = self._pending is not None
        else:
            is_answer = name == "Fault" or name.endswith("Response")
        if is_answer:
            return self._break(EndReason.UNREADABLE, error)
        match error:
            case HeaderNotUnderstoodError():
                return self._refuse(AcsFault.REQUEST_DENIED, "", opened, error)
            case UnknownMethodError():
                return self._refuse(AcsFault.METHOD_NOT_SUPPORTED, "no method of an ACS", opened, error)
            case _:
                return self._refuse(AcsFault.INVALID_ARGUMENTS, str(error), opened, error)

    def _refuse(
        self, code: AcsFault, text: str, opened: soap.Opened | None, error: RemoteCwmpError | None = None
    ) -> tuple[SessionEvent, ...]:
        """Refuse a request by a fault, and end the session when that happened too often in a row."""
        self._strikes += 1
        self._last = _Last.REFUSED
        if self._strikes >= limits.STRIKES:
            return self._break(EndReason.UNREADABLE if error else EndReason.UNEXPECTED, error)
        version = self._informed.version if self._informed else ((opened and opened.version) or CwmpVersion.V1_0)
        identity = opened.header.id if opened else None
        if isinstance(error, HeaderNotUnderstoodError):
            written = envelope.write_not_understood(Header(identity), version)
        else:
            written = self._written(refusal(code, text[:256]), identity, version)
        self._reply = AcsReply(200, written)
        return (Misread(error, code),)

    def _break(self, reason: EndReason, error: RemoteCwmpError | None = None) -> tuple[SessionEvent, ...]:
        """End the session with HTTP 400."""
        self._last, self._reply = _Last.REFUSED, _BAD
        return (self._end(reason, error),)

    def _end(self, reason: EndReason, error: RemoteCwmpError | None = None) -> Ended:
        ended = Ended(reason, self.pending, tuple(self._queue), error)
        self._pending = None
        self._queue.clear()
        self.ended = True
        return ended

    # --- what goes out

    def respond(self, now: float) -> AcsReply:
        """Return the response to the POST that was received: its acknowledgement.

        Args:
            now: from when on silence counts.

        Raises:
            LocalCwmpError: no POST waits for one.
        """
        if not self._waiting:
            raise LocalCwmpError("session: expected a POST before a response")
        if self._reply is None:
            self._reply = self._answer_or_ask()
        reply, self._waiting, self._asked, self._silent_since = self._reply, False, None, now
        self._given = AcsReply(reply.status, reply.body)
        return reply

    def _answer_or_ask(self) -> AcsReply:
        if self._asked is not None:
            answer = standard_answer(self._asked.request, self._asked.version)
            return AcsReply(200, self._answer_written(answer, self._asked))
        if self._queue and self._informed is not None:
            request = self._queue.popleft()
            self._number += 1
            identity = f"{self._name}-{self._number}"
            written = self._written(request, identity, self._informed.version)
            self._pending = _Pending(request, identity)
            return AcsReply(200, written)
        return AcsReply(204, ended=self._end(EndReason.DONE))

    def _answer_written(self, answer: AcsResponse | Fault, asked: _Asked) -> bytes:
        use = None
        if isinstance(answer, InformResponse) and self._informed is not None:
            use = _common_version(self._informed.header, asked.version)
        return self._written(answer, asked.id, asked.version, use)

    def _written(
        self, message: Message, identity: str | None, version: CwmpVersion, use_version: str | None = None
    ) -> bytes:
        return envelope.write(message, Header(identity, use_version=use_version), version)


def _common_version(header: Header, version: CwmpVersion) -> str | None:
    """Return the newest version that both speak, for a CPE that says which it does (since 1.4)."""
    if version is not CwmpVersion.V1_2:
        return None
    return next((v for v in reversed(PROTOCOL_VERSIONS) if v in header.supported_versions), None)
