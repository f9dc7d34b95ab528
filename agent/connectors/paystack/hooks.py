"""Paystack's webhooks: `x-paystack-signature` is HMAC-SHA512 of the body under the API's own key, in hexadecimal.

Pure. Source: Paystack's documentation, "Webhooks". One key and no time: a call that comes again is known by its
bytes, and costs a reading at most. Which transaction it is about is read from the API, never from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.billing_model.errors import MalformedHookError
from agent.billing_model.hmac_hooks import HmacStyle, HookHash, event_of, object_untrusted, text_at, verify_hmac
from agent.billing_model.hooks import Heard, HookCall

STYLE: Final = HmacStyle("x-paystack-signature", HookHash.SHA512)
_REFERENCE: Final = re.compile(r"[A-Za-z0-9.=_-]{1,200}", re.ASCII)
"""The characters that Paystack allows in a reference."""
_PLACES: Final = (("data", "transaction_reference"), ("data", "transaction", "reference"), ("data", "reference"))
"""Where events have the reference of the transaction: refunds, disputes, charges."""


@dataclass(frozen=True, slots=True)
class PaystackScheme:
    """Implements `agent.billing_model.hooks.HookScheme`. `secrets`: the API's secret key, and the one before it."""

    secrets: Sequence[bytes]
    body_most: int = 131_072

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:  # noqa: ARG002  it signs no time
        """Return which transaction an event is about, once Paystack is proven to have sent it.

        Raises:
            ForgedHookError: not signed under the API's key.
            MalformedHookError: signed, and no event.
        """
        verify_hmac(STYLE, self.secrets, call)
        event = object_untrusted(call.body)
        kind = text_at(event, "event")
        if not kind:
            raise MalformedHookError("expected a Paystack event with its kind, got another object")
        found = [reference for place in _PLACES if _REFERENCE.fullmatch(reference := text_at(event, *place))]
        return Heard(event_of(call.body), kind[:64], payment_ids=tuple(found[:1]))
