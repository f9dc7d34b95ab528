"""The client over real sockets: a small NAS on loopback, and FreeRADIUS' own listener as second opinion."""

from __future__ import annotations

import errno
import itertools
import socket
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from agent.connectors.radius.codec import PacketKind
from agent.connectors.radius.dictionary import Profile, load, profile
from agent.connectors.radius.dynauth import DynAuthAnswer, DynAuthClient, Silence
from agent.connectors.radius.dynauth_session import DynAuths, DynAuthSession
from agent.connectors.radius.errors import NasUnreachableError, UnencodableRequestError
from agent.connectors.radius.schema import Nas
from tests.agent.connectors.radius.fakes import (
    SECRET,
    UdpNas,
    attributes_of,
    authentic_request,
    error_cause,
    reply,
)
from tests.builders.expect import expect
from tests.servers import FreeRadius, RadiusDatabase, free_port

ALICE = {"User-Name": "alice", "Acct-Session-Id": "81c0004f", "Framed-IP-Address": "100.64.12.9"}
PATIENT = replace(profile("mikrotik"), timeout_s=10, retries=2)
FAST = replace(PATIENT, timeout_s=0.05)
"""For a NAS that is silent: this is waited for."""


def nas_at(port: int, name: str = "bng-1", host: str = "127.0.0.1", source: str = "") -> Nas:
    return Nas(name, "10.0.0.1", host, port, "nas-secret", source=source)


def dynauths(
    p: Profile = PATIENT, learned: dict[str, frozenset[str]] | None = None, secret: bytes = SECRET
) -> DynAuths:
    def client(nas: Nas, known: frozenset[str]) -> DynAuthClient:
        return DynAuthClient(p, secret, load(), learned=known)

    return DynAuths(client, {} if learned is None else learned, time.time)


async def exchange(
    port: int,
    attributes: dict[str, str] = ALICE,
    kind: PacketKind = PacketKind.DISCONNECT,
    p: Profile = PATIENT,
    within_s: float = 60,
) -> DynAuthAnswer | Silence:
    async with dynauths(p) as d:
        return await d.get(nas_at(port)).exchange(kind, attributes, trio.current_time() + within_s)


async def test_ack_and_the_request_that_a_nas_sees() -> None:
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        got = await exchange(nas.port)
    assert isinstance(got, DynAuthAnswer)
    assert got.ack
    ((data, _),) = nas.requests
    assert data[0] == 40
    assert authentic_request(data)
    assert {1: b"alice", 44: b"81c0004f", 8: bytes((100, 64, 12, 9))}.items() <= dict(attributes_of(data)).items()


async def test_nak_by_name() -> None:
    with UdpNas(lambda data: [reply(data, ack=False, attributes=error_cause(503))]).run() as nas:
        got = await exchange(nas.port)
    assert isinstance(got, DynAuthAnswer)
    assert (got.ack, got.cause) == (False, 503)


async def test_silence_after_identical_retransmissions() -> None:
    with UdpNas(lambda data: []).run() as nas:
        got = await exchange(nas.port, p=FAST)
    assert isinstance(got, Silence)
    assert (got.attempts, len(nas.requests), len(set(nas.requests))) == (3, 3, 1)


async def test_only_a_retransmission_is_answered() -> None:
    numbers = itertools.count()

    def answer(data: bytes) -> list[bytes]:
        return [reply(data, ack=True)] * 3 if next(numbers) else []

    with UdpNas(answer).run() as nas:
        async with dynauths(replace(PATIENT, timeout_s=1)) as d:  # two seconds for the answer to the second
            session = d.get(nas_at(nas.port))
            first = await session.exchange(PacketKind.DISCONNECT, ALICE, trio.current_time() + 60)
            second = await session.exchange(PacketKind.DISCONNECT, ALICE, trio.current_time() + 60)
    assert isinstance(first, DynAuthAnswer)
    assert first.attempts == 2
    assert isinstance(second, DynAuthAnswer)
    assert second.attempts == 1


