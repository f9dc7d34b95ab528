"""People with keys, for tests: a trust document that they sign, and what they sign under it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from trust import chain, chance, statements
from trust import envelope as envelopes
from trust.checkpoint import encode_vkey
from trust.document import Person, PersonKey, Quorum, Root, RootKey, Trust, TrustedAgent
from trust.envelope import Envelope
from trust.keys import SigningKey
from trust.policy import Action, PolicyClass, Role, preset
from trust.seal import SealingKey
from trust.statements import (
    Approval,
    Cancel,
    Decision,
    Freeze,
    FreezeScope,
    Pause,
    Plan,
    ReasonCode,
    Resume,
    Saw,
    SealKey,
    SeenHeads,
    Standing,
    StandingEvidence,
    Unfreeze,
    View,
)

ROLES = {
    "maria": (Role.REQUESTER, Role.APPROVER),
    "joseph": (Role.APPROVER,),
    "lena": (Role.APPROVER, Role.OWNER),
}


def any_time() -> tuple[PolicyClass, ...]:
    """The presets without office hours."""
    return tuple(replace(p, windows=()) for p in preset())


@dataclass
class People:
    """Three people; lena and joseph hold root keys."""

    keys: dict[str, SigningKey] = field(default_factory=lambda: {name: SigningKey.generate() for name in ROLES})
    trust_id: str = field(default_factory=lambda: chance.token_hex(16))
    policy: tuple[PolicyClass, ...] = field(default_factory=any_time)
    now_s: int = field(default_factory=lambda: int(time.time()))

    def trust(self, agent: TrustedAgent, *, days: int = 30, issued_s: int | None = None) -> Trust:
        issued = self.now_s if issued_s is None else issued_s
        return Trust(
            trust_id=self.trust_id,
            version=1,
            prev="0" * 64,
            issued=issued,
            expires=issued + days * 86400,
            root=Root(2, tuple(RootKey(n, self.keys[n].public.hex()) for n in ("joseph", "lena"))),
            people=tuple(
                Person(n, roles, ("all",), True, (PersonKey("ed25519", self.keys[n].public.hex()),))
                for n, roles in ROLES.items()
            ),
            services=(),
            agents=(agent,),
            policy=self.policy,
            witnesses=(),
            quorum=Quorum(0, 0),
        )

    def sign_trust(self, trust: Trust) -> tuple[bytes, str]:
        """Return the signed document and its head's words."""
        envelope = statements.sign(trust, [self.keys["joseph"], self.keys["lena"]])
        return envelopes.encode(envelope), chain.head_words(envelope)

    def approve(
        self,
        plan_envelope: Envelope | Sequence[Envelope],
        who: str,
        *,
        decision: Decision = Decision.APPROVE,
        saw: Saw = Saw.DETAIL,
        key: SigningKey | None = None,
        seen: SeenHeads | None = None,
        not_before: int | None = None,
    ) -> bytes:
        plans = [plan_envelope] if isinstance(plan_envelope, Envelope) else list(plan_envelope)
        now = self.now_s // 60
        approval = Approval(
            trust_id=self.trust_id,
            plans=tuple(envelopes.digest(p).hex() for p in plans),
            decision=decision,
            person=who,
            saw=saw,
            not_before=now - 1 if not_before is None else not_before,
            not_after=now + 240,
            reason_code=ReasonCode.NONE if hasattr(ReasonCode, "NONE") else next(iter(ReasonCode)),
            seen=seen or SeenHeads(1, "0" * 64),
        )
        return envelopes.encode(statements.sign(approval, [key or self.keys[who]]))

    def cancel(self, plan_envelope: Envelope, who: str) -> bytes:
        cancel = Cancel(
            self.trust_id, chance.token_hex(16), (envelopes.digest(plan_envelope).hex(),), who, self.now_s // 60
        )
        return envelopes.encode(statements.sign(cancel, [self.keys[who]]))

    def pause(
        self, plan_envelope: Envelope, who: str, kind: type[Pause | Resume] = Pause, *, minutes: int = 0
    ) -> bytes:
        plan = envelopes.digest(plan_envelope).hex()
        made = kind(self.trust_id, chance.token_hex(16), plan, who, int(time.time()) // 60 + minutes)
        return envelopes.encode(statements.sign(made, [self.keys[who]]))

    def freeze(self, who: str, scope: FreezeScope = FreezeScope.ALL, target: str = "") -> bytes:
        freeze = Freeze(self.trust_id, chance.token_hex(16), scope, target, who, self.now_s // 60)
        return envelopes.encode(statements.sign(freeze, [self.keys[who]]))

    def unfreeze(self, freeze: bytes, who: Sequence[str], *also: bytes) -> bytes:
        first, *others = (envelopes.digest(envelopes.decode_untrusted(f)).hex() for f in (freeze, *also))
        unfreeze = Unfreeze(self.trust_id, first, who[0], self.now_s // 60, tuple(others))
        return envelopes.encode(statements.sign(unfreeze, [self.keys[w] for w in who]))

    def standing(
        self,
        who: Sequence[str] = ("lena", "joseph"),
        *,
        verb: Action = Action.RESTORE,
        scope: tuple[str, ...] = ("all",),
        evidence: StandingEvidence = StandingEvidence.PAYMENT_MATCHED,
        rate_per_hour: int = 60,
        starts_in_min: int = -1,
        minutes: int = 12 * 60,
    ) -> bytes:
        start = self.now_s // 60 + starts_in_min
        standing = Standing(
            self.trust_id, chance.token_hex(16), verb, who[0], scope, evidence, rate_per_hour, start, start + minutes
        )
        return envelopes.encode(statements.sign(standing, [self.keys[w] for w in who]))

    def view(
        self,
        plan_envelope: Envelope,
        who: str,
        key: SealingKey,
        *,
        minutes: int = 5,
        seen: SeenHeads | None = None,
        signer: SigningKey | None = None,
        view_id: str | None = None,
    ) -> bytes:
        """A request to see a plan's items, sealed to `key`, which the caller makes and forgets."""
        plan = statements.decode_as_untrusted(Plan, plan_envelope)
        view = View(
            trust_id=self.trust_id,
            view_id=view_id or chance.token_hex(16),
            agent=plan.agent,
            plan_sha256=envelopes.digest(plan_envelope).hex(),
            person=who,
            eph_pub=key.public.hex(),
            seen=seen or SeenHeads(1, "0" * 64),
            expires=self.now_s // 60 + minutes,
        )
        return envelopes.encode(statements.sign(view, [signer or self.keys[who]]))

    def sealkey(self, agent: str, plan_key: SigningKey, key: SealingKey, *, minutes: int = 7 * 24 * 60) -> bytes:
        now = self.now_s // 60
        sealkey = SealKey(self.trust_id, agent, key.public.hex(), now, now + minutes)
        return envelopes.encode(statements.sign(sealkey, [plan_key]))


def trusted(agent: str, handle: str, plan_key: SigningKey, origin: str, log_key: SigningKey) -> TrustedAgent:
    """Return an agent's entry."""
    return TrustedAgent(agent, handle, plan_key.public.hex(), encode_vkey(origin, log_key.public))


def plan_of(change: dict[str, object]) -> Envelope:
    """Return the plan's envelope out of an API answer."""
    import base64

    return envelopes.decode_untrusted(base64.b64decode(str(change["plan"])))


__all__ = ["People", "Plan", "any_time", "plan_of", "trusted"]


AGENT, ID = "0a" * 16, "0b" * 16


PEOPLE = People()


KEYS = SigningKey.generate(), SigningKey.generate()


TRUST = PEOPLE.trust(trusted(AGENT, "noc-1", KEYS[0], "ispagents.local/agent/noc-1", KEYS[1]))
