"""The evaluator's rules one by one; `test_evaluator_freeradius` holds them against FreeRADIUS itself."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.radius import attributes, evaluator
from agent.connectors.radius.evaluator import (
    SECRET,
    Accepted,
    CannotTell,
    Outcome,
    Rejected,
    Unmet,
    effective_reply,
    holds,
    may_reject,
)
from agent.connectors.radius.rowset import MalformedRowSetError
from agent.model import ABSENT, Field, SecretRef, Value
from tests.builders.expect import expect, present

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
CLEAR: Mapping[str, Field] = {"check:Cleartext-Password": SecretRef("aa" * 32)}
REQUEST = {"User-Name": "alice", "NAS-Port": "7", "NAS-Port-Type": "Ethernet", "Framed-IP-Address": "10.0.0.1"}
HOME: Mapping[str, Field] = {
    "reply:Mikrotik-Rate-Limit": (":= 20M/20M",),
    "reply:Framed-Pool": (":= pool-cgnat",),
    "reply:Acct-Interim-Interval": (":= 300",),
}
SUSPENDED = {"Mikrotik-Rate-Limit": "64k/64k", "Mikrotik-Address-List": "suspended"}
MARKER: Mapping[str, Field] = {f"reply:{name}": (f":= {value}",) for name, value in SUSPENDED.items()}
FALLS: Mapping[str, Field] = {"reply:Fall-Through": ("= Yes",)}


def ask(user: Mapping[str, Field], groups: Mapping[str, Value] | None = None, **request: str) -> Outcome:
    sent = {**REQUEST, **{name.replace("_", "-"): value for name, value in request.items()}}
    return effective_reply({**CLEAR, **user}, groups or {}, sent, now=NOW, complete=True)


def reply(user: Mapping[str, Field], groups: Mapping[str, Value] | None = None) -> tuple[tuple[str, str], ...]:
    outcome = expect(Accepted, ask(user, groups))
    return outcome.reply


# --- the marker group -----------------------------------------------------------------------------------------------


def test_marker_wins_and_hides_the_tariff() -> None:
    user: Mapping[str, Field] = {"group:home20": "1", "group:suspended": "-1"}
    outcome = expect(Accepted, ask(user, {"home20": HOME, "suspended": MARKER}))
    assert outcome.groups == ("suspended",)
    assert outcome.found_in == ("group suspended", "group suspended")
    assert holds(outcome.reply, SUSPENDED) == ()
    assert outcome.get("framed-pool") == ()


def test_marker_with_fall_through_keeps_pool_and_loses_rate() -> None:
    user: Mapping[str, Field] = {"group:suspended": "-1", "group:home20": "1"}
    outcome = expect(Accepted, ask(user, {"home20": HOME, "suspended": {**MARKER, **FALLS}}))
    assert outcome.groups == ("suspended", "home20")
    assert outcome.get("Framed-Pool") == ("pool-cgnat",)
    assert holds(outcome.reply, SUSPENDED) == (Unmet("Mikrotik-Rate-Limit", "64k/64k", ("20M/20M",)),)


def test_fall_through_no_in_radreply_hides_the_marker() -> None:
    user: Mapping[str, Field] = {"reply:Fall-Through": (":= No",), "group:suspended": "-1"}
    outcome = ask(user, {"suspended": MARKER})
    assert outcome == Accepted((), (), ())
    assert [unmet.got for unmet in holds(outcome.reply, SUSPENDED)] == [(), ()]


def test_a_reply_row_of_the_user_beside_the_marker() -> None:
    groups = {"suspended": MARKER}
    for op, got in (("=", ("64k/64k",)), (":=", ("64k/64k",)), ("+=", ("64k/64k",))):
        user: Mapping[str, Field] = {"reply:Mikrotik-Rate-Limit": (f"{op} 50M/50M",), "group:suspended": "-1"}
        outcome = expect(Accepted, ask(user, groups))
        assert outcome.get("Mikrotik-Rate-Limit") == got
    adds: Value = {"reply:Mikrotik-Rate-Limit": ("+= 64k/64k",)}
    user = {"reply:Mikrotik-Rate-Limit": (":= 50M/50M",), "group:suspended": "-1"}
    outcome = expect(Accepted, ask(user, {"suspended": adds}))
    assert holds(outcome.reply, {"Mikrotik-Rate-Limit": "64k/64k"})[0].got == ("50M/50M", "64k/64k")


def test_holds_reads_values_as_freeradius_prints_them() -> None:
    got = (("Session-Timeout", "600"), ("Service-Type", "Framed-User"), ("Cisco-AVPair", "a"))
    assert holds(got, {"session-timeout": "0600", "Service-Type": "2", "Cisco-AVPair": "a"}) == ()
    assert holds(got, {"Cisco-AVPair": "b"}) == (Unmet("Cisco-AVPair", "b", ("a",)),)


# --- radcheck -------------------------------------------------------------------------------------------------------


def test_without_check_rows_the_reply_rows_are_not_read() -> None:
    user: Value = {"reply:Framed-Pool": ("= x",), "check:Auth-Type": (":= Accept",)}
    assert effective_reply(user, {}, REQUEST, now=NOW) == Accepted((("Framed-Pool", "x"),), (), ("user",))
    only_reply: Value = {"reply:Framed-Pool": ("= x",), "group:open": "1"}
    opened: Value = {"check:Auth-Type": (":= Accept",), "reply:Class": ("= gold",)}
    outcome = effective_reply(only_reply, {"open": opened}, REQUEST, now=NOW)
    assert outcome == Accepted((("Class", "0x676f6c64"),), ("open",), ("group open",))


def test_a_failed_comparison_skips_the_password_too() -> None:
    outcome = ask({"check:NAS-Port-Type": ("== Virtual",), "reply:Framed-Pool": ("= x",)})
    assert outcome == Rejected("there is no password that PAP could be checked against")


@pytest.mark.parametrize(
    ("row", "matches"),
    [
        ("NAS-Port-Type|== Ethernet", True),
        ("NAS-Port-Type|== 15", True),
        ("NAS-Port-Type|!= Ethernet", False),
        ("NAS-Port-Type|= Virtual", False),
        ("NAS-Port-Type|:= Virtual", True),
        ("NAS-Port-Type|+= Virtual", True),
        ("NAS-Port-Type|-= Virtual", False),
        ("NAS-Port|> 6", True),
        ("NAS-Port|> 7", False),
        ("NAS-Port|>= 7", True),
        ("NAS-Port|< 7", False),
        ("NAS-Port|<= 7", True),
        # 7 - 4294967295 is 8 in 32 bits
        ("NAS-Port|> 4294967295", True),
        ("Framed-IP-Address|< 10.0.0.2", True),
        ("User-Name|== alice", True),
        ("User-Name|== Alice", False),
        ("User-Name|> al", True),
        ("Called-Station-Id|== x", False),
        ("Called-Station-Id|!= x", False),
        ("Called-Station-Id|!* x", True),
        ("Called-Station-Id|=* x", False),
        ("User-Name|=* x", True),
        ("User-Name|!* x", False),
        ("Simultaneous-Use|== 1", False),
        ("Simultaneous-Use|:= 1", True),
        ("Auth-Type|== Reject", True),
        ("NAS-Port-Type| Ethernet", True),
    ],
)
def test_comparisons(row: str, matches: bool) -> None:
    name, text = row.split("|")
    outcome = ask({f"check:{name}": (text,)})
    assert isinstance(outcome, Accepted if matches else Rejected), outcome


def test_a_group_that_does_not_match_is_skipped() -> None:
    night: Value = {"check:NAS-Port-Type": ("== Virtual",), "reply:Framed-Pool": (":= night",)}
    user: Mapping[str, Field] = {"group:night": "1", "group:home20": "2"}
    outcome = expect(Accepted, ask(user, {"night": night, "home20": HOME}))
    assert outcome.groups == ("home20",)


def test_a_sure_mismatch_decides_beside_an_open_one() -> None:
    checks: Mapping[str, Field] = {"check:Huntgroup-Name": ("== pop1",), "check:NAS-Port": ("== 8",)}
    assert isinstance(ask(checks), Rejected)
    assert isinstance(ask({"check:Huntgroup-Name": ("== pop1",)}), CannotTell)


def test_what_the_router_sends_may_be_unknown() -> None:
    user: Value = {**CLEAR, "check:NAS-Port-Type": ("== Ethernet",)}
    assert isinstance(effective_reply(user, {}, {"User-Name": "alice"}, now=NOW), CannotTell)
    assert isinstance(effective_reply(user, {}, {"User-Name": "alice"}, now=NOW, complete=True), Rejected)
    assert isinstance(effective_reply(user, {}, REQUEST, now=NOW), Accepted)
    by_nas: Value = {**CLEAR, "check:NAS-IP-Address": ("== 10.0.0.1",)}
    outcome = effective_reply(by_nas, {}, {"User-Name": "alice"}, now=NOW, complete=True)
    assert isinstance(outcome, CannotTell), "FreeRADIUS adds its own NAS-IP-Address"


# --- merging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "group_rows", "expected"),
    [
        (("= a",), ("= b",), "a"),
        (("= a",), (":= b",), "b"),
        (("= a",), ("+= b",), "a b"),
        (("= a",), ("^= b", "^= c"), "c b a"),
        (("= a",), ("-= a",), ""),
        (("= a", "= b"), ("-= b",), "a"),
        (("= a", "= b"), ("== b",), "b"),
        (("= a",), ("!* x",), ""),
        (("= b",), ("<= a",), "a"),
        (("= a",), ("<= b",), "a b"),
        (("= a",), (">= b",), "b"),
        (("= b",), (">= a",), "b a"),
        # A batch does not see itself.
        ((":= a", ":= b"), (), "a b"),
        (("= a", "= b"), (), "a b"),
        (("= a",), (":= b", ":= c"), "b c"),
        (("= a",), (":= b", "= c"), "b c"),
        ((), ("== a", "-= a", "!= a", "< a", "!* a", "=* a"), ""),
    ],
)
def test_reply_operators(rows: tuple[str, ...], group_rows: tuple[str, ...], expected: str) -> None:
    user: Mapping[str, Field] = {"reply:Filter-Id": rows, "group:g": "1"}
    got = reply(user if rows else {"group:g": "1"}, {"g": {"reply:Filter-Id": group_rows}})
    assert [value for _, value in got] == expected.split()


def test_names_in_any_case_are_one_attribute() -> None:
    got = reply({"reply:framed-POOL": ("= a",), "group:g": "1"}, {"g": {"reply:Framed-Pool": (":= b",)}})
    assert got == (("Framed-Pool", "b"),)


def test_tags_do_not_make_another_attribute() -> None:
    group: Value = {"reply:Tunnel-Private-Group-Id:2": (":= 200",)}
    got = reply({"reply:Tunnel-Private-Group-Id:1": ("= 100",), "group:g": "1"}, {"g": group})
    assert got == (("Tunnel-Private-Group-Id:2", "200"),)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("Framed-Pool|= 'a b'", "a b"),
        ('Framed-Pool|= "a"', "a"),
        ("Framed-Pool|= 'a", "'a"),
        ("Session-Timeout|= 0060", "60"),
        ("Service-Type|= framed-user", "Framed-User"),
        ("Framed-IP-Address|= 10.0.0.1/32", "10.0.0.1"),
        ("Framed-IPv6-Prefix|= 2001:DB8::1/56", "2001:db8::/56"),
        ("Framed-IPv6-Address|= 2001:DB8:0::1", "2001:db8::1"),
        ("Class|= a", "0x61"),
        ("Class|= 0xAB", "0xab"),
        ("Cisco-AVPair|= a=b", "a=b"),
    ],
)
def test_values(row: str, expected: str) -> None:
    name, text = row.split("|")
    assert reply({f"reply:{name}": (text,)}) == ((name, expected),)


@pytest.mark.parametrize("name", ["Fall-Through", "Simultaneous-Use", "Login-Time", "Framed-Pool", "Class"])
def test_what_is_never_sent(name: str) -> None:
    text = {"Fall-Through": "Yes", "Simultaneous-Use": "1", "Login-Time": "Al"}.get(name, "")
    assert reply({f"reply:{name}": (f"= {text}",)}) == ()


def test_a_secret_in_a_reply_is_named_only() -> None:
    user: Mapping[str, Field] = {"reply:Mikrotik-Wireless-PSK": SecretRef("bb" * 32)}
    assert reply(user) == (("Mikrotik-Wireless-PSK", SECRET),)
    expect(CannotTell, ask({**user, "group:g": "1"}, {"g": user}))


def test_a_secret_inside_of_a_value_is_named_only() -> None:
    pairs: Mapping[str, Field] = {"reply:Cisco-AVPair": ("+= ip:addr-pool=a", "+= psk=hunter2")}
    assert reply(pairs) == (("Cisco-AVPair", SECRET),)


@pytest.mark.parametrize("where", ["user", "group"])
def test_a_compared_secret_but_a_password_is_undecided(where: str) -> None:
    rows: Mapping[str, Field] = {"check:Cisco-AVPair": SecretRef("bb" * 32)}
    outcome = expect(CannotTell, ask(rows) if where == "user" else ask({"group:g": "1"}, {"g": rows}))
    assert "Cisco-AVPair has a secret" in outcome.reason


# --- groups ---------------------------------------------------------------------------------------------------------


def test_priorities_are_numbers() -> None:
    user: Mapping[str, Field] = {"group:ten": "10", "group:nine": "9", "group:minus": ("-2", "3")}
    named: dict[str, Value] = {name: {"reply:Class": (f"+= {name}",), **FALLS} for name in ("ten", "nine", "minus")}
    outcome = expect(Accepted, ask(user, named))
    assert outcome.groups == ("minus", "minus", "nine", "ten")


def test_a_group_without_rows_ends_the_walk() -> None:
    outcome = ask({"group:empty": "0", "group:home20": "1"}, {"empty": ABSENT, "home20": HOME})
    assert outcome == Accepted((), ("empty",), ())


def test_equal_priorities_matter_only_where_they_matter() -> None:
    user: Mapping[str, Field] = {"group:a": "1", "group:b": "1"}
    one: Mapping[str, Field] = {"reply:Framed-Pool": (":= x",)}
    assert isinstance(ask(user, {"a": one, "b": {"reply:Framed-Pool": (":= y",)}}), CannotTell)
    outcome = expect(Accepted, ask(user, {"a": {**one, **FALLS}, "b": {"reply:Class": ("= c",), **FALLS}}))
    assert sorted(outcome.reply) == [("Class", "0x63"), ("Framed-Pool", "x")]
    many: Mapping[str, Field] = {f"group:g{n}": "1" for n in range(5)}
    assert isinstance(ask(many, {f"g{n}": one for n in range(5)}), CannotTell)


# --- expiry and passwords -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [":=", "+=", "=", "=="])
@pytest.mark.parametrize("text", ["24 Nov 2026", "Nov 25 2026 11:59", "25 November 2026 12:00:00", "1700000000"])
def test_expired(op: str, text: str) -> None:
    outcome = ask({"check:Expiration": (f"{op} {text}",)})
    # A comparison with a moment that is now holds for this one second.
    if op == "==" and text.endswith("12:00:00"):
        assert isinstance(outcome, Accepted)
    else:
        assert isinstance(outcome, Rejected)


def test_expiry_bounds_the_session() -> None:
    expires: Mapping[str, Field] = {"check:Expiration": (":= 25 Nov 2026 13:00:00",)}
    outcome = ask(expires)
    assert outcome == Accepted((("Session-Timeout", "3600"),), (), ("Expiration",))
    assert reply({**expires, "reply:Session-Timeout": ("= 60",)}) == (("Session-Timeout", "60"),)
    assert reply({**expires, "reply:Session-Timeout": ("= 7200",)}) == (("Session-Timeout", "3600"),)
    assert reply({"check:Expiration": ("== 25 Nov 2026 13:00:00",)}) == (), "a comparison assigns nothing"


def test_dates_are_in_the_servers_zone() -> None:
    user: Value = {**CLEAR, "check:Expiration": (":= 25 Nov 2026 16:00:00",)}
    nairobi = NOW.astimezone(timezone(timedelta(hours=3)))
    outcome = expect(Accepted, effective_reply(user, {}, REQUEST, now=nairobi))
    assert outcome.get("Session-Timeout") == ("3600",)


@pytest.mark.parametrize(
    ("user", "method", "accepted"),
    [
        (CLEAR, "PAP", True),
        ({"check:cleartext-password": SecretRef("")}, "CHAP-Password", True),
        ({"check:Cleartext-Password": SecretRef("")}, "MS-CHAP2-Response", True),
        ({"check:NT-Password": SecretRef("")}, "MS-CHAP2-Response", True),
        ({"check:SSHA2-512-Password": SecretRef("")}, "PAP", True),
        ({"check:MD5-Password": SecretRef("")}, "CHAP-Password", False),
        ({"check:NT-Password": SecretRef("")}, "CHAP-Password", False),
        ({"check:User-Password": SecretRef("")}, "PAP", False),
        ({}, "PAP", False),
        ({"check:Auth-Type": (":= Accept",)}, "CHAP-Password", True),
        ({**CLEAR, "check:Auth-Type": (":= Reject",)}, "PAP", False),
        ({**CLEAR, "check:Auth-Type": ("= Reject",)}, "PAP", False),
        # The chap module has set it already.
        ({**CLEAR, "check:Auth-Type": ("= Reject",)}, "CHAP-Password", True),
        ({**CLEAR, "check:Auth-Type": ("+= Reject",)}, "CHAP-Password", False),
        ({**CLEAR, "check:Auth-Type": ("== Reject",)}, "CHAP-Password", False),
        ({**CLEAR, "check:Auth-Type": ("== Reject",)}, "PAP", True),
        ({**CLEAR, "check:Auth-Type": (":= PAP",)}, "PAP", True),
        ({**CLEAR, "check:Auth-Type": (":= PAP",)}, "CHAP-Password", False),
        ({**CLEAR, "check:Auth-Type": (":= CHAP",)}, "PAP", False),
    ],
)
def test_passwords(user: Value, method: str, accepted: bool) -> None:
    outcome = effective_reply(user, {}, {"User-Name": "alice", method: ""}, now=NOW)
    assert isinstance(outcome, Accepted if accepted else Rejected), outcome


def test_a_login_that_is_not_there_is_rejected() -> None:
    assert isinstance(effective_reply(ABSENT, {}, REQUEST, now=NOW), Rejected)


# --- what cannot be told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user",
    [
        {"check:User-Name": ("=~ ^a",)},
        {"check:User-Name": ("?? a",)},
        {"reply:Framed-Pool": ("++ a",)},
        {"reply:Framed-Pool": ("= `date`",)},
        {"reply:Framed-Pool": ("= 'a'b'",)},
        {"reply:Framed-Pool": ("= '",)},
        {"reply:Framed-Pool": ("= a\\tb",)},
        {"reply:Framed-Pool": (f"= {'x' * 248}",)},
        {"reply:Attr-26.14988.8": ("= a",)},
        {"reply:Mikrotik-Adress-List": ("= suspended",)},
        {"check:Simultaneus-Use": (":= 1",)},
        {"reply:Session-Timeout": ("= one hour",)},
        {"reply:Session-Timeout": ("= 4294967296",)},
        {"reply:Framed-IP-Address": ("= 10.1",)},
        {"reply:Framed-IPv6-Address": ("= fe80::1%1",)},
        {"reply:Framed-IPv6-Prefix": ("= fe80::1%1/64",)},
        {"reply:Class": ("= 0xABC",)},
        {"reply:Class": ("= 0xAB CD",)},
        {"reply:Fall-Through": ("= 2",)},
        {"reply:Framed-Pool": (":= a",), "reply:framed-pool": ("= b",)},
        {"check:Prefix": ("== a",)},
        {"check:SQL-Group": ("== a",)},
        {"check:Realm": ("== a",)},
        {"check:Max-All-Session": (":= 3600",)},
        {"check:Login-Time": (":= Al",)},
        {"check:Proxy-To-Realm": (":= isp",)},
        {"check:Framed-IPv6-Prefix": ("== 2001:db8::/64",)},
        {"check:Expiration": (":= 2026-01-01",)},
        {"check:Expiration": (":= 31 Feb 2026",)},
        {"check:Expiration": (":= 01 Foo 2026",)},
        {"check:Expiration": (":= 01 Jan 2200",)},
        {"check:Expiration": ("< 01 Jan 2026",)},
        {"check:Auth-Type": (":= Local",)},
        {"check:User-Profile": (":= gold",)},
        {"check:PBKDF2-Password": SecretRef(""), "check:Cleartext-Password": ()},
        {"group:unread": "1"},
        {"group:password": "1"},
        {"reply:Filter-Id": ("= a",), "group:notequal": "1"},
        {"reply:Cisco-AVPair": ("= a",), "group:subtract": "1"},
    ],
    ids=str,
)
def test_cannot_tell(user: Mapping[str, Field]) -> None:
    groups: dict[str, Value] = {
        "password": CLEAR,
        "notequal": {"reply:Filter-Id": ("!= b",)},
        "subtract": {"reply:Cisco-AVPair": ("-= a",)},
    }
    outcome = expect(CannotTell, ask(user, groups, **{"Framed-IPv6-Prefix": "2001:db8::/64"}))
    assert outcome.reason


def test_a_misspelled_attribute_is_named_with_the_nearest() -> None:
    outcome = expect(CannotTell, ask({"group:g": "1"}, {"g": {"reply:mikrotik-adress-list": (":= suspended",)}}))
    assert outcome.reason == (
        "group g: FreeRADIUS rejects a login with an attribute that its dictionary lacks, and mikrotik-adress-list "
        "looks like Mikrotik-Address-List misspelled"
    )


def test_a_value_that_is_no_row_set() -> None:
    with pytest.raises(MalformedRowSetError):
        ask({"group:home20": "high"})


def test_user_profile_is_not_reached_after_fall_through_no() -> None:
    user: Mapping[str, Field] = {"check:User-Profile": (":= gold",), "reply:Fall-Through": ("= No",)}
    assert isinstance(ask(user), Accepted)


# --- any rows -------------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["Framed-Pool", "Session-Timeout", "Class", "Auth-Type", "Expiration", "Framed-IP-Address"])
_OPS = st.sampled_from(["=", ":=", "+=", "-=", "^=", "==", "!=", "<", "<=", ">", ">=", "=*", "!*", "", "=~", "x"])
_TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(["7", "10.0.0.1", "01 Jan 2030", "Reject", "0xAB", "Yes"]))
_ROWS = st.lists(st.builds("{} {}".format, _OPS, _TEXTS), min_size=1, max_size=3).map(tuple)
_FIELDS = st.dictionaries(st.builds("{}:{}".format, st.sampled_from(["check", "reply"]), _NAMES), _ROWS, max_size=4)


@given(_FIELDS, _FIELDS, st.integers(-3, 3))
def test_total_on_any_rows(user: dict[str, Field], group: dict[str, Field], priority: int) -> None:
    outcome = ask({**user, "group:g": str(priority)}, {"g": group})
    assert isinstance(outcome, Accepted | Rejected | CannotTell)
    if isinstance(outcome, Accepted):
        assert len(outcome.reply) == len(outcome.found_in)
        assert holds(outcome.reply, {name: value for name, value in outcome.reply if len(outcome.get(name)) == 1}) == ()


@given(st.sampled_from(["Session-Timeout", "Service-Type", "Class", "Framed-IPv6-Prefix", "Framed-Pool"]), _TEXTS)
def test_canonical_is_idempotent(name: str, text: str) -> None:
    attribute = present(attributes.find(name))
    read = attributes.canonical(attribute, text)
    assert read is None or attributes.canonical(attribute, read) == read


def test_the_evaluator_does_no_io() -> None:
    for module in (evaluator, attributes):
        nodes = ast.walk(ast.parse(inspect.getsource(module)))
        imported = {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
        assert not imported & {"os", "socket", "trio", "pathlib"}


@pytest.mark.parametrize(
    ("key", "row", "could"),
    [
        ("check:Auth-Type", ":= Reject", True),
        ("check:Auth-Type", ":= LDAP", True),
        ("check:Auth-Type", ":= Accept", False),
        ("check:Expiration", ":= 01 Jan 2020", True),
        ("check:Expiration", ":= 01 Jan 2099", False),
        ("check:Expiration", ":= whenever", True),
        ("check:Login-Time", ":= Never", True),
        ("check:Max-Daily-Session", ":= 3600", True),
        ("check:NAS-Port-Type", "== Virtual", False),
        ("check:NAS-Identifier", "=~ bng.*", False),
        ("check:Simultaneous-Use", ":= 1", False),
        ("check:Cleartext-Password", ":= x", False),
        ("reply:Framed-Pool", ":= x", False),
        ("check:Framed-Pool", ":= x", False),
    ],
)
def test_which_rows_could_reject_a_login(key: str, row: str, could: bool) -> None:
    """Asked where the reply cannot be told; a comparison rejects nobody, since it leaves a group out at most."""
    found = may_reject({"check:Cleartext-Password": SecretRef("ab" * 32)}, {"staff": {key: (row,)}}, now=NOW)
    assert bool(found) is could
    assert not found or found == f"group staff: {key.partition(':')[2]} {row}"
    assert may_reject(ABSENT, {"staff": ABSENT}, now=NOW) == ""
