"""Request: a person's ask, and the person. It gives no authority.

A local uid is mapped to a person by the configuration; a signed intent wins over the uid; neither is an unknown
requester, which policy refuses or asks one more approver for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.model import SuspensionReason
from trust import chance, statements, verify
from trust import envelope as envelopes
from trust.document import UNKNOWN, Trust
from trust.envelope import Envelope
from trust.errors import TrustError
from trust.policy import Action
from trust.sealed_secret import open_secret_untrusted
from trust.statements import LOGIN, SERVICE, SUBSCRIBER, Intent, IntentSubject, OnFailure, OnStale

INTENT_LIFE_S = 3600
INTENT_LIFE_MAX_S = 24 * 3600
SUBJECTS_MAX = 10_000
SETTINGS_MAX = 200
"""Settings and secrets of one change."""
SILENT_H = "silent-h"
"""Setting of a disconnect that only closes rows of sessions that are over: how long accounting is silent on them."""
SILENT_H_MAX = 8760
OVERDUE = "overdue"
"""Setting of a suspension: of all services of subscribers with something overdue, by the agent's own rules."""
LIST_NAME, GARDEN, RESOLVERS = "list", "garden", "resolvers"
DEVICE_SETTINGS = frozenset({LIST_NAME, GARDEN, RESOLVERS})
"""Settings of a device's preparation: the address list of a profile that has none; addresses, comma separated."""
PORT_ADMIN, PORT_ALIAS, PORT_OFF_S = "admin", "alias", "off-s"
"""Settings of a change of ports: `up` or `down`; a description; for how many seconds power is cut."""
PORT = "port"
"""The field that names the port in the preview of a port change."""
CPE = "cpe"
"""The field that names the CPE in the preview of a change on it."""
_OWN_SETTINGS = (Action.RENAME_LOGIN, Action.PREPARE, Action.EDIT, Action.PORT_SET, Action.PORT_CYCLE)
_WITH_SETTINGS = (*_OWN_SETTINGS, Action.DISCONNECT, Action.SUSPEND)
SECRET = "(a secret)"
"""Stands in an intent that is made on the agent's own machine for a secret that was given there."""


class RequestError(Exception):
    """A request that cannot be understood or is not taken; the message tells the expected form and the actual one."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


PROBLEMS_MAX = 500
"""References that are named in one refusal."""


def refusal(problems: Sequence[str]) -> RequestError:
    """Return the refusal that names the faults, a line each, and how many more there are."""
    left = len(problems) - PROBLEMS_MAX
    return RequestError("\n".join([*problems[:PROBLEMS_MAX], *([f"… and {left} more"] if left > 0 else [])]))


_WITH_REASON = frozenset({Action.SUSPEND, Action.RESTORE, Action.ADOPT})


@dataclass(frozen=True, slots=True)
class Ask:
    """An ask, before anybody looked whether such subscribers exist.

    `refs`: services or subscribers, of which `all_services` takes every service; `on_tariff`: all services on it;
    `exclude`: refs taken out again. `change`: the plan (hex) to revert; with another verb, the one to ask the rest of
    for anew. `alone`: the person wants to do it without a second one, where policy lets them. `settings`: parameters of
    CPE and the like, name -> text; `secrets`: settings that must not be shown.
    """

    action: Action
    refs: tuple[str, ...] = ()
    on_tariff: str = ""
    exclude: tuple[str, ...] = ()
    reason: SuspensionReason = SuspensionReason.DEBT
    tariff: str = ""
    on_failure: OnFailure = OnFailure.STOP
    change: str = ""
    alone: bool = False
    hold: bool = False
    canary: int | None = None
    all_services: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A verified request: the ask, its author (a handle or `unknown`), and the intent that will be answered.

    `unknown_why`: why the author is unknown; "": it is known.
    """

    ask: Ask
    requester: str
    intent: Intent
    digest: bytes
    envelope: bytes | None = field(default=None, repr=False)
    unknown_why: str = ""


def reason_of(action: Action, text: str) -> SuspensionReason:
    """Return the suspension reason that a request names; debt for actions that have none.

    Raises:
        RequestError: suspend or restore with a reason that is not known.
    """
    if action not in _WITH_REASON:
        return SuspensionReason.DEBT
    try:
        return SuspensionReason(text)
    except ValueError as err:
        raise RequestError(f"reason: expected one of {', '.join(SuspensionReason)}, got {text!r}") from err


