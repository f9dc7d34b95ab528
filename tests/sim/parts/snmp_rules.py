"""Judges changes of ports, and what is said of them, by the switches' own record. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `claim` | of its port, what is said of a step was true between its announcement and its leaf; no item whose step cut |
| | power ends in a state, or for a reason, that says that nothing was done |
| `uplink` | no port is cut by which the agent reached its switch all the time since the step was announced |
| `blind` | a value is written only where the one of the preview stood at some instant since the step was announced |
| `left-off` | at the end every port feeds power that a cycle switched off of which the log still knows |
| `rate` | no rate is kept of a port that is far above its traffic, as where a counter wrapped or was cleared |
| `told` | a state of a port that comes on record was true at some instant shortly before; at rest that of each is |
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from tests.sim.judge import Evidence, Verdict
from tests.sim.parts.snmp_device import RATE_BPS, Sent, WatchedSwitch
from tests.sim.steps import LoggedStep, steps_of
from tests.sim.witness import ORIGINAL

if TYPE_CHECKING:
    from tests.sim.parts.snmp import SnmpPart

NOTHING_SENT: Final = frozenset({"expired", "drifted", "session-ended"})
UNDONE: Final = frozenset({"stale", "expired", "cancelled", "skipped", "superseded"})
"""States of an item that say that nothing was sent."""
TOLD_S: Final = 160.0
"""How old a reading may be when its result comes on record: a poll may take a minute, and is looked at every 7 s. A
notification that was lost and is sent again by somebody else is believed for 150 s (RFC 3414, section 3.2, 7b)."""
MOST: Final = 5
"""How many times its traffic a rate may be: of two polls a second apart one may wait a second for its counters."""
WORDS: Final = {"up": True, "down": False, "disabled": False}
"""The agent's words for the state of a port, and whether it then carries traffic."""


class PortStep(LoggedStep):
    """A step on a port. It writes one value, or switches the power off and on."""

    __slots__ = ()

    @property
    def switch(self) -> str:
        """Return its switch."""
        return self.address.split("/")[1]

    @property
    def port(self) -> str:
        """Return its port."""
        return self.address.split("/")[3]

    @property
    def what(self) -> str:
        """Return which value it writes, or `power-cycle`."""
        return self.address.split("/")[4]

    @property
    def before(self) -> str | None:
        """Return the value at the preview; None: it writes none."""
        return None if self.is_effect else _field(self.do[0]["before"]["value"])

    @property
    def after(self) -> str:
        """Return the value that it writes; "": it writes none."""
        return "" if self.is_effect else _field(self.do[0]["after"]) or ""

    @property
    def subject(self) -> str:
        """Return the port as deeds name it."""
        return f"{self.switch}/{self.port}"


def _field(value: Any) -> str | None:
    return str(next(iter(value.values()))) if isinstance(value, dict) and value else None


def judge(
    evidence: Evidence, part: SnmpPart, log: sqlite3.Connection, at_of: Callable[[int], float]
) -> Iterable[Verdict]:
    """Return everything that must not be."""
    steps = steps_of(log, at_of, PortStep, "snmp")
    first: dict[tuple[str, int, int, str], float] = {}
    for step in steps:
        since = first.setdefault((step.plan, step.item, step.n, step.direction), step.about)
        if step.outcome is not None and (why := _outcome(step, part.switches[step.switch], since)):
            told = f"{step.name} ({step.what} {step.after}): {step.verdict} {step.reason} {step.detail}".strip()
            yield Verdict("claim", step.outcome, step.subject, told, why, step.seq)
    yield from _ends(evidence, part, steps)
    yield from _cuts(evidence, part)
    yield from _left_off(evidence, part)
    yield from _told(part)
    for (name, port), rate in part.rates.items():
        if rate > MOST * RATE_BPS:
            said = f"a rate of {rate / 1e6:.0f} Mbit/s is kept, and it never carried more than {RATE_BPS / 1e6:.0f}"
            yield Verdict("rate", evidence.ended_at, f"{name}/{port}", said)


