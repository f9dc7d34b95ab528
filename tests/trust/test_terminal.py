"""What goes to a terminal and what to a pipe: colors, width, lists, errors for programs."""

import json

import pytest

from trust.terminal import NO_WRAP, Column, Output, error_json, json_text, table, terminal, wants_json

RED, END = "\x1b[1;31m", "\x1b[0m"


def screen(**environment):
    return terminal(is_screen=True, environment=environment, columns=100)


def test_a_screen_has_colors_and_a_width_and_a_pipe_has_neither():
    assert (screen().color, screen().width) == (True, 100)
    pipe = terminal(is_screen=False, environment={}, columns=100)
    assert (pipe.color, pipe.width) == (False, NO_WRAP)
    assert pipe.emphasize("2 CANNOT ENFORCE") == "2 CANNOT ENFORCE"


@pytest.mark.parametrize(("columns", "width"), [(10, 60), (80, 80), (400, 120)])
def test_a_preview_is_readable_on_narrow_and_wide_screens(columns, width):
    assert terminal(is_screen=True, environment={}, columns=columns).width == width


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colors_can_be_turned_off(environment):
    assert screen(**environment).emphasize("NOT APPLIED") == "NOT APPLIED"
    assert screen(NO_COLOR="").color, "https://no-color.org: an empty one says nothing"


@pytest.mark.parametrize(
    "words",
    [
        "CANNOT ENFORCE",
        "SOME CANNOT BE ENFORCED",
        "NOT APPLIED",
        "SET, NOT ENFORCED",
        "NEEDS A PERSON",
        "REFUSED",
        "HALTED",
        "NOT CONNECTED",
    ],
)
def test_what_somebody_has_to_look_at_stands_out(words):
    assert screen().emphasize(f"3 {words}: x") == f"3 {RED}{words}{END}: x"


@pytest.mark.parametrize("text", ["enforced now", "ENFORCED", "would change", "not applied to groups", "UNKNOWNS"])
def test_the_rest_does_not(text):
    assert screen().emphasize(text) == text


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["change", "list", "--json"], True),
        (["change", "list", "-o", "json"], True),
        (["change", "list", "-ojson"], True),
        (["change", "list", "--output", "json"], True),
        (["change", "list", "--output=json"], True),
        (["change", "list", "-o", "name"], False),
        (["change", "suspend", "json"], False),
        (["subscriber", "find", "--", "--json"], False),
        ([], False),
    ],
)
def test_json_is_asked_for_before_the_words_are_understood(arguments, wanted):
    assert wants_json(arguments) is wanted


HOSTILE = "a\x1b[2J\x9b31m\x7f\x85\u202eb\u2028\u200b\ufeff\ud800Ж"


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_same_value_and_nothing_in_it_acts_on_terminal(indent):
    value = {HOSTILE: [HOSTILE, 1], "x": 'İ \\ "'}
    text = json_text(value, indent=indent)
    assert json.loads(text) == value
    assert "Ж" in text
    assert [c for c in text if c != "\n" and not c.isprintable()] == []
    assert [c for c in error_json("failed", HOSTILE, 1) if not c.isprintable()] == []


def test_an_error_is_one_line_of_json():
    line = error_json("unknown-change", 'no "Ж"\nhere', 2)
    assert "\n" not in line
    assert "Ж" in line
    assert json.loads(line) == {"error": {"code": "unknown-change", "message": 'no "Ж"\nhere', "exit": 2}}


COLUMNS = (Column("NAME"), Column("STATE"), Column("DIGEST", wide=True))
ROWS = [("edge-1", "reachable", "ab"), ("a-long-name", "", "cd")]


def test_a_list_is_a_table_of_the_usual_columns():
    assert table(COLUMNS, ROWS, None) == "NAME         STATE\nedge-1       reachable\na-long-name  -"


def test_wide_list_has_all_columns_and_list_of_names_only_those():
    assert table(COLUMNS, ROWS, Output.WIDE).splitlines()[1] == "edge-1       reachable  ab"
    assert table(COLUMNS, ROWS, Output.NAME) == "edge-1\na-long-name"
    assert table(COLUMNS, [], None) == "NAME  STATE"
