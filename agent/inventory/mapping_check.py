"""Services that the configuration cannot serve, found before anybody asks for a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.model import Service


@dataclass(frozen=True, slots=True)
class AccessMap:
    """An access method as the inventory sees it: who decides it, and for which tariffs.

    `same`: brings a login to the one spelling in which the target compares it, as where that ignores case.
    """

    name: str
    target: str
    tariffs: frozenset[str]
    same: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class SharedLogin:
    """One login of one target that several services claim: whose session it is, nobody can say."""

    target: str
    login: str
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MappingReport:
    """Refs of services by what is missing. A service stands in one of the first three; any may share a login."""

    mapped: tuple[str, ...]
    no_method: tuple[str, ...]
    no_tariff: tuple[str, ...]
    shared_logins: tuple[SharedLogin, ...]

    @property
    def complete(self) -> bool:
        """Whether every service can be served."""
        return not (self.no_method or self.no_tariff or self.shared_logins)


def check(services: Iterable[Service], access: Iterable[AccessMap]) -> MappingReport:
    """Return which services have a method and tariff in the configuration and a login of their own.

    Logins are compared as the target compares them: MariaDB ignores case, and a MAC address has many spellings.
    """
    methods = {method.name: method for method in access}
    mapped: list[str] = []
    no_method: list[str] = []
    no_tariff: list[str] = []
    logins: dict[tuple[str, str], list[Service]] = {}
    for service in services:
        method = methods.get(service.method)
        if method is None:
            no_method.append(service.ref)
            continue
        (mapped if service.tariff in method.tariffs else no_tariff).append(service.ref)
        logins.setdefault((method.target, method.same(service.login)), []).append(service)
    shared = tuple(
        SharedLogin(target, found[0].login, tuple(s.ref for s in found))
        for (target, _), found in logins.items()
        if len(found) > 1
    )
    return MappingReport(tuple(mapped), tuple(no_method), tuple(no_tariff), shared)
