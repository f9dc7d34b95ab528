"""The last known state of devices and their parts in the agent's database: commands that record, queries that return.

Where several targets are one device, one of them is shown (`twins`); queries over all devices know that one alone.

A reading is compared in memory with the rows of its device, and only rows that changed are written. When a part was
seen last is not written while it is there: that is when its device was read (`seen_s` is 0).
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.line_model.reading import DeviceReading, EventKind, LineEvent, LinkState, Neighbor, Part, PartKind, SeenMac
from agent.lines import following, twins
from agent.lines.following import Moment
from agent.lines.known import (
    Growth,
    KnownDevice,
    KnownEvent,
    KnownMac,
    KnownNeighbor,
    KnownPart,
    SinceHow,
    StateHow,
)
from agent.lines.limits import (
    EVENTS_MAX,
    GONE_KEPT_S,
    KEY_CHARS,
    MAC_KEPT_S,
    MACS_MAX,
    NEIGHBORS_KEPT,
    NEIGHBORS_MAX,
    NUMBER_MOST,
    PARTS_KEPT,
    PARTS_MAX,
    SAME_EVENT_S,
    SERVICE_MACS_MAX,
    SILENT_READINGS,
    TEXT_CHARS,
    WORD_CHARS,
)
from agent.spelling import mac_digits
from agent.store.db import Tx
from agent.store.stored import reads_row_of

Query = Callable[[str, Sequence[object]], Sequence[sqlite3.Row]]
"""Returns all rows of a query: `Tx.all` inside a command, `Store.query` outside of one."""

_DEVICE: Final = (
    "target", "profile", "identity", "hardware", "version", "serial", "object_id", "read_s", "every_s", "booted_s",
    "boots", "unread_s", "answers", "why", "fails", "macs_s", "restarts", "replaced_s", "replaced", "not_read",
    "source", "places", "hidden_by",
)  # fmt: skip
_PART: Final = (
    "target", "key", "kind", "name", "alias", "state", "told", "since_s", "since_how", "how", "event_s", "seen_s",
    "gone", "mac", "serial", "parent", "idx", "measures", "usual", "before", "before_s", "errors", "facts", "changes",
    "fades_s",
)  # fmt: skip


def _put(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  # constants only


_PUT_DEVICE: Final = (
    f"INSERT INTO line_device ({', '.join(_DEVICE)}) VALUES ({', '.join('?' * len(_DEVICE))})"  # noqa: S608  # constants
    f" ON CONFLICT (target) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in _DEVICE[1:])}"
)
_PUT_PART: Final = _put("line_part", _PART)
_PUT_MAC: Final = _put("line_mac", ("mac", "target", "part", "vlan", "address", "seen_s"))
_PUT_NEIGHBOR: Final = _put(
    "line_neighbor",
    ("target", "port", "identity", "address", "mac", "platform", "remote_port", "interface", "seen_s"),
)


def _json(value: object) -> str:
    return "" if not value else json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _device_row(d: KnownDevice) -> tuple[object, ...]:
    return (
        d.target, d.profile, d.identity, d.hardware, d.version, d.serial, d.object_id, d.read_s, d.every_s, d.booted_s,
        d.boots, d.unread_s, int(d.answers), d.why, d.fails, d.macs_s, _json(d.restarts), d.replaced_s, d.replaced,
        _json(d.not_read), d.source, _json(d.places), d.hidden_by,
    )  # fmt: skip


def _part_row(p: KnownPart) -> tuple[object, ...]:
    errors = {name: (g.total, g.grew, g.at_s, g.within_s, g.since_s) for name, g in p.errors.items()}
    return (
        p.target, p.key, p.kind.value, p.name, p.alias, p.state.value, p.told, p.since_s, p.since_how.value,
        p.how.value, p.event_s, p.seen_s, int(p.gone), p.mac, p.serial, p.parent, p.index, _json(dict(p.measures)),
        _json(dict(p.usual)), _json(dict(p.before)), p.before_s, _json(errors), _json(dict(p.facts)), _json(p.changes),
        p.fades_s,
    )  # fmt: skip


@reads_row_of("line_device")
def _device(r: sqlite3.Row) -> KnownDevice:
    fields = {name: r[name] for name in _DEVICE} | {"answers": bool(r["answers"])}
    for name in ("restarts", "not_read", "places"):
        fields[name] = tuple(json.loads(r[name])) if r[name] else ()
    return KnownDevice(**fields)


_KINDS: Final = {one.value: one for one in PartKind}
_STATES: Final = {one.value: one for one in LinkState}
_SINCES: Final = {one.value: one for one in SinceHow}
_HOWS: Final = {one.value: one for one in StateHow}


@reads_row_of("line_part")
def _part(row: sqlite3.Row) -> KnownPart:
    """Return the part of a whole row. Outages make tens of thousands: names of columns and enums are looked up once."""
    (
        target, key, kind, name, alias, state, told, since_s, since_how, how, event_s, seen_s, gone, mac, serial,
        parent, index, measures, usual, before, before_s, errors, facts, changes, fades_s,
    ) = row  # fmt: skip
    return KnownPart(
        target,
        key,
        _KINDS[kind],
        name,
        alias,
        _STATES[state],
        told,
        since_s,
        _SINCES[since_how],
        _HOWS[how],
        event_s,
        seen_s,
        bool(gone),
        mac,
        serial,
        parent,
        index,
        _read(measures),
        _read(usual),
        _read(before),
        before_s,
        {name: Growth(*values) for name, values in _loads(errors).items()} if errors else {},
        _loads(facts) if facts else {},
        tuple(_loads(changes)) if changes else (),
        fades_s,
    )


_loads: Final = json.JSONDecoder().decode


def _read(text: str) -> Mapping[str, float]:
    return _loads(text) if text else {}


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordDeviceReading:
    """Command: a device answered. Parts beyond the limits are left out, and `not_read` of the device says so."""

    reading: DeviceReading

    def run(self, tx: Tx) -> int:
        """Return how many rows of parts were written."""
        reading = self.reading
        before = device(tx.all, reading.target)
        now, moment = following.device_after(before, reading)
        if len(reading.parts) > PARTS_MAX:
            left = f"{len(reading.parts) - PARTS_MAX} of {len(reading.parts)} parts: {PARTS_MAX} are kept of a device"
            now = replace(now, not_read=(left, *now.not_read))
        tx.run(_PUT_DEVICE, _device_row(now))
        written = self._parts(tx, moment, _newly(before, reading.not_read))
        if reading.macs:
            self._macs(tx, moment)
        if reading.neighbors:
            self._neighbors(tx, moment)
        return written

    def _parts(self, tx: Tx, moment: Moment, failed: bool) -> int:
        target, parts = self.reading.target, self.reading.parts[:PARTS_MAX]
        rows = {r["key"]: r for r in tx.all("SELECT * FROM line_part WHERE target = ?", (target,))}
        changed: list[tuple[object, ...]] = []
        for part in parts:
            row = rows.pop(part.key[:KEY_CHARS], None)
            after = _part_row(following.part_after(None if row is None else _part(row), part, target, moment))
            if row is None or tuple(row) != after:
                changed.append(after)
        otherwise = _called_otherwise(rows, parts)
        over = {key for key, row in rows.items() if moment.replaced or _is_over(row, moment) or key in otherwise}
        left = sorted((row["seen_s"] or moment.before_s, key) for key, row in rows.items() if key not in over)
        over.update(key for _, key in left[: max(len(left) + len(parts) - PARTS_KEPT, 0)])
        unread = _unread_kinds(parts, self.reading.not_read)
        cut = {part.key[:KEY_CHARS] for part in self.reading.parts[PARTS_MAX:]}
        for key, row in rows.items():
            if key not in over:
                old = _part(row)
                before = bool(self.reading.not_read and old.seen_s and not old.gone)
                gone = following.part_missing(old, moment, unread=failed or before or key in cut or old.kind in unread)
                changed += [] if gone == old else [_part_row(gone)]
        tx.many("DELETE FROM line_part WHERE target = ? AND key = ?", [(target, key) for key in over])
        tx.many(_PUT_PART, changed)
        return len(changed)

    def _macs(self, tx: Tx, moment: Moment) -> None:
        target = self.reading.target
        if moment.replaced:
            tx.run("DELETE FROM line_mac WHERE target = ?", (target,))
        known = {
            (r["mac"], r["part"], r["vlan"]): (r["address"], r["seen_s"])
            for r in tx.all("SELECT mac, part, vlan, address, seen_s FROM line_mac WHERE target = ?", (target,))
        }
        fresh: dict[tuple[str, str, int], str] = {}
        for key, address in _mac_keys(self.reading.macs):
            if len(fresh) >= MACS_MAX:
                break
            fresh[key] = address or fresh.get(key, "")
        tx.many(
            _PUT_MAC,
            [
                (mac, target, part, vlan, address, 0)
                for (mac, part, vlan), address in fresh.items()
                if known.get((mac, part, vlan)) != (address, 0)
            ],
        )
        left = [key for key, (_, seen_s) in known.items() if key not in fresh and not seen_s]
        tx.many(
            "UPDATE line_mac SET seen_s = ? WHERE target = ? AND mac = ? AND part = ? AND vlan = ?",
            [(moment.before_s or moment.read_s, target, *key) for key in left],
        )
        tx.run(
            "DELETE FROM line_mac WHERE target = ? AND seen_s > 0 AND seen_s < ?",
            (target, moment.read_s - MAC_KEPT_S),
        )
        room = MACS_MAX - len(fresh)
        if len(known) + len(fresh) > MACS_MAX:
            tx.run(
                "DELETE FROM line_mac WHERE target = ?1 AND seen_s > 0 AND (mac, part, vlan) NOT IN (SELECT mac, part,"
                " vlan FROM line_mac WHERE target = ?1 AND seen_s > 0 ORDER BY seen_s DESC LIMIT ?2)",
                (target, room),
            )

    def _neighbors(self, tx: Tx, moment: Moment) -> None:
        """Keep the neighbors: one that is no longer heard stays known at its part until another one is heard there."""
        target = self.reading.target
        known = {_neighbor_key(one): one for one in neighbors(tx.all, target)}
        if moment.replaced:
            tx.run("DELETE FROM line_neighbor WHERE target = ?", (target,))
            known = {}
        fresh = {_neighbor_key(one): one for one in _neighbors(target, self.reading.neighbors)}
        ports = {one.port or one.interface for one in fresh.values()}
        over, missing = [], []
        for key, one in known.items():
            if key in fresh:
                continue
            seen_s = one.seen_s or moment.before_s
            taken = (one.port or one.interface) in ports
            if taken or seen_s < moment.read_s - GONE_KEPT_S:
                over.append((target, *key))
            elif not one.seen_s:
                missing.append(replace(one, seen_s=seen_s))
        kept = sorted((one.seen_s, key) for key, one in known.items() if one.seen_s and key not in fresh)
        over += [(target, *key) for _, key in kept[: max(len(known) + len(fresh) - NEIGHBORS_KEPT, 0)]]
        tx.many("DELETE FROM line_neighbor WHERE target = ? AND port = ? AND identity = ? AND mac = ?", over)
        new = [one for key, one in fresh.items() if known.get(key) != one]
        tx.many(_PUT_NEIGHBOR, [_neighbor_row(one) for one in (*new, *missing)])


def _is_over(row: sqlite3.Row, moment: Moment) -> bool:
    return bool(row["gone"]) and row["seen_s"] < moment.read_s - GONE_KEPT_S


def _unread_kinds(parts: Iterable[Part], not_read: Sequence[str]) -> Collection[PartKind]:
    """Return the kinds of which nothing is said: no part of them is there, and something was not read.

    No device has lost all of its ports: it shows them no longer, as to another community or without its subagent.
    """
    there = {part.kind for part in parts}
    return set(PartKind) - there if not_read or not there else {PartKind.PORT, PartKind.PON} - there


def _newly(before: KnownDevice | None, not_read: Sequence[str]) -> bool:
    """Return whether a question failed that did not fail at the reading before: it may have been about any part."""
    failed = set() if before is None else {text.partition(": ")[0] for text in before.not_read}
    return any(text[:TEXT_CHARS].partition(": ")[0] not in failed for text in not_read)


def _called_otherwise(keys: Iterable[str], parts: Iterable[Part]) -> Collection[str]:
    """Return the keys that differ from a present key only by the suffix for parts of one name (`~` and numbers).

    When a name comes a second time, the part that had it alone is called otherwise: it is neither gone nor down.
    """
    there = {part.key[:KEY_CHARS] for part in parts}
    bare = {_TOLD_APART.sub("", key) for key in there} - there
    return {key for key in keys if key in bare or (_TOLD_APART.search(key) and _TOLD_APART.sub("", key) in there)}


_TOLD_APART: Final = re.compile(r"~[0-9]+(\.[0-9]+)*$", re.ASCII)


def _mac_keys(macs: Iterable[SeenMac]) -> Iterator[tuple[tuple[str, str, int], str]]:
    for one in macs:
        if mac := mac_digits(one.mac):
            vlan = one.vlan if 0 <= one.vlan <= NUMBER_MOST else 0
            yield (mac, one.part[:KEY_CHARS], vlan), one.address[:WORD_CHARS]


def _neighbors(target: str, heard: Sequence[Neighbor]) -> Iterator[KnownNeighbor]:
    for one in heard[:NEIGHBORS_MAX]:
        yield KnownNeighbor(
            target,
            one.port[:KEY_CHARS],
            one.identity[:TEXT_CHARS],
            one.address[:WORD_CHARS],
            mac_digits(one.mac),
            one.platform[:TEXT_CHARS],
            one.remote_port[:TEXT_CHARS],
            one.interface[:TEXT_CHARS],
        )


def _neighbor_key(one: KnownNeighbor) -> tuple[str, str, str]:
    return one.port, one.identity, one.mac


def _neighbor_row(one: KnownNeighbor) -> tuple[object, ...]:
    return (
        one.target, one.port, one.identity, one.address, one.mac, one.platform, one.remote_port, one.interface,
        one.seen_s,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordUnread:
    """Command: a device could not be read. `at_s`: when that was tried, unix seconds; `why`: one sentence.

    `silent`: it did not answer; otherwise it refused, or was not asked.
    """

    target: str
    why: str
    at_s: int
    silent: bool

    def run(self, tx: Tx) -> None:
        """Record the failure; earlier readings stay."""
        old = device(tx.all, self.target) or KnownDevice(self.target)
        if old.answers is self.silent:
            old = replace(old, unread_s=0, fails=0)
        why = self.why[:TEXT_CHARS]
        # Another system said so after tries of its own.
        fails = old.fails + (SILENT_READINGS if old.source and self.silent else 1)
        unread = replace(old, unread_s=old.unread_s or self.at_s, answers=not self.silent, why=why, fails=fails)
        tx.run(_PUT_DEVICE, _device_row(unread))


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Command: a notification came. The same one, by its `once`, counts once within `SAME_EVENT_S`."""

    event: LineEvent

    def run(self, tx: Tx) -> str | None:
        """Return the key of the part that it is about, "" where it is about none; None: it was known."""
        event = self.event
        once = event.once[:WORD_CHARS]
        same = "SELECT 1 FROM line_event WHERE target = ? AND once = ? AND abs(heard_s - ?) <= ?"
        if tx.one(same, (event.target, once, event.heard_s, SAME_EVENT_S)) is not None:
            return None
        part = _part_of(tx, event)
        tx.run(
            "INSERT OR REPLACE INTO line_event (target, slot, once, kind, heard_s, part, told, authenticated)"
            " SELECT ?1, ifnull((SELECT events FROM line_event_count WHERE target = ?1), 0) % ?2, ?3, ?4, ?5, ?6, ?7,"
            " ?8",
            (
                event.target,
                EVENTS_MAX,
                once,
                event.kind.value,
                event.heard_s,
                "" if part is None else part.key,
                event.told[:TEXT_CHARS],
                int(event.authenticated),
            ),
        )
        tx.run(
            "INSERT INTO line_event_count (target, events) VALUES (?, 1)"
            " ON CONFLICT (target) DO UPDATE SET events = events + 1",
            (event.target,),
        )
        if part is None:
            return ""
        read_s = tx.one("SELECT read_s FROM line_device WHERE target = ?", (event.target,))
        after = following.part_notified(part, event, 0 if read_s is None else read_s["read_s"])
        tx.run(_PUT_PART, _part_row(after))
        return part.key


