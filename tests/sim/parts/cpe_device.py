"""CPE of the lab that keep a record of their own, by trio's time: what they were told to do, and how they were set.

The record is the judge's truth: the agent cannot write it. A name may have two devices, where one was cloned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from lab.cpe.client import Cpe
from lab.cpe.device import Device
from lab.cpe.errors import HangUp, HttpError
from lab.cpe.http import Network
from lab.cpe.quirks import Quirks, covers
from lab.cpe.records import Booted, Executed, Record, SessionBegun, SessionOver, Transferred, Woken
from lab.cpe.state import Identity
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181

OUI: Final = "02AC5F"
USER, SHARED = "cpe", "hush-shared-by-all-new-cpe"
RING_USER, RING = "ring", "hush-of-all-connection-requests"
PORT: Final = 7547
URL: Final = f"http://127.0.0.1:{PORT}/acs"
BOOT_S: Final = 8.0
READS: Final = "GetParameterValues"
LISTS: Final = "GetParameterNames"
WRITES: Final = frozenset({"SetParameterValues", "AddObject", "DeleteObject"})
DOES: Final = frozenset({"Reboot", "FactoryReset", "Download"})
_TRUTH: Final = {"true": "1", "false": "0"}


def plain(text: str) -> str:
    """Return a value as it is compared: a boolean has two spellings."""
    return _TRUTH.get(text, text)


@dataclass(frozen=True, slots=True)
class Done:
    """A request of the ACS that came to a device.

    `names`: what it is about, the first eight; `key`: its ParameterKey or CommandKey; `values`: what it sets. `fault`:
    0 where it was done; `answered`: the device sent its answer. `state`: the number of the device's state after it.
    """

    at: float
    method: str
    names: tuple[str, ...]
    key: str
    values: Mapping[str, str]
    fault: int
    answered: bool
    state: int

    @property
    def is_write(self) -> bool:
        """Whether it sets values that stay: the ParameterKey of a test is that of an effect."""
        return self.method in WRITES and "-" in self.key

    def reads(self, name: str) -> bool:
        """Tell whether the value of a parameter was asked for, and given."""
        return self.method == READS and not self.fault and self.answered and covers(self.names, name)

    def lists(self, table: str) -> bool:
        """Tell whether the rows of a table were asked for, and given: all of them, or their names."""
        asked = self.method in (READS, LISTS) and not self.fault and self.answered
        return asked and covers(self.names, table)


@dataclass(frozen=True, slots=True)
class State:
    """How a device is set from a moment on: what differs from its model, by full name."""

    at: float
    values: Mapping[str, str]
    factory: Mapping[str, str]
    instances: Mapping[str, tuple[int, ...]]


class WatchedDevice(Device):
    """A device with its record. `on_done`: told each request that it took, at that instant."""

    def __init__(self, *args: Any, **more: Any) -> None:
        """Begin as it left its factory."""
        self.states: list[State] = []
        self.done: list[Done] = []
        self.boot_times: list[float] = []
        self.resets: list[float] = []
        self.informed: list[float] = []
        """When each session was over whose Inform was answered."""
        self.on_done: Callable[[Done], None] = lambda done: None
        self.tell: Callable[[str], None] = lambda text: None
        """Told what happens, for the trace."""
        self.is_shut_out = False
        """Whether the ACS did not take its password when it called last."""
        self.informs_to_lose = 0
        """How many answers to Informs it is still to lose."""
        self._key = ""
        self._values: Mapping[str, str] = {}
        super().__init__(*args, **more)
        self._look()

    @property
    def name(self) -> str:
        """Return the name by which the agent knows it."""
        return f"{self.identity.oui}-{self.identity.product_class}-{self.identity.serial}"

    # --- its record ---------------------------------------------------------------------------------------------------

    def at(self, number: int, name: str) -> str | None:
        """Return what a parameter was in the state of that number, a secret too; None: there was no such parameter."""
        state = self.states[number]
        for layer in (state.values, state.factory, self.tree.model.values):
            if (value := layer.get(name)) is not None:
                return plain(value)
        leaf = self.tree.leaf(name)  # of a row that is gone by now: none
        return None if leaf is None else plain(leaf.value)

    def numbers(self, since: float, until: float) -> Iterator[int]:
        """Yield the numbers of the states that it was in during a time."""
        for number, state in enumerate(self.states):
            over = self.states[number + 1].at if number + 1 < len(self.states) else float("inf")
            if state.at <= until and over > since:
                yield number

    def _look(self) -> None:
        tree = self.tree
        last = self.states[-1] if self.states else None
        if last is None or (last.values, last.factory, last.instances) != (
            tree._values,
            tree._factory,
            tree._instances,
        ):
            made = State(trio.current_time(), dict(tree._values), dict(tree._factory), dict(tree._instances))
            self.states.append(made)

    def _changed(self) -> None:
        if self.states:
            self._look()
        super()._changed()

    def set_values(self, wanted: Mapping[str, str], key: str) -> bool:
        self._values = {name: plain(text) for name, text in wanted.items()}
        return super().set_values(wanted, key)

    def keep_parameter_key(self, key: str) -> None:
        self._key = key
        super().keep_parameter_key(key)

    def reboot_later(self, command_key: str) -> None:
        self._key = command_key
        super().reboot_later(command_key)

    def note(self, record: Record) -> None:
        super().note(record)
        now = trio.current_time()
        match record:
            case Executed(method=method, names=names, fault=fault, answered=answered):
                key, values, self._key, self._values = self._key, self._values, "", {}
                if method == "Download" and not fault:
                    key = self.transfers.queued[-1].command_key
                made = Done(now, method, names, key, values, fault, answered, len(self.states) - 1)
                self.done.append(made)
                self.on_done(made)
            case Booted():
                self.boot_times.append(now)
                self.tell("booted")
            case SessionBegun(codes=codes, retry_count=retries):
                self.tell(f"calls with {', '.join(codes)}{f', try {retries}' if retries else ''}")
            case SessionOver(informed=informed, reason=reason, executed=executed):
                self.tell(f"session over after {executed} requests{f': {reason}' if reason else ''}")
                self.is_shut_out = not informed and reason.endswith("got 401")
                if informed:
                    self.informed.append(now)
            case Woken(status=status):
                self.tell(f"was called, and said {status}")
            case Transferred(fault=fault):
                self.tell(f"transferred a file, fault {fault}")

    def receive(self, data: bytes) -> bytes | None:
        if self.informs_to_lose and self._session is not None and not self._session.informed:
            self.informs_to_lose -= 1
            raise HangUp("told to lose the answer to its Inform")
        return super().receive(data)

    def _factory_reset(self) -> None:
        super()._factory_reset()
        self.resets.append(trio.current_time())
        self.tell("was reset")


class Home:
    """A device at a subscriber's, with its program. `quirks`: its lasting ones; `address`: where it calls from."""

    def __init__(
        self,
        serial: str,
        address: str,
        clock: Callable[[], float],
        seed: int,
        *,
        old: bool,
        quirks: Quirks,
        interval_s: int,
        login: tuple[str, str] = (USER, SHARED),
    ) -> None:
        """Make a CPE as it comes from its factory, switched off. `old`: a TR-098 one; `login`: for the ACS."""
        self.old, self.quirks, self.address = old, quirks, address
        self.device = WatchedDevice(
            Identity(serial, oui=OUI, product_class="LabGate"),
            tr098() if old else tr181(),
            url=URL,
            username=login[0],
            password=login[1],
            cr_username=RING_USER,
            cr_password=RING,
            interval_s=interval_s,
            quirks=quirks,
            clock=clock,
            seed=seed,
        )
        self.cpe = Cpe(self.device, network=_network_from(lambda: self.address), boot_s=BOOT_S, backoff_scale=0.2)
        self.scope = trio.CancelScope()
        wifi = "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1." if old else "Device.WiFi."
        self.wifi_names = tuple(
            f"{wifi}{n}" for n in (("SSID", "Channel") if old else ("SSID.1.SSID", "Radio.1.Channel"))
        )

    @property
    def doorbell_port(self) -> int:
        """Return where it takes connection requests."""
        return urlsplit(self.device.server("ConnectionRequestURL")).port or 0

    async def run(self, after_s: float = 0.0) -> None:
        """Switch it on, and run it until `scope` is cancelled."""
        with self.scope:
            await trio.sleep(after_s)
            await self.cpe.run()

    def call_every(self, seconds: int) -> None:
        """Have its periodic Informs come so often from now on."""
        self.device.set_server("PeriodicInformInterval", str(seconds), quietly=True)
        self.device._periodic.restart(self.device.now())

    def power_cut(self, off_s: float) -> None:
        """Lose power for so long."""
        self.cpe.boot_s = off_s
        self.cpe.power_cut()


def _network_from(address: Callable[[], str]) -> Network:
    """Return how a CPE reaches others from the address that it has."""

    async def connect(host: str, port: int) -> trio.abc.Stream:
        try:
            return await trio.open_tcp_stream(host, port, local_address=address())
        except OSError as err:
            raise HttpError(f"expected somebody at {host}:{port}, got {err}", connected=False) from err

    return Network(connect)
