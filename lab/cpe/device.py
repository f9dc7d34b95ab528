"""The CPE: its tree, its events, its sessions, its boots. Pure: bytes in, bytes out, the clock from outside.

Whoever runs it (`lab.cpe.client` does) asks `wants_session`, then writes what `begin_session` gives, hands every answer
of the ACS to `receive` and sends what that gives, until it gives None; then calls `finish`. Between sessions it boots
the CPE when `rebooting` is so, does the transfers of `take_transfers`, and calls `handle_timer` when `get_timer` says.
"""

from __future__ import annotations

import functools
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lab.cpe import diagnostics
from lab.cpe.effects import follow
from lab.cpe.errors import HangUp
from lab.cpe.events import BOOT, CONNECTION_REQUEST, DIAGNOSTICS_COMPLETE, PERIODIC, SCHEDULED, Events
from lab.cpe.methods import methods_of
from lab.cpe.model import Model
from lab.cpe.quirks import NONE, Quirks, covers, meets
from lab.cpe.records import Booted, Record, SessionOver, Woken
from lab.cpe.session import VERSIONS, Session
from lab.cpe.timers import Periodic, Timers
from lab.cpe.transfers import Transfer, Transfers, configuration_of
from lab.cpe.tree import ACTIVE, Tree

# what a test may want to look back at; chosen arbitrarily
_LOG_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a CPE says it is. `oui`: six hex digits in upper case."""

    serial: str
    manufacturer: str = "Lab"
    oui: str = "02AC5F"
    product_class: str = "LabGate"
    software: str = "1.0.0"
    hardware: str = "A1"


@dataclass(frozen=True, slots=True)
class Login:
    """A name and a password. No name: none is asked for, or no challenge is answered."""

    username: str = ""
    password: str = ""


_NOBODY: Final = Login()


def _factory(prefix: str, who: Identity, url: str, acs: Login, ring: Login, interval_s: int) -> dict[str, str]:
    """What a CPE of this identity has from the factory besides its model's values."""
    values = {
        "DeviceInfo.Manufacturer": who.manufacturer,
        "DeviceInfo.ManufacturerOUI": who.oui,
        "DeviceInfo.ModelName": who.product_class,
        "DeviceInfo.ProductClass": who.product_class,
        "DeviceInfo.SerialNumber": who.serial,
        "DeviceInfo.HardwareVersion": who.hardware,
        "DeviceInfo.SoftwareVersion": who.software,
        "ManagementServer.URL": url,
        "ManagementServer.Username": acs.username,
        "ManagementServer.Password": acs.password,
        "ManagementServer.ConnectionRequestUsername": ring.username,
        "ManagementServer.ConnectionRequestPassword": ring.password,
        "ManagementServer.PeriodicInformEnable": "1" if interval_s else "0",
        "ManagementServer.PeriodicInformInterval": str(interval_s or 300),
    }
    return {prefix + name: value for name, value in values.items() if value}


