"""The history through a whole agent: as composed in production, its journal on a disk, a lab network, virtual time.

A UISP CRM keeps the books of the lives. At chosen moments people ask for `change suspend --overdue` and approve it, bar
and unbar services for other reasons, and let back one in three of those who wait for a person; the agent restores
payers under a standing authority. Between two moments the whole world stands still, as a machine that is asleep; it
wakes some minutes before the next one. The oracle is asked of what lines became, at the instant of each change and at
the end of each moment:

* No line is closed whose subscriber might not be cut off at any time shortly before, and is not barred either.
* No line is opened that people have barred, or whose subscriber is not back by itself, unless a person let it back.
* Everybody who might be cut off when people asked is; everybody who is back by itself is; who waits is named.
"""

from __future__ import annotations

import bisect
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import trio
import trio._core._run as scheduler

from lab.billing.server import BillingServer, WebReply, WebRequest, serve_billing
from lab.history import PayerLife, books_at
from lab.payers import payers
from lab.population import MARKER_GROUP
from tests.e2e.files import ordinary, ref_of
from tests.e2e.site import ApiRefusedError, Json
from tests.history import through_uisp
from tests.history.oracle import Back, Cut, Looks, Oracle, day_ends
from tests.history.replay import Operator, Replayed, hot_moments, moments
from tests.history.through_uisp import UispOfLives
from tests.sim import jump
from tests.sim.part import Declared, Part
from tests.sim.parts.radius import RadiusPart
from tests.sim.run import uncollected
from tests.sim.sockets import Process
from tests.sim.world import World, WorldOptions, open_world
from tests.year.year import renew_trust

FIRST = date(2026, 1, 1)
DAYS = 731
MONTHS = 24
TOLD = replace(through_uisp.TOLD, holds_by_day=True)
"""Promises, and the days of postponements, stand in the subscriber file: the CRM has no such documents."""
KNOWN_S = 240.0
"""How old the agent's word on an account may be when it closes or opens a line: `recheck_s`, and the file's."""
BEFORE_S = 360.0
"""How long the world is awake before a moment: every source is read anew, and accounting comes."""
AFTER_S = 900.0
"""And after it: those who paid meanwhile come back."""
SIGN_S = 10 * 86_400.0
"""How long people use a trust document and a standing authority before they sign the next ones."""
LEAVE = 1 / 3
BACK = frozenset({Back.BY_ITSELF, Back.BARRED})


@dataclass(frozen=True, slots=True)
class Turned:
    """A line that was closed or opened at a time, unix seconds. `barred`: people had barred it, for no debt."""

    at_s: float
    service: str
    closed: bool
    barred: bool


