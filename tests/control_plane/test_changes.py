"""`ispcloud changes` on exported plans: what is shown, what is signed, and every refusal with its exit code."""

import dataclasses
import json
import stat

import pytest

from tests.control_plane.conftest import AGENT, DAY, Desk, alter_payload, key, sign_trust, trust_document
from trust import checkpoint, envelope, items, statements, verify
from trust.document import ServiceAccount
from trust.policy import RiskClass
from trust.statements import Approval, Decision, Saw


def judge(desk: Desk, folder, *signed: envelope.Envelope) -> verify.VerificationResult:
    """What an agent would say: it knows the trust document and its own plan."""
    trust = trust_document(desk.now_s)
    plan_envelope = envelope.decode_untrusted((folder / "plan.json").read_bytes())
    plan = verify.verify_plan(plan_envelope, trust)
    return verify.get_approval_result(
        plan, envelope.digest(plan_envelope), signed, trust, desk.now_s, requester=plan.requester
    )


def refused(result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.strip().splitlines()[-1].startswith("ispcloud: "), result.output
    for word in words:
        assert word in result.stderr


# --- what goes well -------------------------------------------------------------------------------------------------


def test_an_approval_is_what_the_agent_counts(desk: Desk) -> None:
    folder = desk.export()
    result = desk.change("approve", "joseph", folder, stdin="yes\n")
    assert result.exit_code == 0, result.output
    assert "SUSPEND 1 service · 5ZZZZ · asked by tech4" in result.stdout
    assert "C-1 Amina Hassan" in result.stdout
    assert "+ radius/main/user/user1 group:suspended -1 (was: none)" in result.stdout
    assert "CHECKED the plan and every item: signed by agent north" in result.stdout
    assert judge(desk, folder, desk.out()).people == ("joseph",)
    approval = statements.decode_as_untrusted(Approval, desk.out())
    assert (approval.saw, approval.seen.logs[0].size) == (Saw.DETAIL, 5)
    assert stat.S_IMODE((desk.path / "out.json").stat().st_mode) == 0o600


def test_a_batch_asks_for_its_number(desk: Desk) -> None:
    folder = desk.export(12)
    refused(desk.change("approve", "joseph", folder, stdin="yes\n"), 3, "'12'", "nothing was signed")
    assert not (desk.path / "out.json").exists()
    result = desk.change("approve", "joseph", folder, stdin="12\n")
    assert result.exit_code == 0, result.output
    assert "C-12 · would change" in result.stdout
    assert "1 of 2 people" in result.stdout
    assert judge(desk, folder, desk.out()).have == 1


def test_the_number_counts_only_what_would_change(desk: Desk) -> None:
    def exclude_first(item: items.Item) -> items.Item:
        return dataclasses.replace(item, listed=items.Listed.EXCLUDED, reason="paid", steps=()) if item.n == 1 else item

    folder = desk.export(12, edit=exclude_first)
    refused(desk.change("approve", "joseph", folder, "--yes-i-read-it", "12"), 3, "expected 11", "got 12")
    assert desk.change("approve", "joseph", folder, "--yes-i-read-it", "11").exit_code == 0


def test_no_answer_signs_nothing(desk: Desk) -> None:
    refused(desk.change("approve", "joseph", desk.export(), stdin="no\n"), 3, "'yes'")
    result = desk.change("approve", "joseph", desk.export(), stdin="")
    assert result.exit_code != 0
    assert not (desk.path / "out.json").exists()


def test_show_for_people_and_for_programs(desk: Desk) -> None:
    folder = desk.export(2)
    shown = desk.run("changes", "show", "--file", folder, "--list")
    assert shown.exit_code == 0, shown.output
    assert "C-2 · would change" in shown.stdout
    assert "needs 1" in shown.stdout
    document = json.loads(desk.run("changes", "show", "--file", folder, "--json").stdout)
    assert document["changing"] == 2
    assert document["agent"] == "north"
    assert [i["subject"] for i in document["items"]] == ["C-1", "C-2"]
    plan = envelope.decode_untrusted((folder / "plan.json").read_bytes())
    assert document["sha256"] == envelope.digest(plan).hex()


def test_reject_and_cancel(desk: Desk) -> None:
    folder = desk.export()
    result = desk.change("reject", "lena", folder, "--reason", "unsafe", "--yes")
    assert result.exit_code == 0, result.output
    assert judge(desk, folder, desk.out()).rejected_by == ("lena",)
    assert statements.decode_as_untrusted(Approval, desk.out()).decision is Decision.REJECT
    assert desk.change("cancel", "tech4", folder, stdin="yes\n").exit_code == 0
    cancel = verify.verify_cancel(desk.out(), trust_document(desk.now_s), desk.now_s)
    plan = envelope.decode_untrusted((folder / "plan.json").read_bytes())
    assert cancel.plans == (envelope.digest(plan).hex(),)
    refused(desk.change("cancel", "tech4", folder, stdin="no\n"), 3)
    assert desk.change("pause", "tech4", folder, stdin="yes\n").exit_code == 0
    pause = verify.verify_pause(desk.out(), trust_document(desk.now_s), desk.now_s, AGENT)
    assert pause.plan_sha256 == envelope.digest(plan).hex()
    assert desk.change("resume", "joseph", folder, "--yes").exit_code == 0
    resume = verify.verify_resume(desk.out(), trust_document(desk.now_s), desk.now_s, AGENT, "tech4")
    assert (resume.plan_sha256, resume.person) == (pause.plan_sha256, "joseph")
    refused(desk.change("reject", "joseph", folder, stdin="no\n"), 3)
    refused(desk.change("reject", "tech4", folder, "--yes"), 3, "no role")


# --- tampering ------------------------------------------------------------------------------------------------------


def test_A7_items_that_are_not_the_plans(desk: Desk) -> None:
    folder = desk.export()
    path = folder / "items.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Amina", b"Aminb"))
    refused(desk.change("approve", "joseph", folder, "--yes-i-read-it", "1"), 3, "not what the agent signed")
    assert not (desk.path / "out.json").exists()


