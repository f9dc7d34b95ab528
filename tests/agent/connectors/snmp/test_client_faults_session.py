"""The client with devices on loopback that stall, cut, lie, forget their clock or change their engine."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import pytest
import trio

from agent.connectors.snmp import messages, pdu, usm, v3_messages
from agent.connectors.snmp.client_session import SnmpClient, open_client
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential
from agent.connectors.snmp.errors import AgentFaultError, RequestRefusedError, SilentError, UnsentRequestError
from agent.connectors.snmp.exchange import SnmpExchange
from agent.connectors.snmp.limits import ALIVE_S, REPORTS_MAX, SnmpLimits
from agent.connectors.snmp.pdu import Pdu, PduKind
from agent.connectors.snmp.questions import GetQuestion
from agent.connectors.snmp.security import AGAIN
from agent.connectors.snmp.usm_client import UsmSecurity
from agent.connectors.snmp.usm_keys import keys_at
from agent.connectors.snmp.v3_messages import REPORTABLE_FLAG, V3Header, V3Message
from agent.connectors.snmp.values import COUNTER32, OCTET_STRING, Oid, Value, oid, suffix
from tests.agent.connectors.snmp.net_snmp import V2C, credential

NAME, COLUMN = oid("1.3.6.1.2.1.1.5.0"), oid("1.3.6.1.2.1.2.2.1.10")
ROWS = [(Oid(COLUMN + suffix((n,))), (COUNTER32, n)) for n in range(1, 41)]
VALUE: Value = (OCTET_STRING, b"sw-1")
HURRIED = SnmpLimits(timeout_s=0.5, retries=2)
Answer = Callable[[bytes], Iterable[bytes]]


@asynccontextmanager
async def device(answer: Answer, asked: SnmpCredential, limits: SnmpLimits = HURRIED) -> AsyncIterator[SnmpClient]:
    """Open a client of a device that answers each datagram with some, from the port that was asked."""
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))

    async def serve() -> None:
        while True:
            data, source = await sock.recvfrom(65_535)
            for reply in answer(data):
                await sock.sendto(reply, source)

    with sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with open_client("127.0.0.1", sock.getsockname()[1], asked, limits) as client:
                yield client
            nursery.cancel_scope.cancel()


def responded(asked: Pdu) -> Pdu:
    """Return a sound answer."""
    if asked.kind is not PduKind.GET_BULK:
        return Pdu(PduKind.RESPONSE, asked.request_id, 0, 0, ((NAME, VALUE),))
    cursor = asked.varbinds[0][0]
    at = next((n for n, (name, _) in enumerate(ROWS, 1) if name == cursor), 0)
    found = [*ROWS, (NAME, VALUE)][at : at + asked.index]
    return Pdu(PduKind.RESPONSE, asked.request_id, 0, 0, found)


def v2c(data: bytes) -> bytes:
    message = messages.message_untrusted(data)
    assert isinstance(message.pdu, Pdu)
    return messages.encode(message.version, message.community, pdu.encode(responded(message.pdu)))


async def test_a_device_that_stalls_and_then_answers() -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        asked.append(data)
        return [v2c(data)] if len(asked) == 3 else []

    async with device(answer, V2C) as client:
        assert await client.get([NAME]) == {NAME: VALUE}
    assert asked == [asked[0]] * 3  # one request id: a late answer to the first would have counted


async def test_noise_and_strangers_answers_before_the_true_one() -> None:
    def answer(data: bytes) -> list[bytes]:
        true = v2c(data)
        other = bytearray(true)
        other[true.index(b"\xa2") + 5] ^= 1  # the request id
        return [b"", b"\x30", b"\xff" * 50, true[:-3], bytes(other), data, true.replace(b"public", b"pub1ic"), true]

    async with device(answer, V2C) as client:
        assert await client.get([NAME]) == {NAME: VALUE}


async def test_what_did_not_count_is_said() -> None:
    async with device(lambda data: [data], V2C) as client:
        with pytest.raises(SilentError, match="3 answers did not count, the last one: it belongs to another request"):
            await client.get([NAME])


async def test_a_device_that_cuts_its_datagrams_is_asked_for_less() -> None:
    asked: list[int] = []

    def answer(data: bytes) -> list[bytes]:
        asked.append(len(asked))
        return [v2c(data)[:300]]

    async with device(answer, V2C) as client:
        found = await client.table([COLUMN])
    assert found == {COLUMN: {name[len(COLUMN) :]: value for name, value in ROWS}}
    assert len(asked) < 12


async def test_a_device_that_drops_large_answers_is_asked_for_less() -> None:
    def answer(data: bytes) -> list[bytes]:
        return [reply for reply in [v2c(data)] if len(reply) < 200]

    async with device(answer, V2C) as client:
        await client.get([NAME])  # it is there: silence is about size
        assert len((await client.table([COLUMN]))[COLUMN]) == len(ROWS)


async def test_a_device_that_died_costs_its_retries_and_no_more() -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        asked.append(data)
        return [v2c(data)] if len(asked) == 1 else []

    async with device(answer, V2C) as client:
        await client.get([NAME])
        client._answered_at -= ALIVE_S
        with pytest.raises(SilentError, match="no answer to 3 requests"):
            await client.table([COLUMN])
    assert len(asked) == 4


async def test_a_set_is_sent_once() -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        asked.append(data)
        return []

    async with device(answer, V2C) as client:
        with pytest.raises(SilentError, match="no answer to 1 requests"):
            await client.set({NAME: VALUE})
    assert len(asked) == 1


async def test_an_answer_from_another_address_is_named_where_asked() -> None:
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock, other:
        await sock.bind(("127.0.0.1", 0))
        await other.bind(("127.0.0.2", 0))

        async def serve() -> None:
            while True:
                data, source = await sock.recvfrom(65_535)
                await other.sendto(v2c(data), source)

        limits = SnmpLimits(timeout_s=1.0, retries=0, other_source=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with open_client("127.0.0.1", sock.getsockname()[1], V2C, limits) as client:
                with pytest.raises(SilentError, match=r"an answer came from 127\.0\.0\.2 port \d+, which does not"):
                    await client.get([NAME])
            nursery.cancel_scope.cancel()


async def test_a_host_without_a_way_out_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network of the agent's host goes while a device is silent, or the host has no more sockets."""
    limits = SnmpLimits(timeout_s=0.1, retries=0, other_source=True)
    real = trio.socket.socket

    class Unconnected:
        """A socket by which nothing can be sent."""

        def __init__(self, *of: int) -> None:
            self._of = real(*of)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._of.close()

        async def sendto(self, *_: object) -> None:
            await trio.lowlevel.checkpoint()
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def no_more(*_: int) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with device(lambda data: [], V2C, limits) as client:

        async def silent() -> str:
            with pytest.raises(SilentError) as caught:
                await client.get([NAME])
            return str(caught.value)

        await silent()  # its connected socket is there now
        for broken in (Unconnected, no_more):
            monkeypatch.setattr(trio.socket, "socket", broken)
            assert "unreachable, or wrong secret" in await silent()
        client.close()
        with pytest.raises(UnsentRequestError, match="Too many open files"):
            await client.get([NAME])
        monkeypatch.undo()


