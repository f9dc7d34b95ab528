"""Routers with subscribers of their own: PPP secrets, leases, hotspot users, fixed addresses. No RADIUS.

Deeds are told by the router itself: which user's command changed which row. What a subscriber can do is sampled from
its packet view after each step in which a row changed.
"""

from __future__ import annotations

import bisect
import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar

import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from lab.router.certificate import Certificate
from lab.router.server import Endpoint, serve
from lab.truth import LineState
from tests.e2e.files import COLUMNS
from tests.e2e.site import ApiRefusedError, Json
from tests.sim.judge import Evidence, Verdict
from tests.sim.part import Declared, Part, WorldAct, WorldFault
from tests.sim.parts import router_rules
from tests.sim.parts.router_access import RUNNING, TARIFFS, Access, Sample, api_password, drawn_kinds, furnish
from tests.sim.parts.router_faults import FAULTS
from tests.sim.parts.router_people import ACTS
from tests.sim.parts.router_record import AGENT, RecordedRouter, RowChange
from tests.sim.people import Desk
from tests.sim.sockets import CLIENT, Process
from tests.sim.witness import ORIGINAL, Deed, OpenStep, machine_of
from tests.sim.world import World

SUBSCRIBERS = 3
"""On each router."""
VERSIONS = ("7.20.8", "7.15.3", "7.24")
ASKS = 6
TLS_SHARE = 0.3
"""How many routers speak TLS."""


ALREADY = "already suspended"
"""Words of an answer that a suspension is there, and reads so."""


@dataclass
class Line:
    """A subscriber of a router, and what was true of it since each moment."""

    service: str
    access: Access
    who: str
    times: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def note(self, at: float) -> None:
        """Sample it now."""
        found = self.access.sample(self.who)
        self.access.had.update({one.address: self.who for one in (*found.online, *found.left)})
        if not self.samples or self.samples[-1] != found:
            self.times.append(at)
            self.samples.append(found)

    def during(self, start: float, end: float, *, suspended: bool) -> Iterator[LineState]:
        """Yield each state of a stretch of time, latest first. `suspended`: for whom it is judged."""
        first = max(0, bisect.bisect_right(self.times, start) - 1)
        for n in reversed(range(first, bisect.bisect_right(self.times, end))):
            yield self.samples[n].state(suspended=suspended)


@dataclass(frozen=True, slots=True)
class Written:
    """A row of a subscriber that a command of an agent changed.

    `read_at`: when that agent last read its menu before. `machine`: on which it runs.
    """

    at: float
    service: str
    router: str
    change: RowChange
    read_at: float
    open: tuple[OpenStep, ...]
    machine: str


@dataclass(frozen=True, slots=True)
class Already:
    """An answer that nothing of a suspension would change: the service's line of it, and when the question was put."""

    asked_at: float
    at: float
    service: str
    words: str


