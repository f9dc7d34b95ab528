"""Causes of outages: one line each, with those who hang on it, and no line for what only follows from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.line_model.reading import LinkState, PartKind
from agent.lines.known import Growth, KnownDevice, KnownNeighbor, KnownPart, SinceHow
from agent.lines.outage import Cause, CauseKind, OutageGround, affected, cause_of, causes, light
from agent.lines.topology import topology_of
from tests.builders.expect import present
from tests.builders.readings import AT, DISABLED, DOWN, UP

NOW_S = AT + 3600


def device(name: str, *, silent_s: int = 0, **fields: Any) -> KnownDevice:
    fails = 3 if silent_s else 0
    why = "unreachable, or wrong secret" if silent_s else ""
    return KnownDevice(
        f"snmp/{name}",
        identity=name,
        read_s=NOW_S - 60,
        unread_s=silent_s,
        answers=not silent_s,
        fails=fails,
        why=why,
        **fields,
    )


def part(at: str, key: str, state: LinkState = UP, since_s: int = AT + 3000, **fields: Any) -> KnownPart:
    kind = PartKind(key.partition("/")[0])
    fields = {"since_how": SinceHow.SEEN, **fields}
    return KnownPart(f"snmp/{at}", key, kind, key.partition("/")[2], state=state, since_s=since_s, **fields)


def link(a: str, port: str, b: str) -> tuple[KnownNeighbor, KnownNeighbor]:
    """A link that both ends tell of; the other end is its port `up-A`."""
    return (
        KnownNeighbor(f"snmp/{a}", port, b, "", "", remote_port=f"up-{a}"),
        KnownNeighbor(f"snmp/{b}", f"port/up-{a}", a, "", "", remote_port=port.partition("/")[2]),
    )


def judged(
    devices: Sequence[KnownDevice],
    parts: Sequence[KnownPart] = (),
    links: Sequence[Sequence[KnownNeighbor]] = (),
    served: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> list[Cause]:
    topology = topology_of(
        {d.target: d for d in devices}, [one for ends in links for one in ends], ("core",), {}, {}, {}
    )
    where = {(f"snmp/{at}", key): set(refs) for (at, key), refs in (served or {}).items()}
    return causes(OutageGround(topology, parts, where, NOW_S))


def told(found: Sequence[Cause]) -> list[tuple[str, str, str, int]]:
    return [(c.kind.value, c.target[5:], c.part.key if c.part else "", len(c.services)) for c in found]


TREE = (link("core", "port/1", "sw"), link("sw", "port/1", "ap"), link("sw", "port/2", "olt"))


# --- devices ----------------------------------------------------------------------------------------------------------


def test_what_is_silent_behind_a_silent_device_is_no_cause() -> None:
    at_s = AT + 2000
    devices = [device("core"), *(device(n, silent_s=at_s + k) for k, n in enumerate(("sw", "ap", "olt")))]
    served = {("ap", "client/1"): ["C-1"], ("olt", "onu/a"): ["C-2", "C-3"], ("sw", "port/7"): ["C-3"]}
    (found,) = judged(devices, links=TREE, served=served)
    assert (found.kind, found.target, found.since_s) == (CauseKind.SILENT, "snmp/sw", at_s)
    assert found.behind == ("snmp/ap", "snmp/olt")
    assert found.services == ("C-1", "C-2", "C-3")
    assert (found.upstream, found.upstream_port) == ("snmp/core", "port/1")
    assert found.detail == "unreachable, or wrong secret"


def test_the_port_towards_a_silent_device_is_told_with_it() -> None:
    devices = [device("core"), device("sw", silent_s=AT)]
    parts = [part("core", "port/1", DOWN)]
    (found,) = judged(devices, parts, TREE[:1])
    assert found.detail == "unreachable, or wrong secret; core 1 towards it is down"


def test_a_ring_with_one_silent_device_has_one_cause() -> None:
    ring = (link("core", "port/1", "a"), link("a", "port/2", "b"), link("b", "port/2", "core"))
    assert told(judged([device("core"), device("a", silent_s=AT), device("b")], links=ring)) == [("silent", "a", "", 0)]


def test_two_silent_devices_with_own_ways_are_two_causes() -> None:
    devices = [device("core"), device("sw"), device("ap", silent_s=AT), device("olt", silent_s=AT)]
    assert told(judged(devices, links=TREE)) == [("silent", "ap", "", 0), ("silent", "olt", "", 0)]


def test_everything_silent_is_the_roots_line() -> None:
    devices = [device(name, silent_s=AT) for name in ("core", "sw", "ap", "olt")]
    (found,) = judged(devices, links=TREE)
    assert (found.target, len(found.behind)) == ("snmp/core", 3)


def test_silent_devices_without_neighbors_are_a_cause_each() -> None:
    devices = [device("x", silent_s=AT), device("y", silent_s=AT)]
    assert len(judged(devices)) == 2


def test_a_claim_of_one_end_puts_nothing_behind_a_silent_device() -> None:
    devices = [device("core"), device("sw", silent_s=AT), device("ap", silent_s=AT + 9)]
    (claim, _) = link("sw", "port/7", "ap")
    first, second = judged(devices, links=(TREE[0], (claim,)))
    assert [(c.target, c.behind) for c in (first, second)] == [("snmp/sw", ()), ("snmp/ap", ())]
    assert (second.upstream, second.claims) == ("", (("snmp/sw", "port/7"),))


def test_a_port_of_a_self_styled_device_is_a_cause_as_before() -> None:
    (claim, _) = link("sw", "port/7", "ap")
    devices = [device("core"), device("sw"), device("ap", silent_s=AT)]
    found = judged(devices, [part("sw", "port/7", DOWN)], (TREE[0], (claim,)), {("sw", "port/7"): ["C-1"]})
    assert told(found) == [("down", "sw", "port/7", 1), ("silent", "ap", "", 0)]


def test_one_lost_packet_is_no_outage() -> None:
    once = replace(device("sw", silent_s=AT), fails=1)
    assert judged([device("core"), once], links=TREE[:1]) == []


def test_a_device_that_never_answered_says_so() -> None:
    (found,) = judged([replace(device("sw", silent_s=AT), read_s=0)])
    assert found.detail.endswith("it never answered")


def test_a_restart_is_told_for_a_while() -> None:
    (found,) = judged([device("core"), device("sw", restarts=(NOW_S - 7200, NOW_S - 600))], links=TREE[:1])
    assert (found.kind, found.since_s, found.detail) == (CauseKind.RESTARTED, NOW_S - 600, "it answers again")
    often = tuple(NOW_S - 1500 + 200 * n for n in range(6))
    (found,) = judged([device("sw", restarts=often)])
    assert found.detail == "6 restarts in 30 min"
    assert judged([device("sw", restarts=(NOW_S - 1801,))]) == []


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "served", "kinds"),
    [
        (part("sw", "port/7", DOWN), [], []),
        (part("sw", "port/7", DOWN), ["C-1"], ["down"]),
        (part("sw", "port/7", DOWN, since_how=SinceHow.FIRST), ["C-1"], ["down"]),
        (part("sw", "port/7", DISABLED), ["C-1"], []),
        (part("sw", "port/7", LinkState.UNKNOWN), ["C-1"], []),
        (part("sw", "radio/1", DOWN), [], ["down"]),
        (part("sw", "pon/1", DOWN), [], ["down"]),
        (part("sw", "onu/a", DOWN), [], ["down"]),
        (part("sw", "onu/a", DOWN, since_how=SinceHow.FIRST), [], []),
        (part("sw", "onu/a", DOWN, gone=True), [], ["down"]),
        (part("sw", "onu/a", measures={"rx_power_dbm": -28.0}, usual={"rx_power_dbm": -19.0}), ["C-1"], ["fading"]),
        (part("sw", "onu/a", measures={"rx_power_dbm": -23.0}, usual={"rx_power_dbm": -19.0}), ["C-1"], []),
        (part("sw", "port/7", errors={"in_errors": Growth(900, 600, NOW_S - 60, 300)}), ["C-1"], ["errors"]),
        (part("sw", "port/7", errors={"in_errors": Growth(900, 200, NOW_S - 60, 300)}), ["C-1"], []),
        (part("sw", "port/7", errors={"in_errors": Growth(900, 600, NOW_S - 360, 300)}), ["C-1"], []),
        (part("sw", "port/7", errors={"in_discards": Growth(900, 600, NOW_S - 60, 300)}), ["C-1"], []),
        (part("sw", "port/7", changes=tuple(NOW_S - 100 * n for n in range(6, 0, -1))), ["C-1"], ["flapping"]),
        (part("sw", "port/7", changes=tuple(NOW_S - 100 * n for n in range(6, 0, -1))), [], []),
    ],
)  # fmt: skip
def test_a_part_is_a_cause_where_somebody_misses_it(one: KnownPart, served: list[str], kinds: list[str]) -> None:
    found = judged([device("core"), device("sw")], [one], TREE[:1], {("sw", one.key): served})
    assert [cause.kind.value for cause in found] == kinds
    assert [len(cause.services) for cause in found] == [len(served)] * len(kinds)


def test_what_hangs_on_part_that_is_down_is_no_cause_of_its_own() -> None:
    parts = [part("olt", "pon/1", DOWN), *(part("olt", f"onu/{n}", DOWN, parent="pon/1") for n in range(4))]
    served = {("olt", f"onu/{n}"): [f"C-{n}"] for n in range(4)}
    assert told(judged([device("olt")], parts, served=served)) == [("down", "olt", "pon/1", 4)]


def test_onus_of_a_pon_port_that_failed_together_are_one_cause() -> None:
    at_s = AT + 3000
    down = [part("olt", f"onu/{n}", DOWN, at_s + 20 * n, parent="pon/1", told="LOS") for n in range(14)]
    others = [part("olt", "onu/up", parent="pon/1"), part("olt", "onu/old", DOWN, AT - 90_000, parent="pon/1")]
    served = {("olt", f"onu/{n}"): [f"C-{n}"] for n in range(14)}
    found = judged([device("olt")], [part("olt", "pon/1"), *down, *others], served=served)
    assert told(found) == [("together", "olt", "pon/1", 14), ("down", "olt", "onu/old", 0)]
    assert (found[0].parts, found[0].of, found[0].since_s, found[0].detail) == (14, 16, at_s, "LOS")


def test_a_few_onus_of_many_are_causes_each() -> None:
    down = [part("olt", f"onu/{n}", DOWN, AT + 9000 * n, parent="pon/1") for n in range(3)]
    up = [part("olt", f"onu/up{n}", parent="pon/1") for n in range(9)]
    assert len(judged([device("olt")], [*down, *up])) == 3


def test_both_ends_of_a_link_that_is_down_are_one_cause() -> None:
    links = TREE[:1]
    parts = [part("core", "port/1", DOWN), part("sw", "port/up-core", DOWN)]
    assert told(judged([device("core"), device("sw")], parts, links)) == [("down", "core", "port/1", 0)]


def test_the_parts_of_a_silent_device_are_not_told_of() -> None:
    parts = [part("sw", "port/7", DOWN), part("sw", "port/8", changes=tuple(NOW_S - n for n in range(6, 0, -1)))]
    served = {("sw", "port/7"): ["C-1"], ("sw", "port/8"): ["C-2"]}
    found = judged([device("core"), device("sw", silent_s=AT)], parts, TREE[:1], served)
    assert told(found) == [("silent", "sw", "", 2)]


def test_a_cycle_of_parents_ends() -> None:
    parts = [part("sw", "port/a", DOWN, parent="port/b"), part("sw", "port/b", DOWN, parent="port/a")]
    served = {("sw", "port/a"): ["C-1"]}
    assert judged([device("sw")], parts, served=served) == [], "each is said to hang on the other"


def test_the_cause_with_the_most_subscribers_stands_first() -> None:
    parts = [part("sw", "port/1", DOWN), part("sw", "radio/2", DOWN)]
    served = {("sw", "radio/2"): ["C-2", "C-3"], ("sw", "port/1"): ["C-1"]}
    found = judged([device("sw")], parts, served=served)
    assert [len(cause.services) for cause in found] == [2, 1]
    assert set(affected(found)) == {"C-1", "C-2", "C-3"}


def test_what_is_down_stands_before_what_works_again() -> None:
    back = device("ap", restarts=(NOW_S - 60,))
    parts = [part("sw", "port/1", DOWN), part("ap", "radio/1")]
    served = {("sw", "port/1"): ["C-1"], ("ap", "radio/1"): ["C-2", "C-3"]}
    found = judged([device("sw"), back], parts, served=served)
    assert [cause.kind for cause in found] == [CauseKind.DOWN, CauseKind.RESTARTED]


def test_what_is_bad_but_works_cuts_nobody_off() -> None:
    fading = part("sw", "onu/a", measures={"rx_power_dbm": -28.0}, usual={"rx_power_dbm": -19.0}, fades_s=AT + 900)
    bad = part("sw", "port/7", errors={"in_errors": Growth(900, 600, NOW_S - 60, 300, AT + 600)})
    since = {
        c.kind: c.since_s
        for c in judged([device("sw")], [fading, bad], served={("sw", "onu/a"): ["C-1"], ("sw", "port/7"): ["C-2"]})
    }
    assert since == {CauseKind.FADING: AT + 900, CauseKind.ERRORS: AT + 600}
    found = judged([device("sw", restarts=(NOW_S - 60,))], [fading], served={("sw", "onu/a"): ["C-1"]})
    assert len(found) == 2
    assert affected(found) == {}


def test_the_cause_of_a_parts_state_may_be_elsewhere() -> None:
    devices = [device("core"), device("sw", silent_s=AT), device("ap", silent_s=AT)]
    found = judged(devices, [], TREE[:2], {("ap", "client/1"): ["C-1"]})
    behind = present(cause_of(found, "snmp/ap", "client/1"))
    assert behind.target == "snmp/sw"
    assert cause_of(found, "snmp/sw", "port/7") is found[0]
    assert cause_of(found, "snmp/core", "port/1") is None


def test_part_that_is_down_is_cause_of_lines_that_hang_on_it() -> None:
    """A notification says that a PON port is down; that its ONUs are, only the next reading says."""
    parts = [part("olt", "pon/1", DOWN), *(part("olt", f"onu/{n}", parent="pon/1") for n in range(2))]
    found = judged([device("olt")], parts, served={("olt", "onu/0"): ["C-0"], ("olt", "onu/1"): ["C-1"]})
    assert cause_of(found, "snmp/olt", "onu/0", "C-0") is found[0]
    assert cause_of(found, "snmp/olt", "onu/9", "C-9") is None
    assert cause_of(found, "snmp/olt", "pon/1", "C-0") is None


@pytest.mark.parametrize(
    ("before", "usual", "expected"),
    [
        ({"rx_power_dbm": -31.2}, {}, "losing light: -31.2 dBm"),
        ({"rx_power_dbm": -26.0}, {"rx_power_dbm": -19.0}, "losing light: -26.0 dBm"),
        ({"signal_dbm": -84.0}, {"signal_dbm": -61.0}, "losing signal: -84.0 dBm"),
        ({"rx_power_dbm": -19.0}, {"rx_power_dbm": -19.0}, ""),
        ({}, {"rx_power_dbm": -19.0}, ""),
    ],
)
def test_lost_light_is_said_where_the_last_reading_shows_it(
    before: dict[str, float], usual: dict[str, float], expected: str
) -> None:
    assert light(part("olt", "onu/a", DOWN, before=before, usual=usual)) == expected


# --- any network ------------------------------------------------------------------------------------------------------

EDGES = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 3), st.integers(0, 7)), max_size=20)
DOWN_PARTS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 5), st.sampled_from(LinkState)))


@given(EDGES, st.sets(st.integers(0, 7)), DOWN_PARTS)
def test_every_silent_device_is_a_cause_or_behind_one(
    edges: list[tuple[int, int, int]], silent: set[int], downs: list[tuple[int, int, int, LinkState]]
) -> None:
    devices = [device("core" if n == 0 else f"d{n}", silent_s=AT if n in silent else 0) for n in range(8)]
    links = [link(devices[a].name, f"port/{port}", devices[b].name) for a, port, b in edges]
    parts = {
        (d, n): part(devices[d].name, f"port/{n}", state, parent=f"port/{above}") for d, n, above, state in downs
    }  # fmt: skip
    served = {(devices[d].name, f"port/{n}"): [f"C-{d}-{n}"] for d, n in parts}
    found = judged(devices, list(parts.values()), links, served)
    heads = [cause.target for cause in found if cause.kind is CauseKind.SILENT]
    behind = [target for cause in found for target in cause.behind]
    assert sorted([*heads, *behind]) == sorted(devices[n].target for n in silent)
    on_parts = [(c.target, c.part.key) for c in found if c.part is not None]
    assert len(on_parts) == len(set(on_parts)), "one line a part"
    assert not {target for target, _ in on_parts} & {*heads, *behind}
    told_of = {ref for cause in found if cause.kind is CauseKind.SILENT for ref in cause.services}
    assert told_of == {f"C-{d}-{n}" for d, n in parts if d in silent}
