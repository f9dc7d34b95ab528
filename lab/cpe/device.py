"""The CPE: its tree, its events, its sessions, its boots. Pure: bytes in, bytes out, the clock from outside.

Its runner (`lab.cpe.client`) asks `wants_session`, then writes the bytes of `begin_session`, hands every answer of the
ACS to `receive` and sends its bytes, until it gives None; then calls `finish`. Between sessions it boots the CPE when
`rebooting` is so, does the transfers of `take_transfers`, and calls `handle_timer` when `get_timer` says.
"""

from __future__ import annotations

import functools
import re

from lab.cpe import diagnostics
from lab.cpe.errors import HangUp
from lab.cpe.events import BOOT, CONNECTION_REQUEST, DIAGNOSTICS_COMPLETE, PERIODIC
from lab.cpe.records import Booted, SessionOver, Woken
from lab.cpe.session import Session
from lab.cpe.state import CpeState
from lab.cpe.transfers import Transfer, configuration_of
from lab.cpe.tree import ACTIVE


class Device(CpeState):
    """One CPE, run from outside. Its arguments are those of `CpeState`."""

    _session: Session | None = None

    # --- events -------------------------------------------------------------------------------------------------------

    @property
    def wants_session(self) -> bool:
        """Whether there is something to tell the ACS."""
        active = any(self.tree.attributes(name).notification == ACTIVE for name in self.tree.noticed)
        moved = bool(self.boots) and self.known_acs != self.server("URL")
        return bool(len(self.events)) or active or moved

    def connection_request(self, how: str = "http", status: int = 200) -> None:
        """A connection request came in and was answered with that status, 200 when it was authentic."""
        self.note(Woken(self.now(), how, status))
        if status == 200 and not self.quirks.deaf:
            self.add_event(CONNECTION_REQUEST)

    # --- timers -------------------------------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """When `handle_timer` or `take_transfers` is to be called next, by `now`."""
        due = (self._timers.due(), self._periodic.due(), self.transfers.due())
        return min((at for at in due if at is not None), default=None)

    def handle_timer(self) -> None:
        """Do due work: periodic and scheduled informs, diagnostics."""
        for act in self._timers.take(self.now()):
            act()
        if self._periodic.take(self.now()):
            self.add_event(PERIODIC)

    def take_transfers(self) -> list[Transfer]:
        """The transfers that are to begin now. Each ends with `transfers.done`."""
        return [] if self.in_session or self.rebooting else self.transfers.take(self.now())

    def upload_content(self, transfer: Transfer) -> bytes:
        """The content of an upload."""
        if "Log" in transfer.file_type:
            return f"lab CPE {self.identity.serial}, {self.boots} boots\n".encode()
        return configuration_of(self.tree)

    # --- boots --------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Come up: after power on, or after `rebooting` for as long as that takes."""
        self.rebooting = False
        self.boots += 1
        self.retry_count = 0
        self.tree.booted_at = self.now()
        self.tree.noticed.clear()
        self.events.after_boot()
        if self._reset:
            self._factory_reset()
        for path in diagnostics.SHAPES:
            diagnostics.forget(self.tree, path)
        self.transfers.after_boot()
        self._periodic.restart(self.now())
        self.add_event(BOOT)
        self.note(Booted(self.now(), self.boots, self.software))

    def power_cut(self) -> None:
        """Lose power at once; `rebooting` until it is back. Work that was put off stays to be done."""
        self.rebooting = True
        self._requested.clear()
        self._changed()

    def _factory_reset(self) -> None:
        self._reset = False
        url = self.server("ConnectionRequestURL")
        self.tree.reset()
        self.transfers.forget()
        self.events.clear()
        self.known_acs = ""
        self.set_server("ConnectionRequestURL", url, quietly=True)

    def _run_diagnostic(self, path: str) -> None:
        if self.tree.get(f"{path}DiagnosticsState") == "Requested":
            diagnostics.run(self.tree, path, self.dice, self.unreachable)
            self.add_event(DIAGNOSTICS_COMPLETE)

    # --- a session ----------------------------------------------------------------------------------------------------

    def begin_session(self) -> bytes:
        """Begin a session: the Inform to send."""
        self._session, self.in_session = Session(self), True
        return self._written(self._session.inform())

    def receive(self, data: bytes) -> bytes | None:
        """Take the body of an ACS's answer, and give the body of the next POST; None when the session is over.

        Raises:
            HangUp: the CPE drops the connection: the message makes no sense here, or it was told to.
        """
        if self._session is None:
            raise HangUp("expected a session, got an answer without one")
        answer = self._session.receive(data)
        return None if answer is None else self._written(answer)

    def _written(self, body: bytes) -> bytes:
        """Return a body with the errors that its firmware makes in names and values."""
        for path, raw in self.quirks.garbles:
            value = re.compile(rb"(<Name>" + re.escape(path.encode()) + rb"</Name>\s*<Value[^>]*>)[^<]*")
            body = value.sub(lambda found, raw=raw: found[1] + raw, body)  # type: ignore[misc]  # a bytes default
        if self.quirks.blank_names:
            body = re.sub(rb"<Name>([^<]*)</Name>", rb"<Name>\n \1\t</Name>", body)
        return body

    def finish(self, *, ok: bool, reason: str = "") -> None:
        """The session is over. `ok`: it ended as it should; otherwise `reason`, and it is to be tried again."""
        session, self._session = self._session, None
        if session is None:
            return
        self.in_session, self.being_said = False, ()
        self.retry_count = 0 if ok else self.retry_count + 1
        self._set_now(self._late)
        self._late = {}
        for path in self._requested:
            # TR-181: a diagnostic begins when the session is over
            self._timers.add(self.now() + self.diagnostics_s, functools.partial(self._run_diagnostic, path))
        self._requested = []
        if self.boots_left:
            self.boots_left -= 1
            self._reboot = True
        self.note(SessionOver(self.now(), ok, reason, session.informed, session.executed))
        if self._reboot:
            self.reboot_when_idle()
