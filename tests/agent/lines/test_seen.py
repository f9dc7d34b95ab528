"""From a notification to its state: nothing on the way waits for a clock, so the two seconds are those of the work.

The clock of trio stands still: whatever would sleep, pace or retry on the way would never end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.line_model.reading import DeviceReading, EventKind, LineEvent, LinkState
from agent.lines import states
from agent.lines.keeping import LineKeeper
from agent.lines.known import StateHow
from agent.lines.listening import Listening
from agent.polling.poller import Poller
from agent.polling.triggered import TriggeredPolls
from agent.store.db import Store
from lab.snmp.messages import Version
from lab.snmp.notifications import Sink
from lab.snmp.server import open_snmp_lab
from lab.snmp.usm import USERS
from lab.tests.snmp.devices import switch
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.builders.readings import AT, opened

REAL_S = 60.0
"""Real seconds after which a test gives up: trio's own timeouts stand still."""
TARGET = "snmp/hill"
SECRETS = {"sw-1": b"sw-1", "public": b"public", "auth": b"labauthpass", "priv": b"labprivpass"}
POLLED = SnmpAccess("polled", SnmpVersion.V2C, "sw-1")
TOLD = SnmpAccess("told", SnmpVersion.V2C, "public")
USER = SnmpAccess(
    "user", SnmpVersion.V3, user="labpriv", auth=AuthProtocol.SHA_256, auth_secret="auth",
    priv=PrivProtocol.AES_128, priv_secret="priv",
)  # fmt: skip


@dataclass
class Watch:
    """Sets a bell once a port of the store is down."""

    store: Store
    down: trio.Event = field(default_factory=trio.Event)

    def look(self) -> None:
        part = states.part(self.store.query, TARGET, "port/ge-3")
        if part is not None and part.state is LinkState.DOWN:
            self.down.set()


class WatchedKeeper(LineKeeper):
    """Looks after each reading."""

    def __init__(self, store: Store, look: Callable[[], None]) -> None:
        super().__init__(store)
        self._look = look

    async def keep(self, reading: DeviceReading) -> None:
        await super().keep(reading)
        self._look()


class WatchedListening(Listening):
    """Looks after each notification."""

    look: Callable[[], None]

    async def _heard(self, event: LineEvent) -> None:
        await super()._heard(event)
        self.look()


@pytest.mark.parametrize(
    ("notify", "version", "how"),
    [(TOLD, Version.V2C, StateHow.READ), (USER, Version.V3, StateHow.NOTIFIED)],
    ids=["2c: the poll that it triggers decides", "3: an inform that a secret proves"],
)
async def test_a_link_that_goes_down_is_seen_without_any_wait(
    tmp_path: Path, mock_clock: trio.testing.MockClock, notify: SnmpAccess, version: Version, how: StateHow
) -> None:
    device = switch("sw-1")
    with opened(tmp_path) as store:
        watch = Watch(store)
        async with open_snmp_lab([device]) as lab:
            hill = SnmpDevice("hill", "127.0.0.1", lab.port, POLLED, notify=notify)
            config = SnmpConfig((hill,), (POLLED, TOLD, USER), listen=(("127.0.0.1", 0),))
            clock = FakeClock(start_wall_s=float(AT))
            made = SnmpConnector(config, SECRETS.__getitem__, clock, engine_id=b"\x80\0\0\0\5ispagent")
            poller = Poller({"snmp": made}, clock, [WatchedKeeper(store, watch.look)])
            triggered = TriggeredPolls(poller.poll_now, clock)
            listening = WatchedListening([made], store, triggered.ask)
            listening.look = watch.look
            given_up = threading.Event()
            async with trio.open_nursery() as nursery:

                async def give_up() -> None:
                    await trio.to_thread.run_sync(given_up.wait, REAL_S, abandon_on_cancel=True)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(give_up)
                await poller.poll_now(TARGET)
                nursery.start_soon(listening.run)
                nursery.start_soon(triggered.run)
                await made.bound.known.wait()
                user = USERS[0] if version is Version.V3 else None
                sink = Sink("127.0.0.1", made.bound.ports[0], version, user=user, inform=version is Version.V3)
                async with lab.notifying(sink):
                    began_s = trio.current_time()
                    device.set_link("ge-3", up=False)
                    await watch.down.wait()
                    assert trio.current_time() == began_s
                given_up.set()
                nursery.cancel_scope.cancel()
        part = present(states.part(store.query, TARGET, "port/ge-3"))
        assert (part.state, part.how) == (LinkState.DOWN, how)
        assert states.events(store.query, TARGET)[0].kind is EventKind.PART_DOWN
