"""CPE by CWMP: the lab's call the agent's ACS over the simulated network, and it calls them back."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, ClassVar, Final
from unittest import mock

import trio

from agent.cpe_model import effects
from lab.cpe.transfers import firmware
from tests.e2e.site import ApiRefusedError, Json
from tests.sim.descriptors import taken_over
from tests.sim.judge import Evidence, Verdict
from tests.sim.part import Declared, Part, WorldAct, WorldFault
from tests.sim.parts import cpe_rules
from tests.sim.parts.cpe_device import DOES, PORT, RING, RING_USER, SHARED, USER, WRITES, Done, Home, WatchedDevice
from tests.sim.parts.cpe_faults import ALWAYS, FAULTS, reset
from tests.sim.parts.cpe_people import ACTS
from tests.sim.parts.cpe_rules import CpeStep
from tests.sim.people import Desk
from tests.sim.steps import steps_of
from tests.sim.witness import OpenStep
from tests.sim.world import World

HOMES: Final = (6, 9)
HOMES_MIN: Final = 3
"""As many as somebody asks for at once."""
ASKS: Final = 10
CLERK_S: Final = 20.0
WITHIN_S: Final = {"reboot": 60, "factory-reset": 90, "firmware": 120, "diagnose": 60}
"""How long each effect may take here."""
READ: Final = ("wifi.1.ssid", "wifi.1.channel", "wifi.1.key", "inform.interval")
"""What people have read of a CPE that they accepted."""
QUIET_AFTER_S, QUIET_S = 550.0, 14_400
CANARY: Final = "hush-"
"""In every secret, and in no word of the product: it must not be seen anywhere."""
CONFIG: Final = f"""
[cwmp]
listen = "127.0.0.1"
port = {PORT}
user = "{USER}"
secret = "cwmp/shared"
request_user = "{RING_USER}"
request_secret = "cwmp/ring"
request_networks = ["127.0.0.0/8"]
wait_s = 300
files = "../images"
"""
BASELINE: Final = """
[baseline.gate]
oui = ["02AC5F"]
[baseline.gate.values]
"wan.ppp.username" = "{login}"
"wifi.1.key" = "{secret:cpe/wifi}"
"""


class LogReader(logging.Handler):
    """Reads everything that is logged, for secrets."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        told = f"{record.getMessage()} {record.__dict__}"
        if CANARY in told:
            self.found.append(told[:200])


def service_of(serial: str) -> str:
    return f"C-{serial}/home"


