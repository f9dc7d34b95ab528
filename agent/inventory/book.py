"""The inventory in the database: services with the reasons that suspend them, and billing facts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.inventory import authorship
from agent.inventory.authorship import Authorship
from agent.inventory.facts import (
    BY_HAND,
    CONFIGURED,
    BillingFact,
    describe,
    earliest,
    fact_address,
    in_future,
    latest,
    owes,
)
from agent.inventory.merge import EXTRA, MergeResult
from agent.inventory.subscribers_csv import SubscriberRow
from agent.model import (
    ENTRY_FIELDS,
    Address,
    DesiredChange,
    EntryChange,
    EntryFieldChange,
    Item,
    ReasonChange,
    Requirement,
    Service,
    SuspensionReason,
    TariffChange,
)
from agent.spelling import search_key
from agent.store.db import Tx
from agent.store.log_store import Entry, Sealed
from trust.leaf import LeafKind

OWES = "owes"
AS_PREVIEWED = "as-previewed"
AS_READ = "as-read"
"""A resource that the item does not write still reads as in the preview: the engine reads it again."""
PAID = "paid"
"""The subscriber paid since it was suspended for debt: a restore of many, without office hours, rests on it."""
OF_SUBJECTS: Final = frozenset({OWES, AS_PREVIEWED, PAID})
"""Requirements on the service and its subscriber; the others are on the device that is changed."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A fact that an item requires no longer holds. `stale`: what it is about changed, so nothing may be said of it."""

    why: str
    stale: bool = False


Query = Callable[[str, Sequence[object]], Sequence[sqlite3.Row]]
"""Returns all rows of a query: `Tx.all` inside a command, `Store.query` outside of one."""
RequirementTest = Callable[[Tx, Item, Requirement, bool], Broken | None]
"""Returns why a requirement of an item no longer holds, or None: (transaction, item, requirement, begun).

`begun`: the item's run has begun, so the facts that it records may be recorded already.
"""


def services(reader: sqlite3.Connection) -> dict[str, Service]:
    """Return every service by its ref, with the reasons that are recorded for it."""
    reasons: dict[str, set[SuspensionReason]] = {}
    for r in reader.execute("SELECT service, reason FROM reason"):
        reasons.setdefault(r["service"], set()).add(SuspensionReason(r["reason"]))
    rows = reader.execute("SELECT * FROM service ORDER BY ref")
    return {r["ref"]: read_service(r, frozenset(reasons.get(r["ref"], ()))) for r in rows}


def some_services(reader: sqlite3.Connection, refs: Sequence[str]) -> dict[str, Service]:
    """Return the services out of `refs` that there are, with the reasons that are recorded for them."""
    services = {ref: _service(lambda sql, args: reader.execute(sql, args).fetchall(), ref) for ref in refs}
    return {ref: service for ref, service in services.items() if service is not None}


def count_services(reader: sqlite3.Connection) -> int:
    """Return the number of services."""
    return int(reader.execute("SELECT count(*) FROM service").fetchone()[0])


def read_service(row: sqlite3.Row, reasons: frozenset[SuspensionReason]) -> Service:
    """Return a row of the `service` table, with the reasons that are recorded for it."""
    return Service(
        ref=row["ref"],
        subscriber=row["subscriber"],
        name=row["name"],
        service=row["service"],
        login=row["login"],
        method=row["method"],
        tariff=row["tariff"],
        protected=row["protected"],
        feeds=row["feeds"],
        reasons=reasons,
        extra=json.loads(row["extra"]) or None,
    )


def read_fact(row: sqlite3.Row) -> BillingFact:
    """Return a row of the `fact` table, or of a query that has its columns."""
    names = ("subscriber", "balance", "due", "paid_at", "as_of", "source", "author")
    return BillingFact(*(row[name] for name in names))


def facts(reader: sqlite3.Connection) -> dict[str, BillingFact]:
    """Return every billing fact by subscriber."""
    return {r["subscriber"]: read_fact(r) for r in reader.execute("SELECT * FROM fact")}


def some_facts(reader: sqlite3.Connection, subscribers: Iterable[str]) -> dict[str, BillingFact]:
    """Return the billing facts of some subscribers, by subscriber."""
    query = "SELECT * FROM fact WHERE subscriber = ?"
    rows = [reader.execute(query, (subscriber,)).fetchone() for subscriber in dict.fromkeys(subscribers)]
    return {row["subscriber"]: read_fact(row) for row in rows if row is not None}


