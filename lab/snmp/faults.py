"""Faults of a device, as numbers to set at any time; `parse_fault` reads them as a person writes.

loss:PERCENT            that many of the answers get lost
delay:SECONDS           every answer comes that much later
jitter:SECONDS          and by up to that much more
duplicate               every answer comes twice
silence                 no answer at all
truncate:OCTETS         the datagram ends that much earlier than it says
lie:OCTETS              the outermost length says that much more than there is
too-big:VARBINDS        tooBig for an answer of more varbinds
loop:VARBINDS           behind so many values GETNEXT and GETBULK go back to the first of them
unsorted                values of GETNEXT and GETBULK come in pairs the wrong way around
other-port              the answer comes from another port
other-address           the answer comes from another address (IPv4 on loopback)
wrong-request-id        the answer has another request-id
wrong-oid               a GET is answered with another OID than was asked for
broken-below:OID        genErr for everything below this OID
set-ignored             a SET is answered noError and changes nothing
set-lost                a SET is done and not answered
set-dropped             a SET gets lost on the way: neither done nor answered
set-late:SECONDS        a SET is done so much later, and not answered
set-error:STATUS        a SET is answered with this error-status, a number, and changes nothing
set-done                with set-error: it is done all the same
no-report               v3: silence where a Report is due
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from lab.errors import UnknownFaultError
from lab.snmp import ber

_NUMBER: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


@dataclass(slots=True)
class Faults:
    """The faults in force; the zero of each is a device that works."""

    loss_percent: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    duplicate: bool = False
    silence: bool = False
    truncate: int = 0
    lie: int = 0
    too_big: int = 0
    loop: int = 0
    unsorted: bool = False
    other_port: bool = False
    other_address: bool = False
    wrong_request_id: bool = False
    wrong_oid: bool = False
    broken_below: str = ""
    set_ignored: bool = False
    set_lost: bool = False
    set_dropped: bool = False
    set_late: float = 0.0
    set_error: int = 0
    set_done: bool = False
    no_report: bool = False

    def clear(self) -> None:
        """Take all of them back."""
        for field in fields(self):
            setattr(self, field.name, field.default)

    def put(self, text: str) -> None:
        """Put a fault in force that is written as above; `none` takes all back.

        Raises:
            UnknownFaultError: no such fault, or its number is missing.
        """
        if text.strip() == "none":
            self.clear()
            return
        name, value = parse_fault(text)
        setattr(self, name, value)


_NAMES: Final = {
    {"loss_percent": "loss", "delay_s": "delay", "jitter_s": "jitter"}.get(f.name, f.name.replace("_", "-")): f
    for f in fields(Faults)
}


def parse_fault(text: str) -> tuple[str, float | int | bool | str]:
    """Return the field of `Faults` and the value that a text means.

    Raises:
        UnknownFaultError: no such fault, or its number is missing or out of range.
    """
    name, _, argument = text.strip().partition(":")
    field = _NAMES.get(name)
    if field is None:
        raise UnknownFaultError(f"expected one of {', '.join(_NAMES)}, got {name!r}")
    kind = type(field.default)
    if kind is bool and not argument:
        return field.name, True
    if kind is str and argument:
        ber.oid(argument)
        return field.name, argument
    if kind in (int, float) and _NUMBER.fullmatch(argument):
        number = float(argument)
        if kind is float and not (name == "loss" and number > 100):
            return field.name, number
        if kind is int and number.is_integer():
            return field.name, int(number)
    wanted = {bool: f"{name} alone", str: f"{name}:OID"}.get(kind, f"{name}:NUMBER")
    raise UnknownFaultError(f"expected {wanted}, got {text!r}")
