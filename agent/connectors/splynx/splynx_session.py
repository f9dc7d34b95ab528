"""Reads one Splynx, one request at a time: its nonces have to arrive in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta, tzinfo

from agent.billing_model.account import Account, FullReading, Payment
from agent.billing_model.days import today
from agent.billing_model.records import Record, record_untrusted, records_untrusted
from agent.connectors.base import AnswerBook, KeptAnswer
from agent.connectors.new_payments_session import LookUp, NewPayments
from agent.connectors.splynx import accounts
from agent.connectors.splynx.accounts import NOT_PAID, SplynxBilling, SplynxCustomer, SplynxInvoice
from agent.connectors.splynx.configuration import SplynxSource
from agent.connectors.splynx.signing import RESERVED, Nonces, authorization
from agent.connectors.web_source_session import client_of, told_by, whole_list
from agent.runtime.clock import Clock
from agent.runtime.web_session import WebReading

_CUSTOMERS, _INVOICES, _PAYMENTS = "/admin/customers/customer", "/admin/finance/invoices", "/admin/finance/payments"
_FEW = 10
"""A list of one customer's invoices that is shorter needs one call."""
_NEXT = timedelta(days=1)
"""Zones differ by about a day: a customer that may be overdue somewhere while the reading counts is asked for the
deposit.
"""


