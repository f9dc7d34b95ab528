"""Suspension designs as operators have them, each with what it does and why: facts, told anew in rules of our own.

The site is the same for all: suspended subscribers dial in by PPP, get an address of 10.255.0.0/22 and are in the list
`suspended`, unless a design says so otherwise; the internet is behind ether1. `KEEPS` is a design by which nobody opens
a connection to the internet but for DNS and ping, `CUTS` one that keeps so only new connections, `LEAKS` any other.
Some of them are published, some were thought up to fool a judge.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.connectors.routeros.matching import WIDE, Confined, Rule, Ruleset, is_wide

POOL: Final = "10.255.0.0/22"
LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "suspended": ("10.255.0.0", "10.255.3.255"),
    "noc": ("10.0.0.0/24",),
    "paying-now": (),
    "active": ("100.64.0.0/16",),
    "servers": ("192.0.2.10", "192.0.2.11"),
    "portal": ("192.0.2.20",),
    "pay": ("192.0.2.64/28", "198.51.100.7"),
    "private": ("10.0.0.0/8", "192.168.0.0/16"),
    "cdn": ("23.0.0.0/8", "104.0.0.0/8", "172.0.0.0/8"),
    "blocked-pool": (POOL,),
    "half-pool": ("10.255.0.0/23",),
    "bogons": ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"),
}
INTERFACES: Final[Mapping[str, frozenset[str]]] = {
    "WAN": frozenset({"ether1"}),
    "LAN": frozenset({"bridge-lan"}),
    "CUSTOMERS": frozenset({"<ppp>"}),
    "all-ppp": frozenset(),
}


BY_LIST: Final = Confined(frozenset({"suspended"}), (POOL,), "ppp", frozenset({"CUSTOMERS"}))
BY_POOL: Final = Confined(frozenset(), (POOL,), "ppp")
IPV6: Final = Confined(frozenset(), ("2001:db8:ff00::/40",), "ppp")


class Label(enum.Enum):
    """What a design does."""

    KEEPS = "keeps"
    CUTS = "keeps once open connections are cut"
    LEAKS = "leaks"


@dataclass(frozen=True, slots=True)
class Design:
    """Rules as `[CHAIN:] ACTION MATCHERS`, from the top; chain forward where none is named."""

    name: str
    label: Label
    why: str
    rules: str
    confined: Confined = BY_LIST
    raw: str = ""
    unseen: str = ""
    """Why the lab's firewall does not show what it does."""
    refused: str = ""
    """Why it is refused though it keeps them in."""
    tracking: Mapping[str, str] = field(default_factory=lambda: {"enabled": "auto", "loose-tcp-tracking": "yes"})
    ways: frozenset[str] = frozenset({"ether1"})

    @property
    def ruleset(self) -> Ruleset:
        """The rules with all that they refer to."""
        members = {name: dict.fromkeys(entries, "static") for name, entries in LISTS.items()}
        return Ruleset(
            _rules(self.rules, "forward"),
            _rules(self.raw, "prerouting"),
            INTERFACES,
            members,
            self.ways,
            self.tracking,
            tunnels=frozenset(("198.51.100.64/26",)),
        )


def _rules(text: str, chain: str) -> list[Rule]:
    found: list[Rule] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        named, colon, rest = line.partition(": ")
        action, *words = (rest if colon else line).split()
        rule = {"chain": named if colon else chain, "action": action} | dict(word.split("=", 1) for word in words)
        if is_wide(LISTS.get(rule.get("dst-address-list", "").removeprefix("!"), ())):
            rule[WIDE] = "true"
        found.append(rule)
    return found


KEEPS, CUTS, LEAKS = Label
MINE: Final = "src-address-list=suspended"
OPEN: Final = "accept connection-state=established,related"
FAST: Final = "fasttrack-connection connection-state=established,related"
STOCK: Final = f"""
    {FAST}
    accept connection-state=established,related,untracked
    drop connection-state=invalid
"""
STOCK_END: Final = "drop connection-state=new connection-nat-state=!dstnat in-interface-list=WAN"

