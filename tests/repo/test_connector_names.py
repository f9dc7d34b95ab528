"""Above the connectors and the CPE domain no file of the agent names a connector, in code, a string or a comment."""

from __future__ import annotations

import pytest

from agent.connectors.registry import DEFAULT
from tests.repo.connector_names import EXCEPTIONS, NAME, NAMED, found, lines


def test_nothing_above_the_connectors_names_one() -> None:
    NAMED.check(lambda name: "\n".join(f"    {name}:{number}: {line}" for number, line in found()[name]))


def test_an_exception_that_is_not_needed_is_taken_off() -> None:
    assert set(EXCEPTIONS) <= set(found())


def test_each_connector_has_a_name_that_is_looked_for() -> None:
    assert [package for package in DEFAULT if not NAME.search(package)] == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("x = 1\nfrom agent.connectors import radius\n", [2]),
        ('"""Sent by a MikroTik."""\n# RouterOS 7\ntarget = "cwmp/acs"\n', [1, 2, 3]),
        ("a router, an ACS\n", []),
    ],
)
def test_names_are_seen(text: str, numbers: list[int]) -> None:
    assert [number for number, _ in lines(text)] == numbers
