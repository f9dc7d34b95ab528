"""What is asked of CPE, in the words of an intent.

name or path -> text                                a parameter
+TABLE.[field=text,...] -> field=text,...           a row that is to be there
-TABLE.[field=text,...] -> ""                       a row that is to go
@rotate, @baseline -> any text                      new credentials, or the declared baseline
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trust.errors import MalformedError

ROTATE: Final = "@rotate"
"""The setting that asks for new credentials, both ways."""
BASELINE: Final = "@baseline"
"""The setting that asks for what the agent's configuration declares of such CPE."""


def read_settings(values: Sequence[str], rows: Sequence[str], deleted: Sequence[str]) -> dict[str, str]:
    """Return settings from the texts that people type.

    Args:
        values: `NAME=VALUE`, each name once.
        rows: `TABLE.[FIELD=VALUE]:FIELD=VALUE,...`.
        deleted: `TABLE.[FIELD=VALUE]`.

    Raises:
        MalformedError: a text of another form, or a name twice.
    """
    settings: dict[str, str] = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise MalformedError(f"--value: expected NAME=VALUE, got {text!r}")
        if name in settings:
            raise MalformedError(f"--value: expected {name} once, got it twice")
        settings[name] = value
    for text in rows:
        where, sign, fields = text.partition("]:")
        if not sign:
            raise MalformedError(f"--row: expected TABLE.[FIELD=VALUE]:FIELD=VALUE,…, got {text!r}")
        settings[f"+{where}]"] = fields
    return settings | {f"-{text}": "" for text in deleted}
