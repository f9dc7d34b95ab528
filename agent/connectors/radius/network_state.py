"""The state of a service by a RADIUS database and its accounting: today's reply, and the open sessions. Pure.

The reply is computed as for a plan (`evaluator`), from the rows as they are. A login that staff disabled in another
tool is rejected by rows that are not ours, and is told apart from one that our marker group suspends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from agent.connectors.base import LiveSession, NetworkState
from agent.connectors.radius.addresses import MAY_BE_OVER, accounted_fields, began_s
from agent.connectors.radius.evaluator import Accepted, CannotTell, Outcome, Rejected, holds
from agent.connectors.radius.garden import addresses_text, in_garden, outside, unheard_text
from agent.connectors.radius.rowset import MalformedRowSetError, fields_of, rows_of
from agent.connectors.radius.schema import TableSet
from agent.model import Access, Value
from agent.reasons import AnyReason, ProofReason

if TYPE_CHECKING:
    from agent.connectors.radius.schema import Method, SqlTarget

ACCOUNTING: Final = "accounting"
"""The source of a session that an open row of radacct tells of."""
DALORADIUS_DISABLED: Final = "daloRADIUS-Disabled-Users"
"""The group that daloRADIUS puts a user in that staff disable; its check items reject."""
_GROUP: Final = "group:"

Session = Mapping[str, str]
Same = Callable[[str, str], bool]


def groups_in_order(user: Value) -> tuple[str, ...]:
    """Return the groups that a user is in, by priority; one without a number as its priority comes last."""
    found: list[tuple[int, int, str]] = []
    for n, (key, field) in enumerate(fields_of(user).items()):
        if key.startswith(_GROUP):
            found.append((_lowest(key, field), n, key.removeprefix(_GROUP)))
    return tuple(name for _, _, name in sorted(found))


def _lowest(key: str, field: object) -> int:
    try:
        return min((int(row.value) for row in rows_of(key, field)), default=0)  # type: ignore[arg-type]  # it checks
    except MalformedRowSetError:
        return 2**31


def rejection_text(outcome: Rejected, sql: SqlTarget, same: Same) -> str:
    """Return why a login is rejected, in the words of the tool that owns the tables."""
    group = outcome.found_in.removeprefix("group ")
    if sql.tables is TableSet.DALORADIUS and outcome.found_in != group and same(group, DALORADIUS_DISABLED):
        return f"disabled in daloRADIUS (group {group})"
    where = "the user's own rows" if outcome.found_in == "user" else outcome.found_in
    return f"{outcome.reason}, by {where}" if where else outcome.reason


class StateReader:
    """Reads the state of one access method's services."""

    def __init__(self, method: Method, sql: SqlTarget, nas_names: Mapping[str, str], same: Same) -> None:
        """Take the access mapping; `same`: whether the database holds two group names equal."""
        self._method, self._sql, self._nas_names, self._same = method, sql, nas_names, same

    def state(self, user: Value, outcome: Outcome, sessions: Mapping[str, Session], tariff: str) -> NetworkState:
        """Return the state of a login.

        Args:
            user: its row set.
            outcome: of its login now.
            sessions: its open sessions.
            tariff: of its service, which counts where several have one group.
        """
        access, unknown = self._access(user, outcome)
        return NetworkState(
            access=access,
            refused=rejection_text(outcome, self._sql, self._same) if isinstance(outcome, Rejected) else "",
            unknown=unknown,
            tariff=self._tariff(user, tariff),
            sessions=tuple(self._session(one, outcome, access) for one in sessions.values()),
            reply=_joined(outcome) if isinstance(outcome, Accepted) else {},
            groups=groups_in_order(user),
            sessions_by=ACCOUNTING,
            not_checked=("the NAS were not asked for sessions: they are as accounting has them",),
        )

    def _access(self, user: Value, outcome: Outcome) -> tuple[Access | None, str]:
        """Return the access of a login, or why that cannot be told; neither where it is rejected."""
        if isinstance(outcome, CannotTell):
            return None, outcome.reason
        if isinstance(outcome, Rejected):
            return None, ""
        marker = self._sql.marker_group
        marked = any(self._same(name, marker) for name in outcome.groups)
        suspended = not holds(outcome.reply, self._method.suspended_reply)
        if marked:
            unmet = f"group {marker} is applied, and the login does not get what it should"
            return (Access.SUSPENDED, "") if suspended else (None, unmet)
        first = ", ".join(outcome.groups) or "none"
        if suspended and self._method.suspended_reply:
            return None, f"the login gets the suspended reply without group {marker} (groups applied: {first})"
        missing = [miss.attribute for miss in holds(outcome.reply, self._method.active_reply)]
        tariffs = self._tariff_groups(user)
        hidden = tariffs and not any(self._applied(name, outcome) for name in tariffs)
        if missing or hidden:
            told = (
                f"{', '.join(missing)} is not as for an active login"
                if missing
                else f"group {tariffs[0]} is not applied"
            )
            return None, f"{told} (groups applied: {first})"
        return Access.ACTIVE, ""

    def _applied(self, name: str, outcome: Accepted) -> bool:
        return any(self._same(name, other) for other in outcome.groups)

    def _tariff_groups(self, user: Value) -> list[str]:
        """Return those of a user's groups that are a tariff's."""
        return [n for n in groups_in_order(user) if any(self._same(n, g) for g in self._method.tariffs.values())]

    def _tariff(self, user: Value, expected: str) -> str:
        groups = self._tariff_groups(user)
        found = [t for t, group in self._method.tariffs.items() if any(self._same(group, name) for name in groups)]
        if len({self._method.tariffs[tariff] for tariff in found}) > 1:
            return ""
        return expected if expected in found else found[0] if len(found) == 1 else ""

    def _session(self, session: Session, outcome: Outcome, access: Access | None) -> LiveSession:
        nas = session.get("nas", "")
        carries, how = self._carries(session, outcome)
        if MAY_BE_OVER in session and carries is access is Access.SUSPENDED:  # another one may follow it: not proven
            carries, how = None, ProofReason.NOT_TOLD
        return LiveSession(
            place=self._nas_names.get(nas, nas),
            source=ACCOUNTING,
            since_s=began_s(session, 0) or None,
            address=addresses_text(session),
            facts=accounted_fields(session),
            carries=carries,
            how=how,
            may_be_over=True,
            unsure=unheard_text([session]) if MAY_BE_OVER in session else "",
        )

    def _carries(self, session: Session, outcome: Outcome) -> tuple[Access | None, AnyReason]:
        """Return the policy that a session's address stands for. A static address says nothing."""
        nets = {"garden4": self._method.garden4, "garden6": self._method.garden6}
        gardens = {name: ",".join(map(str, found)) for name, found in nets.items()}
        if in_garden(session, gardens):
            return Access.SUSPENDED, ProofReason.GARDEN
        if isinstance(outcome, Accepted) and outside(session, gardens, outcome).loose:
            return Access.ACTIVE, ProofReason.OUTSIDE_GARDEN
        return None, ProofReason.NOT_TOLD


def _joined(outcome: Accepted) -> dict[str, str]:
    """Return the attributes of a reply in their order, several values of one together."""
    found: dict[str, str] = {}
    for name, value in outcome.reply:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
