"""Commands that are imported when they are called, and values that are converted only where they have to be."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from protos.command_line import LazyGroup, Noun, commands_of


class Kind(enum.Enum):
    A = "a"
    B = "b"


inner = typer.Typer()
deep = typer.Typer()
ranges = typer.Typer()


@ranges.command("range")
def range_(
    share: Annotated[int, typer.Option("--share", min=0, max=100)] = 3,
    most: Annotated[int, typer.Option("--most", max=4)] = 3,
    any_: Annotated[int, typer.Option("--any")] = 3,
) -> None:
    """Take numbers in several ranges, and do nothing else with them than print each, a line a number."""
    print(share, most, any_, sep="\n")


@inner.command()
def take(
    words: Annotated[list[str] | None, typer.Argument()] = None,
    text: Annotated[str, typer.Option("--text")] = "",
    maybe: Annotated[str | None, typer.Option("--maybe")] = None,
    more: Annotated[list[str] | None, typer.Option("--more")] = None,
    number: Annotated[int, typer.Option("--number", min=1, envvar="TAKE_NUMBER")] = 3,
    file: Annotated[Path | None, typer.Option("--file")] = None,
    folder: Annotated[Path, typer.Option("--folder")] = Path("here"),
    kind: Annotated[Kind | None, typer.Option("--kind")] = None,
    yes: Annotated[bool, typer.Option("--yes")] = False,
) -> None:
    """Print what came."""
    print(repr((words, text, maybe, more, number, file, folder, kind, yes)))


@inner.command()
def need(word: Annotated[str, typer.Argument()]) -> None:
    """Print one word."""
    print(repr(word))


@deep.command("one")
def one() -> None:
    """Do one thing."""
    print("one")


@deep.command("two")
def two() -> None:
    """Do another."""


NOUNS = (
    Noun("take", f"{__name__}:inner"),
    Noun("range", f"{__name__}:ranges"),
    Noun("group", f"{__name__}:inner", "A group.", (Noun("deep", f"{__name__}:deep", "Below it."),)),
    Noun("gone", "tests.protos.no_such_module:app", "Whose module is not there."),
)


class Root(LazyGroup):
    nouns = NOUNS


def lazy() -> typer.Typer:
    made = typer.Typer(cls=Root, no_args_is_help=True, rich_markup_mode=None)
    made.callback()(lambda: None)
    return made


def eager() -> typer.Typer:
    made = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    made.command("take")(take)
    made.add_typer(inner, name="group", help="A group.", no_args_is_help=True)
    return made


@pytest.mark.parametrize(
    "words",
    [
        "",
        "a b",
        "--text x --maybe y",
        "--text",
        "--more a --more b c",
        "--number 5",
        "--file f --folder g",
        "--kind a",
        "--yes",
        "-- --text",
        "--nothing",
    ],
)
@pytest.mark.parametrize("group", [[], ["group"]])
def test_every_value_is_what_typer_makes_of_it(words: str, group: list[str]) -> None:
    arguments = [*group, "take", *words.split()]
    ours, typers = (CliRunner().invoke(app, arguments, prog_name="p") for app in (lazy(), eager()))
    assert (ours.exit_code, ours.output) == (typers.exit_code, typers.output)


NUMBER = "Invalid value for '--number' (env var: 'TAKE_NUMBER'): expected a whole number of 1 or more, got"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--number 0", f"{NUMBER} '0'"),
        ("--number x", f"{NUMBER} 'x'"),
        ("--number 1e3", f"{NUMBER} '1e3'"),
        ("--share 101", "Invalid value for '--share': expected a whole number from 0 to 100, got '101'"),
        ("--share -1", "Invalid value for '--share': expected a whole number from 0 to 100, got '-1'"),
        ("--most 5", "Invalid value for '--most': expected a whole number of 4 or less, got '5'"),
        ("--any ½", "Invalid value for '--any': expected a whole number, got '½'"),
        ("--kind c", "Invalid value for '--kind': expected one of a, b, got 'c'"),
    ],
)
def test_a_mistake_is_told_in_our_words(words: str, said: str) -> None:
    """And not in those of the library that typer converts with: "Input should be a valid integer"."""
    for command in ("take", "range"):
        found = CliRunner().invoke(lazy(), [command, *words.split()])
        if "No such option" not in found.output:
            assert (found.exit_code, found.output.splitlines()[-1]) == (2, f"Error: {said}")


def test_a_help_has_no_types_of_python_and_whole_sentences() -> None:
    said = CliRunner().invoke(lazy(), ["take", "--help"]).output
    shown = [line.split("  ")[1] for line in said.splitlines() if line.startswith("  --")]
    assert shown == ["--text TEXT", "--maybe TEXT", "--more TEXT", "--number N", "--file FILE", "--folder FILE"] + [
        "--kind <a|b>",
        "--yes",
        "--help",
    ]
    assert "<" not in said.replace("<a|b>", "").replace("1<=", "").replace("x>=1", "")
    group = " ".join(CliRunner().invoke(lazy(), ["--help"]).output.split())
    assert "Take numbers in several ranges, and do nothing else with them than print each, a line a number." in group


def test_a_value_of_the_environment_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKE_NUMBER", "7")
    assert ", 7, " in CliRunner().invoke(lazy(), ["take"]).output
    monkeypatch.setenv("TAKE_NUMBER", "x")
    assert CliRunner().invoke(lazy(), ["take"]).exit_code == 2


@pytest.mark.parametrize("words", [["group", "need"], ["group", "need", "a"], ["group"], ["group", "nede"]])
def test_errors_and_help_are_typers(words: list[str]) -> None:
    ours, typers = (CliRunner().invoke(app, words, prog_name="p") for app in (lazy(), eager()))
    assert ours.exit_code == typers.exit_code
    assert ours.output.replace("  deep  Below it.\n", "") == typers.output


def test_the_help_of_all_imports_no_group() -> None:
    """And shows one whose module is not there."""
    said = CliRunner().invoke(lazy(), ["--help"]).output
    assert "Print what came." in said
    assert "A group." in said
    assert "Whose module is not there." in said
    assert CliRunner().invoke(lazy(), ["group", "deep", "one"]).output == "one\n"
    assert isinstance(CliRunner().invoke(lazy(), ["gone", "x"]).exception, ModuleNotFoundError)


def test_the_commands_of_a_typer_are_found_by_its_name() -> None:
    assert list(commands_of(f"{__name__}:deep")) == ["one", "two"]
    assert __name__ in sys.modules
