"""Mistakes are made where they are told to be, and name themselves alike when lines move."""

from __future__ import annotations

import ast
import os
import types
from pathlib import Path

import pytest

from tests.mutation.__main__ import Measured, again, draw, in_a_fork, load, replace
from tests.mutation.sites import mutated, sites

SOURCE = '''
LIMIT = 3

class Box:
    """A box."""

    def take(self, size: int) -> bool:
        """Return whether it fits."""
        if size < 4 and not self.full:
            self.held = size
            self.note(f"took {size + 1} é")
            return size == 2
        raise ValueError(size)
'''


def results(source: str) -> set[str]:
    """Return each changed line of every mistake."""
    before = source.splitlines()
    return {
        " ".join(line.split())
        for site in sites(source)
        for old, line in zip(before, mutated(source, site).splitlines(), strict=True)
        if old != line
    }


def test_every_kind_of_mistake() -> None:
    assert results(SOURCE) == {
        "if (not (size < 4 and (not self.full))):",
        "if (size < 4 or not self.full):",
        "if (size <= 4) and not self.full:",
        "if size < (5) and not self.full:",
        "if size < 4 and (self.full):",
        "pass",
        "return None",
        "return (size != 2)",
        "return size == (3)",
    }


def test_nothing_outside_of_functions_and_no_text_is_changed() -> None:
    assert sites('"""A text."""\nLIMIT = 3\nimport os\n') == []
    assert sites('def f() -> None:\n    """A text."""\n    import os\n') == []


def test_each_mistake_can_be_read_and_is_one() -> None:
    for site in sites(SOURCE):
        changed = mutated(SOURCE, site)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SOURCE)), site


def test_a_mistake_has_the_same_name_where_lines_moved() -> None:
    moved = "# first\n\n" + SOURCE.replace("LIMIT = 3", "LIMIT = 4").replace(
        "self.held = size", "self.held = size  # why"
    )
    assert [site.name for site in sites(moved)] == [site.name for site in sites(SOURCE)]
    assert [site.line for site in sites(moved)] != [site.line for site in sites(SOURCE)]
    lines = [
        '{"file": "a.py", "name": ["Box.take", "return size == 2", 1, "returns None"]}',
        '{"file": "a.py", "name": ["Box.take", "return size == 9", 1, "returns None"]}',
    ]
    assert [(file, site.what) for file, site in again({"a.py": sites(moved)}, lines)] == [("a.py", "returns None")]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_draws_the_same_lines(seed: int) -> None:
    found = {"a.py": sites(SOURCE), "b.py": sites(SOURCE)}
    drawn = draw(found, seed, 6)
    assert drawn == draw(found, seed, 6)
    assert len({(file, site.line) for file, site in drawn}) == 6


def module(path: Path) -> types.ModuleType:
    """Return a module of the source, as an import makes it."""
    made = types.ModuleType("made")
    exec(compile(path.read_text(), str(path), "exec"), made.__dict__)
    return made


def test_a_function_gets_its_mistake_where_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(SOURCE)
    box = type("Full", (module(path).Box,), {"full": False, "note": lambda self, text: None})()
    bound = box.take
    assert bound(2)
    site = next(site for site in sites(SOURCE) if site.what == "size == 2 -> size != 2")
    assert replace(path, SOURCE, site)
    assert not bound(2), "also where somebody holds the method"
    assert not replace(tmp_path / "other.py", SOURCE, site)


def test_a_fork_has_its_result_and_does_not_last_for_ever(tmp_path: Path) -> None:
    assert in_a_fork(lambda: 7, 60.0) == 7
    ready = tmp_path / "fifo"
    os.mkfifo(ready)
    assert in_a_fork(lambda: len(ready.read_bytes()), 0.2) is None


def test_what_was_measured_is_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, first = tmp_path / "measured.json", Measured({"a.py": {3: ["one"]}}, {"one": 0.5})
    first.save(path)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        Measured({}, {}).save(path)
    assert load(path) == first
