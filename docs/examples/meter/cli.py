"""`ispagent meter`: how a meter is brought in."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def onboard(name: Annotated[str, typer.Argument(help="Name of the meter in the configuration")]) -> None:
    """Print a section for the configuration."""
    print(f'[meter.{name}]\nfile = "…"')
