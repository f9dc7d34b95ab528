"""CPE that call in: who is worked on and who is not, who is lent to whom; and how one is called for."""

from __future__ import annotations

import ipaddress
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
import trio.testing

from agent.connectors.base import LostError, NotSentError, Session, UnreadableError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import AcsReply, AcsSession
from agent.connectors.cwmp.connection_request import RequestOutcome
from agent.connectors.cwmp.connector import CwmpConnector
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.effects import Flash
from agent.connectors.cwmp.faults import AcsFault
from agent.connectors.cwmp.fleet_session import REQUEST_TIMEOUT_S, CpeFleet
from agent.connectors.cwmp.identity import target_id
from agent.connectors.cwmp.images import Image
from agent.connectors.cwmp.listener import Proof
from agent.connectors.cwmp.methods import Message
from agent.connectors.cwmp.structs import DeviceId, TransferFault
from agent.connectors.cwmp.stun import Binding
from agent.cpe_model.addresses import FIRMWARE, address
from agent.cpe_model.breaker import TaskSignature
from agent.cpe_model.known import Acceptance, CachedParameter, Cpe, Credentials
from agent.model import Direction, Effect, ProofKind, Replay, Ticket
from lab.cpe.auth import Server
from lab.cpe.client import Cpe as LabCpe
from lab.cpe.device import Device
from lab.cpe.quirks import Quirks
from lab.cpe.state import Identity
from lab.cpe.tr181 import tr181
from tests.agent.connectors.cwmp.books import Book, Login
from tests.agent.connectors.cwmp.http_rig import CONFIG, GET, GOT, NAME, USER, inform, said, until
from tests.builders import reads
from tests.builders.clock import FakeClock
from tests.builders.connector import commit
from tests.builders.expect import present

pytestmark = pytest.mark.virtual_time

SHARED = Proof(USER, None, "192.0.2.7")
OWN = Proof(NAME, None, "192.0.2.7")
TRANSFER = m.TransferComplete("k1", TransferFault(9010, "no such file"), "2026-11-24T22:49:33Z", "2026-11-24T22:49:40Z")
ACCEPTED = {NAME: Acceptance.ACCEPTED}


async def no_image(_args: object) -> Image:
    raise NotSentError("no images here", reason="no-files")


@dataclass
class Worker:
    """Who has work for CPE: takes each that is lent, and keeps it as long as `wants`."""

    wants: bool = True
    came: list[Session] = field(default_factory=list)
    here: int = 0
    changed: trio.Event = field(default_factory=trio.Event)
    crash: Exception | None = None

    async def arrived(self, session: Session) -> None:
        self.came.append(session)
        if self.crash is not None:
            raise self.crash
        self.here += 1
        try:
            while self.wants:
                await self.changed.wait()
        finally:
            self.here -= 1

    def done(self) -> None:
        self.wants = False
        self.changed.set()


@dataclass
class Talk:
    """One session of a CPE, as the listener has it, without HTTP."""

    fleet: CpeFleet
    proof: Proof = SHARED
    call: CwmpSession = field(default_factory=lambda: CwmpSession(AcsSession("s1", 0.0)))

    async def take(self, event: Any) -> None:
        if type(event).__name__ == "Informed":
            self.call = self.call.anew or self.call
            await self.fleet.informed(self.call, event, self.proof)
        else:
            await self.fleet.event(self.call, event)

    async def post(self, message: Message | None = None, identity: str = "c1") -> AcsReply:
        body = b"" if message is None else said(message, identity)
        return await self.call.exchange(body, trio.current_time, self.take)


@dataclass
class Site:
    """A fleet at work, on trio's clock."""

    fleet: CpeFleet
    book: Book
    worker: Worker
    nursery: trio.Nursery

    async def calls(self, proof: Proof = SHARED, message: m.Inform | None = None) -> Talk:
        """Have a CPE inform."""
        talk = Talk(self.fleet, proof)
        self.reply = await talk.post(message or inform())
        await trio.testing.wait_all_tasks_blocked()
        return talk


