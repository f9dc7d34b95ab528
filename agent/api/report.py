"""Route of the report."""

from __future__ import annotations

from agent.api.asked import asked_period
from agent.api.billing import sources
from agent.api.call import ApiCall, CallerRole, Route
from agent.changes.auditlog import report
from agent.changes.auditlog.report import ReportColumn
from agent.inventory import ledger
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response

_BY = ("day", "tariff")


async def _report(call: ApiCall) -> Response:
    p = call.parts
    by = [word for word in call.request.query.get("by", ",".join(_BY)).split(",") if word]
    if wrong := [word for word in by if word not in _BY]:
        raise HttpError(400, HttpReason.BAD_REQUEST, f"by: expected {' or '.join(_BY)}, got {', '.join(wrong)[:40]}")
    rows = await report.report(p.store.reader, p.vault, p.intake.previewer.timezone, asked_period(call), by)
    found = [
        {"day": r.day, "tariff": r.tariff, **{column.value: r.counts.get(column, 0) for column in ReportColumn}}
        for r in rows
    ]
    columns = [column.value for column in ReportColumn]
    return Response(200, {"by": by, "columns": columns, "rows": found, "billing": await _billing(call)})


async def _billing(call: ApiCall) -> dict[str, object] | None:
    """Return the payers that were restored in the period, and billing's pending work; None: it has no source."""
    p = call.parts
    if not p.billing.names:
        return None
    return {
        "payers_restored": report.payers_restored(p.store.reader, p.paid.handle, asked_period(call)),
        "waiting": len(p.paid.queue()),
        "for_people": len(await p.paid.for_people()),
        "unmatched": len(ledger.unmatched(p.store.query)),
        "sources": sources(p),
    }


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/report", CallerRole.OPERATOR, "", "by, columns, rows, billing", _report),
)
