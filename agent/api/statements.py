"""Route of signed statements: approvals, cancels, freezes, standing authorities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from agent.api.call import BODY_BYTES, ApiCall, CallerRole, Route, b64, unb64
from agent.changes.authority.approval import StatementAnswer
from agent.changes.journal import plans
from agent.changes.journal.commands import PlanRow
from agent.changes.remote.inbox_handler import is_stop
from agent.runtime.http import Response
from agent.store.mail import Post, PostAll


async def _submit(call: ApiCall) -> Response:
    r = call.body()
    data = unb64(r.text("envelope", BODY_BYTES), "envelope")
    change = r.text("change")
    links = [unb64(text, "links") for text in r.texts("links", BODY_BYTES)] if r.has("links") else []
    r.done()
    only = plans.find(call.parts.store.reader, change) if change else None
    answers = await _submitted(call, data, only, links, known=call.may(CallerRole.OPERATOR))
    # On the board as well: who sent it in vain through the control plane waits for it there
    await call.parts.store.run(PostAll(tuple(Post("receipt", a.receipt) for a in answers if a.receipt)))
    call.parts.worker.poke()
    call.parts.bell.ring()
    return Response(200, [{**asdict(a), "receipt": b64(a.receipt)} for a in answers])


async def _submitted(
    call: ApiCall, data: bytes, only: PlanRow | None, links: Sequence[bytes], *, known: bool
) -> list[StatementAnswer]:
    """Hand a statement in; refusals of unknown users count: each leaves a leaf. A stop is always taken."""
    p, now_s = call.parts, call.parts.clock.wall_s()
    if not known and not (p.trust.pinned and is_stop(data, p.trust.pinned.trust, int(now_s))):
        call.strangers.admit(now_s)
    refused = True
    try:
        answers = await p.approvals.submit(data, only, links=links)
        refused = any(not a.accepted for a in answers)
    finally:
        if refused and not known:
            call.strangers.count(now_s)
    return answers


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/statements", CallerRole.ANYONE, "envelope, change, links", "answers with receipts", _submit),
)
