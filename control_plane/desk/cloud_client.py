"""The control plane as the desk calls it: sync gRPC over mTLS, a deadline on every call, nothing believed.

The connection and its hardening are `protos.channel`'s. Of an error only the name of its status, or an enum's word, is
shown: error texts of a server may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import grpc

from control_plane.desk import cloud_identity
from control_plane.desk.cloud_identity import CertificateRequest
from control_plane.desk.errors import CloudAwayError, CloudRefusedError, UnexpectedAnswerError
from control_plane.desk.feed import Received
from protos import channel, desk_pb2, desk_pb2_grpc, enrolment_pb2, enrolment_pb2_grpc, message_pb2
from protos.member_files import Invitation, MemberCredentials
from protos.message_pb2 import Kind
from trust import chance

CALL_S: Final = 15.0
VIEW_S: Final = 60.0
PAGES_MAX: Final = 512
"""Pages of one view, of 1 MiB at most: more than any plan has. Chosen arbitrarily."""

FEED_MAX: Final = 200_000
"""Messages of a shared feed that are read: against a server that goes on for ever. Chosen arbitrarily."""

FEED_BYTES_MAX: Final = 1 << 30
"""The same in bytes: as much as a control plane keeps of one operator, unless it is told otherwise."""

FEED_PAGES_MAX: Final = 10_000
"""And in answers, which may be empty, or of another feed each time. Chosen arbitrarily."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader of the shared feed stands."""

    epoch: bytes = b""
    after: int = 0


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """The control plane's word on an agent: whether it is connected, and when it last was (unix minutes)."""

    agent: str
    connected: bool
    seen_minute: int


def _received(delivery: message_pb2.Delivery) -> Received:
    message = delivery.message
    return Received(
        delivery.number, int(message.kind), message.agent.hex(), message.body, delivery.minute, message.witness
    )


_AWAY: Final = (
    "the control plane does not answer: ispcloud desk show says where it is; by file everything works without it"
)


@contextmanager
def _told() -> Iterator[None]:
    """Turn gRPC's errors into ours.

    Raises:
        CloudAwayError: no answer, or not in time.
        CloudRefusedError: a refusal.
    """
    try:
        yield
    except grpc.RpcError as err:
        failure = channel.failure_of_untrusted(err)
        if failure.unreachable:
            raise CloudAwayError(_AWAY) from err
        word = failure.refusal or f"code-{failure.status}"
        again = f", come back in {failure.retry_after_s} s" if failure.retry_after_s else ""
        raise CloudRefusedError(word, f"the control plane refused: {word}{again}") from err


def enroll(invitation: Invitation) -> MemberCredentials:
    """Return the identity that the invitation's token buys, once.

    Raises:
        CloudAwayError: no answer.
        CloudRefusedError: the token is unknown, used or out of date.
        UnexpectedAnswerError: the answer is no certificate of this desk's key.
    """
    request = cloud_identity.new_request(invitation.name)
    with channel.open_channel(invitation.enrolment, invitation.ca.encode()) as connection, _told():
        stub = enrolment_pb2_grpc.EnrolmentStub(connection)
        asked = enrolment_pb2.EnrollRequest(token=invitation.token, csr=request.csr)
        reply: enrolment_pb2.EnrollReply = stub.Enroll(asked, timeout=CALL_S)
    chain = cloud_identity.chain_untrusted(request, reply.certificate, reply.issuer)
    return cloud_identity.enrolled(invitation, request, chain)