@asynccontextmanager
async def running(book: Book | None = None, worker: Worker | None = None, **options: Any) -> AsyncIterator[Site]:
    book, worker = book or Book(), worker or Worker()
    fleet = CpeFleet(replace(CONFIG, **options), book, FakeClock(), no_image)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fleet.run, worker.arrived)
        await trio.testing.wait_all_tasks_blocked()
        yield Site(fleet, book, worker, nursery)
        nursery.cancel_scope.cancel()


def fault(reply: AcsReply) -> int | None:
    message = reads.read(reply.body).message
    return message.fault_code if isinstance(message, m.Fault) else None


# --- who is worked on


async def test_a_new_cpe_is_taken_note_of_and_left_alone() -> None:
    async with running() as at:
        told = [("Device.DeviceInfo.SoftwareVersion", "1.0"), ("Device.ManagementServer.ParameterKey", "k")]
        told += [("Device.ManagementServer.ConnectionRequestURL", "http://192.0.2.7:7547/x")]
        talk = await at.calls(message=inform("0 BOOTSTRAP", "1 BOOT", values=told))
        assert fault(at.reply) is None
        (called,) = at.book.calls
        assert (called.name, called.oui, called.product_class, called.serial) == (NAME, "02AC5F", "Box", "S1")
        assert (called.user, called.own, called.address) == (USER, False, "192.0.2.7")
        assert (called.root, called.software, called.request_url) == ("Device.", "1.0", "http://192.0.2.7:7547/x")
        assert (called.boots, called.resets) == (True, True)
        assert called.values["Device.ManagementServer.ParameterKey"].value == "k"
        assert at.worker.came == []
        assert (await talk.post()).status == 204, "nothing is asked of it, and it is not kept waiting"


async def test_an_accepted_cpe_is_lent() -> None:
    async with running(Book(ACCEPTED)) as at:
        await at.calls()
        (session,) = at.worker.came
        assert session.target.id == target_id(NAME)
        assert session is at.fleet.line(NAME)


async def test_a_secret_in_an_inform_is_not_kept() -> None:
    async with running() as at:
        await at.calls(message=inform(values=[("Device.ManagementServer.Password", "canary")]))
        assert at.book.calls[0].values["Device.ManagementServer.Password"].value is None
        assert "canary" not in repr(at.book)


async def test_a_refused_cpe_is_told_so() -> None:
    async with running(Book({NAME: Acceptance.REFUSED})) as at:
        talk = await at.calls()
        assert fault(at.reply) == AcsFault.REQUEST_DENIED
        assert talk.call.over.is_set()
        assert at.worker.came == []


@pytest.mark.parametrize(
    "device",
    [
        DeviceId("Maker", "02AC5F", "Box", ""),
        DeviceId("Maker", "", "Box", "S1"),
        DeviceId("Maker", "WRONG!", "Box", "S1"),
        DeviceId("Maker", "02AC5F", "\U0001f4f6" * 60, "\U0001f4f6" * 60),
    ],
)
async def test_who_does_not_say_who_it_is_is_refused(device: DeviceId) -> None:
    async with running() as at:
        body = said(inform()).replace(b"<OUI>02AC5F<", f"<OUI>{device.oui}<".encode())
        body = body.replace(b">Box<", f">{device.product_class}<".encode())
        body = body.replace(b">S1<", f">{device.serial_number}<".encode())
        talk = Talk(at.fleet)
        reply = await talk.call.exchange(body, trio.current_time, talk.take)
        assert fault(reply) == AcsFault.INVALID_ARGUMENTS
        assert at.book.calls == []


async def test_credentials_of_another_cpe_prove_nothing(caplog: pytest.LogCaptureFixture) -> None:
    book = Book(
        {NAME: Acceptance.ACCEPTED, "02AC5F-Box-S2": Acceptance.ACCEPTED}, {"other": Login("02AC5F-Box-S2", "x")}
    )
    async with running(book) as at:
        mine = await at.calls()
        with caplog.at_level(logging.WARNING):
            talk = await at.calls(Proof("other", None, "192.0.2.8"))
        assert fault(at.reply) == AcsFault.REQUEST_DENIED
        assert talk.call.over.is_set()
        assert len(book.calls) == 1, "nothing of what it says is taken note of"
        assert not mine.call.over.is_set(), "and who has the name is left alone"
        assert [r.getMessage() for r in caplog.records] == ["cwmp-wrong-name"]


