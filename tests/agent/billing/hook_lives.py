"""An agent's hooks as a process of its own, to be killed: `python -m tests.agent.billing.hook_lives FOLDER`.

It prints the port that it listens on. What it hears it makes a payment of, as a reading of the source would.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import trio

from agent.billing.hooks_listener import HooksListener, HookWay
from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.days import when_untrusted
from agent.billing_model.hmac_hooks import HmacScheme, HmacStyle, HookHash
from agent.billing_model.hooks import Heard
from agent.config import HooksConfig
from agent.inventory.ledger import HeardDone, KeepHeard, RecordPayments, heard_open
from agent.runtime.clock import SystemClock
from agent.runtime.notifier import Notifier
from agent.store.db import Store
from tests.builders.store import open_store

SOURCE, TOKEN, SECRET = "main", "cd" * 20, b"a secret"
STYLE = HmacStyle("x-signature", HookHash.SHA256)


def payment(event_id: str) -> Payment:
    paid = when_untrusted("2026-11-27T10:00:00Z", UTC)
    return Payment(event_id, "", "C-1", Decimal("1.00"), "USD", paid, PaymentState.SETTLED)


async def read_what_rang(store: Store, bell: Notifier) -> None:
    while True:
        for one in heard_open(store.query):
            await store.run(RecordPayments(SOURCE, [payment(one.heard.event_id)]))
            await store.run(HeardDone(SOURCE, [one.heard.event_id]))
        with trio.move_on_after(0.05):
            await bell.wait()


async def live(folder: Path, tell: Callable[[int], None]) -> None:
    with closing(open_store(folder)) as store:
        bell = Notifier()

        async def keep(source: str, heard: Heard) -> bool:
            return await store.run(KeepHeard(source, heard.event_id, heard))

        way = HookWay(SOURCE, TOKEN, (), lambda: HmacScheme(STYLE, [SECRET]))
        config = HooksConfig("127.0.0.1", 0, "", "", "", "", 0)
        listener = HooksListener(config, [way], keep, bell.ring, SystemClock())
        async with trio.open_nursery() as nursery:
            port = await nursery.start(listener.serve)
            nursery.start_soon(read_what_rang, store, bell)
            tell(port)


if __name__ == "__main__":
    trio.run(live, Path(sys.argv[1]), lambda port: print(port, flush=True))
