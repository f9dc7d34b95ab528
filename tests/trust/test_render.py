import dataclasses
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import NOW, documents, item, plan
from trust import items, render
from trust.document import UNKNOWN
from trust.items import (
    ABSENT,
    Address,
    CpeChange,
    EffectKind,
    Enforcement,
    EntryChange,
    EntryFieldChange,
    GuardKind,
    Listed,
    Requirement,
    SecretRef,
    Seen,
    Step,
    Transition,
    Wave,
)
from trust.policy import Action, RiskClass
from trust.statements import OnFailure, SizeBucket
from trust.terminal import NO_WRAP, neutralize


def opened(*entries, **head):
    docs = documents(*entries, **head)
    return items.open_items_untrusted(docs, items.items_root(docs), "22" * 16)


def preview(*entries, p=None, width=100, **head):
    return render.render_preview(p or plan(), opened(*entries, **head), "K7QF", width)


def test_one_suspension():
    assert (
        preview()
        == """\
SUSPEND 1 service · K7QF · asked by maria 09:04
WHO    C-10482 Amina Hassan
WHY    12 days late
WRITE  + radius/main/user/amina.h group:suspended -1 (was: none)
EFFECT ! disconnect radius/main/sessions/amina.h · user=amina.h · proven if gone within 30 s ·
       irreversible
PROOF  radius/main/sessions/amina.h must show state=garden within 60 s
UNDO   ispagent change revert K7QF
       on undo: ! disconnect radius/main/sessions/amina.h · user=amina.h · proven if gone within 30
       s · irreversible
RISK   LOW · 1 approver · not maria · until 09:34 · run until 2025-10-09 09:54 UTC · re-checked
       first: owes 34.00
"""
    )


def test_every_text_of_the_display_is_shown():
    display = {k: f"<{k}>" for k in ("title", "why", "now", "after", "open", "undo", "other_services")}
    shown = preview(item(display=display), display={"source": "<source>", "asked_at": "<at>"})
    for key in (*display, "source", "at"):
        assert f"<{key}>" in shown
    assert "(<other_services>)" in shown


def test_nothing_is_invented():
    bare = item(display={}, requires=(), steps=(), enforce=None)
    assert (
        preview(bare, display={})
        == """\
SUSPEND 1 service · K7QF · asked by maria
WHO    C-10482
RISK   LOW · not maria · start by 2025-10-09 09:24 UTC · run until 2025-10-09 09:54 UTC
"""
    )
    assert preview(dataclasses.replace(bare, subject=None), display={}).startswith("SUSPEND 1 device")


def test_changes_of_inventory_are_shown_from_signed_items():
    bare = {"display": {}, "requires": (), "steps": (), "enforce": None}
    gone = item(**bare, desired=(EntryChange("{}", added=False),))
    assert "RECORD - inventory C-10482/home as a whole\n" in preview(dataclasses.replace(gone, subject="C-10482/home"))
    back = dataclasses.replace(gone, subject="C-1\x1b[2J", desired=(EntryChange("{}", added=True),))
    assert "RECORD + inventory C-1\\u001b[2J as a whole\n" in preview(back)
    called = dataclasses.replace(
        gone, subject="C-1/home", desired=(EntryFieldChange("login", "old", "nеw"),)
    )  # one Cyrillic letter
    assert "RECORD ~ inventory C-1/home login nеw [mixed scripts] (was: old)\n" in preview(called)
    many = preview(*(dataclasses.replace(gone, n=n, subject=f"C-{n}/home") for n in range(1, 15)))
    assert "RECORD - inventory C-1/home as a whole\n" in many
    assert "\n       and 2 more\n" in many


def test_a_cpe_that_gets_or_loses_its_service_is_shown():
    bare = {"display": {}, "requires": (), "steps": (), "enforce": None}
    given = item(**bare, subject="C-1/home", desired=(CpeChange("02AC5F-X-1", added=True),))
    assert "RECORD + 02AC5F-X-1 serves C-1/home: secrets may go into it\n" in preview(given)
    taken = dataclasses.replace(given, desired=(CpeChange("02AC5F-X-1\x1b[2J", added=False),))
    assert "RECORD - 02AC5F-X-1\\u001b[2J serves C-1/home: no more secrets go into it\n" in preview(taken)
    nobodys = dataclasses.replace(given, subject=None)
    assert "RECORD + 02AC5F-X-1 serves nobody yet: secrets may go into it\n" in preview(nobodys)


