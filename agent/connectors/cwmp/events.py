"""Why a CPE calls: the event codes of an Inform (TR-069 section 3.7.1.5)."""

from __future__ import annotations

import enum


class EventCode(enum.StrEnum):
    """The codes that TR-069 defines (14 since Amendment 6).

    Vendors have more (`X 00256D …`, `M X_…`): those stay the device's own string.
    """

    BOOTSTRAP = "0 BOOTSTRAP"
    BOOT = "1 BOOT"
    PERIODIC = "2 PERIODIC"
    SCHEDULED = "3 SCHEDULED"
    VALUE_CHANGE = "4 VALUE CHANGE"
    KICKED = "5 KICKED"
    CONNECTION_REQUEST = "6 CONNECTION REQUEST"
    TRANSFER_COMPLETE = "7 TRANSFER COMPLETE"
    DIAGNOSTICS_COMPLETE = "8 DIAGNOSTICS COMPLETE"
    REQUEST_DOWNLOAD = "9 REQUEST DOWNLOAD"
    AUTONOMOUS_TRANSFER_COMPLETE = "10 AUTONOMOUS TRANSFER COMPLETE"
    DU_STATE_CHANGE_COMPLETE = "11 DU STATE CHANGE COMPLETE"
    AUTONOMOUS_DU_STATE_CHANGE_COMPLETE = "12 AUTONOMOUS DU STATE CHANGE COMPLETE"
    WAKEUP = "13 WAKEUP"
    HEARTBEAT = "14 HEARTBEAT"
    REBOOT = "M Reboot"
    SCHEDULE_INFORM = "M ScheduleInform"
    DOWNLOAD = "M Download"
    SCHEDULE_DOWNLOAD = "M ScheduleDownload"
    UPLOAD = "M Upload"
    CHANGE_DU_STATE = "M ChangeDUState"


_KNOWN = {code.value.lower(): code for code in EventCode}
_NUMBERED = {number: code for code in EventCode if (number := code.value.partition(" ")[0]).isdecimal()}


def event_code(text: str) -> EventCode | str:
    """Return the code that a text is, by its number, else whatever its case and blanks; another text as it came."""
    words = text.split()
    if words and words[0] in _NUMBERED:
        return _NUMBERED[words[0]]
    return _KNOWN.get(" ".join(words).lower(), text)