class CpePart(Part):
    """The CPE. `homes`: by serial number; `clones`: devices that pose as one of them."""

    name = "cpe"
    faults: ClassVar[tuple[WorldFault, ...]] = FAULTS
    acts: ClassVar[tuple[WorldAct, ...]] = ACTS

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Make the devices; they are switched on once the agent is installed."""
        self._world, self._nursery = world, nursery
        self._stack = ExitStack()
        self._stack.enter_context(taken_over("agent.connectors.cwmp.listener.listening"))
        self._stack.enter_context(mock.patch.dict(effects.WITHIN_S, WITHIN_S))
        self.logged = LogReader()
        logging.getLogger().addHandler(self.logged)
        self._stack.callback(logging.getLogger().removeHandler, self.logged)
        images = world.options.folder / "images"
        images.mkdir()
        for version in ("2.0.0", "2.1.0"):
            (images / f"gate-{version}.bin").write_bytes(firmware(version))
        dice = random.Random(f"cpe {world.options.seed}")
        self.clones: list[Home] = []
        self.strikes: list[Callable[[Home], None]] = []
        """What strikes next when a device has done something."""
        self.given: dict[str, str] = {}
        """The secret that people gave, by plan."""
        self.shown: list[str] = []
        """What the API and the agent's files showed of secrets."""
        self.baseline = dice.random() < 0.4
        self.homes = {
            home.device.identity.serial: home
            for n in range(max(HOMES_MIN, round(dice.randint(*HOMES) * world.options.size)))
            for home in [
                self._make(f"LAB{n:04d}", f"127.1.0.{n + 1}", old=dice.random() < 0.4, quirks=dice.choice(ALWAYS))
            ]
        }
        self.house = {serial: service_of(serial) for serial in self.homes}
        """The service of the house in which each CPE is."""
        config = CONFIG + (BASELINE if self.baseline else "")
        secrets = {"cwmp/shared": SHARED, "cwmp/ring": RING}
        if self.baseline:
            secrets["cpe/wifi"] = f"{CANARY}of-the-baseline"
        return Declared(config, secrets, {service_of(serial): _billing(serial) for serial in self.homes})

    def _make(self, serial: str, address: str, **more: Any) -> Home:
        world = self._world
        home = Home(serial, address, world.clock.wall_s, world.options.seed, interval_s=150, **more)
        home.device.on_done = lambda done: self._on_done(home, done)
        home.device.tell = lambda text: world.trace(f"{serial}: {text}")
        return home

    def clone(self, home: Home) -> Home:
        """Switch a device on that is in all a copy of another one, with its passwords."""
        device = home.device
        made = self._make(
            device.identity.serial,
            f"127.2.0.{len(self.clones) + 1}",
            old=home.old,
            quirks=home.quirks,
            login=(device.server("Username"), device.server("Password")),
        )
        self.clones.append(made)
        self._nursery.start_soon(made.run)
        return made

    def service_with(self, login: str) -> str | None:
        """Return the service that has a login; None: none does."""
        return next((service_of(serial) for serial in self.homes if _billing(serial)["login"] == login), None)

    def carry(self, one: Home, other: Home) -> None:
        """Carry two CPE to each other's house."""
        first, second = one.device.identity.serial, other.device.identity.serial
        self.house[first], self.house[second] = self.house[second], self.house[first]
        one.address, other.address = other.address, one.address
        self._world.trace(f"{first} is at {self.house[first]} now, and {second} at {self.house[second]}")

    async def accept(self, desk: Desk, home: Home, dice: random.Random) -> None:
        """Accept a CPE for the house in which it is."""
        await trio.sleep(dice.uniform(0, 60))
        name, settings = home.device.name, {"service": self.house[home.device.identity.serial]}
        change = await desk.calmly(lambda: self._world.office.ask("cpe-accept", name, settings=settings))
        if change is not None:
            await self._accepted(desk, change, name, dice)

    async def install(self, world: World) -> None:
        """Switch the devices on, each at a moment of its own."""
        dice = random.Random(f"cpe power {world.options.seed}")
        for home in self.homes.values():
            self._nursery.start_soon(home.run, dice.uniform(0, 20))

    def close(self) -> None:
        """Give trio its own functions back."""
        self._stack.close()

    def devices(self, name: str) -> list[WatchedDevice]:
        """Return the devices of a name: one, or more where it was cloned."""
        return [h.device for h in (*self.homes.values(), *self.clones) if h.device.name == name]

    def _on_done(self, home: Home, done: Done) -> None:
        """Take note of what a device did, at that instant. The ACS asked for it: nobody else can."""
        world, name = self._world, home.device.name
        if done.method not in WRITES and done.method not in DOES:
            return
        if done.fault:
            world.trace(f"{name}: fault {done.fault} to {done.method} {done.key}")
            return

        def about(step: OpenStep) -> bool:
            return f"/{name}/" in str(step.do)

        kept = world.witness.seen.writes if done.is_write else world.witness.seen.sent
        world.witness.note(kept, name, f"agent {world.machine.lives}", f"{done.method} {done.key}", about, done.method)
        for strike in list(self.strikes):
            strike(home)

    # --- people -------------------------------------------------------------------------------------------------------

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Let a clerk accept CPE and approve what the agent asks for, and others ask for changes."""
        self._desk = desk
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._clerk, desk, within_s)
            for n in range(ASKS):
                dice = random.Random(f"{world.options.seed} cpe ask {n}")
                if world.is_busy(f"cpe ask {n}"):
                    nursery.start_soon(self._ask, desk, dice, within_s)

    async def settle(self, world: World) -> None:
        """Have all devices well, and let the clerk accept those that came back without their password.

        Where a copy of the agent's files was put back, owners reset the devices whose passwords are younger than the
        copy, as docs/operations.md says: nobody knows these passwords any more.
        """
        for home in self.homes.values():
            home.device.quirks = home.quirks
        self._nursery.start_soon(self._reset_shut_out)
        await self._clerk(self._desk, 200)
        await self._look_for_secrets()
        self._nursery.start_soon(self._be_quiet)

    async def _reset_shut_out(self) -> None:
        with trio.move_on_after(QUIET_AFTER_S):
            while self._world.restored:
                for home in self.homes.values():
                    if home.device.is_shut_out:
                        home.device.is_shut_out = False
                        reset(home)
                await trio.sleep(CLERK_S)

    async def _be_quiet(self) -> None:
        """Let the devices call seldom, once all is at rest: days may follow."""
        await trio.sleep(QUIET_AFTER_S)
        for home in self.homes.values():
            home.call_every(QUIET_S)

    async def _clerk(self, desk: Desk, within_s: float) -> None:
        dice = random.Random(f"{self._world.options.seed} cpe clerk {trio.current_time()}")
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(within_s):
                while True:
                    await trio.sleep(CLERK_S)
                    await self._accept_all(desk, dice, nursery)
                    if self.baseline:
                        await self._approve_all(desk, dice, nursery)

    async def _accept_all(self, desk: Desk, dice: random.Random, nursery: trio.Nursery) -> None:
        office = self._world.office
        for shown in await desk.calmly(lambda: office.call("GET", "/v1/cpes")) or ():
            if shown["trust"] == "accepted" and "many share" not in shown["why"]:
                continue
            with suppress(ApiRefusedError):
                settings = {"service": self.house[shown["serial"]]}
                change = await desk.patiently(partial(office.ask, "cpe-accept", shown["name"], settings=settings))
                if change is not None:
                    nursery.start_soon(self._accepted, desk, change, shown["name"], dice)

    async def _accepted(self, desk: Desk, change: Json, name: str, dice: random.Random) -> None:
        await desk.see_through(change, "cpe-accept", frozenset({name}), dice)
        office = self._world.office
        with suppress(ApiRefusedError):
            body = {"names": READ, "timeout_s": 60}
            await desk.patiently(lambda: office.call("POST", f"/v1/cpes/{name}/refresh", body))

    async def _approve_all(self, desk: Desk, dice: random.Random, nursery: trio.Nursery) -> None:
        """Approve the baselines that the agent asks for."""
        office = self._world.office
        path = "/v1/changes?state=waiting-for-approval&by=noc-1"
        for listed in await desk.calmly(lambda: office.call("GET", path)) or ():
            if listed["plan_id"] in desk.asked or not listed["action"].startswith("cpe-"):
                continue  # the agent asks for restores of payers too: those are not the clerk's
            change = await desk.calmly(partial(office.show, listed["id"]))
            if change is not None:
                nursery.start_soon(desk.see_through, change, "cpe-set", _subjects(change), dice)

    async def _ask(self, desk: Desk, dice: random.Random, within_s: float) -> None:
        await trio.sleep(dice.uniform(60, within_s))
        office = self._world.office
        names = [h.device.name for h in dice.sample(list(self.homes.values()), dice.choice((1, 1, 1, 2, 3)))]
        secret = f"{CANARY}{dice.randrange(10**9):09d}"
        action, fields = _wanted(dice, secret)
        try:
            change = await desk.patiently(lambda: office.ask(action, *names, **fields))
            if change is None:
                return
            self.given[change["plan_id"]] = secret
            await desk.see_through(change, action, _subjects(change), dice)
            if action == "cpe-set" and dice.random() < 0.2:
                await trio.sleep(dice.uniform(10, 60))
                back = await desk.patiently(lambda: office.ask("revert", change=change["id"]))
                if back is not None:
                    await desk.see_through(back, "cpe-set", _subjects(back), dice)
        except ApiRefusedError as err:
            desk.refused.append(err.code)
            self._world.trace(f"people: {action} refused: {err}")

    async def _look_for_secrets(self) -> None:
        """Look for secrets in what the API tells and in what the agent keeps."""

        async def get(path: str) -> Any:  # which may be what ends an agent whose database is damaged
            return await self._desk.patiently(lambda: self._world.office.call("GET", path))

        known = [cpe["name"] for cpe in await get("/v1/cpes") or ()]
        for path in ("/v1/changes", "/v1/cpes", "/v1/audit", *(f"/v1/cpes/{name}" for name in known)):
            if CANARY in str(await get(path)):
                self.shown.append(f"GET {path}")
        for file in sorted(self._world.files.state.glob("*.db*")):
            if CANARY.encode() in file.read_bytes():
                self.shown.append(file.name)

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be of CPE."""
        log = self._world.witness.agent_log.log()
        assert log is not None
        steps = steps_of(log, self._world.witness.agent_log.at_of, CpeStep, "cwmp")
        return cpe_rules.judge(evidence, self, steps)


