"""The configuration file: TOML in, frozen dataclasses out, and all mistakes at once.

Nothing secret stands in it: passwords are named, and kept sealed in the vault. Relative paths are relative to the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar, cast
from zoneinfo import ZoneInfo

from agent import config_backup, config_billing
from agent.billing_model.terms import RESERVED, SourceTerms
from agent.config_backup import BackupConfig
from agent.config_billing import BillingConfig
from agent.config_fleet import ReadFile, expanded, told_once
from agent.config_reader import ConfigReader, safe_name
from agent.config_schema import (
    HANDLE,
    HANDLE_KIND,
    PATH,
    PATH_OR_EMPTY,
    REQUIRED,
    TIME_ZONE,
    YES_NO,
    Key,
    Kind,
    address,
    documented,
    or_empty,
    text,
    whole,
)
from agent.connectors import registry
from agent.connectors.spec import AccessMap, Configured, ConnectorSpec, configured
from agent.line_model.patterns import slow_part
from agent.socket_place import CONFIG, MAX_BYTES, SOCKET, STATE_DIR, socket_of
from durable.credentials import credential

__all__ = [
    "AgentConfig",
    "BackupConfig",
    "BillingConfig",
    "CloudConfig",
    "ConfigError",
    "ConfigUnreadableError",
    "DriftConfig",
    "HooksConfig",
    "PolicyConfig",
    "documented_keys",
    "load",
    "parse_untrusted",
]

C = TypeVar("C")

STORE_KEYS: Final = ("ispagent.store-key", "store-key")
"""The credentials that hold the store key: as the unit asks for it, and as units of one's own may call it."""
OFF: Final = "off"
"""Of a mark file: there is none."""
_MAX_PORT: Final = 65_535
_PATTERN_CHARS: Final = 200
_MAX_UID: Final = 2**32 - 2
_URL: Final = re.compile(r"https?://[A-Za-z0-9.\[\]:-]{1,253}(/[A-Za-z0-9._~/-]{0,200})?", re.ASCII)
_ORIGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", re.ASCII)


def _loopback(value: Any) -> str:
    host, _, port = str(value).rpartition(":")
    if not isinstance(value, str) or not ip_address(host.strip("[]")).is_loopback or not 0 <= int(port) <= _MAX_PORT:
        raise ValueError
    return value


def _listen(value: Any) -> str:
    host, _, port = str(value).rpartition(":")
    if not isinstance(value, str) or not 0 <= int(port) <= _MAX_PORT:
        raise ValueError
    ip_address(host.strip("[]"))
    return value


def _pattern(value: Any) -> re.Pattern[str]:
    if not isinstance(value, str) or len(value) > _PATTERN_CHARS:
        raise ValueError
    try:
        found = re.compile(value)
    except (re.error, RecursionError, OverflowError) as err:
        raise ValueError from err
    if "service" not in found.groupindex or slow_part(value):
        raise ValueError
    return found


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and HANDLE.fullmatch(name) for name in value):
        raise ValueError
    return tuple(value)


def _upstreams(value: Any) -> tuple[tuple[str, str, str], ...]:
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError
    found = []
    for line in value:
        device, upstream, *port = line.split(maxsplit=2)
        found.append((device, upstream, port[0].strip() if port else ""))
    ends = [name for one in found for name in one[:2]]
    if not all(HANDLE.fullmatch(name) for name in ends) or len({device for device, *_ in found}) < len(found):
        raise ValueError
    return tuple(found)


