"""A connector without a network: devices in memory, with faults by name. It dials, or its devices call in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from agent.connectors.base import (
    NOTHING_EARLIER,
    AccessMethod,
    AccessPlan,
    Busy,
    Check,
    CheckResult,
    DriftedError,
    Earlier,
    Enforced,
    Judgment,
    LiveSession,
    LostError,
    NetworkState,
    NotSentError,
    Reach,
    Reply,
    Session,
    Traits,
    UnreadableError,
)
from agent.model import (
    ABSENT,
    Absent,
    Access,
    Address,
    Effect,
    EffectKind,
    Enforcement,
    ProofKind,
    Replay,
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

WITHIN_S = 10
"""How long a session may take to be as wanted."""
EFFECTS = {
    "disconnect": frozenset({EffectKind.DISCONNECT}),
    "tell": frozenset({EffectKind.CHANGE_OF_AUTHORIZATION}),
}


@dataclass
class World:
    """What the devices are: resources and sessions, and what went over the wire. Survives the agent's crashes."""

    values: dict[Address, Value] = field(default_factory=dict)
    sessions: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    """login -> faults of the next sends: command-lost, reply-lost, third-value, nak, ack-without-effect, refused, away.

    Of sends to another target than `fake/d`: `login@TARGET` -> faults.
    """
    writes: list[tuple[str, Value]] = field(default_factory=list)
    kicks: list[str] = field(default_factory=list)
    unreadable: int = 0
    dead: set[str] = field(default_factory=set)
    """Targets that cannot be reached."""
    missing: set[str] = field(default_factory=set)
    """Logins whose own device does not answer, while the target does."""
    busy: list[Busy] = field(default_factory=list)
    """Why the device is to be spared, each time that it is asked; then it is not."""
    notes: tuple[str, ...] = ()
    no_redial: set[str] = field(default_factory=set)
    censuses: int = 0
    """How often everybody with a session was listed."""
    on_send: Callable[[Ticket], None] = lambda ticket: None
    """Called with each ticket at the moment of its first byte."""
    on_took: Callable[[Ticket], None] = lambda ticket: None
    """Called once the device took it (or lost it), before there is a reply."""

    @classmethod
    def of(cls, *logins: str) -> World:
        """Return devices with these logins online."""
        world = cls()
        for login in logins:
            world.add(login)
        return world

    def user(self, login: str) -> Address:
        return Address(f"fake/d/user/{login}")

    def session(self, login: str) -> Address:
        return self.session_at("fake/d", login)

    def session_at(self, target: str, login: str) -> Address:
        return Address(f"{target}/session/{login}#{self.sessions[login]}")

    def add(self, login: str, *, online: bool = True) -> None:
        self.values[self.user(login)] = {"plan": "20M"}
        if online:
            self.sessions[login] = 1


