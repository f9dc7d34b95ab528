"""Ways out that no drop in the firewall's chain forward closes: the menus that tell of them, and their meaning. Pure.

A suspension by list holds only packets that chain forward sees, and lets pass those that the operator left open. The
router itself may carry a subscriber past it: by its switch, a hotspot's walled garden, a proxy, a VPN server. Each such
way is open (it was read, and lets them out), or it is not checked (it may). One that surely defeats the suspension
refuses it; the others stand in the preview. A menu that a release or a board lacks is no way out; one that the router
refuses to show is not checked.

Sources: MikroTik's manual, "L3 Hardware Offloading" (no rule of the IP firewall triggers for packets that the switch
routes), "HotSpot" (walled garden), "Proxy", "DHCP Server" (`address-pool`), "ARP", "PPP AAA" (profiles), "Configuration
Management" (safe mode; flag floating-undo). Not read: VRFs, IPsec, containers.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.connectors.base import GARDEN_MOST, WayOut
from agent.connectors.routeros.addresses import (
    ALL,
    Network,
    RouterResource,
    address,
    networks,
    rows_of,
    texts_of,
)
from agent.connectors.routeros.arrivals import arriving
from agent.connectors.routeros.firewall import own_rules, passing
from agent.connectors.routeros.matching import DNS, PPP, Confined, Ruleset
from agent.connectors.routeros.rulesets import Rulesets
from agent.connectors.routeros.safe_mode import FLOATING, HISTORY, SAFE_MODE, open_safe_mode
from agent.connectors.routeros.values import mac_of
from agent.model import Address, Seen, Service, Value

SeenAll = Mapping[Address, Seen]
Row = Mapping[str, str]

GARDEN_NAMED: Final = 256
"""A garden of more public addresses is named in a preview; chosen arbitrarily."""
_KNOWN_MAX: Final = 16
"""Values to keep judged rules of; chosen arbitrarily."""
UNREAD: Final = "unread"
"""In a menu's row in place of its own: why the router did not show it."""


class SubscriberKind(enum.Enum):
    """The kinds of subscribers on a router."""

    PPP = "ppp"
    STATIC = "static"
    DHCP = "dhcp"
    HOTSPOT = "hotspot"


class Way(enum.Enum):
    """Menus of a router that are read together, by the last word of their address."""

    OFFLOAD = "l3-offload"
    WALLED_GARDEN = "walled-garden"
    LEASES_FOR_ALL = "dhcp-servers"
    SERVERS = "servers"
    REDIRECTS = "redirects"
    SAFE_MODE = "safe-mode"


@dataclass(frozen=True, slots=True)
class WayMenu:
    """A menu that is printed for a way: the properties, and the query words that keep the answer small."""

    path: str
    props: tuple[str, ...]
    query: tuple[str, ...] = ()


_SWITCH: Final = "/interface/ethernet/switch"
_PORT: Final = "/interface/ethernet/switch/port"
_GARDEN_IP: Final = "/ip/hotspot/walled-garden/ip"
_GARDEN_WEB: Final = "/ip/hotspot/walled-garden"
_DHCP: Final = "/ip/dhcp-server"
_STATIC_ONLY: Final = "static-only"
_ARP: Final = ("/interface/ethernet", "/interface/bridge", "/interface/vlan", "/interface/bonding")
_PROXY: Final = "/ip/proxy"
_PROXY_ACCESS: Final = "/ip/proxy/access"
_NAT: Final = "/ip/firewall/nat"
_SERVERS: Final[Mapping[str, str]] = {
    "/ip/socks": "SOCKS",
    "/interface/pptp-server/server": "PPTP",
    "/interface/l2tp-server/server": "L2TP",
    "/interface/sstp-server/server": "SSTP",
    "/interface/ovpn-server/server": "OpenVPN",
    "/interface/wireguard": "WireGuard",
}
"""Servers of the router itself that carry a client's traffic, by the menu that switches them on."""

