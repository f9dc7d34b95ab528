"""The command `ispcloud`: `keys`, `trust`, `changes`. An error is one sentence and an exit code, never a traceback."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from control_plane.desk import cli_changes, cli_keys, cli_trust
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
    help="The approver's and owner's tool: their keys stay here, and nothing is sent anywhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_trust.app, name="trust")
app.add_typer(cli_changes.app, name="changes")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
