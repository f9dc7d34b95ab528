"""Lines and outages as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.cli.lines import SILENT, cause_text, device_rows, line_rows, outage_lines, part_text
from trust.moments import rfc3339

NOW = datetime(2027, 1, 15, 20, 20, tzinfo=UTC).astimezone()
NOW_S = int(NOW.timestamp())
MINUTE_AGO = rfc3339(NOW_S - 60)
UNPROVEN = "a notification that proves nothing tells up: told, not read"
BEHIND = "behind core 1 · 61 subscribers"


def at(seconds_ago: int) -> str:
    return datetime.fromtimestamp(NOW_S - seconds_ago).astimezone().strftime("%H:%M %Z")


def device(**fields: Any) -> dict[str, Any]:
    return {
        "name": "olt-1", "unread_since": None, "answers": True, "why": "", "source": "", "hidden_by": "", "same": [],
        "old": False, "replaced_at": None, "replaced": "", "not_read": [],
        **fields,
    }  # fmt: skip


def part(**fields: Any) -> dict[str, Any]:
    return {
        "key": "onu/HWTC1A2B3C4D", "kind": "onu", "name": "gpon 0/1/3", "alias": "", "serial": "HWTC1A2B3C4D",
        "state": "up", "told": "", "since": rfc3339(NOW_S - 360), "since_how": "seen", "state_by": "read",
        "gone": False, "age_s": 40, "measures": {}, "usual": {}, "fading": "", "lost": "", "before_at": None,
        "errors": {}, "changes": 0, "parent": "", "facts": {}, "device": device(),
        "how": ["serial number"], "cause": None,
        **fields,
    }  # fmt: skip


def cause(**fields: Any) -> dict[str, Any]:
    return {
        "kind": "down", "device": "olt-1", "part": "onu/A", "part_kind": "onu", "name": "A", "alias": "",
        "since": rfc3339(NOW_S - 360),
        "detail": "", "upstream": "", "upstream_port": "", "claims": [], "source": "",
        "age_s": 40, "behind": [], "parts": 0, "of": 0, "subscribers": 1,
        **fields,
    }  # fmt: skip


def test_a_line_that_lost_its_light() -> None:
    dark = part(state="down", lost="losing light: -31.2 dBm", before_at=rfc3339(NOW_S - 660), told="los")
    assert part_text(dark, NOW) == (
        f"onu HWTC1A2B3C4D on olt-1 gpon 0/1/3: DOWN since {at(360)} (losing light: -31.2 dBm at {at(660)}; los),"
        " read 40s ago"
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"since_how": "first"}, f"up at least since {at(360)}, read 40s ago"),
        (
            {"measures": {"signal_dbm": -81.04, "tx_rate_bps": 86_700_000.0}, "usual": {"signal_dbm": -62.0},
             "fading": "signal_dbm"},
            f"up since {at(360)} · signal -81.0 dBm · tx rate 86.7 Mbit/s · FADING: usually -62.0 dBm, read 40s ago",
        ),
        (
            {"errors": {"in_errors": {"total": 9, "grew": 4, "at": MINUTE_AGO, "within_s": 300}}},
            f"up since {at(360)} · 4 in errors in 5m at {at(60)}, read 40s ago",
        ),
        ({"state": "down", "told": "down(2)"}, f"DOWN since {at(360)}, read 40s ago"),
        ({"state": "down", "told": "notPresent(6)"}, f"DOWN since {at(360)} (notPresent), read 40s ago"),
        ({"changes": 7}, f"up since {at(360)} · FLAPPING: 7 changes in 30 min, read 40s ago"),
        (
            {"state": "down", "state_by": "unproven", "told": "linkDown"},
            f"DOWN since {at(360)} (linkDown; {UNPROVEN}), read 40s ago",
        ),
        (
            {"device": device(unread_since=rfc3339(NOW_S - 420), answers=False), "age_s": 720},
            f"unreachable, or wrong secret since {at(420)}; last known: up since {at(360)}, read 12m ago",
        ),
        (
            {"device": device(old=True), "age_s": 7200},
            f"up since {at(360)}, read 2h ago · OLD: not read for longer than twice its time",
        ),
        ({"device": device(source="NMS main")}, f"up since {at(360)}, NMS main polled it 40s ago"),
        (
            {"device": device(source="NMS main", unread_since=MINUTE_AGO, answers=False, why="no answer to ping")},
            (f"DOWN according to NMS main (no answer to ping) since {at(60)}; last known: up since {at(360)}, "
            "NMS main polled it 40s ago"),
        ),
        (
            {"device": device(source="NMS main", unread_since=MINUTE_AGO, why="NMS main: it answers ping, not SNMP")},
            (f"NOT READ (NMS main: it answers ping, not SNMP) since {at(60)}; last known: up since {at(360)}, "
            "NMS main polled it 40s ago"),
        ),
    ],
)  # fmt: skip
def test_a_state_says_since_when_and_how_old_it_is(fields: dict[str, Any], told: str) -> None:
    assert part_text(part(**fields), NOW).partition(": ")[2] == told


def test_candidates_are_shown_and_none_is_chosen() -> None:
    found = {"line": None, "candidates": [part(), part(serial="")], "behind": [], "notes": ["no device called x"]}
    rows = list(line_rows(found, NOW))
    assert rows[0] == ("line", "NOT CERTAIN: 2 candidates, none is chosen")
    assert [label for label, _ in rows[1:]] == ["candidate", "candidate", "not found"]
    nothing = list(line_rows({"line": None, "candidates": [], "behind": [], "notes": []}, NOW))
    assert nothing[0][1].startswith("no port, radio or ONU is known")
    shared = {"line": None, "candidates": [], "behind": [part(cause=cause())], "notes": []}
    assert [label for label, _ in line_rows(shared, NOW)] == ["line", "behind", "cause"]
    assert next(line_rows(shared, NOW))[1].startswith("not known, only what it shares")
    certain = {"line": part(cause=cause()), "candidates": [], "behind": [], "notes": []}
    assert [label for label, _ in line_rows(certain, NOW)] == ["line", "", "cause"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, f"olt-1 onu A: DOWN since {at(360)} · 1 subscriber"),
        (
            {"kind": "silent", "part": None, "name": "", "detail": "no answer; core 1 towards it is down",
             "behind": ["a", "b"], "upstream": "core", "upstream_port": "1", "subscribers": 61},
            f"olt-1: {SILENT} since {at(360)} (core 1 towards it is down) · 2 devices behind it · {BEHIND}",
        ),
        (
            {"kind": "together", "part_kind": "pon", "name": "0/2", "parts": 14, "of": 15, "detail": "los"},
            f"olt-1 pon 0/2: 14 of 15 went down together at {at(360)} (los) · 1 subscriber",
        ),
        (
            {"kind": "restarted", "part": None, "detail": "it answers again"},
            f"olt-1: restarted at {at(360)} (it answers again) · 1 subscriber",
        ),
        (
            {"part_kind": "port", "name": "0/5", "alias": "olena", "detail": "down(2)"},
            f"olt-1 port 0/5 [olena]: DOWN since {at(360)} · 1 subscriber",
        ),
        ({"detail": "down(2), loss of signal"}, f"olt-1 onu A: DOWN since {at(360)} (loss of signal) · 1 subscriber"),
        (
            {"claims": [{"device": "sw-1", "port": "7"}]},
            f"olt-1 onu A: DOWN since {at(360)} · perhaps behind sw-1 7, not confirmed by both ends · 1 subscriber",
        ),
        (
            {"kind": "silent", "part": None, "source": "NMS main", "detail": "no answer to ping", "age_s": 360},
            (f"olt-1: DOWN according to NMS main since {at(360)} (no answer to ping; it polled it last 6m ago) · "
            "1 subscriber"),
        ),
        ({"kind": "flapping", "detail": "x"}, f"olt-1 onu A: FLAPPING since {at(360)} (x) · 1 subscriber"),
        ({"kind": "fading", "detail": "x"}, f"olt-1 onu A: fading since {at(360)} (x), read 40s ago · 1 subscriber"),
        (
            {"kind": "errors", "detail": "x", "age_s": None},
            f"olt-1 onu A: errors since {at(360)} (x) · 1 subscriber",
        ),
    ],
)  # fmt: skip
def test_a_cause_is_one_line(fields: dict[str, Any], told: str) -> None:
    assert cause_text(cause(**fields), NOW) == told


CLAIMS = (
    "2 links between devices are told by one end only and count for nothing: ispagent device show lists them, "
    "[lines] upstreams makes them count"
)


def test_an_outage_says_what_it_does_not_know() -> None:
    found = {
        "causes": [cause()], "services": 9, "found": 7, "behind": 1, "devices": 3, "silent": 1,
        "old": [f"sw-{n}" for n in range(10)], "rooted": False, "claims": 2,
        "silent_credentials": [], "problems": ["lines.csv: line 3: x"],
    }  # fmt: skip
    assert outage_lines(found, NOW)[1:] == [
        "1 cause · 3 devices, 1 silent · of 9 services 7 have a known line, of 1 more only a shared part is known",
        "not read for longer than twice their time: sw-0, sw-1, sw-2, sw-3, sw-4, sw-5, sw-6, sw-7 and 2 more",
        "no root is configured ([lines] roots), so which way is up is guessed from the neighbors",
        CLAIMS,
        "lines.csv: line 3: x",
    ]
    quiet = {**found, "claims": 0, "causes": [], "behind": 0, "silent": 0, "old": [], "rooted": True, "problems": []}
    assert outage_lines(quiet, NOW) == ["nothing is down or bad · 3 devices · of 9 services 7 have a known line"]


def test_a_devices_parts_begin_with_what_is_wrong() -> None:
    parts = [part(), part(state="down", alias="C-1"), part(changes=6), part(state="disabled", gone=True)]
    heard = [
        {"heard_at": MINUTE_AGO, "told": "linkDown", "kind": "part-down", "authenticated": False},
        {"heard_at": rfc3339(NOW_S - 70), "told": "", "kind": "restarted", "authenticated": True},
    ]
    links = [
        {"port": "24", "device": "core", "other_port": "0/1", "told": "both ends"},
        {"port": "7", "device": "core", "other_port": "", "told": "one end"},
    ]
    whole = device(
        unread_since=MINUTE_AGO, answers=False, replaced_at=rfc3339(NOW_S - 90),
        replaced="serial number was A, is B", not_read=["ONU table"],
        parts=parts * 16, events=heard, links=links,
    )  # fmt: skip
    rows = list(device_rows(whole, NOW))
    assert rows[0].startswith("unreachable, or wrong secret since")
    assert rows[1].endswith("serial number was A, is B")
    assert "FLAPPING" in rows[2]
    assert "[C-1]" in rows[18]
    assert rows[62] == "… and 4 more parts: --json has all"
    assert rows[63] == "link 24 to core 0/1 (known by both ends)"
    assert rows[64] == "link 7 to core (not confirmed, told by one end only)"
    assert rows[65].endswith("heard linkDown (anybody could have sent it)")
    assert rows[66].endswith("heard restarted")
    assert rows[67] == "not read: ONU table"
    assert next(device_rows(device(old=True, parts=[], events=[], links=[]), NOW)).startswith("OLD")


def test_a_device_says_who_read_it_and_which_other_target_it_is() -> None:
    empty = {"parts": [], "events": [], "links": []}
    own = device(name="sw-3", age_s=700, unread_since=MINUTE_AGO, answers=False)
    told = device(source="NMS main", age_s=120, same=[own], **empty)
    assert list(device_rows(told, NOW)) == [
        "what follows is what NMS main tells: NMS main polled it 2m ago",
        f"the same device is sw-3: unreachable, or wrong secret since {at(60)}",
    ]
    other = device(name="main/sw-3", source="NMS main", age_s=120)
    hidden = device(name="sw-3", age_s=700, hidden_by="main/sw-3", same=[other, device(name="x", age_s=None)], **empty)
    assert list(device_rows(hidden, NOW)) == [
        (
            "the same device is main/sw-3: NMS main polled it 2m ago; it counts in outages and for lines, what follows "
            "does not"
        ),
        "the same device is x: never read",
    ]


def test_unused_ports_are_one_line_and_names_sort_naturally() -> None:
    idle = [
        part(kind="port", serial="", name=f"0/{n}", alias="", state="down", since=rfc3339(NOW_S - 90_000))
        for n in (10, 9, 2, 11)
    ]
    used = [part(kind="port", serial="", name=f"0/{n}", alias="x") for n in (12, 3, 1)]
    fresh = [part(kind="port", serial="", name="0/7", alias="", state="down"), {**idle[0], "name": "0/8", "alias": "y"}]
    rows = list(device_rows(device(parts=[*idle, *used, *fresh], events=[], links=[]), NOW))
    assert [row.partition(":")[0] for row in rows] == [
        "port 0/7", "port 0/8 [y]", "port 0/1 [x]", "port 0/3 [x]", "port 0/12 [x]",
        "4 ports without a description, down for 12 hours and more",
    ]  # fmt: skip
    assert rows[-1].endswith(": 0/2, 0/9, 0/10, 0/11")
