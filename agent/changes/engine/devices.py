"""The devices that the agent talks to, for people: the last facts of each, and a look at one now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agent.changes.engine.sessions import Sessions
from agent.connectors.base import (
    Changes,
    Connector,
    DeviceFacts,
    DeviceReport,
    DeviceState,
    Neighbor,
    Reads,
    SeesNeighbors,
    UnreadableError,
)
from agent.reasons import TargetReason


class Devices:
    """The devices of all connectors that report on theirs."""

    def __init__(self, connectors: Mapping[str, Connector], sessions: Sessions) -> None:
        """Take all connectors by name, and the sessions by which their devices are reached."""
        self._connectors = [c for c in connectors.values() if isinstance(c, DeviceFacts)]
        self._seers = [c for c in connectors.values() if isinstance(c, SeesNeighbors)]
        self._sessions = sessions

    def reports(self) -> Sequence[DeviceReport]:
        """Return the last facts of each device; nothing is sent."""
        return [report for connector in self._connectors for report in connector.reports()]

    def find(self, name: str) -> DeviceReport | None:
        """Return the last facts of one device, by its target's id or the name in it; None: there is no such device."""
        return next((r for r in self.reports() if name in (r.target, r.name)), None)

    async def probe(self, target: str) -> DeviceReport:
        """Ask a device now, on the connection that changes would use, and return its report.

        Raises:
            UnreadableError: there is no such device, or the agent is not running.
        """
        connector = next((c for c in self._connectors if any(t.id == target for t in c.targets)), None)
        if connector is None:
            self._sessions.connector(target)
            raise UnreadableError(f"{target} has nothing to probe", reason=TargetReason.UNKNOWN_TARGET)
        if isinstance(connector, Changes | Reads):
            await self._sessions.dialled(target)
        return await connector.probe(target)

    async def neighbors(self, target: str) -> Sequence[Neighbor]:
        """Return the neighbors that a device hears now.

        Raises:
            UnreadableError: it cannot be asked, or tells of none.
        """
        connector = next((c for c in self._seers if any(t.id == target for t in c.targets)), None)
        if connector is None:
            raise UnreadableError(f"{target} tells of no neighbors", reason=TargetReason.UNSUPPORTED)
        await self._sessions.dialled(target)
        return await connector.neighbors(target)

    def counts(self) -> Mapping[str, int]:
        """Return how many there are: `configured`, each state, and `findings` (those with at least one)."""
        reports = self.reports()
        states = Counter(report.state for report in reports)
        found = sum(1 for report in reports if report.findings)
        return {"configured": len(reports), **{state.value: states[state] for state in DeviceState}, "findings": found}
