"""Replies find their commands; limits and desyncs are seen."""

from __future__ import annotations

import pytest

from agent.connectors.routeros import exchanges as module
from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import AnswerTooLongError, CarrierLostError, MalformedRouterReplyError, TrapError
from agent.connectors.routeros.exchanges import Exchange, Exchanges, RouterAnswer
from agent.connectors.routeros.wire import ReplyReader
from tests.agent.connectors.routeros.fakes import sentence


class Desk:
    """Commands in flight, and how often each caller was told."""

    def __init__(self) -> None:
        self.exchanges: Exchanges[Exchange] = Exchanges()
        self.told: list[str] = []

    def send(self, *words: str) -> Exchange:
        tag = self.exchanges.new_tag()
        exchange = Exchange(tag, ("/x/set", *words), lambda: self.told.append(tag))
        self.exchanges.open(exchange)
        return exchange

    def says(self, *words: str) -> None:
        for reply in ReplyReader().receive_untrusted(sentence(*words)):
            self.exchanges.take(reply)


def test_two_commands_interleaved() -> None:
    desk = Desk()
    one, two = desk.send(), desk.send()
    desk.says("!re", ".tag=1", "=n=1")
    desk.says("!re", ".tag=2", "=n=2")
    desk.says("!empty", ".tag=2")
    desk.says("!done", ".tag=2", "=ret=*1")
    assert (desk.told, one.finished, two.finished, len(desk.exchanges)) == (["2"], False, True, 1)
    desk.says("!re", ".tag=1", "=n=3")
    desk.says("!done", ".tag=1")
    assert one.answer() == RouterAnswer(({"n": "1"}, {"n": "3"}), {})
    assert two.answer() == RouterAnswer(({"n": "2"},), {"ret": "*1"})


def test_traps_are_kept_until_done() -> None:
    desk = Desk()
    one = desk.send("=password=pa55-canary")
    desk.says("!re", ".tag=1", "=n=1")
    desk.says("!trap", ".tag=1", "=category=1", "=message=bad pa55-canary\x07")
    desk.says("!trap", ".tag=1", "=category=odd", "=message=no such item (4)")
    assert not one.finished
    assert desk.told == []
    desk.says("!done", ".tag=1")
    with pytest.raises(TrapError) as caught:
        one.answer()
    err = caught.value
    assert (err.message, err.category, err.rows) == ("bad ***\\u0007", 1, ({"n": "1"},))
    assert err.more == ("no such item (4)",)
    assert str(err) == err.message


@pytest.mark.parametrize(("text", "category"), [("", None), ("²", None), ("-1", None), ("7", 7), ("99999", None)])
def test_categories(text: str, category: int | None) -> None:
    desk = Desk()
    one = desk.send()
    desk.says("!trap", ".tag=1", f"=category={text}", "=message=x")
    desk.says("!done", ".tag=1")
    with pytest.raises(TrapError) as caught:
        one.answer()
    assert caught.value.category == category


@pytest.mark.parametrize(
    "words",
    [
        ("!re", ".tag=2", "=a=b"),
        ("!re", "=a=b"),
        ("!done", ".tag="),
        ("!done",),
        ("!trap", "=message=x"),
        ("!empty", ".tag=01"),
    ],
)
def test_P16_a_reply_to_nothing_in_flight_is_a_desync(words: tuple[str, ...]) -> None:
    desk = Desk()
    desk.send()
    with pytest.raises(MalformedRouterReplyError):
        desk.says(*words)


def test_a_row_after_done_is_a_desync() -> None:
    desk = Desk()
    desk.send()
    desk.says("!done", ".tag=1")
    with pytest.raises(MalformedRouterReplyError):
        desk.says("!re", ".tag=1", "=a=b")


@pytest.mark.parametrize("words", [("!fatal", "gone pa55-canary"), ("!fatal", ".tag=1", "=message=gone pa55-canary")])
def test_fatal_ends_all(words: tuple[str, ...]) -> None:
    desk = Desk()
    desk.send("=password=pa55-canary")
    with pytest.raises(CarrierLostError, match=r"gone \*\*\*") as caught:
        desk.says(*words)
    assert caught.value.sent


def test_too_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.limits, "ANSWER_ROWS", 3)
    desk = Desk()
    one = desk.send()
    for n in range(9):
        desk.says("!re", ".tag=1", f"=n={n}")
        assert one.too_long is (n >= 3)
    assert desk.told == ["1"], "told once"
    assert one._rows == []
    desk.says("!done", ".tag=1")
    with pytest.raises(AnswerTooLongError):
        one.answer()


def test_too_many_bytes_count_what_words_take_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.limits, "ANSWER_BYTES", 4 * limits.WORD_COST_BYTES)
    desk = Desk()
    one = desk.send()
    desk.says("!re", ".tag=1", "=a=1", "=b=2")
    assert not one.too_long
    desk.says("!re", ".tag=1", "=a=1", "=b=2")
    assert one.too_long


def test_a_flood_of_traps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.limits, "ANSWER_ROWS", limits.TRAPS_KEPT + 5)
    desk = Desk()
    one = desk.send()
    for _ in range(limits.TRAPS_KEPT + 5):
        desk.says("!trap", ".tag=1", "=message=x")
    assert len(one._traps) == limits.TRAPS_KEPT
    assert not one.too_long
    desk.says("!trap", ".tag=1", "=message=x")
    assert one.too_long


def test_no_tag_comes_twice() -> None:
    desk = Desk()
    tags = []
    for _ in range(100):
        tags.append(desk.send().tag)
        desk.says("!done", f".tag={tags[-1]}")
    assert len(set(tags)) == 100
