"""What goes wrong around changes on CPE: lost answers, silence, hang-ups, two at once, batches that stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.changes.journal import plans
from agent.changes.journal.item_commands import Lock
from agent.cli.outcome import list_text, outcome_text
from agent.model import Address
from lab.cpe.client import Cpe
from lab.cpe.quirks import Quirks
from lab.cpe.transfers import firmware
from tests.builders.people import plan_of
from tests.e2e import files as e2e_files
from tests.e2e.cpe_site import SSID, WHO, CpeSite, accept, acs_files, acs_site, at_home, device, free_port, name, sent
from tests.e2e.router_site import billing_row, ref
from tests.e2e.site import AgentProgram, ApiRefusedError, Json, Office, started, state_of

FLASH = {"file": "gate-2.0.bin", "version": "2.0.0"}


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one failure stop a batch."""
    monkeypatch.setattr(e2e_files, "DEFAULT_POLICY", {**e2e_files.DEFAULT_POLICY, "stop_failed_percent": 2})


async def plugged(at: CpeSite, *serials: str) -> list[Cpe]:
    cpes = [await at.plug_in(serial) for serial in serials]
    for serial in serials:
        await at.accept(serial, ref(WHO) if serial == serials[0] else "")
    return cpes


def by_cpe(change: Json) -> dict[str, str]:
    """Return the state of each item by the serial number of its CPE."""
    return {serial: change["items"][n]["state"] for n, serial in enumerate(order_of(change))}


def order_of(change: Json) -> list[str]:
    """Return the serial numbers of a change's CPE in the order of its items."""
    shown = [json.loads(text)["display"] for text in change["documents"]]
    return [each["cpe"].rpartition("-")[2] for each in shown if "cpe" in each]


async def waiting(at: CpeSite, change: Json, *people: str) -> None:
    await at.site.approve(change, *(people or ("joseph",)))
    await at.site.wait_for(change, lambda c: all(i["state"] == "waiting" for i in c["items"]))


# --- effects ----------------------------------------------------------------------------------------------------------


async def test_a_cpe_that_boots_slowly_is_not_rebooted_twice(at: CpeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(at.within(), "reboot", 1)
    cpe = await at_home(at, quirks=Quirks(loses_answer_on=("Reboot",)))
    cpe.boot_s = 3.0
    done = await sent(at, cpe, await at.site.ask("cpe-reboot", "LAB0001"))
    assert state_of(done)[0] == "applied"
    assert len(cpe.executed("Reboot")) == 1


async def test_of_a_cpe_that_is_silent_nothing_is_said(at: CpeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(at.within(), "reboot", 1)
    cpe = await at_home(at)
    cpe.boot_s = 3.0
    change = await at.site.ask("cpe-reboot", "LAB0001")
    await waiting(at, change)
    await cpe.call_in("2 PERIODIC")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] in ("running", "unknown"))
    await trio.sleep(1.5)  # longer than a reboot may take: it may have rebooted, and nobody heard
    assert by_cpe(await at.site.show(change))["LAB0001"] in ("running", "unknown")
    assert state_of(await at.site.wait_end(change))[0] == "applied"


async def test_what_cannot_be_taken_back_is_not_asked_to_be(at: CpeSite) -> None:
    await at_home(at)
    with pytest.raises(ApiRefusedError, match="cannot be taken back"):
        await at.site.ask("cpe-firmware", "LAB0001", settings=FLASH, on_failure="revert")


async def test_a_canary_that_proved_nothing_is_followed_by_another(at: CpeSite) -> None:
    serials = ("LAB0001", "LAB0002", "LAB0003")
    cpes = dict(zip(serials, await plugged(at, *serials), strict=True))
    change = await at.site.ask("cpe-firmware", *serials, settings=FLASH)
    first, second, third = order_of(change)
    if first == "LAB0001":  # it is another's since the preview
        await at.site.call("POST", f"/v1/cpes/{name(first)}/decide", {"trust": "", "forget": False, "service": ""})
    else:
        await accept(at.site, name(first), ref(WHO))
    await at.site.approve(change, "joseph", "lena")
    await at.site.wait_for(change, lambda c: by_cpe(c)[first] == "waiting")
    await cpes[first].call_in("2 PERIODIC")
    await at.site.wait_for(change, lambda c: by_cpe(c)[first] == "stale" and by_cpe(c)[second] == "waiting")
    assert by_cpe(await at.site.show(change))[third] == "planned"
    cpes[second].device.quirks = Quirks(firmware="faults")
    await cpes[second].call_in("2 PERIODIC")
    done = await at.site.wait_end(change)
    assert by_cpe(done) == {first: "stale", second: "not-applied", third: "cancelled"}


