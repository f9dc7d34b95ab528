"""Records of the audit log: a step's action is one text, in the journal and in its record."""

from __future__ import annotations

import json
from pathlib import Path

from agent.changes.journal.audit import Recorder, encode_do
from agent.model import ABSENT, Address, Seen, Transition
from agent.store.vault import Vault
from tests.builders.job import STORE_KEY

WRITE = Transition(Address("routeros/r/ppp/secret/Señal"), Seen({"profile": "ñ"}, 7), ABSENT)


def test_the_action_of_a_step_is_ascii_and_whole() -> None:
    text = encode_do((WRITE,))
    assert text.isascii()
    before = {"value": {"profile": "ñ"}, "at_s": 7, "live": True}
    assert json.loads(text) == [{"address": WRITE.address, "before": before, "after": None}]


def test_a_text_that_was_encoded_is_in_the_record_as_it_is(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    text = encode_do((WRITE,))
    sealed = Recorder(vault).record(None, {"what": "about-to", "who": "Señal"}, {"do": text, "more": "[]"})
    opened = vault.open_record(sealed.subject, sealed.ciphertext)
    assert opened is not None
    _, record = opened
    assert json.loads(record) == {"what": "about-to", "who": "Señal", "do": json.loads(text), "more": []}
    assert text.encode() in record
    vault.close()
