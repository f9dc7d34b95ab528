"""`make mutants`: mistakes put into random lines, and whether the tests that run these lines fail.

    python -m tests.mutation --seed 1 --lines 200

draws lines of `trust/` and `agent/changes/`, makes one mistake in each (in a copy of the tree), and runs the quick
tests of these two folders that run the line, the cheapest first, until one fails. Which tests run a line is measured
once, at the start. The last line says the share that was caught. `--again FILE` makes the mistakes that an earlier run
wrote with `--out`, so that two trees are compared: `--tree` names the other one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

from tests.mutation.sites import Site, mutated, sites

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("trust", "agent/changes")
TESTS: Final = ("tests/trust", "tests/agent/changes")
TESTS_MAX: Final = 80
"""Tests that one mistake is tried on; chosen arbitrarily."""
CPU_S_MAX: Final = 60.0
"""How long these tests may take together, as measured without a mistake, seconds; chosen arbitrarily."""
PATIENCE_S: Final = 300.0
"""A mistake that keeps the tests busy for longer is caught: it made an endless loop, or somebody waits for ever."""
QUIET: Final = ["-q", "--no-header", "-p", "no:cacheprovider", "--durations=0", "-m", "not slow"]
_COPIED: Final = ("agent", "trust", "tests", "conftest.py", "pyproject.toml")
# Imported once, here: each mistake is tried in a fork of this process. None of them imports ours
_READY: Final = (
    "hypothesis",
    "trio",
    "trio.testing",
    "typer.testing",
    "cryptography.x509",
    "grpc",
    "nacl.signing",
    "pytest_trio",
)


@dataclass
class Runs:
    """Plugin of pytest: which tests run which lines, and how long each takes, seconds of CPU."""

    data: coverage.Coverage
    cost_s: dict[str, float] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Name the test as the context of the lines that run in it."""
        self.data.switch_context(item.nodeid)
        began_s = time.process_time()
        try:
            return (yield)
        finally:
            self.cost_s[item.nodeid] = time.process_time() - began_s
            self.data.switch_context("")


