"""`python -m lab snmp`: SNMP devices from recordings, or a small network, until interrupted."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from lab.snmp.control import Control, open_control
from lab.snmp.device import Device
from lab.snmp.errors import SnmpLabError
from lab.snmp.network import LINES_MAX, Customer, Network, build_network
from lab.snmp.notifications import Sink
from lab.snmp.server import Layout, SnmpLab, load_devices, open_snmp_lab
from lab.snmp.tables import access_switch
from lab.snmp.usm import USERS

_SHOWN: Final = 20
_SWITCHES_MAX: Final = 1000  # 300 of 48 ports take 190 MB of memory
_PORTS_MAX: Final = 250
_PLACE: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the sub-command its arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--recordings", type=Path, metavar="DIR", help="a folder of .snmprec files, one a device")
    source.add_argument(
        "--network", type=int, metavar="N", help=f"a switch, three towers and an OLT, with 0 to {LINES_MAX} customers"
    )
    source.add_argument("--switches", type=int, metavar="N", help="so many switches, to measure with: sw-1 and so on")
    parser.add_argument("--ports", type=int, default=48, metavar="N", help="of each of those switches")
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS[:PORT]", help="a free port when left out")
    parser.add_argument(
        "--layout",
        choices=[layout.value for layout in Layout],
        default=Layout.SHARED.value,
        help="all devices on one port, told apart by community or context; or a port each; or an address each",
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="serve each recording so often, NAME-2...")
    parser.add_argument("--move", action="store_true", help="let counters and uptimes of recordings grow")
    parser.add_argument("--fault", action="append", default=[], metavar="FAULT", help="of all devices; may be repeated")
    parser.add_argument("--trap", metavar="ADDRESS:PORT", help="send traps of v2c there, community public")
    parser.add_argument("--control", type=Path, metavar="SOCKET", help="a unix socket to break things by")


def read_place(text: str) -> tuple[str, int]:
    """Return address and port; port 0: a free one.

    Raises:
        SnmpLabError: it is not written as one.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise SnmpLabError(f"expected 127.0.0.1, 127.0.0.1:16161 or [::1]:16161, got {text!r}")
    return match[1] or match[2], int(match[3] or 0)


def make_devices(args: argparse.Namespace) -> tuple[Sequence[Device], Network | None]:
    """Return the devices that the arguments describe.

    Raises:
        RecordingError: a recording cannot be read.
        SnmpValueError: more customers than a network has room for.
        SnmpLabError: more switches or ports than may be.
        UnknownFaultError: no such fault.
    """
    network: Network | None = None
    devices: Sequence[Device]
    if args.recordings:
        devices = [device for n in range(args.times) for device in load_devices(args.recordings, copy=n + 1)]
        if args.move:
            for device in devices:
                device.move()
    elif args.switches is not None:
        if not 1 <= args.switches <= _SWITCHES_MAX or not 1 <= args.ports <= _PORTS_MAX:
            raise SnmpLabError(
                f"expected 1 to {_SWITCHES_MAX} switches of 1 to {_PORTS_MAX} ports, "
                f"got {args.switches} and {args.ports}"
            )
        devices = [access_switch(n, args.ports) for n in range(1, args.switches + 1)]
    else:
        customers = [Customer(f"customer{n}", f"02:1a:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(args.network)]
        network = build_network(customers)
        devices = network.devices
    for device in devices:
        for fault in args.fault:
            device.faults.put(fault)
    return devices, network


def describe(lab: SnmpLab) -> str:
    """Return how to ask the devices, line by line."""
    shared = lab.layout is Layout.SHARED
    lines = [f"devices    {len(lab.devices)}"]
    if shared:
        lines.append(f"address    {lab.address}:{lab.port}")
    for name in list(lab.devices)[:_SHOWN]:
        host, port = lab.where(name)
        lines.append(f"  {name}" if shared else f"  {name}  {host}:{port}")
    if len(lab.devices) > _SHOWN:
        lines.append(f"  and {len(lab.devices) - _SHOWN} more")
    lines.append("community  the device's name to read, NAME-write to write")
    lines += [
        f"user       {u.name}: {u.auth} {u.auth_password}{f', {u.priv} {u.priv_password}' if u.priv else ''}"
        f"{', may write' if u.writes else ''}"
        for u in lab.users
    ]
    lines.append("context    the device's name" if shared else "context    none")
    return "\n".join(lines)


async def run(args: argparse.Namespace) -> None:
    """Serve until cancelled, or until the control socket's stop.

    Raises:
        SnmpLabError: the arguments make no lab.
        UnknownFaultError: no such fault.
        OSError: the folder cannot be read, or the address cannot be had.
    """
    host, port = read_place(args.listen)
    devices, network = make_devices(args)
    async with AsyncExitStack() as stack:
        lab = await stack.enter_async_context(
            open_snmp_lab(devices, layout=Layout(args.layout), host=host, port=port, users=USERS)
        )
        control = Control(lab, network)
        if args.control:
            await stack.enter_async_context(open_control(control, args.control))
        if args.trap:
            await stack.enter_async_context(lab.notifying(Sink(*read_place(args.trap))))
        print(describe(lab), flush=True)
        await control.stop.wait()
