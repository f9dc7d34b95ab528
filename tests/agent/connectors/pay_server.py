"""A payment system's API of one test: each request goes to a function of the test, behind the lab's server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from agent.billing_model.errors import SourceError
from lab.billing.server import WebReply, WebRequest, serve_billing
from tests.builders.web import QuickClock

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """A request. `query`: without repeated names."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


Answer = tuple[int, Any]
"""Status, and what the body holds as JSON."""


@dataclass
class PaySystem:
    """The lab's `System` that hands each request to a function; `asked` are the requests that came."""

    answer_of: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)

    def answer(self, request: WebRequest) -> WebReply:
        one = Asked(request.method, unquote(request.path), dict(request.query), request.headers, request.body)
        self.asked.append(one)
        return WebReply(*self.answer_of(one))


@dataclass(frozen=True)
class PayServer:
    """The running server; `asked` are the requests that came."""

    url: str
    asked: list[Asked]


async def outcome(work: Awaitable[T]) -> T | SourceError:
    """Return what some work gives, or why a source could not be read: inside a nursery it would become a group."""
    try:
        return await work
    except SourceError as err:
        return err


def told(found: T | SourceError) -> T:
    """Return what `outcome` gave, or raise it."""
    if isinstance(found, SourceError):
        raise found
    return found


@asynccontextmanager
async def pay_server(answer: Callable[[Asked], Answer]) -> AsyncIterator[PayServer]:
    system = PaySystem(answer)
    async with serve_billing(system) as server:
        yield PayServer(server.url, system.asked)


def naps() -> QuickClock:
    """Return a clock on which every sleep is over at once, at the moment of the payments of these tests."""
    return QuickClock(1_795_000_000.0)
