"""The command `ispcloud`: the desk (`keys`, `trust`, `changes`, `standing`, `desk`), and the control plane's own.

An error is one sentence and an exit code, never a traceback.
"""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from control_plane import cli_server
from control_plane.desk import cli_changes, cli_cloud, cli_keys, cli_standing, cli_trust
from control_plane.errors import ControlPlaneError, exit_code
from trust.errors import TrustError
from trust.render import neutralise


class _Sentences(TyperGroup):
    """Ends with one sentence on standard error where a command raises one of our errors."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override] # typer vendors click's Context
        try:
            return super().invoke(ctx)
        except (ControlPlaneError, TrustError) as err:
            # Messages may quote a field's name out of a hostile file
            typer.echo(f"ispcloud: {neutralise(str(err))}", err=True)
            raise typer.Exit(exit_code(err)) from err


app = typer.Typer(
    cls=_Sentences,
    name="ispcloud",
    help="The approver's and owner's tool, whose keys stay with them; and the control plane, for its administrators.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
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


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
