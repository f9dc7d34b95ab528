import dataclasses
import enum
import json
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders.expect import expect
from tests.builders.operator import AGENT, MINUTE, TRUST_ID, approval, key, plan, standing, trust
from trust import document, envelope, limits, policy, statements
from trust.errors import MalformedStatementError, NotUnderstoodError
from trust.statements import (
    Approval,
    Cancel,
    Enroll,
    Freeze,
    FreezeScope,
    Intent,
    Outcome,
    OutcomeBucket,
    Plan,
    Receipt,
    SealKey,
    SeenHeads,
    SizeBucket,
    Standing,
    Trust,
    Unfreeze,
    View,
)  # fmt: skip

KINDS = [
    Trust, Enroll, Intent, Plan, Approval, Receipt, Outcome, Cancel, Freeze, Unfreeze, SealKey, View, Standing,
]  # fmt: skip
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
handle = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)


def hexes(nbytes):
    return st.binary(min_size=nbytes, max_size=nbytes).map(bytes.hex)


IDS = "trust_id intent_id salt agent plan_id cancel_id freeze_id view_id standing_id nonce"
DIGESTS = (
    "prev intent_sha256 items_root build_sha256 log_root of_sha256 plan_sha256 results_sha256 freeze_sha256 "
    "trust_sha256 root plan_key pub x25519 eph_pub"
)
BY_NAME = {
    **dict.fromkeys(IDS.split(), hexes(16)),
    **dict.fromkeys(DIGESTS.split(), hexes(32)),
    **dict.fromkeys(["have", "need"], st.integers(0, 9)),
    **dict.fromkeys(["requester", "handle", "person", "service", "name", "by", "of_type", "kind"], handle),
    "approvals": st.integers(1, 9), "threshold": st.integers(1, 9), "max_ttl_s": st.integers(60, 86_400),
    "max_items": st.integers(1, 99), "budget_per_hour": st.integers(1, 99),
    "n": st.integers(0, 8), "non_cloud": st.integers(0, 8),
    "plans": st.lists(hexes(32), min_size=1, max_size=3, unique=True).map(tuple),
    "supersedes": st.just("") | hexes(16), "run_by": st.just("") | handle,
    "also": st.lists(hexes(32), max_size=3, unique=True).map(tuple),
    "buckets": st.dictionaries(st.sampled_from(OutcomeBucket), st.sampled_from(SizeBucket)),
    "params": st.dictionaries(text, text, max_size=3), "secrets": st.dictionaries(text, text, max_size=3),
}  # fmt: skip


def build(hint, name=""):
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{f.name: build(hints[f.name], f.name) for f in dataclasses.fields(hint)})
    if name in BY_NAME:
        return BY_NAME[name]
    if isinstance(hint, types.UnionType):
        return st.one_of([build(arm) for arm in typing.get_args(hint)])
    if hint is types.NoneType:
        return st.none()
    if typing.get_origin(hint) is tuple:
        return st.lists(build(typing.get_args(hint)[0]), max_size=2).map(tuple)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    return {str: text, int: st.integers(1, 9999), bool: st.booleans()}[hint]


