"""The text that a router's administrator pastes into its terminal so that the agent may work there, and the agent's
rights then.

Pure. Sources: RouterOS manual, "User" (groups and policies), "Services" (api-ssl), "Certificates". The needs of each
user are in `policies`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agent.connectors.routeros.policies import NEEDED
from agent.connectors.routeros.schema import Use

NAME: Final = "ispagents"
USERS: Final[Mapping[Use, str]] = {Use.READ: f"{NAME}-read", Use.SERVICE: NAME, Use.CONFIG: f"{NAME}-config"}
"""The names of our users and their groups."""
_ORDER: Final = ("read", "write", "api")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OnboardLine:
    """One line for the terminal: a menu, a command, its properties in order."""

    menu: str
    command: str
    properties: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return it as it is pasted. The values need no quoting: letters, digits and `-._/,:` only."""
        words = [f"{name}={value}" if name else value for name, value in self.properties]
        return " ".join([self.menu, self.command, *words])


def policies(use: Use) -> tuple[str, ...]:
    """Return the policies that a user gets: its needs, and nothing else."""
    return tuple(policy for policy in _ORDER if policy in NEEDED[use])


def service_lines(router: str, agent_address: str = "") -> tuple[OnboardLine, ...]:
    """Return the lines that make a certificate and switch api-ssl on.

    Args:
        router: its name in the configuration, 1 to 32 of a-z, 0-9 and -.
        agent_address: the only address or network from which api-ssl is reached then; empty: any.
    """
    certificate = (("name", NAME), ("common-name", router), ("key-size", "prime256v1"), ("days-valid", "3650"))
    service = (("", "api-ssl"), ("certificate", NAME), ("disabled", "no"), *_only_from(agent_address))
    return (
        OnboardLine("/certificate", "add", (*certificate, ("key-usage", "tls-server"))),
        OnboardLine("/certificate", "sign", (("", NAME),)),
        OnboardLine("/ip/service", "set", service),
    )


def user_lines(use: Use, password: str, agent_address: str = "") -> tuple[OnboardLine, ...]:
    """Return the lines that make one of our users, and its group.

    Args:
        use: of the user.
        password: 16 to 64 of A-Z, a-z, 0-9, _ and -.
        agent_address: the only address or network from which it may come; empty: any.

    Raises:
        ValueError: another password: it might act on the terminal that it is pasted into.
    """
    if not _PASSWORD.fullmatch(password):
        raise ValueError("expected a password of 16 to 64 letters, digits, _ and -")
    name = USERS[use]
    return (
        OnboardLine("/user/group", "add", (("name", name), ("policy", ",".join(policies(use))))),
        OnboardLine(
            "/user", "add", (("name", name), ("group", name), ("password", password), *_only_from(agent_address))
        ),
    )


def look_lines() -> tuple[OnboardLine, ...]:
    """Return the lines that print values for the configuration: the certificate's fingerprint, and the serial."""
    return (
        OnboardLine("/certificate", "print", (("", "detail"), ("", "where"), ("name", NAME))),
        OnboardLine("/system/license", "print", ()),
    )


def _only_from(address: str) -> tuple[tuple[str, str], ...]:
    return (("address", address),) if address else ()
