"""Who has an address now, from targets that answer, that cannot say, and that are away."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest
import trio

from agent.connectors.base import AddressHolder, UnreadableError
from agent.connectors.radius.addresses import DENIED, OpenSession, RadiusResource, address, sessions_value
from agent.connectors.radius.connector import RadiusConnector
from agent.connectors.routeros.connector import RouterosConnector
from agent.model import ABSENT, Address, Seen, Target, Value
from agent.services.holders import HOLDERS_S, HolderReader
from tests.builders.world import FakeConnector, World

IP = "100.64.3.7"


class Told:
    """A connector whose targets say who has an address."""

    def __init__(self, *targets: str) -> None:
        self.targets: Sequence[Target] = tuple(Target(name, "told") for name in targets)

    def holders_at(self, target: str, address: str) -> Address:
        return Address(f"{target}/who/{address}")

    def holders_of(self, target: str, address: str, value: Value) -> Sequence[AddressHolder]:
        rows = {} if not isinstance(value, Mapping) else value
        return [AddressHolder(str(login), f"{address} on {target}") for login in rows.values()]


class Sessions:
    """Sessions to targets: what each reads, an error, or silence where it is None."""

    def __init__(self, answers: Mapping[str, Value | UnreadableError | None]) -> None:
        self.answers, self.target = answers, ""

    async def dialed(self, target: str) -> Sessions:
        session = Sessions(self.answers)
        session.target = target
        return session

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        answer = self.answers[self.target]
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, UnreadableError):
            raise answer
        assert answer is not None
        return {a: Seen(answer, 1) for a in addresses}

    def notes(self) -> Sequence[str]:
        return ()


async def test_each_target_says_or_is_named(autojump_clock: trio.testing.MockClock) -> None:
    answers = {
        "told/a": {"1": "amina.h"}, "told/b": ABSENT, "told/c": UnreadableError("told/c is away", reason="unreachable"),
        "told/d": None,
    }  # fmt: skip
    reader = HolderReader(Sessions(answers), [Told(*answers), FakeConnector(World())])  # type: ignore[arg-type,list-item]  # test doubles
    found = await reader.read(IP)
    assert found.found == {"told/a": [AddressHolder("amina.h", f"{IP} on told/a")], "told/b": []}
    assert found.not_checked == {
        "told/c": "told/c is away",
        "told/d": f"no answer within {HOLDERS_S:.0f} s",
        "fake/d": "it cannot say who has an address",
        "fake/r": "it cannot say who has an address",
    }


def test_accounting_tells_by_open_sessions() -> None:
    connector = RadiusConnector.__new__(RadiusConnector)
    connector._nas = {}
    assert connector.holders_at("radius/main", IP) == address("radius/main", RadiusResource.HOLDERS, IP)
    sessions = [OpenSession(f"u{n}", "s", f"user{n}", "10.0.0.2", IP, "", "", "", 5) for n in (1, 2)]
    denied = {DENIED: "9"}  # a ghost
    value = sessions_value(sessions, lambda session: denied if session.login == "user2" else {})
    assert connector.holders_of("radius/main", IP, value) == [
        AddressHolder("user1", "a session on 10.0.0.2, by accounting")
    ]
    assert connector.holders_of("radius/main", IP, ABSENT) == []


@pytest.mark.parametrize(
    ("ip", "where", "logins"),
    [
        (IP, "ip/held/all", ["amina.h"]),
        ("2001:db8:7::1", "ipv6/held/all", ["0001:aa"]),
        ("10.9.9.9", "ip/held/all", []),
    ],
)
def test_a_router_tells_by_sessions_leases_and_bindings(ip: str, where: str, logins: list[str]) -> None:
    connector = RouterosConnector.__new__(RouterosConnector)
    assert connector.holders_at("routeros/edge-1", ip) == f"routeros/edge-1/{where}"
    held = {IP: "PPP session of amina.h", "2001:db8:7::/56": "DHCPv6 binding of 0001:aa", "no address": "x of y"}
    found = connector.holders_of("routeros/edge-1", ip, held)
    assert [one.login for one in found] == logins
    assert all(one.told.endswith(" on edge-1") for one in found)
