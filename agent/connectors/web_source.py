"""The keys that sources behind a web API have in the configuration file, and their meanings. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from agent.billing_model.terms import SourceTerms, terms_of
from agent.config_reader import ConfigReader
from agent.config_schema import PATH_OR_EMPTY, REQUIRED, Key, Kind, or_empty, text, whole
from agent.runtime.web_address import WebAddress, web_address
from agent.runtime.web_tls import fingerprint

_URL: Final = Kind(
    "https://HOST/PATH without user, query and fragment (plain http to an address of this machine only)", web_address
)
_PIN: Final = Kind("the SHA-256 fingerprint of a certificate, 64 hex digits", or_empty(fingerprint))
METADATA_KEY: Final = Kind(
    "the key of a metadata field, or empty", or_empty(text(re.compile(r"[A-Za-z0-9_. -]{1,40}", re.ASCII)))
)
"""A field that an operator adds to payments at a provider."""


@dataclass(frozen=True, slots=True)
class WebTerms:
    """Where a web API is, how it is verified, and how much of it is read at once (see `agent.runtime.web_session`).

    `page`: rows that are asked for at once; 0: its lists come whole.
    """

    address: WebAddress
    ca_file: Path | None
    pin: str
    reading_bytes: int
    page: int


def web_keys(section: str, example: str, *, page: int = 500) -> tuple[Key, ...]:
    """Return the keys of one connector.

    Args:
        section: `uisp-crm.NAME`.
        example: a URL of such an API.
        page: rows of a page that its server gives gladly; 0: its lists come whole.
    """
    rows = (Key(section, "page", whole(10, 10_000), page, "Rows that are asked for at once."),) if page else ()
    pin = (
        "The SHA-256 fingerprint of its certificate, which then is the only one that is taken; empty: the certificate"
        " is verified by its authority."
    )
    return (
        Key(section, "url", _URL, REQUIRED, f"Where its API is, such as `{example}`."),
        Key(
            section, "ca_file", PATH_OR_EMPTY, "", "Authorities of its certificate, in PEM; empty: those of the system."
        ),
        Key(section, "certificate_sha256", _PIN, "", pin),
        *rows,
        Key(section, "reading_mib", whole(1, 4096), 64, "The most that one reading may bring, MiB."),
    )


def web_terms_of(reader: ConfigReader, values: dict[str, Any]) -> WebTerms:
    """Take the values of `web_keys` out of a section that was read without a problem, and return them."""
    file = values.pop("ca_file")
    return WebTerms(
        values.pop("url"),
        reader.path_of(file) if file else None,
        values.pop("certificate_sha256"),
        values.pop("reading_mib") << 20,
        values.pop("page", 0),
    )


class WebSource(Protocol):
    """A billing source behind a web API."""

    @property
    def terms(self) -> SourceTerms:
        """The settings that every source has."""
        ...


S = TypeVar("S", bound=WebSource)


@dataclass(frozen=True, slots=True)
class WebSources(Generic[S]):
    """The billing sources of one connector, as configured."""

    sources: tuple[S, ...]


def _no_check(where: str, table: Mapping[str, Any]) -> None:
    """Every key is right by itself."""


def read_sources(
    reader: ConfigReader,
    connector: str,
    make: Callable[..., S],
    check: Callable[[str, Mapping[str, Any]], None] = _no_check,
) -> WebSources[S]:
    """Return the sources of `[CONNECTOR.NAME]`; those with problems are left out.

    Args:
        reader: notes the problems.
        connector: the first word of the sections.
        make: (terms, web terms, **the connector's own keys) -> a source.
        check: (`CONNECTOR.NAME`, the section) -> notes problems of keys that do not go together.
    """
    found = []
    for name, table in reader.named(connector):
        where, before = f"{connector}.{name}", len(reader.problems)
        values = reader.section(f"{connector}.NAME", where, table)
        check(where, table)
        if len(reader.problems) == before:
            web, terms = web_terms_of(reader, values), terms_of(f"{connector}/{name}", values)
            found.append(make(terms, web, **values))
    return WebSources(tuple(found))


def secrets_of(config: WebSources[S]) -> frozenset[str]:
    """Return the names of the secrets that sources ask with, and that their webhooks are verified by."""
    return frozenset().union(*(source.terms.secrets for source in config.sources))


def source_terms(config: WebSources[S]) -> tuple[SourceTerms, ...]:
    """Return the settings that every source has."""
    return tuple(source.terms for source in config.sources)
