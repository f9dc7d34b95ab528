"""Webhooks: the listener that billing and payment systems call when something changed there.

    POST /hook/SOURCE/TOKEN  ->  404: no such path, token or sender's address; 401: not the sender's signature
                                 200: verified, and durable before this answer; heard before: 200 as well
                                 503 with Retry-After: not now; every sender calls again

* A call is a bell. Only facts that are then read from the source count; nothing here changes an account or a payment.
* The cheap comes first: address, path and token are looked at before a byte of the body, and the body is verified
  before it is parsed. Only a caller with a source's token makes the agent take a body.
* An answer says nothing of the reason. Reasons are counted by source (`refused`), and logged once a minute at most.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

import h11
import trio

from agent.billing.hook_callers import CallBudget, CallerPlaces, RefusedCalls
from agent.billing_model.errors import ForgedHookError, MalformedHookError
from agent.billing_model.hooks import Heard, HookCall, HookScheme
from agent.config import HooksConfig
from agent.connectors.base import UnreadableError
from agent.cpe_model.networks import network_of
from agent.reasons import HookReason
from agent.runtime.clock import Clock
from agent.runtime.errors import BindError, MalformedRequestError
from agent.runtime.http_wire import GONE, RequestHead, Wire, WireLimits
from agent.runtime.supervise import contain
from agent.store.errors import StoreError
from trust import chance

_log = logging.getLogger(__name__)

PATH: Final = "/hook/"
TOKEN_CHARACTERS: Final = 40
"""Of a token, hexadecimal: 160 bits."""
CONNECTIONS: Final = 128
"""At once. Senders have a few each; chosen so that all of them together hold less memory than one import."""
CONNECTIONS_EACH: Final = 8
BODIES_BYTES: Final = 8 * 1024 * 1024
"""Of all bodies at once."""
HANDSHAKE_S: Final = 10.0
VAIN, VAIN_PER_S = 20.0, 0.2
"""Refused calls of a peer that is on no list: somebody that enters a new secret tries a few times."""
STRANGERS, STRANGERS_PER_S = 200.0, 75.0
"""Connections of all such peers together that sent no verified call yet: with TLS some 2 ms of a core each."""
REGULARS: Final = 1000
"""Peers that are remembered for a verified call, the last ones."""
LOG_S: Final = 60.0
_LIMITS: Final = WireLimits(head_bytes=16_384, body_bytes=1024 * 1024, idle_s=10.0, body_s=10.0, write_s=10.0)
_JSON: Final = ("content-type", "application/json")
_RETRY: Final = ("retry-after", "30")

Network = IPv4Network | IPv6Network
Keep = Callable[[str, Heard], Awaitable[object]]
"""Makes a verified call durable, once: (source, heard). Raises StoreError where it cannot."""


@dataclass(frozen=True, slots=True)
class HookWay:
    """The way of one source's calls.

    `token`: the random part of its path. `senders`: networks that may call; empty: all. `scheme`: how calls are
    verified, with the secrets as they are now; UnreadableError: one is not set.
    """

    source: str
    token: str
    senders: tuple[Network, ...]
    scheme: Callable[[], HookScheme | None]


def hook_url(config: HooksConfig, way: HookWay, port: int) -> str:
    """Return the whole URL of a source's calls, for the settings of its system. `port`: that it listens on."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    made = f"{'https' if config.certificate else 'http'}://{host}:{port}"
    return f"{(config.url or made).rstrip('/')}{PATH}{way.source}/{way.token}"


def token_of(commit: Callable[[str, str], str], source: str, turn: int) -> str:
    """Return the token of a source: derived from a key of the vault, so that it is nowhere else and never lost.

    Args:
        commit: keyed commitment: (label, value) -> 64 hexadecimal digits.
        source: its name.
        turn: `[hooks] turn`; another number makes another token.
    """
    return commit(f"billing-hook/{source}", str(turn))[:TOKEN_CHARACTERS]


@dataclass(frozen=True, slots=True)
class _Caller:
    """A connection. `peer`: its network. `known`: whether it is the proxy's, or on a list of senders."""

    address: str
    peer: str
    known: bool
    scope: trio.CancelScope


@dataclass(frozen=True, slots=True)
class _Answer:
    """`peer`: of the proxy's client; "": it is the connection's."""

    status: int
    body: bytes = b""
    refused: HookReason | None = None
    source: str = ""
    peer: str = ""