MENUS: Final[Mapping[Way, tuple[WayMenu, ...]]] = {
    Way.OFFLOAD: (WayMenu(_SWITCH, ("name", "l3-hw-offloading")), WayMenu(_PORT, ("name", "l3-hw-offloading"))),
    Way.WALLED_GARDEN: (
        WayMenu(
            _GARDEN_IP,
            (
                "action",
                "disabled",
                "server",
                "src-address",
                "src-address-list",
                "dst-address",
                "dst-address-list",
                "dst-host",
                "dst-port",
                "protocol",
            ),
        ),
        WayMenu(
            _GARDEN_WEB,
            ("action", "disabled", "dynamic", "server", "src-address", "dst-host", "dst-port", "path", "method"),
        ),
    ),
    Way.LEASES_FOR_ALL: (
        WayMenu(_DHCP, ("name", "interface", "address-pool", "address-lists", "use-radius", "disabled", "invalid")),
        *(WayMenu(path, ("name",), ("?arp=reply-only",)) for path in _ARP),
    ),
    Way.SERVERS: tuple(WayMenu(path, ("enabled", "disabled", "name")) for path in _SERVERS),
    Way.REDIRECTS: (
        WayMenu(_PROXY, ("enabled", "port")),
        WayMenu(
            _PROXY_ACCESS,
            (
                "action",
                "disabled",
                "src-address",
                "dst-address",
                "dst-host",
                "dst-port",
                "local-port",
                "path",
                "method",
            ),
        ),
        WayMenu(
            _NAT,
            ("chain", "action", "to-ports", "dst-port", "src-address-list", "src-address", "disabled", "invalid"),
            ("?action=redirect",),
        ),
    ),
    Way.SAFE_MODE: (
        WayMenu(SAFE_MODE, ("enabled",)),
        WayMenu(HISTORY, ("by", FLOATING), (f"?{FLOATING}=true",)),
    ),
}
"""The menus of each way."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """How subscribers of a method are suspended on one router.

    `lists`: the address lists that the firewall is to keep in; none: those of the profile, or something else does.
    `profile`: the suspended one, "" where there is none. `by_queue`: they stay online, slowed. `garden_most`: how many
    public addresses a garden may hold. `written`: rows of the router are written.
    """

    target: str
    kind: SubscriberKind
    lists: tuple[str, ...] = ()
    profile: str = ""
    by_queue: bool = False
    garden_most: int = GARDEN_MOST
    written: bool = True

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways that may let them out beside the rules."""
        found = []
        if self.kind is not SubscriberKind.PPP and (self.filtered or self.by_queue or self._gated):
            found.append(Way.OFFLOAD)
        if self.kind is SubscriberKind.HOTSPOT:
            found.append(Way.WALLED_GARDEN)
        if self.kind is SubscriberKind.DHCP:
            found.append(Way.LEASES_FOR_ALL)
        if self.filtered:
            found += [Way.SERVERS, Way.REDIRECTS]
        return (*found, Way.SAFE_MODE) if self.written else tuple(found)

    @property
    def filtered(self) -> bool:
        """Whether the firewall is to keep them in: by their lists, or by the pool of a profile or of RADIUS."""
        return bool(self.lists or self.profile) or not self.written

    @property
    def _gated(self) -> bool:
        return self.kind is SubscriberKind.HOTSPOT


class RouterWays:
    """Implements `agent.connectors.base.Ways` for one router."""

    def __init__(self, suspended: Suspended) -> None:
        """Take how its subscribers are suspended."""
        self._suspended, self._rules = suspended, RulesSeen()

    def reads(self, service: Service, seen: SeenAll) -> list[Address]:  # noqa: ARG002  alike for each of them
        """Return the menus, then the lists that gardens name."""
        return reads(self._suspended, seen, self._rules)

    def out(self, service: Service | None, seen: SeenAll) -> tuple[WayOut, ...]:
        """Return the ways out of a suspended service."""
        lease = lease_of(self._suspended, service.login, seen) if service else {}
        static = service is not None and self._suspended.kind is SubscriberKind.STATIC
        mine = [text.strip() for text in service.login.split(",")] if service and static else [lease.get("address", "")]
        return ways_out(self._suspended, seen, self._rules, lease=lease, mine=mine)

    def undoing(self, seen: SeenAll) -> list[WayOut]:
        """Return that a safe mode is open."""
        where = way_at(self._suspended.target, Way.SAFE_MODE)
        one = safe_mode(seen[where]) if where in seen else None
        return [one] if one is not None and one.known else []

    def defeat_reads(self, seen: SeenAll) -> list[Address]:
        """Return the menus of a sure way out, and of a safe mode."""
        return refusal_reads(self._suspended, seen)


