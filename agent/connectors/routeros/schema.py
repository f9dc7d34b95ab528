"""The configuration of a RouterOS target, and the meaning of a service state on it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.connectors.base import GARDEN_MOST


class Use(enum.StrEnum):
    """The use of a user of the router. A connection belongs to one user, and is used for nothing else."""

    READ = "read"
    """Previews, read-back, health."""
    SERVICE = "service"
    """Service changes, and the look just before one."""
    CONFIG = "config"
    """Changes of the router's own configuration (`device prepare`)."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A user that logs in. `secret` names the password in the vault."""

    use: Use
    user: str
    secret: str


@dataclass(frozen=True, slots=True)
class RouterTarget:
    """`[routeros.NAME]`: a router's API. `secret` names a password in the vault, never holds it.

    `fingerprint`: SHA-256 of the certificate, 32 bytes, empty only where `insecure` says that the API is without TLS.
    `serial`: the router's serial number (or software id, or a CHR's system id); another router is refused. Empty: any.
    `read_user`, `config_user`: users of their own for these; empty: there is none. `cpu_limit`: percent, 0: no limit.
    `wait_for_safe_mode`: no change begins while a colleague's safe mode is open.
    """

    name: str
    host: str
    port: int
    user: str
    secret: str
    fingerprint: bytes = b""
    insecure: bool = False
    serial: str = ""
    timeout_s: float = 10.0
    read_user: str = ""
    read_secret: str = ""
    config_user: str = ""
    config_secret: str = ""
    cpu_limit: int = 80
    wait_for_safe_mode: bool = True

    @property
    def id(self) -> str:
        """The target's id, `routeros/NAME`, and the prefix of its addresses."""
        return f"routeros/{self.name}"

    @property
    def identity(self) -> bytes:
        """Which router it must be: the certificate's SHA-256 (if one is pinned), then the serial number; or empty."""
        return self.fingerprint + self.serial.encode()

    @property
    def credentials(self) -> Mapping[Use, Credential]:
        """The user for each use. Without a user of its own, reading is done by the service's user."""
        found = {Use.SERVICE: Credential(Use.SERVICE, self.user, self.secret)}
        if self.read_user:
            found[Use.READ] = Credential(Use.READ, self.read_user, self.read_secret)
        if self.config_user:
            found[Use.CONFIG] = Credential(Use.CONFIG, self.config_user, self.config_secret)
        return found

    @property
    def secrets(self) -> frozenset[str]:
        """The names of its passwords in the vault."""
        return frozenset(c.secret for c in self.credentials.values())


@dataclass(frozen=True, slots=True)
class PppMethod:
    """`[ppp.NAME]`: subscribers are PPP secrets, a login is a secret's name, and a service state is its profile.

    `tariffs`: tariff -> PPP profile. `suspended_profile`: the profile of a suspended subscriber; its address lists keep
    them in, and prove it. The two times are as for RADIUS. All methods have: `also_on`, other routers that have secrets
    of the same subscribers; `only_these_routers`, that no other router serves them; `garden_most`, how many public
    addresses a garden may hold.
    """

    name: str
    target: str
    suspended_profile: str
    tariffs: Mapping[str, str]
    disconnect_within_s: int = 20
    redial_within_s: int = 60
    also_on: tuple[str, ...] = ()
    only_these_routers: bool = False
    garden_most: int = GARDEN_MOST


@dataclass(frozen=True, slots=True)
class StaticMethod:
    """`[static.NAME]`: subscribers have fixed addresses; a login is their addresses and prefixes, comma separated.

    `tariffs`: tariff -> `max-limit` of their simple queue (upload/download), "" where the router does not shape it.
    Suspended is an entry of each address in the list `suspended_list`; or, where `suspended_limit` is given instead,
    that `max-limit` of the queue. `cut_within_s`: how long open connections may take to be gone.
    """

    name: str
    target: str
    tariffs: Mapping[str, str]
    suspended_list: str = ""
    suspended_limit: str = ""
    cut_within_s: int = 20
    also_on: tuple[str, ...] = ()
    only_these_routers: bool = False
    garden_most: int = GARDEN_MOST


@dataclass(frozen=True, slots=True)
class DhcpMethod:
    """`[dhcp.NAME]`: subscribers have a static DHCP lease; a login is its MAC address.

    `tariffs`: tariff -> the lease's `rate-limit`, "" where the lease has none. Suspended is `suspended_list` among the
    lease's address lists; or, where that is empty, `block-access`. `renew_within_s`: how long to wait until a write is
    in effect.
    """

    name: str
    target: str
    tariffs: Mapping[str, str]
    suspended_list: str = ""
    cut_within_s: int = 20
    renew_within_s: int = 60
    also_on: tuple[str, ...] = ()
    only_these_routers: bool = False
    garden_most: int = GARDEN_MOST


@dataclass(frozen=True, slots=True)
class HotspotMethod:
    """`[hotspot.NAME]`: subscribers are users of the hotspot; a login is a user's name.

    `tariffs`: tariff -> user profile. `suspended_profile`: that of a suspended user, with an address list that keeps
    them in; "": the user is disabled. The two times are as for RADIUS.
    """

    name: str
    target: str
    tariffs: Mapping[str, str]
    suspended_profile: str = ""
    disconnect_within_s: int = 20
    redial_within_s: int = 60
    also_on: tuple[str, ...] = ()
    only_these_routers: bool = False
    garden_most: int = GARDEN_MOST


RouterMethod = PppMethod | StaticMethod | DhcpMethod | HotspotMethod


@dataclass(frozen=True, slots=True)
class RouterosConfig:
    """Everything that the RouterOS connector is configured with."""

    targets: tuple[RouterTarget, ...] = field(default=())
    methods: tuple[RouterMethod, ...] = field(default=())
