"""Puts the authority together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

from agent.changes.authority.approval import Approvals
from agent.changes.authority.standings import EvidenceTest, Standings
from agent.changes.journal.build import Ground
from agent.changes.journal.signing import Signer
from agent.inventory.billing import BillingReader
from trust.statements import StandingEvidence


def build(
    ground: Ground,
    signer: Callable[[], Signer],
    billing: BillingReader,
    evidence: Mapping[StandingEvidence, EvidenceTest],
    timezone: ZoneInfo,
) -> Approvals:
    """Return the approvals, with the standing authorities that they count.

    Args:
        ground: of the main job.
        signer: signs receipts.
        billing: the facts on payments.
        evidence: tests of the evidence that a standing authority wants, by its kind.
        timezone: the operator's, in which policy windows are.
    """
    g = ground
    standings = Standings(g.store, g.recorder, g.trust, g.clock, billing, evidence)
    return Approvals(g.store, g.recorder, g.trust, g.clock, signer, timezone, standings)
