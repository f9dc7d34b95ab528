"""The log in the database: append-only, its tree, its proofs, and what an edit by hand leads to."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.store import log_store
from agent.store.db import Tx, check_storage, damage_named
from agent.store.errors import LogCorruptError, StoreError, StoreFailedError
from agent.store.log_store import Entry, Tail
from tests.builders.store import Agent, Put, edit, open_store
from trust import merkle
from trust.checkpoint import Checkpoint
from trust.leaf import LeafKind

SIZES = [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100]


def test_tail_appends_like_the_whole_tree() -> None:
    tail, hashes, stored = Tail(), [], {}
    for n in range(130):
        hashes.append(merkle.leaf_hash(bytes([n])))
        for level, index, digest in tail.append(hashes[-1]):
            assert (level, index) not in stored
            stored[level, index] = digest
        assert tail.size == n + 1
        assert len(tail.edge) == tail.size.bit_count()
        assert merkle.root_at(tail.size, lambda level, index: tail.edge[level, index]) == merkle.root(hashes)


@pytest.mark.parametrize("size", SIZES)
async def test_tail_is_read_back_and_proofs_from_stored_nodes_verify(tmp_path: Path, size: int) -> None:
    store = open_store(tmp_path)
    for n in range(size):
        await store.run(Put(f"k{n}"))
    store.close()
    store = open_store(tmp_path)
    assert store.size == size
    nodes = log_store.stored_nodes(store.reader)
    leaves = [merkle.leaf_hash(bytes(r["leaf"])) for r in store.reader.execute("SELECT leaf FROM event ORDER BY seq")]
    root = merkle.root_at(size, nodes)
    assert root == merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        merkle.verify_inclusion(leaf, index, size, merkle.inclusion(index, size, nodes), root)
    for old in range(1, size + 1):
        proof = merkle.consistency(old, size, nodes)
        merkle.verify_consistency(old, size, merkle.root(leaves[:old]), root, proof)
    assert await store.run(Put("next")) == size + 1
    store.close()


# --- what the database itself refuses ---


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DELETE FROM event WHERE seq = 1", "append-only"),
        ("UPDATE event SET leaf = zeroblob(98) WHERE seq = 1", "append-only"),
        ("UPDATE event SET kind = 2", "append-only"),
        ("UPDATE event SET subject = NULL", "append-only"),
        ("UPDATE event SET seq = 9 WHERE seq = 1", "append-only"),
        ("UPDATE item SET state = 'applied', state_seq = 5", "no such way"),
        ("UPDATE item SET state = 'running', state_seq = 6", "needs its event"),
        ("UPDATE item SET state = 'running'", "needs its event"),
        ("UPDATE item SET state = 'running', state_seq = 1", "needs its event"),
        ("UPDATE item SET state = 'running', state_seq = 3", "needs its event"),
        ("UPDATE plan SET consumed_seq = 2", "consumed once"),
        ("UPDATE step SET outcome_seq = 2", "used once"),
    ],
)
async def test_J7_no_state_without_its_event_and_no_event_twice(tmp_path: Path, sql: str, says: str) -> None:
    def rows(tx: Tx) -> None:
        tx.append(Entry(LeafKind.PLAN, bytes(16)))
        tx.append(Entry(LeafKind.PLAN, bytes(16)))
        tx.run("INSERT INTO intent VALUES (x'00', x'00', 'm', NULL, 1)")
        names = [r["name"] for r in tx.all("SELECT name FROM pragma_table_info('plan')")]
        plan: dict[str, object] = {name: b"" if name in ("head", "envelope") else 0 for name in names}
        plan |= {"plan_id": bytes(16), "digest": bytes(32), "intent_id": b"\0", "gate_seq": 1, "consumed_seq": 1}
        plan |= {"reverts": None, "again_of": None, "finished_seq": None}
        tx.run(f"INSERT INTO plan VALUES ({','.join('?' * len(plan))})", list(plan.values()))
        tx.run("INSERT INTO item VALUES (?, 1, x'', NULL, NULL, 'planned', 2, '', '', NULL, NULL)", (bytes(16),))
        tx.run("INSERT INTO step VALUES (?, 1, 1, 'forward', 1, 1, x'', x'', 1, '', '', '')", (bytes(16),))

    store = open_store(tmp_path)
    await store.run(Put("a", also=rows))

    def act(tx: Tx) -> None:
        tx.append(Entry(LeafKind.ITEM_STATE, bytes(16), item=1))  # event 5: of this item; event 6: of another
        tx.append(Entry(LeafKind.ITEM_STATE, bytes(16), item=2))
        tx.run(sql)

    with pytest.raises(sqlite3.IntegrityError, match=says):
        await store.run(Put("b", also=act))
    assert store.size == 3
    store.close()


async def test_an_erased_record_is_allowed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await store.run(Put("a"))
    await store.run(Put("b", also=lambda tx: tx.run("UPDATE event SET record = NULL")))
    store.close()


# --- edits by hand ---


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    agent = Agent(tmp_path)
    agent.vault.ensure_subjects(["C-1", "C-2"])
    for n in range(7):
        await agent.store.run(Put(f"k{n}", sealed=agent.recorder.record(f"C-{1 + n % 2}/home", {"n": n})))
    assert agent.evidence.verify() == 7
    yield agent
    agent.close()


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE event SET kind = 2 WHERE seq = 3",
        "UPDATE event SET code = 1 WHERE seq = 3",
        "UPDATE event SET item = 1 WHERE seq = 3",
        "UPDATE event SET step = 1 WHERE seq = 3",
        "UPDATE event SET at_s = at_s + 600 WHERE seq = 3",
        "UPDATE event SET plan = zeroblob(16) WHERE seq = 3",
        "UPDATE event SET subject = NULL WHERE seq = 3",
        "UPDATE event SET leaf = (SELECT leaf FROM event WHERE seq = 4) WHERE seq = 3",
        "UPDATE event SET leaf = substr(leaf, 1, 97) WHERE seq = 3",
        "UPDATE event SET leaf = zeroblob(98) WHERE seq = 3",
        "UPDATE event SET record = (SELECT record FROM event WHERE seq = 5) WHERE seq = 3",
        "UPDATE event SET record = (SELECT record FROM event WHERE seq = 4) WHERE seq = 3",
        "UPDATE event SET record = substr(record, 1, 8) WHERE seq = 3",
        "UPDATE event SET record = CAST(record || x'00' AS BLOB) WHERE seq = 3",
        "DELETE FROM event WHERE seq = 7",
        "DELETE FROM event WHERE seq = 3",
        "INSERT INTO event SELECT 8, kind, at_s, plan, item, step, code, leaf, subject, record FROM event WHERE seq=7",
        "UPDATE node SET hash = zeroblob(32) WHERE level = 0 AND idx = 0",
        "UPDATE node SET hash = zeroblob(32) WHERE level = 1 AND idx = 0",
        "UPDATE node SET hash = zeroblob(32) WHERE level = 2 AND idx = 0",
        "DELETE FROM node WHERE level = 0 AND idx = 1",
        "INSERT INTO node VALUES (9, 9, zeroblob(32))",
        "INSERT INTO node VALUES (0, 7, zeroblob(32))",
    ],
)
async def test_J6_an_edit_by_hand_is_noticed(agent: Agent, script: str) -> None:
    edit(agent.folder, script)
    with pytest.raises(LogCorruptError):
        agent.evidence.verify()


async def test_a_forged_log_of_its_own_tree_extends_no_checkpoint(agent: Agent) -> None:
    """Whoever rewrites events and nodes alike gets a log that adds up, and that no earlier head agrees with."""
    note = await agent.evidence.checkpoint()
    leaf = "(SELECT leaf FROM event WHERE seq = 4)"
    edit(
        agent.folder, "DELETE FROM node", f"UPDATE event SET leaf = {leaf}, record = NULL, subject = NULL WHERE seq = 3"
    )
    tail, rows = Tail(), agent.store.reader.execute("SELECT leaf FROM event ORDER BY seq").fetchall()
    made = [node for r in rows for node in tail.append(merkle.leaf_hash(bytes(r["leaf"])))]
    edit(agent.folder, *(f"INSERT INTO node VALUES ({level}, {index}, x'{h.hex()}')" for level, index, h in made))
    size, root = agent.evidence.head()
    assert (size, root) != agent.evidence.published()
    with pytest.raises(LogCorruptError, match=f"first {size} leaves are not those that were signed"):
        await agent.evidence.checkpoint()
    assert Checkpoint("test.local/agent/a", size, root).text().encode() not in note


async def test_gap_between_events_is_found_by_check_of_storage(agent: Agent) -> None:
    (agent.folder / "keys.db").touch()
    await check_storage(agent.folder)
    agent.store.close()
    edit(agent.folder, "DELETE FROM event WHERE seq = 2")
    agent.store = open_store(agent.folder)  # counting them takes long: it is left to the thread
    with pytest.raises(LogCorruptError, match="expected events 1 to 7, got 6"):
        await check_storage(agent.folder)


MALFORMED = "database disk image is malformed"


def of_sqlite(kind: type[sqlite3.Error], message: str, code: int) -> sqlite3.Error:
    """Return an error as SQLite raises it."""
    error = kind(message)
    error.sqlite_errorcode, error.sqlite_errorname = code, f"SQLITE_{code}"
    return error


CORRUPT = of_sqlite(sqlite3.DatabaseError, MALFORMED, sqlite3.SQLITE_CORRUPT)
UNREAD = of_sqlite(sqlite3.OperationalError, "disk I/O error", sqlite3.SQLITE_IOERR_READ)
NO_TEXT = sqlite3.OperationalError("Could not decode to UTF-8 column 'action' with text 'Amina W\ufffd'")
MISTAKEN = of_sqlite(sqlite3.OperationalError, "no such column: n", sqlite3.SQLITE_ERROR)


@pytest.mark.parametrize(
    ("whole", "error", "told"),
    [
        (False, StoreFailedError(f"the store cannot be written: {MALFORMED}"), LogCorruptError),
        (True, StoreFailedError(f"the store cannot be written: {MALFORMED}"), StoreFailedError),
        (False, StoreFailedError("the store cannot be written: database or disk is full"), StoreFailedError),
        (False, CORRUPT, LogCorruptError),
        (True, CORRUPT, StoreFailedError),
        (True, UNREAD, StoreFailedError),
        (False, NO_TEXT, LogCorruptError),
        (True, NO_TEXT, StoreFailedError),
        (True, MISTAKEN, sqlite3.OperationalError),
        (False, TypeError("cannot convert 'NoneType' object to bytes"), LogCorruptError),
        (True, TypeError("cannot convert 'NoneType' object to bytes"), TypeError),
        (False, ExceptionGroup("", [OSError(), ExceptionGroup("", [KeyError()])]), LogCorruptError),
        (True, ExceptionGroup("", [OSError(), ExceptionGroup("", [KeyError()])]), ExceptionGroup),
        (False, OSError("the address is taken"), OSError),
    ],
    ids=lambda value: value if isinstance(value, bool) else getattr(value, "__name__", str(value)[:24]),
)
async def test_an_end_for_a_damage_says_so(agent: Agent, whole: bool, error: Exception, told: type[Exception]) -> None:
    """The simulation's seeds 5203 and 8700014, page-flipped: a start failed by it, and systemd made the next."""
    (agent.folder / "keys.db").touch()
    agent.store.close()
    path = agent.folder / "agent.db"
    data = path.read_bytes()
    path.write_bytes(data if whole else data[:4096].ljust(len(data), b"\xff"))
    with pytest.raises(told) as caught, damage_named(agent.folder):
        raise error
    assert caught.type is told
    if isinstance(caught.value, StoreError):
        assert len(str(caught.value).splitlines()) == 1
        assert "Amina" not in str(caught.value)
    path.write_bytes(data)
    agent.store = open_store(agent.folder)


async def test_missing_nodes_are_refused_at_start(agent: Agent) -> None:
    agent.store.close()
    edit(agent.folder, "DELETE FROM node WHERE level = 0 AND idx = 6")
    with pytest.raises(LogCorruptError, match="lacks node 6 of level 0"):
        open_store(agent.folder)
    edit(agent.folder, "DELETE FROM event", "DELETE FROM node", "DELETE FROM meta")
    agent.store = open_store(agent.folder)
