"""What a command of the two programs may import: everybody waits for it, each time.

A module that comes in here costs every command. Import it where it is used, in a module of its own, or below
`TYPE_CHECKING`; the seams are the tables of nouns (`protos/command_line.py`) and `agent/cli/preview.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.repo import tree

CODE = """
import sys
from {module} import main
sys.argv = {words!r}
try:
    main()
except SystemExit:
    pass
print(*sys.modules, file=sys.__stderr__)
"""
OURS = ("agent", "control_plane", "durable", "lab", "protos", "trust")
EVERY_COMMAND = {
    "agent",
    "agent.cli",
    "agent.cli.asking",
    "agent.cli.client",
    "agent.cli.groups",
    "agent.reasons",
    "agent.runtime",
    "agent.runtime.errors",
    "agent.runtime.http_client",
    "agent.runtime.json_text",
    "agent.socket_place",
    "protos",
    "protos.command_line",
    "trust",
    "trust.terminal",
}
PRINTED = {"agent.age", "agent.cli.outcome", "agent.cli.when", "agent.rest", "trust.moments", "trust.plural"}
CHANGE = {
    "agent.cli.change",
    "agent.cli.outcome",
    "agent.cli.progress",
    "agent.cli.when",
    "agent.rest",
    "trust.moments",
    "trust.plural",
}
MORE = {
    "status": {"agent.cli.local", "agent.cli.billing", "agent.cli.drift", *PRINTED, *CHANGE},
    "outage": {"agent.cli.lines", *PRINTED},
    "device show edge-1": {
        *{f"agent.cli.{name}" for name in ("device", "lines", "plot")},
        "agent.spelling",
        *PRINTED,
        *CHANGE,
    },
    "subscriber show C-10482": {
        *{f"agent.cli.{name}" for name in ("subscriber", "subscriber_page", "cpe", "lines", "plot")},
        "trust.cpe_settings",
        "trust.errors",
        *PRINTED,
        *CHANGE,
    },
    "change list --since 1h": CHANGE,
    "change watch K7QF2": CHANGE,
}
"""What a command may import beside `EVERY_COMMAND`."""
DAEMON = {
    "_cffi_backend",
    "_sodium",
    "attr",
    "attrs",
    "h11",
    "idna",
    "nacl",
    "outcome",
    "sniffio",
    "sortedcontainers",
    "trio",
}
"""What the daemon imports before it knows its configuration: drivers and web clients come with their connectors."""
THIRD_PARTIES = {"annotated_doc", "h11", "shellingham", "typer"}
"""rich, pydantic, trio, nacl and the like are none of them: each is 20 to 100 ms."""


def imported(module: str, *words: str) -> set[str]:
    """Return the modules that a command imported, but not the standard library's and Python's own."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(module=module, words=["program", *words])],
        env={**os.environ, "ISPAGENT_SOCKET": "/nonexistent/agent.sock"},
        cwd=tree.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    known = {*sys.stdlib_module_names, *(name.partition(".")[0] for name in bare.stdout.split())} - {*OURS}
    return {name for name in done.stderr.splitlines()[-1].split() if name.partition(".")[0] not in known}


def third_parties(found: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in found} - {*OURS}
    return {name for name in tops if not name.startswith("_sysconfigdata")}  # Python's, called as its platform


@pytest.mark.parametrize("words", MORE)
def test_a_command_of_the_agent_imports_little(words: str) -> None:
    found = imported("agent.cli", *words.split())
    assert {name for name in found if name.partition(".")[0] in OURS} - EVERY_COMMAND - MORE[words] == set()
    assert third_parties(found) - THIRD_PARTIES == set()


def test_the_help_of_the_agent_imports_no_group_of_it() -> None:
    found = imported("agent.cli", "--help")
    own = {name for name in found if name.startswith("agent.cli.")} - EVERY_COMMAND
    assert own - MORE["status"] - MORE["outage"] == {"agent.cli.backup", "agent.cli.doctor", "agent.cli.report"}
    assert third_parties(found) - THIRD_PARTIES == set(), "the specs of connectors are cheap"


def test_the_daemon_imports_no_driver_before_its_configuration() -> None:
    code = "import sys, agent.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree.ROOT, capture_output=True, text=True, check=True)
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    found = third_parties({*done.stdout.split()}) - {*sys.stdlib_module_names}
    assert found - third_parties({*bare.stdout.split()}) - DAEMON == set()


def test_a_command_on_keys_imports_no_connection() -> None:
    found = imported("control_plane.cli", "keys", "show")
    assert third_parties(found) - THIRD_PARTIES == {"nacl", "_cffi_backend", "_sodium"}
    assert {name for name in found if name.startswith("protos.")} == {"protos.command_line"}
    assert "control_plane.desk.online" not in found
