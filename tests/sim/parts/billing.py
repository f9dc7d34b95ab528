"""A billing system that decides who owes: the lab's UISP CRM, read by the agent's own connector.

Subscribers pay, payments bounce, invoices fall due. Two people signed a standing authority, so that the agent itself
asks for the restores of payers. The judge goes by the books.
"""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import trio

from lab.billing.server import BillingServer, serve_billing
from lab.billing.uisp import Uisp
from tests.sim.judge import Asked, Evidence, Verdict
from tests.sim.part import Declared, Part, WorldAct, WorldFault
from tests.sim.parts import billing_rules
from tests.sim.parts.billing_faults import FAULTS
from tests.sim.parts.billing_people import ACTS
from tests.sim.parts.billing_rules import Books
from tests.sim.parts.radius import RadiusPart
from tests.sim.parts.routers import RouterPart
from tests.sim.people import Desk
from tests.sim.world import World

KEY = "lab-app-key-of-the-simulation"
DEBT = "34.00"
OWES_PERCENT = 80
EVENTS = 8
"""What happens to accounts in one busy time: payments, bounces, new invoices."""
REST_S = 900.0
"""How long the last payers have after the last fault: a source that failed is asked again after minutes."""
RESTORES_AN_HOUR = 60


class BillingPart(Part):
    """A CRM with an account for each subscriber. `books`: who owed when; `server`: where faults are played."""

    name = "billing"
    faults: ClassVar[tuple[WorldFault, ...]] = FAULTS
    acts: ClassVar[tuple[WorldAct, ...]] = ACTS
    percent: ClassVar[int] = 20
    server: BillingServer

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Open an account for each subscriber; most of them owe."""
        self._world = world
        self._dice = random.Random(f"{world.options.seed} billing")
        self._crm = Uisp(key=KEY)
        self.books = Books({service: service.partition("/")[0] for service in world.services})
        self._clients: dict[str, int] = {}
        for subscriber in sorted(set(self.books.subscribers.values())):
            self._clients[subscriber] = self._crm.add_client(subscriber).id
            if self._dice.randrange(100) < OWES_PERCENT:
                self._invoice(subscriber, due_days_ago=20)
            self._note(subscriber)
        self.server = await nursery.start(self._serve)
        config = (
            f'[uisp-crm.main]\nurl = "{self.server.url}/crm/api/v1.0"\n'
            'secret = "billing/uisp"\npayments_every_s = 300\n'
        )
        return Declared(config, {"billing/uisp": KEY}, billing_terms='authority = "main"')

    async def _serve(self, task_status: trio.TaskStatus[BillingServer]) -> None:
        async with serve_billing(self._crm) as server:
            task_status.started(server)
            await trio.sleep_forever()

    async def install(self, world: World) -> None:
        """Hand in the standing authority by which payers come back without anybody."""
        await self._sign()

    async def _sign(self) -> None:
        world = self._world
        world.sign_now()
        people = world.files.people
        statement = people.standing(rate_per_hour=RESTORES_AN_HOUR, minutes=5 * 24 * 60)
        (answer,) = await world.office.hand_in(statement)
        assert answer["accepted"], answer

    # --- the office of the billing system -----------------------------------------------------------------------------

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._world.clock.wall_s(), UTC)

    def _invoice(self, subscriber: str, *, due_days_ago: int) -> None:
        now = self._now()
        due = now.date() - timedelta(days=due_days_ago)
        self._crm.add_invoice(self._clients[subscriber], DEBT, due, now - timedelta(days=due_days_ago + 20))

    def _note(self, subscriber: str) -> None:
        outstanding, _ = self._crm.balance(self._clients[subscriber])
        self.books.note(trio.current_time(), subscriber, owes=outstanding > 0)
        self._world.trace(f"books: {subscriber} {'owes' if outstanding else 'owes nothing'}")

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Let subscribers pay, and banks take payments back."""
        async with trio.open_nursery() as nursery:
            for n in range(EVENTS):
                dice = random.Random(f"{world.options.seed} billing {n}")
                if world.is_busy(f"billing {n}"):
                    nursery.start_soon(self._event, dice, within_s)

    async def _event(self, dice: random.Random, within_s: float) -> None:
        await trio.sleep(dice.uniform(0, within_s))
        subscriber = dice.choice(sorted(self._clients))
        client = self._clients[subscriber]
        outstanding, _ = self._crm.balance(client)
        paid = [p.id for p in self._crm.payments.values() if p.client == client]
        match dice.choice(("pay", "pay", "pay", "bounce", "invoice")):
            case "pay" if outstanding > 0:
                part = outstanding if dice.random() < 0.8 else outstanding / 2
                self._crm.pay(client, f"{part:.2f}", self._now())
            case "bounce" if paid:
                self._crm.delete_payment(dice.choice(paid))
            case "invoice" if not outstanding:
                self._invoice(subscriber, due_days_ago=dice.choice((1, 20)))
            case _:
                return
        self._note(subscriber)

    def pay(self, service: str) -> None:
        """Let the subscriber of a service pay all that is owed."""
        subscriber = self.books.subscribers.get(service, "")
        client = self._clients.get(subscriber)
        outstanding = self._crm.balance(client)[0] if client is not None else 0
        if client is not None and outstanding > 0:
            self._crm.pay(client, f"{outstanding:.2f}", self._now())
            self._note(subscriber)

    async def settle(self, world: World) -> None:
        """Wait for the last payers."""
        await trio.sleep(REST_S)

    # --- what is judged -----------------------------------------------------------------------------------------------

    def own_asks(self, log: sqlite3.Connection) -> Iterable[Asked]:
        """Return the restores that the agent asked for by itself; nobody has to approve them.

        Its log may have lost one since, of which a step was seen when the log announced it.
        """
        agent = self._world.files.trust.agents[0].handle
        found = log.execute(
            "SELECT p.plan_id, i.service FROM plan p LEFT JOIN item i ON i.plan_id = p.plan_id"
            " WHERE p.requester = ? AND p.action = 'restore' ORDER BY p.plan_id",
            (agent,),
        )
        services = defaultdict[str, set[str]](set)
        for plan, service in found:
            services[plan.hex()] |= {service} - {None}
        seen = self._world.witness.seen
        for step in (step for deed in (*seen.writes, *seen.sent) for step in deed.open):
            if (step.requester, step.action) == (agent, "restore") and step.service:
                services[step.plan].add(step.service)
        for plan, named in services.items():
            unsure = self.books.owed_lately(frozenset(named), trio.current_time())
            unsure += len(named & self._let_in(log))
            yield Asked(plan, "restore", frozenset(named), 0, unsure=unsure)

    def _let_in(self, log: sqlite3.Connection) -> set[str]:
        """Return the services with another reason on record, of which somebody else wrote the rows.

        To take a debt off the record then suspends anew whom staff have let in: a person decides on that.
        """
        edited = {write.subject for write in self._world.witness.seen.writes if not write.by}
        return edited & {row[0] for row in log.execute("SELECT service FROM reason WHERE reason <> 'debt'")}

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be, by the books."""
        with closing(sqlite3.connect(f"file:{self._world.files.state / 'agent.db'}?mode=ro", uri=True)) as log:
            own = {asked.plan for asked in self.own_asks(log)}
            debts = {row[0] for row in log.execute("SELECT service FROM reason WHERE reason = 'debt'")}
            debts -= self._let_in(log)
        shared = self._world.part(RadiusPart).logins.shared()
        return billing_rules.judge(evidence, self.books, own, debts - shared - self._edited(evidence))

    def _edited(self, evidence: Evidence) -> set[str]:
        """Return the services whose restore is refused by what somebody else wrote after the agent had cut them off.

        Where they now have what no tariff of theirs says, nothing is restored before a person decided on that, whether
        that lets them in or not. So it is with a tariff of a change that a person has to look at.
        """
        states = {(move.plan, move.service): move.state for move in evidence.seen.moves}
        by_agents = {write.subject: write for write in evidence.seen.writes if write.by}
        tariffs = {(step.plan, who) for who, w in by_agents.items() for step in w.open if step.action == "set-plan"}
        half_done = {who for plan, who in sorted(tariffs) if states.get((plan, who)) == "needs-a-person"}
        wrote, routers = {write.subject: write.by for write in evidence.seen.writes}, self._world.find(RouterPart)
        by_others = {service for service, by in wrote.items() if not by}
        others = {service for service in by_others if routers is not None and routers.is_other(service)}
        return half_done | others | {service for service in by_others if self._lets_in(service, evidence.ended_at)}

    def _lets_in(self, service: str, at: float) -> bool:
        """Tell whether the next login of a service gets the internet."""
        radius, routers = self._world.part(RadiusPart), self._world.find(RouterPart)
        if service in radius.logins:
            states = list(radius.history.during(radius.logins.now(service), at, at))
        elif routers is not None and service in routers.lines:
            states = list(routers.lines[service].during(at, at, suspended=True))
        else:
            states = []
        return any(state.next.accepted and not state.next.walled for state in states)
