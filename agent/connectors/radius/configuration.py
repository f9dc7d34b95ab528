"""The sections of a FreeRADIUS system in the configuration file: its databases, NAS and access methods."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

from agent.config_reader import ConfigReader, safe_name, shown
from agent.config_schema import (
    HANDLE,
    HOST,
    PATH_OR_EMPTY,
    REQUIRED,
    SECRET,
    SECRET_OR_NONE,
    YES_NO,
    Key,
    Kind,
    address,
    choice,
    list_of,
    number,
    or_empty,
    prefixes,
    text,
    whole,
)
from agent.connectors.base import GARDEN_MOST
from agent.connectors.radius.attributes import canonical, find, misspelled
from agent.connectors.radius.schema import Database, Method, Nas, RadiusConfig, SessionKind, SqlTarget, TableSet
from agent.connectors.spec import AccessMap

_NAMES_NAS: Final = frozenset({"NAS-IP-Address", "NAS-Identifier"})
"""Attributes by which a request says which NAS it is for."""
_TABLES_OF_METHOD: Final = ("suspended_reply", "active_reply", "tariffs")


def nas_profiles() -> tuple[str, ...]:
    """Return the names of the NAS profiles that are shipped."""
    return tuple(sorted(path.stem for path in (Path(__file__).parent / "profiles").glob("*.toml")))


def _profile(value: Any) -> str:
    if value not in nas_profiles():
        raise ValueError
    return str(value)


_SQL_NAME = Kind("1 to 63 printable characters", text(re.compile(r".{1,63}")))
_GROUP = Kind("a RADIUS group, 1 to 64 printable characters", text(re.compile(r".{1,64}")))
_REPLY = Kind("text, 1 to 253 characters", text(re.compile(r".{1,253}"), 253))
_ATTRIBUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", re.ASCII)

KEYS: Final[tuple[Key, ...]] = (
    Key(
        "radius.NAME",
        "database",
        choice(Database),
        REQUIRED,
        "The database that FreeRADIUS reads; `sqlite` is for the lab only.",
    ),
    Key(
        "radius.NAME",
        "host",
        Kind("a host name, an address or a socket directory", text(HOST)),
        "127.0.0.1",
        "Where it listens.",
    ),
    Key("radius.NAME", "port", whole(0, 65_535), 0, "Its port; 0: the database's usual one."),
    Key("radius.NAME", "dbname", _SQL_NAME, "radius", "The database's name."),
    Key("radius.NAME", "user", _SQL_NAME, "radius", "The user to log in as."),
    Key(
        "radius.NAME",
        "secret",
        SECRET_OR_NONE,
        "",
        'The name of the password in the vault (`ispagent secret set`); `""`: none is asked for.',
        "required, but for `sqlite`",
    ),
    Key("radius.NAME", "path", PATH_OR_EMPTY, "", "The file, for `sqlite`."),
    Key("radius.NAME", "tables", choice(TableSet), "stock", "Whose tables: `daloradius` tells who is disabled there."),
    Key("radius.NAME", "marker_group", _GROUP, "suspended", "The group that a suspended user is put into."),
    Key("radius.NAME", "marker_priority", whole(-32_768, 32_767), -1, "Its priority: below every tariff's."),
    Key("radius.NAME", "timeout_s", number(0.1, 60), 5.0, "How long a query may take, seconds."),
    Key(
        "radius.NAME",
        "silent_h",
        whole(1, 8760),
        24,
        "An open session on no configured NAS is not checked once accounting has been silent on it for so long, hours.",
    ),
    Key(
        "nas.NAME",
        "accounting",
        Kind("an IP address", address),
        REQUIRED,
        "The router as accounting names it (nasipaddress).",
    ),
    Key(
        "nas.NAME",
        "dynauth_host",
        Kind("a host name or address", text(HOST)),
        "",
        "Where CoA and Disconnect go, if elsewhere (NAT).",
        "`accounting`",
    ),
    Key("nas.NAME", "dynauth_port", whole(1, 65_535), 3799, "The UDP port for them (RFC 5176)."),
    Key("nas.NAME", "secret", SECRET, REQUIRED, "The name of the RADIUS secret in the vault."),
    Key(
        "nas.NAME",
        "profile",
        Kind("one of " + ", ".join(nas_profiles()), _profile),
        "mikrotik",
        "Which attributes this kind of router wants.",
    ),
    Key(
        "nas.NAME",
        "source",
        Kind("an IP address of this machine, or empty", or_empty(address)),
        "",
        "The address to send from; empty: any.",
    ),
    Key(
        "nas.NAME",
        "router",
        Kind("the NAME of a [routeros.NAME], or empty", or_empty(text(HANDLE))),
        "",
        "The router that this NAS is: its rules are checked and its API ends sessions that nothing else does.",
    ),
    Key(
        "nas.NAME",
        "by_user_name",
        YES_NO,
        True,
        "Whether it answers a Disconnect-Request with a User-Name alone truly; false: it is not asked in this way.",
    ),
    Key(
        "method.NAME",
        "nas",
        Kind("a list of NAMEs of [nas.NAME]", list_of(Kind("a NAME", text(HANDLE)))),
        [],
        "The NAS on which its logins may be: those are asked where accounting has no session; empty: all.",
    ),
    Key(
        "method.NAME",
        "target",
        Kind("a target such as radius/main", text(re.compile(r"radius/[a-z0-9-]{1,32}"))),
        REQUIRED,
        "The system that decides for this access method.",
    ),
    Key(
        "method.NAME",
        "garden4",
        prefixes(IPv4Network),
        [],
        "The walled garden's prefixes: an address there proves the suspension.",
    ),
    Key("method.NAME", "garden6", prefixes(IPv6Network), [], "The same for IPv6."),
    Key(
        "method.NAME",
        "garden_most",
        whole(1, 1 << 32),
        GARDEN_MOST,
        "How many public addresses a garden may hold on a router; a larger one refuses a suspension.",
    ),
    Key("method.NAME", "disconnect_within_s", whole(1, 600), 20, "How long a disconnect may take to show, seconds."),
    Key(
        "method.NAME",
        "redial_within_s",
        whole(1, 3600),
        60,
        'How long to wait for a new session before saying "at next login".',
    ),
    Key(
        "method.NAME",
        "coa",
        Kind("a list of attributes, such as Mikrotik-Rate-Limit", list_of(Kind("an attribute", text(_ATTRIBUTE)))),
        [],
        "Attributes that a CoA may change, where a `router` shows it: of Mikrotik-Rate-Limit alone.",
    ),
    Key(
        "method.NAME", "sessions", choice(SessionKind), "ppp", "The kind of session on the router, ended there at last."
    ),
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
)


def parse(reader: ConfigReader) -> RadiusConfig:
    """Return databases, NAS and access methods; those with problems are left out."""
    targets = [t for name, table in reader.named("radius") if (t := _target(reader, name, table))]
    nas = [n for name, table in reader.named("nas") if (n := _nas(reader, name, table))]
    methods = [m for name, table in reader.named("method") if (m := _method(reader, name, table))]
    _check_methods(reader, targets, methods)
    _check_places(reader, methods)
    _check_nas(reader, nas)
    return RadiusConfig(tuple(targets), tuple(nas), tuple(methods))


def secrets(config: RadiusConfig) -> frozenset[str]:
    """Return the names of the databases' passwords and of the secrets of NAS."""
    return frozenset({t.secret for t in config.targets} | {n.secret for n in config.nas}) - {""}


