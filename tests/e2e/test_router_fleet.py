"""A fleet of routers from one template: the agent starts, lists them, looks at them, and judges each one's rules."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import pytest
import trio

from agent.changes.target_watch import LOOKS_AT_ONCE
from agent.runtime import http_client
from lab.router.device import Router
from lab.router.server import Endpoint, serve
from tests.e2e.files import make_files
from tests.e2e.site import AgentProgram, Office

ROUTERS = 40
ANSWER_S = 100.0
PASSWORD = "api-password-of-the-fleet"
RULES = "/ip/firewall/filter"
TEMPLATE = """[fleet.bng]
file = "../bng.csv"

[routeros."{name}"]
each = "bng"
host = "{host}"
port = "{port}"
user = "ispagents"
secret = "routeros/bng"
fingerprint = "{fingerprint}"
serial = "{serial}"
timeout_s = 60.0

[ppp."{name}"]
each = "bng"
target = "routeros/{name}"
suspended_profile = "suspended"

[ppp."{name}".tariffs]
"Home 20M" = "home20"
"""


def make_router(n: int) -> Router:
    router = Router("7.20.8", identity=f"edge-{n}", serial=f"S{n}")
    router.add("/ppp/profile", name="home20", rate_limit="20M/20M")
    router.add("/ppp/profile", name="suspended", address_list="suspended")
    router.add(RULES, chain="forward", action="drop", src_address_list="suspended")
    router.add("/user/group", name="ispagents", policy="read,write,api")
    router.add("/user", name="ispagents", password=PASSWORD, group="ispagents")
    return router


def resident_mib(pid: int) -> int:
    """Return the most memory that a process had so far."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


@pytest.mark.slow
async def test_a_fleet_from_one_template(tmp_path: Path) -> None:
    """For five hundred see docs/connectors/routeros.md; here fewer, since tests share their machine."""
    routers = {f"edge-{n}": make_router(n) for n in range(ROUTERS)}
    async with trio.open_nursery() as nursery:
        with (tmp_path / "bng.csv").open("w", newline="") as out:
            lines = csv.writer(out)
            lines.writerow(["name", "host", "port", "fingerprint", "serial"])
            for name, router in routers.items():
                at: Endpoint = await nursery.start(partial(serve, router, tls=True))
                lines.writerow([name, at.host, at.port, at.fingerprint, router.serial])
        files = make_files(tmp_path, TEMPLATE, [], {"routeros/bng": PASSWORD})
        program = AgentProgram(files)
        try:
            await trio.to_thread.run_sync(program.wait_ready)
            office = Office(files)
            await office.install()
            began_mib = resident_mib(program.pid)
            listed = await office.call("GET", "/v1/devices")
            assert [one["state"] for one in listed].count("not-asked") >= ROUTERS - LOOKS_AT_ONCE
            ask = partial(http_client.request, files.socket, "GET", "/v1/readiness", timeout_s=ANSWER_S)
            ready = (await trio.to_thread.run_sync(ask)).json
            assert isinstance(ready, list)
            assert {one["device"] for one in ready} == routers.keys()
            assert {one["state"] for one in ready} == {"kept"}
            listed = await office.call("GET", "/v1/devices")
            assert {(one["state"], one["version"]) for one in listed} == {("reachable", "7.20.8")}
            assert sum(len(router.rows("/user/active")) for router in routers.values()) == ROUTERS
            assert resident_mib(program.pid) - began_mib < ROUTERS  # measured: 14 MiB
        finally:
            program.stop()
        outages = [line for line in program.log.read_text().splitlines() if "an outage begins" in line]
        assert not any("routeros/" in line for line in outages), outages
        assert all(router.rows("/system/history") == [] for router in routers.values())
        nursery.cancel_scope.cancel()
