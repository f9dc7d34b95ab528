"""What every connector must do, whatever system it talks to. `CHECKS` run against each lab of `test_conformance`.

A lab is a connector with its system behind it, and hands to change that system behind the connector's back. It says
which write and which effect the checks use. `ACCESS_CHECKS` are for connectors with access recipes: they suspend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest
import trio

from agent.connectors.base import (
    AccessPlan,
    Connector,
    DriftedError,
    Enforced,
    LostError,
    NotSentError,
    Session,
)
from agent.model import (
    ABSENT,
    Absent,
    Access,
    Address,
    Direction,
    Effect,
    ProofKind,
    SecretRef,
    Seen,
    Service,
    ServiceState,
    Step,
    Target,
    Ticket,
    Transition,
    Value,
)
from agent.reasons import TargetReason
from agent.runtime.clock import SystemClock
from tests.builders.expect import expect


class Lab(Protocol):
    """A connector under test."""

    connector: Connector
    unknown: Address
    """A resource that is not there."""
    secrets: tuple[str, ...]
    """Secrets of the system, in clear."""
    silent_s: float
    """How long to wait for an answer that was lost, seconds; infinite: the system or its connector says so."""

    @property
    def targets(self) -> Sequence[Target]:
        """The systems of the lab that the connector acts on."""
        ...

    def session(self) -> AbstractAsyncContextManager[Session]:
        """Lend a session."""
        ...

    async def reads(self, session: Session) -> Collection[Address]:
        """Return all that changes read here, secrets among them if the system has any."""
        ...

    async def write(self, session: Session) -> Step:
        """Return a step that writes something, from what it reads now."""
        ...

    async def effect(self, session: Session) -> Step:
        """Return a step with an effect that has something to act on now."""
        ...

    async def rest(self, session: Session) -> None:
        """Return when what was set off has come to its end, and the system can be asked again."""
        ...

    def drift(self) -> None:
        """Change the first resource of `write` behind the connector's back."""
        ...

    def lose_reply(self) -> None:
        """Let the next `effect` take effect and its reply be lost."""
        ...

    def lose_command(self) -> None:
        """Let each `effect` be lost on the way until `mend`."""
        ...

    def mend(self) -> None:
        """Let everything work again."""
        ...


class AccessLab(Lab, Protocol):
    """A connector with access recipes under test."""

    online: Service
    """A service with one open session, which redials when it is ended."""
    offline: Service
    """A service without a session."""


async def seen_for(lab: AccessLab, session: Session, service: Service) -> dict[Address, Seen]:
    """Read all that the recipe asks for."""
    recipe, seen = lab.connector.access_methods[service.method], dict[Address, Seen]()
    while missing := list(recipe.reads(service, seen)):
        seen |= await session.read(missing)
    return seen


async def plan_for(lab: AccessLab, session: Session, service: Service, access: Access) -> AccessPlan:
    recipe = lab.connector.access_methods[service.method]
    return expect(
        AccessPlan, recipe.plan(ServiceState(access, service.tariff), service, await seen_for(lab, session, service))
    )


def write_step(plan: AccessPlan) -> Step:
    [step] = [s for s in plan.steps if not isinstance(s.do, Effect)]
    return step


def kick_step(plan: AccessPlan) -> Step:
    return next(s for s in plan.steps if isinstance(s.do, Effect))


def writes_of(step: Step) -> tuple[Transition, ...]:
    assert not isinstance(step.do, Effect)
    return step.do


def effect_of(step: Step) -> Effect:
    assert isinstance(step.do, Effect)
    return step.do


def proven(effect: Effect, bound: Mapping[Address, Seen], now: Mapping[Address, Seen]) -> bool:
    """Return whether what is read now proves that an effect took effect."""
    assert bound.keys() == now.keys()
    match effect.proof:
        case ProofKind.GONE:
            return all(now[a].value is ABSENT for a in bound)
        case ProofKind.CHANGED:
            return all(now[a].value != bound[a].value for a in bound)
        case _:
            return all(now[a].value == bound[a].value for a in bound)


def values_of(seen: Mapping[Address, Seen]) -> dict[Address, object]:
    return {a: s.value for a, s in seen.items()}


def ticket(
    do: tuple[Transition, ...] | Effect,
    step: Step,
    bound: Mapping[Address, Seen] | None = None,
    attempt: int = 1,
    within_s: float = float("inf"),
) -> Ticket:
    """Return leave to send, for `within_s` seconds."""
    until = SystemClock().boot_s() + within_s
    return Ticket("0" * 32, 1, step.n, Direction.FORWARD, attempt, step.target, do, bound or {}, until)


