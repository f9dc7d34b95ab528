"""Which sessions a disconnect ends, when it is sent and when it is sent again. Pure.

The first attempt ends every session of the login, but one that is as wanted already: by its address, or since it began
when the rows were right. A suspension also ends one in the garden that may be over: a NAS was asked for its end before,
and accounting does not show that it goes on. If it is over, its NAS denies it and is asked for others of the login.

A later attempt ends the sessions that the first one set out to end and those that began before it: every other one
logged in under the written settings, and is the change's own result. One that is seen to be wrong is ended whenever it
began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.connectors.base import clock_set_s
from agent.connectors.radius.addresses import IN, KNOWN, NOT_IN, OUTSIDE, RIGHT_SINCE, SPARED, began_s
from agent.connectors.radius.beginnings import CLOCKS_S, Began
from agent.connectors.radius.garden import gardens_of, is_outside, partly_in_garden, stays_in_garden

if TYPE_CHECKING:
    from agent.model import Effect


def has_it(effect: Effect, unique_id: str, session: Mapping[str, str]) -> bool:
    """Tell whether a session is as the disconnect should make it.

    One that stays in the garden is suspended. After a restore, one that began since the preview and is outside of the
    garden is active, and so is one that the preview showed there: a NAS had acknowledged its end, and did nothing.
    Where the rows were right before the preview already, one that began since and that it did not show is right too: of
    a tariff nothing else tells.

    Args:
        effect: the disconnect.
        unique_id: of the session.
        session: its fields, as accounting told them.
    """
    if stays_in_garden(session, gardens_of(effect.args.get(NOT_IN, ""))):
        return True
    wrong = gardens_of(effect.args.get(IN, ""))
    if partly_in_garden(session, wrong) or unique_id in effect.args.get(KNOWN, "").split(","):
        return False
    if unique_id in effect.args.get(SPARED, "").split(",") and is_outside(session, wrong):
        return True
    # Accounting has another machine's clock. Nothing tells whether ours was right before it was set or after
    began, set_s = began_s(session, 0), clock_set_s(effect.args)
    if OUTSIDE in effect.args and is_outside(session, wrong):
        return began >= int(effect.args[OUTSIDE]) + min(set_s, 0) - CLOCKS_S
    return RIGHT_SINCE in effect.args and began >= int(effect.args[RIGHT_SINCE]) + max(set_s, 0)


def to_end_again(effect: Effect, session: Mapping[str, str], began: Began) -> bool:
    """Tell whether a later attempt ends a session that earlier ones were not bound to.

    Args:
        effect: the disconnect.
        session: its fields, as accounting told them.
        began: whether that was before the first attempt. One of which that is not certain is ended too.
    """
    return began is not Began.SINCE or partly_in_garden(session, gardens_of(effect.args.get(IN, "")))


def seems_old(effect: Effect, session: Mapping[str, str], first_s: int) -> bool:
    """Tell whether a session began before the first attempt if accounting's clock and ours are alike.

    Args:
        effect: the disconnect.
        session: its fields, as accounting told them.
        first_s: when the first attempt read which sessions there were, unix seconds by our clock of now.
    """
    # Nothing tells whether our clock was set before that attempt or after it
    return began_s(session, first_s) < first_s - max(clock_set_s(effect.args), 0) - CLOCKS_S
