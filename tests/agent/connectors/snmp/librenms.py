"""Compares our reading of each recording with LibreNMS' (../shared/data/snmp/librenms-expected), value by value.

`python -m tests.agent.connectors.snmp.librenms` writes the table of docs/benchmarks/snmp-families.md. With the names of
recordings behind it, it prints every value of them that does not agree.

* LibreNMS says by which OID it read a value. Ours is the one that changes when this OID is left out, or has another
  number: so a value counts as the same only where it was read from the same place. Sums over rows have no OID: theirs
  is looked for everywhere. States are the same where the device's number of them is: LibreNMS has words of its own.
* A difference is explained in `librenms_differences.toml`, or it counts.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from agent.connectors.snmp import profile_choice, profile_reading, values
from agent.connectors.snmp.recording import scalars_and_columns
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import DeviceReading, Part
from tests.agent.connectors.snmp.recordings import NAMES, READ_S, profile_of, reading_of, recorded
from tests.shared_data import shared_json

PAGE = Path(__file__).parents[4] / "docs" / "benchmarks" / "snmp-families.md"
DIFFERENCES = Path(__file__).with_name("librenms_differences.toml")
FACTORS: Mapping[str, tuple[float, ...]] = {
    "current": (1, 1e3),
    "voltage": (1, 1e3),
    "power": (1, 1e3),
    "distance": (1, 1e3),
    "frequency": (1, 1e-6),
    "runtime": (1, 60, 1 / 60),
}
"""Units of LibreNMS' classes in ours: mA of a laser, m of a distance in km."""
COUNTED = {
    "ifInOctets": "in_octets",
    "ifOutOctets": "out_octets",
    "ifInUcastPkts": "in_packets",
    "ifOutUcastPkts": "out_packets",
    "ifInErrors": "in_errors",
    "ifOutErrors": "out_errors",
    "ifInDiscards": "in_discards",
    "ifOutDiscards": "out_discards",
}


@dataclass(frozen=True, slots=True)
class Compared:
    """A value of LibreNMS and ours.

    `why`: the explanation of a difference; empty where there is none. `none`: it says that theirs is no value of the
    device: a 0 for nothing, or milliwatts taken for dBm. To agree with it would be a mistake.
    """

    recording: str
    room: str
    label: str
    theirs: str
    ours: str
    agrees: bool
    why: str = ""
    none: bool = False


def their(name: str, module: str, table: str) -> list[dict[str, Any]]:
    """Return the rows of one of LibreNMS' tables: as polled, or as discovered where polling changed nothing."""
    found = shared_json(f"snmp/librenms-expected/{name}.json").get(module, {})
    polled = found.get("poller")
    rows = (polled if isinstance(polled, dict) else {}).get(table) or (found.get("discovery") or {}).get(table)
    return list(rows or [])


@cache
def compare(name: str) -> tuple[Compared, ...]:
    """Return every value of LibreNMS' reading of a recording, with ours."""
    reading = reading_of(name)
    return _with_reasons([*_device(name, reading), *_ports(name, reading), *_others(name, reading)])


def ports(name: str) -> tuple[Compared, ...]:
    """Return every value of LibreNMS' ports of a recording, with ours."""
    return _with_reasons(_ports(name, reading_of(name)))


def _with_reasons(found: Iterable[Compared]) -> tuple[Compared, ...]:
    return tuple(one if one.agrees else replace(one, **explained(one)) for one in found)


def _device(name: str, reading: DeviceReading) -> Iterator[Compared]:
    for row in their(name, "os", "devices"):
        for field in ("hardware", "version", "serial"):
            if row.get(field):
                theirs, ours = str(row[field]), str(getattr(reading, field))
                yield Compared(name, "device", field, theirs, ours, _alike(theirs, ours))


def _alike(theirs: str, ours: str) -> bool:
    one, other = _bare(theirs), _bare(ours)
    return bool(one and other) and (one in other or other in one)


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", re.sub(r"\([0-9]+\)$", "", text.lower()))


# --- ports ----------------------------------------------------------------------------------------------------------


