"""Prometheus metrics: counts of the process, by method and status only. No label names an operator or a member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from control_plane.config import Address
from control_plane.errors import LocalFailureError

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """All of them, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.calls = Counter("ispcloud_calls", "Calls that ended.", ("method", "status"), registry=registry)
        self.seconds = Histogram(
            "ispcloud_call_seconds", "How long unary calls took.", ("method",), buckets=_BUCKETS, registry=registry
        )
        self.streams = Gauge("ispcloud_streams", "Open streams.", ("kind",), registry=registry)
        self.commits = Gauge("ispcloud_commits", "Transactions since the start.", registry=registry)
        self.forgotten = Counter("ispcloud_forgotten", "Messages that expired and were deleted.", registry=registry)
        self.ended = Counter("ispcloud_streams_ended", "Streams ended from here.", ("refusal",), registry=registry)

    def serve(self, address: Address) -> tuple[Address, Callable[[], None]]:
        """Answer HTTP there, on a thread of its own; return the address with its real port, and the function that ends
        it.

        Raises:
            LocalFailureError: the address is taken or is not this machine's.
        """
        try:
            server, thread = start_http_server(address.port, address.host, self.registry)
        except OSError as err:
            raise LocalFailureError(f"metrics: {address} cannot be listened on: {err.strerror}") from err

        def close() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        return Address(address.host, server.server_port), close
