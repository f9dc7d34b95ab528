"""The connector to LibreNMS: its readings of devices, with the age of its polls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from agent.age import age_text
from agent.connectors.base import DeviceReport, DeviceState, Finding, UnreadableError
from agent.connectors.librenms.configuration import NAME, LibrenmsConfig
from agent.connectors.librenms.librenms_session import KnownTold, LibrenmsReader
from agent.connectors.librenms.reasons import LibrenmsReason
from agent.connectors.librenms.told import POLL_S
from agent.line_model.reading import LinkState, PartKind, SourceReading
from agent.model import Target
from agent.reasons import TargetReason
from agent.runtime.clock import Clock

LATE_PACES: Final = 2.5
"""A device is late when its last poll is so many paces ago."""
ZONE_S: Final = 1500.0
"""By so much the two times of one poll differ where the configured time zone is a wrong one."""
_NAMED: Final = 5
"""How many names a sentence lists."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """How the last reading of a LibreNMS went. `read_s`: of the last that succeeded."""

    state: DeviceState = DeviceState.NOT_ASKED
    problem: str = ""
    tried_s: int | None = None
    read_s: int | None = None


class LibrenmsConnector:
    """Implements `TellsDevices` and `DeviceFacts` of `agent.connectors.base`."""

    def __init__(self, config: LibrenmsConfig, secrets: Callable[[str], bytes], zone: tzinfo, clock: Clock) -> None:
        """Take the configuration; nothing is opened.

        Args:
            config: the systems.
            secrets: the vault: name -> secret, or UnreadableError.
            zone: the operator's.
            clock: of pauses and times.
        """
        self._clock = clock
        self._readers = {source.id: LibrenmsReader(source, secrets, clock, zone) for source in config.sources}
        self._trials = {target: _Trial() for target in self._readers}
        self.targets: Sequence[Target] = tuple(Target(target, NAME) for target in self._readers)

    def poll_every_s(self, target: str) -> float:
        """Return how often a LibreNMS is asked."""
        return self._readers[target].source.every_s

    async def gather(self, target: Target) -> SourceReading:
        """Read the devices that a LibreNMS polled since the last reading.

        Raises:
            UnreadableError: it cannot be read, or answers in another form.
        """
        before, tried_s = self._trials[target.id], int(self._clock.wall_s())
        try:
            found = await self._readers[target.id].gather()
        except UnreadableError as err:
            refused = err.reason in (TargetReason.REFUSED, TargetReason.MISSING_SECRET, TargetReason.MALFORMED)
            state = DeviceState.REFUSED if refused else DeviceState.UNREACHABLE
            self._trials[target.id] = _Trial(state, str(err), tried_s, before.read_s)
            raise
        self._trials[target.id] = _Trial(DeviceState.REACHABLE, "", tried_s, found.read_s)
        return found

    def reports(self) -> Sequence[DeviceReport]:
        """Return how the last reading of each LibreNMS went, and its word on its devices."""
        return [report for reader in self._readers.values() for report in self._of(reader)]

    async def probe(self, target: str) -> DeviceReport:
        """Ask the LibreNMS that a target is, or is a device of; no device is asked.

        Raises:
            UnreadableError: no such target is configured.
        """
        source = target if target in self._readers else target.rpartition("/")[0]
        if source not in self._readers:
            raise UnreadableError(f"no target {target} is configured", reason=TargetReason.UNKNOWN_TARGET)
        try:
            await self.gather(Target(source, NAME))
        except UnreadableError:
            pass
        found = next((report for report in self._of(self._readers[source]) if report.target == target), None)
        if found is None:
            why = f"{self._readers[source].source.title} knows no device {target.rpartition('/')[2]}"
            raise UnreadableError(why, reason=TargetReason.UNKNOWN_TARGET)
        return found

    def _of(self, reader: LibrenmsReader) -> Iterator[DeviceReport]:
        source, trial, now_s = reader.source, self._trials[reader.source.id], self._clock.wall_s()
        down = sum(1 for one in reader.known.values() if not one.row.up)
        facts = {"devices": f"{len(reader.known)} ({down} down)"} if reader.known else {}
        yield DeviceReport(
            source.id,
            source.web.address.origin,
            trial.state,
            trial.problem,
            trial.tried_s,
            trial.read_s,
            facts=facts,
            findings=tuple(_findings(reader, now_s)),
        )
        for target, one in reader.known.items():
            yield _report(target, one, source.title, trial.tried_s)


def _report(target: str, one: KnownTold, title: str, tried_s: int | None) -> DeviceReport:
    row, last = one.row, one.reading
    state, problem = DeviceState.REACHABLE, ""
    if not row.up:
        state = DeviceState.REFUSED if row.down_by == "snmp" else DeviceState.UNREACHABLE
        problem = f"down according to {title}{f' ({row.down_by})' if row.down_by else ''}"
    findings = () if last is None else last.not_read
    if one.problem:
        findings = (one.problem, *findings)
    return DeviceReport(
        target,
        row.address,
        state,
        problem,
        tried_s,
        None if last is None else last.read_s,
        row.version,
        row.name,
        dict(_facts(one, title)),
        tuple(Finding(LibrenmsReason.NOT_ALL_TOLD, text) for text in findings),
    )


def _facts(one: KnownTold, title: str) -> Iterator[tuple[str, str]]:
    row, last = one.row, one.reading
    yield "told by", f"{title}, device {row.id}{', ignored there' if row.ignored else ''}"
    for label, text in (("hardware", row.hardware), ("os", row.os), ("serial", row.serial)):
        if text:
            yield label, text
    if row.description:
        yield "description", row.description
    if last is not None and last.parts:
        counts = Counter(part.kind for part in last.parts)
        up = Counter(part.kind for part in last.parts if part.state is LinkState.UP)
        texts = [f"{counts[kind]} {kind.value}s ({up[kind]} up)" for kind in PartKind if counts[kind]]
        yield "parts", ", ".join(texts)


def _findings(reader: LibrenmsReader, now_s: float) -> Iterator[Finding]:
    late, moved, unread = [], [], []
    for target, one in reader.known.items():
        name, last = target.rpartition("/")[2], one.reading
        if one.problem:
            unread.append(f"{name}: {one.problem}")
        if last is None:
            continue
        if one.row.up and now_s - last.read_s > LATE_PACES * max(last.every_s, POLL_S):
            late.append((last.read_s, name))
        if (
            one.row.polled_s is not None
            and abs(one.row.polled_s - last.read_s) > ZONE_S
            and one.polled == one.row.polled
        ):
            moved.append(name)
    if late:
        oldest = age_text(int(now_s - min(late)[0]))
        names = _some([name for _, name in sorted(late)])
        yield Finding(
            LibrenmsReason.LATE_POLLER,
            f"{len(late)} of {len(reader.known)} devices were polled late, the oldest {oldest} ago: {names}",
        )
    if moved:
        yield Finding(
            LibrenmsReason.CLOCK_DIFFERS,
            f"the two times of one poll differ by {ZONE_S / 60:g} min and more ({_some(moved)}): see timezone",
        )
    if unread:
        yield Finding(LibrenmsReason.DEVICES_UNREAD, _some(unread))
    if reader.disabled:
        yield Finding(LibrenmsReason.LEFT_OUT, f"{reader.disabled} devices are disabled there")


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return f"{', '.join(texts[:_NAMED])}{more}"
