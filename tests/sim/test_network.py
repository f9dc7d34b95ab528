"""The simulated network behaves as the kernel's: one table of cases, run on both.

Each case makes its own sockets on loopback, returns what it saw, and says what is expected. On the kernel the table
tests the expectation, in memory it tests the network.
"""

from __future__ import annotations

import errno
import socket as stdlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from lab.router.certificate import make_certificate
from tests.sim.network import open_network
from tests.sim.sockets import PROCESS, Process
from tests.sim.weather import Rule, Weather

WAIT_S = 60.0
HOST = "127.0.0.1"
SOL, REUSE, LINGER = stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR, stdlib.SO_LINGER
Saw = Sequence[object]
Case = Callable[[], Awaitable[tuple[Saw, Saw]]]
"""A case returns what it saw, and what is expected."""
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


@pytest.fixture(params=["kernel", "memory"])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Yield the name of the network on which the test runs."""
    if request.param == "kernel":
        yield "kernel"
        return
    async with open_network():
        yield "memory"


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
async def test_both_networks_do_the_same(network: str, function: Case) -> None:
    with trio.fail_after(WAIT_S):
        saw, expected = await function()
    assert list(saw) == list(expected), network


# --- parts of cases ---------------------------------------------------------------------------------------------------


def udp() -> trio.socket.SocketType:
    return trio.socket.socket(stdlib.AF_INET, stdlib.SOCK_DGRAM)


def tcp() -> trio.socket.SocketType:
    return trio.socket.socket(stdlib.AF_INET, stdlib.SOCK_STREAM)


async def bound_udp(host: str = HOST) -> trio.socket.SocketType:
    sock = udp()
    await sock.bind((host, 0))
    return sock


async def listener(backlog: int = 5) -> trio.socket.SocketType:
    sock = tcp()
    await sock.bind((HOST, 0))
    sock.listen(backlog)
    return sock


async def free_port(kind: int) -> int:
    """Return a port on which nobody listens."""
    with trio.socket.socket(stdlib.AF_INET, kind) as sock:
        await sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[trio.socket.SocketType, trio.socket.SocketType]]:
    """Yield both ends of a connection, client first."""
    with await listener() as listening, tcp() as client:
        await client.connect(listening.getsockname())
        server, _ = await listening.accept()
        with server:
            yield client, server


async def told(act: Awaitable[object]) -> object:
    """Return what something returns, or the name of its error."""
    try:
        return await act
    except OSError as err:
        return errno.errorcode[err.errno or 0]
    except trio.ClosedResourceError:
        return "closed"


def said(act: Callable[[], object]) -> object:
    """As `told`, of what does not wait."""
    try:
        return act()
    except OSError as err:
        return errno.errorcode[err.errno or 0]


async def until_readable(sock: trio.socket.SocketType) -> None:
    while not sock.is_readable():  # noqa: ASYNC110  nothing wakes a task without taking what came
        await trio.sleep(0.001)


async def listen_on(port: int) -> None:
    """Listen on a port of loopback as the product does, and stop."""
    for listening in await trio.open_tcp_listeners(port, host=HOST):
        await listening.aclose()


async def until_error(sock: trio.socket.SocketType) -> object:
    """Send until it fails; return the error's name."""
    while True:
        if isinstance(found := await told(sock.send(b"x")), str):
            return found
        await trio.sleep(0.001)


async def read_all(sock: trio.socket.SocketType) -> bytes:
    found = b""
    while data := await sock.recv(65536):
        found += data
    return found


# --- TCP: beginnings --------------------------------------------------------------------------------------------------


@case
async def connection_refused() -> tuple[Saw, Saw]:
    with tcp() as sock:
        return [await told(sock.connect((HOST, await free_port(stdlib.SOCK_STREAM))))], ["ECONNREFUSED"]


@case
async def streams_refused() -> tuple[Saw, Saw]:
    try:
        await trio.open_tcp_stream(HOST, await free_port(stdlib.SOCK_STREAM))
    except OSError as err:
        return [isinstance(err, ConnectionRefusedError) or "all attempts" in str(err)], [True]
    return ["connected"], ["refused"]


@case
async def address_in_use() -> tuple[Saw, Saw]:
    (first,) = await trio.open_tcp_listeners(0, host=HOST)
    async with first:
        port = first.socket.getsockname()[1]
        return [await told(listen_on(port))], ["EADDRINUSE"]


