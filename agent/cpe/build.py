"""Puts the CPE domain together: `build` gives the daemon what it runs, registers and shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agent.changes.authority.standings import Standings
from agent.changes.engine.sessions import Sessions
from agent.changes.journal.audit import Recorder
from agent.changes.journal.trust_state import TrustState
from agent.changes.planning.intake import Planner
from agent.changes.planning.preview import Previewer
from agent.cpe.baseline import SecretSources
from agent.cpe.desk import CpeDesk
from agent.cpe.intake import CpeIntake
from agent.cpe.planner import planners
from agent.cpe.provision import Provisioner
from agent.cpe.store import CpeStore
from agent.cpe_model.manager import CpeManager
from agent.runtime.clock import Clock
from agent.store.db import Store
from agent.store.vault import Vault
from trust.policy import Action


@dataclass(frozen=True, slots=True)
class CpeContext:
    """What the CPE domain is built on. `handle`: in whose name the agent asks for baselines.

    `waiting_for` returns the short ids of the changes that wait for a target; `poke` has the worker look at approved
    plans.
    """

    store: Store
    vault: Vault
    cpes: CpeStore
    recorder: Recorder
    clock: Clock
    sessions: Sessions
    trust: TrustState
    standings: Standings
    previewer: Previewer
    sources: SecretSources
    handle: str
    waiting_for: Callable[[str], list[str]]
    poke: Callable[[], None]


@dataclass(frozen=True, slots=True)
class CpeParts:
    """The CPE domain. `desk` and `provisioner` None: this agent manages no CPE, and the planners say so."""

    planners: Mapping[Action, Planner]
    desk: CpeDesk | None = None
    provisioner: Provisioner | None = None


def build(context: CpeContext, connectors: Iterable[object]) -> CpeParts:
    """Return the CPE domain over the connector that manages CPE, if one is configured to."""
    manager = next((c for c in connectors if isinstance(c, CpeManager)), None)
    terms = None if manager is None else manager.terms()
    if manager is None or terms is None:
        return CpeParts(planners(None))
    c = context
    intake = CpeIntake(c.cpes, c.vault, c.previewer, c.clock, manager, terms, c.standings, c.sources)
    problems: dict[str, str] = {}
    desk = CpeDesk(
        manager,
        c.store,
        c.cpes,
        intake,
        c.sessions,
        c.recorder,
        c.clock,
        not_provisioned=lambda name: problems.get(name, ""),
        waiting_for=c.waiting_for,
    )
    provisioner = Provisioner(desk, intake, c.trust, c.clock, c.handle, c.poke, problems)
    return CpeParts(planners(intake), desk, provisioner)
