"""Judges CPE by their own records. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `claim` | what is said of a step was true between its announcement and its leaf; what is read back was read |
| `blind` | nothing is sent again to a device that took it, before it was read and found to be otherwise |
| `foreign` | a device is told nothing but what an announced step says: that key, those parameters, those values |
| `elsewhere` | the login of a service is written to no CPE that serves another one since the step was announced |
| `secret` | no secret is in the log, in the agent's messages, or in what its API shows |
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tests.sim.judge import Evidence, Verdict
from tests.sim.parts.cpe_device import DOES, WRITES, Done, WatchedDevice, plain
from tests.sim.steps import LoggedStep

if TYPE_CHECKING:
    from tests.sim.parts.cpe import CpePart

NOTHING_SENT: Final = frozenset({"expired", "drifted", "session-ended", "not-on-the-line"})
"""Reasons of an outcome that says that nothing was sent."""
NOTHING_DONE: Final = frozenset({"not-applied", "stale", "expired", "cancelled", "skipped", "superseded"})
"""States of an item that say that nothing of it stands."""
SECRET_REASON: Final = "accepted-not-provable"
LOOK_S: Final = 2.0
"""How often the agent looks at what a CPE has told, at least."""


class CpeStep(LoggedStep):
    """A step on a CPE."""

    __slots__ = ()

    @property
    def cpe(self) -> str:
        """Return whose it is."""
        return self.address.split("/")[1]

    @property
    def stem(self) -> str:
        """Return how the ParameterKeys of all attempts begin."""
        return f"{self.plan[:12]}-{self.item}-{self.n}{self.direction[0]}"

    @property
    def key(self) -> str:
        """Return the ParameterKey or CommandKey."""
        return str(self.do["key"]) if self.is_effect else f"{self.stem}{self.attempt}"

    def writes(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield each write: what, its value before, its value after (a text, or None: a secret)."""
        for write in self.do:
            yield _what(write["address"]), _field(write["before"]["value"]), _field(write["after"])

    @property
    def rows(self) -> bool:
        """Whether it writes a row of a table."""
        return not self.is_effect and any("[" in what for what, _, _ in self.writes())


def _what(address: str) -> str:
    return address.split("/", 2)[2]


def _field(value: Any) -> str | None:
    text = value.get("value") if isinstance(value, dict) else None
    return plain(text) if isinstance(text, str) else None


def judge(evidence: Evidence, part: CpePart, steps: Sequence[CpeStep]) -> Iterable[Verdict]:
    """Return everything that must not be."""
    for step in steps:
        if step.outcome is not None:
            yield from _outcome(step, part, evidence)
    yield from _blind(evidence, part, steps)
    yield from _foreign(evidence, part, steps)
    yield from _items(evidence, steps)
    yield from _elsewhere(evidence, part, steps)
    for found in part.shown + part.logged.found:
        yield Verdict("secret", evidence.ended_at, "", f"a secret is in {found}")


# --- outcomes ---------------------------------------------------------------------------------------------------------


def _outcome(step: CpeStep, part: CpePart, evidence: Evidence) -> Iterable[Verdict]:
    devices = part.devices(step.cpe)
    taken = [(d, done) for d in devices for done in d.done if done.key == step.key and step.about <= done.at]
    if step.verdict == "not-applied" and step.reason in NOTHING_SENT and taken and not step.is_effect:
        yield _false(step, f"nothing was sent, as it says: {taken[0][1].method} came to the device")
    if step.is_effect:
        why = _effect(step, devices, evidence)
    elif step.rows:
        why = _row(step, devices)
    elif step.verdict == "applied":
        why = _applied(step, devices, part)
    elif step.verdict == "not-applied":
        why = _not_applied(step, devices)
    else:
        why = ""
    if why:
        yield _false(step, why)


def _false(step: CpeStep, why: str, rule: str = "claim") -> Verdict:
    told = f"{step.name}: {step.verdict} {step.reason} {step.detail}".strip()
    return Verdict(rule, step.outcome or step.about, step.cpe, told, why, step.seq)


