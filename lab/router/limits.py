"""The lab router's limits, each with its reason."""

from __future__ import annotations

from typing import Final

# a script's source is the longest value that a client has a reason to send; chosen arbitrarily above it
WORD_BYTES_MAX: Final = 4 << 20
# bounds what one peer can make the lab hold; chosen arbitrarily
SENTENCE_BYTES_MAX: Final = 16 << 20
# more words than the longest argument list recorded (about 130); chosen arbitrarily above it
SENTENCE_WORDS_MAX: Final = 4096
# what may wait for a client that does not read, before its connection is cut; a bulk read of 100,000 rows fits
OUTPUT_BYTES_MAX: Final = 256 << 20
# /ip/service max-sessions, as recorded (RouterOS 7.16 and later show it)
SESSIONS_MAX: Final = 20
# RouterOS keeps that many undoable actions
HISTORY_MAX: Final = 100
# the first .id of a dynamic row, as real routers number them
DYNAMIC_ID: Final = 0x80000000
# jumps on a packet's way through the firewall; real rule sets use two or three
JUMPS_MAX: Final = 256
# brackets open at once in a script; recorded scripts have 12 at most; each costs some 13 frames of Python's 1000
SCRIPT_DEPTH_MAX: Final = 40
# the longest listing recorded has 13,173 bytes, and 40 nested calls double theirs 40 times. Chosen arbitrarily between
SCRIPT_LISTING_BYTES_MAX: Final = 4 << 20

# how long after its session is gone a safe mode is undone, as it was measured
SAFE_MODE_UNDO_S: Final = 2.0