def _part_of(tx: Tx, event: LineEvent) -> KnownPart | None:
    """Return the part that a notification is about: by its key, or by the device's number at its last reading."""
    if event.part:
        rows = tx.all("SELECT * FROM line_part WHERE target = ? AND key = ?", (event.target, event.part[:KEY_CHARS]))
    elif event.index is not None:
        rows = tx.all("SELECT * FROM line_part WHERE target = ? AND idx = ? AND gone = 0", (event.target, event.index))
    else:
        return None
    return _part(rows[0]) if len(rows) == 1 else None


@dataclass(frozen=True, slots=True)
class ForgetOthers:
    """Command: forget every device that is none of `targets` and known to none of them.

    Such devices left the configuration.
    """

    targets: frozenset[str]

    def run(self, tx: Tx) -> int:
        """Return how many devices were forgotten."""
        known = {r["target"] for r in tx.all("SELECT target FROM line_device")}
        over = {target for target in known if self.targets.isdisjoint(_with_sources(target))}
        _forget(tx, over)
        return len(over)


@dataclass(frozen=True, slots=True)
class RecordListed:
    """Command: a system knows these devices, and no others. `source`: its target."""

    source: str
    devices: frozenset[str]

    def run(self, tx: Tx) -> int:
        """Return how many devices were forgotten."""
        known = tx.all("SELECT target FROM line_device WHERE target > ?1 || '/' AND target < ?1 || '0'", (self.source,))
        over = {r["target"] for r in known} - self.devices
        _forget(tx, over)
        return len(over)


