"""Approval policy: risk classes, the presets that owners start from, and the one function that picks a class.

Time zones belong to the caller: windows are in minutes of the week, Monday 00:00
is 0, as the agent's configuration reads the clock.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from trust import limits

HOUR_S: Final = 3600
WEEK_MINUTES: Final = 7 * 24 * 60
LOW_ITEMS_MAX: Final = 10
RESTORE_ITEMS: Final = 1000
"""Payers of an evening that class restore gives their service back, at once or within an hour. A standing authority has
a rate of its own, 60 an hour unless its signers say otherwise."""
BATCH_PERCENT: Final = 5
BATCH_FLOOR: Final = 50
FACTS_AGE_MAX_S: Final = 2 * HOUR_S
OWN_REVERT_S: Final = 2 * HOUR_S
"""How long a person may take back their own change alone."""


class RiskClass(enum.Enum):
    """The risk of a plan; policy names the needs of each class."""

    RESTORE = "restore"
    LOW = "low"
    BATCH = "batch"
    LARGE = "large"
    CONFIG = "config"
    UNGUARDED = "unguarded"
    ALONE = "alone"
    PROVISION = "provision"
    SUPPORT = "support"


class Action(enum.Enum):
    """The action of a plan on its subjects."""

    SUSPEND = "suspend"
    RESTORE = "restore"
    SET_PLAN = "set-plan"
    DISCONNECT = "disconnect"
    REVERT = "revert"
    ADOPT = "adopt"
    CPE_SET = "cpe-set"
    CPE_REBOOT = "cpe-reboot"
    CPE_RESET = "cpe-factory-reset"
    CPE_FIRMWARE = "cpe-firmware"
    CPE_DIAGNOSE = "cpe-diagnose"
    CPE_ACCEPT = "cpe-accept"
    REMOVE = "remove"
    RENAME_LOGIN = "rename-login"
    PREPARE = "prepare-device"
    EDIT = "subscriber-edit"
    PORT_SET = "port-set"
    PORT_CYCLE = "port-power-cycle"

    @property
    def on_cpe(self) -> bool:
        """Whether its subjects are CPE, not services."""
        return self in _ON_CPE

    @property
    def on_ports(self) -> bool:
        """Whether its subjects are ports of the operator's own devices, not services."""
        return self in _ON_PORTS


_ON_CPE: Final = frozenset(
    {
        Action.CPE_SET,
        Action.CPE_REBOOT,
        Action.CPE_RESET,
        Action.CPE_FIRMWARE,
        Action.CPE_DIAGNOSE,
        Action.CPE_ACCEPT,
    }
)


_ON_PORTS: Final = frozenset({Action.PORT_SET, Action.PORT_CYCLE})


SUPPORT_ACTIONS: Final = (Action.CPE_DIAGNOSE, Action.CPE_REBOOT)
"""Actions of support on one CPE while a subscriber is on the phone: none of them changes a setting."""
BY_SIGHT: Final = frozenset({Action.CPE_ACCEPT})
"""Actions that need approvers that saw each item, whatever the class's policy says: its other plans may be approved by
a standing authority, which sees nothing."""


class Role(enum.Enum):
    """A person's role. A requester with the role of an approver still does not approve their own request."""

    OWNER = "owner"
    APPROVER = "approver"
    REQUESTER = "requester"
    AUDITOR = "auditor"


class UnknownRequester(enum.Enum):
    """How a class treats a request of a local user that is mapped to no person."""

    REFUSE = "refuse"
    ONE_MORE = "one-more"


class ServiceRequester(enum.Enum):
    """The needs of a class when a program asks: the person that runs it could ask by it and then approve too.

    `run-by`: the person that the trust document names as running it does not approve; where it names nobody, one more
    person is needed. `one-more`: one more person in any case.
    """

    RUN_BY = "run-by"
    ONE_MORE = "one-more"


class Channel(enum.Enum):
    """Where approvals of a class may come from."""

    ANY = "any"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the week, `start` <= minute < `end`; Monday 00:00 is 0. Split one that runs over Sunday night."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PolicyClass:
    """The needs of one risk class.

    `approvals`: distinct people. `roles`: any of them makes an approver. `needs_detail`: approvals from the summary do
    not count. `max_ttl_s`: an approval counts that long after the plan was made. `max_items`: of one plan.
    `budget_per_hour`: items of all plans of the class, rolling. `windows`: when it may start; none: any time.
    `channel`: local: approvals from the cloud do not count. `owner_required`: one of the approvers is an owner.
    `service_requester`: None in documents from before it was asked.
    """

    risk_class: RiskClass
    actions: tuple[Action, ...]
    approvals: int
    roles: tuple[Role, ...]
    needs_detail: bool
    unknown_requester: UnknownRequester
    max_ttl_s: int
    max_items: int
    budget_per_hour: int
    windows: tuple[Window, ...]
    channel: Channel
    owner_required: bool
    service_requester: ServiceRequester | None = field(default=ServiceRequester.RUN_BY, metadata={"optional": True})


