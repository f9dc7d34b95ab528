"""A RADIUS site: a real database server and a real FreeRADIUS, BNG of the lab, ways that break, and the agent."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import psycopg
import pymysql
import trio

from agent.connectors.radius.schema import Database
from lab.errors import LabDatabaseError, LabError
from lab.isp import Isp
from lab.population import LabService
from lab.radius_client import RadiusClient
from lab.radius_codec import Code, attribute
from lab.sessions import policy_of
from lab.staff import Staff, write_disabled_group
from lab.truth import History, NextLogin
from tests.e2e.files import dsn_of, lab_mapping, lab_secrets, make_files, ordinary, real_radius, ref_of, small_isp
from tests.servers import FreeRadius, MariaDB, PostgreSQL
from tests.torture.audit import AGENT, Audit
from tests.torture.rounds import Lives, Round
from tests.torture.ways import CuttingProxy, UdpWay

WITHIN_S = (2, 3)
"""How long the agent waits for a session to be gone, and for the CPE to come back."""
ANSWER_S = 2.0
PACE = 8
DATABASE_AWAY = (psycopg.Error, pymysql.Error)
STAFF_ACTS = (Staff.mark, Staff.unmark, Staff.move, Staff.disable, Staff.enable, Staff.power_cycle, Staff.vanish)


@dataclass
class RadiusSite:
    """The site. `foreign`: when people other than the agent's did something to a login."""

    round: Round
    server: PostgreSQL | MariaDB
    radius: FreeRadius
    isp: Isp
    way: CuttingProxy
    coa: dict[str, UdpWay]
    lives: Lives
    history: History
    staff: Staff
    audit: Audit
    services: list[LabService]
    foreign: dict[str, list[float]] = field(default_factory=dict)

    @property
    def logins(self) -> dict[str, str]:
        """Return the login of each service."""
        return {ref_of(s): s.login for s in self.services}

    def dice(self, name: str) -> random.Random:
        return self.round.dice(name)

    async def watch(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the audit until cancelled; read the rows of each login that it names."""
        for service in self.services:
            await self.history.sample(service.login)
        task_status.started()
        mine, due = {s.login for s in self.services}, set[str]()
        while True:
            try:
                due |= {c.login for c in await trio.to_thread.run_sync(self.audit.read)} & mine
                for login in sorted(due):
                    await self.history.sample(login)
                    due.discard(login)
            except (LabDatabaseError, *DATABASE_AWAY):
                await trio.sleep(0.2)
            await trio.sleep(0.05)

    async def act(self, login: str, dice: random.Random) -> None:
        """Let staff do something to a login, and note it."""
        self.foreign.setdefault(login, []).append(trio.current_time())
        what = "nothing"
        with contextlib.suppress(LabError):
            what = await dice.choice(STAFF_ACTS)(self.staff, login)
        self.foreign[login].append(trio.current_time())
        self.round.say(f"{login}: {what}")

    async def asked(self, service: LabService, client: RadiusClient) -> NextLogin | None:
        """Return FreeRADIUS' answer to a CPE that dials in now by PAP; None: it does not answer."""
        attributes = [
            attribute("User-Name", service.login),
            attribute("NAS-IP-Address", "10.255.0.1"),
            attribute("NAS-Port", 7),
        ]
        try:
            reply = await client.ask(Code.ACCESS_REQUEST, attributes, service.password.encode())
        except LabError:
            return None
        if reply.code != Code.ACCESS_ACCEPT:
            return NextLogin(False)
        policy = policy_of(reply)
        walled = next(iter(self.isp.nas.values())).walls(policy)
        return NextLogin(True, walled, policy.rate_limit.partition(" ")[0])

    async def logins_now(self) -> dict[str, NextLogin | None]:
        """Return FreeRADIUS' answer to every service's login."""
        answers: dict[str, NextLogin | None] = {}
        async with trio.open_nursery() as nursery:
            where = self.radius.host, self.radius.auth_port
            client = RadiusClient(where[0], where, self.radius.secret.encode(), timeout_s=2.0, tries=4)
            await nursery.start(client.run)
            for service in self.services:
                answers[service.login] = await self.asked(service, client)
            nursery.cancel_scope.cancel()
        return answers


@asynccontextmanager
async def radius_site(
    about: Round, server: PostgreSQL | MariaDB, *, services: int = 24, state_dir: str = "", pace: int = PACE
) -> AsyncIterator[RadiusSite]:
    """Run a site for the block, its agent installed. `services`: how many of its lines the round is about.

    `pace`: how many items a target takes a second.
    """
    database = server.fresh()
    dice, count = about.dice("ways"), about.count
    async with trio.open_nursery() as nursery:
        with FreeRadius(database) as radius:
            way = CuttingProxy(lambda: ("127.0.0.1", database.port), dice, count)
            await nursery.start(lambda task_status: way.run(task_status=task_status))
            lab = {"dsn": dsn_of(database), "radius": real_radius(radius), "services": services + 21}
            async with small_isp(about.folder, **lab, seed=about.seed) as isp:
                audit = Audit(server, database)
                await write_disabled_group(isp)
                coa = {name: UdpWay(nas.dynauth_port, dice, count) for name, nas in isp.nas.items()}
                for one in coa.values():
                    await nursery.start(lambda task_status, one=one: one.run(task_status=task_status))
                mapping = _mapping(isp, way, coa, database.kind)
                files = make_files(about.folder, mapping, isp.services, lab_secrets(isp), policy={"pace": pace})
                files.people.policy = tuple(replace(p, budget_per_hour=100_000) for p in files.people.policy)
                files.trust = replace(files.trust, policy=files.people.policy)
                if state_dir:
                    shutil.copytree(files.state, state_dir)
                    text = files.config.read_text()
                    files.config.write_text(text.replace('state_dir = "state"', f'state_dir = "{state_dir}"'))
                lives, history = Lives(about, files), History(isp)
                mine = ordinary(isp, services)
                site = RadiusSite(
                    about, server, radius, isp, way, coa, lives, history, Staff(isp, about.seed), audit, mine
                )
                try:
                    await lives.begin()
                    await lives.office.install()
                    await nursery.start(site.watch)
                    await nursery.start(lives.watched)
                    yield site
                finally:
                    lives.end()
                    nursery.cancel_scope.cancel()


def _mapping(isp: Isp, way: CuttingProxy, coa: dict[str, UdpWay], kind: Database) -> str:
    """Return the lab's mapping, with the ways that break in the place of the real ones."""
    text = lab_mapping(isp, within_s=WITHIN_S)
    text, ports = re.subn(r"(\[radius\.main\][^\[]*?\nport = )\d+", rf"\g<1>{way.port}", text)
    text, users = re.subn('user = "radius"', f'user = "{AGENT}"\ntimeout_s = {ANSWER_S}', text)
    assert (ports, users) == (1, 1), kind
    for name, one in coa.items():
        text = text.replace(f"dynauth_port = {isp.nas[name].dynauth_port}\n", f"dynauth_port = {one.port}\n")
    return text
