"""The control plane's data directory (mode 0700) and `config.toml` in it.

| file | holds |
|---|---|
| `config.toml` | an administrator's decisions |
| `authority.pem`, `authority.key` | the certificate authority |
| `server.pem` | the server's certificate and key; made anew when under a third of its life is left |
| `witness.key` | the witness's Ed25519 seed, hex |
| `cloud.db` | members, tokens, kept messages, cosigned checkpoints |

`authority.key` and `witness.key` may be credentials of systemd in place of files: the server needs them, an
administrator's commands but `backup` do not.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from control_plane import certificates
from control_plane.certificates import SEALED, Authority, Pair
from control_plane.desk import files
from control_plane.errors import InputError, LocalFailureError, ServerConfigError
from control_plane.limits import Quota
from durable.credentials import credential, mode_problem
from trust.checkpoint import encode_witness_vkey
from trust.errors import MalformedError
from trust.keys import SigningKey

DATABASE: Final = "cloud.db"
FILE_BYTES: Final = 65_536
"""Of any file here but the database. Chosen arbitrarily."""

KEYS: Final = ("authority.key", "witness.key")
"""The two that can be sealed: systemd then passes them as credentials, `ispcloud.authority.key` and so on."""

QUOTA_MAX: Final = 2**40
"""The largest number in `[quotas]`. Chosen arbitrarily."""

PUT_BACK: Final = "restore a backup into a new directory (ispcloud restore)"
"""Advice of an error: what to do about a damaged file."""

_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,8}", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})", re.ASCII)
_PEM_KEY: Final = b"-----BEGIN PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, or where to connect to. Port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Config:
    """The content of `config.toml`."""

    listen: Address
    enrolment_listen: Address
    metrics_listen: Address | None
    public_host: str
    witness_name: str
    quotas: Quota


DEFAULT: Final = """\
# ispcloud, the control plane. `ispcloud serve` reads this at its start.

# Where agents, people and services connect, with certificates of ours.
listen = "{listen}"
# Where new ones bring their one-time token.
enrolment_listen = "{enrolment_listen}"
# Prometheus metrics over plain HTTP, on loopback; empty: none.
metrics_listen = "{metrics_listen}"
# The name or address under which they reach this host: invitations say it.
public_host = "{public_host}"
# The name of the key with which this server cosigns agents' logs. Trust documents hold it: do not change it later.
witness_name = "{witness_name}"