def daily(first_day: int, last_day: int, from_hour: int, to_hour: int) -> tuple[Window, ...]:
    """Return one window for each day, 0 Monday to 6 Sunday inclusive, between two hours."""
    return tuple(
        Window(day * 1440 + from_hour * 60, day * 1440 + to_hour * 60) for day in range(first_day, last_day + 1)
    )


_ALL: Final = tuple(Action)
_APPROVERS: Final = (Role.OWNER, Role.APPROVER)
_REFUSE: Final = UnknownRequester.REFUSE
_STRICTEST: Final = (ServiceRequester.ONE_MORE, ServiceRequester.RUN_BY)


def preset() -> tuple[PolicyClass, ...]:
    """Return the policy that owners start from, one entry for each risk class."""
    office = daily(0, 4, 9, 16)
    night = daily(0, 6, 1, 5)
    ttl, most = 4 * HOUR_S, limits.ITEMS_MAX
    one_more, anywhere, local = UnknownRequester.ONE_MORE, Channel.ANY, Channel.LOCAL
    return (
        PolicyClass(
            RiskClass.RESTORE,
            (Action.RESTORE,),
            1,
            _APPROVERS,
            False,
            one_more,
            ttl,
            RESTORE_ITEMS,
            RESTORE_ITEMS,
            (),
            anywhere,
            False,
        ),
        PolicyClass(RiskClass.LOW, _ALL, 1, _APPROVERS, True, one_more, ttl, 10, 120, (), anywhere, False),
        PolicyClass(RiskClass.BATCH, _ALL, 2, _APPROVERS, True, _REFUSE, ttl, most, 5000, office, anywhere, False),
        PolicyClass(RiskClass.LARGE, _ALL, 2, _APPROVERS, True, _REFUSE, ttl, most, most, office, anywhere, True),
        PolicyClass(RiskClass.CONFIG, _ALL, 2, _APPROVERS, True, _REFUSE, ttl, 50, 200, night, anywhere, False),
        PolicyClass(RiskClass.UNGUARDED, _ALL, 2, _APPROVERS, True, _REFUSE, ttl, 1, 5, night, local, False),
        PolicyClass(
            RiskClass.ALONE,
            (Action.RESTORE, Action.REVERT),
            1,
            (Role.OWNER, Role.APPROVER, Role.REQUESTER),
            True,
            _REFUSE,
            HOUR_S,
            most,
            most,
            (),
            local,
            False,
        ),
        PolicyClass(
            RiskClass.PROVISION,
            (Action.CPE_SET, Action.CPE_ACCEPT),
            1,
            _APPROVERS,
            False,
            one_more,
            ttl,
            most,
            most,
            (),
            anywhere,
            False,
        ),
        PolicyClass(
            RiskClass.SUPPORT,
            SUPPORT_ACTIONS,
            1,
            _APPROVERS,
            False,
            one_more,
            ttl,
            1,
            120,
            (),
            anywhere,
            False,
        ),
    )


