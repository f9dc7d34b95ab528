"""A device's reading from the rows of LibreNMS. Pure.

* A reading is as old as LibreNMS' poll: `poll_time` of the newest port, or the time of the last whole poll.
* Keys are those of the SNMP connector: `port/NAME`, so that a device that was renumbered keeps its ports.
* LibreNMS knows values of radios as sensors with a description, and not what belongs together. Those of one name are
  one radio, and all are where they have one index. A radio has a measure where exactly one sensor is that measure;
  every other one stays a sensor of the device.
* It knows ONUs as sensors alone: there are no parts of OLTs in these readings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.connectors.librenms.rows import DeviceRow, LinkRow, MacRow, PortRow, SensorRow
from agent.line_model.reading import DeviceReading, LinkState, Neighbor, Part, PartKind, SeenMac, Sensor

POLL_S: Final = 300.0
"""LibreNMS' own pace, unless ports show another one."""
_PACE_LEAST_S, _PACE_MOST_S = 60.0, 3600.0
PORT_LATE: Final = 3.0
"""A port that was polled so many paces before the others of its device is not polled any more."""
MAC_LATE_S: Final = 13 * 3600
"""LibreNMS reads bridge tables every 6 hours, and keeps rows for days: one that two readings lacked is not there."""
_KEY_MOST: Final = 90

_STATES: Final[Mapping[str, LinkState]] = {
    "up": LinkState.UP,
    "down": LinkState.DOWN,
    "dormant": LinkState.DOWN,
    "notpresent": LinkState.DOWN,
    "lowerlayerdown": LinkState.DOWN,
}
_QUANTITIES: Final[Mapping[str, tuple[str, str]]] = {
    "temperature": ("temperature", "C"),
    "voltage": ("voltage", "V"),
    "current": ("current", "A"),
    "power": ("power", "W"),
    "load": ("load", "%"),
    "fanspeed": ("fan", "rpm"),
    "charge": ("battery", "%"),
    "runtime": ("runtime", "min"),
    "dbm": ("value", "dBm"),
    "frequency": ("value", "Hz"),
    "percent": ("value", "%"),
    "humidity": ("value", "%"),
}
"""Class of a health sensor -> quantity and unit."""
_WIRELESS_UNITS: Final[Mapping[str, str]] = {"power": "dBm", "rssi": "dBm", "noise-floor": "dBm", "frequency": ""}
_RECEIVES: Final = re.compile(r"\b(rx|receiv\w*|signal|rsl|level)\b|(?<=[a-z])Rx", re.IGNORECASE)
_SENDS: Final = re.compile(r"\b(tx|transmit\w*|output|eirp)\b", re.IGNORECASE)
_NOT_WHOLE: Final = re.compile(r"\b(chain|horiz|vert|stream|peer|remote|far|max|maximum|min|minimum)\b", re.IGNORECASE)
"""A value of one chain, of the other end, or an extreme: not the radio's own."""
_OTHER_USE: Final = re.compile(r"\b(up\w*|self|total|other|5m|15m)\b", re.IGNORECASE)
"""Channel use in the other direction, of one station, or over a longer time."""
_MEASURE_WORDS: Final = re.compile(
    r"\b(rx|tx|receiv\w*|transmit\w*|signal|level|power|rate|bitrate|phy|freq\w*|noise|floor|rssi|rsl|snr|cinr|sinr|rsrp"
    r"|rsrq|ccq|quality|clients?|count|distance|util\w*|mse|avg|average|output|radio)\b",
    re.IGNORECASE,
)
_NO_MSE: Final = -99.0
"""A mean square error of radios that receive nothing."""
_MHZ_LEAST, _MHZ_MOST = 100.0, 150_000.0
"""A carrier of a radio of ours."""


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that was read of one device. None: it was not asked for this time.

    `problems`: questions that LibreNMS left open.
    """

    device: DeviceRow
    ports: Sequence[PortRow]
    bridge: Sequence[MacRow] | None = None
    arp: Sequence[MacRow] | None = None
    vlans: Mapping[int, int] | None = None
    links: Sequence[LinkRow] | None = None
    sensors: Sequence[SensorRow] = ()
    wireless: Sequence[SensorRow] = ()
    problems: tuple[str, ...] = ()


def reading_of(told: Told, target: str, title: str, addresses: Mapping[int, str], now_s: float) -> DeviceReading | None:
    """Return the reading of a device; None: LibreNMS never polled it.

    Args:
        told: its rows.
        target: its target.
        title: the LibreNMS, for people.
        addresses: management addresses of the devices of the same LibreNMS, by id.
        now_s: unix seconds; no reading is of the future, whatever LibreNMS' clock says.
    """
    device, ports = told.device, [port for port in told.ports if not port.left_out]
    polled = [port.polled_s for port in ports if port.polled_s]
    read_s = max(polled, default=device.polled_s)
    if read_s is None:
        return None
    read_s = min(read_s, int(now_s))
    pace_s = pace_of(ports)
    keys = dict(zip((port.id for port in ports), _keys(ports), strict=True))
    on_port, others = _on_ports(told.sensors, {port.index for port in ports})
    parts = {port.id: _port(port, keys[port.id], read_s, pace_s, on_port.get(port.index)) for port in ports}
    radios, plain = _radios(told.wireless, device)
    sensors = [*_sensors(others), *_wireless_sensors(plain)]
    return DeviceReading(
        target,
        read_s,
        identity=device.name or device.hostname,
        description=device.description,
        object_id=device.object_id,
        hardware=device.hardware,
        version=device.version,
        serial=device.serial,
        uptime_s=device.uptime_s,
        parts=(*parts.values(), *radios),
        sensors=tuple(_named_once(sensors)),
        neighbors=tuple(_neighbors(told.links or (), parts, addresses)),
        macs=tuple(_macs(told, keys)),
        not_read=told.problems,
        every_s=pace_s,
        source=title,
        places=tuple(dict.fromkeys(place(host, device.port) for host in (device.address, device.hostname) if host)),
    )


def place(host: str, port: int) -> str:
    """Return where a device's management answers, ADDRESS:PORT."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def pace_of(ports: Iterable[PortRow]) -> float:
    """Return the seconds from one poll to the next, as most ports show them."""
    periods = Counter(round(port.period_s / 60) * 60.0 for port in ports if port.period_s)
    pace_s = periods.most_common(1)[0][0] if periods else POLL_S
    return min(max(pace_s, _PACE_LEAST_S), _PACE_MOST_S)


