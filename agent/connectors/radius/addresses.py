"""The addresses of a RADIUS target's resources, and the values of its sessions."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agent.model import ABSENT, Absent, Address, Value

SAME_AS: Final = "same-as"
"""Field of a user's value: other logins, or spellings of its rows, that the database holds equal to this one."""

NAS: Final = "nas"
CONFIGURED: Final = "configured"
"""Argument of a disconnect: only sessions on a configured NAS. Accounting may have left others open for ever."""
BY_NAME: Final = "by-user-name"
"""Argument of a disconnect: names of the NAS that are asked by User-Name alone where accounting knows no session."""
EACH_ANSWERS: Final = "each-answers"
"""Argument of a disconnect after which nothing is judged: a NAS that was silent a moment ago is asked all the same."""
NOT_IN: Final = "not-in"
"""Argument of a disconnect that makes a suspension real: sessions in these prefixes are as wanted."""
IN: Final = "in"
"""Argument of a disconnect that makes a restore real: one in these prefixes is wrong, whenever it began."""
RIGHT_SINCE: Final = "right-since"
"""Argument of a disconnect: when the rows were read that give a login the wanted state, unix seconds."""
KNOWN: Final = "known"
"""Argument of a disconnect: the sessions of that reading that may be otherwise, by acctuniqueid."""
OUTSIDE: Final = "outside"
"""Argument of a disconnect that makes a restore real: since when one outside of the prefixes is as wanted."""
SPARED: Final = "spared"
"""Argument of a disconnect that makes a restore real: sessions outside of the prefixes at its preview, by id.

They were never suspended. A wall without prefixes cannot be told so: where a router shows its sessions, none is spared.
"""
CLOSE: Final = "close"
"""Key of the privileges to close rows of sessions; `WRITE`: to write a user's rows."""
WRITE: Final = "write"
DENIED: Final = "denied"
"""Field of an open session of accounting: when its NAS denied having it, unix seconds."""
MAY_BE_OVER: Final = "may-be-over"
"""Field of an open session of accounting: when its NAS was asked to end it, unix seconds.

The NAS did not refuse, and accounting got no update since that is surely later: nothing says whether it goes on.
"""
UNASKED: Final = "unasked"
"""Field of an open session of accounting: when its NAS was to be asked to end it and no request went out, unix seconds.

Accounting got no update since that is surely later: its row alone says that it goes on.
"""
STOPPED: Final = "stopped"
"""Field of `accounted/UNIQUEID`: when the session ended, unix seconds by its NAS."""
LASTED: Final = "lasted"
"""Field of `accounted/UNIQUEID`: how long its NAS said last that it had lasted, seconds."""


CACHED: Final = 4096
"""Addresses that are kept in memory: an item asks for each of its own some ten times, within a second."""


class RadiusResource(enum.StrEnum):
    """The resource that an address names, by the word after the target's id."""

    USER = "user"
    GROUP = "group"
    SESSIONS = "sessions"
    SESSION = "session"
    ONLINE = "online"
    HELD = "held"
    ACKED = "acked"
    HOLDERS = "holders"
    PRIVILEGES = "privileges"
    ROW = "open-row"
    ACCOUNTED = "accounted"
    CLOCK = "clock"


_BY_WORD: Final[Mapping[str, RadiusResource]] = {resource.value: resource for resource in RadiusResource}


@dataclass(frozen=True, slots=True)
class OpenSession:
    """An open row of radacct; texts are empty and times 0 where it has none. `heard_s`: its last accounting packet."""

    unique_id: str
    session_id: str
    login: str
    nas: str
    ip: str
    ip6: str
    delegated: str
    mac: str
    since_s: int
    heard_s: int = 0
    address6: str = ""


def merged(rows: Iterable[OpenSession]) -> list[OpenSession]:
    """Return a session for each unique id, oldest first: a table without the index on it may hold several rows of one.

    Addresses on which those differ are left out: nothing tells which the session has.
    """
    found: dict[str, OpenSession] = {}
    for row in rows:
        other = found.pop(row.unique_id, row)
        heard_s, since_s = max(row.heard_s, other.heard_s), max(row.since_s, other.since_s)
        same = all(getattr(row, name) == getattr(other, name) for name in _PLACES)
        found[row.unique_id] = replace(row if same else without_places(row), heard_s=heard_s, since_s=since_s)
    return list(found.values())


_PLACES: Final = ("ip", "ip6", "delegated", "address6", "mac")


def without_places(session: OpenSession) -> OpenSession:
    """Return a session without the fields that may be an earlier one's."""
    return replace(session, ip="", ip6="", delegated="", address6="", mac="")


@dataclass(frozen=True, slots=True)
class Accounted:
    """A session's end and length as its NAS told them, seconds; 0: it did not tell."""

    nas: str
    stopped_s: int
    lasted_s: int


NOW: Final = "now"
"""Key of the `clock` resource."""
AHEAD: Final = "ahead"
"""Field of `clock/now`: by how many seconds the clock of the database's server is ahead of ours."""
ZONE: Final = "zone"
"""Likewise: its zone's offset from UTC now, seconds."""


@dataclass(frozen=True, slots=True)
class ServerClock:
    """The clock of the database's server: seconds ahead of ours, and its zone's offset from UTC, seconds."""

    ahead_s: int
    zone_s: int


def clock_value(clock: ServerClock) -> Value:
    """Return the value of `clock/now`."""
    return {AHEAD: str(clock.ahead_s), ZONE: str(clock.zone_s)}


