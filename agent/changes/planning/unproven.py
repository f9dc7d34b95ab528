"""Suspensions that an earlier change set, and did not see enforced.

An item knows clients of its preview that no read of today tells: the connections of a hotspot's client carry on after
its session has ended, and only the item has the client's address. So such a service is not "already suspended",
however its settings read. The next suspension of it also ends what the earlier one set out to end and today's reads do
not show, and is judged by the newest check of a suspension. Sessions that they show are left to today's plan: one of a
suspended subscriber may be as wanted. That plan is made as for a service that is not suspended yet: its record vouches
for no session, neither for one with an unknown policy nor for one that accounting may not know.

After a restore only the earlier clients count. Each is known by its own name and the login, so the device tells by then
whether the client has another login. An address without a login may be somebody else's by then.

A client may have logged in after the preview of the earlier one, which ended its session: only the record of its steps
has that client. Another change of a suspended service, as of its tariff, may write its settings and is judged
"suspended" too. It ends the rest of the clients as well, and nothing else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.changes.journal import plans
from agent.changes.journal.item_commands import decode_bound
from agent.changes.journal.machine import TOUCHED
from agent.connectors.base import CLIENTS, AccessMethod, AccessPlan, KnowsClients, access_of
from agent.model import Access, Address, Effect, Enforcement, ItemState, Seen, Service, Step, target_of
from agent.reasons import ItemReason, ProofReason
from agent.runtime.slices import InSlices
from agent.store.db import Store
from agent.store.stored import members
from agent.store.vault import Vault

_UNPROVEN = (
    ItemState.RUNNING,
    ItemState.UNKNOWN,
    ItemState.SET_NOT_ENFORCED,
    ItemState.NEEDS_A_PERSON,
    ItemState.DIVERGED,
)
"""States of an item that may have begun to enforce something, and did not see it enforced. After `set-at-next-login`
no session was left that it could be judged by."""
_TELLS = frozenset({*TOUCHED, *_UNPROVEN})
"""States by which an item tells anything of its service. In the others it may have had a step as well, an effect alone:
it was called off or failed then, and all is as the change before it left that."""

_NOT_TOLD = (ProofReason.NOT_PROVEN, ItemReason.NOT_PROVEN_IN_TIME)
"""Reasons of items of which nothing is known to be left, unless they know clients, only that no read could show it: the
preview says that by its own reads. A monthly batch would end the sessions of such services each time."""
_NOW = "now"
"""An argument of effects, for people: the sessions or connections at their preview."""


@dataclass(frozen=True, slots=True)
class UnprovenSuspension:
    """The rest of an earlier suspension: its effects, in order, and its check. `short`: the id of its change."""

    short: str
    state: ItemState
    ends: tuple[Step, ...]
    enforce: Enforcement
    over: bool = False
    """Whether only its clients count. Another change ended it since, as a restore; or nothing else is known of it."""
    ended: Mapping[Address, Seen] = field(default_factory=dict)
    """Running things that its steps were to end, as they were read before."""
    vouched: bool = False
    """Whether another change of the suspended service was seen enforced since."""

    def knowing(self, method: AccessMethod, service: Service) -> UnprovenSuspension:
        """Return it with the clients of sessions that it ended without knowing them at its preview."""
        if not isinstance(method, KnowsClients):
            return self
        has = {step.do.address for step in self.ends if isinstance(step.do, Effect)}
        n, keys = max((step.n for step in self.ends), default=0), _clients_in(self.enforce)
        more: list[Step] = []
        expect = dict(self.enforce.expect)
        for client, effect in method.ends_of_clients(service, self.ended):
            target = target_of(effect.address)
            for key in keys:
                if (key.rpartition(" ")[0] or self.enforce.target) == target:
                    expect[key] = _joined(expect[key], client)
            if effect.address not in has:
                more.append(Step(n + len(more) + 1, target, effect))
        return replace(self, ends=(*self.ends, *more), enforce=replace(self.enforce, expect=expect))

    def after(self, planned: AccessPlan, seen: Container[Address], login: str) -> AccessPlan | None:
        """Return the plan with the effects that it lacks on resources that were not read for it; None: there are none.

        One that writes nothing is judged by the earlier check: it knows all that is to be gone. After a write the new
        check has other settings to look for. Either looks for the clients of both.
        """
        if self.enforce.address not in seen:
            return None  # the service has another login or router by now: those addresses may be somebody else's
        has = {step.do.address for step in planned.steps if isinstance(step.do, Effect)}
        left: list[Step] = []
        for step in self._of_clients(planned, login) if self.over else self.ends:
            known = isinstance(step.do, Effect) and (step.do.address in has or step.do.address in seen)
            # A fallback for an effect that is not taken over would be sent like any other
            if not known and {one.n for one in left}.issuperset(step.fallback_for):
                left.append(step)
        if not left:
            return None
        shift = len(planned.steps)
        writes = tuple(step.n for step in planned.steps if not isinstance(step.do, Effect))
        numbers = {step.n: n for n, step in enumerate(left, start=shift + 1)}
        more = [
            replace(
                step,
                n=numbers[step.n],
                after=(*writes, *(numbers[n] for n in step.after if n in numbers)),
                fallback_for=tuple(numbers[n] for n in step.fallback_for if n in numbers),
                on_revert=(),
            )
            for step in left
        ]
        new = planned.enforce or self.enforce
        enforce = _of_both(new, self.enforce) if writes else _of_both(self.enforce, new)
        return replace(planned, steps=(*planned.steps, *more), enforce=enforce)

    def _of_clients(self, planned: AccessPlan, login: str) -> Sequence[Step]:
        """Return the effects on clients of that login, on devices that still serve the service."""
        serving = {*(step.target for step in planned.steps), *map(target_of, planned.rests_on)}
        names = [name for key in _clients_in(self.enforce) for name in self.enforce.expect[key].split(",") if name]
        ending = tuple(f"{name} {login}" for name in names)
        ends = [step for step in self.ends if isinstance(step.do, Effect) and step.do.address.endswith(ending)]
        return [step for step in ends if step.target in serving]

    def text(self) -> str:
        """Return why a service that reads as suspended is suspended once more."""
        return f"{self.said()}: what it set out to end is ended again"

    def said(self) -> str:
        """Return how it ended, for people."""
        return f"change {self.short} is {self.state.value} for it"


def _clients_in(enforce: Enforcement) -> list[str]:
    """Return the keys of clients; a check of several devices has one for each, after the device's name."""
    return [key for key in enforce.expect if key.rpartition(" ")[2] == CLIENTS]


