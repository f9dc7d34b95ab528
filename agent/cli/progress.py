"""The progress of a change while somebody watches: how many items are over, how fast, how long it takes. Pure."""

from __future__ import annotations

from collections import Counter
from typing import cast

from agent.cli.client import Json
from agent.cli.outcome import is_open, state_text
from agent.cli.when import unix_of

_RUNNING = frozenset({"planned", "running", "waiting", "unknown"})
_SHORT_S = 3.0
"""A rate over a shorter time says nothing yet."""


class Progress:
    """The states of a change's items so far, by its events from the first one.

    `event`: each one as the agent sends it; `line`: for a terminal, in one line.
    """

    def __init__(self, change: Json) -> None:
        items = cast("list[Json]", change["items"])
        self._id = str(change["id"])
        # The events begin with the change, whatever its items are now
        self._states = {i["n"]: "planned" for i in items if i["state"] not in ("excluded", "blocked")}
        self._began_s = 0

    def event(self, event: Json) -> bool:
        """Take an event; return whether a person should see it as a line of its own."""
        if event["kind"] not in ("item-state", "about-to", "step-outcome"):
            return True
        n, state = event["item"], str(event["what"])
        if event["kind"] == "step-outcome" or not state or n not in self._states:
            return False  # an "about to" says a state where it begins its item
        self._states[n] = state
        self._began_s = self._began_s or unix_of(event["at"])
        return is_open(state)

    def line(self, now_s: float) -> str:
        """Return `K7QF2  132 of 400 · 120 done, 12 NOT APPLIED · 10.1/s · 27 s left`."""
        counts = Counter(state for state in self._states.values() if state not in _RUNNING)
        over, total = counts.total(), len(self._states)
        told = ", ".join(f"{n} {_word(state)}" for state, n in counts.most_common())
        return " · ".join(filter(None, (f"{self._id}  {over} of {total}", told, self._pace(over, total, now_s))))

    def _pace(self, over: int, total: int, now_s: float) -> str:
        if not self._began_s or not over or over == total or now_s - self._began_s < _SHORT_S:
            return ""
        rate = over / (now_s - self._began_s)
        left_s = (total - over) / rate
        left = f"{left_s:.0f} s" if left_s < 100 else f"{left_s / 60:.0f} min"
        return f"{rate:.1f}/s · {left} left"


def _word(state: str) -> str:
    """Return the word for a state: of an item that went through, events do not tell if it was enforced or recorded."""
    return "done" if state == "applied" else state_text(state)