def check_ask(ask: Ask) -> None:
    """Refuse an ask that no inventory could make sense of.

    Raises:
        RequestError: nothing selected, too many, set-plan without a tariff.
    """
    overdue = is_overdue(ask)
    if overdue and (ask.refs or ask.on_tariff or ask.change or ask.reason is not SuspensionReason.DEBT):
        raise RequestError("--overdue: expected no services, no tariff and no reason but debt: the agent chooses")
    named = bool(ask.refs or ask.on_tariff or overdue)
    if ask.change and (named or ask.action.on_cpe):
        raise RequestError("expected services or ports by name, or the rest of a change; got both, or a verb of CPE")
    if not ask.change and not named:
        raise RequestError("expected at least one service, a file of them, or --on-tariff; got none")
    if len(ask.refs) > SUBJECTS_MAX:
        raise RequestError(f"expected at most {SUBJECTS_MAX} services, got {len(ask.refs)}")
    if ask.action.on_cpe and ask.on_tariff:
        raise RequestError("expected CPE by name, or by the service that they serve, not by tariff")
    if ask.action in (Action.CPE_SET, Action.CPE_FIRMWARE, Action.CPE_DIAGNOSE) and not (ask.settings or ask.secrets):
        raise RequestError(f"{ask.action.value}: expected what to set, got nothing")
    if ask.action is Action.RENAME_LOGIN and (ask.settings.keys() != {LOGIN} or len(ask.refs) != 1):
        raise RequestError("rename-login: expected one service and its new login")
    if ask.action is Action.EDIT and ask.settings.keys() != set(ask.refs):
        raise RequestError("subscriber-edit: expected an entry for each service; it is asked by an import of a list")
    if ask.action is Action.PREPARE and (len(ask.refs) != 1 or ask.on_tariff or ask.exclude or ask.secrets):
        raise RequestError("prepare-device: expected one router")
    if ask.action.on_ports:
        _check_ports(ask)
    if ask.settings and not overdue and not ask.action.on_cpe and ask.action not in _OWN_SETTINGS:
        silent_h_of(ask)
    if ask.action is Action.SET_PLAN and not ask.tariff and not ask.change:
        raise RequestError("expected the tariff to set (--tariff NAME), got none")


def _check_ports(ask: Ask) -> None:
    if ask.on_tariff or ask.exclude or ask.secrets or ask.all_services:
        raise RequestError(f"{ask.action.value}: expected ports as DEVICE/PORT alone")
    wanted = ask.settings.keys()
    if ask.change:
        if wanted:
            raise RequestError(f"{ask.action.value}: the rest of a change is asked as it was, without {min(wanted)}")
        return
    if ask.action is Action.PORT_CYCLE and wanted - {PORT_OFF_S}:
        raise RequestError(f"{ask.action.value}: expected no setting but {PORT_OFF_S}, got {', '.join(sorted(wanted))}")
    if ask.action is Action.PORT_SET and wanted not in ({PORT_ADMIN}, {PORT_ALIAS}):
        got = ", ".join(sorted(wanted)) or "nothing"
        raise RequestError(f"{ask.action.value}: expected {PORT_ADMIN} or {PORT_ALIAS}, got {got}")


def is_overdue(ask: Ask) -> bool:
    """Return whether all services with something overdue are to be suspended."""
    return ask.action is Action.SUSPEND and ask.settings == {OVERDUE: "yes"}


def silent_h_of(ask: Ask) -> int | None:
    """Return for how many hours accounting must be silent on sessions to close the rows of; None: no such ask.

    Raises:
        RequestError: other settings than that, or no number of hours.
    """
    if not ask.settings or ask.action.on_cpe or is_overdue(ask):
        return None
    text = ask.settings.get(SILENT_H, "")
    if ask.action is not Action.DISCONNECT or ask.settings.keys() != {SILENT_H}:
        raise RequestError(f"expected no setting but {SILENT_H} of a disconnect, got {', '.join(ask.settings)}")
    if not text.isdecimal() or not 1 <= int(text) <= SILENT_H_MAX:
        raise RequestError(f"{SILENT_H}: expected hours, 1 to {SILENT_H_MAX}, got {text[:20]!r}")
    return int(text)


def local(ask: Ask, uid: int, people: Mapping[int, str], trust: Trust, agent: str, now_s: float) -> Request:
    """Return the request of a local user.

    Args:
        ask: as it came.
        uid: the peer's uid on the local socket.
        people: uid -> handle, from the configuration.
        trust: the trust in force; a handle that it lacks is unknown.
        agent: our agent id, hex.
        now_s: unix seconds.

    Raises:
        RequestError: the ask makes no sense.
    """
    check_ask(ask)
    mapped = people.get(uid, UNKNOWN)
    handle = mapped if mapped in {p.handle for p in trust.people} else UNKNOWN
    why = "" if handle != UNKNOWN else f"[people] has no uid {uid}"
    if handle != mapped:
        why = f"[people] says that uid {uid} is {mapped}, and trust version {trust.version} has no {mapped}"
    intent = intent_of(ask, handle, trust, agent, now_s)
    envelope = envelopes.digest_of(*_payload(intent))
    return Request(ask, handle, intent, envelope, unknown_why=why)


