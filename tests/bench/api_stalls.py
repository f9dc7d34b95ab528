"""`api_stalls`: how long a look at the agent's status takes while it has much to do.

One client asks for `GET /v1/status` again and again; beside it the agent previews, shows, lists and applies a change of
`count` suspensions, verifies its log, and exports the change. The longest answer is what an operator waits for, or a
freeze.
"""

from __future__ import annotations

import base64
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.runtime import http_client
from tests.bench.network import open_network
from tests.bench.processes import BenchError, wait_until
from tests.bench.result import Result
from tests.bench.suspend import ANSWER_S, ask, call, finished, running_agent
from tests.builders.people import plan_of
from tests.servers import PostgreSQL

MOST_MS = 250.0
PAUSE_S = 0.02


class _Pings:
    """Asks for the status until the block ends; knows the longest answer, in milliseconds."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._over = threading.Event()
        self.longest_ms = 0.0
        self.failed = ""

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            begun = time.perf_counter()
            answer = http_client.request(self._socket, "GET", "/v1/status", None, timeout_s=ANSWER_S)
            self.longest_ms = max(self.longest_ms, (time.perf_counter() - begun) * 1000)
            if answer.status != 200:
                self.failed = f"GET /v1/status: {answer.status}"

    @contextmanager
    def asked(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
        if self.failed:
            raise BenchError(self.failed)


def bench(count: int = 5000, nas: int = 10) -> list[Result]:
    """Return the longest answers, one for each kind of work."""
    longest: dict[str, tuple[float, float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="isp-bench-") as home,
        PostgreSQL(durable=True) as server,
        open_network(server, Path(home) / "ours", count, nas) as network,
        running_agent(network) as (site, _, seen),
    ):

        @contextmanager
        def measured(name: str) -> Iterator[None]:
            pings, begun = _Pings(site.socket), time.perf_counter()
            with pings.asked():
                yield
            longest[name] = (pings.longest_ms, time.perf_counter() - begun)

        with measured("nothing"):
            time.sleep(1.0)
        with measured("preview"):
            change = call(site, "POST", "/v1/changes", ask(network))
        with measured("show"):
            call(site, "GET", f"/v1/changes/{change['id']}")
        with measured("list"):
            call(site, "GET", "/v1/changes")
        approvals = [site.people.approve(plan_of(change), who, seen=seen) for who in ("joseph", "lena")]
        with measured("apply"):
            for approval in approvals:
                body = {"envelope": base64.b64encode(approval).decode(), "change": ""}
                call(site, "POST", "/v1/statements", body)
            wait_until(lambda: finished(site.database), "the change to be finished", within_s=ANSWER_S)
        with measured("show_after"):
            call(site, "GET", f"/v1/changes/{change['id']}")
        with measured("verify"):
            call(site, "GET", "/v1/audit/verify")
        with measured("export"):
            call(site, "POST", f"/v1/audit/export/{change['id']}?open=1", {})
    return [
        Result(
            f"api_stalls_{count}_{name}",
            f"<= {MOST_MS:.0f}",
            worst,
            "ms, the longest answer",
            "agent alone",
            met=worst <= MOST_MS,
            more={"the work took s": took},
        )
        for name, (worst, took) in longest.items()
    ]