async def test_forged_replies_before_the_true_one_are_not_taken() -> None:
    def answer(data: bytes) -> list[bytes]:
        forged = [b"", b"\x29", reply(data, ack=True, secret=b"x"), reply(data, ack=True, identifier=data[1] ^ 1)]
        return [*forged, reply(data, ack=True, code=2), reply(data, ack=False, attributes=error_cause(504))]

    with UdpNas(answer).run() as nas:
        got = await exchange(nas.port)
    assert isinstance(got, DynAuthAnswer)
    assert got.cause == 504


async def test_a_stranger_with_the_secret_on_another_port_is_dropped() -> None:
    def answer(data: bytes) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(reply(data, ack=True), ("127.0.0.1", nas.requests[-1][1]))
        return []

    with UdpNas(answer).run() as nas:
        got = await exchange(nas.port, p=FAST)
    assert isinstance(got, Silence)


async def test_a_closed_port_is_no_answer_and_is_waited_for() -> None:
    got = expect(Silence, await exchange(free_port(socket.SOCK_DGRAM), p=FAST))
    assert got.attempts == 3


async def test_the_callers_deadline_ends_it() -> None:
    slow = replace(FAST, timeout_s=30.0)
    with UdpNas(lambda data: []).run() as nas:
        with trio.fail_after(60):
            got = await exchange(nas.port, p=slow, within_s=0.1)
    assert isinstance(got, Silence)
    assert (got.attempts, len(nas.requests)) == (1, 1)


async def test_nothing_sent_is_told_apart() -> None:
    async with dynauths() as d:
        for nas in (nas_at(1, source="192.0.2.77"), nas_at(1, name="bng-2", host="255.255.255.255")):
            with pytest.raises(NasUnreachableError, match=f"NAS {nas.name}: nothing could be sent"):
                await d.get(nas).exchange(PacketKind.DISCONNECT, ALICE, trio.current_time() + 60)


def without_a_route(monkeypatch: pytest.MonkeyPatch, tries: float) -> None:
    """Let the host have no way to any NAS for the first tries."""
    opened, left = DynAuthSession._open, itertools.count()

    async def open_late(session: DynAuthSession) -> trio.socket.SocketType:
        if next(left) < tries:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return await opened(session)

    monkeypatch.setattr(DynAuthSession, "_open", open_late)


async def test_a_route_that_comes_back_in_time_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_route(monkeypatch, tries=1)
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        got = expect(DynAuthAnswer, await exchange(nas.port, p=FAST))
    assert (got.ack, got.attempts, len(nas.requests)) == (True, 2, 1)


async def test_without_a_route_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_route(monkeypatch, tries=float("inf"))
    with pytest.raises(NasUnreachableError, match="NAS bng-1: nothing could be sent: Network is unreachable"):
        await exchange(1, p=FAST)


async def test_one_datagram_that_was_sent_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_route(monkeypatch, tries=2)
    with UdpNas(lambda data: []).run() as nas:
        got = expect(Silence, await exchange(nas.port, p=FAST))
    assert (got.attempts, len(nas.requests)) == (3, 1)


async def test_an_error_of_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(UnencodableRequestError):
        async with dynauths() as d:
            await d.get(nas_at(1)).exchange(PacketKind.DISCONNECT, {"Framed-Pool": "x"}, trio.current_time() + 60)


async def test_cancelling_an_exchange_leaves_the_session_usable() -> None:
    numbers = itertools.count()
    with UdpNas(lambda data: [reply(data, ack=True)] if next(numbers) else []).run() as nas:
        async with dynauths(replace(PATIENT, timeout_s=60)) as d:
            session = d.get(nas_at(nas.port))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.exchange, PacketKind.DISCONNECT, ALICE, trio.current_time() + 600)
                with trio.fail_after(60):
                    while not nas.requests:  # noqa: ASYNC110  the NAS is a thread
                        await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
            got = await session.exchange(PacketKind.DISCONNECT, ALICE, trio.current_time() + 60)
    assert isinstance(got, DynAuthAnswer)


