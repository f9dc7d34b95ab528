"""Reading a CPE for people: its vocabulary, a path, all; and what cannot be read is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.connectors.base import Session, UnreadableError
from agent.connectors.cwmp.refresh_session import ALL, refresh
from agent.cpe_model import limits
from agent.cpe_model.known import CachedParameter, Pending
from agent.cpe_model.vocabulary import Unsafe
from lab.cpe.quirks import Quirks
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181
from tests.builders.acs import KEY, SSID, AcsRig, acs_rig, opened


async def look(rig: AcsRig, *wanted: str) -> tuple[str, ...]:
    return await refresh(rig.line, await rig.line.wait(), wanted)


def named(rig: AcsRig) -> dict[str, str | None]:
    profile = rig.line.bound()
    return {name: k.value for path, k in rig.known_values().items() if (name := profile.name_of(path)) is not None}


@pytest.mark.parametrize("model", [tr181(), tr098()], ids=["tr181", "tr098"])
async def test_the_vocabulary_is_what_the_cpe_has_of_it(tmp_path: Path, model: object) -> None:
    async with acs_rig(tmp_path, model=model) as rig:
        assert await look(rig) == ()
        known = named(rig)
        assert known["wifi.1.ssid"] == "home"
        assert known["wifi.1.key"] is None
        assert known["hosts.1.name"] == "tv"
        assert known["software"] == "1.0.0"
        faults = [done for done in rig.cpe.executed() if done.fault]
        assert faults == []  # nothing is asked for that it does not have
        assert [done.names for done in rig.cpe.executed("GetParameterNames")] == [(rig.model.prefix,)]


async def test_a_model_not_asked_for_names_is_asked_each_parameter(
    rig: AcsRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsafe = (Unsafe("GetParameterNames", "Device.", "it boots"),)
    profile = replace(rig.line.profile(), unsafe=unsafe)
    monkeypatch.setattr(rig.line, "profile", lambda: profile)
    assert await look(rig) == ()
    asked = {name for done in rig.cpe.executed("GetParameterNames") for name in done.names}
    assert "Device." not in asked
    assert "Device.WiFi." in asked  # what its networks are found by
    assert named(rig)["wifi.1.ssid"] == "home"


async def test_one_parameter_that_is_refused_hides_no_other(tmp_path: Path) -> None:
    quirks = Quirks(fails_on=("GetParameterValues:Device.WiFi.SSID.1.BSSID", "GetParameterValues:Device.Hosts."))
    async with acs_rig(tmp_path, quirks=quirks) as rig:
        problems = await look(rig)
        assert [p.partition(":")[0] for p in problems] == ["Device.WiFi.SSID.1.BSSID", "Device.Hosts.Host."]
        assert named(rig)["wifi.1.ssid"] == "home"
        assert "wifi.1.clients.1.mac" in named(rig)


async def test_a_path_is_read_whole_and_what_is_gone_is_forgotten(rig: AcsRig) -> None:
    gone = "Device.WiFi.SSID.9.SSID"
    await rig.book.cpes.learned(
        rig.name(), {gone: CachedParameter("x", "string", 1), "Device.A.B": CachedParameter("y", "string", 1)}
    )
    assert await look(rig, "Device.WiFi.") == ()
    known = rig.known_values()
    assert known[SSID].value == "home"
    assert known[KEY].value is None
    assert gone not in known
    assert "Device.A.B" in known
    assert await look(rig, "Device.A.") == ()  # it has no such object
    assert "Device.A.B" not in rig.known_values()


async def test_names_and_paths_together(rig: AcsRig) -> None:
    assert await look(rig, "wifi.1.channel", "hosts", SSID) == ()
    assert named(rig)["wifi.1.channel"] == "6"
    assert named(rig)["hosts.4.name"] == "printer"


async def test_all_is_everything(rig: AcsRig) -> None:
    assert await look(rig, ALL) == ()
    assert set(rig.known_values()) == set(rig.cpe.device.tree.parameters("Device."))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (("Device.NoSuch.Name",), "the CPE has no such parameter"),
        (("Device.Hosts.", "wifi.1.ssid"), "Device.Hosts.: 9002"),
        (("Device.not a path",), "the CPE has no such parameter"),
    ],
)
async def test_what_cannot_be_read_is_said_and_the_rest_is_read(
    tmp_path: Path, wanted: Sequence[str], says: str
) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("GetParameterValues:Device.Hosts.",))) as rig:
        [problem] = await look(rig, *wanted)
        assert says in problem
        assert ("wifi.1.ssid" in wanted) == (SSID in rig.known_values())


async def test_what_is_unsafe_is_said(rig: AcsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = replace(rig.line.profile(), unsafe=(Unsafe("GetParameterValues", "Device.Hosts.", "it boots"),))
    monkeypatch.setattr(rig.line, "profile", lambda: profile)
    [problem] = await look(rig, ALL)
    assert problem == "Device. is not read of this model: it boots"
    assert await look(rig) == ()  # the table of hosts itself is not said to be unsafe


async def test_a_name_that_nobody_knows_is_refused(rig: AcsRig) -> None:
    with pytest.raises(UnreadableError, match=r"near: wifi\.1\.ssid") as caught:
        await look(rig, "wifi.1.sid")
    assert caught.value.reason == "unknown-parameter"


@pytest.mark.parametrize(
    ("cut", "wanted"),
    [
        ("GetParameterNames", ()),
        ("GetParameterValues:Device.WiFi.SSID.1.SSID", ()),
        ("GetParameterValues:Device.Hosts.", ()),
        ("GetParameterValues:Device.Hosts.", ("hosts", "wifi.1.ssid")),
    ],
)
async def test_a_cpe_that_hangs_up_ends_the_look(tmp_path: Path, cut: str, wanted: Sequence[str]) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(cut_on=(cut,))) as rig:
        rig.cpe.device.add_event("2 PERIODIC")
        with pytest.raises(UnreadableError) as caught:
            await look(rig, *wanted)
        assert caught.value.reason == "session-ended"


async def test_cpe_that_hangs_up_between_two_parameters_ends_look(rig: AcsRig) -> None:
    real, reads = rig.line.values, 0

    async def values(call: object, paths: Sequence[str]) -> object:
        nonlocal reads
        reads += 1
        fails = Quirks(fails_on=("GetParameterValues:Device.WiFi.SSID.1.BSSID",))
        rig.cpe.device.quirks = fails if reads < 4 else Quirks(cut_on=("GetParameterValues",))
        return await real(call, paths)  # type: ignore[arg-type]  # passed on

    rig.line.values = values  # type: ignore[assignment,method-assign]  # to count
    rig.cpe.device.add_event("2 PERIODIC")
    with pytest.raises(UnreadableError) as caught:
        await look(rig)
    assert caught.value.reason == "session-ended"
    assert reads == 4


async def test_a_look_finds_out_what_became_of_a_secret_in_doubt(rig: AcsRig) -> None:
    await look(rig, KEY)
    await rig.keep({"old": "the old passphrase", "new": "the new passphrase"})
    await rig.book.cpes.setting(rig.name(), Pending("f00d", {KEY: rig.commits["new"]}))
    await look(rig, SSID)
    assert rig.book.cpes.secrets_set(rig.name())[KEY] == rig.commits["old"]
    rig.cpe.device.put("Device.ManagementServer.ParameterKey", "f00d")  # it took it, and the answer was lost
    await look(rig, SSID)
    assert rig.book.cpes.secrets_set(rig.name())[KEY] == rig.commits["new"]
    assert rig.book.cpes.pending(rig.name()) == []


async def test_a_too_large_tree_says_so_and_does_not_count_as_read(
    rig: AcsRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VALUES", 60)
    (problem,) = await look(rig, ALL)
    assert "of which the first 60 are kept" in problem
    assert rig.book.cpes.read_whole_s(rig.name(), "Device.") == 0
    monkeypatch.undo()
    assert await look(rig, ALL) == ()
    assert rig.book.cpes.read_whole_s(rig.name(), SSID) > 0


async def test_that_a_cpe_has_no_such_table_counts_as_read(rig: AcsRig) -> None:
    await look(rig, "Device.No.Such.Table.")
    assert rig.book.cpes.read_whole_s(rig.name(), "Device.No.Such.Table.") > 0
    assert rig.book.cpes.read_whole_s(rig.name(), "Device.") == 0


async def test_a_secret_in_doubt_hides_nothing_else(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=(f"GetParameterValues:{KEY}",))) as rig:
        await rig.keep({"old": "the old passphrase", "new": "the new passphrase"})
        await rig.book.cpes.setting(rig.name(), Pending("f00d", {KEY: rig.commits["new"]}))
        (problem,) = await look(rig, SSID)
        assert problem.startswith(f"{KEY}: 9002")
        assert rig.known_values()[SSID].value == "home"
        assert rig.book.cpes.secrets_set(rig.name())[KEY] == rig.commits["old"]


@asynccontextmanager
async def called_in(rig: AcsRig) -> AsyncIterator[None]:
    """Run the rig's ACS for the block, once its CPE has had its first session."""

    async def nobody(_: Session) -> None:
        pass

    async with trio.open_nursery() as nursery:
        rig.nursery = nursery
        nursery.start_soon(rig.connector.serve, nobody)
        await rig.connector.port.wait()
        await rig.plug_in()
        with trio.fail_after(60):
            await rig.cpe.wait_sessions(1)
        yield
        nursery.cancel_scope.cancel()


