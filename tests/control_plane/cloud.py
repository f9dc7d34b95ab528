"""A real control plane in a process of its own, and members of two operators with certificates of it."""

import contextlib
import hashlib
import secrets
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from control_plane import certificates, config, members
from control_plane.config import DataDir
from control_plane.members import IdentityKind, MemberIdentity
from control_plane.store import CloudTx, Command, prepare
from protos import message_pb2 as pb
from protos.agent_pb2_grpc import AgentCloudStub
from protos.desk_pb2_grpc import DeskCloudStub
from tests.builders import operator as helpers
from tests.builders.expect import expect
from trust import checkpoint, envelope, merkle, statements, witness
from trust.keys import SigningKey
from trust.policy import Action

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0
SERVE = """
import pathlib, sys
from control_plane import config, server
server.run(config.open_dir(pathlib.Path(sys.argv[1])), grace_s=3.0)
"""


def key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


def ref() -> bytes:
    return secrets.token_bytes(16)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody with a certificate. `log`: of an agent, the name of its log."""

    identity: MemberIdentity
    certificate: bytes
    private_key: bytes
    authority: bytes

    @property
    def log(self) -> str:
        return f"isp.example/agent/{self.identity.agent.hex()}"

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.authority, self.private_key, self.certificate)

    def channel(self, address: str, **options: int) -> grpc.Channel:
        chosen = {"grpc.ssl_target_name_override": certificates.SERVER_NAME, "grpc.use_local_subchannel_pool": 1}
        return grpc.secure_channel(address, self.credentials(), options=list((chosen | options).items()))


def wait_for(what: str, found: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait until `found()` is true: a state, never a time."""
    ends = time.monotonic() + timeout_s
    while not found():
        assert time.monotonic() < ends, f"waited {timeout_s:.0f} s for {what}"
        time.sleep(0.01)


