"""A plot as a PNG file, by Pillow. It draws, and never reads a picture.

Shapes are drawn larger and made smaller, which smooths their edges; texts are drawn last, at the size that they have.
A font of the system is used where there is one that knows more alphabets than Pillow's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from agent.cli.plot_layout import HEIGHT, WIDTH, Caption, Dot, Patch, Shape, Spot, Stroke

SCALE: Final = 2
"""Pixels of the file for one of the layout: sharp on today's screens."""
_FINER: Final = 2
"""Shapes are drawn so many times larger still."""
_FONTS: Final = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf")
_ANCHORS: Final = {"start": "ls", "middle": "ms", "end": "rs"}


def png(shapes: Iterable[Shape]) -> bytes:
    """Return a file that draws shapes in their order, texts above all others."""
    every, times = list(shapes), SCALE * _FINER
    large = Image.new("RGB", (WIDTH * times, HEIGHT * times), "#ffffff")
    pen = ImageDraw.Draw(large)
    for shape in every:
        _draw(pen, shape, times)
    page = large.resize((WIDTH * SCALE, HEIGHT * SCALE), Image.Resampling.BOX)
    pen = ImageDraw.Draw(page)
    for shape in every:
        if isinstance(shape, Caption):
            (spot,) = _scaled((shape.spot,), SCALE)
            pen.text(spot, shape.text, shape.color, _font(shape.size * SCALE), anchor=_ANCHORS[shape.anchor])
    file = BytesIO()
    page.save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw(pen: ImageDraw.ImageDraw, shape: Shape, times: int) -> None:
    match shape:
        case Patch():
            pen.polygon(_scaled(shape.spots, times), fill=shape.color)
        case Stroke():
            width = max(round(shape.width * times), 1)
            pen.line(_scaled(shape.spots, times), fill=shape.color, width=width, joint="curve")
        case Dot():
            ((x, y),) = _scaled((shape.spot,), times)
            pen.circle((x, y), shape.half * times, fill=shape.color)
        case Caption():
            pass  # at the size that it has


def _scaled(spots: Iterable[Spot], times: int) -> list[Spot]:
    return [(x * times, y * times) for x, y in spots]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
