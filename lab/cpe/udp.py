"""Connection requests over UDP for a CPE behind NAT (TR-069 annex G): a STUN binding, and a listener beside it.

STUN is RFC 3489's, as annex G says, with two attributes of its own: CONNECTION-REQUEST-BINDING (0xC001) in requests
that bind the address for connection requests, BINDING-CHANGE (0xC002) once after that address changed. A request is
repeated with MESSAGE-INTEGRITY when the server asks for it (error 401).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import struct
from collections import deque
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import trio

from lab.cpe.device import Device
from lab.cpe.errors import MalformedStunError

BINDING_REQUEST: Final = 0x0001
BINDING_RESPONSE: Final = 0x0101
BINDING_ERROR: Final = 0x0111
_MAPPED_ADDRESS: Final = 0x0001
_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_CONNECTION_REQUEST_BINDING: Final = 0xC001
_BINDING_CHANGE: Final = 0xC002
# annex G: 20 bytes, a blank at the end
_BINDING_VALUE: Final = b"dslforum.org/TR-111 "
_HEADER: Final = struct.Struct("!HH16s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_DATAGRAM_BYTES_MAX: Final = 2048
# RFC 3489 9.3: 100 ms, doubled up to 1.6 s, nine times
_RETRANSMITS_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 1.6, 1.6, 1.6, 1.6)
_RING_USERNAME: Final = "ConnectionRequestUsername"
_RING_PASSWORD: Final = "ConnectionRequestPassword"
# ids of requests that a repetition is known by; chosen arbitrarily
_IDS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Stun:
    """A STUN message: its type, its transaction and its attributes in order."""

    kind: int
    transaction: bytes
    attributes: tuple[tuple[int, bytes], ...] = ()

    def get(self, kind: int) -> bytes | None:
        """The value of an attribute."""
        return next((value for found, value in self.attributes if found == kind), None)


def read_stun_untrusted(data: bytes) -> Stun:
    """A STUN message.

    Raises:
        MalformedStunError: it is none.
    """
    if len(data) < _HEADER.size:
        raise MalformedStunError(f"expected at least {_HEADER.size} bytes, got {len(data)}")
    kind, length, transaction = _HEADER.unpack_from(data)
    if length != len(data) - _HEADER.size:
        raise MalformedStunError(f"expected {length} bytes of attributes, got {len(data) - _HEADER.size}")
    attributes, at = [], _HEADER.size
    while at < len(data):
        if at + _ATTRIBUTE.size > len(data):
            raise MalformedStunError(f"expected an attribute at byte {at}, got {len(data) - at} bytes")
        name, size = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if at + size > len(data):
            raise MalformedStunError(f"expected {size} bytes of an attribute, got {len(data) - at}")
        attributes.append((name, data[at : at + size]))
        # RFC 3489 knows lengths that are multiples of four; servers of RFC 5389 pad
        at += -(-size // 4) * 4
    return Stun(kind, transaction, tuple(attributes))


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def write_stun(message: Stun, password: str | None = None) -> bytes:
    """The bytes of a message. `password`: with MESSAGE-INTEGRITY, the last attribute (RFC 3489 11.2.8)."""
    body = b"".join(_attribute(kind, value) for kind, value in message.attributes)
    if password is None:
        return _HEADER.pack(message.kind, len(body), message.transaction) + body
    # over everything before it, its own 24 bytes counted in the length, and zeros up to a multiple of 64
    text = _HEADER.pack(message.kind, len(body) + 24, message.transaction) + body
    digest = hmac.new(password.encode(), text + bytes(-len(text) % 64), hashlib.sha1).digest()
    return text + _attribute(_MESSAGE_INTEGRITY, digest)


def mapped_address(message: Stun) -> tuple[str, int] | None:
    """The MAPPED-ADDRESS of a response, IPv4."""
    value = message.get(_MAPPED_ADDRESS)
    if value is None or len(value) != 8 or value[1] != 1:
        return None
    return str(ipaddress.IPv4Address(value[4:])), int.from_bytes(value[2:4], "big")


def signature(key: str, ts: str, request_id: str, username: str, cnonce: str) -> str:
    """The `sig` of a connection request: HMAC-SHA1 over ts, id, un and cn put together, 40 hex digits."""
    text = f"{ts}{request_id}{username}{cnonce}"
    return hmac.new(key.encode(), text.encode(), hashlib.sha1).hexdigest().upper()


class UdpRequests:
    """Tells an authentic connection request from any other datagram. One per CPE: it remembers seen messages."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._last_ts = -1
        self._ids: deque[str] = deque(maxlen=_IDS_MAX)

    def accepts_untrusted(self, datagram: bytes) -> bool:
        """Tell whether to call in: `GET http://...?ts=&id=&un=&cn=&sig= HTTP/1.1`, signed, and not seen before."""
        line = datagram.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(line) != 3 or line[0] != "GET" or not line[2].startswith("HTTP/1."):
            return False
        try:
            given = dict(parse_qsl(urlsplit(line[1]).query, keep_blank_values=True))
        except ValueError:
            return False
        ts, request_id, username, cnonce, sig = (given.get(name, "") for name in ("ts", "id", "un", "cn", "sig"))
        if not (ts.isascii() and ts.isdecimal()) or len(ts) > 20 or username != self._device.server(_RING_USERNAME):
            return False
        wanted = signature(self._device.server(_RING_PASSWORD), ts, request_id, username, cnonce)
        if not hmac.compare_digest(wanted.encode(), sig.upper().encode()):
            return False
        # annex G: older than what was accepted, or the same again: a replay, or a copy that was sent to be sure
        if int(ts) < self._last_ts or request_id in self._ids:
            return False
        self._last_ts = int(ts)
        self._ids.append(request_id)
        return True


