"""A NAS that is a RouterOS router: its sessions are the router's, and its API shows RADIUS' replies.

The router (`lab.router.ppp`) owns the CPE, their sessions and the rows of a session; this side asks its /radius servers
for it, accounts, and answers Disconnect and CoA as /radius incoming says. A session with a local secret for its login
is the router's alone: RADIUS is neither asked nor told, and no Disconnect finds it.

After a restart every session that was is stopped; where a Stop is lost, Accounting-On goes before the first login.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address
from typing import Final

import trio

from lab import radius_codec
from lab.datagrams import Peer
from lab.errors import AttributeValueError, LabError, NoAnswerError
from lab.faults import FaultKind
from lab.nas import Nas, NasOptions
from lab.radius_client import Endpoint
from lab.radius_codec import Attribute, Code, Packet, attribute
from lab.router import ppp
from lab.router import values as v
from lab.router.device import Router
from lab.router.ppp import RADIUS, Accepted, Cpe
from lab.sessions import Lease, Policy, Session, Subscription, policy_of

INCOMING: Final = "/radius/incoming"
REJECTED: Final = "RADIUS rejects the login"
_UNANSWERED: Final = "RADIUS does not answer"
_LOST: Final = "lost"
# Acct-Terminate-Cause by what the router says
_CAUSES: Final = {
    "peer request": "User-Request",
    "session timeout": "Session-Timeout",
    "nas reboot": "Admin-Reboot",
    "admin request": "Admin-Reset",
}
# addresses that mean "from a pool" (MikroTik's manual, "RADIUS Client", Framed-IP-Address)
_FROM_POOL: Final = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv4Network("224.0.0.0/3"))


def accepted_of(policy: Policy) -> Accepted:
    """The attributes of an Access-Accept that the router acts on."""
    address = policy.static4
    own = address is not None and not any(address in net for net in _FROM_POOL)
    return Accepted(
        address=str(address) if own else "",
        pool=policy.pool,
        rate_limit=policy.rate_limit,
        address_lists=policy.address_lists,
        group=policy.group,
        timeout_s=policy.timeout_s,
    )


class RouterNas(Nas):
    """The RADIUS side of a router. `run` serves until cancelled; whoever serves the router's API runs its timers.

    The CoA port is a free one: /radius incoming says which once it runs. Where an operator sets another there, or
    accept=no, nothing is answered. Only servers on loopback are asked.
    """

    def __init__(
        self, options: NasOptions, router: Router, clock: Callable[[], float] = time.time, *, back_up: bool = False
    ) -> None:
        super().__init__(options, None, clock, back_up=back_up)
        self.router = router
        self._online: dict[str, tuple[Cpe, ppp.Session]] = {}
        self._dials: dict[tuple[str, str], trio.Event] = {}
        self._stopping: set[str] = set()
        self._cut: list[Session] = []
        self._up = trio.Event()
        self._up.set()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled.

        Raises:
            NoAnswerError: no accounting server answers an Accounting-On.
        """
        self.router.access.aaa = self
        self.router.on_restart.append(self._restarted)
        try:
            await super().run(task_status)
        finally:
            self.router.access.aaa = None
            self.router.on_restart.remove(self._restarted)

    def _ready(self) -> None:
        self.router.set(INCOMING, port=str(self.dynauth_port))

    def subscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Connect CPE to the router; they dial when told to."""
        new = tuple(subscriptions)
        super().subscribe(new)
        for s in new:
            cpe = Cpe(s.login, s.password, s.mac, self.options.redial_delay_s, self.options.retry_s, redials=False)
            self.router.access.plug_in(cpe, dial=False)

    def subscribed(self, login: str) -> bool:
        """Tell whether a CPE of that login hangs on the router, whoever plugged it in."""
        return bool(self.router.access.of_login(login))

    def _names(self) -> dict[str, str]:
        identity = self.router.rows("/system/identity")[0]["name"]
        return {"NAS-IP-Address": self.options.accounting, "NAS-Identifier": identity}

    def _servers(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                row["address"],
                int(row["authentication-port"]),
                int(row["accounting-port"]),
                row["secret"].encode(),
                (v.milliseconds(row["timeout"]) or 300) / 1000,
            )
            for row in self.router.access.radius_servers()
            if _is_loopback(row["address"])
        ]

    # --- dialing -----------------------------------------------------------------------------------------------------

    async def dial(self, login: str) -> Session | None:
        """Let a CPE dial in once; where it is online, another one with the same login does.

        None: RADIUS rejects it, or a local secret let it in.

        Raises:
            LabError: the login has no CPE here, or the router refuses it.
            NoAnswerError: RADIUS does not answer.
        """
        access = self.router.access
        cpes = access.of_login(login)
        if not cpes:
            raise LabError(f"{self.options.name}: expected a login with a CPE here, got {login!r}")
        cpe = next((c for c in cpes if not c.online), None) or self._another(cpes)
        cpe.redials = True
        access.dial(cpe)
        if (done := self._dials.get((cpe.login, cpe.mac))) is not None:
            await done.wait()
        if cpe.session is not None:
            return self._sessions.get(cpe.session.session_id)
        if cpe.refused in (REJECTED, ""):
            return None
        raise (NoAnswerError if cpe.refused == _UNANSWERED else LabError)(f"{self.options.name}: {cpe.refused}")

    def _another(self, cpes: Sequence[Cpe]) -> Cpe:
        """Plug in one more CPE of a login."""
        number = len(self.router.access.cpes)
        mac = "02:2A:" + ":".join(f"{number >> shift & 255:02X}" for shift in (24, 16, 8, 0))
        cpe = Cpe(cpes[0].login, cpes[0].password, mac, self.options.redial_delay_s, self.options.retry_s)
        self.router.access.plug_in(cpe, dial=False)
        return cpe

    def ask(self, cpe: Cpe, number: int) -> None:
        """Ask RADIUS about a login, in a task of its own."""
        if self._nursery is None:
            self.router.access.refuse(cpe, number, _UNANSWERED)
            return
        done = self._dials[cpe.login, cpe.mac] = trio.Event()
        self._nursery.start_soon(self._log_in, cpe, number, done)

    async def _log_in(self, cpe: Cpe, number: int, done: trio.Event) -> None:
        try:
            await self._up.wait()
            session = await self._admitted(cpe, number)
            if session is not None:
                await self._account(session, "Start")
        finally:
            done.set()
            if self._dials.get((cpe.login, cpe.mac)) is done:
                del self._dials[cpe.login, cpe.mac]

    async def _admitted(self, cpe: Cpe, number: int) -> Session | None:
        """Ask RADIUS and begin the session that it accepts."""
        access = self.router.access
        known = self._subscriptions.get(cpe.login)
        subscription = Subscription(cpe.login, cpe.password, cpe.mac, chap=known is not None and known.chap)
        try:
            reply = await self._access(subscription, number)
            if reply.code != Code.ACCESS_ACCEPT:
                access.refuse(cpe, number, REJECTED)
                return None
            policy = policy_of(reply)
        except NoAnswerError:
            access.refuse(cpe, number, _UNANSWERED)
            return None
        except AttributeValueError as err:
            access.refuse(cpe, number, f"RADIUS says what cannot be read: {err}")
            return None
        began = access.admit(cpe, number, accepted_of(policy))
        if began is None:
            return None
        pool = "" if began.terms.remote == began.address else began.terms.remote
        self._online[began.session_id] = (cpe, began)
        lease = Lease(pool, number, IPv4Address(began.address))
        return self._keep(subscription, policy, began.session_id, number, lease)

    async def hang_up(self, login: str) -> int:
        """End a login's sessions from the CPE's side, for good; returns how many there were."""
        ended = {s.session_id for s in self.sessions(login)}
        for cpe in self.router.access.of_login(login):
            _stay_away(cpe)
            self.router.access.hang_up(cpe, "peer request")
        await self.wait_for(lambda: not ended & self._stopping)
        return len(ended)

    def _later(self, login: str, delay_s: float) -> None:
        """Do nothing: the router's CPE dial again by themselves."""

    # --- sessions that end --------------------------------------------------------------------------------------------

    def ended(self, cpe: Cpe, session: ppp.Session, reason: str) -> None:
        """Account for the end of a session, whoever ended it."""
        known = self._sessions.get(session.session_id)
        if known is None:
            return
        self._forget(known)
        del self._online[known.session_id]
        if self.faults.get(FaultKind.NO_REDIAL, known.login):
            cpe.redials = False
        if reason == "nas reboot":
            self._cut.append(known)
        elif reason != _LOST and self._nursery is not None:
            self._stopping.add(known.session_id)
            self._nursery.start_soon(self._close, known, _CAUSES.get(reason, "NAS-Error"))

    async def _close(self, session: Session, cause: str) -> None:
        await self._stop(session, cause)
        self._stopping.discard(session.session_id)
        self._note_change()

    def _restarted(self) -> None:
        cut, self._cut = self._cut, []
        self._up = trio.Event()
        if self._nursery is None:
            self._up.set()
        else:
            self._nursery.start_soon(self._come_back, cut, self._up)

    async def _come_back(self, cut: Sequence[Session], up: trio.Event) -> None:
        """Tell RADIUS of the sessions that a restart cut; no login is asked about before."""
        told: list[bool] = []

        async def stop(session: Session) -> None:
            told.append(await self._stop(session, _CAUSES["nas reboot"]))

        async with trio.open_nursery() as nursery:
            for session in cut:
                nursery.start_soon(stop, session)
        if not all(told):
            try:
                await self._say_on()
            except NoAnswerError:
                pass  # as a router: it goes on
        up.set()

    def _lose(self, session: Session) -> None:
        cpe, _ = self._online[session.session_id]
        _stay_away(cpe)
        self.router.access.hang_up(cpe, _LOST)

    def _throw_out(self, session: Session) -> None:
        cpe, _ = self._online[session.session_id]
        self.router.access.hang_up(cpe, "admin request")

    # --- sessions that go on ------------------------------------------------------------------------------------------

    def _is_walled(self, session: Session) -> bool:
        """The verdict of the router's firewall on a new connection of the session's."""
        if (found := self._online.get(session.session_id)) is None:
            return True
        return not self.router.access.gets_out_of(*found).out

    def _change(self, session: Session, changes: Sequence[tuple[str, str]]) -> None:
        super()._change(session, changes)
        access, (_, own) = self.router.access, self._online[session.session_id]
        for name, value in changes:
            if name == "Mikrotik-Rate-Limit":
                access.change_rate(own, value)
        if any(name == "Mikrotik-Address-List" for name, _ in changes):
            access.change_lists(own, session.policy.address_lists)

    # --- accounting ---------------------------------------------------------------------------------------------------

    def _line(self, subscription: Subscription, port: int) -> list[Attribute]:
        server = self.router.access.server()
        own = {
            "NAS-Port-Id": server.get("interface", ""),
            "Called-Station-Id": server.get("service-name", ""),
        }
        lines = super()._line(subscription, port)
        return [attribute(a.name, own[a.name]) if own.get(a.name) else a for a in lines]

    def _interim_s(self, policy: Policy) -> float:
        said = self.options.interim_s or policy.interim_s or self.router.access.interim_s()
        return float(said) or float("inf")

    async def _account(self, session: Session, status: str, cause: str = "") -> bool:
        return await super()._account(session, status, cause) if self.router.access.accounts() else True

    # --- CoA and Disconnect -------------------------------------------------------------------------------------------

    def _why_dropped(self, request: Packet, secret: bytes) -> str:
        incoming = self.router.rows(INCOMING)[0]
        if incoming["accept"] != "true" or incoming["port"] != str(self.dynauth_port):
            return "not-accepted"
        return super()._why_dropped(request, secret)

    def _coa_secret(self, request: Packet, peer: Peer) -> bytes:
        """The secret of the /radius row of that address with which the request was signed."""
        for row in self.router.rows(RADIUS):
            secret = row["secret"].encode()
            if row["disabled"] == "true" or row["address"] != peer[0] or not secret:
                continue
            if radius_codec.request_is_authentic(request, secret):
                return secret
        return b""


def _stay_away(cpe: Cpe) -> None:
    cpe.redials, cpe.next_dial, cpe.asking = False, None, None


def _is_loopback(address: str) -> bool:
    try:
        return IPv4Address(address).is_loopback
    except ValueError:
        return False