@pytest.mark.parametrize("certificate", ["02AC5F-Box-S2", "02AC5F-Box-S", "model of the year", ""])
async def test_a_certificate_alone_must_name_the_cpe(certificate: str, caplog: pytest.LogCaptureFixture) -> None:
    async with running(Book(ACCEPTED)) as at:
        with caplog.at_level(logging.WARNING):
            talk = await at.calls(Proof("", certificate, "192.0.2.8"))
        assert fault(at.reply) == AcsFault.REQUEST_DENIED
        assert talk.call.over.is_set()
        assert (at.book.calls, at.worker.came) == ([], [])
        assert [r.getMessage() for r in caplog.records] == ["cwmp-wrong-name"]
        await at.calls(Proof("", "02AC5F-Box-S1", "192.0.2.7"))
        assert fault(at.reply) is None
        assert (at.book.calls[0].own, at.book.calls[0].user, len(at.worker.came)) == (True, "", 1)


@pytest.mark.parametrize(
    ("proof", "own", "certified"),
    [
        (SHARED, False, False),
        (OWN, True, False),
        (Proof(OWN.user, "02AC5F-Box-S1", "192.0.2.7"), True, True),
        (Proof(USER, "02AC5F-Box-S1", "192.0.2.7"), True, True),
        (Proof(USER, "02AC5F-S1", "192.0.2.7"), True, True),
        (Proof(USER, "02AC5F-Box-S2", "192.0.2.7"), False, False),
        (Proof(USER, "model of the year", "192.0.2.7"), False, False),
    ],
)
async def test_what_a_name_rests_on(proof: Proof, own: bool, certified: bool) -> None:
    async with running(Book(logins={NAME: Login(NAME, "x")})) as at:
        await at.calls(proof)
        assert (at.book.calls[0].own, at.book.calls[0].certified) == (own, certified)


async def test_who_only_claims_to_be_a_cpe_changes_nothing_of_it() -> None:
    """By the password that all share anybody can say any name: the real one's session and record stay as they are."""
    book = Book(ACCEPTED, {NAME: Login(NAME, "x")})
    async with running(book) as at:
        real = await at.calls(OWN)
        at.fleet.line(NAME).breaker.task(*signature_now())
        before = (at.fleet.line(NAME).breaker.rows(), list(book.proven), dict(book.breakers), book.find(NAME))
        with at.fleet.waited_for(target_id(NAME)):
            claims = await at.calls(message=inform("1 BOOT", "6 CONNECTION REQUEST", "M Reboot"))
            told = await claims.post(TRANSFER, "c2")
            assert told.status == 200
            assert (await claims.post()).status == 204
        assert (at.fleet.line(NAME).breaker.rows(), book.proven, book.breakers, book.find(NAME)) == before
        assert at.fleet.line(NAME).late_result(ticket_of("k1")) is None
        assert at.fleet.line(NAME).live is real.call
        assert not real.call.over.is_set()


def signature_now() -> tuple[TaskSignature, float]:
    return TaskSignature("GetParameterValues", "Device."), FakeClock().start_wall_s


def ticket_of(key: str) -> Ticket:
    effect = Effect(address(target_id(NAME), FIRMWARE), "firmware", {}, key, Replay.NEVER, ProofKind.EQUAL, 60)
    return Ticket("0f" * 16, 1, 1, Direction.FORWARD, 1, target_id(NAME), effect, {}, math.inf)


async def test_new_names_without_end_leave_nothing_in_memory() -> None:
    async with running() as at:
        for number in range(50):
            device = DeviceId("Maker", "02AC5F", "Box", f"S{number}")
            talk = await at.calls(message=inform("0 BOOTSTRAP", "1 BOOT", "6 CONNECTION REQUEST", device=device))
            await talk.post()
        assert at.fleet._lines == {}
        assert at.fleet._calls == {}
        assert at.book.proven == []


# --- who is lent, and for how long


