"""Routes of changes: ask, look, export for an approver, watch, apply, retry."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import trio

from agent.api.asked import asked_period, asked_person, asked_services, item_results
from agent.api.call import BODY_BYTES, ApiCall, CallerRole, Route, b64, number, unb64
from agent.changes.auditlog import history
from agent.changes.auditlog.history import ChangeFilter, ListedChange
from agent.changes.auditlog.witnesses import NOT_WITNESSED
from agent.changes.authority import standings
from agent.changes.journal import item_commands, plans, request
from agent.changes.journal.commands import PlanRow, Release
from agent.changes.journal.machine import EXIT_CODES, UNSENT, ChangeState, Gate
from agent.changes.journal.plans import NONE_AGAIN, DoneAgain
from agent.changes.journal.request import Ask, RequestError
from agent.model import Effect, Item, ItemState, Step
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response, StreamResponse
from agent.store.vault import Vault
from trust import envelope as envelopes
from trust.leaf import LeafKind
from trust.moments import moment_json
from trust.policy import Action
from trust.statements import OnFailure
from trust.strict_json import Reader

_NOT_OVER: Final = frozenset(
    {
        ChangeState.WAITING_FOR_APPROVAL,
        ChangeState.APPROVED,
        ChangeState.RUNNING,
        ChangeState.WAITING_FOR_DEVICE,
        ChangeState.NEEDS_YOU,
    }
)
_SPARED_SHOWN: Final = 4
"""Targets that are spared now and that are named of one change; chosen arbitrarily."""
WATCH_S: Final = 2.0
"""Longest wait of a watcher between two looks: deadlines pass without an event."""
OUTCOME_S: Final = 5.0
"""Longest wait of a watcher for the outcome of a change that was rejected, cancelled, expired or void.

The worker writes it at its next look. It never comes where that failed: then the watch ends by the state alone.
"""
_VOIDED: Final[Mapping[int, str]] = {
    LeafKind.UNWITNESSED_START.value: "the agent started, and its witnesses did not confirm its log: ask for it anew",
    LeafKind.RESTORED_DATABASE.value: "the agent's database was restored from a backup: ask for it anew",
    LeafKind.WITNESS_ANOMALY.value: "a witness has seen another log of this agent: ispagent status says which",
}
"""Events that void all plans that were not started, and the text for each."""


async def _ask(call: ApiCall) -> Response:
    p = call.parts
    now_s = p.clock.wall_s()
    pinned = p.trust.current(now_s)
    r = call.body()
    if r.has("intent"):
        envelope = envelopes.decode_untrusted(unb64(r.text("intent", BODY_BYTES), "intent"))
        r.done()
        asked = request.signed(envelope, pinned.trust, p.agent, now_s, p.open_sealed)
    else:
        asked = request.local(read_ask(r), call.request.peer_uid, p.people, pinned.trust, p.agent, now_s)
    await p.billing.refresh(())
    hidden = call.problem(CallerRole.VIEWER)
    if not call.may(CallerRole.OPERATOR):
        call.strangers.admit(now_s)
        call.strangers.count(now_s)
    try:
        plan_id = await p.intake.plan(asked, pinned)
    except RequestError as err:
        if not hidden:
            raise
        raise RequestError("this was not taken; ask somebody whom the configuration knows", refused=True) from err
    p.bell.ring()
    p.worker.poke()  # a standing authority may have approved it
    if hidden:  # asking is free to whoever may open the socket; what the agent knows of people is not
        row = plans.find(p.store.reader, plan_id.hex())
        return Response(201, {**_summary(row, plans.counts(p.store.reader, row), NONE_AGAIN), "not_shown": hidden})
    return Response(201, await _change(call, plan_id.hex()))


async def _show(call: ApiCall) -> Response:
    return Response(200, await _change(call, call.values[0]))


async def _list_changes(call: ApiCall) -> Response:
    q = call.request.query
    wanted = ChangeFilter(
        period=asked_period(call),
        states=_states(q["state"]) if "state" in q else None,
        by=asked_person(call),
        services=await asked_services(call),
        limit=min(number(q.get("limit", str(history.LIMIT)), "limit"), history.LIMIT_MAX),
    )
    found = history.changes(call.parts.store.reader, wanted)
    return Response(200, [{**_summary(c.row, c.counts, c.again), **_of_services(c, wanted)} for c in found])


def _of_services(listed: ListedChange, wanted: ChangeFilter) -> dict[str, object]:
    """Return where the items of the services stand that were asked for; nothing where none were."""
    return {} if wanted.services is None else {"items": item_results(listed)}


def _states(text: str) -> frozenset[ChangeState]:
    """Return the states that a comma separated text names, in the words of `ChangeState`; `open`: those not over.

    Raises:
        HttpError: another word.
    """
    known = {state.name.lower().replace("_", "-"): frozenset({state}) for state in ChangeState} | {"open": _NOT_OVER}
    words = [word.strip().lower() for word in text.split(",")]
    if wrong := [word for word in words if word not in known]:
        raise HttpError(400, HttpReason.BAD_REQUEST, f"state: expected {', '.join(known)}; got {', '.join(wrong)[:80]}")
    return frozenset(state for word in words for state in known[word])


async def _export(call: ApiCall) -> Response:
    """Return the plan, its documents, trust and a checkpoint, to be carried to an approver's workstation by file."""
    p = call.parts
    row = plans.find(p.store.reader, call.values[0])
    items = await plans.with_items(p.store, row, lambda reader: plans.load(reader, p.vault, row).items)
    if items.erased:
        raise HttpError(409, HttpReason.ERASED, f"{row.short}: expected every item, but {_erased_text(items.erased)}")
    await p.evidence.note_export(row, call.who)
    pinned = p.trust.current(p.clock.wall_s())
    return Response(
        200,
        {
            "short": row.short,
            "plan": b64(row.envelope),
            "documents": [d.decode() for d in items.documents],
            "trust": b64(p.trust.envelope(pinned)),
            "checkpoint": (await p.evidence.checkpoint()).decode(),
        },
    )


