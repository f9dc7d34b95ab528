"""Records of the audit log, beside their leaves, sealed under their subjects' keys.

The leaf says *that* something of a kind happened to item n of a plan, and commits to the record; the record says it in
full. Secrets of devices are `SecretRef`s by the time they come here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agent.model import Address, Effect, Seen, StepOutcome, Transition
from agent.runtime.json_text import as_utf8
from agent.store.errors import ErasedSubjectError
from agent.store.log_store import Sealed
from agent.store.vault import NOBODY, Vault
from trust import envelope as envelopes
from trust.items import value_json
from trust.leaf import PLAN_LEAVES, STATEMENT

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ASCII: Final = json.JSONEncoder(separators=(",", ":"))
_NOTHING: Final[Mapping[str, str]] = {}


def subject_of(service: str | None) -> str:
    """Return the subscriber with the key that seals records about this service (`C-10482/home` -> `C-10482`)."""
    return NOBODY if service is None else service.split("/", 1)[0]


def _seen_json(seen: Seen) -> Json:
    return {"value": value_json(seen.value), "at_s": seen.at_s, "live": seen.live}


def seen_json(seen: Mapping[Address, Seen]) -> Json:
    """Return the seen values, by address, for a record."""
    return {address: _seen_json(s) for address, s in seen.items()}


def encode_do(do: tuple[Transition, ...] | Effect) -> str:
    """Return the action of a step as JSON in ASCII: the text in the journal and in a record is one."""
    return _ASCII.encode(_do_json(do))


def _do_json(do: tuple[Transition, ...] | Effect) -> Json:
    if isinstance(do, Effect):
        return {"effect": do.verb, "address": do.address, "args": dict(do.args), "key": do.key}
    return [{"address": t.address, "before": _seen_json(t.before), "after": value_json(t.after)} for t in do]


def outcome_json(outcome: StepOutcome) -> dict[str, Json]:
    """Return a step's outcome, for a record."""
    return {
        "verdict": outcome.verdict.value,
        "reason": outcome.reason,
        "detail": outcome.detail,
        "observed": None if outcome.observed is None else seen_json(outcome.observed),
    }


class Recorder:
    """Makes sealed records. Subjects' keys must exist (`ensure`), so that they are durable before the row."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        vault.ensure_subjects([NOBODY])

    def ensure(self, services: list[str | None]) -> None:
        """Make the keys of these services' subscribers durable."""
        self._vault.ensure_subjects([subject_of(s) for s in services])

    def record(self, service: str | None, fields: Mapping[str, Json], encoded: Mapping[str, str] = _NOTHING) -> Sealed:
        """Return the record about this service (or about nobody), sealed.

        Args:
            service: the service; None: it is about nobody.
            fields: at least one.
            encoded: further fields, each as JSON: a text that is kept elsewhere too is encoded once.

        Raises:
            ErasedSubjectError: the service's subscriber was erased.
        """
        text = _ENCODER.encode(fields)
        for name, value in encoded.items():
            text = f'{text[:-1]},"{name}":{value}}}'
        return self._vault.seal_record(subject_of(service), as_utf8(text))

    def ending(self, fields: Mapping[str, Json], outcome: bytes) -> Callable[[int], Sealed]:
        """Return the record of a leaf that an outcome has, for the number of its plan's leaves.

        Args:
            fields: its other content; it names no subscriber, since exports always open it.
            outcome: the signed outcome, as it leaves the agent.
        """
        said = {**fields, STATEMENT: envelopes.digest(envelopes.decode_untrusted(outcome)).hex()}
        return lambda leaves: self.record(None, {**said, PLAN_LEAVES: leaves})

    def move_record(self, service: str | None, fields: Mapping[str, Json]) -> Sealed:
        """Return the record of an item's move, which must be possible to the end: for an erased one, only the move."""
        try:
            return self.record(service, fields)
        except ErasedSubjectError:
            return self.record(None, {k: fields[k] for k in ("what", "event") if k in fields})
