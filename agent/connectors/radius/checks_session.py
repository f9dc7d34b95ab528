"""The checks of a RADIUS target for `doctor`: its database, its groups, the way to each NAS. Nothing is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from agent.connectors.base import Check, CheckResult, UnreadableError
from agent.connectors.radius.attributes import misspelled
from agent.connectors.radius.rowset import Table, UserRow
from agent.connectors.radius.sql import GROUP_TABLES
from agent.connectors.radius.sql_check import examine
from agent.connectors.radius.sql_connection import DRIVER_ERRORS
from agent.connectors.radius.sql_errors import meaning, place
from agent.reasons import TargetReason

if TYPE_CHECKING:
    from agent.connectors.radius.dynauth import DynAuthAnswer
    from agent.connectors.radius.schema import Method, Nas, SqlTarget
    from agent.connectors.radius.sql import SqlAuthority
    from agent.connectors.radius.sql_check import Examined
    from agent.runtime.clock import Clock

AskNas = Callable[["Nas"], Awaitable["DynAuthAnswer | str"]]

CLOCKS_S: Final = 30.0
"""How far apart the clocks of agent and database may be: sessions are told apart by when they began."""
OK, WARN, FAIL = CheckResult.OK, CheckResult.WARNING, CheckResult.FAILS
_NOT_FOUND: Final = 503


@dataclass(frozen=True, slots=True)
class TargetChecks:
    """The checks of one target.

    Args:
        sql: its database.
        target: how that is configured.
        methods: the access methods that it decides.
        nas: all NAS.
        has_secret: whether a secret of that name was set.
        clock: ours, with which the database's is compared.
    """

    sql: SqlAuthority
    target: SqlTarget
    methods: Collection[Method]
    nas: Collection[Nas]
    has_secret: Callable[[str], bool]
    clock: Clock

    async def check(self, secret: str, ask: AskNas) -> Sequence[Check]:
        """Return the checks, in a stable order.

        Args:
            secret: only those that need this secret; "": all.
            ask: asks a NAS about nobody; returns its answer, or why none came.
        """
        found: list[Check] = []
        if secret in ("", self.target.secret):
            found += await self._database(whole=not secret)
        answers: dict[str, Check] = {}
        wanted = [nas for nas in self.nas if secret in ("", nas.secret)]
        async with trio.open_nursery() as nursery:
            for nas in wanted:
                nursery.start_soon(self._nas, nas, ask, answers)
        return [*found, *(answers[nas.name] for nas in wanted)]

    async def _database(self, *, whole: bool) -> list[Check]:
        where = self.target.id
        try:
            examined = await self.sql.work(
                lambda connection: examine(connection, self.target, self.clock.wall_s), fresh=True
            )
        except UnreadableError as err:
            mend = f"ispagent secret set {self.target.secret}" if err.reason is TargetReason.MISSING_SECRET else ""
            return [Check(where, "login", FAIL, str(err).removeprefix(f"{where}: "), mend)]
        except DRIVER_ERRORS as err:
            why = meaning(err, self.target)
            return [Check(where, "login", FAIL, why.text, why.mend)]
        found = [Check(where, "login", OK, f"user {self.target.user} at {place(self.target)}")]
        if not whole:
            return found
        found += [Check(where, "schema and privileges", FAIL, one.text, one.mend) for one in examined.missing]
        if not examined.missing:
            found.append(Check(where, "schema and privileges", OK, "all tables, columns and privileges are there"))
            found += await self._groups()
            found += [Check(where, "closing stale sessions", WARN, one.text, one.mend) for one in examined.closing]
        return [*found, *self._clock(examined), *self._unknown_nas(examined)]

    def _clock(self, examined: Examined) -> Iterator[Check]:
        if examined.ahead_s is None:
            return
        text = f"the database's clock is {examined.ahead_s:+.1f} s from ours"
        if abs(examined.ahead_s) <= CLOCKS_S:
            yield Check(self.target.id, "clock", OK, text)
        else:
            yield Check(self.target.id, "clock", WARN, text, "have both keep time by NTP: timedatectl set-ntp true")

    def _unknown_nas(self, examined: Examined) -> Iterator[Check]:
        if examined.open_at is None:
            return
        known = {nas.accounting for nas in self.nas}
        for address, n in sorted(examined.open_at.items()):
            if address not in known:
                yield Check(
                    self.target.id,
                    "sessions",
                    WARN,
                    f"{n} open in accounting at {address}, which is no configured NAS: they cannot be ended",
                    f'[nas.NAME] with accounting = "{address}", or close the rows that are old',
                )

    async def _groups(self) -> list[Check]:
        marker = self.target.marker_group
        tariffs = sorted({group for method in self.methods for group in method.tariffs.values()})
        rows = await self.sql.read_groups([marker, *tariffs])
        found: list[Check] = []
        for method in self.methods:
            has = {row.name: row.value for row in rows[marker] if row.table is Table.REPLY}
            wrong = {name: value for name, value in method.suspended_reply.items() if has.get(name) != value}
            about = f"marker group {marker}, method {method.name}"
            if not wrong:
                found.append(Check(self.target.id, about, OK, "gives every reply of suspended_reply"))
            for name, value in wrong.items():
                detail = f"{name}: expected {value}, got {has[name]}" if name in has else f"{name} is missing"
                found.append(Check(self.target.id, about, FAIL, detail, _reply_sql(marker, name, value, set(has))))
        found += [
            self._misspelled(group, row, meant)
            for group in rows
            for row in rows[group]
            if (meant := misspelled(row.name))
        ]
        empty = [group for group in tariffs if not rows[group]]
        if empty:
            text = f"no rows for {', '.join(empty)}: nobody can be put on their tariffs"
            found.append(Check(self.target.id, "tariffs' groups", WARN, text, "add their rows to radgroupreply"))
        elif tariffs:
            found.append(Check(self.target.id, "tariffs' groups", OK, f"{len(tariffs)} of {len(tariffs)} have rows"))
        return found

    def _misspelled(self, group: str, row: UserRow, meant: str) -> Check:
        table = GROUP_TABLES[row.table][0]
        text = f"{table}: expected {meant}, got {row.name}: FreeRADIUS rejects a login with a name that it lacks"
        words = ("UPDATE", table, "SET attribute =", _quoted(meant))
        mend = (*words, "WHERE groupname =", _quoted(group), "AND attribute =", _quoted(row.name))
        return Check(self.target.id, f"group {group}", FAIL, text, " ".join(mend))

    async def _nas(self, nas: Nas, ask: AskNas, answers: dict[str, Check]) -> None:
        about = f"nas/{nas.name}"
        if not self.has_secret(nas.secret):
            mend = f"ispagent secret set {nas.secret}"
            answers[nas.name] = Check(about, "disconnect", FAIL, f"secret {nas.secret} is not set", mend)
            return
        answer = await ask(nas)
        if isinstance(answer, str):
            mend = (
                f"have it take Disconnect-Requests from this machine on UDP port {nas.dynauth_port}, "
                f"with the secret of ispagent secret set {nas.secret}"
            )
            answers[nas.name] = Check(about, "disconnect", FAIL, answer, mend)
        elif answer.ack:
            text = "it acknowledges the end of a session that nobody has: its ACK proves nothing"
            answers[nas.name] = Check(
                about, "disconnect", WARN, text, "accounting or its router's API have to prove it"
            )
        else:
            cause = answer.cause if answer.cause is not None else "no cause"
            knows = (
                "as RFC 5176 says" if cause == _NOT_FOUND else "503 was expected, but the way and the secret are good"
            )
            text = f"{nas.dynauth_host}:{nas.dynauth_port} answers {cause} in {answer.rtt_s * 1000:.0f} ms, {knows}"
            answers[nas.name] = Check(about, "disconnect", OK, text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _reply_sql(group: str, name: str, value: str, has: Collection[str]) -> str:
    group, name_, value = map(_quoted, (group, name, value))
    if name in has:
        words = (
            "UPDATE radgroupreply SET op = ':=', value =",
            value,
            "WHERE groupname =",
            group,
            "AND attribute =",
            name_,
        )
        return " ".join(words)
    return f"INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES ({group}, {name_}, ':=', {value})"  # noqa: S608  it is shown, not run
