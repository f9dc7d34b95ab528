"""Writes the connector of docs/adding-a-connector.md into a folder, as a package that can be imported."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-connector.md"
PACKAGE = "meter_of_the_page"


def write_package(folder: Path) -> str:
    """Write the files that the page shows, each under the block that follows its name; return the package's name."""
    text = PAGE.read_text(encoding="utf-8")
    (folder / PACKAGE).mkdir()
    for found in re.finditer(r"^`agent/connectors/meter/(\w+\.py)`", text, re.MULTILINE):
        code = text[found.end() :].split("```python\n", 1)[1].split("```", 1)[0]
        (folder / PACKAGE / found[1]).write_text(code.replace("agent.connectors.meter", PACKAGE), encoding="utf-8")
    return PACKAGE
