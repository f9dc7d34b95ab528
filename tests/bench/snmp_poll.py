"""`snmp_poll`: 300 switches of 48 ports, polled and stored, beside gufo-snmp, pysnmp and a parallel snmpbulkwalk.

The lab serves them all on one port of loopback, in a process of its own; each side is a process too, and asks 16 at
once. Ours is the connector with its profile, rates and the series file with its flush; the others throw their answers
away. All walk the same 23 columns of ifTable and ifXTable, those of our profile, and a varbind is a cell of these
tables: what a walk reads behind their end, and our six scalars, count for nobody. gufo-snmp asks for 50 rows of a
column at once, so that 48 ports are one request a column, and its API gives each of them to Python. snmpbulkwalk walks
both tables whole. The sides take turns, and the best turn of each counts, since other work on the machine only makes
one slower. CPU is that of the client.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

import trio

from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.connectors.snmp.profile_choice import wanted
from agent.connectors.snmp.profile_files import shipped
from agent.connectors.snmp.values import dotted
from agent.polling.series import SeriesStore
from agent.runtime.clock import SystemClock
from durable.process import exempt_loaded_objects
from lab.snmp.server import open_snmp_lab
from lab.snmp.tables import access_switch
from lab.snmp.usm import USERS
from tests.bench.processes import BenchError, telling
from tests.bench.result import Result, compared

AT_ONCE: Final = 16
AIM_CPU: Final = 1.5
AIM_PYSNMP: Final = 0.05
AIM_V3: Final = 1.5
"""A digest and AES over some 1,400 octets of each answer, by OpenSSL. Chosen arbitrarily."""
TURNS: Final = 3
PYSNMP_DEVICES: Final = 3
"""A turn of pysnmp over all 300 takes minutes, and says no more of a varbind."""
PROFILE: Final = "interfaces"


@cache
def columns() -> tuple[str, ...]:
    """Return the columns that our profile asks for."""
    (profile,) = (one for one in shipped() if one.name == PROFILE)
    return tuple(dotted(column) for group in wanted(profile).columns for column in group)


def bench(devices: int = 300, ports: int = 48, turns: int = TURNS) -> list[Result]:
    """Return CPU a varbind and wall time of a turn over all devices."""
    with _lab(devices, ports) as port:
        told: dict[str, list[dict[str, float]]] = {}
        for _ in range(turns):
            for side in ("ours", "ours_v3", "gufo", "bulkwalk"):
                told.setdefault(side, []).append(_side(side, port, devices))
        pysnmp = _side("pysnmp", port, min(devices, PYSNMP_DEVICES))
    cpu = {side: min(one["cpu_s"] / one["varbinds"] for one in every) * 1e6 for side, every in told.items()}
    wall = {side: min(one["wall_s"] for one in every) for side, every in told.items()}
    by_pysnmp = pysnmp["cpu_s"] / pysnmp["varbinds"] * 1e6
    more = {"varbinds": told["ours"][0]["varbinds"], "series": told["ours"][0]["series"]}
    name = f"snmp_poll, {devices} devices"
    return [
        compared(
            f"{name}, CPU a varbind",
            f"<= {AIM_CPU}",
            cpu["ours"],
            "µs",
            ("gufo-snmp", cpu["gufo"]),
            limit=AIM_CPU,
            more=more,
        ),
        compared(
            f"{name} by version 3 (SHA-256, AES), CPU a varbind",
            f"<= {AIM_V3}",
            cpu["ours_v3"],
            "µs",
            ("the same by version 2c", cpu["ours"]),
            limit=AIM_V3,
            more={},
        ),
        compared("the same", f"<= {AIM_PYSNMP}", cpu["ours"], "µs", ("pysnmp", by_pysnmp), limit=AIM_PYSNMP, more={}),
        compared(
            f"{name}, a turn",
            "<= 1",
            wall["ours"],
            "s",
            ("snmpbulkwalk, 16 at once", wall["bulkwalk"]),
            limit=1.0,
            more={},
        ),
    ]


@contextmanager
def _lab(devices: int, ports: int) -> Iterator[int]:
    with telling("tests.bench.snmp_poll", "serve", devices, ports) as (port, _):
        yield int(port)


def _side(side: str, port: int, devices: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.snmp_poll", side, str(port), str(devices)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{side}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def serve(devices: int, ports: int) -> None:
    """Serve switches whose counters move."""
    made = [access_switch(number, ports) for number in range(1, devices + 1)]
    async with open_snmp_lab(made) as lab:
        for device in lab.devices.values():
            device.move()
        print(lab.port, flush=True)
        await trio.sleep_forever()


async def ours_v3(port: int, devices: int) -> dict[str, float]:
    """Do the same as `ours` by version 3, with authentication and encryption; the context names the device."""
    return await ours(port, devices, by_user=True)


def _access(number: int, *, by_user: bool) -> SnmpAccess:
    """Return how a device of the lab is asked. Its secrets stand for themselves."""
    if not by_user:
        return SnmpAccess(f"a{number}", SnmpVersion.V2C, f"sw-{number}")
    user = USERS[0]
    return SnmpAccess(
        f"a{number}", SnmpVersion.V3, user=user.name, auth=AuthProtocol(user.auth), auth_secret=user.auth_password,
        priv=PrivProtocol.AES_128, priv_secret=user.priv_password, context=f"sw-{number}",
    )  # fmt: skip


async def ours(port: int, devices: int, *, by_user: bool = False) -> dict[str, float]:
    """Poll all devices and keep the series; the third turn is measured. Each is 5 minutes later for the series."""
    later_s = 0.0
    accesses = [_access(n, by_user=by_user) for n in range(1, devices + 1)]
    named = enumerate(accesses, 1)
    configured = tuple(SnmpDevice(f"sw-{n}", "127.0.0.1", port, one, PROFILE, timeout_s=20) for n, one in named)
    made = SnmpConnector(SnmpConfig(configured, tuple(accesses)), str.encode, SystemClock())
    exempt_loaded_objects()  # as the daemon does once it has started
    turn, varbinds = trio.CapacityLimiter(AT_ONCE), 0
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SeriesStore(Path(folder) / "s.db", 1 << 31, SystemClock())) as store,
    ):

        async def one(number: int) -> None:
            nonlocal varbinds
            async with turn:
                reading = await made.poll(made.targets[number])
            if reading.not_read or not reading.parts:
                raise BenchError(f"{reading.target}: {reading.not_read}")
            varbinds += len(reading.parts) * len(columns())
            await store.keep(replace(reading, read_s=int(reading.read_s + later_s), uptime_s=None))

        async def everybody() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(devices):
                    nursery.start_soon(one, number)
            await store.flush(None)

        for _ in range(2):  # names of series are made at the first readings, those of rates at the second
            await everybody()
            later_s += 300.0
        varbinds = 0
        wall, cpu = time.perf_counter(), time.process_time()
        await everybody()
        measured = _told(wall, cpu, varbinds)
        series = sum(len(names) for target in made.targets for names in store.names(target.id).values())
        return {**measured, "series": series}


def _told(wall: float, cpu: float, varbinds: int) -> dict[str, float]:
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "varbinds": varbinds,
    }


async def _in_turn(devices: int, one: Callable[[str], Awaitable[int]]) -> int:
    turn = asyncio.Semaphore(AT_ONCE)

    async def limited(number: int) -> int:
        async with turn:
            return await one(f"sw-{number}")

    return sum(await asyncio.gather(*(limited(number) for number in range(1, devices + 1))))


async def gufo(port: int, devices: int) -> dict[str, float]:
    """Walk the columns of all devices by gufo-snmp."""
    from gufo.snmp import SnmpVersion as GufoVersion
    from gufo.snmp.aio import SnmpSession

    async def one(community: str) -> int:
        count = 0
        async with SnmpSession(
            "127.0.0.1", port=port, community=community, version=GufoVersion.v2c, timeout=20.0
        ) as session:
            for column in columns():
                async for _ in session.getbulk(column, max_repetitions=50):
                    count += 1
        return count

    columns()  # outside of the clock
    wall, cpu = time.perf_counter(), time.process_time()
    return _told(wall, cpu, await _in_turn(devices, one))


async def pysnmp(port: int, devices: int) -> dict[str, float]:
    """Walk the columns of some devices by pysnmp's API."""
    from pysnmp.hlapi.v3arch import asyncio as hlapi

    engine = hlapi.SnmpEngine()

    async def one(community: str) -> int:
        count, at = 0, await hlapi.UdpTransportTarget.create(("127.0.0.1", port), timeout=20)
        for column in columns():
            walk = hlapi.bulk_walk_cmd(
                engine,
                hlapi.CommunityData(community, mpModel=1),
                at,
                hlapi.ContextData(),
                0,
                50,
                hlapi.ObjectType(hlapi.ObjectIdentity(column)),
                lexicographicMode=False,
                lookupMib=False,
            )
            async for problem, _, _, found in walk:
                if problem:
                    raise BenchError(str(problem))
                count += len(found)
        return count

    columns()  # outside of the clock
    wall, cpu = time.perf_counter(), time.process_time()
    return _told(wall, cpu, await _in_turn(devices, one))


async def bulkwalk(port: int, devices: int) -> dict[str, float]:
    """Walk ifTable and ifXTable of all devices by net-snmp's tool, so many processes at once."""

    async def one(community: str) -> int:
        count = 0
        for root in ("1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.31.1.1.1"):
            process = await asyncio.create_subprocess_exec(
                *("snmpbulkwalk", "-v2c", "-c", community, "-On", "-Cr50", "-t20", f"127.0.0.1:{port}", root),
                stdout=subprocess.PIPE,
            )
            said, _ = await process.communicate()
            count += said.count(b"\n")
        return count

    wall, cpu = time.perf_counter(), time.process_time()
    return _told(wall, cpu, await _in_turn(devices, one))


def main(side: str, first: int, second: int) -> None:
    """Play one side, and print what it measured."""
    if side == "serve":
        trio.run(serve, first, second)
    elif side in ("ours", "ours_v3"):
        print(json.dumps(trio.run({"ours": ours, "ours_v3": ours_v3}[side], first, second)))
    else:
        sides = {"gufo": gufo, "pysnmp": pysnmp, "bulkwalk": bulkwalk}
        print(json.dumps(asyncio.run(sides[side](first, second))))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
