"""Version 3 with a real agent: every level, every protocol, and each way to be refused."""

from __future__ import annotations

import re

import pytest

from agent.connectors.snmp.client_session import open_client
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import RequestRefusedError, SilentError
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.values import OCTET_STRING, dotted, oid
from tests.agent.connectors.snmp.net_snmp import (
    AUTH_KEY,
    COMBINATIONS,
    PR_TABLE,
    PRIV_KEY,
    ROWS,
    SYS_NAME,
    Snmpd,
    credential,
    parsed,
    printed,
    snmpd,
    tool,
    user,
)

SHA, AES = AuthProtocol.SHA_256, PrivProtocol.AES_128
PATIENT = SnmpLimits(timeout_s=20, retries=0)
HURRIED = SnmpLimits(timeout_s=1, retries=0)
"""For a device that is silent: this is waited for."""


async def refusal(agent: Snmpd, asked: SnmpCredential, limits: SnmpLimits = PATIENT) -> str:
    async with open_client("127.0.0.1", agent.port, asked, limits) as client:
        with pytest.raises((RequestRefusedError, SilentError)) as caught:
            await client.get([SYS_NAME])
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize("pair", COMBINATIONS, ids=lambda pair: user(*pair))
async def test_each_combination_reads_a_table(
    real_agent: Snmpd, pair: tuple[AuthProtocol | None, PrivProtocol | None]
) -> None:
    async with open_client("127.0.0.1", real_agent.port, credential(*pair)) as client:
        assert client.boots is None
        found = await client.table(PR_TABLE)
        assert client.boots == 1
    assert [len(found[column]) for column in PR_TABLE] == [ROWS] * len(PR_TABLE)


@pytest.mark.parametrize("pair", [p for p in COMBINATIONS if p[1]], ids=lambda pair: user(*pair))
async def test_a_wrong_priv_key(real_agent: Snmpd, pair: tuple[AuthProtocol, PrivProtocol]) -> None:
    told = await refusal(real_agent, credential(*pair, priv_key=b"wrong-passphrase"), HURRIED)
    # net-snmp drops what it cannot read: only some wrong keys of DES are seen as such
    assert told.startswith(("SilentError: ", "RequestRefusedError: wrong secret: priv or priv_secret differs"))


@pytest.mark.parametrize("auth", AuthProtocol)
async def test_a_wrong_auth_key(real_agent: Snmpd, auth: AuthProtocol) -> None:
    told = await refusal(real_agent, credential(auth, None, auth_key=b"wrong-passphrase"))
    assert told == "RequestRefusedError: wrong secret: auth or auth_secret differs from the device's"


async def test_a_user_that_the_device_does_not_know(real_agent: Snmpd) -> None:
    told = await refusal(real_agent, credential(SHA, AES, user="nobody"))
    assert told == "RequestRefusedError: the device does not know this user"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (credential(None, None, user=user(SHA, AES)), "the device answered authorizationError"),
        (credential(SHA, None, user=user(SHA, AES)), "the device answered authorizationError"),
        (credential(SHA, AES, user=user(SHA, None), priv_key=PRIV_KEY), "does not take this user with this authen"),
        (credential(SHA, None, user=user(None, None), auth_key=AUTH_KEY), "does not take this user with this authent"),
        (credential(SHA, AES, context="none-such"), "SilentError: .*: no answer to 2 requests"),
    ],
    ids=["noauth for priv", "auth for priv", "priv for auth", "auth for noauth", "context"],
)
async def test_another_level(real_agent: Snmpd, asked: SnmpCredential, told: str) -> None:
    limits = HURRIED if told.startswith("SilentError") else PATIENT
    assert re.search(told, await refusal(real_agent, asked, limits))


async def test_a_walk_equals_that_of_net_snmp(real_agent: Snmpd) -> None:
    root, asked = "1.3.6.1.4.1.2021.2", credential(AuthProtocol.SHA_512, PrivProtocol.AES_256)
    words = f"-v3 -u {asked.user} -l authPriv -a SHA-512 -A {AUTH_KEY.decode()} -x AES-256 -X {PRIV_KEY.decode()}"
    theirs = parsed(tool("snmpbulkwalk", *words.split(), "-On", "-Ox", "-Ot", f"127.0.0.1:{real_agent.port}", root))
    async with open_client("127.0.0.1", real_agent.port, asked) as client:
        ours = {dotted(name): printed(value) async for name, value in client.walk(oid(root))}
    assert len(ours) == ROWS * len(PR_TABLE)
    assert ours == theirs


async def test_an_agent_that_restarts_and_one_that_is_replaced() -> None:
    with snmpd() as agent:
        async with open_client("127.0.0.1", agent.port, credential(SHA, AES)) as client:
            boots = []
            for engine_id in (None, None, "80000000010203040a"):
                if boots:
                    agent.stop()
                    agent.engine_id = engine_id or agent.engine_id
                    agent.start()
                assert (await client.get([SYS_NAME]))[SYS_NAME] == (OCTET_STRING, b"peer-snmpd")
                boots.append(client.boots)
    assert boots[:2] == [1, 2]


async def test_two_devices_with_one_user_and_different_keys_at_once() -> None:
    keys = [(AUTH_KEY, PRIV_KEY), (b"another-" + AUTH_KEY, b"another-" + PRIV_KEY)]
    asked = [SnmpCredential(SnmpVersion.V3, user="twice", auth=SHA, auth_key=a, priv=AES, priv_key=p) for a, p in keys]
    users = [f'createUser twice SHA-256 "{a.decode()}" AES "{p.decode()}"\nrouser twice priv' for a, p in keys]
    with snmpd(users[0]) as one, snmpd(users[1]) as two:
        async with (
            open_client("127.0.0.1", one.port, asked[0]) as first,
            open_client("127.0.0.1", two.port, asked[1]) as second,
        ):
            for _ in range(3):
                assert len((await first.table(PR_TABLE))[PR_TABLE[0]]) == ROWS
                assert len((await second.table(PR_TABLE))[PR_TABLE[0]]) == ROWS
