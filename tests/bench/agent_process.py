"""The agent of `suspend_2000`, a process of its own: the real daemon, put together by `daemon.build`, without pacing.

    python -m tests.bench.agent_process CONFIG [PROFILE]

It runs until SIGTERM; with PROFILE, cProfile's numbers are written there.
"""

from __future__ import annotations

import cProfile
import signal
import sys
from dataclasses import replace
from pathlib import Path

import trio

from agent import daemon
from agent.changes.auditlog import recovery
from agent.config import load
from agent.connectors.radius import SPEC
from agent.runtime import redacting_log
from agent.runtime.clock import SystemClock
from durable.process import exempt_loaded_objects


async def serve(config_path: Path) -> None:
    """Run the daemon as `daemon.main` does, but unpaced: the pace is the operator's choice, not the agent's speed."""
    config = load(config_path)
    # Redial is excluded: nobody comes back, and "at next login" is said at once.
    impatient = replace(config.of(SPEC), methods=tuple(replace(m, redial_within_s=0) for m in config.of(SPEC).methods))
    connectors = tuple(replace(c, config=impatient) if c.spec is SPEC else c for c in config.connectors)
    config = replace(config, connectors=connectors)
    redacting_log.install()
    clock = SystemClock()
    async with daemon.open_files(config, clock) as files:
        built = daemon.build(config, files, clock, paced=False)
        await recovery.note_start(files.store, built.api.parts.recorder, built.code)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(built.run)
                exempt_loaded_objects()
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()


def main(argv: list[str]) -> None:
    if len(argv) == 1:
        trio.run(serve, Path(argv[0]))
        return
    profile = cProfile.Profile()
    profile.runcall(trio.run, serve, Path(argv[0]))
    profile.dump_stats(argv[1])


if __name__ == "__main__":
    main(sys.argv[1:])
