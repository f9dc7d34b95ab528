"""A session with a router, played: `await peer.command(...)` is what we must send, `peer.says` what comes back."""

from __future__ import annotations

import gc
import logging
import socket
import struct
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros import api_session, limits
from agent.connectors.routeros.api_session import Endpoint, RouterAnswer, RouterApi, connect, open_in
from agent.connectors.routeros.carrier_session import Carrier
from agent.connectors.routeros.errors import (
    AnswerTooLongError,
    CarrierLostError,
    LocalRouterError,
    LoginRefusedError,
    MalformedRouterReplyError,
    RouterError,
    RouterTimeoutError,
    TrapError,
    UnreachableRouterError,
)
from agent.connectors.routeros.wire import ReplyReader
from tests.agent.connectors.routeros.fakes import PASSWORD, USER, Peer, certificate, plain, router, sentence, talking
from tests.builders.clock import virtual_clock

PRINT = "/ppp/secret/print"
SET = ("/ppp/secret/set", "=.id=*1", "=password=pa55-canary")


class Calls:
    """Calls made at once, and how each ended."""

    def __init__(self, api: RouterApi, nursery: trio.Nursery) -> None:
        self._api, self._nursery = api, nursery
        self.ended: dict[str, RouterAnswer | RouterError] = {}

    async def make(self, name: str, *words: str, timeout_s: float = 60) -> None:
        """Make a call and let it get as far as it can without the router."""
        self._nursery.start_soon(self._one, name, words, timeout_s)
        await trio.testing.wait_all_tasks_blocked()

    async def _one(self, name: str, words: tuple[str, ...], timeout_s: float) -> None:
        try:
            self.ended[name] = await self._api.call(*words, timeout_s=timeout_s)
        except RouterError as err:
            self.ended[name] = err


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_a_call_and_its_answer() -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("a", PRINT, "=.proplist=name", "?name=alice")
        tag = await peer.command(PRINT, "=.proplist=name", "?name=alice")
        await peer.says("!re", tag, "=.id=*1", "=name=alice")
        await peer.says("!done", tag)
        await trio.testing.wait_all_tasks_blocked()
    assert calls.ended == {"a": RouterAnswer(({".id": "*1", "name": "alice"},), {})}


async def test_two_interleaved_and_answered_out_of_order() -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("a", "/a")
        await calls.make("b", "/b")
        a, b = await peer.command("/a"), await peer.command("/b")
        await peer.says("!re", a, "=n=1")
        await peer.says("!re", b, "=n=2")
        await peer.says("!re", a, "=n=3")
        await peer.says("!done", b, "=ret=*7")
        await trio.testing.wait_all_tasks_blocked()
        assert calls.ended == {"b": RouterAnswer(({"n": "2"},), {"ret": "*7"})}
        await peer.says("!done", a)
        await trio.testing.wait_all_tasks_blocked()
    assert calls.ended["a"] == RouterAnswer(({"n": "1"}, {"n": "3"}), {})


async def test_a_trap_and_then_it_goes_on() -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("a", *SET)
        tag = await peer.command(*SET)
        await peer.says("!trap", tag, "=category=1", "=message=bad value pa55-canary")
        await peer.says("!done", tag)
        await calls.make("b", PRINT)
        tag = await peer.command(PRINT)
        await peer.says("!empty", tag)
        await peer.says("!done", tag)
        await trio.testing.wait_all_tasks_blocked()
        assert not api.closed
    trap = calls.ended["a"]
    assert isinstance(trap, TrapError)
    assert (str(trap), trap.category) == ("bad value ***", 1)
    assert calls.ended["b"] == RouterAnswer((), {})


async def test_a_thousand_at_once_each_gets_its_own(autojump_clock: trio.abc.Clock) -> None:
    async def echo(peer: Peer) -> None:
        held: list[tuple[str, str]] = []
        most = 0
        for _ in range(1000):
            command, tag = await peer.hears()
            held.append((command, tag))
            most = max(most, len(held))
            if len(held) == limits.COMMANDS_IN_FLIGHT or _ >= 990:
                for said, its in reversed(held):
                    await peer.stream.send_all(sentence("!re", its, f"=n={said}") + sentence("!done", its))
                held.clear()
        assert most == limits.COMMANDS_IN_FLIGHT

    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        nursery.start_soon(echo, peer)
        for n in range(1000):
            nursery.start_soon(calls._one, f"/{n}", (f"/{n}",), 60)
    assert calls.ended == {f"/{n}": RouterAnswer(({"n": f"/{n}"},), {}) for n in range(1000)}


