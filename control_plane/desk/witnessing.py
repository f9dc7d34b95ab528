"""A desk as a witness of agents' logs: it remembers durably, then cosigns; it does not sign a checkpoint that does not
follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from control_plane.desk import remembered_checkpoints
from control_plane.desk.cli_shared import Own
from control_plane.desk.feed import Received
from control_plane.desk.remembered_checkpoints import RememberedCheckpoints
from control_plane.errors import RefusedHereError
from trust import checkpoint, witness
from trust.checkpoint import Checkpoint, VerifierKey
from trust.document import Trust
from trust.errors import MalformedNoteError
from trust.keys import SigningKey
from trust.statements import SeenLog
from trust.witness import AddCheckpoint, Refusal

CONFLICT = 409
BAD_PROOF = 422


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """The answer to the agent (None: nothing), and the sentence for the person; `alarm`: they should look now."""

    body: bytes | None
    said: str
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class DeskWitness:
    """A witness key under the name that the trust document has for it."""

    key: SigningKey
    vkey: VerifierKey

    def is_asked(self, message: Received) -> bool:
        """Return whether a checkpoint is addressed to this witness."""
        return message.witness == self.vkey.key_id

    def answer(self, message: Received, own: Own, now_s: int) -> WitnessAnswer:
        """Return the answer to an add-checkpoint request; its content is durable before.

        Raises:
            LocalFailureError: the seen heads cannot be written: then nothing is cosigned.
        """
        agent = own.trust.agent(message.agent)
        if agent is None:
            return WitnessAnswer(None, "a checkpoint of an agent that your trust document does not know: not cosigned")
        try:
            request = witness.decode_request_untrusted(message.body)
            log_key = checkpoint.parse_vkey_untrusted(agent.log_key)
        except MalformedNoteError as err:
            return WitnessAnswer(None, f"{agent.handle}: a malformed checkpoint request: {err}")
        judged = _judge_and_remember(request, log_key, agent.agent, own)
        if isinstance(judged, Checkpoint):
            line = checkpoint.cosign(witness.note_text(request.note), self.vkey.name, self.key, now_s)
            return WitnessAnswer(line.encode(), f"{agent.handle}: cosigned its log of {judged.size} entries")
        if judged.status == CONFLICT:
            said = f"{agent.handle}: asked from {request.old} entries, this witness has seen {judged.size}"
            return WitnessAnswer(b"conflict %d\n" % (judged.size or 0), said)
        # The very size that it was asked from: the agent learns that its log of that size is another one
        body = b"conflict %d\n" % request.old if judged.status == BAD_PROOF and request.old else None
        return WitnessAnswer(body, f"{agent.handle}: NOT cosigned ({judged.status}): {_WHY[judged.status]}", alarm=True)


_WHY = {
    400: "not a checkpoint request",
    403: "its log key did not sign it",
    404: "of another log than the agent's",
    422: "the log does not go on from what this witness saw: it was forked or cut",
}


def _judge_and_remember(request: AddCheckpoint, log_key: VerifierKey, agent: str, own: Own) -> Checkpoint | Refusal:
    judged: list[Checkpoint | Refusal] = []

    def change(seen: RememberedCheckpoints) -> RememberedCheckpoints:
        last = seen.last_cosigned(agent)
        known = None if last is None else Checkpoint(log_key.name, last.size, bytes.fromhex(last.root))
        result = _contradiction(witness.judge(request, log_key, known), seen.log(agent))
        judged.append(result)
        return seen if isinstance(result, Refusal) else remembered_checkpoints.with_cosigned(seen, agent, result)

    # Judged and written under one lock: two at a time would roll it back
    own.change_seen(change)
    return judged[0]


def _contradiction(judged: Checkpoint | Refusal, seen: SeenLog | None) -> Checkpoint | Refusal:
    """Return the verdict, unless approvals made here saw that log go further, or otherwise."""
    if isinstance(judged, Refusal) or seen is None or judged.size > seen.size:
        return judged
    if judged.size < seen.size:
        return Refusal(CONFLICT, seen.size)
    return judged if judged.root.hex() == seen.root else Refusal(BAD_PROOF)


def find(trust: Trust, key: SigningKey) -> DeskWitness:
    """Return the witness that the trust document makes of a key.

    Raises:
        RefusedHereError: the document has no such witness.
    """
    for known in trust.witnesses:
        for text in known.vkeys:
            try:
                vkey = checkpoint.parse_witness_vkey_untrusted(text)
            except MalformedNoteError:
                continue
            if vkey.public == key.public:
                return DeskWitness(key, vkey)
    raise RefusedHereError(
        f"expected a witness of trust version {trust.version} with the key {key.public.hex()}, it has none "
        "(ispcloud trust add witness)"
    )
