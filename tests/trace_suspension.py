"""Trace one suspension: `python -m tests.trace_suspension [--routers] [--files] [--edges]` prints how far it goes.

Agent and lab run in this process, as in the end-to-end tests. One service on plain RADIUS (with `--routers`: behind
simulated routers) is suspended. Everything is counted from the call of `_ask` in `agent.api.changes` until the people
who asked have seen the end: the API, the worker beside it and the store's thread.

* A file counts when one of its functions is called. Product files only: `agent/`, `trust/`, `durable/`, `protos/`.
* A move is a call into another file: caller and callee stand in different product files. The caller is the nearest
  product function below it on the stack, so a call through trio or the standard library counts as well. The return
  belongs to its call and is not counted again; a coroutine that goes on after a wait is not called again.
* The people and their client run in the same process and do not count: a test function is the first on their stack.

The figures differ by less than 1 % from run to run: the agent polls, and a slow machine lets it poll more often.
"""

from __future__ import annotations

import argparse
import dis
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

import trio

from agent.api import changes
from tests.e2e.files import ordinary, ref_of
from tests.e2e.site import at_work, state_of

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("agent", "trust", "durable", "protos")
_PREFIXES = tuple(f"{ROOT / folder}/" for folder in PRODUCT)
_PEOPLE = f"{ROOT / 'tests'}/"
_TASKS = str(Path("trio", "_core", "_run.py"))
"""Below a frame of this file nothing belongs to the task that runs."""


@dataclass
class Trace:
    """What was called. `calls` by file, `edges` by calling and called file."""

    calls: Counter[str] = field(default_factory=Counter)
    functions: set[tuple[str, str]] = field(default_factory=set)
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def files(self) -> int:
        return len(self.calls)

    @property
    def moves(self) -> int:
        return sum(self.edges.values())


class Tracer:
    """Sees each call in every thread that starts while it is installed; counts from the first call of `begin` on."""

    def __init__(self, begin: CodeType) -> None:
        self.trace = Trace()
        self._begin, self._counting = begin, False
        self._files: dict[str, str] = {}
        self._starts: dict[CodeType, int] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Trace during the block."""
        threading.setprofile(self._seen)
        sys.setprofile(self._seen)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def stop(self) -> None:
        """Count no more."""
        self._counting = False

    def _seen(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code is self._begin:
            self._counting = True
        if self._counting and (file := self._file(code)) and frame.f_lasti == self._start(code):
            self._count(file, frame)

    def _count(self, file: str, frame: FrameType) -> None:
        by_people, caller = False, ""
        below = frame.f_back
        while below is not None and not below.f_code.co_filename.endswith(_TASKS):
            if product := self._file(below.f_code):
                caller, by_people = caller or product, False
            elif below.f_code.co_filename.startswith(_PEOPLE):
                by_people = True
            below = below.f_back
        if by_people:
            return
        self.trace.calls[file] += 1
        self.trace.functions.add((file, frame.f_code.co_qualname))
        if caller and caller != file:
            self.trace.edges[caller, file] += 1

    def _file(self, code: CodeType) -> str:
        """Return the product file of this code, or ""."""
        name = code.co_filename
        if name not in self._files:
            self._files[name] = name.removeprefix(f"{ROOT}/") if name.startswith(_PREFIXES) else ""
        return self._files[name]

    def _start(self, code: CodeType) -> int:
        """Return where a call begins; a coroutine that goes on does so further down."""
        if code not in self._starts:
            self._starts[code] = next(i.offset for i in dis.get_instructions(code) if i.opname == "RESUME")
        return self._starts[code]


async def _suspend(folder: Path, tracer: Tracer, routers: bool) -> None:
    async with at_work(folder, isp={"routers": routers}) as (isp, site):
        (service,) = ordinary(isp, 1)
        done = await site.apply(await site.ask("suspend", ref_of(service)))
        tracer.stop()
        if state_of(done)[0] != "applied":
            raise AssertionError(f"expected an applied suspension, got {state_of(done)}")


def traced(*, routers: bool = False) -> Trace:
    """Suspend one service and return the trace."""
    tracer = Tracer(changes._ask.__code__)
    with tempfile.TemporaryDirectory() as folder, tracer.installed():
        trio.run(_suspend, Path(folder), tracer, routers)
    return tracer.trace


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.trace_suspension")
    parser.add_argument("--routers", action="store_true", help="the service is behind simulated routers")
    parser.add_argument("--files", action="store_true", help="list the files with their calls, moves in and moves out")
    parser.add_argument("--edges", action="store_true", help="list the moves by calling and called file")
    args = parser.parse_args()
    trace = traced(routers=args.routers)
    print(f"files {trace.files}, functions {len(trace.functions)}, moves {trace.moves}")
    if args.files:
        print(f"\n{'calls':>6} {'in':>6} {'out':>6}  file")
        for file, calls in trace.calls.most_common():
            entered = sum(n for (_, to), n in trace.edges.items() if to == file)
            left = sum(n for (source, _), n in trace.edges.items() if source == file)
            print(f"{calls:6} {entered:6} {left:6}  {file}")
    if args.edges:
        print(f"\n{'moves':>6}  edge")
        for (source, to), n in trace.edges.most_common():
            print(f"{n:6}  {source} -> {to}")


if __name__ == "__main__":
    main()
