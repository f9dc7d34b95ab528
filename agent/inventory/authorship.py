"""The last author of each field of a service's inventory entry, with time and way.

Approvers see it in previews: a name or login that changed yesterday may be a mistake, or somebody's trick. A row is
written in the transaction that changes the entry, and goes with the entry.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from agent.store.db import Tx

ENTRY: Final = "entry"
"""In the place of a field: the entry as a whole was added."""
IMPORT: Final = "an import"
"""The way of a change that nobody approved."""
RECENT_S: Final = 7 * 24 * 3600
"""So long a change is shown in previews."""
_SOME: Final = 500
"""Services of one query."""


@dataclass(frozen=True, slots=True)
class Authorship:
    """The last change of one field of a service's entry.

    `before`: the earlier value; "": none, or the whole entry was added. `by`: a handle, or `uid N`. `via`: `an import`
    or `change K7QF`. `at_s`: unix seconds.
    """

    ref: str
    field: str
    before: str
    by: str
    via: str
    at_s: int

    def text(self, now_s: float) -> str:
        """Return the change as a clause for people: `login changed 3 h ago by amina in an import (was u3)`."""
        when = f"{_ago(now_s - self.at_s)} by {self.by} in {self.via}"
        if self.field == ENTRY:
            return f"in the inventory since {when}"
        return f"{self.field} changed {when} (was {self.before or 'none'})"


def note(tx: Tx, found: Sequence[Authorship]) -> None:
    """Record changes of entries, replacing the records of the same fields."""
    tx.many(
        "INSERT OR REPLACE INTO authorship (ref, field, before, by, via, at_s) VALUES (?,?,?,?,?,?)",
        [(a.ref, a.field, a.before, a.by, a.via, a.at_s) for a in found],
    )


def recent(
    query: Callable[[str, Sequence[object]], Sequence[sqlite3.Row]], refs: Sequence[str], now_s: float
) -> dict[str, list[Authorship]]:
    """Return the changes of the last seven days of some services, by service, the newest first."""
    found: dict[str, list[Authorship]] = {}
    for n in range(0, len(refs), _SOME):
        some = refs[n : n + _SOME]
        rows = query(
            f"SELECT * FROM authorship WHERE ref IN ({','.join('?' * len(some))}) AND at_s >= ?"  # noqa: S608  # only question marks
            " ORDER BY at_s DESC, field",
            (*some, int(now_s) - RECENT_S),
        )
        for r in rows:
            one = Authorship(r["ref"], r["field"], r["before"], r["by"], r["via"], r["at_s"])
            found.setdefault(one.ref, []).append(one)
    return found


def by_another(
    query: Callable[[str, Sequence[object]], Sequence[sqlite3.Row]],
    ref: str | None,
    fields: Collection[str],
    plan_id: bytes,
) -> str:
    """Return the short id of another change than a plan's that wrote one of these fields of an entry last; "": none."""
    rows = query(
        f"SELECT via FROM authorship WHERE ref = ? AND field IN ({','.join('?' * len(fields))})"  # noqa: S608  # only question marks
        " AND via LIKE 'change %' AND via <> 'change ' || (SELECT short FROM plan WHERE plan_id = ?)",
        (ref, *fields, plan_id),
    )
    return str(rows[0]["via"]).removeprefix("change ") if rows else ""


def unlooked(
    query: Callable[[str, Sequence[object]], Sequence[sqlite3.Row]], refs: Sequence[str], who: Collection[str] | None
) -> dict[str, str]:
    """Return, by service, the fields of known services that these people changed by an import and nobody else saw.

    A plan that covers the service, was made after that and started ends it: its preview named the author of the field,
    and another person asked for it. Nobody saw a plan that started by a standing authority.

    Args:
        query: reads the database.
        refs: services.
        who: handles; None: any author.
    """
    found: dict[str, str] = {}
    people = None if who is None else json.dumps(sorted(who))
    for n in range(0, len(refs), _SOME):
        rows = query(
            "SELECT ref, group_concat(field || ' by ' || by, ', ') AS told FROM authorship AS a"
            " WHERE ref IN (SELECT value FROM json_each(?)) AND via = ? AND field <> ?"
            " AND (? IS NULL OR by IN (SELECT value FROM json_each(?)))"
            " AND NOT EXISTS (SELECT 1 FROM item AS i JOIN plan AS p ON p.plan_id = i.plan_id"
            " WHERE i.service = a.ref AND p.consumed_seq IS NOT NULL AND p.made_s >= a.at_s"
            " AND NOT EXISTS (SELECT 1 FROM standing_use AS u WHERE u.plan_id = p.plan_id))"
            " GROUP BY ref",
            (json.dumps(list(refs[n : n + _SOME])), IMPORT, ENTRY, people, people),
        )
        found |= {r["ref"]: r["told"] for r in rows}
    return found


def _ago(seconds: float) -> str:
    minutes = max(int(seconds), 0) // 60
    if minutes < 60:
        return f"{minutes} min ago" if minutes else "just now"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"
