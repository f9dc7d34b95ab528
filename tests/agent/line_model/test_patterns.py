"""Expressions that a text of a device can make run for years."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.line_model.patterns import slow_part


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("^(a+)+$", "(a+)+"),
        (r"^(\w+\s?)*$", r"(\w+\s?)*"),
        ("x(?:[0-9]+a?){2,}y", "(?:[0-9]+a?){2,}"),
        ("(?P<service>(a|a)*)b", "(a|a)*"),
        ("((a*)b)*", "((a*)b)*"),
        ("(?i)(?:(a?){30}b)", "(a?){30}"),
        ("([^]]*){9}", "([^]]*){9}"),
        (".*a.*b.*c.*", ".*a.*b.*c.*"),
    ],
)
def test_slow_ones(pattern: str, part: str) -> None:
    re.compile(pattern)
    assert slow_part(pattern) == part


@pytest.mark.parametrize(
    "pattern",
    [
        "^C-(?P<service>[0-9]+)$",
        r"(?i)\b(E[0-9]+-[0-9]+|E[79])\b",
        "^gpon [0-9]+/([0-9]+/[0-9]+) onu [0-9]+",
        "(a+)?b",
        "((a+)){1}",
        r"\(a+\)+",
        "[(a+)]+",
        "^(?:a+)*+$",
        "(abc){2,5}",
        "a{b+}(c)+",
        ".*?(?P<service>[A-Z]{2}-[0-9]{4,6}).*",
    ],
)
def test_sound_ones(pattern: str) -> None:
    re.compile(pattern)
    assert slow_part(pattern) == ""


@given(st.text(st.sampled_from("ab.()[]{}|*+?^\\,19P<>=!:#i-"), max_size=40))
def test_any_text_has_an_answer(pattern: str) -> None:
    assert slow_part(pattern) in pattern
