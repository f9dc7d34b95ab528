"""Copies the connector that docs/adding-a-connector.md shows into a folder, as a package that can be imported."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "meter"
PACKAGE = "meter_of_the_page"


def write_package(folder: Path) -> str:
    """Copy the example under a name of its own; return the package's name."""
    (folder / PACKAGE).mkdir()
    for path in EXAMPLE.glob("*.py"):
        code = path.read_text(encoding="utf-8")
        (folder / PACKAGE / path.name).write_text(code.replace("agent.connectors.meter", PACKAGE), encoding="utf-8")
    return PACKAGE