KEYS: Final[tuple[Key, ...]] = (
    Key("agent", "name", HANDLE_KIND, REQUIRED, "What this agent is called, also in the trust document."),
    Key("agent", "state_dir", PATH, str(STATE_DIR), "Where database and keys stand; the daemon's alone, mode 0700."),
    Key(
        "agent",
        "socket",
        PATH_OR_EMPTY,
        "",
        "The local API's unix socket, in a directory that its users may enter.",
        f"`{SOCKET}`; with another `state_dir`, `agent.sock` in it",
    ),
    Key(
        "agent",
        "socket_group",
        Kind("a group of this machine, or empty", or_empty(text(longest=32))),
        "",
        "The group that may connect (mode 0660); empty: the daemon's own.",
    ),
    Key(
        "agent",
        "timezone",
        TIME_ZONE,
        "UTC",
        "In which office hours and windows are meant.",
    ),
    Key(
        "agent",
        "key_file",
        PATH_OR_EMPTY,
        "",
        "The key that seals the store: a file of mode 0600, or the name of a systemd credential.",
        f"the systemd credential {' or '.join(f'`{one}`' for one in STORE_KEYS)} if there is one, else `store.key` in"
        " `state_dir`",
    ),
    Key(
        "agent",
        "mark_file",
        Kind("a path outside state_dir, off, or empty", PATH_OR_EMPTY.read),
        "",
        "Where it stands how far this agent came, so that a restored `state_dir` is noticed; `off`: nowhere.",
        "`mark` in a directory beside `state_dir`, called as that and `-mark`",
    ),
    Key(
        "agent",
        "origin",
        Kind("a log origin: letters, digits, . _ / -", or_empty(text(_ORIGIN))),
        "",
        "What the audit log calls itself (C2SP checkpoint); never change it.",
        "`ispagents.local/agent/` and the name",
    ),
    Key(
        "agent",
        "metrics_listen",
        Kind("a loopback address and a port, such as 127.0.0.1:9464, or empty", or_empty(_loopback)),
        "",
        "Where `/metrics` (Prometheus) and `/health` are served, without any subscriber's data; empty: nowhere.",
    ),
    Key("people", "UID", HANDLE_KIND, REQUIRED, "The person that a local user is, by uid.", "none"),
    Key("policy", "ttl_s", whole(60, 86_400), 1800, "How long a plan may be approved, seconds."),
    Key("policy", "run_for_s", whole(60, 86_400), 3600, "How long a plan may run once it started, seconds."),
    Key("policy", "canary", whole(0, 100), 5, "Items of the first wave of a batch; 0: all go at once."),
    Key("policy", "soak_s", whole(0, 3600), 120, "How long to watch after the first wave, seconds."),
    Key("policy", "pace", whole(1, 1000), 2, "Items started per second and target."),
    Key("policy", "stop_failed_percent", whole(0, 100), 2, "Stop a batch when more of its items fail, percent."),
    Key(
        "policy",
        "stop_failed_least",
        whole(1, 10_000),
        3,
        "Fewer failed items than this never stop a batch, whatever their share; of no effect where the share is 0.",
    ),
    Key(
        "policy",
        "stop_lost_sessions",
        whole(0, 100_000),
        10,
        "Stop a batch when more sessions are lost that are not listed.",
    ),
    Key(
        "policy",
        "usual",
        whole(0, 1_000_000),
        0,
        "Suspensions on a usual day; twice as many are a large change. 0: unknown.",
    ),
    Key(
        "policy",
        "approve_first_import",
        YES_NO,
        False,
        "Whether the first list of subscribers, into an empty inventory, is one change that others approve.",
    ),
    *config_billing.KEYS,
    Key(
        "hooks",
        "listen",
        Kind("an IP address and a port, such as 0.0.0.0:8443, or empty", or_empty(_listen)),
        "",
        "Where billing and payment systems call the agent when something changed; empty: nowhere.",
    ),
    Key("hooks", "certificate", PATH_OR_EMPTY, "", "The certificate of its TLS with its chain, PEM; empty: no TLS."),
    Key("hooks", "key", PATH_OR_EMPTY, "", "The certificate's key, PEM."),
    Key(
        "hooks",
        "proxy",
        Kind("an IP address, or empty", or_empty(address)),
        "",
        "The proxy with TLS that alone may connect, and that sets X-Forwarded-For; empty: callers connect themselves.",
    ),
    Key(
        "hooks",
        "url",
        Kind("the beginning of a URL, such as https://hooks.isp.example, or empty", or_empty(text(_URL))),
        "",
        "How callers reach it from outside: the beginning of each source's URL.",
        "made of `listen`",
    ),
    Key(
        "hooks",
        "turn",
        whole(0, 1_000_000),
        0,
        "Another number gives every source another secret path; the old ones are unknown from then on.",
    ),
    Key(
        "drift",
        "every_s",
        whole(0, 604_800),
        21_600,
        "How often all services are compared with the network, seconds; 0: by hand only.",
    ),
    Key(
        "drift",
        "alarm_percent",
        whole(1, 100),
        5,
        "One alarm when more of the checked services differ, percent.",
    ),
    Key(
        "drift",
        "judge_every_s",
        whole(10, 86_400),
        300,
        "How often items that are set and not proven yet are judged again, seconds.",
    ),
    Key("drift", "judge_days", whole(1, 365), 14, "How long they are judged again, days; then they say so."),
    Key(
        "cloud",
        "checkpoint_s",
        whole(1, 3600),
        60,
        "Cadence of signed checkpoints of the log, seconds; fixed, whatever happens.",
    ),
    Key(
        "cloud",
        "witness_wait_s",
        whole(1, 3600),
        30,
        "How long a start waits for the witnesses, seconds; after it unused plans are void.",
    ),
    Key("cloud", "uplink", YES_NO, True, "Whether an enrolled agent dials its control plane."),
    Key(
        "lines",
        "file",
        PATH_OR_EMPTY,
        "",
        "A CSV file with the columns service, device and part: where each subscriber hangs; read when it changes.",
    ),
    Key(
        "lines",
        "alias",
        Kind(
            "a regular expression with a group (?P<service>…) and no repeat inside a repeat, or empty",
            or_empty(_pattern),
        ),
        "",
        "How descriptions of ports name the service, the subscriber or the login; empty: they tell nothing.",
    ),
    Key(
        "lines",
        "roots",
        Kind("a list of names of devices", _names),
        [],
        "The devices nearest to this agent: which way is up in an outage.",
        "the best connected device",
    ),
    Key(
        "lines",
        "upstreams",
        Kind('a list of "DEVICE UPSTREAM" or "DEVICE UPSTREAM PORT", each device once', _upstreams),
        [],
        "The device that is next towards the root, with its port, where the two do not both tell of their link; it "
        "counts before all that neighbors tell.",
    ),
    Key(
        "series",
        "max_mib",
        whole(16, 1_048_576),
        2048,
        "The most that the series of polled values take on disk, MiB; beyond it the oldest go.",
    ),
    *config_backup.KEYS,
    Key(
        "fleet.NAME",
        "file",
        PATH,
        REQUIRED,
        'A CSV file with a line for each device; a section with `each = "NAME"` is repeated for each line.',
    ),
)
"""The keys of the agent's own sections; connectors have theirs in their specs."""


