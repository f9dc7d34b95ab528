"""A site: an ISP, an agent with its own files, three people with keys; and how they work with each other.

The agent runs in this process (`open_site`: quick, and its clock can be moved) or as a program (`AgentProgram`: what an
operator starts). Either way people meet it on its unix socket, by the API or by `ispagent` in a process of its own.
"""

from __future__ import annotations

import base64
import contextlib
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from agent import daemon as daemon_module
from agent.changes.engine.perform import Patience
from agent.config import load
from agent.connectors.base import Connector
from agent.connectors.radius.session import NOBODY
from agent.daemon import Daemon
from agent.runtime import http_client
from agent.runtime.clock import SystemClock
from agent.runtime.errors import ClientError
from lab.isp import Isp
from tests.builders.answers import checked
from tests.builders.people import People, plan_of
from tests.e2e.files import ISPAGENT, Billing, Files, lab_files, small_isp
from trust.items import Item, decode_item_untrusted

Json = dict[str, Any]
END_S = 200.0
"""How long a change may take to end, seconds; more is a fault of the test."""
PATIENCE = Patience(send_s=30.0, reread_s=60.0, poll_s=0.05, poll_max_s=0.2)


class ApiRefusedError(Exception):
    """The agent's answer was a refusal."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


# --- the clock --------------------------------------------------------------------------------------------------------


@dataclass
class MovableClock:
    """The machine's clocks, moved: `pass_s` seconds went by unseen, or somebody set the wall clock."""

    wall_moved_s: float = 0.0
    boot_moved_s: float = 0.0
    _clock: SystemClock = field(default_factory=SystemClock)

    @property
    def boot_id(self) -> str:
        return self._clock.boot_id

    def wall_s(self) -> float:
        return self._clock.wall_s() + self.wall_moved_s

    def boot_s(self) -> float:
        return self._clock.boot_s() + self.boot_moved_s

    def cpu_s(self) -> float:
        return self._clock.cpu_s()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def sleep_until_boot(self, boot_s: float) -> None:
        await self._clock.sleep_until_boot(boot_s - self.boot_moved_s)

    def others_s(self) -> float:
        """Return what other machines' clocks say, unix seconds: time passes for them too, and nobody set them."""
        return self._clock.wall_s() + self.boot_moved_s

    def pass_s(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall_moved_s += seconds
        self.boot_moved_s += seconds

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self.wall_moved_s += seconds


# --- people at work ---------------------------------------------------------------------------------------------------


@dataclass
class Office:
    """People in front of a running agent: what they ask, sign and see."""

    files: Files

    @property
    def people(self) -> People:
        return self.files.people

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the agent's answer. Raises ApiRefusedError when it refuses."""

        def exchange() -> http_client.HttpAnswer:
            return http_client.request(self.files.socket, method, path, body, timeout_s=END_S)

        answer = await trio.to_thread.run_sync(exchange, abandon_on_cancel=True)
        if answer.status >= 400:
            assert isinstance(answer.json, dict)
            error = answer.json["error"]
            raise ApiRefusedError(answer.status, error["code"], error["message"])
        return checked(answer.json)

    async def install(self) -> None:
        """Install the trust document, set the secrets, import the subscribers."""
        document, words = self.files.signed_trust()
        await self.call("POST", "/v1/trust", {"document": b64(document), "words": words})
        for name, secret in self.files.secrets.items():
            await self.set_secret(name, secret)
        await self.import_csv()

    async def set_secret(self, name: str, secret: str) -> None:
        await self.call("POST", f"/v1/secrets/{name.replace('/', '%2F')}", {"secret": b64(secret.encode())})

    async def import_csv(self, billing: Billing | None = None) -> Json:
        """Import a list; None: all that billing has."""
        listed = billing if billing is not None else self.files.billing
        body = {"csv": b64(listed.text().encode()), "dry_run": False}
        done: Json = await self.call("POST", "/v1/subscribers/import", body)
        return done

    async def ask(self, action: str, *refs: str, **fields: object) -> Json:
        """Ask for a change; return it, previewed."""
        body: Json = {
            "action": action,
            "refs": list(refs),
            "on_tariff": "",
            "exclude": [],
            "reason": "debt",
            "tariff": "",
            "on_failure": "stop",
            "change": "",
            "alone": False,
            "hold": False,
            **fields,
        }
        change: Json = await self.call("POST", "/v1/changes", body)
        return change

    async def hand_in(self, statement: bytes, change: str = "") -> list[Json]:
        """Hand in what a person signed."""
        answers: list[Json] = await self.call("POST", "/v1/statements", {"envelope": b64(statement), "change": change})
        return answers

    def approval(self, change: Json, who: str, **fields: Any) -> bytes:
        """Return a person's approval of a change (or with `decision`, their rejection)."""
        return self.people.approve(plan_of(change), who, **{"seen": self.files.seen(), **fields})

    async def approve(self, change: Json, *who: str) -> list[Json]:
        """Approve as each of these people; every approval is taken."""
        answers = [(await self.hand_in(self.approval(change, w), change["id"]))[0] for w in who]
        assert all(a["accepted"] for a in answers), answers
        return answers

    async def show(self, change: Json | str) -> Json:
        found: Json = await self.call("GET", f"/v1/changes/{change if isinstance(change, str) else change['id']}")
        return found

    async def watch(self, change: Json, within_s: float = END_S) -> list[Json]:
        """Return the change's events up to its end."""

        def read() -> list[Json]:
            path = f"/v1/changes/{change['id']}/watch"
            with http_client.stream(self.files.socket, "GET", path) as (status, lines):
                assert status == 200
                return checked(list(lines))  # type: ignore[arg-type]  # each line is an object

        with trio.fail_after(within_s):
            return await trio.to_thread.run_sync(read, abandon_on_cancel=True)

    async def wait_end(self, change: Json) -> Json:
        """Return the change once it is over."""
        await self.watch(change)
        return await self.show(change)

    async def wait_for(self, change: Json, holds: Callable[[Json], bool]) -> Json:
        """Return the change once `holds`."""
        with trio.fail_after(END_S):
            while not holds(now := await self.show(change)):  # noqa: ASYNC110  the agent is asked as a person does
                await trio.sleep(0.05)
        return now

    async def apply(self, change: Json, *who: str) -> Json:
        """Approve and wait for the end."""
        await self.approve(change, *(who or ("joseph",)))
        return await self.wait_end(change)

    async def do(self, action: str, *refs: str, **fields: object) -> Json:
        """Ask for a change of low risk, have it approved by joseph, and see its end."""
        return await self.apply(await self.ask(action, *refs, **fields))

    async def verify_log(self) -> int:
        """Have the agent recompute its log; return how many leaves it has."""
        return int((await self.call("GET", "/v1/audit/verify"))["leaves"])


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def item_states(change: Json) -> dict[str, tuple[str, str]]:
    """Return each service's state and reason."""
    return {i["service"]: (i["state"], i["reason"]) for i in change["items"]}


def sent(isp: Isp) -> int:
    """Return how many CoA and Disconnect datagrams about a subscriber all BNG were sent."""
    return sum(one.login != NOBODY for nas in isp.nas.values() for one in nas.received)


def state_of(change: Json) -> tuple[str, str]:
    """Return state and reason of the change's only item."""
    (only,) = item_states(change).values()
    return only


def items_of(change: Json) -> tuple[Item, ...]:
    """Return the plan's items, read from the signed documents."""
    return tuple(decode_item_untrusted(d.encode()) for d in change["documents"][1:])


# --- the agent, in this process or as a program -----------------------------------------------------------------------


@dataclass
class Site(Office):
    """An office with its agent in this process."""

    daemon: Daemon
    clock: MovableClock


@asynccontextmanager
async def open_site(
    files: Files,
    *,
    clock: MovableClock | None = None,
    install: bool = True,
    connectors: Mapping[str, Connector] | None = None,
    patience: Patience = PATIENCE,
) -> AsyncIterator[Site]:
    """Run the agent in this process, as `ispagent run` does, until the block ends.

    Args:
        files: its folder.
        clock: its clock; None: the machine's.
        install: whether trust, secrets and subscribers are to be installed first.
        connectors: in the place of those that the configuration names.
        patience: how long it waits for its targets.
    """
    clock = clock or MovableClock()
    async with daemon_module.open_files(load(files.config), clock) as opened:
        daemon = daemon_module.build(load(files.config), opened, clock, patience=patience, connectors=connectors)
        await daemon.begin()
        async with trio.open_nursery() as nursery:
            await nursery.start(daemon.run)
            site = Site(files, daemon, clock)
            if install:
                await site.install()
            yield site
            nursery.cancel_scope.cancel()


class AgentProgram:
    """`ispagent run` as a program; its output is in `log`."""

    def __init__(self, files: Files, *, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None) -> None:
        self.files, self.log = files, files.folder / "daemon.log"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*prefix, *ISPAGENT, "run"],
                cwd=files.folder,
                env=dict(env or files.env()),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def wait_ready(self) -> None:
        """Return once it listens."""
        until = time.monotonic() + 90
        while True:
            with contextlib.suppress(ClientError):
                if http_client.request(self.files.socket, "GET", "/v1/status", timeout_s=5).status == 200:
                    return
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the agent did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def reload(self) -> None:
        """Have it read its configuration again."""
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it by SIGKILL, at this instant."""
        self._process.kill()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def wait_exit(self) -> int:
        """Return its exit code once it ended by itself."""
        return self._process.wait(30)

    def stop(self) -> int:
        """End it as an operator does; return its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


