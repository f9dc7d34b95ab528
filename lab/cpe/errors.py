"""The errors of the lab's CPE.

LabError
└── CpeError
    ├── MalformedSoapError   bytes from an ACS are no SOAP envelope
    ├── CpeModelError        the text of a data model cannot be read, or a name is not in it
    ├── HttpError            the connection to an ACS or a file server failed, or what came is no HTTP
    ├── MalformedStunError   a datagram that is no STUN message
    └── NotLoopbackError     an address outside this machine: a lab calls nobody there

CwmpFault and HangUp are no LabErrors: the first is the CPE's own refusal, an answer to the ACS; the second is a mistake
of the ACS, or one that the CPE was told to make.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.errors import LabError


class CpeError(LabError):
    """Any error of the lab's CPE."""


class MalformedSoapError(CpeError):
    """Bytes that are no SOAP envelope with one element in its body."""


class CpeModelError(CpeError):
    """A line of a data model that cannot be read, or a name that the model lacks."""


class HttpError(CpeError):
    """The connection failed, or the bytes are no HTTP. `connected`: whether there was a connection at all."""

    def __init__(self, text: str, *, connected: bool = True) -> None:
        super().__init__(text)
        self.connected = connected


class MalformedStunError(CpeError):
    """A datagram that is no STUN message."""


class NotLoopbackError(CpeError):
    """An address outside this machine."""


@dataclass(frozen=True, slots=True)
class ParameterFault:
    """One parameter that SetParameterValues could not set."""

    name: str
    code: int


class CwmpFault(Exception):
    """The CPE refuses a request: a fault code of TR-069 table A.5.1 (9000 to 9032)."""

    def __init__(self, code: int, parameters: tuple[ParameterFault, ...] = ()) -> None:
        super().__init__(str(code))
        self.code = code
        self.parameters = parameters


class HangUp(Exception):
    """The CPE drops the connection here: its text says why."""
