"""The digest of the code that a plan carries."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest

import agent
import durable
import protos
import trust
from tests import once


@pytest.mark.parametrize(
    ("package", "name"),
    [(agent, "daemon.py"), (durable, "writer.py"), (protos, "channel.py"), (trust, "merkle.py")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_digest_covers(package: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = once.real_digest()
    copy = tmp_path / package.__name__
    shutil.copytree(Path(package.__file__ or "").parent, copy)
    monkeypatch.setattr(package, "__file__", str(copy / "__init__.py"))
    assert once.real_digest() == before, "a digest of contents and paths inside, wherever it is installed"
    with (copy / name).open("a") as file:
        file.write("# changed\n")
    assert once.real_digest() != before
