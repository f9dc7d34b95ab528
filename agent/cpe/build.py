"""Puts the CPE domain together: `build` gives the daemon the parts that it runs, registers and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.changes.authority.standings import Standings
from agent.changes.engine.sessions import Sessions
from agent.changes.journal.build import Ground
from agent.changes.planning.intake import Planner
from agent.changes.planning.preview import Previewer
from agent.cpe.baseline import SecretSources
from agent.cpe.desk import CpeDesk
from agent.cpe.drift import CpeDrift
from agent.cpe.intake import CpeIntake
from agent.cpe.planner import planners
from agent.cpe.provision import Provisioner
from agent.cpe.store import CpeStore
from agent.cpe_model.manager import CpeManager
from agent.inventory import book
from trust.policy import Action


@dataclass(frozen=True, slots=True)
class CpeContext:
    """The parts that the CPE domain is built on. `handle`: the name in which the agent asks for baselines.

    `waiting_for` returns the short ids of the changes that wait for a target; `poke` has the worker look at approved
    plans.
    """

    ground: Ground
    cpes: CpeStore
    sessions: Sessions
    standings: Standings
    previewer: Previewer
    sources: SecretSources
    handle: str
    waiting_for: Callable[[str], list[str]]
    poke: Callable[[], None]


@dataclass(frozen=True, slots=True)
class CpeParts:
    """The CPE domain. `desk`, `provisioner` and `drift` None: this agent manages no CPE, and the planners say so."""

    planners: Mapping[Action, Planner]
    desk: CpeDesk | None = None
    provisioner: Provisioner | None = None
    drift: CpeDrift | None = None


def build(context: CpeContext, connectors: Iterable[object]) -> CpeParts:
    """Return the CPE domain over the connector that manages CPE, if one is configured to."""
    manager = next((c for c in connectors if isinstance(c, CpeManager)), None)
    terms = None if manager is None else manager.terms()
    if manager is None or terms is None:
        return CpeParts(planners(None))
    c, g = context, context.ground
    intake = CpeIntake(c.cpes, g.vault, c.previewer, g.clock, manager, terms, c.standings, c.sources)
    problems: dict[str, str] = {}
    desk = CpeDesk(
        manager,
        g.store,
        c.cpes,
        intake,
        c.sessions,
        g.recorder,
        g.clock,
        not_provisioned=lambda name: problems.get(name, ""),
        waiting_for=c.waiting_for,
    )
    provisioner = Provisioner(desk, intake, g.trust, g.clock, c.handle, c.poke, problems)
    drift = CpeDrift(intake, lambda: book.services(g.store.reader), g.store, g.vault)
    return CpeParts(planners(intake), desk, provisioner, drift)