def _erased_text(erased: Collection[int]) -> str:
    return f"the subscriber of item {', '.join(map(str, sorted(erased)))} was erased"


async def _watch(call: ApiCall) -> StreamResponse:
    row = plans.find(call.parts.store.reader, call.values[0])
    after = number(call.request.query.get("after", "0"), "after")
    return StreamResponse(_events(call, row, after))


async def _events(call: ApiCall, row: PlanRow, after: int) -> AsyncGenerator[object, None]:
    """Yield the change's events after a sequence number, then its end."""
    p, give_up = call.parts, math.inf
    while True:
        # The state before the events, and the end only after a read without any: the writer commits between two reads,
        # and while a line is taken, and one read returns only so many events.
        now = plans.look(p.store.reader, row.short)
        told = after
        for event in p.evidence.events(row, after):
            after = event.seq
            yield event.as_json()
        if after != told:
            continue
        if now.over or trio.current_time() >= give_up:
            yield {"end": True, "state": now.state.value, "exit": EXIT_CODES[now.state]}
            return
        if now.row.gate not in (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED):
            give_up = min(give_up, trio.current_time() + OUTCOME_S)
        with trio.move_on_after(WATCH_S):  # deadlines pass without a bell
            await p.bell.wait()


async def _apply(call: ApiCall) -> Response:
    call.body().done()
    row = plans.find(call.parts.store.reader, call.values[0])
    await call.parts.store.run(Release(row.plan_id))
    call.parts.worker.poke()
    return Response(200, await _change(call, row.short))


async def _pause(call: ApiCall) -> Response:
    call.body().done()
    row = plans.find(call.parts.store.reader, call.values[0])
    await call.parts.approvals.pause(row, call.who, call.person)
    return await _moved_on(call, row)


async def _resume(call: ApiCall) -> Response:
    call.body().done()
    row = plans.find(call.parts.store.reader, call.values[0])
    await call.parts.approvals.resume(row, call.who, call.person)
    return await _moved_on(call, row)


async def _moved_on(call: ApiCall, row: PlanRow) -> Response:
    call.parts.bell.ring()
    call.parts.worker.poke()
    return Response(200, await _change(call, row.short))


async def _retry(call: ApiCall) -> Response:
    call.body().done()
    row = plans.find(call.parts.store.reader, call.values[0])
    await call.parts.retry.retry(row)
    return Response(200, await _change(call, row.short))


async def _rest(call: ApiCall) -> Response:
    """Return the items that an ask for the rest of a change would name, and those that it would leave out, with the
    reason.
    """
    rest = await call.parts.intake.rest(call.values[0])
    return Response(200, {**asdict(rest), "action": rest.action.value, "reason": rest.reason.value})


