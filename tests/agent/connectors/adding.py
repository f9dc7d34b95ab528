"""Copies the connector that docs/adding-a-connector.md shows into a folder, as a package that can be imported."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from agent import daemon as daemons
from agent.config import AgentConfig
from agent.runtime.clock import SystemClock
from agent.runtime.http import HttpRequest, Response
from agent.store.identity import create_identity
from agent.store.vault import create_store_key, load_store_key
from tests.builders.expect import expect

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "meter"
PACKAGE = "meter_of_the_page"


def write_package(folder: Path) -> str:
    """Copy the example under a name of its own; return the package's name."""
    (folder / PACKAGE).mkdir()
    for path in EXAMPLE.glob("*.py"):
        code = path.read_text(encoding="utf-8")
        (folder / PACKAGE / path.name).write_text(code.replace("agent.connectors.meter", PACKAGE), encoding="utf-8")
    return PACKAGE


class Agent:
    def __init__(self, daemon: daemons.Daemon) -> None:
        self.daemon = daemon

    async def call(self, method: str, path: str, body: str = "", query: dict[str, str] | None = None) -> Any:
        answer = expect(
            Response, await self.daemon.api(HttpRequest(method, path, query or {}, {}, body.encode(), os.getuid(), 1))
        )
        return answer.json


@asynccontextmanager
async def running(config: AgentConfig) -> AsyncIterator[Agent]:
    create_store_key(config.key_file)
    create_identity(config.state_dir, load_store_key(config.key_file))
    clock = SystemClock()
    async with daemons.open_files(config, clock) as files:
        daemon = daemons.build(config, files, clock)
        async with trio.open_nursery() as nursery:
            await nursery.start(daemon.run)
            yield Agent(daemon)
            nursery.cancel_scope.cancel()