def build_kind(kind):
    if kind is Trust:
        # `root` is a digest elsewhere and an object here
        root = st.builds(document.Root, st.integers(1, 9), st.lists(build(document.RootKey), max_size=2).map(tuple))
        hints = typing.get_type_hints(Trust)
        fields = {f.name: build(hints[f.name], f.name) for f in dataclasses.fields(Trust) if f.name != "root"}
        return st.builds(Trust, root=root, **fields)
    if kind is Plan:
        return st.tuples(build(Plan), st.lists(st.integers(0, 9999), min_size=3, max_size=3)).map(
            lambda p: dataclasses.replace(
                p[0], **dict(zip(("made", "start_by", "run_until"), sorted(p[1]), strict=True))
            )
        )
    if kind is Freeze:
        targets = {"all": st.just(""), "agent": hexes(16), "person": handle, "key": hexes(32)}
        return build(Freeze).flatmap(lambda f: targets[f.scope.value].map(lambda t: dataclasses.replace(f, target=t)))
    if kind is Unfreeze:
        return build(kind).filter(lambda u: u.freeze_sha256 not in u.also)
    if kind in {SealKey, Standing}:
        scope = st.just(("all",)) | st.lists(hexes(16), min_size=1, unique=True).map(tuple)
        return st.tuples(build(kind), st.integers(1, 7 * 1440), scope, st.integers(1, 1000)).map(
            lambda t: dataclasses.replace(
                t[0],
                not_after=t[0].not_before + t[1],
                **({"scope": t[2], "rate_per_hour": t[3]} if kind is Standing else {}),
            )
        )
    return build(kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_round_trip(kind):
    @given(build_kind(kind))
    @settings(max_examples=40)
    def check(statement):
        data = statements.encode(statement)
        assert statements.decode_untrusted(statements.payload_type(kind), data) == statement

    check()


@given(build(Intent))
def test_intent_without_secrets_is_document_that_it_always_was(intent: Intent) -> None:
    without = json.loads(statements.encode(dataclasses.replace(intent, secrets={})))
    assert list(without) == [f.name for f in dataclasses.fields(Intent) if f.name != "secrets"]
    assert without == {k: v for k, v in json.loads(statements.encode(intent)).items() if k != "secrets"}


def test_an_unfreeze_of_one_is_the_document_that_it_always_was() -> None:
    one, two = (Unfreeze("11" * 16, "22" * 32, "maria", 5, also) for also in ((), ("33" * 32,)))
    assert list(as_dict(one)) == ["trust_id", "freeze_sha256", "person", "at"]
    assert as_dict(two) == {**as_dict(one), "also": ["33" * 32]}
    assert two.freezes == ("22" * 32, "33" * 32)
    for also in (["22" * 32], ["33" * 32] * 2, [f"{n:064x}" for n in range(64)], ["33"]):
        with pytest.raises(MalformedStatementError, match="also"):
            decode(Unfreeze, {**as_dict(one), "also": also})


EXAMPLES = {
    Trust: trust(),
    Plan: plan(),
    Approval: statements.decode_as_untrusted(Approval, approval(plan(), "joseph")),
    Cancel: Cancel("11" * 16, "22" * 16, ("33" * 32,), "maria", 5),
    Freeze: Freeze("11" * 16, "22" * 16, FreezeScope.ALL, "", "maria", 5),
    SealKey: SealKey(TRUST_ID, AGENT, "ab" * 32, MINUTE, MINUTE + 7 * 1440),
    View: View(TRUST_ID, "22" * 16, AGENT, "33" * 32, "maria", "44" * 32, SeenHeads(1, "55" * 32), MINUTE),
    Standing: standing(),
}


def as_dict(statement):
    return json.loads(statements.encode(statement))


def decode(kind, fields):
    return statements.decode_untrusted(statements.payload_type(kind), json.dumps(fields).encode())


def paths(value, here=()):
    """All fields, at any depth, of a decoded document."""
    for name, sub in value.items() if isinstance(value, dict) else ():
        yield (*here, name)
        yield from paths(sub, (*here, name))
    for index, sub in enumerate(value) if isinstance(value, list) else ():
        yield from paths(sub, (*here, index))


MAY_BE_MISSING = {"service_requester", "run_by"}
"""Documents from before these fields stay valid."""


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda k: k.__name__)
def test_every_field_is_needed_typed_and_known(kind):
    fields = as_dict(EXAMPLES[kind])
    for *parents, last in paths(fields):
        for change in ("type",) if last in MAY_BE_MISSING else ("drop", "type"):
            damaged = json.loads(json.dumps(fields))
            target = damaged
            for step in parents:
                target = target[step]
            if change == "drop":
                del target[last]
            else:
                target[last] = [{"surprise": 1}]
            with pytest.raises(MalformedStatementError):
                decode(kind, damaged)
        damaged = json.loads(json.dumps(fields))
        target = damaged
        for step in parents:
            target = target[step]
        target["surprise"] = 1
        with pytest.raises(MalformedStatementError, match="surprise"):
            decode(kind, damaged)


def test_T17_an_unknown_payload_type_is_not_understood():
    for kind in ("application/vnd.ispagents.plan.v1+json", "", "application/json"):
        with pytest.raises(NotUnderstoodError):
            statements.decode_untrusted(kind, statements.encode(plan()))


def test_T22_crit_is_refused_and_ext_is_not():
    fields = as_dict(plan())
    assert decode(Plan, {**fields, "ext": {"later": True}, "crit": []}) == plan()
    with pytest.raises(NotUnderstoodError):
        decode(Plan, {**fields, "crit": ["several-agents"]})


def test_E4_one_statement_is_not_read_as_another():
    with pytest.raises(MalformedStatementError):
        statements.decode_untrusted(statements.payload_type(Approval), statements.encode(plan()))
    with pytest.raises(NotUnderstoodError, match="expected approval, got plan"):
        statements.decode_as_untrusted(Approval, statements.sign(plan(), [key("agent-plan")]))


