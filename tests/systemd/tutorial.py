"""The tutorial, typed: each command of its pages by the user whom the page names, its answer compared with the page."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.repo.sessions import Names, SessionError, Typed, sessions
from tests.systemd.booted import WAIT_S
from tests.systemd.people import Staff

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial"
_NO_TERMINAL = re.compile(r"/usr/lib/\S*getpass\.py:.*\n.*\n|Warning: Password input may be echoed\.\n *")
"""What Python says where a password is typed and there is no terminal whose echo could be turned off."""


_READS = re.compile(r"^(?!.* --export )isp(?:agent|cloud) (?:status|\w+ (?:list|show))\b[^&|;]*$")
"""Commands that change nothing: they may be typed again."""


@dataclass(frozen=True, slots=True)
class Tutorial:
    """The pages, at a booted system. `hidden`: what is typed where a page says `[a name in capitals]`.

    `beside`: programs of the lab that pages started; they run on this machine, in the system's network.
    """

    staff: Staff
    names: Names
    hidden: Mapping[str, str]
    beside: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def type_page(self, name: str, after: Callable[[str], None] = lambda command: None) -> None:
        """Type every command of a page, and call `after` with it once its answer is as the page shows.

        Raises:
            AssertionError: a command ended with another exit code, or its answer is not as the page shows.
        """
        for typed in sessions((TUTORIAL / name).read_text(encoding="utf-8")):
            command = self.names.filled(typed.command)
            print(f"\n{typed.who}$ {command}")
            if typed.who == "lab":
                self._start(command)
                continue
            answers = "".join(f"{self.hidden.get(one, self.names.filled(one))}\n" for one in typed.answers)
            problem = self._problem(typed, command, answers)
            until = time.monotonic() + (WAIT_S if _READS.search(command) else 0)
            while problem and time.monotonic() < until:  # what it tells of comes in a moment, as from the control plane
                time.sleep(0.5)
                problem = self._problem(typed, command, answers)
            assert not problem, f"docs/tutorial/{name}:{problem}"
            after(command)

    def _problem(self, typed: Typed, command: str, answers: str) -> str:
        """Type a command; return how it ended otherwise than the page shows, or ""."""
        exit_code, said = self._type(typed.who, command, answers)
        print(said.rstrip())
        if exit_code != typed.exit_code:
            return f"{typed.line}: exit code {exit_code}\n{said}"
        try:
            self.names.check(typed, said)
        except SessionError as err:
            return str(err)
        return ""

    def _type(self, who: str, command: str, stdin: str) -> tuple[int, str]:
        done = self.staff.run(who, f"exec 2>&1; {command}", stdin=stdin)
        assert "Traceback" not in done.stdout, done.stdout
        return done.returncode, _NO_TERMINAL.sub("", done.stdout)

    def _start(self, command: str) -> None:
        """Start a program of the lab, and wait until the agent has heard of it: a CPE that called in."""
        system, words = self.staff.system, shlex.split(command.removesuffix("&"))
        assert words[:3] == [".venv/bin/python", "-m", "lab"], command
        enter = ["nsenter", f"--target={system.pid}", "--net", "setpriv", "--pdeathsig=TERM", sys.executable]
        self.beside.append(subprocess.Popen([*enter, *words[1:]], stdin=subprocess.DEVNULL, cwd=ROOT))
        system.wait("a CPE that called in", lambda: self._type("maria", "ispagent cpe list -o name", "")[1].strip())


@contextmanager
def tutorial(staff: Staff, hidden: Mapping[str, str]) -> Iterator[Tutorial]:
    """Lend the tutorial at a system where none of it was typed yet; what its pages started ends with the block."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(TUTORIAL.glob("*.md"))]
    made = Tutorial(staff, Names.of(*pages), hidden)
    try:
        yield made
    finally:
        for program in made.beside:
            program.terminate()
            program.wait(WAIT_S)
