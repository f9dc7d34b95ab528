"""Files that the command line writes: opened records and exports are nobody else's business."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from agent.cli.client import write_file


def test_a_file_is_private_whatever_it_was_before(tmp_path: Path) -> None:
    out = tmp_path / "proof.txt"
    out.write_bytes(b"something longer that was there before")
    out.chmod(0o644)
    write_file(out, b"opened")
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (b"opened", 0o600)


def test_a_link_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, link = tmp_path / "other", tmp_path / "proof.txt"
    other.write_bytes(b"mine")
    link.symlink_to(other)
    with pytest.raises(typer.Exit):
        write_file(link, b"opened")
    assert other.read_bytes() == b"mine"
    assert "cannot be written" in capsys.readouterr().err
