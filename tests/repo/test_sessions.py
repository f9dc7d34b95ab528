"""The sessions of documents: what is typed, by whom, and whether an answer is as shown."""

from __future__ import annotations

import pytest

from tests.repo import tree
from tests.repo.sessions import Names, SessionError, Typed, sessions

WORDS = "rofav-gapid-vamat-himog-hilak-jiroh-figib-tabos"
OTHERS = "tizib-duzir-hajig-mobit-zupif-nuhab-busik-borab"
PAGE = f"""\
Text with `maria$ no command` in it.

```console
maria$ ispagent change suspend C-1/home
SUSPEND 1 service · K7QF2 · asked by maria 14:05
NOW    online 26s
root# cat > file <<END
[people]
END
joseph$ ispcloud changes approve --file K7QF2 \\
  --out K7QF2.joseph
words of the head: [{WORDS}]
…
(exit code 3)
```

```sh
maria$ not a session
```
"""


def test_commands_are_read_with_who_types_and_what_is_shown() -> None:
    suspend, write, approve = sessions(PAGE)
    assert (suspend.line, suspend.who, suspend.command) == (4, "maria", "ispagent change suspend C-1/home")
    assert suspend.shown.splitlines()[1] == "NOW    online 26s"
    assert (write.who, write.command, write.shown) == ("root", "cat > file <<END\n[people]\nEND\n", "")
    assert approve.command == "ispcloud changes approve --file K7QF2 --out K7QF2.joseph"
    assert (approve.answers, approve.exit_code) == ((WORDS,), 3)


def test_a_block_that_begins_with_an_answer_is_refused() -> None:
    with pytest.raises(SessionError, match="line 2: expected USER"):
        list(sessions("```console\nno command\n```\n"))


def shown(text: str) -> Typed:
    return Typed(1, "maria", "ispagent status", text)


@pytest.mark.parametrize(
    ("page", "answer"),
    [
        ("log 2 leaves, not witnessed", "log 17 leaves,\n   not witnessed\n"),
        ("NOW online 26s on bng-1 … · proven", "NOW online 4s on bng-2 · 100.64.0.1 · proven"),
        ("until 2027-02-26 18:03 UTC", "until 2027-03-01 09:59 UTC"),
        ("ends by 19:40 UTC", "ends by 2026-11-29 00:39 UTC"),
        ("online 51s on bng-1", "online 1m on bng-2"),
        ("session d8fb3660 applied", "session 4d5268ae applied"),
        ("at 127.0.0.1:5432", "at 127.0.0.1:44333"),
        ("…", ""),
        ("words: [a b] done", "words: done"),
    ],
)
def test_what_varies_may_differ(page: str, answer: str) -> None:
    Names().check(shown(page), answer)


@pytest.mark.parametrize(
    ("page", "answer"),
    [
        ("log 2 leaves, not witnessed", "log 2 leaves, witnessed"),
        ("state FINE", "state FINE trust NONE"),
        ("state FINE", "the state FINE"),
        ("", "note: something is odd"),
        ("gone … read back", "gone"),
    ],
)
def test_another_answer_is_refused(page: str, answer: str) -> None:
    with pytest.raises(SessionError, match="expected"):
        Names().check(shown(page), answer)


def test_an_id_a_key_and_words_stand_for_what_came_first() -> None:
    names, key = Names.of(PAGE), "ab" * 32
    names.check(shown(f"SUSPEND 1 service · K7QF2 · asked by maria 14:05 · {WORDS} · {key}"),
                f"SUSPEND 1 service · WRITE · asked by maria 09:00 · {OTHERS} · {'cd' * 32}")  # fmt: skip
    assert names.filled(f"approve K7QF2 {WORDS} {key}") == f"approve WRITE {OTHERS} {'cd' * 32}"
    names.check(shown("K7QF2: approved"), "WRITE: approved")
    with pytest.raises(SessionError):
        names.check(shown("K7QF2: approved"), "OTHER: approved")


def test_the_id_of_a_desks_list_stands_for_what_came() -> None:
    """It is the site's: one that differs is refused."""
    page = "ID     STATE\nK7QF2  waiting  0/1\n"
    names = Names.of(PAGE)
    names.check(shown("SUSPEND 1 service · K7QF2 · asked by maria"), "SUSPEND 1 service · WRITE · asked by maria")
    names.check(shown(page), page.replace("K7QF2", "WRITE"))
    with pytest.raises(SessionError):
        names.check(shown(page), page.replace("K7QF2", "OTHER"))


def test_an_id_that_comes_twice_is_one() -> None:
    names = Names.of(PAGE)
    twice = shown("· K7QF2 · asked by maria … UNDO revert K7QF2")
    with pytest.raises(SessionError):
        names.check(twice, "· AAAAA · asked by maria UNDO revert BBBBB")
    names.check(twice, "· AAAAA · asked by maria UNDO revert AAAAA")


def test_each_tutorial_page_has_sessions_of_people_it_presents() -> None:
    pages = sorted((tree.ROOT / "docs" / "tutorial").glob("[0-9]*.md"))
    assert len(pages) >= 3
    for page in pages:
        typed = list(sessions(page.read_text(encoding="utf-8")))
        assert typed, page.name
        assert {one.who for one in typed} <= {"root", "maria", "joseph", "lena", "lab"}, page.name
