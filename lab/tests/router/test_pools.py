"""Addresses out of pools: in turn, over ranges and following pools, until none is left."""

from __future__ import annotations

import pytest

from lab.router.pools import Pools
from lab.tests.router.routers import bench


def pools_of(**pools: tuple[str, str]) -> Pools:
    r = bench().router
    for name, (ranges, following) in pools.items():
        r.store.add("/ip/pool", {"name": name, "ranges": ranges, "next-pool": following}, lenient=True)
    return Pools(r.store)


def test_every_address_once_then_those_that_follow():
    pools = pools_of(a=("10.0.0.1-10.0.0.2,10.0.0.8/31", "b"), b=("10.1.0.1", "a"))
    taken: set[str] = set()
    while address := pools.take("a", taken.__contains__, f"ppp {len(taken)}"):
        assert pools.holds("a", address)
        taken.add(address)
    assert sorted(taken) == ["10.0.0.1", "10.0.0.2", "10.0.0.8", "10.0.0.9", "10.1.0.1"]


def test_the_one_after_the_last_until_a_restart():
    pools = pools_of(a=("10.0.0.1-10.0.0.3", "none"))
    given = [pools.take("a", lambda _: False, f"ppp {n}") for n in range(4)]
    assert given == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]
    pools.forget()
    assert pools.take("a", lambda _: False, "ppp 3") == "10.0.0.1"


def test_an_owner_gets_its_address_again_unless_somebody_has_it():
    pools = pools_of(a=("10.0.0.1-10.0.0.2,10.0.0.8", "b"), b=("10.1.0.1", "none"))
    assert pools.take("a", set().__contains__, "ppp one") == "10.0.0.1"
    assert pools.take("a", {"10.0.0.1"}.__contains__, "ppp two") == "10.0.0.2"
    assert pools.take("a", set().__contains__, "ppp one") == "10.0.0.1"
    assert pools.take("a", {"10.0.0.1"}.__contains__, "ppp one") == "10.0.0.8"
    assert pools.take("a", set().__contains__, "ppp one") == "10.0.0.8"
    assert pools.take("a", {"10.0.0.1", "10.0.0.2", "10.0.0.8"}.__contains__, "ppp one") == "10.1.0.1"
    assert pools.take("a", set().__contains__, "ppp one") == "10.1.0.1"  # of the pool that follows, as well


@pytest.mark.parametrize("name", ["", "none", "nowhere", "bad"])
def test_no_such_pool(name):
    pools = pools_of(bad=("words", "none"))
    assert pools.take(name, lambda _: False, "ppp one") == ""
    assert not pools.holds(name, "10.0.0.1")