def access(config: RadiusConfig) -> tuple[AccessMap, ...]:
    """Return the access methods as the inventory sees them. MariaDB compares logins without case."""
    folding = {target.id for target in config.targets if target.database is Database.MARIADB}
    return tuple(
        AccessMap(m.name, m.target, frozenset(m.tariffs), str.casefold if m.target in folding else str)
        for m in config.methods
    )


def _target(reader: ConfigReader, name: str, table: Mapping[str, Any]) -> SqlTarget | None:
    where, before = f"radius.{name}", len(reader.problems)
    values = reader.section("radius.NAME", where, table)
    if values.get("database") in (Database.POSTGRESQL, Database.MARIADB) and "secret" not in table:
        # Forgotten, it would be no password: nothing would say so until the login is refused, while changes wait
        reader.problem(f"{where}.secret", f"missing; expected {SECRET_OR_NONE.expected}")
    if values.get("database") is Database.SQLITE:
        if not values.get("path", "missing"):
            reader.problem(f"{where}.path", "missing; expected the file of the sqlite database")
    elif values.get("database") is not None and values.get("path"):
        reader.problem(f"{where}.path", "expected only for sqlite")
    if len(reader.problems) > before:
        return None
    path = str(reader.path_of(values.pop("path"))) if values["path"] else values.pop("path")
    return SqlTarget(name=name, path=path, **values)


def _nas(reader: ConfigReader, name: str, table: Mapping[str, Any]) -> Nas | None:
    before = len(reader.problems)
    values = reader.section("nas.NAME", f"nas.{name}", table)
    if len(reader.problems) > before:
        return None
    values["dynauth_host"] = values["dynauth_host"] or values["accounting"]
    return Nas(name=name, **values)


