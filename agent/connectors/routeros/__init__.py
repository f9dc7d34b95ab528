"""MikroTik RouterOS over its API: PPP secrets and their sessions on the routers that an ISP's subscribers dial.

`connector.RouterosConnector` is the whole surface; `schema` has its configuration. The conversation, from the wire up:
`wire` has sentences to bytes and replies back, `login` the two ways to log in, `exchanges` whose reply is whose (with
`words`, a router's texts made safe to show); `carrier_session` and `api_session` put a connection under them. What a
router's menus hold is in `menus`, on `versions` and `values`; `marks` are what we append to comments. `firewall` says
whether an address list's members are kept in, `access` is the recipe of an access method, `line` is the way to
one router (its connection, recognised, and opened again after it broke), `session` puts it together, `onboard` is what
an administrator pastes. `limits` says what is taken from a router, `errors` what can go wrong.
"""
