"""Billing reads, webhooks and paid restores tell nobody about a subscriber, and no key goes where it does not belong.

Three billing systems hold planted words in each field. A payer in each comes back by its webhook; strangers call; then
each field of each answer is replaced by a planted word in turn, and errors echo planted words. All bytes that left the
agent, its log, and the texts by which it explains the state of its sources are searched for them in every form.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from agent.billing_model.errors import SourceError
from agent.runtime.redacting_log import RedactingHandler
from lab import radius_codec
from lab.billing.server import BillingServer, System, WebReply, WebRequest, serve_billing
from lab.billing.splynx import Splynx
from lab.billing.uisp import LabClient, LabInvoice, LabPayment, Uisp
from lab.isp import Isp
from lab.population import LabService
from lab.radius_codec import Packet
from tests.e2e.canaries import AGENT_OPTIONS, Canaries, plain, staff
from tests.e2e.cloud_site import Company, company
from tests.e2e.files import Files, ref_of
from tests.e2e.paid import WITHIN_S, until, walled
from tests.e2e.recording_cloud import RecordingCloud, recording_cloud
from tests.e2e.site import Site, state_of
from tests.e2e.sweep import Sweep

SERVICES = 24
KEYS = ("uisp", "splynx", "splynx hook", "stripe", "stripe hook")
RESPONSES = (401, 403, 404, 429, 500)


# --- billing systems that hold planted words, and answer badly --------------------------------------------------------


class PlantedUisp(Uisp):
    """Its clients, invoices and payments have words of their own in each field that is a text."""

    def __init__(self, key: str, canaries: Canaries) -> None:
        super().__init__(key=key)
        self.canaries = canaries
        self.words: dict[str, str] = {}

    def word(self, what: str) -> str:
        if what not in self.words:
            self.words[what] = self.canaries._token(what, "{}x")
        return self.words[what]

    def _client(self, number: int, outstanding: Decimal, credit: Decimal) -> dict[str, Any]:
        names = ("firstName", "lastName", "fullAddress", "note", "companyName")
        return {
            **super()._client(number, outstanding, credit),
            **{name: self.word(f"uisp {name} {number}") for name in names},
        }

    def _invoice(self, i: LabInvoice) -> dict[str, Any]:
        told = {name: self.word(f"uisp {name} {i.client}") for name in ("clientFirstName", "clientLastName", "notes")}
        return {**super()._invoice(i), **told, "number": self.word(f"uisp invoice {i.id}")}

    def _payment(self, p: LabPayment) -> dict[str, Any]:
        told = {"note": self.word(f"uisp note {p.id}"), "providerPaymentId": self.word(f"uisp reference {p.id}")}
        return {**super()._payment(p), **told, "providerName": self.word(f"uisp provider {p.id}")}


class SmallStripe:
    """One page of charges; `key` is its API key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.charges: list[dict[str, Any]] = []

    def answer(self, request: WebRequest) -> WebReply:
        if not request.headers.get("authorization", "").endswith(self.key):
            return WebReply(401, {"error": {"message": "Invalid API Key"}})
        rows = self.charges if request.path == "/v1/charges" else []
        return WebReply(200, {"object": "list", "data": rows, "has_more": False})


@dataclass
class Spoiled:
    """A system that answers badly. `spoils`: each value of that name is `word`; `status`: of errors that say `echo`."""

    system: System
    spoils: str = ""
    word: object = ""
    status: int = 0
    echo: str = ""
    names: set[str] = field(default_factory=set)
    """All names of fields that it told."""

    def answer(self, request: WebRequest) -> WebReply:
        reply = self.system.answer(request)
        self._note(reply.json)
        if self.status:
            return WebReply(self.status, {"message": self.echo, "error": {"message": self.echo}, "errors": [self.echo]})
        return WebReply(reply.status, self._spoiled(reply.json)) if self.spoils else reply

    def _note(self, value: Any) -> None:
        if isinstance(value, dict):
            self.names |= value.keys()
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            self._note(one)

    def _spoiled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {n: self.word if n == self.spoils else self._spoiled(v) for n, v in value.items()}
        return [self._spoiled(v) for v in value] if isinstance(value, list) else value


