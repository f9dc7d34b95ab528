"""Notifications as events: kind, part, the line for people, and the name by which a copy is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.connectors.snmp.ber import Varbind
from agent.connectors.snmp.notification_events import event, text
from agent.connectors.snmp.notifications import Notification
from agent.connectors.snmp.values import COUNTER64, INTEGER, IP_ADDRESS, OBJECT_IDENTIFIER, OCTET_STRING, Value, oid
from agent.line_model.reading import EventKind

LINK_DOWN = Notification(oid("1.3.6.1.6.3.1.1.5.3"), 1234, ((oid("1.3.6.1.2.1.2.2.1.1.7"), (INTEGER, 7)),), False, None)


@pytest.mark.parametrize(
    ("name", "kind", "label"),
    [
        ("1.3.6.1.6.3.1.1.5.1", EventKind.RESTARTED, "coldStart"),
        ("1.3.6.1.6.3.1.1.5.2", EventKind.RESTARTED, "warmStart"),
        ("1.3.6.1.6.3.1.1.5.3", EventKind.PART_DOWN, "linkDown"),
        ("1.3.6.1.6.3.1.1.5.4", EventKind.PART_UP, "linkUp"),
        ("1.3.6.1.6.3.1.1.5.5", EventKind.REFUSED, "authenticationFailure"),
        ("1.3.6.1.6.3.1.1.5.6", EventKind.OTHER, "1.3.6.1.6.3.1.1.5.6"),
        ("1.3.6.1.6.3.1.1.5.3.1", EventKind.OTHER, "1.3.6.1.6.3.1.1.5.3.1"),
        ("1.3.6.1.4.1.2011.0.3", EventKind.OTHER, "1.3.6.1.4.1.2011.0.3"),
    ],
)
def test_kinds(name: str, kind: EventKind, label: str) -> None:
    made = event(replace(LINK_DOWN, name=oid(name)), "sw-1", "192.0.2.1", 5)
    assert (made.kind, made.told, made.heard_s) == (kind, f"{label} 1.3.6.1.2.1.2.2.1.1.7=7", 5)


@pytest.mark.parametrize(
    ("varbinds", "index"),
    [
        ([("1.3.6.1.2.1.2.2.1.1.7", (INTEGER, 7))], 7),
        ([("1.3.6.1.2.1.2.2.1.1", (INTEGER, 7))], 7),  # without its own index
        ([("1.3.6.1.2.1.2.2.1.8.9", (INTEGER, 2))], 9),
        ([("1.3.6.1.2.1.31.1.1.1.18.301", (OCTET_STRING, b"C-10482"))], 301),
        ([("1.3.6.1.2.1.2.2.1.8.9", (INTEGER, 2)), ("1.3.6.1.2.1.2.2.1.1.7", (INTEGER, 7))], 7),
        ([("1.3.6.1.2.1.2.2.1.1.7", (INTEGER, -7))], 7),
        ([("1.3.6.1.2.1.2.2.1.8.9.1", (INTEGER, 2))], None),
        ([("1.3.6.1.2.1.2.2.1.1.4194312448", (INTEGER, 4194312448))], 4194312448),  # a PON port
        ([("1.3.6.1.2.1.2.2.1.1.4194312448", (INTEGER, -100654848))], 4194312448),
        ([("1.3.6.1.4.1.9.1", (INTEGER, 2))], None),
        ([], None),
    ],
)
def test_the_part_that_it_is_about(varbinds: list[tuple[str, Value]], index: int | None) -> None:
    found: list[Varbind] = [(oid(name), value) for name, value in varbinds]
    assert event(replace(LINK_DOWN, varbinds=found), "sw-1", "192.0.2.1", 5).index == index


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((OCTET_STRING, "Zoë".encode()), "Zoë"),
        ((OCTET_STRING, b"\xc3\x28"), "c328"),
        ((OCTET_STRING, b"a\x1b[0m"), "611b5b306d"),
        ((OBJECT_IDENTIFIER, oid("1.3.6.1.4.1.9")), "1.3.6.1.4.1.9"),
        ((IP_ADDRESS, b"\xc0\x00\x02\x01"), "192.0.2.1"),
        ((COUNTER64, 2**64 - 1), "18446744073709551615"),
    ],
)
def test_values_for_people(value: Value, shown: str) -> None:
    assert text(value) == shown


def test_a_long_notification_is_cut_in_its_line() -> None:
    found = [(oid(f"1.3.6.1.4.1.9.{n}"), (OCTET_STRING, b"x" * 200)) for n in range(1, 100)]
    assert len(event(replace(LINK_DOWN, varbinds=found), "sw-1", "192.0.2.1", 5).told) == 240


def test_a_copy_has_the_same_name_and_another_event_has_not() -> None:
    def once(notification: Notification, target: str = "sw-1", sender: str = "192.0.2.1") -> str:
        return event(notification, target, sender, 5).once

    same = [once(LINK_DOWN), once(replace(LINK_DOWN, answer=b"x", authenticated=True)), once(LINK_DOWN, sender="::1")]
    other = [
        once(replace(LINK_DOWN, ticks=1235)),
        once(replace(LINK_DOWN, name=oid("1.3.6.1.6.3.1.1.5.4"))),
        once(replace(LINK_DOWN, varbinds=())),
        once(LINK_DOWN, target="sw-2"),
        once(LINK_DOWN, target=""),
        once(LINK_DOWN, target="", sender="192.0.2.2"),
    ]
    assert len(set(same)) == 1
    assert len({same[0], *other}) == 7
    assert len(same[0]) <= 64
