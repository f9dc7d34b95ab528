"""The simple queue of fixed addresses: the half of the access method that says how fast somebody is. Pure.

A tariff is the `max-limit` of the one queue that has exactly the subscriber's addresses as its target; a suspension may
be a limit too. Its limits are written only from one that the configuration maps to another, since its former limits are
kept nowhere else; and only where they hold: the queue is the one that takes the traffic, nothing lets more through, and
FastTrack does not pass it by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.connectors.base import CannotEnforce, Enforced, Judgment
from agent.connectors.routeros import fasttrack, queues
from agent.connectors.routeros.addresses import ALL, COPIES, Network, RouterResource, Tables, address, member
from agent.connectors.routeros.comment_marker import marked
from agent.connectors.routeros.matching import Rule
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.rulesets import Rulesets
from agent.connectors.routeros.static_addresses import Family, families, of_family, spelt
from agent.connectors.routeros.static_flows import flows_of, open_now
from agent.connectors.routeros.static_lists import SeenAll, rules_at
from agent.connectors.routeros.static_text import queue_text, rate_text
from agent.connectors.routeros.values import RouterKind, normalize
from agent.model import Absent, Access, Address, Field, Service, ServiceState, Transition
from agent.reasons import MethodReason, ProofReason
from trust.plural import counted

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import StaticMethod

_NO_LIMIT: Final = "0/0"


@dataclass(frozen=True, slots=True)
class Shaped:
    """The queue as it is to be.

    `write`: None where it is so already. `strictly`: it must hold its subscriber to the limit; a restore only gives
    back the former limit, and is not refused for other oddities.
    """

    name: str
    limit: str
    strictly: bool
    write: Transition | None


@dataclass(frozen=True, slots=True)
class ShapedNow:
    """The access by the queue: `tariff` by its limit ("": none, or ambiguous), `text` for people."""

    access: Access | None
    unknown: str
    tariff: str = ""
    text: str = ""


class StaticQueue:
    """The queues of one access method on one router."""

    def __init__(self, method: StaticMethod, tables: Tables, rulesets: Rulesets) -> None:
        """Take the access mapping, and the queues and rules as last seen."""
        self._tables, self._rulesets = tables, rulesets
        self._target, self._name = method.target, method.name
        self._limits = {tariff: _limit(text) for tariff, text in method.tariffs.items()}
        self._suspended = _limit(method.suspended_limit)
        self.suspends = bool(method.suspended_limit)
        """Whether a suspension is a limit."""
        self._matters = self.suspends or any(self._limits.values())

    # --- what is read ---

    def reads(self) -> list[Address]:
        """Return the queues in their order, where any is of this method."""
        return [address(self._target, RouterResource.QUEUES, ALL)] if self._matters else []

    def then_reads(self, mine: Collection[Network], seen: SeenAll) -> list[Address]:
        """Return the subscriber's own queue, and the lists that decide whether FastTrack passes it by."""
        found = queues.own(self._queues(seen), mine) if self._matters else None
        if found is None or isinstance(found, queues.Unfit):
            return []
        return [address(self._target, RouterResource.QUEUE, found.get("name", "")), *self.judge_reads(mine, seen)]

    def judge_reads(self, mine: Collection[Network], seen: SeenAll) -> list[Address]:
        """Return the lists that FastTrack's rules ask for; then, where it is on and spares the addresses, the open
        connections.

        A connection that it took before it spared them passes by the queue for as long as it is open.
        """
        wanted: list[Address] = []
        for family in families(mine):
            rules, own = self._rules(family, seen), of_family(family, mine)
            lists = [address(self._target, family.members, name) for name in sorted(fasttrack.lists_asked(rules))]
            wanted += lists
            if fasttrack.is_on(rules) and all(where in seen for where in lists) and not self._taken(family, own, seen):
                wanted += [flows_of(self._target, one) for one in own]
        return wanted

    # --- what is done ---

    def shape(
        self, wanted: ServiceState, service: Service, mine: Collection[Network], seen: SeenAll
    ) -> Shaped | CannotEnforce:
        """Return the queue as wanted, or why its limit would not hold, or its former one would be lost."""
        for tariff in (service.tariff, wanted.tariff):
            if tariff not in self._limits:
                return CannotEnforce(MethodReason.UNMAPPED_TARIFF, f"method {self._name} maps no limit to {tariff}")
        if not self._limits[wanted.tariff]:
            return CannotEnforce(
                RouterReason.NOT_SHAPED, f"method {self._name} shapes nobody on tariff {wanted.tariff}"
            )
        suspends = self.suspends and wanted.access is Access.SUSPENDED
        goal = self._suspended if suspends else self._limits[wanted.tariff]
        queue = queues.own(self._queues(seen), mine)
        if isinstance(queue, queues.Unfit):
            return CannotEnforce(queue.reason, queue.detail)
        refusal = self._refuse_other(queue, goal, service)
        strictly = suspends or wanted.tariff != service.tariff
        if strictly:
            refusal = refusal or self._refuse_loose(queue, goal, mine, seen)
        return refusal or self._write(queue, goal, seen, strictly=strictly)

    def _refuse_other(self, queue: queues.Queue, goal: str, service: Service) -> CannotEnforce | None:
        now, mine = queues.limit_of(queue), self._limits[service.tariff]
        if now in filter(None, (mine, self._suspended, goal)):
            return None
        tariff = f"tariff {service.tariff} is {rate_text(mine) if mine else 'not shaped'}"
        why = f"queue {queue.get('name', '')} is at {rate_text(now)}, and {tariff}: correct one of them first"
        return CannotEnforce(RouterReason.OTHER_LIMIT, why)

    def _write(self, queue: queues.Queue, goal: str, seen: SeenAll, *, strictly: bool) -> Shaped | CannotEnforce:
        name, now = queue.get("name", ""), queues.limit_of(queue)
        where = address(self._target, RouterResource.QUEUE, name)
        row = seen[where].value
        if isinstance(row, Absent) or COPIES in row:
            reason = RouterReason.NO_QUEUE if isinstance(row, Absent) else RouterReason.SEVERAL_QUEUES
            return CannotEnforce(reason, f"queue {name} of {self._target} was changed meanwhile: ask again")
        if now == goal:
            return Shaped(name, goal, strictly, None)
        after: Mapping[str, Field] = row
        if self._suspended in (goal, now):
            after = marked(row, suspended=goal == self._suspended)
        return Shaped(name, goal, strictly, Transition(where, seen[where], {**after, queues.LIMIT: goal}))

    def _refuse_loose(
        self, queue: queues.Queue, goal: str, mine: Collection[Network], seen: SeenAll
    ) -> CannotEnforce | None:
        """Refuse a queue that lets more through than its limit, or that FastTrack may pass by."""
        name, burst = queue.get("name", ""), _limit(queue.get("burst-limit", _NO_LIMIT))
        if burst != _NO_LIMIT:
            return CannotEnforce(
                RouterReason.QUEUE_BURST, f"queue {name} has a burst-limit, {rate_text(burst)}, above its limit"
            )
        guaranteed = _limit(queue.get("limit-at", _NO_LIMIT))
        for rate, most in zip(guaranteed.split("/"), goal.split("/"), strict=False):
            if not (rate.isdecimal() and most.isdecimal()) or 0 < int(most) < int(rate):
                why = f"queue {name} is guaranteed {rate_text(guaranteed)} (limit-at), more than {rate_text(goal)}"
                return CannotEnforce(RouterReason.QUEUE_GUARANTEED, why)
        for family in families(mine):
            rule = self._taken(family, of_family(family, mine), seen)
            if rule:
                why = f"IPv{family.version} {rule} may take its connections past the queues"
                return CannotEnforce(RouterReason.FASTTRACK_BYPASSES_QUEUES, why)
        return None

    def _taken(self, family: Family, own: Collection[Network], seen: SeenAll) -> str:
        """Return the rule by which FastTrack may take their connections; "" where it does not."""

        def holds(name: str) -> bool:
            members = seen[address(self._target, family.members, name)].value
            return all(member(members, spelt(one)) for one in own)

        return fasttrack.takes(self._rules(family, seen), own, holds)

    # --- what is said ---

    def now(self, mine: Collection[Network], seen: SeenAll, tariff: str = "") -> str:
        """Return somebody's limit; with a tariff, also where it is not the tariff's."""
        limit = self._limits.get(tariff, "") if tariff else ""
        if not self._matters or (tariff and not limit):
            return ""
        queue = queues.own(self._queues(seen), mine)
        mapped = f", LOOK: tariff {tariff} is {rate_text(limit)}" if tariff else ""
        if isinstance(queue, queues.Unfit):
            return f"{queue.detail}{mapped}"
        told = queue_text(queue.get("name", ""), queues.limit_of(queue))
        return told if queues.limit_of(queue) == limit else f"{told}{mapped}"

    def state(self, mine: Collection[Network], seen: SeenAll, expected: str) -> ShapedNow:
        """Return the meaning of the queue's limit; `expected`: the tariff that counts where several have one limit."""
        if not self._matters:
            return ShapedNow(Access.ACTIVE, "")
        queue = queues.own(self._queues(seen), mine)
        if isinstance(queue, queues.Unfit):
            return ShapedNow(None, queue.detail)
        now, text = queues.limit_of(queue), queue_text(queue.get("name", ""), queues.limit_of(queue))
        if self.suspends and now == self._suspended:
            return ShapedNow(Access.SUSPENDED, "", text=text)
        tariffs = [tariff for tariff, limit in self._limits.items() if limit == now]
        if not tariffs:
            return ShapedNow(None, f"{text}, which no tariff is mapped to", text=text)
        return ShapedNow(
            Access.ACTIVE, "", expected if expected in tariffs else tariffs[0] if len(tariffs) == 1 else "", text
        )

    # --- judging ---

    def judge(
        self, limit: str, mine: Collection[Network], seen: SeenAll, ended: Collection[Address], *, strictly: bool
    ) -> Judgment:
        """Judge from the queues as they are now: the limit is set, and the queue takes the traffic.

        `strictly`: and nothing lets more through, nor does a connection that was fasttracked before carry on.
        """
        queue = queues.own(self._queues(seen), mine)
        if isinstance(queue, queues.Unfit):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, queue.detail)
        told = queue_text(queue.get("name", ""), queues.limit_of(queue))
        if queues.limit_of(queue) != limit:
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, f"{told}, not {rate_text(limit)}")
        refusal = self._refuse_loose(queue, limit, mine, seen) if strictly else None
        if refusal:
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, refusal.detail)
        left = open_now(self._target, mine, seen, ended).left if strictly else ()
        if left:
            return Judgment(
                Enforced.NO,
                ProofReason.STILL_ONLINE,
                f"{counted(len(left), 'connection passes', 'connections pass')} by {told}",
            )
        return Judgment(Enforced.YES, ProofReason.SEEN, told)

    def _rules(self, family: Family, seen: SeenAll) -> Sequence[Rule]:
        return self._rulesets.at(rules_at(self._target, family), seen).filter

    def _queues(self, seen: SeenAll) -> Sequence[queues.Queue]:
        return self._tables.rows(address(self._target, RouterResource.QUEUES, ALL), seen)


def _limit(text: str) -> str:
    return normalize(RouterKind.RATE_PAIR, text)
