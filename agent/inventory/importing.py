"""Importing: a CSV of subscribers by hand, and the billing file that is read again whenever it changes."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TypeVar

import trio

from agent.billing_model.errors import BillingState
from agent.connectors.spec import AccessMap
from agent.inventory import book, ledger, mapping_check
from agent.inventory.ledger import FILE, KeptAccount, RecordFile, SetStatus, SourceStatus
from agent.inventory.mapping_check import MappingReport
from agent.inventory.merge import FieldChange, MergeResult, merge, with_approval, with_claims
from agent.inventory.subscribers_csv import Parsed, parse_untrusted
from agent.model import Service
from agent.store.db import Store
from agent.store.log_store import Sealed

T = TypeVar("T")
Stamp = tuple[int, ...]
"""Tells one state of a file from another: time of change in ns, size in bytes, inode, mode, owner."""
Seal = Callable[[Mapping[str, int | str]], Sealed]
LONG_BYTES = 20_000
"""A file from some 200 lines on: reading it takes longer than other tasks should wait."""
KEYS_AT_ONCE = 500
"""Subscribers to make keys for between two turns of other tasks."""
SHOWN = 50
"""Problems and changes that one answer spells out; the counts are always exact."""


class ImportRefusedError(Exception):
    """The file was not taken: it has broken lines, each named; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import, done or tried: the answer for the API, and the services that people must approve first.

    Of each of these the list gives another login, access method or protection, or it claims a known service's login.
    """

    answer: dict[str, object]
    edits: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """The state of the billing file: `fresh` are the subscribers with a fact on a good line."""

    problem: str
    state: BillingState = BillingState.FRESH
    fresh: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()


class Importer:
    """Takes CSV files. `ensure` makes subscribers' keys durable before rows that need them.

    While the billing file has broken lines, or cannot be read at all, only those facts count that its good lines gave:
    `doubt` says of which subscribers nothing may be concluded. Somebody's payment may stand on the broken line.
    """

    def __init__(
        self,
        store: Store,
        seal: Seal,
        ensure: Callable[[list[str | None]], None],
        billing: Path | None,
        access: Sequence[AccessMap],
        wall_s: Callable[[], float],
        note: Callable[[str], None] = lambda _: None,
        people: Mapping[int, str] | None = None,
        zone: tzinfo = UTC,
        approve_first: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the parts.

        Args:
            store: the database.
            seal: seals an entry of the audit log.
            ensure: makes subscribers' keys durable.
            billing: the billing file; None: none is configured.
            access: the access methods that the configuration declares.
            wall_s: unix seconds.
            note: is told the fault of the billing file each time, "" when there is none.
            people: local users by uid, which may ask for changes: a billing file that they can write is no evidence.
            zone: of the days in lists and in the billing file.
            approve_first: tells whether people approve the services of a first list, into an empty inventory.
        """
        self._people = {} if people is None else people
        self._zone = zone
        self._approve_first = approve_first
        self._store = store
        self._seal = seal
        self._ensure = ensure
        self._billing = billing
        self._access = access
        self._wall_s = wall_s
        self._told = note
        self._stamp: Stamp | None = None
        self._view = _View("" if billing is None else "the billing file was not read yet", BillingState.NEVER)
        self._reading = trio.Lock()

    @property
    def doubtful(self) -> frozenset[str]:
        """Subscribers that stand on a broken line of the billing file, as far as those can be read."""
        return self._view.doubtful

    def billing_problem(self) -> str:
        """Return the fault of the billing file as it is now, in a line without any of its data; "": none."""
        return self._view.problem

    def doubt(self, subscriber: str) -> str:
        """Return why the stored fact of a subscriber must not count as owing now; "": it may count.

        It may when the billing file is whole (or none is configured), or when a good line of the broken file gave it
        and no broken line is known to be the subscriber's as well.
        """
        view = self._view
        return "" if subscriber in view.fresh and subscriber not in view.doubtful else view.problem

    async def run(self, data: bytes, who: str, *, dry_run: bool) -> Imported:
        """Merge a CSV into the inventory, but for edits, which people approve; return the result, done or tried.

        Raises:
            ImportRefusedError: broken lines; nothing was stored.
        """
        parsed = await _aside(data, lambda: parse_untrusted(data, self._wall_s(), self._zone))
        if parsed.problems:
            raise ImportRefusedError(problems_text(parsed))
        existing = book.services(self._store.reader)
        first = not existing and self._approve_first()
        result = await _aside(data, lambda: _merged(existing, parsed, self._access, approve=first))
        if not dry_run:
            await self._write(parsed, result, who)
        services: Mapping[str, Service] = {
            **book.services(self._store.reader),
            **{s.ref: s for s in result.to_write},
        }
        answer = await _aside(data, lambda: self._answer(parsed, result, services, dry_run=dry_run))
        answer["first_import"] = first
        return Imported(answer, tuple(edit.service for edit in result.edits))

    async def _write(self, parsed: Parsed, result: MergeResult, who: str) -> None:
        refs: list[str | None] = [s.ref for s in result.to_write]
        for n in range(0, len(refs), KEYS_AT_ONCE):
            self._ensure(refs[n : n + KEYS_AT_ONCE])
            await trio.lowlevel.checkpoint()
        record = self._seal({"what": "import", "by": who, "added": len(result.added), "changed": len(result.changed)})
        await self._store.run(book.ImportServices(result, parsed.rows, record, who))

    def _answer(
        self, parsed: Parsed, result: MergeResult, services: Mapping[str, Service], *, dry_run: bool
    ) -> dict[str, object]:
        report = mapping_check.check(services.values(), self._access)
        cannot = [
            *(f"{ref}: no access mapping for its method" for ref in report.no_method),
            *(f"{ref}: its tariff is mapped to no group" for ref in report.no_tariff),
            *(f"{', '.join(s.refs)}: share the login {s.login}" for s in report.shared_logins),
        ]
        return {
            "dry_run": dry_run,
            "rows": len(parsed.rows),
            "added": len(result.added),
            "changed": [_changed(c.service, c.fields) for c in result.changed[:SHOWN]],
            "changed_count": len(result.changed),
            "edits": [_changed(e.service, e.fields) for e in result.edits[:SHOWN]],
            "edits_count": len(result.edits),
            "unchanged": len(result.unchanged),
            "not_in_file": len(result.untouched_by_omission),
            "cannot_enforce": cannot[:SHOWN],
            "cannot_enforce_count": len(cannot),
            "cannot_enforce_by": _missing_by(report, services),
        }

    async def refresh(self) -> bool:
        """Read the billing file again if it changed; return whether facts of it were stored.

        The facts of good lines are taken also where others are broken; see `doubt` for those that were not refreshed.
        A caller waits while another call reads: afterwards the facts are those of the file as it is.
        """
        if self._billing is None:
            return False
        async with self._reading:
            return await self._refresh(self._billing)

    async def _refresh(self, billing: Path) -> bool:
        try:
            stamp, data, writer = _read_unless(billing, self._stamp, self._people)
        except OSError as err:
            self._stamp = None
            why = f"the billing file cannot be read: {err.strerror or type(err).__name__}"
            await self._keep_state(_View(why, BillingState.UNREACHABLE))
            return False
        if data is None:
            self._note(self._view)
            return False
        read = data
        parsed = await _aside(read, lambda: parse_untrusted(read, self._wall_s(), self._zone))
        found = parsed.facts
        problem = _file_problem(parsed, len(found))
        state = (BillingState.PARTIAL if problem else BillingState.FRESH) if found else BillingState.EMPTY
        if problem:
            self._note(_View(problem, state))  # until the facts of its good lines are stored none counts
        if writer is not None and not problem:
            problem = f"{writer} can write the billing file: it is evidence for no standing authority"
        broken = frozenset(p.subscriber for p in parsed.problems if p.subscriber)
        view = _View(problem, state, frozenset(found), broken)
        if not found:
            await self._keep_state(view)
        else:
            await self._record(parsed, writer or "", view)
        self._stamp = stamp
        self._note(view)
        return bool(found)

    async def _record(self, parsed: Parsed, author: str, view: _View) -> None:
        told = parsed.facts.values()
        record = self._seal({"what": "billing", "facts": len(told), "broken": len(parsed.problems)})
        accounts = [KeptAccount(FILE, fact.account, fact.read_s, author) for fact in told]
        payments = [fact.payment for fact in told if fact.payment is not None]
        read_s = max(fact.read_s for fact in told)
        await self._store.run(RecordFile(accounts, payments, author, self._status(view, read_s, len(told)), record))

    async def _keep_state(self, view: _View) -> None:
        """Note a state in which no accounts were read; it is durable once for as long as it lasts."""
        before = ledger.status(self._store.query, FILE)
        if (before.state, before.detail) != (view.state, view.problem):
            await self._store.run(SetStatus(self._status(view, before.read_s, before.accounts)))
        self._note(view)

    def _status(self, view: _View, read_s: float, accounts: int) -> SourceStatus:
        now_s = self._wall_s()
        return SourceStatus(FILE, view.state, view.problem, now_s, read_s, now_s, accounts)

    def _note(self, view: _View) -> None:
        self._told(view.problem)
        self._view = view


