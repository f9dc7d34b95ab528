"""A Dynamic Authorization Client for one NAS, without I/O (RFC 5176): CoA- and Disconnect-Requests and their replies.

The caller owns sockets, numbered from 0, each connected to the NAS. It passes in datagrams and the time, and carries
out the answers: `Send` a datagram on a numbered socket (opening it when it is new), take an `DynAuthAnswer`. Times are
monotonic seconds of one clock; only the Event-Timestamp is wall clock.

    >> request(...)                      << Send(key, 0, data)
    >> handle_timer(now)                 << Send(key, 0, the same data)
    >> receive_untrusted(0, data, now)   << Answer(key, ACK ...)

Identifiers: a NAS tells duplicates by our address, port and identifier within 300 s (RFC 5176 section 6.3), so one is
not used again on a socket until that long after its last datagram; when a socket has none left the next one is used.

Fallback: a NAS that does not know Event-Timestamp or Message-Authenticator answers NAK 401 (Unsupported-Attribute) and
changes nothing; the request is then sent without the one, the other, both, and the form that helped is remembered for
this NAS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.connectors.radius.codec import (
    Encoded,
    PacketKind,
    decode_reply_untrusted,
    encode_request,
    identifier_untrusted,
)
from agent.connectors.radius.errors import MalformedReplyError, NoIdentifierError, NotAuthenticReplyError
from trust import chance

if TYPE_CHECKING:
    from pyrad.dictionary import Dictionary

    from agent.connectors.radius.dictionary import Profile

QUARANTINE_S: Final = 300.0
"""RFC 5176 section 6.3: the default replay window."""

SOCKETS_MAX: Final = 32
"""32 ports give 8,192 requests per NAS in 300 s; chosen arbitrarily."""

_IDENTIFIERS: Final = 256
_UNSUPPORTED_ATTRIBUTE: Final = 401
_BACKOFF_MAX_S: Final = 16.0
"""RFC 5080 section 2.2.1 (MRT)."""

Key = int


@dataclass(frozen=True, slots=True)
class Send:
    """Send `data`, of request `key`, on socket number `socket`."""

    key: Key
    socket: int
    data: bytes


@dataclass(frozen=True, slots=True)
class DynAuthAnswer:
    """The NAS answered request `key`: ACK or NAK with its Error-Cause. `rtt_s` counts from the first datagram."""

    key: Key
    ack: bool
    cause: int | None
    attempts: int
    rtt_s: float


@dataclass(frozen=True, slots=True)
class Silence:
    """No authentic answer to request `key` came: the NAS may have acted or not.

    `refused` says why a reply that did come was not taken (another secret, most often); empty when none came.
    """

    key: Key
    attempts: int
    waited_s: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A datagram that changed nothing, and why."""

    reason: str


Output = Send | DynAuthAnswer | Silence | Ignored


@dataclass(frozen=True, slots=True)
class _Extras:
    """The additions to a request beside its attributes."""

    message_authenticator: bool
    event_timestamp: bool


@dataclass(slots=True)
class _Pending:
    key: Key
    kind: PacketKind
    attributes: Mapping[str, str]
    at_s: int
    deadline: float
    rung: int
    socket: int
    encoded: Encoded
    first_sent: float
    next_at: float
    attempts: int = 1
    sent_here: int = 1
    refused: str = ""


