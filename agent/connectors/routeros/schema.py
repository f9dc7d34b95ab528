"""What a RouterOS target is configured with, and what a service state means on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RouterTarget:
    """`[routeros.NAME]`: a router's API. `secret` names the password in the vault, never holds it.

    `fingerprint`: SHA-256 of the certificate, 32 bytes, empty only where `insecure` says that the API is without TLS.
    `serial`: the router's serial number (or software id, or a CHR's system id); another router is refused. Empty: any.
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

    @property
    def id(self) -> str:
        """The target's id, `routeros/NAME`, and the prefix of its addresses."""
        return f"routeros/{self.name}"


@dataclass(frozen=True, slots=True)
class PppMethod:
    """`[method.NAME]` whose target is a router: subscribers are PPP secrets, and a service state is their profile.

    `tariffs`: tariff -> PPP profile. `suspended_profile`: the profile of a suspended subscriber; its address lists
    are what keeps them in, and what proves it. The two times are as for RADIUS.
    """

    name: str
    target: str
    suspended_profile: str
    tariffs: Mapping[str, str]
    disconnect_within_s: int = 20
    redial_within_s: int = 60


@dataclass(frozen=True, slots=True)
class RouterosConfig:
    """Everything that the RouterOS connector is configured with."""

    targets: tuple[RouterTarget, ...] = field(default=())
    methods: tuple[PppMethod, ...] = field(default=())
