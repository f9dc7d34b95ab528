"""The calls to the control plane over mTLS: gRPC's synchronous stubs driven by trio. The one file that speaks gRPC.

gRPC runs in threads of its own. A unary call is a future that wakes its task; a stream is read by a thread that asks
for one message at a time, so that messages that are not asked for stay with the sender (HTTP/2 flow control) and
nothing piles up here. Every call has a deadline. The connection and its hardening are `protos.channel`'s; so is reading
a status: no text that a peer wrote into it goes further.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import grpc
import trio

from agent.uplink import limits
from agent.uplink.errors import (
    RemoteMisbehavedError,
    RemoteRefusedError,
    RemoteUplinkError,
    UnreachableError,
)
from agent.uplink.identity import CloudIdentity
from protos import agent_pb2, agent_pb2_grpc, enrolment_pb2, enrolment_pb2_grpc
from protos import channel as channels
from protos import message_pb2 as pb
from protos.channel import Keepalive
from trust import chance

T = TypeVar("T")

EXPIRED_AT: Final = 0.9
"""Share of a stream's time after which its deadline is believed to be ours: gRPC's clock is not trio's."""


def _translated(error: grpc.RpcError) -> RemoteUplinkError:
    failure = channels.failure_of_untrusted(error)
    if failure.refusal:
        return RemoteRefusedError(failure.refusal, failure.retry_after_s)
    if failure.unreachable:
        return UnreachableError(failure.status)
    return RemoteMisbehavedError(failure.status, f"status {failure.status}")


async def _call(method: grpc.UnaryUnaryMultiCallable[object, T], request: object, timeout_s: float) -> T:
    """Return the answer of a unary call; a cancellation cancels the call as well.

    Raises:
        RemoteUplinkError: there was none.
    """
    token = trio.lowlevel.current_trio_token()
    done = trio.Event()

    def wake(_: object) -> None:  # in a thread of gRPC's
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            pass

    future = method.future(request, timeout=timeout_s)
    future.add_done_callback(wake)
    try:
        await done.wait()
    finally:
        future.cancel()  # of a call that has ended: nothing
    try:
        return future.result()
    except grpc.RpcError as err:
        # Not `from err`: it holds texts that the peer chose.
        raise _translated(err) from None


class Stream:
    """Incoming messages, one event at a time. `expired`: it ended because it was open for as long as it may be.

    That is known by our own clock: the status which gRPC then gives is one that a server can send at any time.
    """

    def __init__(self, call: Iterator[pb.WatchEvent], open_s: float) -> None:
        self.expired = False
        self._call = call
        self._ends = trio.current_time() + open_s * EXPIRED_AT
        self._limiter = trio.CapacityLimiter(1)

    async def receive(self) -> pb.WatchEvent | None:
        """Return the next event; None: the stream ended in order, or expired.

        Cancelled, it leaves its thread behind, which ends when the stream is closed.

        Raises:
            RemoteUplinkError: the stream broke.
        """
        try:
            return await trio.to_thread.run_sync(
                _next, self._call, thread_name="uplink watch", abandon_on_cancel=True, limiter=self._limiter
            )
        except grpc.RpcError as err:
            error = _translated(err)
        if error.code == "deadline-exceeded" and trio.current_time() >= self._ends:
            self.expired = True
            return None
        raise error


def _next(call: Iterator[pb.WatchEvent]) -> pb.WatchEvent | None:
    return next(call, None)


class CloudClient:
    """One connection to the control plane. Nothing is dialed before the first call; `close` it.

    It is over once its stream is. gRPC would dial again by itself, to a control plane that may have been put back since
    the stream began. A new connection finds that out before it leaves anything there.
    """

    def __init__(self, identity: CloudIdentity, keepalive: Keepalive = channels.DEFAULT) -> None:
        self._channel = channels.open_channel(
            identity.server, identity.ca, identity.key, identity.certificate, keepalive
        )
        self._stub = agent_pb2_grpc.AgentCloudStub(self._channel)
        self._watch: grpc.RpcContext | None = None

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    async def submit(self, message: pb.Message) -> bool:
        """Leave a message, durably; return whether its ref was there already.

        Raises:
            RemoteUplinkError: it was refused, or nobody knows. `stream-over`: it was taken, but perhaps by a control
                plane that was put back since the stream began.
        """
        reply: pb.SubmitReply = await _call(self._stub.Submit, pb.SubmitRequest(message=message), limits.CALL_S)
        if self._watch is not None and not self._watch.is_active():
            raise UnreachableError("stream-over")
        return reply.again

    async def add_checkpoint(self, body: bytes) -> bytes | int:
        """Return the cosignature lines of the control plane's witness, or the size that it last cosigned.

        Raises:
            RemoteUplinkError: it was refused, nobody knows, or the answer is neither.
        """
        request = agent_pb2.AddCheckpointRequest(body=body)
        reply: agent_pb2.AddCheckpointReply = await _call(self._stub.AddCheckpoint, request, limits.CALL_S)
        if reply.WhichOneof("result") == "conflict":
            return int(reply.conflict)
        if not 0 < len(reply.cosignatures) <= limits.COSIGNATURE_BYTES:
            got = len(reply.cosignatures)
            raise RemoteMisbehavedError(
                "cosignature", f"expected a cosignature of 1 to {limits.COSIGNATURE_BYTES} bytes, got {got}"
            )
        return reply.cosignatures

    async def board(self) -> list[bytes]:
        """Return this agent's newest statements on the control plane's board, newest first; they are not checked here.

        Raises:
            RemoteUplinkError: it was refused, or nobody knows.
        """
        reply: agent_pb2.BoardReply = await _call(self._stub.Board, agent_pb2.BoardRequest(), limits.BOARD_S)
        return list(reply.statements)

    async def renew(self, csr: bytes) -> bytes:
        """Return a new certificate, DER, for the key of `csr` (PKCS #10, DER); it is not checked here.

        Raises:
            RemoteUplinkError: it was refused, or nobody knows.
        """
        reply: pb.RenewReply = await _call(self._stub.Renew, pb.RenewRequest(csr=csr), limits.CALL_S)
        return reply.certificate

    @asynccontextmanager
    async def watch(self, epoch: bytes, after: int) -> AsyncGenerator[Stream]:
        """Open the stream of messages after a cursor; it is closed at the block's end."""
        request = pb.WatchRequest(cursor=pb.Cursor(epoch=epoch, after=after))
        # Jittered, so that agents which came together (after an outage) do not come together each hour.
        open_s = limits.WATCH_S * (0.75 + chance.fraction() / 4)
        self._watch = call = self._stub.Watch(request, timeout=open_s)
        try:
            yield Stream(call, open_s)
        finally:
            call.cancel()


async def enroll(server: str, ca: bytes, token: bytes, csr: bytes, statement: bytes) -> bytes:
    """Return a first certificate, DER, for a one-time token; it is not checked here.

    Args:
        server: `host:port` of the enrolment service.
        ca: the authority that its certificate must be from, PEM.
        token: 32 bytes.
        csr: PKCS #10, DER.
        statement: the agent's enrolment statement, a DSSE envelope.

    Raises:
        RemoteUplinkError: it was refused, or nobody knows.
    """
    channel = channels.open_channel(server, ca)
    try:
        stub = enrolment_pb2_grpc.EnrolmentStub(channel)
        request = enrolment_pb2.EnrollRequest(token=token, csr=csr, identity=statement)
        reply: enrolment_pb2.EnrollReply = await _call(stub.Enroll, request, limits.CALL_S)
    finally:
        channel.close()
    return reply.certificate
