"""Puts the journal together: the ground that every room of the main job stands on."""

from __future__ import annotations

from dataclasses import dataclass

from agent.changes.journal.audit import Recorder
from agent.changes.journal.trust_state import TrustState
from agent.runtime.clock import Clock
from agent.runtime.notifier import Notifier
from agent.store.db import Store
from agent.store.identity import Identity
from agent.store.mail import MailBells
from agent.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Ground:
    """Open files, clocks, records and the trust in force. `changed` rings when a change moved, `mail` for messages."""

    store: Store
    vault: Vault
    identity: Identity
    clock: Clock
    recorder: Recorder
    trust: TrustState
    changed: Notifier
    mail: MailBells


def build(store: Store, vault: Vault, identity: Identity, clock: Clock) -> Ground:
    """Return the ground over an open store."""
    recorder, bells = Recorder(vault), MailBells()
    store.on_post = bells.outbox.ring
    trust = TrustState(store, recorder, identity.agent, identity.plan_key.public)
    return Ground(store, vault, identity, clock, recorder, trust, Notifier(), bells)
