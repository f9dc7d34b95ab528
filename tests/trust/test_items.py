import dataclasses
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import documents, item
from trust import items, limits, merkle
from trust.errors import MalformedStatementError
from trust.items import (  # fmt: skip
    ABSENT,
    Address,
    Effect,
    Enforcement,
    ErasedDocument,
    Item,
    Listed,
    ProofKind,
    Replay,
    Requirement,
    SecretRef,
    Seen,
    Step,
    Transition,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.integers(1, limits.SECONDS_MAX)
fields = (
    text | st.lists(text, max_size=3).map(tuple) | st.binary(min_size=32, max_size=32).map(bytes.hex).map(SecretRef)
)
values = st.dictionaries(text, fields, max_size=4) | st.just(ABSENT)
text_maps = st.dictionaries(text, text, max_size=3)
addresses = text.map(Address)
transitions = st.builds(
    Transition, addresses, st.builds(Seen, values, number, st.booleans()), values, st.frozensets(text, max_size=2)
)
effects = st.builds(
    Effect, addresses, text, text_maps, text, st.sampled_from(Replay), st.none() | st.sampled_from(ProofKind), number
)
steps = st.builds(
    Step, st.just(1), text, st.lists(transitions, max_size=2).map(tuple) | effects, st.just(()),
    st.lists(effects, max_size=1).map(tuple),
) | st.builds(
    Step, st.just(1), text, st.lists(transitions, max_size=2).map(tuple), guard=st.sampled_from(items.GuardKind),
)  # fmt: skip
changes = st.builds(items.ReasonChange, st.sampled_from(items.SuspensionReason), st.booleans()) | st.builds(
    items.TariffChange, text, text
)
all_items = st.builds(
    Item,
    n=st.integers(1, limits.ITEMS_MAX),
    salt=st.binary(min_size=16, max_size=16).map(bytes.hex),
    subject=st.none() | text,
    listed=st.sampled_from(Listed),
    reason=text,
    display=text_maps,
    requires=st.lists(st.builds(Requirement, addresses, text, text), max_size=1).map(tuple),
    steps=st.lists(steps, max_size=1).map(tuple),
    enforce=st.none() | st.builds(Enforcement, text, addresses, text_maps, number),
    desired=st.lists(changes, max_size=3).map(tuple),
)


@given(all_items)
def test_items_round_trip(value):
    again = items.decode_item_untrusted(items.encode_item(value))
    assert again == value
    assert items.encode_item(again) == items.encode_item(value)


@given(values)
def test_values_round_trip_in_order(value):
    again = items.decode_value_untrusted(items.encode_value(value))
    assert again == value
    assert list(again or ()) == list(value or ()) if value is not ABSENT else again is ABSENT


def test_a_plan_opens_with_its_own_documents():
    docs = documents(item(1), item(2, subject="C-771"))
    opened = items.open_items_untrusted(docs, items.items_root(docs), "22" * 16)
    assert [i.subject for i in opened.items] == ["C-10482", "C-771"]
    assert opened.head.items_n == 2
    assert opened.documents == docs


def test_E11_a_document_missing_swapped_or_altered():
    docs = documents(item(1), item(2))
    root = items.items_root(docs)
    for bad in (docs[:-1], (docs[0], docs[2], docs[1]), (*docs, docs[1]), (docs[0], docs[1], docs[2] + b" "), ()):
        with pytest.raises(MalformedStatementError, match="do not hash"):
            items.open_items_untrusted(bad, root, "22" * 16)


def test_L8_an_erased_document_is_proven_and_names_nobody():
    docs = documents(*map(item, (1, 2, 3)))
    root = items.items_root(docs)
    gone = ErasedDocument(merkle.leaf_hash(docs[2]))
    opened = items.open_items_untrusted([docs[0], docs[1], gone, docs[3]], root, "22" * 16)
    assert opened.erased == {2}
    assert (opened.items[1].subject, opened.items[1].steps, opened.documents[2]) == (None, (), b"")
    assert opened.items[2] == items.open_items_untrusted(docs, root, "22" * 16).items[2]
    for bad in ([docs[0], docs[1], ErasedDocument(bytes(32)), docs[3]], [ErasedDocument(bytes(32)), *docs[1:]]):
        with pytest.raises(MalformedStatementError, match="hash"):
            items.open_items_untrusted(bad, root, "22" * 16)
    with pytest.raises(MalformedStatementError, match="hash"):  # the head is nobody's: it is never erased
        items.open_items_untrusted([ErasedDocument(merkle.leaf_hash(docs[0])), *docs[1:]], root, "22" * 16)


def test_documents_that_hash_and_contradict():
    for docs, problem in (
        (documents(item(1), items_n=2), "with 2 items"),
        (documents(item(1), plan_id="99" * 16), "expected plan"),
        (documents(item(2)), "expected item 1"),
        ((*documents(item(1)), b"x"), "document 2"),
        ((b"x",), "document 0"),
    ):
        with pytest.raises(MalformedStatementError, match=problem):
            items.open_items_untrusted(docs, items.items_root(docs), "22" * 16)


def test_E9_L7_equal_items_with_other_salts_have_other_leaves():
    a, b = (items.encode_item(item(salt=s * 16)) for s in ("00", "01"))
    assert items.items_root([a]) != items.items_root([b])


def damaged(change):
    document = json.loads(items.encode_item(item()))
    change(document)
    return json.dumps(document).encode()


BAD = {
    "steps out of order": lambda d: d["steps"].reverse(),
    "a step after itself": lambda d: d["steps"][0].update(after=[1]),
    "unknown in item": lambda d: d.update(x=1),
    "T17 unknown in step": lambda d: d["steps"][0].update(x=1),
    "both effect and transitions": lambda d: d["steps"][1].update(transitions=[]),
    "unknown in effect": lambda d: d["steps"][1]["effect"].update(x=1),
    "unknown in transition": lambda d: d["steps"][0]["transitions"][0].update(x=1),
    "unknown in secret": lambda d: d["steps"][0]["transitions"][0].update(after={"p": {"secret": "00" * 32, "x": 1}}),
    "unknown in requirement": lambda d: d["requires"][0].update(x=1),
    "unknown in enforcement": lambda d: d["enforce"].update(x=1),
    "proof": lambda d: d["steps"][1]["effect"].update(proof="hope"),
    "a guard that is none is left out": lambda d: d["steps"][0].update(guard="none"),
    "a guard that nobody knows": lambda d: d["steps"][0].update(guard="prayer"),
    "a guard that is no text": lambda d: d["steps"][0].update(guard=True),
    "a guard of an effect": lambda d: d["steps"][1].update(guard="confirmed-commit"),
    "field a number": lambda d: d["steps"][0]["transitions"][0].update(after={"p": 1}),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_malformed_items(change):
    items.decode_item_untrusted(damaged(lambda _: None))
    with pytest.raises(MalformedStatementError):
        items.decode_item_untrusted(damaged(change))


@given(st.binary())
def test_total_on_any_bytes(data):
    for decode in (items.decode_item_untrusted, items.decode_head_untrusted):
        with pytest.raises(MalformedStatementError):
            decode(data)
    with pytest.raises(MalformedStatementError):
        items.decode_value_untrusted(b"!" + data)


def test_a_head_without_a_least_number_reads_as_one():
    head = items.Head("1" * 32, "2" * 32, 1, {}, (), items.Pace(2, 2, 10), "0" * 64)
    document = items.encode_head(head)
    assert b"stop_failed_least" not in document
    assert items.decode_head_untrusted(document) == head
    newer = dataclasses.replace(head, pace=items.Pace(2, 2, 10, 3))
    assert items.decode_head_untrusted(items.encode_head(newer)) == newer
    one = json.loads(items.encode_head(newer))
    one["pace"]["stop_failed_least"] = 1
    with pytest.raises(MalformedStatementError, match="stop_failed_least"):  # two encodings of one head
        items.decode_head_untrusted(json.dumps(one).encode())


def test_unknown_fields_of_the_head():
    for path in ((), ("pace",), ("waves", 0)):
        document = json.loads(documents()[0])
        target = document
        for step in path:
            target = target[step]
        target["x"] = 1
        with pytest.raises(MalformedStatementError, match="unknown field"):
            items.decode_head_untrusted(json.dumps(document).encode())


# --- desired state ---


def test_a_pair_of_tariffs_reads_in_either_order():
    change = items.TariffChange("Home 20M", "Home=50M")
    assert items.read_changes_untrusted(["was=Home 20M", "tariff=Home=50M"]) == (change,)
    assert items.read_changes_untrusted(["tariff=Home=50M", "was=Home 20M", "+debt"]) == (
        change,
        items.ReasonChange(items.SuspensionReason.DEBT, added=True),
    )


@pytest.mark.parametrize(
    "texts",
    [
        [""],
        ["debt"],
        ["+"],
        ["+Debt"],
        ["-no-such-reason"],
        ["was=A"],
        ["tariff=A"],
        ["was=A", "was=B"],
        ["was=A", "+debt"],
    ],
)
def test_another_change_is_refused(texts):
    with pytest.raises(MalformedStatementError, match="desired"):
        items.read_changes_untrusted(texts)


def test_changes_of_the_inventory_are_written_and_read():
    entry = '{"ref":"C-1/home","name":"Амина=+-"}'
    changes = (
        items.ReasonChange(items.SuspensionReason.DEBT, added=False),
        items.EntryChange(entry, added=False),
        items.EntryFieldChange("login", "a=b", "-c"),
        *(items.EntryFieldChange(name, "", "x=y") for name in items.ENTRY_FIELDS),
        items.TariffChange("A", "B"),
        items.EntryChange(entry, added=True),
    )
    texts = items.write_changes(changes)
    fields = [text for name in items.ENTRY_FIELDS for text in (f"was-{name}=", f"{name}=x=y")]
    first, rest = ["-debt", f"-entry={entry}", "was-login=a=b", "login=-c"], ["was=A", "tariff=B", f"+entry={entry}"]
    assert texts == [*first, *fields, *rest]
    assert items.read_changes_untrusted(texts) == changes
    assert [c.inverse().inverse() for c in changes] == list(changes)
    assert items.EntryFieldChange("login", "a", "b").inverse() == items.EntryFieldChange("login", "b", "a")
    with pytest.raises(MalformedStatementError):
        items.read_changes_untrusted(["was-login=a", "tariff=B"])
    with pytest.raises(MalformedStatementError):
        items.read_changes_untrusted(["was-login=a", "method=B"])


@pytest.mark.parametrize("texts", [["+debt"], ["was=", "tariff="]])
def test_as_many_changes_as_fit_are_read_in_linear_time(texts):
    many = texts * (limits.ITEM_BYTES // len(json.dumps(texts)))
    start = time.process_time()
    assert len(items.read_changes_untrusted(many)) == len(many) // len(texts)
    assert time.process_time() - start < 1.5  # taking each from the front of a list took many seconds


@given(changes)
def test_taking_a_change_back_twice_changes_nothing(change):
    assert change.inverse().inverse() == change
    assert change.inverse() != change or change == items.TariffChange(change.before, change.before)


# --- guards -----------------------------------------------------------------------------------------------------------


def guarded(*guards):
    write = item().steps[0]
    steps = [dataclasses.replace(write, n=n, guard=guard) for n, guard in enumerate(guards, start=1)]
    drop = dataclasses.replace(item().steps[1], n=len(steps) + 1)
    return item(steps=(*steps, drop))


NONE, COMMIT = items.GuardKind.NONE, items.GuardKind.CONFIRMED_COMMIT


def test_a_guard_is_part_of_the_signed_document():
    plain, document = items.encode_item(guarded(NONE)), items.encode_item(guarded(COMMIT))
    assert b"guard" not in plain
    assert document.replace(b',"guard":"confirmed-commit"', b"") == plain
    assert items.decode_item_untrusted(document) == guarded(COMMIT)
    assert items.items_root([document]) != items.items_root([plain])


def test_an_item_with_a_guard_is_written_as_its_vector():
    vector = (Path(__file__).parent / "vectors" / "item-guarded.json").read_bytes()
    assert items.encode_item(guarded(COMMIT)) == vector
    assert items.decode_item_untrusted(vector).steps[0].guard is COMMIT


@pytest.mark.parametrize(
    ("guards", "whole"),
    [((), NONE), ((NONE,), NONE), ((COMMIT,), COMMIT), ((COMMIT, COMMIT), COMMIT), ((COMMIT, NONE), NONE)],
)
def test_a_plan_is_guarded_if_each_of_its_writes_is(guards, whole):
    assert items.guard_of([guarded(*guards)]) is whole
    assert items.guard_of([guarded(*guards), guarded(NONE)]) is NONE
