"""Lab routers as the world of the crash suite: `RouterosConnector` as it is, over connections without a network.

The routers' clock is the virtual one, and they outlive the agent; its connections die with it, but what it had sent
arrives. `u0` is on the first router, all others are on the second; with `on_both`, everybody is on both.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import trio

from agent.changes.engine.sessions import ItemSessions, Sessions
from agent.connectors.base import AccessPlan
from agent.connectors.routeros.carrier_session import Carrier, Dial, Endpoint
from agent.connectors.routeros.connector import RouterosConnector
from agent.connectors.routeros.errors import UnreachableRouterError
from agent.connectors.routeros.schema import PppMethod, RouterosConfig, RouterTarget
from agent.model import Access, Address, Item, Listed, Seen, Service, ServiceState
from agent.runtime.clock import Clock
from lab.router.device import Router
from lab.router.faults import Fault, Faults
from lab.router.server import pump
from lab.router.store import Event
from lab.router.table import Row
from tests.agent.connectors.routeros.wires import Wire
from tests.builders.connector import commit
from tests.builders.expect import expect
from tests.builders.job import CrashedError, CrashingStore, Rig
from tests.builders.world import World
from trust.items import ReasonChange, SuspensionReason

SECRETS, ACTIVE, FILTER = "/ppp/secret", "/ppp/active", "/ip/firewall/filter"
PROFILES, ENTRIES = "/ppp/profile", "/ip/firewall/address-list"
CONFIGURATION = tuple(f"{path}/{verb}" for path in (PROFILES, ENTRIES, FILTER) for verb in ("add", "remove"))
CHANGING = (f"{SECRETS}/set", f"{ACTIVE}/remove", *CONFIGURATION)
USER, PASSWORD = "ispagents", b"api-password"
TARIFF, BOTH = "Home 20M", "both"
LATE_S = 1.5
"""How late a command may come whose connection is gone: under the connector's `SETTLE_S`, which promises no more."""
LATE = "late"

FAULTS: Mapping[str, tuple[str, ...]] = {
    "": (),
    LATE: (),  # the wire's
    "command-lost": ("command-lost",),
    "reply-lost": ("reply-lost",),
    "cut-before": ("cut-before",),
    "cut-after": ("cut-after",),
    "slow": ("slow:3",),
    "reboot": ("reboot",),
    "no-effect": ("no-effect",),
    "ack-without-effect": ("no-effect",),
    "nak": ("trap:failure: busy",),
    "refused": ("trap:not enough permissions (9)",),
    "third-value": ("drift", "reply-lost"),
}
"""The suite's faults as the lab's. `third-value`: somebody else changes the row between our look and our write."""


class Script(Faults[Router]):
    """Faults by their turn: the first command that changes something meets the first of `turns`, and so on."""

    def __init__(self, drift: Callable[[Router], None], on_fault: Callable[[], None]) -> None:
        super().__init__()
        self.turns: list[str] = []
        self._drift, self._on_fault = drift, on_fault

    def take(self, command: str) -> list[Fault[Router]]:
        if command in CHANGING and self.turns:
            faults = FAULTS[self.turns.pop(0)]
            if faults:
                self._on_fault()
            for fault in faults:
                self.inject(fault, match=command, drift=self._drift if fault == "drift" else None)
        return super().take(command)


class MortalWire(Wire):
    """A connection of one life. A command that changes something is a boundary: the process dies before it or after.

    It then breaks, and raises nothing itself: tasks that carry a connection are the connector's. Whoever waits for it
    dies of what it does next: a durable command, a pause, another connection.
    """

    def __init__(self, router: Router, late_s: Callable[[bytes], float], store: CrashingStore) -> None:
        super().__init__(router, late_s)
        self._store = store

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            with self._store.boundary() if changes(bytes(data)) else nullcontext():
                await super().send_all(data)
        except CrashedError:
            raise trio.BrokenResourceError from None


def changes(data: bytes) -> bool:
    """Tell whether bytes that are sent hold a command that changes something."""
    return any(command.encode() in data for command in CHANGING)


