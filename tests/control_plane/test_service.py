"""What members can do, against a real control plane in a process of its own."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from control_plane import broker, calls, certificates, limits, queues
from control_plane.broker import Quotas, RoutedMessage
from control_plane.calls import CallGuard
from control_plane.limits import Quota
from control_plane.live import Live, OpenView, WatchStream
from control_plane.members import IdentityKind, MemberIdentity
from control_plane.metrics import Metrics
from control_plane.service import AgentService, Parts, _pass_on
from control_plane.store import CloudStore, CloudTx
from durable import files
from protos import PROBLEM_KEY
from protos import message_pb2 as pb
from protos.agent_pb2 import AddCheckpointReply, AddCheckpointRequest, BoardReply, BoardRequest
from protos.desk_pb2 import AgentsRequest, ListRequest, ViewRequest
from protos.limits import MESSAGE_BYTES
from tests.builders.expect import expect
from tests.control_plane.cloud import Cloud, Log, Member, Site, message, refusal_of, submit, wait_for

T = 15.0
"""Seconds that a call may take before the test has failed; none waits for it."""

FROM_AGENTS = [pb.KIND_PLAN, pb.KIND_RECEIPT, pb.KIND_OUTCOME, pb.KIND_SEALKEY, pb.KIND_CHECKPOINT]
TO_AGENTS = [
    pb.KIND_INTENT, pb.KIND_APPROVAL, pb.KIND_CANCEL, pb.KIND_FREEZE, pb.KIND_UNFREEZE, pb.KIND_TRUST,
    pb.KIND_STANDING, pb.KIND_COSIGNATURE, pb.KIND_PAUSE, pb.KIND_RESUME,
]  # fmt: skip
SITES = 33


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Site]]:
    cloud = Cloud.create(tmp_path_factory.mktemp("cloud") / "data")
    made = [Site.create(cloud, f"isp-{n}") for n in range(SITES)]
    try:
        cloud.start()
        yield iter(made)
    finally:
        cloud.close()


@pytest.fixture
def site(sites: Iterator[Site]) -> Site:
    """An operator that no other test has used."""
    return next(sites)


def refused(call: Callable[..., object], *args: object) -> int:
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, timeout=T)
    return refusal_of(caught.value)


def watch(stub: Any, after: int = 0, epoch: bytes = b"") -> Iterator[pb.WatchEvent]:
    return stub.Watch(pb.WatchRequest(cursor=pb.Cursor(epoch=epoch, after=after)), timeout=T)


def take(stream: Iterator[pb.WatchEvent], n: int) -> list[tuple[int, int]]:
    """Number and kind of the next deliveries."""
    events = [next(stream).delivery for _ in range(n)]
    return [(d.number, d.message.kind) for d in events]


def view_of(site: Site, member: Member | None = None) -> Callable[..., object]:
    return lambda *a, **k: list(site.desk(member).View(*a, **k))


class _Context:
    """As much of a call as the guard uses."""

    def __init__(self) -> None:
        self.said: tuple[object, ...] = ()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: object = ()) -> None:
        self.said = (code, details)
        raise grpc.aio.AbortError

    def code(self) -> object:
        return self.said[0] if self.said else None


# --- mail -----------------------------------------------------------------------------------------------------------


def test_what_an_agent_says_is_on_the_feed(site: Site) -> None:
    desk, live = site.desk(), watch(site.desk())
    assert next(live).hello.newest == 0
    sent = [message(kind, site.north.identity.agent) for kind in FROM_AGENTS]
    for made in sent:
        assert site.agent().Submit(submit(made), timeout=T) == pb.SubmitReply()
    page = desk.List(ListRequest(), timeout=T)
    assert [d.message for d in page.deliveries] == sent
    assert [d.number for d in page.deliveries] == [1, 2, 3, 4, 5]
    assert page.after == 5
    assert take(live, 5) == list(enumerate(FROM_AGENTS, start=1))


def test_what_a_person_sends_reaches_that_agent(site: Site) -> None:
    north, south = watch(site.agent()), watch(site.agent(site.south))
    assert next(north).hello.newest == 0
    for kind in TO_AGENTS:
        assert site.desk().Submit(site.to_north(kind), timeout=T) == pb.SubmitReply()
    assert take(north, len(TO_AGENTS)) == list(enumerate(TO_AGENTS, start=1))
    last = site.desk().Submit(submit(message(pb.KIND_CANCEL, site.south.identity.agent)), timeout=T)
    assert last == pb.SubmitReply()
    assert next(south).HasField("hello")
    assert take(south, 1) == [(1, pb.KIND_CANCEL)], "and nothing before it"


def test_what_is_for_all_reaches_all_and_the_feed(site: Site) -> None:
    kinds = [pb.KIND_TRUST, pb.KIND_FREEZE, pb.KIND_UNFREEZE, pb.KIND_STANDING]
    for kind in kinds:
        site.desk().Submit(submit(message(kind, site.north.identity.agent, agent=b"")), timeout=T)
    for stream in (watch(site.agent()), watch(site.agent(site.south)), watch(site.desk(site.joseph))):
        assert next(stream).hello.newest == 4
        assert take(stream, 4) == list(enumerate(kinds, start=1))


def test_who_joins_later_hears_what_was_said_to_all(site: Site) -> None:
    """An agent that is enrolled after a freeze of everything must not be the one that goes on."""
    kinds = [pb.KIND_FREEZE, pb.KIND_TRUST, pb.KIND_STANDING, pb.KIND_UNFREEZE]
    for kind in kinds:
        site.desk().Submit(submit(message(kind, site.north.identity.agent, agent=b"")), timeout=T)
    site.desk().Submit(site.to_north(pb.KIND_APPROVAL), timeout=T)  # is not for all
    late = site.cloud.agent(site.operator, "late")
    who = site.desk().Agents
    wait_for("the server to know it", lambda: len(who(AgentsRequest(), timeout=T).agents) == 3)
    stream = watch(site.agent(late))
    assert next(stream).hello.newest == 4
    assert take(stream, 4) == list(enumerate(kinds, start=1))
    assert next(watch(site.agent(site.south))).hello.newest == 4, "the others hear nothing twice"


def test_reading_goes_on_from_a_cursor(site: Site) -> None:
    for _ in range(3):
        site.desk().Submit(site.to_north(pb.KIND_INTENT), timeout=T)
    stream = watch(site.agent())
    epoch = next(stream).hello.epoch
    assert [n for n, _ in take(stream, 3)] == [1, 2, 3]
    for after, of_epoch, expected in ((2, epoch, [3]), (2, secrets.token_bytes(16), [1, 2, 3]), (99, epoch, [1, 2, 3])):
        stream = watch(site.agent(), after, of_epoch)
        assert next(stream).hello.epoch == epoch
        assert [n for n, _ in take(stream, len(expected))] == expected


def test_the_feed_is_read_in_pages(site: Site) -> None:
    for n in range(5):
        kind = pb.KIND_OUTCOME if n % 2 else pb.KIND_RECEIPT
        site.agent().Submit(site.to_north(kind), timeout=T)
    desk, numbers, cursor = site.desk(), [], pb.Cursor()
    while (page := desk.List(ListRequest(cursor=cursor, limit=2), timeout=T)).deliveries:
        numbers.append([d.number for d in page.deliveries])
        cursor = pb.Cursor(epoch=page.epoch, after=page.after)
    assert numbers == [[1, 2], [3, 4], [5]]
    assert page.after == 5
    of_a_kind = desk.List(ListRequest(kinds=[pb.KIND_OUTCOME], limit=1000), timeout=T)
    assert [d.number for d in of_a_kind.deliveries] == [2, 4]
    assert refused(desk.List, ListRequest(kinds=[pb.KIND_UNSPECIFIED])) == pb.REFUSAL_WRONG_KIND
    assert refused(desk.List, ListRequest(kinds=range(100, 100_000))) == pb.REFUSAL_WRONG_KIND


def test_sending_again_has_no_second_effect(site: Site) -> None:
    made = site.to_north(pb.KIND_APPROVAL)
    replies = [site.desk().Submit(made, timeout=T) for _ in range(3)]
    assert [r.again for r in replies] == [False, True, True]
    other = site.to_north(pb.KIND_APPROVAL, ref=made.message.ref)
    assert refused(site.desk().Submit, other) == pb.REFUSAL_REF_REUSED
    assert not site.desk(site.joseph).Submit(other, timeout=T).again, "refs are each sender's own"
    stream = watch(site.agent())
    assert next(stream).hello.newest == 2


def test_a_reader_that_is_slow_misses_nothing(site: Site) -> None:
    stream = watch(site.agent())
    assert next(stream).HasField("hello")
    body = secrets.token_bytes(limits.INTENT_BYTES)
    for _ in range(24):  # far more than flow control lets through unread
        site.desk().Submit(site.to_north(pb.KIND_INTENT, body=body), timeout=T)
    assert [n for n, _ in take(stream, 24)] == list(range(1, 25))


# --- who may not ----------------------------------------------------------------------------------------------------


def test_refusals_say_why_and_no_more(site: Site) -> None:
    desk = site.desk()
    assert refused(desk.Submit, site.to_north(pb.KIND_CANCEL, body=b"Amina Hassan")) == pb.REFUSAL_MALFORMED
    assert refused(desk.Submit, site.to_north(pb.KIND_CANCEL, ref=b"short")) == pb.REFUSAL_MALFORMED
    assert refused(desk.Submit, site.to_north(pb.KIND_PLAN)) == pb.REFUSAL_WRONG_KIND
    assert refused(desk.Submit, site.to_north(pb.KIND_VIEW)) == pb.REFUSAL_WRONG_KIND, "there is View for that"
    no_view = ViewRequest(message=message(pb.KIND_CANCEL, site.north.identity.agent))
    assert refused(view_of(site), no_view) == pb.REFUSAL_WRONG_KIND
    large = site.to_north(pb.KIND_INTENT, body=b"x" * (limits.INTENT_BYTES + 1))
    assert refused(desk.Submit, large) == pb.REFUSAL_TOO_LARGE
    assert refused(desk.Submit, pb.SubmitRequest()) == pb.REFUSAL_WRONG_KIND
    assert not site.cloud.rows("SELECT 1 FROM letter WHERE operator = ?", site.operator)


def test_a_call_over_the_largest_message_is_not_read(site: Site) -> None:
    huge = site.to_north(pb.KIND_INTENT, body=b"x" * (MESSAGE_BYTES + 1))
    with pytest.raises(grpc.RpcError) as caught:
        site.desk().Submit(huge, timeout=T)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("method", ["AgentCloud/Submit", "AgentCloud/Watch", "DeskCloud/List", "DeskCloud/View"])
def test_bytes_that_are_no_message_do_not_stop_the_server(site: Site, method: str) -> None:
    member = site.north if method.startswith("Agent") else site.lena
    call = site.cloud.channel(member).unary_stream(f"/ispagents.v0.{method}")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(b"\xff\xff Amina Hassan", timeout=T))
    assert "Amina" not in (caught.value.details() or "")
    assert site.desk().List(ListRequest(), timeout=T).after == 0


def test_a_method_that_is_not_there_is_not_served(site: Site) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        site.cloud.channel(site.lena).unary_unary("/ispagents.v0.DeskCloud/Export")(b"", timeout=T)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_each_calls_its_own_service(site: Site) -> None:
    for member in (site.lena, site.billing):
        agent = site.agent(member)
        assert refused(agent.Submit, site.to_north(pb.KIND_PLAN)) == pb.REFUSAL_WRONG_KIND
        assert refused(agent.AddCheckpoint, AddCheckpointRequest()) == pb.REFUSAL_WRONG_KIND
        assert refused(lambda *a, s=agent, **k: list(s.Watch(*a, **k)), pb.WatchRequest()) == pb.REFUSAL_WRONG_KIND
        assert refused(agent.Renew, pb.RenewRequest()) == pb.REFUSAL_WRONG_KIND
        assert refused(agent.Board, BoardRequest()) == pb.REFUSAL_WRONG_KIND
    desk = site.desk(site.north)
    assert refused(desk.Submit, site.to_north(pb.KIND_INTENT)) == pb.REFUSAL_WRONG_KIND
    assert refused(desk.List, ListRequest()) == pb.REFUSAL_WRONG_KIND
    assert refused(desk.Agents, AgentsRequest()) == pb.REFUSAL_WRONG_KIND


def test_a_service_asks_and_reads_what_came_of_it(site: Site) -> None:
    billing, stream = site.desk(site.billing), watch(site.desk(site.billing))
    assert next(stream).HasField("hello")
    for kind in FROM_AGENTS:
        site.agent().Submit(site.to_north(kind), timeout=T)
    assert not billing.Submit(site.to_north(pb.KIND_INTENT), timeout=T).again
    for kind in TO_AGENTS:
        if kind != pb.KIND_INTENT:
            assert refused(billing.Submit, site.to_north(kind)) == pb.REFUSAL_WRONG_KIND
    allowed = [(2, pb.KIND_RECEIPT), (3, pb.KIND_OUTCOME), (4, pb.KIND_SEALKEY)]
    assert take(stream, 3) == allowed
    page = billing.List(ListRequest(), timeout=T)
    assert [(d.number, d.message.kind) for d in page.deliveries] == allowed
    some = billing.List(ListRequest(kinds=[pb.KIND_PLAN, pb.KIND_OUTCOME]), timeout=T)
    assert [d.number for d in some.deliveries] == [3]
    site.desk().Submit(submit(message(pb.KIND_TRUST, b"")), timeout=T)
    assert take(stream, 1) == [(6, pb.KIND_TRUST)], "under an expired document it could not ask any more"
    assert refused(billing.List, ListRequest(kinds=[pb.KIND_PLAN])) == pb.REFUSAL_WRONG_KIND
    assert refused(billing.List, ListRequest(kinds=[pb.KIND_UNSPECIFIED])) == pb.REFUSAL_WRONG_KIND
    assert refused(billing.Agents, AgentsRequest()) == pb.REFUSAL_WRONG_KIND
    view = ViewRequest(message=message(pb.KIND_VIEW, site.north.identity.agent))
    assert refused(view_of(site, site.billing), view) == pb.REFUSAL_WRONG_KIND


class _Fill:
    """Plans on a shared feed, as many as a year brings."""

    def __init__(self, queue: bytes, operator: bytes, n: int) -> None:
        self.queue, self.operator, self.n = queue, operator, n

    def run(self, tx: CloudTx) -> None:
        routed = tx.insert(
            "INSERT INTO letter (operator, sender, kind, message, minute, expires_s) VALUES (?, '', ?, ?, 1, ?)",
            (self.operator, pb.KIND_PLAN, b"", 2**40),
        )
        tx.many("INSERT INTO message VALUES (?, ?, ?)", [(self.queue, n, routed) for n in range(1, self.n + 1)])
        tx.run("INSERT INTO box VALUES (?, ?)", (self.queue, self.n))


def test_who_wants_few_kinds_does_not_make_the_others_wait(site: Site) -> None:
    site.cloud.change(_Fill(queues.feed(site.operator), site.operator, limits.SCAN_MESSAGES + 1))
    receipt = message(pb.KIND_RECEIPT, site.north.identity.agent)
    site.agent().Submit(submit(receipt), timeout=T)
    desk, cursor, found, ends = site.desk(site.billing), pb.Cursor(), list[int](), list[int]()
    while not ends or ends[-1] != cursor.after:
        cursor.after = ends[-1] if ends else 0
        page = desk.List(ListRequest(cursor=cursor), timeout=T)
        cursor.epoch = page.epoch
        found += [d.number for d in page.deliveries]
        ends.append(page.after)
    assert (found, ends[0]) == ([limits.SCAN_MESSAGES + 2], limits.SCAN_MESSAGES)
    stream = watch(desk)
    assert next(stream).hello.newest == limits.SCAN_MESSAGES + 2
    assert take(stream, 1) == [(limits.SCAN_MESSAGES + 2, pb.KIND_RECEIPT)]
    site.agent().Submit(submit(message(pb.KIND_RECEIPT, site.north.identity.agent)), timeout=T)
    assert take(stream, 1) == [(limits.SCAN_MESSAGES + 3, pb.KIND_RECEIPT)]


def test_another_operator_sees_nothing(site: Site, sites: Iterator[Site]) -> None:
    other = next(sites)
    for kind in FROM_AGENTS:
        site.agent().Submit(site.to_north(kind), timeout=T)
    site.desk().Submit(site.to_north(pb.KIND_INTENT), timeout=T)
    site.desk().Submit(submit(message(pb.KIND_TRUST, b"", agent=b"")), timeout=T)
    stranger, stranger_agent = other.desk(), other.agent()
    assert stranger.List(ListRequest(cursor=pb.Cursor(after=0)), timeout=T).deliveries == []
    assert next(watch(stranger)).hello.newest == 0
    assert next(watch(stranger_agent)).hello.newest == 0
    listed = stranger.Agents(AgentsRequest(), timeout=T).agents
    assert {a.agent for a in listed} == {other.north.identity.agent, other.south.identity.agent}
    # Guessing an agent's id is answered as if there were none
    watch_north = watch(site.agent())
    next(watch_north)
    for kind in TO_AGENTS:
        assert refused(stranger.Submit, site.to_north(kind)) == pb.REFUSAL_UNKNOWN_AGENT
    for kind in FROM_AGENTS:
        assert refused(stranger_agent.Submit, site.to_north(kind)) == pb.REFUSAL_UNKNOWN_AGENT
    view = ViewRequest(message=message(pb.KIND_VIEW, site.north.identity.agent))
    assert refused(view_of(other), view) == pb.REFUSAL_UNKNOWN_AGENT


# --- views ----------------------------------------------------------------------------------------------------------


def asked(site: Site) -> tuple[Iterator[pb.WatchEvent], Iterator[object], pb.Message]:
    """An agent that watches, and a view that has reached it."""
    stream = watch(site.agent())
    assert next(stream).HasField("hello")
    view = message(pb.KIND_VIEW, site.north.identity.agent)
    answer = site.desk().View(ViewRequest(message=view), timeout=T)
    assert next(stream).live == view
    return stream, answer, view


def page(site: Site, view: pb.Message, **changes: object) -> pb.SubmitRequest:
    return site.to_north(pb.KIND_VIEW_PAGE, answers=view.ref, **changes)


def test_a_view_is_answered_while_it_lasts_and_kept_nowhere(site: Site) -> None:
    _stream, answer, view = asked(site)
    bodies = [secrets.token_bytes(200_000) for _ in range(3 * limits.PAGES_MAX)]
    pages = [page(site, view, body=b, last=b is bodies[-1]) for b in bodies]
    agent, got = site.agent(), []
    for made in pages:
        assert agent.Submit(made, timeout=T) == pb.SubmitReply()
        got.append(next(answer))
    assert [(p.page, p.last) for p in got] == [(b, b is bodies[-1]) for b in bodies]
    assert list(answer) == []
    assert agent.Submit(pages[0], timeout=T).again, "it is over: nothing is left to do"
    assert not site.cloud.rows("SELECT 1 FROM letter WHERE operator = ?", site.operator)
    assert not site.cloud.rows("SELECT 1 FROM ref_seen WHERE operator = ?", site.operator)
    files = [p for p in Path(site.cloud.data.path).glob("cloud.db*") if p.is_file()]
    assert files
    for path in files:
        assert bodies[0][:64] not in path.read_bytes()


def test_a_page_that_is_sent_again_comes_once(site: Site) -> None:
    _stream, answer, view = asked(site)
    first, last = page(site, view), page(site, view, last=True)
    assert [site.agent().Submit(p, timeout=T).again for p in (first, first, last)] == [False, True, False]
    assert [(p.page, p.last) for p in answer] == [(first.message.body, False), (last.message.body, True)]


def test_pages_of_others_do_not_come_through(site: Site, sites: Iterator[Site]) -> None:
    _stream, answer, view = asked(site)
    other = next(sites)
    for member in (site.south, other.north):
        forged = submit(message(pb.KIND_VIEW_PAGE, member.identity.agent, answers=view.ref, last=True))
        assert site.agent(member).Submit(forged, timeout=T).again
    right = page(site, view, last=True)
    site.agent().Submit(right, timeout=T)
    assert [p.page for p in answer] == [right.message.body]


def test_a_view_needs_its_agent(site: Site) -> None:
    view = ViewRequest(message=message(pb.KIND_VIEW, site.north.identity.agent))
    assert refused(view_of(site), view) == pb.REFUSAL_AGENT_AWAY


def test_a_view_ends_when_its_agent_goes_without_an_answer(site: Site) -> None:
    stream, answer, _view = asked(site)
    stream.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        next(answer)
    assert refusal_of(caught.value) == pb.REFUSAL_AGENT_AWAY


def test_views_are_few_and_each_its_own(site: Site) -> None:
    _stream, answer, view = asked(site)
    again = ViewRequest(message=view)
    assert refused(view_of(site), again) == pb.REFUSAL_REF_REUSED
    more = [
        site.desk().View(ViewRequest(message=message(pb.KIND_VIEW, site.north.identity.agent)), timeout=T)
        for _ in range(limits.VIEWS_PER_PERSON)
    ]
    wait_for("one of them to be refused", lambda: sum(not call.is_active() for call in more) == 1)
    with pytest.raises(grpc.RpcError) as caught:
        next(next(call for call in more if not call.is_active()))
    assert refusal_of(caught.value) == pb.REFUSAL_QUOTA
    site.agent().Submit(page(site, view, last=True), timeout=T)
    assert len(list(answer)) == 1


def in_process(store: Any = None) -> AgentService:
    """The service without a server, for what takes minutes there, or luck."""
    anything: Any = None
    return AgentService(Parts(store, anything, Quotas(Quota()), Live(), anything))


def test_a_desk_that_does_not_read_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_WAIT_S", 0.01)
    agent = MemberIdentity(b"o" * 16, IdentityKind.AGENT, "north", b"1" * 16)
    viewer = MemberIdentity(b"o" * 16, IdentityKind.PERSON, "lena")

    class Written(_Context):
        async def write(self, reply: Any) -> None:
            got.append(reply.page)

    async def main() -> None:
        service, view = in_process(), message(pb.KIND_VIEW, agent.agent)
        stream = WatchStream(agent, b"box", asyncio.timeout(None))
        service._live.join(stream)
        opened = expect(OpenView, service._live.open_view(viewer, view, b"box"))
        pages = [message(pb.KIND_VIEW_PAGE, agent.agent, answers=view.ref) for _ in range(limits.PAGES_MAX + 2)]
        replies = [await service._page(agent, page) for page in pages]
        assert [r.again for r in replies] == [False] * (limits.PAGES_MAX + 1) + [True]
        context: Any = Written()
        assert not await asyncio.wait_for(_pass_on(opened, context), 5)
        assert got == [page.body for page in pages[: limits.PAGES_MAX]]

    got: list[bytes] = []
    asyncio.run(main())


def test_a_page_of_a_cut_off_agent_is_taken_when_it_comes_again() -> None:
    agent = MemberIdentity(b"o" * 16, IdentityKind.AGENT, "north", b"1" * 16)

    async def main() -> None:
        service, view = in_process(), message(pb.KIND_VIEW, agent.agent)
        service._live.join(WatchStream(agent, b"box", asyncio.timeout(None)))
        opened = expect(
            OpenView, service._live.open_view(MemberIdentity(b"o" * 16, IdentityKind.PERSON, "lena"), view, b"box")
        )
        for _ in range(limits.PAGES_MAX):
            await service._page(agent, message(pb.KIND_VIEW_PAGE, agent.agent, answers=view.ref))
        last = message(pb.KIND_VIEW_PAGE, agent.agent, answers=view.ref, last=True)
        cut_off = asyncio.create_task(service._page(agent, last))
        await asyncio.sleep(0)
        cut_off.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut_off
        opened.pages.get_nowait()
        assert not (await service._page(agent, last)).again
        got = [opened.pages.get_nowait() for _ in range(limits.PAGES_MAX)]
        assert [page.last for page in got if page] == [False] * (limits.PAGES_MAX - 1) + [True]

    asyncio.run(main())


def test_who_is_cut_off_while_durable_has_woken_its_receiver(tmp_path: Path) -> None:
    lena = MemberIdentity(b"o" * 16, IdentityKind.PERSON, "lena")
    north = MemberIdentity(b"o" * 16, IdentityKind.AGENT, "north", b"1" * 16)

    async def main() -> None:
        store = CloudStore(tmp_path / "cloud.db")
        service, context, cancel = in_process(store), _Context(), message(pb.KIND_CANCEL, north.agent)
        anything: Any = context
        routed = expect(RoutedMessage, broker.route(lena, cancel, [north.agent]))
        stream = WatchStream(north, routed.queues[0], asyncio.timeout(None))
        service._live.join(stream)
        with contextlib.closing(files.connect(store.path, readonly=False)) as other:
            other.execute("BEGIN IMMEDIATE")  # the writer waits for it
            call = asyncio.create_task(service._keep(lena, cancel, routed, anything))
            for _ in range(5):
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert not stream.wake.is_set()
            other.execute("COMMIT")
        await asyncio.wait_for(stream.wake.wait(), T)
        assert len(queues.read_queue(store.reader, stream.queue, 0, (), 10)) == 1
        stream.wake.clear()
        assert (await service._keep(lena, cancel, routed, anything)).again
        assert stream.wake.is_set()
        store.close()

    asyncio.run(main())


def test_a_stream_whose_time_is_over_is_not_ended_twice() -> None:
    async def main() -> None:
        agent = MemberIdentity(b"o" * 16, IdentityKind.AGENT, "north", b"1" * 16)
        stream, live = WatchStream(agent, b"box", asyncio.timeout(0.0)), Live()
        live.join(stream)
        # In one turn of the event loop, after the deadline and before its task runs
        with contextlib.suppress(TimeoutError):
            async with stream.deadline:
                while not stream.deadline.expired():
                    try:
                        await asyncio.sleep(0)
                    finally:
                        if stream.deadline.expired():
                            live.end(pb.REFUSAL_DRAINING)
        assert stream.ended is None

    asyncio.run(main())


def test_a_stream_ends_after_a_while_without_an_error(tmp_path: Path) -> None:
    class Written(_Context):
        async def write(self, event: Any) -> None:
            events.append(event)

    async def main() -> None:
        store = CloudStore(tmp_path / "cloud.db")
        service, context = in_process(store), Written()
        who = MemberIdentity(b"o" * 16, IdentityKind.AGENT, "north", b"1" * 16)
        anything: Any = context
        await service._watch(WatchStream(who, b"box", asyncio.timeout(0.01)), pb.Cursor(), (), anything)
        assert not service._live.is_connected(b"box")
        assert context.said == ()
        store.close()

    events: list[pb.WatchEvent] = []
    asyncio.run(main())
    assert [e.WhichOneof("event") for e in events] == ["hello"]


# --- presence -------------------------------------------------------------------------------------------------------


def test_who_is_connected(site: Site) -> None:
    def north() -> tuple[bool, bool]:
        listed = {a.agent: a for a in site.desk().Agents(AgentsRequest(), timeout=T).agents}
        assert set(listed) == {site.north.identity.agent, site.south.identity.agent}
        assert not listed[site.south.identity.agent].connected
        assert listed[site.south.identity.agent].seen_minute == 0
        one = listed[site.north.identity.agent]
        return one.connected, one.seen_minute > 0

    assert north() == (False, False)
    stream = watch(site.agent())
    next(stream)
    assert north() == (True, True)
    stream.cancel()
    wait_for("the agent to be away", lambda: north() == (False, True))


def test_an_agents_new_stream_takes_the_place_of_the_old_one(site: Site) -> None:
    old, new = watch(site.agent()), None
    assert next(old).HasField("hello")
    new = watch(site.agent())
    assert next(new).HasField("hello")
    assert list(old) == [], "it ends without an error"
    site.desk().Submit(site.to_north(pb.KIND_CANCEL), timeout=T)
    assert take(new, 1) == [(1, pb.KIND_CANCEL)]


def test_a_person_has_so_many_streams(site: Site) -> None:
    streams = [watch(site.desk()) for _ in range(limits.STREAMS_PER_PEER)]
    assert all(next(s).HasField("hello") for s in streams)
    with pytest.raises(grpc.RpcError) as caught:
        next(watch(site.desk()))
    assert refusal_of(caught.value) == pb.REFUSAL_QUOTA
    assert next(watch(site.desk(site.joseph))).HasField("hello")


# --- witness and certificates ---------------------------------------------------------------------------------------


def test_the_witness_cosigns_an_agents_log(site: Site) -> None:
    log, agent = Log(site.north.identity.agent), site.agent()
    cosigned = agent.AddCheckpoint(AddCheckpointRequest(body=log.ask(0, 20)), timeout=T)
    assert cosigned.cosignatures.startswith("— ispcloud-witness ".encode())
    conflict = agent.AddCheckpoint(AddCheckpointRequest(body=log.ask(0, 30)), timeout=T)
    assert conflict == AddCheckpointReply(conflict=20)
    forked = Log(site.north.identity.agent, "forked")
    for body, why in (
        (forked.ask(20, 40), pb.REFUSAL_BAD_PROOF),
        (Log(site.south.identity.agent).ask(0, 5), pb.REFUSAL_UNKNOWN_LOG),
        (b"x" * (limits.CHECKPOINT_BYTES + 1), pb.REFUSAL_TOO_LARGE),
        (b"old", pb.REFUSAL_MALFORMED),
    ):
        assert refused(agent.AddCheckpoint, AddCheckpointRequest(body=body)) == why


def test_agent_reads_back_its_own_newest_receipts_and_outcomes(site: Site) -> None:
    north, south = site.agent(), site.agent(site.south)
    assert north.Board(BoardRequest(), timeout=T) == BoardReply()
    ours, theirs = site.north.identity.agent, site.south.identity.agent
    for kind in FROM_AGENTS:
        south.Submit(submit(message(kind, theirs)), timeout=T)
    site.desk().Submit(submit(message(pb.KIND_FREEZE, b"")), timeout=T)
    sent = [message(kind, ours) for kind in (*FROM_AGENTS, pb.KIND_RECEIPT)]
    for made in sent:
        north.Submit(submit(made), timeout=T)
    kept = [m.body for m in reversed(sent) if m.kind in (pb.KIND_RECEIPT, pb.KIND_OUTCOME)]
    assert list(north.Board(BoardRequest(), timeout=T).statements) == kept
    assert len(kept) == 3
    receipts = [message(pb.KIND_RECEIPT, ours) for _ in range(limits.BOARD_STATEMENTS)]
    for made in receipts:
        north.Submit(submit(made), timeout=T)
    assert list(north.Board(BoardRequest(), timeout=T).statements) == [m.body for m in reversed(receipts)]


def test_everybody_renews(site: Site) -> None:
    private = certificates.new_key()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(private, hashes.SHA256())
    request = pb.RenewRequest(csr=csr.public_bytes(serialization.Encoding.DER))
    for stub, member in ((site.agent(), site.north), (site.desk(), site.lena), (site.desk(site.billing), site.billing)):
        reply = stub.Renew(request, timeout=T)
        certificate = x509.load_der_x509_certificate(reply.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [member.identity.uri]
        assert refused(stub.Renew, pb.RenewRequest(csr=b"no request")) == pb.REFUSAL_BAD_CSR


# --- quotas ---------------------------------------------------------------------------------------------------------


def test_quotas_hold_for_members_and_operators(tmp_path: Path) -> None:
    quotas = "member_messages_per_minute = 20\noperator_stored_bytes = 20000\nmember_stored_bytes = 10000\n"
    cloud = Cloud.create(tmp_path / "data", quotas=quotas)
    site, other = Site.create(cloud, "one"), Site.create(cloud, "two")
    try:
        cloud.start()
        body = b"x" * 8000
        for member in (site.lena, site.joseph):
            assert not site.desk(member).Submit(site.to_north(pb.KIND_INTENT, body=body), timeout=T).again
            assert refused(site.desk(member).Submit, site.to_north(pb.KIND_INTENT, body=body)) == pb.REFUSAL_QUOTA
        billing = site.desk(site.billing)
        assert refused(billing.Submit, site.to_north(pb.KIND_INTENT, body=body)) == pb.REFUSAL_QUOTA, "of all"
        for kind in (pb.KIND_CANCEL, pb.KIND_FREEZE):  # for these there is always room
            assert not site.desk(site.joseph).Submit(site.to_north(kind), timeout=T).again
        assert not other.desk().Submit(other.to_north(pb.KIND_INTENT, body=body), timeout=T).again
        lists = [site.desk().List.future(ListRequest(), timeout=T) for _ in range(100)]
        over = [error for one in lists if (error := one.exception()) is not None]
        assert 1 <= len(over) <= 100 - (40 - 2)
        problem = pb.Problem.FromString(dict(over[0].trailing_metadata())[PROBLEM_KEY])
        assert (problem.refusal, over[0].code()) == (pb.REFUSAL_QUOTA, grpc.StatusCode.RESOURCE_EXHAUSTED)
        assert problem.retry_after_s >= 1
        site.desk(site.joseph).List(ListRequest(), timeout=T)  # has its own
        large = other.to_north(pb.KIND_CANCEL, links=[b"x" * (1 << 20)] * 2)
        assert refused(other.desk().Submit, large) == pb.REFUSAL_MALFORMED
        assert refused(other.desk().Submit, large) == pb.REFUSAL_QUOTA, "it counted as many calls"
    finally:
        cloud.close()


# --- every call -----------------------------------------------------------------------------------------------------


def test_R3_an_errors_own_words_do_not_leave(capsys: pytest.CaptureFixture[str]) -> None:
    async def broken(request: object, context: object) -> object:
        raise RuntimeError("Amina Hassan")

    context = _Context()
    wrapped = CallGuard(Metrics())._wrap("Submit", broken, 1.0)
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(wrapped(None, context))
    assert context.said == (grpc.StatusCode.INTERNAL, "REFUSAL_INTERNAL")
    assert "Amina" not in "".join(capsys.readouterr())


def test_a_call_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(request: object, context: object) -> object:
        return await asyncio.Event().wait()

    context = _Context()
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(CallGuard(Metrics())._wrap("Submit", hangs, 0.0)(None, context))
    assert context.said == (grpc.StatusCode.INTERNAL, "REFUSAL_INTERNAL")


def test_while_draining_calls_are_told_to_come_back() -> None:
    async def works(request: object, context: object) -> object:
        return "done"

    guard, context = CallGuard(Metrics()), _Context()
    call = guard._wrap("Submit", works, 1.0)
    assert asyncio.run(call(None, context)) == "done"
    guard.draining = True
    with pytest.raises(grpc.aio.AbortError):
        asyncio.run(call(None, context))
    assert context.said == (grpc.StatusCode.UNAVAILABLE, "REFUSAL_DRAINING")


def test_log_lines_of_libraries_have_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        calls.silence_libraries()
        logging.getLogger("grpc._cython").error("Amina %s", "Hassan")
    finally:
        root.handlers[:], root.level = before, level
    text = capsys.readouterr().err
    assert '"event":"library","logger":"grpc._cython","level":"ERROR"' in text
    assert "Amina" not in text
