"""Routes of billing: the state of each source, accounts and payments, waiting restores, and decisions of people."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import trio

from agent.api.call import ApiCall, ApiParts, CallerRole, Route, number
from agent.billing import states
from agent.billing.source_reader import SourceReader
from agent.billing.states import ReadingSize
from agent.billing_model import days
from agent.billing_model.account import Account
from agent.billing_model.errors import SourceError
from agent.billing_model.source import TriesSource
from agent.connectors.base import Check, CheckResult
from agent.inventory import ledger
from agent.inventory.billing import billing_json
from agent.inventory.ledger import KeptPayment, MatchPayment
from agent.inventory.matching import MatchedBy, PaymentCase, case_of
from agent.reasons import HttpReason
from agent.runtime.errors import HttpError
from agent.runtime.http import Response
from agent.runtime.slices import InSlices
from agent.spelling import fold
from trust.moments import moment_json
from trust.policy import Role

SHOWN: Final = 3
"""Accounts that `check` shows."""
PAYMENTS: Final = 100
PAYMENTS_MOST: Final = 10_000
CHECK_S: Final = 60.0
NAME_BYTES: Final = 256


async def _billing(call: ApiCall) -> Response:
    """Return the sources and the waiting restores; services are named to viewers only."""
    p, sees = call.parts, call.may(CallerRole.VIEWER)
    queue, doubtful = p.paid.queue(), await p.paid.for_people()
    answer: dict[str, object] = {
        "authority": p.billing.rules.authority,
        "sources": sources(p),
        "unmatched": len(ledger.unmatched(p.store.query)),
        "waiting": len(queue),
        "for_people": len(doubtful),
    }
    if sees:
        answer["strangers"] = await _strangers(p)
        doubled = ledger.doubled(p.store.query, p.billing.rules.authority)
        answer["doubled"] = {"count": len(doubled), "some": doubled[:SHOWN]}
        answer["restores"] = [
            {"service": w.service, "since": moment_json(w.since_s), "change": w.change, "why": w.why} for w in queue
        ]
        answer["doubtful"] = [{"service": d.service, "why": d.why} for d in doubtful]
    return Response(200, answer)


async def _strangers(p: ApiParts) -> dict[str, object]:
    """Return the accounts of the authority that are no subscriber's of the inventory, and near names of some."""
    found = ledger.strangers(p.store.query, p.billing.rules.authority)
    known: dict[str, str] = {}
    if found:
        rows = p.store.query("SELECT DISTINCT subscriber FROM service ORDER BY subscriber", ())
        known = {fold(r["subscriber"]): r["subscriber"] async for r in InSlices(rows, 500)}
    near = {name: known[folded] for name in found if (folded := fold(name)) in known}
    some = list(near.items())[:SHOWN]
    return {"count": len(found), "near": [{"account": name, "subscriber": like} for name, like in some]}


def sources(p: ApiParts) -> list[dict[str, object]]:
    """Return the state and age of each source, for lists and the status."""
    found, now_s = [], p.clock.wall_s()
    for name in p.billing.names:
        status, judged, reader = ledger.status(p.store.query, name), p.billing.now(name), p.billing.readers.get(name)
        found.append(
            {
                "source": name,
                "target": "" if reader is None else reader.terms.target,
                "authority": name == p.billing.rules.authority,
                "state": judged.state.value,
                "detail": judged.detail,
                "since": moment_json(status.since_s),
                "read_at": moment_json(status.read_s),
                "age_s": int(now_s - status.read_s) if status.read_s else None,
                "accounts": status.accounts,
                "overdue": status.overdue,
                "payments_problem": "" if reader is None else reader.payments_problem,
            }
        )
    return found


async def _account(call: ApiCall) -> Response:
    p, subscriber = call.parts, call.values[0]
    query, now_s = p.store.query, p.clock.wall_s()
    kept = {name: ledger.account_of(query, name, subscriber) for name in p.billing.names}
    payments = ledger.payments_of(query, subscriber)
    if not payments and not any(kept.values()):
        raise HttpError(
            404, HttpReason.UNKNOWN_SUBSCRIBER, f"no source has an account or payment of {subscriber[:40]!a}"
        )
    answer = {
        "subscriber": subscriber,
        "doubt": p.billing.doubt(subscriber),
        "billing": billing_json(p.paid.billing.of(query, subscriber, now_s)),
        "accounts": [
            {"source": name, **account_json(k.account), "read_at": moment_json(k.read_s)}
            for name, k in kept.items()
            if k is not None
        ],
        "payments": [_payment(call, k) for k in payments],
    }
    return Response(200, answer)


