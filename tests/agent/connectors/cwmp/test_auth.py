from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp import auth, limits
from agent.connectors.cwmp.auth import Authentication
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedAuthError


def test_several_challenges_in_one_field() -> None:
    header = 'Digest realm="a, b", qop="auth,auth-int", nonce=abc==, Basic realm="c \\"d\\"" ,, Negotiate, Own QUJD=='
    assert auth.read_untrusted(header) == (
        Authentication("digest", "", {"realm": "a, b", "qop": "auth,auth-int", "nonce": "abc=="}),
        Authentication("basic", "", {"realm": 'c "d"'}),
        Authentication("negotiate", "", {}),
        Authentication("own", "QUJD==", {}),
    )


@pytest.mark.parametrize("padding", ["dXNlcjpwYXNz", "dXNlcjpwYXNzdw==", "dXNlcjpwYXNzd28="])
def test_basic_with_any_padding(padding: str) -> None:
    user, password = auth.basic_of_untrusted(auth.read_untrusted(f"basic {padding}")[0])
    assert user == "user"
    assert password.startswith("pass")


def test_what_must_not_be_quoted_may_be() -> None:
    got = auth.read_untrusted('DIGEST NC="00000001" , Algorithm = "MD5",qop=auth , opaque=""')[0]
    assert got.parameters == {"nc": "00000001", "algorithm": "MD5", "qop": "auth", "opaque": ""}


@pytest.mark.parametrize(
    "header",
    ["", ",,", 'Digest realm="a\r\nb"', "Basic QUJD\x00", '"', "=", 'Digest realm="a', "Digest a=b c=d",
     "Digest a=1, a=2", "Digest @", "x" * 8193, "Digest " + ",".join(f"a{n}=1" for n in range(40)),
     ",".join(["A"] * 9)],
)  # fmt: skip
def test_what_is_none(header: str) -> None:
    with pytest.raises(MalformedAuthError):
        auth.read_untrusted(header)


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic QUJD", "Basic QUJDR", 'Basic realm="x"', "Digest QUJD"])
def test_what_is_no_basic(header: str) -> None:
    with pytest.raises(MalformedAuthError):
        auth.basic_of_untrusted(auth.read_untrusted(header)[0])


def test_basic_of_old_is_iso_8859_1() -> None:
    assert auth.basic_of_untrusted(Authentication("basic", "6TrpOuk=", {})) == ("é", "é:é")


@given(
    st.text(st.characters(exclude_characters=":", exclude_categories=("Cs",))),
    st.text(st.characters(exclude_categories=("Cs",))),
)
def test_basic_there_and_back(user: str, password: str) -> None:
    header = auth.basic_credentials(user, password)
    assert auth.basic_of_untrusted(auth.read_untrusted(header)[0]) == (user, password)


def test_a_user_with_a_colon_has_no_basic() -> None:
    with pytest.raises(LocalCwmpError):
        auth.basic_credentials("a:b", "c")


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30))
def test_a_quoted_string_is_read_as_it_was(text: str) -> None:
    header = f"Digest a={auth.quoted(text)}"
    assert auth.read_untrusted(header)[0].parameters == {"a": text}


def test_no_control_character_goes_out() -> None:
    with pytest.raises(LocalCwmpError):
        auth.quoted("a\r\nSet-Cookie: x")


@given(st.text(max_size=200) | st.text('Digestbasic ="\\,a1/ \t', max_size=200))
def test_any_text_is_read_or_refused(header: str) -> None:
    try:
        found = auth.read_untrusted(header)
    except MalformedAuthError:
        return
    assert 0 < len(found) <= limits.CHALLENGES


def test_credentials_are_not_shown() -> None:
    assert "QUJD" not in repr(auth.read_untrusted("Basic QUJD"))
