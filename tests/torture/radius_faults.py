"""What befalls a RADIUS site beside the agent's own deaths. Each fault goes on until it is cancelled, then is over."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import trio

from tests.servers import FreeRadius, MariaDB, PostgreSQL
from tests.torture.radius_site import RadiusSite
from tests.torture.rounds import in_keeper
from tests.torture.ways import Air, cuts

Act = Callable[[RadiusSite, random.Random], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SiteFault:
    """A fault, by name."""

    name: str
    act: Act


async def _database_killed(site: RadiusSite, dice: random.Random) -> None:
    """SIGKILL to every process of it: what was committed must be there when it comes back."""
    while True:
        await trio.sleep(0.5 + 5 * dice.random())
        with trio.CancelScope(shield=True):
            await in_keeper(site.server.kill)
            site.round.count["database killed"] += 1
            await trio.sleep(2 * dice.random())
            await in_keeper(site.server.start_again)


async def _database_restarted(site: RadiusSite, dice: random.Random) -> None:
    while True:
        await trio.sleep(1 + 6 * dice.random())
        with trio.CancelScope(shield=True):
            await in_keeper(site.server.stop)
            site.round.count["database restarted"] += 1
            await trio.sleep(3 * dice.random())
            await in_keeper(site.server.start_again)


def _stopped(server_of: Callable[[RadiusSite], PostgreSQL | MariaDB | FreeRadius], most_s: float) -> Act:
    """Return a fault that stops a server's processes for a while, again and again."""

    async def act(site: RadiusSite, dice: random.Random) -> None:
        while True:
            await trio.sleep(1 + 4 * dice.random())
            server = server_of(site)
            server.pause()
            site.round.count[f"{type(server).__name__} stopped"] += 1
            try:
                await trio.sleep(0.5 + most_s * dice.random())
            finally:
                server.resume()

    return act


async def _sql_cut(site: RadiusSite, dice: random.Random) -> None:
    """Cut the connection at the statements that matter, before they pass, after, or before what is answered."""
    site.way.rules = [
        *cuts(0.05, "INSERT INTO radusergroup|DELETE FROM radusergroup"),
        *cuts(0.06, "COMMIT"),
        *cuts(0.01, "SELECT"),
    ]
    try:
        await trio.sleep_forever()
    finally:
        site.way.rules = ()


async def _sql_gone(site: RadiusSite, dice: random.Random) -> None:
    """Break all connections, let them stand still, or take none for a while."""
    try:
        while True:
            await trio.sleep(0.5 + 3 * dice.random())
            match dice.randrange(3):
                case 0:
                    site.way.cut_once()
                    continue
                case 1:
                    site.way.cut()
                case _:
                    site.way.freeze()
            site.round.count["way gone"] += 1
            await trio.sleep(3 * dice.random())
            site.way.mend()
    finally:
        site.way.mend()


def _coa(air: Air) -> Act:
    """Return a fault of the ways to the NAS."""

    async def act(site: RadiusSite, dice: random.Random) -> None:
        before = {name: way.air for name, way in site.coa.items()}
        for way in site.coa.values():
            way.air = air
        try:
            await trio.sleep_forever()
        finally:
            for name, way in site.coa.items():
                way.air = before[name]

    return act


def _at_nas(text: str) -> Act:
    """Return a fault of `lab.faults`, for about half of the logins."""

    async def act(site: RadiusSite, dice: random.Random) -> None:
        chosen = [s.login for s in site.services if dice.random() < 0.5]
        for login in chosen:
            site.isp.set_fault(text, login)
        try:
            await trio.sleep_forever()
        finally:
            for login in chosen:
                site.isp.clear_faults(login)

    return act


async def _staff(site: RadiusSite, dice: random.Random) -> None:
    """Let staff edit the rows of every fourth login, and their CPE come and go."""
    victims = [s.login for s in site.services[::4]]
    while True:
        await trio.sleep(0.8 * dice.random())
        await site.act(dice.choice(victims), dice)


FAULTS: Final = (
    SiteFault("database-killed", _database_killed),
    SiteFault("database-restarted", _database_restarted),
    SiteFault("database-stopped", _stopped(lambda site: site.server, 8)),
    SiteFault("radius-stopped", _stopped(lambda site: site.radius, 3)),
    SiteFault("sql-cut", _sql_cut),
    SiteFault("sql-gone", _sql_gone),
    SiteFault("coa-lost", _coa(Air(lost=0.3))),
    SiteFault("coa-doubled", _coa(Air(doubled=0.5, late=0.3, late_s=1.0))),
    SiteFault("coa-late", _coa(Air(late=0.5, late_s=4.0))),
    SiteFault("staff", _staff),
    SiteFault("start-lost", _at_nas("start-lost")),
    SiteFault("stop-lost", _at_nas("stop-lost")),
    SiteFault("accounting-lossy", _at_nas("accounting-lost:50")),
    SiteFault("reply-lost", _at_nas("reply-lost")),
    SiteFault("nas-slow", _at_nas("slow:4")),
    SiteFault("nas-refuses", _at_nas("nak:504")),
    SiteFault("ack-without-effect", _at_nas("ack-without-effect")),
    SiteFault("no-redial", _at_nas("no-redial")),
)
PAIRS: Final = tuple(combinations(range(len(FAULTS)), 2))
OF_THE_SERVER = ("database-killed", "database-restarted", "database-stopped")
"""At most one of them at a time: one would start what another one stopped."""


def named(names: Sequence[str]) -> tuple[SiteFault, ...]:
    """Return faults by their names."""
    by_name = {fault.name: fault for fault in FAULTS}
    return tuple(by_name[name] for name in names)


def drawn(seed: int) -> tuple[SiteFault, ...]:
    """Return the faults of a seed, one to three; consecutive seeds go through the pairs."""
    dice = random.Random(f"site faults {seed}")
    chosen = [FAULTS[n] for n in PAIRS[seed * 61 % len(PAIRS)]]
    if dice.random() < 0.15:
        chosen = chosen[:1]
    elif dice.random() < 0.4:
        chosen.append(dice.choice(FAULTS))
    found: list[SiteFault] = []
    for fault in chosen:
        both = fault.name in OF_THE_SERVER and any(f.name in OF_THE_SERVER for f in found)
        if fault not in found and not both:
            found.append(fault)
    return tuple(found)
