"""A recorded state directory, brought back: its files and keys, its devices, and a clock that stands at its moment."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import tarfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent import daemon as daemons
from agent.config import load
from agent.connectors.base import Connector
from agent.model import ABSENT, Address
from tests.builders.agent import Agent
from tests.builders.people import People
from tests.builders.world import FakeConnector, World
from tests.e2e.cpe_site import ACS
from tests.e2e.files import Billing, Files, config_text
from tests.e2e.site import Json, MovableClock, Site, open_site
from trust import envelope as envelopes
from trust import statements
from trust.document import Trust
from trust.keys import SigningKey
from trust.statements import Enroll

FOLDER = Path(__file__).parent / "recorded"
POLICY = {"run_for_s": 1800, "canary": 1}


@dataclass
class LaterClock(MovableClock):
    """The machine's pace from the moment of the recording, after a boot."""

    @property
    def boot_id(self) -> str:
        return "22222222-3333-4444-5555-666666666666"


@dataclass
class Recorded:
    """A recording, unpacked into a site's folder. `told`: what the version that made it said of it."""

    files: Files
    told: Json
    clock: LaterClock
    world: World | None

    @property
    def connectors(self) -> Mapping[str, Connector] | None:
        return None if self.world is None else {"fake": FakeConnector(self.world)}

    def id(self, name: str) -> str:
        """Return the short id of a change by the name that the recording gave it."""
        return str(self.told["names"][name])

    def then(self, name: str) -> Json:
        """Return a change as it was recorded."""
        shown: Json = self.told["shown"][self.id(name)]
        return shown

    @asynccontextmanager
    async def open_still(self) -> AsyncIterator[Agent]:
        """Open the state directory, and let nothing run."""
        config = load(self.files.config)
        async with daemons.open_files(config, self.clock) as files:
            daemon = daemons.build(config, files, self.clock, connectors=self.connectors)
            yield Agent(daemon, self.files.people, "")

    @asynccontextmanager
    async def open_running(self) -> AsyncIterator[Site]:
        """Start the agent on it, as after the crash."""
        async with open_site(self.files, clock=self.clock, install=False, connectors=self.connectors) as site:
            yield site


def unpack(name: str, folder: Path) -> Recorded:
    """Unpack a recording into a folder."""
    home = folder / "site"
    home.mkdir(mode=0o700)
    with tarfile.open(FOLDER / f"{name}.tar.xz") as tar:
        tar.extractall(home, filter="data")
    (home / "state").chmod(0o700)
    told = json.loads((home / "expected.json").read_text())
    config = home / "agent.toml"
    config.write_text(config_text(ACS if name == "cpes" else "", POLICY), encoding="utf-8")
    world_file = home / "world.json"
    files = _files(home, config, told)
    files.billing.write()
    return Recorded(
        files=files,
        told=told,
        clock=LaterClock(wall_moved_s=told["at_s"] + 1 - time.time()),
        world=_world(json.loads(world_file.read_text())) if world_file.exists() else None,
    )


def _files(home: Path, config: Path, told: Json) -> Files:
    people_json = json.loads((home / "people.json").read_text())
    people = People(
        keys={who: SigningKey(bytes.fromhex(seed)) for who, seed in people_json["keys"].items()},
        trust_id=people_json["trust_id"],
        now_s=int(told["at_s"]),
    )
    trust = envelopes.decode_untrusted(base64.b64decode(people_json["trust"]))
    enroll = envelopes.decode_untrusted(base64.b64decode(people_json["enroll"]))
    rows = _rows(told["billing"])
    return Files(
        folder=home,
        config=config,
        people=people,
        billing=Billing(home / "billing.csv", rows),
        secrets={},
        enrolled=statements.decode_as_untrusted(Enroll, enroll),
        trust=statements.decode_as_untrusted(Trust, trust),
    )


def _rows(text: str) -> dict[str, dict[str, str]]:
    return {f"{row['subscriber']}/{row['service']}": row for row in csv.DictReader(io.StringIO(text))}


def _world(recorded: Json) -> World:
    world = World()
    world.values = {Address(a): ABSENT if v is None else v for a, v in recorded["values"].items()}
    world.sessions = recorded["sessions"]
    return world


def uid() -> int:
    """Return the user whom the configuration maps to maria."""
    return os.getuid()
