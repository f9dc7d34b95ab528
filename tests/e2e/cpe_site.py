"""CPE of the lab on the line, and the files of an agent with an ACS for them."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import trio

from agent.connectors.cwmp.connector import CwmpConnector
from agent.cpe_model import effects
from lab.cpe.client import Cpe
from lab.cpe.device import Device
from lab.cpe.quirks import Quirks
from lab.cpe.state import Identity
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181
from tests.builders.people import plan_of
from tests.e2e.files import Files, make_files
from tests.e2e.router_site import billing_row, ref
from tests.e2e.site import Json, MovableClock, Office, Site, check_log, open_site
from trust import envelope as envelopes
from trust import statements
from trust.items import open_items_untrusted
from trust.policy import Action
from trust.render import render_preview
from trust.statements import Plan, Standing, StandingEvidence

SHARED = "shared-by-all-new-cpe"
OUI = "02AC5F"
ACS = """
[cwmp]
listen = "127.0.0.1"
port = 0
user = "cpe"
secret = "cwmp/shared"
request_networks = ["127.0.0.0/8"]
"""
WHO = "amina@ppp"


def free_port() -> int:
    """Return a port that nobody listens on: an agent that is started again must listen where its CPE call."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def acs_files(folder: Path, more: str = "", *, port: int = 0) -> Files:
    """Return the files of an agent that has an ACS and nothing else, with one subscriber."""
    files = make_files(folder, ACS.replace("port = 0", f"port = {port}") + more, [], {"cwmp/shared": SHARED})
    files.billing.rows[ref(WHO)] = billing_row(WHO)
    files.billing.write()
    return files


def device(url: str, serial: str, *, root: str = "Device.", quirks: Quirks | None = None, **more: Any) -> Device:
    """Return a CPE as it comes from its factory."""
    model = tr181() if root == "Device." else tr098()
    return Device(
        Identity(
            serial,
            oui=OUI,
            product_class=more.pop("product_class", "LabGate"),
            software=more.pop("software", "1.0.0"),
        ),
        model,
        url=url,
        username="cpe",
        password=SHARED,
        interval_s=more.pop("interval_s", 300),
        quirks=quirks or Quirks(),
        **more,
    )


def name(serial: str, product_class: str = "LabGate") -> str:
    return f"{OUI}-{product_class}-{serial}"


