"""Routes of webhooks: list the sources that take calls, count refused calls, show the URL of a source."""

from __future__ import annotations

from agent.api.call import ApiCall, CallerRole, Route
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response


async def _hooks(call: ApiCall) -> Response:
    """Return the sources that are called, and how many calls were refused, by source and reason."""
    hooks = call.parts.billing.hooks
    if hooks is None:
        return Response(200, {"listening": False, "port": 0, "sources": [], "refused": {}})
    answer = {
        "listening": True,
        "port": hooks.port,
        "sources": list(hooks.sources),
        "refused": {source: dict(counts) for source, counts in hooks.refused.shown().items()},
    }
    return Response(200, answer)


async def _hook(call: ApiCall) -> Response:
    """Return the URL of a source's calls. Whoever has it can ring, and does no more with it."""
    hooks, source = call.parts.billing.hooks, call.values[0]
    if hooks is None or not (url := hooks.url_of(source)):
        names = ", ".join(hooks.sources if hooks is not None else ()) or "none has `hook = true`"
        why = f"source: expected one that is called ({names}), got {source[:40]!a}"
        raise HttpError(404, HttpReason.UNKNOWN_SOURCE, why)
    return Response(200, {"source": source, "url": url})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/billing/hooks", CallerRole.OPERATOR, "", "sources that are called, refused calls", _hooks),
    Route("GET", "/v1/billing/hooks/{source}", CallerRole.ADMIN, "", "the URL of its calls", _hook),
)
