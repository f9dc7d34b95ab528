"""How a request to Splynx proves itself: an API key, a nonce that only goes up, and an HMAC over both. Pure.

Source: Splynx API 2.0, "Authentication by signature": `Splynx-EA (key=KEY&nonce=NONCE&signature=SIGNATURE)`, the
signature HMAC-SHA256 of nonce and key under the secret, in capital hexadecimal. Splynx refuses a nonce that is not
above the last one that it saw under the key. So requests go one at a time, and no nonce is used twice, whatever the
clock does.
"""

from __future__ import annotations

import hmac
from typing import Final

RESERVED: Final = 1000
"""Nonces that are reserved at once: durable before the first of them is used, and skipped after a restart."""


def authorization(key: str, secret: bytes, nonce: int) -> str:
    """Return the value of the Authorization header."""
    signature = hmac.digest(secret, f"{nonce}{key}".encode(), "sha256").hex().upper()
    return f"Splynx-EA (key={key}&nonce={nonce}&signature={signature})"


class Nonces:
    """Nonces from the clock, hundredths of a second as Splynx's own examples use, and never twice.

    `reserved`: the highest one that may be used now; it has to be durable before `take` returns one up to it.
    """

    def __init__(self, reserved: int) -> None:
        """Take the highest nonce that may have been used before."""
        self._last = reserved
        self.reserved = reserved

    def next(self, now_s: float) -> int:
        """Return the next nonce; it is used only once it is reserved. `now_s`: unix seconds."""
        return max(self._last + 1, int(now_s * 100))

    def take(self, nonce: int) -> None:
        """Use a nonce up."""
        self._last = nonce
