"""An agent whose accounts and payments come from a billing source in memory, and whose devices are in memory too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agent import daemon as daemons
from agent.billing_model.hooks import Heard
from agent.changes import worker
from agent.changes.engine.perform import Patience
from agent.changes.journal.commands import PlanRow, read_plan_row
from agent.changes.paid import PaidRestores
from agent.config import AgentConfig
from agent.connectors.spec import Configured, ConnectorSpec
from agent.daemon import Daemon, Files
from agent.inventory import book
from agent.inventory.ledger import KeepHeard
from agent.model import Target
from agent.runtime.clock import Clock
from tests.builders import office as cloud_office
from tests.builders.billing import FakeBilling, terms
from tests.builders.clock import FakeClock
from tests.builders.office import Desk, Office, office_on
from tests.builders.people import People
from tests.builders.world import FakeConnector, World
from trust import envelope as envelopes
from trust.policy import RiskClass
from trust.statements import Decision, SeenHeads

SUSPENDED = {"plan": "20M", "suspended": "yes"}
ACTIVE = {"plan": "20M", "suspended": "no"}
HEAD = "subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of\n"


class ToldBilling(FakeBilling):
    """As a connector among others."""

    targets: Sequence[Target] = (Target("fake-billing/main", "fake-billing"),)


def with_source(
    config: AgentConfig, payments_every_s: int = 60, restore_paid: bool = True, file: Path | None = None
) -> AgentConfig:
    """Return a configuration that has the source `main`, whose accounts decide, and perhaps a billing file."""
    told = (terms(payments_every_s=payments_every_s),)
    spec: ConnectorSpec[Any] = ConnectorSpec(
        "fake-billing", (), lambda _: None, lambda _: (), lambda *_: ToldBilling(), "", (), sources=lambda _: told
    )
    billing = replace(config.billing, authority="main", max_age_s=7200, restore_paid=restore_paid, file=file)
    return replace(config, billing=billing, connectors=(*config.connectors, Configured(spec, None)))


class PaidDesk(Desk):
    """`names`: subscribers who are suspended for a debt since before the first day. `file`: the billing file."""

    billing_system: ToldBilling
    names: tuple[str, ...]
    restore_paid: bool = True
    file: Path | None = None

    @classmethod
    def of(cls, people: People, billing: ToldBilling, names: Sequence[str], suspended: bool = True) -> PaidDesk:
        world = World()
        rows = ""
        for name in names:
            world.add(f"u-{name}")
            if suspended:
                world.values[world.user(f"u-{name}")] = dict(SUSPENDED)
            rows += f"{name},Amina,home,u-{name},fake,20M,,0,,,,\n"
            billing.owe(name)
        desk = cls(people, world=world, csv=HEAD + rows)
        desk.billing_system, desk.names = billing, tuple(names)
        return desk

    def is_cut(self, name: str) -> bool:
        return self.world.values[self.world.user(f"u-{name}")] == SUSPENDED


def build(config: AgentConfig, files: Files, clock: Clock, desk: Desk) -> Daemon:
    """Return an agent that reads the desk's billing system."""
    assert isinstance(desk, PaidDesk)
    connectors: dict[str, Any] = {"fake": FakeConnector(desk.world), "fake-billing": desk.billing_system}
    told = with_source(config, restore_paid=desk.restore_paid, file=desk.file)
    patience = Patience(poll_s=0.01)
    return daemons.build(told, files, clock, connectors=connectors, patience=patience, paced=False)


@contextmanager
def paid_office(folder: Path, desk: PaidDesk, clock: Clock) -> Iterator[Office]:
    """One life of the agent on a state directory, of which nothing runs yet."""
    before = cloud_office.build
    cloud_office.build = build
    try:
        with office_on(folder, desk, clock) as office:
            yield office
    finally:
        cloud_office.build = before


async def first_day(office: Office, desk: PaidDesk, *, rate: int = 60, suspended: bool = True) -> None:
    """Install the trust, import the subscribers, and have a standing authority signed (`rate` 0: none)."""
    document, words = desk.people.sign_trust(desk.trust(office.daemon.files))
    parts = office.daemon.api.parts
    await parts.trust.install(document, words, parts.clock.wall_s())
    await parts.importer.run(desk.csv.encode(), "maria", dry_run=False)
    if suspended:
        for name in desk.names:
            suspend_by_hand(office, name)
    if rate:
        await grant(office, desk, rate)


