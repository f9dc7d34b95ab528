"""Acceptance of CPE by an approved plan: from then on secrets may go into them.

Accepting a CPE for a service hands it that subscriber's password, and the agent's own secrets, as soon as a baseline or
a person sends them. So it is a change: previewed, approved by another person that saw the CPE and its service, and in
the log. It has no steps: nothing is sent. Its record says which plan accepted the CPE (`Cpe.assured`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.changes.journal.request import CPE, Ask, Request, RequestError
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.preview import Scope
from agent.changes.planning.preview import title as service_title
from agent.cpe import requirements, store
from agent.cpe import verbs as cpe_verbs
from agent.cpe.intake import CpeIntake
from agent.cpe.reasons import CpeSkipReason
from agent.cpe.store import CpeStore
from agent.cpe_model.known import Acceptance, Cpe
from agent.inventory import book, finding
from agent.model import CpeChange, DesiredChange, Item, Listed, Service
from agent.reasons import RefusalReason, SkipReason
from agent.runtime.slices import InSlices
from agent.services.verbs import Leave
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from trust import chance
from trust.cpe_settings import FOR_SERVICE
from trust.statements import OnFailure

RUN_S: Final = 3600
"""How long recording a fleet's acceptances may take."""
UNDO: Final = "ispagent cpe refuse, or cpe bind CPE -: one person, at once; what a CPE was given by then it keeps"
_AFTER: Final = "nothing is sent by this; secrets may go into it then: its service's password, the baseline's, its own"


@dataclass(frozen=True, slots=True)
class AcceptanceRecorder:
    """Implements `DesiredRecorder` for acceptances of CPE."""

    cpes: CpeStore

    def record(self, tx: Tx, subject: str | None, change: DesiredChange, seq: int) -> None:
        """Record that a CPE is accepted for a service, None: for nobody's yet; or no longer is.

        Raises:
            RefusedCommandError: there is no such CPE or service.
        """
        if not isinstance(change, CpeChange):
            return
        before = store.find(tx.all, change.cpe)
        if before is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_CPE, f"there is no CPE {change.cpe}")
        if not change.added:
            tx.run("UPDATE cpe SET assured = 0 WHERE name = ?", (change.cpe,))
            return
        if subject and tx.one("SELECT 1 FROM service WHERE ref = ?", (subject,)) is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_SERVICE, f"there is no service {subject}")
        store.accept(tx, before, seq)
        tx.run("UPDATE cpe SET service = ?, assured = ? WHERE name = ?", (subject or "", seq, change.cpe))

    def recorded(self) -> None:
        """Have baselines looked at that waited for it."""
        self.cpes.reset_bell.ring()


@dataclass(frozen=True, slots=True)
class CpeAcceptances:
    """Answers requests for acceptances of CPE with plans."""

    intake: CpeIntake
    """Which knows the CPE."""

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that accepts CPE: for one service, or each for the one that it is bound to.

        Raises:
            RequestError: a reference is unknown or ambiguous, nothing would change, or policy refuses.
        """
        ask, previewer = request.ask, self.intake.previewer
        if ask.secrets or not ask.settings.keys() <= {FOR_SERVICE}:
            raise RequestError(f"cpe-accept: expected no setting but {FOR_SERVICE}")
        if ask.on_failure is OnFailure.REVERT:
            raise RequestError("cpe-accept cannot be taken back: expected another --on-failure than revert")
        chosen = await self.intake.select(ask)
        if FOR_SERVICE in ask.settings and len(chosen) != 1:
            raise RequestError(f"cpe-accept: expected one CPE for one service, got {len(chosen)} CPE")
        wanted = await self._service(ask)
        services, serving = book.services(previewer.store.reader), self.intake.cpes.serving()
        items = [
            self._item(cpe if wanted is None else replace(cpe, service=wanted), cpe, services, serving)
            async for cpe in InSlices(chosen)
        ]
        scope = Scope(
            active_services=self.intake.accepted(),
            facts_age_s=None,
            facts_empty=False,
            source="from what each said when it called in last",
            undo=UNDO,
            run_for_s=RUN_S,
        )
        return await previewer.propose(request, items, scope, pinned)

    async def _service(self, ask: Ask) -> str | None:
        """Return the ref of the service that the ask names by ref, subscriber, login or MAC; None: it names none.

        Raises:
            RequestError: there is no such service, or there are several.
        """
        if FOR_SERVICE not in ask.settings:
            return None
        ref = ask.settings[FOR_SERVICE]
        found = [service.ref for service in await finding.named(self.intake.previewer.store, ref)]
        if ref in found:
            return ref
        if not found:
            raise RequestError(f"there is no subscriber, service, login or MAC address {ref[:80]}: subscriber find")
        if len(found) > 1:
            raise RequestError(f"{ref[:80]} has several services: {', '.join(found[:10])}")
        return found[0]

    def _item(
        self, wanted: Cpe, now: Cpe, services: Mapping[str, Service], serving: Mapping[str, Sequence[str]]
    ) -> Item:
        """Return the item that accepts a CPE as `wanted`, which differs from `now` in its service.

        `serving`: the names of the CPE of each service.
        """
        now_s, service = int(self.intake.clock.wall_s()), services.get(wanted.service)
        display = {
            "title": cpe_verbs.title(wanted) + (f" ({service_title(service)})" if service is not None else ""),
            CPE: now.name,
            "now": " · ".join(filter(None, (_trust(now), cpe_verbs.now_text(now, now_s)))),
        }
        if (leave := _left(wanted, now, service)) is not None:
            listed = Listed.BLOCKED if leave.blocked else Listed.EXCLUDED
            told = {**display, "why_not": leave.why}
            return Item(1, chance.token_hex(16), wanted.service or None, listed, leave.code, told)
        look = _look(wanted, now, [name for name in serving.get(wanted.service, ()) if name != now.name])
        return Item(
            n=1,
            salt=chance.token_hex(16),
            subject=wanted.service or None,
            listed=Listed.CHANGE,
            reason="",
            display={**display, **({"entry": look} if look else {}), "after": _AFTER},
            requires=(requirements.same_cpe(now), requirements.same_proof(now)),
            desired=(CpeChange(now.name, added=True),),
        )


def _trust(cpe: Cpe) -> str:
    called_from = f" · called from {cpe.address}" if cpe.address else ""
    return f"{cpe.trust.value}{f' ({cpe.why})' if cpe.why else ''}{called_from}"


def _left(wanted: Cpe, now: Cpe, service: Service | None) -> Leave | None:
    """Return why a CPE is left alone, or None."""
    if wanted.service and service is None:
        return Leave(CpeSkipReason.NO_SERVICE, f"there is no service {wanted.service}", blocked=True)
    accepted = now.trust is Acceptance.ACCEPTED and not now.claimed
    if accepted and now.assured and wanted.service == now.service:
        return Leave(SkipReason.ALREADY, f"an approved change accepted it so already (log entry {now.assured})")
    return None


def _look(wanted: Cpe, now: Cpe, others: list[str]) -> str:
    """Return the facts worth a second look before a CPE is given secrets."""
    parts = []
    if now.claimed:
        parts.append("IT HAD CREDENTIALS OF ITS OWN AND COMES WITHOUT: reset, or another device; accepted as it came")
    if now.service and now.service != wanted.service:
        parts.append(f"it serves {now.service} now")
    if others:
        parts.append(f"{wanted.service} is also served by {', '.join(others[:5])}{' …' if others[5:] else ''}")
    return " · ".join(parts)
