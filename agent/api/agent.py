"""Routes of the agent itself: status, control plane, clock."""

from __future__ import annotations

from agent.api import billing, reviews
from agent.api.call import ApiCall, ApiParts, CallerRole, Route
from agent.api.overview import overview, source_json
from agent.changes.auditlog.witnesses import NOT_WITNESSED
from agent.changes.authority.standings import InForce
from agent.changes.drifting import counts_json
from agent.changes.journal import plans
from agent.changes.journal.trust_state import freezes
from agent.inventory import book
from agent.runtime.http import Response
from trust.moments import moment_json, moments_json


async def _status(call: ApiCall) -> Response:
    p = call.parts
    size, root = p.evidence.head()
    pinned = p.trust.pinned
    counts = {gate.value: n for gate, n in plans.gates(p.store.reader).items()}
    frozen = freezes(p.store.query, p.clock.wall_s())
    seen, last = overview(p), p.backups.last()
    return Response(
        200,
        {
            "condition": seen.condition.value,
            "problems": list(seen.problems),
            "sources": [source_json(source) for source in seen.sources],
            "disk": {"free": seen.disk_free, "size": seen.disk_size, "files": seen.files},
            "backup": {
                "made_at": moment_json(last and last.made_s),
                "log_size": 0 if last is None else last.log_size,
                "problem": p.backups.problem() if p.backups.wanted else "",
            },
            "agent": p.handle,
            "agent_id": p.agent,
            "words": p.words,
            "trust_version": pinned.trust.version if pinned else None,
            "trust_expires": moment_json(pinned and pinned.trust.expires),
            "trust_doubt": p.trust.doubt(),
            "trust_warning": p.trust.warning(p.clock.wall_s()),
            "log": {
                "size": size,
                "root": root.hex(),
                "vkey": p.evidence.vkey,
                "witnessed": p.witnessed(1) != NOT_WITNESSED,
                "witnessed_text": p.witnessed(1),
            },
            "changes": counts,
            "reviews": reviews.summary(call),
            "frozen": [
                {"scope": scope, "target": target, "person": person, "statement": envelope.decode()}
                for (scope, target, person), envelope in zip(frozen.rows, frozen.envelopes, strict=True)
            ],
            "standings": [_standing(found) for found in p.approvals.standings.in_force(p.clock.wall_s())],
            "cloud": _cloud_json(p),
            "clock_halt": p.clock_watch.halted(),
            "billing_problem": p.importer.billing_problem(),
            "billing": billing.sources(p),
            "restores_waiting": len(p.paid.queue()),
            "targets": list(p.targets),
            "devices": p.devices.counts(),
            "series_crowded": [
                {"device": target.partition("/")[2], "dropped": dropped, "refused": refused}
                for target, (dropped, refused) in p.series.crowded().items()
            ],
            "silent_credentials": [one.text(p.clock.wall_s()) for one in p.lines.last.silent_credentials],
            "cpes": None if p.cpes is None else p.cpes.counts(),
            "services": book.count_services(p.store.reader),
            "drift": counts_json(p.drift.last(), running=p.drift.running),
        },
    )


async def _cloud(call: ApiCall) -> Response:
    return Response(200, _cloud_json(call.parts))


async def _accept_clock(call: ApiCall) -> Response:
    call.body().done()
    await call.parts.clock_watch.accept(call.who)
    call.parts.worker.poke()
    return Response(200, {"accepted": True})


def _cloud_json(p: ApiParts) -> dict[str, object]:
    """Return how the connection to the control plane stands."""
    return moments_json(
        p.cloud(), sent_s="sent_at", received_s="received_at", since_s="since", certificate_until_s="certificate_until"
    )


def _standing(found: InForce) -> dict[str, object]:
    standing = found.standing
    return {
        "id": standing.standing_id,
        "verb": standing.verb.value,
        "evidence": standing.evidence.value,
        "rate_per_hour": standing.rate_per_hour,
        "not_after": moment_json(standing.not_after * 60),
        "people": list(found.people),
    }


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/status", CallerRole.ANYONE, "", "agent, trust, log, changes", _status),
    Route("GET", "/v1/cloud", CallerRole.ANYONE, "", "enrolled, connected, outbox…", _cloud),
    Route("POST", "/v1/clock/accept", CallerRole.OPERATOR, "", "accepted", _accept_clock),
)
