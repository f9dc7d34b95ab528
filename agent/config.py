"""The configuration file: TOML in, frozen dataclasses out, and all mistakes at once.

Nothing secret stands in it: passwords are named, and kept sealed in the vault. Relative paths are relative to the file.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.config_schema import HANDLE, Key, Required, documented_keys, keys_of
from agent.connectors.cwmp.schema import Baseline, CwmpConfig, is_misplaced
from agent.connectors.radius.schema import Database, Method, Nas, RadiusConfig, SqlTarget
from agent.connectors.routeros.schema import (
    DhcpMethod,
    HotspotMethod,
    PppMethod,
    RouterMethod,
    RouterosConfig,
    RouterTarget,
    StaticMethod,
)
from agent.connectors.routeros.values import Kind, mac_of, normalise
from agent.inventory.mapping_check import AccessMap

__all__ = [
    "AgentConfig",
    "BillingConfig",
    "CloudConfig",
    "ConfigError",
    "PolicyConfig",
    "documented_keys",
    "load",
    "parse_untrusted",
]

MAX_BYTES: Final = 4 * 1024 * 1024
_MAX_UID: Final = 2**32 - 2
_TABLES_OF_METHOD: Final = ("suspended_reply", "active_reply", "tariffs")
_ROUTER_METHODS: Final[Mapping[str, type[RouterMethod]]] = {
    "ppp": PppMethod,
    "static": StaticMethod,
    "dhcp": DhcpMethod,
    "hotspot": HotspotMethod,
}
"""Sections of access methods that routers decide."""
_SECTIONS: Final = (
    *("agent", "people", "policy", "billing", "cloud", "radius", "nas", "method", "routeros", "cwmp", "baseline"),
    *_ROUTER_METHODS,
)


class ConfigError(Exception):
    """The configuration cannot be used. `problems` are all of its mistakes, one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """`[policy]`: how plans are cut and when they stop by themselves. Who must approve is the trust document's."""

    ttl_s: int
    run_for_s: int
    canary: int
    soak_s: int
    pace: int
    stop_failed_percent: int
    stop_lost_sessions: int
    usual: int


@dataclass(frozen=True, slots=True)
class BillingConfig:
    """`[billing]`: the export that says who owes; `file` None: there is none."""

    file: Path | None
    max_age_s: int


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """`[cloud]`: the cadence of signed checkpoints, and how the agent stands to its witnesses and control plane."""

    checkpoint_s: int
    witness_wait_s: int
    uplink: bool


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything that the daemon is configured with. `config_sha256` is of the file's bytes, 64 hex digits."""

    path: Path
    config_sha256: str
    name: str
    state_dir: Path
    socket: Path
    socket_group: str | None
    timezone: ZoneInfo
    key_file: Path
    origin: str
    people: Mapping[int, str]
    policy: PolicyConfig
    billing: BillingConfig
    cloud: CloudConfig
    radius: RadiusConfig
    routeros: RouterosConfig
    cwmp: CwmpConfig

    @property
    def access(self) -> tuple[AccessMap, ...]:
        """What each access method is for the inventory, whichever system decides it."""
        folding = {target.id for target in self.radius.targets if target.database is Database.MARIADB}
        methods: tuple[Method | RouterMethod, ...] = (*self.radius.methods, *self.routeros.methods)

        def same(method: Method | RouterMethod) -> Callable[[str], str]:
            if isinstance(method, DhcpMethod):
                return lambda login: mac_of(login) or login
            return str.casefold if method.target in folding else str

        return tuple(
            AccessMap(
                m.name,
                m.target,
                frozenset(m.tariffs),
                same(m),
                () if isinstance(m, Method) else m.also_on,
                isinstance(m, StaticMethod),
            )
            for m in methods
        )


