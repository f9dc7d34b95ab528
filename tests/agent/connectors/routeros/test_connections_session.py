"""Reads of a lab router's connection table: what is asked, what is read whole, and what it costs the router."""

from __future__ import annotations

from typing import cast

import pytest

from agent.connectors.routeros.addresses import RouterResource
from agent.connectors.routeros.api_session import RouterAnswer, RouterApi
from agent.connectors.routeros.connections_session import Connections
from agent.connectors.routeros.errors import TrapError
from agent.connectors.routeros.live_sessions import RUNNING
from lab.router.device import Router
from lab.tests.router.routers import bench, logged_in

TABLE, TABLE6 = "/ip/firewall/connection", "/ipv6/firewall/connection"
FLOWS, FLOWS6 = RUNNING[RouterResource.FLOWS], RUNNING[RouterResource.FLOWS6]
MINE, KEY = "100.64.12.9", "tcp 100.64.12.9:50000 203.0.113.80:443"


class LabApi:
    """An API session of the lab's router, as the agent calls one. `tracked`: its own connection is in the table."""

    def __init__(self, version: str = "7.20.8", *, tracked: bool = True) -> None:
        self.router: Router = bench(version).router
        self._client = logged_in(self.router)
        self.asked: list[tuple[str, ...]] = []
        if tracked:
            self.router.flows.own("127.0.0.1", 40_000, "10.0.0.1", 8729)

    async def call(self, *words: str, timeout_s: float) -> RouterAnswer:
        assert timeout_s == 3.0
        self.asked.append(words)
        sentences = self._client.ask(*words)
        traps = [s for s in sentences if s[0] == "!trap"]
        if traps:
            raise TrapError(str(traps[0]))
        rows = [dict(w[1:].partition("=")[::2] for w in s[1:]) for s in sentences if s[0] == "!re"]
        done = {k: v for s in sentences if s[0] == "!done" for k, _, v in (w[1:].partition("=") for w in s[1:])}
        return RouterAnswer(tuple(rows), done)

    def open(self, source: str = f"{MINE}:50000", to: str = "203.0.113.80:443", *, fast: bool = True) -> str:
        ends = {"protocol": "tcp", "src_address": source, "dst_address": to}
        return self.router.add(TABLE, **ends, fasttrack=str(fast).lower())

    @property
    def as_api(self) -> RouterApi:
        return cast("RouterApi", self)

    def walks(self) -> int:
        return self.router.store.walks[TABLE]


@pytest.mark.assumed("routeros-ends-as-texts", "routeros-fasttrack-shown", "routeros-own-connections-listed")
@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8"])
async def test_a_few_rows_of_many_in_one_walk(version: str) -> None:
    api, connections = LabApi(version), Connections(3.0)
    api.open()
    api.open(to="203.0.113.80:80", fast=False)
    for n in range(500):
        api.open(f"100.64.13.{n % 250}:{n}")
    api.router.told_bytes.clear()
    found = await connections.of(api.as_api, FLOWS, [MINE, "100.64.99.1"])
    assert {key: row["fasttrack"] for key, row in found[MINE].items()} == {
        KEY: "true",
        "tcp 100.64.12.9:50000 203.0.113.80:80": "false",
    }
    assert (found["100.64.99.1"], connections.whole, api.walks()) == ({}, "", 1)
    assert api.router.told_bytes[f"{TABLE}/print"] < 1000


@pytest.mark.assumed("routeros-ends-as-texts", "routeros-own-connections-listed")
async def test_rows_that_were_found_are_asked_for_by_their_ids() -> None:
    api, connections = LabApi(), Connections(3.0)
    row_id = api.open()
    await connections.of(api.as_api, FLOWS, [MINE])
    (row,) = await connections.rows(api.as_api, FLOWS, [KEY])
    assert (row[".id"], api.walks()) == (row_id, 1)
    api.router.remove(TABLE, row_id)
    assert await connections.rows(api.as_api, FLOWS, [KEY]) == []
    assert api.walks() == 1


async def test_P3_an_id_that_another_connection_has_now_is_not_taken() -> None:
    api, connections = LabApi(), Connections(3.0)
    row_id = api.open()
    await connections.of(api.as_api, FLOWS, [MINE])
    row = api.router.store.table(TABLE).get(row_id)
    assert row is not None
    row.props["src-address"] = "100.64.12.10:50000"
    assert await connections.rows(api.as_api, FLOWS, [KEY]) == []


@pytest.mark.assumed("routeros-ends-as-texts", "routeros-own-connections-listed")
async def test_what_an_earlier_life_found_is_asked_for_by_its_ends() -> None:
    api = LabApi()
    row_id = api.open()
    (row,) = await Connections(3.0).rows(api.as_api, FLOWS, [KEY])
    assert row[".id"] == row_id
    assert not any(words == (f"{TABLE}/print", words[1]) for words in api.asked)


@pytest.mark.parametrize("tracked", [True, False])
async def test_a_router_that_hides_its_api_session_is_read_whole(tracked: bool) -> None:
    """Else an answer without rows would be taken for a table without them."""
    api, connections = LabApi(tracked=tracked), Connections(3.0)
    if tracked:  # but no API client that it tells of has that connection
        api.router.store.table("/user/active")
        for row in list(api.router.store.table("/user/active")):
            row.props["address"] = "10.9.9.9"
    api.open()
    found = await connections.of(api.as_api, FLOWS, [MINE])
    assert list(found[MINE]) == [KEY]
    assert "own API's connection" in connections.whole


