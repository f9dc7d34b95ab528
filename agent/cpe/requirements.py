"""The conditions that plans on CPE rest on: that a CPE is the same as in the preview, that its baseline is still due.

The rooms of `agent.changes` know no CPE: they look such tests up by name in tables that are given to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.changes.authority.standings import EvidenceTest
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.trust_state import Query
from agent.cpe import store, verbs
from agent.cpe_model.known import Acceptance, Cpe
from agent.inventory.book import Broken, RequirementTest
from agent.model import Address, Item, Requirement
from agent.store.db import Tx
from trust.policy import RiskClass
from trust.statements import StandingEvidence

_REQUIRED = "inventory/cpe/"
SAME_CPE: Final = "same-cpe"
SAME_PROOF: Final = "same-proof"
"""The proof of a CPE's name is as the preview showed it: an acceptance accepts it by that."""
_BASELINE: Final = "baseline"


def previewed_text(cpe: Cpe) -> str:
    """Return the facts of a CPE that a plan rests on: its identity, its service, and the number of its resets."""
    whose = f"serves {cpe.service}" if cpe.service else "serves nobody"
    by = f" by log entry {cpe.accepted_seq}" if cpe.trust is Acceptance.ACCEPTED and cpe.accepted_seq else ""
    trust = f"{cpe.trust.value}{by}"
    return f"{cpe.name} · {trust} · {whose} · was reset {cpe.resets} times"


def same_cpe(cpe: Cpe) -> Requirement:
    """Return the requirement that a CPE is still as the preview showed it."""
    return Requirement(Address(f"{_REQUIRED}{cpe.name}"), SAME_CPE, previewed_text(cpe))


def changed_since(tx: Tx, requirement: Requirement) -> str | None:
    """Return the change of a CPE since the preview: replaced, reset, refused, another's; or None."""
    cpe = store.find(tx.all, requirement.address.removeprefix(_REQUIRED))
    if cpe is None:
        return "the CPE is no longer in the inventory"
    now = previewed_text(cpe)
    return (
        None if now == requirement.shown else f"the CPE changed since the preview: was {requirement.shown}; now {now}"
    )


def _still_same(tx: Tx, item: Item, requirement: Requirement, _begun: bool) -> Broken | None:
    """Return why an item is not sent: the CPE is another, or secrets of the item may not go into it any more."""
    if (why := changed_since(tx, requirement)) is not None:
        return Broken(why, stale=True)
    cpe = store.find(tx.all, requirement.address.removeprefix(_REQUIRED)) if verbs.hands_out(item.steps) else None
    leave = None if cpe is None else verbs.withheld(cpe)
    return None if leave is None else Broken(leave.why, stale=True)


def proof_text(cpe: Cpe) -> str:
    """Return the proof of a CPE's name, and whether somebody claims it with less."""
    claimed = " · claimed by somebody with credentials that many share" if cpe.claimed else ""
    return f"proven by {verbs.proven_text(cpe)}{claimed}"


def same_proof(cpe: Cpe) -> Requirement:
    """Return the requirement that a CPE's name still rests on the proof that the preview showed."""
    return Requirement(Address(f"{_REQUIRED}{cpe.name}"), SAME_PROOF, proof_text(cpe))


def _still_proven(tx: Tx, _item: Item, requirement: Requirement, _begun: bool) -> Broken | None:
    cpe = store.find(tx.all, requirement.address.removeprefix(_REQUIRED))
    if cpe is None or proof_text(cpe) == requirement.shown:
        return None  # `SAME_CPE` tells of one that is gone
    return Broken(f"the CPE was {requirement.shown} in the preview; now {proof_text(cpe)}", stale=True)


REQUIREMENT_TESTS: Final[Mapping[str, RequirementTest]] = {SAME_CPE: _still_same, SAME_PROOF: _still_proven}
"""The tests of requirements on CPE, by their names (`agent.inventory.book.unmet`)."""


def baseline_reason(cpe: Cpe) -> str:
    """Return the reason of a plan that sets a CPE's declared baseline: which CPE, and after which of its resets."""
    accepted = f"{cpe.accepted_seq}." if cpe.accepted_seq else ""  # 0: by a version that did not write that down
    return f"{_BASELINE}:{cpe.name}:{accepted}{cpe.resets}"


def baseline_due(query: Query, reason: str) -> bool:
    """Return whether a plan's reason still holds: the CPE was not given its baseline since that reset."""
    kind, _, rest = reason.partition(":")
    cpe = store.find(query, rest.rpartition(":")[0]) if kind == _BASELINE else None
    if cpe is None or cpe.trust is not Acceptance.ACCEPTED:
        return False
    return cpe.provisioned < cpe.resets and reason == baseline_reason(cpe)


def _is_baseline_due(query: Query, row: PlanRow) -> bool:
    return row.risk == RiskClass.PROVISION.value and baseline_due(query, row.reason)


def _is_support(query: Query, row: PlanRow) -> bool:
    """Return whether a plan is a test or a reboot of one CPE that can be sent: its class is the agent's own word."""
    sent = query(
        "SELECT count(*) AS n FROM item WHERE plan_id = ? AND state NOT IN ('blocked', 'excluded')", (row.plan_id,)
    )
    return row.risk == RiskClass.SUPPORT.value and int(sent[0]["n"]) == 1


EVIDENCE_TESTS: Final[Mapping[StandingEvidence, EvidenceTest]] = {
    StandingEvidence.BASELINE_DUE: _is_baseline_due,
    StandingEvidence.SUPPORT_ASKED: _is_support,
}
"""The tests of evidence on CPE for standing authorities (`agent.changes.authority.standings`)."""
