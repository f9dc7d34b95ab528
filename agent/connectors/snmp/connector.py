"""The connector to devices that speak SNMP: they are polled, asked by hand, and their ports are changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from agent.connectors.base import (
    AccessMethod,
    AnswerBook,
    AnswerRow,
    CannotEnforce,
    DeviceReport,
    DeviceState,
    Finding,
    NoAnswers,
    PortPlan,
    PortWish,
    Question,
    Reach,
    Session,
    SharedCredential,
    Traits,
    UnreadableError,
)
from agent.connectors.snmp import explore_session, port_plans, port_session, profile_files
from agent.connectors.snmp.configuration import NAME, SnmpConfig, SnmpDevice
from agent.connectors.snmp.device_session import SnmpDeviceLine, hello_of, unreadable
from agent.connectors.snmp.errors import SnmpError, UnsentRequestError
from agent.connectors.snmp.findings import facts_of, findings_of, same_name
from agent.connectors.snmp.notifications import NotificationReceiver, OurEngine
from agent.connectors.snmp.notifications_listener import NotificationsListener
from agent.connectors.snmp.port_addresses import IDENTITY
from agent.connectors.snmp.port_cuts import PortCuts
from agent.connectors.snmp.port_session import PortSession
from agent.connectors.snmp.reasons import SnmpReason
from agent.connectors.snmp.senders_session import ConfiguredSenders
from agent.line_model.reading import DeviceReading, LineEvent, Neighbor
from agent.model import Address, EffectKind, Seen, Target
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from trust import chance

BIND_AGAIN_S: Final = 30.0
"""How long after an address could not be had it is tried again."""
EPOCH_S: Final = 1_577_836_800
"""2020: our engine's restarts are the seconds since then, so that they grow at each start without being kept."""
SEND_S: Final = 150.0
"""A power cycle with the longest wait, at a device that answers slowly."""
REREAD_S: Final = 1800.0
"""So long it is tried to switch power on again at a device that does not answer. Chosen arbitrarily."""
PROBE_S: Final = 120.0
"""A whole reading by hand takes no longer. Chosen arbitrarily."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """How the last reading of a device went. `state` NOT_ASKED: there was none."""

    state: DeviceState = DeviceState.NOT_ASKED
    problem: str = ""
    tried_s: int | None = None


@dataclass(frozen=True, slots=True)
class _Shown:
    """The view of a device's last reading, made once: there may be thousands."""

    last: DeviceReading
    facts: Mapping[str, str]
    findings: tuple[Finding, ...]


class BoundPorts(trio.TaskStatus[list[int]]):
    """The ports at which notifications are heard, once they are."""

    def __init__(self) -> None:
        """Begin without any."""
        self.ports: list[int] = []
        self.known = trio.Event()

    def started(self, value: list[int] | None = None) -> None:
        """Take the ports."""
        self.ports = value or []
        self.known.set()


