"""Services that cannot be served are found before anybody asks."""

from __future__ import annotations

from agent.inventory.mapping_check import AccessMap, SharedLogin, check
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
