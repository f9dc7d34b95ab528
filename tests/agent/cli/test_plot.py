"""A plot in the terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.cli.plot import plot


def test_a_plot_has_its_extremes_its_gaps_and_its_times() -> None:
    """B13: a small plot; nothing is drawn where nothing was read."""
    lines = plot([(0, 1.0), (10, 5.0), (90, 3.0)], columns=10, rows=5)
    assert lines[:5] == ["5 | *", "  |", "  |         *", "  |", "1 |*"]
    assert lines[5].strip()
    assert len(lines) == 6


def test_one_value_is_one_row() -> None:
    assert plot([(0, -19.25)], columns=10)[0] == "-19.25 |*"
    assert len(plot([(0, 2.0), (50, 2.0)], columns=10)) == 2


@given(
    st.lists(st.tuples(st.integers(0, 4 * 10**9), st.floats(-1e9, 1e9)), min_size=1, max_size=50).map(sorted),
    st.integers(2, 80),
    st.integers(2, 20),
)
def test_every_column_with_a_point_has_one_mark(points: list[tuple[int, float]], columns: int, rows: int) -> None:
    lines = plot(points, columns, rows)
    first, last = points[0][0], points[-1][0]
    used = {(at - first) * (columns - 1) // max(last - first, 1) for at, _ in points}
    assert sum(line.count("*") for line in lines[:-1]) == len(used)
    assert max(used) < columns
