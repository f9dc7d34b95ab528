"""The lab's firewall with the rules that the judge was given: a second opinion, which shares no code with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from agent.connectors.routeros.matching import WIDE, Rule, Ruleset
from lab.router.firewall import AddressLists, Firewall, Packet
from lab.router.table import Row

SESSION: Final = "<pppoe-home1>"
UNSURE: Final = ("limit", "time", "random", "content", "tls-host", "dst-limit")
"""Matchers that are tried both ways, since the lab does not judge them."""
INTERNET: Final = {4: "203.0.113.80", 6: "2001:db8:ffff::80"}
PORTS: Final = (22, 80, 443, 8080, 40000)


class Rows(list[Row]):
    """A table as the lab's firewall reads it."""

    unique: tuple[tuple[str, ...], ...] = ()


class Tables:
    """The part of a store that the lab's firewall needs."""

    def __init__(self, tables: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
        self._rows = {
            path: Rows([Row(f"*{n}", dict(row)) for n, row in enumerate(rows)]) for path, rows in tables.items()
        }

    def find_model(self, path: str) -> bool:
        return path in self._rows

    def table(self, path: str) -> Rows:
        return self._rows[path]


def referee(ruleset: Ruleset, *, unsure: bool) -> Firewall:
    """Return the lab's firewall; `unsure`: what it takes matchers to say that it does not judge."""
    held = ruleset.interface_lists or {}
    members = [{"list": name, "interface": SESSION if one == "<ppp>" else one} for name in held for one in held[name]]
    lists = AddressLists()
    for name, entries in ruleset.members.items():
        for n, text in enumerate(entries):
            lists.watch("/ip/firewall/address-list", Row(f"{name}{n}", {"list": name, "address": text}), "added")
    tables = {"/interface/list/member": members}
    for family in ("/ip", "/ipv6"):
        tables |= {
            f"{family}/firewall/filter": _told(ruleset.filter),
            f"{family}/firewall/raw": _told(ruleset.raw or ()),
            f"{family}/firewall/mangle": _told(ruleset.mangle or ()),
        }
    return Firewall(Tables(tables), lists, dict.fromkeys(UNSURE, unsure))  # type: ignore[arg-type]  # what it asks of a store


def packets(
    sources: Collection[str], states: Collection[str], ways: Collection[str], interface: str = SESSION
) -> Iterator[Packet]:
    """Yield packets to the internet that are neither DNS nor ping, from a PPP session or another interface."""
    kinds = [*product(("tcp", "udp"), PORTS), ("gre", 0), ("ipsec-esp", 0)]
    for source, (protocol, port), state, way in product(sources, kinds, states, sorted(ways)):
        yield Packet(source, INTERNET[6 if ":" in source else 4], protocol, port, state, interface, way)


def _told(rules: Sequence[Rule]) -> list[dict[str, str]]:
    return [{name: text for name, text in rule.items() if name != WIDE} for rule in rules]
