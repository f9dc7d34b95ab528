"""The client with a real agent, value by value beside net-snmp's own tools."""

from __future__ import annotations

import pytest
import trio

from agent.connectors.snmp.client_session import open_client
from agent.connectors.snmp.credential import SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import RequestRefusedError, SilentError, UnsentRequestError
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.values import INTEGER, NO_SUCH_OBJECT, OCTET_STRING, dotted, oid
from tests.agent.connectors.snmp.net_snmp import (
    PR_TABLE,
    ROWS,
    SYS_CONTACT,
    SYS_LOCATION,
    SYS_NAME,
    V1,
    V2C,
    WRITING,
    Snmpd,
    parsed,
    printed,
    tool,
)

HURRIED = SnmpLimits(timeout_s=0.05, retries=1)


@pytest.mark.parametrize("asked", [V1, V2C], ids=["v1", "v2c"])
async def test_get(real_agent: Snmpd, asked: SnmpCredential) -> None:
    absent = oid("1.3.6.1.2.1.1.99.0")
    async with open_client("127.0.0.1", real_agent.port, asked) as client:
        found = await client.get([SYS_NAME, absent, SYS_NAME])
    assert found == {SYS_NAME: (OCTET_STRING, b"peer-snmpd"), absent: (NO_SUCH_OBJECT, b"")}


@pytest.mark.parametrize("asked", [V1, V2C], ids=["v1", "v2c"])
async def test_table(real_agent: Snmpd, asked: SnmpCredential) -> None:
    async with open_client("127.0.0.1", real_agent.port, asked) as client:
        first = await client.table(PR_TABLE)
        again = await client.table(PR_TABLE)
    assert [len(first[column]) for column in PR_TABLE] == [ROWS] * len(PR_TABLE)
    assert first[PR_TABLE[0]][b"\x07"] == (INTEGER, 7)
    assert first[PR_TABLE[1]][b"\x07"] == (OCTET_STRING, b"none-such-6")
    assert again == first


ROOTS = ("1.3.6.1.4.1.2021.2", "1.3.6.1.2.1.1.9", "1.3.6.1.6.3.16", "1.3.6.1.2.1.2.2.1.2", "1.3.6.1.2.1.4.20")
"""Tables of the agent that do not change: text, numbers, names, addresses, octets, time."""


@pytest.mark.parametrize("root", ROOTS)
async def test_a_walk_equals_that_of_net_snmp(real_agent: Snmpd, root: str) -> None:
    theirs = parsed(
        tool("snmpbulkwalk", "-v2c", "-c", "public", "-On", "-Ox", "-Ot", f"127.0.0.1:{real_agent.port}", root)
    )
    async with open_client("127.0.0.1", real_agent.port, V2C) as client:
        ours = {dotted(name): printed(value) async for name, value in client.walk(oid(root))}
    assert len(ours) == (ROWS * len(PR_TABLE) if root == ROOTS[0] else len(theirs))
    assert ours == theirs != {}


async def test_ipv6(real_agent: Snmpd) -> None:
    async with open_client("::1", real_agent.port, V2C) as client:
        assert (await client.get([SYS_NAME]))[SYS_NAME] == (OCTET_STRING, b"peer-snmpd")


async def test_set_and_its_refusals(real_agent: Snmpd) -> None:
    async with open_client("127.0.0.1", real_agent.port, WRITING) as client:
        with pytest.raises(RequestRefusedError, match=r"answered notWritable for 1\.3\.6\.1\.2\.1\.1\.4\.0") as caught:
            await client.set({SYS_CONTACT: (OCTET_STRING, b"configured, so not writable")})
        assert caught.value.status == "notWritable"
        await client.set({SYS_LOCATION: (OCTET_STRING, "Zoë Street".encode())})
        assert (await client.get([SYS_LOCATION]))[SYS_LOCATION] == (OCTET_STRING, "Zoë Street".encode())
    async with open_client("127.0.0.1", real_agent.port, V2C) as client:
        with pytest.raises(RequestRefusedError, match="answered noAccess"):
            await client.set({SYS_LOCATION: (OCTET_STRING, b"not with this community")})


async def test_a_wrong_community_is_silence(real_agent: Snmpd) -> None:
    wrong = SnmpCredential(SnmpVersion.V2C, community=b"not-public")
    async with open_client("127.0.0.1", real_agent.port, wrong, HURRIED) as client:
        with pytest.raises(
            SilentError, match=r"no answer to 2 requests in 0\.\d s: unreachable, or wrong sec"
        ) as caught:
            await client.get([SYS_NAME])
    assert "not-public" not in str(caught.value)


async def test_many_tasks_ask_through_one_client(real_agent: Snmpd) -> None:
    shared = trio.CapacityLimiter(2)
    found = []

    async def ask() -> None:
        found.append(await client.table(PR_TABLE))

    async with open_client("127.0.0.1", real_agent.port, V2C, SnmpLimits(in_flight=3), shared=shared) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
        assert len(client._idle) <= 2
    assert found == [found[0]] * 8


async def test_an_unknown_host_is_named() -> None:
    with pytest.raises(UnsentRequestError, match=r"no-such-host\.invalid:161: expected an address or the name"):
        async with open_client("no-such-host.invalid", 161, V2C):
            raise AssertionError("not reached")