# --- the day ----------------------------------------------------------------------------------------------------------


@dataclass
class BillingDay:
    """An operator with three billing systems, and all that came out of its agent."""

    canaries: Canaries
    keys: dict[str, str]
    systems: dict[str, Spoiled]
    servers: dict[str, BillingServer]
    clients: dict[str, LabClient] = field(default_factory=dict)
    hook_answers: list[bytes] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """By which the agent explains the state of its sources."""
    log: str = ""
    urls: dict[str, str] = field(default_factory=dict)
    state: dict[str, bytes] = field(default_factory=dict)
    cloud: dict[str, bytes] = field(default_factory=dict)
    forged: int = 0

    @property
    def uisp(self) -> PlantedUisp:
        found = self.systems["uisp"].system
        assert isinstance(found, PlantedUisp)
        return found

    @property
    def splynx(self) -> Splynx:
        found = self.systems["splynx"].system
        assert isinstance(found, Splynx)
        return found

    @property
    def stripe(self) -> SmallStripe:
        found = self.systems["stripe"].system
        assert isinstance(found, SmallStripe)
        return found

    def requests(self) -> dict[str, bytes]:
        """Return what each system was sent, without the header in which its own key belongs."""
        own = {"uisp": "x-auth-app-key", "splynx": "authorization", "stripe": "authorization"}
        found = {}
        for name, server in self.servers.items():
            for n, one in enumerate(server.requests):
                head = [f"{h}: {v}" for h, v in one.headers.items() if h != own[name]]
                query = [f"{q}={v}" for q, v in one.query]
                text = "\n".join([f"{one.method} {one.path}", *query, *head])
                found[f"{name} {n}"] = text.encode() + b"\n" + one.body
        return found


def planted_systems(canaries: Canaries) -> tuple[dict[str, str], dict[str, Spoiled]]:
    keys = {name: canaries._token(f"key of {name}", "key{}") for name in KEYS}
    systems = {
        "uisp": Spoiled(PlantedUisp(keys["uisp"], canaries)),
        "splynx": Spoiled(Splynx(secret=keys["splynx"].encode())),
        "stripe": Spoiled(SmallStripe(keys["stripe"])),
    }
    return keys, systems


def with_sources(day: BillingDay, files: Files) -> None:
    """Configure the three systems; UISP decides."""
    text = files.config.read_text().replace("restore_paid = false", 'authority = "uisp"')
    urls = {name: server.url for name, server in day.servers.items()}
    text += f"""
[uisp-crm.uisp]
url = "{urls["uisp"]}/crm/api/v1.0"
secret = "billing/uisp"
hook = true
[splynx.splynx]
url = "{urls["splynx"]}/api/2.0"
key = "labkey0123456789"
secret = "billing/splynx"
currency = "USD"
hook = true
hook_secret = "billing/splynx-hook"
[stripe.stripe]
url = "{urls["stripe"]}/v1"
secret = "billing/stripe"
subscriber_metadata = "subscriber"
hook = true
hook_secret = "billing/stripe-hook"
[hooks]
listen = "127.0.0.1:0"
"""
    files.config.write_text(text)
    files.secrets |= {f"billing/{name.replace(' ', '-')}": key for name, key in day.keys.items()}


async def owe(day: BillingDay, services: Sequence[LabService]) -> None:
    now = datetime.now(UTC)
    for service in services:
        client = day.clients[service.subscriber] = day.uisp.add_client(service.subscriber)
        day.uisp.add_invoice(client.id, "34.00", now.date() - timedelta(days=20), now - timedelta(days=40))
        customer = day.splynx.add_customer(service.subscriber)
        day.splynx.bill(customer.id, "34.00", now.date() - timedelta(days=20))