def _ports(name: str, reading: DeviceReading) -> Iterator[Compared]:
    ours = {part.index: part for part in reading.parts if part.index is not None and part.kind.value != "client"}
    for row in their(name, "ports", "ports"):
        part = ours.get(row["ifIndex"])
        label = str(row.get("ifName") or row.get("ifDescr"))
        if part is None:
            yield Compared(name, "ports", label, f"port {row['ifIndex']}", "none", agrees=False)
            continue
        for field, theirs, found in _fields(row, part):
            yield Compared(name, "ports", f"{label}: {field}", str(theirs), str(found), str(theirs) == str(found))


def _fields(row: Mapping[str, Any], part: Part) -> Iterator[tuple[str, object, object]]:
    names = {str(row.get(key) or "").strip() for key in ("ifName", "ifDescr")}
    yield "name", part.name if part.name in names or not names - {""} else row.get("ifName"), part.name
    alias = str(row.get("ifAlias") or "").strip()
    if alias and alias not in names:
        yield "alias", alias, part.alias
    if row.get("ifAdminStatus"):
        yield "administrative state", row["ifAdminStatus"] == "up", part.state.value != "disabled"
    if row.get("ifOperStatus"):
        yield "state", row["ifOperStatus"], re.sub(r"\(.*", "", part.told)
    if row.get("ifPhysAddress") and set(row["ifPhysAddress"]) != {"0"}:
        yield "MAC address", row["ifPhysAddress"], part.mac.replace(":", "")
    if row.get("ifSpeed"):
        yield "speed", int(row["ifSpeed"]), int(part.measures.get("speed_bps", 0))
    for key, counter in COUNTED.items():
        if row.get(key) is not None and (row[key] or counter in part.counters):
            yield counter, int(row[key]), part.counters.get(counter)


# --- sensors, radios, processors, memory ----------------------------------------------------------------------------


def _others(name: str, reading: DeviceReading) -> Iterator[Compared]:
    rows = [*_sensors(name), *_usage(name)]
    changes = _Changes(name, reading)
    for room, kind, label, oids, theirs in rows:
        places = [oid for oid in oids if changes.is_read(oid)]
        recorded_there = any(oid in recorded(name) for oid in oids)
        found = changes.by(places) if places or recorded_there else changes.everything()
        shown = ", ".join(sorted({str(value) for value in found.values()})) if places else "not read"
        yield Compared(name, room, f"{kind}: {label}", str(theirs), shown, _same(kind, theirs, found.values()))


def _sensors(name: str) -> Iterator[tuple[str, str, str, list[Oid], object]]:
    words = {
        (row["state_name"], str(row["state_value"])): row["state_descr"]
        for row in their(name, "sensors", "state_indexes")
    }
    for row in their(name, "sensors", "sensors"):
        theirs = row["sensor_current"]
        if row["sensor_class"] == "state":
            theirs = f"{words.get((row['state_name'], str(theirs)), '')}({theirs})"
        yield "sensors", row["sensor_class"], row["sensor_descr"], _oids([row["sensor_oid"]]), theirs
    for row in their(name, "wireless", "wireless_sensors"):
        oids = _oids(json.loads(row["sensor_oids"]))
        yield "radio", row["sensor_class"], row["sensor_descr"], oids, row["sensor_current"]


def _usage(name: str) -> Iterator[tuple[str, str, str, list[Oid], object]]:
    for row in their(name, "processors", "processors"):
        yield "usage", "load", row["processor_descr"], _oids([row["processor_oid"]]), row["processor_usage"]
    for module, table, prefix in (("mempools", "mempools", "mempool"), ("storage", "storage", "storage")):
        for row in their(name, module, table):
            keys = ("_perc_oid", "_used_oid", "_free_oid")
            oids = _oids([row[prefix + key] for key in keys if row.get(prefix + key)])
            yield "usage", module, row[f"{prefix}_descr"], oids, row[f"{prefix}_perc"]


def _oids(texts: Iterable[str]) -> list[Oid]:
    return [values.oid(text) for text in texts if re.fullmatch(r"\.?[0-9]+(\.[0-9]+)+", text)]


