"""`ispagent session`: sessions that accounting keeps open though they are over."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.change import AsJson, Exclude, File, Hold, OnFailure, OnTariff, Refs, ask, references

app = typer.Typer()

SilentHours = Annotated[
    int, typer.Option("--silent-hours", min=1, max=8760, help="Only rows on which accounting is silent for so long")
]


@app.command("close-stale")
def close_stale(
    refs: Refs = None,
    file: File = None,
    on_tariff: OnTariff = "",
    exclude: Exclude = None,
    silent_hours: SilentHours = 24,
    on_failure: OnFailure = "continue",
    hold: Hold = False,
    as_json: AsJson = False,
) -> None:
    """Close rows of accounting after their session is over: its NAS denies it, or is configured no more.

    Each NAS is asked about each session by a Disconnect-Request: one that it still has ends by it, and is not closed
    here. A row is closed at the time when accounting last heard of it, with the cause Stale-Session.
    """
    fields = {
        "action": "disconnect",
        "refs": references(refs, file),
        "on_tariff": on_tariff,
        "exclude": list(exclude or []),
        "on_failure": on_failure,
        "hold": hold,
        "settings": {"silent-h": str(silent_hours)},
    }
    ask(fields, as_json)