def way_at(target: str, way: Way) -> Address:
    """Return the address of a way's menus."""
    return address(target, RouterResource.WAYS, way.value)


def reads(suspended: Suspended, seen: SeenAll, rules: RulesSeen) -> list[Address]:
    """Return the addresses that `ways_out` needs and `seen` lacks: the menus, then the lists that gardens name."""
    suspended = _with_lists(suspended, seen)
    wanted = [way_at(suspended.target, way) for way in suspended.ways]
    missing = [a for a in wanted if a not in seen]
    return missing or [a for a in _gardens_at(suspended, seen, rules) if a not in seen]


def refusal_reads(suspended: Suspended, seen: SeenAll) -> list[Address]:
    """Return the addresses that `seen` lacks of ways that may defeat a suspension after it was enforced."""
    sure = (Way.OFFLOAD, Way.WALLED_GARDEN, Way.SAFE_MODE)
    return [a for way in suspended.ways if way in sure and (a := way_at(suspended.target, way)) not in seen]


def ways_out(
    suspended: Suspended,
    seen: SeenAll,
    rules: RulesSeen,
    *,
    lease: Row | None = None,
    mine: Sequence[str] = (),
) -> tuple[WayOut, ...]:
    """Return the ways out of a suspended subscriber; a menu that was not read is among them as not checked.

    Args:
        suspended: how it is suspended.
        seen: the values read.
        rules: those that were last seen.
        lease: a DHCP subscriber's; None: there is none.
        mine: the subscriber's fixed addresses, as texts; none: they are not known.
    """
    suspended = _with_lists(suspended, seen)
    found: list[WayOut] = []
    for way in suspended.ways:
        where = way_at(suspended.target, way)
        if where not in seen:
            found.append(_not_checked(f"{way.value}: it was not read"))
            continue
        printed = _WayRows(rows_of(seen[where].value))
        found += [_not_checked(f"{path}: {why}") for path, why in printed.unread]
        match way:
            case Way.OFFLOAD:
                found += _offload(printed)
            case Way.WALLED_GARDEN:
                found += _walled_garden(printed, suspended, seen)
            case Way.LEASES_FOR_ALL:
                found += _leases_for_all(printed, suspended, lease or {})
            case Way.SERVERS:
                found += _servers(printed)
            case Way.REDIRECTS:
                found += _redirects(printed, suspended)
            case Way.SAFE_MODE:
                found += filter(None, (safe_mode(seen[where]),))
    return (*found, *_rules(suspended, seen, rules, mine), *_profile(suspended, seen, rules))


def _with_lists(suspended: Suspended, seen: SeenAll) -> Suspended:
    """Return it with the address lists of its profile, as that was read."""
    where = _profile_at(suspended)
    if suspended.lists or not suspended.profile or where not in seen:
        return suspended
    lists = texts_of(seen[where].value).get("address-list", "").split(",")
    return replace(suspended, lists=tuple(filter(None, lists)))


def _profile_at(suspended: Suspended) -> Address:
    hotspot = suspended.kind is SubscriberKind.HOTSPOT
    resource = RouterResource.HOTSPOT_PROFILE if hotspot else RouterResource.PROFILE
    return address(suspended.target, resource, suspended.profile)


def lease_of(suspended: Suspended, login: str, seen: SeenAll) -> Row:
    """Return the lease of a DHCP subscriber as it was read; empty for every other kind."""
    if suspended.kind is not SubscriberKind.DHCP:
        return {}
    where = address(suspended.target, RouterResource.LEASE, mac_of(login))
    return texts_of(seen[where].value) if where in seen else {}


def safe_mode(value: Seen) -> WayOut | None:
    """Return that a safe mode is open, or that nobody knows; None: none is."""
    printed = _WayRows(rows_of(value.value))
    told = open_safe_mode(printed.of(SAFE_MODE), printed.of(HISTORY))
    if told is None:
        return _not_checked("whether a colleague's safe mode is open (the API says so from 7.18 on)")
    text = f"{told}: what is written meanwhile is undone if it ends without being released"
    return WayOut(text, False, "release the safe mode") if told else None


