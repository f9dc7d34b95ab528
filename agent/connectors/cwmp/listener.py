"""The ACS' HTTP server: CPE post, prove their identity, and get their orders (TR-069 section 3.4).

    POST without credentials  ->  401 with challenges; nothing of the body is looked at. Where no user is configured, a
                                  certificate that names who informs is the credentials
    POST Inform               ->  a session: its cookie is set, and its connection remembered: some CPE keep no cookie
    further POSTs             ->  of the session of their cookie, else of their connection
    GET /files/…              ->  a firmware image that is offered to a CPE (`images_session`)

Admission: more sessions than `CwmpConfig.sessions` are told 503 with Retry-After, each another number of seconds, so
    that a town does not come at once when its power is back.

* Until a CPE proved to be an accepted one, it is a stranger: little is taken from it, its network (`admission`) has few
  connections and sessions, and others of its network take its place when it is silent. Nothing is parsed of a peer that
  has not proved to know a password. A network that connects too often is hung up on at the door (`door_listener`).
* A network that accepted CPE called from has places apart from all other strangers', and does not wait behind them.
* An accepted CPE has one session, whatever its address; a large body is taken from it in answer to a request of ours.
* Reading takes its turn on the event loop (`turns_listener`), and is charged to the network or the CPE.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

import h11
import trio

from agent.connectors.cwmp import http_text, limits, reading
from agent.connectors.cwmp.acs_session import AcsSession, Ended, EndReason, Informed, SessionEvent
from agent.connectors.cwmp.admission import Allowances, Guests, Holdings, Regulars
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.digest import KEY_BYTES, DigestAccepted, DigestGate, DigestRejected
from agent.connectors.cwmp.door_listener import listening, take_connections
from agent.connectors.cwmp.errors import RemoteCwmpError
from agent.connectors.cwmp.images import PATH
from agent.connectors.cwmp.messages import Inform
from agent.connectors.cwmp.reading import BodyRead
from agent.connectors.cwmp.schema import CwmpConfig
from agent.connectors.cwmp.turns_listener import Turns
from agent.cpe_model.networks import network_of
from agent.runtime.clock import Clock
from agent.runtime.errors import MalformedRequestError
from agent.runtime.http_wire import GONE, Wire, WireLimits
from agent.runtime.supervise import Crash, contain
from trust import chance

_log = logging.getLogger(__name__)
_LIMITS: Final = WireLimits(
    head_bytes=limits.HEAD_BYTES,
    body_bytes=limits.BODY_BYTES,
    idle_s=limits.IDLE_S,
    body_s=limits.BODY_S,
    write_s=limits.WRITE_S,
)
_READ_FIELDS: Final = frozenset(
    {b"authorization", b"content-encoding", b"content-length", b"cookie", b"transfer-encoding"}
)
_SWEEP_S: Final = 2.0
_XML: Final = ("content-type", 'text/xml; charset="utf-8"')
_REALM: Final = "ispagent"
_ALGORITHMS: Final = ("MD5",)
"""The first challenge is the only one that some CPE look at, and MD5 all that most have."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof of a connection: a user of Digest or Basic, a certificate's common name; where it comes from.

    `user`: "" where the certificate alone let it in.
    """

    user: str
    certificate: str | None
    address: str


class Visit(Protocol):
    """The worker on a CPE that called in (`connector`)."""

    def is_accepted(self, user: str) -> bool:
        """Tell whether a user is an accepted CPE's own."""
        ...

    def accepted_addresses(self, most: int) -> Iterable[str]:
        """Return where accepted CPE called from last, of so many of them, the latest last."""
        ...

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


@dataclass(slots=True, eq=False)
class _Client:
    """A connection. `hang_up`: ends it at once, or as soon as it waits for its client."""

    address: str
    network: str
    turns: Turns
    """The line in which its work waits."""
    arrival: float
    """Its count among its network's connections; 0: it was given back."""
    hang_up: Callable[[], None] = lambda: None
    is_member: bool = False
    """Whether its last POST was of an accepted CPE."""


