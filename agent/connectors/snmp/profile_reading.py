"""Reads a device by a profile: lists the OIDs to ask, and makes a `DeviceReading` of the answers.

* Nothing here raises on data of a device: a value that does not fit is absent, a row that has no key is left out.
* Tables are computed a column at a time: a dict of index -> value for each name. One row at a time took 2.5 times as
  long for 48 ports of 22 columns.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agent.connectors.snmp import conversions, profile, values
from agent.connectors.snmp.conversions import Result
from agent.connectors.snmp.profile import (
    Conversion,
    DeviceMatch,
    IndexPart,
    IndexType,
    SnmpProfile,
    Source,
    Sources,
    TableProfile,
    Template,
)
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import (
    COUNTERS,
    MEASURES,
    DeviceReading,
    LinkState,
    Neighbor,
    Part,
    PartKind,
    SeenMac,
    Sensor,
)

Columns = Mapping[Oid, Mapping[bytes, Value]]
Results = dict[bytes, Result]
"""What one name is in each row: index -> value."""

STANDARD: Final = "standard"
"""Name of the profile for gear that no other one is for."""
_UPTIME: Final = values.oid("1.3.6.1.2.1.1.3.0")
_KEY_MAX: Final = 100
_WRAP: Final = 1 << 32
_NEAR_S: Final = 60.0
"""Between sysUpTime and snmpEngineTime, which are read at two moments and start at two."""
_COUNTER_MAX: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class WantedValues:
    """What to ask a device: scalars, and groups of columns that have the same rows."""

    scalars: tuple[Oid, ...]
    columns: tuple[tuple[Oid, ...], ...]


def wanted(of: SnmpProfile) -> WantedValues:
    """Return the OIDs that a profile needs of a device."""
    scalars: dict[Oid, None] = {_UPTIME: None}
    groups: dict[bytes, dict[Oid, None]] = {}
    known: set[Oid] = set()

    def add(group: bytes, ways: Sources) -> None:
        for way in ways:
            if way.oid is not None:
                scalars[way.oid] = None
            elif way.column is not None and way.column not in known:
                known.add(way.column)
                apart = b"" if way.of_rows else b"\x00" + way.column[:-1]
                groups.setdefault(group + apart, {})[way.column] = None

    for ways in of.device.values():
        add(b"", ways)
    for number, table in enumerate(of.tables):
        for _, ways in table.named():
            add(values.suffix((number + 1,)), ways)
    return WantedValues(tuple(scalars), tuple(tuple(group) for group in groups.values()))


# --- which profile --------------------------------------------------------------------------------------------------


def probes(profiles: Iterable[SnmpProfile], object_id: Oid, description: str) -> tuple[Oid, ...]:
    """Return the scalars to ask before `choose`: those by which profiles for this device are told apart."""
    fits = (match for one in profiles for match in one.matches if _fits(match, object_id, description))
    return tuple(dict.fromkeys(oid for match in fits for oid in match.has))


def choose(
    profiles: Sequence[SnmpProfile], object_id: Oid, description: str, answers: Mapping[Oid, Value] | None = None
) -> SnmpProfile:
    """Return the profile for a device, or the standard MIBs where none is for it.

    The operator's own come first, then the longest beginning of sysObjectID, then a match of `has`, then one of
    sysDescr.

    Args:
        profiles: all of them.
        object_id: sysObjectID, without tag and length; empty: the device says none.
        description: sysDescr.
        answers: to `probes`.

    Raises:
        KeyError: the standard one is missing.
    """
    answers = answers or {}
    best: tuple[tuple[bool, int, bool, bool], SnmpProfile] | None = None
    for one in profiles:
        for match in one.matches:
            if not _fits(match, object_id, description) or not _has(match, answers):
                continue
            longest = max((len(prefix) for prefix in match.object_ids if _below(object_id, prefix)), default=0)
            rank = (one.own, longest, bool(match.has), match.description is not None)
            if best is None or rank > best[0]:
                best = (rank, one)
    return best[1] if best is not None else {one.name: one for one in profiles}[STANDARD]


def _fits(match: DeviceMatch, object_id: Oid, description: str) -> bool:
    if match.object_ids and not any(_below(object_id, prefix) for prefix in match.object_ids):
        return False
    return match.description is None or match.description.search(description) is not None


def _below(object_id: Oid, prefix: Oid) -> bool:
    return object_id.startswith(prefix)


def _has(match: DeviceMatch, answers: Mapping[Oid, Value]) -> bool:
    for oid, pattern in match.has.items():
        value = answers.get(oid)
        found = None if value is None else conversions.plain(value)
        if found is None or pattern.search(str(found)) is None:
            return False
    return True


# --- a reading ------------------------------------------------------------------------------------------------------


def read(
    of: SnmpProfile,
    target: str,
    read_s: int,
    scalars: Mapping[Oid, Value],
    columns: Columns,
    not_read: tuple[str, ...] = (),
) -> DeviceReading:
    """Return the reading of a device by its profile.

    Args:
        of: its profile.
        target: id of the target.
        read_s: unix seconds at the end of the reading.
        scalars: the answers to `wanted(of).scalars`.
        columns: column -> index of a row -> value.
        not_read: questions that it did not answer.
    """
    reader = _Reader(read_s, scalars, columns)
    device = reader.device(of.device)
    for table in of.tables:
        reader.table(table)
    for name, found in reader.rest.items():
        device.setdefault(name, found)
    uptime_s = _uptime_s(device)
    return DeviceReading(
        target=target,
        read_s=read_s,
        profile=of.name,
        identity=str(device.get("identity", "")),
        description=str(device.get("description", "")),
        object_id=str(device.get("object_id", "")),
        hardware=str(device.get("hardware", "")),
        version=str(device.get("version", "")),
        serial=str(device.get("serial", "")),
        uptime_s=uptime_s,
        boots=_whole(device.get("boots")),
        parts=_counted(reader.parts),
        sensors=tuple(reader.sensors.values()),
        neighbors=tuple(dict.fromkeys(reader.neighbors)),
        macs=_joined(reader.macs),
        not_read=not_read,
        every_s=of.every_s,
    )


@dataclass(frozen=True, slots=True)
class PartRows:
    """Parts by key, by table the key of the part that each of its rows makes or adds to, and the device's serial."""

    parts: Mapping[str, Part]
    keys: Mapping[str, Mapping[bytes, str]]
    serial: str