@pytest.mark.parametrize("how", ["missing", "swapped", "cut", "garbage", "more"])
def test_E11_pages_missing_swapped_or_cut(desk: Desk, how: str) -> None:
    folder = desk.export(3)
    path = folder / "items.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    broken = {
        "missing": lines[:-1],
        "swapped": [lines[0], lines[2], lines[1], lines[3]],
        "cut": [*lines[:-1], lines[-1][:-1]],
        "garbage": [b"\xff\x00"],
        "more": [*lines, lines[-1]],
    }
    path.write_bytes(b"".join(broken[how]))
    refused(desk.run("changes", "show", "--file", folder), 3, "items.jsonl")


def test_items_of_another_plan_of_the_same_agent(desk: Desk) -> None:
    folder, other = desk.export(), desk.export(2, name="other")
    (folder / "items.jsonl").write_bytes((other / "items.jsonl").read_bytes())
    refused(desk.run("changes", "show", "--file", folder), 3, "items_root")


def test_A3_a_plan_that_was_altered(desk: Desk) -> None:
    folder = desk.export()
    alter_payload(folder / "plan.json", lambda p: p.update(run_until=p["run_until"] + 1))
    refused(desk.change("approve", "joseph", folder, "--yes-i-read-it", "1"), 3, "signature")
    assert not (desk.path / "out.json").exists()


def test_a_plan_by_another_agents_key(desk: Desk) -> None:
    refused(desk.run("changes", "show", "--file", desk.export(signer="stranger")), 3, "nobody whom")


def test_a_plan_signed_by_another_known_agent(desk: Desk) -> None:
    document = trust_document(desk.now_s)
    second = dataclasses.replace(
        document.agents[0],
        agent="cc" * 16,
        handle="south",
        plan_key=key("south").public.hex(),
        log_key=checkpoint.encode_vkey("south", key("south-log").public),
    )
    desk.write_trust(dataclasses.replace(document, agents=(*document.agents, second)))
    refused(desk.run("changes", "show", "--file", desk.export(signer="south")), 3, "another agent signed")


