"""A session to one router: bulk reads of its menus, a write to one row, and the end of running sessions.

The commands of several steps are in flight at once on the connections that `line` opens. A row is found by its key at
the moment of writing, exactly once, and compared with the plan's *before*: a remembered `.id` may be another row by
then. RouterOS has no conditional write, so between the look and the write another administrator may come
(`Traits.conditional` is False, and the preview says so).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import trio

from agent.connectors.base import (
    IN_FORCE,
    NOTHING_EARLIER,
    Busy,
    Check,
    CheckResult,
    DriftedError,
    Earlier,
    LostError,
    NotSentError,
    Reply,
    UnreadableError,
    clock_set_s,
)
from agent.connectors.routeros import menus, placed_rules
from agent.connectors.routeros.addresses import RouterResource, address, parse, rows_of, texts_of
from agent.connectors.routeros.errors import (
    CarrierLostError,
    LocalRouterError,
    RouterError,
    RouterTimeoutError,
    TrapError,
)
from agent.connectors.routeros.live_sessions import BEGAN_S, BEGINNINGS, OF_SESSIONS, RUNNING, SINCE, names
from agent.connectors.routeros.menus import MenuError
from agent.connectors.routeros.readers import PLACED, Readers
from agent.connectors.routeros.rows import KEPT, value_of, verb_of, words_of
from agent.connectors.routeros.schema import Use
from agent.connectors.routeros.versions import known, not_known_text
from agent.model import ABSENT, Seen
from agent.reasons import TargetReason

if TYPE_CHECKING:
    from agent.connectors.routeros.api_session import RouterApi
    from agent.connectors.routeros.line import RouterLine
    from agent.connectors.routeros.live_sessions import Running
    from agent.connectors.routeros.rows import Commit
    from agent.connectors.routeros.schema import RouterTarget
    from agent.connectors.routeros.versions import Version
    from agent.model import Address, Effect, Target, Ticket, Transition, Value
    from agent.runtime.clock import Clock, SteadyWall

SETTLE_S: Final = 2.0
"""How long a command may still be under way, or at work in a busy router, after its connection is gone."""

BOUND_MAX: Final = 1000
"""The most that one effect ends, so that the journal stays readable; chosen arbitrarily, above a home's open
connections.
"""

WRITTEN_S: Final = 5
"""How long after its writes an item's first look for sessions asks when each began; chosen arbitrarily. It mostly comes
at once, and is spared the command.
"""
_CONFIGURATION: Final = frozenset({*PLACED, RouterResource.PROFILE})
"""The menus that a change of the router's configuration writes, beside address lists."""

_GONE: Final = "no such item"
"""RouterOS's text for a row that is not there any more; anything else counts as a refusal."""


