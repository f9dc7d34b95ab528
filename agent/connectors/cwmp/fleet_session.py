"""CPE that call in: their identity, whether they are worked on, their reports; and how one is called for.

A name is not proven by saying it. A CPE is worked on (`Acceptance.ACCEPTED`) after a person accepted it, as long as it
proves itself as it did then: by its own password, or a certificate with its name in it. Credentials that many share
prove only that it is one of many; `CpeBook.called` decides whether that is enough.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import trio

from agent.connectors.base import Reply, Session, UnreadableError
from agent.connectors.cwmp import connection_request, endings, http_text, limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import Answered, CpeAsks, Ended, EndReason, Informed, Misread, SessionEvent
from agent.connectors.cwmp.connection_request import (
    RequestOutcome,
    RequestReach,
    RequestResult,
    RequestSchedule,
    UdpTarget,
)
from agent.connectors.cwmp.connection_request_session import request_http, request_udp, send_datagram
from agent.connectors.cwmp.cpe_session import CpeSession
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.events import EventCode
from agent.connectors.cwmp.faults import AcsFault, refusal
from agent.connectors.cwmp.identity import cpe_id, target_id
from agent.connectors.cwmp.line_session import Offer, known
from agent.connectors.cwmp.listener import Proof
from agent.connectors.cwmp.reasons import CwmpReason
from agent.connectors.cwmp.refresh_session import sample
from agent.connectors.cwmp.schema import CwmpConfig
from agent.connectors.cwmp.stun import Binding
from agent.connectors.cwmp.stun_listener import StunSocket
from agent.connectors.cwmp.traces import masked_untrusted
from agent.cpe_model import limits as model_limits
from agent.cpe_model.addresses import name_of
from agent.cpe_model.known import Acceptance, Called, Cpe, CpeBook, Credentials, TracedMessage
from agent.cpe_model.presentable import presentable
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from agent.runtime.supervise import contain
from trust import chance

_log = logging.getLogger(__name__)
_ROOTS = ("Device.", "InternetGatewayDevice.")


@dataclass(slots=True)
class _Trace:
    """A watcher of a CPE's messages. `call`: the session that is shown now."""

    name: str
    sessions: int
    told: Callable[[TracedMessage], None]
    call: CwmpSession | None = None
    left_bytes: int = limits.TRACE_BYTES
    sets: bool = False
    """Whether the CPE was asked last to set parameters: its fault may repeat one of them."""

    def say(self, sender: str, status: int, text: str) -> None:
        """Tell of a message; the trace is over with the last one that there is room for."""
        self.left_bytes -= len(text)
        if self.left_bytes < 0:
            self.sessions, text = 0, f"{text[: limits.TRACE_MESSAGE_BYTES]}\nthe trace is full"
        self.told(TracedMessage(sender, status, text, self.sessions))


REQUEST_TIMEOUT_S = 10.0
REQUESTS_AT_ONCE = 32
"""Connection requests that are under way at once: a campaign waits for thousands of CPE, and sockets are for all."""
_LOOK_S = 1.0
"""Between two looks at the CPE that are waited for, where none is new: each goes through all of them."""
_MOST_BINDINGS = 100_000
_CAME = frozenset({RequestOutcome.ACCEPTED, RequestOutcome.SENT})
"""A CPE that calls in after these came because it was asked: if it is waited for again, the pauses go on growing."""


