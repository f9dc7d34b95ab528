"""A router that says anything: the codec and what sorts its replies give replies or our own errors, nothing else.

12,000 malformed talks with the tests, a million with `make fuzz`: 200 for each example of Hypothesis' profile.
"""

from __future__ import annotations

import random
import secrets

import pytest
from hypothesis import settings

from agent.connectors.routeros import limits
from agent.connectors.routeros.wire import ReplyReader
from tests.agent.connectors.routeros.fakes import length
from tests.fuzz import counting
from tests.fuzz.routeros import SENTENCES, hear, log_in

TALKS_PER_EXAMPLE = 200

BITS = [
    b"\x00", b"\x01", b"\x7f", b"\x80", b"\x80\x80", b"\xbf\xff", b"\xc0\x40\x00", b"\xdf\xff\xff", b"\xe0\x20\x00\x00",
    b"\xef\xff\xff\xff", b"\xf0\x10\x00\x00\x00", b"\xf7", b"\xf8", b"\xff", b"\x03!re", b"\x05!done", b"\x06.tag=1",
    b"\x06.tag=9", b"\x02==", b"\x01=", b"\x02=a", b"\xc3\x28", b"\xed\xa0\x80", length(limits.WORD_BYTES),
    length(limits.WORD_BYTES + 1),
]  # fmt: skip


def talk(dice: random.Random) -> bytes:
    """Return a talk in which up to five places are changed, cut out or filled; sometimes it is noise alone."""
    if dice.random() < 0.05:
        return dice.randbytes(dice.randrange(80))
    data = bytearray(b"".join(dice.choices(SENTENCES, k=dice.randrange(1, 6))))
    for _ in range(dice.randrange(6)):
        at = dice.randrange(len(data) + 1)
        fill = dice.choice(BITS) if dice.random() < 0.7 else dice.randbytes(dice.randrange(4))
        data[at : at + dice.randrange(4)] = fill
    return bytes(data)


def pieces(dice: random.Random, data: bytes) -> list[bytes]:
    edges = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(4)))
    return [data[a:b] for a, b in zip([0, *edges], [*edges, len(data)], strict=True)]


def test_malformed_talks_by_the_thousand() -> None:
    examples = settings().max_examples
    seed = secrets.randbits(64) if examples > 1000 else 1
    dice = random.Random(seed)
    ends: dict[str, int] = {}
    for n in range(examples * TALKS_PER_EXAMPLE):
        data = pieces(dice, talk(dice))
        try:
            end = hear(data)
            log_in(data)
        except Exception as err:  # noqa: BLE001  any at all is what this looks for
            pytest.fail(f"seed {seed}, talk {n}: {type(err).__name__} from {data}")
        ends[end] = ends.get(end, 0) + 1
    counting.add(counting.INPUTS, examples * TALKS_PER_EXAMPLE)
    # Each way to end is reached often: the talks are neither all noise nor all sound
    assert min(ends.get(end, 0) for end in ("open", "malformed", "fatal")) > examples


def test_memory_is_bounded_by_what_is_not_complete() -> None:
    """A word that is announced and never comes takes what has come of it, and the limit is on the announcement."""
    reader = ReplyReader()
    assert list(reader.receive_untrusted(b"\x03!re" + length(limits.WORD_BYTES))) == []
    for _ in range(15):
        assert list(reader.receive_untrusted(bytes(65_536))) == []
    assert len(reader._rest) <= limits.WORD_BYTES + 65_536