def test_E4_an_approval_in_the_place_of_a_plan(desk: Desk) -> None:
    folder = desk.export()
    assert desk.change("approve", "joseph", folder, "--yes-i-read-it", "1").exit_code == 0
    (folder / "plan.json").write_bytes((desk.path / "out.json").read_bytes())
    refused(desk.run("changes", "show", "--file", folder), 3, "expected plan")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"payload":1}', b"[" * 100_000])
def test_a_plan_file_that_is_garbage(desk: Desk, data: bytes) -> None:
    folder = desk.export()
    (folder / "plan.json").write_bytes(data)
    refused(desk.run("changes", "show", "--file", folder), 2)


def test_files_that_are_not_there_or_too_large(desk: Desk) -> None:
    refused(desk.run("changes", "show", "--file", desk.path / "nowhere"), 2, "plan.json", "No such file")
    folder = desk.export()
    (folder / "short").write_text("K" * 65)
    refused(desk.run("changes", "show", "--file", folder), 2, "at most 64 bytes")
    (desk.path / "trust.json").unlink()
    refused(desk.run("changes", "show", "--file", folder), 2, "your own trust file")


def test_A8_names_cannot_move_the_cursor_or_reorder(desk: Desk) -> None:
    evil = "C-1 \x1b[2Jpaid\u202edessaH\u200b \u2028 Аmina\r"

    def rename(item: items.Item) -> items.Item:
        return dataclasses.replace(item, display={"title": evil}, subject="C-1\x1b]0;owned\x07")

    for n in (1, 3):
        folder = desk.export(n, edit=rename)
        result = desk.change("approve", "joseph", folder, "--yes-i-read-it", str(n))
        assert result.exit_code == 0, result.output
        for c in ("\x1b", "\x07", "\r", "\u202e", "\u200b", "\u2028"):
            assert c not in result.output
        assert "\\u202e" in result.stdout
    assert "[mixed scripts]" in result.stdout


def test_a_short_id_is_nobodys_signature_and_stays_harmless(desk: Desk) -> None:
    folder = desk.export()
    (folder / "short").write_bytes(b"\x1b[31mAPPROVED")
    result = desk.run("changes", "show", "--file", folder)
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "5ZZZZ" in result.stdout


# --- who ------------------------------------------------------------------------------------------------------------


def test_A1_the_requester_does_not_approve(desk: Desk) -> None:
    folder = desk.export(requester="maria")
    refused(desk.change("approve", "maria", folder, "--yes-i-read-it", "1"), 3, "maria asked for this change")
    assert not (desk.path / "out.json").exists()


def test_a1_who_runs_a_program_does_not_approve_what_it_asks(desk: Desk) -> None:
    signed = desk.write_trust(trust_document(desk.now_s, services=(ServiceAccount("billing", (), run_by="maria"),)))
    folder = desk.export(requester="billing")
    (folder / "trust.json").write_bytes(envelope.encode(signed))
    refused(desk.change("approve", "maria", folder, "--yes-i-read-it", "1"), 3, "maria runs billing, which asked")
    assert desk.change("approve", "lena", folder, "--yes-i-read-it", "1").exit_code == 0, "nobody else runs it"


def test_class_alone_is_for_the_requester_only(desk: Desk) -> None:
    folder = desk.export(requester="maria", risk_class=RiskClass.ALONE, action=statements.Action.RESTORE)
    refused(desk.change("approve", "lena", folder, "--yes-i-read-it", "1"), 3, "only maria")
    assert desk.change("approve", "maria", folder, "--yes-i-read-it", "1").exit_code == 0