def clock_of(value: Value) -> ServerClock | None:
    """Return the clock in a value of `clock/now`; None: the database has none of its own."""
    fields = session_fields(value)
    return ServerClock(int(fields[AHEAD]), int(fields[ZONE])) if AHEAD in fields else None


@functools.lru_cache(maxsize=CACHED)
def address(target: str, resource: RadiusResource, key: str) -> Address:
    """Return `TARGET/RESOURCE/KEY`; the key is the database's own text and may hold slashes."""
    return Address(f"{target}/{resource}/{key}")


@functools.lru_cache(maxsize=CACHED)
def parse(target: str, text: str) -> tuple[RadiusResource, str] | None:
    """Return resource and key of an address of `target`, None when it is not one."""
    own = f"{target}/"
    if not text.startswith(own):
        return None
    word, _, rest = text[len(own) :].partition("/")
    resource = _BY_WORD.get(word)
    return None if resource is None or not rest else (resource, rest)


def same_login(one: str, other: str) -> bool:
    """Tell whether a person would call two spellings one login: they differ in case and trailing blanks at most.

    A database may hold more equal: MariaDB takes jose and josé, or strasse and straße, for the same. FreeRADIUS then
    mixes two people's rows, and which of them is meant cannot be told.
    """
    return one.rstrip(" ").lower() == other.rstrip(" ").lower()


def other_spellings(login: str, found: Iterable[str]) -> tuple[str, ...]:
    """Return the spellings that make `login` ambiguous: those that are another login than people would call it.

    One login in several cases is one user to FreeRADIUS, on a database that compares without case.
    """
    return tuple(sorted(s for s in set(found) - {login} if not same_login(s, login)))


def session_value(session: OpenSession | None) -> Value:
    """Return the value of `session/UNIQUEID`: the fields that it has; ABSENT for None."""
    if session is None:
        return ABSENT
    fields = {
        "login": session.login,
        "nas": session.nas,
        "sid": session.session_id,
        "ip": session.ip,
        "address6": session.address6,
        "ip6": session.ip6,
        "pd": session.delegated,
        "mac": session.mac,
        "since": str(session.since_s) if session.since_s else "",
        "heard": str(session.heard_s) if session.heard_s else "",
    }
    return {name: text for name, text in fields.items() if text}


def sessions_value(
    sessions: Iterable[OpenSession], by_nas: Callable[[OpenSession], Mapping[str, str]] = lambda _: {}
) -> Value:
    """Return the value of `sessions/LOGIN`: acctuniqueid -> its fields as `name=text`; ABSENT when there is none.

    `by_nas` returns the fields that come from a session's NAS: `DENIED`, `MAY_BE_OVER`, or `UNASKED`, or none.
    """
    found: dict[str, tuple[str, ...]] = {}
    for session in sessions:
        fields = {**session_fields(session_value(session)), **by_nas(session)}
        found[session.unique_id] = tuple(f"{k}={v}" for k, v in fields.items())
    return found or ABSENT


def sessions_of(value: Value) -> Mapping[str, Mapping[str, str]]:
    """Return the fields of each open session in a `sessions/LOGIN` value, by acctuniqueid."""
    if isinstance(value, Absent):
        return {}
    found: dict[str, Mapping[str, str]] = {}
    for unique_id, texts in value.items():
        pairs = (text.partition("=") for text in texts) if isinstance(texts, tuple) else ()
        found[unique_id] = {name: text for name, _, text in pairs}
    return found


def live_sessions(value: Value) -> Mapping[str, Mapping[str, str]]:
    """Return the same as `sessions_of`, without ghosts: open rows of sessions that their NAS denied."""
    return {uid: fields for uid, fields in sessions_of(value).items() if DENIED not in fields}


def accounted_fields(session: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that accounting told of an open session, without those that come from its NAS."""
    return {name: text for name, text in session.items() if name not in (DENIED, MAY_BE_OVER, UNASKED)}


def silent(session: Mapping[str, str], at_s: int, hours: int) -> bool:
    """Tell whether accounting had heard nothing of a session for so long at `at_s`; True where no time is known."""
    times = [int(text) for name in ("since", "heard") if (text := session.get(name, "")).isdecimal()]
    return at_s - max(times, default=0) > hours * 3600


def held_key(nas: str, login: str) -> str:
    """Return the key of `held/NAS/LOGIN`: the sessions of a login at a NAS, by its configured name."""
    return f"{nas}/{login}"


def held_of(key: str) -> tuple[str, str]:
    """Return NAS and login of a key of `held/NAS/LOGIN`. A NAS' name has no slash."""
    nas, _, login = key.partition("/")
    return nas, login


def accounted_value(row: Accounted | None) -> Value:
    """Return the value of `accounted/UNIQUEID`: `beginnings` reads its fields; ABSENT for None."""
    if row is None:
        return ABSENT
    times = {STOPPED: row.stopped_s, LASTED: row.lasted_s}
    return {NAS: row.nas} | {name: str(told) for name, told in times.items() if told}


def session_fields(value: Value) -> dict[str, str]:
    """Return the fields of a `session/UNIQUEID` value, none when it is ABSENT."""
    return {} if isinstance(value, Absent) else {k: v for k, v in value.items() if isinstance(v, str)}


def began_s(session: Mapping[str, str], unknown_s: int) -> int:
    """Return when a session began, in unix seconds; `unknown_s` when accounting has no time."""
    text = session.get("since", "")
    return int(text) if text.isdecimal() else unknown_s
