"""Tables of every recorded device over the wire: our client reads each value as it stands in the recording."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.connectors.snmp import profile_choice
from agent.connectors.snmp.client_session import open_client
from agent.connectors.snmp.credential import SnmpCredential, SnmpVersion
from agent.connectors.snmp.recording import scalars_and_columns
from agent.connectors.snmp.values import Oid, Value
from lab.snmp.device import Device
from lab.snmp.recording import read_recording
from lab.snmp.server import open_snmp_lab
from tests.agent.connectors.snmp.recordings import NAMES, profile_of, recorded
from tests.marks import slow_unless
from tests.shared_data import shared_file

QUICK = ("tplink_sg2008", "routeros_crs317", "epmp", "zxa10_c320")


@pytest.mark.parametrize("name", slow_unless(lambda n: n in QUICK, NAMES or ("none",)))
async def test_tables_are_those_of_the_recording(name: str) -> None:
    found = recorded(name)
    wanted = profile_choice.wanted(profile_of(found))
    _, expected = scalars_and_columns(found, (), wanted.columns)
    device = Device(name, read_recording(Path(shared_file(f"snmp/recordings/{name}.snmprec")).read_bytes(), name))
    asked = SnmpCredential(SnmpVersion.V2C, name.encode())
    async with open_snmp_lab([device]) as lab, open_client(lab.address, lab.port, asked) as client:
        for group in wanted.columns:
            assert trimmed(await client.table(group)) == trimmed({column: expected[column] for column in group})


def trimmed(columns: Mapping[Oid, Mapping[bytes, Value]]) -> dict[Oid, dict[bytes, Value]]:
    """Return columns without space at the end of a value: the lab reads none at the end of a line, as snmpsim."""
    return {
        column: {tail: (tag, of.rstrip(b" ") if isinstance(of, bytes) else of) for tail, (tag, of) in cells.items()}
        for column, cells in columns.items()
    }
