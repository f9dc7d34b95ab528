"""The documents say what the code does: commands, options, configuration, routes, files and tests."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import re
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import pytest

from agent.api.changes import read_ask
from agent.api.routes import ROUTES
from agent.changes.journal.request import Ask, RequestError
from agent.config import documented_keys
from agent.inventory import subscribers_csv
from tests.repo import documented, life_drawing, tree
from tests.repo.cli_reference import CLI_MD, commands, render
from tests.repo.documented import rows, shown_keys
from trust.errors import MalformedStatementError
from trust.policy import Action
from trust.strict_json import read_object_untrusted

DOCS = [p for p in tree.files() if p.suffix == ".md"]
README = tree.ROOT / "README.md"
ARCHITECTURE = tree.ROOT / "docs" / "ARCHITECTURE.md"
THREAT_MODEL = tree.ROOT / "docs" / "threat-model.md"
LIST = {"T": 23, "E": 11, "C": 18, "A": 15, "P": 23, "J": 12, "L": 8, "R": 7, "B": 12}
ATTACKS = [f"{chapter}{n}" for chapter, last in LIST.items() for n in range(1, last + 1)]
NO_SUCH_FEATURE = "A6 C12 C13 P5 P6 P7 P8 P9 P11 P12 P13 R6 R7".split()  # noqa: SIM905  read as one line
"""Attacks on what is not built. Whoever builds it takes its number off this list, and gives it a test."""


def test_cli_md_is_what_the_code_says() -> None:
    assert CLI_MD.read_text(encoding="utf-8") == render(), "run: python -m tests.repo.cli_reference"


def test_each_decision_has_a_number_of_its_own() -> None:
    names = sorted(p.name for p in DOCS if p.parent.name == "adr")
    numbers = [int(name[:4]) for name in names]
    assert len(set(numbers)) == len(numbers), "two branches took one: whichever lands last takes the next"
    titles = [(tree.ROOT / "docs" / "adr" / name).read_text(encoding="utf-8").split(".")[0] for name in names]
    assert titles == [f"# {n}" for n in numbers]


def test_every_option_and_argument_says_what_it_is() -> None:
    missing = [f"{' '.join(c.words)} {p.names[0]}" for c in commands() for p in c.parameters if not p.help]
    assert missing == []
    assert [c.words for c in commands() if not c.help] == []


def test_reads_have_json() -> None:
    reads = [c for c in commands() if c.words[-1] in ("show", "list", "status", "verify", "watch")]
    assert [c.words for c in reads if "--json" not in c.options] == []


def test_config_md_has_every_key_and_no_other() -> None:
    assert shown_keys((tree.ROOT / "docs" / "config.md").read_text(encoding="utf-8")) == documented_keys()


def test_api_md_is_the_table_of_routes() -> None:
    text = (tree.ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    want = [(f"`{r.method} {r.path}`", r.role.value, r.body or "–", r.answer) for r in ROUTES]
    assert rows(text, "## Routes") == want


def asked(**changed: object) -> None:
    """Have the API read an ask with these fields changed; one that is None is left out."""
    plain = {
        "action": "suspend", "refs": ["C-1"], "on_tariff": "", "exclude": [], "reason": "debt", "tariff": "",
        "on_failure": "stop", "change": "", "alone": False, "hold": False, "all_services": False,
        "settings": {}, "secrets": {}, **changed,
    }  # fmt: skip
    body = {name: value for name, value in plain.items() if value is not None}
    read_ask(read_object_untrusted(json.dumps(body).encode(), 4096, "request"))


def test_api_md_is_the_ask_that_the_api_reads() -> None:
    """Each field, whether it may be left out, and each action: no more and no fewer than the code takes."""
    tables = rows((tree.ROOT / "docs" / "api.md").read_text(encoding="utf-8"), "## The ask")
    fields = {row[0].strip("`"): row[1] == "yes" for row in tables if row[0].startswith("`")}
    actions = [row[0] for row in tables if not row[0].startswith("`")]
    asked()
    with pytest.raises(MalformedStatementError):
        asked(another="")
    for name, optional in fields.items():
        with nullcontext() if optional else pytest.raises(MalformedStatementError, match=f"'{name}' is missing"):
            asked(**{name: None})
    assert set(fields) == {f.name for f in dataclasses.fields(Ask)} - {"canary"}, "a canary is the policy's"
    assert sorted(actions) == sorted(a.value for a in Action if a is not Action.EDIT)
    for action in actions:
        asked(action=action)
    with pytest.raises(RequestError):
        asked(action="subscriber-edit")


def test_a_word_stands_once_in_the_glossary() -> None:
    words = [word for row in rows((tree.ROOT / "docs" / "glossary.md").read_text("utf-8"), "# ") for word in [row[0]]]
    named = [one.strip() for word in words for one in re.sub(r"\([^)]*\)", "", word).split(",")]
    assert sorted(set(named)) == sorted(named)


NOT_HERE = re.compile(r"\bDESIGN section|\bCONVENTIONS\b|\bfindings/|\b(?:F-D\d|N-\d+\.\d)|\"\"\"D\d+[:.]| \(D\d+\)")
"""Citations of papers that the project was planned with. Whoever reads this repository does not have them."""


def test_nothing_cites_a_document_that_is_not_here() -> None:
    cited = [
        f"{tree.name(path)}:{number}"
        for path in tree.files()
        if path.suffix in (".py", ".md", ".toml") and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if NOT_HERE.search(line)
    ]
    assert cited == []


@pytest.mark.parametrize("path", DOCS, ids=tree.name)
def test_commands_exist(path: Path) -> None:
    assert documented.problems(path) == []


@pytest.mark.parametrize("path", DOCS, ids=tree.name)
def test_make_targets_and_modules_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    makefile = (tree.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z]+):", makefile))
    typed = [s.text for s in documented.shown(text)] + re.findall(r"`((?:make|python3? -m) [^`]+)`", text)
    wanted = {t for line in typed if (t := re.match(r"make ([a-z]+)", line))}
    assert {m[1] for m in wanted} <= targets
    for line in typed:
        if module := re.match(r"(?:\.venv/bin/)?python3? -m ([\w.]+)", line):
            assert importlib.util.find_spec(module[1]) is not None, f"{path.name}: no module {module[1]}"


@pytest.mark.parametrize("path", DOCS, ids=tree.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert broken == []


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```$", "", path.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=tree.name)
def test_links_to_a_heading_find_it(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", path.read_text(encoding="utf-8"))
    lost = [
        f"{page}#{anchor}"
        for page, anchor in links
        if "://" not in page and anchor not in anchors(path.parent / page if page else path)
    ]
    assert lost == []


@pytest.mark.parametrize(("page", "at_least"), [("ARCHITECTURE", 30), ("adding-a-verb", 15)])
def test_files_and_functions_that_a_page_names_exist(page: str, at_least: int) -> None:
    """`agent/changes/worker.py` `Worker._consume`: each such pair is looked up."""
    text = (tree.ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:agent|trust|control_plane|lab|tests|docs)/[\w/.-]+)`", text))
    assert [n for n in named if not (tree.ROOT / n).exists()] == []
    pairs = re.findall(r"`([\w/]+\.py)` `([A-Za-z_][\w.]*)`", text)
    assert len(pairs) > at_least
    missing = [f"{file} {name}" for file, name in pairs if not _defines(tree.ROOT / file, name)]
    assert missing == []


def names_of_tests() -> set[str]:
    return {
        name
        for path in tree.python_files("tests")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }


def test_the_threat_model_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", THREAT_MODEL.read_text()))
    assert len(named) > 20
    assert named - names_of_tests() == set()


def test_every_attack_of_the_list_is_the_name_of_a_test() -> None:
    """The table has every number once, each with a defence, and with tests that have it in their names."""
    table = rows(THREAT_MODEL.read_text(), "## Every attack of the list, and its test")
    assert [row[0] for row in table] == [one for one in ATTACKS if one not in NO_SUCH_FEATURE]
    for attack, what, defence, tests in table:
        named = re.findall(r"`(test_\w+)`", tests)
        assert all((what, defence, named)), attack
        assert all(attack in name.split("_") for name in named), attack


def test_no_test_is_named_after_attack_that_is_not_in_list() -> None:
    named = {word for name in names_of_tests() for word in name.split("_") if re.fullmatch(r"[TECAPJLRB]\d+", word)}
    assert named == set(ATTACKS) - set(NO_SUCH_FEATURE)


def _defines(path: Path, name: str) -> bool:
    """Return whether a Python file defines a name (`Class.method` in that class)."""
    text = path.read_text(encoding="utf-8")
    *outer, last = name.split(".")
    for cls in outer:
        begun = re.search(rf"(?m)^class {cls}\b.*$", text)
        if begun is None:
            return False
        text = re.split(r"(?m)^(?=\S)", text[begun.end() :], maxsplit=1)[0] if begun else ""
    indent = "    " if outer else ""
    return re.search(rf"(?m)^{indent}(?:(?:async )?def |class )?{last}\b(?=[(:\[ =])", text) is not None


def test_architecture_draws_the_states_of_the_table() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert rows(text, "## States") == life_drawing.states_table()
    assert life_drawing.drawing() in text, "run: python -m tests.repo.life_drawing"


def test_drawings_have_no_semicolon() -> None:
    """Mermaid ends a statement there: the rest of a message is a syntax error, and no drawing is shown."""
    drawings = re.findall(
        r"```mermaid\n(.*?)```", (tree.ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8"), re.DOTALL
    )
    assert len(drawings) == 5
    assert not [line for drawing in drawings for line in drawing.splitlines() if ";" in line]


def test_readme_is_short_and_its_session_is_the_tutorials() -> None:
    """What its session shows stands on the page that a test types (tests/systemd/test_life.py), but for numbers."""
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    session = text.partition("## A session\n")[2].partition("```\n")[2].partition("```")[0]
    page = (tree.ROOT / "docs" / "tutorial" / "3-first-suspension.md").read_text(encoding="utf-8")
    session = re.sub(r"(?m)^\(the same preview.*\)$", "…", session)
    shown = " ".join(session.replace(" yes: yes", " yes:").split())
    there = " ".join(re.sub(r" ?\[yes\]", "", page).split())
    numbers = re.compile(r"[0-9a-f]*[0-9][0-9a-f:]*")
    assert shown.count("$ isp") == 5
    for part in shown.split("…"):
        for one in re.split(r"(?=\b(?:maria|joseph)\$ )", part):
            assert numbers.sub("0", one.strip(" ·")) in numbers.sub("0", there), one


def test_readme_says_the_licence() -> None:
    assert "GPL-3.0-or-later" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("ispagent change suspend C-1/home --reason debt", False),
        ("ispagent change suspend C-1/home --because debt", True),
        ("ispagent change suspnd C-1/home", True),
        ("ispagent change", True),
        ("ispcloud trust add person maria --key k", True),  # --role is missing
        ("ispcloud changes approve --file K7QF2 --key k --out a  # joseph signs", False),
    ],
)
def test_a_wrong_command_is_seen(line: str, wrong: bool) -> None:
    assert (documented.problem(line, whole=True, known=commands()) is not None) is wrong


def test_commands_are_found_in_documents() -> None:
    text = "Say `ispagent status`.\n\n    maria$ ispagent audit verify\n\n```sh\nispcloud keys new \\\n  --out k\n```\n"
    found = [(s.text, s.whole) for s in documented.shown(text)]
    assert found == [
        ("ispagent status", False),
        ("ispagent audit verify", True),
        ("ispcloud keys new  --out k", True),
    ]


INVENTORY = tree.ROOT / "docs" / "inventory.md"


def csv_with(**cells: str) -> subscribers_csv.Parsed:
    filled = {
        "subscriber": "C-1", "name": "Amina", "service": "home", "login": "amina", "method": "pppoe", "tariff": "Home",
        "balance": "34.00", "due": "2026-11-10", "paid_at": "2026-10-01", "as_of": "2026-11-20", **cells,
    }  # fmt: skip
    values = [filled.get(name, "") for name in subscribers_csv.COLUMNS]
    return subscribers_csv.parse_untrusted(f"{','.join(subscribers_csv.COLUMNS)}\n{','.join(values)}\n".encode())


def test_inventory_md_says_the_form_of_each_column_of_the_csv() -> None:
    """Each column, whether it may be empty, and cells that are taken or refused, as the parser has them."""
    table = rows(INVENTORY.read_text(encoding="utf-8"), "## Columns")
    assert tuple(name.strip("`") for name, *_ in table) == subscribers_csv.COLUMNS
    for name, _, empty, examples, refused, _ in table:
        column = name.strip("`")
        assert (not csv_with(**{column: ""}).problems) is empty.startswith("yes"), column
        assert re.findall("`([^`]+)`", examples), column
        for cell in re.findall("`([^`]+)`", examples):
            assert not csv_with(**{column: cell}).problems, (column, cell)
        for cell in re.findall("`([^`]+)`", refused):
            assert csv_with(**{column: cell}).problems, (column, cell)
    assert not csv_with(balance="", due="", paid_at="", as_of="").problems


def test_inventory_md_says_what_the_sign_of_a_balance_means() -> None:
    table = rows(INVENTORY.read_text(encoding="utf-8"), "## Sign of the balance")
    assert {meaning for _, meaning in table} == {"debt", "even", "credit"}
    for example, meaning in table:
        (fact,) = csv_with(balance=example.strip("`")).facts.values()
        assert (fact.account.overdue(date(2026, 11, 20)) > 0) is (meaning == "debt"), example


def test_the_example_of_inventory_md_is_read_without_a_problem() -> None:
    example = INVENTORY.read_text(encoding="utf-8").partition("```csv\n")[2].partition("```")[0]
    parsed = subscribers_csv.parse_untrusted(example.encode())
    assert (len(parsed.rows), parsed.problems) == (4, ())


def test_every_role_of_a_connector_is_in_the_page_on_new_ones() -> None:
    page = (tree.ROOT / "docs" / "adding-a-connector.md").read_text(encoding="utf-8")
    roles = [node.name for path, node in tree.classes("agent") if (ast.get_docstring(node) or "").startswith("Role: ")]
    assert len(roles) > 10
    assert [role for role in roles if f"| `{role}` |" not in page] == []
