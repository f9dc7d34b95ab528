"""A day of people who ask and decide elsewhere, by the bytes that their desks send and the feed that they read."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import trio

from control_plane.desk.cloud_client import Position
from control_plane.desk.errors import CloudAwayError, CloudRefusedError
from control_plane.desk.feed import Received
from lab.population import LabService
from protos import message_pb2 as pb
from tests.e2e.cloud_site import Company, Desk, Found, digest_of, wait_until
from tests.e2e.files import ref_of
from tests.e2e.recording_cloud import Call
from tests.e2e.site import END_S, Site
from trust import answer as answers
from trust import envelope as envelopes
from trust import seal, statements
from trust.policy import Action
from trust.seal import SealingKey
from trust.statements import (
    Intent,
    IntentSubject,
    OnFailure,
    OnStale,
    Outcome,
    Receipt,
    ReceiptResult,
    Statement,
)

T = TypeVar("T")
S = TypeVar("S", bound=Statement)


class SharedFeed:
    """What stands on the shared feed, as it comes."""

    def __init__(self) -> None:
        self.found = Found([])
        self._news = trio.Event()

    def add(self, message: Received) -> None:
        self.found.messages.append(message)
        self._news.set()
        self._news = trio.Event()

    async def wait(self, holds: Callable[[Found], T | None]) -> T:
        """Return what `holds` finds on the shared feed, once it is there."""
        with trio.fail_after(END_S):
            while not (found := holds(self.found)):
                await self._news.wait()
        return found


@asynccontextmanager
async def following(desk: Desk) -> AsyncIterator[SharedFeed]:
    """Read the shared feed at a desk for the block."""
    feed, stream = SharedFeed(), desk.connection().watch(Position())

    def read() -> None:
        with contextlib.suppress(CloudAwayError, CloudRefusedError):
            for message, _ in stream:
                trio.from_thread.run_sync(feed.add, message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, read)
        try:
            yield feed
        finally:
            stream.cancel()


@dataclass
class Day:
    """What people ask and decide from elsewhere. `intents` and `documents` are what was sealed, in clear."""

    here: Company
    site: Site
    feed: SharedFeed
    intents: list[Intent] = field(default_factory=list)
    documents: list[tuple[bytes, ...]] = field(default_factory=list)

    def desk(self, who: str) -> Desk:
        return self.here.desks[who]

    async def ask(self, who: str, verb: Action, *refs: str, **changes: object) -> bytes:
        """Send a sealed intent as a desk does; return its envelope."""
        people, now = self.here.files.people, self.here.files.people.now_s
        intent = Intent(
            trust_id=people.trust_id,
            intent_id=secrets.token_hex(16),
            salt=secrets.token_hex(16),
            agent=self.here.agent,
            requester=who,
            verb=verb,
            params={},
            subjects=tuple(IntentSubject("service", ref) for ref in refs),
            exclude=(),
            on_failure=OnFailure.CONTINUE,
            on_stale=OnStale.SKIP,
            canary=0,
            expires=now + 3600,
            reason="debt" if verb in (Action.SUSPEND, Action.RESTORE) else "",
        )
        intent = replace(intent, **changes)  # type: ignore[arg-type]  # whatever a test wants to be different
        self.intents.append(intent)
        return await self.send_sealed(who, envelopes.encode(statements.sign(intent, [people.keys[who]])))

    async def send_sealed(self, who: str, data: bytes) -> bytes:
        """Send something sealed to the agent's key."""
        key = await self.feed.wait(lambda b: next(iter(b.sealkeys), None))
        body = seal.seal(data, bytes.fromhex(key.x25519))
        await self.desk(who).send(pb.KIND_INTENT, body, self.here.agent)
        return data

    async def receipt(self, data: bytes) -> Receipt:
        """Return the receipt of a statement, once it is there."""
        return await self.feed.wait(lambda b: next(iter(b.receipts_of(data)), None))

    async def accepted(self, who: str, kind: pb.Kind, data: bytes, agent: str = "") -> None:
        """Send a statement that the agent takes."""
        await self.desk(who).send(kind, data, agent)
        assert (await self.receipt(data)).result is ReceiptResult.ACCEPTED

    async def outcome(self, plan: bytes) -> Outcome:
        """Return what became of a plan, once it is there."""
        return await self.feed.wait(lambda b: next(iter(b.outcomes_of(digest_of(plan))), None))

    def note_intents(self) -> None:
        """Add the intents that people typed: the agent knows them."""
        rows = self.site.daemon.files.store.reader.execute("SELECT envelope FROM intent WHERE envelope IS NOT NULL")
        kept = [statements.decode_as_untrusted(Intent, envelopes.decode_untrusted(bytes(r[0]))) for r in rows]
        self.intents.extend(intent for intent in kept if intent not in self.intents)

    async def refused(self, data: bytes) -> str:
        """Return why the agent refused what was sent."""
        receipt = await self.receipt(data)
        assert receipt.result is ReceiptResult.REFUSED
        assert receipt.reason is not None
        return receipt.reason.value

    async def planned(self, who: str, verb: Action, *refs: str, **changes: object) -> bytes:
        """Ask; return the plan's envelope from the shared feed."""
        asked = await self.ask(who, verb, *refs, **changes)
        receipt = await self.receipt(asked)
        assert receipt.result is ReceiptResult.ACCEPTED, receipt
        (plan,) = [p for p in self.feed.found.plans if p.intent_sha256 == digest_of(asked)]
        return self.feed.found.envelope_of(plan)

    async def decide(self, plan: bytes, who: str, **changes: object) -> Receipt:
        people = self.here.files.people
        signed = people.approve(envelopes.decode_untrusted(plan), who, seen=self.here.files.seen(), **changes)  # type: ignore[arg-type]  # whatever a test wants
        await self.desk(who).send(pb.KIND_APPROVAL, signed, self.here.agent)
        return await self.receipt(signed)

    async def ended(self, plan: bytes, *who: str) -> Outcome:
        """Approve; return what came of it."""
        for one in who or ("joseph",):
            assert (await self.decide(plan, one)).result is ReceiptResult.ACCEPTED
        return await self.outcome(plan)

    async def view(self, plan: bytes, who: str) -> tuple[bytes, ...]:
        """Ask for a plan's items; return their documents."""
        key, view_id = SealingKey.generate(), secrets.token_bytes(16)
        asked = self.here.files.people.view(
            envelopes.decode_untrusted(plan), who, key, seen=self.here.files.seen(), view_id=view_id.hex()
        )
        pages = await trio.to_thread.run_sync(lambda: self.desk(who).connection().view(self.here.agent, asked).pages())
        documents = answers.decode_untrusted(seal.open_pages_untrusted(view_id, key, pages)).documents
        self.documents.append(documents)
        return documents

    async def checkpoint(self) -> int:
        """Have the log signed and cosigned; return its size."""
        await self.site.daemon.log.witnesses.publish()
        size, _ = self.site.daemon.log.evidence.published()

        async def seen() -> bool:
            row = self.site.daemon.files.store.reader.execute("SELECT max(size) FROM witness_seen").fetchone()
            return bool(row[0] == size)

        await wait_until("the witness's answer", seen)
        return size

    async def quiet(self) -> None:
        """Wait until nothing is left to send or to handle."""

        async def empty() -> bool:
            found = await self.site.call("GET", "/v1/cloud")
            return not (found["outbox"] or found["inbox"])

        await wait_until("empty boxes", empty)

    def second(self, services: Sequence[LabService]) -> LabService:
        """Return a service of a subscriber who has another."""
        return next(s for s in services if sum(s.subscriber == o.subscriber for o in services) > 1)


async def refusals(day: Day, suspended: LabService) -> list[Receipt]:
    """Ask for a service that is suspended already, one that is protected, one that two may be, and for a stranger."""
    services = day.here.isp.services
    protected = next(s for s in services if s.protected)
    refs = (ref_of(suspended), ref_of(protected), day.second(services).subscriber, f"C-{'q' * 10}/home")
    found = []
    for ref in refs:
        found.append(await day.receipt(await day.ask("billing", Action.SUSPEND, ref)))
    return found


def messages_of(call: Call) -> Iterator[tuple[pb.Message, int]]:
    """Yield the messages of a call, with how many bytes each took."""
    method = call.method.rpartition("/")[2]
    if method in ("Submit", "View"):
        for data in call.requests:
            yield pb.SubmitRequest.FromString(data).message, len(data)
    elif method == "Watch":
        for data in call.replies:
            event = pb.WatchEvent.FromString(data)
            if not event.HasField("hello"):
                yield event.live if event.HasField("live") else event.delivery.message, len(data)
