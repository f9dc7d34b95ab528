"""The sections of sources that are queries on a database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agent.billing_model.hmac_hooks import style_keys, style_of
from agent.billing_model.terms import SourceTerms, source_keys, terms_of
from agent.config_reader import ConfigReader
from agent.config_schema import HOST, PATH_OR_EMPTY, REQUIRED, Key, Kind, choice, number, or_empty, text, whole
from agent.connectors.accounts_sql.query import SINCE, query_text
from agent.connectors.accounts_sql.schema import AccountsDatabase, AccountsSqlConfig, QuerySource

_SECTION: Final = "accounts-sql.NAME"
_NAME: Final = Kind("1 to 63 printable characters", text(re.compile(r".{1,63}")))
_HOST: Final = Kind("a host name, an address or a socket directory", text(HOST))
_EXPECTED: Final = "one statement that begins with SELECT or WITH, of at most 20,000 characters, without `;` in it"

KEYS: Final[tuple[Key, ...]] = (
    Key(_SECTION, "database", choice(AccountsDatabase), REQUIRED, "The kind of the database."),
    Key(_SECTION, "host", _HOST, "127.0.0.1", "Where it listens."),
    Key(_SECTION, "port", whole(0, 65_535), 0, "Its port; 0: the database's usual one."),
    Key(_SECTION, "dbname", _NAME, REQUIRED, "The database's name."),
    Key(_SECTION, "user", _NAME, REQUIRED, "The user to log in as: one that may read, and nothing else."),
    Key(
        _SECTION,
        "ca_file",
        PATH_OR_EMPTY,
        "",
        "Authorities of the server's certificate, PEM: TLS, with the name checked; empty: no certificate is asked for.",
    ),
    Key(
        _SECTION,
        "accounts_query",
        Kind(_EXPECTED, query_text, shown=False),
        REQUIRED,
        "The query for accounts; its columns have the names of docs/connectors/accounts-sql.md.",
    ),
    Key(
        _SECTION,
        "payments_query",
        Kind(_EXPECTED, or_empty(query_text), shown=False),
        "",
        f"The query for payments since `{SINCE}`, unix seconds; empty: it tells none.",
    ),
    Key(_SECTION, "timeout_s", number(1, 600), 30.0, "How long a reading may take, seconds."),
    Key(_SECTION, "rows_most", whole(1, 2_000_000), 200_000, "Rows that a query may give; more are not read."),
    *source_keys(
        _SECTION,
        secret="password",
        open_too=True,
        accounts=True,
        payments=True,
        hook="Known by an HMAC of the body; what it says is not read.",
        hook_secret="secret of that HMAC",
    ),
    *style_keys(_SECTION),
)


def parse(reader: ConfigReader) -> AccountsSqlConfig:
    """Return the configured sources. A section with a problem is left out; the problem goes to `reader`."""
    return tuple(one for name, table in reader.named("accounts-sql") if (one := _source(reader, name, table)))


def secrets(config: AccountsSqlConfig) -> frozenset[str]:
    """Return the names of the secrets: passwords of databases, and keys of webhooks."""
    return frozenset(name for source in config for name in source.terms.secrets)


def sources(config: AccountsSqlConfig) -> tuple[SourceTerms, ...]:
    """Return the settings of every source."""
    return tuple(source.terms for source in config)


def _source(reader: ConfigReader, name: str, table: Mapping[str, Any]) -> QuerySource | None:
    where, before = f"accounts-sql.{name}", len(reader.problems)
    values = reader.section(_SECTION, where, table)
    if table.get("hook") is True and not table.get("hook_secret"):
        reader.problem(f"{where}.hook_secret", "missing; expected the name of the secret that calls are signed with")
    if len(reader.problems) > before:
        return None
    if not values["payments_query"]:
        values["payments_every_s"] = 0
    terms, style, ca_file = terms_of(f"accounts-sql/{name}", values), style_of(values), values.pop("ca_file")
    return QuerySource(terms=terms, style=style, ca_file=reader.path_of(ca_file) if ca_file else None, **values)
