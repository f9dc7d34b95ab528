"""What people read of a change's end: nothing that was only written down is called enforced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.cli import change as change_commands
from agent.cli.client import Json
from agent.cli.outcome import item_line, items_text, list_state, outcome_text, retry_text


def item(n: int, state: str = "applied", reason: str = "read-back", detail: str = "seen online") -> Json:
    told = {"n": n, "service": f"C-{n}/home", "cpe": None, "state": state, "reason": reason, "detail": detail}
    return told | {"overtaken": ""}


def change(*items: Json, state: str = "done") -> Json:
    return {
        "id": "K7QF", "gate": "consumed", "state": state, "approvals": [{"person": "joseph", "decision": "approve"}],
        "items": list(items), "steps": [], "done_again": {}, "reverted_by": {},
        "finished_at": "2026-01-01T00:00:00Z", "finished_seq": 41, "waits_because": "",
        "action": "suspend",
        "witnessed": "not witnessed", "standing": "",
    }  # fmt: skip


def test_a_reason_that_was_only_recorded_is_not_called_enforced() -> None:
    text = outcome_text(change(item(1, reason="recorded", detail="")))
    assert "RECORDED, NOTHING SENT" in text.splitlines()[0]
    assert text.splitlines()[1] == "recorded, nothing sent"
    assert "enforced" not in text.lower()
    rejected = outcome_text(change(item(1, reason="recorded", detail="the login stays rejected: by staff")))
    assert rejected.splitlines()[1] == "recorded, nothing sent: the login stays rejected: by staff"


def test_a_login_rejected_by_something_else_is_not_enforced() -> None:
    detail = "the login stays rejected: disabled in daloRADIUS (group daloRADIUS-Disabled-Users)"
    lines = outcome_text(change(item(1, reason="stays-rejected", detail=detail))).splitlines()
    assert " DONE, AND STILL REJECTED " in lines[0]
    assert lines[1] == f"done, and still rejected: {detail}"
    several = outcome_text(change(item(1, reason="stays-rejected"), item(2))).splitlines()
    assert {"   1 done, and still rejected", "   1 enforced now"} <= {line.split(":")[0] for line in several}


def test_what_was_seen_is_called_enforced() -> None:
    text = outcome_text(change(item(1)))
    assert " ENFORCED " in text.splitlines()[0]
    assert text.splitlines()[1] == "enforced now: seen online"


def test_what_may_let_a_suspended_one_out_is_beside_its_proof() -> None:
    told = {"open": "open: DNS to any server (rule 0); not checked: other routers"}
    lines = outcome_text(change(item(1) | told)).splitlines()
    assert lines[1:4] == ["enforced now: seen online", "open: DNS to any server (rule 0)", "not checked: other routers"]
    assert "open: DNS" not in outcome_text(change(item(1, state="not-applied") | told))


def test_another_try_is_offered_where_it_is_taken() -> None:
    """`change again` refuses actions with settings of their own: their results name no command that is refused."""
    parts = (item(1), item(2, state="not-applied", reason="refused"))
    again = "ispagent change again K7QF"
    assert again in outcome_text(change(*parts))
    for action in ("prepare-device", "remove", "rename-login", "subscriber-edit", "adopt", "revert", "cpe-set"):
        assert again not in outcome_text(change(*parts) | {"action": action}), action


@pytest.mark.parametrize(("reason", "offered"), [("still-online", True), ("cancelled", False)])
def test_no_retry_of_a_cancelled_item_is_offered(reason: str, offered: bool) -> None:
    text = outcome_text(change(item(1), item(2, "set-not-enforced", reason, "cancelled before this step")))
    assert ("ispagent change retry K7QF" in text) is offered


def test_an_overtaken_item_names_its_verb_and_no_retry() -> None:
    """A retry of such an item is refused."""
    left = item(2, "set-not-enforced", "still-online", "carries on") | {"overtaken": "change M2NPQ acted"}
    text = outcome_text(change(item(1), left))
    assert "> another change acted since: ispagent change suspend C-2/home" in text
    assert "change retry" not in text
    assert "ispagent change retry K7QF" in outcome_text(change(item(1, "set-not-enforced", "still-online"), left))


def test_in_a_batch_they_are_counted_apart() -> None:
    lines = outcome_text(change(item(1), item(2, reason="recorded", detail=""), item(3))).splitlines()
    assert "   2 enforced now" in lines
    assert "   1 recorded, nothing sent" in lines


def test_it_is_said_who_witnessed_the_log() -> None:
    assert outcome_text(change(item(1))).splitlines()[-1] == "proof     log 41, not witnessed"
    seen = change(item(1)) | {"witnessed": "witnessed by desk-lena, cloud"}
    assert outcome_text(seen).splitlines()[-1] == "proof     log 41, witnessed by desk-lena, cloud"


def test_without_cover_by_a_standing_authority_it_says_why() -> None:
    waiting = change(item(1, state="planned")) | {"gate": "open", "approvals": [], "have": 0, "need": 1}
    assert outcome_text(waiting) == ""
    told = outcome_text(waiting | {"waits_because": "it waits for a person: over the rate\x1b[2J"})
    assert told.splitlines()[0] == "K7QF waits for approval · 0 of 1"
    assert told.splitlines()[1].startswith("it waits for a person: over the rate")
    assert "\x1b" not in told


def test_who_approved_is_a_person_or_a_standing_authority() -> None:
    assert outcome_text(change(item(1))).splitlines()[0].endswith("approved by joseph")
    night = change(item(1)) | {"approvals": [], "standing": "ab12cd34" + 24 * "0"}
    assert outcome_text(night).splitlines()[0].endswith("approved by standing authority ab12cd34")


def test_text_and_fold_agree_on_who_needs_a_person() -> None:
    part = change(item(1), item(2, state="stale", reason="drifted"), state="done in part")
    assert "DONE IN PART, 1 NOT SENT" in outcome_text(part).splitlines()[0]
    assert "ispagent change again K7QF" in outcome_text(part)
    since = part | {"state": "done", "done_again": {"2": "M2NPQ"}}
    assert "   1 stale, nothing sent, done since by M2NPQ" in outcome_text(since)
    assert "change again" not in outcome_text(since)
    assert outcome_text(since, only_open=True) == "no item needs a person"


def test_what_a_revert_took_back_needs_nobody() -> None:
    half = change(item(1), item(2, state="needs-a-person", reason="given-up"), state="finished, needs you")
    assert "FINISHED, 1 NEEDS YOU" in outcome_text(half).splitlines()[0]
    back = half | {"state": "reverted", "reverted_by": {"1": "M2NPQ", "2": "M2NPQ"}}
    assert "REVERTED by M2NPQ" in outcome_text(back).splitlines()[0]
    assert "   1 NEEDS A PERSON, reverted by M2NPQ" in outcome_text(back)
    assert outcome_text(back, only_open=True) == "no item needs a person"


def step(bound: tuple[str, ...] = (), reason: str = "ack") -> Json:
    return {
        "item": 1, "step": 1, "direction": "forward", "attempt": 1, "verdict": "applied", "reason": reason,
        "detail": "", "bound": list(bound), "verb": "disconnect",
    }  # fmt: skip


def test_a_disconnect_enforces_nothing() -> None:
    session = f"radius/main/session/{'d3bc7efa' * 4}"
    ended = change(item(1, detail="")) | {"action": "disconnect", "steps": [step((session,))]}
    assert "SESSION ENDED" in outcome_text(ended).splitlines()[0]
    closed = ended | {"steps": [step((session,), "not-there"), step()]}
    assert "CLOSED" in outcome_text(closed).splitlines()[0]
    assert "ENFORCED" not in outcome_text(closed)


def test_what_had_no_session_is_not_called_ended() -> None:
    """A lease that is not bound, a client without a connection: nothing was there."""
    flow = "routeros/edge-1/ip/flow/tcp 10.1.0.50:50000 203.0.113.9:443"
    cut = change(item(1, detail="")) | {"action": "disconnect", "steps": [step((flow,), "done") | {"verb": "cut"}]}
    told = outcome_text(cut).splitlines()
    assert "CONNECTIONS CUT" in told[0]
    assert any(line.startswith("cut  ") for line in told)
    none = cut | {"steps": [step((), "nothing-to-do") | {"verb": "cut"}]}
    assert "NOTHING WAS THERE TO END" in outcome_text(none).splitlines()[0]
    both = cut | {"steps": [step((), "nothing-to-do"), step(("routeros/edge-1/ppp/session/0x81",), "done")]}
    assert "ENDED" not in outcome_text(none).splitlines()[0]
    assert "NOTHING" not in outcome_text(both).splitlines()[0]


def test_a_login_is_shown_whole_and_a_long_id_by_its_beginning() -> None:
    bound = (f"radius/main/session/{'d3bc7efa' * 4}", "radius/main/held/bng-1/amina.hassan@isp")
    lines = outcome_text(change(item(1)) | {"steps": [step(bound)]}).splitlines()
    assert "session   d3bc7efa bng-1/amina.hassan@isp applied, gone, read back" in lines


def test_a_cpe_in_a_list_of_changes_is_not_called_enforced() -> None:
    """A list does not name the CPE, and says no more of it than the change does."""
    listed = {"service": "C-1/home", "state": "applied", "reason": "proof-seen", "detail": "boot seen"}
    assert item_line(listed | {"on_cpe": True}) == "C-1/home: done · boot seen"
    assert item_line(listed | {"on_cpe": False}).startswith("C-1/home: enforced now")


def test_a_retry_names_its_items_and_shows_no_preview() -> None:
    again = change(item(1), item(2, state="running", reason="retry"), state="running")
    assert retry_text(again).splitlines() == ["K7QF 1 tried again: C-2/home", "     > ispagent change watch K7QF"]


def test_list_of_change_that_began_tells_results_and_no_promise() -> None:
    """`change show --list` after the end."""
    items = (
        item(1, detail="seen on bng-2"),
        item(2, "cancelled", "stopped", "1 of 19 failed"),
        item(3, "excluded", "paid", ""),
        item(4, "set-at-next-login", "none-known", "no session"),
    )
    first, second, third, fourth = items_text(change(*items, state="done in part")).splitlines()
    assert first.startswith("C-1/home: enforced now")
    assert "seen on bng-2" in first
    assert second.startswith("C-2/home: cancelled, nothing sent")
    assert third.startswith("C-3/home: left out")
    assert fourth.startswith("C-4/home: set: at next login")
    assert "would change" not in items_text(change(*items))
    expired = {**change(item(1, "planned", "", "")), "gate": "expired", "state": "expired"}
    assert items_text(expired) == "C-1/home: nothing was sent, the change is expired"


def test_who_watches_a_change_that_cannot_start_is_told_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = iter(({**change(item(1)), "gate": "approved", "waits_because": "frozen by maria"}, change(item(1))))

    @contextmanager
    def stream(*_: object) -> Iterator[tuple[int, list[Json]]]:
        assert capsys.readouterr().out == "K7QF not started: frozen by maria\n"
        yield 200, [{"end": "done", "exit": 0}]

    monkeypatch.setenv("ISPAGENT_SOCKET", "/nowhere/agent.sock")
    monkeypatch.setattr(change_commands, "call_object", lambda *_: next(seen))
    monkeypatch.setattr(change_commands.http_client, "stream", stream)
    assert change_commands.follow("K7QF") == 0
    assert capsys.readouterr().out.startswith("K7QF ENFORCED NOW")


def test_a_change_that_ended_while_paused_is_not_listed() -> None:
    assert list_state({"paused_by": "maria", "finished": False, "state": "running"}) == "PAUSED by maria"
    assert list_state({"paused_by": "maria", "finished": True, "state": "done"}) == "done"
