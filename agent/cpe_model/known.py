"""The record of a CPE, and its store: the connector reports, an inventory keeps it.

A connector does not know the database: `CpeBook` is its interface to the part that does. A CPE's own word proves
nothing; `Acceptance` names the proof of its name.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from agent.cpe_model.breaker import BreakerRow
from agent.cpe_model.errors import BadCredentialsError
from agent.cpe_model.values import UNREADABLE

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Credentials:
    """ConnectionRequestUsername and ConnectionRequestPassword, which the ACS sets in the CPE."""

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a text that no header can hold.

        Raises:
            BadCredentialsError: a control character in the user, or one of either that is no UTF-8.
        """
        try:
            (self.user + self.password).encode()
        except UnicodeEncodeError:
            # Without the cause, which holds the text
            raise BadCredentialsError("connection request: expected user and password in Unicode") from None
        if _CONTROL.search(self.user):
            raise BadCredentialsError("connection request: expected a user without control characters")


class Acceptance(enum.Enum):
    """Whether the agent acts on a CPE."""

    QUARANTINED = "quarantined"
    """It called in, and nobody has accepted it: nothing is asked of it, nothing is written."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    """A person said that it is none of ours: its sessions are refused."""


@dataclass(frozen=True, slots=True)
class CachedParameter:
    """A parameter as it was last read. `value` None: a secret, or a value that reads as one: only that it is there is
    kept.

    `at_s`: unix seconds. `writable` None: never asked. `before_reset`: the CPE was reset since, and no longer is that.
    """

    value: str | None
    type: str
    at_s: int
    writable: bool | None = None
    before_reset: bool = False

    @property
    def unreadable(self) -> bool:
        """Whether some of the value could not be decoded: it is shown, and nothing is written from it."""
        return self.value is not None and UNREADABLE in self.value


@dataclass(frozen=True, slots=True)
class Cpe:
    """A CPE. Times are unix seconds, 0: never. `service`: the subscriber's service that it serves, "": none.

    `user`: the name with the password that it proved itself with last, "": a certificate alone; `own`: that password or
    a certificate is its own, not one that many share. `boots`, `resets`: how often it said so; `provisioned`: how many
    resets it had when it got its baseline, -1: it never did. `why`: why it is quarantined, for people.
    """

    name: str
    oui: str
    product_class: str
    serial: str
    manufacturer: str = ""
    trust: Acceptance = Acceptance.QUARANTINED
    why: str = "never seen before"
    root: str = ""
    software: str = ""
    hardware: str = ""
    service: str = ""
    user: str = ""
    own: bool = False
    address: str = ""
    request_url: str = ""
    udp_address: str = ""
    events: tuple[str, ...] = ()
    reboot_key: str = ""
    """The CommandKey of the `M Reboot` among its events; "": it gave none."""
    first_s: int = 0
    last_s: int = 0
    boots: int = 0
    resets: int = 0
    provisioned: int = -1
    accepted_seq: int = 0
    """Of which entry in the log the decision is by which it is accepted: another one is another CPE to a plan."""
    claimed: bool = False
    """Whether somebody came under its name with credentials that many share, having had its own."""
    certified: bool = False
    """Whether it proved its name by a certificate of its own when it called in last."""
    assured: int = 0
    """The entry in the log of the approved plan that accepted it for its service; 0: none did."""
    booted: bool = False
    """Whether it told of a boot by calling in just now, one that it had not told of before."""

    @property
    def own_password(self) -> bool:
        """Whether its name rests on a password of its own: its own users begin with its name (`cpe rotate`)."""
        return self.own and f"{self.user}.".startswith(f"{self.name}.")

    @property
    def takes_secrets(self) -> bool:
        """Whether secrets may go into it: it was accepted by an approved plan, or its certificate proves its name.

        A certificate says which device it is, not the house where it stands: for a service an approved plan is needed.
        """
        return bool(self.assured) or (self.certified and not self.service)


def retried_within_s(count: int) -> int:
    """Return within what time, in seconds, a CPE comes again that many times after a session that failed, at most.

    The waits are 10 s, 20 s, and so on twice as long up to the tenth (TR-069 section 3.2.1.1); each try may take a
    while too.
    """
    doublings = min(count, 10)
    return 10 * ((1 << doublings) - 1) + 5120 * (count - doublings) + 120 * count


def says(events: Sequence[str], code: str) -> bool:
    """Return whether an event of a code, such as `1`, is among events: `1 BOOT`."""
    return any(event.partition(" ")[0] == code for event in events)


@dataclass(frozen=True, slots=True)
class Called:
    """A CPE calls in: its Inform, and the proof of its name."""

    name: str
    oui: str
    product_class: str
    serial: str
    manufacturer: str
    root: str
    software: str
    hardware: str
    user: str
    own: bool
    address: str
    request_url: str
    udp_address: str
    events: tuple[str, ...]
    at_s: int
    reboot_key: str = ""
    """The CommandKey of the `M Reboot` among its events: of the Reboot that it is of (TR-069 section 3.7.1.5)."""
    retry: int = 0
    """How often it tried again since a session that failed: its words then may be a repetition."""
    values: Mapping[str, CachedParameter] = field(default_factory=dict)
    trust_shared: bool = False
    """Whether credentials that many share are enough for a CPE that had its own, as the operator decided."""
    certified: bool = False
    """Whether a certificate with its name proved it."""

    @property
    def boots(self) -> bool:
        """Whether it says that it was started anew."""
        return says(self.events, "1")

    @property
    def resets(self) -> bool:
        """Whether it says that it never spoke to this ACS before: new, or reset to its factory's settings."""
        return says(self.events, "0")