def part_rows(of: SnmpProfile, read_s: int, scalars: Mapping[Oid, Value], columns: Columns) -> PartRows:
    """Return the parts of a reading with the rows of the device that they are made of."""
    reader = _Reader(read_s, scalars, columns)
    device = reader.device(of.device)
    for table in of.tables:
        reader.table(table)
    return PartRows(reader.parts, reader.keys, str(device.get("serial", reader.rest.get("serial", ""))))


def _uptime_s(device: Mapping[str, Result]) -> float | None:
    """Return how long the device's management runs: sysUpTime wraps after 497 days, snmpEngineTime after 68 years."""
    uptime, engine = _float(device.get("uptime_s")), _float(device.get("engine_s"))
    if uptime is None or engine is None or engine <= uptime:
        return uptime
    behind = (engine - uptime) % (_WRAP / 100)
    return engine if min(behind, _WRAP / 100 - behind) <= _NEAR_S else uptime


def _float(found: Result | None) -> float | None:
    if found is None or isinstance(found, str):
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(found: Result | None) -> int | None:
    return found if isinstance(found, int) else None


def _counted(parts: Mapping[str, Part]) -> tuple[Part, ...]:
    """Return the parts; a radio or PON port that does not say how many hang on it has those that are up counted.

    A radio below a radio, such as one of its networks, counts as its own clients.
    """
    below: Counter[str] = Counter()
    for part in parts.values():
        if part.kind in (PartKind.CLIENT, PartKind.ONU):
            below[part.parent] += part.state not in (LinkState.DOWN, LinkState.DISABLED)
        elif part.kind is PartKind.RADIO and part.parent and "clients" in part.measures:
            below[part.parent] += int(part.measures["clients"])
    return tuple(
        replace(part, measures={**part.measures, "clients": below[part.key]})
        if part.key in below and part.kind in (PartKind.RADIO, PartKind.PON) and "clients" not in part.measures
        else part
        for part in parts.values()
    )


