"""From the outbox to the control plane: in order, one at a time, each until it is taken. Once in effect: by its ref.

An answer that got lost changes nothing: the same bytes go again under the same ref, and the control plane says that
it has them. A message that it refuses for good is dropped with a line in the log, so that it does not hold up the rest.

With each connection the last message that it took goes again first. Where that is new to it, it was put back and lacks
earlier messages as well: plans, outcomes and the sealing key are told again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import trio

from agent.runtime.clock import Clock
from agent.runtime.supervise import Backoff
from agent.store import mail
from agent.store.db import Store
from agent.store.mail import Asked, AskLast, Incoming, MailBells, MarkSent, Outgoing, TellAgain
from agent.uplink import limits, wire
from agent.uplink.client import CloudClient
from agent.uplink.errors import RemoteRefusedError, RemoteUplinkError
from agent.uplink.receiving import take_in
from trust import chance
from trust.witness import decode_request_untrusted

LOOK_S: Final = 30.0
"""The outbox is looked at this often even when nobody rings."""

FOR_GOOD: Final = frozenset(
    {
        "malformed",
        "too-large",
        "wrong-kind",
        "unknown-agent",
        "ref-reused",
        "agent-away",
        "unknown-log",
        "bad-proof",
    }
)
"""Refusals that would be the same tomorrow."""

_log = logging.getLogger("agent.uplink")


@dataclass(slots=True)
class Sender:
    """Drains the outbox. `cloud_witnesses`: key ids of witnesses that the control plane itself runs."""

    store: Store
    bells: MailBells
    clock: Clock
    agent: bytes
    cloud_witnesses: Callable[[], Collection[bytes]]
    backoff: Backoff
    dice: Callable[[], float]
    dropped: int = 0

    async def run(self, connection: CloudClient) -> None:
        """Send until cancelled. A failed call is tried again after a pause.

        Raises:
            StoreFailedError: the store cannot be written.
        """
        failures = 0
        last = mail.last_kept(self.store.reader, self.clock.wall_s())
        while True:
            waiting = [last] if last else mail.next_out(self.store.reader, self.clock.wall_s(), 1)
            if not waiting:
                with trio.move_on_after(LOOK_S):
                    await self.bells.outbox.wait()
                continue
            try:
                if last:
                    await self._compare(connection, last)
                    last = None
                else:
                    await self._send(connection, waiting[0])
                failures = 0
            except RemoteUplinkError as err:
                failures += 1
                pause_s = self.backoff.pause_s(failures, self.dice())
                if isinstance(err, RemoteRefusedError):
                    pause_s = max(pause_s, err.retry_after_s)
                _log.warning(
                    "a message was not taken yet",
                    extra={"kind": waiting[0].kind, "code": err.code, "count": failures, "pause_s": round(pause_s, 1)},
                )
                await trio.sleep(pause_s)

    async def _compare(self, connection: CloudClient, last: Outgoing) -> None:
        """Send the last message that was taken once more; where it is new there, tell everything again."""
        message = wire.outgoing(last, self.agent)
        if message is None:
            return
        known = False  # also where an earlier answer was lost
        if not mail.is_asked(self.store.reader):
            await self.store.run(AskLast())
            try:
                known = await connection.submit(message)
            except RemoteRefusedError as err:
                await self.store.run(Asked())
                if err.refusal not in FOR_GOOD:
                    raise
                return
        if not known:
            _log.warning("the control plane was put back, or may have been: what it may lack is told again")
        await self.store.run(Asked() if known else TellAgain())

    async def _send(self, connection: CloudClient, out: Outgoing) -> None:
        taken = True
        try:
            if out.kind == "checkpoint" and out.witness in self.cloud_witnesses():
                await self._ask_witness(connection, out)
            elif (message := wire.outgoing(out, self.agent)) is not None:
                await connection.submit(message)
            else:
                taken = False
                self._drop(out, "unfit")
        except RemoteRefusedError as err:
            if err.refusal not in FOR_GOOD:
                raise
            taken = False
            self._drop(out, err.refusal)
        await self.store.run(MarkSent(out.id, taken))

    def _drop(self, out: Outgoing, why: str) -> None:
        self.dropped += 1
        _log.error("a message was refused for good", extra={"kind": out.kind, "code": why, "bytes": len(out.body)})

    async def _ask_witness(self, connection: CloudClient, out: Outgoing) -> None:
        """Ask the control plane's witness; its answer goes where the answers of other witnesses come in."""
        try:
            answer = await connection.add_checkpoint(out.body)
        except RemoteRefusedError as err:
            old = decode_request_untrusted(out.body).old
            if err.refusal != "bad-proof" or not old:
                raise
            answer = old  # it cosigned another tree of the very size that we asked from: a contradiction
        epoch, _ = mail.cursor(self.store.reader)
        incoming = Incoming(
            number=0,
            ref=chance.token_bytes(limits.REF_BYTES),
            kind="cosignature",
            body=answer if isinstance(answer, bytes) else b"conflict %d\n" % answer,
            witness=out.witness,
        )
        await take_in(self.store, self.bells, incoming, epoch)
