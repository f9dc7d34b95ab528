"""The rest of a change of ports: those of which nothing was sent, or nothing stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agent.changes.journal.plans import Loaded
from agent.changes.journal.request import PORT, PORT_ADMIN, PORT_ALIAS, PORT_OFF_S
from agent.changes.planning.again import LeftOut, RestOfChange, command_of, left_out, no_rest, returning_states
from agent.model import ABSENT, Effect, Item, ItemState, Step


def rest_of(loaded: Loaded) -> RestOfChange:
    """Return the rest of a change of ports, with the settings that were asked for.

    Raises:
        RequestError: it is not over, was rejected, or has no such rest.
    """
    row, action, returns = loaded.row, loaded.plan.action, returning_states(loaded)
    refs: list[str] = []
    left: list[LeftOut] = []
    settings: Mapping[str, str] = {}
    for item in loaded.items.items:
        state = loaded.rows[item.n].state
        if state in returns and item.steps:
            refs.append(_ref(item))
            settings = _settings(item.steps[0])
        else:
            left.append(left_out(row.short, item.display.get("title", ""), state, _command))
    if not refs:
        raise no_rest(row.short, left)
    return RestOfChange(row.short, action, tuple(refs), tuple(left), settings=settings)


def _ref(item: Item) -> str:
    return f"{item.steps[0].target.partition('/')[2]}/{item.display[PORT]}"


def _settings(step: Step) -> Mapping[str, str]:
    """Return the settings that a step asked for: the same for each port of a change."""
    if isinstance(step.do, Effect):
        return {name: text for name, text in step.do.args.items() if name == PORT_OFF_S}
    (write,) = step.do
    wanted = {} if write.after is ABSENT else write.after
    return {name: str(text) for name, text in wanted.items() if name in (PORT_ADMIN, PORT_ALIAS)}


def _command(short: str, state: ItemState, title: str) -> str:
    """Return the command to type for a port that is left out, by its title such as `port 0/5 of core-1`."""
    device = title.rpartition(" of ")[2]
    return command_of(short, state, f"ispagent device show {device}, then ask for the port anew")
