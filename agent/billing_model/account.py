"""Accounts with their open invoices, and payments, as a billing source reports them.

* `subscriber` is the name that the inventory uses; "" where the source's field for it is empty. `key` is the source's
  own id of the account, by which the source is asked again.
* Invoices are those that really ask for money now: no drafts, no proforma, nothing void or uncollectible, and nothing
  that is paid. A source leaves the others out.
* Nothing here says whether anybody is to be cut off: that is the operator's rules, over these facts.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from agent.billing_model.days import When


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    """An invoice of which something is unpaid. `due` None: due when it was made. `unpaid` is above zero."""

    number: str
    due: date | None
    unpaid: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its source told it.

    `balance`: above zero: the subscriber owes that much in all; below: has credit. `credit`: paid and not attached to
    any invoice yet, zero or more. `promise_until`: last day of a promise to pay or of a hold, in which nobody is cut
    off. `hold_until_s`: end of a postponement, unix seconds; 0: none. `exempt`: why the source itself says that the
    account is never to be cut off; "": it does not. `own_grace_days`: the source's own delay for this account; None:
    it has none. `own_minimum`: the least sum for which the source itself would cut; None: it has none.
    `as_of_s`: the earliest moment of which all of this is surely true, unix seconds.
    """

    key: str
    subscriber: str
    currency: str
    balance: Decimal
    invoices: tuple[OpenInvoice, ...]
    as_of_s: float
    credit: Decimal = Decimal(0)
    promise_until: date | None = None
    hold_until_s: float = 0.0
    exempt: str = ""
    own_grace_days: int | None = None
    own_minimum: Decimal | None = None

    def overdue(self, today: date, grace_days: int = 0) -> Decimal:
        """Return the overdue sum: unpaid invoices past their due day and grace, less unattached credit.

        An invoice is overdue from the day after its due day (and its days of grace) on. The sum is never above the
        balance: where a source's invoices and balance disagree, the subscriber has the doubt.

        Args:
            today: the operator's day.
            grace_days: whole days after the due day, 0 or more.
        """
        late = sum((i.unpaid for i in self.invoices if i.due is None or (today - i.due).days > grace_days), Decimal(0))
        return max(min(late - self.credit, self.balance), Decimal(0))

    def oldest_due(self) -> date | None:
        """Return the earliest due day of its open invoices; None: none has one."""
        return min((i.due for i in self.invoices if i.due is not None), default=None)


class PaymentState(enum.Enum):
    """How far a payment counts."""

    PENDING = "pending"
    SETTLED = "settled"
    REVERSED = "reversed"
    """Taken back, refunded, or deleted: it never counts again."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as its source told it.

    `id`: the source's own, by which one that comes again is known. `account`: the source's id of the account; "": the
    source does not know. `subscriber`: as in `Account`; "": not known. `references`: texts by which it may be
    matched and told from others: the payer's own words, invoice numbers, the provider's reference.
    `provider_reference`: the id of the payment at the provider that took it, by which two sources that tell of one
    payment are brought together; "": none.
    """

    id: str
    account: str
    subscriber: str
    amount: Decimal
    currency: str
    paid: When
    state: PaymentState
    references: tuple[str, ...] = ()
    provider_reference: str = ""


@dataclass(frozen=True, slots=True)
class FullReading:
    """A full reading of a source, whole: every account once. `skipped`: accounts without a name of a subscriber."""

    accounts: Sequence[Account]
    skipped: int = 0