class FakeSession:
    """A session with the world."""

    def __init__(self, world: World, target: Target) -> None:
        self.world = world
        self.target = target

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        await trio.lowlevel.checkpoint()
        if self.target.id in self.world.dead:
            raise UnreadableError(f"{self.target.id} is dead", reason="unreachable")
        if self.world.unreadable:
            self.world.unreadable -= 1
            raise UnreadableError("not now", reason="unreachable")
        return {a: Seen(self._value(a), 1_767_225_600) for a in addresses}

    def _value(self, a: Address) -> Value:
        kind, key = a.split("/", 3)[2:]
        if kind == "session":
            login, number = key.rsplit("#", 1)
            return {"login": login} if self.world.sessions.get(login) == int(number) else ABSENT
        if kind == "sessions":
            return {str(self.world.sessions[key]): "online"} if key in self.world.sessions else ABSENT
        if kind == "online":
            self.world.censuses += 1
            return dict.fromkeys(self.world.sessions, "1") or ABSENT
        return self.world.values.get(a, ABSENT)

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        login = effect.address.rsplit("/", 1)[1]
        if login not in self.world.sessions:
            return {}
        return dict(await self.read([self.world.session_at(self.target.id, login)]))

    async def send(self, ticket: Ticket) -> Reply:
        await trio.lowlevel.checkpoint()
        if self.target.id in self.world.dead:
            raise NotSentError(f"{self.target.id} is dead", reason="unreachable")
        self.world.on_send(ticket)
        first = ticket.do.address if isinstance(ticket.do, Effect) else ticket.do[0].address
        login = first.rsplit("/", 1)[1]
        key = login if self.target.id == "fake/d" else f"{login}@{self.target.id}"
        fault = self.world.faults[key].pop(0) if self.world.faults.get(key) else ""
        if isinstance(ticket.do, Effect) and ticket.do.verb == "tell":
            return self._tell(login, fault)
        if isinstance(ticket.do, Effect) and ticket.do.verb != "disconnect":
            raise NotSentError(f"no effect {ticket.do.verb}", reason="unsupported")
        if fault == "refused":
            raise NotSentError("refused before anything was sent", reason="refused")
        if fault == "away":
            raise NotSentError("nobody there", reason="unreachable")
        if fault == "command-lost":
            raise LostError("lost on the way", reason="timeout")
        try:
            if isinstance(ticket.do, Effect):
                return self._kick(login, ticket, fault)
            return self._write(login, ticket.do, fault)
        finally:
            self.world.on_took(ticket)

    def _write(self, login: str, writes: tuple[Transition, ...], fault: str) -> Reply:
        for w in writes:
            now = self.world.values.get(w.address, ABSENT)
            if now != w.before.value:
                raise DriftedError("drifted", observed={w.address: Seen(now, 1_767_225_600)})
        if fault == "no-effect":
            return Reply(True, "ok")
        for w in writes:
            after = {"plan": "third"} if fault == "third-value" else w.after
            self.world.values[w.address] = after
            self.world.writes.append((login, after))
        if fault in ("reply-lost", "third-value"):
            raise LostError("reply lost", reason="timeout")
        return Reply(True, "ok")

    def _tell(self, login: str, fault: str) -> Reply:
        """Change what a session has while it goes on; the reply says nothing of whether it did."""
        if fault not in ("ack-without-effect", "command-lost"):
            self.world.values[Address(f"fake/r/policy/{login}")] = {"policy": "suspended"}
        if fault in ("command-lost", "reply-lost"):
            raise LostError("lost", reason="timeout")
        return Reply(True, "ack")

    def _kick(self, login: str, ticket: Ticket, fault: str) -> Reply:
        if fault == "nak":
            return Reply(False, "nak-503", "Session-Context-Not-Found")
        if fault == "ack-without-effect":
            return Reply(True, "ack")
        for address in ticket.bound:
            who, number = address.rsplit("/", 1)[1].rsplit("#", 1)
            if self.world.sessions.get(who) == int(number):
                self.world.kicks.append(who)
                if who in self.world.no_redial:
                    del self.world.sessions[who]
                else:
                    self.world.sessions[who] = int(number) + 1
        if fault in ("reply-lost", "third-value"):
            raise LostError("reply lost", reason="timeout")
        return Reply(True, "ack")

    async def check(self, secret: str = "") -> Sequence[Check]:
        await trio.lowlevel.checkpoint()
        if secret not in ("", "fake"):
            return []
        if self.target.id in self.world.dead:
            return [Check(self.target.id, "login", CheckResult.FAILS, "it is dead", "wake it")]
        return [Check(self.target.id, "login", CheckResult.OK, "it is alive")]

    async def answering(self) -> Mapping[str, str]:
        await trio.lowlevel.checkpoint()
        return {self.target.id: "it is dead" if self.target.id in self.world.dead else ""}

    async def settle(self) -> None:
        await trio.lowlevel.checkpoint()

    async def busy(self) -> Busy | None:
        await trio.lowlevel.checkpoint()
        return self.world.busy.pop(0) if self.world.busy else None

    async def missing(self, effect: Effect) -> Busy | None:
        await trio.lowlevel.checkpoint()
        login = effect.address.rsplit("/", 1)[1]
        missing = login in self.world.missing and self.target.id == "fake/d"  # the other one needs no NAS
        return Busy(TargetReason.TIMEOUT, f"the NAS of {login} does not answer") if missing else None

    def notes(self) -> Sequence[str]:
        return self.world.notes