def _reads(step: CpeStep, device: WatchedDevice, name: str) -> Iterator[Done]:
    """Yield the device's answers in the time of the step that gave a parameter."""
    for done in device.done:
        if step.about <= done.at <= (step.outcome or 0) and done.reads(name):
            yield done


def _applied(step: CpeStep, devices: Sequence[WatchedDevice], part: CpePart) -> str:
    """Return what is false about writes that are said to be applied; "": nothing."""
    for name, _, after in step.writes():
        if after is not None:
            found = [d.at(done.state, name) for d in devices for done in _reads(step, d, name)]
            if after not in found:
                return f"{name} was never read as {after!r} in its time, but as {found or 'nothing'}"
        else:
            took = [done for d in devices for done in d.done if done.key.startswith(step.stem) and name in done.values]
            if not any(not done.fault for done in took):
                return f"no device took {name}"
            if (given := part.given.get(step.plan)) and any(done.values[name] != given for done in took):
                return f"{name} was set to another secret than the one that was given"
            if step.reason != SECRET_REASON:
                return f"{name} is a secret, and {step.reason} is said of it"
    return ""


def _not_applied(step: CpeStep, devices: Sequence[WatchedDevice]) -> str:
    """Return why `not-applied` is false of writes; "": the device read otherwise at some instant."""
    taken = [done for d in devices for done in d.done if _is_take(step, done) and done.is_write]
    if taken and not _read_otherwise(step, devices, taken[-1].at, step.outcome or 0):
        return "the device took it, and nobody has read it otherwise since"
    return ""


def _is_take(step: CpeStep, done: Done) -> bool:
    """Tell whether a device took a step: not an attempt of the same key that a log had which was lost."""
    return done.key == step.key and not done.fault and step.about <= done.at


def _row(step: CpeStep, devices: Sequence[WatchedDevice]) -> str:
    """Return what is false about a row that is said to be there, or gone."""
    if step.verdict != "applied":
        return ""
    for what, _, _ in step.writes():
        table, _, rest = what.partition("[")
        column, _, text = rest.partition("]")[0].partition("=")
        after = step.do[0]["after"]
        fields = None if after is None else {name: text for name, text in after.items() if isinstance(text, str)}
        if not any(_shows(step, device, table, column, text, fields) for device in devices):
            return f"{what} was never read {'without that row' if fields is None else f'with {fields}'}"
    return ""


def _shows(
    step: CpeStep, device: WatchedDevice, table: str, column: str, text: str, fields: Mapping[str, str] | None
) -> bool:
    """Tell whether an answer in the time of a step gave a row with all these fields; None: a table without that row."""
    for done in device.done:
        if not step.about <= done.at <= (step.outcome or 0):
            continue
        numbers = device.states[done.state].instances.get(table, device.tree.model.instances.get(table, ()))
        rows = [row for n in numbers if device.at(done.state, (row := f"{table}{n}.") + column) == text]
        if fields is None:
            if not rows and done.lists(table):
                return True
        elif any(
            done.reads(row + column)
            and all(device.at(done.state, row + name) == plain(v) for name, v in fields.items())
            for row in rows
        ):
            return True
    return False


def _effect(step: CpeStep, devices: Sequence[WatchedDevice], evidence: Evidence) -> str:
    """Return what is false about an effect's outcome."""
    verb, until = step.do["effect"], step.outcome or 0
    if step.verdict not in ("applied", "not-applied"):
        return ""
    told: list[tuple[WatchedDevice, float, list[float]]] = []
    """Each boot or version: the device, when it came, and when the device told it. It tells a boot once."""
    if verb == "reboot":
        told = [(d, at, [said for said in d.informed if said > at][:1]) for d in devices for at in d.boot_times]
        happened = [at for _, at, _ in told if step.about <= at <= until]
    elif verb == "factory-reset":
        # The first start of one that poses as it reads the same: a name, and that its settings are those of the factory
        posed = [at for d in devices[1:] for at in d.boot_times[:1]]
        happened = [at for at in (*posed, *(at for d in devices for at in d.resets)) if step.about <= at <= until]
    elif verb == "firmware":
        wanted = step.do["args"]["version"]
        names = [(d, d.tree.model.prefix + "DeviceInfo.SoftwareVersion") for d in devices]
        runs = [(d, n) for d, name in names for n in d.numbers(step.about, until) if d.at(n, name) == wanted]
        told = [(d, d.states[n].at, d.informed) for d, n in runs]
        happened = [at for _, at, _ in told]
    else:
        took = [done for d in devices for done in d.done if done.key == step.key and not done.fault]
        return "" if step.verdict != "applied" or took else "no device took it"
    if step.verdict == "applied" and not happened:
        return "it did not happen in its time"
    if step.verdict == "not-applied" and any(_said(step, devices, *one, evidence) for one in told):
        return "it happened, and the device said so in time"
    return ""


