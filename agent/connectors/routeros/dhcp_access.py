"""How a service state becomes a DHCP lease's address lists, or its being blocked: the access method. Pure.

A subscriber is a static lease, by its MAC. Suspended is one address list more on the lease, which a rule must keep in;
or, where no list is configured, `block-access`. The speed is the lease's `rate-limit`, and only that of a tariff is
touched: another one would be lost.

MikroTik's manual does not say when a bound lease takes on written settings, and operators report that its lists follow
at the next renewal; a blocked client keeps its address until the lease runs out. Nothing can call a client back. So
nothing is taken for granted: the router's own list is looked at, for the address that the client has now, and its own
queue; until then it is not enforced, and the time that is left is told. Nor does a lease that waits prove that its
client is offline: where the router has not seen the client since somebody made the lease again, the client may go on
with the address that it had, outside of every list, until it renews. Nor is the client of a lease that staff disabled
rejected: its server gives it another address, but where it has static leases only.

IPv4 only: a prefix that the same subscriber has by DHCPv6 is not read, and the preview says that it is not held.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from agent.connectors.base import (
    AccessPlan,
    CannotEnforce,
    DeviceNeeds,
    Enforced,
    Example,
    Judgment,
    LiveSession,
    NetworkState,
    still_holding,
)
from agent.connectors.routeros import dhcp_text
from agent.connectors.routeros.access import REJECTED
from agent.connectors.routeros.access_text import beside_text, rejected_text
from agent.connectors.routeros.addresses import ALL, COPIES, RouterResource, address, member, parse, rows_of, texts_of
from agent.connectors.routeros.comment_marker import COMMENT, SUSPENDED, marked, marks_in
from agent.connectors.routeros.firewall import KeptIn, LetOut
from agent.connectors.routeros.flows import Garden, cut_text, garden_of, passing
from agent.connectors.routeros.live_sessions import end_of
from agent.connectors.routeros.matching import Confined
from agent.connectors.routeros.queues import speed_of
from agent.connectors.routeros.readiness import ADDRESS, MAC, MADE_UP, example, tariff_of
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.rulesets import Rulesets
from agent.connectors.routeros.values import RouterKind, mac_of, normalize
from agent.connectors.routeros.ways_out import Way, beside_lease, way_at
from agent.model import Absent, Access, Address, Effect, Enforcement, Seen, Step, Transition
from agent.reasons import MethodReason, ProofReason
from trust.plural import counted

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import DhcpMethod
    from agent.model import Field, Service, ServiceState, Value

LISTS: Final = "address-lists"
BLOCK: Final = "block-access"
RATE: Final = "rate-limit"
_ROUTES: Final = "routes"
"""Of a lease: networks behind its client, which its lists do not name."""
_SPEED: Final = "speed"
"""In an enforcement's `expect`: there where the speed was changed and is to be seen in a queue."""
_PLACE: Final = "place"
"""Likewise: the lease's own address."""

SeenAll = Mapping[Address, Seen]


