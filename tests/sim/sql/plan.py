"""Faults of a simulated SQL server: what happens at which statement, as values that a simulation draws."""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agent.connectors.radius.sql_connection import Query


class Mishap(enum.Enum):
    """What happens.

    CUT_BEFORE: the connection breaks and the statement never arrives. CUT_AFTER: it is done, its answer is lost.
    HANG_BEFORE, HANG_AFTER: as these, but nobody says so: the server keeps the transaction and its locks for a while.
    CONFLICT: rolled back as the victim of a deadlock. TIMEOUT: rolled back, it took too long. FULL: the disk is full.
    OTHER: another writer commits `statements` just before. READ_ONLY: the server takes no writes for `for_s`.
    RESTART: all connections break, the server is away for `for_s`. FAILOVER: as RESTART, and the last `forget` commits
    are lost. REFUSED: the login is refused for `for_s`.
    """

    CUT_BEFORE = "cut-before"
    CUT_AFTER = "cut-after"
    HANG_BEFORE = "hang-before"
    HANG_AFTER = "hang-after"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"
    FULL = "full"
    OTHER = "other"
    READ_ONLY = "read-only"
    RESTART = "restart"
    FAILOVER = "failover"
    REFUSED = "refused"


VERBS: Final = ("CONNECT", "BEGIN", "SELECT", "INSERT", "UPDATE", "DELETE", "COMMIT")
"""What a fault can strike: the first word of a statement of the agent's, or a new connection."""


@dataclass(frozen=True, slots=True)
class SqlMishap:
    """One fault: `what` happens at the `nth` statement of a verb, counted from when the fault was added."""

    what: Mishap
    at: str = "COMMIT"
    nth: int = 1
    for_s: float = 0.0
    forget: int = 0
    statements: tuple[Query, ...] = ()


class FaultPlan:
    """The faults to come; `struck`: those that came, in order."""

    def __init__(self, faults: Iterable[SqlMishap] = ()) -> None:
        self.struck: list[SqlMishap] = []
        self._seen: Counter[str] = Counter()
        self._due: list[tuple[int, SqlMishap]] = []
        for one in faults:
            self.add(one)

    def add(self, fault: SqlMishap) -> None:
        """Let one more fault come, counted from now on."""
        if fault.at not in VERBS or fault.nth < 1:
            raise ValueError(f"expected one of {VERBS} and nth >= 1, got {fault}")
        self._due.append((self._seen[fault.at] + fault.nth, fault))

    def has_struck(self, fault: SqlMishap) -> bool:
        """Tell whether this very fault came."""
        return any(one is fault for one in self.struck)

    def drop(self, fault: SqlMishap) -> None:
        """Forget this very fault, if it has not come yet."""
        self._due = [(n, one) for n, one in self._due if one is not fault]

    def clear(self) -> None:
        """Forget what has not come yet."""
        self._due.clear()

    def take(self, verb: str) -> list[SqlMishap]:
        """Count a statement, and return what happens at it."""
        self._seen[verb] += 1
        now = [(n, fault) for n, fault in self._due if fault.at == verb and n <= self._seen[verb]]
        for one in now:
            self._due.remove(one)
        self.struck += [fault for _, fault in now]
        return [fault for _, fault in now]


def drawn(rng: random.Random, others: Iterable[tuple[Query, ...]] = ()) -> SqlMishap:
    """Return a fault by chance, most often at a COMMIT. `others`: what other writers may do."""
    writers = list(others)
    what = rng.choice([m for m in Mishap if m is not Mishap.OTHER or writers])
    at = rng.choice(VERBS + ("COMMIT",) * 5)
    if what is Mishap.REFUSED:
        at = "CONNECT"
    elif at == "CONNECT" and what not in (Mishap.RESTART, Mishap.FAILOVER, Mishap.OTHER, Mishap.CUT_BEFORE):
        at = "COMMIT"
    return SqlMishap(
        what,
        at,
        rng.randint(1, 8),
        for_s=rng.choice([0.0, 0.5, 3.0, 20.0, 120.0]),
        forget=rng.randint(0, 4) if what is Mishap.FAILOVER else 0,
        statements=rng.choice(writers) if what is Mishap.OTHER else (),
    )