class CpeFleet:
    """Implements `listener.Visit`; knows each CPE's line."""

    def __init__(
        self,
        config: CwmpConfig,
        book: CpeBook,
        clock: Clock,
        offer: Offer,
        shared_request: Callable[[], Credentials | None] = lambda: None,
    ) -> None:
        """Know no CPE yet.

        Args:
            config: of the ACS.
            book: the record of CPE.
            clock: of all that takes time.
            offer: makes a firmware image ready to be fetched.
            shared_request: credentials for connection requests to CPE that have none of their own; None: not known.
        """
        self._config, self._book, self._clock, self._offer = config, book, clock, offer
        self._shared_request = shared_request
        self._lines: dict[str, CpeSession] = {}
        self._calls: dict[CwmpSession, CpeSession] = {}
        self._waited: dict[str, int] = {}
        self._requests: dict[str, RequestSchedule] = {}
        self._came: set[str] = set()
        """CPE that are waited for and called in because they were asked to."""
        self._asking: set[str] = set()
        self._troubles: dict[str, str] = {}
        """A sentence on the trouble in the last session of a CPE, by its name; of no more than `limits.TROUBLES`."""
        self._traces: list[_Trace] = []
        self._ended_well: set[str] = set()
        """CPE with a last session that was not cut off: their words on the next try are new."""
        self._sampled: dict[str, float] = {}
        """When CPE were read for their history, by their names, boot-time seconds."""
        self._sampling = 0
        """How many are being read so now."""
        self._request_limit = trio.CapacityLimiter(REQUESTS_AT_ONCE)
        self._someone = trio.Event()
        self.bindings: dict[str, UdpTarget] = {}
        """Where CPE behind NAT listen, by the user that they gave the STUN server."""
        self.stun: StunSocket | None = None
        """The STUN server's socket, while there is one: UDP connection requests go out from it."""
        self._nursery: trio.Nursery | None = None
        self._arrived: Callable[[Session], Awaitable[None]] | None = None

    def request_credentials(self, name: str) -> Credentials | None:
        """Return the credentials for connection requests to a CPE: its own, else the shared ones; None: not known."""
        return self._book.request_credentials(name) or self._shared_request()

    def line(self, name: str) -> CpeSession:
        """Return the line to a CPE, on which it may be or not."""
        if name not in self._lines:
            self._lines[name] = CpeSession(name, self._book, self._clock, self._offer, self._config.profiles)
        return self._lines[name]

    def forget(self, name: str) -> None:
        """Drop all notes of a CPE that is in the book no more, as a restart would; whoever waits for it waits on."""
        if name in self._lines:
            self._lines[name].begin_anew()
        for notes in (self._requests, self._troubles, self._sampled, self.bindings):
            notes.pop(name, None)
        for names in (self._came, self._ended_well):
            names.discard(name)

    async def run(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        """Lend CPE to whoever waits for them, and call for those that are waited for, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery, self._arrived = nursery, arrived
            try:
                while True:
                    await self._request_all(nursery)
            finally:
                self._nursery = self._arrived = None

    # --- what sessions say

    async def informed(self, call: CwmpSession, informed: Informed, proof: Proof) -> None:
        """Take note of an Inform, durably; lend the CPE, if it is one to be worked on."""
        inform = informed.inform
        name = cpe_id(inform.device_id)
        if name is None:
            call.session.answer(refusal(AcsFault.INVALID_ARGUMENTS, "DeviceId: expected an OUI and a SerialNumber"))
            return
        call.name = name
        if informed.misread is not None:
            self._warn("cwmp-unreadable-values", call, str(informed.misread))
        oui, product_class, serial = inform.device_id.key
        owner = self._book.owner(proof.user) if proof.user not in ("", self._config.user) else None
        certified = proof.certificate is not None and http_text.names_cpe(proof.certificate, oui, product_class, serial)
        if owner is not None and owner != name:
            _log.warning("cwmp-wrong-name", extra={"target": target_id(name), "reason": "password of another"})
            call.session.answer(refusal(AcsFault.REQUEST_DENIED, "these credentials are of another CPE"))
            return
        if not proof.user and not certified:
            _log.warning("cwmp-wrong-name", extra={"target": target_id(name), "reason": "certificate of another"})
            call.session.answer(refusal(AcsFault.REQUEST_DENIED, "this certificate does not name this CPE"))
            return
        called = self._called(name, inform, proof, own=owner == name or certified)
        cpe = await self._book.called(replace(called, certified=certified))
        self._ended_well.discard(name)
        if cpe.trust is Acceptance.REFUSED:
            call.session.answer(refusal(AcsFault.REQUEST_DENIED, "this CPE is refused here"))
            return
        if cpe.trust is Acceptance.ACCEPTED:  # of another, not even what it says of itself is believed
            call.accept()
            await self._noted(cpe, inform)
            self._lend(call, cpe)

    def is_accepted(self, user: str) -> bool:
        """Tell whether a user is an accepted CPE's own."""
        name = self._book.owner(user)
        cpe = None if name is None else self._book.find(name)
        return cpe is not None and cpe.trust is Acceptance.ACCEPTED

    def accepted_addresses(self, most: int) -> Iterable[str]:
        """Return where accepted CPE called from last, of so many of them, the latest last."""
        return self._book.accepted_addresses(most)

    def _called(self, name: str, inform: m.Inform, proof: Proof, *, own: bool) -> Called:
        now_s = int(self._clock.wall_s())
        values = {p.name: known(p, now_s) for p in inform.parameter_list[: model_limits.VALUES] if p.name}
        root = next((r for r in _ROOTS if any(path.startswith(r) for path in values)), "")
        oui, product_class, serial = inform.device_id.key

        def told(path: str) -> str:
            found = values.get(root + path)
            return "" if found is None or found.unreadable else found.value or ""

        return Called(
            name=name,
            oui=oui,
            product_class=product_class,
            serial=serial,
            manufacturer=inform.device_id.manufacturer,
            root=root,
            software=told("DeviceInfo.SoftwareVersion"),
            hardware=told("DeviceInfo.HardwareVersion"),
            user=proof.user,
            own=own,
            address=proof.address,
            request_url=told("ManagementServer.ConnectionRequestURL"),
            udp_address=told("ManagementServer.UDPConnectionRequestAddress"),
            events=tuple(event.event_code for event in inform.event),
            at_s=now_s,
            reboot_key=next((e.command_key for e in reversed(inform.event) if e.code is EventCode.REBOOT), ""),
            retry=0 if name in self._ended_well else inform.retry_count,
            trust_shared=self._config.trust_shared,
            values=values,
        )

    async def _noted(self, cpe: Cpe, inform: m.Inform) -> None:
        """Take note of the facts that an Inform proves."""
        codes = {event.code for event in inform.event}
        await self._book.evidence(cpe.name, "inform", True, "")
        if EventCode.CONNECTION_REQUEST in codes and cpe.name in self._requests:
            await self._book.evidence(cpe.name, "connection-request", True, "")
        if EventCode.REBOOT in codes:
            await self._book.evidence(cpe.name, "reboot", True, "")
        schedule = self._requests.get(cpe.name)
        if schedule is not None and (schedule.last is None or schedule.last.outcome not in _CAME):
            del self._requests[cpe.name]  # that it could not be called for says nothing any more
        elif schedule is not None:
            self._came.add(cpe.name)
        line = self.line(cpe.name)
        if EventCode.BOOTSTRAP in codes:
            line.made.clear()  # its rows are those of its factory
        if EventCode.BOOTSTRAP in codes and line.awaits_reset:
            line.awaits_reset = False
            await self._book.evidence(cpe.name, "factory-reset", True, "")
        if EventCode.DIAGNOSTICS_COMPLETE in codes:
            line.begins.clear()
        if cpe.booted:
            await line.booted()
        await line.look_at_flash(cpe)

    def _lend(self, call: CwmpSession, cpe: Cpe) -> None:
        if self._nursery is None or self._arrived is None:
            return
        line = self._calls[call] = self.line(cpe.name)
        line.attach(call)
        call.hold()
        due = cpe.resets > cpe.provisioned and any(
            baseline.is_for(cpe.oui, cpe.product_class) for baseline in self._config.baselines
        )
        self._nursery.start_soon(self._lent, call, line, self._arrived, limits.LINGER_S if due else 0.0)

    async def _lent(
        self, call: CwmpSession, line: CpeSession, arrived: Callable[[Session], Awaitable[None]], linger_s: float
    ) -> None:
        """Keep a CPE on the line until nobody has work for it, or it hung up; and know its line until it did."""
        try:
            with trio.CancelScope() as scope:
                call.on_over = scope.cancel
                if call.over.is_set():
                    scope.cancel()
                await contain("cpe on the line", lambda: arrived(line), log=_log)
                if linger_s:
                    with trio.move_on_after(linger_s):  # what is due to it is only being prepared
                        while line.name not in self._waited:
                            await self._someone.wait()
                    await contain("cpe on the line", lambda: arrived(line), log=_log)
                if self._sample_due(line.name):
                    await contain("history of a cpe", lambda: self._sample(call, line), log=_log)
                call.release()
            await call.over.wait()
        finally:
            line.detach(call)
            del self._calls[call]
            if line.name in self._waited:
                self._someone.set()  # it may have to be called for

    def _sample_due(self, name: str) -> bool:
        """Tell whether a CPE is to be read for its history now; it then counts as read."""
        now = self._clock.boot_s()
        if not self._config.history_s or self._sampling >= limits.SAMPLES_AT_ONCE:
            return False
        if now < self._sampled.get(name, float("-inf")) + self._config.history_s:
            return False
        self._sampled[name] = now
        if len(self._sampled) > limits.SAMPLE_TIMES:
            del self._sampled[next(iter(self._sampled))]
        return True

    async def _sample(self, call: CwmpSession, line: CpeSession) -> None:
        """Read the parameters of a CPE that have a history; that it refuses costs a line in the log."""
        self._sampling += 1
        try:
            with trio.move_on_after(limits.SAMPLE_S):
                await sample(line, call)
        except UnreadableError as err:
            if not call.over.is_set():
                self._warn("cwmp-no-history", call, str(err))
        finally:
            self._sampling -= 1

    async def event(self, call: CwmpSession, event: SessionEvent) -> None:
        """Take note of the other events of a session."""
        match event:
            case CpeAsks(request=m.TransferComplete() as done, misread=misread):
                if misread is not None:
                    self._warn("cwmp-unreadable-values", call, str(misread))
                await self._transferred(call, done)
            case Answered(misread=misread) if misread is not None:
                self._warn("cwmp-unreadable-values", call, str(misread))
            case Misread(error=error, fault=fault):
                self._trouble(call, endings.refusal_text(error, int(fault)))
            case Ended():
                self._ended(call, event)
            case _:
                pass

    def _ended(self, call: CwmpSession, ended: Ended) -> None:
        if (line := self._calls.get(call)) is not None:
            line.detach(call)
            if ended.reason is EndReason.DONE:
                self._ended_well.add(line.name)
        if text := endings.trouble(ended):
            self._trouble(call, text)
        elif ended.reason is EndReason.DONE:
            self._troubles.pop(call.name, None)

    def _trouble(self, call: CwmpSession, text: str) -> None:
        self._warn("cwmp-trouble", call, text)
        if call.name:
            self._troubles.pop(call.name, None)
            self._troubles[call.name] = text
            if len(self._troubles) > limits.TROUBLES:
                del self._troubles[next(iter(self._troubles))]

    @staticmethod
    def _warn(message: str, call: CwmpSession, reason: str) -> None:
        """Log a trouble. Reasons hold names of elements, counts and places, and no value that came."""
        _log.warning(message, extra={"target": target_id(call.name) if call.name else call.address, "reason": reason})

    def last_trouble(self, name: str) -> str | None:
        """Return a sentence on the trouble in a CPE's last session; None: there was none since the start."""
        return self._troubles.get(name)

    # --- traces

    @contextmanager
    def traced(self, name: str, sessions: int, told: Callable[[TracedMessage], None]) -> Iterator[None]:
        """Tell of each message of a CPE's next sessions inside the block.

        Raises:
            UnreadableError: too many traces run.
        """
        if len(self._traces) >= limits.TRACES:
            raise UnreadableError(f"{limits.TRACES} traces run already", reason=CwmpReason.MANY_TRACES)
        trace = _Trace(name, sessions, told)
        self._traces.append(trace)
        try:
            yield
        finally:
            self._traces.remove(trace)

    def exchanged(self, call: CwmpSession, body: bytes, status: int, answer: bytes) -> None:
        """Show a POST and its answer to whoever traces the CPE: from its next Inform on."""
        for trace in self._traces:
            if trace.name != call.name:
                continue
            if trace.call is not None and trace.call is not call and not call.begun:
                self.over(trace.call)
            if trace.sessions <= 0 or (trace.call is None and call.begun):
                continue
            trace.call = trace.call or call
            if trace.call is call:
                trace.say("cpe", 0, masked_untrusted(body, fault_texts=not trace.sets))
                trace.sets = b":SetParameterValues>" in answer
                trace.say("acs", status, masked_untrusted(answer, fault_texts=True))
        call.begun = True

    def over(self, call: CwmpSession) -> None:
        """Show the end of a session to whoever traces the CPE."""
        for trace in self._traces:
            if trace.call is call and trace.sessions > 0:
                trace.call, trace.sessions = None, trace.sessions - 1
                why = endings.trouble(call.ended) if call.ended is not None else "it hung up, or was let go"
                trace.say("", 0, f"the session is over{f': {why}' if why else ''}")

    async def _transferred(self, call: CwmpSession, done: m.TransferComplete) -> None:
        line = self._calls.get(call)
        if line is None:
            return
        code, text = done.fault_struct.fault_code, done.fault_struct.fault_string
        accepted = code == 0
        detail = "TransferComplete without a fault" if accepted else f"{code} {presentable(text)}".strip()
        line.tell(
            done.command_key,
            Reply(accepted, TargetReason.TRANSFERRED if accepted else TargetReason.FAULT.numbered(code), detail),
        )
        if line.flash is not None and line.flash.key == done.command_key:
            line.flash.reported = accepted
            if not accepted:
                await line.evidence("firmware", False, f"fault {code}", line.flash.before)
                line.flash = None

    # --- calling for a CPE

    def bound(self, binding: Binding) -> None:
        """Take note of where a CPE behind NAT listens, as the STUN server saw it; of a CPE that proved itself."""
        if binding.proven:
            self.bindings[binding.username] = UdpTarget(binding.address, binding.port)
            if len(self.bindings) > _MOST_BINDINGS:
                del self.bindings[next(iter(self.bindings))]

    @contextmanager
    def waited_for(self, target: str) -> Iterator[None]:
        """Send connection requests to a CPE inside the block, with pauses that grow."""
        name = name_of(target)
        self._waited[name] = self._waited.get(name, 0) + 1
        if name in self._came:  # it came for something else, and there is something new for it
            self._came.discard(name)
            self._requests.pop(name, None)
        self._someone.set()
        try:
            yield
        finally:
            self._waited[name] -= 1
            if not self._waited[name]:
                del self._waited[name]
                self._came.discard(name)
                self._requests.pop(name, None)

    def last_request(self, name: str) -> RequestResult | None:
        """Return how the last connection request went, since somebody waits for the CPE; None: there was none."""
        schedule = self._requests.get(name)
        return None if schedule is None else schedule.last

    async def _request_all(self, nursery: trio.Nursery) -> None:
        now = self._clock.boot_s()
        pauses: list[float] = []
        for name in list(self._waited):
            line = self._lines.get(name)
            if name in self._asking or (line is not None and line.live is not None):
                continue
            schedule = self._requests.get(name, RequestSchedule())
            wait_s = schedule.wait_s(now)
            if wait_s is None:
                continue
            if wait_s > 0:
                pauses.append(wait_s)
                continue
            asked = self._requests[name] = schedule.noted(
                RequestResult(RequestOutcome.UNREACHABLE, "being asked"), now, chance.fraction()
            )
            pauses.append(asked.due_at - now)
            self._asking.add(name)
            request = partial(self._request, name, schedule, asked)
            nursery.start_soon(partial(contain, "connection request", request, log=_log))
        self._someone = trio.Event()
        with trio.move_on_after(max(min([*pauses, 30.0]), _LOOK_S)):
            await self._someone.wait()

    async def _request(self, name: str, schedule: RequestSchedule, asked: RequestSchedule) -> None:
        """Send a connection request and keep its result, unless the CPE called in meanwhile: then it is outdated."""
        try:
            async with self._request_limit:
                result = await self.request_connection(name)
        except UnreadableError as err:
            result = RequestResult(RequestOutcome.NO_WAY, str(err))
        finally:
            self._asking.discard(name)
        if self._requests.get(name) is asked:
            self._requests[name] = schedule.noted(result, self._clock.boot_s(), chance.fraction())

    async def request_connection(self, name: str) -> RequestResult:
        """Send one connection request, and return how the CPE took it.

        Raises:
            UnreadableError: nothing is known of the CPE.
        """
        cpe = self._book.find(name)
        if cpe is None:
            raise UnreadableError(f"there is no CPE {name}", reason=TargetReason.UNKNOWN_TARGET)
        credentials = self.request_credentials(name)
        if credentials is None:
            return RequestResult(
                RequestOutcome.NO_WAY, "no credentials for connection requests are known: ispagent cpe rotate"
            )
        called_from = ipaddress.ip_address(cpe.address) if cpe.address else None
        reach = RequestReach(called_from, self._config.request_networks)
        http = (
            connection_request.http_target_untrusted(cpe.request_url, reach)
            if cpe.request_url
            else RequestResult(RequestOutcome.NO_WAY, "it has told no ConnectionRequestURL")
        )
        udp = self.bindings.get(credentials.user) if self.stun else None
        if udp is None:  # another STUN server than ours may have told the CPE where it is seen
            udp = connection_request.udp_target_untrusted(cpe.udp_address, reach)
        way = connection_request.way(http, udp, reach)
        if isinstance(way, RequestResult):
            return way
        if isinstance(way, UdpTarget):
            send = send_datagram if self.stun is None else self.stun.send
            return await request_udp(way, credentials, send, self._clock.wall_s())
        return await request_http(way, credentials, timeout_s=REQUEST_TIMEOUT_S)
