"""From a signed webhook to the payment in the ledger: the whole agent, with a small Stripe or localstripe beside it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from agent import daemon as daemons
from agent.billing_model.account import PaymentState
from agent.config import load
from agent.inventory import ledger
from agent.runtime.clock import SystemClock
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response
from agent.store.identity import create_identity
from agent.store.vault import create_store_key, load_store_key
from tests.agent.connectors.pay_server import Asked, pay_server
from tests.builders.expect import expect, present

ROOT = Path(__file__).parents[3]
SECRET, KEY = b"whsec", "sk_test_localstripe"

CONFIG = """
[agent]
name = "noc-1"
state_dir = "{folder}"
[people]
{uid} = "maria"
[hooks]
listen = "127.0.0.1:0"
[stripe.main]
url = "{url}/v1"
secret = "stripe/main"
hook = true
hook_secret = "stripe/hook"
payments_every_s = 86400
"""
CHARGE = {
    "id": "ch_1",
    "object": "charge",
    "amount": 1099,
    "amount_captured": 1099,
    "amount_refunded": 0,
    "captured": True,
    "currency": "usd",
    "status": "succeeded",
}


@dataclass
class Wired:
    """A whole agent that runs: its daemon, its files, and its API as an operator calls it."""

    daemon: daemons.Daemon
    files: daemons.Files

    async def call(self, method: str, route: str, body: str = "") -> object:
        request = HttpRequest(method, route, {}, {}, body.encode(), os.getuid(), 1)
        return expect(Response, await self.daemon.api(request)).json

    async def until(self, seen: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not seen():
                await self.daemon.clock.sleep(0.02)

    def payment_state(self, charge: str) -> PaymentState | None:
        kept = ledger.payment(self.files.store.query, "main", charge)
        return kept and kept.payment.state


@asynccontextmanager
async def wired(folder: Path, url: str, key: bytes) -> AsyncIterator[Wired]:
    """Run an agent with the source `stripe/main` at a URL, whose key and whose calls' secret are set."""
    path = folder / "agent.toml"
    path.write_text(CONFIG.format(folder=folder / "state", uid=os.getuid(), url=url))
    config = load(path, {})
    config.state_dir.mkdir(mode=0o700)
    create_store_key(config.key_file)
    create_identity(config.state_dir, load_store_key(config.key_file))
    async with daemons.open_files(config, SystemClock()) as files:
        site = Wired(daemons.build(config, files, SystemClock()), files)
        async with trio.open_nursery() as nursery:
            await nursery.start(site.daemon.run)
            for name, value in (("main", key), ("hook", SECRET)):
                secret = {"secret": base64.b64encode(value).decode()}
                await site.call("POST", f"/v1/secrets/stripe%2F{name}", json.dumps(secret))
            yield site
            nursery.cancel_scope.cancel()


async def test_signed_call_has_payment_read_and_forged_one_has_not(tmp_path: Path) -> None:
    charges: list[dict[str, object]] = []

    def answer(asked: Asked) -> tuple[int, object]:
        return 200, {"data": charges if asked.path == "/v1/charges" else [], "has_more": False}

    async with pay_server(answer) as stripe, wired(tmp_path, stripe.url, b"rk_live") as site:
        await site.until(lambda: bool(stripe.asked))
        charges.append({**CHARGE, "created": int(time.time())})
        told = expect(dict, await site.call("GET", "/v1/billing/hooks/main"))
        body = json.dumps({"id": "evt_1", "type": "charge.succeeded", "data": {"object": CHARGE}}).encode()
        assert await post(told["url"], body, b"other") == 401
        assert await post(told["url"], body, SECRET) == 200
        assert await post(told["url"], body, SECRET) == 200
        await site.until(lambda: site.payment_state("ch_1") is not None)
        await site.until(lambda: not ledger.heard_open(site.files.store.query))
        listed = expect(dict, await site.call("GET", "/v1/billing/hooks"))
        assert (listed["sources"], listed["refused"]) == (["main"], {"main": {"forged": 1}})
        with pytest.raises(HttpError, match="got 'till'"):
            await site.call("GET", "/v1/billing/hooks/till")


@contextmanager
def localstripe() -> Iterator[str]:
    """Run localstripe; its URL."""
    command = [sys.executable, "-m", "tests.agent.billing.local_stripe"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


async def test_deliveries_of_localstripe_are_kept_once_and_read(tmp_path: Path) -> None:
    """It sends each event to three endpoints, all of them our URL: one has another secret, two have ours."""
    with localstripe() as url:
        async with wired(tmp_path, url, KEY.encode()) as site, httpx.AsyncClient(base_url=url) as client:

            async def made(path: str, **fields: object) -> dict[str, Any]:
                answer = await client.post(path, json=fields, headers={"authorization": f"Bearer {KEY}"})
                assert answer.status_code == 200, answer.text
                return dict(answer.json()) if answer.content else {}

            def heard() -> list[tuple[str, str]]:
                return [(r["event_id"], r["kind"]) for r in site.files.store.query("SELECT * FROM heard", ())]

            told = expect(dict, await site.call("GET", "/v1/billing/hooks/main"))
            for name, secret in (("forged", "other"), ("one", SECRET.decode()), ("again", SECRET.decode())):
                await made(f"/_config/webhooks/{name}", url=told["url"], secret=secret)
            customer = await made("/v1/customers", email="zoe@example.net")
            card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
            method = await made("/v1/payment_methods", type="card", card=card)
            await made(f"/v1/payment_methods/{method['id']}/attach", customer=customer["id"])
            fields = {"customer": customer["id"], "payment_method": method["id"], "confirm": True}
            intent = await made("/v1/payment_intents", amount=1099, currency="usd", **fields)
            charge = intent["charges"]["data"][0]["id"]

            await site.until(lambda: site.payment_state(charge) is not None)
            payment = present(ledger.payment(site.files.store.query, "main", charge)).payment
            assert (payment.amount, payment.currency, payment.state) == (Decimal("10.99"), "USD", PaymentState.SETTLED)
            assert (payment.account, payment.provider_reference) == (customer["id"], intent["id"])

            await made("/v1/refunds", charge=charge)  # localstripe sends no event of it, but of the next
            await made(f"/v1/customers/{customer['id']}", description="refunded")
            await site.until(lambda: site.payment_state(charge) is PaymentState.REVERSED)
            await site.until(lambda: len(heard()) == 3 and not ledger.heard_open(site.files.store.query))
            answer = await client.get("/v1/events", headers={"authorization": f"Bearer {KEY}"})
            assert sorted(heard()) == sorted((event["id"], event["type"]) for event in answer.json()["data"])
            assert {kind for _, kind in heard()} == {"customer.created", "customer.updated", "payment_intent.succeeded"}
            listed = expect(dict, await site.call("GET", "/v1/billing/hooks"))
            assert listed["refused"] == {"main": {"forged": 3}}


async def post(url: str, body: bytes, secret: bytes) -> int:
    at = int(time.time())
    signed = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: a\r\nStripe-Signature: t={at},v1={signed}\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", parts.port or 0) as stream:
        await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return int(bytes(await stream.receive_some(4096)).split()[1])