PUBLISHED: Final = (
    Design(
        "billing plugin, two servers accepted",
        KEEPS,
        "the servers' addresses are not in the pool; DNS passes by name; the drop leaves out one server only",
        f"""
        accept src-address=192.168.2.100
        accept src-address=192.168.2.197
        jump jump-target=first
        jump jump-target=general
        jump jump-target=last
        general: accept protocol=udp dst-port=53 {MINE}
        last: drop dst-address=!192.168.2.197 {MINE}
        """,
    ),
    Design(
        "billing plugin",
        KEEPS,
        "as above; the empty chain comes back",
        f"""
        jump jump-target=first
        jump jump-target=general
        jump jump-target=last
        general: accept protocol=udp dst-port=53 {MINE}
        last: drop dst-address=!192.168.2.197 {MINE}
        """,
    ),
    Design(
        "reject odd ports, DNS, drop",
        KEEPS,
        "the last rule of the list drops all, whatever the reject left",
        f"""
        reject protocol=tcp dst-port=!80,3346 {MINE}
        accept protocol=tcp dst-port=53 {MINE}
        accept protocol=udp dst-port=53 {MINE}
        drop {MINE}
        accept in-interface=bridge-pppoe out-interface=ether2
        """,
    ),
    Design(
        "the same with a disabled rule",
        KEEPS,
        "a disabled rule does nothing",
        f"""
        reject disabled=true protocol=tcp dst-port=!80,3346 {MINE}
        reject protocol=tcp dst-port=!80,3346 {MINE}
        accept protocol=tcp dst-port=53 {MINE}
        accept protocol=udp dst-port=53 {MINE}
        drop {MINE}
        """,
    ),
    Design(
        "accept of a bridge above",
        KEEPS,
        "a PPP session comes in by its own interface, never by the bridge",
        f"""
        accept in-interface=bridge-lan out-interface=ether1
        reject protocol=tcp dst-port=!80,3346 {MINE}
        accept protocol=udp dst-port=53 {MINE}
        drop {MINE}
        """,
    ),
    Design(
        "billing system's chain below FastTrack",
        CUTS,
        "established packets never come to the chain",
        f"""
        {FAST}
        {OPEN}
        jump jump-target=held dst-address-list=!pay {MINE}
        held: accept protocol=udp dst-port=53 dst-limit=20,40,src-address/1m
        held: accept protocol=tcp dst-port=80,443 dst-address=192.0.2.76
        held: reject limit=20,40:packet reject-with=icmp-admin-prohibited
        held: drop
        """,
    ),
    Design(
        "billing system's chain on top",
        KEEPS,
        "the chain ends in a drop of all",
        f"""
        jump jump-target=held dst-address-list=!pay {MINE}
        held: accept protocol=udp dst-port=53 dst-limit=20,40,src-address/1m
        held: accept protocol=tcp dst-port=80,443 dst-address=192.0.2.76
        held: reject limit=20,40:packet
        held: drop
        {STOCK}
        """,
    ),
    Design(
        "drop appended to the stock rules",
        CUTS,
        "stock accepts of open ones above",
        f"{STOCK}\n{STOCK_END}\ndrop {MINE}",
    ),
    Design("drop put before the stock rules", KEEPS, "nothing stands above", f"drop {MINE}\n{STOCK}\n{STOCK_END}"),
    Design("one drop", KEEPS, "nothing else", f"drop {MINE}"),
    Design(
        "established above, no FastTrack", CUTS, "open ones pass", f"{OPEN}\ndrop connection-state=invalid\ndrop {MINE}"
    ),
    Design("drop toward the uplink", KEEPS, "ether1 is the only way out", f"drop out-interface=ether1 {MINE}"),
    Design(
        "drop toward the uplinks' list", KEEPS, "the list has the only way out", f"drop out-interface-list=WAN {MINE}"
    ),
    Design("drop of PPP only", KEEPS, "it comes by PPP", f"drop in-interface=all-ppp {MINE}"),
    Design("drop of the pool", KEEPS, "the pool is the rule's network", f"drop src-address={POOL}", BY_POOL),
    Design(
        "DNS, portal, payments, drop",
        KEEPS,
        "all that is accepted is a place or DNS",
        f"""
        accept protocol=udp dst-port=53 {MINE}
        accept protocol=tcp dst-port=53 {MINE}
        accept protocol=tcp dst-port=80,443 dst-address-list=portal {MINE}
        accept protocol=tcp dst-port=80,443,8080 dst-address-list=pay {MINE}
        drop {MINE}
        """,
    ),
    Design(
        "who is paying now is let out",
        KEEPS,
        "nobody of the pool is in that list",
        f"accept src-address-list=paying-now\naccept protocol=tcp dst-port=53 {MINE}\ndrop {MINE}",
    ),
    Design(
        "only web is dropped",
        LEAKS,
        "all other ports pass",
        f"drop protocol=tcp dst-port=80,443 dst-address-list=!pay {MINE}",
    ),
    Design(
        "all of TCP but DNS is dropped",
        LEAKS,
        "UDP passes, and so QUIC",
        f"{FAST} src-address-list=!suspended\ndrop protocol=tcp dst-port=!53 dst-address-list=!pay {MINE}",
    ),
    Design(
        "HTTPS is rejected, the rest left to NAT",
        LEAKS,
        "no other port is dropped; a sinkhole by NAT is no drop",
        f"reject protocol=tcp dst-port=443 {MINE}\nreject protocol=udp dst-port=443 {MINE}",
    ),
    Design(
        "UDP but DNS and TCP but four ports dropped",
        LEAKS,
        "445 and 85 and GRE pass; 80 and 443 hang on a redirect",
        f"drop protocol=udp dst-port=!53 {MINE}\ndrop protocol=tcp dst-port=!80,85,443,445 {MINE}",
    ),
    Design("no filter rule, only a redirect", LEAKS, "nothing is dropped; a routed address gets out", OPEN),
    Design(
        "all but a routing mark is dropped",
        KEEPS,
        "mangle marks only what goes to the pay page",
        f"drop routing-mark=!MSG {MINE}",
        refused="marks are given by mangle, which is not read",
        unseen="mangle marks nothing there",
    ),
    Design(
        "who is active is accepted, the rest dropped",
        CUTS,
        "the pool is not in the list of the active; open ones pass",
        f"{OPEN}\naccept src-address-list=active\ndrop in-interface-list=CUSTOMERS",
    ),
    Design("billing page and reject", KEEPS, "one place", f"accept dst-address=192.168.1.100 {MINE}\nreject {MINE}"),
    Design(
        "HTTPS and all but TCP dropped",
        LEAKS,
        "TCP on any port but 443 passes",
        f"drop protocol=tcp dst-port=443 {MINE}\ndrop protocol=!tcp {MINE}",
    ),
    Design(
        "established accepted for the suspended",
        CUTS,
        "their open ones pass",
        f"""
        accept connection-state=established,related {MINE}
        accept connection-state=established,related dst-address-list=suspended
        accept protocol=udp dst-port=53 {MINE}
        accept dst-address=10.0.0.5 {MINE}
        drop {MINE}
        """,
    ),
    Design(
        "web open for a proxy's redirect",
        LEAKS,
        "by these rules port 80 is open to anywhere; only NAT would catch it",
        f"""
        jump jump-target=held {MINE}
        held: accept protocol=udp dst-port=53
        held: accept protocol=tcp dst-port=80
        held: drop
        """,
    ),
    Design(
        "the NOC's network above",
        KEEPS,
        "the pool is not in it",
        f"accept src-address=10.0.0.0/24\ndrop {MINE}\n{STOCK}",
    ),
    Design(
        "IPsec policies above",
        KEEPS,
        "what goes through a tunnel goes to its end",
        f"accept ipsec-policy=in,ipsec\naccept ipsec-policy=out,ipsec\ndrop {MINE}\n{STOCK}",
    ),
    Design(
        "port forwards above",
        KEEPS,
        "nobody of the subscribers comes in by the uplink",
        f"accept connection-nat-state=dstnat in-interface-list=WAN\ndrop {MINE}\n{STOCK}",
    ),
    Design(
        "FastTrack of the uplink above",
        KEEPS,
        "what comes in from outside",
        f"{FAST} in-interface-list=WAN\ndrop {MINE}",
    ),
    Design(
        "DNS, three gardens, web rejected, drop",
        KEEPS,
        "only places are accepted",
        f"""
        accept protocol=udp dst-port=53 {MINE}
        accept dst-address-list=portal {MINE}
        accept dst-address-list=pay {MINE}
        accept dst-address-list=servers {MINE}
        reject protocol=tcp dst-port=80,443 {MINE}
        drop {MINE}
        """,
    ),
    Design(
        "TCP but DNS and web dropped",
        LEAKS,
        "web passes, and all of UDP",
        f"drop protocol=tcp dst-port=!53,80,443 {MINE}",
    ),
    Design(
        "DNS accepted, no drop",
        LEAKS,
        "a proxy's redirect is no drop",
        f"accept protocol=udp dst-port=53 {MINE}\naccept protocol=udp src-port=53 dst-address-list=suspended",
    ),
    Design("drop in raw", KEEPS, "raw stands before all", "", raw=f"drop {MINE}"),
    Design("drop of new ones", CUTS, "open ones pass", f"drop connection-state=new {MINE}\n{OPEN}"),
    Design("the NOC's list above", KEEPS, "the pool is not in it", f"accept src-address-list=noc\ndrop {MINE}"),
    Design(
        "scans and bogons dropped first",
        KEEPS,
        "none of it accepts",
        f"""
        drop connection-state=invalid
        drop src-address-list=bogons
        jump jump-target=virus
        virus: drop protocol=tcp dst-port=135-139
        virus: return
        drop {MINE}
        """,
    ),
    Design(
        "a flood's chain that returns",
        KEEPS,
        "what returns meets the drop",
        f"""
        jump jump-target=flood connection-state=new
        flood: return dst-limit=32,32,src-and-dst-addresses/10s
        flood: add-dst-to-address-list address-list=flooded
        drop {MINE}
        """,
    ),
    Design(
        "two chains of a billing system",
        KEEPS,
        "the chain drops all that is not a place",
        f"""
        jump jump-target=held dst-address-list=!pay {MINE}
        jump jump-target=held dst-address-list=!pay src-address-list=new-ones
        held: accept protocol=udp dst-port=53 dst-limit=2,0,src-address/1m40s
        held: accept protocol=tcp dst-port=80,443,8101-8104 dst-address=192.0.2.239
        held: reject dst-limit=10,0,src-address/1m40s
        held: drop
        accept in-interface=zerotier1
        accept src-address-list=noc
        """,
    ),
    Design(
        "drop of all states",
        KEEPS,
        "every state is named",
        f"drop connection-state=established,related,new,untracked,invalid {MINE}",
    ),
    Design("drop of all that is not local", KEEPS, "the internet is not local", f"drop dst-address-type=!local {MINE}"),
    Design(
        "drop on all days",
        KEEPS,
        "the hours and days are all of them",
        f"drop time=0s-1d,sun,mon,tue,wed,thu,fri,sat {MINE}",
        refused="a time is never taken for sure",
        unseen="a time is tried both ways",
    ),
    Design(
        "pay page by its TLS name",
        LEAKS,
        "whoever writes that name in a handshake reaches any server",
        f"accept protocol=tcp dst-port=443 tls-host=*.pay.example {MINE}\ndrop {MINE}",
    ),
    Design("HTTPS to anywhere", LEAKS, "all of HTTPS", f"accept protocol=tcp dst-port=443 {MINE}\ndrop {MINE}"),
    Design("DNS, also by TLS", KEEPS, "DNS only", f"accept protocol=tcp dst-port=53,853 {MINE}\ndrop {MINE}"),
    Design(
        "DNS of one resolver",
        KEEPS,
        "one place",
        f"accept protocol=udp dst-port=53 dst-address=192.0.2.53 {MINE}\ndrop {MINE}",
    ),
)

