"""`acs_malformed`: bodies that are broken in every way that a die knows, for the core of the listener's sessions.

    python -m tests.bench.acs_malformed COUNT

plays so many of them (a million takes a while). Each is given to a session that is at some point of its life, as the
listener does it: unpacked, received, responded to. What comes out may be events, a fault, HTTP 400, or a
`RemoteCwmpError`; anything else ends the benchmark with the body that did it. Memory is what Python has allocated, by
tracemalloc, after a tenth and after all. One in `WHOLE_EVERY` goes through the whole listener as well, over a stream in
memory, where a crash would be contained and logged.
"""

from __future__ import annotations

import base64
import gc
import gzip
import json
import random
import re
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import trio
import trio.testing

from agent.connectors.cwmp import http_text, limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import AcsSession, Ended, Misread
from agent.connectors.cwmp.errors import RemoteCwmpError
from agent.runtime.clock import SystemClock
from tests.bench import acs_cpe, acs_site
from tests.bench.acs_cpe import Said
from tests.bench.acs_virtual import host, serve_one
from tests.bench.processes import BenchError
from tests.bench.result import Result

COUNT = 20_000
WHOLE_EVERY = 20
GROWTH_KIB = 256.0
"""What memory may grow by from a tenth to all: caches of the interpreter that fill; it does not depend on the count."""
_PER_SESSION = 12
_WORDS = (
    b"<", b">", b"/", b"&", b"&#0;", b"&#xD800;", b"&lt;", b'"', b"<!DOCTYPE a>", b"<!ENTITY a 'b'>", b"<![CDATA[",
    b"]]>", b"<!--", b"<?xml version='1.0' encoding='utf-7'?>", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"xmlns:x=''",
    b"cwmp:", b"soapenc:arrayType='cwmp:Event[999999999]'", b"xsi:nil='true'", b"-1", b"99999999999999999999999",
    b"Inform", b"TransferComplete", b"Fault", b"GetParameterValuesResponse", b"<a>" * 40, b" " * 300, b"x" * 300,
)  # fmt: skip


def _broken(seed: bytes, dice: random.Random) -> bytes:
    """Return a body with one to four things wrong."""
    body = bytearray(seed)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(body) + 1)
        to = min(len(body), at + dice.randint(1, 200))
        match dice.randrange(8):
            case 0:
                del body[at:]
            case 1:
                del body[at:to]
            case 2:
                body[at:at] = body[at:to]
            case 3:
                body[at:at] = dice.choice(_WORDS)
            case 4:
                body[at:to] = dice.randbytes(to - at)
            case 5 if at < len(body):
                body[at] ^= 1 << dice.randrange(8)
            case 6:  # another element's text, or name
                there = dice.randrange(len(body) + 1)
                body[at:to] = body[there : there + to - at]
            case _:
                del body[:at]
    return bytes(body)


_BODIES = (
    b"<cwmp:TransferComplete><CommandKey>k</CommandKey><FaultStruct><FaultCode>0</FaultCode><FaultString>x</FaultString>"
    b"</FaultStruct><StartTime>2026-01-01T00:00:00Z</StartTime><CompleteTime>2026-01-01T00:00:00Z</CompleteTime>"
    b"</cwmp:TransferComplete>\n"
    b"<cwmp:GetRPCMethods></cwmp:GetRPCMethods>\n"
    b"<soap-env:Fault><faultcode>Client</faultcode><faultstring>CWMP fault</faultstring><detail><cwmp:Fault>"
    b"<FaultCode>9003</FaultCode><FaultString>Invalid arguments</FaultString><SetParameterValuesFault>"
    b"<ParameterName>Device.X</ParameterName><FaultCode>9005</FaultCode><FaultString>no</FaultString>"
    b"</SetParameterValuesFault></cwmp:Fault></detail></soap-env:Fault>"
).split(b"\n")
_TEXTS = (
    b"", b" ", b"-1", b"1", b"true", b"yes", b"4294967296", b"99999999999999999999999", b"0x10", b"1e9", b"nan",
    b"0001-01-01T00:00:00Z", b"2026-13-45T99:99:99", b"\xe2\x80\xa8", b"Device.", b"cwmp:string", b"x" * 2000, b"9005",
    b"8005", b"<a/>", b"<a>1</a>", b"<Name>a</Name><Name>b</Name>", b"<![CDATA[<a>]]>", b"&amp;", b"&#9;",
)  # fmt: skip
_NAMES = (
    b"ID", b"Name", b"Value", b"Status", b"Inform", b"Fault", b"TransferComplete", b"GetRPCMethods", b"FaultCode", b"a",
    b"SetParameterValuesResponse", b"GetParameterValuesResponse", b"DeviceId", b"Event", b"string", b"CommandKey",
    b"HoldRequests", b"NoMoreRequests", b"SessionTimeout", b"\xc3\xa9", b"Body", b"Header", b"detail", b"x" * 300,
)  # fmt: skip
_LEAF = re.compile(rb"<([\w:-]+)((?: [^<>]*)?)>([^<]*)</\1>")
_ATTRIBUTE = re.compile(rb' [\w:-]+="[^"<]*"')


