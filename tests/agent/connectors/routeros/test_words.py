"""What of a router's own words may stand in an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros import limits
from agent.connectors.routeros.words import presentable, secrets_of


def test_ordinary_words_stay_as_they_are() -> None:
    text = "failure: secret with the same name already exists"
    assert presentable(text) == text


def test_control_characters_and_lone_bytes_become_escapes() -> None:
    assert presentable("a\x1b[2Jb\u202e\udcff\r\n") == "a\\u001b[2Jb\\u202e\\udcff\\u000d\\u000a"


@given(st.text(), st.text(min_size=limits.SECRET_CHARS, max_size=20))
def test_bounded_printable_and_without_the_secret(text: str, secret: str) -> None:
    shown = presentable(text + secret + "." * 10, (secret,))
    assert len(shown) <= limits.TEXT_CHARS
    assert "\x1b" not in shown
    shown.encode()


def test_the_longer_secret_first() -> None:
    assert presentable("x abcdef y", ("abcd", "abcdef")) == "x *** y"


def test_a_secret_across_the_clipping_is_not_half_shown() -> None:
    shown = presentable("x" * (limits.TEXT_CHARS - 4) + "s3cret-canary", ("s3cret-canary",))
    assert "s3cr" not in shown


@pytest.mark.parametrize(
    ("word", "secret"),
    [
        ("=password=abcd", True),
        ("=ipsec-secret=abcd", True),
        ("=wpa2-pre-shared-key=abcd", True),
        ("=private-key=abcd", True),
        ("=wpa-psk=abcd", True),
        ("=passphrase=abcd", True),
        ("=name=abcd", False),
        ("=comment=password=abcd", False),
        ("?password=abcd", True),
        ("?>password=abcd", True),
        ("/ppp/secret/set", False),
    ],
)
def test_secrets_are_known_by_the_names_of_their_properties(word: str, secret: bool) -> None:
    assert bool(secrets_of(["/x", word])) is secret