def _said(
    step: CpeStep,
    devices: Sequence[WatchedDevice],
    device: WatchedDevice,
    at: float,
    said: Iterable[float],
    evidence: Evidence,
) -> bool:
    """Tell whether a device said in time what a step had done to it at a moment, and had to be believed.

    Nobody believes one that was reset since: it has a password that many share. What was said to a log that is lost is
    not known; nor is it where another one of its name called at once and said something else.
    """
    took = min((done.at for d in devices for done in d.done if _is_take(step, done)), default=float("inf"))
    others = [other for d in devices if d is not device for other in d.informed]
    return any(
        took < at < told < (step.outcome or 0) - LOOK_S
        and not any(took < reset <= told for reset in device.resets)
        and not evidence.forgot(told)
        and not any(told < other <= told + LOOK_S for other in others)
        for told in said
    )


# --- what was sent ----------------------------------------------------------------------------------------------------


def _blind(evidence: Evidence, part: CpePart, steps: Sequence[CpeStep]) -> Iterable[Verdict]:
    """A step that a device took is not sent again, unless it was read in between and was not so.

    Where the log lost in between that it was sent, or what came of it, nobody there knows of it. Whether such a log
    may go on with its changes at all is judged by the rules of the disk.
    """
    by_stem = {step.stem: step for step in steps if not step.is_effect and not step.rows}
    by_key = {step.key: step for step in steps if step.is_effect}
    taken: dict[str, list[tuple[WatchedDevice, Done]]] = defaultdict(list)
    for home in (*part.homes.values(), *part.clones):
        for done in home.device.done:
            if done.fault or done.method not in (*WRITES, *DOES):
                continue
            if done.key in by_key:
                taken[done.key].append((home.device, done))
            elif done.method == "SetParameterValues" and (stem := done.key.rstrip("0123456789")) in by_stem:
                taken[stem].append((home.device, done))
    for key, times in taken.items():
        times.sort(key=lambda each: each[1].at)
        step = by_key.get(key) or by_stem[key]
        for (_, first), (_, again) in itertools.pairwise(times):
            if evidence.forgot(again.at, again.at, first=first.at):
                continue
            if step.is_effect and again.method in DOES:
                yield Verdict("blind", again.at, step.cpe, f"{again.method} {key} was sent twice")
            elif not _read_otherwise(step, part.devices(step.cpe), first.at, again.at):
                yield Verdict("blind", again.at, step.cpe, f"{again.method} {again.key} again, and nobody had read it")


def _read_otherwise(step: CpeStep, devices: Sequence[WatchedDevice], since: float, until: float) -> bool:
    for device in devices:
        for done in device.done:
            if not since < done.at <= until:
                continue
            if step.is_effect:  # a test: its ParameterKey tells whose it is
                if done.reads(device.tree.model.prefix + "ManagementServer.ParameterKey"):
                    return True
                continue
            for name, _, after in step.writes():
                if after is not None and done.reads(name) and device.at(done.state, name) != after:
                    return True
                key = device.tree.model.prefix + "ManagementServer.ParameterKey"
                if after is None and done.reads(key) and not (device.at(done.state, key) or "").startswith(step.stem):
                    return True
    return False


