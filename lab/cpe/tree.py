"""The parameter tree of one CPE: a model, and the differences from it. A CPE of a fleet costs its changes, no more.

Names are TR-106's: `Device.Hosts.` is a partial path, `Device.Hosts.Host.1.HostName` a parameter, `Device.Hosts.Host.`
a table and `Device.Hosts.Host.1.` one of its instances. The CPE itself (and a test) changes values with `put` and
instances with `plug` and `unplug`; requests of an ACS go through `check`, `write`, `add` and `delete`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from lab.cpe.errors import CpeModelError, CwmpFault
from lab.cpe.model import Leaf, Model, Node
from lab.cpe.values import canonical

OFF: Final = 0
PASSIVE: Final = 1
ACTIVE: Final = 2
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Attributes:
    """A parameter's attributes: 0 no notification, 1 passive, 2 active; writers besides the ACS."""

    notification: int = OFF
    access: tuple[str, ...] = ("Subscriber",)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a path leads. `leaf`: to a parameter; `inside`: to an instance or an object, not to a table."""

    path: str
    node: Node
    inside: bool
    leaf: Leaf | None = None


def _default(leaf: Leaf) -> Attributes:
    told = "told" in leaf.words or "told-first" in leaf.words
    return Attributes(ACTIVE if told else OFF)


class Tree:
    """One CPE's parameters.

    Args:
        model: the objects and parameters.
        factory: values that this CPE has from the factory, by full name.
        now: the time, in seconds since 1970.

    `truth`: how it shows a boolean, (true, false). `empty_tables`: tables that it shows without their instances.
    `noticed`: parameters with notification that changed otherwise than by the ACS, in that order.
    """

    __slots__ = (
        "_attributes", "_factory", "_instances", "_last", "_values", "booted_at", "empty_tables", "model", "noticed",
        "now", "truth",
    )  # fmt: skip

    def __init__(self, model: Model, factory: Mapping[str, str], now: Callable[[], float]) -> None:
        self.model = model
        self.now = now
        self.booted_at = now()
        self.truth = ("1", "0")
        self.empty_tables: tuple[str, ...] = ()
        self.noticed: dict[str, None] = {}
        self._factory = dict(factory)
        self._values: dict[str, str] = {}
        self._instances: dict[str, tuple[int, ...]] = {}
        self._last: dict[str, int] = {}
        self._attributes: dict[str, Attributes] = {}

    def reset(self) -> None:
        """Back to the factory's settings."""
        for kept in (self._values, self._instances, self._last, self._attributes, self.noticed):
            kept.clear()

    def make(self, name: str, value: str) -> str:
        """Set values that survive a factory reset, as a new firmware does. `name` without the root; the full name."""
        full = self.model.prefix + name
        self._factory[full] = value
        self._values.pop(full, None)
        return full

    # --- finding ------------------------------------------------------------------------------------------------------

    def instances(self, table: str) -> tuple[int, ...]:
        """The instance numbers of a table, none when there is no such table."""
        if table in self.empty_tables:
            return ()
        own = self._instances.get(table)
        return self.model.instances.get(table, ()) if own is None else own

    def _find(self, path: str) -> _Place | None:
        parts = path.split(".")
        last = parts.pop()
        node, at = self.model.root, self.model.prefix
        if not parts or parts[0] != node.name:
            return None
        in_table = False
        for part in parts[1:]:
            if in_table:
                if not part.isdecimal() or int(part) not in self.instances(at):
                    return None
                in_table = False
            else:
                child = node.children.get(part)
                if child is None:
                    return None
                node, in_table = child, child.table
            at = f"{at}{part}."
        if not last:
            return _Place(path, node, not in_table)
        leaf = None if in_table else node.leaves.get(last)
        return None if leaf is None else _Place(path, node, True, leaf)

    def _at(self, path: str) -> _Place:
        place = self._find(path or self.model.prefix)
        if place is None:
            raise CwmpFault(9005)
        return place

    def leaf(self, name: str) -> Leaf | None:
        """The parameter of that full name, None when this CPE has none."""
        place = self._find(name)
        return place.leaf if place else None

    def _below(self, path: str, node: Node, *, inside: bool) -> Iterator[tuple[str, Node, Leaf | None, bool]]:
        """Children of a place: name, node, leaf, and whether it is inside its node."""
        if not inside:
            for number in self.instances(path):
                yield f"{path}{number}.", node, None, True
            return
        for name, leaf in node.leaves.items():
            yield path + name, node, leaf, True
        for name, child in node.children.items():
            yield f"{path}{name}.", child, None, not child.table

    def _walk(self, path: str, node: Node, *, inside: bool) -> Iterator[tuple[str, Node, Leaf | None, bool]]:
        for name, below, leaf, within in self._below(path, node, inside=inside):
            yield name, below, leaf, within
            if leaf is None:
                yield from self._walk(name, below, inside=within)

    def names(self, path: str = "", *, next_level: bool = False) -> list[tuple[str, bool]]:
        """Names below a partial path, or one parameter's, and whether the ACS may write, add or delete there.

        Raises:
            CwmpFault: 9005 there is no such path; 9003 the next level below a parameter was asked for.
        """
        place = self._at(path)
        if place.leaf is not None:
            if next_level:
                raise CwmpFault(9003)
            return [(path, place.leaf.writable)]
        if next_level and not path:
            return [(place.path, False)]

        def may(node: Node, leaf: Leaf | None) -> bool:
            # of a table: whether instances can be added; of an instance: whether it can be deleted
            return leaf.writable if leaf else node.table and node.writable

        found = [] if next_level else [(place.path, self._may_change(place))]
        below = (self._below if next_level else self._walk)(place.path, place.node, inside=place.inside)
        return found + [(name, may(node, leaf)) for name, node, leaf, _ in below]

    @staticmethod
    def _may_change(place: _Place) -> bool:
        return place.node.table and place.node.writable

    def parameters(self, path: str = "") -> list[str]:
        """The full names of the parameters that a path covers.

        Raises:
            CwmpFault: 9005 there is no such path.
        """
        return [name for name, _ in self._leaves(path)]

    def _leaves(self, path: str) -> list[tuple[str, Leaf]]:
        place = self._at(path)
        if place.leaf is not None:
            return [(path, place.leaf)]
        walked = self._walk(place.path, place.node, inside=place.inside)
        return [(name, leaf) for name, _, leaf, _ in walked if leaf is not None]

    # --- values -------------------------------------------------------------------------------------------------------

    def get(self, name: str) -> str:
        """A parameter's value as the CPE itself knows it, a secret too.

        Raises:
            CpeModelError: there is none of that name.
        """
        place = self._find(name)
        if place is None or place.leaf is None:
            raise CpeModelError(f"expected a parameter of this CPE, got {name!r}")
        return self._value(name, place.leaf)

    def _value(self, name: str, leaf: Leaf) -> str:
        if leaf.count:
            return str(len(self.instances(f"{name.rpartition('.')[0]}.{leaf.count}.")))
        if "up-time" in leaf.words:
            return str(max(0, int(self.now() - self.booted_at)))
        if "now" in leaf.words:
            return f"{datetime.fromtimestamp(self.now(), UTC):%Y-%m-%dT%H:%M:%SZ}"
        for layer in (self._values, self._factory, self.model.values):
            value = layer.get(name)
            if value is not None:
                return value
        return leaf.value

    def show(self, path: str) -> list[tuple[str, str, str]]:
        """The answer of GetParameterValues for a path: name, XML Schema type, value. Secrets are empty.

        Raises:
            CwmpFault: 9005 there is no such path.
        """
        return [(name, leaf.xsd, self._shown(name, leaf)) for name, leaf in self._leaves(path)]

    def _shown(self, name: str, leaf: Leaf) -> str:
        if leaf.secret:
            return ""
        value = self._value(name, leaf)
        return self.truth[value == "0"] if leaf.kind == "boolean" else value

    def check(self, name: str, kind: str, value: str) -> int:
        """The fault that setting a parameter would be: 9005, 9008, 9006, 9007, or 0. `kind`: the type sent, or ""."""
        leaf = self.leaf(name)
        if leaf is None:
            return 9005
        if not leaf.writable:
            return 9008
        if kind and kind != leaf.xsd:
            return 9006
        return 9007 if canonical(leaf.kind, value, leaf.low, leaf.high, leaf.choices) is None else 0

    def write(self, name: str, value: str) -> None:
        """Set a parameter as an ACS does: nothing is noticed. A value that `check` refuses is not written."""
        leaf = self.leaf(name)
        if leaf is None:
            return
        kept = canonical(leaf.kind, value, leaf.low, leaf.high, leaf.choices)
        if kept is not None:
            self._values[name] = kept

    def put(self, name: str, value: str) -> None:
        """Set a parameter as the CPE itself does, read-only ones too; a change is noticed.

        Raises:
            CpeModelError: there is none of that name, or it cannot have that value.
        """
        leaf = self.leaf(name)
        kept = None if leaf is None else canonical(leaf.kind, value, leaf.low, leaf.high, leaf.choices)
        if leaf is None or kept is None:
            raise CpeModelError(f"expected a parameter of this CPE and a value of its type, got {name!r}")
        before = self._value(name, leaf)
        self._values[name] = kept
        if kept != before and self.attributes(name).notification:
            self.noticed[name] = None

    # --- instances ----------------------------------------------------------------------------------------------------

    def add(self, table: str) -> int:
        """Add an instance as an ACS does, and return its number, which none had before.

        Raises:
            CwmpFault: 9005 there is no such table, or the ACS may add none.
        """
        place = self._find(table)
        if place is None or place.inside or not place.node.writable:
            raise CwmpFault(9005)
        return self.plug(table)

    def delete(self, path: str) -> None:
        """Delete an instance and everything below it, as an ACS does.

        Raises:
            CwmpFault: 9005 there is no such instance, or the ACS may delete none.
        """
        place = self._find(path)
        is_instance = path.rstrip(".").rpartition(".")[2].isdecimal()
        if place is None or place.leaf is not None or not is_instance or not place.node.writable:
            raise CwmpFault(9005)
        self.unplug(path)

    def plug(self, table: str, values: Mapping[str, str] = _NOTHING) -> int:
        """Add an instance as the CPE itself does, in a read-only table too. `values`: by name within the instance.

        Raises:
            CpeModelError: there is no such table, or a value that it cannot have.
        """
        place = self._find(table)
        if place is None or place.inside:
            raise CpeModelError(f"expected a table of this CPE, got {table!r}")
        there = self.instances(table)
        number = max(self._last.get(table, 0), *there, 0) + 1
        self._last[table] = number
        self._instances[table] = (*there, number)
        for name, value in values.items():
            self.put(f"{table}{number}.{name}", value)
        return number

    def unplug(self, path: str) -> None:
        """Take an instance away as the CPE itself does."""
        table, _, number = path.rstrip(".").rpartition(".")
        table += "."
        there = self.instances(table)
        self._last[table] = max(self._last.get(table, 0), *there, 0)
        self._instances[table] = tuple(n for n in there if str(n) != number)
        for kept in (self._values, self._attributes, self._instances, self._last, self.noticed):
            for name in [name for name in kept if name.startswith(path)]:
                del kept[name]

    # --- attributes ---------------------------------------------------------------------------------------------------

    def attributes(self, name: str) -> Attributes:
        """A parameter's attributes."""
        own = self._attributes.get(name)
        if own is not None:
            return own
        leaf = self.leaf(name)
        return _default(leaf) if leaf else Attributes()

    def may_notify(self, name: str, notification: int) -> bool:
        """Tell whether a parameter can have that notification (fault 9009 when not)."""
        leaf = self.leaf(name)
        return leaf is not None and not ("volatile" in leaf.words and notification == ACTIVE)

    def set_attributes(self, name: str, notification: int | None, access: tuple[str, ...] | None) -> None:
        """Change attributes that are not None; notification that the model forces stays."""
        before, leaf = self.attributes(name), self.leaf(name)
        forced = leaf is not None and "told" in leaf.words
        level = before.notification if notification is None or forced else notification
        self._attributes[name] = Attributes(level, before.access if access is None else access)

    def informed(self) -> list[str]:
        """The parameters that every Inform carries."""
        return [name for name in self.model.informed if self.leaf(name) is not None]
