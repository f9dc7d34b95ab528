"""`subscriber_find`: a text in any spelling among 50,000 services, against LIKE over the table, which folds none."""

from __future__ import annotations

import random
import statistics
import tempfile
from pathlib import Path

import trio

from agent.changes.journal.machine import TRANSITIONS
from agent.inventory import finding
from agent.inventory.book import ImportServices
from agent.model import Service
from agent.spelling import mac_spellings
from agent.store.db import Store
from agent.store.log_store import Sealed
from tests.bench.result import Result, stopwatch

AIM_MS = 100.0
REFERENCE = "SQLite LIKE over the columns of the service table"
_GIVEN = ("Amina", "João", "Иван", "Ольга", "Fatima", "Joseph", "Мария", "Kwame", "Zoë", "Ahmed")
_FAMILY = ("Hassan", "Silva", "Петров", "Иванова", "Diallo", "Mwangi", "Сидоров", "Mensah", "Okafor", "Ali")
_COLUMNS = ("ref", "name", "login", "extra")


def _service(n: int, dice: random.Random) -> Service:
    mac = mac_spellings(f"{0x4C5E0C000000 + n:012x}")
    login = mac[dice.randrange(len(mac))] if n % 3 == 0 else f"user{n}@isp.example"
    extra = {"phone": f"+254 7{n % 100:02} {n // 100 % 1000:03} {n % 1000:03}", "address": f"Hill Road {n % 400}"}
    name = f"{dice.choice(_GIVEN)} {dice.choice(_FAMILY)}"
    return Service(f"C-{n}/home", f"C-{n}", name, "home", login, "pppoe", "Home 20M", extra=extra)


async def _measure(folder: Path, services: int, times: int) -> Result:
    dice = random.Random(50_000)
    every = tuple(_service(n, dice) for n in range(services))
    store = Store(folder, [(old.value, new.value) for (old, _), new in TRANSITIONS.items()], lambda: 0.0)
    try:
        with stopwatch() as imported:
            await store.run(ImportServices(every, (), Sealed(bytes(16), b"", bytes(32))))
        texts = [
            every[services // 2].name.upper(),
            f"C-{services // 3}",
            f"{0x4C5E0C000000 + services // 3 * 3 - 3:012X}",
            "иван петров",
            f"hill road {services % 400}",
            f"07{services // 2 % 100:02} {services // 200 % 1000:03}",
            "a",
            "Mwongi",
            "zzzzzz",
        ]
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(times):
            for text in texts:
                with stopwatch() as watch:
                    await finding.find(store, text)
                ours.append(watch.wall_s * 1000)
                where = " OR ".join(f"{column} LIKE ?" for column in _COLUMNS)
                with stopwatch() as watch:
                    store.query(f"SELECT ref FROM service WHERE {where}", [f"%{text}%"] * len(_COLUMNS))
                theirs.append(watch.wall_s * 1000)
        value, reference = statistics.median(ours), statistics.median(theirs)
        more = {"slowest_ms": max(ours), "import_s": imported.wall_s}
        met = max(ours) <= AIM_MS
        name = f"subscriber_find_{services}"
        aim = f"each <= {AIM_MS:.0f} ms"
        return Result(name, aim, value, "ms", REFERENCE, reference, value / reference, met, more)
    finally:
        store.close()


def bench(services: int = 50_000, times: int = 5) -> list[Result]:
    """Return how long one look-up takes, the median and the slowest of several kinds of text."""
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        return [trio.run(_measure, Path(home), services, times)]