def in_a_fork(work: Callable[[], int], patience_s: float) -> int | None:
    """Return the exit code of a fork that does the work; None when it had to be killed."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_tests(place: Path, arguments: list[str], plugins: list[Any], log: Path) -> int:
    """Run pytest in a copy of the tree; for forks, since it imports the copy."""
    os.chdir(place)
    sys.path[:] = [str(place), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "agent", "trust", "lab")]:
        del sys.modules[name]
    with log.open("wb") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    ignored = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*QUIET, *ignored, *arguments], plugins=plugins)
    sys.stdout.flush()
    return int(code)


@dataclass
class Measured:
    """What the tests run: file -> line -> tests."""

    tests: dict[str, dict[int, list[str]]]
    cost_s: dict[str, float]

    def of(self, file: str, site: Site) -> list[str]:
        """Return the tests to try a mistake on, the cheapest first."""
        lines = self.tests.get(file, {})
        found = {test for line in range(site.line, site.last_line + 1) for test in lines.get(line, [])}
        chosen, left_s = list[str](), CPU_S_MAX
        for test in sorted(found, key=lambda test: (self.cost_s.get(test, 0.0), test))[:TESTS_MAX]:
            left_s -= self.cost_s.get(test, 0.0)
            if left_s > 0:
                chosen.append(test)
        return chosen


def measure(place: Path) -> Measured:
    """Run all tests once, and return what they run.

    Raises:
        SystemExit: they fail without a mistake.
    """
    database, costs, log = place / ".lines", place / ".costs", place / ".log"

    def work() -> int:
        data = coverage.Coverage(str(database), source=[str(place / name) for name in CODE], config_file=False)
        runs = Runs(data)
        data.start()
        code = run_tests(place, list(TESTS), [runs], log)
        data.stop()
        data.save()
        costs.write_text(json.dumps(runs.cost_s))
        return code

    if in_a_fork(work, 4 * 3600.0) != 0:
        raise SystemExit(f"expected that all tests pass without a mistake, got:\n{log.read_text()[-3000:]}")
    seen = coverage.CoverageData(str(database))
    seen.read()
    tests = {
        str(Path(file).relative_to(place)): {
            line: [test for test in names if test] for line, names in seen.contexts_by_lineno(file).items()
        }
        for file in seen.measured_files()
    }
    return Measured(tests, json.loads(costs.read_text()))


def copy(tree: Path, place: Path) -> None:
    """Copy what gets mistakes; link the rest, since programs and fixtures look for it beside the tests."""
    for each in tree.iterdir():
        if each.name in _COPIED and each.is_dir():
            shutil.copytree(each, place / each.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif each.name in _COPIED:
            shutil.copy2(each, place / each.name)
        elif not each.name.startswith("."):
            (place / each.name).symlink_to(each)


def all_sites(place: Path) -> dict[str, list[Site]]:
    """Return what can be made wrong: file -> sites."""
    files = sorted(path for name in CODE for path in (place / name).rglob("*.py"))
    return {str(path.relative_to(place)): sites(path.read_text(encoding="utf-8")) for path in files}


def draw(found: dict[str, list[Site]], seed: int, count: int) -> list[tuple[str, Site]]:
    """Return one mistake in each of so many random lines, in random order."""
    by_line: dict[tuple[str, int], list[Site]] = defaultdict(list)
    for file, each in found.items():
        for site in each:
            by_line[file, site.line].append(site)
    chance = random.Random(seed)
    lines = sorted(by_line)
    chance.shuffle(lines)
    return [(file, chance.choice(by_line[file, line])) for file, line in lines[:count]]


def again(found: dict[str, list[Site]], lines: list[str]) -> Iterator[tuple[str, Site]]:
    """Yield those mistakes of an earlier run that can be made here too."""
    for line in lines:
        told = json.loads(line)
        for site in found.get(told["file"], []):
            if [*site.name] == told["name"]:
                yield told["file"], site


class Trial:
    """A copy of a tree, and the mistakes that are tried in it one by one."""

    def __init__(self, place: Path, measured: Measured) -> None:
        self._place, self._measured = place, measured
        self._now = int(time.time())

    def result(self, file: str, site: Site) -> str:
        """Return `caught`, `survived`, `not run` (no quick test runs the line) or `endless`."""
        tests = self._measured.of(file, site)
        if not tests:
            return "not run"
        path = self._place / file
        source = path.read_text(encoding="utf-8")
        self._write(path, mutated(source, site))
        try:
            code = in_a_fork(lambda: run_tests(self._place, ["-x", *tests], [], self._place / ".log"), PATIENCE_S)
        finally:
            self._write(path, source)
        return {None: "endless", 0: "survived"}.get(code, "caught")

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        self._now += 2  # Python compares times in whole seconds, and may hold the file from before for this one
        os.utime(path, (self._now, self._now))


def main() -> int:
    """Draw, try and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--tree", type=Path, default=ROOT, help="another checkout")
    parser.add_argument("--out", type=Path, help="write one JSON object a mistake")
    parser.add_argument("--again", type=Path, help="the mistakes of a file that --out wrote")
    args = parser.parse_args()
    for name in _READY:
        __import__(name)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        copy(args.tree.resolve(), place)
        found = all_sites(place)
        chosen = draw(found, args.seed, args.lines)
        if args.again:
            chosen = list(again(found, args.again.read_text(encoding="utf-8").splitlines()))
        trial = Trial(place, measure(place))
        for file, site in chosen:
            result = trial.result(file, site)
            counts[result] += 1
            print(f"{result:9} {file}:{site.line} {site.function}: {site.what}", flush=True)
            if args.out:
                told = {"file": file, "name": site.name, "line": site.line, "result": result}
                with args.out.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(told) + "\n")
    caught, tried = counts["caught"] + counts["endless"], counts.total()
    print(f"{caught} of {tried} mistakes caught ({100 * caught / max(tried, 1):.0f} %): {dict(counts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
