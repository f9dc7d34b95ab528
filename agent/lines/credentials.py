"""Credentials of which every device fell silent: a changed community or key looks like an outage. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.age import age_text
from agent.connectors.base import SharedCredential
from agent.lines.known import KnownDevice
from agent.lines.limits import TOGETHER_LEAST


@dataclass(frozen=True, slots=True)
class SilentCredential:
    """A credential that no device answers to any more.

    `devices`: how many have it; `since_s`: when the last of them fell silent, unix seconds.
    """

    name: str
    devices: int
    since_s: int

    def text(self, now_s: float) -> str:
        """Return the problem, for people."""
        for_ = age_text(max(int(now_s) - self.since_s, 0))
        return f"all {self.devices} devices with credential {self.name} are silent for {for_}: was it changed?"


def silent_credentials(
    credentials: Iterable[SharedCredential], devices: Mapping[str, KnownDevice]
) -> list[SilentCredential]:
    """Return the credentials of which all devices are silent or refuse, where some device answered once.

    A few devices with one credential may be away for one reason; many are not without a common one.
    """
    found = []
    for one in credentials:
        known = [device for target in one.targets if (device := devices.get(target)) is not None]
        lost = [device for device in known if device.silent or device.refuses]
        if len(lost) >= TOGETHER_LEAST and len(lost) == len(one.targets) and any(device.read_s for device in lost):
            found.append(SilentCredential(one.name, len(lost), max(device.unread_s for device in lost)))
    return found
