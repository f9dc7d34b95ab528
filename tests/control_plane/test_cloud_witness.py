import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from control_plane.errors import LocalFailureError
from control_plane.store import CloudStore
from control_plane.witness import CloudWitness
from protos import message_pb2 as pb
from protos.agent_pb2 import AddCheckpointReply
from tests.builders.expect import expect
from tests.control_plane.cloud import Log, key
from trust import checkpoint
from trust.checkpoint import VerifierKey, parse_witness_vkey_untrusted

OPERATOR, OTHER = b"o" * 16, b"p" * 16
AGENT = b"1" * 16
LOG = Log(AGENT)
ORIGIN = f"isp.example/agent/{AGENT.hex()}"
LOG_KEY = VerifierKey(ORIGIN, key(f"log {AGENT.hex()}").public)
NAME, NOW_S = "ispcloud-witness", 1_760_000_000
VKEY = parse_witness_vkey_untrusted(checkpoint.encode_witness_vkey(NAME, key("witness").public))

Ask = Callable[..., Awaitable[AddCheckpointReply | int]]


def play(path: Path, work: Callable[[Ask, CloudStore], Awaitable[None]]) -> None:
    async def main() -> None:
        store = CloudStore(path)
        witness = CloudWitness(store, NAME, key("witness"), lambda: NOW_S)

        async def ask(
            body: bytes, *, operator: bytes = OPERATOR, log_key: VerifierKey | None = LOG_KEY
        ) -> AddCheckpointReply | int:
            return await witness.add_untrusted(operator, AGENT, body, log_key)

        try:
            await asyncio.wait_for(work(ask, store), 20)
        finally:
            store.close()

    asyncio.run(main())


def remembered(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as con:
        return con.execute("SELECT operator, size, root FROM witness ORDER BY operator").fetchall()


def check(reply: AddCheckpointReply | int, size: int) -> None:
    assert isinstance(reply, AddCheckpointReply)
    text = checkpoint.Checkpoint(ORIGIN, size, LOG.root(size)).text()
    assert checkpoint.verify_cosignature_untrusted(reply.cosignatures.decode(), text, VKEY) == NOW_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.db"


def test_it_remembers_and_cosigns_what_grows(path: Path) -> None:
    async def work(ask: Ask, store: CloudStore) -> None:
        for old, new in ((0, 3), (3, 3), (3, 20), (20, 64)):
            check(await ask(LOG.ask(old, new)), new)
            assert remembered(path) == [(OPERATOR, new, LOG.root(new))]

    play(path, work)


def test_what_is_not_durable_is_not_cosigned(path: Path) -> None:
    class Full:
        def run(self, tx: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

    async def work(ask: Ask, store: CloudStore) -> None:
        results = await asyncio.gather(store.run(Full()), ask(LOG.ask(0, 3)), return_exceptions=True)
        assert [type(r) for r in results] == [LocalFailureError, LocalFailureError]

    play(path, work)
    assert remembered(path) == []


def test_of_two_at_a_time_one_is_cosigned(path: Path) -> None:
    async def work(ask: Ask, store: CloudStore) -> None:
        replies = await asyncio.gather(*(ask(LOG.ask(0, size)) for size in (9, 5, 7)))
        check(replies[0], 9)
        assert replies[1:] == [AddCheckpointReply(conflict=9)] * 2

    play(path, work)


def test_a_log_that_goes_back_or_forks_is_not_cosigned(path: Path) -> None:
    forked = Log(AGENT, "forked")

    async def first(ask: Ask, store: CloudStore) -> None:
        check(await ask(LOG.ask(0, 20)), 20)

    async def after_a_restart(ask: Ask, store: CloudStore) -> None:
        assert await ask(LOG.ask(0, 10)) == AddCheckpointReply(conflict=20)
        assert await ask(forked.ask(20, 20)) == pb.REFUSAL_BAD_PROOF
        assert await ask(forked.ask(20, 40)) == pb.REFUSAL_BAD_PROOF
        check(await ask(LOG.ask(20, 21)), 21)

    play(path, first)
    play(path, after_a_restart)
    assert remembered(path) == [(OPERATOR, 21, LOG.root(21))]


def test_nobody_claims_the_name_of_anothers_log(path: Path) -> None:
    thief = VerifierKey(ORIGIN, key("thief").public)

    async def work(ask: Ask, store: CloudStore) -> None:
        check(await ask(LOG.ask(0, 5)), 5)
        stolen = Log(AGENT, "thief")
        reply = expect(AddCheckpointReply, await ask(stolen.ask(0, 60, signer="thief"), operator=OTHER, log_key=thief))
        assert reply.cosignatures
        check(await ask(LOG.ask(5, 6)), 6)

    play(path, work)
    assert [(row[0], row[1]) for row in remembered(path)] == [(OPERATOR, 6), (OTHER, 60)]


def test_what_is_no_request_of_this_log_is_refused(path: Path) -> None:
    other_log = VerifierKey("isp.example/agent/other", LOG_KEY.public)

    async def work(ask: Ask, store: CloudStore) -> None:
        assert await ask(b"") == pb.REFUSAL_MALFORMED
        assert await ask(b"old 0\n\nno note") == pb.REFUSAL_MALFORMED
        assert await ask(LOG.ask(0, 5), log_key=None) == pb.REFUSAL_UNKNOWN_LOG
        assert await ask(LOG.ask(0, 5), log_key=other_log) == pb.REFUSAL_UNKNOWN_LOG
        assert await ask(LOG.ask(0, 5, signer="somebody")) == pb.REFUSAL_UNKNOWN_LOG
        assert await ask(LOG.ask(3, 5).replace(b"old 3", b"old 9")) == pb.REFUSAL_MALFORMED

    play(path, work)
    assert remembered(path) == []
