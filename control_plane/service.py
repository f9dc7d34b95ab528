"""The two services for enrolled members: `AgentCloud` and `DeskCloud`.

Each call passes identity (`auth`), rate (`broker.Quotas`) and permission (`broker.route`), and only then reaches the
database or a stream. A refusal leaves as a `Refusal`, and says nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc.aio

from control_plane import broker, limits, queues
from control_plane.auth import Auth, refusal_of
from control_plane.broker import Quotas, Refused, RoutedMessage
from control_plane.clock import SYSTEM, CloudClock
from control_plane.errors import EnrolmentError
from control_plane.live import Live, OpenView, Page, WatchStream
from control_plane.members import IdentityKind, MemberIdentity
from control_plane.queues import Keep, RecordSeen, Stored
from control_plane.refusals import refuse
from control_plane.store import CloudStore
from control_plane.witness import CloudWitness
from protos import message_pb2 as pb
from protos.agent_pb2 import AddCheckpointReply, AddCheckpointRequest, BoardReply, BoardRequest
from protos.agent_pb2_grpc import AgentCloudServicer
from protos.desk_pb2 import Agent, AgentsReply, AgentsRequest, ListReply, ListRequest, ViewReply, ViewRequest
from protos.desk_pb2_grpc import DeskCloudServicer
from trust import chance

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

AGENTS: Final = (IdentityKind.AGENT,)
PEOPLE: Final = (IdentityKind.PERSON,)
DESKS: Final = (IdentityKind.PERSON, IdentityKind.SERVICE)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the services."""

    store: CloudStore
    auth: Auth
    quotas: Quotas
    live: Live
    witness: CloudWitness
    clock: CloudClock = SYSTEM


