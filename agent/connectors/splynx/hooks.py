"""Splynx' webhooks: `X-Splynx-Signature` is HMAC-SHA1 of the body under the hook's secret, in hexadecimal. Pure.

A call has no time and no id: one that comes again is known by its bytes, and costs a reading at most. It is a `ping` or
an `event` with a model and its attributes, of which only ids are used: which customer to read, which payment came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.billing_model.errors import MalformedHookError
from agent.billing_model.hmac_hooks import HmacStyle, HookHash, event_of, object_untrusted, text_at, verify_hmac
from agent.billing_model.hooks import Heard, HookCall

STYLE: Final = HmacStyle("x-splynx-signature", HookHash.SHA1)
_ID: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z_]{1,24}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SplynxScheme:
    """Implements `agent.billing_model.hooks.HookScheme`. `secrets`: of the webhook, and the one before it."""

    secrets: Sequence[bytes]
    body_most: int = 262_144

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:  # noqa: ARG002  it signs no time
        """Return which customer and payment an event is about, once Splynx is proven to have sent it.

        Raises:
            ForgedHookError: not signed under the webhook's secret.
            MalformedHookError: signed, and neither a ping nor an event.
        """
        verify_hmac(STYLE, self.secrets, call)
        body = object_untrusted(call.body)
        kind = text_at(body, "type")
        if kind == "ping":
            return Heard(event_of(call.body), "ping", test=True)
        if kind != "event":
            raise MalformedHookError("expected a ping or an event of Splynx, got another object")
        # a model may come with its namespace
        model = text_at(body, "data", "model").rpartition("\\")[2]
        customer, own = _id_at(body, "customer_id"), _id_at(body, "id")
        if model.lower() in ("customer", "customers"):
            customer = own
        paid = model.lower() in ("payment", "payments")
        words = [word for word in (model, text_at(body, "data", "event")) if _WORD.fullmatch(word)]
        return Heard(
            event_of(call.body),
            ".".join(words) or "event",
            accounts=(customer,) if customer else (),
            payment_ids=(own,) if paid and own else (),
        )


def _id_at(body: Mapping[str, object], name: str) -> str:
    data = body.get("data")
    attributes = data.get("attributes") if isinstance(data, Mapping) else None
    value = attributes.get(name) if isinstance(attributes, Mapping) else None
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if _ID.fullmatch(text) else ""
