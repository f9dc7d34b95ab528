"""Brings payments to their subscribers: asks `agent.inventory.matching` of each, and has the ledger keep the answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import trio

from agent.billing_model.account import Account, PaymentState
from agent.inventory import book, ledger
from agent.inventory.ledger import KeptPayment, MatchPayment
from agent.inventory.matching import PayerIndex, same_payment
from agent.runtime.clock import Clock
from agent.store.db import Store
from agent.store.log_store import Sealed

AT_ONCE: Final = 500
"""Names of more services are read in a thread: other tasks go on."""
INDEX_S: Final = 60.0
"""How long names are known before they are read anew."""


class PaymentMatcher:
    """Matches payments by rule."""

    def __init__(
        self, store: Store, clock: Clock, seal: Callable[[Mapping[str, str | int]], Sealed], sources: Collection[str]
    ) -> None:
        """Take the ledger's store, and the names of all sources of accounts."""
        self._store = store
        self._clock = clock
        self._seal = seal
        self._sources = tuple(sources)
        self._index: PayerIndex | None = None
        self._read_s = float("-inf")

    async def match(self, payments: Sequence[KeptPayment]) -> list[str]:
        """Bring payments to their subscribers where that is certain; return the subscribers, each once.

        Args:
            payments: with or without a subscriber; those that have one keep it.
        """
        found: dict[str, None] = {}
        for kept in payments:
            subscriber = kept.subscriber
            if not subscriber and kept.payment.state is not PaymentState.REVERSED:
                subscriber = await self._match(kept)
            if subscriber:
                found[subscriber] = None
        await trio.lowlevel.checkpoint()
        return list(found)

    async def _match(self, kept: KeptPayment) -> str:
        index = await self._names()
        match = index.of(kept.source, kept.payment, [k.subscriber for k in self.told_too(kept)])
        if match.by is None:
            return ""
        record = self._seal({"what": "payment-matched", "source": kept.source, "by": match.by.value})
        command = MatchPayment(kept.source, kept.payment.id, match.subscriber, match.by.value, record)
        await self._store.run(command)
        return match.subscriber

    async def why(self, kept: KeptPayment) -> str:
        """Return why a payment is nobody's, in a line without data of any subscriber."""
        index = await self._names()
        return index.of(kept.source, kept.payment, [k.subscriber for k in self.told_too(kept)]).why

    def told_too(self, kept: KeptPayment) -> list[KeptPayment]:
        """Return the same payment as other sources tell it."""
        if not kept.payment.provider_reference:
            return []
        rows = self._store.query(
            "SELECT source, id FROM payment WHERE provider_reference = ? AND source <> ?",
            (kept.payment.provider_reference, kept.source),
        )
        others = [ledger.payment(self._store.query, r["source"], r["id"]) for r in rows]
        return [o for o in others if o is not None and same_payment(o.payment, kept.payment)]

    async def _names(self) -> PayerIndex:
        now_s = self._clock.boot_s()
        if self._index is None or now_s - self._read_s > INDEX_S:
            few = book.count_services(self._store.reader) < AT_ONCE
            self._index = self._read(self._store.reader) if few else await self._store.aside(self._read)
            self._read_s = now_s
        return self._index

    def _read(self, reader: sqlite3.Connection) -> PayerIndex:
        def query(sql: str, args: Sequence[object]) -> list[sqlite3.Row]:
            return reader.execute(sql, args).fetchall()

        accounts: dict[str, list[Account]] = {}
        for source in self._sources:
            accounts[source] = [k.account for k in ledger.accounts(query, source).values()]
        return PayerIndex(book.services(reader).values(), accounts)