@pytest.mark.assumed("routeros-ends-as-texts", "routeros-ipv6-ends-short")
@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8"])
async def test_e1_ipv6_is_asked_for_by_prefix(version: str) -> None:
    """One walk of the router; and three before the first of them, that count whether it compares ends as texts."""
    api, connections = LabApi(version), Connections(3.0)
    for n in range(500):
        ends = {"src_address": f"[2001:db8:{n + 1:x}::5]:1", "dst_address": "[2001:db8:f000::1]:443"}
        api.router.add(TABLE6, protocol="tcp", **ends)
    assert await connections.of(api.as_api, FLOWS6, ["2001:db8:9999::/56"]) == {"2001:db8:9999::/56": {}}
    walked = api.router.store.walks[TABLE6]
    assert walked == 4
    api.router.told_bytes.clear()
    found = await connections.of(api.as_api, FLOWS6, ["2001:db8:7::/56", "2001:db8:8::5"])
    assert list(found["2001:db8:7::/56"]) == ["tcp 2001:db8:7::5:1 2001:db8:f000::1:443"]
    assert list(found["2001:db8:8::5"]) == ["tcp 2001:db8:8::5:1 2001:db8:f000::1:443"]
    assert (connections.whole, api.router.store.walks[TABLE6] - walked) == ("", 1)
    assert api.router.told_bytes[f"{TABLE6}/print"] < 1000
    assert not any(words[0] == f"{TABLE6}/print" and len(words) < 3 for words in api.asked)


@pytest.mark.assumed("routeros-ends-as-texts")
async def test_an_empty_ipv6_table_proves_nothing_of_how_it_is_asked() -> None:
    api, connections = LabApi(), Connections(3.0)
    assert await connections.of(api.as_api, FLOWS6, ["2001:db8::/64"]) == {"2001:db8::/64": {}}
    api.router.add(TABLE6, protocol="tcp", src_address="[2001:db8::5]:1", dst_address="[2001:db8:f::1]:443")
    found = await connections.of(api.as_api, FLOWS6, ["2001:db8::/64"])
    assert (len(found["2001:db8::/64"]), connections.whole) == (1, "")


class OddApi(LabApi):
    """Calls an end neither less nor greater than a text, or always so; or cannot count."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    async def call(self, *words: str, timeout_s: float) -> RouterAnswer:
        if words[0].startswith(TABLE6) and self.how != "no-count":
            sure = "?protocol=tcp" if self.how == "always" else "?protocol=none"
            words = tuple(sure if word.startswith(("?<", "?>")) else word for word in words)
        answer = await super().call(*words, timeout_s=timeout_s)
        return RouterAnswer(answer.rows, {}) if self.how == "no-count" else answer


@pytest.mark.parametrize("how", ["never", "always", "no-count"])
async def test_a_router_without_text_order_of_ipv6_ends_is_read_whole(how: str) -> None:
    api, connections = OddApi(how), Connections(3.0)
    api.router.add(TABLE6, protocol="tcp", src_address="[2001:db8::5]:1", dst_address="[2001:db8:f::1]:443")
    found = await connections.of(api.as_api, FLOWS6, ["2001:db8::/64"])
    assert list(found["2001:db8::/64"]) == ["tcp 2001:db8::5:1 2001:db8:f::1:443"]
    assert "cannot be asked for by address" in connections.whole


async def test_a_network_that_is_too_large_is_read_whole() -> None:
    api = LabApi()
    for flows, place in ((FLOWS, "10.0.0.0/7"), (FLOWS6, "2001:d00::/24")):
        connections = Connections(3.0)
        await connections.of(api.as_api, flows, [place])
        assert "so large a network" in connections.whole


async def test_nobody_is_asked_about_no_address() -> None:
    api, connections = LabApi(), Connections(3.0)
    assert await connections.of(api.as_api, FLOWS, []) == {}
    assert api.asked == []


@pytest.mark.assumed("routeros-ends-as-texts", "routeros-own-connections-listed")
async def test_many_addresses_in_a_few_walks() -> None:
    api, connections = LabApi(), Connections(3.0)
    places = [f"100.64.{n}.1" for n in range(70)]
    for place in places:
        api.open(f"{place}:50000")
    found = await connections.of(api.as_api, FLOWS, places)
    assert all(len(rows) == 1 for rows in found.values())
    assert api.walks() == 3


async def test_what_is_open_to_router_itself_is_no_connection_of_rule() -> None:
    api = LabApi()
    api.router.add("/ip/address", address="100.64.0.1/24", interface="ether2")
    ends = {"address": "10.1.1.1/32", "network": MINE, "interface": "ether3"}
    api.router.store.add("/ip/address", ends, dynamic=True)
    api.open()
    for own in ("100.64.0.1", "10.1.1.1"):
        api.open(to=f"{own}:8080", fast=False)
    assert list((await Connections(3.0).of(api.as_api, FLOWS, [MINE]))[MINE]) == [KEY]
