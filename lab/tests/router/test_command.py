"""`python -m lab router` as a person runs it."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

import librouteros
import pytest
from librouteros.exceptions import TrapError

from lab.__main__ import main
from lab.router.command import add_arguments, describe, make_router
from lab.router.server import Endpoint
from lab.tests.router.data import recorded


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


def made_from(path, *more):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return make_router(parser.parse_args(["--from", str(path), *more]))


def test_the_clients_of_static_leases_come_too():
    path = recorded("rsc/routeros-diff-verbose_export-6.48.1.rsc")
    router, report = made_from(path, "--sessions", "100")
    # six leases, two of them of one client on two servers
    assert [client.online for client in router.dhcp.clients.values()] == [True] * 5
    said = describe(router, Endpoint("127.0.0.1", 1), "x", report).splitlines()
    assert said[-1] == "bound        5 of 5 DHCP clients"
    assert [row["status"] for row in router.rows("/ip/dhcp-server/lease")] == ["bound"] * 5 + ["waiting"]
    assert len(made_from(path, "--sessions", "2")[0].dhcp.clients) == 2
    assert not made_from(path)[0].dhcp.clients


def test_a_lease_without_a_server_or_switched_off_has_no_client(tmp_path):
    export = tmp_path / "e.rsc"
    export.write_text(
        "/ip pool\nadd name=p ranges=10.0.0.2-10.0.0.9\n"
        "/ip dhcp-server\nadd name=d interface=ether1 address-pool=p\n"
        "/ip dhcp-server lease\n"
        "add address=10.0.0.5 mac-address=02:00:00:00:00:05 server=d\n"
        "add address=10.0.0.6 mac-address=02:00:00:00:00:06\n"
        "add address=10.0.0.7 mac-address=02:00:00:00:00:07 server=gone\n"
        "add address=10.0.0.8 mac-address=02:00:00:00:00:08 disabled=yes\n"
        "add address=10.0.0.9 mac-address=02:00:00:00:00:09 block-access=yes\n"
    )
    router, report = made_from(export, "--sessions", "9")
    said = describe(router, Endpoint("127.0.0.1", 1), "x", report).splitlines()
    assert said[-2:] == ["bound        2 of 3 DHCP clients", "  refused: the lease is blocked"]


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