def _merged(
    existing: Mapping[str, Service], parsed: Parsed, access: Sequence[AccessMap], *, approve: bool
) -> MergeResult:
    merged = merge(existing, parsed.rows)
    if approve:
        return with_approval(merged)
    if not existing or not merged.added:
        return merged
    claiming = mapping_check.claimed(merged.added, existing, access)
    return with_claims(merged, claiming)


def _changed(service: Service, fields: Sequence[FieldChange]) -> dict[str, object]:
    return {"ref": service.ref, "fields": [f"{f.field}: {f.before or '-'} > {f.after or '-'}" for f in fields]}


async def _aside(data: bytes, work: Callable[[], T]) -> T:
    """Return the result of pure work on a file; on a long one it is done in a thread, and other tasks go on."""
    return work() if len(data) < LONG_BYTES else await trio.to_thread.run_sync(work)


def _missing_by(report: MappingReport, services: Mapping[str, Service]) -> list[dict[str, object]]:
    """Return the methods and tariffs that are missing, each with the number of services that need it, most first."""
    counts = Counter(
        [
            *(f"no method {services[ref].method or '(empty)'}" for ref in report.no_method),
            *(f"no tariff {services[ref].tariff or '(empty)'} in {services[ref].method}" for ref in report.no_tariff),
            *("login of another service too" for shared in report.shared_logins for _ in shared.refs),
        ]
    )
    return [{"what": what, "services": n} for what, n in counts.most_common()]


