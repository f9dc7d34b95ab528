"""Services that cannot be served are found before anybody asks."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from agent.connectors.spec import AccessMap
from agent.inventory.mapping_check import LoginOf, SharedLogin, check, sharing
from agent.model import Service

TARIFFS = frozenset({"Home 20M"})


def access(*, folds: bool = False) -> tuple[AccessMap, ...]:
    return AccessMap("pppoe", "radius/main", TARIFFS, str.casefold if folds else str), AccessMap(
        "hotspot", "radius/wifi", TARIFFS
    )


def service(n: int, login: str, method: str = "pppoe", tariff: str = "Home 20M") -> Service:
    return Service(f"C-{n}/home", f"C-{n}", "Amina", "home", login, method, tariff)


def test_what_is_missing() -> None:
    services = [
        service(1, "a"),
        service(2, "b", method="dhcp"),
        service(3, "c", method=""),
        service(4, "d", tariff="X"),
    ]
    report = check(services, access())
    assert report.mapped == ("C-1/home",)
    assert report.no_method == ("C-2/home", "C-3/home")
    assert report.no_tariff == ("C-4/home",)
    assert report.shared_logins == ()
    assert not report.complete
    assert check(services[:1], access()).complete


def test_a_login_that_two_services_claim() -> None:
    services = [service(1, "a"), service(2, "a"), service(3, "a", method="hotspot"), service(4, "a", method="dhcp")]
    report = check(services, access())
    assert report.shared_logins == (SharedLogin("radius/main", "a", ("C-1/home", "C-2/home")),)
    assert not report.complete


def test_a_target_may_ignore_case() -> None:
    services = [service(1, "Amina"), service(2, "amina")]
    assert check(services, access()).shared_logins == ()
    assert check(services, access(folds=True)).shared_logins == (
        SharedLogin("radius/main", "Amina", ("C-1/home", "C-2/home")),
    )


def fixed(*logins: str) -> list[SharedLogin]:
    maps = (
        AccessMap("north", "routeros/a", TARIFFS, also_on=("routeros/b",), addressed=True),
        AccessMap("south", "routeros/b", TARIFFS, addressed=True),
        AccessMap("far", "routeros/c", TARIFFS, addressed=True),
    )
    named = [login.partition(" ") for login in logins]
    services = [service(n, login, method=method) for n, (method, _, login) in enumerate(named, start=1)]
    return list(check(services, maps).shared_logins)


def test_addresses_that_two_services_claim() -> None:
    """However each login is written: to suspend one of them would cut the other off."""
    both = ("C-1/home", "C-2/home")
    one = SharedLogin("routeros/b", "192.0.2.7/32", both)
    assert fixed("north 192.0.2.7", "north 192.0.2.7") == [replace(one, target="routeros/a")]  # on both, told once
    assert fixed("north 192.0.2.7", "south 192.0.2.7, 2001:db8:7::/56") == [one]
    assert fixed("south 192.0.2.0/24", "south 192.0.2.7") == [SharedLogin("routeros/b", "192.0.2.0/24", both)]
    assert fixed("south 192.0.2.7,2001:db8:7::1", "south 2001:db8:7::/56") == [
        SharedLogin("routeros/b", "2001:db8:7::/56", both)
    ]
    assert fixed("south 192.0.2.0/24", "south 198.51.100.1", "south 192.0.2.200/29", "south 192.0.2.201") == [
        SharedLogin("routeros/b", "192.0.2.0/24", ("C-1/home", "C-3/home", "C-4/home"))
    ]


def test_addresses_of_their_own() -> None:
    assert fixed("south 192.0.2.7", "south 192.0.2.8", "south 2001:db8:7::/56", "south 2001:db8:8::/56") == []
    assert fixed("north 192.0.2.7", "far 192.0.2.7") == []  # another router's 192.0.2.7
    assert fixed("south 192.0.2.7,192.0.2.7", "south nonsense", "south nonsense", "south ") == []


def test_a_login_that_another_has_on_a_router_that_serves_both() -> None:
    """A method that is also on edge-2 writes the row of that name there, whosever it is."""
    ours = AccessMap("pppoe", "routeros/edge-1", TARIFFS, also_on=("routeros/edge-2", "routeros/edge-3"))
    for theirs in (
        AccessMap("other", "routeros/edge-2", TARIFFS),
        AccessMap("other", "routeros/edge-4", TARIFFS, also_on=("routeros/edge-3", "routeros/edge-2")),
    ):
        services = [service(1, "home1"), service(2, "home1", method="other"), service(3, "home2", method="other")]
        (shared,) = check(services, (ours, theirs)).shared_logins
        assert shared.refs == ("C-1/home", "C-2/home")
    (twice,) = check([service(1, "home1"), service(2, "home1")], (ours,)).shared_logins
    assert twice.target == "routeros/edge-1"


METHODS = (
    *access(folds=True),
    AccessMap("north", "routeros/a", TARIFFS, also_on=("radius/main",)),
    AccessMap("fixed", "routeros/a", TARIFFS, also_on=("routeros/b",), addressed=True),
    AccessMap("south", "routeros/b", TARIFFS, addressed=True),
)
LOGINS = st.sampled_from(["a", "A", "b", "192.0.2.0/24", "192.0.2.7", "192.0.2.8,2001:db8::/32", "2001:db8::1", "::/0"])
PLACES = st.tuples(st.sampled_from([*(m.name for m in METHODS), "dhcp", ""]), LOGINS)


@given(st.lists(PLACES, min_size=1, max_size=6))
@example([("pppoe", "a"), ("north", "A")])
@example([("fixed", "192.0.2.0/24"), ("south", "192.0.2.7"), ("south", "192.0.2.8,2001:db8::/32")])
def test_some_services_and_those_sharing_decide_like_all(places: list[tuple[str, str]]) -> None:
    """A request that names one service reads no others than those."""
    services = [service(n, login, method) for n, (method, login) in enumerate(places)]
    shared = {ref for one in check(services, METHODS).shared_logins for ref in one.refs}
    logins = [LoginOf(s.ref, s.method, s.login) for s in services]
    for one in services:
        beside = sharing([one], logins, METHODS)
        read = [s for s in services if s.ref in {one.ref, *beside}]
        found = {ref for each in check(read, METHODS).shared_logins for ref in each.refs}
        assert (one.ref in found) == (one.ref in shared)
