"""The way to one router: a connection for each user of ours, opened at first use and again after it broke.

Before anything of the main job is asked, the router is recognized on each connection: its release, its serial number,
our user's rights. Another router than the configured one is refused; and where no serial number is configured, another
than the one before, since rows read of one router must not be written to another. `device probe` takes a router that
was exchanged. Callers that wait while an attempt fails share its error, and `backoff` says when the next one may be
made.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from agent.connectors.base import Busy, DeviceReport, DeviceState, Finding, UnreadableError
from agent.connectors.routeros import health
from agent.connectors.routeros.backoff import Attempts, Turned
from agent.connectors.routeros.errors import (
    AnswerTooLongError,
    LoginRefusedError,
    RouterError,
    RouterTimeoutError,
    TrapError,
    UnreachableRouterError,
)
from agent.connectors.routeros.health import Printed
from agent.connectors.routeros.policies import Rights, missing, missing_text, rights_of, see_alike, unlike_text
from agent.connectors.routeros.reasons import RouterFinding, RouterReason
from agent.connectors.routeros.safe_mode import HISTORY, SAFE_MODE
from agent.connectors.routeros.schema import Credential, Use
from agent.connectors.routeros.versions import (
    SERVED_FROM,
    MalformedVersionError,
    Version,
    known,
    not_known_text,
    served,
)
from agent.connectors.routeros.words import presentable
from agent.line_model.reading import Neighbor
from agent.reasons import TargetReason
from trust import chance

if TYPE_CHECKING:
    from agent.connectors.routeros.api_session import RouterApi
    from agent.connectors.routeros.schema import RouterTarget
    from agent.model import Target
    from agent.runtime.clock import Clock

SPARED_S: Final = 5.0
"""The CPU's load, and whether a safe mode is open, are read no more often."""

Passwords = Callable[[str], bytes]
"""The vault: name -> password, or UnreadableError."""
Connect = Callable[[Credential, bytes], Awaitable["RouterApi"]]

_HUNG_UP: Final = {"busy": "too many API sessions", "hung-up": "perhaps too many API sessions"}
_OF_A_USER: Final = (
    health.RESOURCE, health.BOARD, health.LICENSE, health.USERS, health.GROUPS, health.ONLINE,
)  # fmt: skip
"""The menus read on a connection that is not for reading: which router it is, and the user's rights."""
_SPARING: Final = (health.RESOURCE, SAFE_MODE, HISTORY)
"""The menus read to know whether a router should be spared."""
_NEIGHBOR: Final = ("identity", "address", "interface", "platform", "version", "mac-address")
"""Properties of /ip/neighbor, in the order of `Neighbor`'s fields."""
NEIGHBORS_MAX: Final = 5000
"""Neighbors that are told of one router; chosen arbitrarily."""
_AWAY: Final = frozenset({"unreachable", "timeout"})


@dataclass(frozen=True, slots=True)
class _Reached:
    """An open connection to a router that was recognized."""

    api: RouterApi
    version: Version
    serials: frozenset[str]


@dataclass(slots=True)
class _Wire:
    """The connection of one user."""

    credential: Credential
    attempts: Attempts
    opening: trio.Lock = field(default_factory=trio.Lock)
    reached: _Reached | None = None
    refused: UnreadableError | None = None
    """The error of the last attempt; None: it went well, or there was none."""
    failures: int = 0

    def refuse(self, err: UnreadableError) -> None:
        """Note a failed attempt."""
        self.refused = err
        self.failures += 1

    @property
    def usable(self) -> _Reached | None:
        """The connection, if it is open."""
        return None if self.reached is None or self.reached.api.closed else self.reached

    async def aclose(self) -> None:
        if self.reached is not None:
            reached, self.reached = self.reached, None
            await reached.api.aclose()