async def test_the_floor_is_held_as_long_as_somebody_has_work() -> None:
    async with running(Book(ACCEPTED)) as at:
        talk = await at.calls()
        replies: list[AcsReply] = []

        async def post() -> None:
            replies.append(await talk.post())

        at.nursery.start_soon(post)
        await trio.sleep(5)
        assert replies == []
        at.worker.done()
        await trio.testing.wait_all_tasks_blocked()
        assert [r.status for r in replies] == [204]
        assert at.worker.here == 0
        assert at.fleet._calls == {}


async def test_the_floor_is_not_held_for_nobody() -> None:
    async with running(Book(ACCEPTED), Worker(wants=False)) as at:
        talk = await at.calls()
        start = trio.current_time()
        assert (await talk.post()).status == 204
        assert trio.current_time() == start
        await trio.testing.wait_all_tasks_blocked()
        assert at.fleet._calls == {}
        assert at.fleet.line(NAME).live is None


async def test_who_works_on_a_cpe_that_hangs_up_is_stopped() -> None:
    async with running(Book(ACCEPTED)) as at:
        talk = await at.calls()
        assert at.worker.here == 1
        talk.call.hang_up()
        await trio.testing.wait_all_tasks_blocked()
        assert at.worker.here == 0
        assert at.fleet.line(NAME).call is None
        assert at.fleet._calls == {}


async def test_a_worker_that_crashes_costs_that_session_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Book(ACCEPTED), Worker(crash=KeyError("x"))) as at:
        talk = await at.calls()
        assert (await talk.post()).status == 204
        at.worker.crash = None
        await at.calls()
        assert at.worker.here == 1
    assert [r.getMessage() for r in caplog.records] == ["a task crashed"]


async def test_a_cpe_that_informs_again_ends_its_older_session() -> None:
    async with running(Book(ACCEPTED)) as at:
        first = await at.calls()
        errors: list[Exception] = []

        async def ask(call: CwmpSession) -> None:
            try:
                await call.ask(GET)
            except (NotSentError, LostError) as err:
                errors.append(err)

        at.nursery.start_soon(ask, first.call)
        at.nursery.start_soon(ask, first.call)
        await trio.testing.wait_all_tasks_blocked()
        assert (await first.post()).status == 200
        second = await at.calls()
        await trio.testing.wait_all_tasks_blocked()
        assert [type(e) for e in errors] == [LostError, NotSentError], "what was sent is unknown, what was not is not"
        assert first.call.over.is_set()
        assert at.fleet.line(NAME).live is second.call
        assert (await first.post(GOT, "s1-1")).status == 400
        assert at.fleet.line(NAME).live is second.call, "the end of the older one is not that of the new one"
        assert list(at.fleet._calls) == [second.call]


async def test_a_cpe_that_informs_again_in_its_session_is_lent_again() -> None:
    async with running(Book(ACCEPTED)) as at:
        talk = await at.calls()
        first = talk.call
        await talk.post(inform("1 BOOT"))
        await trio.testing.wait_all_tasks_blocked()
        assert talk.call is not first
        assert at.fleet.line(NAME).live is talk.call
        assert len(at.worker.came) == 2
        assert at.worker.here == 1


async def test_what_is_told_of_a_transfer_reaches_who_asked_for_it() -> None:
    async with running(Book(ACCEPTED), Worker(wants=False)) as at:
        at.fleet.line(NAME).flash = Flash("k1", "2.0", "1.0")
        talk = await at.calls(message=inform("7 TRANSFER COMPLETE", "M Download"))
        assert at.worker.here == 0, "nobody has work any more"
        told = await talk.post(TRANSFER, "c2")
        assert reads.read(told.body).message == m.TransferCompleteResponse()
        reply = present(at.fleet.line(NAME).late_result(ticket_of("k1")))
        assert (reply.accepted, reply.reason) == (False, "fault-9010")
        assert (NAME, "firmware", False, "fault 9010") in at.book.proven
        await talk.post(replace(TRANSFER, command_key="k2", fault_struct=TransferFault(0, "")), "c3")
        good = present(at.fleet.line(NAME).late_result(ticket_of("k2")))
        assert good.accepted


