"""MikroTik RouterOS over its API: the rows that say who a router's subscribers are, and what is running for them.

`connector.RouterosConnector` is the whole surface; `schema` has its configuration. The conversation, from the wire up:
`wire` has sentences to bytes and replies back, `login` the two ways to log in, `exchanges` whose reply is whose (with
`words`, a router's texts made safe to show); `carrier_session` and `api_session` put a connection under them, `line` is
the way to one router: its connections, recognised, and opened again after they broke. With it go `policies` (what our
users may), `backoff` (when a router is left alone) and `health` (what people should know of it). What menus hold is in
`menus`, on `versions` and `values`; `marks` are what we append to comments. `addresses` names the resources, `rows` and
`running` are those that are written and those that are ended, `readers` asks for them, `session` puts it together.
`firewall` says whether an address list's members are kept in; `recipes` has the recipe of each kind of access method
(`access` for PPP secrets; `several` for more than one router), `onboard` what an administrator pastes. `limits` says
what is taken from a router, `errors` what can go wrong.
"""
