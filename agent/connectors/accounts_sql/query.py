"""Queries as an operator writes them: refusals, and the frame around them. Pure.

The connection that they run on cannot write, whatever stands in them; the checks here give a mistake its place in the
configuration file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

SINCE: Final = ":since_s"
"""Stands in a query for payments for the moment since which they are wanted, unix seconds."""
_LONGEST: Final = 20_000
_BEGINS: Final = re.compile(r"\s*(?:SELECT|WITH)\b", re.ASCII | re.IGNORECASE)
Statement = tuple[str, tuple[object, ...]]
"""With `%s` for its parameters, as both drivers want it."""


def query_text(value: Any) -> str:
    """Return a query: one statement that begins with SELECT or WITH, without a semicolon at its end.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or len(value) > _LONGEST or "\x00" in value:
        raise ValueError
    query = value.strip().removesuffix(";").rstrip()
    if not _BEGINS.match(query) or ";" in query:
        raise ValueError
    return query


def all_accounts(query: str) -> Statement:
    """Return the statement that reads all accounts."""
    return _escaped(query), ()


def limited(statement: Statement, most: int) -> Statement:
    """Return a statement that gives so many of a statement's rows at most."""
    sql, parameters = statement
    return f"SELECT * FROM ({sql}) AS wanted LIMIT {most}", parameters  # noqa: S608  the operator's own query


def some_accounts(query: str, columns: Collection[str], keys: Collection[str]) -> Statement:
    """Return the statement that reads the accounts of some keys.

    Args:
        query: for accounts.
        columns: its columns, in small letters.
        keys: the source's ids; where there is no column `account`, names of subscribers.
    """
    column = "account" if "account" in columns else "subscriber"
    places = ", ".join(["%s"] * len(keys))
    text = f"CAST(wanted.{column} AS CHAR(200))"  # an id may be a number there, and is a text here
    return f"SELECT * FROM ({_escaped(query)}) AS wanted WHERE {text} IN ({places})", tuple(keys)  # noqa: S608  the operator's own query


def payments_since(query: str, since_s: float) -> Statement:
    """Return the statement that reads payments. Where the query does not ask since when, it is all of them."""
    parts = query.split(SINCE)
    return "%s".join(_escaped(part) for part in parts), (int(since_s),) * (len(parts) - 1)


def _escaped(query: str) -> str:
    return query.replace("%", "%%")