class MortalClock:
    """A clock whose sleepers die with the process."""

    def __init__(self, clock: Clock, died: trio.Event) -> None:
        self._clock, self._died = clock, died
        self.boot_id = clock.boot_id

    def wall_s(self) -> float:
        return self._clock.wall_s()

    def boot_s(self) -> float:
        return self._clock.boot_s()

    async def sleep(self, seconds: float) -> None:
        with trio.move_on_after(max(0.0, seconds)):
            await self._died.wait()
        await trio.lowlevel.checkpoint()
        if self._died.is_set():
            raise CrashedError

    async def sleep_until_boot(self, boot_s: float) -> None:
        await self.sleep(boot_s - self.boot_s())


class RouterRig(Rig):
    """A life of the agent on the routers. Its connections die with it, and its sleepers."""

    def __init__(self, folder: Path, world: RouterWorld, clock: Clock) -> None:
        died = trio.Event()
        super().__init__(folder, World(), MortalClock(clock, died))
        self._wires: list[MortalWire] = []
        self._died = died
        self.store.on_death = self._die
        self.connectors = {"routeros": world.connector(self._wire)}

    def _wire(self, router: Router, late_s: Callable[[bytes], float]) -> Wire:
        if self.store.dead:
            raise CrashedError
        self._wires.append(MortalWire(router, late_s, self.store))
        return self._wires[-1]

    def _die(self) -> None:
        self._died.set()
        for wire in self._wires:
            wire.close()


class RouterWorld:
    """The routers."""

    def __init__(self, clock: Clock, *, version: str = "7.20.8", on_both: bool = False) -> None:
        """`clock` may be another one in a later life."""
        self.clock, self._on_both = clock, on_both
        self._routers = {f"routeros/edge-{n}": isp_router(version, lambda: self.clock.wall_s()) for n in range(2)}
        self._writes: list[tuple[str, str]] = []
        self._kicks: list[tuple[str, str]] = []
        self._drifting = False
        self.on_fault: Callable[[], None] = lambda: None
        self._scripts = {target: Script(self._drift, lambda: self.on_fault()) for target in self._routers}
        for target, router in self._routers.items():
            router.faults = self._scripts[target]
            router.store.watchers.append(Watcher(router, target, self))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            for router in self._routers.values():
                nursery.start_soon(pump, router)
            yield
            nursery.cancel_scope.cancel()

    def router(self, target: str) -> Router:
        """Return a router, for what is done behind the agent's back."""
        return self._routers[target]

    def targets(self, login: str) -> Sequence[str]:
        """Return the routers that have a subscriber."""
        first, second = self._routers
        return (first, second) if self._on_both else (first,) if login == "u0" else (second,)

    def add(self, login: str, *, online: bool) -> None:
        for target in self.targets(login):
            self._routers[target].add(SECRETS, name=login, password="pw", profile="home20", service="pppoe")
            if online:
                self._routers[target].plug_in(login, "pw")

    def fault(self, login: str, faults: Sequence[str]) -> None:
        """As `CrashWorld` says; of another router than a subscriber's first: `login@TARGET`."""
        login, _, target = login.partition("@")
        self._scripts[target or self.targets(login)[0]].turns = list(faults)

    def unmet(self, login: str) -> Sequence[str]:
        turns = [fault for target in self.targets(login) for fault in self._scripts[target].turns]
        return [fault for fault in turns if fault != "refused"]  # that is for however many there are

    def drift(self, login: str) -> None:
        for target in self.targets(login):
            self._drift(self._routers[target], login)

    def _drift(self, router: Router, login: str = "u0") -> None:
        """Let somebody else change a row; `u0`'s are the only ones that faults are for."""
        self._drifting = True
        router.set(SECRETS, login, caller_id="02:00:00:00:00:99")
        self._drifting = False

    # --- the agent's side ---

    def connector(self, wire: Callable[[Router, Callable[[bytes], float]], Wire]) -> RouterosConnector:
        """Return the connector as the daemon makes it, but for the way to the routers and the clocks."""

        async def reach(endpoint: Endpoint) -> Carrier:
            await trio.lowlevel.checkpoint()
            router = self._routers[endpoint.host]
            if not router.connect():
                raise UnreachableRouterError("the port is closed", reason="refused")
            return Carrier(wire(router, partial(_late_s, router)))

        return connector_to({id_: (id_, 0) for id_ in self._routers}, self.clock, reach)

    def rig(self, folder: Path) -> Rig:
        return RouterRig(folder, self, self.clock)

    async def item(self, n: int, login: str) -> Item:
        return await suspension(self.connector(Wire), BOTH if self._on_both else self.targets(login)[0], n, login)

    # --- what the routers saw, and are ---

    def saw(self, target: str, path: str, row: Row, event: Event) -> None:
        """Take note of what an API client did."""
        if path == SECRETS and event == "changed" and not self._drifting:
            self._writes.append((row.props["name"], f"{target} {row.props['profile']}"))
        if path == ACTIVE and event == "removed":
            self._kicks.append((row.props["name"], target))

    def writes(self) -> Sequence[tuple[str, str]]:
        return self._writes

    def kicks(self) -> Sequence[tuple[str, str]]:
        return self._kicks

    def _rows(self, login: str) -> list[Row]:
        found = [self._routers[target].store.named(SECRETS, login) for target in self.targets(login)]
        return [row for row in found if row is not None]

    def value(self, login: str) -> str:
        return str([sorted(row.props.items()) for row in self._rows(login)])

    def suspended(self, login: str) -> bool | None:
        found = {row.props["profile"] == "suspended" for row in self._rows(login)}
        return found.pop() if len(found) == 1 else None

    def at_large(self, login: str) -> bool:
        found = [self._routers[target].gets_out(login) for target in self.targets(login)]
        return any(verdict.out or verdict.lingers for verdict in found)


