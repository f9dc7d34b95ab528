"""The connector over the lab's devices: polls, reports, questions by hand, and silence that is not "down"."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from agent.connectors.base import AnswerRow, DeviceState, Question, UnreadableError
from agent.connectors.snmp import device_session, explore_session, profile_reading
from agent.connectors.snmp.client_session import SnmpClient
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.connectors.snmp.errors import AgentFaultError, SilentError
from agent.connectors.snmp.limits import SnmpLimits
from agent.connectors.snmp.values import Oid, Value, oid
from agent.line_model.reading import DeviceReading, LinkState
from agent.model import Target
from agent.reasons import TargetReason
from agent.runtime.clock import SystemClock
from lab.snmp import values as lab_values
from lab.snmp.device import Device
from lab.snmp.server import Layout, SnmpLab, open_snmp_lab
from lab.tests.snmp.devices import IF, SYS, switch
from tests.agent.connectors.snmp.net_snmp import SECRETS, asked, secret
from tests.builders.web import QuickClock

ACCESSES = {name: SnmpAccess(name, SnmpVersion.V2C, name) for name in ("one", "two", "wrong")}


@asynccontextmanager
async def lab_of(*devices: Device) -> AsyncIterator[SnmpLab]:
    async with open_snmp_lab(devices, layout=Layout.SHARED) as lab:
        yield lab


def device(name: str, lab: SnmpLab, access: str, **more: object) -> SnmpDevice:
    given: dict[str, object] = {"timeout_s": 0.2, "retries": 1, **more}
    return SnmpDevice(name, lab.address, lab.port, ACCESSES[access], **given)  # type: ignore[arg-type]  # of the test


def connector(
    *devices: SnmpDevice, own: Mapping[str, str] | None = None, extra: SnmpAccess | None = None
) -> SnmpConnector:
    accesses = (*ACCESSES.values(), *([extra] if extra is not None else []))
    return SnmpConnector(SnmpConfig(devices, accesses, own or {}), secret, SystemClock())


@pytest.fixture
async def lab() -> AsyncIterator[SnmpLab]:
    async with lab_of(switch("sw-1")) as made:
        yield made


async def test_a_device_is_polled_and_reported(lab: SnmpLab) -> None:
    made = connector(device("hill", lab, "one"))
    (before,) = made.reports()
    assert (before.state, before.address) == (DeviceState.NOT_ASKED, f"127.0.0.1:{lab.port}")
    reading = await made.poll(made.targets[0])
    assert (reading.target, reading.identity, reading.profile) == ("snmp/hill", "sw-1", "standard")
    assert {part.name: part.state for part in reading.parts} == {f"ge-{n}": LinkState.UP for n in range(1, 5)}
    assert reading.every_s == made.poll_every_s("snmp/hill") == 300
    (report,) = made.reports()
    assert (report.state, report.identity, report.read_s) == (DeviceState.REACHABLE, "sw-1", reading.read_s)
    assert report.facts["parts"] == "4 ports (4 up)"
    assert [str(f.code) for f in report.findings] == ["no-profile"]
    lab["sw-1"].set_link("ge-2", False)
    found = await made.probe("snmp/hill")
    assert found.facts["parts"] == "4 ports (3 up)"
    assert list(await made.neighbors("snmp/hill")) == []


async def test_silence_is_unreachable_or_a_wrong_secret(lab: SnmpLab) -> None:
    made = connector(device("hill", lab, "one"), device("valley", lab, "wrong"))
    with pytest.raises(UnreadableError, match="unreachable, or wrong secret") as caught:
        await made.poll(made.targets[1])
    assert caught.value.reason is TargetReason.UNREACHABLE
    (_, report) = made.reports()
    assert report.state is DeviceState.UNREACHABLE
    assert "unreachable, or wrong secret" in report.problem
    await made.poll(made.targets[0])
    lab["sw-1"].stay_dark(1000)
    found = await made.probe("snmp/hill")
    assert (found.state, found.identity) == (DeviceState.UNREACHABLE, "sw-1"), "what was read is still known"


async def test_a_credential_is_tried_on_one_of_its_devices(lab: SnmpLab) -> None:
    made = connector(device("hill", lab, "one"), device("ridge", lab, "wrong"), device("valley", lab, "one"))
    shared = {one.name: one for one in made.credentials}
    assert list(shared["one"].targets) == ["snmp/hill", "snmp/valley"]
    assert (shared["one"].secrets, list(shared["two"].targets)) == (frozenset({"one"}), [])
    await made.greet("snmp/hill")
    with pytest.raises(UnreadableError, match="unreachable, or wrong secret"):
        await made.greet("snmp/ridge")


async def test_a_secret_that_is_not_set(lab: SnmpLab) -> None:
    access = SnmpAccess("gone", SnmpVersion.V2C, "nothing")
    made = connector(SnmpDevice("hill", lab.address, lab.port, access))
    assert (await made.probe("snmp/hill")).problem == "the secret nothing is not set"
    with pytest.raises(UnreadableError, match="no target snmp/x"):
        await made.probe("snmp/x")


async def test_a_changed_secret_takes_effect_at_the_next_poll(lab: SnmpLab, monkeypatch: pytest.MonkeyPatch) -> None:
    made = connector(device("hill", lab, "wrong"))
    assert (await made.probe("snmp/hill")).state is DeviceState.UNREACHABLE
    monkeypatch.setitem(SECRETS, "wrong", b"sw-1")
    assert (await made.probe("snmp/hill")).state is DeviceState.REACHABLE


async def test_another_device_at_the_address_is_not_read(lab: SnmpLab) -> None:
    made = connector(device("hill", lab, "one", sys_name="sw-9"))
    with pytest.raises(UnreadableError, match=r"expected the device 'sw-9' at .*, got 'sw-1'") as caught:
        await made.poll(made.targets[0])
    assert caught.value.reason is TargetReason.REFUSED
    assert made.reports()[0].state is DeviceState.REFUSED


async def test_renamed_replaced_and_doubled_devices_are_named() -> None:
    async with lab_of(switch("sw-1"), switch("sw-2")) as lab:
        made = connector(device("hill", lab, "one"), device("valley", lab, "two"))
        for target in made.targets:
            await made.poll(target)
        lab["sw-1"].put(f"{SYS}.5.0", lab_values.string("sw-2"))
        lab["sw-1"].put(f"{SYS}.2.0", lab_values.oid("1.3.6.1.4.1.9.1.1"))
        await made.poll(made.targets[0])
        hill, valley = made.reports()
        assert {"duplicate-sysname", "renamed"} <= {str(f.code) for f in hill.findings}
        assert next(f.text for f in valley.findings if f.code == "duplicate-sysname") == "hill: called sw-2 too"


async def test_one_broken_scalar_costs_the_reading_only_that(lab: SnmpLab) -> None:
    contact = f"{SYS}.4.0"
    lab["sw-1"].put(contact, lab_values.string("noc"))
    text = f'title = "Mine"\nextends = ["standard"]\n[device]\nversion = {{ oid = "{contact}" }}\n'
    made = connector(device("hill", lab, "one", profile="mine"), own={"mine": text})
    assert (await made.poll(made.targets[0])).version
    lab["sw-1"].faults.broken_below = contact
    for _ in range(2):
        reading = await made.poll(made.targets[0])
        assert (reading.identity, reading.version, len(reading.parts)) == ("sw-1", "", 4)
        assert list(reading.not_read) == [f"{contact}: the device answered genErr for {contact}"]
    lab["sw-1"].faults.broken_below = f"{SYS}.5.0"
    with pytest.raises(UnreadableError, match=r"the device answered genErr for 1\.3\.6\.1\.2\.1\.1\.5\.0"):
        await made.poll(made.targets[0])


HANGING = """
title = "Hangs"
extends = ["standard"]
[table.silent]
kind = "sensor"
index = ["n"]
key = "value/{n}"
values = { quantity = "value", label = "{n}", value = { column = "1.3.6.1.4.1.99999.1" } }
[table.looping]
kind = "sensor"
index = ["n"]
key = "load/{n}"
values = { quantity = "load", label = "{n}", value = { column = "1.3.6.1.4.1.99999.2" } }
"""


async def test_a_table_that_hangs_is_left_out_and_asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, hanging = QuickClock(1_790_000_000.0), oid("1.3.6.1.4.1.99999.1")
    answers = False
    real, asked_for = SnmpClient.table, []

    async def table(self: SnmpClient, columns: Sequence[Oid]) -> Mapping[Oid, Mapping[bytes, Value]]:
        asked_for.append(columns[0])
        if columns[0] == hanging and not answers:
            raise SilentError("no answer")
        if columns[0] == oid("1.3.6.1.4.1.99999.2"):
            raise AgentFaultError("it loops")
        return await real(self, columns)

    monkeypatch.setattr(SnmpClient, "table", table)
    async with lab_of(switch("sw-1")) as lab:
        config = SnmpConfig(
            (device("hill", lab, "one", profile="hangs"),), tuple(ACCESSES.values()), {"hangs": HANGING}
        )
        made = SnmpConnector(config, secret, clock)
        reading = await made.poll(made.targets[0])
        assert len(reading.parts) == 4
        since = "not read since 2026-09-21 14:13 UTC"
        assert [why.partition(": ")[2][:58] for why in reading.not_read] == [
            f"{since}: the device answers ot",
            "it loops",
        ]
        assert "not-all-read" in {str(f.code) for f in made.reports()[0].findings}
        clock.now_s += 59
        assert (await made.poll(made.targets[0])).not_read[0].endswith(f"{since}; it is asked every 1m")
        assert asked_for.count(hanging) == 1
        for times, wait_s in ((2, 1), (3, 120), (4, 240)):
            clock.now_s += wait_s
            assert since in (await made.poll(made.targets[0])).not_read[0]
            clock.now_s += 60
            await made.poll(made.targets[0])
            assert asked_for.count(hanging) == times
        for _ in range(9):
            clock.now_s += 3600
            await made.poll(made.targets[0])
        assert asked_for.count(hanging) == 13, "at least once an hour"
        clock.now_s -= 86_400
        answers = True
        assert [why[:35] for why in (await made.poll(made.targets[0])).not_read] == [
            "the table of 1.3.6.1.4.1.99999.2: i"
        ]


async def test_get_and_walk_by_hand(lab: SnmpLab) -> None:
    made = connector(device("hill", lab, "one"))
    rows = await asked(made, "get", "hill", f"{SYS}.5.0", f"{SYS}.99.0")
    assert rows == [
        {"oid": f"{SYS}.5.0", "type": "STRING", "value": "sw-1"},
        {"oid": f"{SYS}.99.0", "type": "noSuchObject", "value": ""},
    ]
    rows = await asked(made, "walk", "snmp/hill", f"{IF}.2")
    assert [row.get("value") for row in rows] == ["port 1", "port 2", "port 3", "port 4", None]
    assert rows[-1] == {"count": 4}
    rows = await asked(made, "poll", "hill")
    assert [row["key"] for row in rows if row.get("what") == "port"] == [f"port/ge-{n}" for n in range(1, 5)]
    (listed,) = await asked(made, "list")
    assert (listed["name"], listed["credential"], listed["sys_name"]) == ("hill", "one", "sw-1")


async def test_a_poll_by_hand_tells_early_that_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore_session, "PROGRESS_S", 0.05)
    monkeypatch.setattr(explore_session, "UNANSWERED_S", 0.3)
    rows: list[AnswerRow] = []

    async def tell(row: AnswerRow) -> None:
        await trio.lowlevel.checkpoint()
        rows.append(row)

    async with lab_of(switch("sw-1")) as lab:
        made = connector(device("hill", lab, "wrong", timeout_s=0.2, retries=500), device("ridge", lab, "one"))
        with (
            trio.fail_after(60),
            pytest.raises(UnreadableError, match=r"no answer in \d s: unreachable, or wrong secret"),
        ):
            await made.explore(Question("poll", "hill"), tell)
        assert rows[0]["text"] == "no answer yet: unreachable, or wrong secret"
        line = made._lines["snmp/ridge"]

        async def table(self: SnmpClient, columns: Sequence[Oid]) -> Mapping[Oid, Mapping[bytes, Value]]:
            await trio.sleep_forever()
            raise AssertionError

        monkeypatch.setattr(SnmpClient, "table", table)
        monkeypatch.setattr(explore_session, "POLL_S", 1.0)
        rows.clear()
        with trio.fail_after(60), pytest.raises(UnreadableError, match="expected a whole reading in 1 s"):
            await made.explore(Question("poll", "ridge"), tell)
        assert str(rows[-1]["text"]) == f"{line.octets} octets were read"


@pytest.mark.parametrize(
    ("verb", "target", "words", "said"),
    [
        ("get", "nowhere", (SYS,), "there is no device 'nowhere'; configured: hill"),
        ("get", "hill", (), "expected 1 to 1000 OIDs, got 0"),
        ("get", "hill", ("sysName.0",), "expected an OID such as 1.3.6.1.2.1.1.5.0, got 'sysName.0'"),
        ("walk", "hill", (SYS, IF), "expected one OID to walk below, got 2"),
        ("set", "hill", (), "expected one of discover, get, heard, list, poll, test, walk, got 'set'"),
        ("test", "hill", (), "expected the name of a profile and its text"),
        ("test", "hill", ("mine", "title = 3"), "profile mine.toml"),
        ("discover", "", ("10.0.0.0/8",), "expected prefixes of at most 65,536 addresses together, got 16,777,216"),
    ],
)
async def test_questions_that_make_no_sense(
    lab: SnmpLab, verb: str, target: str, words: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UnreadableError, match=said.replace("(", r"\(")):
        await asked(connector(device("hill", lab, "one")), verb, target, *words)


async def test_a_profile_is_tried_on_a_device() -> None:
    text = 'title = "Mine"\nextends = ["standard"]\n[device]\nhardware = "of the test"\n'
    async with lab_of(switch("sw-1")) as lab:
        rows = await asked(connector(device("hill", lab, "one")), "test", "hill", "mine", text)
        assert (rows[0]["profile"], rows[0]["hardware"]) == ("mine", "of the test")


async def test_a_search_finds_devices_that_are_not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore_session, "SEARCH", SnmpLimits(timeout_s=0.1, retries=0))
    monkeypatch.setattr(explore_session, "PROGRESS_S", 0.0)
    devices = [switch(f"sw-{n}") for n in (1, 2)]
    for one in devices:
        one.community = "sw-1"
    async with open_snmp_lab(devices, layout=Layout.ADDRESSES) as lab:
        (one, port), (two, _) = lab.where("sw-1"), lab.where("sw-2")
        known = SnmpDevice("hill", one, port, ACCESSES["one"])
        made = connector(known)
        prefix = f"{one.rpartition('.')[0]}.0/29"
        rows = await asked(made, "discover", "", prefix, port=str(port), credentials="wrong,one")
        found = [row for row in rows if "address" in row]
        assert [(row["address"], row["credential"], row["sys_name"]) for row in found] == [(two, "one", "sw-2")]
        assert rows[-1] == {"progress": 5, "of": 5, "found": 1}
        for options, said in (
            ({"credentials": "nothing"}, r"there is no \[snmp-credential.nothing\]; configured: one, two, wrong"),
            ({"port": "x"}, "expected a port from 1 to 65535, got 'x'"),
        ):
            with pytest.raises(UnreadableError, match=said):
                await asked(made, "discover", "", prefix, **options)
        made = connector(known, extra=SnmpAccess("gone", SnmpVersion.V2C, "nothing"))
        rows = await asked(made, "discover", "", prefix, port=str(port), credentials="gone,one")
        assert [row["credential"] for row in rows if row.get("sys_name") == "sw-2"] == ["one"]
        with pytest.raises(UnreadableError, match="the secret nothing is not set"):
            await asked(made, "discover", "", prefix, port=str(port), credentials="gone")
        assert (await asked(made, "discover", neighbors="yes"))[-1] == {"progress": 0, "of": 0, "found": 0}


async def test_targets_are_those_of_the_configuration(tmp_path: Path) -> None:
    assert not tmp_path.joinpath("x").exists()
    assert connector().targets == ()
    async with lab_of(switch("sw-1")) as lab:
        made = connector(device("hill", lab, "one", every_s=30.0, profile="interfaces"))
        assert list(made.targets) == [Target("snmp/hill", "snmp")]
        assert made.poll_every_s("snmp/hill") == 30
        assert (await made.poll(made.targets[0])).profile == "interfaces"


@pytest.mark.parametrize(
    ("user", "auth", "priv", "said"),
    [
        ("nobody", "labauthpass", "labprivpass", "the device does not know this user"),
        ("labpriv", "another password", "labprivpass", "wrong secret: auth or auth_secret differs from the device's"),
    ],
)
async def test_version_3_says_what_is_wrong(user: str, auth: str, priv: str, said: str) -> None:
    sha, aes = AuthProtocol.SHA_256, PrivProtocol.AES_128

    def access(name: str) -> SnmpAccess:
        return SnmpAccess("v3", SnmpVersion.V3, "", name, sha, "auth", aes, "priv", "sw-1")

    async with lab_of(switch("sw-1")) as lab:
        for name, secrets, state in (
            ("labpriv", {"auth": b"labauthpass", "priv": b"labprivpass"}, DeviceState.REACHABLE),
            (user, {"auth": auth.encode(), "priv": priv.encode()}, DeviceState.REFUSED),
        ):
            one = SnmpDevice("hill", lab.address, lab.port, access(name), timeout_s=0.5, retries=1)
            made = SnmpConnector(SnmpConfig((one,), (one.access,)), secrets.__getitem__, SystemClock())
            report = await made.probe("snmp/hill")
            assert report.state is state, report.problem
        assert said in report.problem


async def test_a_large_reading_runs_beside_the_loop_or_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[bool] = []
    compute = profile_reading.read

    def watched(*given: object) -> DeviceReading:
        threads.append(threading.current_thread() is threading.main_thread())
        return compute(*given)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(profile_reading, "read", watched)
    async with lab_of(switch("sw-1")) as lab:
        made = connector(device("hill", lab, "one"))
        whole = await made.poll(made.targets[0])
        monkeypatch.setattr(device_session, "ASIDE_VALUES", 10)
        again = await made.poll(made.targets[0])
        assert [part.key for part in again.parts] == [part.key for part in whole.parts]
        monkeypatch.setattr(device_session, "READING_OCTETS_MAX", 0)
        cut = await made.poll(made.targets[0])
    assert threads[:2] == [True, False]
    assert any("the answers before it are too large" in why for why in cut.not_read)
