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
"""How many times longer each pause is."""
REPORTS_S: Final = 3600
"""How often reports come: accounts count as old after two hours, accounting as silent after a day."""


@contextmanager
def quiet(world: World) -> Iterator[None]:
    """Let the agent look around more seldom, and reports come so, for the block."""
    with ExitStack() as stack:
        for module, name in LOOKS:
            stack.enter_context(mock.patch.object(module, name, getattr(module, name) * TIMES))
        if (life := world.life) is not None:
            stack.enter_context(mock.patch.object(life.daemon.log.witnesses, "_cadence_s", REPORTS_S))
            for reader in life.daemon.job.sources.readers.values():
                terms = replace(reader.terms, every_s=REPORTS_S, payments_every_s=REPORTS_S)
                stack.enter_context(mock.patch.object(reader, "terms", terms))
        for nas in world.isp.nas.values():
            stack.enter_context(mock.patch.object(nas, "options", replace(nas.options, interim_s=REPORTS_S)))
        stack.enter_context(mock.patch.object(world, "billing_s", REPORTS_S))
        yield
