"""What the lab's tests share: a raw RADIUS client, small ISPs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from lab import radius_codec
from lab.isp import Isp, LabOptions, open_lab
from lab.nas import Nas
from lab.radius_codec import Packet, attribute
from lab.sessions import Session

QUIET_S = 0.3
BASE: dict[str, Any] = {"services": 20, "nas": 2, "redial_delay_s": 0.02, "retry_s": 0.1, "routers": False}


@asynccontextmanager
async def small_isp(folder: Path, **options: Any) -> AsyncIterator[Isp]:
    """Two BNG, twenty services, CPE that come back at once."""
    async with open_lab(LabOptions(folder, **(BASE | options))) as isp:
        yield isp


def somebody(isp: Isp) -> Session:
    """A subscriber online, with an address from the pool."""
    static = {s.login for s in isp.services if s.static4}
    return next(s for s in isp.sessions() if s.login not in static)


@dataclass
class Client:
    """A socket that sends datagrams to one port and shows what comes back."""

    udp: trio.socket.SocketType
    to: tuple[str, int]
    secret: bytes
    next_id: int = 0

    def request(self, code: int, *pairs: tuple[str, str | int | bytes], ma: bool = False) -> bytes:
        self.next_id += 1
        attributes = [attribute(n, v) for n, v in pairs]
        return radius_codec.encode_request(code, self.next_id, attributes, self.secret, message_authenticator=ma)

    async def receive(self, timeout_s: float) -> bytes | None:
        with trio.move_on_after(timeout_s):
            return (await self.udp.recvfrom(4096))[0]
        return None

    async def exchange(self, wire: bytes, timeout_s: float = 5.0) -> Packet | None:
        """Send, and return the reply once it proved authentic; None when there is none in time."""
        await self.udp.sendto(wire, self.to)
        datagram = await self.receive(timeout_s)
        if datagram is None:
            return None
        reply = radius_codec.decode_untrusted(datagram)
        assert radius_codec.reply_is_authentic(reply, radius_codec.decode_untrusted(wire), self.secret)
        return reply

    async def ask(self, code: int, *pairs: tuple[str, str | int | bytes], timeout_s: float = 5.0) -> Packet | None:
        return await self.exchange(self.request(code, *pairs), timeout_s)


@contextlib.contextmanager
def client(port: int, secret: bytes) -> Iterator[Client]:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        yield Client(udp, ("127.0.0.1", port), secret)


@contextlib.contextmanager
def dac(nas: Nas) -> Iterator[Client]:
    """A Dynamic Authorization Client of one BNG."""
    with client(nas.dynauth_port, nas.options.secret) as c:
        yield c


def named(session: Session) -> tuple[tuple[str, str], ...]:
    """The three attributes by which field practice names a session."""
    return (
        ("User-Name", session.login),
        ("Acct-Session-Id", session.session_id),
        ("Framed-IP-Address", str(session.lease.address4)),
    )


async def suspend(isp: Isp, login: str) -> None:
    sql = "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, 'suspended', -1)"
    assert await isp.database.execute(sql, (login,)) == 1
