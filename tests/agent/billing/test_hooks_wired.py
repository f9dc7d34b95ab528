"""From a signed webhook to the payment in the ledger: the whole agent, with a small Stripe beside it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio

from agent import daemon as daemons
from agent.config import load
from agent.inventory import ledger
from agent.runtime.clock import SystemClock
from agent.runtime.errors import HttpError
from agent.runtime.http import HttpRequest, Response
from agent.store.identity import create_identity
from agent.store.vault import create_store_key, load_store_key
from tests.agent.connectors.pay_server import Asked, pay_server
from tests.builders.expect import expect

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


async def test_signed_call_has_payment_read_and_forged_one_has_not(tmp_path: Path) -> None:
    charges: list[dict[str, object]] = []

    def answer(asked: Asked) -> tuple[int, object]:
        return 200, {"data": charges if asked.path == "/v1/charges" else [], "has_more": False}

    async with pay_server(answer) as stripe:
        path = tmp_path / "agent.toml"
        path.write_text(CONFIG.format(folder=tmp_path / "state", uid=os.getuid(), url=stripe.url))
        config = load(path, {})
        config.state_dir.mkdir(mode=0o700)
        create_store_key(config.key_file)
        create_identity(config.state_dir, load_store_key(config.key_file))
        async with daemons.open_files(config, SystemClock()) as files:
            daemon = daemons.build(config, files, SystemClock())

            async def call(method: str, route: str, body: str = "") -> object:
                found = expect(
                    Response, await daemon.api(HttpRequest(method, route, {}, {}, body.encode(), os.getuid(), 1))
                )
                return found.json

            async with trio.open_nursery() as nursery:
                await nursery.start(daemon.run)
                for name, value in (("main", "cmtfbGl2ZQ=="), ("hook", "d2hzZWM=")):
                    await call("POST", f"/v1/secrets/stripe%2F{name}", json.dumps({"secret": value}))
                with trio.fail_after(60):
                    while not stripe.asked:
                        await daemon.clock.sleep(0.02)
                charges.append({**CHARGE, "created": int(time.time())})
                told = expect(dict, await call("GET", "/v1/billing/hooks/main"))
                body = json.dumps({"id": "evt_1", "type": "charge.succeeded", "data": {"object": CHARGE}}).encode()
                assert await post(told["url"], body, b"other") == 401
                assert await post(told["url"], body, b"whsec") == 200
                assert await post(told["url"], body, b"whsec") == 200
                with trio.fail_after(60):
                    while ledger.payment(files.store.query, "main", "ch_1") is None:
                        await daemon.clock.sleep(0.02)
                    while ledger.heard_open(files.store.query):
                        await daemon.clock.sleep(0.02)
                listed = expect(dict, await call("GET", "/v1/billing/hooks"))
                assert (listed["sources"], listed["refused"]) == (["main"], {"main": {"forged": 1}})
                with pytest.raises(HttpError, match="got 'till'"):
                    await call("GET", "/v1/billing/hooks/till")
                nursery.cancel_scope.cancel()


async def post(url: str, body: bytes, secret: bytes) -> int:
    at = int(time.time())
    signed = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: a\r\nStripe-Signature: t={at},v1={signed}\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", parts.port or 0) as stream:
        await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return int(bytes(await stream.receive_some(4096)).split()[1])
