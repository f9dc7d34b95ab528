"""The steps of the agent's log, for rules of parts that judge the outcome of each."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from tests.sim.witness import OpenStep

StepT = TypeVar("StepT", bound="LoggedStep")


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """A step as the log has it. `about`, `outcome`: by trio's time; None: it has no outcome. `seq`: its last leaf."""

    plan: str
    item: int
    n: int
    direction: str
    attempt: int
    about: float
    outcome: float | None
    do: Any
    verdict: str
    reason: str
    detail: str
    seq: int

    @classmethod
    def announced(cls, step: OpenStep) -> Self:
        """Return a step as the log of some instant announced it, which may be another log at the end."""
        return cls(
            step.plan, step.item, step.n, step.direction, step.attempt, step.about_at, None, step.do, "", "", "", 0
        )

    @property
    def is_effect(self) -> bool:
        """Whether it does something, in place of writing something."""
        return isinstance(self.do, dict)

    @property
    def address(self) -> str:
        """Return the address of the effect, or of the first write."""
        return str((self.do if self.is_effect else self.do[0])["address"])

    @property
    def name(self) -> str:
        """Return it for people."""
        return f"step {self.plan[:6]}/{self.item}.{self.n}{self.direction[0]}#{self.attempt}"


def steps_of(log: sqlite3.Connection, at_of: Callable[[int], float], kind: type[StepT], connector: str) -> list[StepT]:
    """Return the steps on a connector's devices in the log. `at_of`: when a leaf was seen, whatever the agent's clock
    said.
    """
    found = log.execute(
        "SELECT plan_id, item, n, direction, attempt, about_seq, outcome_seq, do, verdict, reason, detail FROM step"
        " ORDER BY about_seq"
    )
    steps = []
    for plan, item, n, way, attempt, about, outcome, text, verdict, reason, detail in found:
        over = None if outcome is None else at_of(outcome)
        said = (verdict or "", reason or "", detail or "")
        step = kind(plan.hex(), item, n, way, attempt, at_of(about), over, json.loads(text), *said, outcome or about)
        if step.address.startswith(f"{connector}/"):
            steps.append(step)
    return steps
