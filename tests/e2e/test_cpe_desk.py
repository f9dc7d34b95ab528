"""Changes on CPE that are asked at a desk, through the control plane, and by programs with a signed intent."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.connectors.cwmp.connector import CwmpConnector
from lab.cpe.client import Cpe
from lab.isp import Isp
from tests.e2e.cloud_site import CloudProgram, Company, company, plan_sha256
from tests.e2e.cpe_site import ACS, SHARED, CpeSite, changes, name
from tests.e2e.files import Files, ordinary, ref_of
from tests.e2e.site import ApiRefusedError, Json, state_of
from trust import envelope as envelopes
from trust import statements
from trust.policy import Action
from trust.sealed_secret import seal_secret
from trust.statements import EffectKind, Intent, IntentSubject, OnFailure, OnStale, OutcomeState, Plan

SSID = "Device.WiFi.SSID.1.SSID"
KEY = "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
SERIAL = "LAB0001"
SECRET = "nobody but the agent reads this"


def with_acs(_isp: Isp, files: Files) -> None:
    files.config.write_text(files.config.read_text(encoding="utf-8") + ACS, encoding="utf-8")
    files.secrets["cwmp/shared"] = SHARED


@asynccontextmanager
async def office(folder: Path, cloud: CloudProgram) -> AsyncIterator[tuple[Company, CpeSite, Cpe, str]]:
    """A company whose agent has an ACS, and the CPE of one of its services, accepted and read."""
    async with (
        company(folder, cloud, desks=("maria", "joseph"), prepare_files=with_acs) as here,
        here.at_work() as site,
        trio.open_nursery() as nursery,
    ):
        acs = site.daemon.sessions.connector("cwmp/")
        assert isinstance(acs, CwmpConnector)
        await acs.port.wait()
        at = CpeSite(site, acs, nursery)
        cpe = await at.plug_in(SERIAL)
        ref = ref_of(ordinary(here.isp, 1)[0])
        await at.accept(SERIAL, ref)
        await site.daemon.sealing.refresh()
        await here.joseph.wait("a sealing key", lambda b: b.sealkeys)
        yield here, at, cpe, ref
        nursery.cancel_scope.cancel()


async def approved(here: Company, at: CpeSite, cpe: Cpe, plan: Plan, end: OutcomeState = OutcomeState.DONE) -> Json:
    """Have Joseph approve a plan at his desk, and the CPE call in; return the change once it is over."""
    assert plan.requester == "maria"
    said = await here.joseph.do("changes", "approve", plan.plan_id[:8], "--yes-i-read-it", "1")
    assert "RECEIPT noc-1: approve accepted" in said
    change = next(c for c in await at.site.call("GET", "/v1/changes") if c["plan_id"] == plan.plan_id)
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
    await cpe.call_in("2 PERIODIC")
    done = await at.site.wait_end(change)
    outcome = await here.joseph.outcome(plan_sha256(done))
    assert outcome.state is end
    return done


@pytest.mark.slow
async def test_a_reboot_and_settings_asked_at_a_desk(tmp_path: Path, cloud: CloudProgram) -> None:
    async with office(tmp_path, cloud) as (here, at, cpe, ref):
        maria, boots = here.desks["maria"], cpe.device.boots
        said = await maria.do("changes", "cpe-reboot", ref, "--agent", "noc-1")
        assert "RECEIPT noc-1: intent accepted" in said
        (reboot,) = [p for p in (await here.joseph.feed()).plans if p.action is not Action.CPE_ACCEPT]
        assert (reboot.action, reboot.effect_kinds) == (Action.CPE_REBOOT, (EffectKind.REBOOT,))
        shown = await here.joseph.do("changes", "show", reboot.plan_id[:8])
        assert name(SERIAL) in shown
        assert state_of(await approved(here, at, cpe, reboot))[0] == "applied"
        assert cpe.device.boots == boots + 1

        said = await maria.do(
            "changes", "cpe-set", name(SERIAL), "--agent", "noc-1", "--value", "wifi.1.ssid=Amina", "--secret",
            "wifi.1.key", text=f"{SECRET}\n",
        )  # fmt: skip
        assert "RECEIPT noc-1: intent accepted" in said
        change = next(p for p in (await here.joseph.feed()).plans if p.action is Action.CPE_SET)
        shown = await here.joseph.do("changes", "show", change.plan_id[:8])
        assert "Amina" in shown
        assert SECRET not in shown
        done = await approved(here, at, cpe, change, OutcomeState.ACCEPTED)
        assert state_of(done)[0] == "accepted"
        assert (cpe.device.tree.get(SSID), cpe.device.tree.get(KEY)) == ("Amina", SECRET)
        for kept in (cloud.database, *here.files.state.glob("*.db*")):
            assert SECRET.encode() not in kept.read_bytes(), kept


@pytest.mark.slow
async def test_an_acceptance_asked_and_approved_at_desks(tmp_path: Path, cloud: CloudProgram) -> None:
    async with office(tmp_path, cloud) as (here, at, _cpe, ref):
        await at.site.call("POST", f"/v1/cpes/{name(SERIAL)}/decide", {"trust": "refused", "forget": False})
        before = {p.plan_id for p in (await here.joseph.feed()).plans}
        said = await here.desks["maria"].do(
            "changes", "cpe-accept", name(SERIAL), "--agent", "noc-1", "--service", ref
        )  # fmt: skip
        assert "RECEIPT noc-1: intent accepted" in said
        (plan,) = [p for p in (await here.joseph.feed()).plans if p.plan_id not in before]
        assert plan.action is Action.CPE_ACCEPT
        assert (plan.risk_class.value, plan.effect_kinds) == ("provision", ())
        shown = await here.joseph.do("changes", "show", plan.plan_id[:8])
        assert f"+ {name(SERIAL)} serves {ref}: secrets may go into it" in " ".join(shown.split())
        said = await here.joseph.do("changes", "approve", plan.plan_id[:8], "--yes-i-read-it", "1")
        assert "RECEIPT noc-1: approve accepted" in said
        change = next(c for c in await at.site.call("GET", "/v1/changes") if c["plan_id"] == plan.plan_id)
        assert state_of(await at.site.wait_end(change)) == ("applied", "recorded")
        assert (await at.site.call("GET", f"/v1/cpes/{name(SERIAL)}"))["takes_secrets"] is True


@pytest.mark.slow
async def test_an_ask_is_carried_by_file(tmp_path: Path, cloud: CloudProgram) -> None:
    async with office(tmp_path, cloud) as (here, at, cpe, ref):
        for action, more in (("cpe-reboot", ()), ("cpe-set", ("--value", "wifi.1.ssid=Carried"))):
            out = tmp_path / f"{action}.json"
            said = await here.desks["maria"].do("changes", action, ref, "--agent", "noc-1", *more, "--out", out)
            assert "signed as maria for noc-1" in said
            asked = await here.files.type("change", "ask", "--file", str(out))
            assert (asked.code, name(SERIAL) in asked.out) == (0, True), asked
            change = next(c for c in await at.site.call("GET", "/v1/changes") if c["action"] == action)
            assert change["requester"] == "maria"
            change = await at.site.show(change)
            await at.site.approve(change, "joseph")
            await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
            await cpe.call_in("2 PERIODIC")
            assert state_of(await at.site.wait_end(change))[0] == "applied"
        assert cpe.device.tree.get(SSID) == "Carried"


@pytest.mark.slow
async def test_a_desks_typing_mistake_is_told_before_signing(tmp_path: Path, cloud: CloudProgram) -> None:
    async with office(tmp_path, cloud) as (here, at, _cpe, ref):
        maria = here.desks["maria"]
        for args, wanted in (
            (("cpe-set", ref), "expected --value, --secret, --row or --delete-row"),
            (("cpe-set", ref, "--value", "wifi.1.ssid"), "expected NAME=VALUE"),
            (("cpe-reboot",), "at least one service or CPE"),
            (("cpe-set", ref, "--secret", "wifi.1.key", "--out", "ask.json"), "expected no --out"),
        ):
            typed = await maria.type("changes", *args, "--agent", "noc-1", text="typed\n")
            assert (typed.code, wanted in typed.sentence) == (2, True), typed
        refused = await maria.type("changes", "cpe-set", ref, "--agent", "noc-1", "--value", "wifi.1.key=in clear")
        assert (refused.code, "noc-1 refused it: not-taken" in refused.err) == (3, True)
        assert await changes(at) == []


async def test_a_program_hands_in_a_signed_intent(tmp_path: Path, cloud: CloudProgram) -> None:
    async with office(tmp_path, cloud) as (here, at, cpe, _ref):
        (sealkey,) = (await here.joseph.feed()).sealkeys
        public = bytes.fromhex(sealkey.x25519)

        def intent(params: Mapping[str, str], sealed: Mapping[str, str], intent_id: str, **more: Any) -> Json:
            fields: dict[str, Any] = {
                "verb": Action.CPE_SET,
                "subjects": (IntentSubject("service", SERIAL),),
                "reason": "",
            }
            made = Intent(
                trust_id=here.files.people.trust_id,
                intent_id=intent_id,
                salt=secrets.token_hex(16),
                agent=here.agent,
                requester="maria",
                params=params,
                exclude=(),
                on_failure=OnFailure.STOP,
                on_stale=OnStale.SKIP,
                canary=0,
                expires=here.files.people.now_s + 600,
                secrets=sealed,
                **{**fields, **more},
            )
            signed = statements.sign(made, [here.files.people.keys["maria"]])
            return {"intent": base64.b64encode(envelopes.encode(signed)).decode()}

        one, two = secrets.token_hex(16), secrets.token_hex(16)
        sealed = {"wifi.1.key": seal_secret(one, "wifi.1.key", SECRET, public)}
        for wrong in (
            intent({}, sealed, two),  # of another intent
            intent({}, {"wifi.1.key": "bm90IHNlYWxlZA=="}, one),
            intent({"wifi.1.key": "x"}, sealed, one),
            intent({}, sealed, one, verb=Action.SUSPEND, subjects=(IntentSubject("service", "C-1"),), reason="debt"),
        ):
            with pytest.raises(ApiRefusedError) as caught:
                await at.site.call("POST", "/v1/changes", wrong)
            assert caught.value.status == 403
        change = await at.site.call("POST", "/v1/changes", intent({"wifi.1.ssid": "By file"}, sealed, one))
        assert change["requester"] == "maria"
        await at.site.approve(change, "joseph")
        await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
        await cpe.call_in("2 PERIODIC")
        assert state_of(await at.site.wait_end(change))[0] == "accepted"
        assert (cpe.device.tree.get(SSID), cpe.device.tree.get(KEY)) == ("By file", SECRET)
