"""Which values of a CPE join the history of their parameter, and how long that is. Pure.

A value joins it whenever it is read: by an Inform, a refresh, a test or a change; and, where the configuration says how
often, by a reading of these parameters alone when the CPE calls in.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from agent.cpe_model.known import CachedParameter
from agent.cpe_model.tracked import is_tracked

KEPT: Final = 500
"""Values of one parameter of one CPE: a day and a half at one in five minutes, three weeks at one an hour."""


def number(text: str) -> Decimal | None:
    """Return the number that a value is; None: it is none."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def samples(values: Mapping[str, CachedParameter]) -> dict[str, CachedParameter]:
    """Return the values that join the history: numbers of parameters that have one."""
    return {
        path: known
        for path, known in values.items()
        if is_tracked(path) and known.value is not None and number(known.value) is not None
    }