class RouterSession:
    """Reads and changes of one router. Used by several tasks at once."""

    def __init__(
        self,
        target: Target,
        config: RouterTarget,
        line: RouterLine,
        commit: Commit,
        clock: Clock,
        steady: SteadyWall,
    ) -> None:
        """Put the parts together; nothing is connected yet.

        Args:
            target: which target this is.
            config: its configuration.
            line: the way to the router; it lives at least as long as the session.
            commit: keyed commitment of a secret; its label starts with the address.
            clock: of `Ticket.deadline_s` and `Seen.at_s`.
            steady: of when a session began.
        """
        self.target = target
        self._config, self._line, self._commit = config, line, commit
        self._clock, self._steady = clock, steady
        self._readers = Readers(target.id, commit, config.timeout_s, steady.now_s, steady.set_s)
        # An earlier life of the agent may have been killed with a command on its way
        self._settled_at = trio.current_time() + SETTLE_S

    # --- reading ---

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the present value of each address, in one command a menu however many there are.

        Raises:
            UnreadableError: the router cannot be asked, or an address is not one of this target's.
        """
        wanted: dict[RouterResource, dict[str, Address]] = {}
        for text in addresses:
            resource, key = self._parse(text)
            wanted.setdefault(resource, {})[key] = text
        at_s = int(self._clock.wall_s())
        found: dict[Address, Value] = {}
        if addresses:
            try:
                api, version = await self._line.reading()
                for resource, keys in wanted.items():
                    values = await self._readers.read(api, version, resource, list(keys))
                    found.update({text: values.get(key, ABSENT) for key, text in keys.items()})
            except RouterError as err:
                raise self._line.unreadable(err) from err
        return {text: Seen(found[text], at_s) for text in addresses}

    async def answering(self) -> Mapping[str, str]:
        """Return why the router does not answer, "" when it does: it is asked for its load."""
        try:
            await self._line.answer()
        except UnreadableError as err:
            return {self.target.id: str(err).removeprefix(f"{self.target.id}: ")}
        return {self.target.id: ""}

    async def check(self, secret: str = "") -> Sequence[Check]:
        """Return whether each of our users can log in; `secret`: only those with this password.

        The agent's other facts about the router are in its report (`device show`).
        """
        found = []
        passwords = {credential.user: credential.secret for credential in self._config.credentials.values()}
        for user, why in (await self._line.logins(secret)).items():
            if why:
                mend = f"ispagent secret set {passwords[user]}; ispagent device probe {self._config.name}"
                found.append(Check(self.target.id, "login", CheckResult.FAILS, f"user {user}: {why}", mend))
            else:
                found.append(Check(self.target.id, "login", CheckResult.OK, f"user {user}"))
        return found

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        """Return the things that `effect` would end (sessions, cookies, connections), each at its own address.

        A later attempt ends no session that began after the first one: it logged in under the settings written before.
        No attempt ends one that began after the instant that the effect names, if it names one. Nor does the first
        attempt, where it comes long after the writes that it follows, one that began after these.
        Of connections of whatever address a session has, those are ended that were read last: by the judgment, which
        looks for them once the session is there.

        Raises:
            UnreadableError: the router cannot be asked, or the effect is none of this connector's.
        """
        resource, owner = self._parse(effect.address)
        running, asked_s = RUNNING.get(resource), self._clock.wall_s()
        if running is None or effect.verb != running.verb:
            raise UnreadableError(
                f"{self.target.id}: no effect {effect.verb!r} on that address", reason=TargetReason.REFUSED
            )
        if resource in OF_SESSIONS:
            seen = await self._still_open(resource, owner)
        else:
            seen = (await self.read([effect.address]))[effect.address]
        rows = rows_of(seen.value)
        if len(rows) > BOUND_MAX:
            text = f"{self.target.id}: expected at most {BOUND_MAX} rows of {running.path} to end, got {len(rows)}"
            raise UnreadableError(text, reason=TargetReason.TOO_MANY)
        found = {address(self.target.id, running.one, key): Seen(dict(row), seen.at_s) for key, row in rows.items()}
        beginnings = BEGINNINGS.get(resource)
        until = [min(one.at_s for one in earlier.values())] if earlier else []
        until += [int(effect.args[SINCE]) + clock_set_s(effect.args)] if SINCE in effect.args else []
        wrote_s = int(effect.args.get(IN_FORCE, asked_s))
        if not found or beginnings is None or not (until or asked_s - wrote_s > WRITTEN_S):
            return found
        where, asked_s = address(self.target.id, beginnings, owner), self._clock.wall_s()
        began = texts_of((await self.read([where]))[where].value)
        took_s = self._clock.wall_s() - asked_s  # a beginning is told as an age: by a late answer it seems later
        first_s = min(until) - BEGAN_S if until else wrote_s + took_s + 1
        before = {address(self.target.id, running.one, key) for key, at in began.items() if int(at) < first_s}
        return {one: row for one, row in found.items() if one in earlier or one in before}

    async def _still_open(self, resource: RouterResource, owner: str) -> Seen:
        at_s = int(self._clock.wall_s())
        try:
            api, _ = await self._line.reading()
            return Seen(await self._readers.still_open(api, resource, owner), at_s)
        except RouterError as err:
            raise self._line.unreadable(err) from err

    # --- writing ---

    async def send(self, ticket: Ticket) -> Reply:
        """Write the ticket's transition if the row still reads *before*, or end the bound sessions.

        Raises:
            NotSentError: nothing was sent. DriftedError: nor will it be, the row reads otherwise.
            LostError: the fate is unknown.
        """
        writes = ticket.do if isinstance(ticket.do, tuple) else ()
        places = [parse(self.target.id, write.address) for write in writes]
        # Configuration has a user of its own, where one is configured
        use = Use.CONFIG if any(place and place[0] in _CONFIGURATION for place in places) else Use.SERVICE
        try:
            api, version = await self._line.writing(use)
        except UnreadableError as err:
            raise NotSentError(str(err), reason=err.reason) from err
        if not isinstance(ticket.do, tuple):
            return await self._end_bound(api, ticket.do, ticket)
        if len(places) != 1 or places[0] is None:
            raise self._unsupported()
        return await self._write(api, version, places[0], ticket.do[0], ticket)

    def _not_sent(self, err: RouterError) -> NotSentError:
        """Return the error of a write before which the router could not be read. It may be away for a moment only."""
        told = self._line.unreadable(err)
        return NotSentError(str(told), reason=told.reason)

    def _unsupported(self) -> NotSentError:
        return NotSentError(f"{self.target.id}: no such step is done here", reason=TargetReason.UNSUPPORTED)

    async def settle(self) -> None:
        """Return when no lost command can take effect any more. Its connection is closed already: by `api_session`."""
        await trio.sleep_until(max(self._settled_at, trio.current_time()))

    async def busy(self) -> Busy | None:
        """Return why the router should be spared changes for now, or None."""
        return await self._line.busy()

    def notes(self) -> Sequence[str]:
        """Return a preview's warnings about the router: a release that is not known, users that may not write."""
        why = self._readers.connections.whole
        return (*self._line.notes(), *([f"{self.target.id}: all its connections are read: {why}"] if why else ()))

    async def _write(
        self,
        api: RouterApi,
        version: Version,
        which: tuple[RouterResource, str],
        transition: Transition,
        ticket: Ticket,
    ) -> Reply:
        resource, key = which
        if resource in PLACED:
            return await self._place(api, version, which, transition, ticket)
        kept = KEPT.get(resource)
        if kept is None or (verb := verb_of(transition)) not in kept.verbs:
            raise self._unsupported()
        try:
            menu = menus.menu(kept.path, version)
            words = words_of(menu, transition)
        except MenuError as err:
            raise NotSentError(f"{self.target.id}: {err}", reason=TargetReason.UNWRITABLE) from err
        try:
            rows = await self._readers.rows(api, menu, kept, key)
        except RouterError as err:
            raise self._not_sent(err) from err
        now = value_of(menu, transition.address, rows, self._commit) if rows else ABSENT
        if now != transition.before.value:
            observed = {transition.address: Seen(now, int(self._clock.wall_s()))}
            raise DriftedError(f"{self.target.id}: the row no longer reads as planned", observed=observed)
        if rows and ".id" not in rows[0]:
            raise NotSentError(
                f"{self.target.id}: expected a row with an .id, got none", reason=TargetReason.UNREADABLE
            )
        if rows and (hidden := menus.unshown(kept.path, version, rows[0], words)):
            text = f"{not_known_text(version)}, and its row does not show {', '.join(hidden)}"
            raise NotSentError(f"{self.target.id}: {text}", reason=TargetReason.UNWRITABLE)
        row = [f"=.id={rows[0]['.id']}"] if rows else []
        return await self._command(api, ticket, f"{menu.path}/{verb}", *row, *words)

    async def _place(
        self, api: RouterApi, version: Version, which: tuple[RouterResource, str], write: Transition, ticket: Ticket
    ) -> Reply:
        """Add or remove a rule of ours. Its place is looked up in the same print that shows that it reads as before."""
        resource, key = which
        verb = verb_of(write)
        if verb == "set" or not known(version):
            why = "no such step is done here" if known(version) else not_known_text(version)
            raise NotSentError(f"{self.target.id}: {why}", reason=TargetReason.UNSUPPORTED)
        menu = menus.menu(PLACED[resource], version)
        try:
            rows = await self._readers.every_rule(api, resource)
        except RouterError as err:
            raise self._not_sent(err) from err
        now = placed_rules.value_of(menu, rows, key)
        if now != write.before.value:
            observed = {write.address: Seen(now, int(self._clock.wall_s()))}
            raise DriftedError(f"{self.target.id}: the rule no longer reads as planned", observed=observed)
        if verb == "remove":
            words = [f"=.id={row['.id']}" for row in rows if row.get("comment") == key]
        else:
            try:
                words = placed_rules.words_to_add(menu, write.after, rows)
            except MenuError as err:
                raise NotSentError(f"{self.target.id}: {err}", reason=TargetReason.UNWRITABLE) from err
        return await self._command(api, ticket, f"{menu.path}/{verb}", *words)

    async def _end_bound(self, api: RouterApi, effect: Effect, ticket: Ticket) -> Reply:
        found = parse(self.target.id, effect.address)
        running = RUNNING.get(found[0]) if found else None
        if running is None or effect.verb != running.verb:
            raise NotSentError(f"{self.target.id}: no effect {effect.verb!r}", reason=TargetReason.UNSUPPORTED)
        wanted = {found[1]: seen for where, seen in ticket.bound.items() if (found := parse(self.target.id, where))}
        if not wanted:
            return Reply(True, TargetReason.NO_SESSION, "nothing is open")
        asked_s = int(self._steady.now_s())
        try:
            # Asked now, by natural key: a remembered .id may be the row of another session by then
            rows = await self._readers.running(api, running.one, wanted)
        except RouterError as err:
            raise self._not_sent(err) from err
        if not all(".id" in row for row in rows):
            raise NotSentError(f"{self.target.id}: expected rows with an .id, got none", reason=TargetReason.UNREADABLE)
        own = self._own(running, rows, wanted, asked_s)
        return await self._end(api, ticket, running, [row[".id"] for row in own])

    def _own(
        self, running: Running, rows: Sequence[Mapping[str, str]], wanted: Mapping[str, Seen], asked_s: int
    ) -> list[Mapping[str, str]]:
        """Return the rows that are still the bound ones' owner's: after a reboot an id may be another's session.

        `asked_s`: our clock just before they were asked for, as the keys have it.
        """
        owners = {key: texts_of(seen.value).get("login") for key, seen in wanted.items()}
        logins = [(row, running.fields(row).get("login")) for row in rows]
        return [r for r, login in logins if any(owners[k] == login for k in names(running, r, owners, asked_s))]

    async def _end(self, api: RouterApi, ticket: Ticket, running: Running, ids: Sequence[str]) -> Reply:
        """Remove rows one by one: one that is gone by itself holds up no other."""
        refused: Reply | None = None
        for n, id_ in enumerate(ids):
            try:
                reply = await self._command(api, ticket, f"{running.path}/remove", f"=.id={id_}")
            except NotSentError as err:
                if n:
                    raise LostError(f"{n} of {len(ids)} were ended: {err}", reason=TargetReason.PARTLY_SENT) from err
                raise
            if not reply.accepted and _GONE not in reply.detail:
                refused = reply
        return refused or Reply(True, TargetReason.DONE if ids else TargetReason.NO_SESSION, f"{len(ids)} ended")

    async def _command(self, api: RouterApi, ticket: Ticket, *words: str) -> Reply:
        """Send a command that changes something, once; the main job reads back the effect of a refused one."""
        left_s = ticket.deadline_s - self._clock.boot_s()
        if left_s <= 0:
            raise NotSentError(f"{self.target.id}: the deadline passed before its turn", reason=TargetReason.EXPIRED)
        timeout_s = min(self._config.timeout_s, left_s)
        over = False
        try:
            await api.call(*words, timeout_s=timeout_s)
            over = True
        except TrapError as err:
            over = True
            return Reply(False, TargetReason.REFUSED, str(err))
        except LocalRouterError as err:
            raise NotSentError(f"{self.target.id}: {err}", reason=TargetReason.UNWRITABLE) from err
        except (CarrierLostError, RouterTimeoutError) as err:
            if err.sent:
                reason = TargetReason.TIMEOUT if isinstance(err, RouterTimeoutError) else TargetReason.CUT
                raise LostError(f"{self.target.id}: {err}", reason=reason) from err
            raise NotSentError(f"{self.target.id}: {err}", reason=TargetReason.UNREACHABLE) from err
        except RouterError as err:
            # The command was sent, and an answer that makes no sense does not say what became of it
            raise LostError(f"{self.target.id}: {err}", reason=TargetReason.MALFORMED) from err
        finally:
            if not over:  # given up, for any reason: its fate is in doubt for a while
                self._settled_at = trio.current_time() + SETTLE_S
        return Reply(True, TargetReason.DONE)

    # --- asking ---

    def _parse(self, text: Address) -> tuple[RouterResource, str]:
        found = parse(self.target.id, text)
        if found is None:
            raise UnreadableError(f"{self.target.id}: not an address of this target", reason=TargetReason.REFUSED)
        return found
