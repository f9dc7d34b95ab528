"""A small operator whose people, agent and exported plans are real: signed, and around the real clock."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control_plane.cli import app
from trust import checkpoint, envelope, items, keys, policy, statements
from trust.document import Person, PersonKey, Root, RootKey, Trust, TrustedAgent
from trust.items import EffectKind, GuardKind, ReasonChange, SuspensionReason
from trust.keys import SigningKey
from trust.policy import Action, RiskClass, Role
from trust.statements import OnFailure, OnStale, Plan, SizeBucket

DAY = 86_400
TRUST_ID = "11" * 16
AGENT = "aa" * 16
ORIGIN = f"isp.example/agent/{AGENT}"
PASSPHRASE = b"correct horse battery"


def key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


def _person(handle: str, *roles: Role, scope: tuple[str, ...] = ("all",), sees: bool = True) -> Person:
    return Person(handle, roles, scope, sees, (PersonKey("ed25519", key(handle).public.hex()),))


def trust_document(now_s: int, **changes: object) -> Trust:
    base = Trust(
        trust_id=TRUST_ID,
        version=1,
        prev="0" * 64,
        issued=now_s - DAY,
        expires=now_s + 60 * DAY,
        root=Root(2, tuple(RootKey(h, key(h).public.hex()) for h in ("maria", "lena"))),
        people=(
            _person("maria", Role.OWNER, Role.APPROVER, Role.REQUESTER),
            _person("lena", Role.OWNER, Role.APPROVER),
            _person("joseph", Role.APPROVER),
            _person("blind", Role.APPROVER, sees=False),
            _person("far", Role.APPROVER, scope=("bb" * 16,)),
            _person("tech4", Role.REQUESTER),
        ),
        services=(),
        agents=(
            TrustedAgent(
                AGENT, "north", key("plan").public.hex(), checkpoint.encode_vkey(ORIGIN, key("log").public)
            ),
        ),
        policy=policy.preset(),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def sign_trust(document: Trust, *signers: str) -> envelope.Envelope:
    return statements.sign(document, [key(s) for s in signers or ("maria", "lena")])


def make_item(n: int, now_s: int, **changes: object) -> items.Item:
    address = items.Address(f"radius/main/user/user{n}")
    transition = items.Transition(address, items.Seen({"group:home": "1"}, now_s), {"group:suspended": "-1"})
    base = items.Item(
        n=n,
        salt=f"{n:032x}",
        subject=f"C-{n}",
        listed=items.Listed.CHANGE,
        reason="",
        display={"title": f"C-{n} Amina Hassan", "why": "12 days late"},
        steps=(items.Step(1, "radius/main", (transition,)),),
        desired=(ReasonChange(SuspensionReason.DEBT, added=True),),
    )
    return dataclasses.replace(base, **changes)


@dataclass
class Desk:
    """A person's workstation in a folder, and an agent that exports plans to it."""

    path: Path
    now_s: int

    def run(self, *args: str | Path, stdin: str = "", passphrase: bool = True) -> Result:
        env = {
            "ISPCLOUD_TRUST": str(self.path / "trust.json"),
            "ISPCLOUD_STATE": str(self.path / "state" / "heads.json"),
            "ISPCLOUD_PASSPHRASE_FILE": str(self.path / "passphrase") if passphrase else "",
        }
        result = CliRunner().invoke(app, [str(a) for a in args], input=stdin, env=env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert "Traceback" not in result.output
        return result

    def change(self, verb: str, who: str, folder: Path, *more: str | Path, stdin: str = "") -> Result:
        out = () if "--out" in more else ("--out", self.path / "out.json")
        return self.run("changes", verb, "--file", folder, "--key", self.key_file(who), *out, *more, stdin=stdin)

    def key_file(self, who: str) -> Path:
        """A person's key under the passphrase, sealed with the least that argon2id takes: fast."""
        path = self.path / f"{who}.key"
        if not path.exists():
            path.write_bytes(keys.seal_key(key(who).seed, PASSPHRASE, 1, 8192))
        return path

    def write_trust(self, document: Trust | None = None, *signers: str) -> envelope.Envelope:
        signed = sign_trust(document or trust_document(self.now_s), *signers)
        (self.path / "trust.json").write_bytes(envelope.encode(signed))
        return signed

    def out(self) -> envelope.Envelope:
        return envelope.decode_untrusted((self.path / "out.json").read_bytes())

    def export(
        self,
        n: int = 1,
        *,
        edit: Callable[[items.Item], items.Item] = lambda i: i,
        signer: str = "plan",
        log_signer: str = "log",
        log: tuple[int, bytes] = (5, b"\x05" * 32),
        name: str = "export",
        **changes: object,
    ) -> Path:
        """Write what `ispagent change show ID --export` writes, and return its folder."""
        entries = [edit(make_item(i, self.now_s)) for i in range(1, n + 1)]
        head = items.Head(
            plan_id="22" * 16,
            salt="33" * 16,
            items_n=n,
            counts={"change": n},
            waves=(items.Wave(1, n, 0),),
            pace=items.Pace(2, 2, 10),
            config_sha256="44" * 32,
        )
        documents = [items.encode_head(head), *map(items.encode_item, entries)]
        plan = self.plan(n, items_root=items.items_root(documents).hex(), **changes)
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        (folder / "plan.json").write_bytes(envelope.encode(statements.sign(plan, [key(signer)])))
        (folder / "items.jsonl").write_bytes(b"".join(d + b"\n" for d in documents))
        note = checkpoint.sign_checkpoint(checkpoint.Checkpoint(ORIGIN, *log), key(log_signer), ORIGIN)
        (folder / "checkpoint.txt").write_bytes(note)
        (folder / "short").write_text("5ZZZZ\n")
        (folder / "trust.json").write_bytes(envelope.encode(sign_trust(trust_document(self.now_s))))
        return folder

    def plan(self, n: int, **changes: object) -> Plan:
        minute = self.now_s // 60
        base = Plan(
            trust_id=TRUST_ID,
            plan_id="22" * 16,
            agent=AGENT,
            trust_version=1,
            intent_sha256="66" * 32,
            requester="tech4",
            risk_class=RiskClass.LOW if n <= 10 else RiskClass.BATCH,
            action=Action.SUSPEND,
            made=minute,
            start_by=minute + 30,
            run_until=minute + 60,
            size_bucket=statements.size_bucket(n),
            effect_kinds=(EffectKind.DISCONNECT,),
            guard_kind=GuardKind.NONE,
            cannot_enforce=False,
            on_failure=OnFailure.STOP,
            on_stale=OnStale.SKIP,
            items_root="00" * 32,
            build_sha256="77" * 32,
            log_size=4,
            log_root="04" * 32,
        )
        assert base.size_bucket is not SizeBucket.NONE
        return dataclasses.replace(base, **changes)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "passphrase").write_bytes(PASSPHRASE + b"\n")
    made = Desk(tmp_path, int(time.time()))
    made.write_trust()
    return made


def alter_payload(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change a signed statement and leave its signatures as they are."""
    before = envelope.decode_untrusted(path.read_bytes())
    document = json.loads(before.payload)
    change(document)
    after = envelope.Envelope(before.payload_type, json.dumps(document).encode(), before.signatures)
    path.write_bytes(envelope.encode(after))
