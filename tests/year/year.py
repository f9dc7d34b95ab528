"""A dirty year: staff edit rows, accounting gets lost, NAS and database restart; and 3,000 asks meanwhile.

Each ask is followed to its end, and what the agent claimed is compared with what the lines could really do meanwhile
(`lab.truth`). What was claimed and never so is kept with the ask, the truth and what the world did before.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import trio

from lab.errors import LabDatabaseError, LabError, NoAnswerError
from lab.isp import Isp, LabOptions, open_lab
from lab.population import TARIFFS, LabService
from lab.radius_client import Endpoint
from lab.staff import Staff, write_disabled_group
from lab.truth import History, LineState, OnlineSession
from tests.builders.people import any_time
from tests.e2e.files import Files, dsn_of, lab_files, ref_of, stamp
from tests.e2e.site import ApiRefusedError, Json, Office, Site, b64, items_of, open_site
from tests.servers import MariaDB, PostgreSQL, RadiusDatabase
from tests.year.claims import ItemFact, Recorded, Wanted, differences, false_already, false_at_end, opened
from tests.year.moved_time import MovedTime, moved_time
from trust import chain
from trust import envelope as envelopes

YEAR_S = 365 * 86400
AT_ONCE = 12
TRUST_S = 20 * 86400
"""How long a trust document is used before the next one is signed; it ends after 30 days."""
T = TypeVar("T")
END_S = 600.0
"""How long an ask may take: much longer than any does, since the machine may be busy."""
LAST_S = 0.3
"""How much of the time before an item's end counts as its last moment; a CPE is back after a sixth of it."""
LOSS_PERCENT = 5
DRIFT_EVERY = 4
"""So many rounds lie between two looks at the drift."""
GROUPS = {t.name: t.group for t in TARIFFS}
KINDS = (("suspend", 34), ("restore", 26), ("set-plan", 12), ("disconnect", 8), ("revert", 14))
FINAL = frozenset(
    {
        *("blocked", "excluded", "skipped", "stale", "superseded", "cancelled", "expired"),
        *("not-applied", "applied", "set-at-next-login", "set-not-enforced", "diverged", "reverted", "needs-a-person"),
    }
)
REASONS = ("debt", "debt", "debt", "abuse", "request")


@dataclass(frozen=True, slots=True)
class YearOptions:
    """How a year goes. `restart`: restarts the database, None where it cannot; `restarts`: how often in the year.

    `asks_a_round`: so many asks lie between two moves of the clock, and between two restarts at least.
    """

    folder: Path
    seed: int = 1
    services: int = 600
    asks: int = 3000
    asks_a_round: int = 25
    nas: int = 3
    database: RadiusDatabase | None = None
    radius: Endpoint | None = None
    restart: Callable[[], Awaitable[None]] | None = None
    restarts: int = 52
    reboots: int = 40
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the agent claimed or did, and should not have."""

    at: str
    ask: int
    change: str
    asked: str
    service: str
    login: str
    claim: str
    truth: str
    before: tuple[str, ...]


@dataclass
class YearReport:
    """What a year showed. `false`: claims that were false when made; `harm`: what was done to lines that should not."""

    seed: int
    asks: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    deeds: int = 0
    drift_rounds: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    false: list[Finding] = field(default_factory=list)
    harm: list[Finding] = field(default_factory=list)

    def json(self) -> dict[str, object]:
        """Return it as an object for JSON."""
        counters = {name: dict(getattr(self, name)) for name in ("outcomes", "refused", "differences")}
        return {**asdict(replace(self, outcomes=Counter(), refused=Counter(), differences=Counter())), **counters}


@dataclass(slots=True)
class Line:
    """A service's line; `first`: its login at first, by which the agent knows it."""

    service: LabService
    ref: str
    first: str


