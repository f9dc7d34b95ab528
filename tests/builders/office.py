"""An agent without sockets and network, whose inbox a test fills: what people sign comes as if through the cloud."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio
import trio.testing

from agent import daemon as daemons
from agent.changes.engine.perform import Patience
from agent.changes.journal.commands import PlanRow, read_plan_row
from agent.changes.journal.request import Ask, local
from agent.changes.journal.trust_state import Pinned
from agent.changes.remote.inbox_handler import (
    InboxHandler,
    InboxParts,
)
from agent.config import AgentConfig, parse_untrusted
from agent.daemon import Daemon, Files
from agent.runtime.clock import Clock, SystemClock
from agent.store import mail
from agent.store.identity import FILE_NAME, create_identity, load_identity
from agent.store.mail import Inbox, Incoming, JoinCloud, TakeIn
from agent.store.mark_file import LogMark, MarkFile
from agent.store.vault import Vault
from tests.builders.expect import present
from tests.builders.job import STORE_KEY, TRANSITIONS, CrashingStore
from tests.builders.people import People, trusted
from tests.builders.subscribers import as_billing
from tests.builders.world import FakeConnector, World
from trust import chain, seal, statements, verify
from trust import envelope as envelopes
from trust.document import PersonKey, ServiceAccount, Trust
from trust.envelope import Envelope
from trust.items import SuspensionReason
from trust.keys import SigningKey
from trust.policy import Action
from trust.statements import (
    SERVICE,
    Intent,
    IntentSubject,
    OnFailure,
    OnStale,
    Receipt,
    SeenHeads,
)

EPOCH = b"e" * 16
MARIA_UID = 4242
CSV = """subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of
C-1,Amina Hassan,home,u0,fake,20M,,0,34.00,2025-10-03,,%(now)s
C-2,Joao Silva,home,u1,fake,20M,,0,12.50,2025-10-03,,%(now)s
C-2,,shop,u2,fake,20M,,0,,,,
C-3,Clinic,home,u3,fake,20M,hospital,0,99.00,2025-10-03,,%(now)s
C-4,Paid,home,u4,fake,20M,,0,0.00,2025-10-03,2026-01-01,%(now)s
C-5,Just Paid,home,u5,fake,20M,,0,0.00,2025-10-03,%(now)s,%(now)s
"""


def make_world() -> World:
    world = World()
    for n in range(6):
        world.add(f"u{n}")
    world.values[world.user("u5")] = {"plan": "20M", "suspended": "yes"}
    return world


@dataclass
class Desk:
    """The people, and a billing service; what they hold outlives the agent's crashes."""

    people: People = field(default_factory=People)
    billing: SigningKey = field(default_factory=SigningKey.generate)
    world: World = field(default_factory=make_world)
    run_by: str = ""
    csv: str = CSV

    def trust(self, files: Files) -> Trust:
        identity = files.identity
        entry = trusted(identity.agent, "noc-1", identity.plan_key, "ispagents.local/agent/noc-1", identity.log_key)
        services = (ServiceAccount("billing", (PersonKey("ed25519", self.billing.public.hex()),), self.run_by),)
        return replace(self.people.trust(entry), services=services)


