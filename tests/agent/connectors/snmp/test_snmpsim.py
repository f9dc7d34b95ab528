"""Every recording as snmpsim serves it: our walk and that of net-snmp's snmpbulkwalk, value by value."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.connectors.snmp.client_session import open_client
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential, SnmpVersion
from agent.connectors.snmp.values import Value, dotted, oid
from lab.tests.snmp.netsnmp import Told, walk
from tests.agent.connectors.snmp.net_snmp import AUTH_KEY, PRIV_KEY, printed, tool
from tests.agent.connectors.snmp.recordings import NAMES, RECORDINGS
from tests.marks import slow_unless
from tests.servers import ServerMissingError, _Process, _start_on_free_port, free_port, missing, program
from tests.shared_data import shared_file

RESPONDER = Path(sys.executable).with_name("snmpsim-command-responder")
USER = "walker"
QUICK = ("airos", "epmp", "netonix_wispswitch", "saf-integra-x")
V3_WORDS = [
    *("-v3", "-u", USER, "-l", "authPriv"),
    *("-a", "SHA-256", "-A", AUTH_KEY.decode(), "-x", "AES", "-X", PRIV_KEY.decode()),
]


class Snmpsim:
    """A running simulator; the community, or the context of version 3, is the name of a recording."""

    def __init__(self, home: Path) -> None:
        self._home, self.port = home, 0

    def start(self) -> None:
        """Start.

        Raises:
            ServerStartError: it does not answer.
        """
        self.port = free_port(socket.SOCK_DGRAM)
        command = [
            *(sys.executable, str(RESPONDER), f"--data-dir={RECORDINGS}", f"--cache-dir={self._home}"),
            *(f"--agent-udpv4-endpoint=127.0.0.1:{self.port}", "--log-level=error", "--logging-method=stderr"),
            *(f"--v3-user={USER}", f"--v3-auth-key={AUTH_KEY.decode()}", "--v3-auth-proto=SHA256"),
            *(f"--v3-priv-key={PRIV_KEY.decode()}", "--v3-priv-proto=AES"),
        ]
        environment = {**os.environ, "SNMPSIM_ALLOW_ROOT": "true"}
        self._process = _Process(command, self._home / "log", self._home, environment=environment)
        self._process.wait_ready(self._answers, "snmpsim")

    def _answers(self) -> bool:
        asked = ["-v2c", "-c", NAMES[0], "-On", "-t", "0.2", "-r", "0", f"127.0.0.1:{self.port}", "1.3.6.1.2.1.1.2.0"]
        return "1.3.6.1.2.1.1.2.0" in tool("snmpget", *asked)

    def stop(self) -> None:
        self._process.stop()


@contextmanager
def _served() -> Iterator[Snmpsim]:
    program("snmpbulkwalk", "snmp")
    if not RESPONDER.exists():
        raise ServerMissingError("snmpsim is not installed (see requirements/dev.txt)")
    home = Path(tempfile.mkdtemp(prefix="snmpsim-"))
    try:
        made = Snmpsim(home)
        _start_on_free_port(made.start)
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def snmpsim() -> Iterator[Snmpsim]:
    shared_file("snmp/recordings")
    try:
        with _served() as made:
            yield made
    except ServerMissingError as err:
        missing(str(err))


def told(value: Value) -> Told:
    """Return a value as a tag and text, as the reader of net-snmp's output does."""
    return value[0], printed(value).removeprefix(".").lower()


async def assert_walks_agree(port: int, asked: SnmpCredential, words: Sequence[str], name: str) -> None:
    lines = shared_file(f"snmp/recordings/{name}.snmprec").read_text("utf-8").splitlines()
    recorded = [line.partition("|")[0] for line in lines]
    theirs, ours = dict[str, Told](), dict[str, Told]()
    for root in dict.fromkeys(".".join(one.split(".")[:2]) for one in recorded):
        theirs |= await walk(words, ("127.0.0.1", port), root)
        async with open_client("127.0.0.1", port, asked) as client:
            ours |= {dotted(one): told(value) async for one, value in client.walk(oid(root))}
    assert list(theirs) == recorded, "the simulator serves the whole recording"
    assert list(ours) == recorded
    assert ours == theirs


@pytest.mark.parametrize("name", slow_unless(lambda n: n in QUICK, NAMES or ("none",)))
async def test_walks_of_recordings_equal_snmpbulkwalk(snmpsim: Snmpsim, name: str) -> None:
    asked = SnmpCredential(SnmpVersion.V2C, name.encode())
    await assert_walks_agree(snmpsim.port, asked, ["-v2c", "-c", name], name)


@pytest.mark.parametrize("name", QUICK)
async def test_walks_by_version_3_equal_snmpbulkwalk(snmpsim: Snmpsim, name: str) -> None:
    asked = SnmpCredential(
        SnmpVersion.V3, b"", USER, AuthProtocol.SHA_256, AUTH_KEY, PrivProtocol.AES_128, PRIV_KEY, name
    )
    await assert_walks_agree(snmpsim.port, asked, [*V3_WORDS, "-n", name], name)
