"""Mistakes of a CPE, as real ones make them. Each is off unless it is said.

Where a request is meant it is written `Method` or `Method:path`: `GetParameterValues:Device.Hosts.` is met by every
GetParameterValues that reads something below Device.Hosts., one of the whole tree too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

ONCE: Final = 1


@dataclass(frozen=True, slots=True)
class Quirks:
    """A CPE's habits.

    Attributes:
        truth: how it shows booleans, (true, false): ("true", "false") for some.
        firmware: `silent`: TransferComplete says success and the version is the old one; `stall`: a download begins
            and never ends; `faults`: it fails to write the image and says so (9018).
        reboots_on: after a session with such a request it boots, `reboots` times.
        reboots: see `reboots_on`.
        unsafe_reboot: Reboot loses settings, as a factory reset does.
        empty_tables: tables shown without instances.
        cut_on: it drops the connection at such a request, nothing done.
        fails_on: it answers such a request with fault 9002, nothing done.
        loses_answer_on: it does such a request, then drops the connection before it answers.
        loses: how many answers it loses in all, -1 for all of them.
        lower_oui: its OUI is in lower case.
        garbles: (parameter, bytes) that it sends as its value, as they are: in another encoding, or not escaped.
        blank_names: it writes blanks round the names of parameters.
        id_not_echoed: its answers carry an ID of their own.
        no_id: its answers carry no ID.
        names_max: it reads at most so many parameters at once, and refuses more with 9004; 0: any number.
        writes_ignored: parameters (or partial paths) that a write leaves as they were; it answers as if not.
        writes_coerced: (parameter, value) that it becomes whatever is written.
        keyless: it keeps no ParameterKey.
        status_1: SetParameterValues says 1, and takes effect when the session is over.
        any_type: it takes values of any XML Schema type.
        asks_methods: it asks the ACS for GetRPCMethods after each boot.
        no_cookies: it sends none back.
        preemptive_basic: it sends Basic without being asked.
        no_qop: its Digest is RFC 2069's, whatever the ACS offers.
        chunked: its bodies are chunked.
        gzip: its bodies are gzip.
        busy: it answers connection requests with 503.
        deaf: it takes connection requests and does not call in.
    """

    truth: tuple[str, str] = ("1", "0")
    firmware: Literal["", "silent", "stall", "faults"] = ""
    reboots_on: tuple[str, ...] = ()
    reboots: int = ONCE
    unsafe_reboot: bool = False
    empty_tables: tuple[str, ...] = ()
    cut_on: tuple[str, ...] = ()
    fails_on: tuple[str, ...] = ()
    loses_answer_on: tuple[str, ...] = ()
    loses: int = ONCE
    lower_oui: bool = False
    garbles: tuple[tuple[str, bytes], ...] = ()
    blank_names: bool = False
    id_not_echoed: bool = False
    no_id: bool = False
    names_max: int = 0
    writes_ignored: tuple[str, ...] = ()
    writes_coerced: tuple[tuple[str, str], ...] = ()
    keyless: bool = False
    status_1: bool = False
    any_type: bool = False
    asks_methods: bool = False
    no_cookies: bool = False
    preemptive_basic: bool = False
    no_qop: bool = False
    chunked: bool = False
    gzip: bool = False
    busy: bool = False
    deaf: bool = False


NONE: Final = Quirks()


def meets(described: Iterable[str], method: str, names: Iterable[str]) -> bool:
    """Tell whether a request with these names is one of those described."""
    asked = tuple(names)
    for one in described:
        wanted, _, path = one.partition(":")
        if wanted == method and (not path or any(n.startswith(path) or path.startswith(n) for n in asked)):
            return True
    return False


def covers(described: Iterable[str], name: str) -> bool:
    """Tell whether a parameter is one of those described, or below one of the partial paths."""
    return any(name == one or (one.endswith(".") and name.startswith(one)) for one in described)