async def test_commands_leave_in_the_order_they_were_made() -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        for n in range(100):
            await calls.make(f"{n}", f"/{n}")
        for n in range(100):
            tag = await peer.command(f"/{n}")
            await peer.says("!done", tag)
    assert calls.ended.keys() == {f"{n}" for n in range(100)}


# --- what is not sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [(), ("print",), ("/login",), ("/cancel", "=tag=1"), ("/quit",), ("/x", ".tag=1"), ("/x", "=a=\0")]
)
async def test_words_that_are_not_sent(words: tuple[str, ...]) -> None:
    async with talking() as (api, _):
        with pytest.raises(LocalRouterError):
            await api.call(*words, timeout_s=5)
        assert not api.closed


async def test_no_time_no_command(autojump_clock: trio.abc.Clock) -> None:
    async with talking() as (api, peer):
        for timeout_s in (0.0, -1.0, float("nan")):
            with pytest.raises(RouterTimeoutError) as caught:
                await api.call(PRINT, timeout_s=timeout_s)
            assert caught.value.sent is False
        with trio.move_on_after(1) as silence:
            await peer.hears()
        assert silence.cancelled_caught, "nothing was sent"
        assert not api.closed


async def test_the_turn_does_not_come_in_time(autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_session.limits, "COMMANDS_IN_FLIGHT", 1)
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("a", "/a")
        await calls.make("b", "/b", timeout_s=1)
        await calls.make("c", "/c")
        await trio.sleep(2)
        late = calls.ended["b"]
        assert isinstance(late, RouterTimeoutError)
        assert late.sent is False
        await peer.says("!done", await peer.command("/a"))
        await peer.says("!done", await peer.command("/c"))  # and never /b
    assert {"a", "c"} <= calls.ended.keys()


# --- time and cancellation -------------------------------------------------------------------------------------------


async def confirm(peer: Peer, tag: str, *, with_empty: bool = False) -> None:
    """Cancel as RouterOS does (7.23 says `!empty` in between)."""
    cancel = await peer.command("/cancel", f"=tag={tag.removeprefix('.tag=')}")
    await peer.says("!trap", tag, "=category=2", "=message=interrupted")
    if with_empty:
        await peer.says("!empty", tag)
    await peer.says("!done", cancel)
    await peer.says("!done", tag)


@pytest.mark.parametrize("with_empty", [False, True])
async def test_out_of_time_it_is_cancelled_there_too(autojump_clock: trio.abc.Clock, with_empty: bool) -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("slow", "/tool/profile", timeout_s=2)
        await calls.make("other", PRINT)
        slow, other = await peer.command("/tool/profile"), await peer.command(PRINT)
        await peer.says("!re", slow, "=n=1")
        await confirm(peer, slow, with_empty=with_empty)
        await peer.says("!done", other)
        await trio.testing.wait_all_tasks_blocked()
        assert not api.closed
        assert len(api._exchanges) == 0
    late = calls.ended["slow"]
    assert isinstance(late, RouterTimeoutError)
    assert late.sent
    assert calls.ended["other"] == RouterAnswer((), {}), "nothing else is disturbed"


async def test_a_cancel_that_is_not_confirmed_closes_the_connection(autojump_clock: trio.abc.Clock) -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("slow", *SET, timeout_s=2)
        await calls.make("other", PRINT)
        await peer.command(*SET)
        began = trio.current_time()
        await trio.sleep(2 + limits.CANCEL_S + 0.1)
        assert api.closed
        with pytest.raises(trio.BrokenResourceError):
            await peer.stream.send_all(b"x")
    assert trio.current_time() - began < 2 + limits.CANCEL_S + 1
    late, other = calls.ended["slow"], calls.ended["other"]
    assert isinstance(late, RouterTimeoutError)
    assert late.sent
    assert isinstance(other, CarrierLostError)
    assert other.sent


async def test_done_of_the_cancel_alone_is_no_confirmation(autojump_clock: trio.abc.Clock) -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        await Calls(api, nursery).make("slow", *SET, timeout_s=2)
        await peer.command(*SET)
        await peer.says("!done", await peer.command("/cancel", "=tag=1"))
        await trio.sleep(limits.CANCEL_S + 1)
        assert api.closed


