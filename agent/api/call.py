"""One request to the local API, and the parts that its handlers use."""

from __future__ import annotations

import base64
import binascii
import enum
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from agent.billing.sources import BillingSources
from agent.changes.auditlog.evidence import Evidence
from agent.changes.authority.approval import Approvals
from agent.changes.checkup import Checkup
from agent.changes.clock_watch import ClockWatch
from agent.changes.drifting import DriftWatch
from agent.changes.engine.devices import Devices
from agent.changes.journal.audit import Recorder
from agent.changes.journal.trust_state import TrustState
from agent.changes.paid import PaidRestores
from agent.changes.planning.intake import Intake
from agent.changes.planning.preparation import Preparer
from agent.changes.retry import Retry
from agent.changes.worker import Worker
from agent.cpe.desk import CpeDesk
from agent.inventory.importing import Importer
from agent.lines.desk import LineDesk
from agent.polling.exploring import Explorer
from agent.polling.poller import Poller
from agent.polling.series import SeriesStore
from agent.reasons import HttpReason
from agent.runtime.clock import Clock
from agent.runtime.errors import HttpError
from agent.runtime.host_state import HostState
from agent.runtime.http import HttpRequest, Response, StreamResponse
from agent.runtime.notifier import Notifier
from agent.runtime.outages import Outages
from agent.services.holders import HolderReader
from agent.store.db import Store
from agent.store.last_backup import BackupAge
from agent.store.secrets import SecretStore
from agent.store.vault import Vault
from trust.document import Person
from trust.moments import unix_of_rfc3339_untrusted
from trust.strict_json import Reader, read_object_untrusted

BODY_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of a request's JSON body."""
STRANGERS_PER_MIN: Final = 6
"""Most requests a minute by all local users that the configuration maps to no person."""


class CallerRole(enum.Enum):
    """Minimum standing of a caller."""

    ANYONE = "anyone"
    OPERATOR = "operator"
    VIEWER = "viewer"
    """An operator that may see subscribers."""
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiParts:
    """The parts of the agent that the API works with."""

    store: Store
    vault: Vault
    recorder: Recorder
    trust: TrustState
    approvals: Approvals
    intake: Intake
    worker: Worker
    evidence: Evidence
    importer: Importer
    billing: BillingSources
    paid: PaidRestores
    secrets: SecretStore
    clock_watch: ClockWatch
    retry: Retry
    clock: Clock
    bell: Notifier
    people: Mapping[int, str]
    agent: str
    handle: str
    words: str
    targets: tuple[str, ...]
    devices: Devices
    poller: Poller
    series: SeriesStore
    explorer: Explorer
    lines: LineDesk
    cpes: CpeDesk | None
    holders: HolderReader
    checkup: Checkup
    outages: Outages
    host: HostState
    backups: BackupAge
    drift: DriftWatch
    preparer: Preparer
    cloud: Callable[[], Mapping[str, object]]
    witnessed: Callable[[int], str]
    open_sealed: Callable[[bytes], bytes]
    """Opens bytes that were sealed to one of the agent's keys, or raises MalformedSealError."""


