"""Ask anew for the rest of a change: the services or ports of which nothing was sent, or nothing stands.

Only those are taken from the old change, with its reason, tariff or settings. Debts and the network are read now, for a
plan of its own that is previewed and approved like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent.changes.journal.machine import Gate
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import RequestError
from agent.model import Item, ItemState, ReasonChange, SuspensionReason
from agent.reasons import RefusalReason
from agent.rest import HAVE_A_REST, anew
from trust.policy import Action

S = ItemState
RETURNS = frozenset({S.STALE, S.CANCELLED, S.EXPIRED, S.NOT_APPLIED})
COMMANDS_SHOWN = 3
Commands = Callable[[str, ItemState, str], str]
"""(short id of a change, state of an item, name of the item) -> the command that asks for it again."""
_UNUSED = frozenset({Gate.EXPIRED, Gate.CANCELLED, Gate.VOID})
"""Gates of plans that were never used, and that nobody said no to."""
_LEFT_OUT: Mapping[ItemState, str] = {
    S.APPLIED: "done",
    S.ACCEPTED: "accepted, not provable",
    S.SET_AT_NEXT_LOGIN: "set, holds at the next login",
    S.SET_NOT_ENFORCED: "set, not enforced",
    S.SKIPPED: "skipped then",
    S.SUPERSEDED: "a restore took its place",
    S.DIVERGED: "diverged: needs a person first",
    S.NEEDS_A_PERSON: "needs a person first",
    S.REVERTED: "taken back",
    S.EXCLUDED: "left out then, too",
    S.BLOCKED: "could not be enforced then",
}


_VERBS: Mapping[Action, str] = {
    Action.REMOVE: "ispagent subscriber remove REF",
    Action.RENAME_LOGIN: "ispagent subscriber rename-login REF NEW",
    Action.EDIT: "ispagent subscriber import FILE",
    Action.PREPARE: "ispagent device prepare NAME",
    Action.ADOPT: "ispagent change adopt REF",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A service or port of a change that is not asked for again, and why. `command`: the one for it; "": none is."""

    service: str
    why: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class RestOfChange:
    """The services or ports of a change that are asked for again, and the others. `settings`: of a change of ports."""

    short: str
    action: Action
    refs: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    reason: SuspensionReason = SuspensionReason.DEBT
    tariff: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def said(self) -> str:
        """Return one line for a preview: of which change, and how many of it are left out."""
        counts = Counter(o.why for o in self.left_out)
        out = ", ".join(f"{n} {why}" for why, n in counts.items())
        whole = len(self.refs) + len(self.left_out)
        return f"again {len(self.refs)} of {whole} of {self.short}{f' · left out: {out}' if out else ''}"


def returning_states(loaded: Loaded) -> frozenset[ItemState]:
    """Return the states of the items of a change that are asked for again.

    Raises:
        RequestError: it is not over, is an action without a rest, or was rejected.
    """
    row, action = loaded.row, loaded.plan.action
    if action is Action.REVERT:
        of = "" if row.reverts is None else f" {row.reverts.hex()}"
        raise RequestError(f"{row.short} is a revert: ispagent change revert{of} asks for what still stands")
    if action.value not in HAVE_A_REST:
        raise RequestError(f"{row.short} is a {action.value}: ask for it by its own verb, {own_verb(action)}")
    over = row.finished_seq is not None if row.gate is Gate.CONSUMED else row.gate in _UNUSED
    if not over:
        now = "still running" if row.gate is Gate.CONSUMED else row.gate.value
        raise RequestError(
            f"{row.short}: expected a change that is over and was not rejected, it is {now}", refused=True
        )
    return RETURNS if row.gate is Gate.CONSUMED else RETURNS | {S.PLANNED, S.WAITING}


def own_verb(action: Action) -> str:
    """Return the command that asks for an action without a rest."""
    return "ispagent cpe --help" if action.on_cpe else _VERBS[action]


def left_out(short: str, name: str, state: ItemState, commands: Commands) -> LeftOut:
    """Return an item of a change that is not asked for again. `commands`: for the items that are not over."""
    return LeftOut(name, _LEFT_OUT.get(state, state.value), commands(short, state, name))


def no_rest(short: str, left: Sequence[LeftOut]) -> RequestError:
    """Return the refusal of a change of which nothing is asked for again, with the commands that there are."""
    commands = dict.fromkeys(one.command for one in left if one.command)
    instead = f"; of it there is: {'; '.join([*commands][:COMMANDS_SHOWN])}" if commands else ""
    return RequestError(f"{short} has no rest: nothing of it is stale, cancelled, expired or not applied{instead}")


def command_of(short: str, state: ItemState, diverged: str) -> str:
    """Return the command for an item that `change again` leaves out, and that is not over; "": none is needed.

    Args:
        short: of the change.
        state: of the item.
        diverged: the typed consent where somebody else wrote there since.
    """
    match state:
        case S.SET_NOT_ENFORCED:
            return f"ispagent change retry {short}"
        case S.NEEDS_A_PERSON:  # half of it stands, or a session was ended and nothing was written
            return f"ispagent change show {short} --open, then ispagent change revert {short}"
        case S.DIVERGED:
            return diverged
        case _:
            return ""


def rest_of(loaded: Loaded, known: Collection[str], overtaken: Callable[[Item], str]) -> RestOfChange:
    """Return the rest of a change of services.

    Args:
        loaded: the change.
        known: the services that the inventory has now.
        overtaken: why an item that is set is not tried again, since others acted on its service; "": it is.

    Raises:
        RequestError: it is not over, is an action without a rest, was rejected, or has no such rest.
    """
    row, action, returns = loaded.row, loaded.plan.action, returning_states(loaded)
    if action is Action.DISCONNECT and any(isinstance(step.do, tuple) for i in loaded.items.items for step in i.steps):
        # It writes, as only the closing of stale rows does. Its rest has no hours of silence to go by: as a plain
        # disconnect it would end sessions that live
        raise RequestError(
            f"{row.short} closes stale sessions: ask for it by its own verb, ispagent session close-stale"
        )

    cancelled = any(one.reason == RefusalReason.CANCELLED for one in loaded.rows.values())
    left_alone = {i.subject for i in loaded.items.items if cancelled or overtaken(i)}

    def commands(short: str, state: ItemState, ref: str) -> str:
        again = anew(action.value, [ref])
        if ref in left_alone and state is S.SET_NOT_ENFORCED:
            return again  # a retry is refused
        return command_of(short, state, f"ispagent subscriber show {ref}, then {again}")

    refs: list[str] = []
    left: list[LeftOut] = []
    for item in loaded.items.items:
        state = loaded.rows[item.n].state
        if item.subject is None:
            continue
        if state in returns and item.subject not in known:
            left.append(LeftOut(item.subject, "no longer in the subscriber list"))
        elif state in returns:
            refs.append(item.subject)
        else:
            left.append(left_out(row.short, item.subject, state, commands))
    if not refs:
        raise no_rest(row.short, left)
    reasons = (d.reason for i in loaded.items.items for d in i.desired if isinstance(d, ReasonChange))
    recorded = row.reason.lstrip("+-")
    reason = SuspensionReason(recorded) if recorded in set(SuspensionReason) else next(reasons, SuspensionReason.DEBT)
    return RestOfChange(
        row.short, action, tuple(refs), tuple(left), reason, loaded.items.head.display.get("tariff", "")
    )
