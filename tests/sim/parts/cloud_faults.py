"""What goes wrong at a control plane, and on the way to it.

A dishonest one does its deeds in its own file, so that numbers stay in order and whoever looks for order sees none
missing: what it withholds is gone, what it adds is there.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from control_plane import queues
from control_plane.store import CloudTx
from protos import message_pb2 as pb
from tests.sim.part import WorldFault
from tests.sim.world import World
from trust import envelope as envelopes
from trust.envelope import Signature
from trust.errors import TrustError
from trust.keys import SigningKey

if TYPE_CHECKING:
    from tests.sim.parts.cloud import CloudPart

AGENT: Final = "agent"
DEEDS_MAX: Final = 12
"""How often a dishonest control plane does something: what it adds is answered, and each answer is an occasion."""


def _part(world: World) -> CloudPart:
    from tests.sim.parts.cloud import CloudPart  # it imports this module

    return world.part(CloudPart)


# --- the process and its file -----------------------------------------------------------------------------------------


async def _restart(world: World, dice: random.Random) -> None:
    """Kill it at any time, and start it again: what it had only in memory is lost."""
    host = _part(world).host
    host.kill()
    await trio.sleep(dice.choice((0.5, dice.uniform(1, 20))))
    if host.life is None:
        await host.start()


async def _killed_at_commit(world: World, dice: random.Random) -> None:
    """Let it die just before or just after a commit of its own."""
    host = _part(world).host
    if (life := host.life) is None:
        return
    left, wanted = dice.randrange(1, 8), dice.random() < 0.5

    def dies(*, durable: bool) -> bool:
        nonlocal left
        left -= durable
        return left <= 0 and durable is wanted

    life.store.dies = dies  # type: ignore[method-assign]  # a fault
    with trio.move_on_after(120):
        while host.life is life:  # noqa: ASYNC110  # it ends inside a commit
            await trio.sleep(0.5)
    life.store.dies = lambda *, durable: False  # type: ignore[method-assign]  # no more
    await trio.sleep(dice.uniform(0.5, 5))
    if host.life is None:
        await host.start()


async def _drained(world: World, dice: random.Random) -> None:
    """Let an administrator stop it, and start it again."""
    host = _part(world).host
    await host.stop()
    await trio.sleep(dice.uniform(0.5, 20))
    if host.life is None:
        await host.start()


async def _rolled_back(world: World, dice: random.Random) -> None:
    """Put its machine back to an earlier snapshot: the same epoch, and an older file."""
    part = _part(world)
    host = part.host
    taken = trio.current_time()
    snapshot = host.copy(f"snapshot-{taken:.3f}.db")
    await trio.sleep(dice.uniform(20, 150))
    host.kill()
    await trio.sleep(dice.uniform(0.5, 10))
    if host.life is None:
        host.roll_back(snapshot)
        part.forgets(taken)
        await host.start()


async def _restored(world: World, dice: random.Random) -> None:
    """Put a backup of it back, as its manual says: a new epoch."""
    part = _part(world)
    host, name = part.host, f"backup-{trio.current_time():.3f}"
    host.back_up(name)
    taken = trio.current_time()
    await trio.sleep(dice.uniform(20, 150))
    host.kill()
    await trio.sleep(dice.uniform(0.5, 10))
    if host.life is None:
        host.restore(name)
        part.forgets(taken)
        await host.start()


# --- the way there ----------------------------------------------------------------------------------------------------


async def _away(world: World, dice: random.Random) -> None:
    """Let nobody reach it for some minutes: its machine is off, or the way is cut for the agent, or for the desks."""
    wire = _part(world).wire
    cut = [path for who, path in wire.paths.items() if who and dice.random() < 0.7] or list(wire.paths.values())
    for path in cut:
        path.cut()
    await trio.sleep(dice.uniform(30, 200))
    for path in cut:
        path.mend()


async def _half_open(world: World, dice: random.Random) -> None:
    """Let nothing pass to or from the agent, and nobody know."""
    path = _part(world).wire.path(AGENT)
    path.stall()
    await trio.sleep(dice.choice((dice.uniform(1, 15), dice.uniform(20, 100))))
    path.mend()


async def _slow(world: World, dice: random.Random) -> None:
    """Let each message take seconds, of the agent's or of all."""
    wire = _part(world).wire
    slow = [wire.path(AGENT)] if dice.random() < 0.6 else list(wire.paths.values())
    for path in slow:
        path.delay_s = lambda: dice.uniform(0.05, 4.0)
    await trio.sleep(dice.uniform(30, 120))
    for path in slow:
        path.delay_s = lambda: 0.001


# --- a dishonest control plane ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A message in the agent's queue."""

    number: int
    letter: int
    message: pb.Message


Deed = Callable[[CloudTx, "CloudPart", random.Random, list[Row]], None]


def _rows(tx: CloudTx, part: CloudPart) -> list[Row]:
    found = tx.all(
        "SELECT number, letter.id AS letter, message FROM message JOIN letter ON letter.id = message.letter"
        " WHERE box = ? ORDER BY number",
        (queues.agent_queue(part.operator, part.agent),),
    )
    return [Row(r["number"], r["letter"], pb.Message.FromString(r["message"])) for r in found]


def _waiting(part: CloudPart, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.message.body not in part.ledger.delivered]


def _add(tx: CloudTx, part: CloudPart, message: pb.Message) -> None:
    letter = tx.insert(
        "INSERT INTO letter (operator, sender, kind, message, minute, expires_s) VALUES (?, 'person/x', ?, ?, ?, ?)",
        (
            part.operator,
            message.kind,
            message.SerializeToString(),
            part.clock.minute(),
            int(part.clock.wall_s()) + 86400,
        ),
    )
    queues._put(tx, queues.agent_queue(part.operator, part.agent), letter)