@dataclass(frozen=True, slots=True)
class RecordTwins:
    """Command: compare all devices, and hide those for which another target answers. `now_s`: unix seconds."""

    now_s: int

    def run(self, tx: Tx) -> int:
        """Return how many devices were hidden or shown anew."""
        every = {r["target"]: _device(r) for r in tx.all("SELECT * FROM line_device")}
        hidden = twins.hidden(every, lambda target: _port_macs(tx.all, target), self.now_s)
        changed = [
            (hidden.get(target, ""), target) for target, one in every.items() if one.hidden_by != hidden.get(target, "")
        ]
        tx.many("UPDATE line_device SET hidden_by = ? WHERE target = ?", changed)
        return len(changed)


def _with_sources(target: str) -> set[str]:
    """Return a target and the one of the system that may know it, which is the front of its id."""
    return {target, target.rpartition("/")[0]}


def _forget(tx: Tx, targets: Collection[str]) -> None:
    over = [(target,) for target in sorted(targets)]
    for table in ("line_device", "line_part", "line_mac", "line_neighbor", "line_event", "line_event_count"):
        tx.many(f"DELETE FROM {table} WHERE target = ?", over)  # noqa: S608  # constants only
    tx.many("UPDATE line_device SET hidden_by = '' WHERE hidden_by = ?", over)


