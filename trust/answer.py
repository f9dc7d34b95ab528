"""An agent's answer to a view: the plan's documents, and the state of its log and trust. Sealed in pages (`seal`).

Nothing here is signed: the documents hash to the plan's root, the checkpoint is the log's, links are the chain's own,
and the approvers' names are the agent's word until the approvals themselves are verified.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from trust import limits
from trust.strict_json import Reader, read_object_untrusted


@dataclass(frozen=True, slots=True)
class ViewAnswer:
    """The answer to a view: the items of a plan, with the proofs that the viewer needs.

    `short` is the plan's short id at the site. `documents` are head and items (`trust.items`). `checkpoint` is a
    signed note; `consistency` proves that its tree begins with the `old_size` leaves that the viewer has seen. `links`
    are trust documents (envelopes) that the viewer lacks, oldest first. `approvals` are (person, decision).
    """

    short: str
    documents: tuple[bytes, ...]
    checkpoint: bytes
    old_size: int
    consistency: tuple[bytes, ...]
    links: tuple[bytes, ...]
    approvals: tuple[tuple[str, str], ...]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def encode(answer: ViewAnswer) -> bytes:
    """Return the answer as JSON."""
    document = {
        "short": answer.short,
        "documents": list(map(_b64, answer.documents)),
        "checkpoint": _b64(answer.checkpoint),
        "old_size": answer.old_size,
        "consistency": list(map(_b64, answer.consistency)),
        "links": list(map(_b64, answer.links)),
        "approvals": [{"person": person, "decision": decision} for person, decision in answer.approvals],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode_untrusted(data: bytes) -> ViewAnswer:
    """Return the answer that `data` is; nothing in it is verified yet.

    Raises:
        MalformedStatementError: not strict JSON, a field missing, unknown, of the wrong type or out of range.
    """
    r = read_object_untrusted(data, limits.VIEW_BYTES, "view answer")
    r.extensions()
    checkpoint = _unb64(r, "checkpoint", r.text("checkpoint", 2 * limits.NOTE_BYTES))
    answer = ViewAnswer(
        short=r.text("short"),
        documents=_many(r, "documents", 2 * limits.ITEM_BYTES),
        checkpoint=checkpoint,
        old_size=r.integer("old_size", 0, limits.TREE_SIZE_MAX),
        consistency=_many(r, "consistency", limits.TEXT_BYTES),
        links=_many(r, "links", 2 * limits.ENVELOPE_BYTES),
        approvals=tuple(map(_approval, r.objects("approvals"))),
    )
    r.done()
    return answer


def _many(r: Reader, name: str, max_bytes: int) -> tuple[bytes, ...]:
    return tuple(_unb64(r, name, text) for text in r.texts(name, max_bytes))


def _unb64(r: Reader, name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise r.error(name, "is not base64") from err


def _approval(r: Reader) -> tuple[str, str]:
    approval = (r.handle("person"), r.handle("decision"))
    r.done()
    return approval