@dataclass(frozen=True, slots=True)
class TracedMessage:
    """One line of a trace: a message of a session, or the end of one. `text`: without secrets, which are masked.

    `sender`: `cpe`, `acs`, or "" for the session's end. `status`: of an HTTP answer, else 0. `sessions_left`: that the
    trace goes on for; 0: it is over.
    """

    sender: str
    status: int
    text: str
    sessions_left: int


@dataclass(frozen=True, slots=True)
class Pending:
    """Secrets that a SetParameterValues sets: path -> commitment. `key`: the ParameterKey that proves it was done."""

    key: str
    secrets: Mapping[str, str]


class CpeBook(Protocol):
    """The store of records about CPE."""

    def find(self, name: str) -> Cpe | None:
        """Return a CPE by its name."""
        ...

    def accepted_addresses(self, most: int) -> Sequence[str]:
        """Return where accepted CPE called from last, of so many of them, the latest last."""
        ...

    def values(self, name: str, paths: Sequence[str] | None = None) -> Mapping[str, CachedParameter]:
        """Return the known values of a CPE's parameters, of all or of some."""
        ...

    def own_password(self, user: str) -> str | None:
        """Return the password of a user that belongs to one CPE; None: no CPE has such a user."""
        ...

    def owner(self, user: str) -> str | None:
        """Return the name of the CPE that has this user as its own."""
        ...

    def request_owner(self, user: str) -> str | None:
        """Return which CPE's user of connection requests it is."""
        ...

    def request_credentials(self, name: str) -> Credentials | None:
        """Return the credentials for connection requests that the CPE was given; None: it was given none."""
        ...

    async def called(self, called: Called) -> Cpe:
        """Take note that a CPE calls in, durably; return the record of it then."""
        ...

    async def learned(self, name: str, values: Mapping[str, CachedParameter], *, below: str = "") -> None:
        """Take note of values read of a CPE. `below`: all that is there below this path; the rest of it is gone."""
        ...

    async def forget(self, name: str, path: str) -> None:
        """Take note that nothing is below a path (an object's, or a parameter's) any more."""
        ...

    def secret(self, commit: str) -> str | None:
        """Return a secret that a change is to set, by its commitment; None where it is not kept (any more)."""
        ...

    async def setting(self, name: str, pending: Pending, user: str = "") -> None:
        """Take note, durably, that secrets are about to be set. `user`: its own user, with a password among them."""
        ...

    async def expect_reset(self, name: str, until_s: int) -> None:
        """Take note that a factory reset was asked for: until then it may come with credentials that many share."""
        ...

    async def was_set(self, name: str, secrets: Mapping[str, str]) -> None:
        """Take note that a CPE took secrets: path -> commitment."""
        ...

    async def was_not_set(self, name: str, key: str) -> None:
        """Take note that a CPE did not take the secrets that were set under a ParameterKey."""
        ...

    def secrets_set(self, name: str) -> Mapping[str, str]:
        """Return the commitment of each secret that a CPE took last, by path."""
        ...

    def pending(self, name: str) -> Sequence[Pending]:
        """Return the settings that were about to be set, and are not known to have been taken."""
        ...

    def breaker(self, name: str) -> Sequence[BreakerRow]:
        """Return the state of a CPE's circuit breaker."""
        ...

    async def keep_breaker(self, name: str, rows: Sequence[BreakerRow]) -> None:
        """Keep the state of a CPE's circuit breaker."""
        ...

    async def evidence(self, name: str, workflow: str, worked: bool, detail: str, software: str | None = None) -> None:
        """Take note that a workflow worked with a CPE, or did not. `software`: of which firmware; None: it runs it."""
        ...
