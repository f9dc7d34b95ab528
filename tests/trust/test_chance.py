"""The one source of random bytes."""

from __future__ import annotations

import contextvars
import os
import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.seeded import SeededChance
from trust import chance
from trust.keys import SigningKey, open_key_untrusted, seal_key
from trust.seal import SealingKey, open_pages_untrusted, open_sealed_untrusted, seal, seal_pages


@dataclass
class Told:
    """Gives what it was told to give."""

    parts: list[bytes]
    asked: list[int] = field(default_factory=list)

    def draw(self, size_bytes: int) -> bytes:
        self.asked.append(size_bytes)
        return self.parts.pop(0)


def test_operating_system_is_asked_where_nobody_lent_source(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def urandom(size_bytes: int) -> bytes:
        asked.append(size_bytes)
        return bytes(range(size_bytes))

    monkeypatch.setattr(os, "urandom", urandom)
    assert chance.lent() is None
    assert chance.token_bytes(3) == b"\0\1\2"
    assert chance.token_hex(2) == "0001"
    assert SigningKey.generate().seed == bytes(range(32))
    assert SealingKey.generate().private == bytes(range(32))
    assert asked == [3, 2, 32, 32], "each key is drawn by itself"


def test_a_lent_source_is_asked_and_given_back() -> None:
    source = Told([b"\1\2", b"\xfb\xff"])
    with chance.lend(source):
        assert chance.lent() is source
        assert chance.token_bytes(2) == b"\1\2"
        with chance.lend(Told([b"x"])):
            assert chance.token_bytes(1) == b"x"
        assert chance.token_urlsafe(2) == "-_8"
    assert chance.lent() is None


def test_a_source_is_given_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), chance.lend(Told([])):
        raise RuntimeError
    assert chance.lent() is None


def test_only_what_is_started_inside_the_block_draws_from_it() -> None:
    """A thread has a context of its own, unless it is given the one of who starts it."""
    found: dict[str, object] = {}

    def look(name: str) -> None:
        found[name] = chance.lent()

    source = Told([])
    with chance.lend(source):
        inside = contextvars.copy_context()
        threads = [
            threading.Thread(target=look, args=("bare",)),
            threading.Thread(target=inside.run, args=(look, "given")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {"bare": None, "given": source}


@pytest.mark.parametrize(
    ("bits", "drawn", "value"),
    [(1, b"\x80", 1), (1, b"\x7f", 0), (8, b"\xff", 255), (9, b"\xff\x80", 511), (31, b"\xff\xff\xff\xff", 2**31 - 1)],
)
def test_randbits(bits: int, drawn: bytes, value: int) -> None:
    with chance.lend(Told([drawn])):
        assert chance.randbits(bits) == value


def test_randbelow_draws_again_what_would_prefer_some() -> None:
    source = Told([b"\xff", b"\xa0", b"\x40"])  # three bits each: 7, 5, 2
    with chance.lend(source):
        assert chance.randbelow(5) == 2
    assert source.asked == [1, 1, 1]


def test_randbelow_refuses_an_empty_range() -> None:
    with pytest.raises(ValueError, match="expected a limit of at least 1, got 0"):
        chance.randbelow(0)


def test_everything_is_drawn_about_as_often() -> None:
    with chance.lend(SeededChance(1)):
        drawn = Counter(chance.randbelow(3) for _ in range(3000))
        fractions = [chance.fraction() for _ in range(3000)]
    assert set(drawn) == {0, 1, 2}
    assert all(900 < n < 1100 for n in drawn.values())
    assert all(0 <= x < 1 for x in fractions)
    assert 0.47 < sum(fractions) / 3000 < 0.53


def test_the_last_fraction_is_below_one() -> None:
    with chance.lend(Told([b"\xff" * 7])):
        assert chance.fraction() == 1 - 2**-53


def test_one_seed_makes_the_same_keys_and_the_same_sealed_bytes() -> None:
    """Nothing that PyNaCl makes is drawn past the source; what it made still opens."""

    def drawn(seed: int) -> list[bytes]:
        with chance.lend(SeededChance(seed)):
            plan, box = SigningKey.generate(), SealingKey.generate()
            key_file = seal_key(plan.seed, b"pass", 1, 8192)
            sealed, pages = seal(b"body", box.public), seal_pages(b"v" * 16, box.public, b"content")
        assert open_key_untrusted(key_file, b"pass").seed == plan.seed
        assert open_sealed_untrusted(sealed, [box]) == b"body"
        assert open_pages_untrusted(b"v" * 16, box, pages) == b"content"
        return [plan.seed, box.private, key_file, sealed, *pages]

    first, second, other = drawn(1), drawn(1), drawn(2)
    assert first == second
    assert not set(first) & set(other)


def test_the_parts_of_a_run_draw_apart() -> None:
    run = SeededChance(3)
    agent, isp = run.part("agent"), run.part("isp")
    assert agent.draw(8) != isp.draw(8)
    run.draw(100)
    assert run.part("agent").draw(8) == SeededChance(3).part("agent").draw(8)
