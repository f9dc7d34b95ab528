"""Commands of connectors: joined to a group, and imported only when they are asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from agent.cli import app as agent_app
from control_plane.cli import app as cloud_app
from tests.builders.expect import expect

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


def commands(of: TyperGroup) -> Iterator[TyperCommand | TyperGroup]:
    yield of
    context = typer.Context(of)
    for name in of.list_commands(context):
        command = of.get_command(context, name)
        if isinstance(command, TyperGroup):
            yield from commands(command)
        else:
            assert isinstance(command, TyperCommand)
            yield command


@pytest.mark.parametrize("app", [agent_app, cloud_app], ids=["ispagent", "ispcloud"])
def test_no_help_takes_a_word_in_brackets_for_markup(app: typer.Typer) -> None:
    """`[fleet.NAME]` was left out of a help text, as a tag."""
    root = expect(TyperGroup, get_command(app))
    found = list(commands(root))
    assert len(found) > 60
    assert [command.name for command in found if command.rich_markup_mode is not None] == []
