"""Permissions to send: one pure function from a message to the queues that it goes to, and the quotas.

The control plane opens nothing that is sealed. An open body must read as the statement of its kind, written as `trust`
writes it: an unknown field of an envelope or of a statement, an extension, or a stray byte is refused, so that nothing
free-form passes inside a signed body. It judges no signature: its word proves nothing.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from control_plane import limits
from control_plane.limits import Quota
from control_plane.members import IdentityKind, MemberIdentity
from control_plane.queues import agent_queue, feed
from protos import message_pb2 as pb
from trust import envelope as _envelope
from trust import statements, witness
from trust.checkpoint import parse_checkpoint_untrusted
from trust.document import Trust
from trust.envelope import Envelope
from trust.errors import MalformedError
from trust.statements import (
    Approval,
    Cancel,
    Freeze,
    Outcome,
    Pause,
    Plan,
    Receipt,
    Resume,
    SealKey,
    Standing,
    Statement,
    Unfreeze,
    View,
)

ID_BYTES: Final = 16
_KEYID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SIGNATURE_BYTES: Final = 64
_COSIGNATURES: Final = re.compile(rb"(?:\xe2\x80\x94 [a-z0-9./_-]{1,128} [A-Za-z0-9+/]{16,172}={0,2}\n){1,16}")
_CONFLICT: Final = re.compile(rb"conflict (?:0|[1-9][0-9]{0,18})\n")

AGENT: Final = IdentityKind.AGENT
PERSON: Final = IdentityKind.PERSON
SERVICE: Final = IdentityKind.SERVICE


class To(enum.Enum):
    """Where a kind goes. EVERYWHERE: the agent that is named, or all of them and the shared feed."""

    FEED = "feed"
    AGENT = "agent"
    EVERYWHERE = "everywhere"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions for one kind. `statement` None: sealed, or a format of its own; `keep_s` 0: kept nowhere."""

    senders: frozenset[IdentityKind]
    to: To
    body_max: int
    keep_s: int
    statement: type[Statement] | None = None


_AGENTS: Final = frozenset({AGENT})
_PEOPLE: Final = frozenset({PERSON})
_WEEK_S: Final = 7 * limits.DAY_S
_QUARTER_S: Final = 90 * limits.DAY_S

RULES: Final[Mapping[int, Rule]] = {
    pb.KIND_PLAN: Rule(_AGENTS, To.FEED, limits.PLAN_BYTES, _WEEK_S, Plan),
    pb.KIND_RECEIPT: Rule(_AGENTS, To.FEED, limits.RECEIPT_BYTES, _WEEK_S, Receipt),
    pb.KIND_OUTCOME: Rule(_AGENTS, To.FEED, limits.OUTCOME_BYTES, _WEEK_S, Outcome),
    pb.KIND_SEALKEY: Rule(_AGENTS, To.FEED, limits.SEALKEY_BYTES, _QUARTER_S, SealKey),
    pb.KIND_CHECKPOINT: Rule(_AGENTS, To.FEED, limits.CHECKPOINT_BYTES, limits.HOUR_S),
    pb.KIND_INTENT: Rule(frozenset({PERSON, SERVICE}), To.AGENT, limits.INTENT_BYTES, limits.DAY_S),
    pb.KIND_APPROVAL: Rule(_PEOPLE, To.AGENT, limits.APPROVAL_BYTES, limits.DAY_S, Approval),
    pb.KIND_CANCEL: Rule(_PEOPLE, To.AGENT, limits.CANCEL_BYTES, _QUARTER_S, Cancel),
    pb.KIND_PAUSE: Rule(_PEOPLE, To.AGENT, limits.PAUSE_BYTES, limits.DAY_S, Pause),
    pb.KIND_RESUME: Rule(_PEOPLE, To.AGENT, limits.PAUSE_BYTES, limits.DAY_S, Resume),
    pb.KIND_FREEZE: Rule(_PEOPLE, To.EVERYWHERE, limits.FREEZE_BYTES, _QUARTER_S, Freeze),
    pb.KIND_UNFREEZE: Rule(_PEOPLE, To.EVERYWHERE, limits.UNFREEZE_BYTES, _QUARTER_S, Unfreeze),
    pb.KIND_TRUST: Rule(_PEOPLE, To.EVERYWHERE, limits.TRUST_BYTES, _QUARTER_S, Trust),
    pb.KIND_STANDING: Rule(_PEOPLE, To.EVERYWHERE, limits.STANDING_BYTES, _QUARTER_S, Standing),
    pb.KIND_COSIGNATURE: Rule(_PEOPLE, To.AGENT, limits.COSIGNATURE_BYTES, limits.HOUR_S),
    pb.KIND_VIEW: Rule(_PEOPLE, To.LIVE, limits.VIEW_BYTES, 0, View),
    pb.KIND_VIEW_PAGE: Rule(_AGENTS, To.LIVE, limits.PAGE_BYTES, 0),
}
"""Every kind that there is. Any other is refused."""

