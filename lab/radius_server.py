"""A small RADIUS server on FreeRADIUS' tables, for machines without FreeRADIUS.

PAP and CHAP, Status-Server, accounting. Message-Authenticator is demanded of Access-Requests by option and stands first
in every Access reply (CVE-2024-3596). Rejects carry Reply-Message only, as FreeRADIUS filters them.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from lab import accounting, dictionary, policy, radius_codec
from lab.database import Cursor, Database
from lab.datagrams import DATAGRAM_BYTES_MAX, Answered, Key, Peer, bound_socket, port_of
from lab.errors import AttributeValueError, LabDatabaseError, MalformedPacketError, UnknownAttributeError
from lab.policy import GroupRows, Row, UserRows
from lab.radius_codec import Attribute, Code, Packet

IN_HAND_MAX: Final = 1024
_Work = Callable[[Packet], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the server behaves. `secret` is shared with every client on loopback."""

    secret: bytes
    host: str = "127.0.0.1"
    require_message_authenticator: bool = True
    latency_s: float = 0.0
    post_auth: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an Access-Request, before it is signed."""

    code: Code
    attributes: tuple[Attribute, ...] = ()


def read_user(cursor: Cursor, login: str) -> UserRows:
    """Read a login's rows as the stock queries do: rows by id, groups by priority."""

    def rows(table: str, column: str, key: str) -> tuple[Row, ...]:
        found = cursor.fetch(
            f"SELECT attribute, op, value FROM {table} WHERE {column} = ? ORDER BY id",  # noqa: S608 (constants only)
            (key,),
        )
        return tuple(Row(str(a), str(o), str(v)) for a, o, v in found)

    # The stock query orders by priority alone; among equals the tables' own order is that of insertion
    names = cursor.fetch("SELECT groupname FROM radusergroup WHERE username = ? ORDER BY priority, id", (login,))
    groups = tuple(
        GroupRows(str(n), rows("radgroupcheck", "groupname", n), rows("radgroupreply", "groupname", n))
        for (n,) in names
    )
    return UserRows(rows("radcheck", "username", login), rows("radreply", "username", login), groups)


def _password_fits(request: Packet, known: str, secret: bytes) -> bool:
    hidden, chap = request.data("User-Password"), request.data("CHAP-Password")
    if hidden is not None:
        given = radius_codec.reveal_password_untrusted(hidden, secret, request.authenticator)
        return hmac.compare_digest(given, known.encode())
    if chap is None or len(chap) != 17:
        return False
    challenge = request.data("CHAP-Challenge") or request.authenticator
    return hmac.compare_digest(chap, radius_codec.chap_password(chap[0], known.encode(), challenge))


def _request_pairs(request: Packet) -> tuple[policy.Pair, ...]:
    # NAS lies in octets that do not fit an attribute show as AttributeValueError: the request is dropped
    return policy.request_pairs(
        (a.name, a.text()) for a in request.attributes if a.name not in ("User-Password", "CHAP-Password")
    )


def authorize(rows: UserRows, request: Packet, secret: bytes, now_s: float) -> Answer:
    """Return the answer to an Access-Request, from the user's rows.

    Raises:
        MalformedPacketError: User-Password is not in blocks of 16.
        AttributeValueError: an attribute of the request does not fit its format.
    """
    return grant(rows, _request_pairs(request), lambda known: _password_fits(request, known, secret), now_s)


def grant(rows: UserRows, pairs: Sequence[policy.Pair], fits: Callable[[str], bool], now_s: float) -> Answer:
    """Return the answer to a request with these attributes; `fits` tells whether its password is the known one.

    Raises as `authorize` does.
    """
    try:
        decision = policy.decide(rows, pairs, now_s)
        ends_at = decision.control_text("Expiration")
        left_s = None if ends_at is None else dictionary.expiration_at(ends_at).timestamp() - now_s
    except (UnknownAttributeError, AttributeValueError):
        return Answer(Code.ACCESS_REJECT)  # a row that cannot be read fails the module, and so the request
    reply = tuple(Attribute(p.definition.vendor, p.definition.code, p.data) for p in decision.reply)
    known, forced = decision.control_text("Cleartext-Password"), decision.control_text("Auth-Type")
    accepted = forced == "Accept" or (forced != "Reject" and known is not None and fits(known))
    if not decision.found or not accepted or (left_s is not None and left_s <= 0):
        return Answer(Code.ACCESS_REJECT, tuple(a for a in reply if a.name == "Reply-Message"))
    if left_s is not None:
        timeouts = [int.from_bytes(a.data, "big") for a in reply if a.name == "Session-Timeout"]
        limit = min([int(left_s), *timeouts])
        reply = (*(a for a in reply if a.name != "Session-Timeout"), radius_codec.attribute("Session-Timeout", limit))
    return Answer(Code.ACCESS_ACCEPT, reply)


