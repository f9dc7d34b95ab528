"""`ispagent`: the NOC engineer's command line, and the daemon's start. Public: `main`, `app`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from agent.cli import client
from agent.cli.asking import RunningAgent
from agent.cli.groups import RootGroup
from protos.command_line import Noun
from trust.terminal import error_json, wants_json

NOUNS: Final = (
    Noun("init", "agent.cli.local:app"),
    Noun("run", "agent.cli.local:app"),
    Noun("status", "agent.cli.local:app"),
    Noun("doctor", "agent.cli.doctor:app"),
    Noun("drift", "agent.cli.drift:app"),
    Noun("outage", "agent.cli.lines:app"),
    Noun("report", "agent.cli.report:app"),
    Noun("freeze", "agent.cli.local:app"),
    Noun("unfreeze", "agent.cli.local:app"),
    Noun("change", "agent.cli.change:app", "Change services: suspend, restore, set-plan, disconnect, adopt."),
    Noun("subscriber", "agent.cli.subscriber:app", "Subscribers and their services."),
    Noun("billing", "agent.cli.billing:app", "Billing sources, accounts and payments."),
    Noun("trust", "agent.cli.trust:app", "The trust document: people, roles and the policy of approvals."),
    Noun("secret", "agent.cli.secret:app", "Passwords and shared secrets, sealed at rest."),
    Noun("review", "agent.cli.review:app", "Reviews of changes that one person made alone."),
    Noun("audit", "agent.cli.audit:app", "The audit log."),
    Noun("cloud", "agent.cli.cloud:app", "The control plane that carries requests and approvals."),
    Noun("device", "agent.cli.device:app", "Routers and other devices: list, show, probe and add them."),
    Noun("port", "agent.cli.port:app", "Ports of your own devices: switch, describe, cycle their power (PoE)."),
    Noun(
        "cpe",
        "agent.cli.cpe:app",
        "CPE (TR-069): their last known parameters, and changes on them.",
        (
            Noun(
                "profile",
                "agent.cli.cpe_profile:app",
                "Profiles of CPE: where a model keeps each parameter, and its faults.",
            ),
        ),
    ),
    Noun("backup", "agent.cli.backup:app"),
    Noun("restore", "agent.cli.backup:app"),
    Noun("config", "agent.cli.config:app", "The configuration file."),
    Noun("session", "agent.cli.session:app", "Accounting rows of sessions that are over and still look open."),
    Noun("clock", "agent.cli.local:clock", "The agent's clock."),
    Noun("update", "agent.cli.update:app", "Updates of the program, from the channel that update.toml names."),
)
"""Every command, in the order of the help."""


def make(connectors: Sequence[str] | None = None) -> typer.Typer:
    """Return the command line. `connectors`: packages with the commands to take; None: those of the registry."""

    class Root(RootGroup):
        nouns = NOUNS
        packages = connectors

    made = typer.Typer(
        name="ispagent",
        help="Service changes that are previewed, approved, audited and reversible.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "obj": RunningAgent()},
        cls=Root,
    )
    made.callback()(_options)
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
