"""The sections of SNMP in the configuration file: devices, how they are asked, and the settings for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from agent.config_reader import ConfigReader
from agent.config_schema import (
    HANDLE,
    HOST,
    PATH_OR_EMPTY,
    REQUIRED,
    SECRET_OR_EMPTY,
    USER_OR_EMPTY,
    Key,
    Kind,
    choice,
    list_of,
    number,
    or_empty,
    text,
    whole,
)
from agent.connectors.snmp import profile_files
from agent.connectors.snmp.credential import (
    PASSPHRASE_OCTETS_MIN,
    AuthProtocol,
    PrivProtocol,
    SnmpCredential,
    SnmpVersion,
)
from agent.connectors.snmp.errors import UnusableCredentialError

NAME: Final = "snmp"
CREDENTIAL: Final = "snmp-credential"
_MAX_PORT: Final = 65_535
_STAND_IN: Final = b"x" * PASSPHRASE_OCTETS_MIN
"""Stands for a secret of the vault while the configuration is checked."""


@dataclass(frozen=True, slots=True)
class SnmpAccess:
    """`[snmp-credential.NAME]`: how devices are asked. Secrets are names in the vault."""

    name: str
    version: SnmpVersion
    community: str = ""
    user: str = ""
    auth: AuthProtocol | None = None
    auth_secret: str = ""
    priv: PrivProtocol | None = None
    priv_secret: str = ""
    context: str = ""

    @property
    def secrets(self) -> frozenset[str]:
        """The names of its secrets."""
        return frozenset((self.community, self.auth_secret, self.priv_secret)) - {""}

    def with_secrets(self, community: bytes, auth_key: bytes, priv_key: bytes) -> SnmpCredential:
        """Return the credential.

        Raises:
            UnusableCredentialError: a secret lacks, is too short, or does not belong to the version.
        """
        return SnmpCredential(
            self.version, community, self.user, self.auth, auth_key, self.priv, priv_key, self.context
        )


@dataclass(frozen=True, slots=True)
class SnmpDevice:
    """`[snmp.NAME]`: one device.

    `profile`: the name of the one to read it by; "": by what it says of itself. `every_s` 0: as its profile says.
    `sys_name`: its name, as it must say it; "": any. `notify`: how its notifications are secured; None: as polls are.
    `write`: how it is changed; None: it is not.
    """

    name: str
    address: str
    port: int
    access: SnmpAccess
    profile: str = ""
    every_s: float = 0.0
    sys_name: str = ""
    timeout_s: float = 2.0
    retries: int = 2
    repetitions: int = 50
    notify: SnmpAccess | None = None
    write: SnmpAccess | None = None

    @property
    def id(self) -> str:
        """The target's id."""
        return f"{NAME}/{self.name}"

    @property
    def place(self) -> str:
        """Address and port, for people."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class SnmpConfig:
    """Everything that the connector is configured with.

    `accesses`: all of them, also those that no device has. `own_profiles`: the texts of the operator's own, by name.
    `in_flight`: requests to all devices at once. `listen`: addresses and ports at which notifications are heard.
    """

    devices: tuple[SnmpDevice, ...] = ()
    accesses: tuple[SnmpAccess, ...] = ()
    own_profiles: Mapping[str, str] = field(default_factory=dict, repr=False)
    in_flight: int = 1024
    listen: tuple[tuple[str, int], ...] = ()


def _listen(value: Any) -> tuple[str, int]:
    host, _, port = str(value).rpartition(":")
    if not isinstance(value, str) or not 0 <= int(port) <= _MAX_PORT:
        raise ValueError
    return str(ip_address(host.strip("[]"))), int(port)


KEYS: Final[tuple[Key, ...]] = (
    Key(
        "snmp",
        "profiles",
        PATH_OR_EMPTY,
        "",
        "Folder of profiles of your own (*.toml), read at start; empty: those that are shipped alone.",
    ),
    Key("snmp", "in_flight", whole(1, 100_000), 1024, "Requests to all devices at once."),
    Key(
        "snmp",
        "listen",
        Kind("a list of addresses and ports, such as 0.0.0.0:162", list_of(Kind("an address and a port", _listen))),
        [],
        "Where traps and informs are heard, such as `0.0.0.0:162`; empty: nowhere.",
    ),
    Key("snmp.NAME", "address", Kind("a host name or address", text(HOST)), REQUIRED, "Where the device answers."),
    Key("snmp.NAME", "port", whole(1, _MAX_PORT), 161, "Its port."),
    Key(
        "snmp.NAME",
        "credential",
        Kind("the NAME of a [snmp-credential.NAME]", text(HANDLE)),
        REQUIRED,
        "How it is asked: the NAME of a `[snmp-credential.NAME]`.",
    ),
    Key(
        "snmp.NAME",
        "notify_credential",
        Kind("the NAME of a [snmp-credential.NAME], or empty", or_empty(text(HANDLE))),
        "",
        "How its notifications are secured; empty: as it is asked.",
    ),
    Key(
        "snmp.NAME",
        "write_credential",
        Kind("the NAME of a [snmp-credential.NAME], or empty", or_empty(text(HANDLE))),
        "",
        "How its ports are changed, by another secret than that of `credential`; empty: they are not.",
    ),
    Key(
        "snmp.NAME",
        "profile",
        Kind("the name of a profile, or empty", or_empty(text(re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII), 64))),
        "",
        "The profile to read it by; empty: by sysObjectID and sysDescr.",
    ),
    Key(
        "snmp.NAME",
        "every_s",
        Kind("0, or seconds from 10 to 86,400", lambda value: 0.0 if value == 0 else number(10, 86_400).read(value)),
        0,
        "How often it is polled, seconds; 0: as its profile says (300 mostly).",
    ),
    Key(
        "snmp.NAME",
        "sys_name",
        Kind("text of at most 255 characters", text(longest=255)),
        "",
        "What it must call itself (sysName); another name is another device, and is not read. Empty: any.",
    ),
    Key(
        "snmp.NAME",
        "timeout_s",
        number(0.1, 30),
        2.0,
        "How long an answer may take, seconds; tries after it wait longer.",
    ),
    Key("snmp.NAME", "retries", whole(0, 10), 2, "How often a question is asked again."),
    Key(
        "snmp.NAME",
        "repetitions",
        whole(1, 500),
        50,
        "Rows that are asked for at once, at most; fewer where it is too small.",
    ),
    Key("snmp-credential.NAME", "version", choice(SnmpVersion), REQUIRED, "Of the protocol: `1`, `2c` or `3`."),
    Key(
        "snmp-credential.NAME",
        "community",
        SECRET_OR_EMPTY,
        "",
        "Of versions 1 and 2c: the name of the secret that is the community.",
    ),
    Key("snmp-credential.NAME", "user", USER_OR_EMPTY, "", "Of version 3: the user."),
    Key(
        "snmp-credential.NAME",
        "auth",
        Kind(f"{choice(AuthProtocol).expected}, or empty", or_empty(AuthProtocol)),
        "",
        "Its authentication; empty: none.",
    ),
    Key("snmp-credential.NAME", "auth_secret", SECRET_OR_EMPTY, "", "The name of the secret that is its passphrase."),
    Key(
        "snmp-credential.NAME",
        "priv",
        Kind(f"{choice(PrivProtocol).expected}, or empty", or_empty(PrivProtocol)),
        "",
        "Its encryption; empty: none. `-C` are the keys of Cisco and those who follow it.",
    ),
    Key("snmp-credential.NAME", "priv_secret", SECRET_OR_EMPTY, "", "The name of the secret that is its passphrase."),
    Key("snmp-credential.NAME", "context", Kind("text", text(longest=32)), "", "Its context; mostly empty."),
)


def parse(reader: ConfigReader) -> SnmpConfig:
    """Return devices, accesses and profiles; those with problems are left out."""
    top = reader.top(NAME)
    values = reader.section(NAME, NAME, {key: value for key, value in top.items() if not isinstance(value, dict)})
    own = _own_profiles(reader, values["profiles"]) if values.get("profiles") else {}
    accesses = {
        access.name: access
        for name, table in reader.named(CREDENTIAL)
        if (access := _access(reader, name, table)) is not None
    }
    devices = tuple(
        device
        for name, table in top.items()
        if isinstance(table, dict) and (device := _device(reader, name, table, accesses)) is not None
    )
    _check_profiles(reader, devices, own)
    _check_places(reader, devices)
    listen = values.get("listen", ())
    return SnmpConfig(devices, tuple(accesses.values()), own, values.get("in_flight", 1024), tuple(listen))


def secrets(config: SnmpConfig) -> frozenset[str]:
    """Return the names of the secrets of all accesses."""
    return frozenset().union(*(access.secrets for access in config.accesses))


def _own_profiles(reader: ConfigReader, folder: str) -> dict[str, str]:
    path = reader.path_of(folder)
    try:
        return {file.stem: file.read_text(encoding="utf-8") for file in sorted(path.iterdir()) if _is_own(file)}
    except (OSError, UnicodeDecodeError) as err:
        reader.problem("snmp.profiles", f"expected a folder of profiles in UTF-8: {path}: {err}")
        return {}


def _check_profiles(reader: ConfigReader, devices: Sequence[SnmpDevice], own: Mapping[str, str]) -> None:
    """Check the operator's own profiles, and the names of those that devices are to be read by."""
    named = [device for device in devices if device.profile]
    if not own and not named:
        return  # those that are shipped are right, and cost every command the time to read them
    profiles, problems = profile_files.load(own)
    for problem in problems:
        reader.problem("snmp.profiles", problem)
    known = sorted(profile.name for profile in profiles)
    for device in named:
        if device.profile not in known:
            reader.problem(f"snmp.{device.name}.profile", f"expected one of {', '.join(known)}, got {device.profile}")


