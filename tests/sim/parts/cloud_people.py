"""People at desks in a world: they ask by signed intents, approve here or at the site, freeze, lift and cancel."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from control_plane.desk import cli_changes, cli_freeze, cli_intents
from control_plane.desk.feed import Change
from protos import message_pb2 as pb
from tests.e2e.site import ApiRefusedError
from tests.sim.cloud.desks import PersonsDesk, Typed
from tests.sim.judge import Asked
from tests.sim.parts.clock import ClockPart
from tests.sim.parts.disk import DiskPart
from tests.sim.people import REQUESTER, Desk
from tests.sim.world import World
from trust import envelope as envelopes
from trust.policy import RiskClass
from trust.statements import FreezeScope, ReceiptResult

if TYPE_CHECKING:
    from tests.sim.parts.cloud import CloudPart

ASKS: Final = 6
FREEZES: Final = 2
PREVIEW_S: Final = 150.0
"""How long people look for the preview of what they asked for."""
LOOK_S: Final = 15.0
WAIT_S: Final = 40
"""How long a command waits for receipts."""
LIFTS_MAX: Final = 5
DIALS: Final = 8
"""How often people look again where a freeze is at the control plane: an agent that was cut off dials after a while."""
CANCEL: Final = next(c.callback for c in cli_changes.app.registered_commands if c.name == "cancel")


@dataclass(frozen=True, slots=True)
class IntentSent:
    """An intent that somebody sent: its envelope's digest, until when it holds at most (trio's time), what it names."""

    sha256: str
    expires_at: float
    services: frozenset[str]


@dataclass(eq=False)
class FreezeAsked:
    """A freeze that somebody sent from a desk, by its envelope's digest, and when two people sent its end."""

    sha256: str
    who: str
    at: float
    envelope: bytes
    lifted_at: float = float("inf")
    lifts: list[bytes] = field(default_factory=list)
    """The envelopes by which people lifted it."""


async def work(world: World, part: CloudPart, desk: Desk, within_s: float) -> None:
    """Let people ask and freeze, each at a moment of their own."""
    async with trio.open_nursery() as nursery:
        for n in range(ASKS):
            dice = random.Random(f"{world.options.seed} cloud ask {n}")
            if world.is_busy(f"cloud ask {n}"):
                nursery.start_soon(_ask, world, part, desk, dice, within_s)
        for n in range(FREEZES):
            dice = random.Random(f"{world.options.seed} cloud freeze {n}")
            if world.is_busy(f"cloud freeze {n}"):
                nursery.start_soon(_freeze_a_while, world, part, dice, within_s)


# --- asking -----------------------------------------------------------------------------------------------------------


async def _ask(world: World, part: CloudPart, desk: Desk, dice: random.Random, within_s: float) -> None:
    await trio.sleep(dice.uniform(0, within_s))
    action = dice.choice(("suspend", "suspend", "restore"))
    services = dice.sample(sorted(world.logins), dice.choice((1, 1, 2, 4)))
    maria = part.desks[REQUESTER]
    command = cli_intents.suspend if action == "suspend" else cli_intents.restore
    options = {"agent": world.files.enrolled.handle, "refs": services, "reason": dice.choice(("debt", "abuse"))}
    typed = await _type(world, part, maria, command, wait=WAIT_S, **options)
    for sent in typed.sent:
        found = IntentSent(sent.sha256, part.latest(sent.at_s) + cli_intents.INTENT_S, frozenset(services))
        part.intents[sent.sealed] = found
        if (change := await _preview(maria, sent.sha256)) is not None:
            await _see_through(world, part, desk, dice, change, action, found.services)


async def _preview(maria: PersonsDesk, intent_sha256: str) -> Change | None:
    with trio.move_on_after(PREVIEW_S):
        while True:
            feed = await maria.feed()
            for change in feed.changes if feed is not None else ():
                if change.plan.intent_sha256 == intent_sha256:
                    return change
            await trio.sleep(LOOK_S)
    return None


async def _see_through(
    world: World,
    part: CloudPart,
    desk: Desk,
    dice: random.Random,
    change: Change,
    action: str,
    services: frozenset[str],
) -> None:
    need = max(1, change.need)
    asked = desk.asked[change.plan.plan_id] = Asked(change.plan.plan_id, action, services, need)
    asked.by_standing = change.plan.risk_class is RiskClass.RESTORE
    world.trace(f"people: {action} {' '.join(sorted(services))} from a desk: {asked.plan[:6]}")
    await trio.sleep(dice.uniform(0, 20))
    if dice.random() < 0.1:
        await _approve_at_desk(world, part, asked, change, REQUESTER, len(services))  # who asked: it must not count
    for who in ("joseph", "lena")[:need]:
        if dice.random() < 0.3:
            await _approve_at_site(world, desk, asked, change, who)
        else:
            await _approve_at_desk(world, part, asked, change, who, len(services))
    if dice.random() < 0.15:
        await trio.sleep(dice.uniform(0, 3))
        lena = part.desks["lena"]
        asked.cancel_sent_at = trio.current_time()
        typed = await _type(world, part, lena, CANCEL, change_id=change.sha256, yes=True, wait=WAIT_S)
        if typed.ok:
            asked.cancelled_at = trio.current_time()


async def _approve_at_desk(
    world: World, part: CloudPart, asked: Asked, change: Change, who: str, services: int
) -> None:
    at, before = trio.current_time(), len(part.ledger.submitted[who])
    if who != REQUESTER:
        asked.approved_at.append(at)
    for guess in range(services, 0, -1):  # who reads the preview sees how many of them would change
        typed = await _type(
            world,
            part,
            part.desks[who],
            cli_changes.approve,
            change_id=change.sha256,
            yes_i_read_it=guess,
            wait=WAIT_S,
        )
        if "NotConfirmedError" not in typed.error:
            break
    sent = any(m.kind == pb.KIND_APPROVAL for m in part.ledger.submitted[who][before:])
    if who == REQUESTER:
        return
    if not sent:
        asked.approved_at.remove(at)
    elif not typed.ok:
        asked.unsure += 1


