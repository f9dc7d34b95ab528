"""Every limit of the uplink, each with its reason or "chosen arbitrarily". The other side is trusted with none."""

from __future__ import annotations

from typing import Final

from trust import limits as trust_limits

OVERHEAD_BYTES: Final = 4096
"""The most that a message's other fields need."""

BODY_BYTES: Final = trust_limits.ENVELOPE_BYTES
"""A body that comes in: a DSSE envelope, or an intent sealed around one."""

LINKS_MAX: Final = 32
"""Trust documents that come with one message: eight years of quarterly ones."""

REF_BYTES: Final = 16
EPOCH_BYTES: Final = 16
WITNESS_BYTES: Final = 4

COSIGNATURE_BYTES: Final = trust_limits.NOTE_BYTES
"""The largest answer of a witness to a checkpoint."""

CERTIFICATE_BYTES: Final = 16_384
"""A certificate, DER; ours have under 1 KiB. Chosen arbitrarily."""

INBOX_ROWS: Final = 1000
"""Undone messages above which no more are taken in: the stream waits, and gRPC's flow control holds the sender."""

INBOX_BYTES: Final = 64 << 20
"""The same in bytes, so that a flood fills no disk."""

BURST: Final = 2000
"""Cost of events (1 each, and 1 for each 64 KiB) taken at once; a quarter's messages after a restored backup."""

COST_PER_S: Final = 200.0
"""Cost of events taken per second after that. A flood then costs a few percent of one core. Chosen arbitrarily."""

COST_BYTES: Final = 65_536

HELLO_S: Final = 15.0
"""From dialing to the first event: TCP, TLS and one answer."""

CALL_S: Final = 20.0
"""One call: 4 MiB at 2 Mbit/s."""

BOARD_S: Final = 10.0
"""The board: some 100 KiB, while messages wait. Without an answer the connection goes on."""

WATCH_S: Final = 3600.0
"""A stream ends after this long and is opened again, so that one that trickles or wedged is not for ever."""
