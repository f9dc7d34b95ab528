"""Where a session's addresses stand: in the walled garden, outside of it, or pinned by the login's own reply. Pure."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agent.connectors.radius.addresses import MAY_BE_OVER, UNASKED

if TYPE_CHECKING:
    from agent.connectors.radius.evaluator import Accepted

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PINNED_BY: Final = {
    "ip": "Framed-IP-Address",
    "address6": "Framed-IPv6-Address",
    "ip6": "Framed-IPv6-Prefix",
    "pd": "Delegated-IPv6-Prefix",
}
"""A session's address field -> the reply attribute that makes it static, whatever the pool of a group is."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The session's addresses that a garden of their family is configured for, and which are not in it.

    `pinned`: those that the login's reply gives it at every login, so that they say nothing about its policy.
    """

    loose: tuple[str, ...]
    pinned: tuple[str, ...]


def in_garden(session: Mapping[str, str], gardens: Mapping[str, str]) -> bool:
    """Tell whether every address of the session that a garden is configured for is in it, and there is one.

    Args:
        session: its fields, as accounting told them.
        gardens: `garden4`, `garden6` -> prefixes, separated by commas; other names are no matter.
    """
    found = [inside for _, _, inside in _placed(session, gardens)]
    return bool(found) and all(found)


def partly_in_garden(session: Mapping[str, str], gardens: Mapping[str, str]) -> bool:
    """Tell whether an address of the session is in the garden: it is not active, whatever its others are.

    A suspended session of a subscriber with a static prefix has that outside, at every login.
    """
    return any(inside for _, _, inside in _placed(session, gardens))


def stays_in_garden(session: Mapping[str, str], gardens: Mapping[str, str]) -> bool:
    """Tell whether the session is in the garden, and is not one that its NAS may have ended: another may follow it."""
    return MAY_BE_OVER not in session and in_garden(session, gardens)


def sure_ones(sessions: Mapping[str, Mapping[str, str]], gardens: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Return the sessions without those in the garden that may be over: they prove no suspension."""
    return {u: s for u, s in sessions.items() if MAY_BE_OVER not in s or not in_garden(s, gardens)}


def heard_ones(sessions: Mapping[str, Mapping[str, str]], gardens: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Return the sessions without those outside of the garden that may be over: they prove no restore."""
    return {u: s for u, s in sessions.items() if MAY_BE_OVER not in s or partly_in_garden(s, gardens)}


def is_outside(session: Mapping[str, str], gardens: Mapping[str, str]) -> bool:
    """Tell whether the session has an address that a garden is configured for, and none of those is in it."""
    found = [inside for _, _, inside in _placed(session, gardens)]
    return bool(found) and not any(found)


def outside(session: Mapping[str, str], gardens: Mapping[str, str], outcome: Accepted) -> Outside:
    """Return the addresses that are outside of a garden of their family; `outcome` is the login's effective reply."""
    loose: list[str] = []
    pinned: list[str] = []
    for name, net, inside in _placed(session, gardens):
        if not inside:
            given = {_network(value) for value in outcome.get(_PINNED_BY[name])}
            (pinned if net in given else loose).append(session[name])
    return Outside(tuple(loose), tuple(pinned))


def pins_an_address(outcome: Accepted) -> bool:
    """Tell whether a login's reply gives it an address at every login, suspended or not."""
    return any(outcome.get(name) for name in _PINNED_BY.values())


def goes_on_outside(session: Mapping[str, str], gardens: Mapping[str, str], outcome: Accepted) -> bool:
    """Tell whether a suspended login's session must be ended: there is a garden, and it is not known to be in it.

    An address that cannot be in a garden stays: one that the login's reply pins, or of a family without a garden.
    """
    if not (gardens.get("garden4") or gardens.get("garden6")) or in_garden(session, gardens):
        return False
    return not addresses_text(session) or bool(outside(session, gardens, outcome).loose)


@functools.lru_cache(maxsize=256)
def gardens_of(prefixes: str) -> Mapping[str, str]:
    """Return prefixes of both families, separated by commas, as `garden4` and `garden6`."""
    texts = [text for text in prefixes.split(",") if text]
    return MappingProxyType(
        {
            "garden4": ",".join(text for text in texts if ":" not in text),
            "garden6": ",".join(text for text in texts if ":" in text),
        }
    )


def addresses_text(session: Mapping[str, str]) -> str:
    """Return the session's addresses and prefixes, for people; empty when accounting told none."""
    return " · ".join(filter(None, (session.get(name) for name in _PINNED_BY)))


def garden_text(sessions: Iterable[Mapping[str, str]], gardens: Mapping[str, str], word: str = "") -> str:
    """Return which of the sessions' addresses are in the garden, for people; `word` stands before "in the garden".

    Those that no garden is configured for are named beside them: nothing tells how they are.
    """
    placed = [(s, {name: inside for name, _, inside in _placed(s, gardens)}) for s in sessions]
    there = [s[name] for s, found in placed for name, inside in found.items() if inside]
    others = [s[name] for s, found in placed for name in _PINNED_BY if s.get(name) and name not in found]
    rest = f"; no garden is configured for {' · '.join(others)}" if others else ""
    return f"{' · '.join(there)} {word}in the garden{rest}"


def unheard_text(sessions: Iterable[Mapping[str, str]]) -> str:
    """Return why sessions that may be over prove nothing, or of which no NAS could be asked."""
    told: dict[str, list[str]] = {}
    for s in sessions:
        how = "could not be asked for" if UNASKED in s else "was asked for"
        told.setdefault(how, []).append(addresses_text(s) or s.get("sid", "a session"))
    ends = " and ".join(f"the end of {' · '.join(names)} {how}" for how, names in told.items())
    return f"{ends}, and accounting does not show that it goes on"


def _placed(session: Mapping[str, str], gardens: Mapping[str, str]) -> Iterator[tuple[str, _Network, bool]]:
    """Return field, network and whether it is in the garden, of each address of a family with a garden."""
    for name in _PINNED_BY:
        text = session.get(name)
        # The family first: each subscriber has addresses of its own, and most families have no garden to compare with
        if text and (garden := gardens.get("garden6" if ":" in text else "garden4")):
            found = _place(text, garden)
            if found is not None:
                yield name, *found


@functools.lru_cache(maxsize=4096)
def _place(text: str, garden: str) -> tuple[_Network, bool] | None:
    """Return an address' network and whether it is in the garden of its family; None: it is no address."""
    net = _network(text)
    return None if net is None else (net, any(_within(net, other) for other in _networks(garden)))


@functools.lru_cache(maxsize=256)
def _networks(prefixes: str) -> tuple[_Network, ...]:
    """Return prefixes separated by commas; a batch asks for the same few again and again."""
    return tuple(ipaddress.ip_network(text) for text in prefixes.split(",") if text)


@functools.lru_cache(maxsize=4096)
def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _within(net: _Network, garden: _Network) -> bool:
    return garden.version == net.version and garden.prefixlen <= net.prefixlen and net.network_address in garden
