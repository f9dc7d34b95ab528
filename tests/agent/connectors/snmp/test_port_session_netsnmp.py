"""Ports of net-snmp's agent, with interfaces of a script: written by v1, v2c and v3, read back, and refused."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.connectors.base import LostError, PortChange, PortPlan, PortWish, Reply
from agent.connectors.snmp import port_session
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.connectors.snmp.port_session import PortSession
from agent.model import Address, Direction, Effect, Seen, Ticket
from agent.runtime.clock import SystemClock
from tests.agent.connectors.snmp.net_snmp import Snmpd, snmpd, tool
from tests.builders.expect import expect
from tests.servers import ServerMissingError, missing

SECRETS = {"read": b"public", "write": b"private", "view": b"narrow", "auth": b"writerauth1", "priv": b"writerpriv1"}
READ = SnmpAccess("read", SnmpVersion.V2C, "read")
WRITES = {
    "v1": SnmpAccess("write", SnmpVersion.V1, "write"),
    "v2c": SnmpAccess("write", SnmpVersion.V2C, "write"),
    "v3": SnmpAccess("v3", SnmpVersion.V3, "", "writer", AuthProtocol.SHA_256, "auth", PrivProtocol.AES_128, "priv"),
}
SCRIPT = """
import sys

ROOT = {root!r}
table = {{tuple(map(int, oid.split("."))): value for oid, value in {rows!r}.items()}}

def say(*lines):
    sys.stdout.write("".join(line + "\\n" for line in lines))
    sys.stdout.flush()

def parts(text):
    return tuple(int(word) for word in text.strip().strip(".").split("."))

def show(oid):
    say("." + ".".join(map(str, oid)), table[oid][0], str(table[oid][1]))

while True:
    asked = sys.stdin.readline()
    if not asked:
        break
    asked = asked.strip().lower()
    if asked == "ping":
        say("PONG")
    elif asked == "get":
        oid = parts(sys.stdin.readline())
        show(oid) if oid in table else say("NONE")
    elif asked == "getnext":
        oid = parts(sys.stdin.readline())
        later = sorted(one for one in table if one > oid)
        show(later[0]) if later else say("NONE")
    elif asked == "set":
        oid, (kind, _, value) = parts(sys.stdin.readline()), sys.stdin.readline().strip().partition(" ")
        if oid not in table or (oid[-2] not in (7, 18) and oid[-3] != 3):
            say("not-writable")
        elif oid[-2] != 18 and value not in ("1", "2"):
            say("wrong-value")
        else:
            table[oid] = (table[oid][0], value.strip('"'))
            say("DONE")
