"""The service that a person means by `C-10482/home`, `C-10482`, `amina.h` or a MAC address.

A full reference, exactly as it is known, means that service and nothing else. Otherwise a text may be a reference, a
subscriber or a login; if it is exactly one of them, case included, only exact ones count, else case is ignored. A MAC
address that is none of these means the service with it as login or in another column, in any spelling. More than one
service left: ambiguous, never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from agent.model import Service
from agent.spelling import mac_digits

SUGGESTIONS = 5


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is called that; `suggestions` differ in one character, or are the other services of that subscriber."""

    suggestions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several services are called that."""

    services: tuple[Service, ...]


class Index:
    """Services by everything that they may be called. Build it once for many look-ups."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        self._exact: dict[str, dict[str, Service]] = {}
        self._folded: dict[str, dict[str, Service]] = {}
        self._macs: dict[str, dict[str, Service]] = {}
        for service in services.values():
            for name in (service.ref, service.subscriber, service.login):
                self._exact.setdefault(name, {})[service.ref] = service
                self._folded.setdefault(name.casefold(), {})[service.ref] = service
            for text in (service.login, *(service.extra or {}).values()):
                if mac := mac_digits(text):
                    self._macs.setdefault(mac, {})[service.ref] = service
        self._alphabet = sorted(set().union(*self._folded)) if self._folded else []

    def resolve(self, ref: str) -> Service | Unknown | Ambiguous:
        """Return the service that `ref` means, or why there is not exactly one."""
        found = self.named(ref)
        if not found:
            return Unknown(self._suggestions(ref.strip().casefold()))
        return found[0] if len(found) == 1 else Ambiguous(found)

    def named(self, ref: str) -> tuple[Service, ...]:
        """Return every service that `ref` may mean."""
        ref = ref.strip()
        if (service := self._services.get(ref)) is not None:
            return (service,)
        found = self._exact.get(ref) or self._folded.get(ref.casefold()) or self._macs.get(mac_digits(ref))
        return tuple(found.values()) if found else ()

    def _suggestions(self, ref: str) -> tuple[str, ...]:
        subscriber = self._folded.get(ref.partition("/")[0], {}) if "/" in ref else {}
        refs = dict.fromkeys(subscriber)
        for near in _one_edit_away(ref, self._alphabet):
            refs.update(dict.fromkeys(self._folded.get(near, {})))
            if len(refs) >= SUGGESTIONS:
                break
        return tuple(refs)[:SUGGESTIONS]


def _one_edit_away(text: str, alphabet: Collection[str]) -> Iterable[str]:
    # Looking up a few thousand neighbors is far cheaper than comparing with ten thousand names.
    if len(text) > 64:  # no typing error, and quadratic
        return
    for at in range(len(text) + 1):
        head, tail = text[:at], text[at:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        if tail:
            yield head + tail[1:]
            yield from (head + char + tail[1:] for char in alphabet)
        yield from (head + char + tail for char in alphabet)


@dataclass(frozen=True, slots=True)
class Selection:
    """The services that a batch names, each once, in order; and one sentence for each reference that fits none."""

    services: tuple[Service, ...]
    problems: tuple[str, ...]


def select(
    services: Mapping[str, Service],
    refs: Iterable[str] = (),
    *,
    on_tariff: str = "",
    exclude: Iterable[str] = (),
    all_services: bool = False,
) -> Selection:
    """Return the services named by `refs`, then those on a tariff, less the excluded ones.

    An exclusion that cannot be resolved is a problem too: leaving it out silently would suspend somebody.

    Args:
        services: every service, by ref.
        refs: services, subscribers, logins or MAC addresses.
        on_tariff: all services on it as well; "": none.
        exclude: references that are taken out again.
        all_services: one subscriber's number means all services of that subscriber. A login or a MAC address of
            several services stays ambiguous: their subscribers may differ.
    """
    index, problems = Index(services), []

    def find(ref: str, what: str) -> tuple[Service, ...]:
        match index.resolve(ref):
            case Unknown(suggestions):
                near = f" (did you mean {', '.join(suggestions)}?)"
                hint = near if suggestions else f": ispagent subscriber find {ref[:40]}"
                problems.append(f"{what}{ref}: no such service{hint}")
            case Ambiguous(found):
                own = all(s.subscriber.casefold() == ref.strip().casefold() for s in found)
                if own and all_services:
                    return found
                hint = ", or take all with --all-services" if own else ""
                names = ", ".join(s.ref for s in found)
                problems.append(f"{what}{ref}: {len(found)} services: name one of {names}{hint}")
            case service:
                return (service,)
        return ()

    chosen = {s.ref: s for ref in refs for s in find(ref, "")}
    if on_tariff:
        on_it = {s.ref: s for s in services.values() if s.tariff == on_tariff}
        if not on_it:
            known = ", ".join(sorted({s.tariff for s in services.values() if s.tariff})[:20])
            problems.append(f"tariff {on_tariff}: no service is on it (known: {known or 'none'})")
        chosen |= on_it
    for ref in exclude:
        for left_out in find(ref, "exclude "):
            chosen.pop(left_out.ref, None)
    return Selection(tuple(chosen.values()), tuple(problems))
