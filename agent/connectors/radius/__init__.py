"""FreeRADIUS with an SQL database, and the NAS that hold its subscribers' sessions.

`connector.RadiusConnector` is the whole surface; `schema` has its configuration. Inside: `sql` reads and writes the
database, `rowset` turns rows into values, `evaluator` computes the reply to a login, `access` is the access method,
`dynauth` (on `codec`) the Dynamic Authorization Client, `dynauth_session` its sockets, `session` puts them together.
"""

from agent.connectors.radius.spec import SPEC

__all__ = ["SPEC"]