class Year:
    """The year, as it goes."""

    def __init__(self, options: YearOptions, isp: Isp, site: Site, moved: MovedTime) -> None:
        self.report = YearReport(options.seed)
        self._options, self.isp, self.site, self._moved = options, isp, site, moved
        self.dice = random.Random(options.seed)
        self.staff = Staff(isp, options.seed)
        self.history = History(isp)
        self._lines = {ref_of(s): Line(s, ref_of(s), s.login) for s in isp.services}
        self._changes: dict[int, tuple[str, tuple[str, ...]]] = {}
        self._suspended: set[str] = set()
        self._trust_at_s = moved.now_s()

    # --- the rounds ---

    async def run(self) -> YearReport:
        """Live through the year."""
        began, false, harm = trio.current_time(), 0, 0
        await write_disabled_group(self.isp)
        rounds = math.ceil(self._options.asks / self._options.asks_a_round)
        for nas in self.isp.nas.values():
            nas.set_fault(f"accounting-lost:{LOSS_PERCENT}")
        for n in range(rounds):
            await self._round(n, rounds)
            if n % DRIFT_EVERY == DRIFT_EVERY - 1 or n == rounds - 1:
                await self._drift()
            for finding in (*self.report.false[false:], *self.report.harm[harm:]):
                self._options.say(str(finding))
            false, harm = len(self.report.false), len(self.report.harm)
            self._options.say(
                f"round {n + 1}/{rounds}: {self.report.asks} asks, {len(self.report.false)} false claims, "
                f"{len(self.report.harm)} harms, {trio.current_time() - began:.0f} s"
            )
        self.report.seconds = round(trio.current_time() - began, 1)
        self.report.deeds = len(self.staff.deeds)
        return self.report

    async def _round(self, n: int, rounds: int) -> None:
        self._moved.moved_s += YEAR_S / rounds
        await self._new_day()
        first = n * self._options.asks_a_round
        planned = self._plan(range(first, min(first + self._options.asks_a_round, self._options.asks)))
        events = self._events(n, rounds)
        places = trio.CapacityLimiter(AT_ONCE)

        async def ask(one: Ask) -> None:
            async with places:
                await one.run()

        async with trio.open_nursery() as nursery:
            for one in planned:
                nursery.start_soon(ask, one)
            for event in events:
                nursery.start_soon(event)

    def _plan(self, numbers: Iterable[int]) -> list[Ask]:
        """Return the asks of a round: no two of them are about one line, so their order decides nothing."""
        free = list(self._lines)
        self.dice.shuffle(free)
        earlier = [self._changes[number] for number in sorted(self._changes)[-60:]]
        planned = []
        for number in numbers:
            kind = self.dice.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
            count = self.dice.choices((1, self.dice.randrange(2, 9), self.dice.randrange(11, 17)), (86, 11, 3))[0]
            change = ""
            # Who is suspended is restored more often than others
            if kind == "restore" and self.dice.random() < 0.8:
                free.sort(key=lambda ref: ref not in self._suspended)
            refs = tuple(free[:count])
            if kind == "revert" and (found := [(c, r) for c, r in earlier if all(ref in free for ref in r)]):
                change, refs = self.dice.choice(found)
            elif kind == "revert":
                kind = "suspend"
            if not refs:
                break
            free = [ref for ref in free if ref not in refs]
            self.dice.shuffle(free)
            planned.append(Ask(self, number, kind, refs, change))
        return planned

    def _events(self, n: int, rounds: int) -> list[Callable[[], Awaitable[None]]]:
        """Return what happens to the whole ISP in a round."""
        found: list[Callable[[], Awaitable[None]]] = []
        if self._falls_into(n, rounds, self._options.restarts) and self._options.restart is not None:
            found.append(self._restart_database)
        if self._falls_into(n, rounds, self._options.reboots):
            found.append(self._reboot)
        if self._falls_into(n, rounds, 26):
            found.append(self.staff.edit_tariff)
            found.append(lambda: _forget(self.staff.add_user(n)))
        return found

    def _falls_into(self, n: int, rounds: int, times: int) -> bool:
        return n * times // rounds != (n + 1) * times // rounds

    async def _restart_database(self) -> None:
        await trio.sleep(self.dice.random())
        self.staff.note("", "the database restarted")
        if self._options.restart is not None:
            await self._options.restart()

    async def _reboot(self) -> None:
        await trio.sleep(self.dice.random())
        name = self.dice.choice(sorted(self.isp.nas))
        try:
            await self.staff.reboot(name, announced=self.dice.random() < 0.5)
        except (NoAnswerError, LabDatabaseError):
            self.staff.note("", f"{name} rebooted, and RADIUS does not answer")

    async def _new_day(self) -> None:
        """Let billing export, trust be renewed, and some of the sessions be accounted for."""
        now_s = self._moved.now_s()
        people, files = self.site.people, self.site.files
        people.now_s = int(now_s)
        if now_s - self._trust_at_s > TRUST_S:
            self._trust_at_s = now_s
            await renew_trust(self.site, int(now_s))
        bill(files, now_s)
        await self.site.import_csv()
        for line in self.dice.sample(list(self._lines.values()), min(60, len(self._lines))):
            login = self.staff.current[line.first]
            await self.isp.nas_of(login).report(login)
            if self.dice.random() < 0.5:
                await self.staff.act(line.first)

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return what the database reads: each connection from before its restart fails once."""
        with trio.fail_after(END_S):
            while True:
                try:
                    return await read()
                except LabDatabaseError:
                    await trio.sleep(0.05)

    # --- drift ---

    async def _drift(self) -> None:
        """Have the agent compare everything, while nothing happens: it finds each difference, and no other."""
        await self.site.call("POST", "/v1/drift", {})
        with trio.fail_after(END_S):
            while (found := await self.site.call("GET", "/v1/drift"))["running"]:  # noqa: ASYNC110  as a person asks
                await trio.sleep(0.05)
        self.report.drift_rounds += 1
        said: dict[str, set[str]] = {}
        reads: dict[tuple[str, str], str] = {}
        for one in found["differences"]:
            said.setdefault(one["subject"], set()).add(one["code"])
            reads[one["subject"], one["code"]] = f"{one['reads']} ({one['known']})"
        unread = {one["subject"] for one in found["not_checked"]}
        services = {s["ref"]: s for s in await self.site.call("GET", "/v1/subscribers")}
        open_rows = "SELECT acctsessionid, username FROM radacct WHERE acctstoptime IS NULL"
        rows = await self._patiently(lambda: self.isp.database.fetch(open_rows))
        known = {str(row[0]): str(row[1]) for row in rows}
        for ref, line in self._lines.items():
            sample = await self._patiently(lambda login=line.first: self.history.sample(login))  # type: ignore[misc]  # bound now
            state = LineState(self.history.sessions(line.first), sample.next)
            service = services[ref]
            recorded = Recorded(bool(service["suspended_for"]), service["tariff"], GROUPS)
            truth = differences(recorded, state, sample.rows, known.keys())
            self.report.differences.update(truth)
            told = said.get(ref, set())
            if ref in unread and not told:
                self.report.differences["not checked"] += 1
                continue
            for code in truth - told:
                self._drift_finding(ref, f"drift: nothing told of {code}", state, told)
            gone = {s for s, login in known.items() if login == line.first} - {s.session_id for s in state.sessions}
            for code in told - truth:
                # Said to be by accounting, which has such a row: the session ended without a word, and nobody was told
                if gone and code.startswith("session-") and "by accounting" in reads[ref, code]:
                    self.report.differences[f"{code} by accounting only"] += 1
                    continue
                open_rows = await self._open_rows(line.first)
                self._drift_finding(ref, f"drift: {code}", state, (reads[ref, code], f"rows: {open_rows}"))

    async def _open_rows(self, login: str) -> str:
        """Return the open rows of accounting of a login, for people."""
        columns = "acctsessionid, nasipaddress, framedipaddress, acctstarttime, acctupdatetime"
        rows = await self.isp.database.fetch(f"SELECT {columns}, username FROM radacct WHERE acctstoptime IS NULL")
        return "; ".join(" ".join(map(str, row[:-1])) for row in rows if row[-1] == login)

    def _drift_finding(self, ref: str, claim: str, state: LineState, told: Iterable[str]) -> None:
        words = (f"told: {', '.join(sorted(told)) or 'nothing'}",)
        self.report.false.append(self.finding(-1, "", "drift", ref, claim, state.text(), words))

    # --- what an ask needs ---

    def note_change(self, number: int, change: str, refs: Iterable[str]) -> None:
        """Remember a change for a later revert."""
        self._changes[number] = change, tuple(refs)

    def note_recorded(self, service: Json) -> None:
        """Remember whether the agent has a service as suspended, for later restores."""
        if service["suspended_for"]:
            self._suspended.add(service["ref"])
        else:
            self._suspended.discard(service["ref"])

    def line(self, ref: str) -> Line:
        """Return a service's line."""
        return self._lines[ref]

    def logins(self, ref: str) -> set[str]:
        """Return every login of a line: that of its sessions may be another than that of its CPE."""
        first = self._lines[ref].first
        return {first, self.staff.current[first]}

    def finding(
        self, number: int, change: str, asked: str, ref: str, claim: str, truth: str, words: Sequence[str] = ()
    ) -> Finding:
        """Return a finding about a service."""
        first = self._lines[ref].first
        now = trio.current_time()
        deeds = [f"{now - d.at:.2f} s ago, {_stamp(d.wall_s)}: {d.what}" for d in self.staff.of(first, 8)]
        at = _stamp(self._moved.now_s())
        return Finding(at, number, change, asked, ref, first, claim, truth, (*deeds, *words))