def test_class_alone_guard_and_what_cannot_be_enforced():
    p = plan(
        risk_class=RiskClass.ALONE, action=Action.RESTORE, guard_kind=GuardKind.CONFIRMED_COMMIT, cannot_enforce=True
    )
    assert "RESTORE 1 service" in preview(p=p)
    risk = " ".join(preview(p=p).partition("RISK")[2].split())
    assert "ALONE · 1 approver · alone: a review opens · until 09:34 · run until 2025-10-09 09:54 UTC · guard " in risk
    assert "· guard confirmed-commit" in risk
    assert "SOME CANNOT BE ENFORCED" in risk


def test_what_a_device_takes_back_by_itself_is_said():
    write, drop = item().steps
    guarded = item(steps=(dataclasses.replace(write, guard=GuardKind.CONFIRMED_COMMIT), drop))
    assert "GUARD" not in preview()
    (line,) = [line for line in preview(guarded).splitlines() if line.startswith("GUARD")]
    assert line == "GUARD  confirmed-commit: the device takes all writes back by itself unless they are confirmed"
    both = render.render_preview(plan(), opened(guarded, item(2)), "K7QF")
    assert "GUARD  confirmed-commit: the device takes 1 of 2 writes back by itself" in both


def write_lines(before, after, **seen):
    step = Step(1, "t", (Transition(Address("a/b/c"), Seen(before, NOW, **seen), after, frozenset({"pw"})),))
    lines = preview(item(steps=(step,), enforce=None), display={}).partition("RISK")[0].splitlines()
    return [line[7:] for line in lines[3:]]


WRITES = [
    ({"x": "1"}, {"x": "2"}, ["~ a/b/c x 2 (was: 1)"]),
    ({"x": "1"}, {}, ["- a/b/c x removed (was: 1)"]),
    ({}, {"x": ""}, ['+ a/b/c x "" (was: none)']),
    ({"x": ("=", "1")}, {"x": (":=", "1")}, ["~ a/b/c x := 1 (was: = 1)"]),
    ({}, {"pw": SecretRef("00" * 32)}, ["+ a/b/c pw a secret (was: none) [cannot be read back]"]),
    ({"pw": ""}, {"pw": SecretRef("00" * 32)}, ["~ a/b/c pw a secret (was: not known) [cannot be read back]"]),
    ({"x": "1"}, ABSENT, ["- a/b/c as a whole: x=1"]),
    (ABSENT, {"x": "1"}, ["+ a/b/c is new: x=1"]),
    (ABSENT, {"x": "", "y": "a b", "z": 'say "b=1" \\'}, ['+ a/b/c is new: x="" y="a b" z="say \\"b=1\\" \\\\"']),
    (ABSENT, {"x": "1 y=2", "l": ("a", "b")}, ['+ a/b/c is new: x="1 y=2" l="a b"']),
    (ABSENT, {"x": "[a secret]", "\x1b": "\x1b"}, [r'+ a/b/c is new: x="[a secret]" \u001b="\\u001b"']),
    (
        ABSENT,
        {"x": "1", "pw": SecretRef("00" * 32)},
        ["+ a/b/c is new: x=1 pw=[a secret] [cannot be read back: pw]"],
    ),
    ({"x": "1", "y": "2"}, {"y": "2", "x": "1"}, ["~ a/b/c order of the rows"]),
    ({"x": "1"}, {"x": "1"}, []),
    (ABSENT, ABSENT, []),
]


@pytest.mark.parametrize(("before", "after", "expected"), WRITES, ids=str)
def test_what_is_written(before, after, expected):
    assert write_lines(before, after) == expected
    assert write_lines(before, after, live=False) == [f"{line} (last known value, not read live)" for line in expected]


def test_an_effect_that_nothing_proves():
    effect = dataclasses.replace(item().steps[1].do, proof=None, args={})
    shown = preview(item(steps=(Step(1, "radius/main", effect),)))
    assert "! disconnect radius/main/sessions/amina.h · cannot be proven · irreversible" in shown


def test_one_that_would_not_change():
    blocked = preview(item(listed=Listed.BLOCKED, reason="ambiguous", steps=(), display={"why_not": "two users"}))
    assert "NOT    CANNOT ENFORCE: ambiguous · two users" in blocked
    assert "NOT    excluded: paid" in preview(item(listed=Listed.EXCLUDED, reason="paid", steps=()))


