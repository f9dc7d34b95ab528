"""A router's version text, and which recorded table serves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.menus import menus, unshown
from agent.connectors.routeros.versions import (
    RECORDED,
    MalformedVersionError,
    Version,
    known,
    not_known_text,
    served,
    table_above,
    table_of,
)

versions = st.builds(Version, st.integers(0, 9), st.integers(0, 60), st.integers(0, 30))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("7.20.8 (stable)", Version(7, 20, 8)),
        ("6.49.18 (long-term)", Version(6, 49, 18)),
        ("7.15", Version(7, 15)),
        ("7.21beta3 (testing)", Version(7, 21)),
        ("7.16rc4 (testing)", Version(7, 16)),
        ("7.19_ab386 (development)", Version(7, 19)),
        ("6.48.6", Version(6, 48, 6)),
        ("7.24.4 (stable)", Version(7, 24, 4)),
    ],
)
def test_what_routers_say_is_read(text: str, version: Version) -> None:
    assert Version.parse_untrusted(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "7.",
        "7.20.8.1",
        " 7.20",
        "7.20 ",
        "7.20\n",
        "v7.20",
        "7.٢٠",
        "7.20 stable",
        "7.20 ()",
        "7.20beta",
        "9" * 99,
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(MalformedVersionError, match=r"expected a version such as 7\.20\.8"):
        Version.parse_untrusted(text)


def test_a_long_answer_is_not_repeated_whole() -> None:
    with pytest.raises(MalformedVersionError) as caught:
        Version.parse_untrusted("x" * 100_000)
    assert len(str(caught.value)) < 200


@given(st.one_of(st.text(), st.text("0123456789.betarc_ ()-")))
def test_any_text_is_a_version_or_refused(text: str) -> None:
    try:
        found = Version.parse_untrusted(text)
    except MalformedVersionError:
        return
    assert int(text.partition(".")[0]) == found.major


@given(versions)
def test_a_version_is_read_as_it_is_written(version: Version) -> None:
    assert Version.parse_untrusted(str(version)) == version


@given(versions, versions)
def test_releases_are_ordered_by_number(one: Version, other: Version) -> None:
    assert (one < other) == ((one.major, one.minor, one.patch) < (other.major, other.minor, other.patch))


@pytest.mark.assumed("routeros-version-between")
@pytest.mark.parametrize(
    ("text", "table", "is_known", "is_served"),
    [
        ("6.49.18", "6.49.18", True, True),
        ("6.49.2", "6.49.18", True, True),
        ("6.48.6", "6.49.18", False, True),
        ("6.43", "6.49.18", False, True),
        ("6.42.12", "6.49.18", False, False),
        ("6.50", "6.49.18", False, True),
        ("5.26", "6.49.18", False, False),
        ("7.1", "7.15.3", False, True),
        ("7.14.3", "7.15.3", False, True),
        ("7.15", "7.15.3", True, True),
        ("7.15.9", "7.15.3", True, True),
        ("7.17", "7.15.3", False, True),
        ("7.19.6", "7.15.3", False, True),
        ("7.20", "7.20.8", True, True),
        ("7.23.1", "7.20.8", False, True),
        ("7.24", "7.24", True, True),
        ("7.24.4", "7.24", True, True),
        ("7.26", "7.24", False, True),
        ("8.1", "7.24", False, True),
    ],
)
def test_a_version_is_served_by_the_nearest_table_below(text: str, table: str, is_known: bool, is_served: bool) -> None:
    version = Version.parse_untrusted(text)
    assert (str(table_of(version)), known(version), served(version)) == (table, is_known, is_served)


@pytest.mark.assumed("routeros-version-between")
def test_an_unknown_version_has_only_shown_properties_written() -> None:
    row = {"name": "amina.h", "profile": "home20"}
    words = ["=profile=suspended", "=comment=x", "=!routes="]
    assert unshown("/ppp/secret", Version(7, 20, 8), row, words) == ()
    for version in (Version(7, 26), Version(7, 14), Version(8, 1)):
        assert unshown("/ppp/secret", version, row, words) == ("routes",)
    # What was there before and is there after was there in between
    assert unshown("/ppp/secret", Version(7, 17), row, [*words, "=of-the-future=x"]) == ("of-the-future",)
    assert not_known_text(Version(7, 26)) == "RouterOS 7.26 is not known here (its menus are read as those of 7.24)"


@pytest.mark.parametrize(
    ("text", "above"),
    [
        ("7.17", "7.20.8"),
        ("7.23.1", "7.24"),
        ("7.20", None),
        ("7.26", None),
        ("7.14", None),
        ("6.50", None),
        ("8.1", None),
    ],
)
def test_the_table_above_is_of_what_lies_between_two(text: str, above: str | None) -> None:
    found = table_above(Version.parse_untrusted(text))
    assert (None if found is None else str(found)) == above


@pytest.mark.assumed("routeros-version-between")
@given(versions)
def test_what_is_known_is_served(version: Version) -> None:
    assert served(version) or not known(version)


@given(versions)
def test_every_version_has_a_table_that_can_be_loaded(version: Version) -> None:
    assert table_of(version) in RECORDED
    assert "/ppp/secret" in menus(version)


@given(versions)
def test_known_version_is_not_served_by_table_of_later_line(version: Version) -> None:
    if known(version):
        table = table_of(version)
        assert table.major == version.major
        assert table.minor <= version.minor
