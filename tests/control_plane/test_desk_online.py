"""The desk through a control plane: what goes well, and every lie that the control plane may tell."""

import dataclasses
import hashlib
import json
import queue
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from control_plane.desk import cli_watch, cloud_client, cloud_identity, files, remembered_checkpoints, unlock
from control_plane.desk import online as desk_online
from control_plane.desk.cli_shared import load_own
from control_plane.errors import LocalFailureError
from protos import desk_pb2, member_files
from protos import message_pb2 as pb
from tests.builders.answers import checked, unix_of
from tests.builders.expect import present
from tests.control_plane.cloud import Cloud, Member, running
from tests.control_plane.conftest import AGENT, ORIGIN, PASSPHRASE, Desk, key, sign_trust, trust_document
from tests.control_plane.desk_cloud import Connected, FakeAgent, FakeCloud, Planned, approval_of, connected
from trust import chain, checkpoint, envelope, seal, statements, verify, witness
from trust.document import PersonKey, Quorum, ServiceAccount, Witness, WitnessOperator
from trust.errors import Reason
from trust.policy import Action, RiskClass, preset
from trust.statements import (
    Cancel,
    Decision,
    Freeze,
    Intent,
    OnFailure,
    OutcomeState,
    Pause,
    Plan,
    Resume,
    Saw,
    SeenLog,
    Standing,
)
from trust.witness import AddCheckpoint

REFUSED, SILENT = 3, 4


@pytest.fixture
def online(desk: Desk) -> Iterator[Connected]:
    with connected(desk) as made:
        yield made


def ok(result):
    assert result.exit_code == 0, result.output
    return result


def refused(result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    for word in words:
        assert word in result.stderr
    assert "\x1b[2J" not in result.output


# --- enrolling ------------------------------------------------------------------------------------------------------


def test_an_invitation_is_used_once(online: Connected) -> None:
    path = online.desk.path / "cloud.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    identity = cloud_identity.load(path)
    assert (identity.kind, identity.name) == ("person", "joseph")
    assert "BEGIN" not in repr(identity.key) or identity.key not in repr(identity)
    shown = checked(json.loads(ok(online.run("desk", "show", "--json")).stdout))
    assert (shown["name"], shown["server"]) == ("joseph", online.cloud.address)
    assert unix_of(shown["certificate_until"]) == cloud_identity.life(identity).ends_s
    assert "person joseph" in ok(online.run("desk", "show")).stdout
    invite = online.desk.path / "invite.json"
    refused(online.run("desk", "enroll", "--invite", invite), 2, "enrolled already")
    path.unlink()
    refused(online.run("desk", "enroll", "--invite", invite), REFUSED, "refused: bad-token")
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "agent"},
        {"format": "other"},
        {"server": "unix:/etc/passwd"},
        {"server": "host"},
        {"token": "00"},
        {"more": 1},
    ],
)
def test_invitations_that_are_none(online: Connected, change: dict[str, object]) -> None:
    path = online.desk.path / "other.json"
    path.write_bytes(online.cloud.invitation(**change))
    refused(online.run("desk", "enroll", "--invite", path, ISPCLOUD_CLOUD=str(online.desk.path / "c")), 2)


def test_a_certificate_for_another_key_is_not_kept(online: Connected) -> None:
    (online.desk.path / "cloud.json").unlink()
    online.cloud.tokens.add(bytes.fromhex("5a" * 32))
    csr = cloud_identity.new_request("joseph").csr
    theirs = online.cloud.authority.client(csr)
    online.cloud.authority.client = lambda *_: theirs  # type: ignore[method-assign] # the lie
    result = online.run("desk", "enroll", "--invite", online.desk.path / "invite.json")
    refused(result, REFUSED, "another")
    assert not (online.desk.path / "cloud.json").exists()


def test_a_certificate_that_is_not_renewed_is_said(online: Connected) -> None:
    path = online.desk.path / "cloud.json"
    path.unlink()
    online.cloud.tokens.add(bytes.fromhex("5a" * 32))
    online.cloud.client_age = 0.7
    ok(online.run("desk", "enroll", "--invite", online.desk.path / "invite.json"))
    before = path.read_bytes()
    online.cloud.away = 1
    assert "was not renewed" in ok(online.run("changes", "list")).stderr
    assert path.read_bytes() == before


def test_a_certificate_renews_at_two_thirds_of_its_life(online: Connected) -> None:
    path = online.desk.path / "cloud.json"
    ok(online.run("changes", "list"))
    assert online.cloud.renewed == 0
    path.unlink()
    online.cloud.tokens.add(bytes.fromhex("5a" * 32))
    online.cloud.client_age = 0.7
    ok(online.run("desk", "enroll", "--invite", online.desk.path / "invite.json"))
    before = path.read_bytes()
    ok(online.run("changes", "list"))
    assert online.cloud.renewed == 1
    assert path.read_bytes() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ok(online.run("changes", "list"))
    assert online.cloud.renewed == 1


def test_without_a_control_plane(online: Connected) -> None:
    refused(online.run("changes", "list", ISPCLOUD_CLOUD=str(online.desk.path / "none")), 2, "not enrolled")
    identity = cloud_identity.load(online.desk.path / "cloud.json")
    moved = dataclasses.replace(identity, server="127.0.0.1:1")
    (online.desk.path / "cloud.json").write_bytes(member_files.encode_credentials(moved))
    refused(online.run("changes", "list"), 1, "does not answer")


def test_another_servers_certificate_is_not_spoken_to(online: Connected) -> None:
    other = FakeCloud()
    with other.serving():
        identity = cloud_identity.load(online.desk.path / "cloud.json")
        moved = dataclasses.replace(identity, server=other.address)
        (online.desk.path / "cloud.json").write_bytes(member_files.encode_credentials(moved))
        refused(online.run("changes", "list"), 1, "does not answer")


# --- the whole way --------------------------------------------------------------------------------------------------


def test_list_show_approve_and_done(online: Connected) -> None:
    planned = online.planned()
    listed = ok(online.run("changes", "list"))
    assert "5ZZZZ waiting 0/1 north low suspend 1 tech4" in " ".join(listed.stdout.split())
    shown = ok(online.change("show", "joseph", "2222"))
    assert "C-1 Amina Hassan" in shown.stdout
    assert "CHECKED the plan and every item: signed by agent north · log of 8 entries" in shown.stdout
    view = online.agent.views[0]
    assert (view.person, view.plan_sha256, view.seen.logs) == ("joseph", planned.sha256, ())
    online.agent.grow(3)
    done = ok(online.change("approve", "joseph", "5ZZZZ", stdin="yes\n"))
    assert "5ZZZZ: approved by joseph" in done.stdout
    assert "RECEIPT north: approve accepted · 1 of 1 people" in done.stdout
    assert online.agent.views[1].seen.logs[0].size == 8
    assert online.agent.views[1].eph_pub != view.eph_pub
    approval = approval_of(online.sent()[0])
    assert (approval.plans, approval.saw, approval.seen.logs[0].size) == ((planned.sha256,), Saw.DETAIL, 11)
    trust = trust_document(online.desk.now_s)
    result = verify.get_approval_result(
        planned.plan,
        bytes.fromhex(planned.sha256),
        online.sent(),
        trust,
        online.desk.now_s,
        requester="tech4",
    )
    assert result.approved
    assert ok(online.run("changes", "list")).stdout.splitlines()[1].split()[:3] == ["5ZZZZ", "approved", "1/1"]
    online.cloud.post(pb.KIND_OUTCOME, online.agent.outcome(planned, OutcomeState.DONE))
    assert ok(online.run("changes", "list")).stdout.splitlines()[1].split()[:2] == ["5ZZZZ", "done"]
    document = json.loads(ok(online.run("changes", "list", "--json")).stdout)
    assert [c["state"] for c in document["changes"]] == ["done"]
    assert document["not_verified"] == []


def test_reject_and_cancel(online: Connected) -> None:
    planned = online.planned()
    ok(online.change("reject", "joseph", "2222", "--reason", "unsafe", "--yes"))
    assert approval_of(online.sent()[0]).decision is Decision.REJECT
    assert "rejected" in ok(online.run("changes", "list")).stdout
    ok(online.change("cancel", "tech4", planned.sha256[:12], "--yes", "--out", online.desk.path / "out.json"))
    cancel = statements.decode_as_untrusted(Cancel, online.sent()[1])
    assert (cancel.plans, cancel.person) == ((planned.sha256,), "tech4")
    assert envelope.encode(online.desk.out()) == online.cloud.submitted[1].body
    assert "cancelled" in ok(online.run("changes", "list")).stdout