# --- ports ------------------------------------------------------------------------------------------------------------


def _keys(ports: Sequence[PortRow]) -> Iterator[str]:
    """Yield a key for each port: its name, with its index where several have one name."""
    often = Counter(port.name for port in ports)
    for port in ports:
        end = "" if often[port.name] == 1 else f"~{port.id if port.index is None else port.index}"
        yield f"port/{port.name.replace('/', '-')[: _KEY_MOST - len(end)]}{end}"


def _port(port: PortRow, key: str, read_s: int, pace_s: float, measures: Mapping[str, float] | None) -> Part:
    state = _STATES.get(port.oper.lower(), LinkState.UNKNOWN)
    if port.admin.lower() in ("down", "testing"):
        state = LinkState.DISABLED
    told, counters = port.oper, port.counters
    if port.polled_s is not None and read_s - port.polled_s > PORT_LATE * pace_s:
        state, told, counters = LinkState.UNKNOWN, f"polled {(read_s - port.polled_s) // 60} min before the others", {}
    facts = {"description": port.description, "type": port.type, "mtu": "" if port.mtu is None else str(port.mtu)}
    speed = {"speed_bps": port.speed_bps} if port.speed_bps else {}
    return Part(
        key,
        PartKind.PORT,
        port.name,
        port.alias,
        state,
        told,
        port.mac,
        index=port.index,
        measures={**speed, **(measures or {})},
        counters=counters,
        facts={label: text for label, text in facts.items() if text and text != port.name},
    )


