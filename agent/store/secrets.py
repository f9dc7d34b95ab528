"""Passwords and shared secrets of devices and databases: sealed at rest, opened only for the connector that dials."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from agent.reasons import RefusalReason
from agent.store.db import Store, Tx
from agent.store.errors import MissingKeyError, RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.vault import Vault
from trust.leaf import LeafKind

SECRET_MAX = 1024
"""Bytes; passwords and shared secrets are far shorter."""


@dataclass(frozen=True, slots=True)
class PutSecret:
    """Keep a sealed secret under its name."""

    name: str
    sealed_secret: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        seq = tx.append(Entry(LeafKind.SECRET_SET, sealed=self.sealed))
        tx.run("INSERT OR REPLACE INTO secret (name, sealed, seq) VALUES (?,?,?)", (self.name, self.sealed_secret, seq))


class SecretStore:
    """Secrets by name. `wanted` are the names that the configuration uses."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        record: Callable[[str, str], Sealed],
        wanted: Collection[str],
        learn: Callable[[bytes], None],
    ) -> None:
        """`record(name, who)` seals the audit record; `learn` tells the log handler a value never to print."""
        self._vault = vault
        self._store = store
        self._record = record
        self._learn = learn
        self.wanted = frozenset(wanted)
        rows = store.reader.execute("SELECT name, sealed FROM secret").fetchall()
        self._clear = {r["name"]: vault.open(bytes(r["sealed"])) for r in rows}
        for secret in self._clear.values():
            learn(secret)

    def names(self) -> list[str]:
        """Return the names that have a secret."""
        return sorted(self._clear)

    def get(self, name: str) -> bytes:
        """Return a secret's clear bytes.

        Raises:
            MissingKeyError: nobody has set it yet.
        """
        if name not in self._clear:
            raise MissingKeyError(f"secret {name} is not set: ispagent secret set {name}")
        return self._clear[name]

    async def put(self, name: str, secret: bytes, who: str) -> None:
        """Keep a secret, sealed.

        Raises:
            RefusedCommandError: empty, too long, or a name that the configuration does not use.
        """
        if not 0 < len(secret) <= SECRET_MAX:
            raise RefusedCommandError(
                RefusalReason.BAD_SECRET, f"expected a secret of 1 to {SECRET_MAX} bytes, got {len(secret)}"
            )
        if name not in self.wanted:
            known = ", ".join(sorted(self.wanted)) or "none"
            raise RefusedCommandError(
                RefusalReason.UNWANTED_SECRET, f"expected a secret that the configuration names ({known}), got {name}"
            )
        self._learn(secret)
        await self._store.run(PutSecret(name, self._vault.seal(secret), self._record(name, who)))
        self._clear[name] = secret
