"""`python -m lab router` as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import librouteros
import pytest
from librouteros.exceptions import TrapError

from lab.__main__ import main
from tests.lab.router.data import recorded


def lines_until_online(process) -> dict[str, str]:
    said: dict[str, str] = {}
    while "online" not in said:
        line = process.stdout.readline()
        assert line, f"no more output after {said}"
        name, _, rest = line.partition(" ")
        said[name] = rest.strip()
    return said


def test_an_export_is_rehearsed_on():
    export = recorded("rsc/synthetic-wisp-v7.rsc")
    command = [sys.executable, "-m", "lab", "router", "--from", str(export), "--sessions", "5", "--plain"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            said = lines_until_online(process)
            assert said["router"] == "POP1 BNG, RouterOS 7.20.8, CCR2004-1G-12S+2XS"
            assert said["loaded"] == "664 statements, 1 not known to this version"
            assert said["online"] == "5 of 5 CPE"
            api = librouteros.connect(
                host=said["host"], port=int(said["port"]), username=said["user"], password=said["password"], timeout=20
            )
            assert len(tuple(api("/ppp/active/print"))) == 5
            api.close()
            # admin has no password, so it is shut
            leaked = []
            shut = {"host": said["host"], "port": int(said["port"]), "username": "admin", "password": "", "timeout": 20}
            with pytest.raises(TrapError, match="invalid user name"):
                librouteros.connect(**shut, ssl_wrapper=lambda sock: leaked.append(sock) or sock)
            leaked[0].close()
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["router", "--version", "new"], "expected a RouterOS version"),
        (["router", "--from", "/does/not/exist.rsc"], "No such file"),
    ],
)
def test_what_cannot_start_says_why(argv, why, capsys):
    assert main(argv) == 1
    assert why in capsys.readouterr().err


def test_a_file_that_is_no_export(tmp_path, capsys):
    bad = tmp_path / "bad.rsc"
    bad.write_text("/ip address\nadd address=[:pick 1]\n")
    assert main(["router", "--from", str(bad)]) == 1
    assert "line 2" in capsys.readouterr().err
