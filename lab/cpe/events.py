"""Events that the ACS does not know of yet (TR-069 table 8), and their codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

# code and command key
Event: TypeAlias = tuple[str, str]

BOOTSTRAP: Final = "0 BOOTSTRAP"
BOOT: Final = "1 BOOT"
PERIODIC: Final = "2 PERIODIC"
SCHEDULED: Final = "3 SCHEDULED"
VALUE_CHANGE: Final = "4 VALUE CHANGE"
CONNECTION_REQUEST: Final = "6 CONNECTION REQUEST"
TRANSFER_COMPLETE: Final = "7 TRANSFER COMPLETE"
DIAGNOSTICS_COMPLETE: Final = "8 DIAGNOSTICS COMPLETE"
AUTONOMOUS_TRANSFER_COMPLETE: Final = "10 AUTONOMOUS TRANSFER COMPLETE"
# delivered by TransferCompleteResponse, not by InformResponse
OF_TRANSFERS: Final = frozenset(("M Download", "M Upload", "M ScheduleDownload"))
# what a boot makes pointless
_GONE_AT_BOOT: Final = frozenset((PERIODIC, VALUE_CHANGE, CONNECTION_REQUEST, DIAGNOSTICS_COMPLETE))
# the schemas: at most 64 in an Inform
_INFORM_MAX: Final = 64


def _place(event: Event) -> int:
    """The order of events in an Inform: by number, then those of methods."""
    number = event[0].partition(" ")[0]
    return int(number) if number.isdecimal() else 99


class Events:
    """The events of the next Inform. An event is said once, `M ...` as often as it happened."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Event] = []

    def __iter__(self) -> Iterator[Event]:
        return iter(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)

    def has(self, code: str) -> bool:
        """Tell whether an event of that code waits."""
        return any(event[0] == code for event in self._waiting)

    def add(self, code: str, command_key: str = "", *, being_said: Sequence[Event] = ()) -> None:
        """Add an event. `being_said`: those of an Inform that is not answered yet; it does not say this one."""
        others = self._waiting[:]
        for event in being_said:
            others.remove(event)
        if (code, command_key) not in others or code.startswith("M "):
            self._waiting.append((code, command_key))

    def for_inform(self) -> tuple[Event, ...]:
        """The events of an Inform, in their order."""
        single = dict.fromkeys(event for event in self._waiting if not event[0].startswith("M "))
        self._waiting = [*single, *(event for event in self._waiting if event[0].startswith("M "))]
        return tuple(sorted(self._waiting[:_INFORM_MAX], key=_place))

    def delivered(self, events: Iterable[Event]) -> None:
        """Forget events that the ACS was told of."""
        for event in events:
            if event in self._waiting:
                self._waiting.remove(event)

    def drop(self, code: str) -> None:
        """Forget every event of that code."""
        self._waiting = [event for event in self._waiting if event[0] != code]

    def clear(self) -> None:
        """Forget everything: a factory reset."""
        self._waiting.clear()

    def after_boot(self) -> None:
        """Forget events that a boot makes pointless."""
        self._waiting = [event for event in self._waiting if event[0] not in _GONE_AT_BOOT]
