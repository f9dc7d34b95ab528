"""A source that is a query on a database."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from agent.billing_model.hmac_hooks import HmacStyle
from agent.billing_model.terms import SourceTerms


class AccountsDatabase(enum.Enum):
    """The kind of the database server."""

    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"


@dataclass(frozen=True, slots=True)
class QuerySource:
    """`[accounts-sql.NAME]`. `ca_file` None: no certificate is asked for. `payments_query` "": it tells no payments.

    `timeout_s`: of a whole reading. `rows_most`: of one query.
    """

    terms: SourceTerms
    database: AccountsDatabase
    host: str
    port: int
    dbname: str
    user: str
    ca_file: Path | None
    accounts_query: str
    payments_query: str
    timeout_s: float
    rows_most: int
    style: HmacStyle


AccountsSqlConfig = tuple[QuerySource, ...]