def account_json(account: Account) -> dict[str, object]:
    """Return an account for programs, as it is understood."""
    due = account.oldest_due()
    return {
        "key": account.key,
        "subscriber": account.subscriber,
        "currency": account.currency,
        "balance": str(account.balance),
        "credit": str(account.credit),
        "oldest_due": None if due is None else due.isoformat(),
        "promise_until": None if account.promise_until is None else account.promise_until.isoformat(),
        "hold_until": moment_json(account.hold_until_s),
        "exempt": account.exempt,
        "invoices": [
            {"number": i.number, "due": None if i.due is None else i.due.isoformat(), "unpaid": str(i.unpaid)}
            for i in account.invoices
        ],
    }


def _payment(call: ApiCall, kept: KeptPayment) -> dict[str, object]:
    p, told = call.parts, kept.payment
    account = ledger.account_of(p.store.query, p.billing.rules.authority, kept.subscriber)
    today = days.today(p.clock.wall_s(), p.billing.ground.zone)
    owed = Decimal(0) if account is None else account.account.overdue(today)
    case = case_of(told, kept.subscriber, None if account is None else account.account, owed)
    return {
        "source": kept.source,
        "id": told.id,
        "subscriber": kept.subscriber,
        "matched_by": kept.matched_by,
        "amount": str(told.amount),
        "currency": told.currency,
        "paid": told.paid.day.isoformat(),
        "state": told.state.value,
        "case": case.value,
        "references": list(told.references),
        "provider_reference": told.provider_reference,
        "learned_at": moment_json(kept.learned_s),
    }


async def _payments(call: ApiCall) -> Response:
    """Return payments, the latest first; `unmatched=1`: those without a subscriber, each with the reason.

    Payments of lists and of the file are left out where sources tell payments, unless `all=1`.
    """
    p, q = call.parts, call.request.query
    limit = min(max(number(q.get("limit", str(PAYMENTS)), "limit"), 1), PAYMENTS_MOST)
    if q.get("unmatched") != "1":
        lists = q.get("all") == "1" or not p.billing.readers
        return Response(200, [_payment(call, k) for k in ledger.latest_payments(p.store.query, limit, lists=lists)])
    found = []
    for kept in ledger.unmatched(p.store.query)[:limit]:
        found.append(
            {**_payment(call, kept), "case": PaymentCase.UNMATCHED.value, "why": await p.billing.matcher.why(kept)}
        )
    return Response(200, found)


async def _match(call: ApiCall) -> Response:
    """Match a payment to a subscriber."""
    r = call.body()
    source, payment, subscriber = (r.text(name, NAME_BYTES) for name in ("source", "payment", "subscriber"))
    r.done()
    p, who = call.parts, known_person(call)
    _check_source(call, source)
    if not p.store.query("SELECT 1 FROM service WHERE subscriber = ?", (subscriber,)):
        raise HttpError(
            404, HttpReason.UNKNOWN_SUBSCRIBER, f"subscriber: expected one of the inventory, got {subscriber[:40]!a}"
        )
    before = ledger.payment(p.store.query, source, payment)
    if before is not None and before.matched_by == MatchedBy.SOURCE.value:
        raise HttpError(409, HttpReason.REFUSED, "payment: expected one that its source does not name the payer of")
    fields = {"what": "payment-matched", "source": source, "payment": payment, "by": who}
    command = MatchPayment(source, payment, subscriber, who, p.recorder.record(subscriber, fields))
    if (kept := await p.store.run(command)) is None:
        raise HttpError(404, HttpReason.UNKNOWN_PAYMENT, f"payment: expected one of {source}, got {payment[:40]!a}")
    p.billing.tell([kept])
    return Response(200, _payment(call, kept))


async def _accept(call: ApiCall) -> Response:
    """Have the size of a source's reading taken that is in question."""
    r = call.body()
    source = r.text("source", NAME_BYTES)
    r.done()
    p, who = call.parts, known_person(call)
    reader = _reader(call, source)
    before = p.billing.now(source)
    size = await p.billing.accept(source, who)
    if size is None:
        raise HttpError(
            409, HttpReason.REFUSED, f"{source} is {before.state.value}: only shrunk or swollen is accepted"
        )
    return Response(200, {"source": reader.name, "accounts": size.accounts, "overdue": size.overdue, "by": who})


