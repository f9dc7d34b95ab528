"""Stripe's webhooks: a time and signatures in one header, over `time.body`. Pure.

Source: Stripe's documentation, "Verify webhook signatures manually". `Stripe-Signature: t=1492774577,v1=HEX,v0=HEX`:
several `v1` while a secret is being replaced at Stripe; other schemes are ignored, else whoever can choose the scheme
chooses the weakest. Delivered at least once, in no order, for up to three days, each time signed anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.billing_model.errors import ForgedHookError, MalformedHookError
from agent.billing_model.hmac_hooks import HmacStyle, HookHash, object_untrusted, same, text_at
from agent.billing_model.hooks import Heard, HookCall

HEADER: Final = "stripe-signature"
TOLERANCE_S: Final = 300
"""Seconds that the signed time may differ from ours, both ways: Stripe's own libraries take that much."""
_HEADER_MOST: Final = 4096
_SIGNATURES_MOST: Final = 16
"""`v1` in one header. Stripe sends one for each secret of an endpoint, which are two at most."""
_STYLE: Final = HmacStyle(HEADER, HookHash.SHA256)
_TIME: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_ID: Final = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)
_CHARGE_OF: Final = {"charge": "id", "refund": "charge", "dispute": "charge", "payment_intent": "latest_charge"}
"""Objects of events by kind, and the field with the id of their charge."""


@dataclass(frozen=True, slots=True)
class StripeScheme:
    """Implements `agent.billing_model.hooks.HookScheme`. `secrets`: the endpoint's signing secrets, one or two."""

    secrets: Sequence[bytes]
    body_most: int = 262_144

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:
        """Return which charge an event is about, once Stripe is proven to have sent it now.

        Raises:
            ForgedHookError: not signed by Stripe, or more than 300 s ago or ahead.
            MalformedHookError: signed, and no event.
        """
        at, signatures = _parts_untrusted(call.headers.get(HEADER, ""))
        signed = at.encode() + b"." + call.body
        hits = [same(one, _STYLE, self.secrets, signed) for one in signatures]
        if not any(hits):
            raise ForgedHookError(f"expected a v1 in {HEADER} that signs time and body, got none")
        if abs(now_s - int(at)) > TOLERANCE_S:
            raise ForgedHookError(f"expected a signed time within {TOLERANCE_S} s of ours, got another")
        event = object_untrusted(call.body)
        name, kind = text_at(event, "id"), text_at(event, "type")
        if not _ID.fullmatch(name) or not kind:
            raise MalformedHookError("expected a Stripe event with id and type, got another object")
        charge = _charge(event)
        return Heard(name, kind[:64], payment_ids=(charge,) if charge else ())


def _parts_untrusted(header: str) -> tuple[str, tuple[str, ...]]:
    """Return the signed time, as it is written, and the signatures of scheme v1.

    Raises:
        ForgedHookError: there is no time, more than one, or none that is a number.
    """
    pairs = [item.strip().partition("=") for item in header[:_HEADER_MOST].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise ForgedHookError(f"expected one t in {HEADER}, in unix seconds")
    return times[0], tuple(value for name, _, value in pairs if name == "v1")[:_SIGNATURES_MOST]


def _charge(event: Mapping[str, object]) -> str:
    """Return the id of the charge that an event is about; "": it is about something else."""
    field = _CHARGE_OF.get(text_at(event, "data", "object", "object"), "")
    found = text_at(event, "data", "object", field)
    return found if _ID.fullmatch(found) else ""