SERVICE_READS: Final = frozenset({pb.KIND_SEALKEY, pb.KIND_RECEIPT, pb.KIND_OUTCOME, pb.KIND_TRUST})
"""The part of the shared feed that a service (billing) sees: enough to ask, next month too (under the next trust
document), and the results.
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a message is not taken: a `Refusal` of the protos, and when to come back."""

    refusal: pb.Refusal
    retry_after_s: int = 0


@dataclass(frozen=True, slots=True)
class RoutedMessage:
    """A message that may go. `message` holds known fields only; `queues` is empty for one that is kept nowhere."""

    message: pb.Message
    queues: tuple[bytes, ...]
    keep_s: int


_MALFORMED: Final = Refused(pb.REFUSAL_MALFORMED)
_TOO_LARGE: Final = Refused(pb.REFUSAL_TOO_LARGE)
_WRONG_KIND: Final = Refused(pb.REFUSAL_WRONG_KIND)
_UNKNOWN_AGENT: Final = Refused(pb.REFUSAL_UNKNOWN_AGENT)


def sender_name(sender: MemberIdentity) -> str:
    """Return the name of a sender among its operator's: refs and quotas are its own."""
    return f"{sender.kind.value}/{sender.who}"


def route(sender: MemberIdentity, message: pb.Message, agents: Collection[bytes]) -> RoutedMessage | Refused:
    """Return where a message goes, or why it does not.

    Args:
        sender: by its certificate, never by the message's own words.
        message: as received.
        agents: the ids of the agents of the sender's operator.
    """
    rule = RULES.get(message.kind)
    if rule is None or sender.kind not in rule.senders:
        return _WRONG_KIND
    if len(message.body) > rule.body_max or len(message.links) > limits.LINKS_MAX:
        return _TOO_LARGE
    if any(len(link) > limits.TRUST_BYTES for link in message.links):
        return _TOO_LARGE
    if len(message.body) + sum(map(len, message.links)) > limits.CARRIED_BYTES:
        return _TOO_LARGE
    agent = sender.agent if sender.kind is AGENT and not message.agent else message.agent
    if not _well_formed(message, rule, agent):
        return _MALFORMED
    if agent and (agent not in agents or (sender.kind is AGENT and agent != sender.agent)):
        return _UNKNOWN_AGENT
    if not _body_fits(message, rule, agent):
        return _MALFORMED
    return RoutedMessage(_known_fields(message, agent), _queues(sender.operator, rule, agent, agents), rule.keep_s)


def _well_formed(message: pb.Message, rule: Rule, agent: bytes) -> bool:
    is_page = message.kind == pb.KIND_VIEW_PAGE
    names_witness = message.kind in (pb.KIND_CHECKPOINT, pb.KIND_COSIGNATURE)
    return (
        len(message.ref) == ID_BYTES
        and (len(agent) == ID_BYTES or (not agent and rule.to is To.EVERYWHERE))
        and len(message.answers) == (ID_BYTES if is_page else 0)
        and (is_page or not message.last)
        and len(message.witness) == (4 if names_witness else 0)
        and (not message.links or PERSON in rule.senders)
    )


