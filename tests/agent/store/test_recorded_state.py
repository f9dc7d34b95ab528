"""What an agent of an earlier version left on disk: it opens, nothing of it is lost, and what it had begun goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.changes.journal.machine import Gate
from agent.model import ItemState
from agent.store import mail, schema
from lab.cpe.client import Cpe
from tests.agent.store.recorded_state import Recorded, uid, unpack
from tests.builders.expect import present
from tests.builders.world import World
from tests.e2e.cpe_site import CpeSite, acs_site, calls_now_and_then, device
from tests.e2e.files import stamp
from tests.e2e.site import ApiRefusedError, Json, check_log, state_of
from trust import answer as answers
from trust import envelope, items, proof, seal, statements
from trust.moments import moment_json
from trust.seal import SealingKey
from trust.statements import View

SUSPENDED = {"plan": "20M", "suspended": "yes"}
LIVE = {"waits_because", "witnessed"}
"""What the agent says of a change from memory, or from the moment at which it is asked."""

MOMENTS = {"made", "start_by", "run_until", "finished_at", "not_after"}
"""Fields that the recorded version told in unix seconds."""


@pytest.fixture
def services(tmp_path: Path) -> Recorded:
    return unpack("services", tmp_path)


def world_of(recorded: Recorded) -> World:
    assert recorded.world is not None
    return recorded.world


def user(recorded: Recorded, n: int) -> object:
    world = world_of(recorded)
    return world.values[world.user(f"u{n}")]


# --- it opens ---------------------------------------------------------------------------------------------------------


def test_the_recording_has_every_state(services: Recorded) -> None:
    shown = services.told["shown"].values()
    assert {c["gate"] for c in shown} == {
        "open", "approved", "consumed", "rejected", "cancelled", "expired", "void",
    }  # fmt: skip
    states = Counter(i["state"] for c in shown for i in c["items"])
    assert states.keys() == {
        "planned", "blocked", "excluded", "running", "unknown", "skipped", "stale", "superseded", "cancelled",
        "expired", "not-applied", "applied", "set-at-next-login", "set-not-enforced", "diverged", "reverted",
        "needs-a-person",
    }  # fmt: skip
    assert states.keys() | {"waiting"} <= {s.value for s in ItemState}, "a state of a recorded item has no meaning now"
    assert {c["gate"] for c in shown} <= {g.value for g in Gate}


@pytest.mark.parametrize("name", ["services", "cpes"])
async def test_nothing_is_lost(tmp_path: Path, name: str) -> None:
    recorded = unpack(name, tmp_path)
    async with recorded.open_still() as agent:
        store = agent.daemon.files.store
        assert store.reader.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)
        assert store.reader.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert store.reader.execute("PRAGMA foreign_key_check").fetchall() == []
        listed = await agent.call("GET", "/v1/changes", uid=uid())
        assert {c["id"] for c in listed} == recorded.told["shown"].keys()
        for change, then in recorded.told["shown"].items():
            now = await agent.call("GET", f"/v1/changes/{change}", uid=uid())
            lasting = then.keys() - LIVE
            then = in_rfc3339(then)
            if then["state"] in ("waiting for approval", "approved"):  # that version called them finished
                then = {**then, "finished": False}
            if now["reverted_by"] and then["state"] == "done":  # that version did not look at its revert
                then = {**then, "state": "reverted", "exit": 1}
            assert as_told({k: now[k] for k in lasting}, {k: then[k] for k in lasting}) == {k: then[k] for k in lasting}
        assert await agent.call("GET", "/v1/subscribers", uid=uid()) == recorded.told["subscribers"]
        assert await agent.call("GET", "/v1/secrets", uid=uid()) == recorded.told["secrets"]
        status = await agent.call("GET", "/v1/status", uid=uid())
        then = in_rfc3339(recorded.told["status"])
        assert as_told({k: status[k] for k in then}, then) == then
        assert {k: status["log"][k] for k in recorded.told["log"]} == recorded.told["log"]
        assert (await agent.call("GET", "/v1/audit/verify", uid=uid()))["leaves"] >= recorded.told["log"]["size"]


async def test_the_reasons_and_tariffs_stand(services: Recorded) -> None:
    async with services.open_still() as agent:
        shown = {s["ref"]: s for s in await agent.call("GET", "/v1/subscribers", uid=uid())}
        assert sorted(shown["C-03/home"]["suspended_for"]) == ["abuse", "debt", "request"]
        assert shown["C-04/home"]["suspended_for"] == []
        assert shown["C-02/home"]["suspended_for"] == ["debt"]
        assert user(services, 5) == {"plan": "40M"}


async def test_an_export_of_the_recorded_log_verifies(services: Recorded) -> None:
    head = services.files.seen().trust_sha256
    async with services.open_still() as agent:
        for name in ("applied", "needs-a-person", "standing-restored", "reverted"):
            path = f"/v1/audit/export/{services.id(name)}?open=1"
            file = (await agent.call("POST", path, {}, uid=uid()))["file"]
            report = proof.verify_export_untrusted(file.encode(), services.told["log"]["vkey"], head)
            assert report.ok, [line.text for line in report.lines if not line.ok]


async def test_mail_that_was_to_leave_still_is(services: Recorded) -> None:
    async with services.open_still() as agent:
        store = agent.daemon.files.store
        assert await agent.call("GET", "/v1/cloud", uid=uid())
        waiting = mail.next_out(store.reader, services.clock.wall_s(), 1000)
        assert Counter(o.kind for o in waiting).keys() == {"plan", "receipt", "outcome", "sealkey", "view-page"}
        pages = [o.body for o in waiting if o.kind == "view-page"]
        view_id = recorded_view_id(services)
        answer = answers.decode_untrusted(seal.open_pages_untrusted(view_id, SealingKey(bytes(range(32))), pages))
        assert answer.short == services.id("by-intent")
        row = present(mail.next_in(store.reader))
        assert row.kind == "approval"


def recorded_view_id(recorded: Recorded) -> bytes:
    """Return the id of the recorded view."""
    data = (Path(__file__).parents[2] / "trust" / "vectors" / "v0" / "view.json").read_bytes()
    return bytes.fromhex(statements.decode_as_untrusted(View, envelope.decode_untrusted(data)).view_id)


# --- it goes on -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_plans_that_waited_run_and_what_is_over_stays_so(services: Recorded) -> None:
    ended = [c for c in services.told["shown"].values() if c["gate"] in ("rejected", "cancelled", "expired", "void")]
    assert len(ended) == 4
    async with services.open_running() as site:
        done = await site.apply(services.then("open"), "joseph")
        assert state_of(done) == ("applied", "seen")
        assert user(services, 0) == SUSPENDED
        await site.call("POST", f"/v1/changes/{services.id('approved')}/apply", {})
        assert state_of(await site.wait_end(services.then("approved"))) == ("applied", "seen")
        done = await site.apply(services.then("by-intent"), "joseph")
        assert (done["state"], done["requester"]) == ("done", "maria")
        done = await site.wait_end(services.then("open-approval-in-the-inbox"))
        assert state_of(done) == ("applied", "seen")
        for change in ended:
            answer = (await site.hand_in(site.approval(change, "joseph"), change["id"]))[0]
            assert not answer["accepted"]
            assert (await site.show(change))["gate"] == change["gate"]
        await check_log(site)


@pytest.mark.slow
async def test_what_the_crash_cut_is_read_again_and_ends(services: Recorded) -> None:
    world = world_of(services)
    assert user(services, 19) == {"plan": "20M"}
    assert user(services, 20) == SUSPENDED
    names = ("unknown", "about-to-write", "written", "ended", "about-to-end")
    async with services.open_running() as site:
        for n, name in enumerate(names, start=18):
            done = await site.wait_end(services.then(f"half-{name}"))
            assert (name, *state_of(done)) == (name, "applied", "seen")
            assert user(services, n) == SUSPENDED
        assert state_of(await site.wait_end(services.then("consumed"))) == ("applied", "seen")
        done = await site.wait_end(services.then("half-revert"))
        assert state_of(done)[0] in ("applied", "set-at-next-login")
        assert user(services, 6) == {"plan": "20M"}
        await check_log(site)
    written = [login for login, _ in world.writes]
    assert "u18" not in written, "it was written before the crash"
    assert "u20" not in written, "it was written before the crash"
    assert written.count("u19") == 1
    assert "u21" not in world.kicks, "its session had ended before the crash"
    assert world.kicks.count("u22") == 1


@pytest.mark.slow
async def test_what_was_applied_is_taken_back_or_tried_again(services: Recorded) -> None:
    async with services.open_running() as site:
        for name, n in (("applied", 2), ("tariff", 5)):
            assert user(services, n) != {"plan": "20M"}
            revert = await site.ask("revert", change=services.id(name))
            assert state_of(await site.apply(revert, "joseph")) == ("applied", "seen")
            assert user(services, n) == {"plan": "20M"}
        for reason, then in (("debt", SUSPENDED), ("abuse", SUSPENDED), ("request", {"plan": "20M"})):
            await site.do("restore", "C-03/home", reason=reason)
            assert user(services, 3) == then
        change = services.then("set-not-enforced")
        await site.call("POST", f"/v1/changes/{change['id']}/retry", {})
        assert state_of(await site.wait_end(change)) == ("applied", "seen")
        now = stamp(datetime.fromtimestamp(services.clock.wall_s(), UTC))
        site.files.billing.update("C-23", balance="0.00", paid_at=now, as_of=now)
        site.files.billing.write()
        await site.import_csv()
        change = await site.ask("restore", "C-23/home")
        assert (change["class"], change["gate"]) == ("restore", "approved"), "the standing authority is in force"
        assert state_of(await site.wait_end(change)) == ("applied", "seen")
        await check_log(site)


async def test_recorded_items_are_the_documents_that_were_signed(services: Recorded) -> None:
    """Each document is what this version would encode of it: nothing was added to its form."""
    documents = [d for c in services.told["shown"].values() for d in c["documents"][1:]]
    assert len(documents) > 40
    for document in documents:
        assert items.encode_item(items.decode_item_untrusted(document.encode())).decode() == document


# --- CPE --------------------------------------------------------------------------------------------------------------


async def test_cached_values_and_decisions_of_cpe_stand(tmp_path: Path) -> None:
    recorded = unpack("cpes", tmp_path)
    async with recorded.open_still() as agent:
        listed = await agent.call("GET", "/v1/cpes", uid=uid())
        assert Counter(c["trust"] for c in listed) == {"accepted": 6, "quarantined": 1, "refused": 1}
        for cpe in recorded.told["cpes"]:
            values = await agent.call("GET", f"/v1/cpes/{cpe['name']}/values", uid=uid())
            assert kept(values) == kept(recorded.told["cpe_values"][cpe["name"]])


async def test_acceptances_by_one_person_let_no_secret_into_a_cpe(tmp_path: Path) -> None:
    """They are renewed by a change, which owners allow first: policies name their actions."""
    recorded = unpack("cpes", tmp_path)
    async with recorded.open_still() as agent:
        for cpe in await agent.call("GET", "/v1/cpes", uid=uid()):
            shown = await agent.call("GET", f"/v1/cpes/{cpe['name']}", uid=uid())
            assert shown["takes_secrets"] is False


def as_told(now: object, then: object) -> object:
    """Return what is told now without the fields that the recorded version did not have."""
    if isinstance(now, dict) and isinstance(then, dict):
        return {key: as_told(value, then[key]) for key, value in now.items() if key in then}
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [as_told(a, b) for a, b in zip(now, then, strict=True)]
    return now


def in_rfc3339(then: Any) -> Any:
    """Return what the recorded version told, with its moments in the form of now."""
    if isinstance(then, dict):
        return {name: moment_json(one) if name in MOMENTS else in_rfc3339(one) for name, one in then.items()}
    return [in_rfc3339(one) for one in then] if isinstance(then, list) else then


def kept(values: list[Json]) -> list[Json]:
    """Return what the database keeps of values; their names and classes are the profile's, and may change."""
    return [{key: value[key] for key in ("path", "value", "type", "before_reset")} for value in values]


