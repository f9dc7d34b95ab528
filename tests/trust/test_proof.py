import base64
import dataclasses
import hashlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import (
    AGENT,
    MINUTE,
    ORIGIN,
    TRUST_ID,
    approval,
    digest,
    documents,
    key,
    plan,
    sha,
    signed_standing,
    signed_trust,
    trust,
)
from tests.trust.lying import IN_PART, LYING
from trust import chain, checkpoint, envelope, leaf, limits, merkle, proof, statements, witness
from trust.__main__ import main
from trust.checkpoint import Checkpoint
from trust.document import TrustedAgent, Witness, WitnessOperator
from trust.errors import MalformedLeafError, MalformedProofError
from trust.leaf import Leaf, LeafKind
from trust.policy import Action, RiskClass
from trust.proof import Export, ProofFile, ProvenLeaf
from trust.statements import Cancel, Decision, Outcome, OutcomeBucket, OutcomeState, SizeBucket

PLAN = plan()
DIGEST = digest(PLAN)
VKEY = checkpoint.encode_vkey(ORIGIN, key("agent-log").public)
WORDS = chain.head_words(signed_trust(trust()))


def salt(n):
    return hashlib.sha256(b"salt%d" % n).digest()


def record(n):
    named = {2: approval(PLAN, "joseph"), 8: statements.sign(outcome(), [key("agent-plan")])}
    said = {"what": f"record {n}: amina.h"}
    if n in named:
        said |= {leaf.STATEMENT: envelope.digest(named[n]).hex(), leaf.PLAN_LEAVES: 8}
    return json.dumps(said).encode()


K = LeafKind
STORY = [
    K.START, K.PLAN, K.APPROVAL, K.CONSUMED, K.ITEM_STATE, K.ABOUT_TO, K.STEP_OUTCOME, K.ITEM_STATE, K.CHANGE_FINISHED
]  # fmt: skip
CODES = {4: leaf.ITEM_STATE_CODES["running"], 6: 1, 7: leaf.ITEM_STATE_CODES["applied"]}


def leaves(kinds=STORY, trust_version=1, minute=MINUTE):
    return [
        leaf.encode(
            Leaf(k, minute, leaf.commitment(salt(n), record(n)), DIGEST if n else leaf.NO_PLAN, trust_version,
                 code=CODES.get(n, 0))
        )
        for n, k in enumerate(kinds)
    ]  # fmt: skip


def nodes_of(data):
    store = {}
    for size, one in enumerate(data):
        for level, index, value in merkle.appended(size, merkle.leaf_hash(one), lambda lv, i: store[lv, i]):
            store[level, index] = value
    return lambda lv, i: store[lv, i]


def note_of(data, name="agent-log", origin=ORIGIN):
    root = merkle.root([merkle.leaf_hash(d) for d in data])
    return checkpoint.sign_checkpoint(Checkpoint(origin, len(data), root), key(name), origin)


def proof_file(index=3, opened=True, **changes):
    data = leaves()
    entry = ProvenLeaf(
        data[index], index, merkle.inclusion(index, len(data), nodes_of(data)),
        record(index) if opened else None, salt(index) if opened else None,
    )  # fmt: skip
    return ProofFile(dataclasses.replace(entry, **changes), note_of(data), VKEY)


def outcome(**changes):
    buckets = {OutcomeBucket.APPLIED: SizeBucket.ONE}
    base = Outcome(TRUST_ID, AGENT, DIGEST.hex(), 1, True, OutcomeState.DONE, buckets, "cd" * 32, 6, "ef" * 32, MINUTE)
    return dataclasses.replace(base, **changes)


