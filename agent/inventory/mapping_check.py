"""Services that the configuration cannot serve, found before anybody asks for a change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from agent.connectors.spec import AccessMap
from agent.model import Service

_NEW: Final = "\0"
"""Before the ref of a service as it would be, beside the one that is known."""


@dataclass(frozen=True, slots=True)
class SharedLogin:
    """One login of one target that several services claim: nobody can tell the service of its session."""

    target: str
    login: str
    refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MappingReport:
    """Refs of services by the missing part. A service stands in one of the first three; any may share a login."""

    mapped: tuple[str, ...]
    no_method: tuple[str, ...]
    no_tariff: tuple[str, ...]
    shared_logins: tuple[SharedLogin, ...]

    @property
    def complete(self) -> bool:
        """Whether every service can be served."""
        return not (self.no_method or self.no_tariff or self.shared_logins)


class LoginOf(NamedTuple):
    """The login of a service, and the access method that says how logins are compared."""

    ref: str
    method: str
    login: str


def sharing(services: Iterable[Service], logins: Iterable[LoginOf], access: Iterable[AccessMap]) -> set[str]:
    """Return the refs of all services that share a login with one of `services`, these included, as `check` finds them.

    Args:
        services: some, which the configuration may be unable to serve.
        logins: of all services.
        access: the access methods that the configuration declares.
    """
    methods = {method.name: method for method in access}
    named: set[tuple[str, str]] = set()
    addressed: dict[str, list[IPv4Network | IPv6Network]] = {}
    for service in services:
        if (method := methods.get(service.method)) is not None:
            for target in (method.target, *method.also_on):
                if method.addressed:
                    addressed.setdefault(target, []).extend(networks(service.login))
                else:
                    named.add((target, method.same(service.login)))

    def shares(one: LoginOf) -> bool:
        if (method := methods.get(one.method)) is None:
            return False
        targets = (method.target, *method.also_on)
        if not method.addressed:
            login = method.same(one.login)
            return any((target, login) in named for target in targets)
        nets = [net for target in targets for net in addressed.get(target, ())]
        return bool(nets) and any(
            net.version == other.version and net.overlaps(other) for other in networks(one.login) for net in nets
        )

    return {one.ref for one in logins if shares(one)}


def check(services: Iterable[Service], access: Iterable[AccessMap]) -> MappingReport:
    """Return which services have a method and tariff in the configuration and a login of their own.

    Logins are compared as the target compares them: MariaDB ignores case, and a MAC address has many spellings. Those
    that are addresses share one where any of their networks overlap, however each is written.
    """
    methods = {method.name: method for method in access}
    mapped: list[str] = []
    no_method: list[str] = []
    no_tariff: list[str] = []
    logins: dict[tuple[str, str], list[Service]] = {}
    addressed: dict[str, list[Service]] = {}
    for service in services:
        method = methods.get(service.method)
        if method is None:
            no_method.append(service.ref)
            continue
        (mapped if service.tariff in method.tariffs else no_tariff).append(service.ref)
        for target in (method.target, *method.also_on):
            if method.addressed:
                addressed.setdefault(target, []).append(service)
            else:
                logins.setdefault((target, method.same(service.login)), []).append(service)
    shared: dict[tuple[str, ...], SharedLogin] = {}
    for (target, _), found in logins.items():
        if len(found) > 1:
            refs = tuple(s.ref for s in found)
            shared.setdefault(refs, SharedLogin(target, found[0].login, refs))  # on several targets: told once
    for target, found in addressed.items():
        for one in _overlaps(target, found):
            shared.setdefault(one.refs, one)
    return MappingReport(tuple(mapped), tuple(no_method), tuple(no_tariff), tuple(shared.values()))


def claimed(
    new: Iterable[Service], known: Mapping[str, Service], access: Iterable[AccessMap]
) -> dict[str, tuple[str, ...]]:
    """Return the known services that have the login of a new one, by the new one's ref.

    A new one is none of `known`, or a known one as it would be. Logins of a method that is not configured are compared
    as they are written, whatever their case.

    Args:
        new: services, each of them once.
        known: services by ref.
        access: the access methods that the configuration declares.
    """
    marked = {f"{_NEW}{s.ref}": replace(s, ref=f"{_NEW}{s.ref}") for s in new}
    both = [*known.values(), *marked.values()]
    logins: dict[tuple[str, str], list[str]] = {}
    for service in both:
        logins.setdefault((service.method, service.login.casefold()), []).append(service.ref)
    groups = [refs for refs in logins.values() if len(refs) > 1]
    groups += [list(shared.refs) for shared in check(both, access).shared_logins]
    found: dict[str, dict[str, None]] = {}
    for refs in groups:
        for ref in (ref.removeprefix(_NEW) for ref in refs if ref in marked):
            found.setdefault(ref, {}).update(dict.fromkeys(one for one in refs if one not in marked and one != ref))
    return {ref: tuple(others) for ref, others in found.items() if others}


def _overlaps(target: str, services: Iterable[Service]) -> Iterator[SharedLogin]:
    """Yield the networks in which several services have addresses: two networks overlap only if one is in the other."""
    every = [
        (net.version, int(net.network_address), net.prefixlen, net, s) for s in services for net in networks(s.login)
    ]
    widest: IPv4Network | IPv6Network | None = None
    inside: set[str] = set()
    for *_, net, service in sorted(every, key=lambda one: one[:3]):
        if widest is None or not widest.overlaps(net):
            if len(inside) > 1:
                yield SharedLogin(target, str(widest), tuple(sorted(inside)))
            widest, inside = net, set()
        inside.add(service.ref)
    if len(inside) > 1:
        yield SharedLogin(target, str(widest), tuple(sorted(inside)))


@lru_cache(maxsize=65_536)
def networks(login: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks of a login, without texts that are none: its access method refuses those."""
    found = []
    for text in login.split(","):
        try:
            found.append(ip_network(text.strip()))
        except ValueError:
            continue
    return tuple(found)
