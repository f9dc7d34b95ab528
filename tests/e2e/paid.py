"""An agent with a CRM of the lab that says who has paid."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio

from agent.billing_model.hooks import Heard
from agent.inventory.ledger import KeepHeard
from lab.billing.server import BillingServer, serve_billing
from lab.billing.uisp import LabClient, Uisp
from lab.isp import Isp
from lab.population import LabService
from tests.e2e.files import Files, lab_files
from tests.e2e.site import END_S, Site, check_log, open_site

KEY = "lab-app-key"
WITHIN_S = (20, 30)
"""For a disconnect and for a redial, seconds: on a busy machine a CPE of the lab takes its time."""


class Crm:
    """The lab's UISP with a debtor for each of some services. `takes_s`: each of its answers."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.books = Uisp(key=KEY)
        self.takes_s = takes_s
        self.clients: dict[str, LabClient] = {}

    @asynccontextmanager
    async def served(self) -> AsyncIterator[BillingServer]:
        """Run it on loopback."""
        async with serve_billing(self.books) as server:
            if self.takes_s:
                server.play("slow", value=self.takes_s)
            yield server

    def owes(self, service: LabService) -> None:
        now = datetime.now(UTC)
        client = self.clients[service.subscriber] = self.books.add_client(service.subscriber)
        self.books.add_invoice(client.id, "34.00", now.date() - timedelta(days=20), now - timedelta(days=40))

    def called(self, service: LabService) -> dict[str, Any]:
        """Take a payment; return the body of its webhook."""
        payment = self.books.pay(self.clients[service.subscriber].id, "34.00", datetime.now(UTC))
        return self.books.event("insert", "payment", payment.id, "payment.add")

    def pays(self, service: LabService) -> Heard:
        """Take a payment; return what the webhook of it says."""
        event = self.called(service)
        client = self.clients[service.subscriber].id
        return Heard(str(event["uuid"]), "payment.add", (str(client),), (str(event["entityId"]),))


def paid_files(folder: Path, isp: Isp, url: str, *, rate: int = 60, hooks: bool = False, **options: Any) -> Files:
    """Return the files of an agent whose accounts are those of a CRM. `hooks`: it hears the CRM's calls."""
    files = lab_files(folder, isp, **{"within_s": WITHIN_S, **options})
    files.billing.write()
    of_class = [replace(p, budget_per_hour=max(rate, p.budget_per_hour)) for p in files.trust.policy]
    files.trust = replace(files.trust, policy=tuple(of_class))
    text = files.config.read_text().replace("restore_paid = false", 'authority = "main"')
    section = f'\n[uisp-crm.main]\nurl = "{url}/crm/api/v1.0"\nsecret = "billing/uisp"\n'
    hears = 'hook = true\n\n[hooks]\nlisten = "127.0.0.1:0"\n' if hooks else ""
    files.config.write_text(text + section + hears)
    files.secrets["billing/uisp"] = KEY
    return files


@asynccontextmanager
async def paid_site(folder: Path, isp: Isp, crm: Crm, *, rate: int = 60, **options: Any) -> AsyncIterator[Site]:
    """Run an agent whose accounts are those of the CRM, under a standing authority for `rate` restores an hour."""
    async with crm.served() as server:
        files = paid_files(folder, isp, server.url, rate=rate, **options)
        async with open_site(files) as site:
            await site.hand_in(site.people.standing(rate_per_hour=rate))
            site.daemon.job.sources.readers["main"].poke()
            await until(lambda: site.daemon.job.sources.now("main").state.value == "fresh")
            yield site
            await check_log(site)


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(END_S):
        while not holds():  # noqa: ASYNC110  the network is looked at as a person does
            await trio.sleep(0.02)


async def ring(site: Site, heard: Heard) -> None:
    """Have a webhook come, as the hooks listener keeps it."""
    await site.daemon.files.store.run(KeepHeard("main", heard.event_id, heard))
    site.daemon.job.sources.heard.ring()


def walled(isp: Isp, service: LabService) -> bool:
    (session,) = isp.sessions(service.login)
    return bool(session.walled)