def inventory_address(ref: str) -> Address:
    """Return the address of a service's inventory entry, as requirements and locks name it."""
    return Address(f"inventory/{ref}")


def previewed_text(service: Service) -> str:
    """Return what a plan rests on of a service's entry; compared with the entry at each about-to."""
    reasons = ", ".join(sorted(service.reasons)) or "nothing"
    protected = " · ".join(filter(None, (service.protected, f"feeds {service.feeds}" if service.feeds else "")))
    return (
        f"login {service.login} · {service.method} · {service.tariff} · suspended for {reasons}"
        f"{f' · protected: {protected}' if protected else ''}"
    )


NOT_THERE: Final = "not in the inventory"


def not_there(ref: str) -> Requirement:
    """Return the requirement that the inventory still has no such service."""
    return Requirement(inventory_address(ref), AS_PREVIEWED, NOT_THERE)


def as_previewed(service: Service) -> Requirement:
    """Return the requirement that a service's entry still is what the preview rested on."""
    return Requirement(inventory_address(service.ref), AS_PREVIEWED, previewed_text(service))


def _service(query: Query, ref: str) -> Service | None:
    found = query(
        "SELECT *, (SELECT group_concat(reason) FROM reason r WHERE r.service = s.ref) AS reasons"
        " FROM service s WHERE ref = ?",
        (ref,),
    )
    if not found:
        return None
    reasons = filter(None, (found[0]["reasons"] or "").split(","))
    return read_service(found[0], frozenset(map(SuspensionReason, reasons)))


def with_desired(service: Service, desired: tuple[DesiredChange, ...]) -> Service:
    """Return the service as recording `desired` leaves it."""
    for change in desired:
        match change:
            case TariffChange():
                service = replace(service, tariff=change.after)
            case EntryFieldChange(name, _, after):
                service = _with_field(service, name, after)
            case ReasonChange():
                left = service.reasons - {change.reason}
                service = replace(service, reasons=left | {change.reason} if change.added else left)
            case EntryChange():
                pass  # whether there is an entry, not a field of it
    return service


def field_text(service: Service, name: str) -> str:
    """Return a field out of `ENTRY_FIELDS` as changes hold it; "": it has none."""
    value = getattr(service, name)
    return str(value) if value else ""


def _with_field(service: Service, name: str, text: str) -> Service:
    match name:
        case "login":
            return replace(service, login=text)
        case "method":
            return replace(service, method=text)
        case "protected":
            return replace(service, protected=text)
        case _:  # feeds
            return replace(service, feeds=int(text or 0))


def field_changes(now: Service, wanted: Service) -> tuple[EntryFieldChange, ...]:
    """Return the changes that give a service the fields of another that decide whom a change reaches."""
    texts = ((name, field_text(now, name), field_text(wanted, name)) for name in ENTRY_FIELDS)
    return tuple(EntryFieldChange(*text) for text in texts if text[1] != text[2])


def entry_text(service: Service) -> str:
    """Return all that is known of a service but its reasons, as JSON: it can be put back from that."""
    fields = ("subscriber", "name", "service", "login", "method", "tariff", "protected", "feeds")
    entry = {
        "ref": service.ref,
        **{name: getattr(service, name) for name in fields},
        "extra": dict(service.extra or {}),
    }
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))


def read_entry(text: str) -> Service:
    """Return the service of a text of `entry_text`, without reasons."""
    fields = json.loads(text)
    return Service(**{**fields, "extra": fields["extra"] or None})


def record_desired(tx: Tx, ref: str, change: DesiredChange, plan_id: bytes, seq: int) -> None:
    """Record one change of a service in the inventory. `seq`: the event that says so."""
    match change:
        case TariffChange():
            tx.run("UPDATE service SET tariff = ? WHERE ref = ?", (change.after, ref))
        case EntryFieldChange(name, before, after):
            if (service := _service(tx.all, ref)) is not None:
                write_services(tx, [_with_field(service, name, after)])
                _note_author(tx, ref, name, before, plan_id)
        case EntryChange(entry, added):
            if added:
                write_services(tx, [read_entry(entry)])
                _note_author(tx, ref, authorship.ENTRY, "", plan_id)
            else:
                tx.run("DELETE FROM service WHERE ref = ?", (ref,))
                tx.run("DELETE FROM authorship WHERE ref = ?", (ref,))
        case ReasonChange(reason, added):
            if added:
                tx.run(
                    "INSERT OR REPLACE INTO reason (service, reason, plan_id, seq) VALUES (?,?,?,?)",
                    (ref, reason.value, plan_id, seq),
                )
            else:
                tx.run("DELETE FROM reason WHERE service = ? AND reason = ?", (ref, reason.value))