async def plugged_in(at: CpeSite, serial: str, values: Mapping[str, str]) -> Cpe:
    """Switch a CPE of the recording on again; it booted, and was not reset."""
    made = device(at.url, serial)
    made.known_acs = at.url
    for path, value in values.items():
        made.put(path, value)
    cpe = at.cpes[serial] = Cpe(made, boot_s=0.0, backoff_scale=0.01)
    await at.nursery.start(lambda task_status: cpe.run(task_status=task_status))
    with trio.fail_after(60):
        await cpe.wait_sessions(1)
    return cpe


async def called_to_its_end(at: CpeSite, serial: str, change: Json) -> Json:
    """Return how a change ended; its CPE calls in until then, as the agent may still be checking its database."""
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] != "planned")
    await at.cpes[serial].call_in("2 PERIODIC")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls_now_and_then, at.cpes[serial])
        done = await at.site.wait_end(change)
        nursery.cancel_scope.cancel()
    return done


SSID = "Device.WiFi.SSID.1.SSID"


async def test_changes_on_cpe_go_on_when_they_call(tmp_path: Path) -> None:
    recorded = unpack("cpes", tmp_path)
    async with acs_site(tmp_path, files=recorded.files, clock=recorded.clock, install=False) as at:
        cpe = await plugged_in(at, "LAB0003", {})
        done = await called_to_its_end(at, "LAB0003", recorded.then("waiting"))
        assert state_of(done) == ("applied", "read-back")
        assert cpe.device.tree.get(SSID) == "When it calls"
        cpe = await plugged_in(at, "LAB0004", {SSID: "Answer lost"})
        done = await called_to_its_end(at, "LAB0004", recorded.then("unknown"))
        assert state_of(done) == ("applied", "read-back")
        assert cpe.executed("SetParameterValues") == [], "it took it before the crash"
        cpe = await plugged_in(at, "LAB0002", {})
        await at.site.approve(recorded.then("open"), "joseph")
        assert state_of(await called_to_its_end(at, "LAB0002", recorded.then("open"))) == ("applied", "read-back")
        assert cpe.device.tree.get(SSID) == "Not yet"
        cpe = await plugged_in(at, "LAB0005", {SSID: "To be taken back"})
        revert = await at.site.ask("revert", change=recorded.id("applied-name"))
        await at.site.approve(revert, "joseph")
        assert state_of(await called_to_its_end(at, "LAB0005", revert)) == ("applied", "read-back")
        assert cpe.device.tree.get(SSID) != "To be taken back"
        with pytest.raises(ApiRefusedError, match="what it was before is not known"):
            await at.site.ask("revert", change=recorded.id("applied"))  # it set a secret