def _port_macs(query: Query, target: str) -> Collection[str]:
    rows = query("SELECT DISTINCT mac FROM line_part WHERE target = ? AND mac <> '' AND kind = 'port'", (target,))
    return {r["mac"] for r in rows}


@dataclass(frozen=True, slots=True)
class RecordServiceMacs:
    """Command: sessions of services showed MAC addresses of their CPE. `macs`: service, hex digits, source."""

    macs: tuple[tuple[str, str, str], ...]
    at_s: int

    def run(self, tx: Tx) -> None:
        """Record them; of each service the newest few are kept. A service that is not in the inventory has none."""
        tx.many(
            "INSERT INTO service_mac (service, mac, how, seen_s) SELECT ref, ?2, ?3, ?4 FROM service WHERE ref = ?1"
            " ON CONFLICT (service, mac) DO UPDATE SET how = excluded.how, seen_s = excluded.seen_s",
            [(service, mac, how, self.at_s) for service, mac, how in self.macs],
        )
        tx.many(
            "DELETE FROM service_mac WHERE service = ?1 AND mac NOT IN"
            " (SELECT mac FROM service_mac WHERE service = ?1 ORDER BY seen_s DESC, mac LIMIT ?2)",
            [(service, SERVICE_MACS_MAX) for service in {service for service, _, _ in self.macs}],
        )