class Ask:
    """One ask, from before its preview to after its end."""

    def __init__(self, year: Year, number: int, kind: str, refs: tuple[str, ...], change: str) -> None:
        self._year, self._number, self._kind, self._refs, self._change = year, number, kind, refs, change
        self._dice = random.Random(f"{year.report.seed} {number}")
        self._reason = self._dice.choice(REASONS)
        self._tariff = self._dice.choice(TARIFFS).name
        self._asked = f"{kind} {' '.join(refs)}" + {
            "suspend": f" --reason {self._reason}",
            "restore": f" --reason {self._reason}",
            "set-plan": f" {self._tariff}",
            "revert": f" {change}",
        }.get(kind, "")
        self._judged = set(refs)
        self._acted: set[str] = set()
        self._before: dict[str, Json] = {}
        self._began = self._previewed = 0.0
        self._sessions: dict[str, tuple[OnlineSession, ...]] = {}
        self._at_first: dict[str, LineState] = {}

    async def run(self) -> None:
        """Ask, approve, wait, judge."""
        year = self._year
        for ref in self._refs:
            if self._dice.random() < 0.4:
                await self._prepare(year.line(ref).first)
        try:
            await self._sample()
            self._before = {ref: await self._recorded(ref) for ref in self._refs}
            self._began = trio.current_time()
            self._sessions = {ref: self._online(ref) for ref in self._refs}
            logins = {ref: year.staff.current[year.line(ref).first] for ref in self._refs}
            self._at_first = {ref: year.history.last(login) for ref, login in logins.items()}
            await self._new()
        except LabDatabaseError:
            year.report.refused["the database was away"] += 1
        except ApiRefusedError as err:
            year.report.refused[err.code] += 1
        finally:
            year.report.asks += 1

    async def _prepare(self, login: str) -> None:
        """Let something happen to a line beforehand: often the very thing that the ask is about."""
        staff = self._year.staff
        acts = {
            "suspend": (staff.disable, staff.unmark, staff.power_cycle),
            "restore": (staff.unmark, staff.disable, staff.mark),
            "set-plan": (staff.move, staff.vanish, staff.power_cycle),
        }
        if self._kind in acts and self._dice.random() < 0.5:
            act = self._dice.choice(acts[self._kind])
            try:
                staff.note(login, await act(login))
            except LabError as err:
                staff.note(login, f"tried in vain: {err}")
        else:
            await staff.act(login)

    async def _new(self) -> None:
        site = self._year.site
        fields: Json = {"reason": self._reason if self._kind in ("suspend", "restore") else ""}
        refs = self._refs
        if self._kind == "set-plan":
            fields["tariff"] = self._tariff
        if self._kind == "revert":
            refs, fields["change"] = (), self._change
        try:
            change = await site.ask(self._kind, *refs, **fields)
        except ApiRefusedError as err:
            await self._judge_refusal(err)
            return
        self._previewed = trio.current_time()
        await self._sample()
        self._judge_preview(change, self._previewed)
        if self._dice.random() < 0.1:
            await self._act()
        approved = trio.current_time()
        await self._approve(change)
        done = await self._finish(change, approved)
        if done is not None and self._dice.random() < 0.5:
            await self._retry(done)

    async def _approve(self, change: Json) -> None:
        for who in ("joseph", "lena")[: max(1, change["need"])]:
            await self._year.site.hand_in(self._year.site.approval(change, who), change["id"])

    async def _retry(self, change: Json) -> None:
        """Retry as the output advises, and once more."""
        self._kind, self._asked = "retry", f"retry {change['id']} of {self._asked}"
        for _ in range(2):
            left = {i["service"] for i in change["items"] if i["state"] == "set-not-enforced"}
            if not left:
                return
            self._judged = left
            await self._sample()
            self._began = trio.current_time()
            await self._year.site.call("POST", f"/v1/changes/{change['id']}/retry", {})
            change = await self._finish(change, self._began) or change
            self._year.report.asks += 1

    async def _finish(self, change: Json, began: float) -> Json | None:
        """Wait for the end and judge; None: it never ended."""
        year = self._year
        async with trio.open_nursery() as nursery:
            if self._dice.random() < 0.12:
                nursery.start_soon(self._act)
            with trio.move_on_after(END_S) as late:
                await self._watch(change)
        if late.cancelled_caught:
            year.report.outcomes["never ended"] += 1
            return None
        ended = trio.current_time()
        done = await year.site.show(change)
        await self._sample()
        year.note_change(self._number, done["id"], self._refs)
        for item in done["items"]:
            if item["service"] in self._judged:
                year.report.outcomes[f"{self._kind}: {item['state']}"] += 1
                await self._judge_item(done, item, began, ended)
        return done

    async def _watch(self, change: Json) -> None:
        while True:
            await self._year.site.watch(change, END_S)
            now = await self._year.site.show(change)
            ended = all(i["state"] in FINAL for i in now["items"]) and now["finished_seq"] is not None
            if now["gate"] not in ("open", "approved", "consumed") or ended:
                return
            await trio.sleep(0.05)

    async def _act(self) -> None:
        await trio.sleep(self._dice.random() * 0.1)
        ref = self._dice.choice(self._refs)
        await self._sample_one(ref)
        self._acted.add(ref)
        await self._year.staff.act(self._year.line(ref).first)
        await self._sample_one(ref)

    # --- the truth ---

    async def _sample(self) -> None:
        for ref in self._refs:
            await self._sample_one(ref)

    async def _sample_one(self, ref: str) -> None:
        for login in self._year.logins(ref):
            for _ in range(50):
                try:
                    await self._year.history.sample(login)
                    break
                except LabDatabaseError:
                    await trio.sleep(0.1)

    async def _recorded(self, ref: str) -> Json:
        found = await self._year.site.call("GET", f"/v1/subscribers/{ref.replace('/', '%2F')}?network=0")
        service: Json = found["services"][0]
        return service

    def _states(self, ref: str, start: float, end: float) -> list[LineState]:
        """Return what was so; where the CPE has another login since, of its sessions under both."""
        login = self._year.staff.current[self._year.line(ref).first]
        return list(self._year.history.during(login, start, end))

    def _online(self, ref: str) -> tuple[OnlineSession, ...]:
        return tuple(s for login in self._year.logins(ref) for s in self._year.history.sessions(login))

    def _wanted(self, service: Json, *, speed: bool) -> Wanted:
        rate = self._year.staff.rates.get(service["tariff"], "")
        return Wanted(bool(service["suspended_for"]), frozenset({rate}) if speed and rate else frozenset())

    # --- judging ---

    def _false(self, change: str, ref: str, claim: str, states: Sequence[LineState]) -> None:
        truth = " | ".join(dict.fromkeys(s.text() for s in states)) or "nothing known"
        found = self._year.finding(self._number, change, self._asked, ref, claim, truth)
        self._year.report.false.append(found)

    def _harm(self, change: str, ref: str, what: str, states: Sequence[LineState], *words: str) -> None:
        truth = " | ".join(dict.fromkeys(s.text() for s in states))
        found = self._year.finding(self._number, change, self._asked, ref, what, truth, words)
        self._year.report.harm.append(found)

    async def _judge_refusal(self, err: ApiRefusedError) -> None:
        self._year.report.refused[f"{self._kind}: {err.code}"] += 1
        await self._sample()
        ended = trio.current_time()
        for ref in self._refs:
            line = next((text for text in err.message.splitlines() if ref in text), "")
            if "already" in line and "rejected today" not in line:
                self._judge_already(ref, "", line, ended)
            self._judge_stuck(ref, "", line, ended)

    def _judge_preview(self, change: Json, ended: float) -> None:
        whys = {item.subject: item.display.get("why_not", "") for item in items_of(change)}
        for item in change["items"]:
            if item["service"] in self._before and item["reason"] == "already":
                self._judge_already(item["service"], change["id"], whys[item["service"]], ended)
            if item["service"] in self._before and item["state"] == "blocked":
                self._judge_stuck(item["service"], change["id"], item["reason"], ended)

    def _judge_already(self, ref: str, change: str, words: str, ended: float) -> None:
        states = self._states(ref, self._began, ended)
        before = self._before[ref]
        former = frozenset(self._year.staff.former_rates.get(before["tariff"], ()))
        wanted = replace(self._wanted(before, speed=self._kind == "set-plan"), former=former)
        if claim := false_already(self._kind, wanted, states, words):
            self._false(change, ref, f"{claim} ({words})", states)

    def _judge_stuck(self, ref: str, change: str, words: str, ended: float) -> None:
        """A suspension of ours must be taken back whatever else is in the rows."""
        if self._kind not in ("restore", "revert") or "rejected" not in words:
            return
        if not self._before[ref]["suspended_for"]:
            return
        states = self._states(ref, self._began, ended)
        if all(s.next.walled for s in states):
            self._harm(change, ref, f"a suspension cannot be taken back: {words}", states)

    async def _judge_item(self, change: Json, item: Json, began: float, ended: float) -> None:
        ref = item["service"]
        recorded = await self._recorded(ref)
        self._year.note_recorded(recorded)
        fact = ItemFact(item["state"], item["reason"] or "", item["detail"] or "")
        run = self._states(ref, began, ended)
        last = self._states(ref, ended - LAST_S, ended)
        changed = set(self._acted)
        if self._kind == "disconnect":
            self._judge_disconnect(change, item, ended)
        else:
            speed = self._kind == "set-plan" and recorded["tariff"] == self._tariff
            if claim := false_at_end(fact, self._wanted(recorded, speed=speed), run, last):
                self._false(change["id"], ref, f"{claim} ({fact.reason}: {fact.detail})", run)
        if ref in changed:
            return
        if self._kind == "suspend" and last and opened([self._at_first[ref]], last[0]):
            self._harm(change["id"], ref, "a suspension let somebody in who was rejected", last)
        other_speed = self._before[ref]["tariff"] != recorded["tariff"]
        self._judge_kicks(change, ref, self._wanted(recorded, speed=other_speed), speed=other_speed)

    def _judge_disconnect(self, change: Json, item: Json, ended: float) -> None:
        ref = item["service"]
        if item["state"] != "applied":
            return
        # Of a login that staff changed meanwhile, only what is left of the one that the agent knows
        known = {s.session_id for s in self._year.history.sessions(self._year.line(ref).first)}
        left = known & {s.session_id for s in self._sessions[ref]}
        if left:
            self._false(change["id"], ref, "applied: its sessions were ended", self._states(ref, ended, ended))

    def _judge_kicks(self, change: Json, ref: str, wanted: Wanted, *, speed: bool) -> None:
        """A session that began during the ask and already had what is wanted must not be ended by it.

        `speed`: what is wanted is another speed. Accounting tells none, so a session that the preview shows may have
        any, and the preview says that it ends: then only one that began after the preview counts. None does where the
        tariff before has the same speed now: whether the session began before or after the write, nobody can tell.
        """
        same_before = speed and self._kind != "retry" and wanted.next_fits(self._at_first[ref])
        if self._kind == "disconnect" or same_before:
            return
        asked = {
            r.session_id: r.at
            for nas in self._year.isp.nas.values()
            for r in nas.received
            if r.at >= self._began and r.outcome == "ack" and r.login in self._year.logins(ref)
        }
        since, now = self._previewed if speed else self._began, trio.current_time()
        for state in self._states(ref, self._began, now):
            for session in state.sessions:
                fits = wanted.sessions_fit(replace(state, sessions=(session,)))
                late = session.began > since or self._kind == "retry"
                if session.session_id in asked and late and fits:
                    told = f"{now - session.began:.2f} s ago it began, {now - asked.pop(session.session_id):.2f} s ago"
                    what = f"session {session.session_id} was ended: it was as wanted"
                    words = f"{told} it was ended, the preview was made {now - self._previewed:.2f} s ago"
                    self._harm(change["id"], ref, what, [state], words)


