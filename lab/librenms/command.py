"""`python -m lab librenms`: a LibreNMS with a switch, a tower and subscribers, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse

import trio

from lab.billing.server import BillingServer, serve_billing
from lab.librenms.network import fill
from lab.librenms.system import PREFIX, Librenms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the sub-command its arguments."""
    parser.add_argument("--subscribers", type=int, default=20, help="called C-1, C-2 and so on")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: a free one")
    parser.add_argument("--tls", action="store_true", help="with a self-signed certificate of its own")
    parser.add_argument("--timezone", default="UTC", help="of the times that it tells")
    parser.add_argument(
        "--poll", type=float, default=30.0, metavar="SECONDS", help="how often it polls; 0: never again"
    )


async def run(args: argparse.Namespace) -> None:
    """Serve until cancelled; print the settings for an agent first."""
    made = Librenms(zone=args.timezone)
    fill(made, [(f"C-{n}", f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}") for n in range(1, args.subscribers + 1)])
    async with serve_billing(made, port=args.port, tls=args.tls) as server:
        print(told(made, server), flush=True)
        while args.poll:
            await trio.sleep(args.poll)
            made.poll()
        await trio.sleep_forever()


def told(system: Librenms, server: BillingServer) -> str:
    """Return the token, and the section of the agent's configuration."""
    pin = f'certificate_sha256 = "{server.pin}"\n' if server.pin else ""
    secret = f"ispagent secret set librenms/lab      # {system.token}"
    return f'{secret}\n\n[librenms.lab]\nurl = "{server.url}{PREFIX}"\nsecret = "librenms/lab"\n{pin}'
