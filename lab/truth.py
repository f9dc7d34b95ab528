"""The ground truth of every line, with history: its sessions at each instant, and the reply to its next login.

The sessions are the NAS' own, noted when they change. The rows are read on demand (`sample`), since other programs
write them: between two samples either of both may hold. Nothing here asks accounting.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import trio

from lab import policy, radius_server
from lab.isp import Isp
from lab.policy import UserRows
from lab.radius_codec import Code, Packet
from lab.sessions import policy_of


@dataclass(frozen=True, slots=True)
class OnlineSession:
    """A session as its NAS holds it. `began`: trio's clock."""

    nas: str
    session_id: str
    address: str
    walled: bool
    rate: str
    began: float


@dataclass(frozen=True, slots=True)
class NextLogin:
    """The reply to a CPE that dials now."""

    accepted: bool
    walled: bool = False
    rate: str = ""


@dataclass(frozen=True, slots=True)
class LineState:
    """Everything that a subscriber can do at an instant."""

    sessions: tuple[OnlineSession, ...]
    next: NextLogin

    def text(self) -> str:
        """Return it for people."""
        online = ", ".join(
            f"{'garden' if s.walled else 'full internet'} {s.rate} on {s.nas} ({s.session_id}, {s.address})"
            for s in self.sessions
        )
        if not self.next.accepted:
            after = "a reject"
        else:
            after = f"{'garden' if self.next.walled else 'full internet'} {self.next.rate}"
        return f"{online or 'no session'}; the next login gets {after}"


@dataclass(frozen=True, slots=True)
class RowsSample:
    """The rows of a login as they were read at a moment, and the reply that they make."""

    at: float
    rows: UserRows
    next: NextLogin


@dataclass(slots=True)
class _Line:
    times: list[float] = field(default_factory=list)
    sessions: list[tuple[OnlineSession, ...]] = field(default_factory=list)
    samples: list[RowsSample] = field(default_factory=list)


class History:
    """The history of every login of an ISP, from now on.

    `exact`: rows are noted whenever they change. Otherwise they may have changed at any time since the sample before.
    """

    def __init__(self, isp: Isp, *, exact: bool = False) -> None:
        self._isp, self._exact = isp, exact
        self._lines: dict[str, _Line] = {}
        for nas in isp.nas.values():
            nas.on_change = self._note
        for service in isp.services:
            self._note(service.login)

    def _note(self, login: str) -> None:
        line = self._lines.setdefault(login, _Line())
        line.times.append(trio.current_time())
        line.sessions.append(self.sessions(login))

    def sessions(self, login: str) -> tuple[OnlineSession, ...]:
        """Return a login's sessions now."""
        return tuple(
            OnlineSession(
                name, s.session_id, str(s.lease.address4), s.walled, s.policy.rate_limit.partition(" ")[0], s.started
            )
            for name, nas in self._isp.nas.items()
            for s in nas.sessions(login)
        )

    async def sample(self, login: str) -> RowsSample:
        """Read a login's rows, note and return them.

        Raises:
            LabDatabaseError: the database is away.
        """
        rows = await self._isp.database.read(lambda cursor: radius_server.read_user(cursor, login))
        return self.note_rows(login, rows)

    def note_rows(self, login: str, rows: UserRows) -> RowsSample:
        """Note and return a login's rows as they were read just now."""
        found = RowsSample(trio.current_time(), rows, self._next(login, rows))
        self._lines.setdefault(login, _Line()).samples.append(found)
        return found

    def _next(self, login: str, rows: UserRows) -> NextLogin:
        pairs = policy.request_pairs([("User-Name", login)])
        answer = radius_server.grant(rows, pairs, lambda known: True, self._isp.options.clock())
        if answer.code is not Code.ACCESS_ACCEPT:
            return NextLogin(False)
        got = policy_of(Packet(Code.ACCESS_ACCEPT, 0, bytes(16), answer.attributes))
        walls: Callable[..., bool] = next(iter(self._isp.nas.values())).walls
        return NextLogin(True, walls(got), got.rate_limit.partition(" ")[0])

    def during(self, login: str, start: float, end: float) -> Iterator[LineState]:
        """Yield each state that the line may have had at some instant of a stretch of time, latest first.

        Rows hold from the sample before to the one after, or from their own where history is exact.
        """
        line = self._lines.get(login, _Line())
        for begins, ends, sessions in reversed(list(_stretches(line, start, end))):
            for meant in _meant(line.samples, begins, ends, exact=self._exact):
                yield LineState(sessions, meant)

    def last(self, login: str) -> LineState:
        """Return the state now, by the last sample of the rows."""
        line = self._lines[login]
        return LineState(self.sessions(login), line.samples[-1].next if line.samples else NextLogin(False))


def _stretches(line: _Line, start: float, end: float) -> Iterator[tuple[float, float, tuple[OnlineSession, ...]]]:
    """Yield begin, end and sessions of each stretch without a change, cut to the time asked for."""
    first = max(0, bisect.bisect_right(line.times, start) - 1)
    for n in range(first, len(line.times)):
        begins = line.times[n]
        ends = line.times[n + 1] if n + 1 < len(line.times) else end
        if begins > end:
            return
        yield max(begins, start), min(ends, end), line.sessions[n]


def _meant(samples: Sequence[RowsSample], begins: float, ends: float, *, exact: bool) -> Iterator[NextLogin]:
    """Yield the replies that the rows may have made in a stretch of time, latest first, each once."""
    told: set[NextLogin] = set()
    for n in reversed(range(len(samples))):
        since = samples[n if exact else n - 1].at if n else float("-inf")
        until = samples[n + 1].at if n + 1 < len(samples) else float("inf")
        if since <= ends and until >= begins and samples[n].next not in told:
            told.add(samples[n].next)
            yield samples[n].next
