"""UISP's webhooks: `{uuid, changeType, entity, entityId, eventName}`, which nothing signs. Pure.

A call names an event. Its key, `event/UUID` or `postponed/UUID`, is asked for like an account's: the connector looks
the event up (`GET /webhook-events/{uuid}`) and reads the account that it is about. A forged call names an event that is
not there, and costs one call. UISP's own plugins check in the same way. A call that names a payment has the payment
read, and then its account: whatever the call says of it, only these readings count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.billing_model.errors import MalformedHookError
from agent.billing_model.hmac_hooks import object_untrusted, text_at
from agent.billing_model.hooks import Heard, HookCall

EVENT, POSTPONED = "event/", "postponed/"
"""Beginnings of keys that stand for an event."""
POSTPONE: Final = "service.postpone"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CrmScheme:
    """Implements `agent.billing_model.hooks.HookScheme`."""

    body_most: int = 262_144

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:  # noqa: ARG002  it signs no time
        """Return which event to look up.

        Raises:
            MalformedHookError: it names no event.
        """
        body = object_untrusted(call.body)
        uuid = text_at(body, "uuid").lower()
        if not _UUID.fullmatch(uuid):
            raise MalformedHookError("expected the uuid of a webhook event, got none")
        kind = text_at(body, "eventName") or text_at(body, "changeType")
        postponed = kind == POSTPONE or text_at(body, "changeType") == "postpone"
        payment = body.get("entityId") if text_at(body, "entity") == "payment" else None
        is_id = isinstance(payment, int) and not isinstance(payment, bool) and 0 < payment < 1 << 53
        return Heard(
            uuid,
            kind if _WORD.fullmatch(kind) else "call",
            accounts=() if is_id else ((POSTPONED if postponed else EVENT) + uuid,),
            payment_ids=(str(payment),) if is_id else (),
            test=kind == "test",
        )
