"""Suspension designs as whole exports: how billing systems and guides set routers up. Facts, told anew.

Unlike `designs`, each is read from a router through the API: with its interfaces, pools, profiles, routes and mangle
rules, of a subscriber with a fixed address on ether5, a PPP secret, or a DHCP lease. `KEEPS` is a design by which
nobody reaches the internet by a new connection but for DNS and ping, `LEAKS` any other. What was open before is cut.
They are in `exported_designs.rsc`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.agent.connectors.routeros.designs import Label


class Kind(enum.Enum):
    """What a subscriber is on the router."""

    LIST = "list"
    PPP = "ppp"
    DHCP = "dhcp"


@dataclass(frozen=True, slots=True)
class Exported:
    """A design, in the words of an export."""

    name: str
    label: Label
    why: str
    text: str
    kind: Kind = Kind.LIST
    listed: str = "suspended"
    version: str = "7.20.8"
    refused: str = ""
    """Why it is refused though it keeps them in."""
    unseen: str = ""
    """Why the lab's packets do not show what it does."""


def _blocks() -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield name, fields and export of each block of the file."""
    read: dict[str, str] = {}
    text = Path(__file__).with_suffix(".rsc").read_text(encoding="utf-8")
    for block in text.split("\n## ")[1:]:
        name, *lines = block.splitlines()
        fields = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
        included = (
            read[line.removeprefix("#include ")] if line[:1] == "#" else line for line in lines if line[:2] != "# "
        )
        read[name] = "\n".join(included) + "\n"
        yield name, fields, read[name]


def _design(name: str, fields: dict[str, str], text: str) -> Exported:
    (label,) = [one for one in (Label.KEEPS, Label.LEAKS) if one.value in fields]
    why, kind = fields.pop(label.value), Kind(fields.pop("kind", "list"))
    return Exported(name, label, why, text, kind, **fields)


SITE: Final = next(text for name, _, text in _blocks() if name == "SITE")
"""The common part: an uplink, a LAN, two pools, and a subscriber's PPP secret."""
EXPORTED: Final = tuple(_design(*block) for block in _blocks() if block[1])