def test_what_one_did_alone_is_reviewed_by_another(desk: Desk) -> None:
    folder = desk.export(requester="maria", risk_class=RiskClass.ALONE, action=statements.Action.RESTORE)
    refused(desk.change("review", "maria", folder, "--yes"), 3, "maria made this change")
    refused(desk.change("review", "tech4", folder, "--yes"), 3, "no role that reviews")
    refused(desk.change("review", "far", folder, "--yes"), 3, "may not act on agent north")
    said = desk.change("review", "lena", folder, "--yes")
    assert said.exit_code == 0, said.output
    signed = envelope.decode_untrusted((desk.path / "out.json").read_bytes())
    decided = statements.decode_as_untrusted(statements.Approval, signed)
    assert (decided.person, decided.decision, decided.saw) == ("lena", Decision.APPROVE, statements.Saw.DETAIL)
    assert 0 <= decided.not_before * 60 - desk.now_s <= 120
    assert desk.change("review", "joseph", folder, "--yes", "--objection").exit_code == 0
    signed = envelope.decode_untrusted((desk.path / "out.json").read_bytes())
    assert statements.decode_as_untrusted(statements.Approval, signed).decision is Decision.REJECT
    low = desk.export(requester="maria", name="low")
    refused(desk.change("review", "lena", low, "--yes"), 3, "class low needs no review")


@pytest.mark.parametrize(
    ("who", "words"),
    [("stranger", "knows nobody"), ("far", "may not act on agent north"), ("tech4", "no role")],
)
def test_people_whose_approval_would_not_count(desk: Desk, who: str, words: str) -> None:
    folder = desk.export(requester="maria")
    refused(desk.change("approve", who, folder, "--yes-i-read-it", "1"), 3, words)
    assert not (desk.path / "out.json").exists()


def test_a_key_past_its_date(desk: Desk) -> None:
    document = trust_document(desk.now_s)
    people = tuple(
        dataclasses.replace(p, keys=tuple(dataclasses.replace(k, not_after=desk.now_s - 1) for k in p.keys))
        if p.handle == "joseph"
        else p
        for p in document.people
    )
    desk.write_trust(dataclasses.replace(document, people=people))
    refused(desk.change("approve", "joseph", desk.export(), "--yes-i-read-it", "1"), 3, "past its date")


def test_a_wrong_passphrase(desk: Desk) -> None:
    folder = desk.export()
    (desk.path / "passphrase").write_bytes(b"something else")
    refused(desk.change("approve", "joseph", folder, "--yes-i-read-it", "1"), 3, "does not open")
    assert not (desk.path / "out.json").exists()


def test_the_passphrase_is_asked_for_without_a_file(desk: Desk) -> None:
    args = ("changes", "approve", "--file", desk.export(), "--key", desk.key_file("joseph"), "--out", desk.path / "o")
    result = desk.run(*args, stdin="yes\ncorrect horse battery\n", passphrase=False)
    assert result.exit_code == 0, result.output
    assert "correct horse" not in result.output


def test_a_key_file_that_is_none(desk: Desk) -> None:
    desk.key_file("joseph").write_bytes(b"{}")
    refused(desk.change("approve", "joseph", desk.export(), "--yes-i-read-it", "1"), 2, "not a key file")


# --- summary --------------------------------------------------------------------------------------------------------


def test_A14_a_signed_summary_does_not_count_as_detail(desk: Desk) -> None:
    folder = desk.export()
    (folder / "items.jsonl").unlink()
    result = desk.change("approve", "joseph", folder, stdin="yes\n")
    assert result.exit_code == 0, result.output
    assert "SUMMARY ONLY" in result.stdout
    assert "may not count" in result.stderr
    assert "will not count this approval" in result.stderr
    assert statements.decode_as_untrusted(Approval, desk.out()).saw is Saw.SUMMARY
    assert judge(desk, folder, desk.out()).have == 0


def test_whoever_may_not_see_subscribers_is_shown_none(desk: Desk) -> None:
    result = desk.change("approve", "blind", desk.export(), stdin="yes\n")
    assert result.exit_code == 0, result.output
    assert "Amina" not in result.output
    assert statements.decode_as_untrusted(Approval, desk.out()).saw is Saw.SUMMARY


# --- time, logs, trust ----------------------------------------------------------------------------------------------


def test_expired_trust_approves_nothing_and_still_stops_things(desk: Desk) -> None:
    desk.write_trust(trust_document(desk.now_s, issued=desk.now_s - 31 * DAY, expires=desk.now_s - DAY))
    folder = desk.export()
    (folder / "trust.json").unlink()
    refused(desk.change("approve", "joseph", folder, "--yes-i-read-it", "1"), 3, "expired")
    assert "EXPIRED" in desk.run("changes", "show", "--file", folder).stderr
    assert desk.change("cancel", "joseph", folder, "--yes").exit_code == 0
    frozen = desk.run("changes", "freeze", "--scope", "all", "--key", desk.key_file("joseph"), "--out", desk.path / "f")
    assert frozen.exit_code == 0