def test_pause_and_resume(online: Connected) -> None:
    planned = online.planned()
    ok(online.change("pause", "tech4", "2222", "--yes"))
    assert " paused " in ok(online.run("changes", "list")).stdout
    ok(online.change("resume", "joseph", "2222", "--yes"))
    assert " paused " not in ok(online.run("changes", "list")).stdout
    pause, resume = online.sent()
    assert statements.decode_as_untrusted(Pause, pause).plan_sha256 == planned.sha256
    assert statements.decode_as_untrusted(Resume, resume).person == "joseph"
    assert [m.kind for m in online.cloud.submitted] == [pb.KIND_PAUSE, pb.KIND_RESUME]


def test_people_who_do_not_see_subscribers_get_the_summary(online: Connected) -> None:
    online.planned()
    result = ok(online.change("show", "blind", "2222"))
    assert "Amina" not in result.output
    assert "the items are not shown" in result.stderr
    assert online.agent.views == []
    low = online.change("approve", "blind", "2222", stdin="yes\n")
    assert "summary only" in low.stderr
    assert online.agent.views == []


def test_who_may_not_approve_discloses_nothing(online: Connected) -> None:
    online.planned(requester="maria")
    for who in ("maria", "far", "tech4", "stranger"):
        refused(online.change("approve", who, "2222", "--yes-i-read-it", "1"), REFUSED)
    assert online.agent.views == []
    assert online.cloud.submitted == []


def test_ids(online: Connected) -> None:
    online.planned()
    online.planned(plan_id="22" * 15 + "33")
    refused(online.change("show", "joseph", "2222"), 2, "2 begin with")
    refused(online.change("show", "joseph", "9999"), 2, "no change on the shared feed begins with")
    refused(online.change("show", "joseph", "22"), 2, "at least 4")
    refused(online.run("changes", "show", "2222"), 2, "--key")
    refused(online.run("changes", "show"), 2, "one of them")
    refused(online.change("approve", "joseph", "2222", "--file", online.desk.path), 2, "one of them")


# --- lies about plans and items -------------------------------------------------------------------------------------


def test_a_forged_plan_is_counted_and_not_shown(online: Connected) -> None:
    forger = FakeAgent(online.desk.now_s, plan_key=key("stranger"))
    online.cloud.post_plan(forger.plan(online.desk))
    altered = online.agent.plan(online.desk, plan_id="44" * 16)
    payload = altered.envelope.payload.replace(b'"requester":"tech4"', b'"requester":"maria"')
    online.cloud.post(pb.KIND_PLAN, envelope.encode(dataclasses.replace(altered.envelope, payload=payload)))
    online.cloud.post(pb.KIND_PLAN, b"\x1b[2J{")
    result = ok(online.run("changes", "list"))
    assert result.stdout == ""
    assert "3 messages NOT VERIFIED" in result.stderr
    assert "nobody whom the trust document knows signed" in result.stderr
    refused(
        online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"),
        2,
        "no change on the shared feed begins with",
    )


def test_another_plans_pages(online: Connected) -> None:
    planned, other = online.planned(), online.agent.plan(online.desk, 2, plan_id="55" * 16)
    online.agent.plans[planned.sha256] = dataclasses.replace(other, envelope=planned.envelope)
    result = online.change("approve", "joseph", "2222", "--yes-i-read-it", "1")
    refused(result, REFUSED, "not what the agent signed")
    assert online.cloud.submitted == []
    assert "Amina" not in result.output


def test_pages_of_another_agent(online: Connected) -> None:
    online.planned()
    other = FakeAgent(online.desk.now_s, log_key=key("elsewhere"))
    other.plans = online.agent.plans
    online.cloud.on_view = other.pages
    refused(online.change("show", "joseph", "2222"), REFUSED, "not the log of north")


def test_an_agent_that_does_not_show_it_says_why(online: Connected) -> None:
    online.planned()
    answered = threading.Event()

    def refuse(message: pb.Message) -> list[bytes]:
        view = envelope.decode_untrusted(message.body)
        online.cloud.post(pb.KIND_RECEIPT, online.agent.receipt(view, "view", Reason.RATE_LIMITED))
        answered.wait(20)  # as the real one: pages are waited for until the desk goes
        return []

    online.cloud.on_view = refuse
    result = online.change("show", "joseph", "2222")
    answered.set()
    refused(result, REFUSED, "north does not show it: rate-limited")


@pytest.mark.parametrize("how", ["missing", "cut", "none", "garbage", "replayed", "doubled"])
def test_pages_missing_swapped_or_replayed(online: Connected, how: str) -> None:
    planned = online.planned(3)
    many = dataclasses.replace(planned, documents=[*planned.documents, b'"' + b"x" * (1 << 20) + b'"'])
    online.agent.plans[planned.sha256] = many
    old: list[list[bytes]] = []

    def pages(message: pb.Message) -> list[bytes]:
        found = online.agent.pages(message)
        old.append(found)
        lies = {
            "missing": found[:-1],
            "cut": [*found[:-1], found[-1][:-1]],
            "none": [],
            "garbage": [b"\x00"],
            "replayed": old[0],
            "doubled": [*found, found[-1]],
        }
        return lies[how]

    online.cloud.on_view = pages
    online.change("show", "joseph", "2222")
    result = online.change("show", "joseph", "2222")
    refused(result, 1 if how == "none" else REFUSED, "answer")
    assert "Amina" not in result.output
    assert len(old[0]) > 1


