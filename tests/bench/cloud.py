"""What the benchmarks of the cloud path stand on: `ispcloud serve` as a program, members, and clients as programs.

Quotas are set high: they are the administrator's choice, not the server's speed. The port stays the same over
restarts, since agents come back to where they were.
"""

from __future__ import annotations

import base64
import json
import resource
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from control_plane import certificates, config, members
from control_plane.config import DataDir
from control_plane.members import IdentityKind
from control_plane.store import CloudTx, prepare
from tests.bench.processes import REPO, STOP_S, BenchError, running
from tests.control_plane.cloud import enrolment_statement

SERVE: Final = ("-P", "-c", "from control_plane.cli import main; main()", "serve", "--dir")
QUOTA: Final = 1 << 40
ANSWER_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Member:
    """An agent's way in: its id, hex, certificate and private key, PEM."""

    agent: str
    certificate: str
    private_key: str


def raise_nofile() -> int:
    """Let this process and its children open as many files as they may; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def create(folder: Path) -> DataDir:
    """Make a control plane's data directory."""
    text = config.DEFAULT.format(
        listen=f"127.0.0.1:{_free_port()}",
        enrolment_listen="127.0.0.1:0",
        metrics_listen="",
        public_host="127.0.0.1",
        witness_name="ispcloud-witness",
        quotas="",
    )
    names = ("operator_messages_per_minute", "member_messages_per_minute", "operator_stored_bytes")
    quotas = "".join(f"{name} = {QUOTA}\n" for name in (*names, "member_stored_bytes"))
    data = config.create(folder, text + quotas, int(time.time()))
    prepare(data.database).close()
    return data


def enrol_agents(data: DataDir, count: int) -> list[Member]:
    """Enrol so many agents of one operator, in one transaction, by the commands that `Enroll` runs."""
    operator = secrets.token_bytes(16)
    with closing(prepare(data.database)) as con:
        con.execute("BEGIN IMMEDIATE")
        members.AddOperator(operator, "bench").run(CloudTx(con))
        found = [_enrol(data, CloudTx(con), operator, f"agent-{n}") for n in range(count)]
        con.execute("COMMIT")
    return found


def _enrol(data: DataDir, tx: CloudTx, operator: bytes, name: str) -> Member:
    agent, digest = secrets.token_bytes(16), secrets.token_bytes(32)
    key = certificates.new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    csr, now_s = request.public_bytes(serialization.Encoding.DER), int(time.time())
    members.Invite(operator, IdentityKind.AGENT, name, digest, now_s).run(tx)
    issued = members.UseToken(
        digest,
        enrolment_statement(agent, name),
        lambda uri: data.authority.issue_client_untrusted(csr, uri, now_s),
        now_s,
    ).run(tx)
    return Member(agent.hex(), issued.pem.decode(), certificates.key_pem(key).decode())


# --- servers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: where, and its process id."""

    address: str
    pid: int


def rss_kib(pid: int) -> int:
    """Return what a process has resident now, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise BenchError("the kernel tells no VmRSS")


@contextmanager
def serving(data: DataDir, log: Path) -> Iterator[Server]:
    """Run `ispcloud serve` for the block."""
    with running([*SERVE, str(data.path)], lambda: "listening on" in log.read_text(), log) as pid:
        yield Server(str(data.config.listen), pid)


@contextmanager
def serving_bare(data: DataDir, log: Path) -> Iterator[Server]:
    """Run the bare gRPC server with the same authority, options and kind of socket for the block."""
    with running(
        ["-m", "tests.bench.cloud_bare", str(data.path)], lambda: "listening on" in log.read_text(), log
    ) as pid:
        yield Server(log.read_text().split()[-1], pid)


# --- clients --------------------------------------------------------------------------------------------------------


class Client:
    """A client process: takes a JSON object a line, answers with one (`tests.bench.cloud_client`)."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.pid = process.pid
        self._log = log
        if process.stdin is None or process.stdout is None:
            raise BenchError("expected pipes to the client process")
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout

    def send(self, **command: object) -> None:
        """Send a command."""
        self._in.write(json.dumps(command) + "\n")
        self._in.flush()

    def answer(self) -> dict[str, Any]:
        """Return the answer to the oldest command that has none yet."""
        line = self._out.readline()
        if not line:
            raise BenchError(f"the client process ended: {self._log.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **command: object) -> dict[str, Any]:
        """Send a command and return its answer."""
        self.send(**command)
        return self.answer()


@contextmanager
def client(data: DataDir, members_: Sequence[Member], log: Path) -> Iterator[Client]:
    """Run a client process for some members for the block."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.cloud_client"],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        found = Client(process, log)
        found.send(authority=data.authority.pem.decode(), members=[asdict(m) for m in members_])
        yield found
    finally:
        process.kill()
        process.wait(STOP_S)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def clients(data: DataDir, members_: Sequence[Member], processes: int, log: Path) -> Iterator[list[Client]]:
    """Run so many client processes for the block, the members spread over them."""
    with ExitStack() as stack:
        yield [stack.enter_context(client(data, members_[n::processes], log)) for n in range(processes)]


def encode(requests: Sequence[bytes]) -> list[str]:
    """Return messages as a command carries them."""
    return [base64.b64encode(r).decode() for r in requests]