class ConfigError(Exception):
    """The configuration cannot be used. `problems` are all of its mistakes, one sentence each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ConfigUnreadableError(ConfigError):
    """The configuration file cannot be read: it is not there (`missing`), or not for us."""

    def __init__(self, path: Path, err: OSError) -> None:
        self.missing = isinstance(err, FileNotFoundError)
        hint = "name another one with --config or ISPAGENT_CONFIG"
        if isinstance(err, PermissionError):
            hint = "run this as root, or as the user that the agent runs as"
        problem = f"{path}: cannot be read: {err.strerror}: {hint}"
        if self.missing and path == CONFIG:
            problem = f"this agent is not configured yet: {path} does not exist; write it (docs/install.md), or {hint}"
        super().__init__((problem,))


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """`[policy]`: how plans are cut and when they stop by themselves. The trust document names the approvers."""

    ttl_s: int
    run_for_s: int
    canary: int
    soak_s: int
    pace: int
    stop_failed_percent: int
    stop_failed_least: int
    stop_lost_sessions: int
    usual: int
    approve_first_import: bool = False


@dataclass(frozen=True, slots=True)
class HooksConfig:
    """`[hooks]`: where billing and payment systems call.

    `certificate` and `key`: paths, "": no TLS. `proxy`: the only machine that may connect, "": any. `url`: the part
    that callers put before the path, "": made of the others. `turn`: of the secret paths.
    """

    host: str
    port: int
    certificate: str
    key: str
    proxy: str
    url: str
    turn: int


@dataclass(frozen=True, slots=True)
class DriftConfig:
    """`[drift]`: the pace at which the network is compared with the state that was set."""

    every_s: int
    alarm_percent: int
    judge_every_s: int
    judge_days: int


@dataclass(frozen=True, slots=True)
class LinesConfig:
    """`[lines]`: how subscribers' lines are found, and which way is up. `file` None: there is none.

    `upstreams`: a device, its upstream device and the port of that one, or "".
    """

    file: Path | None
    alias: re.Pattern[str] | None
    roots: tuple[str, ...]
    upstreams: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """`[cloud]`: the interval of signed checkpoints, the wait for witnesses, and whether the agent connects."""

    checkpoint_s: int
    witness_wait_s: int
    uplink: bool


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything that the daemon is configured with.

    `config_sha256`: of the file's bytes, 64 hex digits; where there are fleets, of them and the SHA-256 of each file.
    `series_bytes`: the most that series take on disk.
    """

    path: Path
    config_sha256: str
    name: str
    state_dir: Path
    socket: Path
    socket_group: str | None
    timezone: ZoneInfo
    key_file: Path
    mark_file: Path | None
    origin: str
    metrics_listen: tuple[str, int] | None
    people: Mapping[int, str]
    policy: PolicyConfig
    billing: BillingConfig
    hooks: HooksConfig | None
    drift: DriftConfig
    cloud: CloudConfig
    series_bytes: int
    lines: LinesConfig
    backup: BackupConfig
    connectors: tuple[Configured[Any], ...]

    @property
    def access(self) -> tuple[AccessMap, ...]:
        """The inventory's view of each access method, whichever system decides it."""
        return tuple(one for connector in self.connectors for one in connector.access)

    @property
    def sources(self) -> tuple[SourceTerms, ...]:
        """The billing sources, whichever connector reads them."""
        return tuple(one for connector in self.connectors for one in connector.sources)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the secrets that it uses."""
        return frozenset(name for connector in self.connectors for name in connector.secrets)

    def of(self, spec: ConnectorSpec[C]) -> C:
        """Return the configuration of a connector of the registry."""
        (found,) = (one.config for one in self.connectors if one.spec is spec)
        return cast("C", found)


def load(
    path: Path,
    environ: Mapping[str, str] | None = None,
    connectors: Iterable[ConnectorSpec[Any]] | None = None,
) -> AgentConfig:
    """Return the configuration that stands in `path`.

    Args:
        path: the TOML file.
        environ: where CREDENTIALS_DIRECTORY is looked up; None: the process's environment.
        connectors: the connectors that can be configured; None: those of the registry.

    Raises:
        ConfigUnreadableError: it cannot be read.
        ConfigError: it has mistakes; all of them are named.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise ConfigUnreadableError(path, err) from err
    return parse_untrusted(data, path.absolute(), os.environ if environ is None else environ, connectors)


