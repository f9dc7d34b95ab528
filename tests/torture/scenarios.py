"""The scenarios, by name, and how one round of one is played."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from tests.servers import MariaDB, PostgreSQL
from tests.torture import cloud, cpes, crowd, radius, routers, state
from tests.torture.rounds import Round, Servers

ROUND_S = 420.0
"""How long a round may take before it counts as stuck."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario."""

    play: Callable[[Round, Servers], Awaitable[None]]
    needs_root: bool = False


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "postgresql": Scenario(partial(radius.play, PostgreSQL)),
    "mariadb": Scenario(partial(radius.play, MariaDB)),
    "routers": Scenario(routers.play),
    "cpes": Scenario(cpes.play),
    "crowd": Scenario(partial(crowd.play, PostgreSQL)),
    "control-plane": Scenario(cloud.play),
    "restored": Scenario(state.restored),
    "cloned": Scenario(state.cloned),
    "full-disk": Scenario(state.full_disk, needs_root=True),
}


def run_round(about: Round, servers: Servers) -> None:
    """Play one round. What breaks the round itself is found too."""
    chosen = SCENARIOS[about.scenario]

    async def play() -> None:
        with trio.move_on_after(ROUND_S) as late:
            await chosen.play(about, servers)
        if late.cancelled_caught:
            about.wrong("stuck", f"the round was not over after {ROUND_S:.0f} s")

    async def main() -> None:
        try:
            await play()
        except Exception as err:  # noqa: BLE001  a round that broke tells so, and the next one goes on
            about.say(traceback.format_exc())
            cause: BaseException = err
            while isinstance(cause, BaseExceptionGroup):
                cause = cause.exceptions[0]
            about.wrong("broken", f"{type(cause).__name__}: {cause}")

    trio.run(main)
    (about.folder / "told.txt").write_text("\n".join([*about.told, ""]))