class _Calls:
    """The calls of both services."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._auth = parts.auth
        self._quotas = parts.quotas
        self._live = parts.live
        self._witness = parts.witness
        self._clock = parts.clock

    async def _peer(self, context: Context, kinds: Collection[IdentityKind]) -> MemberIdentity:
        """Return the caller, of one of these kinds and within its quota; others are refused."""
        peer = await self._auth.identify(context)
        wait_s = self._quotas.take(peer, self._clock.monotonic_s())
        if wait_s:
            await refuse(context, pb.REFUSAL_QUOTA, wait_s)
        if peer.kind not in kinds:
            await refuse(context, pb.REFUSAL_WRONG_KIND)
        return peer

    async def _route(self, peer: MemberIdentity, message: pb.Message, context: Context) -> RoutedMessage:
        agents, more = self._auth.agents_of(peer.operator), broker.reading_calls(message)
        if more:
            wait_s = self._quotas.take(peer, self._clock.monotonic_s(), more)
            if wait_s:
                await refuse(context, pb.REFUSAL_QUOTA, wait_s)
            # Half a second for the largest, in which everybody else's calls go on
            routed = await asyncio.to_thread(broker.route, peer, message, agents)
        else:
            routed = broker.route(peer, message, agents)
        if isinstance(routed, Refused):
            await refuse(context, routed.refusal, routed.retry_after_s)
        return routed

    async def _keep(
        self, peer: MemberIdentity, sent: pb.Message, routed: RoutedMessage, context: Context
    ) -> pb.SubmitReply:
        now_s = int(self._clock.wall_s())
        data = routed.message.SerializeToString(deterministic=True)
        command = Keep(
            operator=peer.operator,
            sender=broker.sender_name(peer),
            ref=sent.ref,
            sha256=hashlib.sha256(data).digest(),
            kind=sent.kind,
            message=data,
            queues=routed.queues,
            now_s=now_s,
            expires_s=now_s + routed.keep_s,
            operator_max=self._quotas.quota.operator_stored_bytes,
            sender_max=self._quotas.quota.member_stored_bytes,
        )
        # Not given up with the call: it may be durable when its sender is cut off, and its receiver must be woken then
        stored = await asyncio.shield(asyncio.create_task(self._run_and_ring(command)))
        if stored.reused:
            await refuse(context, pb.REFUSAL_REF_REUSED)
        if stored.full:
            await refuse(context, pb.REFUSAL_QUOTA, limits.HOUR_S)
        return pb.SubmitReply(again=stored.again)

    async def _run_and_ring(self, command: Keep) -> Stored:
        stored = await self._store.run(command)
        self._live.ring(command.queues)
        return stored

    async def _renew(self, peer: MemberIdentity, request: pb.RenewRequest, context: Context) -> pb.RenewReply:
        try:
            certificate, issuer = await self._auth.renew(peer, request.csr)
        except EnrolmentError as err:
            await refuse(context, refusal_of(err))
        return pb.RenewReply(certificate=certificate, issuer=issuer)

    # --- streams ---

    async def _watch(self, stream: WatchStream, cursor: pb.Cursor, kinds: Collection[int], context: Context) -> None:
        """Feed a stream until it is ended, or old enough to be called again."""
        if not self._live.join(stream):
            await refuse(context, pb.REFUSAL_QUOTA, limits.DRAIN_RETRY_S)
        try:
            async with stream.deadline:
                await self._feed(stream, cursor, kinds, context)
        except TimeoutError:
            pass
        finally:
            self._left(stream)  # before its last words: a peer that does not read may never let them leave
        if stream.ended:
            await refuse(context, stream.ended, limits.DRAIN_RETRY_S if stream.ended == pb.REFUSAL_DRAINING else 0)

    def _left(self, stream: WatchStream) -> None:
        if self._live.leave(stream) and stream.peer.kind is IdentityKind.AGENT:
            self._store.post(RecordSeen(stream.peer.operator, stream.peer.agent, self._clock.minute()))

    async def _feed(self, stream: WatchStream, cursor: pb.Cursor, kinds: Collection[int], context: Context) -> None:
        newest = queues.newest(self._store.reader, stream.queue)
        hello = pb.Hello(epoch=self._store.epoch, newest=newest, minute=self._clock.minute())
        await context.write(pb.WatchEvent(hello=hello))
        after = self._start(cursor, newest)
        while True:
            stream.wake.clear()
            until = self._until(stream.queue, after, kinds)
            page = queues.read_queue(self._store.reader, stream.queue, after, kinds, limits.READ_MESSAGES, until)
            for kept in page:
                await context.write(pb.WatchEvent(delivery=_delivery(kept)))
                after = kept.number
            while stream.live:
                await context.write(pb.WatchEvent(live=stream.live.popleft()))
            if not page and after == until:
                await stream.wake.wait()
            elif not page:
                after = until
                await asyncio.sleep(0)

    def _until(self, queue: bytes, after: int, kinds: Collection[int]) -> int:
        """Return the last number to look at now: of many messages, few may be of the kinds that are wanted."""
        if kinds:
            return queues.scan_end(self._store.reader, queue, after)
        return max(after, queues.newest(self._store.reader, queue))

    def _start(self, cursor: pb.Cursor, newest: int) -> int:
        """Return after which number to go on: from the beginning, where the cursor is of another life of ours."""
        return cursor.after if cursor.epoch == self._store.epoch and cursor.after <= newest else 0


def _delivery(kept: queues.QueuedMessage) -> pb.Delivery:
    return pb.Delivery(number=kept.number, message=pb.Message.FromString(kept.message), minute=kept.minute)


def _deadline() -> asyncio.Timeout:
    # Not all in one second: after a restart all of them came at once
    return asyncio.timeout(limits.WATCH_S * (0.75 + chance.fraction() / 2))


class AgentService(_Calls, AgentCloudServicer):
    """The calls of agents."""

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitReply:  # noqa: N802 # the proto's
        """Keep a message for the shared feed, or hand a page to the desk that waits for it."""
        peer = await self._peer(context, AGENTS)
        routed = await self._route(peer, request.message, context)
        if request.message.kind == pb.KIND_VIEW_PAGE:
            return await self._page(peer, routed.message)
        return await self._keep(peer, request.message, routed, context)

    async def _page(self, peer: MemberIdentity, page: pb.Message) -> pb.SubmitReply:
        view = self._live.view_of(peer, page.answers)
        if view is None or page.ref in view.refs:
            return pb.SubmitReply(again=True)  # the desk has gone, or has it: nothing is left to do for the agent
        view.refs.add(page.ref)
        try:
            async with asyncio.timeout(limits.PAGE_WAIT_S):
                await view.pages.put(Page(page.body, page.last))
        except asyncio.CancelledError:
            view.refs.discard(page.ref)  # cut off before it was handed over: the agent sends it again
            raise
        except TimeoutError:
            view.cut = True
            self._live.close_view(view.viewer, pb.Message(agent=view.agent, ref=page.answers))
        return pb.SubmitReply()

    async def Watch(self, request: pb.WatchRequest, context: Context) -> None:  # noqa: N802 # the proto's
        """Send the messages for this agent, from its cursor on."""
        peer = await self._peer(context, AGENTS)
        self._store.post(RecordSeen(peer.operator, peer.agent, self._clock.minute()))
        stream = WatchStream(peer, queues.agent_queue(peer.operator, peer.agent), _deadline())
        await self._watch(stream, request.cursor, (), context)

    async def AddCheckpoint(  # noqa: N802 # the proto's
        self, request: AddCheckpointRequest, context: Context
    ) -> AddCheckpointReply:
        """Cosign the agent's log."""
        peer = await self._peer(context, AGENTS)
        if len(request.body) > limits.CHECKPOINT_BYTES:
            await refuse(context, pb.REFUSAL_TOO_LARGE)
        added = await self._witness.add_untrusted(peer.operator, peer.agent, request.body, self._auth.log_key(peer))
        if not isinstance(added, AddCheckpointReply):
            await refuse(context, added)
        return added

    async def Board(self, request: BoardRequest, context: Context) -> BoardReply:  # noqa: ARG002, N802 # the proto's
        """Give the agent the newest receipts and outcomes that it left here."""
        peer = await self._peer(context, AGENTS)
        sender, most = broker.sender_name(peer), limits.BOARD_STATEMENTS
        kept = queues.own_statements(self._store.reader, peer.operator, sender, most)
        return BoardReply(statements=[pb.Message.FromString(message).body for message in kept])

    async def Renew(self, request: pb.RenewRequest, context: Context) -> pb.RenewReply:  # noqa: N802 # the proto's
        """Give the next certificate."""
        return await self._renew(await self._peer(context, AGENTS), request, context)


