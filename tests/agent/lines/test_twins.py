"""One device that several targets know: which of them counts, and that nothing is hidden on a guess."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from agent.line_model.reading import DeviceReading, LinkState, Part, PartKind
from agent.lines import states
from agent.lines.keeping import LineKeeper, ShownKeeper
from agent.lines.known import KnownDevice
from agent.lines.twins import hidden
from tests.builders.readings import opened

NOW = 1_800_000_000
OWN, MAIN, WEST = "fake/sw-3", "source/main/sw-3", "source/west/sw-3"


def device(target: str, age_s: int = 10, **given: object) -> KnownDevice:
    known: dict[str, object] = {"read_s": NOW - age_s, "places": ("10.0.0.3:161",)}
    if target != OWN:
        known["source"] = target.split("/")[1]
    return KnownDevice(target, **known | given)  # type: ignore[arg-type]  # of a dataclass


def found(*devices: KnownDevice, macs: Collection[str] = ()) -> dict[str, str]:
    return hidden({one.target: one for one in devices}, lambda _: macs, NOW)


def test_our_own_reading_counts_while_it_is_fresh() -> None:
    assert found(device(OWN, 500), device(MAIN, 10)) == {MAIN: OWN}
    assert found(device(OWN, 700), device(MAIN, 10)) == {OWN: MAIN}
    silent = {"unread_s": NOW - 300, "answers": False, "fails": 2}
    assert found(device(OWN, 300, **silent), device(MAIN, 10)) == {OWN: MAIN}
    assert found(device(OWN, 300, **silent | {"fails": 1}), device(MAIN, 10)) == {MAIN: OWN}
    refuses = {"unread_s": NOW - 300, "answers": True, "fails": 1}
    assert found(device(OWN, 300, **refuses), device(MAIN, 10)) == {OWN: MAIN}
    assert found(device(OWN, 0, read_s=0), device(MAIN, 10)) == {OWN: MAIN}


def test_where_nobody_has_a_fresh_reading_ours_says_so() -> None:
    down = {"unread_s": NOW - 200, "answers": False, "fails": 4}
    assert found(device(OWN, 700, **down), device(MAIN, 300, **down)) == {MAIN: OWN}


def test_of_two_systems_the_one_shown_stays_while_fresh() -> None:
    assert found(device(MAIN, 200), device(WEST, 10)) == {WEST: MAIN}
    assert found(device(MAIN, 700), device(WEST, 10)) == {MAIN: WEST}
    assert found(device(MAIN, 5, hidden_by=WEST), device(WEST, 200)) == {MAIN: WEST}
    assert found(device(MAIN, 5, hidden_by=WEST), device(WEST, 900)) == {WEST: MAIN}
    assert found(device(OWN), device(MAIN), device(WEST)) == {MAIN: OWN, WEST: OWN}


@pytest.mark.parametrize(
    ("ours", "theirs", "macs", "same"),
    [
        ({"places": ("[2001:db8::3]:161",)}, {"places": ("[2001:DB8:0::3]:161",)}, (), True),
        ({"places": ("SW-3.example:161",)}, {"places": ("10.0.0.3:161", "sw-3.EXAMPLE:161")}, (), True),
        ({}, {"places": ("10.0.0.3:1161",)}, (), False),
        ({"serial": "X1", "object_id": "1.3"}, {"places": (), "serial": "x1", "object_id": "1.3"}, (), True),
        ({"serial": "X1", "object_id": "1.3"}, {"places": (), "serial": "X1", "object_id": "1.4"}, (), False),
        ({"serial": "X1"}, {"places": (), "serial": "X1"}, (), False),
        ({"identity": "sw", "object_id": "1.3"}, {"places": (), "identity": "SW", "object_id": "1.3"}, ("02",), True),
        ({"identity": "sw", "object_id": "1.3"}, {"places": (), "identity": "sw", "object_id": "1.3"}, (), False),
        ({"identity": "sw", "object_id": "1.3"}, {"places": (), "identity": "ap", "object_id": "1.3"}, ("02",), False),
    ],
)
def test_two_targets_are_one_device_only_where_that_is_certain(
    ours: dict[str, object], theirs: dict[str, object], macs: Collection[str], same: bool
) -> None:
    assert found(device(OWN, **ours), device(MAIN, **theirs), macs=macs) == ({MAIN: OWN} if same else {})


def test_two_of_one_origin_and_one_of_several_are_none() -> None:
    double = device("source/main/other", source="main")
    assert found(device(MAIN), double) == {}
    second = device("fake/sw-4", source="")
    assert found(device(OWN), second) == {}
    assert found(device(OWN), second, device(MAIN)) == {}


def part(state: LinkState) -> Part:
    return Part("port/1", PartKind.PORT, "1", "sub C-1", state)


def reading(target: str, at_s: int, state: LinkState = LinkState.UP) -> DeviceReading:
    source = "" if target == OWN else f"System {target.split('/')[1]}"
    return DeviceReading(target, at_s, parts=(part(state),), source=source, places=("10.0.0.3:161",))


class Noted:
    """A keeper that remembers."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def keep(self, reading: DeviceReading) -> None:
        self.seen.append(f"kept {reading.target}")

    async def failed(self, target: str, why: str, at_s: int, *, silent: bool) -> None:
        self.seen.append(f"failed {target} {why} {at_s} {silent}")

    async def listed(self, target: str, devices: frozenset[str], at_s: int) -> None:
        self.seen.append(f"listed {target} {len(devices)} {at_s}")


