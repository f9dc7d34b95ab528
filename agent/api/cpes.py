"""Routes of CPE: the devices in customers' houses."""

from __future__ import annotations

from typing import Final

from agent.api.call import ApiCall, CallerRole, Route, number
from agent.cpe.desk import CpeDesk
from agent.cpe.planner import NO_ACS
from agent.cpe.query import BadQueryError, parse_query, parse_tag
from agent.cpe_model.known import Acceptance
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response, StreamResponse

MOST_SESSIONS: Final = 10
MOST_S: Final = 600

BINDING: Final = "a CPE is bound to a service by a change that somebody else approves"

LIMIT: Final = 200
"""CPE of one page unless it is asked for more or less."""
LIMIT_MAX: Final = 1000


def _desk(call: ApiCall) -> CpeDesk:
    if call.parts.cpes is None:
        raise HttpError(404, HttpReason.NO_ACS, NO_ACS)
    return call.parts.cpes


def of_service(call: ApiCall, ref: str) -> list[dict[str, object]]:
    """Return the CPE of a service, for the subscriber's page; empty where the agent has no ACS."""
    return [] if call.parts.cpes is None else call.parts.cpes.of_service(ref)


async def _list_cpes(call: ApiCall) -> Response:
    """Return a page of CPE. `where`: conditions, one a line; `after`: the last name of the page before."""
    q = call.request.query
    limit = min(number(q.get("limit", str(LIMIT)), "limit"), LIMIT_MAX)
    try:
        conditions = parse_query([line for line in q.get("where", "").split("\n") if line.strip()])
    except BadQueryError as err:
        raise HttpError(400, HttpReason.BAD_REQUEST, f"where: {err}") from err
    return Response(200, await _desk(call).page(conditions, q.get("after", ""), limit))


async def _tag(call: ApiCall) -> Response:
    r = call.body()
    add, remove = r.texts("add"), r.texts("remove")
    r.done()
    try:
        tags = [parse_tag(text) for text in (*add, *remove)]
    except BadQueryError as err:
        raise HttpError(400, HttpReason.BAD_REQUEST, str(err)) from err
    cpe = _desk(call).find(call.values[0])
    found = await _desk(call).tag(cpe, call.who, tags[: len(add)], tags[len(add) :])
    return Response(200, {"name": cpe.name, "tags": list(found)})


async def _show(call: ApiCall) -> Response:
    return Response(200, _desk(call).shown(_desk(call).find(call.values[0])))


async def _values(call: ApiCall) -> Response:
    """Return a page of values. `below`: path, name or test; `after`: the last path of the page before."""
    q = call.request.query
    return Response(200, _desk(call).values(_desk(call).find(call.values[0]), q.get("below", ""), q.get("after", "")))


async def _history(call: ApiCall) -> Response:
    return Response(200, _desk(call).history(_desk(call).find(call.values[0]), call.request.query.get("of", "")))


async def _refresh(call: ApiCall) -> Response:
    r = call.body()
    wanted, timeout_s = r.texts("names"), r.integer("timeout_s", 1, 3600)
    r.done()
    cpe = _desk(call).find(call.values[0])
    problems = await _desk(call).refresh(cpe, wanted, timeout_s)
    return Response(200, {"problems": list(problems), **_desk(call).shown(_desk(call).find(cpe.name))})


async def _trace(call: ApiCall) -> StreamResponse:
    query = call.request.query
    sessions = number(query.get("sessions", "1"), "sessions")
    timeout_s = number(query.get("timeout_s", "60"), "timeout_s")
    if not 1 <= sessions <= MOST_SESSIONS or not 1 <= timeout_s <= MOST_S:
        expected = f"expected 1 to {MOST_SESSIONS} sessions and a timeout of 1 to {MOST_S} s"
        raise HttpError(400, HttpReason.BAD_REQUEST, expected)
    return StreamResponse(_desk(call).trace(_desk(call).find(call.values[0]), sessions, timeout_s))


async def _decide(call: ApiCall) -> Response:
    r = call.body()
    trust, service = r.text("trust"), r.text("service") if r.has("service") else None
    forget = r.boolean("forget")
    r.done()
    if trust not in ("", Acceptance.ACCEPTED.value, Acceptance.REFUSED.value, Acceptance.QUARANTINED.value):
        raise HttpError(
            400, HttpReason.BAD_REQUEST, f"trust: expected accepted, refused or quarantined, got {trust[:40]}"
        )
    cpe = _desk(call).find(call.values[0])
    if service:
        told = f"{BINDING}: ispagent cpe accept {cpe.name} --service {service[:80]}"
        raise HttpError(400, HttpReason.BAD_REQUEST, told)
    decided = Acceptance(trust) if trust else None
    found = await _desk(call).decide(cpe, call.who, trust=decided, unbind=service is not None, forget=forget)
    return Response(200, {} if found is None else _desk(call).shown(found))


async def _clear(call: ApiCall) -> Response:
    call.body().done()
    cleared = await _desk(call).clear(_desk(call).find(call.values[0]), call.who)
    return Response(200, {"cleared": cleared})


async def _matrix(call: ApiCall) -> Response:
    return Response(200, _desk(call).matrix())


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/cpes", CallerRole.VIEWER, "", "CPE", _list_cpes),
    Route("GET", "/v1/cpes/{name}", CallerRole.VIEWER, "", "the CPE, as last known", _show),
    Route("GET", "/v1/cpes/{name}/values", CallerRole.VIEWER, "", "parameters, as last known", _values),
    Route("GET", "/v1/cpes/{name}/history", CallerRole.VIEWER, "", "earlier values of a parameter", _history),
    Route("POST", "/v1/cpes/{name}/refresh", CallerRole.VIEWER, "names, timeout_s", "problems, the CPE", _refresh),
    Route("GET", "/v1/cpes/{name}/trace", CallerRole.VIEWER, "sessions, timeout_s", "messages as they come", _trace),
    Route("POST", "/v1/cpes/{name}/decide", CallerRole.VIEWER, "trust, service, forget", "the CPE", _decide),
    Route("POST", "/v1/cpes/{name}/tags", CallerRole.VIEWER, "add, remove", "its tags", _tag),
    Route("POST", "/v1/cpes/{name}/clear", CallerRole.VIEWER, "", "cleared", _clear),
    Route("GET", "/v1/cpe-matrix", CallerRole.OPERATOR, "", "a row for each model and workflow", _matrix),
)
