"""Small devices with a clock of the test's own, and a client that shows datagrams as they come."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import trio

from lab.snmp import ber, values
from lab.snmp.device import Device
from lab.snmp.messages import Kind, Message, Version, decode_untrusted, encode_message, encode_pdu
from lab.snmp.mib import varbind
from lab.snmp.values import NOTHING, Value

SYS = "1.3.6.1.2.1.1"
IF = "1.3.6.1.2.1.2.2.1"
IFX = "1.3.6.1.2.1.31.1.1.1"
POE = "1.3.6.1.2.1.105.1.1.1"


@dataclass
class TestClock:
    """Seconds that pass when a test says so."""

    __test__ = False
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def switch(name: str = "sw-1", ports: int = 4, clock: TestClock | None = None) -> Device:
    """A switch with ports that are up, and power over Ethernet."""
    given = {f"{SYS}.3.0": values.ticks(100), f"{SYS}.5.0": values.string(name)}
    for n in range(1, ports + 1):
        given |= {
            f"{IF}.1.{n}": values.integer(n),
            f"{IF}.2.{n}": values.string(f"port {n}"),
            f"{IF}.7.{n}": values.integer(1),
            f"{IF}.8.{n}": values.integer(1),
            f"{IF}.9.{n}": values.ticks(0),
            f"{IF}.10.{n}": values.counter32(1000),
            f"{IF}.14.{n}": values.counter32(5),
            f"{IFX}.1.{n}": values.string(f"ge-{n}"),
            f"{IFX}.6.{n}": values.counter64(1000),
            f"{IFX}.18.{n}": values.string(""),
            f"{POE}.3.1.{n}": values.integer(1),
            f"{POE}.6.1.{n}": values.integer(3),
        }
    return Device(name, {ber.oid(oid): value for oid, value in given.items()}, clock=clock or TestClock())


def request(kind: Kind, *oids: str, number: int = 7, first: int = 0, second: int = 0, community: str = "sw-1") -> bytes:
    binds = [varbind(ber.oid(oid), NOTHING) for oid in oids]
    return encode_message(Version.V2C, community.encode(), encode_pdu(kind, number, first, second, binds))


def binds(message: Message) -> list[tuple[str, Value]]:
    return [(ber.dotted(oid), value) for oid, value in message.pdu.binds]


LAST = "last"
"""A device that works; its answer says that all that was asked before it has been answered, late answers aside."""


async def datagrams(at: tuple[str, int], wires: Sequence[bytes], count: int) -> list[tuple[bytes, tuple[str, int]]]:
    """Return what comes back, with its sender: at least `count` datagrams, and all that come before LAST answers."""
    end = request(Kind.GET, f"{SYS}.5.0", number=99, community=LAST)
    found, ended = [], False
    with trio.fail_after(60), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        for wire in (*wires, end):
            await udp.sendto(wire, at)
        while not ended or len(found) < count:
            datagram, sender = await udp.recvfrom(65535)
            if LAST.encode() in datagram:
                ended = True
            else:
                found.append((datagram, sender))
    return found


async def answer(at: tuple[str, int], wire: bytes) -> Message:
    """Return the answer to a request."""
    with trio.fail_after(60), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.bind(("127.0.0.1", 0))
        await udp.sendto(wire, at)
        return decode_untrusted((await udp.recvfrom(65535))[0])


async def names(at: tuple[str, int], kind: Kind, oids: Iterable[str], **options: int) -> list[str]:
    return [oid for oid, _ in binds(await answer(at, request(kind, *oids, **options)))]
