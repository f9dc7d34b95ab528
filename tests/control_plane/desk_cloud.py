"""A control plane and an agent in this process, for desks: mTLS, a shared feed, views; and every lie they may tell."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner, Result

from control_plane.cli import app
from protos import desk_pb2, desk_pb2_grpc, enrolment_pb2, enrolment_pb2_grpc
from protos import message_pb2 as pb
from tests.builders.expect import expect
from tests.control_plane.conftest import AGENT, ORIGIN, TRUST_ID, Desk, key, make_item
from trust import answer as answers
from trust import checkpoint, envelope, items, merkle, seal, statements
from trust.checkpoint import Checkpoint
from trust.envelope import Envelope
from trust.errors import Reason
from trust.keys import SigningKey
from trust.seal import SealingKey
from trust.statements import Approval, Intent, Outcome, OutcomeState, Plan, Receipt, SealKey, View
from trust.statements import ReceiptResult as Taken

OPERATOR = "0f" * 16
TOKEN = "5a" * 32


# --- certificates ---------------------------------------------------------------------------------------------------


class Authority:
    """A CA for tests, of its own making: the desk's side is not tested against the server's code."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test ca")])
        self.certificate = self._sign(name, name, self.key.public_key(), ca=True)

    def _sign(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        public: ec.EllipticCurvePublicKey,
        *,
        ca: bool = False,
        server: bool = False,
        age: float = 0.0,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        life = dt.timedelta(hours=10)
        begins = now - dt.timedelta(minutes=1) - life * age
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + life)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if server:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("ispcloud")]), critical=False)
        if not ca:
            usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def server(self) -> tuple[bytes, bytes]:
        own = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        signed = self._sign(name, self.certificate.subject, own.public_key(), server=True)
        pem = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem, signed.public_bytes(serialization.Encoding.PEM)

    def client(self, csr: bytes, age: float = 0.0) -> bytes:
        request = x509.load_der_x509_csr(csr)
        public = expect(ec.EllipticCurvePublicKey, request.public_key())
        signed = self._sign(request.subject, self.certificate.subject, public, age=age)
        return signed.public_bytes(serialization.Encoding.DER)


# --- the agent ------------------------------------------------------------------------------------------------------


@dataclass
class Planned:
    """A plan, its documents, and whether the agent answers views of it."""

    plan: Plan
    envelope: Envelope
    documents: list[bytes]

    @property
    def sha256(self) -> str:
        return envelope.digest(self.envelope).hex()


