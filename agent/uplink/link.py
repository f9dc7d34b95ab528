"""The connection's life: identity, dialing, backing off, renewing, and starting anew when the enrolment changes.

Everything here may fail for ever without harm: the agent works without a control plane.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import trio

from agent.runtime.clock import Clock
from agent.runtime.supervise import Backoff
from agent.store.db import Store
from agent.store.mail import JoinCloud, LeaveCloud, MailBells
from agent.store.vault import Vault
from agent.uplink import enrolment
from agent.uplink import identity as identities
from agent.uplink.client import CloudClient
from agent.uplink.errors import CredentialsError, RemoteRefusedError, RemoteUplinkError, UnreachableError, UplinkError
from agent.uplink.identity import CloudIdentity
from agent.uplink.receiving import Receiver
from agent.uplink.sending import Sender
from trust import chance

FILE_S: Final = 2.0
"""How often `cloud.json` is looked at: `ispagent cloud enroll` and `leave` replace it beside the running daemon."""

RENEW_AT: Final = 2 / 3
"""Of a certificate's life."""

RENEW_AGAIN_S: Final = 300.0
"""Pause after a renewal, whether it failed or gave a certificate with no life in it."""

BACKOFF: Final = Backoff(first_s=1.0, most_s=60.0, steady_s=120.0)

_log = logging.getLogger("agent.uplink")


class Board(Protocol):
    """Compares this agent's log with its own statements that the control plane has."""

    async def compare_untrusted(self, answered: Sequence[bytes]) -> object:
        """Compare with these, newest first: any bytes."""

    def pass_over(self, why: str) -> None:
        """Take note that none came. `why`: a code that is safe to print."""


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """How the connection stands. `since_s`: unix seconds since when; `problem`: a code, empty when all is well.

    `passed_over`: messages that came and were of no use; `dropped`: messages that the control plane refused for good.
    """

    server: str = ""
    operator: str = ""
    name: str = ""
    connected: bool = False
    since_s: int = 0
    problem: str = ""
    passed_over: int = 0
    dropped: int = 0
    certificate_until_s: int | None = None


