"""What people and programs expect of any command line: version, help, completion, errors, a line of progress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.cli import main as agent_main
from agent.cli.client import Json
from agent.cli.progress import Progress
from control_plane.cli import main as cloud_main
from tests.builders.own_process import spare_this_process
from trust.moments import rfc3339

MAINS: dict[str, Callable[[], None]] = {"ispagent": agent_main, "ispcloud": cloud_main}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Say = Callable[..., Said]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Type a command in this process; no agent runs."""
    monkeypatch.setenv("ISPAGENT_SOCKET", str(tmp_path / "none.sock"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    spare_this_process(monkeypatch)

    def typed(program: str, *args: str) -> Said:
        monkeypatch.setattr(sys, "argv", [program, *args])
        with pytest.raises(SystemExit) as end:
            MAINS[program]()
        shown = capsys.readouterr()
        return Said(int(end.value.code or 0), shown.out, shown.err)

    return typed


def in_a_process(program: str, *args: str, before: str = "", **environment: str) -> Said:
    """Type a command in a process of its own."""
    code = f"import sys; sys.argv[0] = {program!r}; {before}from {MAINS[program].__module__} import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *args],
        cwd=Path(__file__).parents[3],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("program", MAINS)
def test_a_version_is_printed(say: Say, program: str) -> None:
    done = say(program, "--version")
    assert (done.code, done.err) == (0, "")
    name, _, number = done.out.strip().partition(" ")
    assert name == program
    assert number.count(".") == 2


@pytest.mark.parametrize("words", [("ispagent",), ("ispagent", "change", "suspend"), ("ispcloud", "changes", "list")])
def test_help_is_asked_for_by_one_letter_too(say: Say, words: tuple[str, ...]) -> None:
    short, long = (say(*words, letter) for letter in ("-h", "--help"))
    assert short.code == 0
    assert short.out == long.out
    assert "Usage: " in short.out


@pytest.mark.parametrize(
    ("program", "line", "offered"),
    [("ispagent", "ispagent change su", "suspend"), ("ispcloud", "ispcloud changes l", "list")],
)
def test_a_shell_completes_commands(program: str, line: str, offered: str) -> None:
    asked = {f"_{program.upper()}_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "2"}
    assert in_a_process(program, **asked).out.split() == [offered]
    told = {
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"
    }  # the shell is named here, not the one that started this
    shown = in_a_process(program, "--show-completion", "bash", **told)
    assert f"complete -o default -F _{program}_completion" in shown.out


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
    say: Say, program: str, args: tuple[str, ...], code: int, reason: str
) -> None:
    done = say(program, *args)
    assert (done.code, done.out) == (code, "")
    (line,) = done.err.splitlines()
    error = json.loads(line)["error"]
    assert (error["code"], error["exit"]) == (reason, code)
    assert error["message"]
    plain = say(program, *(a for a in args if a not in ("--json", "-o", "json")))
    assert plain.code == code
    assert not plain.err.startswith("{")


def test_serve_names_the_extra_that_it_lacks(tmp_path: Path) -> None:
    lacks = "sys.modules['grpc_health'] = None; "
    done = in_a_process("ispcloud", "serve", "--dir", str(tmp_path), before=lacks)
    assert done.code == 2
    assert "extra control-plane" in done.err
    assert "grpc_health" in done.err
    assert "Traceback" not in done.err


# --- progress ---------------------------------------------------------------------------------------------------------


def change(total: int) -> Json:
    items = [{"n": n, "state": "planned"} for n in range(1, total + 1)]
    return {"id": "K7QF2", "items": [*items, {"n": total + 1, "state": "excluded"}]}


def event(n: int, state: str, at_s: float = 1000.0) -> Json:
    return {"kind": "item-state", "item": n, "what": state, "at": rfc3339(at_s)}


def test_progress_counts_what_is_over_and_the_time_it_takes() -> None:
    progress = Progress(change(40))
    assert progress.line(1000.0) == "K7QF2  0 of 40"
    for n in range(1, 9):
        assert not progress.event(event(n, "running"))
        assert not progress.event(event(n, "applied"))
    assert progress.event(event(9, "set-not-enforced")), "somebody has to look at that one"
    assert progress.line(1001.0) == "K7QF2  9 of 40 · 8 done, 1 SET, NOT ENFORCED"
    assert progress.line(1009.0) == "K7QF2  9 of 40 · 8 done, 1 SET, NOT ENFORCED · 1.0/s · 31 s left"
    assert progress.line(1090.0).endswith("0.1/s · 5 min left")


def test_an_item_may_move_again_and_a_step_is_no_line() -> None:
    progress = Progress(change(2))
    progress.event(event(1, "set-not-enforced"))
    progress.event(event(1, "running"))
    assert progress.line(1000.0) == "K7QF2  0 of 2"
    assert not progress.event({"kind": "about-to", "item": 1, "what": "", "at": rfc3339(1000)})
    assert not progress.event({"kind": "about-to", "item": 1, "what": "running", "at": rfc3339(1000)})
    assert progress.event({"kind": "approval", "item": None, "what": "approval", "at": rfc3339(1000)})
    assert not progress.event(event(3, "excluded")), "nothing was to be done with it"
    progress.event(event(1, "applied"))
    progress.event(event(2, "applied"))
    assert progress.line(1010.0) == "K7QF2  2 of 2 · 2 done"
