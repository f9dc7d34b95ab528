"""What must hold of mail through a control plane, judged by the wire, by its file, and by what people did.

| rule | what must hold |
|---|---|
| `lost` | what a member was told is taken is in the control plane's file, or was delivered |
| `undelivered` | at rest, the agent's program has read every message that the control plane holds for it |
| `unanswered` | a statement that reached the agent has its receipt at the control plane, by either digest |
| `undesked` | at rest, the control plane has each plan that it had once, and its newest outcome |
| `unread` | at rest, nothing waits in the agent's outbox or inbox |
| `untold` | at its desk, a person sees the receipt of what they sent, or that there is none |
| `again` | an intent makes one plan, however often it comes |
| `expired` | an intent that holds no more makes no plan |
| `frozen` | nothing is announced while a freeze is in force that reached the agent |
| `no-freeze` | an item says that it is frozen while a freeze holds that reached the agent |
| `lifted` | a freeze ends only by an envelope that two people signed for it |
| `egress` | no name, login, reference or secret is in what the control plane is given, its file, log and metrics |
| `broken` | no call and no task of the control plane ends by a fault of its own |
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final

from prometheus_client import generate_latest

from control_plane import queues
from protos import message_pb2 as pb
from tests.e2e.sweep import TOKEN_CHARS, Sweep
from tests.sim.cloud.ledger import Ledger, word
from tests.sim.judge import Evidence, Verdict
from tests.sim.world import World
from trust import envelope as envelopes
from trust import statements
from trust.errors import TrustError
from trust.statements import Receipt, ReceiptResult, Unfreeze

if TYPE_CHECKING:
    from tests.sim.parts.cloud import CloudPart
    from tests.sim.parts.cloud_people import FreezeAsked

BINDS_S: Final = 120.0
"""How long after its arrival a freeze may not bind yet: the agent may be dead, or its threads slow."""
ANSWERS_S: Final = 300.0
"""How long before the end something may arrive and have no receipt."""
READS_S: Final = 120.0
"""How long the preview of an intent that came in time may read devices."""
KILLED_S: Final = 5.0
"""An agent that dies so soon after it read a message may not have kept it."""
FROZEN: Final = "frozen"
"""The reason of an item that waits for the end of a freeze."""
EXPIRES_S: Final = 80_000.0
"""Approvals are forgotten after a day."""
FROM_AGENT: Final = frozenset({pb.KIND_PLAN, pb.KIND_RECEIPT, pb.KIND_OUTCOME})
EGRESS_EVERY: Final = 4
"""Of so many seeds one is searched for names: that takes as long as half of the rest."""
TOLD: Final = frozenset({pb.KIND_INTENT, pb.KIND_APPROVAL, pb.KIND_CANCEL, pb.KIND_FREEZE, pb.KIND_UNFREEZE})
"""What is answered by receipts."""


def judge(e: Evidence, part: CloudPart, world: World) -> Iterable[Verdict]:
    """Return everything that must not be."""
    yield from _lost(e, part)
    yield from _mail(e, part, world)
    yield from _intents(e, part, world)
    yield from frozen(e, part, world)
    yield from no_freeze(e, part)
    yield from _lifted(e, part, world)
    if world.options.seed % EGRESS_EVERY == 0:
        yield from _egress(e, part, world)
    yield from _broken(e, part)


# --- mail -------------------------------------------------------------------------------------------------------------


def _lost(e: Evidence, part: CloudPart) -> Iterator[Verdict]:
    held = {pb.Message.FromString(row["message"]).body for row in part.host.rows("SELECT message FROM letter")}
    for taken in part.ledger.taken:
        body, kind = taken.message.body, taken.message.kind
        excused = part.may_be_lost(taken.at) or body in part.withheld or taken.at < e.ended_at - EXPIRES_S
        known = body in held or (taken.who != "agent" and body in part.ledger.delivered)
        if kind in TOLD | FROM_AGENT and not known and not excused:
            said = f"{word(kind)} of {taken.who} was taken, and is nowhere"
            yield Verdict("lost", taken.at, "control plane", said)


def _mail(e: Evidence, part: CloudPart, world: World) -> Iterator[Verdict]:
    ledger = part.ledger
    held = part.host.rows(
        "SELECT number, message FROM message JOIN letter ON letter.id = letter WHERE box = ? ORDER BY number",
        queues.agent_queue(part.operator, part.agent),
    )
    for row in held:
        message = pb.Message.FromString(row["message"])
        if message.body not in ledger.delivered and message.body not in part.withheld:
            said = f"{word(message.kind)} number {row['number']} is at the control plane, and never reached the agent"
            yield Verdict("undelivered", e.ended_at, "agent", said)
    for taken in ledger.taken:
        message = taken.message
        if taken.who == "agent" or message.kind not in TOLD:
            continue
        times = ledger.delivered.get(message.body, [])
        sha256 = _digest(message, part)
        reached = [at for at in times if at < e.ended_at - ANSWERS_S and not _died_after(world, at)]
        reached = [at for at in reached if not e.forgot(at + BINDS_S, first=at)]
        # By its number an agent may have seen there that a copy was put back; then it reads anew, and another copy came
        reached = [at for at in reached if not (part.may_be_lost(taken.at) and part.may_be_lost(at))]
        answered = {sha256, hashlib.sha256(message.body).hexdigest()} & ledger.receipts.keys()
        if reached and sha256 and not answered:
            said = f"{word(message.kind)} of {taken.who} reached the agent, which never answered"
            yield Verdict("unanswered", reached[-1], "agent", said)
    state = world.files.state / "agent.db"
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as agent:
        for table, where in (("outbox", ""), ("inbox", " WHERE done_s IS NULL")):
            for kind, n in agent.execute(f"SELECT kind, count(*) FROM {table}{where} GROUP BY kind"):  # ours
                yield Verdict("unread", e.ended_at, "agent", f"{n} of {kind} wait in the {table}")
        told = agent.execute("SELECT short, envelope, outcome FROM plan").fetchall()
    yield from _undesked(e, part, told)
    yield from _untold(e, part)


def _undesked(e: Evidence, part: CloudPart, told: Iterable[tuple[str, bytes, bytes | None]]) -> Iterator[Verdict]:
    """A control plane that was put back is told again what it lost, though it lost no message for the agent."""
    if e.ended_at > EXPIRES_S or e.lost:
        return  # the log's newest leaves alone are looked through, and an agent's copy has outcomes of before
    held = {pb.Message.FromString(row["message"]).body for row in part.host.rows("SELECT message FROM letter")}
    had = {taken.message.body for taken in part.ledger.taken}
    for short, plan, outcome in told:
        for what, body in (("plan", plan), ("outcome", outcome)):
            if body in had and body not in held:
                yield Verdict("undesked", e.ended_at, "control plane", f"it has no {what} of {short}")


def _untold(e: Evidence, part: CloudPart) -> Iterator[Verdict]:
    """A desk knows each receipt that the control plane took and shows; of others it says that there is none."""
    withheld = {_answered(body) for body in part.withheld}
    for who, feed in part.last_seen.items():
        for sent in part.sent[who]:
            receipts = [one for sha256 in sent.digests for one in part.ledger.receipts.get(sha256, [])]
            kept = [at for at, _ in receipts if at < part.looked_at and not part.may_be_lost(at)]
            kept = [] if withheld & set(sent.digests) else kept
            shown = any((agent, sha256) in feed.receipts for agent in sent.agents for sha256 in sent.digests)
            missed = any(missing.sent == sent for missing in feed.missing)
            if kept and not shown:
                said = f"{who} is not shown the receipt of their {sent.what}"
                yield Verdict("untold", kept[0], who, said)
            if not shown and not missed:
                yield Verdict("untold", e.ended_at, who, f"{who} is not told that their {sent.what} has no receipt")


def _answered(body: bytes) -> str:
    """Return the digest that a receipt is about; "": it is none."""
    try:
        return statements.decode_as_untrusted(Receipt, envelopes.decode_untrusted(body)).of_sha256
    except TrustError:
        return ""


def _digest(message: pb.Message, part: CloudPart) -> str:
    if message.kind == pb.KIND_INTENT:
        found = part.intents.get(hashlib.sha256(message.body).hexdigest())
        return "" if found is None else found.sha256
    try:
        return envelopes.digest(envelopes.decode_untrusted(message.body)).hex()
    except TrustError:
        return ""


def _died_after(world: World, at: float) -> bool:
    return any(at - 1 <= end <= at + KILLED_S for end in (*world.kills, *world.machine.ends))


# --- intents ----------------------------------------------------------------------------------------------------------


def _intents(e: Evidence, part: CloudPart, world: World) -> Iterator[Verdict]:
    plans = Counter(plan.intent_sha256 for _, plan in part.ledger.plans.values())
    intents = {intent.sha256: (sealed, intent) for sealed, intent in part.intents.items()}
    for sha256, n in plans.items():
        if sha256 in intents and n > 1 + len(e.lost):  # an older log does not know that it made one
            yield Verdict("again", e.ended_at, "agent", f"intent {sha256[:6]} made {n} plans")
    made = {move.plan: move.at for move in reversed(e.seen.moves)}
    came = {hashlib.sha256(body).hexdigest(): min(times) for body, times in part.ledger.delivered.items()}
    for _, plan in part.ledger.plans.values():
        sealed, intent = intents.get(plan.intent_sha256, ("", None))
        at, came_at = made.get(plan.plan_id), came.get(sealed, float("inf"))
        if intent is None or at is None:
            continue
        late_s = max(came_at, at - READS_S) - intent.expires_at
        # By its own clock, which may have been behind
        if late_s + min(world.machine.clock.wrong_during(min(came_at, at), at)) > 0:
            said = f"plan {plan.plan_id[:6]} of an intent that held until {intent.expires_at:.0f}"
            yield Verdict("expired", at, "agent", said, f"it came at {came_at:.0f}")


# --- freezes ----------------------------------------------------------------------------------------------------------


def binds_at(frozen: FreezeAsked, ledger: Ledger, world: World) -> float:
    """Return from when on a freeze must bind: the agent said so, or had it for some time; infinity: it never came."""
    said = [at for at, receipt in ledger.receipts.get(frozen.sha256, []) if receipt.result is ReceiptResult.ACCEPTED]
    came = [at + BINDS_S for at in ledger.delivered.get(frozen.envelope, []) if not _died_after(world, at)]
    return min((*said, *came), default=float("inf"))


def frozen(e: Evidence, part: CloudPart, world: World) -> Iterator[Verdict]:
    """Judge each deed by the freezes that the log then knew."""
    for asked in part.freezes:
        since = binds_at(asked, part.ledger, world)
        for deed in e.acted:
            for step in deed.open:
                forgot = e.forgot(since, step.about_at, first=since - BINDS_S)
                if since < step.about_at < asked.lifted_at and not forgot:
                    said = f"{deed.what} of {step.plan[:6]}, announced while {asked.who} had frozen everything"
                    yield Verdict("frozen", deed.at, deed.subject, said, f"in force since {since:.1f}")
                    break


def no_freeze(e: Evidence, part: CloudPart) -> Iterator[Verdict]:
    """Judge each item that says that it is frozen."""
    held = [_held(e, frozen, part.ledger) for frozen in part.freezes]
    for move in e.seen.moves:
        if move.reason == FROZEN and not any(since <= move.at and until >= move.before_at for since, until in held):
            said = f"{move.state} ({move.reason}: {move.detail}), and nothing was frozen since {move.before_at:.1f}"
            yield Verdict("no-freeze", move.at, move.service, said, leaf=move.seq)


def _held(e: Evidence, frozen: FreezeAsked, ledger: Ledger) -> tuple[float, float]:
    """Return from when until when a freeze may have held: it came to the agent, and the agent took an end of it.

    Where a copy of its database was put back since, it may have forgotten that end.
    """
    ends = [envelopes.digest(envelopes.decode_untrusted(one)).hex() for one in frozen.lifts]
    took = [at for sha256 in ends for at, r in ledger.receipts.get(sha256, []) if r.result is ReceiptResult.ACCEPTED]
    took = [at for at in took if not e.forgot(at)]
    infinite = float("inf")
    return min(ledger.delivered.get(frozen.envelope, []), default=infinite), min(took, default=infinite)


def _lifted(e: Evidence, part: CloudPart, world: World) -> Iterator[Verdict]:
    by_digest = {frozen.sha256: frozen for frozen in part.freezes}
    state = world.files.state / "agent.db"
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as agent:
        rows = agent.execute("SELECT digest, lifted_by FROM freeze WHERE lifted_by IS NOT NULL").fetchall()
    for digest, envelope in rows:
        frozen = by_digest.get(digest.hex())
        if frozen is None:
            continue
        lift = statements.decode_as_untrusted(Unfreeze, envelopes.decode_untrusted(envelope))
        if frozen.sha256 not in lift.freezes or envelopes.digest(envelopes.decode_untrusted(envelope)) not in {
            envelopes.digest(envelopes.decode_untrusted(one.strip())) for one in frozen.lifts
        }:
            said = f"the freeze of {frozen.who} was lifted by a statement that nobody signed for it"
            yield Verdict("lifted", e.ended_at, "agent", said)


# --- what the control plane learns ------------------------------------------------------------------------------------


def _egress(e: Evidence, part: CloudPart, world: World) -> Iterator[Verdict]:
    rows, lines = world.files.billing.rows, world.isp.services
    words = [(what, row[what]) for row in rows.values() for what in ("name", "login")]
    words += [("reference", reference) for reference in rows]
    words += [("password", line.password) for line in lines] + [("MAC", line.mac) for line in lines]
    words += [(f"secret {name}", text) for name, text in world.files.secrets.items()]
    tokens = {f"{what} {text}": text for what, text in words if len(text) >= TOKEN_CHARS}
    pieces = {f"{what}, {n}": data for n, (data, what) in enumerate(part.ledger.reached.items())}
    data = part.host.data
    for file in sorted(data.path.glob(f"{data.database.name}*")):
        pieces[file.name] = file.read_bytes()
    pieces["log"] = part.log.getvalue().encode()
    for life in (*part.host.past, *((part.host.life,) if part.host.life else ())):
        pieces["metrics"] = pieces.get("metrics", b"") + generate_latest(life.server.metrics.registry)
    for leak in Sweep(tokens).leaks(pieces):
        yield Verdict("egress", e.ended_at, "control plane", leak)


def _broken(e: Evidence, part: CloudPart) -> Iterator[Verdict]:
    for line in part.log.getvalue().splitlines():
        event = json.loads(line)
        if event["event"] in ("call-broke", "store-failed"):
            yield Verdict("broken", e.ended_at, "control plane", line)
    for life in (*part.host.past, *((part.host.life,) if part.host.life else ())):
        for error in life.loop.failed:
            yield Verdict("broken", e.ended_at, "control plane", repr(error))
