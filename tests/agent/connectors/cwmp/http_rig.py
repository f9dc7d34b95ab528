"""A CPE's side of HTTP that does as a test says, against an ACS on loopback; a desk that takes what sessions say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import h11
import trio

from agent.connectors.cwmp import envelope
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import Informed, SessionEvent
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.listener import Acs, Proof
from agent.connectors.cwmp.methods import Message
from agent.connectors.cwmp.schema import CwmpConfig
from agent.connectors.cwmp.soap import Header
from agent.connectors.cwmp.structs import DeviceId, InformEvent, ParameterValue
from agent.connectors.cwmp.versions import CwmpVersion
from agent.runtime.clock import Clock
from agent.runtime.http_wire import Wire
from lab.cpe.auth import Client
from tests.builders import reads
from tests.builders.clock import FakeClock

USER, PASSWORD = "cpe", "shared-by-all"
PASSWORDS = {USER: PASSWORD, "02AC5F-Box-S1": "its own"}
DEVICE = DeviceId("Maker", "02AC5F", "Box", "S1")
NAME = "02AC5F-Box-S1"
GET = m.GetParameterValues(("Device.DeviceInfo.UpTime",))
GOT = m.GetParameterValuesResponse(())


def inform(*events: str, device: DeviceId = DEVICE, values: Sequence[tuple[str, str]] = (), retry: int = 0) -> m.Inform:
    codes = tuple(InformEvent(code, "") for code in events or ("2 PERIODIC",))
    listed = tuple(ParameterValue(name, Value(text, "string")) for name, text in values)
    return m.Inform(device, codes, 1, "2026-11-24T22:49:33Z", retry, listed)


def said(message: Message, identity: str = "c1") -> bytes:
    return envelope.write(message, Header(identity), CwmpVersion.V1_0)


INFORM = said(inform())


def inform_of(number: int) -> bytes:
    """Return the Inform of one of many CPE."""
    return said(inform(device=replace(DEVICE, serial_number=f"S{number}")))


@dataclass
class Answer:
    """What the ACS answered. Header names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    @property
    def cookie(self) -> str:
        """The name and value of the cookie that it sets."""
        return self.get("set-cookie").partition(";")[0]

    @property
    def message(self) -> Any:
        return reads.read(self.body).message

    @property
    def id(self) -> str:
        return reads.read(self.body).id or ""


class HungUpError(Exception):
    """There is no whole answer: the ACS closed the connection."""


