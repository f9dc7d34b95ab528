"""`ispagent meter`: how a meter is brought in."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def onboard(name: Annotated[str, typer.Argument(help="What the meter is called in the configuration")]) -> None:
    """Print what to write into the configuration."""
    print(f'[meter.{name}]\nfile = "…"')
