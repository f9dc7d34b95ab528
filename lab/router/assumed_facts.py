"""Facts on the menus that matter that no recording says: values, references, what must be unique, first rows.

From MikroTik's manual and from reports of users of its API. Where the two are silent the lab's router does the simplest
thing, and lab/router/README.md says so. All other menus are generic: `Model` is made from the recorded facts alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from lab.router import values as v
from lab.router.facts import Facts, Menu
from lab.router.limits import SESSIONS_MAX
from lab.router.values import Kind

# shown as ***** to a user whose group lacks the policy `sensitive`
SENSITIVE: Final = frozenset(
    (
        "authentication-password", "auth-key", "eap-password", "encryption-password", "ipsec-secret", "key-val",
        "mschapv2-password", "nv2-preshared-key", "passphrase", "password", "pre-shared-key", "preshared-key",
        "private-key", "secret", "security.passphrase", "supplicant-password", "wpa-pre-shared-key",
        "wpa2-pre-shared-key",
    )
)  # fmt: skip
HIDDEN: Final = "*****"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


POLICIES_6: Final = _words(
    "local telnet ssh ftp reboot read write policy test winbox password web sniff sensitive api romon dude tikapp"
)
POLICIES_7: Final = _words(
    "local telnet ssh ftp reboot read write policy test winbox password web sniff sensitive api romon rest-api"
)

_COUNTERS: Final = {"bytes": "0", "packets": "0"}


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that names a row of another menu (`paths`), or is one of `also`, or equals the value of `unless`.

    `split`: the value is several, with that character between.
    """

    paths: tuple[str, ...]
    also: tuple[str, ...] = ()
    unless: Kind | None = None
    split: str = ""


@dataclass(frozen=True, slots=True)
class Lore:
    """The facts on one menu. `state`: properties that only the router sets, as a new row shows them."""

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    references: Mapping[str, Reference] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    unique: tuple[tuple[str, ...], ...] = ()
    duplicate: str = "failure: already have such entry"
    rows: tuple[Mapping[str, str], ...] = ()
    needs: tuple[str, ...] = ()


_INTERFACE: Final = Reference(("/interface",))
_POOL: Final = Reference(("/ip/pool",), unless=v.ip4)
_PROFILE: Final = Reference(("/ppp/profile",))
_QUEUES: Final = Reference(("/queue/type",), split="/")
_DURATION_OR_NONE: Final = v.one_of(v.duration(), v.choice("none"))
_SERVICES: Final = ("any", "async", "l2tp", "ovpn", "pppoe", "pptp", "sstp")
_STATES: Final = v.choices("invalid", "established", "related", "new", "untracked")
_PORTS: Final = v.negated(v.nonempty)
_DIALOGUE: Final = {"dynamic": "false", "invalid": "false"}
_BYTES: Final = v.integer(0, 2**64 - 1)


def _filter(address: Kind) -> Lore:
    actions = _words(
        "accept add-dst-to-address-list add-src-to-address-list drop fasttrack-connection jump log passthrough reject "
        "return tarpit"
    )
    return Lore(
        kinds={
            "action": v.choice(*actions),
            "chain": v.nonempty,
            "connection-state": _STATES,
            "connection-nat-state": v.choices("srcnat", "dstnat"),
            "src-address": v.negated(address),
            "dst-address": v.negated(address),
            "src-address-list": v.negated(v.nonempty),
            "dst-address-list": v.negated(v.nonempty),
            "src-mac-address": v.negated(v.mac),
            "dst-port": _PORTS,
            "src-port": _PORTS,
            "protocol": v.negated(v.nonempty),
            "log": v.flag,
            "hw-offload": v.flag,
        },
        references={
            name: Reference(("/interface",), also=("all-ppp", "all-ethernet", "all-vlan", "all-wireless"), split="!")
            for name in ("in-interface", "out-interface")
        }
        | {name: Reference(("/interface/list",), split="!") for name in ("in-interface-list", "out-interface-list")},
        defaults={"action": "accept", "log": "false", "log-prefix": ""},
        state=_COUNTERS | _DIALOGUE,
    )


