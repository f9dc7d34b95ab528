"""The process that hears webhooks is killed with SIGKILL again and again: nothing answered is lost or doubled."""

from __future__ import annotations

import hashlib
import hmac
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from agent.billing_model.hmac_hooks import event_of
from agent.inventory import ledger
from tests.agent.billing.hook_lives import SECRET, SOURCE, TOKEN
from tests.builders.store import open_store

ROOT = Path(__file__).parents[3]
SENDERS = 4


@dataclass
class Lives:
    """A process after the other on the same files, and calls that are sent until each was answered with 200."""

    folder: Path
    answered: list[str] = field(default_factory=list)
    port: int = 0
    process: subprocess.Popen[str] | None = None

    def begin(self) -> None:
        command = [sys.executable, "-m", "tests.agent.billing.hook_lives", str(self.folder)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        assert self.process.wait() == -signal.SIGKILL
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    async def send(self, body: bytes) -> None:
        signed = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        head = f"POST /hook/{SOURCE}/{TOKEN} HTTP/1.1\r\nHost: a\r\nX-Signature: {signed}\r\n"
        sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        while True:
            try:
                async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                    await stream.send_all(sent)
                    if bytes(await stream.receive_some(12)) == b"HTTP/1.1 200":
                        break
            except (OSError, trio.BrokenResourceError):
                pass
            await trio.sleep(0.005)
        self.answered.append(event_of(body))


@pytest.mark.parametrize("kills", [2, pytest.param(16, marks=pytest.mark.slow)])
async def test_nothing_that_was_answered_is_lost_or_done_twice(tmp_path: Path, kills: int) -> None:
    dice = random.Random(kills)
    lives = Lives(tmp_path)
    lives.begin()
    over = False

    async def sender(name: int) -> None:
        n = 0
        while not over:
            await lives.send(b"%d-%d" % (name, n))
            n += 1

    try:
        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for name in range(SENDERS):
                    nursery.start_soon(sender, name)
                for _ in range(kills):
                    wanted = len(lives.answered) + dice.randrange(1, 30)
                    while len(lives.answered) < wanted:  # noqa: ASYNC110  then it dies at any moment
                        await trio.sleep(dice.random() * 0.005)
                    lives.kill()
                    await trio.to_thread.run_sync(lives.begin)
                over = True
        lives.kill()  # also now something may be unread
    finally:
        if lives.process is not None:
            lives.kill()
    await read_the_rest(tmp_path)
    with closing(open_store(tmp_path)) as store:
        assert ledger.heard_open(store.query) == []
        heard = [row["event_id"] for row in store.query("SELECT event_id FROM heard", ())]
        paid = [kept.payment.id for kept in ledger.payments_of(store.query, "C-1")]
    assert len(lives.answered) == len(set(lives.answered)) > kills
    assert sorted(heard) == sorted(paid) == sorted(lives.answered)


async def read_the_rest(folder: Path) -> None:
    """Have one more process read what is left, as after any restart."""
    lives = Lives(folder)
    await trio.to_thread.run_sync(lives.begin)
    try:
        with trio.fail_after(60), closing(sqlite3.connect(f"file:{folder}/agent.db?mode=ro", uri=True)) as reader:
            while reader.execute("SELECT 1 FROM heard WHERE done_s IS NULL").fetchall():  # noqa: ASYNC110  of another process
                await trio.sleep(0.02)
    finally:
        lives.kill()
