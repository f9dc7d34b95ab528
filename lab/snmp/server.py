"""Devices on loopback: all on one port, told apart by community or context, or each on a port or address of its own."""

from __future__ import annotations

import enum
import errno
import random
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from lab.datagrams import RECEIVE_BUFFER_BYTES
from lab.snmp import ber
from lab.snmp.agent import Agent, Reply
from lab.snmp.device import Clock, Device, Engine, engine_id_of
from lab.snmp.errors import NoSuchPartError, RecordingError, SnmpLabError
from lab.snmp.faults import Faults
from lab.snmp.messages import DATAGRAM_BYTES_MAX
from lab.snmp.notifications import Sink
from lab.snmp.notifier import Notifier, open_notifier
from lab.snmp.recording import SUFFIX, read_recording
from lab.snmp.usm import USERS, User

Address = tuple[str, int]
TICK_S = 0.05
"""How often due work is looked for, seconds."""
_NO_FAULTS: Final = Faults()
_OTHER_ADDRESS: Final = "127.77.255.254"
_PORT_TRIES: Final = 20
_ANY_HOST_MAX: Final = 250 * 250


class Layout(enum.Enum):
    """Where the devices of a lab are."""

    SHARED = "shared"
    """One address and port; the community or the SNMPv3 context says which device is meant."""
    PORTS = "ports"
    """One address, a port for each device."""
    ADDRESSES = "addresses"
    """One port, an address of 127.0.0.0/8 for each device."""


class SnmpLab:
    """Running devices by name; `address` and `port` where all are on one, `where` a device is in any layout."""

    def __init__(self, devices: Mapping[str, Device], layout: Layout, users: Iterable[User]) -> None:
        self.devices = dict(devices)
        self.layout = layout
        self.users = tuple(users)
        self.address = ""
        self.port = 0
        self._where: dict[str, Address] = {}

    def __getitem__(self, name: str) -> Device:
        try:
            return self.devices[name]
        except KeyError:
            raise NoSuchPartError(f"expected a device of this lab, got {name!r}") from None

    def where(self, name: str) -> Address:
        """Return the address and port of a device.

        Raises:
            NoSuchPartError: there is no such device.
        """
        return self._where[self[name].name]

    @asynccontextmanager
    async def notifying(self, sink: Sink, *names: str) -> AsyncIterator[dict[str, Notifier]]:
        """Let devices (all where none is named) tell a sink of their changes for the block, each from its own address.

        Raises:
            NoSuchPartError: there is no such device.
        """
        async with AsyncExitStack() as stack:
            yield {
                name: await stack.enter_async_context(open_notifier(self[name], sink, self.where(name)[0]))
                for name in names or self.devices
            }

    def put(self, name: str, at: Address) -> None:
        """Note where a device is."""
        self._where[name] = at
        self.address, self.port = at


def load_devices(folder: Path, clock: Clock = time.time, copy: int = 1) -> list[Device]:
    """Return a device for each recording in a folder, named as its file; a second copy is NAME-2, and so on.

    Raises:
        RecordingError: there is none, or one cannot be read.
    """
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise RecordingError(f"{folder}: expected files *{SUFFIX}, got none")
    end = f"-{copy}" if copy > 1 else ""
    return [
        Device(file.name.removesuffix(SUFFIX) + end, read_recording(file.read_bytes(), file.name), clock=clock)
        for file in files
    ]


@asynccontextmanager
async def open_snmp_lab(
    source: Path | Iterable[Device],
    *,
    layout: Layout = Layout.SHARED,
    host: str = "127.0.0.1",
    port: int = 0,
    users: Iterable[User] = USERS,
    clock: Clock = time.time,
    seed: int = 1,
) -> AsyncIterator[SnmpLab]:
    """Serve devices for the block.

    Args:
        source: a folder of recordings, or devices.
        layout: where they are.
        host: the address; of `ADDRESSES` the addresses begin at 127.77.0.1 whatever it says.
        port: 0: a free one.
        users: of SNMPv3.
        clock: seconds; of devices from recordings, and of the engine that a shared port has.
        seed: of lost answers and jitter.

    Raises:
        RecordingError: a recording cannot be read.
        SnmpLabError: two devices with one name, or more than there are addresses.
        OSError: the address or port cannot be had.
    """
    devices = load_devices(source, clock) if isinstance(source, Path) else list(source)
    by_name = {device.name: device for device in devices}
    if len(by_name) != len(devices) or len(devices) > _ANY_HOST_MAX:
        raise SnmpLabError(f"expected at most {_ANY_HOST_MAX} devices, each name once, got {len(devices)}")
    lab = SnmpLab(by_name, layout, users)
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        groups = [devices] if layout is Layout.SHARED else [[device] for device in devices]
        for group, bound in zip(groups, await _bound(len(groups), layout, host, port), strict=True):
            udp = stack.enter_context(bound)
            at: Address = udp.getsockname()[:2]
            for device in group:
                lab.put(device.name, at)
            engine = Engine(engine_id_of("shared"), clock()) if layout is Layout.SHARED else None
            nursery.start_soon(_Endpoint(udp, Agent(group, lab.users, clock, engine), dice, nursery).run)
        nursery.start_soon(_tick, devices)
        yield lab


