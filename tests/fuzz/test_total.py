"""Whatever bytes come from outside, each `*_untrusted` gives a value or its documented error, nothing else.

Runs small with the tests and long with `make fuzz`. Inputs are noise, and real documents with bytes changed, cut out,
doubled and put in: those reach deeper. `tests.fuzz` counts them.
"""

from __future__ import annotations

import ast
import random
import resource
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest
from hypothesis import settings

from agent.connectors.snmp import ber
from control_plane.auth import _read_peer_untrusted
from tests.fuzz import counting
from tests.fuzz.counting import changed
from tests.fuzz.harnesses import HARNESSES, Harness
from tests.marks import fuzzing
from tests.repo import tree

INPUTS_PER_EXAMPLE = 4
CPU_S, MEMORY_KIB = 10.0, 300 * 1024
"""What one input may take of the processor, and all inputs of a harness together of memory, with `make fuzz`."""


def hear(name: str, made: Harness, data: bytes) -> None:
    """Give one input to a harness; it may refuse it in the ways that it documents."""
    began = time.thread_time()
    try:
        made.call(data)
    except made.errors:
        pass
    except Exception as err:  # noqa: BLE001  any at all is what this looks for
        pytest.fail(f"{name}: {type(err).__name__}: {err} from {data!r}")
    took = time.thread_time() - began
    assert not fuzzing() or took < CPU_S, f"{name}: {took} s of the processor for {data!r}"


@pytest.mark.parametrize("name", HARNESSES)
def test_any_bytes_give_a_value_or_the_documented_error(name: str) -> None:
    made, examples = HARNESSES[name](), settings().max_examples
    long = fuzzing()
    seed = secrets.randbits(64) if long else 1
    print(f"seed {seed}")
    dice = random.Random(seed)
    count = max(10, int(made.share * examples * (INPUTS_PER_EXAMPLE if long else 1)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        hear(name, made, changed(dice, made.seeds))
    counting.add(counting.INPUTS, count)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert not long or grown < MEMORY_KIB, f"{grown} KiB more"


def untrusted() -> Iterator[tuple[str, int, str]]:
    """Yield file, line and name of each function whose name says that it reads what others wrote."""
    for path in tree.python_files("agent", "trust", "control_plane", "protos"):
        for node in ast.walk(tree.parsed(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            declared = all(isinstance(statement, ast.Expr) for statement in node.body)  # of a Protocol
            if node.name.endswith("_untrusted") and not declared:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                yield str(path), first, node.name


def entered(work: Callable[[], None]) -> set[CodeType]:
    """Return the code that runs meanwhile, in this thread."""
    found: set[CodeType] = set()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            found.add(frame.f_code)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def test_every_untrusted_function_has_a_harness() -> None:
    """Each is entered when the harnesses are given their seeds. Who adds one adds a harness, or a seed, for it."""

    def seeds() -> None:
        for name, make in HARNESSES.items():
            made = make()
            for data in made.seeds:
                hear(name, made, data)

    for cached in (_read_peer_untrusted, ber.checked_name_untrusted):
        cached.cache_clear()  # else it is not entered where another test gave it the same octets
    reached = {(str(Path(c.co_filename)), c.co_firstlineno, c.co_name) for c in entered(seeds)}
    wanted = set(untrusted())
    assert len(wanted) > 100
    assert sorted(f"{Path(path).relative_to(tree.ROOT)} {name}" for path, _, name in wanted - reached) == []


def test_the_seeds_themselves_are_taken() -> None:
    """Else what is made of them would not reach far. A stranger's enrolment is refused, as it must be."""
    for name in HARNESSES:
        made = HARNESSES[name]()
        if name == "cloud.enrolment":
            continue
        for data in made.seeds:
            made.call(data)
