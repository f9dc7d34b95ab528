"""The file that names the channel: nothing is guessed, and all that is wrong is told at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.update.channel import BYTES_MOST, FILE, UpdateChannel, load_channel
from agent.update.errors import ChannelConfigError

GOOD = '[update]\nsource = "https://updates.example.net/ispagents"\nchannel = "stable"\n'


def load(folder: Path, text: str) -> UpdateChannel:
    path = folder / "update.toml"
    path.write_text(text, encoding="utf-8")
    return load_channel(path)


def test_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD) == UpdateChannel(
        "https://updates.example.net/ispagents",
        "stable",
        tmp_path / "update-root.json",
        Path("/var/lib/ispagent-update"),
        Path("/var/lib/ispagent-update-applied"),
        tmp_path / "update.toml",
    )
    assert load(tmp_path, GOOD.replace("https://updates.example.net", "/media/usb")).source == "/media/usb/ispagents"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"update\.source: missing; expected a web address .* or the path of a folder"),
        ("[update]\nsource = '/media'\n", r"update\.channel: missing; expected a channel's name"),
        (GOOD.replace("https:", "ftp:"), r"update\.source: expected a web address"),
        (GOOD.replace("https://updates.example.net/ispagents", "media/usb"), r"update\.source: expected a web address"),
        (GOOD.replace('"stable"', '"../stable"'), r"update\.channel: expected a channel's name"),
        (GOOD + "chanel = 1\n", r"update\.chanel: unknown; did you mean channel\?"),
        (GOOD + "[other]\n", r"other: unknown; expected update"),
        ("update = 7\n", r"update: expected a section \[update\], got 7"),
        ("[update\n", r"expected TOML in UTF-8"),
        ("#" * BYTES_MOST + "\n", rf"expected at most {BYTES_MOST} bytes, got more"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ChannelConfigError, match=match):
        load(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ChannelConfigError, match=re.escape(f"{tmp_path / 'none.toml'}: cannot be read: No such file")):
        load_channel(tmp_path / "none.toml")
    assert str(FILE) == "/etc/ispagent/update.toml"
