"""Puts the audit log together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.changes.auditlog.evidence import Evidence
from agent.changes.auditlog.own_board import OwnBoard
from agent.changes.auditlog.witnesses import Witnesses
from agent.changes.journal.build import Ground
from agent.changes.journal.signing import Signer, signer_now


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log's proofs, and the parties that may contradict it: witnesses and the control plane's board.

    `signer` signs by the trust in force, with the log's newest head.
    """

    evidence: Evidence
    witnesses: Witnesses
    board: OwnBoard
    signer: Callable[[], Signer]


def build(ground: Ground, origin: str, *, cadence_s: float) -> AuditLog:
    """Return the audit log. `cadence_s`: seconds between signed checkpoints."""
    g, identity = ground, ground.identity
    evidence = Evidence(g.store, g.vault, g.recorder, identity.origin(origin), identity.log_key)
    witnesses = Witnesses(g.store, g.recorder, evidence, g.trust, g.clock, g.changed, cadence_s=cadence_s)
    board = OwnBoard(g.store, g.recorder, g.trust, g.changed, identity.plan_key.public)

    signer = partial(signer_now, g.trust, identity, evidence.published)
    return AuditLog(evidence, witnesses, board, signer)
