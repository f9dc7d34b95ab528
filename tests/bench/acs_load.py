"""CPE that load an ACS, a process of their own: bytes that were made before, over plain sockets, one loop.

    python -m tests.bench.acs_load

It takes a JSON object a line and answers with one: `setup`, then `record`, `run`, `hold` and `release`, `cpu`.
"""

from __future__ import annotations

import base64
import errno
import heapq
import ipaddress
import json
import random
import selectors
import socket
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from tests.bench.acs_cpe import Answer, Said, TurnedAway, said, session, take_answer
from tests.bench.cloud import raise_nofile
from tests.bench.processes import BenchError

GIVE_UP_S = 240.0
RETRY_FIRST_S = 5.0
"""After a connection that broke, a CPE waits so long to twice as long, and each time twice that (TR-069 3.2.1.1)."""
RETRY_DOUBLINGS = 9
_READ_BYTES = 65_536
_OWN_ADDRESSES = ipaddress.IPv4Address("127.1.0.0")
"""Each CPE calls from an address of its own: one address alone gets no more than half of an ACS's connections."""
_Session = Generator[bytes, Answer, TurnedAway | None]


@dataclass(slots=True)
class _Talk:
    """One connection. `out`: what is not sent yet."""

    cpe: int
    sock: socket.socket
    steps: _Session
    began: float
    out: memoryview
    got: bytearray = field(default_factory=bytearray)
    asked: int = selectors.EVENT_WRITE
    answers: list[Answer] = field(default_factory=list)


class Idle:
    """The CPE without a session. A CPE has one session at a time, and the ACS ends the older of two by a 400.

    A CPE drawn by the number of the session would begin a second one wherever its first is slow.
    """

    def __init__(self, first: int, count: int) -> None:
        self._waiting = deque(range(first, first + count))

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> int:
        """Return the CPE that has waited longest, which has a session from now on."""
        return self._waiting.popleft()

    def give_back(self, cpe: int) -> None:
        """Take note that a CPE's session is over."""
        self._waiting.append(cpe)


@dataclass(slots=True)
class Wanted:
    """So many sessions. `first`: the first CPE's number; `cpes`: of how many CPE; `per_s`: begun in a second, 0: all.

    `retries`: a CPE that is not let in comes again; the waits are real ones times `wait_scale`.
    """

    sessions: int
    cpes: int
    first: int = 0
    at_once: int = 16
    per_s: float = 0.0
    booted: bool = False
    retries: bool = False
    wait_scale: float = 1.0
    stay: bool = False
    record: bool = False


