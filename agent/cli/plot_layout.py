"""A plot of a series as shapes on a white page: the mean as a line, lowest to highest as a band behind it. Pure.

* The page is as wide as the time that was asked for. A time without readings is gray, and nothing is drawn in it.
* Levels and times on the axes are round ones; times are those of the reader's clock, whatever it did meanwhile.
* Shapes are drawn in their order by `plot_svg` and `plot_png`, so that both files show one picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agent.cli.plot import short

WIDTH: Final = 960
HEIGHT: Final = 360
FONT: Final = 12
TITLE_FONT: Final = 15
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 24, 66, 52
_WIDE: Final = 0.58
"""Width of a character, about, for its height: a layout does not know the font."""
_LEVELS: Final = 5
"""Steps of the scale, about."""
_TIMES: Final = 8
"""Times below the plot, at most."""
_STEPS_S: Final = (
    60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000,
    7_776_000, 31_536_000,
)  # fmt: skip
_DAY_S: Final = 86_400
INK, FAINT, GRID, NOTHING = "#1b1f24", "#57606a", "#d8dee4", "#eef0f2"
MEAN, RANGE = "#0550ae", "#b6d4fb"

PlotPoint = tuple[int, float, float, float]
"""Unix seconds; lowest, mean and highest value."""
Spot = tuple[float, float]
"""Pixels from the left and from the top."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through spots."""

    spots: tuple[Spot, ...]
    color: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Patch:
    """A filled polygon."""

    spots: tuple[Spot, ...]
    color: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle around a point. `half`: half of its width."""

    spot: Spot
    half: float
    color: str


@dataclass(frozen=True, slots=True)
class Caption:
    """A text with its base line at a spot. `anchor`: `start`, `middle` or `end` of it is there."""

    spot: Spot
    text: str
    anchor: str = "start"
    size: int = FONT
    color: str = INK


Shape = Stroke | Patch | Dot | Caption


@dataclass(frozen=True, slots=True)
class Plotted:
    """A series to plot.

    Args:
        title: stands above the plot.
        points: at least one, in order of time.
        step_s: seconds that a point stands for.
        unit: of the values, or "".
        since_s: begin of the time that was asked for, unix seconds; None: the first point.
        until_s: its end; None: the last point.
    """

    title: str
    points: Sequence[PlotPoint]
    step_s: int
    unit: str = ""
    since_s: int | None = None
    until_s: int | None = None


def shapes(of: Plotted) -> list[Shape]:
    """Return the shapes of a plot, the hindmost first."""
    return list(_Page(of).shapes())


class _Page:
    """Places values and times."""

    def __init__(self, of: Plotted) -> None:
        self._of = of
        first, last = of.points[0][0], of.points[-1][0] + of.step_s
        self._since = min(first, first if of.since_s is None else of.since_s)
        self._until = max(last, last if of.until_s is None else of.until_s, self._since + 1)
        self._levels = levels(min(p[1] for p in of.points), max(p[3] for p in of.points))
        self._low, self._high = self._levels[0], self._levels[-1]

    def shapes(self) -> Iterator[Shape]:
        yield Patch(((0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)), "#ffffff")
        yield from self._nothing()
        yield from self._scale()
        yield from self._times()
        for run in runs(self._of.points, self._of.step_s):
            yield from self._run(run)
        yield from self._head()

    def _x(self, at_s: float) -> float:
        return _LEFT + (at_s - self._since) * (WIDTH - _LEFT - _RIGHT) / (self._until - self._since)

    def _y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (value - self._low) * (HEIGHT - _TOP - _BOTTOM) / (self._high - self._low)

    def _middle(self, point: PlotPoint) -> float:
        return self._x(point[0] + self._of.step_s / 2)

    def _run(self, run: Sequence[PlotPoint]) -> Iterator[Shape]:
        if len(run) == 1:
            (point,) = run
            x = self._middle(point)
            if point[1] != point[3]:
                yield Stroke(((x, self._y(point[1])), (x, self._y(point[3]))), RANGE, 3.0)
            yield Dot((x, self._y(point[2])), 2.0, MEAN)
            return
        above = [(self._middle(p), self._y(p[3])) for p in run]
        below = [(self._middle(p), self._y(p[1])) for p in reversed(run)]
        if any(p[1] != p[3] for p in run):
            yield Patch((*above, *below), RANGE)
        yield Stroke(tuple((self._middle(p), self._y(p[2])) for p in run), MEAN, 1.6)

    def _nothing(self) -> Iterator[Shape]:
        """Yield a gray patch for each time without readings, with words where they have room."""
        step = self._of.step_s
        found = runs(self._of.points, step)
        edges = [self._since, *(edge for run in found for edge in (run[0][0], run[-1][0] + step)), self._until]
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            if end - begin <= 2 * step:
                continue
            left, right = self._x(begin), self._x(end)
            yield Patch(((left, _TOP), (right, _TOP), (right, HEIGHT - _BOTTOM), (left, HEIGHT - _BOTTOM)), NOTHING)
            if right - left > _width("not read", FONT) + 8:
                spot = ((left + right) / 2, _TOP + 16)
                yield Caption(spot, "not read", "middle", color=FAINT)

    def _scale(self) -> Iterator[Shape]:
        for level in self._levels:
            y = self._y(level)
            yield Stroke(((_LEFT, y), (WIDTH - _RIGHT, y)), GRID)
            yield Caption((_LEFT - 8, y + 4), short(level), "end", color=FAINT)
        if self._of.unit:
            yield Caption((_LEFT - 8, _TOP - 12), self._of.unit, "end", color=FAINT)

    def _times(self) -> Iterator[Shape]:
        bottom = HEIGHT - _BOTTOM
        yield Stroke(((_LEFT, bottom), (WIDTH - _RIGHT, bottom)), FAINT)
        day, shown = "", float("-inf")
        for at_s, step_s in times(self._since, self._until):
            x, at = self._x(at_s), datetime.fromtimestamp(at_s)  # noqa: DTZ006  the reader's clock is meant
            yield Stroke(((x, bottom), (x, bottom + 5)), FAINT)
            text = f"{at:%H:%M}" if step_s < _DAY_S else f"{at:%d %b}"
            half = _width(text, FONT) / 2
            if x - half < shown or x + half > WIDTH - 2:
                continue
            shown = x + half + 6
            yield Caption((x, bottom + 19), text, "middle", color=FAINT)
            under = f"{at:%a %d %b %Y}" if step_s < _DAY_S else f"{at:%Y}"
            if under != day and x + _width(under, FONT) / 2 < WIDTH - 4:
                day = under
                yield Caption((x, bottom + 35), under, "middle", color=FAINT)

    def _head(self) -> Iterator[Shape]:
        yield Caption((_LEFT, 24), _fitting(self._of.title, TITLE_FONT), size=TITLE_FONT)
        y = 44
        yield Stroke(((_LEFT, y - 4), (_LEFT + 18, y - 4)), MEAN, 2.0)
        yield Caption((_LEFT + 24, y), f"mean of {_span(self._of.step_s)}", color=FAINT)
        x = _LEFT + 24 + _width(f"mean of {_span(self._of.step_s)}", FONT) + 16
        if any(p[1] != p[3] for p in self._of.points):
            yield Patch(((x, y - 9), (x + 18, y - 9), (x + 18, y), (x, y)), RANGE)
            yield Caption((x + 24, y), "lowest to highest", color=FAINT)
        last = datetime.fromtimestamp(self._of.points[-1][0]).astimezone()
        newest = f"last {with_unit(self._of.points[-1][2], self._of.unit)}"
        zone = f"{last:%Z}" if last.tzname() and f"{last:%Z}"[0] not in "+-" else f"UTC{last:%z}"
        yield Caption((WIDTH - _RIGHT, y), f"{newest} at {last:%d %b %H:%M}, times in {zone}", "end", color=FAINT)


def levels(low: float, high: float) -> list[float]:
    """Return round values from one at most the lowest to one at least the highest."""
    if high - low <= abs(high) * 1e-9:
        pad = abs(high) * 0.1 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / _LEVELS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    begin, end = math.floor(low / step), math.ceil(high / step)
    return [n * step for n in range(begin, max(end, begin + 1) + 1)]


def times(since_s: int, until_s: int) -> Iterator[tuple[int, int]]:
    """Yield round moments of the reader's clock within a time, unix seconds, each with the seconds between them.

    Days begin at midnight on that clock: where it is put forward or back, the steps around that are shorter or longer.
    """
    step_s = next((step for step in _STEPS_S if (until_s - since_s) / step <= _TIMES), _STEPS_S[-1])
    begin = datetime.fromtimestamp(since_s)  # noqa: DTZ006  the reader's clock is meant
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    number = 0
    while True:
        moment = midnight + timedelta(seconds=step_s * number)
        number += 1
        at_s = int(moment.timestamp())
        if at_s > until_s:
            return
        if at_s >= since_s:
            yield at_s, step_s


def runs(points: Sequence[PlotPoint], step_s: int) -> list[list[PlotPoint]]:
    """Return the points in pieces: a piece ends where two buckets or more are missing."""
    found = [[points[0]]]
    for point in points[1:]:
        if point[0] - found[-1][-1][0] > 2 * step_s:
            found.append([])
        found[-1].append(point)
    return found


def with_unit(value: float, unit: str) -> str:
    """Return a number with its unit and the prefix of that: `12.5 Mbit/s`."""
    text = short(value)
    return f"{text}{unit}" if text[-1:].isalpha() else f"{text} {unit}".rstrip()


def _span(seconds: int) -> str:
    for length, name in ((_DAY_S, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            count = seconds // length
            return f"{count} {name}s" if count > 1 else f"1 {name}"
    return f"{seconds} seconds"


def _width(text: str, size: int) -> float:
    return len(text) * size * _WIDE


def _fitting(title: str, size: int) -> str:
    """Return a title that fits above the plot. A long one loses its middle: its ends tell things apart."""
    most = int((WIDTH - _LEFT - _RIGHT) / (size * _WIDE))
    if len(title) <= most:
        return title
    half = (most - 3) // 2
    return f"{title[:half]} … {title[-half:]}"
