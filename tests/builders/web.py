"""A source under test beside its lab: the connector that a section makes, and a clock without waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import trio

from agent.config import all_keys
from agent.config_reader import ConfigReader
from agent.connectors.base import KeptAnswer
from agent.connectors.spec import ConnectorContext, ConnectorSpec, configured
from agent.runtime.clock import Clock
from lab.billing.server import BillingServer, System, serve_billing
from tests.builders.connector import NO_BOOK, commit

NOW_S = 1_795_773_600.0  # 2026-11-27T10:00:00Z


class QuickClock:
    """A clock whose sleeps are over at once."""

    boot_id = ""

    def __init__(self, wall_s: float = NOW_S) -> None:
        self.now_s, self.slept = wall_s, list[float]()

    def wall_s(self) -> float:
        return self.now_s

    def boot_s(self) -> float:
        return self.now_s - NOW_S + 1000.0

    async def sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.slept.append(seconds)
        self.now_s += seconds

    async def sleep_until_boot(self, boot_s: float) -> None:
        await self.sleep(boot_s - self.boot_s())


@dataclass
class Book:
    """An `AnswerBook` that outlives the connector."""

    answers: dict[tuple[str, str, str], KeptAnswer] = field(default_factory=dict)
    writes: int = 0

    def kept(self, of: str) -> Sequence[KeptAnswer]:
        return [a for (owner, _, _), a in self.answers.items() if owner == of]

    async def keep(self, of: str, answers: Sequence[KeptAnswer]) -> None:
        await trio.lowlevel.checkpoint()
        self.writes += 1
        self.answers |= {(of, a.kind, a.key): a for a in answers}


def made(
    spec: ConnectorSpec[Any],
    table: Mapping[str, Any],
    secrets: Mapping[str, bytes],
    book: Book | None = None,
    clock: Clock | None = None,
    *,
    name: str = "main",
) -> Any:
    """Return the connector that a section makes."""
    reader = ConfigReader(Path("/etc/ispagent/agent.toml"), {spec.name: {name: dict(table)}}, all_keys((spec,)))
    one = configured(spec, reader)
    assert reader.problems == []
    context = ConnectorContext(secrets.__getitem__, commit, UTC, clock or QuickClock(), NO_BOOK, book or Book())
    return one.make(context)


def problems(spec: ConnectorSpec[Any], table: Mapping[str, Any], *, name: str = "main") -> list[str]:
    """Return what is wrong with a section."""
    reader = ConfigReader(Path("/a.toml"), {spec.name: {name: dict(table)}}, all_keys((spec,)))
    configured(spec, reader)
    return [text.removeprefix("/a.toml ") for text in reader.problems]


@asynccontextmanager
async def behind(system: System, **given: Any) -> AsyncIterator[BillingServer]:
    async with serve_billing(system, **given) as server:
        yield server
