"""The operator's list of subscribers and services: CSV in, checked rows and named problems out.

One line is one service (RFC 4180, but a field holds no line break: a forgotten quote then costs its own line and not
the rest of the file). Columns may stand in any order; those that mean nothing here are kept with the service.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, tzinfo
from decimal import Decimal
from typing import Final

from agent.billing_model import days
from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.errors import MalformedDayError
from agent.inventory.ledger import CLOCK_SLACK_S
from agent.model import Service

COLUMNS: Final = (
    "subscriber",
    "name",
    "service",
    "login",
    "method",
    "tariff",
    "protected",
    "feeds",
    "balance",
    "due",
    "paid_at",
    "as_of",
)
BILLING: Final = ("balance", "due", "paid_at", "as_of")
PROMISE: Final = "promise_until"
"""A column that a file may have: the last day of a promise to pay. The lines of one subscriber may differ in it."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""About half a million services. Chosen arbitrarily."""
ID_CHARS: Final = 64
LOGIN_CHARS: Final = 253
"""A User-Name holds no more (RFC 2865 section 5): 255 less type and length, in bytes."""
TEXT_CHARS: Final = 256
_BALANCE: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,4})?", re.ASCII)
_FEEDS: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_NOT_PROTECTED: Final = frozenset({"", "0", "no", "false", "none", "-"})
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Overrides and isolates reorder text for a reader. Joiners and marks stay: names are written with them."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The fault of a line, numbered from 1. Line 0 is the file as a whole.

    `subscriber`: of the line, where that can be read: as many fields as the header has.
    """

    line: int
    message: str
    subscriber: str = ""

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@dataclass(frozen=True, slots=True)
class ToldAccount:
    """An account as a line tells it. `read_s`: the last moment at which the export can have been made, unix seconds.

    A balance above zero is one open invoice. The amount of a payment is not told: it stands as 0.
    """

    account: Account
    read_s: float
    payment: Payment | None


@dataclass(frozen=True, slots=True)
class SubscriberRow:
    """One good line: a service (without reasons: those are ours), and billing's facts, if there are any."""

    line: int
    service: Service
    fact: ToldAccount | None


@dataclass(frozen=True, slots=True)
class Parsed:
    """The good lines, the broken ones, and the facts by subscriber."""

    rows: tuple[SubscriberRow, ...]
    problems: tuple[Problem, ...]

    @property
    def facts(self) -> Mapping[str, ToldAccount]:
        """Billing's facts, by subscriber; a subscriber's lines agree but in promises: of these the latest counts."""
        found: dict[str, ToldAccount] = {}
        for row in self.rows:
            if row.fact is not None:
                name = row.service.subscriber
                found[name] = _later(found[name], row.fact) if name in found else row.fact
        return found


class _BadLineError(ValueError):
    """A line cannot be used; the message says why."""


@dataclass(slots=True)
class _Reading:
    rows: list[SubscriberRow] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refs: dict[str, int] = field(default_factory=dict)
    facts: dict[str, SubscriberRow] = field(default_factory=dict)

    def take(self, row: SubscriberRow) -> None:
        """Keep a row.

        Raises:
            _BadLineError: its service stands on an earlier line, or its subscriber's account reads otherwise there.
        """
        first = self.refs.setdefault(row.service.ref.casefold(), row.line)
        if first != row.line:
            raise _BadLineError(f"expected each service once, {row.service.ref} stands on line {first} already")
        if row.fact is not None:
            known = self.facts.setdefault(row.service.subscriber, row)
            # with the same promise they are equal
            if known.fact is not None and _later(known.fact, row.fact) != _later(row.fact, known.fact):
                columns = ", ".join(BILLING)
                raise _BadLineError(
                    f"{columns}: expected one account a subscriber, {row.service.subscriber} reads otherwise on line "
                    f"{known.line} (leave them empty on all but one line)"
                )
        self.rows.append(row)