class HooksListener:
    """The listener. `refused`: counts of refused calls, for `billing` status."""

    def __init__(
        self, config: HooksConfig, ways: Sequence[HookWay], keep: Keep, ring: Callable[[], None], clock: Clock
    ) -> None:
        """Take the parts; nothing listens yet.

        Args:
            config: where to listen.
            ways: of all sources that are called.
            keep: makes a call durable.
            ring: wakes the task that reads the accounts.
            clock: of signed times.
        """
        self._config, self._keep, self._ring, self._clock = config, keep, ring, clock
        self._ways: Mapping[str, HookWay] = {way.source: way for way in ways}
        self._nobody = chance.token_hex(TOKEN_CHARACTERS // 2)
        self._named = all(way.senders for way in ways)
        self._places: CallerPlaces[trio.CancelScope] = CallerPlaces(
            CONNECTIONS, CONNECTIONS if config.proxy else CONNECTIONS_EACH
        )
        self._vain = CallBudget(VAIN, VAIN_PER_S)
        self._strangers = CallBudget(STRANGERS, STRANGERS_PER_S)
        self._regulars: OrderedDict[str, None] = OrderedDict()
        self._bytes = BODIES_BYTES
        self.refused = RefusedCalls()
        self.port = 0

    def url_of(self, source: str) -> str:
        """Return the URL of a source's calls; "": it is not called."""
        way = self._ways.get(source)
        return "" if way is None else hook_url(self._config, way, self.port)

    @property
    def sources(self) -> Sequence[str]:
        """The sources that are called."""
        return tuple(self._ways)

    async def serve(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. `task_status` is given the port.

        Raises:
            BindError: it cannot listen there, or certificate and key cannot be used.
        """
        where = f"hooks.listen: {self._config.host}:{self._config.port} cannot be used"
        try:
            context = _tls(self._config)
            listeners = await trio.open_tcp_listeners(self._config.port, host=self._config.host)
        except OSError as err:  # ssl.SSLError is one
            raise BindError(f"{where}: {err.strerror or type(err).__name__}") from err
        self.port = int(listeners[0].socket.getsockname()[1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(trio.serve_listeners, partial(self._serve_one, context), listeners, handler_nursery=nursery)
            )
            nursery.start_soon(self._look_after, context)
            task_status.started(self.port)

    async def _look_after(self, context: ssl.SSLContext | None) -> None:
        """Log refused calls, and take a certificate that was renewed."""
        loaded = _stamp(self._config)
        while True:
            await trio.sleep(LOG_S)
            self._log_refused()
            if context is None or (stamp := _stamp(self._config)) == loaded:
                continue
            try:
                context.load_cert_chain(self._config.certificate, self._config.key)
                loaded = stamp
            except OSError as err:  # half written, perhaps: it is tried again
                _log.warning("hooks-certificate", extra={"cause": err.strerror or type(err).__name__})

    def _log_refused(self) -> None:
        if count := self.refused.news(trio.current_time(), LOG_S):
            _log.warning("hooks-refused", extra={"count": count})

    # --- connections

    async def _serve_one(self, context: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
        try:
            address = _address_of(stream)
            with trio.CancelScope() as scope:
                caller = _Caller(address, network_of(address), self._is_known(address), scope)
                if self._let_in(caller):
                    try:
                        await contain("hook call", partial(self._connection, context, stream, caller), log=_log)
                    finally:
                        self._places.leave(caller.peer, scope)
            if scope.cancelled_caught:
                self.refused.add("", HookReason.FULL)
        finally:
            await trio.aclose_forcefully(stream)

    def _is_known(self, address: str) -> bool:
        return address == self._config.proxy if self._config.proxy else self._is_listed(address)

    def _is_listed(self, address: str) -> bool:
        return any(_is_of(address, way.senders) for way in self._ways.values() if way.senders)

    def _let_in(self, caller: _Caller) -> bool:
        """Return whether a connection may go on: to others it is closed without a word, before TLS."""
        if reason := None if caller.known else self._against(caller.peer):
            self.refused.add("", reason)
            return False
        goes = self._places.enter(caller.peer, caller.scope)
        if goes is not None:
            goes.cancel()
        return True

    def _against(self, peer: str) -> HookReason | None:
        """Return why a peer that is on no list is not let in; None: it is."""
        now = trio.current_time()
        if self._config.proxy or self._named:
            return HookReason.ADDRESS
        if self._vain.used_up(peer, now):
            return HookReason.RATE
        if peer in self._regulars:
            return None
        if self._strangers.used_up("", now):
            return HookReason.RATE
        self._strangers.spend("", now)
        return None

    async def _connection(self, context: ssl.SSLContext | None, socket: trio.SocketStream, caller: _Caller) -> None:
        stream: trio.abc.Stream = socket
        with contextlib.suppress(*GONE):
            if context is not None:
                stream = trio.SSLStream(socket, context, server_side=True, https_compatible=True)
                with trio.move_on_after(HANDSHAKE_S) as scope:
                    try:
                        await stream.do_handshake()
                    except trio.BrokenResourceError:
                        self._refuse("", HookReason.NO_TLS, caller.peer)
                        return
                if scope.cancelled_caught:
                    self._refuse("", HookReason.NO_TLS, caller.peer)
                    return
            wire = Wire(stream, _LIMITS)
            wire.strict_lines = True
            while await self._request(wire, caller):
                pass

    async def _request(self, wire: Wire, caller: _Caller) -> bool:
        """Answer one request; return whether the connection goes on."""
        try:
            head = await wire.head()
            if head is None:
                return False
            answer = await self._answer(wire, head, caller)
        except h11.RemoteProtocolError:
            answer = _Answer(400, refused=HookReason.NO_HTTP)
        close = answer.status != 200
        if answer.refused is not None:
            self._refuse(answer.source, answer.refused, answer.peer or caller.peer)
        if not wire.may_answer:
            return False
        await wire.answer(answer.status, [_JSON, *([_RETRY] if answer.status == 503 else [])], answer.body, close=close)
        if close:
            await wire.linger(_LIMITS.head_bytes)
        return not close and wire.next_request()

    def _refuse(self, source: str, reason: HookReason, peer: str) -> None:
        self.refused.add(source, reason)
        self._vain.spend(peer, trio.current_time())
        self._log_refused()

    # --- one call

    async def _answer(self, wire: Wire, head: RequestHead, caller: _Caller) -> _Answer:
        fields: dict[str, str] = {}
        for name, value in head.headers:
            field, text = name.decode("ascii"), value.decode("latin-1")
            fields[field] = f"{fields[field]}, {text}" if field in fields else text
        if not self._config.proxy:
            return await self._heard(wire, head, fields, caller.address)
        address = _forwarded_untrusted(fields.get("x-forwarded-for", ""))
        if not address:
            return _Answer(400, refused=HookReason.NO_PROXY)
        peer = network_of(address)
        if self._vain.used_up(peer, trio.current_time()) and not self._is_listed(address):
            return _Answer(404, refused=HookReason.RATE, peer=peer)
        return replace(await self._heard(wire, head, fields, address), peer=peer)

    async def _heard(self, wire: Wire, head: RequestHead, fields: Mapping[str, str], address: str) -> _Answer:
        way = self._way_of(head)
        if way is None:
            return _Answer(404, refused=HookReason.UNKNOWN_PATH)
        if way.senders and not _is_of(address, way.senders):
            return _Answer(404, refused=HookReason.ADDRESS, source=way.source)
        return await self._taken(wire, way, fields, address)

    def _way_of(self, head: RequestHead) -> HookWay | None:
        """Return the source of a request's path, if it has the source's token; the time tells nothing of it."""
        path = head.target.decode("ascii").partition("?")[0]
        source, _, token = path.removeprefix(PATH).partition("/")
        way = self._ways.get(source)
        is_token = hmac.compare_digest(token.encode(), (way.token if way else self._nobody).encode())
        return way if is_token and path.startswith(PATH) and head.method == b"POST" else None

    async def _taken(self, wire: Wire, way: HookWay, fields: Mapping[str, str], address: str) -> _Answer:
        try:
            scheme = way.scheme()
        except UnreadableError:
            return _Answer(503, refused=HookReason.NO_SECRET, source=way.source)
        if scheme is None:
            return _Answer(404, refused=HookReason.UNKNOWN_PATH, source=way.source)
        room = scheme.body_most
        if room > self._bytes:
            return _Answer(503, refused=HookReason.CROWDED, source=way.source)
        self._bytes -= room
        try:
            body = await wire.body(room)
            heard = scheme.hear_untrusted(HookCall(fields, body, address), self._clock.wall_s())
            try:
                await self._keep(way.source, heard)
            finally:
                self._ring()  # also where the connection ends just now: it may be durable all the same
        except MalformedRequestError:
            return _Answer(413, refused=HookReason.TOO_LARGE, source=way.source)
        except ForgedHookError:
            return _Answer(401, refused=HookReason.FORGED, source=way.source)
        except MalformedHookError:
            return _Answer(400, refused=HookReason.MALFORMED_CALL, source=way.source)
        except StoreError:
            return _Answer(503, refused=HookReason.NOT_KEPT, source=way.source)
        finally:
            self._bytes += room
        self._regulars[network_of(address)] = None
        self._regulars.move_to_end(network_of(address))
        if len(self._regulars) > REGULARS:
            self._regulars.popitem(last=False)
        return _Answer(200, heard.answer)


def _tls(config: HooksConfig) -> ssl.SSLContext | None:
    """Return the listener's TLS context; None: it speaks none.

    Raises:
        OSError: a file cannot be read or used.
    """
    if not config.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.certificate, config.key)
    return context


def _stamp(config: HooksConfig) -> tuple[int, ...]:
    """Return a stamp that tells one state of certificate and key from another; empty: they cannot be looked at."""
    try:
        return tuple(os.stat(name).st_mtime_ns for name in (config.certificate, config.key) if name)
    except OSError:
        return ()


def _address_of(stream: trio.SocketStream) -> str:
    """Return the address of a connection's other end, an IPv4 one as such; "": it is gone."""
    try:
        return _plain(str(stream.socket.getpeername()[0]))
    except OSError:
        return ""


def _plain(text: str) -> str:
    """Return an address in its shortest form; "": it is none."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if found.version == 6 else None
    return str(mapped or found)


def _forwarded_untrusted(header: str) -> str:
    """Return the address that the proxy added, the last one of X-Forwarded-For; "": there is none."""
    last = header.rpartition(",")[2].strip()
    return _plain(last.strip("[]"))


def _is_of(address: str, networks: Sequence[Network]) -> bool:
    if not address:
        return False
    found = ip_address(address)
    return any(found in network for network in networks if network.version == found.version)