class Lives(Part):
    """A CRM with the books of lives, and people who work with it. `replayed`: what was seen."""

    name: ClassVar[str] = "lives"

    def __init__(self, operator: Operator, count: int, seed: int, prefix: str) -> None:
        """Take the lives of `count` subscribers; `prefix`: of their invoices' numbers."""
        self.replayed = Replayed()
        self.lives: dict[str, PayerLife] = {}
        """By service."""
        self.operator, self._count, self._seed, self._prefix = operator, count, seed, prefix
        self._oracle = Oracle(operator.zone, TOLD, operator.grace_days, operator.minimum)
        self._dice = random.Random(f"people of {seed} {prefix}")
        self._polls: list[float] = []
        self._turned: list[Turned] = []
        self._written = 0
        self._let_back: dict[str, float] = {}
        self._barred: set[tuple[str, str]] = set()
        """Services and reasons, other than debts, that people recorded."""
        self._closed_s: dict[str, float] = {}
        self._signed_s = 0.0

    # --- the part -----------------------------------------------------------------------------------------------------

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Run the CRM."""
        self._world, self._radius = world, world.part(RadiusPart)
        services = ordinary(world.isp, self._count)
        found = payers(self._seed, self._count, self.operator.billing_zone, FIRST, MONTHS, self._prefix)
        lives = [replace(life, subscriber=s.subscriber) for life, s in zip(found, services, strict=True)]
        of = {life.subscriber: life for life in lives}
        known = (s for s in world.isp.services if s.subscriber in of and s.mapped)  # others have no line to close
        self.lives = {ref_of(s): of[s.subscriber] for s in known}
        self._system = UispOfLives(self.operator.billing_zone.key, lives)
        server: BillingServer = await nursery.start(self._serve)
        nursery.start_soon(self._keep_file)
        config = f'[uisp-crm.main]\nurl = "{server.url}/crm/api/v1.0"\nsecret = "billing/uisp"\n'
        o = self.operator
        blank = {"balance": "", "due": "", "paid_at": "", "as_of": "", "promise_until": ""}
        return Declared(
            config,
            {"billing/uisp": "lab-app-key"},
            dict.fromkeys(world.services, blank),
            f'authority = "main"\ngrace_days = {o.grace_days}\nminimum = "{o.minimum}"',
            f'timezone = "{o.zone.key}"',
        )

    async def _serve(self, task_status: trio.TaskStatus[BillingServer]) -> None:
        async with serve_billing(self) as server:
            task_status.started(server)
            await trio.sleep_forever()

    def answer(self, request: WebRequest) -> WebReply:
        """Return the CRM's answer, by its books of now."""
        now_s = self._now_s()
        self._system.go_to(now_s)
        if request.path.endswith("/payments"):
            self._polls.append(now_s)
        return self._system.crm.answer(request)

    async def _keep_file(self) -> None:
        """Export promises and postponements each minute in which they change; a person imports the list."""
        while True:
            await trio.sleep(60)
            changed = False
            for service, life in self.lives.items():
                row, until = self._world.files.billing.rows[service], _held_until(life, self._now_s())
                changed |= row["promise_until"] != until
                row["promise_until"] = until
            if changed:
                self._world.files.billing.write()
                await self._world.office.import_csv()

    def look(self, _process: Process | None) -> None:
        """Take note of lines that were closed or opened."""
        written = self._radius.written
        for one in written[self._written :]:
            was, now = (any(MARKER_GROUP in row for row in rows) for rows in (one.before[-1], one.after))
            if was is not now:
                barred = any(service == one.deed.subject for service, _ in self._barred)
                self._turned.append(Turned(self._now_s(), one.deed.subject, now, barred))
        self._written = len(written)

    def _now_s(self) -> float:
        return self._world.clock.wall_s()

    # --- a moment -----------------------------------------------------------------------------------------------------

    async def play(self, at_s: float) -> None:
        """Live through a moment."""
        asleep_s = at_s - BEFORE_S - self._now_s()
        if asleep_s > 0:
            self._world.clock.pass_s(asleep_s)
        woke_s = self._now_s()
        await self._sign()
        await self._bar()
        await trio.sleep(max(0.0, at_s - self._now_s()))
        await self._bar()
        await self._suspend()
        asked_s = self._now_s()
        await trio.sleep(max(asked_s, at_s) + AFTER_S - self._now_s())
        debts = self._debts()
        self._judge_lines()
        self._judge_cuts(woke_s, asked_s, debts)
        await self._judge_backs(debts)

    async def _sign(self) -> None:
        self._world.sign_now()
        if self._now_s() < self._signed_s + SIGN_S:
            return
        self._signed_s = self._now_s()
        office = self._world.office
        await renew_trust(office, int(self._signed_s))
        statement = office.people.standing(rate_per_hour=1000, minutes=20 * 24 * 60)
        (answer,) = await office.hand_in(statement)
        assert answer["accepted"], answer

    async def _do(self, action: str, *refs: str, **fields: object) -> None:
        """Ask, approve, and see the end; nothing where nothing would change."""
        self._world.sign_now()
        office = self._world.office
        try:
            change: Json = await office.ask(action, *refs, **fields)
        except ApiRefusedError as err:
            if err.code != "nothing-to-do":
                raise
            return
        await office.approve(change, *("joseph", "lena")[: max(1, change["need"])])
        while not (await office.show(change))["finished"]:  # noqa: ASYNC110  as a person looks
            await trio.sleep(5)

    async def _suspend(self) -> None:
        await self._do("suspend", settings={"overdue": "yes"})

    async def _bar(self) -> None:
        """Bar services for other reasons than debt, and unbar them, as their lives say."""
        recorded = self._recorded()
        for service, life in self.lives.items():
            bars = {span.what for span in life.barred if span.holds(self._now_s())}
            for reason in sorted(bars - recorded.get(service, set())):
                await self._do("suspend", service, reason=reason)
                self._barred.add((service, reason))
            for reason in sorted(recorded.get(service, set()) - bars - {"debt"}):
                self._let_back[service] = self._now_s()
                self._barred.discard((service, reason))
                await self._do("restore", service, reason=reason)

    # --- what is judged -----------------------------------------------------------------------------------------------

    def _query(self, sql: str) -> list[tuple[str, str, float]]:
        with closing(sqlite3.connect(f"file:{self._world.files.state / 'agent.db'}?mode=ro", uri=True)) as file:
            return file.execute(sql).fetchall()

    def _recorded(self) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for service, reason, _ in self._query("SELECT service, reason, 0 FROM reason"):
            found.setdefault(service, set()).add(reason)
        return found

    def _debts(self) -> Mapping[str, float]:
        """Return when the account of each service on record as cut off for a debt was looked at before that."""
        looked = "SELECT r.service, r.reason, coalesce(r.looked_s, e.at_s) FROM reason r JOIN event e ON e.seq = r.seq"
        return {service: at_s for service, reason, at_s in self._query(looked) if reason == "debt"}

    def _looks(self, at_s: float) -> Looks:
        return Looks(at_s, at_s, at_s, self._polls[: max(1, bisect.bisect_right(self._polls, at_s))])

    def _shortly_before(self, at_s: float) -> Iterator[float]:
        yield from (at_s - ago_s for ago_s in (0.0, KNOWN_S / 4, KNOWN_S / 2, KNOWN_S))

    def _judge_lines(self) -> None:
        """Judge each line that was closed or opened."""
        for one in self._turned:
            self.replayed.decisions += 1
            times = list(self._shortly_before(one.at_s))
            life = self.lives.get(one.service)
            if life is None:
                self._differ(one.service, one.at_s, "has no account", "closed" if one.closed else "opened")
                continue
            if one.closed:
                self._closed_s[one.service] = one.at_s
                said = {self._oracle.cut(life, self._looks(s)) for s in times}
                self.replayed.seen["line: closed"] += 1
                barred = one.barred or any(span.holds(s) for span in life.barred for s in times)
                if Cut.MAY not in said and not barred:
                    self._differ(one.service, one.at_s, f"cut {_words(said)}", "closed")
                continue
            by_people = self._let_back.get(one.service, 0.0) > one.at_s - AFTER_S
            self.replayed.seen[f"line: opened by {'people' if by_people else 'itself'}"] += 1
            cut_s = self._closed_s[one.service] - KNOWN_S
            said_back = {self._oracle.back(life, self._looks(s), cut_s) for s in times}
            if one.barred:
                self._differ(one.service, one.at_s, "barred", "opened")
            elif not by_people and not said_back & BACK:
                self._differ(one.service, one.at_s, f"back {_words(said_back)}", "opened")
        self._turned.clear()

    def _judge_cuts(self, woke_s: float, asked_s: float, debts: Mapping[str, float]) -> None:
        """Judge whether everybody was cut off who might be since before people asked until now."""
        for service, life in self.lives.items():
            self.replayed.decisions += 1
            said = [self._oracle.cut(life, self._looks(s)) for s in (woke_s + 60, asked_s, self._now_s())]
            self.replayed.seen[f"cut: {said[1].value}"] += 1
            if set(said) == {Cut.MAY} and service not in debts:
                self._differ(service, asked_s, "cut may", "left out")

    async def _judge_backs(self, debts: Mapping[str, float]) -> None:
        """Judge whether everybody is back who is to be, and whether the others are named; let some of those back."""
        doubtful = {one["service"] for one in (await self._world.office.call("GET", "/v1/billing"))["doubtful"]}
        now_s = self._now_s()
        waits = []
        for service in sorted(debts):
            self.replayed.decisions += 1
            life = self.lives[service]
            said = [self._oracle.back(life, self._looks(s), debts[service]) for s in (now_s - AFTER_S / 2, now_s)]
            self.replayed.seen[f"back: {said[1].value}"] += 1
            if set(said) <= BACK:
                self._differ(service, now_s, f"back {said[1].value}", "cut off for a debt still")
            if set(said) == {Back.WAITS}:
                waits.append(service)
                if service not in doubtful:
                    self._differ(service, now_s, "back waits for a person", "named to nobody")
        for service in waits:
            if self._dice.random() < LEAVE:
                self._let_back[service] = self._now_s()
                await self._do("restore", service)

    def _differ(self, service: str, at_s: float, oracle: str, agent: str) -> None:
        at = datetime.fromtimestamp(at_s, self._oracle.zone).isoformat()
        self.replayed.differ.append(f"{service} at {at}: oracle: {oracle}; agent: {agent}")


