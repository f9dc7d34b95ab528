"""The ledger: accounts, payments and webhooks as billing sources told them, and how far each source counts now.

* A source has one name over all connectors. `FILE` is the file that `[billing]` names, `BY_HAND` are lists that people
  import; no connector may have these names.
* An account is kept as it was told last. Readings end in any order: of two words on one account the one of the later
  moment stands, unless that moment lies in the future.
* A payment is kept once for each source and id. A reversed one stays reversed; a settled one is never pending again.
* The ledger does not decide on suspensions or restores: `agent.services.verbs` does.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import When
from agent.billing_model.errors import BillingState
from agent.billing_model.hooks import Heard
from agent.model import ReasonChange, SuspensionReason
from agent.store.db import Tx
from agent.store.log_store import Entry, Sealed
from agent.store.stored import members, reads_row_of
from trust.leaf import LeafKind

FILE: Final = "file"
"""The source that is the file of `[billing]`."""
BY_HAND: Final = "import"
"""The source that is a list which a person imported: evidence for no standing authority."""
CLOCK_SLACK_S: Final = 300
"""How far a source's clock may run before ours. Chosen arbitrarily."""
HEARD_KEPT_S: Final = 40 * 86_400
"""How long a webhook that was dealt with is known, so that it counts once. Senders repeat for three days at most."""
BY_SOURCE: Final = "source"
"""`matched_by` of a payment with the subscriber named by the source itself."""

Query = Callable[[str, Sequence[object]], Sequence[sqlite3.Row]]
"""Returns all rows of a query: `Tx.all` inside a command, `Store.query` outside of one."""


@dataclass(frozen=True, slots=True)
class KeptAccount:
    """An account as the ledger holds it.

    `read_s`: the latest moment of which the source's word can be, unix seconds: when it was read; of a file, when the
    file was exported. `author`: the person that imported it by hand, "" for all other sources.
    """

    source: str
    account: Account
    read_s: float
    author: str = ""


@dataclass(frozen=True, slots=True)
class KeptPayment:
    """A payment as the ledger holds it.

    `learned_s`: when the agent first heard of it. `settled_s`: when the agent first heard that it is settled; 0: never.
    Both are unix seconds. Of a payment from before the agent knew its source neither is later than the payment
    itself: a first reading tells nothing new. One that was heard of after a suspension for debt is settled no earlier
    than the look at the account before that, whatever our clock was set to since. `subscriber`: the payer, "" while it
    is not matched. `matched_by`: `BY_SOURCE`, a rule of matching, or a person's handle; "" while it is not matched.
    """

    source: str
    payment: Payment
    learned_s: float
    settled_s: float
    subscriber: str
    matched_by: str


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How far a source counts.

    `detail`: for people, without data of any subscriber. `since_s`: since when it is in this state. `read_s`: when the
    last whole reading began; 0: never. `tried_s`: when it was tried last. `accounts`, `overdue`: how many accounts, and
    how many overdue ones, that reading held. Moments are unix seconds.
    """

    source: str
    state: BillingState
    detail: str
    since_s: float
    read_s: float
    tried_s: float
    accounts: int = 0
    overdue: int = 0


@dataclass(frozen=True, slots=True)
class OpenHeard:
    """A webhook that was answered and is not dealt with yet. `at_s`: when it came, unix seconds."""

    source: str
    heard: Heard
    at_s: float


# --- queries ----------------------------------------------------------------------------------------------------------


def account_of(query: Query, source: str, subscriber: str) -> KeptAccount | None:
    """Return a subscriber's account in a source; None: it has none, or several, of which none can be told to be it."""
    rows = query("SELECT * FROM account WHERE source = ? AND subscriber = ?", (source, subscriber))
    return _account(rows[0]) if len(rows) == 1 and subscriber else None


