"""What NAS said of sessions: until when it counts. Pure."""

from __future__ import annotations

from agent.connectors.radius import answers as answers_module
from agent.connectors.radius.answers import NOT_ASKED, SILENT, SILENT_S, HeldAnswer, NasAnswers, held_fields, held_why
from agent.connectors.radius.beginnings import CLOCKS_S
from agent.model import ABSENT, Seen


def test_a_denial_counts_until_accounting_hears_of_the_session() -> None:
    answers = NasAnswers()
    assert answers.denied("u1", "100") is None
    answers.deny("u1", "100", 500, "bng-1")
    assert answers.denied("u1", "100") == 500
    assert answers.denied("u1", "40") == 500, "a failover forgot the last packet"
    assert answers.denied("u1", "490") is None
    assert answers.asked("u1", "490") == 500, "it may have been sent before the answer, and come after it"
    assert answers.asked("u1", str(500 + CLOCKS_S + 1)) is None
    assert answers.denied("u2", "100") is None
    answers.deny("u3", "", 500, "bng-1")
    assert answers.denied("u3", "") == 500, "a row without a time"


def test_an_asked_end_counts_until_accounting_hears_of_it() -> None:
    answers = NasAnswers()
    assert answers.asked("u1", "100") is None
    answers.ask("u1", "100", 500, "bng-1")
    assert answers.asked("u1", "100") == 500
    assert answers.asked("u1", str(500 + CLOCKS_S)) == 500, "a packet from before the answer may be late"
    assert answers.asked("u1", str(500 + CLOCKS_S + 1)) is None
    assert answers.asked("u1", "600", 90 + CLOCKS_S) == 500, "accounting's clock is ahead"
    assert answers.asked("u1", "40") == 500, "a failover forgot the last packet"
    assert answers.asked("u2", "100") is None
    assert [answers.told_since(uid, heard) for uid, heard in (("u1", "100"), ("u1", "101"), ("u2", "101"))] == [
        False,
        True,
        False,
    ]
    answers.ask("u4", "800", 500, "bng-1")
    assert answers.asked("u4", "801") == 500, "its NAS' clock is ahead of ours by at least 300 s"
    assert answers.denied("u1", "100") is None
    answers.ask("u3", "", 500, "bng-1")
    assert answers.asked("u3", "") == 500, "a row without a time"
    assert answers.asked("u3", str(500 + CLOCKS_S + 1)) is None


def test_what_a_nas_said_of_a_login() -> None:
    answers = NasAnswers()
    assert answers.of("bng-1", "amina.h") is None
    answers.say("bng-1", "amina.h", SILENT, 500, 50.0)
    assert answers.of("bng-1", "amina.h") == HeldAnswer(SILENT, 500, 50.0)
    assert answers.is_silent("bng-1", 50 + SILENT_S - 1)
    assert not answers.is_silent("bng-1", 50 + SILENT_S)
    assert not answers.is_silent("bng-2", 50)
    answers.say("bng-1", "other", "", 501, 51.0)
    assert not answers.is_silent("bng-1", 52), "it answers again"
    assert answers.of("bng-1", "amina.h") == HeldAnswer(SILENT, 500, 50.0)


def test_the_oldest_are_forgotten() -> None:
    answers = NasAnswers()
    for n in range(answers_module.KEPT_MAX + 1):
        answers.deny(f"u{n}", "1", 5, "bng-1")
    assert answers.denied("u0", "1") is None
    assert answers.denied("u1", "1") == 5


def test_why_it_is_not_known() -> None:
    assert held_fields(None) == {"why": NOT_ASKED}
    assert held_fields(HeldAnswer("", 5)) == {}
    assert held_why(Seen({"why": "did not answer"}, 5), 0) == "did not answer"
    assert held_why(Seen(ABSENT, 5), 5) == ""
    assert held_why(Seen(ABSENT, 4), 5) == NOT_ASKED, "before the rows were read for the preview"


def test_denials_and_answers_outlive_a_restart_silence_does_not() -> None:
    answers = NasAnswers()
    answers.deny("u1", "100", 500, "bng-1")
    answers.say("bng-1", "amina.h", "", 501, 51.0)
    answers.say("bng-2", "amina.h", SILENT, 502, 52.0)
    answers.ask("u2", "100", 503, "bng-1")
    answers.ask("u3", "100", 504, "bng-1")
    news = answers.news()
    assert [(one.kind, one.key, one.by, one.at_s) for one in news] == [
        ("denied", "u1", "bng-1", 500),
        ("held", "bng-1/amina.h", "bng-1", 501),
        ("asked", "u2", "bng-1", 503),
        ("asked", "u3", "bng-1", 504),
    ]
    assert answers.news() == ()
    again = NasAnswers(news)
    assert again.denied("u1", "100") == 500
    acked = NasAnswers()
    acked.say("bng-1", "amina.h", "", 501, 51.0, acked=True)
    assert NasAnswers(acked.news()).of("bng-1", "amina.h") == HeldAnswer("", 501, acked=True)
    assert (again.asked("u2", "100"), again.denied("u2", "100")) == (503, None)
    assert again.asked("u3", "100") == 504
    assert again.of("bng-1", "amina.h") == HeldAnswer("", 501)
    assert again.of("bng-2", "amina.h") is None
    assert again.news() == ()


def test_an_answer_came_when_it_came_whoever_sets_the_clock() -> None:
    answers = NasAnswers()
    answers.say("bng-1", "amina.h", "", 501, 51.0)
    answer = answers.of("bng-1", "amina.h")
    assert answer is not None
    assert answer.come_s(511.0, 61.0) == 501
    assert answer.come_s(411.0, 61.0) == 401, "our clock was set back by 100 s since"
    assert NasAnswers(answers.news()).of("bng-1", "amina.h") == HeldAnswer("", 501), "of another boot, maybe"