def _wrong(seed: bytes, dice: random.Random) -> bytes:
    """Return a body that is XML, with one to four things wrong in what it says."""
    body = seed
    for _ in range(dice.randint(1, 4)):
        kind = dice.randrange(7)
        found = list((_ATTRIBUTE if kind == 6 else _LEAF).finditer(body))
        if not found:
            break
        leaf = dice.choice(found)
        if kind == 6:
            new = dice.choice((b"", b' a="b"', b' xsi:type="xsd:nothing"', b' mustUnderstand="1"', b' xmlns="urn:x"'))
            body = body[: leaf.start()] + new + body[leaf.end() :]
            continue
        name, attributes, text = leaf.groups()
        match kind:
            case 0 | 1:
                text = dice.choice(_TEXTS)
            case 2:
                name = dice.choice(_NAMES)
        one = b"<%b%b>%b</%b>" % (name, attributes, text, name)
        made = b"" if kind == 3 else one * dice.choice((2, 3, 50)) if kind == 4 else one
        if kind == 5:  # another method, or another part of it
            old, new = dice.choice(found)[1], dice.choice(_NAMES)
            body = body.replace(b"<" + old + b">", b"<" + new + b">").replace(b"</" + old + b">", b"</" + new + b">")
            continue
        body = body[: leaf.start()] + made + body[leaf.end() :]
    return body


def _method(seed: bytes, dice: random.Random) -> bytes:
    """Return a body whose method is another than its arguments are for."""
    methods = re.findall(rb"<cwmp:(\w+(?:Response)?)>", seed)
    return seed.replace(methods[-1] if methods else b"Inform", dice.choice(_NAMES))


def _coded(body: bytes, dice: random.Random) -> tuple[bytes, str]:
    """Return a body as it comes, and its coding: most in clear, some packed, of which some are broken."""
    match dice.randrange(20):
        case 0:
            return gzip.compress(body, 1), "gzip"
        case 1:
            packed = bytearray(gzip.compress(body, 1))
            packed[dice.randrange(len(packed))] ^= 0x55
            return bytes(packed), "gzip"
        case 2:
            return zlib.compress(body, 1)[: dice.randrange(40)], "deflate"
        case 3:
            return body, dice.choice(("br", "gzip", "identity", ""))
    return body, ""


class Player:
    """Gives bodies to sessions, a new one after some of them or when one is over."""

    def __init__(self, what: Said, seed: int) -> None:
        self._dice = random.Random(seed)
        self._inform = what.inform(1, booted=False)
        answers = (what.was_set, self._short(what.tree), *self._more(what.was_set))
        self._seeds = (self._inform, what.inform(2, booted=True), *answers)
        self.came: Counter[str] = Counter()
        self._session, self._left = self._new(), _PER_SESSION

    @staticmethod
    def _short(tree: bytes) -> bytes:
        """Return an answer with some of its parameters, so that most bodies are small."""
        head, *structs = tree.split(b"<ParameterValueStruct>")
        last = structs[-1].partition(b"</ParameterValueStruct>")[2]
        return b"<ParameterValueStruct>".join([head, *structs[:40]]) + last

    @staticmethod
    def _more(answer: bytes) -> tuple[bytes, ...]:
        """Return other bodies that a CPE may send, in the envelope of an answer."""
        head, _, rest = answer.partition(b"<cwmp:SetParameterValuesResponse>")
        tail = rest.partition(b"</cwmp:SetParameterValuesResponse>")[2]
        return tuple(head + body + tail for body in _BODIES)

    def body(self) -> tuple[bytes, str]:
        """Return the next broken body, and its coding."""
        way = self._dice.choice((_broken, _wrong, _wrong, _method))
        return _coded(way(self._dice.choice(self._seeds), self._dice), self._dice)

    def _new(self) -> AcsSession:
        """Return a session at some point of its life."""
        session = AcsSession("bench", 0.0)
        stage = self._dice.randrange(3)
        if stage:
            session.receive_untrusted(self._inform)
            session.respond(0.0)
        if stage == 2:
            session.send(m.GetParameterValues(("Device.",)))
            session.receive_untrusted(b"")
            session.respond(0.0)
        return session

    def play(self) -> None:
        """Give one body to the session.

        Raises:
            BenchError: something else came out than may.
        """
        if self._session.ended or not self._left:
            self._session, self._left = self._new(), _PER_SESSION
        self._left -= 1
        body, coding = self.body()
        try:
            clear = http_text.body_untrusted(body, coding, limits.BODY_BYTES)
            events = self._session.receive_untrusted(clear)
            reply = self._session.respond(0.0)
        except RemoteCwmpError as err:
            self.came[type(err).__name__] += 1
            return
        except Exception as err:
            shown = base64.b64encode(body).decode()
            raise BenchError(f"{type(err).__name__}: {err} · coding {coding!r} · body {shown}") from err
        for event in events:
            error = event.error if isinstance(event, Misread | Ended) else None
            self.came[type(error).__name__ if error is not None else type(event).__name__] += 1
        if not events:
            self.came[f"no event, {reply.status}"] += 1