async def test_cancellation_leaves_a_client_that_works() -> None:
    heard: list[bytes] = []

    def answer(data: bytes) -> list[bytes]:
        heard.append(data)
        return [] if len(heard) == 1 else [v2c(heard[0]), v2c(data)]  # the late answer comes first

    async with device(answer, V2C, SnmpLimits(timeout_s=60)) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, [NAME])
            with trio.fail_after(60):
                while not heard:  # noqa: ASYNC110  the device tells nobody
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert await client.get([NAME]) == {NAME: VALUE}


# --- version 3 -------------------------------------------------------------------------------------------------------

EMPTY = pdu.encode(Pdu(PduKind.RESPONSE, 1, 0, 0, ()))
USER = credential(AuthProtocol.SHA_256, PrivProtocol.AES_128)


@dataclass
class Engine:
    """An agent of version 3. `answer_as`: changes what it would answer."""

    engine_id: bytes = bytes.fromhex("8000000001020304")
    boots: int = 5
    time_s: int = 1_000
    heard: list[V3Message] = field(default_factory=list)
    forget: bool = False
    """Whether it takes every message for one out of its time."""

    def answer(self, data: bytes) -> list[bytes]:
        message = v3_messages.message_untrusted(data)
        self.heard.append(message)
        header = message.header
        if header.engine_id != self.engine_id:
            return [self.report(message, usm.UNKNOWN_ENGINE_IDS, 0)]
        keys = keys_at(USER, self.engine_id)
        assert usm.is_authentic_untrusted(message, USER, keys)
        if self.forget or header.boots != self.boots or abs(header.time_s - self.time_s) > 150:
            return [self.report(message, usm.NOT_IN_TIME_WINDOWS, 1)]
        scoped = v3_messages.scoped_untrusted(usm.scoped_octets_untrusted(message, USER, keys))
        assert isinstance(scoped.pdu, Pdu)
        return [self.sealed(message, 3, pdu.encode(responded(scoped.pdu)))]

    def report(self, message: V3Message, name: Oid, flags: int) -> bytes:
        return self.sealed(message, flags, pdu.encode(Pdu(PduKind.REPORT, 0, 0, 0, ((name, (COUNTER32, 1)),))))

    def sealed(self, message: V3Message, flags: int, body: bytes) -> bytes:
        header = message.header
        to = V3Header(header.message_id, flags, self.engine_id, self.boots, self.time_s, header.user, b"", b"")
        scoped = v3_messages.scoped(self.engine_id, b"", body)
        return usm.seal(USER, keys_at(USER, self.engine_id), to, scoped, len(self.heard))


