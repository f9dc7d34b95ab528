"""The whole ISP: who is online, its files, the control socket, the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tomllib
from contextlib import closing
from datetime import UTC, datetime

import pytest
import trio

from lab import files, population
from lab.control import LINE_BYTES_MAX, open_control
from lab.errors import LabError
from lab.faults import FaultKind
from lab.tests.labs import small_isp, somebody

AS_OF = datetime(2026, 11, 25, tzinfo=UTC)


def test_same_seed_gives_same_people_and_all_sorts_of_them():
    people = population.populate(900, 3, 5, AS_OF)
    assert people == population.populate(900, 3, 5, AS_OF)
    assert people != population.populate(900, 3, 6, AS_OF)
    assert len({s.login.lower() for s in people}) == 900
    assert len({(s.subscriber, s.service) for s in people}) == 900
    assert len({s.subscriber for s in people}) == 900 - 45
    assert {s.tariff for s in people} == set(population.TARIFFS)
    assert {s.nas for s in people} == {0, 1, 2}
    assert 80 < sum(float(s.balance) > 0 for s in people) < 200
    for some in (
        [s for s in people if not s.mapped],
        [s for s in people if not s.online],
        [s for s in people if s.protected],
        [s for s in people if s.feeds],
        [s for s in people if s.static4],
        [s for s in people if s.chap],
    ):
        assert 0 < len(some) < 900
    assert len({s.static4 for s in people if s.static4}) == sum(bool(s.static4) for s in people)


async def test_everybody_who_should_be_is_online_with_their_tariff(tmp_path):
    async with small_isp(tmp_path, services=60, nas=3) as isp:
        expected = {s.login: s for s in isp.services if s.mapped and s.online}
        sessions = {s.login: s for s in isp.sessions()}
        assert sessions.keys() == expected.keys()
        assert len(isp.sessions()) == len(sessions)
        for login, s in sessions.items():
            assert s.policy.rate_limit == expected[login].tariff.rate
            assert s.reaches_internet()
            assert expected[login].static4 in ("", str(s.lease.address4))
        rows = await isp.database.fetch(
            "SELECT username, acctsessionid, framedipaddress, framedipv6prefix, delegatedipv6prefix "
            "FROM radacct WHERE acctstoptime IS NULL"
        )
        assert {tuple(r) for r in rows} == {
            (s.login, s.session_id, str(s.lease.address4), str(s.lease.framed6), str(s.lease.delegated6))
            for s in sessions.values()
        }


async def test_another_process_reads_and_writes_the_tables_meanwhile(tmp_path):
    async with small_isp(tmp_path) as isp:
        login = somebody(isp).login
        with closing(sqlite3.connect(tmp_path / "radius.db", timeout=5)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute(
                "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, 'suspended', -1)", (login,)
            )
            # readers do not wait for a writer (WAL)
            with trio.fail_after(60):
                rows = await isp.database.fetch("SELECT COUNT(*) FROM radusergroup WHERE groupname = 'suspended'")
            assert rows == [(0,)]
            other.commit()
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert not (await isp.dial(login)).reaches_internet()


async def test_files(tmp_path):
    async with small_isp(tmp_path, services=120) as isp:
        files.write_files(isp)
        rows = list(csv.DictReader(io.StringIO((tmp_path / "subscribers.csv").read_text("utf-8"))))
        assert list(rows[0]) == list(files.COLUMNS)
        assert [(r["login"], r["name"], r["tariff"]) for r in rows] == [
            (s.login, s.name, s.tariff.name) for s in isp.services
        ]
        assert {r["method"] for r in rows} == {"pppoe"}
        mapping = tomllib.loads((tmp_path / "mapping.toml").read_text("utf-8"))
        lab = json.loads((tmp_path / "lab.json").read_text("utf-8"))
        assert mapping["radius"]["main"]["path"] == str(tmp_path / "radius.db")
        for name, nas in isp.nas.items():
            section = mapping["nas"][name]
            assert section["dynauth_port"] == nas.dynauth_port
            assert lab["secrets"][section["secret"]] == nas.options.secret.decode()
            assert nas.options.secret.decode() not in (tmp_path / "mapping.toml").read_text("utf-8")
        method = mapping["method"]["pppoe"]
        groups = await isp.database.fetch("SELECT DISTINCT groupname FROM radgroupreply")
        assert {*method["tariffs"].values(), mapping["radius"]["main"]["marker_group"]} == {g for (g,) in groups}
        assert {r["tariff"] for r in rows} <= method["tariffs"].keys()
        marker = await isp.database.fetch("SELECT attribute, value FROM radgroupreply WHERE groupname = 'suspended'")
        assert method["suspended_reply"].items() <= dict(marker).items()
        for name in ("lab.json", "mapping.toml", "subscribers.csv", "radius.db"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


async def test_mapping_fits_the_agents_types(tmp_path):
    """The one place where the lab's words meet the agent's: every key is a field of its dataclasses."""
    schema = pytest.importorskip("agent.connectors.radius.schema")
    async with small_isp(tmp_path) as isp:
        mapping = tomllib.loads(files.mapping_toml(isp))
    for section, kind in (("radius", schema.SqlTarget), ("nas", schema.Nas), ("method", schema.Method)):
        for values in mapping[section].values():
            assert values.keys() <= set(kind.__dataclass_fields__)


async def talk(path, *commands):
    async with await trio.open_unix_socket(str(path)) as stream:
        answers = []
        for command in commands:
            await stream.send_all(command if isinstance(command, bytes) else json.dumps(command).encode() + b"\n")
            got = b""
            while not got.endswith(b"\n"):
                try:
                    chunk = await stream.receive_some()
                except trio.BrokenResourceError:  # closed on us with octets unread
                    chunk = b""
                if not chunk:
                    return [*answers, None]
                got += chunk
            answers.append(json.loads(got))
        return answers


async def test_control_socket(tmp_path):
    async with small_isp(tmp_path) as isp, open_control(isp, tmp_path / "lab.sock") as stop:
        session = somebody(isp)
        login, path = session.login, tmp_path / "lab.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (one,) = await talk(path, {"do": "sessions", "login": login})
        assert one["sessions"][0]["session_id"] == session.session_id
        everyone, fault = await talk(path, {"do": "sessions"}, {"do": "fault", "login": login, "fault": "nak:503"})
        assert len(everyone["sessions"]) == len(isp.sessions())
        assert fault == {"ok": True}
        assert isp.nas_of(login).faults.get(FaultKind.NAK, login) is not None
        ended, dialed = await talk(path, {"do": "hangup", "login": login}, {"do": "dial", "login": login})
        assert ended["ended"] == 1
        assert dialed["session"]["session_id"] == isp.sessions(login)[0].session_id != session.session_id
        received, cleared = await talk(path, {"do": "received"}, {"do": "fault", "fault": "none"})
        assert received["received"] == []
        assert cleared["ok"]
        assert isp.nas_of(login).faults.get(FaultKind.NAK, login) is None
        assert not stop.is_set()
        await talk(path, {"do": "stop"})
        assert stop.is_set()
    assert not (tmp_path / "lab.sock").exists()


@pytest.mark.parametrize(
    "command",
    [
        b"not json\n",
        b"[1]\n",
        b"5\n",
        b"\xff\n",
        b"[" * 5000 + b"\n",
        {"do": "fly"},
        {},
        {"do": "fault", "fault": "gremlins"},
        {"do": "dial", "login": "nobody"},
        {"do": "fault", "fault": "silence", "login": "nobody"},
    ],
)
async def test_control_socket_refuses_with_a_reason_and_goes_on(tmp_path, command):
    async with small_isp(tmp_path, services=2) as isp, open_control(isp, tmp_path / "lab.sock"):
        refused, fine = await talk(tmp_path / "lab.sock", command, {"do": "sessions"})
        assert refused["ok"] is False
        assert "expected" in refused["error"]
        assert fine["ok"]


async def test_control_socket_drops_endless_line_and_path_too_long(tmp_path):
    async with small_isp(tmp_path, services=2) as isp:
        async with open_control(isp, tmp_path / "lab.sock"):
            assert await talk(tmp_path / "lab.sock", b"x" * (LINE_BYTES_MAX + 70000)) == [None]
            (fine,) = await talk(tmp_path / "lab.sock", {"do": "sessions"})
            assert fine["ok"]
        with pytest.raises(LabError, match="107"):
            async with open_control(isp, tmp_path / ("d" * 120)):
                pass


async def test_too_many_nas(tmp_path):
    with pytest.raises(LabError, match="16"):
        async with small_isp(tmp_path, nas=17):
            pass


def start(folder, *more):
    command = [sys.executable, "-m", "lab", "isp", "--dir", str(folder), "--subscribers", "30", "--nas", "2", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "stop"])
def test_the_command_line_starts_says_ready_and_leaves_nothing(tmp_path, how):
    with start(tmp_path / "lab") as process:
        try:
            ready = process.stdout.readline()
            assert "30 services" in ready
            assert json.loads((tmp_path / "lab" / "lab.json").read_text("utf-8"))["nas"][1]["name"] == "bng-2"
            if how == "stop":
                assert trio.run(talk, tmp_path / "lab" / "lab.sock", {"do": "stop"})[0]["ok"]
            else:
                os.kill(process.pid, getattr(signal, how))
            assert process.wait(20) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert not (tmp_path / "lab" / "lab.sock").exists()


def test_the_command_line_starts_routers(tmp_path):
    with start(tmp_path / "lab", "--routers", "--router-version", "7.15.3") as process:
        try:
            assert "28 online" in process.stdout.readline()
            mapping = tomllib.loads((tmp_path / "lab" / "mapping.toml").read_text("utf-8"))
            assert set(mapping["routeros"]) == {"bng-1", "bng-2"}
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_a_start_that_fails_says_why_in_one_line(tmp_path):
    with start(tmp_path / "lab", "--database", "postgresql://127.0.0.1:1/radius") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("lab: postgresql")
    with start(tmp_path / "lab", "--database", "oracle://x") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1


def test_a_password_that_is_not_in_the_address_is_asked_for(tmp_path):
    own, its = os.openpty()
    command = [sys.executable, "-m", "lab", "isp", "--dir", str(tmp_path / "isp")]
    with subprocess.Popen(
        [*command, "--database", "postgresql://radius@127.0.0.1:1/radius"],
        stdin=its, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as lab:  # fmt: skip
        os.close(its)
        assert lab.stdout.read(len("password of radius at 127.0.0.1:1: ")) == "password of radius at 127.0.0.1:1: "
        os.write(own, b"hunter2\n")
        said = lab.stdout.read()
    os.close(own)
    assert "postgresql" in said
    assert "hunter2" not in said
    assert lab.returncode == 1