class SnmpConnector:
    """Implements roles of `agent.connectors.base`.

    `Polls`, `TellsEvents`, `Explores`, `DeviceFacts` and `SeesNeighbors`; `Changes` and `ManagesPorts` for devices that
    have a credential for writing.
    """

    verbs = explore_session.VERBS
    access_methods: Mapping[str, AccessMethod] = {}

    def __init__(
        self,
        config: SnmpConfig,
        secrets: Callable[[str], bytes],
        clock: Clock,
        *,
        engine_id: bytes = b"",
        answers: AnswerBook | None = None,
    ) -> None:
        """Take the configuration; nothing is opened.

        Args:
            config: devices, accesses and profiles.
            secrets: the vault: name -> secret, or UnreadableError.
            clock: of pauses and times.
            engine_id: ours, to which informs of version 3 are sent: 5 to 32 octets.
            answers: keeps when ports were seen without power; None: they are forgotten at the end.
        """
        self.traits = Traits(
            conditional=False,
            settle_s=port_session.SETTLE_S,
            window=1,
            reach=Reach.DIAL,
            send_s=SEND_S,
            reread_s=REREAD_S,
            marks=IDENTITY,
            effects={port_plans.POWER_VERB: frozenset({EffectKind.REBOOT})},
            watched=False,
        )
        self._cuts = PortCuts(answers or NoAnswers(), NAME, clock.wall_s)
        self._engine_id = engine_id
        self._listener: NotificationsListener | None = None
        self._receiver: NotificationReceiver | None = None
        self._deaf = ""
        self._config, self._secrets, self._clock = config, secrets, clock
        self._shared = trio.CapacityLimiter(config.in_flight)
        profiles = profile_files.load(config.own_profiles)[0] if config.devices else ()
        self._lines = {
            device.id: SnmpDeviceLine(device, profiles, secrets, self._shared, clock.wall_s)
            for device in config.devices
        }
        self.bound = BoundPorts()
        self._trials = {target: _Trial() for target in self._lines}
        self._shown: dict[str, _Shown] = {}
        self.targets: Sequence[Target] = tuple(Target(device.id, NAME) for device in config.devices)

    # --- changes ---

    @asynccontextmanager
    async def dial(self, target: Target) -> AsyncIterator[Session]:
        """Lend a session with a device; nothing is sent before it is used.

        Raises:
            UnreadableError: no such device is configured.
        """
        await trio.lowlevel.checkpoint()
        yield PortSession(target, self._line(target.id), self._secrets, self._cuts, self._clock)

    async def serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        """Return at once: devices are dialed."""

    def port_reads(self, target: str, port: str, wish: PortWish, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the addresses that `port_plan` needs and that `seen` lacks."""
        return [] if self._unwritable(target) else port_plans.reads(target, port, wish, seen)

    def port_plan(
        self, target: str, port: str, wish: PortWish, seen: Mapping[Address, Seen]
    ) -> PortPlan | CannotEnforce:
        """Return the steps for a port, or why nothing is done with it."""
        return self._unwritable(target) or port_plans.plan(target, port, wish, seen)

    def _unwritable(self, target: str) -> CannotEnforce | None:
        """Return why a device is not changed."""
        try:
            why = port_session.write_problem(self._line(target).device, self._secrets)
        except UnreadableError as err:
            return CannotEnforce(err.reason, str(err))
        return None if why is None else CannotEnforce(*why)

    # --- polls ---

    def poll_every_s(self, target: str) -> float:
        """Return the pace of a device: its own, or that of its profile."""
        return self._lines[target].every_s

    async def poll(self, target: Target) -> DeviceReading:
        """Read a device whole.

        Raises:
            UnreadableError: it is silent, refuses, or is not the device that it should be.
        """
        line = self._line(target.id)
        try:
            reading = await line.read()
        except UnreadableError as err:
            refused = err.reason in (TargetReason.REFUSED, TargetReason.MISSING_SECRET, TargetReason.MALFORMED)
            state = DeviceState.REFUSED if refused else DeviceState.UNREACHABLE
            self._trials[target.id] = _Trial(state, str(err), int(self._clock.wall_s()))
            raise
        self._learn(line)
        self._trials[target.id] = _Trial(DeviceState.REACHABLE, "", reading.read_s)
        findings = findings_of(line.first or reading, reading)
        self._shown[target.id] = _Shown(line.last or reading, facts_of(reading), tuple(findings))
        return reading

    async def listen(self, heard: Callable[[LineEvent], Awaitable[None]]) -> None:
        """Hear traps and informs until cancelled; returns at once where no address is configured for that.

        An address that cannot be had is tried again and again, and named as a finding of each device.
        """
        if not self._config.listen:
            return
        ours = OurEngine(self._engine_id, max(1, int(self._clock.wall_s()) - EPOCH_S), trio.current_time())
        senders = ConfiguredSenders(self._config, self._secrets, self._clock.sleep)
        self._receiver = receiver = NotificationReceiver(ours, chance.randbits)
        for line in self._lines.values():
            self._learn(line)
        self._listener = NotificationsListener(receiver, senders, heard, self._clock.wall_s)
        await senders.refresh()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(senders.run)
            while True:
                self._deaf = ""
                try:
                    await self._listener.run(self._config.listen, task_status=self.bound)
                except UnsentRequestError as err:
                    self._deaf = str(err)
                await self._clock.sleep(BIND_AGAIN_S)

    def reports(self) -> Sequence[DeviceReport]:
        """Return how the last reading of each device went."""
        named: dict[str, list[str]] = {}
        for target, shown in self._shown.items():
            if shown.last.identity:
                named.setdefault(shown.last.identity, []).append(self._lines[target].device.name)
        return [self._report(line.device, named) for line in self._lines.values()]

    @property
    def credentials(self) -> Sequence[SharedCredential]:
        """Return the configured credentials, each with the devices that are asked by it."""
        targets: dict[str, list[str]] = {}
        for device in self._config.devices:
            targets.setdefault(device.access.name, []).append(device.id)
        return [SharedCredential(one.name, one.secrets, targets.get(one.name, ())) for one in self._config.accesses]

    async def greet(self, target: str) -> None:
        """Ask a device for its description.

        Raises:
            UnreadableError: it is silent, or refuses.
        """
        client = await self._line(target).client()
        try:
            await hello_of(client)
        except SnmpError as err:
            raise unreadable(err) from err
        finally:
            client.close()

    def _report(self, device: SnmpDevice, named: Mapping[str, Sequence[str]]) -> DeviceReport:
        trial, shown = self._trials[device.id], self._shown.get(device.id)
        if shown is None:
            return DeviceReport(device.id, device.place, trial.state, trial.problem, trial.tried_s)
        last = shown.last
        deaf = (Finding(SnmpReason.NOT_HEARD, self._deaf),) if self._deaf else ()
        same = same_name(last.identity, [name for name in named.get(last.identity, ()) if name != device.name])
        return DeviceReport(
            device.id,
            device.place,
            trial.state,
            trial.problem,
            trial.tried_s,
            last.read_s,
            last.version,
            last.identity,
            shown.facts,
            (*deaf, *same, *shown.findings),
        )

    async def probe(self, target: str) -> DeviceReport:
        """Read a device now, and return how that went.

        Raises:
            UnreadableError: no such device is configured.
        """
        self._line(target)
        await self._read_by_hand(target)
        return next(report for report in self.reports() if report.target == target)

    async def neighbors(self, target: str) -> Sequence[Neighbor]:
        """Read a device now, and return the neighbors that it hears.

        Raises:
            UnreadableError: it cannot be read.
        """
        return (await self.poll(Target(target, NAME))).neighbors

    async def explore(self, question: Question, tell: Callable[[AnswerRow], Awaitable[None]]) -> None:
        """Answer a question by hand.

        Raises:
            UnreadableError: the device cannot be asked, or the question makes no sense.
        """
        if question.verb == "heard":
            await self._tell_heard(tell)
            return
        await explore_session.answer(self._config, self._lines, self._secrets, self._clock, question, tell)

    async def _tell_heard(self, tell: Callable[[AnswerRow], Awaitable[None]]) -> None:
        """Tell how many notifications came, by their fate, and why those of a sender do not count."""
        if self._listener is None or self._deaf:
            raise UnreadableError(self._deaf or "no [snmp] listen is configured", reason=TargetReason.UNSUPPORTED)
        counts = self._listener.counts
        for name in ("heard", "repeated", "reported", "malformed", "refused", "over_budget", "queue_full"):
            await tell({"what": name.replace("_", " "), "number": getattr(counts, name)})
        for address, why in sorted(counts.why.items()):
            await tell({"what": "last refusal", "address": address, "why": why})

    def _learn(self, line: SnmpDeviceLine) -> None:
        """Let notifications of a device be judged by the time that its answers proved."""
        if self._receiver is not None and (clock := line.clock) is not None:
            self._receiver.learn(*clock)

    async def _read_by_hand(self, target: str) -> None:
        try:
            with trio.fail_after(PROBE_S):
                await self.poll(Target(target, NAME))
        except UnreadableError:
            return
        except trio.TooSlowError:
            problem = f"{target}: expected a whole reading in {PROBE_S:g} s"
            self._trials[target] = _Trial(DeviceState.UNREACHABLE, problem, int(self._clock.wall_s()))

    def _line(self, target: str) -> SnmpDeviceLine:
        line = self._lines.get(target)
        if line is None:
            raise UnreadableError(f"no target {target} is configured", reason=TargetReason.UNKNOWN_TARGET)
        return line
