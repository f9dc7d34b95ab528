"""Numbers and booleans in CWMP messages, read liberally (TR-106 annex A.2, XML Schema part 2)."""

from __future__ import annotations

import re
from typing import Final

from agent.connectors.cwmp.errors import MalformedMessageError
from agent.cpe_model import limits

_NUMBER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)


def read_number_untrusted(text: str) -> int:
    """Return a whole number; its range is the reader's to judge.

    Raises:
        MalformedMessageError: no number of at most `limits.NUMBER_CHARS` characters.
    """
    text = text.strip()
    if len(text) > limits.NUMBER_CHARS or not _NUMBER.fullmatch(text):
        raise MalformedMessageError(f"expected a whole number, got {len(text)} characters")
    return int(text)


def read_boolean_untrusted(text: str) -> bool:
    """Return a boolean: `1`, `true`, `0`, `false` in any case, and any other number as C has it.

    CPE say `30` where a boolean belongs; that it is true is a guess that programs in C make as well.

    Raises:
        MalformedMessageError: none of these.
    """
    word = text.strip().lower()
    if word in ("true", "false"):
        return word == "true"
    try:
        return read_number_untrusted(word) != 0
    except MalformedMessageError as err:
        raise MalformedMessageError(f"expected a boolean, got {len(word)} characters") from err
