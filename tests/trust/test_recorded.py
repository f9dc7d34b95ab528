"""Documents of an earlier version (`vectors/v0`): they verify, and the code of today would write the same bytes."""

import base64
import json
from pathlib import Path

import pytest

from trust import chain, envelope, items, proof, render, statements, verify
from trust.statements import (
    Approval,
    Cancel,
    Decision,
    Enroll,
    Freeze,
    Intent,
    Outcome,
    Plan,
    Receipt,
    SealKey,
    Standing,
    Trust,
    Unfreeze,
    View,
)

FOLDER = Path(__file__).parent / "vectors" / "v0"
PAUSES = FOLDER.parent / "v0-pauses"
INDEX = json.loads((FOLDER / "index.json").read_text())
NOW = INDEX["at_s"]
KINDS = {
    "approval": Approval, "approval-reject": Approval, "cancel": Cancel, "enroll": Enroll, "freeze": Freeze,
    "intent": Intent, "outcome": Outcome, "plan": Plan, "plan-disconnect": Plan, "receipt": Receipt,
    "sealkey": SealKey, "standing": Standing, "trust": Trust, "unfreeze": Unfreeze, "view": View,
}  # fmt: skip
CPE_PLANS = ("plan-cpe-rebooted", "plan-cpe-reset")


def recorded(name):
    return envelope.decode_untrusted((FOLDER / f"{name}.json").read_bytes())


@pytest.fixture(scope="module")
def trust():
    return chain.verify_first(recorded("trust"), INDEX["head"])


def test_every_kind_of_statement_is_recorded():
    assert set(KINDS) == set(INDEX["digests"])
    assert {statements.payload_type(kind) for kind in KINDS.values()} == {
        recorded(name).payload_type for name in KINDS
    }  # fmt: skip


@pytest.mark.parametrize("name", [*KINDS, *CPE_PLANS])
def test_it_is_read_and_would_be_written_so_again(name):
    statement = recorded(name)
    found = statements.decode_as_untrusted(KINDS.get(name, Plan), statement)
    assert statements.encode(found) == statement.payload
    if name in KINDS:
        assert envelope.digest(statement).hex() == INDEX["digests"][name]


def test_each_verifies_under_the_recorded_trust(trust):
    plan = verify.verify_plan(recorded("plan"), trust)
    assert verify.verify_plan(recorded("plan-disconnect"), trust).action.value == "disconnect"
    digest = envelope.digest(recorded("plan"))
    at = plan.made * 60 + 60
    result = verify.get_approval_result(plan, digest, [recorded("approval")], trust, at, requester=plan.requester)
    assert result.reason is None
    assert statements.decode_as_untrusted(Approval, recorded("approval-reject")).decision is Decision.REJECT
    assert verify.verify_receipt(recorded("receipt"), trust)
    assert verify.verify_outcome(recorded("outcome"), trust).plan_sha256 == digest.hex()
    assert verify.verify_enroll(recorded("enroll")).agent == plan.agent
    assert verify.verify_sealkey(recorded("sealkey"), trust, NOW).agent == plan.agent
    for kind in ("intent", "cancel", "freeze", "unfreeze", "view", "standing"):
        assert getattr(verify, f"verify_{kind}")(recorded(kind), trust, NOW)


def test_a_pause_and_its_resume_are_written_as_they_were_read():
    """They came after `vectors/v0` was made, signed by the test operator's people."""
    index = json.loads((PAUSES / "index.json").read_text())
    made = {name: envelope.decode_untrusted((PAUSES / f"{name}.json").read_bytes()) for name in index["digests"]}
    assert {name: envelope.digest(statement).hex() for name, statement in made.items()} == index["digests"]
    trust, at_s = chain.verify_first(made["trust"], index["head"]), index["at_s"]
    plan = verify.verify_plan(made["plan"], trust)
    pause = verify.verify_pause(made["pause"], trust, at_s, plan.agent)
    resume = verify.verify_resume(made["resume"], trust, at_s, plan.agent, pause.person)
    assert pause.plan_sha256 == resume.plan_sha256 == index["digests"]["plan"]
    assert statements.encode(pause) == made["pause"].payload
    assert statements.encode(resume) == made["resume"].payload


@pytest.mark.parametrize("name", ["items", "items-cpe"])
def test_items_open_under_their_plan_and_are_shown(name):
    export = json.loads((FOLDER / f"{name}.json").read_text())
    plan = statements.decode_as_untrusted(Plan, envelope.decode_untrusted(base64.b64decode(export["plan"])))
    documents = [d.encode() for d in export["documents"]]
    found = items.open_items_untrusted(documents, bytes.fromhex(plan.items_root), plan.plan_id)
    assert items.encode_head(found.head) == documents[0]
    assert [items.encode_item(i) for i in found.items] == documents[1:]
    shown = render.render_preview(plan, found, export["short"])
    assert export["short"] in shown
    assert "LOW" in shown.upper()


def test_an_item_with_every_field_is_written_as_it_was_read():
    document = (FOLDER / "item-every-field.json").read_bytes()
    item = items.decode_item_untrusted(document)
    assert items.encode_item(item) == document
    assert len(item.steps) == 3


@pytest.mark.parametrize("name", CPE_PLANS)
def test_a_summary_of_a_plan_on_a_cpe_is_shown(name):
    plan = statements.decode_as_untrusted(Plan, recorded(name))
    assert "(irreversible)" in render.render_summary(plan, "K7QF2")


def test_a_proof_file_verifies():
    data = (FOLDER / "proof.txt").read_bytes()
    assert b"desk-lena" in data, "its checkpoint was cosigned"
    report = proof.verify_file_untrusted(data, INDEX["vkey"])
    assert report.ok, [line.text for line in report.lines if not line.ok]


def test_an_export_verifies():
    report = proof.verify_export_untrusted((FOLDER / "export.jsonl").read_bytes(), INDEX["vkey"], INDEX["head"])
    assert report.ok, [line.text for line in report.lines if not line.ok]