def _is_own(file: Path) -> bool:
    return file.suffix == ".toml" and not file.name.startswith(".")


def _access(reader: ConfigReader, name: str, table: Mapping[str, Any]) -> SnmpAccess | None:
    where, before = f"{CREDENTIAL}.{name}", len(reader.problems)
    values = reader.section(f"{CREDENTIAL}.NAME", where, table)
    if len(reader.problems) > before:
        return None
    access = SnmpAccess(name, **{**values, "auth": values["auth"] or None, "priv": values["priv"] or None})
    for protocol, secret in (("auth", access.auth_secret), ("priv", access.priv_secret)):
        if values[protocol] and not secret:
            reader.problem(f"{where}.{protocol}_secret", f"missing; {protocol} needs the name of its passphrase")
    if access.version is not SnmpVersion.V3 and not access.community:
        reader.problem(f"{where}.community", "missing; versions 1 and 2c need the name of a secret")
    if len(reader.problems) > before:
        return None
    try:
        access.with_secrets(
            *(_STAND_IN if s else b"" for s in (access.community, access.auth_secret, access.priv_secret))
        )
    except UnusableCredentialError as err:
        reader.problem(where, str(err).replace("_key", "_secret"))
        return None
    return access


def _device(
    reader: ConfigReader,
    name: str,
    table: Mapping[str, Any],
    accesses: Mapping[str, SnmpAccess],
) -> SnmpDevice | None:
    where, before = f"{NAME}.{name}", len(reader.problems)
    if not HANDLE.fullmatch(name):
        reader.problem(NAME, f"expected names of 1 to 32 of a-z, 0-9 and -, got {name[:40]!a}")
        return None
    values = reader.section(f"{NAME}.NAME", where, table)
    if len(reader.problems) > before:
        return None
    named = {key: values.pop(key) for key in ("credential", "notify_credential", "write_credential")}
    for key, wanted in named.items():
        if wanted and wanted not in reader.declared(CREDENTIAL):
            known = ", ".join(reader.declared(CREDENTIAL)) or f"none, there is no [{CREDENTIAL}.NAME]"
            reader.problem(f"{where}.{key}", f"expected one of {known}, got {wanted}")
    access, notify, write = (accesses.get(wanted) for wanted in named.values())
    if access is None or any(wanted and wanted not in accesses for wanted in named.values()):
        return None
    if write is not None and (why := _same_secret(access, write)):
        reader.problem(f"{where}.write_credential", f"expected another secret than that by which it is read: {why}")
        return None
    return SnmpDevice(name, access=access, notify=notify, write=write, **values)


def _same_secret(read: SnmpAccess, write: SnmpAccess) -> str:
    """Return why whoever may read a device could write on it too; "": they cannot, as far as the names tell."""
    if read.name == write.name:
        return f"both are [{CREDENTIAL}.{read.name}]"
    if SnmpVersion.V3 in (read.version, write.version):
        same = read.version is write.version and read.user == write.user and read.context == write.context
        return f"both are the user {read.user}" if same else ""
    return f"both are the community {read.community}" if read.community == write.community else ""


def _check_places(reader: ConfigReader, devices: Sequence[SnmpDevice]) -> None:
    """Check that no device stands there twice: one that is polled twice as two would have two states."""
    seen: dict[tuple[str, int, str], str] = {}
    for device in devices:
        place = (_same(device.address), device.port, device.access.name)
        if place in seen:
            reader.problem(f"{NAME}.{device.name}.address", f"expected another one than that of {NAME}.{seen[place]}")
        seen.setdefault(place, device.name)


def _same(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address.lower()
