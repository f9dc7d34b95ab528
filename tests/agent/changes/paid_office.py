"""An agent whose accounts and payments come from a billing source in memory, and whose devices are in memory too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from agent import daemon as daemons
from agent.changes.engine.perform import Patience
from agent.changes.journal.commands import PlanRow
from agent.changes.paid import PaidRestores
from agent.config import AgentConfig
from agent.connectors.spec import Configured, ConnectorSpec
from agent.daemon import Daemon, Files
from agent.model import Target
from agent.runtime.clock import Clock
from tests.agent.billing.fake_source import FakeBilling, terms
from tests.agent.changes import cloud_office
from tests.agent.changes.cloud_office import Desk, Office, code_sha256, office_on
from tests.agent.connectors.fake import FakeConnector, World
from tests.people import People
from trust import envelope as envelopes
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
    told, code = with_source(config, restore_paid=desk.restore_paid, file=desk.file), code_sha256()
    patience = Patience(poll_s=0.01)
    return daemons.build(told, files, clock, connectors=connectors, patience=patience, code_sha256=code, paced=False)


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
    pinned = office.daemon.api.parts.trust.pinned
    assert pinned is not None
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
