"""Notifications through the connector, with net-snmp's own senders: devices, strangers, an address that is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from agent.connectors.base import UnreadableError
from agent.connectors.snmp import connector as connecting
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.connectors.snmp.senders_session import AGAIN_S, ConfiguredSenders
from agent.line_model.reading import EventKind, LineEvent
from agent.runtime.clock import SystemClock
from tests.agent.connectors.snmp.net_snmp import SECRETS, asked, secret, tool
from tests.servers import ServerMissingError, missing, program

FIELD = SnmpAccess("field", SnmpVersion.V2C, "field")
CORE = SnmpAccess(
    "core",
    SnmpVersion.V3,
    user="noc",
    auth=AuthProtocol.SHA,
    auth_secret="auth",
    priv=PrivProtocol.AES_128,
    priv_secret="priv",
)
GONE = SnmpAccess("gone", SnmpVersion.V2C, "nothing")
LINK_DOWN, IF_INDEX = "1.3.6.1.6.3.1.1.5.3", "1.3.6.1.2.1.2.2.1.1.7"
ENGINE = bytes.fromhex("8000000005") + b"of the test!"


def config(*devices: SnmpDevice, port: int = 0) -> SnmpConfig:
    return SnmpConfig(devices, (FIELD, CORE, GONE), listen=(("127.0.0.1", port),))


class Heard:
    def __init__(self) -> None:
        self.events: list[LineEvent] = []
        self.changed = trio.Event()

    async def __call__(self, event: LineEvent) -> None:
        self.events.append(event)
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, count: int) -> list[LineEvent]:
        with trio.fail_after(60):
            while len(self.events) < count:
                await self.changed.wait()
        return self.events


@asynccontextmanager
async def listening(made: SnmpConnector) -> AsyncIterator[tuple[int, Heard]]:
    try:
        program("snmptrap", "snmp")
    except ServerMissingError as err:
        missing(str(err))
    heard = Heard()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.listen, heard)
        with trio.fail_after(60):
            await made.bound.known.wait()
        yield made.bound.ports[0], heard
        nursery.cancel_scope.cancel()


async def sent(command: str, *words: str) -> None:
    await trio.to_thread.run_sync(lambda: tool(command, *words))


async def test_traps_and_informs_of_a_device() -> None:
    made = SnmpConnector(
        config(SnmpDevice("hill", "127.0.0.1", 161, FIELD, notify=CORE)), secret, SystemClock(), engine_id=ENGINE
    )
    v3 = (
        "-v3",
        "-u",
        "noc",
        "-l",
        "authPriv",
        "-a",
        "SHA",
        "-A",
        SECRETS["auth"].decode(),
        "-x",
        "AES",
        "-X",
        SECRETS["priv"].decode(),
    )
    async with listening(made) as (port, heard):
        await sent("snmpinform", *v3, f"127.0.0.1:{port}", "", LINK_DOWN, IF_INDEX, "i", "7")
        (event,) = await heard.until(1)
        assert (event.target, event.kind, event.index) == ("snmp/hill", EventKind.PART_DOWN, 7)
        assert event.authenticated
        await sent("snmptrap", "-v2c", "-c", "field", f"127.0.0.1:{port}", "", LINK_DOWN, IF_INDEX, "i", "8")
        with trio.fail_after(60):
            while True:
                rows = {str(row["what"]): row for row in await asked(made, "heard")}
                if rows["refused"]["number"] == 1:
                    break
                await trio.sleep(0.01)
        assert rows["heard"]["number"] == 1
        assert "no user" in str(rows["last refusal"]["why"]) or "community" in str(rows["last refusal"]["why"])


async def test_a_stranger_has_no_target() -> None:
    made = SnmpConnector(config(), secret, SystemClock(), engine_id=ENGINE)
    async with listening(made) as (port, heard):
        await sent("snmptrap", "-v2c", "-c", "field", f"127.0.0.1:{port}", "", LINK_DOWN, IF_INDEX, "i", "7")
        (event,) = await heard.until(1)
        assert (event.target, event.authenticated) == ("", False)


async def test_who_sends() -> None:
    devices = (SnmpDevice("hill", "10.0.0.1", 161, FIELD), SnmpDevice("valley", "localhost", 161, GONE))
    senders = ConfiguredSenders(replace(config(*devices), listen=()), secret, trio.sleep)
    assert senders("10.0.0.1").target == ""
    await senders.refresh()
    assert senders("10.0.0.1").target == "snmp/hill"
    assert [c.community for c in senders("10.0.0.1").credentials] == [b"field"]
    assert (senders("127.0.0.1").target, senders("127.0.0.1").credentials) == ("snmp/valley", ())
    assert [c.version for c in senders("10.9.9.9").credentials] == [SnmpVersion.V2C]
    nowhere = ConfiguredSenders(config(SnmpDevice("x", "no such host.invalid", 161, FIELD)), secret, trio.sleep)
    await nowhere.refresh()
    assert nowhere("10.0.0.1").target == ""


async def test_names_and_secrets_are_taken_again_by_the_agents_clock() -> None:
    paused: list[float] = []
    again = trio.Event()

    async def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) < 3:
            await trio.lowlevel.checkpoint()
            return
        again.set()
        await trio.sleep_forever()

    senders = ConfiguredSenders(config(SnmpDevice("hill", "10.0.0.1", 161, FIELD)), secret, pause)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(senders.run)
        with trio.fail_after(60):
            await again.wait()
        nursery.cancel_scope.cancel()
    assert (senders("10.0.0.1").target, set(paused)) == ("snmp/hill", {AGAIN_S})


async def test_no_address_is_no_listener() -> None:
    with trio.fail_after(60):
        await SnmpConnector(SnmpConfig(), secret, SystemClock()).listen(Heard())
    with pytest.raises(UnreadableError, match=r"no \[snmp\] listen is configured"):
        await asked(SnmpConnector(SnmpConfig(), secret, SystemClock()), "heard")


async def test_a_port_that_is_taken_is_named_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "BIND_AGAIN_S", 0.01)
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as taken:
        await taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        made = SnmpConnector(config(port=port), secret, SystemClock(), engine_id=ENGINE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.listen, Heard())
            with trio.fail_after(60):
                while True:
                    try:
                        await asked(made, "heard")
                    except UnreadableError as err:
                        if f"port {port}" in str(err):
                            break
                    await trio.sleep(0.01)
                taken.close()
                await made.bound.known.wait()
            assert made.bound.ports == [port]
            nursery.cancel_scope.cancel()