def export(data=None, proofs=False, **changes):
    data = leaves() if data is None else data
    nodes = nodes_of(data)
    entries = tuple(
        ProvenLeaf(d, n, merkle.inclusion(n, len(data), nodes) if proofs else (), record(n), salt(n))
        for n, d in enumerate(data)
    )
    base = Export(
        VKEY, note_of(data), entries,
        (signed_trust(trust()), statements.sign(PLAN, [key("agent-plan")]), approval(PLAN, "joseph"),
         statements.sign(outcome(), [key("agent-plan")])),
        {DIGEST.hex(): documents()},
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def failures(e, **pins):
    report = proof.verify_export_untrusted(proof.encode_export(e), **(pins or {"head": WORDS}))
    assert not report.ok
    return " | ".join(line.text for line in report.lines if not line.ok)


# --- proof files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("opened", [True, False])
def test_proof_files_round_trip_and_verify(index, opened):
    file = proof_file(index, opened)
    data = proof.encode(file)
    assert data.startswith(b"c2sp.org/tlog-proof@v1\n")
    assert proof.decode_untrusted(data) == file
    report = proof.verify_file_untrusted(data, VKEY)
    assert report.ok
    assert f"{int(opened)} of them opened" in " ".join(line.text for line in report.lines)


def test_a_key_that_only_the_file_names_proves_nothing():
    report = proof.verify_file_untrusted(proof.encode(proof_file()))
    assert not report.ok
    assert all(line.ok for line in report.lines)
    assert not report.pinned


def test_L1_a_file_by_another_log():
    data = leaves()
    other = checkpoint.encode_vkey(ORIGIN, key("eve").public)
    forged = dataclasses.replace(proof_file(), note=note_of(data, "eve"), vkey=other)
    report = proof.verify_file_untrusted(proof.encode(forged), VKEY)
    assert [line.text for line in report.lines if not line.ok] == ["the log's key is the one that you gave"]
    forged = dataclasses.replace(proof_file(), note=note_of(data, "eve"))
    assert not proof.verify_file_untrusted(proof.encode(forged), VKEY).ok
    assert not proof.verify_file_untrusted(proof.encode(dataclasses.replace(proof_file(), vkey="x")), "x").ok


def test_L7_L8_a_record_must_be_the_one_committed_to():
    cp = checkpoint.open_checkpoint_untrusted(note_of(leaves()), checkpoint.parse_vkey_untrusted(VKEY))
    assert proof.verify_entry(proof_file().entry, cp).kind is LeafKind.CONSUMED
    assert proof.verify_entry(proof_file(opened=False).entry, cp).kind is LeafKind.CONSUMED
    for changes in ({"record": b"record 3: another"}, {"salt": bytes(32)}, {"index": 2}, {"proof": ()}):
        file = dataclasses.replace(proof_file(), entry=dataclasses.replace(proof_file().entry, **changes))
        with pytest.raises(MalformedProofError):
            proof.verify_entry(file.entry, cp)
        assert not proof.verify_file_untrusted(proof.encode(file), VKEY).ok
    with pytest.raises(MalformedLeafError):
        proof.verify_entry(proof_file(leaf=b"short").entry, cp)


GOOD = proof.encode(proof_file())
BAD_FILES = {
    "too large": b"x" * (limits.PROOF_FILE_BYTES + 1),
    "not ascii": GOOD.replace(b"index", "é".encode()),
    "version": GOOD.replace(b"@v1", b"@v2"),
    "no extra": GOOD.replace(b"\nextra ", b"\nextras "),
    "no checkpoint": GOOD.partition(b"\n\n")[0],
    "index": GOOD.replace(b"index 3", b"index 03"),
    "L4 64 hashes": GOOD.replace(b"index 3\n", b"index 3\n" + b"AAAA\n" * 64),
    "proof not base64": GOOD.replace(b"index 3\n", b"index 3\n***\n"),
    "extra not base64": GOOD.replace(b"extra ", b"extra *"),
    "extra not json": b"c2sp.org/tlog-proof@v1\nextra AAAA\nindex 3\n\nnote",
    "extra unknown field": b"c2sp.org/tlog-proof@v1\nextra "
    + base64.b64encode(b'{"leaf":"","vkey":"","x":1}')
    + b"\nindex 3\n\nnote",
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_malformed_proof_files(data):
    with pytest.raises(MalformedProofError):
        proof.decode_untrusted(data)


@given(st.binary() | st.binary().map(lambda b: proof.PROOF_HEADER.encode() + b"\n" + b))
def test_total_on_any_bytes(data):
    for read in (proof.decode_untrusted, proof.decode_export_untrusted, proof.verify_file_untrusted):
        with pytest.raises(MalformedProofError):
            read(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_byte_changed_never_verifies_as_another_leaf(position, byte):
    data = GOOD[:position] + bytes([byte]) + GOOD[position + 1 :]
    try:
        report = proof.verify_file_untrusted(data, VKEY)
    except MalformedProofError:
        return
    if report.ok:
        assert proof.decode_untrusted(data).entry == proof_file().entry


# --- exports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proofs", [True, False])
@pytest.mark.parametrize(
    "pins", [{"vkey": VKEY}, {"head": WORDS}, {"head": sha(trust())}, {"vkey": VKEY, "head": WORDS}]
)
def test_a_whole_story_verifies(proofs, pins):
    e = export(proofs=proofs)
    data = proof.encode_export(e)
    assert proof.decode_export_untrusted(data) == e
    report = proof.verify_file_untrusted(data, **pins)
    assert report.ok, report
    texts = "\n".join(line.text for line in report.lines)
    for expected in (
        "trust version 1",
        "9 leaves, signed by its key",
        "9 of them opened",
        "leaf 6: step-outcome applied",
        "suspend, class low",
        "its 8 leaves are in an order that a plan can have",
        "when it was consumed: approved by joseph",
        "1 item is the one",
        "size: 1 item, as its documents say",
        "outcome 1: done, as the leaves of its items say",
    ):
        assert expected in texts


def test_part_of_the_leaves_with_proofs():
    data = leaves()
    some = tuple(entry for entry in export(proofs=True).entries if entry.index in {1, 2, 3})
    report = proof.verify_export(export(entries=some, envelopes=export().envelopes[:-1]), VKEY)
    assert report.ok
    assert not report.whole
    assert "proof" in failures(export(entries=export(data).entries[1:]), vkey=VKEY)


def test_an_altered_leaf_is_found():
    changed = list(leaves())
    changed[5] = leaf.encode(
        Leaf(LeafKind.STEP_OUTCOME, MINUTE, leaf.commitment(salt(5), record(5)), DIGEST, 1, code=2)
    )
    entries = tuple(dataclasses.replace(e, leaf=d) for e, d in zip(export().entries, changed, strict=True))
    assert "do not hash" in failures(export(entries=entries))
    assert "another record" in failures(
        export(entries=(dataclasses.replace(export().entries[0], record=b"x"), *export().entries[1:]))
    )


def test_what_an_auditor_must_be_told():
    envelopes = export().envelopes
    t, p, yes, done = envelopes
    assert "expected 1 people to approve" in failures(export(envelopes=(t, p, done)))
    assert "expected 1 people" in failures(export(envelopes=(t, p, approval(PLAN, "maria"), done)))
    assert "no trust document that knows" in failures(export(envelopes=(p, yes)), vkey=VKEY)
    assert "nobody whom the trust" in failures(export(envelopes=(t, statements.sign(PLAN, [key("eve")]))))
    assert "outcome: nobody" in failures(export(envelopes=(t, p, yes, statements.sign(outcome(), [key("eve")]))))
    assert "outcome: the file" in failures(export(envelopes=(done,)), vkey=VKEY)
    assert "do not hash" in failures(export(items={DIGEST.hex(): documents()[:1]}))
    assert "is in the trust document that you gave" in failures(
        export(vkey=checkpoint.encode_vkey(ORIGIN, key("eve").public))
    )
    assert "checkpoint" in failures(export(note=note_of(leaves(), "eve")))
    assert "that you gave" in failures(export(), vkey=checkpoint.encode_vkey(ORIGIN, key("eve").public))
    assert "head was given" in failures(export(), head=sha(trust(version=2, prev=sha(trust()))))


def test_a_plan_that_was_not_consumed_in_the_whole_log():
    report = proof.verify_export(export(leaves([K.START, K.PLAN]), envelopes=export().envelopes[:-1]), VKEY)
    assert report.ok
    assert report.whole
    assert any(line.text.endswith(": not consumed") for line in report.lines)


def test_a_plan_that_was_consumed_too_late():
    assert "not started in time" in failures(export(leaves(minute=MINUTE + 31)))


def test_trust_documents_are_followed_link_by_link():
    second = trust(version=2, prev=sha(trust()), expires=trust().expires + 60)
    first, link = signed_trust(trust()), signed_trust(second)
    rest = export().envelopes[1:]
    data = leaves(trust_version=2)
    assert proof.verify_export(export(data, envelopes=(first, link, *rest)), head=WORDS).ok
    assert "trust version 2, under which" in failures(export(data))
    assert "trust document" in failures(
        export(envelopes=(first, signed_trust(trust(version=3, prev=sha(trust()))), *rest))
    )


def test_a_log_key_alone_does_not_say_who_the_people_are():
    alone = "who the people are, and what they may, the file alone says"
    for pins, told in (({"vkey": VKEY}, True), ({"head": WORDS}, False), ({"vkey": VKEY, "head": WORDS}, False)):
        assert any(alone in line.text for line in proof.verify_export(export(), **pins).lines) == told


def test_every_pin_that_was_given_must_hold():
    assert "trust document that you gave" in failures(export(envelopes=(), items={}), vkey=VKEY, head=WORDS)
    eve = checkpoint.encode_vkey(ORIGIN, key("eve").public)
    assert "is the one that you gave" in failures(export(), vkey=eve, head=WORDS)


def test_a_plan_in_the_log_of_another_agent():
    agent = trust().agents[0]
    other = TrustedAgent("cc" * 16, "south", key("p2").public.hex(), agent.log_key)
    moved = dataclasses.replace(agent, log_key=checkpoint.encode_vkey("elsewhere", key("l2").public))
    document = signed_trust(trust(agents=(moved, other)))
    found = failures(export(envelopes=(document, *export().envelopes[1:])), head=chain.head_words(document))
    assert "the log is another agent's" in found


def test_nothing_that_was_not_looked_at_hides_behind_verified():
    other = statements.sign(outcome(plan_sha256="ab" * 32), [key("agent-plan")])
    assert "of a plan in this file" in failures(export(envelopes=(*export().envelopes, other)))
    assert "items of a plan that is not" in failures(export(items={"ab" * 32: documents()}))
    cancel = statements.sign(Cancel(TRUST_ID, "01" * 16, (DIGEST.hex(),), "maria", MINUTE), [key("maria")])
    report = proof.verify_export(export(envelopes=(*export().envelopes, cancel)), VKEY)
    assert report.ok
    assert report.lines[-1].text == "1 other statements: NOT JUDGED"


def test_many_leaves_are_not_listed_one_by_one():
    report = proof.verify_export(export(leaves([K.START, K.PLAN] + [K.REFUSED] * 28), envelopes=(), items={}), VKEY)
    assert report.ok
    assert len(report.lines) == 4


def lines_of(e):
    return proof.encode_export(e).split(b"\n")


def line(**fields):
    return json.dumps(fields).encode()


HEAD = lines_of(export())[0]
BAD_EXPORTS = {
    "format": HEAD.replace(b"-v0", b"-v9"),
    "head unknown field": HEAD.replace(b"{", b'{"x":1,', 1),
    "empty line": HEAD + b"\n\n" + lines_of(export())[1],
    "entry unknown field": HEAD + b"\n" + line(index=0, leaf="", proof=[], x=1),
    "entry base64": HEAD + b"\n" + line(index=0, leaf="*", proof=[]),
    "record without salt": HEAD + b"\n" + line(index=0, leaf="", proof=[], record=""),
    "envelope": HEAD + b"\n" + line(envelope="AAAA"),
    "what is it": HEAD + b"\n" + line(surprise=1),
}


@pytest.mark.parametrize("data", BAD_EXPORTS.values(), ids=BAD_EXPORTS.keys())
def test_malformed_exports(data):
    with pytest.raises(MalformedProofError):
        proof.decode_export_untrusted(data)


def test_an_export_too_large(monkeypatch):
    monkeypatch.setattr(limits, "EXPORT_LINES_MAX", 3)
    with pytest.raises(MalformedProofError, match="larger"):
        proof.decode_export_untrusted(proof.encode_export(export()))


# --- witnesses and standing authority -------------------------------------------------------------------------------


def cosigned(*names):
    text = witness.note_text(note_of(leaves()))
    lines = [checkpoint.cosign(text, name, key(name), MINUTE * 60) for name in names]
    return note_of(leaves()) + "".join(lines).encode()


def told(note):
    witnesses = (
        Witness("cloud", (checkpoint.encode_witness_vkey("cloud", key("cloud").public),), WitnessOperator.CLOUD),
        Witness(
            "desk-lena", (checkpoint.encode_witness_vkey("desk-lena", key("desk-lena").public),), WitnessOperator.OWN
        ),
    )
    first = signed_trust(trust(witnesses=witnesses))
    e = export(note=note, envelopes=(first, *export().envelopes[1:]))
    report = proof.verify_file_untrusted(proof.encode_export(e), head=chain.head_words(first))
    assert report.ok
    return [line.text for line in report.lines if "witnessed" in line.text]


def test_witnessed_is_said_of_witness_that_cloud_does_not_run():
    assert told(cosigned("cloud", "desk-lena")) == ["witnessed by cloud, desk-lena"]
    assert told(cosigned("desk-lena")) == ["witnessed by desk-lena"]
    assert told(cosigned("cloud")) == ["not witnessed: only cloud cosigned, which the cloud runs"]
    assert told(cosigned("eve")) == ["not witnessed"]
    assert told(note_of(leaves())) == ["not witnessed"]


def test_L6_a_cosignature_of_another_checkpoint_is_not_told():
    other = witness.note_text(note_of(leaves(STORY[:3])))
    line = checkpoint.cosign(other, "desk-lena", key("desk-lena"), MINUTE * 60)
    assert told(note_of(leaves()) + line.encode()) == ["not witnessed"]


def test_without_a_trust_document_nobody_is_a_witness():
    e = export(note=cosigned("desk-lena"), envelopes=(), items={})
    assert "not witnessed" in [line.text for line in proof.verify_export(e, VKEY).lines]


RESTORE = plan(risk_class=RiskClass.RESTORE, action=Action.RESTORE, requester="billing")


def restored(*statements_, p=RESTORE):
    data = [
        leaf.encode(
            Leaf(k, MINUTE, leaf.commitment(salt(n), record(n)), digest(p) if n else leaf.NO_PLAN, 1,
                 actor=bytes.fromhex("88" * 16) if k is K.STANDING_USED else leaf.NO_ACTOR)
        )
        for n, k in enumerate([K.START, K.PLAN, K.REFUSED, K.STANDING_USED, K.CONSUMED])
    ]  # fmt: skip
    envelopes = (signed_trust(trust()), statements.sign(p, [key("agent-plan")]), *statements_)
    return export(data, envelopes=envelopes, items={})


ALONE = plan(risk_class=RiskClass.ALONE, action=Action.RESTORE, requester="maria")
K = LeafKind
ALONE_STORY = [K.PLAN, K.APPROVAL, K.CONSUMED, K.REVIEW_OPENED, K.CHANGE_FINISHED]
LATER = {"not_before": MINUTE + 1, "not_after": MINUTE + 60}


def alone(*more, story=(*ALONE_STORY, K.REVIEW_CLOSED), version=1):
    minutes = {K.CHANGE_FINISHED: MINUTE + 1, K.REVIEW_CLOSED: MINUTE + 2}
    data = [
        leaf.encode(
            Leaf(
                k,
                minutes.get(k, MINUTE),
                leaf.commitment(salt(n), record(n)),
                digest(ALONE),
                version if k is K.REVIEW_CLOSED else 1,
            )
        )
        for n, k in enumerate(story)
    ]
    said = (signed_trust(trust()), statements.sign(ALONE, [key("agent-plan")]), approval(ALONE, "maria"))
    return export(data, envelopes=(*said, *more), items={})


def reviewed(*more, **changes):
    report = proof.verify_export(alone(*more, **changes), head=WORDS)
    assert report.ok, report
    assert "when it was consumed: approved by maria" in [line.text for line in report.lines]
    return [line.text.partition("; ")[2] for line in report.lines if line.text.startswith("one person did it alone")]


def test_the_review_of_what_one_person_did_alone_is_judged():
    assert reviewed(approval(ALONE, "joseph", **LATER)) == ["joseph reviewed it afterwards: in order"]
    objection = approval(ALONE, "lena", decision=Decision.REJECT, **LATER)
    assert reviewed(objection) == ["lena reviewed it afterwards: NOT IN ORDER"]


def test_reviews_that_are_none():
    missing = ["its review is closed, by a statement that is not in the file: NOT JUDGED"]
    assert reviewed(story=ALONE_STORY) == ["nobody has reviewed it yet, by this file"]
    for more in ([], [approval(ALONE, "maria", **LATER)], [approval(ALONE, "joseph")]):
        assert reviewed(*more) == missing
    assert reviewed(version=2) == missing
    unended = [k for k in (*ALONE_STORY, K.REVIEW_CLOSED) if k is not K.CHANGE_FINISHED]
    assert reviewed(approval(ALONE, "joseph", **LATER), story=unended) == missing
    # a rejection of before the run is no review, and then it should not have run
    assert "rejected by lena" in failures(alone(approval(ALONE, "lena", decision=Decision.REJECT)))


def test_a_restore_under_standing_authority_says_whose_word():
    report = proof.verify_export(restored(signed_standing()), head=WORDS)
    assert report.ok, report
    said = "when it was consumed: by the standing authority of joseph, lena; the evidence and the rate are the agent's"
    assert any(line.text.startswith(said) for line in report.lines)


def test_a_standing_authority_for_another_plan_proves_nothing():
    for e in (
        restored(),
        restored(signed_standing("joseph")),
        restored(signed_standing(not_before=MINUTE + 1)),
        restored(signed_standing(), approval(RESTORE, "maria", decision=Decision.REJECT)),
        restored(signed_standing(), p=dataclasses.replace(RESTORE, risk_class=RiskClass.LOW)),
        restored(signed_standing(), p=dataclasses.replace(RESTORE, size_bucket=SizeBucket.TO_10)),
    ):
        assert "when it was consumed" in failures(e)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    def write(data):
        path = tmp_path / "evidence"
        path.write_bytes(data)
        return str(path)

    return write


def test_verified_in_part_is_3(written, capsys):
    cut = IN_PART["cut_with_its_outcome"]()
    assert main(["verify", written(proof.encode_export(cut)), "--words", WORDS]) == 3
    printed = capsys.readouterr().out
    assert "open  plan 2222" in printed
    assert printed.splitlines()[-1].startswith("VERIFIED IN PART: ")


def test_a_lie_is_1_and_says_why(written, capsys):
    made, fault = LYING["consumed_after_cancel"]
    assert main(["verify", written(proof.encode_export(made())), "--words", WORDS]) == 1
    assert f"FAIL  {fault.value}: plan " in capsys.readouterr().out


def test_verified_is_0(written, capsys):
    assert main(["verify", written(proof.encode_export(export())), "--words", WORDS]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("VERIFIED\n")
    assert "ok    leaf 3: consumed" in printed


def test_not_verified_is_1(written, capsys):
    forged = proof.encode_export(export(envelopes=export().envelopes[:2]))
    assert main(["verify", written(forged), "--vkey", VKEY]) == 1
    assert "NOT VERIFIED: 1 checks failed" in capsys.readouterr().out
    assert main(["verify", written(GOOD)]) == 1
    assert "no key of yours was given" in capsys.readouterr().out


def test_unreadable_is_2(written, tmp_path, capsys):
    assert main(["verify", written(b"garbage")]) == 2
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "cannot read" in capsys.readouterr().err
    with pytest.raises(SystemExit) as err:
        main(["verify"])
    assert err.value.code == 2


def test_it_runs_with_pynacl_alone(written):
    """Nothing but the standard library, PyNaCl and what PyNaCl itself needs is imported."""
    code = (
        "import sys; from trust.__main__ import main; code = main(sys.argv[1:]); "
        "tops = {m.partition('.')[0] for m in sys.modules} - sys.stdlib_module_names; "
        "tops = {t for t in tops if not t.startswith('_')}; "
        "print(sorted(tops - {'trust', 'nacl', 'cffi'})); sys.exit(code)"
    )
    code = f"import sys; sys.path[:0] = {sys.path!r}; {code}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, "verify", written(GOOD), "--vkey", VKEY],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr


def test_it_is_a_module_to_run(written, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["trust", "verify", written(GOOD), "--vkey", VKEY])
    with pytest.raises(SystemExit) as err:
        runpy.run_path(str(Path(proof.__file__).with_name("__main__.py")), run_name="__main__")
    assert err.value.code == 0