# --- hang-ups, and two at once ----------------------------------------------------------------------------------------


async def test_dropped_connection_does_not_end_change_that_has_week(at: CpeSite) -> None:
    cpe = await at_home(at)
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "At last"})
    cpe.device.quirks = Quirks(cut_on=("GetParameterValues",))
    await waiting(at, change)
    with trio.move_on_after(2):
        await cpe.call_in("2 PERIODIC")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    cpe.device.quirks = Quirks()
    with trio.fail_after(60):
        while (await at.site.show(change))["items"][0]["state"] == "waiting":
            await cpe.call_in("2 PERIODIC")
    assert state_of(await at.site.wait_end(change)) == ("applied", "read-back")
    assert cpe.device.tree.get(SSID) == "At last"


async def test_the_second_of_two_changes_of_one_parameter_is_stale(at: CpeSite) -> None:
    cpe = await at_home(at)
    first = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "A"})
    second = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "B"})
    for change in (first, second):
        await waiting(at, change)
    await cpe.call_in("2 PERIODIC")
    ended = {state_of(await at.site.wait_end(change)) for change in (first, second)}
    assert ended == {("applied", "read-back"), ("stale", "drifted")}


async def test_a_change_whose_names_stand_elsewhere_by_now_is_stale(at: CpeSite) -> None:
    """The key is that of network 1; its access point comes to belong to network 2 while the change waits."""
    cpe = await at_home(at)
    change = await at.site.ask("cpe-set", ref(WHO), secrets={"wifi.1.key": "correct horse battery"})
    await waiting(at, change)
    tree = cpe.device.tree
    tree._values["Device.WiFi.AccessPoint.1.SSIDReference"] = "Device.WiFi.SSID.2."
    before = tree.get("Device.WiFi.AccessPoint.1.Security.KeyPassphrase")
    await cpe.call_in("2 PERIODIC")
    done = await at.site.wait_end(change)
    assert state_of(done) == ("stale", "stale")
    assert "AccessPoint.1.SSIDReference no longer reads as in the preview" in json.dumps(done)
    assert cpe.executed("SetParameterValues") == []
    assert tree.get("Device.WiFi.AccessPoint.1.Security.KeyPassphrase") == before


async def test_what_waits_holds_no_address(at: CpeSite) -> None:
    cpe = await at_home(at)
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "A"})
    await waiting(at, change)
    await at.site.hand_in(at.site.people.freeze("maria"))
    with trio.move_on_after(2):
        await cpe.call_in("2 PERIODIC")
    cpe.boot_s = 1000.0
    cpe.power_cut()
    store = at.site.daemon.api.parts.store
    with trio.fail_after(60):
        while store.query("SELECT address FROM address_lock"):  # noqa: ASYNC110  what is looked at tells nobody
            await trio.sleep(0.1)
    assert by_cpe(await at.site.show(change)) == {"LAB0001": "waiting"}


async def test_who_waits_for_a_held_cpe_can_be_cancelled(at: CpeSite) -> None:
    cpe = await at_home(at)
    holder = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "A"})
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.channel": "11"})
    held = (Address(f"cwmp/{name('LAB0001')}"),)
    store = at.site.daemon.api.parts.store
    await store.run(Lock(plans.find(store.reader, holder["id"]).plan_id, 1, held))
    await waiting(at, change)
    with trio.move_on_after(2):
        await cpe.call_in("2 PERIODIC")
    assert by_cpe(await at.site.show(change)) == {"LAB0001": "waiting"}
    await at.site.hand_in(at.site.people.cancel(plan_of(change), "maria"), change["id"])
    assert state_of(await at.site.wait_end(change)) == ("cancelled", "cancelled")
    assert cpe.executed("SetParameterValues") == []


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_a_secret_that_the_house_changed_can_be_put_back(at: CpeSite) -> None:
    cpe, key = await at_home(at), "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
    for _ in range(2):
        change = await at.site.ask("cpe-set", ref(WHO), secrets={"wifi.1.key": "as support set it"})
        assert state_of(await sent(at, cpe, change))[0] == "accepted"
        assert cpe.device.tree.get(key) == "as support set it"
        cpe.device.put(key, "as the house set it")


