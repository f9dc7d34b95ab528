"""The configuration of the ACS: section `[cwmp]`. Secrets stand in the vault, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from urllib.parse import urlsplit

from agent.cpe_model.baseline import Baseline
from agent.cpe_model.manager import CpeTerms
from agent.cpe_model.profiles import ProfileBook


@dataclass(frozen=True, slots=True)
class CwmpConfig:
    """The ACS. `listen` "": there is none.

    `listen`, `port`: where it listens. `url`: how CPE reach it, without a path; "": where it listens. `path`: of CPE's
    posts. `certificate`, `key`: files in PEM; None: no TLS. `client_ca`: the authority that must have issued a CPE's
    certificate; None: none is asked for. `user`, `secret`: the credentials of CPE that have no password of their own
    yet; "": they cannot call in, but by a certificate with their name. `request_user`, `request_secret`: the
    credentials of connection requests to CPE that have none of their own yet; "": they cannot be called. `basic`:
    whether Basic is taken where the connection is in clear. `request_networks`: where a connection request may go
    besides to where the CPE called from. `files`: folder of firmware images; None: none. `sessions`: at once, more are
    told to come again. `wait_s`: how long a change waits for its CPE. `trust_shared`: whether a CPE that was reset, and
    comes with shared credentials, is acted on before a person accepts it again. `baselines`: the settings of new CPE,
    the first that is for one. `history_s`: how often a CPE that calls in is read for the history of a few parameters,
    seconds; 0: never for that. `profiles`: those in force, shipped and own; `own_profiles`: the folder of the
    operator's own, None: there is none.
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
    own_profiles: Path | None = None
    history_s: int = 0
    profiles: ProfileBook = field(default_factory=ProfileBook, compare=False)

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
    def terms(self) -> CpeTerms:
        """The settings for changes on CPE."""
        return CpeTerms(self.wait_s, self.baselines, self.stun, self.profiles)

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.certificate is not None
