"""A router's own words, made fit for an error: short, harmless on a terminal, and without our secrets."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from agent.connectors.routeros import limits
from trust.terminal import neutralize

_SECRET_NAME: Final = re.compile(r"password|secret|passphrase|psk|(^|[-.])key", re.IGNORECASE)
_BLOT: Final = "***"


def presentable(text: str, secrets: Collection[str] = ()) -> str:
    """Return a router's text with `secrets` blotted out, neutralized, at most `limits.TEXT_CHARS` long.

    A router that echoes a refused word would otherwise bring a password into an error, and so into a digest.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= limits.SECRET_CHARS:
            text = text.replace(secret, _BLOT)
    # Clipped before and after: an escape takes ten characters in place of one
    shown = neutralize(text[: limits.TEXT_CHARS])
    return shown if len(shown) <= limits.TEXT_CHARS else shown[: limits.TEXT_CHARS - 1] + "…"


def secrets_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the values that a command gives to properties that are secret by their name."""
    pairs = (word.lstrip("?=<>").partition("=") for word in words[1:])
    return tuple(value for name, _, value in pairs if value and _SECRET_NAME.search(name))
