"""What the ACS is configured with: section `[cwmp]`. Secrets stand in the vault, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PASSWORD: Final = "{password}"
"""Stands in a baseline for the password of the login of the service that a CPE serves."""
_SECRET: Final = re.compile(r"\{secret:([a-z0-9][a-z0-9._/-]{0,63})\}", re.ASCII)


def secret_named(text: str) -> str | None:
    """Return the name of the agent's secret for which a text stands in a baseline, `{secret:NAME}`; None: for none."""
    found = _SECRET.fullmatch(text)
    return None if found is None else found[1]


def is_misplaced(name: str, text: str) -> bool:
    """Tell whether a secret is named in a text that is more than that (it would be seen in a preview), or for a row."""
    if PASSWORD not in text and "{secret" not in text:
        return False
    return name[:1] in ("+", "-") or (text != PASSWORD and secret_named(text) is None)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What CPE of a kind are to have when they are new, or were reset. `values`: name or path -> text.

    `oui`: of them, empty: any; `product_class`: what theirs begins with. `rotate`: each gets credentials of its own.
    """

    name: str
    oui: tuple[str, ...]
    product_class: str
    rotate: bool
    values: Mapping[str, str]

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the agent's secrets that it uses."""
        return frozenset(named for text in self.values.values() if (named := secret_named(text)) is not None)

    def is_for(self, oui: str, product_class: str) -> bool:
        """Return whether it is for a CPE."""
        return (not self.oui or oui in self.oui) and product_class.startswith(self.product_class)


@dataclass(frozen=True, slots=True)
class CwmpConfig:
    """The ACS. `listen` "": there is none.

    `listen`, `port`: where it listens. `url`: how CPE reach it, without a path; "": where it listens. `path`: of CPE's
    posts. `certificate`, `key`: files in PEM; None: no TLS. `client_ca`: of whom a CPE's certificate must be; None:
    none is asked for. `user`, `secret`: what CPE prove themselves with that have no password of their own yet; "": they
    cannot call in, but by a certificate with their name. `request_user`, `request_secret`: what connection requests
    need to CPE that have no credentials of their own for it yet; "": they cannot be called. `basic`: whether Basic is
    taken where the connection is in clear. `request_networks`: where a connection request may go besides to where the
    CPE called from. `files`: folder of firmware images; None: none. `sessions`: at once, more are told to come again.
    `wait_s`: how long a change waits for its CPE. `trust_shared`: whether a CPE that was reset, and comes with what
    many share, is acted on before a person accepts it again. `baselines`: what new CPE get, the first that is for one.
    """

    listen: str = ""
    port: int = 7547
    url: str = ""
    path: str = "/acs"
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    user: str = ""
    secret: str = ""
    basic: bool = False
    request_user: str = ""
    request_secret: str = ""
    trust_shared: bool = False
    request_networks: tuple[IPv4Network | IPv6Network, ...] = field(default=())
    stun_port: int = 0
    files: Path | None = None
    sessions: int = 200
    wait_s: int = 7 * 86_400
    baselines: tuple[Baseline, ...] = ()

    @property
    def enabled(self) -> bool:
        """Whether there is an ACS."""
        return bool(self.listen)

    @property
    def stun(self) -> tuple[str, int] | None:
        """Where the STUN server is, as CPE see it: where the ACS is, at its own port; None: there is none."""
        if not self.stun_port:
            return None
        return (urlsplit(self.url).hostname or self.listen) if self.url else self.listen, self.stun_port

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.certificate is not None
