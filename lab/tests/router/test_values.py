"""Values: what RouterOS shows for what was sent, and that reading what is shown changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.router import values as v
from lab.router.assumed_facts import make_model
from lab.router.facts import facts_of

FORMS = [
    (v.flag, "yes", "true"),
    (v.flag, "false", "false"),
    (v.choice("yes", "no", "default"), "true", "yes"),
    (v.choices("established", "related", "new"), "new,established", "established,new"),
    (v.choices("established", "related", "new"), "!new", "!new"),
    (v.integer(0, 100), "0x10", "16"),
    (v.duration(), "1d 02:03:04", "1d2h3m4s"),
    (v.duration(), "00:10:00", "10m"),
    (v.duration(), "90", "1m30s"),
    (v.duration(), "14d", "2w"),
    (v.duration(), "300ms", "300ms"),
    (v.duration(), "0", "0s"),
    (v.pair(v.rate), "10M/512k", "10000000/512000"),
    (v.pair(v.rate), "1G", "1000000000/1000000000"),
    (v.pair(v.integer(1, 8)), "8", "8/8"),
    (v.prefix4, "10.0.0.5", "10.0.0.5/32"),
    (v.prefix4, "10.0.0.5/24", "10.0.0.0/24"),
    (v.range4, "10.0.0.5/32", "10.0.0.5"),
    (v.range4, "10.0.0.5-10.0.0.9", "10.0.0.5-10.0.0.9"),
    (v.prefix6, "2001:DB8::1", "2001:db8::1/128"),
    (v.interface_address4, "10.0.0.1/24", "10.0.0.1/24"),
    (v.mac, "aa-bb-cc-dd-ee-0f", "AA:BB:CC:DD:EE:0F"),
    (v.negated(v.range4), "!10.0.0.0/8", "!10.0.0.0/8"),
    (v.listed(v.ip4), "1.1.1.1,8.8.8.8", "1.1.1.1,8.8.8.8"),
    (v.policies("read", "write", "api"), "api,read", "read,api,!write"),
    (v.policies("read", "write", "api"), "read,!read", "!read,!write,!api"),
    (v.host, "pay.example.com", "pay.example.com"),
]


@pytest.mark.parametrize(("kind", "sent", "shown"), FORMS)
def test_forms(kind, sent, shown):
    assert kind(sent) == shown
    assert kind(shown) == shown


@pytest.mark.parametrize(
    ("kind", "sent", "message"),
    [
        (v.flag, "maybe", "input does not match any value of x"),
        (v.choice("a", "b"), "c", "input does not match any value of x"),
        (v.integer(1, 8), "9", "value of x out of range (1..8)"),
        (v.integer(1, 8), "many", "invalid value for argument x"),
        (v.duration(0, 60_000), "2m", "value of x out of range (0s..1m)"),
        (v.duration(), "soon", "invalid value for argument x"),
        (v.duration(), "00:99:00", "invalid value for argument x"),
        (v.rate, "fast", "invalid value for argument x"),
        (v.ip4, "10.0.0.256", "invalid value for argument x"),
        (v.range4, "10.0.0.9-10.0.0.5", "invalid value for argument x"),
        (v.host, "10.0.0.256", "invalid value for argument x"),
        (v.mac, "aa:bb", "invalid value for argument x"),
        (v.nonempty, "", "invalid value for argument x"),
    ],
)
def test_refusals(kind, sent, message):
    with pytest.raises(v.BadValueError) as refused:
        kind(sent)
    assert refused.value.message("x") == message


def _kinds():
    for version in ("6.49.18", "7.15.3", "7.20.8", "7.24"):
        facts = facts_of(version)
        for path in facts.paths():
            model = make_model(facts, path)
            yield from ((f"{version} {path} {arg}", kind, model.shown.get(arg)) for arg, kind in model.kinds.items())


def test_every_default_is_shown_as_router_would_write_it_back():
    checked = 0
    for label, kind, default in _kinds():
        if default:
            try:
                again = kind(default)
            except v.BadValueError:
                pytest.fail(f"{label}: the default {default!r} is refused")
            assert again == default, label
            checked += 1
    assert checked > 3000


@given(
    st.sampled_from([kind for kind, _, _ in FORMS]),
    st.text(max_size=30) | st.from_regex(r"[0-9a-fkM/:.,!-]{0,20}", fullmatch=True),
)
def test_kinds_are_total_and_idempotent(kind, value):
    try:
        shown = kind(value)
    except v.BadValueError:
        return
    assert kind(shown) == shown


@given(st.integers(0, 10**13))
def test_durations_round_trip(ms):
    assert v.milliseconds(v.format_duration(ms)) == ms


@given(st.integers(0, 10**12))
def test_short_rates_mean_the_same(bits):
    assert v.rate(v.short_rate(str(bits))) == str(bits)