async def post(day: BillingDay, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
    """Call the agent; keep its whole answer."""
    parts = urlsplit(url)
    head = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    sent = f"POST {parts.path} HTTP/1.1\r\nHost: a\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    got = b""
    async with await trio.open_tcp_stream("127.0.0.1", parts.port or 0) as stream:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(sent.encode() + body)
            while piece := bytes(await stream.receive_some(65536)):
                got += piece
    day.hook_answers.append(got)
    return int(got.split()[1])


async def pays(day: BillingDay, service: LabService, through: str) -> None:
    """Have a subscriber pay; the webhook of a system tells of it, and the books of UISP have it."""
    now = datetime.now(UTC)
    client = day.clients[service.subscriber]
    payment = day.uisp.pay(client.id, "34.00", now)
    if through == "uisp":
        body = json.dumps(day.uisp.event("insert", "payment", payment.id, "payment.add")).encode()
        assert await post(day, day.urls["uisp"], body) == 200
    elif through == "splynx":
        customer = next(c for c in day.splynx.customers.values() if c.login == service.subscriber)
        receipt = day.splynx.pay(customer.id, "34.00", now.date(), day.canaries._token("splynx receipt", "{}r"))
        told = {"id": receipt.id, "customer_id": customer.id, "note": day.canaries._token("splynx note", "{}n")}
        body, signature = day.splynx.hook(day.keys["splynx hook"].encode(), "create", "Payment", told)
        assert await post(day, day.urls["splynx"], body, {"X-Splynx-Signature": signature}) == 200
    else:
        charge = charge_of(day, service.subscriber)
        day.stripe.charges.append(charge)
        body = json.dumps({"id": "evt_1", "type": "charge.succeeded", "data": {"object": charge}}).encode()
        assert await post(day, day.urls["stripe"], body, signed(day.keys["stripe hook"], body)) == 200


def charge_of(day: BillingDay, subscriber: str) -> dict[str, Any]:
    words = ("receipt_email", "description", "payment_intent")
    told = {name: day.canaries._token(f"stripe {name} {subscriber}", "{}s") for name in words}
    person = {"name": day.canaries._token(f"stripe name {subscriber}", "{} Payer"), "email": told["receipt_email"]}
    return {
        **told,
        "id": f"ch_{secrets.token_hex(8)}",
        "object": "charge",
        "amount": 3400,
        "amount_captured": 3400,
        "amount_refunded": 0,
        "captured": True,
        "currency": "usd",
        "status": "succeeded",
        "created": int(time.time()),
        "metadata": {"subscriber": subscriber},
        "billing_details": person,
    }


def signed(secret: str, body: bytes) -> dict[str, str]:
    at = int(time.time())
    found = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={found}"}


async def strangers_call(day: BillingDay) -> None:
    """Call with planted words in each part, and signed by nobody: each answer is a refusal."""
    words = list(day.canaries.tokens.values())[:6]
    body = json.dumps(
        {"id": words[0], "type": words[1], "uuid": words[2], "data": {"object": {"note": words}}}
    ).encode()
    token = urlsplit(day.urls["stripe"])
    wrong = f"http://{token.netloc}/hook/stripe/{secrets.token_hex(20)}"
    for url in (day.urls["stripe"], day.urls["splynx"], day.urls["uisp"], wrong, f"{wrong}/{words[3]}"):
        for headers in ({}, {"Stripe-Signature": words[4], "X-Splynx-Signature": words[4]}, {"X-Word": words[5]}):
            safe = {name: value.encode().hex() for name, value in headers.items()}
            assert await post(day, url.replace(words[3], words[3].encode().hex()), body, safe) in (400, 401, 404)
            day.forged += 1


async def bad_days(day: BillingDay, site: Site) -> None:
    """Have each source answer badly in all ways, and be asked about it."""
    echo = " ".join(list(day.canaries.tokens.values()))[:4000]
    for name, system in day.systems.items():
        word = day.canaries._token(f"value of {name}", "{}v")
        for n, spoils in enumerate(sorted(system.names)):
            system.spoils, system.word = spoils, ({"x": word} if n % 3 == 0 else word)
            await read(day, site, name)
        system.spoils = ""
        for status in RESPONSES:
            system.status, system.echo = status, echo
            await read(day, site, name)
        system.status = 0
        for kind in ("cut", "type", "encoding", "empty"):
            day.servers[name].play(kind)
            await read(day, site, name)
        day.servers[name].faults = []


async def read(day: BillingDay, site: Site, name: str) -> None:
    """Have a source read in all ways; keep what the agent says of it."""
    reader = site.daemon.job.sources.readers[name]
    reader._alone_until = float("-inf")  # as if the time had passed for which it asked to be left alone

    async def some() -> None:
        day.texts.append(await reader.recheck({str(client.id) for client in day.clients.values()}))

    async def payments() -> None:
        try:
            await reader.read_payments()
        except SourceError as err:
            day.texts.append(str(err))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(payments)
        if reader.accounts_of is not None:
            nursery.start_soon(reader.read_accounts)
            nursery.start_soon(some)
    day.texts.append(json.dumps((await site.call("GET", "/v1/billing"))["sources"]))


@contextlib.contextmanager
def kept_log(day: BillingDay) -> Iterator[None]:
    """Keep what the agent would print."""
    out, root = io.StringIO(), logging.getLogger()
    handler, before = RedactingHandler(out), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        day.log = out.getvalue()


@asynccontextmanager
async def three_systems(canaries: Canaries) -> AsyncIterator[BillingDay]:
    keys, systems = planted_systems(canaries)
    async with contextlib.AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(serve_billing(s)) for name, s in systems.items()}
        yield BillingDay(canaries, keys, systems, servers)


