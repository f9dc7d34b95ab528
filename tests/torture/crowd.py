"""Several people at once ask for contradictory things of the same few lines, while the agent dies."""

from __future__ import annotations

import random

import trio

from agent.runtime.errors import ClientError
from lab.truth import NextLogin
from tests.builders.people import plan_of
from tests.e2e.files import ref_of
from tests.e2e.site import ApiRefusedError, Json
from tests.servers import MariaDB, PostgreSQL
from tests.torture.radius_judge import judge_all, judge_rest
from tests.torture.radius_site import RadiusSite, radius_site
from tests.torture.rounds import Round, Servers

LINES, PEOPLE = 8, 4
PACE = 1
"""A second: changes overlap, so that a later one meets items of an earlier one that have not begun."""
DEEDS = ("suspend", "suspend", "restore", "restore", "revert", "cancel", "disconnect")


class Crowd:
    """People in front of one agent. `changes`: what all of them asked for."""

    def __init__(self, site: RadiusSite) -> None:
        self.changes: list[Json] = []
        self._site = site

    async def work(self, dice: random.Random) -> None:
        """Ask, approve and cancel until cancelled."""
        count = self._site.round.count
        while True:
            await trio.sleep(0.4 * dice.random())
            deed = dice.choice(DEEDS)
            try:
                await self._one(deed, dice)
                count[f"people: {deed}"] += 1
            except ApiRefusedError as err:
                count[f"refused: {err.code}"] += 1
            except (ClientError, OSError):
                count["nobody answered"] += 1

    async def _one(self, deed: str, dice: random.Random) -> None:
        office, people = self._site.lives.office, self._site.lives.files.people
        lines = dice.sample(self._site.services, dice.choice((1, 1, 2, 4, 6)))
        refs = [ref_of(line) for line in lines]
        if deed in ("revert", "cancel"):
            if not self.changes:
                return
            change = dice.choice(self.changes)
            if deed == "cancel":
                await office.hand_in(people.cancel(plan_of(change), "maria"), change["id"])
                return
            change = await office.ask("revert", reason="", change=change["id"], on_failure="continue")
        else:
            reason = "" if deed == "disconnect" else dice.choice(("debt", "debt", "abuse"))
            change = await office.ask(deed, *refs, reason=reason, on_failure="continue")
        self.changes.append(change)
        for who in ("joseph", "lena")[: max(1, change["need"])]:
            await office.hand_in(office.approval(change, who), change["id"])


def judge_lines(site: RadiusSite, answers: dict[str, NextLogin | None]) -> None:
    """Judge that record, rows and sessions of every line agree, though nobody knows who had the last word."""
    suspended = site.lives.file.suspended()
    for service, login in site.logins.items():
        answer, sessions = answers[login], site.isp.sessions(login)
        if answer is not None and answer.walled is not (service in suspended):
            said = f"on record as {'suspended' if service in suspended else 'active'}"
            site.round.wrong("forgotten", said, service, f"FreeRADIUS: {answer}")
        site.round.count["sessions at odds"] += any(s.walled is not (service in suspended) for s in sessions)


async def play(kind: type[PostgreSQL | MariaDB], about: Round, servers: Servers) -> None:
    """Play a round."""
    async with radius_site(about, servers.of(kind), services=LINES, pace=PACE) as site:
        crowd = Crowd(site)
        with trio.move_on_after(about.chaos_s):
            async with trio.open_nursery() as busy:
                if about.dice("kills").random() < 0.7:
                    about.faults.append("kills")
                    busy.start_soon(site.lives.die_again_and_again, about.dice("kills"))
                for n in range(PEOPLE):
                    busy.start_soon(crowd.work, about.dice(f"person {n}"))
        about.say("the people go home")
        if not await site.lives.settled(about.settle_s):
            about.wrong("restless", f"{site.lives.file.unfinished()} {about.settle_s:.0f} s after the last ask")
        await trio.sleep(3)
        await site.lives.check_rest()
        await judge_rest(site)
        judge_lines(site, await site.logins_now())
        await judge_all(site)
        for item in site.lives.file.items():
            about.count[f"= {item.state}"] += 1
