"""What every connector must do, whatever system it talks to. `CHECKS` run against each lab of `test_conformance`.

A lab is a connector with its system behind it, and hands to change that system behind the connector's back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest
import trio

from agent.connectors.base import (
    Connector,
    DriftedError,
    Enforced,
    LostError,
    NotSentError,
    RecipePlan,
    Session,
)
from agent.model import (
    ABSENT,
    Absent,
    Access,
    Address,
    Direction,
    Effect,
    SecretRef,
    Seen,
    Service,
    ServiceState,
    Step,
    Ticket,
    Transition,
)


class Lab(Protocol):
    """A connector under test."""

    connector: Connector
    online: Service
    """A service with one open session, which redials when it is ended."""
    offline: Service
    """A service without a session."""
    unknown: Address
    """A resource that is not there."""
    secrets: tuple[str, ...]
    """Secrets of the system, in clear."""

    def session(self) -> AbstractAsyncContextManager[Session]:
        """Lend a session."""
        ...

    def drift(self, service: Service) -> None:
        """Change the service's resource behind the connector's back."""
        ...

    def lose_reply(self, service: Service) -> None:
        """Let the service's next disconnect take effect and its reply be lost."""
        ...

    def lose_command(self, service: Service) -> None:
        """Let the service's disconnects be lost on the way until `mend`."""
        ...

    def mend(self) -> None:
        """Let everything work again."""
        ...


async def seen_for(lab: Lab, session: Session, service: Service) -> dict[Address, Seen]:
    """Read all that the recipe asks for."""
    recipe, seen = lab.connector.recipes[service.method], dict[Address, Seen]()
    while missing := list(recipe.reads(service, seen)):
        seen |= await session.read(missing)
    return seen


async def plan_for(lab: Lab, session: Session, service: Service, access: Access) -> RecipePlan:
    recipe = lab.connector.recipes[service.method]
    plan = recipe.plan(ServiceState(access, service.tariff), service, await seen_for(lab, session, service))
    assert isinstance(plan, RecipePlan), plan
    return plan


def write_of(plan: RecipePlan) -> tuple[Transition, ...]:
    [write] = [s.do for s in plan.steps if not isinstance(s.do, Effect)]
    return write


def kick_of(plan: RecipePlan) -> Effect:
    [kick] = [s.do for s in plan.steps if isinstance(s.do, Effect)]
    return kick


def ticket(
    do: tuple[Transition, ...] | Effect, step: Step, bound: Mapping[Address, Seen] | None = None, attempt: int = 1
) -> Ticket:
    """Return leave to send. `deadline_s` is never."""
    return Ticket("0" * 32, 1, step.n, Direction.FORWARD, attempt, step.target, do, bound or {}, float("inf"))


async def apply(lab: Lab, session: Session, service: Service, access: Access) -> dict[Address, Seen]:
    """Send a plan's steps; return what its effects were bound to."""
    ended: dict[Address, Seen] = {}
    for step in (await plan_for(lab, session, service, access)).steps:
        bound = await session.bind(step.do) if isinstance(step.do, Effect) else {}
        ended |= bound
        if bound or not isinstance(step.do, Effect):
            assert (await session.send(ticket(step.do, step, bound))).accepted
    return ended


# --- checks ---


async def unknown_reads_absent(lab: Lab) -> None:
    async with lab.session() as session:
        seen = await session.read([lab.unknown])
    assert seen[lab.unknown].value is ABSENT


async def reads_answer_exactly_what_was_asked(lab: Lab) -> None:
    async with lab.session() as session:
        asked = [*(await seen_for(lab, session, lab.online)), *(await seen_for(lab, session, lab.offline)), lab.unknown]
        asked = list(dict.fromkeys(asked))
        together = await session.read(asked)
        alone = {a: (await session.read([a]))[a] for a in asked}
        assert await session.read([]) == {}
    assert set(together) == set(asked)
    assert {a: s.value for a, s in together.items()} == {a: s.value for a, s in alone.items()}
    assert all(s.live for s in together.values())


async def many_readers_at_once_agree(lab: Lab) -> None:
    got: list[Mapping[Address, Seen]] = []
    async with lab.session() as session:
        asked = list(await seen_for(lab, session, lab.online))

        async def read() -> None:
            got.append(await session.read(asked))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * lab.connector.traits.window):
                nursery.start_soon(read)
    assert all({a: s.value for a, s in g.items()} == {a: s.value for a, s in got[0].items()} for g in got)


