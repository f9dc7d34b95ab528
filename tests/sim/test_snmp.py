"""Switches in the simulated world: their record, the rules of judgment, and some seeds."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trio.testing import MockClock

from lab.snmp import values
from tests.sim.all_parts import PARTS
from tests.sim.faults import FAULTS
from tests.sim.judge import Evidence
from tests.sim.parts import snmp_rules
from tests.sim.parts.snmp import SnmpPart, Told
from tests.sim.parts.snmp_device import LEAF, MIDDLE, RATE_BPS, ROOT, UPLINK, WAY, Sent, make_switches
from tests.sim.run import run_seed
from tests.sim.witness import ORIGINAL, Move, Seen

WITH_SNMP = tuple(part for part in PARTS if part.name in ("radius", "snmp"))


async def test_a_switch_takes_those_behind_it_along(autojump_clock: MockClock) -> None:
    switches = make_switches(lambda: 1000.0)
    assert all(switch.reachable() for switch in switches.values())
    switches[ROOT].by_hand("ge-1", on=False)
    assert [name for name, switch in switches.items() if switch.reachable()] == [ROOT]
    assert not switches[MIDDLE].states[UPLINK][-1].up
    switches[ROOT].by_hand("ge-1", on=True)
    assert switches[LEAF].reachable()


async def test_a_port_keeps_its_name_where_ports_are_numbered_anew(autojump_clock: MockClock) -> None:
    switch = make_switches(lambda: 1000.0)[MIDDLE]
    before = switch.index_of("ge-3")
    switch.number_anew(100)
    assert switch.index_of("ge-3") == before + 100
    switch.writable["1.3.6.1.2.1.105.1.1.1.3"].wrote(f"1.{before + 100}", values.integer(2), 1000.0)
    assert [(one.port, one.what, one.value) for one in switch.sent] == [("ge-3", "power", "off")]
    assert switch.states["ge-3"][-1].power is False
    assert not switch.states["ge-3"][-1].up


async def test_the_root_is_reached_by_one_port_or_another(autojump_clock: MockClock) -> None:
    part: Any = SnmpPart()
    part.ways = [(0.0, WAY), (50.0, "ge-5"), (90.0, WAY)]
    assert part.is_uplink(ROOT, WAY, 10, 40)
    assert not part.is_uplink(ROOT, WAY, 10, 60), "it was another one meanwhile: nobody could know"
    assert part.is_uplink(ROOT, "ge-5", 55, 60)
    assert not part.is_uplink(ROOT, "ge-5", 100, 110)
    assert part.is_uplink(LEAF, UPLINK, 0, 1)
    assert not part.is_uplink(LEAF, "ge-2", 0, 1)


async def rules_seen(
    sent: Sequence[Sent] = (), steps: Sequence[tuple[Any, ...]] = (), moves: Sequence[Move] = (), **more: Any
) -> list[str]:
    """Return the rules that are broken by what is said, of switches to which no more than `sent` happens.

    Args:
        sent: what SETs brought to the last switch.
        steps: attempts at the one step of a power cycle of its ge-3: number, when it was announced, when it was over,
            verdict and reason.
        moves: of that item.
        more: of the part.
    """
    told = {"told": [], "told_at_rest": [], "rates": {}, **more}
    part: Any = SimpleNamespace(switches=make_switches(lambda: 1000.0), is_uplink=lambda *_: False, **told)
    part.switches[LEAF].sent.extend(sent)
    do = json.dumps({"address": f"snmp/{LEAF}/if/ge-3/power-cycle"})
    with closing(sqlite3.connect(":memory:")) as log:
        log.execute("CREATE TABLE step (plan_id, item, n, direction, attempt, about_seq, outcome_seq, do, verdict,"
                    " reason, detail)")  # fmt: skip
        for attempt, about, over, verdict, reason in steps:
            row = (b"\x01", 1, 1, "forward", attempt, about, over, do, verdict, reason, "")
            log.execute("INSERT INTO step VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)
        evidence = Evidence(Seen(moves=[*moves]), {}, (), (), {}, "", 5000.0)
        return [v.rule for v in snmp_rules.judge(evidence, part, log, float)]


@pytest.mark.parametrize(
    ("state", "reason", "rules"),
    [
        ("stale", "drifted", ["claim"]),
        ("expired", "expired", ["claim"]),
        ("not-applied", "drifted", ["claim"]),
        ("not-applied", "lost-timeout", []),
        ("needs-a-person", "unreadable", []),
    ],
)
async def test_a_cut_is_not_undone_by_a_refused_second_try(
    autojump_clock: MockClock, state: str, reason: str, rules: list[str]
) -> None:
    cut = [Sent(10.0, "ge-3", "power", "off"), Sent(15.0, "ge-3", "power", "on")]
    tries = [(1, 9, 20, "not-applied", "lost-timeout"), (2, 21, 22, "not-applied", "drifted")]
    end = Move(23.0, "01", 1, "", "", state, "unknown", 20.0, reason, "", False, 23, ORIGINAL)
    assert await rules_seen(cut, tries, [end]) == rules
    assert await rules_seen([], tries, [end]) == []
    tries = [(1, 9, 20, "not-applied", "drifted")]
    assert "claim" in await rules_seen(cut, tries, []), "an attempt that cut says that it was not sent"


async def test_what_is_said_of_ports_is_judged(autojump_clock: MockClock) -> None:
    assert await rules_seen(told=[Told(500.0, ROOT, "ge-2", "up")]) == []
    assert await rules_seen(told=[Told(500.0, ROOT, "ge-2", "down")]) == ["told"]
    assert await rules_seen(told_at_rest=[Told(500.0, ROOT, "ge-2", "up")]) == []
    assert await rules_seen(told_at_rest=[Told(500.0, ROOT, "ge-2", "")]) == ["told"]
    assert await rules_seen(rates={(LEAF, "ge-3"): RATE_BPS * 1.0}) == []
    assert await rules_seen(rates={(LEAF, "ge-3"): RATE_BPS * 7.0}) == ["rate"]


@pytest.mark.parametrize(("seed", "faults"), [(1007, "snmp-way-moves agent-killed"), (1022, "snmp-wraps snmp-reboots")])
def test_nothing_false_is_seen_of_ports(
    seed: int, faults: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    drawn = [fault for fault in FAULTS if fault.name in faults.split()]
    lines: list[str] = []
    told = run_seed(seed, tmp_path, faults=drawn, parts=WITH_SNMP, trace=lines.append)
    assert not told.wrong, "\n".join([*(v.text() for v in told.wrong), *lines[-40:]])
    assert any("> applied" in line and "snmp/" in line for line in lines)