def _outcome(step: PortStep, switch: WatchedSwitch, since: float) -> str:
    """Return what is false about a step's outcome; "": nothing."""
    until = step.outcome or 0.0
    sent = _brought(step, switch)
    if step.what == "power-cycle":
        power = [(state.at, state.power) for state in switch.during(step.port, since, until)]
        off = [at for at, on in power if on is False]
        if step.verdict == "applied" and not (off and power[-1][1]):
            return f"its power was {[on for _, on in power]}"
        if step.verdict == "not-applied" and step.reason in NOTHING_SENT and any(one.what == "power" for one in sent):
            return "its power was switched"
        if step.verdict == "not-applied" and not step.reason.startswith("lost-"):
            return _cut_by(step, switch)
        return ""
    sent = [one for one in sent if one.what == step.what]
    had = [state.reads(step.what) for state in switch.during(step.port, step.about, until)]
    if step.verdict == "applied" and step.after not in had:
        return f"it read {had} all the time"
    if step.verdict == "not-applied" and step.reason in NOTHING_SENT and sent:
        return f"a SET brought {sent[0].value} at {sent[0].at:.1f}"
    if step.verdict == "not-applied" and sent:
        stood = [state.reads(step.what) for state in switch.during(step.port, sent[-1].at, until)]
        if all(one == step.after for one in stood):
            return f"a SET brought it at {sent[-1].at:.1f}, and it stood"
    return ""


def _brought(step: PortStep, switch: WatchedSwitch) -> list[Sent]:
    """Return the values that SETs brought to a step's port between its announcement and its outcome."""
    until = step.outcome or 0.0
    return [one for one in switch.sent if one.port == step.port and step.about <= one.at <= until]


def _cut_by(step: PortStep, switch: WatchedSwitch) -> str:
    """Return that a power cycle cut its port, and when; "": it did not."""
    off = [one.at for one in _brought(step, switch) if (one.what, one.value) == ("power", "off")]
    return f"its power was cut at {off[0]:.1f}" if off else ""


def _ends(evidence: Evidence, part: SnmpPart, steps: Iterable[PortStep]) -> Iterable[Verdict]:
    """Judge the ends of items of which an attempt cut power: that a later one was refused does not undo that."""
    cycles = [step for step in steps if step.is_effect]
    cut = {(one.plan, one.item): (one, why) for one in cycles if (why := _cut_by(one, part.switches[one.switch]))}
    for move in evidence.seen.moves:
        if move.machine != ORIGINAL or evidence.forgot(move.at):
            continue  # the log that has its steps is another one
        denies = move.state == "not-applied" and not move.reason.startswith("lost-")
        if (denies or move.state in UNDONE) and (move.plan, move.item) in cut:
            step, why = cut[move.plan, move.item]
            said = f"the item is {move.state}: {move.reason} {move.detail}".strip()
            yield Verdict("claim", move.at, step.subject, said, why, move.seq)


def _cuts(evidence: Evidence, part: SnmpPart) -> Iterable[Verdict]:
    """Judge what each SET did at its instant, by the steps that were announced then.

    The log of the end does not tell them: where a copy was put back, a step may be open in it that was long over.
    """
    for deed in (*evidence.seen.writes, *evidence.seen.sent):
        name, _, port = deed.subject.partition("/")
        if (switch := part.switches.get(name)) is None:
            continue
        kind, _, value = deed.what.partition(" ")
        cuts = value in ("down", "off") and kind != "alias"
        for step in map(PortStep.announced, deed.open):
            if cuts and part.is_uplink(name, port, step.about, deed.at):
                yield Verdict("uplink", deed.at, deed.subject, f"{deed.what}: the agent's way led over it")
            if step.is_effect:
                continue
            if value != step.after:
                yield Verdict("blind", deed.at, deed.subject, f"a SET brought {value}, and {step.after} was announced")
            past = [one.reads(kind) for one in switch.during(port, step.about, deed.at)]
            if step.before is not None and step.before not in past:
                said = f"{kind} was written over {past}, and not over {step.before}"
                yield Verdict("blind", deed.at, deed.subject, said)


def _left_off(evidence: Evidence, part: SnmpPart) -> Iterable[Verdict]:
    for name, switch in part.switches.items():
        for port, past in switch.states.items():
            off = list(itertools.takewhile(lambda state: state.power is False, reversed(past)))
            if off and not evidence.forgot(off[-1].at):
                said = f"without power since {off[-1].at:.1f}, by a cycle"
                yield Verdict("left-off", evidence.ended_at, f"{name}/{port}", said)


def _told(part: SnmpPart) -> Iterable[Verdict]:
    for told in (*(told for told in part.told if told.state in WORDS), *part.told_at_rest):
        past = part.switches[told.switch].during(told.port, told.at - TOLD_S, told.at)
        if not any(state.up is WORDS.get(told.state) for state in past):
            said = f"on record as {told.state or 'nothing'}, and it was not so for {TOLD_S:.0f} s"
            yield Verdict("told", told.at, f"{told.switch}/{told.port}", said)
