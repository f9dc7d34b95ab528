"""What may stand in the configuration file: one table of sections and keys, with their kinds, defaults and meanings.

`docs/config.md` is compared with this table by a test. A section with `NAME` in it stands once for each name.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from agent.connectors.radius import schema as radius_schema
from agent.connectors.radius.schema import Database, Sessions, Tables

HANDLE: Final = re.compile(r"[a-z0-9-]{1,32}", re.ASCII)
"""What a person, an agent or a section may be called; also what may leave the agent (DESIGN section 6)."""
_SECRET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._/-]{0,63}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9._:/-]{0,252}", re.ASCII)
_OUI: Final = re.compile(r"[0-9A-Fa-f]{6}", re.ASCII)
_URL: Final = re.compile(r"https?://[A-Za-z0-9._:\[\]-]{1,253}", re.ASCII)
_ORIGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value. `read` returns it as the agent keeps it, or raises ValueError or TypeError.

    `expected` completes "expected …". `shown`: whether a wrong value may be repeated in the message (one that may be
    a secret may not).
    """

    expected: str
    read: Callable[[Any], Any]
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Required:
    """The default of a key that must be given."""


REQUIRED: Final = Required()


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one section. `default_text` says in words a default that is worked out."""

    section: str
    name: str
    kind: Kind
    default: object
    doc: str
    default_text: str = ""


def _text(pattern: re.Pattern[str] | None = None, longest: int = 200) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > longest:
            raise ValueError
        if pattern is not None and not pattern.fullmatch(value):
            raise ValueError
        return value

    return read


def _text_or_empty(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: "" if value == "" else read(value)


def _whole(least: int, most: int) -> Kind:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return Kind(f"a whole number from {least} to {most}", read)


def _number(least: float, most: float) -> Kind:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise ValueError
        return float(value)

    return Kind(f"a number from {least:g} to {most:g}", read)


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _choice(enum: type[Database | Tables | Sessions]) -> Kind:
    def read(value: Any) -> Database | Tables | Sessions:
        return enum(value)

    return Kind("one of " + ", ".join(member.value for member in enum), read)


def _address(value: Any) -> str:
    if not isinstance(value, str):  # ip_address(1) is 0.0.0.1
        raise TypeError
    return str(ip_address(value))


def _prefixes(version: type[IPv4Network | IPv6Network]) -> Kind:
    def read(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError
        networks = tuple(ip_network(item) for item in value)
        if not all(isinstance(network, version) for network in networks):
            raise ValueError
        return networks

    name, example = ("v4", "100.99.0.0/16") if version is IPv4Network else ("v6", "2001:db8:99::/48")
    return Kind(f"a list of IP{name} prefixes without host bits, such as {example}", read)


def _ouis(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and _OUI.fullmatch(item) for item in value):
        raise ValueError
    return tuple(item.upper() for item in value)


def _networks(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(ip_network(item) for item in value)


def _list_of(kind: Kind) -> Callable[[Any], Any]:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError
        return tuple(kind.read(item) for item in value)

    return read


def _timezone(value: Any) -> zoneinfo.ZoneInfo:
    if not isinstance(value, str) or not value:
        raise ValueError
    try:
        return zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as err:
        raise ValueError from err


def nas_profiles() -> tuple[str, ...]:
    """Return the names of the NAS profiles that are shipped."""
    return tuple(sorted(path.stem for path in (Path(radius_schema.__file__).parent / "profiles").glob("*.toml")))


def _fingerprint(value: Any) -> bytes:
    text = _text(re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}", re.ASCII))(value)
    return bytes.fromhex(text.replace(":", ""))


def _profile(value: Any) -> str:
    if value not in nas_profiles():
        raise ValueError
    return str(value)


_HANDLE_KIND = Kind("a handle: 1 to 32 of a-z, 0-9 and -", _text(HANDLE))
_PATH = Kind("a path", _text(re.compile(r".{1,4096}"), 4096))
_PATH_OR_EMPTY = Kind("a path", _text_or_empty(_text(longest=4096)))
_SECRET = Kind(
    "the name of a secret in the vault (a-z, 0-9, . _ / -), such as nas/bng-1", _text(_SECRET_NAME), shown=False
)
_SECRET_OR_EMPTY = Kind(_SECRET.expected, _text_or_empty(_SECRET.read), shown=False)
_SQL_NAME = Kind("1 to 63 printable characters", _text(re.compile(r".{1,63}")))
_GROUP = Kind("a RADIUS group, 1 to 64 printable characters", _text(re.compile(r".{1,64}")))
_REPLY = Kind("text, 1 to 253 characters", _text(re.compile(r".{1,253}"), 253))

_ROUTER_USER = Kind("1 to 64 printable characters", _text(re.compile(r".{1,64}")))
_ROUTER_USER_OR_EMPTY = Kind(f"{_ROUTER_USER.expected}, or empty", _text_or_empty(_ROUTER_USER.read))
_PPP_PROFILE = Kind("a PPP profile, 1 to 64 printable characters", _text(re.compile(r".{1,64}"), 64))

_A, _P, _B, _C, _R, _N, _M = "agent", "policy", "billing", "cloud", "radius.NAME", "nas.NAME", "method.NAME"
_ATTRIBUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", re.ASCII)
_O = "routeros.NAME"
_S, _F, _D, _H = "ppp.NAME", "static.NAME", "dhcp.NAME", "hotspot.NAME"
_ROUTER = re.compile(r"routeros/[a-z0-9-]{1,32}")
_LIST = Kind(
    "an address list, 1 to 64 printable characters, or empty", _text_or_empty(_text(re.compile(r".{1,64}"), 64))
)
_LIMIT = Kind(
    "UPLOAD/DOWNLOAD such as 5M/20M, or empty",
    _text_or_empty(_text(re.compile(r"\d{1,12}[kKMG]?/\d{1,12}[kKMG]?"), 64)),
)
_RATE_LIMIT = Kind(
    "a rate-limit such as 5M/20M, or empty", _text_or_empty(_text(re.compile(r"[0-9kKMGsmhd/ ]{1,128}"), 128))
)
_HOTSPOT_PROFILE = Kind("a hotspot user profile, 1 to 64 printable characters", _text(re.compile(r".{1,64}"), 64))
_CWMP = "cwmp"
_YES_NO = Kind("true or false", _yes_or_no)
_WITHIN = "How long the end of a session may take to show, seconds."
_REDIAL = 'How long to wait for a new session before saying "at next login".'


def _on_routers(section: str, what: str) -> tuple[Key, ...]:
    """Return the keys that say on which routers the subscribers of a method are."""
    router = Kind("a target such as routeros/edge-1", _text(_ROUTER))
    others = Kind("a list of targets such as routeros/edge-2", _list_of(router))
    return (
        Key(section, "target", router, REQUIRED, f"The router on which {what} stand."),
        Key(section, "also_on", others, [], "Other routers that serve the same subscribers."),
    )


KEYS: Final[tuple[Key, ...]] = (
    Key(_A, "name", _HANDLE_KIND, REQUIRED, "What this agent is called, also in the trust document."),
    Key(_A, "state_dir", _PATH, "/var/lib/ispagent", "Where database, keys and socket stand; mode 0700."),
    Key(_A, "socket", _PATH_OR_EMPTY, "", "The local API's unix socket.", "`agent.sock` in `state_dir`"),
    Key(
        _A,
        "socket_group",
        Kind("a group of this machine, or empty", _text_or_empty(_text(longest=32))),
        "",
        "The group that may connect (mode 0660); empty: the daemon's own.",
    ),
    Key(
        _A,
        "timezone",
        Kind("an IANA time zone, such as Africa/Kampala", _timezone),
        "UTC",
        "In which office hours and windows are meant.",
    ),
    Key(
        _A,
        "key_file",
        _PATH_OR_EMPTY,
        "",
        "The key that seals the store: a file of mode 0600, or the name of a systemd credential.",
        "the systemd credential `store-key` if there is one, else `store.key` in `state_dir`",
    ),
    Key(
        _A,
        "origin",
        Kind("a log origin: letters, digits, . _ / -", _text_or_empty(_text(_ORIGIN))),
        "",
        "What the audit log calls itself (C2SP checkpoint); never change it.",
        "`ispagents.local/agent/` and the name",
    ),
    Key("people", "UID", _HANDLE_KIND, REQUIRED, "The person that a local user is, by uid.", "none"),
    Key(_P, "ttl_s", _whole(60, 86_400), 1800, "How long a plan may be approved, seconds."),
    Key(_P, "run_for_s", _whole(60, 86_400), 3600, "How long a plan may run once it started, seconds."),
    Key(_P, "canary", _whole(1, 100), 5, "Items of the first wave of a batch."),
    Key(_P, "soak_s", _whole(0, 3600), 120, "How long to watch after the first wave, seconds."),
    Key(_P, "pace", _whole(1, 1000), 2, "Items started per second and target."),
    Key(_P, "stop_failed_percent", _whole(0, 100), 2, "Stop a batch when more of its items fail, percent."),
    Key(
        _P,
        "stop_lost_sessions",
        _whole(0, 100_000),
        10,
        "Stop a batch when more sessions are lost that are not listed.",
    ),
    Key(
        _P,
        "usual",
        _whole(0, 1_000_000),
        0,
        "Suspensions on a usual day; twice as many are a large change. 0: unknown.",
    ),
    Key(_B, "file", _PATH_OR_EMPTY, "", "The billing system's CSV export, read again when it changes; empty: none."),
    Key(_B, "max_age_s", _whole(60, 604_800), 7200, "Billing data older than this makes a suspension a large change."),
    Key(
        _C,
        "checkpoint_s",
        _whole(1, 3600),
        60,
        "Cadence of signed checkpoints of the log, seconds; fixed, whatever happens.",
    ),
    Key(
        _C,
        "witness_wait_s",
        _whole(1, 3600),
        30,
        "How long a start waits for the witnesses, seconds; after it unused plans are void.",
    ),
    Key(_C, "uplink", Kind("true or false", _yes_or_no), True, "Whether an enrolled agent dials its control plane."),
    Key(
        _R, "database", _choice(Database), REQUIRED, "The database that FreeRADIUS reads; `sqlite` is for the lab only."
    ),
    Key(
        _R,
        "host",
        Kind("a host name, an address or a socket directory", _text(_HOST)),
        "127.0.0.1",
        "Where it listens.",
    ),
    Key(_R, "port", _whole(0, 65_535), 0, "Its port; 0: the database's usual one."),
    Key(_R, "dbname", _SQL_NAME, "radius", "The database's name."),
    Key(_R, "user", _SQL_NAME, "radius", "The user to log in as."),
    Key(
        _R,
        "secret",
        _SECRET_OR_EMPTY,
        "",
        "The name of the password in the vault (`ispagent secret set`); empty: none.",
    ),
    Key(_R, "path", _PATH_OR_EMPTY, "", "The file, for `sqlite`."),
    Key(_R, "tables", _choice(Tables), "stock", "Whose tables they are."),
    Key(_R, "marker_group", _GROUP, "suspended", "The group that a suspended user is put into."),
    Key(_R, "marker_priority", _whole(-32_768, 32_767), -1, "Its priority: below every tariff's."),
    Key(_R, "timeout_s", _number(0.1, 60), 5.0, "How long a query may take, seconds."),
    Key(
        _N, "accounting", Kind("an IP address", _address), REQUIRED, "The router as accounting names it (nasipaddress)."
    ),
    Key(
        _N,
        "dynauth_host",
        Kind("a host name or address", _text(_HOST)),
        "",
        "Where CoA and Disconnect go, if elsewhere (NAT).",
        "`accounting`",
    ),
    Key(_N, "dynauth_port", _whole(1, 65_535), 3799, "The UDP port for them (RFC 5176)."),
    Key(_N, "secret", _SECRET, REQUIRED, "The name of the RADIUS secret in the vault."),
    Key(
        _N,
        "profile",
        Kind("one of " + ", ".join(nas_profiles()), _profile),
        "mikrotik",
        "Which attributes this kind of router wants.",
    ),
    Key(
        _N,
        "source",
        Kind("an IP address of this machine, or empty", _text_or_empty(_address)),
        "",
        "The address to send from; empty: any.",
    ),
    Key(
        _N,
        "router",
        Kind("the NAME of a [routeros.NAME], or empty", _text_or_empty(_text(HANDLE))),
        "",
        "The router that this NAS is: its rules are checked and its API ends sessions that nothing else does.",
    ),
    Key(
        _M,
        "target",
        Kind("a target such as radius/main", _text(re.compile(r"radius/[a-z0-9-]{1,32}"))),
        REQUIRED,
        "The system that decides for this access method.",
    ),
    Key(
        _M,
        "garden4",
        _prefixes(IPv4Network),
        [],
        "The walled garden's prefixes: an address there proves the suspension.",
    ),
    Key(_M, "garden6", _prefixes(IPv6Network), [], "The same for IPv6."),
    Key(_M, "disconnect_within_s", _whole(1, 600), 20, "How long a disconnect may take to show, seconds."),
    Key(
        _M, "redial_within_s", _whole(1, 3600), 60, 'How long to wait for a new session before saying "at next login".'
    ),
    Key(
        _M,
        "coa",
        Kind("a list of attributes, such as Mikrotik-Rate-Limit", _list_of(Kind("an attribute", _text(_ATTRIBUTE)))),
        [],
        "Attributes that a CoA may change, where a `router` shows it: of Mikrotik-Rate-Limit alone.",
    ),
    Key(_M, "sessions", _choice(Sessions), "ppp", "What a session is on the router: where its last rung is."),
    Key(
        "method.NAME.suspended_reply",
        "ATTRIBUTE",
        _REPLY,
        REQUIRED,
        "What the subscriber's router must get while suspended.",
    ),
    Key(
        "method.NAME.active_reply",
        "ATTRIBUTE",
        _REPLY,
        REQUIRED,
        "What it must get while active, beside the tariff's group.",
        "none",
    ),
    Key("method.NAME.tariffs", "TARIFF", _GROUP, REQUIRED, "The RADIUS group of each tariff.", "none"),
    Key(_O, "host", Kind("a host name or address", _text(_HOST)), REQUIRED, "Where the router's API listens."),
    Key(_O, "port", _whole(1, 65_535), 8729, "Its port: that of the service `api-ssl`."),
    Key(_O, "user", _ROUTER_USER, REQUIRED, "The user for service changes, and for all else that has none of its own."),
    Key(_O, "secret", _SECRET, REQUIRED, "The name of its password in the vault."),
    Key(_O, "read_user", _ROUTER_USER_OR_EMPTY, "", "A user for everything that only reads; empty: `user` reads too."),
    Key(_O, "read_secret", _SECRET_OR_EMPTY, "", "The name of its password in the vault."),
    Key(
        _O,
        "config_user",
        _ROUTER_USER_OR_EMPTY,
        "",
        "A user for configuration changes, of which there are none yet: only `device probe` uses it.",
    ),
    Key(_O, "config_secret", _SECRET_OR_EMPTY, "", "The name of its password in the vault."),
    Key(
        _O,
        "fingerprint",
        Kind("the SHA-256 of the router's certificate, 64 hex digits", _text_or_empty(_fingerprint)),
        "",
        "The certificate that it must show; required unless `insecure`.",
    ),
    Key(
        _O,
        "insecure",
        Kind("true or false", _yes_or_no),
        False,
        "Speak to the service `api`, without TLS: password and subscribers pass in clear.",
    ),
    Key(
        _O,
        "serial",
        Kind("a serial number, software id or system id, or empty", _text_or_empty(_text(longest=64))),
        "",
        "The router that it must be; empty: whichever has the certificate.",
    ),
    Key(_O, "timeout_s", _number(0.1, 60), 10.0, "How long a command may take, seconds."),
    Key(_O, "cpu_limit", _whole(0, 100), 80, "Changes wait while its CPU is at this load or above, percent. 0: never."),
    *_on_routers(_S, "the secrets"),
    Key(_S, "suspended_profile", _PPP_PROFILE, REQUIRED, "The profile of a suspended subscriber."),
    Key(_S, "disconnect_within_s", _whole(1, 600), 20, _WITHIN),
    Key(_S, "redial_within_s", _whole(1, 3600), 60, _REDIAL),
    Key("ppp.NAME.tariffs", "TARIFF", _PPP_PROFILE, REQUIRED, "The PPP profile of each tariff.", "none"),
    *_on_routers(_F, "address lists and queues"),
    Key(_F, "suspended_list", _LIST, "", "The address list of suspended subscribers (IPv4 and IPv6)."),
    Key(_F, "suspended_limit", _LIMIT, "", "Instead of it: the `max-limit` of a suspended subscriber's queue."),
    Key(_F, "cut_within_s", _whole(1, 600), 20, "How long open connections may take to be gone, seconds."),
    Key(
        "static.NAME.tariffs",
        "TARIFF",
        _LIMIT,
        REQUIRED,
        "The `max-limit` of each tariff's queue; empty: not shaped here.",
        "none",
    ),
    *_on_routers(_D, "the leases"),
    Key(_D, "suspended_list", _LIST, "", "The address list of a suspended lease; empty: its access is blocked."),
    Key(_D, "cut_within_s", _whole(1, 600), 20, "How long open connections may take to be gone, seconds."),
    Key(_D, "renew_within_s", _whole(1, 3600), 60, "How long to wait until what was written is in effect."),
    Key("dhcp.NAME.tariffs", "TARIFF", _RATE_LIMIT, REQUIRED, "The `rate-limit` of each tariff's lease.", "none"),
    *_on_routers(_H, "the users"),
    Key(
        _H,
        "suspended_profile",
        Kind(f"{_HOTSPOT_PROFILE.expected}, or empty", _text_or_empty(_HOTSPOT_PROFILE.read)),
        "",
        "The user profile of a suspended subscriber; empty: the user is disabled.",
    ),
    Key(_H, "disconnect_within_s", _whole(1, 600), 20, _WITHIN),
    Key(_H, "redial_within_s", _whole(1, 3600), 60, _REDIAL),
    Key("hotspot.NAME.tariffs", "TARIFF", _HOTSPOT_PROFILE, REQUIRED, "The user profile of each tariff.", "none"),
    Key(
        _CWMP,
        "listen",
        Kind("an IP address, or empty", _text_or_empty(_address)),
        "",
        "The address that CPE call; empty: there is no ACS.",
    ),
    Key(_CWMP, "port", _whole(0, 65_535), 7547, "Its port; 0: any that is free."),
    Key(
        _CWMP,
        "url",
        Kind("a URL such as https://acs.example.net:7547, or empty", _text_or_empty(_text(_URL))),
        "",
        "How CPE reach it, without a path: for firmware images.",
        "where it listens",
    ),
    Key(
        _CWMP,
        "path",
        Kind("a path that begins with /", _text(re.compile(r"/[A-Za-z0-9._~/-]{0,99}"))),
        "/acs",
        "Where CPE post.",
    ),
    Key(_CWMP, "certificate", _PATH_OR_EMPTY, "", "Its certificate with those above it, PEM; empty: no TLS."),
    Key(_CWMP, "key", _PATH_OR_EMPTY, "", "The certificate's key, PEM; empty: it stands in the same file."),
    Key(_CWMP, "client_ca", _PATH_OR_EMPTY, "", "Who signs CPE's certificates, PEM; empty: none is asked for."),
    Key(
        _CWMP,
        "user",
        Kind("1 to 64 printable characters, or empty", _text_or_empty(_ROUTER_USER.read)),
        "",
        "The user that new CPE log in with; empty: only CPE with a password or certificate of their own get in.",
    ),
    Key(_CWMP, "secret", _SECRET_OR_EMPTY, "", "The secret that is that user's password."),
    Key(
        _CWMP,
        "request_user",
        Kind("1 to 64 printable characters, or empty", _text_or_empty(_ROUTER_USER.read)),
        "",
        "The user of connection requests to CPE that have none of their own yet; empty: these cannot be called.",
    ),
    Key(_CWMP, "request_secret", _SECRET_OR_EMPTY, "", "The secret that is its password."),
    Key(_CWMP, "basic", _YES_NO, False, "Take Basic without TLS too: passwords then pass in clear."),
    Key(
        _CWMP,
        "trust_shared",
        _YES_NO,
        False,
        "Act on a CPE that had a password of its own and comes with the shared one again: whoever knows that can pose.",
    ),
    Key(
        _CWMP,
        "request_networks",
        Kind("a list of IP prefixes without host bits, such as 100.64.0.0/10", _networks),
        [],
        "Where connection requests may go besides to the address that a CPE called from.",
    ),
    Key(_CWMP, "stun_port", _whole(0, 65_535), 0, "Port of the STUN server for CPE behind NAT; 0: none."),
    Key(_CWMP, "files", _PATH_OR_EMPTY, "", "Folder of firmware images; empty: none are served."),
    Key(_CWMP, "sessions", _whole(1, 20_000), 200, "Sessions at once; more CPE are told to come again (503)."),
    Key(_CWMP, "wait_s", _whole(300, 30 * 86_400), 7 * 86_400, "How long a change waits for its CPE, seconds."),
    Key(
        "baseline.NAME",
        "oui",
        Kind("a list of OUI of six hexadecimal digits", _ouis),
        [],
        "The OUI of the CPE that it is for; empty: any.",
    ),
    Key("baseline.NAME", "product_class", Kind("text", _text(longest=64)), "", "What their ProductClass begins with."),
    Key("baseline.NAME", "rotate", _YES_NO, True, "Give each credentials of its own, both ways."),
    Key(
        "baseline.NAME.values",
        "PARAMETER",
        Kind("text of at most 256 characters", _text(longest=256)),
        REQUIRED,
        "What a name such as `inform.interval`, or a path, is to read; `{login}` is that of the service that it "
        "serves, `{spread}` a moment of its own. Alone, `{password}` is that login's password in RADIUS, "
        "`{secret:NAME}` a secret of `ispagent secret set`.",
        "none",
    ),
)


def keys_of(section: str) -> dict[str, Key]:
    """Return the keys of a section as the table names it, by name."""
    return {key.name: key for key in KEYS if key.section == section}


def documented_keys() -> list[tuple[str, str, str, str]]:
    """Return (section, key, default, doc) of every key, as docs/config.md shows them."""
    return [(key.section, key.name, default_text(key), key.doc) for key in KEYS]


def default_text(key: Key) -> str:
    """Return a key's default as people read it."""
    if key.default_text:
        return key.default_text
    match key.default:
        case Required():
            return "required"
        case str(text):
            return f'`"{text}"`'
        case bool(yes):
            return f"`{str(yes).lower()}`"
        case other:
            return f"`{other}`"