async def test_command_that_ends_while_it_is_cancelled_is_still_late(autojump_clock: trio.abc.Clock) -> None:
    """Whether it ended whole or was cut short cannot be told from its `!done`."""
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("slow", PRINT, timeout_s=2)
        tag = await peer.command(PRINT)
        cancel = await peer.command("/cancel", "=tag=1")
        await peer.says("!re", tag, "=n=1")
        await peer.says("!done", tag)
        await peer.says("!trap", cancel, "=message=no such item")
        await peer.says("!done", cancel)
        await trio.testing.wait_all_tasks_blocked()
        assert not api.closed
    assert isinstance(calls.ended["slow"], RouterTimeoutError)


async def test_an_answer_that_came_with_the_deadline_counts(autojump_clock: trio.abc.Clock) -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("a", PRINT, timeout_s=2)
        tag = await peer.command(PRINT)
        await trio.sleep_until(trio.current_time() + 2)
        await peer.says("!done", tag)
        if not isinstance(calls.ended.get("a"), RouterAnswer):
            # The deadline was first: then it was cancelled, whole
            await confirm_late(peer)
    assert "a" in calls.ended


async def confirm_late(peer: Peer) -> None:
    with trio.move_on_after(1):
        await peer.says("!done", (await peer.hears())[-1])


async def test_a_cancelled_task_cancels_its_command_and_nothing_else() -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("other", PRINT)
        other = await peer.command(PRINT)
        scope, ended = trio.CancelScope(), trio.Event()

        async def watch() -> None:
            with scope:
                await api.call("/log/listen", timeout_s=60)
            ended.set()

        nursery.start_soon(watch)
        tag = await peer.command("/log/listen")
        await peer.says("!re", tag, "=message=x")
        scope.cancel()
        await confirm(peer, tag)
        await ended.wait()
        assert scope.cancelled_caught
        await peer.says("!done", other)
        await trio.testing.wait_all_tasks_blocked()
        assert not api.closed
        assert (len(api._exchanges), len(api._waiting)) == (0, 0)
    assert calls.ended["other"] == RouterAnswer((), {})


async def test_a_cancelled_task_waits_for_the_end_but_not_for_ever(autojump_clock: trio.abc.Clock) -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        began = trio.current_time()
        with trio.move_on_after(2) as scope:
            nursery.start_soon(peer.command, *SET)
            await api.call(*SET, timeout_s=60)
        assert scope.cancelled_caught
        assert trio.current_time() - began == pytest.approx(2 + limits.CANCEL_S)
        assert api.closed, "what may still be at work does not outlive its carrier"


async def test_a_close_that_fails_holds_up_nobody_for_ever(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulation's seed 730004: in a killed process the close failed, and its end never came."""

    async def fails(_: object, *, in_doubt: bool) -> None:
        raise ConnectionError(f"in doubt: {in_doubt}")

    async def given_up() -> None:
        async with talking() as (api, peer), trio.open_nursery() as nursery:
            monkeypatch.setattr(Carrier, "close", fails)
            nursery.start_soon(peer.command, *SET)
            with trio.move_on_after(2):
                await api.call(*SET, timeout_s=60)

    with pytest.raises(BaseExceptionGroup) as caught:
        await given_up()
    assert caught.group_contains(ConnectionError, match="in doubt: True")


async def test_a_task_cancelled_before_its_turn_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_session.limits, "COMMANDS_IN_FLIGHT", 1)
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        await Calls(api, nursery).make("a", "/a")
        async with trio.open_nursery() as doomed:
            await Calls(api, doomed).make("b", "/b")
            doomed.cancel_scope.cancel()
        assert len(api._waiting) == 0
        await peer.says("!done", await peer.command("/a"))
        await trio.testing.wait_all_tasks_blocked()
        assert not api.closed


async def test_a_router_that_takes_nothing_holds_up_nobody_for_ever(autojump_clock: trio.abc.Clock) -> None:
    """The network takes no byte of ours: the command may be half out, so its fate is unknown, and it ends."""

    class Stuck(trio.abc.Stream):
        closed = False

        async def send_all(self, data: object) -> None:
            await trio.sleep_forever()

        async def wait_send_all_might_not_block(self) -> None:
            await trio.sleep_forever()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.sleep_forever()
            return b""

        async def aclose(self) -> None:
            self.closed = True
            await trio.lowlevel.checkpoint()

    stream = Stuck()
    async with trio.open_nursery() as nursery:
        api = RouterApi(Carrier(stream), ReplyReader())
        nursery.start_soon(api._run)
        calls = Calls(api, nursery)
        await calls.make("a", *SET, timeout_s=2)
        await calls.make("b", PRINT, timeout_s=1)
    first, second = calls.ended["a"], calls.ended["b"]
    assert isinstance(first, RouterTimeoutError)
    assert first.sent
    assert isinstance(second, RouterTimeoutError)
    assert not second.sent, "it waited behind the batch that is stuck"
    assert stream.closed