async def apply(lab: AccessLab, session: Session, service: Service, access: Access) -> dict[Address, Seen]:
    """Send a plan's steps; return what its effects were bound to."""
    ended: dict[Address, Seen] = {}
    for step in (await plan_for(lab, session, service, access)).steps:
        bound = await session.bind(step.do) if isinstance(step.do, Effect) else {}
        ended |= bound
        if bound or not isinstance(step.do, Effect):
            assert (await session.send(ticket(step.do, step, bound))).accepted
    return ended


# --- checks of every session ---


async def unknown_reads_absent(lab: Lab) -> None:
    async with lab.session() as session:
        seen = await session.read([lab.unknown])
    assert seen[lab.unknown].value is ABSENT


async def reads_answer_exactly_what_was_asked(lab: Lab) -> None:
    async with lab.session() as session:
        asked = list(dict.fromkeys([*(await lab.reads(session)), lab.unknown]))
        together = await session.read(asked)
        alone = {a: (await session.read([a]))[a] for a in asked}
        assert await session.read([]) == {}
    assert set(together) == set(asked)
    assert values_of(together) == values_of(alone)
    # A secret cannot be read back: its reading is our own word of it
    assert all(s.live or _secret(s.value) for s in together.values())


def _secret(value: Value) -> bool:
    return value is not ABSENT and any(isinstance(field, SecretRef) for field in value.values())


async def many_readers_at_once_agree(lab: Lab) -> None:
    got: list[Mapping[Address, Seen]] = []
    async with lab.session() as session:
        asked = list(await lab.reads(session))

        async def read() -> None:
            got.append(await session.read(asked))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * lab.connector.traits.window):
                nursery.start_soon(read)
    assert len(got) == 3 * lab.connector.traits.window
    assert all(values_of(g) == values_of(got[0]) for g in got)


async def a_write_reads_back_equal_and_its_inverse_restores(lab: Lab) -> None:
    async with lab.session() as session:
        step = await lab.write(session)
        writes = writes_of(step)
        addresses = [w.address for w in writes]
        before = await session.read(addresses)
        assert {w.address: w.before.value for w in writes} == values_of(before)
        assert (await session.send(ticket(writes, step))).accepted
        after = await session.read(addresses)
        assert values_of(after) == {w.address: w.after for w in writes}
        back = tuple(Transition(w.address, after[w.address], w.before.value) for w in reversed(writes))
        await session.send(ticket(back, step))
        again = await session.read(addresses)
        assert values_of(again) == values_of(before)


async def drift_is_told_and_nothing_is_written(lab: Lab) -> None:
    async with lab.session() as session:
        step = await lab.write(session)
        writes = writes_of(step)
        lab.drift()
        there = (await session.read([writes[0].address]))[writes[0].address]
        rest = await session.read([w.address for w in writes[1:]])
        assert there.value != writes[0].before.value, "the lab did not drift"
        with pytest.raises(DriftedError) as caught:
            await session.send(ticket(writes, step))
        assert caught.value.reason == "drifted"
        assert caught.value.observed[writes[0].address].value == there.value
        assert (await session.read([writes[0].address]))[writes[0].address].value == there.value
        assert values_of(await session.read([w.address for w in writes[1:]])) == values_of(rest)


async def a_sent_write_cannot_be_sent_again(lab: Lab) -> None:
    async with lab.session() as session:
        step = await lab.write(session)
        await session.send(ticket(writes_of(step), step))
        with pytest.raises(DriftedError):
            await session.send(ticket(writes_of(step), step, attempt=2))


async def only_one_of_many_equal_writes_wins(lab: Lab) -> None:
    if not lab.connector.traits.conditional:
        return
    results: list[str] = []
    async with lab.session() as session:
        step = await lab.write(session)

        async def send() -> None:
            try:
                await session.send(ticket(writes_of(step), step))
                results.append("wrote")
            except DriftedError:
                results.append("drifted")

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(send)
    assert sorted(results) == ["drifted"] * 4 + ["wrote"]


async def bind_returns_what_is_there(lab: Lab) -> None:
    async with lab.session() as session:
        bound = await session.bind(effect_of(await lab.effect(session)))
        assert len(bound) == 1
        there = await session.read(list(bound))
        assert values_of(there) == values_of(bound)


