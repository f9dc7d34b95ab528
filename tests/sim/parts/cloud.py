"""A control plane and the desks of three people: what they ask of the agent through it, and what passes there.

The product's own code stands on both ends (`tests.sim.cloud`); the judge goes by the wire and by the control plane's
file.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterable
from contextlib import ExitStack
from typing import ClassVar
from unittest import mock

import trio

from agent.uplink import enrolment
from agent.uplink import identity as identities
from control_plane import config, members
from control_plane.clock import CloudClock
from control_plane.desk import cli_intents
from control_plane.desk.feed import SharedFeed
from control_plane.desk.memory import Sent
from control_plane.members import IdentityKind
from control_plane.store import prepare
from protos.member_files import Invitation
from tests.sim.cloud.desks import PersonsDesk, desks
from tests.sim.cloud.host import CloudHost, without_grpc
from tests.sim.cloud.ledger import Ledger
from tests.sim.cloud.wire import Wire
from tests.sim.judge import Evidence, Verdict
from tests.sim.part import Declared, Part, WorldFault
from tests.sim.parts import cloud_people, cloud_rules
from tests.sim.parts.cloud_faults import FAULTS
from tests.sim.people import Desk
from tests.sim.world import World
from trust import chance

MEMBERS, STRANGERS = "127.0.0.1:7443", "127.0.0.1:7444"
OPERATOR = "acme"
PEOPLE = ("maria", "joseph", "lena")
LOOK_LAST_S = 500.0
"""How long after all is quiet people look at the shared feed once more."""
INTENTS_S = (60, 300, 3600, 3600)
"""How long intents hold; a world has one of these."""


class CloudPart(Part):
    """A control plane, three desks, and the agent's enrolment there."""

    name = "cloud"
    faults: ClassVar[tuple[WorldFault, ...]] = FAULTS
    percent: ClassVar[int] = 20

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Start the control plane; nobody is its member yet."""
        self._world, self._nursery = world, nursery
        self.looked_at = 0.0
        self.dice = random.Random(f"{world.options.seed} cloud")
        self.log = io.StringIO()
        self.ledger = Ledger(world.trace)
        self.wire = Wire(nursery, on_passed=self.ledger.on_passed)
        ticks, began_s = trio.lowlevel.current_clock(), world.clock.wall_s() - trio.current_time()
        self.clock, self._began_s = CloudClock(lambda: began_s + ticks.current_time(), ticks.current_time), began_s
        self._stack = ExitStack()
        self._stack.enter_context(without_grpc(self.wire, self.clock, self.log))
        self._stack.enter_context(desks())
        intent_s = self.dice.choice(INTENTS_S)
        self._stack.enter_context(mock.patch.object(cli_intents, "INTENT_S", intent_s))
        text = config.DEFAULT.format(
            listen=MEMBERS,
            enrolment_listen=STRANGERS,
            metrics_listen="",
            public_host="127.0.0.1",
            witness_name="ispcloud-witness",
            quotas="",
        )
        data = config.create(world.options.folder / "cloud", text, int(self.clock.wall_s()))
        prepare(data.database).close()
        self.host = CloudHost(data, self.wire, self.clock)
        self._stack.callback(self.host.bury)
        self.operator = chance.token_bytes(16)
        self.host.change(members.AddOperator(self.operator, OPERATOR))
        self.freezes: list[cloud_people.FreezeAsked] = []
        self.intents: dict[str, cloud_people.IntentSent] = {}
        """By the digest of the sealed body."""
        self.sent: dict[str, list[Sent]] = {who: [] for who in PEOPLE}
        """What each person's desk sent."""
        self.last_seen: dict[str, SharedFeed] = {}
        """What each person was shown last."""
        self.withheld: set[bytes] = set()
        """Bodies of what a dishonest control plane shows nobody."""
        self.forgot: list[tuple[float, float]] = []
        """Times of which the control plane's file knows nothing any more."""
        await self.host.start()
        return Declared()

    def close(self) -> None:
        """Let go of everything."""
        self._stack.close()

    async def install(self, world: World) -> None:
        """Enrol the agent and the people."""
        files, life = world.files, world.life
        assert life is not None
        statement = (files.folder / "enroll.json").read_bytes()
        invited = self._invite(IdentityKind.AGENT, files.enrolled.handle)
        identity = await enrolment.enroll(invited, files.enrolled.agent, statement, self.clock.wall_s())
        identities.save(files.state, life.daemon.files.vault, identity)
        self.desks = {}
        for who in PEOPLE:
            desk = self.desks[who] = PersonsDesk(who, world.options.folder / f"desk-{who}")
            desk.furnish(files.people.keys[who], files.signed_trust()[0])
            await desk.enroll(self._invite(IdentityKind.PERSON, who))

    def _invite(self, kind: IdentityKind, name: str) -> Invitation:
        token = chance.token_bytes(members.TOKEN_BYTES)
        now_s = int(self.clock.wall_s())
        self.host.change(members.Invite(self.operator, kind, name, members.token_digest(token), now_s))
        ca = self.host.data.authority.pem.decode("ascii")
        return Invitation(self.operator.hex(), kind.value, name, MEMBERS, STRANGERS, ca, token)

    @property
    def agent(self) -> bytes:
        """The agent's id, 16 bytes."""
        return bytes.fromhex(self._world.files.enrolled.agent)

    def latest(self, unix_s: int) -> float:
        """Return the last moment, by trio's time, of a second of the clock of desks and control plane."""
        return unix_s + 1 - self._began_s

    def forgets(self, since: float) -> None:
        """Take note that the control plane knows nothing any more of what came since."""
        self.forgot.append((since, trio.current_time()))

    def may_be_lost(self, at: float) -> bool:
        """Return whether the control plane may have forgotten what it took at that time."""
        return any(since - 1 <= at <= until for since, until in self.forgot)

    # --- what people and the world do ---------------------------------------------------------------------------------

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Let people ask, approve, freeze and lift from their desks."""
        await cloud_people.work(world, self, desk, within_s)

    async def settle(self, world: World) -> None:
        """Let the control plane be there, and honest; people lift what is frozen."""
        for path in self.wire.paths.values():
            path.mend()
            path.delay_s = lambda: 0.001
        if self.host.life is None:
            await self.host.start()
        self.host.life.store.before_reading = None
        await cloud_people.lift_all(world, self)
        self._nursery.start_soon(self._look_last)

    async def _look_last(self) -> None:
        """Let each person look at the shared feed, when all is over."""
        await trio.sleep(LOOK_LAST_S)
        self.looked_at = trio.current_time()
        for who, desk in self.desks.items():
            if (feed := await desk.feed()) is not None:
                self.last_seen[who] = feed

    # --- what is judged -----------------------------------------------------------------------------------------------

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be of mail, freezes and of what the control plane holds."""
        return cloud_rules.judge(evidence, self, self._world)
