"""How states follow from readings: since when, reboots, notifications, and what is usual."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.line_model.reading import DeviceReading, EventKind, LinkState, Part
from agent.lines.following import Moment, device_after, part_after, part_missing, part_notified
from agent.lines.known import KnownDevice, KnownPart, SinceHow, StateHow, flaps
from agent.lines.limits import CHANGES_KEPT, EVENT_HOLDS_S, FLAP_WINDOW_S
from tests.builders.readings import AT, DISABLED, DOWN, UNKNOWN, UP, event, onu, port, reading


def follow(*readings: DeviceReading) -> tuple[KnownDevice, KnownPart]:
    """Return the device and its one part after readings."""
    device: KnownDevice | None = None
    known: KnownPart | None = None
    for one in readings:
        device, moment = device_after(device, one)
        known = part_after(known, one.parts[0], one.target, moment)
    assert device is not None
    assert known is not None
    return device, known


def since(known: KnownPart) -> tuple[LinkState, int, SinceHow]:
    return known.state, known.since_s - AT, known.since_how


def test_a_state_is_at_least_as_old_as_its_first_reading() -> None:
    _, known = follow(reading(0, port("1")), reading(300, port("1")))
    assert since(known) == (UP, 0, SinceHow.FIRST)


def test_a_change_is_since_the_reading_that_shows_it() -> None:
    _, known = follow(reading(0, port("1")), reading(300, port("1", DOWN)), reading(600, port("1", DOWN)))
    assert since(known) == (DOWN, 300, SinceHow.SEEN)
    assert known.changes == (AT + 300,)


def test_the_devices_own_since_counts_and_does_not_wobble() -> None:
    _, known = follow(
        reading(0, port("1", since_s=AT - 500)), reading(300, port("1", since_s=AT - 497)),
        reading(600, port("1", since_s=AT - 503)),
    )  # fmt: skip
    assert since(known) == (UP, -500, SinceHow.TOLD)
    assert known.changes == ()


@pytest.mark.parametrize("own_s", [0, -5, AT + 90_000])
def test_a_since_that_cannot_be_is_none(own_s: int) -> None:
    _, known = follow(reading(0, port("1", since_s=own_s)))
    assert since(known) == (UP, 0, SinceHow.FIRST)


def test_port_that_went_and_came_back_between_readings_changed() -> None:
    _, known = follow(reading(0, port("1", since_s=AT - 500)), reading(300, port("1", since_s=AT + 200)))
    assert since(known) == (UP, 200, SinceHow.TOLD)
    assert known.changes == (AT + 200,)


def test_a_restart_is_no_flapping_of_its_ports() -> None:
    device, known = follow(
        reading(0, port("1", since_s=AT - 5000), uptime_s=9000.0),
        reading(300, port("1", since_s=AT + 250), uptime_s=60.0),
        reading(600, port("1", since_s=AT + 250), uptime_s=360.0),
    )
    assert since(known) == (UP, 250, SinceHow.SEEN)
    assert known.changes == ()
    assert device.restarts == (AT + 240,)
    assert device.booted_s == AT + 240


def test_what_was_down_before_a_restart_was_down_all_the_time() -> None:
    _, known = follow(
        reading(0, port("1", DOWN, since_s=AT - 5000), uptime_s=9000.0),
        reading(300, port("1", DOWN, since_s=AT + 241), uptime_s=60.0),
        reading(600, port("1", DOWN, since_s=AT + 241), uptime_s=360.0),
    )
    assert since(known) == (DOWN, -5000, SinceHow.TOLD)
    assert known.changes == ()


def test_slow_answer_is_no_restart_and_new_boot_count_is_one() -> None:
    slow, _ = follow(reading(0, port("1"), uptime_s=500.0), reading(360, port("1"), uptime_s=800.0))
    assert slow.restarts == ()
    assert slow.booted_s == AT - 500
    counted, _ = follow(reading(0, port("1"), boots=4), reading(300, port("1"), boots=5))
    assert counted.restarts == (AT + 300,)


@pytest.mark.parametrize(
    "other", [{"serial": "S2"}, {"object_id": "1.3.6.1.4.1.9.1.2"}, {"serial": "S2", "object_id": "1.3.9"}]
)
def test_another_device_behind_the_address_inherits_nothing(other: dict[str, str]) -> None:
    first = reading(0, port("1", DOWN), identity="sw", serial="S1", object_id="1.3.6.1.4.1.9.1.1", uptime_s=900.0)
    second = replace(reading(300, port("1", DOWN), identity="sw", serial="S1", uptime_s=10.0), **other)
    device, known = follow(first, second)
    assert device.replaced_s == AT + 300
    assert "was" in device.replaced
    assert since(known) == (DOWN, 300, SinceHow.FIRST)
    assert device.restarts == ()


def test_a_renamed_device_is_the_same_device() -> None:
    device, known = follow(reading(0, port("1"), identity="sw"), reading(300, port("1"), identity="sw-north"))
    assert device.replaced == ""
    assert device.identity == "sw-north"
    assert since(known) == (UP, 0, SinceHow.FIRST)


def test_a_gone_part_is_down_and_a_disabled_one_stays_so() -> None:
    _, known = follow(reading(0, onu("HWTC1A2B3C4D", measures={"rx_power_dbm": -19.0})))
    moment = Moment(AT + 300, AT)
    gone = part_missing(known, moment, unread=False)
    assert (gone.state, gone.gone, gone.since_s, gone.seen_s) == (DOWN, True, AT + 300, AT)
    assert gone.before == {"rx_power_dbm": -19.0}
    assert part_missing(gone, Moment(AT + 600, AT + 300), unread=False) == gone
    _, off = follow(reading(0, port("1", DISABLED)))
    assert part_missing(off, moment, unread=False).state is DISABLED


def test_a_part_whose_kind_was_not_read_may_be_there() -> None:
    _, known = follow(reading(0, port("1")))
    unread = part_missing(known, Moment(AT + 300, AT), unread=True)
    assert (unread.state, unread.gone, unread.seen_s) == (UP, False, AT)
    assert part_missing(unread, Moment(AT + 600, AT + 300), unread=True) == unread


def test_a_part_that_comes_back_is_up_again() -> None:
    _, known = follow(reading(0, port("1")))
    gone = part_missing(known, Moment(AT + 300, AT), unread=False)
    back = part_after(gone, port("1"), "snmp/sw-1", Moment(AT + 600, AT + 300))
    assert since(back) == (UP, 600, SinceHow.SEEN)
    assert not back.gone
    still_down = part_after(gone, port("1", DOWN), "snmp/sw-1", Moment(AT + 600, AT + 300))
    assert since(still_down) == (DOWN, 300, SinceHow.SEEN), "it was down all the time"


def test_a_notification_changes_the_state_at_once() -> None:
    _, known = follow(reading(0, port("1", measures={"speed_bps": 1e9})))
    down = part_notified(known, event(50, EventKind.PART_DOWN, "a", index=1, authenticated=True), AT)
    assert (down.state, down.since_s, down.how) == (DOWN, AT + 50, StateHow.NOTIFIED)
    assert (down.before, down.before_s) == ({"speed_bps": 1e9}, AT)
    unproven = part_notified(known, event(50, EventKind.PART_DOWN, "a", index=1), AT)
    assert (unproven.state, unproven.since_s, unproven.how) == (UP, known.since_s, StateHow.UNPROVEN), "told, not read"
    assert (unproven.event_s, unproven.changes) == (AT + 50, ())
    forged = part_notified(down, event(51, EventKind.PART_UP, "b", index=1), AT)
    assert (forged.state, forged.how) == (DOWN, StateHow.NOTIFIED), "what is proven stands"
    same = part_notified(known, event(50, EventKind.PART_UP, "a", index=1), AT)
    assert (same.state, same.since_s, same.how) == (UP, known.since_s, StateHow.READ)


@pytest.mark.parametrize(
    ("after_s", "own_s", "state"),
    [
        (50 + EVENT_HOLDS_S, AT - 900, DOWN),  # it may have been asked before
        (51 + EVENT_HOLDS_S, AT - 900, UP),
        (60, AT + 55, UP),  # the device itself says that it came back after
        (60, None, DOWN),
    ],
)
def test_reading_asked_before_notification_does_not_undo_it(after_s: int, own_s: int | None, state: LinkState) -> None:
    _, known = follow(reading(0, port("1")))
    down = part_notified(known, event(50, EventKind.PART_DOWN, "a", index=1, authenticated=True), AT)
    after = part_after(down, port("1", since_s=own_s), "snmp/sw-1", Moment(AT + after_s, AT))
    assert after.state is state


def test_forged_notifications_keep_no_port_down() -> None:
    _, known = follow(reading(0, port("1")))
    for n in range(1, 40):
        known = part_notified(known, event(10 * n, EventKind.PART_DOWN, f"a{n}", index=1), AT)
        known = part_after(known, port("1"), "snmp/sw-1", Moment(AT + 10 * n + 1, AT + 10 * n - 9))
        assert (known.state, known.how, known.changes) == (UP, StateHow.READ, ())


def test_reading_after_notification_tells_of_same_change() -> None:
    _, known = follow(reading(0, port("1")))
    down = part_notified(known, event(50, EventKind.PART_DOWN, "a", index=1, authenticated=True), AT)
    after = part_after(down, port("1", DOWN, since_s=AT + 49), "snmp/sw-1", Moment(AT + 300, AT))
    assert since(after) == (DOWN, 50, SinceHow.SEEN)
    assert len(after.changes) == 1
    assert after.how is StateHow.READ


def test_many_changes_flap_until_the_window_is_over() -> None:
    parts = [port("1", DOWN if n % 2 else UP) for n in range(30)]
    _, known = follow(*(reading(60 * n, part) for n, part in enumerate(parts)))
    assert len(known.changes) == CHANGES_KEPT
    last_s = known.changes[-1]
    assert flaps(known.changes, last_s) == CHANGES_KEPT
    assert flaps(known.changes, last_s + FLAP_WINDOW_S - 60) == 0
    assert flaps(known.changes[:4], known.changes[3]) == 0


def test_an_unknown_state_is_no_change() -> None:
    _, known = follow(reading(0, port("1")), reading(300, port("1", UNKNOWN)), reading(600, port("1")))
    assert known.changes == ()


def test_a_level_that_falls_is_fading_and_not_soon_usual() -> None:
    def at(n: int, dbm: float) -> DeviceReading:
        return reading(300 * n, onu("HWTC1A2B3C4D", measures={"rx_power_dbm": dbm}))

    steady = [at(n, -19.0 + (n % 3) * 0.2) for n in range(20)]
    _, known = follow(*steady)
    assert known.fading() == ""
    _, faded = follow(*steady, *(at(20 + n, -27.5) for n in range(200)))
    assert faded.fading() == "rx_power_dbm"
    assert faded.usual["rx_power_dbm"] == pytest.approx(-19.0, abs=0.3)
    _, slow = follow(*(at(n, -19.0 - n * 0.01) for n in range(600)))
    assert slow.fading() == "", "a laser that ages over two days is no sudden failure"


def test_error_counters_tell_how_much_they_grew() -> None:
    def at(n: int, errors: int, **fields: float) -> DeviceReading:
        return reading(300 * n, port("1", counters={"in_errors": errors, "in_octets": n}), **fields)

    _, known = follow(at(0, 7), at(1, 7), at(2, 19), at(3, 19))
    growth = known.errors["in_errors"]
    assert (growth.total, growth.grew, growth.at_s - AT, growth.within_s) == (19, 12, 600, 300)
    assert "in_octets" not in known.errors
    _, reset = follow(at(0, 900, uptime_s=5000.0), at(1, 30, uptime_s=20.0))
    assert reset.errors["in_errors"].grew == 0, "a counter that began anew did not grow"


def test_texts_are_cut() -> None:
    part = Part("port/" + "x" * 500, port("1").kind, "n" * 500, alias="a" * 500, facts={"k" * 99: "v" * 500})
    _, known = follow(reading(0, part))
    assert len(known.key) == 100
    assert len(known.name) == len(known.alias) == 200
    assert {len(k) for k in known.facts} == {64}


def test_errors_say_since_when_they_make_a_line_bad() -> None:
    totals = (0, 100, 500, 900, 1_300, 1_300, 1_310, 1_900)  # 300 and more in five minutes are bad
    seen = []
    for upto in range(1, len(totals) + 1):
        readings = (reading(300 * n, port("1", counters={"in_errors": total})) for n, total in enumerate(totals[:upto]))
        _, known = follow(*readings)
        growth = known.errors["in_errors"]
        seen.append(growth.since_s - AT if growth.since_s and growth.at_s == AT + 300 * (upto - 1) else 0)
    assert seen == [0, 0, 300, 300, 300, 0, 0, 1800]
