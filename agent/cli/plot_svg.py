"""A plot as an SVG file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from agent.cli.plot_layout import FONT, HEIGHT, WIDTH, Caption, Dot, Patch, Shape, Spot, Stroke


def svg(shapes: Iterable[Shape]) -> str:
    """Return the text of a file that draws shapes in their order."""
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="DejaVu Sans, sans-serif" font-size="{FONT}">'
    return "\n".join((head, *map(_element, shapes), "</svg>", ""))


def _element(shape: Shape) -> str:
    match shape:
        case Patch():
            return f'<polygon points="{_spots(shape.spots)}" fill="{shape.color}"/>'
        case Stroke():
            line = f'stroke="{shape.color}" stroke-width="{shape.width:g}" stroke-linejoin="round"'
            return f'<polyline points="{_spots(shape.spots)}" fill="none" {line}/>'
        case Dot():
            x, y = shape.spot
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.half:g}" fill="{shape.color}"/>'
        case Caption():
            x, y = shape.spot
            font = f'fill="{shape.color}" font-size="{shape.size}" text-anchor="{shape.anchor}"'
            return f'<text x="{x:.1f}" y="{y:.1f}" {font}>{escape(shape.text)}</text>'


def _spots(spots: Sequence[Spot]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
