"""What leaves the run: enums and buckets, signed, and never a name."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from agent.changes.journal.machine import ChangeState, Gate, fold
from agent.changes.journal.signing import BUCKETS, STATES, Signer
from agent.model import ItemState
from tests.builders.expect import expect
from trust import envelope as envelopes
from trust import statements
from trust.errors import Reason
from trust.keys import SigningKey
from trust.statements import Outcome, OutcomeBucket, OutcomeState, Receipt, ReceiptResult, SizeBucket

S = ItemState
KEY = SigningKey(bytes(range(32)))
PLAN = bytes(range(32))
NOW_S = 1_767_225_600.0


def signer() -> Signer:
    return Signer("1" * 32, "2" * 32, KEY, lambda: (7, b"r" * 32))


def outcome(items: dict[int, S], state: ChangeState = ChangeState.DONE) -> Outcome:
    data = signer().outcome(PLAN, 1, state, items, NOW_S)
    sealed = envelopes.decode_untrusted(data)
    return expect(Outcome, statements.decode_untrusted(sealed.payload_type, sealed.payload))


def test_every_state_that_was_part_of_the_plan_has_a_bucket() -> None:
    assert set(S) - set(BUCKETS) == {S.BLOCKED, S.EXCLUDED}
    assert set(BUCKETS.values()) == set(OutcomeBucket)


def test_only_what_was_read_back_counts_as_applied() -> None:
    assert {s for s, bucket in BUCKETS.items() if bucket is OutcomeBucket.APPLIED} == {S.APPLIED, S.SET_AT_NEXT_LOGIN}
    assert OutcomeBucket.NOT_APPLIED not in {BUCKETS[s] for s in (S.UNKNOWN, S.NEEDS_A_PERSON, S.DIVERGED, S.RUNNING)}


@pytest.mark.parametrize(
    ("n", "bucket"), [(1, SizeBucket.ONE), (2, SizeBucket.TO_10), (10, SizeBucket.TO_10), (11, SizeBucket.TO_100)]
)
def test_counts_are_buckets(n: int, bucket: SizeBucket) -> None:
    found = outcome(dict.fromkeys(range(1, n + 1), S.APPLIED))
    assert found.buckets == {OutcomeBucket.APPLIED: bucket}


def test_different_items_in_the_same_buckets_look_the_same() -> None:
    """Who it was, and how many exactly, cannot be told from an outcome but for its random parts."""
    one = outcome({1: S.APPLIED, 2: S.APPLIED, 3: S.DIVERGED, 4: S.BLOCKED})
    other = outcome({1: S.DIVERGED, 2: S.APPLIED, 3: S.SET_AT_NEXT_LOGIN, 4: S.APPLIED, 5: S.EXCLUDED})
    fields = set(Outcome.__slots__) - {"results_sha256"}
    assert {f: getattr(one, f) for f in fields} == {f: getattr(other, f) for f in fields}


def test_C11_results_are_salted() -> None:
    items = {1: S.APPLIED}
    assert outcome(items).results_sha256 != outcome(items).results_sha256


def test_nothing_but_enums_numbers_and_hex() -> None:
    data = signer().outcome(PLAN, 1, ChangeState.NEEDS_YOU, dict(enumerate(S, start=1)), NOW_S)
    payload = json.loads(envelopes.decode_untrusted(data).payload)
    words = {w.value for e in (OutcomeBucket, OutcomeState, SizeBucket) for w in e}

    def check(value: object) -> None:
        match value:
            case dict():
                for key, inner in value.items():
                    assert key in Outcome.__slots__ or key in words or key in ("crit", "ext"), key
                    check(inner)
            case list():
                for inner in value:
                    check(inner)
            case str():
                is_hex = len(value) in (32, 64) and set(value) <= set("0123456789abcdef")
                assert is_hex or value in words, value
            case _:
                assert value is None or isinstance(value, bool | int)

    check(payload)


def test_the_moment_is_a_minute() -> None:
    assert outcome({1: S.APPLIED}).at == int(NOW_S) // 60


@pytest.mark.parametrize("state", list(ChangeState), ids=lambda s: s.value)
def test_done_is_said_of_what_is_done_only(state: ChangeState) -> None:
    said = outcome({1: S.APPLIED}, state).state
    assert (said is OutcomeState.DONE) == (state is ChangeState.DONE)


def test_every_end_of_a_change_has_its_word() -> None:
    final = {fold(gate, Counter([a, b])) for gate in Gate for a in S for b in S}
    final -= {ChangeState.WAITING_FOR_APPROVAL, ChangeState.APPROVED}
    final -= {ChangeState.RUNNING, ChangeState.WAITING_FOR_DEVICE}
    assert final == set(STATES)


def test_an_outcome_is_signed_with_the_plan_key() -> None:
    sealed = envelopes.decode_untrusted(signer().outcome(PLAN, 1, ChangeState.DONE, {1: S.APPLIED}, NOW_S))
    assert envelopes.signed_by(sealed, [KEY.public]) == {KEY.public}


@pytest.mark.parametrize(
    ("reason", "result"),
    [(None, ReceiptResult.ACCEPTED), (next(iter(Reason)), ReceiptResult.REFUSED)],
    ids=["taken", "refused"],
)
def test_receipts(reason: Reason | None, result: ReceiptResult) -> None:
    data = signer().receipt("approval", PLAN, reason, (1, 2), 3, NOW_S)
    sealed = envelopes.decode_untrusted(data)
    receipt = expect(Receipt, statements.decode_untrusted(sealed.payload_type, sealed.payload))
    assert (receipt.result, receipt.reason, receipt.have, receipt.need) == (result, reason, 1, 2)
    assert (receipt.log_size, receipt.log_root, receipt.trust_version) == (7, (b"r" * 32).hex(), 3)
