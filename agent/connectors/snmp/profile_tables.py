"""Makes parts, sensors, neighbors and MAC addresses of the computed columns of each table of a profile. Pure.

A row that has no key is left out. A table that adds to the parts of another one leaves what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Final, TypeVar

from agent.connectors.snmp import profile
from agent.connectors.snmp.conversions import Result
from agent.connectors.snmp.profile import Sources, TableProfile, Template
from agent.connectors.snmp.profile_columns import ColumnReader, Columns, MadeParts, as_float, keys_of, whole
from agent.connectors.snmp.profile_indexes import Results
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import COUNTERS, MEASURES, LinkState, Neighbor, Part, SeenMac, Sensor

_COUNTER_MAX: Final = (1 << 64) - 1
_STATES: Final = {state.value: state for state in LinkState}
_TEXTS: Final = ("name", "alias", "state", "told", "mac", "serial", "parent")
_NOTHING: Final[Results] = {}
_NONE: Final[frozenset[str]] = frozenset()
_Cell = TypeVar("_Cell")


class TableReader:
    """Computes the tables of one reading in turn, and keeps their parts and sensors."""

    def __init__(self, read_s: int, scalars: Mapping[Oid, Value], columns: Columns) -> None:
        self.parts: dict[str, Part] = {}
        self.sensors: dict[str, Sensor] = {}
        self.neighbors: list[Neighbor] = []
        self.macs: list[SeenMac] = []
        self.rest: dict[str, Result] = {}
        self._of = ColumnReader(read_s, scalars, columns)

    @property
    def keys(self) -> Mapping[str, Mapping[bytes, str]]:
        """By table: index of a row -> key of its part."""
        return {name: made.by_index for name, made in self._of.made.items()}

    def device(self, ways: Mapping[str, Sources]) -> dict[str, Result]:
        """Return the device's own values."""
        return self._of.device(ways)

    def table(self, table: TableProfile) -> None:
        """Compute a table and keep its parts, sensors, neighbors or MAC addresses."""
        rows, env, raw = self._of.rows(table)
        narrow: dict[str, set[bytes]] = {}
        for name, sources in table.named():
            env[name] = self._of.ways(name, sources, rows, env, raw, narrow)
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

    def _keep_parts(
        self,
        table: TableProfile,
        rows: Mapping[bytes, None],
        env: Mapping[str, Results],
        raw: Mapping[str, Mapping[bytes, bytes]],
        narrow: Mapping[str, set[bytes]],
    ) -> None:
        made = self._of.made.setdefault(table.name, MadeParts())
        if table.key is not None:
            keys = keys_of(table.key, rows, env)
        else:
            owners = self._of.ways("", table.part, rows, env, raw, {})
            keys = {tail: str(key) for tail, key in owners.items() if tail in rows}
        kind = profile.PART_KINDS[table.kind]
        own = {name: env[name] for name in table.values if name in profile.PART_TEXTS}
        texts = zip(*(_texts(own.get(name, _NOTHING), keys) for name in _TEXTS), strict=True)
        measures = _by_row([(name, _floats(env[name])) for name in table.values if name in MEASURES], keys)
        counters = _by_row([(name, _counts(env[name])) for name in table.values if name in COUNTERS], keys)
        facts = _by_row([(label, _shown(env[f"facts.{label}"])) for label in table.facts], keys)
        named, indexes, moments = (own.get(name, _NOTHING) for name in ("name", "index", "since"))
        for (tail, key), said, measured, counted, stated in zip(
            keys.items(), texts, measures, counters, facts, strict=True
        ):
            name, alias, state, told, mac, serial, parent = said
            name = name or key.partition("/")[2]
            part = Part(
                key=key,
                kind=kind,
                name=name,
                alias=alias if alias != name else "",  # nobody wrote it: agents repeat the name there
                state=_STATES.get(state, LinkState.UNKNOWN),
                told=told,
                mac=mac,
                serial=serial,
                parent=parent,
                index=whole(indexes.get(tail)),
                measures=measured,
                counters=counted,
                narrow=frozenset([counter for counter, tails in narrow.items() if tail in tails]) if narrow else _NONE,
                since_s=whole(moments.get(tail)),
                facts=stated,
            )
            below = self.parts.get(key)
            if below is not None:
                part = _merged(below, part, named=tail in named)
            elif table.key is None:
                continue
            self.parts[key] = part
            made.by_index[tail] = key
            made.called.append((key, (part.name, part.mac, alias)))

    def _keep_sensors(self, table: TableProfile, rows: Mapping[bytes, None], env: Mapping[str, Results]) -> None:
        empty: Results = {}
        of = {name: env.get(name, empty) for name in profile.VALUES[profile.SENSOR]}
        there = {tail: None for tail in rows if tail in of["value"] or tail in of["text"]}
        for tail, key in keys_of(table.key or Template(("",)), there, env).items():
            quantity = str(of["quantity"].get(tail, ""))
            if quantity not in profile.UNITS:
                continue
            value = as_float(of["value"].get(tail))
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
                vlan = whole(vlans.get(tail)) or 0
                address = str(addresses.get(tail, ""))
                self.macs.append(SeenMac(str(macs[tail]), str(parts.get(tail, "")), vlan, address))


def _texts(found: Results, rows: Mapping[bytes, str]) -> list[str]:
    """Return a text for each row; "": there is none."""
    return list(map(str, map(found.get, rows, repeat(""))))


def _shown(found: Results) -> dict[bytes, str]:
    return dict(zip(found, map(str, found.values()), strict=True))


def _by_row(columns: Sequence[tuple[str, Mapping[bytes, _Cell]]], rows: Mapping[bytes, str]) -> list[dict[str, _Cell]]:
    """Return the values of the columns in each row, by their names."""
    order = list(rows)
    if not columns or not all(len(of) == len(order) and list(of) == order for _, of in columns):
        return [{name: of[tail] for name, of in columns if tail in of} for tail in order]
    names = [name for name, _ in columns]
    return [dict(zip(names, cells, strict=True)) for cells in zip(*(of.values() for _, of in columns), strict=True)]


def _floats(found: Results) -> dict[bytes, float]:
    return {tail: number for tail, value in found.items() if (number := as_float(value)) is not None}


def _counts(found: Results) -> dict[bytes, int]:
    numbers = {tail: value for tail, value in found.items() if isinstance(value, int)}
    if numbers and min(numbers.values()) >= 0 and max(numbers.values()) <= _COUNTER_MAX:
        return numbers
    return {tail: number for tail, number in numbers.items() if 0 <= number <= _COUNTER_MAX}


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