async def _change(call: ApiCall, ref: str) -> Mapping[str, object]:
    p = call.parts
    row = plans.find(p.store.reader, ref)
    lists = await plans.with_items(
        p.store, row, lambda reader: _lists(reader, p.vault, row, p.worker.accepted(row.short))
    )
    row = plans.find(p.store.reader, ref)
    have, need = p.approvals.count(row)
    again = plans.done_again(p.store.reader, [row.plan_id]).get(row.plan_id, NONE_AGAIN)
    return {
        **_summary(row, plans.counts(p.store.reader, row), again),
        "done_again": {str(n): one.change for n, one in again.items() if not one.reverted},
        "reverted_by": {str(n): one.change for n, one in again.items() if one.reverted},
        "finished_at": moment_json(plans.finished_s(p.store.reader, row)),
        "finished_seq": row.finished_seq,
        "witnessed": _witnessed(call, row.finished_seq),
        "waits_because": _waits_because(call, row),
        "approvals": [{"person": d.person, "decision": d.decision} for d in plans.decisions(p.store.reader, row)],
        "standing": standings.used_by(p.store.query, row.plan_id),
        "have": have,
        "need": need,
        "plan": b64(row.envelope),
        **lists,
    }


def _lists(
    reader: sqlite3.Connection, vault: Vault, row: PlanRow, accepted: frozenset[tuple[int, int]]
) -> Mapping[str, object]:
    """Return the lists of a change: its documents, items and steps. `accepted`: steps that a target accepted."""
    loaded = plans.load(reader, vault, row)
    return {
        "documents": [] if loaded.items.erased else [d.decode() for d in loaded.items.documents],
        "not_shown": _erased_text(loaded.items.erased) if loaded.items.erased else "",
        "items": [_item(reader, row.plan_id, i, plans.item_by_number(loaded.items, i.n)) for i in loaded.rows.values()],
        "steps": [
            _step(s, plans.item_by_number(loaded.items, s.item).steps[s.n - 1], accepted=(s.item, s.n) in accepted)
            for s in plans.steps(reader, row.plan_id)
        ],
    }


def _item(reader: sqlite3.Connection, plan_id: bytes, row: plans.ItemRow, item: Item) -> Mapping[str, object]:
    def query(sql: str, args: Sequence[object] = ()) -> list[sqlite3.Row]:
        return reader.execute(sql, args).fetchall()

    waits = row.state is ItemState.SET_NOT_ENFORCED
    return {
        "n": row.n,
        "service": row.service,
        "cpe": item.display.get("cpe"),
        "title": item.display.get("title", ""),
        "open": item.display.get("open", ""),
        "state": row.state.value,
        "reason": row.reason,
        "detail": row.detail,
        "overtaken": item_commands.acted_on_since(query, plan_id, item) if waits else "",
    }


def _step(row: plans.StepRow, step: Step, *, accepted: bool) -> Mapping[str, object]:
    """Return an attempt at a step, with its effect's verb, or the resource of its target that it writes."""
    return {
        "item": row.item,
        "step": row.n,
        "direction": row.direction.value,
        "attempt": row.attempt,
        "verdict": None if row.verdict is None else row.verdict.value,
        "reason": row.reason,
        "detail": row.detail,
        "bound": sorted(row.bound),
        "verb": step.do.verb if isinstance(step.do, Effect) else "set",
        "row": "" if isinstance(step.do, Effect) else step.do[0].address.removeprefix(f"{step.target}/"),
        "accepted": accepted,
    }


def _witnessed(call: ApiCall, seq: int | None) -> str:
    """Return the witnesses of the log up to an event; a cosignature comes a while after it."""
    if seq is None:
        return ""
    text = call.parts.witnessed(seq)
    expected = text == NOT_WITNESSED and call.parts.witnessed(1) != NOT_WITNESSED
    return f"{NOT_WITNESSED} yet" if expected else text


def _kept_out(call: ApiCall, row: PlanRow) -> str:
    """Return the reason why the rest of a change waits: a pause, or a closed window; "" where neither keeps it."""
    if row.finished_seq is not None or row.gate not in (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED):
        return ""
    if row.paused_by is not None:
        return call.parts.approvals.send_window(row).closed
    unsent = plans.counts(call.parts.store.reader, row) if row.gate is Gate.CONSUMED else Counter()
    return call.parts.approvals.send_window(row).closed if any(unsent[state] for state in UNSENT) else ""