def parse_untrusted(
    data: bytes,
    path: Path,
    environ: Mapping[str, str],
    connectors: Iterable[ConnectorSpec[Any]] | None = None,
    read: ReadFile = Path.read_bytes,
) -> AgentConfig:
    """Return the configuration that `data` holds.

    Args:
        data: the file's bytes.
        path: where it came from (absolute).
        environ: where CREDENTIALS_DIRECTORY is looked up.
        connectors: the connectors that can be configured; None: those of the registry.
        read: reads a fleet's file.

    Raises:
        ConfigError: not TOML, or mistakes; all of them are named.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError((f"{path}: expected a file of at most {MAX_BYTES} bytes",))
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as err:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError((f"{path}: expected TOML in UTF-8: {err}",)) from err
    specs = registry.specs() if connectors is None else tuple(connectors)
    reader = ConfigReader(path, document, all_keys(specs))
    fleets = expanded(reader, read)
    reader.document = fleets.document
    hashed = data + b"".join(hashlib.sha256(content).digest() for content in fleets.files)
    config = _build(reader, specs, environ, hashlib.sha256(hashed).hexdigest())
    if config is None:
        raise ConfigError(told_once(reader, fleets))
    return config


def all_keys(connectors: Iterable[ConnectorSpec[Any]]) -> tuple[Key, ...]:
    """Return every key that may stand in a configuration file, in the order of docs/config.md."""
    return (*KEYS, *(key for spec in connectors for key in spec.keys))


def documented_keys(connectors: Iterable[ConnectorSpec[Any]] | None = None) -> list[tuple[str, str, str, str]]:
    """Return (section, key, default, doc) of every key, as docs/config.md shows them."""
    return documented(all_keys(registry.specs() if connectors is None else connectors))


def _build(
    reader: ConfigReader, specs: Collection[ConnectorSpec[Any]], environ: Mapping[str, str], sha256: str
) -> AgentConfig | None:
    """Return the configuration, or None: the reader has the problems."""
    sections = dict.fromkeys(key.section.partition(".")[0] for key in reader.keys)
    reader.unknown("", reader.document, tuple(sections))
    agent = reader.section("agent", "agent", reader.top("agent"))
    people = _people(reader)
    policy = reader.section("policy", "policy", reader.top("policy"))
    asked = reader.section("billing", "billing", reader.top("billing"))
    hooks = _hooks(reader)
    drift = reader.section("drift", "drift", reader.top("drift"))
    cloud = reader.section("cloud", "cloud", reader.top("cloud"))
    series = reader.section("series", "series", reader.top("series"))
    lines = reader.section("lines", "lines", reader.top("lines"))
    asked_backup = reader.section("backup", "backup", reader.top("backup"))
    connectors = tuple(configured(spec, reader) for spec in specs)
    _check_method_names(reader, specs)
    _check_sources(reader, connectors)
    if reader.problems:
        return None
    sources = [source for connector in connectors for source in connector.sources]
    billing = config_billing.billing_of(reader, asked, agent["timezone"], sources)
    backup = config_backup.backup_of(reader, asked_backup)
    if reader.problems:
        return None
    state_dir = reader.path_of(agent["state_dir"])
    socket = _socket(reader, agent, state_dir)
    if socket is None or _mark_inside(reader, agent, state_dir):
        return None
    return AgentConfig(
        path=reader.path,
        config_sha256=sha256,
        name=agent["name"],
        state_dir=state_dir,
        socket=socket,
        socket_group=agent["socket_group"] or None,
        timezone=agent["timezone"],
        key_file=_key_file(reader, agent["key_file"], state_dir, environ),
        mark_file=_mark_file(reader, agent["mark_file"], state_dir),
        origin=agent["origin"] or f"ispagents.local/agent/{agent['name']}",
        metrics_listen=_host_and_port(agent["metrics_listen"]),
        people=people,
        policy=PolicyConfig(**policy),
        billing=billing,
        hooks=hooks,
        drift=DriftConfig(**drift),
        cloud=CloudConfig(**cloud),
        series_bytes=series["max_mib"] << 20,
        lines=LinesConfig(
            reader.path_of(lines["file"]) if lines["file"] else None,
            lines["alias"] or None,
            lines["roots"],
            lines["upstreams"],
        ),
        backup=backup,
        connectors=connectors,
    )


def _socket(reader: ConfigReader, agent: Mapping[str, Any], state_dir: Path) -> Path | None:
    """Return the socket's path, or None with a problem: a group that could never reach it."""
    socket = socket_of(reader.path.parent, agent["socket"], state_dir)
    if agent["socket_group"] and state_dir in socket.parents:
        reader.problem(
            "agent.socket",
            f"expected a path outside state_dir, which only the daemon's user may enter: the group "
            f"{agent['socket_group']} could not connect; for example {SOCKET}",
        )
        return None
    return socket


