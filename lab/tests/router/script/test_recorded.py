"""What RouterOS 7.22.1's `:parse` answered to scripts of its users' forum, and what ours answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.router.errors import ScriptSyntaxError
from lab.router.script import parse
from lab.tests.router.data import recorded

VERSION = "7.22.1"
REFUSED = re.compile(r"[a-z ]+ \(line \d+ column \d+\)")

# measured; lab/router/README.md says what the others are
SCRIPTS, REFUSALS, LISTINGS = 411, 152, 259
SAME_ACCEPTED, SAME_REFUSALS, SAME_LISTINGS = 411, 149, 257
REPEATED = 15


@dataclass(frozen=True)
class Answer:
    """A refusal with its place, or a listing."""

    text: str
    refused: bool


def ours(script: bytes) -> Answer:
    try:
        # the recording went through UTF-8: bytes that are none came out as replacement characters
        return Answer(parse(script, VERSION).listing().decode("utf-8", "replace"), refused=False)
    except ScriptSyntaxError as err:
        return Answer(str(err), refused=True)


def theirs(answer: bytes) -> Answer:
    text = answer.decode("utf-8", "replace")
    return Answer(text.strip(), refused=True) if REFUSED.fullmatch(text.strip()) else Answer(text, refused=False)


def same(left: Answer, right: Answer) -> bool:
    return left.text.rstrip("\n") == right.text.rstrip("\n")


def test_recorded_answers():
    answers = {
        path.name: (theirs(path.with_name(f"{path.name}.parseil-{VERSION}").read_bytes()), ours(path.read_bytes()))
        for path in sorted(recorded("rsc-parse").glob("*.rsc"))
    }
    refused = {name: pair for name, pair in answers.items() if pair[0].refused}
    listed = {name: pair for name, pair in answers.items() if not pair[0].refused}
    accepted = sum(want.refused == got.refused for want, got in answers.values())
    refusals = sum(same(*pair) for pair in refused.values())
    listings = sum(same(*pair) for pair in listed.values())
    print(f"\naccepted or refused alike: {accepted} of {len(answers)}")
    print(f"refused in the same words, at the same place: {refusals} of {len(refused)}")
    print(f"listed alike: {listings} of {len(listed)}")
    for name, (want, got) in answers.items():
        if not same(want, got):
            print(f"differs: {name}: {want.text[:60]!r}, ours {got.text[:60]!r}")
    assert (len(answers), len(refused), len(listed)) == (SCRIPTS, REFUSALS, LISTINGS)
    assert accepted >= SAME_ACCEPTED
    assert refusals >= SAME_REFUSALS
    assert listings >= SAME_LISTINGS


def test_properties_that_no_other_script_shows_are_few():
    """tables/where.json comes from these very listings: this is what it cannot be checked by.

    A menu that two scripts ask is checked, since both must show the same properties. Of the others the table only
    repeats the one listing that it was made from.
    """
    asked: dict[str, set[str]] = {}
    listings = sorted(recorded("rsc-parse").glob(f"*.parseil-{VERSION}"))
    for path in listings:
        for menu in re.findall(
            r"\(evl (/[a-z0-9/-]+)/(?:find|print)[^()$]*?where=\$", path.read_text("utf-8", "replace")
        ):
            asked.setdefault(menu, set()).add(path.name)
    once = {next(iter(names)) for names in asked.values() if len(names) == 1}
    print(f"\n{len(once)} of {len(listings)} listings show a menu's properties that no other shows")
    assert len(once) <= REPEATED
