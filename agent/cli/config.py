"""`ispagent config`: the configuration file, looked at before the daemon has to live with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli import client
from agent.cli.client import print_json

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Config = Annotated[Path | None, typer.Option("--config", help="The configuration file (or ISPAGENT_CONFIG)")]


@app.callback()
def config_group() -> None:
    """Make a group of it, also while it has one command."""


@app.command("check")
def check(config: Config = None, as_json: AsJson = False) -> None:
    """Check a configuration file and this machine for it: exit code 2 names every mistake. Nothing is changed."""
    from agent import host_check
    from agent.config import ConfigError, load

    path = config or client.config_path()
    problems: list[str] = []
    notes: list[str] = []
    try:
        settings = load(path)
    except ConfigError as err:
        problems.extend(err.problems)
    else:
        problems.extend(host_check.problems(settings, host_check.daemon_uid(settings.state_dir)))
        notes.extend(host_check.notes(settings))
    if as_json:
        print_json({"file": str(path), "problems": problems, "notes": notes})
    else:
        for problem in problems:
            print(problem)
        for note in notes:
            print(f"note: {note}")
        if not problems:
            print(f"{path}: the daemon can run with it")
    if problems:
        raise typer.Exit(client.USAGE)
