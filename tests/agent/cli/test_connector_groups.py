"""Commands of connectors: joined to a group, and imported only when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import sys
from typer.testing import CliRunner
from agent.cli import app
result = CliRunner().invoke(app, sys.argv[1:])
print(*(m for m in sys.modules if m.startswith("agent.connectors.")))
"""


def loaded(*words: str) -> set[str]:
    """Return the modules of connectors that a command imported."""
    found = subprocess.run([sys.executable, "-c", CODE, *words], check=True, capture_output=True, text=True)
    return {m for m in found.stdout.split() if m.count(".") > 2 or m.endswith(".registry")}


@pytest.mark.parametrize("words", [("status",), ("change", "list"), ("device", "list"), ("secret", "list")])
def test_a_command_of_the_agent_imports_no_connector(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISPAGENT_SOCKET", "/nonexistent")
    assert loaded(*words) == set()


def test_a_connectors_own_command_imports_it() -> None:
    assert "agent.connectors.routeros.cli" in loaded("device", "onboard", "--help")