async def an_effect_on_what_is_bound_is_proven(lab: Lab) -> None:
    async with lab.session() as session:
        step = await lab.effect(session)
        effect = effect_of(step)
        assert lab.connector.traits.effects[effect.verb]
        bound = await session.bind(effect)
        assert not proven(effect, bound, await session.read(list(bound))), "it is so already"
        reply = await session.send(ticket(effect, step, bound))
        assert reply.accepted
        await lab.rest(session)
        assert proven(effect, bound, await session.read(list(bound)))


async def a_lost_reply_is_lost_not_unsent(lab: Lab) -> None:
    async with lab.session() as session:
        step = await lab.effect(session)
        effect = effect_of(step)
        bound = await session.bind(effect)
        lab.lose_reply()
        with pytest.raises(LostError):
            await session.send(ticket(effect, step, bound, within_s=lab.silent_s))
        with trio.fail_after(lab.connector.traits.settle_s + 60):
            await session.settle()
        await lab.rest(session)
        assert proven(effect, bound, await session.read(list(bound)))


async def a_lost_command_may_be_sent_again_once_it_settled(lab: Lab) -> None:
    async with lab.session() as session:
        step = await lab.effect(session)
        effect = effect_of(step)
        bound = await session.bind(effect)
        lab.lose_command()
        with pytest.raises(LostError):
            await session.send(ticket(effect, step, bound, within_s=lab.silent_s))
        lab.mend()
        with trio.fail_after(lab.connector.traits.settle_s + 60):
            await session.settle()
        await lab.rest(session)
        assert values_of(await session.bind(effect)) == values_of(bound)
        assert (await session.send(ticket(effect, step, bound, attempt=2))).accepted
        await lab.rest(session)
        assert proven(effect, bound, await session.read(list(bound)))


async def settle_returns_when_nothing_is_in_doubt(lab: Lab) -> None:
    async with lab.session() as session:
        with trio.fail_after(lab.connector.traits.settle_s + 60):
            await session.settle()
        await session.read([lab.unknown])  # and the session is as good as before


async def errors_tell_unsent_from_lost(lab: Lab) -> None:
    assert not issubclass(LostError, NotSentError)
    async with lab.session() as session:
        step = await lab.effect(session)
        strange = Effect(lab.unknown, "no-such-verb", {}, "k", effect_of(step).replay, None, 1)
        asked = list(await lab.reads(session))
        before = await session.read(asked)
        with pytest.raises(NotSentError):
            await session.send(ticket(strange, step))
        after = await session.read(asked)
    assert values_of(after) == values_of(before)


async def secrets_are_references(lab: Lab) -> None:
    async with lab.session() as session:
        seen = await session.read(list(await lab.reads(session)))
        steps = (await lab.write(session), await lab.effect(session))
        refs = [f for s in seen.values() if not isinstance(s.value, Absent) for f in s.value.values()]
        said = [repr(seen), repr(steps), repr(session), repr(lab.connector), repr(lab.connector.access_methods)]
    for secret in lab.secrets:
        assert not any(secret in text for text in said)
        assert secret not in refs
    if lab.secrets:
        assert any(isinstance(r, SecretRef) for r in refs)


async def addresses_are_the_targets_own(lab: Lab) -> None:
    targets = {t.id for t in lab.targets}
    async with lab.session() as session:
        assert session.target in lab.targets
        for step in (await lab.write(session), await lab.effect(session)):
            assert step.target in targets
            acted = [step.do.address] if isinstance(step.do, Effect) else [w.address for w in step.do]
            assert all(a.startswith(f"{step.target}/") for a in acted)
        for address in await lab.reads(session):
            assert address.startswith(tuple(f"{t}/" for t in targets))


# --- checks of access recipes ---


async def applying_twice_changes_nothing(lab: AccessLab) -> None:
    async with lab.session() as session:
        for service in (lab.offline, lab.online):
            for access in (Access.SUSPENDED, Access.ACTIVE):
                await apply(lab, session, service, access)
                again = await plan_for(lab, session, service, access)
                assert not [s for s in again.steps if not isinstance(s.do, Effect)], "a plan of what is already so"


async def enforcement_is_judged_from_what_is_read(lab: AccessLab) -> None:
    recipe = lab.connector.access_methods[lab.online.method]

    async def judged(service: Service, ended: Mapping[Address, Seen]) -> Enforced:
        assert plan.enforce is not None
        seen = dict(await session.read([plan.enforce.address]))
        while missing := [a for a in recipe.enforcement_reads(plan.enforce, seen) if a not in seen]:
            seen |= await session.read(missing)
        return recipe.judge(plan.enforce, seen, ended).enforced

    async with lab.session() as session:
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
        bound = await session.bind(effect_of(kick_step(plan)))
        assert await judged(lab.online, bound) is Enforced.NO  # its old session goes on
        await apply(lab, session, lab.online, Access.SUSPENDED)
        assert await judged(lab.online, bound) is not Enforced.NO
        plan = await plan_for(lab, session, lab.offline, Access.SUSPENDED)
        await apply(lab, session, lab.offline, Access.SUSPENDED)
        assert await judged(lab.offline, {}) is Enforced.PENDING


