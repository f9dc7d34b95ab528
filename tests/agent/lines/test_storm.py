"""A storm of 5,000 traps a second, for as long as polls of the schedule take their turns: it starves none of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.line_model.reading import EventKind, LinkState
from agent.lines import states
from agent.lines.keeping import LineKeeper
from agent.lines.listening import Listening
from agent.polling.poller import Poller
from agent.polling.triggered import TriggeredPolls
from agent.runtime.clock import SystemClock
from agent.store.db import Store
from lab.snmp.messages import Version
from lab.snmp.notifications import Sink
from lab.snmp.notifier import STORM_PER_S_MAX, STORM_S_MAX
from lab.snmp.server import Layout, SnmpLab, open_snmp_lab
from lab.snmp.usm import USERS
from lab.tests.snmp.devices import switch
from tests.builders.expect import present
from tests.builders.readings import opened

pytestmark = pytest.mark.slow

EVERY_S = 4.0
TURNS = 4
"""Polls of each device while the storm goes on."""
QUIET, STORMING = "sw-0", tuple(f"sw-{n}" for n in range(1, 8))
STRANGER = "127.77.200.1"
FIRST = 2_000
"""Traps that the listener has dropped before anything counts: the storm is there."""
TOLD = SnmpAccess("told", SnmpVersion.V2C, "public")
USER = SnmpAccess(
    "user", SnmpVersion.V3, user="labpriv", auth=AuthProtocol.SHA_256, auth_secret="labauthpass",
    priv=PrivProtocol.AES_128, priv_secret="labprivpass",
)  # fmt: skip


class WatchedPoller(Poller):
    """Notes when each poll of the schedule began, once it ended."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ended: dict[str, list[float]] = {target: [] for target in self._polled}

    async def _in_lane(self, one: Any) -> None:
        began_s = trio.current_time()
        await super()._in_lane(one)
        self.ended[one.target.id].append(began_s)

    def least(self) -> int:
        """Return how often each device was polled at least."""
        return min(len(ended) for ended in self.ended.values())


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(120):
        while not holds():  # noqa: ASYNC110  counters and lists ring no bell
            await trio.sleep(0.01)


@contextmanager
def storming(port: int, hosts: Sequence[str]) -> Iterator[list[int]]:
    """Let traps come from these addresses for the block; then the list has the number of those that were sent."""
    sent: list[int] = []
    command = [sys.executable, "-m", "tests.agent.lines.storm", str(port), *hosts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield sent
        finally:
            sent.append(int(process.communicate(timeout=60)[0]))


def configured(lab: SnmpLab) -> SnmpConfig:
    """Return each device, polled and telling by version 2c; the quiet one tells by version 3."""
    accesses = {name: SnmpAccess(name, SnmpVersion.V2C, name) for name in lab.devices}
    devices = tuple(
        SnmpDevice(
            name, *lab.where(name), access, every_s=EVERY_S, timeout_s=20.0, notify=USER if name == QUIET else TOLD
        )
        for name, access in accesses.items()
    )
    return SnmpConfig(devices, (*accesses.values(), TOLD, USER), listen=(("127.0.0.1", 0),))


def is_down(store: Store) -> bool:
    """Return whether the port of the quiet device is known to be down."""
    return present(states.part(store.query, f"snmp/{QUIET}", "port/ge-3")).state is LinkState.DOWN


async def test_a_storm_of_traps_starves_no_poll(tmp_path: Path) -> None:
    clock = SystemClock()
    with opened(tmp_path) as store:
        async with open_snmp_lab([switch(n) for n in (QUIET, *STORMING)], layout=Layout.ADDRESSES) as lab:
            made = SnmpConnector(configured(lab), str.encode, clock, engine_id=b"\x80\0\0\0\5ispagent")
            poller = WatchedPoller({"snmp": made}, clock, [LineKeeper(store)])
            triggered = TriggeredPolls(poller.poll_now, clock)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poller.run)
                nursery.start_soon(triggered.run)
                nursery.start_soon(Listening([made], store, triggered.ask).run)
                await made.bound.known.wait()
                await until(lambda: poller.least() >= 2)
                counts = present(made._listener).counts
                (port,) = made.bound.ports
                sink = Sink("127.0.0.1", port, Version.V3, user=USERS[0], inform=True)
                hosts = [STRANGER, *(lab.where(name)[0] for name in STORMING)]
                async with lab.notifying(sink, QUIET) as notifiers:
                    with storming(port, hosts) as sent:
                        await until(lambda: counts.over_budget >= FIRST)
                        began_s, before = trio.current_time(), {name: len(e) for name, e in poller.ended.items()}
                        most = max(before.values())
                        await until(lambda: poller.least() > most)
                        lab[QUIET].set_link("ge-3", up=False)
                        await until(lambda: bool(notifiers[QUIET].acknowledged) and is_down(store))
                        await until(lambda: poller.least() >= most + TURNS)
                        took_s = trio.current_time() - began_s
                nursery.cancel_scope.cancel()
        assert EventKind.PART_DOWN in {event.kind for event in states.events(store.query, f"snmp/{QUIET}")}
        assert all(one.unread_s == 0 for one in states.devices(store.query).values()), "each poll had its answer"
    print(f"{sent[0]} sent, {counts}, {took_s:.1f} s")
    assert counts.heard < counts.over_budget < sent[0] < STORM_PER_S_MAX * STORM_S_MAX, "it went on to the end"
    for target, ended in poller.ended.items():
        assert len(ended) - before[target] >= took_s / EVERY_S / 2, (target, ended)
        assert max(later - earlier for earlier, later in pairwise(ended[1:])) < 2 * EVERY_S, (target, ended)
