"""Puts together the parts of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from agent.changes.engine.perform import Patience
from agent.changes.engine.sessions import Sessions
from agent.changes.engine.steps import RunParts
from agent.changes.engine.tickets import Unmet
from agent.changes.journal.build import Ground
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.item_commands import DesiredRecorder
from agent.changes.journal.moments import SendWindow
from agent.connectors.roles import Connectors


@dataclass(frozen=True, slots=True)
class RunTempo:
    """How long a run waits. `paced`: whether a batch keeps to the operator's pace."""

    patience: Patience = field(default_factory=Patience)
    paced: bool = True


def build(
    ground: Ground,
    connectors: Connectors,
    tempo: RunTempo,
    unmet: Unmet,
    *,
    check_clock: Callable[[], Awaitable[None]],
    refresh_facts: Callable[[Collection[str]], Awaitable[object]],
    send_window: Callable[[PlanRow], SendWindow],
    recorders: Mapping[type, DesiredRecorder],
) -> RunParts:
    """Return the parts of a run.

    Args:
        ground: of the main job.
        connectors: by which targets are reached.
        tempo: how long it waits.
        unmet: tests the requirements of an item.
        check_clock: halts applying if the clock jumped.
        refresh_facts: reads billing data of services again, by their refs.
        send_window: tells whether the policy of a plan lets it send now.
        recorders: by kind, for desired changes that are not of a service's entry.
    """
    return RunParts(
        store=ground.store,
        recorder=ground.recorder,
        sessions=Sessions(connectors.in_sessions),
        access_methods=connectors.access_methods,
        clock=ground.clock,
        unmet=unmet,
        patience=tempo.patience,
        census=connectors.census,
        paced=tempo.paced,
        check_clock=check_clock,
        refresh_facts=refresh_facts,
        send_window=send_window,
        recorders=recorders,
    )
