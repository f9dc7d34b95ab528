"""`ispagent`: the NOC engineer's command line, and the daemon's start. Public: `main`, `app`."""

from __future__ import annotations

import io
import sys

import typer

from agent.cli import audit, change, client, cloud, cpe, device, local, secret, subscriber, trust

app = typer.Typer(
    name="ispagent",
    help="Service changes that are previewed, approved, audited and reversible.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(change.app, name="change")
app.add_typer(subscriber.app, name="subscriber")
app.add_typer(trust.app, name="trust")
app.add_typer(secret.app, name="secret")
app.add_typer(audit.app, name="audit")
app.add_typer(cloud.app, name="cloud")
app.add_typer(device.app, name="device")
app.add_typer(cpe.app, name="cpe")
app.add_typer(local.clock, name="clock")
app.command("init")(local.init)
app.command("run")(local.run)
app.command("status")(local.status)
app.command("freeze")(local.freeze)
app.command("unfreeze")(local.unfreeze)


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
    app()
