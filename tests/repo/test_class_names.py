"""One class name has one meaning: no public name is defined in two modules of the product."""

from __future__ import annotations

from tests.repo.class_names import SHARED, definitions


def test_a_class_name_has_one_meaning() -> None:
    SHARED.check(lambda name: "\n".join(f"    {module}" for module in definitions()[name]))


def test_definitions_are_seen() -> None:
    assert definitions()["Figures"] == []
    assert definitions()["Store"]
