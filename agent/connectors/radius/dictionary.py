"""Our RADIUS dictionary, the profiles of NAS kinds that are shipped, and the names of Error-Cause values."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pyrad import dictionary as pyrad_dictionary

from agent.connectors.radius.errors import UnknownProfileError

if TYPE_CHECKING:
    from pyrad.dictionary import Dictionary

_HERE: Final = Path(__file__).parent

IDENTIFICATION: Final = frozenset(
    {
        "User-Name",
        "NAS-IP-Address",
        "NAS-Port",
        "Framed-IP-Address",
        "Called-Station-Id",
        "Calling-Station-Id",
        "NAS-Identifier",
        "Acct-Session-Id",
        "Acct-Multi-Session-Id",
        "NAS-Port-Id",
        "Chargeable-User-Identity",
        "NAS-IPv6-Address",
        "Framed-Interface-Id",
        "Framed-IPv6-Prefix",
    }
)
"""Attributes that identify a NAS or a session, the only ones a Disconnect-Request may carry (RFC 5176 section 3)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The wishes of a kind of NAS for a Dynamic Authorization request, and how patient to be with it.

    `identify`: the attributes that name the session, those with a value are sent. `timeout_s`: until the first
    retransmission; it doubles with each. `retries`: retransmissions after the first datagram.
    """

    name: str
    identify: tuple[str, ...]
    message_authenticator: bool
    event_timestamp: bool
    timeout_s: float
    retries: int


@functools.cache
def load() -> Dictionary:
    """Return our dictionary, read once from the file beside this module."""
    return pyrad_dictionary.Dictionary(str(_HERE / "dictionary.ispagents"))  # type: ignore[no-untyped-call]  # pyrad has no types


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that are shipped."""
    return tuple(sorted(path.stem for path in (_HERE / "profiles").glob("*.toml")))


@functools.cache
def profile(name: str) -> Profile:
    """Return the profile `profiles/NAME.toml`.

    Raises:
        UnknownProfileError: no such profile is shipped.
    """
    if name not in profile_names():
        raise UnknownProfileError(f"NAS profile: expected one of {', '.join(profile_names())}, got {name!r}")
    with (_HERE / "profiles" / f"{name}.toml").open("rb") as file:
        table = tomllib.load(file)
    return Profile(
        name=name,
        identify=tuple(table["identify"]),
        message_authenticator=table["message_authenticator"],
        event_timestamp=table["event_timestamp"],
        timeout_s=float(table["timeout_s"]),
        retries=table["retries"],
    )


def cause_name(cause: int | None) -> str:
    """Return the name of an Error-Cause value, its number where it has none, or the empty text for None."""
    if cause is None:
        return ""
    names = load().attributes["Error-Cause"].values
    packed = cause.to_bytes(4, "big")
    return str(names.GetBackward(packed)) if names.HasBackward(packed) else f"Error-Cause {cause}"