def _words(said: set[Cut] | set[Back]) -> str:
    return ", ".join(sorted(one.value for one in said))


def _held_until(life: PayerLife, at_s: float) -> str:
    """Return the last day of a promise or postponement as the subscriber file has it; "": there is none."""
    books = books_at(life, at_s)
    hold = [datetime.fromtimestamp(books.hold_until_s, life.zone).date()] if books.hold_until_s else []
    days = [*hold, *filter(None, [books.promise_until])]
    return max(days).isoformat() if days else ""


async def _live(part: Lives, played: list[float], options: WorldOptions, say: Callable[[str], None]) -> Replayed:
    async with open_world(options, [RadiusPart(), part]) as world:
        for n, at_s in enumerate(played):
            await part.play(at_s)
            if n % 10 == 9 or n == len(played) - 1:
                seen, day = part.replayed, datetime.fromtimestamp(at_s, part.operator.zone).date()
                say(f"{day}: {n + 1} of {len(played)} moments, {seen.decisions} decisions, {len(seen.differ)} differ")
        if world.witness.failed is not None:
            raise world.witness.failed
        assert len(world.machine.exits) == 0
    return part.replayed


def live(
    operator: Operator,
    count: int,
    every: int,
    *,
    seed: int = 1,
    hot: int = 40,
    days: int = DAYS,
    prefix: str = "A",
    kind: type[Lives] = Lives,
    say: Callable[[str], None] = lambda _: None,
) -> Replayed:
    """Return what was seen of an operator's subscribers.

    Args:
        operator: its zones and rules.
        count: how many subscribers.
        every: days between two days that are played.
        seed: of everything.
        hot: how many further moments, just before or after something happened.
        days: how many are lived.
        prefix: of the numbers of invoices; another one gives other lives.
        kind: of the part that plays them.
        say: is told how far it is.
    """
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # no public name
    scheduler._r.seed(seed)
    lives = payers(seed, count, operator.billing_zone, FIRST, MONTHS, prefix)
    first_s = datetime(2026, 1, 2, tzinfo=operator.zone).timestamp()
    last_s = day_ends(FIRST + timedelta(days=days - 1), operator.zone)
    found = {*moments(operator.zone, FIRST, days, every), *hot_moments(lives, operator.zone, hot, seed)}
    played = sorted(s for s in found if first_s <= s < last_s)
    with tempfile.TemporaryDirectory(prefix="isp-lives-") as folder, uncollected():
        part = kind(operator, count, seed, prefix)
        options = WorldOptions(Path(folder), seed, services=count * 5 // 4 + 6)
        return jump.run(lambda: _live(part, played, options, say))