def suspend_by_hand(office: Office, name: str, reason: str = "debt") -> None:
    """Record a reason as if a change had suspended the service long ago."""
    office.store._con.execute(
        "INSERT INTO reason (service, reason, seq, looked_s) VALUES (?, ?, 1, 0)", (f"{name}/home", reason)
    )
    office.store._con.commit()


async def grant(office: Office, desk: PaidDesk, rate: int, days: int = 14) -> None:
    """Have two people sign a standing authority for restores."""
    desk.people.now_s = int(office.daemon.clock.wall_s())
    signed = desk.people.standing(rate_per_hour=rate, minutes=days * 24 * 60)
    (answer,) = await office.daemon.job.approvals.submit(signed)
    assert answer.accepted


async def decide(
    office: Office, desk: PaidDesk, plan: PlanRow, *who: str, decision: Decision = Decision.APPROVE
) -> None:
    """Have people sign a decision on a plan, as they see it."""
    desk.people.now_s = int(office.daemon.clock.wall_s())
    pinned = office.pinned
    seen = SeenHeads(pinned.trust.version, pinned.sha256.hex())
    for person in who:
        envelope = envelopes.decode_untrusted(plan.envelope)
        signed = desk.people.approve(envelope, person, decision=decision, seen=seen)
        (answer,) = await office.daemon.job.approvals.submit(signed)
        assert answer.accepted, answer.message
    office.daemon.job.worker.poke()


async def working(daemon: Daemon, nursery: trio.Nursery) -> None:
    """Have the agent read, ask and restore, as its daemon does."""
    await daemon.sessions.host(nursery)
    if daemon.config.billing.file is not None:
        await daemon.job.importer.refresh()
        nursery.start_soon(daemon._billing)
    nursery.start_soon(daemon.job.sources.run)
    nursery.start_soon(daemon.job.restores.run)
    nursery.start_soon(daemon.job.worker.run)


def restores(office: Office) -> PaidRestores:
    return office.daemon.job.restores


class PaidRig:
    """An agent with its desk, whose lives a test begins and ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.billing = ToldBilling(self.clock)
        self.office: Office
        self.desk: PaidDesk

    def people(self, rate: int = 60) -> People:
        people = People(now_s=int(self.clock.start_wall_s))
        people.policy = tuple(
            replace(p, budget_per_hour=rate) if p.risk_class is RiskClass.RESTORE else p for p in people.policy
        )
        return people

    @asynccontextmanager
    async def life(
        self, *names: str, rate: int = 60, first: bool = True, suspended: bool = True, restore_paid: bool = True
    ) -> AsyncIterator[None]:
        if first:
            self.desk = PaidDesk.of(self.people(max(rate, 1)), self.billing, names, suspended)
            self.desk.restore_paid = restore_paid
        with paid_office(self.folder, self.desk, self.clock) as self.office:
            async with trio.open_nursery() as nursery:
                if first:
                    await first_day(self.office, self.desk, rate=rate, suspended=suspended)
                await working(self.office.daemon, nursery)
                await trio.sleep(1)
                yield
                nursery.cancel_scope.cancel()

    async def ring(self, name: str, event: str) -> None:
        sources = self.office.daemon.job.sources
        heard = Heard(event, "paid", accounts=(f"k-{name}",), payment_ids=self.billing.last_of(name))
        await self.office.store.run(KeepHeard("main", event, heard))
        sources.heard.ring()

    def reasons(self, name: str) -> frozenset[str]:
        return frozenset(str(r) for r in book.services(self.office.store.reader)[f"{name}/home"].reasons)

    def plans(self) -> list[PlanRow]:
        return [read_plan_row(r) for r in self.office.store.query("SELECT * FROM plan ORDER BY made_s, short")]

    def why(self, name: str) -> str:
        return next((w.why for w in restores(self.office).queue() if w.service == f"{name}/home"), "")


def paid_rig(folder: Path, monkeypatch: pytest.MonkeyPatch) -> PaidRig:
    """Return a rig whose worker looks once a minute: days pass in it."""
    monkeypatch.setattr(worker, "LOOK_S", 60.0)
    return PaidRig(folder)
