"""`[billing]`: the source for debts, and the operator's rules for suspensions for debt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.billing_model.terms import OwnRule, SourceTerms
from agent.config_reader import ConfigReader
from agent.config_schema import PATH_OR_EMPTY, TIME_ZONE, YES_NO, Key, Kind, choice, list_of, or_empty, text, whole

FILE: Final = "file"
"""The name of the source that is `[billing] file`."""
_SUM: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?", re.ASCII)
_OWN_RULES: Final = Kind(
    "a list of " + ", ".join(rule.value for rule in OwnRule), lambda value: frozenset(list_of(choice(OwnRule))(value))
)
_ZONE_OR_EMPTY: Final = Kind(f"{TIME_ZONE.expected}, or empty", or_empty(TIME_ZONE.read))

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _weekday(value: Any) -> str:
    return DAYS[DAYS.index(value)]


_WEEKDAYS: Final = Kind(f"a list of {', '.join(DAYS)}", list_of(Kind("a weekday", _weekday)))
_HOLIDAYS: Final = Kind(
    "a list of days in quotes, such as 2026-12-25",
    lambda value: frozenset(list_of(Kind("a day", date.fromisoformat))(value)),
)
_NAMES: Final = Kind("a list of names", lambda value: frozenset(list_of(Kind("a name", text()))(value)))

KEYS: Final[tuple[Key, ...]] = (
    Key(
        "billing",
        "file",
        PATH_OR_EMPTY,
        "",
        "The billing system's CSV export, read again when it changes; empty: none.",
    ),
    Key(
        "billing",
        "timezone",
        _ZONE_OR_EMPTY,
        "",
        "The time zone of the days in the file and in imported lists; empty: `[agent] timezone`.",
    ),
    Key(
        "billing",
        "max_age_s",
        whole(60, 604_800),
        7200,
        "By what the file said longer ago than this, seconds, nobody is suspended, and no standing authority restores.",
    ),
    Key(
        "billing",
        "authority",
        Kind("the NAME of a billing source, or empty", or_empty(text())),
        "",
        "The source whose accounts decide: `file`, or the NAME of a configured one; empty: the only one.",
    ),
    Key(
        "billing",
        "grace_days",
        whole(0, 365),
        0,
        "Days after the due day before anybody is suspended for debt; the source's own delay counts if it is longer.",
    ),
    Key(
        "billing",
        "minimum",
        Kind('a sum in quotes, such as "5.00"', lambda value: Decimal(text(_SUM)(value))),
        "0",
        "Nobody is suspended for less than this. The source's own least sum counts where it is larger.",
    ),
    Key(
        "billing",
        "recheck_s",
        whole(1, 3600),
        60,
        "An account that was read longer ago than this, seconds, is read again before each cut and each restore.",
    ),
    Key(
        "billing",
        "restore_paid",
        YES_NO,
        True,
        "Whether the agent asks for the restore of whoever paid; false: a person or the billing system asks.",
    ),
    Key(
        "billing",
        "own_rules",
        _OWN_RULES,
        [rule.value for rule in OwnRule],
        "The billing system's own rules that are honored: `grace`, `minimum`, `exempt`, `hold`. One that is left out is"
        " overridden.",
    ),
    Key(
        "billing",
        "overdue_only",
        _NAMES,
        [],
        "`change suspend --overdue`: only these services or subscribers; empty: all.",
    ),
    Key("billing", "overdue_except", _NAMES, [], "`change suspend --overdue`: never these services or subscribers."),
    Key(
        "billing",
        "overdue_only_tariffs",
        _NAMES,
        [],
        "`change suspend --overdue`: only services on these tariffs; empty: all.",
    ),
    Key(
        "billing", "overdue_except_tariffs", _NAMES, [], "`change suspend --overdue`: never services on these tariffs."
    ),
    Key("billing", "holidays", _HOLIDAYS, [], "Days on which `--overdue` suspends nobody."),
    Key("billing", "weekdays", _WEEKDAYS, list(DAYS), "Weekdays on which `--overdue` suspends."),
    Key(
        "billing",
        "most_a_day",
        whole(0, 1_000_000),
        0,
        "`--overdue` suspends at most so many services a day, who is overdue for the longest first; 0: no limit.",
    ),
)


@dataclass(frozen=True, slots=True)
class OverdueRules:
    """The operator's rules for `change suspend --overdue`. `only`, `never`: refs of services, or subscribers."""

    only: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    only_tariffs: frozenset[str] = frozenset()
    except_tariffs: frozenset[str] = frozenset()
    holidays: frozenset[date] = frozenset()
    weekdays: tuple[str, ...] = DAYS
    most_a_day: int = 0


@dataclass(frozen=True, slots=True)
class BillingConfig:
    """`[billing]`. `file` None: there is none. `authority`: the source that decides; "": none is configured.

    `timezone`: of the file's days. `max_age_s`: of the authority's word.
    """

    file: Path | None
    timezone: ZoneInfo
    max_age_s: int
    authority: str
    grace_days: int
    minimum: Decimal
    own_rules: frozenset[OwnRule]
    overdue: OverdueRules
    recheck_s: int
    restore_paid: bool


def billing_of(
    reader: ConfigReader, values: Mapping[str, Any], zone: ZoneInfo, sources: Iterable[SourceTerms]
) -> BillingConfig:
    """Return the section as the agent keeps it; a fault of `authority` is noted as a problem.

    Args:
        reader: of the file.
        values: of the section, without a problem.
        zone: the operator's.
        sources: all configured ones.
    """
    ages = {source.name: source.max_age_s for source in sources if source.every_s}
    if values["file"]:
        ages[FILE] = values["max_age_s"]
    authority = values["authority"]
    if authority and authority not in ages:
        there = ", ".join(sorted(ages)) or "there is none"
        reader.problem("billing.authority", f"expected the NAME of a source that tells accounts ({there})")
    elif not authority and len(ages) > 1:
        reader.problem("billing.authority", f"expected one of {', '.join(sorted(ages))}: several sources tell accounts")
    authority = authority or next(iter(ages), "")
    return BillingConfig(
        reader.path_of(values["file"]) if values["file"] else None,
        values["timezone"] or zone,
        ages.get(authority, values["max_age_s"]),
        authority,
        values["grace_days"],
        values["minimum"],
        values["own_rules"],
        OverdueRules(
            values["overdue_only"],
            values["overdue_except"],
            values["overdue_only_tariffs"],
            values["overdue_except_tariffs"],
            values["holidays"],
            values["weekdays"],
            values["most_a_day"],
        ),
        values["recheck_s"],
        values["restore_paid"],
    )