def _withhold(tx: CloudTx, part: CloudPart, dice: random.Random, rows: list[Row]) -> None:
    for row in _waiting(part, rows):
        if dice.random() < 0.5:
            part.withheld.add(row.message.body)
            tx.run(
                "DELETE FROM message WHERE box = ? AND number = ?",
                (queues.agent_queue(part.operator, part.agent), row.number),
            )


def _withhold_from_desks(tx: CloudTx, part: CloudPart, dice: random.Random, rows: list[Row]) -> None:
    feed = queues.feed(part.operator)
    newest = tx.all(
        "SELECT number, message FROM message JOIN letter ON letter.id = message.letter WHERE box = ?"
        " AND kind != ? ORDER BY number DESC LIMIT 4",
        (feed, pb.KIND_SEALKEY),
    )
    for row in newest:
        if dice.random() < 0.5:
            part.withheld.add(pb.Message.FromString(row["message"]).body)
            tx.run("DELETE FROM message WHERE box = ? AND number = ?", (feed, row["number"]))


def _reorder(tx: CloudTx, part: CloudPart, dice: random.Random, rows: list[Row]) -> None:
    waiting = _waiting(part, rows)
    letters = [row.letter for row in waiting]
    dice.shuffle(letters)
    had = {row.letter: row for row in waiting}
    for row, letter in zip(waiting, letters, strict=True):
        if row.number < had[letter].number:  # the stream may be past that number: what it gave is on its way
            part.withheld.add(had[letter].message.body)
        tx.run(
            "UPDATE message SET letter = ? WHERE box = ? AND number = ?",
            (letter, queues.agent_queue(part.operator, part.agent), row.number),
        )


def _replay(tx: CloudTx, part: CloudPart, dice: random.Random, rows: list[Row]) -> None:
    for row in dice.sample(rows, min(len(rows), 3)):
        again = pb.Message.FromString(row.message.SerializeToString())
        if dice.random() < 0.7:
            again.ref = dice.randbytes(16)
        _add(tx, part, again)


def _forge(tx: CloudTx, part: CloudPart, dice: random.Random, rows: list[Row]) -> None:
    for row in dice.sample(rows, min(len(rows), 3)):
        forged = pb.Message.FromString(row.message.SerializeToString())
        forged.ref, forged.body = dice.randbytes(16), _forged(dice, bytes(row.message.body))
        _add(tx, part, forged)


def _forged(dice: random.Random, body: bytes) -> bytes:
    """Return a body with some bits turned, or signed by a stranger, or by one of the two who signed it."""
    try:
        envelope = envelopes.decode_untrusted(body)
    except TrustError:
        envelope = None
    if envelope is None or dice.random() < 0.4:
        turned = bytearray(body)
        for _ in range(dice.choice((1, 3))):
            turned[dice.randrange(len(turned))] ^= 1 << dice.randrange(8)
        return bytes(turned)
    if len(envelope.signatures) > 1 and dice.random() < 0.5:
        signatures = (envelope.signatures[0], envelope.signatures[0])
    else:
        stranger = SigningKey(dice.randbytes(32))
        sig = stranger.sign(envelopes.pae(envelope.payload_type, envelope.payload))
        signatures = tuple(Signature(one.keyid, sig) for one in envelope.signatures)
    return envelopes.encode(envelopes.Envelope(envelope.payload_type, envelope.payload, signatures))


def _dishonest(deed: Deed) -> Callable[[World, random.Random], Awaitable[None]]:
    async def act(world: World, dice: random.Random) -> None:
        part, left = _part(world), DEEDS_MAX

        def before_reading(tx: CloudTx) -> None:
            nonlocal left
            rows = _rows(tx, part)
            if rows and left and dice.random() < 0.5:
                left -= 1
                deed(tx, part, dice, rows)
                if part.host.life is not None:  # nothing else may come that would wake the agent's stream
                    part.host.life.server._live.ring([queues.agent_queue(part.operator, part.agent)])

        def configure(store: object) -> None:
            store.before_reading = before_reading  # type: ignore[attr-defined]  # an InlineCloudStore

        part.host.configure = configure
        if part.host.life is not None:
            configure(part.host.life.store)
        await trio.sleep(dice.uniform(30, 120))
        part.host.configure = lambda store: None
        if part.host.life is not None:
            part.host.life.store.before_reading = None

    return act


FAULTS: Final[tuple[WorldFault, ...]] = (
    WorldFault("cloud-killed", _restart, 2, part="cloud"),
    WorldFault("cloud-killed-at-commit", _killed_at_commit, 2, part="cloud"),
    WorldFault("cloud-drained", _drained, part="cloud"),
    WorldFault("cloud-rolled-back", _rolled_back, 2, part="cloud"),
    WorldFault("cloud-restored", _restored, part="cloud"),
    WorldFault("cloud-away", _away, part="cloud"),
    WorldFault("cloud-half-open", _half_open, 2, part="cloud"),
    WorldFault("cloud-slow", _slow, part="cloud"),
    WorldFault("cloud-withholds", _dishonest(_withhold), part="cloud"),
    WorldFault("cloud-withholds-from-desks", _dishonest(_withhold_from_desks), part="cloud"),
    WorldFault("cloud-reorders", _dishonest(_reorder), part="cloud"),
    WorldFault("cloud-replays", _dishonest(_replay), part="cloud"),
    WorldFault("cloud-forges", _dishonest(_forge), part="cloud"),
)