"""
FIRST, SECOND = 9001, 9002
IF, IFX, POE = "1.3.6.1.2.1.2.2", "1.3.6.1.2.1.31.1.1", "1.3.6.1.2.1.105.1.1"


def tables() -> dict[str, dict[str, tuple[str, object]]]:
    """Return the interfaces of a switch with two ports: root -> OID -> type and value.

    Their numbers are none of this host's: the agent tells its addresses too, and `lo` would be the agent's own way.
    """
    found: dict[str, dict[str, tuple[str, object]]] = {IF: {}, IFX: {}, POE: {}}
    for port, n in ((1, FIRST), (2, SECOND)):
        found[IF] |= {
            f"{IF}.1.1.{n}": ("integer", n),
            f"{IF}.1.2.{n}": ("string", f"port {port}"),
            f"{IF}.1.3.{n}": ("integer", 6),
            f"{IF}.1.7.{n}": ("integer", 1),
            f"{IF}.1.8.{n}": ("integer", 2),
        }
        found[IFX] |= {f"{IFX}.1.1.{n}": ("string", f"ge-0/{port}"), f"{IFX}.1.18.{n}": ("string", "before")}
        found[POE] |= {f"{POE}.1.3.1.{n}": ("integer", 1), f"{POE}.1.6.1.{n}": ("integer", 3)}
    return found


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snmpd]:
    folder, lines = tmp_path_factory.mktemp("interfaces"), []
    for number, (root, rows) in enumerate(tables().items()):
        script = Path(folder / f"table{number}.py")
        script.write_text(SCRIPT.format(root=root, rows=rows), encoding="utf-8")
        lines.append(f"pass_persist -p 1 .{root} {sys.executable} {script}")
    lines += [
        f'createUser writer SHA-256 "{SECRETS["auth"].decode()}" AES "{SECRETS["priv"].decode()}"',
        "rwuser writer priv",
        f"rwcommunity narrow default .{IFX}",
    ]
    try:
        with snmpd("\n".join(lines)) as running:
            yield running
    except ServerMissingError as err:
        missing(str(err))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE_S", "DELIVERS_S"):
        monkeypatch.setattr(port_session, name, 0.3)


@asynccontextmanager
async def opened(agent: Snmpd, write: SnmpAccess) -> AsyncIterator[tuple[SnmpConnector, PortSession]]:
    device = SnmpDevice("sw-1", "127.0.0.1", agent.port, READ, timeout_s=3.0, retries=2, write=write)
    connector = SnmpConnector(SnmpConfig((device,), (READ, write)), SECRETS.__getitem__, SystemClock())
    async with connector.dial(connector.targets[0]) as session:
        assert isinstance(session, PortSession)
        yield connector, session


async def sent(connector: SnmpConnector, session: PortSession, port: str, wish: PortWish) -> Reply:
    seen: dict[Address, Seen] = {}
    while missing_ := connector.port_reads("snmp/sw-1", port, wish, seen):
        seen |= await session.read(missing_)
    found = expect(PortPlan, connector.port_plan("snmp/sw-1", port, wish, seen))
    (step,) = found.steps
    bound = await session.bind(step.do) if isinstance(step.do, Effect) else {}
    reply = await session.send(Ticket("0" * 32, 1, 1, Direction.FORWARD, 1, step.target, step.do, bound, float("inf")))
    if isinstance(step.do, tuple) and reply.accepted:
        now = await session.read([step.do[0].address])
        assert now[step.do[0].address].value == step.do[0].after
    return reply


def got(agent: Snmpd, oid: str) -> str:
    """Return what net-snmp's own tool reads."""
    return tool("snmpget", "-v2c", "-cpublic", "-Ovq", f"127.0.0.1:{agent.port}", oid).strip().strip('"')


@pytest.mark.parametrize("version", WRITES)
async def test_a_port_is_described_switched_and_cut_from_power(agent: Snmpd, version: str) -> None:
    async with opened(agent, WRITES[version]) as (connector, session):
        for text in (f"by {version}", "before"):
            assert (await sent(connector, session, "ge-0/2", PortWish(PortChange.ALIAS, text))).accepted
            assert got(agent, f"{IFX}.1.18.{SECOND}") == text
        for word, number in (("down", "2"), ("up", "1")):
            assert (await sent(connector, session, "port 2", PortWish(PortChange.ADMIN, word))).accepted
            assert (got(agent, f"{IF}.1.7.{FIRST}"), got(agent, f"{IF}.1.7.{SECOND}")) == ("1", number)
        reply = await sent(connector, session, "ge-0-2", PortWish(PortChange.POWER_CYCLE, "1"))
        assert (reply.accepted, reply.detail) == (True, "seen off, then on again: deliveringPower")
        assert got(agent, f"{POE}.1.3.1.{SECOND}") == "1"


async def test_a_view_that_has_descriptions_alone_refuses_the_rest(agent: Snmpd) -> None:
    view = SnmpAccess("view", SnmpVersion.V2C, "view")
    async with opened(agent, view) as (connector, session):
        assert (await sent(connector, session, "ge-0/1", PortWish(PortChange.ALIAS, "narrow"))).accepted
        reply = await sent(connector, session, "ge-0/1", PortWish(PortChange.ADMIN, "down"))
        assert (reply.accepted, reply.reason) == (False, "set-refused-noAccess")
        assert "the write credential has no right to write it" in reply.detail
        cycle = await sent(connector, session, "ge-0/1", PortWish(PortChange.POWER_CYCLE, "1"))
        assert (cycle.accepted, cycle.reason) == (False, "set-refused-noAccess")
    assert (got(agent, f"{IF}.1.7.{FIRST}"), got(agent, f"{POE}.1.3.1.{FIRST}")) == ("1", "1")


async def test_the_reading_community_writes_nothing(agent: Snmpd) -> None:
    """It answers a SET of a read-only community by noAccess; of one that it does not know by silence."""
    other = SnmpAccess("other", SnmpVersion.V2C, "auth")
    async with opened(agent, other) as (connector, session):
        with pytest.raises(LostError, match="its write community is wrong"):
            await sent(connector, session, "ge-0/1", PortWish(PortChange.ADMIN, "down"))
    assert got(agent, f"{IF}.1.7.{FIRST}") == "1"