def _core(what: Said, count: int) -> tuple[Player, float, float, float]:
    """Play so many bodies. Returns: the player, seconds, and KiB that are allocated after a tenth and after all."""
    player = Player(what, seed=1)
    for _ in range(max(1, count // 100)):  # what is loaded once is
        player.play()
    tracemalloc.start()
    began, tenth = time.perf_counter(), 0.0
    try:
        for number in range(count):
            if number == count // 10:
                tenth = _allocated_kib()
            player.play()
        took = time.perf_counter() - began
        return player, took, tenth, _allocated_kib()
    finally:
        tracemalloc.stop()


def _allocated_kib() -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1024


# --- through the listener ---------------------------------------------------------------------------------------------


async def _posts(site: acs_site.Site, what: Said, bodies: Sequence[tuple[bytes, str]]) -> Counter[str]:
    """Have a CPE that proved itself post broken bodies, each in a session that has informed."""
    statuses: Counter[str] = Counter()
    acs, fleet = site.connector.acs, site.connector.fleet

    async def nobody(_: object) -> None:
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(acs.deal_turns)  # as while the listener serves
        nursery.start_soon(fleet.run, nobody)
        for number, (body, coding) in enumerate(bodies):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(serve_one, acs, theirs, host(number))
            status = await _post(ours, what, number, body, coding)
            statuses[status] += 1
            await trio.aclose_forcefully(ours)
        with trio.fail_after(30):
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return statuses


async def _post(stream: trio.abc.Stream, what: Said, number: int, body: bytes, coding: str) -> str:
    """Return what a broken body is answered by, once the Inform before it was taken."""
    steps = acs_cpe.session(what, number % 16, stay=True)
    got = bytearray()

    async def exchange(request: bytes) -> acs_cpe.Answer | None:
        await stream.send_all(request)
        while (answer := acs_cpe.take_answer(got)) is None:
            data = await stream.receive_some(65_536)
            if not data:
                return None
            got.extend(data)
        return answer

    with trio.fail_after(30):
        try:
            request = next(steps)
            while (answer := await exchange(request)) is not None:
                request = steps.send(answer)
            return "closed at the Inform"
        except StopIteration:
            pass
        more = f"Content-Encoding: {coding}\r\n".encode() if coding else b""
        answer = await exchange(acs_cpe.post(body, more))
    return "closed" if answer is None else str(answer.status)


def _whole(what: Said, count: int) -> Counter[str]:
    """Return the HTTP statuses that broken bodies are answered by.

    Raises:
        BenchError: something crashed.
    """
    player = Player(what, seed=2)
    bodies = [player.body() for _ in range(count)]
    with (
        tempfile.TemporaryDirectory(prefix="isp-bench-") as folder,
        acs_site.warnings() as warned,
        acs_site.opened(Path(folder), SystemClock(), sessions=10_000) as site,
    ):

        async def run() -> Counter[str]:
            await site.know(16)
            return await _posts(site, what, bodies)

        statuses = trio.run(run)
    if warned.first:
        raise BenchError(f"expected no crash in the ACS: {dict(warned.said)} {warned.first}")
    return statuses


def bench(count: int = COUNT) -> list[Result]:
    """Return what broken bodies cost, and by how much memory grew."""
    what = acs_cpe.said(100)
    player, took, tenth, end = _core(what, count)
    statuses = _whole(what, max(1, count // WHOLE_EVERY) if count <= COUNT else COUNT // WHOLE_EVERY)
    grown = end - tenth
    return [
        Result(
            f"acs_malformed_{count}",
            "no exception but ours",
            took / count * 1e6,
            "µs a body, tracemalloc on",
            "agent alone",
            met=True,
            more=dict(player.came.most_common()),
        ),
        Result(
            f"acs_malformed_{count}_memory",
            f"grows by <= {GROWTH_KIB:.0f} KiB",
            end,
            "KiB allocated after all",
            "agent alone",
            met=grown <= GROWTH_KIB,
            more={"after a tenth": tenth, "grown by": grown},
        ),
        Result(
            f"acs_malformed_{count}_listener",
            "no crash",
            float(statuses.total()),
            "bodies through the whole listener",
            "agent alone",
            met=True,
            more={f"answered {k}" if k.isdigit() else k: v for k, v in statuses.most_common()},
        ),
    ]


if __name__ == "__main__":
    for result in bench(int(sys.argv[1])):
        print(json.dumps(result.json()), flush=True)