@contextlib.contextmanager
def program(
    files: Files, *, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[AgentProgram]:
    """Run the agent as a program for the block."""
    running = AgentProgram(files, prefix=prefix, env=env)
    try:
        running.wait_ready()
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def at_work(
    folder: Path,
    *,
    isp: Mapping[str, Any] | None = None,
    bill: Callable[[Isp, Billing], None] = lambda isp, billing: None,
    **options: Any,
) -> AsyncIterator[tuple[Isp, Site]]:
    """Run an ISP and its agent for the block; whatever happened in it, the log adds up at the end.

    `bill` changes what billing says before the agent first reads it.
    """
    clock = MovableClock()
    async with small_isp(folder, **{"clock": clock.others_s, **(isp or {})}) as lab:
        files = lab_files(folder, lab, **options)
        bill(lab, files.billing)
        files.billing.write()
        async with open_site(files, clock=clock) as site:
            yield lab, site
            await check_log(site)


async def check_log(site: Site) -> None:
    """Have the agent recompute its log: nothing of it may be missing."""
    size = (await site.call("GET", "/v1/status"))["log"]["size"]
    assert await site.verify_log() >= size > 0


async def started(program: AgentProgram) -> AgentProgram:
    await trio.to_thread.run_sync(program.wait_ready)
    return program


async def one_round(site: Site) -> Json:
    await site.call("POST", "/v1/drift", {})
    with trio.fail_after(END_S):
        while (found := await site.call("GET", "/v1/drift"))["running"]:  # noqa: ASYNC110  asked as a person does
            await trio.sleep(0.05)
    answer: Json = found
    return answer


def by_subject(found: Json) -> dict[str, str]:
    return {str(one["subject"]): str(one["code"]) for one in found["differences"]}