def _note_author(tx: Tx, ref: str, field: str, before: str, plan_id: bytes) -> None:
    """Note that a plan's requester changed a field of a service's entry, through that plan."""
    via = tx.one("SELECT requester, short FROM plan WHERE plan_id = ?", (plan_id,))
    by, how = ("", "") if via is None else (via["requester"], f"change {via['short']}")
    authorship.note(tx, [Authorship(ref, field, before, by, how, int(tx.now_s))])


def requirement_tests(doubt: Callable[[str], str]) -> Mapping[str, RequirementTest]:
    """Return the tests of requirements on services and subscribers, by their names.

    `doubt` says why nothing may be concluded of a subscriber's billing data now ("": it may).
    """

    def owing(tx: Tx, _item: Item, requirement: Requirement, _begun: bool) -> Broken | None:
        why = _not_owing(tx, requirement.address.removeprefix(fact_address("")), doubt)
        return None if why is None else Broken(why)

    def as_it_was(tx: Tx, item: Item, requirement: Requirement, begun: bool) -> Broken | None:
        why = _changed_since(tx, item, requirement.shown, begun=begun)
        return None if why is None else Broken(why)

    return {OWES: owing, AS_PREVIEWED: as_it_was, AS_READ: lambda _tx, _item, _requirement, _begun: None}


def unmet(tx: Tx, item: Item, begun: bool, tests: Mapping[str, RequirementTest]) -> Broken | None:
    """Return why the first requirement of an item that no longer holds does not, or None; read in `tx`.

    A requirement that no test knows counts as broken: an older version must not run a newer version's plan.
    """
    for requirement in item.requires:
        if (test := tests.get(requirement.test)) is None:
            return Broken(f"requires {requirement.test}, which this version cannot check")
        if (broken := test(tx, item, requirement, begun)) is not None:
            return broken
    return None


def _not_owing(tx: Tx, subscriber: str, doubt: Callable[[str], str]) -> str | None:
    if why := doubt(subscriber):
        return why
    row = tx.one("SELECT * FROM fact WHERE subscriber = ?", (subscriber,))
    if row is None:
        return "its billing data is gone"
    return None if owes(read_fact(row), tx.now_s) else f"no longer owes: {describe(read_fact(row))}"


def _changed_since(tx: Tx, item: Item, shown: str, *, begun: bool) -> str | None:
    service = _service(tx.all, item.subject or "")
    if service is None:
        return None if shown == NOT_THERE else "it is no longer in the inventory"
    if shown == NOT_THERE:
        return "it is in the inventory again"
    now = previewed_text(service)
    if now == shown:
        return None
    if begun and previewed_text(with_desired(service, opposite(item.desired))) == shown:
        return None
    return f"its entry changed since the preview: was {shown}; now {now}"


def opposite(desired: tuple[DesiredChange, ...]) -> tuple[DesiredChange, ...]:
    """Return the changes that take a record of desired state back."""
    return tuple(change.inverse() for change in desired)


def stands(query: Query, ref: str, desired: tuple[DesiredChange, ...]) -> bool:
    """Return whether what an item recorded of a service is still recorded. `query`: in a command or outside of one."""
    service = _service(query, ref)
    if any(isinstance(change, EntryChange) and not change.added for change in desired):
        return service is None
    return service is not None and with_desired(service, desired) == service


def service_json(service: Service) -> dict[str, object]:
    """Return a service for the API."""
    return {
        "ref": service.ref,
        "subscriber": service.subscriber,
        "name": service.name,
        "service": service.service,
        "login": service.login,
        "method": service.method,
        "tariff": service.tariff,
        "protected": service.protected,
        "feeds": service.feeds,
        "suspended_for": sorted(service.reasons),
        "extra": dict(service.extra or {}),
    }


def fact_json(fact: BillingFact | None, now_s: float | None = None) -> dict[str, object] | None:
    """Return a billing fact for the API. `now_s`: unix seconds, with which one that lies in the future owes nothing."""
    if fact is None:
        return None
    return {
        "balance": fact.balance,
        "due": fact.due,
        "paid_at": fact.paid_at,
        "as_of": fact.as_of,
        "source": fact.source,
        "author": fact.author,
        "owes": owes(fact, now_s),
        "text": describe(fact),
    }


