"""The shared feed as one person may believe it: what is folded, in any order, and what is not believed."""

import dataclasses
import itertools
import secrets

import pytest

from control_plane.desk import feed as feeds
from control_plane.desk import memory, remembered_checkpoints
from control_plane.desk.feed import Fold, Received, SharedFeed
from control_plane.desk.memory import Memory, Sent
from control_plane.desk.remembered_checkpoints import LogKey, RememberedCheckpoints, SeenTrust
from control_plane.errors import InputError
from protos import message_pb2 as pb
from tests.control_plane.conftest import AGENT, ORIGIN, TRUST_ID, Desk, key, sign_trust, trust_document
from tests.control_plane.desk_cloud import FakeAgent, Planned
from trust import chain, envelope, statements
from trust.checkpoint import Checkpoint
from trust.document import Trust
from trust.errors import MalformedStatementError, Reason, RefusedError
from trust.policy import Action
from trust.short_id import short_id
from trust.statements import Freeze, FreezeScope, OutcomeState, SeenLog, Standing, StandingEvidence, Unfreeze

NUMBERS = itertools.count(1)
DONE, MIXED, NEEDS_A_PERSON = OutcomeState.DONE, OutcomeState.MIXED, OutcomeState.NEEDS_A_PERSON
NOTHING = Memory()
UNSEEN = RememberedCheckpoints()


def received(kind: pb.Kind, body: bytes, minute: int = 0) -> Received:
    return Received(next(NUMBERS), int(kind), AGENT, body, minute)


def planned(desk: Desk, agent: FakeAgent, **changes: object) -> tuple[Planned, Received]:
    made = agent.plan(desk, **changes)
    return made, received(pb.KIND_PLAN, envelope.encode(made.envelope))


def fold(
    desk: Desk, *messages: Received, remembered: Memory = NOTHING, now_s: int = 0, seen: RememberedCheckpoints = UNSEEN
) -> SharedFeed:
    found = Fold(trust_document(desk.now_s), seen)
    for message in messages:
        found.take(message, now_s or desk.now_s)
    return found.feed(remembered, now_s or desk.now_s)


@pytest.fixture
def agent(desk: Desk) -> FakeAgent:
    return FakeAgent(desk.now_s)


def sent(statement: envelope.Envelope, what: str, plan: str, at_s: int) -> Sent:
    return Sent(envelope.digest(statement).hex(), what, plan, (AGENT,), at_s)


def some_statement(word: str) -> envelope.Envelope:
    return envelope.sign("application/vnd.ispagents.approval.v0+json", word.encode(), [key("joseph")])


# --- states ---------------------------------------------------------------------------------------------------------


def test_a_change_moves_with_what_is_signed(desk: Desk, agent: FakeAgent) -> None:
    made, plan = planned(desk, agent)
    assert [(c.state, c.have, c.need) for c in fold(desk, plan).changes] == [("waiting", 0, 1)]
    late = (made.plan.start_by + 1) * 60
    assert fold(desk, plan, now_s=late).changes[0].state == "expired"
    approval = some_statement("approval")
    mine = Memory()  # it is another desk's approval: the receipt says which plan it is about
    receipt = received(pb.KIND_RECEIPT, agent.receipt(approval, "approval", None, 1, 2, plan_sha256=made.sha256))
    assert fold(desk, plan, receipt, remembered=mine).changes[0].state == "waiting"
    agent.grow(1)
    enough = received(pb.KIND_RECEIPT, agent.receipt(approval, "approval", None, 2, 2, plan_sha256=made.sha256))
    for order in itertools.permutations((plan, receipt, enough)):
        change = fold(desk, *order, remembered=mine).changes[0]
        assert (change.state, change.have, change.need) == ("approved", 2, 2)
    outcome = received(pb.KIND_OUTCOME, agent.outcome(made, OutcomeState.RUNNING, 1))
    done = received(pb.KIND_OUTCOME, agent.outcome(made, OutcomeState.DONE, 2))
    for order in itertools.permutations((plan, outcome, done)):
        assert fold(desk, *order).changes[0].state == "done"


@pytest.mark.parametrize(("what", "state"), [("reject", "rejected"), ("cancel", "cancelled"), ("freeze", "waiting")])
def test_what_this_desk_sent(desk: Desk, agent: FakeAgent, what: str, state: str) -> None:
    made, plan = planned(desk, agent)
    statement = some_statement(what)
    mine = Memory().with_sent(sent(statement, what, made.sha256, desk.now_s))
    taken = received(pb.KIND_RECEIPT, agent.receipt(statement, "approval", None, 0, 0))
    refused = received(pb.KIND_RECEIPT, agent.receipt(statement, "approval", Reason.FROZEN, 0, 0))
    assert fold(desk, plan, taken, remembered=mine).changes[0].state == state
    assert fold(desk, plan, refused, remembered=mine).changes[0].state == "waiting"


