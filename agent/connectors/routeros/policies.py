"""The rights of our users on a router, against their needs: too few are refused before a write, too many are told.

Pure. Source: RouterOS manual, "User", which has the policies by name:

* `read`: every command that changes nothing. `write`: every setting of the router but its users; it does not bring
  `read`. RouterOS has no narrower policy: a user that may change a PPP secret may change a route.
* `api`: to log in here. `rest-api`, `ftp`, `ssh`, `telnet`, `winbox`, `web`, `local`, `romon`, `dude`, `tikapp`: other
  ways in.
* `policy`: to change users and groups. A user with it can give itself any other policy, so ours have it not, that of
  configuration changes neither: nothing that we would configure is a user.
* `test`: ping, traceroute and the like. A configuration change will ping from the router to see that it is still
  reached, so its user may have it; it needs it not.
* `sensitive`: to see passwords. `password`: to change one's own. `reboot`, `sniff`: as their names say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.routeros.schema import Use
from agent.connectors.routeros.words import presentable

Rows = Sequence[Mapping[str, str]]

NEEDED: Final[Mapping[Use, frozenset[str]]] = {
    Use.READ: frozenset(("read", "api")),
    Use.SERVICE: frozenset(("read", "write", "api")),
    Use.CONFIG: frozenset(("read", "write", "api")),
}
"""The rights that each user needs."""

SENSITIVE: Final = "sensitive"
_ALSO: Final[Mapping[Use, frozenset[str]]] = {Use.CONFIG: frozenset(("test",))}
"""Other rights that a user may have without anybody being told."""


@dataclass(frozen=True, slots=True)
class Rights:
    """A user of ours on a router: `group`, and the policies that it has; None where the router does not say."""

    user: str
    group: str
    policies: frozenset[str] | None


def rights_of(user: str, users: Rows, groups: Rows, online: Rows) -> Rights:
    """Return the rights of a user.

    Args:
        user: its name.
        users: rows of /user. A user that RADIUS let in (/user/aaa) is not among them.
        groups: rows of /user/group.
        online: rows of /user/active, where its session stands, with its group.
    """
    named = [row["group"] for rows in (users, online) for row in rows if row.get("name") == user and row.get("group")]
    group = named[0] if named else ""
    held = next((row.get("policy") for row in groups if group and row.get("name") == group), None)
    if held is None:
        return Rights(user, presentable(group), None)
    return Rights(user, presentable(group), frozenset(p for p in held.split(",") if p and not p.startswith("!")))


def missing(use: Use, rights: Rights) -> tuple[str, ...]:
    """Return the policies that a user lacks for its use; none where its policies are not known."""
    return () if rights.policies is None else tuple(sorted(NEEDED[use] - rights.policies))


def superfluous(use: Use, rights: Rights) -> tuple[str, ...]:
    """Return the policies that a user has and does not need."""
    return tuple(sorted((rights.policies or frozenset()) - NEEDED[use] - _ALSO.get(use, frozenset())))


def see_alike(rights: Mapping[Use, Rights]) -> bool:
    """Tell whether the user for reads and the one for writes see alike, as far as is known.

    Without `sensitive` RouterOS shows no password. A row that one user reads with and another without it seems to have
    changed in between.
    """
    known = (rights[use].policies for use in (Use.READ, Use.SERVICE) if use in rights)
    return len({SENSITIVE in policies for policies in known if policies is not None}) < 2


def unlike_text(rights: Mapping[Use, Rights]) -> str:
    """Return the sentence about users that do not see alike, with the advice."""
    sees = next(r for r in rights.values() if r.policies is not None and SENSITIVE in r.policies)
    return f"user {sees.user} sees passwords and the other does not: take policy sensitive from group {sees.group}"


def missing_text(use: Use, rights: Rights) -> str:
    """Return the sentence about a user that lacks rights, with the advice."""
    lacks = ", ".join(missing(use, rights))
    return f"user {rights.user} (group {rights.group}) lacks policy {lacks}, which {_FOR[use]} needs"


_FOR: Final = {Use.READ: "reading", Use.SERVICE: "a service change", Use.CONFIG: "a configuration change"}