def test_a_replayed_old_plan_is_expired_and_not_twice(online: Connected) -> None:
    minute = online.desk.now_s // 60
    planned = online.planned(made=minute - 120, start_by=minute - 60, run_until=minute - 30)
    online.cloud.post_plan(planned)
    result = ok(online.run("changes", "list"))
    assert result.stdout.count("expired") == 1
    refused(online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"), REFUSED, "preview it again")
    assert online.agent.views == []


def test_items_cannot_move_the_cursor(online: Connected) -> None:
    online.agent.approvals = (("maria", "approve"),)
    online.planned()
    answer = online.agent.answer

    def evil(planned, old):
        return dataclasses.replace(answer(planned, old), short="\x1b[31mAPPROVED")

    online.agent.answer = evil  # type: ignore[method-assign] # the lie
    result = ok(online.change("show", "joseph", "2222"))
    assert "\x1b" not in result.output
    assert "SUSPEND 1 service · 5ZZZZ" in result.stdout
    assert "the answer says, unproven: maria approve" in result.stderr


# --- lies about logs ------------------------------------------------------------------------------------------------


def test_a_log_that_does_not_go_on_is_refused(online: Connected) -> None:
    online.planned(log_size=4, log_root=online.agent.head(4).root.hex())
    ok(online.change("show", "joseph", "2222"))
    state = (online.desk.path / "state" / "heads.json").read_bytes()
    leaves = list(online.agent.leaves)
    online.agent.leaves = leaves[:5] + [b"other"] * 6
    refused(online.change("show", "joseph", "2222"), REFUSED, "forked")
    online.agent.leaves = leaves[:6]
    refused(online.change("show", "joseph", "2222"), REFUSED, "shrank")
    online.agent.leaves = leaves[:7] + [b"other"]
    refused(online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"), REFUSED, "forked")
    assert (online.desk.path / "state" / "heads.json").read_bytes() == state
    online.agent.leaves = [*leaves, b"more"]
    ok(online.change("show", "joseph", "2222"))
    seen = present(
        remembered_checkpoints.decode_untrusted((online.desk.path / "state" / "heads.json").read_bytes()).log(AGENT)
    )
    assert seen.size == 9


def test_a_log_under_a_new_key_is_another_log(online: Connected) -> None:
    """After a restored backup (`ispagent init --new-log-key`): owners name the new key, and what was seen is over."""
    vkey = witness_trust(online)
    online.planned()
    ask(online, 0, vkey)
    cosign(online)  # 8
    ok(online.change("show", "joseph", "2222"))
    first = envelope.decode_untrusted((online.desk.path / "trust.json").read_bytes())
    document = statements.decode_as_untrusted(type(trust_document(1)), first)
    agent = dataclasses.replace(document.agents[0], log_key=checkpoint.encode_vkey(ORIGIN, key("log2").public))
    second = dataclasses.replace(document, version=2, prev=chain.head_sha256(first), agents=(agent,))
    online.agent.leaves, online.agent.log_key = [b"other"] * 6, key("log2")
    size, root = 6, online.agent.head().root.hex()
    online.planned(plan_id="55" * 16, log_size=size, log_root=root)
    refused(online.change("show", "joseph", "5555"), REFUSED)
    online.cloud.post(pb.KIND_TRUST, envelope.encode(sign_trust(second)), "")
    ok(online.change("show", "joseph", "5555"))
    ask(online, 0, vkey)
    (line,) = cosign(online)
    assert witness.get_witness_result(second, online.agent.note(), [line.body.decode()]).confirmed
    kept = remembered_checkpoints.decode_untrusted((online.desk.path / "state" / "heads.json").read_bytes())
    assert kept.log(AGENT) == kept.last_cosigned(AGENT) == SeenLog(AGENT, size, root)


def test_a_proof_from_another_size_is_refused(online: Connected) -> None:
    online.planned()
    ok(online.change("show", "joseph", "2222"))
    online.agent.grow(4)
    answer = online.agent.answer
    online.agent.answer = lambda planned, old: answer(planned, 4)  # type: ignore[method-assign] # the lie
    refused(online.change("show", "joseph", "2222"), REFUSED, "expected a proof from the 8 entries")


def test_two_trees_of_one_size_on_the_feed_are_an_alarm(online: Connected) -> None:
    online.planned()
    online.planned(plan_id="55" * 16, log_root="77" * 32)
    result = online.run("changes", "list")
    assert result.exit_code == SILENT
    assert "the log of north FORKED: two different trees of 8 entries" in result.stderr


# --- lies about receipts --------------------------------------------------------------------------------------------


def test_C5_a_withheld_receipt_is_red_and_4(online: Connected) -> None:
    online.planned()
    online.cloud.on_submit = lambda message: None
    result = online.change("approve", "joseph", "2222", "--yes-i-read-it", "1", "--wait", "1")
    refused(result, SILENT, "NO RECEIPT from north within 1 s")
    memory = online.desk.path / "state" / "desk.json"
    document = json.loads(memory.read_bytes())
    document["sent"][0]["at_s"] -= 61
    memory.write_text(json.dumps(document))
    later = online.run("changes", "list")
    refused(later, SILENT, "NO RECEIPT from north to the approve of 5ZZZZ")
    assert "waiting" in later.stdout


@pytest.mark.parametrize("how", ["stranger", "another-statement", "another-agent", "garbage"])
def test_receipts_that_are_none(online: Connected, how: str) -> None:
    document = trust_document(online.desk.now_s)
    south = dataclasses.replace(
        document.agents[0],
        agent="cc" * 16,
        handle="south",
        plan_key=key("south").public.hex(),
        log_key=checkpoint.encode_vkey("south", key("south-log").public),
    )
    online.desk.write_trust(dataclasses.replace(document, agents=(*document.agents, south)))
    online.planned()

    def lie(message: pb.Message) -> None:
        of = envelope.decode_untrusted(message.body)
        agent = online.agent
        match how:
            case "stranger":
                body = FakeAgent(agent.now_s, plan_key=key("stranger")).receipt(of, "approval")
            case "another-statement":
                body = agent.receipt(next(iter(agent.plans.values())).envelope, "approval")
            case "another-agent":
                body = FakeAgent(agent.now_s, agent="cc" * 16, plan_key=key("south")).receipt(of, "approval")
            case _:
                body = b"{"
        online.cloud.post(pb.KIND_RECEIPT, body)

    online.cloud.on_submit = lie
    result = online.change("approve", "joseph", "2222", "--yes-i-read-it", "1", "--wait", "1")
    refused(result, SILENT, "NO RECEIPT from north")


def test_a_refusal_is_said_with_its_reason(online: Connected) -> None:
    online.planned()
    online.cloud.on_submit = lambda message: online.cloud.post(
        pb.KIND_RECEIPT, online.agent.receipt(envelope.decode_untrusted(message.body), "approval", Reason.FROZEN)
    )
    refused(online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"), REFUSED, "north refused it: frozen")


# --- lies in errors -------------------------------------------------------------------------------------------------


def test_C14_error_texts_of_a_server_are_not_shown(online: Connected) -> None:
    online.planned()
    evil = "\x1b[2J\x1b]0;owned\x07 alice 10.0.0.1"
    online.cloud.fail = (grpc.StatusCode.INTERNAL, evil, None)
    result = online.run("changes", "list")
    refused(result, REFUSED, "refused: code-internal")
    assert "alice" not in result.output
    assert "\x1b" not in result.output
    online.cloud.fail = (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        evil,
        pb.Problem(refusal=6, retry_after_s=9).SerializeToString(),
    )
    refused(online.run("changes", "list"), REFUSED, "refused: quota, come back in 9 s")
    padded = pb.Problem(refusal=6).SerializeToString() + b"\xfa\x07\x7f" + bytes(127)
    online.cloud.fail = (grpc.StatusCode.ABORTED, evil, padded)
    refused(online.run("changes", "list"), REFUSED, "refused: code-aborted")
    online.cloud.fail = (
        grpc.StatusCode.ABORTED,
        evil,
        pb.Problem(refusal=6, retry_after_s=4_000_000_000).SerializeToString(),
    )
    refused(online.run("changes", "list"), REFUSED, "refused: quota, come back in 60 s")
    online.cloud.fail = (grpc.StatusCode.ABORTED, evil, b"\xff\xff")
    refused(online.run("changes", "list"), REFUSED, "refused: code-aborted")
    online.cloud.fail = (grpc.StatusCode.ABORTED, evil, pb.Problem(refusal=999).SerializeToString())  # type: ignore[arg-type] # the lie
    refused(online.run("changes", "list"), REFUSED, "refused: unknown")
    online.cloud.fail = None
    online.cloud.connected = False
    refused(online.change("show", "joseph", "2222"), REFUSED, "refused: agent-away, come back in 5 s")
    assert "not connected now, says the control plane: north" in ok(online.run("changes", "list")).stderr


def test_what_was_refused_is_not_waited_for(online: Connected) -> None:
    online.planned()

    def refuse(message: pb.Message) -> None:
        raise ValueError

    online.cloud.on_submit = refuse
    refused(online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"), REFUSED, "code-unknown")
    assert json.loads((online.desk.path / "state" / "desk.json").read_bytes())["sent"] == []


def backwards(request: desk_pb2.ListRequest, reply: desk_pb2.ListReply) -> None:
    if request.cursor.after:
        reply.after = 0


def another_each_time(request: desk_pb2.ListRequest, reply: desk_pb2.ListReply) -> None:
    reply.epoch = secrets.token_bytes(16)


def empty_without_end(request: desk_pb2.ListRequest, reply: desk_pb2.ListReply) -> None:
    del reply.deliveries[:]
    reply.after = request.cursor.after + 1


def large_without_end(request: desk_pb2.ListRequest, reply: desk_pb2.ListReply) -> None:
    del reply.deliveries[:]
    reply.deliveries.add(number=request.cursor.after + 1, message=pb.Message(body=bytes(1000)))
    reply.after = request.cursor.after + 1


@pytest.mark.parametrize("how", [backwards, another_each_time, empty_without_end, large_without_end])
def test_a_feed_that_does_not_end(
    online: Connected,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[desk_pb2.ListRequest, desk_pb2.ListReply], None],
) -> None:
    monkeypatch.setattr(cloud_client, "FEED_PAGES_MAX", 50)
    if how is large_without_end:
        monkeypatch.setattr(cloud_client, "FEED_BYTES_MAX", 10_000)
    online.planned()
    honest = online.cloud.List
    asked: list[int] = []

    def lie(request, context):
        asked.append(request.cursor.after)
        reply = honest(request, context)
        how(request, reply)
        return reply

    online.cloud.List = lie  # type: ignore[method-assign] # the lie
    # The servicer's method was bound when serving began: serve the lie on a new server
    with online.cloud.serving():
        identity = cloud_identity.load(online.desk.path / "cloud.json")
        moved = dataclasses.replace(identity, server=online.cloud.address)
        (online.desk.path / "cloud.json").write_bytes(member_files.encode_credentials(moved))
        refused(online.run("changes", "list"), REFUSED, "expected a shared feed that ends")
    assert len(asked) <= (11 if how is large_without_end else 50)


# --- trust ----------------------------------------------------------------------------------------------------------


def next_trust(online: Connected, **changes: object) -> envelope.Envelope:
    first = sign_trust(trust_document(online.desk.now_s))
    document = trust_document(online.desk.now_s, version=2, prev=chain.head_sha256(first), **changes)
    return sign_trust(document)


def test_a_newer_trust_document_is_taken_over_when_it_follows(online: Connected) -> None:
    planned = online.planned()
    second = next_trust(online)
    online.cloud.post(pb.KIND_TRUST, envelope.encode(second), "")
    ok(online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"))
    assert envelope.decode_untrusted((online.desk.path / "trust.json").read_bytes()) == second
    # The plan was made under version 1: the agent may lack version 2, so the approval carries it
    assert list(online.cloud.submitted[0].links) == [envelope.encode(second)]
    assert approval_of(online.sent()[0]).seen.trust_version == 2
    assert planned.plan.trust_version == 1
    ok(online.run("changes", "list"))


@pytest.mark.parametrize("writes", range(6))
def test_a_crash_while_trust_is_taken_over(online: Connected, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """At any write to the disk: the next command goes on."""
    ok(online.run("changes", "list"))
    second = next_trust(online)
    third = sign_trust(trust_document(online.desk.now_s, version=3, prev=chain.head_sha256(second)))
    for made in (second, third):
        online.cloud.post(pb.KIND_TRUST, envelope.encode(made), "")
    write, left = files.write, [writes]

    def power_cut(path: Path, data: bytes) -> None:
        if not left[0]:
            raise LocalFailureError("the power was cut")
        left[0] -= 1
        write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write", power_cut)
        online.run("changes", "list")
    ok(online.run("changes", "list"))
    assert envelope.decode_untrusted((online.desk.path / "trust.json").read_bytes()) == third


def test_a_command_that_is_behind_takes_no_newer_trust_back(online: Connected) -> None:
    path, state = online.desk.path / "trust.json", online.desk.path / "state" / "heads.json"
    watching = load_own(path, state)
    second = next_trust(online)
    online.cloud.post(pb.KIND_TRUST, envelope.encode(second), "")
    ok(online.run("changes", "list"))
    watching.keep_trust()
    assert envelope.decode_untrusted(path.read_bytes()) == second
    assert load_own(path, state).trust.version == 2


def test_a_freeze_does_not_wait_until_a_long_feed_was_read(online: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_client, "FEED_MAX", 3)
    for n in range(4):
        online.planned(plan_id=f"{n:032x}")
    refused(online.run("changes", "list"), REFUSED, "a shared feed that ends within 3 messages")
    ok(online.change("freeze", "tech4", "--scope", "all", "--send"))
    assert [m.kind for m in online.cloud.submitted] == [pb.KIND_FREEZE]


def test_who_stops_brings_the_document_that_names_them(online: Connected) -> None:
    online.planned()
    second = next_trust(online)
    online.cloud.post(pb.KIND_TRUST, envelope.encode(second), "")
    ok(online.change("cancel", "tech4", "2222", "--yes"))
    ok(online.change("freeze", "tech4", "--scope", "all", "--send"))
    assert [m.kind for m in online.cloud.submitted] == [pb.KIND_CANCEL, pb.KIND_FREEZE]
    assert [list(m.links) for m in online.cloud.submitted] == [[envelope.encode(second)]] * 2


def test_links_that_are_not_all_here_are_not_sent(online: Connected) -> None:
    online.planned()
    first = sign_trust(trust_document(online.desk.now_s))
    second = sign_trust(trust_document(online.desk.now_s, version=2, prev=chain.head_sha256(first)))
    online.desk.write_trust(trust_document(online.desk.now_s, version=3, prev=chain.head_sha256(second)))
    result = ok(online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"))
    assert "north has trust version 1, and not all versions since are here" in result.stderr
    assert list(online.cloud.submitted[0].links) == []
    ok(online.change("approve", "lena", "2222", "--yes-i-read-it", "1"))


@pytest.mark.parametrize("how", ["one-owner", "another-chain", "skipped"])
def test_trust_documents_that_do_not_follow(online: Connected, how: str) -> None:
    now = online.desk.now_s
    first = chain.head_sha256(sign_trust(trust_document(now)))
    lies = {
        "one-owner": sign_trust(trust_document(now, version=2, prev=first), "maria"),
        "another-chain": sign_trust(trust_document(now, trust_id="99" * 16, version=2, prev=first)),
        "skipped": sign_trust(trust_document(now, version=3, prev=first)),
    }
    before = (online.desk.path / "trust.json").read_bytes()
    online.cloud.post(pb.KIND_TRUST, envelope.encode(lies[how]), "")
    ok(online.run("changes", "list"))
    assert (online.desk.path / "trust.json").read_bytes() == before


def test_links_in_an_answer(online: Connected) -> None:
    online.planned(trust_version=2)
    refused(online.change("show", "joseph", "2222"), REFUSED, "trust version 2, yours is 1")
    second = next_trust(online)
    online.agent.links = (envelope.encode(second),)
    ok(online.change("show", "joseph", "2222"))
    assert envelope.decode_untrusted((online.desk.path / "trust.json").read_bytes()) == second


def test_publish(online: Connected) -> None:
    path = online.desk.path / "t2.json"
    second = next_trust(online)
    path.write_bytes(envelope.encode(second))
    result = ok(online.run("trust", "publish", path))
    assert "trust version 2 sent to the shared feed" in result.stdout
    assert "RECEIPT north: trust accepted" in result.stdout
    assert (online.cloud.submitted[0].kind, online.cloud.submitted[0].agent) == (pb.KIND_TRUST, b"")
    assert envelope.decode_untrusted((online.desk.path / "trust.json").read_bytes()) == second
    ok(online.run("trust", "publish", path))
    path.write_bytes(envelope.encode(sign_trust(trust_document(online.desk.now_s, version=3), "lena")))
    refused(online.run("trust", "publish", path), REFUSED)
    assert len(online.cloud.submitted) == 2


# --- freezing, standing, asking -------------------------------------------------------------------------------------


def test_freeze_and_unfreeze_are_sent(online: Connected) -> None:
    file = online.desk.path / "f.json"
    result = ok(online.change("freeze", "tech4", "--scope", "all", "--send", "--out", file))
    assert "RECEIPT north: freeze accepted" in result.stdout
    assert statements.decode_as_untrusted(Freeze, online.sent()[0]).person == "tech4"
    assert "FROZEN: all  by tech4" in ok(online.run("changes", "list")).stdout
    lift = online.desk.path / "u.json"
    args = ("--freeze", file, "--yes")
    refused(online.change("unfreeze", "lena", *args, "--out", lift, "--send"), 2, "no freeze")
    ok(online.change("unfreeze", "lena", *args, "--out", lift))
    assert len(online.cloud.submitted) == 1
    ok(online.change("unfreeze", "joseph", *args, "--add-to", lift, "--send"))
    assert verify.verify_unfreeze(online.sent()[1], trust_document(online.desk.now_s), online.desk.now_s)
    assert "FROZEN" not in ok(online.run("changes", "list")).stdout
    refused(online.change("freeze", "tech4", "--scope", "all"), 2, "--send")


def test_a_freeze_is_lifted_by_those_who_have_no_file(online: Connected) -> None:
    """A thief of a key, or a person who went home, froze everything."""
    ok(online.change("freeze", "tech4", "--scope", "all", "--send"))
    online.cloud.post(pb.KIND_FREEZE, b"rubbish")
    folder, lift = online.desk.path / "frozen", online.desk.path / "u.json"
    said = ok(online.run("changes", "freezes", "--out", folder)).stdout
    assert said.startswith("FROZEN: all by tech4 since ")
    (file,) = folder.iterdir()
    assert envelope.decode_untrusted(file.read_bytes()) == online.sent()[0]
    ok(online.change("unfreeze", "lena", "--freeze", file, "--yes", "--out", lift))
    ok(online.change("unfreeze", "joseph", "--freeze", file, "--yes", "--add-to", lift, "--send"))
    assert "no freeze on the shared feed holds" in ok(online.run("changes", "freezes")).stdout


def test_a_standing_authority(online: Connected) -> None:
    file = online.desk.path / "s.json"
    common = ("--yes",)
    begun = online.run("standing", "new", "--key", online.desk.key_file("lena"), "--out", file, "--rate", "40", *common)
    assert "at most 40/h" in ok(begun).stdout
    refused(online.run("standing", "send", file), REFUSED, "expected 2 people")
    refused(online.run("standing", "sign", file, "--key", online.desk.key_file("lena"), "--yes"), REFUSED, "already")
    refused(online.run("standing", "sign", file, "--key", online.desk.key_file("tech4"), "--yes"), REFUSED)
    begun_file = file.read_bytes()
    named = statements.decode_as_untrusted(Standing, envelope.decode_untrusted(begun_file))
    for changes, by, words in (({"trust_id": "99" * 16}, "lena", "another trust chain"), ({}, "maria", "who began it")):
        lie = statements.sign(dataclasses.replace(named, **changes), [key(by)])
        file.write_bytes(envelope.encode(lie))
        refused(online.run("standing", "sign", file, "--key", online.desk.key_file("joseph"), "--yes"), REFUSED, words)
    file.write_bytes(begun_file)
    refused(online.run("standing", "sign", file, "--key", online.desk.key_file("joseph"), stdin="no\n"), REFUSED)
    ok(online.run("standing", "sign", file, "--key", online.desk.key_file("joseph"), stdin="yes\n"))
    result = ok(online.run("standing", "send", file))
    assert "RECEIPT north: standing accepted" in result.stdout
    standing, people = verify.verify_standing(online.sent()[0], trust_document(online.desk.now_s), online.desk.now_s)
    assert ({p.handle for p in people}, standing.rate_per_hour, standing.scope) == ({"lena", "joseph"}, 40, ("all",))
    listed = ok(online.run("standing", "list")).stdout
    assert "signed by" in listed
    assert "north accepted" in listed
    document = json.loads(ok(online.run("standing", "list", "--json")).stdout)
    assert document[0]["standing_id"] == standing.standing_id
    names = ok(online.run("standing", "list", "-o", "name")).stdout
    assert names == f"{standing.standing_id}\n"
    head, row = ok(online.run("standing", "list", "-o", "wide")).stdout.splitlines()
    assert " ".join(head.split()) == "standing authority verb until signed by receipts"
    assert row.startswith(standing.standing_id)
    assert row.endswith("north accepted")
    assert json.loads(ok(online.run("standing", "list", "-o", "json")).stdout) == document


def test_rate_above_policys_limit_is_said_before_it_is_signed(online: Connected) -> None:
    file = online.desk.path / "s.json"
    caps = {RiskClass.RESTORE: 60, RiskClass.PROVISION: 600}
    capped = tuple(dataclasses.replace(c, budget_per_hour=caps.get(c.risk_class, c.budget_per_hour)) for c in preset())
    online.desk.write_trust(trust_document(online.desk.now_s, policy=capped))
    new = ("standing", "new", "--key", online.desk.key_file("lena"), "--out", file, "--yes")
    over = ok(online.run(*new, "--rate", "120")).stdout
    assert "NOTE: the policy caps class restore at 60 services an hour" in over
    second = ok(online.run("standing", "sign", file, "--key", online.desk.key_file("joseph"), "--yes")).stdout
    assert "caps class restore at 60" in second
    file.unlink()
    assert "NOTE" not in ok(online.run(*new, "--rate", "60")).stdout
    file.unlink()
    assert "caps class provision at 600" in ok(online.run(*new, "--rate", "601", "--provision")).stdout


def test_the_rest_of_a_change_is_asked_for_by_its_id(online: Connected) -> None:
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    planned = online.agent.plan(online.desk)
    online.cloud.post_plan(planned)
    assert "asked north as tech4" in ok(online.change("again", "tech4", "2222")).stdout
    message = online.cloud.submitted[-1]
    opened = envelope.decode_untrusted(seal.open_sealed_untrusted(message.body, [online.agent.sealing]))
    intent = verify.verify_intent(opened, trust_document(online.desk.now_s), online.desk.now_s)
    assert [(s.by, s.value) for s in intent.subjects] == [("change", "22" * 16)]
    assert intent.verb is statements.decode_as_untrusted(Plan, planned.envelope).action


def test_a_change_is_taken_back_by_its_id(online: Connected) -> None:
    """The agent that is asked is the one of the change: nobody names it, and no other is asked by mistake."""
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    online.cloud.post_plan(online.agent.plan(online.desk))
    assert "asked north as tech4" in ok(online.change("revert", "tech4", "2222")).stdout
    (intent,) = asked_intents(online)
    assert (intent.verb, [(s.by, s.value) for s in intent.subjects]) == (Action.REVERT, [("change", "22" * 16)])
    assert (intent.on_failure, intent.reason, intent.params) == (OnFailure.CONTINUE, "", {})
    out = online.desk.path / "revert"
    ok(online.change("revert", "tech4", "2222", "--out", out))
    asked = statements.decode_as_untrusted(Intent, envelope.decode_untrusted(out.read_bytes()))
    assert (asked.verb, asked.agent) == (Action.REVERT, AGENT)
    refused(online.change("revert", "tech4", "9999"), 2, "no change on the shared feed begins with '9999'")


def test_an_intent_is_sealed_and_a_preview_appears(online: Connected) -> None:
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    result = ok(online.change("suspend", "tech4", "C-10482/home", "--agent", "north"))
    assert "asked north as tech4: a preview will appear" in result.stdout
    assert "PREVIEW" in result.stdout
    message = online.cloud.submitted[0]
    assert b"10482" not in message.SerializeToString()
    assert message.agent == bytes.fromhex(AGENT)
    opened = envelope.decode_untrusted(seal.open_sealed_untrusted(message.body, [online.agent.sealing]))
    intent = verify.verify_intent(opened, trust_document(online.desk.now_s), online.desk.now_s)
    assert (intent.verb.value, [s.value for s in intent.subjects], intent.reason) == (
        "suspend",
        ["C-10482/home"],
        "debt",
    )
    ok(online.change("set-plan", "tech4", "C-1", "--tariff", "gold", "--agent", "north"))
    refs = online.desk.path / "refs"
    refs.write_text("C-2\n\nC-3\n")
    ok(online.change("disconnect", "tech4", "--refs-file", refs, "--agent", "north"))
    ok(online.change("restore", "tech4", "C-1", "--agent", "north"))
    intents = asked_intents(online)
    assert [i.verb.value for i in intents] == ["suspend", "set-plan", "disconnect", "restore"]
    assert intents[1].params == {"tariff": "gold"}
    assert len(intents[2].subjects) == 2
    # One length, whatever was asked
    assert len({len(m.body) for m in online.cloud.submitted}) == 1
    refused(online.change("restore", "tech4", "--agent", "north"), 2, "at least one service")
    refused(online.change("restore", "tech4", "C-1", "--agent", "west"), 2, "north")


def test_an_intent_that_no_key_opens_is_said_to_be_refused(online: Connected) -> None:
    """The agent was restored from a backup without its newest sealing key: it knows no other digest."""
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())

    def refuse(message: pb.Message) -> None:
        of_sha256 = hashlib.sha256(message.body).hexdigest()
        other = next(iter(online.agent.plans.values())).envelope
        online.cloud.post(
            pb.KIND_RECEIPT, online.agent.receipt(other, "intent", Reason.MALFORMED, 0, 0, of_sha256=of_sha256)
        )

    online.planned()
    online.cloud.on_submit = refuse
    result = online.change("suspend", "tech4", "C-10482/home", "--agent", "north", "--wait", "1")
    refused(result, REFUSED, "north refused it: it cannot open the intent")
    memory = online.desk.path / "state" / "desk.json"
    document = json.loads(memory.read_bytes())
    document["sent"][0]["at_s"] -= 61
    memory.write_text(json.dumps(document))
    ok(online.run("changes", "list"))


def test_all_overdue_are_asked_for_without_naming_anybody(online: Connected) -> None:
    out = online.desk.path / "asked"
    ok(online.change("suspend", "tech4", "--overdue", "--agent", "north", "--out", out))
    asked = statements.decode_as_untrusted(Intent, envelope.decode_untrusted(out.read_bytes()))
    assert (asked.verb, asked.params, asked.subjects, asked.reason) == (Action.SUSPEND, {"overdue": "yes"}, (), "debt")
    for more in (("C-1",), ("--reason", "abuse")):
        refused(online.change("suspend", "tech4", "--overdue", *more, "--agent", "north"), 2, "--overdue: expected no")


def asked_intents(online: Connected) -> list[Intent]:
    opened = [seal.open_sealed_untrusted(m.body, [online.agent.sealing]) for m in online.cloud.submitted]
    return [statements.decode_as_untrusted(Intent, envelope.decode_untrusted(data)) for data in opened]


def test_changes_of_the_inventory_are_asked_for(online: Connected) -> None:
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    ok(online.change("remove", "tech4", "C-1/home", "C-2/home", "--agent", "north"))
    ok(online.change("rename-login", "tech4", "C-1/home", "amina.h", "--agent", "north"))
    removed, renamed = asked_intents(online)
    assert (removed.verb, removed.params, removed.reason) == (Action.REMOVE, {}, "")
    assert [(s.by, s.value) for s in removed.subjects] == [("service", "C-1/home"), ("service", "C-2/home")]
    assert (renamed.verb, renamed.params) == (Action.RENAME_LOGIN, {"login": "amina.h"})
    assert [(s.by, s.value) for s in renamed.subjects] == [("service", "C-1/home")]
    assert len({len(m.body) for m in online.cloud.submitted}) == 1
    refused(online.change("remove", "tech4", "--agent", "north"), 2, "at least one service")
    refused(online.change("rename-login", "tech4", "C-1/home", "--agent", "north"), 2, "NEW")


def test_a_routers_preparation_is_asked_for(online: Connected) -> None:
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    more = ("--list", "held", "--garden", "198.51.100.80", "--garden", "2001:db8::/64", "--resolver", "198.51.100.53")
    ok(online.change("prepare-device", "tech4", "edge-1", *more, "--agent", "north"))
    ok(online.change("prepare-device", "tech4", "edge-2", "--agent", "north"))
    first, second = asked_intents(online)
    assert (first.verb, [(s.by, s.value) for s in first.subjects]) == (Action.PREPARE, [("service", "edge-1")])
    assert first.params == {"list": "held", "garden": "198.51.100.80,2001:db8::/64", "resolvers": "198.51.100.53"}
    assert second.params == {}
    refused(online.change("prepare-device", "tech4", "--agent", "north"), 2, "NAME")


def test_changes_of_ports_are_asked_for(online: Connected) -> None:
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    ok(online.change("port-down", "tech4", "sw-3", "ge-0/0/7", "ge-0/0/8", "--agent", "north"))
    ok(online.change("port-up", "tech4", "sw-3", "ge-0/0/7", "--agent", "north"))
    ok(online.change("port-alias", "tech4", "sw-3", "ge-0/0/7", "Amina", "--agent", "north"))
    ok(online.change("port-power-cycle", "tech4", "sw-3", "ge-0/0/7", "--off", "9", "--agent", "north"))
    asked = [(one.verb, one.params, [s.value for s in one.subjects]) for one in asked_intents(online)]
    assert asked == [
        (Action.PORT_SET, {"admin": "down"}, ["sw-3/ge-0/0/7", "sw-3/ge-0/0/8"]),
        (Action.PORT_SET, {"admin": "up"}, ["sw-3/ge-0/0/7"]),
        (Action.PORT_SET, {"alias": "Amina"}, ["sw-3/ge-0/0/7"]),
        (Action.PORT_CYCLE, {"off-s": "9"}, ["sw-3/ge-0/0/7"]),
    ]
    refused(online.change("port-down", "tech4", "sw-3", "--agent", "north"), 2, "PORT")
    refused(online.change("port-power-cycle", "tech4", "sw-3", "1", "--off", "61", "--agent", "north"), 2, "--off")


@pytest.mark.parametrize("verb", ["suspend", "restore", "set-plan", "disconnect", "remove"])
def test_a_subscribers_number_may_mean_all_its_services(online: Connected, verb: str) -> None:
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    more = ("--tariff", "gold") if verb == "set-plan" else ()
    ok(online.change(verb, "tech4", "C-2", "C-3", *more, "--all-services", "--agent", "north"))
    (intent,) = asked_intents(online)
    assert intent.verb.value == verb
    assert [(s.by, s.value) for s in intent.subjects] == [("subscriber", "C-2"), ("subscriber", "C-3")]


def test_a_service_asks(online: Connected) -> None:
    billing = ServiceAccount("billing", (PersonKey("ed25519", key("billing").public.hex()),))
    online.desk.write_trust(trust_document(online.desk.now_s, services=(billing,)))
    online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey())
    assert "as billing" in ok(online.change("restore", "billing", "C-1", "--agent", "north")).stdout


@pytest.mark.parametrize("signer", ["stranger", "", "lena"])
def test_a_sealing_key_that_the_agent_did_not_sign_is_not_used(online: Connected, signer: str) -> None:
    if signer:
        online.cloud.post(pb.KIND_SEALKEY, online.agent.sealkey(key(signer)))
    refused(online.change("suspend", "tech4", "C-1", "--agent", "north"), REFUSED, "expected a sealing key")
    assert online.cloud.submitted == []


# --- watching and witnessing ----------------------------------------------------------------------------------------


def test_watch_says_what_changes_and_runs_a_command(online: Connected) -> None:
    planned = online.planned()
    record = online.desk.path / "record"
    script = online.desk.path / "hook"
    script.write_text(
        f'#!/bin/sh\necho "$ISPCLOUD_EVENT $ISPCLOUD_ID $ISPCLOUD_STATE $ISPCLOUD_CLASS [$ISPCLOUD_KEY]" >> {record}\n'
    )
    script.chmod(0o700)

    def later() -> None:
        online.cloud.post(pb.KIND_OUTCOME, online.agent.outcome(planned, OutcomeState.DONE))
        online.cloud.post(pb.KIND_PLAN, b"forged")

    online.cloud.on_watch = later
    result = online.run("changes", "watch", "--exec", str(script), "--count", "2", ISPCLOUD_KEY="secret")
    ok(result)
    assert "waiting: 5ZZZZ suspend 1" in result.stdout
    assert "done: 5ZZZZ suspend 1 at north, class low, by tech4" in result.stdout
    assert "NOT VERIFIED: message 3, plan" in result.stderr
    assert record.read_text().splitlines() == [
        "change 5ZZZZ done low []",
        "alarm  not-verified  []",
    ]


def test_watch_comes_back_after_the_control_plane_was_away(online: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_watch, "_BACKOFF_S", 0.01)
    planned = online.planned()
    online.cloud.away = 2
    online.cloud.on_watch = lambda: online.cloud.post(
        pb.KIND_OUTCOME, online.agent.outcome(planned, OutcomeState.NEEDS_A_PERSON)
    )
    result = ok(online.run("changes", "watch", "--count", "1"))
    assert result.stderr.count("works without it; again in") == 2
    assert "needs-a-person: 5ZZZZ" in result.stdout


def test_watch_outlives_its_certificate(online: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness runs for months; at 2/3 of a certificate's life it connects again, with the next one."""
    minute = online.desk.now_s // 60
    planned = online.planned(start_by=minute + 600, run_until=minute + 600)

    def later_s() -> int:
        return int(time.time()) + (7 * 3600 if watched and not online.cloud.renewed else 0)

    def on_watch() -> None:
        watched.append(online.cloud.renewed)
        if online.cloud.renewed:
            online.cloud.post(pb.KIND_OUTCOME, online.agent.outcome(planned, OutcomeState.DONE))

    watched: list[int] = []
    online.cloud.on_watch = on_watch
    monkeypatch.setattr(cli_watch, "_LOOK_S", 0.2)
    for module in (cli_watch, desk_online):
        monkeypatch.setattr(module, "now_s", later_s)
    assert "done: 5ZZZZ" in ok(online.run("changes", "watch", "--count", "1")).stdout
    assert (watched[0], watched[-1], online.cloud.renewed) == (0, 1, 1)


def test_watch_reads_the_feed_anew_when_much_came(online: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness runs for months: it holds what the shared feed holds, not what ever came."""
    planned = online.planned()
    watched: list[int] = []

    def on_watch() -> None:
        watched.append(len(online.cloud.feed))
        if len(watched) == 1:
            for _ in range(2):
                online.cloud.post(pb.KIND_RECEIPT, b"one of many")
        else:
            online.cloud.post(pb.KIND_OUTCOME, online.agent.outcome(planned, OutcomeState.DONE))

    online.cloud.on_watch = on_watch
    monkeypatch.setattr(cli_watch, "FEED_MAX", len(online.cloud.feed) + 1)
    result = ok(online.run("changes", "watch", "--count", "3"))  # two NOT VERIFIED, each said once, and the outcome
    assert "done: 5ZZZZ" in result.stdout
    assert len(watched) == 2


def test_watch_stays_while_draining_and_ends_when_revoked(online: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    def come_back(_: float) -> None:
        online.cloud.fail = None

    monkeypatch.setattr(cli_watch, "time", SimpleNamespace(sleep=come_back, monotonic=time.monotonic))
    planned = online.planned()
    online.cloud.on_watch = lambda: online.cloud.post(pb.KIND_OUTCOME, online.agent.outcome(planned, OutcomeState.DONE))
    draining = pb.Problem(refusal=pb.REFUSAL_DRAINING, retry_after_s=5).SerializeToString()
    online.cloud.fail = (grpc.StatusCode.UNAVAILABLE, "REFUSAL_DRAINING", draining)
    result = ok(online.run("changes", "watch", "--count", "1"))
    assert result.stderr.count("refused: draining, come back in 5 s; again in") == 1
    assert "done: 5ZZZZ" in result.stdout
    revoked = pb.Problem(refusal=pb.REFUSAL_REVOKED).SerializeToString()
    online.cloud.fail = (grpc.StatusCode.UNAUTHENTICATED, "REFUSAL_REVOKED", revoked)
    refused(online.run("changes", "watch", "--count", "1"), REFUSED, "refused: revoked")


def test_watch_tells_of_lies_and_of_what_does_not_come(online: Connected) -> None:
    online.planned()
    online.cloud.on_submit = lambda message: None
    online.change("cancel", "tech4", "2222", "--yes", "--wait", "0")
    memory = online.desk.path / "state" / "desk.json"
    document = json.loads(memory.read_bytes())
    document["sent"][0]["at_s"] -= 61
    memory.write_text(json.dumps(document))
    online.cloud.post(pb.KIND_PLAN, b"before")
    online.cloud.on_watch = lambda: online.planned(plan_id="55" * 16, log_root="77" * 32)
    result = ok(online.run("changes", "watch", "--json", "--count", "3", "--exec", "false"))
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(e["event"], e["state"]) for e in events] == [
        ("no-receipt", ""),
        ("change", "waiting"),
        ("alarm", "forked"),
    ]
    assert result.stderr.count("--exec: expected exit code 0, got 1") == 3
    assert "1 messages NOT VERIFIED so far" in result.stderr


def test_a_cosignature_that_is_not_taken(online: Connected) -> None:
    vkey = witness_trust(online)
    ask(online, 0, vkey)

    def refuse(message: pb.Message) -> None:
        raise ValueError

    online.cloud.on_submit = refuse
    result = online.run("changes", "watch", "--witness-key", online.desk.key_file("witness"), "--count", "1")
    assert "the cosignature was not taken" in ok(result).stderr


def test_watch_takes_over_trust_that_follows(online: Connected) -> None:
    second = next_trust(online)

    def later() -> None:
        online.cloud.post(pb.KIND_TRUST, envelope.encode(second), "")
        online.planned(trust_version=2)

    online.cloud.on_watch = later
    assert "waiting: 5ZZZZ" in ok(online.run("changes", "watch", "--count", "1")).stdout
    assert envelope.decode_untrusted((online.desk.path / "trust.json").read_bytes()) == second


def witness_trust(online: Connected, name: str = "desk-joseph") -> str:
    vkey = checkpoint.encode_witness_vkey(name, key("witness").public)
    document = trust_document(
        online.desk.now_s, witnesses=(Witness(name, (vkey,), WitnessOperator.OWN),), quorum=Quorum(1, 1)
    )
    online.desk.write_trust(document)
    return vkey


def ask(online: Connected, old: int, vkey: str) -> None:
    request = AddCheckpoint(old, online.agent.consistency(old), online.agent.note())
    online.cloud.post(
        pb.KIND_CHECKPOINT,
        witness.encode_request(request),
        witness=checkpoint.parse_witness_vkey_untrusted(vkey).key_id,
    )


def cosign(online: Connected) -> list[pb.Message]:
    before = len(online.cloud.submitted)
    ok(online.run("changes", "watch", "--witness-key", online.desk.key_file("witness"), "--count", "1"))
    return online.cloud.submitted[before:]


def test_a_desk_cosigns_what_follows(online: Connected) -> None:
    vkey = witness_trust(online)
    shown = ok(online.run("keys", "show", online.desk.key_file("witness"), "--witness-name", "desk-joseph"))
    assert vkey in shown.stdout
    ask(online, 0, vkey)
    (first,) = cosign(online)
    note = online.agent.note()
    assert (first.kind, first.agent) == (pb.KIND_COSIGNATURE, bytes.fromhex(AGENT))
    assert first.witness == checkpoint.parse_witness_vkey_untrusted(vkey).key_id
    document = statements.decode_as_untrusted(
        type(trust_document(1)), envelope.decode_untrusted((online.desk.path / "trust.json").read_bytes())
    )
    assert witness.get_witness_result(document, note, [first.body.decode()]).confirmed
    online.agent.grow(5)
    ask(online, 8, vkey)
    (second,) = cosign(online)
    assert witness.get_witness_result(document, online.agent.note(), [second.body.decode()]).confirmed
    seen = present(
        remembered_checkpoints.decode_untrusted((online.desk.path / "state" / "heads.json").read_bytes()).log(AGENT)
    )
    assert (seen.size, seen.root) == (13, online.agent.head().root.hex())


def test_a_desk_does_not_cosign_what_does_not_follow(online: Connected) -> None:
    vkey = witness_trust(online)
    online.agent.grow(5)
    ask(online, 0, vkey)
    cosign(online)
    leaves = online.agent.leaves
    # A restored backup asks from what it remembers: the answer says how far this witness is
    online.agent.leaves = leaves[:8]
    ask(online, 8, vkey)
    (conflict,) = cosign(online)
    assert conflict.body == b"conflict 13\n"
    online.agent.leaves = [*leaves[:12], b"other", b"more"]
    ask(online, 13, vkey)
    before = (online.desk.path / "state" / "heads.json").read_bytes()
    result = ok(online.run("changes", "watch", "--witness-key", online.desk.key_file("witness"), "--count", "1"))
    assert "NOT cosigned (422)" in result.stderr
    # Nothing is cosigned; that its log of this size is another one is told to the agent too
    assert [m.body for m in online.cloud.submitted[1:]] == [b"conflict 13\n"] * 2
    assert (online.desk.path / "state" / "heads.json").read_bytes() == before


def test_what_approvals_saw_and_what_was_cosigned_are_compared(online: Connected) -> None:
    vkey = witness_trust(online)
    online.planned()
    ask(online, 0, vkey)
    cosign(online)  # 8
    online.agent.grow(8)
    ok(online.change("show", "joseph", "2222"))  # 16, by a proof from 8
    grown = online.agent.leaves
    online.agent.leaves = grown[:12]
    ask(online, 8, vkey)  # it follows what was cosigned, and the log was longer already
    assert [m.body for m in cosign(online)] == [b"conflict 16\n"]
    online.agent.leaves = [*grown[:12], *(b"other" for _ in range(4))]
    ask(online, 8, vkey)  # as long, and another tree
    watched = ok(online.run("changes", "watch", "--witness-key", online.desk.key_file("witness"), "--count", "1"))
    assert "NOT cosigned (422)" in watched.stderr
    online.agent.leaves = [*grown[:12], *(b"other" for _ in range(9))]
    ask(online, 8, vkey)  # longer, and only a proof from 16 would show the fork: the next view demands it
    assert len(cosign(online)) == 1
    refused(online.change("show", "joseph", "2222"), REFUSED, "forked")
    kept = remembered_checkpoints.decode_untrusted((online.desk.path / "state" / "heads.json").read_bytes())
    signed, seen = kept.last_cosigned(AGENT), kept.log(AGENT)
    assert signed is not None
    assert seen is not None
    assert (signed.size, seen.size) == (21, 16)


@pytest.mark.parametrize("how", ["garbage", "another-key", "another-log", "unknown-agent"])
def test_requests_that_a_witness_does_not_answer(online: Connected, how: str) -> None:
    vkey = witness_trust(online)
    key_id = checkpoint.parse_witness_vkey_untrusted(vkey).key_id
    other = FakeAgent(online.desk.now_s, log_key=key("elsewhere"))
    note = checkpoint.sign_checkpoint(checkpoint.Checkpoint("other", 1, b"1" * 32), key("log"), "other")
    bodies = {
        "garbage": b"old -1\n\n",
        "another-key": witness.encode_request(AddCheckpoint(0, (), other.note())),
        "another-log": witness.encode_request(AddCheckpoint(0, (), note)),
        "unknown-agent": witness.encode_request(AddCheckpoint(0, (), online.agent.note())),
    }
    agent = "dd" * 16 if how == "unknown-agent" else AGENT
    online.cloud.post(pb.KIND_CHECKPOINT, bodies[how], agent, key_id)
    assert cosign(online) == []


def test_a_key_that_is_no_witness(online: Connected) -> None:
    result = online.run("changes", "watch", "--witness-key", online.desk.key_file("joseph"), "--count", "1")
    refused(result, REFUSED, "expected a witness of trust version 1")


# --- unlocked -------------------------------------------------------------------------------------------------------


def test_unlocked(online: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    # a short name: pytest makes a folder of it, and the path of a socket has at most 107 bytes
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(online.desk.path / "run"))
    online.planned()
    file = online.desk.key_file("joseph")
    ok(online.run("keys", "unlock", "--key", file, "--hours", "1"))
    try:
        refused(online.run("keys", "unlock", "--key", file), 2, "unlocked already")
        assert unlock.find(key("joseph").public) is not None
        (online.desk.path / "passphrase").unlink()
        ok(online.change("approve", "joseph", "2222", "--yes-i-read-it", "1"))
        assert approval_of(online.sent()[0]).person == "joseph"
    finally:
        locked = online.run("keys", "lock")
    assert "1 key locked" in locked.stdout
    assert unlock.find(key("joseph").public) is None
    refused(online.change("reject", "joseph", "2222", "--yes"), 2, "passphrase")
    (online.desk.path / "passphrase").write_bytes(PASSPHRASE)


# --- against the real control plane ---------------------------------------------------------------------------------


class RealAgent(threading.Thread):
    """An agent at a real control plane: it takes what comes, and answers as `FakeAgent` says."""

    def __init__(self, cloud: Cloud, member: Member, desk: Desk) -> None:
        super().__init__()
        self.fake = FakeAgent(desk.now_s, agent=member.identity.agent.hex())
        self.desk, self.problem, self.cosignatures = desk, "", queue.SimpleQueue[pb.Message]()
        self.stub = cloud.as_agent(member)
        self.stream = self.stub.Watch(pb.WatchRequest())

    def submit(self, kind: pb.Kind, body: bytes, **more: object) -> None:
        agent = bytes.fromhex(self.fake.agent)
        message = pb.Message(kind=kind, ref=secrets.token_bytes(16), agent=agent, body=body, **more)
        self.stub.Submit(pb.SubmitRequest(message=message), timeout=20)

    def plan(self) -> Planned:
        planned = self.fake.plan(self.desk)
        self.submit(pb.KIND_PLAN, envelope.encode(planned.envelope))
        return planned

    def run(self) -> None:
        try:
            for event in self.stream:
                if event.HasField("live"):
                    pages = self.fake.pages(event.live)
                    for number, page in enumerate(pages, 1):
                        last = number == len(pages)
                        self.submit(pb.KIND_VIEW_PAGE, page, answers=event.live.ref, last=last)
                elif event.HasField("delivery"):
                    message = event.delivery.message
                    if message.kind == pb.KIND_COSIGNATURE:
                        self.cosignatures.put(message)
                    for kind, body in self.fake.reply(self.desk, message):
                        self.submit(kind, body)
        except grpc.RpcError as err:
            if err.code() is not grpc.StatusCode.CANCELLED:
                self.problem = str(err)


@pytest.fixture
def real(desk: Desk) -> Iterator[tuple[Connected, RealAgent]]:
    with running(desk.path / "cloud") as cloud:
        agent = RealAgent(cloud, cloud.agent(cloud.operator("north-isp"), "north"), desk)
        online = Connected(desk, FakeCloud(), agent.fake)
        (desk.path / "run").mkdir()
        invite = desk.path / "invite.json"
        ok(
            online.run(
                *("people", "enroll", "joseph", "--operator", "north-isp", "--out", invite, "--dir", cloud.data.path),
                *("--server", cloud.address, "--enrolment", cloud.enrolment),
            )
        )
        ok(online.run("desk", "enroll", "--invite", invite))
        base = trust_document(desk.now_s)
        vkey = checkpoint.encode_witness_vkey("desk-joseph", key("witness").public)
        document = dataclasses.replace(
            base,
            agents=(dataclasses.replace(base.agents[0], agent=agent.fake.agent),),
            witnesses=(Witness("desk-joseph", (vkey,), WitnessOperator.OWN),),
            quorum=Quorum(1, 1),
        )
        desk.write_trust(document)
        agent.start()
        yield online, agent
        agent.stream.cancel()
        agent.join()
        assert agent.problem == ""


def test_the_whole_way_through_a_real_control_plane(real: tuple[Connected, RealAgent]) -> None:
    online, agent = real
    planned = agent.plan()
    agent.submit(pb.KIND_SEALKEY, agent.fake.sealkey())
    assert "5ZZZZ  waiting  0/1" in ok(online.run("changes", "list")).stdout
    assert ok(online.run("changes", "list", "-o", "name")).stdout == "5ZZZZ\n"
    assert "SHA256" in ok(online.run("changes", "list", "-o", "wide")).stdout
    assert "C-1 Amina Hassan" in ok(online.change("show", "joseph", "2222")).stdout
    assert "RECEIPT north: approve accepted" in ok(online.change("approve", "joseph", "5ZZZZ", stdin="yes\n")).stdout
    agent.submit(pb.KIND_OUTCOME, agent.fake.outcome(planned, OutcomeState.DONE))
    assert ok(online.run("changes", "list")).stdout.splitlines()[1].split()[:2] == ["5ZZZZ", "done"]
    assert "PREVIEW" in ok(online.change("suspend", "tech4", "C-9", "--agent", "north")).stdout
    ok(online.change("cancel", "tech4", "5ZZZZ", "--yes"))
    frozen = online.desk.path / "f.json"
    ok(online.change("freeze", "tech4", "--scope", "agent", "--agent", "north", "--send", "--out", frozen))
    assert "FROZEN: agent" in ok(online.run("changes", "list")).stdout
    lift = online.desk.path / "u.json"
    ok(online.change("unfreeze", "lena", "--freeze", frozen, "--out", lift, "--yes"))
    ok(online.change("unfreeze", "joseph", "--freeze", frozen, "--add-to", lift, "--yes", "--send"))
    standing = online.desk.path / "s.json"
    ok(online.run("standing", "new", "--key", online.desk.key_file("lena"), "--out", standing, "--yes"))
    ok(online.run("standing", "sign", standing, "--key", online.desk.key_file("joseph"), "--yes"))
    ok(online.run("standing", "send", standing))
    assert "north accepted" in ok(online.run("standing", "list")).stdout
    ok(online.run("trust", "publish", online.desk.path / "trust.json"))
    vkey = checkpoint.parse_witness_vkey_untrusted(checkpoint.encode_witness_vkey("desk-joseph", key("witness").public))
    request = AddCheckpoint(0, (), agent.fake.note())
    agent.submit(pb.KIND_CHECKPOINT, witness.encode_request(request), witness=vkey.key_id)
    watched = online.run("changes", "watch", "--witness-key", online.desk.key_file("witness"), "--count", "1")
    assert "cosigned its log" in ok(watched).stdout
    line = agent.cosignatures.get(timeout=20).body.decode()
    assert checkpoint.verify_cosignature_untrusted(line, witness.note_text(agent.fake.note()), vkey)
    final = ok(online.run("changes", "list"))
    assert "NOT VERIFIED" not in final.stderr
    agent.stream.cancel()
    agent.join()
    refused(online.change("show", "joseph", "2222"), REFUSED, "refused: agent-away")
