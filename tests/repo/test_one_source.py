"""Nothing draws randomness but `trust/chance.py`, and nothing reads a clock but those that are handed down (ADR 45)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo import tree

PROGRAMS = (*tree.PACKAGES, "protos")

DRAWS = {
    "random",
    "secrets",
    "uuid.uuid1",
    "uuid.uuid4",
    "os.urandom",
    "os.getrandom",
    "nacl.utils.random",
    "cryptography.x509.random_serial_number",
    "tempfile",
}
"""A module, or one of its functions, that draws."""

MAKES_KEYS = {"generate", "generate_private_key"}
"""Methods of PyNaCl and of `cryptography` that draw."""

MAY_BE = re.compile("|".join({name.rpartition(".")[2] for name in DRAWS} | MAKES_KEYS | {"encrypt"}))

MAY_DRAW = {
    ("trust/chance.py", "os.urandom"): "the one source",
    (
        "agent/runtime/random_blocks.py",
        "os.urandom",
    ): "the same source, in blocks; it asks the lent one where there is one",
    ("agent/uplink/enrolment.py", "generate_private_key"): "the key of a TLS certificate",
    ("control_plane/desk/cloud_identity.py", "generate_private_key"): "the key of a TLS certificate",
    ("control_plane/certificates.py", "generate_private_key"): "the key of a TLS certificate",
    ("control_plane/certificates.py", "cryptography.x509.random_serial_number"): "the serial of a TLS certificate",
    ("agent/update/release.py", "generate"): "a key of those who release: their tool, on their machine",
    ("backups/sealing.py", "generate"): "the key of an age file: pyrage makes it and takes none",
    ("backups/private_folder.py", "tempfile"): "the name of a folder that lives as long as a command",
    ("agent/update/repository_session.py", "tempfile"): "a file without a name, for a download",
    ("durable/installation.py", "tempfile"): "a file without a name, to measure the disk",
}
"""Who draws elsewhere, and why. TLS draws inside OpenSSL in any case."""


CLOCKS = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *(f"time.{name}" for name in ("clock_gettime", "clock_gettime_ns", "process_time", "thread_time")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "datetime.date.today",
}
"""A function that reads a clock. `trio.current_time` is none: who runs trio gives it a clock."""

IMPORTS_CLOCK = re.compile(r"^\s*(from|import) (time|datetime)\b", re.MULTILINE)

MAY_READ = {
    "agent/runtime/clock.py": "the machine's clocks, which the daemon hands down",
    "control_plane/clock.py": "the machine's clocks, which the server hands down",
    "agent/cli/when.py": "the moment of a command: a process of its own, gone once it has answered",
    "agent/cli/drift.py": "how long a command waits",
    "agent/runtime/http_client.py": "how long a command waits",
    "agent/connectors/snmp/cli.py": "the moment of a command that reads a recording, without the agent",
    "agent/update/release.py": "when what is released expires: the tool of those who release",
    "agent/update/repository_session.py": "how long a download may take, in a process of its own",
    "agent/runtime/random_blocks.py": "how long drawn bytes may lie in memory, by a clock that nobody can set",
    "agent/runtime/host_state.py": "how long the disk takes: the measurement itself",
    "durable/installation.py": "how long the disk takes: the measurement itself",
    "durable/service_manager.py": "systemd asks for this clock by name",
    "control_plane/desk/unlock.py": "when a person's key is forgotten, also by a laptop that sleeps",
}
"""Who reads a clock elsewhere, and why."""


def names_of(module: ast.Module) -> dict[str, str]:
    """Return what the names that a module imports stand for: name -> dotted name."""
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for one in node.names:
                found[one.asname or one.name.partition(".")[0]] = one.name if one.asname else one.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for one in node.names:
                found[one.asname or one.name] = f"{node.module}.{one.name}"
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """Return what an expression names, in full; empty where it is no name of something imported."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute) and (of := dotted(node.value, names)):
        return f"{of}.{node.attr}"
    return ""


def uses(module: ast.Module, wanted: set[str]) -> Iterator[str]:
    """Yield which of the wanted names a module uses. A wanted module stands for everything in it."""
    names = names_of(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Name | ast.Attribute):
            found = dotted(node, names)
            yield from (name for name in wanted if found == name or found.startswith(name + "."))


def draws(path: Path) -> set[str]:
    """Return by what a module draws."""
    if not MAY_BE.search(path.read_text(encoding="utf-8")):  # most say nothing of the kind, and parsing takes a while
        return set()
    return draws_of(tree.parsed(path))


