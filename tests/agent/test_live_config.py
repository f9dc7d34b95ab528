"""A reload takes a file whole or not at all, and says why it was not taken."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from agent.config import load
from agent.live_config import LiveConfig

GOOD = """
[agent]
name = "noc-1"
[people]
1001 = "maria"
[policy]
pace = 2
[radius.main]
database = "postgresql"
secret = "radius/main"
[method.pppoe]
target = "radius/main"
[method.pppoe.suspended_reply]
Mikrotik-Address-List = "suspended"
"""


class Reloaded:
    def __init__(self, path: Path) -> None:
        self.path, self.told = path, list[str]()
        path.write_text(GOOD)
        self.live = LiveConfig(load(path), self.told.append)
        self.people = self.live.people

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.live.reload()


@pytest.fixture
def reloaded(tmp_path: Path) -> Reloaded:
    return Reloaded(tmp_path / "agent.toml")


def test_people_and_policy_take_effect_at_once(reloaded: Reloaded) -> None:
    before = reloaded.live.current.config_sha256
    reloaded.write(GOOD.replace('1001 = "maria"', '1002 = "lena"').replace("pace = 2", "pace = 9"))
    assert reloaded.told == [""]
    assert reloaded.people == {1002: "lena"}, "the view that others hold follows"
    assert reloaded.live.current.policy.pace == 9
    assert reloaded.live.current.config_sha256 != before


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[policy]", "[polcy]", "polcy"),
        ("pace = 2", "pace = 0", "policy.pace"),
        ("pace = 2", "pace = ", "expected TOML in UTF-8"),
        ('name = "noc-1"', 'name = "noc-2"', "agent.name, agent.origin changed, which needs a restart"),
        ('secret = "radius/main"', 'host = "10.0.0.9"\nsecret = "radius/main"', "a section of radius changed"),
        ("[people]", "[cloud]\ncheckpoint_s = 7\n[people]", "cloud changed, which needs a restart"),
        ("[people]", '[billing]\nfile = "x.csv"\n[people]', "billing changed, which needs a restart"),
    ],
)
def test_what_cannot_be_taken_leaves_everything_as_it_was(
    old: str, new: str, says: str, reloaded: Reloaded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = reloaded.live.current
    broken = GOOD.replace('1001 = "maria"', '1002 = "lena"').replace(old, new)
    assert broken != GOOD
    reloaded.write(broken)
    assert len(reloaded.told) == 1
    assert says in reloaded.told[0]
    assert reloaded.live.current is before
    assert reloaded.people == {1001: "maria"}, "nothing of it was taken"
    assert [r.getMessage() for r in caplog.records] == ["the configuration stays as it was"]
    reloaded.write(GOOD)
    assert reloaded.told[1:] == [""]


def test_a_file_that_is_gone(reloaded: Reloaded) -> None:
    reloaded.path.unlink()
    reloaded.live.reload()
    assert "cannot be read: No such file or directory" in reloaded.told[0]


def test_own_profiles_are_read_again(tmp_path: Path) -> None:
    """By SIGHUP, twice; a mistake leaves those in force that were read last, and says file and line."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    path, told = tmp_path / "agent.toml", list[str]()
    path.write_text(GOOD + '[cwmp]\nown_profiles = "profiles"\n')
    config = load(path)
    live = LiveConfig(config, told.append)
    (running,) = (c.config for c in config.connectors if c.spec.name == "cwmp")

    def of_model() -> tuple[str, int]:
        found = running.profiles.of("202BC1", "BM632w", "", "InternetGatewayDevice.")
        return found.name, found.names_batch

    assert of_model() == ("tr098", 0)
    text = 'extends = "tr098"\nmatch.product_class = ["BM632w"]\nquirks.names_batch = '
    for batch in (4, 5):
        (folder / "ours.toml").write_text(f"{text}{batch}\n")
        live.reload()
        assert of_model() == ("ours", batch)
    (folder / "ours.toml").write_text(f"{text}few\n")
    live.reload()
    assert of_model() == ("ours", 5)
    assert told[:2] == ["", ""]
    assert "cwmp.own_profiles: profile ours.toml, line 3: expected TOML" in told[2]
