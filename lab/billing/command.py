"""`python -m lab billing`: a UISP CRM or a Splynx with people that owe and pay, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import random
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import trio

from lab.billing.server import BillingServer, System, WebFault, serve_billing
from lab.billing.splynx import PREFIX as SPLYNX_PREFIX
from lab.billing.splynx import Splynx
from lab.billing.uisp import PREFIX as UISP_PREFIX
from lab.billing.uisp import Uisp

FAULTS = ("none", "401", "403", "429", "500", "cut", "slow", "type", "encoding", "endless", "empty", "page-lost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--system", choices=("uisp", "splynx"), default="uisp")
    parser.add_argument("--subscribers", type=int, default=900, help="called C-1, C-2 and so on")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same people and sums")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: a free one")
    parser.add_argument("--tls", action="store_true", help="with a self-signed certificate of its own")
    parser.add_argument("--timezone", default="UTC", help="of UISP's settings")
    parser.add_argument(
        "--payments", type=float, default=0.0, metavar="SECONDS", help="somebody pays this often; 0: never"
    )
    parser.add_argument("--fault", choices=FAULTS, default="none", help="the fault of every answer")


def filled_uisp(count: int, seed: int, now: datetime, zone: str = "UTC") -> Uisp:
    """Return the books of people with two or three invoices each; some 15 % owe an overdue one."""
    dice, books = random.Random(seed), Uisp(zone)
    for number in range(1, count + 1):
        client = books.add_client(f"C-{number}")
        for month in range(dice.randint(2, 3)):
            sum_ = str(Decimal(dice.randint(1500, 6000)) / 100)
            books.add_invoice(client.id, sum_, (now - timedelta(days=30 * month - 10)).date(), now)
            if dice.random() < 0.9:
                books.pay(client.id, sum_, now - timedelta(days=dice.randint(0, 20)))
    return books


def filled_splynx(count: int, seed: int, now: datetime) -> Splynx:
    """Return the books of the same kind of people."""
    dice, books = random.Random(seed), Splynx()
    for number in range(1, count + 1):
        customer = books.add_customer(f"C-{number}")
        for month in range(dice.randint(2, 3)):
            sum_ = str(Decimal(dice.randint(1500, 6000)) / 100)
            books.bill(customer.id, sum_, (now - timedelta(days=30 * month - 10)).date())
            if dice.random() < 0.9:
                books.pay(customer.id, sum_, (now - timedelta(days=dice.randint(0, 20))).date())
    return books


async def run(args: argparse.Namespace) -> None:
    """Serve until cancelled; print the settings for an agent first."""
    now = datetime.now(UTC)
    made: Uisp | Splynx = (
        filled_uisp(args.subscribers, args.seed, now, args.timezone)
        if args.system == "uisp"
        else filled_splynx(args.subscribers, args.seed, now)
    )
    async with serve_billing(made, port=args.port, tls=args.tls) as server, trio.open_nursery() as nursery:
        if args.fault != "none":
            server.faults = [_fault(args.fault)]
        print(told(made, server), flush=True)
        if args.payments:
            nursery.start_soon(_pay, made, args.payments, random.Random(args.seed))
        await trio.sleep_forever()


def told(system: System, server: BillingServer) -> str:
    """Return the key, the URL and the section of the agent's configuration."""
    pin = f'certificate_sha256 = "{server.pin}"\n' if server.pin else ""
    if isinstance(system, Splynx):
        secret = f"ispagent secret set lab/billing      # {system.secret.decode()}"
        lines = f'[splynx.lab]\nurl = "{server.url}{SPLYNX_PREFIX.removesuffix("/admin/")}"\nkey = "{system.key}"\n'
    elif isinstance(system, Uisp):
        secret = f"ispagent secret set lab/billing      # {system.key}"
        lines = f'[uisp-crm.lab]\nurl = "{server.url}{UISP_PREFIX}"\n'
    else:
        return server.url
    return f'{secret}\n\n{lines}secret = "lab/billing"\n{pin}'


async def _pay(system: Uisp | Splynx, every_s: float, dice: random.Random) -> None:
    while True:
        await trio.sleep(every_s)
        if isinstance(system, Splynx):
            bills = [b for b in system.bills.values() if b.status == "not_paid"]
            if bills:
                bill = dice.choice(bills)
                system.pay(bill.customer, str(bill.due), datetime.now(UTC).date())
                print(f"customer {bill.customer} paid {bill.due}", file=sys.stderr)
        else:
            invoices = [i for i in system.invoices.values() if i.to_pay]
            if invoices:
                invoice = dice.choice(invoices)
                system.pay(invoice.client, str(invoice.to_pay), datetime.now(UTC))
                print(f"client {invoice.client} paid", file=sys.stderr)


def _fault(name: str) -> WebFault:
    if name.isdecimal():
        return WebFault("status", value=int(name), retry_after="30" if name == "429" else "")
    return WebFault(name, value=30 if name == "slow" else 1)
