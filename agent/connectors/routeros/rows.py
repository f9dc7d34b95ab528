"""Rows of menus by their natural key: how one is found and read, and the words that make it as a plan wants it. Pure.

A step changes one row: properties of one that is there, a new one, or one less. The differing properties are written,
each one that the release lets anybody write; the row as a whole is compared before, and read back after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.routeros.addresses import COPIES, RouterResource, entry_key
from agent.connectors.routeros.menus import Menu, MenuRole, UnwritableError
from agent.connectors.routeros.values import RouterKind, normalize
from agent.model import Absent, Address, Field, SecretRef, Transition, Value

Row = Mapping[str, str]
Commit = Callable[[str, str], str]

_COMMENT: Final = "comment"


@dataclass(frozen=True, slots=True)
class KeptMenu:
    """A menu with a key for its rows: a router is asked by the property `query`; `verbs` are our commands on a row.

    `key_of` gives a row's key; `queried` the value of `query` for a key. Whoever a subscriber is (a secret, a lease, a
    hotspot's user) is never made nor taken away.
    """

    path: str
    query: str = "name"
    key_of: Callable[[Row], str] = lambda row: row.get("name", "")
    queried: Callable[[str], str] = lambda key: key
    verbs: frozenset[str] = frozenset({"set"})


def _mac(row: Row) -> str:
    return normalize(RouterKind.MAC, row.get("mac-address", ""))


def _entry(row: Row) -> str:
    return entry_key(row.get("address", ""), row.get("list", ""))


def _list_of(key: str) -> str:
    return key.partition(" ")[2]


_NONE: Final[frozenset[str]] = frozenset()
_ALL: Final = frozenset({"add", "set", "remove"})

KEPT: Final[Mapping[RouterResource, KeptMenu]] = {
    RouterResource.SECRET: KeptMenu("/ppp/secret"),
    RouterResource.PROFILE: KeptMenu("/ppp/profile", verbs=_ALL),
    RouterResource.QUEUE: KeptMenu("/queue/simple"),
    RouterResource.LEASE: KeptMenu("/ip/dhcp-server/lease", "mac-address", _mac),
    RouterResource.HOTSPOT_USER: KeptMenu("/ip/hotspot/user"),
    RouterResource.HOTSPOT_PROFILE: KeptMenu("/ip/hotspot/user/profile", verbs=_NONE),
    RouterResource.LIST: KeptMenu("/ip/firewall/address-list", "list", _entry, _list_of, _ALL),
    RouterResource.LIST6: KeptMenu("/ipv6/firewall/address-list", "list", _entry, _list_of, _ALL),
}


def by_key(kept: KeptMenu, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows by their key."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(kept.key_of(row), []).append(row)
    return found


def value_of(menu: Menu, where: Address, rows: Sequence[Row], commit: Commit) -> Value:
    """Return the value of one key's rows: the row's properties, or how many there are.

    Args:
        menu: the menu as the router's release has it.
        where: the row's address; the label of a commitment starts with it.
        rows: at least one.
        commit: keyed commitment of a secret.
    """
    if len(rows) > 1:
        return {COPIES: str(len(rows))}
    value: dict[str, Field] = dict(menu.readable(rows[0]))
    for name in menu.secrets & value.keys():
        value[name] = SecretRef(commit(f"{where} {name}", str(value[name])))
    return value


def verb_of(transition: Transition) -> str:
    """Return the verb for the row: `set`, `add`, `remove`; `set` too where it is to stay away."""
    gone, new = isinstance(transition.after, Absent), isinstance(transition.before.value, Absent)
    return "set" if gone is new else "remove" if gone else "add"


def words_of(menu: Menu, transition: Transition) -> list[str]:
    """Return the words that make *before* into *after*: the properties that differ.

    Raises:
        UnwritableError: a property cannot be written, is no plain text, or nothing differs.
    """
    before, after = transition.before.value, transition.after
    if isinstance(after, Absent):
        if isinstance(before, Absent):
            raise UnwritableError(f"{menu.path}: nothing to write")
        return []
    if isinstance(before, Absent):
        return [_changed(menu, name, text) for name, text in after.items() if _to_add(menu, name, text)]
    words = [_changed(menu, name, text) for name, text in after.items() if before.get(name) != text]
    words += [_unset(menu, name) for name in before if name not in after]
    if not words:
        raise UnwritableError(f"{menu.path}: nothing to write")
    return words


def _to_add(menu: Menu, name: str, text: Field) -> bool:
    """Tell whether a new row's property must be sent: not one that the router sets by itself."""
    known = menu.properties.get(name)
    return known is None or (known.role is not MenuRole.READ_ONLY and text != known.default)


def _changed(menu: Menu, name: str, text: Field) -> str:
    known = menu.writable(name)
    if not isinstance(text, str) or known.role is not MenuRole.PLAIN:
        raise UnwritableError(f"{menu.path}: {name} is no plain text")
    return f"={name}={text}"


def _unset(menu: Menu, name: str) -> str:
    known = menu.writable(name)
    if name == _COMMENT:
        return f"={name}="
    if not known.can_unset:
        raise UnwritableError(f"{menu.path}: {name} cannot be taken away")
    return f"=!{name}="
