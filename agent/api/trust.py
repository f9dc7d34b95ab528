"""Routes of the trust document in force."""

from __future__ import annotations

from agent.api.call import BODY_BYTES, ApiCall, CallerRole, Route, b64, unb64
from agent.runtime.http import Response
from trust import chain
from trust import envelope as envelopes
from trust.moments import moment_json


async def _show(call: ApiCall) -> Response:
    pinned = call.parts.trust.pinned
    if pinned is None:
        return Response(200, {"version": None, "doubt": ""})
    envelope = call.parts.trust.envelope(pinned)
    return Response(
        200,
        {
            "version": pinned.trust.version,
            "sha256": pinned.sha256.hex(),
            "words": chain.head_words(envelopes.decode_untrusted(envelope)),
            "expires": moment_json(pinned.trust.expires),
            "people": [
                {"handle": p.handle, "roles": [r.value for r in p.roles], "sees_subscribers": p.sees_subscribers}
                for p in pinned.trust.people
            ],
            "policy": [
                {"class": c.risk_class.value, "approvals": c.approvals, "max_items": c.max_items}
                for c in pinned.trust.policy
            ],
            "envelope": b64(envelope),
            "doubt": call.parts.trust.doubt(),
        },
    )


async def _install(call: ApiCall) -> Response:
    r = call.body()
    document, words = unb64(r.text("document", BODY_BYTES), "document"), r.text("words")
    r.done()
    pinned = await call.parts.trust.install(document, words, call.parts.clock.wall_s())
    call.parts.worker.poke()
    return Response(200, {"version": pinned.trust.version, "sha256": pinned.sha256.hex()})


async def _accept(call: ApiCall) -> Response:
    r = call.body()
    words = r.text("words")
    r.done()
    await call.parts.trust.end_doubt(words)
    call.parts.worker.poke()
    return Response(200, {"accepted": True})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/trust", CallerRole.ANYONE, "", "version, words, people, policy, envelope, doubt", _show),
    Route("POST", "/v1/trust", CallerRole.ADMIN, "document, words", "version, sha256", _install),
    Route("POST", "/v1/trust/accept", CallerRole.ADMIN, "words", "accepted", _accept),
)