class RouterLine:
    """The connections to one router. Used by several tasks at once."""

    def __init__(
        self, target: Target, config: RouterTarget, passwords: Passwords, connect: Connect, clock: Clock
    ) -> None:
        """Put the parts together; nothing is connected yet.

        Args:
            target: which target this is.
            config: its configuration.
            passwords: the vault.
            connect: opens a connection that is logged in and lives as long as the line.
            clock: of when the router was asked.
        """
        self.target = target
        self._config, self._passwords, self._connect, self._clock = config, passwords, connect, clock
        self._wires = {use: _Wire(found, Attempts(chance.fraction)) for use, found in config.credentials.items()}
        self._read_use = Use.READ if Use.READ in self._wires else Use.SERVICE
        self._key = chance.token_bytes(32)
        self._serials: frozenset[str] = frozenset()
        self._version: Version | None = None
        self._rights: dict[Use, Rights] = {}
        self._may_not_write: Mapping[Use, str] = {}
        """Why no change of that use can be made by our users, as far as is known by now; "": it can."""
        self._printed: Printed | None = None
        self._tried_s: int | None = None
        self._spared: tuple[float, Busy | None] = (float("-inf"), None)
        self._asking_spared = trio.Lock()

    async def reading(self) -> tuple[RouterApi, Version]:
        """Return the open connection for reads, and the router's version.

        Raises:
            UnreadableError: there is no connection, another router answers, or its release is not served.
        """
        wire = self._wires[self._read_use]
        reached = wire.usable or await self._reach(wire)
        return reached.api, reached.version

    async def writing(self, use: Use = Use.SERVICE) -> tuple[RouterApi, Version]:
        """Return the open connection for writes and for the look just before one, and the router's version.

        `use`: the kind of writes. Without a user of its own, the configuration is written by that of service changes.

        Raises:
            UnreadableError: as `reading`; or our users may not write, which is known before anything was tried.
        """
        use = use if use in self._wires else Use.SERVICE
        wire = self._wires[use]
        reached = wire.usable or await self._reach(wire)
        if self._may_not_write.get(use):  # as it was on connecting; somebody may have put it right since
            for one in dict.fromkeys((self._read_use, use)):
                await self._recognize_again(self._wires[one])
            reached = await self._reach(wire)
            if text := self._may_not_write.get(use):
                text = f"{self.target.id}: {text}: nothing is written"
                raise UnreadableError(text, reason=TargetReason.MISSING_POLICY)
        return reached.api, reached.version

    def _why_not(self, use: Use) -> str:
        """Return why no change of that use can be made by our users, as far as their rights are known; "": it can."""
        rights = self._rights.get(use)
        if rights is not None and missing(use, rights):
            return missing_text(use, rights)
        return "" if see_alike(self._rights) else unlike_text(self._rights)

    def unreadable(self, err: RouterError) -> UnreadableError:
        """Return the main job's error for one of the conversation."""
        refused = isinstance(err, TrapError | LoginRefusedError)
        silent = TargetReason.TIMEOUT if isinstance(err, RouterTimeoutError) else TargetReason.UNREACHABLE
        reason = TargetReason.REFUSED if refused else silent
        return UnreadableError(f"{self.target.id}: {err}", reason=reason)

    # --- sparing the router ---

    async def busy(self) -> Busy | None:
        """Return why the router should be spared changes for now, as it was read in the last `SPARED_S`."""
        if not (self._config.cpu_limit or self._config.wait_for_safe_mode):
            return None
        reached = self._wires[self._read_use].usable
        if reached is not None and self._is_spared_known():
            return self._spared[1]  # each write asks; thousands need not queue for a lock
        async with self._asking_spared:
            reached = self._wires[self._read_use].usable
            if reached is None:  # whoever writes finds out why; nobody dials for this
                return None
            if not self._is_spared_known():
                try:
                    self._spared = (trio.current_time(), self._why_spared(await self._print(reached.api, _SPARING)))
                except RouterError:
                    return None
            return self._spared[1]

    def _why_spared(self, printed: Printed) -> Busy | None:
        """Return why a router that prints this should be spared, or None."""
        limit, waits = self._config.cpu_limit, self._config.wait_for_safe_mode
        load = health.cpu_load(printed)
        if limit and load is not None and load >= limit:
            text = f"{self.target.id}: CPU at {load} %, changes wait while it is {limit} % or more"
            return Busy(TargetReason.BUSY_CPU, text)
        if waits and (told := health.safe_mode(printed)):
            text = f"{self.target.id}: {presentable(told)}: changes wait until it is released, since it would undo them"
            return Busy(RouterReason.SAFE_MODE, text, undoes=True)
        return None

    def _is_spared_known(self) -> bool:
        return trio.current_time() - self._spared[0] < SPARED_S

    async def answer(self) -> None:
        """Return when the router answers on the connection for reads.

        Raises:
            UnreadableError: it does not, or it is not used.
        """
        reached = await self._reach(self._wires[self._read_use])
        try:
            self._spared = (trio.current_time(), self._why_spared(await self._print(reached.api, _SPARING)))
        except RouterError as err:
            raise self.unreadable(err) from err

    async def logins(self, secret: str = "") -> Mapping[str, str]:
        """Log in anew by each user, or by those with `secret` as password; return why it failed, by user, or ""."""
        found: dict[str, str] = {}
        for wire in self._wires.values():
            if secret in ("", wire.credential.secret):
                found[wire.credential.user] = await self._login(wire)
        return found

    async def _login(self, wire: _Wire) -> str:
        try:
            api = await self._connect(wire.credential, self._passwords(wire.credential.secret))
        except UnreadableError as err:
            return str(err)
        except RouterError as err:
            return str(self._no_session(err)).removeprefix(f"{self.target.id}: ")
        await api.aclose()
        return ""

    async def neighbors(self) -> tuple[Neighbor, ...]:
        """Return the devices that the router hears, at most `NEIGHBORS_MAX`: LLDP, MNDP and CDP.

        Raises:
            UnreadableError: it cannot be asked.
        """
        reached = await self._reach(self._wires[self._read_use])
        try:
            answer = await reached.api.call(
                "/ip/neighbor/print", f"=.proplist={','.join(_NEIGHBOR)}", timeout_s=self._config.timeout_s
            )
        except RouterError as err:
            raise self.unreadable(err) from err
        return tuple(
            Neighbor(*(presentable(row.get(name, "")) for name in _NEIGHBOR)) for row in answer.rows[:NEIGHBORS_MAX]
        )

    # --- what people are told ---

    def notes(self) -> tuple[str, ...]:
        """Return a preview's facts about the router, as far as they are known by now."""
        found = []
        if self._version is not None and not known(self._version):
            found.append(f"{not_known_text(self._version)}: only service changes")
        if text := self._may_not_write.get(Use.SERVICE):
            found.append(f"{text}: it would not be applied")
        return tuple(f"{self.target.id}: {text}" for text in found)

    def report(self) -> DeviceReport:
        """Return the facts about the router, without asking it."""
        wire, printed = self._wires[self._read_use], self._printed
        state = DeviceState.NOT_ASKED if self._tried_s is None else DeviceState.REACHABLE
        if wire.refused is not None:
            state = DeviceState.UNREACHABLE if wire.refused.reason in _AWAY else DeviceState.REFUSED
        found = health.Health({}, ())
        if printed is not None and self._version is not None:
            found = health.examine(printed, self._config, self._version, self._rights)
        return DeviceReport(
            target=self.target.id,
            address=f"{self._config.host}:{self._config.port}",
            state=state,
            problem="" if wire.refused is None else str(wire.refused),
            tried_s=self._tried_s,
            read_s=None if printed is None else int(printed.at_s),
            version="" if self._version is None else str(self._version),
            identity=found.facts.get("identity", ""),
            facts=found.facts,
            findings=(*self._refused_logins(), *found.findings),
        )

    def _refused_logins(self) -> Iterable[Finding]:
        for use, wire in self._wires.items():
            if use is not self._read_use and wire.refused is not None:
                yield Finding(RouterFinding(f"{use.value}-login"), f"user {wire.credential.user}: {wire.refused}")

    async def probe(self) -> DeviceReport:
        """Ask the router anew by each of our users, and return the facts about it. Nothing is written.

        A person looks: an attempt that was to wait is made now, and a router that was exchanged is taken, unless its
        serial number is configured.
        """
        self._serials = frozenset()
        uses = sorted(self._wires, key=lambda use: use is not self._read_use)
        for wire in (self._wires[use] for use in uses):
            wire.attempts.reset()
            try:
                await self._recognize_again(wire)
            except UnreadableError:
                continue  # it is in the report
        if Use.CONFIG in self._wires:  # a session that nothing needs until the next probe
            await self._wires[Use.CONFIG].aclose()
        return self.report()

    async def _recognize_again(self, wire: _Wire) -> None:
        async with wire.opening:
            if (reached := wire.usable) is not None:
                try:
                    wire.reached = await self._recognize(reached.api, wire.credential)
                    wire.refused = None
                except (RouterError, UnreadableError):
                    await wire.aclose()
                else:
                    self._tried_s = int(self._clock.wall_s())
                    return
            await self._open(wire)

    # --- connecting ---

    async def _reach(self, wire: _Wire) -> _Reached:
        """Return the connection, opened where it is not."""
        if (usable := wire.usable) is not None:
            return usable
        failures = wire.failures
        async with wire.opening:
            if wire.refused is not None and wire.failures > failures:  # waited behind, and would wait as long
                raise UnreadableError(str(wire.refused), reason=wire.refused.reason)
            return wire.usable or await self._open(wire)

    async def _open(self, wire: _Wire) -> _Reached:
        """Open a connection, unless it was turned away a short while ago."""
        try:
            password = self._passwords(wire.credential.secret)
        except UnreadableError as err:
            wire.refuse(err)
            raise
        digest = hmac.digest(self._key, password, "sha256")
        wait_s = wire.attempts.wait_s(trio.current_time(), digest)
        if wait_s > 0 and wire.refused is not None:
            raise UnreadableError(f"{wire.refused} (next attempt in {wait_s:.0f} s)", reason=wire.refused.reason)
        self._tried_s = int(self._clock.wall_s())
        try:
            wire.reached = await self._attempt(wire, password, digest)
        except UnreadableError as err:
            wire.refuse(err)
            raise
        wire.refused = None
        wire.attempts.reset()
        return wire.reached

    async def _attempt(self, wire: _Wire, password: bytes, digest: bytes) -> _Reached:
        try:
            api = await self._connect(wire.credential, password)
        except RouterError as err:
            wire.attempts.failed(_turned(err), trio.current_time(), digest)
            raise self._no_session(err) from err
        try:
            return await self._recognize(api, wire.credential)
        except RouterError as err:
            await api.aclose()
            raise self.unreadable(err) from err
        except UnreadableError:
            wire.attempts.failed(Turned.BACK, trio.current_time(), digest)  # each look is a login in its log
            await api.aclose()
            raise
        except BaseException:
            await api.aclose()
            raise

    def _no_session(self, err: RouterError) -> UnreadableError:
        """Return the error for people; earlier reads of the router may say more than it does now."""
        if not isinstance(err, UnreachableRouterError) or err.reason not in _HUNG_UP:
            return self.unreadable(err)
        most = None if self._printed is None else health.sessions_max(self._printed, tls=not self._config.insecure)
        limit = "not known" if most is None else most
        return UnreadableError(
            f"{self.target.id}: {_HUNG_UP[err.reason]} (max-sessions {limit}): {err}", reason=TargetReason.UNREACHABLE
        )

    # --- recognizing ---

    async def _recognize(self, api: RouterApi, credential: Credential) -> _Reached:
        """Read which router it is and our user's rights; on the connection for reads, everything that is shown.

        Raises:
            RouterError: it cannot be read. UnreadableError: it is not used.
        """
        reads = credential.use is self._read_use
        printed = await self._print(api, tuple(health.PRINTS) if reads else _OF_A_USER)
        if printed.menus.get(health.RESOURCE) is None:
            text = f"{self.target.id}: user {credential.user} may not read /system/resource: policy read is missing"
            raise UnreadableError(text, reason=TargetReason.MISSING_POLICY)
        version = self._version_of(printed)
        found = health.serials(printed)
        self._check_serial(found)
        self._version = version
        self._rights[credential.use] = rights_of(
            credential.user, *(printed.rows(menu) for menu in (health.USERS, health.GROUPS, health.ONLINE))
        )
        self._may_not_write = {use: self._why_not(use) for use in self._wires}
        if reads:
            self._printed = printed
        return _Reached(api, version, found)

    async def _print(self, api: RouterApi, menus: Sequence[str]) -> Printed:
        """Ask for menus, all at once. A refused menu is None; so is one without an answer, of a router that goes on."""
        found: dict[str, health.Rows | None] = {}
        failed: list[RouterError] = []
        began_s = self._clock.wall_s()

        async def ask(menu: str) -> None:
            words = (f"{menu}/print", f"=.proplist={health.PRINTS[menu]}")
            try:
                found[menu] = (await api.call(*words, timeout_s=self._config.timeout_s)).rows
            except TrapError:
                found[menu] = None
            except RouterError as err:
                optional = isinstance(err, RouterTimeoutError | AnswerTooLongError) and menu != health.RESOURCE
                found[menu] = None
                if not optional or api.closed:
                    failed.append(err)

        async with trio.open_nursery() as nursery:
            for menu in menus:
                nursery.start_soon(ask, menu)
        if failed:
            raise failed[0]
        return Printed({menu: found[menu] for menu in menus}, (began_s + self._clock.wall_s()) / 2)

    def _version_of(self, printed: Printed) -> Version:
        try:
            version = Version.parse_untrusted(printed.one(health.RESOURCE).get("version", ""))
        except MalformedVersionError as err:
            raise UnreadableError(f"{self.target.id}: {err}", reason=TargetReason.REFUSED) from err
        if not served(version):
            text = f"{self.target.id}: RouterOS {version} is older than {SERVED_FROM}: nothing is read or changed on it"
            raise UnreadableError(text, reason=TargetReason.REFUSED)
        return version

    def _check_serial(self, found: frozenset[str]) -> None:
        wanted = self._config.serial
        if wanted and wanted not in found:
            text = f"{self.target.id}: another router answers: none of its serial numbers is the configured one"
            raise UnreadableError(text, reason=TargetReason.REFUSED)
        if self._serials and not self._serials & found:
            was = f"({_listed(found)}, not {_listed(self._serials)})"
            then = f"if it was exchanged, ispagent device probe {self._config.name}"
            text = f"{self.target.id}: another router answers than before {was}: {then}"
            raise UnreadableError(text, reason=TargetReason.REFUSED)
        self._serials = self._serials or found


def _turned(err: RouterError) -> Turned:
    if isinstance(err, LoginRefusedError):
        return Turned.LOGIN
    busy = isinstance(err, UnreachableRouterError) and err.reason in _HUNG_UP
    return Turned.BACK if busy else Turned.AWAY


def _listed(serials: Iterable[str]) -> str:
    return presentable(", ".join(sorted(serials))) or "none"