def draws_of(module: ast.Module) -> set[str]:
    """Return by what a parsed module draws."""
    ours = {"trust.keys.SigningKey", "trust.seal.SealingKey"}
    names, found = names_of(module), set(uses(module, DRAWS))
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            method, whose = node.func.attr, dotted(node.func.value, names)
            if method in MAKES_KEYS and whose and whose not in ours:
                found.add(method)
            if method == "encrypt" and len(node.args) + len(node.keywords) == 1:  # PyNaCl draws the missing nonce
                found.add(method)
    return found


def reads(path: Path) -> bool:
    """Return whether a module reads a clock."""
    return bool(IMPORTS_CLOCK.search(path.read_text(encoding="utf-8"))) and any(uses(tree.parsed(path), CLOCKS))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\nx = time.time()", True),
        ("import time\ndef f(wall_s=time.time): ...", True),
        ("from time import monotonic as m\nx = m()", True),
        ("from datetime import datetime, UTC\nx = datetime.now(UTC)", True),
        ("import datetime as d\nx = d.date.today()", True),
        ("from datetime import datetime, UTC\nx = datetime.fromtimestamp(clock.wall_s(), UTC)", False),
        ("import time\ntime.sleep(1)", False),
        ("import trio\nx = trio.current_time()", False),
        ("def f(time): return time.time()", False),
    ],
)
def test_clocks_are_seen(source: str, *, found: bool) -> None:
    assert any(uses(ast.parse(source), CLOCKS)) is found


def test_nothing_reads_a_clock_but_those_that_are_handed_down() -> None:
    found = {tree.name(path) for path in tree.python_files(*PROGRAMS) if reads(path)}
    assert sorted(found - set(MAY_READ)) == [], "take a clock as a parameter"
    assert sorted(set(MAY_READ) - found) == [], "an exception that is no longer needed is taken off the list"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import secrets\nx = secrets.token_hex(2)", {"secrets"}),
        ("import secrets as s\ndef f(dice=s.randbits): ...", {"secrets"}),
        ("from secrets import SystemRandom\nx = SystemRandom()", {"secrets"}),
        ("import os\nx = os.urandom(2)\ny = os.getpid()", {"os.urandom"}),
        ("from os import urandom as u\nx = u(2)", {"os.urandom"}),
        ("import nacl.public\nx = nacl.public.PrivateKey.generate()", {"generate"}),
        (
            "from cryptography.hazmat.primitives.asymmetric import ec\nx = ec.generate_private_key()",
            {"generate_private_key"},
        ),
        ("x = box.encrypt(clear)", {"encrypt"}),
        ("x = box.encrypt(clear, nonce)", set()),
        ("from trust.keys import SigningKey\nx = SigningKey.generate()", set()),
        ("from trust import chance\nx = chance.token_hex(2)", set()),
        ("def f(secrets): return secrets.token_hex", set()),
        ("import random\ndef f(random): ...", set()),
    ],
)
def test_draws_are_seen(source: str, found: set[str]) -> None:
    assert draws_of(ast.parse(source)) == found


def test_nothing_draws_but_the_one_source() -> None:
    found = {(tree.name(p), name) for p in tree.python_files(*PROGRAMS) for name in draws(p)}
    assert sorted(found - set(MAY_DRAW)) == [], "draw from trust/chance.py"
    assert sorted(set(MAY_DRAW) - found) == [], "an exception that is no longer needed is taken off the list"


def test_no_program_lends_a_source() -> None:
    """A seed comes from code that tests run; no file, variable or message of a program can bring one."""
    lends = [
        tree.name(path)
        for path in tree.python_files(*PROGRAMS)
        if re.search(r"\blend\b", path.read_text(encoding="utf-8"))
        if set(uses(tree.parsed(path), {"trust.chance.lend"}))
    ]
    assert lends == []


def test_no_program_has_a_source_of_its_own() -> None:
    """Whoever lends one has to bring it: the only class with a method `draw` is the protocol in `trust/chance.py`."""
    found = [
        f"{tree.name(path)}:{node.name}"
        for path in tree.python_files(*PROGRAMS)
        if "def draw(" in path.read_text(encoding="utf-8")
        for node in ast.walk(tree.parsed(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(part, ast.FunctionDef) and part.name == "draw" for part in node.body)
    ]
    assert found == ["trust/chance.py:Chance"]