def parse_untrusted(text: bytes, now_s: float | None = None, zone: tzinfo = UTC) -> Parsed:
    """Return the content of the file; total: any bytes give rows and problems.

    Args:
        text: the file.
        now_s: unix seconds; with it, a line with an `as_of` in the future is a broken one.
        zone: of the billing system, in which days, and times without an offset, are meant.
    """
    if len(text) > MAX_BYTES:
        return Parsed((), (Problem(0, f"expected a file of at most {MAX_BYTES} bytes, got {len(text)}"),))
    if text[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return Parsed((), (Problem(0, "expected UTF-8, got UTF-16: save it as CSV UTF-8"),))
    lines = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
    start = next((n for n, line in enumerate(lines) if line.strip()), None)
    if start is None:
        return Parsed((), (Problem(0, f"expected a header line with {', '.join(COLUMNS)}, got an empty file"),))
    try:
        header, delimiter = _header(lines[start])
    except _BadLineError as err:
        return Parsed((), (Problem(start + 1, str(err)),))
    reading = _Reading()
    for number, line in enumerate(lines[start + 1 :], start + 2):
        if not line.strip():
            continue
        cells: list[str] = []
        try:
            cells = _cells(_decoded(line), delimiter)
            reading.take(_row(number, cells, header, now_s, zone))
        except _BadLineError as err:
            whose = cells[header.index("subscriber")] if len(cells) == len(header) else ""
            reading.problems.append(Problem(number, str(err), whose))
    return Parsed(tuple(reading.rows), tuple(reading.problems))


def _header(line: bytes) -> tuple[list[str], str]:
    # Spreadsheets write `;` where the comma is the decimal sign; the right delimiter finds most of our columns.
    text = _decoded(line)
    tried = []
    for delimiter in (",", ";", "\t"):
        with suppress(_BadLineError):
            names = [name.lower() for name in _cells(text, delimiter)]
            tried.append((len(set(names) & set(COLUMNS)), names, delimiter))
    if not tried:
        raise _BadLineError(f"header: expected balanced quotes and {', '.join(COLUMNS)}")
    _, header, delimiter = max(tried, key=lambda found: found[0])
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise _BadLineError(f"header: missing {', '.join(missing)}; got {_shown(', '.join(header), 200)}")
    twice = sorted({name or "(empty)" for name in header if header.count(name) > 1})
    if twice:
        raise _BadLineError(f"header: expected each column once, {_shown(', '.join(twice), 200)} stands twice")
    return header, delimiter


def _decoded(line: bytes) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as err:
        raise _BadLineError(f"expected UTF-8, got byte 0x{line[err.start]:02x} at position {err.start + 1}") from err
    for char in text:
        if (unicodedata.category(char) in {"Cc", "Zl", "Zp"} and char != "\t") or char in _BIDI:
            raise _BadLineError(f"expected text without control characters, got U+{ord(char):04X}")
    return text


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        cells = [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter, strict=True))]
    except csv.Error as err:
        raise _BadLineError("expected balanced quotes (a field holds no line break)") from err
    if any("\t" in cell for cell in cells):
        raise _BadLineError("expected text without control characters, got U+0009")
    return cells


def _row(number: int, cells: list[str], header: list[str], now_s: float | None, zone: tzinfo) -> SubscriberRow:
    if len(cells) != len(header):
        raise _BadLineError(f"expected {len(header)} fields as in the header, got {len(cells)}")
    cell = dict(zip(header, cells, strict=True))
    subscriber, name = _id(cell, "subscriber"), _id(cell, "service")
    service = Service(
        ref=f"{subscriber}/{name}",
        subscriber=subscriber,
        name=_text(cell, "name"),
        service=name,
        login=_login(cell),
        method=_text(cell, "method"),
        tariff=_text(cell, "tariff"),
        protected="" if cell["protected"].lower() in _NOT_PROTECTED else _text(cell, "protected"),
        feeds=_feeds(cell),
        extra={key: value for key, value in cell.items() if key not in COLUMNS} or None,
    )
    return SubscriberRow(number, service, _fact(cell, now_s, zone))


def _text(cell: Mapping[str, str], column: str, chars: int = TEXT_CHARS) -> str:
    if len(cell[column]) > chars:
        raise _BadLineError(f"{column}: expected at most {chars} characters, got {len(cell[column])}")
    return cell[column]