@dataclass
class FakeAgent:
    """An agent as a desk meets it: its keys sign, its log is a real tree."""

    now_s: int
    agent: str = AGENT
    plan_key: SigningKey = field(default_factory=lambda: key("plan"))
    log_key: SigningKey = field(default_factory=lambda: key("log"))
    sealing: SealingKey = field(default_factory=SealingKey.generate)
    leaves: list[bytes] = field(default_factory=list)
    plans: dict[str, Planned] = field(default_factory=dict)
    links: tuple[bytes, ...] = ()
    approvals: tuple[tuple[str, str], ...] = ()
    views: list[View] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grow(8)

    def grow(self, n: int) -> None:
        self.leaves += [secrets.token_bytes(20) for _ in range(n)]

    def _node(self, level: int, index: int) -> bytes:
        start = index << level
        return merkle.root([merkle.leaf_hash(leaf) for leaf in self.leaves[start : start + (1 << level)]])

    def head(self, size: int | None = None) -> Checkpoint:
        size = len(self.leaves) if size is None else size
        return Checkpoint(ORIGIN, size, merkle.root_at(size, self._node))

    def note(self) -> bytes:
        return checkpoint.sign_checkpoint(self.head(), self.log_key, ORIGIN)

    def consistency(self, old: int) -> tuple[bytes, ...]:
        return merkle.consistency(old, len(self.leaves), self._node) if old <= len(self.leaves) else ()

    def plan(self, desk: Desk, n: int = 1, plan_id: str = "22" * 16, **changes: object) -> Planned:
        entries = [make_item(i, self.now_s) for i in range(1, n + 1)]
        head = items.Head(
            plan_id=plan_id,
            salt=secrets.token_hex(16),
            items_n=n,
            counts={"change": n},
            waves=(items.Wave(1, n, 0),),
            pace=items.Pace(2, 2, 10),
            config_sha256="44" * 32,
        )
        documents = [items.encode_head(head), *map(items.encode_item, entries)]
        size, root = len(self.leaves), self.head().root.hex()
        root_of_items = items.items_root(documents).hex()
        given = {"items_root": root_of_items, "log_size": size, "log_root": root, "agent": self.agent, **changes}
        plan = desk.plan(n, plan_id=plan_id, **given)
        planned = Planned(plan, statements.sign(plan, [self.plan_key]), documents)
        self.plans[planned.sha256] = planned
        return planned

    def receipt(
        self, of: Envelope, kind: str, reason: Reason | None = None, have: int = 1, need: int = 1, **changes: object
    ) -> bytes:
        head = self.head()
        receipt = Receipt(
            trust_id=TRUST_ID,
            agent=self.agent,
            of_type=kind,
            of_sha256=envelope.digest(of).hex(),
            result=Taken.ACCEPTED if reason is None else Taken.REFUSED,
            reason=reason,
            have=have,
            need=need,
            trust_version=1,
            log_size=head.size,
            log_root=head.root.hex(),
            at=self.now_s // 60,
        )
        return envelope.encode(statements.sign(replace(receipt, **changes), [self.plan_key]))

    def outcome(self, planned: Planned, state: OutcomeState, seq: int = 1) -> bytes:
        head = self.head()
        outcome = Outcome(
            trust_id=TRUST_ID,
            agent=self.agent,
            plan_sha256=planned.sha256,
            seq=seq,
            final=True,
            state=state,
            buckets={},
            results_sha256="ab" * 32,
            log_size=head.size,
            log_root=head.root.hex(),
            at=self.now_s // 60,
        )
        return envelope.encode(statements.sign(outcome, [self.plan_key]))

    def sealkey(self, signer: SigningKey | None = None) -> bytes:
        minute = self.now_s // 60
        named = SealKey(TRUST_ID, self.agent, self.sealing.public.hex(), minute - 1, minute + 6 * 1440)
        return envelope.encode(statements.sign(named, [signer or self.plan_key]))

    def answer(self, planned: Planned, old: int) -> answers.ViewAnswer:
        return answers.ViewAnswer(
            short="5ZZZZ",
            documents=tuple(planned.documents),
            checkpoint=self.note(),
            old_size=old,
            consistency=self.consistency(old),
            links=self.links,
            approvals=self.approvals,
        )

    def reply(self, desk: Desk, message: pb.Message) -> list[tuple[pb.Kind, bytes]]:
        """What an honest agent answers on the shared feed: a receipt, and for an intent the plan."""
        if message.kind == pb.KIND_COSIGNATURE:
            return []
        found: list[tuple[pb.Kind, bytes]] = []
        body = message.body
        if message.kind == pb.KIND_INTENT:
            body = seal.open_sealed_untrusted(body, [self.sealing])
        of = envelope.decode_untrusted(body)
        if message.kind == pb.KIND_INTENT:
            intent = statements.decode_as_untrusted(Intent, of)
            planned = self.plan(
                desk,
                len(intent.subjects),
                plan_id=secrets.token_hex(16),
                intent_sha256=envelope.digest(of).hex(),
                requester=intent.requester,
            )
            found.append((pb.KIND_PLAN, envelope.encode(planned.envelope)))
        self.grow(1)
        needed, about = (0, 0), {}
        if message.kind == pb.KIND_APPROVAL:
            needed, about = (1, 1), {"plan_sha256": statements.decode_as_untrusted(Approval, of).plans[0]}
        return [*found, (pb.KIND_RECEIPT, self.receipt(of, KIND_WORDS[message.kind], None, *needed, **about))]

    def pages(self, message: pb.Message) -> list[bytes]:
        view = statements.decode_as_untrusted(View, envelope.decode_untrusted(message.body))
        self.views.append(view)
        old = next((log.size for log in view.seen.logs if log.agent == self.agent), 0)
        content = answers.encode(self.answer(self.plans[view.plan_sha256], old))
        return seal.seal_pages(bytes.fromhex(view.view_id), bytes.fromhex(view.eph_pub), content)


