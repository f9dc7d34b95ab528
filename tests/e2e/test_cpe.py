"""CPE from first sight to firmware: quarantine, acceptance, changes that wait, are sent, read back and taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from agent.cli.outcome import outcome_text
from lab.cpe.quirks import Quirks
from tests.builders.people import plan_of
from tests.e2e.cpe_site import SSID, WHO, CpeSite, admit, at_home, name, sent, until
from tests.e2e.router_site import ref
from tests.e2e.site import ApiRefusedError, state_of


async def test_a_new_cpe_is_quarantined_until_it_is_accepted(at: CpeSite) -> None:
    cpe = await at.plug_in("LAB0001")
    listed = await at.site.call("GET", "/v1/cpes")
    assert [(c["name"], c["trust"]) for c in listed] == [(name("LAB0001"), "quarantined")]
    assert cpe.executed("GetParameterValues") == []
    with pytest.raises(ApiRefusedError, match="quarantined"):
        await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/refresh", {"names": [], "timeout_s": 1})
    shown = await at.accept("LAB0001", ref(WHO))
    assert shown["trust"] == "accepted"
    assert shown["service"] == ref(WHO)
    known = {v["name"]: v["shown"] for v in shown["named"]}
    assert known["wifi.1.ssid"] == cpe.device.tree.get(SSID)
    assert known["wifi.1.key"] == "(a secret)"


async def test_a_parameter_is_set_when_it_calls_in_and_taken_back(at: CpeSite) -> None:
    cpe = await at.plug_in("LAB0001")
    await at.accept("LAB0001", ref(WHO))
    before = cpe.device.tree.get(SSID)
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Amina at home"})
    await at.site.approve(change, "joseph")
    waiting = await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    assert waiting["state"] == "waiting for a device"
    assert (await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}"))["waiting"] == [change["id"]]
    assert cpe.device.tree.get(SSID) == before
    await cpe.call_in("2 PERIODIC")
    done = await at.site.wait_end(change)
    assert state_of(done) == ("applied", "read-back")
    assert cpe.device.tree.get(SSID) == "Amina at home"
    revert = await at.site.ask("revert", change=change["id"])
    await at.site.approve(revert, "joseph")
    await at.site.wait_for(revert, lambda c: c["items"][0]["state"] == "waiting")
    await cpe.call_in("2 PERIODIC")
    assert state_of(await at.site.wait_end(revert)) == ("applied", "read-back")
    assert cpe.device.tree.get(SSID) == before


async def test_d3_a_secret_is_accepted_and_never_shown(at: CpeSite, tmp_path: Path) -> None:
    """It is never called enforced or read back: not in the change's state, its counts, its line, its JSON."""
    cpe = await at_home(at)
    change = await at.site.ask("cpe-set", ref(WHO), secrets={"wifi.1.key": "correct horse battery"})
    assert "correct horse" not in str(change)
    done = await sent(at, cpe, change)
    assert state_of(done) == ("accepted", "accepted-not-provable")
    assert (done["state"], done["exit"], done["counts"]) == ("accepted, not provable", 0, {"accepted": 1})
    said = outcome_text(done)
    assert "ACCEPTED, NOT PROVABLE" in said.splitlines()[0]
    assert "set       accepted, not provable: Device.WiFi.AccessPoint.1.Security.KeyPassphrase" in said
    assert not any(word in said.lower() for word in ("enforced", "read back", "row", "session"))
    assert cpe.device.tree.get("Device.WiFi.AccessPoint.1.Security.KeyPassphrase") == "correct horse battery"
    for path in tmp_path.rglob("agent.db*"):
        assert b"correct horse" not in path.read_bytes()


async def test_the_next_session_is_traced_on_the_command_line(at: CpeSite) -> None:
    cpe = await at_home(at)
    await until(lambda: not cpe.device.in_session)
    typed: list[Any] = []

    async def trace() -> None:
        typed.append(await at.site.files.type("cpe", "trace", "LAB0001"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trace)
        await until(lambda: bool(at.acs.fleet._traces))
        await cpe.call_in("2 PERIODIC")
    (done,) = typed
    assert done.code == 0, done
    lines = done.out.splitlines()
    assert lines[0] == "CPE →"
    assert {"← ACS 200", "← ACS 204", "    <EventCode>2 PERIODIC</EventCode>"} <= set(lines)
    assert lines[-2:] == ["—", "    the session is over"]
    assert at.acs.fleet._traces == []


async def test_several_parameters_go_together_or_not_at_all(at: CpeSite) -> None:
    cpe = await at_home(at)
    before = cpe.device.tree.get(SSID)
    settings = {"wifi.1.ssid": "New", "wifi.1.channel": "11", "inform.interval": "600"}
    done = await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings=settings))
    assert state_of(done) == ("applied", "read-back")
    assert len(cpe.executed("SetParameterValues")) == 1
    settings = {"wifi.1.ssid": "Newer", "wan.ppp.username": "a" * 65}  # the CPE takes 64
    done = await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings=settings))
    assert state_of(done)[0] == "not-applied"
    assert cpe.device.tree.get(SSID) == "New" != before


