"""The inventory in the database: services with the reasons that suspend them, and billing facts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.connectors.spec import AccessMap
from agent.inventory import authorship, ledger
from agent.inventory.authorship import Authorship
from agent.inventory.billing import BillingReader
from agent.inventory.facts import NotOwing, debt, subscriber_of
from agent.inventory.ledger import BY_HAND, KeptAccount, Query
from agent.inventory.mapping_check import LoginOf, sharing
from agent.inventory.merge import EXTRA, MergeResult
from agent.inventory.subscribers_csv import SubscriberRow
from agent.model import (
    ENTRY_FIELDS,
    Access,
    Address,
    CpeChange,
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
from agent.reasons import ItemReason, SkipReason
from agent.spelling import search_key
from agent.store.db import Tx
from agent.store.log_store import Entry, Sealed
from agent.store.stored import members, reads_row_of
from trust.leaf import ITEM_STATE_CODES, LeafKind
from trust.policy import Action

OWES = "owes"
AS_PREVIEWED = "as-previewed"
AS_READ = "as-read"
"""A resource that the item does not write still reads as in the preview: the engine reads it again."""
PAID = "paid"
"""The subscriber paid since it was suspended for debt: a restore of many, without office hours, rests on it."""
RUN_DAY = "suspension-day"
"""It is no holiday, and a weekday on which all overdue subscribers may be suspended."""
OWN_LOGIN = "own-login"
"""No other service has the login that the item gives its service: two changes that are right alone may give it two."""
OF_SUBJECTS: Final = frozenset({OWES, AS_PREVIEWED, PAID, RUN_DAY, OWN_LOGIN})
"""Requirements on the service and its subscriber; the others are on the device that is changed."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A fact that an item requires no longer holds. `stale`: its subject changed, so nothing may be said of it."""

    why: str
    stale: bool = False


RequirementTest = Callable[[Tx, Item, Requirement, bool], Broken | None]
"""Returns why a requirement of an item no longer holds, or None: (transaction, item, requirement, begun).

`begun`: the item's run has begun, so the facts that it records may be recorded already.
"""


def services(reader: sqlite3.Connection) -> dict[str, Service]:
    """Return every service by its ref, with the reasons that are recorded for it."""
    reasons: dict[str, set[SuspensionReason]] = {}
    for r in reader.execute("SELECT service, reason FROM reason"):
        reasons.setdefault(r["service"], set()).add(members(SuspensionReason, "reason")[r["reason"]])
    rows = reader.execute("SELECT * FROM service ORDER BY ref")
    return {r["ref"]: read_service(r, frozenset(reasons.get(r["ref"], ()))) for r in rows}


def some_services(reader: sqlite3.Connection, refs: Sequence[str]) -> dict[str, Service]:
    """Return the services out of `refs` that there are, with the reasons that are recorded for them."""
    services = {ref: _service(lambda sql, args: reader.execute(sql, args).fetchall(), ref) for ref in refs}
    return {ref: service for ref, service in services.items() if service is not None}


def count_services(reader: sqlite3.Connection) -> int:
    """Return the number of services."""
    return int(reader.execute("SELECT count(*) FROM service").fetchone()[0])


def count_active(reader: sqlite3.Connection) -> int:
    """Return the number of services that are not suspended for any reason."""
    query = "SELECT count(*) FROM service WHERE ref NOT IN (SELECT service FROM reason)"
    return int(reader.execute(query).fetchone()[0])


def access_of(query: Query, ref: str) -> Access:
    """Return the access that is recorded of a service: suspended for a reason, or active."""
    return Access.SUSPENDED if query("SELECT 1 FROM reason WHERE service = ? LIMIT 1", (ref,)) else Access.ACTIVE


def refs_of(reader: sqlite3.Connection, subscriber: str) -> list[str]:
    """Return the refs of a subscriber's services."""
    rows = reader.execute("SELECT ref FROM service WHERE subscriber = ?", (subscriber,))
    return [r["ref"] for r in rows]


def logins(reader: sqlite3.Connection) -> list[LoginOf]:
    """Return the login of every service: a sixth of the time that reading the services takes."""
    return [LoginOf(*row) for row in reader.execute("SELECT ref, method, login FROM service")]


@reads_row_of("service")
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


def inventory_address(ref: str) -> Address:
    """Return the address of a service's inventory entry, as requirements and locks name it."""
    return Address(f"inventory/{ref}")


def previewed_text(service: Service) -> str:
    """Return the fields of a service's entry that a plan rests on; compared with the entry at each about-to."""
    reasons = ", ".join(sorted(service.reasons)) or "nothing"
    protected = " · ".join(filter(None, (service.protected, f"feeds {service.feeds}" if service.feeds else "")))
    rest = f"{service.tariff} · suspended for {reasons}{f' · protected: {protected}' if protected else ''}"
    return f"{_way_in(service)}{rest}"


def _way_in(service: Service) -> str:
    """Return what `previewed_text` begins with: whose sessions and settings a plan acts on."""
    return f"login {service.login} · {service.method} · "


