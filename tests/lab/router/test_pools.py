"""Addresses out of pools: in turn, over ranges and following pools, until none is left."""

from __future__ import annotations

import pytest

from lab.router.pools import Pools
from tests.lab.router.routers import bench


def pools_of(**pools: tuple[str, str]) -> Pools:
    r = bench().router
    for name, (ranges, following) in pools.items():
        r.store.add("/ip/pool", {"name": name, "ranges": ranges, "next-pool": following}, lenient=True)
    return Pools(r.store)


def test_every_address_once_then_those_that_follow():
    pools = pools_of(a=("10.0.0.1-10.0.0.2,10.0.0.8/31", "b"), b=("10.1.0.1", "a"))
    taken: set[str] = set()
    while address := pools.take("a", taken.__contains__):
        assert pools.holds("a", address)
        taken.add(address)
    assert sorted(taken) == ["10.0.0.1", "10.0.0.2", "10.0.0.8", "10.0.0.9", "10.1.0.1"]


def test_the_one_after_the_last_until_a_restart():
    pools = pools_of(a=("10.0.0.1-10.0.0.3", "none"))
    given = [pools.take("a", lambda _: False) for _ in range(4)]
    assert given == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]
    pools.forget()
    assert pools.take("a", lambda _: False) == "10.0.0.1"


@pytest.mark.parametrize("name", ["", "none", "nowhere", "bad"])
def test_no_such_pool(name):
    pools = pools_of(bad=("words", "none"))
    assert pools.take(name, lambda _: False) == ""
    assert not pools.holds(name, "10.0.0.1")
