"""`acs_fleet`: an ACS with thousands of CPE: what they cost when they inform periodically, and when all come at once.

Two halves. On a virtual clock, 20,000 CPE in one process with the ACS (`acs_virtual`). Over real sockets, the ACS, the
CPE and the reference as processes of their own: as many Informs a second as 20,000 CPE send at a 5-minute interval;
sessions that are held open; and a storm, all CPE at once, whose waits are shortened (`WAIT_SCALE`) since they are real.
The reference for what is held is the bare h11 echo with as many connections.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import acs_site
from tests.bench.acs import REFERENCE
from tests.bench.acs_site import Served
from tests.bench.acs_virtual import Found
from tests.bench.cloud import Client, raise_nofile, rss_kib
from tests.bench.processes import REPO, BenchError, cpu_s, peak_mb
from tests.bench.result import Result

INTERVAL_S = 300
WAIT_SCALE = 0.05
"""A wait of a minute takes three seconds: they come back twenty times as densely as they would."""
VIRTUAL_S = 1200.0


# --- on a virtual clock -----------------------------------------------------------------------------------------------


def _virtual(folder: Path, cpes: int, interval_s: int, seconds: float) -> Found:
    first = {"folder": str(folder), "cpes": cpes, "interval_s": interval_s, "seconds": seconds, "storm": 1}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.acs_virtual"],
        cwd=REPO,
        input=json.dumps(first) + "\n",
        capture_output=True,
        text=True,
        timeout=VIRTUAL_S,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"acs_virtual ended with {done.returncode}: {done.stderr[-2000:]}")
    return Found(**json.loads(done.stdout))


def _told(found: Found) -> list[Result]:
    name, sessions = f"acs_fleet_{found.cpes}", found.cpes * found.intervals
    return [
        Result(
            f"{name}_virtual",
            "none",
            found.cpu_s / found.virtual_s * 100,
            "% of a core, the CPE's own work included",
            "agent alone",
            more={
                "intervals": found.intervals,
                "sessions/s": sessions / found.wall_s,
                "times as fast as real time": found.virtual_s / found.wall_s,
                "commits a session": found.commits / sessions,
            },
        ),
        Result(
            f"{name}_memory",
            "none",
            (found.rss_first - found.rss_known) / found.cpes,
            "KiB for each CPE that called in",
            "agent alone",
            more={
                "MB before": found.rss_known / 1024,
                "after one interval": found.rss_first / 1024,
                "after all": found.rss_last / 1024,
            },
        ),
        Result(
            f"{name}_storm_virtual",
            "nobody lost",
            found.storm_s,
            "s until all were served",
            "agent alone",
            met=True,
            more={
                "s until half were": found.storm_half_s,
                "let in at once": found.storm_at_once,
                "told 503": found.storm_503,
                "closed without a word": found.storm_closed,
                "sessions at most": found.storm_most_open,
                "MB at most, CPE included": found.storm_rss / 1024,
                "MB after": found.storm_rss_after / 1024,
                "real s": found.storm_wall_s,
            },
        ),
    ]


# --- over sockets -----------------------------------------------------------------------------------------------------


def _paced(folder: Path, known: int, per_s: float, seconds: float) -> Result:
    """Return the CPU of an ACS that so many CPE inform periodically."""
    sessions = int(per_s * seconds)
    with acs_site.acs(folder, job="none", known=known) as acs, acs_site.load(folder, acs) as cpes:
        # Each has called in once, so that the ACS has what it has of all of them
        warm = cpes.ask(do="run", sessions=known, cpes=known)
        used = cpu_s(acs.pid)
        told = cpes.ask(do="run", sessions=sessions, cpes=known, per_s=per_s, at_once=200)
        used = cpu_s(acs.pid) - used
        after = acs_site.stats(acs)
    return Result(
        f"acs_fleet_{known}_paced",
        "none",
        used / told["wall_s"] * 100,
        "% of a core",
        "agent alone",
        more={
            "Informs/s": sessions / told["wall_s"],
            "as fast as it goes": known / warm["wall_s"],
            "median ms": told["median_ms"],
            "p99 ms": told["p99_ms"],
            "begun late by ms at most": told["late_ms"],
            "MB": after["rss_kib"] / 1024,
        },
    )


def _kib_each(server: Served, cpes: Client, count: int) -> float:
    """Return the memory of a connection whose CPE has informed and says nothing more."""
    cpes.ask(do="run", sessions=1, cpes=1, first=count, stay=True)
    before = rss_kib(server.pid)
    cpes.ask(do="run", sessions=count, cpes=count, stay=True)
    after = rss_kib(server.pid)
    cpes.ask(do="release")
    return (after - before) / count


def _held(folder: Path, count: int) -> Result:
    options = {"job": "none", "known": count + 1, "sessions": count + 1}
    with ExitStack() as stack:
        acs = stack.enter_context(acs_site.acs(folder, **options))
        to_acs = stack.enter_context(acs_site.load(folder, acs))
        script = to_acs.ask(do="run", sessions=1, cpes=1, first=count, record=True)["answers"]
        echo = stack.enter_context(acs_site.echo(folder, script))
        to_echo = stack.enter_context(acs_site.load(folder, echo))
        theirs = _kib_each(echo, to_echo, count)
        ours = _kib_each(acs, to_acs, count)
    return Result(
        f"acs_fleet_{count}_open",
        "none",
        ours,
        "KiB for each open session",
        REFERENCE,
        theirs,
        ours / theirs if theirs else None,
    )


@dataclass(frozen=True, slots=True)
class _Storm:
    told: dict[str, Any]
    cpu_s: float
    peak_mb: float


def _one_storm(acs: Served, cpes: Client, count: int, wait_scale: float) -> _Storm:
    used = cpu_s(acs.pid)
    told = cpes.ask(
        do="run", sessions=count, cpes=count, at_once=count, booted=True, retries=True, wait_scale=wait_scale
    )
    return _Storm(told, cpu_s(acs.pid) - used, peak_mb(acs.pid))


def _storms(folder: Path, count: int, wait_scale: float) -> Result:
    """Return what a storm is, the second of two: memory is bounded if that took no more than the first."""
    with acs_site.acs(folder, job="none", known=count) as acs, acs_site.load(folder, acs) as cpes:
        before = rss_kib(acs.pid)
        first = _one_storm(acs, cpes, count, wait_scale)
        second = _one_storm(acs, cpes, count, wait_scale)
        after = acs_site.stats(acs)
    if (after["cpes"], after["boots"], after["least"], after["sessions"]) != (count, 2 * count, 2, 0):
        raise BenchError(f"expected each of {count} CPE to have booted twice and no session to be left, got {after}")
    told = second.told["told"]
    return Result(
        f"acs_fleet_{count}_storm",
        "nobody lost",
        second.told["wall_s"],
        f"s until all were served, waits times {wait_scale}",
        "agent alone",
        met=True,
        more={
            "let in at once": second.told["never_turned_away"],
            "told 503": told.get("turned away", 0),
            "closed without a word": told.get("closed without a word", 0),
            "tries of one CPE at most": second.told["most_tries"],
            "CPU ms a CPE": second.cpu_s / count * 1000,
            "MB before": before / 1024,
            "MB at most in the first storm": first.peak_mb,
            "MB at most in the second": second.peak_mb,
        },
    )


def bench(
    virtual: int = 20_000,
    interval_s: int = INTERVAL_S,
    seconds: float = 60.0,
    sockets: int = 2000,
    paced_s: float = 20.0,
    wait_scale: float = WAIT_SCALE,
) -> list[Result]:
    """Return what a fleet costs: on a virtual clock, at its pace over sockets, held open, and in a storm."""
    raise_nofile()
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        folder = Path(home)
        (folder / "virtual").mkdir()
        results = _told(_virtual(folder / "virtual", virtual, interval_s, seconds))
        results.append(_paced(folder, virtual, virtual / interval_s, paced_s))
        results.append(_held(folder, sockets))
        results.append(_storms(folder, sockets, wait_scale))
    return results
