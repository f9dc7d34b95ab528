"""The two programs' stores behind one face, so that each rule of the writer is tested for both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agent.store.db import Tx
from agent.store.errors import RefusedCommandError, StoreFailedError
from agent.store.log_store import Entry
from control_plane.errors import InputError, LocalFailureError
from control_plane.store import CloudStore
from durable.writer import Transaction
from tests.builders.store import open_store
from trust.leaf import LeafKind

WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Put:
    """Write one row, and one event where there is a log; then perhaps go wrong."""

    key: str
    wrong: BaseException | None = None
    size: int = 1
    also: Callable[[Any], object] = lambda tx: None

    def run(self, tx: Transaction) -> str:
        if isinstance(tx, Tx):
            tx.append(Entry(LeafKind.START))
        tx.run("INSERT INTO meta VALUES (?, ?)", (self.key, bytes(self.size)))
        self.also(tx)
        if self.wrong is not None:
            raise self.wrong
        return self.key


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the writer busy until the commands behind it wait together."""

    begun: threading.Event
    until: threading.Event

    def run(self, tx: Transaction) -> None:
        self.begun.set()
        if not self.until.wait(WAIT_S):
            raise AssertionError("nobody let go")


class Agent:
    """The agent's store, in a trio run of its own for each call."""

    failed_error: type[Exception] = StoreFailedError

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.db"
        self.store: Any = open_store(folder)

    def refusal(self) -> Exception:
        return RefusedCommandError("no", "not this")

    def together(self, *commands: object) -> list[Any]:
        return trio.run(self._together, commands)

    async def _together(self, commands: Sequence[object]) -> list[Any]:
        results: list[Any] = [None] * (len(commands) + 1)
        begun, free = threading.Event(), threading.Event()

        async def one(n: int, command: Any) -> None:
            try:
                results[n] = await self.store.run(command)
            except BaseException as err:  # noqa: BLE001  it is the result
                results[n] = err

        with trio.fail_after(WAIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one, -1, Hold(begun, free))
                await trio.to_thread.run_sync(begun.wait, WAIT_S)
                for n, command in enumerate(commands):
                    nursery.start_soon(one, n, command)
                    await trio.testing.wait_all_tasks_blocked()
                free.set()
        return results[:-1]

    def one(self, command: Any) -> Any:
        async def run() -> Any:
            with trio.fail_after(WAIT_S):
                return await self.store.run(command)

        return trio.run(run)


class ControlPlane:
    """The control plane's store, in an event loop of its own for each call."""

    failed_error: type[Exception] = LocalFailureError

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cloud.db"
        self.store: Any = CloudStore(self.path)

    def refusal(self) -> Exception:
        return InputError("not this")

    def together(self, *commands: object) -> list[Any]:
        async def main() -> list[Any]:
            begun, free = threading.Event(), threading.Event()
            held = asyncio.ensure_future(self.store.run(Hold(begun, free)))
            await asyncio.to_thread(begun.wait, WAIT_S)
            waiting = [asyncio.ensure_future(self.store.run(command)) for command in commands]
            await asyncio.sleep(0)
            free.set()
            return (await asyncio.wait_for(asyncio.gather(*waiting, held, return_exceptions=True), WAIT_S))[:-1]

        return asyncio.run(main())

    def one(self, command: Any) -> Any:
        async def run() -> Any:
            return await asyncio.wait_for(self.store.run(command), WAIT_S)

        return asyncio.run(run())


Program = Agent | ControlPlane


@pytest.fixture(params=[Agent, ControlPlane], ids=["agent", "control-plane"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    found = request.param(tmp_path)
    yield found
    if not found.store._closed:
        found.store.close()


__all__ = ["Agent", "ControlPlane", "Hold", "Program", "Put", "program"]
