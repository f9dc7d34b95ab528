"""The inbox: what comes through the cloud is judged by its signatures, takes effect once, and is answered once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agent.changes.authority import stops
from agent.changes.journal import commands, item_commands
from agent.changes.journal.machine import Event, Gate
from agent.changes.journal.request import RequestError
from agent.changes.journal.trust_state import TrustState
from agent.changes.remote import inbox_handler
from agent.changes.remote.inbox_handler import REFUSED_PER_HOUR, STRANGER, reason_of, signer_of
from agent.runtime.clock import now_of
from agent.store import mail
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.mail import JoinCloud, NewEpoch, TellAgain
from tests.builders.expect import present
from tests.builders.job import CrashedError
from tests.builders.office import Desk, Office, approval, next_trust, office_in
from trust import envelope as envelopes
from trust import seal, statements
from trust.errors import MalformedSealError, NotUnderstoodError, Reason, RefusedError
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.policy import Action
from trust.seal import SealingKey
from trust.statements import Approval, Decision, FreezeScope, Resume, SeenHeads

ACCEPTED = "accepted"


# --- each kind ---


async def test_an_approval_by_the_cloud_counts(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    await office.receive("approval", approval(office))
    assert office.gate() == "approved"
    (receipt,) = office.receipts()
    assert (receipt.of_type, receipt.result.value, receipt.have, receipt.need) == ("approval", ACCEPTED, 1, 1)
    assert office.number("SELECT from_cloud FROM approval") == 1
    assert mail.next_in(office.store.reader) is None


async def test_J10_stops_that_are_replayed_and_their_end(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    people, plan = office.people, office.plan_envelope()
    freeze = people.freeze("maria")
    unfreeze = people.unfreeze(freeze, ("lena", "joseph"))
    for body in (freeze, freeze, unfreeze, unfreeze, freeze):
        await office.receive("freeze", body)  # the label is the cloud's: what it is stands inside
    for _ in range(2):
        await office.receive("cancel", people.cancel(plan, "joseph"))
    assert {result for _, result, _ in office.results()} == {ACCEPTED}
    assert office.number("SELECT count(*) FROM freeze WHERE lifted_seq IS NULL") == 0
    assert (office.gate(), office.leaves(LeafKind.CANCEL), office.leaves(LeafKind.FREEZE)) == ("cancelled", 1, 1)


async def test_a_signed_pause_and_resume_act_once(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    people, plan = office.people, office.plan_envelope()
    other = replace(plan, payload=plan.payload + b" ")
    paused = "SELECT count(*) FROM plan WHERE paused_by = 'joseph'"
    pause, early = people.pause(plan, "joseph"), people.pause(plan, "lena", Resume, minutes=-3)
    resume = people.pause(plan, "lena", Resume, minutes=2)
    for body, stays in ((pause, 1), (early, 1), (resume, 0), (pause, 0), (resume, 0)):
        await office.receive("pause", body)
        assert office.number(paused) == stays
    assert (office.leaves(LeafKind.PAUSED), office.leaves(LeafKind.RESUMED)) == (1, 1)
    assert office.number("SELECT count(*) FROM pause_statement") == 2
    await office.receive("pause", people.pause(other, "joseph"))
    await office.receive("resume", people.pause(plan, "lena", Resume, minutes=2))  # nothing is paused
    people.keys["eve"] = SigningKey.generate()  # not in the trust document: she is not told that nothing is paused
    await office.receive("resume", people.pause(plan, "eve", Resume, minutes=2))
    refused = [reason for _, result, reason in office.results() if result != ACCEPTED]
    assert refused == [
        Reason.EXPIRED.value,
        Reason.OTHER_PLAN.value,
        Reason.CONSUMED.value,
        Reason.UNKNOWN_SIGNER.value,
    ]
    assert {r.of_type for r in office.receipts()} == {"pause", "resume"}


async def test_trust_and_standing(office: Office) -> None:
    document = next_trust(office)
    for kind, body in (("trust", document), ("trust", document), ("standing", office.people.standing())):
        await office.receive(kind, body)
    assert office.results() == [("trust", ACCEPTED, ""), ("trust", ACCEPTED, ""), ("standing", ACCEPTED, "")]
    assert office.leaves(LeafKind.TRUST_CHANGED) == 1
    assert office.number("SELECT count(*) FROM standing") == 1


async def test_an_intent_becomes_a_plan_on_the_board(office: Office) -> None:
    await office.receive("intent", office.sealed(office.intent("C-1")))
    assert [o.kind for o in office.out()] == ["plan", "receipt"]
    assert office.results() == [("intent", ACCEPTED, "")]
    plan = office.store.reader.execute("SELECT requester, action FROM plan").fetchone()
    assert tuple(plan) == ("maria", "suspend")


@pytest.mark.parametrize(
    ("asked", "services"),
    [
        ({"refs": ("C-1",), "verb": Action.REMOVE}, ["C-1/home"]),
        ({"refs": ("C-1",), "verb": Action.RENAME_LOGIN, "params": {"login": "u9"}}, ["C-1/home"]),
        ({"refs": ("C-2",), "by": "subscriber"}, ["C-2/home", "C-2/shop"]),
        ({"refs": ("C-2",), "by": "subscriber", "verb": Action.REMOVE}, ["C-2/home", "C-2/shop"]),
        ({"refs": ("C-2",)}, []),  # which of the two, nobody said
    ],
    ids=["remove", "rename-login", "all-services", "remove-all", "ambiguous"],
)
async def test_asks_of_a_desk_become_plans(tmp_path: Path, asked: dict[str, Any], services: list[str]) -> None:
    desk = Desk()
    desk.world.add("u9")
    async with office_in(tmp_path, desk) as office:
        refs, reason = asked.pop("refs"), "" if "verb" in asked else "abuse"
        await office.receive("intent", office.sealed(office.intent(*refs, reason=reason, **asked)))
        assert office.results() == [("intent", ACCEPTED, "") if services else ("intent", "refused", "not-taken")]
        found = office.store.reader.execute("SELECT service, state FROM item ORDER BY n").fetchall()
        assert [tuple(row) for row in found] == [(service, "planned") for service in services]


@pytest.mark.parametrize("sealed", [True, False])
async def test_an_intent_that_no_key_opens_has_a_key_made(office: Office, sealed: bool) -> None:
    """One that opens, and holds no envelope, says nothing about keys."""
    vault, sealing = office.daemon.files.vault, office.daemon.sealing
    keys = sealing._keys = [replace(key, not_before_s=key.not_before_s - 3600) for key in vault.sealing_keys()]
    body = seal.seal(b"x", SealingKey.generate().public) if sealed else office.sealed(b"x")
    await office.receive("intent", body)
    await sealing.refresh()
    assert len(vault.sealing_keys()) == len(keys) + sealed
    assert office.results() == [("intent", "refused", "malformed")]


async def test_a_service_asks_and_cannot_approve(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await office.receive("intent", office.sealed(office.intent("C-1", who="billing", key=desk.billing)))
        assert office.number("SELECT count(*) FROM plan WHERE requester = 'billing'") == 1
        await office.all_sent()
        await office.receive("approval", approval(office, "joseph", key=desk.billing))
        assert office.results() == [("approval", "refused", "unknown-signer")]
        assert office.gate() == "open"


@pytest.mark.parametrize("run_by", ["", "joseph"])
async def test_a1_a_program_and_who_runs_it_are_one(tmp_path: Path, run_by: str) -> None:
    """Joseph runs the billing server: he asks as billing, and approves as joseph."""
    desk = Desk(run_by=run_by)
    async with office_in(tmp_path, desk) as office:
        await office.receive("intent", office.sealed(office.intent("C-1", who="billing", key=desk.billing)))
        await office.all_sent()
        await office.receive("approval", approval(office, "joseph"))
        assert office.results() == [
            ("approval", "refused", "requester-approves") if run_by else ("approval", ACCEPTED, "")
        ]
        assert office.gate() == "open"
        await office.all_sent()
        await office.receive("approval", approval(office, "lena"))
        assert office.gate() == "approved"


def newcomer(office: Office) -> tuple[SigningKey, bytes]:
    """Return the key of rina, who may do as maria does, and the next trust document, the first that knows her."""
    pinned, key = office.pinned, SigningKey.generate()
    maria = pinned.trust.people[0]
    rina = replace(maria, handle="rina", keys=(replace(maria.keys[0], pub=key.public.hex()),))
    trust = replace(
        pinned.trust,
        version=2,
        prev=pinned.sha256.hex(),
        issued=pinned.trust.issued + 1,
        people=(*pinned.trust.people, rina),
    )
    return key, office.people.sign_trust(trust)[0]


async def test_links_come_before_what_they_carry(office: Office) -> None:
    """A person whom only the next version knows signs an intent, which carries that version."""
    key, link = newcomer(office)
    body = office.sealed(office.intent("C-1", who="rina", key=key))
    await office.receive("intent", body)
    await office.deliver("intent", body, links=(link, b"not one"))
    await office.handle()
    assert [reason for _, _, reason in office.results()] == ["unknown-signer", ""]


async def test_links_come_before_a_stop_that_carries_them(office: Office) -> None:
    office.people.keys["rina"], link = newcomer(office)
    freeze = office.people.freeze("rina")
    await office.receive("freeze", freeze)
    await office.deliver("freeze", freeze, links=(link,))
    await office.handle()
    assert office.results() == [("freeze", "refused", "unknown-signer"), ("freeze", ACCEPTED, "")]


async def test_links_come_before_a_view_that_carries_them(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    key, link = newcomer(office)
    view = office.people.view(office.plan_envelope(), "rina", SealingKey.generate(), signer=key)
    await office.receive("view", view)
    assert [o.kind for o in office.out()] == ["receipt"]
    await office.deliver("view", view, links=(link,))
    await office.handle()
    assert [o.kind for o in office.out()] == ["receipt", "view-page"]


async def test_a_witness_answer_goes_to_the_witnesses(tmp_path: Path) -> None:
    taken: list[tuple[bytes, bytes]] = []

    class Taker:
        async def take(self, witness_key_id: bytes, body: bytes) -> None:
            taken.append((witness_key_id, body))

    async with office_in(tmp_path, Desk()) as office:
        office.inbox_handler = office.with_parts(witnesses=Taker())
        await office.receive("cosignature", b"conflict 7\n", witness=b"wkey")
        assert taken == [(b"wkey", b"conflict 7\n")]
        assert (office.out("receipt"), mail.next_in(office.store.reader)) == ([], None)


# --- again ---


async def test_again_under_another_ref_has_no_second_effect(office: Office) -> None:
    """The cloud may deliver what it likes as often as it likes."""
    intent = office.intent("C-1")
    for _ in range(3):
        await office.receive("intent", office.sealed(intent))
    assert office.results() == [("intent", ACCEPTED, "")] * 3
    assert office.number("SELECT count(*) FROM plan") == 1
    await office.all_sent()
    body = approval(office)
    for _ in range(3):
        await office.receive("approval", body)
    assert office.results() == [("approval", ACCEPTED, "")] * 3
    assert office.leaves(LeafKind.APPROVAL) == 1


async def test_intent_id_is_answered_once_whatever_stands_beside_it(office: Office) -> None:
    await office.receive("intent", office.sealed(office.intent("C-1", intent_id="7" * 32)))
    await office.receive("intent", office.sealed(office.intent("C-2/shop", intent_id="7" * 32)))
    assert [r[2] for r in office.results()] == ["", "not-taken"]
    assert office.number("SELECT count(*) FROM plan") == 1


async def test_an_approval_that_was_taken_stays_taken_after_the_start(office: Office) -> None:
    """We died between the approval and its receipt, and the change started meanwhile."""
    await office.plan()
    body = approval(office)
    await office.receive("approval", body)
    await office.all_sent()
    await office.store.run(commands_consumed(office))
    await office.receive("approval", body)
    await office.receive("approval", approval(office, "lena"))
    assert [r[1:] for r in office.results()] == [(ACCEPTED, ""), ("refused", "consumed")]


def commands_consumed(office: Office) -> commands.Consume:
    row = office.store.reader.execute("SELECT plan_id FROM plan").fetchone()
    record = office.parts.recorder.record(None, {"what": "consumed"})
    now = now_of(office.parts.clock)
    return commands.Consume(bytes(row[0]), now, lambda tx, kept: None, lambda tx: None, 10**6, record)


# --- dying at every command ---


@dataclass(frozen=True)
class Scene:
    """What is there before, and what comes."""

    kind: str
    body: Callable[[Office], bytes]
    planned: bool = True


SCENES = {
    "approval": Scene("approval", approval),
    "rejection": Scene("approval", lambda o: approval(o, decision=Decision.REJECT)),
    "refused": Scene("approval", lambda o: approval(o, "maria")),
    "cancel": Scene("cancel", lambda o: o.people.cancel(o.plan_envelope(), "joseph")),
    "pause": Scene("pause", lambda o: o.people.pause(o.plan_envelope(), "joseph")),
    "freeze": Scene("freeze", lambda o: o.people.freeze("lena")),
    "trust": Scene("trust", next_trust),
    "standing": Scene("standing", lambda o: o.people.standing()),
    "intent": Scene("intent", lambda o: o.sealed(o.intent("C-1")), planned=False),
    "not-taken": Scene("intent", lambda o: o.sealed(o.intent("C-99")), planned=False),
    "stranger": Scene("intent", lambda o: o.sealed(o.intent("C-1", key=SigningKey.generate())), planned=False),
    "unopened": Scene("intent", lambda o: seal.seal(b"x", SealingKey.generate().public), planned=False),
    "view": Scene("view", lambda o: o.people.view(o.plan_envelope(), "joseph", SealingKey.generate())),
    "view-late": Scene("view", lambda o: o.people.view(o.plan_envelope(), "joseph", SealingKey.generate(), minutes=-9)),
}  # fmt: skip
LIFTED = Scene("unfreeze", lambda o: b"")
AT_NIGHT = Scene("intent", lambda o: o.sealed(restore(o)), planned=False)
COUNTED = (
    "standing_use",
    "approval",
    "cancelled",
    "pause_statement",
    "freeze",
    "standing",
    "intent",
    "plan",
    "view",
    "cloud_refusal",
)


def ending(office: Office) -> dict[str, object]:
    """What must not depend on whether and where we died."""
    rows = {table: office.number(f"SELECT count(*) FROM {table}") for table in COUNTED}
    gates = [r[0] for r in office.store.reader.execute("SELECT gate FROM plan")]
    pinned = office.parts.trust.pinned
    return {
        **rows,
        "gates": gates,
        "trust": pinned.trust.version if pinned else 0,
        "lifted": office.number("SELECT count(*) FROM freeze WHERE lifted_seq IS NOT NULL"),
        "receipts": office.results(),
        "pages": [o.last for o in office.out("view-page")],
        "waiting": office.number("SELECT count(*) FROM inbox WHERE done_s IS NULL"),
        "disclosed": office.leaves(LeafKind.DISCLOSED),
    }


async def prepared(office: Office, scene: Scene) -> None:
    if scene.planned:
        await office.plan()
    if scene is LIFTED:
        freeze = office.people.freeze("lena")
        await office.receive("freeze", freeze)
        body = office.people.unfreeze(freeze, ("lena", "joseph"))
    else:
        body = scene.body(office)
    if scene is AT_NIGHT:
        await office.receive("standing", office.people.standing())
    await office.all_sent()
    await office.deliver(scene.kind, body)


def restore(office: Office) -> bytes:
    return office.intent("C-5", who="billing", key=office.desk.billing, verb=Action.RESTORE)


async def test_a_restore_at_night_starts_by_standing_authority(office: Office) -> None:
    await prepared(office, AT_NIGHT)
    await office.handle()
    assert (office.gate(), office.number("SELECT count(*) FROM standing_use")) == ("approved", 1)


@pytest.mark.parametrize("name", [*SCENES, "unfreeze", "at-night"])
async def test_dies_before_and_after_every_command(tmp_path: Path, name: str) -> None:
    scene = {**SCENES, "unfreeze": LIFTED, "at-night": AT_NIGHT}[name]
    (tmp_path / "whole").mkdir()
    async with office_in(tmp_path / "whole", Desk()) as office:
        await prepared(office, scene)
        before = office.store.seen
        await office.handle()
        want, steps = ending(office), office.store.seen - before
    assert want["waiting"] == 0
    assert steps >= 1
    for n in range(1, steps + 1):
        for after in (False, True):
            folder = tmp_path / f"{n}-{after}"
            folder.mkdir()
            assert await die(folder, scene, n, after) == want, (n, after)


async def die(folder: Path, scene: Scene, n: int, after: bool) -> dict[str, object]:
    desk = Desk()
    with pytest.RaisesGroup(CrashedError, flatten_subgroups=True):
        async with office_in(folder, desk) as office:
            await prepared(office, scene)
            office.store.die_at, office.store.die_after = office.store.seen + n, after
            await office.handle()
    async with office_in(folder, desk) as office:
        await office.daemon.api.parts.approvals.standings.go_on()  # as the worker does when it starts
        await office.handle()
        office.daemon.log.evidence.verify()
        return ending(office)


# --- refusals ---


async def test_C15_every_refusal_about_subscribers_is_one_answer(tmp_path: Path) -> None:
    """C15: an intent is no way to ask whether somebody is a customer."""
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        asks = {
            "unknown": office.intent("C-99"),
            "ambiguous": office.intent("C-2"),
            "protected": office.intent("C-3"),
            "paid": office.intent("C-4"),
            "no-tariff": office.intent("C-1", verb=Action.SET_PLAN, reason=""),
            "none": office.intent(),
            "no-reason": office.intent("C-1", reason="whim"),
            "huge": office.intent(*(f"C-{n}/home" for n in range(12_000))),
        }
        for envelope in asks.values():
            await office.receive("intent", office.sealed(envelope))
        desk.world.unreadable = 1
        unreadable = office.intent("C-1")
        await office.receive("intent", office.sealed(unreadable))
        assert office.results() == [("intent", "refused", "not-taken")] * (len(asks) + 1)
        plain = {replace(r, of_sha256="", at=0) for r in office.receipts()}
        assert len(plain) == 1
        assert len({len(o.body) for o in office.out()}) == 1
        assert office.leaves(LeafKind.REFUSED) == len(asks) + 1
        digests = {envelopes.digest(envelopes.decode_untrusted(e)).hex() for e in (*asks.values(), unreadable)}
        assert {r.of_sha256 for r in office.receipts()} == digests


async def test_the_record_of_a_refusal_names_no_subscriber(office: Office) -> None:
    await office.receive("intent", office.sealed(office.intent("C-99")))
    (event,) = [e for e in office.daemon.log.evidence.events() if e.kind == "refused"]
    assert event.record == {
        "what": "refused", "kind": "intent", "reason": "not-taken", "claims": "maria", "by": "cloud",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"agent": "9" * 32}, "not-taken"),
        ({"expires_in_s": -5}, "expired"),
        ({"expires_in_s": 48 * 3600}, "not-taken"),
        ({"key": SigningKey.generate()}, "unknown-signer"),
        ({"who": "joseph", "key": SigningKey(bytes(32))}, "unknown-signer"),
    ],
)
async def test_an_intent_that_is_not_in_order(office: Office, change: dict[str, object], reason: str) -> None:
    await office.receive("intent", office.sealed(office.intent("C-1", **change)))  # type: ignore[arg-type]  # its keywords
    assert office.results() == [("intent", "refused", reason)]
    assert office.number("SELECT count(*) FROM plan") == 0
    assert office.leaves(LeafKind.REFUSED) == 1


async def test_somebody_elses_name_under_ones_own_key(office: Office) -> None:
    await office.receive("intent", office.sealed(office.intent("C-1", key=office.people.keys["joseph"])))
    assert office.results() == [("intent", "refused", "signer-is-another")]
    assert office.number("SELECT count(*) FROM cloud_refusal WHERE requester = 'joseph'") == 1


async def test_an_approval_of_another_agents_plan_is_told_so(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    plan = office.plan_envelope()
    await office.receive("approval", office.people.approve(replace(plan, payload=plan.payload + b" "), "joseph"))
    assert office.results() == [("approval", "refused", "other-plan")]
    assert (office.gate(), office.leaves(LeafKind.REFUSED)) == ("open", 1)


async def test_bytes_that_are_nothing(office: Office) -> None:
    for kind in ("approval", "freeze", "view", "plan", "no-kind"):
        await office.receive(kind, b"\xff\x00")
    assert office.out() == []
    await office.receive("intent", b"\xff\x00")
    await office.receive("intent", office.sealed(b"no envelope"))
    assert office.results() == [("intent", "refused", "malformed")] * 2
    unknown = envelopes.encode(envelopes.sign("application/x", b"{}", [office.people.keys["maria"]]))
    await office.all_sent()
    await office.receive("approval", unknown)
    assert [r[0] for r in office.results()] == ["approval"]
    assert mail.next_in(office.store.reader) is None


async def test_what_comes_before_a_trust_is_installed_waits_for_it(office: Office) -> None:
    waits = TrustState(
        office.store, office.parts.recorder, office.parts.agent, office.daemon.files.identity.plan_key.public
    )
    pinned, waits.pinned = waits.pinned, None  # as on the first day
    office.inbox_handler = office.with_parts(trust=waits)
    await office.deliver("freeze", office.people.freeze("maria"), links=(b"x",))
    await office.deliver("intent", office.sealed(office.intent("C-1")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.inbox_handler.run)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (mail.state(office.store.reader).inbox, office.leaves(LeafKind.FREEZE)) == (2, 0)
        waits.pinned = pinned
        with trio.fail_after(60):
            while mail.state(office.store.reader).inbox:
                office.parts.bells.inbox.ring()
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert {(kind, result) for kind, result, _ in office.results()} == {("freeze", ACCEPTED), ("intent", ACCEPTED)}


async def test_an_intent_that_waits_for_a_device_holds_up_no_other(office: Office) -> None:
    await office.plan("C-1")
    await office.receive("approval", approval(office))
    row = office.row()
    assert await office.daemon.job.worker._consume(row)
    record = office.parts.recorder.record(None, {})
    begins = item_commands.MoveItem(row.plan_id, 1, Event.BEGIN, "", "", record)
    await office.store.run(begins)  # it is being suspended, and its router does not answer
    waits = office.sealed(office.intent("C-1", who="billing", key=office.desk.billing, verb=Action.RESTORE))
    await office.all_sent()
    await office.deliver("intent", waits)
    for ref in ("C-2/home", "C-2/shop"):
        await office.deliver("intent", office.sealed(office.intent(ref)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.inbox_handler.run)
        with trio.fail_after(60):
            while len(office.results()) < 2:
                await office.parts.changed.wait()
        assert mail.state(office.store.reader).inbox == 1
        nursery.cancel_scope.cancel()
    assert [(r.of_type, r.result.value) for r in office.receipts()] == [("intent", ACCEPTED)] * 2


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ("consumed", "consumed"),
        ("rejected", "rejected"),
        ("cancelled", "cancelled"),
        ("expired", "expired"),
        ("void", "void"),
    ],
)
async def test_a_late_approval_is_told_what_became_of_the_plan(office: Office, gate: str, reason: str) -> None:
    await office.plan()
    office.store._con.execute("UPDATE plan SET gate = ?", (gate,))
    await office.all_sent()
    await office.receive("approval", approval(office))
    assert office.results() == [("approval", "refused", reason)]


async def test_an_ignorant_control_plane_is_told_of_open_plans(office: Office) -> None:
    await office.plan("C-1")
    office.store._con.execute("UPDATE plan SET gate = 'rejected'")
    waits = await office.plan("C-2/shop")
    await office.all_sent()
    await office.store.run(NewEpoch(b"1" * 16, 0))  # the first connection
    assert office.out("plan") == []
    for epoch in (b"2" * 16, b"2" * 16, b"3" * 16):  # restored from backups, and not read in between
        await office.store.run(NewEpoch(epoch, 0))
        assert [o.body for o in office.out("plan")] == [waits.envelope]
    await office.store.run(JoinCloud(b"m" * 32))
    assert [o.body for o in office.out("plan")] == [waits.envelope]


async def test_a_cloud_that_was_put_back_is_told_what_it_may_lack(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, over = await office.plan("C-1"), await office.plan("C-2/shop")
    con = office.store._con
    con.execute("UPDATE plan SET gate = 'consumed' WHERE plan_id = ?", (running.plan_id,))
    con.execute("UPDATE plan SET gate = 'rejected' WHERE plan_id = ?", (over.plan_id,))
    record = office.daemon.api.parts.recorder.record(None, {"what": "over"})
    await office.store.run(commands.Conclude(over.plan_id, Gate.REJECTED, b"its outcome", lambda _: record))
    await office.all_sent()
    await office.store.run(NewEpoch(b"1" * 16, 0))
    assert not [*office.out("plan"), *office.out("outcome")]
    for _ in range(2):  # once where it waits to be sent
        await office.store.run(TellAgain())
        assert [o.body for o in office.out("plan")] == [running.envelope, over.envelope]
        assert [o.body for o in office.out("outcome")] == [b"its outcome"]
    await office.all_sent()
    monkeypatch.setitem(mail.KEPT_S, "outcome", 0)
    await office.store.run(TellAgain())
    assert [o.body for o in office.out("plan")] == [running.envelope]
    assert not office.out("outcome")


# --- how often ---


async def test_an_approval_in_other_bytes_is_the_same_approval(office: Office) -> None:
    await office.plan(requester=1)  # nobody knows who asked: two must approve
    body = approval(office)
    await office.receive("approval", body)
    for n in range(5):  # DSSE says that unknown fields are ignored: whoever carries it can write them
        await office.receive("approval", json.dumps({**json.loads(body), "x": n}).encode())
    assert office.gate() == "open"
    assert office.leaves(LeafKind.APPROVAL) == 1
    assert {r.result.value for r in office.receipts()} == {ACCEPTED}


async def test_a_refused_intent_is_not_taken_in_a_better_hour(office: Office) -> None:
    """Somebody keeps what a person signed, has it refused, and brings it when its subject may be suspended again."""
    signed = office.intent("C-9")
    for _ in range(2):
        await office.receive("intent", office.sealed(signed))
        office.store._con.execute(
            "INSERT OR IGNORE INTO service SELECT 'C-9/home', 'C-9', name, service, 'u4', method, tariff,"
            " protected, feeds, extra FROM service WHERE ref = 'C-1/home'"
        )
    assert office.results() == [("intent", "refused", "not-taken")] * 2
    assert office.number("SELECT count(*) FROM plan") == 0
    abuse = {"reason": "abuse"}
    await office.receive("intent", office.sealed(office.intent("C-9", **abuse)))
    assert office.results()[-1] == ("intent", ACCEPTED, "")


async def test_intent_may_come_again_where_target_could_not_be_read(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        signed = office.sealed(office.intent("C-1"))
        desk.world.dead.add("fake/d")
        await office.receive("intent", signed)
        desk.world.dead.clear()
        await office.receive("intent", signed)
        assert [reason for _, _, reason in office.results()] == ["not-taken", ""]


async def test_refused_intents_are_forgotten_once_out_of_date(office: Office) -> None:
    await office.store.run(commands.RefuseIntent(b"old" * 5 + b"!", 1))
    await office.receive("intent", office.sealed(office.intent("C-9")))
    (kept,) = office.store.query("SELECT * FROM refused_intent")
    assert kept["until_s"] > 1


async def test_a_replayed_intent_tries_no_standing_authority_again(office: Office) -> None:
    await office.receive("standing", office.people.standing())
    body = office.sealed(office.intent("C-5", who="billing", key=office.desk.billing, verb=Action.RESTORE))
    await office.receive("intent", body)
    assert office.gate() == "approved"
    await office.receive("freeze", office.people.freeze("maria", FreezeScope.PERSON, "joseph"))
    assert not await office.daemon.job.worker._consume(office.row())
    assert office.gate() == "open"
    refusals = office.leaves(LeafKind.REFUSED)
    for _ in range(5):
        await office.receive("intent", body)
    assert (office.gate(), office.leaves(LeafKind.REFUSED)) == ("open", refusals)


@dataclass(frozen=True)
class Look:
    """Return the people that froze a change, as its next step would be told."""

    plan_id: bytes

    def run(self, tx: Tx) -> str | None:
        return commands.frozen_by(tx, self.plan_id, "maria")


@pytest.mark.parametrize("scope", [FreezeScope.PERSON, FreezeScope.KEY])
async def test_a_running_change_stops_for_a_frozen_approver(office: Office, scope: FreezeScope) -> None:
    keys = {name: key.public.hex() for name, key in office.people.keys.items()}
    plan_id = (await office.plan()).plan_id
    await office.receive("approval", approval(office, "joseph"))
    assert await office.daemon.job.worker._consume(office.row())
    for name, by in (("lena", None), ("joseph", "maria")):
        target = name if scope is FreezeScope.PERSON else keys[name]
        await office.receive("freeze", office.people.freeze("maria", scope, target))
        assert await office.store.run(Look(plan_id)) == by


async def test_a_frozen_person_or_key_does_not_help_to_lift_it(office: Office) -> None:
    people = office.people
    key = people.keys["joseph"].public.hex()
    scopes = ((FreezeScope.PERSON, "joseph"), (FreezeScope.KEY, key), (FreezeScope.ALL, ""))
    freezes = [people.freeze("maria", scope, target) for scope, target in scopes]
    for freeze in freezes:
        await office.receive("freeze", freeze)
    await office.all_sent()
    for freeze in freezes:
        await office.receive("unfreeze", people.unfreeze(freeze, ("lena", "joseph")))
    assert office.results() == [("unfreeze", "refused", "threshold-not-met")] * 3
    assert office.number("SELECT count(*) FROM freeze WHERE lifted_seq IS NULL") == 3


async def test_the_freezes_of_somebody_who_left_lapse(office: Office) -> None:
    """A stolen key of one requester must not halt an agent for good."""
    for _ in range(2):
        await office.receive("freeze", office.people.freeze("maria"))
    await office.receive("freeze", office.people.freeze("joseph", FreezeScope.PERSON, "lena"))
    pinned = office.pinned
    left = tuple(p for p in pinned.trust.people if p.handle != "maria")
    trust = replace(pinned.trust, version=2, prev=pinned.sha256.hex(), issued=pinned.trust.issued + 1, people=left)
    await office.receive("trust", office.people.sign_trust(trust)[0])
    held = office.store.query("SELECT person FROM freeze WHERE lifted_seq IS NULL")
    assert [row["person"] for row in held] == ["joseph"]


async def test_a_person_holds_so_many_freezes(office: Office) -> None:
    held = [office.people.freeze("maria") for _ in range(stops.FREEZES_MAX + 2)]
    for body in held:
        await office.receive("freeze", body)
    assert office.number("SELECT count(*) FROM freeze") == stops.FREEZES_MAX
    assert [result for _, result, _ in office.results()].count("refused") == 2
    await office.receive("freeze", office.people.freeze("joseph"))
    assert office.results()[-1][1] == ACCEPTED
    # One statement lifts them all, whichever of them this agent took
    several = office.people.unfreeze(held[-1], ("lena", "joseph"), *held[:-1])
    for _ in range(2):
        await office.receive("unfreeze", several)
        assert office.results()[-1] == ("unfreeze", ACCEPTED, "")
    assert office.number("SELECT count(*) FROM freeze WHERE lifted_seq IS NULL") == 1
    assert office.leaves(LeafKind.UNFREEZE) == 1


async def test_an_approval_under_a_forked_trust_version_is_none(office: Office) -> None:
    await office.plan()
    await office.receive("trust", next_trust(office))
    forked = SeenHeads(1, "ab" * 32)
    await office.receive("approval", office.people.approve(office.plan_envelope(), "joseph", seen=forked))
    assert (office.results()[-1], office.gate()) == (("approval", "refused", "forked"), "open")
    genuine = SeenHeads(1, office.store.query("SELECT sha256 FROM trust WHERE version = 1")[0]["sha256"].hex())
    await office.receive("approval", office.people.approve(office.plan_envelope(), "joseph", seen=genuine))
    assert (office.results()[-1][1], office.gate()) == (ACCEPTED, "approved")


async def test_a_rejection_is_heard_whatever_was_refused_before(office: Office) -> None:
    """M5: one statement that is refused again and again counts once; and a rejection is never limited for others."""
    await office.plan()
    tomorrow = int(time.time()) // 60 + 1440
    late = approval(office, "joseph", not_before=tomorrow)
    for _ in range(inbox_handler.REFUSED_PER_HOUR + 2):
        await office.receive("approval", late)
    refused = office.leaves(LeafKind.REFUSED)
    assert refused == inbox_handler.REPEATS_PER_HOUR, "what comes again and again leaves no more leaves"
    await office.all_sent()
    for n in range(inbox_handler.REFUSED_PER_HOUR):
        await office.receive("approval", approval(office, "joseph", not_before=tomorrow + 1 + n))
    await office.receive("approval", approval(office, "joseph"))
    assert office.results()[-1] == ("approval", "refused", "rate-limited")
    await office.receive("approval", approval(office, "joseph", decision=Decision.REJECT))
    assert (office.results()[-1][1], office.gate()) == (ACCEPTED, "rejected")


async def test_what_colleague_replays_from_board_silences_no_approval(office: Office) -> None:
    await office.plan()
    old = office.people.standing(("joseph", "lena"), starts_in_min=-1000, minutes=100)
    for _ in range(REFUSED_PER_HOUR + 2):
        await office.receive("standing", old)
    assert office.results()[-1] == ("standing", "refused", "rate-limited")
    await office.receive("approval", approval(office))
    assert (office.results()[-1][1], office.gate()) == (ACCEPTED, "approved")


async def test_a_requester_gets_so_many_plans_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_handler, "PLANS_PER_HOUR", 2)
    async with office_in(tmp_path, Desk()) as office:
        first = office.sealed(office.intent("C-1"))
        for body in (first, office.sealed(office.intent("C-2/shop")), office.sealed(office.intent("C-2/home")), first):
            await office.receive("intent", body)
        refused = ("intent", "refused", "rate-limited")
        taken = ("intent", ACCEPTED, "")
        assert office.results() == [taken, taken, refused, taken]
        await office.receive("intent", office.sealed(office.intent("C-2/home", who="lena")))
        assert office.results()[-1] == taken


async def test_who_is_refused_too_often_is_not_looked_at(office: Office) -> None:
    for n in range(REFUSED_PER_HOUR):
        await office.receive("intent", office.sealed(office.intent(f"C-9{n}")))
    await office.all_sent()
    await office.receive("intent", office.sealed(office.intent("C-1")))
    assert office.results() == [("intent", "refused", "rate-limited")]
    assert office.number("SELECT count(*) FROM plan") == 0
    assert office.leaves(LeafKind.REFUSED) == REFUSED_PER_HOUR
    await office.receive("intent", office.sealed(office.intent("C-1", who="lena")))
    assert office.results()[-1] == ("intent", ACCEPTED, "")
    age = "UPDATE cloud_refusal SET at_s = at_s - 3600"
    office.store._con.execute(age)
    await office.receive("intent", office.sealed(office.intent("C-2/shop")))
    assert office.results()[-1] == ("intent", ACCEPTED, "")


async def test_views_that_are_refused_too_often_are_not_looked_at(office: Office) -> None:
    await office.plan()
    for _ in range(REFUSED_PER_HOUR):
        late = office.people.view(office.plan_envelope(), "joseph", SealingKey.generate(), minutes=-9)
        await office.receive("view", late)
    await office.all_sent()
    await office.deliver("view", office.people.view(office.plan_envelope(), "joseph", SealingKey.generate()))
    await office.handle_one(present(mail.next_in(office.store.reader)))
    assert (office.results(), office.out("view-page")) == ([("view", "refused", "rate-limited")], [])
    assert mail.next_in(office.store.reader) is None, "it was answered: it does not come again after a restart"


async def test_strangers_fill_neither_log_nor_outbox(office: Office) -> None:
    await office.plan()
    await office.all_sent()
    stranger = SigningKey.generate()
    for n in range(REFUSED_PER_HOUR + 5):
        await office.receive("approval", approval(office, key=stranger, not_before=n))
        await office.receive("intent", b"junk %d" % n)
        await office.receive(
            "view", office.people.view(office.plan_envelope(), "joseph", SealingKey.generate(), signer=stranger)
        )
    assert len(office.out()) == 3 * REFUSED_PER_HOUR
    assert office.leaves(LeafKind.REFUSED) == 3 * REFUSED_PER_HOUR
    await office.receive("approval", approval(office))
    assert office.gate() == "approved"


async def test_a_stop_is_never_too_often(office: Office) -> None:
    """Somebody has a person's old approvals refused again and again: their freeze is heard all the same."""
    await office.plan()
    for _ in range(REFUSED_PER_HOUR):
        await office.receive("approval", approval(office, "maria"))  # who asked
    await office.all_sent()
    await office.receive("approval", approval(office, "maria"))
    assert office.results() == [("approval", "refused", "rate-limited")]
    await office.receive("freeze", office.people.freeze("maria"))
    assert office.results()[-1] == ("freeze", ACCEPTED, "")
    assert office.leaves(LeafKind.FREEZE) == 1


