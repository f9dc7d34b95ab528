"""Answers of access methods: a plan, with its one write and its effects, or a refusal."""

from __future__ import annotations

from agent.connectors.base import AccessPlan, CannotEnforce
from agent.model import Effect, Transition


def plan_of(found: AccessPlan | CannotEnforce) -> AccessPlan:
    """Return the plan; a refusal fails the test."""
    assert isinstance(found, AccessPlan), found
    return found


def refused(found: object, reason: str, *words: str) -> str:
    """Expect a refusal for this reason, whose detail has these words; return the detail."""
    assert isinstance(found, CannotEnforce), found
    assert found.reason == reason, found
    for word in words:
        assert word in found.detail
    return found.detail


def write_of(plan: AccessPlan) -> Transition:
    """Return the only write of a plan."""
    ((only,),) = [step.do for step in plan.steps if isinstance(step.do, tuple)]
    return only


def effects_of(plan: AccessPlan) -> list[Effect]:
    """Return the effects of a plan, in order."""
    return [step.do for step in plan.steps if isinstance(step.do, Effect)]


def writes_of(plan: AccessPlan) -> list[Transition]:
    """Return the writes of a plan, in order."""
    return [change for step in plan.steps if not isinstance(step.do, Effect) for change in step.do]