# --- the control plane ----------------------------------------------------------------------------------------------


@dataclass
class FakeCloud(desk_pb2_grpc.DeskCloudServicer, enrolment_pb2_grpc.EnrolmentServicer):
    """Serves desks. `on_submit` and `on_view` are where it and its agent lie."""

    authority: Authority = field(default_factory=Authority)
    feed: list[pb.Delivery] = field(default_factory=list)
    submitted: list[pb.Message] = field(default_factory=list)
    on_submit: Callable[[pb.Message], None] = lambda message: None
    on_view: Callable[[pb.Message], list[bytes]] = lambda message: []
    fail: tuple[grpc.StatusCode, str, bytes | None] | None = None
    away: int = 0
    on_watch: Callable[[], None] = lambda: None
    client_age: float = 0.0
    renewed: int = 0
    tokens: set[bytes] = field(default_factory=lambda: {bytes.fromhex(TOKEN)})
    epoch: bytes = b"e" * 16
    connected: bool = True
    address: str = ""
    enrolment: str = ""

    def __post_init__(self) -> None:
        self._changed = threading.Condition()

    def post(self, kind: pb.Kind, body: bytes, agent: str = AGENT, witness: bytes = b"") -> None:
        with self._changed:
            message = pb.Message(
                kind=kind, ref=secrets.token_bytes(16), agent=bytes.fromhex(agent), body=body, witness=witness
            )
            minute = int(time.time()) // 60
            self.feed.append(pb.Delivery(number=len(self.feed) + 1, message=message, minute=minute))
            self._changed.notify_all()

    def post_plan(self, planned: Planned) -> None:
        self.post(pb.KIND_PLAN, envelope.encode(planned.envelope))

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        server = grpc.server(ThreadPoolExecutor(8))
        desk_pb2_grpc.add_DeskCloudServicer_to_server(self, server)
        enrolment_pb2_grpc.add_EnrolmentServicer_to_server(self, server)
        pair = [self.authority.server()]
        mutual = grpc.ssl_server_credentials(pair, self.authority.pem, require_client_auth=True)
        self.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', mutual)}"
        self.enrolment = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', grpc.ssl_server_credentials(pair))}"
        server.start()
        try:
            yield
        finally:
            server.stop(0).wait()
            with self._changed:
                self._changed.notify_all()

    def invitation(self, **changes: object) -> bytes:
        document = {
            "format": "ispagents-invitation-v0",
            "operator": OPERATOR,
            "kind": "person",
            "name": "joseph",
            "server": self.address,
            "enrolment": self.enrolment,
            "ca": self.authority.pem.decode(),
            "token": TOKEN,
        }
        return json.dumps({**document, **changes}).encode()

    # --- services ---

    def _check(self, context: grpc.ServicerContext) -> None:
        if self.away:
            self.away -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        if self.fail is not None:
            code, details, problem = self.fail
            if problem is not None:
                context.set_trailing_metadata((("problem-bin", problem),))
            context.abort(code, details)

    def Enroll(self, request, context):
        self._check(context)
        if request.token not in self.tokens:
            problem = pb.Problem(refusal=pb.REFUSAL_BAD_TOKEN).SerializeToString()
            context.set_trailing_metadata((("problem-bin", problem),))
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "REFUSAL_BAD_TOKEN")
        self.tokens.discard(request.token)
        certificate = self.authority.client(request.csr, self.client_age)
        return enrolment_pb2.EnrollReply(certificate=certificate, issuer=self.authority.der)

    def Renew(self, request, context):
        self._check(context)
        self.renewed += 1
        return pb.RenewReply(certificate=self.authority.client(request.csr), issuer=self.authority.der)

    def Agents(self, request, context):
        self._check(context)
        seen = desk_pb2.Agent(agent=bytes.fromhex(AGENT), connected=self.connected, seen_minute=1)
        return desk_pb2.AgentsReply(agents=[seen])

    def List(self, request, context):
        self._check(context)
        found = [d for d in self.feed if d.number > request.cursor.after]
        page = [d for d in found if not request.kinds or d.message.kind in request.kinds][
            : min(request.limit or 100, 3)
        ]
        after = page[-1].number if page else request.cursor.after
        return desk_pb2.ListReply(epoch=self.epoch, deliveries=page, after=after)

    def Watch(self, request, context):
        self._check(context)
        yield pb.WatchEvent(hello=pb.Hello(epoch=self.epoch, newest=len(self.feed)))
        self.on_watch()
        after = request.cursor.after
        while context.is_active():
            with self._changed:
                new = [d for d in self.feed if d.number > after]
                if not new:
                    self._changed.wait(0.2)
            for delivery in new:
                after = delivery.number
                yield pb.WatchEvent(delivery=delivery)

    def Submit(self, request, context):
        self._check(context)
        self.submitted.append(request.message)
        self.on_submit(request.message)
        return pb.SubmitReply(again=False)

    def View(self, request, context):
        self._check(context)
        if not self.connected:
            context.set_trailing_metadata(
                (("problem-bin", pb.Problem(refusal=pb.REFUSAL_AGENT_AWAY, retry_after_s=5).SerializeToString()),)
            )
            context.abort(grpc.StatusCode.UNAVAILABLE, "REFUSAL_AGENT_AWAY")
        pages = self.on_view(request.message)
        for number, page in enumerate(pages, 1):
            yield desk_pb2.ViewReply(page=page, last=number == len(pages))