NOT_THERE: Final = "not in the inventory"


def not_there(ref: str) -> Requirement:
    """Return the requirement that the inventory still has no such service."""
    return Requirement(inventory_address(ref), AS_PREVIEWED, NOT_THERE)


def as_previewed(service: Service) -> Requirement:
    """Return the requirement that a service's entry still is as the preview showed it."""
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
            case EntryChange() | CpeChange():
                pass  # whether there is an entry, or a CPE of it: not a field of it
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
    """Return the changes that give a service those fields of another that decide whether a change reaches it."""
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
                    "INSERT OR REPLACE INTO reason (service, reason, plan_id, seq, looked_s) VALUES (?,?,?,?,?)",
                    (ref, reason.value, plan_id, seq, _looked_s(tx, ref, plan_id)),
                )
            else:
                tx.run("DELETE FROM reason WHERE service = ? AND reason = ?", (ref, reason.value))


def _looked_s(tx: Tx, ref: str, plan_id: bytes) -> float | None:
    """Return when the facts under a plan's item were looked at last; None: it was never begun.

    Once something of it stands, it is finished without another look at billing. Where nothing was to be sent, they were
    looked at when it was begun.
    """
    # +: the plan's id must not be searched by, or SQLite reads all steps of the plan for each of its items
    row = tx.one(
        "SELECT coalesce(min(CASE s.verdict WHEN 'applied' THEN e.at_s END), max(e.at_s)) AS at_s"
        " FROM item i JOIN step s ON s.plan_id = i.plan_id AND s.item = i.n"
        " JOIN event e ON e.seq = s.about_seq WHERE +i.plan_id = ? AND i.service = ? AND s.direction = 'forward'",
        (plan_id, ref),
    )
    if row is None or row["at_s"] is None:
        begun = (LeafKind.ITEM_STATE.value, ITEM_STATE_CODES["running"])
        row = tx.one(_BEGUN, (plan_id, ref, plan_id, *begun))
    return None if row is None else float(row["at_s"])


_BEGUN = """
SELECT e.at_s FROM event e WHERE e.plan = ? AND e.item = (SELECT n FROM item WHERE service = ? AND plan_id = ?)
    AND e.kind = ? AND e.code = ? ORDER BY e.seq DESC LIMIT 1
"""
"""From the newest event back: few items of a plan are under way beside this one."""


def _note_author(tx: Tx, ref: str, field: str, before: str, plan_id: bytes) -> None:
    """Note that a plan's requester changed a field of a service's entry, through that plan."""
    via = tx.one("SELECT requester, short FROM plan WHERE plan_id = ?", (plan_id,))
    by, how = ("", "") if via is None else (via["requester"], f"change {via['short']}")
    authorship.note(tx, [Authorship(ref, field, before, by, how, int(tx.now_s))])


def requirement_tests(billing: BillingReader, access: Sequence[AccessMap] = ()) -> Mapping[str, RequirementTest]:
    """Return the tests of requirements on services and subscribers, by their names.

    Args:
        billing: the facts on debts.
        access: the access methods that the configuration declares.
    """

    def owing(tx: Tx, item: Item, requirement: Requirement, begun: bool) -> Broken | None:
        if begun and _half_done(tx, item.subject or ""):
            return None  # half a suspension would need a person: it is finished, and the payment lifts it
        why = _not_owing(tx, subscriber_of(requirement.address), item.subject or "", billing)
        return None if why is None else Broken(why)

    def as_it_was(tx: Tx, item: Item, requirement: Requirement, begun: bool) -> Broken | None:
        why = _changed_since(tx, item, requirement.shown, begun=begun)
        why = why if why or begun else _login_taken(tx, item, access)
        return Broken(why) if why else None

    def alone(tx: Tx, item: Item, _: Requirement, begun: bool) -> Broken | None:
        service = None if begun else _as_recorded(tx, item)
        others = [] if service is None else _sharing(tx, service, access)
        why = "" if service is None else f"the login {service.login} is also that of {', '.join(others)} now"
        return Broken(f"{why}: whose it is, nobody could say") if others else None

    return {
        OWES: owing,
        AS_PREVIEWED: as_it_was,
        AS_READ: lambda _tx, _item, _requirement, _begun: None,
        OWN_LOGIN: alone,
    }


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


def _half_done(tx: Tx, ref: str) -> bool:
    """Return whether half of the item that suspends a service stands already. A change of its CPE is none.

    A retried one stands as a whole: it ends no session of a payer. A revert that suspends has the reason for that.
    """
    row = tx.one(
        "SELECT 1 FROM item i JOIN plan p USING (plan_id) JOIN step s ON s.plan_id = i.plan_id AND s.item = i.n"
        " WHERE i.service = ? AND i.state IN ('running', 'unknown') AND (p.action = ? OR p.reason LIKE '+%')"
        " AND i.reason <> ? AND s.direction = 'forward' AND s.verdict = 'applied'",
        (ref, Action.SUSPEND.value, ItemReason.RETRY.value),
    )
    return row is not None


