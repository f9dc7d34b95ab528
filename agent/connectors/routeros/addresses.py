"""The addresses of a router's resources, and the values of those that are no single row.

Under a target's id (`routeros/edge-1`). A row of a menu, with its properties as `menus` reads them; passwords are
commitments. Where several rows have the key, the field `COPIES` says how many: good for nothing but refusing.

* `ppp/secret/NAME`, `ppp/profile/NAME`, `queue/simple/NAME`, `hotspot/user/NAME`, `hotspot/profile/NAME`
* `dhcp/lease/MAC`: a DHCP lease.
* `ip/api-clients/LIST`, `ipv6/api-clients/LIST`: the addresses from which the API is used now that a list holds.
* `ip/rule/COMMENT`, `ipv6/rule/COMMENT`: a filter rule of ours, by its comment, with its place (`placed_rules`).
* `ip/list/ADDRESS LIST`, `ipv6/list/PREFIX LIST`: an entry of a firewall address list.

Running things, each a table of rows (`rows_of`) under its owner, and each row by itself, ABSENT once it is gone:

* `ppp/active/NAME` and `ppp/session/ID`; `hotspot/active/USER` and `hotspot/session/…`; `hotspot/cookies/USER` and
  `hotspot/cookie/…`; `ip/flows/ADDRESS` and `ip/flow/…`, `ipv6/flows/PREFIX` and `ipv6/flow/…`: the open connections
  from an address or network, and to it. `ppp/flows/NAME`, `hotspot/flows/MAC USER`, `hotspot/login-flows/USER`, and
  `ip/flow/…`: those of the addresses that the sessions of a PPP login, a hotspot login's client, the sessions of a
  hotspot login have now. Where the client has another login's session now, its connections are not that user's.
* `ppp/began/NAME`, `hotspot/began/USER`: when each session began, its key -> unix seconds. Apart, since that is known
  to a second at best.

And look-ups:

* `ip/listed/ADDRESS`, `ipv6/listed/PREFIX`: the lists that have an entry of just this one that is not disabled, list ->
  `dynamic` or `static`.
* `ip/members/LIST`, `ipv6/members/LIST`: a list's entries that are not disabled, address -> `dynamic` or `static`.
* `ip/filter/all`, `ipv6/filter/all`: the firewall's filter rules in their order, number -> its properties.
* `ip/order/all`, `ipv6/order/all`: the texts of the filter rules that are not ours, in their order.
* `ip/pools/all`, `ipv6/pools/all`: the pools, name -> their ranges.
* `ip/held/all`, `ipv6/held/all`: addresses and prefixes that somebody has for a while -> the PPP or hotspot session,
  dynamic lease or binding.
* `queue/order/all`: the simple queues in their order, number -> its properties.
* `dhcp/leased/MAC`: the present state of a lease's client (`status`, `address`, `server`, `expires-after`).
* `hotspot/binding/MAC`: the ip-bindings of that client, their place -> their properties; `hotspot/binding/all`: all.
* `hotspot/logins/all`: in which ways the hotspots that are on let somebody in, the name of a profile -> its `login-by`,
  and `radius` where it asks RADIUS about others than its users.
* `ppp/aaa/all`: whether PPP asks RADIUS.
* `ways/WAY`: settings that may let a suspended subscriber out beside the rules (`ways_out`): the rows of a few menus,
  `PATH NUMBER` -> properties; of a menu that the router refuses to show, why.
* `online/all`: everybody with an open PPP session, name -> how many.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network, summarize_address_range
from typing import Final

from agent.connectors.routeros.values import RouterKind, normalize
from agent.model import ABSENT, Absent, Address, Seen, Value

Network = IPv4Network | IPv6Network

COPIES: Final = "copies"
ALL: Final = "all"


class RouterResource(enum.StrEnum):
    """The resource that an address names, by the words after the target's id."""

    SECRET = "ppp/secret"  # a menu
    PROFILE = "ppp/profile"
    QUEUE = "queue/simple"
    LEASE = "dhcp/lease"
    HOTSPOT_USER = "hotspot/user"
    HOTSPOT_PROFILE = "hotspot/profile"
    LIST = "ip/list"
    LIST6 = "ipv6/list"
    ACTIVE = "ppp/active"
    SESSION = "ppp/session"
    BEGAN = "ppp/began"
    SESSION_FLOWS = "ppp/flows"
    HOTSPOT_ACTIVE = "hotspot/active"
    HOTSPOT_SESSION = "hotspot/session"
    HOTSPOT_BEGAN = "hotspot/began"
    COOKIES = "hotspot/cookies"
    COOKIE = "hotspot/cookie"
    BINDING = "hotspot/binding"
    HOTSPOT_FLOWS = "hotspot/flows"
    LOGIN_FLOWS = "hotspot/login-flows"
    HOTSPOT_LOGINS = "hotspot/logins"
    FLOWS = "ip/flows"
    FLOW = "ip/flow"
    FLOWS6 = "ipv6/flows"
    FLOW6 = "ipv6/flow"
    LISTED = "ip/listed"
    LISTED6 = "ipv6/listed"
    MEMBERS = "ip/members"
    MEMBERS6 = "ipv6/members"
    FILTER = "ip/filter"
    FILTER6 = "ipv6/filter"
    RULE = "ip/rule"
    RULE6 = "ipv6/rule"
    ORDER = "ip/order"
    ORDER6 = "ipv6/order"
    CLIENTS = "ip/api-clients"
    CLIENTS6 = "ipv6/api-clients"
    POOLS = "ip/pools"
    POOLS6 = "ipv6/pools"
    JOINED = "interface/joined"
    HELD = "ip/held"
    HELD6 = "ipv6/held"
    QUEUES = "queue/order"
    LEASED = "dhcp/leased"
    AAA = "ppp/aaa"
    WAYS = "ways"
    ONLINE = "online"


