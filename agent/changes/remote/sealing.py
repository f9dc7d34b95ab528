"""The agent's sealing keys: intents through the cloud are sealed to them.

A key lives for a week; the next one is made and posted a day before. Its private half stands in `keys.db` under the
store key and is deleted a day after its last minute, so that a blob kept longer than that opens nowhere. The public
half is signed with the plan key and posted to the board, again when the trust document or the enrolment changed.

Desks seal to the newest key on the board, and that one may be gone: this database was restored from an older backup, or
a copy of this machine posted a key of its own. So a new key is made where a mark knows the database for an old one, and
where something came that no key opens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agent.changes.journal.audit import Recorder
from agent.changes.journal.signing import Signer
from agent.changes.journal.trust_state import TrustState
from agent.runtime.clock import Clock
from agent.store import mail
from agent.store.db import Store, Tx
from agent.store.log_store import Entry, Sealed
from agent.store.mail import Post
from agent.store.vault import StoredSealing, Vault
from trust import seal
from trust.leaf import LeafKind
from trust.seal import SealingKey

DAY_S: Final = 86_400
LIFE_S: Final = 7 * DAY_S
BACKDATED_S: Final = 300
"""A new key is valid from five minutes ago, for desks with clocks that are behind."""
LOOK_S: Final = 5.0
"""How often it is looked whether a key must be made, posted or deleted."""
RENEWED_AFTER_S: Final = 3600
"""How old the newest key must be to be renewed for something that no key opens: anybody can send that. Chosen
arbitrarily.
"""


@dataclass(frozen=True, slots=True)
class PostSealKey:
    """Post a sealing key's statement. `mark` says which key, under which trust and enrolment.

    `renews`: the key was made because a new one was wanted (`mail.RENEW`).
    """

    envelope: bytes = field(repr=False)
    mark: bytes
    sealed: Sealed
    renews: bool = False

    def run(self, tx: Tx) -> None:
        tx.append(Entry(LeafKind.SEALKEY, sealed=self.sealed))
        mail.post(tx, Post("sealkey", self.envelope))
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", (mail.SEALKEY, self.mark))
        if self.renews:
            tx.run("DELETE FROM meta WHERE key = ?", (mail.RENEW,))


class Sealing:
    """Makes, posts and deletes sealing keys, and opens bodies that were sealed to living ones."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        recorder: Recorder,
        trust: TrustState,
        clock: Clock,
        signer: Callable[[], Signer],
    ) -> None:
        self._store = store
        self._vault = vault
        self._recorder = recorder
        self._trust = trust
        self._clock = clock
        self._signer = signer
        self._keys = vault.sealing_keys()

    async def run(self) -> None:
        """Keep the keys fresh until cancelled.

        Raises:
            StoreFailedError: a key cannot be written or deleted.
        """
        while True:
            await self.refresh()
            await self._clock.sleep(LOOK_S)

    async def refresh(self) -> None:
        """Delete expired keys, make the next key in time or as wanted, post it where it was not posted yet."""
        now_s = int(self._clock.wall_s())
        if any(k.not_after_s < now_s - DAY_S for k in self._keys):
            self._vault.drop_sealing(now_s - DAY_S)
            self._keys = self._vault.sealing_keys()
        enrolment, pinned = self._meta(mail.CLOUD), self._trust.pinned
        if enrolment is None or pinned is None:
            return
        begun = [k for k in self._keys if k.not_before_s <= now_s]  # others are of a clock that was ahead
        renews = self._meta(mail.RENEW) is not None
        if renews or not begun or begun[0].not_after_s - now_s < DAY_S:
            begun = [self._make(now_s)]
        newest = begun[0]
        mark = hashlib.sha256(newest.public + pinned.sha256 + enrolment).digest()
        if self._meta(mail.SEALKEY) == mark:
            return
        envelope = self._signer().sealkey(newest.public, newest.not_before_s, newest.not_after_s)
        record = self._recorder.record(None, {"what": "sealkey", "x25519": newest.public.hex()})
        await self._store.run(PostSealKey(envelope, mark, record, renews))

    def _meta(self, key: str) -> bytes | None:
        row = self._store.reader.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row["value"])

    async def renew(self) -> None:
        """Have a new key made and posted at the next look, since something came that no key opens.

        Raises:
            StoreFailedError: that cannot be written.
        """
        now_s = int(self._clock.wall_s())
        youngest_s = now_s - RENEWED_AFTER_S - BACKDATED_S
        if not any(youngest_s < k.not_before_s <= now_s for k in self._keys):  # others are of a clock that was ahead
            await self._store.run(mail.RenewSealKey())

    def _make(self, now_s: int) -> StoredSealing:
        key = SealingKey.generate()
        begins_s = (now_s - BACKDATED_S) // 60 * 60
        stored = StoredSealing(key.public, key.private, begins_s, begins_s + LIFE_S)
        self._vault.keep_sealing(stored)
        self._keys = self._vault.sealing_keys()
        return stored

    def open_untrusted(self, data: bytes) -> bytes:
        """Return the content of a body sealed to one of the keys, those of the last day included.

        Raises:
            MalformedSealError: it was sealed to no key that still lives, or was altered.
        """
        now_s = self._clock.wall_s()
        live = [SealingKey(k.private) for k in self._keys if k.not_after_s + DAY_S >= now_s]
        return seal.open_sealed_untrusted(data, live)