def _joined(found: Sequence[SeenMac]) -> tuple[SeenMac, ...]:
    """Return MAC addresses, each IP address with the place where its MAC address was learned.

    A place that comes with a VLAN and without, of the two bridge tables, comes with it.
    """
    addresses: dict[str, list[SeenMac]] = {}
    for seen in found:
        if seen.address:
            addresses.setdefault(seen.mac, []).append(seen)
    joined: dict[SeenMac, None] = {}
    learned = set()
    tagged = {(seen.mac, seen.part) for seen in found if seen.vlan and not seen.address}
    for seen in found:
        if not seen.address and (seen.vlan or (seen.mac, seen.part) not in tagged):
            learned.add(seen.mac)
            with_ip = addresses.get(seen.mac)
            for other in with_ip or (seen,):
                joined[replace(seen, address=other.address)] = None
    for seen in found:
        if seen.address and seen.mac not in learned:
            joined[seen] = None
    return tuple(joined)


@dataclass(slots=True)
class _Made:
    """The parts that a table made."""

    by_index: dict[bytes, str] = field(default_factory=dict)
    by_name: dict[str, str] = field(default_factory=dict)


class _Reader:
    """Computes the tables of one reading in turn."""

    def __init__(self, read_s: int, scalars: Mapping[Oid, Value], columns: Columns) -> None:
        self.parts: dict[str, Part] = {}
        self.sensors: dict[str, Sensor] = {}
        self.neighbors: list[Neighbor] = []
        self.macs: list[SeenMac] = []
        self.rest: dict[str, Result] = {}
        self._read_s = read_s
        self._scalars = scalars
        self._columns = columns
        self._made: dict[str, _Made] = {}
        uptime = scalars.get(_UPTIME)
        self._ticks = uptime[1] if uptime is not None and isinstance(uptime[1], int) else None

    @property
    def keys(self) -> Mapping[str, Mapping[bytes, str]]:
        """By table: index of a row -> key of its part."""
        return {name: made.by_index for name, made in self._made.items()}

    def device(self, ways: Mapping[str, Sources]) -> dict[str, Result]:
        """Return the device's own values."""
        found: dict[str, Result] = {}
        for name, sources in ways.items():
            for source in sources:
                value = self._of_device(source, found)
                if value is not None and value != "":
                    found[name] = value
                    break
        return found

    def _of_device(self, source: Source, above: Mapping[str, Result]) -> Result | None:
        row = {name: {b"": value} for name, value in above.items()}
        if source.column is not None and source.of_rows:
            column = self._columns.get(source.column, {})
            tails = sorted(column, key=values.order)
            found = self._source(source, dict.fromkeys(tails), {}, {})
            return next((found[tail] for tail in tails if tail in found), None)
        return self._source(source, {b"": None}, row, {}).get(b"")

    def table(self, table: TableProfile) -> None:
        """Compute a table and keep its parts, sensors, neighbors or MAC addresses."""
        rows, env, raw = self._rows(table)
        narrow: dict[str, set[bytes]] = {}
        for name, sources in table.named():
            env[name] = self._ways(name, sources, rows, env, raw, narrow)
        for name, words in table.where.items():
            there = env[name]
            rows = {t: None for t in rows if t in there and (not words or str(there[t]) in words)}
        for name, words in table.where_not.items():
            there = env[name]
            rows = {t: None for t in rows if t not in there or str(there[t]) not in words}
        if table.kind in profile.PART_KINDS:
            self._keep_parts(table, rows, env, raw, narrow)
        elif table.kind == profile.SENSOR:
            self._keep_sensors(table, rows, env)
        elif table.kind == profile.NEIGHBOR:
            self._keep_neighbors(table, rows, env)
        elif table.kind == profile.MAC:
            self._keep_macs(rows, env)
        else:
            for tail in rows:
                for name in table.values:
                    if tail in env[name] and env[name][tail] != "":
                        self.rest.setdefault(name, env[name][tail])

    def _rows(self, table: TableProfile) -> tuple[dict[bytes, None], dict[str, Results], dict[str, dict[bytes, bytes]]]:
        """Return the indexes of a table's rows in order, the values of their parts, and these parts as they came."""
        named = [ways for name, ways in table.named() if not table.rows or name in table.rows]
        columns = [way.column for ways in named for way in ways if way.column is not None and way.of_rows]
        if not columns:
            oids = [way.oid for ways in named for way in ways if way.oid is not None]
            there = any(oid in self._scalars and self._scalars[oid][0] not in values.MISSING for oid in oids)
            return ({b"": None} if there else {}), {part.name: {} for part in table.index}, {}
        tails: dict[bytes, None] = {}
        for column in columns:
            tails.update(dict.fromkeys(self._columns.get(column, ())))
        if not table.index:
            return dict.fromkeys(sorted(tails, key=values.order)), {}, {}
        env: dict[str, Results] = {part.name: {} for part in table.index}
        raw: dict[str, dict[bytes, bytes]] = {part.name: {} for part in table.index}
        rows: dict[bytes, None] = {}
        for tail in sorted(tails, key=values.order):
            found = _indexed(table.index, values.index(tail))
            if found is None:
                continue
            rows[tail] = None
            for part, (value, subs) in zip(table.index, found, strict=True):
                env[part.name][tail] = value
                raw[part.name][tail] = values.suffix(subs)
        return rows, env, raw

    def _ways(
        self,
        name: str,
        sources: Sources,
        rows: Mapping[bytes, None],
        env: Mapping[str, Results],
        raw: Mapping[str, Mapping[bytes, bytes]],
        narrow: dict[str, set[bytes]],
    ) -> Results:
        found: Results = {}
        for source in sources:
            if found and len(found) == len(rows):
                break
            more = self._source(source, rows, env, raw)
            if name in COUNTERS and more and self._is_narrow(source):
                narrow.setdefault(name, set()).update(more.keys() - found.keys())
            found = {**more, **found} if found else more
        return found

    def _is_narrow(self, source: Source) -> bool:
        """Return whether a source gives counters of 32 bits."""
        column = self._columns.get(source.column, {}) if source.column is not None else {}
        first = next(iter(column.values()), None)
        if source.oid is not None:
            first = self._scalars.get(source.oid)
        return first is not None and first[0] == values.COUNTER32

    def _source(
        self,
        source: Source,
        rows: Mapping[bytes, None],
        env: Mapping[str, Results],
        raw: Mapping[str, Mapping[bytes, bytes]],
    ) -> Results:
        for name, words in source.when.items():
            there = env[name]
            rows = {tail: None for tail in rows if tail in there and (not words or str(there[tail]) in words)}
        return self._found(source, rows, env, raw) if rows else {}

    def _found(
        self,
        source: Source,
        rows: Mapping[bytes, None],
        env: Mapping[str, Results],
        raw: Mapping[str, Mapping[bytes, bytes]],
    ) -> Results:
        how = source.how
        found: Results
        if source.column is not None and source.of_rows:
            column = self._columns.get(source.column, {})
            if how.untouched:
                numeric = values.NUMERIC
                found = {
                    tail: value[1]  # type: ignore[misc] # the content of a numeric type is a number
                    for tail, value in column.items()
                    if value[0] in numeric and tail in rows
                }
                if len(found) < len(column):
                    texts = ((tail, conversions.plain(value)) for tail, value in column.items() if tail in rows)
                    found = {tail: result for tail, result in texts if result is not None}
                return found
            first = how.first
            found = {
                tail: result for tail, value in column.items() if tail in rows and (result := first(value)) is not None
            }
        elif source.column is not None and source.below is not None:
            found = self._rest_of_index(source, source.column, rows, env, raw)
        elif source.column is not None:
            column = self._columns.get(source.column, {})
            found = {}
            for tail in rows:
                cell = column.get(_at(source.at or (), tail, env, raw))
                result = how.first(cell) if cell is not None else None
                if result is not None:
                    found[tail] = result
        elif source.oid is not None:
            scalar = self._scalars.get(source.oid)
            result = how.first(scalar) if scalar is not None else None
            found = dict.fromkeys(rows, result) if result is not None else {}
        elif source.template is not None:
            found = _again(how, _filled(source.template, rows, env))
        elif source.of:
            found = self._parts_of(source, rows, env, raw)
        else:
            of = env[source.index or source.value]
            found = _again(how, {tail: of[tail] for tail in rows if tail in of})
        if how.computes:
            found = self._computed(how, found, env)
        return found

    def _rest_of_index(
        self,
        source: Source,
        column: Oid,
        rows: Mapping[bytes, None],
        env: Mapping[str, Results],
        raw: Mapping[str, Mapping[bytes, bytes]],
    ) -> Results:
        """Return the rest of the index of another table's first row whose index begins with values of each row."""
        begins = {tail: _at(source.below or (), tail, env, raw) for tail in rows}
        lengths = {len(begin) for begin in begins.values()}
        rests: dict[bytes, bytes] = {}
        for other in self._columns.get(column, {}):
            for length in lengths:
                rests.setdefault(other[:length], other[length:])
        found: Results = {}
        for tail, begin in begins.items():
            octets = _octets(values.index(rests.get(begin, b"")))
            result = source.how.first((values.OCTET_STRING, octets)) if octets else None
            if result is not None:
                found[tail] = result
        return found

    def _parts_of(
        self,
        source: Source,
        rows: Mapping[bytes, None],
        env: Mapping[str, Results],
        raw: Mapping[str, Mapping[bytes, bytes]],
    ) -> Results:
        """Return keys of the parts of a table."""
        made = self._made.get(source.of, _Made())
        if source.alone:
            only = set(made.by_index.values())
            return dict.fromkeys(rows, only.pop()) if len(only) == 1 else {}
        if source.named:
            names = env[source.named]
            keys = {tail: made.by_name.get(str(names[tail]).lower()) for tail in rows if tail in names}
        else:
            keys = {tail: made.by_index.get(_at(source.at or (), tail, env, raw)) for tail in rows}
        return {tail: key for tail, key in keys.items() if key is not None}

    def _computed(self, how: Conversion, found: Results, env: Mapping[str, Results]) -> Results:
        computed: Results = {}
        for tail, value in found.items():
            number = _float(value)
            for names, chosen in ((how.largest, max), (how.smallest, min)):
                others = [other for name in names if (other := _float(env[name].get(tail))) is not None]
                number = chosen(number, *others) if number is not None and others else number
            for name in how.minus:
                less = _float(env[name].get(tail))
                number = number - less if number is not None and less is not None else None
            for name in how.times:
                by = _float(env[name].get(tail))
                number = number * by if number is not None and by is not None else None
            if how.percent_of and number is not None:
                whole = _float(env[how.percent_of].get(tail))
                number = 100 * number / whole if whole else None
            if number is None:
                continue
            result: float | None = number * how.scale + how.offset
            if how.to_dbm and result is not None:
                result = conversions.dbm(result)
            if result is None or not math.isfinite(result):
                continue
            if (how.least is not None and result < how.least) or (how.most is not None and result > how.most):
                continue
            moment = self._since(how.kind, result) if how.kind in ("ago", "ticks") else result
            if moment is not None:
                is_whole = moment.is_integer() and abs(moment) < 1 << 53
                computed[tail] = int(moment) if is_whole else round(moment, 6)
        return computed

    def _since(self, kind: str, number: float) -> float | None:
        """Return unix seconds of a moment, told in seconds before now or in ticks of sysUpTime."""
        if kind == "ago":
            return float(int(self._read_s - number))
        if self._ticks is None or number <= 0 or number > self._ticks:
            return None  # 0: before the device's management started (RFC 2863, ifLastChange)
        return float(int(self._read_s - (self._ticks - number) / 100))

    # --- what a table makes ---

    def _keep_parts(
        self,
        table: TableProfile,
        rows: Mapping[bytes, None],
        env: Mapping[str, Results],
        raw: Mapping[str, Mapping[bytes, bytes]],
        narrow: Mapping[str, set[bytes]],
    ) -> None:
        made = self._made.setdefault(table.name, _Made())
        if table.key is not None:
            keys = _keys(table.key, rows, env)
        else:
            owners = self._ways("", table.part, rows, env, raw, {})
            keys = {tail: str(key) for tail, key in owners.items() if tail in rows}
        kind = profile.PART_KINDS[table.kind]
        texts = [(name, env[name]) for name in table.values if name in profile.PART_TEXTS]
        measures = [(name, _floats(env[name])) for name in table.values if name in MEASURES]
        counters = [(name, _counts(env[name])) for name in table.values if name in COUNTERS]
        facts = [(label, env[f"facts.{label}"]) for label in table.facts]
        for tail, key in keys.items():
            own = {name: of[tail] for name, of in texts if tail in of}
            name = str(own.get("name", "")) or key.partition("/")[2]
            alias = str(own.get("alias", ""))
            part = Part(
                key=key,
                kind=kind,
                name=name,
                alias=alias if alias != name else "",  # nobody wrote it: agents repeat the name there
                state=_STATES.get(str(own.get("state", "")), LinkState.UNKNOWN),
                told=str(own.get("told", "")),
                mac=str(own.get("mac", "")),
                serial=str(own.get("serial", "")),
                parent=str(own.get("parent", "")),
                index=_whole(own.get("index")),
                measures={measure: of[tail] for measure, of in measures if tail in of},
                counters={counter: of[tail] for counter, of in counters if tail in of},
                narrow=frozenset([counter for counter, tails in narrow.items() if tail in tails]),
                since_s=_whole(own.get("since")),
                facts={label: str(of[tail]) for label, of in facts if tail in of},
            )
            below = self.parts.get(key)
            if below is not None:
                part = _merged(below, part, named="name" in own)
            elif table.key is None:
                continue
            self.parts[key] = part
            made.by_index[tail] = key
            for called in (part.name, part.mac, alias):
                if called:
                    made.by_name.setdefault(called.lower(), key)

    def _keep_sensors(self, table: TableProfile, rows: Mapping[bytes, None], env: Mapping[str, Results]) -> None:
        empty: Results = {}
        of = {name: env.get(name, empty) for name in profile.VALUES[profile.SENSOR]}
        there = {tail: None for tail in rows if tail in of["value"] or tail in of["text"]}
        for tail, key in _keys(table.key or Template(("",)), there, env).items():
            quantity = str(of["quantity"].get(tail, ""))
            if quantity not in profile.UNITS:
                continue
            value = _float(of["value"].get(tail))
            text = str(of["text"].get(tail, ""))
            if value is None and not text:
                continue
            label = str(of["label"].get(tail, "")) or key.partition("/")[2]
            unit = str(of["unit"].get(tail, profile.UNITS[quantity]))
            self.sensors.setdefault(key, Sensor(key, quantity, label, value, unit, text))

    def _keep_neighbors(self, table: TableProfile, rows: Mapping[bytes, None], env: Mapping[str, Results]) -> None:
        for tail in rows:
            own = {name: str(env[name].get(tail, "")) for name in table.values}
            identity = own.get("identity") or own.get("mac") or own.get("address")
            if identity:
                port = own.get("port", "")
                heard = self.parts[port].name if port in self.parts else ""
                self.neighbors.append(
                    Neighbor(
                        identity=identity,
                        address=own.get("address", ""),
                        interface=heard or own.get("interface", ""),
                        platform=own.get("platform", ""),
                        version=own.get("version", ""),
                        mac=own.get("mac", ""),
                        port=port,
                        remote_port=own.get("remote_port", ""),
                    )
                )

    def _keep_macs(self, rows: Mapping[bytes, None], env: Mapping[str, Results]) -> None:
        empty: Results = {}
        macs, parts, vlans, addresses = (env.get(name, empty) for name in ("mac", "part", "vlan", "address"))
        for tail in rows:
            if tail in macs:
                vlan = _whole(vlans.get(tail)) or 0
                address = str(addresses.get(tail, ""))
                self.macs.append(SeenMac(str(macs[tail]), str(parts.get(tail, "")), vlan, address))


