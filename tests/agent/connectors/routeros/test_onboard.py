"""What a router's administrator pastes: every property exists, nothing needs quoting, it may no more than needed."""

from __future__ import annotations

import re

import pytest

from agent.connectors.routeros.menus import menu
from agent.connectors.routeros.onboard import OnboardLine, look_lines, policies, service_lines, user_lines
from agent.connectors.routeros.policies import NEEDED
from agent.connectors.routeros.schema import Use
from agent.connectors.routeros.versions import RECORDED, Version
from lab.router.device import Router

PASSWORD = "abcDEF_123-456789012345"


def lines(agent_address: str = "") -> list[OnboardLine]:
    users = [line for use in Use for line in user_lines(use, PASSWORD, agent_address)]
    return [*service_lines("edge-1", agent_address), *users, *look_lines()]


@pytest.mark.parametrize("version", [v for v in RECORDED if v.major == 7], ids=str)  # of 6.49 not all is recorded
def test_every_property_can_be_written_on_every_version(version: Version) -> None:
    for line in lines("10.9.0.5/32"):
        if line.command in ("add", "set"):
            for name, _ in line.properties:
                if name:
                    menu(line.menu, version).writable(name)


def test_lines_are_pasted_as_they_are() -> None:
    texts = [str(line) for line in lines("10.9.0.5/32")]
    assert texts[2:] == [
        "/ip/service set api-ssl certificate=ispagents disabled=no address=10.9.0.5/32",
        "/user/group add name=ispagents-read policy=read,api",
        f"/user add name=ispagents-read group=ispagents-read password={PASSWORD} address=10.9.0.5/32",
        "/user/group add name=ispagents policy=read,write,api",
        f"/user add name=ispagents group=ispagents password={PASSWORD} address=10.9.0.5/32",
        "/user/group add name=ispagents-config policy=read,write,api",
        f"/user add name=ispagents-config group=ispagents-config password={PASSWORD} address=10.9.0.5/32",
        "/certificate print detail where name=ispagents",
        "/system/license print",
    ]
    for text in texts:
        assert re.fullmatch(r"/[a-z/-]+ [a-z]+( [A-Za-z0-9_./,:=-]+)*", text)
    assert not any("address=" in str(line) for line in lines())


@pytest.mark.parametrize("use", Use)
def test_it_may_no_more_than_it_must(use: Use) -> None:
    assert set(policies(use)) == NEEDED[use]


@pytest.mark.parametrize("use", Use)
def test_a_router_takes_the_users(use: Use) -> None:
    router = Router()
    for line in user_lines(use, PASSWORD, "10.9.0.5/32"):
        router.add(line.menu, **{name.replace("-", "_"): value for name, value in line.properties})
    user = router.user(dict(user_lines(use, PASSWORD)[1].properties)["name"])
    assert user is not None
    assert user.policies == NEEDED[use]


@pytest.mark.parametrize(
    "password", ["short", "with space but long enough", 'quote"quote"quote', "line\nline-line-line", ""]
)
def test_a_password_that_the_terminal_would_read_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="expected a password"):
        user_lines(Use.SERVICE, password)
