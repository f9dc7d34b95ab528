"""Judges by the books of the billing system. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `unpaid` | the agent restores by itself only a service of somebody who owed nothing at some instant shortly before |
| `cut-payer` | nobody is cut off for a debt who owed nothing for some time before |
| `payer-waits` | whoever owes nothing, and has paid since, is no longer on record as cut off for a debt |

Where a person cancelled the restore since, the payer waits a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.sim.judge import Evidence, Verdict

KNOWN_S = 180.0
"""How old the agent's word on an account may be when it cuts or restores: `recheck_s`, and a slow reading."""
READ_S = 900.0
"""How long a payer may wait to be seen: all accounts are read so often."""

PERSON_S = 86_400.0
"""For how long the agent leaves a payer to people where one of them cancelled the restore."""


@dataclass
class Books:
    """Who owed when, by subscriber: (trio's time, whether they owe), in order. `subscribers`: of each service."""

    subscribers: Mapping[str, str]
    _moments: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)

    def note(self, at: float, subscriber: str, *, owes: bool) -> None:
        """Take note of an account that changed."""
        self._moments.setdefault(subscriber, []).append((at, owes))

    def during(self, service: str, since: float, until: float) -> Iterator[bool]:
        """Yield whether the subscriber owed, for each stretch of that time."""
        moments = self._moments.get(self.subscribers.get(service, ""), [])
        for n, (at, owes) in enumerate(moments):
            ends = moments[n + 1][0] if n + 1 < len(moments) else float("inf")
            if at <= until and ends >= since:
                yield owes

    def owed_lately(self, services: Iterable[str], now: float) -> int:
        """Return of how many services the subscriber may owe, by all that the agent may have read."""
        return sum(any(self.during(service, now - READ_S, now)) for service in services)

    def changed_at(self, service: str) -> float:
        """Return when the account changed last."""
        return self._moments[self.subscribers[service]][-1][0]


def judge(evidence: Evidence, books: Books, own: set[str], debts: set[str]) -> Iterable[Verdict]:
    """Return everything that must not be.

    Args:
        evidence: of the world.
        books: of the billing system.
        own: plans that the agent asked for by itself.
        debts: services on record as cut off for a debt.
    """
    for deed in (w for w in evidence.seen.writes if w.by):
        if deed.subject not in books.subscribers:
            continue
        plans = {step.plan for step in deed.open if not step.effect}
        if plans & own and all(books.during(deed.subject, deed.at - KNOWN_S, deed.at)):
            yield Verdict("unpaid", deed.at, deed.subject, f"{deed.what} for a payer who owed all the time before")
        asked = [evidence.asked[plan] for plan in plans & evidence.asked.keys()]
        cut = any(one.action == "suspend" and one.reason == "debt" for one in asked)
        if cut and not any(books.during(deed.subject, deed.at - KNOWN_S, deed.at)):
            yield Verdict(
                "cut-payer", deed.at, deed.subject, f"{deed.what} for a debt that was paid {KNOWN_S:.0f} s before"
            )
    for service in sorted(debts & books.subscribers.keys()):
        owes = list(books.during(service, evidence.ended_at - READ_S, evidence.ended_at))
        cuts = [w.at for w in evidence.seen.writes if w.by and w.subject == service]
        if (
            not any(owes)
            and cuts
            and books.changed_at(service) > cuts[-1]
            and not _turned_down(evidence, books, service)
        ):
            said = f"still on record as cut off for a debt, paid at {books.changed_at(service):.0f}"
            yield Verdict("payer-waits", evidence.ended_at, service, said)


def _turned_down(e: Evidence, books: Books, service: str) -> bool:
    """Tell whether somebody cancelled the restore of a payer since the payment, less than a day ago."""
    since = max(books.changed_at(service), e.ended_at - PERSON_S - READ_S)
    restores = (one for one in e.asked.values() if one.action == "restore" and one.reason in ("", "debt"))
    return any(service in one.subjects and since < one.cancel_sent_at < e.ended_at for one in restores)
