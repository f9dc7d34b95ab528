"""Each benchmark at a tiny size: it measures what it says, whatever the numbers are."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from agent.connectors.cwmp.acs_session import AcsSession
from tests.bench import (
    acs,
    acs_attack,
    acs_cpe,
    acs_fleet,
    acs_load,
    acs_malformed,
    acs_site,
    acs_tree,
    backup,
    billing_paid,
    billing_read,
    cloud_approval,
    cloud_connections,
    cloud_submit,
    hooks_forged,
    journal,
    outage,
    routeros_held,
    routeros_read,
    routeros_write,
    routers_batch,
    snmp_poll,
    snmp_read,
    start_ready,
    startup,
    suspend,
    verify,
)
from tests.bench.__main__ import main
from tests.bench.processes import BenchError
from tests.bench.result import Result, compared, table
from tests.servers import ServerMissingError, missing, program


@pytest.fixture
def programs() -> None:
    try:
        suspend.tools()
    except ServerMissingError as err:
        missing(str(err))


def _sane(results: list[Result]) -> dict[str, Result]:
    for r in results:
        assert r.value > 0
        assert (r.reference_value is None) == (r.ratio is None)
        assert json.loads(json.dumps(r.json()))["unit"] == r.unit
    return {r.name: r for r in results}


@pytest.mark.slow
def test_hooks_forged() -> None:
    found = _sane(hooks_forged.bench(seconds=2.0))
    assert list(found) == ["hooks_forged", "hooks_forged_real"]


@pytest.mark.slow
def test_billing_paid() -> None:
    found = _sane(billing_paid.bench(count=3, over_s=1.0))
    names = ["billing_paid_3", "billing_paid_3_field"]
    assert list(found) == [made for name in names for made in (name, f"{name}_p95")]


@pytest.mark.servers
@pytest.mark.slow
def test_suspend(programs: None) -> None:
    found = _sane(suspend.bench(count=24, nas=2))
    assert list(found) == ["suspend_24", "suspend_24_cpu", "suspend_24_memory", "suspend_24_preview"]
    wall = found["suspend_24"]
    assert wall.reference_value is not None
    assert wall.ratio == pytest.approx(wall.value / wall.reference_value)
    # The tools' parts are parts of the whole; it was read back at least once.
    assert wall.more["bare inserts s"] + wall.more["bare disconnects s"] <= wall.reference_value
    assert wall.more["bare read-backs"] >= 1


def test_journal_steps() -> None:
    found = _sane(journal.bench_steps(steps=40))
    assert list(found) == [f"journal_steps_{n}" for n in journal.IN_FLIGHT]


def test_log_append() -> None:
    found = _sane(journal.bench_append(appends=120, slow_s=0.001))
    assert found["log_append_disk_1ms_slower"].ratio is not None


def test_cli_status() -> None:
    assert _sane(startup.bench(rounds=1))["cli_status"].unit == "ms"


def test_cli_startup() -> None:
    assert len(_sane(startup.bench_starts(rounds=1))) == len(startup.STARTS)


def test_routeros_read() -> None:
    assert _sane(routeros_read.bench(rows=200, rounds=1))


def test_snmp_read() -> None:
    # That each of the three read every value, the benchmark itself insists on
    assert list(_sane(snmp_read.bench(devices=2, rows=3, rounds=1))) == ["snmp_read_2", "snmp_read_2_pysnmp"]


def test_billing_read() -> None:
    # That both read every account and invoice, the benchmark itself insists on
    found = _sane(billing_read.bench(accounts=20, invoices=40, rounds=1))
    assert list(found) == ["billing_read_20", "billing_read_20_memory"]


@pytest.mark.slow
def test_backup() -> None:
    found = _sane(backup.bench(events=3000, rounds=1, round_s=0.5))
    assert set(found) == {"backup_appends_p99", "backup_write", "backup_restore"}
    assert found["backup_appends_p99"].more["backups"] >= 1


@pytest.mark.slow
def test_start_ready() -> None:
    found = _sane(start_ready.bench(events=3000, services=20, rounds=1))
    assert set(found) == {"start_ready", "start_ready, cold"}
    assert all(r.more["MiB"] > 1 for r in found.values())


@pytest.mark.slow
def test_snmp_poll() -> None:
    # That every port was read, and nothing left out, the benchmark itself insists on
    try:
        program("snmpbulkwalk", "snmp")
    except ServerMissingError as err:
        missing(str(err))
    cpu, v3, _, turn = snmp_poll.bench(devices=3, ports=4, turns=1)
    assert cpu.more == {"varbinds": 3 * 4 * 23, "series": 3 * 4 * 9}
    assert min(cpu.value, v3.value, turn.value) > 0


@pytest.mark.slow
def test_routeros_write() -> None:
    # That every row was written, and of ours that every step was read back, the benchmark itself insists on
    found = _sane(routeros_write.bench(count=3, secrets=6))
    assert {"routeros_write_18", "routeros_write_18_cpu"} <= found.keys()
    if not routeros_write.has_ansible():
        assert "not measured" in found["routeros_write_18_ansible"].reference


def test_a_writer_that_wrote_nothing_is_found() -> None:
    def idle(at: object, secrets: int, folder: object) -> routeros_write.Spent:
        return routeros_write.Spent()

    with pytest.raises(BenchError, match="expected 2 rows with the new profile"):
        routeros_write._measured("nobody", 1, 2, idle)


@pytest.mark.slow
def test_routeros_held() -> None:
    memory, idle, opened = routeros_held.bench(count=6, processes=2, idle_s=0.1)
    assert (memory.name, idle.name, opened.name) == ("routeros_held_6", "routeros_held_6_idle", "routeros_held_6_open")
    # With so few the memory is the allocator's whim; that all stayed open the benchmark itself insists on
    assert opened.value > 0
    assert idle.more["seconds"] == 0.1


@pytest.mark.slow
def test_routers_batch() -> None:
    results = routers_batch.bench(services=120, batch=12, soak_s=0, pace=50)
    assert [r.value > 0 for r in results] == [True] * 3
    more = results[1].more
    assert (more["enforced"], more["suspended though not listed"], more["listed and let out"]) == (12, 0, 0)


@pytest.mark.slow
def test_cloud_submits() -> None:
    # That each message was taken, once, and is in the database, the benchmark itself insists on
    found = _sane(cloud_submit.bench(calls=64, rounds=1))
    assert list(found) == [f"cloud_submits_{n}" for n in cloud_submit.IN_FLIGHT]
    for result in found.values():
        assert result.reference_value is not None
        assert result.ratio == pytest.approx(result.value / result.reference_value)


@pytest.mark.slow
def test_cloud_connections() -> None:
    memory, idle = cloud_connections.bench(agents=24, settle_s=0, idle_s=0.1)
    assert (memory.name, idle.name) == ("cloud_connections_24", "cloud_connections_24_idle")
    assert memory.value > 0
    assert idle.value >= 0
    assert memory.more["RLIMIT_NOFILE"] > 24


@pytest.mark.slow
def test_cloud_storm() -> None:
    found = _sane(cloud_connections.bench_storm(agents=12))
    assert list(found) == ["cloud_storm_12_killed", "cloud_storm_12_drained"]
    # Nobody could have stayed: each had to dial again
    assert all(result.more["dials an agent"] >= 1 for result in found.values())


@pytest.mark.servers
@pytest.mark.slow
def test_cloud_approval(programs: None) -> None:
    found = _sane(cloud_approval.bench(rounds=2))["cloud_approval"]
    assert found.more["p95 ms"] >= found.value


@pytest.mark.slow
def test_acs(tmp_path: Path) -> None:
    # That each session set its parameter, the benchmark itself insists on
    found = _sane(acs.bench(sessions=200, known=8, rounds=1, profile=tmp_path / "profile"))
    assert list(found) == ["acs_8", "acs_8_cpu"]
    more = found["acs_8"].more
    assert more["POSTs a session"] == 4  # challenged, informed, asked, told
    assert more["least ratio of a round"] <= more["most"]
    assert {path.name for path in tmp_path.iterdir()} == {"profile", "profile.writer"}


@pytest.mark.slow
def test_acs_attack() -> None:
    status, freeze, served, memory = acs_attack.bench(peers=4, seconds=2.0)
    assert [result.name for result in (status, freeze, served, memory)] == [
        f"acs_attack_4_{what}" for what in ("status", "freeze", "served", "memory")
    ]
    assert status.more["calls"] >= 1
    assert freeze.value > 0
    assert served.more["served"] >= 1
    assert served.more["and listed"] == 1.0


@pytest.mark.slow
def test_more_sessions_at_once_than_cpe_overlap_at_none(tmp_path: Path) -> None:
    # Two sessions of one CPE would cut one off: 400 instead of 204
    with acs_site.acs(tmp_path, job="set", known=2) as server, acs_site.load(tmp_path, server) as cpes:
        told = cpes.ask(do="run", sessions=60, cpes=2, at_once=8)
        after = acs_site.stats(server)
    assert told["told"] == {"served": 60}
    assert (after["done"], after["lost"]) == (60, 0)


def test_a_cpe_with_a_session_is_not_drawn() -> None:
    idle, dice = acs_load.Idle(5, 3), random.Random(1)
    busy: list[int] = []
    for _ in range(200):
        if idle and (not busy or dice.random() < 0.6):
            busy.append(idle.take())
        else:
            idle.give_back(busy.pop(dice.randrange(len(busy))))
        assert len(set(busy)) == len(busy)
        assert set(busy) <= {5, 6, 7}
    assert len(busy) + len(idle) == 3


@pytest.mark.slow
def test_acs_fleet() -> None:
    # That each CPE was served in each storm, and once, the benchmark itself insists on
    results = acs_fleet.bench(virtual=1000, interval_s=10, seconds=0.1, sockets=240, paced_s=0.2, wait_scale=0.005)
    virtual, memory, storm, paced, opened, real = results
    assert virtual.more["intervals"] >= 1
    assert memory.more["after one interval"] > 0
    # 200 sessions, and 400 connections of CPE that have not proved who they are: of the others each was hung up on
    assert storm.more["sessions at most"] <= 200
    assert storm.more["let in at once"] <= 400
    assert storm.more["closed without a word"] >= 600
    assert paced.value > 0
    assert opened.name == "acs_fleet_240_open"
    assert real.more["let in at once"] >= 200


@pytest.mark.slow
def test_acs_tree() -> None:
    found = _sane(acs_tree.bench(rows=4, rounds=2))
    parsed, kept = found["acs_tree_parse"], found["acs_tree_keep"]
    assert parsed.ratio == pytest.approx(parsed.value / (parsed.reference_value or 0))
    assert kept.more["least"] <= kept.value <= kept.more["most"]
    assert found["acs_tree_values"].more["shown"] == acs_cpe.said(4).parameters


@pytest.mark.slow
def test_acs_malformed() -> None:
    core, memory, listener = acs_malformed.bench(count=400)
    assert core.met
    assert listener.met
    assert sum(core.more.values()) >= 400
    assert core.more["MalformedXmlError"]
    assert core.more["MalformedMessageError"]
    assert memory.more["after a tenth"] > 0
    assert listener.value == 20


def test_a_body_that_crashes_a_session_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(session: AcsSession, body: bytes) -> None:
        raise IndexError("broken")

    player = acs_malformed.Player(acs_cpe.said(4), seed=1)
    monkeypatch.setattr(AcsSession, "receive_untrusted", crash)
    player._session = AcsSession("new", 0.0)
    with pytest.raises(BenchError, match="IndexError: broken"):
        player.play()


def test_an_acs_that_answers_otherwise_is_found() -> None:
    steps = acs_cpe.session(acs_cpe.said(), 1)
    next(steps)
    with pytest.raises(BenchError, match="expected 200 InformResponse, got 500"):
        steps.send(acs_cpe.Answer(500, b"HTTP/1.1 500 ", b"oh"))


def test_the_program_prints_json_and_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "bench", lambda: [compared("x", "ratio <= 2", 3, "s", ("y", 2.0), limit=2, more={})])
    main(["cli_status", "--markdown"])
    first, *rows = capsys.readouterr().out.splitlines()
    assert json.loads(first)["ratio"] == 1.5
    assert rows[-1] == "| x | 3 s | y: 2 s | 1.5 | ratio <= 2 | yes |"


def test_an_aim_that_is_missed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    missed = compared("x", "ratio <= 2", 5, "s", ("y", 2.0), limit=2, more={"n": 1})
    assert missed.met is False
    assert "**no**" in table([missed])


def test_an_unknown_name_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "nonsense" in capsys.readouterr().err


def test_verify() -> None:
    try:
        (result,) = verify.bench(leaves=400, plans=5)
    except ServerMissingError as err:
        missing(str(err))
    else:
        _sane([result])
        assert result.more["leaves"] == 400


@pytest.mark.slow
def test_outage_view() -> None:
    (result,) = outage.bench(count=200, devices=4, times=1)
    assert (result.more["lines_found"], result.more["devices"]) == (200, 18)
    _sane([result])