async def secrets_are_no_part_of_a_plan(lab: AccessLab) -> None:
    async with lab.session() as session:
        seen = {**await seen_for(lab, session, lab.online), **await seen_for(lab, session, lab.offline)}
        plan = await plan_for(lab, session, lab.online, Access.SUSPENDED)
    for secret in lab.secrets:
        assert secret not in repr(seen)
        assert secret not in repr(plan)


async def recipes_are_of_the_targets(lab: AccessLab) -> None:
    targets = {t.id for t in lab.connector.targets}
    async with lab.session() as session:
        assert session.target.id in targets
        for service in (lab.online, lab.offline):
            recipe = lab.connector.access_methods[service.method]
            assert recipe.target in targets
            plan = await plan_for(lab, session, service, Access.SUSPENDED)
            assert all(step.target == recipe.target for step in plan.steps)
            assert [s.n for s in plan.steps] == list(range(1, len(plan.steps) + 1))
            for address in await seen_for(lab, session, service):
                assert address.startswith(f"{recipe.target}/")


async def nothing_is_ended_of_who_is_offline(lab: AccessLab) -> None:
    async with lab.session() as session:
        recipe = lab.connector.access_methods[lab.offline.method]
        kick = recipe.disconnect(lab.offline, await seen_for(lab, session, lab.offline))
        if isinstance(kick, AccessPlan) and kick.steps:
            step = kick_step(kick)
            bound = await session.bind(effect_of(step))
            if bound:  # where a session may be that nobody knows of, the device is asked, and denies it
                assert (await session.send(ticket(step.do, step, bound))).reason == TargetReason.NO_SESSION


async def effects_have_kinds(lab: AccessLab) -> None:
    """A plan says what its effects are: a verb without a kind would be shown as something else."""
    known = lab.connector.traits.effects
    async with lab.session() as session:
        for service in (lab.online, lab.offline):
            kick = lab.connector.access_methods[service.method].disconnect(
                service, await seen_for(lab, session, service)
            )
            plan = await plan_for(lab, session, service, Access.SUSPENDED)
            steps = [*plan.steps, *(kick.steps if isinstance(kick, AccessPlan) else ())]
            effects = [step.do for step in steps if isinstance(step.do, Effect)]
            effects += [effect for step in steps for effect in step.on_revert]
            assert {effect.verb for effect in effects} <= known.keys()
            assert all(known[effect.verb] for effect in effects)


async def a_disconnect_proves_gone(lab: AccessLab) -> None:
    async with lab.session() as session:
        step = kick_step(await plan_for(lab, session, lab.online, Access.SUSPENDED))
        bound = await session.bind(effect_of(step))
        assert len(bound) == 1
        reply = await session.send(ticket(step.do, step, bound))
        assert reply.accepted
        assert all(s.value is ABSENT for s in (await session.read(list(bound))).values())


CHECKS: tuple[Callable[[Lab], Awaitable[None]], ...] = (
    unknown_reads_absent,
    reads_answer_exactly_what_was_asked,
    many_readers_at_once_agree,
    a_write_reads_back_equal_and_its_inverse_restores,
    drift_is_told_and_nothing_is_written,
    a_sent_write_cannot_be_sent_again,
    only_one_of_many_equal_writes_wins,
    bind_returns_what_is_there,
    an_effect_on_what_is_bound_is_proven,
    a_lost_reply_is_lost_not_unsent,
    a_lost_command_may_be_sent_again_once_it_settled,
    settle_returns_when_nothing_is_in_doubt,
    errors_tell_unsent_from_lost,
    secrets_are_references,
    addresses_are_the_targets_own,
)

ACCESS_CHECKS: tuple[Callable[[AccessLab], Awaitable[None]], ...] = (
    applying_twice_changes_nothing,
    enforcement_is_judged_from_what_is_read,
    secrets_are_no_part_of_a_plan,
    recipes_are_of_the_targets,
    nothing_is_ended_of_who_is_offline,
    effects_have_kinds,
    a_disconnect_proves_gone,
)