BY_NAT: Final[tuple[Design, ...]] = (
    Design(
        "no masquerade for the pool",
        LEAKS,
        "packets leave by ether1 with a private source: only the next router may drop or translate them",
        OPEN,
    ),
    Design(
        "masquerade for the list of the active only",
        LEAKS,
        "the same; and those that were open go on with the translation that they have",
        STOCK,
    ),
    Design(
        "source NAT to an address that nobody routes",
        LEAKS,
        "packets leave, and one way is enough to send",
        f"{FAST} src-address-list=!suspended",
    ),
    Design(
        "NAT sends web to the pay page, and nothing else",
        LEAKS,
        "all other ports are open",
        STOCK,
    ),
    Design(
        "NAT sends every connection to the pay page",
        CUTS,
        "a new one never gets out, of any protocol, while that rule stands above all others of chain dstnat",
        STOCK,
        refused="nat is not followed: its rules above, its lists and its own order would decide",
        unseen="there is no NAT",
    ),
)
"""Designs without a drop of the suspended: they rest on the nat table alone. Argued in docs/connectors."""

OWN: Final = (
    Design(
        "accept before the drop in a chain",
        LEAKS,
        "the chain's accept is final",
        f"jump jump-target=c {MINE}\nc: accept\nc: drop",
    ),
    Design("drop in chain input", LEAKS, "what goes through never meets it", f"input: drop {MINE}"),
    Design("disabled drop", LEAKS, "it does nothing", f"drop disabled=true {MINE}"),
    Design("drop of the new ones of TCP", LEAKS, "UDP passes", f"drop protocol=tcp connection-state=new {MINE}"),
    Design("drop of a part of the pool", LEAKS, "10.255.2.0/23 passes", "drop src-address=10.255.0.0/23", BY_POOL),
    Design("list of a part of the pool", LEAKS, "as above", "drop src-address-list=half-pool", BY_POOL),
    Design("list that covers the pool", KEEPS, "its entry is the pool", "drop src-address-list=blocked-pool", BY_POOL),
    Design(
        "pool in two halves",
        KEEPS,
        "both are dropped",
        "drop src-address-list=half-pool\ndrop src-address=10.255.2.0/23",
        BY_POOL,
    ),
    Design(
        "garden that is a CDN",
        LEAKS,
        "three /8 are no place",
        f"accept dst-address-list=cdn {MINE}\ndrop {MINE}",
        unseen="no packet goes to the CDN",
    ),
    Design(
        "all but a CDN is dropped",
        LEAKS,
        "the CDN passes",
        f"drop dst-address-list=!cdn {MINE}",
        unseen="no packet goes to the CDN",
    ),
    Design("not the list", LEAKS, "it drops all others", "drop src-address-list=!suspended"),
    Design(
        "accept of all but the blocked pool",
        KEEPS,
        "the pool is left out",
        f"accept src-address-list=!blocked-pool\ndrop {MINE}",
    ),
    Design("accept of all but the NOC", LEAKS, "the pool is not the NOC", f"accept src-address-list=!noc\ndrop {MINE}"),
    Design(
        "list that the router fills",
        LEAKS,
        "a packet to port 4444 lets its sender out",
        f"""
        add-src-to-address-list address-list=paying-now protocol=tcp dst-port=4444
        accept src-address-list=paying-now
        drop {MINE}
        """,
        unseen="no packet fills a list there",
    ),
    Design(
        "places that the router fills",
        LEAKS,
        "the second packet to any place passes",
        f"add-dst-to-address-list address-list=portal\naccept dst-address-list=portal\ndrop {MINE}",
        unseen="no packet fills a list there",
    ),
    Design("by half of chance", LEAKS, "each second packet passes", f"drop random=50 {MINE}"),
    Design("by a limit", LEAKS, "what is above the limit passes", f"drop limit=100,5:packet {MINE}"),
    Design("at night", LEAKS, "by day all pass", f"drop time=22h-6h,sun,mon,tue,wed,thu,fri,sat {MINE}"),
    Design(
        "toward one of two uplinks",
        LEAKS,
        "the other is open",
        f"drop out-interface=ether1 {MINE}",
        ways=frozenset({"ether1", "lte1"}),
    ),
    Design(
        "toward both uplinks",
        KEEPS,
        "both are dropped",
        f"drop out-interface=ether1 {MINE}\ndrop out-interface=lte1 {MINE}",
        ways=frozenset({"ether1", "lte1"}),
    ),
    Design("toward no uplink", LEAKS, "all leave by ether1", f"drop out-interface=ether2 {MINE}"),
    Design("from the LAN", LEAKS, "PPP sessions are not in it", f"drop in-interface-list=LAN {MINE}"),
    Design("all but the LAN's", KEEPS, "PPP sessions are not in it", f"drop in-interface-list=!LAN {MINE}"),
    Design(
        "customers' interfaces accepted",
        LEAKS,
        "the sessions are in that list",
        f"accept in-interface-list=CUSTOMERS\ndrop {MINE}",
    ),
    Design("accept of PPP", LEAKS, "it comes by PPP", f"accept in-interface=all-ppp out-interface=ether1\ndrop {MINE}"),
    Design(
        "source port of DNS",
        LEAKS,
        "anybody may send from port 53",
        f"accept protocol=udp src-port=53\ndrop {MINE}",
        unseen="no packet is sent from port 53",
    ),
    Design(
        "any port of DNS",
        LEAKS,
        "as above",
        f"accept protocol=udp port=53\ndrop {MINE}",
        unseen="no packet is sent from port 53",
    ),
    Design("FastTrack of all states", LEAKS, "new ones pass too", f"fasttrack-connection\ndrop {MINE}"),
    Design(
        "untracked traffic accepted",
        LEAKS,
        "raw makes all of theirs untracked",
        f"accept connection-state=untracked\ndrop {MINE}",
        raw="notrack",
    ),
    Design(
        "untracked traffic dropped",
        KEEPS,
        "raw makes theirs untracked, the drop names no state",
        f"{OPEN}\ndrop {MINE}",
        raw="notrack",
    ),
    Design(
        "tracking is off",
        LEAKS,
        "then all are untracked, and those are accepted",
        f"accept connection-state=established,related,untracked\ndrop {MINE}",
        tracking={"enabled": "no"},
    ),
    Design(
        "new ones dropped, and tracking is strict",
        LEAKS,
        "what was cut goes on as invalid",
        f"drop connection-state=new {MINE}",
        tracking={"enabled": "yes", "loose-tcp-tracking": "no"},
    ),
    Design("raw accepts before raw drops", LEAKS, "the accept ends raw", "", raw=f"accept protocol=udp\ndrop {MINE}"),
    Design(
        "raw and filter share the work",
        KEEPS,
        "UDP in raw, the rest in filter",
        f"drop protocol=!udp {MINE}",
        raw=f"drop protocol=udp {MINE}",
    ),
    Design("protocols one by one", LEAKS, "GRE passes", f"drop protocol=tcp {MINE}\ndrop protocol=udp {MINE}"),
    Design("protocols, and the rest", KEEPS, "all are dropped", f"drop protocol=tcp {MINE}\ndrop protocol=!tcp {MINE}"),
    Design(
        "ports in two halves",
        KEEPS,
        "both halves",
        f"""
        drop protocol=tcp dst-port=1-1023 {MINE}
        drop protocol=tcp dst-port=!1-1023 {MINE}
        drop protocol=!tcp {MINE}
        """,
    ),
    Design(
        "return before the drop", LEAKS, "a return in forward lets pass", f"return protocol=udp {MINE}\ndrop {MINE}"
    ),
    Design(
        "chain that returns the list",
        LEAKS,
        "its own return spares them",
        f"jump jump-target=c\nc: return {MINE}\nc: drop",
    ),
    Design(
        "jump under a condition",
        LEAKS,
        "only TCP comes to the drop",
        f"jump jump-target=c protocol=tcp\nc: drop {MINE}",
    ),
    Design("chain that nothing jumps to", LEAKS, "no packet comes there", f"c: drop {MINE}"),
    Design(
        "chains in a circle",
        LEAKS,
        "it cannot be followed",
        f"jump jump-target=a\na: jump jump-target=b\nb: jump jump-target=a\ndrop {MINE}",
        unseen="it gives up, and goes on below",
    ),
    Design(
        "drop of the private networks only",
        LEAKS,
        "the internet is not private",
        f"drop dst-address-list=private {MINE}",
    ),
    Design(
        "private networks accepted",
        KEEPS,
        "private networks are not the internet",
        f"accept dst-address-list=private\ndrop {MINE}",
    ),
    Design(
        "an unknown matcher",
        LEAKS,
        "it may match them",
        f"accept new-matcher=1\ndrop {MINE}",
        unseen="it is passed over",
    ),
    Design("an unknown action", LEAKS, "it may accept them", f"teleport {MINE}\ndrop {MINE}"),
    Design("by a MAC address", LEAKS, "any other device passes", f"drop src-mac-address=02:00:00:00:00:01 {MINE}"),
    Design(
        "port forwards from anywhere",
        LEAKS,
        "theirs may be forwarded too",
        f"accept connection-nat-state=dstnat\ndrop {MINE}",
        unseen="no packet is forwarded",
    ),
    Design("IPv6 is open", LEAKS, "no rule of IPv6 drops them", "accept", IPV6),
    Design(
        "IPv6 prefix dropped",
        KEEPS,
        "the garden's prefix is the rule's",
        "accept protocol=icmpv6\ndrop src-address=2001:db8:ff00::/40",
        IPV6,
    ),
    Design(
        "half of the IPv6 prefix dropped", LEAKS, "the other half passes", "drop src-address=2001:db8:ff00::/41", IPV6
    ),
    Design(
        "IKE and ESP accepted",
        LEAKS,
        "a VPN to anywhere",
        "accept protocol=udp dst-port=500,4500\naccept protocol=ipsec-esp\ndrop src-address=2001:db8:ff00::/40",
        IPV6,
    ),
    Design("drop of everything", KEEPS, "all are dropped", "drop"),
)