@pytest.mark.parametrize(("kept", "cut"), [(False, False), (False, True), (True, True)])
async def test_a_secret_is_not_applied_only_by_a_key_that_is_kept(at: CpeSite, kept: bool, cut: bool) -> None:
    """Both tries are lost, before the CPE did them or after. An empty ParameterKey does not tell which."""
    cpe, key = await at_home(at), "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
    if kept:
        before = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Kept"})
        assert state_of(await sent(at, cpe, before))[0] == "applied"
    change = await at.site.ask("cpe-set", ref(WHO), secrets={"wifi.1.key": "correct horse battery"})
    lost = ("SetParameterValues",)
    cpe.device.quirks = Quirks(cut_on=lost) if cut else Quirks(loses_answer_on=lost, loses=-1, keyless=True)
    await waiting(at, change)
    with trio.fail_after(60):
        while not (await at.site.show(change))["finished"]:
            await cpe.call_in("2 PERIODIC")
    state, reason = state_of(await at.site.show(change))
    assert (state, reason) == (("not-applied", "lost-session-ended") if kept else ("needs-a-person", "undecided"))
    assert (cpe.device.tree.get(key) == "correct horse battery") is not cut


# --- half of a change -------------------------------------------------------------------------------------------------


async def half_applied(at: CpeSite, cpe: Cpe, on_failure: str) -> Json:
    """Return a change of two steps whose second one the CPE refuses."""
    await at.refresh("LAB0001", "Device.NAT.")
    cpe.device.quirks = Quirks(fails_on=("AddObject",))
    fields = "InternalClient=192.168.1.20,InternalPort=80,Protocol=TCP,Enable=true"
    settings = {"wifi.1.ssid": "Half", "+Device.NAT.PortMapping.[ExternalPort=2222]": fields}
    change = await at.site.ask("cpe-set", ref(WHO), settings=settings, on_failure=on_failure)
    await waiting(at, change)
    await cpe.call_in("2 PERIODIC")
    return change


async def test_the_standing_half_of_a_change_is_taken_back_by_hand(at: CpeSite) -> None:
    cpe = await at_home(at)
    before = cpe.device.tree.get(SSID)
    change = await half_applied(at, cpe, "stop")
    assert state_of(await at.site.wait_end(change))[0] == "needs-a-person"
    assert cpe.device.tree.get(SSID) == "Half"
    asked = len(cpe.executed("DeleteObject"))
    done = await sent(at, cpe, await at.site.ask("revert", change=change["id"]))
    assert state_of(done) == ("applied", "read-back")
    assert (cpe.device.tree.get(SSID), len(cpe.executed("DeleteObject"))) == (before, asked)


async def test_the_standing_half_of_a_change_is_taken_back_by_itself(at: CpeSite) -> None:
    cpe = await at_home(at)
    before = cpe.device.tree.get(SSID)
    change = await half_applied(at, cpe, "revert")
    with trio.fail_after(60):
        while state_of(await at.site.show(change))[0] in ("waiting", "running", "needs-a-person"):
            await cpe.call_in("2 PERIODIC")
    assert state_of(await at.site.wait_end(change)) == ("reverted", "reverted")
    assert cpe.device.tree.get(SSID) == before


