"""The last read of a batch: everything that it set is read once more, in one bulk read of each target.

A write was read back when it was made. A database that fails over, or confirms a commit before it is safe, loses it
afterwards; staff edit rows while a batch soaks. Such an item says so: it is not called done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agent.changes.engine.bulk_reads import read_targets
from agent.changes.engine.perform import same
from agent.changes.engine.sessions import Sessions
from agent.changes.engine.steps import Steps
from agent.model import Address, Effect, Transition, target_of

_log = logging.getLogger("agent.changes")
BATCH_MIN: Final = 2
"""Items that stand, from which on a run ends with this read; a single item was read back a moment ago."""


def set_by(steps: Steps) -> Mapping[Address, Transition]:
    """Return an item's applied writes by address; of several to one address the last."""
    return {
        write.address: write
        for step in steps.item.steps
        if not isinstance(step.do, Effect) and steps.stands(step.n)
        for write in step.do
    }


async def read_again(sessions: Sessions, standing: Sequence[Steps], changed: Callable[[], None]) -> None:
    """Read the writes of a run once more, and move the items that read otherwise; a failed read is logged.

    Args:
        sessions: of all targets.
        standing: the steps of the items that stand.
        changed: called after every move.
    """
    written = [(steps, set_by(steps)) for steps in standing]
    if len(written) < BATCH_MIN:
        return
    dialled = [a for _, writes in written for a in writes if not sessions.arrives_later(target_of(a))]
    seen, unread = await read_targets(sessions, dialled)
    for target in unread:
        _log.warning("what a batch set could not be read once more at its end", extra={"target": target})
    lost = 0
    for steps, writes in written:
        found = [w for a, w in writes.items() if a in seen and not same(seen[a].value, w.after, w.unprovable)]
        if found:
            lost += await steps.tickets.diverge(steps.item, found[0].address, tuple(writes))
            changed()
    if lost:
        _log.warning("what a batch set reads otherwise at its end", extra={"count": lost})
