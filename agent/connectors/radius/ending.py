"""Which sessions a disconnect ends, when it is sent and when it is sent again. Pure.

The first attempt ends every session of the login, but one that has what is wanted already. A later one ends what the
first one set out to end and what began before it: everything else logged in under what was written before, and is the
change's own result. One that is seen to be wrong is ended whenever it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from agent.connectors.radius.addresses import IN, NOT_IN, began_s
from agent.connectors.radius.garden import gardens_of, in_garden

if TYPE_CHECKING:
    from agent.model import Effect

CLOCKS_S: Final = 60
"""How far our clock and the one of accounting may be apart; chosen arbitrarily."""


def has_it(effect: Effect, session: Mapping[str, str]) -> bool:
    """Tell whether a session is seen to have what the disconnect is to bring about: it is in the garden."""
    return in_garden(session, gardens_of(effect.args.get(NOT_IN, "")))


def to_end_again(effect: Effect, session: Mapping[str, str], first_s: int) -> bool:
    """Tell whether a later attempt ends a session that earlier ones were not bound to.

    Args:
        effect: the disconnect.
        session: its fields, as accounting told them.
        first_s: when the first attempt read which sessions there were, unix seconds.
    """
    if in_garden(session, gardens_of(effect.args.get(IN, ""))):
        return True
    return began_s(session, first_s) < first_s - CLOCKS_S
