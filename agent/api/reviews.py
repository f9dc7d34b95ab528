"""Routes of reviews: changes that one person made alone."""

from __future__ import annotations

from agent.api.call import ApiCall, CallerRole, Route, b64
from agent.changes.authority import reviews
from agent.changes.authority.reviews import Review
from agent.changes.journal import plans
from agent.runtime.http import Response
from trust.moments import moment_json


async def _list_reviews(call: ApiCall) -> Response:
    found = reviews.reviews(call.parts.store.reader, closed=call.request.query.get("closed") == "1")
    return Response(200, [_review(call, review) for review in found])


def _review(call: ApiCall, review: Review) -> dict[str, object]:
    row = review.row
    counts = plans.counts(call.parts.store.reader, row)
    return {
        "id": row.short,
        "action": row.action,
        "reason": row.reason,
        "person": row.requester,
        "state": plans.state_now(call.parts.store.reader, row).value,
        "counts": {state.value: n for state, n in counts.items()},
        "opened_at": moment_json(review.opened_s),
        "closed_at": moment_json(review.closed_s),
        "closed_by": review.person,
        "verdict": review.verdict,
        "envelope": b64(review.envelope),
    }


def summary(call: ApiCall) -> dict[str, object]:
    """Return how many reviews are open, and since when the oldest is, for the status."""
    found = reviews.reviews(call.parts.store.reader)
    return {"open": len(found), "oldest_at": moment_json(found[0].opened_s) if found else None}


ROUTES: tuple[Route, ...] = (Route("GET", "/v1/reviews", CallerRole.OPERATOR, "", "reviews", _list_reviews),)
