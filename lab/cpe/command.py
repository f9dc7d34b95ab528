"""`python -m lab cpe`: CPE that call an ACS on this machine, until interrupted."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from typing import Final

import trio

from lab.cpe.errors import CpeModelError
from lab.cpe.fleet import KINDS, Fleet, make_devices
from lab.cpe.quirks import Quirks

_SHOWN: Final = 10
_EVERY_S: Final = 10.0
_FLAGS: Final = sorted(f.name for f in fields(Quirks) if f.type in ("bool", bool))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the sub-command its arguments."""
    parser.add_argument("--acs", required=True, metavar="URL", help="such as http://127.0.0.1:7547/acs")
    parser.add_argument("--count", type=int, default=1, help="how many, 1 to 20000")
    parser.add_argument("--user", default="cpe", help="for the ACS; {serial} in it is replaced")
    parser.add_argument("--password", default="", help="for the ACS")
    parser.add_argument("--interval", type=int, default=60, metavar="SECONDS", help="of their periodic informs")
    parser.add_argument("--spread", type=float, default=1.0, metavar="SECONDS", help="in which they are switched on")
    parser.add_argument("--boot", type=float, default=2.0, metavar="SECONDS", help="how long one takes to boot")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same serial numbers")
    parser.add_argument("--firmware", choices=("", "silent", "stall", "faults"), default="", help="how it goes wrong")
    parser.add_argument("--quirk", action="append", choices=_FLAGS, default=[], help="may be given again")


def make_fleet(args: argparse.Namespace) -> Fleet:
    """Make the CPE that the arguments describe.

    Raises:
        CpeModelError: more of them than can be.
    """
    if not 1 <= args.count <= 20_000:
        raise CpeModelError(f"--count: expected 1 to 20000, got {args.count}")
    changes = dict.fromkeys(args.quirk, True) | ({"firmware": args.firmware} if args.firmware else {})
    kinds = [replace(kind, quirks=replace(kind.quirks, **changes)) for kind in KINDS]
    devices = make_devices(
        args.count,
        args.acs,
        seed=args.seed,
        kinds=kinds,
        interval_s=args.interval,
        username=args.user,
        password=args.password,
    )
    return Fleet(devices, boot_s=args.boot, listens=True)


async def run(args: argparse.Namespace) -> None:
    """Run them until cancelled, and print how it goes."""
    fleet = make_fleet(args)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: fleet.run(spread_s=args.spread, task_status=task_status))
        for device in fleet.devices[:_SHOWN]:
            who = device.identity
            print(f"cpe      {who.oui.upper()}-{who.product_class}-{who.serial}, {device.software}", flush=True)
        if len(fleet.devices) > _SHOWN:
            print(f"         and {len(fleet.devices) - _SHOWN} more", flush=True)
        print(f"calling  {args.acs}", flush=True)
        before = (-1, -1)
        while True:
            if (fleet.sessions, fleet.failed) != before:
                before = fleet.sessions, fleet.failed
                print(f"sessions {fleet.sessions} over, {fleet.failed} of them failed", flush=True)
            await trio.sleep(_EVERY_S)
