"""The planner that `agent.changes.planning` knows CPE by: it answers for every action on CPE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import Request, RequestError
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.intake import Planner
from agent.cpe.acceptance import UNDO, CpeAcceptances
from agent.cpe.intake import CpeIntake
from agent.cpe.revert import CpeReverts
from trust.policy import Action

NO_ACS: Final = "this agent has no ACS: expected a section [cwmp] in its configuration, got none"


@dataclass(frozen=True, slots=True)
class CpePlanner:
    """Implements `Planner`. `intake` None: this agent manages no CPE."""

    intake: CpeIntake | None

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing would change, or policy refuses.
        """
        intake = self._managed()
        if request.ask.action is Action.CPE_ACCEPT:
            return await CpeAcceptances(intake).plan(request, pinned)
        return await intake.plan(request, pinned)

    async def revert(self, request: Request, loaded: Loaded, pinned: Pinned) -> bytes:
        """Return the id of the plan that takes back the standing writes of a change.

        Raises:
            RequestError: nothing of it stands, or nothing of it can be taken back.
        """
        intake = self._managed()
        if loaded.plan.action is Action.CPE_ACCEPT:
            raise RequestError(f"{loaded.row.short} is taken back by no change: {UNDO}")
        return await CpeReverts(intake).revert(request, loaded, pinned)

    def _managed(self) -> CpeIntake:
        if self.intake is None:
            raise RequestError(NO_ACS)
        return self.intake


def planners(intake: CpeIntake | None) -> Mapping[Action, Planner]:
    """Return the planner of each action on CPE."""
    return dict.fromkeys((action for action in Action if action.on_cpe), CpePlanner(intake))