async def test_a_boot_is_told_once() -> None:
    """An Inform that is tried again tells the same boot (RetryCount above 0)."""
    async with running(Book(ACCEPTED), Worker(wants=False)) as at:
        at.fleet.line(NAME).breaker.task(*signature_now())
        await at.calls(message=inform("1 BOOT"))
        assert [row[2] for row in at.book.breakers[NAME]] == [1]
        at.fleet.line(NAME).breaker.task(*signature_now())
        await at.calls(message=inform("1 BOOT", retry=1))
        assert [row[2] for row in at.book.breakers[NAME]] == [1], "it says again what it has said"
        assert at.book.cpes[NAME].boots == 1


async def test_a_boot_whose_first_inform_did_not_come_counts() -> None:
    async with running(Book(ACCEPTED), Worker(wants=False)) as at:
        at.fleet.line(NAME).breaker.task(*signature_now())
        await at.calls(message=inform("1 BOOT", retry=3))
        assert [row[2] for row in at.book.breakers[NAME]] == [1]


async def test_a_boot_counts_though_its_first_inform_came_late() -> None:
    async with running(Book(ACCEPTED), Worker(wants=False)) as at:
        talk = await at.calls(message=inform("1 BOOT"))
        await talk.post()
        await trio.testing.wait_all_tasks_blocked()
        await at.calls(message=inform("1 BOOT", retry=2))
        assert at.book.cpes[NAME].boots == 2


async def test_evidence_of_what_an_inform_proves() -> None:
    async with running(Book(ACCEPTED), Worker(wants=False)) as at:
        await at.calls(message=inform("1 BOOT", "M Reboot", "6 CONNECTION REQUEST"))
        proven = {(workflow, worked) for _, workflow, worked, _ in at.book.proven}
        assert proven == {("inform", True), ("reboot", True)}, "nobody asked it to call in"


# --- calling for a CPE


@dataclass
class Bell:
    """A CPE that takes connection requests on loopback, as TR-069 3.2.2 has it. `status`: of a right one."""

    status: int = 200
    at: list[float] = field(default_factory=list)
    server: Server = field(default_factory=lambda: Server("cpe"))
    rung: Callable[[], Awaitable[None]] | None = None

    async def handle(self, stream: trio.SocketStream) -> None:
        async with stream:
            for _ in range(2):
                data = b""
                while not data.endswith(b"\r\n\r\n"):
                    if not (more := await stream.receive_some()):
                        return
                    data += more
                fields = dict(line.split(": ", 1) for line in data.decode().split("\r\n")[1:-2])
                given = {key.lower(): value for key, value in fields.items()}.get("authorization", "")
                if self.server.accepts_untrusted(given, "GET", "/ring", "acs", "bell"):
                    self.at.append(trio.current_time())
                    await stream.send_all(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.status)
                    return
                head = f"HTTP/1.1 401 X\r\nContent-Length: 0\r\nWWW-Authenticate: {self.server.challenge()}\r\n\r\n"
                await stream.send_all(head.encode())