async def test_more_than_256_requests_use_more_ports_no_pair_twice() -> None:
    with UdpNas(lambda data: [reply(data, ack=True)]).run() as nas:
        async with dynauths(PATIENT) as d:
            session, answers = d.get(nas_at(nas.port)), list[DynAuthAnswer | Silence]()

            async def some() -> None:
                for _ in range(75):
                    answers.append(await session.exchange(PacketKind.DISCONNECT, ALICE, trio.current_time() + 60))

            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(some)
    assert len(answers) == 600
    assert all(isinstance(a, DynAuthAnswer) for a in answers)
    pairs = {(port, data[1]) for data, port in nas.requests}
    assert len(pairs) == 600
    assert len({port for _, port in nas.requests}) == 3


async def test_what_was_learned_outlives_the_session() -> None:
    def answer(data: bytes) -> list[bytes]:
        known = 55 not in {code for code, _ in attributes_of(data)}
        return [reply(data, ack=known, attributes=b"" if known else error_cause(401))]

    learned: dict[str, frozenset[str]] = {}
    with UdpNas(answer).run() as nas:
        for requests in (2, 3):
            async with dynauths(learned=learned) as d:
                got = await d.get(nas_at(nas.port)).exchange(PacketKind.DISCONNECT, ALICE, trio.current_time() + 60)
            assert isinstance(got, DynAuthAnswer)
            assert got.ack
            assert len(nas.requests) == requests
    assert learned == {"bng-1": frozenset({"Event-Timestamp"})}


# --- FreeRADIUS -----------------------------------------------------------------------------------------------------


@pytest.mark.servers
@pytest.mark.parametrize("demands_ma", [True, False])
async def test_freeradius_listener(
    sqlite_radius: RadiusDatabase, freeradius: Callable[..., FreeRadius], demands_ma: bool
) -> None:
    server = freeradius(sqlite_radius, coa=True, require_message_authenticator=demands_ma, secret=SECRET.decode())
    ack = expect(DynAuthAnswer, await exchange(server.coa_port))
    assert ack.ack
    coa = expect(
        DynAuthAnswer, await exchange(server.coa_port, {**ALICE, "Mikrotik-Rate-Limit": "5M/5M"}, PacketKind.COA)
    )
    assert coa.ack
    nak = expect(DynAuthAnswer, await exchange(server.coa_port, {**ALICE, "User-Name": "nak-503@isp"}))
    assert (nak.ack, nak.cause) == (False, 503)
    expect(Silence, await exchange(server.coa_port, {**ALICE, "User-Name": "drop@isp"}, p=FAST))
    bare = replace(FAST if demands_ma else PATIENT, message_authenticator=False, event_timestamp=False)
    plain = await exchange(server.coa_port, p=bare)
    assert isinstance(plain, Silence if demands_ma else DynAuthAnswer)
    seen = server.dynauth_requests()
    assert [r["user"] for r in seen][:3] == ["alice", "alice", "nak-503@isp"]
    assert seen[0]["type"] == "Disconnect-Request"
    assert seen[1]["rate"] == "5M/5M"
    assert seen[0]["session"] == "81c0004f"
    assert seen[0]["address"] == "100.64.12.9"
    assert seen[0]["message_authenticator"].startswith("0x")
    assert int(seen[0]["event_timestamp"]) > 1_600_000_000


@pytest.mark.servers
async def test_another_secret_is_silence_at_freeradius(
    sqlite_radius: RadiusDatabase, freeradius: Callable[..., FreeRadius]
) -> None:
    server = freeradius(sqlite_radius, coa=True)
    async with dynauths(FAST, secret=b"another secret") as d:
        got = await d.get(nas_at(server.coa_port)).exchange(PacketKind.DISCONNECT, ALICE, trio.current_time() + 60)
    assert isinstance(got, Silence)
    assert server.dynauth_requests() == []