class DeskClient:
    """A connection of a desk; a context manager. `life` is its certificate's: past it every call is refused."""

    def __init__(self, identity: MemberCredentials) -> None:
        self.life = cloud_identity.life(identity)
        self._channel = channel.open_channel(
            identity.server, identity.ca.encode(), identity.key.encode(), identity.certificate.encode()
        )
        self._stub = desk_pb2_grpc.DeskCloudStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def renew(self, request: CertificateRequest) -> str:
        """Return the chain (PEM) of the next certificate.

        Raises:
            CloudAwayError: no answer.
            CloudRefusedError: a refusal.
            UnexpectedAnswerError: the answer is no certificate of this key.
        """
        with _told():
            reply: message_pb2.RenewReply = self._stub.Renew(message_pb2.RenewRequest(csr=request.csr), timeout=CALL_S)
        return cloud_identity.chain_untrusted(request, reply.certificate, reply.issuer)

    def agents(self) -> tuple[AgentSeen, ...]:
        """Return the operator's agents as the control plane lists them; nothing proves the list.

        Raises:
            CloudAwayError: no answer.
            CloudRefusedError: a refusal.
        """
        with _told():
            reply: desk_pb2.AgentsReply = self._stub.Agents(desk_pb2.AgentsRequest(), timeout=CALL_S)
        return tuple(AgentSeen(a.agent.hex(), a.connected, a.seen_minute) for a in reply.agents)

    def feed(self, kinds: Sequence[Kind] = ()) -> tuple[list[Received], Position]:
        """Return the whole shared feed, of these kinds (none: all), and where it ends.

        Raises:
            CloudAwayError: no answer.
            CloudRefusedError: a refusal.
            UnexpectedAnswerError: it goes on for ever or backwards.
        """
        found: list[Received] = []
        size_bytes = 0
        position = Position()
        for _ in range(FEED_PAGES_MAX):
            cursor = message_pb2.Cursor(epoch=position.epoch, after=position.after)
            with _told():
                reply: desk_pb2.ListReply = self._stub.List(
                    desk_pb2.ListRequest(cursor=cursor, limit=100, kinds=kinds), timeout=CALL_S
                )
            if position.epoch not in (b"", reply.epoch):
                # Restored from a backup in between: what was read belongs to another feed
                found, size_bytes, position = [], 0, Position()
                continue
            found.extend(map(_received, reply.deliveries))
            size_bytes += reply.ByteSize()
            if reply.after < position.after or len(found) > FEED_MAX or size_bytes > FEED_BYTES_MAX:
                break
            ended = reply.after == position.after
            position = Position(reply.epoch, reply.after)
            if ended:
                return found, position
        raise UnexpectedAnswerError(f"expected a shared feed that ends within {FEED_MAX} messages, got another")

    def watch(self, position: Position, timeout_s: float | None = None) -> FeedStream:
        """Return the shared feed after a position as it comes; it ends at `timeout_s`."""
        cursor = message_pb2.Cursor(epoch=position.epoch, after=position.after)
        stream = self._stub.Watch(message_pb2.WatchRequest(cursor=cursor), timeout=timeout_s)
        return FeedStream(stream, position.epoch)

    def submit(
        self, kind: Kind, body: bytes, agent: str = "", *, links: Sequence[bytes] = (), witness: bytes = b""
    ) -> None:
        """Leave a message for an agent (its id, hex; empty: all); it is durable when this returns.

        Raises:
            CloudAwayError: no answer: it may have been taken or not; sending it again does no harm.
            CloudRefusedError: a refusal.
        """
        message = message_pb2.Message(
            kind=kind,
            ref=chance.token_bytes(16),
            agent=bytes.fromhex(agent),
            body=body,
            links=links,
            witness=witness,
        )
        request = message_pb2.SubmitRequest(message=message)
        try:
            with _told():
                self._stub.Submit(request, timeout=CALL_S)
        except CloudAwayError:
            # The same ref: if the first one was taken, this has no second effect
            with _told():
                self._stub.Submit(request, timeout=CALL_S)

    def view(self, agent: str, body: bytes, *, links: Sequence[bytes] = ()) -> ViewStream:
        """Return an agent's answer to a signed view; `links`: trust documents that it may lack."""
        message = message_pb2.Message(
            kind=message_pb2.KIND_VIEW,
            ref=chance.token_bytes(16),
            agent=bytes.fromhex(agent),
            body=body,
            links=links,
        )
        return ViewStream(self._stub.View(desk_pb2.ViewRequest(message=message), timeout=VIEW_S))


class _Call(Protocol):
    def cancel(self) -> bool: ...

    def __iter__(self) -> Iterator[Any]: ...


class FeedStream:
    """Messages of the shared feed as they come, each with the position behind it."""

    def __init__(self, call: _Call, epoch: bytes) -> None:
        self._call, self._epoch = call, epoch

    def cancel(self) -> None:
        """End it, from any thread."""
        self._call.cancel()

    def __iter__(self) -> Iterator[tuple[Received, Position]]:
        """Yield until it ends.

        Raises:
            CloudAwayError: no answer, or the stream ended.
            CloudRefusedError: a refusal.
        """
        epoch = self._epoch
        try:
            with _told():
                for event in self._call:
                    if event.HasField("hello"):
                        epoch = event.hello.epoch
                    elif event.HasField("delivery"):
                        yield _received(event.delivery), Position(epoch, event.delivery.number)
            raise CloudAwayError("the control plane ended the stream")
        finally:
            self._call.cancel()


class ViewStream:
    """The sealed pages of a view."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def cancel(self) -> None:
        """End it, from any thread."""
        self._call.cancel()

    def pages(self) -> list[bytes]:
        """Return the pages of the answer, once the last one came.

        Raises:
            CloudAwayError: no answer, or it ended before the last page.
            CloudRefusedError: a refusal: the agent is away, for example.
            UnexpectedAnswerError: more pages than a view has.
        """
        pages: list[bytes] = []
        try:
            with _told():
                for reply in self._call:
                    pages.append(reply.page)
                    if reply.last:
                        return pages
                    if len(pages) >= PAGES_MAX:
                        raise UnexpectedAnswerError(f"expected at most {PAGES_MAX} pages of a view, got more")
        finally:
            self._call.cancel()
        raise CloudAwayError(f"the agent's answer ended after {len(pages)} pages, before its last one")