@dataclass
class CpeSite:
    """An agent with an ACS, and CPE that call it."""

    site: Site
    acs: CwmpConnector
    nursery: trio.Nursery
    cpes: dict[str, Cpe] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.acs.listens_on}/acs"

    @staticmethod
    def within() -> dict[str, int]:
        """Return how long each effect may take, to be made shorter by a test."""
        return cast("dict[str, int]", effects.WITHIN_S)

    async def plug_in(self, serial: str, **options: Any) -> Cpe:
        """Switch a new CPE on; return once its first session is over."""
        listens = options.pop("listens", True)
        made = device(self.url, serial, **options)
        cpe = Cpe(made, boot_s=0.0, backoff_scale=0.01, listens=listens)
        self.cpes[made.identity.serial] = cpe
        await self.nursery.start(lambda task_status: cpe.run(task_status=task_status))
        with trio.fail_after(60):
            await cpe.wait_sessions(1)
        return cpe

    async def accept(self, serial: str, service: str = "", product_class: str = "LabGate") -> Json:
        """Accept a CPE, have it call in and be read."""
        await accept(self.site, name(serial, product_class), service)
        return await self.refresh(serial, product_class=product_class)

    def calls_for(self, cpe: str) -> bool:
        """Return whether the ACS has called for a CPE, which it does as soon as somebody waits for it."""
        return self.acs.fleet.last_request(cpe) is not None

    async def refresh(self, serial: str, *names: str, product_class: str = "LabGate") -> Json:
        """Read a CPE that calls in meanwhile."""
        found: Json = {}
        cpe = name(serial, product_class)

        async def look() -> None:
            found.update(
                await self.site.call("POST", f"/v1/cpes/{cpe}/refresh", {"names": list(names), "timeout_s": 20})
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await until(lambda: self.calls_for(cpe))
            await self.cpes[serial].call_in("2 PERIODIC")
        return found


async def accept(office: Office, cpe: str, service: str = "") -> Json:
    """Accept a CPE, by its name, as people do: one asks, another approves; return the change.

    `service`: that it serves from then on; "": the one that it serves already.
    """
    change = await office.ask("cpe-accept", cpe, settings={"service": service} if service else {})
    await office.approve(change, "joseph")
    done = await office.wait_end(change)
    assert [item["state"] for item in done["items"]] == ["applied"], done
    return done


async def admit(office: Office, cpe: str) -> Json:
    """Let a CPE in, by its name, as one person may: no secret goes into it."""
    shown: Json = await office.call("POST", f"/v1/cpes/{cpe}/decide", {"trust": "accepted", "forget": False})
    return shown


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once it holds."""
    with trio.fail_after(seconds):
        while not holds():  # noqa: ASYNC110  what is looked at tells nobody
            await trio.sleep(0.01)


@asynccontextmanager
async def acs_site(
    folder: Path,
    more: str = "",
    *,
    clock: MovableClock | None = None,
    files: Files | None = None,
    install: bool = True,
) -> AsyncIterator[CpeSite]:
    """Run an agent with an ACS for the block; its log adds up at the end. `files`: of it, if it has more than that."""
    found = files or acs_files(folder, more)
    async with open_site(found, clock=clock, install=install) as site, trio.open_nursery() as nursery:
        acs = site.daemon.sessions.connector("cwmp/")
        assert isinstance(acs, CwmpConnector)
        await acs.port.wait()
        yield CpeSite(site, acs, nursery)
        nursery.cancel_scope.cancel()
        await check_log(site)


SSID = "Device.WiFi.SSID.1.SSID"


async def at_home(at: CpeSite, serial: str = "LAB0001", **options: Any) -> Cpe:
    """Return a CPE that serves a subscriber, accepted and read once."""
    cpe = await at.plug_in(serial, **options)
    await at.accept(serial, ref(WHO))
    return cpe


async def calls_now_and_then(cpe: Cpe) -> None:
    """Let a CPE call in every second, without an end."""
    while True:
        await trio.sleep(1)
        await cpe.call_in("2 PERIODIC")


async def sent(at: CpeSite, cpe: Cpe, change: Json, *who: str) -> Json:
    """Approve a change, have the CPE call in, and return the change at its end."""
    await at.site.approve(change, *(who or ("joseph",)))
    await at.site.wait_for(change, lambda c: c["items"][0]["state"] != "planned")
    await cpe.call_in("2 PERIODIC")
    return await at.site.wait_end(change)


def standing(at: CpeSite, **fields: object) -> bytes:
    """Return a standing authority for baselines, signed by two people."""
    people = at.site.people
    now = people.now_s // 60
    made = Standing(
        people.trust_id,
        secrets.token_hex(16),
        Action.CPE_SET,
        "joseph",
        ("all",),
        StandingEvidence.BASELINE_DUE,
        10,
        now,
        now + 60,
    )
    return envelopes.encode(statements.sign(made, [people.keys["joseph"], people.keys["lena"]]))


async def changes(at: CpeSite) -> list[Json]:
    """Return the changes but acceptances, the newest first."""
    found: list[Json] = await at.site.call("GET", "/v1/changes")
    return [change for change in found if change["action"] != "cpe-accept"]


def preview_of(change: Json) -> str:
    """Return what an approver reads of a change, unwrapped."""
    plan = statements.decode_as_untrusted(Plan, plan_of(change))
    documents = [d.encode() for d in change["documents"]]
    return render_preview(
        plan, open_items_untrusted(documents, bytes.fromhex(plan.items_root), plan.plan_id), "X", 9999
    )
