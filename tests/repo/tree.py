"""The files of this repository, for the tests that read them all."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "backups", "control_plane", "durable", "trust")
"""What runs in production."""
TESTS = ("tests/", "lab/tests/")
"""The folders of tests."""
_LEFT_OUT = {"__pycache__", "build", "node_modules"}


@cache
def files() -> tuple[Path, ...]:
    """Return every file that is, or would be, committed; without git (a source archive) each that is no product."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        found = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout.split(b"\0")
        return tuple(sorted(p for name in found if name and (p := ROOT / name.decode()).is_file()))
    return tuple(sorted(p for p in ROOT.rglob("*") if p.is_file() and not _is_product(p)))


def _is_product(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    hidden = any(p.startswith(".") and p not in (".ci", ".gitignore") for p in parts)
    return hidden or any(p in _LEFT_OUT or p.endswith(".egg-info") for p in parts)


def name(path: Path) -> str:
    """Return how a file is called in messages."""
    return path.relative_to(ROOT).as_posix()


def text(path: Path) -> str | None:
    """Return a file's text; None when it is no UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def python_files(*folders: str) -> list[Path]:
    """Return the Python files under these folders of the repository, or all. `lab` is without its tests."""
    return [p for p in files() if p.suffix == ".py" and not _generated(p) and (not folders or _top(p) in folders)]


def _generated(path: Path) -> bool:
    return path.name.endswith(("_pb2.py", "_pb2_grpc.py"))


def _top(path: Path) -> str:
    return "tests" if is_test(path) else path.relative_to(ROOT).parts[0]


def is_test(path: Path) -> bool:
    """Return whether a file belongs to the tests; those of the lab stand in its distribution."""
    return name(path).startswith(TESTS)


def module(path: Path) -> str:
    """Return the dotted name of a Python file's module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(path: Path) -> ast.Module:
    """Return a Python file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=name(path))


def classes(*folders: str) -> Iterator[tuple[Path, ast.ClassDef]]:
    """Return every class at the top of a module under these folders."""
    for path in python_files(*folders):
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef):
                yield path, node