class Office:
    """One life of the agent."""

    def __init__(self, daemon: Daemon, store: CrashingStore, desk: Desk) -> None:
        self.daemon, self.store, self.desk = daemon, store, desk
        self.people = desk.people
        self.inbox_handler = daemon.inbox_handler
        self.parts: InboxParts = daemon.inbox_handler._p

    # --- set-up ---

    async def install(self) -> None:
        """The first day: trust, subscribers, a control plane, a sealing key."""
        document, words = self.people.sign_trust(self.desk.trust(self.daemon.files))
        api = self.daemon.api.parts
        await api.trust.install(document, words, self.daemon.clock.wall_s())
        # Read after the first event: a payment from the second before it would be one that the suspension knew.
        now_s = self.daemon.clock.wall_s()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))  # not gmtime(): its clock is a tick behind
        await api.importer.run((self.desk.csv % {"now": now}).encode(), "maria", dry_run=False)
        sealed = api.recorder.record(None, {"what": "billing"})
        await self.store.run(as_billing((self.desk.csv % {"now": now}).encode(), sealed))
        self.store._con.execute(
            "INSERT INTO reason (service, reason, plan_id, seq) VALUES ('C-5/home', 'debt', NULL, 1)"
        )
        await self.store.run(JoinCloud(b"n" * 32))
        await self.daemon.sealing.refresh()
        await self.all_sent()

    async def plan(
        self,
        *refs: str,
        requester: int = MARIA_UID,
        verb: Action = Action.SUSPEND,
        reason: SuspensionReason = SuspensionReason.DEBT,
        tariff: str = "",
        change: str = "",
    ) -> PlanRow:
        """A plan that maria asked for at the site."""
        api, now_s = self.daemon.api.parts, self.daemon.clock.wall_s()
        pinned = api.trust.current(now_s)
        ask = Ask(verb, refs or (() if change else ("C-1",)), reason=reason, tariff=tariff, change=change)
        asked = local(ask, requester, api.people, pinned.trust, api.agent, now_s)
        plan_id = await api.intake.plan(asked, pinned)
        return read_plan_row(self.store.reader.execute("SELECT * FROM plan WHERE plan_id = ?", (plan_id,)).fetchone())

    # --- what comes ---

    async def deliver(self, kind: str, body: bytes, *, links: tuple[bytes, ...] = (), witness: bytes = b"") -> Incoming:
        """Put a message into the inbox, as the uplink does."""
        number = 0 if kind == "view" else mail.cursor(self.store.reader)[1] + 1
        message = Incoming(number, secrets.token_bytes(16), kind, body, links, witness=witness)
        await self.store.run(TakeIn([message], EPOCH))
        return message

    async def handle(self) -> None:
        """Handle all that waits, in order."""
        while (row := mail.next_in(self.store.reader)) is not None:
            await self.handle_one(row)

    async def handle_one(self, row: Inbox) -> None:
        ways = {"intent": self.inbox_handler.intent, "view": self.inbox_handler.view}
        await ways.get(row.kind, self.inbox_handler.statement)(row)

    async def receive(self, kind: str, body: bytes, **more: bytes) -> None:
        await self.deliver(kind, body, **more)  # type: ignore[arg-type]  # witness only
        await self.handle()

    def sealed(self, envelope: bytes) -> bytes:
        """Return it sealed to the agent's newest sealing key."""
        return seal.seal(envelope, self.daemon.files.vault.sealing_keys()[0].public)

    def intent(
        self,
        *refs: str,
        who: str = "maria",
        key: SigningKey | None = None,
        verb: Action = Action.SUSPEND,
        intent_id: str | None = None,
        agent: str | None = None,
        reason: str = "debt",
        params: Mapping[str, str] | None = None,
        expires_in_s: int = 3600,
        change: str = "",
        by: str = SERVICE,
    ) -> bytes:
        """Return a signed intent envelope. `by`: how `refs` name services."""
        intent = Intent(
            trust_id=self.people.trust_id,
            intent_id=intent_id or secrets.token_hex(16),
            salt=secrets.token_hex(16),
            agent=agent or self.parts.agent,
            requester=who,
            verb=verb,
            params=params or {},
            subjects=tuple(IntentSubject("change", change) for _ in [change] if change)
            or tuple(IntentSubject(by, ref) for ref in refs),
            exclude=(),
            on_failure=OnFailure.STOP,
            on_stale=OnStale.SKIP,
            canary=0,
            expires=int(time.time()) + expires_in_s,
            reason=reason,
        )
        return envelopes.encode(statements.sign(intent, [key or self.people.keys[who]]))

    # --- what is there ---

    def out(self, kind: str = "") -> list[mail.Outgoing]:
        found = mail.next_out(self.store.reader, time.time(), 1000)
        return [o for o in found if not kind or o.kind == kind]

    async def all_sent(self) -> None:
        for o in self.out():
            await self.store.run(mail.MarkSent(o.id))

    def receipts(self) -> list[Receipt]:
        """The receipts in the outbox, verified as a desk does."""
        found = [envelopes.decode_untrusted(o.body) for o in self.out("receipt")]
        return [verify.verify_receipt(envelope, self.pinned.trust) for envelope in found]

    def results(self) -> list[tuple[str, str, str]]:
        return [(r.of_type, r.result.value, r.reason.value if r.reason else "") for r in self.receipts()]

    def number(self, sql: str, *args: object) -> int:
        found: int = self.store.reader.execute(sql, args).fetchone()[0]
        return found

    def leaves(self, kind: int) -> int:
        return self.number("SELECT count(*) FROM event WHERE kind = ?", kind)

    def row(self) -> PlanRow:
        """The newest plan."""
        return read_plan_row(self.store.reader.execute("SELECT * FROM plan ORDER BY gate_seq DESC").fetchone())

    def gate(self) -> str:
        return str(self.store.reader.execute("SELECT gate FROM plan").fetchone()[0])

    def plan_envelope(self) -> Envelope:
        return envelopes.decode_untrusted(bytes(self.store.reader.execute("SELECT envelope FROM plan").fetchone()[0]))

    @property
    def pinned(self) -> Pinned:
        """The trust that the agent goes by."""
        return present(self.parts.trust.pinned)

    def with_parts(self, **changes: object) -> InboxHandler:
        return InboxHandler(replace(self.parts, **changes))  # type: ignore[arg-type]  # fields of that class