# --- queries ----------------------------------------------------------------------------------------------------------


def device(query: Query, target: str) -> KnownDevice | None:
    """Return a device as it was read last; None: it was never asked."""
    rows = query("SELECT * FROM line_device WHERE target = ?", (target,))
    return _device(rows[0]) if rows else None


def is_any(query: Query) -> bool:
    """Return whether any device is known."""
    return bool(query("SELECT 1 FROM line_device LIMIT 1", ()))


def is_any_told(query: Query) -> bool:
    """Return whether another system read any device."""
    return bool(query("SELECT 1 FROM line_device WHERE source <> '' LIMIT 1", ()))


def devices(query: Query) -> dict[str, KnownDevice]:
    """Return every shown device by its target."""
    return {r["target"]: _device(r) for r in query("SELECT * FROM shown_device ORDER BY target", ())}


def hidden(query: Query) -> dict[str, str]:
    """Return the targets that are hidden, each with the one that answers for the device."""
    rows = query("SELECT target, hidden_by FROM line_device WHERE hidden_by <> ''", ())
    return {r["target"]: r["hidden_by"] for r in rows}


def same_device(query: Query, target: str) -> list[KnownDevice]:
    """Return the other targets that are the same device as one, the shown one first."""
    rows = query(
        "SELECT * FROM line_device WHERE target <> ?1 AND (hidden_by = ?1"
        " OR target = (SELECT hidden_by FROM line_device WHERE target = ?1)"
        " OR hidden_by = (SELECT hidden_by FROM line_device WHERE target = ?1 AND hidden_by <> ''))"
        " ORDER BY hidden_by <> '', target",
        (target,),
    )
    return [_device(r) for r in rows]


