"""Commands in flight on one connection, by tag, and the answer to each. Pure.

A tag is used once. So a reply after `!done`, to a tag that was never sent, or without one is a desync, and whatever
follows on the connection could be taken for another command's answer: the connection is given up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import AnswerTooLongError, CarrierLostError, MalformedRouterReplyError, TrapError
from agent.connectors.routeros.wire import ReplyWord, WireReply
from agent.connectors.routeros.words import presentable, secrets_of


@dataclass(frozen=True, slots=True)
class RouterAnswer:
    """The answer to a command: its rows, and the attributes of its `!done` (`ret` of an `add` is the new `.id`).

    Values are the device's own strings; bytes that are no UTF-8 are lone surrogates in them.
    """

    rows: tuple[Mapping[str, str], ...]
    done: Mapping[str, str]


class Exchange:
    """One command in flight and its replies so far."""

    def __init__(self, tag: str, words: Sequence[str], heard: Callable[[], None]) -> None:
        """Take its tag, its words, and the callback for its end or too long an answer."""
        self.tag = tag
        self._words, self._heard = words, heard
        self._rows: list[Mapping[str, str]] = []
        self._traps: list[tuple[str, int | None]] = []
        self._taken = self._size_bytes = 0
        self._done: Mapping[str, str] | None = None
        self.too_long = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets among its words, to keep out of messages."""
        return secrets_of(self._words)

    @property
    def finished(self) -> bool:
        """Whether `!done` came: nothing more will."""
        return self._done is not None

    def take(self, reply: WireReply) -> None:
        """Take one reply; replies after the answer grew too long are counted, not kept."""
        if reply.word is ReplyWord.DONE:
            self._done = reply.values
            self._heard()
        elif reply.word is not ReplyWord.EMPTY and not self.too_long:
            self._taken += 1
            self._size_bytes += reply.size_bytes + limits.WORD_COST_BYTES * (len(reply.values) + 1)
            if self._taken > limits.ANSWER_ROWS or self._size_bytes > limits.ANSWER_BYTES:
                self.too_long = True
                self._rows.clear()
                self._heard()
            elif reply.word is ReplyWord.RE:
                self._rows.append(reply.values)
            elif len(self._traps) < limits.TRAPS_KEPT:
                self._traps.append((presentable(reply.text, self.secrets), _category(reply.values.get("category", ""))))

    def answer(self) -> RouterAnswer:
        """Return the answer of an exchange that is finished.

        Raises:
            AnswerTooLongError: there was more than is taken.
            TrapError: the router refused the command, or a part of it.
        """
        if self.too_long:
            raise AnswerTooLongError(
                f"answer: expected at most {limits.ANSWER_ROWS} rows of {limits.ANSWER_BYTES} bytes in memory, "
                f"got {self._taken} of {self._size_bytes}"
            )
        if self._traps:
            (message, category), *more = self._traps
            raise TrapError(message, category, tuple(self._rows), tuple(text for text, _ in more))
        return RouterAnswer(tuple(self._rows), self._done or {})


_E = TypeVar("_E", bound=Exchange)


class Exchanges(Generic[_E]):
    """The commands in flight on one connection."""

    def __init__(self) -> None:
        self._open: dict[str, _E] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def in_flight(self) -> Collection[_E]:
        """The commands whose end has not come, oldest first."""
        return self._open.values()

    def new_tag(self) -> str:
        """Return a tag that no command of this connection had."""
        return str(next(self._numbers))

    def open(self, exchange: _E) -> None:
        """Expect replies to this command from now on."""
        self._open[exchange.tag] = exchange

    def take(self, reply: WireReply) -> None:
        """Give a reply to its command.

        Raises:
            CarrierLostError: the router ends the connection (`!fatal`), and so every command in flight.
            MalformedRouterReplyError: the reply belongs to no command in flight.
        """
        if reply.word is ReplyWord.FATAL:
            secrets = tuple(s for exchange in self._open.values() for s in exchange.secrets)
            raise CarrierLostError(f"the router ended the connection: {presentable(reply.text, secrets)}", sent=True)
        exchange = self._open.get(reply.tag or "")
        if exchange is None:
            kind = "a tag that is not in flight" if reply.tag else "no tag"
            raise MalformedRouterReplyError(
                f"reply: expected the tag of a command in flight, got {reply.word.value} with {kind}"
            )
        if reply.word is ReplyWord.DONE:
            del self._open[exchange.tag]
        exchange.take(reply)


def _category(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 2 else None
