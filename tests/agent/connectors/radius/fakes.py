"""A NAS' answers written from RFC 5176 with hashlib alone, so that a misreading in our codec shows."""

from __future__ import annotations

import hashlib
import hmac
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

SECRET = b"lab-shared-secret"


def attribute(code: int, value: bytes) -> bytes:
    return bytes((code, len(value) + 2)) + value


def error_cause(number: int) -> bytes:
    return attribute(101, number.to_bytes(4, "big"))


def attributes_of(request: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 20
    while at < len(request):
        found.append((request[at], request[at + 2 : at + request[at + 1]]))
        at += request[at + 1]
    return found


def authentic_request(request: bytes, secret: bytes = SECRET) -> bool:
    """Request Authenticator (RFC 5176 section 2.3) and, when there is one, Message-Authenticator."""
    wanted = hashlib.md5(request[:4] + bytes(16) + request[20:] + secret).digest()
    if wanted != request[4:20]:
        return False
    at = 20
    while at < len(request):
        if request[at] == 80:
            zeroed = request[:4] + bytes(16) + request[20 : at + 2] + bytes(16) + request[at + 18 :]
            return hmac.digest(secret, zeroed, hashlib.md5) == request[at + 2 : at + 18]
        at += request[at + 1]
    return True


def reply(
    request: bytes,
    *,
    ack: bool,
    attributes: bytes = b"",
    secret: bytes = SECRET,
    message_authenticator: bool = False,
    code: int | None = None,
    identifier: int | None = None,
) -> bytes:
    """An authentic reply to `request`, unless told otherwise."""
    if code is None:
        code = request[0] + (1 if ack else 2)
    ident = request[1] if identifier is None else identifier
    if message_authenticator:
        attributes = attribute(80, bytes(16)) + attributes
    head = bytes((code, ident)) + (20 + len(attributes)).to_bytes(2, "big")
    if message_authenticator:
        mac = hmac.digest(secret, head + request[4:20] + attributes, hashlib.md5)
        attributes = attribute(80, mac) + attributes[18:]
    return head + hashlib.md5(head + request[4:20] + attributes + secret).digest() + attributes


@dataclass
class UdpNas:
    """A NAS in a thread: `answer(request)` gives the datagrams to send back. `requests` are those that came."""

    answer: Callable[[bytes], list[bytes]]
    requests: list[tuple[bytes, int]] = field(default_factory=list)
    port: int = 0

    @contextmanager
    def run(self) -> Iterator[UdpNas]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(sock,))
            thread.start()
            try:
                yield self
            finally:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
                    stop.sendto(b"stop", ("127.0.0.1", self.port))
                thread.join()

    def _serve(self, sock: socket.socket) -> None:
        while (got := sock.recvfrom(4096))[0] != b"stop":
            data, where = got
            self.requests.append((data, where[1]))
            for datagram in self.answer(data):
                sock.sendto(datagram, where)


class TcpCutter:
    """A proxy that cuts the connection when the client sends `marker`.

    It talks TLS out of a MariaDB server, to see what is sent. With `deliver` the server gets it, and its answer (so it
    surely acted) is swallowed; otherwise it never does.
    """

    def __init__(self, port: int, marker: bytes, *, deliver: bool) -> None:
        self._to, self._marker, self._deliver = port, marker, deliver
        self.cuts = 0
        self.armed = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                mute = threading.Event()
                self._start(self._pump, server, client, mute)
                self._start(self._watch, client, server, mute)

    def _pump(self, server: socket.socket, client: socket.socket, mute: threading.Event) -> None:
        with suppress(OSError):
            client.sendall(_without_tls(server.recv(65536)))
            while data := server.recv(65536):
                if mute.is_set():
                    break
                client.sendall(data)
        for sock in (server, client):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _watch(self, client: socket.socket, server: socket.socket, mute: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.armed and self._marker in data:
                    self.cuts += 1
                    if not self._deliver:
                        break
                    mute.set()
                server.sendall(data)
        if not mute.is_set():
            for sock in (server, client):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


def _without_tls(greeting: bytes) -> bytes:
    """Clear CLIENT_SSL in the capabilities of a MariaDB greeting; anything else passes as it is."""
    end = greeting.find(b"\0", 5)
    if greeting[4:5] != b"\n" or end < 0:
        return greeting
    at = end + 1 + 4 + 8 + 1 + 1  # thread id, salt, filler; the high octet of the lower flags
    return greeting[:at] + bytes((greeting[at] & ~0x08,)) + greeting[at + 1 :]
