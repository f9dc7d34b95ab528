"""`ispagent doctor`: is it the agent, the database, or the NAS? Each fault is told with its remedy."""

from __future__ import annotations

import os
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, cast

import typer

from agent.cli import client
from agent.cli.client import Json, print_json, say
from agent.socket_place import SOCKET
from trust.terminal import check_counts, check_lines

app = typer.Typer()

DOCTOR_S = 180.0
"""Targets are checked at once, and each has a minute; then services are read."""


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """Check this installation, and all that the agent depends on: logins, groups, NAS, clock, disk, billing, trust.

    It changes nothing, and works when the agent does not run. Exit code 5: a check fails; each that does names the
    command or the SQL that mends it.
    """
    checks, socket = _of_installation()
    given = os.environ.get("ISPAGENT_SOCKET")
    told = _of_daemon(Path(given or socket or SOCKET), guessed=not given and socket is None)
    twice = {(check["about"], check["what"]) for check in told}
    checks = [check for check in checks if (check["about"], check["what"]) not in twice] + told
    if as_json:
        print_json({"checks": checks})
    else:
        for line in check_lines(checks):
            say(line)
        print(check_counts(checks))
    if any(check["result"] == "fails" for check in checks):
        raise typer.Exit(client.DEGRADED)


def _of_installation() -> tuple[list[Json], Path | None]:
    """Return the checks that need no daemon, and the daemon's socket; None: this user cannot read which.

    They read the configuration, which people may not be allowed to do, or which may have a mistake: then the daemon is
    asked all the same, at the usual socket.
    """
    from agent import host_check
    from agent.config import ConfigError, ConfigUnreadableError, load
    from durable.installation import FAIL, NOT_CHECKED, InstallationCheck

    socket: Path | None = SOCKET
    try:
        config = load(client.config_path())
    except ConfigError as err:
        hidden = isinstance(err, ConfigUnreadableError) and not err.missing
        result, mend = (NOT_CHECKED, "run this as root") if hidden else (FAIL, "ispagent config check")
        socket = None if hidden else SOCKET
        found = [InstallationCheck("configuration", "file", result, problem, mend) for problem in err.problems]
    else:
        socket = config.socket
        found = list(host_check.installation_checks(config, host_check.daemon_uid(config.state_dir)))
    return [asdict(check) for check in found], socket


def _of_daemon(socket: Path, *, guessed: bool) -> list[Json]:
    """Return the daemon's own checks, or why it could not be asked.

    A user without the right to connect, or to read which socket it is, learns nothing of the daemon: it is not checked.
    To say that it fails would have them restart an agent that runs.

    Args:
        socket: the daemon's.
        guessed: whether it is the usual socket because this user cannot read the configured one.
    """
    from agent.runtime import http_client
    from agent.runtime.errors import ClientError, MayNotConnectError, NotRunningError
    from durable.installation import FAIL, NOT_CHECKED

    result, mend = FAIL, ""
    try:
        answer = http_client.request(socket, "GET", "/v1/doctor", timeout_s=DOCTOR_S)
    except NotRunningError as err:
        if guessed:
            result, mend = NOT_CHECKED, "run this as root"
            text = f"no agent listens on {socket}, and this user cannot read whether it is another socket"
        else:
            text, mend = f"it does not run: {err}", "journalctl -u ispagent -n 50; then systemctl start ispagent"
    except MayNotConnectError as err:
        result, text, mend = NOT_CHECKED, str(err), "run this as root"
    except ClientError as err:
        text = str(err)
    else:
        if answer.status < HTTPStatus.BAD_REQUEST:
            return cast("list[Json]", cast("Json", answer.json)["checks"])
        # Such as: it does not start, for a mistake that the checks of the installation name
        text = str(cast("Json", cast("Json", answer.json)["error"])["message"])
    return [{"about": "agent", "what": "daemon", "result": result, "detail": text, "mend": mend}]
