"""Reason codes are members of enums, each with a meaning, and docs/reasons.md lists them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from agent.reasons import ExplainedReason, ItemReason, ProofReason, TargetReason, explain
from tests.repo import tree
from tests.repo.reasons_page import REASONS_MD, layers, render

POSITIONS = {
    "NotSentError": None,
    "LostError": None,
    "UnreadableError": None,
    "Busy": 0,
    "CannotEnforce": 0,
    "Judgment": 1,
    "Finding": 0,
    "Unfit": 0,
    "Leave": 0,
    "Skip": 0,
    "RefusedCommandError": 0,
    "HttpError": 1,
    "MoveItem": 3,
    "StepOutcome": 1,
}
"""Constructors that take a reason code: the position of its argument; None: by keyword alone."""


def literals(source: str) -> list[tuple[int, str]]:
    """Return the line and text of each reason code that is written as a text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in POSITIONS):
            continue
        at = POSITIONS[node.func.id]
        given = [k.value for k in node.keywords if k.arg in ("reason", "code", "how")]
        if at is not None and len(node.args) > at:
            given.append(node.args[at])
        for value in given:
            found += [(node.lineno, text) for text in _texts(value)]
    return found


def _texts(value: ast.expr) -> list[str]:
    """Return the texts in an expression, but for those that an enum is asked for: `RouterFinding(f"{use}-login")`."""
    if isinstance(value, ast.Call):
        return []
    if isinstance(value, ast.Constant):
        return [value.value] if isinstance(value.value, str) and value.value else []
    return [text for part in ast.iter_child_nodes(value) if isinstance(part, ast.expr) for text in _texts(part)]


@pytest.mark.parametrize("path", tree.python_files("agent"), ids=tree.name)
def test_no_reason_is_written_as_a_text(path: Path) -> None:
    assert literals(path.read_text(encoding="utf-8")) == []


def test_a_reason_that_is_a_text_is_seen() -> None:
    assert literals('raise NotSentError("no", reason="timeout")\nLeave("paid" if x else "due", "")') == [
        (1, "timeout"),
        (2, "paid"),
        (2, "due"),
    ]


def test_the_page_is_of_today() -> None:
    assert REASONS_MD.read_text(encoding="utf-8") == render(), "run: python -m tests.repo.reasons_page"


def test_every_reason_has_a_meaning_and_ends_as_a_sentence() -> None:
    for layer in layers():
        for reason in layer:
            assert reason.meaning.endswith("."), reason
            assert not reason.remedy or reason.remedy.endswith("."), reason


def test_a_code_explains_itself_also_with_a_number() -> None:
    assert explain("read-back", TargetReason) is TargetReason.READ_BACK
    assert explain("nak-503", ProofReason, TargetReason) is TargetReason.NAK
    assert explain("superseded", ProofReason, ItemReason) is ItemReason.SUPERSEDED
    assert explain("revert-not-on-the-line", TargetReason, ItemReason) is ItemReason.REVERT
    assert explain("no-such-code", TargetReason) is None
    assert explain("", TargetReason) is None
    assert isinstance(TargetReason.NAK, ExplainedReason)
