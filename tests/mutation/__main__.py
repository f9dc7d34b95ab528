"""`make mutants`: mistakes put into random lines, and whether the tests that run these lines fail.

    python -m tests.mutation --seed 1 --lines 200

draws lines of `trust/` and `agent/changes/`, makes one mistake in each, and runs the quick tests of these two folders
that run the line, those of the file first, until one fails. No file is changed: the tests are collected once, and each
mistake is tried in a fork, where the function gets other code. So a program that a test starts is without the mistake,
and so are values that were computed when modules were imported. Which tests run which line is measured first;
`--measured FILE` keeps that for other runs of the same tree.

The last line says the share that was caught. `--again FILE` makes the mistakes that an earlier run wrote with `--out`,
so that two trees are compared: `--tree` names the other one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import coverage
import pytest

from tests.mutation.sites import Site, mutated, sites

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("trust", "agent/changes")
TESTS: Final = ("tests/trust", "tests/agent/changes")
TESTS_MAX: Final = 200
"""Tests that one mistake is tried on; chosen arbitrarily."""
PATIENCE_S: Final = 600.0
"""A mistake that keeps the tests waiting for longer is caught; one that makes an endless loop, by its CPU time."""
QUIET: Final = ["-q", "--no-header", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0", "-m", "not slow"]


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
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@dataclass
class Measured:
    """What the tests run: file -> line -> tests; and what each costs, seconds of CPU."""

    tests: dict[str, dict[int, list[str]]]
    cost_s: dict[str, float]

    def of(self, file: str, site: Site, cpu_s: float) -> list[str]:
        """Return the tests to try a mistake on: first those of the file, then the cheapest; `cpu_s` long at most."""
        lines = self.tests.get(file, {})
        found = {test for line in range(site.line, site.last_line + 1) for test in lines.get(line, [])}
        chosen, left_s = list[str](), cpu_s
        own = Path("tests", file).with_name(f"test_{Path(file).name}").as_posix()

        def order(test: str) -> tuple[bool, float, str]:
            return not test.startswith(f"{own}::"), self.cost_s.get(test, 0.0), test

        for test in sorted(found, key=order)[:TESTS_MAX]:
            left_s -= self.cost_s.get(test, 0.0)
            if left_s > 0 or not chosen:
                chosen.append(test)
        return chosen

    def save(self, path: Path) -> None:
        """Keep it for another run of the same tree: whole, or not at all, whenever this one is stopped."""
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(json.dumps({"tests": self.tests, "cost_s": self.cost_s}), encoding="utf-8")
        beside.replace(path)


def load(path: Path) -> Measured:
    """Return what an earlier run measured."""
    told = json.loads(path.read_text(encoding="utf-8"))
    tests = {file: {int(line): names for line, names in lines.items()} for file, lines in told["tests"].items()}
    return Measured(tests, told["cost_s"])


def measured_of(tree: Path, database: Path, cost_s: dict[str, float]) -> Measured:
    """Return what a file of coverage's says: each context is a test. Tests without a cost are left out: they failed."""
    seen = coverage.CoverageData(str(database))
    seen.read()
    tests = {
        str(Path(file).relative_to(tree)): {
            line: [test for test in names if test in cost_s] for line, names in seen.contexts_by_lineno(file).items()
        }
        for file in seen.measured_files()
    }
    return Measured(tests, cost_s)


def all_sites(tree: Path) -> dict[str, list[Site]]:
    """Return what can be made wrong: file -> sites."""
    files = sorted(path for name in CODE for path in (tree / name).rglob("*.py"))
    return {str(path.relative_to(tree)): sites(path.read_text(encoding="utf-8")) for path in files}


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


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of every function in a module's code, also in classes; not of functions in functions."""
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            if each.co_flags & 0x2:  # CO_NEWLOCALS: a function
                yield each
            else:
                yield from codes(each)


def replace(path: Path, source: str, site: Site) -> bool:
    """Give every function of that name and place its code with the mistake; return whether there was one."""
    changed = {
        (code.co_qualname, code.co_firstlineno): code
        for code in codes(compile(mutated(source, site), str(path), "exec", dont_inherit=True))
        if code.co_qualname == site.function
    }
    made = False
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and each.__code__.co_filename == str(path):
            code = changed.get((each.__code__.co_qualname, each.__code__.co_firstlineno))
            if code is not None and code.co_freevars == each.__code__.co_freevars:
                each.__code__ = code
                made = True
    return made


