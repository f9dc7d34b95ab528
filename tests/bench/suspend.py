"""`suspend_2000`: many suspensions with disconnects, by the agent and by bare tools, on equal networks.

The bare side is what an operator's script would do: `psql` inserts the marker rows over PARALLEL connections,
`radclient -p PARALLEL` disconnects from a file for each NAS, and one query reads back. It previews nothing, asks
nobody, journals nothing, and could not say what became of one subscriber if it were interrupted. The query is asked
again until the accounting has come in, as the agent's proof waits for it too. The agent's calls to the database are
PARALLEL too.
"""

from __future__ import annotations

import base64
import os
import socket
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config import load
from agent.connectors.radius.connector import CALLS
from agent.runtime import http_client
from agent.store.identity import Identity, create_identity
from agent.store.vault import create_store_key, load_store_key
from tests.bench.network import Network, open_network
from tests.bench.processes import BenchError, cpu_s, peak_mb, running, wait_until
from tests.bench.result import Result, compared, stopwatch
from tests.builders.people import People, plan_of, trusted
from tests.servers import PostgreSQL, program
from trust import chain
from trust import envelope as envelopes
from trust.statements import SeenHeads

PARALLEL = CALLS
RATIO_AIM = 1.5
MEMORY_AIM_MB = 200
ANSWER_S = 180.0


@dataclass(frozen=True, slots=True)
class Bare:
    """Seconds of the bare tools: all of it, the inserts, the disconnects; how often the read-back was asked."""

    wall_s: float
    sql_s: float
    disconnect_s: float
    asked: int


@dataclass(frozen=True, slots=True)
class Ours:
    """Numbers of the agent: preview, and apply from the last approval to the finished run; CPU in apply only."""

    preview_s: float
    wall_s: float
    cpu_s: float
    peak_mb: float
    states: Counter[str]


# --- bare -----------------------------------------------------------------------------------------------------------


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _write_scripts(network: Network) -> tuple[list[Path], list[tuple[Path, str, str]]]:
    """Write what the bare tools read: SQL for each connection, attributes for each NAS (file, host:port, secret)."""
    scripts = []
    for n in range(PARALLEL):
        path = network.folder / f"insert-{n}.sql"
        lines = [
            f"INSERT INTO radusergroup (username, groupname, priority) VALUES ({_literal(t.login)}, 'suspended', -1);\n"
            for t in network.targets[n::PARALLEL]
        ]
        path.write_text("".join(lines))
        scripts.append(path)
    requests = []
    for nas in network.nas:
        path = network.folder / f"{nas.name}.txt"
        blocks = [
            "".join(
                f'{name} = "{value}"\n' if name == "User-Name" else f"{name} = {value}\n" for name, value in t.session
            )
            + "Message-Authenticator = 0x00\n"
            for t in network.targets
            if t.nas == nas.name
        ]
        if blocks:
            path.write_text("\n".join(blocks))
            requests.append((path, f"127.0.0.1:{nas.port}", nas.secret))
    return scripts, requests


def tools() -> tuple[str, str]:
    """Return where psql and radclient are.

    Raises:
        ServerMissingError: one is not installed.
    """
    return program("psql", "postgresql"), program("radclient", "freeradius-utils")


def run_bare(network: Network) -> Bare:
    """Suspend all targets with psql and radclient, and read back."""
    psql, radclient = tools()
    scripts, requests = _write_scripts(network)
    db = network.database
    url = f"postgresql://{db.user}:{db.password}@{db.host}:{db.port}/{db.dbname}"
    asked = 0

    def read_back() -> bool:
        nonlocal asked
        asked += 1
        return network.left() == (0, 0)

    with stopwatch() as total:
        with stopwatch() as sql:
            command = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", url, "-f"]
            running_ = [subprocess.Popen([*command, str(s)], stdout=subprocess.DEVNULL) for s in scripts]
            codes = [p.wait(ANSWER_S) for p in running_]
        with stopwatch() as disconnects:
            for path, where, secret in requests:
                done = subprocess.run(
                    [radclient, "-q", "-p", str(PARALLEL), "-f", str(path), where, "disconnect", secret],
                    capture_output=True,
                    timeout=ANSWER_S,
                    check=False,
                )
                codes.append(done.returncode)
        wait_until(read_back, "the bare tools' work to read back")
    if any(codes):
        raise BenchError(f"the bare tools failed: exit codes {codes}")
    return Bare(total.wall_s, sql.wall_s, disconnects.wall_s, asked)


# --- the agent ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Site:
    """An agent's files, its people, and its socket."""

    config: Path
    socket: Path
    database: Path
    identity: Identity
    people: People


def _make_site(network: Network) -> _Site:
    folder = network.folder / "agent"
    (folder / "state").mkdir(parents=True, mode=0o700)
    config = folder / "agent.toml"
    config.write_text(
        f'[agent]\nname = "bench"\nstate_dir = "state"\n\n[people]\n{os.getuid()} = "maria"\n\n'
        "[policy]\ncanary = 1\nsoak_s = 0\nstop_lost_sessions = 0\n\n" + (network.folder / "mapping.toml").read_text()
    )
    settings = load(config)
    create_store_key(settings.key_file)
    identity = create_identity(settings.state_dir, load_store_key(settings.key_file))
    return _Site(config, settings.socket, settings.state_dir / "agent.db", identity, People())


