"""A session to one RADIUS target: its database by bulk reads and conditional writes, its NAS by RFC 5176 requests.

Resources, by address under the target's id (`radius/main`):

* `user/LOGIN`: the user's row set, as `rowset` has it. A second login of the same read that the database holds equal,
  or rows of another spelling, are told in the field `addresses.SAME_AS`, which no row set has: that value is good for
  nothing but refusing.
* `group/NAME`: a group's check and reply rows, in the same form.
* `sessions/LOGIN`: the open sessions, acctuniqueid -> ("login=...", "nas=...", "sid=..."); ABSENT when there is none.
* `session/UNIQUEID`: one open session's fields; ABSENT once it is stopped.
* `holders/IP`: the open sessions that have an address, in the form of `sessions/LOGIN`.
* `privileges/write`: the missing right to write a user's rows, and the GRANT that mends it; ABSENT: none.
  `privileges/close`: likewise from closing rows of sessions.
* `open-row/UNIQUEID`: the same by its row alone, whatever its NAS said; ABSENT once the row is closed.
* `accounted/UNIQUEID`: its NAS, its end and its length as that told them, of an open or a closed row.
* `online/all`: everybody with an open session, login -> how many; ABSENT when nobody has one.
* `held/NAS/LOGIN`: ABSENT once the NAS said that it holds no session of the login; before that why it is not known.
  Also ABSENT once it acknowledged the end of its sessions.
* `clock/now`: how far the clock of the database's server is ahead of ours, and its zone; ABSENT: it has none.
* `acked/NAS/LOGIN`: when it acknowledged that; ABSENT where that was not its last answer.

A NAS' answer counts more than accounting: a session that its NAS denied is ABSENT too, though its row stays open, and
stands in `sessions/LOGIN` with the field `addresses.DENIED`. One that its NAS was asked to end, and of which accounting
does not show that it goes on, stands there with `addresses.MAY_BE_OVER`; with `addresses.UNASKED` where no request
could be sent.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from agent.connectors.base import (
    NOTHING_EARLIER,
    Busy,
    DriftedError,
    Earlier,
    LostError,
    NotSentError,
    Reply,
    UnreadableError,
)
from agent.connectors.radius import rowset
from agent.connectors.radius.access import COA, DISCONNECT
from agent.connectors.radius.addresses import (
    BY_NAME,
    CLOSE,
    CONFIGURED,
    DENIED,
    EACH_ANSWERS,
    MAY_BE_OVER,
    NAS,
    SAME_AS,
    UNASKED,
    OpenSession,
    RadiusResource,
    ServerClock,
    accounted_fields,
    accounted_value,
    address,
    clock_value,
    held_key,
    held_of,
    live_sessions,
    parse,
    same_login,
    session_fields,
    session_value,
    sessions_of,
    sessions_value,
    silent,
)
from agent.connectors.radius.answers import SILENT, HeldAnswer, NasAnswers, held_fields
from agent.connectors.radius.beginnings import CLOCKS_S, Began, is_another, when_began
from agent.connectors.radius.codec import PacketKind
from agent.connectors.radius.dictionary import cause_name, profile
from agent.connectors.radius.dynauth import DynAuthAnswer, Silence
from agent.connectors.radius.ending import has_it, seems_old, to_end_again
from agent.connectors.radius.errors import NasUnreachableError, RadiusError
from agent.connectors.radius.presence_session import NasPresence
from agent.connectors.radius.reasons import RadiusReason
from agent.connectors.radius.sql_check import missing_privileges, missing_to_close
from agent.connectors.radius.sql_connection import DRIVER_ERRORS
from agent.model import ABSENT, Seen
from agent.reasons import TargetReason
from trust.plural import counted

if TYPE_CHECKING:
    from agent.connectors.base import Check, KeptAnswer, ReadAddresses
    from agent.connectors.radius.checks_session import TargetChecks
    from agent.connectors.radius.dynauth_session import DynAuths
    from agent.connectors.radius.rowset import Commit
    from agent.connectors.radius.schema import Nas, SqlTarget
    from agent.connectors.radius.sql import SqlAuthority, UserRows
    from agent.connectors.radius.sql_connection import Connection
    from agent.connectors.radius.sql_errors import SqlMeaning
    from agent.model import Address, Effect, Target, Ticket, Transition, Value
    from agent.runtime.clock import Clock

SETTLE_S: Final = 2.0
"""How long a datagram may still be under way, or a server busy with a COMMIT after its connection is gone."""

_KINDS: Final = {DISCONNECT: PacketKind.DISCONNECT, COA: PacketKind.COA}
"""By the verb of an effect."""

_SESSION_NOT_FOUND: Final = 503
NOBODY: Final = "ispagent-check-nobody"
"""The user and session by which a NAS is asked for a sign of life."""
ANSWER_S: Final = 12.0
"""How long a NAS may take to answer: less than a send may take, so that its silence is told as its own."""
_LOGIN: Final = frozenset({"User-Name", "NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier"})
"""The attribute that names a login at a NAS, with any sessions (RFC 5176 section 3: all of them are then meant)."""
_NO_ANSWER_YET: Final = "did not answer in time"
TURN_S: Final = 10.0
"""How long a write waits for its turn at the database: less than a send may take, so that it is known to be unsent."""
ASK_S: Final = 10.0
"""How long a NAS may take to say whether it holds a login: less than one step may take."""
ASKED_PER_S: Final = 20
"""Logins a second about which one NAS is asked; chosen arbitrarily."""


class RadiusSession:
    """Reads and changes of one target. Used by several tasks at once; at most `calls` of them ask the database."""

    def __init__(
        self,
        target: Target,
        sql: SqlAuthority,
        dynauths: DynAuths,
        nas: Mapping[str, Nas],
        commit: Commit,
        checks: TargetChecks,
        calls: int,
        answers: NasAnswers,
        silent_h: int,
        *,
        keep: Callable[[Sequence[KeptAnswer]], Awaitable[None]],
        clock: Clock,
    ) -> None:
        """Put the parts together.

        Args:
            target: which target this is.
            sql: its database.
            dynauths: sessions to NAS.
            nas: by accounting address (radacct.nasipaddress).
            commit: keyed commitment of a secret; its label starts with the address.
            checks: of this target.
            calls: to the database, at once.
            answers: those of NAS on sessions, also before this session began.
            silent_h: how long accounting may be silent on a session of a NAS that is not configured, hours.
            keep: keeps answers of NAS over a restart.
            clock: of `Ticket.deadline_s` and `Seen.at_s`.
        """
        self.target = target
        self._sql, self._dynauths, self._nas, self._commit = sql, dynauths, nas, commit
        self._silent_h = silent_h
        self._answers, self._by_name = answers, {one.name: one for one in nas.values()}
        self._turns: dict[str, float] = {}
        self._acked: dict[str, _Asked] = {}
        """Sessions whose NAS acknowledged their end, and which were open in accounting when last read."""
        self._checks = checks
        self._calls = trio.CapacityLimiter(calls)
        self._presence = NasPresence(nas, self.ask_nobody)
        self._keep = keep
        self._clock = clock
        self._settled_at = float("-inf")
        self._shared: ReadAddresses | None = None

    def read_through(self, read: ReadAddresses) -> None:
        """Read by `read`, which shares reads, before an effect is bound."""
        self._shared = read

    async def _read_one(self, where: Address) -> Seen:
        return (await (self._shared or self.read)([where]))[where]

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the present value of each address, in few queries however many there are.

        Raises:
            UnreadableError: the database cannot be asked, or an address is not one of this target's.
        """
        wanted: dict[RadiusResource, dict[str, Address]] = {}
        for text in addresses:
            resource, key = self._parse(text)
            wanted.setdefault(resource, {})[key] = text
        at_s = int(self._clock.wall_s())
        found: dict[Address, Seen] = {}
        await self._take_place()
        try:
            for resource in RadiusResource:  # in this order: a login's rows before its sessions
                if keys := wanted.get(resource):
                    for key, value in (await self._values(resource, keys)).items():
                        found[keys[key]] = Seen(value, at_s)
        finally:
            self._calls.release()
        for key, where in wanted.get(RadiusResource.HELD, {}).items():
            found[where] = self._held(key)
        for key, where in wanted.get(RadiusResource.ACKED, {}).items():
            answer = self._answers.of(*held_of(key))
            found[where] = Seen({"at": str(self._come_s(answer))} if answer and answer.acked else ABSENT, at_s)
        if news := self._answers.news():
            await self._keep(news)
        return {text: found[text] for text in addresses}

    async def _values(self, resource: RadiusResource, keys: Mapping[str, Address]) -> Mapping[str, Value]:
        """Return the values of one kind of resource in the database, by key."""
        match resource:
            case RadiusResource.USER:
                users = await self._sql.read_users(keys)
                return {login: self._user_value(login, user) for login, user in users.items()}
            case RadiusResource.GROUP:
                groups = await self._sql.read_groups(keys)
                return {name: rowset.to_value(rows, self._committer(keys[name])) for name, rows in groups.items()}
            case RadiusResource.SESSIONS:
                return await self._sessions_values(await self._sql.read_sessions(keys))
            case RadiusResource.HOLDERS:
                return await self._sessions_values(await self._sql.read_holders(keys))
            case RadiusResource.SESSION:
                rows = await self._sql.read_session(keys)
                self._note_over(uid for uid, row in rows.items() if row is None)
                ghosts = {uid for uid, row in rows.items() if row is not None and self._denied(row) is not None}
                return {uid: ABSENT if uid in ghosts else session_value(row) for uid, row in rows.items()}
            case RadiusResource.ROW:
                return {uid: session_value(row) for uid, row in (await self._sql.read_session(keys)).items()}
            case RadiusResource.ACCOUNTED:
                return {uid: accounted_value(row) for uid, row in (await self._sql.read_accounted(keys)).items()}
            case RadiusResource.ONLINE:
                counts = await self._sql.read_online()
                return dict.fromkeys(keys, {login: str(n) for login, n in counts.items()} or ABSENT)
            case RadiusResource.CLOCK:
                clock = await self._read_clock()
                return dict.fromkeys(keys, ABSENT if clock is None else clock_value(clock))
            case RadiusResource.PRIVILEGES:
                asks = {key: missing_to_close if key == CLOSE else missing_privileges for key in keys}
                return {key: await self._missing_privileges(ask) for key, ask in asks.items()}
            case RadiusResource.HELD | RadiusResource.ACKED:
                return {}  # what a NAS said is in no database

    def _note_over(self, unique_ids: Iterable[str]) -> None:
        """Keep that sessions are over of which their NAS acknowledged the end, and accounting has it.

        A database that fails over forgets the end: an open row that was heard of no more since is a ghost then.
        """
        for unique_id in unique_ids:
            if (told := self._acked.pop(unique_id, None)) is not None:
                self._answers.deny(unique_id, told.session.get("heard", ""), int(self._clock.wall_s()), told.nas)

    def _denied(self, session: OpenSession) -> int | None:
        return self._answers.denied(session.unique_id, _heard(session.heard_s))

    async def _sessions_values(self, found: Mapping[str, Sequence[OpenSession]]) -> Mapping[str, Value]:
        """Return the values of open sessions, by login or address."""
        every = (one for sessions in found.values() for one in sessions)
        in_doubt = any(self._answers.told_since(one.unique_id, _heard(one.heard_s)) for one in every)
        clock = await self._read_clock() if in_doubt else None
        apart_s = CLOCKS_S + max(clock.ahead_s if clock else 0, 0)
        by_nas = functools.partial(self._by_nas, apart_s=apart_s)
        return {key: sessions_value(sessions, by_nas) for key, sessions in found.items()}

    async def _read_clock(self) -> ServerClock | None:
        """Return the clock of the database's server against ours; None: it has none of its own."""
        before_s = self._clock.wall_s()
        told = await self._sql.read_clock()
        if told is None:
            return None
        now_s, zone_s = told
        return ServerClock(round(now_s - (before_s + self._clock.wall_s()) / 2), zone_s)

    def _by_nas(self, session: OpenSession, apart_s: int) -> Mapping[str, str]:
        """Return the fields of an open session that come from its NAS. `apart_s`: as in `NasAnswers.asked`."""
        if (denied := self._denied(session)) is not None:
            return {DENIED: str(denied)}
        asked = self._answers.asked(session.unique_id, _heard(session.heard_s), apart_s)
        if asked is not None:
            return {MAY_BE_OVER: str(asked)}
        missed = self._answers.missed(session.unique_id, _heard(session.heard_s), apart_s)
        return {} if missed is None else {UNASKED: str(missed)}

    def _held(self, key: str) -> Seen:
        answer = self._answers.of(*held_of(key))
        known = answer is not None and not answer.why
        at_s = self._come_s(answer) if answer is not None and known else int(self._clock.wall_s())
        return Seen(held_fields(answer) or ABSENT, at_s)

    def _come_s(self, answer: HeldAnswer) -> int:
        """Return when an answer came by our clock of now: it may have been set since."""
        return answer.come_s(self._clock.wall_s(), self._clock.boot_s())

    def _say(self, nas: str, login: str, why: str, *, acked: bool = False) -> None:
        """Note the answer of a NAS on a login."""
        self._answers.say(nas, login, why, int(self._clock.wall_s()), self._clock.boot_s(), acked=acked)

    async def _missing_privileges(self, ask: Callable[[Connection, SqlTarget], tuple[SqlMeaning, ...]]) -> Value:
        try:
            missing = await self._sql.work(lambda connection: ask(connection, self._checks.target))
        except DRIVER_ERRORS as err:
            raise self._sql.unreadable(err) from None
        return {one.text: (one.mend,) for one in missing} or ABSENT

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        """Return the open sessions of the login that `effect` (a disconnect, a CoA) is about, each at its own address.

        Sessions of another login that the database holds equal are left out, and ghosts; those on an unknown NAS too
        where the effect is for configured ones only. Where accounting has none, the NAS that could hold one are asked
        by User-Name, as far as the effect says: then it is bound to `held/NAS/LOGIN`.

        Raises:
            UnreadableError: the database cannot be asked, or the effect is none of this connector's.
        """
        resource, login = self._parse(effect.address)
        if effect.verb == DISCONNECT and resource is RadiusResource.SESSION:
            session = await self._read_one(effect.address)
            return {} if session.value is ABSENT else {effect.address: session}
        if effect.verb not in _KINDS or resource is not RadiusResource.SESSIONS:
            raise UnreadableError(
                f"{self.target.id}: no effect {effect.verb!r} on that address", reason=TargetReason.REFUSED
            )
        found = await self._known(effect, login)
        if not found and effect.args.get(BY_NAME):
            asked = await self._to_ask(effect, login, earlier)
            if not asked or not await self._wait_turns(asked):
                return asked
            found = await self._known(effect, login)  # a CPE may have come back while others had their turn
            if not found:
                return asked
        began = await self._began(effect, found, earlier) if earlier else dict.fromkeys(found, Began.BEFORE)
        return {
            where: replace(session, value=accounted_fields(session_fields(session.value)))
            for where, session in found.items()
            if to_end_again(effect, session_fields(session.value), began[where])
            and not has_it(effect, self._parse(where)[1], session_fields(session.value))
        }

    async def _began(self, effect: Effect, found: Mapping[Address, Seen], earlier: Earlier) -> Mapping[Address, Began]:
        """Return of each session whether it began before the first attempt."""
        first_s = min(one.at_s for one in earlier.values())
        fields = {where: session_fields(seen.value) for where, seen in found.items()}
        known = {w for w in found if w in earlier and not is_another(session_fields(earlier[w].value), fields[w])}
        began = {where: Began.BEFORE if where in known else Began.SINCE for where in found}
        dated = [w for w, s in fields.items() if began[w] is Began.SINCE and seems_old(effect, s, first_s)]
        if not dated:
            return began
        parts = {where: self._parse(where) for where in (*dated, *earlier)}
        asked = {
            where: address(self.target.id, RadiusResource.ACCOUNTED, key)
            for where, (resource, key) in parts.items()
            if resource is RadiusResource.SESSION
        }
        read = await self.read(asked.values())
        told = {where: session_fields(read[accounted].value) for where, accounted in asked.items()}
        over = [told[where] for where in earlier if where in told]
        passed_s = int(self._clock.wall_s()) - first_s
        return {**began, **{where: when_began(fields[where], told[where], over, passed_s) for where in dated}}

    async def _known(self, effect: Effect, login: str) -> Mapping[Address, Seen]:
        """Return the open sessions of accounting that an effect is for, each at its own address."""
        seen = await self._read_one(effect.address)
        return {
            address(self.target.id, RadiusResource.SESSION, unique_id): Seen(dict(fields), seen.at_s)
            for unique_id, fields in live_sessions(seen.value).items()
            if same_login(fields.get("login", ""), login) and self._counts(effect, fields, seen.at_s)
        }

    def _counts(self, effect: Effect, fields: Mapping[str, str], at_s: int) -> bool:
        """Tell whether an effect is for a session, by its NAS: one that nobody can ask may be only a row."""
        if fields.get("nas") in self._nas:
            return True
        return effect.args.get(NAS) != CONFIGURED and not silent(fields, at_s, self._silent_h)

    async def _to_ask(self, effect: Effect, login: str, earlier: Earlier) -> Mapping[Address, Seen]:
        """Return the sessions of a login at those NAS that are to be asked.

        Nobody is asked where accounting knew a session that has ended since: the one that follows it is not an old one.
        """
        parts = {one: self._parse(one) for one in earlier}
        rows = {one: key for one, (resource, key) in parts.items() if resource is RadiusResource.SESSION}
        if any(self._answers.denied(key, _heard_of(earlier[one])) is None for one, key in rows.items()):
            return {}
        first_s, now_s = min((one.at_s for one in earlier.values()), default=None), int(self._clock.wall_s())
        names = []
        for name in filter(None, effect.args[BY_NAME].split(",")):
            answer = self._answers.of(name, login)
            answered = answer is not None and not answer.why and first_s is not None and self._come_s(answer) >= first_s
            if not answered and EACH_ANSWERS not in effect.args and self._answers.is_silent(name, self._clock.boot_s()):
                self._say(name, login, SILENT)
            elif not answered:
                names.append(name)
        asked = {name: Seen(held_fields(None), now_s) for name in names}
        return {address(self.target.id, RadiusResource.HELD, held_key(n, login)): one for n, one in asked.items()}

    async def _wait_turns(self, held: Collection[Address]) -> bool:
        """Return when NAS may be asked about one more login, and whether that took a while.

        Each is spared, however many are offline.
        """
        began = now = trio.current_time()
        for where in held:
            nas, _ = held_of(self._parse(where)[1])
            at = max(now, self._turns.get(nas, now))
            self._turns[nas] = at + 1 / ASKED_PER_S
            await trio.sleep_until(at)
            now = trio.current_time()
        return now - began > 1 / ASKED_PER_S

    async def send(self, ticket: Ticket) -> Reply:
        """Write the ticket's transition if it still reads *before*, or disconnect the bound sessions.

        Raises:
            NotSentError: nothing was sent. DriftedError: nor will it be, the rows read otherwise.
            LostError: the fate is unknown.
        """
        try:
            if not isinstance(ticket.do, tuple):
                self._check_deadline(ticket)
                return await self._ask_nas(ticket.do, ticket)
            await self._take_turn()
            try:
                self._check_deadline(ticket)
                return await self._write(ticket.do)
            finally:
                self._calls.release()
        except LostError:
            self._settled_at = trio.current_time() + SETTLE_S
            raise

    async def answering(self) -> Mapping[str, str]:
        """Return why the database does not answer, and each NAS that was asked since; "" for those that do.

        A NAS that did not answer last is asked again, by a Disconnect-Request for nobody; the others are left alone,
        since most of them log each request.
        """
        found: dict[str, str] = {self.target.id: ""}
        try:
            await self._sql.answer()
        except UnreadableError as err:
            found[self.target.id] = str(err).removeprefix(f"{self.target.id}: ")
        async with trio.open_nursery() as nursery:
            for nas in self._nas.values():
                if self._presence.silent.get(nas.name):
                    nursery.start_soon(self.ask_nobody, nas)
        return {**found, **{f"nas/{name}": why for name, why in self._presence.silent.items()}}

    async def ask_nobody(self, nas: Nas) -> str:
        """Ask a NAS to disconnect a user that does not exist; return why it did not answer, "" if it did.

        Any authentic answer proves the way and the secret; a NAS that keeps to RFC 5176 says 503.
        """
        answer = await self._answer_about_nobody(nas)
        return answer if isinstance(answer, str) else ""

    async def _answer_about_nobody(self, nas: Nas) -> DynAuthAnswer | str:
        """Return the answer of a NAS to a request about nobody, or why none came; it is noted."""
        attributes = identification(
            profile(nas.profile).identify, {"login": NOBODY, "sid": NOBODY, "nas": nas.accounting}
        )
        deadline = trio.current_time() + ANSWER_S
        try:
            outcome = await self._dynauths.get(nas).exchange(PacketKind.DISCONNECT, attributes, deadline)
        except RadiusError as err:
            answer: DynAuthAnswer | str = str(err)
        else:
            answer = silence_text(nas, outcome) if isinstance(outcome, Silence) else outcome
        if not isinstance(answer, str):
            self._answers.answers_again(nas.name)
        self._presence.note(nas.name, answer if isinstance(answer, str) else "")
        return answer

    async def check(self, secret: str = "") -> Sequence[Check]:
        """Return the checks of database, groups and NAS; `secret`: only those that need it."""
        return await self._checks.check(secret, self._answer_about_nobody)

    async def settle(self) -> None:
        """Close idle connections and return when no lost command can take effect any more.

        The carriers of lost ones are closed already: a broken connection when it broke, a request when its retries
        were over.
        """
        await self._sql.aclose()
        await trio.sleep_until(max(self._settled_at, trio.current_time()))

    async def busy(self) -> Busy | None:
        """Return None: a database says nothing of its load, and the pace of a plan spares the NAS."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return None

    async def missing(self, effect: Effect) -> Busy | None:
        """Return which NAS does not answer on which the login has a session, or None.

        Raises:
            UnreadableError: the database cannot be asked.
        """
        silent = await self._presence.missing()
        if not silent:
            return None
        seen, (_, login) = await self._read_one(effect.address), self._parse(effect.address)
        for fields in sessions_of(seen.value).values():
            ours = same_login(fields.get("login", ""), login) and self._counts(effect, fields, seen.at_s)
            if ours and (why := silent.get(fields.get("nas", ""))):
                return Busy(RadiusReason.NAS_UNREACHABLE, why)
        return None

    def notes(self) -> Sequence[str]:
        """Return nothing: the access method has the preview's text on the database."""
        return ()

    async def _take_place(self) -> None:
        """Return with a place among the calls to the database; one that is free is taken without a turn of others."""
        try:
            self._calls.acquire_nowait()
        except trio.WouldBlock:
            await self._calls.acquire()

    async def _take_turn(self) -> None:
        """Take a place for a write.

        Raises:
            NotSentError: none became free in time.
        """
        try:
            self._calls.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(TURN_S):
                await self._calls.acquire()
                return
            why = f"nothing was written: others kept the database busy for {TURN_S:g} s"
            raise NotSentError(f"{self.target.id}: {why}", reason=TargetReason.TIMEOUT) from None

    def _check_deadline(self, ticket: Ticket) -> None:
        if self._clock.boot_s() >= ticket.deadline_s:
            raise NotSentError(
                f"{self.target.id}: the deadline passed while waiting for a turn", reason=TargetReason.EXPIRED
            )

    # --- the database ---

    def _parse(self, text: Address) -> tuple[RadiusResource, str]:
        found = parse(self.target.id, text)
        if found is None:
            raise UnreadableError(f"{self.target.id}: not an address of this target", reason=TargetReason.REFUSED)
        return found

    def _committer(self, where: Address) -> Commit:
        return lambda label, value: self._commit(f"{where} {label}", value)

    def _user_value(self, login: str, user: UserRows) -> Value:
        where = address(self.target.id, RadiusResource.USER, login)
        value = rowset.to_value(user.rows, self._committer(where))
        return {**rowset.fields_of(value), SAME_AS: user.same_as} if user.same_as else value

    async def _write(self, transitions: tuple[Transition, ...]) -> Reply:
        found = parse(self.target.id, transitions[0].address) if len(transitions) == 1 else None
        if found is not None and found[0] is RadiusResource.ROW:
            return await self._write_row(transitions[0], found[1])
        if found is None or found[0] is not RadiusResource.USER:
            raise NotSentError(
                f"{self.target.id}: a step changes the rows of one user here", reason=TargetReason.UNSUPPORTED
            )
        transition, login = transitions[0], found[1]
        try:
            changes = rowset.changes(transition.before.value, transition.after)
        except rowset.RowSetError as err:
            raise NotSentError(str(err), reason=TargetReason.UNWRITABLE) from err
        to_value = self._committer(transition.address)
        drift = await self._sql.write_user(
            login, transition.before.value, changes, lambda rows: rowset.to_value(rows, to_value)
        )
        if drift is not None:
            observed = {transition.address: Seen(drift.observed, int(self._clock.wall_s()))}
            raise DriftedError(f"{self.target.id}: the user's rows no longer read as planned", observed=observed)
        return Reply(True, TargetReason.COMMITTED, counted(len(changes), "row"))

    async def _write_row(self, transition: Transition, unique_id: str) -> Reply:
        """Close the row of a session that its NAS denied, or that is silent on no configured NAS; or open it again."""
        closes = transition.after is ABSENT
        session = session_fields(transition.before.value if closes else transition.after)
        if closes and (await self._sql.read_session([unique_id]))[unique_id] is not None:
            self._check_denied(unique_id, session)
        drift = await self._sql.write_session(unique_id, session, closes=closes)
        if drift is not None:
            observed = {transition.address: Seen(drift.observed, int(self._clock.wall_s()))}
            raise DriftedError(f"{self.target.id}: the session's row no longer reads as planned", observed=observed)
        return Reply(True, TargetReason.COMMITTED, "1 row of accounting " + ("closed" if closes else "opened again"))

    def _check_denied(self, unique_id: str, session: Mapping[str, str]) -> None:
        nas, now_s = session.get("nas", ""), int(self._clock.wall_s())
        if nas in self._nas:
            known = self._answers.denied(unique_id, session.get("heard", "")) is not None
        else:
            known = silent(session, now_s, self._silent_h)
        if not known:
            why = (
                "its NAS did not deny it" if nas in self._nas else f"accounting heard of it, and {nas} cannot be asked"
            )
            raise NotSentError(f"{session.get('sid', unique_id)}: {why}", reason=RadiusReason.NOT_DENIED)

    # --- the NAS ---

    async def _ask_nas(self, effect: Effect, ticket: Ticket) -> Reply:
        kind = _KINDS.get(effect.verb)
        if kind is None:
            raise NotSentError(f"{self.target.id}: no effect {effect.verb!r}", reason=TargetReason.UNSUPPORTED)
        if not ticket.bound:
            return Reply(True, TargetReason.NO_SESSION, "no session is open")
        asked = [self._asked(where, seen) for where, seen in ticket.bound.items()]
        unknown = sorted({one.session.get("nas", "") for one in asked if one.session} - self._nas.keys())
        if unknown:
            why = f"no NAS is configured with accounting address {', '.join(unknown)}"
            for one in asked:
                self._note(kind, one, NasUnreachableError(why))
            raise NotSentError(why, reason=RadiusReason.UNKNOWN_NAS)
        deadline = trio.current_time() + min(ticket.deadline_s - self._clock.boot_s(), ANSWER_S)
        changes = effect.args if kind is PacketKind.COA else {}
        outcomes: list[_Told] = []
        if len(asked) == 1:  # nearly always: no nursery and no task for it
            await self._ask_about(kind, asked[0], changes, deadline, outcomes)
        else:
            async with trio.open_nursery() as nursery:
                for one in asked:
                    nursery.start_soon(self._ask_about, kind, one, changes, deadline, outcomes)
        acked = all(isinstance(one.told, DynAuthAnswer) and one.told.ack for one in outcomes)
        if not acked and (news := self._answers.news()):  # those of an ACK are kept with the read-back: one write less
            await self._keep(news)
        return _answered(outcomes)

    def _asked(self, where: Address, seen: Seen) -> _Asked:
        resource, key = self._parse(where)
        if resource is RadiusResource.HELD:
            nas, login = held_of(key)
            return _Asked(nas, login, {})
        session = session_fields(seen.value)
        nas = self._nas[session["nas"]].name if session.get("nas") in self._nas else session.get("nas", "")
        return _Asked(nas, key, session)

    async def _ask_about(
        self,
        kind: PacketKind,
        asked: _Asked,
        changes: Mapping[str, str],
        deadline: float,
        outcomes: list[_Told],
    ) -> None:
        try:
            nas = self._by_name.get(asked.nas)
            if nas is None:
                raise NasUnreachableError(f"no NAS is configured with the name {asked.nas}")
            wanted: Collection[str] = profile(nas.profile).identify
            session = asked.session or {"login": asked.key, "nas": nas.accounting}
            if not asked.session:
                self._say(asked.nas, asked.key, _NO_ANSWER_YET)
                wanted, deadline = _LOGIN & {*wanted, "User-Name"}, min(deadline, trio.current_time() + ASK_S)
            attributes = {**identification(wanted, session), **changes}
            outcome = await self._dynauths.get(nas).exchange(kind, attributes, deadline)
            told: _Outcome = _Unanswered(nas, outcome) if isinstance(outcome, Silence) else outcome
            self._presence.note(asked.nas, silence_text(nas, outcome) if isinstance(outcome, Silence) else "")
        except RadiusError as err:
            told = err
            if isinstance(err, NasUnreachableError):
                self._presence.note(asked.nas, str(err))
        self._note(kind, asked, told)
        outcomes.append(_Told(asked, told))

    def _note(self, kind: PacketKind, asked: _Asked, told: _Outcome) -> None:
        """Keep the answer of a NAS on a session, or on a login."""
        now_s = int(self._clock.wall_s())
        denied = isinstance(told, DynAuthAnswer) and not told.ack and told.cause == _SESSION_NOT_FOUND
        if asked.session:
            acked = isinstance(told, DynAuthAnswer) and told.ack
            if not isinstance(told, RadiusError):
                self._answers.reach(asked.key)
            if denied:
                self._answers.deny(asked.key, asked.session.get("heard", ""), now_s, asked.nas)
            elif kind is PacketKind.DISCONNECT and (acked or isinstance(told, _Unanswered)):
                self._answers.ask(asked.key, asked.session.get("heard", ""), now_s, asked.nas)
            elif kind is PacketKind.DISCONNECT and isinstance(told, RadiusError):
                self._answers.miss(asked.key, asked.session.get("heard", ""), now_s)
            if acked and kind is PacketKind.DISCONNECT:
                self._acked[asked.key] = asked
        elif isinstance(told, RadiusError):
            self._say(asked.nas, asked.key, f"could not be asked ({told})")
        elif isinstance(told, DynAuthAnswer):
            why = "" if told.ack or denied else f"refused the question ({cause_name(told.cause) or 'NAK'})"
            self._say(asked.nas, asked.key, why, acked=told.ack)
        else:
            self._say(asked.nas, asked.key, SILENT)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request to one NAS: about a session of accounting by its `key` (acctuniqueid), or (`session` empty) a login."""

    nas: str
    key: str
    session: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """A request that its NAS did not answer."""

    nas: Nas
    silence: Silence


_Outcome = DynAuthAnswer | _Unanswered | RadiusError


@dataclass(frozen=True, slots=True)
class _Told:
    """The result of a request."""

    asked: _Asked
    told: _Outcome


def silence_text(nas: Nas, silence: Silence) -> str:
    """Return the possible meanings of a NAS' silence; RFC 5176 lets it drop a packet that another secret signed without
    a word.
    """
    heard = f"; {silence.refused}" if silence.refused else ""
    return (
        f"no reply from NAS {nas.name} at {nas.dynauth_host}:{nas.dynauth_port} ({silence.attempts} datagrams in "
        f"{silence.waited_s:.1f} s): it is down, the way to it is blocked, or its secret is another one{heard}"
    )


def _answered(outcomes: list[_Told]) -> Reply:
    """Return the answers of the NAS on all sessions, the worst first: unknown, refused, done."""
    errors = [o.told for o in outcomes if isinstance(o.told, RadiusError)]
    if len(errors) == len(outcomes):
        raise NotSentError(str(errors[0]), reason=RadiusReason.NAS_UNREACHABLE)
    silent_ones = [o.told for o in outcomes if isinstance(o.told, _Unanswered)]
    if silent_ones:
        part = f"{len(silent_ones)} of {len(outcomes)} requests: " if len(outcomes) > 1 else ""
        raise LostError(
            f"{part}{silence_text(silent_ones[0].nas, silent_ones[0].silence)}", reason=TargetReason.TIMEOUT
        )
    if errors:
        raise LostError(
            f"{len(errors)} of {len(outcomes)} requests not sent: {errors[0]}", reason=TargetReason.PARTLY_SENT
        )
    answers = [(o.asked, o.told) for o in outcomes if isinstance(o.told, DynAuthAnswer)]
    naks = [(asked, told) for asked, told in answers if not told.ack and told.cause != _SESSION_NOT_FOUND]
    for asked, nak in naks[:1]:
        code = TargetReason.NAK if nak.cause is None else TargetReason.NAK.numbered(nak.cause)
        text = (
            f"{cause_name(nak.cause) or 'refused'} by {asked.nas}, {len(naks)} of {counted(len(outcomes), 'session')}"
        )
        return Reply(False, code, text)
    acked = sum(told.ack for _, told in answers)
    ghosts = [
        f"{asked.session.get('sid') or asked.key} on {asked.nas}" for asked, t in answers if asked.session and not t.ack
    ]
    said = f"; open in accounting, and denied by its NAS: {', '.join(ghosts)}" if ghosts else ""
    if acked:
        return Reply(True, TargetReason.ACK, f"{counted(acked, 'session')}{said}")
    if ghosts:
        return Reply(True, TargetReason.NOT_THERE, said.removeprefix("; "))
    names = ", ".join(sorted(asked.nas for asked, _ in answers))
    return Reply(True, TargetReason.NO_SESSION, f"no session on {names}")


def _heard(heard_s: int) -> str:
    return str(heard_s) if heard_s else ""


def _heard_of(bound: Seen) -> str:
    return session_fields(bound.value).get("heard", "")


def identification(wanted: Collection[str], session: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that identify a session, as accounting told them, of those that the NAS' profile wants."""
    known = {
        "User-Name": session.get("login", ""),
        "Acct-Session-Id": session.get("sid", ""),
        "Framed-IP-Address": session.get("ip", ""),
        "Framed-IPv6-Prefix": session.get("ip6", ""),
        "Calling-Station-Id": session.get("mac", ""),
    }
    nas = session.get("nas", "")
    known[named := _nas_attribute(nas)] = nas
    # A profile that names the NAS by its address does so for one that has only an IPv6 address
    names = [named if name == "NAS-IP-Address" else name for name in wanted]
    return {name: known[name] for name in names if known.get(name)}


@functools.lru_cache(maxsize=1024)
def _nas_attribute(nas: str) -> str:
    """Return the attribute that names a NAS by this text: an address of either family, or a name."""
    try:
        return "NAS-IP-Address" if ipaddress.ip_address(nas).version == 4 else "NAS-IPv6-Address"
    except ValueError:
        return "NAS-Identifier"
