"""Limits on the rows of each device, so that none can fill the disk, and the times by which states are judged."""

from __future__ import annotations

from typing import Final

PARTS_MAX: Final = 8192
"""Parts of one device. An OLT of 16 PON ports with 128 ONUs each has some 2,100."""
PARTS_KEPT: Final = 2 * PARTS_MAX
"""The same with those that are no longer there: a radio to which strangers connect knows new ones at each reading."""
GONE_KEPT_S: Final = 30 * 86_400
"""How long a part or a neighbor is known that is no longer there. Chosen arbitrarily."""
MACS_MAX: Final = 20_000
"""MAC addresses of one device: those that it has now before those that it had. Chosen arbitrarily."""
MAC_KEPT_S: Final = 14 * 86_400
"""How long it is known where a MAC address was. A device forgets it minutes after its line went down."""
NEIGHBORS_MAX: Final = 1000
NEIGHBORS_KEPT: Final = 2 * NEIGHBORS_MAX
"""The same with those that are no longer heard."""
EVENTS_MAX: Final = 200
"""Notifications of one device; the newest are kept. Chosen arbitrarily."""
SAME_EVENT_S: Final = 300
"""The same notification within this time is a retry. Later it is another one: agents without a clock repeat theirs to
the octet. Twice the time within which an authentic one counts, so that a replay is too old to be another one."""
NUMBER_MOST: Final = (1 << 63) - 1
"""The largest integer of SQLite. A larger one of a device numbers nothing."""
TEXT_CHARS: Final = 200
KEY_CHARS: Final = 100
WORD_CHARS: Final = 64
FACTS_MAX: Final = 12
NOT_READ_MAX: Final = 20
PLACES_MAX: Final = 4
"""Addresses at which the management of one device answers."""

CHANGES_KEPT: Final = 16
"""State changes of a part with known times."""
FLAP_WINDOW_S: Final = 1800
FLAP_CHANGES: Final = 5
"""So many changes within the window are flapping: two failures with their ends in half an hour are not."""
JITTER_S: Final = 10
"""By how much a device's own "since" wobbles: it counts hundredths of a second from a start that we estimate."""
EVENT_HOLDS_S: Final = 30
"""A reading that ends so soon after a notification may have asked before it: the notification stands until the next."""
RESTART_S: Final = 90
"""By so much the estimated start of a device must move to be another start: slow answers shift it by seconds."""
SILENT_READINGS: Final = 2
"""Failed readings in a row after which a device counts as silent in an outage: one lost packet is none."""
OLD_READINGS: Final = 2
"""A state is old once so many readings of it are due and none came."""
USUAL_SHARE: Final = 0.02
"""How much of a new value goes into the usual one: half of it is from the last 3 hours at one reading in 5 minutes."""
FADE_DB: Final = 6.0
"""A level so far below its usual one is fading, and does not change the usual one."""
WAY_MACS: Final = 8
"""A port with more addresses leads to more than one subscriber: a house with a bridged CPE has fewer."""
TOGETHER_S: Final = 600
"""Parts that failed within this time failed together: two readings at one in five minutes."""
TOGETHER_LEAST: Final = 3
CLAIMS_SHOWN: Final = 2
"""Links of a device that only one end tells of, and that its cause shows. Chosen arbitrarily."""
RESTART_SHOWN_S: Final = 1800
"""So long a restart is told of in outages."""
ERRORS_PER_S: Final = 1.0
"""So many errored packets a second make a part bad."""
SERVICE_MACS_MAX: Final = 4
"""MAC addresses of one service that are remembered: a CPE that was replaced has another one."""