class Caller:
    """One connection of a CPE. `cookie`: is sent with each post, where there is one."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.cookie = ""
        self.closed = False
        self._http = h11.Connection(h11.CLIENT)
        self._raw = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def post(
        self,
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        *,
        method: str = "POST",
        target: str = "/acs",
        pieces: Sequence[bytes] | None = None,
    ) -> Answer:
        """Send a request and return its answer. `pieces`: the body's chunks."""
        fields = [("Host", "acs"), *headers]
        if self.cookie:
            fields.append(("Cookie", self.cookie))
        fields.append(("Content-Length", str(len(body))) if pieces is None else ("Transfer-Encoding", "chunked"))
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        events: list[h11.Event] = [h11.Request(method=method, target=target, headers=fields)]
        events += [h11.Data(data=piece) for piece in ([body] if pieces is None else pieces) if piece]
        await self.send(b"".join(self._http.send(event) or b"" for event in [*events, h11.EndOfMessage()]))
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the answer to what was sent.

        Raises:
            HungUpError: there is none.
        """
        head: h11.Response | None = None
        body = bytearray()
        with trio.fail_after(200):
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    try:
                        data = bytes(await self.stream.receive_some(65536))
                    except trio.BrokenResourceError:
                        data = b""
                    try:
                        self._http.receive_data(data)
                        if not data:
                            self._http.next_event()
                    except h11.RemoteProtocolError:
                        raise HungUpError from None
                elif isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    raise HungUpError
        fields = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
        self.closed = self._http.our_state is h11.MUST_CLOSE or ("connection", "close") in fields
        return Answer(head.status_code, fields, bytes(body))

    async def rest(self) -> bytes:
        """Return all that comes until the ACS closes."""
        got = b""
        with trio.fail_after(200):
            try:
                while data := await self.stream.receive_some(65536):
                    got += data
            except trio.BrokenResourceError:
                pass
        return got

    async def log_in(
        self,
        body: bytes = INFORM,
        user: str = USER,
        password: str = PASSWORD,
        *,
        headers: Sequence[tuple[str, str]] = (),
        **quirks: bool,
    ) -> Answer:
        """Post, be challenged, and post again with credentials; keep the cookie."""
        challenged = await self.post(body, headers)
        assert challenged.status == 401, challenged
        auth = Client(user, password, **quirks)
        assert auth.take(challenged.all("www-authenticate"))
        answer = await self.post(body, [*headers, ("Authorization", auth.header("POST", "/acs", body) or "")])
        self.cookie = answer.cookie or self.cookie
        return answer


@dataclass
class Desk:
    """Takes what sessions say. `holds`: whether a CPE is kept on the line. `on_inform`, `on_event`: may crash.

    `accepts`: whether each CPE is an accepted one. `known`: where such ones called from before.
    """

    holds: bool = False
    accepts: bool = True
    known: Sequence[str] = ()
    informs: list[tuple[CwmpSession, Informed, Proof]] = field(default_factory=list)
    events: list[tuple[CwmpSession, SessionEvent]] = field(default_factory=list)
    exchanges: list[tuple[CwmpSession, bytes, int, bytes]] = field(default_factory=list)
    ends: list[CwmpSession] = field(default_factory=list)
    on_inform: Callable[[CwmpSession, Informed], None] = lambda _call, _informed: None
    on_event: Callable[[CwmpSession, SessionEvent], None] = lambda _call, _event: None

    def accepted_addresses(self, most: int) -> Sequence[str]:
        return self.known[-most:]

    def is_accepted(self, user: str) -> bool:
        return self.accepts and user != USER

    async def informed(self, call: CwmpSession, informed: Informed, proof: Proof) -> None:
        await trio.lowlevel.checkpoint()
        self.informs.append((call, informed, proof))
        device = informed.inform.device_id
        call.name = f"{device.oui}-{device.product_class}-{device.serial_number}"
        if self.accepts:
            call.accept()
        if self.holds:
            call.hold()
        self.on_inform(call, informed)

    async def event(self, call: CwmpSession, event: SessionEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.events.append((call, event))
        self.on_event(call, event)

    def exchanged(self, call: CwmpSession, body: bytes, status: int, answer: bytes) -> None:
        self.exchanges.append((call, body, status, answer))

    def over(self, call: CwmpSession) -> None:
        self.ends.append(call)

    @property
    def call(self) -> CwmpSession:
        """The newest session."""
        return self.informs[-1][0]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]


async def no_files(_target: str, wire: Wire) -> None:
    await wire.answer(404, [], close=True)


@dataclass
class Site:
    """An ACS that listens."""

    acs: Acs
    desk: Desk
    clock: Clock
    port: int
    nursery: trio.Nursery
    streams: list[trio.SocketStream] = field(default_factory=list)

    async def dial(self, host: str = "127.0.0.1") -> trio.SocketStream:
        """Return a connection from an address, which is closed at the end."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=host)
        self.streams.append(stream)
        return stream

    async def connect(self, host: str = "127.0.0.1") -> Caller:
        return Caller(await self.dial(host))

    async def logged_in(self) -> Caller:
        """Connect, and begin a session."""
        cpe = await self.connect()
        await cpe.log_in()
        return cpe


CONFIG = CwmpConfig(listen="127.0.0.1", port=0, user=USER, secret="s")


@asynccontextmanager
async def acs(desk: Desk | None = None, *, clock: Clock | None = None, **options: Any) -> AsyncIterator[Site]:
    """Run an ACS on loopback for the block; `options`: of its configuration."""
    desk, clock = desk or Desk(), clock or FakeClock()
    files = options.pop("files_by", no_files)
    server = Acs(replace(CONFIG, **options), clock, PASSWORDS.get, desk, files)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.serve)
        site = Site(server, desk, clock, port, nursery)
        try:
            yield site
        finally:
            for stream in site.streams:
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds."""
    with trio.fail_after(60):
        while not holds():  # noqa: ASYNC110  what is looked at tells nobody
            await trio.sleep(0.001)