class DhcpAccess:
    """One access method: implements `agent.connectors.base.DeviceMethod`."""

    def __init__(self, method: DhcpMethod) -> None:
        """Take the access mapping."""
        self.target = method.target
        self._method = method
        self._list = method.suspended_list
        self._rulesets = Rulesets()
        self._router = method.target.removeprefix("routeros/")

    def example(self) -> Example:
        """Return a subscriber with a static lease at the first tariff's rate and no client."""
        lease = {"mac-address": MAC, "address": ADDRESS, "dynamic": "false", "disabled": "false"}
        rate = normalize(RouterKind.RATE_LIMIT, tariff_of(self._method))
        assumed = {self._at(RouterResource.LEASE, MAC): lease | ({RATE: rate} if rate else {})}
        return example(self._method, MAC, assumed, MADE_UP if self._list else "")

    def needs(self, services: Collection[Service]) -> DeviceNeeds:  # noqa: ARG002  a lease is IPv4
        """Return the list of suspended leases."""
        return DeviceNeeds((self._list,) if self._list else ())

    # --- what is read ---

    def reads(self, service: Service, seen: SeenAll) -> Collection[Address]:
        """Return the lease, its client's state, and the rules that keep a suspended one in."""
        mac = mac_of(service.login)
        if not mac:
            return []
        wanted = [self._at(RouterResource.LEASE, mac), self._at(RouterResource.LEASED, mac)]
        if self._list:
            wanted += [self._at(RouterResource.FILTER, ALL), self._at(RouterResource.MEMBERS, self._list)]
        missing = [a for a in wanted if a not in seen]
        if missing:
            return missing
        lease = texts_of(seen[wanted[0]].value)
        if unread := self._servers_to_read(lease, seen):
            return unread
        # Connections are looked at only where a suspension that is there already may not hold
        places = self._places(lease, self._bound(mac, seen)) if self._holds(lease) else ()
        return [a for a in self._flows_at(places) if a not in seen]

    def enforcement_reads(
        self,
        enforce: Enforcement,
        seen: SeenAll,
        ended: Collection[Address] = (),  # noqa: ARG002  its sessions end on the same device
    ) -> Collection[Address]:
        """Return the needs of `judge`; all connections of the router last, and only where nothing else decides."""
        mac = self._key(enforce)
        wanted = [enforce.address, self._at(RouterResource.LEASE, mac)]
        if self._list:
            wanted += [self._at(RouterResource.MEMBERS, self._list)]
            wanted += [self._at(RouterResource.FILTER, ALL)] if _is_suspended(enforce) else []
        wanted += [self._at(RouterResource.QUEUES, ALL)] if _SPEED in enforce.expect else []
        missing = [a for a in wanted if a not in seen]
        if not missing and REJECTED in enforce.expect:
            missing = self._servers_to_read(texts_of(seen[wanted[1]].value), seen)
        if missing or not _is_suspended(enforce) or self._judge_lease(enforce, seen).enforced is Enforced.NO:
            return missing
        return [a for a in self._flows_at(self._watched(enforce, seen)) if a not in seen]

    def network_state(self, service: Service, seen: SeenAll) -> NetworkState:
        """Return the access by the lease at the next renewal, and the address that its client has now."""
        mac = mac_of(service.login)
        if not mac:
            return NetworkState(None, unknown=f"a lease is known by its MAC address, and {service.login} is none")
        value = seen[self._at(RouterResource.LEASE, mac)].value
        sessions = self._live(mac, seen)
        if isinstance(value, Absent):
            why = f"{self._router} has no DHCP lease of {mac}"
            return NetworkState(None, unknown=why, sessions=sessions, absent=True)
        refusal = self._refuse(mac, value)
        if refusal:
            return NetworkState(None, unknown=refusal.detail, sessions=sessions)
        lease = texts_of(value)
        refused, beside = self._rejected(lease, seen), self._beside(lease, seen)
        access = Access.SUSPENDED if self._holds(lease) else Access.ACTIVE
        rates = {tariff: normalize(RouterKind.RATE_LIMIT, text) for tariff, text in self._method.tariffs.items()}
        tariffs = [tariff for tariff, rate in rates.items() if rate == lease.get(RATE, "")]
        tariff = service.tariff if service.tariff in tariffs else tariffs[0] if len(tariffs) == 1 else ""
        reply = {name: lease[name] for name in ("address", RATE, LISTS) if lease.get(name)}
        lists = tuple(filter(None, lease.get(LISTS, "").split(",")))
        told = None if refused or beside else access
        return NetworkState(told, refused, beside, tariff, sessions, reply, lists, ("IPv6: no DHCPv6 was read",))

    def _off(self, lease: Mapping[str, str]) -> str:
        """Return how somebody else took a lease out of use, or nothing."""
        if lease.get("disabled") == "true":
            return "its lease is disabled"
        ours = not self._list and SUSPENDED in marks_in(lease.get(COMMENT, ""))
        return "its lease has block-access" if lease.get(BLOCK) == "true" and not ours else ""

    def _beside(self, lease: Mapping[str, str], seen: SeenAll) -> str:
        """Return how the client of a lease that is disabled gets another address, or that nobody knows; or nothing."""
        if lease.get("disabled") != "true":
            return ""
        given = beside_lease(seen[way_at(self.target, Way.LEASES_FOR_ALL)].value, lease)
        return f"its lease is disabled, and {given}" if given else ""

    def _rejected(self, lease: Mapping[str, str], seen: SeenAll) -> str:
        """Return why the client gets no address, which is not by us; "": it gets one."""
        return "" if self._beside(lease, seen) else self._off(lease)

    def _servers_to_read(self, lease: Mapping[str, str], seen: SeenAll) -> list[Address]:
        servers = way_at(self.target, Way.LEASES_FOR_ALL)
        return [servers] if lease.get("disabled") == "true" and servers not in seen else []

    def _live(self, mac: str, seen: SeenAll) -> tuple[LiveSession, ...]:
        client = self._bound(mac, seen)
        if not client:
            return ()
        place = client["active-address"]
        carries: Access | None = Access.ACTIVE
        if self._listed(place, seen):
            carries = None if isinstance(self._kept_in(place, seen), CannotEnforce) else Access.SUSPENDED
        how = ProofReason.NOT_TOLD if carries is None else ProofReason.SEEN
        source, until = f"router {self._router}", dhcp_text.left_text(client)
        return (LiveSession(self._router, source, None, place, dict(client), carries, how, until),)

    # --- what is done ---

    def plan(self, wanted: ServiceState, service: Service, seen: SeenAll) -> AccessPlan | CannotEnforce:
        """Return the lease's transition and the cut of its connections, or why the state would not take effect."""
        mac = mac_of(service.login)
        if not mac:
            return CannotEnforce(
                MethodReason.NO_SUCH_LOGIN, f"a lease is known by its MAC address, and {service.login} is none"
            )
        before = seen[self._at(RouterResource.LEASE, mac)]
        if isinstance(before.value, Absent):
            why = f"{self.target} has no DHCP lease of {mac}"
            return CannotEnforce(MethodReason.NO_SUCH_LOGIN, why, (self._at(RouterResource.LEASE, mac),))
        refusal = self._refuse(mac, before.value) or self._refuse_lease(wanted, service, texts_of(before.value))
        if refusal:
            return refusal
        how = (
            self._kept_in(texts_of(before.value).get("address", ""), seen) if wanted.access is Access.SUSPENDED else ""
        )
        if isinstance(how, CannotEnforce):
            return how
        lease = texts_of(before.value)
        off, beside = self._off(lease), self._beside(lease, seen)
        then = dhcp_text.after_text(wanted.access, self._method, self._rate(wanted), how)
        display = self._display(mac, seen) | {
            "after": beside_text(beside, then) if beside else rejected_text(off, then) if off else then,
            "proof": dhcp_text.proof_text(wanted.access, self._method),
        }
        after = self._become(before.value, wanted)
        enforce = self._enforcement(mac, wanted, service, lease)
        if off and wanted.access is Access.ACTIVE:
            enforce = replace(enforce, expect={**enforce.expect, REJECTED: "yes"})
        # Only a suspension cuts, and only of a lease with an address of its own: others were refused above
        cut = self._cut(lease["address"], service, "suspended") if wanted.access is Access.SUSPENDED else None
        if after == before.value:
            again = (Step(1, self.target, cut),) if cut else ()
            # No write tells on sending that the lease is another one by then
            rests_on = (self._at(RouterResource.LEASE, mac),)
            return self._as_wanted(wanted, mac, seen, AccessPlan(again, enforce, display, rests_on))
        write = Step(1, self.target, (Transition(self._at(RouterResource.LEASE, mac), before, after),))
        steps = (write, Step(2, self.target, cut, after=(1,))) if cut and not self._holds(lease) else (write,)
        return AccessPlan(steps, enforce, display)

    def _as_wanted(
        self, wanted: ServiceState, mac: str, seen: SeenAll, again: AccessPlan
    ) -> AccessPlan | CannotEnforce:
        """Return the steps where the lease is as wanted: none, unless the client is not."""
        lease, client = texts_of(seen[self._at(RouterResource.LEASE, mac)].value), self._bound(mac, seen)
        place = client.get("active-address", "")
        listed = self._listed(place, seen)
        if wanted.access is Access.ACTIVE:
            if not listed:
                told = again.enforce if again.enforce and REJECTED in again.enforce.expect else None
                return replace(again, steps=(), enforce=told)
            why = f"its lease is as wanted, but {self._still_in(place, listed, client)}"
            return CannotEnforce(MethodReason.NOT_IN_EFFECT, why)
        held = listed or (not client and bool(self._left(mac, seen)))
        at_large = not held or bool(self._at_large(self._places(lease, client), seen))
        if at_large:
            return again
        told = still_holding(self, again.enforce, seen) if again.enforce else None
        return replace(again, steps=(), enforce=told)

    def disconnect(self, service: Service, seen: SeenAll) -> AccessPlan | CannotEnforce:
        """Return the cut of its connections: a DHCP client cannot be sent away. No steps when it has no address."""
        mac = mac_of(service.login)
        where = self._at(RouterResource.LEASE, mac)
        if not mac or isinstance(seen[where].value, Absent):
            return CannotEnforce(MethodReason.NO_SUCH_LOGIN, f"{self.target} has no DHCP lease of {service.login}")
        refusal = self._refuse(mac, seen[where].value)
        if refusal:
            return refusal
        place = texts_of(seen[where].value).get("address", "")
        if not _is_address(place):
            return self._no_address(place)
        display = self._display(mac, seen) | {"after": "its connections begin anew; it keeps its address"}
        steps = (Step(1, self.target, self._cut(place, service, "kick")),)
        return AccessPlan(() if self._left(mac, seen) else steps, None, display)

    # --- judging ---

    def judge(self, enforce: Enforcement, seen: SeenAll, ended: Collection[Address]) -> Judgment:  # noqa: ARG002  see below
        """Judge by the lease, by the lists for the address that its client has now, and by the connections.

        Not by those in `ended` only: one that began after the cut, before the list took hold, is as bad.
        """
        found = self._judge_lease(enforce, seen)
        if found.enforced is Enforced.NO or not _is_suspended(enforce):
            return found
        left = self._at_large(self._watched(enforce, seen), seen)
        if left:
            text = f"{counted(sum(left.values()), 'connection carries', 'connections carry')} on as before"
            return Judgment(Enforced.NO, ProofReason.STILL_ONLINE, text, tuple(self._flows_at(left)))
        return found

    def _at_large(self, places: Collection[str], seen: SeenAll) -> Mapping[str, int]:
        """Return how many connections of each address pass by the firewall; for a client that should have none, all of
        them.

        Of an address that is not in the list also those that it opened: a lease that is not bound (the router has lost
        it, or never gave it) does not mean that nobody uses its address.
        """
        found: dict[str, int] = {}
        for place in sorted(places):
            held, value = bool(self._listed(place, seen)), seen[self._at(RouterResource.FLOWS, place)].value
            opened = {key for key in rows_of(value) if not held and key.split(" ")[1].startswith(f"{place}:")}
            if self._list:
                opened |= passing(value, self._garden(seen), self._open_flows(place, seen), [place])
            many = len(opened) if self._list else len(rows_of(value))
            found |= {place: many} if many else {}
        return found

    def _open_flows(self, place: str, seen: SeenAll) -> str:
        """Return the rule that lets connections pass that were open before; "" where none does, or none was read."""
        found = self._kept(place, seen) if self._at(RouterResource.FILTER, ALL) in seen else None
        return found.open_flows if isinstance(found, KeptIn) else ""

    def _garden(self, seen: SeenAll) -> Garden:
        """Return where the rules let a suspended client go; nowhere, where they were not read."""
        where = self._at(RouterResource.FILTER, ALL)
        return garden_of(self._rulesets.at(where, seen), [self._list]) if where in seen else Garden()

    def _judge_lease(self, enforce: Enforcement, seen: SeenAll) -> Judgment:
        mac = self._key(enforce)
        differs = self._differs(enforce, seen[self._at(RouterResource.LEASE, mac)].value)
        if differs:
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, differs)
        clients = rows_of(seen[enforce.address].value)
        if len(clients) > 1:
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, f"there are {len(clients)} leases of {mac} now")
        client = self._bound(mac, seen)
        if not _is_suspended(enforce):
            return self._judge_active(enforce, client, seen)
        return self._judge_list(mac, client, seen) if self._list else self._judge_block(mac, client, seen)

    def _judge_list(self, mac: str, client: Mapping[str, str], seen: SeenAll) -> Judgment:
        how = self._kept_in(client.get("active-address", ""), seen)
        if isinstance(how, CannotEnforce):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, how.detail)
        if not client:
            return self._judge_unbound(mac, seen)
        place = client["active-address"]
        if self._listed(place, seen):
            return Judgment(Enforced.YES, ProofReason.SEEN, f"{place} in list {self._list}")
        why = f"{place} is not in list {self._list} yet: {dhcp_text.left_text(client)}"
        return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, why)

    def _judge_unbound(self, mac: str, seen: SeenAll) -> Judgment:
        """Judge a lease that the router says nobody has now."""
        # A lease that staff made anew reads "waiting", while its client goes on with its address until it renews
        last = self._left(mac, seen)
        if not last:
            return Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, dhcp_text.unseen_text(self._router))
        text = f"no address now, last seen {last} ago: it holds with the next one"
        return Judgment(Enforced.PENDING, ProofReason.OFFLINE, text)

    def _judge_block(self, mac: str, client: Mapping[str, str], seen: SeenAll) -> Judgment:
        if not client and not self._left(mac, seen):
            return self._judge_unbound(mac, seen)
        if not client:
            return Judgment(Enforced.YES, ProofReason.INFERRED, "it has no address, and is given none")
        why = f"blocked, and keeps {client['active-address']} meanwhile: {dhcp_text.left_text(client)}"
        return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, why)

    def _judge_active(self, enforce: Enforcement, client: Mapping[str, str], seen: SeenAll) -> Judgment:
        mac = self._key(enforce)
        lease = texts_of(seen[self._at(RouterResource.LEASE, mac)].value)
        if REJECTED in enforce.expect and (beside := self._beside(lease, seen)):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, beside)
        rejected = self._rejected(lease, seen) if REJECTED in enforce.expect else ""
        if rejected and not client:
            return Judgment(Enforced.YES, ProofReason.STAYS_REJECTED, f"it stays without an address: {rejected}")
        if not client:
            return self._judge_unbound(mac, seen)
        place = client["active-address"]
        listed = self._listed(place, seen)
        if listed:
            return Judgment(Enforced.NO, ProofReason.GARDEN, self._still_in(place, listed, client))
        if _SPEED in enforce.expect:
            queues = list(rows_of(seen[self._at(RouterResource.QUEUES, ALL)].value).values())
            other = speed_of(queues, place, enforce.expect[RATE])
            if other:
                return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, f"{other}: {dhcp_text.left_text(client)}")
        if rejected:
            text = f"it keeps {place} meanwhile, and gets no address then: {rejected}, {dhcp_text.left_text(client)}"
            return Judgment(Enforced.YES, ProofReason.STAYS_REJECTED, text)
        return Judgment(Enforced.YES, ProofReason.SEEN, f"{place}{f', not in list {self._list}' if self._list else ''}")

    def _differs(self, enforce: Enforcement, value: Value) -> str:
        """Return the setting of the lease that it should not have, or nothing."""
        lease, expect = texts_of(value), enforce.expect
        if COPIES in lease or not lease:
            return f"there are {lease.get(COPIES, 'no')} leases of it now"
        stays = REJECTED in expect and bool(self._off(lease))
        if lease.get("dynamic") == "true" or (lease.get("disabled") == "true" and not stays):
            return "its lease is disabled now" if lease.get("disabled") == "true" else "its lease is dynamic now"
        if self._holds(lease) is not _is_suspended(enforce) and not (stays and not self._list):
            what = f"list {self._list}" if self._list else BLOCK
            return f"its lease has {what} no more" if _is_suspended(enforce) else f"its lease still has {what}"
        if not _is_suspended(enforce) and lease.get(BLOCK) == "true" and not stays:
            return f"its lease has {BLOCK}"
        got = lease.get(RATE, "")
        return "" if got == expect[RATE] else f"its rate-limit is {got or 'none'}, not {expect[RATE] or 'none'}"

    # --- parts ---

    def _at(self, resource: RouterResource, key: str) -> Address:
        return address(self.target, resource, key)

    def _key(self, enforce: Enforcement) -> str:
        return self._parsed(enforce.address)

    def _parsed(self, where: Address) -> str:
        found = parse(self.target, where)
        return found[1] if found else ""

    def _flows_at(self, places: Collection[str]) -> list[Address]:
        return [self._at(RouterResource.FLOWS, place) for place in sorted(places)]

    def _places(self, lease: Mapping[str, str], client: Mapping[str, str]) -> frozenset[str]:
        """Return the addresses that the client may use: the lease's own, and the one that it has now."""
        return frozenset(filter(_is_address, (lease.get("address", ""), client.get("active-address", ""))))

    def _watched(self, enforce: Enforcement, seen: SeenAll) -> frozenset[str]:
        return self._places({"address": enforce.expect[_PLACE]}, self._bound(self._key(enforce), seen))

    def _bound(self, mac: str, seen: SeenAll) -> Mapping[str, str]:
        """Return the state of a lease's client, empty where it has no address now."""
        for row in rows_of(seen[self._at(RouterResource.LEASED, mac)].value).values():
            if row.get("status") == "bound" and row.get("active-address"):
                return row
        return {}

    def _left(self, mac: str, seen: SeenAll) -> str:
        """Return how long ago the router last saw a client that has no address now; "": it has one, or the router has
        not seen it since its lease was made.
        """
        if self._bound(mac, seen):
            return ""
        rows = rows_of(seen[self._at(RouterResource.LEASED, mac)].value).values()
        return next((last for row in rows if (last := row.get("last-seen", "")) not in ("", "never")), "")

    def _listed(self, place: str, seen: SeenAll) -> str:
        """Return how an address is in the list: `dynamic`, by its lease; `static`, by somebody's hand; or not."""
        if not self._list or not place:
            return ""
        return member(seen[self._at(RouterResource.MEMBERS, self._list)].value, place)

    def _still_in(self, place: str, listed: str, client: Mapping[str, str]) -> str:
        if listed == "static":
            return f"{place} is in list {self._list} by an entry that is not its lease's: remove that"
        return f"{place} is in list {self._list} still: {dhcp_text.left_text(client)}"

    def _rate(self, wanted: ServiceState) -> str:
        return normalize(RouterKind.RATE_LIMIT, self._method.tariffs[wanted.tariff])

    def _holds(self, lease: Mapping[str, Field]) -> bool:
        """Tell whether a lease that reads so keeps its subscriber suspended."""
        if not self._list:
            return lease.get(BLOCK) == "true"
        lists = lease.get(LISTS, "")
        return isinstance(lists, str) and self._list in lists.split(",")

    def _become(self, lease: Mapping[str, Field], wanted: ServiceState) -> Mapping[str, Field]:
        """Return the lease as it is in a state; its comment says of a suspended one that it is so by us."""
        suspended = wanted.access is Access.SUSPENDED
        after = {**lease, RATE: self._rate(wanted)}
        staff = not self._list and not suspended and bool(self._off(texts_of(lease)))
        if suspended is not self._holds(lease) and not staff:
            if self._list:
                others = [name for name in str(lease.get(LISTS, "")).split(",") if name not in ("", self._list)]
                names = [*others, self._list] if suspended else others
                after[LISTS] = normalize(RouterKind.LIST, ",".join(names))
            else:
                after[BLOCK] = "true" if suspended else "false"
            after = marked(after, suspended=suspended)
        return after

    def _refuse(self, mac: str, value: Value) -> CannotEnforce | None:
        """Refuse a row that is no static lease of one subscriber."""
        lease = texts_of(value)
        if COPIES in lease:
            return CannotEnforce(
                MethodReason.AMBIGUOUS_LOGIN, f"{self.target} has {lease[COPIES]} DHCP leases of {mac}"
            )
        if lease.get("radius") == "true":
            return CannotEnforce(RouterReason.BY_RADIUS, f"the lease of {mac} comes from RADIUS")
        if lease.get("dynamic") == "true":
            return CannotEnforce(
                RouterReason.DYNAMIC_LEASE, f"the lease of {mac} is dynamic and goes by itself: make it static"
            )
        return None

    def _refuse_lease(self, wanted: ServiceState, service: Service, lease: Mapping[str, str]) -> CannotEnforce | None:
        """Refuse a change that would lose a speed that nobody mapped, or would not let the subscriber in or keep it
        out.
        """
        tariffs = self._method.tariffs
        for tariff in (service.tariff, wanted.tariff):
            if tariff not in tariffs:
                return CannotEnforce(
                    MethodReason.UNMAPPED_TARIFF, f"method {self._method.name} maps no rate-limit to {tariff}"
                )
        mine = normalize(RouterKind.RATE_LIMIT, tariffs[service.tariff])
        if lease.get(RATE, "") not in (mine, self._rate(wanted)):
            now = lease.get(RATE) or "none"
            why = f"its rate-limit is {now}, and tariff {service.tariff} is {mine or 'none'}: correct one of them first"
            return CannotEnforce(RouterReason.OTHER_LIMIT, why)
        gives_back = wanted.access is Access.ACTIVE and wanted.tariff == service.tariff
        if lease.get("disabled") == "true" and not gives_back:
            why = "its lease is disabled: the router gives it another one, or none"
            return CannotEnforce(MethodReason.DISABLED, why)
        blocked = self._off(lease) if wanted.access is Access.ACTIVE and not gives_back else ""
        if blocked and self._list:
            return CannotEnforce(RouterReason.BLOCKED, "its lease has block-access: with any list it gets no address")
        place = lease.get("address", "")
        if wanted.access is Access.SUSPENDED and not _is_address(place):
            return self._no_address(place)
        if wanted.access is Access.SUSPENDED and self._list and lease.get(_ROUTES):
            return CannotEnforce(
                MethodReason.ROUTES_NOT_HELD, f"its lease has routes ({lease[_ROUTES]}), which no list holds"
            )
        return None

    def _no_address(self, place: str) -> CannotEnforce:
        where = f"pool {place}" if place and place != "0.0.0.0" else "the server's pool"  # noqa: S104  no listener
        why = f"its lease has no address of its own but one of {where}: later it may be another subscriber's"
        return CannotEnforce(RouterReason.NO_FIXED_ADDRESS, why)

    def _kept_in(self, place: str, seen: SeenAll) -> str | CannotEnforce:
        """Return the rules that keep the list's members in; nothing where there is no list."""
        if not self._list:
            return ""
        found = self._kept(place, seen)
        if isinstance(found, LetOut):
            return CannotEnforce(MethodReason.LIST_WITHOUT_RULE, found.advice)
        return " · ".join(filter(None, (found.text, cut_text(found))))

    def _kept(self, place: str, seen: SeenAll) -> KeptIn | LetOut:
        rules = seen[self._at(RouterResource.FILTER, ALL)].value
        places = (place,) if _is_address(place) else ()
        return self._rulesets.kept(rules, Confined(frozenset((self._list,)), places))

    def _enforcement(self, mac: str, wanted: ServiceState, service: Service, lease: Mapping[str, str]) -> Enforcement:
        rate = self._rate(wanted)
        expect = {
            "method": self._method.name,
            "state": wanted.access.value,
            _PLACE: lease.get("address", ""),
            RATE: rate,
        }
        if wanted.tariff != service.tariff or lease.get(RATE, "") != rate:
            expect[_SPEED] = "seen"
        return Enforcement(self.target, self._at(RouterResource.LEASED, mac), expect, self._method.renew_within_s)

    def _cut(self, place: str, service: Service, what: str) -> Effect:
        now = f"connections of {place} on {self._router}"
        return end_of(
            self._at(RouterResource.FLOWS, place), f"{service.ref}:{what}", self._method.cut_within_s, now=now
        )

    def _display(self, mac: str, seen: SeenAll) -> dict[str, str]:
        client, where = self._bound(mac, seen), self._at(RouterResource.LEASE, mac)
        display = {
            "now": dhcp_text.now_text(client, texts_of(seen[where].value), self._router, self._left(mac, seen)),
            "online": "online" if client else "offline" if self._left(mac, seen) else "not known",
            "sessions": str(int(bool(client))),
        }
        return display | ({"nas": self._router} if client else {})


def _is_suspended(enforce: Enforcement) -> bool:
    return enforce.expect["state"] == Access.SUSPENDED.value


def _is_address(text: str) -> bool:
    try:
        return not IPv4Address(text).is_unspecified
    except ValueError:
        return False
