"""A router's version text, and which recorded table serves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.menus import menus
from agent.connectors.routeros.versions import RECORDED, MalformedVersionError, Version, known, table_of

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


@pytest.mark.parametrize(
    ("text", "table", "is_known"),
    [
        ("6.49.18", "6.49.18", True),
        ("6.49.2", "6.49.18", True),
        ("6.48.6", "6.49.18", False),
        ("6.50", "6.49.18", False),
        ("5.26", "6.49.18", False),
        ("7.1", "7.15.3", False),
        ("7.14.3", "7.15.3", False),
        ("7.15", "7.15.3", True),
        ("7.15.9", "7.15.3", True),
        ("7.19.6", "7.15.3", True),
        ("7.20", "7.20.8", True),
        ("7.23.1", "7.20.8", True),
        ("7.24", "7.24", True),
        ("7.24.4", "7.24", True),
        ("7.25", "7.24", False),
        ("8.1", "7.24", False),
    ],
)
def test_a_version_is_served_by_the_nearest_table_below(text: str, table: str, is_known: bool) -> None:
    version = Version.parse_untrusted(text)
    assert (str(table_of(version)), known(version)) == (table, is_known)


@given(versions)
def test_every_version_has_a_table_that_can_be_loaded(version: Version) -> None:
    assert table_of(version) in RECORDED
    assert "/ppp/secret" in menus(version)


@given(versions)
def test_a_known_version_is_not_served_by_a_table_of_a_later_line(version: Version) -> None:
    if known(version):
        table = table_of(version)
        assert table.major == version.major
        assert table.minor <= version.minor