class Uplink:
    """The agent's one connection to its control plane."""

    def __init__(
        self,
        store: Store,
        bells: MailBells,
        state_dir: Path,
        vault: Vault,
        clock: Clock,
        agent: str,
        board: Board,
        *,
        cloud_witnesses: Callable[[], Collection[bytes]] = frozenset,
        dial: Callable[[CloudIdentity], CloudClient] = CloudClient,
        backoff: Backoff = BACKOFF,
        dice: Callable[[], float] = chance.fraction,
    ) -> None:
        """Nothing is opened yet.

        Args:
            store: where outbox and inbox are.
            bells: rung when something came; listened to for messages to send.
            state_dir: where `cloud.json` is, if this agent is enrolled.
            vault: opens its private key.
            clock: the wall clock says when to renew.
            agent: this agent's id, 32 hex digits.
            board: told the control plane's copies of this agent's own statements.
            cloud_witnesses: gives the key ids (4 bytes) of witnesses that the control plane runs.
            dial: makes a connection.
            backoff: pauses between attempts.
            dice: random numbers in [0, 1) for their jitter.
        """
        self._store, self._state_dir, self._vault, self._clock = store, state_dir, vault, clock
        self._agent, self._board = agent, board
        self._dial, self._backoff, self._dice = dial, backoff, dice
        self._receiver = Receiver(store, bells, bytes.fromhex(agent))
        self._sender = Sender(store, bells, clock, bytes.fromhex(agent), cloud_witnesses, backoff, dice)
        self._identity: CloudIdentity | None = None
        self._connected = False
        self._since_s = 0
        self._problem = ""
        self._renewed_at: float | None = None
        self._logged = ""
        """Why there is no connection, as the log says it; "": it says that there is one, or nothing."""

    def status(self) -> LinkStatus:
        """Return how the connection stands now."""
        who = self._identity
        return LinkStatus(
            server=who.server if who else "",
            operator=who.operator if who else "",
            name=who.name if who else "",
            connected=self._connected,
            since_s=self._since_s,
            problem=self._problem,
            passed_over=self._receiver.passed_over,
            dropped=self._sender.dropped,
            certificate_until_s=int(enrolment.lifetime(who)[1]) if who else None,
        )

    async def join(self) -> bool:
        """Read `cloud.json` and tell the store; return whether this agent is enrolled. Before anything is posted.

        Raises:
            CredentialsError: the file is there and cannot be used.
            StoreFailedError: the store cannot be written.
        """
        found = identities.load(self._state_dir, self._vault)
        if found is None:
            await self._store.run(LeaveCloud())
            self._identity = None
            return False
        enrolment.lifetime(found)
        await self._store.run(JoinCloud(bytes.fromhex(found.enrolment)))
        self._identity = found
        return True

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            StoreFailedError: the store cannot be written (in a group).
        """
        failures = 0
        while True:
            started = trio.current_time()
            stamp = identities.stamp(self._state_dir)
            try:
                error: UplinkError | None = None
                if await self.join():
                    error = await self._connection(stamp)
                else:
                    self._note(connected=False, problem="")
                    await self._replaced(stamp)
            except CredentialsError as err:
                error = err
            if error is None:
                failures = 0
                continue
            steady = trio.current_time() - started >= self._backoff.steady_s
            failures = 1 if steady else failures + 1
            await self._pause(error, failures)

    async def _pause(self, error: UplinkError, failures: int) -> None:
        pause_s = self._backoff.pause_s(failures, self._dice())
        if isinstance(error, RemoteRefusedError):
            pause_s = max(pause_s, error.retry_after_s * (1 + self._dice()) / 2)
        code = error.code if isinstance(error, RemoteUplinkError) else "credentials"
        if self._logged != code:  # each attempt fails alike: the outage has one line
            self._logged = code
            _log.warning("no connection to the control plane", extra={"code": code})
        self._note(connected=False, problem=code)
        await trio.sleep(pause_s)

    def _note(self, *, connected: bool, problem: str) -> None:
        if (connected, problem) != (self._connected, self._problem) or not self._since_s:
            self._since_s = int(self._clock.wall_s())
        self._connected, self._problem = connected, problem

    async def _connection(self, stamp: tuple[int, int] | None) -> UplinkError | None:
        """Hold one connection; return why it ended, None: because this agent wanted a new one."""
        identity = self._identity
        if identity is None:
            return None
        error: UplinkError | None = None
        connection = self._dial(identity)
        try:
            async with trio.open_nursery() as nursery:

                async def greeted() -> None:
                    self._logged = ""
                    _log.info("connected to the control plane")
                    self._note(connected=True, problem="")
                    await self._ask_board(connection)
                    nursery.start_soon(self._sender.run, connection)
                    nursery.start_soon(self._keep_fresh, connection, identity, stamp, nursery.cancel_scope)

                try:
                    if not await self._receiver.run(connection, greeted):
                        error = UnreachableError("ended")
                except RemoteUplinkError as err:
                    error = err
                nursery.cancel_scope.cancel()
        finally:
            connection.close()
            self._note(connected=False, problem=self._problem)
        return error

    async def _ask_board(self, connection: CloudClient) -> None:
        """Have the log compared with the control plane's copy of it; an answer that does not come stops nothing."""
        try:
            answered = await connection.board()
        except RemoteUplinkError as err:
            self._board.pass_over(err.code)
        else:
            await self._board.compare_untrusted(answered)

    async def _keep_fresh(
        self,
        connection: CloudClient,
        identity: CloudIdentity,
        stamp: tuple[int, int] | None,
        scope: trio.CancelScope,
    ) -> None:
        """End the connection when there is another `cloud.json`: a person's, or a renewed certificate of ours."""
        begins_s, ends_s = enrolment.lifetime(identity)
        due_s = begins_s + (ends_s - begins_s) * RENEW_AT
        while identities.stamp(self._state_dir) == stamp:
            now = trio.current_time()
            rested = self._renewed_at is None or now - self._renewed_at >= RENEW_AGAIN_S
            if rested and self._clock.wall_s() >= due_s:
                self._renewed_at = now
                await self._renew(connection, identity, stamp)
            else:
                await trio.sleep(FILE_S)
        scope.cancel()

    async def _renew(self, connection: CloudClient, identity: CloudIdentity, stamp: tuple[int, int] | None) -> None:
        try:
            fresh = await enrolment.renew(connection, identity, self._agent, self._clock.wall_s())
            if identities.stamp(self._state_dir) == stamp:  # nobody enrolled anew meanwhile
                identities.save(self._state_dir, self._vault, fresh)
                _log.info("the certificate was renewed")
        except UplinkError as err:
            code = err.code if isinstance(err, RemoteUplinkError) else "credentials"
            _log.warning("the certificate was not renewed", extra={"code": code})

    async def _replaced(self, stamp: tuple[int, int] | None) -> None:
        while identities.stamp(self._state_dir) == stamp:  # noqa: ASYNC110 - another process replaces it
            await trio.sleep(FILE_S)