class SplynxReader:
    """Reads one Splynx."""

    def __init__(
        self, source: SplynxSource, secrets: Callable[[str], bytes], clock: Clock, book: AnswerBook, zone: tzinfo
    ) -> None:
        """Take a source.

        Args:
            source: as configured.
            secrets: the vault.
            clock: of pauses, nonces and readings.
            book: keeps the highest nonce that may have been used.
            zone: the operator's.
        """
        self.source = source
        self.zone: tzinfo = source.terms.zone or zone
        """The zone of its days."""
        self._secrets = secrets
        self._clock = clock
        self._book = book
        self._nonces: Nonces | None = None
        self._paid = NewPayments(f"{self.name}: payments")
        self._subscribers: dict[str, str] = {}
        self._client = client_of(source.web, clock, self._authorize, one_at_a_time=True)

    @property
    def name(self) -> str:
        """Its target's id."""
        return self.source.terms.target

    async def _authorize(self) -> Mapping[str, str]:
        """Return the header of the next request. The client calls it with nothing else under way."""
        secret = self._secrets(self.source.terms.secret)
        if self._nonces is None:
            kept = [int(a.told) for a in self._book.kept(self.name) if a.kind == "nonce"]
            self._nonces = Nonces(max(kept, default=0))
        nonce = self._nonces.next(self._clock.wall_s())
        if nonce > self._nonces.reserved:
            now_s, reserved = int(self._clock.wall_s()), nonce + RESERVED
            await self._book.keep(self.name, (KeptAnswer("nonce", "highest", str(reserved), "agent", now_s),))
            self._nonces.reserved = reserved
        self._nonces.take(nonce)
        return {"authorization": authorization(self.source.key, secret, nonce)}

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[WebReading]:
        with told_by(self.name):
            async with self._client.reading() as reading:
                yield reading

    # --- accounts ---

    async def all(self) -> FullReading:
        """Return the accounts of all customers, read whole.

        Raises:
            SourceError: they could not be read whole.
        """
        as_of_s = self._clock.wall_s()
        async with self._reading() as reading:
            customers = await self._customers(reading)
            listed = await self._invoices(reading)
            invoices: dict[str, list[SplynxInvoice]] = {}
            for invoice in listed:
                invoices.setdefault(invoice.customer, []).append(invoice)
            found, skipped = [], 0
            for customer in customers:
                if customer.deleted:
                    continue
                if not customer.subscriber:
                    skipped += 1
                    continue
                own = invoices.get(customer.key, ())
                # A list without a row may be a lost one: only the deposit says then that a customer owes
                found.append(await self._account(reading, customer, own, as_of_s, always=not listed))
        self._subscribers = {account.key: account.subscriber for account in found}
        return FullReading(found, skipped)

    async def some(self, keys: Collection[str]) -> Sequence[Account]:
        """Return accounts by ids of customers.

        Raises:
            SourceError: not all could be asked for.
        """
        as_of_s = self._clock.wall_s()
        found = []
        async with self._reading() as reading:
            for key in sorted(keys):
                answer = await reading.get(_CUSTOMERS + "/{}", ids=(key,), expected=(200, 404))
                if answer.json is None:
                    continue
                customer = self._customer(record_untrusted(answer.json, "customer"))
                if customer.deleted or not customer.subscriber:
                    continue
                invoices = await self._invoices(reading, key)
                found.append(await self._account(reading, customer, invoices, as_of_s, always=True))
        return found

    async def _account(
        self,
        reading: WebReading,
        customer: SplynxCustomer,
        invoices: Sequence[SplynxInvoice],
        as_of_s: float,
        *,
        always: bool = False,
    ) -> Account:
        """Return an account; ask for its deposit if anything of it is due."""
        last = today(as_of_s, self.zone) + _NEXT
        due = any(i.open is not None and (i.open.due is None or i.open.due <= last) for i in invoices)
        billing: SplynxBilling | None = None
        if always or due:
            answer = await reading.get("/admin/customers/customer-billing/{}", ids=(customer.key,))
            billing = accounts.billing_untrusted(answer.json)
        return accounts.account(customer, invoices, billing, self.source.currency, as_of_s)

    def _customer(self, record: Record) -> SplynxCustomer:
        return accounts.customer_untrusted(record, self.source.subscriber)

    async def _customers(self, reading: WebReading) -> Sequence[SplynxCustomer]:
        async def fetch(offset: int, most: int) -> Sequence[Record]:
            return records_untrusted((await reading.get(_CUSTOMERS, _page(offset, most))).json, "customer")

        rows = await whole_list(f"{self.name}: customers", fetch, self.source.web.page, self._customer)
        return list(rows.values())

    async def _invoices(self, reading: WebReading, customer: str = "") -> Sequence[SplynxInvoice]:
        """Read the unpaid invoices, of all customers or of one."""
        only = {"main_attributes[status]": NOT_PAID}
        if customer:
            only["main_attributes[customer_id]"] = customer

        async def fetch(offset: int, most: int) -> Sequence[Record]:
            query = {**only, **_page(offset, most)}
            return records_untrusted((await reading.get(_INVOICES, query)).json, "invoice")

        def read(record: Record) -> SplynxInvoice:
            return accounts.invoice_untrusted(record, self.zone)

        what, short = f"{self.name}: invoices", _FEW if customer else 0
        rows = await whole_list(what, fetch, self.source.web.page, read, short=short)
        return list(rows.values())

    # --- payments ---

    async def payments(self, since_s: float) -> Sequence[Payment]:
        """Return the payments since a moment, newest first by their ids, and those that were deleted since.

        Raises:
            SourceError: not all could be asked for.
        """
        async with self._reading() as reading:

            async def newest(offset: int, most: int) -> Sequence[Record]:
                answer = await reading.get(_PAYMENTS, _page(offset, most, "DESC"))
                return records_untrusted(answer.json, "payment")

            return await self._paid.read(newest, self._payment, self._look_up(reading), since_s)

    async def some_payments(self, ids: Collection[str]) -> Sequence[Payment]:
        """Return payments by their ids; one that is not there is as it was read before, or left out.

        Raises:
            SourceError: not all could be asked for.
        """
        async with self._reading() as reading:
            look_up = self._look_up(reading)
            found = [await self._paid.one(look_up, key) for key in sorted(ids)]
        return [payment for payment in found if payment is not None]

    def _look_up(self, reading: WebReading) -> LookUp:
        async def look_up(key: str) -> Payment | None:
            answer = await reading.get(_PAYMENTS + "/{}", ids=(key,), expected=(200, 404))
            return None if answer.json is None else self._payment(record_untrusted(answer.json, "payment"))

        return look_up

    def _payment(self, record: Record) -> Payment:
        subscriber = self._subscribers.get(record.id_or_none("customer_id"), "")
        source = self.source
        return accounts.payment_untrusted(record, self.zone, source.currency, source.provider_reference, subscriber)

    # --- what the key may do ---

    async def rights(self) -> Sequence[str]:
        """Return the facts on the API key, a sentence each.

        Raises:
            SourceError: it could not be asked.
        """
        async with self._reading() as reading:
            for path in (_CUSTOMERS, _INVOICES, _PAYMENTS):
                await reading.get(path, _page(0, 1))
        return (
            "Splynx answers; customers, invoices and payments can be read.",
            "Splynx does not tell whether an API key may write: give it view rights alone.",
            f"Its days are counted in {self.zone}; its API does not tell its own zone.",
        )


def _page(offset: int, most: int, direction: str = "ASC") -> Mapping[str, str]:
    return {"order[id]": direction, "limit": str(most), "offset": str(offset)}
