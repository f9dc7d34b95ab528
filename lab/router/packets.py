"""Packets of subscribers: which get out, and how fast. Pure.

A subscriber is asked for by login, hotspot user, MAC or address; each kind of access (`ppp`, `hotspot`, `dhcp`,
`hosts`) finds its own as a `Line`. `flows` judges its packets, and the first simple queue that takes them limits their
rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from lab.router.firewall import Verdict, family_of
from lab.router.flows import Flows, Line
from lab.router.queues import QUEUES, speed_limit
from lab.router.store import Store


class Finder(Protocol):
    """One kind of access."""

    def line(self, which: str) -> Line | None:
        """The line of a login, MAC or address; None where it is none of this kind."""


class Packets:
    """The packet view of one router. `finders`: asked in order, whoever is online wins."""

    def __init__(self, store: Store, flows: Flows, finders: Iterable[Finder]) -> None:
        self._store, self._flows = store, flows
        self._finders = tuple(finders)

    def line(self, which: str) -> Line:
        """The line of a login, hotspot user, MAC or address.

        An address that no subscriber of the lab has is a line too: of somebody behind an interface that is not known.
        """
        lines = [line for finder in self._finders if (line := finder.line(which))]
        if lines:
            return next((line for line in lines if line.addresses), lines[0])
        if not family_of(which):
            return Line(which, why_not="no CPE of that login")
        return Line(which, (which,), flows=self._flows.of_address(which))

    def gets_out(self, which: str, destination: str, protocol: str, port: int) -> Verdict:
        """Judge a subscriber's packet to the internet; one that is not online gets nothing out."""
        line = self.line(which)
        source = _source(line, which, destination)
        if not source:
            return Verdict(online=False, out=False, reason=line.why_not or f"{which} has no address of that family")
        return self._flows.meets(line, source, destination, protocol, port)

    def speed_of(self, which: str, destination: str) -> tuple[int, int] | None:
        """The bits a second that a line may send and receive, as the first queue that takes its packets says."""
        line = self.line(which)
        source = _source(line, which, destination)
        flow = self._flows.of_line(line, source) if source else None
        if not source or (flow is not None and flow.state.get("fasttrack") == "true"):
            return None
        packet = self._flows.packet(line, source, destination)
        return speed_limit(self._store.table(QUEUES), packet)


def _source(line: Line, which: str, destination: str) -> str:
    """The address that packets come from: the one asked for, or the line's of the destination's family."""
    if family_of(which):
        return which
    if destination:
        return line.address(family_of(destination) or 4)
    return line.address(4) or line.address(6)
