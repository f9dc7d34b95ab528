"""A router as the host of sessions that another connector decides about. Pure: it takes values that were read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from agent.connectors.base import Enforced, Rows, Ways
from agent.connectors.routeros.addresses import ALL, RouterResource, address, member, networks, rows_of
from agent.connectors.routeros.firewall import KeptIn, LetOut, without_cuts
from agent.connectors.routeros.flows import cut_text, garden_of, passing
from agent.connectors.routeros.live_sessions import end_of
from agent.connectors.routeros.matching import PPP, Confined
from agent.connectors.routeros.rulesets import Rulesets
from agent.connectors.routeros.values import RouterKind, normalize
from agent.connectors.routeros.ways_out import RouterWays, SubscriberKind, Suspended
from agent.model import Address, Effect, Value

_ACTIVE: Final = {"ppp": RouterResource.ACTIVE, "hotspot": RouterResource.HOTSPOT_ACTIVE}
_OWN: Final = {"ppp": (RouterResource.SECRET, "PPP secret"), "hotspot": (RouterResource.HOTSPOT_USER, "hotspot user")}
"""Rows of a router's own that hide RADIUS from a login."""
_FLOWS: Final = {"ppp": RouterResource.SESSION_FLOWS, "hotspot": RouterResource.LOGIN_FLOWS}


class RouterHost:
    """Implements `agent.connectors.base.SessionHost`."""

    def __init__(self) -> None:
        """Know no rules yet."""
        self._rulesets = Rulesets()

    def rules(self, target: str, version: int) -> Address:
        """Return where the firewall's rules of an IP version are read."""
        return address(target, RouterResource.FILTER6 if version == 6 else RouterResource.FILTER, ALL)

    def let_out(self, rules: Value, kind: str, lists: Collection[str], addresses: Collection[str]) -> str:
        """Return why the rules let a suspended session out, and the advice; empty when they keep it in."""
        found = self._kept(rules, kind, lists, addresses)
        if any(":" in one for one in addresses):  # connections of IPv6 are not cut
            found = without_cuts(found)
        return found.advice if isinstance(found, LetOut) else ""

    def open_flows(self, rules: Value, kind: str, lists: Collection[str], addresses: Collection[str]) -> str:
        """Return the rule by which connections pass that were open before a suspension; "" where none does."""
        found = self._kept(rules, kind, lists, addresses)
        return found.open_flows if isinstance(found, KeptIn) else ""

    def _kept(self, rules: Value, kind: str, lists: Collection[str], addresses: Collection[str]) -> KeptIn | LetOut:
        return self._rulesets.kept(rules, Confined(frozenset(lists), tuple(addresses), PPP if kind == PPP else ""))

    def own_entry(self, target: str, kind: str, login: str) -> Address:
        """Return where a login's PPP secret or hotspot user is read."""
        return address(target, _OWN[kind][0], login)

    def entry_noun(self, kind: str) -> str:
        """Return the name of such an entry."""
        return _OWN[kind][1]

    def sessions(self, target: str, kind: str, login: str) -> Address:
        """Return the address by which a login's sessions are read."""
        return address(target, _ACTIVE[kind], login)

    def sessions_of(self, sessions: Value) -> Rows:
        """Return the sessions that were read there."""
        return rows_of(sessions)

    def members(self, target: str, list_name: str) -> Address:
        """Return where the members of an address list are read."""
        return address(target, RouterResource.MEMBERS, list_name)

    def is_member(self, members: Value, address: str) -> bool:
        """Return whether a list holds an address."""
        return bool(member(members, address))

    def speeds(self, target: str) -> Address:
        """Return where the simple queues are read."""
        return address(target, RouterResource.QUEUES, ALL)

    def speed_of(self, speeds: Value, login: str, rate: str) -> tuple[Enforced, str]:
        """Judge whether the queue that a session brought has a rate, `RX` or `RX/TX`."""
        wanted = normalize(RouterKind.RATE_PAIR, rate if "/" in rate else f"{rate}/{rate}")
        queues = rows_of(speeds).values()
        limits = [q.get("max-limit", "") for q in queues if q.get("dynamic") == "true" and _is_of(q["name"], login)]
        if not limits:
            return Enforced.PENDING, ""
        other = [limit for limit in limits if normalize(RouterKind.RATE_PAIR, limit) != wanted]
        if other:
            return Enforced.NO, f"{other[0]}, not {wanted}"
        return Enforced.YES, wanted

    def connections(self, target: str, address_text: str) -> Address | None:
        """Return where the connections of an address are read; None: that text is no address."""
        return address(target, RouterResource.FLOWS, address_text) if networks(address_text) else None

    def session_connections(self, target: str, kind: str, login: str) -> Address:
        """Return where the connections of a login's sessions are read."""
        return address(target, _FLOWS[kind], login)

    def cut_text(self, rules: Value, kind: str, lists: Collection[str], addresses: Collection[str]) -> str:
        """Return the note for a preview which open connections are cut, and why; "" where none can pass."""
        found = self._kept(rules, kind, lists, addresses)
        return cut_text(found) if isinstance(found, KeptIn) else ""

    def connections_left(
        self, connections: Value, rules: Value, lists: Collection[str], open_flows: str, addresses: Collection[str]
    ) -> int:
        """Return how many connections the rules do not hold, and do not go where members of the lists may go."""
        return len(passing(connections, garden_of(self._rulesets.of(rules), lists), open_flows, addresses))

    def end_of(self, where: Address, key: str, within_s: int) -> Effect:
        """Return the effect that ends sessions or connections."""
        return end_of(where, key, within_s)

    def ways(self, target: str, kind: str, lists: Collection[str], garden_most: int) -> Ways:
        """Return the ways out of subscribers that these address lists suspend."""
        found = Suspended(target, SubscriberKind(kind), tuple(lists), garden_most=garden_most, written=False)
        return RouterWays(found)


def _is_of(queue: str, login: str) -> bool:
    """Tell whether a dynamic queue is that of a login's session: `<pppoe-LOGIN>`.

    A second session's is `<pppoe-LOGIN-1>`, which may as well be the first one of another login: it tells nothing.
    """
    return queue.startswith("<") and queue.removeprefix("<").removesuffix(">").partition("-")[2] == login
