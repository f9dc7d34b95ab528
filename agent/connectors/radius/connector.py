"""The RADIUS connector: its targets (FreeRADIUS databases), and each access method on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, tzinfo
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agent.connectors.base import AddressHolder, NoAnswers, Reach, Session, Traits, UnreadableError
from agent.connectors.radius.access import EFFECTS, RadiusAccess
from agent.connectors.radius.addresses import RadiusResource, live_sessions
from agent.connectors.radius.addresses import address as resource_address
from agent.connectors.radius.answers import NasAnswers
from agent.connectors.radius.checks_session import TargetChecks
from agent.connectors.radius.dictionary import load, profile
from agent.connectors.radius.dynauth import DynAuthClient
from agent.connectors.radius.dynauth_session import DynAuths
from agent.connectors.radius.errors import NasUnreachableError
from agent.connectors.radius.routed_access import read_by_routers
from agent.connectors.radius.routed_ways import with_routers
from agent.connectors.radius.rowset import Table
from agent.connectors.radius.schema import places_of
from agent.connectors.radius.session import SETTLE_S, RadiusSession
from agent.connectors.radius.sql import SqlAuthority
from agent.connectors.radius.sql_connection import Pool
from agent.model import Target
from agent.reasons import TargetReason

if TYPE_CHECKING:
    from agent.connectors.base import AccessMethod, AnswerBook, SessionHost
    from agent.connectors.radius.rowset import Commit
    from agent.connectors.radius.schema import Nas, RadiusConfig
    from agent.connectors.radius.sql_connection import Pools
    from agent.model import Address, Value
    from agent.runtime.clock import Clock

_CLEARTEXT: Final = "Cleartext-Password"
NAME: Final = "radius"
NO_ANSWERS: Final = NoAnswers()
WINDOW: Final = 32
"""Steps in flight per target. Most of them wait for the journal or a NAS; the more wait, the more share a commit."""
CALLS: Final = 8
"""Calls to a target's database at once: FreeRADIUS answers logins from it meanwhile."""


