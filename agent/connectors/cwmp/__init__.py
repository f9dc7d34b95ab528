"""CWMP (TR-069): an ACS. CPE call in, prove their identity, are read and changed. For users: docs/connectors/cwmp.md.

Pure, from the wire up: `xml_tree` has bytes to a tree and back, `soap` the envelope, `fields` the form of a dataclass
in XML (on `simple_types`), `structs` and `messages` the contents, `methods` the sender of each (with `versions`,
`events` and `faults`), `envelope` puts it together. `acs_session` is one session, posts in and replies out; `auth`
reads HTTP's authentication headers, `digest` verifies them, `http_text` reads the rest of HTTP.

Of a CPE: `identity` (its name), `effects`, `images`. Parts that other protocols share are in `agent.cpe_model`: data
models, the addresses of parameters and rows, effects.

I/O: `listener` is the HTTP server, `cwmp_session` lends one CWMP session to the tasks that work on the CPE,
`fleet_session` knows every CPE that is online and asks others to call in, `line_session` asks one CPE (`rows_session`,
`effects_session` and `refresh_session` by it), `cpe_session` is the `Session` of the connector contract over them,
`images_session` serves firmware. `connection_request` has a CPE call in, `connection_request_session` sends it, `stun`
and `stun_listener` do so for those behind NAT. `connector` puts it together, `schema` is its configuration, `limits`
bounds a CPE's messages, `errors` are the errors of a session.
"""

from agent.connectors.cwmp.spec import SPEC

__all__ = ["SPEC"]