async def test_device_known_twice_is_one_line_one_part_and_one_series(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        keeper, noted = LineKeeper(store), Noted()
        shown = ShownKeeper(store, noted)
        for one in (reading(OWN, NOW - 20), reading(MAIN, NOW - 60)):
            await keeper.keep(one)
        await keeper.listed("source/main", frozenset({MAIN}), NOW)
        for one in (reading(OWN, NOW - 20), reading(MAIN, NOW - 60)):
            await shown.keep(one)
        await shown.failed(MAIN, "why", NOW, silent=True)
        await shown.listed("source/main", frozenset({MAIN}), NOW)
        assert noted.seen == [f"kept {OWN}", f"failed {MAIN} why {NOW} True", f"listed source/main 1 {NOW}"]
        assert set(states.devices(store.query)) == {OWN}
        assert states.hidden(store.query) == {MAIN: OWN}
        assert [target for target, _, _ in states.aliases(store.query)] == [OWN]
        assert states.part_counts(store.query) == {("port", "up"): 1}
        assert [one.target for one in states.same_device(store.query, OWN)] == [MAIN]
        assert [one.target for one in states.same_device(store.query, MAIN)] == [OWN]
        # we lose it: the other one answers, and again ours once it answers
        for n in (1, 2):
            await keeper.failed(OWN, "no answer", NOW + n, silent=True)
        assert states.hidden(store.query) == {OWN: MAIN}
        assert [target for target, _, _ in states.aliases(store.query)] == [MAIN]
        await keeper.keep(reading(OWN, NOW + 60))
        assert states.hidden(store.query) == {MAIN: OWN}


async def test_a_device_that_its_system_forgot_hides_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        keeper = LineKeeper(store)
        await keeper.keep(reading(OWN, NOW - 2000))
        await keeper.keep(reading(MAIN, NOW))
        await keeper.listed("source/main", frozenset({MAIN}), NOW)
        assert states.hidden(store.query) == {OWN: MAIN}
        await keeper.listed("source/main", frozenset(), NOW)
        assert set(states.devices(store.query)) == {OWN}
        assert states.part(store.query, MAIN, "port/1") is None


async def test_system_that_left_configuration_takes_its_devices_along(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        keeper = LineKeeper(store)
        await keeper.keep(reading(MAIN, NOW))
        await keeper.listed("source/main", frozenset({MAIN}), NOW)
        assert await store.run(states.ForgetOthers(frozenset({"source/main", OWN}))) == 0
        assert await store.run(states.ForgetOthers(frozenset({OWN}))) == 1
        assert not states.is_any_told(store.query)


async def test_what_another_system_says_is_down_counts_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        keeper = LineKeeper(store)
        for one in (reading(MAIN, NOW), reading(OWN, NOW)):
            await keeper.keep(one)
            await keeper.failed(one.target, "no answer to ping", NOW + 5, silent=True)
        known = {target: states.device(store.query, target) for target in (MAIN, OWN)}
        assert {target: one is not None and one.silent for target, one in known.items()} == {MAIN: True, OWN: False}
