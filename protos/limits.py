"""Limits of the protocol that both ends keep, each with its reason or "chosen arbitrarily"."""

from __future__ import annotations

from typing import Final

MESSAGE_BYTES: Final = 4 << 20
"""One gRPC message, both ways: gRPC's own default. Larger ones end the call before they are read whole."""

METADATA_BYTES: Final = 16_384
"""Headers and trailers of a call; ours have under 200 bytes."""

PROBLEM_BYTES: Final = 64
"""A serialized `Problem` has at most 12 bytes; more is not read."""

RETRY_AFTER_S_MAX: Final = 60
"""The longest pause that the control plane may ask for: it must not be able to silence an agent for long."""