def call(site: _Site, method: str, path: str, body: object = None) -> Any:
    answer = http_client.request(site.socket, method, path, body, timeout_s=ANSWER_S)
    if answer.status >= 400:
        raise BenchError(f"{method} {path}: {answer.status} {answer.json}")
    return answer.json


def _set_up(site: _Site, network: Network) -> SeenHeads:
    """Install trust, secrets and subscribers, as an operator does on the first day; return what approvers have seen."""
    identity = site.identity
    origin = load(site.config).origin
    agent = trusted(identity.agent, "bench", identity.plan_key, origin, identity.log_key)
    document, words = site.people.sign_trust(site.people.trust(agent))
    call(site, "POST", "/v1/trust", {"document": base64.b64encode(document).decode(), "words": words})
    for name, secret in network.secrets.items():
        call(
            site,
            "POST",
            f"/v1/secrets/{name.replace('/', '%2F')}",
            {"secret": base64.b64encode(secret.encode()).decode()},
        )
    csv = (network.folder / "subscribers.csv").read_bytes()
    call(site, "POST", "/v1/subscribers/import", {"csv": base64.b64encode(csv).decode(), "dry_run": False})
    return SeenHeads(1, chain.head_sha256(envelopes.decode_untrusted(document)))


def ask(network: Network) -> dict[str, object]:
    refs = [t.ref for t in network.targets]
    empty = {"on_tariff": "", "exclude": [], "tariff": "", "change": "", "alone": False, "hold": False}
    return {"action": "suspend", "refs": refs, "reason": "request", "on_failure": "stop", **empty}


def _approve(site: _Site, body: object) -> None:
    answers = call(site, "POST", "/v1/statements", body)
    if not all(a["accepted"] for a in answers):
        raise BenchError(f"an approval was not accepted: {[a['message'] for a in answers]}")


def finished(database: Path) -> bool:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        return bool(reader.execute("SELECT count(*) FROM plan WHERE finished_seq IS NOT NULL").fetchone()[0])


def _listens(path: Path) -> bool:
    """Tell whether an agent takes connections: its socket is there a moment before."""
    with closing(socket.socket(socket.AF_UNIX)) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


@contextmanager
def running_agent(network: Network, profile: Path | None = None) -> Iterator[tuple[_Site, int, SeenHeads]]:
    """Run an agent for the block, set up; give its site, its process id and the trust that approvers have seen."""
    site = _make_site(network)
    arguments = ["-m", "tests.bench.agent_process", str(site.config), *([str(profile)] if profile else [])]
    with running(arguments, lambda: _listens(site.socket), site.config.with_suffix(".log")) as pid:
        seen = _set_up(site, network)
        yield site, pid, seen


def run_ours(network: Network, profile: Path | None = None) -> Ours:
    """Suspend all targets with the agent: preview, two approvals, apply."""
    with running_agent(network, profile) as (site, pid, seen):
        with stopwatch() as preview:
            change = call(site, "POST", "/v1/changes", ask(network))
        approvals = [site.people.approve(plan_of(change), who, seen=seen) for who in ("joseph", "lena")]
        bodies = [{"envelope": base64.b64encode(a).decode(), "change": ""} for a in approvals]
        _approve(site, bodies[0])
        before = cpu_s(pid)
        with stopwatch() as apply:
            _approve(site, bodies[1])
            wait_until(lambda: finished(site.database), "the change to be finished", within_s=ANSWER_S)
        used = cpu_s(pid) - before
        states = Counter(i["state"] for i in call(site, "GET", f"/v1/changes/{change['id']}")["items"])
        ours = Ours(preview.wall_s, apply.wall_s, used, peak_mb(pid), states)
    if ours.states != {"set-at-next-login": len(network.targets)} or network.left() != (0, 0):
        raise BenchError(f"expected all {len(network.targets)} set-at-next-login, got {dict(ours.states)}")
    return ours


# --- the benchmark --------------------------------------------------------------------------------------------------


def bench(count: int = 2000, nas: int = 10, profile: Path | None = None) -> list[Result]:
    """Return the suspension benchmark's numbers."""
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home, PostgreSQL(durable=True) as server:
        with open_network(server, Path(home) / "bare", count, nas) as network:
            bare = run_bare(network)
        with open_network(server, Path(home) / "ours", count, nas) as network:
            ours = run_ours(network, profile)
    wall = compared(
        f"suspend_{count}",
        f"ratio <= {RATIO_AIM}",
        ours.wall_s,
        "s",
        ("psql, radclient -p and read-back", bare.wall_s),
        limit=RATIO_AIM,
        more={
            "bare inserts s": bare.sql_s,
            "bare disconnects s": bare.disconnect_s,
            "bare read-backs": bare.asked,
            "nas": nas,
            "in flight": PARALLEL,
        },
    )
    fits = ours.peak_mb < MEMORY_AIM_MB
    name = f"suspend_{count}"
    return [
        wall,
        Result(f"{name}_cpu", "none", ours.cpu_s / count * 1000, "ms CPU per item", "agent alone"),
        Result(f"{name}_memory", f"< {MEMORY_AIM_MB}", ours.peak_mb, "MB", "agent's peak", met=fits),
        Result(f"{name}_preview", "none", ours.preview_s, "s", "agent alone"),
    ]
