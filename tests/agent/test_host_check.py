"""What the machine must have: each mistake is named with what mends it, before anything is made."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from agent import host_check
from agent.config import AgentConfig, ConfigError, parse_untrusted
from agent.socket_place import SOCKET

NOBODY = pwd.getpwnam("nobody")


def config(folder: Path, agent: str = "", more: str = "") -> AgentConfig:
    text = f'[agent]\nname = "noc-1"\nstate_dir = "{folder}/state"\n{agent}\n{more}'
    return parse_untrusted(text.encode(), folder / "agent.toml", {})


def test_only_owner_of_state_directory_makes_files_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert host_check.owner_problem(tmp_path, os.geteuid()) == ""
    other = host_check.owner_problem(tmp_path, NOBODY.pw_uid)
    assert f"belongs to {host_check.user_name(os.geteuid())}, and this is nobody" in other
    assert "sudo -u " in other


def test_root_makes_no_state_directory(tmp_path: Path) -> None:
    missing = tmp_path / "state"
    assert "install -d -o ispagent -m 0700" in host_check.owner_problem(missing, 0)
    assert host_check.owner_problem(missing, 1234) == ""  # a user who makes it owns it


@pytest.mark.parametrize(
    ("agent", "problem"),
    [
        ("", []),
        ('socket = "/nowhere/at/all/agent.sock"', ["RuntimeDirectory=all in the unit"]),
        ('mark_file = "/nowhere/at/all/mark"', ["StateDirectory=all in the unit"]),
        (
            'socket = "SHARED/agent.sock"\nsocket_group = "no-such-noc"',
            ["there is no no-such-noc: groupadd --system no-such-noc"],
        ),
    ],
)
def test_what_is_missing_is_named(agent: str, problem: list[str], tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    found = list(host_check.problems(config(tmp_path, agent.replace("SHARED", str(tmp_path))), os.geteuid()))
    assert len(found) == len(problem)
    for text, part in zip(found, problem, strict=True):
        assert part in text


def test_daemon_that_is_not_in_group_cannot_give_it_socket(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    group = next(g.gr_name for g in grp.getgrall() if g.gr_name != "nogroup" and "nobody" not in g.gr_mem)
    made = config(tmp_path, f'socket = "{tmp_path}/agent.sock"\nsocket_group = "{group}"')
    texts = list(host_check.problems(made, NOBODY.pw_uid))
    assert any(f"nobody is not a member of {group}" in t and "usermod --append --groups" in t for t in texts)


def test_a_group_and_a_socket_that_it_can_never_reach(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"agent\.socket: expected a path outside state_dir.*the group noc"):
        config(tmp_path, 'socket_group = "noc"')
    assert config(tmp_path, f'socket_group = "noc"\nsocket = "{SOCKET}"').socket == SOCKET


def test_notes_on_people_and_billing(tmp_path: Path) -> None:
    group = next(g.gr_name for g in grp.getgrall() if g.gr_gid != NOBODY.pw_gid and "nobody" not in g.gr_mem)
    made = config(
        tmp_path,
        f'socket = "{tmp_path}/agent.sock"\nsocket_group = "{group}"',
        f'[people]\n4000000000 = "lena"\n{NOBODY.pw_uid} = "maria"\n[billing]\nfile = "no.csv"\n',
    )
    lena, maria, billing = host_check.notes(made)
    assert "people.4000000000: lena has no user" in lena
    assert f"maria (nobody) is not a member of {group}" in maria
    assert "no.csv yet" in billing


def test_people_whom_a_user_namespace_hides_are_named() -> None:
    identity = "         0          0      65536\n"  # PrivateUsers=identity
    assert list(host_check._uid_problems([0, 1001, 65_535], identity)) == []
    (problem,) = host_check._uid_problems([1001, 65_536], identity)
    assert problem.startswith("people.65536: the service's user namespace has no such uid")
    assert list(host_check._uid_problems([70_000], "0 0 4294967295\n")) == []
    assert len(list(host_check._uid_problems([0, 5], "1 100000 4\n6 7 1\n"))) == 2
