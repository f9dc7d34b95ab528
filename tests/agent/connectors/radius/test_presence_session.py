"""Whether NAS are there: how often they are asked, and until when an answer counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from agent.connectors.radius.presence_session import AGAIN_S, HEARD_S, NasPresence
from agent.connectors.radius.schema import Nas

pytestmark = pytest.mark.virtual_time

AWAY = "no reply"


class Network:
    """Three NAS, and the times at which each was asked."""

    def __init__(self) -> None:
        self.nas = {f"10.0.0.{n}": Nas(f"bng-{n}", f"10.0.0.{n}", "127.0.0.1", 3799, "secret") for n in (1, 2, 3)}
        self.away: set[str] = set()
        self.asked: list[str] = []
        self.presence = NasPresence(self.nas, self._ask)

    async def _ask(self, nas: Nas) -> str:
        await trio.lowlevel.checkpoint()
        self.asked.append(nas.name)
        why = AWAY if nas.name in self.away else ""
        self.presence.note(nas.name, why)
        return why

    def just_asked(self) -> list[str]:
        """Return the NAS that were asked since the last call."""
        asked, self.asked = sorted(self.asked), []
        return asked


@pytest.fixture
def network() -> Iterator[Network]:
    return Network()


async def test_all_are_asked_once_until_their_answers_are_old(network: Network) -> None:
    assert await network.presence.missing() == {}
    assert network.just_asked() == ["bng-1", "bng-2", "bng-3"]
    await trio.sleep(HEARD_S - 1)
    network.presence.note("bng-2", "")  # it answered an item meanwhile
    assert await network.presence.missing() == {}
    assert network.just_asked() == []
    await trio.sleep(1)
    assert await network.presence.missing() == {}
    assert network.just_asked() == ["bng-1", "bng-3"]


async def test_one_that_falls_silent_is_missing_at_once(network: Network) -> None:
    assert await network.presence.missing() == {}
    network.presence.note("bng-2", AWAY)
    assert await network.presence.missing() == {"10.0.0.2": AWAY}
    network.presence.note("bng-2", "")
    assert await network.presence.missing() == {}


async def test_a_silent_one_is_asked_again_soon(network: Network) -> None:
    network.away = {"bng-3"}
    assert await network.presence.missing() == {"10.0.0.3": AWAY}
    network.just_asked()
    await trio.sleep(AGAIN_S - 1)
    assert await network.presence.missing() == {"10.0.0.3": AWAY}
    assert network.just_asked() == []
    network.away = set()
    await trio.sleep(1)
    assert await network.presence.missing() == {}
    assert network.just_asked() == ["bng-3"]