async def test_a_self_reverted_part_does_not_keep_the_rest(at: CpeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    cpe = await at_home(at)
    before = cpe.device.tree.get(SSID)
    await at.refresh("LAB0001", "Device.NAT.")
    fields = "InternalClient=192.168.1.20,InternalPort=80,Protocol=TCP,Enable=true"
    rows = {f"+Device.NAT.PortMapping.[ExternalPort={port}]": fields for port in (2222, 2223)}
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Half", **rows}, on_failure="revert")
    await waiting(at, change)

    receive = cpe.device.receive

    def trouble(body: bytes) -> bytes | None:
        """The second AddObject fails; on the way back the row goes, and the SSID does not."""
        fails = ["AddObject"] if cpe.executed("AddObject") else []
        fails += ["SetParameterValues"] if cpe.executed("DeleteObject") else []
        cpe.device.quirks = Quirks(fails_on=tuple(fails))
        return receive(body)

    monkeypatch.setattr(cpe.device, "receive", trouble)
    with trio.fail_after(60):
        while not (await at.site.show(change))["finished"]:
            await cpe.call_in("2 PERIODIC")
    monkeypatch.undo()
    assert state_of(await at.site.show(change))[0] == "needs-a-person"
    assert cpe.device.tree.get(SSID) == "Half"
    cpe.device.quirks = Quirks()
    done = await sent(at, cpe, await at.site.ask("revert", change=change["id"]))
    assert state_of(done) == ("applied", "read-back")
    assert cpe.device.tree.get(SSID) == before


# --- batches ----------------------------------------------------------------------------------------------------------


async def test_a_stop_ends_the_waiting_and_takes_back_what_stands(tmp_path: Path, strict: None) -> None:
    async with acs_site(tmp_path) as at:
        first, second, third = await plugged(at, "LAB0001", "LAB0002", "LAB0003")
        before = first.device.tree.get(SSID)
        serials = ("LAB0001", "LAB0002", "LAB0003")
        change = await at.site.ask("cpe-set", *serials, settings={"wifi.1.ssid": "Z"}, on_failure="revert")
        await waiting(at, change)
        await first.call_in("2 PERIODIC")
        await at.site.wait_for(change, lambda c: by_cpe(c)["LAB0001"] == "applied")
        second.device.quirks = Quirks(fails_on=("SetParameterValues",))
        await second.call_in("2 PERIODIC")
        await at.site.wait_for(change, lambda c: by_cpe(c)["LAB0003"] == "cancelled")
        with trio.fail_after(60):
            while by_cpe(await at.site.show(change))["LAB0001"] == "applied":
                await first.call_in("2 PERIODIC")
        done = await at.site.wait_end(change)
        assert by_cpe(done) == {"LAB0001": "reverted", "LAB0002": "not-applied", "LAB0003": "cancelled"}
        assert (first.device.tree.get(SSID), third.executed("SetParameterValues")) == (before, [])


async def test_a_revert_is_not_given_to_a_cpe_of_somebody_else(tmp_path: Path, strict: None) -> None:
    async with acs_site(tmp_path) as at:
        first, second = await plugged(at, "LAB0001", "LAB0002")
        serials = ("LAB0001", "LAB0002")
        change = await at.site.ask("cpe-set", *serials, settings={"wifi.1.ssid": "Z"}, on_failure="revert")
        await waiting(at, change)
        await first.call_in("2 PERIODIC")
        await at.site.wait_for(change, lambda c: by_cpe(c)["LAB0001"] == "applied")
        second.device.quirks = Quirks(fails_on=("SetParameterValues",))
        decided = {"trust": "", "forget": False, "service": ""}  # it serves nobody any more
        await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/decide", decided)
        await second.call_in("2 PERIODIC")
        await at.site.wait_for(change, lambda c: by_cpe(c)["LAB0002"] == "not-applied")
        with trio.fail_after(60):
            while not (await at.site.show(change))["finished"]:
                await first.call_in("2 PERIODIC")
        assert by_cpe(await at.site.show(change)) == {"LAB0001": "needs-a-person", "LAB0002": "not-applied"}
        assert len(first.executed("SetParameterValues")) == 1


@pytest.mark.slow
async def test_doubt_at_a_restart_is_settled_though_the_batch_stops(tmp_path: Path, strict: None) -> None:
    port = free_port()
    files = acs_files(tmp_path, port=port)
    office, programs = Office(files), [await started(AgentProgram(files))]
    try:
        await office.install()
        async with trio.open_nursery() as nursery:
            cpes: list[Cpe] = []
            for n in (1, 2):
                quirks = Quirks(loses_answer_on=("SetParameterValues",)) if n == 1 else Quirks()
                made = device(f"http://127.0.0.1:{port}/acs", f"LAB000{n}", quirks=quirks)
                cpe = Cpe(made, boot_s=0.0, backoff_scale=1000.0 if n == 1 else 0.01)
                cpes.append(cpe)
                await nursery.start(lambda task_status, cpe=cpe: cpe.run(task_status=task_status))
                await cpe.wait_sessions(1)
                await accept_and_read(office, cpe, f"LAB000{n}")
            change = await office.ask("cpe-set", "LAB0001", "LAB0002", settings={"wifi.1.ssid": "Z"})
            await office.approve(change, "joseph")
            await office.wait_for(change, lambda c: set(by_cpe(c).values()) == {"waiting"})
            with trio.move_on_after(2):
                await cpes[0].call_in("2 PERIODIC")
            await office.wait_for(change, lambda c: by_cpe(c)["LAB0001"] == "unknown")
            await trio.to_thread.run_sync(programs[0].stop)
            programs.append(await started(AgentProgram(files)))
            other = await office.ask("cpe-set", "LAB0001", settings={"wifi.1.ssid": "Other"})
            await office.approve(other, "joseph")
            await office.wait_for(other, lambda c: state_of(c)[0] == "waiting")
            await until_ended(office, change, lambda c: by_cpe(c)["LAB0001"] == "applied", cpes[0])
            assert len(cpes[0].executed("SetParameterValues")) == 1
            await until_ended(office, other, lambda c: state_of(c)[0] == "stale", cpes[0])
            await until_ended(office, change, lambda c: by_cpe(c)["LAB0002"] == "applied", cpes[1])
            assert (await office.show(change))["state"] == "done"
            nursery.cancel_scope.cancel()
    finally:
        for program in programs:
            program.stop()


async def accept_and_read(office: Office, cpe: Cpe, serial: str) -> None:
    await accept(office, name(serial))
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            await office.call("POST", f"/v1/cpes/{name(serial)}/refresh", {"names": ["wifi.1.ssid"], "timeout_s": 60})
            nursery.cancel_scope.cancel()

        nursery.start_soon(look)
        while True:
            await cpe.call_in("2 PERIODIC")
            await trio.sleep(0.05)


async def until_ended(office: Office, change: Json, holds: Callable[[Json], bool], cpe: Cpe) -> None:
    """Return once a change is so, while a CPE calls in."""
    with trio.fail_after(60):
        while not holds(await office.show(change)):
            with trio.move_on_after(20):
                await cpe.call_in("2 PERIODIC")
            await trio.sleep(0.1)


async def test_revert_that_waits_too_long_for_its_device_needs_person(tmp_path: Path, strict: None) -> None:
    async with acs_site(tmp_path) as at:
        first, second = await plugged(at, "LAB0001", "LAB0002")
        settings = {"wifi.1.ssid": "Z"}
        change = await at.site.ask("cpe-set", "LAB0001", "LAB0002", settings=settings, on_failure="revert")
        await waiting(at, change)
        await first.call_in("2 PERIODIC")
        await at.site.wait_for(change, lambda c: by_cpe(c)["LAB0001"] == "applied")
        first.power_cut()
        at.acs.traits = replace(at.acs.traits, reread_s=1.0)
        second.device.quirks = Quirks(fails_on=("SetParameterValues",))
        await second.call_in("2 PERIODIC")
        done = await at.site.wait_end(change)
        assert by_cpe(done) == {"LAB0001": "needs-a-person", "LAB0002": "not-applied"}
        assert "did not call in for 1 s" in done["items"][0]["detail"] + done["items"][1]["detail"]


@pytest.mark.slow
async def test_a_canary_is_still_looked_for_after_a_restart(tmp_path: Path) -> None:
    port, images = free_port(), tmp_path / "images"
    images.mkdir()
    (images / "gate-2.0.bin").write_bytes(firmware("2.0.0"))
    files = acs_files(tmp_path, f'files = "{images}"\n', port=port)
    office, programs = Office(files), [await started(AgentProgram(files))]
    try:
        await office.install()
        async with trio.open_nursery() as nursery:
            cpes: dict[str, Cpe] = {}
            for serial in ("LAB0001", "LAB0002", "LAB0003"):
                cpe = Cpe(device(f"http://127.0.0.1:{port}/acs", serial), boot_s=0.0, backoff_scale=0.01)
                cpes[serial] = cpe
                await nursery.start(lambda task_status, cpe=cpe: cpe.run(task_status=task_status))
                await cpe.wait_sessions(1)
                await accept_and_read(office, cpe, serial)
            change = await office.ask("cpe-firmware", *cpes, settings=FLASH)
            first, second, third = order_of(change)
            await accept(office, name(first), ref(WHO))
            await office.approve(change, "joseph", "lena")
            await until_ended(office, change, lambda c: by_cpe(c)[first] == "stale", cpes[first])
            await office.wait_for(change, lambda c: by_cpe(c)[second] == "waiting")
            await trio.to_thread.run_sync(programs[0].stop)
            programs.append(await started(AgentProgram(files)))
            await trio.sleep(1)
            expected = {first: "stale", second: "waiting", third: "planned"}
            assert by_cpe(await office.show(change)) == expected
            await until_ended(office, change, lambda c: by_cpe(c)[second] == "applied", cpes[second])
            await office.wait_for(change, lambda c: by_cpe(c)[third] == "waiting")
            nursery.cancel_scope.cancel()
    finally:
        for program in programs:
            program.stop()


@pytest.mark.slow
async def test_a_campaign_paused_over_a_restart_goes_on_by_rings(tmp_path: Path) -> None:
    """B12: nothing is sent while it is paused, and the ring that was next is next still."""
    port, images = free_port(), tmp_path / "images"
    images.mkdir()
    (images / "gate-2.0.bin").write_bytes(firmware("2.0.0"))
    files = acs_files(tmp_path, f'files = "{images}"\n', port=port)
    office, programs = Office(files), [await started(AgentProgram(files))]
    try:
        await office.install()
        async with trio.open_nursery() as nursery:
            cpes: dict[str, Cpe] = {}
            for serial in ("LAB0001", "LAB0002", "LAB0003"):
                cpe = Cpe(device(f"http://127.0.0.1:{port}/acs", serial), boot_s=0.0, backoff_scale=0.01)
                cpes[serial] = cpe
                await nursery.start(lambda task_status, cpe=cpe: cpe.run(task_status=task_status))
                await cpe.wait_sessions(1)
                await accept_and_read(office, cpe, serial)
            change = await office.ask("cpe-firmware", *cpes, settings={**FLASH, "@rings": "1,50"})
            first, second, third = order_of(change)
            await office.approve(change, "joseph", "lena")
            await office.wait_for(change, lambda c: by_cpe(c)[first] == "waiting")
            at = f"/v1/changes/{change['id']}"
            paused = await office.call("POST", f"{at}/pause", {})
            by = paused["paused_by"]
            assert f"paused by {by} at " in outcome_text(paused)
            assert f"ispagent change resume {change['id']}; what is not sent by " in outcome_text(paused)
            assert f" PAUSED by {by} · 2 planned, 1 waiting" in list_text(await office.call("GET", "/v1/changes"))
            for cpe in cpes.values():
                await cpe.call_in("2 PERIODIC")
            await trio.to_thread.run_sync(programs[0].stop)
            programs.append(await started(AgentProgram(files)))
            for cpe in cpes.values():
                await cpe.call_in("2 PERIODIC")
                assert cpe.executed("Download") == []
            assert by_cpe(await office.show(change)) == {first: "waiting", second: "planned", third: "planned"}
            assert not (await office.call("POST", f"{at}/resume", {}))["paused_by"]
            await until_ended(office, change, lambda c: by_cpe(c)[first] == "applied", cpes[first])
            assert by_cpe(await office.show(change))[third] == "planned"
            await until_ended(office, change, lambda c: by_cpe(c)[second] == "applied", cpes[second])
            await until_ended(office, change, lambda c: by_cpe(c)[third] == "applied", cpes[third])
            events = [e.get("kind") for e in await office.watch(change)]
            assert (events.count("paused"), events.count("resumed")) == (1, 1)
            nursery.cancel_scope.cancel()
    finally:
        for program in programs:
            program.stop()


# --- reverts: another change set the same since ---


async def test_a_revert_leaves_what_another_change_set_again(at: CpeSite) -> None:
    cpe = await at_home(at)
    first = await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.channel": "11"}))
    await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.channel": "6"}))
    again = await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.channel": "11"}))
    assert state_of(again) == ("applied", "read-back")
    with pytest.raises(ApiRefusedError, match=f"change {again['id']} set it since"):
        await at.site.ask("revert", change=first["id"])
    back = await sent(at, cpe, await at.site.ask("revert", change=again["id"]))
    assert state_of(back) == ("applied", "read-back")


async def half_of_a_batch(at: CpeSite, first: Cpe) -> Json:
    """Ask for a batch of two with a declared revert, and wait until the first CPE has it."""
    batch = await at.site.ask("cpe-set", "LAB0001", "LAB0002", settings={"wifi.1.ssid": "Z"}, on_failure="revert")
    await waiting(at, batch)
    await first.call_in("2 PERIODIC")
    await at.site.wait_for(batch, lambda c: by_cpe(c)["LAB0001"] == "applied")
    return batch


async def test_a_declared_revert_leaves_what_was_set_again(tmp_path: Path, strict: None) -> None:
    async with acs_site(tmp_path) as at:
        first, second = await plugged(at, "LAB0001", "LAB0002")
        before = first.device.tree.get(SSID)
        batch = await half_of_a_batch(at, first)
        for name_ in (before, "Z"):  # the subscriber asks for the old name, then for the new one
            change = await at.site.ask("cpe-set", "LAB0001", settings={"wifi.1.ssid": name_})
            assert state_of(await sent(at, first, change)) == ("applied", "read-back")
        second.device.quirks = Quirks(fails_on=("SetParameterValues",))
        await second.call_in("2 PERIODIC")
        with trio.fail_after(60):
            while not (await at.site.show(batch))["finished"]:
                await first.call_in("2 PERIODIC")
        assert by_cpe(await at.site.show(batch)) == {"LAB0001": "needs-a-person", "LAB0002": "not-applied"}
        assert first.device.tree.get(SSID) == "Z"


async def test_a_lost_secret_is_not_sent_again_to_another_network(at: CpeSite) -> None:
    """The request is cut off; until the CPE calls in again, its access point comes to belong to network 2."""
    cpe, tree = await at_home(at), None
    tree = cpe.device.tree
    change = await at.site.ask("cpe-set", ref(WHO), secrets={"wifi.1.key": "correct horse battery"})
    before = tree.get("Device.WiFi.AccessPoint.1.Security.KeyPassphrase")
    cpe.device.quirks = Quirks(cut_on=("SetParameterValues",))
    await waiting(at, change)
    await cpe.call_in("2 PERIODIC")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "unknown")
    tree._values["Device.WiFi.AccessPoint.1.SSIDReference"] = "Device.WiFi.SSID.2."
    cpe.device.quirks = Quirks()
    with trio.fail_after(60):
        while not (await at.site.show(change))["finished"]:
            await cpe.call_in("2 PERIODIC")
    done = await at.site.show(change)
    assert state_of(done) == ("needs-a-person", "undecided")  # not `stale`: it may have been taken
    assert "no longer reads as in the preview" in done["items"][0]["detail"]
    assert tree.get("Device.WiFi.AccessPoint.1.Security.KeyPassphrase") == before