def load(path: Path, environ: Mapping[str, str] | None = None) -> AgentConfig:
    """Return the configuration that stands in `path`.

    Args:
        path: the TOML file.
        environ: where CREDENTIALS_DIRECTORY is looked up; None: the process's environment.

    Raises:
        ConfigError: it cannot be read, or has mistakes; all of them are named.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise ConfigError((f"{path}: cannot be read: {err.strerror}",)) from err
    return parse_untrusted(data, path.absolute(), os.environ if environ is None else environ)


def parse_untrusted(data: bytes, path: Path, environ: Mapping[str, str]) -> AgentConfig:
    """Return the configuration that `data` holds; `path` is where it came from (absolute).

    Raises:
        ConfigError: not TOML, or mistakes; all of them are named.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError((f"{path}: a file of at most {MAX_BYTES} bytes expected",))
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as err:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError((f"{path}: TOML in UTF-8 expected: {err}",)) from err
    reader = _Reader(path)
    config = _Builder(reader, document, path, environ, hashlib.sha256(data).hexdigest()).build()
    if config is None:
        raise ConfigError(tuple(reader.problems))
    return config


@dataclass(slots=True)
class _Reader:
    """Reads sections by the table and collects what is wrong with them."""

    path: Path
    problems: list[str] = field(default_factory=list)

    def problem(self, where: str, text: str) -> None:
        self.problems.append(f"{self.path} {where}: {text}")

    def table(self, parent: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
        """Return a sub-table, empty if it is missing or no table (then a problem)."""
        value = parent.get(name, {})
        if isinstance(value, dict):
            return value
        self.problem(where, f"expected a section [{where}], got {_shown(value)}")
        return {}

    def unknown(self, where: str, names: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
        for name in names:
            if name in allowed:
                continue
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected {', '.join(allowed)}"
            if name in {"password", "passwd", "shared_secret"}:
                hint = "secrets do not stand here: `ispagent secret set NAME`, and secret = NAME"
            self.problem(f"{where}.{_name(name)}" if where else _name(name), f"unknown; {hint}")

    def section(
        self, schema: str, where: str, table: Mapping[str, Any], tables: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Return the section's values by the table's keys; what is wrong is left out and becomes a problem."""
        keys = keys_of(schema)
        self.unknown(where, table, (*keys, *tables))
        values: dict[str, Any] = {}
        for name, key in keys.items():
            if name in table:
                self.value(f"{where}.{name}", key, table[name], values)
            elif isinstance(key.default, Required):
                self.problem(f"{where}.{name}", f"missing; expected {key.kind.expected}")
            else:
                values[name] = key.kind.read(key.default) if key.default != "" else ""
        return values

    def free(self, schema: str, where: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return a section whose keys the operator chooses (attributes, tariffs), checked by the schema's one key."""
        (key,) = keys_of(schema).values()
        values: dict[str, Any] = {}
        for name, value in table.items():
            self.value(f"{where}.{_name(name)}", key, value, values, name)
        return values

    def value(self, where: str, key: Key, value: Any, into: dict[str, Any], name: str = "") -> None:
        try:
            into[name or key.name] = key.kind.read(value)
        except (ValueError, TypeError):
            got = _shown(value) if key.kind.shown else "something else (not shown: it may be a secret)"
            self.problem(where, f"expected {key.kind.expected}, got {got}")

    def named(self, document: Mapping[str, Any], section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Give name and table of each `[section.NAME]`."""
        for name, value in self.table(document, section, section).items():
            if not HANDLE.fullmatch(name):
                self.problem(f"{section}.{_name(name)}", "expected a name of 1 to 32 of a-z, 0-9 and -")
            elif not isinstance(value, dict):
                self.problem(f"{section}.{name}", f"expected a section [{section}.NAME], got {_shown(value)}")
            else:
                yield name, value


@dataclass(slots=True)
class _Builder:
    """Builds the configuration out of a TOML document, section by section."""

    reader: _Reader
    document: Mapping[str, Any]
    path: Path
    environ: Mapping[str, str]
    sha256: str

    def build(self) -> AgentConfig | None:
        """Return the configuration, or None: the reader has the problems."""
        read, document = self.reader, self.document
        read.unknown("", document, _SECTIONS)
        agent = read.section("agent", "agent", read.table(document, "agent", "agent"))
        people = self._people()
        policy = read.section("policy", "policy", read.table(document, "policy", "policy"))
        billing = read.section("billing", "billing", read.table(document, "billing", "billing"))
        cloud = read.section("cloud", "cloud", read.table(document, "cloud", "cloud"))
        radius, routeros, cwmp = self._radius(), self._routeros(), self._cwmp()
        if read.problems:
            return None
        state_dir = self._path(agent["state_dir"])
        return AgentConfig(
            path=self.path,
            config_sha256=self.sha256,
            name=agent["name"],
            state_dir=state_dir,
            socket=self._path(agent["socket"]) if agent["socket"] else state_dir / "agent.sock",
            socket_group=agent["socket_group"] or None,
            timezone=agent["timezone"],
            key_file=self._key_file(agent["key_file"], state_dir),
            origin=agent["origin"] or f"ispagents.local/agent/{agent['name']}",
            people=people,
            policy=PolicyConfig(**policy),
            billing=BillingConfig(self._path(billing["file"]) if billing["file"] else None, billing["max_age_s"]),
            cloud=CloudConfig(**cloud),
            radius=radius,
            routeros=routeros,
            cwmp=cwmp,
        )

    def _path(self, text: str) -> Path:
        return self.path.parent / text

    def _key_file(self, text: str, state_dir: Path) -> Path:
        credentials = self.environ.get("CREDENTIALS_DIRECTORY")
        if credentials and "/" not in text:
            credential = Path(credentials) / (text or "store-key")
            if credential.exists():
                return credential
        return self._path(text) if text else state_dir / "store.key"

    def _people(self) -> dict[int, str]:
        people: dict[int, str] = {}
        read = self.reader
        for name, handle in read.free("people", "people", read.table(self.document, "people", "people")).items():
            if name.isascii() and name.isdigit() and int(name) <= _MAX_UID:
                if int(name) in people:
                    read.problem(f"people.{name}", f"expected each uid once, {int(name)} stands twice")
                people[int(name)] = handle
            else:
                read.problem(f"people.{_name(name)}", f"expected a uid, 0 to {_MAX_UID}, as the key")
        return people

    def _radius(self) -> RadiusConfig:
        targets = [self._target(name, table) for name, table in self.reader.named(self.document, "radius")]
        nas = [self._nas(name, table) for name, table in self.reader.named(self.document, "nas")]
        methods = [self._method(name, table) for name, table in self.reader.named(self.document, "method")]
        self._cross_check([t for t in targets if t], [n for n in nas if n], [m for m in methods if m])
        return RadiusConfig(tuple(t for t in targets if t), tuple(n for n in nas if n), tuple(m for m in methods if m))

    def _target(self, name: str, table: Mapping[str, Any]) -> SqlTarget | None:
        where, before = f"radius.{name}", len(self.reader.problems)
        values = self.reader.section("radius.NAME", where, table)
        if values.get("database") is Database.SQLITE:
            if not values.get("path", "missing"):
                self.reader.problem(f"{where}.path", "missing; expected the file of the sqlite database")
        elif values.get("database") is not None and values.get("path"):
            self.reader.problem(f"{where}.path", "expected only for sqlite")
        if len(self.reader.problems) > before:
            return None
        path = str(self._path(values.pop("path"))) if values["path"] else values.pop("path")
        return SqlTarget(name=name, path=path, **values)

    def _nas(self, name: str, table: Mapping[str, Any]) -> Nas | None:
        before = len(self.reader.problems)
        values = self.reader.section("nas.NAME", f"nas.{name}", table)
        if len(self.reader.problems) > before:
            return None
        values["dynauth_host"] = values["dynauth_host"] or values["accounting"]
        return Nas(name=name, **values)

    def _method(self, name: str, table: Mapping[str, Any]) -> Method | None:
        read, where, before = self.reader, f"method.{name}", len(self.reader.problems)
        values = read.section("method.NAME", where, table, _TABLES_OF_METHOD)
        for sub in _TABLES_OF_METHOD:
            inner = f"{where}.{sub}"
            values[sub] = read.free(f"method.NAME.{sub}", inner, read.table(table, sub, inner))
        if not table.get("suspended_reply"):
            read.problem(
                f"{where}.suspended_reply", "missing; expected at least one attribute, else nobody is suspended"
            )
        return None if len(read.problems) > before else Method(name=name, **values)

    def _routeros(self) -> RouterosConfig:
        targets = [self._router(name, table) for name, table in self.reader.named(self.document, "routeros")]
        methods = [
            self._router_method(kind, name, table)
            for kind in _ROUTER_METHODS
            for name, table in self.reader.named(self.document, kind)
        ]
        return RouterosConfig(tuple(t for t in targets if t), tuple(m for m in methods if m))

    def _router(self, name: str, table: Mapping[str, Any]) -> RouterTarget | None:
        read, where, before = self.reader, f"routeros.{name}", len(self.reader.problems)
        values = read.section("routeros.NAME", where, table)
        if len(read.problems) == before and bool(values["fingerprint"]) == values["insecure"]:
            said = "not both" if values["insecure"] else "or insecure = true"
            read.problem(f"{where}.fingerprint", f"expected the certificate's fingerprint, {said}")
        if len(read.problems) == before:
            self._users(where, values)
        if len(read.problems) > before:
            return None
        values["fingerprint"] = values["fingerprint"] or b""
        return RouterTarget(name=name, **values)

    def _users(self, where: str, values: Mapping[str, Any]) -> None:
        """Check that each user of a router has a password, and that two uses have not the same user."""
        users = [values["user"]]
        for use in ("read", "config"):
            user, secret = values[f"{use}_user"], values[f"{use}_secret"]
            if bool(user) != bool(secret):
                lacks = f"{use}_secret" if user else f"{use}_user"
                self.reader.problem(f"{where}.{lacks}", f"missing; {use}_user and {use}_secret are given together")
            if user in users:
                self.reader.problem(f"{where}.{use}_user", "expected a user of its own: each may what its use needs")
            users += [user] if user else []

    def _router_method(self, kind: str, name: str, table: Mapping[str, Any]) -> RouterMethod | None:
        read, where, before = self.reader, f"{kind}.{name}", len(self.reader.problems)
        values = read.section(f"{kind}.NAME", where, table, ("tariffs",))
        inner = f"{where}.tariffs"
        values["tariffs"] = read.free(f"{kind}.NAME.tariffs", inner, read.table(table, "tariffs", inner))
        declared = [f"routeros/{router}" for router, _ in self._sections("routeros")]
        for key, targets in (("target", [values.get("target")]), ("also_on", values.get("also_on", ()))):
            for target in targets:
                if target is not None and target not in declared:
                    got = f"expected one of {', '.join(declared) or 'none, there is no [routeros.NAME]'}"
                    read.problem(f"{where}.{key}", f"{got}, got {_shown(target)}")
        every = [values.get("target"), *values.get("also_on", ())]
        if len(set(every)) < len(every):
            read.problem(f"{where}.also_on", "expected each router once")
        if values.get("suspended_profile") and values["suspended_profile"] in values["tariffs"].values():
            text = f"expected tariffs' profiles, got {_shown(values['suspended_profile'])}, which is that of suspension"
            read.problem(inner, text)
        if kind == "static" and bool(values.get("suspended_list")) == bool(values.get("suspended_limit")):
            read.problem(f"{where}.suspended_list", "expected either suspended_list or suspended_limit")
        slowed = normalise(Kind.RATE_PAIR, values.get("suspended_limit", ""))
        if slowed and "0" in slowed.split("/"):
            read.problem(f"{where}.suspended_limit", "expected limits above 0, which is no limit at all")
        if slowed and slowed in (normalise(Kind.RATE_PAIR, limit) for limit in values["tariffs"].values()):
            text = f"expected tariffs' limits, got {_shown(values['suspended_limit'])}, which is that of suspension"
            read.problem(inner, text)
        others = ["method", *(other for other in _ROUTER_METHODS if other < kind)]
        for other in others:
            if name in dict(self._sections(other)):
                read.problem(where, f"expected each method once, there is a [{other}.{name}] too")
        return None if len(read.problems) > before else _ROUTER_METHODS[kind](name=name, **values)

    def _cwmp(self) -> CwmpConfig:
        read, before = self.reader, len(self.reader.problems)
        values = read.section("cwmp", "cwmp", read.table(self.document, "cwmp", "cwmp"))
        if len(read.problems) == before:
            for prefix in ("", "request_"):
                user, secret = values[f"{prefix}user"], values[f"{prefix}secret"]
                if bool(user) != bool(secret):
                    lacks = f"{prefix}secret" if user else f"{prefix}user"
                    read.problem(f"cwmp.{lacks}", f"missing; {prefix}user and {prefix}secret are given together")
            if values["client_ca"] and not values["certificate"]:
                read.problem("cwmp.certificate", "missing; certificates of CPE are asked for over TLS alone")
            if values["key"] and not values["certificate"]:
                read.problem("cwmp.certificate", "missing; there is a key without it")
        if len(read.problems) > before:
            return CwmpConfig()
        for name in ("certificate", "key", "client_ca", "files"):
            values[name] = self._path(values[name]) if values[name] else None
        return CwmpConfig(**values, baselines=self._baselines())

    def _baselines(self) -> tuple[Baseline, ...]:
        found: list[Baseline] = []
        for name, table in self.reader.named(self.document, "baseline"):
            where, before = f"baseline.{name}", len(self.reader.problems)
            values = self.reader.section("baseline.NAME", where, table, ("values",))
            inner = f"{where}.values"
            values["values"] = self.reader.free(
                "baseline.NAME.values", inner, self.reader.table(table, "values", inner)
            )
            for parameter, text in values["values"].items():
                if is_misplaced(parameter, text):
                    alone = "expected {password} or {secret:NAME} alone, NAME as in `ispagent secret set`, for no row"
                    self.reader.problem(f"{inner}.{_name(parameter)}", alone)
            if len(self.reader.problems) == before:
                found.append(Baseline(name, **values))
        return tuple(found)

    def _sections(self, section: str) -> list[tuple[str, object]]:
        found = self.document.get(section)
        return list(found.items()) if isinstance(found, dict) else []

    def _cross_check(self, targets: list[SqlTarget], nas: list[Nas], methods: list[Method]) -> None:
        read = self.reader
        by_id = {target.id: target for target in targets}
        section = self.document.get("radius")
        declared = [f"radius/{name}" for name in section] if isinstance(section, dict) else []
        for method in methods:
            where = f"method.{method.name}"
            if method.target not in declared:
                got = f"expected one of {', '.join(declared) or 'none, there is no [radius.NAME]'}"
                read.problem(f"{where}.target", f"{got}, got {_shown(method.target)}")
            elif (target := by_id.get(method.target)) and target.marker_group in method.tariffs.values():
                text = f"expected tariffs' groups, got {_shown(target.marker_group)}, which is the marker of suspension"
                read.problem(f"{where}.tariffs", text)
        routers = [name for name, _ in self._sections("routeros")]
        for one in nas:
            if one.router and one.router not in routers:
                got = f"expected one of {', '.join(routers) or 'none, there is no [routeros.NAME]'}"
                read.problem(f"nas.{one.name}.router", f"{got}, got {_shown(one.router)}")
        first: dict[str, str] = {}
        for one in nas:
            other = first.setdefault(one.accounting, one.name)
            if other != one.name:
                text = f"expected each address once, {one.accounting} is nas.{other}'s too"
                read.problem(f"nas.{one.name}.accounting", text)


def _name(name: str) -> str:
    # Whatever an operator typed as a key must not act on the terminal that shows the message.
    return name if name.isprintable() and len(name) <= 64 else ascii(name[:64])


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a section"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
