"""The list of assumed facts, its marker, and the line that a run prints."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.assumed import LIST, AssumedFact, known, parse, summary

ROOT = LIST.parents[1]


def marked() -> dict[str, set[str]]:
    """Return which tests of the product the marker names facts at: id -> files."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        if "mark.assumed(" not in text or path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.assumed":
                for argument in node.args:
                    found.setdefault(ast.literal_eval(argument), set()).add(path.name)
    return found


def test_each_fact_is_whole_and_named_once() -> None:
    facts = parse(LIST.read_text(encoding="utf-8"))
    assert len({fact.id for fact in facts}) == len(facts) > 50
    assert [fact.id for fact in facts if not (fact.fact and fact.where and fact.because and fact.false_if)] == []
    assert [(fact.id, name) for fact in facts for name in fact.where if not (ROOT / name).is_file()] == []
    assert [fact.id for fact in facts if not fact.fact.endswith(".")] == []


def test_a_fact_has_a_test_or_says_why_not() -> None:
    named = marked()
    assert {fact.id for fact in known().values() if not fact.untested} == named.keys(), "see lab/assumed.toml"


def test_a_list_with_another_key_is_refused() -> None:
    with pytest.raises(TypeError, match="guess"):
        parse('[[fact]]\nid = "a"\nfact = "b"\nwhere = []\nbecause = ""\nfalse_if = ""\nguess = 1\n')
    assert parse('[[fact]]\nid = "a"\nfact = "b"\nwhere = ["c"]\nbecause = "d"\nfalse_if = "e"\n') == [
        AssumedFact("a", "b", ("c",), "d", "e")
    ]


def test_tests_that_ran_are_counted() -> None:
    def report(name: str, *ids: str) -> SimpleNamespace:
        return SimpleNamespace(nodeid=name, user_properties=[("assumed", ids)] if ids else [("other", 1)])

    assert summary([report("a")]) == ""
    line = summary([report("a", "x"), report("b", "x", "y"), report("c")])
    assert line == f"2 of these tests rest on 2 of {len(known())} assumed facts (lab/assumed.toml)"


@pytest.mark.parametrize(
    ("marker", "says"),
    [
        ('assumed("no-such-fact")', "expected an id of lab/assumed.toml, got 'no-such-fact'"),
        ("assumed()", "expected the id of a fact in the marker assumed, got none"),
        ('assumed("splynx-nonce")', "1 of these tests rest on 1 of "),
    ],
)
def test_a_run_refuses_unknown_ids_and_ends_with_the_count(tmp_path: Path, marker: str, says: str) -> None:
    (tmp_path / "test_one.py").write_text(f"import pytest\n\n@pytest.mark.{marker}\ndef test_it(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = assumed: a fact\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.assumed", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert says in done.stdout + done.stderr
    assert (done.returncode == 0) == ("passed" in (done.stdout.splitlines() or [""])[-1]), "pytest's line is the last"