def _nat(address: Kind) -> Lore:
    actions = _words(
        "accept add-dst-to-address-list add-src-to-address-list dst-nat endpoint-independent-nat jump log masquerade "
        "netmap passthrough redirect return same src-nat"
    )
    base = _filter(address)
    return Lore(
        kinds=dict(base.kinds) | {"action": v.choice(*actions), "to-ports": v.nonempty},
        references=base.references,
        defaults=base.defaults,
        state=base.state,
    )


def _raw(address: Kind) -> Lore:
    actions = _words("accept add-dst-to-address-list add-src-to-address-list drop jump log notrack passthrough return")
    base = _filter(address)
    return Lore(
        kinds=dict(base.kinds) | {"action": v.choice(*actions)},
        references=base.references,
        defaults=base.defaults,
        state=base.state,
    )


def _rates() -> dict[str, Kind]:
    pairs = ("limit-at", "max-limit", "burst-limit", "burst-threshold")
    totals = ("total-limit-at", "total-max-limit", "total-burst-limit", "total-burst-threshold")
    return {name: v.pair(v.rate) for name in pairs} | dict.fromkeys(totals, v.rate)


def _lore(seven: bool) -> dict[str, Lore]:
    """All that is known; `seven`: of RouterOS 7."""
    never = "1970-01-01 00:00:00" if seven else "jan/01/1970 00:00:00"
    policies = POLICIES_7 if seven else POLICIES_6
    # as a router of version 6.48 exports them
    reads = "local,telnet,ssh,reboot,read,test,winbox,password,web,sniff,sensitive,api,romon"
    reads += ",rest-api" if seven else ",tikapp"
    groups = {"read": reads, "write": f"{reads},write", "full": ",".join(policies)}
    services = (
        ("telnet", "23"), ("ftp", "21"), ("www", "80"), ("ssh", "22"), ("www-ssl", "443"), ("api", "8728"),
        ("winbox", "8291"), ("api-ssl", "8729"),
    )  # fmt: skip
    return {
        "/ppp/secret": Lore(
            kinds={
                "service": v.choice(*_SERVICES),
                "limit-bytes-in": _BYTES,
                "limit-bytes-out": _BYTES,
                "remote-ipv6-prefix": v.prefix6,
                "disabled": v.flag,
            },
            references={"profile": _PROFILE, "local-address": _POOL, "remote-address": _POOL},
            defaults={"password": ""},
            state={"last-logged-out": never},
            unique=(("name",),),
            duplicate="failure: secret with the same name already exists",
        ),
        "/ppp/profile": Lore(
            kinds={
                "change-tcp-mss": v.choice("yes", "no", "default"),
                "only-one": v.choice("yes", "no", "default"),
                "use-compression": v.choice("yes", "no", "default"),
                "use-encryption": v.choice("yes", "no", "required", "default"),
                "use-ipv6": v.choice("yes", "no", "required", "default"),
                "use-mpls": v.choice("yes", "no", "required", "default"),
                "use-upnp": v.choice("yes", "no", "default"),
                "session-timeout": _DURATION_OR_NONE,
                "idle-timeout": _DURATION_OR_NONE,
                "dns-server": v.listed(v.one_of(v.ip4, v.ip6)),
            },
            references={"local-address": _POOL, "remote-address": _POOL},
            state={"default": "false"},
            unique=(("name",),),
            duplicate="failure: profile with the same name already exists",
            rows=(
                {".id": "*0", "name": "default"},
                {".id": "*FFFFFFFE", "name": "default-encryption", "use-encryption": "yes"},
            ),
        ),
        "/ppp/active": Lore(state={"radius": "false"}),
        "/ppp/aaa": Lore(
            kinds={"use-radius": v.flag, "accounting": v.flag, "interim-update": v.duration()},
        ),
        "/ip/firewall/address-list": Lore(
            kinds={
                "address": v.one_of(v.range4, v.host),
                "list": v.nonempty,
                "timeout": v.one_of(v.duration(), v.choice("none-dynamic", "none-static")),
                "dynamic": v.flag,
            },
            unique=(("list", "address"),),
            state={"dynamic": "false"},
        ),
        "/ipv6/firewall/address-list": Lore(
            kinds={
                "address": v.one_of(v.prefix6, v.host),
                "list": v.nonempty,
                "timeout": v.one_of(v.duration(), v.choice("none-dynamic", "none-static")),
                "dynamic": v.flag,
            },
            unique=(("list", "address"),),
            state={"dynamic": "false"},
        ),
        "/ip/firewall/filter": _filter(v.range4),
        "/ipv6/firewall/filter": _filter(v.prefix6),
        "/ip/firewall/raw": _raw(v.range4),
        "/ipv6/firewall/raw": _raw(v.prefix6),
        "/ip/firewall/nat": _nat(v.range4),
        "/ip/firewall/connection": Lore(state={"fasttrack": "false"}),
        "/queue/simple": Lore(
            kinds={
                **_rates(),
                "burst-time": v.pair(v.duration()),
                "priority": v.pair(v.integer(1, 8)),
                "bucket-size": v.pair(v.nonempty),
                "queue": v.pair(v.nonempty),
                "target": v.listed(v.one_of(v.prefix4, v.prefix6, v.nonempty)),
                "dst": v.one_of(v.prefix4, v.prefix6, v.nonempty),
            },
            references={
                "parent": Reference(("/queue/simple",), also=("none",)),
                "queue": _QUEUES,
                "target": Reference(("/interface",), unless=v.one_of(v.prefix4, v.prefix6), split=","),
            },
            state={"rate": "0/0", "bytes": "0/0", "packets": "0/0", "dropped": "0/0", **_DIALOGUE},
            unique=(("name",),),
            duplicate="failure: already have such name",
        ),
        "/queue/type": Lore(
            unique=(("name",),),
            rows=(
                {"name": "default", "kind": "pfifo", "pfifo-limit": "50"},
                {"name": "ethernet-default", "kind": "pfifo", "pfifo-limit": "50"},
                {"name": "wireless-default", "kind": "sfq", "sfq-perturb": "5", "sfq-allot": "1514"},
                {"name": "synchronous-default", "kind": "red"},
                {"name": "hotspot-default", "kind": "sfq", "sfq-perturb": "5", "sfq-allot": "1514"},
                {"name": "pcq-upload-default", "kind": "pcq", "pcq-classifier": "src-address"},
                {"name": "pcq-download-default", "kind": "pcq", "pcq-classifier": "dst-address"},
                {"name": "only-hardware-queue", "kind": "none"},
                {"name": "multi-queue-ethernet-default", "kind": "mq-pfifo", "mq-pfifo-limit": "50"},
                {"name": "default-small", "kind": "pfifo", "pfifo-limit": "10"},
            ),
        ),
        "/ip/dhcp-server": Lore(
            kinds={"lease-time": v.duration(), "disabled": v.flag},
            references={"interface": _INTERFACE, "address-pool": Reference(("/ip/pool",), also=("static-only",))},
            state=_DIALOGUE,
            unique=(("name",),),
        ),
        "/ip/dhcp-server/lease": Lore(
            kinds={
                "mac-address": v.mac,
                "lease-time": v.duration(),
                "block-access": v.flag,
                "always-broadcast": v.flag,
                "use-src-mac": v.flag,
                "disabled": v.flag,
            },
            references={
                "server": Reference(("/ip/dhcp-server",), also=("all",)),
                "address": Reference(("/ip/pool",), unless=v.ip4),
            },
            defaults={"server": "all"},
            state={
                "radius": "false",
                "dynamic": "false",
                "blocked": "false",
                "status": "waiting",
                "last-seen": "never",
            },
            unique=(("address", "server"),),
            duplicate="failure: already have static lease with this IP address",
        ),
        "/ip/hotspot": Lore(
            kinds={"disabled": v.flag},
            references={
                "interface": _INTERFACE,
                "address-pool": Reference(("/ip/pool",), also=("none",)),
                "profile": Reference(("/ip/hotspot/profile",)),
            },
            state={"invalid": "false"},
            unique=(("name",),),
        ),
        "/ip/hotspot/host": Lore(state={"authorized": "false", "bypassed": "false"}),
        "/ip/hotspot/user": Lore(
            kinds={
                "limit-uptime": v.duration(),
                "limit-bytes-in": _BYTES,
                "limit-bytes-out": _BYTES,
                "limit-bytes-total": _BYTES,
                "mac-address": v.mac,
                "address": v.ip4,
                "disabled": v.flag,
            },
            references={
                "profile": Reference(("/ip/hotspot/user/profile",)),
                "server": Reference(("/ip/hotspot",), also=("all",)),
            },
            state={
                "uptime": "0s",
                "bytes-in": "0",
                "bytes-out": "0",
                "packets-in": "0",
                "packets-out": "0",
                "dynamic": "false",
            },
            unique=(("name",),),
            duplicate="failure: already have user with this name for this server",
            rows=({"name": "default-trial", "comment": "counters and limits for trial users"},),
        ),
        "/ip/hotspot/user/profile": Lore(
            kinds={
                "shared-users": v.one_of(v.integer(1), v.choice("unlimited")),
                "session-timeout": _DURATION_OR_NONE,
                "idle-timeout": _DURATION_OR_NONE,
                "keepalive-timeout": _DURATION_OR_NONE,
                "mac-cookie-timeout": v.duration(),
                "add-mac-cookie": v.flag,
            },
            state={"default": "false"},
            unique=(("name",),),
            rows=({"name": "default"},),
        ),
        "/ip/hotspot/profile": Lore(state={"default": "false"}, unique=(("name",),), rows=({"name": "default"},)),
        "/ip/hotspot/ip-binding": Lore(
            kinds={
                "type": v.choice("blocked", "bypassed", "regular"),
                "address": v.one_of(v.ip4, v.prefix4),
                "to-address": v.ip4,
                "mac-address": v.mac,
                "disabled": v.flag,
            },
            references={"server": Reference(("/ip/hotspot",), also=("all",))},
            defaults={"type": "regular"},
        ),
        "/ip/hotspot/active": Lore(state={"radius": "false", "blocked": "false"}),
        "/interface/pppoe-server/server": Lore(
            kinds={
                "authentication": v.choices("pap", "chap", "mschap1", "mschap2"),
                "keepalive-timeout": v.one_of(v.choice("disabled"), v.integer(1, 65535)),
                "max-sessions": v.one_of(v.choice("unlimited"), v.integer(0, 65535)),
                "max-mtu": v.one_of(v.choice("auto"), v.integer(64, 65535)),
                "max-mru": v.one_of(v.choice("auto"), v.integer(64, 65535)),
                "one-session-per-host": v.flag,
                "disabled": v.flag,
            },
            references={"interface": _INTERFACE, "default-profile": _PROFILE},
            state={"invalid": "false"},
        ),
        "/interface": Lore(
            kinds={"name": v.nonempty, "disabled": v.flag},
            unique=(("name",),),
            duplicate="failure: already have interface with such name",
            state={"dynamic": "false", "running": "true"},
            defaults={"disabled": "false", "mtu": "1500"},
        ),
        "/interface/ethernet": Lore(kinds={"name": v.nonempty, "mac-address": v.mac}, state={"running": "true"}),
        "/interface/ethernet/switch": Lore(kinds={"name": v.nonempty, "l3-hw-offloading": v.flag}),
        "/interface/ethernet/switch/port": Lore(kinds={"name": v.nonempty, "l3-hw-offloading": v.flag}),
        "/interface/list": Lore(
            state={"builtin": "false", "dynamic": "false"},
            unique=(("name",),),
            rows=(
                {"name": "all", "comment": "contains all interfaces"},
                {"name": "none", "comment": "contains no interfaces"},
                {"name": "dynamic", "comment": "contains dynamic interfaces"},
                {"name": "static", "comment": "contains static interfaces"},
            ),
        ),
        "/interface/list/member": Lore(
            references={"interface": _INTERFACE, "list": Reference(("/interface/list",))},
            state={"dynamic": "false"},
            unique=(("list", "interface"),),
        ),
        "/interface/vlan": Lore(
            kinds={"vlan-id": v.integer(1, 4094), "mtu": v.integer(32, 65536)},
            references={"interface": _INTERFACE},
        ),
        "/ip/address": Lore(
            kinds={"address": v.interface_address4, "network": v.ip4},
            references={"interface": _INTERFACE},
            state=_DIALOGUE,
            unique=(("address", "interface"),),
            duplicate="failure: already have such address",
        ),
        "/ip/pool": Lore(
            kinds={"name": v.nonempty, "ranges": v.listed(v.range4)},
            references={"next-pool": Reference(("/ip/pool",), also=("none",))},
            unique=(("name",),),
            duplicate="failure: pool with such name exists",
        ),
        "/radius": Lore(
            kinds={
                "address": v.one_of(v.ip4, v.ip6, v.host),
                "src-address": v.one_of(v.ip4, v.ip6),
                "service": v.choices("ppp", "login", "hotspot", "wireless", "dhcp", "ipsec", "dot1x"),
                "authentication-port": v.integer(1, 65535),
                "accounting-port": v.integer(1, 65535),
                "timeout": v.duration(10, 60_000),
                "accounting-backup": v.flag,
                "protocol": v.choice("udp", "radsec"),
                "disabled": v.flag,
            },
            defaults={"secret": "", "service": "", "called-id": "", "domain": "", "realm": ""},
        ),
        "/radius/incoming": Lore(kinds={"accept": v.flag, "port": v.integer(1, 65535)}),
        "/user": Lore(
            kinds={"name": v.nonempty, "address": v.listed(v.one_of(v.prefix4, v.prefix6)), "disabled": v.flag},
            references={"group": Reference(("/user/group",))},
            defaults={"address": ""},
            state={"expired": "false"} if seven else {},
            unique=(("name",),),
            duplicate="failure: user with the same name already exists",
        ),
        "/user/group": Lore(
            kinds={"name": v.nonempty, "policy": v.policies(*policies)},
            defaults={"policy": v.policies(*policies)("")},
            unique=(("name",),),
            needs=("name",),
            rows=tuple({"name": name, "policy": v.policies(*policies)(held)} for name, held in groups.items()),
        ),
        "/ip/service": Lore(
            kinds={"port": v.integer(1, 65535), "disabled": v.flag, "max-sessions": v.integer(1, 1000)},
            references={"certificate": Reference(("/certificate",), also=("none",))},
            defaults={"address": ""} | ({"max-sessions": str(SESSIONS_MAX)} if seven else {}),
            state={"invalid": "false"},
            rows=tuple({"name": name, "port": port} for name, port in services),
        ),
        "/certificate": Lore(state={"invalid": "false", "expired": "false"}, unique=(("name",),)),
        "/system/scheduler": Lore(
            kinds={"interval": v.duration(), "disabled": v.flag, "name": v.nonempty},
            state={"run-count": "0"},
            unique=(("name",),),
        ),
        "/system/script": Lore(
            kinds={"dont-require-permissions": v.flag},
            state={"run-count": "0", "invalid": "false"},
            unique=(("name",),),
        ),
        "/interface/macvlan": Lore(needs=("interface",)),
        "/ipv6/nd": Lore(
            needs=("interface",),
            rows=({"interface": "all"},),
            unique=(("interface",),),
            duplicate="failure: configuration for this interface already exists",
        ),
        "/snmp/community": Lore(rows=({"name": "public", "addresses": "::/0"},), unique=(("name",),)),
        "/system/logging/action": Lore(
            unique=(("name",),),
            rows=tuple({"name": n, "target": n} for n in ("memory", "disk", "echo", "remote")),
        ),
    }


