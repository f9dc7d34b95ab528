"""The form of a FreeRADIUS SQL authority and its NAS: the access mapping's types, tables, field classes.

Source of the tables: the schemas shipped with FreeRADIUS 3.2 for PostgreSQL, MariaDB and SQLite, and daloRADIUS, which
uses the same tables and keeps people in others.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from agent.connectors.base import GARDEN_MOST


class Database(enum.Enum):
    """The database server's kind. SQLITE is for the lab only: FreeRADIUS rejects logins while it is locked."""

    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"
    SQLITE = "sqlite"


class SessionKind(enum.Enum):
    """The kind of a subscriber's session on its router."""

    PPP = "ppp"
    HOTSPOT = "hotspot"


class TableSet(enum.Enum):
    """The owner of the tables: the stock schema or daloRADIUS."""

    STOCK = "stock"
    DALORADIUS = "daloradius"


@dataclass(frozen=True, slots=True)
class SqlTarget:
    """`[radius.NAME]`: the database that FreeRADIUS reads. `secret` names the password in the vault, never holds it."""

    name: str
    database: Database
    host: str = "127.0.0.1"
    port: int = 0
    dbname: str = "radius"
    user: str = "radius"
    secret: str = ""
    path: str = ""
    tables: TableSet = TableSet.STOCK
    marker_group: str = "suspended"
    marker_priority: int = -1
    timeout_s: float = 5.0
    silent_h: int = 24

    @property
    def id(self) -> str:
        """The target's id, `radius/NAME`, and the prefix of its addresses."""
        return f"radius/{self.name}"


@dataclass(frozen=True, slots=True)
class Nas:
    """`[nas.NAME]`: a router that holds sessions.

    `accounting` is the address in radacct.nasipaddress; `dynauth_host:dynauth_port` where CoA and Disconnect go (they
    differ behind NAT). `profile` names the attribute profile (profiles/NAME.toml). `source` is our sending address.
    `router` names the `[routeros.NAME]` that it is; empty: its API is not used. `by_user_name`: whether its answer to a
    Disconnect-Request with a User-Name alone says something: some answer 503 though the login is online.
    """

    name: str
    accounting: str
    dynauth_host: str
    dynauth_port: int
    secret: str
    profile: str = "mikrotik"
    source: str = ""
    router: str = ""
    by_user_name: bool = True

    @property
    def router_target(self) -> str:
        """The id of the target that its API is; empty: none."""
        return f"routeros/{self.router}" if self.router else ""


@dataclass(frozen=True, slots=True)
class Method:
    """`[method.NAME]`: the meaning of a service state for one access method.

    `suspended_reply`: the attributes that their router must get while suspended. `active_reply`: the attributes that it
    must get while active, beside the tariff's group. `tariffs`: tariff -> RADIUS group. `garden4/6`: the walled
    garden's prefixes, from which an address proves the suspended policy. `disconnect_within_s`: how long a disconnect
    may take to show; `redial_within_s`: how long to wait for a new session before saying "at next login". `coa`:
    attributes that a CoA may change while a session goes on. `sessions`: which kind they are on a router. `nas`: names
    of the NAS on which its logins may be; empty: all. `garden_most`: how many public addresses a garden may hold on a
    router.
    """

    name: str
    target: str
    suspended_reply: Mapping[str, str]
    tariffs: Mapping[str, str]
    active_reply: Mapping[str, str] = field(default_factory=dict)
    garden4: tuple[IPv4Network, ...] = ()
    garden6: tuple[IPv6Network, ...] = ()
    disconnect_within_s: int = 20
    redial_within_s: int = 60
    coa: tuple[str, ...] = ()
    sessions: SessionKind = SessionKind.PPP
    nas: tuple[str, ...] = ()
    garden_most: int = GARDEN_MOST


ASKED_MAX = 32
"""NAS that are asked about one login; the others count as not asked. Chosen arbitrarily."""


@dataclass(frozen=True, slots=True)
class NasPlaces:
    """The NAS, by name, that could hold a session of an access method which accounting does not know.

    `asked`: by a Disconnect-Request with the User-Name alone. `not_asked`: nobody can, or there are too many. `read`:
    whether there are others, with own lists of sessions that are read.
    """

    asked: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()
    read: bool = False


NO_PLACES = NasPlaces()


def places_of(method: Method, nas: Iterable[Nas], read: Collection[str]) -> NasPlaces:
    """Return the NAS that could hold a session of an access method, but for those with own sessions that are read.

    Args:
        method: the access method.
        nas: all that are configured.
        read: accounting addresses of those with a list of sessions that is read.
    """
    could = [one for one in nas if (not method.nas or one.name in method.nas) and one.accounting not in read]
    asked = [one.name for one in could if one.by_user_name][:ASKED_MAX]
    not_asked = tuple(one.name for one in could if one.name not in asked)
    return NasPlaces(tuple(asked), not_asked, read=bool(read))


@dataclass(frozen=True, slots=True)
class RadiusConfig:
    """Everything that the radius connector is configured with."""

    targets: tuple[SqlTarget, ...]
    nas: tuple[Nas, ...]
    methods: tuple[Method, ...]


SECRET_CHECKS = frozenset(
    {
        "Cleartext-Password",
        "User-Password",
        "Password-With-Header",
        "Crypt-Password",
        "MD5-Password",
        "SMD5-Password",
        "SHA-Password",
        "SSHA-Password",
        "SHA1-Password",
        "SSHA1-Password",
        "SHA2-Password",
        "SSHA2-256-Password",
        "SSHA2-512-Password",
        "NT-Password",
        "LM-Password",
        "Tunnel-Password",
        "PBKDF2-Password",
        "CHAP-Password",
        "TOTP-Secret",
        "Mikrotik-Wireless-PSK",
    }
)
"""Attributes with secrets as values: read as a `SecretRef`, never printed, logged or planned."""
