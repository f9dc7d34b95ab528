"""The errors of the lab.

LabError
├── MalformedPacketError    bytes from a peer are not a RADIUS packet, or not the one expected
├── UnknownAttributeError   an attribute name that the lab's dictionary lacks
├── AttributeValueError     a value that does not fit its attribute
├── LabDatabaseError        the RADIUS database refused or could not be reached
├── NoAnswerError           the RADIUS server did not answer
└── UnknownFaultError       no fault of that name
"""

from __future__ import annotations


class LabError(Exception):
    """Any error of the lab."""


class MalformedPacketError(LabError):
    """Bytes that are not a RADIUS packet, or not the packet that was expected."""


class UnknownAttributeError(LabError):
    """An attribute name that is not in the dictionary."""


class AttributeValueError(LabError):
    """A value that its attribute cannot hold."""


class LabDatabaseError(LabError):
    """The database refused, or is not there."""


class NoAnswerError(LabError):
    """The RADIUS server did not answer within the retransmissions."""


class UnknownFaultError(LabError):
    """A fault name that the lab does not know."""