def _on_ports(
    sensors: Iterable[SensorRow], indexes: Collection[int | None]
) -> tuple[dict[int | None, dict[str, float]], list[SensorRow]]:
    """Return the measures of ports by ifIndex, and the sensors that are of no port. A measure that two have is none."""
    found: dict[int | None, dict[str, list[SensorRow]]] = {}
    others = []
    for sensor in sensors:
        measure = _port_measure(sensor)
        if sensor.port_index is None or sensor.port_index not in indexes or not measure:
            others.append(sensor)
        else:
            found.setdefault(sensor.port_index, {}).setdefault(measure, []).append(sensor)
    measures: dict[int | None, dict[str, float]] = {}
    for index, by_measure in found.items():
        for measure, ones in by_measure.items():
            if len(ones) == 1 and ones[0].value is not None:
                scale = 1000.0 if measure == "bias_ma" else 1.0
                measures.setdefault(index, {})[measure] = round(ones[0].value * scale, 6)
            else:
                others += ones
    return measures, others


def _port_measure(sensor: SensorRow) -> str:
    match sensor.kind:
        case "dbm" if sensor.value:  # 0 stands for a module that is not there, or has no light
            return {"in": "rx_power_dbm", "out": "tx_power_dbm"}.get(_direction(sensor.label), "")
        case "temperature" | "voltage":
            return {"temperature": "temperature_c", "voltage": "voltage_v"}[sensor.kind]
        case "current":
            return "bias_ma" if "bias" in sensor.label.lower() else ""
        case "power":
            return "poe_w" if "poe" in sensor.label.lower() else ""
    return ""


def _direction(label: str) -> str:
    """Return `in` or `out` where a description tells one of them alone."""
    receives, sends = _RECEIVES.search(label) is not None, _SENDS.search(label) is not None
    return "" if receives is sends else "in" if receives else "out"


# --- radios -----------------------------------------------------------------------------------------------------------


def _radios(sensors: Sequence[SensorRow], device: DeviceRow) -> tuple[list[Part], list[SensorRow]]:
    """Return the radios, and the sensors that are no measure of one."""
    by_radio: dict[str, dict[str, list[SensorRow]]] = {}
    plain = []
    found = [(sensor, _radio_measure(sensor)) for sensor in sensors]
    indexes = {sensor.index for sensor, measure in found if measure and sensor.index.isdecimal()}
    for sensor, measure in found:
        if not measure or not sensor.index.isdecimal():
            plain.append(sensor)
        else:
            radio = _radio_name(sensor.label) if len(indexes) > 1 else ""
            by_radio.setdefault(radio or sensor.index, {}).setdefault(measure, []).append(sensor)
    radios = []
    for name, by_measure in by_radio.items():
        measures = {measure: _scaled(ones[0]) for measure, ones in by_measure.items() if len(ones) == 1}
        plain += [one for ones in by_measure.values() if len(ones) > 1 for one in ones]
        if measures:
            state = LinkState.UP if device.up and _LINKED & measures.keys() else LinkState.UNKNOWN
            radios.append(Part(f"radio/{_word(name)}", PartKind.RADIO, name, state=state, measures=measures))
    return radios, plain


def _radio_name(label: str) -> str:
    """Return a description without the words of measures: the rest names the radio where there are several.

    Indexes do not: some systems number the sensors of each class on their own.
    """
    return " ".join(_MEASURE_WORDS.sub(" ", label).split()).strip(" :,-")


_LINKED: Final = frozenset({"signal_dbm", "rsrp_dbm", "mse_db", "rx_rate_bps"})
"""Measures that a radio without a link has not."""


def _radio_measure(sensor: SensorRow) -> str:
    label, value = sensor.label, sensor.value
    if value is None or _NOT_WHOLE.search(label):
        return ""
    direction = _direction(label)
    match sensor.kind:
        case "power":
            return {"in": "signal_dbm" if value < 0 else "", "out": "tx_power_dbm"}.get(direction, "")
        case "rssi":
            return "signal_dbm" if value < 0 else ""
        case "noise-floor":
            return "noise_dbm" if value < 0 else ""
        case "rate":
            return {"in": "rx_rate_bps", "out": "tx_rate_bps"}.get(direction, "")
        case "frequency":
            if not _MHZ_LEAST <= value <= _MHZ_MOST:
                return ""  # of some systems LibreNMS tells kHz or GHz
            return "rx_frequency_mhz" if direction == "in" else "frequency_mhz"
        case "utilization":
            return "" if _OTHER_USE.search(label) else "utilization_percent"
    if sensor.kind == "mse" and value <= _NO_MSE:
        return ""
    return _RADIO_MEASURES.get(sensor.kind, "")