def batch(n=4):
    change = [
        item(i, subject=f"C-{i}", display={"nas": f"bng-{i % 2 + 1}", "online": "online" if i > 1 else "offline"})
        for i in range(1, n)
    ]
    rest = [
        item(n, subject="C-paid", listed=Listed.EXCLUDED, reason="paid", steps=(), display={"not_why": "09:03"}),
        item(n + 1, subject="C-late", listed=Listed.EXCLUDED, reason="paid", steps=(), display={}),
        item(n + 2, subject=None, listed=Listed.BLOCKED, reason="no-mapping", steps=(), display={}),
    ]
    return change + rest


def test_a_batch():
    waves = (Wave(1, 2, 120), Wave(3, 6, 0))
    head = {"source": "UISP read 08:55:02", "title": "night run", "share": "3.2 % of active", "look": "1 business",
            "pace": "about 4 min", "stop": "CPU 80 %", "undo": "revert K7QF", "needs": "2 approvers"}  # fmt: skip
    shown = preview(*batch(), p=plan(risk_class=RiskClass.BATCH), waves=waves, display=head)
    assert (
        shown
        == """\
SUSPEND 6 asked: 3 WOULD CHANGE, 3 WOULD NOT · K7QF · asked by maria · UISP read 08:55:02
ABOUT  night run
WHERE  bng-2 2 · bng-1 1 · 3.2 % of active
STATE  2 online · 1 offline
NOT    2 paid: C-paid (09:03), C-late
       1 CANNOT ENFORCE, no-mapping: item 6
LOOK   1 business
WRITE  + radius/main/user group:suspended -1 (was: none) · 3 times
EFFECT ! 3 × disconnect (irreversible)
       on undo: ! 3 × disconnect (irreversible)
PACE   2 first, wait 120 s, then 2/s per target · about 4 min
STOP   canary fails · 2 % fail · 10 sessions not on the list lost · CPU 80 %
UNDO   revert K7QF
RISK   BATCH · 2 approvers · not maria · start by 2025-10-09 09:24 UTC · run until 2025-10-09 09:54
       UTC · re-checked first: owes 34.00
       the list may shrink, never grow
"""
    )


def test_a_batch_without_pace_or_waves():
    pace = items.Pace(0, 0, 0)
    shown = preview(*batch(), waves=(), pace=pace, display={})
    assert "PACE" not in shown
    assert "STOP" not in shown


def test_in_a_pipe_a_line_stays_one_line():
    shown = preview(width=NO_WRAP)
    assert "proven if gone within 30 s · irreversible\n" in shown
    assert all(line[:7].strip() or line.startswith("       on undo") for line in shown.splitlines()[1:])


def test_who_asked_is_left_out_where_nobody_knows():
    risk = preview(p=plan(requester=UNKNOWN), display={"needs": "2 approvers, since nobody knows who asked"})
    assert "RISK   LOW · 2 approvers, since nobody knows who asked · start by" in " ".join(risk.split(" "))
    assert "not unknown" not in risk
    assert "not maria" in preview()


def test_a_disconnect_says_in_sentences_which_sessions_it_ends():
    args = {"now": "81c on \x1b[2Jbng-2", "in": "10.99.0.0/16", "right-since": "1767225600", "known": "u1"}
    last = item().steps[-1]
    drop = dataclasses.replace(last, n=1, after=(), do=dataclasses.replace(last.do, args=args))
    shown = preview(item(steps=(drop,)), width=400)
    told = (
        "now: 81c on \\u001b[2Jbng-2",
        "ends every session in 10.99.0.0/16",
        "ends the 1 session that the preview saw",
        "spares others that began after 2026-01-01 00:00:00 UTC",
    )
    assert f"EFFECT ! disconnect radius/main/sessions/amina.h · {' · '.join(told)} · proven if" in shown


def paid(n, why):
    return item(n, subject=f"C-{n}", listed=Listed.EXCLUDED, reason="paid", steps=(), display={"why_not": why})