# --- the lanes ---


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110  what is waited for stands in the database
            await trio.sleep(0.005)


async def test_a_stop_does_not_wait_for_a_preview(tmp_path: Path) -> None:
    release = trio.Event()
    async with office_in(tmp_path, Desk()) as office, trio.open_nursery() as nursery:
        nursery.start_soon(office.with_parts(refresh_facts=lambda _: release.wait()).run)
        await office.deliver("intent", office.sealed(office.intent("C-1")))
        office.parts.bells.inbox.ring()
        await trio.testing.wait_all_tasks_blocked()
        await office.deliver("freeze", office.people.freeze("maria"))
        office.parts.bells.inbox.ring()
        await until(lambda: office.leaves(LeafKind.FREEZE) == 1 and bool(office.out("receipt")))
        assert office.results() == [("freeze", ACCEPTED, "")]
        release.set()
        await until(lambda: len(office.results()) == 2)
        assert office.number("SELECT count(*) FROM inbox WHERE done_s IS NULL") == 0
        nursery.cancel_scope.cancel()


async def test_a_statement_waits_for_the_one_before_it(tmp_path: Path) -> None:
    """They act in their order: a freeze, then what lifts it."""
    release, begun = trio.Event(), list[bytes]()

    class Slow:
        async def take(self, witness_key_id: bytes, body: bytes) -> None:
            begun.append(body)
            await release.wait()

    async with office_in(tmp_path, Desk()) as office, trio.open_nursery() as nursery:
        for body in (b"first", b"second"):
            await office.deliver("cosignature", body, witness=b"wkey")
        nursery.start_soon(office.with_parts(witnesses=Slow()).run)
        await until(lambda: bool(begun))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert begun == [b"first"]
        release.set()
        await until(lambda: begun == [b"first", b"second"])
        nursery.cancel_scope.cancel()


