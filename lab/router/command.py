"""`python -m lab router`: a router from an export, or a new one, served until interrupted."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path
from typing import Final

import trio

from lab.router.device import Router
from lab.router.dhcp import LEASES, SERVERS
from lab.router.errors import ScriptError
from lab.router.export import LoadReport, load_export
from lab.router.ppp import SECRETS
from lab.router.server import Endpoint, serve

# an export of the largest router seen takes a few megabytes; chosen arbitrarily above it
_EXPORT_BYTES_MAX: Final = 64 << 20
_USER: Final = "lab"
_UNKNOWN_SHOWN: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the sub-command its arguments."""
    parser.add_argument("--from", dest="export", type=Path, metavar="FILE", help="an export of yours: /export file=...")
    parser.add_argument("--version", default="", help="RouterOS version; the export's own when left out, else 7.20.8")
    parser.add_argument(
        "--sessions",
        type=int,
        default=0,
        metavar="N",
        help="CPE of the first N enabled PPPoE secrets, and clients of the first N enabled static DHCP leases",
    )
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--port", type=int, default=0, help="a free one when left out")
    parser.add_argument("--redial", type=float, default=0.2, metavar="SECONDS", help="how fast a CPE comes back")


def make_router(args: argparse.Namespace) -> tuple[Router, LoadReport | None]:
    """Make the router that the arguments describe.

    Raises:
        OSError: the export cannot be read.
        ScriptError: it is no export, or too long.
        UnknownVersionError: there is no such version.
    """
    report = None
    if args.export:
        data = args.export.read_bytes()
        if len(data) > _EXPORT_BYTES_MAX:
            raise ScriptError(f"expected an export of at most {_EXPORT_BYTES_MAX} bytes, got {len(data)}")
        loaded = load_export(data.decode("utf-8", "surrogateescape"), args.version)
        router, report = loaded.router, loaded.report
    else:
        router = Router(args.version or "7.20.8")
    _plug_in(router, args.sessions, args.redial)
    _plug_in_dhcp(router, args.sessions)
    return router, report


def _plug_in(router: Router, wanted: int, redial_s: float) -> None:
    for row in list(router.store.table(SECRETS)):
        if len(router.access.cpes) >= wanted:
            return
        if row.props.get("service", "any") in ("any", "pppoe") and row.props.get("disabled") != "true":
            router.plug_in(row.props.get("name", ""), row.props.get("password", ""), redial_s=redial_s)


def _plug_in_dhcp(router: Router, wanted: int) -> None:
    """Plug in the clients of static leases, where the server that a lease is for is there."""
    for row in list(router.store.table(LEASES)):
        if len(router.dhcp.clients) >= wanted:
            return
        server = row.props.get("server", "all")
        known = any(router.store.table(SERVERS)) if server == "all" else router.store.named(SERVERS, server)
        mac = row.props.get("mac-address", "")
        # of one MAC on two servers only the first is here: a client is on one of them
        if mac and known and row.props.get("disabled") != "true" and mac not in router.dhcp.clients:
            router.plug_in_dhcp(mac, server="" if server == "all" else server)


def describe(router: Router, endpoint: Endpoint, password: str, report: LoadReport | None) -> str:
    """The settings that a person needs to connect, line by line."""
    online = [cpe for cpe in router.access.cpes.values() if cpe.online]
    refused = sorted({cpe.refused for cpe in router.access.cpes.values() if cpe.refused})
    lines = [
        f"router       {router.rows('/system/identity')[0]['name']}, RouterOS {router.version}, {router.board}",
        f"host         {endpoint.host}",
        f"port         {endpoint.port}",
        f"certificate  {f'SHA-256 {endpoint.fingerprint}' if endpoint.fingerprint else 'none: plain text'}",
        f"user         {_USER}",
        f"password     {password}",
    ]
    if report:
        lines.append(f"loaded       {report.loaded} statements, {len(report.unknown)} not known to this version")
        lines += [f"  {u}" for u in report.unknown[:_UNKNOWN_SHOWN]]
    if router.access.cpes:
        lines.append(f"online       {len(online)} of {len(router.access.cpes)} CPE")
        lines += [f"  refused: {why}" for why in refused]
    if clients := list(router.dhcp.clients.values()):
        lines.append(f"bound        {sum(c.online for c in clients)} of {len(clients)} DHCP clients")
        lines += [f"  refused: {why}" for why in sorted({c.refused for c in clients if c.refused})]
    return "\n".join(lines)


async def run(args: argparse.Namespace) -> None:
    """Serve until cancelled.

    Raises:
        OSError: the export cannot be read, or the port is taken.
        RouterError: the export or the version makes no router.
    """
    router, report = make_router(args)
    password = secrets.token_urlsafe(12)
    # an export brings no users, and admin without a password is no door to leave open
    router.set("/user", "admin", disabled="yes")
    async with trio.open_nursery() as nursery:

        async def start(task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED) -> None:
            await serve(
                router,
                tls=not args.plain,
                users=[(_USER, password, "full")],
                port=args.port,
                task_status=task_status,
            )

        endpoint = await nursery.start(start)
        print(describe(router, endpoint, password, report), flush=True)
