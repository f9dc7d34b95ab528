"""The names of devices in a LibreNMS as parts of targets' ids. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from agent.connectors.librenms.rows import DeviceRow

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,99}", re.ASCII)


def names_of(devices: Iterable[DeviceRow]) -> Mapping[str, DeviceRow]:
    """Return devices by name: the hostname there, in lower case; of one that is no name, `device-ID`.

    LibreNMS has no hostname twice. Where it tells one twice all the same, the second is called by its id.
    """
    found: dict[str, DeviceRow] = {}
    for device in devices:
        name = device.hostname.lower()
        if not _NAME.fullmatch(name) or name in found:
            name = f"device-{device.id}"
        found[name] = device
    return found