def parts(query: Query, target: str) -> list[KnownPart]:
    """Return the parts of a device, those that are gone too."""
    return [_part(r) for r in query("SELECT * FROM line_part WHERE target = ? ORDER BY key", (target,))]


def part(query: Query, target: str, key: str) -> KnownPart | None:
    """Return a part of a device; None: there is none of that key."""
    rows = query("SELECT * FROM line_part WHERE target = ? AND key = ?", (target, key))
    return _part(rows[0]) if rows else None


def notable_parts(query: Query, read_s: Mapping[str, int]) -> list[KnownPart]:
    """Return the parts that may be causes of outages, and all other parts with the same parents.

    Args:
        query: of a reader.
        read_s: when each device was read last: an error counter that grew then is notable.
    """
    rows = query(
        "SELECT * FROM shown_part WHERE state = 'down' OR parent <> '' OR changes <> '' OR usual <> '' OR errors <> ''",
        (),
    )
    quiet = (
        r["state"] != "down"
        and not (r["parent"] or r["changes"] or r["usual"])
        and f",{read_s.get(r['target'], 0)}," not in r["errors"]
        for r in rows
    )
    return [_part(r) for r, nothing in zip(rows, quiet, strict=True) if not nothing]


def part_counts(query: Query) -> Mapping[tuple[str, str], int]:
    """Return the number of parts by kind and state, without those that are gone."""
    rows = query("SELECT kind, state, count(*) AS n FROM shown_part WHERE gone = 0 GROUP BY kind, state", ())
    return {(r["kind"], r["state"]): r["n"] for r in rows}


def parts_of_serial(query: Query, serial: str) -> list[KnownPart]:
    """Return the parts with a serial number; capitals do not count."""
    return [
        _part(r) for r in query("SELECT * FROM shown_part WHERE serial <> '' AND serial = ? COLLATE NOCASE", (serial,))
    ]


def parts_of_mac(query: Query, mac: str) -> list[KnownPart]:
    """Return the parts with a MAC address of their own. `mac`: lower case with colons."""
    return [_part(r) for r in query("SELECT * FROM shown_part WHERE mac <> '' AND mac = ?", (mac,))]


def parts_called(query: Query, target: str, name: str, serial: str) -> list[KnownPart]:
    """Return the parts of a device with a name or a serial number."""
    rows = query(
        "SELECT * FROM line_part WHERE target = ? AND (name = ? OR (serial <> '' AND serial = ? COLLATE NOCASE))",
        (target, name, serial),
    )
    return [_part(r) for r in rows]


