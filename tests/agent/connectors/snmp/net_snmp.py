"""net-snmp's agent and tools: `snmpd` on a free loopback port, and its command line as second opinion.

Every combination of authentication and encryption is a user of its own, `AUTH_PRIV`, with the same two passphrases.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from agent.connectors.base import AnswerRow, Question, UnreadableError
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential, SnmpVersion
from agent.connectors.snmp.values import dotted, oid
from agent.reasons import TargetReason
from tests.servers import _Process, _start_on_free_port, free_port, program

AUTH_KEY, PRIV_KEY = b"authpass12345", b"privpass12345"
ENGINE_ID = "8000000001020304aa"
ROWS = 30
"""Processes in prTable: a table whose size the configuration says."""
PRIVS = (None, PrivProtocol.DES, PrivProtocol.AES_128, PrivProtocol.AES_192, PrivProtocol.AES_256)
COMBINATIONS = [(None, None), *((auth, priv) for auth in AuthProtocol for priv in PRIVS)]
PACKAGE = "snmpd"


def user(auth: AuthProtocol | None, priv: PrivProtocol | None) -> str:
    return f"{auth.value if auth else 'none'}_{priv.value if priv else 'none'}"


def credential(auth: AuthProtocol | None = None, priv: PrivProtocol | None = None, **over: object) -> SnmpCredential:
    made = {
        "user": user(auth, priv),
        "auth": auth,
        "auth_key": AUTH_KEY if auth else b"",
        "priv": priv,
        "priv_key": PRIV_KEY if priv else b"",
    }
    return SnmpCredential(SnmpVersion.V3, **{**made, **over})  # type: ignore[arg-type]  # by name, from a table


V2C = SnmpCredential(SnmpVersion.V2C, community=b"public")
V1 = SnmpCredential(SnmpVersion.V1, community=b"public")
WRITING = SnmpCredential(SnmpVersion.V2C, community=b"private")


def configuration(port: int, more: str, engine_id: str) -> str:
    lines = [
        f"agentAddress udp:127.0.0.1:{port},udp6:[::1]:{port}",
        f"exactEngineID 0x{engine_id}",
        "rocommunity public",
        "rwcommunity private",
        "rocommunity6 public",
        "sysName peer-snmpd",
        "sysContact noc@isp.example",
        *(f"proc none-such-{n} {n + 1} 0" for n in range(ROWS)),
        more,
    ]
    for auth, priv in COMBINATIONS:
        words = [f'{p.value} "{key.decode()}"' for p, key in ((auth, AUTH_KEY), (priv, PRIV_KEY)) if p]
        level = "priv" if priv else "auth" if auth else "noauth"
        lines += [f"createUser {user(auth, priv)} {' '.join(words)}", f"rouser {user(auth, priv)} {level}"]
    return "\n".join(lines) + "\n"


class Snmpd:
    """A running agent."""

    def __init__(self, more: str = "", engine_id: str = ENGINE_ID, port: int = 0) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="snmpd-"))
        self.more, self.engine_id, self.port = more, engine_id, port
        self._program = program("snmpd", PACKAGE)

    def start(self) -> None:
        """Start, again too: the number of its boots grows.

        Raises:
            ServerStartError: it does not answer.
        """
        self.port = self.port or free_port(socket.SOCK_DGRAM)
        (self.home / "snmpd.conf").write_text(configuration(self.port, self.more, self.engine_id))
        command = [self._program, "-f", "-Lo", "-r"]
        environment = {**os.environ, "MIBS": "", "SNMP_PERSISTENT_DIR": str(self.home / "persist")}
        environment["SNMPCONFPATH"] = f"{self.home}:{self.home / 'persist'}"
        self._process = _Process(command, self.home / "log", self.home, environment=environment)
        self._process.wait_ready(self._answers, "snmpd")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            sock.connect(("127.0.0.1", self.port))
            try:
                sock.send(
                    bytes.fromhex("302602010104067075626c6963a019020101020100020100300e300c06082b060102010105000500")
                )
                return bool(sock.recv(9999))
            except OSError:
                return False

    def stop(self) -> None:
        self._process.stop()


@contextmanager
def snmpd(more: str = "", engine_id: str = ENGINE_ID) -> Iterator[Snmpd]:
    agent = Snmpd(more, engine_id)
    try:
        _start_on_free_port(agent.start)
        try:
            yield agent
        finally:
            agent.stop()
    finally:
        shutil.rmtree(agent.home, ignore_errors=True)


def tool(name: str, *arguments: str) -> str:
    """Run one of net-snmp's tools and return what it printed."""
    found = program(name, "snmp")
    environment = {**os.environ, "MIBS": "", "SNMPCONFPATH": "", "SNMP_PERSISTENT_DIR": os.devnull}
    done = subprocess.run([found, *arguments], capture_output=True, timeout=60, env=environment, check=False)
    return done.stdout.decode("latin-1")


async def asked(made: SnmpConnector, verb: str, target: str = "", *words: str, **options: str) -> list[AnswerRow]:
    rows: list[AnswerRow] = []

    async def tell(row: AnswerRow) -> None:
        await trio.lowlevel.checkpoint()
        rows.append(row)

    with trio.fail_after(60):
        await made.explore(Question(verb, target, words, options), tell)
    return rows


SYS_NAME, SYS_CONTACT, SYS_LOCATION = (oid(f"1.3.6.1.2.1.1.{n}.0") for n in (5, 4, 6))


PR_TABLE = [oid(f"1.3.6.1.4.1.2021.2.1.{n}") for n in (1, 2, 3, 4, 5, 100, 101, 102, 103)]


def printed(value: tuple[int, int | bytes]) -> str:
    """Return a value as `-Onx -OQ` would, near enough to compare: numbers, or octets in hexadecimal."""
    tag, content = value
    if tag == 6:
        return "." + dotted(content)
    if tag == 0x40:
        return ".".join(map(str, content))
    return str(content) if isinstance(content, int) else content.hex().upper()


def parsed(output: str) -> dict[str, str]:
    """Return what `-On -Oe -Ox -Ot` printed: names and values."""
    found = {}
    output = re.sub(r"^.* = No more variables left .*\n", "", output, flags=re.MULTILINE)
    for name, _, value in re.findall(r"^\.([\d.]+) = (?:([\w-]+): ?)?((?:.*(?:\n(?!\.\d).*)*))$", output, re.MULTILINE):
        kind = re.search(rf"^\.{re.escape(name)} = ([\w-]+):", output, re.MULTILINE)
        text = value.replace("\n", " ").strip()
        if kind and kind[1] == "Hex-STRING":
            text = text.replace(" ", "")
        elif (kind and kind[1] == "STRING") or text == '""':
            text = text.strip('"').encode("latin-1").hex().upper()
        found[name] = text
    return found


SECRETS = {
    "one": b"sw-1", "two": b"sw-2", "wrong": b"wrong",
    "field": b"field", "auth": b"a long passphrase", "priv": b"another passphrase",
}  # fmt: skip


def secret(name: str) -> bytes:
    if name not in SECRETS:
        raise UnreadableError(f"the secret {name} is not set", reason=TargetReason.MISSING_SECRET)
    return SECRETS[name]