@case
async def address_free_after_close() -> tuple[Saw, Saw]:
    (first,) = await trio.open_tcp_listeners(0, host=HOST)
    port = first.socket.getsockname()[1]
    await first.aclose()
    return [await told(listen_on(port))], [None]


@case
async def address_bound_twice_without_listening() -> tuple[Saw, Saw]:
    with tcp() as one, tcp() as two, tcp() as three:
        one.setsockopt(SOL, REUSE, 1)
        two.setsockopt(SOL, REUSE, 1)
        await one.bind((HOST, 0))
        saw = [await told(two.bind(one.getsockname())), await told(three.bind(one.getsockname()))]
        one.listen(1)
        return [*saw, said(lambda: two.listen(1))], [None, "EADDRINUSE", "EADDRINUSE"]


@case
async def wildcard_takes_each_address() -> tuple[Saw, Saw]:
    with tcp() as one, tcp() as two:
        await one.bind(("", 0))
        one.listen(1)
        port = one.getsockname()[1]
        saw = [one.getsockname()[0], await told(two.bind((HOST, port)))]
        with tcp() as client:
            await client.connect(("127.0.0.7", port))
            server, _ = await one.accept()
            with server:
                return [*saw, server.getsockname() == ("127.0.0.7", port)], ["0.0.0.0", "EADDRINUSE", True]


@case
async def names_of_both_ends() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        saw = [client.getsockname() == server.getpeername(), client.getpeername() == server.getsockname()]
        return [*saw, client.getsockname()[0], client.getsockname()[1] > 0], [True, True, HOST, True]


@case
async def names_before_anything() -> tuple[Saw, Saw]:
    with tcp() as one, udp() as two:
        saw = [one.getsockname(), two.getsockname(), said(one.getpeername), said(two.getpeername)]
        return saw, [("0.0.0.0", 0), ("0.0.0.0", 0), "ENOTCONN", "ENOTCONN"]


@case
async def not_connected() -> tuple[Saw, Saw]:
    with tcp() as sock:
        saw = [await told(sock.send(b"x")), await told(sock.recv(1)), said(lambda: sock.shutdown(stdlib.SHUT_WR))]
        return saw, ["EPIPE", "ENOTCONN", "ENOTCONN"]


@case
async def connected_before_it_is_accepted() -> tuple[Saw, Saw]:
    with await listener() as listening, tcp() as client:
        await client.connect(listening.getsockname())
        sent = await client.send(b"early")
        server, _ = await listening.accept()
        with server:
            return [sent, await server.recv(10)], [5, b"early"]


@case
async def listener_closed_before_it_accepted() -> tuple[Saw, Saw]:
    with await listener() as listening, tcp() as client:
        await client.connect(listening.getsockname())
        listening.close()
        return [await told(client.recv(1))], ["ECONNRESET"]


@case
async def accept_ends_with_its_listener() -> tuple[Saw, Saw]:
    saw: list[object] = []
    with await listener() as listening:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(noted, saw, listening.accept)
            await trio.testing.wait_all_tasks_blocked()
            listening.close()
        return [*saw, await told(listening.accept())], ["closed", "EBADF"]


async def noted(saw: list[object], act: Callable[[], Awaitable[object]]) -> None:
    saw.append(await told(act()))


# --- TCP: ends --------------------------------------------------------------------------------------------------------


@case
async def end_of_what_is_sent() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        await client.send(b"last words")
        client.close()
        return [await read_all(server), await server.recv(1)], [b"last words", b""]


@case
async def half_close() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        await client.send(b"question")
        client.shutdown(stdlib.SHUT_WR)
        asked = await read_all(server)
        await server.send(b"answer")
        saw = [asked, await client.recv(10), client.did_shutdown_SHUT_WR, await told(client.send(b"x"))]
        server.close()
        return [*saw, await client.recv(1)], [b"question", b"answer", True, "EPIPE", b""]


@case
async def closed_with_something_unread() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        await client.send(b"unread")
        await until_readable(server)
        server.close()
        saw = [await told(client.recv(1)), await told(client.recv(1)), await told(client.send(b"x"))]
        return saw, ["ECONNRESET", b"", "EPIPE"]


@case
async def answer_then_closed_with_something_unread() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        await client.send(b"unread")
        await until_readable(server)
        await server.send(b"413")
        server.close()
        return [await told(client.recv(10)), await told(client.recv(10))], [b"413", "ECONNRESET"]


@case
async def reset_by_linger_none() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        server.setsockopt(SOL, LINGER, struct.pack("ii", 1, 0))
        server.close()
        return [await told(client.recv(1))], ["ECONNRESET"]


