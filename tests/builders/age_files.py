"""Identities, and the `age` program itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pyrage import x25519

from backups.sealing import Recipients, parse_identities_untrusted, parse_recipients

AGE = shutil.which("age")

needs_age = pytest.mark.skipif(
    AGE is None and os.environ.get("CI") != "true", reason="age is not installed (tests/system-packages)"
)


class Owner:
    """Somebody with a pair of keys."""

    def __init__(self) -> None:
        one = x25519.Identity.generate()
        self.secret, self.public = str(one), str(one.to_public())

    @property
    def recipients(self) -> Recipients:
        return parse_recipients([self.public])

    @property
    def identities(self) -> list[x25519.Identity]:
        return parse_identities_untrusted(self.secret.encode())

    def key_file(self, folder: Path) -> Path:
        """Write the identity as age-keygen does."""
        path = folder / "owner.key"
        path.write_text(f"# created: today\n# public key: {self.public}\n{self.secret}\n")
        return path

    def opened_by_age(self, file: Path, folder: Path) -> bytes:
        """Return what the `age` program makes of a file."""
        command = ["age", "--decrypt", "--identity", str(self.key_file(folder)), str(file)]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