class Device:
    """One CPE.

    Args:
        identity: who it is.
        model: `tr098()` or `tr181()`, perhaps `grown`.
        url: of its ACS.
        username: for the ACS; empty: it answers no challenge.
        password: for the ACS.
        cr_username: what a connection request must say; empty: none is asked for.
        cr_password: see `cr_username`.
        interval_s: PeriodicInformInterval, 1 or more; 0 switches periodic informs off.
        version: of CWMP, "1.0" to "1.4".
        quirks: what it gets wrong; may be replaced at any time.
        clock: the time, in seconds since 1970; may be replaced at any time.
        seed: of its dice.
        values: more values from the factory, by full name.
        log_max: how many records its log keeps.

    `log`: what happened, see `records`. `unreachable`: hosts that no ping reaches. `diagnostics_s`: how long one takes.
    """

    def __init__(
        self,
        identity: Identity,
        model: Model,
        *,
        url: str,
        username: str = "",
        password: str = "",
        cr_username: str = "",
        cr_password: str = "",
        interval_s: int = 300,
        version: str = "1.4",
        quirks: Quirks = NONE,
        clock: Callable[[], float] = time.time,
        seed: int | str = 0,
        values: Mapping[str, str] | None = None,
        log_max: int = _LOG_MAX,
    ) -> None:
        self.identity = identity
        self.clock = clock
        self.version = version
        self._seed = f"{seed}/{identity.serial}"
        acs, ring = Login(username, password), Login(cr_username, cr_password)
        factory = _factory(model.prefix, identity, url, acs, ring, interval_s)
        self.tree = Tree(model, {**factory, **(values or {})}, self.now)
        self.quirks = quirks
        self.boots = 0
        self.boots_left = 0
        self.retry_count = 0
        self.rebooting = False
        self.known_acs = ""
        self.events = Events()
        self.transfers = Transfers(self)
        self.unreachable: set[str] = set()
        self.diagnostics_s = 1.0
        self.log: deque[Record] = deque(maxlen=log_max)
        self.on_change: list[Callable[[], None]] = []
        self._timers = Timers()
        self._periodic = Periodic(self.tree)
        self._requested: list[str] = []
        self._late: dict[str, str] = {}
        self._reset = self._reboot = False
        self._lost = 0
        self._ids = itertools.count(1)
        self._session: Session | None = None

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def quirks(self) -> Quirks:
        return self._quirks

    @quirks.setter
    def quirks(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self.tree.truth = quirks.truth
        self.tree.empty_tables = quirks.empty_tables

    @functools.cached_property
    def dice(self) -> random.Random:
        """Its own dice; made when they are first rolled, since 2.5 kB each are much for a fleet."""
        return random.Random(self._seed)

    def now(self) -> float:
        """The time by the CPE's clock."""
        return self.clock()

    def server(self, name: str) -> str:
        """A parameter of ManagementServer, a secret too."""
        return self.tree.get(f"{self.tree.model.prefix}ManagementServer.{name}")

    def set_server(self, name: str, value: str, *, quietly: bool = False) -> None:
        """Set a parameter of ManagementServer as the CPE itself does. `quietly`: the ACS is not told."""
        full = f"{self.tree.model.prefix}ManagementServer.{name}"
        self.tree.put(full, value)
        if quietly:
            self.tree.noticed.pop(full, None)
        self._changed()

    @property
    def software(self) -> str:
        """The firmware that it runs."""
        return self.tree.get(f"{self.tree.model.prefix}DeviceInfo.SoftwareVersion")

    def methods(self) -> tuple[str, ...]:
        """The methods that it has, in the version of CWMP that it speaks."""
        return tuple(methods_of(self.version))

    def put(self, name: str, value: str) -> None:
        """Change a parameter as the CPE or its user does: with notification on, the ACS is told.

        Raises:
            CpeModelError: there is none of that name, or it cannot have that value.
        """
        self.tree.put(name, value)
        follow(self.tree, name)
        self._changed()

    def note(self, record: Record) -> None:
        """Write something into the log."""
        self.log.append(record)
        self._changed()

    def _changed(self) -> None:
        for act in tuple(self.on_change):
            act()

    # --- events -------------------------------------------------------------------------------------------------------

    def add_event(self, code: str, command_key: str = "") -> None:
        """Have the next Inform say something."""
        session = self._session
        self.events.add(code, command_key, being_said=session.sent if session and not session.informed else ())
        self._changed()

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
        """Do what is due: periodic and scheduled informs, diagnostics."""
        for act in self._timers.take(self.now()):
            act()
        if self._periodic.take(self.now()):
            self.add_event(PERIODIC)

    def inform_later(self, delay_s: float, command_key: str) -> None:
        """ScheduleInform."""

        def inform() -> None:
            self.add_event(SCHEDULED)
            self.add_event("M ScheduleInform", command_key)

        self._timers.add(self.now() + delay_s, inform)

    def take_transfers(self) -> list[Transfer]:
        """The transfers that are to begin now. Each ends with `transfers.done`."""
        return [] if self._session or self.rebooting else self.transfers.take(self.now())

    def upload_content(self, transfer: Transfer) -> bytes:
        """What an upload sends."""
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

    def run_firmware(self, version: str) -> None:
        """Run another image; the ACS is told of the version (TR-181: forced active notification)."""
        if version != self.software:
            name = self.tree.make("DeviceInfo.SoftwareVersion", version)
            self.tree.noticed[name] = None

    def power_cut(self) -> None:
        """Lose power at once; `rebooting` until it is back. What was told to be done later stays to be done."""
        self.rebooting = True
        self._requested.clear()
        self._changed()

    def reboot_later(self, command_key: str) -> None:
        """Reboot when the session is over."""
        self.add_event("M Reboot", command_key)
        self._reboot = True
        self._reset = self._reset or self.quirks.unsafe_reboot

    def reset_later(self) -> None:
        """Go back to the factory's state when the session is over."""
        self._reboot = self._reset = True

    def reboot_when_idle(self) -> None:
        """Reboot now, or when the session is over."""
        self._reboot = True
        if self._session is None:
            self._reboot, self.rebooting = False, True
            self._changed()

    def _factory_reset(self) -> None:
        self._reset = False
        url = self.server("ConnectionRequestURL")
        self.tree.reset()
        self.transfers.forget()
        self.events.clear()
        self.known_acs = ""
        self.set_server("ConnectionRequestURL", url, quietly=True)

    # --- what methods do ----------------------------------------------------------------------------------------------

    def keep_parameter_key(self, key: str) -> None:
        """Remember the ParameterKey of the last change by the ACS."""
        self.set_server("ParameterKey", key, quietly=True)

    def set_values(self, wanted: Mapping[str, str], key: str) -> bool:
        """Set parameters that were all checked; tell whether they take effect later."""
        later = self.quirks.status_1
        if later:
            self._late.update(wanted)
        else:
            self._set_now(wanted)
        self.keep_parameter_key(key)
        return later

    def _set_now(self, wanted: Mapping[str, str]) -> None:
        coerced = dict(self.quirks.writes_coerced)
        for name, value in wanted.items():
            if covers(self.quirks.writes_ignored, name):
                continue
            self.tree.write(name, coerced.get(name, value))
            follow(self.tree, name)
            self._follow_diagnostic(name, value)
        self._periodic.look(self.now())

    def _follow_diagnostic(self, name: str, value: str) -> None:
        found = diagnostics.diagnostic_of(name)
        if found is None:
            return
        path, is_state = found
        if is_state:
            self._requested = [one for one in self._requested if one != path]
            if value == "Requested":
                self._requested.append(path)
        elif path not in self._requested:
            diagnostics.forget(self.tree, path)

    def _run_diagnostic(self, path: str) -> None:
        if self.tree.get(f"{path}DiagnosticsState") == "Requested":
            diagnostics.run(self.tree, path, self.dice, self.unreachable)
            self.add_event(DIAGNOSTICS_COMPLETE)

    # --- a session ----------------------------------------------------------------------------------------------------

    def begin_session(self) -> bytes:
        """Begin a session: the Inform to send."""
        self._session = Session(self)
        return self._session.inform()

    def receive(self, data: bytes) -> bytes | None:
        """Take the body of an ACS's answer, and give the body of the next POST; None when the session is over.

        Raises:
            HangUp: the CPE drops the connection: what came makes no sense here, or it was told to.
        """
        if self._session is None:
            raise HangUp("expected a session, got an answer without one")
        return self._session.receive(data)

    def finish(self, *, ok: bool, reason: str = "") -> None:
        """The session is over. `ok`: it ended as it should; otherwise `reason`, and it is to be tried again."""
        session, self._session = self._session, None
        if session is None:
            return
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

    def next_id(self) -> str:
        """An ID that no message of this CPE had."""
        return f"{self.identity.serial[-8:]}-{next(self._ids)}"

    def agree_version(self, answered: str, chosen: str) -> None:
        """Speak the version that the ACS chose: by UseCWMPVersion, or by an older namespace (TR-069 3.7.1.1)."""
        if chosen in VERSIONS:
            self.version = chosen
        elif answered in ("1.0", "1.1") and answered < self.version:
            self.version = answered

    def loses_answer(self, method: str, names: tuple[str, ...]) -> bool:
        """Tell whether the answer to this request is lost (quirk), and count it."""
        left = self.quirks.loses < 0 or self._lost < self.quirks.loses
        lost = left and meets(self.quirks.loses_answer_on, method, names)
        self._lost += lost
        return lost
