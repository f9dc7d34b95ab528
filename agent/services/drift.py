"""Differences of a service between the record and the network, with the commands that settle them. Pure.

* The network's word is a `NetworkState`, never the agent's memory; an unknown is no difference.
* Nothing here mends anything: each difference has the commands by which a person may ask for it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from agent.connectors.base import LiveSession, NetworkState
from agent.inventory.drift_book import Difference, RecordedReason
from agent.model import Access, DesiredChange, ReasonChange, Service, SuspensionReason, TariffChange
from agent.reasons import DriftReason, SkipReason
from agent.services.verbs import Leave
from trust.moments import moment_text
from trust.plural import counted


@dataclass(frozen=True, slots=True)
class ServiceReading:
    """A service's state in the network. `where`: the target that said so; `at_s`: when, unix seconds.

    `has_tariffs`: the access method maps the recorded tariff, so that the network can be compared with it.
    """

    state: NetworkState
    where: str
    at_s: int
    has_tariffs: bool


def compare(
    service: Service, reading: ServiceReading, recorded: Sequence[RecordedReason], zone: ZoneInfo
) -> tuple[Difference, ...]:
    """Return the differences of one service.

    Args:
        service: as the inventory has it, with the recorded reasons.
        reading: its state in the network.
        recorded: the recorded suspensions with their authors.
        zone: the operator's time zone, for dates.
    """
    state = reading.state
    found = [_login(service, reading) or _access(service, reading, recorded, zone)]
    if not state.absent and not state.refused:
        found += [_tariff(service, reading), _sessions(service, reading)]
    return tuple(one for one in found if one is not None)


def lost_hold(service: Service, state: NetworkState) -> bool:
    """Tell whether a recorded suspension stands in the network and keeps nobody in any more: a rule was removed."""
    return bool(service.reasons and state.not_held)


def cannot_tell(state: NetworkState) -> str:
    """Return why the state of a login cannot be compared with anything; "": it can."""
    if state.access is not None or state.refused or state.absent:
        return ""
    return state.unknown or "its access is not told"


def _wanted(service: Service) -> str:
    if service.reasons:
        return f"suspended for {', '.join(sorted(service.reasons))}"
    return f"active, {service.tariff}"


def _made(
    service: Service, reading: ServiceReading, code: DriftReason, reads: str, known: str, *asks: tuple[str, str]
) -> Difference:
    where, at_s = reading.where, reading.at_s
    return Difference(service.ref, code.value, _wanted(service), reads, where, at_s, known, asks)


def _login(service: Service, reading: ServiceReading) -> Difference | None:
    state = reading.state
    if state.absent:
        reads = f"no entry of the login {service.login}"
        known = "the login was removed or renamed, or never was there"
        return _made(service, reading, DriftReason.LOGIN_MISSING, reads, known)
    if state.refused:
        reads = f"the login is rejected: {state.refused}"
        known = "staff or another tool rejects it; this agent did not, and does not lift it"
        return _made(service, reading, DriftReason.LOGIN_REJECTED, reads, known)
    return None


def _access(
    service: Service, reading: ServiceReading, recorded: Sequence[RecordedReason], zone: ZoneInfo
) -> Difference | None:
    ref, access = service.ref, reading.state.access
    if service.reasons and access is Access.ACTIVE:
        known = f"network differs from the recorded suspension {_authors(recorded, zone)}"
        again = [f"ispagent change suspend {ref} --reason {reason}" for reason in sorted(service.reasons)]
        asks = [(command, "suspend again") for command in again]
        lifts = (f"ispagent change adopt {ref}", "record that it is active")
        return _made(
            service, reading, DriftReason.SUSPENSION_GONE, "full service at the next login", known, *asks, lifts
        )
    if lost_hold(service, reading.state):
        return _made(
            service,
            reading,
            DriftReason.SUSPENSION_NOT_HELD,
            f"suspended, and let out: {reading.state.not_held}",
            f"recorded as suspended {_authors(recorded, zone)}; the network was changed since. {reading.state.mend}",
            ("ispagent device ready", "see on which routers suspensions hold, and what mends the others"),
        )
    if not service.reasons and access is Access.SUSPENDED:
        return _made(
            service,
            reading,
            DriftReason.SUSPENDED_UNRECORDED,
            "suspended at the next login",
            "suspended in the network, no reason recorded",
            (f"ispagent change adopt {ref} --reason request", "record the suspension (debt, abuse or request)"),
            (f"ispagent change restore {ref}", "lift it"),
        )
    return None


def _authors(recorded: Sequence[RecordedReason], zone: ZoneInfo) -> str:
    """Return the date and the author of each recorded suspension, for people."""
    return "; ".join(
        f"for {one.reason} of {moment_text(one.at_s, zone)}"
        f" by {one.person or 'nobody known'}{f' (change {one.change})' if one.change else ''}"
        for one in recorded
    )


def _tariff(service: Service, reading: ServiceReading) -> Difference | None:
    """Return the difference of the tariffs. A suspended login may hide its own: only a tariff that is told counts."""
    state, ref = reading.state, service.ref
    told = state.tariff or (state.access is Access.ACTIVE)
    if not reading.has_tariffs or not told or state.tariff == service.tariff:
        return None
    groups = ", ".join(state.groups) or "none"
    reads = f"tariff {state.tariff}" if state.tariff else f"no tariff, or more than one (groups: {groups})"
    adopt = (f"ispagent change adopt {ref}", f"record tariff {state.tariff}")
    back = (f"ispagent change set-plan {ref} --tariff {shlex.quote(service.tariff)}", f"set {service.tariff} again")
    asks = (adopt, back) if state.tariff else ()
    known = f"the record says tariff {service.tariff}; the network was changed by hand, or the record is old"
    return _made(service, reading, DriftReason.TARIFF_DIFFERS, reads, known, *asks)


def _sessions(service: Service, reading: ServiceReading) -> Difference | None:
    """Return the difference between the next login and a session of now, where both agree with no record's lack."""
    access = reading.state.access
    if access is None or (access is Access.SUSPENDED) is not bool(service.reasons):
        return None  # the next login differs already
    other = Access.ACTIVE if access is Access.SUSPENDED else Access.SUSPENDED
    passed = passed_over(reading.state)
    wrong = [session for session in reading.state.sessions if session.carries is other and session not in passed]
    if not wrong:
        return None
    code = DriftReason.SESSION_AT_LARGE if other is Access.ACTIVE else DriftReason.SESSION_SUSPENDED
    shown = ", ".join(" · ".join(filter(None, (s.place, s.address))) for s in wrong)
    sources = ", ".join(sorted({s.source for s in wrong}))
    reads = f"{counted(len(wrong), 'session')} with {_POLICY[other]}: {shown}"
    known = f"the next login is as recorded, the session is not ({sources} says so)"
    if all(s.may_be_over for s in wrong):  # a session that ended without a word is still listed there
        reads = f"by {sources} {reads}"
        known = "the next login is as recorded, the session is not, if it is still there: its device was not asked"
    if all(s.until for s in wrong):  # to cut its connections changes nothing of it
        stays = "; ".join(dict.fromkeys(s.until for s in wrong))
        return _made(service, reading, code, reads, f"{known}; nobody can end it: {stays}")
    ask = (f"ispagent change disconnect {service.ref}", "end it: it logs in again as recorded")
    return _made(service, reading, code, reads, known, ask)


