"""The command `ispcloud`: the desk (`keys`, `trust`, `changes`, `standing`, `desk`), and the control plane's own.

An error is one sentence and an exit code, never a traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from control_plane import cli_server
from control_plane.desk import cli_changes, cli_cloud, cli_keys, cli_standing, cli_trust
from control_plane.errors import USAGE, ControlPlaneError, exit_code
from durable.process import keep_memory_private
from trust.errors import RefusedError, TrustError
from trust.render import neutralise
from trust.terminal import CODES, error_json, wants_json


class _Sentences(TyperGroup):
    """Ends with one sentence on standard error, or one JSON object, where a command raises one of our errors."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override] # typer vendors click's Context
        try:
            return super().invoke(ctx)
        except (ControlPlaneError, TrustError) as err:
            # Messages may quote a field's name out of a hostile file
            message, code = neutralise(str(err)), exit_code(err)
            reason = err.reason.value if isinstance(err, RefusedError) else CODES[code]
            as_json = wants_json(sys.argv[1:])
            typer.echo(error_json(reason, message, code) if as_json else f"ispcloud: {message}", err=True)
            raise typer.Exit(code) from err


app = typer.Typer(
    cls=_Sentences,
    name="ispcloud",
    help="The approver's and owner's tool, whose keys stay with them; and the control plane, for its administrators.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_trust.app, name="trust")
app.add_typer(cli_changes.app, name="changes")
app.add_typer(cli_standing.app, name="standing")
app.add_typer(cli_cloud.app, name="desk")
app.command("init")(cli_server.init)
app.command("serve")(cli_server.serve)
app.add_typer(cli_server.operators, name="operators")
app.add_typer(cli_server.agents, name="agents")
app.add_typer(cli_server.people, name="people")
app.add_typer(cli_server.services, name="services")
app.command("backup")(cli_server.backup)
app.command("restore")(cli_server.restore)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ispcloud {version('ispagents')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """The approver's and owner's tool, whose keys stay with them; and the control plane, for its administrators."""


def main() -> None:
    """Run the command line."""
    keep_memory_private()  # a desk signs in this process, and the server holds its keys
    if not wants_json(sys.argv[1:]):
        app()
        return
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as err:
        typer.echo(error_json("usage", err.format_message(), USAGE), err=True)
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