def accounts(query: Query, source: str) -> dict[str, KeptAccount]:
    """Return all accounts of a source by the source's own key."""
    return {r["key"]: _account(r) for r in query("SELECT * FROM account WHERE source = ? ORDER BY key", (source,))}


def by_subscriber(query: Query, source: str) -> dict[str, KeptAccount]:
    """Return the accounts of a source by subscriber, without those that share one, or have none."""
    found: dict[str, list[KeptAccount]] = {}
    for kept in accounts(query, source).values():
        found.setdefault(kept.account.subscriber, []).append(kept)
    return {subscriber: kept[0] for subscriber, kept in found.items() if subscriber and len(kept) == 1}


def strangers(query: Query, source: str) -> list[str]:
    """Return the names that a source's accounts have and no service's subscriber has, by name."""
    rows = query(
        "SELECT DISTINCT subscriber FROM account WHERE source = ? AND subscriber <> ''"
        " AND subscriber NOT IN (SELECT subscriber FROM service) ORDER BY subscriber",
        (source,),
    )
    return [r["subscriber"] for r in rows]


def doubled(query: Query, source: str) -> list[str]:
    """Return the subscribers that several accounts of a source name, by name: none of these accounts counts."""
    rows = query(
        "SELECT subscriber FROM account WHERE source = ? AND subscriber <> '' GROUP BY subscriber"
        " HAVING count(*) > 1 ORDER BY subscriber",
        (source,),
    )
    return [r["subscriber"] for r in rows]


def payments_of(query: Query, subscriber: str) -> list[KeptPayment]:
    """Return a subscriber's payments of all sources, the one that was heard of first at the front."""
    rows = query("SELECT * FROM payment WHERE subscriber = ? ORDER BY learned_s, source, id", (subscriber,))
    return [_payment(r) for r in rows] if subscriber else []


def payments_since(query: Query, since_s: float) -> dict[str, list[KeptPayment]]:
    """Return payments that were made, heard of or settled since a moment, or are pending, by subscriber."""
    rows = query(
        "SELECT * FROM payment WHERE subscriber <> '' AND (paid_last_s >= ? OR learned_s >= ? OR settled_s >= ? OR"
        " state = ?) ORDER BY learned_s, source, id",
        (since_s, since_s, since_s, PaymentState.PENDING.value),
    )
    found: dict[str, list[KeptPayment]] = {}
    for r in rows:
        found.setdefault(r["subscriber"], []).append(_payment(r))
    return found


def payment(query: Query, source: str, payment_id: str) -> KeptPayment | None:
    """Return one payment; None: it was never told of."""
    rows = query("SELECT * FROM payment WHERE source = ? AND id = ?", (source, payment_id))
    return _payment(rows[0]) if rows else None


def unmatched(query: Query) -> list[KeptPayment]:
    """Return the payments of all sources that are nobody's yet and were not taken back, the oldest first."""
    rows = query(
        "SELECT * FROM payment WHERE subscriber = '' AND state <> ? ORDER BY learned_s, source, id",
        (PaymentState.REVERSED.value,),
    )
    return [_payment(r) for r in rows]


def latest_payments(query: Query, most: int, *, lists: bool) -> list[KeptPayment]:
    """Return the payments that were heard of last, the latest first.

    Args:
        query: of the store.
        most: so many at most.
        lists: also those of imported lists and of the billing file, which tell of each subscriber's last payment.
    """
    told = "SELECT * FROM payment WHERE ? OR source NOT IN (?, ?) ORDER BY learned_s DESC, source, id LIMIT ?"
    return [_payment(r) for r in query(told, (lists, FILE, BY_HAND, most))]


def status(query: Query, source: str) -> SourceStatus:
    """Return how far a source counts; one that was never tried is `NEVER`."""
    rows = query("SELECT * FROM billing_source WHERE source = ?", (source,))
    if not rows:
        return SourceStatus(source, BillingState.NEVER, "", 0.0, 0.0, 0.0)
    r = rows[0]
    return SourceStatus(
        source,
        members(BillingState, "billing_source")[r["state"]],
        r["detail"],
        r["since_s"],
        r["read_s"],
        r["tried_s"],
        r["accounts"],
        r["overdue"],
    )