class RadiusConnector:
    """Implements `agent.connectors.base.Connector`."""

    def __init__(
        self,
        config: RadiusConfig,
        secrets: Callable[[str], bytes],
        commit: Commit,
        *,
        clock: Clock,
        window: int = WINDOW,
        zone: tzinfo = UTC,
        hosts: Mapping[str, SessionHost] = MappingProxyType({}),
        book: AnswerBook = NO_ANSWERS,
        pools: Pools = Pool,
    ) -> None:
        """Take the configuration; nothing is opened before `dial`.

        Args:
            config: targets, NAS and methods.
            secrets: the vault: name -> secret, or UnreadableError. Called from worker threads too.
            commit: keyed commitment (label, secret value) -> 64 hex digits.
            clock: of tickets' deadlines, and of values read.
            window: steps in flight per target.
            zone: the RADIUS servers', in which they read dates.
            book: keeps the answers of NAS over a restart.
            hosts: the kinds of devices that a NAS may be, by the first word of their targets' ids.
            pools: makes the connections to a database.
        """
        self.traits = Traits(
            conditional=True,
            settle_s=SETTLE_S,
            window=window,
            reach=Reach.DIAL,
            census="online/all",
            effects=EFFECTS,
        )
        self._methods = config.methods
        self._sql_targets = {t.id: t for t in config.targets}
        self.targets: Sequence[Target] = tuple(Target(t.id, "radius") for t in config.targets)
        self._nas = {n.accounting: n for n in config.nas}
        names = {n.accounting: n.name for n in config.nas}
        watched = frozenset(n.accounting for n in config.nas if n.router)
        read = read_by_routers(config.nas, hosts)
        alone = {
            m.name: RadiusAccess(
                m, self._sql_targets[m.target], names, zone, watched, places_of(m, config.nas, read.keys())
            )
            for m in config.methods
        }
        self.access_methods: Mapping[str, AccessMethod] = with_routers(alone, config, hosts)
        self._secrets, self._commit, self._clock = secrets, commit, clock
        self._pools = pools
        self._learned: dict[str, frozenset[str]] = {}
        self._book = book
        self._answers = NasAnswers(book.kept(NAME))

    def dial(self, target: Target) -> AbstractAsyncContextManager[Session]:
        """Return a session to `target`; the database and the NAS are connected to when they are first needed.

        Raises:
            UnreadableError: on entering, when no such target is configured.
        """
        return self._dial(target)

    @asynccontextmanager
    async def _dial(self, target: Target) -> AsyncIterator[Session]:
        sql_target = self._sql_targets.get(target.id)
        if sql_target is None:
            raise UnreadableError(f"no target {target.id} is configured", reason=TargetReason.REFUSED)
        sql = SqlAuthority(sql_target, lambda: self._secrets(sql_target.secret), CALLS, pools=self._pools)
        try:
            async with DynAuths(self._client, self._learned, self._clock.wall_s, self._secret) as dynauths:
                methods = [method for method in self._methods if method.target == target.id]
                yield RadiusSession(
                    target,
                    sql,
                    dynauths,
                    self._nas,
                    self._commit,
                    TargetChecks(sql, sql_target, methods, tuple(self._nas.values()), self._has_secret, self._clock),
                    CALLS,
                    self._answers,
                    sql_target.silent_h,
                    keep=partial(self._book.keep, NAME),
                    clock=self._clock,
                )
        finally:
            await sql.aclose()

    def holders_at(self, target: str, address: str) -> Address:
        """Return where the open sessions with an address are read."""
        return resource_address(target, RadiusResource.HOLDERS, address)

    def holders_of(self, target: str, address: str, value: Value) -> Sequence[AddressHolder]:  # noqa: ARG002  of the role
        """Return the logins of the open sessions with the address, without sessions that their NAS denied."""
        names = {accounting: nas.name for accounting, nas in self._nas.items()}
        found = live_sessions(value).values()
        places = [(s.get("login", ""), s.get("nas", "")) for s in found]
        return [AddressHolder(login, f"a session on {names.get(nas, nas)}, by accounting") for login, nas in places]

    async def password_of(self, target: str, login: str) -> str:
        """Return the password that a target checks a login by: its one Cleartext-Password.

        The one way on which a secret leaves this connector: a CPE that is given its subscriber's password must get it
        from somewhere. Everything else reads it as a commitment.

        Raises:
            UnreadableError: the database cannot be asked, or has no such password, or several, or of another login too.
        """
        sql_target = self._sql_targets.get(target)
        if sql_target is None:
            raise UnreadableError(f"no target {target} is configured", reason=TargetReason.REFUSED)
        sql = SqlAuthority(sql_target, lambda: self._secrets(sql_target.secret), 1, pools=self._pools)
        try:
            user = (await sql.read_users([login]))[login]
        finally:
            await sql.aclose()
        found = {row.value for row in user.rows if row.table is Table.CHECK and row.name == _CLEARTEXT}
        if user.same_as:
            raise UnreadableError(
                f"{target}: {login} is also {', '.join(user.same_as)} there", reason=TargetReason.NO_PASSWORD
            )
        if len(found) != 1:
            raise UnreadableError(
                f"{target}: expected one {_CLEARTEXT} of {login}, got {len(found)}", reason=TargetReason.NO_PASSWORD
            )
        return found.pop()

    async def serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        """Return at once: RADIUS targets are dialed."""

    def _has_secret(self, name: str) -> bool:
        try:
            self._secrets(name)
        except UnreadableError:
            return False
        return True

    def _client(self, nas: Nas, learned: frozenset[str]) -> DynAuthClient:
        return DynAuthClient(profile(nas.profile), self._secret(nas), load(), learned=learned)

    def _secret(self, nas: Nas) -> bytes:
        try:
            return self._secrets(nas.secret)
        except UnreadableError as err:
            raise NasUnreachableError(f"NAS {nas.name}: {err}") from err