def test_an_outcome_by_another_agent_changes_nothing(desk: Desk, agent: FakeAgent) -> None:
    made, plan = planned(desk, agent)
    document = trust_document(desk.now_s)
    south = dataclasses.replace(document.agents[0], agent="cc" * 16, handle="south", plan_key=key("south").public.hex())
    found = Fold(dataclasses.replace(document, agents=(*document.agents, south)), RememberedCheckpoints())
    lie = FakeAgent(desk.now_s, agent="cc" * 16, plan_key=key("south")).outcome(made, OutcomeState.DONE, 2)
    for message in (plan, received(pb.KIND_OUTCOME, lie)):
        found.take(message, desk.now_s)
    assert found.feed(Memory(), desk.now_s).changes[0].state == "waiting"
    found.take(received(pb.KIND_OUTCOME, agent.outcome(made, NEEDS_A_PERSON, 1)), desk.now_s)
    feed = found.feed(Memory(), desk.now_s)
    assert (feed.changes[0].state, feed.alarms) == ("needs-a-person", ())


def test_an_outcome_of_before_a_restore_is_not_the_present(desk: Desk, agent: FakeAgent) -> None:
    """The backup is from before the end: the agent numbers two outcomes 1, and had posted a 2 before."""
    made, plan = planned(desk, agent)
    lost = [received(pb.KIND_OUTCOME, agent.outcome(made, state, seq)) for seq, state in ((1, MIXED), (2, DONE))]
    agent.now_s += 3600
    again = received(pb.KIND_OUTCOME, agent.outcome(made, NEEDS_A_PERSON, 1))
    for order in itertools.permutations((plan, *lost, again)):
        feed = fold(desk, *order, *order)
        (change,) = feed.changes
        assert (change.state, change.is_open) == ("needs-a-person", True)
        (alarm,) = feed.alarms
        assert f"outcomes of {change.short} at north contradict each other: 1 mixed at " in alarm
        assert ", 1 needs-a-person at " in alarm
        assert ", 2 done at " in alarm
    agent.now_s += 60
    later = received(pb.KIND_OUTCOME, agent.outcome(made, OutcomeState.REVERTED, 2))
    assert fold(desk, plan, *lost, again, later).changes[0].state == "reverted"


def test_two_outcomes_1_in_one_minute_ask_for_a_person(desk: Desk, agent: FakeAgent) -> None:
    made, plan = planned(desk, agent)
    both = [received(pb.KIND_OUTCOME, agent.outcome(made, state, 1)) for state in (NEEDS_A_PERSON, DONE)]
    for order in itertools.permutations((plan, *both)):
        feed = fold(desk, *order)
        assert (feed.changes[0].state, len(feed.alarms)) == ("needs-a-person", 1)


def test_an_outcome_after_the_clock_was_set_back_holds(desk: Desk, agent: FakeAgent) -> None:
    """Its number says that it is the later one; that the clock was set, or the number is a lost one's, is told."""
    made, plan = planned(desk, agent)
    first = received(pb.KIND_OUTCOME, agent.outcome(made, NEEDS_A_PERSON, 1))
    agent.now_s -= 600
    second = received(pb.KIND_OUTCOME, agent.outcome(made, DONE, 2))
    for order in itertools.permutations((plan, first, second)):
        feed = fold(desk, *order)
        assert (feed.changes[0].state, len(feed.alarms)) == ("done", 1)


def test_receipts_that_do_not_come(desk: Desk, agent: FakeAgent) -> None:
    statement = some_statement("freeze")
    mine = Memory().with_sent(sent(statement, "freeze", "", desk.now_s - 59))
    assert fold(desk, remembered=mine).missing == ()
    later = desk.now_s + 1
    assert [m.agents for m in fold(desk, remembered=mine, now_s=later).missing] == [("north",)]
    receipt = received(pb.KIND_RECEIPT, agent.receipt(statement, "freeze"))
    assert fold(desk, receipt, remembered=mine, now_s=later).missing == ()
    assert fold(desk, remembered=mine, now_s=desk.now_s + feeds.MISSED_S).missing == ()


# --- lies -----------------------------------------------------------------------------------------------------------


