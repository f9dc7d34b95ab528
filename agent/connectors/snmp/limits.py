"""Bounds of the engine, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DATAGRAM_BYTES_MAX: Final = 65_535
"""Length field of UDP (RFC 768)."""
MESSAGE_BYTES_MAX: Final = 65_507
"""The largest UDP payload over IPv4: the `msgMaxSize` that we announce."""
READING_OCTETS_MAX: Final = 48 << 20
"""Of the answers of one reading; nothing beyond is asked. Values take some eight times as much memory as octets."""
ASIDE_VALUES: Final = 5_000
"""A reading of more values is computed in a thread: 10,000 of them take a tenth of a second."""
GET_VARBINDS: Final = 40
"""Names in one GET: the answer stays below 1,472 octets where values are short. Halved where a device says tooBig."""
REPORTS_MAX: Final = 3
"""Reports that one request obeys: discovery, a restart, and one more. An agent that sends more is not asked again."""
TIME_WINDOW_S: Final = 150
"""RFC 3414, section 2.2.3."""
BOOTS_MAX: Final = (1 << 31) - 1
"""RFC 3414, section 2.2.2: an engine with so many restarts answers nobody until it is configured anew."""
ENGINE_ID_BYTES_MAX: Final = 32
"""RFC 3411, SnmpEngineID."""
ENGINES_KEPT: Final = 8_192
"""Engines of senders whose keys and time are remembered: more devices than one agent polls."""
QUEUED_MAX: Final = 2_048
"""Notifications that wait to be recorded; more are dropped and counted, of the sender that has most of them."""
HEARD_AT_ONCE: Final = 8
"""Notifications of different senders that are recorded at the same time: the store commits many as one."""
REMEMBERED_MAX: Final = 20_000
"""Notifications that are remembered, so that copies and retries of them are known again."""
REPEATED_S: Final = 300.0
"""The same notification so long after it was heard is a retry. Later it is another one: agents without a clock repeat
theirs to the octet. Twice the time window, so that a replay of version 3 is out of time by then."""
SENDER_RATE: Final = 20.0
SENDER_BURST: Final = 200.0
"""Datagrams a second, and at once, that are read of one configured sender: a switch that reboots sends a link-up of
each of its ports."""
STRANGER_RATE: Final = 20.0
STRANGER_BURST: Final = 100.0
"""The same for all senders together that are not configured."""
ALL_RATE: Final = 500.0
ALL_BURST: Final = 2_000.0
"""The same for all senders together, with communities and with users each: at 0.1 ms each, parsing takes a tenth of one
processor."""
FAIR_S: Final = 10.0
"""So long it counts what a sender had of a common budget: 300 senders with one notification each fit into a tenth."""
SENDERS_KEPT: Final = 8_192
"""Senders with a remembered budget."""
GROW_AFTER: Final = 4
"""Whole answers in a row before more repetitions are tried again; chosen arbitrarily."""
ALIVE_S: Final = 30.0
"""A device that answered within this time is alive: its silence about a request may be about the size of the answer."""
SHORT_BUFFER_TRIES: Final = 6
"""Times that a request is made smaller for a device that no longer answers; 64 repetitions halved so often are one."""


@dataclass(frozen=True, slots=True)
class SnmpLimits:
    """How patiently, how much and how much at once one device is asked.

    Args:
        timeout_s: wait for an answer; a retry waits half as long again.
        retries: further tries of a request that is not answered.
        repetitions: rows of one GETBULK at most; fewer where a device proves too small for them.
        varbinds: values that one GETBULK asks for at most, rows × columns: a switch of 48 ports in one answer of 22 kB.
        walked: values of one walk at most; a device that has more is taken for endless.
        walked_octets: of the answers of one walk at most: values may have 64 KiB each. A router with 30,000 interfaces
            of 23 columns sends 20 MB.
        in_flight: requests at once.
        other_source: after silence, ask once more and listen for answers from other addresses, to name them.
    """

    timeout_s: float = 2.0
    retries: int = 2
    repetitions: int = 50
    varbinds: int = 1_200
    walked: int = 500_000
    walked_octets: int = 32 << 20
    in_flight: int = 1
    other_source: bool = False
