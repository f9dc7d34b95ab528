"""CPE by TR-069 that lose answers, connections and power, while the agent dies; each value is taken once.

The judge is the CPE's own: it tells of every value that its SSID had.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio

from lab.cpe.client import Cpe
from lab.cpe.quirks import Quirks
from tests.e2e.cpe_site import SSID, accept, acs_files, device, free_port, name
from tests.e2e.router_site import billing_row, ref
from tests.e2e.site import ApiRefusedError
from tests.torture.rounds import Lives, Round, Servers
from tests.torture.ways import CuttingProxy, cuts

CPES = 6
CALLS_S = (0.1, 0.9)
"""How long a CPE waits between two calls."""
QUIRKS = {
    1: Quirks(loses_answer_on=("SetParameterValues",), loses=-1),
    2: Quirks(reboots_on=("SetParameterValues",)),
}
"""Of every fourth CPE."""
NOT_DONE = ("stale", "not-applied", "cancelled", "expired", "skipped", "planned", "excluded", "blocked")


@dataclass
class SetAsk:
    """A value that somebody asked for."""

    change: str
    serial: str
    value: str


@dataclass
class CpeFleet:
    """CPE, the way to their ACS, and the agent. `took`: every value that an SSID came to have, in order."""

    round: Round
    lives: Lives
    way: CuttingProxy
    cpes: dict[str, Cpe]
    who: dict[str, str]
    took: dict[str, list[str]]
    asked: list[SetAsk] = field(default_factory=list)

    async def call_in(self, serial: str) -> None:
        """Let a CPE call in again and again until cancelled."""
        dice = self.round.dice(f"calls {serial}")
        while True:
            await trio.sleep(dice.uniform(*CALLS_S))
            with trio.move_on_after(8):
                await self.cpes[serial].call_in("2 PERIODIC")

    async def accept(self, serial: str) -> None:
        """Let the agent accept a CPE, and read it once."""
        await accept(self.lives.office, name(serial), ref(self.who[serial]))
        look = {"names": ["wifi.1.ssid"], "timeout_s": 30}
        await self.lives.office.call("POST", f"/v1/cpes/{name(serial)}/refresh", look)

    async def ask_again_and_again(self, serial: str, dice: random.Random) -> None:
        """Ask for one value after the other."""
        office, lives = self.lives.office, self.lives
        for n in range(1, 1000):
            await trio.sleep(0.5 * dice.random())
            value = f"{serial}-v{n}"
            try:
                who = ref(self.who[serial])
                ask = partial(office.ask, "cpe-set", who, settings={"wifi.1.ssid": value})
                change = await lives.patiently(ask)
                self.asked.append(SetAsk(change["id"], serial, value))
                self.round.say(f"{change['id']} ({value}) is asked for")
                for person in ("joseph", "lena")[: max(1, change["need"])]:
                    await lives.patiently(partial(office.hand_in, office.approval(change, person), change["id"]))
            except ApiRefusedError as err:
                self.round.count[f"refused {err.code}"] += 1
                continue
            with trio.move_on_after(25):
                while not lives.file.finished(change["id"]):  # noqa: ASYNC110  of another process
                    await trio.sleep(0.2)
            self.round.say(f"{change['id']} ({value}) is over: {lives.file.finished(change['id'])}")

    # --- faults -------------------------------------------------------------------------------------------------------

    async def power_cuts(self, dice: random.Random) -> None:
        while True:
            await trio.sleep(0.5 + 1.5 * dice.random())
            dice.choice(list(self.cpes.values())).power_cut()
            self.round.count["power cut"] += 1

    async def cut_answers(self, dice: random.Random) -> None:
        """Cut connections at the answer to a write, before it passes, after, and now and then at any message."""
        self.way.rules = [*cuts(0.15, "SetParameterValuesResponse"), *cuts(0.01, "POST")]
        try:
            await trio.sleep_forever()
        finally:
            self.way.rules = ()

    # --- judging ------------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Judge what each change says by what the CPE took."""
        items = {item.change: item for item in self.lives.file.items()}
        for one in self.asked:
            item = items[one.change]
            times, service = self.took[one.serial].count(one.value), ref(self.who[one.serial])
            said = f"{one.change} ({one.value}) is {item.state} ({item.reason}: {item.detail})"
            truth = f"the CPE took it {times} times, and has {self.cpes[one.serial].device.tree.get(SSID)}"
            if times > 1:
                self.round.wrong("twice", said, service, truth)
            if (item.state == "applied" and not times) or (item.state in NOT_DONE and times):
                self.round.wrong("claim", said, service, truth)
            if item.state in ("unknown", "running"):
                self.round.wrong("restless", said, service, truth)
        for item in items.values():
            self.round.count[f"= {item.state}"] += 1


