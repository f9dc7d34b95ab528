"""Suspension designs as whole exports: how billing systems and guides set routers up. Facts, told anew in rules of ours.

Unlike `designs`, each is read from a router through the API: with its interfaces, pools, profiles, routes and mangle
rules, of a subscriber with a fixed address on ether5, a PPP secret, or a DHCP lease. `KEEPS` is a design by which nobody
reaches the internet by a new connection but for DNS and ping, `LEAKS` any other. What was open before is cut.
"""  # noqa: E501  as an export has it

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from tests.agent.connectors.routeros.designs import Label

KEEPS, LEAKS = Label.KEEPS, Label.LEAKS


class Kind(enum.Enum):
    """What a subscriber is on the router."""

    LIST = "list"
    PPP = "ppp"
    DHCP = "dhcp"


@dataclass(frozen=True, slots=True)
class Exported:
    """A design, in the words of an export."""

    name: str
    label: Label
    why: str
    text: str
    kind: Kind = Kind.LIST
    listed: str = "suspended"
    version: str = "7.20.8"
    refused: str = ""
    """Why it is refused though it keeps them in."""
    unseen: str = ""
    """Why the lab's packets do not show what it does."""


SITE: Final = """
/interface list
add name=WAN
add name=LAN
/interface list member
add list=WAN interface=ether1
add list=LAN interface=ether5
/ip address
add address=203.0.113.2/30 interface=ether1
add address=192.0.2.1/24 interface=ether5
/ip route
add dst-address=0.0.0.0/0 gateway=203.0.113.1
/ip pool
add name=homes ranges=100.64.0.2-100.64.3.250
add name=expired ranges=10.5.51.2-10.5.51.250
/ppp profile
add name=home20 local-address=100.64.0.1 remote-address=homes rate-limit=5M/20M
/ppp secret
add name=amina password=x profile=home20 service=pppoe
/interface pppoe-server server
add interface=ether2 service-name=pppoe disabled=no
/user
add name=ispagents password=api-password group=full
"""
"""What all have: an uplink, a LAN, two pools, and a subscriber's PPP secret."""
STOCK: Final = """
/ip firewall filter
add action=accept chain=input comment="defconf: accept established,related,untracked" connection-state=established,related,untracked
add action=drop chain=input comment="defconf: drop invalid" connection-state=invalid
add action=accept chain=input comment="defconf: accept ICMP" protocol=icmp
add action=drop chain=input comment="defconf: drop all not coming from LAN" in-interface-list=!LAN
add action=accept chain=forward comment="defconf: accept in ipsec policy" ipsec-policy=in,ipsec
add action=accept chain=forward comment="defconf: accept out ipsec policy" ipsec-policy=out,ipsec
add action=fasttrack-connection chain=forward comment="defconf: fasttrack" connection-state=established,related
add action=accept chain=forward comment="defconf: accept established,related, untracked" connection-state=established,related,untracked
add action=drop chain=forward comment="defconf: drop invalid" connection-state=invalid
add action=drop chain=forward comment="defconf: drop all from WAN not DSTNATed" connection-nat-state=!dstnat connection-state=new in-interface-list=WAN
/ip firewall nat
add action=masquerade chain=srcnat comment="defconf: masquerade" ipsec-policy=out,none out-interface-list=WAN
"""  # noqa: E501  as an export has it
"""MikroTik's default configuration."""
NAT: Final = "/ip firewall nat\nadd action=masquerade chain=srcnat out-interface=ether1\n"

