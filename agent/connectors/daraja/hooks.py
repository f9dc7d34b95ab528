"""M-Pesa's C2B confirmations (Safaricom Daraja). They are **not signed**: nothing of one is ever believed. Pure.

The address list and the random part of the URL stand against a forged call; it could cause one more question to the
API, no more. A payment counts once the Pull Transactions API has told it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.billing_model.errors import MalformedHookError
from agent.billing_model.hmac_hooks import object_untrusted, text_at
from agent.billing_model.hooks import Heard, HookCall

TRANSACTION: Final = re.compile(r"[A-Z0-9]{6,20}", re.ASCII)
_ACCEPTED: Final = b'{"ResultCode":0,"ResultDesc":"Accepted"}'


@dataclass(frozen=True, slots=True)
class DarajaScheme:
    """Implements `agent.billing_model.hooks.HookScheme`."""

    body_most: int = 16_384

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:  # noqa: ARG002  nothing is signed
        """Return that a transaction is said to have been made. Whoever knows the URL may say so.

        Raises:
            MalformedHookError: it is no confirmation.
        """
        name = text_at(object_untrusted(call.body), "TransID")
        if not TRANSACTION.fullmatch(name):
            raise MalformedHookError("expected a C2B confirmation with a TransID, got another object")
        return Heard(name, "c2b-confirmation", payment_ids=(name,), answer=_ACCEPTED)
