"""MikroTik RouterOS over its API: the rows of a router's subscribers, and their running sessions.

`connector.RouterosConnector` is the whole surface; `schema` has its configuration. The conversation, from the wire up:
`wire` has sentences to bytes and replies back, `login` the two ways to log in, `exchanges` pairs replies with commands
(with `words`, a router's texts made safe to show); `carrier_session` and `api_session` put a connection under them,
`line` is the way to one router: its connections, recognized, and opened again after they broke. With it go `policies`
(the rights of our users), `backoff` (when a router is left alone) and `health` (warnings about it). The content of
menus is in `menus`, on `versions` and `values`; `marks` are appended to comments. `addresses` names the resources,
`rows` and `running` are those that are written and those that are ended, `readers` asks for them, `session` puts it
together. `firewall` says whether an address list's members are kept in, `queues` whether a simple queue is the one that
takes a subscriber's traffic, `fasttrack` whether that passes it by. `access_methods` has the access method of each
kind: `access` for PPP secrets, `hotspot_access` for hotspot users, `dhcp_access` with `dhcp_text` for leases,
`static_access` for fixed addresses (`static_addresses`, and its halves `static_lists` and `static_queue`), `several`
for more than one router. `onboard` makes the text that an administrator pastes. `limits` bounds a router's answers,
`errors` are the errors of a conversation.
"""

from agent.connectors.routeros.spec import SPEC

__all__ = ["SPEC"]
