"""The errors of the lab's SNMP devices.

LabError
└── SnmpLabError
    ├── MalformedSnmpError    bytes from a peer are no SNMP message
    ├── RecordingError        a line of a recording that cannot be read, with its file and number
    ├── NoSuchPartError       no device, interface or ONU of that name
    └── SnmpValueError        a value that its type cannot hold, or no OID
"""

from __future__ import annotations

from lab.errors import LabError


class SnmpLabError(LabError):
    """Any error of the lab's SNMP devices."""


class MalformedSnmpError(SnmpLabError):
    """Bytes that are no SNMP message, or not one that may stand there."""


class RecordingError(SnmpLabError):
    """A recording that cannot be read."""


class NoSuchPartError(SnmpLabError):
    """No device, interface, radio or ONU of that name."""


class SnmpValueError(SnmpLabError):
    """A value that its type cannot hold, or a text that is no OID."""
