"""A small operator for tests of `trust`: five people, one agent, one service; and where the public vectors are."""

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from trust import chain, checkpoint, envelope, items, policy, statements
from trust.document import Person, PersonKey, Root, RootKey, ServiceAccount, Trust, TrustedAgent
from trust.items import EffectKind, GuardKind, ReasonChange, SuspensionReason
from trust.keys import SigningKey
from trust.policy import Action, RiskClass, Role, ServiceRequester
from trust.statements import (
    Approval,
    Decision,
    OnFailure,
    OnStale,
    Plan,
    ReasonCode,
    Saw,
    SeenHeads,
    SizeBucket,
    Standing,
    StandingEvidence,
)

DAY = 86_400
NOW = 1_760_000_040
MINUTE = NOW // 60
TRUST_ID = "11" * 16
AGENT = "aa" * 16
ORIGIN = "isp.example/agent/" + AGENT
ZEROS = "00" * 32

_DATA = Path(__file__).parents[2].parent / "shared" / "data"


def data_file(name: str) -> Path:
    path = _DATA / name
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is absent, and CI must run its tests")
        pytest.skip(f"public vectors {name} are not there", allow_module_level=True)
    return path


def key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


def person(handle: str, *roles: Role, scope: tuple[str, ...] = ("all",), keys: int = 1, sees: bool = True) -> Person:
    names = [handle, *(f"{handle}-{n}" for n in range(2, keys + 1))]
    return Person(handle, roles, scope, sees, tuple(PersonKey("ed25519", key(n).public.hex()) for n in names))


def root_key(handle: str, name: str | None = None) -> RootKey:
    return RootKey(handle, key(name or f"root-{handle}").public.hex())


_PROGRAMS = dict.fromkeys(RiskClass, ServiceRequester.RUN_BY) | {
    RiskClass.CONFIG: None,  # as in documents from before it was asked
    RiskClass.BATCH: ServiceRequester.ONE_MORE,
}


def trust(**changes: object) -> Trust:
    document = Trust(
        trust_id=TRUST_ID,
        version=1,
        prev=ZEROS,
        issued=NOW - DAY,
        expires=NOW + 30 * DAY,
        root=Root(2, (root_key("maria"), root_key("lena"), root_key("joseph"))),
        people=(
            person("maria", Role.OWNER, Role.APPROVER, Role.REQUESTER, keys=2),
            person("joseph", Role.APPROVER, keys=2),
            person("lena", Role.OWNER, Role.APPROVER),
            person("tech4", Role.REQUESTER),
            person("far", Role.APPROVER, scope=("bb" * 16,)),
        ),
        services=(
            ServiceAccount("billing", (PersonKey("ed25519", key("billing").public.hex()),)),
            ServiceAccount("portal", (PersonKey("ed25519", key("portal").public.hex()),), run_by="joseph"),
        ),
        agents=(
            TrustedAgent(
                AGENT,
                "north",
                key("agent-plan").public.hex(),
                checkpoint.encode_vkey(ORIGIN, key("agent-log").public),
            ),
        ),
        policy=tuple(dataclasses.replace(c, service_requester=_PROGRAMS[c.risk_class]) for c in policy.preset()),
    )
    return dataclasses.replace(document, **changes)


def signed_trust(document: Trust, *signers: str) -> envelope.Envelope:
    return statements.sign(document, [key(s) for s in signers or ("root-maria", "root-lena")])


def sha(document: Trust) -> str:
    return chain.head_sha256(signed_trust(document))


