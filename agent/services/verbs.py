"""The decision of a verb on one service: pure, from the facts of inventory and billing.

A suspension is a *reason* in a set (debt, abuse, request). Suspending a suspended service for another reason adds it
and touches nothing; lifting one leaves the others; service returns when the set is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.inventory.book import OWES, promise_of
from agent.inventory.facts import Billing, NotOwing, debt, describe, fact_address
from agent.model import (
    Access,
    DesiredChange,
    ReasonChange,
    Requirement,
    Service,
    ServiceState,
    SuspensionReason,
    TariffChange,
    Transition,
)
from agent.reasons import AnyReason, SkipReason
from trust.plural import counted
from trust.policy import Action

_STAYS = "stays suspended"


@dataclass(frozen=True, slots=True)
class Params:
    """The arguments of a verb. `reason` for suspend and restore, `tariff` for set-plan; `now_s` unix seconds.

    `silent_h`: for disconnect: only rows of sessions on which accounting is silent for so many hours, to close them.
    """

    action: Action
    now_s: float
    reason: SuspensionReason = SuspensionReason.DEBT
    tariff: str = ""
    silent_h: int | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """The service would not change: `code` groups them in the preview, `why` is for people."""

    code: AnyReason
    why: str
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """The wanted state. `state` None: only end its sessions. Whether the network already is so is read, never
    remembered.

    `already`: the sentence where it reads so, and nothing is to be recorded either. `network` False: an entry of the
    inventory changes and nothing else; never of a suspension or a tariff. `silent_h`: only close the rows of sessions
    on which accounting is silent for so many hours. `undo`: these writes.
    """

    state: ServiceState | None
    desired: tuple[DesiredChange, ...] = ()
    requires: tuple[Requirement, ...] = ()
    network: bool = True
    why: str = ""
    already: str = ""
    same_tariff: bool = False
    """The tariff is the recorded one: it is written where the network reads of another one."""
    always: bool = False
    """A change even if the network already is as wanted (it takes the place of something unsent)."""
    silent_h: int | None = None
    undo: tuple[Transition, ...] = ()


def decide(params: Params, service: Service, billing: Billing) -> Wish | Leave:
    """Return the verb's wish for the service, or why it leaves it alone. `billing`: of its subscriber, now."""
    match params.action:
        case Action.SUSPEND:
            return _suspend(params.reason, service, billing)
        case Action.RESTORE:
            return _restore(params, service, billing)
        case Action.SET_PLAN:
            return _set_plan(params, service)
        case Action.DISCONNECT:
            return _disconnect(params, service)
        case Action.REVERT:
            raise ValueError("a revert is decided from the change that it reverts: see `take_back`")
        case _:
            raise ValueError(f"{params.action.value} is not done to services: see `Intake.planners`")


def _disconnect(params: Params, service: Service) -> Wish | Leave:
    if cautions := _cautions(service):
        return Leave(SkipReason.PROTECTED, cautions)
    nothing = "there is nothing to end: it is not online" if params.silent_h is None else ""
    return Wish(None, silent_h=params.silent_h, already=nothing)


def _cautions(service: Service) -> str:
    """Return why a service is not to be touched without a thought; empty for most."""
    protected = f"protected: {service.protected}" if service.protected else ""
    feeds = f"feeds {counted(service.feeds, 'other subscriber')}" if service.feeds else ""
    return " · ".join(filter(None, (protected, feeds)))


def _suspend(reason: SuspensionReason, service: Service, billing: Billing) -> Wish | Leave:
    requires = may_suspend(reason, service, billing)
    if isinstance(requires, Leave):
        return requires
    state = ServiceState(Access.SUSPENDED, service.tariff)
    if reason in service.reasons:
        already = f"already suspended for {reason}"
        return Wish(state, (), requires, why=already, already=f"{already}, and the network reads so")
    desired = (ReasonChange(reason, added=True),)
    if service.reasons:
        why = f"already suspended for {', '.join(sorted(service.reasons))}: {reason} is added to it"
        return Wish(state, desired, requires, why=why)
    return Wish(state, desired, requires, why=_why(reason, billing))


def may_suspend(reason: SuspensionReason, service: Service, billing: Billing) -> tuple[Requirement, ...] | Leave:
    """Return the conditions that must still hold when the service is suspended for `reason`, or why it is left alone.

    All that suspends asks here: the verb itself, and a revert that ends in a suspension.
    """
    if cautions := _cautions(service):
        return Leave(SkipReason.PROTECTED, cautions)
    if reason is not SuspensionReason.DEBT:
        return ()
    owed = debt(billing, promise_of(service))
    if isinstance(owed, NotOwing):
        return Leave(owed.code, owed.why, owed.blocked)
    source = "" if billing.kept is None else billing.kept.source
    return (Requirement(fact_address(source, service.subscriber), OWES, "billing still says that it owes"),)


