"""`audit verify` finds changes beside the log: plans, items, approvals, states and verdicts."""

from __future__ import annotations

import pytest

from agent.store.errors import LogCorruptError
from tests.builders.agent import Agent, done

FLIP = "CAST(substr({0}, 1, 40) || x'21' || substr({0}, 42) AS BLOB)"
"""One byte of a column is another one."""
LOST_INDEX = (
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'requester, made_s', 'short')"
    " WHERE name = 'plan_requester'; PRAGMA schema_version = 9999; PRAGMA writable_schema = OFF"
)
"""An index holds other values than its table."""


@pytest.mark.parametrize(
    ("triggers", "change", "told"),
    [
        ((), f"UPDATE item SET doc = {FLIP.format('doc')}", "does not open under its subject's key: it was damaged"),
        ((), "UPDATE item SET doc = (SELECT doc FROM item i WHERE i.n <> item.n LIMIT 1)", "damaged|not those that"),
        (
            (),
            "DELETE FROM reason; DELETE FROM step; DELETE FROM item WHERE n = 1",
            "items are not those that were signed",
        ),
        ((), "UPDATE plan SET head = x'7b7d'", "items are not those that were signed"),
        ((), f"UPDATE plan SET envelope = {FLIP.format('envelope')}", "stored envelope is no plan|plan is not the one"),
        ((), f"UPDATE approval SET envelope = {FLIP.format('envelope')}", "approval of joseph is malformed"),
        ((), "UPDATE approval SET decision = 'reject'", "approval's row is not what joseph signed"),
        (("item_way", "item_event"), "UPDATE item SET state = 'reverted'", "item 1 is said to be reverted"),
        (
            (),
            "UPDATE item SET state_seq = (SELECT about_seq FROM step s WHERE s.item = item.n LIMIT 1)",
            "item 1 is said to be applied, and its leaf",
        ),
        (("event_fixed",), "UPDATE event SET leaf = x'00' WHERE seq = 5", "event 5: leaf"),
        ((), "UPDATE step SET verdict = 'not-applied'", "step 1.1 is said to be not-applied"),
        (
            (),
            LOST_INDEX,
            "agent.db is damaged: .*index plan_requester",
        ),
    ],
)
async def test_J6_J7_what_was_changed_beside_the_log_is_found(
    agent: Agent, triggers: tuple[str, ...], change: str, told: str
) -> None:
    await done(agent, "suspend", "C-1", "C-2/home")
    evidence, con = agent.daemon.api.parts.evidence, agent.daemon.files.store._con
    assert evidence.verify() > 10
    for trigger in triggers:
        con.execute(f"DROP TRIGGER {trigger}")
    con.execute("PRAGMA foreign_keys = OFF")
    for statement in change.split("; "):
        con.execute(statement)
    with pytest.raises(LogCorruptError, match=told):
        evidence.verify()
