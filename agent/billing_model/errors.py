"""The errors of billing data.

* BillingError
  x MalformedAmountError: a text that is no amount of money, or has more digits than its currency (`money`)
  x MalformedDayError: a text that is no day and no moment (`days`)
  x MalformedRecordError: a record of a source that lacks a field, or has it in another form (`records`)
  x MalformedTableError: a column or a cell of a table that is not as expected (`tables`)
  x SourceError: a source could not be read whole; `state` says what that means (`source`)
    x SomePaymentsError: it tells some payments all the same, which count (`source`)
  x ForgedHookError: a webhook that its sender did not sign, or signed too long ago (`hooks`)
  x MalformedHookError: a webhook that its sender signed and that is not of the published form (`hooks`)
"""

from __future__ import annotations

import enum


class BillingError(Exception):
    """Any error of billing data."""


class MalformedAmountError(BillingError):
    """A text is no amount of money."""


class MalformedDayError(BillingError):
    """A text is no day and no moment."""


class MalformedRecordError(BillingError):
    """A record of a source lacks a field, or has it in another form than its description says."""


class MalformedTableError(BillingError):
    """A column or a cell of a table is not as expected. The message names it, and holds nothing of the data."""


class BillingState(enum.Enum):
    """How far a source's data may be used. Only FRESH permits a suspension; every other state is doubt."""

    FRESH = "fresh"
    STALE = "stale"
    """Older than the configured age."""
    PARTIAL = "partial"
    """Not all pages of a full reading agreed, or not all came."""
    SHRUNK = "shrunk"
    """Less than half as many accounts, or accounts overdue, as in the reading before."""
    SWOLLEN = "swollen"
    """More than twice as many accounts, or accounts overdue, as in the reading before."""
    EMPTY = "empty"
    """No account at all."""
    REFUSED = "refused"
    """The source refuses the credentials, or the right to read."""
    UNREACHABLE = "unreachable"
    """No whole answer came: no connection, a server error, a timeout, an answer of another form."""
    NEVER = "never"
    """It was never read."""


class SourceError(BillingError):
    """A source could not be read whole. Of accounts a partial reading is discarded; payments: see `SomePaymentsError`.

    `state`: PARTIAL, EMPTY, REFUSED or UNREACHABLE. The message names the source, the expected form and the actual one,
    and holds no data of any subscriber. `retry_after_s`: how long the source asked to be left alone; 0: it did not.
    """

    def __init__(self, message: str, *, state: BillingState, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.state = state
        self.retry_after_s = retry_after_s


class ForgedHookError(BillingError):
    """A webhook with a signature, token, sender address or time other than its sender's. It counts for nothing."""


class MalformedHookError(BillingError):
    """A webhook with a good signature that is not of the published form."""
