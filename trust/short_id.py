"""The short id of a change, by which people name it: `K7QF2`. Pure.

It is the beginning of the plan's own 128-bit id, in letters that nobody confuses when they are read aloud. Whoever has
the plan, the site, a desk or an auditor, comes to the same word, and nobody has to be told it. The control plane learns
nothing by it: it has the plan's id, which is random.
"""

from __future__ import annotations

import functools
from typing import Final

SHORT_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without 0 and O, 1, I and L, and U, which is heard as V."""
SHORT_CHARS: Final = 5
"""24 million words: where two changes of a site would have the same one, the id of the later one is drawn again."""
SHORT_CHARS_MIN: Final = 4
"""The fewest letters by which a change may be named."""
SHORT_CHARS_MAX: Final = 26
"""So many letters tell any two ids apart that two random draws ever give."""
_ID_BITS: Final = 128


@functools.lru_cache(maxsize=65_536)  # a desk asks for all of a shared feed at each message
def short_id(plan_id: bytes, chars: int = SHORT_CHARS) -> str:
    """Return the first letters of a plan's id; more letters begin with the fewer ones.

    Args:
        plan_id: 16 bytes.
        chars: how many letters, 1 to `SHORT_CHARS_MAX`.
    """
    left, letters = int.from_bytes(plan_id, "big"), []
    for _ in range(chars):
        left *= len(SHORT_ALPHABET)
        letters.append(SHORT_ALPHABET[left >> _ID_BITS])
        left &= (1 << _ID_BITS) - 1
    return "".join(letters)


def names(ref: str, plan_id: bytes) -> bool:
    """Return whether a word that a person typed, in any case, is the beginning of a plan's short id.

    Args:
        ref: the word.
        plan_id: 16 bytes.
    """
    word = ref.strip().upper()
    return SHORT_CHARS_MIN <= len(word) <= SHORT_CHARS_MAX and short_id(plan_id, len(word)) == word


def apart(plan_ids: list[bytes]) -> dict[bytes, str]:
    """Return a short id for each plan, with as many letters as tell it from the others.

    Args:
        plan_ids: 16 bytes each.
    """
    found: dict[bytes, str] = {}
    left, chars = set(plan_ids), SHORT_CHARS
    while left:
        by_word: dict[str, list[bytes]] = {}
        for plan_id in left:
            by_word.setdefault(short_id(plan_id, chars), []).append(plan_id)
        for word, ids in by_word.items():
            if len(ids) == 1 or chars == SHORT_CHARS_MAX:
                found.update(dict.fromkeys(ids, word))
                left.difference_update(ids)
        chars += 1
    return found