class UdpListener:
    """A CPE's UDP socket: it keeps the binding, and takes connection requests.

    Args:
        device: the CPE. STUNServerAddress must be on this machine.
        behind_nat: the value of NATDetected although no address was changed on the way; loopback has no NAT.

    `keep_alive_s`: seconds between two bindings, None: STUNMinimumKeepAlivePeriod; `bindings`: how many there were.
    """

    def __init__(self, device: Device, *, behind_nat: bool = True) -> None:
        self._device = device
        self.keep_alive_s: float | None = None
        self._behind_nat = behind_nat
        self._requests = UdpRequests(device)
        self._asked = b""
        self._answer: Stun | None = None
        self._answered = trio.Event()
        self.port = 0
        self.bindings = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, and keep the binding while STUNEnable is on, until cancelled."""
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, sock)
                task_status.started()
                await self._keep(sock)

    async def _listen(self, sock: trio.socket.SocketType) -> None:
        while True:
            try:
                datagram, _ = await sock.recvfrom(_DATAGRAM_BYTES_MAX)
            except OSError:
                continue  # an ICMP error of something sent earlier
            if datagram[:4] == b"GET ":
                if not self._device.rebooting:
                    accepted = self._requests.accepts_untrusted(datagram)
                    self._device.connection_request("udp", 200 if accepted else 0)
                continue
            try:
                message = read_stun_untrusted(datagram)
            except MalformedStunError:
                continue
            if message.transaction == self._asked:
                self._answer = message
                self._answered.set()

    async def _keep(self, sock: trio.socket.SocketType) -> None:
        device = self._device
        while True:
            if device.server("STUNEnable") != "1":
                self._tell(f"127.0.0.1:{self.port}", behind_nat=False)  # TR-181: where it listens
            elif not device.rebooting:
                await self._bind(sock)
            await trio.sleep(self.keep_alive_s or float(device.server("STUNMinimumKeepAlivePeriod")) or 1.0)

    async def _bind(self, sock: trio.socket.SocketType) -> None:
        """One binding; its result is put into the tree."""
        answer = await self._bound_by(sock, change=False)
        mapped = None if answer is None or answer.kind != BINDING_RESPONSE else mapped_address(answer)
        if mapped is None:
            return
        self.bindings += 1
        known = self._device.server("UDPConnectionRequestAddress")
        if (
            self._tell(f"{mapped[0]}:{mapped[1]}", behind_nat=self._behind_nat or mapped != ("127.0.0.1", self.port))
            and known
        ):
            await self._bound_by(sock, change=True)

    def _tell(self, bound: str, *, behind_nat: bool) -> bool:
        """Put the address for connection requests into the tree; tell whether it is another one."""
        changed = bound != self._device.server("UDPConnectionRequestAddress")
        if changed:
            self._device.set_server("NATDetected", "1" if behind_nat else "0")
            self._device.set_server("UDPConnectionRequestAddress", bound)
        return changed

    async def _bound_by(self, sock: trio.socket.SocketType, *, change: bool) -> Stun | None:
        """The answer to a binding request, repeated with integrity where the server wants that."""
        answer = await self._ask(sock, integrity=False, change=change)
        if answer is not None and answer.kind == BINDING_ERROR and _error(answer) == 401:
            answer = await self._ask(sock, integrity=True, change=change)
        return answer

    async def _ask(self, sock: trio.socket.SocketType, *, integrity: bool, change: bool) -> Stun | None:
        device = self._device
        transaction = secrets.token_bytes(16)
        attributes = [(_CONNECTION_REQUEST_BINDING, _BINDING_VALUE)]
        if change:
            attributes.append((_BINDING_CHANGE, b""))
        username = device.server("STUNUsername")
        if username:
            name = username.encode()
            # RFC 3489 11.2.6: a multiple of four bytes; annex G: blanks behind it
            attributes.append((_USERNAME, name + b" " * (-len(name) % 4)))
        password = device.server("STUNPassword") if integrity else None
        data = write_stun(Stun(BINDING_REQUEST, transaction, tuple(attributes)), password)
        # TR-181: where no server is named, it is the ACS's host
        host = device.server("STUNServerAddress") or urlsplit(device.server("URL")).hostname
        where = ("127.0.0.1", int(device.server("STUNServerPort")))
        if host not in ("127.0.0.1", "localhost"):
            return None  # a lab calls nobody outside
        self._asked, self._answer, self._answered = transaction, None, trio.Event()
        for wait_s in _RETRANSMITS_S:
            await sock.sendto(data, where)
            with trio.move_on_after(wait_s):
                await self._answered.wait()
                return self._answer
        return None


def _error(message: Stun) -> int:
    value = message.get(_ERROR_CODE)
    return 0 if value is None or len(value) < 4 else (value[2] & 7) * 100 + value[3]
