"""An operator's own profiles: which one counts, and each mistake with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cpe_model.profiles import ProfileBook
from agent.profile_folder import read_folder

IGD = "InternetGatewayDevice."
BM632W = """extends = "tr098"
[match]
product_class = ["BM632w"]
[quirks]
get_by_path = false
"""


def book(folder: Path, **texts: str) -> ProfileBook:
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    entries, problems = read_folder(folder)
    assert problems == ()
    return ProfileBook(entries)


def test_d5_five_lines_make_a_bm632w_readable(tmp_path: Path) -> None:
    """The five lines of the finding, without touching the package."""
    made = book(tmp_path, bm632w=BM632W)
    own, other = made.of("202BC1", "BM632w", "V1", IGD), made.of("202BC1", "BM633", "V1", IGD)
    assert (own.name, own.get_by_path) == ("bm632w", False)
    assert (other.name, other.get_by_path) == ("tr098", True)


def test_an_own_profile_goes_before_a_better_shipped_match(tmp_path: Path) -> None:
    """Precedence."""
    prefix = 'extends = "huawei-hg8245"\n[match]\noui = ["00259E"]\n[quirks]\nnames_batch = 3\n'
    exact = 'extends = "ours"\n[match]\nproduct_class = ["HG8245H"]\n'
    exact += '[places]\n"wifi.2" = "LANDevice.1.WLANConfiguration.6."\n'
    made = book(tmp_path, ours=prefix, exact=exact)
    assert made.of("00259E", "HG8245Q", "", IGD).name == "ours"
    best = made.of("00259E", "HG8245H", "", IGD)
    assert (best.name, best.names_batch) == ("exact", 3)
    assert best.fixed["wifi.2"] == f"{IGD}LANDevice.1.WLANConfiguration.6."
    assert best.download_reports.value == "never"  # the shipped one's, which "ours" extends


def test_profiles_that_are_read_again_count_at_once(tmp_path: Path) -> None:
    made = book(tmp_path)
    assert made.of("", "BM632w", "", IGD).name == "tr098"
    made.take(book(tmp_path, bm632w=BM632W).own)
    assert made.of("", "BM632w", "", IGD).name == "bm632w"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a",
            BM632W + "names_batch = -1\n",
            "profile a.toml, line 6: quirks.names_batch: expected a whole number from 0",
        ),
        ("a", BM632W + "reboots = 1\n", "profile a.toml, line 6: quirks.reboots: expected one of boolean, "),
        ("a", BM632W + "[quirks]\n", "profile a.toml, line 6: expected TOML: "),
        ("a", BM632W + '[places]\n"wans" = "X."\n', "profile a.toml, line 7: places.wans: expected one of dsl, "),
        (
            "a",
            BM632W + '[places]\n"wan" = "X"\n',
            "profile a.toml, line 7: places.wan: expected a path that ends in a dot",
        ),
        (
            "a",
            BM632W + '[parameters]\n"x" = { at = "wifi.{n}", path = "X", kind = "string" }\n',
            "profile a.toml, line 7: parameters.x.at: expected one of dsl, ",
        ),
        ("a", BM632W.replace("tr098", "tr099"), "profile a.toml, line 1: extends: expected one of 'a', 'draytek"),
        ("a", 'root = "Device."\n', "profile a.toml: expected extends = one of the profiles that are shipped"),
        ("tr098", BM632W, "profile tr098.toml: expected a file name that no shipped profile has, got 'tr098.toml'"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_was_expected(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    """The file is left out, and the others are read."""
    (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    (tmp_path / "good.toml").write_text(BM632W, encoding="utf-8")
    entries, (problem,) = read_folder(tmp_path)
    assert problem.startswith(said)
    assert [entry.profile.name for entry in entries] == ["good"]


def test_what_is_no_folder_of_texts_is_told(tmp_path: Path) -> None:
    _, (gone,) = read_folder(tmp_path / "gone")
    assert gone == f"expected a folder of profiles, got {tmp_path / 'gone'}: No such file or directory"
    (tmp_path / "a.toml").write_bytes(b'extends = "\xff"')
    (tmp_path / "b.toml").write_bytes(b"#" * (257 * 1024))
    (tmp_path / "c.toml").mkdir()
    (tmp_path / "notes.txt").write_text("not a profile")
    entries, problems = read_folder(tmp_path)
    assert entries == ()
    assert [problem.partition(": ")[2] for problem in problems] == [
        "expected UTF-8, got another byte at 11",
        "expected at most 262144 bytes",
        "expected a file that can be read: Is a directory",
    ]