def test_what_is_not_verified_is_counted_and_named(desk: Desk, agent: FakeAgent) -> None:
    stranger = FakeAgent(desk.now_s, plan_key=key("stranger"))
    made, forged = planned(desk, stranger)
    feed = fold(
        desk,
        forged,
        received(pb.KIND_RECEIPT, stranger.receipt(made.envelope, "approval")),
        received(pb.KIND_OUTCOME, stranger.outcome(made, OutcomeState.DONE)),
        received(pb.KIND_SEALKEY, agent.sealkey(key("stranger"))),
        received(pb.KIND_FREEZE, b"[]"),
        received(pb.KIND_INTENT, b"sealed"),
        Received(7, 99, AGENT, b"", 0),
        received(pb.KIND_CHECKPOINT, b"a witness judges it"),
        received(pb.KIND_TRUST, b"the chain judges it"),
    )
    assert (feed.changes, feed.sealkeys, feed.freezes) == ((), {}, ())
    assert [n.kind for n in feed.not_verified] == [
        "plan",
        "receipt",
        "outcome",
        "sealkey",
        "freeze",
        "intent",
        "unknown",
    ]


def test_forks_are_alarms(desk: Desk, agent: FakeAgent) -> None:
    _, one = planned(desk, agent)
    _, two = planned(desk, agent, plan_id="55" * 16, log_root="ee" * 32)
    assert fold(desk, one).alarms == ()
    assert "FORKED: two different trees of 8" in fold(desk, one, two).alarms[0]
    seen = RememberedCheckpoints(logs=(SeenLog(AGENT, 8, "77" * 32),))
    assert "north FORKED" in fold(desk, one, seen=seen).alarms[0]


def test_a_log_under_a_new_key_is_no_fork_of_the_one_before(desk: Desk, agent: FakeAgent) -> None:
    made, old = planned(desk, agent)
    done = received(pb.KIND_OUTCOME, agent.outcome(made, OutcomeState.DONE))
    _, new = planned(desk, agent, plan_id="55" * 16, trust_version=2, log_root="ee" * 32)
    _, forked = planned(desk, agent, plan_id="66" * 16, trust_version=2, log_root="dd" * 32)
    seen = RememberedCheckpoints(log_keys=(LogKey(AGENT, "log+2", 2),))
    assert fold(desk, old, done, new, seen=seen).alarms == ()
    assert "FORKED" in fold(desk, old, done, new, forked, seen=seen).alarms[0]


def test_ids(desk: Desk, agent: FakeAgent) -> None:
    """A change has the same short id at each desk as at its site, whether anybody looked at it or not."""
    made, one = planned(desk, agent)
    _, two = planned(desk, agent, plan_id="77" * 16)
    feed = fold(desk, one, two)
    short = short_id(bytes.fromhex("22" * 16))
    assert {c.short for c in feed.changes} == {short, short_id(bytes.fromhex("77" * 16))}
    for name in (short, short.lower(), short[:4], f" {short}ZZ", made.sha256[:8], "22" * 16):
        assert feed.find(name).sha256 == made.sha256, name
    for name in ("", short[:3], "8888", f"{short}22"):
        with pytest.raises(InputError):
            feed.find(name)


def test_changes_of_two_sites_that_begin_alike_get_more_letters(desk: Desk, agent: FakeAgent) -> None:
    one, two = (planned(desk, agent, plan_id="23" * 15 + last)[1] for last in ("23", "33"))
    feed = fold(desk, one, two)
    shorts, alike = sorted(c.short for c in feed.changes), short_id(bytes.fromhex("23" * 16))
    assert len(set(shorts)) == 2
    assert {short[:5] for short in shorts} == {alike}
    assert [feed.find(short).short for short in shorts] == shorts
    with pytest.raises(InputError, match=rf"2 begin with '{alike}': .* at north, .* at north"):
        feed.find(alike)


# --- dates ----------------------------------------------------------------------------------------------------------


def test_sealing_keys_in_force(desk: Desk, agent: FakeAgent) -> None:
    message = received(pb.KIND_SEALKEY, agent.sealkey())
    assert fold(desk, message).sealkeys[AGENT].x25519 == agent.sealing.public.hex()
    over = fold(desk, message, now_s=desk.now_s + 8 * 86_400)
    assert (over.sealkeys, over.not_verified) == ({}, ())
    younger = FakeAgent(desk.now_s + 3600)
    both = fold(desk, received(pb.KIND_SEALKEY, younger.sealkey()), message, now_s=desk.now_s + 3600)
    assert both.sealkeys[AGENT].x25519 == younger.sealing.public.hex()


def test_the_later_of_two_sealing_keys_of_one_minute_counts(desk: Desk, agent: FakeAgent) -> None:
    """A database was restored in the minute in which its first key was made: that one is lost."""
    restored = FakeAgent(desk.now_s)
    messages = [received(pb.KIND_SEALKEY, one.sealkey()) for one in (agent, restored)]
    assert fold(desk, *messages).sealkeys[AGENT].x25519 == restored.sealing.public.hex()


