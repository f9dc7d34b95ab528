"""A data model: which objects and parameters a CPE has, and their values when it leaves the factory. Never changes.

A model is read from text. A line that ends in a dot is an object, the lines below it its parameters:

    InternetGatewayDevice.LANDevice.{i}.Hosts.Host.{i}. +
      HostName *string[0:64] =tv |tv|pc volatile

`{i}` is an instance number; `+`: the ACS may add and delete instances. `*`: writable; `[low:high]`: the length of a
string or the range of a number; `=`: its value in a new instance; `|`: the only values it can have. Words:

secret      reads back as nothing (TR-106: hidden)
volatile    active notification is refused (canDeny)
informed    in the ParameterList of every Inform (forcedInform)
told        active notification is on, and stays on (forceEnabled)
told-first  active notification is on until the ACS takes it back (forceDefaultEnabled)
count:T     the number of instances of the table T beside it
up-time     seconds since the last boot
now         the time
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from lab.cpe.errors import CpeModelError
from lab.cpe.values import TYPES, canonical, first_value

_LEAF: Final = re.compile(r"(?P<star>\*?)(?P<type>[A-Za-z0-9]+)(\[(?P<low>-?\d*):(?P<high>-?\d*)\])?")
_WORDS: Final = frozenset(("secret", "volatile", "informed", "told", "told-first", "up-time", "now"))
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parameter. `kind`: its type as the data models name it; `low` and `high`: of its length or its number."""

    kind: str = "string"
    writable: bool = False
    value: str = ""
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    count: str = ""
    words: frozenset[str] = frozenset()

    @property
    def secret(self) -> bool:
        return "secret" in self.words

    @property
    def xsd(self) -> str:
        """The XML Schema type that its value is sent with."""
        return TYPES[self.kind]


@dataclass(frozen=True, slots=True)
class Node:
    """An object, or the instances of a table. `writable`: the ACS may add and delete them."""

    name: str
    table: bool = False
    writable: bool = False
    leaves: dict[str, Leaf] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """A model. `instances`: the instance numbers of each table (`Device.WiFi.SSID.`); `values`: by full name.

    `informed`: the full names of the parameters that every Inform carries.
    """

    root: Node
    instances: Mapping[str, tuple[int, ...]]
    values: Mapping[str, str]
    informed: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """The root with its dot: `Device.`."""
        return f"{self.root.name}."

    def grown(self, table: str, count: int, values: Mapping[str, str] = _NOTHING) -> Model:
        """This model with `count` instances in a table: a tree as large as wished.

        Args:
            table: the table, `Device.Hosts.Host.`, written with `{i}` nowhere.
            count: how many instances, numbered from 1.
            values: parameter names within an instance to a text in which `{n}` is its number.
        """
        filled = {
            f"{table}{n}.{name}": text.replace("{n}", str(n))
            for n in range(1, count + 1)
            for name, text in values.items()
        }
        instances = {**self.instances, table: tuple(range(1, count + 1))}
        return Model(self.root, MappingProxyType(instances), MappingProxyType({**self.values, **filled}), self.informed)


def _leaf(words: list[str]) -> Leaf:
    found = _LEAF.fullmatch(words[0])
    if found is None or found["type"] not in TYPES:
        raise CpeModelError(f"expected a type, got {words[0]!r}")
    value: str | None = None
    choices: tuple[str, ...] = ()
    count, flags = "", set()
    for word in words[1:]:
        if word.startswith("="):
            value = word[1:]
        elif word.startswith("|"):
            choices = tuple(word[1:].split("|"))
        elif word.startswith("count:"):
            count = word.removeprefix("count:")
        elif word in _WORDS:
            flags.add(word)
        else:
            raise CpeModelError(f"expected a word of the list, got {word!r}")
    low, high = (int(found[side]) if found[side] else None for side in ("low", "high"))
    start = first_value(found["type"], low, choices) if value is None else value
    return Leaf(found["type"], bool(found["star"]), start, low, high, choices, count, frozenset(flags))


def _object(root: Node | None, path: str, *, writable: bool) -> tuple[Node, Node]:
    """The root and the node of an object's line, made where it is not there yet."""
    parts = path.rstrip(".").split(".")
    top = root or Node(parts[0])
    if parts[0] != top.name:
        raise CpeModelError(f"expected an object below {top.name}., got {path}")
    node = top
    for place, part in enumerate(parts[1:], 1):
        if part == "{i}":
            continue
        table = parts[place + 1 : place + 2] == ["{i}"]
        known = node.children.get(part)
        if known is None:
            known = node.children[part] = Node(part, table, writable and place + 2 >= len(parts))
        node = known
    return top, node


def _informed(path: str, node: Node) -> list[str]:
    """The parameters of an object and of those below it, tables left out, that every Inform carries."""
    found = [path + name for name, leaf in node.leaves.items() if "informed" in leaf.words]
    for name, child in node.children.items():
        if not child.table:
            found += _informed(f"{path}{name}.", child)
    return found


def read_model(
    text: str,
    instances: Mapping[str, tuple[int, ...]],
    values: Mapping[str, str],
    *,
    also_informed: tuple[str, ...] = (),
) -> Model:
    """A model from its text.

    Args:
        text: as above.
        instances: those that it has from the factory, by table.
        values: those that differ from the text's, by full name.
        also_informed: parameters in tables that every Inform carries.

    Raises:
        CpeModelError: a line cannot be read, or there is no such name.
    """
    root: Node | None = None
    node: Node | None = None
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0].endswith("."):
            root, node = _object(root, words[0], writable="+" in words[1:])
        elif node is None or len(words) == 1:
            raise CpeModelError(f"expected a parameter and its type below an object, got {line!r}")
        else:
            node.leaves[words[0]] = _leaf(words[1:])
    if root is None:
        raise CpeModelError("expected an object, got no line")
    informed = (*_informed(f"{root.name}.", root), *also_informed)
    model = Model(root, MappingProxyType(dict(instances)), MappingProxyType(dict(values)), informed)
    for name, value in values.items():
        leaf = leaf_of(model, name)
        if canonical(leaf.kind, value, leaf.low, leaf.high, leaf.choices) is None:
            raise CpeModelError(f"expected a value of type {leaf.kind} for {name}, got {value!r}")
    return model


def leaf_of(model: Model, name: str) -> Leaf:
    """The parameter of that full name, whether or not the instances on its way exist.

    Raises:
        CpeModelError: there is none.
    """
    *objects, last = [part for part in name.split(".") if not part.isdecimal()]
    node: Node | None = model.root
    for part in objects[1:]:
        node = node.children.get(part) if node else None
    if node is None or objects[0] != model.root.name or last not in node.leaves:
        raise CpeModelError(f"expected a parameter of {model.prefix}, got {name}")
    return node.leaves[last]