# --- too much --------------------------------------------------------------------------------------------------------


async def test_an_endless_answer_is_cancelled_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_session.limits, "ANSWER_ROWS", 1000)
    rows = 0

    async def rush(peer: Peer, tag: str, stop: trio.CancelScope) -> None:
        nonlocal rows
        with stop:
            while True:
                await peer.says("!re", tag, "=name=x")
                rows += 1

    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("endless", "/log/print", "=follow=")
        await calls.make("other", PRINT)
        endless, other = await peer.command("/log/print", "=follow="), await peer.command(PRINT)
        stop = trio.CancelScope()
        nursery.start_soon(rush, peer, endless, stop)
        cancel = await peer.command("/cancel", "=tag=1")
        stop.cancel()
        await trio.testing.wait_all_tasks_blocked()
        await peer.says("!done", other)
        await peer.says("!trap", endless, "=category=2", "=message=interrupted")
        await peer.says("!done", cancel)
        await peer.says("!done", endless)
        await trio.testing.wait_all_tasks_blocked()
        assert not api.closed
    assert isinstance(calls.ended["endless"], AnswerTooLongError)
    assert calls.ended["other"] == RouterAnswer((), {})
    assert rows >= 1000


async def flood(peer: Peer, tag: str) -> None:
    """Ten rows a second, whatever is said to it, until nobody takes them."""
    try:
        while True:
            await peer.says("!re", tag, "=name=x")
            await trio.sleep(0.1)
    except trio.BrokenResourceError:
        pass


async def test_a_flood_that_cannot_be_cancelled_ends_the_connection(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_session.limits, "ANSWER_ROWS", 10)
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("a", PRINT)
        tag = await peer.command(PRINT)
        nursery.start_soon(flood, peer, tag)
        await trio.sleep(limits.CANCEL_S + 2)
        assert api.closed
    assert isinstance(calls.ended["a"], AnswerTooLongError)


# --- the connection ends ---------------------------------------------------------------------------------------------

ENDS: dict[str, tuple[bytes, type[RouterError]]] = {
    "closed": (b"", CarrierLostError),
    "half a sentence": (sentence("!re", "=name=alice", ".tag=1")[:-3], CarrierLostError),
    "fatal": (sentence("!fatal", "session \x1b[2Jterminated"), CarrierLostError),
    "unknown tag": (sentence("!re", ".tag=99", "=a=b"), MalformedRouterReplyError),
    "no tag": (sentence("!done"), MalformedRouterReplyError),
    "no reply word": (sentence("re", ".tag=1"), MalformedRouterReplyError),
    "another protocol": (b"SSH-2.0-ROSSSH\r\n", MalformedRouterReplyError),
    "control byte": (b"\xf8", MalformedRouterReplyError),
    "row after done": (sentence("!done", ".tag=1") + sentence("!re", ".tag=1", "=a=b"), MalformedRouterReplyError),
}


@pytest.mark.parametrize("name", ENDS)
async def test_the_connection_ends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said, error = ENDS[name]
    monkeypatch.setattr(api_session.limits, "COMMANDS_IN_FLIGHT", 2)
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        for n in (1, 2, 3):
            await calls.make(f"{n}", *SET)
        await peer.command(*SET)
        await peer.stream.send_all(said)
        if error is CarrierLostError:
            await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert api.closed
        with pytest.raises(CarrierLostError) as caught:
            await api.call(PRINT, timeout_s=5)
        assert not caught.value.sent
    one, two, three = calls.ended["1"], calls.ended["2"], calls.ended["3"]
    assert isinstance(one, RouterAnswer if name == "row after done" else error), "what ended before it stands"
    assert isinstance(two, error)
    assert isinstance(two, MalformedRouterReplyError) or (isinstance(two, CarrierLostError) and two.sent)
    assert isinstance(three, CarrierLostError)
    assert not three.sent, "it never had its turn"
    for ended in (one, two, three):
        assert "canary" not in str(ended)
        assert "\x1b" not in str(ended)