def _why(reason: SuspensionReason, billing: Billing) -> str:
    return describe(billing) if reason is SuspensionReason.DEBT and billing.kept is not None else reason


def _restore(params: Params, service: Service, billing: Billing) -> Wish | Leave:
    if params.reason not in service.reasons and service.reasons:
        others = ", ".join(sorted(service.reasons))
        return Leave(
            SkipReason.OTHER_REASON, f"suspended for {others}, not for {params.reason}: that is not lifted by this"
        )
    left = service.reasons - {params.reason}
    desired = (ReasonChange(params.reason, added=False),) if params.reason in service.reasons else ()
    if left:
        why = f"{_STAYS} for {', '.join(sorted(left))}: only {params.reason} is lifted"
        return Wish(ServiceState(Access.SUSPENDED, service.tariff), desired, why=why)
    return Wish(ServiceState(Access.ACTIVE, service.tariff), desired, why=_why(params.reason, billing))


def _set_plan(params: Params, service: Service) -> Wish | Leave:
    access = Access.SUSPENDED if service.reasons else Access.ACTIVE
    if service.tariff == params.tariff:
        already = f"already on {params.tariff}"
        return Wish(
            ServiceState(access, params.tariff),
            why=already,
            already=f"{already}, and the network does not read otherwise",
            same_tariff=True,
        )
    desired = (TariffChange(service.tariff, params.tariff),)
    why = " · ".join(filter(None, (f"{service.tariff} to {params.tariff}", _cautions(service))))
    return Wish(ServiceState(access, params.tariff), desired, why=why)


def take_back(desired: tuple[DesiredChange, ...], service: Service, billing: Billing) -> Wish | Leave:
    """Return the wish of reverting an applied item: today's desired state decides, not an old pre-image.

    Where it ends in a suspension, all conditions of a suspension hold: protection, dependents, the debt.

    Args:
        desired: the inverse of the item's record.
        service: as it is now.
        billing: of its subscriber, now.
    """
    if not desired:
        return Leave(SkipReason.IRREVERSIBLE, "it recorded no state to go back to: it cannot be taken back")
    added = frozenset(d.reason for d in desired if isinstance(d, ReasonChange) and d.added)
    lifted = frozenset(d.reason for d in desired if isinstance(d, ReasonChange) and not d.added)
    tariff = next((d for d in desired if isinstance(d, TariffChange)), None)
    if not lifted <= service.reasons or added & service.reasons:
        return Leave(SkipReason.CHANGED_SINCE, "its reasons were changed since")
    if tariff is not None and tariff.before != service.tariff:
        return Leave(SkipReason.CHANGED_SINCE, f"its tariff was changed since, to {service.tariff}")
    requires: tuple[Requirement, ...] = ()
    for reason in sorted(added):
        asked = may_suspend(reason, service, billing)
        if isinstance(asked, Leave):
            return asked
        requires += asked
    reasons = (service.reasons | added) - lifted
    access = Access.SUSPENDED if reasons else Access.ACTIVE
    if reasons and service.reasons and tariff is None:
        why = f"it {_STAYS}: reasons left: {', '.join(sorted(reasons))}"
        return Wish(ServiceState(access, service.tariff), desired, requires, why=why)
    whys = [_why(r, billing) for r in sorted(added)] or [_cautions(service)]
    after = service.tariff if tariff is None else tariff.after
    return Wish(ServiceState(access, after), desired, requires, why=" · ".join(whys))


def as_recorded(service: Service) -> Wish:
    """Return the wish that takes back standing writes without a record: the recorded state."""
    access = Access.SUSPENDED if service.reasons else Access.ACTIVE
    return Wish(ServiceState(access, service.tariff), (), (), why="its writes stand, and nothing was recorded of them")


def stays_suspended(why: str) -> bool:
    """Return whether a wish's text says that a reason is lifted and another one keeps the service suspended."""
    return why.removeprefix("it ").startswith(_STAYS)


def enforces_again(wish: Wish, service: Service) -> bool:
    """Return whether steps of a wish would suspend a service that by its recorded reasons is suspended already."""
    return is_suspended(wish) and bool(service.reasons)


def is_suspended(wish: Wish | Leave) -> bool:
    """Return whether a wish is for a suspended service."""
    return isinstance(wish, Wish) and wish.state is not None and wish.state.access is Access.SUSPENDED


def suspends(wish: Wish | Leave) -> bool:
    """Return whether a wish adds a reason: it suspends, or keeps a suspended service so."""
    return isinstance(wish, Wish) and any(isinstance(d, ReasonChange) and d.added for d in wish.desired)
