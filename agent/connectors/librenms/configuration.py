"""`[librenms.NAME]`: one LibreNMS. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from agent.config_reader import ConfigReader
from agent.config_schema import REQUIRED, SECRET, TIME_ZONE, YES_NO, Key, Kind, number, or_empty
from agent.connectors.web_source import WebTerms, web_keys, web_terms_of

NAME: Final = "librenms"
_SECTION: Final = f"{NAME}.NAME"


@dataclass(frozen=True, slots=True)
class LibrenmsSource:
    """One LibreNMS. `secret` names its API token in the vault. `zone`: of the times it tells; None: the operator's."""

    name: str
    web: WebTerms
    secret: str
    every_s: float
    zone: ZoneInfo | None
    wireless: bool

    @property
    def id(self) -> str:
        """The target's id."""
        return f"{NAME}/{self.name}"

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"LibreNMS {self.name}"


@dataclass(frozen=True, slots=True)
class LibrenmsConfig:
    """Everything that the connector is configured with."""

    sources: tuple[LibrenmsSource, ...] = ()


KEYS: Final = (
    *web_keys(_SECTION, "https://librenms.example.net/api/v0", page=0),
    Key(
        _SECTION,
        "secret",
        SECRET,
        REQUIRED,
        "The name of the secret that is its API token, of a user with the role global-read and no other.",
    ),
    Key(
        _SECTION,
        "every_s",
        number(30, 3600),
        120.0,
        "How often it is asked, seconds. What it tells is as old as its own poll all the same.",
    ),
    Key(
        _SECTION,
        "timezone",
        Kind(f"{TIME_ZONE.expected}, or empty", or_empty(TIME_ZONE.read)),
        "",
        "The time zone of its database; empty: that of the agent.",
    ),
    Key(
        _SECTION,
        "wireless",
        YES_NO,
        True,
        "Whether signal and rates of radios are read: one request for each value and poll.",
    ),
)


def parse(reader: ConfigReader) -> LibrenmsConfig:
    """Return the configured systems. A section with a problem is left out; the problem goes to `reader`."""
    found = []
    for name, table in reader.named(NAME):
        before, where = len(reader.problems), f"{NAME}.{name}"
        values = reader.section(_SECTION, where, table)
        if len(reader.problems) > before:
            continue
        web = web_terms_of(reader, values)
        found.append(
            LibrenmsSource(
                name, web, values["secret"], values["every_s"], values["timezone"] or None, values["wireless"]
            )
        )
    return LibrenmsConfig(tuple(found))


def secrets(config: LibrenmsConfig) -> frozenset[str]:
    """Return the names of the API tokens."""
    return frozenset(source.secret for source in config.sources)