def test_freezes_until_they_are_lifted(desk: Desk) -> None:
    minute = desk.now_s // 60
    freeze = statements.sign(Freeze(TRUST_ID, "31" * 16, FreezeScope.ALL, "", "tech4", minute, 0), [key("tech4")])
    frozen = received(pb.KIND_FREEZE, envelope.encode(freeze), minute)
    lift = Unfreeze(TRUST_ID, envelope.digest(freeze).hex(), "lena", minute)
    one = received(pb.KIND_UNFREEZE, envelope.encode(statements.sign(lift, [key("lena")])), minute)
    two = received(pb.KIND_UNFREEZE, envelope.encode(statements.sign(lift, [key("lena"), key("joseph")])), minute)
    assert [f.person for f in fold(desk, frozen).freezes] == ["tech4"]
    assert len(fold(desk, frozen, one).freezes) == 1
    for now_s in (desk.now_s, desk.now_s + 3 * 86_400):
        assert fold(desk, two, frozen, now_s=now_s).freezes == ()


def test_standing_authorities_that_hold(desk: Desk) -> None:
    minute = desk.now_s // 60
    allowed = Standing(
        trust_id=TRUST_ID,
        standing_id="41" * 16,
        verb=Action.RESTORE,
        person="lena",
        scope=("all",),
        evidence=StandingEvidence.PAYMENT_MATCHED,
        rate_per_hour=10,
        not_before=minute,
        not_after=minute + 60,
    )
    signed = statements.sign(allowed, [key("lena"), key("joseph")])
    message = received(pb.KIND_STANDING, envelope.encode(signed))
    (found,) = fold(desk, message).standings
    assert (found.sha256, set(found.people)) == (envelope.digest(signed).hex(), {"lena", "joseph"})
    over = fold(desk, message, now_s=desk.now_s + 7200)
    assert (over.standings, over.not_verified) == ((), ())
    alone = received(pb.KIND_STANDING, envelope.encode(statements.sign(allowed, [key("lena")])))
    assert len(fold(desk, alone).not_verified) == 1


# --- the chain ------------------------------------------------------------------------------------------------------


def versions(desk: Desk, n: int) -> list[envelope.Envelope]:
    found = [sign_trust(trust_document(desk.now_s))]
    for version in range(2, n + 1):
        found.append(sign_trust(trust_document(desk.now_s, version=version, prev=chain.head_sha256(found[-1]))))
    return found


def test_following_goes_as_far_as_the_chain(desk: Desk) -> None:
    one, two, three, four = versions(desk, 4)
    trust = trust_document(desk.now_s)
    follow = feeds.followed(trust, one, [four, three, two])
    assert [t.version for t, _ in follow] == [2, 3, 4]
    assert feeds.followed(trust, one, [four, three]) == []
    forged = sign_trust(trust_document(desk.now_s, version=2, prev=chain.head_sha256(one)), "lena")
    assert [t.version for t, _ in feeds.followed(trust, one, [forged, two])] == [2]


def test_links_for_an_agent_that_is_behind(desk: Desk) -> None:
    one, two, three, four = versions(desk, 4)
    newest = statements.decode_as_untrusted(type(trust_document(1)), four)
    assert feeds.links_since(4, newest, four, [one, two, three]) == feeds.Links((), complete=True)
    assert feeds.links_since(2, newest, four, [three, one, two]) == feeds.Links((three, four), complete=True)
    assert feeds.links_since(1, newest, four, [three, two]) == feeds.Links((two, three, four), complete=True)
    assert feeds.links_since(1, newest, four, [two]) == feeds.Links((four,), complete=False)


def test_trust_envelopes_are_told_apart(desk: Desk) -> None:
    (one,) = versions(desk, 1)
    messages = [
        received(pb.KIND_TRUST, envelope.encode(one)),
        received(pb.KIND_TRUST, b"{"),
        received(pb.KIND_TRUST, envelope.encode(some_statement("x"))),
        received(pb.KIND_PLAN, envelope.encode(one)),
    ]
    assert feeds.envelopes_of(Trust, messages) == [one]


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_memory_round_trip_and_forgetting(desk: Desk) -> None:
    first = Sent("ab" * 32, "approve", "cd" * 32, (AGENT,), 1000)
    second = Sent("ef" * 32, "intent", "", (AGENT,), 2000, "aa" * 32)
    made = Memory().with_sent(first).with_sent(second)
    assert memory.decode_untrusted(memory.encode(made)) == made
    assert made.with_sent(first).sent == (second, first)
    assert made.without(first).sent == (second,)
    later = made.with_sent(dataclasses.replace(second, sha256="11" * 32, at_s=10**7))
    assert [s.sha256 for s in later.sent] == ["11" * 32]
    shorts = b'"shorts": [{"plan": "00", "short": "K7QF", "at_s": 1}], "signed"'
    older = memory.encode(made).replace(b'"signed"', shorts)
    assert memory.decode_untrusted(older) == made, "a file of the release that kept short names is read"
    for data in (b"", b"{}", memory.encode(made).replace(b"memory-v0", b"memory-v9")):
        with pytest.raises(MalformedStatementError):
            memory.decode_untrusted(data)


