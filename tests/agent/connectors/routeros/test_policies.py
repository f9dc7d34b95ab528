"""What a user may do on a router, against what it must."""

from __future__ import annotations

import pytest

from agent.connectors.routeros.policies import NEEDED, Rights, missing, missing_text, rights_of, superfluous
from agent.connectors.routeros.schema import Use

# As RouterOS prints its own group `read`, 7.x
READ_GROUP = (
    "local,telnet,ssh,reboot,read,test,winbox,password,web,sniff,sensitive,api,romon,rest-api,!ftp,!write,!policy"
)
GROUPS = [{"name": "read", "policy": READ_GROUP}, {"name": "ours", "policy": "read,write,api,!ftp"}]


def test_policies_are_those_of_the_users_group() -> None:
    rights = rights_of(
        "ispagents", [{"name": "admin", "group": "read"}, {"name": "ispagents", "group": "ours"}], GROUPS, []
    )
    assert rights == Rights("ispagents", "ours", frozenset({"read", "write", "api"}))


def test_a_user_whom_radius_let_in_is_known_by_its_session() -> None:
    rights = rights_of("ispagents", [], GROUPS, [{"name": "ispagents", "group": "ours", "via": "api"}])
    assert rights.policies == NEEDED[Use.SERVICE]


@pytest.mark.parametrize(
    ("users", "groups"),
    [([], GROUPS), ([{"name": "ispagents", "group": "gone"}], GROUPS), ([{"name": "ispagents", "group": "ours"}], [])],
)
def test_what_the_router_does_not_say_is_not_known(users: list[dict[str, str]], groups: list[dict[str, str]]) -> None:
    rights = rights_of("ispagents", users, groups, [])
    assert rights.policies is None
    assert (missing(Use.SERVICE, rights), superfluous(Use.SERVICE, rights)) == ((), ())


@pytest.mark.parametrize(
    ("use", "held", "lacks", "more"),
    [
        (Use.READ, "read,api", (), ()),
        (Use.READ, "read,write,api", (), ("write",)),
        (Use.SERVICE, "read,api", ("write",), ()),
        (Use.SERVICE, "write,api", ("read",), ()),
        (Use.SERVICE, "read,write,api,policy,test", (), ("policy", "test")),
        (Use.CONFIG, "read,write,api,test", (), ()),
        (Use.CONFIG, "read,write,api,policy", (), ("policy",)),
        (Use.CONFIG, "read,api", ("write",), ()),
    ],
)
def test_too_little_and_too_much(use: Use, held: str, lacks: tuple[str, ...], more: tuple[str, ...]) -> None:
    rights = Rights("u", "g", frozenset(held.split(",")))
    assert (missing(use, rights), superfluous(use, rights)) == (lacks, more)


def test_a_groups_name_does_not_act_on_the_terminal() -> None:
    name = "\x1b[2Jgroup"
    rights = rights_of("u", [{"name": "u", "group": name}], [{"name": name, "policy": "read"}], [])
    assert "\x1b" not in rights.group
    assert rights.policies == {"read"}


def test_what_is_missing_is_said_with_user_and_group() -> None:
    text = missing_text(Use.SERVICE, Rights("isp", "viewers", frozenset({"read", "api"})))
    assert text == "user isp (group viewers) lacks policy write, which a service change needs"
