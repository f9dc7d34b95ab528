"""What the second judge rests on sees what it is there to see."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.servers import MariaDB, PostgreSQL
from tests.torture.agent_file import Announced, root_hash
from tests.torture.announced import Announcements
from tests.torture.audit import AGENT, Audit
from tests.torture.rounds import FAULT_WORDS, Round
from tests.torture.ways import Air, Cut, CuttingProxy, UdpWay
from trust import merkle


def step(about_s: float, outcome_s: float, *, effect: bool = False, leaf: int = 7) -> Announced:
    after = "" if effect else '[{"group:suspended": "-1"}]'
    where = "ABCDE", "suspend", "C-1/home", 1, 1, "forward", 1
    return Announced(*where, int(about_s), outcome_s, effect, after, "applied", leaf)


def marks(announced: Announced) -> bool:
    return "suspended" in announced.after


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 13])
def test_the_root_is_that_of_the_log(count: int) -> None:
    leaves = [bytes([n]) * n for n in range(count)]
    assert root_hash(leaves) == merkle.root([merkle.leaf_hash(leaf) for leaf in leaves])


async def test_a_write_needs_an_announced_step_and_happens_once_by_it(tmp_path: Path) -> None:
    about, now = Round("none", 1, tmp_path, 1.0), trio.current_time()
    wall = time.time()
    log = Announcements(about, [step(wall - 1, wall + 1), step(wall, wall + 1, effect=True, leaf=8)])
    assert log.write("C-1/home", now, lambda step: not marks(step), "a write of something else") is None
    assert log.write("C-1/home", now, marks, "a write") is not None
    assert log.effects("C-1/home", now, "an end")
    assert [v.rule for v in about.found] == ["unannounced"]
    assert log.write("C-1/home", now, marks, "a write") is None
    assert log.write("C-2/home", now, marks, "a write") is None
    assert log.write("C-1/home", now + 60, marks, "a write") is None
    assert not log.effects("C-1/home", now - 60, "an end")
    assert [v.rule for v in about.found] == ["unannounced", "twice", *["unannounced"] * 3]


async def test_the_triggers_tell_who_wrote_what(postgresql: PostgreSQL, mariadb: MariaDB) -> None:
    for server in (postgresql, mariadb):
        server.add_login(AGENT)
        database = server.fresh()
        audit = Audit(server, database)
        database.run("INSERT INTO radusergroup (username, groupname, priority) VALUES ('u', 'suspended', -1)")
        agents = replace(database, user=AGENT)
        agents.run("UPDATE radusergroup SET priority = 3 WHERE username = 'u'")
        agents.run("DELETE FROM radusergroup WHERE username = 'u'")
        seen = [(c.by_agent, c.op.upper(), c.login, c.was, c.now_is) for c in audit.read()]
        assert seen == [
            (False, "INSERT", "u", "", "suspended/-1"),
            (True, "UPDATE", "u", "suspended/-1", "suspended/3"),
            (True, "DELETE", "u", "suspended/3", ""),
        ]
        assert abs(audit.changes[0].at - trio.current_time()) < 60
        assert audit.read() == []


@pytest.mark.parametrize(("when", "got", "answered"), [("before", 0, 0), ("after", 1, 0), ("reply", 1, 0), ("", 1, 1)])
async def test_a_connection_is_cut_where_its_bytes_say_so(when: str, got: int, answered: int) -> None:
    received: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async for data in stream:
            received.append(bytes(data))
            await trio.sleep(0.05)
            await stream.send_all(b"done")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port, count = listener.socket.getsockname()[1], Counter[str]()
        way = CuttingProxy(lambda: ("127.0.0.1", port), random.Random(1), count)
        way.rules = [Cut(re.compile(b"COMMIT"), when, 1.0)] if when else []
        await nursery.start(lambda task_status: way.run(task_status=task_status))
        async with await trio.open_tcp_stream("127.0.0.1", way.port) as client:
            with trio.fail_after(10):
                await client.send_all(b"COMMIT")
                said = b""
                with contextlib.suppress(trio.BrokenResourceError):
                    said = bytes(await client.receive_some())
        assert (len(received), bool(said)) == (got, bool(answered))
        assert sum(count.values()) == bool(when)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("air", "least", "most"), [(Air(), 20, 20), (Air(lost=0.5), 1, 19), (Air(doubled=1.0), 80, 80)]
)
async def test_datagrams_are_lost_and_doubled_both_ways(air: Air, least: int, most: int) -> None:
    """A doubled request is answered twice, and both answers are doubled."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as far:
        await far.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:

            async def echo() -> None:
                while True:
                    data, peer = await far.recvfrom(100)
                    await far.sendto(data, peer)

            nursery.start_soon(echo)
            way = UdpWay(far.getsockname()[1], random.Random(1), Counter())
            way.air = air
            await nursery.start(partial(way.run))
            with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as near:
                await near.bind(("127.0.0.1", 0))
                heard = 0
                for n in range(20):
                    await near.sendto(bytes([n]), ("127.0.0.1", way.port))
                with trio.move_on_after(1.0):
                    while True:
                        await near.recvfrom(100)
                        heard += 1
            assert least <= heard <= most
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("line", "is_fault"),
    [
        ('"message":"a task crashed"', True),
        ("Traceback (most recent call last):", True),
        ('"message":"an item did not go through","state":"not-applied","reason":"lost-crash"', False),
    ],
)
def test_a_step_that_a_kill_cut_short_is_no_fault(line: str, is_fault: bool) -> None:
    assert bool(FAULT_WORDS.search(line)) is is_fault