def passed_over(state: NetworkState) -> tuple[LiveSession, ...]:
    """Return the sessions of which nothing is claimed: a newer one began on the same device, and is as the next login.

    A device that restarts ends its sessions and tells accounting nothing; their rows stay open beside the rows of the
    sessions that follow. Whether such a row is still a session, only its device can tell, and it was not asked.
    """
    newest: dict[str, int] = {}
    for one in state.sessions:
        if one.since_s is not None and one.carries is state.access is not None:
            newest[one.place] = max(one.since_s, newest.get(one.place, one.since_s))
    return tuple(
        one
        for one in state.sessions
        if one.may_be_over
        and one.since_s is not None
        and one.carries not in (None, state.access)
        and one.since_s < newest.get(one.place, one.since_s)
    )


def passed_text(passed: Sequence[LiveSession]) -> str:
    """Return why the older sessions of a service were not checked; "" where there are none."""
    if not passed:
        return ""
    shown = ", ".join(" · ".join(filter(None, (s.place, s.address))) for s in passed)
    return (
        f"whether an older session is over ({shown}): {passed[0].source} keeps it beside a newer one, and its device "
        "was not asked (`ispagent session close-stale` asks it)"
    )


_POLICY = {Access.ACTIVE: "full service", Access.SUSPENDED: "the suspended service"}


def adopt(service: Service, reading: ServiceReading, reason: SuspensionReason) -> tuple[DesiredChange, ...] | Leave:
    """Return the changes of the record that make it agree with the network, or why there are none.

    Args:
        service: as the inventory has it.
        reading: its state in the network.
        reason: of a suspension that is to be recorded.
    """
    state = reading.state
    if state.absent or state.refused:
        why = "the network has no entry of the login" if state.absent else f"the login is rejected: {state.refused}"
        return Leave(SkipReason.NOT_ADOPTABLE, f"{why}: no state of a service is like that", blocked=True)
    if why := cannot_tell(state):
        return Leave(SkipReason.NOT_ADOPTABLE, why, blocked=True)
    desired: list[DesiredChange] = []
    if state.access is Access.ACTIVE:
        desired += [ReasonChange(one, added=False) for one in sorted(service.reasons)]
    elif not service.reasons:
        desired.append(ReasonChange(reason, added=True))
    if reading.has_tariffs and state.tariff and state.tariff != service.tariff:
        desired.append(TariffChange(service.tariff, state.tariff))
    return tuple(desired) or Leave(SkipReason.ALREADY, "the network is as recorded")
