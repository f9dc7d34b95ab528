"""The command `ispcloud`: the desk (`keys`, `trust`, `changes`, `standing`, `desk`), and the control plane's own.

An error is one sentence and an exit code, never a traceback.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from control_plane.errors import USAGE, ControlPlaneError, exit_code
from durable.process import keep_memory_private
from protos.command_line import LazyGroup, Noun
from trust.errors import RefusedError, TrustError
from trust.terminal import CODES, error_json, neutralize, wants_json

NOUNS: Final = (
    Noun("init", "control_plane.cli_server:app"),
    Noun("serve", "control_plane.cli_server:app"),
    Noun("health", "control_plane.cli_server:app"),
    Noun("doctor", "control_plane.cli_server:app"),
    Noun("backup", "control_plane.cli_server:app"),
    Noun("restore", "control_plane.cli_server:app"),
    Noun("keys", "control_plane.desk.cli_keys:app", "Your own signing keys."),
    Noun("trust", "control_plane.desk.cli_trust:app", "Who may do what: the trust document."),
    Noun("changes", "control_plane.desk.cli_changes:app", "Look at a change and decide."),
    Noun("standing", "control_plane.desk.cli_standing:app", "Standing authority: two people allow changes beforehand."),
    Noun("desk", "control_plane.desk.cli_cloud:app", "This desk at the control plane."),
    Noun("operators", "control_plane.cli_server:operators", "Operators (ISPs): none sees the others."),
    Noun("agents", "control_plane.cli_server:agents", "Agents that may connect."),
    Noun(
        "people",
        "control_plane.cli_server:people",
        "People that may connect a desk. The trust document says what each may decide.",
    ),
    Noun("services", "control_plane.cli_server:services", "Services that ask for changes, such as billing."),
)
"""Every command, in the order of the help."""


class _Sentences(LazyGroup):
    """Ends with one sentence on standard error, or one JSON object, where a command raises one of our errors."""

    nouns = NOUNS

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override] # typer vendors click's Context
        try:
            return super().invoke(ctx)
        except (ControlPlaneError, TrustError) as err:
            # Messages may quote a field's name out of a hostile file
            message, code = neutralize(str(err)), exit_code(err)
            reason = err.reason.value if isinstance(err, RefusedError) else CODES[code]
            as_json = wants_json(sys.argv[1:])
            typer.echo(error_json(reason, message, code) if as_json else f"ispcloud: {message}", err=True)
            raise typer.Exit(code) from err


app = typer.Typer(
    cls=_Sentences,
    name="ispcloud",
    help="The tool of approvers and owners, which keep their keys; and the control plane, for its administrators.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    """The tool of approvers and owners, which keep their keys; and the control plane, for its administrators."""


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