def heard_open(query: Query) -> list[OpenHeard]:
    """Return the webhooks of all sources that are not dealt with, the first to come first."""
    rows = query("SELECT * FROM heard WHERE done_s IS NULL ORDER BY at_s, rowid", ())
    return [OpenHeard(r["source"], _heard(r), r["at_s"]) for r in rows]


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordReading:
    """Replace all accounts of a source by a full reading that was whole, and note the source's state.

    A fact that was told by itself after the reading began stands, and so does an account that the reading does not have
    yet. `read_s` of each account is `status.read_s`. `sealed`: the record for the log; None: no event.
    """

    source: str
    accounts: Sequence[Account]
    status: SourceStatus
    sealed: Sealed | None = None

    def run(self, tx: Tx) -> None:
        """Replace them in one transaction."""
        _event(tx, self.sealed)
        found = [KeptAccount(self.source, a, self.status.read_s) for a in self.accounts]
        _began(tx, self.source)
        gone = accounts(tx.all, self.source).keys() - {a.key for a in self.accounts}
        _drop(tx, self.source, gone, self.status.read_s)
        write_accounts(tx, found)
        _write_status(tx, self.status)


@dataclass(frozen=True, slots=True)
class RecordSome:
    """Replace some accounts of a source, which were asked for by key; one that did not come is there no longer.

    `read_s`: when they were asked for, unix seconds.
    """

    source: str
    asked_keys: Collection[str]
    accounts: Sequence[Account]
    read_s: float
    sealed: Sealed | None = None

    def run(self, tx: Tx) -> None:
        """Replace them in one transaction."""
        _event(tx, self.sealed)
        _drop(tx, self.source, set(self.asked_keys) - {a.key for a in self.accounts}, self.read_s)
        write_accounts(tx, [KeptAccount(self.source, a, self.read_s) for a in self.accounts])


@dataclass(frozen=True, slots=True)
class RecordPayments:
    """Keep the payments that a source told of."""

    source: str
    payments: Sequence[Payment]
    sealed: Sealed | None = None

    def run(self, tx: Tx) -> list[KeptPayment]:
        """Return those that are new or changed, as they are kept now."""
        return write_payments(tx, self.source, self.payments, self.sealed)


@dataclass(frozen=True, slots=True)
class RecordFile:
    """Store the accounts and payments of the billing file, which may hold some of the subscribers only.

    `author`: a person that can write the file and may ask for changes; "": nobody. Its payments are then as if imported
    by hand.
    """

    accounts: Sequence[KeptAccount]
    payments: Sequence[Payment]
    author: str
    status: SourceStatus
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        """Store them in one transaction."""
        _event(tx, self.sealed)
        write_accounts(tx, self.accounts)
        write_payments(tx, BY_HAND if self.author else FILE, self.payments)
        _write_status(tx, self.status)


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Store the state of a source. `since_s` counts where the state is another one than before."""

    status: SourceStatus

    def run(self, tx: Tx) -> None:
        _write_status(tx, self.status)


@dataclass(frozen=True, slots=True)
class MatchPayment:
    """Name the payer of a payment. `by`: a person's handle, or the name of a rule of matching."""

    source: str
    id: str
    subscriber: str
    by: str
    sealed: Sealed | None = None

    def run(self, tx: Tx) -> KeptPayment | None:
        """Return the payment as it is kept now; None: there is no such payment, and nothing was written."""
        if payment(tx.all, self.source, self.id) is None:
            return None
        _event(tx, self.sealed)
        tx.run(
            "UPDATE payment SET subscriber = ?, matched_by = ?, settled_s = iif(settled_s > 0, max(settled_s, ?), 0)"
            " WHERE source = ? AND id = ?",
            (self.subscriber, self.by, _look_ahead_s(tx, self.subscriber), self.source, self.id),
        )
        return payment(tx.all, self.source, self.id)


