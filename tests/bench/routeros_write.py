"""`routeros_write`: a PPP secret's profile written 5,000 times on 20 routers: by the agent, by librouteros, by ansible.

Each answer takes the routers `DELAY_S` longer than their work: the round trip of a line to them. The routers are
processes of their own, so that CPU is the client's alone: of its process, or of all of ansible's.

Ours is the main job from a consumed plan on: item by item, "about to" durable, a look whether the row still reads as
planned, the write, the read-back, the outcome durable, the item's end. librouteros has a thread and a connection a
router and writes row after row, with ids that it read before the clock ran; it looks at nothing and keeps nothing. Of
`community.routeros.api_modify` each router's rows are one task, its cheapest way, with one report for all of them; and
of fewer rows each is a task, which reports on each row as ours does.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import librouteros
import trio

from agent.changes.clock_watch import ClockWatch
from agent.changes.engine.apply import Run
from agent.changes.engine.sessions import Sessions
from agent.changes.engine.steps import RunParts
from agent.connectors.routeros.addresses import RouterResource, address
from agent.connectors.routeros.connector import WINDOW, RouterosConnector
from agent.model import Absent, Item, ItemState, Listed, Seen, Step, Transition
from durable.process import exempt_loaded_objects
from tests.bench.journal import ThreadedStoreRig
from tests.bench.lab_routers import AFTER, PASSWORD, USER, RouterAt, connector, login, routers
from tests.bench.processes import BenchError
from tests.bench.result import Result, compared
from tests.builders.world import World

ROUTERS = 20
PROCESSES = 4
"""That the routers share: they have work to do as well, and a core or two to do it on."""
DELAY_S = 0.005
FORKS = 20
EACH = 5
"""Rows a router that ansible writes with a task for each: all 5,000 would take it an hour of CPU."""
WALL_AIM = 1.0
CPU_AIM = 5.0
ANSIBLE_AIM = 0.1
ANSWER_S = 600.0
_COLLECTION = "ansible_collections.community.routeros"


@dataclass(slots=True)
class Spent:
    """Seconds of a block: by the wall, and of CPU."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@contextmanager
def _spending(cpu_s: Callable[[], float]) -> Iterator[Spent]:
    spent, before_s, began = Spent(), cpu_s(), time.perf_counter()
    yield spent
    spent.wall_s, spent.cpu_s = time.perf_counter() - began, cpu_s() - before_s


