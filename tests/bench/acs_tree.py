"""`acs_tree`: a CPE with 9,000 parameters: read whole, kept in the database, shown; time and memory.

The reference is the standard library's ElementTree (and lxml beside it), which parses the same body and does nothing
with it; ours and theirs take turns. The reading by the ACS is measured in a process of its own, over a socket, with
durable writes; its peak is the kernel's. The other peaks are tracemalloc's: what Python allocates meanwhile.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import cast

import lxml.etree  # type: ignore[import-untyped] # it has no annotations
import trio

from agent.changes.engine.sessions import Sessions
from agent.changes.planning.preview import Previewer
from agent.connectors.cwmp.line_session import known
from agent.connectors.cwmp.messages import GetParameterValuesResponse
from agent.cpe.desk import CpeDesk
from agent.cpe.intake import CpeIntake
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.manager import CpeTerms
from agent.runtime.clock import SystemClock
from tests.bench import acs_cpe, acs_site
from tests.bench.processes import BenchError
from tests.bench.result import Result
from tests.builders import reads

ROWS = 1096
"""Of a table with eight parameters a row; 8,998 in all."""


def _ms(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000


def _peak_mb(do: Callable[[], object]) -> float:
    """Return the most that Python allocated while it did something, its result included."""
    tracemalloc.start()
    try:
        kept = do()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del kept
    return peak / 2**20


def _parsed(body: bytes) -> dict[str, CachedParameter]:
    """Return a tree as the ACS has it when it is about to be kept."""
    message = reads.read(body).message
    if not isinstance(message, GetParameterValuesResponse):
        raise BenchError(f"expected values, got a {type(message).__name__}")
    return {p.name: known(p, 0) for p in message.parameter_list}


def _parsing(body: bytes, rounds: int) -> Result:
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: _parsed(body),
        "lxml": lambda: lxml.etree.fromstring(body),
        "ElementTree": lambda: ET.fromstring(body),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took[name].append(_ms(way))
    ours, theirs = statistics.median(took["ours"]), statistics.median(took["ElementTree"])
    return Result(
        "acs_tree_parse",
        "none",
        ours,
        "ms",
        "ElementTree, the same body",
        theirs,
        ours / theirs,
        more={
            "least": min(took["ours"]),
            "most": max(took["ours"]),
            "lxml ms": statistics.median(took["lxml"]),
            "body kB": len(body) / 1000,
            "MB at most": _peak_mb(ways["ours"]),
            "MB at most, ElementTree": _peak_mb(ways["ElementTree"]),
        },
    )


def _desk(site: acs_site.Site) -> CpeDesk:
    nobody = cast(Previewer, None)  # nothing is proposed here
    intake = CpeIntake(site.cpes, site.vault, nobody, site.clock, site.connector, CpeTerms(0))
    sessions = Sessions({"cwmp": site.connector})
    return CpeDesk(site.connector, site.store, site.cpes, intake, sessions, site.recorder, site.clock)


async def _kept_and_shown(folder: Path, found: dict[str, CachedParameter], rounds: int) -> list[Result]:
    learned: list[float] = []
    shown: list[float] = []
    listed: list[float] = []
    with acs_site.opened(folder, SystemClock()) as site:
        await site.know(1)
        desk, name = _desk(site), acs_cpe.name(0)
        size = (folder / "agent.db").stat().st_size
        for _ in range(rounds + 1):
            began = time.perf_counter()
            await site.cpes.learned(name, found, below="Device.")
            learned.append((time.perf_counter() - began) * 1000)
        cpe = desk.find(name)
        if desk.shown(cpe)["parameters"] != len(found):
            raise BenchError(f"expected {len(found)} parameters, got {desk.shown(cpe)['parameters']}")
        for _ in range(rounds):
            shown.append(_ms(lambda: desk.shown(cpe)))
            listed.append(_ms(lambda: desk.values(cpe, "")))
        shown_mb, listed_mb = _peak_mb(lambda: desk.shown(cpe)), _peak_mb(lambda: desk.values(cpe, ""))
        told = len(desk.values(cpe, ""))
    size = (folder / "agent.db").stat().st_size - size  # closed: nothing is left in the WAL
    return [
        Result(
            "acs_tree_keep",
            "none",
            statistics.median(learned[1:]),
            "ms",
            "agent alone",
            more={"least": min(learned), "most": max(learned), "first ms": learned[0], "kB on disk": size / 1000},
        ),
        Result(
            "acs_tree_show",
            "none",
            statistics.median(shown),
            "ms",
            "agent alone",
            more={"least": min(shown), "most": max(shown), "MB at most": shown_mb},
        ),
        Result(
            "acs_tree_values",
            "none",
            statistics.median(listed),
            "ms",
            "agent alone",
            more={"least": min(listed), "most": max(listed), "MB at most": listed_mb, "shown": told},
        ),
    ]


def _reading(folder: Path, rows: int, parameters: int, rounds: int) -> Result:
    """Return what it takes to ask a CPE for everything and to have that durable."""
    with acs_site.acs(folder, job="tree", known=1) as acs, acs_site.load(folder, acs, rows=rows) as cpes:
        before = acs_site.stats(acs)
        for _ in range(rounds):  # the CPE is on the line with one session at a time
            cpes.ask(do="run", sessions=1, cpes=1)
        after = acs_site.stats(acs)
    if (after["done"], after["lost"]) != (rounds, 0):
        raise BenchError(f"expected the tree to be read {rounds} times, got {after}")
    took = [seconds * 1000 for seconds in after["took_s"]]
    return Result(
        f"acs_tree_{parameters}",
        "none",
        statistics.median(took),
        "ms",
        "agent alone",
        more={
            "least": min(took),
            "most": max(took),
            "MB before": before["rss_kib"] / 1024,
            "MB at most": after["peak_mb"],
        },
    )


def bench(rows: int = ROWS, rounds: int = 9) -> list[Result]:
    """Return time and memory to read a large tree whole, to parse, keep and show it."""
    what = acs_cpe.said(rows)
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        folder = Path(home)
        state = folder / "state"
        state.mkdir()
        results = [_reading(folder, rows, what.parameters, rounds), _parsing(what.tree, rounds)]
        return results + trio.run(_kept_and_shown, state, _parsed(what.tree), rounds)