# What one operator and one of its members may use, where the built-in numbers do not fit:
# {quotas}
[quotas]
"""


def parse_address(text: str, key: str) -> Address:
    """Return the address that `HOST:PORT` says; IPv6 in brackets.

    Raises:
        ServerConfigError: it says none.
    """
    found = _ADDRESS.fullmatch(text)
    host = (found["six"] or found["host"]) if found else ""
    if found is None or int(found["port"]) > 65535 or not _is_host(host):
        raise ServerConfigError(f"{key}: expected HOST:PORT, got {text!r}")
    return Address(host, int(found["port"]))


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST.fullmatch(text) is not None
    return True


def parse(text: str) -> Config:
    """Return the content of a `config.toml`.

    Raises:
        ServerConfigError: not TOML, a key is missing, unknown or of the wrong kind.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise ServerConfigError(f"expected TOML: {err}") from err
    known = {f.name for f in fields(Config)}
    if unknown := sorted(document.keys() - known):
        raise ServerConfigError(f"{unknown[0]}: expected one of {', '.join(sorted(known))}")
    metrics = _text(document, "metrics_listen", "")
    host = _text(document, "public_host")
    if not _is_host(host):
        raise ServerConfigError(f"public_host: expected a host name or address, got {host!r}")
    metrics_listen = parse_address(metrics, "metrics_listen") if metrics else None
    if metrics_listen is not None and not _is_loopback(metrics_listen.host):
        raise ServerConfigError(
            f"metrics_listen: expected an address of loopback, got {metrics!r}: metrics have no password"
        )
    return Config(
        parse_address(_text(document, "listen"), "listen"),
        parse_address(_text(document, "enrolment_listen"), "enrolment_listen"),
        metrics_listen,
        host,
        _witness_name(_text(document, "witness_name", "ispcloud-witness")),
        _quotas(document.get("quotas", {})),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _text(document: Mapping[str, object], key: str, default: str | None = None) -> str:
    value = document.get(key, default)
    if value is None:
        raise ServerConfigError(f"{key}: expected a text, the key is missing")
    if not isinstance(value, str):
        raise ServerConfigError(f"{key}: expected a text, got {type(value).__name__}")
    return value


def _witness_name(name: str) -> str:
    try:
        encode_witness_vkey(name, bytes(32))
    except MalformedError as err:
        raise ServerConfigError(f"witness_name: {err}") from err
    return name


def _quotas(table: object) -> Quota:
    if not isinstance(table, dict):
        raise ServerConfigError(f"quotas: expected a table, got {type(table).__name__}")
    known = {f.name for f in fields(Quota)}
    for key, value in table.items():
        if key not in known:
            raise ServerConfigError(f"quotas.{key}: expected one of {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= QUOTA_MAX:
            raise ServerConfigError(f"quotas.{key}: expected a number from 1 to {QUOTA_MAX}, got {value!r}")
    return Quota(**table)


# --- the directory --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DataDir:
    """An open data directory."""

    path: Path
    config: Config
    authority: Authority
    witness_key: SigningKey | None
    """None: it is sealed for the server alone, and this is an administrator's command."""

    @property
    def database(self) -> Path:
        """The one SQLite file."""
        return self.path / DATABASE

    def need_database(self) -> Path:
        """Return the path of the database. A server that made a new one would know no member any more.

        Raises:
            ServerConfigError: it is missing, empty, no file, or another user's.
        """
        path, owner = self.database, self.path.stat().st_uid
        try:
            found = path.lstat()
        except OSError as err:
            raise ServerConfigError(f"{path}: expected the members' database: {err.strerror}: {PUT_BACK}") from err
        if not stat.S_ISREG(found.st_mode) or not found.st_size:
            raise ServerConfigError(f"{path}: expected the members' database, got an empty one: {PUT_BACK}")
        if found.st_uid != owner:
            raise ServerConfigError(
                f"{path}: expected a file of uid {owner}, to whom the directory belongs, got one of uid {found.st_uid}:"
                f" chown --recursive --reference={self.path} {self.path}"
            )
        return path

    def witness_vkey(self) -> str:
        """Return the verifier key that owners write into the trust document for this witness."""
        return encode_witness_vkey(self.config.witness_name, self.need_witness_key().public)

    def need_witness_key(self) -> SigningKey:
        """Return the witness's key.

        Raises:
            ServerConfigError: it is not here.
        """
        if self.witness_key is None:
            raise ServerConfigError(f"expected the witness's key, it is not here: {SEALED}")
        return self.witness_key

    def server_pair(self, now_s: int) -> Pair:
        """Return the server's certificate and key, made anew when under a third of its life is left.

        Raises:
            ServerConfigError: the file holds something else.
            LocalFailureError: it cannot be written.
        """
        path = self.path / "server.pem"
        data = files.read_if_there(path, FILE_BYTES, "the server's certificate and key")
        if data is not None:
            at = data.find(_PEM_KEY)
            pair = Pair(data[:at], data[at:]) if at > 0 else Pair(data, b"")
            if not certificates.needs_renewal(pair, self.authority, now_s):
                return pair
        pair = self.authority.issue_server(now_s)
        files.write(path, pair.certificate + pair.key)
        return pair


def create(path: Path, config_text: str, now_s: int) -> DataDir:
    """Make a data directory with new keys; a missing or empty folder is wanted.

    Raises:
        ServerConfigError: the text is no configuration.
        InputError: there is something in the folder.
        LocalFailureError: it cannot be written.
    """
    parse(config_text)
    make_empty(path)
    files.write_new(path / "config.toml", config_text.encode())
    write_authority(path, Authority.create(now_s).pair())
    write_witness_key(path, SigningKey.generate())
    return open_dir(path)


def make_empty(path: Path) -> None:
    """Make a folder of mode 0700, or take an empty one.

    Raises:
        InputError: there is something in it, or it is no folder.
        LocalFailureError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise InputError(f"{path}: expected an empty or a new folder, there is something in it")
        path.chmod(0o700)
    except (FileExistsError, NotADirectoryError) as err:
        raise InputError(f"{path}: expected an empty or a new folder, got a file") from err
    except OSError as err:
        raise LocalFailureError(f"{path}: cannot be made: {err.strerror}") from err


def write_authority(path: Path, pair: Pair) -> None:
    """Write the authority's two files into a new data directory.

    Raises:
        InputError: they are there.
        LocalFailureError: they cannot be written.
    """
    files.write_new(path / "authority.pem", pair.certificate)
    files.write_new(path / "authority.key", pair.key)


def write_witness_key(path: Path, key: SigningKey) -> None:
    """Write the witness's key into a new data directory.

    Raises:
        InputError: it is there.
        LocalFailureError: it cannot be written.
    """
    files.write_new(path / "witness.key", key.seed.hex().encode() + b"\n")


def open_dir(path: Path) -> DataDir:
    """Return an open data directory.

    Raises:
        ServerConfigError: it is none, others may read it, or a file in it is malformed.
    """
    try:
        mode = path.stat().st_mode
    except OSError as err:
        raise ServerConfigError(f"{path}: expected a data directory (ispcloud init makes one): {err.strerror}") from err
    if not stat.S_ISDIR(mode) or mode & 0o077 or (os.geteuid() and path.stat().st_uid != os.geteuid()):
        raise ServerConfigError(f"{path}: expected a folder of ours with mode 0700, got mode {stat.S_IMODE(mode):04o}")
    config = _named(path / "config.toml")
    try:
        parsed = parse(config.decode("utf-8"))
    except UnicodeDecodeError as err:
        raise ServerConfigError(f"{path / 'config.toml'}: expected UTF-8, got other bytes") from err
    except ServerConfigError as err:
        raise ServerConfigError(f"{path / 'config.toml'}: {err}") from err
    certificate, keys = _named(path / "authority.pem"), [key_file(path, name) for name in KEYS]
    authority, witness = (_key(key) if key.exists() else None for key in keys)
    return DataDir(
        path,
        parsed,
        Authority.load_without_key(certificate) if authority is None else Authority.load(Pair(certificate, authority)),
        None if witness is None else _witness_key(keys[1], witness),
    )


def key_file(path: Path, name: str) -> Path:
    """Return the file of a key: the systemd credential `ispcloud.NAME`, or NAME in the data directory `path`."""
    return credential(f"ispcloud.{name}", os.environ) or path / name


def _key(path: Path) -> bytes:
    data = _named(path)
    if problem := mode_problem(path, path.stat().st_mode, os.environ):
        raise ServerConfigError(f"{path}: {problem}")
    return data


def _named(path: Path) -> bytes:
    return files.read(path, FILE_BYTES, f"the control plane's {path.name}")


def _witness_key(path: Path, data: bytes) -> SigningKey:
    try:
        return SigningKey(bytes.fromhex(data.decode("ascii").strip()))
    except (ValueError, MalformedError) as err:
        raise ServerConfigError(f"{path}: expected the witness's seed, 64 hex digits, got something else") from err