@asynccontextmanager
async def ringing(bell: Bell, book: Book | None = None, **options: Any) -> AsyncIterator[Site]:
    """CpeFleet, and a CPE that called in before and can be asked to call in again."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, bell.handle, [listener])
        book = book or Book(ACCEPTED)
        book.requests[NAME] = Credentials("acs", "bell")
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/ring"
        book.cpes[NAME] = Cpe(NAME, "02AC5F", "Box", "S1", address="127.0.0.1", request_url=url)
        async with running(book, **options) as site:
            yield site
        nursery.cancel_scope.cancel()


async def test_a_cpe_that_is_waited_for_is_called_at_once() -> None:
    bell = Bell()
    async with ringing(bell) as at:
        assert at.fleet.last_request(NAME) is None
        with at.fleet.waited_for(target_id(NAME)):
            start = trio.current_time()
            await until(lambda: bool(bell.at))
            assert trio.current_time() - start < 1
            await until(lambda: (w := at.fleet.last_request(NAME)) is not None and w.outcome is RequestOutcome.ACCEPTED)
        assert at.fleet.last_request(NAME) is None


async def test_it_is_called_with_growing_pauses_until_nobody_waits() -> None:
    bell = Bell(status=503)
    async with ringing(bell) as at:
        with at.fleet.waited_for(target_id(NAME)):
            await trio.sleep(4000)
        number = len(bell.at)
        pauses = [later - earlier for earlier, later in zip(bell.at, bell.at[1:], strict=False)]
        for pause, wanted in zip(pauses, limits.REQUEST_PAUSES_S, strict=False):
            assert wanted * (1 - limits.REQUEST_JITTER) - 1 <= pause <= wanted + 2, pauses
        assert number >= 5
        await trio.sleep(8000)
        assert len(bell.at) == number, "nobody waits any more"
        with at.fleet.waited_for(target_id(NAME)):
            await until(lambda: len(bell.at) > number)


async def test_a_cpe_that_took_it_has_time_to_call_in() -> None:
    bell = Bell()
    async with ringing(bell) as at:
        with at.fleet.waited_for(target_id(NAME)):
            await trio.sleep(60)
        assert bell.at[1] - bell.at[0] >= limits.CALL_IN_S


async def test_a_cpe_that_came_is_not_called_again_at_once() -> None:
    bell = Bell()
    async with ringing(bell) as at:
        at.worker.done()
        with at.fleet.waited_for(target_id(NAME)):
            for sessions in (1, 2, 3):
                while len(bell.at) < sessions:  # noqa: ASYNC110  a bell tells nobody
                    await trio.sleep(1)
                talk = await at.calls(replace(SHARED, address="127.0.0.1"), inform("6 CONNECTION REQUEST"))
                await talk.post()
            pauses = [later - earlier for earlier, later in zip(bell.at, bell.at[1:], strict=False)]
            assert pauses[0] >= limits.CALL_IN_S
            assert pauses[1] >= limits.REQUEST_PAUSES_S[1] * (1 - limits.REQUEST_JITTER) - 1
            assert pauses[1] < limits.REQUEST_PAUSES_S[2]
            with at.fleet.waited_for(target_id(NAME)):  # there is something new for it
                await until(lambda: len(bell.at) == 4)


async def test_two_who_wait_call_once() -> None:
    bell = Bell()
    async with ringing(bell) as at:
        with at.fleet.waited_for(target_id(NAME)):
            with at.fleet.waited_for(target_id(NAME)):
                await trio.sleep(5)
            assert at.fleet.last_request(NAME) is not None
            await trio.sleep(5)
        assert len(bell.at) == 1


async def test_a_cpe_on_the_line_is_not_called() -> None:
    bell = Bell()
    async with ringing(bell) as at:
        talk = await at.calls(Proof(USER, None, "127.0.0.1"))
        with at.fleet.waited_for(target_id(NAME)):
            await trio.sleep(15)
            assert bell.at == []
            start = trio.current_time()
            talk.call.hang_up()
            await until(lambda: bool(bell.at))
            assert trio.current_time() - start < 2, "but as soon as it is not"


async def test_that_a_cpe_called_in_because_it_was_asked_is_evidence() -> None:
    bell = Bell()
    async with ringing(bell) as at:
        at.worker.done()
        with at.fleet.waited_for(target_id(NAME)):
            await until(lambda: bool(bell.at))
            await at.calls(Proof(USER, None, "127.0.0.1"), inform("6 CONNECTION REQUEST"))
        assert (NAME, "connection-request", True, "") in at.book.proven


async def test_it_is_asked_nowhere_else_than_where_it_called_from() -> None:
    bell = Bell()
    async with ringing(bell) as at:
        at.book.cpes[NAME] = replace(at.book.cpes[NAME], address="192.0.2.7")
        result = await at.fleet.request_connection(NAME)
        assert result.outcome in (RequestOutcome.BEHIND_NAT, RequestOutcome.ELSEWHERE)
        assert bell.at == []
    networks = (ipaddress.ip_network("127.0.0.0/8"),)
    async with ringing(bell, request_networks=networks) as at:
        at.book.cpes[NAME] = replace(at.book.cpes[NAME], address="192.0.2.7")
        assert (await at.fleet.request_connection(NAME)).outcome is RequestOutcome.ACCEPTED


@dataclass
class Datagrams:
    """A STUN server's socket that sends nothing."""

    to: set[tuple[str, int]] = field(default_factory=set)

    async def send(self, _data: bytes, to: tuple[str, int]) -> None:
        await trio.lowlevel.checkpoint()
        self.to.add(to)


