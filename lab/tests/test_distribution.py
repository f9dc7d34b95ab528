"""The lab is a distribution of its own: a wheel that is built of its folder runs where nothing of the product is."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

LAB = Path(__file__).parents[1]
PROJECT = tomllib.loads((LAB / "pyproject.toml").read_text())
PRODUCT = {"agent", "backups", "control_plane", "durable", "protos", "trust"}
BELOW_TESTS = {"tests.marks", "tests.servers", "tests.shared_data"}
"""Of the repository's tests the lab's import these alone: markers, real servers, and where recordings are."""


def code() -> list[Path]:
    """Return the lab's files but its tests."""
    found = [p for p in LAB.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return [p for p in found if p.relative_to(LAB).parts[0] not in ("tests", "build", "ispagents_lab.egg-info")]


def imports(path: Path) -> set[str]:
    """Return the names of modules that a file imports, its own functions' too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = node.module == "tests"
            found |= {f"tests.{alias.name}" for alias in node.names} if whole else {node.module}
    return found


def test_every_package_is_named():
    folders = {p.parent.relative_to(LAB) for p in code() if p.name == "__init__.py"}
    assert {*PROJECT["tool"]["setuptools"]["packages"]} == {".".join(("lab", *folder.parts)) for folder in folders}


def test_its_tests_import_nothing_of_the_product():
    wrong = {
        f"{path.relative_to(LAB)}: {name}"
        for path in (LAB / "tests").rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] in PRODUCT or (name.startswith("tests.") and name not in BELOW_TESTS)
    }
    assert wrong == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of a copy of the folder: building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(LAB, folder / "lab", ignore=shutil.ignore_patterns("tests", "__pycache__", "build", "*.egg-info"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(folder / "lab")], check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.slow
def test_the_wheel_holds_the_code_its_data_and_no_test(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licenses = [archive.read(name) for name in archive.namelist() if name.endswith("/LICENSE")]
    wanted = {f"lab/{p.relative_to(LAB).as_posix()}" for p in code() if p.suffix in (".py", ".json", ".sql")}
    assert names == wanted
    assert licenses == [(LAB.parent / "LICENSE").read_bytes()]


@pytest.mark.slow
def test_the_wheel_runs_where_the_repository_is_not(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    (tmp_path / "one.rsc").write_text(":put 1\n")
    # -P and -E: neither the working directory nor the caller's paths; the editable installation comes behind
    program = (
        "import sys; sys.path.insert(0, 'installed'); from lab.__main__ import main; "
        "code = main(['script', 'one.rsc']); print(sys.modules['lab'].__file__); "
        f"print(sorted({PRODUCT!r} & {{name.partition('.')[0] for name in sys.modules}})); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-E", "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-2:] == [str(tmp_path / "installed" / "lab" / "__init__.py"), "[]"]