async def _forget(made: Awaitable[object]) -> None:
    await made


def _stamp(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def bill(files: Files, now_s: float) -> None:
    """Let billing export: everybody owes."""
    now = datetime.fromtimestamp(now_s, UTC)
    for row in files.billing.rows.values():
        row["as_of"] = stamp(now)
        row["due"] = (now - timedelta(days=10)).date().isoformat()
        row["paid_at"] = stamp(now - timedelta(days=60))
    files.billing.write()


async def renew_trust(office: Office, now_s: int) -> None:
    """Sign the next version of the trust document and install it."""
    files = office.files
    head = chain.head_sha256(envelopes.decode_untrusted(files.signed_trust()[0]))
    version = files.trust.version + 1
    files.trust = replace(files.trust, version=version, prev=head, issued=now_s, expires=now_s + 30 * 86400)
    document, words = files.signed_trust()
    await office.call("POST", "/v1/trust", {"document": b64(document), "words": words})


@asynccontextmanager
async def open_year(options: YearOptions) -> AsyncIterator[Year]:
    """Run the ISP and the agent for the block."""
    with moved_time() as moved:
        lab = LabOptions(
            options.folder,
            services=options.services,
            nas=options.nas,
            seed=options.seed,
            dsn=None if options.database is None else dsn_of(options.database),
            radius=options.radius,
            redial_delay_s=0.05,
            retry_s=0.3,
            retry_most_s=10.0,
            clock=moved.now_s,
        )
        async with open_lab(lab) as isp:
            files = lab_files(options.folder, isp, within_s=(1, 1))
            files.people.policy = tuple(replace(p, budget_per_hour=100_000) for p in any_time())
            files.trust = replace(files.trust, policy=files.people.policy)
            async with open_site(files) as site:
                yield Year(options, isp, site, moved)


async def live(options: YearOptions) -> YearReport:
    """Live through a year."""
    async with open_year(options) as year:
        return await year.run()


def restarter(server: PostgreSQL | MariaDB, away_s: float = 0.5) -> Callable[[], Awaitable[None]]:
    """Return a restart of a database server, which is away in between. Only the main thread may start one."""

    async def restart() -> None:
        server.stop()
        await trio.sleep(away_s)
        server.start_again()

    return restart
