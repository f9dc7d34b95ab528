"""PPP secrets on two routers: connections cut, commands lost, another administrator, and an agent that dies.

The judge is the routers' own: their stores tell it of each row that changes, their packet view who gets out.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from lab.router.device import Router
from lab.router.errors import Trap
from lab.router.ppp import ACTIVE, SECRETS
from lab.router.server import Endpoint, serve
from lab.router.table import Row
from tests.e2e.files import Waits, make_files
from tests.e2e.router_site import PASSWORD, ROUTERS, Ppp, billing_row, ref, router_text
from tests.e2e.site import Json
from tests.torture.agent_file import Announced
from tests.torture.announced import Announcements
from tests.torture.rounds import Lives, Round, Servers
from tests.torture.ways import CuttingProxy

WAITS = Waits(2.0, 3, 4)
SUBSCRIBERS = 10
"""Of each router."""
PACE = 4
COMMANDS = ("/ppp/secret/set", "/ppp/active/remove", "/ppp/active/print", "/ppp/secret/print")
DEVICE_FAULTS = ("reply-lost", "command-lost", "cut-before", "cut-after", "slow:1.5", "no-effect")
STANDS = ("applied", "set-at-next-login", "set-not-enforced")
NOT_DONE = ("stale", "skipped", "not-applied", "cancelled", "expired", "planned", "excluded", "blocked")


@dataclass
class SecretChange:
    """A secret that was written."""

    at: float
    login: str
    was: str
    now_is: str


@dataclass
class RouterEars:
    """Everything that the routers' stores tell. `by_hand`: while it is set, it is us who write."""

    writes: list[SecretChange] = field(default_factory=list)
    ended: list[tuple[float, str, float, str]] = field(default_factory=list)
    """When, login, when it began, the profile that it had."""
    touched: set[str] = field(default_factory=set)
    by_hand: bool = False
    _profiles: dict[str, str] = field(default_factory=dict)
    _began: dict[tuple[int, str], tuple[float, str]] = field(default_factory=dict)

    def listen(self, router: Router) -> None:
        """Listen to a router from now on."""
        for row in router.rows(SECRETS):
            self._profiles[row["name"]] = row["profile"]
        router.store.watchers.append(partial(self._on_row, router))

    def _on_row(self, router: Router, path: str, row: Row, event: str) -> None:
        login, now = row.props.get("name", ""), trio.current_time()
        if path == SECRETS and event == "changed":
            was, self._profiles[login] = self._profiles.get(login, ""), row.props.get("profile", "")
            if not self.by_hand:
                self.writes.append(SecretChange(now, login, was, self._profiles[login]))
        elif path == ACTIVE and event == "removed":
            began, profile = self._began.pop((id(router), row.id), (0.0, ""))
            if not self.by_hand:
                self.ended.append((now, login, began, profile))
        elif path == ACTIVE and (id(router), row.id) not in self._began:
            self._began[id(router), row.id] = now, self._profiles.get(login, "")

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Say that what is written in the block is written by us."""
        self.by_hand = True
        try:
            yield
        finally:
            self.by_hand = False


@dataclass
class RouterSite:
    """Two routers, the ways to them, and the agent."""

    round: Round
    routers: dict[str, Router]
    ways: list[CuttingProxy]
    lives: Lives
    ears: RouterEars
    logins: list[str]

    def router(self, login: str) -> Router:
        return self.routers[login.partition("@")[2]]

    def profile(self, login: str) -> str:
        (found,) = [row for row in self.router(login).rows(SECRETS) if row["name"] == login]
        return found["profile"]

    # --- faults -------------------------------------------------------------------------------------------------------

    async def cut(self, dice: random.Random) -> None:
        """Cut the connections, let them stand, or take none, again and again."""
        try:
            while True:
                await trio.sleep(1.2 * dice.random())
                way = dice.choice(self.ways)
                kind = dice.choices(("once", "freeze", "cut"), (8, 1, 1))[0]
                if kind == "once":
                    way.cut_once()
                    continue
                getattr(way, kind)()
                self.round.count[f"way {kind}"] += 1
                await trio.sleep(2.5 * dice.random())
                way.mend()
        finally:
            for way in self.ways:
                way.mend()

    async def device_faults(self, dice: random.Random) -> None:
        """Let single commands go wrong."""
        try:
            while True:
                await trio.sleep(0.5 * dice.random())
                fault = dice.choice(DEVICE_FAULTS)
                self.routers[dice.choice(ROUTERS)].faults.inject(fault, match=dice.choice(COMMANDS))
                self.round.count[fault] += 1
        finally:
            for router in self.routers.values():
                router.faults.clear()

    async def admin(self, dice: random.Random) -> None:
        """Let another administrator give every fifth login another profile."""
        while True:
            await trio.sleep(0.6 * dice.random())
            login = dice.choice(self.logins[::5])
            self.ears.touched.add(login)
            with self.ears.ours(), contextlib.suppress(Trap):
                self.router(login).set(SECRETS, login, profile=dice.choice(("home20", "home50", "suspended")))
            self.round.count["admin"] += 1

    # --- judging ------------------------------------------------------------------------------------------------------

    def judge_rest(self, change: Json, before: dict[str, str]) -> None:
        """Judge what the items of a change say, by the routers."""
        wanted = {"suspend": "suspended", "revert": "home20"}[change["action"]]
        by_ref = {ref(login): login for login in self.logins}
        for item in change["items"]:
            login = by_ref[item["service"]]
            if login in self.ears.touched:
                continue
            profile, out = self.profile(login), self.router(login).gets_out(login)
            said = f"{change['id']} is {item['state']} ({item['reason']}: {item['detail']})"
            truth = (
                f"profile {profile}, {'gets out' if out.out else 'kept in'}, {'online' if out.online else 'offline'}"
            )
            if item["state"] in STANDS and profile != wanted:
                self.round.wrong("claim", said, item["service"], truth)
            if item["state"] == "applied" and out.online and out.out is not (wanted == "home20"):
                self.round.wrong("claim", said, item["service"], truth)
            if item["state"] in NOT_DONE and profile != before[login]:
                self.round.wrong("not-done", said, item["service"], truth)

    def judge_all(self) -> None:
        """Judge everything that was written and ended."""
        log, ears = Announcements(self.round, self.lives.file.steps()), self.ears
        for write in ears.writes:
            text = f"profile of {write.login}: {write.was} > {write.now_is}"
            log.write(ref(write.login), write.at, partial(_fits, write), text)
        for at, login, began, profile in ears.ended:
            steps = log.effects(ref(login), at, f"a session of {login} was ended")
            last = [w for w in ears.writes if w.login == login and w.at <= at]
            if not steps or not last or login in ears.touched or began <= last[-1].at:
                continue
            if profile == last[-1].now_is:
                said = f"a session of {login} was ended although it was as wanted: it began {at - began:.2f} s before"
                self.round.wrong("kicked", said, ref(login), leaf=steps[-1].leaf)


def _fits(write: SecretChange, step: Announced) -> bool:
    return f'"{write.now_is}"' in step.after


def _place(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.host, endpoint.port


@asynccontextmanager
async def router_site(about: Round) -> AsyncIterator[RouterSite]:
    """Run two routers with everybody online, and an agent for them."""
    logins = {name: [f"user{n}@{name}" for n in range(SUBSCRIBERS)] for name in ROUTERS}
    routers = {
        name: Ppp.make_router(name, logins[name], version)
        for name, version in zip(ROUTERS, ("7.20.8", "7.15.3"), strict=True)
    }
    async with trio.open_nursery() as nursery:
        ways, endpoints = [], {}
        for name, router in routers.items():
            endpoint: Endpoint = await nursery.start(partial(serve, router, tls=True))
            to = partial(_place, endpoint)
            way = CuttingProxy(to, about.dice(f"way {name}"), about.count)
            await nursery.start(lambda task_status, way=way: way.run(task_status=task_status))
            ways.append(way)
            endpoints[name] = replace(endpoint, port=way.port)
        secrets = {f"routeros/{name}": PASSWORD for name in ROUTERS}
        text = router_text(endpoints, WAITS) + "".join(Ppp.method(name, WAITS) for name in ROUTERS)
        files = make_files(about.folder, text, [], secrets, policy={"pace": PACE})
        everybody = [login for name in ROUTERS for login in logins[name]]
        files.billing.rows.update({ref(login): billing_row(login) for login in everybody})
        files.billing.write()
        with trio.fail_after(60):
            while any(len(r.rows(ACTIVE)) < SUBSCRIBERS for r in routers.values()):  # noqa: ASYNC110  CPE tell nobody
                await trio.sleep(0.02)
        ears, lives = RouterEars(), Lives(about, files)
        for router in routers.values():
            ears.listen(router)
        try:
            await lives.begin()
            await lives.office.install()
            await nursery.start(lives.watched)
            yield RouterSite(about, routers, ways, lives, ears, everybody)
        finally:
            lives.end()
            nursery.cancel_scope.cancel()


async def play(about: Round, _: Servers) -> None:
    """Play a round."""
    dice = about.dice("faults")
    kinds = {"cut": RouterSite.cut, "device": RouterSite.device_faults, "admin": RouterSite.admin}
    about.faults = [name for name in kinds if dice.random() < 0.65] or ["cut"]
    async with router_site(about) as site:
        change: Json = {}
        for action in ("suspend", "revert"):
            before = {login: site.profile(login) for login in site.logins}
            refs = [] if change else [ref(login) for login in site.logins]
            change = await site.lives.approved(action, *refs, **({"change": change["id"]} if change else {}))
            acts = {name: partial(kinds[name], site) for name in about.faults}
            await site.lives.through_chaos(action, acts)
            shown = await site.lives.end_of(change)
            if shown is not None:
                site.judge_rest(shown, before)
        site.judge_all()
        for item in site.lives.file.items():
            about.count[f"= {item.state}"] += 1
