"""The keys that all billing sources have in the configuration file, and their meanings.

A connector adds them to its own keys with `source_keys`, and takes them out of the section with `terms_of`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final

from agent.config_schema import (
    REQUIRED,
    SECRET,
    SECRET_OR_EMPTY,
    SECRET_OR_NONE,
    TIME_ZONE,
    YES_NO,
    Key,
    Kind,
    networks,
    or_empty,
    whole,
)

RESERVED: Final[Mapping[str, str]] = {
    "file": "`file` is the source of [billing] file",
    "import": "`import` is the source of what was imported by hand",
}
"""Names that no configured source may have, and why."""
_FROM: Final = Kind("a list of IP prefixes without host bits, such as 192.0.2.0/24 or 2001:db8::1", networks)


class OwnRule(enum.Enum):
    """A rule of the billing system itself, which the operator may override by its name."""

    GRACE = "grace"
    """Its own delay for an account: the later of it and `grace_days` counts."""
    MINIMUM = "minimum"
    """Its own least sum: the larger of it and `minimum` counts."""
    EXEMPT = "exempt"
    """An account that is never to be suspended."""
    HOLD = "hold"
    """A promise to pay, or a postponement."""


@dataclass(frozen=True, slots=True)
class HookTerms:
    """How a source's system calls the agent.

    `secret`, `secret_before`: names in the vault; the second is the one that is being replaced; "": none.
    `senders`: networks that may call; empty: all.
    """

    secret: str
    secret_before: str
    senders: tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class SourceTerms:
    """The configuration values that all billing sources have.

    `target`: its target's id, `KIND/NAME`. `every_s`: seconds between full readings; 0: it tells no accounts.
    `payments_every_s`: seconds between readings of payments; 0: it tells none. `max_age_s`: older accounts are stale.
    `zone`: of its days; None: the operator's. `secret`: the name of its credential in the vault, "": it has none.
    `hook`: None: its system does not call.
    """

    target: str
    every_s: int
    payments_every_s: int
    max_age_s: int
    zone: tzinfo | None
    secret: str
    hook: HookTerms | None

    @property
    def name(self) -> str:
        """The SOURCE of its facts: `main` in `billing/main/SUBSCRIBER`."""
        return self.target.partition("/")[2]

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the secrets that it uses."""
        of_hook = {self.hook.secret, self.hook.secret_before} if self.hook else set()
        return frozenset({self.secret} | of_hook) - {""}


def source_keys(
    section: str,
    *,
    secret: str,
    open_too: bool = False,
    accounts: bool = False,
    payments: bool = False,
    hook: str = "",
    hook_secret: str = "",
) -> tuple[Key, ...]:
    """Return the keys of one connector's sources.

    Args:
        section: `KIND.NAME`.
        secret: the kind of the credential, for people, such as "API key".
        open_too: whether there are such systems that want no credential.
        accounts: whether it tells accounts.
        payments: whether it tells payments.
        hook: how its calls are known to be its own, a sentence for people; "": its system never calls.
        hook_secret: the kind of the secret that signs its calls, for people; "": none of their own.
    """
    none = '; `""`: none is asked for' if open_too else ""
    doc = f"The name of the {secret} in the vault (`ispagent secret set`){none}."
    keys = [
        Key(section, "secret", SECRET_OR_NONE if open_too else SECRET, REQUIRED, doc),
        Key(section, "timezone", Kind(f"{TIME_ZONE.expected}, or empty", or_empty(TIME_ZONE.read)), "", _ZONE_DOC),
    ]
    if accounts:
        keys += [
            Key(section, "every_s", whole(30, 86_400), 900, "How often all accounts are read, seconds."),
            Key(section, "max_age_s", whole(60, 604_800), 7200, "Accounts that were read longer ago are stale."),
        ]
    if payments:
        doc = "How often new payments are read, seconds."
        keys.append(Key(section, "payments_every_s", whole(5, 86_400), 60, doc))
    if hook:
        doc = f"Whether its system calls the agent at `[hooks] listen` when something changed. {hook}"
        keys += [
            Key(section, "hook", YES_NO, False, doc),
            Key(section, "hook_from", _FROM, [], "The networks that may call; empty: all."),
        ]
    if hook_secret:
        doc = "The name of the secret that is being replaced, for as long as calls signed with it may come."
        keys += [
            Key(section, "hook_secret", SECRET_OR_EMPTY, "", f"The name of the {hook_secret} in the vault."),
            Key(section, "hook_secret_before", SECRET_OR_EMPTY, "", doc),
        ]
    return tuple(keys)


_ZONE_DOC: Final = "The time zone in which it counts days and writes times that have none; empty: `[agent] timezone`."
_NAMES: Final = ("secret", "timezone", "every_s", "max_age_s", "payments_every_s", "hook", "hook_from")


def terms_of(target: str, values: dict[str, Any]) -> SourceTerms:
    """Take the common values out of a section that was read without a problem, and return them.

    Args:
        target: its target's id.
        values: of `ConfigReader.section`; only the connector's own stay.
    """
    common = {name: values.pop(name, None) for name in _NAMES}
    secrets = values.pop("hook_secret", ""), values.pop("hook_secret_before", "")
    return SourceTerms(
        target,
        common["every_s"] or 0,
        common["payments_every_s"] or 0,
        common["max_age_s"] or 0,
        common["timezone"] or None,
        common["secret"] or "",
        HookTerms(*secrets, common["hook_from"]) if common["hook"] else None,
    )
