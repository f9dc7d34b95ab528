"""Firmware, resets, tests and boots of CPE: what is said to be done was read back, whatever the CPE reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from agent.cli.outcome import outcome_text
from agent.connectors.cwmp import limits
from agent.connectors.cwmp.effects import Flash
from agent.cpe_model.breaker import TaskSignature
from lab.cpe.quirks import Quirks
from lab.cpe.transfers import firmware
from tests.builders.answers import unix_of
from tests.builders.people import plan_of
from tests.e2e.cpe_site import WHO, CpeSite, acs_site, at_home, calls_now_and_then, name, preview_of, sent, until
from tests.e2e.router_site import ref
from tests.e2e.site import ApiRefusedError, Json, MovableClock, state_of
from trust import statements
from trust.items import EffectKind
from trust.policy import RiskClass
from trust.statements import Plan


async def flash(at: CpeSite, **fields: object) -> Json:
    settings = {"file": "gate-2.0.bin", "version": "2.0.0"}
    return await at.site.ask("cpe-firmware", ref(WHO), settings=settings, **fields)


async def test_d3_firmware_is_done_when_the_version_reads_back(at: CpeSite) -> None:
    """And that is what it says."""
    cpe = await at_home(at)
    change = await flash(at)
    assert change["class"] == "config"
    done = await sent(at, cpe, change, "joseph", "lena")
    assert state_of(done)[0] == "applied"
    assert "firmware  version 2.0.0 read back" in outcome_text(done).splitlines()
    assert " DONE " in outcome_text(done).splitlines()[0]
    assert cpe.device.software == "2.0.0"
    with pytest.raises(ApiRefusedError, match="already runs"):
        await flash(at)
    rows = await at.site.call("GET", "/v1/cpe-matrix")
    matrix = {row["workflow"]: row["state"] for row in rows if row["software"] == "1.0.0"}
    assert matrix["firmware"] == "proven (1)"


async def test_firmware_that_fails_silently_is_not_done(at: CpeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(at.within(), "firmware", 2)
    cpe = await at_home(at, quirks=Quirks(firmware="silent"))
    change = await flash(at)
    await at.site.approve(change, "joseph", "lena")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    with trio.fail_after(60):  # what it runs after the deadline is known when it calls in then, no sooner
        while not (await at.site.show(change))["finished"]:
            await cpe.call_in("2 PERIODIC")
    done = await at.site.wait_end(change)
    assert state_of(done)[0] == "not-applied"
    assert cpe.device.software == "1.0.0"
    assert "TransferComplete" in done["items"][0]["detail"]


async def test_a_fault_in_transfer_complete_ends_the_waiting(at: CpeSite) -> None:
    cpe = await at_home(at, quirks=Quirks(firmware="faults"))
    done = await sent(at, cpe, await flash(at), "joseph", "lena")
    state, reason = state_of(done)
    assert state == "not-applied"
    assert reason.startswith("fault-9")


async def test_an_image_that_changed_since_the_preview_is_not_sent(at: CpeSite, tmp_path: Path) -> None:
    cpe = await at_home(at)
    change = await flash(at)
    (tmp_path / "images" / "gate-2.0.bin").write_bytes(firmware("6.6.6"))
    done = await sent(at, cpe, change, "joseph", "lena")
    assert state_of(done) == ("stale", "drifted")
    assert cpe.executed("Download") == []


async def test_a_cpe_that_runs_another_version_by_now_is_left_alone(at: CpeSite) -> None:
    cpe = await at_home(at)
    change = await flash(at)
    cpe.device.run_firmware("3.0.0")
    done = await sent(at, cpe, change, "joseph", "lena")
    assert state_of(done) == ("stale", "drifted")
    assert cpe.executed("Download") == []


async def test_a_reset_nobody_asked_for_makes_plans_stale(at: CpeSite) -> None:
    cpe = await at_home(at)
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Mine"})
    cpe.device.reset_later()
    await cpe.call_in("2 PERIODIC")
    await until(lambda: cpe.device.boots == 2)
    await cpe.wait_sessions(4)
    done = await sent(at, cpe, change)
    assert state_of(done) == ("stale", "stale")


async def test_a_factory_reset_is_done_when_it_comes_as_new(at: CpeSite) -> None:
    cpe = await at_home(at)
    change = await at.site.ask("cpe-factory-reset", ref(WHO))
    plan = statements.decode_as_untrusted(Plan, plan_of(change))
    assert plan.effect_kinds == (EffectKind.FACTORY_RESET, EffectKind.REBOOT)
    assert plan.risk_class is RiskClass.CONFIG, "no milder than before its effects had names"
    done = await sent(at, cpe, change, "joseph", "lena")
    assert state_of(done)[0] == "applied"


async def test_what_was_read_before_reset_is_not_taken_for_what_it_is(tmp_path: Path) -> None:
    clock = MovableClock()
    async with acs_site(tmp_path, clock=clock) as at:
        cpe = await at_home(at)
        clock.pass_s(3600)
        cpe.device.reset_later()  # by its owner
        await cpe.call_in("2 PERIODIC")
        await until(lambda: cpe.device.boots == 2)
        await cpe.wait_sessions(4)
        shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}")
        [ssid] = [value for value in shown["named"] if value["name"] == "wifi.1.ssid"]
        assert ssid["before_reset"]
        assert ssid["age_s"] >= 3600
        assert "wifi.1.ssid" in shown["missing"]
        with pytest.raises(ApiRefusedError, match="since it was reset: ispagent cpe refresh"):
            await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "x"})
        await at.refresh("LAB0001")
        assert (
            state_of(await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "x"})))[0]
            == "applied"
        )
        shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}")
        assert [v["before_reset"] for v in shown["named"] if v["name"] == "wifi.1.ssid"] == [False]


@pytest.mark.parametrize("quirks", [Quirks(), Quirks(names_max=3)])
async def test_a_test_runs_and_its_results_are_there(at: CpeSite, quirks: Quirks) -> None:
    """Also of a CPE that gives few parameters at once: its results are read in parts."""
    cpe = await at_home(at, quirks=quirks)
    await at.refresh("LAB0001", "Device.IP.Diagnostics.")
    cpe.device.diagnostics_s = 0.1
    asked = await at.site.ask("cpe-diagnose", ref(WHO), settings={"test": "ping", "host": "192.0.2.1", "count": "3"})
    done = await sent(at, cpe, asked)
    assert state_of(done)[0] == "applied"
    values = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}/values?below=Device.IP.Diagnostics.IPPing.")
    by_name = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}/values?below=ping")
    assert [one | {"age_s": 0} for one in by_name] == [one | {"age_s": 0} for one in values]  # a second may pass
    begun = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}/values?below=wifi")
    assert {"wifi.1.ssid", "wifi.1.key"} <= {v["name"] for v in begun}
    assert {v["path"].rpartition(".")[2]: v["value"] for v in values}["SuccessCount"] == "3"


async def test_an_earlier_run_of_a_test_proves_nothing(at: CpeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPE says OK and begins none: its state is that of the run before."""
    cpe, path = await at_home(at), "Device.IP.Diagnostics.IPPing."
    await at.refresh("LAB0001", "Device.IP.Diagnostics.")
    cpe.device.diagnostics_s = 0.1

    async def ping() -> Json:
        asked = await at.site.ask("cpe-diagnose", ref(WHO), settings={"test": "ping", "host": "192.0.2.1"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls_now_and_then, cpe)
            done = await sent(at, cpe, asked)
            nursery.cancel_scope.cancel()
        return done

    assert state_of(await ping())[0] == "applied"
    monkeypatch.setitem(at.within(), "diagnose", 2)
    cpe.device.quirks = Quirks(writes_ignored=(path,))
    assert state_of(await ping()) == ("not-applied", "ack-without-effect")
    cpe.device.quirks = Quirks()
    assert state_of(await ping())[0] == "applied"


async def test_a_cpe_that_boots_after_being_read_is_not_read_so_again(at: CpeSite) -> None:
    cpe = await at_home(at)
    cpe.device.quirks = Quirks(reboots_on=("GetParameterValues:Device.Hosts.",), reboots=1)
    for _ in range(2):
        before = cpe.device.boots
        await at.refresh("LAB0001", "Device.Hosts.")
        await until(lambda before=before: cpe.device.boots > before)  # type: ignore[misc]  # a default binds it
        await until(lambda: cpe.device.wants_session is False)
        await trio.sleep(0.05)
    shown = await at.refresh("LAB0001", "Device.Hosts.")
    assert "boot" in shown["problems"][0]
    assert "GetParameterValues Device.Hosts." in shown["tripped"][0]
    assert await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/clear", {}) == {"cleared": 1}


async def test_a_change_waits_two_days_and_is_sent(tmp_path: Path) -> None:
    clock = MovableClock()
    async with acs_site(tmp_path, clock=clock) as at:
        cpe = await at_home(at)
        change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Two days"})
        await at.site.approve(change, "joseph")
        await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
        for _ in range(48):
            clock.pass_s(3600)
            await at.site.call("GET", "/v1/status")
        assert unix_of((await at.site.show(change))["start_by"]) < clock.wall_s() - 86_400
        await cpe.call_in("2 PERIODIC")
        assert state_of(await at.site.wait_end(change)) == ("applied", "read-back")


async def test_a_change_whose_cpe_never_calls_expires(tmp_path: Path) -> None:
    clock = MovableClock()
    async with acs_site(tmp_path, "wait_s = 300\n", clock=clock) as at:
        cpe = await at_home(at)
        change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Never"})
        await at.site.approve(change, "joseph")
        await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
        clock.pass_s(86_400)
        assert state_of(await at.site.wait_end(change)) == ("expired", "expired")
        await cpe.call_in("2 PERIODIC")
        assert cpe.executed("SetParameterValues") == []


async def test_d6_a_cpe_awaiting_firmware_is_not_held_on_the_line(at: CpeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version stands in its Inform; meanwhile the change says that the CPE accepted it."""
    cpe = await at_home(at, quirks=Quirks(firmware="stall"))
    change = await flash(at)
    await at.site.approve(change, "joseph", "lena")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    monkeypatch.setattr(limits, "HOLD_S", 3600.0)
    await cpe.call_in("2 PERIODIC")
    told = await at.site.wait_for(change, lambda c: any(s["accepted"] for s in c["steps"]))
    assert "firmware  the CPE accepted it, its proof is awaited" in outcome_text(told).splitlines()
    with trio.fail_after(60):
        for _ in range(3):
            assert (await cpe.call_in("2 PERIODIC")).ok
    assert (await at.site.show(change))["items"][0]["state"] == "running"
    cpe.device.run_firmware("2.0.0")
    await cpe.call_in("1 BOOT")
    done = await at.site.wait_end(change)
    assert (state_of(done), done["items"][0]["detail"]) == (("applied", "proof-seen"), "version 2.0.0 read back")


async def test_a_campaign_goes_in_rings(at: CpeSite) -> None:
    """B12: rings in percent, as asked; the preview has them as waves."""
    for serial in ("LAB0001", "LAB0002", "LAB0003", "LAB0004"):
        await at.plug_in(serial)
        await at.accept(serial)
    settings = {"file": "gate-2.0.bin", "version": "2.0.0", "@rings": "1,50"}
    every = [name(f"LAB000{n}") for n in range(1, 5)]
    change = await at.site.ask("cpe-firmware", *every, settings=settings)
    head = json.loads(change["documents"][0])
    assert [(w["first"], w["last"]) for w in head["waves"]] == [(1, 1), (2, 2), (3, 4)]
    with pytest.raises(ApiRefusedError, match="rings: expected percents"):
        await at.site.ask("cpe-firmware", *every, settings=settings | {"@rings": "50,1"})


async def test_a_campaign_names_an_image_for_each_model(at: CpeSite, tmp_path: Path) -> None:
    """B12: a CPE of another model is left out with the reason; it never gets another model's image."""
    (tmp_path / "images" / "other-2.1.bin").write_bytes(firmware("2.1.0"))
    for serial in ("LAB0001", "LAB0002"):
        await at.plug_in(serial)
        await at.accept(serial)
    other = await at.plug_in("LAB0003", product_class="OtherBox")
    await at.accept("LAB0003", product_class="OtherBox")
    every = [name("LAB0001"), name("LAB0002"), name("LAB0003", "OtherBox")]
    settings = {"@image/LabGate/A1": "gate-2.0.bin:2.0.0"}
    change = await at.site.ask("cpe-firmware", *every, settings=settings)
    [left] = [i for i in change["items"] if i["state"] == "excluded"]
    assert (left["cpe"], left["reason"]) == (every[2], "no-image")
    said = preview_of(change)
    assert "! 2 × firmware gate-2.0.bin (2.0.0) on 02AC5F-LabGate (irreversible)" in said
    assert "no image is named for 02AC5F-OtherBox, hardware A1" in said
    both = settings | {"@image/OtherBox": "other-2.1.bin:2.1.0"}
    change = await at.site.ask("cpe-firmware", *every, settings=both)
    said = preview_of(change)
    assert "! 1 × firmware other-2.1.bin (2.1.0) on 02AC5F-OtherBox (irreversible)" in said
    await at.site.approve(change, "joseph", "lena")
    with trio.fail_after(60):
        while not (await at.site.show(change))["finished"]:
            for cpe in at.cpes.values():
                await cpe.call_in("2 PERIODIC")
    assert (await at.site.show(change))["counts"] == {"applied": 3}
    assert other.device.software == "2.1.0"
    assert at.cpes["LAB0001"].device.software == "2.0.0"
    with pytest.raises(ApiRefusedError, match="expected a file and the version"):
        await at.site.ask("cpe-firmware", *every, settings=both | {"file": "gate-2.0.bin", "version": "2.0.0"})


async def test_one_image_for_several_models_is_told(at: CpeSite) -> None:
    await at.plug_in("LAB0001")
    await at.accept("LAB0001")
    await at.plug_in("LAB0003", product_class="OtherBox")
    await at.accept("LAB0003", product_class="OtherBox")
    settings = {"file": "gate-2.0.bin", "version": "2.0.0"}
    change = await at.site.ask("cpe-firmware", name("LAB0001"), name("LAB0003", "OtherBox"), settings=settings)
    assert "ONE IMAGE FOR 2 MODELS: 02AC5F-LabGate, 02AC5F-OtherBox" in preview_of(change)


async def test_a_forgotten_cpe_leaves_nothing_to_the_next_of_its_name(at: CpeSite) -> None:
    cpe = await at_home(at)
    line = at.acs.line(name("LAB0001"))
    read = TaskSignature("GetParameterValues", "Device.Hosts.")
    for at_s in (1.0, 2.0):
        line.breaker.task(read, at_s)
        line.breaker.boot(at_s)
    line.flash, line.awaits_reset = Flash("k", "2.0.0", "1.0.0"), True
    line.begins.add("Device.IP.Diagnostics.")
    line.made["Device.NAT.PortMapping.2."] = {}
    at.acs.fleet._troubles[line.name] = "it hung up"
    await at.site.call("POST", f"/v1/cpes/{line.name}/decide", {"trust": "", "forget": True})
    await cpe.call_in("1 BOOT")
    await at.accept("LAB0001", ref(WHO))
    shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}")
    assert (shown["tripped"], shown["trouble"]) == ([], None)
    assert at.site.daemon.api.parts.store.query("SELECT * FROM cpe_breaker WHERE rows LIKE '%Hosts%'") == []
    new = at.acs.line(line.name)
    assert (new.flash, new.awaits_reset, new.begins, new.made) == (None, False, set(), {})


async def test_a_cpe_is_not_forgotten_while_a_change_acts_on_it(at: CpeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is cut off. The next record of its name would count its boots anew, which reads as a boot."""
    monkeypatch.setitem(at.within(), "reboot", 2)
    cpe = await at_home(at)
    await cpe.call_in("1 BOOT")
    change = await at.site.ask("cpe-reboot", ref(WHO))
    cpe.device.quirks = Quirks(cut_on=("Reboot",))
    await at.site.approve(change, "joseph")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    await cpe.call_in("2 PERIODIC")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] in ("running", "unknown"))
    boots = cpe.device.boots
    with pytest.raises(ApiRefusedError, match=f"is busy with change {change['id']}: forget it once that is over"):
        await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/decide", {"trust": "", "forget": True})
    cpe.device.quirks = Quirks()
    with trio.fail_after(60):
        while not (await at.site.show(change))["finished"]:
            await cpe.call_in("2 PERIODIC")
    assert (state_of(await at.site.show(change))[0], cpe.device.boots) == ("applied", boots + 1)
    await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/decide", {"trust": "", "forget": True})