# --- one way after another ---


class _WayRows:
    """The rows of several menus as the reader keeps them: `PATH NUMBER` -> properties."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows: dict[str, list[Row]] = {}
        self.unread: list[tuple[str, str]] = []
        for key, row in rows.items():
            path = key.rpartition(" ")[0]
            if UNREAD in row:
                self.unread.append((path, row[UNREAD]))
            else:
                self._rows.setdefault(path, []).append(row)

    def of(self, path: str) -> Sequence[Row]:
        """Return a menu's rows, none where the router has no such menu."""
        return self._rows.get(path, ())


def _offload(printed: _WayRows) -> list[WayOut]:
    on = [row.get("name", "switch") for row in printed.of(_SWITCH) if _yes(row.get("l3-hw-offloading", ""))]
    if not on:
        return []
    off = [row.get("name", "") for row in printed.of(_PORT) if row.get("l3-hw-offloading", "") in ("no", "false")]
    what = f"L3 hardware offload is on ({', '.join(on)})"
    mend = f"{_PORT} set [find name=UPLINK] l3-hw-offloading=no"
    if off:
        return [_not_checked(f"{what}, and off on {', '.join(off)}: whether all traffic to the internet passes there")]
    return [WayOut(f"{what}: what the switch routes meets no firewall rule and no queue", True, mend)]


def _walled_garden(printed: _WayRows, suspended: Suspended, seen: SeenAll) -> list[WayOut]:
    addresses, wide, webs = 0, [], []
    for number, row in enumerate(printed.of(_GARDEN_IP)):
        if not _on(row) or row.get("action", "accept") != "accept" or _of_others(row, suspended.lists):
            continue
        if row.get("dst-host"):
            webs.append(row["dst-host"])
            continue
        holds = _held(row, suspended, seen)
        if holds is None or holds > suspended.garden_most:
            wide.append(f"walled-garden ip entry {number} accepts {_places(row, holds)}")
        else:
            addresses += holds
    for number, row in enumerate(printed.of(_GARDEN_WEB)):
        if not _on(row) or row.get("action", "allow") != "allow":
            continue
        host = row.get("dst-host", "")
        if host.strip("*.") or row.get("path"):
            webs.append(host or "any host")
        else:
            wide.append(f"walled-garden entry {number} allows every web host")
    if addresses > suspended.garden_most:
        wide.append(f"the walled-garden ip entries accept {addresses:,} addresses together")
    mend = "remove the entry, or name the pay page's own addresses in it"
    found = [WayOut(f"{text}: nobody needs a login for that", True, mend) for text in wide]
    if addresses > GARDEN_NAMED:
        found.append(WayOut(f"the hotspot's walled garden holds {addresses:,} addresses", False, mend))
    if stars := [host for host in webs if "*" in host or host == "any host"]:
        found.append(WayOut(f"the hotspot's walled garden lets web hosts pass: {_few(stars)}", False, mend))
    return found


def beside_lease(value: Value, lease: Row) -> str:
    """Return how the client of a disabled lease gets another address, or that nobody knows; "": it gets none.

    RouterOS serves such a client as one without a static lease (`address-pool=static-only`: nobody else gets one).

    Args:
        value: of the way `LEASES_FOR_ALL`.
        lease: the disabled one.
    """
    printed = _WayRows(rows_of(value))
    hidden = [f"whether it gets another address is not known: {path}: {why}" for path, why in printed.unread]
    given = []
    for row in _dhcp_servers(printed, lease) or _dhcp_servers(printed, {}):
        name, pool = row.get("name", ""), _pool(row)
        if pool != _STATIC_ONLY:
            given.append(f"DHCP server {name} gives its client another address, of pool {pool}")
        elif _asks_radius(row):
            given.append(f"DHCP server {name} asks RADIUS for another address")
    return next(iter((*given, *hidden)), "")


def _dhcp_servers(printed: _WayRows, lease: Row) -> list[Row]:
    """Return the DHCP servers that are on and serve a lease's client."""
    named = lease.get("server", "all")
    on = [row for row in printed.of(_DHCP) if _on(row) and row.get("invalid") != "true"]
    return [row for row in on if named in ("all", row.get("name", ""))]