def test_a_plan_past_its_start_and_one_of_tomorrow(desk: Desk) -> None:
    minute = desk.now_s // 60
    late = desk.export(made=minute - 90, start_by=minute - 60, run_until=minute)
    refused(desk.change("approve", "joseph", late, "--yes-i-read-it", "1"), 3, "not started in time")
    assert "past its start" in desk.run("changes", "show", "--file", late).stderr
    early = desk.export(made=minute + 60, start_by=minute + 90, run_until=minute + 120)
    refused(desk.change("approve", "joseph", early, "--yes-i-read-it", "1"), 3, "a clock is wrong")


def test_a_plan_that_the_policy_refuses(desk: Desk) -> None:
    folder = desk.export(risk_class=RiskClass.RESTORE)
    refused(desk.change("approve", "joseph", folder, "--yes-i-read-it", "1"), 3, "does not allow suspend")
    many = desk.export(11, risk_class=RiskClass.LOW)
    refused(desk.change("approve", "joseph", many, "--yes-i-read-it", "11"), 3, "at most 10 items")


def test_C7_L2_a_log_that_shrinks_or_forks(desk: Desk) -> None:
    assert desk.run("changes", "show", "--file", desk.export(log=(9, b"\x09" * 32))).exit_code == 0
    refused(desk.run("changes", "show", "--file", desk.export(log=(8, b"\x08" * 32))), 3, "shrank", "9", "8")
    refused(desk.run("changes", "show", "--file", desk.export(log=(9, b"\x0a" * 32))), 3, "forked")
    plan_forked = desk.export(log=(10, b"\x10" * 32), log_size=9, log_root="0a" * 32)
    refused(desk.run("changes", "show", "--file", plan_forked), 3, "forked")
    assert desk.run("changes", "show", "--file", desk.export(log=(12, b"\x0c" * 32))).exit_code == 0
    remembered_checkpoints = desk.path / "state" / "heads.json"
    assert json.loads(remembered_checkpoints.read_bytes())["logs"] == [{"agent": AGENT, "size": 12, "root": "0c" * 32}]
    assert stat.S_IMODE(remembered_checkpoints.stat().st_mode) == 0o600
    assert stat.S_IMODE(remembered_checkpoints.parent.stat().st_mode) == 0o700


def test_checkpoints_that_do_not_fit(desk: Desk) -> None:
    refused(desk.run("changes", "show", "--file", desk.export(log_signer="stranger")), 3, "not the log of north")
    refused(desk.run("changes", "show", "--file", desk.export(log_size=6)), 3, "at least 6 entries", "got 5")
    refused(desk.run("changes", "show", "--file", desk.export(log_size=5)), 3, "not those that the plan names")
    folder = desk.export()
    (folder / "checkpoint.txt").unlink()
    result = desk.run("changes", "show", "--file", folder)
    assert result.exit_code == 0
    assert "no checkpoint" in result.stderr


def test_the_state_file_is_read_strictly(desk: Desk) -> None:
    folder = desk.export()
    assert desk.run("changes", "show", "--file", folder).exit_code == 0
    remembered_checkpoints = desk.path / "state" / "heads.json"
    good = remembered_checkpoints.read_text()
    for bad in ("{}", good.replace("heads-v0", "heads-v9"), good.replace('"envelope": "', '"envelope": "!'), "\x00"):
        remembered_checkpoints.write_text(bad)
        refused(desk.run("changes", "show", "--file", folder), 2)