class Load:
    """The loop."""

    def __init__(self, port: int, what: Said) -> None:
        self._to, self._what = ("127.0.0.1", port), what
        self._selector = selectors.DefaultSelector()
        self._kept: list[socket.socket] = []
        self._dice = random.Random(port)

    def run(self, wanted: Wanted) -> dict[str, Any]:
        """Do what is wanted and return what came of it."""
        began = time.perf_counter()
        fresh = (began + n / wanted.per_s if wanted.per_s else began for n in range(wanted.sessions))
        idle = Idle(wanted.first, wanted.cpes)
        again: list[tuple[float, int]] = []
        tries: Counter[int] = Counter()
        told: Counter[str] = Counter()
        took: list[float] = []
        answers: list[Answer] = []
        talks = late = 0
        due = next(fresh, None)
        while told["served"] < wanted.sessions:
            now = time.perf_counter()
            if now > began + GIVE_UP_S:
                raise BenchError(f"expected {wanted.sessions} sessions in {GIVE_UP_S:.0f} s, got {dict(told)}")
            while talks < wanted.at_once:
                if again and again[0][0] <= now:
                    cpe = heapq.heappop(again)[1]
                elif due is not None and due <= now and idle:
                    cpe, late = idle.take(), max(late, int((now - due) * 1000))
                    due = next(fresh, None)
                else:
                    break
                self._begin(cpe, wanted, now)
                talks += 1
            nexts = [at for at in (due if idle else None, again[0][0] if again else None) if at is not None]
            wait_s = max(0.0, min(nexts) - now) if nexts and talks < wanted.at_once else 1.0
            for key, events in self._selector.select(wait_s):
                talk: _Talk = key.data
                over = self._go_on(talk, events, wanted)
                if over is None:
                    continue
                talks -= 1
                told[over if isinstance(over, str) else "turned away"] += 1
                if over == "served":
                    idle.give_back(talk.cpe)
                    took.append(time.perf_counter() - talk.began)
                    answers = talk.answers
                    continue
                if not wanted.retries:
                    raise BenchError(f"expected to be let in, got {over}")
                tries[talk.cpe] += 1
                at = time.perf_counter() + self._wait_s(over, tries[talk.cpe]) * wanted.wait_scale
                heapq.heappush(again, (at, talk.cpe))
        return {
            "wall_s": time.perf_counter() - began,
            "told": dict(told),
            "most_tries": 1 + max(tries.values(), default=0),
            "never_turned_away": wanted.sessions - len(tries),
            "median_ms": statistics.median(took) * 1000,
            "p99_ms": sorted(took)[int(len(took) * 0.99)] * 1000,
            "late_ms": late,
            "answers": [_as_json(a) for a in answers] if wanted.record else [],
        }

    def _wait_s(self, over: str | TurnedAway, tries: int) -> float:
        if isinstance(over, TurnedAway):
            return over.retry_s
        first = RETRY_FIRST_S * 2 ** min(tries - 1, RETRY_DOUBLINGS)
        return self._dice.uniform(first, 2 * first)

    def _begin(self, cpe: int, wanted: Wanted, now: float) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((str(_OWN_ADDRESSES + cpe % (1 << 16)), 0))
        failed = sock.connect_ex(self._to)
        if failed not in (0, errno.EINPROGRESS):
            raise BenchError(f"cannot connect: {errno.errorcode.get(failed, failed)}")
        steps = session(self._what, cpe, booted=wanted.booted, stay=wanted.stay)
        talk = _Talk(cpe, sock, steps, now, memoryview(next(steps)))
        self._selector.register(sock, selectors.EVENT_WRITE, talk)

    def _go_on(self, talk: _Talk, events: int, wanted: Wanted) -> str | TurnedAway | None:
        """Move bytes; return what became of the session once it is over, None before."""
        try:
            if events & selectors.EVENT_READ:
                data = talk.sock.recv(_READ_BYTES)
                if not data:
                    return self._end(talk, "closed without a word")
                talk.got += data
                while (answer := take_answer(talk.got)) is not None:
                    if wanted.record:
                        talk.answers.append(answer)
                    talk.out = memoryview(talk.steps.send(answer))
            if talk.out:
                talk.out = talk.out[talk.sock.send(talk.out) :]
        except StopIteration as over:
            return self._end(talk, "served" if over.value is None else over.value, stay=wanted.stay)
        except BlockingIOError:
            pass
        except (ConnectionError, TimeoutError):
            return self._end(talk, "closed without a word")
        asked = selectors.EVENT_WRITE if talk.out else selectors.EVENT_READ
        if asked != talk.asked:
            self._selector.modify(talk.sock, asked, talk)
            talk.asked = asked
        return None

    def _end(self, talk: _Talk, what: str | TurnedAway, *, stay: bool = False) -> str | TurnedAway:
        self._selector.unregister(talk.sock)
        if stay and what == "served":
            self._kept.append(talk.sock)
        else:
            talk.sock.close()
        return what

    def release(self) -> int:
        """Close what was kept open; return how many that were."""
        count = len(self._kept)
        while self._kept:
            self._kept.pop().close()
        return count


def _as_json(answer: Answer) -> list[str | int]:
    return [answer.status, answer.head.decode("latin-1"), base64.b64encode(answer.body).decode()]


def main() -> None:
    raise_nofile()
    first = json.loads(sys.stdin.readline())
    load = Load(first["port"], said(first["rows"]))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        match json.loads(line):
            case {"do": "run"} as wanted:
                del wanted["do"]
                used_s = time.process_time()
                answer = load.run(Wanted(**wanted))
                answer["load_cpu_s"] = time.process_time() - used_s
            case {"do": "release"}:
                answer = {"released": load.release()}
            case other:
                raise BenchError(f"expected a command, got {other}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
