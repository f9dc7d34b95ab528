"""The second verifier and ours judge alike: the corpus, recorded files, and random histories of the machine."""

import base64
import json
from pathlib import Path

import pytest

from tests.servers import ServerMissingError, missing, program
from tests.trust import histories, second
from tests.trust.lying import HONEST, IN_PART, LYING
from tests.trust.tales import K, Tale
from trust import proof
from trust.leaf import ITEM_STATE_CODES, STATEMENT_KINDS, VERDICT_CODES
from trust.life import ALLOWED, Stage

V0 = Path(__file__).parent / "vectors" / "v0"
OF_NO_PLAN = {
    K.START, K.STOP, K.TRUST_INSTALLED, K.TRUST_CHANGED, K.INTENT, K.FREEZE, K.UNFREEZE, K.DESIRED, K.IMPORTED,
    K.SECRET_SET, K.CLOCK_HALT, K.CLOCK_ACCEPT, K.ERASED, K.RESTORED_DATABASE, K.CONFIG_CHANGED, K.REVERT_STARTED,
    K.STANDING, K.PADDING, K.WITNESS_ANOMALY, K.UNWITNESSED_START, K.SEALKEY, K.CPE_DECIDED,
}  # fmt: skip
"""Kinds whose leaves say nothing of a plan."""
CODES = {K.STEP_OUTCOME: VERDICT_CODES["applied"], K.ITEM_STATE: ITEM_STATE_CODES["needs-a-person"]}
FILES = [{"whole": True}, {}, {"without": [0]}, {"opened": False}, {"items": True}]


@pytest.fixture(scope="module", autouse=True)
def node():
    try:
        program("node", "nodejs")
    except ServerMissingError as err:
        missing(str(err))


def corpus():
    found = {name: make() for name, (make, _) in LYING.items()} | {name: make() for name, make in IN_PART.items()}
    found |= {f"{name} {n}": make().export(**file) for name, make in HONEST.items() for n, file in enumerate(FILES)}
    return {name: proof.encode_export(made) for name, made in found.items()}


def test_both_agree_on_the_corpus():
    files = corpus()
    theirs = second.theirs(list(files.values()))
    assert dict(zip(files, theirs, strict=True)) == {name: second.ours(file) for name, file in files.items()}
    refused = {name: codes for name, (codes, _) in zip(files, theirs, strict=True) if codes}
    assert refused.keys() == LYING.keys()
    assert all(LYING[name][1].value in codes for name, codes in refused.items())


def test_both_agree_on_a_recorded_export():
    """It is of an agent from before leaves named their statements."""
    file = (V0 / "export.jsonl").read_bytes()
    head = json.loads((V0 / "index.json").read_text())["head"]
    report = proof.verify_export_untrusted(file, head=head)
    assert second.theirs([file], head) == [(frozenset(f.value for f in report.faults), not report.whole)]


def differing(seeds):
    files = [histories.history(seed) for seed in seeds]
    verdicts = zip(seeds, map(second.ours, files), second.theirs(files), strict=True)
    return [(seed, ours, theirs) for seed, ours, theirs in verdicts if ours != theirs]


def test_both_agree_on_random_histories():
    assert differing(range(60)) == []


@pytest.mark.slow
def test_both_agree_on_many_random_histories():
    assert differing(range(1000, 2500)) == []


def test_histories_are_of_many_kinds():
    """Half of them and more are true, and among the others most reasons occur."""
    found = [second.ours(histories.history(seed))[0] for seed in range(150)]
    assert 50 < found.count(frozenset()) < 120
    assert len(set().union(*found)) >= 12


def test_a_byte_changed_is_refused_by_both():
    file = proof.encode_export(HONEST["suspended"]().export(without=[0]))
    lines = file.splitlines(keepends=True)
    changed = []
    for n, line in enumerate(lines):
        said = json.loads(line)
        name = next(k for k in ("checkpoint", "leaf", "envelope") if k in said)
        raw = said[name].encode() if name == "checkpoint" else base64.b64decode(said[name])
        at = len(raw) // 2
        other = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        said[name] = other.decode("utf-8", "replace") if name == "checkpoint" else base64.b64encode(other).decode()
        changed.append(b"".join([*lines[:n], json.dumps(said).encode() + b"\n", *lines[n + 1 :]]))
    assert all(codes for codes, _ in second.theirs(changed))


def at_stage(stage):
    """Return a tale whose plan stands at a stage, item 1 running and a step of it sent where it is under way."""
    tale = Tale()
    tale.write(K.START, of_plan=False)
    if stage is not Stage.ABSENT:
        tale.write(K.PLAN)
        tale.approve()
    if stage is Stage.CLOSED:
        tale.write(K.PLAN_VOID)
    if stage in (Stage.RUNNING, Stage.OVER):
        tale.consume()
        tale.move("running")
        tale.send()
    if stage is Stage.OVER:
        tale.end()
    return tale


def with_one_more(stage, kind):
    tale = at_stage(stage)
    tale.write(kind, 1, 1, CODES.get(kind, 0))
    return proof.encode_export(tale.export(whole=True))


def after_a_name(kind):
    """Return a file in which a leaf names its statement and a later one, of a kind, is open and names none."""
    tale = at_stage(Stage.OPEN)
    tale.write(kind, of_plan=False)
    return proof.encode_export(tale.export(whole=True))


def test_each_kind_of_leaf_has_its_rule():
    forgotten = set(K) - ALLOWED.keys() - OF_NO_PLAN
    assert not forgotten, "give it a row in trust/life.py and in second/verify.js, or name it above"
    assert not ALLOWED.keys() & OF_NO_PLAN


def test_both_have_a_rule_for_each_kind_of_leaf_at_each_stage():
    """A kind that one of them does not know, or has another rule for, is judged otherwise by the other one."""
    cases = [(kind, stage) for kind in K for stage in (Stage if kind in ALLOWED else [Stage.OPEN])]
    files = [with_one_more(stage, kind) for kind, stage in cases]
    for (kind, stage), file, theirs in zip(cases, files, second.theirs(files), strict=True):
        codes, part = second.ours(file)
        assert theirs == (codes, part), (kind, stage)
        assert ("no-such-leaf" in codes) == (kind in OF_NO_PLAN), (kind, stage)
        assert codes or stage in ALLOWED[kind], (kind, stage)
        assert "bad-log" not in codes, "verify.js has the words of all kinds, in their order"


def test_both_know_the_kinds_that_name_a_statement():
    files = {kind: after_a_name(kind) for kind in K}
    naming = {kind for kind, (codes, _) in zip(files, second.theirs(list(files.values())), strict=True) if codes}
    assert naming == STATEMENT_KINDS == {kind for kind, file in files.items() if second.ours(file)[0]}