@dataclass(frozen=True, slots=True)
class ImportServices:
    """Store merged services and the facts of the same file; what the file leaves out stays.

    `who`: the person who imported it. `configured`: the configuration names a billing system, whose facts a file that
    is imported by hand does not replace.
    """

    merged: MergeResult
    rows: tuple[SubscriberRow, ...]
    sealed: Sealed
    who: str
    configured: bool

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        seq = tx.append(Entry(LeafKind.IMPORTED, sealed=self.sealed))
        write_services(tx, self.merged.to_write)
        authorship.note(
            tx, [Authorship(*change, self.who, authorship.IMPORT, int(tx.now_s)) for change in self._changes()]
        )
        found = [replace(r.fact, source=BY_HAND, author=self.who) for r in self.rows if r.fact is not None]
        write_facts(tx, found, keep=CONFIGURED if self.configured else "")
        return seq

    def _changes(self) -> Iterator[tuple[str, str, str]]:
        """Yield (service, field, earlier value) of each change; further columns decide nothing."""
        for service in self.merged.added:
            yield service.ref, authorship.ENTRY, ""
        for changed in self.merged.changed:
            for one in changed.fields:
                if not one.field.startswith(EXTRA):
                    yield changed.service.ref, one.field, one.before


def write_services(tx: Tx, found: Sequence[Service]) -> None:
    """Store services, new or changed, with the keys by which they are found; their reasons are not touched."""
    tx.many(
        "INSERT OR REPLACE INTO service"
        " (ref, subscriber, name, service, login, method, tariff, protected, feeds, extra)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        [
            (
                s.ref,
                s.subscriber,
                s.name,
                s.service,
                s.login,
                s.method,
                s.tariff,
                s.protected,
                s.feeds,
                json.dumps(dict(s.extra or {}), ensure_ascii=False),
            )
            for s in found
        ],
    )
    keys = [(s.ref, search_key(s)) for s in found]
    tx.many("INSERT OR REPLACE INTO service_key (ref, keys) VALUES (?,?)", keys)


@dataclass(frozen=True, slots=True)
class WriteKeys:
    """Write the keys of the services that have none, as those of an older database."""

    def run(self, tx: Tx) -> int:
        """Return how many there were."""
        missing = tx.all("SELECT * FROM service WHERE ref NOT IN (SELECT ref FROM service_key)")
        write_services(tx, [read_service(row, frozenset()) for row in missing])
        return len(missing)


@dataclass(frozen=True, slots=True)
class RefreshFacts:
    """Store the facts of a billing file that changed; services are not touched. Each fact says its source."""

    facts: tuple[BillingFact, ...]
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        seq = tx.append(Entry(LeafKind.IMPORTED, sealed=self.sealed))
        write_facts(tx, self.facts)
        return seq


def write_facts(tx: Tx, found: Sequence[BillingFact], keep: str = "") -> None:
    """Store facts, replacing those of the same subscribers unless what is kept was exported later.

    Files arrive in any order: an older one must not undo a newer payment. Of two that may be of the same moment the one
    that was read later stands. What lies in the future keeps nothing out. A fact of the configured source replaces one
    of another source, however late that one says that it was exported.

    Args:
        tx: the transaction.
        found: the facts.
        keep: a source whose facts stay, whatever the others say; "": none.
    """
    kept = {r["subscriber"]: (r["as_of"], r["source"]) for r in tx.all("SELECT subscriber, as_of, source FROM fact")}

    def stands(fact: BillingFact) -> bool:
        as_of, source = kept.get(fact.subscriber, ("", ""))
        if not as_of or (keep and source == keep):
            return bool(as_of)
        if fact.source == CONFIGURED != source:
            return False
        return _is_older(fact.as_of, as_of, tx.now_s)

    tx.many(
        "INSERT OR REPLACE INTO fact (subscriber, balance, due, paid_at, as_of, read_s, source, author)"
        " VALUES (?,?,?,?,?,?,?,?)",
        [
            (f.subscriber, f.balance, f.due, f.paid_at, f.as_of, int(tx.now_s), f.source, f.author)
            for f in found
            if not stands(f)
        ],
    )


def _is_older(as_of: str, kept: str, now_s: float) -> bool:
    return latest(as_of) < earliest(kept) and not in_future(kept, now_s)
