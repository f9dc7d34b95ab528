"""`billing_paid`: from the arrival of a payment's webhook to the disconnect, by the agent and by a bare script.

The bare script does the least that restores a payer: it reads the client and its invoices from UISP, deletes the marker
row, and disconnects. It proves nothing, asks nobody, keeps no journal, and reads nothing back. Both work on the same
lab ISP (SQLite, two BNG) and the same lab UISP, one after the other, at the same pace.

In the first pair of rows the lab's UISP and BNG answer in no time, and a call names the account. In the second, as in
the field, UISP takes 50 ms for each request and a BNG 5 ms, on both sides, and a call is UISP's own: it names an event
and a payment. Both look up the payment, and then the account; the agent asks for the client and its invoices at once.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio

from agent.billing_model.hooks import Heard, HookCall
from agent.connectors.uisp_crm.hooks import CrmScheme
from lab.isp import Isp
from lab.population import MARKER_GROUP, LabService
from lab.radius_client import RadiusClient
from lab.radius_codec import Code, attribute
from tests.bench.result import Result, compared
from tests.e2e.files import ordinary, ref_of, small_isp
from tests.e2e.paid import KEY, Crm, paid_site, ring
from tests.e2e.site import Site

MEDIAN_AIM_S, P95_AIM_S, RATIO_AIM = 1.0, 3.0, 3.0
AT_ONCE = 10
"""Services of one suspension before it: a plan of class low."""
END_S = 120.0


@dataclass(frozen=True, slots=True)
class Field:
    """How long the others take, seconds: UISP for each request, a BNG for each disconnect.

    `own_call`: the call is UISP's own, and names no account.
    """

    name: str
    told: str
    crm_s: float
    nas_s: float
    own_call: bool


LAB = Field("", "bare script", 0.0, 0.0, own_call=False)
FIELD = Field("_field", "bare script; both sides: UISP takes 50 ms a request, a BNG 5 ms", 0.05, 0.005, own_call=True)


async def _cut(site: Site, services: Sequence[LabService]) -> None:
    for n in range(0, len(services), AT_ONCE):
        await site.do("suspend", *(ref_of(s) for s in services[n : n + AT_ONCE]))


async def _timed(
    isp: Isp, services: Sequence[LabService], over_s: float, pay: Callable[[LabService], Awaitable[None]]
) -> list[float]:
    """Return the seconds from the arrival of each payment to its disconnect at the BNG."""
    times: list[float] = []

    async def one(service: LabService, after_s: float) -> None:
        await trio.sleep(after_s)
        began_s = trio.current_time()
        await pay(service)
        received = isp.nas_of(service.login).received
        with trio.fail_after(END_S):
            while not (at := [r.at for r in received if r.login == service.login and r.at >= began_s]):  # noqa: ASYNC110  the lab tells nobody
                await trio.sleep(0.005)
        times.append(at[0] - began_s)

    async with trio.open_nursery() as nursery:
        for n, service in enumerate(services):
            nursery.start_soon(one, service, over_s * n / len(services))
    return sorted(times)


async def _agent(count: int, over_s: float, folder: Path, field: Field) -> list[float]:
    crm = Crm(field.crm_s)
    async with small_isp(folder, services=3 * count + 40, latency_s=field.nas_s) as isp:
        services = ordinary(isp, count)
        for service in services:
            crm.owes(service)
        async with paid_site(folder, isp, crm, rate=1000) as site:
            await _cut(site, services)

            async def pay(service: LabService) -> None:
                await ring(site, _heard(crm.called(service)) if field.own_call else crm.pays(service))

            return await _timed(isp, services, over_s, pay)


def _heard(call: Mapping[str, Any]) -> Heard:
    """Return what the agent takes from UISP's own call."""
    return CrmScheme().hear_untrusted(HookCall({}, json.dumps(call).encode(), "127.0.0.1"), 0.0)


async def _bare(count: int, over_s: float, folder: Path, field: Field) -> list[float]:
    crm = Crm(field.crm_s)
    options = {"services": 3 * count + 40, "latency_s": field.nas_s}
    async with small_isp(folder, **options) as isp, crm.served() as server:
        services = ordinary(isp, count)
        for service in services:
            crm.owes(service)
        async with trio.open_nursery() as nursery, httpx.AsyncClient(headers={"X-Auth-App-Key": KEY}) as web:
            clients = {}
            for name, nas in isp.nas.items():
                where = (nas.options.host, nas.dynauth_port)
                secret = nas.options.secret
                clients[name] = RadiusClient(nas.options.host, where, secret, timeout_s=2.0, tries=3)
                await nursery.start(clients[name].run)

            async def pay(service: LabService) -> None:
                call, client = crm.called(service), crm.clients[service.subscriber].id
                if field.own_call:
                    answer = await web.get(f"{server.url}/crm/api/v1.0/payments/{call['entityId']}")
                    client = answer.json()["clientId"]
                await web.get(f"{server.url}/crm/api/v1.0/clients/{client}")
                await web.get(f"{server.url}/crm/api/v1.0/invoices", params={"clientId": client, "limit": 100})
                await isp.database.execute(
                    "DELETE FROM radusergroup WHERE username = ? AND groupname = ?", (service.login, MARKER_GROUP)
                )
                nas = isp.nas_of(service.login)
                name = next(n for n, one in isp.nas.items() if one is nas)
                await clients[name].ask(Code.DISCONNECT_REQUEST, [attribute("User-Name", service.login)])

            times = await _timed(isp, services, over_s, pay)
            nursery.cancel_scope.cancel()
    return times


def _p95(times: Sequence[float]) -> float:
    return times[min(int(len(times) * 0.95), len(times) - 1)]


def bench(count: int = 300, over_s: float = 300.0) -> list[Result]:
    """Measure so many payments in so many seconds."""
    return [one for field in (LAB, FIELD) for one in _measured(count, over_s, field)]


def _measured(count: int, over_s: float, field: Field) -> list[Result]:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        ours = trio.run(_agent, count, over_s, Path(one), field)
        bare = trio.run(_bare, count, over_s, Path(other), field)
    assert len(ours) == len(bare) == count
    median, least = statistics.median(ours), statistics.median(bare)
    name = f"billing_paid_{count}{field.name}"
    aim = f"median at most {MEDIAN_AIM_S} s, and {RATIO_AIM} times a bare script"
    return [
        compared(name, aim, median, "s", (field.told, least), limit=RATIO_AIM, more={"most": ours[-1]}),
        compared(
            f"{name}_p95",
            f"at most {P95_AIM_S} s",
            _p95(ours),
            "s",
            ("aim", P95_AIM_S),
            limit=1.0,
            more={"bare": _p95(bare)},
        ),
    ]
