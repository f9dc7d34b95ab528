"""Reverts of changes on CPE: the steps that take back the standing writes of a change, all of it or half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agent.changes.journal.item_commands import set_since
from agent.changes.journal.machine import TOUCHED
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import CPE, Request, RequestError
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.preview import Scope
from agent.cpe import verbs as cpe_verbs
from agent.cpe.intake import CpeIntake
from agent.cpe.reasons import CpeSkipReason
from agent.cpe.verbs import CpePlan, CpeSubject
from agent.cpe_model import addresses, rows
from agent.cpe_model.addresses import TableRow, name_of, what_of
from agent.cpe_model.errors import BadAddressError
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.profiles import normalize
from agent.model import (
    ABSENT,
    Address,
    Direction,
    Effect,
    Item,
    ItemState,
    Listed,
    SecretRef,
    Seen,
    Step,
    Transition,
    Value,
    Verdict,
)
from agent.reasons import SkipReason
from agent.runtime.slices import InSlices
from agent.services.verbs import Leave
from agent.store.stored import members
from trust import chance

_UNKNOWN = Verdict.UNKNOWN.value
_MAY_STAND = (*TOUCHED, ItemState.NEEDS_A_PERSON, ItemState.DIVERGED)
"""States of an item of which something may stand on its CPE."""


@dataclass(frozen=True, slots=True)
class Fate:
    """The known result of a step that was sent, and since when (unix seconds)."""

    verdict: Verdict
    at_s: int


@dataclass(frozen=True, slots=True)
class CpeReverts:
    """Answers requests for reverts of changes on CPE with plans."""

    intake: CpeIntake
    """Which knows the CPE, and makes the items."""

    async def revert(self, request: Request, loaded: Loaded, pinned: Pinned) -> bytes:
        """Return the id of the plan that takes back the settings of a change that nobody changed since.

        Raises:
            RequestError: nothing of it stands, or nothing of it can be taken back.
        """
        row = loaded.row
        items = [i for i in loaded.items.items if loaded.rows[i.n].state in _MAY_STAND and i.steps]
        if not items:
            raise RequestError(f"{row.short} has nothing to revert: no item of it stands")
        fates: dict[int, dict[int, Fate]] = {}
        for (of, n), fate in self._fates(row.plan_id).items():
            fates.setdefault(of, {})[n] = fate
        query = self.intake.previewer.store.query
        made = [
            self.take_back(item, fates.get(item.n, {}), set_since(query, row.plan_id, item))
            async for item in InSlices(items)
        ]
        writes = [t for i in made for s in i.steps if not isinstance(s.do, Effect) for t in s.do]
        management = any(cpe_verbs.loses_us(Transition(t.address, t.before, t.before.value)) for t in writes)
        own_age_s = int(self.intake.clock.wall_s()) - row.made_s if row.requester == request.requester else None
        scope = Scope(
            active_services=self.intake.accepted(),
            facts_age_s=None,
            facts_empty=False,
            own_revert_age_s=own_age_s,
            reverts=row.plan_id,
            source=f"reverts {row.short}",
            device_config=management,
            guarded=not management,
            run_for_s=self.intake.terms.wait_s,
        )
        return await self.intake.previewer.propose(request, made, scope, pinned)

    def _fates(self, plan_id: bytes) -> Mapping[tuple[int, int], Fate]:
        """Return the standing part of each sent step of a plan, by item and step: it may have taken some back."""
        rows = self.intake.previewer.store.query(
            "SELECT s.item, s.n, s.direction, s.verdict, e.at_s FROM step s"
            " JOIN event e ON e.seq = coalesce(s.outcome_seq, s.about_seq)"
            " WHERE s.plan_id = ? ORDER BY s.attempt",
            (plan_id,),
        )
        last = {
            (members(Direction, "step")[r["direction"]], r["item"], r["n"]): Fate(
                members(Verdict, "step")[r["verdict"] or _UNKNOWN], r["at_s"]
            )
            for r in rows
        }
        forward = {(item, n): fate for (way, item, n), fate in last.items() if way is Direction.FORWARD}
        back = {(item, n): fate for (way, item, n), fate in last.items() if way is Direction.REVERT}
        return {key: _after(fate, back.get(key)) for key, fate in forward.items()}

    def take_back(self, item: Item, fates: Mapping[int, Fate], by: str = "") -> Item:
        """Return the item that takes another back, or says why it is left alone.

        Args:
            item: the other.
            fates: by the number of its step.
            by: the change that set the same since, "": none did.
        """
        name, now_s = name_of(item.steps[0].target), int(self.intake.clock.wall_s())
        cpe = self.intake.cpes.find(name)
        if cpe is None:
            gone = {"title": name, CPE: name, "why_not": "the CPE is no longer in the inventory"}
            return Item(1, chance.token_hex(16), item.subject, Listed.BLOCKED, "unknown-cpe", gone)
        subject = self.intake.subject(cpe)
        planned = cpe_verbs.usable(subject) or self.inverse(subject, item, fates)
        if by and isinstance(planned, CpePlan):
            planned = Leave(SkipReason.CHANGED_SINCE, f"change {by} set it since")
        return self.intake.made(subject, planned, now_s)

    def inverse(self, subject: CpeSubject, item: Item, fates: Mapping[int, Fate]) -> CpePlan | Leave:
        """Return the steps that take an item back, the last step first, or why it is left alone."""
        steps: list[Step] = []
        for step in reversed(item.steps):
            if isinstance(step.do, Effect):
                return Leave(SkipReason.IRREVERSIBLE, f"a {step.do.verb} cannot be taken back")
            fate = fates.get(step.n)
            if fate is None or fate.verdict is Verdict.NOT_APPLIED:
                continue  # of a half applied item, the other half
            stand = step.do if fate.verdict is Verdict.APPLIED else self._standing(subject, step.do, fate)
            if isinstance(stand, Leave):
                return stand
            writes: list[Transition] = []
            for write in reversed(stand):
                made = self._unwrite(subject, write, fate)
                if isinstance(made, Leave):
                    return made
                writes.append(made)
            if writes:
                steps.append(Step(len(steps) + 1, step.target, tuple(writes)))
        if not steps:
            return Leave(CpeSkipReason.AS_BEFORE, "nothing of the change stands on it")
        return CpePlan(tuple(steps), {"after": "as before the change"}, management=False)

    def _standing(self, subject: CpeSubject, writes: Sequence[Transition], fate: Fate) -> Sequence[Transition] | Leave:
        """Return the standing part of a step of unknown outcome, by values read since.

        A CPE takes all of a step or nothing of it (TR-069 A.3.2.1). So a value that is seen to be set tells of those
        that cannot be read, and where all seen values are as before, nothing was set. A value that reads as before
        beside one that was set is left alone: the CPE took it and let it be.
        """
        says = [self._says(subject, write, fate) for write in writes]
        if True in says:
            return [write for write, set_ in zip(writes, says, strict=True) if set_ is not False]
        return () if False in says else _unknown(subject, writes[0])

    def _says(self, subject: CpeSubject, write: Transition, fate: Fate) -> bool | None:
        """Tell whether the value read of an address since a step was sent says that it was taken; None: it says
        nothing.

        Of a secret nothing can be read: that the CPE took it is known (by its answer, or its ParameterKey), or is not.
        """
        now, after, what = last_known(subject, write.address), _field(write.after), what_of(write.address)
        if isinstance(after, SecretRef):
            return True if now is not None and _field(now.value) == after else None
        if now is None:
            return None
        read_s = now.at_s
        if isinstance(what, TableRow) and now.value is ABSENT:
            read_s = self.intake.cpes.read_whole_s(subject.cpe.name, what.table)
        return None if read_s <= fate.at_s else now.value != write.before.value

    def _unwrite(self, subject: CpeSubject, write: Transition, fate: Fate) -> Transition | Leave:
        """Return the step that takes a write back that was taken, by its outcome or by values read since."""
        now = last_known(subject, write.address)
        if now is None or now.value != write.after:
            if fate.verdict is not Verdict.APPLIED and self._says(subject, write, fate) is None:
                return _unknown(subject, write)
            return Leave(SkipReason.CHANGED_SINCE, f"{write.address} was changed since")
        back, what = write.before.value, what_of(write.address)
        if isinstance(what, TableRow) and write.after is ABSENT and (hidden := rows.secrets(what)):
            return Leave(
                CpeSkipReason.SECRET_UNKNOWN, f"{what.table}: {', '.join(hidden)} of the row is not known: make it anew"
            )
        for field in () if back is ABSENT else back.values():
            lost = isinstance(field, SecretRef) and self.intake.cpes.secret(field.commit) is None
            if lost or (field == "" and isinstance(_field(write.after), SecretRef)):
                return Leave(
                    CpeSkipReason.SECRET_UNKNOWN, f"{write.address}: what it was before is not known: set a new one"
                )
        return Transition(write.address, now, back)


def _unknown(subject: CpeSubject, write: Transition) -> Leave:
    what = what_of(write.address)
    where = what.table if isinstance(what, TableRow) else what
    how = f"ispagent cpe refresh {subject.cpe.name} {where}, then again; or set it anew"
    return Leave(CpeSkipReason.UNKNOWN, f"what became of {where} is not known: {how}", blocked=True)


def _after(forward: Fate, back: Fate | None) -> Fate:
    """Return the standing part of a step that the change itself took back, or tried to."""
    if back is None or back.verdict is Verdict.NOT_APPLIED:
        return forward
    return replace(back, verdict=Verdict.NOT_APPLIED if back.verdict is Verdict.APPLIED else Verdict.UNKNOWN)


def _field(value: Value) -> object:
    return None if value is ABSENT else value.get(addresses.VALUE)


def last_known(subject: CpeSubject, addr: Address) -> Seen | None:
    """Return the value of an address when it was last read; None: it never was, or it names nothing that is read."""
    try:
        what = what_of(addr)
    except BadAddressError:
        return None
    if isinstance(what, TableRow):
        known = {path: k for path, k in subject.values.items() if path.startswith(what.table)}
        number = rows.number_of(what, known)
        of_it = known if number is None else {p: k for p, k in known.items() if p.startswith(f"{what.table}{number}.")}
        at_s = min((k.at_s for k in of_it.values()), default=0)
        return Seen(rows.value(what, known), at_s, live=False)
    found: CachedParameter | None = subject.values.get(what)
    if found is None:
        return None
    if found.value is None:
        commit = subject.taken.get(what)
        return Seen({addresses.VALUE: SecretRef(commit) if commit else ""}, found.at_s, live=False)
    return Seen({addresses.VALUE: normalize(found.type, found.value)}, found.at_s, live=False)
