"""An agent's run on a router as a process of its own, with arguments FOLDER PORT WHEN WHAT N.

It ends itself with SIGKILL at that boundary; `send` is a command that changes something, as it is handed to the kernel.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from agent.connectors.routeros.carrier_session import Carrier, Endpoint, dial
from tests.agent.changes.lives import Killer, RealClock, RealStore, run_whole
from tests.builders.job import Rig
from tests.builders.router import changes, connector_to, suspension
from tests.builders.world import World

TARGET = "routeros/edge-0"


class DeadlyCarrier(Carrier):
    """A connection in whose commands the process may die."""

    killer: Killer

    async def send(self, data: bytes) -> None:
        if not changes(data):
            await super().send(data)
            return
        self.killer("before", "send")
        await super().send(data)
        self.killer("after", "send")


async def reach(endpoint: Endpoint) -> Carrier:
    carrier = await dial(endpoint)
    return DeadlyCarrier(carrier._stream, tcp=carrier._tcp)


async def life(folder: Path, port: int, when: str, what: str, n: int) -> None:
    clock = RealClock()
    rig = Rig(folder, World(), clock, store_type=RealStore)
    connector = connector_to({TARGET: ("127.0.0.1", port)}, clock, reach)
    rig.connectors = {"routeros": connector}
    plan_id = await rig.consumed([await suspension(connector, TARGET, 1, "u0")])
    DeadlyCarrier.killer = Killer(when, what, n)
    RealStore.dies = staticmethod(DeadlyCarrier.killer)
    await run_whole(rig, plan_id)
    rig.close()


if __name__ == "__main__":
    trio.run(life, Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