async def _bound(count: int, layout: Layout, host: str, port: int) -> list[trio.socket.SocketType]:
    """Return bound sockets: of `ADDRESSES` all on one port, another free one where somebody has it already."""
    if layout is not Layout.ADDRESSES:
        ports = [port] * count if not port or count == 1 else list(range(port, port + count))
        return await _bind_all([(host, p) for p in ports])
    hosts = [f"127.77.{n // 250}.{n % 250 + 1}" for n in range(count)]
    for n in range(_PORT_TRIES):
        free = port or await _free_port(hosts[0])
        try:
            return await _bind_all([(h, free) for h in hosts])
        except OSError as err:
            if port or err.errno != errno.EADDRINUSE or n == _PORT_TRIES - 1:
                raise
    return []


async def _free_port(host: str) -> int:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind((host, 0))
        return int(udp.getsockname()[1])


async def _bind_all(places: list[Address]) -> list[trio.socket.SocketType]:
    sockets: list[trio.socket.SocketType] = []
    try:
        for place in places:
            udp = trio.socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_DGRAM)
            sockets.append(udp)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            await udp.bind(place)
    except BaseException:
        for udp in sockets:
            udp.close()
        raise
    return sockets


async def _tick(devices: list[Device]) -> None:
    """Do due work, for as long as the lab is open; nothing is looked at while nothing is to come."""
    while True:
        woken = trio.Event()
        for device in devices:
            device.on_later = woken.set
        waiting = [device.run_due() for device in devices]
        if any(waiting):
            await trio.sleep(TICK_S)
        else:
            await woken.wait()


class _Endpoint:
    """One socket and the devices behind it."""

    def __init__(self, udp: trio.socket.SocketType, agent: Agent, dice: random.Random, nursery: trio.Nursery) -> None:
        self._udp, self._agent, self._dice, self._nursery = udp, agent, dice, nursery

    async def run(self) -> None:
        while True:
            try:
                datagram, peer = await self._udp.recvfrom(DATAGRAM_BYTES_MAX)
            except ConnectionError:
                continue  # somebody asked and closed its port
            reply = self._agent.receive(datagram)
            if reply is not None:
                await self._send(reply, peer)

    async def _send(self, reply: Reply, peer: Address) -> None:
        datagram, faults = reply.datagram, reply.device.faults if reply.device else _NO_FAULTS
        if faults.silence or (faults.loss_percent and self._dice.random() * 100 < faults.loss_percent):
            return
        if faults.lie:
            datagram = _lying(datagram, faults.lie)
        if faults.truncate:
            datagram = datagram[: -faults.truncate]
        delay_s = faults.delay_s + faults.jitter_s * (self._dice.random() if faults.jitter_s else 0.0)
        times = 2 if faults.duplicate else 1
        other = _OTHER_ADDRESS if faults.other_address else self._udp.getsockname()[0] if faults.other_port else ""
        if delay_s or other:
            self._nursery.start_soon(self._send_later, datagram, peer, delay_s, times, other)
            return
        for _ in range(times):
            await _send(self._udp, datagram, peer)

    async def _send_later(self, datagram: bytes, peer: Address, delay_s: float, times: int, other: str) -> None:
        """Send after a while; where `other` is an address, from a free port of that."""
        await trio.sleep(delay_s)
        if not other:
            for _ in range(times):
                await _send(self._udp, datagram, peer)
            return
        with trio.socket.socket(self._udp.family, socket.SOCK_DGRAM) as udp:
            await udp.bind((other, 0))
            for _ in range(times):
                await _send(udp, datagram, peer)


async def _send(udp: trio.socket.SocketType, datagram: bytes, peer: Address) -> None:
    try:
        await udp.sendto(datagram, peer)
    except OSError:
        pass  # a datagram that cannot be sent is a lost one


def _lying(datagram: bytes, more: int) -> bytes:
    """Return a message with an outermost length that says so much more than there is."""
    _, start, stop = ber.read_untrusted(datagram, 0, len(datagram))
    return ber.header(ber.SEQUENCE, stop - start + more) + datagram[start:stop]
