"""`python -m lab snmp` and its control socket."""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from lab.__main__ import main
from lab.snmp.command import add_arguments, make_devices, read_place
from lab.snmp.control import Control, answer_untrusted
from lab.snmp.errors import SnmpLabError
from lab.snmp.network import build_network
from lab.snmp.server import open_snmp_lab
from lab.tests.snmp import netsnmp
from lab.tests.snmp.devices import IF, SYS, switch
from lab.tests.snmp.test_network import customers

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1", ("127.0.0.1", 0)),
        ("127.0.0.1:161", ("127.0.0.1", 161)),
        ("[::1]:99", ("::1", 99)),
        ("[::1]", ("::1", 0)),
    ],
)
def test_a_place(text, place):
    assert read_place(text) == place


@pytest.mark.parametrize("text", ["", "::1", "localhost", "127.0.0.1:", "127.0.0.1:1234567"])
def test_a_place_that_is_none(text):
    with pytest.raises(SnmpLabError, match="expected"):
        read_place(text)


async def test_from_the_command_line_to_a_walk_and_stop(tmp_path):
    (tmp_path / "sw.snmprec").write_text(f"{SYS}.5.0|4|sw\n")
    command = [sys.executable, "-m", "lab", "snmp", "--recordings", str(tmp_path), "--times", "2", "--listen", "[::1]"]
    command += ["--control", str(tmp_path / "c"), "--fault", "delay:0.01"]
    run = partial(trio.run_process, command, stdout=-1, cwd=ROOT)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            process = await nursery.start(run)
            said = b""
            while b"context" not in said:
                said += await process.stdout.receive_some()
            port = int(re.search(rb"address +::1:([0-9]+)", said)[1])
            got = await netsnmp.ask("snmpget", ["-v2c", "-c", "sw-2"], ("udp6:[::1]", port), f"{SYS}.5.0")
            assert "73 77" in got
            async with await trio.open_unix_socket(tmp_path / "c") as stream:
                await stream.send_all(b'{"do": "stop"}\n')
                assert json.loads(await stream.receive_some()) == {"ok": True}
        assert process.returncode == 0


def test_a_folder_without_recordings_is_an_error_in_one_line(tmp_path, capsys):
    assert main(["snmp", "--recordings", str(tmp_path)]) == 1
    assert "expected files *.snmprec" in capsys.readouterr().err


async def test_what_the_control_socket_does():
    network = build_network(customers(5))
    async with open_snmp_lab([*network.devices, switch()]) as lab:
        control = Control(lab, network)

        def do(**command: object) -> dict[str, object]:
            return json.loads(answer_untrusted(control, json.dumps(command).encode()))

        assert len(do(do="devices")["devices"]) == 6
        assert do(do="fault", device="sw-1", fault="silence")["ok"]
        assert (lab["sw-1"].faults.silence, lab["core-1"].faults.silence) == (True, False)
        assert do(do="fault", fault="loss:3")["ok"]
        assert lab["core-1"].faults.loss_percent == 3
        assert do(do="link", device="sw-1", port="ge-2", up=False)["ok"]
        assert lab["sw-1"].get(f"{IF}.8.2").number() == 2
        for action in ("wrap", "reset"):
            assert do(do=action, device="sw-1", port=1)["ok"]
        assert do(do="fade", device="sw-1", oid=f"{IF}.8.1", to=2, seconds=0)["ok"]
        assert lab["sw-1"].get(f"{IF}.8.1").number() == 2
        assert do(do="cut", login="c0")["ok"]
        assert do(do="fade", login="c1", to=-90, seconds=1)["ok"]
        assert [line["works"] for line in do(do="lines")["lines"]] == [False, True, True, True, True]
        assert do(do="mend", login="c0")["ok"]
        assert do(do="reboot", device="olt-1", seconds=1000)["ok"]
        assert not lab["olt-1"].reachable()
        no_seconds = {"do": "reboot", "device": "sw-1"}
        for wrong in ({"do": "fly"}, {"do": "link", "device": "x"}, {"do": "cut", "login": "x"}, no_seconds):
            assert not do(**wrong)["ok"]
        assert json.loads(answer_untrusted(control, b"[]"))["ok"] is False
        assert do(do="stop")["ok"]
        assert control.stop.is_set()
        control.network = None
        assert "expected a network" in str(do(do="cut", login="c0")["error"])
        assert do(do="reboot", device="sw-1", seconds=0)["ok"]


def test_switches_to_measure_with():
    devices, network = make_devices(arguments("--switches", "3", "--ports", "5"))
    assert [d.name for d in devices] == ["sw-1", "sw-2", "sw-3"]
    assert len(devices[0].links.ports) == 5
    assert network is None
    with pytest.raises(SnmpLabError, match="switches"):
        make_devices(arguments("--switches", "0"))


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)
