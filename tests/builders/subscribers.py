"""Lists of subscribers, stored without the approvals that an import of them needs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.billing_model.errors import BillingState
from agent.inventory import book
from agent.inventory.book import ImportServices
from agent.inventory.ledger import FILE, KeptAccount, RecordFile, SourceStatus
from agent.inventory.merge import Changed, merge
from agent.inventory.subscribers_csv import COLUMNS, parse_untrusted

if TYPE_CHECKING:
    from agent.store.log_store import Sealed
    from tests.builders.agent import Agent


def as_billing(csv: bytes, sealed: Sealed) -> RecordFile:
    """Return the command by which the facts of a list are stored as the configured billing system's."""
    facts = parse_untrusted(csv).facts.values()
    accounts = [KeptAccount(FILE, fact.account, fact.read_s) for fact in facts]
    payments = [fact.payment for fact in facts if fact.payment is not None]
    now_s = time.time()
    status = SourceStatus(FILE, BillingState.FRESH, "", now_s, now_s, now_s, len(accounts))
    return RecordFile(accounts, payments, "", status, sealed)


async def bring(agent: Agent, *lines: bytes) -> None:
    """Store lines, with the time of now for their `%(now)s`, as if the edits in them had been approved."""
    await bring_csv(agent, _csv(lines))


async def bring_csv(agent: Agent, csv: bytes) -> None:
    """Store a list as if the edits in it had been approved; joseph imports it, who asks for nothing in these tests."""
    parsed, api = parse_untrusted(csv), agent.daemon.api.parts
    merged = merge(book.services(api.store.reader), parsed.rows)
    edited = tuple(Changed(edit.service, edit.fields) for edit in merged.edits)
    stored = replace(merged, changed=(*merged.changed, *edited), edits=())
    api.recorder.ensure([service.ref for service in stored.to_write])
    sealed = api.recorder.record(None, {"what": "import"})
    await api.store.run(ImportServices(stored, parsed.rows, sealed, "joseph"))


async def billing_says(agent: Agent, line: bytes) -> None:
    """Take one line as the billing system that the configuration names says it."""
    sealed = agent.daemon.api.parts.recorder.record(None, {"what": "billing"})
    await agent.daemon.files.store.run(as_billing(_csv((line,)), sealed))


def _csv(lines: tuple[bytes, ...]) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time())).encode()
    return b"\n".join([",".join(COLUMNS).encode(), *(line % {b"now": now} for line in lines), b""])
