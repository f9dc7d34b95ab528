"""Routes of the audit log."""

from __future__ import annotations

import trio

from agent.api.asked import asked_period, asked_person, asked_services
from agent.api.call import ApiCall, CallerRole, Route, number
from agent.changes.auditlog import history
from agent.changes.auditlog.history import EventFilter
from agent.changes.journal import plans
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response


async def _list_events(call: ApiCall) -> Response:
    q = call.request.query
    wanted = EventFilter(
        period=asked_period(call),
        plan=plans.find(call.parts.store.reader, q["change"]) if "change" in q else None,
        services=await asked_services(call),
        by=asked_person(call),
        after=number(q.get("after", "0"), "after"),
        newest_first=q.get("newest") == "1",
        limit=min(number(q.get("limit", "1000"), "limit"), history.LIMIT_MAX),
    )
    found = await history.events(call.parts.evidence, call.parts.vault, wanted)
    return Response(200, [e.as_json() for e in found])


async def _verify(call: ApiCall) -> Response:
    leaves = await trio.to_thread.run_sync(call.parts.evidence.verify)
    note = await call.parts.evidence.checkpoint()
    return Response(
        200,
        {
            "leaves": leaves,
            "checkpoint": note.decode(),
            "vkey": call.parts.evidence.vkey,
            "witnessed_text": call.parts.witnessed(1),
        },
    )


async def _proof(call: ApiCall) -> Response:
    seq = number(call.values[0], "event")
    size = call.parts.evidence.head()[0]
    if not 1 <= seq <= size:
        raise HttpError(404, HttpReason.UNKNOWN_EVENT, f"there is no event {seq}: the log has events 1 to {size}")
    opened = call.request.query.get("open") == "1"
    if opened:
        await call.parts.evidence.note_opened(seq, call.who)
    data = await call.parts.evidence.prove(seq, opened=opened)
    return Response(200, {"file": data.decode()})


async def _export(call: ApiCall) -> Response:
    row = plans.find(call.parts.store.reader, call.values[0])
    await call.parts.evidence.note_export(row, call.who)
    data = await call.parts.evidence.export(row, opened=call.request.query.get("open") == "1")
    return Response(200, {"file": data.decode()})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/audit", CallerRole.VIEWER, "", "events", _list_events),
    Route("GET", "/v1/audit/verify", CallerRole.OPERATOR, "", "leaves, checkpoint, vkey, witnessed_text", _verify),
    Route("GET", "/v1/audit/proof/{seq}", CallerRole.VIEWER, "", "file", _proof),
    Route("POST", "/v1/audit/export/{id}", CallerRole.VIEWER, "", "file", _export),
)