@dataclass(frozen=True, slots=True)
class KeepHeard:
    """Keep a verified webhook before it is answered."""

    source: str
    event_id: str
    heard: Heard

    def run(self, tx: Tx) -> bool:
        """Return whether it is new; one that comes again changes nothing."""
        if tx.one("SELECT 1 FROM heard WHERE source = ? AND event_id = ?", (self.source, self.event_id)):
            return False
        heard = self.heard
        told = None if heard.payment is None else _payment_text(heard.payment)
        tx.run(
            "INSERT INTO heard (source, event_id, at_s, kind, accounts, payment_ids, payment, test) VALUES"
            " (?,?,?,?,?,?,?,?)",
            (
                self.source,
                self.event_id,
                tx.now_s,
                heard.kind,
                _list_text(heard.accounts),
                _list_text(heard.payment_ids),
                told,
                heard.test,
            ),
        )
        return True


@dataclass(frozen=True, slots=True)
class HeardDone:
    """Note that webhooks were dealt with: the facts that they rang for were read, and are durable.

    `paid`: stores the payments that were looked up for them, in the same commit.
    """

    source: str
    event_ids: Collection[str]
    paid: RecordPayments | None = None

    def run(self, tx: Tx) -> list[KeptPayment]:
        """Delete old entries as well; return the payments that are new or changed.

        The content of a payment's body is forgotten at once.
        """
        tx.many(
            "UPDATE heard SET done_s = ?, payment = NULL WHERE source = ? AND event_id = ? AND done_s IS NULL",
            [(tx.now_s, self.source, event_id) for event_id in self.event_ids],
        )
        tx.run("DELETE FROM heard WHERE done_s < ?", (tx.now_s - HEARD_KEPT_S,))
        return [] if self.paid is None else self.paid.run(tx)


# --- rows -------------------------------------------------------------------------------------------------------------


def write_accounts(tx: Tx, found: Iterable[KeptAccount]) -> None:
    """Store accounts, unless the kept word on one is of a later moment that does not lie in the future."""
    rows = [k for k in found if not _stands(tx, k.source, k.account.key, k.read_s)]
    columns = (
        "source, key, subscriber, currency, balance, invoices, as_of_s, credit, promise_until, hold_until_s, exempt,"
        " own_grace_days, own_minimum, read_s, author"
    )
    tx.many(
        f"INSERT OR REPLACE INTO account ({columns}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608  only names
        [_account_row(k) for k in rows],
    )


def write_payments(tx: Tx, source: str, told: Sequence[Payment], sealed: Sealed | None = None) -> list[KeptPayment]:
    """Keep payments; return those that are new or changed. Nothing is logged where nothing is."""
    began_s = _began(tx, source)
    known = {p.id: payment(tx.all, source, p.id) for p in told}
    changed: dict[str, KeptPayment] = {}
    for one in told:
        before = known[one.id]
        payer = one.subscriber or ("" if before is None else before.subscriber)
        known_s = 0.0 if before is None else before.settled_s
        settled_s = known_s or max(tx.now_s, _look_ahead_s(tx, payer))
        now = _heard_of(source, one, tx.now_s, settled_s, began_s) if before is None else _again(before, one, settled_s)
        if now != before:
            known[one.id] = changed[one.id] = now
    if changed:
        _event(tx, sealed)
    tx.many(
        "INSERT OR REPLACE INTO payment (source, id, told, provider_reference, state, learned_s, settled_s, subscriber,"
        " matched_by, paid_last_s) VALUES (?,?,?,?,?,?,?,?,?,?)",
        [
            (
                k.source,
                k.payment.id,
                _payment_text(k.payment),
                k.payment.provider_reference,
                k.payment.state.value,
                k.learned_s,
                k.settled_s,
                k.subscriber,
                k.matched_by,
                k.payment.paid.last_s,
            )
            for k in changed.values()
        ],
    )
    return list(changed.values())