class DeskService(_Calls, DeskCloudServicer):
    """The calls of people's desks and of services."""

    async def Agents(self, request: AgentsRequest, context: Context) -> AgentsReply:  # noqa: ARG002, N802 # the proto's
        """List the operator's agents."""
        peer = await self._peer(context, PEOPLE)
        seen = queues.seen_minutes(self._store.reader, peer.operator)
        now = self._clock.minute()
        return AgentsReply(
            agents=[self._agent(peer, agent, seen, now) for agent in self._auth.agents_of(peer.operator)]
        )

    def _agent(self, peer: MemberIdentity, agent: bytes, seen: dict[bytes, int], now_minute: int) -> Agent:
        connected = self._live.is_connected(queues.agent_queue(peer.operator, agent))
        return Agent(agent=agent, connected=connected, seen_minute=now_minute if connected else seen.get(agent, 0))

    async def List(self, request: ListRequest, context: Context) -> ListReply:  # noqa: N802 # the proto's
        """Read one page of the shared feed."""
        peer = await self._peer(context, DESKS)
        kinds = _kinds_for(peer, request.kinds)
        if kinds is None:
            await refuse(context, pb.REFUSAL_WRONG_KIND)
        feed = queues.feed(peer.operator)
        after = self._start(request.cursor, queues.newest(self._store.reader, feed))
        most = min(request.limit or limits.READ_MESSAGES, limits.READ_MESSAGES)
        until = self._until(feed, after, kinds)
        page = queues.read_queue(self._store.reader, feed, after, kinds, most, until)
        return ListReply(
            epoch=self._store.epoch,
            deliveries=map(_delivery, page),
            after=page[-1].number if page else until,
        )

    async def Watch(self, request: pb.WatchRequest, context: Context) -> None:  # noqa: N802 # the proto's
        """Send the shared feed, from a cursor on."""
        peer = await self._peer(context, DESKS)
        stream = WatchStream(peer, queues.feed(peer.operator), _deadline())
        await self._watch(stream, request.cursor, _kinds_for(peer, ()) or (), context)

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitReply:  # noqa: N802 # the proto's
        """Keep a message for an agent, or for all and the shared feed."""
        peer = await self._peer(context, DESKS)
        routed = await self._route(peer, request.message, context)
        if not routed.queues:
            await refuse(context, pb.REFUSAL_WRONG_KIND)
        return await self._keep(peer, request.message, routed, context)

    async def View(self, request: ViewRequest, context: Context) -> None:  # noqa: N802 # the proto's
        """Ask an agent, and pass its sealed pages on while this call lasts."""
        peer = await self._peer(context, PEOPLE)
        routed = await self._route(peer, request.message, context)
        if request.message.kind != pb.KIND_VIEW:
            await refuse(context, pb.REFUSAL_WRONG_KIND)
        view = self._live.open_view(peer, routed.message, queues.agent_queue(peer.operator, routed.message.agent))
        if not isinstance(view, OpenView):
            await refuse(context, view, limits.DRAIN_RETRY_S)
        try:
            async with asyncio.timeout(limits.VIEW_S):
                finished = await _pass_on(view, context)
        except TimeoutError:
            finished = False
        finally:
            self._live.close_view(peer, routed.message)
        if not finished:
            await refuse(context, pb.REFUSAL_AGENT_AWAY)

    async def Renew(self, request: pb.RenewRequest, context: Context) -> pb.RenewReply:  # noqa: N802 # the proto's
        """Give the next certificate."""
        return await self._renew(await self._peer(context, DESKS), request, context)


async def _pass_on(view: OpenView, context: Context) -> bool:
    """Write pages as they come; return whether the last one was among them."""
    for _ in range(limits.VIEW_PAGES_TOTAL):
        if view.cut and view.pages.empty():
            return False
        page = await view.pages.get()
        if page is None:
            return False
        await context.write(ViewReply(page=page.body, last=page.last))
        if page.last:
            return True
    return False


def _kinds_for(peer: MemberIdentity, wanted: Collection[int]) -> Collection[int] | None:
    """Return the kinds to read (empty: all), or None when the peer sees none of those that it wants."""
    sees = broker.SERVICE_READS if peer.kind is IdentityKind.SERVICE else broker.RULES.keys()
    if not wanted:
        return sees if peer.kind is IdentityKind.SERVICE else ()
    return (sees & set(wanted)) or None
