"""All parts of the simulated world."""

from __future__ import annotations

from typing import Final

from tests.sim.part import Part
from tests.sim.parts.radius import RadiusPart

PARTS: Final[tuple[type[Part], ...]] = (RadiusPart,)
"""Each class is one part. What it needs of others it finds by `World.part`: a part may need those before it."""