def _billing(serial: str) -> dict[str, str]:
    return {
        "subscriber": f"C-{serial}",
        "name": serial,
        "service": "home",
        "login": f"{serial.lower()}@lan",
        "method": "lan",
        "tariff": "Home 20M",
        "balance": "34.00",
    }


def _subjects(change: Json) -> frozenset[str]:
    return frozenset(item["cpe"] for item in change["items"] if item["state"] == "planned")


def _wanted(dice: random.Random, secret: str) -> tuple[str, dict[str, Any]]:
    """Return what somebody asks of CPE."""
    ssid = {"wifi.1.ssid": f"net {dice.randrange(10**6)}"}
    both = {**ssid, "wifi.1.channel": dice.choice(("1", "6", "11"))}
    port = dice.randrange(2000, 9000)
    row = f"Device.NAT.PortMapping.[ExternalPort={port}]"
    image = dice.choice(("2.0.0", "2.1.0"))
    failing = {"on_failure": dice.choice(("stop", "revert"))}
    return dice.choice(
        [
            ("cpe-set", {"settings": ssid, **failing}),
            ("cpe-set", {"settings": both, **failing}),
            ("cpe-set", {"settings": {}, "secrets": {"wifi.1.key": secret}}),
            ("cpe-set", {"settings": ssid, "secrets": {"wifi.1.key": secret}}),
            ("cpe-set", {"settings": {**ssid, f"+{row}": "InternalClient=192.168.1.20,InternalPort=80,Protocol=TCP"}}),
            ("cpe-reboot", {}),
            ("cpe-reboot", {}),
            ("cpe-firmware", {"settings": {"file": f"gate-{image}.bin", "version": image}}),
            ("cpe-firmware", {"settings": {"file": f"gate-{image}.bin", "version": image}}),
            ("cpe-factory-reset", {}),
            ("cpe-diagnose", {"settings": {"test": "ping", "host": "192.0.2.1", "count": "2"}}),
        ]
    )
