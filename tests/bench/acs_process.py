"""The ACS of the benchmarks, a process of its own: the real connector and inventory, as the daemon puts them together.

    python -m tests.bench.acs_process

It takes a JSON object a line: first `folder`, `sessions`, `known`, `job` and `profile`, then commands. Its jobs, for a
CPE that called in: `none` (the main job has nothing for it, and says so), `set` (one SetParameterValues), `tree` (all
that it has is read and kept). It ends when its input does; with `profile`, cProfile's numbers are written there.
"""

from __future__ import annotations

import cProfile
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from agent.changes.engine.sessions import ArrivedSessions
from agent.connectors.base import LostError, NotSentError, Session, UnreadableError
from agent.connectors.cwmp.cpe_session import CpeSession
from agent.runtime.clock import SystemClock
from agent.store.db import Store
from tests.bench import acs_cpe
from tests.bench.acs_site import Site, Warnings, opened, warnings
from tests.bench.cloud import raise_nofile, rss_kib
from tests.bench.processes import BenchError, peak_mb

Arrived = Callable[[Session], Awaitable[None]]


class Jobs:
    """What is done with CPE that call in."""

    def __init__(self) -> None:
        self.done = self.lost = 0
        self.took_s: list[float] = []
        self._nobody = ArrivedSessions()

    async def none(self, session: Session) -> None:
        await self._nobody.arrived(session)

    async def set(self, session: Session) -> None:
        """Set one parameter."""
        line = _line(session)
        call = line.live
        if call is None:
            return
        self.done += 1
        try:
            reply = await line.set_values(call, [line.typed(acs_cpe.SSID, "home")], f"bench-{self.done}")
        except (LostError, NotSentError):
            self.lost += 1
            return
        if not reply.accepted:
            raise BenchError(f"expected a parameter to be set: {reply.detail}")

    async def tree(self, session: Session) -> None:
        """Read everything."""
        line = _line(session)
        call = line.live
        if call is None:
            return
        began = time.perf_counter()
        try:
            await line.below(call, "Device.")
        except UnreadableError:
            self.lost += 1
            return
        self.took_s.append(time.perf_counter() - began)
        self.done += 1


def _line(session: Session) -> CpeSession:
    if not isinstance(session, CpeSession):
        raise BenchError(f"expected a CpeSession, got {type(session).__name__}")
    return session


def _stats(site: Site, jobs: Jobs, warned: Warnings) -> dict[str, Any]:
    return {
        "refused": site.connector.acs.refused,
        "sessions": site.connector.acs.sessions,
        "commits": site.store.commits,
        "done": jobs.done,
        "lost": jobs.lost,
        "took_s": jobs.took_s,
        "warned": dict(warned.said),
        "crashed": warned.first,
        "rss_kib": rss_kib(_pid()),
        "peak_mb": peak_mb(_pid()),
        **site.called_in(),
    }


def _pid() -> int:
    return int(Path("/proc/self").readlink().name)


async def _serve(first: dict[str, Any], warned: Warnings) -> None:
    jobs = Jobs()
    arrived: Arrived = getattr(jobs, first["job"])
    with opened(Path(first["folder"]), SystemClock(), sessions=first.get("sessions", 0)) as site:
        await site.know(first["known"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.connector.serve, arrived)
            await site.connector.port.wait()
            print(json.dumps({"port": site.connector.listens_on}), flush=True)
            while line := await trio.to_thread.run_sync(sys.stdin.readline):
                if json.loads(line) != {"do": "stats"}:
                    raise BenchError(f"expected a command, got {line}")
                print(json.dumps(_stats(site, jobs, warned)), flush=True)
            nursery.cancel_scope.cancel()


def _profile_writer(profile: cProfile.Profile) -> None:
    """Profile the store's thread too."""
    loop = Store._write_loop

    def profiled(store: Store) -> None:
        profile.runcall(loop, store)

    Store._write_loop = profiled  # type: ignore[method-assign, assignment] # the only way into that thread


def main() -> None:
    raise_nofile()
    first = json.loads(sys.stdin.readline())
    with warnings() as warned:
        if not first.get("profile"):
            trio.run(_serve, first, warned)
            return
        tasks, writer = cProfile.Profile(), cProfile.Profile()
        _profile_writer(writer)
        tasks.runcall(trio.run, _serve, first, warned)
        tasks.dump_stats(first["profile"])
        writer.dump_stats(f"{first['profile']}.writer")


if __name__ == "__main__":
    main()