def _floats(found: Results) -> dict[bytes, float]:
    return {tail: number for tail, value in found.items() if (number := _float(value)) is not None}


def _counts(found: Results) -> dict[bytes, int]:
    return {tail: value for tail, value in found.items() if isinstance(value, int) and 0 <= value <= _COUNTER_MAX}


_STATES: Final = {state.value: state for state in LinkState}


def _merged(below: Part, over: Part, *, named: bool) -> Part:
    """Return a part to which another table adds: texts that are there stay."""
    return replace(
        below,
        name=over.name if named and not below.name else below.name,
        alias=below.alias or over.alias,
        state=below.state if below.state is not LinkState.UNKNOWN else over.state,
        told=below.told or over.told,
        mac=below.mac or over.mac,
        serial=below.serial or over.serial,
        parent=below.parent or over.parent,
        index=over.index if below.index is None else below.index,
        measures={**over.measures, **below.measures},
        counters={**over.counters, **below.counters},
        narrow=below.narrow | (over.narrow - below.counters.keys()),
        since_s=over.since_s if below.since_s is None else below.since_s,
        facts={**over.facts, **below.facts},
    )


def _keys(template: Template, rows: Mapping[bytes, None], env: Mapping[str, Results]) -> dict[bytes, str]:
    """Return the key of each row; rows that would have the same one add their index to it."""
    filled = {tail: str(found)[:_KEY_MAX].rstrip() for tail, found in _filled(template, rows, env, clean=True).items()}
    often = Counter(filled.values())
    keys = {}
    for tail, found in filled.items():
        end = "" if often[found] == 1 else "~" + ".".join(map(str, values.index(tail)))
        if len(end) > _KEY_MAX // 2:  # long indexes differ at their ends, or anywhere
            end = "~" + hashlib.sha256(tail).hexdigest()[:16]
        keys[tail] = found[: _KEY_MAX - len(end)].rstrip() + end
    return keys


