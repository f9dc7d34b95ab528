"""Reason codes of LibreNMS, beside those of `agent.reasons`."""

from __future__ import annotations

from agent.reasons import ExplainedReason


class LibrenmsReason(ExplainedReason):
    """Reasons that only LibreNMS has."""

    LATE_POLLER = (
        "late-poller",
        "LibreNMS polled devices later than it should: what it says of them is as old as its last poll.",
        "Look at its pollers: Settings, Poller. The agent shows the age of each value.",
    )
    CLOCK_DIFFERS = (
        "clock-differs",
        "LibreNMS says that it polled devices in the future: its clock or its time zone is another one.",
        "Set its clock, or timezone in its section.",
    )
    DEVICES_UNREAD = (
        "devices-unread",
        "Answers about some devices could not be read or understood.",
        "Read the detail; other devices are read all the same.",
    )
    LEFT_OUT = (
        "left-out",
        "Devices that LibreNMS does not poll (disabled) are left out.",
        "Enable them there, or poll them with SNMP.",
    )
    NOT_ALL_TOLD = (
        "not-all-told",
        "LibreNMS did not answer some of the questions about a device.",
        "Read the detail: often the token's user may not read it (global read access).",
    )