def _not_owing(tx: Tx, subscriber: str, ref: str, reader: BillingReader) -> str | None:
    billing, service = reader.of(tx.all, subscriber, tx.now_s), _service(tx.all, ref)
    owed = debt(billing, "" if service is None else promise_of(service))
    if not isinstance(owed, NotOwing):
        return None
    if owed.blocked:
        return owed.why if billing.kept is not None or billing.doubt else "its billing data is gone"
    return f"no longer owes: {owed.why.removeprefix('paid: ')}" if owed.code is SkipReason.PAID else owed.why


def promise_of(service: Service) -> str:
    """Return the last day of a promise to pay in the subscriber list; "": it has none."""
    return str((service.extra or {}).get("promise_until", ""))


def _changed_since(tx: Tx, item: Item, shown: str, *, begun: bool) -> str | None:
    """Return why a service's entry is neither as previewed nor, once its item was `begun`, as that item leaves it."""
    service = _service(tx.all, item.subject or "")
    if begun and any(isinstance(change, EntryChange) for change in item.desired):
        return None if stands(tx.all, item.subject or "", item.desired) else "its entry was put back or removed since"
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


def _login_taken(tx: Tx, item: Item, access: Sequence[AccessMap]) -> str:
    """Return why an item must not act on its service's login: another service came to have it; "": none did.

    Changes of entries act on none.
    """
    service = _service(tx.all, item.subject or "")
    if service is None or any(isinstance(change, EntryChange | EntryFieldChange) for change in item.desired):
        return ""
    others = _sharing(tx, service, access)
    return f"its login is also that of {', '.join(others)} now: whose it is, nobody can say" if others else ""


def _sharing(tx: Tx, service: Service, access: Sequence[AccessMap]) -> list[str]:
    """Return the other services that have a service's login.

    It is looked up as the entry spells it, in small letters and in capitals.
    """
    spelled = (service.login, service.login.lower(), service.login.upper(), service.ref)
    rows = tx.all("SELECT ref, method, login FROM service WHERE login IN (?,?,?) AND ref <> ?", spelled)
    return sorted(sharing([service], [LoginOf(*row) for row in rows], access)) if rows else []


def _as_recorded(tx: Tx, item: Item) -> Service | None:
    """Return an item's service as the item's record will leave it; None: it will not be there."""
    for change in item.desired:
        if isinstance(change, EntryChange):
            return read_entry(change.entry) if change.added else None
    service = _service(tx.all, item.subject or "")
    return None if service is None else with_desired(service, item.desired)


def own_login(ref: str) -> Requirement:
    """Return the requirement that no other service has the login that an item gives a service."""
    return Requirement(inventory_address(ref), OWN_LOGIN, "no other service has its new login")


def fields_of(desired: Iterable[DesiredChange]) -> list[str]:
    """Return the fields of an entry that changes write, as `authorship` names them."""
    changes = tuple(desired)
    fields = [one.name for one in changes if isinstance(one, EntryFieldChange)]
    return [*fields, *(authorship.ENTRY for one in changes if isinstance(one, EntryChange))]


def opposite(desired: tuple[DesiredChange, ...]) -> tuple[DesiredChange, ...]:
    """Return the changes that take a record of desired state back."""
    return tuple(change.inverse() for change in desired)


def stands(query: Query, ref: str, desired: tuple[DesiredChange, ...]) -> bool:
    """Return whether an item's record on a service still stands. `query`: of a transaction, or of the store."""
    service = _service(query, ref)
    if any(isinstance(change, EntryChange) and not change.added for change in desired):
        return service is None
    return service is not None and with_desired(service, desired) == service


def has_another_login(query: Query, item: Item) -> bool:
    """Return whether an item's service has another login or access method by now than it had for the item."""
    service, where = _service(query, item.subject or ""), inventory_address(item.subject or "")
    shown = [r.shown for r in item.requires if (r.test, r.address) == (AS_PREVIEWED, where) and r.shown != NOT_THERE]
    if service is None:
        return False
    was = _way_in(with_desired(service, opposite(item.desired)))
    return not all(text.startswith(was) for text in shown)


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


@dataclass(frozen=True, slots=True)
class ImportServices:
    """Store merged services and the facts of the same file; services that the file leaves out stay.

    `who`: the person that imported it. Facts of the configured billing source on a subscriber are not replaced.
    """

    merged: MergeResult
    rows: tuple[SubscriberRow, ...]
    sealed: Sealed
    who: str

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        seq = tx.append(Entry(LeafKind.IMPORTED, sealed=self.sealed))
        write_services(tx, self.merged.to_write)
        authorship.note(
            tx, [Authorship(*change, self.who, authorship.IMPORT, int(tx.now_s)) for change in self._changes()]
        )
        told = [row.fact for row in self.rows if row.fact is not None]
        ledger.write_accounts(tx, [KeptAccount(BY_HAND, fact.account, fact.read_s, self.who) for fact in told])
        ledger.write_payments(tx, BY_HAND, [fact.payment for fact in told if fact.payment is not None])
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
