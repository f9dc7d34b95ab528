"""A stored value that no ispagent writes is a damage, and says what to do; the value itself is never told."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing

import pytest

from agent.model import ItemState
from agent.runtime.supervise import contain, ends_program
from agent.store.errors import LASTING, DamagedValueError, StoreError, StoreFailedError
from agent.store.stored import damaged, members, reads_row_of

ZEROS = "\0" * 7


def test_a_member_is_found_by_its_value_and_zeros_are_a_damage() -> None:
    assert members(ItemState, "item")["planned"] is ItemState.PLANNED
    for value in (ZEROS, b"planned", None, 7, "Ann Doe"):
        with pytest.raises(DamagedValueError, match=r"agent\.db, table item: expected a value of ItemState") as caught:
            members(ItemState, "item")[value]
        assert "put the state directory back from a backup" in str(caught.value)
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("row", ["", "{", "[1]", "7", '["x", 1]', ZEROS])
def test_a_row_that_does_not_decode_is_a_damage(row: str) -> None:
    @reads_row_of("cpe_breaker")
    def decode(r: sqlite3.Row) -> int:
        first, second = json.loads(r["told"])
        return int(first) + int(second)

    with closing(sqlite3.connect(":memory:")) as con:
        con.row_factory = sqlite3.Row
        assert decode(con.execute("SELECT '[1,2]' AS told").fetchone()) == 3
        with pytest.raises(DamagedValueError, match="table cpe_breaker: a row does not have the form"):
            decode(con.execute("SELECT ? AS told", (row,)).fetchone())


def test_it_ends_the_agent_and_no_further_start_mends_it() -> None:
    error = damaged("plan", "something")
    assert ends_program(error)
    assert isinstance(error, StoreError)
    assert isinstance(error, LASTING)


async def test_a_request_that_cannot_be_recorded_ends_the_server() -> None:
    """It was a crash of the request, with a traceback in the log, and another task ended the agent."""

    async def request() -> None:
        raise StoreFailedError("the store cannot be written: database or disk is full")

    with pytest.raises(StoreFailedError):
        await contain("http", request, log=logging.getLogger("agent.test"))