async def _approve_at_site(world: World, desk: Desk, asked: Asked, change: Change, who: str) -> None:
    office = world.office
    at, away = trio.current_time(), desk.away
    world.sign_now()
    statement = office.people.approve(envelopes.decode_untrusted(change.body), who, seen=world.files.seen())
    asked.approved_at.append(at)
    try:
        answers = await desk.patiently(lambda: office.hand_in(statement))
    except ApiRefusedError as err:
        desk.refused.append(err.code)
        answers = [{"accepted": False, "reason": err.code}]
    world.trace(f"people: {who} approves {asked.plan[:6]} at the site: {answers and answers[0]['reason']}")
    if answers is None:
        asked.unsure += 1
    elif not answers[0]["accepted"] and answers[0]["reason"] != "already-approved":
        if desk.away == away:
            asked.approved_at.remove(at)
        else:
            asked.unsure += 1


# --- freezing ---------------------------------------------------------------------------------------------------------


async def _freeze_a_while(world: World, part: CloudPart, dice: random.Random, within_s: float) -> None:
    await trio.sleep(dice.uniform(0, within_s))
    who = dice.choice(("lena", "joseph", REQUESTER))
    frozen = await freeze(world, part, who)
    await trio.sleep(dice.uniform(20, 150))
    if frozen is not None and dice.random() < 0.7:
        await lift(world, part, frozen)


async def freeze(world: World, part: CloudPart, who: str) -> FreezeAsked | None:
    """Freeze everything from a desk; returns what was sent, None: nothing was."""
    desk, at = part.desks[who], trio.current_time()
    out = desk.home / f"freeze-{len(part.freezes)}-{at:.3f}"
    typed = await _type(world, part, desk, cli_freeze.freeze, scope=FreezeScope.ALL, out=out, send=True, wait=WAIT_S)
    for sent in typed.sent:
        part.freezes.append(found := FreezeAsked(sent.sha256, who, at, out.read_bytes().strip()))
        return found
    return None


async def lift(world: World, part: CloudPart, frozen: FreezeAsked) -> None:
    """Lift a freeze: lena begins, joseph signs too and sends it."""
    lena, joseph = part.desks["lena"], part.desks["joseph"]
    file = lena.home / f"lift-{len(frozen.lifts)}-{frozen.sha256[:8]}"
    frozen_file = lena.home / f"{file.name}-of"
    frozen_file.write_bytes(frozen.envelope)
    files = {"freeze_files": [frozen_file], "yes": True}
    begun = await _type(world, part, lena, cli_freeze.unfreeze, out=file, **files)
    if not begun.ok:
        return
    frozen.lifted_at = min(frozen.lifted_at, trio.current_time())
    await _type(world, part, joseph, cli_freeze.unfreeze, add_to=file, send=True, wait=WAIT_S, **files)
    frozen.lifts.append(file.read_bytes().strip())


def _holds(world: World, part: CloudPart, frozen: FreezeAsked) -> bool:
    """Tell whether a freeze reached the agent, and nothing that lifts it did of which its log still knows."""
    receipts = part.ledger.receipts
    lifts = [envelopes.digest(envelopes.decode_untrusted(one)).hex() for one in frozen.lifts]
    found = [at for sha256 in lifts for at, r in receipts.get(sha256, []) if r.result is ReceiptResult.ACCEPTED]
    taken = any(not any(lost.has(at) for lost in world.lost) for at in found)
    return frozen.envelope in part.ledger.delivered and not taken


def _is_on_its_way(part: CloudPart, frozen: FreezeAsked) -> bool:
    """Tell whether the control plane took a freeze which did not reach the agent yet: its way may have been cut."""
    ledger, freeze = part.ledger, frozen.envelope
    taken = any(taken.message.body == freeze for taken in ledger.taken)
    return taken and freeze not in ledger.delivered and freeze not in part.withheld


async def lift_all(world: World, part: CloudPart) -> None:
    """Lift every freeze: by desk, as often as it takes."""
    await trio.sleep(LOOK_S)  # what is on its way arrives first
    for _ in range(DIALS):
        if any(_is_on_its_way(part, frozen) for frozen in part.freezes):
            await trio.sleep(LOOK_S)
    for frozen in part.freezes:
        tries = 0
        while _holds(world, part, frozen) and tries < LIFTS_MAX:
            tries += 1
            await lift(world, part, frozen)
            await trio.sleep(1)
            if (disk := world.find(DiskPart)) is not None and _holds(world, part, frozen):
                await disk.accept_trust(world, 0)  # in doubt of the document it lifts nothing
            for clock in (one for one in world.parts if isinstance(one, ClockPart) and _holds(world, part, frozen)):
                # It refuses what seems to be from the future, or too old; a clock that was set while it was off may
                # have halted nothing
                world.machine.clock.set_right()
                await clock.see_to_it(world)


async def _type(world: World, part: CloudPart, desk: PersonsDesk, command: object, **options: object) -> Typed:
    """Type a command with the person's own files."""
    typed = await desk.type(command, **{**desk.options, **options})  # type: ignore[arg-type]  # a command of ispcloud
    part.sent[desk.who] += typed.sent
    name = getattr(command, "__name__", "command")
    world.trace(f"desk: {desk.who} {name}: {typed.error or 'done'}{' | sent' if typed.sent else ''}")
    return typed
