"""Planner of changes of ports: live reads of the device, and the known lines of its ports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.changes.journal.commands import PlanRow
from agent.changes.journal.item_commands import set_since
from agent.changes.journal.machine import TOUCHED
from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import PORT, PORT_ADMIN, PORT_ALIAS, PORT_OFF_S, Ask, Request, RequestError, refusal
from agent.changes.journal.trust_state import Pinned
from agent.changes.planning.again import RestOfChange
from agent.changes.planning.intake import Planner
from agent.changes.planning.preview import Previewer, Scope
from agent.connectors.base import (
    CannotEnforce,
    Connector,
    ManagesPorts,
    PortChange,
    PortPlan,
    PortWish,
)
from agent.inventory import book
from agent.inventory.book import Broken, RequirementTest
from agent.lines.desk import LineDesk
from agent.lines.states import Query
from agent.model import ABSENT, Address, Effect, Item, ItemState, Listed, Requirement, Seen, Step, Transition
from agent.ports.reasons import PortSkipReason
from agent.ports.rest import rest_of
from agent.ports.risks import PortRisk, hanging_text, open_text, risk_of, together
from agent.reasons import SkipReason
from agent.services.network import ROUNDS_MAX, as_read
from agent.services.verbs import Leave
from agent.store.db import Tx
from trust import chance
from trust.policy import Action
from trust.statements import OnFailure

NO_UPLINK: Final = "no-uplink"
_MAY_STAND: Final = (*TOUCHED, ItemState.NEEDS_A_PERSON, ItemState.DIVERGED)
"""States of an item of which something may stand on its device."""
_IRREVERSIBLE: Final = "cannot be undone: what the port feeds starts again by itself"


@dataclass(frozen=True, slots=True)
class MadePort:
    """The item of a port, with its risk where it would change something."""

    item: Item
    risk: PortRisk | None = None


@dataclass(frozen=True, slots=True)
class PortPlanner:
    """Implements `Planner` for ports. `connectors`: the managers of ports, by target."""

    previewer: Previewer
    lines: LineDesk
    connectors: Mapping[str, ManagesPorts]

    async def plan(self, request: Request, pinned: Pinned) -> bytes:
        """Return the id of the plan that answers the request.

        Raises:
            RequestError: no such device, nothing would change, or policy refuses.
            UnreadableError: nothing could be read.
        """
        return await self._propose(request, pinned, "from what it reads now")

    def rest(self, loaded: Loaded) -> RestOfChange:
        """Return the ports of a change of which nothing was sent, or nothing stands.

        Raises:
            RequestError: it is not over, was rejected, or has no such rest.
        """
        return rest_of(loaded)

    async def again(self, request: Request, rest: RestOfChange, of: PlanRow, pinned: Pinned) -> bytes:
        """Return the id of the plan for the rest of a change of ports.

        Raises:
            RequestError: nothing would change, or policy refuses.
            UnreadableError: nothing could be read.
        """
        asked = replace(request, ask=replace(request.ask, refs=rest.refs, settings=rest.settings))
        return await self._propose(asked, pinned, rest.said(), of.plan_id)

    async def _propose(self, request: Request, pinned: Pinned, source: str, again_of: bytes | None = None) -> bytes:
        ask = request.ask
        if ask.action is Action.PORT_CYCLE and ask.on_failure is OnFailure.REVERT:
            raise RequestError(f"{ask.action.value} cannot be taken back: expected another --on-failure than revert")
        wish, chosen = wish_of(ask), self._chosen(ask.refs)
        if wish.restores and ask.on_failure is OnFailure.REVERT:  # nobody judged who would be cut off by then
            raise RequestError("port up: to take it back would cut: expected another --on-failure than revert")
        made = [await self._made(target, port, wish) for target, port in chosen]
        _refuse_twice(made)
        cycles = wish.what is PortChange.POWER_CYCLE
        undo = _IRREVERSIBLE if cycles else ""
        scope = replace(self._scope(made, source), undo=undo, again_of=again_of)
        return await self.previewer.propose(request, [one.item for one in made], scope, pinned)

    async def revert(self, request: Request, loaded: Loaded, pinned: Pinned) -> bytes:
        """Return the id of the plan that takes back a change of ports, as far as it stands.

        Raises:
            RequestError: nothing of it stands, or nothing of it can be taken back.
            UnreadableError: the device could not be read.
        """
        row = loaded.row
        stand = [item for item in loaded.items.items if loaded.rows[item.n].state in _MAY_STAND and item.steps]
        if not stand:
            raise RequestError(f"{row.short} has nothing to revert: no item of it stands")
        made = [await self._taken_back(item, row.plan_id) for item in stand]
        own = int(self.previewer.clock.wall_s()) - row.made_s if row.requester == request.requester else None
        scope = replace(self._scope(made, f"reverts {row.short}"), own_revert_age_s=own, reverts=row.plan_id)
        return await self.previewer.propose(request, [one.item for one in made], scope, pinned)

    def _scope(self, made: Sequence[MadePort], source: str) -> Scope:
        services = book.services(self.previewer.store.reader)
        config, guarded = together(one.risk for one in made if one.risk is not None)
        active = sum(1 for service in services.values() if not service.reasons)
        return Scope(active, None, False, source=source, device_config=config, guarded=guarded)

    def _chosen(self, refs: Iterable[str]) -> list[tuple[str, str]]:
        """Return the ports that were asked for: target, and the port as it was written.

        Raises:
            RequestError: a reference is none, or its device is not configured.
        """
        found: dict[tuple[str, str], None] = {}
        problems = []
        for ref in refs:
            name, slash, port = ref.partition("/")
            targets = [target for target in self.connectors if target.partition("/")[2] == name]
            if not (slash and port):
                problems.append(f"expected DEVICE/PORT, such as sw-3/ge-0-7, got {ref[:80]}")
            elif len(targets) != 1:
                known = ", ".join(sorted(target.partition("/")[2] for target in self.connectors)) or "none"
                told = "no device" if not targets else f"{len(targets)} devices"
                problems.append(f"{told} called {name[:40]} with ports to change; configured: {known[:400]}")
            else:
                found[targets[0], port] = None
        if problems:
            raise refusal(problems)
        return list(found)

    async def _made(self, target: str, port: str, wish: PortWish) -> MadePort:
        """Return the item of a wish for a port, or one that says why it is left alone.

        Raises:
            UnreadableError: the device could not be read.
        """
        planned, seen = await self._look(target, port, wish)
        title = {"title": f"port {port} of {_name(target)}"}
        if isinstance(planned, CannotEnforce):
            return MadePort(_left(title, Leave(planned.reason, planned.detail, blocked=True)))
        title = {**title, **planned.display, PORT: planned.part.partition("/")[2]}
        if not planned.steps:
            return MadePort(_left(title, Leave(SkipReason.ALREADY, "it already reads so")))
        use = await self.lines.port_use(target, planned.part)
        if use.uplink and wish.cuts:
            return MadePort(_left(title, Leave(PortSkipReason.UPLINK, use.uplink, blocked=True)))
        now = " · ".join(filter(None, (title.get("now", ""), hanging_text(wish, use))))
        display = {**title, "now": now, "open": open_text(planned, use) if wish.cuts else ""}
        requires = [as_read(where, seen[where].value) for where in planned.rests_on]
        if wish.cuts:
            requires.append(Requirement(_line_address(target, planned.part), NO_UPLINK, "no uplink is known on it"))
        shown = {name: text for name, text in display.items() if text}
        return MadePort(_item(shown, planned.steps, tuple(requires)), risk_of(wish, planned, use))

    async def _look(
        self, target: str, port: str, wish: PortWish
    ) -> tuple[PortPlan | CannotEnforce, Mapping[Address, Seen]]:
        connector, seen = self.connectors[target], dict[Address, Seen]()
        for _ in range(ROUNDS_MAX):
            if not (missing := connector.port_reads(target, port, wish, seen)):
                break
            session = await self.previewer.sessions.dialed(target)
            seen |= await session.read(missing)
        return connector.port_plan(target, port, wish, seen), seen

    # --- revert ---

    async def _taken_back(self, item: Item, plan_id: bytes) -> MadePort:
        target, port = item.steps[0].target, item.display.get(PORT, "")
        title = {name: item.display[name] for name in ("title", PORT) if name in item.display}
        if target not in self.connectors:
            return MadePort(_left(title, Leave(SkipReason.CHANGED_SINCE, "it is no longer configured", blocked=True)))
        do = item.steps[0].do
        if isinstance(do, Effect):
            return MadePort(_left(title, Leave(SkipReason.IRREVERSIBLE, f"a {do.verb} cannot be taken back")))
        (write,) = do
        same = item.requires[0]  # the marks of its device
        session = await self.previewer.sessions.dialed(target)
        seen = await session.read([write.address, same.address])
        now = seen[write.address]
        if as_read(same.address, seen[same.address].value) != same:
            return MadePort(_left(title, Leave(SkipReason.CHANGED_SINCE, "another device is there since")))
        if now.value == write.before.value:
            return MadePort(_left(title, Leave(PortSkipReason.PORT_AS_BEFORE, "nothing of the change stands on it")))
        if now.value != write.after:
            return MadePort(_left(title, Leave(SkipReason.CHANGED_SINCE, f"{write.address} was changed since")))
        if by := set_since(self.previewer.store.query, plan_id, item):
            return MadePort(_left(title, Leave(SkipReason.CHANGED_SINCE, f"change {by} set it since")))
        back = write.before.value
        wanted = None if back is ABSENT else back.get(PortChange.ADMIN.value)
        if isinstance(wanted, str):  # it may cut somebody off, as any other
            return await self._made(target, port, PortWish(PortChange.ADMIN, wanted))
        # Exactly the description from before is put back, also one that nobody could ask for
        display = {**title, "after": "as before the change"}
        steps = (Step(1, target, (Transition(write.address, now, back),)),)
        return MadePort(_item(display, steps, item.requires[:1]), PortRisk(False, True, frozenset()))


def wish_of(ask: Ask) -> PortWish:
    """Return the wish of an ask, the same for each port."""
    if ask.action is Action.PORT_CYCLE:
        return PortWish(PortChange.POWER_CYCLE, ask.settings.get(PORT_OFF_S, ""))
    if PORT_ADMIN in ask.settings:
        return PortWish(PortChange.ADMIN, ask.settings[PORT_ADMIN])
    return PortWish(PortChange.ALIAS, ask.settings.get(PORT_ALIAS, ""))


def _refuse_twice(made: Sequence[MadePort]) -> None:
    places = [one.item.steps[0].target + "/" + one.item.display[PORT] for one in made if one.item.steps]
    twice = sorted({place for place in places if places.count(place) > 1})
    if twice:
        raise RequestError(f"expected each port once, got {', '.join(twice)} by several names")


def _item(display: Mapping[str, str], steps: tuple[Step, ...], requires: tuple[Requirement, ...]) -> Item:
    return Item(1, chance.token_hex(16), None, Listed.CHANGE, "", display, requires, steps)


def _left(display: Mapping[str, str], leave: Leave) -> Item:
    listed = Listed.BLOCKED if leave.blocked else Listed.EXCLUDED
    return Item(1, chance.token_hex(16), None, listed, leave.code, {**display, "why_not": leave.why})


def _line_address(target: str, part: str) -> Address:
    return Address(f"lines/{target}/{part}")


def _name(target: str) -> str:
    return target.partition("/")[2]


def requirement_tests(uplink_now: Callable[[Query, str, str], str]) -> Mapping[str, RequirementTest]:
    """Return the tests of requirements on ports. `uplink_now`: see `LineDesk.uplink_now`."""

    def still_none(tx: Tx, _item: Item, requirement: Requirement, _begun: bool) -> Broken | None:
        connector, name, part = requirement.address.removeprefix("lines/").split("/", 2)
        why = uplink_now(tx.all, f"{connector}/{name}", part)
        return Broken(f"the port became an uplink since the preview: {why}", stale=True) if why else None

    return {NO_UPLINK: still_none}


def planners(previewer: Previewer, lines: LineDesk, connectors: Iterable[Connector]) -> Mapping[Action, Planner]:
    """Return the planner of each action on ports."""
    known = {target.id: one for one in connectors if isinstance(one, ManagesPorts) for target in one.targets}
    planner = PortPlanner(previewer, lines, known)
    return dict.fromkeys((action for action in Action if action.on_ports), planner)
