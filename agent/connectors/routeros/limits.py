"""Every limit of a conversation with a router, each with its reason or "chosen arbitrarily".

librouteros takes words of 256 MiB and answers without end; one router must not be able to fill the agent's memory.
"""

from __future__ import annotations

from typing import Final

# --- what comes from a router ---

WORD_BYTES: Final = 1 << 20
"""One word of a reply. The longest value that RouterOS hands out is a file's contents, 60 KiB."""

SENTENCE_BYTES: Final = 4 << 20
"""All words of one reply. Chosen arbitrarily."""

SENTENCE_WORDS: Final = 1024
"""Words of one reply. The widest recorded menu (7.20) takes 121 properties; a few read-only ones come on top."""

ANSWER_ROWS: Final = 200_000
"""Rows (and traps) in answer to one command: four times the largest secret list that we measure with."""

ANSWER_BYTES: Final = 128 << 20
"""Memory of one answer, as `WORD_COST_BYTES` counts it: 90,000 rows of ten short values."""

WORD_COST_BYTES: Final = 100
"""The overhead of a word, bytes, once it is a value in a row (CPython 3.11: 70 to 100)."""

NAMES_KNOWN: Final = 4096
"""Property names of which one copy is kept for a connection's rows. All recorded menus together have about 2,500."""

RECEIVE_BYTES: Final = 1 << 16
"""Taken from the socket at once, so that between two such pieces other tasks have their turn."""

TEXT_CHARS: Final = 300
"""A router's own words in an error. The longest recorded one has 133."""

TRAPS_KEPT: Final = 16
"""Messages of one command's traps. RouterOS sends one, or one an item."""

# --- what goes to a router ---

COMMAND_WORD_BYTES: Final = 1 << 16
"""One word that we send. A script's source is the longest, under 64 KiB."""

COMMAND_BYTES: Final = 1 << 18
"""All words of one sentence that we send. Chosen arbitrarily; the services' own have under 1 KiB."""

COMMANDS_IN_FLIGHT: Final = 32
"""Commands sent and not yet ended; others wait their turn, unsent. Each is a console job on the router's CPU."""

BATCH_BYTES: Final = 1 << 16
"""Sentences that are handed to the network in one piece: so much, or one sentence."""

# --- time ---

CANCEL_S: Final = 3.0
"""How long a cancelled command's end is waited for. RouterOS answers `/cancel` at once; longer, and it hangs."""

# --- logging in ---

CONNECTING_MAX: Final = 16
"""Routers that are being connected to at once; others wait, and their time begins afterwards. Each is a TLS handshake
on our one core: of 500 routers at once, 70 had no session within their 10 s."""

LOGIN_REPLIES: Final = 8
"""Replies before we are logged in: two will do, and some routers say `!empty`."""

LOGIN_BYTES: Final = 1 << 14
"""The same in bytes; both logins take under 100."""

CHALLENGE_CHARS: Final = 32
"""The challenge of a login before 6.43: 16 bytes in hexadecimal."""

SECRET_CHARS: Final = 4
"""Shorter secrets are not blotted out of a router's words: replacing every `a` would leave none (as the log does)."""