def _filled(
    template: Template, rows: Mapping[bytes, None], env: Mapping[str, Results], *, clean: bool = False
) -> Results:
    """Return a text for each row in which all of the template's names are there. `clean`: as part of a key."""
    names = [env[name] for name in template.names]
    fixed = template.pieces[::2]
    if not names:
        return dict.fromkeys(rows, fixed[0])
    found: Results = {}
    for tail in rows:
        shown = fixed[0]
        for name, behind in zip(names, fixed[1:], strict=True):
            word = name.get(tail, "")
            if word == "":
                break
            shown += (str(word).replace("/", "-") if clean else str(word)) + behind
        else:
            found[tail] = shown
    return found


def _again(how: Conversion, found: Results) -> Results:
    """Return values to which a conversion is applied that were converted before."""
    if how.untouched:
        return dict(found)
    convert = conversions.AS[how.kind]
    again: Results = {}
    for tail, value in found.items():
        if how.kind and isinstance(value, str):
            result = how.sifted(convert((values.OCTET_STRING, value.encode("utf-8", "replace"))))
        else:
            result = how.sifted(value)
        if result is not None:
            again[tail] = result
    return again


def _at(
    at: Sequence[str | int], tail: bytes, env: Mapping[str, Results], raw: Mapping[str, Mapping[bytes, bytes]]
) -> bytes:
    """Return the index of the row of another table."""
    found = b""
    for one in at:
        if isinstance(one, int):
            found += values.suffix((one,))
        elif one in raw:
            found += raw[one].get(tail, b"")
        else:
            value = env[one].get(tail)
            if isinstance(value, str):
                octets = value.encode("utf-8", "replace")
                found += values.suffix((len(octets), *octets))
            elif isinstance(value, int) and 0 <= value <= values.PART_MAX:
                found += values.suffix((value,))
            else:
                return b"\xff"  # no row has such an index
    return found