def _body_fits(message: pb.Message, rule: Rule, agent: bytes) -> bool:
    if not message.body or any(_statement(link, Trust) is None for link in message.links):
        return False
    if rule.statement is not None:
        statement = _statement(message.body, rule.statement)
        # What an agent says of itself, and whom a viewer asks: another agent's name there is a mistake or a trick
        named = statement.agent if isinstance(statement, Plan | Receipt | Outcome | SealKey | View) else agent.hex()
        return statement is not None and named == agent.hex()
    match message.kind:
        case pb.KIND_CHECKPOINT:
            return _is_checkpoint(message.body)
        case pb.KIND_COSIGNATURE:
            return bool(_COSIGNATURES.fullmatch(message.body) or _CONFLICT.fullmatch(message.body))
        case _:  # sealed
            return True


def _statement(body: bytes, kind: type[Statement]) -> Statement | None:
    """Return the statement that a body is, if it holds that and nothing else."""
    try:
        envelope = _envelope.decode_untrusted(body)
        statement = statements.decode_as_untrusted(kind, envelope)
    except MalformedError:
        return None
    signed = all(_KEYID.fullmatch(s.keyid) and len(s.sig) == _SIGNATURE_BYTES for s in envelope.signatures)
    return statement if signed and _is_all(body, envelope, statement) else None


def _is_all(body: bytes, envelope: Envelope, statement: Statement) -> bool:
    if _envelope.encode(envelope) != body:
        return False
    written = statements.encode(statement)
    if written == envelope.payload:
        return True
    # A mapping's order is the writer's own
    return len(written) == len(envelope.payload) and json.loads(written) == json.loads(envelope.payload)


def _is_checkpoint(body: bytes) -> bool:
    try:
        parse_checkpoint_untrusted(witness.note_text(witness.decode_request_untrusted(body).note))
    except MalformedError:
        return False
    return True


def _known_fields(message: pb.Message, agent: bytes) -> pb.Message:
    """Return the message without the fields that this version does not know: they could hold anything."""
    return pb.Message(
        kind=message.kind,
        ref=message.ref,
        agent=agent,
        body=message.body,
        links=message.links,
        answers=message.answers,
        last=message.last,
        witness=message.witness,
    )


def _queues(operator: bytes, rule: Rule, agent: bytes, agents: Collection[bytes]) -> tuple[bytes, ...]:
    match rule.to:
        case To.LIVE:
            return ()
        case To.FEED:
            return (feed(operator),)
        case _ if agent:
            return (agent_queue(operator, agent),)
        case _:
            return (*(agent_queue(operator, a) for a in sorted(agents)), feed(operator))


def reading_calls(message: pb.Message) -> int:
    """Return how many calls reading a message counts for beside its own: a large statement takes the time of many."""
    rule = RULES.get(message.kind)
    body = len(message.body) if rule is not None and rule.statement is not None else 0
    return (body + sum(map(len, message.links))) // limits.CALL_BYTES


# --- quotas ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class Quotas:
    """Token buckets: the calls left to each member and each operator in this minute. In memory only."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self._buckets: dict[tuple[bytes, str], _Bucket] = {}

    def take(self, sender: MemberIdentity, now_s: float, calls: int = 1) -> int:
        """Take calls; return 0, or in how many seconds there will be as many again (then nothing is taken).

        Args:
            sender: the caller.
            now_s: seconds of a clock that does not jump back.
            calls: how many; not more are asked for than a minute gives, so that everything goes at some time.
        """
        member = self._bucket((sender.operator, sender_name(sender)), self.quota.member_messages_per_minute, now_s)
        operator = self._bucket((sender.operator, ""), self.quota.operator_messages_per_minute, now_s)
        asked = [
            (bucket, per_minute, min(calls, per_minute))
            for bucket, per_minute in (
                (member, self.quota.member_messages_per_minute),
                (operator, self.quota.operator_messages_per_minute),
            )
        ]
        waits = [(n - bucket.tokens) * 60 / per_minute for bucket, per_minute, n in asked if bucket.tokens < n]
        if waits:
            return math.ceil(max(waits))
        for bucket, _, n in asked:
            bucket.tokens -= n
        return 0

    def _bucket(self, key: tuple[bytes, str], per_minute: int, now_s: float) -> _Bucket:
        most = float(per_minute * limits.BURST)
        bucket = self._buckets.setdefault(key, _Bucket(most, now_s))
        bucket.tokens = min(most, bucket.tokens + max(0.0, now_s - bucket.at_s) * per_minute / 60)
        bucket.at_s = now_s
        return bucket
