"""An ACS for the benchmarks: the real connector over a real `CpeStore`, on a folder; programs that speak JSON lines."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.changes.journal.audit import Recorder
from agent.connectors.cwmp import SPEC
from agent.connectors.cwmp.connector import CwmpConnector
from agent.connectors.cwmp.schema import CwmpConfig
from agent.cpe.store import CpeCalled, CpeStore
from agent.cpe_model.known import Acceptance, CachedParameter, Called
from agent.runtime.clock import Clock
from agent.store.db import Store, Tx
from agent.store.vault import Vault
from tests.bench import acs_cpe
from tests.bench.cloud import Client
from tests.bench.processes import REPO, STOP_S, BenchError
from tests.builders.connector import context
from tests.builders.store import STORE_KEY, TRANSITIONS

_KNOW_AT_ONCE = 2000
"""CPE that are accepted in one transaction: no more than may be in quarantine."""


@dataclass(frozen=True, slots=True)
class _Know:
    """So many CPE have called in once, and were accepted."""

    first: int
    count: int
    at_s: int

    def run(self, tx: Tx) -> None:
        parameters = {acs_cpe.SSID: CachedParameter("home", "string", self.at_s)}
        for number in range(self.first, self.first + self.count):
            called = Called(
                name=acs_cpe.name(number),
                oui=acs_cpe.OUI,
                product_class=acs_cpe.PRODUCT_CLASS,
                serial=acs_cpe.serial(number),
                manufacturer="Lab",
                root="Device.",
                software=acs_cpe.SOFTWARE,
                hardware="A1",
                user=acs_cpe.USER,
                own=False,
                address="127.0.0.1",
                request_url="",
                udp_address="",
                events=("2 PERIODIC",),
                at_s=self.at_s,
                values=parameters,
            )
            CpeCalled(called).run(tx)
        tx.run("UPDATE cpe SET trust = ?, why = ''", (Acceptance.ACCEPTED.value,))


class Warnings(logging.Handler):
    """Counts what the agent warns of: a crash that is contained is only said there."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: Counter[str] = Counter()
        self.first = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said[record.getMessage()] += 1
        if record.exc_info and not self.first:
            self.first = logging.Formatter().formatException(record.exc_info)[-1500:]


@contextmanager
def warnings() -> Iterator[Warnings]:
    """Count the agent's warnings for the block; nothing is written."""
    handler, logger = Warnings(), logging.getLogger("agent")
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


@dataclass(slots=True)
class Site:
    """An ACS that does not listen yet."""

    store: Store
    vault: Vault
    cpes: CpeStore
    connector: CwmpConnector
    recorder: Recorder
    clock: Clock
    known: int = field(default=0)

    async def know(self, count: int) -> None:
        """Have so many more CPE known and accepted."""
        for at in range(0, count, _KNOW_AT_ONCE):
            some = min(_KNOW_AT_ONCE, count - at)
            await self.store.run(_Know(self.known, some, int(self.clock.wall_s())))
            self.known += some

    def called_in(self) -> Mapping[str, int]:
        """Return how many CPE are known, and how often they said that they booted."""
        row = self.store.query("SELECT count(*) AS cpes, sum(boots) AS boots, min(boots) AS least FROM cpe")[0]
        return {key: row[key] or 0 for key in ("cpes", "boots", "least")}


@contextmanager
def opened(folder: Path, clock: Clock, *, sessions: int = 0) -> Iterator[Site]:
    """Open an ACS in a folder. `sessions`: at once; 0: the default."""
    vault = Vault(STORE_KEY, folder / "keys.db")
    store = Store(folder, TRANSITIONS, clock.wall_s, high_water=vault.raise_mark)
    config = CwmpConfig(listen="127.0.0.1", port=0, user=acs_cpe.USER, secret="shared")
    if sessions:
        config = replace(config, sessions=sessions)
    cpes = CpeStore(store, vault)
    made = SPEC.make(config, context({"shared": acs_cpe.PASSWORD.encode()}, cpes, clock))
    if not isinstance(made, CwmpConnector):
        raise BenchError(f"expected a CwmpConnector, got {type(made).__name__}")
    try:
        yield Site(store, vault, cpes, made, Recorder(vault), clock)
    finally:
        store.close()
        vault.close()


@contextmanager
def program(module: str, log: Path, **first: object) -> Iterator[Client]:
    """Run a program for the block that takes a JSON object a line and answers with one."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        client = Client(process, log)
        client.send(**first)
        yield client
    finally:
        if process.stdin is not None:
            process.stdin.close()  # asks it to end
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True, slots=True)
class Served:
    """A program that serves: itself, and where it listens."""

    program: Client
    port: int

    @property
    def pid(self) -> int:
        return self.program.pid


@contextmanager
def acs(folder: Path, **options: Any) -> Iterator[Served]:
    """Run an ACS as a program (`acs_process`) for the block."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as state,
        program("tests.bench.acs_process", folder / "acs.log", folder=state, **options) as client,
    ):
        yield Served(client, int(client.answer()["port"]))


@contextmanager
def echo(folder: Path, script: list[Any]) -> Iterator[Served]:
    """Run the reference as a program for the block."""
    with program("tests.bench.acs_echo", folder / "echo.log", script=script) as client:
        yield Served(client, int(client.answer()["port"]))


@contextmanager
def load(folder: Path, to: Served, *, rows: int = 0) -> Iterator[Client]:
    """Run the CPE as a program for the block."""
    with program("tests.bench.acs_load", folder / "load.log", port=to.port, rows=rows) as client:
        client.answer()
        yield client


def stats(server: Served) -> dict[str, Any]:
    """Return what an ACS says of itself.

    Raises:
        BenchError: something crashed in it.
    """
    told = server.program.ask(do="stats")
    if told["crashed"]:
        raise BenchError(f"expected no crash in the ACS: {json.dumps(told['warned'])} {told['crashed']}")
    return told