def _method(reader: ConfigReader, name: str, table: Mapping[str, Any]) -> Method | None:
    where, before = f"method.{name}", len(reader.problems)
    values = reader.section("method.NAME", where, table, _TABLES_OF_METHOD)
    for sub in _TABLES_OF_METHOD:
        inner = f"{where}.{sub}"
        values[sub] = reader.free(f"method.NAME.{sub}", inner, reader.table(table, sub, inner))
    if not table.get("suspended_reply"):
        reader.problem(f"{where}.suspended_reply", "missing; expected at least one attribute, else nobody is suspended")
    for sub in ("suspended_reply", "active_reply"):
        for attribute, value in values[sub].items():
            _check_reply(reader, f"{where}.{sub}.{safe_name(attribute)}", attribute, value)
    for attribute in values.get("coa", ()):
        if meant := misspelled(attribute):
            reader.problem(f"{where}.coa", f"{attribute}: unknown; did you mean {meant}?")
    return None if len(reader.problems) > before else Method(name=name, **values)


def _check_reply(reader: ConfigReader, where: str, name: str, value: str) -> None:
    """Add a problem for an attribute by which FreeRADIUS would reject the login, or that no router ever gets."""
    known = find(name)
    if meant := misspelled(name):
        reader.problem(where, f"unknown; did you mean {meant}?")
    elif known and known.internal:
        reader.problem(where, "expected an attribute that a router gets, got one that FreeRADIUS keeps to itself")
    elif known and canonical(known, value) is None:
        reader.problem(where, f"expected a value of type {known.kind.value}, got {shown(value)}")


def _check_methods(reader: ConfigReader, targets: list[SqlTarget], methods: list[Method]) -> None:
    by_id = {target.id: target for target in targets}
    declared = [f"radius/{name}" for name in reader.declared("radius")]
    for method in methods:
        where = f"method.{method.name}"
        if method.target not in declared:
            got = f"expected one of {', '.join(declared) or 'none, there is no [radius.NAME]'}"
            reader.problem(f"{where}.target", f"{got}, got {shown(method.target)}")
        elif (target := by_id.get(method.target)) and target.marker_group in method.tariffs.values():
            group = shown(target.marker_group)
            reader.problem(
                f"{where}.tariffs", f"expected tariffs' groups, got {group}, which is the marker of suspension"
            )


def _check_places(reader: ConfigReader, methods: list[Method]) -> None:
    declared = reader.declared("nas")
    for method in methods:
        for name in method.nas:
            if name not in declared:
                got = f"expected NAMEs of {', '.join(declared) or 'none, there is no [nas.NAME]'}, got {shown(name)}"
                reader.problem(f"method.{method.name}.nas", got)


def _names_nas(profile: str) -> bool:
    """Tell whether requests of a profile say which NAS they are for."""
    text = (Path(__file__).parent / "profiles" / f"{profile}.toml").read_text(encoding="utf-8")
    return bool(_NAMES_NAS & {*tomllib.loads(text)["identify"]})


def _check_places_asked(reader: ConfigReader, nas: list[Nas]) -> None:
    """Add a problem for a NAS that is asked where another one is: that denies its sessions, as if they were over."""
    first: dict[tuple[str, int], Nas] = {}
    for one in nas:
        other = first.setdefault((one.dynauth_host, one.dynauth_port), one)
        unnamed = [n.profile for n in (other, one) if not _names_nas(n.profile)]
        if other.accounting != one.accounting and unnamed:
            where = f"{one.dynauth_host}:{one.dynauth_port}"
            text = f"expected a place of its own, nas.{other.name} is asked at {where} too, and profile {unnamed[0]}"
            reader.problem(f"nas.{one.name}.dynauth_host", f"{text} does not name the NAS in a request")


def _check_nas(reader: ConfigReader, nas: list[Nas]) -> None:
    routers = reader.declared("routeros")
    first: dict[str, str] = {}
    for one in nas:
        if one.router and one.router not in routers:
            got = f"expected one of {', '.join(routers) or 'none, there is no [routeros.NAME]'}"
            reader.problem(f"nas.{one.name}.router", f"{got}, got {shown(one.router)}")
    _check_places_asked(reader, nas)
    for one in nas:
        other = first.setdefault(one.accounting, one.name)
        if other != one.name:
            reader.problem(
                f"nas.{one.name}.accounting", f"expected each address once, {one.accounting} is nas.{other}'s too"
            )
