"""A plot as SVG: well-formed whatever the title and the values are, and open where nothing was read."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from agent.cli.plot_layout import PlotPoint, Plotted, shapes
from agent.cli.plot_svg import svg

SVG = "{http://www.w3.org/2000/svg}"


def test_a_gap_is_open_and_a_lone_point_is_a_dot() -> None:
    points = [(0, 1.0, 2.0, 3.0), (300, 1.0, 2.5, 3.0), (600, 2.0, 2.0, 2.0), (9000, 1.0, 1.0, 1.0)]
    root = ET.fromstring(svg(shapes(Plotted("ap-7 <port/1>", points, 300))))
    lines = [line for line in root.findall(f"{SVG}polyline") if line.attrib["stroke-width"] == "1.6"]
    assert [len(line.attrib["points"].split()) for line in lines] == [3]
    assert len(root.findall(f"{SVG}circle")) == 1
    assert "ap-7 <port/1>" in [text.text for text in root.findall(f"{SVG}text")]


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=40),
    st.lists(st.tuples(st.integers(0, 4 * 10**9), st.floats(-1e12, 1e12)), min_size=1, max_size=30).map(sorted),
)
def test_it_is_well_formed(title: str, values: list[tuple[int, float]]) -> None:
    points: list[PlotPoint] = [(at_s, value, value, value) for at_s, value in values]
    ET.fromstring(svg(shapes(Plotted(title, points, 300, "dBm"))))
