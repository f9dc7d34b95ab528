"""Quiet time: when nothing goes on, the agent looks at what changes rarely more seldom, so that days take seconds.

Each constant below is how often a loop of the agent looks around, seconds, though nothing woke it. What wakes it at
once in production wakes it at once here too; only a change that nobody tells it of is seen later. Reports that come by
the clock and say what the one before said come once an hour: checkpoints, accounting, accounts and payments.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Final
from unittest import mock

from agent import daemon
from agent.billing import sources
from agent.changes import clock_watch, judging, paid, target_watch, worker
from agent.changes.remote import inbox_handler, sealing
from agent.connectors.cwmp import listener
from agent.cpe import provision
from agent.lines import desk
from agent.polling import series
from agent.runtime import host_state
from agent.uplink import link, sending
from control_plane import limits as cloud_limits
from tests.sim import machine
from tests.sim.machine import Life

if TYPE_CHECKING:
    from tests.sim.world import World

LOOKS: Final[tuple[tuple[ModuleType, str], ...]] = (
    (daemon, "BILLING_S"),
    (daemon, "ENROLLED_S"),
    (host_state, "LAG_EVERY_S"),
    (worker, "LOOK_S"),
    (clock_watch, "EVERY_S"),
    (judging, "SOON_S"),
    (target_watch, "EVERY_S"),
    (inbox_handler, "LOOK_S"),
    (sealing, "LOOK_S"),
    (listener, "_SWEEP_S"),
    (provision, "LOOK_S"),
    (provision, "SELDOM_S"),
    (series, "FLUSH_S"),
    (desk, "VIEW_S"),
    (sources, "BELL_S"),
    (paid, "LOOK_S"),
    (machine, "NAP_S"),
    (link, "FILE_S"),
    (sending, "LOOK_S"),
    (cloud_limits, "REVOKED_EVERY_S"),
    (cloud_limits, "HEALTH_EVERY_S"),
    (cloud_limits, "FORGET_EVERY_S"),
)
TIMES: Final = 60
"""How many times longer each pause is in quiet days."""
AT_REST: Final = frozenset({worker, inbox_handler, sealing, clock_watch, listener, provision, link, cloud_limits})
"""Modules of `LOOKS` whose loops find nothing once faults are over, or are woken by what there is."""
AT_REST_TIMES: Final = 5
NEVER_NEWS: Final = ((host_state, "LAG_EVERY_S", 60.0), (daemon, "BILLING_S", 10.0))
"""How often the agent looks for something that nobody waits for: a loop that lags, as none does in virtual time, and a
file that billing writes every 15 minutes. Every second or two of a world, they were a sixth of all steps of tasks.
"""
REPORTS_S: Final = 3600
"""How often reports come: accounts count as old after two hours, accounting as silent after a day."""


@contextmanager
def quiet(world: World, *, reports: bool = True) -> Iterator[None]:
    """Let the agent look around more seldom, for the block. `reports`: whether those come so, too."""
    with ExitStack() as stack:

        def seldom(life: Life) -> None:
            stack.enter_context(mock.patch.object(life.daemon.log.witnesses, "_cadence_s", REPORTS_S))
            for reader in life.daemon.job.sources.readers.values():
                terms = replace(reader.terms, every_s=REPORTS_S, payments_every_s=REPORTS_S)
                stack.enter_context(mock.patch.object(reader, "terms", terms))

        for module, name in LOOKS:
            stack.enter_context(mock.patch.object(module, name, getattr(module, name) * TIMES))
        if not reports:
            yield
            return
        if world.life is not None:
            seldom(world.life)
        stack.enter_context(mock.patch.object(world, "on_life", seldom))
        for nas in world.isp.nas.values():
            stack.enter_context(mock.patch.object(nas, "options", replace(nas.options, interim_s=REPORTS_S)))
        stack.enter_context(mock.patch.object(world, "billing_s", REPORTS_S))
        yield


@contextmanager
def at_rest() -> Iterator[None]:
    """Let the agent look around a little more seldom, for the block: what faults and people left comes to its end."""
    with ExitStack() as stack:
        for module, name in LOOKS:
            if module in AT_REST:
                stack.enter_context(mock.patch.object(module, name, getattr(module, name) * AT_REST_TIMES))
        yield


@contextmanager
def without_idle_looks(*, linked: bool) -> Iterator[None]:
    """Let the agent look seldom for what never is news, for the block. `linked`: it is to be enrolled meanwhile."""
    with ExitStack() as stack:
        for module, name, seconds in (*NEVER_NEWS, *(() if linked else ((daemon, "ENROLLED_S", 600.0),))):
            stack.enter_context(mock.patch.object(module, name, seconds))
        yield