async def reset(peer: Peer) -> None:
    """Break the connection as a router does that restarts."""
    assert isinstance(peer.stream, trio.SocketStream)
    peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(peer.stream)


async def test_a_reset_leaves_the_fate_unknown() -> None:
    async def restart(peer: Peer) -> None:
        await peer.lets_in()
        await peer.command(*SET)
        await reset(peer)

    async with router(restart) as port, connect(plain(port), USER, PASSWORD, timeout_s=20) as api:
        with pytest.raises(CarrierLostError) as caught:
            await api.call(*SET, timeout_s=20)
        assert caught.value.sent
        assert api.closed


async def test_a_reset_while_logging_in_is_no_session() -> None:
    async def restart(peer: Peer) -> None:
        await peer.hears()
        await reset(peer)

    async with router(restart) as port:
        with pytest.raises(UnreachableRouterError) as caught:
            await ask(plain(port))
    assert caught.value.reason == "hung-up"


async def test_a_command_not_written_whole_is_of_unknown_fate() -> None:
    class Broken(trio.abc.Stream):
        async def send_all(self, data: object) -> None:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError

        async def wait_send_all_might_not_block(self) -> None:
            await trio.lowlevel.checkpoint()

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await trio.sleep_forever()
            return b""

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        api = RouterApi(Carrier(Broken()), ReplyReader())
        nursery.start_soon(api._run)
        with pytest.raises(CarrierLostError) as caught:
            await api.call(*SET, timeout_s=20)
    assert caught.value.sent


async def test_an_idle_connection_that_ends_is_noticed() -> None:
    async with talking() as (api, peer):
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert api.closed


async def test_closing_it_ends_the_calls_and_may_be_done_twice() -> None:
    async with talking() as (api, peer), trio.open_nursery() as nursery:
        calls = Calls(api, nursery)
        await calls.make("a", *SET)
        await api.aclose()
        await api.aclose()
        assert api.closed
        assert await peer.hears() == [*SET, ".tag=1"]
        with pytest.raises(EOFError):
            await peer.hears()
    lost = calls.ended["a"]
    assert isinstance(lost, CarrierLostError)
    assert lost.sent


# --- opening ---------------------------------------------------------------------------------------------------------


async def one_print(peer: Peer) -> None:
    await peer.lets_in()
    tag = await peer.command(PRINT)
    await peer.says("!re", tag, "=name=alice")
    await peer.says("!done", tag)
    await peer.hears()


async def ask(endpoint: Endpoint, user: str = USER, password: bytes = PASSWORD) -> RouterAnswer:
    async with connect(endpoint, user, password, timeout_s=20) as api:
        return await api.call(PRINT, timeout_s=20)


async def test_plain_where_the_operator_says_so() -> None:
    async with router(one_print) as port:
        assert (await ask(plain(port))).rows == ({"name": "alice"},)


async def test_tls_with_the_pinned_certificate() -> None:
    pair = certificate()
    async with (
        router(one_print, pair.context) as port,
        connect(Endpoint("127.0.0.1", port, pair.fingerprint, False), USER, PASSWORD, timeout_s=20) as api,
    ):
        assert api.certificate == pair.der
        assert (await api.call(PRINT, timeout_s=20)).rows == ({"name": "alice"},)


async def test_the_login_of_before_6_43() -> None:
    async def old(peer: Peer) -> None:
        await peer.hears()
        await peer.says("!done", "=ret=856780b7411eefd3abadee2058c149a3")
        assert await peer.hears() == ["/login", "=name=admin", "=response=005062f7a5ef124d34675bf3e81f56c556"]
        await peer.says("!done")
        await peer.says("!done", await peer.command(PRINT))
        await peer.hears()

    async with router(old) as port:
        assert await ask(plain(port), "admin", b"") == RouterAnswer((), {})


async def test_a_wrong_fingerprint_sees_no_byte_of_the_login() -> None:
    heard: list[bytes] = []

    async def listen(peer: Peer) -> None:
        heard.append(await peer.stream.receive_some(1000))

    pair = certificate()
    async with router(listen, pair.context) as port:
        with pytest.raises(UnreachableRouterError) as caught:
            await ask(Endpoint("127.0.0.1", port, certificate("another").fingerprint, insecure=False))
        await trio.testing.wait_all_tasks_blocked()
    assert caught.value.reason == "certificate"
    assert pair.fingerprint.hex() in str(caught.value)
    assert heard in ([], [b""])