async def test_discovery_once_then_one_message_a_request() -> None:
    engine = Engine()
    async with device(engine.answer, USER) as client:
        for _ in range(3):
            assert await client.get([NAME]) == {NAME: VALUE}
        assert client.boots == 5
    assert [message.header.flags for message in engine.heard] == [REPORTABLE_FLAG, 7, 7, 7]


async def test_a_context_is_asked_for() -> None:
    engine, asked = Engine(), credential(AuthProtocol.SHA_256, PrivProtocol.AES_128, context="vlan-100")
    async with device(engine.answer, asked) as client:
        await client.get([NAME])
    found = usm.scoped_octets_untrusted(engine.heard[-1], USER, keys_at(USER, engine.engine_id))
    assert v3_messages.scoped_untrusted(found).context == b"vlan-100"


@pytest.mark.parametrize("boots", [6, 1], ids=["restarted", "restarted and forgot how often"])
async def test_a_device_that_restarts(boots: int) -> None:
    engine = Engine()
    async with device(engine.answer, USER) as client:
        await client.get([NAME])
        engine.boots, engine.time_s = boots, 3
        assert await client.get([NAME]) == {NAME: VALUE}
        assert client.boots == boots


def test_a_device_whose_clock_stands_still_is_read_all_day() -> None:
    """Beyond the window it reports what it takes for the time, and the next message has that."""
    engine, security = Engine(time_s=0), UsmSecurity(USER, random.Random(3).getrandbits)
    for now in range(0, 86_400, 100):
        exchange = SnmpExchange(GetQuestion([NAME]), security, random.Random(now).getrandbits)
        while (answer := exchange.receive_untrusted(engine.answer(exchange.datagram(now))[0], now)) is AGAIN:
            exchange.again()
        assert answer is not None
        assert answer.varbinds == [(NAME, VALUE)]
    reported = len(engine.heard) - 86_400 // 100
    assert 86_400 // 300 <= reported <= 86_400 // 150


async def test_a_device_that_changes_its_engine() -> None:
    engine = Engine()
    async with device(engine.answer, USER) as client:
        await client.get([NAME])
        engine.engine_id, engine.boots, engine.time_s = bytes.fromhex("80000000019999"), 1, 7
        assert await client.get([NAME]) == {NAME: VALUE}


async def test_reports_are_obeyed_a_few_times() -> None:
    engine = Engine(forget=True)
    async with device(engine.answer, USER) as client:
        with pytest.raises(RequestRefusedError, match=f"sent more than {REPORTS_MAX} Reports for one request"):
            await client.get([NAME])
    assert len(engine.heard) == REPORTS_MAX + 1


