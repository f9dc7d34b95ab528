"""CWMP (TR-069): what a CPE says and what it is told, and the session of an ACS with it. Pure; nothing calls it yet.

From the wire up: `xml_tree` has bytes to a tree and back, `soap` the envelope, `fields` how a dataclass stands in XML
(on `values`, the simple types), `structs` and `messages` what there is to say, `methods` who says which (with
`versions`, `events` and `faults`), `envelope` puts it together: `read_untrusted`, `write`. `acs_session` is one
session, posts in and replies out; `auth` reads HTTP's authentication headers, `digest` proves by them who is who, both
ways. `limits` says what is taken from a CPE, `errors` what can go wrong, `words` makes a CPE's names fit for an error.

There is no ACS here: no listener, no inventory, no change. docs/connectors/cwmp.md says what is there.
"""
