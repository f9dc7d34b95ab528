"""Routes of the differences between the record and the network."""

from __future__ import annotations

from agent.api.call import ApiCall, CallerRole, Route
from agent.changes.drifting import counts_json
from agent.inventory import book, drift_book
from agent.inventory.drift_book import SeenDifference
from agent.runtime.http import Response
from trust.moments import moment_json


async def _show(call: ApiCall) -> Response:
    watch, query = call.parts.drift, call.parts.store.query
    return Response(
        200,
        {
            "round": counts_json(watch.last(), running=watch.running),
            "running": watch.running,
            "services": book.count_services(call.parts.store.reader),
            "differences": [_difference(one) for one in drift_book.differences(query)],
            "not_checked": [{"subject": one.subject, "why": one.why} for one in drift_book.unread(query)],
        },
    )


async def _start(call: ApiCall) -> Response:
    call.body().done()
    call.parts.drift.start()
    return Response(200, {"running": True})


def _difference(seen: SeenDifference) -> dict[str, object]:
    one = seen.difference
    return {
        "subject": one.subject,
        "code": one.code,
        "wanted": one.wanted,
        "reads": one.reads,
        "where": one.where,
        "read_at": moment_json(one.read_s),
        "first_seen": moment_json(seen.first_s),
        "known": one.known,
        "asks": [{"command": command, "meaning": meaning} for command, meaning in one.asks],
    }


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/drift", CallerRole.VIEWER, "", "round, running, services, differences, not_checked", _show),
    Route("POST", "/v1/drift", CallerRole.OPERATOR, "", "running", _start),
)
