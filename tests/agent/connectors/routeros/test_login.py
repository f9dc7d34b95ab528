"""Both logins as the manual has them, and every way in which a router may refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import (
    LocalRouterError,
    LoginRefusedError,
    MalformedRouterReplyError,
    RouterError,
    UnreachableRouterError,
)
from agent.connectors.routeros.login import Login, challenge_response
from agent.connectors.routeros.wire import ReplyReader, WireReply, encode_sentence
from tests.agent.connectors.routeros.fakes import sentence

CHALLENGE = "856780b7411eefd3abadee2058c149a3"


def reply(*words: str) -> WireReply:
    (found,) = ReplyReader().receive_untrusted(sentence(*words))
    return found


def test_today_name_and_password_go_at_once() -> None:
    login = Login("admin", b"")
    assert login.first() == ("/login", "=name=admin", "=password=")
    assert login.receive(reply("!done")) is None
    assert login.done


def test_the_challenge_of_the_manual() -> None:
    """The manual's own conversation; the password of its user `admin` is the empty one."""
    assert challenge_response(b"", bytes.fromhex(CHALLENGE)) == "005062f7a5ef124d34675bf3e81f56c556"


def test_before_6_43_a_challenge_is_answered() -> None:
    login = Login("admin", b"")
    login.first()
    assert login.receive(reply("!done", f"=ret={CHALLENGE}")) == (
        "/login",
        "=name=admin",
        "=response=005062f7a5ef124d34675bf3e81f56c556",
    )
    assert not login.done
    assert login.receive(reply("!done")) is None
    assert login.done


def test_a_password_that_is_no_utf8_goes_as_its_bytes() -> None:
    login = Login("admin", b"\xcf\xe0\xf0")
    assert encode_sentence(login.first()) == sentence("/login", "=name=admin", b"=password=\xcf\xe0\xf0")


@pytest.mark.parametrize(
    "text", ["invalid user name or password (6)", "cannot log in", "std failure: not allowed (9)", ""]
)
def test_a_refusal_is_the_users(text: str) -> None:
    with pytest.raises(LoginRefusedError) as caught:
        Login("admin", b"x").receive(reply("!trap", f"=message={text}"))
    assert text in str(caught.value)


@pytest.mark.assumed("routeros-sessions-exhausted")
@pytest.mark.parametrize(
    "text",
    ["too many sessions", "max-sessions limit reached", "maximum number of api sessions reached", "session limit"],
)
@pytest.mark.parametrize("word", ["!trap", "!fatal"])
def test_no_session_left_is_busy(text: str, word: str) -> None:
    with pytest.raises(UnreachableRouterError) as caught:
        Login("admin", b"x").receive(reply(word, f"=message={text}"))
    assert caught.value.reason == "busy"


def test_a_fatal_reply_ends_it() -> None:
    with pytest.raises(UnreachableRouterError, match="not logged in") as caught:
        Login("admin", b"x").receive(reply("!fatal", "not logged in"))
    assert caught.value.reason == "refused"


def test_router_that_echoes_password_does_not_get_it_into_error() -> None:
    with pytest.raises(LoginRefusedError) as caught:
        Login("admin", b"s3cret-canary").receive(reply("!trap", "=message=bad s3cret-canary\x1b[2J for admin"))
    assert "s3cret" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ("!re", "=a=b"),
        ("!done", ".tag=1"),
        ("!done", "=ret=zz"),
        ("!done", "=ret=" + "é" * 32),
        ("!done", "=ret=" + "g" * 32),
        ("!done", "=ret=" + "a" * 31),
        ("!done", "=ret=" + "a" * 64),
    ],
)
def test_no_answer_to_a_login(words: tuple[str, ...]) -> None:
    with pytest.raises(MalformedRouterReplyError):
        Login("admin", b"x").receive(reply(*words))


def test_one_challenge_is_enough() -> None:
    login = Login("admin", b"x")
    login.receive(reply("!done", f"=ret={CHALLENGE}"))
    with pytest.raises(MalformedRouterReplyError):
        login.receive(reply("!done", f"=ret={CHALLENGE}"))


def test_nothing_comes_after_the_end() -> None:
    login = Login("admin", b"x")
    login.receive(reply("!done"))
    with pytest.raises(MalformedRouterReplyError):
        login.receive(reply("!done"))


def test_empty_is_tolerated_but_not_for_ever() -> None:
    login = Login("admin", b"x")
    for _ in range(limits.LOGIN_REPLIES):
        assert login.receive(reply("!empty")) is None
    with pytest.raises(MalformedRouterReplyError):
        login.receive(reply("!empty"))


def test_bytes_are_bounded() -> None:
    with pytest.raises(MalformedRouterReplyError):
        Login("admin", b"x").receive(reply("!done", "=ret=" + "a" * limits.LOGIN_BYTES))


def test_a_user_there_must_be() -> None:
    with pytest.raises(LocalRouterError):
        Login("", b"x")


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_total(pieces: list[bytes]) -> None:
    login, reader = Login("admin", b"x"), ReplyReader()
    try:
        for piece in pieces:
            for r in reader.receive_untrusted(sentence("!done", b"=ret=" + piece)):
                login.receive(r)
    except RouterError:
        pass
