"""The lab's CPE on the line of a real ACS on loopback, with a real book; nothing of the main job around it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
import trio.testing

from agent.changes.journal.audit import Recorder
from agent.connectors.base import Session
from agent.connectors.cwmp import SPEC
from agent.connectors.cwmp.connector import CwmpConnector
from agent.connectors.cwmp.cpe_session import CpeSession
from agent.connectors.cwmp.schema import CwmpConfig
from agent.cpe.acceptance import AcceptanceRecorder
from agent.cpe.store import CpeStore, DecideCpe
from agent.cpe_model.addresses import address
from agent.cpe_model.known import Acceptance, CachedParameter, Called
from agent.cpe_model.profiles import bound
from agent.model import Address, CpeChange, Direction, Effect, Seen, Ticket, Transition, Value
from agent.runtime.clock import SystemClock
from agent.store.db import Store, Tx
from agent.store.log_store import Entry, Sealed
from agent.store.vault import Vault
from lab.cpe.client import Cpe
from lab.cpe.device import Device
from lab.cpe.model import Model
from lab.cpe.quirks import Quirks
from lab.cpe.state import Identity
from lab.cpe.tr181 import tr181
from tests.builders.connector import context
from tests.builders.expect import expect
from tests.builders.store import STORE_KEY, TRANSITIONS
from trust.leaf import LeafKind

SHARED = "shared-by-all-new-cpe"
OUI = "02AC5F"
SSID = "Device.WiFi.SSID.1.SSID"
KEY = "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
PORTS = "Device.NAT.PortMapping."
_PPP = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1."


async def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once it holds."""
    with trio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110  what is looked at tells nobody
            await trio.sleep(0.005)


class HandClock(SystemClock):
    """The machine's clock, whose wall can be put forward."""

    __slots__ = ("ahead_s",)

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "ahead_s", 0.0)

    def wall_s(self) -> float:
        ahead: float = self.ahead_s
        return super().wall_s() + ahead

    def forward(self, seconds: float) -> None:
        object.__setattr__(self, "ahead_s", self.ahead_s + seconds)


@dataclass(frozen=True)
class AcceptCpe:
    """Accepts a CPE for a service as an applied item of an approved plan does."""

    cpes: CpeStore
    name: str
    service: str | None
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        seq = tx.append(Entry(LeafKind.CPE_DECIDED, sealed=self.sealed))
        AcceptanceRecorder(self.cpes).record(tx, self.service, CpeChange(self.name, added=True), seq)


@dataclass
class Book:
    """An inventory of CPE over SQLite, and what keeps its secrets."""

    folder: Path
    store: Store
    vault: Vault
    recorder: Recorder
    clock: HandClock
    cpes: CpeStore

    async def decide(self, name: str, trust: Acceptance | None = Acceptance.ACCEPTED, *, forget: bool = False) -> None:
        sealed = self.recorder.record(None, {"what": "cpe", "cpe": name})
        await self.store.run(
            DecideCpe(name, trust, "" if trust is Acceptance.ACCEPTED else "by amina", sealed, forget=forget)
        )

    async def assure(self, name: str, service: str | None = None) -> None:
        """Have an approved plan accept a CPE for a service; None: for nobody's."""
        self.recorder.ensure([service])
        sealed = self.recorder.record(service, {"what": "item", "cpe": name})
        await self.store.run(AcceptCpe(self.cpes, name, service, sealed))

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.store.query(f"SELECT * FROM {table}")]

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.folder.glob("agent.db*"))


@contextmanager
def opened(folder: Path) -> Iterator[Book]:
    """Open a book in a folder; it is not waited for the disk."""
    clock, vault = HandClock(), Vault(STORE_KEY, folder / "keys.db")
    store = Store(folder, TRANSITIONS, clock.wall_s, high_water=vault.raise_mark)
    for con in (store._con, vault._con):
        con.execute("PRAGMA synchronous = OFF")
    try:
        yield Book(folder, store, vault, Recorder(vault), clock, CpeStore(store, vault))
    finally:
        store.close()
        vault.close()


def called(serial: str = "LAB0001", **more: Any) -> Called:
    """Return what a CPE says when it calls in."""
    root = more.pop("root", "Device.")
    fields: dict[str, Any] = {
        "name": f"{OUI}-LabGate-{serial}",
        "oui": OUI,
        "product_class": "LabGate",
        "serial": serial,
        "manufacturer": "Lab",
        "root": root,
        "software": "1.0.0",
        "hardware": "A1",
        "user": "cpe",
        "own": False,
        "address": "127.0.0.1",
        "request_url": "http://127.0.0.1:1/",
        "udp_address": "",
        "events": ("2 PERIODIC",),
        "at_s": 1_767_225_600,
    }
    return Called(**(fields | more))


def ticket(
    do: tuple[Transition, ...] | Effect, bound: Mapping[Address, Seen] | None = None, attempt: int = 1, step: int = 1
) -> Ticket:
    """Return leave to send; its deadline is never."""
    return Ticket("0f" * 16, 1, step, Direction.FORWARD, attempt, "cwmp/x", do, bound or {}, math.inf)


