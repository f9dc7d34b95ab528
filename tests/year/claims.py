"""What the agent claims of a service, and when that is false. Pure.

A claim is judged against everything that was so at some instant of a stretch of time in which it was made: false is
only what held at none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from lab.policy import UserRows
from lab.truth import LineState

CARRIES_ON = ("carry on", "carries on", "still in the garden", "outside of the garden")
"""Words by which a "set, not enforced" says that a session is not as wanted, beside those that only say: not proven."""
STAYS_REJECTED = "stays-rejected"
"""The reason that says: nothing of ours holds the line back, and staff reject it."""
NO_SESSION = ("offline",)
"""Reasons by which "at the next login" says that there is no session."""
NONE_KNOWN = ("none-known",)
"""Reasons by which it says that no session is known, and that one whose Start got lost has what was set."""
LEFT = ("overtaken", "not-proven-in-time")
"""Reasons by which an item says that it is no longer judged: its state is the last one that was claimed."""
RECORDED = "recorded"
"""The reason that says: only a reason was recorded, since the settings were as wanted. Of sessions it says nothing."""
NOT_PROVEN = "not proven"
"""Words by which a claim says that nobody knows of sessions that accounting does not know: it is of the next login."""
UNTOLD = "what holds cannot be told"
"""Words of an answer that something is there, and that nobody knows what follows from it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a line should be. `rates`: one of them, where it is not walled; empty: any.

    `former`: rates that a session may have too, since staff gave its tariff another one after it began. Accounting
    tells nobody a session's rate, and "already" claims none.
    """

    suspended: bool
    rates: frozenset[str] = frozenset()
    former: frozenset[str] = frozenset()

    def sessions_fit(self, state: LineState) -> bool:
        """Tell whether no session is otherwise."""
        if self.suspended:
            return all(s.walled for s in state.sessions)
        return all(not s.walled and (not self.rates or s.rate in self.rates | self.former) for s in state.sessions)

    def next_fits(self, state: LineState) -> bool:
        """Tell whether the next login gets it. A suspended one may be rejected as well."""
        if self.suspended:
            return state.next.walled or not state.next.accepted
        rate_fits = not self.rates or state.next.rate in self.rates
        return state.next.accepted and not state.next.walled and rate_fits

    def holds(self, state: LineState) -> bool:
        """Tell whether the line is so."""
        return self.sessions_fit(state) and self.next_fits(state)

    def text(self) -> str:
        """Return it for people."""
        return "suspended" if self.suspended else f"active{' at ' + '/'.join(sorted(self.rates)) if self.rates else ''}"


@dataclass(frozen=True, slots=True)
class ItemFact:
    """An item as the agent shows it."""

    state: str
    reason: str
    detail: str


def false_at_end(item: ItemFact, wanted: Wanted, run: Collection[LineState], end: Collection[LineState]) -> str:
    """Return what an ended item claims falsely; "": nothing.

    Args:
        item: how it ended.
        wanted: what the agent records of the service since.
        run: what was so from the approval to the end, latest first.
        end: what was so in the last moment alone.
    """
    if not run or item.reason in LEFT:
        return ""  # no run: staff gave the line another login meanwhile, and nothing is known of the agent's one
    if item.reason == STAYS_REJECTED:
        return "" if _ever(run, lambda s: not s.next.accepted) else "the login stays rejected"
    if item.state == "applied" and not _ever(run, wanted.next_fits if item.reason == RECORDED else wanted.holds):
        return f"applied: the line is {wanted.text()}"
    if item.state == "set-at-next-login":
        if not _ever(run, wanted.next_fits):
            return f"set at next login: it gets {wanted.text()}"
        if item.reason in NO_SESSION and not _ever(run, lambda s: not s.sessions):
            return "set at next login: there is no session"
        if item.reason in NONE_KNOWN and NOT_PROVEN not in item.detail and not _ever(run, wanted.sessions_fit):
            return "set at next login: each session has it"
    carries_on = item.state == "set-not-enforced" and any(words in item.detail for words in CARRIES_ON)
    if carries_on and end and all(map(wanted.holds, end)):
        return f"set, not enforced: {item.detail}"
    return ""


def false_already(action: str, wanted: Wanted, asked: Collection[LineState], words: str = "") -> str:
    """Return what "already" claims falsely; "": nothing.

    Args:
        action: what was asked.
        wanted: how the line should be.
        asked: what was so while the preview was made.
        words: by which it was said.
    """
    if UNTOLD in words:
        return ""
    if NOT_PROVEN in words and action != "disconnect":
        return "" if _ever(asked, wanted.next_fits) else f"nothing would change: the next login gets {wanted.text()}"
    if action == "disconnect":
        return "" if _ever(asked, lambda s: not s.sessions) else "nothing to disconnect: there is no session"
    return "" if _ever(asked, wanted.holds) else f"nothing would change: the line is {wanted.text()}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A service as the agent records it. `groups`: group of each tariff that the method maps."""

    suspended: bool
    tariff: str
    groups: Mapping[str, str]


def differences(recorded: Recorded, state: LineState, rows: UserRows, known: Collection[str]) -> frozenset[str]:
    """Return the codes of the differences between the record and a line.

    Args:
        recorded: the agent's record.
        state: what the line really does.
        rows: of the login that the agent knows.
        known: ids of the sessions that accounting knows; of others nobody can be told without being thrown out.
    """
    if not (rows.check or rows.reply or rows.groups):
        return frozenset({"login-missing"})
    if not state.next.accepted:
        return frozenset({"login-rejected"})
    if recorded.suspended and not state.next.walled:
        found = {"suspension-gone"}
    elif state.next.walled and not recorded.suspended:
        found = {"suspended-unrecorded"}
    else:
        wrong = [s for s in state.sessions if s.walled is not recorded.suspended and s.session_id in known]
        found = {"session-at-large" if recorded.suspended else "session-suspended"} if wrong else set()
    applied = [name for name, group in recorded.groups.items() if any(g.name == group for g in rows.groups)]
    # A suspended login may hide its tariff's group: then nobody says anything of it
    if applied != [recorded.tariff] and (len(applied) == 1 or not state.next.walled):
        found.add("tariff-differs")
    return frozenset(found)


def opened(before: Iterable[LineState], after: LineState) -> bool:
    """Tell whether somebody is let in who was rejected all the while before."""
    return after.next.accepted and all(not s.next.accepted for s in before)


def _ever(states: Iterable[LineState], holds: Callable[[LineState], bool]) -> bool:
    return any(map(holds, states))
