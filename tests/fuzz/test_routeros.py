"""A router that says anything: the codec and what sorts its replies give replies or our own errors, nothing else.

12,000 malformed talks with the tests, a million with `make fuzz`: 200 for each example of Hypothesis' profile.
"""

from __future__ import annotations

import random
import secrets
from contextlib import suppress

import pytest
from hypothesis import settings

from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import CarrierLostError, MalformedRouterReplyError, RouterError, TrapError
from agent.connectors.routeros.exchanges import Exchange, Exchanges
from agent.connectors.routeros.login import Login
from agent.connectors.routeros.wire import ReplyReader
from tests.agent.connectors.routeros.fakes import length, sentence
from tests.fuzz import counting

TALKS_PER_EXAMPLE = 200

SENTENCES = [
    sentence("!re", ".tag=1", "=.id=*1A", "=name=alice", "=comment=Zoë", "=disabled=false"),
    sentence("!re", ".tag=2", "=name=" + "x" * 130),
    sentence("!empty", ".tag=2"),
    sentence("!trap", ".tag=3", "=category=2", "=message=interrupted\x1b[0m"),
    sentence("!done", ".tag=1", "=ret=*1B"),
    sentence("!done", ".tag=2"),
    sentence("!done", ".tag=3"),
    sentence("!fatal", "session terminated on request"),
    sentence("!done", "=ret=856780b7411eefd3abadee2058c149a3"),
    sentence(),
]
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


def hear(data: list[bytes]) -> str:
    """Play a talk to three commands in flight; return how it ended."""
    reader, exchanges = ReplyReader(), Exchanges()
    commands = [Exchange(exchanges.new_tag(), ("pa55-canary",), lambda: None) for _ in range(3)]
    for command in commands:
        exchanges.open(command)
    end = "open"
    try:
        for piece in data:
            for reply in reader.receive_untrusted(piece):
                exchanges.take(reply)
    except MalformedRouterReplyError:
        end = "malformed"
    except CarrierLostError:
        end = "fatal"
    assert len(reader._rest) <= sum(map(len, data))
    for command in commands:
        if command.finished:
            with suppress(TrapError):
                command.answer()
    return end


def log_in(data: list[bytes]) -> None:
    reader, login = ReplyReader(), Login("admin", b"pa55-canary")
    with suppress(RouterError):
        for piece in data:
            for reply in reader.receive_untrusted(piece):
                login.receive(reply)


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
