"""A LibreNMS of the lab behind its connector."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.connectors.base import DeviceReport, UnreadableError
from agent.connectors.librenms import SPEC
from agent.line_model.reading import DeviceReading, SourceReading
from agent.model import Target
from lab.billing.server import BillingServer
from lab.librenms.network import fill
from lab.librenms.system import PREFIX, TOKEN, Librenms
from tests.builders.web import QuickClock, behind, made

SOURCE = "librenms/main"
CORE = f"{SOURCE}/core-1.example.net"
TOWER = f"{SOURCE}/tower-1.example.net"
CUSTOMERS = [("C-1", "02:00:00:00:00:01"), ("C-2", "02:00:00:00:00:02")]


@dataclass
class Behind:
    """A connector and the LibreNMS that it reads."""

    system: Librenms
    server: BillingServer
    clock: QuickClock
    connector: Any
    asked: list[SourceReading] = field(default_factory=list)

    async def gather(self) -> SourceReading:
        return await self.connector.gather(Target(SOURCE, "librenms"))  # type: ignore[no-any-return]  # made of any spec

    async def readings(self) -> dict[str, DeviceReading]:
        return {reading.target: reading for reading in (await self.gather()).readings}

    async def refused(self) -> UnreadableError:
        with pytest.raises(UnreadableError) as found:
            await self.gather()
        return found.value

    def report(self, target: str) -> DeviceReport:
        return next(report for report in self.connector.reports() if report.target == target)

    def findings(self, target: str = SOURCE) -> dict[str, str]:
        return {finding.code: finding.text for finding in self.report(target).findings}

    def paths(self) -> list[str]:
        """Return the paths that were asked for since the last look."""
        found = [request.path.removeprefix(PREFIX) for request in self.server.requests]
        self.server.requests.clear()
        return found


@asynccontextmanager
async def librenms(*, tls: bool = False, key: bytes = TOKEN.encode(), **given: Any) -> AsyncIterator[Behind]:
    """Run a LibreNMS with a switch, a tower and two subscribers. `given`: of it, or of its section."""
    clock = QuickClock()
    terms = {name: given.pop(name) for name in ("every_s", "timezone", "wireless", "reading_mib") if name in given}
    system = Librenms(clock=clock.wall_s, **given)
    fill(system, CUSTOMERS)
    async with behind(system, tls=tls) as server:
        table = {"url": f"{server.url}{PREFIX}", "secret": "librenms/main", "certificate_sha256": server.pin, **terms}
        connector = made(SPEC, table, {"librenms/main": key}, clock=clock)
        yield Behind(system, server, clock, connector)