async def a_write_reads_back_equal_and_its_inverse_restores(lab: Lab) -> None:
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.offline, Access.SUSPENDED)
        writes = write_of(plan)
        addresses = [w.address for w in writes]
        before = await session.read(addresses)
        assert {w.address: w.before.value for w in writes} == {a: s.value for a, s in before.items()}
        assert (await session.send(ticket(writes, plan.steps[0]))).accepted
        after = await session.read(addresses)
        assert {a: s.value for a, s in after.items()} == {w.address: w.after for w in writes}
        back = tuple(Transition(w.address, after[w.address], w.before.value) for w in reversed(writes))
        await session.send(ticket(back, plan.steps[0]))
        again = await session.read(addresses)
        assert {a: s.value for a, s in again.items()} == {a: s.value for a, s in before.items()}


async def drift_is_told_and_nothing_is_written(lab: Lab) -> None:
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.offline, Access.SUSPENDED)
        writes = write_of(plan)
        lab.drift(lab.offline)
        there = (await session.read([writes[0].address]))[writes[0].address]
        assert there.value != writes[0].before.value, "the lab did not drift"
        with pytest.raises(DriftedError) as caught:
            await session.send(ticket(writes, plan.steps[0]))
        assert caught.value.reason == "drifted"
        assert caught.value.observed[writes[0].address].value == there.value
        assert (await session.read([writes[0].address]))[writes[0].address].value == there.value


async def a_sent_write_cannot_be_sent_again(lab: Lab) -> None:
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.offline, Access.SUSPENDED)
        writes = write_of(plan)
        await session.send(ticket(writes, plan.steps[0]))
        with pytest.raises(DriftedError):
            await session.send(ticket(writes, plan.steps[0], attempt=2))


async def only_one_of_many_equal_writes_wins(lab: Lab) -> None:
    if not lab.connector.traits.conditional:
        return
    results: list[str] = []
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.offline, Access.SUSPENDED)

        async def send() -> None:
            try:
                await session.send(ticket(write_of(plan), plan.steps[0]))
                results.append("wrote")
            except DriftedError:
                results.append("drifted")

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(send)
    assert sorted(results) == ["drifted"] * 4 + ["wrote"]


async def bind_returns_what_is_there(lab: Lab) -> None:
    async with lab.session() as session:
        online = kick_of(await plan_for(lab, session, lab.online, Access.SUSPENDED))
        bound = await session.bind(online)
        assert len(bound) == 1
        there = await session.read(list(bound))
        assert {a: s.value for a, s in there.items()} == {a: s.value for a, s in bound.items()}
        recipe = lab.connector.recipes[lab.offline.method]
        kick = recipe.kick(lab.offline, await seen_for(lab, session, lab.offline))
        if isinstance(kick, RecipePlan) and kick.steps:
            assert await session.bind(kick_of(kick)) == {}


async def a_disconnect_of_a_bound_session_proves_gone(lab: Lab) -> None:
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
        kick = kick_of(plan)
        bound = await session.bind(kick)
        reply = await session.send(ticket(kick, plan.steps[-1], bound))
        assert reply.accepted
        assert all(s.value is ABSENT for s in (await session.read(list(bound))).values())


async def a_lost_reply_is_lost_not_unsent(lab: Lab) -> None:
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
        kick = kick_of(plan)
        bound = await session.bind(kick)
        lab.lose_reply(lab.online)
        with pytest.raises(LostError):
            await session.send(ticket(kick, plan.steps[-1], bound))
        with trio.fail_after(lab.connector.traits.settle_s + 5):
            await session.settle()
        assert all(s.value is ABSENT for s in (await session.read(list(bound))).values())


async def a_lost_command_may_be_sent_again_once_it_settled(lab: Lab) -> None:
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
        kick = kick_of(plan)
        bound = await session.bind(kick)
        lab.lose_command(lab.online)
        with pytest.raises(LostError):
            await session.send(ticket(kick, plan.steps[-1], bound))
        lab.mend()
        with trio.fail_after(lab.connector.traits.settle_s + 5):
            await session.settle()
        assert set(await session.bind(kick)) == set(bound)
        assert (await session.send(ticket(kick, plan.steps[-1], bound, attempt=2))).accepted
        assert all(s.value is ABSENT for s in (await session.read(list(bound))).values())