def _id(cell: Mapping[str, str], column: str) -> str:
    value = _text(cell, column, ID_CHARS)
    if not value:
        raise _BadLineError(f"{column}: expected a value, it is empty")
    if "/" in value or any(unicodedata.category(char) in {"Cf", "Zs", "Cn", "Co"} for char in value):
        raise _BadLineError(f"{column}: expected no slash, space or invisible character, got {_shown(value)}")
    return value


def login_problem(value: str) -> str:
    """Return why a text cannot be a login; "": it can."""
    if not value:
        return "login: expected a value, it is empty"
    if len(value.encode()) > LOGIN_CHARS:
        return f"login: expected at most {LOGIN_CHARS} bytes, got {len(value.encode())}"
    if any(unicodedata.category(char) in {"Cf", "Cc", "Zl", "Zp"} or char in _BIDI for char in value):
        return f"login: expected no invisible character, got {_shown(value)}"
    return ""


def _login(cell: Mapping[str, str]) -> str:
    if problem := login_problem(cell["login"]):
        raise _BadLineError(problem)
    return cell["login"]


def _feeds(cell: Mapping[str, str]) -> int:
    value = cell["feeds"] or "0"
    if not _FEEDS.fullmatch(value):
        expected = "expected a number of subscribers that hang on it (0 to 999999)"
        raise _BadLineError(f"feeds: {expected}, got {_shown(value)}")
    return int(value)


def _fact(cell: Mapping[str, str], now_s: float | None, zone: tzinfo) -> ToldAccount | None:
    if not any(cell[column] for column in BILLING):
        return None
    if not _BALANCE.fullmatch(cell["balance"]):
        raise _BadLineError(f"balance: expected an amount such as 34.00, got {_shown(cell['balance'])}")
    as_of = _when(cell, "as_of", zone)
    due = _when(cell, "due", zone) if cell["due"] else None
    if now_s is not None and as_of.first_s > now_s + CLOCK_SLACK_S:
        raise _BadLineError(f"as_of lies in the future: expected the time of the export, got {_shown(cell['as_of'])}")
    subscriber, balance = cell["subscriber"], Decimal(cell["balance"])
    invoices = (OpenInvoice("", None if due is None else due.day, balance),) if balance > 0 else ()
    promise, no_day = _promise(cell.get(PROMISE, ""))
    account = Account(
        subscriber, subscriber, "", balance, invoices, as_of.first_s, promise_until=promise, exempt=no_day
    )
    return ToldAccount(account, as_of.last_s, _payment(subscriber, cell, zone))


def _promise(text: str) -> tuple[date | None, str]:
    """Return the last day of a promise; of one that nobody can read, why its subscriber is never cut off."""
    if not text:
        return None, ""
    try:
        return date.fromisoformat(text[:10]), ""
    except ValueError:
        return None, f"promised to pay until {_shown(text)}, which is no date (YYYY-MM-DD expected)"


def _later(one: ToldAccount, other: ToldAccount) -> ToldAccount:
    """Return the first account with the later promise of both."""
    accounts = (one.account, other.account)
    until = max((a.promise_until for a in accounts if a.promise_until is not None), default=None)
    exempt = max(a.exempt for a in accounts)
    return replace(one, account=replace(one.account, promise_until=until, exempt=exempt))


def _payment(subscriber: str, cell: Mapping[str, str], zone: tzinfo) -> Payment | None:
    if not cell["paid_at"]:
        return None
    name, paid = f"{subscriber} {cell['paid_at']}", _when(cell, "paid_at", zone)
    return Payment(name, subscriber, subscriber, Decimal(0), "", paid, PaymentState.SETTLED)


def _when(cell: Mapping[str, str], column: str, zone: tzinfo) -> days.When:
    try:
        return days.when_untrusted(cell[column], zone)
    except MalformedDayError as err:
        example = "YYYY-MM-DD or RFC 3339 (2026-10-15T09:04:11Z)"
        raise _BadLineError(f"{column}: expected {example}, got {_shown(cell[column])}") from err


def _shown(value: str, chars: int = 40) -> str:
    return ascii(value) if len(value) <= chars else f"{value[:chars]!a}…"