async def test_a_fault_of_ours_does_not_hold_up_the_next(tmp_path: Path) -> None:
    class Broken:
        async def take(self, witness_key_id: bytes, body: bytes) -> None:
            raise ValueError("a fault")

    async with office_in(tmp_path, Desk()) as office, trio.open_nursery() as nursery:
        await office.deliver("cosignature", b"x", witness=b"wkey")
        await office.deliver("freeze", office.people.freeze("maria"))
        nursery.start_soon(office.with_parts(witnesses=Broken()).run)
        await until(lambda: office.leaves(LeafKind.FREEZE) == 1 and bool(office.out("receipt")))
        assert mail.next_in(office.store.reader) is None
        nursery.cancel_scope.cancel()


# --- small parts ---


def chained(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RefusedError(Reason.FROZEN, "x"), Reason.FROZEN),
        (chained(RequestError("x"), RefusedError(Reason.EXPIRED, "x")), Reason.EXPIRED),
        (chained(RequestError("x"), NotUnderstoodError("x")), Reason.NOT_UNDERSTOOD),
        (MalformedSealError("x"), Reason.MALFORMED),
        (RequestError("x"), Reason.NOT_TAKEN),
        (RefusedCommandError("lifted", "x"), Reason.NOT_TAKEN),
    ],
)
def test_reasons(error: Exception, reason: Reason) -> None:
    assert reason_of(error) is reason


async def test_whose_signature_it_is(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        pinned = office.pinned
        keys = {"maria": desk.people.keys["maria"], "billing": desk.billing, STRANGER: SigningKey.generate()}
        for handle, key in keys.items():
            assert signer_of(envelopes.sign(statements.payload_type(Approval), b"{}", [key]), pinned.trust) == handle
