"""A small ACS for the tests of the lab's CPE: it answers Informs and asks what a test queued."""

from __future__ import annotations

import contextlib
import gzip
import re
import xml.etree.ElementTree as ET
from collections import deque
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import h11
import trio
import trio.testing

from lab.cpe.client import Cpe
from lab.cpe.device import Device
from lab.cpe.http import Network, connect_loopback
from lab.cpe.state import Identity
from lab.cpe.tr098 import tr098
from lab.cpe.tr181 import tr181

URL = "http://acs.test/acs"


def envelope(body: str, *, identity: str = "acs-1", hold: bool = False, version: str = "2", header: str = "") -> bytes:
    held = '<cwmp:HoldRequests s:mustUnderstand="1">1</cwmp:HoldRequests>' if hold else ""
    return (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:e="http://schemas.xmlsoap.org/soap/encoding/"'
        f' xmlns:cwmp="urn:dslforum-org:cwmp-1-{version}"><s:Header>'
        f'<cwmp:ID s:mustUnderstand="1">{identity}</cwmp:ID>{held}{header}</s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def request(method: str, inner: str = "", **options) -> bytes:
    return envelope(f"<cwmp:{method}>{inner}</cwmp:{method}>", **options)


def _array(name: str, members: list[str]) -> str:
    return f"<{name}>{''.join(members)}</{name}>"


def get_values(*names: str) -> bytes:
    return request("GetParameterValues", _array("ParameterNames", [f"<string>{n}</string>" for n in names]))


def set_values(values: dict[str, str] | list[tuple[str, str, str]], key: str = "") -> bytes:
    triples = [(n, v, "") for n, v in values.items()] if isinstance(values, dict) else values
    structs = []
    for name, value, kind in triples:
        typed = f' xsi:type="xsd:{kind}"' if kind else ""
        both = f"<Name>{escape(name)}</Name><Value{typed}>{escape(value)}</Value>"
        structs.append(f"<ParameterValueStruct>{both}</ParameterValueStruct>")
    return request(
        "SetParameterValues", _array("ParameterList", structs) + f"<ParameterKey>{escape(key)}</ParameterKey>"
    )


def download(
    url: str, key: str = "fw", kind: str = "1 Firmware Upgrade Image", size: int = 0, delay_s: int = 0
) -> bytes:
    return request(
        "Download",
        f"<CommandKey>{key}</CommandKey><FileType>{kind}</FileType><URL>{url}</URL><Username>u</Username>"
        f"<Password>p</Password><FileSize>{size}</FileSize><TargetFileName/><DelaySeconds>{delay_s}</DelaySeconds>"
        "<SuccessURL/><FailureURL/>",
    )


def reboot(key: str = "") -> bytes:
    return request("Reboot", f"<CommandKey>{key}</CommandKey>")


INFORM_RESPONSE = "<cwmp:InformResponse><MaxEnvelopes>1</MaxEnvelopes></cwmp:InformResponse>"


class Read:
    """An envelope of the CPE, read without namespaces."""

    def __init__(self, data: bytes):
        self.data = data
        self.root = ET.fromstring(data)
        for element in self.root.iter():
            element.tag = element.tag.rpartition("}")[2]
        self.body = self.root.find("Body")[0]
        self.method = self.body.tag
        self.id = self.root.findtext("Header/ID")

    def text(self, path: str) -> str:
        return self.body.findtext(path) or ""

    @property
    def values(self) -> dict[str, str]:
        return {one.findtext("Name"): one.findtext("Value") or "" for one in self.body.iter("ParameterValueStruct")}

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(e.findtext("EventCode"), e.findtext("CommandKey") or "") for e in self.body.iter("EventStruct")]

    @property
    def codes(self) -> list[str]:
        return [code for code, _ in self.events]

    @property
    def fault(self) -> str:
        return self.text("detail/Fault/FaultCode")

    @property
    def faults(self) -> dict[str, str]:
        return {
            one.findtext("ParameterName"): one.findtext("FaultCode")
            for one in self.body.iter("SetParameterValuesFault")
        }


