"""A control plane beside a site: `ispcloud serve` as a program, ways to it that can be cut, and people at their desks.

A desk is a home folder of its own, with key, trust document and certificate, in which somebody types `ispcloud`; what a
test wants to send as it stands goes by the desk's own connection. One control plane serves many tests: each of them is
an operator of its own there.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import trio
from typer.testing import CliRunner

from control_plane import queues
from control_plane.cli import app
from control_plane.desk import cli_cloud, key_files
from control_plane.desk.cloud_client import DeskClient
from control_plane.desk.feed import Received
from control_plane.queues import Keep, Stored
from control_plane.store import CloudTx, Command, prepare
from lab.isp import Isp
from protos import member_files
from protos import message_pb2 as pb
from tests.e2e.files import ROOT, Billing, Files, Typed, lab_files, small_isp
from tests.e2e.proxy import Proxy
from tests.e2e.site import END_S, AgentProgram, Json, MovableClock, Site, check_log, open_site
from trust import envelope as envelopes
from trust import keys, statements
from trust.document import Trust
from trust.statements import Outcome, Plan, Receipt, SealKey, Statement

T = TypeVar("T")
S = TypeVar("S", bound=Statement)

ISPCLOUD = [sys.executable, "-P", "-c", "from control_plane.cli import main; main()"]
PASSPHRASE = b"correct horse battery staple"
START_S = 90.0
MONTH_S = 30 * 86_400


# --- the control plane ------------------------------------------------------------------------------------------------


class CloudProgram:
    """`ispcloud serve` on a data directory that `ispcloud init` made; its log is in `log`. `vkey`: of its witness."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder / "cloud", folder / "cloud.log"
        self.server = self.enrolment = ""
        self._process: subprocess.Popen[bytes] | None = None
        said = self.admin(
            "init", "--public-host", "127.0.0.1", "--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0"
        )
        self.vkey = next(line.split()[1] for line in said.splitlines() if line.startswith("witness "))

    def admin(self, *args: str) -> str:
        """Type an administrator's command; return what it says."""
        result = CliRunner().invoke(app, [*args, "--dir", str(self.folder)])
        assert result.exit_code == 0, result.output
        return result.output

    @property
    def database(self) -> Path:
        return self.folder / "cloud.db"

    @property
    def at(self) -> tuple[str, int]:
        """Return where it listens now; another port after each start."""
        host, _, port = self.server.rpartition(":")
        return host, int(port)

    def start(self) -> None:
        """Start it; returns once it listens."""
        assert self._process is None
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*ISPCLOUD, "serve", "--dir", str(self.folder)],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._process = process
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_S)
        words = process.stdout.readline().decode().replace(",", "").split() if ready else []
        assert words[:3] == ["ispcloud:", "listening", "on"], (words, self.log.read_text()[-2000:])
        self.server, self.enrolment = words[3], words[6]

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(hard=True)

    def stop(self) -> None:
        """End it as an administrator does."""
        self._end(hard=False)

    @property
    def running(self) -> bool:
        return self._process is not None

    def _end(self, *, hard: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if hard:
                process.kill()
            else:
                process.terminate()
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def rows(self, sql: str, *args: object) -> list[sqlite3.Row]:
        """Read its database from outside."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=10)) as con:
            con.row_factory = sqlite3.Row
            return con.execute(sql, args).fetchall()

    def change(self, command: Command[T]) -> T:
        """Change its database from outside: whoever runs a control plane can."""
        with contextlib.closing(prepare(self.database)) as con:
            con.execute("BEGIN IMMEDIATE")
            result = command.run(CloudTx(con))
            con.execute("COMMIT")
        return result


@contextlib.contextmanager
def cloud_program(folder: Path) -> Iterator[CloudProgram]:
    """Run a control plane for the block."""
    cloud = CloudProgram(folder)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.kill()


class MortalAgent(AgentProgram):
    """`ispagent run` as a program that dies as in a power cut."""

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True, slots=True)
class Withhold:
    """Take the messages of a kind out of a queue, as if they had never come; returns how many."""

    queue: bytes
    kind: int

    def run(self, tx: CloudTx) -> int:
        return tx.run(
            "DELETE FROM message WHERE box = ? AND letter IN (SELECT id FROM letter WHERE kind = ?)",
            (self.queue, self.kind),
        )


@dataclass(frozen=True, slots=True)
class EmptyBoard:
    """Forget the receipts and outcomes of an operator's agents, as if they had never come; returns how many."""

    operator: bytes

    def run(self, tx: CloudTx) -> int:
        return tx.run("DELETE FROM letter WHERE operator = ? AND kind IN (2, 3)", (self.operator,))


# --- the network ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_proxy(cloud: CloudProgram) -> AsyncIterator[Proxy]:
    """Open a way to a control plane for the block."""
    proxy = Proxy(lambda: cloud.at)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        yield proxy
        nursery.cancel_scope.cancel()


# --- what stands on a shared feed --------------------------------------------------------------------------------


def statements_of(messages: Sequence[Received], kind: type[S]) -> list[S]:
    """Return the statements of a kind on a shared feed, in the order in which they came."""
    found = []
    for message in messages:
        if message.kind in (pb.KIND_CHECKPOINT, pb.KIND_COSIGNATURE):
            continue
        envelope = envelopes.decode_untrusted(message.body)
        if envelope.payload_type == statements.payload_type(kind):
            found.append(statements.decode_as_untrusted(kind, envelope))
    return found


def digest_of(envelope: bytes) -> str:
    return envelopes.digest(envelopes.decode_untrusted(envelope)).hex()


def plan_sha256(change: Json) -> str:
    """Return the digest of a change's plan, as approvals and outcomes name it."""
    return digest_of(base64.b64decode(change["plan"]))


@dataclass(frozen=True, slots=True)
class Found:
    """What a shared feed shows."""

    messages: list[Received]

    @property
    def plans(self) -> list[Plan]:
        return statements_of(self.messages, Plan)

    @property
    def receipts(self) -> list[Receipt]:
        return statements_of(self.messages, Receipt)

    @property
    def outcomes(self) -> list[Outcome]:
        return statements_of(self.messages, Outcome)

    @property
    def sealkeys(self) -> list[SealKey]:
        return statements_of(self.messages, SealKey)

    def outcomes_of(self, plan: str) -> list[Outcome]:
        return [o for o in self.outcomes if o.plan_sha256 == plan]

    def receipts_of(self, envelope: bytes) -> list[Receipt]:
        digest = digest_of(envelope)
        return [r for r in self.receipts if r.of_sha256 == digest]

    def envelope_of(self, plan: Plan) -> bytes:
        """Return a plan's envelope as it came."""
        return next(m.body for m in self.messages if m.kind == pb.KIND_PLAN and plan in statements_of([m], Plan))


# --- desks ------------------------------------------------------------------------------------------------------------


@dataclass
class Desk:
    """A person's (or a service's) home folder, and what they type there. `home` has `.config/ispcloud/`."""

    who: str
    home: Path
    _client: DeskClient | None = field(default=None, repr=False)

    @property
    def own(self) -> Path:
        return self.home / ".config" / "ispcloud"

    def env(self) -> dict[str, str]:
        dropped = ("ISPAGENT_", "ISPCLOUD_", "CREDENTIALS_", "XDG_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        mine = {
            "HOME": str(self.home),
            "ISPCLOUD_KEY": str(self.home / "key"),
            "ISPCLOUD_PASSPHRASE_FILE": str(self.home / "passphrase"),
            "COLUMNS": "120",
            "PYTHONUNBUFFERED": "1",
        }
        return {**kept, **mine}

    def cli(self, *args: str | Path, text: str = "") -> Typed:
        """Type an `ispcloud` command in a process of its own."""
        done = subprocess.run(
            [*ISPCLOUD, *map(str, args)],
            cwd=self.home,
            env=self.env(),
            input=text.encode(),
            capture_output=True,
            timeout=90,
            check=False,
        )
        return Typed(done.returncode, done.stdout.decode(), done.stderr.decode())

    async def type(self, *args: str | Path, text: str = "") -> Typed:
        """As `cli`, beside what runs in this process."""
        return await trio.to_thread.run_sync(lambda: self.cli(*args, text=text), abandon_on_cancel=True)

    async def do(self, *args: str | Path, text: str = "") -> str:
        """Type a command that succeeds; return what it says."""
        typed = await self.type(*args, text=text)
        assert typed.code == 0, (args, typed)
        return typed.out

    def start(self, *args: str | Path) -> subprocess.Popen[bytes]:
        """Start a command that stays; what it says is in the file `said`."""
        with (self.home / "said").open("ab") as said:
            return subprocess.Popen(
                [*ISPCLOUD, *map(str, args)],
                cwd=self.home,
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def trusts(self, document: bytes) -> None:
        """Have this as the person's own trust document."""
        (self.own / "trust.json").write_bytes(document)

    # --- its connection ---

    def connection(self) -> DeskClient:
        """Return the desk's own connection, opened once."""
        if self._client is None:
            data = (self.own / "cloud.json").read_bytes()
            self._client = DeskClient(
                member_files.read_credentials_untrusted(data, member_files.AT_DESKS, "cloud.json")
            )
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None

    async def send(self, kind: pb.Kind, body: bytes, agent: str = "", links: Sequence[bytes] = ()) -> None:
        """Leave a message as it stands."""
        await trio.to_thread.run_sync(lambda: self.connection().submit(kind, body, agent, links=links))

    async def feed(self) -> Found:
        """Return what the shared feed shows this desk."""
        messages, _ = await trio.to_thread.run_sync(lambda: self.connection().feed())
        return Found(messages)

    async def wait(self, what: str, holds: Callable[[Found], T | None]) -> T:
        """Return what `holds` finds on the shared feed, once it is there."""

        async def look() -> T | None:
            return holds(await self.feed())

        return await wait_until(what, look)

    async def receipt(self, envelope: bytes) -> Receipt:
        """Return the first receipt of a statement, once it is there."""
        return await self.wait("a receipt", lambda b: next(iter(b.receipts_of(envelope)), None))

    async def outcome(self, plan: str) -> Outcome:
        """Return the final outcome of a plan, by its digest, once it is there."""
        return await self.wait("an outcome", lambda b: next((o for o in b.outcomes_of(plan) if o.final), None))


async def wait_until(what: str, look: Callable[[], Awaitable[T | None]], within_s: float = END_S) -> T:
    """Return what `look` finds, once it finds something that is true."""
    with trio.move_on_after(within_s):
        while True:
            if found := await look():
                return found
            await trio.sleep(0.05)
    raise AssertionError(f"expected {what} within {within_s:g} s, it did not come")


# --- all together -----------------------------------------------------------------------------------------------------


@dataclass
class Company:
    """An operator of the control plane: a network, an agent's files, desks. `proxy` is the agent's way."""

    cloud: CloudProgram
    isp: Isp
    files: Files
    proxy: Proxy
    operator: str
    operator_id: bytes
    folder: Path
    desks: dict[str, Desk] = field(default_factory=dict)

    @property
    def agent(self) -> str:
        """Return the agent's id, hex."""
        return self.files.enrolled.agent

    @property
    def billing(self) -> Billing:
        return self.files.billing

    @property
    def lena(self) -> Desk:
        return self.desks["lena"]

    @property
    def joseph(self) -> Desk:
        return self.desks["joseph"]

    def invite(self, kind: str, name: str, server: str = "") -> Path:
        """Return a new invitation."""
        out = self.folder / f"{kind}-{name}-{secrets.token_hex(4)}.json"
        at = ("--server", server or self.cloud.server, "--enrolment", self.cloud.enrolment)
        self.cloud.admin(kind, "enroll", name, "--operator", self.operator, "--out", str(out), *at)
        return out

    def desk(self, who: str, kind: str = "people", server: str = "") -> Desk:
        """Make a desk and enrol it; the person's key is in it, their trust document too."""
        desk = Desk(who, self.folder / f"home-{who}")
        desk.own.mkdir(parents=True, mode=0o700)
        (desk.home / "key").write_bytes(keys.seal_key(self.files.people.keys[who].seed, PASSPHRASE, 1, 8192))
        (desk.home / "passphrase").write_bytes(PASSPHRASE + b"\n")
        desk.trusts(self.files.signed_trust()[0])
        cloud_json = str(desk.own / "cloud.json")
        invitation = str(self.invite(kind, who, server))
        result = CliRunner().invoke(cli_cloud.app, ["enroll", "--invite", invitation, "--cloud", cloud_json])
        assert result.exit_code == 0, result.output
        self.desks[who] = desk
        return desk

    def desk_by_hand(self, who: str) -> Desk:
        """Make a desk as a person does: a key of its own, in the trust document before anybody signs that."""
        desk = Desk(who, self.folder / f"home-{who}")
        desk.own.mkdir(parents=True, mode=0o700)
        (desk.home / "passphrase").write_bytes(PASSPHRASE + b"\n")
        said = desk.cli("keys", "new", "--out", "key", "--person", who)
        assert (said.code, "public" in said.out) == (0, True), said
        self.files.people.keys[who] = key_files.open_key(desk.home / "key", PASSPHRASE)
        self.files.trust = self.files.people.trust(*self.files.trust.agents)
        for each in (*self.desks.values(), desk):
            each.trusts(self.files.signed_trust()[0])
        invitation = self.invite("people", who)
        enrolled = desk.cli("desk", "enroll", "--invite", invitation)
        assert enrolled.code == 0, enrolled
        again = desk.cli("desk", "enroll", "--invite", invitation, "--cloud", "other.json")
        assert again.code == 3, again
        self.desks[who] = desk
        return desk

    async def enrol_agent(self, files: Files | None = None, server: str = "") -> None:
        """Enrol an agent with `ispagent cloud enroll`; it will dial the proxy."""
        invitation = self.invite(
            "agents", "noc-1" if files is None else files.enrolled.handle, server or self.proxy.address
        )
        typed = await (files or self.files).type("cloud", "enroll", "--invite", str(invitation))
        assert typed.code == 0, typed

    def inject(self, message: pb.Message, queue: bytes | None = None) -> None:
        """Put a message into a queue (the agent's) as whoever runs the control plane could; nobody is told."""
        now = int(time.time())
        data = message.SerializeToString()
        queued = (self.agent_queue if queue is None else queue,)
        keep = Keep(
            operator=self.operator_id,
            sender="person/nobody",
            ref=message.ref,
            sha256=secrets.token_bytes(32),
            kind=message.kind,
            message=data,
            queues=queued,
            now_s=now,
            expires_s=now + MONTH_S,
            operator_max=1 << 40,
            sender_max=1 << 40,
        )
        stored = self.cloud.change(keep)
        assert stored == Stored()

    @property
    def agent_queue(self) -> bytes:
        return queues.agent_queue(self.operator_id, bytes.fromhex(self.agent))

    def message(self, kind: pb.Kind, body: bytes, links: Sequence[bytes] = ()) -> pb.Message:
        """Return a message to the agent."""
        return pb.Message(
            kind=kind, ref=secrets.token_bytes(16), agent=bytes.fromhex(self.agent), body=body, links=links
        )

    async def connected(self, site: Site) -> None:
        """Wait until the agent is connected, and its sealing key is on the shared feed."""

        async def look() -> bool:
            return bool((await site.call("GET", "/v1/cloud"))["connected"])

        await wait_until("a connection to the control plane", look)

    @asynccontextmanager
    async def at_work(self, *, clock: MovableClock | None = None, install: bool = True) -> AsyncIterator[Site]:
        """Run the agent in this process, connected; its log adds up at the end."""
        async with open_site(self.files, clock=clock, install=install) as site:
            await self.connected(site)
            yield site
            await check_log(site)


@asynccontextmanager
async def company(
    folder: Path,
    cloud: CloudProgram,
    *,
    isp: dict[str, Any] | None = None,
    change_trust: Callable[[Trust, Files], Trust] = lambda trust, files: trust,
    prepare_files: Callable[[Isp, Files], None] = lambda isp, files: None,
    desks: Sequence[str] = ("lena", "joseph"),
    **options: Any,
) -> AsyncIterator[Company]:
    """An operator with a network and an enrolled agent that does not run yet.

    Args:
        folder: for everything that it has.
        cloud: the control plane.
        isp: options of the lab.
        change_trust: makes the trust document what the test wants.
        prepare_files: changes billing or people before anything is signed.
        desks: whose desks are enrolled.
        options: of the agent's files.
    """
    operator = f"op-{secrets.token_hex(4)}"
    said = cloud.admin("operators", "add", operator)
    operator_id = bytes.fromhex(said.split("(")[1].split(")")[0])
    async with small_isp(folder, **(isp or {})) as lab, open_proxy(cloud) as proxy:
        files = lab_files(folder, lab, **options)
        prepare_files(lab, files)
        files.billing.write()
        files.trust = change_trust(files.trust, files)
        made = Company(cloud, lab, files, proxy, operator, operator_id, folder)
        try:
            for who in desks:
                made.desk(who)
            await made.enrol_agent()
            yield made
        finally:
            for desk in made.desks.values():
                desk.close()