def test_the_agents_trust_document_is_compared_only(desk: Desk) -> None:
    folder = desk.export()
    first = trust_document(desk.now_s)
    theirs = folder / "trust.json"
    theirs.write_bytes(envelope.encode(sign_trust(dataclasses.replace(first, expires=first.expires + 1))))
    refused(desk.run("changes", "show", "--file", folder), 3, "forked")
    theirs.write_bytes(envelope.encode(sign_trust(dataclasses.replace(first, trust_id="12" * 16))))
    refused(desk.run("changes", "show", "--file", folder), 3, "another chain")
    theirs.write_bytes(envelope.encode(sign_trust(dataclasses.replace(first, version=2, prev="01" * 32))))
    assert "the agent has trust version 2, yours is 1" in desk.run("changes", "show", "--file", folder).stderr
    theirs.write_bytes(b"{}")
    refused(desk.run("changes", "show", "--file", folder), 3, "no trust document")
    newer = desk.export(trust_version=2)
    refused(desk.run("changes", "show", "--file", newer), 3, "made under trust version 2")


def test_own_trust_goes_forward_only(desk: Desk) -> None:
    folder = desk.export()
    first = desk.run("changes", "show", "--file", folder)
    assert "first use of trust version 1" in first.stderr
    assert "first use" not in desk.run("changes", "show", "--file", folder).stderr
    one = trust_document(desk.now_s)
    signed = sign_trust(one)
    two = dataclasses.replace(one, version=2, prev=envelope.digest(signed).hex(), issued=desk.now_s)
    desk.write_trust(dataclasses.replace(one, expires=one.expires + 1))
    refused(desk.run("changes", "show", "--file", folder), 3, "forked")
    three = dataclasses.replace(two, version=3, prev=envelope.digest(sign_trust(two)).hex())
    desk.write_trust(three)
    refused(desk.run("changes", "show", "--file", folder), 3, "the versions between")
    desk.write_trust(dataclasses.replace(two, prev="05" * 32))
    refused(desk.run("changes", "show", "--file", folder), 3, "does not follow")
    desk.write_trust(two)
    later = desk.run("changes", "show", "--file", folder)
    assert later.exit_code == 0, later.output
    assert "refuses your approval until" in later.stderr
    desk.write_trust(one)
    refused(desk.run("changes", "show", "--file", folder), 3, "expected trust version 3, got 1")


def test_own_trust_with_too_few_signatures(desk: Desk) -> None:
    desk.write_trust(trust_document(desk.now_s), "maria")
    refused(desk.run("changes", "show", "--file", desk.export()), 3, "expected 2 people")


# --- freezing -------------------------------------------------------------------------------------------------------


def freeze(desk: Desk, *args: str, who: str = "tech4"):
    out = desk.path / "freeze.json"
    return desk.run("changes", "freeze", "--key", desk.key_file(who), "--out", out, *args)


@pytest.mark.parametrize(
    ("args", "target"),
    [
        (("--scope", "all"), ""),
        (("--scope", "agent", "--agent", "north"), AGENT),
        (("--scope", "agent", "--target", AGENT), AGENT),
        (("--scope", "person", "--target", "joseph"), "joseph"),
        (("--scope", "key", "--target", "ab" * 32), "ab" * 32),
    ],
)
def test_freezes_that_the_agent_takes(desk: Desk, args: tuple[str, ...], target: str) -> None:
    assert freeze(desk, *args, "--hours", "2").exit_code == 0
    signed = envelope.decode_untrusted((desk.path / "freeze.json").read_bytes())
    made = verify.verify_freeze(signed, trust_document(desk.now_s), desk.now_s)
    assert (made.target, made.person, made.expires - made.at) == (target, "tech4", 120)


@pytest.mark.parametrize(
    "args",
    [
        ("--scope", "all", "--target", "north"),
        ("--scope", "agent", "--agent", "south"),
        ("--scope", "agent"),
        ("--scope", "person", "--target", "nobody"),
        ("--scope", "key", "--target", "AB"),
        ("--scope", "person", "--agent", "north"),
        ("--scope", "agent", "--agent", "north", "--target", "north"),
    ],
)
def test_freezes_of_nothing(desk: Desk, args: tuple[str, ...]) -> None:
    refused(freeze(desk, *args), 2, "expected")
    assert not (desk.path / "freeze.json").exists()


