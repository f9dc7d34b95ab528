"""Changes of services in the inventory, as a preview of now makes them, and their retry."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.changes.journal import commands
from agent.changes.retry import ReopenRun
from agent.inventory import book
from agent.inventory.billing import BillingReader
from agent.model import Item, ItemState, Pace, Seen, Service
from agent.runtime.clock import now_of
from agent.store.db import Tx
from tests.builders.job import NO_PACE, Rig, item
from tests.builders.world import steps_for
from trust.items import ReasonChange, SuspensionReason
from trust.statements import OnFailure

S = ItemState
ADD_DEBT, NO_DEBT, ADD_ABUSE, NO_ABUSE = (
    ReasonChange(reason, added=added)
    for reason in (SuspensionReason.DEBT, SuspensionReason.ABUSE)
    for added in (True, False)
)


@dataclass(frozen=True)
class Know:
    """Write services to the inventory."""

    services: tuple[Service, ...]

    def run(self, tx: Tx) -> None:
        book.write_services(tx, self.services)


def know(rig: Rig, *logins: str) -> None:
    """Have the inventory know services, and each "about to" read it."""
    tests = book.requirement_tests(BillingReader())
    rig.unmet = lambda tx, _, item, begun: book.unmet(tx, item, begun, tests)
    rig.store.now(Know(tuple(Service(f"C-{u}/home", f"C-{u}", "", "home", u, "fake", "20M") for u in logins)))


def service_of(rig: Rig, login: str) -> Service:
    return book.services(rig.store.reader)[f"C-{login}/home"]


def asked(rig: Rig, n: int, login: str, *desired: ReasonChange) -> Item:
    """Return an item as a preview of now makes it: without steps where the network reads as wanted."""
    service, made = service_of(rig, login), item(n, login, rig.world)
    before = rig.world.values[rig.world.user(login)]
    reasons = book.with_desired(service, desired).reasons
    after = {"plan": "20M", "suspended": "yes"} if reasons else {"plan": "20M"}
    return replace(
        made,
        steps=steps_for(login, Seen(before, 0), after) if after != before else (),
        enforce=made.enforce if after != before else None,
        desired=desired,
        requires=(book.as_previewed(service),),
    )


def suspended(rig: Rig, login: str) -> tuple[bool, list[str]]:
    """Return whether the network suspends a login, and the recorded reasons."""
    return "suspended" in rig.world.values[rig.world.user(login)], sorted(service_of(rig, login).reasons)


async def unenforced(rig: Rig, *logins: str, pace: Pace = NO_PACE) -> bytes:
    """Return a finished batch of suspensions for debt: no session could be ended."""
    rig.world.faults.update({login: ["", "nak"] for login in logins})
    items = [asked(rig, n, login, ADD_DEBT) for n, login in enumerate(logins, start=1)]
    plan_id = await rig.applied(items, on_failure=OnFailure.CONTINUE, pace=pace)
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED] * len(logins)
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    return plan_id


async def reopen(rig: Rig, plan_id: bytes, *numbers: int) -> None:
    """Retry items of a finished change, or all."""
    items = [i for i in rig.loaded(plan_id).items.items if i.n in (numbers or (i.n,))]
    seals = tuple((i, rig.recorder.record(i.subject, {})) for i in items)
    await rig.store.run(ReopenRun(plan_id, seals, now_of(rig.clock), rig.recorder.record(None, {})))
