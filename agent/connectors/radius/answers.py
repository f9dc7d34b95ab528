"""The answers of NAS on sessions: they count more than accounting, which loses packets. Pure; times are unix seconds.

* A NAS denies one session of accounting (503, Session-Context-Not-Found): its row is a ghost, until accounting hears of
  the session again.
* A NAS that was asked to end a session, and acknowledged that or did not answer, may have ended it or not. Its row may
  be a ghost.
* An update that accounting dates later than the answer, by more than clocks may be apart, shows that the session goes
  on: the NAS did nothing, was wrong, or was asked by the wrong attributes. Any other may have been sent before the
  answer and written after it: it proves neither life nor end.
* Where no request on a session could be sent, its open row alone says that it goes on, until accounting hears of it.
* A NAS that is asked about a login by User-Name alone says that it holds no session of it (503), or ended those (ACK).
  An ACK proves no end: some do nothing. Nor that it holds none since: the CPE logs in again.

A NAS' denial or answer is kept over a restart, with its name and the time. So are the sessions that it was asked to
end. Its silence about a login is not, nor that it could not be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from agent.connectors.base import KeptAnswer
from agent.connectors.radius.addresses import held_key, held_of
from agent.connectors.radius.beginnings import CLOCKS_S
from agent.model import Absent, Seen

KEPT_MAX: Final = 100_000
"""Answers of each kind; then the oldest are forgotten. Chosen arbitrarily."""
SILENT_S: Final = 60
"""How long a NAS that did not answer is not asked about further logins; chosen arbitrarily."""
NOT_ASKED: Final = "was not asked"
ACK_ALONE: Final = "acknowledged the end of one, which nothing shows"
SILENT: Final = "did not answer"
_DENIED: Final = "denied"
"""Kind of a kept answer: a NAS denied a session of accounting. `_HELD`: it said that it holds none of a login."""
_HELD: Final = "held"
_ASKED: Final = "asked"
"""Likewise: a NAS was asked to end a session of accounting, and may have done so."""
_ACK: Final = "ack"
"""Text of a kept `_HELD` that was an ACK."""
_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class HeldAnswer:
    """The answer of a NAS on a login. `why`: why it is not known whether it holds a session, "" when it is known.

    `boot_s`: when it came, on the clock that nobody sets; None: before a restart. `acked`: whether it was an ACK.
    """

    why: str
    at_s: int
    boot_s: float | None = None
    acked: bool = False

    def come_s(self, wall_s: float, boot_s: float) -> int:
        """Return when it came by our clock of now, of which `wall_s` and `boot_s` are the present values."""
        return self.at_s if self.boot_s is None else round(wall_s - (boot_s - self.boot_s))


class NasAnswers:
    """The answers of all NAS of a connector."""

    def __init__(self, kept: Iterable[KeptAnswer] = ()) -> None:
        """Take the answers from before a restart, oldest first."""
        self._denied: dict[str, tuple[int, str]] = {}
        self._asked: dict[str, tuple[int, str]] = {}
        self._unasked: dict[str, tuple[int, str]] = {}
        self._held: dict[tuple[str, str], HeldAnswer] = {}
        self._silent: dict[str, float] = {}
        self._news: dict[tuple[str, str], KeptAnswer] = {}
        for one in kept:
            if one.kind == _DENIED:
                _keep(self._denied, one.key, (one.at_s, one.told))
            elif one.kind == _ASKED:
                _keep(self._asked, one.key, (one.at_s, one.told))
            elif one.kind == _HELD:
                _keep(self._held, held_of(one.key), HeldAnswer("", one.at_s, acked=one.told == _ACK))

    def news(self) -> Sequence[KeptAnswer]:
        """Return the answers since the last call that are to outlive a restart."""
        found, self._news = tuple(self._news.values()), {}
        return found

    def deny(self, unique_id: str, heard: str, at_s: int, nas: str) -> None:
        """Note that its NAS denies a session. `heard`: when accounting last heard of it, as the row has it."""
        _keep(self._denied, unique_id, (at_s, heard))
        self._asked.pop(unique_id, None)
        self._news[_DENIED, unique_id] = KeptAnswer(_DENIED, unique_id, heard, nas, at_s)

    def denied(self, unique_id: str, heard: str) -> int | None:
        """Return when a NAS denied a session; None: it did not, or accounting got another update of it since."""
        at_s, then = self._denied.get(unique_id, (0, ""))
        # A database that fails over forgets packets: then the last one is older than it was
        return at_s if at_s and _seconds(heard) <= _seconds(then) else None

    def ask(self, unique_id: str, heard: str, at_s: int, nas: str) -> None:
        """Note that a NAS was asked to end a session, and acknowledged that or did not answer.

        Args:
            unique_id: of the session.
            heard: as in `deny`.
            at_s: when.
            nas: its name.
        """
        _keep(self._asked, unique_id, (at_s, heard))
        self._news[_ASKED, unique_id] = KeptAnswer(_ASKED, unique_id, heard, nas, at_s)

    def asked(self, unique_id: str, heard: str, apart_s: int = CLOCKS_S) -> int | None:
        """Return when a NAS ended a session, by its last answer or silence; None: it did not, or the session goes on.

        Args:
            unique_id: of the session.
            heard: as in `deny`.
            apart_s: how far accounting's clock may be ahead of ours.
        """
        return _unheard_s(*self._last(unique_id), heard, apart_s)

    def miss(self, unique_id: str, heard: str, at_s: int) -> None:
        """Note that a NAS was to be asked to end a session, and no request could be sent. The rest is as in `ask`."""
        _keep(self._unasked, unique_id, (at_s, heard))

    def reach(self, unique_id: str) -> None:
        """Note that a request to end a session was sent: what follows goes by its answer, or its silence."""
        self._unasked.pop(unique_id, None)

    def missed(self, unique_id: str, heard: str, apart_s: int = CLOCKS_S) -> int | None:
        """Return when the request to end a session could not be sent; None: it was, or the session goes on.

        The rest is as in `asked`.
        """
        return _unheard_s(*self._unasked.get(unique_id, (0, "")), heard, apart_s)

    def told_since(self, unique_id: str, heard: str) -> bool:
        """Tell whether accounting got an update of a session since its NAS was asked to end it, or was to be asked."""
        last = (self._last(unique_id), self._unasked.get(unique_id, (0, "")))
        return any(at_s and _seconds(heard) > _seconds(then) for at_s, then in last)

    def _last(self, unique_id: str) -> tuple[int, str]:
        """Return when a NAS was last asked to end a session, and `heard` of then."""
        return self._asked.get(unique_id) or self._denied.get(unique_id, (0, ""))

    def say(self, nas: str, login: str, why: str, at_s: int, boot_s: float, *, acked: bool = False) -> None:
        """Note the answer of a NAS, by its configured name, on a login. The rest is as in `HeldAnswer`."""
        _keep(self._held, (nas, login), HeldAnswer(why, at_s, boot_s, acked))
        if why == SILENT:
            self._silent[nas] = boot_s
        else:
            self._silent.pop(nas, None)
        if not why:
            key = held_key(nas, login)
            self._news[_HELD, key] = KeptAnswer(_HELD, key, _ACK if acked else "", nas, at_s)

    def answers_again(self, nas: str) -> None:
        """Note that a NAS answered something."""
        self._silent.pop(nas, None)

    def of(self, nas: str, login: str) -> HeldAnswer | None:
        """Return the last answer of a NAS on a login; None: it was not asked."""
        return self._held.get((nas, login))

    def is_silent(self, nas: str, boot_s: float) -> bool:
        """Tell whether a NAS left a question unanswered a short while ago, and has not answered any since."""
        return boot_s - self._silent.get(nas, float("-inf")) < SILENT_S


def _unheard_s(at_s: int, then: str, heard: str, apart_s: int) -> int | None:
    """Return `at_s`, unless it is 0 or accounting got an update that is surely later. `then`: `heard` of that time."""
    return at_s if at_s and _seconds(heard) <= max(at_s, _seconds(then)) + apart_s else None


def _keep(where: dict[_K, _V], key: _K, value: _V) -> None:
    where.pop(key, None)
    where[key] = value
    if len(where) > KEPT_MAX:
        del where[next(iter(where))]


def _seconds(heard: str) -> int:
    return int(heard) if heard.isdecimal() else 0


def held_why(seen: Seen, since_s: int) -> str:
    """Return why it is not proven that a NAS holds no session; "": it is proven.

    Args:
        seen: the answer of the NAS, as it was read.
        since_s: unix seconds; an older answer counts as none.
    """
    if isinstance(seen.value, Absent):
        return "" if seen.at_s >= since_s else NOT_ASKED
    return str(seen.value.get("why", NOT_ASKED))


def held_fields(answer: HeldAnswer | None) -> Mapping[str, str]:
    """Return the fields of `held/NAS/LOGIN` while it is not known that the NAS holds nothing; empty: it is known."""
    why = NOT_ASKED if answer is None else answer.why
    return {"why": why} if why else {}