def _note(took: list[str], cpe: Cpe) -> None:
    value = cpe.device.tree.get(SSID)
    if value is not None and (not took or took[-1] != value):
        took.append(value)


@asynccontextmanager
async def cpe_fleet(about: Round, quirks: bool) -> AsyncIterator[CpeFleet]:
    """Run some CPE and their agent for the block; it knows them."""
    port, serials = free_port(), [f"LAB{n:04d}" for n in range(CPES)]
    files = acs_files(about.folder, port=port)
    who = {serial: f"u{n}@ppp" for n, serial in enumerate(serials)}
    files.billing.rows = {ref(person): billing_row(person) for person in who.values()}
    files.billing.write()
    lives = Lives(about, files)
    async with trio.open_nursery() as nursery:
        try:
            await lives.begin()
            await lives.office.install()
            await nursery.start(lives.watched)
            way = CuttingProxy(lambda: ("127.0.0.1", port), about.dice("way"), about.count)
            await nursery.start(lambda task_status: way.run(task_status=task_status))
            fleet = CpeFleet(about, lives, way, {}, who, {serial: [] for serial in serials})
            for n, serial in enumerate(serials):
                habits = QUIRKS.get(n % 4, Quirks()) if quirks else Quirks()
                made = device(f"http://127.0.0.1:{way.port}/acs", serial, quirks=habits)
                cpe = fleet.cpes[serial] = Cpe(made, boot_s=0.2, backoff_scale=0.02, listens=False)
                made.on_change.append(partial(_note, fleet.took[serial], cpe))
                await nursery.start(lambda task_status, cpe=cpe: cpe.run(task_status=task_status))
            for serial, cpe in fleet.cpes.items():
                with trio.fail_after(60):
                    await cpe.wait_sessions(1)
                nursery.start_soon(fleet.call_in, serial)
            async with trio.open_nursery() as accepting:
                for serial in serials:
                    accepting.start_soon(fleet.accept, serial)
            yield fleet
        finally:
            lives.end()
            nursery.cancel_scope.cancel()


async def play(about: Round, _: Servers) -> None:
    """Play a round."""
    dice = about.dice("faults")
    quirks = dice.random() < 0.6
    kinds = {"power-cut": CpeFleet.power_cuts, "answers-cut": CpeFleet.cut_answers}
    chosen = [kind for kind in kinds if dice.random() < 0.6]
    about.faults = [*chosen, *(["answers-lost", "boots"] if quirks else [])]
    async with cpe_fleet(about, quirks) as fleet:
        with trio.move_on_after(about.chaos_s):
            async with trio.open_nursery() as busy:
                busy.start_soon(fleet.lives.die_again_and_again, about.dice("kills"))
                for serial in fleet.cpes:
                    busy.start_soon(fleet.ask_again_and_again, serial, about.dice(f"asks {serial}"))
                for kind in chosen:
                    busy.start_soon(kinds[kind], fleet, about.dice(kind))
        about.say("the faults are over")
        await _end(fleet)


async def _end(fleet: CpeFleet) -> None:
    about, lives = fleet.round, fleet.lives
    if not await lives.settled(about.settle_s):
        about.wrong("restless", f"{lives.file.unfinished()} {about.settle_s:.0f} s after the last fault")
    await trio.sleep(1)
    await lives.check_rest()
    fleet.judge()
    about.count["asked"] += len(fleet.asked)
    about.count.update(Counter({"taken": sum(map(len, fleet.took.values()))}))
