"""Retry: go on with items that are set and not enforced: their sessions are ended again, nothing else is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.changes.journal import commands, item_commands, plans
from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.item_commands import MoveItem
from agent.changes.journal.machine import Event
from agent.changes.journal.moments import SendWindow
from agent.changes.journal.plans import Loaded
from agent.changes.planning.again import RETURNS
from agent.changes.worker import Worker
from agent.model import Item, ItemState
from agent.reasons import ItemReason, RefusalReason
from agent.rest import HAVE_A_REST
from agent.runtime.clock import Clock, Now, now_of
from agent.store.db import Store, Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.vault import Vault
from trust.leaf import LeafKind


@dataclass(frozen=True, slots=True)
class ReopenRun:
    """Open a finished run again for the items that are set and not enforced, while its deadline has not passed."""

    plan_id: bytes
    items: tuple[tuple[Item, Sealed], ...]
    now: Now
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        """Open it.

        Raises:
            RefusedCommandError: it still runs, was cancelled, is stopped or out of time, or its services were changed
                since.
        """
        plan = commands.plan_row(tx, self.plan_id)
        if plan.finished_seq is None:
            raise RefusedCommandError(
                RefusalReason.RUNNING, f"{plan.short} still runs: ispagent change watch {plan.short}"
            )
        if plan.run_until.passed(self.now):
            raise RefusedCommandError(
                RefusalReason.EXPIRED, "the plan's run-until time has passed: ask for the change anew"
            )
        if tx.one("SELECT 1 FROM cancelled WHERE plan_digest = ?", (plan.digest,)):
            raise RefusedCommandError(RefusalReason.CANCELLED, f"{plan.short} was cancelled: ask for the change anew")
        commands.refuse_if_stopped(tx, self.plan_id, plan.requester)
        commands.refuse_if_contradicted(tx)
        commands.refuse_in_doubt(tx)
        # Judged again since they were read, some may be enforced by now
        rows = tx.all(
            "SELECT n FROM item WHERE plan_id = ? AND state = ?", (self.plan_id, ItemState.SET_NOT_ENFORCED.value)
        )
        waiting = {row["n"] for row in rows}
        asked = [(item, sealed) for item, sealed in self.items if item.n in waiting]
        since = {item.n: item_commands.acted_on_since(tx.all, self.plan_id, item) for item, _ in asked}
        left = [(item, sealed) for item, sealed in asked if not since[item.n]]
        if not left:
            why = next((f"{why}: ask for the change anew" for why in since.values()), "all is enforced by now")
            raise RefusedCommandError(RefusalReason.NOTHING_TO_RETRY, why)
        tx.append(Entry(LeafKind.RESUMED, self.plan_id, plan.digest, sealed=self.sealed))
        for item, sealed in left:
            item_commands.move_item(tx, MoveItem(self.plan_id, item.n, Event.RETRY, ItemReason.RETRY, "", sealed))
        tx.run("UPDATE plan SET finished_seq = NULL WHERE plan_id = ?", (self.plan_id,))


def _nothing(row: PlanRow, loaded: Loaded) -> str:
    """Return why there is nothing to retry, and the command for items that were not applied."""
    again = row.finished_seq is not None and loaded.plan.action.value in HAVE_A_REST
    if again and any(one.state in RETURNS for one in loaded.rows.values()):
        return f"no item is set and not enforced; what was not applied: ispagent change again {row.short}"
    return "no item is set and not enforced"


@dataclass(frozen=True, slots=True)
class Retry:
    """Reopens finished changes for the items that are set and not enforced."""

    store: Store
    vault: Vault
    recorder: Recorder
    worker: Worker
    clock: Clock
    send_window: Callable[[PlanRow], SendWindow]

    async def retry(self, row: PlanRow) -> int:
        """Start again; return how many items.

        Raises:
            RefusedCommandError: nothing to retry, still running, cancelled, the deadline has passed, or the policy's
                window is closed.
        """
        if (window := self.send_window(row)).closed:
            raise RefusedCommandError(window.code, f"{row.short} {window.closed}")
        loaded = await plans.load_aside(self.store, self.vault, row)
        items: list[Item] = [
            i for i in loaded.items.items if loaded.rows[i.n].state is ItemState.SET_NOT_ENFORCED and i.steps
        ]
        if not items:
            raise RefusedCommandError(RefusalReason.NOTHING_TO_RETRY, f"{row.short}: {_nothing(row, loaded)}")
        seals = tuple((i, self.recorder.record(i.subject, {"what": "item", "event": "retry"})) for i in items)
        record = self.recorder.record(None, {"what": "retry", "items": len(items)})
        await self.store.run(ReopenRun(row.plan_id, seals, now_of(self.clock), record))
        self.worker.resume(row.plan_id)
        return len(items)