def test_two_commands_remember_the_newest_of_both(desk: Desk) -> None:
    one, two = versions(desk, 2)
    stored = RememberedCheckpoints((SeenTrust(TRUST_ID, two),), (SeenLog(AGENT, 5, "05" * 32),))
    seen = RememberedCheckpoints(
        (SeenTrust(TRUST_ID, one),), (SeenLog(AGENT, 9, "09" * 32), SeenLog("cc" * 16, 1, "01" * 32))
    )
    for merged in (remembered_checkpoints.merge(stored, seen), remembered_checkpoints.merge(seen, stored)):
        trust, log = merged.trust(TRUST_ID), merged.log(AGENT)
        assert trust is not None
        assert log is not None
        assert (trust.envelope, log.size, len(merged.logs)) == (two, 9, 2)
    assert remembered_checkpoints.merge(RememberedCheckpoints(), seen) == seen


def test_what_is_cosigned_is_kept(desk: Desk) -> None:
    (one,) = versions(desk, 1)
    made = RememberedCheckpoints(
        (SeenTrust(TRUST_ID, one),), (SeenLog(AGENT, 5, "05" * 32),), (SeenLog(AGENT, 4, "04" * 32),)
    )
    assert remembered_checkpoints.decode_untrusted(remembered_checkpoints.encode(made)) == made
    assert b"cosigned" not in remembered_checkpoints.encode(dataclasses.replace(made, cosigned=()))
    newer = RememberedCheckpoints(cosigned=(SeenLog(AGENT, 6, "06" * 32),))
    for merged in (remembered_checkpoints.merge(made, newer), remembered_checkpoints.merge(newer, made)):
        assert merged.last_cosigned(AGENT) == SeenLog(AGENT, 6, "06" * 32)


def test_what_was_seen_of_a_log_goes_with_its_key(desk: Desk) -> None:
    old, new = LogKey(AGENT, "log+1", 1), LogKey(AGENT, "log+2", 3)
    long = SeenLog(AGENT, 900, "09" * 32)
    before = RememberedCheckpoints(logs=(long, SeenLog("cc" * 16, 1, "01" * 32)), cosigned=(long,), log_keys=(old,))
    after = RememberedCheckpoints(logs=(SeenLog(AGENT, 5, "05" * 32),), log_keys=(new,))
    assert remembered_checkpoints.decode_untrusted(remembered_checkpoints.encode(before)) == before
    for merged in (remembered_checkpoints.merge(before, after), remembered_checkpoints.merge(after, before)):
        assert (merged.log(AGENT), merged.last_cosigned(AGENT)) == (after.logs[0], None)
        assert (len(merged.logs), merged.log_keys) == (2, (new,))


def test_a_log_proves_that_it_goes_on(agent: FakeAgent) -> None:
    before = remembered_checkpoints.accept_proven_log(RememberedCheckpoints(), AGENT, agent.head(), 0, ())
    agent.grow(5)
    after = remembered_checkpoints.accept_proven_log(before, AGENT, agent.head(), 8, agent.consistency(8))
    assert after.log(AGENT) == SeenLog(AGENT, 13, agent.head().root.hex())
    assert remembered_checkpoints.accept_proven_log(after, AGENT, agent.head(), 13, ()) == after
    for old, proof in ((7, agent.consistency(7)), (8, ()), (8, (*agent.consistency(8), b"\0" * 32)), (8, (b"short",))):
        with pytest.raises(RefusedError) as caught:
            remembered_checkpoints.accept_proven_log(before, AGENT, agent.head(), old, proof)
        assert caught.value.reason is Reason.FORKED
    with pytest.raises(RefusedError) as caught:
        remembered_checkpoints.accept_proven_log(after, AGENT, Checkpoint(ORIGIN, 8, secrets.token_bytes(32)), 8, ())
    assert caught.value.reason is Reason.VERSION_OLD
