"""The CWMP connector: the ACS, and the CPE that call in. It has no access method: a CPE is no place to suspend anybody.

Targets are the CPE that are accepted, which come and go; `targets` is empty, and a target's id is its CPE's name.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Final

import trio

from agent.connectors.base import AccessMethod, Reach, Session, Traits, UnreadableError
from agent.connectors.cwmp.connection_request import RequestResult
from agent.connectors.cwmp.cpe_session import CpeSession
from agent.connectors.cwmp.fleet_session import CpeFleet
from agent.connectors.cwmp.identity import target_id
from agent.connectors.cwmp.images_session import Images
from agent.connectors.cwmp.listener import Acs
from agent.connectors.cwmp.refresh_session import refresh
from agent.connectors.cwmp.schema import CwmpConfig
from agent.connectors.cwmp.stun import StunServer
from agent.connectors.cwmp.stun_listener import serve_stun
from agent.cpe_model.breaker import Breaker
from agent.cpe_model.effects import EFFECTS
from agent.cpe_model.known import CpeBook, Credentials, TracedMessage
from agent.cpe_model.manager import CpeTerms, ImageFile
from agent.model import Target
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from agent.runtime.errors import BindError

_log = logging.getLogger(__name__)
SEND_S: Final = 75.0
"""A CPE may take 30 seconds to answer, and some take more; then its session is over."""
REREAD_S: Final = 2 * 86_400.0
"""A CPE that hung up in the middle is read when it calls in again: within two days, if it does at all."""


class CwmpConnector:
    """Implements `agent.connectors.base.Connector` and `agent.cpe_model.manager.CpeManager`."""

    def __init__(
        self,
        config: CwmpConfig,
        secrets: Callable[[str], bytes],
        commit: Callable[[str, str], str],
        book: CpeBook,
        clock: Clock,
    ) -> None:
        """Take the configuration; nothing listens before `serve`.

        Args:
            config: of the ACS.
            secrets: the vault: name -> secret, or UnreadableError.
            commit: keyed commitment (label, value) -> 64 hex digits.
            book: the record of CPE.
            clock: of all that takes time.
        """
        self.traits = Traits(
            conditional=False,
            settle_s=0.0,
            window=1,
            reach=Reach.ARRIVE,
            send_s=SEND_S,
            reread_s=REREAD_S,
            effects=EFFECTS,
        )
        self.targets: Sequence[Target] = ()
        self.access_methods: Mapping[str, AccessMethod] = {}
        self.config, self._secrets, self._book = config, secrets, book
        self.images = Images(config.files, config.url, clock, commit)
        self.fleet = CpeFleet(config, book, clock, self.images.offer, self._shared_request)
        self.acs = Acs(config, clock, self._password_of, self.fleet, self.images.serve)
        self.port = trio.Event()
        self.listens_on: int | None = None

    def dial(self, target: Target) -> AbstractAsyncContextManager[Session]:
        """Raise: nobody dials a CPE.

        Raises:
            UnreadableError: always.
        """
        raise UnreadableError(f"{target.id} calls in by itself", reason=TargetReason.NOT_ON_THE_LINE)

    async def serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        """Listen for CPE until cancelled; returns at once when there is no ACS.

        Raises:
            BindError: it cannot listen where it is configured to, or its certificate cannot be used.
        """
        if not self.config.enabled:
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.fleet.run, arrived)
            if self.config.stun_port:
                server = StunServer(self._request_password_of)
                start = partial(serve_stun, server, self.config.listen, self.config.stun_port, self.fleet.bound)
                self.fleet.stun = await nursery.start(start)
            try:
                self.listens_on = await nursery.start(self.acs.serve)
            except OSError as err:
                where = f"{self.config.listen} port {self.config.port}"
                raise BindError(f"the ACS cannot listen on {where}: {err.strerror or err}") from err
            if not self.images.base_url:
                scheme = "https" if self.config.tls else "http"
                host = f"[{self.config.listen}]" if ":" in self.config.listen else self.config.listen
                self.images.base_url = f"{scheme}://{host}:{self.listens_on}"
            _log.info("acs-listens", extra={"port": self.listens_on})
            self.port.set()

    def requested(self, target: str) -> AbstractContextManager[None]:
        """Call for a CPE inside the block."""
        return self.fleet.waited_for(target)

    def line(self, name: str) -> CpeSession:
        """Return the line to a CPE."""
        return self.fleet.line(name)

    # --- as the manager of CPE

    def terms(self) -> CpeTerms | None:
        """Return the settings for changes on CPE; None: there is no ACS."""
        return self.config.terms if self.config.enabled else None

    def target_id(self, name: str) -> str:
        """Return the id of a CPE's target."""
        return target_id(name)

    def counts(self) -> tuple[int, int]:
        """Return how many sessions are open now, and how many were turned away since the start."""
        return self.acs.sessions, self.acs.refused

    def is_online(self, name: str) -> bool:
        """Return whether a session of the CPE is open now."""
        return self.line(name).live is not None

    def can_be_called(self, name: str) -> bool:
        """Return whether credentials for connection requests to the CPE are known."""
        return self.fleet.request_credentials(name) is not None

    def last_request(self, name: str) -> str | None:
        """Return how the last connection request to a CPE that somebody waits for went; None: there was none."""
        found = self.fleet.last_request(name)
        return None if found is None else found.detail

    def last_trouble(self, name: str) -> str | None:
        """Return a sentence on the trouble in a CPE's last session; None: there was none since the start."""
        return self.fleet.last_trouble(name)

    def traced(self, name: str, sessions: int, told: Callable[[TracedMessage], None]) -> AbstractContextManager[None]:
        """Tell of each message of a CPE's next sessions inside the block.

        Raises:
            UnreadableError: too many traces run.
        """
        return self.fleet.traced(name, sessions, told)

    def breaker(self, name: str) -> Breaker:
        """Return the circuit breaker of a CPE."""
        return self.line(name).breaker

    def hang_up(self, name: str) -> None:
        """End the CPE's session, if one is open."""
        call = self.line(name).live
        if call is not None:
            call.hang_up()

    def forget(self, name: str) -> None:
        """Drop all notes of a CPE that is in the book no more, and end its session: another may come with its name."""
        self.hang_up(name)
        self.fleet.forget(name)

    async def refresh(self, name: str, wanted: Sequence[str]) -> tuple[str, ...]:
        """Read a CPE once it calls in; return the failures, a sentence each.

        Raises:
            UnreadableError: the CPE did not call in, or hung up, or a name is unknown.
        """
        line = self.line(name)
        return await refresh(line, await line.wait(), wanted)

    async def image(self, name: str) -> ImageFile:
        """Return the firmware image that has this file name now.

        Raises:
            NotSentError: there is no such file, or none is served.
        """
        return await self.images.look(name)

    async def request_connection(self, name: str) -> RequestResult:
        """Send one connection request now.

        Raises:
            UnreadableError: nothing is known of the CPE.
        """
        return await self.fleet.request_connection(name)

    def _request_password_of(self, user: str) -> str | None:
        owner = self._book.request_owner(user)
        credentials = None if owner is None else self.fleet.request_credentials(owner)
        return None if credentials is None else credentials.password

    def _shared_request(self) -> Credentials | None:
        """Return the credentials of connection requests to CPE that were not given their own."""
        if not self.config.request_user:
            return None
        try:
            return Credentials(
                self.config.request_user, self._secrets(self.config.request_secret).decode("utf-8", "replace")
            )
        except UnreadableError:
            return None

    def _password_of(self, user: str) -> str | None:
        if not self.config.user or user != self.config.user:  # no CPE's own: these begin with its name (`cpe rotate`)
            return self._book.own_password(user)
        try:
            return self._secrets(self.config.secret).decode("utf-8", "replace")
        except UnreadableError:
            return None