def item(n: int = 1, **changes: object) -> items.Item:
    step = items.Step(
        n=1,
        target="radius/main",
        do=(
            items.Transition(
                items.Address("radius/main/user/amina.h"),
                items.Seen({"reply:Mikrotik-Rate-Limit": (":=", "20M/20M"), "group:home": "1"}, NOW),
                {
                    "group:suspended": "-1",
                    "reply:Mikrotik-Rate-Limit": (":=", "20M/20M"),
                    "group:home": "1",
                },
            ),
        ),
    )
    drop = items.Effect(
        items.Address("radius/main/sessions/amina.h"), "disconnect", {"user": "amina.h"}, "k1",
        items.Replay.IF_UNPROVEN, items.ProofKind.GONE, 30,
    )  # fmt: skip
    base = items.Item(
        n=n,
        salt="5a" * 16,
        subject="C-10482",
        listed=items.Listed.CHANGE,
        reason="",
        display={"title": "C-10482 Amina Hassan", "why": "12 days late", "nas": "bng-2", "online": "online"},
        requires=(items.Requirement(items.Address("billing/file/C-10482"), "owes", "owes 34.00"),),
        steps=(step, items.Step(2, "radius/main", drop, (1,), (drop,))),
        enforce=items.Enforcement(
            "radius/main", items.Address("radius/main/sessions/amina.h"), {"state": "garden"}, 60
        ),
        desired=(ReasonChange(SuspensionReason.DEBT, added=True),),
    )
    return dataclasses.replace(base, **changes)


def documents(*entries: items.Item, **head: object) -> tuple[bytes, ...]:
    entries = entries or (item(),)
    changed = sum(1 for e in entries if e.listed is items.Listed.CHANGE)
    base = items.Head(
        plan_id="22" * 16,
        salt="33" * 16,
        items_n=len(entries),
        counts={"change": changed},
        waves=(items.Wave(1, len(entries), 0),),
        pace=items.Pace(2, 2, 10),
        config_sha256="44" * 32,
        display={"asked_at": "09:04", "needs": "1 approver", "until": "09:34", "undo": "ispagent change revert K7QF"},
    )
    return (items.encode_head(dataclasses.replace(base, **head)), *(items.encode_item(e) for e in entries))


def plan(**changes: object) -> Plan:
    base = Plan(
        trust_id=TRUST_ID,
        plan_id="22" * 16,
        agent=AGENT,
        trust_version=1,
        intent_sha256="66" * 32,
        requester="maria",
        risk_class=RiskClass.LOW,
        action=Action.SUSPEND,
        made=MINUTE,
        start_by=MINUTE + 30,
        run_until=MINUTE + 60,
        size_bucket=SizeBucket.ONE,
        effect_kinds=(EffectKind.DISCONNECT,),
        guard_kind=GuardKind.NONE,
        cannot_enforce=False,
        on_failure=OnFailure.STOP,
        on_stale=OnStale.SKIP,
        items_root=items.items_root(documents()).hex(),
        build_sha256="77" * 32,
        log_size=0,
        log_root=hashlib.sha256(b"").hexdigest(),
    )
    return dataclasses.replace(base, **changes)


def digest(p: Plan) -> bytes:
    return envelope.digest_of(statements.payload_type(Plan), statements.encode(p))


def approval(p: Plan, who: str, *signers: str, **changes: object) -> envelope.Envelope:
    base = Approval(
        trust_id=TRUST_ID,
        plans=(digest(p).hex(),),
        decision=Decision.APPROVE,
        person=who,
        saw=Saw.DETAIL,
        not_before=MINUTE,
        not_after=MINUTE + 30,
        reason_code=ReasonCode.CHECKED,
        seen=SeenHeads(1, sha(trust())),
    )
    return statements.sign(dataclasses.replace(base, **changes), [key(s) for s in signers or (who,)])


def standing(**changes: object) -> Standing:
    base = Standing(
        trust_id=TRUST_ID,
        standing_id="88" * 16,
        verb=Action.RESTORE,
        person="joseph",
        scope=(AGENT,),
        evidence=StandingEvidence.PAYMENT_MATCHED,
        rate_per_hour=60,
        not_before=MINUTE,
        not_after=MINUTE + 720,
    )
    return dataclasses.replace(base, **changes)


def signed_standing(*signers: str, **changes: object) -> envelope.Envelope:
    return statements.sign(standing(**changes), [key(s) for s in signers or ("joseph", "lena")])
