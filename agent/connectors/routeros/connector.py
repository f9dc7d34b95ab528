"""The RouterOS connector: its targets (routers, by their API), and each access method on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

import trio

from agent.connectors.base import AddressHolder, DeviceReport, Reach, Session, Traits, UnreadableError
from agent.connectors.routeros import api_session, prepare
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.addresses import ALL, RouterResource
from agent.connectors.routeros.addresses import address as resource_address
from agent.connectors.routeros.api_session import Endpoint
from agent.connectors.routeros.carrier_session import dial
from agent.connectors.routeros.limits import CONNECTING_MAX
from agent.connectors.routeros.line import RouterLine
from agent.connectors.routeros.live_sessions import EFFECTS
from agent.connectors.routeros.session import SETTLE_S, RouterSession
from agent.line_model.reading import Neighbor
from agent.model import Absent, Target
from agent.reasons import TargetReason
from agent.runtime.clock import SteadyWall

if TYPE_CHECKING:
    from agent.connectors.base import AccessMethod, CannotEnforce, DeviceNeeds, Preparation, PrepareTerms
    from agent.connectors.routeros.api_session import RouterApi
    from agent.connectors.routeros.carrier_session import Dial
    from agent.connectors.routeros.rows import Commit
    from agent.connectors.routeros.schema import Credential, RouterosConfig, RouterTarget
    from agent.model import Address, Seen, Step, Value
    from agent.runtime.clock import Clock

_IPV6: Final = 6
WINDOW: Final = 8
"""Steps in flight per target, all on the connections of one or two users: a router has some twenty
for everybody."""


class RouterosConnector:
    """Implements `agent.connectors.base.Changes`, `DeviceFacts`, `Prepares` and `SeesNeighbors`."""

    def __init__(
        self,
        config: RouterosConfig,
        secrets: Callable[[str], bytes],
        commit: Commit,
        *,
        clock: Clock,
        window: int = WINDOW,
        reach: Dial = dial,
    ) -> None:
        """Take the configuration; nothing is opened before `dial`.

        Args:
            config: targets and methods.
            secrets: the vault: name -> secret, or UnreadableError.
            commit: keyed commitment (label, secret value) -> 64 hex digits.
            clock: of tickets' deadlines, and of values read.
            window: steps in flight per target.
            reach: how a router is reached.
        """
        self.traits = Traits(
            conditional=False,
            settle_s=SETTLE_S,
            window=window,
            reach=Reach.DIAL,
            census="online/all",
            effects=EFFECTS,
        )
        self._routers = {t.id: t for t in config.targets}
        self.targets: Sequence[Target] = tuple(Target(t.id, "routeros", t.identity) for t in config.targets)
        self.access_methods: Mapping[str, AccessMethod] = {m.name: access_method_of(m) for m in config.methods}
        self._secrets, self._commit, self._reach = secrets, commit, reach
        self._clock, self._steady = clock, SteadyWall(clock)
        self._lines: dict[str, RouterLine] = {}
        self._connecting = trio.CapacityLimiter(CONNECTING_MAX)

    def dial(self, target: Target) -> AbstractAsyncContextManager[Session]:
        """Return a session to `target`; the router is connected to when it is first needed, until the session is left.

        Raises:
            UnreadableError: on entering, when no such target is configured.
        """
        return self._dial(target)

    @asynccontextmanager
    async def _dial(self, target: Target) -> AsyncIterator[Session]:
        router = self._routers.get(target.id)
        if router is None:
            raise UnreadableError(f"no target {target.id} is configured", reason=TargetReason.REFUSED)
        async with trio.open_nursery() as nursery:
            connect = partial(self._connect, nursery, router)
            line = self._lines[target.id] = RouterLine(target, router, self._secrets, connect, self._clock)
            try:
                yield RouterSession(target, router, line, self._commit, self._clock, self._steady)
            finally:
                del self._lines[target.id]
            nursery.cancel_scope.cancel()

    async def serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        """Return at once: routers are dialed."""

    def holders_at(self, target: str, address: str) -> Address:
        """Return where a router's sessions, dynamic leases and bindings are read, with their addresses."""
        six = ip_address(address).version == _IPV6
        return resource_address(target, RouterResource.HELD6 if six else RouterResource.HELD, ALL)

    def holders_of(self, target: str, address: str, value: Value) -> Sequence[AddressHolder]:
        """Return the owners of the sessions, dynamic leases and bindings with the address."""
        rows = {} if isinstance(value, Absent) else value
        place = target.partition("/")[2]
        found = []
        for held, text in rows.items():
            what, _, owner = str(text).partition(" of ")
            if _holds(held, address):
                found.append(AddressHolder(owner, f"a {what} on {place}"))
        return found

    def preparation_reads(
        self, target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: Mapping[Address, Seen]
    ) -> Collection[Address]:
        """Return rules, profiles and lists."""
        return prepare.reads(target, needs, terms, seen)

    def preparation(
        self, target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: Mapping[Address, Seen]
    ) -> Preparation | CannotEnforce:
        """Return the rows that a router lacks."""
        return prepare.preparation(target, needs, terms, seen)

    def undo_reads(self, target: str, steps: Sequence[Step]) -> Collection[Address]:
        """Return the members of the lists that the steps' rules drop."""
        return prepare.undo_reads(target, steps)

    def undo_refusal(self, target: str, steps: Sequence[Step], seen: Mapping[Address, Seen]) -> str:
        """Return that somebody is in such a list; "": nobody is."""
        return prepare.undo_refusal(target, steps, seen)

    def reports(self) -> Sequence[DeviceReport]:
        """Return the facts about each router, as last read; nothing is sent."""
        return [self._report(router) for router in self._routers.values()]

    def _report(self, router: RouterTarget) -> DeviceReport:
        line = self._lines.get(router.id)
        return DeviceReport(router.id, f"{router.host}:{router.port}") if line is None else line.report()

    async def probe(self, target: str) -> DeviceReport:
        """Ask a router that is dialed now, by each of its users, and return the facts about it. It writes nothing.

        Raises:
            UnreadableError: no such target is configured, or it is not dialed.
        """
        return await self._line(target).probe()

    async def neighbors(self, target: str) -> Sequence[Neighbor]:
        """Return the devices that a router hears now by MNDP, LLDP and CDP. It writes nothing.

        Raises:
            UnreadableError: no such target is configured, it is not dialed, or it cannot be asked.
        """
        return await self._line(target).neighbors()

    def _line(self, target: str) -> RouterLine:
        line = self._lines.get(target)
        if line is None:
            raise UnreadableError(f"no target {target} is dialed", reason=TargetReason.UNKNOWN_TARGET)
        return line

    async def _connect(
        self, nursery: trio.Nursery, router: RouterTarget, credential: Credential, password: bytes
    ) -> RouterApi:
        endpoint = Endpoint(router.host, router.port, router.fingerprint or None, router.insecure)
        async with self._connecting:
            return await api_session.open_in(
                nursery, endpoint, credential.user, password, timeout_s=router.timeout_s, dial=self._reach
            )


def _holds(held: str, address: str) -> bool:
    """Return whether an address or a prefix, as a router writes it, holds an address."""
    try:
        return ip_address(address) in ip_network(held, strict=False)
    except ValueError:
        return False
