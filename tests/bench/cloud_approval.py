"""`cloud_approval`: from an approval that a desk sent to the first row at the device, through the control plane.

All of it is real and in processes of its own: `ispcloud serve`, an agent (as in `suspend_2000`, unpaced), PostgreSQL
as the RADIUS database, the lab's NAS. A trigger there writes down by its own clock, which is this machine's, when the
marker row of a subscriber is written: the first byte of a suspension that changes something. The desk's clock starts
when `Submit` has returned. In turns with them, other suspensions get their approval on the agent's own socket; there
the clock starts when the request is sent, since that is what the control plane adds to.
"""

from __future__ import annotations

import base64
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from control_plane.cli import app
from control_plane.config import DataDir
from control_plane.desk import cli_cloud, cloud_identity
from control_plane.desk.cloud_client import DeskClient
from protos import message_pb2 as pb
from tests.bench.cloud import create, serving
from tests.bench.network import Network, Target, open_network
from tests.bench.processes import REPO, BenchError, wait_until
from tests.bench.result import Result
from tests.bench.suspend import _Site, call, running_agent
from tests.builders.people import plan_of
from tests.servers import PostgreSQL
from trust.statements import SeenHeads

ISPAGENT = ("-P", "-c", "from agent.cli import main; main()")
APPROVER = "joseph"
_TRIGGER = """
CREATE TABLE first_byte (username text PRIMARY KEY, at double precision NOT NULL);
CREATE FUNCTION note_first_byte() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO first_byte VALUES (NEW.username, extract(epoch FROM clock_timestamp())) ON CONFLICT DO NOTHING;
    RETURN NEW;
END $$;
CREATE TRIGGER first_byte AFTER INSERT ON radusergroup FOR EACH ROW WHEN (NEW.groupname = 'suspended')
    EXECUTE FUNCTION note_first_byte();
"""


def _type(program: typer.Typer, *args: str) -> None:
    result = CliRunner().invoke(program, list(args))
    if result.exit_code:
        raise BenchError(f"{args[:2]}: exit code {result.exit_code}: {result.output[-500:]}")


def _invitation(data: DataDir, enrolment: str, kind: str, name: str) -> str:
    out = data.path.parent / f"{kind}-{name}.json"
    at = ("--server", str(data.config.listen), "--enrolment", enrolment)
    _type(app, kind, "enroll", name, "--operator", "bench", "--out", str(out), *at, "--dir", str(data.path))
    return str(out)


@contextmanager
def _joined(data: DataDir, log: Path, site: _Site) -> Iterator[DeskClient]:
    """Enrol the agent that runs, and a desk, with the control plane; give the desk's connection."""
    enrolment = log.read_text().split("enrolment on ")[1].split()[0].rstrip(",")
    _type(app, "operators", "add", "bench", "--dir", str(data.path))
    invite = _invitation(data, enrolment, "agents", "bench")
    command = [sys.executable, *ISPAGENT, "cloud", "enroll", "--invite", invite, "--config", str(site.config)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise BenchError(f"the agent's enrolment: exit code {done.returncode}: {done.stderr[-500:]}")
    cloud_json = data.path.parent / "desk.json"
    invite = _invitation(data, enrolment, "people", APPROVER)
    _type(cli_cloud.app, "enroll", "--invite", invite, "--cloud", str(cloud_json))
    wait_until(lambda: call(site, "GET", "/v1/cloud")["connected"], "the agent to be connected")
    with DeskClient(cloud_identity.load(cloud_json)) as desk:
        desk.agents()  # dials: a desk that is in use has a connection
        yield desk


@dataclass(frozen=True, slots=True)
class _Asker:
    """Suspends somebody, and takes the time from an approval's way to the first row."""

    site: _Site
    network: Network
    seen: SeenHeads

    def measure_s(self, target: Target, send: Callable[[bytes], float]) -> float:
        """Return seconds from the unix time that `send` returns."""
        ask = {"action": "suspend", "refs": [target.ref], "reason": "request", "on_failure": "stop"}
        nothing = {"on_tariff": "", "exclude": [], "tariff": "", "change": "", "alone": False, "hold": False}
        change = call(self.site, "POST", "/v1/changes", ask | nothing)
        began_at = send(self.site.people.approve(plan_of(change), APPROVER, seen=self.seen))
        wait_until(lambda: self._ended(change["id"]), "the change to end")
        rows = self.network.database.run("SELECT at FROM first_byte WHERE username = %s", target.login)
        if len(rows) != 1:
            raise BenchError(f"expected one first row of {target.ref}, got {len(rows)}")
        return float(rows[0][0]) - began_at

    def _ended(self, change: str) -> bool:
        found: dict[str, Any] = call(self.site, "GET", f"/v1/changes/{change}")
        states = {i["state"] for i in found["items"]}
        if states - {"planned", "waiting", "running", "unknown", "set-at-next-login"}:
            raise BenchError(f"expected the suspension to be set, got {states}")
        return states == {"set-at-next-login"} and found["state"] not in ("approved", "running")


def _measure(network: Network, data: DataDir, log: Path, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return seconds through the control plane, seconds of `Submit` itself, and seconds on the agent's socket."""
    network.database.run(_TRIGGER)
    far, submits, near = [], [], []
    with running_agent(network) as (site, _, seen), _joined(data, log, site) as desk:

        def by_cloud(approval: bytes) -> float:
            began = time.time()
            desk.submit(pb.KIND_APPROVAL, approval, site.identity.agent)
            returned = time.time()
            submits.append(returned - began)
            return returned

        def by_socket(approval: bytes) -> float:
            began = time.time()
            body = {"envelope": base64.b64encode(approval).decode(), "change": ""}
            (answer,) = call(site, "POST", "/v1/statements", body)
            if not answer["accepted"]:
                raise BenchError(f"an approval was not accepted: {answer['message']}")
            return began

        asker = _Asker(site, network, seen)
        for n in range(rounds + 1):
            far.append(asker.measure_s(network.targets[2 * n], by_cloud))
            near.append(asker.measure_s(network.targets[2 * n + 1], by_socket))
    return far[1:], submits[1:], near[1:]  # the first ones open connections


def _p95(values: list[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def bench(rounds: int = 20) -> list[Result]:
    """Return the median and 95th percentile of so many approvals."""
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home, PostgreSQL(durable=True) as server:
        folder = Path(home)
        data, log = create(folder / "cloud"), folder / "cloud.log"
        with (
            open_network(server, folder / "network", 2 * (rounds + 1), nas=2) as network,
            serving(data, log),
        ):
            far, submits, near = _measure(network, data, log, rounds)
    value, reference = statistics.median(far) * 1000, statistics.median(near) * 1000
    more = {
        "p95 ms": _p95(far) * 1000,
        "p95 ms on the socket": _p95(near) * 1000,
        "Submit itself, ms": statistics.median(submits) * 1000,
        "rounds": rounds,
    }
    name = "approval on the agent's own socket, from the request on"
    return [Result("cloud_approval", "none", value, "ms", name, reference, value / reference, more=more)]
