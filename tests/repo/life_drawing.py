"""The life of an item, drawn from its table into docs/ARCHITECTURE.md: `python -m tests.repo.life_drawing`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent.changes.journal.machine import TRANSITIONS
from agent.model import ItemState
from tests.repo import tree

PAGE: Final = tree.ROOT / "docs" / "ARCHITECTURE.md"
GROUPS: Final = {
    "not sent yet": (ItemState.PLANNED, ItemState.WAITING),
    "under way": (ItemState.RUNNING, ItemState.UNKNOWN),
    "set": (ItemState.APPLIED, ItemState.ACCEPTED, ItemState.SET_AT_NEXT_LOGIN, ItemState.SET_NOT_ENFORCED),
    "nothing was sent": (ItemState.SKIPPED, ItemState.SUPERSEDED),
    "a person looks": (ItemState.DIVERGED, ItemState.NEEDS_A_PERSON),
}
"""States that the drawing frames together. An arrow from a frame leaves each of its states."""
_BLOCK: Final = re.compile(r"(?<=<!-- life of an item -->\n)```mermaid\n.*?```\n", re.DOTALL)


def states_table() -> list[tuple[str, str, str]]:
    """Return the machine's table, a row an event: event, states that it leaves, state that it leads to."""
    left: dict[tuple[str, str], list[str]] = {}
    for (old, event), new in TRANSITIONS.items():
        left.setdefault((event.value, new.value), []).append(old.value)
    return [(f"`{event}`", ", ".join(olds), new) for (event, new), olds in left.items()]


def _sources(olds: set[str]) -> Iterator[str]:
    for name, states in GROUPS.items():
        inside = {state.value for state in states}
        if len(inside) > 1 and inside <= olds:
            olds -= inside
            yield _node(name)
    yield from (_node(old) for old in sorted(olds))


def _node(name: str) -> str:
    return re.sub(r"[^a-z]", "_", name)


def drawing() -> str:
    """Return the drawing, fenced: the states in their frames, and an arrow for each event and the states it leaves."""
    framed = {state for states in GROUPS.values() for state in states}
    known = {state.value for move in TRANSITIONS for state in (move[0], TRANSITIONS[move])}
    lines = ["flowchart LR", '    begin(["preview"]) --> planned & excluded & blocked']
    for name, states in GROUPS.items():
        lines += [f'    subgraph {_node(name)}["{name}"]']
        lines += [f'        {_node(s.value)}["{s.value}"]' for s in states]
        lines += ["    end"]
    alone = [s.value for s in ItemState if s not in framed and s.value in known]
    lines += [f'    {_node(name)}["{name}"]' for name in alone]
    for event, olds, new in states_table():
        sources = list(_sources(set(olds.split(", "))))
        lines += [f"    {' & '.join(sources)} -->|{event.strip('`')}| {_node(new)}"]
    return "\n".join(["```mermaid", *lines, "```", ""])


def drawn(page: str) -> str:
    """Return the page with the drawing as the table has it."""
    return _BLOCK.sub(lambda _: drawing(), page)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