def _mark_file(reader: ConfigReader, name: str, state_dir: Path) -> Path | None:
    if name == OFF:
        return None
    return reader.path_of(name) if name else state_dir.with_name(f"{state_dir.name}-mark") / "mark"


def _mark_inside(reader: ConfigReader, agent: Mapping[str, Any], state_dir: Path) -> bool:
    """Return whether the mark file is inside the state directory, with a problem: a backup would bring it along."""
    mark = _mark_file(reader, agent["mark_file"], state_dir)
    if mark is None or state_dir not in mark.parents:
        return False
    reader.problem("agent.mark_file", f"expected a path outside state_dir, which is put back as a whole, got {mark}")
    return True


def _host_and_port(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if text else None


def _key_file(reader: ConfigReader, name: str, state_dir: Path, environ: Mapping[str, str]) -> Path:
    for one in (name,) if name else STORE_KEYS:
        if "/" not in one and (found := credential(one, environ)) is not None:
            return found
    return reader.path_of(name) if name else state_dir / "store.key"


def _people(reader: ConfigReader) -> dict[int, str]:
    people: dict[int, str] = {}
    for name, handle in reader.free("people", "people", reader.top("people")).items():
        if name.isascii() and name.isdigit() and int(name) <= _MAX_UID:
            if int(name) in people:
                reader.problem(f"people.{name}", f"expected each uid once, {int(name)} stands twice")
            people[int(name)] = handle
        else:
            expected = f"expected a uid, 0 to {_MAX_UID}, as the key (id -u NAME prints it)"
            reader.problem(f"people.{safe_name(name)}", expected)
    return people


def _check_method_names(reader: ConfigReader, specs: Collection[ConnectorSpec[Any]]) -> None:
    """Check that no access method has the name of another, whichever connectors decide them."""
    sections = [section for spec in specs for section in spec.method_sections]
    for n, section in enumerate(sections):
        for name in reader.declared(section):
            for other in sections[:n]:
                if name in reader.declared(other):
                    where = f"{section}.{safe_name(name)}"
                    reader.problem(where, f"expected each method once, there is a [{other}.{safe_name(name)}] too")


def _hooks(reader: ConfigReader) -> HooksConfig | None:
    values = reader.section("hooks", "hooks", reader.top("hooks"))
    if not values.get("listen"):
        return None
    where = _host_and_port(values.pop("listen"))
    paths = {name: str(reader.path_of(values[name])) if values.get(name) else "" for name in ("certificate", "key")}
    if bool(paths["certificate"]) is not bool(paths["key"]):
        missing = "key" if paths["certificate"] else "certificate"
        reader.problem(f"hooks.{missing}", "missing; expected certificate and key, or neither")
    elif where and not (paths["certificate"] or values.get("proxy") or ip_address(where[0]).is_loopback):
        expected = "expected a certificate, a `proxy` that has one, or a loopback address in `listen`"
        reader.problem("hooks.certificate", f"missing; {expected}: callers are reached by TLS only")
    return HooksConfig(*where, **{**values, **paths}) if where and {"proxy", "url", "turn"} <= values.keys() else None


def _check_sources(reader: ConfigReader, connectors: Iterable[Configured[Any]]) -> None:
    """Check that each billing source has a name of its own, and that those that are called have a listener."""
    first: dict[str, str] = {}
    listens = bool(reader.top("hooks").get("listen"))
    for source in (source for connector in connectors for source in connector.sources):
        section = source.target.replace("/", ".")
        if source.hook is not None and not listens:
            reader.problem(f"{section}.hook", "expected [hooks] listen, where its system calls")
        if source.name in RESERVED:
            reader.problem(section, f"expected another NAME, {RESERVED[source.name]}")
        other = first.setdefault(source.name, section)
        if other != section:
            reader.problem(section, f"expected each NAME of a billing source once, there is a [{other}] too")
