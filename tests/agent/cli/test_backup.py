"""`ispagent backup`, `backup verify`, `restore`: as an operator types them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.store.last_backup import LastBackup, write_last
from tests.agent.store.backup_site import Site
from tests.builders.age_files import Owner
from tests.builders.agent import agent_in
from tests.builders.answers import checked, unix_of
from tests.builders.own_process import spare_this_process
from tests.builders.terminal import Terminal
from tests.builders.world import World


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tmp_path)
    write_config(made)
    monkeypatch.setenv("ISPAGENT_CONFIG", str(tmp_path / "agent.toml"))
    spare_this_process(monkeypatch)
    yield made
    made.close()


def write_config(site: Site, more: str = "") -> None:
    text = f'[agent]\nname = "noc-1"\nstate_dir = "{site.state}"\norigin = "test.local/agent/a"\n{more}'
    (site.folder / "agent.toml").write_text(text)


class Typed:
    def __init__(self, *args: object, stdin: bytes = b"") -> None:
        done = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        self.code, self.out, self.err = done.exit_code, done.stdout, done.stderr


async def test_back_up_verify_restore(site: Site, tmp_path: Path) -> None:
    await site.work(3, "C-1")
    key = site.owner.key_file(tmp_path)
    made = Typed("backup", "--to", tmp_path / "b.age", "--recipient", site.owner.public)
    assert made.code == 0, made.err
    assert made.out.splitlines()[0] == f"data      {tmp_path}/b.age: 0 MiB, 3 leaves of the log"
    assert f"keys      {tmp_path}/b.keys.age" in made.out
    assert "NOT RECORDED: no agent listens" in made.out
    before = {path.name for path in Path(tempfile.gettempdir()).iterdir()}
    proven = Typed("backup", "verify", tmp_path / "b.age", "--identity", key)
    assert proven.code == 0, proven.err
    assert "agent     noc-1 (" in proven.out
    assert "3 leaves hash to " in proven.out
    assert "no checkpoint was signed yet" in proven.out
    assert not [n for n in {p.name for p in Path(tempfile.gettempdir()).iterdir()} - before if "verify" in n]
    (tmp_path / "new").mkdir()
    restored = Typed(
        "restore", "--from", tmp_path / "b.age", "--identity", "-", "--into", tmp_path / "new", stdin=key.read_bytes()
    )
    assert restored.code == 0, restored.err
    assert "unused changes are void" in restored.out
    assert (tmp_path / "new" / "identity").exists()


async def test_as_json(site: Site, tmp_path: Path) -> None:
    await site.work(2)
    key, to = site.owner.key_file(tmp_path), tmp_path / "b.age"
    typed = Typed("backup", "--to", to, "--keys-to", tmp_path / "k", "--recipient", site.owner.public, "--json")
    made = checked(json.loads(typed.out))
    assert (made["data"], made["keys"], made["log_size"], made["recorded"]) == (str(to), str(tmp_path / "k"), 2, False)
    more = ("--keys", tmp_path / "k", "--identity", key, "--json")
    proven = checked(json.loads(Typed("backup", "verify", to, *more).out))
    assert proven["made_at"] == proven["keys_made_at"] == made["made_at"]
    assert unix_of(proven["since"]) <= unix_of(proven["made_at"])
    assert (proven["log"]["size"], proven["name"]) == (2, "noc-1")
    (tmp_path / "new").mkdir()
    again = json.loads(Typed("restore", "--from", to, "--into", tmp_path / "new", *more).out)
    assert again == proven


async def test_by_the_configuration_and_what_goes(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.work()
    for name in ("data", "keys"):
        (tmp_path / name).mkdir()
    recipients = f'recipients = ["{site.owner.public}"]'
    write_config(site, f'[backup]\n{recipients}\nto = "data"\nkeys_to = "keys"\nkeep = 2\n')
    for hour in range(4):
        monkeypatch.setattr("time.time", lambda hour=hour: 1_795_860_000 + hour * 3600)
        said = Typed("backup")
        assert said.code == 0, said.err
    assert "deleted   " in said.out
    assert len(list((tmp_path / "data").iterdir())) == 2
    assert len(list((tmp_path / "keys").iterdir())) == 4
    monkeypatch.setattr("time.time", lambda: 1_795_860_000 - 3600)  # the clock went back
    said = Typed("backup")
    assert (said.code, "the folder was not tidied up" in said.err, "look at the clock" in said.err) == (4, True, True)
    assert len(list((tmp_path / "data").iterdir())) == 3


async def test_keys_go_in_time_also_where_no_backup_can_be_made(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.work()
    write_config(site, f'[backup]\nrecipients = ["{site.owner.public}"]\nto = "."\nkeys_days = 1\n')
    for day in range(2):
        monkeypatch.setattr("time.time", lambda day=day: 1_795_860_000 + day * 3600)
        assert Typed("backup").code == 0
    assert len(list(tmp_path.glob("*.keys.age"))) == 2
    monkeypatch.setattr("agent.store.backup.SPARE_BYTES", 1 << 60)
    monkeypatch.setattr("time.time", lambda: 1_795_860_000 + 86_400 * 9)
    said = Typed("backup")
    assert (said.code, "make room" in said.err) == (1, True)
    assert len(list(tmp_path.glob("noc-1-*Z.age"))) == 2
    assert len(list(tmp_path.glob("*.keys.age"))) == 1


async def test_what_is_refused(site: Site, tmp_path: Path) -> None:
    await site.work()
    secret = site.owner.secret
    for args, code, says in (
        (("backup",), 2, "expected --to FILE"),
        (("backup", "--to", tmp_path / "b.age"), 2, "expected --recipient"),
        (("backup", "--keys-to", tmp_path / "b.age"), 2, "expected --to FILE with --keys-to"),
        (("backup", "--to", tmp_path / "b.age", "--recipient", "age1x"), 2, "recipient 1: expected a public key"),
        (("backup", "--to", tmp_path / "b.age", "--recipient", secret), 2, "got a secret key"),
        (("backup", "--to", tmp_path / "none" / "b", "--recipient", site.owner.public), 1, "No such file"),
    ):
        said = Typed(*args)
        assert (said.code, says in said.err) == (code, True), said.err
        assert secret[20:] not in said.err
    Typed("backup", "--to", tmp_path / "b.age", "--recipient", site.owner.public)
    key, other = site.owner.key_file(tmp_path), tmp_path / "other.key"
    other.write_text(Owner().secret)
    (tmp_path / "sealed.key").write_bytes(b"age-encryption.org/v1\n-> scrypt x")
    for args, code, says in (
        (("verify", tmp_path / "b.age", "--identity", other), 3, "sealed to another recipient"),
        (("verify", tmp_path / "b.age", "--identity", tmp_path / "sealed.key"), 2, "age --decrypt KEYFILE | …"),
        (("verify", tmp_path / "b.age", "--identity", tmp_path / "none"), 2, "cannot be read"),
        (("verify", tmp_path / "none.age", "--identity", key), 1, "none.keys.age: cannot be read"),
        (
            ("verify", tmp_path / "b.keys.age", "--identity", key),
            2,
            "these are the keys of a backup: expected its data",
        ),
    ):
        said = Typed("backup", *args)
        assert (said.code, says in said.err) == (code, True), said.err
    said = Typed("restore", "--from", tmp_path / "b.age", "--identity", key, "--into", site.state)
    assert (said.code, "expected an empty directory" in said.err) == (1, True)


def test_a_mistake_in_the_configuration_repeats_no_key(site: Site) -> None:
    secret = site.owner.secret
    write_config(site, f'[backup]\nrecipients = ["{secret}"]\n')
    said = Typed("backup")
    assert said.code == 2
    assert "backup.recipients: expected a list of at most 16 public keys" in said.err
    assert secret[20:40] not in said.err
    write_config(site, '[backup]\nkeys_to = "/k"\n')
    assert "backup.to: missing; expected a folder for the data" in Typed("backup").err


async def test_its_age_is_told_when_no_agent_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.work()
    assert "backup: no backup was ever made here" in Typed("doctor").out
    Typed("backup", "--to", site.folder / "b.age", "--recipient", site.owner.public)
    said = Typed("doctor").out
    assert (said.count("backup: the newest was made"), "of 1 leaves" in said) == (1, True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "run this as root" in Typed("doctor").out


# --- with a running agent ---


async def test_it_is_in_the_log_and_in_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"pair": "ab" * 16, "leaves": 5, "recipients": ["age1x"]}
    async with agent_in(tmp_path, World()) as agent:
        admin, maria = Terminal(agent, monkeypatch, os.getuid()), Terminal(agent, monkeypatch)
        assert "backup " not in (await admin.type("status")).out
        assert "backup: no backup was ever made here" in (await admin.type("doctor")).out
        assert (await admin._answer("POST", "/v1/backups", body)).status == 200
        for wrong in ({"pair": "ab"}, {"leaves": -1}, {"more": 1}):
            assert (await admin._answer("POST", "/v1/backups", {**body, **wrong})).status == 400
        assert (await maria._answer("POST", "/v1/backups", body)).status == 403
        assert f"backup by uid {os.getuid()}, sealed to age1x" in (await admin.type("audit", "list")).out
        now_s = int(agent.daemon.clock.wall_s())
        write_last(agent.daemon.config.state_dir, LastBackup(now_s, "ab" * 16, 5, "b", "k", 1, ("age1x",)))
        assert ", 5 leaves" in (await admin.type("status")).out
        assert "backup: the newest was made" in (await admin.type("doctor")).out


async def test_where_backups_are_configured_and_none_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = f'[backup]\nrecipients = ["{Owner().public}"]\n'
    async with agent_in(tmp_path, World(), more=more) as agent:
        admin = Terminal(agent, monkeypatch, os.getuid())
        (tmp_path / "agent.toml").write_text(f'[agent]\nname = "noc-1"\nstate_dir = "{tmp_path}"\n{more}')
        monkeypatch.setenv("ISPAGENT_CONFIG", str(tmp_path / "agent.toml"))
        status = await admin.type("status")
        assert "BACKUP   no backup was ever made here: ispagent doctor" in status.out
        assert "state    DEGRADED" in status.out
        doctor = await admin.type("doctor")
        assert (doctor.code, doctor.out.count("ispagent-backup.timer")) == (5, 1), "of both who know it one tells it"
