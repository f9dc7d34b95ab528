"""MikroTik RouterOS over its API: the rows that say who a router's subscribers are, and what is running for them.

`connector.RouterosConnector` is the whole surface; `schema` has its configuration. The conversation, from the wire up:
`wire` has sentences to bytes and replies back, `login` the two ways to log in, `exchanges` whose reply is whose (with
`words`, a router's texts made safe to show); `carrier_session` and `api_session` put a connection under them, `line` is
the way to one router: its connections, recognised, and opened again after they broke. With it go `policies` (what our
users may), `backoff` (when a router is left alone) and `health` (what people should know of it). What menus hold is in
`menus`, on `versions` and `values`; `marks` are what we append to comments. `addresses` names the resources, `rows` and
`running` are those that are written and those that are ended, `readers` asks for them, `session` puts it together.
`firewall` says whether an address list's members are kept in, `queues` whether a simple queue is the one that takes a
subscriber's traffic, `fasttrack` whether that passes it by. `access_methods` has the
access method of each kind: `access` for PPP secrets, `hotspot_access` for hotspot users, `dhcp_access` with
`dhcp_text` for leases, `static_access` for fixed addresses (`static_addresses`, and its halves `static_lists` and
`static_queue`), `several` for more than one router. `onboard` is what an administrator pastes. `limits` says what is
taken from a router, `errors` what can go wrong.
"""

from agent.connectors.routeros.spec import SPEC

__all__ = ["SPEC"]
