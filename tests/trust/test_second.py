"""The second verifier and ours judge alike: the corpus, recorded files, and random histories of the machine."""

import base64
import json
from pathlib import Path

import pytest

from tests.servers import ServerMissingError, missing, program
from tests.trust import histories, second
from tests.trust.lying import HONEST, IN_PART, LYING
from trust import proof

V0 = Path(__file__).parent / "vectors" / "v0"
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
    assert differing(range(120)) == []


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
