"""Random bytes in blocks: every byte is given out once, whoever asks."""

from __future__ import annotations

import os
import threading

import pytest

from agent.runtime import random_blocks
from agent.runtime.random_blocks import BLOCK_BYTES, BLOCK_S, random_bytes
from tests.seeded import SeededChance
from trust import chance


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Blocks as the kernel gave them, kept; the next draw begins a new one."""
    kept: list[bytes] = []
    kernel = os.urandom

    def urandom(size: int) -> bytes:
        kept.append(kernel(size))
        return kept[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    monkeypatch.setattr(random_blocks.time, "monotonic", lambda: 0.0)
    random_blocks._BLOCKS.forget()
    return kept


def test_each_byte_of_a_block_is_given_out_once_and_in_order(drawn: list[bytes]) -> None:
    at = blocks = 0
    for size in [56, 1, 0, 1000, 3000, 56, BLOCK_BYTES, 16, BLOCK_BYTES + 1, 16]:
        given = random_bytes(size)
        at = 0 if len(drawn) > blocks else at
        blocks = len(drawn)
        assert given == drawn[-1][at : at + size]
        assert len(given) == size
        at += size
    assert blocks == 6


def test_many_records_cost_one_draw(drawn: list[bytes]) -> None:
    given = {random_bytes(56) for _ in range(BLOCK_BYTES // 56)}
    assert len(given) == BLOCK_BYTES // 56
    assert len(drawn) == 1
    random_bytes(56)
    assert len(drawn) == 2


def test_a_block_is_not_given_out_for_long(drawn: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot of a virtual machine that is started twice must not repeat bytes that were drawn long before it."""
    random_bytes(16)
    monkeypatch.setattr(random_blocks.time, "monotonic", lambda: BLOCK_S)
    random_bytes(16)
    assert len(drawn) == 1
    monkeypatch.setattr(random_blocks.time, "monotonic", lambda: BLOCK_S + 0.001)
    assert random_bytes(16) == drawn[1][:16]


def test_threads_are_never_given_the_same_bytes() -> None:
    given: list[bytes] = []

    def take() -> None:
        given.extend([random_bytes(16) for _ in range(5000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(given)) == 20_000


def test_a_child_process_begins_with_a_block_of_its_own() -> None:
    random_blocks._BLOCKS.forget()
    random_bytes(1)  # the parent holds the rest of a block
    read_end, write_end = os.pipe()
    with random_blocks._BLOCKS._lock:  # as if another thread were just drawing
        pid = os.fork()
    if pid == 0:
        os.write(write_end, random_bytes(64))
        os._exit(0)
    os.close(write_end)
    childs = os.read(read_end, 64)
    os.close(read_end)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(childs) == 64
    assert childs not in random_bytes(BLOCK_BYTES - 1)
    assert childs != random_bytes(64)


def test_a_lent_source_is_asked_for_no_more_than_is_wanted(drawn: list[bytes]) -> None:
    random_bytes(16)
    with chance.lend(SeededChance(1)):
        assert [random_bytes(40), random_bytes(16)] == [SeededChance(1).draw(56)[:40], SeededChance(1).draw(56)[40:]]
    assert random_bytes(16) == drawn[0][16:32], "what the operating system gave goes on where it was"