async def _check(call: ApiCall) -> Response:
    """Try a source's credentials and rights; show some accounts as they would be understood. Nothing is stored."""
    r = call.body()
    source = r.text("source", NAME_BYTES)
    r.done()
    reader = _reader(call, source)
    problems: list[str] = []
    rights: Sequence[str] = ()
    accounts: Sequence[Account] = ()
    payments: int | None = None
    try:
        with trio.fail_after(CHECK_S):
            if isinstance(reader.teller, TriesSource):
                rights = await reader.teller.rights(reader.terms.target)
            accounts = await _sample(call, reader)
            if reader.payments_of is not None:
                now_s = call.parts.clock.wall_s()
                payments = len(await reader.payments_of.payments(reader.terms.target, now_s - 86_400))
    except trio.TooSlowError:
        problems.append(f"no whole answer within {CHECK_S:.0f} s")
    except SourceError as err:
        problems.append(f"{err.state.value}: {err}")
    answer = {
        "source": source,
        "target": reader.terms.target,
        "ok": not problems,
        "problems": problems,
        "rights": list(rights),
        "accounts": [account_json(account) for account in accounts],
        "payments_of_a_day": payments,
    }
    return Response(200, answer)


async def try_secret(p: ApiParts, name: str) -> list[Check]:
    """Return the result of using a secret at the billing sources that have it as their credential."""
    return [await _tried(p, reader) for reader in p.billing.readers.values() if reader.terms.secret == name]


async def _tried(p: ApiParts, reader: SourceReader) -> Check:
    """Ask a source for as little as proves its credential."""
    target, kept = reader.terms.target, list(ledger.accounts(p.store.query, reader.name))[:1]
    try:
        with trio.fail_after(CHECK_S):
            if isinstance(reader.teller, TriesSource):
                await reader.teller.rights(target)
            elif reader.payments_of is not None:
                await reader.payments_of.payments(target, p.clock.wall_s() - 3600)
            elif reader.accounts_of is not None and kept:
                await reader.accounts_of.some_accounts(target, kept)
            else:
                return Check(
                    target, "answer", CheckResult.NOT_CHECKED, f"ispagent billing check {reader.name} tries it"
                )
    except trio.TooSlowError:
        return Check(target, "answer", CheckResult.FAILS, f"no whole answer within {CHECK_S:.0f} s")
    except SourceError as err:
        return Check(target, "answer", CheckResult.FAILS, f"{err.state.value}: {err}")
    return Check(target, "answer", CheckResult.OK, "it takes the secret")


async def _sample(call: ApiCall, reader: SourceReader) -> Sequence[Account]:
    if reader.accounts_of is None:
        return []
    kept = list(ledger.accounts(call.parts.store.query, reader.name))[:SHOWN]
    if kept and (found := await reader.accounts_of.some_accounts(reader.terms.target, kept)):
        return found
    reading = await reader.accounts_of.accounts(reader.terms.target)
    if not reading.accounts:
        empty = states.of_reading(None, ReadingSize(0, 0), reading.skipped)
        raise SourceError(empty.detail, state=empty.state)
    return reading.accounts[:SHOWN]


def known_person(call: ApiCall) -> str:
    """Return the caller's handle.

    Raises:
        HttpError: the trust document does not know them, or as an auditor only.
    """
    person = call.person
    if person is None or set(person.roles) <= {Role.AUDITOR}:
        why = "only a person of the trust document may decide this, and no mere auditor: the log keeps the name"
        raise HttpError(403, HttpReason.ROLE, why)
    return person.handle


def _check_source(call: ApiCall, source: str) -> None:
    if source not in call.parts.billing.names:
        names = call.parts.billing.names
        expected = f"expected one of {', '.join(names)}" if names else "the configuration names no billing source"
        raise HttpError(404, HttpReason.UNKNOWN_SOURCE, f"source: {expected}, got {source[:40]!a}")


def _reader(call: ApiCall, source: str) -> SourceReader:
    _check_source(call, source)
    reader = call.parts.billing.readers.get(source)
    if reader is None:
        why = f"{source} is a file: ispagent subscriber import --dry-run FILE says how it is understood"
        raise HttpError(409, HttpReason.REFUSED, why)
    return reader


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/billing", CallerRole.OPERATOR, "", "sources, strangers, doubled, waiting restores", _billing),
    Route("GET", "/v1/billing/accounts/{subscriber}", CallerRole.VIEWER, "", "accounts and payments", _account),
    Route("GET", "/v1/billing/payments", CallerRole.VIEWER, "", "payments", _payments),
    Route("POST", "/v1/billing/check", CallerRole.VIEWER, "source", "rights, accounts", _check),
    Route("POST", "/v1/billing/match", CallerRole.VIEWER, "source, payment, subscriber", "the payment", _match),
    Route("POST", "/v1/billing/accept", CallerRole.OPERATOR, "source", "the size", _accept),
)