def _read_unless(file: Path, known: Stamp | None, people: Mapping[int, str]) -> tuple[Stamp, bytes | None, str | None]:
    """Return a file's stamp, taken before it is read, its bytes, and a requester that can write it (None: nobody).

    The bytes are None if the stamp is the known one.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:  # the file that is looked at is the one that is read, whatever takes its name
        info = os.fstat(opened.fileno())
        stamp = (info.st_mtime_ns, info.st_size, info.st_ino, info.st_mode, info.st_uid)
        data = None if stamp == known else opened.read()
    writer = None
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        writer = f"whoever its mode {stat.S_IMODE(info.st_mode):04o} lets"
    elif info.st_uid not in (0, os.geteuid()):
        writer = people.get(info.st_uid)
    return stamp, data, writer


def _file_problem(parsed: Parsed, facts: int) -> str:
    """Return the fault of a billing file. Of a broken line only its number is told: anybody may read this."""
    if not parsed.problems:
        return "" if facts else "the billing file holds no billing data"
    first, count = parsed.problems[0].line, len(parsed.problems)
    if first == 0:
        return "the billing file cannot be used as a whole"
    lines = f"1 broken line, line {first}" if count == 1 else f"{count} broken lines, the first is line {first}"
    return f"the billing file has {lines} (ispagent subscriber import --dry-run FILE says what is wrong)"


def problems_text(parsed: Parsed) -> str:
    """Return the broken lines, each named, as text."""
    lines = [f"line {p.line}: {p.message}" for p in parsed.problems[:SHOWN]]
    more = [f"… and {len(parsed.problems) - SHOWN} more"] if len(parsed.problems) > SHOWN else []
    return "\n".join([f"nothing was imported: {len(parsed.problems)} broken lines", *lines, *more])
