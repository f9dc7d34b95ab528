"""The committed tables are what the recordings give."""

from __future__ import annotations

from lab.tests.router import make_tables
from lab.tests.router.data import recorded


def test_the_committed_tables_are_what_the_generator_makes():
    recorded("restraml")
    made = make_tables.tables()
    assert set(made) == {p.name for p in make_tables.TABLES.iterdir()}
    for name, text in made.items():
        assert (make_tables.TABLES / name).read_text("utf-8") == text, (
            f"run python -m lab.tests.router.make_tables: {name}"
        )