class RouterPart(Part):
    """The routers. `lines`: their subscribers by service; `tariffs`: asked for, by plan."""

    name = "routers"
    faults: ClassVar[tuple[WorldFault, ...]] = FAULTS
    acts: ClassVar[tuple[WorldAct, ...]] = ACTS

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Start the routers, each on an address of its own."""
        self.world = world
        self.routers: dict[str, RecordedRouter] = {}
        self.access: dict[str, Access] = {}
        self.already: list[Already] = []
        self.lines: dict[str, Line] = {}
        self.hosts: dict[str, str] = {}
        self.tariffs: dict[str, str] = {}
        self.written: list[Written] = []
        self.changed: dict[tuple[str, str, str], list[tuple[float, str]]] = {}
        """When each row was changed, by router, menu and id, and by which machine's agent; "": by others."""
        dice = random.Random(f"routers of {world.options.seed}")
        config, secrets, billing = "", {}, {}

        def since_s() -> float:
            return world.clock.wall_s() - trio.current_time()

        for n, kind in enumerate(drawn_kinds(world.options.seed), 1):
            name = f"edge-{n}"
            router = RecordedRouter(dice.choice(VERSIONS), name, world.clock.wall_s, trio.current_time)
            furnish(router, kind)
            access = self.access[name] = kind(router, name, SUBSCRIBERS, since_s)
            self.routers[name], self.hosts[name] = router, f"127.0.7.{n}"
            router.told = partial(self._told, name)
            certificate = _certificate(name) if dice.random() < TLS_SHARE else None
            serving = partial(serve, router, host=self.hosts[name], port=8728 + bool(certificate))
            endpoint: Endpoint = await nursery.start(
                partial(serving, tls=certificate is not None, certificate=certificate)
            )
            config += _target(name, endpoint) + access.config()
            secrets[f"routeros/{name}"] = api_password(router)
            for who, login in access.logins.items():
                service = f"C-{name}-{who}/home"
                self.lines[service] = Line(service, access, who)
                billing[service] = _billing_row(service, login, name)
        world.services += sorted(self.lines)
        return Declared(config, secrets, billing)

    # --- people -------------------------------------------------------------------------------------------------------

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Ask for what only these services are asked for: tariffs, disconnects, reverts."""
        async with trio.open_nursery() as nursery:
            for n in range(ASKS):
                dice = random.Random(f"{world.options.seed} routers ask {n}")
                if world.is_busy(f"routers ask {n}"):
                    nursery.start_soon(self._ask, desk, dice, within_s)

    async def _ask(self, desk: Desk, dice: random.Random, within_s: float) -> None:
        await trio.sleep(dice.uniform(0, within_s))
        action = dice.choice(("suspend", "restore", "set-plan", "set-plan", "disconnect"))
        tariff = dice.choice(TARIFFS) if action == "set-plan" else ""
        services = dice.sample(sorted(self.lines), dice.choice((1, 1, 2)))
        change = await self.change(desk, action, services, tariff)
        if change is None or dice.random() < 0.6:
            return
        await trio.sleep(dice.uniform(5, 60))
        await self.change(desk, "revert", (), "", change["id"])

    async def change(
        self, desk: Desk, action: str, services: Iterable[str], tariff: str, reverted: str = ""
    ) -> Json | None:
        """Ask for a change and see it through; return its preview. `reverted`: the change that a revert takes back."""
        office = desk.world.office
        asked_at = trio.current_time()

        async def ask() -> Json:
            nonlocal asked_at
            asked_at = trio.current_time()
            return await office.ask(action, *services, tariff=tariff, change=reverted)

        try:
            change: Json | None = await desk.patiently(ask)
        except ApiRefusedError as err:
            desk.refused.append(err.code)
            if action == "suspend":
                told = [(one, words) for words in err.message.splitlines() for one in services if one in words]
                self.already += [Already(asked_at, trio.current_time(), *one) for one in told if ALREADY in one[1]]
            return None
        if change is None:
            return None
        subjects = frozenset(item["service"] for item in change["items"] if item["state"] == "planned")
        dice = random.Random(f"{desk.world.options.seed} routers {change['id']}")
        asked = await desk.see_through(change, action, subjects, dice)
        if tariff:
            self.tariffs[asked.plan] = tariff
        return change

    # --- what is seen -------------------------------------------------------------------------------------------------

    def look(self, process: Process | None) -> None:
        """Sample who may have changed."""
        for name, router in self.routers.items():
            if router.dirty:
                router.flush()
                router.dirty = False
                for line in self.lines.values():
                    if line.access.name == name:
                        line.note(trio.current_time())

    def _told(self, name: str, changes: list[RowChange], user: str, command: str) -> None:
        """Take note of rows that a command changed, or nobody's command did."""
        client = CLIENT.get()
        by = "" if user != AGENT else ORIGINAL if client is None else client.name
        menu = command.rpartition("/")[0]
        for change in changes:
            if change.row.dynamic and change.path != menu:
                continue  # it follows from another
            props = change.after or change.before
            who = self.access[name].owner(change.path, props)
            service = f"C-{name}-{who}/home" if who else ""
            if by:
                self._by_agent(name, service, change, by)
            elif service and not change.row.dynamic:
                self._note(name, self.world.witness.seen.writes, service, "", change)
            if not change.row.dynamic:
                changed = self.changed.setdefault((name, change.path, change.row.id), [])
                changed.append((trio.current_time(), machine_of(by)))

    def _by_agent(self, name: str, service: str, change: RowChange, by: str) -> None:
        seen = self.world.witness.seen
        subject = service or f"{name} {change.path} {change.row.id}"
        if change.path in RUNNING:
            self._note(name, seen.sent, subject, by, change)
            self._note(name, seen.ended, subject, by, change)
            return
        self._note(name, seen.writes, subject, by, change)
        read_at = self.routers[name].printed.get((change.path, CLIENT.get()), float("-inf"))
        now, open_ = trio.current_time(), seen.writes[-1].open
        self.written.append(Written(now, subject, name, change, read_at, open_, machine_of(by)))

    def _note(self, name: str, kept: list[Deed], subject: str, by: str, change: RowChange) -> None:
        props = change.after or change.before
        what = f"{change.event} {change.path}"
        session = self.access[name].session(change.path, props) if change.path in RUNNING else ""
        self.world.witness.note(kept, subject, by, what, lambda step: step.service == subject, session)

    def is_other(self, service: str) -> bool:
        """Tell whether a subscriber's own row is gone, or says another tariff than an agent wrote to it last.

        A restore is refused then: a person corrects the row, or the record, first.
        """
        if (line := self.lines.get(service)) is None:
            return False
        own = [one.change.after for one in self.written if (one.service, one.change.path) == (service, line.access.own)]
        row, names = line.access.row(line.who), [name.replace("_", "-") for name in line.access.by_hand(TARIFFS[0])]
        return bool(own) and (row is None or any(row.props.get(name) != own[-1].get(name) for name in names))

    async def settle(self, world: World) -> None:
        """Let routers work and everybody be there."""
        for name, router in self.routers.items():
            router.faults.clear()
            router.down_s = 0.0
            router.safe_mode.release()
            access = self.access[name]
            for who in access.logins:
                access.back(who)

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be of routers and their subscribers."""
        return router_rules.judge(evidence, self)


def _certificate(name: str) -> Certificate:
    """Return a router's certificate, the same in each run: of Ed25519, whose signatures have one length."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2035, 1, 1, tzinfo=UTC))
        .sign(key, None)
    )
    der = made.public_bytes(serialization.Encoding.DER)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(made.public_bytes(serialization.Encoding.PEM), text, hashlib.sha256(der).hexdigest())


def _target(name: str, endpoint: Endpoint) -> str:
    tls = f'fingerprint = "{endpoint.fingerprint}"' if endpoint.fingerprint else "insecure = true"
    return (
        f'[routeros.{name}]\nhost = "{endpoint.host}"\nport = {endpoint.port}\nuser = "{AGENT}"\n'
        f'secret = "routeros/{name}"\n{tls}\nserial = "SERIAL-{name}"\n'
    )


def _billing_row(service: str, login: str, method: str) -> dict[str, str]:
    values = {
        "subscriber": service.partition("/")[0],
        "name": f"Subscriber {service}",
        "service": "home",
        "login": login,
        "method": method,
        "tariff": TARIFFS[0],
        "balance": "34.00",
        "feeds": "0",
    }
    return {column: values.get(column, "") for column in COLUMNS}