def _of_both(check: Enforcement, other: Enforcement) -> Enforcement:
    """Return a check that also looks for the clients of another one."""
    both = {key: _joined(check.expect[key], other.expect.get(key, "")) for key in _clients_in(check)}
    return replace(check, expect={**check.expect, **both})


def _joined(*clients: str) -> str:
    """Return the clients of several lists, each once."""
    return ",".join(sorted({one for names in clients for one in names.split(",") if one}))


async def unproven_suspensions(store: Store, vault: Vault, refs: Sequence[str]) -> dict[str, UnprovenSuspension]:
    """Return, by service, the rest of its newest suspension; without those that were seen enforced, or never acted.

    The newest one is enough: it took over the rest of those before.
    """
    found: dict[str, UnprovenSuspension] = {}
    async for ref in InSlices(refs):
        acted = store.query(_ACTED, (ref,))
        told = [_told(r) for r in acted]
        newest = next((k for k, r in enumerate(acted) if r["suspends"] and told[k]), -1)
        if newest < 0 or (state := told[newest]) not in _UNPROVEN:
            continue
        *since, of = (plans.open_item(store, vault, r["plan_id"], r["n"]) for r in acted[: newest + 1])
        if of is None or of.enforce is None:
            continue
        checks = [(i.enforce, r["reason"]) for i, r in zip(since, acted, strict=False) if i and i.enforce]
        suspended = [(check, reason) for check, reason in checks if access_of(check) is Access.SUSPENDED]
        over = acted[newest]["reason"] in _NOT_TOLD or len(suspended) < len(checks)
        # A reason that was recorded alone ended no session: its check asks for none to have ended
        own = next((check for check, reason in suspended if reason != ItemReason.RECORDED), of.enforce)
        enforce = _of_both(own, of.enforce)
        ends = tuple(
            replace(step, do=replace(step.do, args={k: v for k, v in step.do.args.items() if k != _NOW}))
            for step in of.steps
            if isinstance(step.do, Effect)
        )
        ended: dict[Address, Seen] = {}
        for r in acted[: newest + 1]:
            for step in store.query(_BOUND, (r["plan_id"], r["n"])):
                ended |= decode_bound(bytes(step["bound"]))
        vouched = any(one is not None and one not in _UNPROVEN for one in told[:newest])
        found[ref] = UnprovenSuspension(acted[newest]["short"], state, ends, enforce, over, ended, vouched)
    return found


def _told(row: sqlite3.Row) -> ItemState | None:
    """Return the state of an item; None: it tells nothing of its service, as a reason that was recorded alone."""
    state = members(ItemState, "item")[row["state"]]
    return state if state in _TELLS and row["reason"] != ItemReason.RECORDED else None


_ACTED = """
SELECT i.plan_id, i.n, i.state, i.reason, p.short, p.action = 'suspend' OR p.reason LIKE '+%' AS suspends, coalesce(
    (SELECT max(s.about_seq) FROM step s WHERE s.plan_id = i.plan_id AND s.item = i.n),
    iif(i.state IN ('applied', 'accepted', 'set-at-next-login', 'set-not-enforced', 'needs-a-person'),
        i.state_seq, NULL)
) AS acted_seq
FROM item i JOIN plan p USING (plan_id)
WHERE i.service = ? AND p.action IN ('suspend', 'restore', 'set-plan', 'revert') AND acted_seq IS NOT NULL
ORDER BY acted_seq DESC
"""
"""An item may have been judged without a step of its own. And of one that a restored backup cut short no step is
recorded, though it may have acted: it needs a person."""
_BOUND = "SELECT bound FROM step WHERE plan_id = ? AND item = ? AND direction = 'forward'"