# --- indexes --------------------------------------------------------------------------------------------------------


def _indexed(parts: tuple[IndexPart, ...], subs: tuple[int, ...]) -> list[tuple[Result, tuple[int, ...]]] | None:
    """Return each part of a row's index, with its sub-identifiers; None where it is not written as they say."""
    found: list[tuple[Result, tuple[int, ...]]] = []
    for part in parts:
        taken = _taken(part.type, subs)
        if taken is None:
            return None
        value, count = taken
        found.append((value, subs[:count]))
        subs = subs[count:]
    return None if subs else found


def _taken(kind: IndexType, subs: tuple[int, ...]) -> tuple[Result, int] | None:
    """Return the value at the beginning of sub-identifiers, and how many of them it is."""
    if kind is IndexType.INT:
        return (subs[0], 1) if subs else None
    if kind is IndexType.ANY:
        return ".".join(map(str, subs)), len(subs)
    if kind is IndexType.REST:
        octets, count = _octets(subs), len(subs)
    elif kind is IndexType.TEXT:
        count = subs[0] + 1 if subs else 0
        octets = _octets(subs[1:count]) if subs and len(subs) >= count else None
    elif kind is IndexType.INET:
        count = subs[1] + 2 if len(subs) > 1 else 0
        octets = _octets(subs[2:count]) if len(subs) > 1 and len(subs) >= count else None
        if octets is not None:
            shown = conversions.address((values.OCTET_STRING, octets[:16]))  # behind an address may come its zone
            return (shown or "", count)
    else:
        count = _LENGTHS[kind]
        octets = _octets(subs[:count]) if len(subs) >= count else None
        if octets is not None:
            return _FIXED[kind]((values.OCTET_STRING, octets)) or "", count
    return (conversions.decoded(octets), count) if octets is not None else None


_LENGTHS: Final = {IndexType.MAC: 6, IndexType.IP: 4, IndexType.SERIAL: 8}
_FIXED: Final = {
    IndexType.MAC: conversions.mac,
    IndexType.IP: conversions.address,
    IndexType.SERIAL: conversions.serial,
}


def _octets(subs: tuple[int, ...]) -> bytes | None:
    return bytes(subs) if all(sub < 256 for sub in subs) else None