EXPORTED: Final = (
    Exported(
        "portal accepted, web dropped, all dropped",
        KEEPS,
        "place accepted, rest dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward dst-address=198.51.100.10 src-address-list=moroso
        add action=drop chain=forward protocol=tcp dst-port=443 src-address-list=moroso
        add action=drop chain=forward src-address-list=moroso
        {NAT}
        """,
        listed="moroso",
    ),
    Exported(
        "web left to a redirect, TCP and UDP but DNS dropped",
        LEAKS,
        "GRE passes, and port 80 hangs on NAT",
        f"""
        /ip firewall nat
        add action=dst-nat chain=dstnat dst-address=!198.51.100.10 dst-port=80 protocol=tcp src-address-list=moroso to-addresses=198.51.100.10 to-ports=80
        /ip firewall filter
        add action=drop chain=forward protocol=tcp dst-port=!80 src-address-list=moroso
        add action=drop chain=forward protocol=udp dst-port=!53 src-address-list=moroso
        {NAT}
        """,  # noqa: E501  as an export has it
        listed="moroso",
    ),
    Exported(
        "redirect to the portal, and a drop of all but it",
        KEEPS,
        "filter drops all but the portal, whatever NAT does",
        f"""
        /ip firewall nat
        add action=dst-nat chain=dstnat dst-port=80 protocol=tcp src-address-list=MOROSOS to-addresses=198.51.100.10 to-ports=8080
        /ip firewall filter
        add action=accept chain=forward dst-address-list=WispHub src-address-list=MOROSOS
        add action=drop chain=forward src-address-list=MOROSOS
        /ip firewall address-list
        add address=198.51.100.10 list=WispHub
        {NAT}
        """,  # noqa: E501  as an export has it
        listed="MOROSOS",
    ),
    Exported(
        "DNS, and a drop of all but the portal",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward protocol=udp dst-port=53 src-address-list=MOROSOS
        add action=drop chain=forward dst-address=!198.51.100.10 src-address-list=MOROSOS
        {NAT}
        """,
        listed="MOROSOS",
    ),
    Exported(
        "drop from the clients' port",
        KEEPS,
        "the address is on the network of that port",
        f"""
        /ip firewall filter
        add action=drop chain=forward in-interface=ether5 src-address-list=wispro-suspended
        {NAT}
        """,
        listed="wispro-suspended",
    ),
    Exported(
        "drop from the list of the LAN to that of the uplinks",
        KEEPS,
        "the port is in the one, the only default route leaves by the other",
        f"""
        /ip firewall filter
        add action=drop chain=forward in-interface-list=LAN out-interface-list=WAN src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "a chain with resources and DNS",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=jump chain=forward jump-target=splynx-blocked src-address-list=SpLBL_blocked
        add action=accept chain=splynx-blocked dst-address-list=splynx-allowed-resources
        add action=accept chain=splynx-blocked dst-port=53 protocol=udp
        add action=accept chain=splynx-blocked dst-port=53 protocol=tcp
        add action=drop chain=splynx-blocked
        /ip firewall address-list
        add address=198.51.100.20 list=splynx-allowed-resources
        {NAT}
        """,
        listed="SpLBL_blocked",
    ),
    Exported(
        "drop but resources, FastTrack for others",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=drop chain=forward dst-address-list=!splynx-allowed-resources src-address-list=SpLBL_new
        add action=fasttrack-connection chain=forward connection-state=established,related src-address-list=!SpLBL_new
        /ip firewall address-list
        add address=198.51.100.20 list=splynx-allowed-resources
        {NAT}
        """,
        listed="SpLBL_new",
    ),
    Exported(
        "a chain that serves one port of the portal and rejects",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=jump chain=forward jump-target=uisp_suspend src-address-list=BLOCKED_USERS
        add action=accept chain=uisp_suspend dst-address=198.51.100.30 dst-port=81,443 protocol=tcp
        add action=accept chain=uisp_suspend dst-port=53 protocol=udp
        add action=reject chain=uisp_suspend reject-with=icmp-admin-prohibited
        /ip firewall nat
        add action=dst-nat chain=dstnat dst-port=80 protocol=tcp src-address-list=BLOCKED_USERS to-addresses=198.51.100.30 to-ports=81
        {NAT}
        """,  # noqa: E501  as an export has it
        listed="BLOCKED_USERS",
    ),
    Exported(
        "a chain that returns what goes to the portal",
        KEEPS,
        "return from the chain meets the next drop? no: returned packets for the portal only",
        f"""
        /ip firewall filter
        add action=jump chain=forward jump-target=delinquent src-address-list=delinquent
        add action=return chain=delinquent dst-address=198.51.100.40
        add action=return chain=delinquent dst-port=53 protocol=udp
        add action=drop chain=delinquent
        {NAT}
        """,
        listed="delinquent",
    ),
    Exported(
        "tarpit of TCP and a drop",
        KEEPS,
        "tarpit only tcp, then drop",
        f"""
        /ip firewall filter
        add action=tarpit chain=forward protocol=tcp src-address-list=sonar_delinquent
        add action=drop chain=forward src-address-list=sonar_delinquent
        {NAT}
        """,
        listed="sonar_delinquent",
    ),
    Exported(
        "raw drop but portal",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall raw
        add action=drop chain=prerouting dst-address-list=!portal src-address-list=suspended
        /ip firewall address-list
        add list=portal address=198.51.100.10
        {STOCK}
        """,
    ),
    Exported(
        "raw drop by client interface list",
        KEEPS,
        "host is in LAN",
        f"""
        /ip firewall raw
        add action=drop chain=prerouting in-interface-list=LAN src-address-list=suspended dst-address-type=!local
        {NAT}
        """,
    ),
    Exported(
        "raw accept established dns then drop",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall raw
        add action=accept chain=prerouting src-address-list=suspended dst-port=53 protocol=udp
        add action=drop chain=prerouting src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "ppp walled pool, drop of the pool",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired
        /ip firewall filter
        add action=drop chain=forward src-address=10.5.51.0/24
        {NAT}
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "ppp profile list and pool",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired address-list=expired
        /ip firewall filter
        add action=drop chain=forward src-address-list=expired
        {STOCK}
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "expired pool, web redirected, portal and DNS accepted",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired
        /ip firewall nat
        add action=dst-nat chain=dstnat dst-port=80,443 protocol=tcp src-address=10.5.51.0/24 to-addresses=198.51.100.50 to-ports=80
        /ip firewall filter
        add action=accept chain=forward src-address=10.5.51.0/24 dst-address=198.51.100.50
        add action=accept chain=forward src-address=10.5.51.0/24 protocol=udp dst-port=53
        add action=drop chain=forward src-address=10.5.51.0/24
        {NAT}
        """,  # noqa: E501  as an export has it
        kind=Kind.PPP,
    ),
    Exported(
        "expired pool without masquerade",
        LEAKS,
        "forwarded with private source",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired
        /ip firewall nat
        add action=masquerade chain=srcnat src-address=!10.5.51.0/24
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "ppp interface list SUSPENDED, drop by it",
        KEEPS,
        "session joins the list",
        f"""
        /interface list
        add name=SUSPENDED
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=SUSPENDED
        /ip firewall filter
        add action=drop chain=forward in-interface-list=SUSPENDED
        {NAT}
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "ppp interface list only, same pool",
        KEEPS,
        "session joins the list",
        f"""
        /interface list
        add name=SUSPENDED
        /ppp profile
        add name=suspended local-address=100.64.0.1 remote-address=homes interface-list=SUSPENDED
        /ip firewall filter
        add action=drop chain=forward in-interface-list=SUSPENDED
        {NAT}
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "ppp interface list, no accept for others",
        KEEPS,
        "whitelist by interface list; all else dropped",
        f"""
        /interface list
        add name=SUSPENDED
        add name=PAYING
        /ppp profile
        set home20 interface-list=PAYING
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=SUSPENDED
        /ip firewall filter
        add action=accept chain=forward in-interface-list=PAYING out-interface-list=WAN
        add action=accept chain=forward connection-state=established,related
        add action=drop chain=forward out-interface-list=WAN
        {NAT}
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "ppp incoming-filter chain",
        KEEPS,
        "the login makes a jump to it in chain ppp",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=susp-in outgoing-filter=susp-out
        /ip firewall filter
        add action=jump chain=forward jump-target=ppp
        add action=accept chain=susp-in dst-address=198.51.100.50
        add action=drop chain=susp-in
        add action=drop chain=susp-out
        {NAT}
        """,  # noqa: E501  as an export has it
        kind=Kind.PPP,
    ),
    Exported(
        "ppp filter without jump to ppp",
        LEAKS,
        "chain ppp is never reached",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=susp-in
        /ip firewall filter
        add action=drop chain=susp-in
        {NAT}
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "ppp rate-limit 1k",
        LEAKS,
        "slow, not cut",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired rate-limit=1k/1k
        {NAT}
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "ppp all-ppp drop of list toward pppoe wan",
        KEEPS,
        "way out pppoe-out1",
        f"""
        /interface pppoe-client
        add name=pppoe-wan interface=ether1 add-default-route=yes disabled=no
        /ip route
        set [find dst-address=0.0.0.0/0] gateway=pppoe-wan
        /interface list member
        add list=WAN interface=pppoe-wan
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut
        /ip firewall filter
        add action=drop chain=forward in-interface=all-ppp out-interface=pppoe-wan src-address-list=cut
        {NAT}
        """,
        kind=Kind.PPP,
        unseen="the lab takes the first member of WAN as the uplink",
    ),
    Exported(
        "routing rule: unreachable for the pool v7",
        KEEPS,
        "routing rule drops before main table",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired
        /routing rule
        add src-address=10.5.51.0/24 action=unreachable
        {NAT}
        """,
        kind=Kind.PPP,
        refused="routing rules are not read",
        unseen="the lab has none of it",
    ),
    Exported(
        "mangle mark-routing to a table of a blackhole",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut
        /routing table
        add name=nowhere fib
        /ip route
        add dst-address=0.0.0.0/0 blackhole routing-table=nowhere
        /ip firewall mangle
        add chain=prerouting action=mark-routing new-routing-mark=nowhere src-address-list=cut passthrough=no
        {NAT}
        """,
        kind=Kind.PPP,
        refused="routing tables are not followed",
        unseen="the lab has none of it",
    ),
    Exported(
        "mangle mark-packet and drop of the mark",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall mangle
        add chain=prerouting action=mark-packet new-packet-mark=suspended src-address-list=suspended passthrough=no
        /ip firewall filter
        add chain=forward action=drop packet-mark=suspended
        {NAT}
        """,
    ),
    Exported(
        "mangle mark-connection and drop of the mark",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall mangle
        add chain=prerouting action=mark-connection new-connection-mark=cut src-address-list=suspended dst-address-list=!pay
        /ip firewall filter
        add chain=forward action=drop connection-mark=cut
        {NAT}
        """,  # noqa: E501  as an export has it
    ),
    Exported(
        "queue 1k for list member",
        LEAKS,
        "not cut",
        f"""
        /queue simple
        add name=susp target=192.0.2.7/32 max-limit=1k/1k
        {NAT}
        """,
    ),
    Exported(
        "dst-nat tcp all to page only",
        LEAKS,
        "UDP passes",
        f"""
        /ip firewall nat
        add action=dst-nat chain=dstnat protocol=tcp src-address-list=suspended to-addresses=198.51.100.10 to-ports=80
        {NAT}
        """,
    ),
    Exported(
        "redirect to proxy with drop of rest",
        KEEPS,
        "80 goes to the router's proxy; filter drops all forward",
        f"""
        /ip firewall nat
        add action=redirect chain=dstnat dst-port=80 protocol=tcp src-address-list=suspended to-ports=8080
        /ip proxy
        set enabled=yes port=8080
        /ip proxy access
        add action=allow dst-host=pay.example.com
        add action=deny
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "bridge filter drop by MAC",
        KEEPS,
        "bridged subscriber: frames dropped",
        f"""
        /interface bridge filter
        add action=drop chain=forward src-mac-address=02:00:00:00:77:01/FF:FF:FF:FF:FF:FF
        {NAT}
        """,
        refused="frames of a bridge meet no rule that is read",
        unseen="the lab has none of it",
    ),
    Exported(
        "dhcp lease list, defconf rules, drop appended",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /interface bridge
        add name=bridge1
        /interface bridge port
        add bridge=bridge1 interface=ether5
        /ip address
        add address=192.168.88.1/24 interface=bridge1
        /ip pool
        add name=dhcp ranges=192.168.88.10-192.168.88.254
        /ip dhcp-server
        add name=defconf interface=bridge1 address-pool=dhcp disabled=no
        /ip dhcp-server lease
        add address=192.168.88.20 mac-address=02:00:00:00:77:01 server=defconf
        {STOCK}
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended
        """,
        kind=Kind.DHCP,
    ),
    Exported(
        "dhcp lease list, drop from the server's bridge",
        KEEPS,
        "leases come by their server's interface",
        f"""
        /interface bridge
        add name=bridge1
        /interface bridge port
        add bridge=bridge1 interface=ether5
        /ip address
        add address=192.168.88.1/24 interface=bridge1
        /ip pool
        add name=dhcp ranges=192.168.88.10-192.168.88.254
        /ip dhcp-server
        add name=defconf interface=bridge1 address-pool=dhcp disabled=no
        /ip dhcp-server lease
        add address=192.168.88.20 mac-address=02:00:00:00:77:01 server=defconf
        /ip firewall filter
        add action=drop chain=forward in-interface=bridge1 src-address-list=suspended
        {NAT}
        """,
        kind=Kind.DHCP,
    ),
    Exported(
        "dhcp drop from LAN to WAN lists",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /interface bridge
        add name=bridge1
        /interface bridge port
        add bridge=bridge1 interface=ether5
        /ip address
        add address=192.168.88.1/24 interface=bridge1
        /ip pool
        add name=dhcp ranges=192.168.88.10-192.168.88.254
        /ip dhcp-server
        add name=defconf interface=bridge1 address-pool=dhcp disabled=no
        /ip dhcp-server lease
        add address=192.168.88.20 mac-address=02:00:00:00:77:01 server=defconf
        /interface list member
        add list=LAN interface=bridge1
        /ip firewall filter
        add action=drop chain=forward in-interface-list=LAN out-interface-list=WAN src-address-list=suspended
        {NAT}
        """,
        kind=Kind.DHCP,
    ),
    Exported(
        "cgnat: drop list to out wan and accept internal",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward dst-address=100.64.0.0/10
        add action=accept chain=forward dst-address-list=RFC1918
        add action=drop chain=forward src-address-list=suspended out-interface=ether1
        /ip firewall address-list
        add list=RFC1918 address=10.0.0.0/8
        add list=RFC1918 address=172.16.0.0/12
        add list=RFC1918 address=192.168.0.0/16
        {NAT}
        """,
    ),
    Exported(
        "two wans with PCC and drop by WAN list",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip address
        add address=203.0.113.6/30 interface=ether3
        /routing table
        add name=to_isp2 fib
        /ip route
        add dst-address=0.0.0.0/0 gateway=203.0.113.5 routing-table=to_isp2
        /interface list member
        add list=WAN interface=ether3
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended out-interface-list=WAN
        {NAT}
        """,
    ),
    Exported(
        "two wans, drop toward the first",
        LEAKS,
        "second is open",
        f"""
        /ip address
        add address=203.0.113.6/30 interface=ether3
        /routing table
        add name=to_isp2 fib
        /ip route
        add dst-address=0.0.0.0/0 gateway=203.0.113.5 routing-table=to_isp2
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended out-interface=ether1
        {NAT}
        """,
        unseen="the lab takes the first member of WAN as the uplink",
    ),
    Exported(
        "default route by dhcp-client",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip dhcp-client
        add interface=ether1 disabled=no
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended out-interface-list=WAN
        {NAT}
        """,
    ),
    Exported(
        "drop not toward local servers list",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended dst-address-list=!local-servers
        /ip firewall address-list
        add list=local-servers address=198.51.100.0/28
        add list=local-servers address=pay.example.com
        {NAT}
        """,
    ),
    Exported(
        "a messenger's networks accepted",
        KEEPS,
        "a garden of places; size named",
        f"""
        /ip firewall filter
        add action=accept chain=forward src-address-list=suspended dst-address-list=whatsapp
        add action=drop chain=forward src-address-list=suspended
        /ip firewall address-list
        add list=whatsapp address=157.240.0.0/17
        add list=whatsapp address=31.13.64.0/18
        {NAT}
        """,
    ),
    Exported(
        "ntp and dns accepted to anywhere",
        LEAKS,
        "UDP 123 to anywhere",
        f"""
        /ip firewall filter
        add action=accept chain=forward protocol=udp dst-port=53,123 src-address-list=suspended
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "accept winbox to anywhere above",
        LEAKS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward protocol=tcp dst-port=8291
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "accept by content/layer7",
        LEAKS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward content=pay.example.com src-address-list=suspended
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
        unseen="no packet has it there",
    ),
    Exported(
        "layer7 block only",
        LEAKS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall layer7-protocol
        add name=web regexp="^.*(get|post)"
        /ip firewall filter
        add action=drop chain=forward layer7-protocol=web src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "drop src list and drop dst list",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended
        add action=drop chain=forward dst-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "only dst list drop",
        LEAKS,
        "uploads leave; one-way",
        f"""
        /ip firewall filter
        add action=drop chain=forward dst-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "drop established too before stock, place-before=1",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=passthrough chain=forward comment="special dummy rule to show fasttrack counters"
        add action=drop chain=forward src-address-list=suspended
        {STOCK}
        """,
    ),
    Exported(
        "v6 stock + drop appended",
        KEEPS,
        "flows cut",
        f"""
        {STOCK}
        /ip firewall filter
        add action=drop chain=forward src-address-list=suspended
        """,
        version="6.49.18",
    ),
    Exported(
        "interface list of customers jump",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /interface list
        add name=CLIENTES
        /interface list member
        add list=CLIENTES interface=ether5
        /ip firewall filter
        add action=jump chain=forward in-interface-list=CLIENTES jump-target=clientes
        add action=drop chain=clientes src-address-list=suspended
        add action=accept chain=clientes out-interface-list=WAN
        add action=drop chain=forward
        {NAT}
        """,
    ),
    Exported(
        "connlimit and virus chains first",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=drop chain=forward connection-limit=100,32 protocol=tcp
        add action=drop chain=forward protocol=tcp dst-port=135-139,445
        add action=add-src-to-address-list address-list=spammers address-list-timeout=1d chain=forward connection-limit=30,32 dst-port=25 protocol=tcp
        add action=drop chain=forward dst-port=25 protocol=tcp src-address-list=spammers
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,  # noqa: E501  as an export has it
    ),
    Exported(
        "accept by DSCP",
        LEAKS,
        "dscp accept may let out",
        f"""
        /ip firewall filter
        add action=accept chain=forward dscp=46
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
        unseen="no packet has it there",
    ),
    Exported(
        "packet size accept above",
        LEAKS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward packet-size=0-100
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
        unseen="no packet has it there",
    ),
    Exported(
        "drop by src-address-list of several",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=drop chain=forward src-address-list=!paid in-interface-list=LAN
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "hotspot on the same router with dynamic rules",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=jump chain=forward hotspot=from-client,!auth jump-target=hs-unauth
        add action=jump chain=forward hotspot=to-client,!auth jump-target=hs-unauth-to
        add action=return chain=hs-unauth protocol=icmp
        add action=return chain=hs-unauth dst-address=198.51.100.10 dst-port=80 protocol=tcp
        add action=reject chain=hs-unauth protocol=tcp reject-with=tcp-reset
        add action=reject chain=hs-unauth reject-with=icmp-net-prohibited
        add action=return chain=hs-unauth-to protocol=icmp
        add action=reject chain=hs-unauth-to
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "accept of the servers' list",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward src-address-list=servers
        add action=drop chain=forward src-address-list=suspended
        /ip firewall address-list
        add list=servers address=198.51.100.0/24
        {NAT}
        """,
    ),
    Exported(
        "accept src range above incl. subscriber",
        LEAKS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward src-address=192.0.2.0-192.0.2.127
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "vpn users accept: in-interface=wireguard1",
        KEEPS,
        "other interface",
        f"""
        /interface wireguard
        add name=wireguard1
        /ip firewall filter
        add action=accept chain=forward in-interface=wireguard1
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "accept out-interface of another vlan above",
        KEEPS,
        "vlan20 is no way out to internet",
        f"""
        /interface vlan
        add name=vlan20 interface=ether5 vlan-id=20
        /ip firewall filter
        add action=accept chain=forward out-interface=vlan20
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "accept new from LAN above the drop",
        LEAKS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=accept chain=forward in-interface-list=LAN
        add action=drop chain=forward src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "pool blackhole by address list of half",
        LEAKS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired
        /ip firewall filter
        add action=drop chain=forward src-address=10.5.51.0/25
        {NAT}
        """,
        kind=Kind.PPP,
        unseen="the session may be in the dropped half",
    ),
    Exported(
        "log then reject with icmp, different families",
        KEEPS,
        "what it accepts is a place, DNS, or another interface's; all else is dropped",
        f"""
        /ip firewall filter
        add action=log chain=forward src-address-list=suspended log-prefix=CUT
        add action=reject chain=forward reject-with=icmp-network-unreachable src-address-list=suspended
        {NAT}
        """,
    ),
    Exported(
        "host on ether5 routed via ether6 too",
        LEAKS,
        "the /32 leads to ether6: the drop from ether5 holds nobody",
        """
        /ip address
        add address=198.18.0.1/24 interface=ether6
        /ip route
        add dst-address=192.0.2.7/32 gateway=198.18.0.9
        /ip firewall filter
        add action=drop chain=forward in-interface=ether5 src-address-list=suspended
        """,
        unseen="the lab's host stays on ether5",
    ),
    Exported(
        "backup route to the host, not active",
        LEAKS,
        "it may become active",
        """
        /ip firewall filter
        add action=drop chain=forward in-interface=ether5 src-address-list=suspended
        /ip route
        add dst-address=192.0.2.7/32 gateway=gre1 disabled=no distance=200
        """,
        unseen="the the lab does not route by it",
    ),
    Exported(
        "same network on two interfaces",
        LEAKS,
        "which one, nobody knows",
        """
        /ip address
        add address=192.0.2.2/24 interface=ether6
        /ip firewall filter
        add action=drop chain=forward in-interface=ether5 src-address-list=suspended
        """,
        unseen="the lab takes the first",
    ),
    Exported(
        "accept from all but another port",
        LEAKS,
        "ether5 is not ether3",
        """
        /ip firewall filter
        add action=accept chain=forward in-interface=!ether3
        add action=drop chain=forward src-address-list=suspended
        """,
    ),
    Exported(
        "list LAN excludes the port",
        LEAKS,
        "what is excluded is not in it",
        """
        /interface list
        add name=SOME include=LAN exclude=LAN
        /ip firewall filter
        add action=drop chain=forward in-interface-list=SOME src-address-list=suspended
        """,
        unseen="the lab does not resolve includes",
    ),
    Exported(
        "disabled member of LAN",
        LEAKS,
        "the port is in no list then",
        """
        /interface list member
        set [find interface=ether5] disabled=yes
        /ip firewall filter
        add action=drop chain=forward in-interface-list=LAN src-address-list=suspended
        """,
    ),
    Exported(
        "mark-packet of tcp only",
        LEAKS,
        "udp is unmarked",
        """
        /ip firewall mangle
        add chain=prerouting action=mark-packet new-packet-mark=cut src-address-list=suspended protocol=tcp passthrough=no
        /ip firewall filter
        add chain=forward action=drop packet-mark=cut
        """,  # noqa: E501  as an export has it
    ),
    Exported(
        "mark overwritten for queues in forward",
        LEAKS,
        "the second mark is the one that the filter sees",
        """
        /ip firewall mangle
        add chain=prerouting action=mark-packet new-packet-mark=cut src-address-list=suspended passthrough=yes
        add chain=forward action=mark-packet new-packet-mark=clients passthrough=no
        /ip firewall filter
        add chain=forward action=drop packet-mark=cut
        """,
    ),
    Exported(
        "mark of connections with no-mark, PCC first",
        LEAKS,
        "PCC marks first, then no-mark never matches",
        """
        /ip firewall mangle
        add chain=prerouting action=mark-connection in-interface=ether5 connection-mark=no-mark new-connection-mark=wan1 passthrough=yes
        add chain=prerouting action=mark-connection connection-mark=no-mark src-address-list=suspended new-connection-mark=cut passthrough=yes
        /ip firewall filter
        add chain=forward action=drop connection-mark=cut
        """,  # noqa: E501  as an export has it
    ),
    Exported(
        "mark connections by limit",
        LEAKS,
        "the first packets are unmarked",
        """
        /ip firewall mangle
        add chain=prerouting action=mark-connection src-address-list=suspended connection-bytes=1000000-0 new-connection-mark=cut passthrough=yes
        /ip firewall filter
        add chain=forward action=drop connection-mark=cut
        """,  # noqa: E501  as an export has it
    ),
    Exported(
        "interface list with an accept for all-ppp above",
        LEAKS,
        "it comes by PPP",
        """
        /interface list
        add name=HELD
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=HELD
        /ip firewall filter
        add action=accept chain=forward in-interface=all-ppp out-interface=ether1
        add action=drop chain=forward in-interface-list=HELD
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "interface list that PAYING includes",
        LEAKS,
        "the session is in both",
        """
        /interface list
        add name=HELD
        add name=PAYING include=HELD
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=HELD
        /ip firewall filter
        add action=accept chain=forward in-interface-list=PAYING
        add action=drop chain=forward in-interface-list=HELD
        """,
        kind=Kind.PPP,
        unseen="the lab does not resolve includes",
    ),
    Exported(
        "filter chain with an accept of web",
        LEAKS,
        "all of HTTPS",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
        /ip firewall filter
        add action=jump chain=forward jump-target=ppp
        add action=accept chain=held protocol=tcp dst-port=443
        add action=drop chain=held
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "filter chain reached for tcp only",
        LEAKS,
        "UDP never comes there",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
        /ip firewall filter
        add action=jump chain=forward jump-target=ppp protocol=tcp
        add action=drop chain=held
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "filter chain below an accept",
        LEAKS,
        "no packet comes there",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
        /ip firewall filter
        add action=accept chain=forward out-interface=ether1
        add action=jump chain=forward jump-target=ppp
        add action=drop chain=held
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "filter chain beside hand-made rules in ppp",
        LEAKS,
        "accept by hand in ppp",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
        /ip firewall filter
        add action=accept chain=ppp
        add action=jump chain=forward jump-target=ppp
        add action=drop chain=held
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "outgoing filter only",
        LEAKS,
        "its own packets meet no rule",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired outgoing-filter=held
        /ip firewall filter
        add action=jump chain=forward jump-target=ppp
        add action=drop chain=held
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "list and filter chain: list not dropped, chain accepts",
        LEAKS,
        "the chain's accept is final",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut incoming-filter=held
        /ip firewall filter
        add action=jump chain=forward jump-target=ppp
        add action=accept chain=held
        add action=drop chain=forward src-address-list=cut
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "filter chain with established accepted first",
        KEEPS,
        "all but DNS is dropped",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
        /ip firewall filter
        add action=accept chain=forward connection-state=established,related
        add action=jump chain=forward jump-target=ppp
        add action=drop chain=held
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "list, chain drops, no rule of the list",
        KEEPS,
        "all but DNS is dropped",
        """
        /ppp profile
        add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut incoming-filter=held
        /ip firewall filter
        add action=jump chain=forward jump-target=ppp
        add action=drop chain=held
        """,
        kind=Kind.PPP,
    ),
    Exported(
        "vlan per customer area, drop from vlans list",
        KEEPS,
        "all but DNS is dropped",
        """
        /interface vlan
        add name=vlan100 interface=ether5 vlan-id=100
        /ip address
        set [find address=192.0.2.1/24] interface=vlan100
        /interface list
        add name=CLIENTS
        /interface list member
        add list=CLIENTS interface=vlan100
        /ip firewall filter
        add action=drop chain=forward in-interface-list=CLIENTS src-address-list=suspended
        """,
    ),
    Exported(
        "mark-connection new then drop, stock below",
        KEEPS,
        "new ones are marked; those of before are cut",
        f"""
        /ip firewall mangle
        add chain=prerouting action=mark-connection connection-state=new src-address-list=suspended new-connection-mark=cut passthrough=yes
        /ip firewall filter
        add chain=forward action=drop connection-mark=cut
        {STOCK}
        """,  # noqa: E501  as an export has it
    ),
    Exported(
        "no-mark packets accepted, rest dropped",
        LEAKS,
        "UDP is unmarked",
        """
        /ip firewall mangle
        add chain=prerouting action=mark-packet new-packet-mark=cut src-address-list=suspended protocol=tcp passthrough=no
        /ip firewall filter
        add chain=forward action=accept packet-mark=no-mark
        add chain=forward action=drop
        """,  # noqa: E501  as an export has it
    ),
    Exported(
        "mark that is set in a chain of its own",
        KEEPS,
        "all but DNS is dropped",
        """
        /ip firewall mangle
        add chain=prerouting action=jump jump-target=sus src-address-list=suspended
        add chain=sus action=mark-packet new-packet-mark=cut passthrough=no
        /ip firewall filter
        add chain=forward action=drop packet-mark=cut
        """,
        refused="such chains of mangle are not followed",
    ),
    Exported(
        "v6.49 list LAN->WAN",
        KEEPS,
        "all but DNS is dropped",
        """
        /ip firewall filter
        add action=drop chain=forward in-interface-list=LAN out-interface-list=WAN src-address-list=suspended
        """,
        version="6.49.18",
    ),
    Exported(
        "7.24 marks",
        KEEPS,
        "all but DNS is dropped",
        """
        /ip firewall mangle
        add chain=forward action=mark-packet new-packet-mark=cut src-address-list=suspended passthrough=no
        /ip firewall filter
        add chain=forward action=drop packet-mark=cut
        """,
        version="7.24",
    ),
    Exported(
        "6.49 marks",
        KEEPS,
        "all but DNS is dropped",
        """
        /ip firewall mangle
        add chain=forward action=mark-packet new-packet-mark=cut src-address-list=suspended passthrough=no
        /ip firewall filter
        add chain=forward action=drop packet-mark=cut
        """,
        version="6.49.18",
    ),
)
