"""The table of routes, and the dispatch by it."""

from __future__ import annotations

from agent.api import (
    agent,
    audit,
    backups,
    billing,
    changes,
    cpes,
    devices,
    doctor,
    drift,
    hooks,
    lines,
    report,
    reviews,
    secrets,
    statements,
    subscribers,
    trust,
)
from agent.api.call import ApiCall, ApiParts, Route, Strangers
from agent.changes.journal.request import RequestError
from agent.changes.planning.preview import NothingToDoError
from agent.connectors.base import UnreadableError
from agent.inventory.importing import ImportRefusedError
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response, StreamResponse
from agent.store.errors import LogCorruptError, RefusedCommandError
from trust.errors import MalformedError

ROUTES: tuple[Route, ...] = (
    *agent.ROUTES,
    *doctor.ROUTES,
    *trust.ROUTES,
    *secrets.ROUTES,
    *subscribers.ROUTES,
    *devices.ROUTES,
    *lines.ROUTES,
    *cpes.ROUTES,
    *drift.ROUTES,
    *changes.ROUTES,
    *statements.ROUTES,
    *reviews.ROUTES,
    *report.ROUTES,
    *billing.ROUTES,
    *hooks.ROUTES,
    *audit.ROUTES,
    *backups.ROUTES,
)
"""Every route there is."""


class Api:
    """Answers requests by the table of routes."""

    def __init__(self, parts: ApiParts) -> None:
        self.parts = parts
        self._strangers = Strangers()

    async def __call__(self, request_: HttpRequest) -> Response | StreamResponse:
        """Answer one request; every refusal is an HttpError with a code for programs."""
        segments = request_.segments
        allowed: list[str] = []
        for route in ROUTES:
            values = _match(route.path, segments)
            if values is None:
                continue
            allowed.append(route.method)
            if route.method == request_.method:
                call = ApiCall(self.parts, request_, values, self._strangers)
                call.require(route.role)
                return await _answer(route, call)
        if allowed:
            expected = f"{request_.path}: expected {' or '.join(allowed)}"
            raise HttpError(405, HttpReason.METHOD, f"{expected}, got {request_.method}")
        raise HttpError(404, HttpReason.NO_ROUTE, f"there is no {request_.path[:80]}: docs/api.md lists the routes")


async def _answer(route: Route, call: ApiCall) -> Response | StreamResponse:
    try:
        return await route.handler(call)
    except NothingToDoError as err:
        lines = list(err.lines)
        raise HttpError(409, HttpReason.NOTHING_TO_DO, "\n".join([str(err), *lines])) from err
    except RequestError as err:
        raise HttpError(
            403 if err.refused else 400, HttpReason.REFUSED if err.refused else HttpReason.BAD_REQUEST, str(err)
        ) from err
    except (MalformedError, ImportRefusedError) as err:
        raise HttpError(400, HttpReason.BAD_REQUEST, str(err)) from err
    except RefusedCommandError as err:
        status = 404 if err.reason.startswith("unknown-") else 403
        raise HttpError(status, err.reason, str(err)) from err
    except UnreadableError as err:
        status = 409 if err.reason == "missing-secret" else 503
        raise HttpError(status, err.reason, str(err)) from err
    except LogCorruptError as err:
        raise HttpError(500, HttpReason.LOG_CORRUPT, str(err)) from err


def _match(path: str, segments: tuple[str, ...]) -> tuple[str, ...] | None:
    parts = path.split("/")[1:]
    if len(parts) != len(segments):
        return None
    values = []
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{"):
            values.append(segment)
        elif part != segment:
            return None
    return tuple(values)
