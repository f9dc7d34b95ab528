"""The evaluator's knowledge of RADIUS attributes: their types, the names of their values, how text is read.

Written from the RFCs and the vendors' numbers. Not the wire's dictionary (`dictionary.ispagents`): FreeRADIUS' own
attributes are here too, which control a login and are never sent. An attribute that is not here can still be carried
through a reply, its text unread.
"""

from __future__ import annotations

import difflib
import enum
import functools
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


class AttributeKind(enum.Enum):
    """An attribute's type in FreeRADIUS' dictionary."""

    STRING = "string"
    INTEGER = "integer"
    IPV4 = "ipaddr"
    IPV6 = "ipv6addr"
    IPV6_PREFIX = "ipv6prefix"
    OCTETS = "octets"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Attribute:
    """`names`: an integer's named values. `internal`: known to the server only, never on the wire."""

    name: str
    kind: AttributeKind
    internal: bool = False
    names: Mapping[str, int] = field(default_factory=dict)


def _named(names: str, start: int = 0) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.split(), start) if name != "-"}


_WIRE: Final = {
    AttributeKind.STRING: """User-Name Filter-Id Reply-Message Callback-Number Framed-Route Called-Station-Id
        Calling-Station-Id NAS-Identifier NAS-Port-Id Framed-Pool Framed-IPv6-Pool Framed-IPv6-Route
        Delegated-IPv6-Prefix-Pool
        Stateful-IPv6-Address-Pool Acct-Session-Id Connect-Info
        Mikrotik-Group Mikrotik-Rate-Limit Mikrotik-Realm Mikrotik-Mark-Id Mikrotik-Advertise-URL Mikrotik-Address-List
        Mikrotik-Wireless-PSK Mikrotik-Wireless-Comment Mikrotik-Delegated-IPv6-Pool Mikrotik-DHCP-Option-Set
        Mikrotik-Switching-Filter WISPr-Location-ID WISPr-Location-Name WISPr-Logoff-URL WISPr-Redirection-URL
        WISPr-Session-Terminate-Time""",
    AttributeKind.INTEGER: """NAS-Port Framed-MTU Login-TCP-Port Session-Timeout Idle-Timeout Port-Limit
        Acct-Interim-Interval Mikrotik-Recv-Limit Mikrotik-Xmit-Limit Mikrotik-Advertise-Interval
        Mikrotik-Recv-Limit-Gigawords
        Mikrotik-Xmit-Limit-Gigawords Mikrotik-Total-Limit Mikrotik-Total-Limit-Gigawords Mikrotik-Wireless-VLANID
        WISPr-Bandwidth-Min-Up WISPr-Bandwidth-Min-Down WISPr-Bandwidth-Max-Up WISPr-Bandwidth-Max-Down""",
    AttributeKind.IPV4: "NAS-IP-Address Framed-IP-Address Framed-IP-Netmask Login-IP-Host Mikrotik-Host-IP",
    AttributeKind.IPV6: "NAS-IPv6-Address Framed-IPv6-Address",
    AttributeKind.IPV6_PREFIX: "Framed-IPv6-Prefix Delegated-IPv6-Prefix",
    AttributeKind.OCTETS: "Class State",
}
_INTERNAL: Final = {
    AttributeKind.STRING: """Login-Time User-Profile Pool-Name Realm Stripped-User-Name Hint Huntgroup-Name
        SQL-User-Name Proxy-To-Realm Home-Server-Pool User-Category""",
    AttributeKind.INTEGER: "Simultaneous-Use Autz-Type Acct-Type Session-Type Post-Auth-Type Strip-User-Name",
    AttributeKind.DATE: "Expiration",
}
_NAMED: Final = (
    Attribute(
        "Service-Type",
        AttributeKind.INTEGER,
        names=_named(
            "Login-User Framed-User Callback-Login-User Callback-Framed-User Outbound-User Administrative-User "
            "NAS-Prompt-User Authenticate-Only Callback-NAS-Prompt Call-Check Callback-Administrative",
            1,
        ),
    ),
    Attribute("Framed-Protocol", AttributeKind.INTEGER, names={"PPP": 1, "SLIP": 2}),
    Attribute("Framed-Routing", AttributeKind.INTEGER, names=_named("None Broadcast Listen Broadcast-Listen")),
    Attribute(
        "Framed-Compression",
        AttributeKind.INTEGER,
        names=_named("None Van-Jacobson-TCP-IP IPX-Header-Compression Stac-LZS"),
    ),
    Attribute("Termination-Action", AttributeKind.INTEGER, names=_named("Default RADIUS-Request")),
    Attribute(
        "NAS-Port-Type",
        AttributeKind.INTEGER,
        names=_named(
            "Async Sync ISDN ISDN-V120 ISDN-V110 Virtual PIAFS HDLC-Clear-Channel X.25 X.75 G.3-Fax SDSL ADSL-CAP "
            "ADSL-DMT IDSL Ethernet xDSL Cable Wireless-Other Wireless-802.11"
        ),
    ),
    # The numbers of modules' own types are given at start; negative: no text of digits means them.
    Attribute(
        "Auth-Type",
        AttributeKind.INTEGER,
        internal=True,
        names={"Local": 1, "Reject": 4, "Accept": 254, "PAP": -1, "CHAP": -2, "MS-CHAP": -3},
    ),
    Attribute("Fall-Through", AttributeKind.INTEGER, internal=True, names={"No": 0, "Yes": 1}),
)