def test_two_people_lift_a_freeze(desk: Desk) -> None:
    assert freeze(desk, "--scope", "all").exit_code == 0
    out = desk.path / "unfreeze.json"

    def lift(who: str, *args: str | object, stdin: str = "yes\n"):
        names = ("--freeze", desk.path / "freeze.json", "--key", desk.key_file(who))
        return desk.run("changes", "unfreeze", *names, *args, stdin=stdin)

    refused(lift("joseph"), 2, "--add-to")
    refused(lift("tech4", "--out", out), 3, "owner or approver")
    refused(lift("joseph", "--out", out, stdin="no\n"), 3)
    assert lift("joseph", "--out", out).exit_code == 0
    trust = trust_document(desk.now_s)
    with pytest.raises(Exception, match="expected 2 people"):
        verify.verify_unfreeze(envelope.decode_untrusted(out.read_bytes()), trust, desk.now_s + 1)
    refused(lift("joseph", "--add-to", out), 3, "signed this already")
    refused(lift("tech4", "--add-to", out), 3, "owner or approver")
    assert lift("lena", "--add-to", out).exit_code == 0
    lifted = verify.verify_unfreeze(envelope.decode_untrusted(out.read_bytes()), trust, desk.now_s + 1)
    frozen = envelope.decode_untrusted((desk.path / "freeze.json").read_bytes())
    assert lifted.freeze_sha256 == envelope.digest(frozen).hex()
    assert freeze(desk, "--scope", "all").exit_code == 0
    refused(lift("lena", "--add-to", out), 3, "another one")


def test_two_people_lift_several_freezes_at_once(desk: Desk) -> None:
    first, second, out = (desk.path / name for name in ("freeze-1.json", "freeze-2.json", "unfreeze.json"))
    for path, scope, target in ((first, "person", "tech4"), (second, "key", "ab" * 32)):
        assert freeze(desk, "--scope", scope, "--target", target).exit_code == 0
        (desk.path / "freeze.json").rename(path)

    def lift(who: str, *args: str | object):
        return desk.run("changes", "unfreeze", "--key", desk.key_file(who), *args, stdin="yes\n")

    result = lift("joseph", "--freeze", first, "--freeze", second, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("to be lifted") == 2
    refused(lift("lena", "--freeze", first, "--add-to", out), 3, "another one")
    assert lift("lena", "--freeze", second, "--freeze", first, "--add-to", out).exit_code == 0
    signed, now_s = envelope.decode_untrusted(out.read_bytes()), desk.now_s + 1
    lifted = verify.verify_unfreeze(signed, trust_document(desk.now_s), now_s)
    digests = [envelope.digest(envelope.decode_untrusted(path.read_bytes())).hex() for path in (first, second)]
    assert list(lifted.freezes) == digests


def test_an_unfreeze_that_its_person_did_not_sign(desk: Desk) -> None:
    assert freeze(desk, "--scope", "all").exit_code == 0
    frozen = envelope.decode_untrusted((desk.path / "freeze.json").read_bytes())
    forged = statements.Unfreeze("11" * 16, envelope.digest(frozen).hex(), "joseph", desk.now_s // 60)
    out = desk.path / "u.json"
    out.write_bytes(envelope.encode(statements.sign(forged, [key("stranger")])))
    names = ("--freeze", desk.path / "freeze.json", "--add-to", out, "--key", desk.key_file("lena"), "--yes")
    refused(desk.run("changes", "unfreeze", *names), 3, "expected joseph")


def test_lifting_what_is_no_freeze(desk: Desk) -> None:
    folder = desk.export()
    names = ("--freeze", folder / "plan.json", "--out", desk.path / "u", "--key", desk.key_file("lena"), "--yes")
    refused(desk.run("changes", "unfreeze", *names), 3, "expected freeze")


def test_usage_errors_are_2(desk: Desk) -> None:
    assert desk.run("changes", "approve").exit_code == 2
    assert desk.run("changes", "freeze", "--scope", "everything").exit_code == 2
    assert desk.run("nonsense").exit_code == 2


def test_an_output_that_cannot_be_written_is_1(desk: Desk) -> None:
    folder = desk.export()
    result = desk.change("approve", "joseph", folder, "--yes-i-read-it", "1", "--out", desk.path / "no" / "where")
    refused(result, 1, "cannot be written")
