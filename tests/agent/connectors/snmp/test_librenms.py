"""Our reading of each recording and LibreNMS': at least 95 % of the values agree, and each difference is explained."""

from __future__ import annotations

import pytest

from tests.agent.connectors.snmp import librenms
from tests.agent.connectors.snmp.recordings import NAMES, reading_of

SHARE = 0.95


@pytest.mark.slow  # 35 s in all: each value is read again with its OID changed
@pytest.mark.parametrize("name", NAMES)
def test_every_difference_is_explained(name: str) -> None:
    assert not [one for one in librenms.compare(name) if not one.agrees and not one.why]


@pytest.mark.skipif(not NAMES, reason="no ../shared/data/snmp here: not compared")
def test_ports_agree() -> None:
    compared = [one for name in NAMES for one in librenms.ports(name)]
    assert sum(one.agrees for one in compared) >= SHARE * len(compared)


@pytest.mark.parametrize("name", NAMES)
def test_every_recording_is_recognized(name: str) -> None:
    assert reading_of(name).profile != "standard"


@pytest.mark.slow
@pytest.mark.skipif(not NAMES, reason="no ../shared/data/snmp here: not compared")
def test_sensors_agree_where_theirs_are_values() -> None:
    """9 % of LibreNMS' sensors are no values: 0 dBm of a cable or of an ONU that is off, milliwatts taken for dBm."""
    compared = [one for name in NAMES for one in librenms.compare(name) if one.room == "sensors"]
    values = [one for one in compared if not one.none]
    assert sum(one.agrees for one in values) >= SHARE * len(values)
    assert len(values) >= 0.9 * len(compared)
