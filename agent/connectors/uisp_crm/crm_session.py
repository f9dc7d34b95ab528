"""Reads one UISP CRM: whole lists, single clients, and the events that webhooks name."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

import trio

from agent.billing_model.account import Account, FullReading, Payment
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.records import Record, record_untrusted, records_untrusted
from agent.connectors.base import AnswerBook, KeptAnswer
from agent.connectors.new_payments_session import LookUp, NewPayments
from agent.connectors.uisp_crm import accounts
from agent.connectors.uisp_crm.accounts import UNPAID, CrmClient, CrmInvoice, CrmOptions
from agent.connectors.uisp_crm.configuration import CrmSource
from agent.connectors.uisp_crm.hooks import EVENT, POSTPONED
from agent.connectors.web_source_session import client_of, told_by, whole_list
from agent.runtime.clock import Clock
from agent.runtime.web_session import WebReading

POSTPONED_S: Final = 24 * 3600
"""How long UISP lets a client postpone."""
_FEW: Final = 10
"""A list of one client's invoices that is shorter needs one call."""
_AT_ONCE: Final = 6
"""Clients that are read at once."""
_PATHS: Final = {
    "client": "/clients/{}",
    "payment": "/payments/{}",
    "invoice": "/invoices/{}",
    "service": "/clients/services/{}",
    "creditNote": "/credit-notes/{}",
}
"""Where the client of an entity is read, by the name that events give it."""


@dataclass(slots=True)
class _Known:
    """The findings of earlier readings. `subscribers`: by ids of clients."""

    options: CrmOptions | None = None
    subscribers: dict[str, str] = field(default_factory=dict)