def _same(kind: str, theirs: object, ours: Iterable[float | str]) -> bool:
    if theirs is None:
        return True
    if kind == "state":
        told = str(theirs)
        return any(_number(one) == _number(told) or (isinstance(one, str) and _alike(told, one)) for one in ours)
    try:
        number = float(str(theirs))
    except ValueError:
        return any(isinstance(one, str) and _alike(str(theirs), one) for one in ours)
    near = 1.01 if kind in ("mempools", "storage", "load") else max(0.006, abs(number) * 0.0006)
    factors = FACTORS.get(kind, (1,))
    return any(abs(one - number * by) <= near * by for one in map(_float, ours) for by in factors)


def _float(one: float | str) -> float:
    """Return a value as a number; a text that is none equals nothing."""
    try:
        return float(one)
    except ValueError:
        return math.nan


def _number(state: float | str) -> str | None:
    """Return the number of a state: 6 of `notPresent(6)`; LibreNMS has words of its own for it."""
    if not isinstance(state, str):
        return f"{state:g}"
    found = re.search(r"(?:^|\()(-?[0-9]+)\)?$", state)
    return found[1] if found else None


class _Changes:
    """Finds the values of a reading that come from an OID, by leaving it out."""

    def __init__(self, name: str, reading: DeviceReading) -> None:
        self._profile = profile_of(recorded(name))
        wanted = profile_choice.wanted(self._profile)
        self._scalars, self._columns = scalars_and_columns(recorded(name), wanted.scalars, wanted.columns)
        self._whole = _flat(reading)

    def everything(self) -> dict[tuple[str, str], float | str]:
        return self._whole

    def is_read(self, oid: Oid) -> bool:
        return oid in self._scalars or any(
            oid[len(c) :] in rows for c, rows in self._columns.items() if oid.startswith(c)
        )

    def by(self, oids: list[Oid]) -> dict[tuple[str, str], float | str]:
        """Return the values that change without these OIDs."""
        if not oids:
            return {}
        without: dict[Oid, Mapping[bytes, Value]] = {
            column: {tail: value for tail, value in rows.items() if Oid(column + tail) not in oids}
            if any(oid.startswith(column) for oid in oids)
            else rows
            for column, rows in self._columns.items()
        }
        scalars = {oid: value for oid, value in self._scalars.items() if oid not in oids}
        found = self._unlike(scalars, without)
        # the same number comes from elsewhere too, such as a count of clients: see which ones follow this one
        scalars = {oid: _next(value) if oid in oids else value for oid, value in self._scalars.items()}
        other: dict[Oid, Mapping[bytes, Value]] = {
            column: {tail: _next(value) if Oid(column + tail) in oids else value for tail, value in rows.items()}
            for column, rows in self._columns.items()
        }
        return found | self._unlike(scalars, other)

    def _unlike(
        self, scalars: Mapping[Oid, Value], columns: Mapping[Oid, Mapping[bytes, Value]]
    ) -> dict[tuple[str, str], float | str]:
        left = _flat(profile_reading.read(self._profile, "t", READ_S, scalars, columns))
        return {place: value for place, value in self._whole.items() if left.get(place) != value}


def _next(value: Value) -> Value:
    """Return a value near this one."""
    tag, content = value
    if isinstance(content, int):
        return tag, content + (1 if content >= 0 else -1)
    return tag, bytes(48 + (octet - 47) % 10 if 48 <= octet < 58 else octet for octet in content)


def _flat(reading: DeviceReading) -> dict[tuple[str, str], float | str]:
    """Return all values of a reading by part and name."""
    flat: dict[tuple[str, str], float | str] = {}
    for part in reading.parts:
        flat |= {(part.key, name): number for name, number in (*part.measures.items(), *part.counters.items())}
        flat |= {(part.key, name): text for name, text in part.facts.items()}
        flat |= {(part.key, "state"): part.state.value, (part.key, "told"): part.told}
    for sensor in reading.sensors:
        if sensor.value is not None:
            flat[sensor.key, "value"] = sensor.value
        if sensor.text:
            flat[sensor.key, "text"] = sensor.text
    return flat


# --- explanations, and the page -------------------------------------------------------------------------------------


@cache
def _explanations() -> tuple[dict[str, Any], ...]:
    return tuple(tomllib.loads(DIFFERENCES.read_text("utf-8"))["difference"])


