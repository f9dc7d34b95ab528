"""Puts the billing sources of an agent together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from agent.billing.hooks_listener import HooksListener, HookWay, token_of
from agent.billing.matcher import PaymentMatcher
from agent.billing.source_reader import SourceGround, SourceReader
from agent.billing.sources import BillingSources, SourceRules
from agent.billing_model.hooks import Heard
from agent.billing_model.source import RingsBell
from agent.billing_model.terms import SourceTerms
from agent.config import HooksConfig
from agent.connectors.roles import Connectors
from agent.inventory.importing import Importer
from agent.inventory.ledger import KeepHeard


def build(
    made: Connectors,
    sources: Sequence[SourceTerms],
    ground: SourceGround,
    rules: SourceRules,
    importer: Importer,
) -> BillingSources:
    """Return the sources; nothing is read yet.

    Args:
        made: the connectors.
        sources: the terms of all configured sources.
        ground: that their readers share.
        rules: the operator's.
        importer: reads the billing file.
    """
    readers = {
        terms.name: SourceReader(terms, made.by_name[terms.target.partition("/")[0]], ground) for terms in sources
    }
    telling = [name for name, reader in readers.items() if reader.accounts_of is not None]
    matcher = PaymentMatcher(ground.store, ground.clock, ground.seal, [*telling, rules.authority])
    return BillingSources(ground, readers, rules, matcher, importer)


def build_hooks(
    config: HooksConfig,
    sources: Sequence[SourceTerms],
    made: Connectors,
    commit: Callable[[str, str], str],
    billing: BillingSources,
) -> HooksListener:
    """Return the listener of webhooks; nothing listens yet.

    Args:
        config: where to listen.
        sources: the terms of all configured sources.
        made: the connectors, which verify the calls of their systems.
        commit: keyed commitment: (label, value) -> 64 hexadecimal digits. The secret paths are made with it.
        billing: reads the accounts that webhooks ring for.
    """
    ways = []
    for terms in sources:
        connector = made.by_name[terms.target.partition("/")[0]]
        if terms.hook is not None and isinstance(connector, RingsBell):
            token = token_of(commit, terms.name, config.turn)
            ways.append(HookWay(terms.name, token, terms.hook.senders, partial(connector.hook, terms.target)))
    store = billing.ground.store

    async def keep(source: str, heard: Heard) -> bool:
        return await store.run(KeepHeard(source, heard.event_id, heard))

    return HooksListener(config, ways, keep, billing.heard.ring, billing.ground.clock)