def _waits_because(call: ApiCall, row: PlanRow) -> str:
    """Return why a change, or the rest of it, waits, or did not start; "" where it does not."""
    worker = call.parts.worker
    spared = Counter(worker.spared(row.short).values())
    told = "; ".join(f"{why}{f' ({n} items)' if n > 1 else ''}" for why, n in spared.most_common(_SPARED_SHOWN))
    not_started = worker.waiting.get(row.plan_id) if row.paused_by is None else ""
    waits = not_started or _void_because(call, row) or _kept_out(call, row)
    return waits or (f"waits {told}" if told else "")


def _void_because(call: ApiCall, row: PlanRow) -> str:
    """Return why a plan is void, by the agent's own event before its end; "" where it is not void."""
    if row.gate is not Gate.VOID:
        return ""
    kind = plans.last_event_before_end(call.parts.store.reader, row, tuple(_VOIDED))
    return "" if kind is None else _VOIDED[kind]


def read_ask(r: Reader) -> Ask:
    """Return the ask in a body that is no intent (docs/api.md, "The ask").

    Raises:
        MalformedStatementError: a field is missing, unknown or of another type.
        RequestError: an action that this route does not take.
    """
    action = r.enum("action", Action)
    if action is Action.EDIT:
        raise RequestError("subscriber-edit: expected an import of a list (ispagent subscriber import)")
    ask = Ask(
        action=action,
        refs=tuple(r.texts("refs")),
        on_tariff=r.text("on_tariff"),
        exclude=tuple(r.texts("exclude")),
        reason=request.reason_of(action, r.text("reason")),
        tariff=r.text("tariff"),
        on_failure=r.enum("on_failure", OnFailure),
        change=r.text("change"),
        alone=r.boolean("alone"),
        hold=r.boolean("hold"),
        all_services=r.boolean("all_services") if r.has("all_services") else False,
        settings=r.text_map("settings") if r.has("settings") else {},
        secrets=r.text_map("secrets") if r.has("secrets") else {},
    )
    r.done()
    return ask


_UNFINISHED: Final = frozenset(
    {
        ChangeState.WAITING_FOR_APPROVAL,
        ChangeState.APPROVED,
        ChangeState.RUNNING,
        ChangeState.WAITING_FOR_DEVICE,
    }
)
"""States of a change in which something may still become of it."""


def _summary(row: PlanRow, counts: Counter[ItemState], again: Mapping[int, DoneAgain]) -> dict[str, object]:
    state = plans.state_of(row, counts, again)
    return {
        "id": row.short,
        "plan_id": row.plan_id.hex(),
        "sha256": row.digest.hex(),
        "action": row.action,
        "class": row.risk,
        "reason": row.reason,
        "requester": row.requester,
        "state": state.value,
        "gate": row.gate.value,
        "hold": row.hold,
        "paused_by": row.paused_by or "",
        "exit": EXIT_CODES[state],
        "finished": state not in _UNFINISHED,
        "counts": {state.value: n for state, n in counts.items()},
        "made": moment_json(row.made_s),
        "start_by": moment_json(row.start_by.wall_s),
        "run_until": moment_json(row.run_until.wall_s),
    }


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/changes", CallerRole.ANYONE, "the ask, or intent", "the change", _ask),
    Route("GET", "/v1/changes", CallerRole.OPERATOR, "", "changes", _list_changes),
    Route("GET", "/v1/changes/{id}", CallerRole.VIEWER, "", "the change", _show),
    Route("POST", "/v1/changes/{id}/export", CallerRole.VIEWER, "", "what an approver needs", _export),
    Route("GET", "/v1/changes/{id}/watch", CallerRole.VIEWER, "", "events, one a line", _watch),
    Route("POST", "/v1/changes/{id}/apply", CallerRole.VIEWER, "", "the change", _apply),
    Route("POST", "/v1/changes/{id}/pause", CallerRole.VIEWER, "", "the change", _pause),
    Route("POST", "/v1/changes/{id}/resume", CallerRole.VIEWER, "", "the change", _resume),
    Route("GET", "/v1/changes/{id}/rest", CallerRole.VIEWER, "", "what can be asked for again", _rest),
    Route("POST", "/v1/changes/{id}/retry", CallerRole.VIEWER, "", "the change", _retry),
)
