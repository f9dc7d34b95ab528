"""How the CLI talks to the daemon, and how answers become exit codes (docs/cli.md)."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO, cast

import typer

from agent.runtime import http_client
from agent.runtime.errors import ClientError, MayNotConnectError, NotRunningError
from agent.socket_place import CONFIG, SOCKET, find_socket
from trust.terminal import (
    CODES,
    Column,
    Output,
    Terminal,
    error_json,
    json_text,
    neutralize,
    table,
    terminal,
    wants_json,
)

if TYPE_CHECKING:
    from agent.config import AgentConfig

Json = dict[str, object]

DONE, FAILED, USAGE, REFUSED, MIXED = 0, 1, 2, 3, 4
DEGRADED, FROZEN, HALTED = 5, 6, 7
"""Of `status` and `doctor` alone, for monitoring."""
PREVIEW_S = 180.0
"""A preview of a large batch reads much, and a restore waits for a suspension that is being applied."""

_USAGE_STATUSES = {400, 404, 405, 413}
_REFUSED_STATUSES = {403}


def fail(message: str, code: int, reason: str = "") -> NoReturn:
    """Print the error on standard error, as JSON under `--json`, and leave with the exit code.

    Args:
        message: for people; it need not be safe to print.
        code: the exit code.
        reason: a reason code; "": that of the exit code.
    """
    if wants_json(sys.argv[1:]):
        print(error_json(reason or CODES.get(code, "failed"), message, code), file=sys.stderr)
    else:
        safe = "\n".join(neutralize(line) for line in message.split("\n"))
        print(here(sys.stderr).emphasize(safe), file=sys.stderr)
    raise typer.Exit(code)


def here(stream: TextIO) -> Terminal:
    """Return how to write to a stream."""
    return terminal(
        is_screen=stream.isatty(), environment=os.environ, columns=shutil.get_terminal_size((100, 24)).columns
    )


def say(text: str) -> None:
    """Print text for people: words by which somebody has to look stand out on a terminal."""
    print(here(sys.stdout).emphasize(text))


def print_version(wanted: bool) -> None:
    """Print the program's version and leave, where that is wanted."""
    if wanted:
        from importlib.metadata import version

        print(f"ispagent {version('ispagents')}")
        raise typer.Exit(DONE)


def config_path() -> Path:
    """Return the configuration's path: ISPAGENT_CONFIG, or the default."""
    return Path(os.environ.get("ISPAGENT_CONFIG") or CONFIG)


def load_settings(config: Path | None) -> AgentConfig:
    """Return the configuration in a file (None: the usual one); one that cannot be used ends the program."""
    from agent.config import ConfigError, load

    try:
        return load(config or config_path())
    except ConfigError as err:
        fail("\n".join(err.problems), USAGE)


def load_own_settings(config: Path | None) -> AgentConfig:
    """Do as `load_settings` for a command that makes the daemon's files; any user but the daemon's is refused."""
    from agent.host_check import owner_problem

    settings = load_settings(config)
    if problem := owner_problem(settings.state_dir, os.geteuid()):
        fail(problem, USAGE)
    return settings


def socket_path() -> Path:
    """Return the daemon's socket: ISPAGENT_SOCKET, the configured one, or the usual one.

    Requesters need not be able to read the configuration: the usual socket is tried then. An agent that runs on
    while its file has a mistake can be asked.
    """
    if "ISPAGENT_SOCKET" in os.environ:
        return Path(os.environ["ISPAGENT_SOCKET"])
    if found := find_socket(config_path()):
        return found
    from agent.config import ConfigError, ConfigUnreadableError, load

    try:
        return load(config_path()).socket
    except ConfigError as err:
        unreadable = isinstance(err, ConfigUnreadableError) and not err.missing
        if unreadable or ("ISPAGENT_CONFIG" not in os.environ and SOCKET.exists()):
            return SOCKET
        fail("\n".join(err.problems), USAGE)


def call(method: str, path: str, body: object = None, timeout_s: float = 30.0) -> object:
    """Return the daemon's answer; its refusals and silence end the program with their exit code."""
    try:
        answer = http_client.request(socket_path(), method, path, body, timeout_s=timeout_s)
    except NotRunningError as err:
        not_running(err)
    except MayNotConnectError as err:
        fail(str(err), REFUSED)
    except ClientError as err:
        fail(str(err), MIXED)
    if answer.status >= 400:
        refuse(answer.status, answer.json)
    return answer.json


def not_running(err: NotRunningError) -> NoReturn:
    """End the program: nobody listens on the agent's socket."""
    fail(f"the agent is not running: {err}: ispagent doctor says why", FAILED)


def refuse(status: int, body: object) -> NoReturn:
    """End the program as an error answer says."""
    error = cast("Mapping[str, Mapping[str, str]]", body)["error"]
    code = REFUSED if status in _REFUSED_STATUSES else USAGE if status in _USAGE_STATUSES else FAILED
    fail(error["message"], code, error["code"])


def call_object(method: str, path: str, body: object = None, timeout_s: float = 30.0) -> Json:
    """Return the daemon's answer, an object."""
    return cast("Json", call(method, path, body, timeout_s))


def call_list(method: str, path: str, body: object = None) -> list[Json]:
    """Return the daemon's answer, a list of objects."""
    return cast("list[Json]", call(method, path, body))


ListOutput = Annotated[
    Output | None, typer.Option("--output", "-o", help="The names alone, all columns, or JSON", show_choices=True)
]


def print_list(
    found: Sequence[Json],
    output: Output | None,
    as_json: bool,
    columns: Sequence[Column],
    row: Callable[[Json], Sequence[str]],
) -> bool:
    """Print a list as `-o` and `--json` ask for it; return whether it was a table for people.

    `row`: the cells of one, which need not be safe to print.
    """
    if as_json or output is Output.JSON:
        print_json(found)
        return False
    print(table(columns, [[neutralize(cell) for cell in row(one)] for one in found], output))
    return output is not Output.NAME


def print_lines(
    found: Sequence[Json],
    output: Output | None,
    as_json: bool,
    columns: Sequence[Column],
    row: Callable[[Json], Sequence[str]],
    text: Callable[[], str],
) -> None:
    """Print a list as `print_list` does where `-o` or `--json` asks for that; else as `text` for people."""
    if output is None and not as_json:
        print(text())
    elif found or as_json or output is Output.JSON:
        print_list(found, output, as_json, columns, row)


def print_json(value: object) -> None:
    """Print a value for programs."""
    print(json_text(value, indent=2))


def read_file(path: Path) -> bytes:
    """Return a file's bytes (`-` is standard input); a file that cannot be read ends the program."""
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as err:
        fail(f"{path}: cannot be read: {err.strerror}", USAGE)


def write_file(path: Path, data: bytes) -> None:
    """Write a file that nobody else can read; one that cannot be written, or is a link, ends the program."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.fchmod(fd, 0o600)
            file.write(data)
    except OSError as err:
        fail(f"{path}: cannot be written: {err.strerror}", USAGE)


def b64(data: bytes) -> str:
    """Return base64 text."""
    return base64.b64encode(data).decode()


def unb64(text: object) -> bytes:
    """Return the bytes of base64 text from the daemon."""
    return base64.b64decode(str(text))
