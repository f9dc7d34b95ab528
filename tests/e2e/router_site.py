"""Routers of the lab on the network, and the files of an agent for them: what tests of each access method share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from lab.router.device import Router
from lab.router.server import Endpoint, serve
from tests.e2e.files import PATIENT, Files, Waits, make_files
from tests.e2e.site import AgentProgram, Json, Office
from tests.e2e.test_routers import PASSWORD, billing_row, ref, until


def isp_router(name: str, version: str) -> Router:
    """A router whose list `suspended` is dropped above FastTrack, and a user for the agent."""
    router = Router(version, identity=name, serial=f"SERIAL-{name}")
    rules = "/ip/firewall/filter"
    router.add(rules, chain="forward", action="accept", src_address_list="suspended", dst_address_list="pay-page")
    router.add(rules, chain="forward", action="drop", src_address_list="suspended")
    router.add(rules, chain="forward", action="fasttrack-connection", connection_state="established,related")
    router.add("/user/group", name="ispagents", policy="read,write,api")
    router.add("/user", name="ispagents", password=PASSWORD, group="ispagents")
    return router


@asynccontextmanager
async def served(
    folder: Path,
    routers: Mapping[str, Router],
    methods: str,
    logins: Mapping[str, str],
    waits: Waits = PATIENT,
) -> AsyncIterator[Files]:
    """Serve routers by TLS. `methods`: the access methods' sections; `logins`: `NAME@METHOD` -> login on the router."""
    async with trio.open_nursery() as nursery:
        text = ""
        for name, router in routers.items():
            endpoint: Endpoint = await nursery.start(partial(serve, router, tls=True))
            text += (
                f'[routeros.{name}]\nhost = "{endpoint.host}"\nport = {endpoint.port}\nuser = "ispagents"\n'
                f'secret = "routeros/{name}"\nfingerprint = "{endpoint.fingerprint}"\nserial = "SERIAL-{name}"\n'
                f"timeout_s = {waits.answer_s}\n"
            )
        files = make_files(folder, text + methods, [], {f"routeros/{name}": PASSWORD for name in routers})
        rows = {ref(who): billing_row(who) | {"login": login} for who, login in logins.items()}
        files.billing.rows.update(rows)
        files.billing.write()
        yield files
        nursery.cancel_scope.cancel()


async def killed_with_a_command(files: Files, router: Router, command: str, who: str) -> Json:
    """Suspend, with the agent killed at the instant that the router has run `command`; return the change at its end."""
    office, programs = Office(files), [AgentProgram(files)]
    try:
        await trio.to_thread.run_sync(programs[0].wait_ready)
        await office.install()
        asked = await office.ask("suspend", ref(who))
        router.faults.inject("drift", match=command, drift=lambda _: programs[0].kill())
        await office.approve(asked, "joseph")
        await until(lambda: programs[0].ended)
        programs.append(AgentProgram(files))
        await trio.to_thread.run_sync(programs[1].wait_ready)
        return await office.wait_end(asked)
    finally:
        for program in programs:
            program.stop()