@contextmanager
def office_on(folder: Path, desk: Desk, clock: Clock, *, marked: bool = False) -> Iterator[Office]:
    """An agent on a state directory, new or not, of which nothing runs yet. `marked`: with a mark file."""
    first = not (folder / FILE_NAME).exists()
    text = f'[agent]\nname = "noc-1"\nstate_dir = "{folder}"\n[people]\n{MARIA_UID} = "maria"\n'
    config = parse_untrusted(text.encode(), folder / "agent.toml", {})
    identity = create_identity(folder, STORE_KEY) if first else load_identity(folder, STORE_KEY)
    vault = Vault(STORE_KEY, folder / "keys.db")
    mark_file = MarkFile(config.mark_file, vault.authenticate) if marked and config.mark_file else None

    def raise_marks(mark: LogMark) -> None:
        vault.raise_mark(mark)
        if mark_file is not None:
            mark_file.write(mark)

    store = CrashingStore(folder, TRANSITIONS, clock.wall_s, high_water=raise_marks)
    for con in (store._con, vault._con):
        con.execute("PRAGMA synchronous = OFF")  # only the process dies, and only in play
    series = daemons.open_series(config, clock)
    try:
        yield Office(build(config, Files(store, vault, identity, series, mark_file), clock, desk), store, desk)
    finally:
        series.close()
        store.close()
        vault.close()
        if mark_file is not None:
            mark_file.close()


def build(config: AgentConfig, files: Files, clock: Clock, desk: Desk) -> Daemon:
    """Return an agent whose one connector is the desk's world."""
    connectors = {"fake": FakeConnector(desk.world)}
    patience = Patience(poll_s=0.01)
    return daemons.build(config, files, clock, connectors=connectors, patience=patience)


@asynccontextmanager
async def office_in(folder: Path, desk: Desk, *, marked: bool = False) -> AsyncIterator[Office]:
    """One life on a state directory; the first one is set up. `marked`: with a mark file, and started by its rules."""
    first = not (folder / FILE_NAME).exists()
    with office_on(folder, desk, SystemClock(), marked=marked) as office:
        async with trio.open_nursery() as nursery:
            await office.daemon.sessions.host(nursery)
            if marked:
                await office.daemon.begin()
            if first:
                await office.install()
            yield office
            nursery.cancel_scope.cancel()


def approval(office: Office, who: str = "joseph", **more: object) -> bytes:
    pinned = office.pinned
    seen = SeenHeads(pinned.trust.version, pinned.sha256.hex())
    return office.people.approve(office.plan_envelope(), who, seen=seen, **more)  # type: ignore[arg-type]  # its keywords


def next_trust(office: Office) -> bytes:
    pinned = office.pinned
    trust = replace(pinned.trust, version=2, prev=pinned.sha256.hex(), issued=pinned.trust.issued + 1)
    return office.people.sign_trust(trust)[0]


async def approved(office: Office, row: PlanRow) -> PlanRow:
    pinned = office.pinned
    seen = SeenHeads(pinned.trust.version, pinned.sha256.hex())
    envelope = envelopes.decode_untrusted(row.envelope)
    await office.receive("approval", office.people.approve(envelope, "joseph", seen=seen))
    return row


async def work(office: Office, until: Callable[[], bool] | None = None) -> None:
    """Let the worker run until that holds; without it, until each approved plan has ended or cannot start."""
    left = "SELECT count(*) FROM plan WHERE gate = 'approved' OR (consumed_seq NOT NULL AND finished_seq IS NULL)"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(office.daemon.job.worker.run)
        with trio.fail_after(60):
            while office.number(left) if until is None else not until():  # noqa: ASYNC110  the worker tells nobody
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


def finished(office: Office) -> int:
    return office.number("SELECT count(*) FROM plan WHERE finished_seq IS NOT NULL")


async def remove_joseph(office: Office) -> bytes:
    """Install version 2, in which joseph is not; return it."""
    pinned = office.pinned
    kept = tuple(p for p in pinned.trust.people if p.handle != "joseph")
    keys = tuple(k for k in pinned.trust.root.keys if k.person != "joseph")
    root = replace(pinned.trust.root, keys=keys, threshold=1)
    later = replace(pinned.trust, version=2, prev=pinned.sha256.hex(), people=kept, root=root)
    data, _ = office.people.sign_trust(later)
    await office.parts.trust.install(data, "", time.time())
    return data


def words(office: Office) -> str:
    """Return the words of the trust that is pinned."""
    pinned = office.pinned
    return chain.head_words(envelopes.decode_untrusted(office.parts.trust.envelope(pinned)))
