"""The units as they are shipped, under a real systemd: start, hardening, people, watchdog, sealed keys, mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.repo import tree
from tests.systemd.booted import Booted
from tests.systemd.freezing import FrozenThread, frozen, thread_named
from tests.systemd.site import CONFIG, OUTSIDE

pytestmark = pytest.mark.slow

AGENT, SOCKET, CLOUD = "ispagent.service", "ispagent.socket", "ispcloud.service"
EXPOSURE = 1.5
RECIPIENT = "age158mu0uf2ydqs8y27q0keptjt4wcxmpem5qqgvl6m0n9wfeuupgzqf37um0"
"""Of a backup: anybody's public key of age."""
UNITS = sorted(path.name.replace("@.", "@one.") for path in (tree.ROOT / "systemd").glob("*.service"))


def write_config(system: Booted, text: str) -> None:
    system.write("/etc/ispagent/agent.toml", text, 0o640)
    system.run("chgrp ispagent /etc/ispagent/agent.toml")


def override(system: Booted, unit: str, *lines: str) -> None:
    """Put a drop-in over a unit, as `systemctl edit --runtime` does."""
    system.write(f"/run/systemd/system/{unit}.d/90-test.conf", "\n".join(["[Service]", *lines, ""]))
    system.run("systemctl daemon-reload")