@dataclass(slots=True, eq=False)
class _Open:
    """A session that is open: the call, its cookie, its CPE."""

    call: CwmpSession
    token: str
    proof: Proof
    wire: Wire
    """The connection of its last POST."""
    client: _Client
    """The same."""
    posts: trio.Lock = field(default_factory=trio.Lock)
    keeps_cookie: bool | None = None
    """Whether the CPE sends the cookie back; None: not seen yet."""
    gone_at: float | None = None
    """Since when it has no connection: the CPE may come back on another one."""
    seated: CwmpSession | None = None
    """The call, once its share is settled."""

    @property
    def peer(self) -> str:
        """The account that this session's work is charged to: the name of an accepted CPE, else the network."""
        return self.call.name if self.call.accepted else self.client.network


@dataclass(frozen=True, slots=True)
class _Post:
    """The POST that begins a session. `read`: the result of reading it; `work`: its cost."""

    body: bytes
    read: BodyRead
    work: float


Files = Callable[[str, Wire], Awaitable[None]]


class Acs:
    """The HTTP server of the ACS: connections, sessions and their shares."""

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
            visit: is told the events of sessions.
            files: answers a GET below `/files/`.
        """
        self._config, self._clock, self._password_of = config, clock, password_of
        self._visit, self._files = visit, files
        self._gate = DigestGate(
            _REALM, chance.token_bytes(KEY_BYTES), algorithms=_ALGORITHMS, basic=config.basic or config.tls
        )
        self._open: dict[str, _Open] = {}
        self._members: dict[str, _Open] = {}
        """The session of each accepted CPE that is in one, by its name."""
        sessions = config.sessions
        each = max(limits.SHARE_LEAST, sessions // limits.SHARE)
        self._clients: set[_Client] = set()
        self._regulars = Regulars(limits.REGULARS)
        self._arrivals = Allowances(limits.ARRIVALS, limits.ARRIVALS_PER_S)
        self._strangers: Guests[_Client] = Guests(2 * sessions, each, limits.PATIENCE_S)
        self._returning: Guests[_Client] = Guests(2 * sessions, each, limits.PATIENCE_S)
        """Connections that proved nothing yet, of networks that accepted CPE called from."""
        self._fetching: Guests[_Client] = Guests(sessions, each, limits.WRITE_S)
        """Connections on which a file is fetched."""
        self._visitors: Guests[_Open] = Guests(
            max(1, sessions // limits.STRANGER_SESSIONS), limits.STRANGER_SESSIONS_EACH
        )
        self._stranger_bytes: Holdings[_Client] = Holdings(limits.STRANGER_BYTES)
        self._small_bytes: Holdings[_Client] = Holdings(limits.SMALL_BYTES)
        self._large_bytes: Holdings[_Client] = Holdings(limits.LARGE_BYTES)
        self._stranger_work = Allowances(limits.STRANGER_WORK, limits.STRANGER_WORK_PER_S)
        self._member_work = Allowances(limits.CPE_WORK, limits.CPE_WORK_PER_S)
        self._turns, self._stranger_turns = Turns(limits.PASS_WORK), Turns(limits.STRANGER_PASS_WORK)
        self._large = trio.Lock()
        """Of large bodies one is read at a time, since its tree takes ten times its bytes."""
        self.refused = 0
        """How many were told to come again, or hung up on because there was no place."""

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
        for address in self._visit.accepted_addresses(limits.REGULARS):
            self._regulars.add(network_of(address))
        with listening(listener) as sock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.deal_turns)
                nursery.start_soon(self._sweep)
                task_status.started(sock.getsockname()[1])
                try:
                    await take_connections(sock, self._let_in, partial(self._serve_one, context), nursery)
                finally:
                    for opened in self._open.values():
                        opened.call.hang_up()  # whoever asked something learns now that no answer comes

    async def deal_turns(self) -> None:
        """Deal out the turns of the event loop until cancelled, as `serve` does meanwhile."""
        async with trio.open_nursery() as nursery:
            for turns in (self._turns, self._stranger_turns):
                nursery.start_soon(turns.run)

    # --- connections

    def _let_in(self, address: str) -> _Client | None:
        """Return a connection from an address as one of the ACS'; None: there is no place for it."""
        network, now = network_of(address), trio.current_time()
        is_regular = network in self._regulars
        arrival = limits.REGULAR_ARRIVAL if is_regular else 1.0
        client = _Client(address, network, self._turns if is_regular else self._stranger_turns, arrival)
        most = (4 if is_regular else 3) * self._config.sessions
        if (
            len(self._clients) >= most
            or self._arrivals.wait_s(network, now)
            or not self._enter(self._lobby(client), client)
        ):
            self.refused += 1
            return None
        self._arrivals.spend(network, arrival, now)
        self._clients.add(client)
        return client

    async def _serve_one(self, context: ssl.SSLContext | None, stream: trio.SocketStream, client: _Client) -> None:
        try:
            await contain("acs connection", lambda: self._connection(stream, context, client), log=_log)
        finally:
            self._clients.discard(client)
            self._leave_lobby(client)
            self._fetching.leave(client)
            await stream.aclose()  # it is closed before anything is waited for, also by who is cancelled

    def _lobby(self, client: _Client) -> Guests[_Client]:
        """Return the places of connections like this one, while it has proved nothing."""
        return self._returning if client.network in self._regulars else self._strangers

    def _leave_lobby(self, client: _Client) -> None:
        for guests in (self._strangers, self._returning):
            guests.leave(client)

    def _to_lobby(self, client: _Client) -> None:
        """Have a connection that is open and no accepted CPE's count among those again, or hang up on it."""
        if client not in self._clients or client.is_member or client in self._strangers or client in self._returning:
            return
        if not self._enter(self._lobby(client), client):
            client.hang_up()

    @staticmethod
    def _enter(guests: Guests[_Client], client: _Client) -> bool:
        """Have a connection join others, for which another one may have to go; return whether it did."""
        is_in, goes = guests.enter(client, client.network, trio.current_time())
        if goes is not None:
            goes.hang_up()
        return is_in

    async def _connection(self, socket: trio.SocketStream, context: ssl.SSLContext | None, client: _Client) -> None:
        certificate: str | None = None
        stream: trio.abc.Stream = socket
        with contextlib.suppress(*GONE):
            if context is not None:
                tls = trio.SSLStream(socket, context, server_side=True, https_compatible=True)
                with trio.move_on_after(limits.FIRST_HEAD_S) as scope:
                    client.hang_up = scope.cancel
                    await client.turns.take(limits.HANDSHAKE_WORK)
                    await tls.do_handshake()
                if scope.cancelled_caught:
                    return
                certificate, stream = http_text.common_name(tls.getpeercert()), tls
            wire = Wire(stream, _LIMITS)
            client.hang_up = wire.hang_up
            await self._requests(wire, client, Proof("", certificate, client.address))

    async def _requests(self, wire: Wire, client: _Client, proof: Proof) -> None:
        current: _Open | None = None
        wire.strict_lines = True
        try:
            with wire.one_deadline():
                await wire.waited(partial(client.turns.take, limits.ARRIVAL_WORK), limits.FIRST_HEAD_S)
                idle_s = limits.FIRST_HEAD_S
                while (head := await wire.head(idle_s)) is not None:
                    for guests in (self._strangers, self._returning):
                        guests.seen(client, trio.current_time())
                    headers = {k.decode("ascii"): v.decode("latin-1") for k, v in head.headers if k in _READ_FIELDS}
                    target = http_text.path_untrusted(head.target.decode("ascii"))
                    if target.startswith(PATH):
                        await self._get(wire, head.method, target, client)
                    elif target.partition("?")[0] != self._config.path:
                        await wire.answer(404, [], close=True)
                    elif head.method != b"POST":
                        await wire.answer(405, [("allow", "POST")], close=True)
                    else:
                        current = await self._post(wire, headers, target, current, client, proof)
                    if not wire.next_request():
                        break
                    idle_s = limits.FIRST_HEAD_S if current is None else limits.IDLE_S
                    wire.strict_lines = not client.is_member
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
        await wire.linger(limits.STRANGER_BODY_BYTES)

    async def _hung_up(self, opened: _Open) -> None:
        """Take note that the connection of a session's last POST is over; it may come back on another."""
        if opened.keeps_cookie is False:  # it was known by that connection alone
            await self._drop(opened, Ended(EndReason.TIMEOUT, opened.call.session.pending))
        else:
            opened.gone_at = self._clock.boot_s()

    async def _get(self, wire: Wire, method: bytes, target: str, client: _Client) -> None:
        if method != b"GET":
            await wire.answer(405, [("allow", "GET")], close=True)
        elif not self._enter(self._fetching, client):
            await self._come_again(wire)
        else:
            self._leave_lobby(client)  # the largest image over a poor line takes an hour
            await self._files(target, wire)
            self._fetching.leave(client)
            self._to_lobby(client)

    async def _come_again(self, wire: Wire) -> None:
        self.refused += 1
        wait_s = limits.RETRY_AFTER_S + chance.randbelow(limits.RETRY_AFTER_S)
        await wire.answer(503, [("retry-after", str(wait_s))], close=True)

    @contextlib.contextmanager
    def _holding(self, bytes_: Holdings[_Client], client: _Client, size: int) -> Iterator[None]:
        """Have a client hold so many bytes inside the block; the largest holder may have to go for it."""
        for goes in bytes_.take(client, size):
            goes.hang_up()
        try:
            yield
        finally:
            bytes_.release(client)

    # --- one POST

    async def _post(
        self,
        wire: Wire,
        headers: Mapping[str, str],
        target: str,
        current: _Open | None,
        client: _Client,
        proof: Proof,
    ) -> _Open | None:
        token = http_text.cookie_untrusted(headers.get("cookie", ""))
        found = self._open.get(token) if token else None
        by_cookie = found is not None
        if found is None and current is not None and current.token in self._open:
            found = current
        if found is None:
            return await self._first(wire, headers, target, client, proof)
        if found.client is not client and not self._moved(found, client):
            await self._come_again(wire)
            return None
        found.keeps_cookie, found.wire, found.gone_at = by_cookie, wire, None
        return await self._exchange(wire, headers, found)

    def _moved(self, opened: _Open, client: _Client) -> bool:
        """Take note that a session goes on on another connection; return False where too many wait for their turn."""
        if opened.posts.statistics().tasks_waiting >= limits.POSTS_WAITING:
            return False
        before, opened.client = opened.client, client
        if opened.call.accepted:
            self._welcome(client)
            self._demote(before)
        return True

    def _welcome(self, client: _Client) -> None:
        """Take note that a connection is an accepted CPE's."""
        client.is_member, client.turns = True, self._turns
        self._leave_lobby(client)
        self._regulars.add(client.network)
        if client.arrival:
            self._arrivals.spend(client.network, -client.arrival, trio.current_time())
            client.arrival = 0.0

    def _demote(self, client: _Client) -> None:
        """Take note that a connection is an accepted CPE's no more: it has the share of a stranger."""
        was_member, client.is_member = client.is_member, False
        if was_member:
            self._to_lobby(client)

    async def _first(
        self, wire: Wire, headers: Mapping[str, str], target: str, client: _Client, proof: Proof
    ) -> _Open | None:
        """Answer a peer without a session: by a challenge, by 503, or by beginning one."""
        with self._holding(self._stranger_bytes, client, http_text.size_untrusted(headers, limits.STRANGER_BODY_BYTES)):
            body = await wire.body(limits.STRANGER_BODY_BYTES, limits.STRANGER_BODY_S)
            if len(self._open) >= self._config.sessions and self._visitors.oldest() is None:
                await self._come_again(wire)
                return None
            await client.turns.take()
            wire.go_on()
            given, now, judged = headers.get("authorization"), self._clock.wall_s(), None
            if given is not None:
                judged = self._gate.judge_untrusted(given, "POST", target, self._password_of, now, body)
            user = judged.user if isinstance(judged, DigestAccepted) else ""
            first = None
            if user or (proof.certificate is not None and not self._config.user):
                own = user not in ("", self._config.user) and self._visit.is_accepted(user)
                if not own and self._stranger_work.wait_s(client.network, self._clock.boot_s()):
                    await self._come_again(wire)
                    return None
                first = await self._read_first(body, headers, client.turns)
                if not user and not self._is_certified(proof, first.read):
                    self._stranger_work.spend(client.network, first.work, self._clock.boot_s())
                    first = None
            if first is None:
                stale = isinstance(judged, DigestRejected) and judged.stale
                challenges = self._gate.challenges(now, chance.token_bytes(8), stale=stale)
                await wire.answer(401, [("www-authenticate", each) for each in challenges])
                return None
            wire.go_on()  # its place may be another's by now
            if len(self._open) >= self._config.sessions:  # looked at once more: others began while this was read
                if (oldest := self._visitors.oldest()) is None:
                    await self._come_again(wire)
                    return None
                self._dismiss(oldest)
            session = AcsSession(chance.token_hex(6), self._clock.boot_s())
            call, token = CwmpSession(session, proof.address), chance.token_urlsafe(18)
            opened = _Open(call, token, replace(proof, user=user), wire, client)
            self._open[opened.token] = opened
            self._leave_lobby(client)  # it keeps its place until it has an answer: its boot would be counted twice
            try:
                return await self._exchange(wire, headers, opened, first)
            except GONE:
                opened.gone_at = self._clock.boot_s()
                raise
            finally:
                self._to_lobby(client)

    async def _read_first(self, body: bytes, headers: Mapping[str, str], turns: Turns) -> _Post:
        """Return a stranger's first POST, whatever it says."""
        try:
            clear = http_text.body_untrusted(body, headers.get("content-encoding", ""), limits.STRANGER_BODY_BYTES)
        except RemoteCwmpError as err:
            return _Post(b"", BodyRead(error=err), 1.0)
        read, work = await self._read(clear, limits.STRANGER_ELEMENTS, turns)
        return _Post(clear, read, work)

    @staticmethod
    async def _read(body: bytes, most: int, turns: Turns) -> tuple[BodyRead, float]:
        """Return the result of reading a body in clear, and its work; others have their turn meanwhile."""
        slices, work = reading.read_in_slices_untrusted(body, most), 1.0
        while True:
            try:
                slice_ = next(slices)
            except StopIteration as over:
                read: BodyRead = over.value
                return read, work
            work += slice_
            await turns.go_on(slice_)

    @staticmethod
    def _is_certified(proof: Proof, read: BodyRead) -> bool:
        """Tell whether a body is an Inform of the CPE that the certificate names. A certificate of many proves none."""
        message = read.salvaged[1] if read.message is None and read.salvaged is not None else read.message
        return isinstance(message, Inform) and http_text.names_cpe(proof.certificate or "", *message.device_id.key)

    async def _exchange(
        self, wire: Wire, headers: Mapping[str, str], opened: _Open, first: _Post | None = None
    ) -> _Open | None:
        """Give a POST to its session, and its response to the CPE. Posts of one session never overlap.

        `first`: the POST that began it; its response sets the cookie.
        """
        async with opened.posts:  # before the body is read: a session has one in memory
            if first is not None:
                return await self._answer(wire, opened, first, is_first=True)
            allowance = self._member_work if opened.call.accepted else self._stranger_work
            if wait_s := allowance.wait_s(opened.peer, self._clock.boot_s()):
                await self._clock.sleep(wait_s)
            is_large = opened.call.accepted and opened.call.session.pending is not None
            if is_large:
                size = 2 * http_text.size_untrusted(headers, limits.BODY_BYTES)
                bytes_, within_s = self._large_bytes, limits.BODY_S
            else:
                size = http_text.size_untrusted(headers, limits.STRANGER_BODY_BYTES)
                bytes_ = self._small_bytes if opened.call.accepted else self._stranger_bytes
                within_s = limits.STRANGER_BODY_S
            with self._holding(bytes_, opened.client, size):
                most = limits.BODY_BYTES if is_large else limits.STRANGER_BODY_BYTES
                body = await wire.body(most, within_s)
                turns = opened.client.turns
                await turns.take()
                try:
                    clear = http_text.body_untrusted(body, headers.get("content-encoding", ""), most)
                except RemoteCwmpError as err:
                    await self._unreadable(wire, opened, err)
                    return None
                if not clear.strip(b" \t\r\n"):
                    post = _Post(b"", BodyRead(), 1.0)
                elif len(clear) <= limits.STRANGER_BODY_BYTES:
                    post = _Post(clear, *await self._read(clear, limits.STRANGER_ELEMENTS, turns))
                else:
                    async with self._large:
                        post = _Post(clear, *await self._read(clear, limits.ELEMENTS, turns))
                return await self._answer(wire, opened, post)

    async def _unreadable(self, wire: Wire, opened: _Open, err: RemoteCwmpError | None) -> None:
        await self._drop(opened, Ended(EndReason.UNREADABLE, opened.call.session.pending, error=err))
        await wire.answer(400 if err is not None else 500, [], close=True)

    async def _answer(self, wire: Wire, opened: _Open, post: _Post, *, is_first: bool = False) -> _Open | None:
        if is_first and not post.body and post.read.error is not None:
            await self._unreadable(wire, opened, post.read.error)
            return None
        answer = await contain("acs session", lambda: self._take(opened, post, wire), log=_log)
        now_s = self._clock.boot_s()
        allowance = self._member_work if opened.call.accepted else self._stranger_work
        allowance.spend(opened.peer, post.work, now_s)
        if isinstance(answer, Crash):
            await self._unreadable(wire, opened, None)
            return None
        status, reply_body = answer
        self._visit.exchanged(opened.call, post.body, status, reply_body)
        self._seat(opened)
        over = opened.call.session.ended or opened.call.over.is_set()
        if over:
            self._forget(opened)
            self._visit.over(opened.call)
        fields: Sequence[tuple[str, str]] = [_XML] if reply_body else []
        if is_first:
            fields = [*fields, ("set-cookie", http_text.set_cookie(opened.token, secure=self._config.tls))]
        await wire.answer(status, fields, reply_body, close=over or status >= 400)
        return None if over else opened

    def _seat(self, opened: _Open) -> None:
        """Count a session, and its connection, among accepted CPE's or among strangers'."""
        call = opened.call
        if call is opened.seated:
            return
        if opened.seated is not None and self._members.get(opened.seated.name) is opened:
            del self._members[opened.seated.name]
        opened.seated = call
        if call.accepted:
            self._visitors.leave(opened)
            before = self._members.get(call.name)
            if before is not None and before is not opened:
                self._dismiss(before)  # a CPE has one session
            self._members[call.name] = opened
            self._welcome(opened.client)
        else:
            is_in, goes = self._visitors.enter(opened, opened.client.network, trio.current_time())
            for other in ([] if goes is None else [goes]) + ([] if is_in else [opened]):
                self._dismiss(other)

    def _dismiss(self, opened: _Open) -> None:
        """End a session for another one's sake."""
        opened.call.hang_up()
        self._forget(opened)
        self._demote(opened.client)
        self._visit.over(opened.call)

    def _forget(self, opened: _Open) -> None:
        """Take note that a session is over."""
        self._open.pop(opened.token, None)
        self._visitors.leave(opened)
        if self._members.get(opened.call.name) is opened:
            del self._members[opened.call.name]

    async def _take(self, opened: _Open, post: _Post, wire: Wire) -> tuple[int, bytes]:
        call = opened.call

        async def take(event: SessionEvent) -> None:
            if isinstance(event, Informed):
                opened.call = call.anew or call
                await self._visit.informed(opened.call, event, opened.proof)
            else:
                await self._visit.event(opened.call, event)

        reply = await call.exchange(post.body, self._clock.boot_s, take, wire.gone, post.read)
        return reply.status, reply.body

    async def _drop(self, opened: _Open, ended: Ended) -> None:
        self._forget(opened)
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
                        self._forget(opened)


def tls_context(config: CwmpConfig) -> ssl.SSLContext | None:
    """Return the server's TLS context, None where it speaks none. Old CPE have TLS 1.2 at best.

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