class _Identifiers:
    """The identifiers of one socket: free, in use, or resting until a time."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self._choose = choose
        self._free = list(range(_IDENTIFIERS))
        self._resting: dict[int, float] = {}
        """Until when, the one that is free first in front: all rest equally long."""

    def take(self, now: float) -> int | None:
        while self._resting and self._resting[first := next(iter(self._resting))] <= now:
            del self._resting[first]
            self._free.append(first)
        return self._free.pop(self._choose(len(self._free))) if self._free else None

    def rest(self, identifier: int, now: float) -> None:
        self._resting.pop(identifier, None)
        self._resting[identifier] = now + QUARANTINE_S


class DynAuthClient:
    """Requests to one NAS in flight, its identifiers, and facts learned about it."""

    def __init__(
        self,
        profile: Profile,
        secret: bytes,
        dictionary: Dictionary,
        *,
        learned: frozenset[str] = frozenset(),
        choose: Callable[[int], int] = chance.randbelow,
    ) -> None:
        """Make a client with nothing in flight.

        Args:
            profile: of this kind of NAS.
            secret: the shared secret.
            dictionary: names and types of attributes.
            learned: the facts that an earlier client of this NAS had learned.
            choose: `choose(n)` picks 0 <= i < n among the free identifiers.
        """
        self._profile, self._secret, self._dictionary, self._choose = profile, secret, dictionary, choose
        self._ladder = _ladder(profile)
        self._rung = _rung_without(self._ladder, learned)
        self._sockets: list[_Identifiers] = []
        self._pending: dict[tuple[int, int], _Pending] = {}
        self._keys = 0

    @property
    def learned(self) -> frozenset[str]:
        """The attributes that this NAS turned out not to support."""
        return _lost(self._ladder[0], self._ladder[self._rung])

    def request(
        self, kind: PacketKind, attributes: Mapping[str, str], *, now: float, at_s: int, deadline: float
    ) -> tuple[Key, Send]:
        """Return the new request's key and its first datagram.

        Args:
            kind: CoA or Disconnect.
            attributes: name to value, as text.
            now: monotonic seconds.
            at_s: seconds since 1970, for the Event-Timestamp; the same in every retransmission.
            deadline: monotonic; nothing is sent for this request at or after it, and it ends then.

        Raises:
            UnencodableRequestError: an attribute is unknown, not allowed, or has no encoding.
            NoIdentifierError: 256 requests on each of 32 sockets within 300 s.
        """
        self._keys += 1
        pending = self._open(self._keys, kind, attributes, at_s, deadline, self._rung, now)
        return pending.key, Send(pending.key, pending.socket, pending.encoded.data)

    def receive_untrusted(self, socket: int, data: bytes, now: float) -> tuple[Output, ...]:
        """Return the meaning of a datagram that arrived on socket number `socket`. Total: any bytes give an output."""
        pending = None
        try:
            pending = self._pending.get((socket, identifier_untrusted(data)))
            if pending is None:
                return (Ignored("no request waits for this identifier"),)
            reply = decode_reply_untrusted(pending.encoded, data)
        except (MalformedReplyError, NotAuthenticReplyError) as err:
            if pending is not None:
                pending.refused = str(err)
            return (Ignored(str(err)),)
        self._close(pending, now)
        # NAK 401 changed nothing on the NAS, so it is safe to ask once more without the attribute
        if reply.cause == _UNSUPPORTED_ATTRIBUTE and pending.rung + 1 < len(self._ladder) and now < pending.deadline:
            try:
                return (self._again(pending, now),)
            except NoIdentifierError:
                pass
        elif reply.cause != _UNSUPPORTED_ATTRIBUTE:
            # Remembered for this NAS: else each request would pay for the refusals first
            self._rung = max(self._rung, pending.rung)
        return (DynAuthAnswer(pending.key, reply.ack, reply.cause, pending.attempts, now - pending.first_sent),)

    def get_timer(self) -> float | None:
        """Return when `handle_timer` is due, None while nothing is in flight."""
        return min((p.next_at for p in self._pending.values()), default=None)

    def handle_timer(self, now: float) -> tuple[Output, ...]:
        """Return the retransmissions that are due, the same bytes on the same socket, and the requests that ended."""
        outputs: list[Output] = []
        for pending in [p for p in self._pending.values() if p.next_at <= now]:
            if now >= pending.deadline or pending.sent_here > self._profile.retries:
                self._close(pending, now)
                outputs.append(Silence(pending.key, pending.attempts, now - pending.first_sent, pending.refused))
                continue
            pending.attempts += 1
            pending.sent_here += 1
            pending.next_at = self._next_at(pending, now)
            outputs.append(Send(pending.key, pending.socket, pending.encoded.data))
        return tuple(outputs)

    def abandon(self, key: Key, now: float) -> None:
        """Forget a request (its caller gave up); its identifier rests, a late reply is ignored."""
        for pending in [p for p in self._pending.values() if p.key == key]:
            self._close(pending, now)

    def _open(
        self,
        key: Key,
        kind: PacketKind,
        attributes: Mapping[str, str],
        at_s: int,
        deadline: float,
        rung: int,
        now: float,
    ) -> _Pending:
        extras = self._ladder[rung]
        socket, identifier = self._identifier(now)
        try:
            encoded = encode_request(
                kind,
                identifier,
                attributes,
                self._secret,
                self._dictionary,
                message_authenticator=extras.message_authenticator,
                event_timestamp_s=at_s if extras.event_timestamp else None,
            )
        finally:
            # Rests from now should the encoder refuse; a request in flight renews it when it ends.
            self._sockets[socket].rest(identifier, now)
        pending = _Pending(key, kind, attributes, at_s, deadline, rung, socket, encoded, now, now)
        pending.next_at = self._next_at(pending, now)
        self._pending[socket, identifier] = pending
        return pending

    def _again(self, refused: _Pending, now: float) -> Send:
        """Open the refused request anew with one extra less: another identifier, since the bytes differ."""
        pending = self._open(
            refused.key, refused.kind, refused.attributes, refused.at_s, refused.deadline, refused.rung + 1, now
        )
        pending.attempts, pending.first_sent = refused.attempts + 1, refused.first_sent
        return Send(pending.key, pending.socket, pending.encoded.data)

    def _identifier(self, now: float) -> tuple[int, int]:
        for number, identifiers in enumerate(self._sockets):
            identifier = identifiers.take(now)
            # A request may outlast the quarantine of its first datagram: it keeps its identifier.
            while identifier is not None and (number, identifier) in self._pending:
                identifiers.rest(identifier, now)
                identifier = identifiers.take(now)
            if identifier is not None:
                return number, identifier
        if len(self._sockets) == SOCKETS_MAX:
            raise NoIdentifierError(f"identifiers: all of {SOCKETS_MAX} sockets are in use or resting")
        self._sockets.append(_Identifiers(self._choose))
        return self._identifier(now)

    def _close(self, pending: _Pending, now: float) -> None:
        del self._pending[pending.socket, pending.encoded.identifier]
        self._sockets[pending.socket].rest(pending.encoded.identifier, now)

    def _next_at(self, pending: _Pending, now: float) -> float:
        doubled = self._profile.timeout_s * float(1 << (pending.sent_here - 1))
        return min(now + min(doubled, max(self._profile.timeout_s, _BACKOFF_MAX_S)), pending.deadline)


def _ladder(profile: Profile) -> tuple[_Extras, ...]:
    """Return the forms to try. Event-Timestamp goes first: a NAS that demands the other is silent without it."""
    both = (profile.message_authenticator, profile.event_timestamp)
    rungs = [both, (both[0], False), (False, both[1]), (False, False)]
    return tuple(_Extras(*rung) for rung in dict.fromkeys(rungs))


def _lost(wanted: _Extras, works: _Extras) -> frozenset[str]:
    lost = set()
    if wanted.message_authenticator and not works.message_authenticator:
        lost.add("Message-Authenticator")
    if wanted.event_timestamp and not works.event_timestamp:
        lost.add("Event-Timestamp")
    return frozenset(lost)


def _rung_without(ladder: tuple[_Extras, ...], learned: frozenset[str]) -> int:
    return next((n for n, rung in enumerate(ladder) if _lost(ladder[0], rung) == learned), 0)
