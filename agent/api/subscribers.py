"""Routes of subscribers and their services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from agent.api import cpes
from agent.api.asked import item_results, unknown
from agent.api.call import BODY_BYTES, ApiCall, CallerRole, Route, number, unb64
from agent.api.lines import line_of
from agent.api.network import read_network, session_macs
from agent.changes.auditlog import history
from agent.changes.auditlog.history import ChangeFilter, ListedChange
from agent.changes.journal import plans, request
from agent.changes.journal.request import Ask, RequestError
from agent.changes.planning.preview import NothingToDoError
from agent.connectors.base import AddressHolder, UnreadableError
from agent.inventory import book, finding
from agent.inventory.billing import billing_json
from agent.model import Service
from agent.runtime.http import Response
from trust.errors import TrustError
from trust.moments import moment_json, moments_json
from trust.policy import Action

EDITS_SHOWN: Final = 50
"""Entries that an import may not write and nobody can be asked to approve: so many are named."""
CHANGES_SHOWN: Final = 5
"""Changes that a customer's page has without its whole history."""


async def _import_csv(call: ApiCall) -> Response:
    r = call.body()
    data, dry_run = unb64(r.text("csv", 2 * BODY_BYTES), "csv"), r.boolean("dry_run")
    r.done()
    imported = await call.parts.importer.run(data, call.who, dry_run=dry_run)
    asked = await _ask_edits(call, imported.edits) if imported.edits and not dry_run else {}
    return Response(200, {**imported.answer, **asked})


async def _ask_edits(call: ApiCall, edits: Sequence[Service]) -> dict[str, object]:
    """Ask for the change of the entries that an import may not write by itself; return its id, or why there is none."""
    p, now_s = call.parts, call.parts.clock.wall_s()
    texts = {service.ref: book.entry_text(service) for service in edits}
    try:
        pinned = p.trust.current(now_s)
        ask = Ask(Action.EDIT, tuple(texts), settings=texts)
        plan_id = await p.intake.plan(
            request.local(ask, call.request.peer_uid, p.people, pinned.trust, p.agent, now_s), pinned
        )
    except NothingToDoError as err:
        return {"edits_refused": [str(err), *err.lines[:EDITS_SHOWN]]}
    except (RequestError, TrustError, UnreadableError) as err:
        return {"edits_refused": [str(err)]}
    p.bell.ring()
    return {"change": plans.find(p.store.reader, plan_id.hex()).short}


async def _list_services(call: ApiCall) -> Response:
    wanted = call.request.query.get("tariff")
    services = book.services(call.parts.store.reader).values()
    return Response(200, [book.service_json(s) for s in services if wanted is None or s.tariff == wanted])


async def _find(call: ApiCall) -> Response:
    """Return the services that fit a text; of an IP address also those of its holders now."""
    p, q = call.parts, call.request.query
    limit = min(max(number(q.get("limit", str(finding.HITS)), "limit"), 1), finding.HITS_MAX)
    text = q.get("text", "")
    found = await finding.find(p.store, text, limit)
    answer: dict[str, object] = {"total": found.total, "more": found.more, "near": found.near}
    services = [book.service_json(s) for s in found.services]
    if (not services or found.near) and (served := finding.of_serial(p.store, text)):
        services = [book.service_json(s) for s in served]
        answer |= {"total": len(services), "near": False, "more": False}
    if (address := _address(text)) is not None:
        static = finding.addressed(p.store, [m.name for m in p.intake.access if m.addressed], address)
        services = [book.service_json(s) for s in static] + ([] if found.near else services)
        told = await p.holders.read(str(address))
        answer |= {"near": False, "total": len(services), "address": str(address), "not_checked": told.not_checked}
        answer["holders"] = [_holder(call, target, one) for target in sorted(told.found) for one in told.found[target]]
    return Response(200, {"services": services, **answer})


def _holder(call: ApiCall, target: str, holder: AddressHolder) -> dict[str, object]:
    services = finding.of_login(call.parts.store, holder.login)
    return {**asdict(holder), "target": target, "services": [book.service_json(s) for s in services]}


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip())
    except ValueError:
        return None


async def _show(call: ApiCall) -> Response:
    """Return all that is known of a customer; the network is asked now, unless `network` is 0."""
    p, ref, q = call.parts, call.values[0].strip(), call.request.query
    services = await finding.named(p.store, ref)
    refs = tuple(dict.fromkeys([*(s.ref for s in services), *history.services_named(p.store.reader, ref)]))
    if not refs:
        raise await unknown(call, ref)
    known = p.intake.billing.of_many(p.store.query, [s.subscriber for s in services], p.clock.wall_s())
    network = await read_network(call, services) if q.get("network") != "0" else {}
    await p.lines.note_macs(session_macs(network))
    await p.lines.refresh()
    limit = history.LIMIT_MAX if q.get("history") == "1" else CHANGES_SHOWN
    people = {s.subscriber for s in services}
    past = history.changes(p.store.reader, ChangeFilter(services=refs, limit=limit))
    return Response(
        200,
        {
            "services": [
                {
                    **book.service_json(s),
                    "billing": billing_json(known[s.subscriber]),
                    "network": network.get(s.ref),
                    "line": line_of(call, s),
                }
                for s in services
            ],
            "gone": [ref for ref in refs if ref not in {s.ref for s in services}],
            "billing": billing_json(known[people.pop()]) if len(people) == 1 else None,
            "cpes": [cpe for s in services for cpe in cpes.of_service(call, s.ref)],
            "reasons": [
                moments_json(asdict(reason), since_s="since") for reason in history.reasons(p.store.reader, refs)
            ],
            "changes": [_past(call, change) for change in past],
        },
    )


def _past(call: ApiCall, listed: ListedChange) -> dict[str, object]:
    """Return a change of a customer's services: its people, its reason, and the results of their items."""
    reader, row = call.parts.store.reader, listed.row
    return {
        "id": row.short,
        "made": moment_json(row.made_s),
        "action": row.action,
        "reason": row.reason,
        "requester": row.requester,
        "decisions": [asdict(d) for d in plans.decisions(reader, row)],
        "state": listed.state.value,
        "items": item_results(listed),
    }


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/subscribers/import", CallerRole.VIEWER, "csv, dry_run", "counts, problems", _import_csv),
    Route("GET", "/v1/subscribers", CallerRole.VIEWER, "", "services", _list_services),
    Route("GET", "/v1/subscriber-search", CallerRole.VIEWER, "", "services, total, more, near", _find),
    Route(
        "GET",
        "/v1/subscribers/{ref}",
        CallerRole.VIEWER,
        "",
        "services, network, billing, cpes, reasons, changes",
        _show,
    ),
)
