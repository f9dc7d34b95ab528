"""Rules of CPE and of ports that said too much, or nothing: each with a case that it must tell, and its excuse."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sim.judge import Evidence
from tests.sim.parts import cpe_rules, snmp_rules
from tests.sim.parts.cpe_device import Done, WatchedDevice
from tests.sim.parts.cpe_rules import CpeStep
from tests.sim.parts.snmp_device import PortState, Sent, WatchedSwitch
from tests.sim.parts.snmp_rules import PortStep
from tests.sim.witness import ORIGINAL, Lost, Move, Seen

NAME, KEY = "02AC5F-LabGate-LAB0001", "aaaaaaaaaaaa-1-1f1"
SSID, VERSION = "Device.WiFi.SSID.1.SSID", "Device.DeviceInfo.SoftwareVersion"
TABLE = "Device.NAT.PortMapping."
REBOOT = {"effect": "reboot", "address": f"cwmp/{NAME}/boots", "key": "k", "args": {}}
FLASH = {"effect": "firmware", "address": f"cwmp/{NAME}/firmware", "key": "k", "args": {"version": "2"}}
RENAME = [{"address": f"cwmp/{NAME}/{SSID}", "before": {"value": {"value": "old"}}, "after": {"value": "new"}}]


def done(at: float, method: str, *names: str, key: str = "", state: int = 0, **values: str) -> Done:
    return Done(at, method, names, key, values, 0, answered=True, state=state)


def device(
    *took: Done, states: Iterable[tuple[float, Mapping[str, str]]] = ((0.0, {SSID: "old"}),), **times: list[float]
) -> Any:
    """Return the record of a CPE. `times`: of its boots, resets and Informs."""
    told = {"boot_times": [], "resets": [], "informed": [], **times}
    kept = [SimpleNamespace(at=at, values=values, instances={TABLE: (1,)}) for at, values in states]
    model = SimpleNamespace(prefix="Device.", instances={})
    made: Any = SimpleNamespace(name=NAME, done=list(took), states=kept, tree=SimpleNamespace(model=model), **told)
    made.at = lambda n, name: kept[n].values.get(name)
    made.numbers = functools.partial(WatchedDevice.numbers, made)
    return made


def move(state: str) -> Move:
    return Move(100.0, "a" * 32, 1, "", NAME, state, "running", 40.0, "", "", False, 8, ORIGINAL)


def broken(
    do: Any, verdict: str, *devices: Any, lost: tuple[Lost, ...] = (), about: float = 10.0, state: str = ""
) -> list[str]:
    """Return the rules that an outcome at 100 breaks, of a step on CPE of one name."""
    homes = {str(n): SimpleNamespace(device=one) for n, one in enumerate(devices)}
    part: Any = SimpleNamespace(homes=homes, clones=[], devices=lambda name: devices, given={}, shown=[])
    part.logged, part.service_with = SimpleNamespace(found=[]), lambda login: None
    step = CpeStep("a" * 32, 1, 1, "forward", 1, about, 100.0, do, verdict, "", "", 7)
    seen = Seen(moves=[move(state)] if state else [])
    evidence = Evidence(seen, {}, (), (), {}, "", 500.0, lost, restored=[one.found_at - 2 for one in lost])
    return [one.rule for one in cpe_rules.judge(evidence, part, [step])]


TOOK = done(20, "Reboot", key="k")


@pytest.mark.parametrize(
    ("resets", "lost", "about", "rules"),
    [
        ([], (), 10.0, ["claim"]),
        ([28.0], (), 10.0, []),
        ([15.0], (), 10.0, ["claim"]),
        ([], (Lost(12.0, 50.0, 9),), 10.0, []),
        ([], (Lost(12.0, 25.0, 9),), 10.0, ["claim"]),
        ([], (), 60.0, []),
    ],
    ids=["said", "reset since", "reset before", "log lost", "told to the new log", "taken for a log that is lost"],
)
def test_a_boot_is_known_once_it_is_believed(
    resets: list[float], lost: tuple[Lost, ...], about: float, rules: list[str]
) -> None:
    """An owner reset the CPE after it took the request: it told its boot by the password that all new ones have."""
    booted = device(TOOK, boot_times=[28.0], informed=[29.0, 55.0], resets=resets)
    assert broken(REBOOT, "not-applied", booted, lost=lost, about=about) == rules


@pytest.mark.parametrize(("other", "rules"), [([], ["claim"]), ([30.0], []), ([40.0], ["claim"])])
def test_a_version_may_be_that_of_another_one(other: list[float], rules: list[str]) -> None:
    """A CPE ran its new firmware, and one that poses as it called at once with the old one."""
    flashed = device(
        done(20, "Download", key="k"), states=[(0.0, {VERSION: "1"}), (28.0, {VERSION: "2"})], informed=[29.0]
    )
    clone = device(states=[(0.0, {VERSION: "1"})], informed=other)
    assert broken(FLASH, "not-applied", flashed, clone) == rules


@pytest.mark.parametrize(("lost", "rules"), [((), ["blind"]), ((Lost(12.0, 50.0, 9),), [])])
def test_nobody_knows_what_a_lost_log_had_sent(lost: tuple[Lost, ...], rules: list[str]) -> None:
    """Also where people put a copy back and no mark tells that it is old."""
    twice = device(TOOK, done(60, "Reboot", key="k"))
    assert broken(REBOOT, "unknown", twice, lost=lost) == rules


SET = done(20, "SetParameterValues", SSID, key=KEY, state=1, **{SSID: "new"})
WAS_SET = ((0.0, {SSID: "old"}), (20.0, {SSID: "new"}))


@pytest.mark.parametrize(
    ("read", "rules"),
    [
        ((), ["claim"]),
        ((done(15, "GetParameterValues", SSID),), ["claim"]),
        ((done(30, "GetParameterValues", SSID, state=1),), ["claim"]),
        ((done(30, "GetParameterValues", SSID),), []),
    ],
    ids=["never", "before", "as it was set", "otherwise"],
)
def test_what_was_taken_is_not_applied_if_read_so(read: tuple[Done, ...], rules: list[str]) -> None:
    """The instant of the write itself, with the value of before, had been an excuse for all."""
    assert broken(RENAME, "not-applied", device(SET, *read, states=WAS_SET)) == rules


def test_one_of_two_of_a_name_may_be_read() -> None:
    clone = device(done(30, "GetParameterValues", SSID))
    assert broken(RENAME, "not-applied", device(SET, states=WAS_SET), clone) == []


@pytest.mark.parametrize(
    ("verdict", "state", "rules"),
    [
        ("applied", "applied", []),
        ("applied", "accepted", ["claim"]),
        ("applied", "not-applied", ["claim"]),
        ("applied", "stale", ["claim"]),
        ("applied", "reverted", ["claim"]),
        ("applied", "needs-a-person", []),
        ("unknown", "applied", ["claim"]),
        ("unknown", "not-applied", []),
    ],
)
def test_an_item_is_what_its_steps_are(verdict: str, state: str, rules: list[str]) -> None:
    """That nothing of an item stands of which a step does had been held against none."""
    read = device(SET, done(30, "GetParameterValues", SSID, state=1), states=WAS_SET)
    assert broken(RENAME, verdict, read, state=state) == rules


def test_a_row_is_filled_as_it_was_announced() -> None:
    where = f"cwmp/{NAME}/{TABLE}[ExternalPort=80](InternalClient)"
    do = [{"address": where, "before": {"value": None}, "after": {"InternalClient": "a", "ExternalPort": "80"}}]
    for client, rules in (("a", []), ("b", ["foreign"])):
        fields = {f"{TABLE}1.ExternalPort": "80", f"{TABLE}1.InternalClient": client}
        assert broken(do, "unknown", device(done(20, "SetParameterValues", key=KEY, **fields))) == rules


@pytest.mark.parametrize("names", [(TABLE,), (f"{TABLE}1.ExternalPort",)])
@pytest.mark.parametrize(
    ("client", "after", "rules"),
    [
        ("a", {"InternalClient": "a"}, []),
        ("b", {"InternalClient": "a"}, ["claim"]),
        ("a", None, ["claim"]),
    ],
)
def test_a_row_is_read_with_its_fields(
    names: tuple[str, ...], client: str, after: Mapping[str, str] | None, rules: list[str]
) -> None:
    """The address of a row has its fields in brackets, and some CPE give three parameters at once."""
    where = f"cwmp/{NAME}/{TABLE}[ExternalPort=80](InternalClient)"
    row = {f"{TABLE}1.ExternalPort": "80", f"{TABLE}1.InternalClient": client}
    read = device(done(30, "GetParameterValues", *names), states=[(0.0, row)])
    assert broken([{"address": where, "before": {"value": None}, "after": after}], "applied", read) == rules


@pytest.mark.parametrize(("method", "rules"), [("GetParameterNames", []), ("SetParameterValues", ["claim"])])
def test_a_row_is_gone_where_the_table_is_listed(method: str, rules: list[str]) -> None:
    where = f"cwmp/{NAME}/{TABLE}[ExternalPort=80](InternalClient)"
    do = [{"address": where, "before": {"value": {"InternalClient": "a"}}, "after": None}]
    listed = device(done(30, method, TABLE, key=KEY), states=[(0.0, {f"{TABLE}1.ExternalPort": "81"})])
    assert broken(do, "applied", listed) == rules


@pytest.mark.parametrize("again", [False, True])
def test_a_port_that_stays_as_set_is_applied(again: bool) -> None:
    """The state that a SET ended, at its very instant, had been an excuse for all."""
    states = [PortState(at, up=on, on=on, alias="", power=None) for at, on in ((0.0, True), (20.0, False))]
    states += [PortState(30.0, up=True, on=True, alias="", power=None)] if again else []
    switch: Any = SimpleNamespace(states={"ge-3": states}, sent=[Sent(20.0, "ge-3", "admin", "down")])
    switch.during = functools.partial(WatchedSwitch.during, switch)
    do = [{"address": "snmp/sw-2/if/ge-3/admin", "before": {"value": {"admin": "up"}}, "after": {"admin": "down"}}]
    step = PortStep("a" * 32, 1, 1, "forward", 1, 10.0, 100.0, do, "not-applied", "lost-timeout", "", 7)
    assert bool(snmp_rules._outcome(step, switch, 10.0)) is not again
