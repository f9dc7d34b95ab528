"""The report: how many services were suspended and restored, day by day and tariff by tariff, from the journal.

Every item that was asked for stands in exactly one column, so that the columns add up to the number of items.
"""

from __future__ import annotations

import enum
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import trio

from agent.changes.auditlog.history import Period
from agent.changes.journal.machine import FAILED, Gate
from agent.model import ItemState, ReasonChange, SuspensionReason
from agent.reasons import ItemReason, ProofReason
from agent.services.verbs import stays_suspended
from agent.store.stored import members
from agent.store.vault import Vault
from trust.moments import day_text, local

ERASED: Final = "(erased)"
"""The tariff of an item of an erased subscriber: its document cannot be opened any more."""
_SLICE: Final = 200


class ReportColumn(enum.StrEnum):
    """The result of an item, as a report counts it."""

    SUSPENDED = "suspended"
    RESTORED = "restored"
    AT_NEXT_LOGIN = "at_next_login"
    """Written and read back; proven when the subscriber logs in."""
    RECORDED = "recorded"
    """Only a reason was added or lifted: the service stayed as it was, or another reason keeps it suspended."""
    STAYS_REJECTED = "stays_rejected"
    """The login is rejected by something that the agent did not set, before and after."""
    FAILED = "failed"
    CANNOT = "cannot_enforce"
    PENDING = "pending"
    TAKEN_BACK = "taken_back"
    NOTHING_SENT = "nothing_sent"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row. `day` is YYYY-MM-DD on the operator's clock; "" where rows are not by day, as `tariff`."""

    day: str
    tariff: str
    counts: Mapping[ReportColumn, int]


async def report(
    reader: sqlite3.Connection, vault: Vault, zone: ZoneInfo, period: Period, by: Collection[str]
) -> list[ReportRow]:
    """Return the rows, in order of day and tariff; other work gets its turn between slices of items.

    An item counts on the day on which it came to its state.

    Args:
        reader: of the agent's database.
        vault: opens the items' documents.
        zone: of the days.
        period: of the items' states.
        by: `day`, `tariff`, both or none.
    """
    found: dict[tuple[str, str], Counter[ReportColumn]] = {}
    where, args = period.sql("e.at_s")
    query = (
        "SELECT i.plan_id, i.n, i.doc, i.subject, i.state, i.reason, p.gate, p.reason AS why, e.at_s"  # noqa: S608  # fixed clauses
        " FROM item i JOIN plan p USING (plan_id) JOIN event e ON e.seq = i.state_seq"
        f" WHERE (i.plan_id, i.n) > (?, ?) AND p.reason <> '' AND {where} ORDER BY i.plan_id, i.n LIMIT ?"
    )
    last: tuple[bytes, int] = (b"", 0)
    while rows := reader.execute(query, (*last, *args, _SLICE)).fetchall():
        for r in rows:
            day = day_text(local(r["at_s"], zone)) if "day" in by else ""
            tariff = _shown(vault, r).get("tariff", "") if "tariff" in by else ""
            found.setdefault((day, tariff), Counter())[_column(vault, r)] += 1
        last = (bytes(rows[-1]["plan_id"]), rows[-1]["n"])
        await trio.lowlevel.checkpoint()
    return [ReportRow(day, tariff, counts) for (day, tariff), counts in sorted(found.items())]


def payers_restored(reader: sqlite3.Connection, requester: str, period: Period) -> int:
    """Return how many services had their debt lifted by restores that somebody asked for.

    Args:
        reader: of the agent's database.
        requester: its handle, such as the agent's own.
        period: of the items' ends.
    """
    where, args = period.sql("e.at_s")
    query = (
        "SELECT count(*) FROM item i JOIN plan p USING (plan_id) JOIN event e ON e.seq = i.state_seq"  # noqa: S608  # fixed clauses
        f" WHERE p.requester = ? AND p.reason = ? AND i.state IN (?, ?) AND {where}"
    )
    done = (ItemState.APPLIED.value, ItemState.SET_AT_NEXT_LOGIN.value)
    lifts = str(ReasonChange(SuspensionReason.DEBT, added=False))
    return int(reader.execute(query, (requester, lifts, *done, *args)).fetchone()[0])


def _column(vault: Vault, r: sqlite3.Row) -> ReportColumn:
    state, gate = members(ItemState, "item")[r["state"]], members(Gate, "plan")[r["gate"]]
    if state is ItemState.BLOCKED:
        return ReportColumn.CANNOT
    if state in FAILED and state is not ItemState.UNKNOWN:
        return ReportColumn.FAILED
    if state in (ItemState.PLANNED, ItemState.WAITING, ItemState.RUNNING, ItemState.UNKNOWN):
        over = gate not in (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED)
        return ReportColumn.NOTHING_SENT if over else ReportColumn.PENDING
    if state is ItemState.SET_AT_NEXT_LOGIN:
        return ReportColumn.AT_NEXT_LOGIN
    if state is ItemState.REVERTED:
        return ReportColumn.TAKEN_BACK
    if state is not ItemState.APPLIED:
        return ReportColumn.NOTHING_SENT
    if r["reason"] == ItemReason.RECORDED:
        return ReportColumn.RECORDED
    if r["reason"] == ProofReason.STAYS_REJECTED:
        return ReportColumn.STAYS_REJECTED
    if r["why"].startswith("+"):
        return ReportColumn.SUSPENDED
    return ReportColumn.RECORDED if stays_suspended(_shown(vault, r).get("why", "")) else ReportColumn.RESTORED


def _shown(vault: Vault, r: sqlite3.Row) -> Mapping[str, str]:
    """Return the preview's view of an item, such as the tariff that the service had then."""
    opened = vault.open_record(bytes(r["subject"]), bytes(r["doc"]))
    return {"tariff": ERASED} if opened is None else dict(json.loads(opened[1])["display"])