async def settle_returns_when_nothing_is_in_doubt(lab: Lab) -> None:
    async with lab.session() as session:
        with trio.fail_after(lab.connector.traits.settle_s + 5):
            await session.settle()
        await session.read([lab.unknown])  # and the session is as good as before


async def errors_tell_unsent_from_lost(lab: Lab) -> None:
    assert not issubclass(LostError, NotSentError)
    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
        strange = Effect(lab.unknown, "no-such-verb", {}, "k", kick_of(plan).replay, None, 1)
        before = await seen_for(lab, session, lab.online)
        with pytest.raises(NotSentError):
            await session.send(ticket(strange, plan.steps[-1]))
        after = await seen_for(lab, session, lab.online)
    assert {a: s.value for a, s in after.items()} == {a: s.value for a, s in before.items()}


async def applying_twice_changes_nothing(lab: Lab) -> None:
    async with lab.session() as session:
        for service in (lab.offline, lab.online):
            for access in (Access.SUSPENDED, Access.ACTIVE):
                await apply(lab, session, service, access)
                again = await plan_for(lab, session, service, access)
                assert not [s for s in again.steps if not isinstance(s.do, Effect)], "a plan of what is already so"


async def enforcement_is_judged_from_what_is_read(lab: Lab) -> None:
    recipe = lab.connector.recipes[lab.online.method]

    async def judged(service: Service, ended: Mapping[Address, Seen]) -> Enforced:
        assert plan.enforce is not None
        seen = dict(await session.read([plan.enforce.address]))
        while missing := [a for a in recipe.enforcement_reads(plan.enforce, seen) if a not in seen]:
            seen |= await session.read(missing)
        return recipe.judge(plan.enforce, seen, list(ended)).enforced

    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
        bound = await session.bind(kick_of(plan))
        assert await judged(lab.online, bound) is Enforced.NO  # its old session goes on
        await apply(lab, session, lab.online, Access.SUSPENDED)
        assert await judged(lab.online, bound) is not Enforced.NO
        plan = await plan_for(lab, session, lab.offline, Access.SUSPENDED)
        await apply(lab, session, lab.offline, Access.SUSPENDED)
        assert await judged(lab.offline, {}) is Enforced.PENDING


async def secrets_are_references(lab: Lab) -> None:
    async with lab.session() as session:
        seen = {**await seen_for(lab, session, lab.online), **await seen_for(lab, session, lab.offline)}
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
        refs = [f for s in seen.values() if not isinstance(s.value, Absent) for f in s.value.values()]
        said = [repr(seen), repr(plan), repr(session), repr(lab.connector), repr(lab.connector.recipes)]
    for secret in lab.secrets:
        assert not any(secret in text for text in said)
        assert secret not in refs
    if lab.secrets:
        assert any(isinstance(r, SecretRef) for r in refs)


async def addresses_are_the_targets_own(lab: Lab) -> None:
    targets = {t.id for t in lab.connector.targets}
    async with lab.session() as session:
        assert session.target.id in targets
        for service in (lab.online, lab.offline):
            recipe = lab.connector.recipes[service.method]
            assert recipe.target in targets
            plan = await plan_for(lab, session, service, Access.SUSPENDED)
            assert all(step.target == recipe.target for step in plan.steps)
            assert [s.n for s in plan.steps] == list(range(1, len(plan.steps) + 1))
            for address in await seen_for(lab, session, service):
                assert address.startswith(f"{recipe.target}/")


CHECKS: tuple[Callable[[Lab], Awaitable[None]], ...] = (
    unknown_reads_absent,
    reads_answer_exactly_what_was_asked,
    many_readers_at_once_agree,
    a_write_reads_back_equal_and_its_inverse_restores,
    drift_is_told_and_nothing_is_written,
    a_sent_write_cannot_be_sent_again,
    only_one_of_many_equal_writes_wins,
    bind_returns_what_is_there,
    a_disconnect_of_a_bound_session_proves_gone,
    a_lost_reply_is_lost_not_unsent,
    a_lost_command_may_be_sent_again_once_it_settled,
    settle_returns_when_nothing_is_in_doubt,
    errors_tell_unsent_from_lost,
    applying_twice_changes_nothing,
    enforcement_is_judged_from_what_is_read,
    secrets_are_references,
    addresses_are_the_targets_own,
)
