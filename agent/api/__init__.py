"""The local API: HTTP/1.1 and JSON on a unix socket.

`routes` is the table of all routes and dispatches by it (`Api`, `ROUTES`); `call` is one request with the parts that
handlers use (`ApiParts`, `ApiCall`, `Role`). The handlers stand by noun: `agent`, `trust`, `secrets`, `subscribers`,
`devices`, `cpes`, `changes`, `statements`, `audit`. No module here holds SQL.

The kernel identifies the caller: the peer's uid. `Role.ANYONE` is any user that may open the socket, `OPERATOR` a uid
that the configuration maps to a person, `ADMIN` root or the daemon's own user. Approving, cancelling and freezing need
a person's signature, which comes as an envelope: no role replaces it, and no private key is ever here.
"""