@case
async def sent_to_one_that_closed() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        server.close()
        saw = [await client.recv(1), await client.send(b"x")]
        return [*saw, await until_error(client), await told(client.recv(1))], [b"", 1, "EPIPE", b""]


@case
async def sent_to_one_that_closed_unseen() -> tuple[Saw, Saw]:
    """The error of a reset that follows an end is the one of a broken pipe, also where nobody read the end."""
    async with connected() as (client, server):
        server.close()
        return [await until_error(client)], ["EPIPE"]


@case
async def streams_see_a_reset_and_a_closed_peer() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        stream = trio.SocketStream(client)
        server.setsockopt(SOL, LINGER, struct.pack("ii", 1, 0))
        server.close()
        try:
            await stream.receive_some(1)
        except trio.BrokenResourceError:
            return ["broken"], ["broken"]
    return ["nothing"], ["broken"]


@case
async def closed_under_a_receiver() -> tuple[Saw, Saw]:
    saw: list[object] = []
    async with connected() as (client, _), trio.open_nursery() as nursery:
        nursery.start_soon(noted, saw, lambda: client.recv(1))
        await trio.testing.wait_all_tasks_blocked()
        client.close()
    return [*saw, await told(client.recv(1)), await told(client.send(b"x")), said(client.getsockname)], [
        "closed",
        "EBADF",
        "EBADF",
        "EBADF",
    ]


# --- TCP: data --------------------------------------------------------------------------------------------------------


@case
async def cancelled_receive_loses_nothing() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.recv, 10)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await client.send(b"later")
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.recv(10)
        return [scope.cancelled_caught, await server.recv(10)], [True, b"later"]


@case
async def cancelled_before_it_sends() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.send(b"never")
        client.close()
        return [scope.cancelled_caught, await read_all(server)], [True, b""]


