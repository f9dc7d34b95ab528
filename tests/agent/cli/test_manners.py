"""What people and programs expect of any command line: version, help, completion, errors, a line of progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli.client import Json
from agent.cli.progress import Progress

PROGRAMS = {
    "ispagent": "from agent.cli import main; main()",
    "ispcloud": "from control_plane.cli import main; main()",
}


def typed(program: str, *args: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Type a command in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ISPAGENT_", "ISPCLOUD_", "NO_COLOR"))}
    return subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.argv[0] = {program!r}; {before}{PROGRAMS[program]}", *args],
        cwd=Path(__file__).parents[3],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_version_is_printed(program: str) -> None:
    done = typed(program, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    name, _, number = done.stdout.strip().partition(" ")
    assert name == program
    assert number.count(".") == 2


@pytest.mark.parametrize("words", [("ispagent",), ("ispagent", "change", "suspend"), ("ispcloud", "changes", "list")])
def test_help_is_asked_for_by_one_letter_too(words: tuple[str, ...]) -> None:
    short, long = (typed(*words, letter) for letter in ("-h", "--help"))
    assert short.returncode == 0
    assert short.stdout == long.stdout
    assert "Usage: " in short.stdout


@pytest.mark.parametrize(
    ("program", "line", "offered"),
    [("ispagent", "ispagent change su", "suspend"), ("ispcloud", "ispcloud changes l", "list")],
)
def test_a_shell_completes_commands(program: str, line: str, offered: str) -> None:
    asked = {f"_{program.upper()}_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "2"}
    assert typed(program, **asked).stdout.split() == [offered]
    assert f"complete -o default -F _{program}_completion" in typed(program, "--show-completion", "bash").stdout


ERRORS = [
    ("ispagent", ("change", "show", "--json"), 2, "usage"),
    ("ispagent", ("change", "show", "K7QF2", "--nope", "--json"), 2, "usage"),
    ("ispagent", ("status", "--json"), 1, "failed"),
    ("ispagent", ("device", "list", "-o", "json"), 1, "failed"),
    ("ispcloud", ("changes", "show", "--nope", "--json"), 2, "usage"),
    ("ispcloud", ("operators", "list", "--dir", "/nowhere", "-o", "json"), 2, "usage"),
]


@pytest.mark.parametrize(("program", "args", "code", "reason"), ERRORS)
def test_an_error_under_json_is_one_object_on_standard_error(
    tmp_path: Path, program: str, args: tuple[str, ...], code: int, reason: str
) -> None:
    done = typed(program, *args, ISPAGENT_SOCKET=str(tmp_path / "none.sock"), HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    error = json.loads(line)["error"]
    assert (error["code"], error["exit"]) == (reason, code)
    assert error["message"]
    plain = typed(program, *(a for a in args if a not in ("--json", "-o", "json")), ISPAGENT_SOCKET="/none")
    assert plain.returncode == code
    assert not plain.stderr.startswith("{")


def test_serve_names_the_extra_that_it_lacks(tmp_path: Path) -> None:
    lacks = "sys.modules['grpc_health'] = None; "
    done = typed("ispcloud", "serve", "--dir", str(tmp_path), before=lacks)
    assert done.returncode == 2
    assert "extra control-plane" in done.stderr
    assert "grpc_health" in done.stderr
    assert "Traceback" not in done.stderr


# --- progress ---------------------------------------------------------------------------------------------------------


def change(total: int) -> Json:
    items = [{"n": n, "state": "planned"} for n in range(1, total + 1)]
    return {"id": "K7QF2", "items": [*items, {"n": total + 1, "state": "excluded"}]}


def event(n: int, state: str, at_s: float = 1000.0) -> Json:
    return {"kind": "item-state", "item": n, "what": state, "at_s": at_s}


def test_progress_counts_what_is_over_and_tells_how_long_it_takes() -> None:
    progress = Progress(change(40))
    assert progress.line(1000.0) == "K7QF2  0 of 40"
    for n in range(1, 9):
        assert not progress.event(event(n, "running"))
        assert not progress.event(event(n, "applied"))
    assert progress.event(event(9, "set-not-enforced")), "somebody has to look at that one"
    assert progress.line(1001.0) == "K7QF2  9 of 40 · 8 enforced now, 1 SET, NOT ENFORCED"
    assert progress.line(1009.0) == "K7QF2  9 of 40 · 8 enforced now, 1 SET, NOT ENFORCED · 1.0/s · 31 s left"
    assert progress.line(1090.0).endswith("0.1/s · 5 min left")


def test_an_item_may_move_again_and_a_step_is_no_line() -> None:
    progress = Progress(change(2))
    progress.event(event(1, "set-not-enforced"))
    progress.event(event(1, "running"))
    assert progress.line(1000.0) == "K7QF2  0 of 2"
    assert not progress.event({"kind": "about-to", "item": 1, "what": "about-to", "at_s": 1000.0})
    assert progress.event({"kind": "approval", "item": None, "what": "approval", "at_s": 1000.0})
    assert not progress.event(event(3, "excluded")), "nothing was to be done with it"
    progress.event(event(1, "applied"))
    progress.event(event(2, "applied"))
    assert progress.line(1010.0) == "K7QF2  2 of 2 · 2 enforced now"