def _pool(server: Row) -> str:
    return server.get("address-pool", _STATIC_ONLY)


def _asks_radius(server: Row) -> bool:
    return server.get("use-radius", "no") not in ("no", "false")


def _leases_for_all(printed: _WayRows, suspended: Suspended, lease: Row) -> list[WayOut]:
    strict = {row.get("name", "") for path in _ARP for row in printed.of(path)}
    found = []
    for row in _dhcp_servers(printed, lease):
        name, place, pool = row.get("name", ""), row.get("interface", ""), _pool(row)
        held = bool(suspended.lists) and set(suspended.lists) <= set(row.get("address-lists", "").split(","))
        if pool != _STATIC_ONLY and not held:
            found.append(
                WayOut(
                    f"another MAC gets an address of pool {pool} (DHCP server {name})",
                    False,
                    f"{_DHCP} set {name} address-pool=static-only",
                )
            )
        if _asks_radius(row):
            found.append(_not_checked(f"whether RADIUS gives another MAC an address (DHCP server {name})"))
        if place not in strict:
            found.append(
                WayOut(
                    f"an address set by hand works on {place} (its arp is not seen to be reply-only)",
                    False,
                    f"set arp=reply-only on {place}, and {_DHCP} set {name} add-arp=yes",
                )
            )
    return found


def _servers(printed: _WayRows) -> list[WayOut]:
    on = []
    for path, name in _SERVERS.items():
        rows = printed.of(path)
        # A menu with one row has `enabled`, one with several has `disabled` rows
        if any(_yes(row["enabled"]) if "enabled" in row else _on(row) and row.get("name") for row in rows):
            on.append(name)
    if not on:
        return []
    many = "servers" if len(on) > 1 else "server"
    return [_not_checked(f"the router's own {', '.join(on)} {many} (chain input is not judged)")]


def _redirects(printed: _WayRows, suspended: Suspended) -> list[WayOut]:
    proxy = next((row for row in printed.of(_PROXY) if _yes(row.get("enabled", ""))), None)
    if proxy is None:
        return []
    denies = [row for row in printed.of(_PROXY_ACCESS) if _on(row) and row.get("action") in ("deny", "redirect")]
    if any(_closes(row) for row in denies):
        return []
    if denies:
        return [_not_checked("whether the access rules of the router's web proxy close it")]
    mend = f"{_PROXY_ACCESS} add action=deny, after the rules that allow the pay page"
    ports = set(proxy.get("port", "8080").split(","))
    for number, row in enumerate(printed.of(_NAT)):
        ours = row.get("src-address-list", "") in ("", *suspended.lists) and not row.get("src-address")
        live = _on(row) and row.get("invalid") != "true" and row.get("chain") == "dstnat"
        if live and ours and row.get("to-ports", "") in ports:
            text = f"redirect {number} of nat sends web traffic to the router's proxy, which no access rule closes"
            return [WayOut(text, True, mend)]
    return [WayOut("the router's web proxy, which no access rule closes (chain input is not judged)", False, mend)]


def _closes(row: Row) -> bool:
    """Tell whether a proxy's access rule denies everything, but for names with a `!`."""
    but = [row.get(name, "") for name in ("dst-address", "dst-host")]
    other = [row.get(name, "") for name in ("src-address", "dst-port", "local-port", "path", "method")]
    return not any(other) and all(not text or text.startswith("!") for text in but)


class RulesSeen:
    """The rules that were last read, taken apart once, and the packets that they let pass: alike for a whole batch."""

    def __init__(self) -> None:
        """Know none yet."""
        self._rulesets = Rulesets()
        self._passing: dict[int, tuple[Value, Confined, Mapping[str, str]]] = {}

    def of(self, value: Value) -> Ruleset:
        """Return the ruleset of a value."""
        return self._rulesets.of(value)

    def passing(self, value: Value, confined: Confined) -> Mapping[str, str]:
        """Return by which rule DNS and ping pass, as `firewall.passing`."""
        known = self._passing.get(id(value))
        if known is None or known[0] is not value or known[1] != confined:
            while len(self._passing) >= _KNOWN_MAX:
                del self._passing[next(iter(self._passing))]
            known = self._passing[id(value)] = (value, confined, passing(self.of(value), confined))
        return known[2]