async def test_a_cpe_that_calls_in_is_read_for_its_history(tmp_path: Path) -> None:
    """B13: after all other work, in a request or two, as often as configured; nothing is asked of one that is away."""
    uptime, optical = "Device.DeviceInfo.UpTime", "Device.Optical.Interface.1.OpticalSignalLevel"
    with opened(tmp_path) as book:
        rig = AcsRig(book, history_s=600)
        await rig.known()
        await book.cpes.learned(rig.name(), {optical: CachedParameter("-20000", "int", 1)})

        async with called_in(rig):
            asked = len(rig.cpe.executed("GetParameterValues"))
            assert 1 <= asked <= 2
            assert book.cpes.samples(rig.name(), uptime)
            assert [value for _, value in book.cpes.samples(rig.name(), optical)] == ["-20000", "-19250"]
            await rig.cpe.call_in("2 PERIODIC")
            assert len(rig.cpe.executed("GetParameterValues")) == asked, "not before its time"
            rig.connector.fleet._sampled[rig.name()] -= 600
            await rig.cpe.call_in("2 PERIODIC")
            assert len(rig.cpe.executed("GetParameterValues")) > asked


async def test_nothing_is_read_for_a_history_that_nobody_asked_for(tmp_path: Path) -> None:
    """B13."""
    with opened(tmp_path) as book:
        rig = AcsRig(book)
        await rig.known()

        async with called_in(rig):
            assert rig.cpe.executed("GetParameterValues") == []