@dataclass
class Loop:
    """Plugin of pytest that stands in the place of its loop over tests."""

    tree: Path
    chosen: list[tuple[str, Site]]
    keep: Path | None
    out: Path | None
    cpu_s: float
    counts: Counter[str] = field(default_factory=Counter)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure, then try every mistake."""
        if session.testsfailed:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        items = {item.nodeid: item for item in session.items}
        if self.keep and self.keep.exists():
            measured = load(self.keep)
        else:
            measured = self._measure(session)
            if self.keep:
                measured.save(self.keep)
        for file, site in self.chosen:
            tests = [items[name] for name in measured.of(file, site, self.cpu_s) if name in items]
            result = self._result(session, file, site, tests)
            self.counts[result] += 1
            print(f"{result:9} {file}:{site.line} {site.function}: {site.what}", flush=True)
            if self.out:
                told = {"file": file, "name": site.name, "line": site.line, "result": result}
                with self.out.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(told) + "\n")
        return True

    def _measure(self, session: pytest.Session) -> Measured:
        with tempfile.TemporaryDirectory() as folder:
            database, costs = Path(folder, "lines"), Path(folder, "costs")

            def work() -> int:
                source = [str(self.tree / name) for name in CODE]
                data = coverage.Coverage(str(database), source=source, config_file=False)
                cost_s: dict[str, float] = {}
                data.start()
                for item, following in _with_next(session.items):
                    data.switch_context(item.nodeid)
                    began_s, failed = time.process_time(), session.testsfailed
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    if session.testsfailed == failed:  # one that fails without a mistake tells nothing of one
                        cost_s[item.nodeid] = time.process_time() - began_s
                    data.switch_context("")
                data.stop()
                data.save()
                costs.write_text(json.dumps(cost_s), encoding="utf-8")
                return 0

            if in_a_fork(work, 4 * 3600.0) != 0:
                raise session.Interrupted("expected that the tests of all lines can be measured")
            cost_s = json.loads(costs.read_text(encoding="utf-8"))
            for item in session.items:
                if item.nodeid not in cost_s:
                    print(f"left out, since it fails without a mistake: {item.nodeid}", flush=True)
            return measured_of(self.tree, database, cost_s)

    def _result(self, session: pytest.Session, file: str, site: Site, tests: list[pytest.Item]) -> str:
        """Return `caught`, `survived`, `endless`, `not run` (no quick test runs the line) or `not made`."""
        if not tests:
            return "not run"
        path = self.tree / file
        source = path.read_text(encoding="utf-8")

        def work() -> int:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (int(3 * self.cpu_s) + 10, int(4 * self.cpu_s) + 10))
            session.config.pluginmanager.unregister(name="terminalreporter")
            if not replace(path, source, site):
                return 97
            for item, following in _with_next(tests):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    return 1
            return 0

        return {None: "endless", 0: "survived", 97: "not made"}.get(in_a_fork(work, PATIENCE_S), "caught")


def _with_next(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


def main() -> int:
    """Draw, try and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--cpu-s", type=float, default=30.0, help="CPU time of the tests of one mistake, at most")
    parser.add_argument("--tree", type=Path, default=ROOT, help="another checkout")
    parser.add_argument("--measured", type=Path, help="keep there which tests run which line, or take it from there")
    parser.add_argument("--out", type=Path, help="write one JSON object a mistake, and leave out those it has")
    parser.add_argument("--again", type=Path, help="the mistakes of a file that --out wrote")
    args = parser.parse_args()
    tree = args.tree.resolve()
    keep, out = (path and path.resolve() for path in (args.measured, args.out))
    found = all_sites(tree)
    chosen = draw(found, args.seed, args.lines)
    if args.again:
        chosen = list(again(found, args.again.read_text(encoding="utf-8").splitlines()))
    if out and out.exists():  # a run that was stopped goes on
        known = {
            (told["file"], *told["name"]) for told in map(json.loads, out.read_text(encoding="utf-8").splitlines())
        }
        chosen = [(file, site) for file, site in chosen if (file, *site.name) not in known]
    os.chdir(tree)
    sys.path[:] = [str(tree), *(entry for entry in sys.path if entry not in ("", str(ROOT), str(tree)))]
    loop = Loop(tree, chosen, keep, out, args.cpu_s)
    code = pytest.main([*QUIET, *TESTS], plugins=[loop])
    counts = loop.counts
    caught, tried = counts["caught"] + counts["endless"], counts.total() - counts["not made"]
    print(f"{caught} of {tried} mistakes caught ({100 * caught / max(tried, 1):.0f} %): {dict(counts)}")
    return int(code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED))


if __name__ == "__main__":
    sys.exit(main())