@dataclass
class Cloud:
    """A data directory, and the server on it while it runs."""

    data: DataDir
    process: "subprocess.Popen[bytes] | None" = None
    address: str = ""
    enrolment: str = ""
    metrics: str = ""
    logs: list[Path] = field(default_factory=list)
    channels: list[grpc.Channel] = field(default_factory=list)

    @classmethod
    def create(cls, folder: Path, *, quotas: str = "", metrics: bool = False) -> Self:
        text = config.DEFAULT.format(
            listen="127.0.0.1:0",
            enrolment_listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0" if metrics else "",
            public_host="127.0.0.1",
            witness_name="ispcloud-witness",
            quotas="",
        )
        cloud = cls(config.create(folder, text + quotas, int(time.time())))
        prepare(cloud.data.database).close()
        return cloud

    # --- the administrator ---

    def change(self, command: Command[object]) -> object:
        with contextlib.closing(prepare(self.data.database)) as con:
            con.execute("BEGIN IMMEDIATE")
            result = command.run(CloudTx(con))
            con.execute("COMMIT")
        return result

    def operator(self, handle: str) -> bytes:
        operator = secrets.token_bytes(16)
        self.change(members.AddOperator(operator, handle))
        return operator

    def member(self, operator: bytes, kind: IdentityKind, name: str) -> Member:
        token, now_s = secrets.token_bytes(32), int(time.time())
        private = certificates.new_key()
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(private, hashes.SHA256())
        agent, statement = b"", b""
        if kind is IdentityKind.AGENT:
            agent = hashlib.sha256(operator + name.encode()).digest()[:16]
            statement = enrolment_statement(agent, name)
        self.change(members.Invite(operator, kind, name, members.token_digest(token), now_s))
        issued = expect(
            certificates.Issued,
            self.change(
                members.UseToken(
                    members.token_digest(token),
                    statement,
                    lambda uri: self.data.authority.issue_client_untrusted(
                        csr.public_bytes(serialization.Encoding.DER), uri, now_s
                    ),
                    now_s,
                )
            ),
        )
        return Member(
            MemberIdentity(operator, kind, name, agent),
            issued.pem,
            certificates.key_pem(private),
            self.data.authority.pem,
        )

    def agent(self, operator: bytes, name: str) -> Member:
        return self.member(operator, IdentityKind.AGENT, name)

    def person(self, operator: bytes, name: str) -> Member:
        return self.member(operator, IdentityKind.PERSON, name)

    def service(self, operator: bytes, name: str) -> Member:
        return self.member(operator, IdentityKind.SERVICE, name)

    def revoke(self, member: Member) -> None:
        who = member.identity
        assert self.change(members.Revoke(who.operator, who.kind, who.name, int(time.time())))

    def rows(self, sql: str, *args: object) -> list[sqlite3.Row]:
        """Read the database as it is on the disk, from outside."""
        with contextlib.closing(sqlite3.connect(self.data.database, timeout=5)) as con:
            con.row_factory = sqlite3.Row
            return con.execute(sql, args).fetchall()

    # --- the process ---

    def start(self) -> Self:
        assert self.process is None
        log = self.data.path.parent / f"cloud-{len(self.logs)}.log"
        self.logs.append(log)
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(self.data.path)],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        line = self.process.stdout.readline().decode() if ready else ""
        words = line.replace(",", "").split()
        assert words[:3] == ["ispcloud:", "listening", "on"], (line, self.log())
        self.address, self.enrolment = words[3], words[6]
        self.metrics = words[9] if len(words) > 9 else ""
        return self

    def log(self) -> str:
        return "".join(path.read_text() for path in self.logs)

    def kill(self) -> None:
        """End the server as a power cut would: nothing more of it runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Drain the server; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            code = process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        if process.stdout is not None:
            process.stdout.close()
        return code

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
        if self.process is not None:
            self.kill()

    # --- calls ---

    def channel(self, member: Member, **options: int) -> grpc.Channel:
        channel = member.channel(self.address, **options)
        self.channels.append(channel)
        return channel

    def as_agent(self, member: Member) -> AgentCloudStub:
        return AgentCloudStub(self.channel(member))

    def as_desk(self, member: Member) -> DeskCloudStub:
        return DeskCloudStub(self.channel(member))


@dataclass(frozen=True, slots=True)
class Site:
    """One operator with two agents, two people and a service."""

    cloud: Cloud
    operator: bytes
    north: Member
    south: Member
    lena: Member
    joseph: Member
    billing: Member

    @classmethod
    def create(cls, cloud: Cloud, handle: str) -> Self:
        operator = cloud.operator(handle)
        agents = (cloud.agent(operator, name) for name in ("north", "south"))
        people = (cloud.person(operator, name) for name in ("lena", "joseph"))
        return cls(cloud, operator, *agents, *people, cloud.service(operator, "billing"))

    def agent(self, member: Member | None = None) -> AgentCloudStub:
        return self.cloud.as_agent(member or self.north)

    def desk(self, member: Member | None = None) -> DeskCloudStub:
        return self.cloud.as_desk(member or self.lena)

    def to_north(self, kind: int, /, **changes: object) -> pb.SubmitRequest:
        return submit(message(kind, self.north.identity.agent, **changes))


@contextlib.contextmanager
def running(folder: Path, *, quotas: str = "", metrics: bool = False) -> Iterator[Cloud]:
    """A started control plane in `folder`, without members yet."""
    cloud = Cloud.create(folder, quotas=quotas, metrics=metrics)
    try:
        yield cloud.start()
    finally:
        cloud.close()


def refusal_of(error: grpc.RpcError) -> int:
    """What a failed call's `Problem` says; its details must be nothing but that name."""
    metadata = dict(error.trailing_metadata() or ())
    problem = pb.Problem.FromString(metadata["problem-bin"])
    assert error.details() == pb.Refusal.Name(problem.refusal)
    return problem.refusal


def enrolment_statement(agent: bytes, name: str) -> bytes:
    plan, log = key(f"plan {agent.hex()}"), key(f"log {agent.hex()}")
    vkey = checkpoint.encode_vkey(f"isp.example/agent/{agent.hex()}", log.public)
    enroll = statements.Enroll(agent.hex(), name, plan.public.hex(), vkey, "00" * 16)
    return envelope.encode(statements.sign(enroll, [plan, log]))


# --- messages -------------------------------------------------------------------------------------------------------

_MINUTE = int(time.time()) // 60
_SEEN = statements.SeenHeads(1, "22" * 32)


