"""The RADIUS login of each subscriber in the agent's list. People may give a login to another customer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from tests.sim.witness import Lost, Move


class Logins:
    """The login of each service at any time. `edits`: the logins that changes of the list give, by plan and service."""

    def __init__(self, first: Mapping[str, str]) -> None:
        """Begin with the list that the agent was given first."""
        self.edits: dict[str, Mapping[str, str]] = {}
        self._past = {service: [(float("-inf"), login)] for service, login in first.items()}
        self._owners = self._owners_now()
        self._followed = self._lost = 0

    def __contains__(self, service: object) -> bool:
        return service in self._past

    def at(self, service: str, when: float) -> str:
        """Return the login that a service had."""
        return next(login for at, login in reversed(self._past[service]) if at <= when)

    def now(self, service: str) -> str:
        """Return the login that a service has."""
        return self._past[service][-1][1]

    def owner(self, login: str, acted_on: Callable[[], Collection[str]] = tuple) -> str | None:
        """Return the service that has a login now; None: it is nobody's.

        Where an exchange of logins is half done two have it, and nothing but a change that had begun acts on it.
        `acted_on`: tells the services of which a step is announced.
        """
        owners = self._owners.get(login, [])
        if len(owners) < 2:
            return owners[0] if owners else None
        acting = acted_on()
        return next((service for service in owners if service in acting), owners[-1])

    def _owners_now(self) -> dict[str, list[str]]:
        found = defaultdict[str, list[str]](list)
        for service in self._past:
            found[self.now(service)].append(service)
        return found

    def shared(self) -> set[str]:
        """Return the services whose login another one has too: whose it is, nobody can say, and neither is changed."""
        logins = Counter(self.now(service) for service in self._past)
        return {service for service in self._past if logins[self.now(service)] > 1}

    def changed(self, service: str) -> bool:
        """Tell whether a service had another login before."""
        return len(self._past[service]) > 1

    def follow(self, moves: Sequence[Move], lost: Sequence[Lost]) -> None:
        """Take note of edits that the agent has recorded by now, and of those that its log lost again."""
        if not self.edits:
            return
        since = [(one.found_at, one) for one in lost[self._lost :]]
        self._lost = len(lost)
        for at, one in sorted([*((m.at, m) for m in moves[self._followed :]), *since], key=lambda news: news[0]):
            if isinstance(one, Lost):
                for service, past in self._past.items():
                    if one.since < past[-1][0]:
                        past.append((at, self.at(service, one.since)))
            elif one.state == "applied" and (login := self.edits.get(one.plan, {}).get(one.service)):
                self._past[one.service].append((at, login))
        self._followed = len(moves)
        self._owners = self._owners_now()
