"""The subscriber list: good lines, broken lines each named, any bytes."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import when_untrusted
from agent.inventory import subscribers_csv
from agent.inventory.subscribers_csv import COLUMNS, Parsed, ToldAccount, parse_untrusted
from agent.model import Service

HEADER = ",".join(COLUMNS)
GOOD = "C-1,Amina Hassan,home,amina.h,pppoe,Home 20M,,0,34.00,2026-10-03,2026-09-01,2026-10-15T09:00:00Z"


def parse(*lines: str, header: str = HEADER) -> Parsed:
    return parse_untrusted("\n".join((header, *lines)).encode())


def line(**cells: str) -> str:
    values = dict(zip(COLUMNS, GOOD.split(","), strict=True)) | cells
    out = io.StringIO()
    csv.writer(out).writerow(values.values())
    return out.getvalue().strip("\r\n")


def test_a_good_line() -> None:
    parsed = parse(GOOD)
    assert parsed.problems == ()
    (row,) = parsed.rows
    assert row.line == 2
    assert row.service == Service("C-1/home", "C-1", "Amina Hassan", "home", "amina.h", "pppoe", "Home 20M")
    as_of_s = datetime(2026, 10, 15, 9, tzinfo=UTC).timestamp()
    invoice = OpenInvoice("", date(2026, 10, 3), Decimal("34.00"))
    paid = Payment(
        "C-1 2026-09-01",
        "C-1",
        "C-1",
        Decimal(0),
        "",
        when_untrusted("2026-09-01", UTC),
        PaymentState.SETTLED,
    )
    told = Account("C-1", "C-1", "", Decimal("34.00"), (invoice,), as_of_s)
    assert row.fact == ToldAccount(told, as_of_s, paid)
    assert parsed.facts == {"C-1": row.fact}


def test_spreadsheets() -> None:
    text = "\ufeff" + (HEADER.upper() + ",Zone\r\n" + GOOD + ",north\r\n").replace(",", ";")
    parsed = parse_untrusted(text.encode())
    assert parsed.problems == ()
    assert parsed.rows[0].service.extra == {"zone": "north"}
    assert parse_untrusted((HEADER + "\n" + GOOD).replace(",", "\t").encode()).problems == ()


def test_columns_in_any_order_quotes_and_blank_lines() -> None:
    header = ",".join(reversed(COLUMNS))
    row = line(name='"The ""Hill"", House"'.strip('"').replace('""', '"'))
    cells = next(csv.reader([row]))
    out = io.StringIO()
    csv.writer(out).writerow(reversed(cells))
    parsed = parse("", out.getvalue(), "  ", header=header)
    assert parsed.problems == ()
    assert parsed.rows[0].service.name == 'The "Hill", House'
    assert parsed.rows[0].line == 3


def test_names_in_their_own_scripts() -> None:
    for name in ("Амина Хасан", "أمينة حسن", "अमीना", "O\u2019Brien", "می\u200cخواهم"):
        assert parse(line(name=name)).rows[0].service.name == name


@pytest.mark.parametrize(
    ("value", "kept"), [("hospital", "hospital"), ("no", ""), ("0", ""), ("FALSE", ""), ("yes", "yes")]
)
def test_protected(value: str, kept: str) -> None:
    assert parse(line(protected=value)).rows[0].service.protected == kept


def test_billing_may_be_left_out() -> None:
    parsed = parse(line(balance="", due="", paid_at="", as_of=""))
    assert parsed.rows[0].fact is None
    assert parsed.facts == {}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (line(subscriber=""), "subscriber: expected a value, it is empty"),
        (line(login=" "), "login: expected a value, it is empty"),
        (line(service=""), "service: expected a value, it is empty"),
        (line(subscriber="C/1"), "subscriber: expected no slash, space or invisible character, got 'C/1'"),
        (line(subscriber="C\u200b1"), r"subscriber: expected no slash, space or invisible character, got 'C\u200b1'"),
        (line(login="a\u200bb"), r"login: expected no invisible character, got 'a\u200bb'"),
        (line(login="é" * 127), "login: expected at most 253 bytes, got 254"),
        (line(name="x" * 257), "name: expected at most 256 characters, got 257"),
        (line(feeds="-1"), "feeds: expected a number of subscribers that hang on it (0 to 999999), got '-1'"),
        (line(feeds="many"), "feeds: expected a number of subscribers that hang on it (0 to 999999), got 'many'"),
        (line(balance="34,00"), "balance: expected an amount such as 34.00, got '34,00'"),
        (line(balance="NaN"), "balance: expected an amount such as 34.00, got 'NaN'"),
        (line(balance="٣٤"), r"balance: expected an amount such as 34.00, got '\u0663\u0664'"),
        (line(balance=""), "balance: expected an amount such as 34.00, got ''"),
        (line(due="3.10.2026"), "due: expected YYYY-MM-DD or RFC 3339 (2026-10-15T09:04:11Z), got '3.10.2026'"),
        (
            line(paid_at="2026-02-30"),
            "paid_at: expected YYYY-MM-DD or RFC 3339 (2026-10-15T09:04:11Z), got '2026-02-30'",
        ),
        (line(as_of=""), "as_of: expected YYYY-MM-DD or RFC 3339 (2026-10-15T09:04:11Z), got ''"),
        (line(as_of="0001-01-01T00:00:00+02:00"), "as_of: expected YYYY-MM-DD or RFC 3339"),
        (GOOD + ",x", "expected 12 fields as in the header, got 13"),
        ("C-1,Amina", "expected 12 fields as in the header, got 2"),
        (GOOD.replace("Amina", '"Amina'), "expected balanced quotes"),
        (GOOD.replace("Amina", "A\x00mina"), "expected text without control characters, got U+0000"),
        (GOOD.replace("Amina", "A\x1bmina"), "expected text without control characters, got U+001B"),
        (GOOD.replace("Amina", "A\tmina"), "expected text without control characters, got U+0009"),
        (GOOD.replace("Amina", "A\u202emina"), "expected text without control characters, got U+202E"),
        (GOOD.replace("Amina", "A\rmina"), "expected text without control characters, got U+000D"),
        (line(name="x" * 200_000), "expected balanced quotes"),
    ],
)
def test_a_broken_line_is_named_and_costs_only_itself(broken: str, says: str) -> None:
    other = line(subscriber="C-2", login="b")
    parsed = parse(other, broken, line(subscriber="C-3", login="c"))
    assert [row.service.ref for row in parsed.rows] == ["C-2/home", "C-3/home"]
    (problem,) = parsed.problems
    assert str(problem).startswith(f"line 3: {says}")


def test_invalid_utf8_names_its_line() -> None:
    data = f"{HEADER}\n{GOOD}\n".encode() + GOOD.replace("C-1", "C-2").encode().replace(b"Amina", b"Am\xedna")
    parsed = parse_untrusted(data)
    assert len(parsed.rows) == 1
    assert [str(p) for p in parsed.problems] == ["line 3: expected UTF-8, got byte 0xed at position 7"]


def test_the_same_service_twice() -> None:
    parsed = parse(GOOD, line(login="other"), line(subscriber="c-1", service="HOME"), line(service="shop"))
    assert [row.service.ref for row in parsed.rows] == ["C-1/home", "C-1/shop"]
    assert [str(p) for p in parsed.problems] == [
        "line 3: expected each service once, C-1/home stands on line 2 already",
        "line 4: expected each service once, c-1/HOME stands on line 2 already",
    ]


def test_a_subscriber_has_one_account() -> None:
    parsed = parse(
        GOOD, line(service="shop", balance="0.00"), line(service="tv", balance="", due="", paid_at="", as_of="")
    )
    assert [row.service.service for row in parsed.rows] == ["home", "tv"]
    (problem,) = parsed.problems
    assert "expected one account a subscriber, C-1 reads otherwise on line 2" in str(problem)
    assert parsed.facts["C-1"].account.balance == 34


@pytest.mark.parametrize(("first", "second"), [("2026-11-02", ""), ("", "2026-11-02"), ("2026-10-30", "2026-11-02")])
def test_the_latest_promise_of_its_lines_is_a_subscribers(first: str, second: str) -> None:
    parsed = parse(f"{GOOD},{first}", f"{line(service='shop')},{second}", header=f"{HEADER},promise_until")
    assert parsed.problems == ()
    assert parsed.facts["C-1"].account.promise_until == date(2026, 11, 2)


def test_a_promise_without_a_date_keeps_its_subscriber_out() -> None:
    parsed = parse(f"{GOOD},soon", f"{line(service='shop')},2026-11-02", header=f"{HEADER},promise_until")
    account = parsed.facts["C-1"].account
    assert account.promise_until == date(2026, 11, 2)
    assert account.exempt == "promised to pay until 'soon', which is no date (YYYY-MM-DD expected)"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", f"expected a header line with {', '.join(COLUMNS)}, got an empty file"),
        (b"\xef\xbb\xbf\n \n", f"expected a header line with {', '.join(COLUMNS)}, got an empty file"),
        ("a,b\n1,2".encode("utf-16"), "expected UTF-8, got UTF-16: save it as CSV UTF-8"),
        (
            b"subscriber,login\nC-1,a",
            "line 1: header: missing name, service, method, tariff, protected, feeds, balance, ",
        ),
        (f"{HEADER},zone,zone".encode(), "line 1: header: expected each column once, 'zone' stands twice"),
        (f"\n{HEADER},login".encode(), "line 2: header: expected each column once, 'login' stands twice"),
        (b'"a,"b;"c\n', "line 1: header: expected balanced quotes and subscriber"),
        (b"\xff\n", "line 1: expected UTF-8, got byte 0xff at position 1"),
        (GOOD.encode(), "line 1: header: missing subscriber"),
    ],
)
def test_headers_that_are_none(data: bytes, says: str) -> None:
    parsed = parse_untrusted(data)
    assert parsed.rows == ()
    (problem,) = parsed.problems
    assert str(problem).startswith(says)


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribers_csv, "MAX_BYTES", 10)
    assert [str(p) for p in parse_untrusted(b"x" * 11).problems] == ["expected a file of at most 10 bytes, got 11"]


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12) | st.sampled_from(
    ["C-1", "home", "0", "12.50", "2026-01-01", "2026-01-01T00:00:00Z", '"', ";", ""]
)


@given(st.lists(st.lists(CELL, min_size=12, max_size=12), max_size=6))
def test_every_line_is_a_row_or_a_problem(rows: list[list[str]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    parsed = parse_untrusted(out.getvalue().encode())
    assert sorted([r.line for r in parsed.rows] + [p.line for p in parsed.problems]) == list(range(2, len(rows) + 2))


@given(st.binary(max_size=200), st.booleans())
def test_total(data: bytes, headed: bool) -> None:
    parsed = parse_untrusted(HEADER.encode() + b"\n" + data if headed else data)
    assert all(str(p).isprintable() for p in parsed.problems)


NOW_S = datetime(2026, 10, 15, 9, tzinfo=UTC).timestamp()


def test_export_of_future_is_broken_line_where_now_is_known() -> None:
    data = "\n".join((HEADER, line(), line(subscriber="C-2", as_of="2099-01-01T00:00:00Z"))).encode()
    parsed = parse_untrusted(data, NOW_S)
    assert [(p.line, p.subscriber) for p in parsed.problems] == [(3, "C-2")]
    assert parsed.problems[0].message.startswith("as_of lies in the future: ")
    assert set(parsed.facts) == {"C-1"}
    assert parse_untrusted(data).problems == ()


@pytest.mark.parametrize(
    ("broken", "whose"),
    [
        (line(subscriber="C-2", balance="many"), "C-2"),
        (line(subscriber="C-2", login=""), "C-2"),
        (line(service="shop", balance="1.00"), "C-1"),  # its account reads otherwise on the first line
        (line(subscriber="C-2") + ",more", ""),  # a comma too many: nobody knows which one
        ('"' + line(subscriber="C-2"), ""),
        ("C-2", ""),
    ],
)
def test_whose_line_is_broken_where_that_can_be_read(broken: str, whose: str) -> None:
    parsed = parse(GOOD, broken)
    assert [p.subscriber for p in parsed.problems] == [whose]
    assert set(parsed.facts) == {"C-1"}