@dataclass(slots=True)
class Strangers:
    """Requests of local users that are mapped to no person: unix seconds of each in the last minute."""

    at_s: list[float] = field(default_factory=list)

    def admit(self, now_s: float) -> None:
        """Refuse one more request of such a user when there were many in the last minute.

        Raises:
            HttpError: there were `STRANGERS_PER_MIN`.
        """
        self.at_s = [at for at in self.at_s if at > now_s - 60]
        if len(self.at_s) >= STRANGERS_PER_MIN:
            raise HttpError(
                429, HttpReason.TOO_MANY, f"at most {STRANGERS_PER_MIN} requests a minute by unknown local users"
            )

    def count(self, now_s: float) -> None:
        """Count one request."""
        self.at_s.append(now_s)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request on its way through a handler. `values`: the segments of the path that vary."""

    parts: ApiParts
    request: HttpRequest
    values: tuple[str, ...]
    strangers: Strangers

    def problem(self, role: CallerRole) -> str:
        """Return why the caller may not use routes of a role; "": they may."""
        return role_problem(role, self.request.peer_uid, self.parts)

    def may(self, role: CallerRole) -> bool:
        """Return whether the caller may use routes of a role."""
        return not self.problem(role)

    def require(self, role: CallerRole) -> None:
        """Refuse a caller that may not use routes of a role.

        Raises:
            HttpError: they may not; the message says why.
        """
        if problem := self.problem(role):
            raise HttpError(403, HttpReason.ROLE, problem)

    @property
    def who(self) -> str:
        """The caller's handle, or their uid."""
        return self.parts.people.get(self.request.peer_uid, f"uid {self.request.peer_uid}")

    @property
    def person(self) -> Person | None:
        """The caller as the trust document knows them; None: root or the agent's user, or there is no document yet."""
        pinned, handle = self.parts.trust.pinned, self.parts.people.get(self.request.peer_uid)
        return None if pinned is None or handle is None else pinned.trust.person(handle)

    def body(self) -> Reader:
        """Return a reader of the JSON body.

        Raises:
            MalformedError: it is not strict JSON.
        """
        what = f"body of {self.request.method} {self.request.path[:80]}"
        return read_object_untrusted(self.request.body or b"{}", BODY_BYTES, what)


Handler = Callable[[ApiCall], Awaitable[Response | StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a table. `path` has `{name}` where a segment varies; `body` names the JSON body's fields."""

    method: str
    path: str
    role: CallerRole
    body: str
    answer: str
    handler: Handler


def is_admin(uid: int) -> bool:
    """Return whether a uid is root or the daemon's own user."""
    return uid in (0, os.getuid())


_LOOKS = ": who reads needs a line there, and a role such as auditor in the trust document"


def role_problem(role: CallerRole, uid: int, parts: ApiParts) -> str:
    """Return why a uid may not use routes of a role; "": it may.

    Once there is a trust document it decides on people, and on their sight of subscribers: a person that a version
    leaves out is out here too.
    """
    if role is CallerRole.ANYONE or is_admin(uid):
        return ""
    if role is CallerRole.ADMIN:
        return f"only root or the agent's own user may do this, not uid {uid}"
    handle = parts.people.get(uid)
    if handle is None:
        return f"uid {uid} is mapped to no person in the configuration ([people]){_LOOKS}"
    if parts.trust.pinned is None:
        return ""
    trust = parts.trust.pinned.trust
    person = trust.person(handle)
    if person is None:
        return f"[people] says that uid {uid} is {handle}, and trust version {trust.version} has no {handle}{_LOOKS}"
    if role is CallerRole.VIEWER and not person.sees_subscribers:
        return f"trust version {trust.version} does not let {handle} see subscribers"
    return ""


def number(text: str, name: str) -> int:
    """Return a whole number from a path or a query.

    Raises:
        HttpError: not decimal digits, at most 15.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise HttpError(400, HttpReason.BAD_REQUEST, f"{name}: expected a number, got {text[:40]!r}")
    return int(text)


def asked_moment(query: Mapping[str, str], name: str) -> int | None:
    """Return a moment from a query, unix seconds; None where it is not given.

    RFC 3339 is the documented form. Unix seconds stay: programs, and `ispagent` of other versions, send them.

    Raises:
        HttpError: it is neither.
    """
    text = query.get(name)
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        return number(text, name)
    try:
        return unix_of_rfc3339_untrusted(text)
    except ValueError as err:
        expected = "expected RFC 3339 (2026-11-26T11:05:00Z) or unix seconds"
        raise HttpError(400, HttpReason.BAD_REQUEST, f"{name}: {expected}, got {text[:40]!r}") from err


def b64(data: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(data).decode()


def unb64(text: str, name: str) -> bytes:
    """Return the bytes of a base64 text.

    Raises:
        HttpError: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        told = f"{name}: expected base64, got {len(text)} characters that are none"
        raise HttpError(400, HttpReason.BAD_REQUEST, told) from err