def _foreign(evidence: Evidence, part: CpePart, steps: Sequence[CpeStep]) -> Iterable[Verdict]:
    """A device is told what a step of its own says, and nothing else."""
    by_key = {(step.cpe, step.key): step for step in steps}
    for home in (*part.homes.values(), *part.clones):
        name = home.device.name
        for done in home.device.done:
            if done.fault or done.method not in (*WRITES, *DOES) or done.method == "FactoryReset":
                continue
            step = by_key.get((name, done.key))
            if step is None and evidence.forgot(done.at):
                continue  # the log that told of it is lost
            if step is None:
                yield Verdict("foreign", done.at, name, f"{done.method} {done.key!r} is of no step of its own")
            elif done.method == "SetParameterValues" and step.rows:
                fields = step.do[0]["after"] or {}
                if wrong := [n for n, text in done.values.items() if plain(fields.get(n.split(".")[-1], "")) != text]:
                    yield Verdict("foreign", done.at, name, f"{done.key} set {wrong[0]} to {done.values[wrong[0]]!r}")
            elif done.method == "SetParameterValues" and not step.is_effect:
                wanted: Mapping[str, str | None] = {what: after for what, _, after in step.writes()}
                if done.values.keys() != wanted.keys():
                    yield Verdict("foreign", done.at, name, f"{done.key} set {sorted(done.values)}")
                for what, after in wanted.items():
                    if after is not None and done.values.get(what) != after:
                        said = f"{done.key} set {what} to {done.values.get(what)!r}, not {after!r}"
                        yield Verdict("foreign", done.at, name, said)


def _elsewhere(evidence: Evidence, part: CpePart, steps: Sequence[CpeStep]) -> Iterable[Verdict]:
    """A baseline has the login of the service that a CPE serves: of the house in which it was accepted last."""
    served: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for move in evidence.seen.moves:
        asked = evidence.asked.get(move.plan)
        if asked is not None and asked.action == "cpe-accept" and move.state == "applied":
            for cpe in asked.subjects:
                served[cpe].append((move.at, move.service))
    for step in () if evidence.lost else steps:
        for _, _, after in () if step.is_effect else step.writes():
            if (service := part.service_with(after or "")) is None:
                continue
            past = served[step.cpe]
            since = [at_service for at, at_service in past if at <= step.about][-1:]
            meanwhile = [at_service for at, at_service in past if step.about < at <= (step.outcome or step.about)]
            if service not in (*since, *meanwhile):
                told = f"{step.name} writes the login of {service}, and it serves {', '.join(since) or 'nobody'}"
                yield Verdict("elsewhere", step.about, step.cpe, told, leaf=step.seq)


def _items(evidence: Evidence, steps: Sequence[CpeStep]) -> Iterable[Verdict]:
    """An item is what its steps are: done where all are, and nothing where none is."""
    last: dict[tuple[str, int], dict[tuple[int, str], CpeStep]] = defaultdict(dict)
    for step in steps:
        last[step.plan, step.item][step.n, step.direction] = step
    for move in evidence.seen.moves:
        found = last.get((move.plan, move.item))
        if not found or evidence.forgot(move.at):
            continue  # the log that has its steps is another one since
        known = [step for step in found.values() if step.about <= move.at]
        if why := _item(move.state, known):
            yield Verdict("claim", move.at, known[0].cpe, f"the item is {move.state}", why, move.seq)


def _item(state: str, steps: Sequence[CpeStep]) -> str:
    """Return what is false about an item that came into a state, by the last attempt at each of its steps; "": nothing.

    Nothing is said of one without a step of its own time.
    """
    forward = [step for step in steps if step.direction == "forward"]
    undone = [step.n for step in steps if step.direction != "forward" and step.verdict == "applied"]
    stands = [step.name for step in forward if step.verdict == "applied" and step.n not in undone]
    only_accepted = any(step.reason == SECRET_REASON for step in forward)
    if state in ("applied", "accepted") and any(step.verdict != "applied" for step in forward):
        return "not all its steps are"
    if state in ("applied", "accepted") and forward and only_accepted is not (state == "accepted"):
        return "a secret cannot be proven" if only_accepted else "all of it was provable"
    if state == "reverted" and any(step.name in stands and not step.is_effect for step in forward):
        return f"{stands[0]} was not taken back"
    if state in NOTHING_DONE and stands:
        return f"{stands[0]} is applied"
    return ""