def with_last_changed(answer: bytes) -> bytes:
    """Return an answer with another last octet: it is sealed, so any octet may stand there."""
    return answer[:-1] + bytes([answer[-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda e, m: e.report(m, usm.NOT_IN_TIME_WINDOWS, 0), "expected an authenticated Report of"),
        (lambda e, m: e.sealed(m, 0, pdu.encode(Pdu(PduKind.RESPONSE, 1, 0, 0, ()))), "the authentication and encry"),
        (lambda e, m: e.sealed(m, 1, pdu.encode(Pdu(PduKind.RESPONSE, 1, 0, 0, ()))), "the authentication and encry"),
        (
            lambda e, m: Engine(boots=4).sealed(m, 3, pdu.encode(Pdu(PduKind.RESPONSE, 1, 0, 0, ()))),
            "outside of the time",
        ),
        (lambda e, m: with_last_changed(e.answer(m.whole)[0]), "wrong digest|to another request"),
        (lambda e, m: Engine(b"other-engine").report(m, usm.NOT_IN_TIME_WINDOWS, 1), "expected the engine of the req"),
    ],
    ids=["report", "noAuth", "noPriv", "old", "changed", "engine"],
)
async def test_what_does_not_count(change: Callable[[Engine, V3Message], bytes], why: str) -> None:
    engine = Engine()
    answers = [lambda data: [change(engine, v3_messages.message_untrusted(data))], engine.answer, engine.answer]
    async with device(lambda data: answers.pop()(data), USER, SnmpLimits(timeout_s=1.0, retries=0)) as client:
        await client.get([NAME])
        with pytest.raises(SilentError, match=why):
            await client.get([NAME])


async def test_a_set_waits_for_the_engine_and_is_sent_once() -> None:
    engine = Engine()
    silent = [True, True]

    def answer(data: bytes) -> list[bytes]:
        return [] if silent and silent.pop() else engine.answer(data)

    async with device(answer, USER) as client:
        await client.set({NAME: VALUE})  # two questions for the engine were lost
    assert [message.header.flags for message in engine.heard] == [REPORTABLE_FLAG, 7]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (usm.UNKNOWN_USER_NAMES, "does not know this user"),
        (usm.UNSUPPORTED_SEC_LEVELS, "compare auth and priv"),
        (usm.WRONG_DIGESTS, "auth or auth_secret differs"),
        (oid("1.3.6.1.6.3.99.1.0"), r"the device reports 1\.3\.6\.1\.6\.3\.99\.1\.0"),
    ],
)
async def test_reports_that_refuse(name: Oid, told: str) -> None:
    engine = Engine()

    def answer(data: bytes) -> list[bytes]:
        message = v3_messages.message_untrusted(data)
        flags = 0 if name in usm.UNAUTHENTICATED_REPORTS else 1
        return [engine.report(message, name, flags)] if message.header.engine_id else engine.answer(data)

    async with device(answer, USER) as client:
        with pytest.raises(RequestRefusedError, match=told):
            await client.get([NAME])


async def test_endless_large_values_of_a_device_fill_no_memory() -> None:
    sent = 0

    def answer(data: bytes) -> list[bytes]:
        nonlocal sent
        message = messages.message_untrusted(data)
        assert isinstance(message.pdu, Pdu)
        sent += 1
        row = (Oid(COLUMN + suffix((sent,))), (OCTET_STRING, bytes(20_000)))
        found = Pdu(PduKind.RESPONSE, message.pdu.request_id, 0, 0, (row,))
        return [messages.encode(message.version, message.community, pdu.encode(found))]

    with trio.fail_after(60):
        async with device(answer, V2C, SnmpLimits(walked_octets=1_000_000, timeout_s=10)) as client:
            with pytest.raises(AgentFaultError, match="at most 1000000 octets of one walk"):
                await client.table([COLUMN])
            assert 50 <= sent <= 51
            with pytest.raises(AgentFaultError, match="octets"):
                async for _ in client.walk(COLUMN):
                    pass
