"""The marker `assumed`: a test that rests on a fact about devices that nobody saw on a real one (`lab/assumed.toml`).

A run says how many of its tests did: a green line is worth as much as these facts are true.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

LIST = Path(__file__).parents[1] / "lab" / "assumed.toml"
_PROPERTY = "assumed"


@dataclass(frozen=True, slots=True)
class AssumedFact:
    """One fact; the list explains its keys. `untested` is empty where a test of the product rests on it."""

    id: str
    fact: str
    where: tuple[str, ...]
    because: str
    false_if: str
    untested: str = ""


def parse(text: str) -> list[AssumedFact]:
    """Return the facts of a list.

    Raises:
        TypeError: a key is missing or unknown.
    """
    return [AssumedFact(**{**fact, "where": tuple(fact["where"])}) for fact in tomllib.loads(text)["fact"]]


@cache
def known() -> Mapping[str, AssumedFact]:
    """Return the list: id -> fact."""
    return {fact.id: fact for fact in parse(LIST.read_text(encoding="utf-8"))}


def ids_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the facts that a test rests on.

    Raises:
        pytest.UsageError: the marker names no fact, or one that is not in the list.
    """
    found: list[str] = []
    for mark in item.iter_markers("assumed"):
        if not mark.args:
            raise pytest.UsageError(f"{item.nodeid}: expected the id of a fact in the marker assumed, got none")
        found += mark.args
    if wrong := [name for name in found if name not in known()]:
        raise pytest.UsageError(f"{item.nodeid}: expected an id of lab/assumed.toml, got {', '.join(map(repr, wrong))}")
    return tuple(dict.fromkeys(found))


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Note at each test what it rests on; its report carries that to the process that sums up."""
    for item in items:
        if ids := ids_of(item):
            item.user_properties.append((_PROPERTY, ids))


def summary(reports: Iterable[Any]) -> str:
    """Return the sentence on tests that ran, by the reports of their calls; empty: none rests on such a fact."""
    ran = {report.nodeid: ids for report in reports for name, ids in report.user_properties if name == _PROPERTY}
    facts = {name for ids in ran.values() for name in ids}
    if not ran:
        return ""
    return f"{len(ran)} of these tests rest on {len(facts)} of {len(known())} assumed facts (lab/assumed.toml)"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the sentence; pytest's closing line follows."""
    ran = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "when", "") == "call"
    ]
    if line := summary(ran):
        terminalreporter.write_line(line)
