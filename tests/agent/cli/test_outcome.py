"""What people read of a change's end: nothing that was only written down is called enforced."""

from __future__ import annotations

from agent.cli.client import Json
from agent.cli.outcome import outcome_text


def item(n: int, state: str = "applied", reason: str = "read-back", detail: str = "seen online") -> Json:
    return {"n": n, "service": f"C-{n}/home", "state": state, "reason": reason, "detail": detail}


def change(*items: Json, state: str = "done") -> Json:
    return {
        "id": "K7QF", "gate": "consumed", "state": state, "approvals": [{"person": "joseph", "decision": "approve"}],
        "items": list(items), "steps": [], "finished_at": 1_767_225_600.0, "finished_seq": 41, "waits_because": "",
    }  # fmt: skip


def test_a_reason_that_was_only_recorded_is_not_called_enforced() -> None:
    text = outcome_text(change(item(1, reason="recorded", detail="")))
    assert "RECORDED, NOTHING SENT" in text.splitlines()[0]
    assert text.splitlines()[1] == "recorded, nothing sent"
    assert "enforced" not in text.lower()


def test_what_was_seen_is_called_enforced() -> None:
    text = outcome_text(change(item(1)))
    assert " ENFORCED " in text.splitlines()[0]
    assert text.splitlines()[1] == "enforced now: seen online"


def test_in_a_batch_they_are_counted_apart() -> None:
    lines = outcome_text(change(item(1), item(2, reason="recorded", detail=""), item(3))).splitlines()
    assert "   2 enforced now" in lines
    assert "   1 recorded, nothing sent" in lines
