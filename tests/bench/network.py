"""A network to suspend people in: PostgreSQL, the lab's NAS in a process of their own, CPE that do not come back."""

from __future__ import annotations

import csv
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import BenchError, running
from tests.servers import PostgreSQL, RadiusDatabase

NAS = 10
LATENCY_MS = 5
SEED = 7
_SPARE = 1.15
"""Of the lab's services some are offline, unmapped or protected; so many more are made than are wanted."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service to suspend. `session`: what identifies its session, for radclient."""

    ref: str
    login: str
    nas: str
    session: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NasPort:
    """Where a NAS takes Disconnect-Requests."""

    name: str
    port: int
    secret: str


@dataclass(frozen=True, slots=True)
class Network:
    """A lab that runs."""

    folder: Path
    database: RadiusDatabase
    secrets: dict[str, str]
    nas: tuple[NasPort, ...]
    targets: tuple[Target, ...]

    def left(self) -> tuple[int, int]:
        """Return, in one query, how many of the targets are not marked, and how many have an open session."""
        ((marked, online),) = self.database.run(
            "SELECT (SELECT count(DISTINCT username) FROM radusergroup WHERE groupname = 'suspended'"
            " AND priority = -1 AND username = ANY(%s)),"
            " (SELECT count(*) FROM radacct WHERE acctstoptime IS NULL AND username = ANY(%s))",
            [t.login for t in self.targets],
            [t.login for t in self.targets],
        )
        return len(self.targets) - marked, online


def _ask(path: Path, command: dict[str, str]) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(30)
        sock.connect(str(path))
        sock.sendall(json.dumps(command).encode() + b"\n")
        answer = json.loads(sock.makefile().readline())
    if not answer["ok"]:
        raise BenchError(f"the lab refuses {command}: {answer}")


def _targets(folder: Path, database: RadiusDatabase, count: int) -> tuple[Target, ...]:
    known = {s["login"]: s for s in json.loads((folder / "lab.json").read_text())["services"]}
    sessions = {
        login: (("User-Name", login), ("Acct-Session-Id", sid), ("Framed-IP-Address", ip), ("NAS-IP-Address", nas))
        for login, sid, ip, nas in database.run(
            "SELECT username, acctsessionid, host(framedipaddress), host(nasipaddress) FROM radacct"
            " WHERE acctstoptime IS NULL"
        )
    }
    found = []
    with (folder / "subscribers.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            login = row["login"]
            if login in sessions and not row["protected"] and row["feeds"] == "0":
                ref = f"{row['subscriber']}/{row['service']}"
                found.append(Target(ref, login, known[login]["nas"], sessions[login]))
    if len(found) < count:
        raise BenchError(f"expected {count} services online to suspend, got {len(found)}")
    return tuple(found[:count])


@contextmanager
def open_network(server: PostgreSQL, folder: Path, count: int, nas: int = NAS) -> Iterator[Network]:
    """Run a network of `count` services to suspend, and some more, on a fresh database."""
    database = server.fresh()
    folder.mkdir()
    where = f"postgresql://{database.user}:{database.password}@{database.host}:{database.port}/{database.dbname}"
    services = int(count * _SPARE) + nas
    arguments = ["-m", "lab", "isp", "--dir", str(folder), "--subscribers", str(services), "--nas", str(nas)]
    arguments += ["--seed", str(SEED), "--database", where, "--latency", str(LATENCY_MS), "--interim", "86400"]
    ready = folder / "lab.json"
    with running(arguments, ready.exists, folder / "lab.log"):
        _ask(folder / "lab.sock", {"do": "fault", "fault": "no-redial"})
        lab = json.loads(ready.read_text())
        ports = tuple(NasPort(n["name"], n["dynauth_port"], lab["secrets"][f"nas/{n['name']}"]) for n in lab["nas"])
        yield Network(folder, database, lab["secrets"], ports, _targets(folder, database, count))