def test_why_of_many_is_said_once_or_by_the_list_if_different():
    alike = preview(*(paid(n, "paid yesterday") for n in range(1, 57)), width=400)
    assert alike.count("paid yesterday") == 1
    assert "and 44 more (paid yesterday)" in alike
    different = preview(*(paid(n, f"paid {n} days ago") for n in range(1, 57)), width=400)
    assert "days ago" not in different
    assert "and 44 more; each one's reason: --list" in different
    few = preview(*(paid(n, f"paid {n} days ago") for n in range(1, 4)), width=400)
    assert "3 paid: C-1 (paid 1 days ago), C-2 (paid 2 days ago), C-3 (paid 3 days ago)" in few


def test_what_may_let_people_out_is_said_once_of_all():
    """Of many: a preview that nobody can read names no way out. What is in no text of the display is not invented."""
    same = [item(n=n, subject=f"C-{n}", display={"open": "not checked: SOCKS"}) for n in (1, 2, 3)]
    other = item(n=4, subject="C-4", display={"open": "open: DNS"})
    shown = preview(*same, other, width=200)
    assert "OPEN   3: not checked: SOCKS\n       1: open: DNS\n" in shown
    many = [item(n=n, subject=f"C-{n}", display={"open": f"way {n}"}) for n in range(1, 8)]
    assert "3 others: see each" in preview(*many, width=200)
    assert "OPEN" not in preview(item(n=1), item(n=2, subject="C-2"))


def test_large_groups_are_counted_not_poured_out():
    excluded = [item(i, subject=f"C-{i}", listed=Listed.EXCLUDED, reason="paid", steps=()) for i in range(1, 30)]
    shown = preview(*excluded)
    assert "29 paid: C-1," in shown
    assert "and 17 more" in shown
    different = [
        item(i, steps=(Step(1, "t", (Transition(Address("a/b/c"), Seen({}, NOW), {f"f{i}": "1"}),)),))
        for i in range(1, 16)
    ]
    assert "and 3 other changed fields" in preview(*different)


def test_facts_that_differ_are_not_listed_one_by_one():
    facts = [item(i, requires=(Requirement(Address("b"), "owes", f"owes {i}"),)) for i in (1, 2)]
    assert "re-checked first: 2 facts" in " ".join(preview(*facts).split())


def test_inventory_entry_checked_again_is_named_not_spelled_out():
    entry = Requirement(Address("inventory/C-1/home"), "as-previewed", "login amina.h · pppoe · Home 20M")
    owes = Requirement(Address("b"), "owes", "owes 34.00")
    told = " ".join(preview(item(requires=(entry, owes))).split())
    assert "re-checked first: owes 34.00, its inventory entry" in told
    told = " ".join(preview(item(requires=(entry,))).split())
    assert told.endswith("re-checked first: its inventory entry")
    assert "Home 20M" not in told


def test_what_a_failure_does_is_said():
    two = [item(i, subject=f"C-{i}") for i in (1, 2)]
    waves = (Wave(1, 1, 5), Wave(2, 2, 0))

    def stop(on_failure, *entries):
        shown = preview(*entries, p=plan(on_failure=on_failure), waves=waves[: len(entries)], width=200)
        return [line[7:] for line in shown.splitlines() if line.startswith("STOP")]

    assert stop(OnFailure.STOP, *two) == ["canary fails · 2 % fail · 10 sessions not on the list lost"]
    assert stop(OnFailure.CONTINUE, *two) == [
        "10 sessions not on the list lost · does not stop by itself when items fail"
    ]
    [told] = stop(OnFailure.REVERT, *two)
    assert told.endswith("on failure: takes back what was applied")
    assert stop(OnFailure.REVERT, two[0]) == ["on failure: takes back what was applied"]
    assert stop(OnFailure.STOP, two[0]) == []


def test_when_it_may_start_and_must_end():
    display = {"until": "02:32 EAT on 26 Nov", "ends": "03:02 EAT on 26 Nov", "window": "Mon-Fri 09:00-16:00 EAT"}
    told = " ".join(preview(display=display).split())
    assert "until 02:32 EAT on 26 Nov · starts only Mon-Fri 09:00-16:00 EAT · ends by 03:02 EAT on 26 Nov" in told


def test_the_list_has_a_line_for_each():
    assert render.render_list(opened(*batch())).splitlines() == [
        "C-1 · would change · bng-2 · offline",
        "C-2 · would change · bng-1 · online",
        "C-3 · would change · bng-2 · online",
        "C-paid · excluded: paid · 09:03",
        "C-late · excluded: paid",
        "item 6 · CANNOT ENFORCE: no-mapping",
    ]