_RADIO_MEASURES: Final[Mapping[str, str]] = {
    "snr": "snr_db",
    "sinr": "snr_db",
    "mse": "mse_db",
    "rsrp": "rsrp_dbm",
    "rsrq": "rsrq_db",
    "ccq": "ccq_percent",
    "quality": "quality_percent",
    "clients": "clients",
    "distance": "distance_m",
    "error-ratio": "error_percent",
}


def _scaled(sensor: SensorRow) -> float:
    value = sensor.value or 0.0
    return round(value * 1000.0, 3) if sensor.kind == "distance" else value  # LibreNMS has kilometers


# --- sensors ----------------------------------------------------------------------------------------------------------


def _sensors(rows: Iterable[SensorRow]) -> Iterator[Sensor]:
    for row in rows:
        if row.value is None:
            continue
        if row.kind == "state":
            yield Sensor(f"state/{_word(row.label)}", "state", row.label, text=f"{row.value:g}")
            continue
        quantity, unit = _QUANTITIES.get(row.kind, ("value", ""))
        yield Sensor(f"{quantity}/{_word(row.label)}", quantity, row.label, row.value, unit)


def _wireless_sensors(rows: Iterable[SensorRow]) -> Iterator[Sensor]:
    for row in rows:
        if row.value is not None:
            label = f"{row.kind} {row.label}"
            yield Sensor(f"value/{_word(label)}", "value", label, row.value, _WIRELESS_UNITS.get(row.kind, ""))


def _word(label: str) -> str:
    return label.replace("/", "-")[:_KEY_MOST] or "unnamed"


def _named_once(sensors: Iterable[Sensor]) -> Iterator[Sensor]:
    """Yield sensors with keys that differ: the second of a key has a number behind it."""
    often: Counter[str] = Counter()
    for sensor in sensors:
        often[sensor.key] += 1
        yield sensor if often[sensor.key] == 1 else replace(sensor, key=f"{sensor.key}~{often[sensor.key]}")


# --- neighbors and addresses ------------------------------------------------------------------------------------------


def _neighbors(links: Iterable[LinkRow], parts: Mapping[int, Part], addresses: Mapping[int, str]) -> Iterator[Neighbor]:
    for link in dict.fromkeys(links):
        port = None if link.port_id is None else parts.get(link.port_id)
        address = "" if link.device_id is None else addresses.get(link.device_id, "")
        yield Neighbor(
            link.hostname,
            address,
            "" if port is None else port.name,
            link.platform,
            link.version,
            "",
            "" if port is None else port.key,
            link.port,
        )


def _macs(told: Told, keys: Mapping[int, str]) -> Iterator[SeenMac]:
    """Yield MAC addresses: where each is learned, with its IP address if there is one."""
    vlans, bridge = told.vlans or {}, told.bridge or ()
    newest_s = max((row.seen_s for row in bridge if row.seen_s is not None), default=None)
    addresses: dict[str, dict[str, None]] = {}
    for row in told.arp or ():
        if row.mac and row.address:
            addresses.setdefault(row.mac, {})[row.address] = None
    learned = set()
    for row in bridge:
        key = keys.get(row.port_id) if row.port_id is not None else None
        late = newest_s is not None and row.seen_s is not None and newest_s - row.seen_s > MAC_LATE_S
        if not row.mac or key is None or late:
            continue
        learned.add(row.mac)
        for address in addresses.get(row.mac) or {"": None}:
            yield SeenMac(row.mac, key, vlans.get(row.vlan_id or 0, 0), address)
    for mac, found in addresses.items():
        if mac not in learned:
            for address in found:
                yield SeenMac(mac, "", 0, address)
