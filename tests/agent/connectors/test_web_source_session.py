"""Long lists that change while they are read: whole, or partial with the page that did not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.errors import BillingState, MalformedRecordError, SourceError
from agent.billing_model.records import Record
from agent.connectors.base import UnreadableError
from agent.connectors.web_source_session import TRIES, told_by, whole_list
from agent.reasons import TargetReason
from agent.runtime.errors import MalformedWebError, WebCertificateError, WebRefusedError, WebUnreachableError


@dataclass
class Server:
    """A list behind an API. `before`: runs before each call, with its number from 1."""

    rows: list[int]
    cap: int = 1000
    before: Callable[[int], None] = lambda _: None
    bend: Callable[[int, int], int] = lambda _number, offset: offset
    calls: list[int] = field(default_factory=list)

    async def fetch(self, offset: int, most: int) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        self.calls.append(offset)
        self.before(len(self.calls))
        start = self.bend(len(self.calls), offset)
        return [Record("row", {"id": n}) for n in self.rows[start : start + min(most, self.cap)]]


async def read(server: Server, most: int = 4) -> list[int]:
    return [int(key) for key in await whole_list("a list", server.fetch, most, lambda r: r.id("id"))]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 50])
@pytest.mark.parametrize("cap", [2, 3, 1000])
async def test_all_rows(count: int, cap: int) -> None:
    assert await read(Server(list(range(1, count + 1)), cap)) == list(range(1, count + 1))


async def test_rows_that_go_away_meanwhile_shift_the_others() -> None:
    server = Server(list(range(1, 41)))
    server.before = lambda number: server.rows.remove(number) if 2 <= number < 9 else None
    found = await read(server)
    assert set(server.rows) <= set(found)
    assert found == sorted(set(found))


async def test_the_last_row_itself_goes_away() -> None:
    server = Server(list(range(1, 11)))
    server.before = lambda number: server.rows.remove(4) if number == 2 else None
    assert await read(server) == list(range(1, 11))


async def test_a_row_that_is_added_at_the_end_is_read() -> None:
    server = Server([1, 2, 3, 4, 5])
    server.before = lambda number: server.rows.append(6) if number == 2 else None
    assert await read(server) == [1, 2, 3, 4, 5, 6]


async def test_a_row_that_is_added_at_the_front_has_all_read_again() -> None:
    server = Server([10, 11, 12, 13, 14])
    server.before = lambda number: server.rows.insert(0, 5) if number == 2 else None
    assert await read(server) == [5, 10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    "bend",
    [
        lambda _, offset: offset + 4 if offset >= 3 else offset,  # a page is lost
        lambda _, offset: max(offset - 4, 0) if offset >= 6 else offset,  # a page comes twice
        lambda _, offset: 0,  # the offset is not heard
        lambda _, offset: 99 if offset >= 6 else offset,  # the rest is missing
        lambda number, offset: offset + number % 2,
    ],
)
async def test_a_list_that_is_never_whole_is_partial(bend: Callable[[int, int], int]) -> None:
    server = Server(list(range(1, 21)), bend=bend)
    with pytest.raises(
        SourceError, match=rf"a list: page [0-9]+ did not fit the pages before it, {TRIES} times"
    ) as caught:
        await read(server)
    assert caught.value.state is BillingState.PARTIAL


async def test_a_page_that_is_lost_once_is_read_again() -> None:
    server = Server(list(range(1, 21)), bend=lambda number, offset: offset + 4 if number == 3 else offset)
    assert await read(server) == list(range(1, 21))


async def test_a_row_that_comes_twice_is_partial() -> None:
    with pytest.raises(SourceError, match="page 1"):
        await read(Server([1, 2, 2, 3]))


async def test_a_page_that_is_longer_than_asked_for() -> None:
    async def all_at_once(offset: int, most: int) -> Sequence[Record]:
        await trio.lowlevel.checkpoint()
        return [Record("row", {"id": n}) for n in range(10)]

    with pytest.raises(MalformedRecordError, match="expected at most 4 rows, got 10"):
        await whole_list("a list", all_at_once, 4, lambda r: r.id("id"))


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 60)), max_size=12), st.integers(2, 9))
def test_what_stays_is_read_or_the_list_is_partial(removals: list[tuple[int, int]], most: int) -> None:
    """Rows go away at any time: each row that stays is read, once, or nothing counts."""
    server = Server(list(range(1, 61)))
    when: dict[int, list[int]] = {}
    for number, row in removals:
        when.setdefault(number, []).append(row)

    def before(number: int) -> None:
        server.rows = [row for row in server.rows if row not in when.get(number, ())]

    server.before = before

    async def run() -> None:
        try:
            found = await read(server, most)
        except SourceError as err:
            assert err.state is BillingState.PARTIAL  # noqa: PT017  any other end fails
        else:
            assert set(server.rows) <= set(found)
            assert len(found) == len(set(found))

    trio.run(run)


@pytest.mark.parametrize(
    ("error", "state", "retry_s"),
    [
        (WebRefusedError("401", 401), BillingState.REFUSED, 0),
        (UnreadableError("no secret", reason=TargetReason.UNREADABLE), BillingState.REFUSED, 0),
        (WebUnreachableError("429", retry_after_s=7), BillingState.UNREACHABLE, 7),
        (WebCertificateError("changed"), BillingState.UNREACHABLE, 0),
        (MalformedWebError("HTML"), BillingState.UNREACHABLE, 0),
        (MalformedRecordError("no id"), BillingState.UNREACHABLE, 0),
    ],
)
def test_errors_become_states(error: Exception, state: BillingState, retry_s: float) -> None:
    with pytest.raises(SourceError, match=f"uisp-crm/main: {error}") as caught, told_by("uisp-crm/main"):
        raise error
    assert (caught.value.state, caught.value.retry_after_s) == (state, retry_s)
