"""`acs`: Informs with one parameter change each, and what a session costs the ACS, against a bare h11 echo of the same.

A session is a connection of its own and four POSTs: the Inform without credentials (401), the Inform with Digest, the
empty one that gets the SetParameterValues, its response (204). The reference answers each with what the ACS answered,
byte for byte, and does nothing else. Server and CPE are processes of their own; ours and theirs take turns.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import acs_site
from tests.bench.acs_site import Served
from tests.bench.cloud import Client
from tests.bench.processes import BenchError, cpu_s
from tests.bench.result import Result

AIM = 0.3
AT_ONCE = 16
REFERENCE = "bare h11 echo of the same bodies on trio"


@dataclass(frozen=True, slots=True)
class _Round:
    """Of one server: sessions a second, its CPU a session, a session's median and 99th percentile, the CPE's CPU."""

    per_s: float
    cpu_ms: float
    median_ms: float
    p99_ms: float
    load_cpu_ms: float


def _round(server: Served, cpes: Client, sessions: int, known: int) -> _Round:
    used = cpu_s(server.pid)
    told: dict[str, Any] = cpes.ask(do="run", sessions=sessions, cpes=known, at_once=min(AT_ONCE, known))
    used = cpu_s(server.pid) - used
    return _Round(
        sessions / told["wall_s"],
        used / sessions * 1000,
        told["median_ms"],
        told["p99_ms"],
        told["load_cpu_s"] / sessions * 1000,
    )


def _median(rounds: list[_Round], what: str) -> float:
    return float(statistics.median(getattr(each, what) for each in rounds))


def bench(sessions: int = 2000, known: int = 1000, rounds: int = 5, profile: Path | None = None) -> list[Result]:
    """Return sessions a second and CPU a session, medians of some rounds each, taken in turns."""
    ours: list[_Round] = []
    theirs: list[_Round] = []
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        folder = Path(home)
        told = {"job": "set", "known": known, "profile": str(profile) if profile else None}
        with acs_site.acs(folder, **told) as acs, acs_site.load(folder, acs) as to_acs:
            script = to_acs.ask(do="run", sessions=1, cpes=1, record=True)["answers"]
            commits = acs_site.stats(acs)["commits"]
            with acs_site.echo(folder, script) as echo, acs_site.load(folder, echo) as to_echo:
                for _ in range(rounds):
                    theirs.append(_round(echo, to_echo, sessions, known))
                    ours.append(_round(acs, to_acs, sessions, known))
            after = acs_site.stats(acs)
            if (after["done"], after["lost"]) != (sessions * rounds + 1, 0):
                raise BenchError(f"expected {sessions * rounds + 1} parameters to be set, got {after}")
            commits = (after["commits"] - commits) / (sessions * rounds)
    rates = [o.per_s / t.per_s for o, t in zip(ours, theirs, strict=True)]
    per_s, reference = _median(ours, "per_s"), _median(theirs, "per_s")
    cpu_ms, reference_ms = _median(ours, "cpu_ms"), _median(theirs, "cpu_ms")
    return [
        Result(
            f"acs_{known}",
            f"ratio >= {AIM}",
            per_s,
            "sessions/s",
            REFERENCE,
            reference,
            per_s / reference,
            per_s / reference >= AIM,
            {
                "least ratio of a round": min(rates),
                "most": max(rates),
                "POSTs a session": len(script),
                "median ms": _median(ours, "median_ms"),
                "p99 ms": _median(ours, "p99_ms"),
                "median ms, echo": _median(theirs, "median_ms"),
                "commits a session": commits,
            },
        ),
        Result(
            f"acs_{known}_cpu",
            "none",
            cpu_ms,
            "ms of CPU a session",
            REFERENCE,
            reference_ms,
            cpu_ms / reference_ms,
            more={
                "least": min(r.cpu_ms for r in ours),
                "most": max(r.cpu_ms for r in ours),
                "the CPE's own ms": _median(ours, "load_cpu_ms"),
            },
        ),
    ]