_BY_WORDS: Final = {resource.value: resource for resource in RouterResource}


def address(target: str, resource: RouterResource, key: str) -> Address:
    """Return `TARGET/RESOURCE/KEY`; the key is the router's own text and may hold slashes."""
    return Address(f"{target}/{resource.value}/{key}")


def parse(target: str, text: str) -> tuple[RouterResource, str] | None:
    """Return resource and key of an address of `target`, None when it is not one."""
    if not text.startswith(f"{target}/"):
        return None
    words = text.removeprefix(f"{target}/").split("/", 2)
    for n in (2, 1):
        resource, key = _BY_WORDS.get("/".join(words[:n])), "/".join(words[n:])
        if resource is not None:
            return (resource, key) if key else None
    return None


def entry_key(address_or_prefix: str, list_name: str) -> str:
    """Return the key of an address list's entry; the address in RouterOS' own spelling."""
    return f"{normalize(RouterKind.RANGE, address_or_prefix)} {list_name}"


def member(value: Value, address_or_prefix: str) -> str:
    """Return how a list (the value of `ip/members/LIST`) holds all of an address or prefix: `dynamic`, `static`, or "".

    By an entry of its own, or by a wider one. An entry that is a name counts for nothing: RouterOS lists the addresses
    that it found.
    """
    entries = texts_of(value)
    wanted = normalize(RouterKind.RANGE, address_or_prefix)
    if wanted in entries:
        return entries[wanted]
    try:
        inside = ip_network(wanted)
    except ValueError:
        return ""
    for text, how in entries.items():
        if ("/" in text or "-" in text) and any(within(inside, network) for network in networks(text)):
            return how
    return ""


def touching(value: Value, network: Network) -> Mapping[str, str]:
    """Return a list's entries that hold all or some of a network: entry -> `dynamic` or `static`."""
    alone = str(network.network_address) if network.num_addresses == 1 else ""
    found = {}
    for text, how in texts_of(value).items():
        # Most entries are one address: two of those touch where they are the same
        one = bool(alone) and text.replace(".", "").isdecimal()
        if text == alone if one else any(map(network.overlaps, networks(text))):
            found[text] = how
    return found


def within(inner: Network, outer: Network) -> bool:
    """Tell whether a network lies in another one."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version


@lru_cache(maxsize=65_536)
def networks(text: str) -> tuple[Network, ...]:
    """Return the networks of an address, a network or a range FROM-TO; none for anything else, such as a name."""
    first, dash, last = text.partition("-")
    try:
        if dash:
            return tuple(summarize_address_range(ip_address(first), ip_address(last)))
        return (ip_network(text, strict=False),)
    except (ValueError, TypeError):
        return ()


def rows_value(rows: Iterable[tuple[str, Mapping[str, str]]]) -> Value:
    """Return the value of several rows: key -> its properties as `name=text`; ABSENT when there is none."""
    return {key: tuple(f"{name}={text}" for name, text in row.items()) for key, row in rows} or ABSENT


def rows_of(value: Value) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of such a value, by key, in their order."""
    if isinstance(value, Absent):
        return {}
    found: dict[str, Mapping[str, str]] = {}
    for key, texts in value.items():
        pairs = (text.partition("=") for text in texts) if isinstance(texts, tuple) else ()
        found[key] = {name: text for name, _, text in pairs}
    return found


class Tables:
    """The rows of large values, taken apart once: a preview asks for the same rules and queues for each subscriber."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[Address, tuple[Value, Sequence[Mapping[str, str]]]] = {}

    def rows(self, where: Address, seen: Mapping[Address, Seen]) -> Sequence[Mapping[str, str]]:
        """Return the rows that were read there, in their order. For a few addresses only: each one's last is kept."""
        value = seen[where].value
        known = self._known.get(where)
        if known is None or known[0] is not value:
            known = self._known[where] = (value, tuple(rows_of(value).values()))
        return known[1]


def texts_of(value: Value) -> Mapping[str, str]:
    """Return a value's fields that are plain text; none when it is ABSENT."""
    return {} if isinstance(value, Absent) else {k: v for k, v in value.items() if isinstance(v, str)}
