"""The way to one router: its connection, opened at first use and again after it broke, to the router that is meant.

A router that is not the configured one, or of a release that is not known here, is refused before anything of the main
job is asked of it. Those who wait while an attempt fails share its error: a router that is away is tried once for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from agent.connectors.base import UnreadableError
from agent.connectors.routeros.errors import LoginRefusedError, RouterError, RouterTimeoutError, TrapError
from agent.connectors.routeros.versions import MalformedVersionError, Version, known

if TYPE_CHECKING:
    from agent.connectors.routeros.api_session import Api
    from agent.connectors.routeros.schema import RouterTarget
    from agent.model import Target

Connect = Callable[[], Awaitable["Api"]]

_SERIALS: Final = (
    ("/system/routerboard/print", "serial-number"),
    ("/system/license/print", "software-id"),
    ("/system/license/print", "system-id"),
)


class Line:
    """The connection to one router. Used by several tasks at once."""

    def __init__(self, target: Target, config: RouterTarget, connect: Connect) -> None:
        """Put the parts together; nothing is connected yet.

        Args:
            target: which target this is.
            config: its configuration.
            connect: opens a connection that is logged in and lives as long as the line.
        """
        self.target = target
        self._config, self._connect = config, connect
        self._open: tuple[Api, Version] | None = None
        self._opening = trio.Lock()
        self._refused: tuple[float, UnreadableError] | None = None

    async def aclose(self) -> None:
        """Close the connection; it is opened again when it is needed."""
        if self._open is not None:
            (api, _), self._open = self._open, None
            await api.aclose()

    async def reading(self) -> tuple[Api, Version]:
        """Return the open connection for reads, and the router's version.

        Raises:
            RouterError: there is no connection.
            UnreadableError: another router answers, or its version is not known here.
        """
        return await self._api()

    async def writing(self) -> tuple[Api, Version]:
        """Return the open connection for writes and for the look just before one, and the router's version.

        Raises:
            RouterError, UnreadableError: as `reading`.
        """
        return await self._api()

    def unreadable(self, err: RouterError) -> UnreadableError:
        """Return what an error of the conversation is for the main job."""
        refused = isinstance(err, TrapError | LoginRefusedError)
        reason = "refused" if refused else "timeout" if isinstance(err, RouterTimeoutError) else "unreachable"
        return UnreadableError(f"{self.target.id}: {err}", reason=reason)

    async def _api(self) -> tuple[Api, Version]:
        came = trio.current_time()
        async with self._opening:
            if self._refused is not None and self._refused[0] >= came:
                raise UnreadableError(str(self._refused[1]), reason=self._refused[1].reason)
            if self._open is None or self._open[0].closed:
                try:
                    self._open = await self._reach()
                except (RouterError, UnreadableError) as err:
                    told = self.unreadable(err) if isinstance(err, RouterError) else err
                    self._refused = (trio.current_time(), told)  # for those who wait behind, and would wait as long
                    raise
            return self._open

    async def _reach(self) -> tuple[Api, Version]:
        api = await self._connect()
        try:
            return api, await self._recognise(api)
        except BaseException:
            await api.aclose()
            raise

    async def _recognise(self, api: Api) -> Version:
        rows = (await api.call("/system/resource/print", timeout_s=self._config.timeout_s)).rows
        said = rows[0].get("version", "") if rows else ""
        try:
            version = Version.parse_untrusted(said)
        except MalformedVersionError as err:
            raise UnreadableError(f"{self.target.id}: {err}", reason="refused") from err
        if not known(version):
            text = f"{self.target.id}: RouterOS {version} is not known here: nothing is changed on it"
            raise UnreadableError(text, reason="refused")
        if self._config.serial and self._config.serial not in await self._serials(api):
            text = f"{self.target.id}: another router answers: none of its serial numbers is the configured one"
            raise UnreadableError(text, reason="refused")
        return version

    async def _serials(self, api: Api) -> frozenset[str]:
        found = set()
        for command, name in _SERIALS:
            try:
                rows = (await api.call(command, timeout_s=self._config.timeout_s)).rows
            except TrapError:  # a CHR has no routerboard
                continue
            found |= {row[name] for row in rows if row.get(name)}
        return frozenset(found)
