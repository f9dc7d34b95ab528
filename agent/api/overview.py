"""The state of the whole agent for people and for monitoring: one condition, and why. It names no subscriber."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from agent.api.call import ApiParts
from agent.changes.journal import plans
from agent.changes.journal.trust_state import freezes
from agent.inventory.drift_book import DriftRound
from agent.lines.desk import OutageView
from agent.runtime.outages import SourceReport, SourceState
from trust.moments import moment_json
from trust.terminal import neutralize

CLOUD_S: Final = 60.0
"""A control plane that is away for less is no news: connections end and begin."""


class Condition(enum.Enum):
    """The worst that holds, in this order. `ispagent status` has an exit code for each."""

    FINE = "fine"
    DEGRADED = "degraded"
    """Something that the agent depends on does not answer, or runs out."""
    FROZEN = "frozen"
    """People froze something: the changes that it covers are not sent."""
    HALTED = "halted"
    """Nothing is sent until a person looked: the clock jumped, a witness contradicts the log, the trust is in doubt."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures for monitoring. Times in seconds, sizes in bytes."""

    condition: Condition
    problems: tuple[str, ...]
    sources: Sequence[SourceReport]
    disk_free: int
    disk_size: int
    files: int
    lag_s: float
    log_size: int
    gates: Mapping[str, int]
    items: Mapping[str, int]
    outbox: int
    inbox: int
    connected: bool | None
    """To the control plane; None: this agent has none."""
    trust_until_s: int | None
    drift: DriftRound | None = None
    """The last comparison with the network; None: there was none yet."""
    lines: OutageView | None = None
    """Devices and outages, as worked out last; None: no device was ever read."""
    now_s: float = 0.0


def overview(p: ApiParts) -> Overview:
    """Return the state of the agent now."""
    cloud, disk, pinned, now_s = p.cloud(), p.host.disk(), p.trust.pinned, p.clock.wall_s()
    enrolled = bool(cloud.get("enrolled"))
    sources = p.outages.reports()
    halted = p.clock_watch.halted()
    found: list[tuple[Condition, str]] = []
    if halted is not None:
        found.append((Condition.HALTED, f"the clock jumped by {halted:.0f} s: check it, then ispagent clock accept"))
    witnessed = p.witnessed(1)
    if witnessed.startswith("CONTRADICTED"):
        found.append((Condition.HALTED, f"the log is {witnessed}"))
    if doubt := p.trust.doubt():
        found.append((Condition.HALTED, f"trust in doubt: {doubt}"))
    for scope, target, _ in freezes(p.store.query, now_s).rows:
        found.append((Condition.FROZEN, f"frozen: {' '.join(str(part) for part in (scope, target) if part)}"))
    for source in sources:
        if source.state is SourceState.DOWN:
            found.append((Condition.DEGRADED, f"{source.name}: {source.error}"))
    if enrolled and not cloud["connected"] and now_s - cast("float", cloud.get("since_s") or now_s) > CLOUD_S:
        found.append((Condition.DEGRADED, f"control plane: {cloud.get('problem') or 'not connected'}"))
    if pinned is not None and pinned.trust.expires <= now_s:
        found.append((Condition.DEGRADED, f"trust version {pinned.trust.version} has expired: make the next one"))
    if p.backups.wanted and (problem := p.backups.problem()):
        found.append((Condition.DEGRADED, f"backup: {problem}"))
    for silent in p.lines.last.silent_credentials:
        found.append((Condition.DEGRADED, silent.text(now_s)))
    drift = p.drift.last()
    if drift is not None and drift.alarm:
        text = f"drift: {drift.differ} of {drift.checked} differ from the record: ispagent drift"
        found.append((Condition.DEGRADED, text))
    order = list(Condition)
    return Overview(
        condition=max((condition for condition, _ in found), key=order.index, default=Condition.FINE),
        problems=tuple(text for _, text in sorted(found, key=lambda one: -order.index(one[0]))),
        sources=sources,
        disk_free=disk.free_bytes,
        disk_size=disk.size_bytes,
        files=p.host.files_bytes(),
        lag_s=p.host.lag_s,
        log_size=p.evidence.head()[0],
        gates={gate.value: n for gate, n in plans.gates(p.store.reader).items()},
        items=plans.item_counts(p.store.reader),
        outbox=int(cast("int", cloud.get("outbox") or 0)),
        inbox=int(cast("int", cloud.get("inbox") or 0)),
        connected=bool(cloud["connected"]) if enrolled else None,
        trust_until_s=pinned.trust.expires if pinned else None,
        drift=drift,
        lines=p.lines.last if p.lines.last.devices else None,
        now_s=now_s,
    )


def status_line(seen: Overview) -> str:
    """Return the agent's condition in one line, for systemd: any user may read it, so it names no subscriber."""
    condition = seen.condition.value.upper()
    more = f" and {len(seen.problems) - 1} more" if len(seen.problems) > 1 else ""
    parts = [f"{condition}: {neutralize(seen.problems[0])}{more}" if seen.problems else condition]
    counts = Counter(source.state for source in seen.sources if source.name not in OWN_SOURCES)
    parts += [f"{counts[state]} {word}" for state, word in _STATES.items() if counts[state]]
    parts += [f"{seen.gates[gate]} {word}" for gate, word in _GATES.items() if seen.gates.get(gate)]
    if seen.trust_until_s is None:
        parts.append("no trust document")
    if seen.connected is not None:
        parts.append("control plane connected" if seen.connected else "control plane NOT connected")
    return " · ".join([*parts, f"log {seen.log_size} leaves"])


OWN_SOURCES: Final = frozenset({"disk", "configuration"})
"""Of the things that the agent depends on, its own: they answer nobody, and are told where they fail."""
_STATES: Final = {SourceState.UP: "up", SourceState.DOWN: "DOWN"}
_GATES: Final = {"open": "changes waiting for approval", "approved": "approved, not started"}


def source_json(source: SourceReport) -> dict[str, object]:
    """Return a source for programs."""
    return {
        "name": source.name,
        "state": source.state.value,
        "since": moment_json(source.since_s),
        "ok_at": moment_json(source.ok_s),
        "error": source.error,
        "error_at": moment_json(source.error_s),
    }