def test_the_summary_has_no_subscriber():
    p = plan(size_bucket=SizeBucket.TO_100, effect_kinds=(EffectKind.DISCONNECT, EffectKind.MESSAGE))
    assert (
        render.render_summary(p, "M2XP")
        == """\
SUSPEND 11-100 services · M2XP · asked by maria
SUMMARY ONLY: the items were not opened
EFFECT ! disconnect (irreversible)
       ! message (irreversible)
STOP   on failure: stop · on drift: skip
RISK   LOW · not maria · start by 2025-10-09 09:24 UTC · run until 2025-10-09 09:54 UTC
"""
    )
    assert "SUSPEND 1 service " in render.render_summary(plan())


A8 = {
    "right-to-left override": ("amina\u202egpj.exe", "amina\\u202egpj.exe"),
    "isolate": ("a\u2066b\u2069", "a\\u2066b\\u2069"),
    "marks": ("a\u200e\u200fb", "a\\u200e\\u200fb"),
    "zero width": ("a\u200bb\u200dc\ufeff", "a\\u200bb\\u200dc\\ufeff"),
    "escape sequence": ("\x1b[31mred", "\\u001b[31mred"),
    "newline forges a line": ("x\nRISK   LOW", "x\\u000aRISK   LOW"),
    "c1": ("a\x9b31m", "a\\u009b31m"),
    "tag": ("a\U000e0041", "a\\U000e0041"),
    "line separator": ("a\u2028b", "a\\u2028b"),
    "no-break space": ("a\u00a0b", "a\\u00a0b"),
    "filler": ("a\u3164b", "a\\u3164b"),
    "mixed scripts": ("\u0430mina", "\u0430mina [mixed scripts]"),
    "mixed greek": ("Hass\u03b1n and \u0430mina", "Hass\u03b1n and \u0430mina [mixed scripts]"),
    "plain": ("Amina O'Neill", "Amina O'Neill"),
    "one script": ("Амина Hassan", "Амина Hassan"),
    "arabic": ("أمينة", "أمينة"),
    "accents": ("Zoë Müller", "Zoë Müller"),
}


@pytest.mark.parametrize(("text", "shown"), A8.values(), ids=A8.keys())
def test_A8_names_cannot_forge_a_preview(text, shown):
    assert neutralize(text) == shown


@given(st.text())
def test_A8_no_text_hides_or_moves_anything(text):
    shown = neutralize(text)
    assert all(c == " " or unicodedata.category(c)[0] in "LMNPS" for c in shown)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_C14_hostile_texts_stay_in_their_line(text):
    hostile = item(
        subject=text, reason=text,
        display=dict.fromkeys(["title", "why", "now", "after", "undo", "nas", "online"], text),
        requires=(Requirement(Address(text), text, text),),
        steps=(
            Step(1, text, (Transition(Address(text), Seen({text: text}, NOW), {text: (text, text), "n": text}),)),
            Step(2, text, dataclasses.replace(item().steps[1].do, address=Address(text), verb=text, args={text: text})),
        ),
        enforce=Enforcement(text, Address(text), {text: text}, 1),
    )  # fmt: skip
    head = dict.fromkeys(
        ["source", "undo", "until", "ends", "window", "needs", "asked_at", "title", "look", "share", "pace", "stop"],
        text,
    )
    not_it = item(2, subject=text, reason=text, listed=Listed.BLOCKED, steps=(), display={"why_not": text})
    for shown in (
        preview(hostile, display=head),
        preview(hostile, not_it, display=head),
        render.render_list(opened(hostile, not_it)),
        render.render_summary(plan(), text),
    ):
        for line in shown.split("\n"):
            assert all(c == " " or unicodedata.category(c)[0] in "LMNPS" for c in line)


def test_lines_are_wrapped_and_long_words_kept_whole():
    address = "cwmp/00259E-HG8245-48575443/" + "x" * 80
    effect = dataclasses.replace(item().steps[1].do, address=Address(address))
    shown = preview(item(steps=(Step(1, "t", effect),)), width=60)
    assert address in shown
    assert all(len(line) <= 60 or address in line for line in shown.splitlines())


def test_A8_a_name_that_wraps_into_a_line_of_ours():
    forged = "x" * 90 + " RISK   LOW · 0 approvers"
    for shown in (preview(item(display={"title": forged})), preview(*batch(), display={"title": forged})):
        assert sum(line.startswith("RISK") for line in shown.splitlines()) == 1
