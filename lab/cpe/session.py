"""One session with an ACS (TR-069 3.7): its turns, its deliveries, and the effects of quirks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lab.cpe import soap
from lab.cpe.errors import CwmpFault, HangUp, MalformedSoapError
from lab.cpe.events import (
    AUTONOMOUS_TRANSFER_COMPLETE,
    BOOT,
    BOOTSTRAP,
    OF_TRANSFERS,
    TRANSFER_COMPLETE,
    VALUE_CHANGE,
    Event,
)
from lab.cpe.methods import methods_of, names_of
from lab.cpe.quirks import meets
from lab.cpe.records import Executed, SessionBegun
from lab.cpe.soap import Envelope, Finished
from lab.cpe.state import VERSIONS, CpeState

# how often a request is repeated that the ACS wants repeated (fault 8005); chosen arbitrarily
_TRIES_MAX: Final = 3
_NAMES_LOGGED: Final = 8


@dataclass(slots=True)
class _Own:
    """A request of the CPE to the ACS. `done`: called when it was answered."""

    method: str
    body: str
    done: Callable[[], object]
    tries: int = 0


class Session:
    """A session. `sent`: its Inform's events; `informed`: that was answered; `executed`: requests of the ACS."""

    __slots__ = ("_cpe", "_own", "_told", "_tries", "_waits_for", "executed", "informed", "sent")

    def __init__(self, cpe: CpeState) -> None:
        self._cpe = cpe
        self.informed = False
        self.executed = 0
        self._tries = 0
        self._waits_for = ""
        events = cpe.events
        if cpe.server("URL") != cpe.known_acs and not events.has(BOOTSTRAP):
            events.add(BOOTSTRAP)
        if cpe.tree.noticed:
            events.add(VALUE_CHANGE)
        self._own = self._requests()
        self.sent = cpe.being_said = events.for_inform()
        self._told = tuple(cpe.tree.noticed)
        cpe.note(SessionBegun(cpe.now(), self.sent, cpe.retry_count))

    def _requests(self) -> list[_Own]:
        """The CPE's own requests to the ACS in this session."""
        cpe, found = self._cpe, []
        for finished in cpe.transfers.finished:
            done = functools.partial(self._told_of, finished)
            found.append(_Own("TransferComplete", soap.transfer_complete(finished), done))
        if cpe.version == "1.0":
            cpe.transfers.autonomous.clear()  # it has no word for them
        for transfer in cpe.transfers.autonomous:
            forget = functools.partial(cpe.transfers.autonomous.remove, transfer)
            body = soap.autonomous_transfer_complete(transfer)
            found.append(_Own("AutonomousTransferComplete", body, forget))
        if cpe.quirks.asks_methods and cpe.events.has(BOOT):
            found.append(_Own("GetRPCMethods", "<cwmp:GetRPCMethods/>", lambda: None))
        return found

    def _told_of(self, finished: Finished) -> None:
        """TransferComplete was answered: only now its events are delivered."""
        cpe = self._cpe
        cpe.transfers.finished.remove(finished)
        said = (event for event in cpe.events if event[0] in OF_TRANSFERS and event[1] == finished.command_key)
        cpe.events.delivered(list(said)[:1])
        if not cpe.transfers.finished:
            cpe.events.drop(TRANSFER_COMPLETE)

    def inform(self) -> bytes:
        """The Inform."""
        cpe = self._cpe
        tree, who = cpe.tree, cpe.identity
        names = dict.fromkeys((*tree.informed(), *self._told))
        values = [one for name in names if tree.leaf(name) is not None for one in tree.show(name)]
        oui = who.oui.lower() if cpe.quirks.lower_oui else who.oui
        identity = (who.manufacturer, oui, who.product_class, who.serial)
        body = soap.inform(identity, self.sent, values, cpe.now(), cpe.retry_count)
        self._waits_for = "InformResponse"
        supported = VERSIONS if cpe.version == "1.4" else ()
        return soap.envelope(body, cpe.next_id(), cpe.version, supported=supported)

    def receive(self, data: bytes) -> bytes | None:
        """Take the body of an ACS's answer, and give the body of the next POST; None when the session is over.

        Raises:
            HangUp: the CPE drops the connection: the message makes no sense here, or it was told to.
        """
        if not data:
            if self._waits_for:
                raise HangUp(f"expected {self._waits_for}, got an empty answer")
            return self._speak() if self._own else None
        try:
            envelope = soap.read_untrusted(data)
        except MalformedSoapError as err:
            raise HangUp(str(err)) from err
        if envelope.method == "Fault":
            return self._receive_fault(envelope)
        if envelope.method.endswith("Response"):
            return self._receive_response(envelope)
        if self._waits_for:
            raise HangUp(f"expected {self._waits_for}, got {envelope.method}")
        return self._execute(envelope)

    def _speak(self, *, hold: bool = False) -> bytes:
        """The CPE's turn: its next request, or nothing, which lets the ACS ask."""
        if hold or not self._own:
            return b""
        own = self._own[0]
        own.tries += 1
        self._waits_for = f"{own.method}Response"
        return soap.envelope(own.body, self._cpe.next_id(), self._cpe.version)

    def _receive_response(self, envelope: Envelope) -> bytes:
        if envelope.method != self._waits_for:
            raise HangUp(f"expected {self._waits_for or 'a request'}, got {envelope.method}")
        self._waits_for = ""
        if self.informed:
            self._own.pop(0).done()
        else:
            self._delivered(envelope)
        return self._speak(hold=envelope.hold)

    def _delivered(self, envelope: Envelope) -> None:
        """The Inform was answered: the ACS knows its content, but for the parts that another answer delivers."""
        cpe = self._cpe
        self.informed = True
        cpe.being_said = ()
        cpe.known_acs = cpe.server("URL")
        cpe.agree_version(envelope.version, envelope.use_version)
        waits = {finished.command_key for finished in cpe.transfers.finished}

        def is_delivered(event: Event) -> bool:
            if event[0] in OF_TRANSFERS:
                return event[1] not in waits
            return not (event[0] == TRANSFER_COMPLETE and waits)

        cpe.events.delivered(event for event in self.sent if is_delivered(event))
        for name in self._told:
            cpe.tree.noticed.pop(name, None)
        if not cpe.transfers.autonomous:
            cpe.events.drop(AUTONOMOUS_TRANSFER_COMPLETE)

    def _receive_fault(self, envelope: Envelope) -> bytes:
        if not self._waits_for:
            raise HangUp("expected a request, got a fault")
        code = soap.fault_code(envelope)
        if not self.informed:
            self._tries += 1
            if code == "8005" and self._tries < _TRIES_MAX:
                return self.inform()
            raise HangUp(f"expected InformResponse, got fault {code}")
        self._waits_for = ""
        own = self._own[0]
        if code != "8005" or own.tries >= _TRIES_MAX:
            self._own.pop(0).done()  # TR-069 A.5.2: not asked again
        return self._speak(hold=envelope.hold)

    def _execute(self, request: Envelope) -> bytes:
        cpe = self._cpe
        names = names_of(request)
        if meets(cpe.quirks.cut_on, request.method, names):
            cpe.note(Executed(cpe.now(), request.method, names[:_NAMES_LOGGED], 9002, answered=False))
            raise HangUp(f"told to at {request.method}")
        code, body = self._done(request, names)
        self.executed += 1
        lost = cpe.loses_answer(request.method, names)
        cpe.note(Executed(cpe.now(), request.method, names[:_NAMES_LOGGED], code, answered=not lost))
        if meets(cpe.quirks.reboots_on, request.method, names):
            cpe.boots_left = cpe.quirks.reboots
        if lost:
            raise HangUp(f"told to after {request.method}")
        return soap.envelope(body, self._answer_id(request), cpe.version)

    def _done(self, request: Envelope, names: tuple[str, ...]) -> tuple[int, str]:
        """Do a request: the fault's code, 0 for none, and the body of the answer."""
        cpe = self._cpe
        method = methods_of(cpe.version).get(request.method)
        if method is None:
            return 9000, soap.fault(9000)
        if meets(cpe.quirks.fails_on, request.method, names):
            return 9002, soap.fault(9002)
        try:
            return 0, soap.response(request.method, method(cpe, request))
        except CwmpFault as refused:
            return refused.code, soap.fault(refused.code, refused.parameters)

    def _answer_id(self, request: Envelope) -> str | None:
        quirks = self._cpe.quirks
        if quirks.no_id:
            return None
        return self._cpe.next_id() if quirks.id_not_echoed else request.id
