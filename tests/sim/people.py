"""People at work in a world: they ask for changes, approve them, and some think better of it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.builders.people import plan_of
from tests.e2e.site import ApiRefusedError, Json
from tests.sim.judge import Asked
from tests.sim.part import WorldAct
from tests.sim.world import AgentAwayError, World

REQUESTER = "maria"
PATIENCE_S = 300.0
"""How long people try again while the agent is away."""
LOOK_S = 20.0
"""How often somebody who waits looks at a change."""
RETRIED = frozenset({"set-not-enforced"})
"""States of items that a retry tries again, and below those of items that belong to the rest of a change."""
REST = frozenset({"stale", "cancelled", "expired", "not-applied"})
WITH_REST = frozenset({"suspend", "restore", "set-plan", "disconnect"})


def _subjects(change: Json) -> frozenset[str]:
    """Return the services that a previewed change is about."""
    return frozenset(item["service"] for item in change["items"] if item["state"] == "planned")


@dataclass
class Desk:
    """What people asked for, by plan."""

    world: World
    asked: dict[str, Asked] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    away: int = 0
    """How often the agent was away when somebody asked: what it died over, it may have taken."""
    changes: list[Json] = field(default_factory=list)
    """The changes that people asked for and sent to approvers, in order."""
    _asks: int = 0

    async def work(self, asks: int, within_s: float) -> None:
        """Ask for so many changes, each at a moment of its own, and see them approved."""
        async with trio.open_nursery() as nursery:
            for n in range(self._asks, self._asks + asks):
                dice = random.Random(f"{self.world.options.seed} ask {n}")
                if self.world.is_busy(f"ask {n}"):
                    nursery.start_soon(self._ask, dice, within_s)
            self._asks += asks

    async def _ask(self, dice: random.Random, within_s: float) -> None:
        await trio.sleep(dice.uniform(0, within_s))
        action = dice.choice(("suspend", "suspend", "restore"))
        services = dice.sample(self.world.services, dice.choice((1, 1, 2, 4)))
        reason = dice.choice(("debt", "debt", "abuse"))
        try:
            change = await self.patiently(lambda: self.world.office.ask(action, *services, reason=reason))
        except ApiRefusedError as err:
            self.refused.append(err.code)
            return
        if change is None:
            return
        await self.see_through(change, action, _subjects(change), dice, reason)

    async def see_through(
        self, change: Json, action: str, subjects: frozenset[str], dice: random.Random, reason: str = ""
    ) -> Asked:
        """Approve a previewed change, as its policy needs; now and then cancel it, or retry what is not enforced.

        Returns it as the judge is told of it. `subjects`: as in `Asked`.
        """
        asked = self._note(change, action, subjects)
        asked.reason = reason
        self.world.trace(f"people: {action} {' '.join(sorted(subjects))}: {asked.plan[:6]}")
        await trio.sleep(dice.uniform(0, 20))
        if dice.random() < 0.15:
            await self._approve(change, asked, REQUESTER)  # who asked: that must not count
            await trio.sleep(dice.uniform(0, 20))
        await self._approve_all(change, asked)
        if dice.random() < 0.15:
            await trio.sleep(dice.uniform(0, dice.choice((3, 30))))  # the second step of an item may take so long
            await self._cancel(change, asked)
        elif dice.random() < 0.5:
            await trio.sleep(dice.uniform(60, 150))
            await self._retry(change)
        return asked

    async def approve(self, change: Json, action: str, reason: str = "debt") -> None:
        """Approve a previewed change of services at once, as its policy needs."""
        asked = self._note(change, action, _subjects(change))
        asked.reason = reason
        self.world.trace(f"people: {action} {' '.join(sorted(asked.subjects))} at once: {asked.plan[:6]}")
        await self._approve_all(change, asked)

    async def over(self, change: Json, within_s: float) -> Json | None:
        """Return a change that is over, with its items; None: it is not so in time, or not known any more."""
        until = trio.current_time() + within_s
        while True:
            found: Json | None = await self.calmly(lambda: self.world.office.show(change))
            if found is None or found["finished"]:
                return found
            if trio.current_time() >= until:
                return None
            await trio.sleep(LOOK_S)

    async def calmly(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """Return what an act returns, tried as by `patiently`; None: it was refused, too."""
        try:
            return await self.patiently(act)
        except ApiRefusedError as err:
            self.refused.append(err.code)
            self.world.trace(f"people: refused: {err}")
            return None

    async def _approve_all(self, change: Json, asked: Asked) -> None:
        for who in ("joseph", "lena")[: max(1, change["need"])]:
            await self._approve(change, asked, who)

    async def _retry(self, change: Json) -> None:
        """Retry what is set and not enforced, as its text advises."""
        office = self.world.office
        try:
            found = await self.patiently(lambda: office.show(change))
        except ApiRefusedError as err:
            self.refused.append(err.code)
            return
        if found is None or not any(item["state"] == "set-not-enforced" for item in found["items"]):
            return
        self.world.trace(f"people: retry {change['id']}")
        try:
            await self.patiently(lambda: office.call("POST", f"/v1/changes/{change['id']}/retry", {}))
        except ApiRefusedError as err:
            self.refused.append(err.code)

    def _note(self, change: Json, action: str, subjects: frozenset[str]) -> Asked:
        plan = change["plan_id"]
        self.changes.append(change)
        asked = self.asked[plan] = Asked(plan, action, subjects, max(1, change["need"]))
        asked.by_standing = bool(change["standing"])
        return asked

    async def _approve(self, change: Json, asked: Asked, who: str) -> None:
        world = self.world
        world.sign_now()
        statement = world.office.approval(change, who)
        at, away = trio.current_time(), self.away
        if who != change["requester"]:
            asked.approved_at.append(at)  # where the agent dies over it, it may have been taken
        try:
            answers = await self.patiently(lambda: world.office.hand_in(statement, change["id"]))
        except ApiRefusedError as err:  # a change that the agent does not know any more
            self.refused.append(err.code)
            self._not_taken(asked, at, away)
            return
        said = "nobody answered" if answers is None else answers[0]["reason"] or "taken"
        world.trace(f"people: {who} approves {asked.plan[:6]}: {said}")
        asked.unsure += answers is None and who != change["requester"]
        if answers is not None and not answers[0]["accepted"] and answers[0]["reason"] != "already-approved":
            self.refused.append(str(answers[0]["reason"]))
            self._not_taken(asked, at, away)

    def _not_taken(self, asked: Asked, at: float, away: int) -> None:
        """Note that an approval was refused; an agent that died over it may have taken it before."""
        if at not in asked.approved_at:
            return
        if self.away == away:
            asked.approved_at.remove(at)
        else:
            asked.unsure += 1

    async def _cancel(self, change: Json, asked: Asked) -> None:
        world = self.world
        world.sign_now()
        statement = world.files.people.cancel(plan_of(change), "lena")
        asked.cancel_sent_at = trio.current_time()
        try:
            answers = await self.patiently(lambda: world.office.hand_in(statement))
        except ApiRefusedError as err:
            self.refused.append(err.code)
            return
        if answers is not None and answers[0]["accepted"]:
            asked.cancelled_at = trio.current_time()
            world.trace(f"people: cancelled {asked.plan[:6]}")

    async def patiently(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """Return what an act returns, tried again while the agent is away; None: it stayed away."""
        with trio.move_on_after(PATIENCE_S):
            while True:
                try:
                    return await act()
                except AgentAwayError:
                    self.away += 1
                    await trio.sleep(3)
        return None


# --- a late retry -----------------------------------------------------------------------------------------------------


async def go_on(desk: Desk, change: Json, dice: random.Random) -> None:
    """Retry an old change if some of it can be retried; otherwise ask for the rest of it as a new change."""
    world, office = desk.world, desk.world.office
    if _states(change) & RETRIED:
        world.trace(f"people: retry {change['id']} late")
        await desk.calmly(lambda: office.call("POST", f"/v1/changes/{change['id']}/retry", {}))
        return
    world.trace(f"people: the rest of {change['id']} again")
    rest = await desk.calmly(lambda: office.ask(change["action"], change=change["id"]))
    if rest is not None:
        await desk.see_through(rest, change["action"], _subjects(rest), dice, change["reason"].lstrip("+-"))


async def find_late(desk: Desk, dice: random.Random, states: frozenset[str]) -> Json | None:
    """Return an older change that is over, with an item in one of these states; None: there is none."""
    older = desk.changes[: max(1, len(desk.changes) * 2 // 3)]
    for change in dice.sample(older, len(older)):
        found = await desk.over(change, 0.0)
        if found is not None and found["action"] in WITH_REST and _states(found) & states:
            return found
    return None


def _states(change: Json) -> set[str]:
    return {item["state"] for item in change["items"]}


async def _retry_late(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Go on with a change that was over long ago, whatever others have done since to its services."""
    await trio.sleep(dice.uniform(0.3, 1.0) * within_s)
    found = await find_late(desk, dice, RETRIED) or await find_late(desk, dice, REST)
    if found is not None:
        await go_on(desk, found, dice)


RETRY_LATE = WorldAct("late retry", _retry_late, times=2)
