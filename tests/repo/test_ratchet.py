"""A ratchet goes one way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repo import ratchet
from tests.repo.ratchet import Figure, Figures, Ratchet


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ratchet, "HELD", tmp_path)
    return tmp_path / "x.toml"


def of(figures: Figures) -> Ratchet:
    return Ratchet("x", "Less is better.", lambda: figures, new=6, slack=2)


BEFORE = {"a": Figure(20, 1000), "b": Figure(3, 300)}


@pytest.mark.parametrize(
    ("now", "complaint"),
    [
        (BEFORE, None),
        ({"a": Figure(19, 1000), "b": Figure(3, 300)}, None),
        ({"a": Figure(21, 1000), "b": Figure(3, 300)}, "a: 21.0, expected at most 20.0\nmend a"),
        ({"a": Figure(17, 1000), "b": Figure(3, 300)}, "better than what is held: a"),
        ({"a": Figure(20, 900), "b": Figure(3, 300)}, None),
        ({**BEFORE, "new": Figure(6, 1000)}, None),
        ({**BEFORE, "new": Figure(7, 1000)}, "new: 7.0, expected at most 6"),
        ({"a": Figure(20, 1000)}, "better than what is held: b"),
    ],
)
def test_a_figure_holds(held: Path, now: Figures, complaint: str | None) -> None:
    of(BEFORE).write()
    if complaint is None:
        of(now).check("mend {}".format)
    else:
        with pytest.raises(AssertionError, match=complaint):
            of(now).check("mend {}".format)


def test_what_moved_is_written_and_what_got_worse_is_not(held: Path) -> None:
    of(BEFORE).write()
    moved = {"c": Figure(20, 1000), "b": Figure(3, 300)}
    assert of(moved).write() == "x: 17.7 is held"
    assert of(moved).held() == moved
    worse = {"c": Figure(21, 1000), "b": Figure(3, 300)}
    assert "refused" in of(worse).write()
    assert of(moved).held() == moved


def test_figures_that_do_not_add_up_are_judged_one_by_one(held: Path) -> None:
    def lengths(figures: Figures) -> Ratchet:
        return Ratchet("x", "Shorter is better.", lambda: figures, new=40, adds_up=False)

    lengths({"a": Figure(50), "b": Figure(30)}).write()
    grown = {"a": Figure(50), "b": Figure(29), "new": Figure(40)}
    assert lengths(grown).write() == "x: 3 is held", "a page that was added makes no other one longer"
    worse = {**grown, "a": Figure(20), "b": Figure(31)}
    assert lengths(worse).write() == "x: refused: worse than what is held: b"
    assert lengths(grown).held() == grown


def test_only_lines_that_changed_are_written(held: Path) -> None:
    of(BEFORE).write()
    now = {"a": Figure(19, 1000), "b": Figure(1, 300)}
    of(now).write()
    assert of(now).held() == {"a": BEFORE["a"], "b": now["b"]}


def test_counts_are_added_up(held: Path) -> None:
    counts = Ratchet("x", "Less is better.", lambda: {"a": Figure(2), "b/c.py": Figure(3)})
    assert counts.write() == "x: 5 is held"
    assert held.read_text() == f'# Written by `{ratchet.COMMAND}`. Less is better.\n"a" = 2\n"b/c.py" = 3\n'
    counts.check(str)