def explained(one: Compared) -> dict[str, Any]:
    """Return why a value differs, whether theirs is none, and ours where that is told; empty: nobody has said."""
    for entry in _explanations():
        fits = (
            re.fullmatch(entry.get("recording", ".*"), one.recording)
            and re.fullmatch(entry.get("room", ".*"), one.room)
            and re.search(entry.get("label", ""), one.label)
            and re.search(entry.get("theirs", ""), one.theirs)
        )
        if fits:
            return {"why": entry["why"], "none": entry.get("none", False), "ours": entry.get("ours", one.ours)}
    return {}


CELL_MAX = 40
ROOMS = ("device", "ports", "sensors", "radio", "usage")


def line(name: str, compared: Iterable[Compared]) -> str:
    """Return a line of the table: in each room, how many of LibreNMS' values agree, and how many are explained."""
    total, agree, why = Counter[str](), Counter[str](), Counter[str]()
    for one in compared:
        total[one.room] += 1
        agree[one.room] += one.agrees
        why[one.room] += bool(one.why)
    cells = [f"{agree[r]}/{total[r]}" + (f" +{why[r]}" if why[r] else "") if total[r] else "" for r in ROOMS]
    return f"| {name} | {reading_of(name).profile} | {' | '.join(cells)} |"


def _sum(room: str, ones: list[Compared]) -> str:
    agree, why = sum(one.agrees for one in ones), sum(bool(one.why) for one in ones)
    share, left = f"{agree / max(len(ones), 1):.1%}", sum(one.none for one in ones)
    text = (
        f"* {room}: {agree} of {len(ones)} agree ({share}), {why} others are explained, {len(ones) - agree - why} not"
    )
    if not left:
        return text
    values = len(ones) - left
    return (
        f"{text}. {left} of LibreNMS' are no values of the device, so that {values / len(ones):.1%} is the most that"
        f" could agree; of the other {values}, {agree / values:.1%} do"
    )


def _differences(everything: Iterable[Compared]) -> Iterator[str]:
    """Return the lines of the table of differences: each explanation, with the first value that it is for."""
    explained_by: dict[str, list[Compared]] = {}
    for one in everything:
        if one.why:
            explained_by.setdefault(one.why, []).append(one)
    yield "| values | recordings | why | such as | LibreNMS | ours |"
    yield "|---|---|---|---|---|---|"
    for why, ones in sorted(explained_by.items(), key=lambda found: (-len(found[1]), found[0])):
        first = ones[0]
        names = ", ".join(dict.fromkeys(one.recording for one in ones))
        told = " | ".join(map(_cell, (first.label, first.theirs, first.ours or "none")))
        yield f"| {len(ones)}{' (none)' if first.none else ''} | {names} | {why} | {told} |"


def _cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return (text if len(text) <= CELL_MAX else f"{text[:CELL_MAX]}…").replace("|", "\\|")


def page() -> str:
    """Return the page for docs/benchmarks."""
    found = {name: compare(name) for name in NAMES}
    everything = [one for compared in found.values() for one in compared]
    sums = [_sum(room, [one for one in everything if one.room == room]) for room in ROOMS]
    return "\n".join(
        [
            "# SNMP: our reading of each recording, beside LibreNMS'",
            "",
            "Written by `python -m tests.agent.connectors.snmp.librenms`. The recordings are of real devices; the",
            "other reading is the one that LibreNMS' own tests expect. A cell says how many of its values agree with",
            "ours, of how many; `+n`: so many of the others are explained below.",
            "",
            f"| recording | profile | {' | '.join(ROOMS)} |",
            f"|---|---|{'---|' * len(ROOMS)}",
            *(line(name, compared) for name, compared in found.items()),
            "",
            *sums,
            "",
            "## Differences that are explained",
            "",
            "Each with how many values it is for; `(none)`: LibreNMS' is no value of the device, and to agree with it",
            "would be a mistake.",
            "",
            *_differences(everything),
            "",
        ]
    )


def main(names: list[str]) -> None:
    if not names:
        PAGE.write_text(page(), "utf-8")
        return
    for name in names:
        compared = compare(name)
        for one in compared:
            if not one.agrees and not one.why:
                print(f"{one.room:8} {one.label[:60]:60} theirs {one.theirs[:40]!r}, ours {one.ours[:80]!r}")
        print(line(name, compared))


if __name__ == "__main__":
    main(sys.argv[1:])
