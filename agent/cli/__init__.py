"""`ispagent`: the NOC engineer's command line, and the daemon's start. Public: `main`, `app`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from agent.cli import (
    audit,
    change,
    client,
    cloud,
    config,
    cpe,
    device,
    doctor,
    drift,
    local,
    report,
    review,
    secret,
    session,
    subscriber,
    trust,
)
from agent.cli.connector_groups import ConnectorGroup, RootGroup
from trust.terminal import error_json, wants_json


def make(connectors: Sequence[str] | None = None) -> typer.Typer:
    """Return the command line. `connectors`: packages of those whose commands it has; None: of the registry."""

    class Root(RootGroup):
        packages = connectors

    class Shared(ConnectorGroup):
        packages = connectors

    made = typer.Typer(
        name="ispagent",
        help="Service changes that are previewed, approved, audited and reversible.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        cls=Root,
    )
    made.callback()(_options)
    for group, name in (
        (change.app, "change"),
        (subscriber.app, "subscriber"),
        (trust.app, "trust"),
        (secret.app, "secret"),
        (review.app, "review"),
        (audit.app, "audit"),
        (cloud.app, "cloud"),
        (device.app, "device"),
        (cpe.app, "cpe"),
        (config.app, "config"),
        (session.app, "session"),
        (local.clock, "clock"),
    ):
        made.add_typer(group, name=name, cls=Shared)
    made.command("init")(local.init)
    made.command("run")(local.run)
    made.command("status")(local.status)
    made.command("doctor")(doctor.doctor)
    made.command("drift")(drift.drift)
    made.command("report")(report.report)
    made.command("freeze")(local.freeze)
    made.command("unfreeze")(local.unfreeze)
    return made


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version", is_eager=True, callback=client.print_version)
    ] = False,
) -> None:
    """Service changes that are previewed, approved, audited and reversible."""


app = make()


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal cannot show must not end what is said
    try:
        "".join(sys.argv[1:]).encode()
    except UnicodeEncodeError:
        print("ispagent: expected words in UTF-8, got other bytes", file=sys.stderr)
        sys.exit(client.USAGE)
    if not wants_json(sys.argv[1:]):
        app()
        return
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as err:
        print(error_json("usage", err.format_message(), client.USAGE), file=sys.stderr)
        sys.exit(client.USAGE)
