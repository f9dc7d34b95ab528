"""The record of a start: which build runs, and which one ran before."""

from __future__ import annotations

import json
from pathlib import Path

from agent.changes.auditlog.recovery import Build, note_start
from agent.changes.journal.audit import Recorder
from agent.store.db import Store
from agent.store.vault import Vault
from tests.builders.store import open_store
from trust.leaf import LeafKind

OLD, NEW = Build("0.1.0", "aa" * 32), Build("0.2.0", "bb" * 32)


async def test_each_start_tells_its_build_and_after_an_upgrade_both(tmp_path: Path) -> None:
    store, vault = open_store(tmp_path), Vault(bytes(32), tmp_path / "keys.db")
    recorder = Recorder(vault)
    assert [await note_start(store, recorder, build) for build in (OLD, OLD, NEW, OLD)] == [None, None, OLD, NEW]
    first, again, upgraded, taken_back = records(store, vault)
    assert first == again == {"what": "start", "program": "0.1.0", "build": "aa" * 32}
    assert upgraded == {
        "what": "start",
        "program": "0.2.0",
        "build": "bb" * 32,
        "program_before": "0.1.0",
        "build_before": "aa" * 32,
    }
    assert (taken_back["program"], taken_back["build_before"]) == ("0.1.0", "bb" * 32)


def records(store: Store, vault: Vault) -> list[dict[str, str]]:
    """Return the records of the starts, opened, oldest first."""
    rows = store.query("SELECT subject, record FROM event WHERE kind = ? ORDER BY seq", (LeafKind.START.value,))
    opened = [vault.open_record(bytes(row["subject"]), bytes(row["record"])) for row in rows]
    return [json.loads(one[1]) for one in opened if one is not None]
