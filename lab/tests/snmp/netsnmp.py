"""Net-SNMP's own programs against the lab's devices: walks, as values by OID."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence

import trio

from tests import servers

_TYPES = {
    "INTEGER": 2,
    "OID": 6,
    "IpAddress": 0x40,
    "Network Address": 0x40,
    "Counter32": 0x41,
    "Gauge32": 0x42,
    "Timeticks": 0x43,
    "OPAQUE": 0x44,
    "Counter64": 0x46,
}
_ROW = re.compile(r"\.([0-9.]+) = (?:([A-Za-z][A-Za-z0-9 -]*): ?)?(.*)", re.DOTALL)


def _v3(user: str, auth: str, password: str, priv: str = "") -> list[str]:
    secret = ["-v3", "-l", "authPriv" if priv else "authNoPriv", "-u", user, "-a", auth, "-A", password]
    return [*secret, "-x", "AES", "-X", priv] if priv else secret


V3_PRIV = _v3("labpriv", "SHA-256", "labauthpass", "labprivpass")
V3_AUTH = _v3("labauth", "SHA-512", "labauthpass")
V3_WRITE = _v3("labwrite", "SHA-256", "labwriteauth", "labwritepriv")

Told = tuple[int, str]
"""A tag, and the value as text: octets in hexadecimal."""


def tool(name: str) -> str:
    """Return the path of one of Net-SNMP's programs; skip the test where it is not installed, fail it in CI."""
    try:
        return servers.program(name, "snmp")
    except servers.ServerMissingError as err:
        servers.missing(str(err))
        raise


async def run(name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program with no MIB files and no configuration of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        home = {"MIBS": "", "SNMPCONFPATH": folder, "SNMP_PERSISTENT_DIR": folder, "PATH": os.environ["PATH"]}
        with trio.fail_after(60):
            return await trio.run_process(
                [tool(name), *arguments], check=False, capture_stdout=True, capture_stderr=True, env=home
            )


async def ask(name: str, secret: Sequence[str], at: tuple[str, int], *arguments: str) -> str:
    """Run a program against an agent, and return its output."""
    done = await run(name, *secret, "-OneUx", "-t10", "-r1", f"{at[0]}:{at[1]}", *arguments)
    return done.stdout.decode("utf-8", "backslashreplace")


def read(printed: str) -> dict[str, Told]:
    """Return the values that a walk printed, in its order."""
    found: dict[str, Told] = {}
    for row in re.split(r"\n(?=\.[0-9])", printed.removesuffix("End of MIB\n").strip()):
        match = _ROW.fullmatch(row)
        assert match, row
        oid, kind, value = match.groups()
        if value.startswith("No more variables left"):
            continue
        assert oid not in found, oid
        found[oid] = _told(kind or "", value)
    return found


def _told(kind: str, value: str) -> Told:
    if kind in ("Hex-STRING", "") and value != '""':
        return 4, "".join(value.split()).lower()
    if value == '""':
        return 4, ""
    if kind == "OPAQUE":
        return 0x44, "".join(value.split()).lower()
    if kind == "Timeticks":
        value = value[1 : value.index(")")]
    return _TYPES[kind], value.strip().removeprefix(".")


async def walk(
    secret: Sequence[str], at: tuple[str, int], root: str = ".1", tool: str = "snmpbulkwalk"
) -> dict[str, Told]:
    """Walk an agent."""
    return read(await ask(tool, secret, at, root))
