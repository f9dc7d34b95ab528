"""`packaging/build` before it builds: what it refuses, and the files that it writes without any library."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from tests.debian_packages import PROGRAMS, ROOT, git, snapshot
from tests.servers import ServerMissingError, missing, program


def _build(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(checkout / "packaging/build"), *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [(), ("lab",), ("ispagent", "ispcloud"), ("ispagent", "--out"), ("ispagent", "-x")])
def test_wrong_words_are_told_how_it_is_used(words: tuple[str, ...]) -> None:
    done = _build(ROOT, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: packaging/build ispagent|ispcloud [--out DIR]" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CHANGELOG.md", "forgotten"])
def test_a_checkout_with_uncommitted_changes_is_refused(name: str, tmp_path: Path) -> None:
    """A changed file, or one that nobody added: the version would name a commit that has it not."""
    checkout = snapshot(tmp_path / "checkout")
    with (checkout / name).open("a") as file:
        file.write("changed\n")
    done = _build(checkout, "ispagent", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert name in done.stderr
    assert (
        "expected a clean checkout, since the version names the commit: commit first, or --allow-dirty" in done.stderr
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["isp/lab.json", "ispagent_0.1_amd64.deb", "ispcloud_0.1.oci/index.json"])
def test_what_the_tutorial_leaves_in_a_checkout_is_ignored(name: str) -> None:
    """The lab's folder and the first package would make the build of the next one refuse the checkout."""
    assert git("check-ignore", name) == name


@pytest.mark.slow
def test_without_git_there_is_no_version(tmp_path: Path) -> None:
    checkout = snapshot(tmp_path / "checkout")
    (checkout / ".git").rename(tmp_path / "git")
    done = _build(checkout, "ispagent")
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected a git checkout in" in done.stderr


@pytest.mark.slow
def test_a_snapshot_is_clean_and_has_what_lies_here(tmp_path: Path) -> None:
    """A commit that was made for it is not in the repository."""
    checkout = snapshot(tmp_path / "checkout")
    commit = git("rev-parse", "HEAD", folder=checkout)
    known = subprocess.run(["git", "-C", ROOT, "cat-file", "-e", commit], capture_output=True, check=False)
    assert (known.returncode == 0) == (commit == git("rev-parse", "HEAD"))
    again = snapshot(tmp_path / "again", checkout)
    assert git("rev-parse", "HEAD", folder=again) == git("rev-parse", "HEAD", folder=checkout)
    assert git("status", "--porcelain", folder=checkout) == ""
    assert (checkout / "packaging/build").read_bytes() == (ROOT / "packaging/build").read_bytes()


# --- man pages -------------------------------------------------------------------------------------------------------


def man_page(name: str) -> str:
    """Return the man page of a program, as packaging/build makes it."""
    return subprocess.run(
        ["awk", "-v", f"program={name}", "-v", "about=does it", "-v", "version=1", "-v", "date=2026-11-28"]
        + ["-f", "packaging/man.awk", f"packaging/{name}/manual", "docs/cli.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_man_page_has_every_command_of_its_program(name: str) -> None:
    headings = re.findall(r"^## `([^`]+)`$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    own = [heading for heading in headings if heading.split()[0] == name]
    page = man_page(name)
    assert len(own) > 20
    shown = re.findall(r"^\.SS \\fB(.*)\\fR$", page, re.MULTILINE)
    assert [heading.replace("\\-", "-") for heading in shown] == own
    sections = re.findall(r"^\.SH (.*)$", page, re.MULTILINE)
    assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
    assert sections[-3:] == ['"FILES"', '"ENVIRONMENT"', '"SEE ALSO"']
    assert "tests.repo" not in page


@pytest.mark.parametrize("name", PROGRAMS)
def test_man_reads_the_page_without_a_warning(name: str, tmp_path: Path) -> None:
    try:
        man = program("man", "man-db")
    except ServerMissingError as err:
        missing(str(err))
    path = tmp_path / f"{name}.1.gz"
    path.write_bytes(gzip.compress(man_page(name).encode(), mtime=0))
    done = subprocess.run(
        [man, "--warnings=mac,break", "--encoding=UTF-8", "--local-file", str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "200", "MANROFFOPT": "-rHY=0"},
    )
    assert done.stderr == ""
    text = done.stdout
    assert f"{name} {'change' if name == 'ispagent' else 'keys'}" in text
    # Exit codes and options, with what they mean beside them, and nothing of Markdown left
    assert re.search(r"^ +3 +refused: policy, trust, expired", text, re.MULTILINE)
    assert re.search(r"^ +--json +Print JSON$", text, re.MULTILINE)
    assert not re.search(r"\]\(|\*\*|^\s*\|", text, re.MULTILINE)
