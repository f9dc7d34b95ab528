"""The addresses of a router's resources, and the values of its sessions.

Under a target's id (`routeros/edge-1`):

* `ppp/secret/NAME`, `ppp/profile/NAME`: a row's properties, as `menus` reads them; passwords are commitments. Where
  several rows have the name, the field `COPIES` says how many: that value is good for nothing but refusing.
* `ppp/active/NAME`: the open sessions of a name, session-id -> ("address=...", "caller-id=...", ...).
* `ppp/session/ID`: one open session's fields; ABSENT once it is gone.
* `ppp/began/NAME`: when each of them began, session-id -> unix seconds. Apart, since it is known to a second at best.
* `ip/listed/ADDRESS`: the firewall's address lists that hold this very address, list -> `dynamic` or `static`.
* `ip/filter/all`: the firewall's filter rules in their order, number -> ("chain=...", "action=...", ...).
* `online/all`: everybody with an open session, name -> how many.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Final

from agent.model import ABSENT, Absent, Address, Value

COPIES: Final = "copies"
ALL: Final = "all"


class Resource(enum.Enum):
    """What an address names, by the words after the target's id."""

    SECRET = "ppp/secret"  # a menu
    PROFILE = "ppp/profile"
    ACTIVE = "ppp/active"
    SESSION = "ppp/session"
    BEGAN = "ppp/began"
    LISTED = "ip/listed"
    FILTER = "ip/filter"
    ONLINE = "online"


def address(target: str, resource: Resource, key: str) -> Address:
    """Return `TARGET/RESOURCE/KEY`; the key is the router's own text and may hold slashes."""
    return Address(f"{target}/{resource.value}/{key}")


def parse(target: str, text: str) -> tuple[Resource, str] | None:
    """Return resource and key of an address of `target`, None when it is not one."""
    for resource in Resource:
        prefix = f"{target}/{resource.value}/"
        if text.startswith(prefix) and len(text) > len(prefix):
            return resource, text.removeprefix(prefix)
    return None


def rows_value(rows: Iterable[tuple[str, Mapping[str, str]]]) -> Value:
    """Return the value of several rows: key -> its properties as `name=text`; ABSENT when there is none."""
    return {key: tuple(f"{name}={text}" for name, text in row.items()) for key, row in rows} or ABSENT


def rows_of(value: Value) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of such a value, by key, in their order."""
    if isinstance(value, Absent):
        return {}
    found: dict[str, Mapping[str, str]] = {}
    for key, texts in value.items():
        pairs = (text.partition("=") for text in texts) if isinstance(texts, tuple) else ()
        found[key] = {name: text for name, _, text in pairs}
    return found


def texts_of(value: Value) -> Mapping[str, str]:
    """Return a value's fields that are plain text; none when it is ABSENT."""
    return {} if isinstance(value, Absent) else {k: v for k, v in value.items() if isinstance(v, str)}
