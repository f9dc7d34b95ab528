"""What a router reads of its ways out, for tests of access methods: none is open, and no safe mode."""

from __future__ import annotations

from collections.abc import Mapping

from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.ways_out import Way, way_at
from agent.model import Address, Seen, Value

Rows = Mapping[str, list[Mapping[str, str]]]
"""Menu -> the rows that it prints."""

SAFE: Rows = {"/safe-mode": [{"enabled": "false"}]}


def way_value(rows: Rows) -> Value:
    """The value of a way's address when its menus print these rows."""
    return rows_value((f"{path} {n}", row) for path, found in rows.items() for n, row in enumerate(found))


def closed_ways(at_s: int, target: str = "routeros/edge-1") -> dict[Address, Seen]:
    """Every way's address as a router reads that has none of them open."""
    return {way_at(target, way): Seen(way_value(SAFE if way is Way.SAFE_MODE else {}), at_s) for way in Way}
