"""Recipes over generated rows on the lab's router: what was applied needs nothing more, and a restore undoes it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connectors.base import AccessPlan, Session
from agent.connectors.routeros.comment_marker import marked
from agent.model import Absent, Access, Effect, Value
from lab.router.device import Router
from tests.agent.connectors.conformance import Lab, plan_for, ticket
from tests.agent.connectors.router_labs import LEASES, RouterLab, dhcp_lab, hotspot_lab

VERSIONS = ["7.15.3", "7.20.8", "7.24"]
Row = Mapping[str, str]

_comments = st.one_of(
    st.just(""),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20),
    st.sampled_from(["isp:suspended", "call isp:suspended first", "0772 123 ", '"quoted", \\ and =', "x" * 4090]),
)
_leases = st.fixed_dictionaries(
    {
        "rate_limit": st.sampled_from(["20M/20M", "20M", "20000k/20M", "20000000/20000000"]),
        "address_lists": st.lists(st.sampled_from(["shops", "a", "suspended2", "vip"]), unique=True).map(",".join),
        "comment": _comments,
    },
    optional={
        "lease_time": st.sampled_from(["1d", "00:30:00", "0s"]),
        "client_id": st.just("1:2:0:0:0:aa:2"),
        "always_broadcast": st.sampled_from(["yes", "no"]),
        "block_access": st.just("no"),
    },
)
_users = st.fixed_dictionaries(
    {"comment": _comments},
    optional={
        "limit_uptime": st.sampled_from(["1d", "30:00:00", "0s"]),
        "limit_bytes_total": st.sampled_from(["0", "1000000000"]),
        "mac_address": st.sampled_from(["02:00:00:00:00:09", "00:00:00:00:00:00"]),
        "address": st.sampled_from(["10.5.50.9", "0.0.0.0"]),
        "email": st.just("bob@example.net"),
        "server": st.sampled_from(["all", "hs1"]),
    },
)


async def write(lab: Lab, session: Session, access: Access) -> tuple[Value, Value]:
    """Write what a plan says; return what the row read before and after, as planned and as read."""
    plan: AccessPlan = await plan_for(lab, session, lab.offline, access)
    (step,) = [s for s in plan.steps if not isinstance(s.do, Effect)]
    assert isinstance(step.do, tuple)
    (done,) = step.do
    assert (await session.send(ticket(step.do, step))).accepted
    assert (await session.read([done.address]))[done.address].value == done.after
    again = await plan_for(lab, session, lab.offline, access)
    assert not [s for s in again.steps if not isinstance(s.do, Effect)]
    return done.before.value, done.after


async def there_and_back(lab: Lab) -> None:
    async with lab.session() as session:
        before, suspended = await write(lab, session, Access.SUSPENDED)
        was, restored = await write(lab, session, Access.ACTIVE)
        assert not isinstance(before, Absent)
        assert was == suspended
        assert restored == marked(before, suspended=False), "a mark of ours that stood there before goes as well"


def check(
    lab_of: Callable[[str], AbstractAsyncContextManager[Lab]], version: str, prepare: Callable[[Router], None]
) -> None:
    async def run() -> None:
        async with lab_of(version) as lab:
            assert isinstance(lab, RouterLab)
            prepare(lab.router)
            with trio.fail_after(60):
                await there_and_back(lab)

    trio.run(run)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=15, deadline=None)
@given(row=_leases)
def test_leases(version: str, row: Row) -> None:
    def prepare(router: Router) -> None:
        (own,) = [r for r in router.rows("/ip/dhcp-server/lease") if r["mac-address"] == LEASES["bob"]]
        router.set("/ip/dhcp-server/lease", own[".id"], **row)

    check(dhcp_lab, version, prepare)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=15, deadline=None)
@given(row=_users)
def test_users(version: str, row: Row) -> None:
    check(hotspot_lab, version, lambda router: router.set("/ip/hotspot/user", "bob", **row))
