"""Sealing keys: a new one each week, posted in time and again when it must be, gone a day after its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.changes.auditlog.recovery import MarksVerdict, VoidUnconsumed
from agent.changes.journal.signing import Signer
from agent.changes.journal.trust_state import TrustState
from agent.changes.remote.sealing import DAY_S, LIFE_S, LOOK_S, Sealing
from agent.store import mail
from agent.store.mail import JoinCloud, LeaveCloud, MarkSent, NewEpoch
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.builders.job import KEY, CrashedError, Rig
from tests.builders.people import People, trusted
from tests.builders.world import World
from trust import envelope as envelopes
from trust import seal, statements, verify
from trust.document import Trust
from trust.errors import MalformedSealError
from trust.keys import SigningKey
from trust.leaf import LeafKind
from trust.statements import SealKey

pytestmark = pytest.mark.virtual_time

AGENT = "2" * 32
ENROLMENT = b"n" * 32
LOG_KEY = SigningKey(bytes(range(1, 33)))


class Office:
    """A rig with a pinned trust document and its sealing keys."""

    def __init__(self, folder: Path, clock: FakeClock, people: People) -> None:
        self.rig = Rig(folder, World(), clock)
        self.rig.without_fsync()
        self.clock, self.people, self.closed = clock, people, False
        self.trust = TrustState(self.rig.store, self.rig.recorder, AGENT, KEY.public)
        self.sealing = Sealing(self.rig.store, self.rig.vault, self.rig.recorder, self.trust, clock, self.signer)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.rig.close()

    def signer(self) -> Signer:
        return Signer(self.people.trust_id, AGENT, KEY, self.rig.evidence.head)

    async def install(self, trust: Trust | None = None) -> None:
        entry = trusted(AGENT, "noc-1", KEY, "test.local/agent/a", LOG_KEY)
        document, words = self.people.sign_trust(trust or self.people.trust(entry))
        await self.trust.install(document, words, self.clock.wall_s())

    def posted(self) -> list[SealKey]:
        """What stands in the outbox, verified as a desk does."""
        pinned = present(self.trust.pinned)
        out = mail.next_out(self.rig.store.reader, self.clock.wall_s(), 100)
        assert {o.kind for o in out} <= {"sealkey"}
        return [
            verify.verify_sealkey(envelopes.decode_untrusted(o.body), pinned.trust, int(self.clock.wall_s()))
            for o in out
        ]

    async def sent(self) -> None:
        for o in mail.next_out(self.rig.store.reader, self.clock.wall_s(), 100):
            await self.rig.store.run(MarkSent(o.id))

    def leaves(self) -> int:
        found: int = self.rig.store.reader.execute(
            "SELECT count(*) FROM event WHERE kind = ?", (LeafKind.SEALKEY.value,)
        ).fetchone()[0]
        return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def people(clock: FakeClock) -> People:
    return People(now_s=int(clock.start_wall_s))


@pytest.fixture
def office(tmp_path: Path, clock: FakeClock, people: People) -> Iterator[Office]:
    office = Office(tmp_path, clock, people)
    yield office
    office.close()


def sealed_to(key: SealKey) -> bytes:
    return seal.seal(b"an intent", bytes.fromhex(key.x25519))


async def test_no_key_before_there_is_a_cloud_and_a_trust(office: Office) -> None:
    await office.sealing.refresh()
    await office.install()
    await office.sealing.refresh()
    assert office.rig.vault.sealing_keys() == []
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.sealing.refresh()
    (key,) = office.posted()
    assert office.sealing.open_untrusted(sealed_to(key)) == b"an intent"
    assert (key.not_after - key.not_before) * 60 == LIFE_S
    assert office.leaves() == 1


async def test_posted_once_and_again_when_trust_or_enrolment_change(office: Office) -> None:
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    for _ in range(3):
        await office.sealing.refresh()
    (key,) = office.posted()
    await office.sent()
    await office.rig.store.run(LeaveCloud())
    await office.sealing.refresh()
    await office.rig.store.run(JoinCloud(b"m" * 32))
    await office.sealing.refresh()
    assert office.posted() == [key]
    await office.sent()
    pinned = present(office.trust.pinned)
    await office.install(replace(pinned.trust, version=2, prev=pinned.sha256.hex(), issued=pinned.trust.issued + 1))
    await office.sealing.refresh()
    assert office.posted() == [key]
    assert office.leaves() == 3


async def test_next_key_comes_day_before_and_old_one_goes_day_after(office: Office) -> None:
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.sealing.refresh()
    (first,) = office.posted()
    blob = sealed_to(first)
    end_s = first.not_after * 60

    async def at(unix_s: float) -> None:
        await trio.sleep(unix_s - office.clock.wall_s())
        await office.sealing.refresh()

    await at(end_s - DAY_S - 1)
    assert office.posted() == [first]
    await at(end_s - DAY_S + 1)
    assert [k.x25519 == first.x25519 for k in office.posted()] == [True, False]
    second = office.posted()[1]
    assert office.sealing.open_untrusted(sealed_to(second)) == b"an intent"
    assert office.sealing.open_untrusted(blob) == b"an intent"
    await office.sent()
    await at(end_s + DAY_S)
    assert office.sealing.open_untrusted(blob) == b"an intent"
    await trio.sleep(2)
    with pytest.raises(MalformedSealError):
        office.sealing.open_untrusted(blob)
    assert len(office.rig.vault.sealing_keys()) == 2
    await office.sealing.refresh()
    assert [k.public.hex() for k in office.rig.vault.sealing_keys()] == [second.x25519]


async def test_a_key_of_a_clock_that_was_ahead_is_not_waited_for(office: Office) -> None:
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    office.clock.step_wall(20 * DAY_S)
    await office.sealing.refresh()
    await office.sent()
    office.clock.step_wall(-20 * DAY_S)
    for _ in range(2):
        await office.sealing.refresh()
    (key,) = office.posted()  # a desk takes it now
    assert office.sealing.open_untrusted(sealed_to(key)) == b"an intent"


async def test_a_cloud_that_was_restored_gets_the_key_again(office: Office) -> None:
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.rig.store.run(NewEpoch(b"e" * 16, 0))
    await office.sealing.refresh()
    (key,) = office.posted()
    await office.sent()
    for epoch in (b"e" * 16, b"f" * 16):
        await office.rig.store.run(NewEpoch(epoch, 0))
        await office.sealing.refresh()
    assert office.posted() == [key]
    assert office.leaves() == 2


async def test_a_restored_database_gets_a_new_key(office: Office) -> None:
    """A key that was posted after the backup is lost with its private half: desks must seal to another one."""
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.sealing.refresh()
    older = MarksVerdict(older=(1, 2))
    await office.rig.store.run(VoidUnconsumed(older, office.rig.recorder.record(None, {})))
    for _ in range(3):
        await office.sealing.refresh()
    before, new = office.posted()
    assert before.x25519 != new.x25519
    assert [office.sealing.open_untrusted(sealed_to(key)) for key in (before, new)] == [b"an intent"] * 2


async def test_a_key_is_new_however_the_post_before_it_ends(office: Office) -> None:
    """The first key is being posted when the board says that the database is an older one."""
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    older = MarksVerdict(older=(1, 2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.sealing.refresh)
        record = office.rig.recorder.record(None, {})
        nursery.start_soon(office.rig.store.run, VoidUnconsumed(older, record, running=True))
    await office.sealing.refresh()
    assert len({key.x25519 for key in office.posted()}) == 2


async def test_what_no_key_opens_has_a_new_key_made_once_an_hour(office: Office) -> None:
    """A copy of the machine posted a key of its own, and was switched off: desks seal to that one."""
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.sealing.refresh()
    await office.sealing.renew()
    await office.sealing.refresh()
    assert len(office.posted()) == 1, "the key is young"
    await trio.sleep(3600)
    for _ in range(2):
        await office.sealing.renew()
        await office.sealing.refresh()
    before, new = office.posted()
    assert before.not_after < new.not_after


async def test_a_key_of_a_clock_that_ran_ahead_is_no_young_one(office: Office) -> None:
    """It stood in the way of a new one until its time came, and each intent was refused as malformed meanwhile."""
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.sealing.refresh()
    await trio.sleep(3600)
    for ahead_s in (6.5 * DAY_S, -6.5 * DAY_S):
        office.clock.step_wall(ahead_s)
        await office.sealing.refresh()
    keys = len(office.rig.vault.sealing_keys())
    for _ in range(2):
        await office.sealing.renew()
        await office.sealing.refresh()
    assert len(office.rig.vault.sealing_keys()) == keys + 1


async def test_it_looks_by_itself(office: Office) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.sealing.run)
        await office.install()
        await office.rig.store.run(JoinCloud(ENROLMENT))
        await trio.sleep(LOOK_S + 1)
        assert len(office.posted()) == 1
        await office.rig.store.run(LeaveCloud())
        await office.rig.store.run(JoinCloud(ENROLMENT))  # the same one: what was to be sent was dropped
        await trio.sleep(LOOK_S + 1)
        assert len(office.posted()) == 1
        nursery.cancel_scope.cancel()


async def test_a_deleted_key_stands_nowhere_on_disk(office: Office, tmp_path: Path) -> None:
    """Whoever takes the disk and the store key later opens nothing of before."""
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.sealing.refresh()
    row = office.rig.vault._con.execute("SELECT private FROM sealing").fetchone()
    private = bytes(row[0])

    def on_disk() -> bool:
        return any(private in p.read_bytes() for p in tmp_path.iterdir() if p.name.startswith("keys.db"))

    assert on_disk()
    await trio.sleep(LIFE_S + 2 * DAY_S)
    await office.sealing.refresh()
    assert len(office.rig.vault.sealing_keys()) == 1
    assert not on_disk()


async def test_keys_outlive_a_restart_and_are_not_posted_again(
    office: Office, tmp_path: Path, clock: FakeClock, people: People
) -> None:
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    await office.sealing.refresh()
    (key,) = office.posted()
    office.close()
    again = Office(tmp_path, clock, people)
    await again.sealing.refresh()
    assert again.posted() == [key]
    assert again.sealing.open_untrusted(sealed_to(key)) == b"an intent"
    assert again.leaves() == 1
    again.close()


@pytest.mark.parametrize("after", [False, True])
async def test_dying_around_the_post(
    office: Office, tmp_path: Path, clock: FakeClock, people: People, after: bool
) -> None:
    await office.install()
    await office.rig.store.run(JoinCloud(ENROLMENT))
    office.rig.store.die_at, office.rig.store.die_after = office.rig.store.seen + 1, after
    with pytest.raises(CrashedError):
        await office.sealing.refresh()
    office.close()
    again = Office(tmp_path, clock, people)
    await again.sealing.refresh()
    assert len(again.posted()) == 1
    assert len(again.rig.vault.sealing_keys()) == 1
    assert again.leaves() == 1
    again.close()


def test_the_private_half_is_not_shown(office: Office) -> None:
    from agent.store.vault import StoredSealing

    assert not re.search("secret|private", repr(StoredSealing(b"p", b"private", 0, 1)))


def test_the_statement_says_nothing_else(office: Office) -> None:
    """What the cloud reads of it: ids, minutes, the key."""
    envelope = envelopes.decode_untrusted(office.signer().sealkey(b"k" * 32, 60, 120))
    assert statements.decode_as_untrusted(SealKey, envelope) == SealKey(
        office.people.trust_id, AGENT, (b"k" * 32).hex(), 1, 2
    )