def _began(tx: Tx, source: str) -> float:
    """Return since when the agent knows a source: from now on, where it is new."""
    tx.run("INSERT OR IGNORE INTO source_began (source, at_s) VALUES (?,?)", (source, tx.now_s))
    return float(tx.all("SELECT at_s FROM source_began WHERE source = ?", (source,))[0]["at_s"])


def _look_ahead_s(tx: Tx, subscriber: str) -> float:
    """Return the last look at an account before a suspension for debt that our clock says is still to come; 0: none.

    It was set back since. A payment that is heard of now was not known then, and counts as heard of at that look. One
    that is under way has looked too: its reason is recorded at its end.
    """
    if not subscriber:
        return 0.0
    (row,) = tx.all(_LOOKED, (subscriber, subscriber, _SUSPENDS))
    return float(row["at_s"]) if row["at_s"] is not None and row["at_s"] > tx.now_s else 0.0


_SUSPENDS: Final = str(ReasonChange(SuspensionReason.DEBT, added=True))
_LOOKED: Final = """
SELECT max(at_s) AS at_s FROM (
    SELECT coalesce(r.looked_s, e.at_s) AS at_s
    FROM service s JOIN reason r ON r.service = s.ref AND r.reason = 'debt' JOIN event e ON e.seq = r.seq
    WHERE s.subscriber = ?
    UNION ALL SELECT max(e.at_s, coalesce((
        SELECT max(a.at_s) FROM step t JOIN event a ON a.seq = t.about_seq WHERE t.plan_id = i.plan_id AND t.item = i.n
    ), 0))
    FROM service s JOIN item i ON i.service = s.ref AND i.state IN ('running', 'unknown')
    JOIN plan p USING (plan_id) JOIN event e ON e.seq = i.state_seq
    WHERE s.subscriber = ? AND p.reason = ?
)
"""
"""A revert that suspends has the reason for that. Of an item without a step, its beginning was the look."""


def _heard_of(source: str, told: Payment, now_s: float, settled_s: float, began_s: float) -> KeptPayment:
    """Return a payment that is new. `settled_s`: when it counts as settled, if it is and is news."""
    is_news = told.paid.last_s >= began_s
    learned_s = now_s if is_news else told.paid.last_s
    known_s = settled_s if is_news else learned_s
    settled_s = known_s if told.state is PaymentState.SETTLED else 0.0
    return KeptPayment(source, told, learned_s, settled_s, told.subscriber, BY_SOURCE if told.subscriber else "")


def _again(before: KeptPayment, told: Payment, settled_s: float) -> KeptPayment:
    """Return a kept payment with its source's present facts on it. `settled_s`: when it counts as settled, if anew."""
    was = before.payment.state
    back = was is PaymentState.REVERSED or (was is PaymentState.SETTLED and told.state is PaymentState.PENDING)
    state = was if back else told.state
    settled_s = before.settled_s or (settled_s if state is PaymentState.SETTLED else 0.0)
    now = replace(before, payment=replace(told, state=state), settled_s=settled_s)
    return replace(now, subscriber=told.subscriber, matched_by=BY_SOURCE) if told.subscriber else now


def _stands(tx: Tx, source: str, key: str, read_s: float) -> bool:
    """Return whether the kept word on an account is later than one that was read at a moment.

    Only a file's clock may run before ours; of the others a moment that lies ahead is from before ours was set back.
    """
    kept = tx.one("SELECT as_of_s FROM account WHERE source = ? AND key = ?", (source, key))
    slack_s = CLOCK_SLACK_S if source in (FILE, BY_HAND) else 0
    return kept is not None and read_s < kept["as_of_s"] <= tx.now_s + slack_s


