"""A small plot of numbers over time, in characters that every terminal has. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trust.moments import moment_text

COLUMNS: Final = 60
ROWS: Final = 8


def plot(points: Sequence[tuple[int, float]], columns: int = COLUMNS, rows: int = ROWS) -> list[str]:
    """Return the lines of a plot, the highest value first, and one with the times of the first and the last point.

    A column has the mean of its points; one without a point is empty: nothing is drawn where nothing was read.

    Args:
        points: (unix seconds, value), at least one, in order of time.
        columns: of the plot, at least 2.
        rows: of the plot, at least 2.
    """
    first, last = points[0][0], points[-1][0]
    found: dict[int, list[float]] = {}
    for at_s, value in points:
        found.setdefault((at_s - first) * (columns - 1) // max(last - first, 1), []).append(value)
    means = {column: sum(values) / len(values) for column, values in found.items()}
    low, high = min(means.values()), max(means.values())
    at = {column: round((value - low) * (rows - 1) / ((high - low) or 1)) for column, value in means.items()}
    labels = {rows - 1: f"{high:.10g}", 0: f"{low:.10g}"}
    width = max(map(len, labels.values()))
    lines = [
        f"{labels.get(row, ''):>{width}} |{''.join('*' if at.get(c) == row else ' ' for c in range(columns))}".rstrip()
        for row in (range(rows - 1, -1, -1) if high > low else (0,))
    ]
    begun, ended = (moment_text(s) for s in (first, last))
    return [*lines, f"{'':>{width}}  {begun:<{max(columns - len(ended), len(begun) + 1)}}{ended}"]


def short(value: float) -> str:
    """Return a number with a prefix: `12.5 M`."""
    for size, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g} {prefix}"
    return f"{value:.4g}"
