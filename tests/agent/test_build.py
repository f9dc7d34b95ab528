"""The digest of the code that a plan carries."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import durable
from agent.daemon import build_sha256


def test_the_digest_covers_the_durable_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_sha256()
    copy = tmp_path / "durable"
    shutil.copytree(Path(durable.__file__).parent, copy)
    monkeypatch.setattr(durable, "__file__", str(copy / "__init__.py"))
    assert build_sha256() == before, "a digest of contents and paths inside, wherever it is installed"
    with (copy / "writer.py").open("a") as file:
        file.write("# changed\n")
    assert build_sha256() != before
