"""Readings of billing sources behind a web API: errors as a source has them, and long lists, read whole.

A list comes in pages, by offset, while rows come and go. It is whole when:

* each page begins with the last row of the page before. If one does not, a page from further back has to have a row
  that was read: rows before it went away, such as invoices that were paid meanwhile.
* no new id comes twice, and there is nothing behind the last row. A page may be shorter than asked for: servers have
  limits of their own.
* a second look at the first page shows only rows that were read, in their order.

Otherwise it is read again, and after `TRIES` it is partial. Of a list that has its newest rows first, the beginning may
be read alone: the first rule holds, and rows that come meanwhile are found by the next reading.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from agent.billing_model.errors import BillingState, MalformedRecordError, SourceError
from agent.billing_model.records import Record
from agent.connectors.base import UnreadableError
from agent.connectors.web_source import WebTerms
from agent.runtime.clock import Clock
from agent.runtime.errors import WebError, WebRefusedError, WebStatusError, WebUnreachableError
from agent.runtime.web_session import MEBI, Authorize, WebClient, WebLimits, WebPeer

TRIES: Final = 3
READING_S: Final = 1500.0
"""The time of a full reading, a little less than whoever asks for one waits."""
CALLS: Final = 20_000
"""Calls of a full reading: where accounts are asked for one by one, most of them."""
T = TypeVar("T")
Fetch = Callable[[int, int], Awaitable[Sequence[Record]]]
"""Returns the rows from an offset on, at most so many."""


def client_of(terms: WebTerms, clock: Clock, authorize: Authorize, *, one_at_a_time: bool = False) -> WebClient:
    """Return the client of a source."""
    peer = WebPeer(terms.address, terms.ca_file, terms.pin, one_at_a_time)
    limits = WebLimits(
        reading_s=READING_S,
        answer_bytes=min(16 * MEBI, terms.reading_bytes),
        reading_bytes=terms.reading_bytes,
        calls=CALLS,
    )
    return WebClient(peer, clock, authorize, limits)


@contextmanager
def told_by(source: str) -> Iterator[None]:
    """Turn errors inside the block into a `SourceError` that names the source, and the key to look at.

    Args:
        source: its target, KIND/NAME; its section of the configuration is [KIND.NAME].

    Raises:
        SourceError: for an error of the web, of a record, or of a secret that is missing.
    """
    try:
        yield
    except WebRefusedError as err:
        raise SourceError(f"{source}: {err}: {_see('secret', source)}", state=BillingState.REFUSED) from err
    except WebUnreachableError as err:
        raise SourceError(f"{source}: {err}", state=BillingState.UNREACHABLE, retry_after_s=err.retry_after_s) from err
    except UnreadableError as err:
        raise SourceError(f"{source}: {err}", state=BillingState.REFUSED) from err
    except WebStatusError as err:
        raise SourceError(f"{source}: {err}: {_see('url', source)}", state=BillingState.UNREACHABLE) from err
    except (WebError, MalformedRecordError) as err:
        raise SourceError(f"{source}: {err}", state=BillingState.UNREACHABLE) from err


def _see(key: str, source: str) -> str:
    return f"see {key} in [{source.replace('/', '.', 1)}]"


class _ChangedError(Exception):
    """A page does not fit the one before."""


async def whole_list(
    what: str, fetch: Fetch, most: int, read: Callable[[Record], T], *, short: int = 0
) -> dict[str, T]:
    """Return all rows of a list by their ids, in order.

    Args:
        what: the list, for messages: `uisp-crm/main: invoices`.
        fetch: asks for a page.
        most: rows of a page, 2 or more.
        read: takes the fields that matter out of a row.
        short: a first page of fewer rows is the whole list, as no server's own limit is that low.

    Raises:
        SourceError: PARTIAL, naming the page, when the list was never whole.
        MalformedRecordError: a row has no id.
    """

    async def whole(reading: _ListReading[T]) -> dict[str, T]:
        return await reading.all(short)

    return await _tried(what, fetch, most, read, whole)


async def newest_rows(
    what: str, fetch: Fetch, most: int, read: Callable[[Record], T], enough: Callable[[Mapping[str, T]], bool]
) -> dict[str, T]:
    """Return the first rows of a list by their ids, in order; that list has its newest rows first.

    Args:
        what: the list, for messages: `uisp-crm/main: payments`.
        fetch: asks for a page.
        most: rows of a page, 2 or more.
        read: takes the fields that matter out of a row.
        enough: (rows that the last page brought) -> whether no older ones are needed.

    Raises:
        SourceError: PARTIAL, naming the page, when pages never fitted each other.
        MalformedRecordError: a row has no id.
    """

    async def beginning(reading: _ListReading[T]) -> dict[str, T]:
        return await reading.until(enough)

    return await _tried(what, fetch, most, read, beginning)


async def _tried(
    what: str,
    fetch: Fetch,
    most: int,
    read: Callable[[Record], T],
    attempt: Callable[[_ListReading[T]], Awaitable[dict[str, T]]],
) -> dict[str, T]:
    """Return the rows of the first attempt in which pages fitted each other.

    Raises:
        SourceError: PARTIAL, there was none.
    """
    page = 0
    for _ in range(TRIES):
        reading = _ListReading(fetch, most, read)
        try:
            return await attempt(reading)
        except _ChangedError:
            page = reading.page
    raise SourceError(
        f"{what}: page {page} did not fit the pages before it, {TRIES} times; it is read again later",
        state=BillingState.PARTIAL,
    )


class _ListReading(Generic[T]):
    """One attempt at a list."""

    def __init__(self, fetch: Fetch, most: int, read: Callable[[Record], T]) -> None:
        self._fetch, self._most, self._read = fetch, most, read
        self._rows: dict[str, T] = {}
        self._last = ""
        """Id of the last row that was read, and the offset at which it was seen."""
        self._at = 0
        self._longest = 0
        """Rows of the longest page: servers have limits of their own."""
        self.page = 0

    async def all(self, short: int) -> dict[str, T]:
        """Return all rows (`short`: see `whole_list`).

        Raises:
            _ChangedError: the list changed while it was read, or a page was lost or came twice.
        """
        while await self._next():
            if self.page == 1 and self._longest < short:
                return self._rows
        if not self._last and short:
            return self._rows
        if self._last and await self._fetch_from(self._at + 1):
            raise _ChangedError  # there are more rows, and they did not come where they had to
        await self._look_again()
        return self._rows

    async def until(self, enough: Callable[[Mapping[str, T]], bool]) -> dict[str, T]:
        """Return the rows up to the page that is enough, or all.

        Raises:
            _ChangedError: a page was lost or came twice.
        """
        while new := await self._next():
            if enough(new):
                return self._rows
        behind = await self._fetch_from(self._at + 1) if self._last else ()
        # New rows may have moved a few known ones there. A whole page of known ones is a server that gives it again
        if len(behind) >= max(self._longest, 1) or any(row.id("id") not in self._rows for row in behind):
            raise _ChangedError
        return self._rows

    async def _next(self) -> Mapping[str, T]:
        """Read the page that begins with the last row; return the rows that it brought."""
        self.page += 1
        offset = self._at
        page = await self._fetch_from(offset)
        ids = [row.id("id") for row in page]
        if self._last and ids[:1] != [self._last]:
            offset = max(self._at - max(self._longest // 2, 1), 0)
            page = await self._fetch_from(offset)
            ids = [row.id("id") for row in page]
        first, rows, read = self._known(ids) + 1, self._rows, self._read
        new: dict[str, T] = {}
        for key, record in zip(ids[first:], page[first:], strict=True):
            if key in rows:
                raise _ChangedError
            rows[key] = new[key] = read(record)
        if new:
            self._last, self._at = ids[-1], offset + len(ids) - 1
        return new

    def _known(self, ids: Sequence[str]) -> int:
        """Return the place of the last row that was read before; -1 on the first page."""
        if not self._last:
            return -1
        known = max((place for place, key in enumerate(ids) if key in self._rows), default=-1)
        if known < 0:
            raise _ChangedError
        return known

    async def _look_again(self) -> None:
        order = {key: place for place, key in enumerate(self._rows)}
        places = [order.get(row.id("id"), -1) for row in await self._fetch_from(0)]
        if -1 in places or places != sorted(places):
            self.page = 1
            raise _ChangedError

    async def _fetch_from(self, offset: int) -> Sequence[Record]:
        page = await self._fetch(offset, self._most)
        if len(page) > self._most:
            raise MalformedRecordError(f"page {self.page}: expected at most {self._most} rows, got {len(page)}")
        self._longest = max(self._longest, len(page))
        return page
