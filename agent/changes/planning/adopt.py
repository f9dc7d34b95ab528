"""Adopting: the record is made to agree with the network, as a change with its author. Nothing is sent.

* It is planned from a reading of now, and each item names it: an approver signs for the new record. The resources
  that it was read from must still read so when it is recorded.
* A revert of it takes the record back and leaves the network alone, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.changes.journal.item_commands import repeated_by
from agent.changes.journal.machine import TOUCHED, Gate
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import Request, RequestError
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.intake import select
from agent.changes.planning.preview import Previewer, Scope, title
from agent.connectors.base import AccessMethod, AccessPlan, CannotEnforce, NetworkState, UnreadableError
from agent.connectors.spec import AccessMap
from agent.inventory import book, mapping_check
from agent.model import (
    Access,
    DesiredChange,
    Effect,
    Item,
    Listed,
    ReasonChange,
    Service,
    ServiceState,
    SuspensionReason,
    TariffChange,
    write_changes,
)
from agent.reasons import SkipReason
from agent.runtime.clock import Clock
from agent.services import drift
from agent.services.drift import ServiceReading
from agent.services.network import Readings, as_read
from agent.services.verbs import Leave
from agent.store.db import Store
from trust import chance


@dataclass(frozen=True, slots=True)
class Adopter:
    """Plans adoptions: implements `agent.changes.planning.intake.Planner`."""

    store: Store
    previewer: Previewer
    access: Sequence[AccessMap]
    clock: Clock

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that records the network's state of the services asked for.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing differs, or policy refuses.
        """
        services = book.services(self.store.reader)
        selected = select(request.ask, services)
        shared = {r for s in mapping_check.check(services.values(), self.access).shared_logins for r in s.refs}
        asked = {s.ref: replace(s, reasons=frozenset()) for s in selected if s.ref not in shared}
        read = await self.previewer.network.read(list(asked.values()))
        items = [self._item(s, asked.get(s.ref), read, request.ask.reason) for s in selected]
        return await self.previewer.propose(request, items, _scope(services), pinned)

    async def revert(self, request: Request, loaded: Loaded, pinned: Pinned) -> bytes:
        """Return the id of the plan that takes the record of an adoption back.

        Raises:
            RequestError: nothing of it stands, or nothing of it can be taken back.
        """
        row = loaded.row
        if row.gate is not Gate.CONSUMED:
            raise RequestError(f"{row.short} has nothing to revert: it is {row.gate.value}", refused=True)
        services = book.services(self.store.reader)
        stand = [i for i in loaded.items.items if loaded.rows[i.n].state in TOUCHED and i.subject in services]
        if not stand:
            raise RequestError(f"{row.short} has nothing to revert: no item of it stands")
        items = [self._taken_back(services[i.subject or ""], i, row.plan_id) for i in stand]
        scope = _scope(services, reverts=row.plan_id, source=f"reverts {row.short}")
        return await self.previewer.propose(request, items, scope, pinned)

    def _item(self, service: Service, asked: Service | None, read: Readings, reason: SuspensionReason) -> Item:
        """Return the item of a service. `asked`: the service as the network was asked for it; None: it was not."""
        if asked is None:
            why = "its login is that of another service too"
            return _left(service, Leave(SkipReason.SHARED_LOGIN, why, blocked=True))
        state = read.held(asked, suspended=bool(service.reasons))
        if isinstance(state, UnreadableError):
            return _left(service, Leave(SkipReason.UNREACHABLE, str(state), blocked=True))
        mapped = {one.name: one for one in self.access}.get(service.method)
        has_tariffs = mapped is not None and service.tariff in mapped.tariffs
        method = self.previewer.network.access_methods[service.method]
        reading = ServiceReading(state, method.target, int(self.clock.wall_s()), has_tariffs)
        adopted = drift.adopt(service, reading, reason)
        if isinstance(adopted, Leave):
            return _left(service, adopted)
        planned = _planned(method, asked, state, read)
        if isinstance(planned, Leave):
            return _left(service, planned)
        reads = "suspended at the next login" if state.access is Access.SUSPENDED else "full service at the next login"
        tariff = f", tariff {state.tariff}" if state.tariff else ""
        item = _recording(service, adopted, f"{method.target} reads: {reads}{tariff}")
        rests_on = (as_read(where, read.seen[where].value) for where in planned.rests_on)
        check = None if planned.steps else planned.enforce
        return replace(item, requires=(*item.requires, *rests_on), enforce=check)

    def _taken_back(self, service: Service, adopted: Item, plan_id: bytes) -> Item:
        if book.with_desired(service, adopted.desired) != service:
            return _left(service, Leave(SkipReason.CHANGED_SINCE, "its record was changed since"))
        if by := repeated_by(self.store.query, plan_id, adopted.subject, adopted.desired):
            return _left(service, Leave(SkipReason.CHANGED_SINCE, f"change {by} did the same to it since"))
        return _recording(service, book.opposite(adopted.desired), "")


def _planned(method: AccessMethod, asked: Service, state: NetworkState, read: Readings) -> AccessPlan | Leave:
    """Return the plan by which the method finds that nothing is to be written for the state that it reads.

    The adoption is recorded only while the readings of that plan hold.
    """
    if state.access is None:
        return Leave(SkipReason.NOT_ADOPTABLE, "its access is not told", blocked=True)
    tariff = state.tariff or asked.tariff
    planned = method.plan(ServiceState(state.access, tariff), replace(asked, tariff=tariff), read.seen)
    if isinstance(planned, CannotEnforce):
        return Leave(SkipReason.NOT_ADOPTABLE, planned.detail, blocked=True)
    if any(not isinstance(step.do, Effect) for step in planned.steps):
        why = "its login's rows are none that this agent would leave as they are"
        return Leave(SkipReason.NOT_ADOPTABLE, why, blocked=True)
    return planned


def _scope(services: Mapping[str, Service], *, reverts: bytes | None = None, source: str = "") -> Scope:
    active = sum(1 for service in services.values() if not service.reasons)
    return Scope(active, None, False, reverts=reverts, source=source or "the network, read now")


def _recording(service: Service, desired: tuple[DesiredChange, ...], now: str) -> Item:
    told = ", ".join(map(_change_text, desired))
    display = {**_shown(service), "now": now, "after": f"the record says: {told}; nothing is sent"}
    return Item(
        n=1,
        salt=chance.token_hex(16),
        subject=service.ref,
        listed=Listed.CHANGE,
        reason="",
        display={key: text for key, text in display.items() if text},
        requires=(book.as_previewed(service),),
        desired=desired,
    )


def _left(service: Service, leave: Leave) -> Item:
    return Item(
        n=1,
        salt=chance.token_hex(16),
        subject=service.ref,
        listed=Listed.BLOCKED if leave.blocked else Listed.EXCLUDED,
        reason=leave.code,
        display={**_shown(service), "why_not": leave.why},
    )


def _shown(service: Service) -> dict[str, str]:
    return {"title": title(service), "login": service.login, "tariff": service.tariff}


def _change_text(change: DesiredChange) -> str:
    if isinstance(change, TariffChange):
        return f"tariff {change.after} instead of {change.before}"
    if isinstance(change, ReasonChange):
        return f"{'suspended' if change.added else 'no longer suspended'} for {change.reason}"
    return ", ".join(write_changes([change]))  # an adoption has no other
