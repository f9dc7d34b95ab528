"""What a router's administrator pastes: every property exists, nothing needs quoting, it may no more than needed."""

from __future__ import annotations

import re

import pytest

from agent.connectors.routeros.menus import menu
from agent.connectors.routeros.onboard import POLICIES, lines
from agent.connectors.routeros.versions import RECORDED, Version

PASSWORD = "abcDEF_123-456789012345"


@pytest.mark.parametrize("version", [v for v in RECORDED if v.major == 7], ids=str)  # of 6.49 not all is recorded
def test_every_property_can_be_written_on_every_version(version: Version) -> None:
    for line in lines("edge-1", PASSWORD, "10.9.0.5/32"):
        if line.command in ("add", "set"):
            for name, _ in line.properties:
                if name:
                    menu(line.menu, version).writable(name)


def test_lines_are_pasted_as_they_are() -> None:
    texts = [str(line) for line in lines("edge-1", PASSWORD, "10.9.0.5/32")]
    assert texts[2] == "/ip/service set api-ssl certificate=ispagents disabled=no"
    assert texts[3] == "/user/group add name=ispagents policy=read,write,api"
    assert texts[4] == f"/user add name=ispagents group=ispagents password={PASSWORD} address=10.9.0.5/32"
    for text in texts:
        assert re.fullmatch(r"/[a-z/-]+ [a-z]+( [A-Za-z0-9_./,:=-]+)*", text)
    assert not any("address=" in str(line) for line in lines("edge-1", PASSWORD))


def test_it_may_no_more_than_it_must() -> None:
    assert set(POLICIES) == {"read", "write", "api"}


@pytest.mark.parametrize(
    "password", ["short", "with space but long enough", 'quote"quote"quote', "line\nline-line-line", ""]
)
def test_a_password_that_the_terminal_would_read_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="expected a password"):
        lines("edge-1", password)
