"""Every limit of `trust`, each with its reason or "chosen arbitrarily"."""

from __future__ import annotations

from typing import Final

ITEM_BYTES: Final = 1 << 20
"""One item document or the head: a page of items is at most 1 MiB, so an item is too."""

ITEMS_MAX: Final = 100_000
"""Items of one plan: twice the services of the largest operator we aim at; chosen arbitrarily."""

STEPS_MAX: Final = 1000
"""Steps of one item; a leaf has 16 bits for the number. Chosen arbitrarily."""

SECONDS_MAX: Final = 2**53
"""Any integer of ours: above it JavaScript's and SQLite's readers would round or overflow."""

MINUTES_MAX: Final = 2**32 - 1
"""Unix minutes fit the 32 bits that a leaf has for them, until the year 10136."""

SIGNATURES_MAX: Final = 100
"""Signatures of one envelope; C2SP asks verifiers of notes to accept 16 or more and to cap."""

STATEMENT_BYTES: Final = 1 << 20
"""One statement: under half of gRPC's default message of 4 MiB once it is base64 in an envelope."""

ENVELOPE_BYTES: Final = 2 * STATEMENT_BYTES
"""One envelope: a statement in base64 (4/3), and a hundred signatures."""

PAYLOAD_TYPE_BYTES: Final = 255
"""UTF-8 bytes of a payload type; RFC 6838 section 4.2 allows a media type 127 + 1 + 127."""

KEYID_CHARS: Final = 128
"""Characters of a key id; it is a hint only. Chosen arbitrarily."""

JSON_DEPTH: Final = 16
"""Nesting of JSON; our own documents need 8. The same number as tailscale's tka."""

TEXT_BYTES: Final = 65_536
"""UTF-8 bytes of one text; a row set's longest value is under 8 KiB. Chosen arbitrarily."""

NAME_BYTES: Final = 255
"""UTF-8 bytes of a field's name; RADIUS attribute names and addresses of resources fit. Chosen arbitrarily."""

HANDLE_CHARS: Final = 32
"""Characters of a handle `[a-z0-9-]{1,32}`. The control plane may read handles: they have no room for other text."""

DIGITS_MAX: Final = 20
"""Digits of a JSON integer, before it is converted: int() is quadratic. 2**64 has 20."""

PEOPLE_MAX: Final = 512
"""People of one trust document, as tailscale's tka keys. Removal is always possible, even above."""

KEYS_MAX: Final = 8
"""Keys of one person or service: a desk, a laptop, a spare. Chosen arbitrarily."""

AGENTS_MAX: Final = 512
"""Agents of one trust document. Chosen arbitrarily."""

PLANS_MAX: Final = 64
"""Plans that one approval or cancel names: a night's batches. Chosen arbitrarily."""

FREEZES_OF_UNFREEZE: Final = 64
"""Freezes that one unfreeze lifts: with two signatures 7 KiB. Three people hold at most 60. Chosen arbitrarily."""

TRUST_DAYS_MAX: Final = 90
"""Days that a trust document may be valid: an attacker gains as much by withholding its successor."""

SEAL_MEM_BYTES_MAX: Final = 1 << 30
"""argon2id memory that a key file may ask for: libsodium's SENSITIVE; more would be a way to halt a workstation."""

SEAL_OPS_MAX: Final = 16
"""argon2id passes that a key file may ask for: four times SENSITIVE. Chosen arbitrarily."""

KEY_FILE_BYTES: Final = 4096
"""A key file; ours have about 350 bytes. Chosen arbitrarily."""

NOTE_BYTES: Final = 65_536
"""A signed note: a checkpoint has under 300 bytes, and 100 signature lines under 20 KiB. Chosen arbitrarily."""

TREE_SIZE_MAX: Final = 2**63 - 1
"""Leaves of a log: SQLite's integers, and Go's int64 in other C2SP programs."""

PROOF_HASHES_MAX: Final = 63
"""Hashes of an inclusion or consistency proof in a tree of 2**63 leaves (c2sp.org/tlog-witness says the same)."""

RECORD_BYTES: Final = 1 << 20
"""One opened record of the log. Chosen arbitrarily."""

PROOF_FILE_BYTES: Final = 4 << 20
"""One proof file: a note, 63 hashes, one record in base64. Chosen arbitrarily."""

EXPORT_BYTES: Final = 256 << 20
"""One export: about 100,000 leaves with proofs. An offline tool reads it into memory. Chosen arbitrarily."""

EXPORT_LINES_MAX: Final = 1_000_000
"""Lines of one export. Chosen arbitrarily."""

SEALKEY_MINUTES_MAX: Final = 7 * 24 * 60
"""Life of an agent's sealing key: a body sealed to it opens for a week and a day at most."""

VIEW_SECONDS_MAX: Final = 600
"""Seconds that a request to see items may be valid: it is answered while the person waits."""

STANDING_MINUTES_MAX: Final = 30 * 24 * 60
"""Life of a standing authority: two people look at it again every month at least."""

STANDING_RATE_MAX: Final = 1000
"""Uses of a standing authority in an hour; the preset is 60. Chosen arbitrarily."""

SEALED_BYTES: Final = 2 * STATEMENT_BYTES
"""Plain bytes of one sealed body, padding included: an envelope's."""

PAGE_BYTES: Final = 512 << 10
"""Plain bytes of one page of a view: with its seal under 1 MiB, a quarter of gRPC's default message."""

VIEW_BYTES: Final = 256 << 20
"""All pages of one view: about 100,000 items. The desk reads them into memory. Chosen arbitrarily."""
