"""The places of a CPE's WAN, LAN and Wi-Fi networks, by the values read of it: never by instance number. Pure.

A place is an object that a name of the vocabulary lies below: `wan`, `lan.dhcp`, `wifi.2.radio`. Which object that is
differs from CPE to CPE, so it is looked for by references; where they do not tell, the place is unknown, with a reason,
and nothing is shown or written there. A profile may fix a place by a line of its own.

* A place that is found says which parameters it rests on: when one of them reads otherwise, it may be elsewhere.
* Networks are counted in turn of the radios: first the first network of each radio, then the second of each. Data
  models without radios count them by their instance numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.cpe_model import places_tr098, places_tr181
from agent.cpe_model.found_place import Place
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.structure import Structure, generic

_STRUCTURE: Final = {"Device.": places_tr181.STRUCTURE, "InternetGatewayDevice.": places_tr098.STRUCTURE}
_FIND: Final = {"Device.": places_tr181.places, "InternetGatewayDevice.": places_tr098.places}
FAMILIES: Final = ("wifi", "voip")
"""Places that are counted: `wifi.1`, `wifi.2`, …"""
NAMES: Final = frozenset(
    {
        "wan", "wan.ppp", "wan.ipoe", "wan.ipv4", "wan.link", "wan.vlan", "lan", "lan.ipv4", "lan.dhcp", "dsl",
        "dsl.channel", "optical", "wifi.{n}", "wifi.{n}.ap", "wifi.{n}.radio", "voip.{n}",
    }
)  # fmt: skip
"""All places; `{n}` is a number from 1."""


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one CPE. `unknown`: place -> why it is not known. `counts`: family -> how many there are."""

    found: Mapping[str, Place] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


def find(root: str, values: Mapping[str, CachedParameter], fixed: Mapping[str, str]) -> Places:
    """Return the places of a CPE.

    Args:
        root: `Device.` or `InternetGatewayDevice.`.
        values: read of it.
        fixed: places that its profile fixes: place -> full path of an object.
    """
    if root not in _FIND:
        return Places(unknown={"wan": f"{root} is no data model with a known WAN"})
    made = _FIND[root](Structure.of(root, values, _STRUCTURE[root]), fixed)
    found = {name: place for name, place in made.items() if isinstance(place, Place)}
    unknown = {name: place for name, place in made.items() if isinstance(place, str)}
    return Places(found, unknown, {family: _count(found, family) for family in FAMILIES})


def _count(found: Iterable[str], family: str) -> int:
    numbers = [int(word) for name in found if (word := name.removeprefix(f"{family}.")).isdecimal()]
    return max(numbers, default=0)


def structural(root: str, paths: Iterable[str]) -> list[str]:
    """Return those of some full names that places are found by."""
    wanted: Collection[str] = _STRUCTURE.get(root, frozenset())
    return [path for path in paths if path.startswith(root) and generic(path)[len(root) :] in wanted]


def objects(root: str) -> tuple[str, ...]:
    """Return the objects that places lie in, right below the root, each in full with its dot."""
    wanted: Collection[str] = _STRUCTURE.get(root, frozenset())
    return tuple(sorted({f"{root}{path.partition('.')[0]}." for path in wanted}))