def status_of(system: Booted, pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_a_locked_down_agent_serves_its_people(serving: Booted) -> None:
    system = serving
    assert system.show(AGENT, "StatusText") == "FINE · no trust document · log 1 leaves"
    assert system.show(CLOUD, "StatusText") == "serving · streams: 0 agent · 0 person · 0 service"
    assert system.run("stat -c '%U %G %a' /run/ispagent/agent.sock").stdout == "root ispagent-noc 660\n"
    for unit in (AGENT, CLOUD):
        pid = system.main_pid(unit)
        held = status_of(system, pid)
        assert (held["Seccomp"], held["NoNewPrivs"], held["CapBnd"].strip("0")) == ("2", "1", ""), unit
        assert re.search(r"^Max core file size\s+0\s+0 ", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE), unit
        assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink(f"/proc/{system.pid}/ns/user"), unit
    # Of the group, and known by her uid, which the service's user namespace leaves as it is
    checks = system.run("ispagent doctor", user="maria", check=False)
    assert (checks.returncode, checks.stderr) == (5, "")
    # No member: the socket is not for him
    refused = system.run("ispagent status", user="joe", check=False)
    assert refused.returncode == 3
    assert "usermod --append --groups ispagent-noc" in refused.stderr
    # What it logs is JSON
    logged = [line for line in system.journal(AGENT).splitlines() if line.startswith("{")]
    assert all(json.loads(line)["logger"] for line in logged)


def test_the_kernel_lets_no_packet_out_of_the_allowed_networks(serving: Booted) -> None:
    system = serving
    system.run("ispagent secret set --stdin snmp/read", stdin="public", check=False)  # 4: nobody answers to it

    def asked(device: str) -> str:
        return system.run(f"ispagent snmp get {device} 1.3.6.1.2.1.1.5.0", user="maria", check=False).stderr

    assert "nothing could be sent: Operation not permitted" in asked("outside")
    assert "nothing listens on this port" in asked("inside")
    override(system, AGENT, f"IPAddressAllow={OUTSIDE}")
    system.run(f"systemctl restart {AGENT}")
    assert "nothing listens on this port" in asked("outside")


def test_every_unit_is_closed(serving: Booted) -> None:
    system = serving
    system.run(["systemd-analyze", "verify", "--man=no", *UNITS, SOCKET])
    found = {}
    for unit in UNITS:
        told = system.run(["systemd-analyze", "--no-pager", "security", unit], check=False).stdout
        (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", told)
        found[unit] = float(exposure)
    assert set(found) >= {AGENT, CLOUD, "ispcloud-witness@one.service"}
    assert max(found.values()) <= EXPOSURE, found


# --- the watchdog -----------------------------------------------------------------------------------------------------


WATCHDOG_S = 5


def loop(pid: int) -> AbstractContextManager[FrozenThread]:
    """Freeze the event loop: it runs in the main thread."""
    return frozen(pid)


def writer(pid: int) -> AbstractContextManager[FrozenThread]:
    """Freeze the thread that writes the database."""
    return frozen(thread_named(pid, "store-writer"))


@pytest.mark.parametrize("freeze", [loop, writer])
def test_a_frozen_loop_or_writer_is_started_anew(
    serving: Booted, freeze: Callable[[int], AbstractContextManager[FrozenThread]]
) -> None:
    system = serving
    for unit in (AGENT, CLOUD):
        override(system, unit, f"WatchdogSec={WATCHDOG_S}", "RestartSec=100ms")
    system.run(f"systemctl restart {AGENT} {CLOUD}")
    before = {unit: system.main_pid(unit) for unit in (AGENT, CLOUD)}
    with freeze(before[AGENT]) as agent, freeze(before[CLOUD]) as cloud:
        system.wait("both killed", lambda: agent.is_gone() and cloud.is_gone(), unit=AGENT)
    for unit in (AGENT, CLOUD):
        system.wait_restarted(unit)
        assert "Watchdog timeout (limit 5s)!" in system.journal(unit)
        assert not Path(f"/proc/{before[unit]}").exists()
    assert "state    FINE" in system.run("ispagent status", user="maria").stdout


def test_a_stopped_process_is_started_anew(serving: Booted) -> None:
    system = serving
    override(system, AGENT, f"WatchdogSec={WATCHDOG_S}", "RestartSec=100ms")
    system.run(f"systemctl restart {AGENT}")
    os.kill(system.main_pid(AGENT), signal.SIGSTOP)  # systemd continues it in order to kill it
    system.wait_restarted(AGENT)
    assert "state    FINE" in system.run("ispagent status", user="maria").stdout


# --- restarts and mistakes --------------------------------------------------------------------------------------------


def test_callers_wait_while_the_agent_starts_anew(serving: Booted) -> None:
    system = serving
    over = threading.Event()

    def ask() -> list[int]:
        codes = []
        while not over.is_set():
            codes.append(system.run("ispagent status", user="maria", check=False).returncode)
        return codes

    with ThreadPoolExecutor(2) as callers:
        asked = [callers.submit(ask) for _ in range(2)]
        for _ in range(2):
            system.run(f"systemctl restart {AGENT}")
        over.set()
        codes = [code for one in asked for code in one.result()]
    assert len(codes) >= 4
    assert set(codes) == {0}
    assert system.run("stat -c '%U %G %a' /run/ispagent/agent.sock").stdout == "root ispagent-noc 660\n"


def test_a_mistake_in_the_configuration_is_not_tried_for_ever(system: Booted) -> None:
    write_config(system, CONFIG.replace("timeout_s = 0.5", "timeout_s = true"))
    # The running agent keeps its configuration, and says so
    system.run(f"systemctl reload {AGENT}")
    assert system.show(AGENT, "StatusText").startswith("DEGRADED: configuration: ")
    assert system.run(f"systemctl restart {AGENT}", check=False).returncode != 0
    shown = {name: system.show(AGENT, name) for name in ("ActiveState", "SubState", "ExecMainStatus", "NRestarts")}
    assert shown == {"ActiveState": "failed", "SubState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}
    assert "snmp.outside.timeout_s: expected" in system.journal(AGENT)
    # Somebody who connects has it tried once more, and is told; nobody is left waiting for whom it would be again
    told = system.run("ispagent status", user="maria", check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert "the agent does not start: there is a mistake in its configuration" in told.stderr
    system.wait(
        "the second try over", lambda: system.show(AGENT, "ActiveState"), lambda state: state == "failed", AGENT
    )
    assert system.show(SOCKET, "SubState") == "listening"
    assert system.journal(AGENT).count("Main process exited, code=exited, status=2") == 2
    write_config(system, CONFIG)
    assert "state    FINE" in system.run("ispagent status", user="maria").stdout


def test_a_socket_for_another_path_is_named(system: Booted) -> None:
    system.write(
        f"/run/systemd/system/{SOCKET}.d/90-test.conf", "[Socket]\nListenStream=\nListenStream=/run/other.sock\n"
    )
    system.run(f"systemctl daemon-reload; systemctl stop {AGENT} {SOCKET}")
    assert system.run(f"systemctl start {AGENT}", check=False).returncode != 0
    assert system.show(AGENT, "ExecMainStatus") == "2"
    assert "/run/ispagent/agent.sock is configured, and systemd listens on /run/other.sock" in system.journal(AGENT)


# --- sealed keys ------------------------------------------------------------------------------------------------------


def seal(system: Booted, name: str, path: str) -> None:
    """Do what docs/operations.md says: the file is gone afterwards."""
    system.run("mkdir -p -m 0700 /etc/credstore.encrypted")
    system.run(f"systemd-creds encrypt --with-key=host --name={name} {path} /etc/credstore.encrypted/{name}")
    system.run(f"shred -u {path}")


def test_sealed_keys_are_opened_for_the_service_alone(system: Booted) -> None:
    system.run("chmod 644 /var/lib/ispagent/store.key")
    assert system.run(f"systemctl restart {AGENT}", check=False).returncode != 0
    assert "store key store.key: expected mode 0600 or 0400, got 0644: others can read it" in system.journal(AGENT)
    system.run(f"systemctl stop {AGENT}")
    seal(system, "ispagent.store-key", "/var/lib/ispagent/store.key")
    for key in ("authority.key", "witness.key"):
        seal(system, f"ispcloud.{key}", f"/var/lib/ispcloud/{key}")
    system.run(f"systemctl restart {AGENT} {CLOUD}")
    assert "state    FINE" in system.run("ispagent status", user="maria").stdout
    pid = system.show(AGENT, "MainPID")
    mode = "stat -c '%U %a' /run/credentials/ispagent.service/ispagent.store-key"
    assert system.run(f"nsenter --target {pid} --mount {mode}").stdout == "root 440\n"
    # Commands that need no key work as before, and one that does says who has it
    system.run("ispcloud agents enroll noc-1 --operator hill-isp --out /tmp/i --dir /var/lib/ispcloud", user="ispcloud")
    system.run("chmod 644 /tmp/i")
    enroll = "ispagent cloud enroll --invite /tmp/i"
    refused = system.run(enroll, user="ispagent", check=False)
    assert "a sealed key is opened for the service alone" in refused.stderr
    told = system.run(f"systemd-run --pipe --wait -p User=ispagent -p ImportCredential=ispagent.store-key {enroll}")
    assert "noc-1" in told.stdout
    backup = f"ispcloud backup --dir /var/lib/ispcloud --to /var/lib/ispcloud/backup --recipient {RECIPIENT}"
    assert system.run(backup, user="ispcloud", check=False).returncode == 2
    system.run(f"systemd-run --pipe --wait -p User=ispcloud -p 'ImportCredential=ispcloud.*' {backup}")
    system.wait(
        "the agent connected", lambda: system.show(CLOUD, "StatusText"), lambda text: "1 agent" in text, unit=AGENT
    )
