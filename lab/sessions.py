"""A NAS's sessions and the address pools that they draw from. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from lab.errors import LabError
from lab.radius_codec import Packet


@dataclass(frozen=True, slots=True)
class Subscription:
    """A CPE's own settings: its credentials, and its place."""

    login: str
    password: str
    mac: str = "02:00:00:00:00:01"
    chap: bool = False


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool: IPv4 addresses; /64 out of `framed6` and /56 out of `delegated6` by the same number."""

    name: str
    network4: IPv4Network
    framed6: IPv6Network
    delegated6: IPv6Network


@dataclass(frozen=True, slots=True)
class Lease:
    """The addresses that a session got from a pool. `address4` may be RADIUS' own instead (Framed-IP-Address); IPv6 may
    be absent.
    """

    pool: str
    number: int
    address4: IPv4Address
    framed6: IPv6Network | None = None
    delegated6: IPv6Network | None = None


@dataclass(slots=True)
class Pool:
    """Free numbers of a pool, longest unused first: an address goes to somebody else only after all others."""

    plan: PoolPlan
    _free: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        room = min(self.plan.network4.num_addresses - 2, 2 ** (56 - self.plan.delegated6.prefixlen))
        self._free.extend(range(1, room))

    def take(self) -> Lease:
        """Take the next address and prefixes.

        Raises:
            LabError: the pool is empty.
        """
        if not self._free:
            raise LabError(f"pool {self.plan.name}: expected a free address, got none")
        n = self._free.popleft()
        framed = IPv6Network((int(self.plan.framed6.network_address) + (n << 64), 64))
        delegated = IPv6Network((int(self.plan.delegated6.network_address) + (n << 72), 56))
        return Lease(self.plan.name, n, self.plan.network4[n], framed, delegated)

    def give_back(self, lease: Lease) -> None:
        """Take a lease's number back."""
        self._free.append(lease.number)


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a session, by the Access-Accept or a later CoA."""

    rate_limit: str = ""
    address_lists: tuple[str, ...] = ()
    pool: str = ""
    group: str = ""
    klass: bytes | None = None
    interim_s: int = 0
    timeout_s: int = 0
    static4: IPv4Address | None = None

    @property
    def address_list(self) -> str:
        """The first of the lists, empty for none."""
        return self.address_lists[0] if self.address_lists else ""


def policy_of(accept: Packet) -> Policy:
    """Read the attributes that a NAS acts on; raises AttributeValueError where one does not fit its format."""
    static = accept.text("Framed-IP-Address")
    # RFC 2865 section 5.8: these two mean "from the NAS's pool"
    address = IPv4Address(static) if static and static not in ("255.255.255.254", "255.255.255.255") else None
    lists = (a.text() for a in accept.all("Mikrotik-Address-List"))
    return Policy(
        rate_limit=accept.text("Mikrotik-Rate-Limit") or "",
        address_lists=tuple(name for name in lists if name),
        pool=accept.text("Framed-Pool") or "",
        group=accept.text("Mikrotik-Group") or "",
        klass=accept.data("Class"),
        interim_s=int(accept.text("Acct-Interim-Interval") or 0),
        timeout_s=int(accept.text("Session-Timeout") or 0),
        static4=address,
    )


@dataclass(slots=True)
class Session:
    """A subscriber online. `wall` tells whether the NAS holds a session back as things are now."""

    subscription: Subscription
    session_id: str
    nas_port: int
    lease: Lease
    policy: Policy
    wall: Callable[[Session], bool]
    started: float
    started_at_s: int
    interim_due: float
    counted_at: float = field(init=False)
    counted: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.counted_at = self.started

    @property
    def login(self) -> str:
        return self.subscription.login

    @property
    def walled(self) -> bool:
        """Whether it reaches the walled garden only."""
        return self.wall(self)

    def reaches_internet(self) -> bool:
        """The way out: the view from the subscriber's side."""
        return not self.walled

    def count(self, now: float) -> tuple[int, int]:
        """Count until now and return the octets: (from the subscriber, to the subscriber). Made up; they only grow."""
        seconds = max(0.0, now - self.counted_at) * (0.02 if self.walled else 1.0)
        self.counted_at = max(now, self.counted_at)
        self.counted = (self.counted[0] + seconds * 12_000, self.counted[1] + seconds * 180_000)
        return int(self.counted[0]), int(self.counted[1])

    def identifying(self) -> Mapping[str, str]:
        """The attributes by which RFC 5176 section 3 lets a client name this session."""
        return {
            "User-Name": self.login,
            "Acct-Session-Id": self.session_id,
            "Framed-IP-Address": str(self.lease.address4),
            "Framed-IPv6-Prefix": str(self.lease.framed6 or ""),
            "NAS-Port": str(self.nas_port),
            "Calling-Station-Id": self.subscription.mac,
        }

    def view(self, now: float) -> dict[str, object]:
        """The session as the control socket shows it."""
        return {
            "login": self.login,
            "session_id": self.session_id,
            "address": str(self.lease.address4),
            "framed6": str(self.lease.framed6 or ""),
            "delegated6": str(self.lease.delegated6 or ""),
            "pool": self.lease.pool,
            "rate_limit": self.policy.rate_limit,
            "address_list": self.policy.address_list,
            "reaches_internet": self.reaches_internet(),
            "online_s": round(now - self.started, 3),
        }
