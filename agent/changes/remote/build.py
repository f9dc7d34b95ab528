"""Puts together the parts that answer the control plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from agent.changes.auditlog.build import AuditLog
from agent.changes.authority.approval import Approvals
from agent.changes.journal.build import Ground
from agent.changes.planning.intake import Intake
from agent.changes.remote.inbox_handler import InboxHandler, InboxParts
from agent.changes.remote.sealing import Sealing
from agent.changes.remote.views import Views


def build(
    ground: Ground,
    log: AuditLog,
    approvals: Approvals,
    intake: Intake,
    *,
    wake: Callable[[], None],
    refresh_facts: Callable[[Collection[str]], Awaitable[object]],
) -> tuple[Sealing, InboxHandler]:
    """Return the sealing keys, and the handler of the inbox.

    Args:
        ground: of the main job.
        log: that receipts and views are proven by.
        approvals: which take statements.
        intake: which takes requests.
        wake: makes the worker look.
        refresh_facts: reads billing data of services again, by their refs.
    """
    g, agent = ground, ground.identity.agent
    sealing = Sealing(g.store, g.vault, g.recorder, g.trust, g.clock, log.signer)
    parts = InboxParts(
        store=g.store,
        recorder=g.recorder,
        clock=g.clock,
        trust=g.trust,
        approvals=approvals,
        intake=intake,
        views=Views(g.store, g.recorder, log.evidence, g.clock, agent),
        sealing=sealing,
        witnesses=log.witnesses,
        signer=log.signer,
        bells=g.mail,
        changed=g.changed,
        wake=wake,
        refresh_facts=refresh_facts,
        agent=agent,
    )
    return sealing, InboxHandler(parts)
