"""By what the network may know a CPE: only accepted ones, only their own addresses."""

from __future__ import annotations

from pathlib import Path

from agent.cpe.line_hints import cpe_hints
from agent.lines.finding import HintKind
from agent.store.db import Tx
from tests.builders.readings import opened

OWN = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.MACAddress"
UNSET = (
    ("Device.Ethernet.Interface.2.MACAddress", "00:00:00:00:00:00"),
    ("Device.Ethernet.Interface.3.MACAddress", "FF:FF:FF:FF:FF:FF"),
)
"""Addresses that many CPE tell of a port without one: no device has them."""
HOST = "InternetGatewayDevice.LANDevice.1.Hosts.Host.1.MACAddress"


class Put:
    """Write CPE and their values by hand."""

    def run(self, tx: Tx) -> None:
        columns = [r["name"] for r in tx.all("SELECT name FROM pragma_table_info('cpe')")]
        for name, service, trust in (
            ("a", "C-1/home", "accepted"),
            ("b", "C-2/home", "quarantined"),
            ("c", "", "accepted"),
        ):
            row = dict.fromkeys(columns, "") | {"name": name, "serial": f"S-{name}", "service": service, "trust": trust}
            marks = ", ".join("?" * len(columns))
            tx.run(f"INSERT INTO cpe ({', '.join(columns)}) VALUES ({marks})", [row[c] for c in columns])  # constants
            for path, value in ((OWN, "02:00:00:00:00:01"), *UNSET, (HOST, "02:00:00:00:00:99"), (f"{OWN}x", "1")):
                tx.run("INSERT INTO cpe_value (name, path, value, type, at_s) VALUES (?,?,?,'',0)", (name, path, value))


async def test_an_accepted_cpe_tells_its_serial_and_its_own_address(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        await store.run(Put())
        for asked in (None, "C-1/home"):
            found = cpe_hints(store.query, asked)
            assert list(found) == ["C-1/home"]
            assert [(h.kind, h.value) for h in found["C-1/home"]] == [
                (HintKind.SERIAL, "S-a"), (HintKind.MAC, "020000000001"),
            ]  # fmt: skip
        assert cpe_hints(store.query, "C-2/home") == {}
