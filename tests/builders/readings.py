"""Readings of devices as tests write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.line_model.reading import DeviceReading, EventKind, LineEvent, LinkState, Part, PartKind
from agent.store.db import Store
from tests.builders.store import TRANSITIONS

AT = 1_800_000_000
UP, DOWN, DISABLED, UNKNOWN = LinkState.UP, LinkState.DOWN, LinkState.DISABLED, LinkState.UNKNOWN


class HandTime:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_s = float(AT)

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """Give the block a store in a folder."""
    store = Store(folder, TRANSITIONS, HandTime())
    try:
        yield store
    finally:
        store.close()


def port(name: str, state: LinkState = UP, **fields: Any) -> Part:
    """Return a port."""
    return Part(f"port/{name}", PartKind.PORT, name, state=state, **fields)


def onu(serial: str, state: LinkState = UP, **fields: Any) -> Part:
    """Return an ONU."""
    return Part(f"onu/{serial}", PartKind.ONU, serial, state=state, serial=serial, **fields)


def reading(after_s: int, *parts: Part, target: str = "snmp/sw-1", **fields: Any) -> DeviceReading:
    """Return a reading of a device, so many seconds after the beginning."""
    return DeviceReading(target, AT + after_s, parts=parts, **fields)


def event(after_s: int, kind: EventKind, once: str, target: str = "snmp/sw-1", **fields: Any) -> LineEvent:
    """Return a notification."""
    return LineEvent(target, kind, once, AT + after_s, **fields)
