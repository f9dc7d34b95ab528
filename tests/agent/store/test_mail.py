"""The mail in the store: nothing is lost, taken twice or kept longer than it should be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing

from agent.store import mail, schema
from agent.store.db import Store, Tx
from agent.store.errors import RefusedCommandError
from agent.store.mail import Done, Incoming, JoinCloud, LeaveCloud, MarkSent, NewEpoch, Post, TakeIn
from tests.builders.expect import present
from tests.builders.store import TRANSITIONS, WALL_S, open_store

NOW = int(WALL_S)
EPOCH, LATER = b"e" * 16, b"f" * 16
ENROLMENT = b"n" * 32


@dataclass(frozen=True, slots=True)
class PostAll:
    """Post, then perhaps go wrong."""

    posts: tuple[Post, ...]
    wrong: bool = False

    def run(self, tx: Tx) -> None:
        for p in self.posts:
            mail.post(tx, p)
        if self.wrong:
            raise RefusedCommandError("no", "no")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(tmp_path)) as store:
        yield store


def message(number: int, kind: str = "approval", ref: bytes | None = None) -> Incoming:
    ref = ref or number.to_bytes(16, "big")
    return Incoming(number, ref, kind, f"body {number}".encode(), (b"one", b"\x00two"), witness=b"wkey")


def bodies(store: Store) -> list[bytes]:
    return [o.body for o in mail.next_out(store.reader, NOW, 100)]


# --- out ---


async def test_nothing_is_posted_without_a_control_plane(store: Store) -> None:
    await store.run(PostAll((Post("plan", b"a"),)))
    assert bodies(store) == []
    assert not mail.state(store.reader).enrolled


async def test_what_is_posted_leaves_in_order_each_once(store: Store) -> None:
    assert await store.run(JoinCloud(ENROLMENT))
    page = Post("view-page", b"p", answers=b"v" * 16, last=True, expires_s=NOW + 60)
    await store.run(PostAll((Post("plan", b"a"), page, Post("checkpoint", b"c", witness=b"1234"))))
    out = mail.next_out(store.reader, NOW, 100)
    assert [(o.kind, o.body, o.answers, o.last, o.witness) for o in out] == [
        ("plan", b"a", b"", False, b""),
        ("view-page", b"p", b"v" * 16, True, b""),
        ("checkpoint", b"c", b"", False, b"1234"),
    ]
    assert len({o.ref for o in out}) == 3
    assert {len(o.ref) for o in out} == {16}
    await store.run(MarkSent(out[0].id))
    assert [o.ref for o in mail.next_out(store.reader, NOW, 100)] == [o.ref for o in out[1:]]
    assert [o.ref for o in mail.next_out(store.reader, NOW, 1)] == [out[1].ref]
    assert mail.state(store.reader).sent_s == NOW


async def test_an_id_is_not_used_again(store: Store) -> None:
    """`MarkSent` of what was dropped meanwhile must not hit what came after."""
    await store.run(JoinCloud(ENROLMENT))
    await store.run(PostAll((Post("plan", b"a"),)))
    (first,) = mail.next_out(store.reader, NOW, 1)
    await store.run(MarkSent(first.id))
    await store.run(PostAll((Post("plan", b"b"),)))
    await store.run(MarkSent(first.id))
    assert bodies(store) == [b"b"]


async def test_a_command_that_is_undone_posts_nothing(store: Store) -> None:
    await store.run(JoinCloud(ENROLMENT))
    with pytest.raises(RefusedCommandError):
        await store.run(PostAll((Post("plan", b"a"),), wrong=True))
    assert bodies(store) == []


async def test_what_expired_is_neither_sent_nor_kept(store: Store) -> None:
    await store.run(JoinCloud(ENROLMENT))
    await store.run(PostAll((Post("view-page", b"old", expires_s=NOW + 1), Post("checkpoint", b"c"))))
    assert [o.body for o in mail.next_out(store.reader, NOW, 9)] == [b"old", b"c"]
    assert [o.body for o in mail.next_out(store.reader, NOW + 1, 9)] == [b"c"]
    assert mail.next_out(store.reader, NOW + mail.LIVES_S["checkpoint"], 9) == []
    await store.run(PostAll((Post("view-page", b"gone", expires_s=NOW),)))
    await store.run(PostAll((Post("plan", b"p"),)))
    assert store.reader.execute("SELECT count(*) FROM outbox WHERE body = x'676f6e65'").fetchone()[0] == 0


async def test_who_waits_for_the_outbox_is_told_once_it_is_durable(store: Store) -> None:
    seen: list[list[bytes]] = []
    store.on_post = lambda: seen.append(bodies(store))
    await store.run(PostAll((Post("plan", b"not enrolled"),)))
    await store.run(JoinCloud(ENROLMENT))
    with pytest.raises(RefusedCommandError):
        await store.run(PostAll((Post("plan", b"undone"),), wrong=True))
    assert seen == []
    await store.run(PostAll((Post("plan", b"a"),)))
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [[b"a"]]


# --- in ---


async def test_taken_in_order_with_the_cursor(store: Store) -> None:
    assert mail.cursor(store.reader) == (b"", 0)
    assert mail.next_in(store.reader) is None
    assert await store.run(TakeIn([message(1), message(2, "intent")], EPOCH)) == 2
    assert mail.cursor(store.reader) == (EPOCH, 2)
    row = present(mail.next_in(store.reader))
    assert (row.kind, row.body, row.links, row.witness) == ("approval", b"body 1", (b"one", b"\x00two"), b"wkey")
    assert (row.ref, row.at_s) == (message(1).ref, NOW)
    assert [mail.next_in(store.reader, only).id for only in (("intent",), ())] == [2, 1]  # type: ignore[union-attr]  # they are there
    other = present(mail.next_in(store.reader, (), ("approval", "view")))
    assert other.kind == "intent"
    assert mail.next_in(store.reader, ("view",)) is None


async def test_a_ref_seen_before_is_passed_over_for_ever(store: Store) -> None:
    await store.run(TakeIn([message(1)], EPOCH))
    assert await store.run(TakeIn([message(1)], EPOCH)) == 0
    await store.run(Done(1))
    await store.run(NewEpoch(LATER, 0))
    assert mail.cursor(store.reader) == (LATER, 0)
    assert await store.run(TakeIn([message(7, ref=message(1).ref), message(8)], LATER)) == 1
    assert mail.cursor(store.reader) == (LATER, 8)
    row = present(mail.next_in(store.reader))
    assert row.body == b"body 8"


async def test_the_cursor_never_goes_back_within_an_epoch(store: Store) -> None:
    await store.run(TakeIn([message(5)], EPOCH))
    await store.run(TakeIn([message(0, "view", b"r" * 16)], EPOCH))
    await store.run(TakeIn([message(3)], EPOCH))
    await store.run(NewEpoch(EPOCH, 5))
    assert mail.cursor(store.reader) == (EPOCH, 5)
    await store.run(TakeIn([message(2, ref=b"s" * 16)], LATER))
    assert mail.cursor(store.reader) == (LATER, 2)


async def test_an_endless_stream_fills_no_disk(store: Store) -> None:
    many = [message(n) for n in range(1, mail.INBOX_MAX + 1)]
    await store.run(TakeIn(many, EPOCH))
    with pytest.raises(RefusedCommandError, match="at most 1000 messages to wait") as refused:
        await store.run(TakeIn([message(2000)], EPOCH))
    assert refused.value.reason == "inbox-full"
    assert mail.cursor(store.reader) == (EPOCH, mail.INBOX_MAX)
    await store.run(Done(1))
    assert await store.run(TakeIn([message(2000)], EPOCH)) == 1


async def test_those_who_ask_too_much_do_not_hold_up_a_stop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "ASKS_MAX", 3)
    asks = [message(n, "intent") for n in range(1, 6)]
    assert await store.run(TakeIn([*asks, message(6, "freeze"), message(0, "view", b"v" * 16)], EPOCH)) == 5
    assert mail.cursor(store.reader) == (EPOCH, 6)
    assert mail.state(store.reader).inbox == 5
    assert await store.run(TakeIn([message(7, "intent")], EPOCH)) == 0
    await store.run(Done(1))
    assert await store.run(TakeIn([message(8, "intent")], EPOCH)) == 1
    kept = store.reader.execute("SELECT id FROM inbox WHERE kind = 'intent' AND done_s IS NULL ORDER BY id").fetchall()
    assert [r["id"] for r in kept] == [2, 3, 9]


async def test_done_posts_the_answer_once_and_forgets_the_body(store: Store) -> None:
    await store.run(JoinCloud(ENROLMENT))
    await store.run(TakeIn([message(1)], EPOCH))
    await store.run(Done(1, [Post("receipt", b"r")]))
    with pytest.raises(RefusedCommandError) as refused:
        await store.run(Done(1, [Post("receipt", b"r")]))
    assert refused.value.reason == "done"
    assert bodies(store) == [b"r"]
    assert mail.next_in(store.reader) is None
    kept = store.reader.execute("SELECT body, links FROM inbox").fetchone()
    assert (kept["body"], kept["links"]) == (b"", b"")
    state = mail.state(store.reader)
    assert (state.enrolled, state.outbox, state.inbox, state.sent_s, state.received_s) == (True, 1, 0, None, NOW)


async def test_refs_are_forgotten_when_the_cloud_has_forgotten_them(tmp_path: Path) -> None:
    now = [WALL_S]
    with closing(Store(tmp_path, TRANSITIONS, lambda: now[0])) as store:
        await store.run(TakeIn([message(1), message(2)], EPOCH))
        await store.run(Done(1))
        now[0] += mail.REFS_KEPT_S + 1
        await store.run(Done(2))
        assert [r["id"] for r in store.reader.execute("SELECT id FROM inbox")] == [2]


async def test_a_cloud_that_asks_again_and_again_fills_no_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "RECEIPTS_MAX", 10)
    monkeypatch.setattr(mail, "REFS_KEPT", 20)
    await store.run(JoinCloud(ENROLMENT))
    for n in range(1, 51):
        await store.run(TakeIn([message(n)], EPOCH))
        await store.run(Done(n, [Post("receipt", b"r")]))
    assert len(bodies(store)) == 10
    assert store.reader.execute("SELECT min(id), max(id) FROM inbox").fetchone()[:] == (31, 50)
    await store.run(PostAll((Post("outcome", b"o"),)))
    assert bodies(store)[-1] == b"o"


async def test_an_outbox_is_full_by_what_is_in_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "RECEIPTS_MAX", 10)
    await store.run(JoinCloud(ENROLMENT))
    await store.run(PostAll((Post("outcome", b"o"),)))
    for _ in range(20):  # a witness is asked each minute while the cloud is away
        await store.run(PostAll((Post("checkpoint", b"c", expires_s=NOW - 1),)))
    await store.run(PostAll((Post("receipt", b"r"),)))
    assert bodies(store) == [b"o", b"r"]


# --- enrolment ---


async def test_a_new_enrolment_starts_anew_and_the_same_one_goes_on(store: Store) -> None:
    await store.run(JoinCloud(ENROLMENT))
    await store.run(PostAll((Post("plan", b"a"),)))
    await store.run(TakeIn([message(1)], EPOCH))
    assert not await store.run(JoinCloud(ENROLMENT))
    assert (bodies(store), mail.cursor(store.reader)) == ([b"a"], (EPOCH, 1))
    assert await store.run(JoinCloud(b"m" * 32))
    assert (bodies(store), mail.cursor(store.reader)) == ([], (b"", 0))
    await store.run(PostAll((Post("plan", b"b"),)))
    await store.run(LeaveCloud())
    state = mail.state(store.reader)
    assert (state.enrolled, state.outbox, state.received_s) == (False, 0, None)


# --- earlier versions of the database ---


def test_a_database_of_version_3_is_brought_up_to_date(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "agent.db", isolation_level=None)) as con:
        con.executescript(f"BEGIN;{schema.V1};{schema.V2};{schema.V3};PRAGMA user_version = 3;COMMIT;")
        con.execute("INSERT INTO cpe_value VALUES ('a', 'p', 'x', 'string', 1)")
        why = "it came with credentials that many share, having had its own: it was reset, or is another (from x)"
        for name, own, text in (("a", 1, why), ("b", 1, ""), ("c", 0, why)):
            con.execute(
                "INSERT INTO cpe VALUES (?,'','','','','accepted',?,'','','','','',?,'','','','[]',0,0,0,0,0,0)",
                (name, text, own),
            )
    with closing(open_store(tmp_path)) as store:
        assert [(row["name"], row["claimed"]) for row in store.query("SELECT * FROM cpe")] == [
            ("a", 1),
            ("b", 0),
            ("c", 0),
        ]
        assert [tuple(row) for row in store.query("SELECT * FROM cpe_value")] == [("a", "p", "x", "string", 1, 0)]


async def test_a_database_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "agent.db", isolation_level=None)) as con:
        con.executescript(f"BEGIN;{schema.V1};PRAGMA user_version = 1;COMMIT;")
        con.execute("INSERT INTO event VALUES (1, 1, 0, NULL, 0, 0, 0, x'00', NULL, NULL)")
        con.execute("INSERT INTO outbox (kind, body, seq) VALUES ('outcome', x'00', 1)")
        con.execute("INSERT INTO checkpoint VALUES (1, x'00', 0)")
        con.execute("INSERT INTO node VALUES (0, 0, x'00')")
    with closing(open_store(tmp_path)) as store:
        assert store.reader.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)
        assert mail.next_out(store.reader, NOW, 9) == []
        await store.run(JoinCloud(ENROLMENT))
        await store.run(PostAll((Post("plan", b"a"),)))
        assert bodies(store) == [b"a"]