async def test_a_binding_from_a_forged_source_is_sent_nothing() -> None:
    """A customer knows the password of the own CPE, and sends binding requests as if from a victim."""
    sent = Datagrams()
    async with ringing(Bell()) as at:
        at.book.cpes[NAME] = replace(at.book.cpes[NAME], address="203.0.113.7", request_url="http://192.168.1.5/")
        at.fleet.stun = sent  # type: ignore[assignment]  # as far as it is used
        for place, outcome in (
            ("198.51.100.9", RequestOutcome.ELSEWHERE), ("203.0.113.7", RequestOutcome.SENT),
        ):  # fmt: skip
            at.fleet.bound(Binding("acs", ipaddress.ip_address(place), 40001, True, True, 0.0))
            assert (await at.fleet.request_connection(NAME)).outcome is outcome
    assert sent.to == {("203.0.113.7", 40001)}


async def test_ways_that_are_none() -> None:
    async with ringing(Bell()) as at:
        with pytest.raises(UnreadableError) as caught:
            await at.fleet.request_connection("02AC5F-Box-S9")
        assert caught.value.reason == "unknown-target"
        at.book.cpes[NAME] = replace(at.book.cpes[NAME], request_url="")
        assert (await at.fleet.request_connection(NAME)).outcome is RequestOutcome.NO_WAY
        at.book.requests.clear()
        result = await at.fleet.request_connection(NAME)
        assert (result.outcome, "no credentials" in result.detail) == (RequestOutcome.NO_WAY, True)
        with at.fleet.waited_for(target_id("02AC5F-Box-S9")):
            await trio.sleep(10_000)
            result = present(at.fleet.last_request("02AC5F-Box-S9"))
            assert result.outcome is RequestOutcome.NO_WAY


