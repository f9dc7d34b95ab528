"""Accounts and payments from a configured query on PostgreSQL or MariaDB: for billing systems without an API.

`connector.AccountsSqlConnector` is the whole surface; `configuration` has its keys, `schema` their meanings. Inside:
`query` checks and completes queries (pure), `sql_reading` runs them on connections that only read.
"""

from agent.connectors.accounts_sql.spec import SPEC

__all__ = ["SPEC"]