class CrmReader:
    """Reads one UISP CRM."""

    def __init__(
        self, source: CrmSource, secrets: Callable[[str], bytes], clock: Clock, book: AnswerBook, zone: tzinfo
    ) -> None:
        """Take a source.

        Args:
            source: as configured.
            secrets: the vault.
            clock: of pauses and of the times of readings.
            book: keeps postponements.
            zone: the operator's, until the CRM's is known.
        """
        self.source = source
        self._secrets = secrets
        self._clock = clock
        self._book = book
        self._zone = zone
        self._known = _Known()
        self._paid = NewPayments(f"{self.name}: payments")
        self._client = client_of(source.web, clock, self._authorize)

    @property
    def name(self) -> str:
        """Its target's id."""
        return self.source.terms.target

    @property
    def zone(self) -> tzinfo:
        """The zone of its days: the configured one, else the CRM's, else the operator's."""
        found = self._known.options
        return self.source.terms.zone or (self._zone if found is None else found.zone)

    async def _authorize(self) -> Mapping[str, str]:
        await trio.lowlevel.checkpoint()
        key = self._secrets(self.source.terms.secret)
        return {"x-auth-app-key": key.decode("utf-8", "replace")}

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[WebReading]:
        with told_by(self.name):
            async with self._client.reading() as reading:
                yield reading

    # --- accounts ---

    async def all(self) -> FullReading:
        """Return the accounts of all clients, read whole.

        Raises:
            SourceError: they could not be read whole.
        """
        as_of_s = self._clock.wall_s()
        async with self._reading() as reading:
            options = await self._read_options(reading)
            clients = await self._clients(reading)
            invoices = await self._invoices(reading, ())
        if not invoices and any(map(_owes, clients)):
            raise self._invoices_lost()
        by_client: dict[str, list[CrmInvoice]] = {}
        for invoice in invoices:
            by_client.setdefault(invoice.client, []).append(invoice)
        held = self._held(as_of_s)
        found, skipped = [], 0
        for client in clients:
            if client.lead:
                continue
            if not client.subscriber:
                skipped += 1
                continue
            found.append(self._account(client, by_client.get(client.key, ()), options, as_of_s, held))
        self._known.subscribers = {account.key: account.subscriber for account in found}
        return FullReading(found, skipped)

    async def some(self, keys: Collection[str]) -> Sequence[Account]:
        """Return accounts by ids of clients, and those that events are about.

        Raises:
            SourceError: not all could be asked for.
        """
        as_of_s = self._clock.wall_s()
        wanted = {key for key in keys if not key.startswith((EVENT, POSTPONED))}
        found: list[Account] = []
        async with self._reading() as reading:
            options = self._known.options or await self._read_options(reading)
            for key in keys:
                if key.startswith((EVENT, POSTPONED)) and (client := await self._of_event(reading, key)):
                    wanted.add(client)
            held = self._held(as_of_s)
            turn = trio.CapacityLimiter(_AT_ONCE)

            async def one(key: str) -> None:
                async with turn:
                    client, invoices = await self._client_and_invoices(reading, key)
                if client is not None:
                    found.append(self._account(client, invoices, options, as_of_s, held))

            await self._all_of(functools.partial(one, key) for key in sorted(wanted))
        return found

    async def _client_and_invoices(
        self, reading: WebReading, key: str
    ) -> tuple[CrmClient | None, Sequence[CrmInvoice]]:
        """Return a client and its unpaid invoices.

        Raises:
            SourceError: PARTIAL, the client owes, and no invoice is listed, also when both are read again.
        """
        for _ in range(2):  # a payment between the two answers looks like a lost list
            client, invoices = await self._both_at_once(reading, key)
            if invoices or client is None or not _owes(client):
                return client, invoices
        raise self._invoices_lost()

    async def _both_at_once(self, reading: WebReading, key: str) -> tuple[CrmClient | None, Sequence[CrmInvoice]]:
        """Read a client and its unpaid invoices, both at once: somebody waits."""
        clients: list[CrmClient | None] = []
        invoices: list[CrmInvoice] = []

        async def client() -> None:
            clients.append(await self._one_client(reading, key))

        async def unpaid() -> None:
            invoices.extend(await self._invoices(reading, (("clientId", key),)))

        await self._all_of((client, unpaid))
        return clients[0], invoices

    def _invoices_lost(self) -> SourceError:
        said = f"{self.name}: invoices: none is listed, although a client owes; they are read again later"
        return SourceError(said, state=BillingState.PARTIAL)

    async def _all_of(self, parts: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Run the parts of a reading in tasks; the first error of one ends them all, and is raised as itself."""
        problems: list[SourceError] = []
        async with trio.open_nursery() as nursery:

            async def run(part: Callable[[], Awaitable[None]]) -> None:
                try:
                    with told_by(self.name):
                        await part()
                except SourceError as err:
                    problems.append(err)
                    nursery.cancel_scope.cancel()

            for part in parts:
                nursery.start_soon(run, part)
        if problems:
            raise problems[0]

    def _account(
        self,
        client: CrmClient,
        invoices: Sequence[CrmInvoice],
        options: CrmOptions,
        as_of_s: float,
        held: Mapping[str, float],
    ) -> Account:
        return accounts.account(
            client,
            invoices,
            options,
            as_of_s,
            postponed_until_s=held.get(client.key, 0.0),
            follow_switch=self.source.follow_suspend_switch,
        )

    async def _read_options(self, reading: WebReading) -> CrmOptions:
        self._known.options = accounts.options_untrusted((await reading.get("/options")).json)
        return self._known.options

    async def _clients(self, reading: WebReading) -> Sequence[CrmClient]:
        async def fetch(offset: int, most: int) -> Sequence[Record]:
            query = {"limit": str(most), "offset": str(offset), "order": "client.id", "direction": "ASC"}
            return records_untrusted((await reading.get("/clients", query)).json, "client")

        read = functools.partial(accounts.client_untrusted, field=self.source.subscriber)
        rows = await whole_list(f"{self.name}: clients", fetch, self.source.web.page, read)
        return list(rows.values())

    async def _invoices(self, reading: WebReading, only: Sequence[tuple[str, str]]) -> Sequence[CrmInvoice]:
        """Read the unpaid invoices, of all clients or of one."""
        zone = self.zone

        async def fetch(offset: int, most: int) -> Sequence[Record]:
            query = [
                *only,
                *(("statuses[]", status) for status in UNPAID),
                ("limit", str(most)),
                ("offset", str(offset)),
                ("order", "number"),
                ("direction", "ASC"),
            ]
            return records_untrusted((await reading.get("/invoices", query)).json, "invoice")

        rows = await whole_list(
            f"{self.name}: invoices",
            fetch,
            self.source.web.page,
            functools.partial(accounts.invoice_untrusted, zone=zone),
            short=_FEW if only else 0,
        )
        return list(rows.values())

    async def _one_client(self, reading: WebReading, key: str) -> CrmClient | None:
        answer = await reading.get("/clients/{}", ids=(key,), expected=(200, 404))
        if answer.json is None:
            return None
        client = accounts.client_untrusted(record_untrusted(answer.json, "client"), self.source.subscriber)
        return None if client.lead or not client.subscriber else client

    # --- events ---

    async def _of_event(self, reading: WebReading, key: str) -> str:
        """Return the client that an event is about; "" where there is no such event or client. Keep a postponement."""
        kind, _, uuid = key.partition("/")
        answer = await reading.get("/webhook-events/{}", ids=(uuid,), expected=(200, 404))
        if answer.json is None:
            return ""
        event = record_untrusted(answer.json, "webhook event")
        entity, entity_id = event.text("entity"), event.id_or_none("entityId")
        client = await self._client_of(reading, entity, entity_id) if entity_id else ""
        postpones = "postpone" in (event.text("changeType"), event.text("eventName").rpartition(".")[2])
        if client and f"{kind}/" == POSTPONED and entity == "service" and postpones:  # the call itself proves nothing
            await self._postpone(client)
        return client

    async def _client_of(self, reading: WebReading, entity: str, entity_id: str) -> str:
        if entity == "client" or entity not in _PATHS:
            return entity_id if entity == "client" else ""
        answer = await reading.get(_PATHS[entity], ids=(entity_id,), expected=(200, 404))
        return "" if answer.json is None else record_untrusted(answer.json, entity).id_or_none("clientId")

    async def _postpone(self, client: str) -> None:
        now_s = int(self._clock.wall_s())
        answer = KeptAnswer("postponed", client, str(now_s + POSTPONED_S), "webhook", now_s)
        await self._book.keep(self.name, (answer,))

    def _held(self, now_s: float) -> Mapping[str, float]:
        """Return the postponements that hold: end by client."""
        kept = [(a.key, float(a.told)) for a in self._book.kept(self.name) if a.kind == "postponed"]
        return {client: until_s for client, until_s in kept if until_s > now_s}

    # --- payments ---

    async def payments(self, since_s: float) -> Sequence[Payment]:
        """Return the payments since a moment, newest first by their ids, and those that were deleted since.

        Raises:
            SourceError: not all could be asked for.
        """
        async with self._reading() as reading:
            if self._known.options is None:
                await self._read_options(reading)

            async def fetch(offset: int, most: int) -> Sequence[Record]:
                query = {"limit": str(most), "offset": str(offset), "order": "id", "direction": "DESC"}
                return records_untrusted((await reading.get("/payments", query)).json, "payment")

            return await self._paid.read(fetch, self._payment, self._look_up(reading), since_s)

    async def some_payments(self, ids: Collection[str]) -> Sequence[Payment]:
        """Return payments by their ids; one that is not there is as it was read before, or left out.

        Raises:
            SourceError: not all could be asked for.
        """
        found: list[Payment] = []
        async with self._reading() as reading:
            if self._known.options is None:
                await self._read_options(reading)
            look_up = self._look_up(reading)

            async def one(key: str) -> None:
                if (payment := await self._paid.one(look_up, key)) is not None:
                    found.append(payment)

            await self._all_of(functools.partial(one, key) for key in sorted(ids))
        return found

    def _look_up(self, reading: WebReading) -> LookUp:
        async def look_up(key: str) -> Payment | None:
            answer = await reading.get("/payments/{}", ids=(key,), expected=(200, 404))
            return None if answer.json is None else self._payment(record_untrusted(answer.json, "payment"))

        return look_up

    def _payment(self, row: Record) -> Payment:
        subscriber = self._known.subscribers.get(row.id_or_none("clientId"), "")
        return accounts.payment_untrusted(row, self.zone, subscriber)

    # --- what the key may do ---

    async def rights(self) -> Sequence[str]:
        """Return the facts on the app key and on the CRM's settings, a sentence each.

        Raises:
            SourceError: it could not be asked.
        """
        async with self._reading() as reading:
            options = await self._read_options(reading)
            version = record_untrusted((await reading.get("/version")).json, "version").text("version")
            for path in ("/clients", "/invoices", "/payments"):
                await reading.get(path, {"limit": "1"})
        return _sentences(self.source, options, version[:32], self._clock.wall_s())


def _owes(client: CrmClient) -> bool:
    """Return whether UISP has to list an unpaid invoice of a client: its debt is unpaid invoices less credit."""
    return client.balance > 0 and not client.lead and not client.archived


def _sentences(source: CrmSource, options: CrmOptions, version: str, now_s: float) -> Sequence[str]:
    told = [
        f"UISP CRM {version} answers; clients, invoices and payments can be read.",
        "UISP does not tell whether an app key may write: make one of the type Read.",
        f"It counts days in {options.zone.key}.",
    ]
    configured = source.terms.zone
    moment = datetime.fromtimestamp(now_s, UTC)
    if configured is not None and configured.utcoffset(moment) != options.zone.utcoffset(moment):
        told.append("The configured timezone differs from it: leave the key out, unless UISP's is wrong.")
    if not options.suspends:
        follows = "nobody is suspended" if source.follow_suspend_switch else "that is ignored, as configured"
        told.append(f"Suspension is switched off in UISP (suspendEnabled): {follows}.")
    if not options.stop_service:
        told.append("Services are not stopped by default (stopServiceDue): only clients who differ are suspended.")
    told.append(f"Its own delay is {options.delay_days} days, its least unpaid amount {options.minimum}.")
    if options.postpones:
        told.append("Clients may postpone by 24 hours, which only a webhook tells (hook = true).")
    return told
