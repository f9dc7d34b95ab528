"""An uplink on a store of its own, against a proxied control plane."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.runtime.clock import SystemClock
from agent.runtime.supervise import Backoff
from agent.store.db import Store, Tx
from agent.store.mail import MailBells, Post, post
from agent.store.vault import Vault
from agent.uplink import enrolment
from agent.uplink import identity as identities
from agent.uplink.client import CloudClient
from agent.uplink.identity import CloudIdentity
from agent.uplink.link import Uplink
from protos.channel import DEFAULT, Keepalive
from tests.builders.cloud import AGENT, OPERATOR, Authority, Proxy, proxied
from tests.builders.store import STORE_KEY, TRANSITIONS

QUICK = Backoff(first_s=0.02, most_s=0.1, steady_s=3600)
WITNESS = b"WITN"


@dataclass(frozen=True, slots=True)
class Posting:
    """A command that posts."""

    posts: tuple[Post, ...]

    def run(self, tx: Tx) -> None:
        for p in self.posts:
            post(tx, p)


def make_identity(authority: Authority, port: int, **dates: object) -> CloudIdentity:
    key, csr = enrolment.new_key()
    der = authority.client(csr, **dates)  # type: ignore[arg-type]  # timedeltas
    pem = x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)
    return CloudIdentity(OPERATOR, "agent-1", f"127.0.0.1:{port}", secrets.token_hex(32), authority.pem, pem, key)


@dataclass(slots=True)
class BoardNotes:
    """Takes note of what the control plane answered of the board. `meanwhile` is called before."""

    answers: list[Sequence[bytes]] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    async def compare_untrusted(self, answered: Sequence[bytes]) -> None:
        self.meanwhile()
        self.answers.append(answered)

    def pass_over(self, why: str) -> None:
        self.passed_over.append(why)


@dataclass(slots=True)
class Rig:
    """What a test works with."""

    folder: Path
    store: Store
    vault: Vault
    bells: MailBells
    authority: Authority
    proxy: Proxy
    keepalive: Keepalive = DEFAULT
    board: BoardNotes = field(default_factory=lambda: BoardNotes())

    def enroll(self, **dates: object) -> CloudIdentity:
        found = make_identity(self.authority, self.proxy.port, **dates)
        identities.save(self.folder, self.vault, found)
        return found

    async def post(self, *posts: Post) -> None:
        await self.store.run(Posting(posts))

    def keep_plan(self, envelope: bytes) -> None:
        """Have a plan that waits."""
        con = self.store._con  # before anything else writes
        con.execute("PRAGMA foreign_keys = OFF")
        columns = [r["name"] for r in con.execute("PRAGMA table_info(plan)") if r["notnull"] and not r["dflt_value"]]
        values = {"envelope": envelope, "gate": "open", "plan_id": envelope}
        con.execute(
            f"INSERT INTO plan ({','.join(columns)}) VALUES ({','.join('?' * len(columns))})",
            [values.get(name, 1) for name in columns],
        )
        con.execute("PRAGMA foreign_keys = ON")

    def inbox(self) -> list[tuple[str, bytes]]:
        rows = self.store.reader.execute("SELECT kind, body FROM inbox ORDER BY id").fetchall()
        return [(r["kind"], bytes(r["body"])) for r in rows]

    def outbox(self) -> int:
        return int(self.store.reader.execute("SELECT count(*) FROM outbox").fetchone()[0])

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[Uplink]:
        """Run an uplink; it is cancelled at the end."""
        uplink = Uplink(
            self.store,
            self.bells,
            self.folder,
            self.vault,
            SystemClock(),
            AGENT,
            self.board,
            cloud_witnesses=lambda: {WITNESS},
            dial=lambda identity: CloudClient(identity, self.keepalive),
            backoff=QUICK,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(uplink.run)
            yield uplink
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def rigged(folder: Path, authority: Authority, target: int = 0, *, enrolled: bool = True) -> AsyncIterator[Rig]:
    vault = Vault(STORE_KEY, folder / "keys.db")
    store = Store(folder, TRANSITIONS, SystemClock().wall_s)
    bells = MailBells()
    store.on_post = bells.outbox.ring
    try:
        async with proxied(target) as proxy:
            rig = Rig(folder, store, vault, bells, authority, proxy)
            if enrolled:
                rig.enroll()
            yield rig
    finally:
        store.close()
        vault.close()