def _rules(suspended: Suspended, seen: SeenAll, rules: RulesSeen, mine: Sequence[str]) -> list[WayOut]:
    """Return the ways that the rules leave open: gardens, DNS, ping."""
    found: list[WayOut] = []
    held: dict[str, int] = {}
    for resource, version in ((RouterResource.FILTER, 4), (RouterResource.FILTER6, 6)):
        where, family = address(suspended.target, resource, ALL), "IPv6 " if version == 6 else ""
        if where not in seen or not suspended.filtered:
            continue
        value = seen[where].value
        for number, rule in _accepts(rules.of(value).filter, suspended.lists):
            found += _garden(f"{family}rule {number}", rule, suspended, seen)
            place = rule.get("dst-address-list") or rule.get("dst-address", "")
            held |= {place: _held(rule, suspended, seen) or 0}
        confined = _confined(suspended, seen, [n for text in mine for n in networks(text) if n.version == version])
        confined = replace(arriving(rules.of(value), confined), addresses=())
        if confined.is_told:
            passed = rules.passing(value, confined)
            found += [_anywhere(what, f"{family}{place}") for what, place in passed.items()]
        else:
            found.append(_not_checked(f"whether {family}DNS and ping to anywhere are dropped for its pool"))
    if (many := sum(held.values())) > suspended.garden_most >= max(held.values()):
        mend = "name the pay page's own addresses in them"
        found.append(WayOut(f"gardens hold {many:,} addresses together ({', '.join(sorted(held))})", True, mend))
    return list(dict.fromkeys(found))


def _confined(suspended: Suspended, seen: SeenAll, mine: Sequence[Network]) -> Confined:
    """Return how the subscriber looks to the rules, but for a pool's addresses."""
    lists, addresses = frozenset(suspended.lists), tuple(map(str, mine))
    where = _profile_at(suspended)
    if suspended.kind is not SubscriberKind.PPP:
        return Confined(lists, addresses)
    row = texts_of(seen[where].value) if suspended.profile and where in seen else {}
    joins = frozenset(filter(None, (row.get("interface-list", ""),)))
    return Confined(lists, addresses, PPP, joins, row.get("incoming-filter", ""))


def _anywhere(what: str, place: str) -> WayOut:
    mend = "let it pass to your own resolvers only: dst-address-list=, or dst-address=, in the rule"
    if what == DNS:
        return WayOut(f"DNS to any server ({place}), and so a tunnel through port 53", False, mend)
    return WayOut(f"ping (ICMP) to anywhere ({place})", False, "let it pass to the garden only: dst-address-list=")


def _accepts(rules: Sequence[Row], lists: Collection[str]) -> Iterable[tuple[int, Row]]:
    """Yield the accepts that members of the lists may meet before they are dropped, with their numbers."""
    for number, rule in enumerate(rules):  # as /ip/firewall/filter/print numbers them
        chain, action = rule.get("chain", ""), rule.get("action", "accept")
        if "true" in (rule.get("disabled"), rule.get("invalid")) or chain in ("input", "output"):
            continue
        if chain == "forward" and action in ("drop", "reject", "tarpit") and rule.get("src-address-list") in lists:
            return
        if action == "accept" and not _of_others(rule, lists):
            yield number, rule


def _garden(name: str, rule: Row, suspended: Suspended, seen: SeenAll) -> Iterable[WayOut]:
    place = rule.get("dst-address-list") or rule.get("dst-address")
    size = _held(rule, suspended, seen) if place else None
    if size is not None and size > GARDEN_NAMED:
        mend = "name the pay page's own addresses in it"
        yield WayOut(f"garden {_places(rule, size)} ({name})", size > suspended.garden_most, mend)