class Watcher:
    """Tells the world of a router's rows, but not of the sessions that a restart ends."""

    def __init__(self, router: Router, target: str, world: RouterWorld) -> None:
        self._router, self._target, self._world = router, target, world
        self._boots = router.boots
        router.on_restart.append(self._restarted)

    def _restarted(self) -> None:
        self._boots = self._router.boots

    def __call__(self, path: str, row: Row, event: Event) -> None:
        if self._router.boots == self._boots:
            self._world.saw(self._target, path, row, event)


def _late_s(router: Router, data: bytes) -> float:
    script = router.faults
    return LATE_S if isinstance(script, Script) and script.turns[:1] == [LATE] and changes(data) else 0.0


def connector_to(where: Mapping[str, tuple[str, int]], clock: Clock, reach: Dial) -> RouterosConnector:
    """Return the connector to routers by their host and port, as the daemon makes it; methods by target, and `BOTH`."""
    tariffs = {TARIFF: "home20"}
    methods = [PppMethod(id_, id_, "suspended", tariffs) for id_ in where]
    first, *others = where
    methods.append(PppMethod(BOTH, first, "suspended", tariffs, also_on=tuple(others)))
    targets = tuple(
        RouterTarget(id_.removeprefix("routeros/"), host, port, USER, "password", insecure=True)
        for id_, (host, port) in where.items()
    )
    return RouterosConnector(
        RouterosConfig(targets, tuple(methods)),
        {"password": PASSWORD}.__getitem__,
        commit,
        clock=clock,
        reach=reach,
    )


async def suspension(connector: RouterosConnector, method: str, n: int, login: str) -> Item:
    """Return the item that the method's recipe plans."""
    service = Service(f"C-{login}/home", f"C-{login}", login, "home", login, method, TARIFF)
    recipe, seen = connector.access_methods[method], dict[Address, Seen]()
    sessions = Sessions({"routeros": connector})
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        while missing := list(recipe.reads(service, seen)):
            seen.update(await ItemSessions(sessions).read(missing))
        nursery.cancel_scope.cancel()
    plan = expect(AccessPlan, recipe.plan(ServiceState(Access.SUSPENDED, TARIFF), service, seen))
    return Item(
        n=n,
        salt=secrets.token_hex(16),
        subject=service.ref,
        listed=Listed.CHANGE,
        reason="",
        display={"title": login, "login": login},
        steps=plan.steps,
        enforce=plan.enforce,
        desired=(ReasonChange(SuspensionReason.DEBT, added=True),),
    )


def isp_router(version: str, clock: Callable[[], float]) -> Router:
    """Return a router with a tariff, and a suspended profile whose list is dropped."""
    router = Router(version, clock=clock)
    router.add("/ip/pool", name="cgnat", ranges="100.64.12.2-100.64.12.250")
    router.add("/ppp/profile", name="home20", rate_limit="20M/20M", local_address="100.64.12.1", remote_address="cgnat")
    suspended = {"address_list": "suspended", "local_address": "100.64.12.1", "remote_address": "cgnat"}
    router.add("/ppp/profile", name="suspended", **suspended)
    router.add(FILTER, chain="forward", action="drop", src_address_list="suspended")
    router.add("/user", name=USER, password=PASSWORD.decode(), group="full")
    return router