def batch_limit(active_services: int) -> int:
    """Return the most items that are a batch: 5 % of the active services or 50, whichever is more."""
    return max(BATCH_FLOOR, active_services * BATCH_PERCENT // 100)


def risk_class(
    action: Action,
    items: int,
    active_services: int,
    *,
    usual: int | None = None,
    facts_age_s: int | None = None,
    facts_age_max_s: int = FACTS_AGE_MAX_S,
    facts_empty: bool = False,
    matched_payment: bool = False,
    standing: bool = False,
    restore_most: int = 1,
    alone: bool = False,
    own_revert_age_s: int | None = None,
    device_config: bool = False,
    guarded: bool = True,
    baseline_due: bool = False,
) -> RiskClass:
    """Return the class of a change.

    Args:
        action: of the plan.
        items: how many subjects it would change.
        active_services: how many services are active now.
        usual: items of such a change at most, of late; None: not known. It counts above `LOW_ITEMS_MAX` items only.
        facts_age_s: age of the billing data that it rests on, seconds; None: it rests on none.
        facts_age_max_s: from this age on, seconds, billing data counts as old.
        facts_empty: it rests on billing data, and there is none.
        matched_payment: a payment of each subject was matched after its suspension.
        standing: a standing authority is in force that covers it.
        restore_most: how many subjects the policy's class *restore* takes; 1 in documents from before it took several.
        alone: the person asked, by the local socket, to do it without a second one.
        own_revert_age_s: it reverts that person's own change, which started so many seconds ago; None: it does not,
            or it ends in a suspension, which is nobody's alone under whatever name.
        device_config: it changes a device's configuration, not a subscriber's service.
        guarded: a proven guard undoes the change where it cuts the management path.
        baseline_due: it sets the declared baseline on a device that is new or was reset.
    """
    if action is Action.CPE_ACCEPT:
        return RiskClass.PROVISION  # of any number: a fleet that was accepted by an older version is one plan
    if device_config:
        return RiskClass.CONFIG if guarded else RiskClass.UNGUARDED
    own = action is Action.REVERT and own_revert_age_s is not None and own_revert_age_s <= OWN_REVERT_S
    if alone and (own or (action is Action.RESTORE and items <= LOW_ITEMS_MAX)):
        return RiskClass.ALONE
    if facts_empty or (facts_age_s is not None and facts_age_s > facts_age_max_s):
        return RiskClass.LARGE
    # An evening's payers: each has paid, so their number makes nothing worse, and office hours nothing better
    if action is Action.RESTORE and matched_payment and LOW_ITEMS_MAX < items <= restore_most:
        return RiskClass.RESTORE
    if items > batch_limit(active_services):
        return RiskClass.LARGE
    if items > LOW_ITEMS_MAX:
        return RiskClass.LARGE if usual is not None and items > 2 * usual else RiskClass.BATCH
    if action is Action.CPE_SET and items == 1 and baseline_due and standing:
        return RiskClass.PROVISION
    # Without a standing authority a restore is an ordinary low change: somebody looks at it
    if action is Action.RESTORE and items == 1 and matched_payment and standing:
        return RiskClass.RESTORE
    if action in SUPPORT_ACTIONS and items == 1 and standing:
        return RiskClass.SUPPORT
    return RiskClass.LOW


def minutes_until_open(windows: tuple[Window, ...], minute_of_week: int) -> int | None:
    """Return in how many minutes a change may start, 0: now; None: never."""
    if in_windows(windows, minute_of_week):
        return 0
    starts = [w.start for w in windows if w.start < w.end]
    return min(((start - minute_of_week) % WEEK_MINUTES for start in starts), default=None)


def in_windows(windows: tuple[Window, ...], minute_of_week: int) -> bool:
    """Return whether a change may start now; without windows, always."""
    return not windows or any(w.start <= minute_of_week < w.end for w in windows)


def stricter(a: PolicyClass, b: PolicyClass) -> PolicyClass:
    """Return the policy that satisfies both: of the approval and of now. Both are of one class."""
    if a == b:
        return a
    refuse = UnknownRequester.REFUSE in {a.unknown_requester, b.unknown_requester}
    return PolicyClass(
        risk_class=a.risk_class,
        actions=tuple(x for x in a.actions if x in b.actions),
        approvals=max(a.approvals, b.approvals),
        roles=tuple(x for x in a.roles if x in b.roles),
        needs_detail=a.needs_detail or b.needs_detail,
        unknown_requester=UnknownRequester.REFUSE if refuse else UnknownRequester.ONE_MORE,
        max_ttl_s=min(a.max_ttl_s, b.max_ttl_s),
        max_items=min(a.max_items, b.max_items),
        budget_per_hour=min(a.budget_per_hour, b.budget_per_hour),
        windows=_both(a.windows, b.windows),
        channel=Channel.LOCAL if Channel.LOCAL in {a.channel, b.channel} else Channel.ANY,
        owner_required=a.owner_required or b.owner_required,
        service_requester=next((x for x in _STRICTEST if x in {a.service_requester, b.service_requester}), None),
    )


def _both(a: tuple[Window, ...], b: tuple[Window, ...]) -> tuple[Window, ...]:
    if not a or not b:
        return a or b
    pairs = [Window(max(x.start, y.start), min(x.end, y.end)) for x in a for y in b]
    # No window means "any time", so "never" is one window that holds no minute
    return tuple(w for w in pairs if w.start < w.end) or (Window(0, 0),)