@dataclass
class AcsRig:
    """An ACS, and one CPE. `files`: folder of firmware images. `history_s`: how often it is read for its history."""

    book: Book
    model: Model = field(default_factory=tr181)
    serial: str = "LAB0001"
    files: Path | None = None
    history_s: int = 0
    commits: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = CwmpConfig(
            listen="127.0.0.1", port=0, user="cpe", secret="shared", files=self.files, history_s=self.history_s
        )
        secrets = {"shared": SHARED.encode()}
        made = expect(CwmpConnector, SPEC.make(config, context(secrets, self.book.cpes, self.book.clock)))
        self.connector = made
        self.nursery: trio.Nursery | None = None
        self.device_options: dict[str, Any] = {}
        self.cpe: Cpe

    # --- names

    def name(self) -> str:
        return f"{OUI}-LabGate-{self.serial}"

    def at(self, what: str) -> Address:
        return address(self.line.target.id, what if what.startswith("@") else self.model.prefix + what)

    @property
    def ports(self) -> str:
        return PORTS if self.model.prefix == "Device." else f"{_PPP}PortMapping."

    @property
    def port_key(self) -> str:
        return "ExternalPort"

    @property
    def key_path(self) -> str:
        if self.model.prefix == "Device.":
            return KEY
        return f"{self.model.prefix}LANDevice.1.WLANConfiguration.1.KeyPassphrase"

    def path(self, name: str) -> str:
        """Return where a name stands on the CPE as it is."""
        tree = self.cpe.device.tree
        every = {path: CachedParameter(tree.get(path), "string", 1) for path in tree.parameters(self.model.prefix)}
        return bound(self.line.profile(), every).resolve(name)

    @property
    def line(self) -> CpeSession:
        return self.connector.line(self.name())

    # --- what is known of it

    async def known(self) -> None:
        """Have the CPE known and accepted before it calls."""
        await self.book.cpes.called(called(self.serial, root=self.model.prefix, events=("2 PERIODIC",)))
        await self.book.assure(self.name())

    async def keep(self, secrets: Mapping[str, str], path: str = "") -> None:
        """Keep secrets by names; the CPE took the first one as its Wi-Fi key."""
        path = path or self.key_path
        self.commits |= {n: self.book.vault.commit(f"cwmp/{self.name()}/{path}", text) for n, text in secrets.items()}
        await self.book.cpes.keep_secrets({self.commits[n]: text for n, text in secrets.items()})
        first = next(iter(secrets))
        await self.book.cpes.was_set(self.name(), {path: self.commits[first]})

    def known_values(self) -> Mapping[str, CachedParameter]:
        return self.book.cpes.values(self.name())

    # --- on the line

    async def plug_in(self) -> None:
        """Switch the CPE on. Its first session is under way then."""
        assert self.nursery is not None
        options: dict[str, Any] = {"quirks": Quirks(), "interval_s": 300} | self.device_options
        url = f"http://127.0.0.1:{self.connector.listens_on}/acs"
        who = Identity(self.serial, oui=OUI, product_class="LabGate", software=options.pop("software", "1.0.0"))
        device = Device(who, self.model, url=url, username="cpe", password=SHARED, **options)
        device.diagnostics_s = 0.0
        self.cpe = Cpe(device, boot_s=0.0, backoff_scale=0.001, listens=False)
        cpe = self.cpe
        await self.nursery.start(lambda task_status: cpe.run(task_status=task_status))

    async def on_the_line(self) -> CpeSession:
        """Return the line with the CPE on it; it is asked to call in where it is not, as often as it must be."""
        if self.line.live is None:
            if not self.cpe.device.rebooting and not self.cpe.device.wants_session:
                self.cpe.device.add_event("2 PERIODIC")
            await until(lambda: self.line.live is not None and not self.cpe.device.rebooting)
        return self.line

    async def hang_up(self) -> None:
        """Let the CPE go, and wait until it is gone."""
        over = self.cpe.sessions
        if self.line.live is not None:
            self.line.live.release()
        with trio.fail_after(60):
            await self.cpe.wait_sessions(over)
        await until(lambda: self.line.live is None)


@asynccontextmanager
async def acs_rig(folder: Path, *, known: bool = True, **options: Any) -> AsyncIterator[AcsRig]:
    """Run an ACS whose CPE is on the line for as long as nobody lets it go."""
    model, files = options.pop("model", tr181()), options.pop("files", None)
    with opened(folder) as book:
        rig = AcsRig(book, model, files=files)
        rig.device_options = options
        if known:
            await rig.known()

        async def arrived(session: Session) -> None:
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            rig.nursery = nursery
            nursery.start_soon(rig.connector.serve, arrived)
            await rig.connector.port.wait()
            await rig.plug_in()
            if known:
                await rig.on_the_line()
            yield rig
            nursery.cancel_scope.cancel()


async def changes(rig: AcsRig, after: Mapping[str, Value]) -> tuple[Transition, ...]:
    """Return what sets parameters, from what they read now."""
    where = {rig.at(path.removeprefix(rig.model.prefix)): value for path, value in after.items()}
    now = await rig.line.read(list(where))
    return tuple(Transition(a, now[a], value) for a, value in where.items())


def text(value: str) -> Value:
    return {"value": value}


async def reads(rig: AcsRig, path: str) -> Value:
    where = rig.at(path.removeprefix(rig.model.prefix))
    return (await rig.line.read([where]))[where].value
