"""One whole reading of a device: its parts (ports, radios, ONUs), sensors, neighbors and the MAC addresses it knows.

* A part's `key` is a natural key that a renumbered device keeps: `port/ge-0-7`, `onu/HWTC1A2B3C4D`, never an index.
* A value that was not read is absent. Nothing is 0 because nobody knows it.
* Units are in the names of measures and counters: see `MEASURES`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


class PartKind(enum.Enum):
    """The kinds of a device's parts."""

    PORT = "port"
    """An interface, physical or not."""
    RADIO = "radio"
    """A radio of the device itself."""
    CLIENT = "client"
    """A station or subscriber module that is registered at a radio."""
    PON = "pon"
    """A PON port of an OLT."""
    ONU = "onu"


class LinkState(enum.Enum):
    """Whether a part carries traffic."""

    UP = "up"
    DOWN = "down"
    DISABLED = "disabled"
    """Switched off by configuration: nobody expects it to be up."""
    UNKNOWN = "unknown"


MEASURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "signal_dbm": "received signal of a radio link",
        "remote_signal_dbm": "signal that the other end receives",
        "noise_dbm": "noise floor",
        "snr_db": "signal above noise",
        "remote_snr_db": "signal above noise at the other end",
        "mse_db": "mean square error of the demodulated signal",
        "rsrp_dbm": "LTE and NR: power of the reference signal",
        "rsrq_db": "LTE and NR: quality of the reference signal",
        "ccq_percent": "connection quality",
        "quality_percent": "quality of a link, as its maker computes it",
        "tx_rate_bps": "rate of transmission, bit/s",
        "rx_rate_bps": "rate of reception, bit/s",
        "capacity_bps": "capacity of the link, bit/s",
        "frequency_mhz": "carrier frequency; of transmission where reception has another one",
        "rx_frequency_mhz": "carrier frequency of reception, where it is another one",
        "width_mhz": "channel width",
        "tx_power_dbm": "transmitted power, radio or optical",
        "rx_power_dbm": "received optical power",
        "olt_rx_power_dbm": "optical power of an ONU that the OLT receives",
        "distance_m": "distance to the other end",
        "clients": "registered stations or online ONUs",
        "speed_bps": "speed of a port, bit/s",
        "poe_w": "power over Ethernet that a port delivers, W",
        "latency_ms": "round trip to the other end",
        "temperature_c": "temperature of the part",
        "voltage_v": "supply voltage of the part",
        "bias_ma": "laser bias current",
        "utilization_percent": "airtime or channel use; from the access point to its stations where both are known",
        "up_utilization_percent": "airtime or channel use from stations to their access point",
        "error_percent": "errored or retried frames",
        "remote_error_percent": "errored or retried frames at the other end",
    }
)
"""Every measure of a part, with its meaning. A profile that names another one is refused."""

COUNTERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "in_octets": "received bytes",
        "out_octets": "sent bytes",
        "in_packets": "received unicast packets",
        "out_packets": "sent unicast packets",
        "in_errors": "received packets with errors",
        "out_errors": "packets that could not be sent for errors",
        "in_discards": "received packets that were dropped without an error",
        "out_discards": "packets to send that were dropped without an error",
        "fec_corrected": "codewords corrected by forward error correction",
        "fec_uncorrected": "codewords beyond correction",
        "retries": "frames sent again",
    }
)
"""Every counter of a part, with its meaning."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a device.

    Args:
        key: natural key on its device, `KIND/…`, at most 100 characters, without `/` behind the first one.
        kind: its kind.
        name: the device's own name of it.
        alias: the description that staff gave it on the device.
        state: whether it carries traffic.
        told: the state in the device's own words, such as `lowerLayerDown(7)`.
        mac: its own MAC address, `02:00:00:00:00:01` in lower case, or "".
        serial: its serial number, as `HWTC1A2B3C4D` for an ONU, or "".
        parent: key of the part of the same device that it hangs on (a client's radio, an ONU's PON port), or "".
        index: the device's own number of it at this reading (ifIndex), for notifications; None: it has none.
        measures: of `MEASURES`.
        counters: of `COUNTERS`; absent ones were not read.
        narrow: names of those counters that wrap at 2**32.
        since_s: unix seconds when the device says that its state last changed; None: it does not say.
        facts: other texts for people by label.
    """

    key: str
    kind: PartKind
    name: str
    alias: str = ""
    state: LinkState = LinkState.UNKNOWN
    told: str = ""
    mac: str = ""
    serial: str = ""
    parent: str = ""
    index: int | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    narrow: frozenset[str] = frozenset()
    since_s: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sensor:
    """A value of the device itself.

    `key`: `KIND/…` as of parts. `quantity`: `temperature`, `voltage`, `current`, `power`, `load`, `memory`, `fan`,
    `battery`, `runtime`, `state` or `value`. `value`: None for a state. `unit`: `C`, `V`, `A`, `W`, `%`, `rpm`, `min`,
    `dBm`, `Hz` or "". `text`: of a state, the device's word.
    """

    key: str
    quantity: str
    label: str
    value: float | None = None
    unit: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A device that another one hears (LLDP, MNDP, CDP). Texts are as the neighbor announces them: they prove nothing.

    `address` may be empty; `platform` and `version` too. `interface`: where it is heard, as the device names it;
    `port`: the key of that part, "" where none is known; `remote_port`: the neighbor's own name of its end.
    """

    identity: str
    address: str
    interface: str
    platform: str
    version: str
    mac: str
    port: str = ""
    remote_port: str = ""


@dataclass(frozen=True, slots=True)
class SeenMac:
    """A MAC address that the device knows: learned on a part (bridge table), or with an IP address (ARP), or both.

    `mac`: lower case with colons. `part`: key of the part, or "". `vlan`: 0: none is known. `address`: or "".
    """

    mac: str
    part: str
    vlan: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """Everything that one reading of a device returned.

    Args:
        target: id of the target.
        read_s: unix seconds at its end.
        profile: name of the profile by which it was understood.
        identity: the device's own name (sysName).
        description: sysDescr, or the like.
        object_id: sysObjectID in dots, or "".
        hardware: model; version: of its software; serial: its own.
        uptime_s: since its management started; None: it does not say. Never wraps: see `boots`.
        boots: a number that changes when it restarted, or None.
        parts: ports, radios, clients, PON ports and ONUs, each key once.
        sensors: each key once.
        neighbors: heard devices.
        macs: MAC addresses.
        not_read: questions that it did not answer, one sentence each: silence means read.
        every_s: seconds until its next reading is due, by its profile; a reading that is older than twice that is old.
        source: the system that read it, for people: its kind and name; "": the agent did.
        places: where its management answers, as ADDRESS:PORT.
    """

    target: str
    read_s: int
    profile: str = ""
    identity: str = ""
    description: str = ""
    object_id: str = ""
    hardware: str = ""
    version: str = ""
    serial: str = ""
    uptime_s: float | None = None
    boots: int | None = None
    parts: tuple[Part, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    neighbors: tuple[Neighbor, ...] = ()
    macs: tuple[SeenMac, ...] = ()
    not_read: tuple[str, ...] = ()
    every_s: float = 300.0
    source: str = ""
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToldDown:
    """A device that another system could not poll.

    `since_s`: unix seconds; `why`: the evidence that it gives. `silent`: it says that the device is down; otherwise the
    device answers, and could not be read.
    """

    target: str
    since_s: int
    why: str
    silent: bool = True


@dataclass(frozen=True, slots=True)
class SourceReading:
    """The answers of a system that polls devices.

    Args:
        target: id of the system's target; ids of its devices begin with it and a slash.
        read_s: unix seconds when the system was asked.
        readings: those that are newer than at the reading before.
        down: devices that are down according to the system.
        devices: ids of all devices that it polls.
        every_s: seconds until its next reading is due.
        not_read: questions that the system left open.
    """

    target: str
    read_s: int
    readings: tuple[DeviceReading, ...] = ()
    down: tuple[ToldDown, ...] = ()
    devices: frozenset[str] = frozenset()
    every_s: float = 300.0
    not_read: tuple[str, ...] = ()


class EventKind(enum.Enum):
    """The kinds of notifications."""

    PART_UP = "part-up"
    PART_DOWN = "part-down"
    RESTARTED = "restarted"
    """The device says that it restarted."""
    REFUSED = "refused"
    """Somebody asked the device with a wrong secret."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class LineEvent:
    """A notification of a device.

    Args:
        target: id of the target; "": its sender is not configured.
        kind: its kind.
        once: names this notification: the same one comes with the same text (at most 64 characters).
        heard_s: unix seconds when it came.
        index: the device's number of the part (ifIndex); None: of the device itself.
        part: key of the part where the notification itself names one; "": look for `index`.
        told: one line for people: the notification's name and its values.
        authenticated: whether a secret of the device proves who sent it: by a digest, not in clear.
    """

    target: str
    kind: EventKind
    once: str
    heard_s: int
    index: int | None = None
    part: str = ""
    told: str = ""
    authenticated: bool = False
