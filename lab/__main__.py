"""`python -m lab isp --dir DIR`: an ISP on loopback until SIGINT, SIGTERM or the control socket's stop.

`python -m lab router [--from FILE]`: a RouterOS router until SIGINT or SIGTERM.

`python -m lab cpe --acs URL`: CPE that call an ACS, until SIGINT or SIGTERM.

`python -m lab billing [--system splynx]`: a UISP CRM or a Splynx until SIGINT or SIGTERM.

`python -m lab snmp --recordings DIR`: SNMP devices until SIGINT or SIGTERM.

`python -m lab librenms`: a LibreNMS with the devices that it polls, until SIGINT or SIGTERM.

`python -m lab script FILE`: RouterOS' answer to a script.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from getpass import getpass
from pathlib import Path

import trio

from lab.billing import command as billing_command
from lab.control import open_control
from lab.cpe import command as cpe_command
from lab.database import Dsn, Engine, parse_dsn
from lab.errors import LabError
from lab.files import write_files
from lab.isp import Isp, LabOptions, open_lab
from lab.librenms import command as librenms_command
from lab.router import command as router_command
from lab.router.script import parse
from lab.snmp import command as snmp_command


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab", description="A small ISP on loopback to rehearse with.")
    commands = parser.add_subparsers(dest="command", required=True)
    isp = commands.add_parser("isp", help="RADIUS, BNG and subscribers that redial")
    isp.add_argument("--dir", type=Path, required=True, help="where its files go; made if missing")
    isp.add_argument("--subscribers", type=int, default=900, help="services in the list; some people have two")
    isp.add_argument("--nas", type=int, default=3, help="BNG, 1 to 16")
    isp.add_argument("--seed", type=int, default=1, help="same seed, same people")
    isp.add_argument(
        "--database",
        default="sqlite",
        help="sqlite, or postgresql://... or mariadb://... with the tables; asks for the password that is not in it",
    )
    isp.add_argument("--redial", type=float, default=0.2, metavar="SECONDS", help="how fast a CPE comes back")
    isp.add_argument("--interim", type=int, default=0, metavar="SECONDS", help="0: as RADIUS says")
    isp.add_argument("--latency", type=float, default=0.0, metavar="MS", help="of every CoA and Disconnect answer")
    isp.add_argument("--require-message-authenticator", action="store_true", help="in CoA and Disconnect too")
    isp.add_argument("--coa-address-list", action="store_true", help="let CoA change Mikrotik-Address-List")
    isp.add_argument("--routers", action="store_true", help="the BNG are MikroTik routers, with an API each")
    isp.add_argument("--router-version", default="7.20.8", metavar="VERSION", help="of those routers")
    isp.add_argument("--snmp", action="store_true", help="with an access network that speaks SNMP")
    router = commands.add_parser("router", help="a RouterOS router, new or from an export of yours")
    router_command.add_arguments(router)
    cpe = commands.add_parser("cpe", help="CPE (TR-069) that call an ACS on this machine")
    cpe_command.add_arguments(cpe)
    billing = commands.add_parser("billing", help="a UISP CRM or a Splynx, with people that owe and pay")
    billing_command.add_arguments(billing)
    snmp = commands.add_parser("snmp", help="SNMP devices from recordings, or a small network of them")
    snmp_command.add_arguments(snmp)
    librenms = commands.add_parser("librenms", help="a LibreNMS with the devices that it polls")
    librenms_command.add_arguments(librenms)
    script = commands.add_parser("script", help="RouterOS' answer to a script: its listing, or a fault and its place")
    script.add_argument("file", type=Path, help="the script")
    return parser.parse_args(argv)


def _with_password(dsn: Dsn) -> Dsn:
    """Return the address with the password that its user types, where it holds none and a terminal is there to ask.

    One that stands in the command line is seen by everybody on the machine (`ps`) and kept by the shell.
    """
    if dsn.password or dsn.engine is Engine.SQLITE or not sys.stdin.isatty():
        return dsn
    return replace(dsn, password=getpass(f"password of {dsn.user} at {dsn.host}:{dsn.port}: "))


def _options(args: argparse.Namespace) -> LabOptions:
    return LabOptions(
        directory=args.dir,
        services=args.subscribers,
        nas=args.nas,
        seed=args.seed,
        dsn=None if args.database == "sqlite" else _with_password(parse_dsn(args.database)),
        redial_delay_s=args.redial,
        interim_s=args.interim,
        latency_s=args.latency / 1000,
        require_message_authenticator=args.require_message_authenticator,
        coa_address_list=args.coa_address_list,
        routers=args.routers,
        snmp=args.snmp,
        router_version=args.router_version,
    )


def _ready_line(isp: Isp) -> str:
    r = isp.radius
    return (
        f"lab ready: {len(isp.services)} services, {len(isp.sessions())} online, {len(isp.nas)} NAS, "
        f"RADIUS {r.host}:{r.auth_port}/{r.acct_port}, files in {isp.options.directory}"
    )


async def _serve(options: LabOptions) -> None:
    options.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def until_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    return

            nursery.start_soon(until_signal)
            async with open_lab(options) as isp, open_control(isp, options.directory / "lab.sock") as stop:
                write_files(isp)
                print(_ready_line(isp), flush=True)
                await stop.wait()
            nursery.cancel_scope.cancel()


async def _until_signal(run: Callable[[argparse.Namespace], Awaitable[None]], args: argparse.Namespace) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def run_and_stop() -> None:
                await run(args)
                nursery.cancel_scope.cancel()

            nursery.start_soon(run_and_stop)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                return


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 stopped or read, 1 could not start or be read, 2 usage."""
    try:
        args = _arguments(sys.argv[1:] if argv is None else argv)
        if args.command == "router":
            trio.run(_until_signal, router_command.run, args)
        elif args.command == "cpe":
            trio.run(_until_signal, cpe_command.run, args)
        elif args.command == "billing":
            trio.run(_until_signal, billing_command.run, args)
        elif args.command == "snmp":
            trio.run(_until_signal, snmp_command.run, args)
        elif args.command == "librenms":
            trio.run(_until_signal, librenms_command.run, args)
        elif args.command == "script":
            # a listing is bytes: it shows a text's own
            sys.stdout.buffer.write(parse(args.file.read_bytes()).listing() + b"\n")
            sys.stdout.flush()
        else:
            trio.run(_serve, _options(args))
    except* (LabError, OSError) as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        print(f"lab: {first}", file=sys.stderr)
        code = 1
    else:
        code = 0
    return code


if __name__ == "__main__":
    sys.exit(main())
