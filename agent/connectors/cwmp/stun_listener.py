"""The STUN server's socket: UDP on trio. The messages are in `stun`.

UDP connection requests are sent from this same socket (`StunSocket.send`): most NAT let pass only datagrams from the
address and port that the CPE itself sent to.
"""

from __future__ import annotations

import ipaddress
import socket as stdlib_socket
from collections.abc import Callable

import trio

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.stun import Binding, MalformedStunError, StunServer


class StunSocket:
    """The socket, for tasks that send through it."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        host, port = sock.getsockname()[:2]
        self.host: str = host
        self.port: int = port

    async def send(self, data: bytes, to: tuple[str, int]) -> None:
        """Send a datagram to an IP address and port.

        Raises:
            OSError: it could not be sent.
        """
        host, port = to
        if self._sock.family == stdlib_socket.AF_INET6 and ipaddress.ip_address(host).version == 4:
            host = f"::ffff:{host}"  # a socket of both knows IPv4 addresses so
        await self._sock.sendto(data, (host, port))


async def serve_stun(
    server: StunServer,
    host: str,
    port: int,
    on_binding: Callable[[Binding], None],
    *,
    task_status: trio.TaskStatus[StunSocket] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer STUN until cancelled. A datagram that is no STUN is dropped without an answer.

    Args:
        server: that decides the answers and verifies the senders.
        host: IP address to listen on; `::` is both kinds where the system is set so.
        port: to listen on, 3478 by RFC 5389; 0 for any.
        on_binding: told of each place that a CPE says it listens at; must not block. `Binding.at` is trio's clock.
        task_status: gets the socket, from which UDP connection requests are sent.

    Raises:
        OSError: the address cannot be bound.
    """
    family = stdlib_socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else stdlib_socket.AF_INET
    with trio.socket.socket(family, stdlib_socket.SOCK_DGRAM) as sock:
        await sock.bind((host, port))
        task_status.started(StunSocket(sock))
        while True:
            try:
                # One byte more than allowed: a longer datagram is then seen to be too long
                data, source = await sock.recvfrom(limits.STUN_BYTES + 1)
            except OSError:
                continue  # an ICMP error of an earlier datagram
            try:
                reply, binding = server.receive_untrusted(data, source[:2], trio.current_time())
            except MalformedStunError:
                continue
            if reply is not None:
                try:
                    await sock.sendto(reply, source)
                except OSError:
                    pass  # as if it was lost on the way: the CPE asks again
            if binding is not None:
                on_binding(binding)
