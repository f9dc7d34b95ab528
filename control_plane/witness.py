"""The control plane's own witness (C2SP tlog-witness): a checkpoint is durable before its cosignature exists.

Known size and root are compared and replaced in one transaction of the one writer. A log is named by operator and
agent as well as by its origin: nobody can claim the name of another's log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from control_plane.clock import SYSTEM
from control_plane.store import CloudStore, CloudTx
from protos import message_pb2 as pb
from protos.agent_pb2 import AddCheckpointReply
from trust import checkpoint, witness
from trust.checkpoint import Checkpoint, VerifierKey
from trust.errors import MalformedError
from trust.keys import SigningKey
from trust.witness import AddCheckpoint, Refusal

CONFLICT: Final = 409
_REFUSALS: Final = {
    400: pb.REFUSAL_MALFORMED,
    403: pb.REFUSAL_UNKNOWN_LOG,
    404: pb.REFUSAL_UNKNOWN_LOG,
    422: pb.REFUSAL_BAD_PROOF,
}


@dataclass(frozen=True, slots=True)
class Remember:
    """Judge a checkpoint against the last cosigned one, and keep it in its place."""

    operator: bytes
    agent: bytes
    request: AddCheckpoint
    log_key: VerifierKey

    def run(self, tx: CloudTx) -> Checkpoint | Refusal:
        """Return the checkpoint that may be cosigned now, or why none may."""
        row = tx.one(
            "SELECT size, root FROM witness WHERE operator = ? AND agent = ? AND origin = ?",
            (self.operator, self.agent, self.log_key.name),
        )
        known = None if row is None else Checkpoint(self.log_key.name, row["size"], row["root"])
        judged = witness.judge(self.request, self.log_key, known)
        if isinstance(judged, Checkpoint):
            tx.run(
                "INSERT INTO witness VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET size = excluded.size, root = excluded.root, note = excluded.note",
                (self.operator, self.agent, self.log_key.name, judged.size, judged.root, self.request.note),
            )
        return judged


class CloudWitness:
    """Cosigns the logs of enrolled agents."""

    def __init__(
        self, store: CloudStore, name: str, key: SigningKey, wall_s: Callable[[], float] = SYSTEM.wall_s
    ) -> None:
        self._store = store
        self._name = name
        self._key = key
        self._wall_s = wall_s

    async def add_untrusted(
        self, operator: bytes, agent: bytes, body: bytes, log_key: VerifierKey | None
    ) -> AddCheckpointReply | pb.Refusal:
        """Return the cosignature line, or the size that was cosigned last, or why there is none.

        Args:
            operator: of the agent, by its certificate.
            agent: of the log, by its certificate.
            body: the request, as it came.
            log_key: the key of that agent's log, by its enrolment; None: it has none.

        Raises:
            LocalFailureError: it cannot be made durable; nothing is signed.
        """
        if log_key is None:
            return pb.REFUSAL_UNKNOWN_LOG
        try:
            request = witness.decode_request_untrusted(body)
        except MalformedError:
            return pb.REFUSAL_MALFORMED
        judged = await self._store.run(Remember(operator, agent, request, log_key))
        if isinstance(judged, Refusal):
            if judged.status == CONFLICT:
                return AddCheckpointReply(conflict=judged.size or 0)
            return _REFUSALS[judged.status]
        line = checkpoint.cosign(witness.note_text(request.note), self._name, self._key, int(self._wall_s()))
        return AddCheckpointReply(cosignatures=line.encode())