def _profile(suspended: Suspended, seen: SeenAll, rules: RulesSeen) -> list[WayOut]:
    """Return the ways that a suspended profile brings beside its address list."""
    where = _profile_at(suspended)
    if not suspended.profile or where not in seen:
        return []
    row, name = texts_of(seen[where].value), f"profile {suspended.profile}"
    found = []
    if row.get("bridge"):
        text = f"{name} bridges its sessions into {row['bridge']}, past the firewall"
        found.append(WayOut(text, True, f"/ppp/profile unset {suspended.profile} value-name=bridge"))
    if scripts := [prop for prop in ("on-up", "on-down", "on-login", "on-logout") if row.get(prop)]:
        found.append(_not_checked(f"the scripts of {name} ({', '.join(scripts)})"))
    chains = ("incoming-filter", "outgoing-filter")
    if filters := [f"{p}={row[p]}" for p in chains if row.get(p) and not _is_judged(p, row[p], suspended, seen, rules)]:
        found.append(_not_checked(f"the chains of {name} ({', '.join(filters)})"))
    if row.get("dhcpv6-use-radius") in ("true", "yes"):
        found.append(_not_checked(f"whether RADIUS gives sessions of {name} an IPv6 prefix (dhcpv6-use-radius)"))
    return found


def _is_judged(prop: str, chain: str, suspended: Suspended, seen: SeenAll, rules: RulesSeen) -> bool:
    """Tell whether a profile's chain is followed with the rules: that of a PPP session's own packets may be."""
    where = address(suspended.target, RouterResource.FILTER, ALL)
    if prop != "incoming-filter" or suspended.kind is not SubscriberKind.PPP or where not in seen:
        return False
    return bool(own_rules(rules.of(seen[where].value), Confined(interface=PPP, chain=chain)))


# --- gardens ---


def _gardens_at(suspended: Suspended, seen: SeenAll, rules: RulesSeen) -> list[Address]:
    """Return where the members of the lists are read that gardens name."""
    found: dict[Address, None] = {}
    where = way_at(suspended.target, Way.WALLED_GARDEN)
    if where in seen and suspended.kind is SubscriberKind.HOTSPOT:
        for row in _WayRows(rows_of(seen[where].value)).of(_GARDEN_IP):
            if name := row.get("dst-address-list", "").removeprefix("!"):
                found[address(suspended.target, RouterResource.MEMBERS, name)] = None
    for resource, members in (
        (RouterResource.FILTER, RouterResource.MEMBERS),
        (RouterResource.FILTER6, RouterResource.MEMBERS6),
    ):
        at = address(suspended.target, resource, ALL)
        filters = rules.of(seen[at].value).filter if at in seen and suspended.filtered else ()
        for _, rule in _accepts(filters, suspended.lists):
            if (name := rule.get("dst-address-list", "")) and not name.startswith("!"):
                found[address(suspended.target, members, name)] = None
    return list(found)


def _held(row: Row, suspended: Suspended, seen: SeenAll) -> int | None:
    """Return how many public addresses a rule's destination holds; None: all but some, or all."""
    place, name = row.get("dst-address", ""), row.get("dst-address-list", "")
    if place.startswith("!") or name.startswith("!") or not (place or name):
        return None
    sizes = [_public([place])] if place else []
    if name:
        members = [address(suspended.target, one, name) for one in (RouterResource.MEMBERS, RouterResource.MEMBERS6)]
        sizes.append(sum(_public(texts_of(seen[where].value)) for where in members if where in seen))
    return min(sizes)


def _public(texts: Iterable[str]) -> int:
    """Return how many addresses of the internet they hold. A name holds none: RouterOS lists the addresses that it
    found for it.
    """
    return sum(one.num_addresses for text in texts for one in networks(text) if one.is_global or one.prefixlen == 0)


def _places(row: Row, size: int | None) -> str:
    if size is None:
        return "everything" if not (row.get("dst-address") or row.get("dst-address-list")) else "everything but some"
    name = row.get("dst-address-list")
    return f"list {name} holds {size:,} addresses" if name else f"{row.get('dst-address')} holds {size:,} addresses"


# --- rows ---


def _of_others(row: Row, lists: Collection[str]) -> bool:
    """Tell whether a rule is about members of another list, or about all but ours."""
    name = row.get("src-address-list", "")
    return name.removeprefix("!") in lists if name.startswith("!") else bool(name) and name not in lists


def _on(row: Row) -> bool:
    return row.get("disabled", "false") not in ("true", "yes")


def _yes(text: str) -> bool:
    return text in ("true", "yes")


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return f"{', '.join(texts[:3])}{more}"


def _not_checked(text: str) -> WayOut:
    return WayOut(text, False, "", known=False)