class RadiusServer:
    """The server; `run` serves until cancelled. `auth_port` and `acct_port` are known once `run` has started."""

    def __init__(self, database: Database, options: ServerOptions, clock: Callable[[], float] = time.time) -> None:
        self.auth_port = 0
        self.acct_port = 0
        self._database = database
        self._options = options
        self._clock = clock
        self._answered = Answered()
        self._in_hand = trio.CapacityLimiter(IN_HAND_MAX)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve both ports."""
        with await bound_socket(self._options.host) as auth, await bound_socket(self._options.host) as acct:
            self.auth_port, self.acct_port = port_of(auth), port_of(acct)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, auth, self._access, nursery)
                nursery.start_soon(self._receive, acct, self._accounting, nursery)
                task_status.started()

    async def _receive(self, udp: trio.socket.SocketType, work: _Work, nursery: trio.Nursery) -> None:
        while True:
            datagram, peer = await udp.recvfrom(DATAGRAM_BYTES_MAX)
            try:
                request = radius_codec.decode_untrusted(datagram)
            except MalformedPacketError:
                continue
            key = (peer[0], peer[1], request.id, request.authenticator)
            if not self._answered.first(key, trio.current_time()):
                if again := self._answered.answer(key):
                    await udp.sendto(again, peer)
                continue
            if self._in_hand.available_tokens < 1:
                self._answered.forget(key)
            else:
                nursery.start_soon(self._serve_one, udp, work, request, peer, key)

    async def _serve_one(self, udp: trio.socket.SocketType, work: _Work, request: Packet, peer: Peer, key: Key) -> None:
        async with self._in_hand:
            try:
                answer = await work(request)
            except (MalformedPacketError, AttributeValueError, LabDatabaseError):
                self._answered.forget(key)  # not stored: no answer, and the NAS will ask again (RFC 2866 section 2)
                return
            if answer is not None:
                self._answered.keep(key, answer)
                await trio.sleep(self._options.latency_s)
                await udp.sendto(answer, peer)

    async def _access(self, request: Packet) -> bytes | None:
        secret = self._options.secret
        fits = radius_codec.message_authenticator_fits(request, secret)
        if fits is False or (fits is None and self._options.require_message_authenticator):
            return None
        if request.code == Code.STATUS_SERVER and fits:
            return radius_codec.encode_reply(Code.ACCESS_ACCEPT, request, (), secret, message_authenticator=True)
        if request.code != Code.ACCESS_REQUEST:
            return None
        login = request.text("User-Name") or ""
        rows = await self._database.read(lambda cursor: read_user(cursor, login))
        answer = authorize(rows, request, secret, self._clock())
        if self._options.post_auth:
            await self._database.write(lambda cursor: self._log(cursor, login, answer.code))
        attributes = (*answer.attributes, *request.all("Proxy-State"))
        return radius_codec.encode_reply(answer.code, request, attributes, secret, message_authenticator=True)

    def _log(self, cursor: Cursor, login: str, code: Code) -> None:
        # The password column stays empty: the lab stores no password twice
        reply = "Access-Accept" if code is Code.ACCESS_ACCEPT else "Access-Reject"
        cursor.execute(
            f"INSERT INTO radpostauth (username, pass, reply, authdate) VALUES (?, '', ?, {cursor.time()})",  # noqa: S608 (constants only)
            (login, reply, int(self._clock())),
        )

    async def _accounting(self, request: Packet) -> bytes | None:
        secret = self._options.secret
        if request.code == Code.STATUS_SERVER:
            if not radius_codec.message_authenticator_fits(request, secret):
                return None
            return radius_codec.encode_reply(Code.ACCOUNTING_RESPONSE, request, (), secret)
        if request.code != Code.ACCOUNTING_REQUEST or not radius_codec.request_is_authentic(request, secret):
            return None
        if radius_codec.message_authenticator_fits(request, secret) is False:
            return None
        now = self._clock()
        await self._database.write(lambda cursor: accounting.record(cursor, request, now))
        return radius_codec.encode_reply(Code.ACCOUNTING_RESPONSE, request, tuple(request.all("Proxy-State")), secret)
