"""`cloud_submits`: messages a second that the control plane has taken durably, against a server that only echoes.

The same client process sends the same bytes to both, over mTLS, a connection for each that is in flight, in turns
within the same minute; the median of the rounds counts. Every message is a signed receipt with a ref of its own, so
each is checked, kept and committed; the rows are counted afterwards.
"""

from __future__ import annotations

import base64
import secrets
import sqlite3
import statistics
import tempfile
from contextlib import closing
from pathlib import Path

from control_plane.config import DataDir
from protos import message_pb2 as pb
from tests.bench.cloud import Client, Member, Server, client, create, encode, enrol_agents, serving, serving_bare
from tests.bench.processes import BenchError, cpu_s
from tests.bench.result import Result
from tests.control_plane.cloud import message

IN_FLIGHT = (16, 64)
RATIO_AIM = 0.5


def _requests(members: list[Member], each: int) -> list[list[str]]:
    found = []
    for member in members:
        made = message(pb.KIND_RECEIPT, bytes.fromhex(member.agent))
        rows = []
        for _ in range(each):
            made.ref = secrets.token_bytes(16)
            rows.append(pb.SubmitRequest(message=made).SerializeToString())
        found.append(encode(rows))
    return found


def _round(to: Server, by: Client, requests: list[list[str]]) -> tuple[float, float, dict[str, int]]:
    """Return messages per second, the server's CPU microseconds for each, and the replies."""
    count = sum(map(len, requests))
    before = cpu_s(to.pid)
    answer = by.ask(do="submit", address=to.address, requests=requests)
    used_us = (cpu_s(to.pid) - before) / count * 1e6
    return count / answer["wall_s"], used_us, answer["replies"]


def _kept(data: DataDir) -> int:
    with closing(sqlite3.connect(data.database)) as con:
        return int(con.execute("SELECT count(*) FROM letter").fetchone()[0])


def _measure(folder: Path, in_flight: int, calls: int, rounds: int) -> Result:
    data = create(folder / "cloud")
    members = enrol_agents(data, in_flight)
    each = max(calls // in_flight, 1)
    taken = base64.b64encode(pb.SubmitReply().SerializeToString()).decode()
    ours, bare = [], []
    with (
        serving(data, folder / "cloud.log") as cloud,
        serving_bare(data, folder / "bare.log") as echo,
        client(data, members, folder / "client.log") as by,
    ):
        warm = _requests(members, 5)
        for server in (echo, cloud):
            _round(server, by, warm)
        for _ in range(rounds):
            requests = _requests(members, each)
            bare.append(_round(echo, by, requests)[:2])
            rate, used_us, replies = _round(cloud, by, requests)
            if replies != {taken: each * in_flight}:
                raise BenchError(f"expected {each * in_flight} messages to be taken, got replies {replies}")
            ours.append((rate, used_us))
    expected = in_flight * (each * rounds + 5)
    if (kept := _kept(data)) != expected:
        raise BenchError(f"expected {expected} messages in the database, got {kept}")
    value, reference = (statistics.median(rate for rate, _ in side) for side in (ours, bare))
    return Result(
        f"cloud_submits_{in_flight}",
        f"ratio >= {RATIO_AIM}",
        value,
        "messages/s",
        "bare grpc.aio echo over mTLS",
        reference,
        value / reference,
        value / reference >= RATIO_AIM,
        {
            "server CPU us a message": statistics.median(used for _, used in ours),
            "echo CPU us a message": statistics.median(used for _, used in bare),
            "bytes a message": len(base64.b64decode(warm[0][0])),
            "rounds": rounds,
        },
    )


def bench(calls: int = 4000, rounds: int = 5) -> list[Result]:
    """Return durable messages per second with 16 and 64 in flight."""
    results = []
    for in_flight in IN_FLIGHT:
        with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
            results.append(_measure(Path(home), in_flight, calls, rounds))
    return results
