"""One entry of the audit log: fixed bytes, no name, no free text. `docs/spec/leaf.md` is the layout.

Its record lies beside the tree, sealed; the leaf commits to it: SHA-256(salt || record) with 32
random bytes of salt. Erasing record and salt leaves a leaf that proves its place and tells nothing.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from trust.errors import MalformedLeafError

VERSION: Final = 0
SALT_BYTES: Final = 32
ACTOR_BYTES: Final = 16
NO_PLAN: Final = bytes(32)
NO_ACTOR: Final = bytes(ACTOR_BYTES)

# version u8, kind u8, minute u32, plan 32, trust version u32, item u32, step u16, code u8, reserved u8, actor 16,
# commitment 32; big-endian
_LAYOUT: Final = struct.Struct(">BBI32sIIHBB16s32s")
LEAF_BYTES: Final = _LAYOUT.size


class LeafKind(enum.IntEnum):
    """The kind of an event. Numbers are never reused; exports and tools print the word."""

    START = 1
    STOP = 2
    TRUST_INSTALLED = 3
    TRUST_CHANGED = 4
    INTENT = 5
    PLAN = 6
    PLAN_VOID = 7
    APPROVAL = 8
    REJECTION = 9
    REFUSED = 10
    CANCEL = 11
    FREEZE = 12
    UNFREEZE = 13
    CONSUMED = 14
    ABOUT_TO = 15
    STEP_OUTCOME = 16
    ITEM_STATE = 17
    CHANGE_FINISHED = 18
    DESIRED = 19
    IMPORTED = 20
    SECRET_SET = 21
    CLOCK_HALT = 22
    CLOCK_ACCEPT = 23
    DISCLOSED = 24
    EXPORTED = 25
    ERASED = 26
    RESTORED_DATABASE = 27
    REVIEW_OPENED = 28
    PAUSED = 29
    RESUMED = 30
    CONFIG_CHANGED = 31
    REVERT_STARTED = 32
    STANDING = 33
    STANDING_USED = 34
    PADDING = 35
    WITNESS_ANOMALY = 36
    UNWITNESSED_START = 37
    SEALKEY = 38
    CPE_DECIDED = 39
    REVIEW_CLOSED = 40

    @functools.cached_property
    def word(self) -> str:
        """The kind in lower case with hyphens: `about-to`."""
        return self.name.lower().replace("_", "-")


VERDICT_CODES: Final[Mapping[str, int]] = {"applied": 1, "not-applied": 2, "diverged": 3, "unknown": 4}
"""`code` of a step-outcome leaf."""

ITEM_STATE_CODES: Final[Mapping[str, int]] = {
    "planned": 1,
    "blocked": 2,
    "excluded": 3,
    "waiting": 4,
    "running": 5,
    "unknown": 6,
    "skipped": 7,
    "stale": 8,
    "superseded": 9,
    "cancelled": 10,
    "expired": 11,
    "not-applied": 12,
    "applied": 13,
    "set-at-next-login": 14,
    "set-not-enforced": 15,
    "diverged": 16,
    "reverted": 17,
    "needs-a-person": 18,
    "accepted": 19,
}
"""`code` of an item-state leaf. Leaves that were written keep their meaning: new states go to the end.

An about-to leaf has one too where it begins its item.
"""


_STATES: Final = {number: word for word, number in ITEM_STATE_CODES.items()}
_WORDS: Final[Mapping[LeafKind, Mapping[int, str]]] = {
    LeafKind.STEP_OUTCOME: {number: word for word, number in VERDICT_CODES.items()},
    LeafKind.ITEM_STATE: _STATES,
    LeafKind.ABOUT_TO: _STATES,
}


def code_word(kind: LeafKind, code: int) -> str:
    """Return the word of a leaf's code, where its kind has a table; else the number, or nothing for 0."""
    return _WORDS.get(kind, {}).get(code, str(code) if code else "")


