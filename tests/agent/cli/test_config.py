"""`ispagent config check`, and who may make the daemon's files."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
import typer

from agent.cli import client, config, local
from agent.store.mark_file import LogMark
from agent.store.vault import Vault, load_store_key

GOOD = '[agent]\nname = "noc-1"\nstate_dir = "state"\n'


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = 0
    try:
        config.check(config=path)
    except typer.Exit as ended:
        code = ended.exit_code
    return code, capsys.readouterr().out


def test_a_good_file_on_a_machine_that_is_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "agent.toml"
    path.write_text(f'{GOOD}[people]\n4000000000 = "lena"\n')
    code, said = check(path, capsys)
    assert code == 0
    assert "note: people.4000000000: lena has no user on this machine" in said
    assert said.endswith("agent.toml: the daemon can run with it\n")


def test_every_mistake_is_named_and_the_exit_code_is_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[agent]\nnam = "x"\n[policy]\npace = 0\n')
    code, said = check(path, capsys)
    assert code == client.USAGE
    assert len(said.splitlines()) >= 3
    path.write_text(f'{GOOD}socket = "no/such/folder/agent.sock"\nsocket_group = "no-such-noc"\n')
    (tmp_path / "state").mkdir()
    code, said = check(path, capsys)
    assert code == client.USAGE
    assert "groupadd --system no-such-noc" in said
    assert "RuntimeDirectory=folder" in said
    with pytest.raises(typer.Exit):
        config.check(config=path, as_json=True)
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_init_and_run_by_another_user_than_daemons_make_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    path = tmp_path / "agent.toml"
    path.write_text(GOOD)
    for command in (lambda: local.init(config=path, enroll=tmp_path / "e.json"), lambda: local.run(config=path)):
        with pytest.raises(typer.Exit) as ended:
            command()
        assert ended.value.exit_code == client.USAGE
        assert "belongs to nobody, and this is root" in capsys.readouterr().err
    assert list(state.iterdir()) == []
    assert not (tmp_path / "e.json").exists()


def test_init_restored_has_next_start_take_state_for_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state-mark").mkdir()
    (tmp_path / "state-mark" / "mark").write_bytes(b"of an agent that was here before")
    path = tmp_path / "agent.toml"
    path.write_text(GOOD)
    local.init(config=path, enroll=tmp_path / "e.json")
    assert not (tmp_path / "state-mark" / "mark").exists()
    with closing(Vault(load_store_key(tmp_path / "state" / "store.key"), tmp_path / "state" / "keys.db")) as vault:
        vault.raise_mark(LogMark(7, bytes(32)))
    capsys.readouterr()
    local.init(config=path, enroll=tmp_path / "not there" / "again.json", restored=True)  # it has nothing to enrol
    said = capsys.readouterr().out
    assert "unused changes are void" in said
    assert "enrolment" not in said
    with closing(Vault(load_store_key(tmp_path / "state" / "store.key"), tmp_path / "state" / "keys.db")) as vault:
        mark = vault.mark()
    assert mark is not None
    assert mark[0] == 7
    assert mark[1] != bytes(32), "of no log that ever was"


def test_init_makes_no_second_store_key_where_first_is_sealed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "agent.toml"
    path.write_text(GOOD)
    local.init(config=path, enroll=tmp_path / "e.json")
    (tmp_path / "state" / "store.key").rename(tmp_path / "sealed")
    with pytest.raises(typer.Exit) as ended:
        local.init(config=path, enroll=tmp_path / "again.json")
    assert ended.value.exit_code == client.FAILED
    assert "a sealed key is opened for the service alone" in capsys.readouterr().err
    assert not (tmp_path / "state" / "store.key").exists()