def back(isp: Isp, service: LabService) -> bool:
    return len(isp.sessions(service.login)) == 1 and not walled(isp, service)


async def billing_day(folder: Path, cloud: RecordingCloud, canaries: Canaries) -> BillingDay:
    """Live through it; return all that came out."""
    async with three_systems(canaries) as day:

        def prepare(isp: Isp, files: Files) -> None:
            canaries.prepare(isp, files)
            with_sources(day, files)

        async with company(
            folder,
            cloud,
            isp={"services": SERVICES},
            change_trust=lambda trust, files: staff(trust, files, cloud.vkey),
            prepare_files=prepare,
            agent=AGENT_OPTIONS,
            within_s=WITHIN_S,
        ) as here:
            with kept_log(day):
                await work(day, here)
            day.cloud = cloud_pieces(cloud)
            day.state = {p.name: p.read_bytes() for p in here.files.state.rglob("*") if p.is_file()}
    return day


async def work(day: BillingDay, here: Company) -> None:
    services = plain(here.isp.services)[:4]
    await owe(day, services)
    async with here.at_work() as site:
        await site.hand_in(site.people.standing())
        sources = site.daemon.job.sources
        for reader in sources.readers.values():
            reader.poke()
        await until(lambda: all(sources.now(name).state.value == "fresh" for name in ("uisp", "splynx")))
        for name in day.systems:
            told = await site.call("GET", f"/v1/billing/hooks/{name}")
            day.urls[name] = told["url"]
            day.canaries.tokens[f"hook token of {name}"] = told["url"].rpartition("/")[2]
        for service in services:
            assert state_of(await site.do("suspend", ref_of(service)))[0] == "applied"
        for service, through in zip(services, day.systems, strict=False):
            await pays(day, service, through)
            await until(lambda service=service: back(here.isp, service))  # type: ignore[misc]  # bound now
        day.stripe.charges.append(charge_of(day, "nobody-of-ours"))
        await sources.readers["stripe"].read_payments()
        await strangers_call(day)
        await bad_days(day, site)
        for route in ("status", "billing/hooks"):
            day.texts.append(json.dumps(await site.call("GET", f"/v1/{route}")))
        assert walled(here.isp, services[3])