BAD = {
    "T6 threshold 0": (Trust, lambda f: f["root"].update(threshold=0)),
    "T6 threshold true": (Trust, lambda f: f["root"].update(threshold=True)),
    "T6 approvals 0": (Trust, lambda f: f["policy"][0].update(approvals=0)),
    "T12 version": (Trust, lambda f: f.update(version=2**64)),
    "handle": (Trust, lambda f: f["people"][0].update(handle="María")),
    "start after the end": (Plan, lambda f: f.update(start_by=f["run_until"] + 1)),
    "made after the start": (Plan, lambda f: f.update(made=f["start_by"] + 1)),
    "no plans": (Approval, lambda f: f.update(plans=[])),
    "65 plans": (Approval, lambda f: f.update(plans=[f"{n:064x}" for n in range(65)])),
    "one plan twice": (Cancel, lambda f: f.update(plans=["33" * 32] * 2)),
    "A15 reason as text": (Approval, lambda f: f.update(reason_code="Amina paid")),
    "freeze of all with a target": (Freeze, lambda f: f.update(target="maria")),
    "freeze of a person by key": (Freeze, lambda f: f.update(scope="person", target="A" * 32)),
    "C16 a sealing key for longer than a week": (SealKey, lambda f: f.update(not_after=f["not_before"] + 7 * 1440 + 1)),
    "a sealing key for no time": (SealKey, lambda f: f.update(not_after=f["not_before"])),
    "a standing authority for longer than 30 days": (
        Standing,
        lambda f: f.update(not_after=f["not_before"] + 30 * 1440 + 1),
    ),
    "A12 a standing authority without a rate": (Standing, lambda f: f.update(rate_per_hour=0)),
    "A12 a standing authority with too high a rate": (Standing, lambda f: f.update(rate_per_hour=1001)),
    "nowhere": (Standing, lambda f: f.update(scope=[])),
    "everywhere and somewhere": (Standing, lambda f: f.update(scope=["all", AGENT])),
    "one agent twice": (Standing, lambda f: f.update(scope=[AGENT, AGENT])),
    "no such evidence": (Standing, lambda f: f.update(evidence="customer-says-so")),
    "minutes, not seconds": (Freeze, lambda f: f.update(at=2**32)),
}


@pytest.mark.parametrize(("kind", "change"), BAD.values(), ids=BAD.keys())
def test_T6_T12_A12_A15_C16_values_out_of_range(kind, change):
    fields = as_dict(EXAMPLES[kind])
    change(fields)
    with pytest.raises(MalformedStatementError):
        decode(kind, fields)


def test_T23_a_key_of_an_unknown_kind_is_kept():
    fields = as_dict(trust())
    fields["people"][0]["keys"].append({"kind": "webauthn", "pub": "whatever bytes", "not_after": 0})
    kept = expect(Trust, decode(Trust, fields))
    assert kept.people[0].keys[-1] == document.PersonKey("webauthn", "whatever bytes", 0)
    assert kept.people_by_key().keys() == trust().people_by_key().keys()


def test_a_document_from_before_programs_had_people_is_the_same():
    fields = as_dict(trust())
    for entry in fields["policy"]:
        entry.pop("service_requester", None)
    del fields["services"][1]["run_by"]
    old = expect(Trust, decode(Trust, fields))
    assert ({c.service_requester for c in old.policy}, {s.run_by for s in old.services}) == ({None}, {""})
    assert as_dict(old) == fields


def test_sizes_fall_in_buckets():
    edges = [0, 1, 2, 10, 11, 100, 101, 1000, 1001, 10_000, 10_001]
    assert [statements.size_bucket(n).value for n in edges] == [
        "0", "1", "2-10", "2-10", "11-100", "11-100", "101-1000", "101-1000", "1001-10000", "1001-10000", "more",
    ]  # fmt: skip


def test_the_largest_document_fits_an_envelope():
    people = tuple(
        document.Person(
            f"person-{n}", (policy.Role.APPROVER,), ("all",), False, (document.PersonKey("ed25519", "ab" * 32),)
        )
        for n in range(limits.PEOPLE_MAX)
    )
    big = statements.sign(trust(people=people), [key("root-maria")])
    assert envelope.decode_untrusted(envelope.encode(big)) == big


@given(
    st.sampled_from(KINDS),
    st.binary() | st.recursive(text | st.integers() | st.none(), st.lists).map(json.dumps).map(str.encode),
)
def test_total_on_any_bytes(kind, data):
    with pytest.raises(MalformedStatementError):
        statements.decode_untrusted(statements.payload_type(kind), data)
