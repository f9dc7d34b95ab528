"""Requests by signed intents: what is refused before anything of it is opened or looked up."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

import pytest

from agent.changes.journal import request
from agent.changes.journal.request import SETTINGS_MAX, Ask, RequestError
from tests.builders.people import AGENT, ID, PEOPLE, TRUST
from trust import statements
from trust.envelope import Envelope
from trust.policy import Action
from trust.seal import SealingKey, open_sealed_untrusted
from trust.sealed_secret import seal_secret
from trust.statements import Intent, IntentSubject, OnFailure, OnStale

KEY = SealingKey(b"\1" * 32)


def signed(sealed: Mapping[str, str]) -> Envelope:
    intent = Intent(
        trust_id=PEOPLE.trust_id,
        intent_id=ID,
        salt=secrets.token_hex(16),
        agent=AGENT,
        requester="maria",
        verb=Action.CPE_SET,
        params={},
        subjects=(IntentSubject("service", "LAB0001"),),
        exclude=(),
        on_failure=OnFailure.STOP,
        on_stale=OnStale.SKIP,
        canary=0,
        expires=int(time.time()) + 600,
        reason="",
        secrets=sealed,
    )
    return statements.sign(intent, [PEOPLE.keys["maria"]])


def test_an_intent_has_its_secrets_opened() -> None:
    envelope = signed({"wifi.1.key": seal_secret(ID, "wifi.1.key", "hidden", KEY.public)})
    asked = request.signed(envelope, TRUST, AGENT, time.time(), lambda data: open_sealed_untrusted(data, [KEY]))
    assert asked.ask.secrets == {"wifi.1.key": "hidden"}


def test_more_secrets_than_a_change_takes_are_not_even_opened() -> None:
    """A statement holds thousands: to open them all would keep a freeze waiting."""
    sealed = seal_secret(ID, "0", "hidden", KEY.public)
    opened: list[bytes] = []

    def opener(data: bytes) -> bytes:
        opened.append(data)
        return open_sealed_untrusted(data, [KEY])

    with pytest.raises(RequestError, match=f"at most {SETTINGS_MAX} secrets") as caught:
        request.signed(signed({str(n): sealed for n in range(SETTINGS_MAX + 1)}), TRUST, AGENT, time.time(), opener)
    assert (caught.value.refused, opened) == (True, [])


def disconnect(settings: Mapping[str, str]) -> request.Ask:
    return request.Ask(Action.DISCONNECT, refs=("C-1",), settings=settings)


def test_hours_of_disconnect_that_closes_rows_travel_in_intent() -> None:
    asked = request.local(disconnect({"silent-h": "48"}), 1, {1: "maria"}, TRUST, AGENT, time.time())
    assert asked.intent.params == {"silent-h": "48"}
    assert request.silent_h_of(request.ask_of(asked.intent)) == 48
    plain = request.local(disconnect({}), 1, {1: "maria"}, TRUST, AGENT, time.time())
    assert plain.intent.params == {}
    assert request.silent_h_of(request.ask_of(plain.intent)) is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"silent-h": "0"}, "expected hours, 1 to 8760, got '0'"),
        ({"silent-h": "x"}, "expected hours"),
        ({"file": "x"}, "expected no setting but silent-h of a disconnect, got file"),
        ({"silent-h": "4", "file": "x"}, "expected no setting but silent-h"),
    ],
)
def test_other_settings_of_a_disconnect_are_refused(settings: Mapping[str, str], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        request.check_ask(disconnect(settings))
    with pytest.raises(RequestError, match="expected no setting"):
        request.check_ask(request.Ask(Action.SUSPEND, refs=("C-1",), settings={"silent-h": "4"}))


def test_why_nobody_knows_the_requester() -> None:
    people = {1: "maria", 2: "ghost"}
    known = request.local(disconnect({}), 1, people, TRUST, AGENT, time.time())
    assert (known.requester, known.unknown_why) == ("maria", "")
    unmapped = request.local(disconnect({}), 9, people, TRUST, AGENT, time.time())
    assert (unmapped.requester, unmapped.unknown_why) == ("unknown", "[people] has no uid 9")
    untrusted = request.local(disconnect({}), 2, people, TRUST, AGENT, time.time())
    assert untrusted.unknown_why == f"[people] says that uid 2 is ghost, and trust version {TRUST.version} has no ghost"


@pytest.mark.parametrize(
    ("ask", "subjects"),
    [
        (Ask(Action.SUSPEND, ("C-1", "C-2/home")), [("service", "C-1"), ("service", "C-2/home")]),
        (Ask(Action.SUSPEND, ("C-1",), all_services=True), [("subscriber", "C-1")]),
        (Ask(Action.SET_PLAN, on_tariff="20M"), [("tariff", "20M")]),
        (Ask(Action.REVERT, change="K7QF"), [("change", "K7QF")]),
    ],
)
def test_an_ask_at_the_site_is_an_intent_on_what_it_names(ask: Ask, subjects: list[tuple[str, str]]) -> None:
    made = request.intent_of(ask, "maria", TRUST, AGENT, time.time())
    assert [(subject.by, subject.value) for subject in made.subjects] == subjects
