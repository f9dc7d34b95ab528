"""The page of a plan's life, from the code: `python -m tests.repo.life_page` writes docs/spec/plan-life.md."""

from __future__ import annotations

from tests.repo import tree
from trust.leaf import LeafKind
from trust.life import ALLOWED, BUCKETS, MOVES, Stage, StoryFault

LIFE_MD = tree.ROOT / "docs" / "spec" / "plan-life.md"
PREFACE = """\
# The life of a plan, version 0

Written from `trust/life.py` by `python -m tests.repo.life_page`; tests compare it with the agent's own machine
(`agent/changes/journal/machine.py`). A verifier takes the leaves that name a plan's digest, **sorted by their index
in the
log**, and walks through these tables. The first leaf that has no way is the reason for which the file is refused.
It does
so for each plan whose statement is in the file and, where the file holds every leaf of its checkpoint, for all plans.

## Stages

`absent` is before the plan's own leaf. A dash is no way. Kinds that are not here say nothing of a plan: with a
plan's digest
they are `no-such-leaf`.

"""
RULES = """
Further:

- A `cancel` is remembered from wherever it comes: `consumed` after it has no way (`consumed-after-cancel`), nor has
  `about-to` (`sent-after-cancel`).
- From a `paused` to the next `resumed` nothing begins: `consumed` has no way (`consumed-while-paused`), nor has an
  `about-to` that begins its item, or the first one of an item that an `item-state` leaf moved to running meanwhile
  (`begun-while-paused`). What was begun before goes on. A signed pause or resume of a plan of the file is by a person
  who may do either by one of its trust documents (`bad-statement`). Where the records of both leaves are open and name
  statements, a person who is no approver and no owner resumes only the pause that the same person signed.
- While the plan is `open`, an item only goes to `superseded`, else `out-of-order`.
- `about-to` with the code of *running* begins its item, which is planned or waiting until then (`no-such-move`). Logs
  of agents from before have an `item-state` leaf for it instead. Any other code but 0 is `no-such-code`.
- `about-to` with the code 0 needs an item that is running or unknown (`sent-unbegun`).
- A plan with `on_failure` `revert` takes back what it did. A step and its inverse have the same leaves, so there
  `about-to`
  of a step that has one already is allowed after the cancel and after the item's end too.
- A `step-outcome` is of the oldest `about-to` of its item and step that has none yet (`outcome-without-step`). Its
  code is
  a verdict, that of an `item-state` is a state (`no-such-code`).
- An item that goes from running or unknown to applied, accepted, set-at-next-login or set-not-enforced has no
  steps, or: by
  the last verdict on each, one is applied, and a step that diverged has a higher one that is applied
  (`item-contradicts-steps`).

## Items

An item begins as `planned` (blocked and excluded items have no leaves) and moves so; anything else is
`no-such-move`. A state
that is not in the first column is the last one.

| from | to |
|---|---|
"""
OUTCOMES = """
## Outcomes

The outcome with `seq` N is the one of the plan's Nth `change-finished` leaf. Its record says, and a verifier
compares:

- `statement_sha256`: the outcome's digest (`another-outcome`);
- `plan_leaves`: how many leaves the plan has up to and with this one (`incomplete`). It stands in the record, which
  the
  agent keeps, and not in the outcome, which the control plane sees: it would tell how many services a change is
  about.

An outcome without its leaf in the file is `incomplete`. Of a plan that was consumed, state and buckets follow from
the states
of its items at that leaf (`outcome-contradicts-items`); items in `blocked` or `excluded` are in none:

| state of an item | bucket |
|---|---|
"""
STATES = """
State, the first that fits all items that moved:

1. `mixed`: one is planned, waiting, running or unknown
2. `done`: all are applied, set-at-next-login, skipped or superseded (also when there are none)
3. `accepted`: the same with accepted
4. `nothing-done`: all are stale · `cancelled`: all are cancelled · `expired`: all are expired
5. `nothing-done`: all are skipped, stale, superseded, cancelled, expired or not-applied
6. `reverted`: the same with reverted
7. `needs-a-person`: one is not-applied, diverged, set-not-enforced or needs-a-person
8. `mixed`

Of a plan that was closed before it started the state says how: `rejected` after a rejection, `cancelled` after a
cancel,
`void` or `expired` after plan-void.

## Statements and their leaves

The records of approval, rejection, cancel, freeze, unfreeze, standing, standing-used, change-finished and
review-closed name their
statement:
`statement_sha256`, its digest. An export opens these records always; they name no subscriber. An approval counts if
a leaf before
`consumed` names it (`no-approval-leaf`); a standing authority if the last `standing-used` before it does. Once a
leaf of the file
names its statement, all later open ones must (`commitment-dropped`). A freeze holds from its leaf until the leaf of
an unfreeze
that two people signed, not past its date, nor when its author is not in the trust version of the leaf that is judged.

A leaf whose record is closed, or was written before records named statements, leaves it open which statement it is
of:
the verifier says *not judged*, counts as many approvals as there are such leaves, and its verdict is *in part*. So
it is where no
outcome counts the leaves and the file does not hold the whole log. That something did not happen is said of
complete files
only.

## Reasons

| code | meaning |
|---|---|
"""


def _stages() -> str:
    rows = [f"| leaf | {' | '.join(s.value for s in Stage)} |", "|---" * (1 + len(Stage)) + "|"]
    for kind in LeafKind:
        if kind in ALLOWED:
            ways = ALLOWED[kind]
            rows.append(f"| {kind.word} | {' | '.join(ways[s].value if s in ways else '–' for s in Stage)} |")
    return "\n".join(rows) + "\n"


def render() -> str:
    """Return the page."""
    moves = "".join(f"| {state} | {', '.join(after)} |\n" for state, after in MOVES.items())
    buckets = "".join(f"| {state} | {bucket.value} |\n" for state, bucket in BUCKETS.items())
    reasons = "".join(f"| `{fault.value}` | {fault.meaning} |\n" for fault in StoryFault)
    return PREFACE + _stages() + RULES + moves + OUTCOMES + buckets + STATES + reasons


if __name__ == "__main__":
    LIFE_MD.write_text(render(), encoding="utf-8")