@case
async def slow_reader_stops_the_sender() -> tuple[Saw, Saw]:
    async with connected() as (client, server):
        sent = 0
        chunk = bytes(range(256)) * 256
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def stuck() -> None:
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    scope.cancel()

                nursery.start_soon(stuck)
                while sent < 100_000_000:
                    sent += await client.send(chunk[sent % len(chunk) :])
        blocked = sent < 100_000_000
        client.close()
        found = await read_all(server)
        whole = found == (chunk * (sent // len(chunk) + 1))[:sent]
        return [blocked, len(found) == sent, whole], [True, True, True]


@case
async def large_both_ways_by_streams() -> tuple[Saw, Saw]:
    size = 1_500_000

    async def echo(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        (listening,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host=HOST))
        stream = await trio.open_tcp_stream(HOST, listening.socket.getsockname()[1])
        nursery.start_soon(stream.send_all, b"ab" * (size // 2))
        found = 0
        while found < size:
            found += len(await stream.receive_some(65536))
        await stream.aclose()
        nursery.cancel_scope.cancel()
    return [found], [size]


@case
async def tls_by_trio() -> tuple[Saw, Saw]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    saw: list[object] = []

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, SERVER_TLS, server_side=True)
        saw.append(await tls.receive_some(100))
        await tls.send_all(b"answer")
        await tls.aclose()

    async with trio.open_nursery() as nursery:
        (listening,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host=HOST))
        stream = await trio.open_tcp_stream("localhost", listening.socket.getsockname()[1])
        tls = trio.SSLStream(stream, context, server_hostname="router")
        await tls.send_all(b"question")
        saw.append(await tls.receive_some(100))
        saw.append(await tls.receive_some(100))
        await tls.aclose()
        nursery.cancel_scope.cancel()
    return saw, [b"question", b"answer", b""]


# --- UDP --------------------------------------------------------------------------------------------------------------


@case
async def refused_by_icmp_when_connected() -> tuple[Saw, Saw]:
    port = await free_port(stdlib.SOCK_DGRAM)
    with udp() as sock:
        await sock.connect((HOST, port))
        saw = [await sock.send(b"x"), await told(sock.recv(10))]
        await sock.send(b"y")
        await until_readable(sock)
        saw.append(await told(sock.send(b"z")))
        with udp() as server:
            await server.bind((HOST, port))
            saw.append(await sock.send(b"heard"))
            return [*saw, await server.recv(10)], [1, "ECONNREFUSED", "ECONNREFUSED", 5, b"heard"]


@case
async def waiting_receiver_is_told_of_icmp() -> tuple[Saw, Saw]:
    saw: list[object] = []
    port = await free_port(stdlib.SOCK_DGRAM)
    with udp() as sock:
        await sock.connect((HOST, port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(noted, saw, lambda: sock.recv(10))
            await trio.testing.wait_all_tasks_blocked()
            await sock.send(b"x")
    return saw, ["ECONNREFUSED"]


@case
async def not_refused_when_not_connected() -> tuple[Saw, Saw]:
    port = await free_port(stdlib.SOCK_DGRAM)
    with udp() as sock:
        saw = [await sock.sendto(b"x", (HOST, port)), await sock.sendto(b"y", (HOST, port))]
        return [*saw, await told(sock.send(b"z"))], [1, 1, "EDESTADDRREQ"]


@case
async def connected_hears_its_peer_only() -> tuple[Saw, Saw]:
    with await bound_udp() as peer, await bound_udp() as other, udp() as sock:
        await sock.connect(peer.getsockname())
        await other.sendto(b"stranger", sock.getsockname())
        await peer.sendto(b"peer", sock.getsockname())
        found, source = await sock.recvfrom(10)
        return [found, source == peer.getsockname()], [b"peer", True]


@case
async def datagrams_keep_their_ends() -> tuple[Saw, Saw]:
    with await bound_udp() as one, await bound_udp() as two:
        for data in (b"first", b"", b"0123456789"):
            await one.sendto(data, two.getsockname())
        saw = [await two.recv(100), await two.recv(100), await two.recv(4)]
        too_long = await told(one.sendto(bytes(65_508), two.getsockname()))
        await one.sendto(bytes(65_507), two.getsockname())
        return [*saw, too_long, len(await two.recv(70_000))], [b"first", b"", b"0123", "EMSGSIZE", 65_507]


@case
async def datagrams_beyond_the_buffer_are_lost() -> tuple[Saw, Saw]:
    with await bound_udp() as one, await bound_udp() as two:
        for n in range(1000):
            await one.sendto(b"%05d" % n, two.getsockname())
        first, count = await two.recv(10), 1
        while two.is_readable():
            await two.recv(10)
            count += 1
        return [first, 100 < count < 1000], [b"00000", True]


@case
async def udp_address_in_use() -> tuple[Saw, Saw]:
    with await bound_udp() as one, udp() as two, udp() as three:
        saw = [await told(two.bind(one.getsockname()))]
        await three.bind(("127.0.0.2", one.getsockname()[1]))
        return [*saw, three.getsockname()[0]], ["EADDRINUSE", "127.0.0.2"]


@case
async def address_of_nobody() -> tuple[Saw, Saw]:
    with udp() as one, tcp() as two:
        saw = [await told(one.bind(("192.0.2.77", 0))), await told(two.bind(("192.0.2.77", 0)))]
        return saw, ["EADDRNOTAVAIL", "EADDRNOTAVAIL"]


@case
async def sources_of_datagrams() -> tuple[Saw, Saw]:
    """From the address that it is bound to, else from the one that the system takes for loopback."""
    with await bound_udp("127.0.0.9") as server, await bound_udp("127.0.0.5") as fixed, udp() as free:
        await fixed.sendto(b"x", server.getsockname())
        await free.sendto(b"y", server.getsockname())
        saw: list[object] = [(await server.recvfrom(1))[1][0], (await server.recvfrom(1))[1][0]]
        with udp() as connected_one:
            await connected_one.connect(server.getsockname())
            return [*saw, connected_one.getsockname()[0]], ["127.0.0.5", "127.0.0.1", "127.0.0.1"]


@case
async def everywhere_hears_each_address() -> tuple[Saw, Saw]:
    with await bound_udp("") as server, udp() as client:
        await client.sendto(b"x", ("127.0.0.8", server.getsockname()[1]))
        data, source = await server.recvfrom(1)
        await server.sendto(b"y", source)
        return [data, await client.recv(1), server.getsockname()[0]], [b"x", b"y", "0.0.0.0"]


@case
async def udp_closed_under_a_receiver() -> tuple[Saw, Saw]:
    saw: list[object] = []
    with await bound_udp() as sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(noted, saw, lambda: sock.recv(1))
            await trio.testing.wait_all_tasks_blocked()
            sock.close()
        return [*saw, await told(sock.recv(1)), await told(sock.sendto(b"x", (HOST, 9)))], ["closed", "EBADF", "EBADF"]


@case
async def udp_cancelled_receive_loses_nothing() -> tuple[Saw, Saw]:
    with await bound_udp() as one, await bound_udp() as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(two.recv, 10)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await one.sendto(b"later", two.getsockname())
        with trio.CancelScope() as scope:
            scope.cancel()
            await two.recv(10)
        return [scope.cancelled_caught, await two.recv(10)], [True, b"later"]


@case
async def names_are_looked_up() -> tuple[Saw, Saw]:
    found = await trio.socket.getaddrinfo("localhost", 7, family=stdlib.AF_INET, type=stdlib.SOCK_DGRAM)
    try:
        await trio.socket.getaddrinfo("nobody.invalid", 7)
    except stdlib.gaierror as err:
        unknown = err.errno in (stdlib.EAI_NONAME, stdlib.EAI_AGAIN)
    return [found[0][4], unknown], [(HOST, 7), True]


SERVER_TLS = make_certificate("router").server_context()


# --- weather: in memory only ------------------------------------------------------------------------------------------


async def exchange(network_seed: int, rule: Rule, count: int) -> list[tuple[float, bytes]]:
    """Send numbered datagrams, one each 10 ms; return when each arrived."""
    found: list[tuple[float, bytes]] = []
    async with open_network(network_seed) as network:
        network.air.add(rule)
        with await bound_udp() as one, await bound_udp() as two:

            async def hear() -> None:
                while True:
                    data = await two.recv(10)
                    found.append((trio.current_time(), data))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear)
                for n in range(count):
                    await one.sendto(b"%d" % n, two.getsockname())
                    await trio.sleep(0.01)
                await trio.sleep(10)
                nursery.cancel_scope.cancel()
    return found


async def test_datagrams_are_lost_doubled_and_reordered(autojump_clock: MockClock) -> None:
    found = await exchange(1, Rule(Weather(loss=0.3)), 200)
    assert 100 < len(found) < 180
    found = await exchange(1, Rule(Weather(duplicate=0.3)), 200)
    assert 220 < len(found) < 300
    assert len({data for _, data in found}) == 200
    numbers = [int(data) for _, data in await exchange(1, Rule(Weather(delay_s=(0.0, 0.1))), 200)]
    assert sorted(numbers) == list(range(200)) != numbers
    assert await exchange(1, Rule(Weather(cut=True)), 20) == []


def at_seed(seed: int) -> list[tuple[float, bytes]]:
    async def main() -> list[tuple[float, bytes]]:
        return await exchange(seed, Rule(Weather(delay_s=(0.0, 0.1), loss=0.2, duplicate=0.2)), 100)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_seed_says_what_happens() -> None:
    assert at_seed(1) == at_seed(1) != at_seed(2)


async def test_a_stream_over_a_bad_path_is_whole_and_late(autojump_clock: MockClock) -> None:
    async with open_network(3) as network:
        network.air.add(Rule(Weather(delay_s=(0.001, 0.2), loss=0.3)))
        began = trio.current_time()
        async with connected() as (client, server):
            wanted = bytes(range(256)) * 2000

            async def send() -> None:
                await trio.SocketStream(client).send_all(wanted)
                client.close()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert await read_all(server) == wanted
        assert trio.current_time() - began > 0.2


async def test_a_slow_path_takes_its_time(autojump_clock: MockClock) -> None:
    async with open_network() as network, connected() as (client, server):
        network.air.add(Rule(Weather(bytes_per_s=1000)))
        began = trio.current_time()
        await client.send(bytes(5000))
        client.close()
        assert len(await read_all(server)) == 5000
        assert trio.current_time() - began >= 5


async def test_a_partition_heals(autojump_clock: MockClock) -> None:
    async with open_network() as network, connected() as (client, server):
        cut = network.air.add(Rule(Weather(cut=True), port=server.getsockname()[1]))
        await client.send(b"late")
        with trio.move_on_after(30) as waited:
            await server.recv(10)
        assert waited.cancelled_caught
        network.air.rules.remove(cut)
        assert await server.recv(10) == b"late"


@pytest.mark.parametrize("how", ["linger", "unread", "answered"])
async def test_a_reset_socket_sends_nothing_again(how: str, autojump_clock: MockClock) -> None:
    """By its owner, for what nobody read, or as its peer sent to it after it was closed."""
    async with open_network() as network, connected() as (client, server):
        if how == "unread":
            await server.send(b"unread")
        cut = network.air.add(Rule(Weather(cut=True), port=server.getsockname()[1], towards=True))
        await client.send(b"given up")
        if how == "linger":
            client.setsockopt(SOL, LINGER, struct.pack("ii", 1, 0))
        client.close()
        if how == "answered":
            await server.send(b"to nobody")
        await trio.sleep(1)
        network.air.rules.remove(cut)
        with trio.move_on_after(1000) as waited:
            await server.recv(10)
        assert waited.cancelled_caught, "neither the data nor the reset came"


async def test_what_is_on_its_way_comes_before_a_reset(autojump_clock: MockClock) -> None:
    async with open_network() as network, connected() as (client, server):
        path = network.air.add(Rule(Weather(delay_s=(4.0, 4.0)), port=server.getsockname()[1], towards=True))
        await client.send(b"sent")
        cut = network.air.add(Rule(Weather(cut=True)))
        await client.send(b"lost")
        network.air.rules.remove(cut)
        await client.send(b"behind it")
        client.setsockopt(SOL, LINGER, struct.pack("ii", 1, 0))
        client.close()
        network.air.rules.remove(path)
        saw = [await told(server.recv(100)), await told(server.recv(100))]
        assert saw == [b"sent", "ECONNRESET"]


async def test_a_partition_that_stays_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_network() as network, connected() as (client, server):
        network.air.add(Rule(Weather(cut=True), port=server.getsockname()[1]))
        began = trio.current_time()
        await client.send(b"lost")
        assert await told(client.recv(1)) == "ETIMEDOUT"
        assert 600 < trio.current_time() - began < 1200
        with tcp() as late:
            assert await told(late.connect(server.getsockname())) == "ETIMEDOUT"


async def test_one_way_may_be_cut_alone(autojump_clock: MockClock) -> None:
    async with open_network() as network, connected() as (client, server):
        network.air.add(Rule(Weather(cut=True), port=server.getsockname()[1], towards=True))
        await server.send(b"heard")
        assert await client.recv(10) == b"heard"
        await client.send(b"unheard")
        with trio.move_on_after(100) as waited:
            await server.recv(10)
        assert waited.cancelled_caught


async def test_a_peer_without_power_says_nothing_until_it_is_asked(autojump_clock: MockClock) -> None:
    async with open_network() as network:
        with await listener() as listening, tcp() as client:
            await client.connect(listening.getsockname())
            await listening.accept()
            assert network.power_cut(HOST, listening.getsockname()[1]) == 2
            with trio.move_on_after(1000) as waited:
                await client.recv(1)
            assert waited.cancelled_caught, "nothing came"
            assert await client.send(b"x") == 1
            assert await told(client.recv(1)) == "ECONNRESET"


async def test_a_machine_without_a_network(autojump_clock: MockClock) -> None:
    async with open_network() as network:
        with await listener() as listening, await bound_udp() as hears:
            token = PROCESS.set(Process("agent 1"))
            try:
                client, asks, own = tcp(), udp(), await listener()
            finally:
                PROCESS.reset(token)
            with client, asks, own, tcp() as stranger:
                await client.connect(listening.getsockname())
                server, _ = await listening.accept()
                with server:
                    await asks.connect(hears.getsockname())
                    network.unplugged = "agent"
                    assert await told(asks.send(b"lost")) == "ENETUNREACH"
                    assert await client.send(b"late") == 4, "what is under way waits in the kernel"
                    await hears.sendto(b"lost", asks.getsockname())
                    network.after(9.0, lambda: setattr(network, "unplugged", ""))
                    began = trio.current_time()
                    await stranger.connect(own.getsockname())
                    assert trio.current_time() - began > 9, "its SYN was lost"
                    assert await server.recv(9) == b"late"
                    await asks.send(b"seen")
                    assert await hears.recv(9) == b"seen"


async def test_a_lost_syn_is_sent_again(autojump_clock: MockClock) -> None:
    async with open_network() as network:
        with await listener() as listening, tcp() as client:
            cut = network.air.add(Rule(Weather(cut=True)))
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.connect, listening.getsockname())
                await trio.sleep(2)
                network.air.rules.remove(cut)
            assert trio.current_time() - began == pytest.approx(3)


async def test_a_full_backlog_keeps_clients_waiting(autojump_clock: MockClock) -> None:
    async with open_network():
        with await listener(backlog=1) as listening:
            clients = [tcp() for _ in range(3)]
            for client in clients[:2]:
                await client.connect(listening.getsockname())
            with trio.move_on_after(100) as waited:
                await clients[2].connect(listening.getsockname())
            assert waited.cancelled_caught
            for client in clients:
                client.close()
