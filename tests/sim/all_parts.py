"""All parts of the simulated world."""

from __future__ import annotations

from typing import Final

from tests.sim.part import Part
from tests.sim.parts.billing import BillingPart
from tests.sim.parts.clock import ClockPart
from tests.sim.parts.clone import ClonePart
from tests.sim.parts.cloud import CloudPart
from tests.sim.parts.cpe import CpePart
from tests.sim.parts.disk import DiskPart
from tests.sim.parts.radius import RadiusPart
from tests.sim.parts.routers import RouterPart
from tests.sim.parts.snmp import SnmpPart
from tests.sim.parts.sql import SqlPart

PARTS: Final[tuple[type[Part], ...]] = (
    RadiusPart,
    SqlPart,
    RouterPart,
    CloudPart,
    CpePart,
    BillingPart,
    DiskPart,
    ClockPart,
    SnmpPart,
    ClonePart,
)
"""Each class is one part. What it needs of others it finds by `World.part`: a part may need those before it."""
