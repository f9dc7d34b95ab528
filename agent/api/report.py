"""Route of the report."""

from __future__ import annotations

from agent.api.asked import asked_period
from agent.api.call import ApiCall, CallerRole, Route
from agent.changes.auditlog import report
from agent.changes.auditlog.report import ReportColumn
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
    return Response(200, {"by": by, "columns": [column.value for column in ReportColumn], "rows": found})


ROUTES: tuple[Route, ...] = (Route("GET", "/v1/report", CallerRole.OPERATOR, "", "by, columns, rows", _report),)