_BY_NAME: Final[Mapping[str, Attribute]] = {
    a.name.lower(): a
    for a in (
        *(Attribute(name, kind) for kind, names in _WIRE.items() for name in names.split()),
        *(Attribute(name, kind, internal=True) for kind, names in _INTERNAL.items() for name in names.split()),
        *_NAMED,
    )
}

_NEAR: Final = 0.85
"""How alike two names must be (difflib's ratio) for one to be the other misspelled: two letters in a name of twenty."""
_OTHERS: Final = """apc-service-type acct-alt-session-id acct-session-time alc-ipv6-address aruba-framed-ipv6-address
    bw-service-type bw-user-name cw-acct-type cw-service-type cw-session-id called-station-mac called-station-ssid
    coa-acct-session-id erx-med-ip-address framed-address framed-netmask huawei-delegated-ipv6-prefix-pool ip-port-limit
    lcs-redirection-url login-host login-ipv6-host login-lat-port mikrotik-dhcp-option-paramstr2 mikrotik-wireless-mpkey
    mikrotik-wireless-vlanid-type mikrotik-wireless-vlanidtype sg-auth-type sg-ip-address sn-service-type
    sn1-service-type wimax-termination-action"""
_NO_MISTAKES: Final = frozenset(_OTHERS.split())
"""Attributes of FreeRADIUS 3.2's dictionaries that are not in our table and look like one that is."""

# Tunnel-Type:1: RFC 2868 tags, written behind the name.
_TAG: Final = re.compile(r":([0-9]{1,2}|\*)$")


@functools.lru_cache(maxsize=1024)
def find(name: str) -> Attribute | None:
    """Return the entry of an attribute; names are taken in any case, as FreeRADIUS takes them."""
    return _BY_NAME.get(name.lower())


@functools.lru_cache(maxsize=1024)
def misspelled(name: str) -> str:
    """Return the attribute that was probably meant by a name that is not in our table; "": none is near.

    FreeRADIUS rejects the login when a row of its tables names an attribute that its dictionary lacks. Our table holds
    few of the thousands of names in it, so a name that resembles none of ours counts as one of those.
    """
    folded = untagged(name)
    if folded in _BY_NAME or folded in _NO_MISTAKES:
        return ""
    near = difflib.get_close_matches(folded.replace("_", "-"), _BY_NAME, 1, _NEAR)
    return _BY_NAME[near[0]].name if near else ""


@functools.lru_cache(maxsize=1024)
def untagged(name: str) -> str:
    """Return the attribute's name without an RFC 2868 tag, in lower case: by it two rows are the same attribute."""
    return _TAG.sub("", name).lower()


def canonical(attribute: Attribute, text: str) -> str | None:
    """Return the value as FreeRADIUS prints it, or None when it is not certain how FreeRADIUS would read it.

    Octets are lower case hex after `0x`. A date is left as it stands. Idempotent.
    """
    try:
        match attribute.kind:
            case AttributeKind.INTEGER:
                return _integer(attribute, text)
            case AttributeKind.IPV4:
                return str(ipaddress.IPv4Address(text.removesuffix("/32")))
            case AttributeKind.IPV6:
                return None if "%" in text else str(ipaddress.IPv6Address(text.removesuffix("/128")))
            case AttributeKind.IPV6_PREFIX:
                return None if "%" in text else str(ipaddress.IPv6Network(text, strict=False))
            case AttributeKind.OCTETS:
                return _octets(text)
            case _:
                return text
    except ValueError:
        return None


def _octets(text: str) -> str | None:
    if text[:2].lower() != "0x":
        return "0x" + text.encode().hex() if text else ""
    return text.lower() if re.fullmatch(r"([0-9A-Fa-f]{2})+", text[2:]) else None


def _integer(attribute: Attribute, text: str) -> str | None:
    if re.fullmatch(r"[0-9]{1,10}", text):
        number = int(text)
    else:
        named = {name.lower(): n for name, n in attribute.names.items()}
        if text.lower() not in named:
            return None
        number = named[text.lower()]
    if number > 0xFFFFFFFF:
        return None
    return next((name for name, n in attribute.names.items() if n == number), str(number))


def number(attribute: Attribute, value: str) -> int | None:
    """Return a canonical value as the number that FreeRADIUS compares by; None for types that it does not."""
    match attribute.kind:
        case AttributeKind.INTEGER:
            return attribute.names[value] if value in attribute.names else int(value)
        case AttributeKind.IPV4:
            return int(ipaddress.IPv4Address(value))
        case _:
            return None
