"""What is asked of a CPE on the line, and what becomes of it: the floor, answers, ends. No sockets, a fast clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio.testing

from agent.connectors.base import LostError, NotSentError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import (
    AcsReply,
    AcsSession,
    Answered,
    CpeAsks,
    Ended,
    EndReason,
    Informed,
    SessionEvent,
)
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.methods import AcsRequest, CpeResponse, Message
from agent.connectors.cwmp.structs import TransferFault
from tests.agent.connectors.cwmp.http_rig import GET, GOT, inform, said
from tests.builders import reads

pytestmark = pytest.mark.virtual_time

DONE = m.TransferComplete("k", TransferFault(0, ""), "2026-11-24T22:49:33Z", "2026-11-24T22:49:40Z")
NAMES = m.GetParameterNames("Device.", True)
NAMED = m.GetParameterNamesResponse(())


@dataclass
class Talk:
    """A call, and the CPE's side of it."""

    nursery: trio.Nursery
    call: CwmpSession = field(default_factory=lambda: CwmpSession(AcsSession("s1", 0.0)))
    events: list[SessionEvent] = field(default_factory=list)
    gone: trio.Event = field(default_factory=trio.Event)
    answers: list[CpeResponse | m.Fault | Exception] = field(default_factory=list)

    async def take(self, event: SessionEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.events.append(event)

    async def post(self, message: Message | None = None, identity: str = "c1") -> AcsReply:
        body = b"" if message is None else said(message, identity)
        return await self.call.exchange(body, trio.current_time, self.take, self.gone.wait)

    async def informed(self) -> None:
        """Begin a session, and have the floor held."""
        await self.post(inform())
        self.call.hold()

    async def ask(self, *requests: AcsRequest) -> None:
        for request in requests:
            try:
                self.answers.append(await self.call.ask(request))
            except (NotSentError, LostError) as err:
                self.answers.append(err)

    def asking(self, *requests: AcsRequest) -> None:
        self.nursery.start_soon(partial(self.ask, *requests))

    async def held(self) -> None:
        """Post nothing, and return when the CPE is kept waiting."""
        self.nursery.start_soon(self.post)
        while not self.call.session.idle:
            await trio.lowlevel.checkpoint()


def asked(reply: AcsReply) -> tuple[Message, str]:
    """Return what a reply asks, and its ID."""
    opened = reads.read(reply.body)
    return opened.message, opened.id or ""


@pytest.fixture
async def at() -> AsyncIterator[Talk]:
    async with trio.open_nursery() as nursery:
        yield Talk(nursery)
        nursery.cancel_scope.cancel()


# --- asking -----------------------------------------------------------------------------------------------------------


async def test_requests_go_out_one_by_one_and_answers_come_back(at: Talk) -> None:
    await at.informed()
    at.asking(GET, NAMES)
    message, identity = asked(await at.post())
    assert message == GET
    message, identity = asked(await at.post(GOT, identity))
    assert message == NAMES
    at.call.release()
    assert (await at.post(NAMED, identity)).status == 204
    assert at.answers == [GOT, NAMED]
    assert at.call.over.is_set()


async def test_two_who_ask_at_once_have_their_own_answers(at: Talk) -> None:
    await at.informed()
    one, two = Talk(at.nursery, at.call), Talk(at.nursery, at.call)
    one.asking(GET)
    two.asking(GET)
    _, identity = asked(await at.post())
    _, identity = asked(await at.post(GOT, identity))
    at.call.release()
    await at.post(m.Fault(9001, "no", (), "Client"), identity)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(map(repr, [*one.answers, *two.answers])) == sorted(
        [repr(GOT), repr(m.Fault(9001, "no", (), "Client"))]
    )


async def test_asking_ends_the_wait_of_a_cpe_at_once(at: Talk) -> None:
    await at.informed()
    got: list[AcsReply] = []

    async def post() -> None:
        got.append(await at.post())

    at.nursery.start_soon(post)
    await trio.sleep(5)
    assert got == []
    start = trio.current_time()
    at.asking(GET)
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == start
    assert asked(got[0])[0] == GET


async def test_asked_before_the_floor_is_ours(at: Talk) -> None:
    """A CPE tells first what it has to tell; our request waits for its empty POST."""
    await at.informed()
    at.asking(GET)
    assert asked(await at.post(DONE, "c2")) == (m.TransferCompleteResponse(), "c2")
    assert at.events[1] == CpeAsks(DONE)
    assert asked(await at.post())[0] == GET


async def test_what_the_cpes_version_does_not_have_is_not_sent(at: Talk) -> None:
    await at.informed()
    with pytest.raises(NotSentError) as caught:
        await at.call.ask(m.ScheduleDownload("k", "1 Firmware Upgrade Image", "http://a/", "", "", 0, "", ()))
    assert caught.value.reason == "unsupported"
    at.asking(GET)
    assert asked(await at.post())[0] == GET, "and the session goes on"


# --- the floor --------------------------------------------------------------------------------------------------------


async def test_the_floor_is_not_held_for_nobody(at: Talk) -> None:
    await at.post(inform())
    start = trio.current_time()
    assert (await at.post()).status == 204
    assert trio.current_time() == start


async def test_the_floor_is_let_go_when_nobody_has_work_any_more(at: Talk) -> None:
    await at.informed()

    async def release() -> None:
        await trio.sleep(3)
        at.call.release()

    at.nursery.start_soon(release)
    start = trio.current_time()
    assert (await at.post()).status == 204
    assert trio.current_time() - start == 3
    assert at.events[-1] == Ended(EndReason.DONE)


async def test_a_cpe_is_not_made_to_wait_too_long(at: Talk) -> None:
    assert limits.HOLD_S < 30, "when it gives up: TR-069 section 3.4.1"
    await at.informed()
    start = trio.current_time()
    assert (await at.post()).status == 204
    assert trio.current_time() - start == limits.HOLD_S
    assert at.call.over.is_set()
    with pytest.raises(NotSentError):
        await at.call.ask(GET)


async def test_a_cpe_that_is_gone_ends_the_wait_and_nothing_is_sent(at: Talk) -> None:
    await at.informed()
    await at.held()
    await trio.sleep(0.1)  # it is watched by then
    at.asking(GET)
    at.gone.set()
    await at.call.over.wait()
    await trio.testing.wait_all_tasks_blocked()
    (error,) = at.answers
    assert isinstance(error, NotSentError | LostError)
    assert at.call.session.pending is None or isinstance(error, LostError)


async def test_a_cpe_that_is_gone_before_anybody_asked(at: Talk) -> None:
    await at.informed()
    await at.held()
    at.gone.set()
    await at.call.over.wait()
    at.asking(GET)
    await trio.testing.wait_all_tasks_blocked()
    assert isinstance(at.answers[0], NotSentError)


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_hung_up_before_it_was_sent(at: Talk) -> None:
    await at.informed()
    at.asking(GET)
    await trio.testing.wait_all_tasks_blocked()
    at.call.hang_up()
    await trio.testing.wait_all_tasks_blocked()
    assert [type(a) for a in at.answers] == [NotSentError]
    assert (await at.post()).status == 400, "what was queued is not sent after all"


async def test_hung_up_after_it_was_sent(at: Talk) -> None:
    await at.informed()
    at.asking(GET)
    await at.post()
    at.call.hang_up()
    await trio.testing.wait_all_tasks_blocked()
    assert [type(a) for a in at.answers] == [LostError]


async def test_hung_up_while_the_floor_is_held(at: Talk) -> None:
    await at.informed()
    replies: list[AcsReply] = []

    async def post() -> None:
        replies.append(await at.post())

    at.nursery.start_soon(post)
    await trio.sleep(1)
    at.call.hang_up()
    await trio.testing.wait_all_tasks_blocked()
    assert [r.status for r in replies] == [400]
    assert (await at.post(DONE)).status == 400
    assert at.events == [at.events[0]]
    assert isinstance(at.events[0], Informed), "nothing is taken note of that is not acknowledged"


async def test_an_answer_that_cannot_be_read_is_a_lost_one(at: Talk) -> None:
    await at.informed()
    at.asking(GET, NAMES)
    _, identity = asked(await at.post())
    body = said(GOT, identity).replace(b"ParameterList", b"ParameterLost")
    reply = await at.call.exchange(body, trio.current_time, at.take)
    assert reply.status == 400
    await trio.testing.wait_all_tasks_blocked()
    assert [type(a) for a in at.answers] == [LostError, NotSentError]


async def test_the_floor_in_place_of_an_answer_is_a_lost_one(at: Talk) -> None:
    await at.informed()
    at.asking(GET)
    assert asked(await at.post())[0] == GET
    at.call.session.receive_untrusted(b"")
    assert at.call.session.respond(0.0).status == 200, "the same empty POST again: its response was lost"
    assert at.answers == []
    await at.post(DONE, "c2")
    assert (await at.post()).status == 400
    await trio.testing.wait_all_tasks_blocked()
    assert [type(a) for a in at.answers] == [LostError]


async def test_a_repeated_answer_is_one(at: Talk) -> None:
    await at.informed()
    at.asking(GET, NAMES)
    _, identity = asked(await at.post())
    first = await at.post(GOT, identity)
    again = await at.post(GOT, identity)
    assert first.body == again.body
    assert [type(e) for e in at.events] == [Informed, Answered]


async def test_nobody_waits_for_the_answer_any_more(at: Talk) -> None:
    """It would be taken for that of the next request: so the session is over."""
    await at.informed()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.call.ask, GET)
            _, identity = asked(await at.post())
            scope.cancel()
    assert at.call.over.is_set()
    with pytest.raises(NotSentError):
        await at.call.ask(NAMES)
    assert (await at.post(GOT, identity)).status == 400


async def test_who_waits_for_a_turn_may_be_cancelled(at: Talk) -> None:
    await at.informed()
    at.asking(GET)
    await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(1):
        await at.call.ask(NAMES)
    assert not at.call.over.is_set()
    at.call.release()
    _, identity = asked(await at.post())
    assert (await at.post(GOT, identity)).status == 204
    assert at.answers == [GOT]


async def test_another_inform_is_another_call(at: Talk) -> None:
    await at.informed()
    at.asking(GET)
    await at.post()
    reply = await at.post(inform("1 BOOT"))
    assert asked(reply)[0] == m.InformResponse(1)
    await trio.testing.wait_all_tasks_blocked()
    assert [type(a) for a in at.answers] == [LostError]
    assert [type(e) for e in at.events] == [Informed, Ended, Informed]
    assert at.call.over.is_set()
    assert at.call.anew is not None
    assert not at.call.anew.over.is_set()
    assert at.call.anew.session is at.call.session