async def test_only_a_cpe_that_was_taken_back_is_said_to_be(tmp_path: Path) -> None:
    """Two CPE change houses after a change; of its revert one is left alone."""
    files = acs_files(tmp_path)
    other = "brian@ppp"
    files.billing.rows[ref(other)] = billing_row(other)
    files.billing.write()
    async with acs_site(tmp_path, files=files) as at:
        cpes = [await at.plug_in(serial) for serial in ("LAB0001", "LAB0002")]
        for serial, login in (("LAB0001", WHO), ("LAB0002", other)):
            await at.accept(serial, ref(login))
        change = await at.site.ask("cpe-set", "LAB0001", "LAB0002", settings={"wifi.1.ssid": "Z"})
        await waiting(at, change)
        for cpe in cpes:
            await cpe.call_in("2 PERIODIC")
        assert set(by_cpe(await at.site.wait_end(change)).values()) == {"applied"}
        for serial, login in (("LAB0001", other), ("LAB0002", WHO)):
            await at.accept(serial, ref(login))
        cpes[1].device.put(SSID, "by the subscriber")
        await at.refresh("LAB0002", "wifi.1.ssid")
        back = await at.site.ask("revert", change=change["id"])
        await at.site.approve(back, "joseph")
        with trio.fail_after(60):
            while not (await at.site.show(back))["finished"]:
                await cpes[0].call_in("2 PERIODIC")
        shown = await at.site.show(change)
        n = str(1 + order_of(change).index("LAB0001"))
        assert shown["reverted_by"] == {n: back["id"]}, shown["reverted_by"]


