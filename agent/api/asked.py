"""Common queries of lists (services, a person, a period), and rows of several answers."""

from __future__ import annotations

from agent.api.call import ApiCall, CallerRole, asked_moment
from agent.changes.auditlog import history
from agent.changes.auditlog.history import ListedChange, Period
from agent.inventory import finding
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from trust.policy import Action


def asked_period(call: ApiCall) -> Period:
    """Return the period that `since` and `until` name."""
    q = call.request.query
    return Period(asked_moment(q, "since"), asked_moment(q, "until"))


def asked_person(call: ApiCall) -> str:
    """Return the person that `by` names, or the caller where `mine` is 1; "": nobody is asked for."""
    q = call.request.query
    return call.who if q.get("mine") == "1" else q.get("by", "")


async def asked_services(call: ApiCall) -> tuple[str, ...] | None:
    """Return the services that `for` means; None: it is not asked for.

    A service that left the inventory may still have a history.

    Raises:
        HttpError: nothing is called that, and nothing was; or the caller may not see subscribers.
    """
    ref = call.request.query.get("for")
    if ref is None:
        return None
    call.require(CallerRole.VIEWER)
    known = [service.ref for service in await finding.named(call.parts.store, ref)]
    known += history.services_named(call.parts.store.reader, ref.strip())
    if not known:
        raise await unknown(call, ref)
    return tuple(dict.fromkeys(known))


def item_results(listed: ListedChange) -> list[dict[str, object]]:
    """Return where items of a change in a list stand."""
    on_cpe = Action(listed.row.action).on_cpe
    return [
        {"service": i.service, "state": i.state.value, "reason": i.reason, "detail": i.detail, "on_cpe": on_cpe}
        for i in listed.items
    ]


async def unknown(call: ApiCall, ref: str) -> HttpError:
    """Return the refusal that there is no such service, with those that are called nearly so."""
    near = await finding.suggested(call.parts.store, ref)
    hint = f" (did you mean {', '.join(near)}?)" if near else f": ispagent subscriber find {ref[:40]}"
    told = f"there is no subscriber, service, login or MAC address {ref[:80]}{hint}"
    return HttpError(404, HttpReason.UNKNOWN_SERVICE, told)
