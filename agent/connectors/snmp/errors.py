"""Errors of the SNMP connector.

* SnmpError
  x NoOidError: a text that is no object identifier
  x UnusableCredentialError: a credential that SNMP does not allow, or that lacks something
  x MalformedSnmpError: bytes that are no SNMP message
  x UncountedMessageError: a message that is none of ours, or not authentic
  x UnsentRequestError: nothing could be sent to the device; it knows nothing of the request
  + RemoteSnmpError: the device, or the way to it
    x SilentError: no answer that counts came; whether a SET was done is unknown
    x RequestRefusedError: the device answered that it does not do it
    x AgentFaultError: its answers contradict the standard: loops, wrong names, endless tables
  x SnmpProfileError: a profile file that is wrong
  x MalformedRecordingError: a line of a recording that is none
  x NoPrefixError: a text that is no prefix to search
"""

from __future__ import annotations


class SnmpError(Exception):
    """Anything that this connector raises by itself."""


class NoOidError(SnmpError):
    """A text that is no object identifier."""

    def __init__(self, text: str) -> None:
        super().__init__(f"expected an OID such as 1.3.6.1.2.1.1.5.0, got {text[:80]!r}")


class UnusableCredentialError(SnmpError):
    """A credential that SNMP does not allow, or that lacks something."""


class MalformedSnmpError(SnmpError):
    """Bytes that are no SNMP message."""


class UncountedMessageError(SnmpError):
    """A message that is none of ours, or not authentic."""


class UnsentRequestError(SnmpError):
    """Nothing could be sent: no route, no such host."""


class RemoteSnmpError(SnmpError):
    """The device, or the way to it."""


class SilentError(RemoteSnmpError):
    """No answer that counts came in time: unreachable, or wrong secret. Whether a SET was done is unknown."""


class RequestRefusedError(RemoteSnmpError):
    """The device answered that it does not do it.

    Attributes:
        status: the standard's word for the reason, such as `noAccess`, or the name of a counter of USM.
    """

    def __init__(self, text: str, status: str) -> None:
        super().__init__(text)
        self.status = status


class AgentFaultError(RemoteSnmpError):
    """The device's answers contradict the standard: it loops, answers other names, or never ends."""


class SnmpProfileError(SnmpError):
    """A profile file that is wrong: it says file, line and key, and the value that was expected and got."""


class MalformedRecordingError(SnmpError):
    """A line of a recording of a device that is none."""

    def __init__(self, line: int, expected: str, got: str) -> None:
        super().__init__(f"recording, line {line}: expected {expected}, got {got[:80]!r}")
