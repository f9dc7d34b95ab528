"""The ACS' HTTP server: CPE post, prove who they are, and are told what to do (TR-069 section 3.4).

    POST without credentials  ->  401 with challenges; nothing of the body is looked at. Where no user is configured, a
                                  certificate that names who informs is the credentials
    POST Inform               ->  a session: its cookie is set, and its connection remembered: some CPE keep no cookie
    further POSTs             ->  of the session of their cookie, else of their connection
    GET /files/…              ->  a firmware image that is offered to a CPE (`images_session`)

Admission: more sessions than `CwmpConfig.sessions` are told 503 with Retry-After, each another number of seconds, so
that a town whose power comes back does not come at once. Who is not in a session may send little and costs no parsing.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

import h11
import trio

from agent.connectors.cwmp import envelope, http_text, limits, salvage
from agent.connectors.cwmp.acs_session import AcsSession, Ended, EndReason, Informed, SessionEvent
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.digest import KEY_BYTES, DigestAccepted, DigestGate, DigestRejected
from agent.connectors.cwmp.errors import MalformedXmlError, RemoteCwmpError
from agent.connectors.cwmp.images import PATH
from agent.connectors.cwmp.messages import Inform
from agent.connectors.cwmp.schema import CwmpConfig
from agent.runtime.clock import Clock
from agent.runtime.errors import MalformedRequestError
from agent.runtime.http_wire import GONE, Wire, WireLimits
from agent.runtime.supervise import Crash, contain

_log = logging.getLogger(__name__)
_LIMITS: Final = WireLimits(
    head_bytes=limits.HEAD_BYTES,
    body_bytes=limits.BODY_BYTES,
    idle_s=limits.IDLE_S,
    body_s=limits.BODY_S,
    write_s=limits.WRITE_S,
)
_SWEEP_S: Final = 2.0
_XML: Final = ("content-type", 'text/xml; charset="utf-8"')
_REALM: Final = "ispagent"
_ALGORITHMS: Final = ("MD5",)
"""The first challenge is the only one that some CPE look at, and MD5 all that most have."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a connection proved: a user of Digest or Basic, a certificate's common name; where it comes from.

    `user`: "" where the certificate alone let it in.
    """

    user: str
    certificate: str | None
    address: str


class Visit(Protocol):
    """Who works on a CPE that called in (`connector`)."""

    async def informed(self, call: CwmpSession, informed: Informed, proof: Proof) -> None:
        """Take note of an Inform, durably, and say whether the CPE is one to be worked on."""
        ...

    async def event(self, call: CwmpSession, event: SessionEvent) -> None:
        """Take note of anything else that a session says, durably."""
        ...

    def exchanged(self, call: CwmpSession, body: bytes, status: int, answer: bytes) -> None:
        """Take note of a POST, in clear, and of the answer that it is given next."""
        ...

    def over(self, call: CwmpSession) -> None:
        """Take note that nothing more of a session comes."""
        ...


@dataclass(slots=True)
class _Open:
    """A session that is open: the call, its cookie, who it was."""

    call: CwmpSession
    token: str
    proof: Proof
    wire: Wire
    """The connection of its last POST."""
    posts: trio.Lock = field(default_factory=trio.Lock)
    keeps_cookie: bool | None = None
    """Whether the CPE sends the cookie back; None: not seen yet."""
    gone_at: float | None = None
    """Since when it has no connection: the CPE may come back on another one."""


Files = Callable[[str, Wire], Awaitable[None]]


class Acs:
    """The server."""

    def __init__(
        self,
        config: CwmpConfig,
        clock: Clock,
        password_of: Callable[[str], str | None],
        visit: Visit,
        files: Files,
    ) -> None:
        """Make a server that does not listen yet.

        Args:
            config: of the ACS.
            clock: of nonces and of sessions' silence.
            password_of: user -> password of Digest and Basic, None: there is no such user.
            visit: is told what sessions say.
            files: answers a GET below `/files/`.
        """
        self._config, self._clock, self._password_of = config, clock, password_of
        self._visit, self._files = visit, files
        self._gate = DigestGate(
            _REALM, secrets.token_bytes(KEY_BYTES), algorithms=_ALGORITHMS, basic=config.basic or config.tls
        )
        self._open: dict[str, _Open] = {}
        self._connections: Counter[str] = Counter()
        self.refused = 0
        """How many were told to come again."""

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._open)

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. `task_status` is given the port.

        Raises:
            OSError: it cannot listen there. ssl.SSLError: certificate and key cannot be used.
        """
        context = tls_context(self._config)
        (listener, *more) = await trio.open_tcp_listeners(self._config.port, host=self._config.listen)
        for other in more:
            await other.aclose()
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(self._sweep)
            task_status.started(listener.socket.getsockname()[1])
            try:
                await trio.serve_listeners(partial(self._serve_one, context), [listener])
            finally:
                for opened in self._open.values():
                    opened.call.hang_up()  # whoever asked something learns now that no answer comes

    # --- connections

    async def _serve_one(self, context: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
        try:
            peer = str(stream.socket.getpeername()[0])
        except OSError:
            peer = ""  # it hung up before anybody looked
        full = self._connections.total() >= 4 * self._config.sessions
        if not peer or full or self._connections[peer] >= 2 * self._config.sessions:
            await trio.aclose_forcefully(stream)  # not even a word: that would cost a TLS handshake
            return
        self._connections[peer] += 1
        try:
            await contain("acs connection", lambda: self._connection(stream, context, peer), log=_log)
        finally:
            self._connections[peer] -= 1
            if not self._connections[peer]:
                del self._connections[peer]
            with trio.move_on_after(1, shield=True):
                await stream.aclose()

    async def _connection(self, socket: trio.SocketStream, context: ssl.SSLContext | None, peer: str) -> None:
        certificate: str | None = None
        stream: trio.abc.Stream = socket
        with contextlib.suppress(*GONE):
            if context is not None:
                tls = trio.SSLStream(socket, context, server_side=True, https_compatible=True)
                with trio.move_on_after(limits.BODY_S) as scope:
                    await tls.do_handshake()
                if scope.cancelled_caught:
                    return
                certificate, stream = http_text.common_name(tls.getpeercert()), tls
            await self._requests(Wire(stream, _LIMITS), Proof("", certificate, peer))

    async def _requests(self, wire: Wire, proof: Proof) -> None:
        current: _Open | None = None
        try:
            with wire.one_deadline():
                idle_s = limits.FIRST_HEAD_S
                while (head := await wire.head(idle_s)) is not None:
                    idle_s = limits.IDLE_S
                    headers = {k.decode("ascii"): v.decode("latin-1") for k, v in head.headers}
                    target = http_text.path_untrusted(head.target.decode("ascii"))
                    if target.startswith(PATH):
                        await self._get(wire, head.method, target)
                    elif target.partition("?")[0] != self._config.path:
                        await wire.answer(404, [], close=True)
                    elif head.method != b"POST":
                        await wire.answer(405, [("allow", "POST")], close=True)
                    else:
                        current = await self._post(wire, headers, target, current, proof)
                    if not wire.next_request():
                        break
                else:
                    return  # the client closed: nobody is to read anything
        except h11.RemoteProtocolError as err:
            if wire.may_answer:
                await wire.answer(err.error_status_hint, [], close=True)
        except MalformedRequestError as err:
            if wire.may_answer:
                await wire.answer(err.status, [], close=True)
        finally:
            if current is not None and current.wire is wire and current.token in self._open:
                await self._hung_up(current)
        await wire.linger(limits.FIRST_BODY_BYTES)

    async def _hung_up(self, opened: _Open) -> None:
        """Take note that the connection of a session's last POST is over; it may come back on another."""
        if opened.keeps_cookie is False:  # it was known by that connection alone
            await self._drop(opened, Ended(EndReason.TIMEOUT, opened.call.session.pending))
        else:
            opened.gone_at = self._clock.boot_s()

    async def _get(self, wire: Wire, method: bytes, target: str) -> None:
        if method == b"GET":
            await self._files(target, wire)
        else:
            await wire.answer(405, [("allow", "GET")], close=True)

    # --- one POST

    async def _post(
        self, wire: Wire, headers: Mapping[str, str], target: str, current: _Open | None, proof: Proof
    ) -> _Open | None:
        token = http_text.cookie_untrusted(headers.get("cookie", ""))
        found = self._open.get(token) if token else None
        by_cookie = found is not None
        if found is None and current is not None and current.token in self._open:
            found = current
        if found is None:
            return await self._first(wire, headers, target, proof)
        found.keeps_cookie, found.wire, found.gone_at = by_cookie, wire, None
        return await self._exchange(wire, headers, found)

    async def _first(self, wire: Wire, headers: Mapping[str, str], target: str, proof: Proof) -> _Open | None:
        """Answer who is not in a session: by a challenge, by 503, or by beginning one."""
        given, known = headers.get("authorization"), proof.certificate is not None and not self._config.user
        body = await wire.body(limits.FIRST_BODY_BYTES if known or given is not None else limits.STRANGER_BODY_BYTES)
        if len(self._open) >= self._config.sessions:
            self.refused += 1
            wait_s = limits.RETRY_AFTER_S + secrets.randbelow(limits.RETRY_AFTER_S)
            await wire.answer(503, [("retry-after", str(wait_s))], close=True)
            return None
        now = self._clock.wall_s()
        judged = None
        if given is not None:
            judged = self._gate.judge_untrusted(given, "POST", target, self._password_of, now, body)
        user = judged.user if isinstance(judged, DigestAccepted) else ""
        if not user and not (known and self._is_certified(proof, headers, body)):
            stale = isinstance(judged, DigestRejected) and judged.stale
            challenges = self._gate.challenges(now, secrets.token_bytes(8), stale=stale)
            await wire.answer(401, [("www-authenticate", each) for each in challenges])
            return None
        session = AcsSession(secrets.token_hex(6), self._clock.boot_s())
        opened = _Open(CwmpSession(session, proof.address), secrets.token_urlsafe(18), replace(proof, user=user), wire)
        self._open[opened.token] = opened
        return await self._exchange(wire, headers, opened, body)

    @staticmethod
    def _is_certified(proof: Proof, headers: Mapping[str, str], body: bytes) -> bool:
        """Tell whether a body is an Inform of the CPE that the certificate names. A certificate of many proves none."""
        try:
            clear = http_text.body_untrusted(body, headers.get("content-encoding", ""), limits.FIRST_BODY_BYTES)
            try:
                message = envelope.read_untrusted(clear).message
            except MalformedXmlError:
                message = salvage.read_untrusted(clear)[1]
        except RemoteCwmpError:
            return False
        return isinstance(message, Inform) and http_text.names_cpe(proof.certificate or "", *message.device_id.key)

    async def _exchange(
        self, wire: Wire, headers: Mapping[str, str], opened: _Open, first: bytes | None = None
    ) -> _Open | None:
        """Give a POST to its session, and its response to the CPE. Posts of one session never overlap.

        `first`: the body, of the POST that began it; its response sets the cookie.
        """
        async with opened.posts:  # before the body is read: a session has one in memory
            body = await wire.body(limits.BODY_BYTES) if first is None else first
            try:
                clear = http_text.body_untrusted(body, headers.get("content-encoding", ""), limits.BODY_BYTES)
            except RemoteCwmpError as err:
                await self._drop(opened, Ended(EndReason.UNREADABLE, opened.call.session.pending, error=err))
                await wire.answer(400, [], close=True)
                return None
            answer = await contain("acs session", lambda: self._take(opened, clear, wire), log=_log)
            if isinstance(answer, Crash):
                await self._drop(opened, Ended(EndReason.UNREADABLE, opened.call.session.pending))
                await wire.answer(500, [], close=True)
                return None
            status, reply_body = answer
            self._visit.exchanged(opened.call, clear, status, reply_body)
            over = opened.call.session.ended or opened.call.over.is_set()
            if over:
                self._open.pop(opened.token, None)
                self._visit.over(opened.call)
            fields: Sequence[tuple[str, str]] = [_XML] if reply_body else []
            if first is not None:
                fields = [*fields, ("set-cookie", http_text.set_cookie(opened.token, secure=self._config.tls))]
            await wire.answer(status, fields, reply_body, close=over or status >= 400)
        return None if over else opened

    async def _take(self, opened: _Open, body: bytes, wire: Wire) -> tuple[int, bytes]:
        call = opened.call

        async def take(event: SessionEvent) -> None:
            if isinstance(event, Informed):
                opened.call = call.anew or call
                await self._visit.informed(opened.call, event, opened.proof)
            else:
                await self._visit.event(opened.call, event)

        reply = await call.exchange(body, self._clock.boot_s, take, wire.gone)
        return reply.status, reply.body

    async def _drop(self, opened: _Open, ended: Ended) -> None:
        self._open.pop(opened.token, None)
        opened.call.hang_up(ended)
        await contain("acs session", lambda: self._visit.event(opened.call, ended), log=_log)
        self._visit.over(opened.call)

    async def _sweep(self) -> None:
        """End sessions that have been silent for too long."""
        while True:
            await self._clock.sleep(_SWEEP_S)
            now = self._clock.boot_s()
            for opened in list(self._open.values()):
                deadline = opened.call.session.deadline()
                if opened.gone_at is not None and now >= opened.gone_at + limits.GONE_S:
                    await self._drop(opened, Ended(EndReason.TIMEOUT, opened.call.session.pending))
                    continue
                if opened.call.over.is_set() or (deadline is not None and now >= deadline):
                    for event in opened.call.session.handle_timer(now):
                        if isinstance(event, Ended):
                            await self._drop(opened, event)
                    if opened.call.over.is_set():
                        self._open.pop(opened.token, None)


def tls_context(config: CwmpConfig) -> ssl.SSLContext | None:
    """Return what the server speaks TLS with, None where it does not. Old CPE have TLS 1.2 at best.

    Raises:
        OSError, ssl.SSLError: a file cannot be read or used.
    """
    if config.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate, config.key)
    if config.client_ca is not None:
        context.load_verify_locations(config.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