def signed(envelope: Envelope, trust: Trust, agent: str, now_s: float, opener: Callable[[bytes], bytes]) -> Request:
    """Return the request that a signed intent makes; its signer is the requester, whoever brought it.

    Args:
        envelope: the intent's.
        trust: the trust in force.
        agent: our agent id, hex.
        now_s: unix seconds.
        opener: opens bytes that were sealed to this agent (`Sealing.open_untrusted`).

    Raises:
        RequestError: not an intent for this agent, expired, not signed by the person or service that it names, or with
            a secret that was not sealed for it.
    """
    try:
        statement = verify.verify_intent(envelope, trust, int(now_s))
    except TrustError as err:
        raise RequestError(f"intent: {err}", refused=True) from err
    if statement.agent != agent:
        raise RequestError("this intent is for another agent", refused=True)
    if statement.expires > now_s + INTENT_LIFE_MAX_S:
        raise RequestError("expected an intent that lives for a day at most", refused=True)
    ask = replace(ask_of(statement), secrets=_opened(statement, opener))
    check_ask(ask)
    return Request(ask, statement.requester, statement, envelopes.digest(envelope), envelopes.encode(envelope))


def _opened(intent: Intent, opener: Callable[[bytes], bytes]) -> Mapping[str, str]:
    """Return the opened secrets of an intent: parameter name -> secret."""
    if intent.secrets and (not intent.verb.on_cpe or intent.secrets.keys() & intent.params.keys()):
        raise RequestError("intent: expected secrets of CPE, and none that is a setting too", refused=True)
    if len(intent.secrets) > SETTINGS_MAX:  # before they are opened: thousands would keep everything else waiting
        raise RequestError(f"intent: expected at most {SETTINGS_MAX} secrets", refused=True)
    try:
        return {
            name: open_secret_untrusted(sealed, intent.intent_id, name, opener)
            for name, sealed in intent.secrets.items()
        }
    except TrustError as err:
        raise RequestError(f"intent: {err}", refused=True) from err


def ask_of(intent: Intent) -> Ask:
    """Return the ask of an intent."""
    by = {s.by: s.value for s in intent.subjects if s.by in ("tariff", "change")}
    return Ask(
        action=intent.verb,
        refs=tuple(s.value for s in intent.subjects if s.by in (SERVICE, SUBSCRIBER)),
        on_tariff=by.get("tariff", ""),
        exclude=intent.exclude,
        reason=reason_of(intent.verb, intent.reason or SuspensionReason.DEBT.value),
        tariff=intent.params.get("tariff", ""),
        on_failure=intent.on_failure,
        change=by.get("change", ""),
        canary=intent.canary or None,
        all_services=any(s.by == SUBSCRIBER for s in intent.subjects),
        settings=intent.params if intent.verb.on_cpe or intent.verb in _WITH_SETTINGS else {},
    )


def _payload(intent: Intent) -> tuple[str, bytes]:
    return statements.payload_type(Intent), statements.encode(intent)


def _params(ask: Ask) -> Mapping[str, str]:
    if ask.action.on_cpe or ask.action in _OWN_SETTINGS:
        return {**ask.settings, **dict.fromkeys(ask.secrets, SECRET)}
    return {"tariff": ask.tariff} if ask.tariff else ask.settings


def intent_of(ask: Ask, handle: str, trust: Trust, agent: str, now_s: float) -> Intent:
    """Return the intent that stands for an ask made on the agent's own machine."""
    subjects = [IntentSubject(SUBSCRIBER if ask.all_services else SERVICE, ref) for ref in ask.refs]
    if ask.on_tariff:
        subjects.append(IntentSubject("tariff", ask.on_tariff))
    if ask.change:
        subjects.append(IntentSubject("change", ask.change))
    return Intent(
        trust_id=trust.trust_id,
        intent_id=chance.token_hex(16),
        salt=chance.token_hex(16),
        agent=agent,
        requester=handle,
        verb=ask.action,
        params=_params(ask),
        subjects=tuple(subjects),
        exclude=ask.exclude,
        on_failure=ask.on_failure,
        on_stale=OnStale.SKIP,
        canary=ask.canary or 0,
        expires=int(now_s) + INTENT_LIFE_S,
        reason=ask.reason.value if ask.action in _WITH_REASON else "",
    )