@dataclass
class Acs:
    """Answers; `queue`: what it asks in the next sessions; `got`: what CPE sent; `requests`: raw HTTP of each."""

    queue: deque[bytes] = field(default_factory=deque)
    got: list[Read] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: deque[tuple[int, list[tuple[str, str]], bytes]] = field(default_factory=deque)
    cookie: str = "session=1"
    hold: bool = False
    before: list = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, bytes] = field(default_factory=dict)

    @property
    def informs(self) -> list[Read]:
        return [one for one in self.got if one.method == "Inform"]

    def last(self, method: str) -> Read:
        return next(one for one in reversed(self.got) if one.method == method)

    def reply(self, headers: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        self.requests.append((headers, body))
        for check in self.before:
            found = check(headers, body)
            if found is not None:
                return found
        if self.answers:
            return self.answers.popleft()
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if body:
            read = Read(body)
            self.got.append(read)
            if read.method == "Inform":
                return 200, [("Set-Cookie", f"{self.cookie}; Path=/")], envelope(INFORM_RESPONSE, hold=self.hold)
            if read.method in ("TransferComplete", "AutonomousTransferComplete"):
                return 200, [], envelope(f"<cwmp:{read.method}Response/>")
            if read.method == "GetRPCMethods":
                inner = "<MethodList><string>Inform</string></MethodList>"
                return 200, [], envelope(f"<cwmp:GetRPCMethodsResponse>{inner}</cwmp:GetRPCMethodsResponse>")
        if self.queue:
            return 200, [], self.queue.popleft()
        return 204, [], b""

    async def serve(self, stream) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._serve_one(stream, connection):
                connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve_one(self, stream, connection) -> bool:
        asked, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Request):
                asked = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        headers = {k.decode(): v.decode() for k, v in asked.headers}
        path = asked.target.decode()
        headers[":path"] = path
        if path.startswith("/files/"):
            status, extra, answer = self.file(asked.method.decode(), path, headers, body)
        else:
            status, extra, answer = self.reply(headers, body)
        lines = [*extra, ("Content-Length", str(len(answer)))]
        await stream.send_all(
            connection.send(h11.Response(status_code=status, headers=lines))
            + (connection.send(h11.Data(data=answer)) if answer else b"")
            + (connection.send(h11.EndOfMessage()) or b"")
        )
        return connection.our_state is h11.DONE

    def file(self, method: str, path: str, headers: dict[str, str], body: bytes):
        if method == "PUT":
            self.sent[path] = body
            return 201, [], b""
        return (200, [], self.files[path]) if path in self.files else (404, [], b"")


def device(root: str = "181", serial: str = "LAB0001", **options) -> Device:
    options.setdefault("url", URL)
    return Device(Identity(serial), {"181": tr181, "098": tr098}[root](), **options)


@contextlib.asynccontextmanager
async def running(acs: Acs, dev: Device | None = None, **options):
    """A CPE that runs against an ACS in memory."""
    cpe = None
    with trio.fail_after(options.pop("within_s", 10_000)):
        async with trio.open_nursery() as nursery:

            async def connect(host: str, port: int):
                if host == "192.0.2.1":
                    return await connect_loopback(host, port)
                near, far = trio.testing.memory_stream_pair()
                nursery.start_soon(acs.serve, far)
                return near

            options.setdefault("listens", False)
            cpe = Cpe(dev or device(), network=Network(connect), **options)
            await nursery.start(lambda task_status: cpe.run(task_status=task_status))
            yield cpe
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def listening(acs: Acs):
    """The address of an ACS on loopback."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, acs.serve, listeners)
            yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()


def fields(header: str) -> dict[str, str]:
    return {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^\s,]+)', header)}


def play(dev: Device, *asks: bytes, ok: bool = True) -> list[Read]:
    """A session without HTTP: what the CPE says to the Inform's answer, to its own requests' answers, and to `asks`."""
    queue = deque(asks)
    said = [Read(dev.begin_session())]
    answer = envelope(INFORM_RESPONSE)
    while (body := dev.receive(answer)) is not None:
        if body:
            said.append(Read(body))
            if said[-1].method in ("TransferComplete", "AutonomousTransferComplete", "GetRPCMethods"):
                answer = envelope(f"<cwmp:{said[-1].method}Response/>")
                continue
        answer = queue.popleft() if queue else b""
    dev.finish(ok=ok)
    return said


class Clock:
    """A clock that a test moves."""

    def __init__(self, at: float = 1_750_000_000.0):
        self.at = at

    def __call__(self) -> float:
        return self.at


def booted(root: str = "181", **options) -> tuple[Device, Clock]:
    """A CPE that has had its first session."""
    clock = Clock()
    dev = device(root, clock=clock, **options)
    dev.boot()
    play(dev)
    return dev, clock
