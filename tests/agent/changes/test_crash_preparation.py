"""The crash suite over the preparation of a router: rows that are added, and taken back where one is refused.

Beside the durable commands, each row that is added or removed is a boundary: the agent dies before it leaves or after.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from agent.changes.engine.sessions import ItemSessions, Sessions
from agent.connectors.base import OnDevices, Preparation, PrepareTerms
from agent.connectors.routeros.placed_rules import OURS
from agent.model import Address, Item, ItemState, Listed, Seen
from agent.services.network import as_read
from lab.router.store import Event
from lab.router.table import Row
from tests.agent.changes.crash import Case, die_everywhere, name
from tests.agent.connectors.routeros.wires import Wire
from tests.builders.clock import FakeClock
from tests.builders.expect import expect
from tests.builders.router import ENTRIES, FILTER, PROFILES, RouterWorld
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time

S = ItemState
TARGET = "routeros/edge-0"
TERMS = PrepareTerms("suspended", ("198.51.100.80",), ("198.51.100.53",))
MENUS = (PROFILES, ENTRIES, FILTER)
_COUNTED = (".id", "bytes", "packets", "creation-time")
MADE = 7
"""A profile, an entry, and rules: of the garden, of DNS by udp and tcp, the drop, and the answers past FastTrack."""


class PreparedWorld(RouterWorld):
    """Its item prepares the first router, which has FastTrack and nothing for suspended subscribers."""

    def __init__(self, clock: FakeClock, refuses: Sequence[str] = ()) -> None:
        """`refuses`: commands that the router never obeys."""
        super().__init__(clock)
        router = self.router(TARGET)
        for row in router.rows(FILTER):
            router.remove(FILTER, row[".id"])
        router.remove(PROFILES, "suspended")
        for action in ("fasttrack-connection", "accept"):
            router.add(FILTER, chain="forward", action=action, connection_state="established,related")
        self._before = self.value("u0")
        for command in refuses:
            router.faults.inject("trap:not enough permissions (9)", match=command, times=10_000)

    async def item(self, n: int, login: str) -> Item:
        connector = self.connector(Wire)
        method = expect(OnDevices, connector.access_methods[TARGET])
        needs, seen = [method.on_devices()[TARGET].needs(())], dict[Address, Seen]()
        sessions = Sessions({"routeros": connector})
        async with trio.open_nursery() as nursery:
            await sessions.host(nursery)
            while missing := list(connector.preparation_reads(TARGET, needs, TERMS, seen)):
                seen.update(await ItemSessions(sessions).read(missing))
            nursery.cancel_scope.cancel()
        found = expect(Preparation, connector.preparation(TARGET, needs, TERMS, seen))
        assert len(found.steps) == MADE
        requires = tuple(as_read(where, seen[where].value) for where in found.rests_on)
        display = {"title": "router edge-0", "login": login}
        return Item(n, secrets.token_hex(16), None, Listed.CHANGE, "", display, requires, found.steps)

    def saw(self, target: str, path: str, row: Row, event: Event) -> None:
        comment = row.props.get("comment", "")
        if path in MENUS and comment.startswith(OURS) and event in ("added", "removed"):
            self._writes.append((f"{event} {comment}", target))

    def _ours(self) -> list[str]:
        found = [row for path in MENUS for row in self.router(TARGET).rows(path)]
        return [row["comment"] for row in found if row.get("comment", "").startswith(OURS)]

    def value(self, login: str) -> str:
        """Return all rows of the three menus, in their order and without what only the router counts."""
        rows = [row for path in MENUS for row in self.router(TARGET).rows(path)]
        return str([sorted((k, v) for k, v in row.items() if k not in _COUNTED) for row in rows])

    def suspended(self, login: str) -> bool | None:
        """Return whether the router is prepared; None: in part, or something else was changed."""
        ours = self._ours()
        if not ours:
            return False if self.value(login) == self._before else None
        return True if len(ours) == MADE else None

    def at_large(self, login: str) -> bool:
        return False


def later(n: int, *faults: str) -> tuple[str, ...]:
    """Return faults of the commands from number `n` on; the first ones meet nothing."""
    return (*[""] * (n - 1), *faults)


WELL = [Case(), *map(Case, (later(1, "reply-lost"), later(2, "late"), later(3, "cut-after"), later(4, "reboot")))]
WELL += [Case(later(6, "command-lost")), Case(later(7, "reply-lost"))]


@pytest.mark.slow
@pytest.mark.parametrize("case", WELL, ids=name)
async def test_dies_at_every_boundary(case: Case, tmp_path: Path) -> None:
    """Each row is added once, in its place, whatever was lost and whenever the agent died."""
    end = await die_everywhere(tmp_path, case, lambda clock, _: PreparedWorld(clock))
    assert end.states == (S.APPLIED,)
    assert len(end.writes) == MADE


@pytest.mark.slow
@pytest.mark.parametrize(("stand", "command"), list(enumerate(f"{path}/add" for path in MENUS)))
async def test_dies_while_a_half_is_taken_back(stand: int, command: str, tmp_path: Path) -> None:
    """The router refuses a row: those before it go again, and it is as it was."""
    case = Case(on_failure=OnFailure.REVERT)
    end = await die_everywhere(tmp_path, case, lambda clock, _: PreparedWorld(clock, refuses=(command,)))
    assert end.states == (S.REVERTED if stand else S.NOT_APPLIED,)
    assert len(end.writes) == 2 * stand


@pytest.mark.slow
async def test_a_half_that_cannot_be_taken_back_needs_a_person(tmp_path: Path) -> None:
    refuses = (f"{FILTER}/add", f"{ENTRIES}/remove")
    case = Case(on_failure=OnFailure.REVERT)
    end = await die_everywhere(tmp_path, case, lambda clock, _: PreparedWorld(clock, refuses=refuses))
    assert end.states == (S.NEEDS_A_PERSON,)
    assert [what for what, _ in end.writes if what.startswith("added")] == [
        f"added {OURS}garden",
        f"added {OURS}suspended subscribers",
    ]