async def test_a_pinned_endpoint_without_tls_sees_no_byte_of_a_login() -> None:
    heard: list[bytes] = []

    async def listen(peer: Peer) -> None:
        heard.append(await peer.stream.receive_some(1000))
        await peer.says("!fatal", "what is this")

    async with router(listen) as port:
        with pytest.raises(UnreachableRouterError) as caught:
            await ask(Endpoint("127.0.0.1", port, bytes(32), insecure=False))
    assert caught.value.reason == "certificate"
    assert heard[0].startswith(b"\x16\x03"), "a ClientHello"
    assert PASSWORD not in b"".join(heard)


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("127.0.0.1", 1, None, insecure=False),
        Endpoint("127.0.0.1", 1, b"", insecure=False),
        Endpoint("127.0.0.1", 1, bytes(20), insecure=False),
        Endpoint("127.0.0.1", 1, bytes(32), insecure=True),
    ],
)
async def test_how_the_router_is_known_must_be_said(endpoint: Endpoint) -> None:
    with pytest.raises(LocalRouterError):
        await ask(endpoint)


async def test_a_user_must_be_said() -> None:
    with pytest.raises(LocalRouterError):
        await ask(plain(1), "")


async def test_a_closed_port_is_refused() -> None:
    async with router(one_print) as port:
        pass
    with pytest.raises(UnreachableRouterError) as caught:
        await ask(plain(port))
    assert caught.value.reason == "refused"


async def test_a_name_that_is_none_is_unreachable() -> None:
    with pytest.raises(UnreachableRouterError) as caught:
        await ask(Endpoint("router.invalid", 8728, None, insecure=True))
    assert caught.value.reason == "unreachable"


