"""A plot as PNG: a picture of the size that is promised, with its line, its gap and its texts."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageColor

from agent.cli import plot_png
from agent.cli.plot_layout import HEIGHT, MEAN, NOTHING, WIDTH, Plotted, shapes

DAY = [(n * 300, -62.0, -60.0, -58.0) for n in range(288) if not 100 <= n < 200]


def picture(plotted: Plotted) -> Image.Image:
    content = plot_png.png(shapes(plotted))
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) < 200_000
    return Image.open(BytesIO(content)).convert("RGB")


def colors(of: Image.Image) -> dict[object, int]:
    return {color: count for count, color in of.getcolors(1 << 24) or []}


def test_a_picture_has_its_line_its_gap_and_a_white_ground() -> None:
    drawn = picture(Plotted("sw-3", DAY, 300, "dBm"))
    assert drawn.size == (WIDTH * plot_png.SCALE, HEIGHT * plot_png.SCALE)
    found = colors(drawn)
    line, gap = ImageColor.getrgb(MEAN), ImageColor.getrgb(NOTHING)
    assert found[line] > 2000
    assert found[gap] > 50_000
    assert max(found, key=lambda color: found[color]) == (255, 255, 255)
    # nothing is drawn in the gap between its words and the axis
    x, y = drawn.width // 2, drawn.height // 2
    assert drawn.getpixel((x, y + 3)) == gap


@pytest.mark.parametrize("fonts", [plot_png._FONTS, ()], ids=["of the system", "of Pillow"])
def test_texts_are_drawn_with_or_without_a_font_of_the_system(
    monkeypatch: pytest.MonkeyPatch, fonts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(plot_png, "_FONTS", fonts)
    plot_png._font.cache_clear()
    try:
        named, bare = (picture(Plotted(title, DAY, 300)) for title in ("sw-3 · port/1 · ñé", ""))
    finally:
        plot_png._font.cache_clear()
    above = (0, 0, named.width, 60)
    assert len(colors(bare.crop(above))) == 1
    assert len(colors(named.crop(above))) > 20


def test_one_value_is_a_picture_too() -> None:
    found = colors(picture(Plotted("sw-3", [(0, 1.0, 1.0, 1.0)], 300, until_s=86_400)))
    assert ImageColor.getrgb(MEAN) in found