def aliases(query: Query) -> list[tuple[str, str, str]]:
    """Return every description of a part that is there: its target, its key and the text."""
    rows = query("SELECT target, key, alias FROM shown_part WHERE alias <> '' AND gone = 0", ())
    return [(r["target"], r["key"], r["alias"]) for r in rows]


def macs_of_address(query: Query, address: str) -> list[tuple[str, str]]:
    """Return the MAC addresses that devices have for an IP address now, each with the target that says so."""
    rows = query(
        "SELECT DISTINCT mac, target FROM shown_mac WHERE address <> '' AND address = ? AND seen_s = 0", (address,)
    )
    return [(r["mac"], r["target"]) for r in rows]


def targets_of_macs(query: Query) -> dict[str, str]:
    """Return the device that a neighbor's MAC address belongs to; one that several devices have is left out."""
    rows = query(
        "SELECT n.mac, min(p.target) AS target FROM (SELECT DISTINCT mac FROM shown_neighbor WHERE mac <> '') n"
        " JOIN shown_part p ON p.mac = substr(n.mac, 1, 2) || ':' || substr(n.mac, 3, 2) || ':' || substr(n.mac, 5, 2)"
        " || ':' || substr(n.mac, 7, 2) || ':' || substr(n.mac, 9, 2) || ':' || substr(n.mac, 11, 2)"
        " WHERE p.mac <> '' GROUP BY n.mac HAVING count(DISTINCT p.target) = 1",
        (),
    )
    return {r["mac"]: r["target"] for r in rows}


def macs(query: Query, mac: str) -> list[KnownMac]:
    """Return the places where a MAC address is, or was last, learned. `mac`: twelve hex digits."""
    rows = query("SELECT mac, target, part, vlan, address, seen_s FROM shown_mac WHERE mac = ?", (mac,))
    return [KnownMac(*r) for r in rows]


def service_macs(query: Query, service: str | None = None) -> list[tuple[str, str, str, int]]:
    """Return the MAC addresses that sessions of a service showed, or of all: service, address, source, and when."""
    rows = query("SELECT service, mac, how, seen_s FROM service_mac WHERE service = ?1 OR ?1 IS NULL", (service,))
    return [(r["service"], r["mac"], r["how"], r["seen_s"]) for r in rows]


def macs_behind(query: Query, target: str, part_key: str) -> int:
    """Return how many MAC addresses are behind a part now."""
    rows = query(
        "SELECT count(DISTINCT mac) FROM line_mac WHERE target = ? AND part = ? AND seen_s = 0", (target, part_key)
    )
    return int(rows[0][0])


def neighbors(query: Query, target: str | None = None) -> list[KnownNeighbor]:
    """Return the neighbors that a device hears, or those of all shown devices."""
    columns = "SELECT target, port, identity, address, mac, platform, remote_port, interface, seen_s FROM "
    if target is None:
        rows = query(columns + "shown_neighbor ORDER BY target, port", ())
    else:
        rows = query(columns + "line_neighbor WHERE target = ? ORDER BY target, port", (target,))
    return [KnownNeighbor(*r) for r in rows]


def names_of_neighbor_ports(query: Query) -> dict[tuple[str, str], frozenset[str]]:
    """Return the names of each part at which a neighbor is heard: its own, its description and its MAC address."""
    rows = query(
        "SELECT p.target, p.key, p.name, p.alias, p.mac FROM (SELECT DISTINCT target, port FROM line_neighbor) n"
        " JOIN line_part p ON p.target = n.target AND p.key = n.port",
        (),
    )
    return {(r["target"], r["key"]): frozenset((r["name"], r["alias"], r["mac"])) for r in rows}


def events(query: Query, target: str, part_key: str | None = None, limit: int = 20) -> list[KnownEvent]:
    """Return the newest notifications of a device, or of one of its parts."""
    rows = query(
        "SELECT * FROM line_event WHERE target = ?1 AND (part = ?2 OR ?2 IS NULL) ORDER BY heard_s DESC, slot DESC"
        " LIMIT ?3",
        (target, part_key, limit),
    )
    return [
        KnownEvent(
            r["target"],
            EventKind(r["kind"]),
            r["heard_s"],
            r["part"],
            r["told"],
            bool(r["authenticated"]),
        )
        for r in rows
    ]