KIND_WORDS = {
    pb.KIND_APPROVAL: "approval",
    pb.KIND_CANCEL: "cancel",
    pb.KIND_PAUSE: "pause",
    pb.KIND_RESUME: "resume",
    pb.KIND_FREEZE: "freeze",
    pb.KIND_UNFREEZE: "unfreeze",
    pb.KIND_TRUST: "trust",
    pb.KIND_STANDING: "standing",
    pb.KIND_INTENT: "intent",
}


@dataclass
class Connected:
    """A person's desk, the control plane that it is enrolled at, and one agent behind it."""

    desk: Desk
    cloud: FakeCloud
    agent: FakeAgent

    def run(self, *args: object, stdin: str = "", **environment: str) -> Result:
        env = {
            "ISPCLOUD_TRUST": str(self.desk.path / "trust.json"),
            "ISPCLOUD_STATE": str(self.desk.path / "state" / "heads.json"),
            "ISPCLOUD_CLOUD": str(self.desk.path / "cloud.json"),
            "ISPCLOUD_PASSPHRASE_FILE": str(self.desk.path / "passphrase"),
            "XDG_RUNTIME_DIR": str(self.desk.path / "run"),
            "COLUMNS": "120",
            **environment,
        }
        result = CliRunner().invoke(app, [str(a) for a in args], input=stdin, env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    def change(self, verb: str, who: str, *args: object, stdin: str = "") -> Result:
        return self.run("changes", verb, *args, "--key", self.desk.key_file(who), stdin=stdin)

    def planned(self, n: int = 1, **changes: object) -> Planned:
        planned = self.agent.plan(self.desk, n, **changes)
        self.cloud.post_plan(planned)
        return planned

    def sent(self) -> list[Envelope]:
        return [envelope.decode_untrusted(m.body) for m in self.cloud.submitted]

    def honest(self, message: pb.Message) -> None:
        """Do what an honest control plane and agent do with what a desk sent."""
        if message.kind in (pb.KIND_TRUST, pb.KIND_FREEZE, pb.KIND_UNFREEZE, pb.KIND_STANDING):
            self.cloud.post(message.kind, message.body, "")
        for kind, body in self.agent.reply(self.desk, message):
            self.cloud.post(kind, body)


def approval_of(sent: Envelope) -> Approval:
    return statements.decode_as_untrusted(Approval, sent)


@contextlib.contextmanager
def connected(desk: Desk) -> Iterator[Connected]:
    """Serve, enrol joseph's desk, and have the agent answer honestly."""
    cloud, agent = FakeCloud(), FakeAgent(desk.now_s)
    made = Connected(desk, cloud, agent)
    cloud.on_submit, cloud.on_view = made.honest, agent.pages
    with cloud.serving():
        (desk.path / "run").mkdir(exist_ok=True)
        invite: Path = desk.path / "invite.json"
        invite.write_bytes(cloud.invitation())
        result = made.run("desk", "enroll", "--invite", invite)
        assert result.exit_code == 0, result.output
        yield made
