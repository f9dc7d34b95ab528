"""What a router's administrator pastes into its terminal so that the agent may work there, and what it may then do.

Pure. Sources: RouterOS manual, "User" (groups and policies), "Services" (api-ssl), "Certificates".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

POLICIES: Final = ("read", "write", "api")
"""What the agent's user may: read rows, write them, log in to the API. Write is for the whole router: RouterOS has no
narrower one. Not `sensitive`: it sees no password. Not `policy`, `reboot`, `ftp`, `ssh`, `winbox` and the others."""

NAME: Final = "ispagents"
_PASSWORD: Final = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Line:
    """One line for the terminal: a menu, a command, its properties in order."""

    menu: str
    command: str
    properties: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """Return it as it is pasted. The values need no quoting: letters, digits and `-._/,:` only."""
        words = [f"{name}={value}" if name else value for name, value in self.properties]
        return " ".join([self.menu, self.command, *words])


def lines(router: str, password: str, agent_address: str = "") -> tuple[Line, ...]:
    """Return the lines for a router.

    Args:
        router: its name in the configuration, 1 to 32 of a-z, 0-9 and -.
        password: for the agent's user, 16 to 64 of A-Z, a-z, 0-9, _ and -.
        agent_address: the only address or network from which the agent's user may come; empty: any.

    Raises:
        ValueError: another password: it might act on the terminal that it is pasted into.
    """
    if not _PASSWORD.fullmatch(password):
        raise ValueError("expected a password of 16 to 64 letters, digits, _ and -")
    only_from = (("address", agent_address),) if agent_address else ()
    certificate = (("name", NAME), ("common-name", router), ("key-size", "prime256v1"), ("days-valid", "3650"))
    service = (("", "api-ssl"), ("certificate", NAME), ("disabled", "no"))
    return (
        Line("/certificate", "add", (*certificate, ("key-usage", "tls-server"))),
        Line("/certificate", "sign", (("", NAME),)),
        Line("/ip/service", "set", service),
        Line("/user/group", "add", (("name", NAME), ("policy", ",".join(POLICIES)))),
        Line("/user", "add", (("name", NAME), ("group", NAME), ("password", password), *only_from)),
        Line("/certificate", "print", (("", "detail"), ("", "where"), ("name", NAME))),
    )