async def test_a_value_that_somebody_changed_meanwhile_is_stale(at: CpeSite) -> None:
    cpe = await at_home(at)
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Mine"})
    cpe.device.put(SSID, "by the subscriber")
    done = await sent(at, cpe, change)
    assert state_of(done) == ("stale", "drifted")
    assert cpe.executed("SetParameterValues") == []


async def test_a_row_is_added_by_its_key_and_deleted_again(at: CpeSite) -> None:
    cpe = await at_home(at)
    await at.refresh("LAB0001", "Device.NAT.")
    row = "Device.NAT.PortMapping.[ExternalPort=2222]"
    fields = "InternalClient=192.168.1.20,InternalPort=80,Protocol=TCP,Enable=true"
    change = await at.site.ask("cpe-set", ref(WHO), settings={f"+{row}": fields})
    done = await sent(at, cpe, change)
    assert state_of(done) == ("applied", "read-back")
    assert len(cpe.device.tree.instances("Device.NAT.PortMapping.")) == 2
    done = await sent(at, cpe, await at.site.ask("revert", change=change["id"]))
    assert state_of(done) == ("applied", "read-back")
    assert cpe.device.tree.instances("Device.NAT.PortMapping.") == (1,)


async def test_a_reboot_is_done_when_it_said_that_it_booted(at: CpeSite) -> None:
    """It says what was seen."""
    cpe = await at_home(at)
    boots = cpe.device.boots
    done = await sent(at, cpe, await at.site.ask("cpe-reboot", "LAB0001"))
    assert state_of(done) == ("applied", "proof-seen")
    assert done["items"][0]["detail"] == "boot seen"
    assert cpe.device.boots == boots + 1


async def test_an_answer_that_was_lost_is_read_when_it_calls_again(at: CpeSite) -> None:
    cpe = await at_home(at, quirks=Quirks(loses_answer_on=("SetParameterValues",)))
    change = await at.site.ask(
        "cpe-set", ref(WHO), settings={"wifi.1.ssid": "Lost"}, secrets={"wifi.1.key": "a secret"}
    )
    await at.site.approve(change, "joseph")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    over = await cpe.call_in("2 PERIODIC")
    assert not over.ok
    await cpe.call_in("2 PERIODIC")
    done = await at.site.wait_end(change)
    assert state_of(done) == ("accepted", "accepted-not-provable")
    assert len(cpe.executed("SetParameterValues")) == 1


async def test_a_change_cancelled_while_it_waits_is_never_sent(at: CpeSite) -> None:
    cpe = await at_home(at)
    change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Never"})
    await at.site.approve(change, "joseph")
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    await at.site.hand_in(at.site.people.cancel(plan_of(change), "maria"), change["id"])
    done = await at.site.wait_end(change)
    assert state_of(done) == ("cancelled", "cancelled")
    await cpe.call_in("2 PERIODIC")
    assert cpe.executed("SetParameterValues") == []


async def test_credentials_are_rotated_and_the_old_ones_are_over(at: CpeSite) -> None:
    cpe = await at_home(at)
    await at.refresh("LAB0001", "acs.username", "acs.password", "request.username", "request.password")
    done = await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings={"@rotate": "new credentials"}))
    assert state_of(done) == ("accepted", "accepted-not-provable")
    assert cpe.device.server("Username").startswith(name("LAB0001"))
    await cpe.call_in("2 PERIODIC")
    shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}")
    assert shown["own_credentials"] is True
    # And now it can be called: nobody has to wait for its next Inform
    done = await at.site.do("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Called"})
    assert state_of(done) == ("applied", "read-back")


async def test_a_read_says_why_nobody_asks_a_new_cpe_to_call_in(at: CpeSite) -> None:
    """It has no credentials for that yet; at its next Inform the read goes on."""
    await at.plug_in("LAB0001")
    await admit(at.site, name("LAB0001"))
    with pytest.raises(ApiRefusedError, match=r"restart it or wait for its periodic Inform, then ispagent cpe rotate"):
        await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/refresh", {"names": [], "timeout_s": 1})
    assert not (await at.refresh("LAB0001"))["problems"]


async def test_a_read_says_how_the_requests_to_call_in_went(at: CpeSite) -> None:
    cpe = await at.plug_in("LAB0001", quirks=Quirks(deaf=True))
    await at.accept("LAB0001", ref(WHO))
    await sent(at, cpe, await at.site.ask("cpe-set", ref(WHO), settings={"@rotate": "new credentials"}))
    with pytest.raises(ApiRefusedError, match=r"did not call in within 1 s; asked to: ."):
        await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/refresh", {"names": [], "timeout_s": 1})