_LORE: Final = {seven: _lore(seven) for seven in (False, True)}
_NONE: Final = Lore()

# menus whose rows are interfaces too, and the type that /interface shows
INTERFACE_TYPES: Final = {
    f"/interface/{menu}": kind
    for menu, kind in (
        ("6to4", "6to4-tunnel"), ("bonding", "bond"), ("bridge", "bridge"), ("eoip", "eoip"), ("eoipv6", "eoipv6"),
        ("ethernet", "ether"), ("gre", "gre-tunnel"), ("gre6", "gre6-tunnel"), ("ipip", "ipip-tunnel"),
        ("ipipv6", "ipipv6-tunnel"), ("l2tp-client", "l2tp-out"), ("l2tp-server", "l2tp-in"), ("macvlan", "macvlan"),
        ("mesh", "mesh"), ("ovpn-client", "ovpn-out"), ("ovpn-server", "ovpn-in"), ("ppp-client", "ppp-out"),
        ("ppp-server", "ppp-in"), ("pppoe-client", "pppoe-out"), ("pppoe-server", "pppoe-in"),
        ("pptp-client", "pptp-out"), ("pptp-server", "pptp-in"), ("sstp-client", "sstp-out"),
        ("sstp-server", "sstp-in"), ("veth", "veth"), ("vlan", "vlan"), ("vpls", "vpls"), ("vrrp", "vrrp"),
        ("vxlan", "vxlan"), ("wifi", "wifi"), ("wireguard", "wg"), ("wireless", "wlan"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """A menu as one version's router runs it: recorded facts and lore put together.

    `shown`: the value of a property that was never set; `indexes`: properties that rows are found by, `lore.unique`
    among them.
    """

    menu: Menu
    lore: Lore
    kinds: Mapping[str, Kind]
    shown: Mapping[str, str]
    indexes: tuple[tuple[str, ...], ...]

    @property
    def path(self) -> str:
        return self.menu.path


def _kind(menu: Menu, lore: Lore, arg: str) -> Kind:
    if arg in lore.kinds:
        return lore.kinds[arg]
    if arg == "disabled":
        return v.flag
    if v.is_size(menu.defaults.get(arg)):
        return v.kibibytes
    if arg in menu.kinds and arg not in lore.references:
        return v.from_type_text(menu.kinds[arg])
    return v.from_default(menu.defaults.get(arg))


def _shown(kind: Kind, default: str) -> str:
    try:
        return kind(default)
    except v.BadValueError:
        return default


@functools.lru_cache(maxsize=4096)  # routers of a version share them; a client may ask for any path
def make_model(facts: Facts, path: str) -> Model | None:
    """A menu's model, or None where the version has no such menu."""
    menu = facts.menu(path)
    if menu is None:
        return None
    lore = _LORE[facts.version[0] >= 7].get(path, _NONE)
    args = menu.verbs.get("add", frozenset()) | menu.verbs.get("set", frozenset())
    # default-name only exists where the recorded project lists it: no command sets it
    args |= frozenset(menu.defaults)
    kinds = {arg: _kind(menu, lore, arg) for arg in sorted(args | frozenset(lore.kinds))}
    recorded = {k: v.format_default(d) for k, d in menu.defaults.items() if d is not None and k not in menu.unset}
    if "disabled" in args and path != "/interface":
        recorded.setdefault("disabled", "false")
    shown = {k: _shown(kinds.get(k, v.text), d) for k, d in (recorded | dict(lore.defaults)).items()}
    shown = {k: d for k, d in shown.items() if k not in menu.write_only}
    unique = lore.unique
    if not unique and menu.keys == ("name",) and "add" in menu.verbs:
        duplicate = (
            "failure: already have interface with such name"
            if path in INTERFACE_TYPES
            else "failure: item with such name already exists"
        )
        unique = (("name",),)
        lore = Lore(lore.kinds, lore.references, lore.defaults, lore.state, unique, duplicate, lore.rows, lore.needs)
    indexes = unique if ("name",) in unique or "name" not in args | _names(lore) else (*unique, ("name",))
    return Model(menu, lore, MappingProxyType(kinds), MappingProxyType(shown | dict(lore.state)), indexes)


def _names(lore: Lore) -> frozenset[str]:
    return frozenset(key for row in lore.rows for key in row)