def _drop(tx: Tx, source: str, keys: Collection[str], read_s: float) -> None:
    left = [(source, key) for key in sorted(keys) if not _stands(tx, source, key, read_s)]
    tx.many("DELETE FROM account WHERE source = ? AND key = ?", left)


def _write_status(tx: Tx, now: SourceStatus) -> None:
    before = status(tx.all, now.source)
    since_s = before.since_s if before.state is now.state and before.tried_s else now.since_s
    tx.run(
        "INSERT OR REPLACE INTO billing_source (source, state, detail, since_s, read_s, tried_s, accounts, overdue)"
        " VALUES (?,?,?,?,?,?,?,?)",
        (now.source, now.state.value, now.detail, since_s, now.read_s, now.tried_s, now.accounts, now.overdue),
    )


def _event(tx: Tx, sealed: Sealed | None) -> None:
    if sealed is not None:
        tx.append(Entry(LeafKind.IMPORTED, sealed=sealed))


def _account_row(kept: KeptAccount) -> tuple[object, ...]:
    a = kept.account
    invoices = [[i.number, "" if i.due is None else i.due.isoformat(), str(i.unpaid)] for i in a.invoices]
    return (
        kept.source,
        a.key,
        a.subscriber,
        a.currency,
        str(a.balance),
        _text(invoices),
        a.as_of_s,
        str(a.credit),
        "" if a.promise_until is None else a.promise_until.isoformat(),
        a.hold_until_s,
        a.exempt,
        a.own_grace_days,
        None if a.own_minimum is None else str(a.own_minimum),
        kept.read_s,
        kept.author,
    )


@reads_row_of("account")
def _account(r: sqlite3.Row) -> KeptAccount:
    invoices = tuple(
        OpenInvoice(number, _day(due), Decimal(unpaid)) for number, due, unpaid in json.loads(r["invoices"])
    )
    account = Account(
        key=r["key"],
        subscriber=r["subscriber"],
        currency=r["currency"],
        balance=Decimal(r["balance"]),
        invoices=invoices,
        as_of_s=r["as_of_s"],
        credit=Decimal(r["credit"]),
        promise_until=_day(r["promise_until"]),
        hold_until_s=r["hold_until_s"],
        exempt=r["exempt"],
        own_grace_days=r["own_grace_days"],
        own_minimum=None if r["own_minimum"] is None else Decimal(r["own_minimum"]),
    )
    return KeptAccount(r["source"], account, r["read_s"], r["author"])


def _payment_text(p: Payment) -> str:
    paid = [p.paid.first_s, p.paid.last_s, p.paid.day.isoformat()]
    told = [p.id, p.account, p.subscriber, str(p.amount), p.currency, paid, p.state.value]
    return _text([*told, p.references, p.provider_reference])


def _read_payment(text: str) -> Payment:
    ident, account, subscriber, amount, currency, paid, state, references, provider = json.loads(text)
    when = When(paid[0], paid[1], date.fromisoformat(paid[2]))
    return Payment(
        ident, account, subscriber, Decimal(amount), currency, when, PaymentState(state), tuple(references), provider
    )


@reads_row_of("payment")
def _payment(r: sqlite3.Row) -> KeptPayment:
    return KeptPayment(
        r["source"], _read_payment(r["told"]), r["learned_s"], r["settled_s"], r["subscriber"], r["matched_by"]
    )


@reads_row_of("heard")
def _heard(r: sqlite3.Row) -> Heard:
    told = None if r["payment"] is None else _read_payment(r["payment"])
    keys, ids = (tuple(json.loads(r[name])) for name in ("accounts", "payment_ids"))
    return Heard(r["event_id"], r["kind"], keys, ids, told, test=bool(r["test"]))


def _list_text(listed: Sequence[str]) -> str:
    return _text(list(listed))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