def statement(kind: int, agent: bytes) -> statements.Statement:
    """A statement of this kind by or for this agent, with fresh random ids."""
    name, random16, random32 = agent.hex(), secrets.token_hex(16), secrets.token_hex(32)
    head = (helpers.TRUST_ID,)
    made: dict[int, statements.Statement] = {
        pb.KIND_PLAN: helpers.plan(agent=name, plan_id=random16),
        pb.KIND_RECEIPT: statements.Receipt(
            *head, name, "approval", random32, statements.ReceiptResult.ACCEPTED, None, 1, 2, 1, 0, "00" * 32, _MINUTE
        ),
        pb.KIND_OUTCOME: statements.Outcome(
            *head, name, random32, 1, True, statements.OutcomeState.DONE,
            {statements.OutcomeBucket.STALE: statements.SizeBucket.ONE,
             statements.OutcomeBucket.APPLIED: statements.SizeBucket.TO_10},
            random32, 0, "00" * 32, _MINUTE,
        ),
        pb.KIND_SEALKEY: statements.SealKey(*head, name, random32, _MINUTE, _MINUTE + 1440),
        pb.KIND_APPROVAL: statements.Approval(
            *head, (random32,), statements.Decision.APPROVE, "lena", statements.Saw.DETAIL, _MINUTE, _MINUTE + 30,
            statements.ReasonCode.CHECKED, _SEEN,
        ),
        pb.KIND_CANCEL: statements.Cancel(*head, random16, (random32,), "lena", _MINUTE),
        pb.KIND_PAUSE: statements.Pause(*head, random16, random32, "lena", _MINUTE),
        pb.KIND_RESUME: statements.Resume(*head, random16, random32, "lena", _MINUTE),
        pb.KIND_FREEZE: statements.Freeze(*head, random16, statements.FreezeScope.ALL, "", "lena", _MINUTE),
        pb.KIND_UNFREEZE: statements.Unfreeze(*head, random32, "lena", _MINUTE),
        pb.KIND_TRUST: helpers.trust(prev=random32),
        pb.KIND_STANDING: statements.Standing(
            *head, random16, Action.RESTORE, "lena", ("all",), statements.StandingEvidence.PAYMENT_MATCHED, 60,
            _MINUTE, _MINUTE + 1440,
        ),
        pb.KIND_VIEW: statements.View(*head, random16, name, random32, "lena", random32, _SEEN, _MINUTE + 10),
    }  # fmt: skip
    return made[kind]


def signed(made: statements.Statement) -> bytes:
    return envelope.encode(statements.sign(made, [key("signer")]))


def checkpoint_note(agent: bytes, size: int, root: bytes, *, signer: str = "") -> bytes:
    """A checkpoint of this agent's log, signed by its log key."""
    origin = f"isp.example/agent/{agent.hex()}"
    log_key = key(signer or f"log {agent.hex()}")
    return checkpoint.sign_checkpoint(checkpoint.Checkpoint(origin, size, root), log_key, origin)


def message(kind: int, agent: bytes, /, **changes: object) -> pb.Message:
    """A message of this kind that the control plane takes."""
    if kind in (pb.KIND_INTENT, pb.KIND_VIEW_PAGE):
        body = secrets.token_bytes(4096)
    elif kind == pb.KIND_COSIGNATURE:
        body = b"conflict 12\n"
    elif kind == pb.KIND_CHECKPOINT:
        body = b"old 0\n\n" + checkpoint_note(agent, 1, secrets.token_bytes(32))
    else:
        body = signed(statement(kind, agent))
    made = pb.Message(kind=kind, ref=ref(), agent=agent, body=body)
    if kind in (pb.KIND_COSIGNATURE, pb.KIND_CHECKPOINT):
        made.witness = b"\x01\x02\x03\x04"
    if kind == pb.KIND_VIEW_PAGE:
        made.answers = ref()
    for name, value in changes.items():
        if name == "links":
            made.links.extend(value)
        else:
            setattr(made, name, value)
    return made


def submit(made: pb.Message) -> pb.SubmitRequest:
    return pb.SubmitRequest(message=made)


# --- logs -----------------------------------------------------------------------------------------------------------


class Log:
    """An agent's log of made-up leaves: what a witness is asked about it. `name` makes it differ from others."""

    def __init__(self, agent: bytes, name: str = "honest", size: int = 64) -> None:
        self.agent = agent
        self._hashes = [merkle.leaf_hash(f"{name} {n}".encode()) for n in range(size)]
        self._nodes: dict[tuple[int, int], bytes] = {}
        for n, leaf in enumerate(self._hashes):
            for level, index, value in merkle.appended(n, leaf, lambda lv, i: self._nodes[lv, i]):
                self._nodes[level, index] = value

    def root(self, size: int) -> bytes:
        return merkle.root(self._hashes[:size])

    def note(self, size: int, *, signer: str = "") -> bytes:
        return checkpoint_note(self.agent, size, self.root(size), signer=signer)

    def ask(self, old: int, new: int, *, signer: str = "") -> bytes:
        """The body of an add-checkpoint request."""
        proof = merkle.consistency(old, new, lambda lv, i: self._nodes[lv, i])
        return witness.encode_request(witness.AddCheckpoint(old, proof, self.note(new, signer=signer)))
