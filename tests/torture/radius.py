"""Suspensions and their reverts on a real PostgreSQL or MariaDB with a real FreeRADIUS, while everything breaks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio

from tests.e2e.files import ref_of
from tests.e2e.site import Json
from tests.servers import MariaDB, PostgreSQL
from tests.torture.radius_faults import SiteFault, drawn, named
from tests.torture.radius_judge import judge_all, judge_rest
from tests.torture.radius_site import RadiusSite, radius_site
from tests.torture.rounds import Round, Servers


async def changed(site: RadiusSite, faults: Sequence[SiteFault], action: str, *refs: str, **fields: object) -> Json:
    """Have a change made while everything breaks; judge what is at rest; return it."""
    change = await site.lives.approved(action, *refs, **fields)
    acts = {fault.name: partial(fault.act, site) for fault in faults}
    await site.lives.through_chaos(action, acts)
    if await site.lives.end_of(change) is not None:
        await judge_rest(site)
    return change


async def back_as_before(site: RadiusSite) -> None:
    """Let everybody dial who is away: the next change finds people online."""
    for service in site.services:
        if not site.isp.sessions(service.login):
            site.foreign.setdefault(service.login, []).append(trio.current_time())
            await site.isp.nas_of(service.login).dial_all([service.login])


async def play(kind: type[PostgreSQL | MariaDB], about: Round, servers: Servers) -> None:
    """Play a round on a kind of database server."""
    faults = named(about.wanted) or drawn(about.seed)
    about.faults = [fault.name for fault in faults]
    async with radius_site(about, servers.of(kind), services=about.services) as site:
        change = await changed(site, faults, "suspend", *[ref_of(s) for s in site.services])
        await back_as_before(site)
        await changed(site, faults, "revert", change=change["id"])
        await judge_all(site)
        _count(site)


def _count(site: RadiusSite) -> None:
    for item in site.lives.file.items():
        site.round.count[f"= {item.state}"] += 1
    site.round.count["rows"] += sum(c.by_agent for c in site.audit.changes)