def cloud_pieces(cloud: RecordingCloud) -> dict[str, bytes]:
    found = {}
    for n, call in enumerate(cloud.calls()):
        for what, pieces in (("request", call.requests), ("reply", call.replies)):
            found |= {f"cloud call {n} {call.method} {what} {i}": piece for i, piece in enumerate(pieces)}
    return found


@pytest.mark.slow
def test_nobody_is_told_anything(tmp_path_factory: pytest.TempPathFactory) -> None:
    canaries, datagrams = Canaries(), list[bytes]()
    decode = radius_codec.decode_untrusted

    def kept(datagram: bytes) -> Packet:
        datagrams.append(datagram)
        return decode(datagram)

    with recording_cloud(tmp_path_factory.mktemp("captured")) as cloud, pytest.MonkeyPatch.context() as patch:
        canaries.put_into(patch)
        patch.setattr(radius_codec, "decode_untrusted", kept)
        day = trio.run(billing_day, tmp_path_factory.mktemp("site"), cloud, canaries)
    day.datagrams = datagrams
    the_capture_holds_everything(day)
    systems_are_sent_no_word_of_a_subscriber_and_no_other_key(day)
    callers_are_answered_nothing(day)
    no_log_line_and_no_text_about_a_source_names_anybody(day)
    the_network_hears_logins_alone_and_the_cloud_nothing(day)
    keys_are_sealed_on_disk(day)


def keys_of(day: BillingDay) -> dict[str, str]:
    return {w: t for w, t in day.canaries.tokens.items() if w.startswith(("key of", "hook token", "secret of"))}


def the_capture_holds_everything(day: BillingDay) -> None:
    assert {name for name, server in day.servers.items() if len(server.requests) > 20} == set(day.systems)
    assert len(day.hook_answers) == 3 + day.forged
    assert len(day.texts) > 100
    states = {s["state"] for text in day.texts if text.startswith("[") for s in json.loads(text)}
    assert states >= {"fresh", "refused", "unreachable", "empty"}, states
    for words in ("a change begins", "hooks-refused", "payments were not read"):
        assert words in day.log
    assert day.cloud
    assert day.datagrams
    assert Sweep(day.canaries.tokens).leaks({"uisp": json.dumps(list(day.uisp.words.values())).encode()}) != []


def systems_are_sent_no_word_of_a_subscriber_and_no_other_key(day: BillingDay) -> None:
    found = Sweep(day.canaries.tokens).leaks(day.requests())
    # An id that a system gave goes back to that system
    assert [leak for leak in found if not re.fullmatch(r"value of (\w+) in utf-8: \1 \d+", leak)] == []


def callers_are_answered_nothing(day: BillingDay) -> None:
    answers = {f"answer {n}": data for n, data in enumerate(day.hook_answers)}
    assert Sweep(day.canaries.tokens).leaks(answers) == []
    assert {data.partition(b"\r\n\r\n")[2] for data in day.hook_answers} == {b""}


def no_log_line_and_no_text_about_a_source_names_anybody(day: BillingDay) -> None:
    pieces = {f"log line {n}": line.encode() for n, line in enumerate(day.log.splitlines())}
    pieces |= {f"text {n}": text.encode() for n, text in enumerate(dict.fromkeys(day.texts))}
    words = {w: t for w, t in day.canaries.tokens.items() if not w.startswith(("database", "nas name"))}
    assert Sweep(words).leaks(pieces) == []


def the_network_hears_logins_alone_and_the_cloud_nothing(day: BillingDay) -> None:
    kept = ("login", "mac", "password", "address", "marker", "group", "static")
    words = {w: t for w, t in day.canaries.tokens.items() if not w.startswith(kept)}
    assert Sweep(words).leaks({f"datagram {n}": d for n, d in enumerate(day.datagrams)}) == []
    assert Sweep(day.canaries.tokens).leaks(day.cloud) == []


def keys_are_sealed_on_disk(day: BillingDay) -> None:
    assert Sweep(keys_of(day)).leaks(day.state, sealed=True) == []
