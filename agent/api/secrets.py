"""Routes of the agent's secrets: passwords of devices and databases. A secret is set, never shown."""

from __future__ import annotations

from agent.api import billing
from agent.api.call import ApiCall, CallerRole, Route, unb64
from agent.api.doctor import check_json
from agent.runtime.http import Response


async def _list_secrets(call: ApiCall) -> Response:
    return Response(200, {"secrets": call.parts.secrets.names(), "wanted": sorted(call.parts.secrets.wanted)})


async def _set_secret(call: ApiCall) -> Response:
    r = call.body()
    secret = unb64(r.text("secret"), "secret")
    r.done()
    await call.parts.secrets.put(call.values[0], secret, call.who)
    for reader in call.parts.billing.readers.values():
        if reader.terms.secret == call.values[0]:
            reader.poke()  # it may have been refused for long, and would be asked again late
    call.parts.checkup.secret_changed(call.values[0])
    return Response(200, {"name": call.values[0]})


async def _try_secret(call: ApiCall) -> Response:
    """Answer with the result of using a secret now, where something that is dialed or read needs it."""
    call.body().done()
    name = call.values[0]
    checks = [*await call.parts.checkup.secret(name), *await billing.try_secret(call.parts, name)]
    return Response(200, {"name": name, "checks": [check_json(check) for check in checks]})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/secrets", CallerRole.OPERATOR, "", "secrets, wanted", _list_secrets),
    Route("POST", "/v1/secrets/{name}", CallerRole.ADMIN, "secret", "name", _set_secret),
    Route("POST", "/v1/secrets/{name}/try", CallerRole.ADMIN, "", "name, checks", _try_secret),
)
