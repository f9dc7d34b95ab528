"""Answers of devices that outlive a restart: commands that record them, the query that returns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.base import KeptAnswer
from agent.store.db import Store, Tx

KEPT_S: Final = 30 * 86_400
"""How long an answer is kept. Chosen arbitrarily: a session of accounting may be open for weeks."""
KEPT_MAX: Final = 100_000
"""Answers of one connector, so that devices cannot fill the disk."""


@dataclass(frozen=True, slots=True)
class KeepAnswers:
    """Command: keep answers of a connector's devices; a newer one takes the place of an older one of its key."""

    of: str
    answers: tuple[KeptAnswer, ...]

    def run(self, tx: Tx) -> None:
        tx.many(
            "INSERT OR REPLACE INTO answer (target, kind, key, told, by, at_s) VALUES (?, ?, ?, ?, ?, ?)",
            [(self.of, a.kind, a.key, a.told, a.by, a.at_s) for a in self.answers],
        )


@dataclass(frozen=True, slots=True)
class ForgetAnswers:
    """Command: forget the answers that are too old, and the oldest of those that are too many."""

    of: str

    def run(self, tx: Tx) -> None:
        tx.run("DELETE FROM answer WHERE target = ? AND at_s < ?", (self.of, int(tx.now_s) - KEPT_S))
        tx.run(
            "DELETE FROM answer WHERE target = ?1 AND at_s <= (SELECT at_s FROM answer WHERE target = ?1"
            " ORDER BY at_s DESC LIMIT 1 OFFSET ?2)",
            (self.of, KEPT_MAX),
        )


class KeptAnswers:
    """Implements `agent.connectors.base.AnswerBook` on the agent's database."""

    def __init__(self, store: Store) -> None:
        """Take the database."""
        self._store = store
        self._new = 0

    def kept(self, of: str) -> Sequence[KeptAnswer]:
        """Return the answers of a connector's devices, oldest first."""
        query = "SELECT kind, key, told, by, at_s FROM answer WHERE target = ? ORDER BY at_s"
        return [KeptAnswer(r["kind"], r["key"], r["told"], r["by"], r["at_s"]) for r in self._store.query(query, (of,))]

    async def keep(self, of: str, answers: Sequence[KeptAnswer]) -> None:
        """Keep answers; every so many, old ones are forgotten.

        Raises:
            StoreFailedError: the database cannot be written.
        """
        await self._store.run(KeepAnswers(of, tuple(answers)))
        if self._new % _FORGET_EVERY == 0:
            await self._store.run(ForgetAnswers(of))
        self._new += 1


_FORGET_EVERY: Final = 1000
"""Commands between two looks for answers to forget; the first one after a start looks too."""
