"""Messages of the protocol, checked field by field: from the store's form to the one that travels, and back. Pure.

Nothing that comes in is believed: a message that does not fit its kind is passed over and counted (`Unusable`), so that
it cannot hold up later ones. Order and numbering are `link`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.store.mail import Incoming, Outgoing
from agent.uplink import limits
from protos import message_pb2 as pb
from protos.limits import MESSAGE_BYTES

KINDS_IN: Final = {
    pb.KIND_INTENT: "intent",
    pb.KIND_APPROVAL: "approval",
    pb.KIND_CANCEL: "cancel",
    pb.KIND_FREEZE: "freeze",
    pb.KIND_UNFREEZE: "unfreeze",
    pb.KIND_TRUST: "trust",
    pb.KIND_STANDING: "standing",
    pb.KIND_PAUSE: "pause",
    pb.KIND_RESUME: "resume",
    pb.KIND_COSIGNATURE: "cosignature",
}
"""Messages that an agent is sent and keeps."""

LIVE_KINDS: Final = {pb.KIND_VIEW: "view"}
"""Messages that are passed on while both sides are there, without a number."""

KINDS_OUT: Final = {
    "plan": pb.KIND_PLAN,
    "receipt": pb.KIND_RECEIPT,
    "outcome": pb.KIND_OUTCOME,
    "sealkey": pb.KIND_SEALKEY,
    "checkpoint": pb.KIND_CHECKPOINT,
    "view-page": pb.KIND_VIEW_PAGE,
}
"""Messages that an agent sends."""

_TO_ALL: Final = frozenset({pb.KIND_FREEZE, pb.KIND_UNFREEZE, pb.KIND_TRUST, pb.KIND_STANDING})


@dataclass(frozen=True, slots=True)
class Unusable:
    """A message that is passed over; `why` is one of a few words of ours."""

    number: int
    why: str


def incoming_untrusted(message: pb.Message, number: int, agent: bytes) -> Incoming | Unusable:
    """Return the message as the store keeps it, or why it is passed over. Total.

    Args:
        message: as it was decoded; any of its fields may be anything.
        number: its number in this agent's sequence; 0: live.
        agent: this agent's id, 16 bytes.
    """
    kinds = KINDS_IN if number else LIVE_KINDS
    if message.kind not in kinds:
        return Unusable(number, "kind")
    if len(message.ref) != limits.REF_BYTES:
        return Unusable(number, "ref")
    if message.agent != agent and not (message.kind in _TO_ALL and not message.agent):
        return Unusable(number, "agent")
    if not 0 < len(message.body) <= limits.BODY_BYTES:
        return Unusable(number, "body")
    # Counted before they are touched: 4 MiB hold two million empty ones.
    if len(message.links) > limits.LINKS_MAX or any(not link for link in message.links):
        return Unusable(number, "links")
    if len(message.witness) != (limits.WITNESS_BYTES if message.kind == pb.KIND_COSIGNATURE else 0):
        return Unusable(number, "witness")
    if message.answers or message.last:
        return Unusable(number, "answers")
    return Incoming(
        number=number,
        ref=message.ref,
        kind=kinds[message.kind],
        body=message.body,
        links=tuple(message.links),
        answers=b"",
        witness=message.witness,
    )


def outgoing(out: Outgoing, agent: bytes) -> pb.Message | None:
    """Return the message for a row of the outbox; None: no control plane takes it (its kind, or its size)."""
    kind = KINDS_OUT.get(out.kind)
    if kind is None or len(out.body) > MESSAGE_BYTES - limits.OVERHEAD_BYTES:
        return None
    return pb.Message(
        kind=kind,
        ref=out.ref,
        agent=agent,
        body=out.body,
        answers=out.answers,
        last=out.last,
        witness=out.witness,
    )