# --- rows: the first request is done, the second is lost ---

MAPPING = "+Device.NAT.PortMapping.[ExternalPort=2222]"
FIELDS = "InternalClient=192.168.1.20,InternalPort=80,Protocol=TCP,Enable=true"


async def cut_within_row(at: CpeSite, cpe: Cpe, *cut: str) -> Json:
    """Return the end of a change that adds a row; the CPE hung up at one of its requests, once."""
    await at.refresh("LAB0001", "Device.NAT.")
    change = await at.site.ask("cpe-set", ref(WHO), settings={MAPPING: FIELDS})
    cpe.device.quirks = Quirks(cut_on=cut)
    await waiting(at, change)
    await cpe.call_in("2 PERIODIC")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "unknown")
    cpe.device.quirks = Quirks()
    with trio.fail_after(60):
        while not (await at.site.show(change))["finished"]:
            await cpe.call_in("2 PERIODIC")
    return await at.site.show(change)


async def test_a_row_that_was_made_and_not_filled_is_filled(at: CpeSite) -> None:
    cpe = await at_home(at)
    before = set(cpe.device.tree.instances("Device.NAT.PortMapping."))
    done = await cut_within_row(at, cpe, "SetParameterValues")
    assert state_of(done)[0] == "applied"
    assert len(set(cpe.device.tree.instances("Device.NAT.PortMapping.")) - before) == 1


