"""Users of a booted system who type commands there: each with a home, a key of their own, and nobody else's files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tests.systemd.booted import Booted

PEOPLE = {"maria": 1001, "joseph": 1003, "lena": 1004}
"""Maria works in the NOC and asks; Joseph and Lena own the place. Uids as in `[people]`."""


@dataclass(frozen=True, slots=True)
class Staff:
    """The people at a booted system, and root."""

    system: Booted

    def arrive(self) -> None:
        """Make the users, each with a home of mode 0700 and the passphrase of a key in it."""
        lines = [f'u {who} {uid} "" /srv/{who} /bin/sh' for who, uid in PEOPLE.items()]
        self.system.run("systemd-sysusers -", stdin="\n".join(lines))
        for who in PEOPLE:
            self.system.run(f"install -d -o {who} -g {who} -m 0700 /srv/{who}")
            self.system.write(f"/srv/{who}/passphrase", f"correct horse of {who}\n", 0o600)
            self.system.run(f"chown {who}:{who} /srv/{who}/passphrase")

    def join(self, who: str, group: str) -> None:
        """Make somebody a member of a group, as usermod does, which this small Debian lacks."""
        self.system.run("systemd-sysusers -", stdin=f"m {who} {group}")

    def type(self, who: str, command: str, *, exits: Sequence[int] = (0,), stdin: str = "") -> str:
        """Type a command in somebody's home, as that user; return all that it prints.

        Raises:
            AssertionError: it ended with another exit code.
        """
        home = "/root" if who == "root" else f"/srv/{who}"
        env = {"HOME": home, "ISPCLOUD_KEY": f"{who}.key", "ISPCLOUD_PASSPHRASE_FILE": f"{home}/passphrase"}
        done = self.system.run(
            f"cd {home} && {command}", user="" if who == "root" else who, env=env, stdin=stdin, check=False
        )
        assert done.returncode in exits, f"{who}$ {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def carry(self, path: str, *to: str) -> None:
        """Carry a file or a folder, as root does, into the homes of others, under its own name."""
        name = path.rpartition("/")[2]
        for who in to:
            there = f"/srv/{who}/{name}"
            self.system.run(f"rm -rf {there}; cp -r {shlex.quote(path)} {there}; chown -R {who}:{who} {there}")

    def approve(self, change: str, *who: str, count: int) -> str:
        """Have people approve a change of maria's by file, and maria hand it in; return the last answer."""
        said = ""
        self.type("maria", f"rm -rf {change} && ispagent change show {change} --export {change}")
        for one in who:
            self.carry(f"/srv/maria/{change}", one)
            sign = f"ispcloud changes approve --file {change} --yes-i-read-it {count} --out {change}.{one}"
            self.type(one, sign)
            self.carry(f"/srv/{one}/{change}.{one}", "maria")
            said = self.type("maria", f"ispagent change approve {change} --file {change}.{one}")
        return said


def find(pattern: str, text: str) -> str:
    """Return what a pattern's group finds in a text."""
    found = re.search(pattern, text, re.MULTILINE)
    assert found, f"expected {pattern} in\n{text}"
    return found[1]


def change_id(preview: str) -> str:
    """Return the change's id out of its preview's first line."""
    return find(r"\A.*· ([0-9A-Z]{5}) ·", preview)
