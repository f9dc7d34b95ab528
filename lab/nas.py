"""A NAS (a PPPoE BNG) and the CPE behind it: sessions by RADIUS, accounting, CoA and Disconnect, CPE that redial.

A subscriber's reach follows from the Access-Accept: an address list or a pool that means the walled garden puts
it there, with an address and prefixes of the garden's.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from lab import dynauth, radius_codec
from lab.datagrams import DATAGRAM_BYTES_MAX, Answered, Peer, bound_socket, port_of
from lab.dynauth import Judged
from lab.errors import AttributeValueError, LabError, MalformedPacketError, NoAnswerError
from lab.faults import FaultBook, FaultKind, parse_fault
from lab.radius_client import Endpoint, RadiusClient
from lab.radius_codec import Attribute, Code, Packet, attribute
from lab.sessions import Lease, Policy, Pool, PoolPlan, Session, Subscription, policy_of

RECEIVED_MAX: Final = 20_000
DIALS_AT_ONCE: Final = 32
_LOSSES: Final = {
    "Start": FaultKind.START_LOST,
    "Interim-Update": FaultKind.INTERIM_LOST,
    "Stop": FaultKind.STOP_LOST,
}
"""The packets that get lost on their way to accounting, by Acct-Status-Type."""


@dataclass(frozen=True, slots=True)
class NasOptions:
    """A NAS. `accounting` is its NAS-IP-Address; `secret` is for CoA and Disconnect (RADIUS has the endpoint's).

    `walled_lists`, `walled_pools`: the Mikrotik-Address-List and Framed-Pool values that mean the garden. With
    `list_moves_pool` off, a walled list leaves the subscriber in the normal pool. `interim_s` 0: as RADIUS says.
    A CPE that was refused waits twice as long each time, from `retry_s` up to `retry_most_s` where that is more.
    """

    name: str
    accounting: str
    secret: bytes
    normal: PoolPlan
    garden: PoolPlan
    host: str = "127.0.0.1"
    walled_lists: Collection[str] = ("suspended",)
    walled_pools: Collection[str] = ("garden",)
    list_moves_pool: bool = True
    redial_delay_s: float = 0.2
    retry_s: float = 5.0
    retry_most_s: float = 0.0
    interim_s: int = 0
    latency_s: float = 0.0
    require_message_authenticator: bool = False
    timestamp_window_s: int = 300
    changeable: Collection[str] = dynauth.CHANGEABLE
    radius_tries: int = 4


@dataclass(frozen=True, slots=True)
class Received:
    """One datagram at the CoA port and its result: `ack`, `nak:CAUSE`, or why it was dropped."""

    at: float
    code: int
    login: str
    session_id: str
    outcome: str


class Nas:
    """The NAS. `run` serves until cancelled; everything else works while it runs.

    `boot` numbers its starts, in Acct-Session-Id; `back_up`: it had sessions before, so it sends Accounting-On first.
    (FreeRADIUS leaves an Accounting-On unanswered that closes nothing, so a first start says none.)
    """

    def __init__(
        self,
        options: NasOptions,
        radius: Endpoint | None,
        clock: Callable[[], float] = time.time,
        *,
        boot: int = 1,
        back_up: bool = False,
    ) -> None:
        self.options = options
        self.faults = FaultBook()
        self.received: deque[Received] = deque(maxlen=RECEIVED_MAX)
        self.dynauth_port = 0
        self.on_change: Callable[[str], None] = lambda login: None
        """Told the login of which a session began, ended or got another policy, at that instant."""
        self._dice = random.Random(options.name)
        self._clock = clock
        self._pools = {True: Pool(options.garden), False: Pool(options.normal)}
        self._sessions: dict[str, Session] = {}
        self._by_login: dict[str, list[Session]] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._away: set[str] = set()
        self._counter = 0
        self._boot = boot
        self._back_up = back_up
        self._answered = Answered(keep_s=float(max(options.timestamp_window_s, 30)))
        self._nursery: trio.Nursery | None = None
        self._interim_earlier = trio.Event()
        self._changed = trio.Event()
        self._radius = radius
        self._clients: dict[tuple[Endpoint, int], RadiusClient] = {}
        self._opening = trio.Lock()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled.

        Raises:
            NoAnswerError: the accounting server does not answer an Accounting-On.
        """
        with await bound_socket(self.options.host) as udp:
            async with trio.open_nursery() as nursery:
                self.dynauth_port, self._nursery = port_of(udp), nursery
                self._ready()
                if self._back_up:
                    await self._say_on()
                nursery.start_soon(self._listen, udp, nursery)
                nursery.start_soon(self._interims)
                task_status.started()

    def _ready(self) -> None:
        """Do the work that needs the CoA port, once it is known."""

    def subscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Connect CPE to this NAS; they dial when told to."""
        self._subscriptions.update((s.login, s) for s in subscriptions)

    def subscribed(self, login: str) -> bool:
        """Tell whether that login's CPE hangs on this NAS."""
        return login in self._subscriptions

    def sessions(self, login: str = "") -> tuple[Session, ...]:
        """The sessions now, of one login or all."""
        return tuple(self._by_login.get(login, ()) if login else self._sessions.values())

    def walls(self, policy: Policy) -> bool:
        """Tell whether a session with that policy reaches the walled garden only."""
        by_list = any(name in self.options.walled_lists for name in policy.address_lists)
        return by_list or policy.pool in self.options.walled_pools

    def rename(self, login: str, new: str) -> None:
        """Let a login's CPE dial in under another name from now on; a session goes on under the old one."""
        self._subscriptions[new] = replace(self._subscriptions.pop(login), login=new)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; it is asked again whenever a session or its accounting changed."""
        while not condition():
            await self._changed.wait()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- faults -------------------------------------------------------------------------------------------------------

    def set_fault(self, text: str, login: str = "") -> None:
        """Put a fault in force (see `lab.faults`); `stale-session` happens at once, and once.

        Raises:
            UnknownFaultError: no such fault.
        """
        fault = parse_fault(text)
        if fault.kind is not FaultKind.STALE_SESSION:
            self.faults.set(fault, login)
            return
        for session in self.sessions(login):
            self._lose(session)

    def _lose(self, session: Session) -> None:
        """End a session that nobody is told of; its CPE stays away."""
        self._away.add(session.login)
        self._remove(session)

    async def reboot(self, *, announced: bool) -> tuple[str, ...]:
        """Lose every session without a word to accounting, as in a power cut; return the logins; their CPE stay away.

        `announced`: it says Accounting-On when it is back, by which accounting closes its open rows.

        Raises:
            NoAnswerError: the accounting server does not answer an Accounting-On.
        """
        lost = tuple(self._by_login)
        for session in self.sessions():
            self._lose(session)
        # Another start: session ids must not be repeated
        self._boot, self._counter = self._boot + 1, 0
        if announced:
            await self._say_on()
        return lost

    # --- dialing -----------------------------------------------------------------------------------------------------

    async def dial(self, login: str) -> Session | None:
        """Let a CPE dial in once. None: rejected.

        Raises:
            LabError: the login has no CPE here, or the pool is empty.
            NoAnswerError: RADIUS does not answer.
        """
        subscription = self._subscriptions.get(login)
        if subscription is None:
            raise LabError(f"{self.options.name}: expected a subscribed login, got {login!r}")
        self._away.discard(login)
        self._counter += 1
        port, session_id = self._counter, f"81{self._boot % 256:02x}{self._counter:05x}"
        reply = await self._access(subscription, port)
        if reply.code != Code.ACCESS_ACCEPT:
            return None
        session = self._admit(subscription, policy_of(reply), session_id, port)
        await self._account(session, "Start")
        return session

    async def dial_all(self, logins: Iterable[str]) -> None:
        """Let many CPE dial, some at a time, as after a power cut; those rejected or not answered try again later.

        One that has dialed in by itself meanwhile is online: a CPE has one session. One with a changed login dials
        with the new one.
        """
        limit = trio.CapacityLimiter(DIALS_AT_ONCE)

        async def one(login: str) -> None:
            async with limit:
                if login in self._by_login or not self.subscribed(login):
                    return
                try:
                    done = await self.dial(login) is not None
                except LabError:
                    done = False
                if not done:
                    self._later(login, self.options.retry_s)

        async with trio.open_nursery() as nursery:
            for login in logins:
                nursery.start_soon(one, login)

    async def hang_up(self, login: str) -> int:
        """End a login's sessions from the CPE's side, for good; returns how many there were."""
        self._away.add(login)
        ended = self.sessions(login)
        for session in ended:
            if session.session_id in self._sessions:  # it may end otherwise while the Stop of another is sent
                self._remove(session)
                await self._stop(session, "User-Request")
        return len(ended)

    async def _access(self, subscription: Subscription, port: int) -> Packet:
        attributes = [attribute("User-Name", subscription.login), *self._me(), *self._line(subscription, port)]
        password = subscription.password.encode()
        if not subscription.chap:
            return await self._ask(Code.ACCESS_REQUEST, attributes, password)
        challenge = radius_codec.random_octets()
        attributes += [
            attribute("CHAP-Password", radius_codec.chap_password(port % 256, password, challenge)),
            attribute("CHAP-Challenge", challenge),
        ]
        return await self._ask(Code.ACCESS_REQUEST, attributes)

    async def _ask(self, code: Code, attributes: Sequence[Attribute], password: bytes | None = None) -> Packet:
        """Ask RADIUS, one server after the other until one answers; raises NoAnswerError."""
        error = NoAnswerError(f"{self.options.name}: expected a RADIUS server to ask, got none")
        for server in self._servers():
            client = await self._client(server, server.auth_port if code == Code.ACCESS_REQUEST else server.acct_port)
            try:
                return await client.ask(code, attributes, password)
            except NoAnswerError as err:
                error = err
        raise error

    def _servers(self) -> Sequence[Endpoint]:
        """The RADIUS servers, in the order in which they are asked."""
        return () if self._radius is None else (self._radius,)

    async def _client(self, server: Endpoint, port: int) -> RadiusClient:
        """The client of a server's port, running."""
        async with self._opening:
            if (client := self._clients.get((server, port))) is None:
                if self._nursery is None:
                    raise NoAnswerError(f"{self.options.name}: expected a NAS that runs, got one that does not")
                client = RadiusClient(
                    self.options.host,
                    (server.host, port),
                    server.secret,
                    timeout_s=server.timeout_s,
                    tries=self.options.radius_tries,
                )
                await self._nursery.start(client.run)
                self._clients[server, port] = client
        return client

    def _is_walled(self, session: Session) -> bool:
        """The meaning of the lists and the pool of a session's policy here."""
        return self.walls(session.policy)

    def _admit(self, subscription: Subscription, policy: Policy, session_id: str, port: int) -> Session:
        by_list = any(name in self.options.walled_lists for name in policy.address_lists)
        by_pool = policy.pool in self.options.walled_pools
        lease = self._pools[by_pool or (by_list and self.options.list_moves_pool)].take()
        if policy.static4 is not None:
            lease = replace(lease, address4=policy.static4)
        return self._keep(subscription, policy, session_id, port, lease)

    def _keep(self, subscription: Subscription, policy: Policy, session_id: str, port: int, lease: Lease) -> Session:
        """Note a session that begins."""
        now = trio.current_time()
        session = Session(
            subscription=subscription,
            session_id=session_id,
            nas_port=port,
            lease=lease,
            policy=policy,
            wall=self._is_walled,
            started=now,
            started_at_s=int(self._clock()),
            interim_due=now + self._interim_s(policy),
        )
        self._sessions[session_id] = session
        self._interim_earlier.set()
        self._by_login.setdefault(session.login, []).append(session)
        self.on_change(session.login)
        self._note_change()
        return session

    def _remove(self, session: Session) -> None:
        self._forget(session)
        self._pools[session.lease.pool == self.options.garden.name].give_back(session.lease)

    def _forget(self, session: Session) -> None:
        """Note a session's end."""
        del self._sessions[session.session_id]
        left = self._by_login[session.login]
        left.remove(session)
        if not left:
            del self._by_login[session.login]
        self.on_change(session.login)
        self._note_change()

    def _later(self, login: str, delay_s: float) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._redial, login, delay_s)

    async def _redial(self, login: str, delay_s: float) -> None:
        await trio.sleep(delay_s)
        pause_s = self.options.retry_s
        while login not in self._away and login not in self._by_login and self.subscribed(login):
            try:
                if await self.dial(login) is not None:
                    return
            except LabError:
                pass  # no answer, no address: the CPE does not care why, it tries again
            await trio.sleep(pause_s)
            pause_s = max(pause_s, min(2 * pause_s, self.options.retry_most_s))

    # --- accounting ---------------------------------------------------------------------------------------------------

    def _names(self) -> dict[str, str]:
        """The NAS' own name."""
        return {"NAS-IP-Address": self.options.accounting, "NAS-Identifier": self.options.name}

    def _me(self) -> list[Attribute]:
        return [attribute(name, value) for name, value in self._names().items()]

    async def _say_on(self) -> None:
        """Say that no session from before lives on; raises NoAnswerError."""
        await self._ask(Code.ACCOUNTING_REQUEST, [attribute("Acct-Status-Type", "Accounting-On"), *self._me()])

    def _line(self, subscription: Subscription, port: int) -> list[Attribute]:
        return [
            attribute("NAS-Port", port),
            attribute("NAS-Port-Type", "Ethernet"),
            attribute("NAS-Port-Id", "pppoe-access"),
            attribute("Service-Type", "Framed-User"),
            attribute("Framed-Protocol", "PPP"),
            attribute("Calling-Station-Id", subscription.mac),
            attribute("Called-Station-Id", "access"),
        ]

    def _interim_s(self, policy: Policy) -> float:
        return float(self.options.interim_s or policy.interim_s) or float("inf")

    async def _account(self, session: Session, status: str, cause: str = "") -> bool:
        """Account for a session; False where that gets lost, or RADIUS does not answer."""
        lost, kind = self.faults.get(FaultKind.ACCOUNTING_LOST, session.login), _LOSSES.get(status)
        by_kind = kind is not None and self.faults.get(kind, session.login) is not None
        if by_kind or (lost is not None and self._dice.random() * 100 < lost.value):
            return False
        now = trio.current_time()
        up, down = session.count(now)
        attributes = [
            attribute("Acct-Status-Type", status),
            attribute("User-Name", session.login),
            attribute("Acct-Session-Id", session.session_id),
            attribute("Acct-Authentic", "RADIUS"),
            attribute("Event-Timestamp", int(self._clock())),
            attribute("Framed-IP-Address", str(session.lease.address4)),
            *self._me(),
            *self._line(session.subscription, session.nas_port),
        ]
        for name, prefix in (
            ("Framed-IPv6-Prefix", session.lease.framed6),
            ("Delegated-IPv6-Prefix", session.lease.delegated6),
        ):
            if prefix is not None:
                attributes.append(attribute(name, str(prefix)))
        if session.policy.klass is not None:
            attributes.append(attribute("Class", session.policy.klass))
        if status != "Start":
            attributes += [
                attribute("Acct-Session-Time", int(now - session.started)),
                attribute("Acct-Input-Octets", up & 0xFFFFFFFF),
                attribute("Acct-Input-Gigawords", up >> 32),
                attribute("Acct-Output-Octets", down & 0xFFFFFFFF),
                attribute("Acct-Output-Gigawords", down >> 32),
            ]
        if cause:
            attributes.append(attribute("Acct-Terminate-Cause", cause))
        try:
            await self._ask(Code.ACCOUNTING_REQUEST, attributes)
        except NoAnswerError:
            return False  # as a router: the session matters, its record is lost
        finally:
            self._note_change()
        return True

    async def _stop(self, session: Session, cause: str) -> bool:
        """Say that a session ended; False where that gets lost."""
        return await self._account(session, "Stop", cause)

    async def report(self, login: str) -> None:
        """Send an Interim-Update of each of a login's sessions now."""
        for session in self.sessions(login):
            if session.session_id in self._sessions:
                await self._account(session, "Interim-Update")

    async def _interims(self) -> None:
        while True:
            due = min((session.interim_due for session in self._sessions.values()), default=float("inf"))
            with trio.move_on_at(due):
                await self._interim_earlier.wait()
            self._interim_earlier = trio.Event()
            now = trio.current_time()
            for session in [s for s in self._sessions.values() if s.interim_due <= now]:
                session.interim_due = now + self._interim_s(session.policy)
                if session.session_id in self._sessions:
                    await self._account(session, "Interim-Update")

    # --- CoA and Disconnect (RFC 5176) --------------------------------------------------------------------------------

    async def _listen(self, udp: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            datagram, peer = await udp.recvfrom(DATAGRAM_BYTES_MAX)
            try:
                request = radius_codec.decode_untrusted(datagram)
                secret = self._coa_secret(request, peer)
                why = self._why_dropped(request, secret)
            except (MalformedPacketError, AttributeValueError):
                continue
            if why:
                self._log(request, why)
                continue
            key = (peer[0], peer[1], request.id, request.authenticator)
            if self._answered.first(key, trio.current_time()):
                nursery.start_soon(self._answer, udp, request, peer, secret)
            else:
                self._log(request, "duplicate")
                if again := self._answered.answer(key):
                    await udp.sendto(again, peer)

    def _coa_secret(self, request: Packet, peer: Peer) -> bytes:
        """The secret shared with the sender of CoA and Disconnect there; empty: there is none."""
        return self.options.secret

    def _why_dropped(self, request: Packet, secret: bytes) -> str:
        """Why a request gets no answer at all (RFC 5176 sections 2.3, 3.6, 6.3); empty: it does."""
        if request.code not in (Code.DISCONNECT_REQUEST, Code.COA_REQUEST):
            return "wrong-code"
        fits = radius_codec.message_authenticator_fits(request, secret)
        if not secret or not radius_codec.request_is_authentic(request, secret) or fits is False:
            return "unauthentic"
        if fits is None and self.options.require_message_authenticator:
            return "no-message-authenticator"
        stamp = request.text("Event-Timestamp")
        if stamp is not None and abs(int(stamp) - self._clock()) > self.options.timestamp_window_s:
            return "stale-timestamp"
        return ""

    def _log(self, request: Packet, outcome: str) -> None:
        texts = [(request.data(n) or b"").decode(errors="replace") for n in ("User-Name", "Acct-Session-Id")]
        self.received.append(Received(trio.current_time(), request.code, texts[0], texts[1], outcome))
        self._note_change()

    def _judge(self, request: Packet) -> Judged:
        login, session_id = (
            (request.data(n) or b"").decode(errors="replace") for n in ("User-Name", "Acct-Session-Id")
        )
        # The index narrows, the judge compares every identifying attribute
        if session_id:
            candidates = [s for s in (self._sessions.get(session_id),) if s is not None]
        else:
            candidates = list(self.sessions(login))
        return dynauth.judge(request, self._names(), candidates, self.options.changeable)

    async def _answer(self, udp: trio.socket.SocketType, request: Packet, peer: Peer, secret: bytes) -> None:
        login = (request.data("User-Name") or b"").decode(errors="replace")
        judged = self._judge(request)
        if not login and judged.sessions:
            login = judged.sessions[0].login
        slow = self.faults.get(FaultKind.SLOW, login)
        await trio.sleep(self.options.latency_s + (slow.value if slow else 0.0))
        if self.faults.get(FaultKind.SILENCE, login):
            self._log(request, "silence")
            return
        judged = self._judge(request)  # while it slept, a session may have ended
        cause = self._refusal(request, login, judged) or judged.error_cause
        if not cause and not self.faults.get(FaultKind.ACK_WITHOUT_EFFECT, login):
            self._enact(request, judged)
        self._log(request, f"nak:{cause}" if cause else "ack")
        if self.faults.get(FaultKind.REPLY_LOST, login) is None:
            if self.faults.get(FaultKind.WRONG_SECRET, login):
                secret = b"not-" + secret
            await self._reply(udp, request, peer, cause, login, secret)

    def _refusal(self, request: Packet, login: str, judged: Judged) -> int:
        """The Error-Cause that a fault puts on this request, 0 for none."""
        nak = self.faults.get(FaultKind.NAK, login)
        if nak and (judged.sessions or nak.value != dynauth.NOT_REMOVABLE):
            return int(nak.value)
        picky = self.faults.get(FaultKind.REJECT_401, login)
        if picky and any(a.name.lower() in picky.attributes for a in request.attributes):
            return int(picky.value)
        return 0

    def _enact(self, request: Packet, judged: Judged) -> None:
        for session in judged.sessions:
            if request.code == Code.COA_REQUEST:
                self._change(session, judged.changes)
            else:
                self._throw_out(session)

    def _throw_out(self, session: Session) -> None:
        """Carry out a Disconnect-Request."""
        self._remove(session)
        if self._nursery is not None:
            self._nursery.start_soon(self._stop, session, "Admin-Reset")
        if self.faults.get(FaultKind.NO_REDIAL, session.login) is None:
            self._later(session.login, self.options.redial_delay_s)

    def _change(self, session: Session, changes: Sequence[tuple[str, str]]) -> None:
        if lists := tuple(value for name, value in changes if name == "Mikrotik-Address-List"):
            session.policy = replace(session.policy, address_lists=lists)
        for name, value in changes:
            match name:
                case "Mikrotik-Rate-Limit":
                    session.policy = replace(session.policy, rate_limit=value)
                case "Mikrotik-Group":
                    session.policy = replace(session.policy, group=value)
                case _:
                    pass  # timers and filters: taken, and nothing here shows them
        self.on_change(session.login)
        self._note_change()

    async def _reply(
        self, udp: trio.socket.SocketType, request: Packet, peer: Peer, cause: int, login: str, secret: bytes
    ) -> None:
        attributes = ([attribute("Error-Cause", cause)] if cause else []) + request.all("Proxy-State")
        reply = radius_codec.encode_reply(dynauth.answer_code(request.code, not cause), request, attributes, secret)
        self._answered.keep((peer[0], peer[1], request.id, request.authenticator), reply)
        for _ in range(2 if self.faults.get(FaultKind.DUPLICATE_REPLIES, login) else 1):
            await udp.sendto(reply, peer)