STATEMENT: Final = "statement_sha256"
"""Field of a leaf's record: the digest, in hex, of the signed statement for which the leaf was written."""

PLAN_LEAVES: Final = "plan_leaves"
"""Field of a change-finished leaf's record: how many leaves its plan has, up to and with this one."""

STATEMENT_KINDS: Final = frozenset(
    {
        LeafKind.APPROVAL,
        LeafKind.REJECTION,
        LeafKind.CANCEL,
        LeafKind.FREEZE,
        LeafKind.UNFREEZE,
        LeafKind.STANDING,
        LeafKind.STANDING_USED,
        LeafKind.CHANGE_FINISHED,
        LeafKind.REVIEW_CLOSED,
    }
)
"""Kinds of leaves with a record that names a statement by its digest. They name no subscriber: an export always opens
them.
"""

SIGNED_OR_NOT: Final = frozenset({LeafKind.PAUSED, LeafKind.RESUMED})
"""Kinds of leaves with a record that names a statement, or none: requests at the agent's socket are not signed."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of the log, 98 bytes (docs/spec/leaf.md).

    `minute` is unix minutes; `plan` a plan's digest or zeros; `item` and `step` 0 where there is none; `code` a verdict
    or item state (see the tables above), 0 where there is none; `actor` a random reference to the person or program, or
    zeros; `commitment` binds the record.
    """

    kind: LeafKind
    minute: int
    commitment: bytes
    plan: bytes = NO_PLAN
    trust_version: int = 0
    item: int = 0
    step: int = 0
    code: int = 0
    actor: bytes = NO_ACTOR

    @property
    def code_word(self) -> str:
        """The code's word, as `code_word` gives it."""
        return code_word(self.kind, self.code)


def encode(leaf: Leaf) -> bytes:
    """Return the leaf's 98 bytes.

    Raises:
        MalformedLeafError: a number out of its range, or bytes of another length.
    """
    if (len(leaf.plan), len(leaf.actor), len(leaf.commitment)) != (32, ACTOR_BYTES, 32):
        raise MalformedLeafError(
            f"leaf: expected plan, actor and commitment of 32, {ACTOR_BYTES} and 32 bytes, got "
            f"{len(leaf.plan)}, {len(leaf.actor)} and {len(leaf.commitment)}"
        )
    numbers = (leaf.trust_version, leaf.item, leaf.step, leaf.code)
    try:
        return _LAYOUT.pack(VERSION, leaf.kind, leaf.minute, leaf.plan, *numbers, 0, leaf.actor, leaf.commitment)
    except struct.error as err:
        raise MalformedLeafError(f"leaf: a number is out of its range: {err}") from err


def decode_untrusted(data: bytes) -> Leaf:
    """Return the leaf that `data` is.

    Raises:
        MalformedLeafError: another length or version, an unknown kind, or a reserved byte that is not 0.
    """
    if len(data) != LEAF_BYTES:
        raise MalformedLeafError(f"leaf: expected {LEAF_BYTES} bytes, got {len(data)}")
    version, kind, minute, plan, trust_version, item, step, code, reserved, actor, commit = _LAYOUT.unpack(data)
    if version != VERSION or reserved:
        raise MalformedLeafError(f"leaf: expected version {VERSION} and reserved 0, got {version} and {reserved}")
    try:
        known = LeafKind(kind)
    except ValueError as err:
        raise MalformedLeafError(f"leaf: unknown kind {kind}") from err
    return Leaf(known, minute, commit, plan, trust_version, item, step, code, actor)


def commitment(salt: bytes, record: bytes) -> bytes:
    """Return SHA-256(salt || record), 32 bytes.

    Raises:
        MalformedLeafError: the salt is not 32 bytes; the boundary between the two would be open.
    """
    if len(salt) != SALT_BYTES:
        raise MalformedLeafError(f"commitment: expected a salt of {SALT_BYTES} bytes, got {len(salt)}")
    return hashlib.sha256(salt + record).digest()
