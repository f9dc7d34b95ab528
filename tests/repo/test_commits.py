"""Subjects of commits that are not on main yet: `folder: text`, at most 72 characters, without a full stop."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.repo import tree

SUBJECT = re.compile(r"(?=.{1,72}$)[\w./*{}-]+(, [\w./*{}-]+)*: \S.*(?<!\.)")
BEGAN = "eea7ef93f0b82dc5c5979012fc257e55f1fdd56c"
"""This commit and those before it are older than the rule."""
MAINS = ("refs/remotes/origin/main", "main@{upstream}", "refs/heads/main")
"""Where main may be, the first that exists. A clone that has none of them has nothing to check."""


def git(folder: Path, *args: str) -> str | None:
    """Return what git says, or None when it refuses."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}  # set while a hook runs
    command = ["git", "-c", "safe.directory=*", *args]
    done = subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def not_on_main(folder: Path) -> list[str]:
    """Return the subjects of the commits that HEAD has and main has not; none where git does not know main."""
    main = next((name for name in MAINS if git(folder, "rev-parse", "--verify", "--quiet", name)), None)
    if main is None or git(folder, "merge-base", main, "HEAD") is None:  # a shallow clone may end before they meet
        return []
    older = [f"^{BEGAN}"] if git(folder, "cat-file", "-e", f"{BEGAN}^{{commit}}") is not None else []
    found = git(folder, "log", "--no-merges", "--format=%s", f"{main}..HEAD", *older)
    return found.splitlines() if found else []


def test_new_subjects_are_well_formed() -> None:
    if not (tree.ROOT / ".git").exists() or not shutil.which("git"):
        return  # a source archive has no commits
    wrong = [subject for subject in not_on_main(tree.ROOT) if not SUBJECT.fullmatch(subject)]
    assert wrong == [], "expected `folder: text`, at most 72 characters, no full stop"


@pytest.mark.parametrize(
    ("subject", "right"),
    [
        ("agent/connectors/routeros: refuse words over 1 MiB", True),
        ("agent, tests: open one session a target", True),
        (".ci: run the slow suites too", True),
        ("x: " + "y" * 69, True),
        ("x: " + "y" * 70, False),
        ("agent: refuse words over 1 MiB.", False),
        ("refuse words over 1 MiB", False),
        ("agent:refuse words", False),
        ("agent: ", False),
    ],
)
def test_a_subject_is_judged(subject: str, right: bool) -> None:
    assert (SUBJECT.fullmatch(subject) is not None) is right


def test_commits_that_main_has_are_not_judged(tmp_path: Path) -> None:
    def commit(subject: str) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@x.test", "-c", "commit.gpgsign=false")
        assert git(tmp_path, *who, "commit", "--quiet", "--allow-empty", "-m", subject) is not None

    assert not_on_main(tmp_path) == []
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    assert not_on_main(tmp_path) == []
    commit("old")
    assert not_on_main(tmp_path) == []
    git(tmp_path, "checkout", "--quiet", "-b", "work")
    commit("new: one")
    commit("new: two")
    assert not_on_main(tmp_path) == ["new: two", "new: one"]
    git(tmp_path, "update-ref", "refs/remotes/origin/main", "work~1")
    assert not_on_main(tmp_path) == ["new: two"]
    git(tmp_path, "checkout", "--quiet", "--detach", "work")
    git(tmp_path, "branch", "--quiet", "-D", "main", "work")
    git(tmp_path, "update-ref", "-d", "refs/remotes/origin/main")
    assert not_on_main(tmp_path) == []
