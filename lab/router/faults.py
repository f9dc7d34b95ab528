"""Faults of a router, command by command.

command-lost             the command is swallowed: not done, not answered
reply-lost               done, not answered
cut-before               the connection is cut, nothing done
cut-after                done, then the connection is cut without an answer
slow:SECONDS             done, answered that much later
drift                    another admin's change (a function given with the fault) is made just before
trap:TEXT                refused with that text, nothing done
no-effect                answered as if it were done, nothing done; it meets no print, whose answer would be false
reboot                   the router restarts instead of doing it; every connection is cut
max-sessions             every session that the service allows is taken by somebody else
reuse-ids                a new row gets the .id that was freed last

A fault takes commands with a path that begins with `match` (all of them when it is empty), `times` of them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lab.router.errors import UnknownRouterFaultError

DriftingT = TypeVar("DriftingT")
"""The router that a drift changes. Faults only keep that change for it."""


class FaultKind(enum.Enum):
    """The names."""

    COMMAND_LOST = "command-lost"
    REPLY_LOST = "reply-lost"
    CUT_BEFORE = "cut-before"
    CUT_AFTER = "cut-after"
    SLOW = "slow"
    DRIFT = "drift"
    TRAP = "trap"
    NO_EFFECT = "no-effect"
    REBOOT = "reboot"
    MAX_SESSIONS = "max-sessions"
    REUSE_IDS = "reuse-ids"


# these hold until they are taken back, and belong to no command
_STANDING = (FaultKind.MAX_SESSIONS, FaultKind.REUSE_IDS)


@dataclass(slots=True)
class Fault(Generic[DriftingT]):
    """A fault in force. `seconds` for SLOW, `text` for TRAP, `drift` for DRIFT; `times` counts down to nothing."""

    kind: FaultKind
    match: str = ""
    times: int = 1
    seconds: float = 0.0
    text: str = ""
    drift: Callable[[DriftingT], object] | None = None

    def meets(self, command: str) -> bool:
        """Tell whether it takes a command."""
        reads = self.kind is FaultKind.NO_EFFECT and command.endswith("/print")
        return self.times > 0 and command.startswith(self.match) and not reads


def parse_fault(described: str) -> tuple[FaultKind, float, str]:
    """Read a fault as written above: kind, seconds, text.

    Raises:
        UnknownRouterFaultError: no such name, or its argument is missing or out of range.
    """
    name, _, argument = described.strip().partition(":")
    try:
        kind = FaultKind(name.lower())
    except ValueError as err:
        expected = ", ".join(k.value for k in FaultKind)
        raise UnknownRouterFaultError(f"expected one of {expected}, got {name!r}") from err
    if kind is FaultKind.SLOW and re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", argument):
        return kind, float(argument), ""
    if kind is FaultKind.TRAP and argument:
        return kind, 0.0, argument
    if kind in (FaultKind.SLOW, FaultKind.TRAP) or argument:
        raise UnknownRouterFaultError(f"expected slow:SECONDS, trap:TEXT or a name alone, got {described!r}")
    return kind, 0.0, ""


class Faults(Generic[DriftingT]):
    """A router's faults in force, and their hits: `met` counts by kind."""

    def __init__(self) -> None:
        self._waiting: list[Fault[DriftingT]] = []
        self._standing: set[FaultKind] = set()
        self.met: dict[FaultKind, int] = {}

    def inject(
        self,
        described: str,
        *,
        match: str = "",
        times: int = 1,
        drift: Callable[[DriftingT], object] | None = None,
    ) -> Fault[DriftingT]:
        """Put a fault in force, as named in the module's list.

        Raises:
            UnknownRouterFaultError: no such fault, or drift without the change to make.
        """
        kind, seconds, text = parse_fault(described)
        if (kind is FaultKind.DRIFT) != (drift is not None):
            raise UnknownRouterFaultError("expected a change to make with drift, and with nothing else")
        fault = Fault(kind, match, times, seconds, text, drift)
        if kind in _STANDING:
            self._standing.add(kind)
        else:
            self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Take every fault back."""
        self._waiting.clear()
        self._standing.clear()

    def holds(self, kind: FaultKind) -> bool:
        """Tell whether a standing fault is in force."""
        return kind in self._standing

    def take(self, command: str) -> list[Fault[DriftingT]]:
        """The faults that meet this command; at most one of each kind, and each is used up by one."""
        taken: list[Fault[DriftingT]] = []
        for fault in self._waiting:
            if fault.meets(command) and all(f.kind is not fault.kind for f in taken):
                fault.times -= 1
                taken.append(fault)
                self.met[fault.kind] = self.met.get(fault.kind, 0) + 1
        self._waiting = [f for f in self._waiting if f.times > 0]
        return taken