class FakeMethod:
    """Suspended is one more field of the user."""

    target = "fake/d"

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        user = Address(f"fake/d/user/{service.login}")
        return [a for a in (user, Address(f"fake/d/sessions/{service.login}")) if a not in seen]

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        """A user's field `rejected` is somebody else's doing."""
        value = seen[Address(f"fake/d/user/{service.login}")].value
        sessions = seen[Address(f"fake/d/sessions/{service.login}")].value
        row = {} if isinstance(value, Absent) else {name: str(text) for name, text in value.items()}
        suspended = Access.SUSPENDED if row.get("suspended") else Access.ACTIVE
        numbers = () if isinstance(sessions, Absent) else tuple(sessions)
        return NetworkState(
            access=None if "rejected" in row or not row else suspended,
            refused=row.get("rejected", ""),
            unknown="" if row else "fake/d has no such user",
            tariff=row.get("plan", ""),
            sessions=tuple(LiveSession("bng", "fake", None, "", {"sid": n}, None, "not-told") for n in numbers),
            absent=not row,
        )

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        before = seen[Address(f"fake/d/user/{service.login}")]
        value = {} if isinstance(before.value, Absent) else dict(before.value)
        value["plan"] = wanted.tariff
        value.pop("suspended", None)
        if wanted.access is Access.SUSPENDED:
            value["suspended"] = "yes"
        user = Address(f"fake/d/user/{service.login}")
        same = value == before.value
        if "rejected" in value and (same or wanted.access is Access.SUSPENDED):  # suspended, it would be let in
            why = f"the login stays rejected: {value['rejected']}"
            expect = {"method": "fake", "state": wanted.access.value, "why": why}
            enforce = Enforcement("fake/d", Address(f"fake/d/sessions/{service.login}"), expect, WITHIN_S)
            return AccessPlan((), enforce, {"after": why}, (user,))
        if same:
            return AccessPlan((), None, {}, (user,))
        online = not isinstance(seen[Address(f"fake/d/sessions/{service.login}")].value, Absent)
        expect = {"method": "fake", "state": wanted.access.value, "plan": wanted.tariff}
        return AccessPlan(
            steps_for(service.login, before, value),
            Enforcement("fake/d", Address(f"fake/d/sessions/{service.login}"), expect, WITHIN_S),
            {"online": "online" if online else "offline", "nas": "bng"},
        )

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        return AccessPlan((Step(1, "fake/d", disconnect(service.login)),), None, {})

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address]) -> Judgment:
        login = enforce.address.rsplit("/", 1)[1]
        value = seen[enforce.address].value
        if "why" in enforce.expect and enforce.expect["why"] == "never online" and not isinstance(value, Absent):
            return Judgment(Enforced.NO, "old-session", "1 session carries on though the login is rejected")
        if "why" in enforce.expect:
            return Judgment(Enforced.YES, "stays-rejected", enforce.expect["why"])
        if isinstance(value, Absent):
            return Judgment(Enforced.PENDING, "offline")
        if any(a == Address(f"fake/d/session/{login}#{number}") for a in ended for number in value):
            return Judgment(Enforced.NO, "still-online")
        return Judgment(Enforced.YES, "seen")

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address] = ()
    ) -> Collection[Address]:
        return []


def disconnect(login: str) -> Effect:
    return Effect(
        Address(f"fake/d/sessions/{login}"), "disconnect", {}, f"kick-{login}", Replay.IF_UNPROVEN, ProofKind.GONE, 5
    )


def steps_for(login: str, before: Seen, after: Value) -> tuple[Step, ...]:
    kick = disconnect(login)
    return (
        Step(1, "fake/d", (Transition(Address(f"fake/d/user/{login}"), before, after),)),
        Step(2, "fake/d", kick, after=(1,), on_revert=(kick,)),
    )


class FakeConnector:
    """Implements `agent.connectors.base.Connector`."""

    def __init__(self, world: World, reach: Reach = Reach.DIAL) -> None:
        self.world = world
        self.traits = Traits(conditional=True, settle_s=0.0, window=8, reach=reach, effects=EFFECTS)
        self.targets: Sequence[Target] = (Target("fake/d", "fake"), Target("fake/r", "fake"))
        self.access_methods: Mapping[str, AccessMethod] = {"fake": FakeMethod()}
        self.calls_in = trio.Event()

    @asynccontextmanager
    async def dial(self, target: Target) -> AsyncIterator[Session]:
        yield FakeSession(self.world, target)

    async def serve(self, arrived: Callable[[Session], Awaitable[None]]) -> None:
        while self.traits.reach is Reach.ARRIVE:
            await self.calls_in.wait()
            self.calls_in = trio.Event()
            await arrived(FakeSession(self.world, self.targets[0]))
