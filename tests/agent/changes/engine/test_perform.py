"""One step, every way it can end: what is said of it, and that it is recorded whatever happens."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import pytest
import trio

from agent.changes.engine.perform import Patience, perform_step, recover_step, same, still_written
from agent.connectors.base import (
    NOTHING_EARLIER,
    DriftedError,
    Earlier,
    LostError,
    NotSentError,
    Reply,
    UnreadableError,
)
from agent.model import (
    ABSENT,
    Address,
    Direction,
    Effect,
    ProofKind,
    Replay,
    SecretRef,
    Seen,
    StepOutcome,
    Target,
    Ticket,
    Transition,
    Value,
    Verdict,
)
from agent.reasons import TargetReason
from tests.builders.clock import FakeClock

pytestmark = pytest.mark.virtual_time

V = Verdict
A = Address("t/user/a")
BEFORE, AFTER, THIRD = {"plan": "20M"}, {"plan": "20M", "suspended": "yes"}, {"plan": "50M"}
OK, NAK = Reply(True, "ack"), Reply(False, "nak-503", "no such session")
WRITE = (Transition(A, Seen(BEFORE, 0), AFTER),)
PATIENCE = Patience(send_s=15, reread_s=60)


@dataclass
class Play:
    """A device that reads as the script says, one value a read (the last one for ever), and answers a send so."""

    reads: list[Value | Exception]
    send_gives: Reply | Exception | None = None
    after_settle: Value | None = None
    sent: int = 0
    settled: int = 0
    read_times: int = 0
    target: Target = field(default_factory=lambda: Target("t", "fake"))

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        await trio.lowlevel.checkpoint()
        self.read_times += 1
        value = self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]
        if isinstance(value, Exception):
            raise value
        return {a: Seen(value, 0) for a in addresses}

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        raise NotImplementedError

    async def send(self, ticket: Ticket) -> Reply:
        self.sent += 1
        if self.send_gives is None:
            await trio.sleep_forever()
        if isinstance(self.send_gives, Exception):
            raise self.send_gives
        assert self.send_gives is not None
        return self.send_gives

    async def settle(self) -> None:
        await trio.lowlevel.checkpoint()
        self.settled += 1
        if self.after_settle is not None:
            self.reads = [self.after_settle]


@dataclass
class Vault(Play):
    """A device that gives no secret away: what is known of one is remembered."""

    memory: tuple[Address, ...] = ()

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        seen = await super().read(addresses)
        return {a: replace(s, live=a not in self.memory) for a, s in seen.items()}

    def proof_of(self, effect: Effect) -> str:
        return f"{effect.verb} seen"


@dataclass
class Notes:
    """A journal that remembers."""

    outcomes: list[StepOutcome] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    async def doubt(self, ticket: Ticket, reason: str) -> None:
        self.doubts.append(reason)

    async def outcome(self, ticket: Ticket, outcome: StepOutcome) -> None:
        await trio.lowlevel.checkpoint()
        self.outcomes.append(outcome)


def ticket(
    do: tuple[Transition, ...] | Effect = WRITE, *, attempt: int = 1, deadline_s: float = float("inf")
) -> Ticket:
    bound = {A: Seen(BEFORE, 0)} if isinstance(do, Effect) else {}
    return Ticket("p", 1, 1, Direction.FORWARD, attempt, "t", do, bound, deadline_s)


async def perform(play: Play, with_ticket: Ticket) -> tuple[StepOutcome, Notes]:
    notes = Notes()
    outcome = await perform_step(play, with_ticket, notes, FakeClock(), PATIENCE)
    assert notes.outcomes == [outcome]
    return outcome, notes


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ({}, "radius/main"),
        ({"user": "a"}, "radius/main"),
        ({"user": "a", "nas": "10.9.0.2"}, "radius/main (NAS 10.9.0.2)"),
    ],
)
async def test_what_did_not_answer_is_named_with_its_nas(bound: dict[str, str], asked: str) -> None:
    effect = Effect(A, "disconnect", {}, "k", Replay.NEVER, None, 5)
    asking = replace(ticket(effect), target="radius/main", bound={A: Seen(bound or ABSENT, 0)})
    outcome, _ = await perform(Play([BEFORE]), asking)
    assert outcome.verdict is V.UNKNOWN
    assert outcome.detail.startswith(f"no reply from {asked} in 15 s")


KEY, NAME = Address("t/cpe/wifi/Key"), Address("t/cpe/wifi/Name")


@pytest.mark.parametrize(
    ("memory", "reason", "detail"),
    [
        ((), "read-back", ""),
        ((KEY,), "accepted-not-provable", "accepted, not provable: Key; all else read back"),
        ((KEY, NAME), "accepted-not-provable", "accepted, not provable: Key, Name"),
    ],
)
async def test_what_is_only_remembered_is_not_read_back(memory: tuple[Address, ...], reason: str, detail: str) -> None:
    """A secret that a device accepted is not called read back."""
    writes = tuple(Transition(a, Seen(BEFORE, 0), AFTER) for a in (KEY, NAME))
    for answer in (OK, LOST):
        outcome, _ = await perform(Vault([AFTER], answer, memory=memory), ticket(writes))
        assert (outcome.verdict, outcome.reason) == (V.APPLIED, reason)
        assert outcome.detail == (detail if reason != "read-back" else "")


async def test_an_effect_is_proven_in_the_words_of_its_device() -> None:
    """The text names the proof that was seen; an effect without proof has no text."""
    effect = Effect(A, "reboot", {}, "k", Replay.NEVER, ProofKind.CHANGED, 5)
    outcome, _ = await perform(Vault([AFTER], OK), ticket(effect))
    assert (outcome.reason, outcome.detail) == ("proof-seen", "reboot seen")
    outcome, _ = await perform(Vault([BEFORE], OK), ticket(effect))
    assert (outcome.verdict, outcome.reason) == (V.NOT_APPLIED, "ack-without-effect")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(True, TargetReason.ACK), "the NAS answered ACK"),
        (Reply(True, TargetReason.DONE), "t took the request"),
        (Reply(True, TargetReason.DONE, "1 ended"), "t took the request · 1 ended"),
    ],
)
async def test_only_a_nas_is_said_to_answer_ack(reply: Reply, says: str) -> None:
    outcome, _ = await perform(Play([BEFORE], reply), ticket(effect()))
    assert (outcome.reason, outcome.detail) == ("ack-without-effect", says)


@dataclass
class Halves(Play):
    """A device with effects of several commands. `finishes`: results of tries to finish one, the last one for ever."""

    finishes: list[Value | Exception] = field(default_factory=lambda: [AFTER])
    finished: int = 0

    async def finish(self, ticket: Ticket) -> None:
        await trio.lowlevel.checkpoint()
        self.finished += 1
        found = self.finishes.pop(0) if len(self.finishes) > 1 else self.finishes[0]
        if isinstance(found, Exception):
            raise found
        self.reads = [found]


CYCLE = Effect(A, "power-cycle", {}, "k", Replay.IF_UNPROVEN, ProofKind.CHANGED, 5)


async def test_a_maybe_half_done_effect_is_finished_then_judged() -> None:
    away = UnreadableError("no", reason="unreachable")
    for doubt in (LostError("no reply", reason="timeout"), None):  # None: the send hangs until its time is over
        play = Halves([away], doubt, finishes=[away, away, AFTER])
        outcome, _ = await perform(play, ticket(CYCLE))
        assert (outcome.verdict, outcome.reason, play.finished) == (V.APPLIED, "read-back", 3)
    play, notes = Halves([BEFORE], finishes=[BEFORE]), Notes()
    outcome = await recover_step(play, ticket(CYCLE), notes, FakeClock(), PATIENCE)
    assert (outcome.verdict, outcome.reason, play.finished) == (V.NOT_APPLIED, "lost-crash", 1)


async def test_an_effect_answered_or_not_sent_is_not_finished() -> None:
    for answer, told in ((Reply(True, "done", "seen"), "seen"), (NAK, "no such session")):
        play = Halves([AFTER if answer.accepted else BEFORE], answer)
        outcome, _ = await perform(play, ticket(CYCLE))
        assert (play.finished, outcome.detail) == (0, told)
    play = Halves([BEFORE], NotSentError("no", reason="unreachable"))
    await perform(play, ticket(CYCLE))
    assert play.finished == 0


async def test_what_cannot_be_finished_is_given_up_and_unknown() -> None:
    away = UnreadableError("no", reason="unreachable")
    play = Halves([away], LostError("no reply", reason="timeout"), finishes=[away])
    outcome, _ = await perform(play, ticket(CYCLE))
    assert outcome.verdict is V.UNKNOWN
    assert play.finished > 10


UNREADABLE = UnreadableError("no", reason="unreachable")
LOST = LostError("no reply", reason="timeout")


@pytest.mark.parametrize(
    ("reads", "reply", "verdict", "reason", "settled"),
    [
        ([AFTER], OK, V.APPLIED, "read-back", 0),
        ([AFTER], LOST, V.APPLIED, "read-back", 0),
        ([AFTER], NAK, V.APPLIED, "read-back", 0),  # the device's state counts, not its reply
        ([BEFORE], OK, V.NOT_APPLIED, "accepted-without-effect", 1),
        ([BEFORE], LOST, V.NOT_APPLIED, "lost-timeout", 1),
        ([BEFORE, AFTER], LOST, V.APPLIED, "read-back", 1),  # it took effect while it settled
        ([THIRD], OK, V.DIVERGED, "third-value", 1),
        ([THIRD], LOST, V.DIVERGED, "third-value", 1),
        ([THIRD, AFTER], OK, V.APPLIED, "read-back", 1),
        ([BEFORE, THIRD], LOST, V.DIVERGED, "third-value", 1),
        ([ABSENT], OK, V.DIVERGED, "third-value", 1),
        ([UNREADABLE, UNREADABLE, AFTER], LOST, V.APPLIED, "read-back", 0),
        ([UNREADABLE], LOST, V.UNKNOWN, "unreadable", 0),
        ([UNREADABLE], OK, V.UNKNOWN, "unreadable", 0),
        ([BEFORE, UNREADABLE], LOST, V.UNKNOWN, "unreadable", 1),
    ],
)
async def test_writes(
    reads: list[Value | Exception], reply: Reply | Exception, verdict: V, reason: str, settled: int
) -> None:
    play = Play(list(reads), reply)
    outcome, notes = await perform(play, ticket())
    assert (outcome.verdict, outcome.reason, play.settled) == (verdict, reason, settled)
    assert notes.doubts == (["timeout"] if reply is LOST else [])
    if verdict in (V.APPLIED, V.DIVERGED):
        assert outcome.observed is not None


TRIPPED = UnreadableError("GetParameterValues: not sent until a person clears it", reason=TargetReason.TRIPPED)


@pytest.mark.parametrize("reply", [OK, LOST])
@pytest.mark.parametrize(("reads", "seen"), [([TRIPPED], 0), ([UNREADABLE, TRIPPED], 0), ([BEFORE, TRIPPED], 1)])
async def test_a_read_back_held_back_for_a_person_ends_at_once(
    reads: list[Value | Exception], seen: int, reply: Reply | Exception
) -> None:
    """Of a CPE it would go on for two days, with its addresses held. Nothing may come late once they are given back."""
    started, play = trio.current_time(), Play(list(reads), reply)
    outcome, _ = await perform(play, ticket())
    assert (outcome.verdict, outcome.reason) == (V.UNKNOWN, "tripped")
    assert play.settled
    assert outcome.detail == "cannot be read back: GetParameterValues: not sent until a person clears it"
    assert (outcome.observed is not None) == bool(seen)
    assert trio.current_time() - started < 1


@pytest.mark.parametrize("reads", [[TRIPPED], [UNREADABLE, TRIPPED], [BEFORE, TRIPPED]])
async def test_a_proof_held_back_for_a_person_is_unknown(reads: list[Value | Exception]) -> None:
    """An earlier look does not say that the effect failed: it had more time."""
    started, play = trio.current_time(), Play(list(reads), OK)
    outcome, _ = await perform(play, ticket(effect()))
    assert (outcome.verdict, outcome.reason) == (V.UNKNOWN, "tripped")
    assert play.settled
    assert trio.current_time() - started < 1


async def test_nothing_sent_is_said_at_once() -> None:
    play = Play([BEFORE], NotSentError("refused", reason="unreachable"))
    outcome, notes = await perform(play, ticket())
    assert (outcome.verdict, outcome.reason, play.read_times) == (V.NOT_APPLIED, "unreachable", 0)
    assert notes.doubts == []


async def test_drift_shows_what_was_read() -> None:
    seen = {A: Seen(THIRD, 5)}
    outcome, _ = await perform(Play([THIRD], DriftedError("drifted", observed=seen)), ticket())
    assert (outcome.verdict, outcome.reason, outcome.observed) == (V.NOT_APPLIED, "drifted", seen)


@pytest.mark.parametrize(("value", "verdict"), [(AFTER, V.APPLIED), (THIRD, V.DIVERGED)])
async def test_drift_after_earlier_attempt_is_judged_by_what_it_reads(value: Value, verdict: V) -> None:
    """The first attempt may have come late: "drifted, nothing sent" would be a lie."""
    play = Play([value], DriftedError("drifted", observed={A: Seen(value, 5)}))
    assert (await perform(play, ticket(attempt=2)))[0].verdict is verdict


async def test_a_send_that_hangs_is_in_doubt() -> None:
    started = trio.current_time()
    outcome, notes = await perform(Play([BEFORE]), ticket())
    assert trio.current_time() - started >= PATIENCE.send_s
    assert (outcome.verdict, outcome.reason, notes.doubts) == (V.NOT_APPLIED, "lost-timeout", ["timeout"])


async def test_an_answer_at_the_end_of_a_send_counts_and_is_read_back() -> None:
    class Late(Play):
        async def send(self, ticket: Ticket) -> Reply:
            with trio.CancelScope(shield=True):
                await trio.sleep(PATIENCE.send_s + 1)
            return OK

    play = Late([BEFORE, AFTER])  # the second read, after it settled, finds it: both waits are whole
    outcome, notes = await perform(play, ticket())
    assert (outcome.verdict, outcome.reason, notes.doubts) == (V.APPLIED, "read-back", [])
    assert play.read_times == 2


async def test_nothing_is_sent_at_the_deadline() -> None:
    play = Play([BEFORE], OK)
    outcome, _ = await perform(play, ticket(deadline_s=1000.0))
    assert (outcome.verdict, outcome.reason, play.sent) == (V.NOT_APPLIED, "expired", 0)
    assert (await perform(Play([AFTER], OK), ticket(deadline_s=1000.1)))[0].verdict is V.APPLIED


async def test_reading_back_goes_on_after_the_deadline() -> None:
    play = Play([UNREADABLE, UNREADABLE, UNREADABLE, AFTER], OK)
    assert (await perform(play, ticket(deadline_s=1000.01)))[0].verdict is V.APPLIED


async def test_two_writes_of_which_one_stands_are_diverged() -> None:
    other = Transition(Address("t/user/b"), Seen(THIRD, 0), AFTER)
    outcome, _ = await perform(Play([BEFORE], OK), ticket((*WRITE, other)))
    assert outcome.verdict is V.DIVERGED


def effect(proof: ProofKind | None = ProofKind.GONE) -> Effect:
    return Effect(A, "disconnect", {}, "k", Replay.IF_UNPROVEN, proof, 5)


@pytest.mark.parametrize(
    ("proof", "reads", "reply", "verdict", "reason"),
    [
        (ProofKind.GONE, [ABSENT], OK, V.APPLIED, "ack"),
        (ProofKind.GONE, [BEFORE, BEFORE, ABSENT], OK, V.APPLIED, "ack"),
        (ProofKind.GONE, [BEFORE], OK, V.NOT_APPLIED, "ack-without-effect"),
        (ProofKind.GONE, [BEFORE], NAK, V.NOT_APPLIED, "nak-503"),
        (ProofKind.GONE, [ABSENT], NAK, V.APPLIED, "nak-503"),  # it went by itself
        (ProofKind.GONE, [ABSENT], LOST, V.APPLIED, "read-back"),
        (ProofKind.GONE, [BEFORE], LOST, V.NOT_APPLIED, "lost-timeout"),
        (ProofKind.GONE, [UNREADABLE, UNREADABLE, ABSENT], OK, V.APPLIED, "ack"),
        (ProofKind.GONE, [UNREADABLE], OK, V.UNKNOWN, "unreadable"),
        (ProofKind.CHANGED, [THIRD], OK, V.APPLIED, "ack"),
        (ProofKind.CHANGED, [BEFORE], OK, V.NOT_APPLIED, "ack-without-effect"),
        (ProofKind.EQUAL, [THIRD, BEFORE], OK, V.APPLIED, "ack"),
        (ProofKind.EQUAL, [THIRD], OK, V.NOT_APPLIED, "ack-without-effect"),
        (None, [BEFORE], OK, V.APPLIED, "ack"),
        (None, [BEFORE], NAK, V.NOT_APPLIED, "nak-503"),
        (None, [BEFORE], LOST, V.UNKNOWN, "lost-timeout"),
    ],
)
async def test_effects(
    proof: ProofKind | None, reads: list[Value | Exception], reply: Reply | Exception, verdict: V, reason: str
) -> None:
    play = Play(list(reads), reply)
    outcome, _ = await perform(play, ticket(effect(proof)))
    assert (outcome.verdict, outcome.reason) == (verdict, reason)
    assert play.sent == 1
    if proof is None:
        assert play.read_times == 0


async def test_an_effect_is_waited_for_no_longer_than_it_may_take() -> None:
    started = trio.current_time()
    await perform(Play([BEFORE], OK), ticket(effect()))
    assert 5 <= trio.current_time() - started < 8


async def test_an_effect_with_unreadable_proof_is_not_asked_faster() -> None:
    """It may stay so for days, and each look is a request to the device."""
    unreadable = Play([UNREADABLE], OK)
    patience = replace(PATIENCE, reread_s=3600)
    done = await perform_step(unreadable, ticket(effect()), Notes(), FakeClock(), patience)
    assert (done.verdict, done.reason) == (V.UNKNOWN, "unreadable")
    assert unreadable.read_times < 3600 / patience.poll_max_s + 100


async def test_an_effect_that_comes_while_it_settles_is_applied() -> None:
    play = Play([BEFORE], LOST, after_settle=ABSENT)
    outcome, _ = await perform(play, ticket(effect()))
    assert (outcome.verdict, play.settled) == (V.APPLIED, 1)


async def test_an_effect_unreadable_after_it_settled_is_unknown() -> None:
    class Gone(Play):
        async def settle(self) -> None:
            self.reads = [UNREADABLE]

    outcome, _ = await perform(Gone([BEFORE], LOST), ticket(effect()))
    assert (outcome.verdict, outcome.reason) == (V.UNKNOWN, "unreadable")


@pytest.mark.parametrize(
    ("do", "reads", "verdict", "reason"),
    [
        (WRITE, [AFTER], V.APPLIED, "read-back"),
        (WRITE, [BEFORE], V.NOT_APPLIED, "lost-crash"),
        (WRITE, [THIRD], V.DIVERGED, "third-value"),
        (effect(), [ABSENT], V.APPLIED, "read-back"),
        (effect(), [BEFORE], V.NOT_APPLIED, "lost-crash"),
        (effect(None), [BEFORE], V.UNKNOWN, "lost-crash"),
    ],
)
async def test_recovery_reads_and_never_sends(
    do: tuple[Transition, ...] | Effect, reads: list[Value | Exception], verdict: V, reason: str
) -> None:
    play, notes = Play(list(reads), OK), Notes()
    outcome = await recover_step(play, ticket(do, deadline_s=0), notes, FakeClock(), PATIENCE)
    assert (outcome.verdict, outcome.reason, play.sent) == (verdict, reason, 0)
    assert notes.outcomes == [outcome]


async def test_a_cancel_from_outside_does_not_lose_the_outcome() -> None:
    notes = Notes()
    with trio.move_on_after(1):
        await perform_step(Play([AFTER]), ticket(), notes, FakeClock(), PATIENCE)
    assert [o.verdict for o in notes.outcomes] == [V.APPLIED]


def test_a_write_still_stands_whatever_others_wrote_beside_it() -> None:
    write = Transition(Address("fake/d/user/x"), Seen({"plan": "20M", "old": "1"}, 0), {"plan": "20M", "marker": "-1"})
    assert still_written({"plan": "20M", "marker": "-1"}, write)
    assert still_written({"plan": "50M", "marker": "-1", "disabled": "yes"}, write)
    assert not still_written({"plan": "20M", "marker": "0"}, write)
    assert not still_written({"plan": "20M"}, write)
    assert not still_written({"plan": "20M", "marker": "-1", "old": "1"}, write)
    assert not still_written(ABSENT, write)
    entry = replace(write, before=Seen(ABSENT, 0))
    assert still_written(entry.after, entry)
    assert not still_written({**write.after, "comment": "x"}, entry), (
        "a row of ours that others changed is no longer it"
    )  # type: ignore[dict-item]  # a mapping


def test_same() -> None:
    secret = SecretRef("0" * 64)
    assert same({"a": "1", "pw": secret}, {"a": "1"}, frozenset({"pw"}))
    assert not same({"a": "1", "pw": secret}, {"a": "1"}, frozenset())
    assert same(ABSENT, ABSENT, frozenset())
    assert not same(ABSENT, {}, frozenset())
    assert not same({}, ABSENT, frozenset())


def test_unprovable_fields_are_not_compared() -> None:
    hidden = replace(WRITE[0], after={**AFTER, "pw": "x"}, unprovable=frozenset({"pw"}))
    assert same(AFTER, hidden.after, hidden.unprovable)
