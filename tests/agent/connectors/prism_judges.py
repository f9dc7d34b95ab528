"""Every request to UISP CRM and Paystack, sent once more to Prism, which knows their published descriptions alone.

`api_description` compares requests in every run; Prism is other people's reading of the same documents. Run this by
hand: `python -m pytest tests/agent/connectors/prism_judges.py`. No suite collects it: Prism has no Debian package, and
its some 300 packages of Node.js would be a second set of locks for two tests. Version 5.14.2 was used.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime

import httpx
import pytest
import trio

from agent.connectors.paystack import SPEC as PAYSTACK
from agent.connectors.uisp_crm import SPEC as UISP
from lab.billing.server import serve_billing
from lab.billing.uisp import PREFIX, Uisp
from tests.agent.connectors.pay_server import naps, pay_server
from tests.agent.connectors.paystack.books import Books, ago, transaction
from tests.builders.web import NOW_S, made
from tests.servers import free_port
from tests.shared_data import shared_file

START_S = 60.0
NOW = datetime.fromtimestamp(NOW_S, UTC)
Sent = tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
"""Path, parameters and the headers that prove a request."""


@contextmanager
def mocking(name: str) -> Iterator[int]:
    """Run Prism over a published description; its port."""
    program = shutil.which("prism")
    if program is None:
        pytest.fail("no `prism` on PATH: npm install --global @stoplight/prism-cli@5.14.2")
    port, document = free_port(), shared_file(f"billing/{name}")
    command = [program, "mock", "--errors", "-p", str(port), str(document)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.kill()


@asynccontextmanager
async def prism(name: str) -> AsyncIterator[httpx.AsyncClient]:
    """Lend a client of Prism, which answers with 4xx, and says why, to whatever a description does not allow."""
    with mocking(name) as port:
        await listens(port)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client


async def listens(port: int) -> None:
    with trio.fail_after(START_S):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                return
            except OSError:
                await trio.sleep(0.1)


async def refused(client: httpx.AsyncClient, sent: Iterable[Sent]) -> list[str]:
    """Send requests; return what Prism says of those that it refuses."""
    found = []
    for path, query, headers in dict.fromkeys(sent):
        answer = await client.get(path, params=query, headers=dict(headers))
        if 400 <= answer.status_code < 500:  # 500: the document's own example of an answer is not as it describes it
            found.append(f"GET {path} {query}: {answer.status_code} {answer.text[:500]}")
    return found


def proof(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers.items() if name in ("x-auth-app-key", "authorization"))


async def test_prism_takes_each_request_to_uisp() -> None:
    books, target = Uisp(), "uisp-crm/main"
    clients = [books.add_client(f"C-{n}").id for n in range(30)]
    invoices = [books.add_invoice(client, "30.00", date(2026, 11, 20), NOW).id for client in clients]
    paid = [books.pay(client, "30.00", NOW).id for client in clients[:5]]
    service = next(iter(books.services))
    kinds = (("client", clients[0]), ("invoice", invoices[7]), ("service", service), ("payment", paid[0]))
    events = [books.event("edit", entity, number, f"{entity}.edit")["uuid"] for entity, number in kinds]
    async with serve_billing(books) as server:
        table = {"url": server.url + PREFIX, "secret": "billing/uisp", "page": 10}
        connector = made(UISP, table, {"billing/uisp": b"lab-app-key"})
        await connector.accounts(target)
        await connector.payments(target, NOW_S - 3600)
        await connector.some_payments(target, [str(number) for number in paid])
        await connector.some_accounts(target, [*(f"event/{uuid}" for uuid in events), str(clients[3])])
        await connector.rights(target)
    sent = [(r.path.removeprefix(PREFIX), r.query, proof(r.headers)) for r in server.requests]
    assert len({path for path, _, _ in sent}) > 12
    async with prism("uisp-crm-swagger2-from-apib.json") as client:
        assert await refused(client, sent) == []
        assert await refused(client, [("/clients", (("order", "name"),), sent[0][2])]) != [], "it looks at nothing"


async def test_prism_takes_each_request_to_paystack() -> None:
    refund = {"id": 1, "status": "processed", "transaction_reference": "ref-99", "amount": 100, "currency": "NGN"}
    dispute = {"id": 2, "status": "awaiting-merchant-feedback", "transaction": {"reference": "ref-98"}}
    books = Books(
        [transaction(n) for n in range(25)], [{**refund, "createdAt": ago(1)}], [{**dispute, "createdAt": ago(1)}]
    )
    async with pay_server(books.answer) as server:
        table = {"url": server.url, "secret": "paystack/main", "page": 10}
        connector = made(PAYSTACK, table, {"paystack/main": b"sk_live_1"}, clock=naps())
        await connector.payments("paystack/main", naps().now_s - 3600)
        await connector.rights("paystack/main")
    sent = [(asked.path, tuple(asked.query.items()), proof(asked.headers)) for asked in server.asked]
    assert {path for path, _, _ in sent} >= {"/transaction", "/refund", "/dispute", "/transaction/verify/ref-99"}
    async with prism("paystack-openapi.yaml") as client:
        assert await refused(client, sent) == []
        assert await refused(client, [("/transaction", (("per_page", "ten"),), sent[0][2])]) != [], (
            "it looks at nothing"
        )
