"""Who sends notifications: configured devices by their addresses, with the secrets that count from each."""

from __future__ import annotations

import socket as stdlib_socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final

import trio

from agent.connectors.base import UnreadableError
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig
from agent.connectors.snmp.credential import SnmpCredential, SnmpVersion
from agent.connectors.snmp.device_session import credential_of
from agent.connectors.snmp.notifications_listener import NotificationSender

AGAIN_S: Final = 60.0
"""How often names are looked up and secrets are taken from the vault again."""


class ConfiguredSenders:
    """Implements `notifications_listener.Senders`: secrets and addresses as of the last `refresh`."""

    def __init__(
        self, config: SnmpConfig, secrets: Callable[[str], bytes], pause: Callable[[float], Awaitable[None]]
    ) -> None:
        """Take the configuration; nobody is known before `refresh`. `pause`: waits so many seconds."""
        self._config, self._secrets, self._pause = config, secrets, pause
        self._known: dict[str, NotificationSender] = {}
        self._stranger = NotificationSender("", ())

    def __call__(self, address: str) -> NotificationSender:
        """Return the sender at an address. A stranger may prove a community, and no more: keys cost time to make."""
        return self._known.get(address, self._stranger)

    async def refresh(self) -> None:
        """Look names up, and take secrets from the vault; a device whose secret is missing proves nothing."""
        made: dict[str, SnmpCredential | None] = {one.name: self._credential(one) for one in self._config.accesses}
        known: dict[str, NotificationSender] = {}
        for device in self._config.devices:
            access = device.notify or device.access
            credential = made[access.name] if access.name in made else self._credential(access)
            sender = NotificationSender(device.id, () if credential is None else (credential,))
            for address in await _addresses(device.address):
                known.setdefault(address, sender)
        self._known = known
        communities = [one for one in made.values() if one is not None and one.version is not SnmpVersion.V3]
        self._stranger = NotificationSender("", tuple(communities))

    async def run(self) -> None:
        """Refresh again and again until cancelled."""
        while True:
            await self._pause(AGAIN_S)
            await self.refresh()

    def _credential(self, access: SnmpAccess) -> SnmpCredential | None:
        try:
            return credential_of(access, self._secrets)
        except UnreadableError:
            return None


async def _addresses(host: str) -> list[str]:
    """Return the addresses of a host; none where its name is not known."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        pass
    try:
        found = await trio.socket.getaddrinfo(host, None, type=stdlib_socket.SOCK_DGRAM)
    except OSError:
        return []
    return [str(place[0]) for *_, place in found]
