"""An agent's log beside its witnesses, without a network: what leaves is answered by them, when the test says so."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from agent.changes.auditlog import recovery
from agent.changes.auditlog.witnesses import Witnesses
from agent.changes.journal.trust_state import TrustState
from agent.runtime.notifier import Notifier
from agent.store import mail
from agent.store.mail import JoinCloud, MarkSent, Outgoing
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.builders.job import KEY, Rig, item
from tests.builders.people import People, trusted
from tests.builders.world import World
from trust import document as documents
from trust import envelope as envelopes
from trust import statements
from trust.checkpoint import (
    Checkpoint,
    cosign,
    encode_witness_vkey,
    parse_vkey_untrusted,
    parse_witness_vkey_untrusted,
)
from trust.document import Quorum, Trust, WitnessOperator
from trust.keys import SigningKey
from trust.witness import Refusal, decode_request_untrusted, judge, note_text

AGENT = "2" * 32


@dataclass
class Witness:
    """A witness that remembers one checkpoint of each log, as C2SP says. `skew_s`: how far its clock is off."""

    name: str
    operated_by: WitnessOperator
    skew_s: int = 0
    key: SigningKey = field(default_factory=SigningKey.generate)
    known: dict[str, Checkpoint] = field(default_factory=dict)
    said: list[bytes] = field(default_factory=list)

    @property
    def vkey(self) -> str:
        return encode_witness_vkey(self.name, self.key.public)

    @property
    def key_id(self) -> bytes:
        return parse_witness_vkey_untrusted(self.vkey).key_id

    def answer(self, body: bytes, log_vkey: str, now_s: int) -> bytes:
        request, log_key = decode_request_untrusted(body), parse_vkey_untrusted(log_vkey)
        judged = judge(request, log_key, self.known.get(log_key.name))
        if isinstance(judged, Refusal):
            assert judged.status in (409, 422), judged
            said = b"conflict %d\n" % ((judged.size or 0) if judged.status == 409 else request.old)
        else:
            self.known[log_key.name] = judged
            said = cosign(note_text(request.note), self.name, self.key, now_s + self.skew_s).encode()
        self.said.append(said)
        return said


def desk_and_cloud() -> list[Witness]:
    return [Witness("desk-lena", WitnessOperator.OWN), Witness("cloud", WitnessOperator.CLOUD)]


class Site:
    """One life of an agent on a folder, with its people and witnesses."""

    def __init__(self, folder: Path, people: People, witnesses: Sequence[Witness], clock: FakeClock) -> None:
        self.rig = Rig(folder, World(), clock)
        self.people, self.witnesses, self.clock = people, list(witnesses), clock
        self.trust = TrustState(self.rig.store, self.rig.recorder, AGENT, KEY.public)
        self.bell = Notifier()
        self.asking = Witnesses(
            self.rig.store, self.rig.recorder, self.rig.evidence, self.trust, clock, self.bell, cadence_s=60
        )

    def document(self, quorum: Quorum, witnesses: Sequence[Witness] | None = None) -> Trust:
        entry = trusted(AGENT, "noc-1", KEY, "test.local/agent/a", SigningKey(bytes(range(1, 33))))
        found = self.witnesses if witnesses is None else witnesses
        listed = tuple(documents.Witness(w.name, (w.vkey,), w.operated_by) for w in found)
        return replace(self.people.trust(entry), witnesses=listed, quorum=quorum)

    async def install(self, quorum: Quorum) -> None:
        """Install the first trust document, and enrol."""
        data, words = self.people.sign_trust(self.document(quorum))
        await self.trust.install(data, words, self.clock.wall_s())
        await self.rig.store.run(JoinCloud(b"n" * 32))

    async def next_trust(self, witnesses: Sequence[Witness], quorum: Quorum) -> None:
        """Pin the next version, with these witnesses."""
        pinned = present(self.trust.pinned)
        document = replace(self.document(quorum, witnesses), version=pinned.trust.version + 1, prev=pinned.sha256.hex())
        envelope = statements.sign(document, [self.people.keys["joseph"], self.people.keys["lena"]])
        await self.trust.follow(envelopes.encode(envelope), self.clock.wall_s())

    async def note_start(self) -> None:
        await recovery.note_start(self.rig.store, self.rig.recorder, recovery.Build("0.1.0", "00" * 32))

    async def plan(self) -> bytes:
        """Save an open plan."""
        login = f"u{len(self.rig.world.values)}"
        self.rig.world.add(login)
        return await self.rig.save_plan([item(1, login, self.rig.world)])

    def gate(self, plan_id: bytes) -> str:
        return self.rig.loaded(plan_id).row.gate.value

    def leaves(self, kind: int) -> int:
        query = "SELECT count(*) FROM event WHERE kind = ?"
        return int(self.rig.store.reader.execute(query, (kind,)).fetchone()[0])

    # --- the mail ---

    def waiting(self) -> list[Outgoing]:
        return [o for o in mail.next_out(self.rig.store.reader, 0, 100) if o.kind == "checkpoint"]

    async def sent(self) -> list[Outgoing]:
        """Take the requests out of the outbox, as the uplink does; nobody has answered them yet."""
        found = self.waiting()
        for out in found:
            await self.rig.store.run(MarkSent(out.id))
        return found

    def witness(self, key_id: bytes) -> Witness | None:
        return next((w for w in self.witnesses if w.key_id == key_id), None)

    async def deliver(self, *silent: str) -> int:
        """Have the witnesses answer what is in the outbox until it is empty; those who are `silent` do not."""
        answered = 0
        while found := await self.sent():
            for out in found:
                witness = self.witness(out.witness)
                if witness is None or witness.name in silent:
                    continue
                vkey = self.rig.evidence.vkey
                await self.asking.take(out.witness, witness.answer(out.body, vkey, int(self.clock.wall_s())))
                answered += 1
        return answered

    async def cosigned(self) -> None:
        """Publish a checkpoint and have it cosigned by all."""
        await self.asking.publish()
        await self.deliver()

    async def start(self, *silent: str, wait_s: float = 30.0) -> None:
        """Do what a daemon does at its start: the leaf, then the rule, while answers come in."""
        await self.note_start()

        async def mail_goes() -> None:
            while True:
                await self.deliver(*silent)
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(mail_goes)
            await self.asking.start_rule(wait_s)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def site_in(folder: Path, witnesses: Sequence[Witness], quorum: Quorum | None = None) -> AsyncIterator[Site]:
    """A first life, with trust installed; by default all witnesses must confirm, one of them not the cloud's."""
    clock = FakeClock()
    folder.mkdir(exist_ok=True)
    site = Site(folder, People(now_s=int(clock.start_wall_s)), witnesses, clock)
    await site.install(Quorum(len(witnesses), 1) if quorum is None else quorum)
    await site.note_start()
    try:
        yield site
    finally:
        site.rig.close()


@asynccontextmanager
async def life(site: Site, folder: Path) -> AsyncIterator[Site]:
    """Another life on `folder`, with the same people, witnesses and clock."""
    again = Site(folder, site.people, site.witnesses, site.clock)
    again.rig.world = site.rig.world
    try:
        yield again
    finally:
        again.rig.close()


def snapshot(site: Site, to: Path) -> Path:
    """Copy the agent's files as a snapshot of its machine does: database and keys of one moment."""
    for con in (site.rig.store._con, site.rig.vault._con):
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(site.rig.folder, to)
    return to
