"""A source under test beside its lab: every fault of a bad day, and the state that it has to end in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import trio

from agent.billing_model.errors import BillingState
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


@dataclass(frozen=True)
class BadDay:
    """A fault, by the arguments of `BillingServer.play`, and how a full reading ends: None: whole and right."""

    name: str
    fault: Mapping[str, Any]
    state: BillingState | None
    says: str = ""


U, R, P = BillingState.UNREACHABLE, BillingState.REFUSED, BillingState.PARTIAL


def bad_days(list_path: str, page: int) -> Sequence[BadDay]:
    """Return every fault. `list_path`: a part of the path of the list that pages are lost of."""
    return (
        BadDay("401", {"kind": "status", "value": 401}, R, "credentials are refused .*: see secret in"),
        BadDay("403", {"kind": "status", "value": 403, "where": list_path}, R, "right is missing"),
        BadDay("429", {"kind": "status", "value": 429, "retry_after": "4000"}, U, "status 429"),
        BadDay("429-once", {"kind": "status", "value": 429, "retry_after": "7", "times": 1}, None),
        BadDay("500", {"kind": "status", "value": 500}, U, "status 500"),
        BadDay("500-once", {"kind": "status", "value": 500, "times": 1, "where": list_path}, None),
        BadDay(
            "404", {"kind": "status", "value": 404, "where": list_path}, U, "expected status 200, got 404: see url in"
        ),
        BadDay("cut", {"kind": "cut", "where": list_path}, U, "middle of the answer"),
        BadDay("cut-once", {"kind": "cut", "where": list_path, "times": 1}, None),
        BadDay("type", {"kind": "type", "where": list_path}, U, "expected JSON"),
        BadDay("encoding", {"kind": "encoding", "where": list_path}, U, "strict JSON in UTF-8"),
        BadDay("endless", {"kind": "endless", "where": list_path}, U, "bytes expected, got more"),
        BadDay("page-lost", {"kind": "page-lost", "where": list_path, "value": page}, P, "did not fit"),
        BadDay("page-lost-once", {"kind": "page-lost", "where": list_path, "value": page - 1, "times": 2}, None),
        BadDay("page-doubled", {"kind": "page-doubled", "where": list_path, "value": 2 * page - 2}, P, "did not fit"),
        BadDay("clock", {"kind": "clock", "value": 86_400 * 400}, None),
    )


Check = Callable[[], None]
