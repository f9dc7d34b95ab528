"""A CPE's state, on which its methods, its transfers and its sessions act. Pure: the clock comes from outside.

`device` runs such a CPE: it begins sessions, boots, and acts when a timer is due.
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
from lab.cpe.events import SCHEDULED, Event, Events
from lab.cpe.model import Model
from lab.cpe.quirks import NONE, Quirks, covers, meets
from lab.cpe.records import Record
from lab.cpe.timers import Periodic, Timers
from lab.cpe.transfers import Transfers
from lab.cpe.tree import Tree

VERSIONS: Final = ("1.0", "1.1", "1.2", "1.3", "1.4")
# what a test may want to look back at; chosen arbitrarily
_LOG_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity that a CPE states in its Inform. `oui`: six hex digits in upper case."""

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
    """Return the values of a CPE from the factory that its model does not have."""
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


class CpeState:
    """The state of one CPE.

    Args:
        identity: its serial number, maker and model.
        model: `tr098()` or `tr181()`, perhaps `grown`.
        url: of its ACS.
        username: for the ACS; empty: it answers no challenge.
        password: for the ACS.
        cr_username: for connection requests; empty: they need no login.
        cr_password: see `cr_username`.
        interval_s: PeriodicInformInterval, 1 or more; 0 switches periodic informs off.
        version: of CWMP, "1.0" to "1.4".
        quirks: its faults; may be replaced at any time.
        clock: the time, in seconds since 1970; may be replaced at any time.
        seed: of its dice.
        values: more values from the factory, by full name.
        log_max: how many records its log keeps.

    `log`: of `records`. `unreachable`: hosts that no ping reaches. `diagnostics_s`: how long one takes.
    `in_session`: a session is under way; `being_said`: the events of its Inform, until that is answered.
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
        self.in_session = False
        self.being_said: tuple[Event, ...] = ()
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

    # --- its own ------------------------------------------------------------------------------------------------------

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
        """Return the time by the CPE's clock."""
        return self.clock()

    def server(self, name: str) -> str:
        """Return a parameter of ManagementServer, also a secret one."""
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
        """The version of the firmware that it runs."""
        return self.tree.get(f"{self.tree.model.prefix}DeviceInfo.SoftwareVersion")

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

    def add_event(self, code: str, command_key: str = "") -> None:
        """Have the next Inform say something."""
        self.events.add(code, command_key, being_said=self.being_said)
        self._changed()

    # --- later --------------------------------------------------------------------------------------------------------

    def inform_later(self, delay_s: float, command_key: str) -> None:
        """Inform the ACS after a delay, as ScheduleInform asks for."""

        def inform() -> None:
            self.add_event(SCHEDULED)
            self.add_event("M ScheduleInform", command_key)

        self._timers.add(self.now() + delay_s, inform)

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
        if not self.in_session:
            self._reboot, self.rebooting = False, True
            self._changed()

    def run_firmware(self, version: str) -> None:
        """Run another image; the ACS is told of the version (TR-181: forced active notification)."""
        if version != self.software:
            name = self.tree.make("DeviceInfo.SoftwareVersion", version)
            self.tree.noticed[name] = None

    # --- values -------------------------------------------------------------------------------------------------------

    def keep_parameter_key(self, key: str) -> None:
        """Remember the ParameterKey of the last change by the ACS."""
        if not self.quirks.keyless:
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

    # --- in a session -------------------------------------------------------------------------------------------------

    def next_id(self) -> str:
        """Return an ID that no message of this CPE had."""
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