@pytest.mark.parametrize("own_address", [True, False])
async def test_d10_a_cpe_is_called_where_another_stun_told_it(own_address: bool) -> None:
    """Where it says it hears UDP, if that is where it called from; nobody else is sent anything."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as house:
        await house.bind(("127.0.0.1", 0))
        told = "{}:{}".format(*house.getsockname())
        async with ringing(Bell(), request_networks=()) as at:
            called_from = "127.0.0.1" if own_address else "192.0.2.7"
            behind = replace(
                at.book.cpes[NAME], address=called_from, request_url="http://192.168.1.2:7547/", udp_address=told
            )
            at.book.cpes[NAME] = behind
            result = await at.fleet.request_connection(NAME)
            if not own_address:
                assert result.outcome is RequestOutcome.BEHIND_NAT
                return
            assert result.outcome is RequestOutcome.SENT
            with trio.fail_after(60):
                data, _ = await house.recvfrom(2000)
            assert data.startswith(f"GET http://{told}?ts=".encode())
            assert b"&un=acs&" in data


async def test_one_that_takes_the_connection_and_says_nothing() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            await trio.sleep_forever()

    bell = Bell()
    bell.handle = silent  # type: ignore[method-assign]  # a CPE that hangs
    async with ringing(bell) as at:
        start = trio.current_time()
        assert (await at.fleet.request_connection(NAME)).outcome is RequestOutcome.UNREACHABLE
        assert trio.current_time() - start == pytest.approx(REQUEST_TIMEOUT_S, abs=1)


async def test_a_crash_while_one_is_called_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bell = Bell()
    async with ringing(bell) as at:
        good = at.book.cpes[NAME]
        at.book.cpes[NAME] = replace(good, address="no address")
        with at.fleet.waited_for(target_id(NAME)):
            await trio.sleep(5)
            at.book.cpes[NAME] = good
            await until(lambda: bool(bell.at))
    assert {r.getMessage() for r in caplog.records} == {"a task crashed"}


async def test_many_that_are_waited_for_are_not_all_called_at_once() -> None:
    now, most = 0, 0

    async def count(stream: trio.SocketStream) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        async with stream:
            await stream.receive_some()
            await trio.sleep(0.5)
            now -= 1

    bell = Bell()
    bell.handle = count  # type: ignore[method-assign]  # a CPE that is slow
    async with ringing(bell) as at, trio.open_nursery() as nursery:

        async def wait(name: str) -> None:
            at.book.cpes[name] = replace(at.book.cpes[NAME], name=name)
            at.book.requests[name] = Credentials("acs", "bell")
            with at.fleet.waited_for(target_id(name)):
                await trio.sleep(8)
                assert at.fleet.last_request(name) is not None

        for number in range(200):
            nursery.start_soon(wait, f"02AC5F-Box-{number}")
    assert 0 < most <= 64


# --- all of it, with the lab's CPE and real sockets


@asynccontextmanager
async def connector(book: Book, worker: Worker, **options: Any) -> AsyncIterator[tuple[CwmpConnector, trio.Nursery]]:
    config = replace(CONFIG, request_networks=(ipaddress.ip_network("127.0.0.0/8"),), **options)
    made = CwmpConnector(config, lambda _name: b"shared-by-all", commit, book, FakeClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.serve, worker.arrived)
        await made.port.wait()
        with trio.fail_after(60):
            yield made, nursery
        nursery.cancel_scope.cancel()


LAB = "02AC5F-LabGate-LAB0001"


async def plug_in(made: CwmpConnector, nursery: trio.Nursery, password: str = "shared-by-all", **quirks: Any) -> LabCpe:
    device = Device(
        Identity("LAB0001", oui="02AC5F", product_class="LabGate", software="1.0.0"),
        tr181(),
        url=f"http://127.0.0.1:{made.listens_on}/acs",
        username=USER,
        password=password,
        cr_username="acs",
        cr_password="bell",
        quirks=Quirks(**quirks),
    )
    cpe = LabCpe(device, boot_s=0.0, backoff_scale=0.01)
    await nursery.start(lambda task_status: cpe.run(task_status=task_status))
    await cpe.wait_sessions(1)
    return cpe


@pytest.mark.parametrize(
    "quirks",
    [
        {},
        {"no_cookies": True},
        {"no_qop": True},
        {"chunked": True},
        {"gzip": True},
        {"no_cookies": True, "gzip": True, "chunked": True, "no_qop": True, "no_id": True},
        {"lower_oui": True},
        {"preemptive_basic": True},
        {"asks_methods": True},
    ],
)
async def test_cpe_of_all_kinds_are_asked_and_answer(quirks: dict[str, bool]) -> None:
    book = Book({LAB: Acceptance.ACCEPTED})
    found: list[CachedParameter] = []

    class Asks(Worker):
        async def arrived(self, session: Session) -> None:
            line = made.line(LAB)
            path = "Device.DeviceInfo.SoftwareVersion"
            found.append((await line.values(await line.wait(), [path]))[path])

    async with connector(book, Asks()) as (made, nursery):
        cpe = await plug_in(made, nursery, **quirks)
        assert cpe.executed("GetParameterValues")
        assert found[0].value == "1.0.0"
        assert made.acs.sessions == 0
        assert book.find(LAB) is not None


async def test_a_cpe_is_woken_and_calls_in() -> None:
    book, worker = Book({LAB: Acceptance.ACCEPTED}), Worker(wants=False)
    async with connector(book, worker) as (made, nursery):
        cpe = await plug_in(made, nursery)
        book.requests[LAB] = Credentials("acs", "bell")
        with made.requested(target_id(LAB)):
            await cpe.wait_sessions(2)
        assert "6 CONNECTION REQUEST" in book.calls[-1].events
        await cpe.call_in()
        assert (await made.request_connection(LAB)).outcome is RequestOutcome.ACCEPTED


async def test_a_cpe_with_a_wrong_password_gets_nowhere() -> None:
    book = Book({LAB: Acceptance.ACCEPTED})
    async with connector(book, Worker()) as (made, nursery):
        await plug_in(made, nursery, password="wrong")
        assert book.calls == []