def _children_cpu_s() -> float:
    """Return the CPU seconds of processes that have ended, and of those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _connect(at: RouterAt) -> librouteros.api.Api:
    return librouteros.connect("127.0.0.1", USER, PASSWORD, port=at.port, encoding="utf-8", timeout=120)


def _check(who: str, at: Sequence[RouterAt], secrets: int) -> None:
    """Look whether every row was written, on the routers themselves."""
    for router in at:
        api = _connect(router)
        profiles = Counter(row["profile"] for row in api.path("ppp", "secret"))
        api.close()
        if profiles != {AFTER: secrets}:
            raise BenchError(f"{who}: expected {secrets} rows with the new profile, got {dict(profiles)}")


# --- librouteros ----------------------------------------------------------------------------------------------------


def _raw(at: Sequence[RouterAt], _: int, __: Path) -> Spent:
    apis = [_connect(router) for router in at]
    ids = [[row[".id"] for row in api.path("ppp", "secret").select(".id")] for api in apis]

    def write(api: librouteros.api.Api, of_router: Sequence[str]) -> None:
        path = api.path("ppp", "secret")
        for id_ in of_router:
            path.update(**{".id": id_, "profile": AFTER})

    threads = [threading.Thread(target=write, args=pair) for pair in zip(apis, ids, strict=True)]
    with _spending(time.process_time) as spent:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for api in apis:
        api.close()
    return spent


# --- ansible --------------------------------------------------------------------------------------------------------


def has_ansible() -> bool:
    """Return whether this interpreter has ansible and the collection; neither is among our dependencies."""
    try:
        return importlib.util.find_spec(_COLLECTION) is not None
    except ImportError:
        return False


def _ansible_bulk(at: Sequence[RouterAt], secrets: int, folder: Path) -> Spent:
    return _ansible(at, secrets, folder, {"data": "{{ rows }}"}, {})


def _ansible_each(at: Sequence[RouterAt], secrets: int, folder: Path) -> Spent:
    return _ansible(at, secrets, folder, {"data": ["{{ item }}"]}, {"loop": "{{ rows }}"})


def _ansible(
    at: Sequence[RouterAt], secrets: int, folder: Path, data: Mapping[str, object], loop: Mapping[str, object]
) -> Spent:
    hosts = {
        f"r{n}": {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "api_port": router.port,
            "rows": [{"name": login(n, s), "profile": AFTER} for s in range(secrets)],
        }
        for n, router in enumerate(at)
    }
    access = {"hostname": "127.0.0.1", "port": "{{ api_port }}", "username": USER, "password": PASSWORD, "tls": False}
    task = {"community.routeros.api_modify": {**access, "path": "ppp secret", **data}, **loop}
    play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
    inventory, playbook = folder / "inventory.json", folder / "play.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    playbook.write_text(json.dumps([play]))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), "-f", str(FORKS), str(playbook)]
    with _spending(_children_cpu_s) as spent:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    if done.returncode:
        raise BenchError(f"ansible ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return spent


# --- the agent ------------------------------------------------------------------------------------------------------


class _RouterRig(ThreadedStoreRig):
    """The rig with routers for targets."""

    def __init__(self, folder: Path, at: Sequence[RouterAt]) -> None:
        super().__init__(folder, World())
        self.routers: RouterosConnector = connector(at, self.vault)

    @asynccontextmanager
    async def parts(self) -> AsyncIterator[RunParts]:
        sessions = Sessions({"routeros": self.routers})
        async with super().parts() as parts, trio.open_nursery() as nursery:
            await sessions.host(nursery)
            clock_watch = ClockWatch(self.store, self.recorder, self.clock)  # as in the daemon
            yield replace(parts, sessions=sessions, check_clock=clock_watch.check)
            nursery.cancel_scope.cancel()


async def _items(parts: RunParts, at: Sequence[RouterAt], secrets: int) -> list[Item]:
    """Return an item a secret, with what each reads now; the routers take turns, as a list by name has them."""
    seen: dict[str, Seen] = {}
    for n in range(len(at)):
        session = await parts.sessions.dialed(f"routeros/r{n}")
        rows = [address(f"routeros/r{n}", RouterResource.SECRET, login(n, s)) for s in range(secrets)]
        seen.update(await session.read(rows))
    turns = [(n, s) for s in range(secrets) for n in range(len(at))]
    return [_item(number, n, login(n, s), seen) for number, (n, s) in enumerate(turns, start=1)]


def _item(number: int, router: int, name: str, seen: dict[str, Seen]) -> Item:
    target = f"routeros/r{router}"
    where = address(target, RouterResource.SECRET, name)
    before = seen[where]
    if isinstance(before.value, Absent):
        raise BenchError(f"{name} is not on its router")
    step = Step(1, target, (Transition(where, before, {**before.value, "profile": AFTER}),))
    return Item(
        n=number,
        salt=f"{number:032x}",
        subject=f"C-{name}/home",
        listed=Listed.CHANGE,
        reason="",
        display={"title": name, "login": name, "nas": target},
        steps=(step,),
        enforce=None,
        desired=(),
    )


def _agent(at: Sequence[RouterAt], secrets: int, folder: Path) -> Spent:
    return trio.run(_apply, at, secrets, folder)


async def _apply(at: Sequence[RouterAt], secrets: int, folder: Path) -> Spent:
    rig = _RouterRig(folder, at)
    async with rig.parts() as parts:
        plan_id = await rig.consumed(await _items(parts, at, secrets))
        exempt_loaded_objects()  # as the daemon does once it has started
        with _spending(time.process_time) as spent:
            stopped = await Run(parts, rig.loaded(plan_id)).run()
    states = Counter(rig.states(plan_id))
    (read_back,) = rig.store.reader.execute("SELECT count(*) FROM step WHERE verdict = 'applied'").fetchone()
    rig.close()
    if stopped or states != {ItemState.APPLIED: len(at) * secrets} or read_back != len(at) * secrets:
        raise BenchError(f"expected all to be applied, got {dict(states)}, {read_back} read back: {stopped}")
    return spent


# --- the benchmark --------------------------------------------------------------------------------------------------


Measure = Callable[[Sequence[RouterAt], int, Path], Spent]
"""Writes every row of the routers: where they are, rows of each, a folder to use."""


def _measured(who: str, count: int, secrets: int, measure: Measure) -> Spent:
    """Measure one way to write, on routers of its own, and look whether it wrote."""
    with (
        tempfile.TemporaryDirectory(prefix="isp-bench-") as home,
        routers(count, processes=min(PROCESSES, count), secrets=secrets, delay_s=DELAY_S) as at,
    ):
        spent = measure(at, secrets, Path(home))
        _check(who, at, secrets)
    return spent


def bench(count: int = ROUTERS, secrets: int = 250) -> list[Result]:
    """Return wall and CPU seconds of the agent against the others; of ansible only where it is installed."""
    raw = _measured("librouteros", count, secrets, _raw)
    ours = _measured("the agent", count, secrets, _agent)
    name = f"routeros_write_{count * secrets}"
    reference = f"librouteros, {count} threads, no look, no journal, no read-back"
    more = {"routers": count, "round trip ms": DELAY_S * 1000, "in flight a router": WINDOW}
    wall, cpu = (reference, raw.wall_s), (reference, raw.cpu_s)
    return [
        compared(name, f"ratio <= {WALL_AIM:.0f}", ours.wall_s, "s", wall, limit=WALL_AIM, more=more),
        compared(f"{name}_cpu", f"ratio <= {CPU_AIM:.0f}", ours.cpu_s, "s CPU", cpu, limit=CPU_AIM, more={}),
        *_against_ansible(name, ours.cpu_s / (count * secrets) * 1000, count, secrets),
    ]


def _against_ansible(name: str, ours_ms: float, count: int, secrets: int) -> list[Result]:
    aim, unit = f"ratio <= {ANSIBLE_AIM:g}", "ms CPU a write"
    if not has_ansible():
        reference = "not measured: community.routeros is not installed here"
        return [Result(f"{name}_ansible", aim, ours_ms, unit, reference)]
    results = []
    for how, rows, measure in (
        ("a task a router", secrets, _ansible_bulk),
        ("a task a row", min(EACH, secrets), _ansible_each),
    ):
        theirs = _measured("ansible", count, rows, measure)
        writes = count * rows
        reference = f"community.routeros.api_modify, {FORKS} forks, {how}", theirs.cpu_s / writes * 1000
        more = {"its writes": writes, "its wall s": theirs.wall_s}
        measured = f"{name}_{measure.__name__.removeprefix('_')}"
        results.append(compared(measured, aim, ours_ms, unit, reference, limit=ANSIBLE_AIM, more=more))
    return results
