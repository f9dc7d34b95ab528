"""The MAC addresses of the agent's own host, among the other things that a system shows beside its interfaces."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agent.connectors.snmp import way_reading_session


async def test_own_macs_behind_what_is_no_interface(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux has a file `bonding_masters` there, and an interface may go while it is read."""
    (tmp_path / "bonding_masters").write_text("bond0\n")
    (tmp_path / "docker0").mkdir()
    for name, mac in (("eth0", "02:00:00:00:00:0A\n"), ("lo", "00:00:00:00:00:00\n"), ("tun0", "\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "address").write_text(mac)
    monkeypatch.setattr(way_reading_session, "_INTERFACES", trio.Path(tmp_path))
    assert await way_reading_session._own_macs() == ["02:00:00:00:00:0a"]
    monkeypatch.setattr(way_reading_session, "_INTERFACES", trio.Path(tmp_path / "none"))
    assert await way_reading_session._own_macs() == []
