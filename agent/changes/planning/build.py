"""Puts planning together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agent.changes.auditlog.build import AuditLog
from agent.changes.authority.standings import Standings
from agent.changes.engine.steps import RunParts
from agent.changes.journal.build import Ground
from agent.changes.planning.adopt import Adopter
from agent.changes.planning.intake import Intake, Planner
from agent.changes.planning.preview import CutOff, PlanTerms, Previewer
from agent.config_billing import OverdueRules
from agent.connectors.spec import AccessMap
from agent.inventory.billing import BillingReader
from agent.services.network import NetworkReader
from trust.policy import Action


def build(
    ground: Ground,
    log: AuditLog,
    run: RunParts,
    standings: Standings,
    terms: Callable[[], PlanTerms],
    cut_off: CutOff,
) -> Previewer:
    """Return the previewer. It reads by the sessions and access methods of the run, as apply does.

    `standings` approve by themselves where a standing authority covers a plan; `terms` and `cut_off` are asked for at
    each plan.
    """
    return Previewer(
        store=ground.store,
        vault=ground.vault,
        recorder=ground.recorder,
        sessions=run.sessions,
        network=NetworkReader(run.sessions, run.access_methods),
        clock=ground.clock,
        agent=ground.identity.agent,
        plan_key=ground.identity.plan_key,
        terms=terms,
        log_head=log.evidence.published,
        standings=standings,
        cut_off=cut_off,
    )


def build_intake(
    ground: Ground,
    previewer: Previewer,
    access: Sequence[AccessMap],
    billing: BillingReader,
    overdue: OverdueRules,
    standings: Standings,
    planners: Mapping[Action, Planner],
) -> Intake:
    """Return the intake.

    Args:
        ground: of the main job.
        previewer: makes its plans.
        access: the access methods that the configuration declares.
        billing: the facts on debts and payments.
        overdue: the operator's rules for suspending all overdue subscribers.
        standings: know which standing authorities are in force.
        planners: of actions that are not on services.
    """
    g = ground
    adopting = {Action.ADOPT: Adopter(g.store, previewer, access, g.clock)}
    planners = {**planners, **adopting}
    return Intake(
        g.store, g.vault, previewer.sessions, previewer, access, g.clock, billing, overdue, standings, planners
    )
