"""Routes of subscribers and their services."""

from __future__ import annotations

from agent.api import cpes
from agent.api.call import BODY_BYTES, ApiCall, CallerRole, Route, number, unb64
from agent.inventory import book, finding
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response


async def _import_csv(call: ApiCall) -> Response:
    r = call.body()
    data, dry_run = unb64(r.text("csv", 2 * BODY_BYTES), "csv"), r.boolean("dry_run")
    r.done()
    return Response(200, await call.parts.importer.run(data, call.who, dry_run=dry_run))


async def _list_services(call: ApiCall) -> Response:
    wanted = call.request.query.get("tariff")
    services = book.services(call.parts.store.reader).values()
    return Response(200, [book.service_json(s) for s in services if wanted is None or s.tariff == wanted])


async def _find(call: ApiCall) -> Response:
    q = call.request.query
    limit = min(max(number(q.get("limit", str(finding.HITS)), "limit"), 1), finding.HITS_MAX)
    found = await finding.find(call.parts.store, q.get("text", ""), limit)
    services = [book.service_json(s) for s in found.services]
    return Response(200, {"services": services, "total": found.total, "more": found.more, "near": found.near})


async def _show(call: ApiCall) -> Response:
    services = book.services(call.parts.store.reader)
    found = [s for s in services.values() if s.ref == call.values[0] or s.subscriber == call.values[0]]
    if not found:
        raise HttpError(404, HttpReason.UNKNOWN_SERVICE, f"there is no subscriber or service {call.values[0]}")
    fact = book.facts(call.parts.store.reader).get(found[0].subscriber)
    return Response(
        200,
        {
            "services": [book.service_json(s) for s in found],
            "billing": book.fact_json(fact, call.parts.clock.wall_s()),
            "cpes": [cpe for s in found for cpe in cpes.of_service(call, s.ref)],
        },
    )


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/subscribers/import", CallerRole.OPERATOR, "csv, dry_run", "counts, problems", _import_csv),
    Route("GET", "/v1/subscribers", CallerRole.OPERATOR, "", "services", _list_services),
    Route("GET", "/v1/subscriber-search", CallerRole.OPERATOR, "", "services, total, more, near", _find),
    Route("GET", "/v1/subscribers/{ref}", CallerRole.OPERATOR, "", "services, billing, cpes", _show),
)
