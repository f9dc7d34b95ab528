"""Routes of backups. None makes one: that reads the state directory, which nobody may do over the socket."""

from __future__ import annotations

from typing import Final

from agent.api.call import ApiCall, CallerRole, Route
from agent.runtime.http import Response

_RECIPIENT_BYTES: Final = 128
_LEAVES_MAX: Final = 2**53


async def _note_backup(call: ApiCall) -> Response:
    """Record that a backup was made by the command that tells so."""
    r = call.body()
    pair, leaves = r.hex("pair", 16), r.integer("leaves", 0, _LEAVES_MAX)
    recipients = r.texts("recipients", _RECIPIENT_BYTES)
    r.done()
    await call.parts.evidence.note_backup(pair, leaves, recipients, call.who)
    return Response(200, {"recorded": True})


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/backups", CallerRole.ADMIN, "pair, leaves, recipients", "recorded", _note_backup),
)
