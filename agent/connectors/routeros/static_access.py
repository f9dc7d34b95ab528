"""The access method for fixed addresses: a service state becomes a list's entries and a simple queue's limit.

Pure: it takes values that were read. A login is the subscriber's addresses. Suspended is an entry of each in a list
that the firewall drops, for IPv4 and IPv6 alike (`static_lists`); or, where the operator says so, a limit of the
subscriber's queue (`static_queue`), and then they stay online. A tariff is that queue's limit. Before anything is
written it is looked up whether it would take effect: the list's rule above FastTrack, no queue above that takes the
traffic, an address that is nobody else's tomorrow.

Connections from before a suspension are cut, since a fasttracked one passes by the firewall (`static_flows`). After a
restore open connections are cut too, since one that was redirected to a pay page stays redirected. Where FastTrack is
on, a connection that it took before passes by a queue too: it is cut with a new limit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.connectors.base import (
    AccessPlan,
    CannotEnforce,
    DeviceNeeds,
    Enforced,
    Example,
    Judgment,
    NetworkState,
    still_holding,
)
from agent.connectors.routeros.access import REJECTED
from agent.connectors.routeros.access_text import rejected_text
from agent.connectors.routeros.addresses import ALL, Network, RouterResource, Tables, address
from agent.connectors.routeros.live_sessions import end_of
from agent.connectors.routeros.readiness import ADDRESS, MADE_UP, example
from agent.connectors.routeros.rulesets import Rulesets
from agent.connectors.routeros.static_addresses import addresses_of, families, refuse_moving, spelt
from agent.connectors.routeros.static_flows import flows_of, open_now
from agent.connectors.routeros.static_lists import SeenAll, StaticLists
from agent.connectors.routeros.static_queue import Shaped, StaticQueue
from agent.connectors.routeros.static_text import now_text, proof_text, queue_after
from agent.model import Access, Address, Enforcement, ProofKind, Service, ServiceState, Step
from agent.reasons import ProofReason

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import StaticMethod

_RESTORE_CUT_S: Final = 3
"""How long a restore waits for redirected connections to be gone; it does not hang on them. Chosen arbitrarily."""
_WORST: Final = (Enforced.NO, Enforced.PENDING, Enforced.YES)


class StaticAccess:
    """One access method: implements `agent.connectors.base.DeviceMethod`."""

    def __init__(self, method: StaticMethod) -> None:
        """Take the access mapping."""
        self.target = method.target
        self._method = method
        self._rulesets = Rulesets()
        self._lists = StaticLists(method.target, method.suspended_list, self._rulesets)
        self._queue = StaticQueue(method, Tables(), self._rulesets)

    def example(self) -> Example | None:
        """Return a subscriber with one IPv4 address, where a list suspends; None where a queue of its own does."""
        return None if self._queue.suspends else example(self._method, ADDRESS, {}, f"IPv6; {MADE_UP}")

    def needs(self, services: Collection[Service]) -> DeviceNeeds:
        """Return the list of suspended addresses, for both families where one of the services has IPv6."""
        name = self._method.suspended_list
        return DeviceNeeds((name,) if name else (), six=bool(name) and any(":" in one.login for one in services))

    # --- what is read ---

    def reads(self, service: Service, seen: SeenAll) -> Collection[Address]:
        """Return pools, rules, lists and queues; then the subscriber's own queue, and its open connections if
        suspended.
        """
        mine = addresses_of(service.login)
        if isinstance(mine, CannotEnforce):
            return []
        first = [
            address(self.target, one, ALL)
            for family in families(mine)
            for one in (family.pools, family.held, family.rules)
        ]
        missing = [a for a in (*first, *self._lists.reads(mine), *self._queue.reads()) if a not in seen]
        if missing:
            return missing
        return [a for a in (*self._queue.then_reads(mine, seen), *self._lists.then_reads(mine, seen)) if a not in seen]

    def enforcement_reads(
        self,
        enforce: Enforcement,
        seen: SeenAll,
        ended: Collection[Address] = (),  # noqa: ARG002  its sessions end on the same device
    ) -> Collection[Address]:
        """Return the needs of `judge`: the lists, rules and queues again, and the open connections of a suspended
        subscriber.
        """
        mine, expect = _mine(enforce), enforce.expect
        wanted = [enforce.address, *(address(self.target, family.rules, ALL) for family in families(mine))]
        if expect["list"]:
            wanted += self._list_of(enforce).judge_reads(mine, Access(expect["state"]))
        if REJECTED in expect:
            wanted += self._list_of(enforce).elsewhere_reads(mine)
        if expect["queue"]:
            wanted += self._queue.reads()
        missing = [a for a in dict.fromkeys(wanted) if a not in seen]
        if missing or not expect["queue"]:
            return missing
        return [a for a in self._queue.judge_reads(mine, seen) if a not in seen]

    def network_state(self, service: Service, seen: SeenAll) -> NetworkState:
        """Return the access by the firewall and the queue now. Nobody logs in: there is no session."""
        mine = self._mine_for_good(service, seen)
        if isinstance(mine, CannotEnforce):
            return NetworkState(None, unknown=mine.detail)
        elsewhere = self._lists.elsewhere(mine, seen)
        shaped = self._queue.state(mine, seen, service.tariff)
        access, unknown = self._lists.state(mine, seen)
        if self._queue.suspends and access is Access.ACTIVE:
            access, unknown = shaped.access, shaped.unknown
        return NetworkState(
            access=None if elsewhere else access,
            refused=elsewhere.detail if elsewhere else "",
            unknown=unknown,
            tariff=shaped.tariff,
            reply={"queue": shaped.text} if shaped.text else {},
            groups=tuple(dict.fromkeys(name for one in mine for name in self._lists.names(one, seen))),
            not_checked=("connections that are open were not looked at",),
            sessionless=f"fixed address, no session to see: {self._now(mine, seen)['now']}",
        )

    # --- what is done ---

    def plan(self, wanted: ServiceState, service: Service, seen: SeenAll) -> AccessPlan | CannotEnforce:
        """Return the entries' and the queue's transitions and the cut, or why the state would not take effect."""
        gives_back = wanted.access is Access.ACTIVE and wanted.tariff == service.tariff
        mine = addresses_of(service.login) if gives_back else self._mine_for_good(service, seen)
        if isinstance(mine, CannotEnforce):
            return mine
        shaped: Shaped | CannotEnforce | None = None
        if self._queue.suspends or wanted.tariff != service.tariff:
            shaped = self._queue.shape(wanted, service, mine, seen)
        if isinstance(shaped, CannotEnforce):
            return shaped
        listed = self._lists.writes(wanted.access, mine, seen)
        if isinstance(listed, CannotEnforce):
            return listed
        restores = wanted.access is Access.ACTIVE and wanted.tariff == service.tariff
        elsewhere = self._lists.elsewhere(mine, seen) if restores else None
        after = self._after(wanted, mine, seen, shaped)
        if isinstance(after, CannotEnforce):
            return after
        writes = [*([shaped.write] if shaped and shaped.write else []), *listed]
        if elsewhere and not writes:  # nothing of ours holds it: it may be a list of before the configuration changed
            return elsewhere
        steps = [Step(n, self.target, (write,), (n - 1,) if n > 1 else ()) for n, write in enumerate(writes, start=1)]
        suspended = wanted.access is Access.SUSPENDED
        by_list = bool(listed) or (
            suspended and not self._queue.suspends and bool(self._lists.open_now(mine, seen).loose)
        )
        loose = shaped is not None and shaped.strictly and bool(open_now(self.target, mine, seen).loose)
        if by_list or loose:
            within_s = self._method.cut_within_s if suspended else _RESTORE_CUT_S
            steps += self._cuts(service, mine, wanted.access.value, within_s, after=len(writes))
        display = {
            **self._now(mine, seen),
            "after": rejected_text(elsewhere.detail, after) if elsewhere else after,
            "proof": self._proof(wanted.access, shaped, by_list=by_list),
        }
        # Where nothing is written, no write tells on sending that the lists are others by then
        rests_on = () if writes else self._decisive(mine, shaped)
        if not steps:
            enforce = self._enforcement(wanted.access, mine, shaped, by_list=not self._queue.suspends)
            told = still_holding(self, enforce, seen) if suspended else None
            return AccessPlan((), told, display, rests_on)
        enforce = self._enforcement(wanted.access, mine, shaped, by_list=by_list)
        if elsewhere:
            enforce = replace(enforce, expect={**enforce.expect, REJECTED: "yes"})
        return AccessPlan(tuple(steps), enforce, display, rests_on)

    def disconnect(self, service: Service, seen: SeenAll) -> AccessPlan | CannotEnforce:
        """Return the cut of open connections. It cannot be proven: the next packet connects the same ends again."""
        mine = self._mine_for_good(service, seen)
        if isinstance(mine, CannotEnforce):
            return mine
        display = {**self._now(mine, seen), "after": "opens its connections anew, to what it had"}
        steps = self._cuts(service, mine, "kick", self._method.cut_within_s, after=0, proof=None)
        return AccessPlan(tuple(steps), None, display)

    def judge(self, enforce: Enforcement, seen: SeenAll, ended: Collection[Address]) -> Judgment:
        """Judge from the lists, rules and queues as they are now; no connection in `ended` may pass by them."""
        mine, expect = _mine(enforce), enforce.expect
        parts = []
        if mine and expect["queue"]:
            parts.append(self._queue.judge(expect["limit"], mine, seen, ended, strictly=expect["strictly"] == "yes"))
        if mine and expect["list"]:
            parts.append(self._list_of(enforce).judge(Access(expect["state"]), mine, seen, ended))
        if not parts:
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, "nothing says what must hold")
        if REJECTED in expect and (held := self._list_of(enforce).elsewhere(mine, seen)):
            parts.append(Judgment(Enforced.YES, ProofReason.STAYS_REJECTED, f"stays held: {held.detail}"))
        worst = min(parts, key=lambda part: _WORST.index(part.enforced))
        alike = [part for part in parts if part.enforced is worst.enforced]
        again = tuple(where for part in parts for where in part.again)
        return Judgment(worst.enforced, alike[-1].how, " · ".join(part.detail for part in alike), again)

    # --- parts ---

    def _list_of(self, enforce: Enforcement) -> StaticLists:
        """Return the list of when it was planned, whatever the configuration says by now."""
        return StaticLists(self.target, enforce.expect["list"], self._rulesets)

    def _decisive(self, mine: Collection[Network], shaped: Shaped | None) -> tuple[Address, ...]:
        """Return the rows that say of a subscriber that nothing needs to be written."""
        queue = (address(self.target, RouterResource.QUEUE, shaped.name),) if shaped else ()
        return (*self._lists.entries(mine), *queue)

    def _mine_for_good(self, service: Service, seen: SeenAll) -> tuple[Network, ...] | CannotEnforce:
        mine = addresses_of(service.login)
        if isinstance(mine, CannotEnforce):
            return mine
        return refuse_moving(self.target, mine, seen) or mine

    def _after(
        self, wanted: ServiceState, mine: Collection[Network], seen: SeenAll, shaped: Shaped | None
    ) -> str | CannotEnforce:
        """Return the state afterwards: the list, and the speed; or that the list keeps nobody in."""
        stays = self._queue.suspends and wanted.access is Access.SUSPENDED
        speed = queue_after(shaped.name, shaped.limit, stays=stays) if shaped else ""
        if self._queue.suspends:
            return speed
        listed = self._lists.after(wanted.access, mine, seen)
        if isinstance(listed, CannotEnforce):
            return listed
        if not speed and wanted.access is Access.ACTIVE:
            speed = self._queue.now(mine, seen, wanted.tariff)
        return " · ".join(filter(None, (listed, speed)))

    def _proof(self, access: Access, shaped: Shaped | None, *, by_list: bool) -> str:
        name = self._method.suspended_list if by_list else ""
        return proof_text(access, name, queue=shaped is not None, within_s=self._method.cut_within_s)

    def _now(self, mine: Collection[Network], seen: SeenAll) -> dict[str, str]:
        router = self.target.removeprefix("routeros/")
        now = now_text(router, self._lists.now(mine, seen), self._queue.now(mine, seen))
        return {"now": now, "nas": router}

    def _cuts(
        self,
        service: Service,
        mine: Collection[Network],
        what: str,
        within_s: int,
        *,
        after: int,
        proof: ProofKind | None = ProofKind.GONE,
    ) -> list[Step]:
        """Return the effects that cut open connections, one for each address, once the last write is done."""
        effects = [
            end_of(flows_of(self.target, one), f"{service.ref}:{what}:{spelt(one)}", within_s, proof=proof)
            for one in mine
        ]
        then = (after,) if after else ()
        return [Step(n, self.target, effect, then) for n, effect in enumerate(effects, start=after + 1)]

    def _enforcement(
        self, access: Access, mine: Collection[Network], shaped: Shaped | None, *, by_list: bool
    ) -> Enforcement:
        expect = {
            "method": self._method.name,
            "state": access.value,
            "addresses": ",".join(map(spelt, mine)),
            "list": self._method.suspended_list if by_list else "",
            "queue": shaped.name if shaped else "",
            "limit": shaped.limit if shaped else "",
            "strictly": "yes" if shaped and shaped.strictly else "",
        }
        first = families(mine)[0]
        by_queue = address(self.target, RouterResource.QUEUES, ALL)
        where = address(self.target, first.members, expect["list"]) if by_list else by_queue
        return Enforcement(self.target, where, expect, self._method.cut_within_s)


def _mine(enforce: Enforcement) -> tuple[Network, ...]:
    found = addresses_of(enforce.expect["addresses"])
    return () if isinstance(found, CannotEnforce) else found