# --- a declared revert: the CPE hangs up ---


async def test_a_cpe_that_hangs_up_is_given_back_when_it_calls(tmp_path: Path, strict: None) -> None:
    async with acs_site(tmp_path) as at:
        first, second = await plugged(at, "LAB0001", "LAB0002")
        before = first.device.tree.get(SSID)
        batch = await half_of_a_batch(at, first)
        second.device.quirks = Quirks(fails_on=("SetParameterValues",))
        first.device.quirks = Quirks(cut_on=("GetParameterValues",))
        await second.call_in("2 PERIODIC")
        await at.site.wait_for(batch, lambda c: by_cpe(c)["LAB0002"] == "not-applied")
        with trio.move_on_after(1):
            await first.call_in("2 PERIODIC")
        first.boot_s = 3.0
        first.power_cut()
        at.acs.hang_up(name("LAB0001"))  # as after a minute of silence
        first.device.quirks = Quirks()
        with trio.fail_after(60):
            while not (await at.site.show(batch))["finished"]:
                await first.call_in("2 PERIODIC")
        done = await at.site.show(batch)
        assert by_cpe(done) == {"LAB0001": "reverted", "LAB0002": "not-applied"}, done["items"]
        assert first.device.tree.get(SSID) == before


async def test_a_cpe_that_applies_later_is_named_where_it_did_not(at: CpeSite) -> None:
    """It answers with status 1, and reads as before when it calls in again: some apply it when they restart."""
    cpe = await at_home(at, quirks=Quirks(status_1=True, writes_ignored=(SSID,)))
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Later"})
    await waiting(at, change)
    with trio.fail_after(60):
        while not (await at.site.show(change))["finished"]:
            await cpe.call_in("2 PERIODIC")
    done = await at.site.show(change)
    assert state_of(done) == ("not-applied", "accepted-without-effect")
    assert "the CPE applies it later" in done["items"][0]["detail"]
