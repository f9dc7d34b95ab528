"""A connection of a server over streams in memory."""

from __future__ import annotations

import trio
import trio.testing

from agent.runtime.http_wire import Wire, WireLimits

LIMITS = WireLimits(head_bytes=2000, body_bytes=1000, idle_s=5, body_s=5, write_s=5, linger_s=2)


def pair(limits: WireLimits = LIMITS) -> tuple[trio.StapledStream, Wire]:  # type: ignore[type-arg]  # of two memory streams
    near, far = trio.testing.memory_stream_pair()
    return near, Wire(far, limits)
