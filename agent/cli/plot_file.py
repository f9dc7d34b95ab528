"""The file of a plot: the kind that its name asks for, and the unit of its values. Pillow is imported for PNG alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.cli.lines import UNITS
from agent.cli.plot_layout import Plotted, shapes
from agent.cli.plot_svg import svg

_RATES: Final = {"in_bps": "bit/s", "out_bps": "bit/s"}


def plot_bytes(of: Plotted, file: Path) -> bytes:
    """Return the content of a file with a name that ends in .png or .svg."""
    drawn = shapes(of)
    if file.suffix.lower() == ".svg":
        return svg(drawn).encode()
    from agent.cli.plot_png import png

    return png(drawn)


def unit_of(name: str) -> str:
    """Return the unit of a measure or a rate by its name; "": it counts things, or is not known."""
    if name.endswith("_per_s"):
        return f"{name.removesuffix('_per_s').rpartition('_')[2]}/s"
    unit = _RATES.get(name) or UNITS.get(name.rpartition("_")[2], "")
    return "°C" if unit == "C" else unit
