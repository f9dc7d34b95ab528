"""The sections of RouterOS in the configuration file: the routers, and the access methods that they decide."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.config_reader import ConfigReader, shown
from agent.config_schema import (
    HOST,
    REQUIRED,
    SECRET,
    SECRET_OR_EMPTY,
    USER,
    USER_OR_EMPTY,
    YES_NO,
    Key,
    Kind,
    list_of,
    number,
    or_empty,
    text,
    whole,
)
from agent.connectors.base import GARDEN_MOST
from agent.connectors.routeros.schema import (
    DhcpMethod,
    HotspotMethod,
    PppMethod,
    RouterMethod,
    RouterosConfig,
    RouterTarget,
    StaticMethod,
)
from agent.connectors.routeros.values import RouterKind as ValueKind
from agent.connectors.routeros.values import mac_of, normalize
from agent.connectors.spec import AccessMap

_METHODS: Final[Mapping[str, type[RouterMethod]]] = {
    "ppp": PppMethod,
    "static": StaticMethod,
    "dhcp": DhcpMethod,
    "hotspot": HotspotMethod,
}
"""Sections of access methods that routers decide."""
METHOD_SECTIONS: Final = tuple(sorted(_METHODS))


def _fingerprint(value: Any) -> bytes:
    digits = text(re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}", re.ASCII))(value)
    return bytes.fromhex(digits.replace(":", ""))


_PPP_PROFILE = Kind("a PPP profile, 1 to 64 printable characters", text(re.compile(r".{1,64}"), 64))
_ROUTER = re.compile(r"routeros/[a-z0-9-]{1,32}")
_LIST = Kind("an address list, 1 to 64 printable characters, or empty", or_empty(text(re.compile(r".{1,64}"), 64)))
_LIMIT = Kind(
    "UPLOAD/DOWNLOAD such as 5M/20M, or empty",
    or_empty(text(re.compile(r"\d{1,12}[kKMG]?/\d{1,12}[kKMG]?"), 64)),
)
_RATE_LIMIT = Kind("a rate-limit such as 5M/20M, or empty", or_empty(text(re.compile(r"[0-9kKMGsmhd/ ]{1,128}"), 128)))
_HOTSPOT_PROFILE = Kind("a hotspot user profile, 1 to 64 printable characters", text(re.compile(r".{1,64}"), 64))
_WITHIN = "How long the end of a session may take to show, seconds."
_REDIAL = 'How long to wait for a new session before saying "at next login".'


def _on_routers(section: str, what: str) -> tuple[Key, ...]:
    """Return the keys that say on which routers the subscribers of a method are."""
    router = Kind("a target such as routeros/edge-1", text(_ROUTER))
    others = Kind("a list of targets such as routeros/edge-2", list_of(router))
    return (
        Key(section, "target", router, REQUIRED, f"The router on which {what} stand."),
        Key(section, "also_on", others, [], "Other routers that serve the same subscribers."),
        Key(
            section,
            "only_these_routers",
            YES_NO,
            False,
            "No other router serves them; else each preview names others as not checked.",
        ),
        Key(
            section,
            "garden_most",
            whole(1, 1 << 32),
            GARDEN_MOST,
            "How many public addresses a garden of suspended subscribers may hold; a larger one refuses a suspension.",
        ),
    )


KEYS: Final[tuple[Key, ...]] = (
    Key(
        "routeros.NAME", "host", Kind("a host name or address", text(HOST)), REQUIRED, "Where the router's API listens."
    ),
    Key("routeros.NAME", "port", whole(1, 65_535), 8729, "Its port: that of the service `api-ssl`."),
    Key(
        "routeros.NAME",
        "user",
        USER,
        REQUIRED,
        "The user for service changes, and for all else that has none of its own.",
    ),
    Key("routeros.NAME", "secret", SECRET, REQUIRED, "The name of its password in the vault."),
    Key(
        "routeros.NAME",
        "read_user",
        USER_OR_EMPTY,
        "",
        "A user for everything that only reads; empty: `user` reads too.",
    ),
    Key("routeros.NAME", "read_secret", SECRET_OR_EMPTY, "", "The name of its password in the vault."),
    Key(
        "routeros.NAME",
        "config_user",
        USER_OR_EMPTY,
        "",
        "A user for the router's own configuration (`device prepare`); empty: `user` writes that too.",
    ),
    Key("routeros.NAME", "config_secret", SECRET_OR_EMPTY, "", "The name of its password in the vault."),
    Key(
        "routeros.NAME",
        "fingerprint",
        Kind("the SHA-256 of the router's certificate, 64 hex digits", or_empty(_fingerprint)),
        "",
        "The certificate that it must show; required unless `insecure`.",
    ),
    Key(
        "routeros.NAME",
        "insecure",
        YES_NO,
        False,
        "Speak to the service `api`, without TLS: password and subscribers pass in clear.",
    ),
    Key(
        "routeros.NAME",
        "serial",
        Kind("a serial number, software id or system id, or empty", or_empty(text(longest=64))),
        "",
        "The router that it must be; empty: whichever has the certificate.",
    ),
    Key("routeros.NAME", "timeout_s", number(0.1, 60), 10.0, "How long a command may take, seconds."),
    Key(
        "routeros.NAME",
        "cpu_limit",
        whole(0, 100),
        80,
        "Changes wait while its CPU is at this load or above, percent. 0: never.",
    ),
    Key(
        "routeros.NAME",
        "wait_for_safe_mode",
        YES_NO,
        True,
        "Changes wait while a colleague's safe mode is open there: it would undo them.",
    ),
    *_on_routers("ppp.NAME", "the secrets"),
    Key("ppp.NAME", "suspended_profile", _PPP_PROFILE, REQUIRED, "The profile of a suspended subscriber."),
    Key("ppp.NAME", "disconnect_within_s", whole(1, 600), 20, _WITHIN),
    Key("ppp.NAME", "redial_within_s", whole(1, 3600), 60, _REDIAL),
    Key("ppp.NAME.tariffs", "TARIFF", _PPP_PROFILE, REQUIRED, "The PPP profile of each tariff.", "none"),
    *_on_routers("static.NAME", "address lists and queues"),
    Key("static.NAME", "suspended_list", _LIST, "", "The address list of suspended subscribers (IPv4 and IPv6)."),
    Key(
        "static.NAME",
        "suspended_limit",
        _LIMIT,
        "",
        "Instead of it: the `max-limit` of a suspended subscriber's queue.",
    ),
    Key("static.NAME", "cut_within_s", whole(1, 600), 20, "How long open connections may take to be gone, seconds."),
    Key(
        "static.NAME.tariffs",
        "TARIFF",
        _LIMIT,
        REQUIRED,
        "The `max-limit` of each tariff's queue; empty: not shaped here.",
        "none",
    ),
    *_on_routers("dhcp.NAME", "the leases"),
    Key(
        "dhcp.NAME", "suspended_list", _LIST, "", "The address list of a suspended lease; empty: its access is blocked."
    ),
    Key("dhcp.NAME", "cut_within_s", whole(1, 600), 20, "How long open connections may take to be gone, seconds."),
    Key("dhcp.NAME", "renew_within_s", whole(1, 3600), 60, "How long to wait until what was written is in effect."),
    Key("dhcp.NAME.tariffs", "TARIFF", _RATE_LIMIT, REQUIRED, "The `rate-limit` of each tariff's lease.", "none"),
    *_on_routers("hotspot.NAME", "the users"),
    Key(
        "hotspot.NAME",
        "suspended_profile",
        Kind(f"{_HOTSPOT_PROFILE.expected}, or empty", or_empty(_HOTSPOT_PROFILE.read)),
        "",
        "The user profile of a suspended subscriber; empty: the user is disabled.",
    ),
    Key("hotspot.NAME", "disconnect_within_s", whole(1, 600), 20, _WITHIN),
    Key("hotspot.NAME", "redial_within_s", whole(1, 3600), 60, _REDIAL),
    Key("hotspot.NAME.tariffs", "TARIFF", _HOTSPOT_PROFILE, REQUIRED, "The user profile of each tariff.", "none"),
)


def parse(reader: ConfigReader) -> RouterosConfig:
    """Return routers and access methods; those with problems are left out."""
    targets = [t for name, table in reader.named("routeros") if (t := _router(reader, name, table))]
    methods = [
        m for kind in _METHODS for name, table in reader.named(kind) if (m := _method(reader, kind, name, table))
    ]
    return RouterosConfig(tuple(targets), tuple(methods))


def secrets(config: RouterosConfig) -> frozenset[str]:
    """Return the names of the passwords of every user of every router."""
    return frozenset().union(*(target.secrets for target in config.targets))


def access(config: RouterosConfig) -> tuple[AccessMap, ...]:
    """Return the access methods as the inventory sees them. A MAC address has many spellings and is one login."""

    def same(method: RouterMethod) -> Callable[[str], str]:
        return (lambda login: mac_of(login) or login) if isinstance(method, DhcpMethod) else str

    return tuple(
        AccessMap(m.name, m.target, frozenset(m.tariffs), same(m), m.also_on, isinstance(m, StaticMethod))
        for m in config.methods
    )


def _router(reader: ConfigReader, name: str, table: Mapping[str, Any]) -> RouterTarget | None:
    where, before = f"routeros.{name}", len(reader.problems)
    values = reader.section("routeros.NAME", where, table)
    if len(reader.problems) == before and bool(values["fingerprint"]) == values["insecure"]:
        said = "not both" if values["insecure"] else "or insecure = true"
        reader.problem(f"{where}.fingerprint", f"expected the certificate's fingerprint, {said}")
    if len(reader.problems) == before:
        _check_users(reader, where, values)
    if len(reader.problems) > before:
        return None
    values["fingerprint"] = values["fingerprint"] or b""
    return RouterTarget(name=name, **values)


def _check_users(reader: ConfigReader, where: str, values: Mapping[str, Any]) -> None:
    """Check that each user of a router has a password, and that two uses have not the same user."""
    users = [values["user"]]
    for use in ("read", "config"):
        user, secret = values[f"{use}_user"], values[f"{use}_secret"]
        if bool(user) != bool(secret):
            lacks = f"{use}_secret" if user else f"{use}_user"
            reader.problem(f"{where}.{lacks}", f"missing; {use}_user and {use}_secret are given together")
        if user in users:
            reader.problem(f"{where}.{use}_user", "expected a user of its own: each may what its use needs")
        users += [user] if user else []


def _method(reader: ConfigReader, kind: str, name: str, table: Mapping[str, Any]) -> RouterMethod | None:
    where, before = f"{kind}.{name}", len(reader.problems)
    values = reader.section(f"{kind}.NAME", where, table, ("tariffs",))
    inner = f"{where}.tariffs"
    values["tariffs"] = reader.free(f"{kind}.NAME.tariffs", inner, reader.table(table, "tariffs", inner))
    _check_targets(reader, where, values)
    _check_suspension(reader, where, values)
    if kind == "static" and bool(values.get("suspended_list")) == bool(values.get("suspended_limit")):
        reader.problem(f"{where}.suspended_list", "expected either suspended_list or suspended_limit")
    return None if len(reader.problems) > before else _METHODS[kind](name=name, **values)


def _check_targets(reader: ConfigReader, where: str, values: Mapping[str, Any]) -> None:
    declared = [f"routeros/{router}" for router in reader.declared("routeros")]
    for key, targets in (("target", [values.get("target")]), ("also_on", values.get("also_on", ()))):
        for target in targets:
            if target is not None and target not in declared:
                got = f"expected one of {', '.join(declared) or 'none, there is no [routeros.NAME]'}"
                reader.problem(f"{where}.{key}", f"{got}, got {shown(target)}")
    every = [values.get("target"), *values.get("also_on", ())]
    if len(set(every)) < len(every):
        reader.problem(f"{where}.also_on", "expected each router once")


def _check_suspension(reader: ConfigReader, where: str, values: Mapping[str, Any]) -> None:
    """Check that no tariff looks like a suspension."""
    tariffs = values["tariffs"].values()
    if values.get("suspended_profile") and values["suspended_profile"] in tariffs:
        said = f"expected tariffs' profiles, got {shown(values['suspended_profile'])}, which is that of suspension"
        reader.problem(f"{where}.tariffs", said)
    slowed = normalize(ValueKind.RATE_PAIR, values.get("suspended_limit", ""))
    if slowed and "0" in slowed.split("/"):
        reader.problem(f"{where}.suspended_limit", "expected limits above 0, which is no limit at all")
    if slowed and slowed in (normalize(ValueKind.RATE_PAIR, limit) for limit in tariffs):
        said = f"expected tariffs' limits, got {shown(values['suspended_limit'])}, which is that of suspension"
        reader.problem(f"{where}.tariffs", said)
