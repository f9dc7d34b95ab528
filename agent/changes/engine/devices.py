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
    Reads,
    SeesNeighbors,
    SharedCredential,
    SharesCredentials,
    UnreadableError,
)
from agent.line_model.reading import Neighbor
from agent.reasons import TargetReason


class Devices:
    """The devices of all connectors that report on theirs."""

    def __init__(self, connectors: Mapping[str, Connector], sessions: Sessions) -> None:
        """Take all connectors by name, and the sessions by which their devices are reached. Idle ones are not asked."""
        self._connectors = [c for c in connectors.values() if isinstance(c, DeviceFacts) and c.targets]
        self._seers = [c for c in connectors.values() if isinstance(c, SeesNeighbors)]
        self._sharers = [c for c in connectors.values() if isinstance(c, SharesCredentials)]
        self._sessions = sessions

    def reports(self) -> Sequence[DeviceReport]:
        """Return the last facts of each device; nothing is sent."""
        return [report for connector in self._connectors for report in connector.reports()]

    def find(self, name: str) -> DeviceReport | None:
        """Return the last facts of one device, by its target's id or the name in it; None: there is no such device.

        A device that another system tells of is found by the name that it has there too, where only one has it.
        """
        reports = self.reports()
        found = next((r for r in reports if name in (r.target, r.name)), None)
        told = [r for r in reports if name and r.name.partition("/")[2] == name] if found is None else []
        return told[0] if len(told) == 1 else found

    async def probe(self, target: str) -> DeviceReport:
        """Ask a device now, on the connection that changes would use, and return its report.

        Raises:
            UnreadableError: there is no such device, or the agent is not running.
        """
        connector = next((c for c in self._connectors if _has(c, target)), None)
        if connector is None:
            self._sessions.connector(target)
            raise UnreadableError(f"{target} has nothing to probe", reason=TargetReason.UNKNOWN_TARGET)
        if isinstance(connector, Changes | Reads):
            await self._sessions.dialed(target)
        return await connector.probe(target)

    async def neighbors(self, target: str) -> Sequence[Neighbor]:
        """Return the neighbors that a device hears now.

        Raises:
            UnreadableError: it cannot be asked, or tells of none.
        """
        connector = next((c for c in self._seers if _has(c, target)), None)
        if connector is None:
            raise UnreadableError(f"{target} tells of no neighbors", reason=TargetReason.UNSUPPORTED)
        if isinstance(connector, Changes | Reads):
            await self._sessions.dialed(target)
        return await connector.neighbors(target)

    def credentials(self) -> Sequence[SharedCredential]:
        """Return the credentials that devices share, of all connectors."""
        return [one for connector in self._sharers for one in connector.credentials]

    async def greet(self, target: str) -> None:
        """Ask a device that shares a credential one question by it.

        Raises:
            UnreadableError: it does not answer, or refuses.
        """
        for connector in self._sharers:
            if any(one.id == target for one in connector.targets):
                await connector.greet(target)

    def counts(self) -> Mapping[str, int]:
        """Return how many there are: `configured`, each state, and `findings` (those with at least one)."""
        reports = self.reports()
        states = Counter(report.state for report in reports)
        found = sum(1 for report in reports if report.findings)
        return {"configured": len(reports), **{state.value: states[state] for state in DeviceState}, "findings": found}


def _has(connector: Connector, target: str) -> bool:
    """Tell whether a target is a connector's own, or a device that one of its targets tells of."""
    return any(target == own.id or target.startswith(f"{own.id}/") for own in connector.targets)
