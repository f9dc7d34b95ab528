"""A credential of which every device fell silent, told apart from a few devices that are away."""

from __future__ import annotations

from agent.connectors.base import SharedCredential
from agent.lines.credentials import SilentCredential, silent_credentials
from agent.lines.known import KnownDevice
from tests.builders.readings import AT


def device(n: int, *, unread_s: int = 0, answers: bool = False, read_s: int = AT) -> KnownDevice:
    lost = unread_s > 0
    return KnownDevice(f"snmp/d{n}", read_s=read_s, unread_s=unread_s, answers=answers or not lost, fails=3 * lost)


def found(*devices: KnownDevice, more: tuple[str, ...] = ()) -> list[SilentCredential]:
    targets = (*(one.target for one in devices), *more)
    shared = SharedCredential("lab", frozenset({"snmp/lab"}), targets)
    others = SharedCredential("other", frozenset({"snmp/other"}), ())
    return silent_credentials((shared, others), {one.target: one for one in devices})


def test_a_changed_secret_silences_all_of_its_devices() -> None:
    lost = [device(n, unread_s=AT + 60 * n, answers=n == 2) for n in (1, 2, 3)]
    (one,) = found(*lost)
    assert one == SilentCredential("lab", 3, AT + 180), "one refuses a wrong key of version 3"
    assert one.text(AT + 900) == "all 3 devices with credential lab are silent for 12m: was it changed?"


def test_some_devices_away_say_nothing_of_their_credential() -> None:
    lost = [device(n, unread_s=AT + n) for n in (1, 2, 3)]
    assert found(*lost, device(4)) == [], "one answers"
    assert found(*lost[:2]) == [], "two may be behind one mast"
    assert found(*lost, more=("snmp/d9",)) == [], "one was not asked yet"
    assert found(*(device(n, unread_s=AT, read_s=0) for n in (1, 2, 3))) == [], "none ever answered to it"