WRONG = sentence("!trap", "=message=invalid user name or password (6)") + sentence("!done")
REFUSALS: dict[str, tuple[bytes, type[RouterError], str]] = {
    "wrong password": (WRONG, LoginRefusedError, ""),
    "before 7": (sentence("!trap", "=message=cannot log in"), LoginRefusedError, ""),
    "busy": (sentence("!fatal", "too many sessions"), UnreachableRouterError, "busy"),
    "hung up": (b"", UnreachableRouterError, "hung-up"),
    "half": (sentence("!done")[:-1], UnreachableRouterError, "hung-up"),
    "nonsense": (b"HTTP/1.1 400 Bad Request\r\n\r\n", MalformedRouterReplyError, ""),
    "more than an end": (sentence("!done") + sentence("!done"), MalformedRouterReplyError, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
async def test_nobody_is_let_in(name: str) -> None:
    said, error, reason = REFUSALS[name]

    async def refuse(peer: Peer) -> None:
        await peer.hears()
        await peer.stream.send_all(said)

    async with router(refuse) as port:
        with pytest.raises(error) as caught:
            await ask(plain(port))
    assert getattr(caught.value, "reason", "") == reason
    assert PASSWORD.decode() not in repr(caught.value)


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_router_that_says_nothing_is_not_waited_for(with_tls: bool) -> None:
    async def silent(peer: Peer) -> None:
        await (peer.stream.transport_stream if isinstance(peer.stream, trio.SSLStream) else peer.stream).receive_some(1)
        await trio.sleep_forever()

    async with router(silent) as port:
        endpoint = Endpoint("127.0.0.1", port, bytes(32), insecure=False) if with_tls else plain(port)
        with pytest.raises(UnreachableRouterError) as caught:
            async with connect(endpoint, USER, PASSWORD, timeout_s=0.05):
                pass
    assert caught.value.reason == "timeout"


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    async with router(one_print) as port:
        with pytest.raises(KeyError, match="mine"):
            async with connect(plain(port), USER, PASSWORD, timeout_s=20):
                raise KeyError("mine")

        async def fail(cancelled: trio.CancelScope) -> None:
            async with connect(plain(port), USER, PASSWORD, timeout_s=20):
                cancelled.cancel()
                raise KeyError("mine")

        with trio.CancelScope() as cancelled, pytest.raises(KeyError, match="mine"):
            await fail(cancelled)


async def test_session_in_nursery_is_used_and_closed_by_other_tasks() -> None:
    async def closer(api: RouterApi) -> None:
        assert (await api.call(PRINT, timeout_s=20)).rows == ({"name": "alice"},)
        await api.aclose()

    async def opener(nursery: trio.Nursery, port: int, made: list[RouterApi]) -> None:
        with trio.fail_after(60):
            made.append(await open_in(nursery, plain(port), USER, PASSWORD, timeout_s=20))

    async with router(one_print) as port, trio.open_nursery() as nursery:
        made: list[RouterApi] = []
        async with trio.open_nursery() as inner:
            inner.start_soon(opener, nursery, port, made)
        async with trio.open_nursery() as inner:
            inner.start_soon(closer, made[0])
        assert made[0].closed
        with pytest.raises(UnreachableRouterError):
            await open_in(nursery, Endpoint("router.invalid", 1, None, True), USER, PASSWORD, timeout_s=20)


# --- nothing is left behind ------------------------------------------------------------------------------------------


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
async def test_no_file_and_no_task_is_left() -> None:
    """However a session ends: in order, refused, out of time, cancelled while it opens, cut off."""
    turns = 0

    async def moody(peer: Peer) -> None:
        nonlocal turns
        turns += 1
        await peer.hears()
        match turns % 4:
            case 0:
                await peer.says("!trap", "=message=invalid user name or password (6)")
            case 1:
                await peer.says("!done")
                await peer.says("!done", (await peer.hears())[-1])
            case 2:
                await peer.says("!done")
                await peer.hears()
            case 3:
                await peer.hears()  # and never answers

    pair = certificate()
    for tls in (None, pair.context):
        async with router(moody, tls) as port:
            endpoint = plain(port) if tls is None else Endpoint("127.0.0.1", port, pair.fingerprint, insecure=False)

            async def visit(endpoint: Endpoint = endpoint) -> None:
                with trio.move_on_after(5):
                    try:
                        async with connect(endpoint, USER, PASSWORD, timeout_s=0.05) as api:
                            await api.call(PRINT, timeout_s=5)
                    except RouterError:
                        pass

            for _ in range(4):
                await visit()
            await trio.testing.wait_all_tasks_blocked(0.01)
            before, tasks = open_files(), trio.lowlevel.current_statistics().tasks_living
            for _ in range(12):
                await visit()
                with trio.move_on_after(0.001):
                    await visit()
            with trio.fail_after(60):
                while open_files() > before or trio.lowlevel.current_statistics().tasks_living > tasks:
                    await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.mark.parametrize(("in_doubt", "end"), [(True, trio.BrokenResourceError), (False, EOFError)])
async def test_what_is_in_doubt_is_closed_with_a_reset(
    in_doubt: bool, end: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel still holds of a command that was given up must not arrive later."""
    monkeypatch.setattr(api_session.limits, "CANCEL_S", 0.05)
    ended: list[Exception] = []
    heard = trio.Event()

    async def never_done(peer: Peer) -> None:
        await peer.lets_in()
        tag = await peer.command(*SET)
        if not in_doubt:
            await peer.says("!done", tag)
        heard.set()
        try:
            while True:
                await peer.hears()
        except (EOFError, trio.BrokenResourceError) as err:
            ended.append(err)

    async with router(never_done) as port:
        async with connect(plain(port), USER, PASSWORD, timeout_s=20) as api, trio.open_nursery() as nursery:
            nursery.start_soon(partial(api.call, *SET, timeout_s=60))
            await heard.wait()
            if in_doubt:
                nursery.cancel_scope.cancel()
        with trio.fail_after(60):
            while not ended:
                await trio.testing.wait_all_tasks_blocked(0.001)
    assert isinstance(ended[0], end)
    assert not in_doubt or isinstance(ended[0].__cause__, ConnectionResetError)


async def test_nothing_below_our_log_layer_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with router(one_print) as port:
        await ask(plain(port))
    assert [r for r in caplog.records if not r.name.startswith("asyncio")] == []


# --- anything at all -------------------------------------------------------------------------------------------------


@given(said=st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([e[0] for e in ENDS.values()])), max_size=5))
def test_whatever_a_router_says_a_call_ends_with_our_error(said: list[bytes]) -> None:
    async def play() -> None:
        async with talking() as (api, peer), trio.open_nursery() as nursery:
            calls = Calls(api, nursery)
            await calls.make("a", PRINT, timeout_s=1)
            for piece in said:
                try:
                    await peer.stream.send_all(piece)
                except trio.BrokenResourceError:
                    break
        assert set(calls.ended) == {"a"}

    trio.run(play, clock=virtual_clock())
