"""An ISP of its own beside a booted system: PostgreSQL, a real FreeRADIUS, and the lab's BNG with their subscribers.

It is a program that runs in the system's network, on its loopback, and on this machine's files. The folder then has
what `python -m lab isp` writes, and `lab.sock`, by which a test asks what the BNG saw.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from lab.control import open_control
from lab.files import write_files
from lab.isp import Isp
from tests.e2e.files import Billing, dsn_of, lab_mapping, real_radius, ref_of, row_of, small_isp
from tests.servers import FreeRadius, PostgreSQL, ServerMissingError
from tests.systemd.booted import WAIT_S, Booted

ORDINARY = "ordinary.json"
"""The last file that it writes: the references of the services that a suspension changes, and their logins."""
MISSING = 77


@dataclass(frozen=True, slots=True)
class Provider:
    """A running ISP, as a test sees it from outside."""

    folder: Path

    def read(self, name: str) -> str:
        """Return one of its files."""
        return (self.folder / name).read_text()

    def ask(self, **command: str) -> Any:
        """Return the answer of the lab's control socket."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(WAIT_S)
            sock.connect(str(self.folder / "lab.sock"))
            sock.sendall(json.dumps(command).encode() + b"\n")
            answer = json.loads(sock.makefile().readline())
        assert answer.pop("ok"), answer
        return answer


@contextmanager
def provider(system: Booted, folder: Path, services: int) -> Iterator[Provider]:
    """Run an ISP in the network of a booted system for the block.

    Raises:
        ServerMissingError: a server that it needs is not installed.
    """
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["nsenter", f"--target={system.pid}", "--net", "setpriv", "--pdeathsig=TERM"]
            + [sys.executable, "-m", "tests.systemd.provider", str(folder), str(services)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
        )
    try:
        deadline = time.monotonic() + WAIT_S
        while not (folder / ORDINARY).exists():
            if process.poll() is not None or time.monotonic() > deadline:
                said = (folder / "log").read_text()
                if process.returncode == MISSING:
                    raise ServerMissingError(said.strip())
                raise AssertionError(f"the ISP did not start:\n{said[-4000:]}")
            time.sleep(0.1)
        yield Provider(folder)
    finally:
        process.terminate()
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _write_ours(isp: Isp, folder: Path) -> None:
    """Write what a test needs beside the lab's files. Everybody owes."""
    (folder / "mapping.toml").write_text(lab_mapping(isp))
    now = datetime.now(UTC)
    Billing(folder / "subscribers.csv", {ref_of(s): row_of(s, now) for s in isp.services}).write()
    found = {ref_of(s): s.login for s in isp.services if s.online and s.mapped and not s.protected}
    one_each = {s.subscriber: ref_of(s) for s in isp.services if not (s.feeds or s.static4)}
    draft = folder / "draft"
    draft.write_text(json.dumps({ref: found[ref] for ref in one_each.values() if ref in found}))
    draft.rename(folder / ORDINARY)


async def _serve(folder: Path, services: int) -> None:
    with PostgreSQL() as cluster:
        database = cluster.fresh()
        with FreeRadius(database) as server:
            radius = real_radius(server)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async with (
                    small_isp(folder, services=services, dsn=dsn_of(database), radius=radius) as isp,
                    open_control(isp, folder / "lab.sock"),
                ):
                    write_files(isp)
                    _write_ours(isp, folder)
                    async for _ in signals:
                        return


if __name__ == "__main__":
    try:
        trio.run(_serve, Path(sys.argv[1]), int(sys.argv[2]))
    except ServerMissingError as err:
        print(err)
        sys.exit(MISSING)
