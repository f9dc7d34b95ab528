"""SIGHUP to a running agent: what it takes, what it refuses, and that it goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.e2e.files import Files, bare_files
from tests.e2e.site import AgentProgram, program

pytestmark = pytest.mark.slow


def logged(agent: AgentProgram, text: str, times: int = 1) -> str:
    until = time.monotonic() + 60
    while (log := agent.log.read_text()).count(text) < times:
        assert not agent.ended
        assert time.monotonic() < until, log
        time.sleep(0.05)
    return log


def test_a_reload_takes_people_and_refuses_the_rest(tmp_path: Path) -> None:
    files: Files = bare_files(tmp_path)
    good, socket = files.config.read_text(), files.socket
    with program(files) as agent:
        files.config.write_text(good.replace(f'{os.getuid()} = "maria"', f'{os.getuid()} = "lena"'))
        agent.reload()
        logged(agent, "the configuration was read again")
        files.config.write_text(good.replace("[policy]", "[polcy]"))
        agent.reload()
        log = logged(agent, "the configuration stays as it was")
        assert "polcy" in log
        assert "***" not in log
        status = files.cli("status", env=files.env(ISPAGENT_SOCKET=str(socket)))
        assert status.code == 5, status
        assert "CONFIG   " in status.out
        files.config.write_text(good)
        agent.reload()
        logged(agent, "the configuration was read again", 2)
        assert "CONFIG   " not in files.cli("status").out
