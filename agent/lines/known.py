"""Devices and their parts as they were read last. A value that nobody read is absent."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.line_model.reading import EventKind, LinkState, PartKind
from agent.lines.limits import ERRORS_PER_S, FADE_DB, FLAP_CHANGES, FLAP_WINDOW_S, OLD_READINGS, SILENT_READINGS

LEVELS = ("rx_power_dbm", "olt_rx_power_dbm", "signal_dbm", "remote_signal_dbm", "snr_db", "remote_snr_db")
"""Measures of which more is better and a fall is a failing line, the most telling first."""


class SinceHow(enum.Enum):
    """How it is known since when a part is in its state."""

    TOLD = "told"
    """The device says so."""
    SEEN = "seen"
    """It was read otherwise before, or a notification told of the change."""
    FIRST = "first"
    """It was so when it was read first: since then or longer."""


class StateHow(enum.Enum):
    """The evidence of a part's state."""

    READ = "read"
    NOTIFIED = "notified"
    """A notification that a secret of the device proves."""
    UNPROVEN = "unproven"
    """It was read so; a notification that anybody could have sent tells otherwise, and the next reading decides."""


@dataclass(frozen=True, slots=True)
class Growth:
    """An error counter: its value, by how much it grew last, when that was read, and within how many seconds.

    `since_s`: since when it has been growing so fast that its part is bad, unix seconds; 0: it is not.
    """

    total: int
    grew: int = 0
    at_s: int = 0
    within_s: int = 0
    since_s: int = 0

    def bad(self) -> bool:
        """Return whether it grew as fast as on a bad line."""
        return self.grew >= ERRORS_PER_S * max(self.within_s, 1)


@dataclass(frozen=True, slots=True)
class KnownPart:
    """A part of a device as it was read last.

    Args:
        target: id of its device.
        key: its natural key there.
        kind: its kind.
        name: the device's name of it.
        alias: its description on the device.
        state: the last known state.
        told: that state in the device's words.
        since_s: since when it is in that state, unix seconds.
        since_how: how that is known.
        how: the evidence for the state.
        event_s: when a notification told of it last; 0: none did.
        seen_s: when it was last in a reading; 0: it is in the last one.
        gone: whether it is no longer there, though its kind was read.
        mac: its own MAC address, or "".
        serial: its serial number, or "".
        parent: key of the part that it hangs on, or "".
        index: the device's own number of it.
        measures: as read last.
        usual: the usual levels.
        before: measures of the last reading before its state changed, and `before_s`, when that was.
        errors: error counters.
        facts: other texts for people.
        changes: when its state changed, the newest last.
        fades_s: since when one of its levels is far below its usual value, unix seconds; 0: none is.
    """

    target: str
    key: str
    kind: PartKind
    name: str
    alias: str = ""
    state: LinkState = LinkState.UNKNOWN
    told: str = ""
    since_s: int = 0
    since_how: SinceHow = SinceHow.FIRST
    how: StateHow = StateHow.READ
    event_s: int = 0
    seen_s: int = 0
    gone: bool = False
    mac: str = ""
    serial: str = ""
    parent: str = ""
    index: int | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    usual: Mapping[str, float] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    before_s: int = 0
    errors: Mapping[str, Growth] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[int, ...] = ()
    fades_s: int = 0

    def fading(self) -> str:
        """Return the measure that is far below its usual value; "": none is."""
        for name in LEVELS:
            now, usual = self.measures.get(name), self.usual.get(name)
            if now is not None and usual is not None and now <= usual - FADE_DB:
                return name
        return ""


def flaps(changes: Sequence[int], now_s: float) -> int:
    """Return how often a state changed within the window, if so often that it flaps; else 0."""
    recent = sum(1 for at_s in changes if at_s > now_s - FLAP_WINDOW_S)
    return recent if recent >= FLAP_CHANGES else 0


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as it was read last.

    Args:
        target: id of the target.
        profile: by which it is understood.
        identity: its own name; `hardware`, `version`, `serial`, `object_id`: as in a reading.
        read_s: when it was read last, unix seconds; 0: never.
        every_s: seconds between its readings.
        booted_s: when it started, as far as that is known; 0: it is not.
        boots: its own number of starts.
        unread_s: since when it could not be read; 0: it was, the last time.
        answers: whether it did answer the last time, or was not asked: it refused, or a secret is missing.
        why: why it could not be read.
        fails: failed readings in a row.
        macs_s: when its MAC addresses were read last.
        restarts: when it restarted, as seen here, the newest last.
        replaced_s: when another device was found behind its address; 0: never.
        replaced: the differences found then.
        not_read: questions that it left open at the last reading.
        source: the system that read it, for people; "": the agent did.
        places: where its management answers, ADDRESS:PORT.
        hidden_by: the target that answers for the same device; "": none, it is shown itself.
    """

    target: str
    profile: str = ""
    identity: str = ""
    hardware: str = ""
    version: str = ""
    serial: str = ""
    object_id: str = ""
    read_s: int = 0
    every_s: float = 300.0
    booted_s: int = 0
    boots: int | None = None
    unread_s: int = 0
    answers: bool = True
    why: str = ""
    fails: int = 0
    macs_s: int = 0
    restarts: tuple[int, ...] = ()
    replaced_s: int = 0
    replaced: str = ""
    not_read: tuple[str, ...] = ()
    source: str = ""
    places: tuple[str, ...] = ()
    hidden_by: str = ""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.target.partition("/")[2]

    @property
    def silent(self) -> bool:
        """Whether it was asked often enough in vain to say so."""
        return self.unread_s > 0 and not self.answers and self.fails >= SILENT_READINGS

    @property
    def refuses(self) -> bool:
        """Whether it cannot be read though it is not silent: nothing is known of those behind it."""
        return self.unread_s > 0 and self.answers

    def fresh(self, now_s: float) -> bool:
        """Return whether its last reading is neither old nor followed by silence or a refusal."""
        return self.read_s > 0 and not (self.silent or self.refuses or self.old(now_s))

    def old(self, now_s: float) -> bool:
        """Return whether its last reading is older than twice the time between readings."""
        return now_s - self.read_s > OLD_READINGS * self.every_s


@dataclass(frozen=True, slots=True)
class KnownMac:
    """A MAC address where a device has it, or had it. `mac`: twelve hex digits. `seen_s`: 0: it is there now."""

    mac: str
    target: str
    part: str
    vlan: int = 0
    address: str = ""
    seen_s: int = 0


@dataclass(frozen=True, slots=True)
class KnownNeighbor:
    """A neighbor that a device hears, or heard, at a part. `seen_s`: when last; 0: in its last reading."""

    target: str
    port: str
    identity: str
    address: str
    mac: str
    platform: str = ""
    remote_port: str = ""
    interface: str = ""
    seen_s: int = 0


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """A notification that was heard. `part`: key of the part that it was about, or ""."""

    target: str
    kind: EventKind
    heard_s: int
    part: str
    told: str
    authenticated: bool
