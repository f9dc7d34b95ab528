"""A storm of traps from a process of its own: `python -m tests.agent.lines.storm PORT HOST...`.

It sends until its input ends, for a minute at most, and prints how many it sent.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from lab.snmp.notifications import Sink
from lab.snmp.notifier import STORM_PER_S_MAX, STORM_S_MAX, open_notifier, storm
from lab.tests.snmp.devices import switch


async def main(port: int, hosts: Sequence[str]) -> None:
    """Send traps of version 2c from these addresses in turns: 5,000 a second, or as many as the machine can."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        opened = [open_notifier(switch(host), Sink("127.0.0.1", port), host) for host in hosts]
        notifiers = [await stack.enter_async_context(one) for one in opened]

        nursery.start_soon(storm, notifiers, STORM_PER_S_MAX, STORM_S_MAX)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()
        print(sum(notifier.sent for notifier in notifiers))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2:])
