"""A command finds the socket where the daemon has it, without the rest of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import parse_untrusted
from agent.socket_place import MAX_BYTES, SOCKET, find_socket


@pytest.mark.parametrize(
    "lines",
    [
        "",
        'socket = "/srv/agent.sock"',
        'socket = "agent.sock"',
        'state_dir = "state"',
        'state_dir = "/var/lib/ispagent"',
        'state_dir = "/srv/state"\nsocket = ""',
        'state_dir = "state"\nsocket = "run/agent.sock"',
    ],
)
def test_it_is_where_the_daemon_binds_it(lines: str, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[agent]\nname = "noc-1"\n{lines}\n')
    assert find_socket(config) == parse_untrusted(config.read_bytes(), config, {}).socket


def test_a_mistake_elsewhere_hides_it_from_nobody(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[agent]\nnmae = 1\n[polcy]\n")
    assert find_socket(config) == SOCKET


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[agent",
        b"agent = 1",
        b"[agent]\nsocket = 1",
        b"[agent]\nsocket = 'a\tb'",
        b"[agent]\nstate_dir = ''",
        b"[agent]\nstate_dir = []",
        b"[agent]\nname = '\xff'",
        b"a = " + b"[" * 5000,
        b"[agent]\n#" + b"-" * MAX_BYTES,
    ],
)
def test_what_cannot_be_read_is_left_to_the_whole_reader(data: bytes, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_bytes(data)
    assert find_socket(config) is None


def test_a_file_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    assert find_socket(tmp_path / "agent.toml") is None
