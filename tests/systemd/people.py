"""Users of a booted system who type commands there: each with a home, a key of their own, and nobody else's files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from subprocess import CompletedProcess

from tests.systemd.booted import Booted

PEOPLE = ("maria", "joseph", "lena")
"""Maria works in the NOC and asks; Joseph and Lena own the place. The tutorial makes their users."""


@dataclass(frozen=True, slots=True)
class Staff:
    """The people at a booted system, and root."""

    system: Booted

    def run(
        self, who: str, command: str, *, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> CompletedProcess[str]:
        """Run a command in somebody's home, as that user, whose key's passphrase is in a file there."""
        home = home_of(who)
        own = {} if who == "root" else {"ISPCLOUD_PASSPHRASE_FILE": f"{home}/passphrase"}
        return self.system.run(
            f"cd {home} && {command}",
            user="" if who == "root" else who,
            env={"HOME": home, "COLUMNS": "100", **own, **(env or {})},
            stdin=stdin,
            check=False,
        )

    def choose_passphrases(self) -> None:
        """Write the passphrase of each person's key into their home: in a test nobody types it."""
        for who in PEOPLE:
            path = f"{home_of(who)}/passphrase"
            self.system.write(path, f"correct horse of {who}\n", 0o600)
            self.system.run(f"chown {who}:{who} {path}")

    def type(self, who: str, command: str, *, exits: Sequence[int] = (0,), stdin: str = "") -> str:
        """Type a command in somebody's home, as that user with their key; return all that it prints.

        Raises:
            AssertionError: it ended with another exit code.
        """
        done = self.run(who, command, stdin=stdin, env={"ISPCLOUD_KEY": f"{who}.key"})
        assert done.returncode in exits, f"{who}$ {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def carry(self, path: str, *to: str) -> None:
        """Carry a file or a folder, as root does, into the homes of others, under its own name."""
        name = path.rpartition("/")[2]
        for who in to:
            there = f"{home_of(who)}/{name}"
            self.system.run(f"rm -rf {there}; cp -r {shlex.quote(path)} {there}; chown -R {who}:{who} {there}")

    def approve(self, change: str, *who: str, count: int) -> str:
        """Have people approve a change of maria's by file, and maria hand it in; return the last answer."""
        said = ""
        self.type("maria", f"rm -rf {change} && ispagent change show {change} --export {change}")
        for one in who:
            self.carry(f"{home_of('maria')}/{change}", one)
            sign = f"ispcloud changes approve --file {change} --yes-i-read-it {count} --out {change}.{one}"
            self.type(one, sign)
            self.carry(f"{home_of(one)}/{change}.{one}", "maria")
            said = self.type("maria", f"ispagent change approve {change} --file {change}.{one}")
        return said


def home_of(who: str) -> str:
    """Return the home of a person, or root's."""
    return "/root" if who == "root" else str(PurePosixPath("/", "home", who))


def find(pattern: str, text: str) -> str:
    """Return what a pattern's group finds in a text."""
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"expected {pattern} in\n{text}"
    return found[1]


def change_id(preview: str) -> str:
    """Return the change's id out of its preview's first line."""
    return find(r"\A.*· ([0-9A-Z]{5}) ·", preview)
