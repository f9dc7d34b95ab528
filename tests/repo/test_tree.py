"""The repository as others get it: nothing of the machine that it was made on, whole locks, no folder that shadows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.repo import tree

# Written in two halves, so that this file does not hold what it looks for
_PATHS = ("/wo" + "rk/", "/fa" + "rm/", "/hom" + "e/", "/ro" + "ot/")
_TEMPORARY = "/tm" + "p/"
_HOSTS = (
    "pyp" + "i.org",
    "files.python" + "hosted",
    "deb." + "debian.org",
    "proxy.gol" + "ang.org",
    "registry.np" + "mjs",
)
_LOCKS = sorted((tree.ROOT / "requirements").glob("*.txt"))


def _found(needles: tuple[str, ...], *, tests_too: bool = True) -> list[str]:
    found = []
    for path in tree.files():
        text = tree.text(path)
        if text is None or tree.name(path) == "LICENSE" or (not tests_too and tree.is_test(path)):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            found += [f"{tree.name(path)}:{number}: {needle}" for needle in needles if needle in line]
    return found


def test_no_file_names_the_machine_that_it_was_made_on() -> None:
    assert _found(_PATHS) == []


def test_no_file_but_a_test_names_a_temporary_folder() -> None:
    assert _found((_TEMPORARY,), tests_too=False) == []


def test_no_file_names_a_registry() -> None:
    assert _found(_HOSTS) == []


def test_no_package_shadows_another() -> None:
    """`packaging/__init__.py` would hide the package of that name, and pytest would not start."""
    wrong = [
        tree.name(p)
        for p in tree.files()
        if p.suffix == ".py" and p.relative_to(tree.ROOT).parts[0] in ("packaging", "systemd")
    ]
    assert wrong == []


def test_test_folders_are_no_packages() -> None:
    """With `--import-mode=importlib` two `test_x.py` in different folders get along only without `__init__.py`."""
    assert [tree.name(p) for p in tree.files() if tree.is_test(p) and p.name == "__init__.py"] == []


# --- locks -----------------------------------------------------------------------------------------------------------


def requirements(lock: str) -> dict[str, str]:
    """Return a lock's requirements: name -> the lines that belong to it, joined."""
    joined = re.sub(r"\\\n\s*", " ", lock)
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {re.split(r"[=<>~!\s;@]", line, maxsplit=1)[0]: line for line in lines}


def test_there_are_locks() -> None:
    extras = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {p.stem for p in _LOCKS} == {*extras, "lab"}, "the lab is a distribution of its own"


@pytest.mark.parametrize("lock", _LOCKS, ids=lambda p: p.stem)
def test_locks_pin_by_hash_and_name_no_index(lock: Path) -> None:
    text = lock.read_text()
    assert re.findall(r"(?m)^\s*(--(?:extra-)?index-url|--find-links|-[if])\b", text) == []
    assert re.findall(r"https?://\S+", text) == []
    found = requirements(text)
    assert found
    loose = [name for name, line in found.items() if "==" not in line or "--hash=sha256:" not in line]
    assert loose == []


@pytest.mark.parametrize(
    ("extra", "of"),
    [
        *((p.stem, "pyproject.toml") for p in _LOCKS if p.stem != "lab"),
        ("lab", "lab/pyproject.toml"),
        ("dev", "lab/pyproject.toml"),
    ],
)
def test_locks_have_what_pyproject_asks_for(extra: str, of: str) -> None:
    project = tomllib.loads((tree.ROOT / of).read_text())["project"]
    wanted = [*project["dependencies"], *project.get("optional-dependencies", {}).get(extra, [])]
    names = {re.split(r"[\[>=<~! ]", w, maxsplit=1)[0].lower().replace("_", "-") for w in wanted}
    have = {n.lower() for n in requirements((tree.ROOT / "requirements" / f"{extra}.txt").read_text())}
    assert names - have == set()


def test_there_is_no_uv_lock() -> None:
    """It records the addresses of indexes, and operators install from their own."""
    assert not (tree.ROOT / "uv.lock").exists()


def test_a_loose_requirement_is_seen() -> None:
    found = requirements("a==1 \\\n    --hash=sha256:00\n    # via b\nb>=2\n")
    assert [name for name, line in found.items() if "--hash=sha256:" not in line] == ["b"]


@pytest.mark.parametrize("of", ["pyproject.toml", "lab/pyproject.toml"])
def test_licence_is_what_pyproject_says(of: str) -> None:
    project = tomllib.loads((tree.ROOT / of).read_text())["project"]
    licence = (tree.ROOT / "LICENSE").read_text()
    assert project["license"] == "GPL-3.0-or-later"
    assert "GNU GENERAL PUBLIC LICENSE" in licence
    assert "Version 3, 29 June 2007" in licence
