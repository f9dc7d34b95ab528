"""The same seed gives the same log and the same world, byte for byte; another seed another log.

The agent is composed as in production: real store, connector, journal, planner and worker. Two routers of the lab stand
on the network in memory; people ask and approve.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from agent import daemon as daemons
from agent.changes.engine.perform import Patience
from agent.config import AgentConfig, parse_untrusted
from agent.store.identity import create_identity
from agent.store.vault import create_store_key, load_store_key
from lab.router.device import Router
from lab.router.server import Endpoint, serve
from tests.builders.agent import MARIA, Agent
from tests.builders.clock import FakeClock
from tests.builders.people import People, trusted
from tests.e2e.site import b64, item_states
from tests.seeded import InlineStore, run
from tests.sim.acts import ACTS
from tests.sim.all_parts import PARTS
from tests.sim.inline import ThreadPace, inline_threads
from tests.sim.network import open_network
from tests.sim.run import run_seed


@dataclass(frozen=True, slots=True)
class World:
    """A world of the simulation. `all_parts`: it has each of them, and is small."""

    seed: int
    all_parts: bool = False


ROUTERS = ("edge-1", "edge-2")
LOGINS = [f"user{n}@{name}" for n in range(3) for name in ROUTERS]
PASSWORD = "api-password-of-routers"
PATIENCE = Patience(send_s=30.0, reread_s=60.0, poll_s=0.05, poll_max_s=0.2)


def ref(login: str) -> str:
    return f"C-{login.replace('@', '-')}/home"


def make_router(name: str, clock: FakeClock) -> Router:
    router = Router("7.20.8", identity=name, serial=f"SERIAL-{name}", clock=clock.wall_s)
    gateway = {"local_address": "100.64.0.1", "remote_address": "cgnat"}
    router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
    router.add("/ppp/profile", name="home20", rate_limit="20M/20M", **gateway)
    router.add("/ppp/profile", name="suspended", address_list="suspended", **gateway)
    router.add("/ip/firewall/filter", chain="forward", action="drop", src_address_list="suspended")
    router.add("/user/group", name="ispagents", policy="read,write,api")
    router.add("/user", name="ispagents", password=PASSWORD, group="ispagents")
    for login in LOGINS:
        if login.endswith(name):
            router.add("/ppp/secret", name=login, password="of-the-subscriber", profile="home20", service="pppoe")
            router.plug_in(login, "of-the-subscriber", redial_s=0.05)
    return router


def make_config(folder: Path, endpoints: dict[str, Endpoint]) -> AgentConfig:
    text = f'[agent]\nname = "noc-1"\nstate_dir = "state"\n[people]\n{MARIA} = "maria"\n[policy]\nsoak_s = 0\n'
    for name, endpoint in endpoints.items():
        text += (
            f'[routeros.{name}]\nhost = "{endpoint.host}"\nport = {endpoint.port}\nuser = "ispagents"\n'
            f'secret = "routeros/{name}"\ninsecure = true\nserial = "SERIAL-{name}"\n'
            f'[ppp.{name}]\ntarget = "routeros/{name}"\nsuspended_profile = "suspended"\n'
            f'[ppp.{name}.tariffs]\n"Home 20M" = "home20"\n'
        )
    return parse_untrusted(text.encode(), folder / "agent.toml", {})


CSV = "subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of\n" + "".join(
    f"{ref(login).partition('/')[0]},{login},home,{login},{login.partition('@')[2]},Home 20M,,0,34.00,2025-12-03,,"
    "2026-01-01T00:00:00Z\n"
    for login in LOGINS
)


async def work(agent: Agent, trust: tuple[bytes, str]) -> None:
    """Set the agent up, suspend everybody at once, and restore one of them ten minutes later."""
    document, words = trust
    await agent.call("POST", "/v1/trust", {"document": b64(document), "words": words}, os.getuid())
    for name in ROUTERS:
        await agent.call("POST", f"/v1/secrets/routeros%2F{name}", {"secret": b64(PASSWORD.encode())}, os.getuid())
    await agent.call("POST", "/v1/subscribers/import", {"csv": b64(CSV.encode()), "dry_run": False})
    asked = [await agent.ask("suspend", ref(login)) for login in LOGINS]
    ended: list[tuple[str, str]] = []

    async def see_to(change: Any) -> None:
        assert (await agent.approve(change, "joseph"))["accepted"]
        ended.extend(item_states(await agent.end(change)).values())

    async with trio.open_nursery() as together:
        for change in asked:
            together.start_soon(see_to, change)
    await trio.sleep(600)
    await see_to(await agent.ask("restore", ref(LOGINS[0])))
    assert {state for state, _ in ended} == {"applied"}, ended
    assert (await agent.call("GET", "/v1/audit/verify"))["leaves"] > len(LOGINS)


async def evening(folder: Path) -> str:
    """Run routers and an agent for some minutes; return a digest of everything that the agent wrote."""
    clock = FakeClock()
    with inline_threads(ThreadPace()):
        async with open_network(), trio.open_nursery() as nursery:
            endpoints: dict[str, Endpoint] = {
                name: await nursery.start(partial(serve, make_router(name, clock), tls=False)) for name in ROUTERS
            }
            config = make_config(folder, endpoints)
            config.state_dir.mkdir(mode=0o700)
            create_store_key(config.key_file)
            create_identity(config.state_dir, load_store_key(config.key_file))
            async with daemons.open_files(config, clock, InlineStore) as files:
                daemon = daemons.build(config, files, clock, patience=PATIENCE, code_sha256="c0de" * 16)
                await daemon.begin()
                async with trio.open_nursery() as life:
                    await life.start(daemon.run)
                    people = People(now_s=int(clock.wall_s()))
                    me = files.identity
                    entry = trusted(me.agent, "noc-1", me.plan_key, config.origin, me.log_key)
                    await work(Agent(daemon, people, ""), people.sign_trust(people.trust(entry)))
                    life.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
    return digest_of(config.state_dir / "agent.db", config.state_dir / "keys.db")


def digest_of(*files: Path) -> str:
    """Return the digest of all rows of these databases."""
    digest = hashlib.sha256()
    for file in files:
        with closing(sqlite3.connect(file)) as con:
            for line in con.iterdump():
                digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def evening_in(folder: Path, *, seed: int) -> str:
    folder.mkdir(mode=0o700)
    return run(evening, folder, seed=seed)


def test_the_same_seed_gives_the_same_log(tmp_path: Path) -> None:
    """The second run is in a process of its own, in which sets of texts have another order, and in another folder."""
    code = "import sys; from pathlib import Path; from tests.sim.test_same_seed import evening_in\n"
    code += "print(evening_in(Path(sys.argv[1]), seed=1))"
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "the second")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert other.returncode == 0, other.stderr
    assert evening_in(tmp_path / "first", seed=1) == other.stdout.strip()


WORLDS = (World(920001, all_parts=True),)
MORE_WORLDS = (
    World(820010),  # routers, cloud and SNMP: 13 sessions that the agent looks at again
    World(910002),  # SQL and a clock that is set
    World(910003),  # cloud and CPE
    World(910015),  # CPE
    World(910018),  # billing, with the lab's own database
)


def play(folder: Path, world: World) -> list[str]:
    """Return the trace of a world, with what came of it as its last lines."""
    lines: list[str] = []
    folder.mkdir(mode=0o700)
    parts, size, acts = (PARTS, 0.1, ACTS) if world.all_parts else (None, None, None)
    told = run_seed(world.seed, folder, parts=parts, size=size, trace=lines.append, acts=acts)
    return [*lines, *(verdict.text() for verdict in told.verdicts), f"leaves {told.leaves_sha256}"]


def played(folder: Path, worlds: Sequence[World], hash_seed: str) -> dict[str, list[str]]:
    """Return the traces of worlds, played in a process in which sets have the order of a hash seed."""
    code = "import json, sys; from pathlib import Path; from tests.sim.test_same_seed import World, play\n"
    code += f"worlds = {worlds!r}\n"
    code += "print(json.dumps({str(w.seed): play(Path(sys.argv[1]) / str(n), w) for n, w in enumerate(worlds)}))"
    folder.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    traces: dict[str, list[str]] = json.loads(done.stdout)
    return traces


@pytest.mark.parametrize("worlds", [WORLDS, pytest.param(MORE_WORLDS, marks=pytest.mark.slow)], ids=["all", "each"])
def test_no_order_of_hashes_reaches_a_world(tmp_path: Path, worlds: Sequence[World]) -> None:
    """Each world had another trace, or other leaves, while a set or the folder's name reached it."""
    first, second = played(tmp_path / "1", worlds, "1"), played(tmp_path / "other", worlds, "2")
    differ = {
        seed: next(both for both in itertools.zip_longest(first[seed], second[seed]) if both[0] != both[1])
        for seed in first
        if first[seed] != second[seed]
    }
    assert not differ
    assert all(len(trace) > 10 for trace in first.values())


def test_another_seed_gives_another_log(tmp_path: Path) -> None:
    assert evening_in(tmp_path / "first", seed=1) != evening_in(tmp_path / "second", seed=2)
