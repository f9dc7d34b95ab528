"""Running things on a router that can be ended: sessions, hotspot cookies, connections. Pure.

Each is a row that nobody wrote and that an effect removes. Each is known by its own fields, never by its `.id`, which
is somebody else's after a reboot: PPP has a session's own id; a hotspot's session is its user, address and beginning; a
connection its protocol and both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from agent.connectors.routeros.addresses import RouterResource, parse
from agent.connectors.routeros.values import seconds
from agent.model import Address, Effect, EffectKind, ProofKind, Replay, target_of

Row = Mapping[str, str]
Owners = Callable[[Row], Collection[str]]

BEGAN_S: Final = 5
"""How far a beginning that is told by an uptime may be off; chosen arbitrarily."""
BEGINNINGS: Final[Mapping[RouterResource, RouterResource]] = {
    RouterResource.ACTIVE: RouterResource.BEGAN,
    RouterResource.HOTSPOT_ACTIVE: RouterResource.HOTSPOT_BEGAN,
}
"""Where it is read when the sessions of a login began."""
SINCE: Final = "since"
"""An argument of an effect that ends sessions, unix seconds: those that began later are as wanted, and stay."""
_UNKNOWN: Final = "?"


@dataclass(frozen=True, slots=True)
class Running:
    """A menu of running things.

    `one` is the resource of a single row; `verb` the effect that ends those of an owner. `props` are asked for,
    `steady` are those that do not change while it runs. `owners` takes the keys that are asked for and returns the
    owners of a row among them; `query` is the property by which a router is asked for one owner, `one_query` for one
    row ("": the whole menu is read). `key_of` takes a row and unix seconds.
    """

    path: str
    one: RouterResource
    verb: str
    props: tuple[str, ...]
    steady: tuple[str, ...]
    query: str
    one_query: str
    owners: Callable[[Collection[str]], Owners]
    key_of: Callable[[Row, int], str]
    shown_as: Mapping[str, str]

    def fields(self, row: Row) -> dict[str, str]:
        """Return the shown fields of a row: the steady properties that it has, under our names."""
        return {self.shown_as.get(name, name): row[name] for name in self.steady if row.get(name)}

    def is_it(self, row: Row, key: str, now_s: int) -> bool:
        """Tell whether a row is the one that `key` names; a beginning may be off by some seconds."""
        own = self.key_of(row, now_s)
        if own == key:
            return True
        mine, _, mine_s = own.rpartition("@")
        theirs, _, theirs_s = key.rpartition("@")
        if not mine or mine != theirs or not (mine_s.isdecimal() and theirs_s.isdecimal()):
            return False
        return abs(int(mine_s) - int(theirs_s)) <= BEGAN_S


def began_s(row: Row, now_s: int) -> int | None:
    """Return when a session began, unix seconds, from its uptime as RouterOS writes it; None: it does not say."""
    uptime_s = seconds(row.get("uptime", ""))
    return None if uptime_s is None else now_s - uptime_s


def _named(prop: str) -> Callable[[Collection[str]], Owners]:
    def among(keys: Collection[str]) -> Owners:
        return lambda row: [row[prop]] if row.get(prop) in keys else []

    return among


def _hotspot_key(row: Row, now_s: int) -> str:
    began = began_s(row, now_s)
    return f"{row.get('user', '')} {row.get('address', '')}@{_UNKNOWN if began is None else began}"


def _cookie_key(row: Row, _: int) -> str:
    return f"{row.get('user', '')} {row.get('mac-address', '')}"


def _end(row: Row, side: str) -> tuple[str, str]:
    """Return address and port of one side of a connection: RouterOS 6 has the port behind a colon, `1.2.3.4:80`."""
    text, port = row.get(f"{side}-address", ""), row.get(f"{side}-port", "")
    if not port and "." in text:
        text, _, port = text.partition(":")
    elif not port and "]" in text:
        text, _, port = text.rpartition(":")
    return text.strip("[]"), port


def _flow_key(row: Row, _: int) -> str:
    ends = ("{}:{}".format(*_end(row, side)) for side in ("src", "dst"))
    return " ".join((row.get("protocol", ""), *ends))


def _at_ends(keys: Collection[str]) -> Owners:
    """Return a function that finds the addresses and networks among `keys` that are an end of a connection.

    Its opener's, or the one that it was opened to: there by its own address, or behind a dst-nat. A connection from
    outside carries a subscriber's data as well as one of their own. One look-up for each length of network there is,
    since a router has more connections than subscribers.
    """
    of_length: dict[tuple[int, int], dict[int, str]] = {}
    for key in keys:
        try:
            network = ip_network(key, strict=False)
        except ValueError:
            continue
        of_length.setdefault((network.version, network.prefixlen), {})[int(network.network_address)] = key

    def owners(row: Row) -> Collection[str]:
        found: dict[str, None] = {}
        for end in _ends(row):
            for (version, length), known in of_length.items():
                if version == end.version:
                    key = known.get(int(end) >> (end.max_prefixlen - length) << (end.max_prefixlen - length))
                    found |= {} if key is None else {key: None}
        return found

    return owners


def _ends(row: Row) -> Iterable[IPv4Address | IPv6Address]:
    for side in ("src", "dst", "reply-src"):
        try:
            yield ip_address(_end(row, side)[0].partition("%")[0])
        except ValueError:  # a protocol that has no addresses, or a release that does not say
            continue


DISCONNECT: Final = "disconnect"
CUT: Final = "cut"
FORGET: Final = "forget"
EFFECTS: Final[Mapping[str, frozenset[EffectKind]]] = {
    DISCONNECT: frozenset({EffectKind.DISCONNECT}),
    CUT: frozenset({EffectKind.CUT_CONNECTIONS}),
    FORGET: frozenset({EffectKind.FORGET_COOKIES}),
}
"""Kinds by verb. Each verb removes rows from a menu."""

_FLOW: Final = (
    "protocol",
    "src-address",
    "src-port",
    "dst-address",
    "dst-port",
    "reply-src-address",
    "fasttrack",
    "seen-reply",
)

_FLOWS: Final = Running(
    path="/ip/firewall/connection",
    one=RouterResource.FLOW,
    verb=CUT,
    props=_FLOW,
    steady=("fasttrack", "reply-src-address", "seen-reply"),
    query="",
    one_query="",
    owners=_at_ends,
    key_of=_flow_key,
    shown_as={},
)

RUNNING: Final[Mapping[RouterResource, Running]] = {
    RouterResource.ACTIVE: Running(
        path="/ppp/active",
        one=RouterResource.SESSION,
        verb=DISCONNECT,
        props=("name", "service", "caller-id", "address", "session-id", "radius", "uptime"),
        steady=("name", "service", "caller-id", "address", "radius"),
        query="name",
        one_query="session-id",
        owners=_named("name"),
        key_of=lambda row, _: row.get("session-id", ""),
        shown_as={"name": "login"},
    ),
    RouterResource.HOTSPOT_ACTIVE: Running(
        path="/ip/hotspot/active",
        one=RouterResource.HOTSPOT_SESSION,
        verb=DISCONNECT,
        props=("server", "user", "address", "mac-address", "login-by", "radius", "uptime"),
        steady=("server", "user", "address", "mac-address", "login-by", "radius"),
        query="user",
        one_query="",
        owners=_named("user"),
        key_of=_hotspot_key,
        shown_as={"user": "login"},
    ),
    RouterResource.COOKIES: Running(
        path="/ip/hotspot/cookie",
        one=RouterResource.COOKIE,
        verb=FORGET,
        props=("user", "mac-address"),
        steady=("user", "mac-address"),
        query="user",
        one_query="",
        owners=_named("user"),
        key_of=_cookie_key,
        shown_as={"user": "login"},
    ),
    RouterResource.FLOWS: _FLOWS,
    # Whose addresses of now `readers` looks up
    RouterResource.SESSION_FLOWS: _FLOWS,
    RouterResource.HOTSPOT_FLOWS: _FLOWS,
    RouterResource.LOGIN_FLOWS: _FLOWS,
    RouterResource.FLOWS6: Running(
        path="/ipv6/firewall/connection",
        one=RouterResource.FLOW6,
        verb=CUT,
        props=_FLOW,
        steady=("fasttrack", "seen-reply"),
        query="",
        one_query="",
        owners=_at_ends,
        key_of=_flow_key,
        shown_as={},
    ),
}
"""By the resource of an owner."""

OF_SESSIONS: Final = frozenset({RouterResource.SESSION_FLOWS, RouterResource.LOGIN_FLOWS})
"""Owners with the addresses of their sessions at that time."""

BY_ONE: Final[Mapping[RouterResource, RouterResource]] = {running.one: owner for owner, running in RUNNING.items()}


def by_owner(
    running: Running, rows: Sequence[Row], keys: Collection[str], now_s: int
) -> dict[str, dict[str, dict[str, str]]]:
    """Return the rows of each owner: owner -> key of a row -> its shown fields."""
    found: dict[str, dict[str, dict[str, str]]] = {key: {} for key in keys}
    owners = running.owners(keys)
    for row in rows:
        for owner in owners(row):
            found[owner][running.key_of(row, now_s)] = running.fields(row)
    return found


def names(running: Running, row: Row, keys: Collection[str], now_s: int) -> list[str]:
    """Return those of the keys that name a row; quick also where both are many."""
    own = running.key_of(row, now_s)
    if own in keys:
        return [own]
    if not own.rpartition("@")[0]:
        return []
    return [key for key in keys if running.is_it(row, key, now_s)]


def end_of(
    where: Address, key: str, within_s: int, *, now: str = "", proof: ProofKind | None = ProofKind.GONE
) -> Effect:
    """Return the effect that ends everything that runs under an owner.

    Args:
        where: the owner's address, such as `TARGET/ppp/active/NAME`.
        key: the idempotency key.
        within_s: how long it may take until all of it is gone, seconds.
        now: the present rows, for people; the rows to end are found when it runs.
        proof: None where the same may be there again at once.

    Raises:
        ValueError: nothing that could be ended is at that address: a bug in the caller.
    """
    found = parse(target_of(where), where)
    if found is None or found[0] not in RUNNING:
        raise ValueError(f"expected the address of an owner, got {where!r}")
    args = {"now": now} if now else {}
    return Effect(where, RUNNING[found[0]].verb, args, key, Replay.IF_UNPROVEN, proof, within_s)
