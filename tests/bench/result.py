"""What a benchmark says: one object of numbers, and the table made of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Result:
    """One measured number. `reference` names what it is compared with, `reference_value` is that, in the same unit.

    `ratio` is value / reference_value, or the other way round where more is better (`aim` says which is wanted).
    """

    name: str
    aim: str
    value: float
    unit: str
    reference: str
    reference_value: float | None = None
    ratio: float | None = None
    met: bool | None = None
    more: dict[str, float] = field(default_factory=dict)

    def json(self) -> dict[str, object]:
        """Return the object that is printed."""
        return asdict(self)


class Stopwatch:
    """Wall seconds, once the block has ended."""

    wall_s: float = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Measure the block."""
    watch = Stopwatch()
    began = time.perf_counter()
    yield watch
    watch.wall_s = time.perf_counter() - began


def compared(
    name: str, aim: str, value: float, unit: str, reference: tuple[str, float], *, limit: float, more: dict[str, float]
) -> Result:
    """Return a result whose aim is value / reference <= limit."""
    ratio = value / reference[1]
    return Result(name, aim, value, unit, reference[0], reference[1], ratio, ratio <= limit, more)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| benchmark | value | reference | ratio | aim | met |", "|---|---|---|---|---|---|"]
    for r in results:
        reference = f"{r.reference}: {_number(r.reference_value)} {r.unit}" if r.reference_value is not None else ""
        met = "" if r.met is None else "yes" if r.met else "**no**"
        more = "".join(f"<br>{k} {_number(v)}" for k, v in r.more.items())
        value = f"{_number(r.value)} {r.unit}{more}"
        lines.append(f"| {r.name} | {value} | {reference} | {_number(r.ratio)} | {r.aim} | {met} |")
    return "\n".join(lines)
