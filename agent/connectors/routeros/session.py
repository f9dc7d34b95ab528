"""A session to one router: bulk reads of its menus, a write to one secret's row, and the end of PPP sessions.

The commands of several steps are in flight at once, on the connection that `line` opens. A row is found by its name at
the moment of writing, exactly once, and compared with what the plan saw: a remembered `.id` may be another row by then.
RouterOS has no conditional write, so between the look and the write another administrator may come
(`Traits.conditional` is False, and the preview says so).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from agent.connectors.base import DriftedError, LostError, NotSentError, Reply, UnreadableError
from agent.connectors.routeros import menus
from agent.connectors.routeros.access import DISCONNECT
from agent.connectors.routeros.addresses import ALL, COPIES, Resource, address, parse, rows_of, rows_value, texts_of
from agent.connectors.routeros.errors import (
    CarrierLostError,
    LocalRouterError,
    RouterError,
    RouterTimeoutError,
    TrapError,
)
from agent.connectors.routeros.menus import Menu, Role, UnwritableError
from agent.connectors.routeros.values import seconds
from agent.connectors.shared import boot_time_s
from agent.model import ABSENT, Absent, SecretRef, Seen

if TYPE_CHECKING:
    from agent.connectors.routeros.api_session import Answer, Api
    from agent.connectors.routeros.line import Line
    from agent.connectors.routeros.schema import RouterTarget
    from agent.connectors.routeros.versions import Version
    from agent.model import Address, Effect, Target, Ticket, Transition, Value

SETTLE_S: Final = 2.0
"""How long a command may still be under way, or at work in a busy router, whose connection is gone."""

ONE_BY_ONE_MAX: Final = 8
"""Names that are asked for in one query; more, and the whole menu is read: chosen arbitrarily."""

KEY_MAX: Final = 4096
"""Characters of a name that is asked for; chosen arbitrarily, far above RouterOS's own limits."""

Commit = Callable[[str, str], str]
_Reader = Callable[["Api", "Version", Sequence[str]], Awaitable[Mapping[str, "Value"]]]

_MENU: Final = {Resource.SECRET: "/ppp/secret", Resource.PROFILE: "/ppp/profile"}
_ACTIVE: Final = ("name", "service", "caller-id", "address", "session-id", "radius", "uptime")
_GONE: Final = "no such item"
"""RouterOS's text for a row that is not there any more; anything else counts as a refusal."""
_VOLATILE: Final = frozenset({"name", "session-id", "uptime"})


class RouterSession:
    """Reads and changes of one router. Used by several tasks at once."""

    def __init__(
        self,
        target: Target,
        config: RouterTarget,
        line: Line,
        commit: Commit,
        *,
        boottime: Callable[[], float] = boot_time_s,
    ) -> None:
        """Put the parts together; nothing is connected yet.

        Args:
            target: which target this is.
            config: its configuration.
            line: the way to the router; it lives at least as long as the session.
            commit: keyed commitment of a secret; its label starts with the address.
            boottime: the clock of `Ticket.deadline_s`.
        """
        self.target = target
        self._config, self._line, self._commit, self._boottime = config, line, commit, boottime
        # An earlier life of the agent may have been killed with a command on its way
        self._settled_at = trio.current_time() + SETTLE_S
        self._readers: Mapping[Resource, _Reader] = {
            Resource.SECRET: partial(self._rows, Resource.SECRET),
            Resource.PROFILE: partial(self._rows, Resource.PROFILE),
            Resource.ACTIVE: self._sessions,
            Resource.BEGAN: self._began,
            Resource.SESSION: self._session,
            Resource.LISTED: self._listed,
            Resource.FILTER: self._filter,
            Resource.ONLINE: self._online,
        }

    async def aclose(self) -> None:
        """Close the connection; it is opened again when it is needed."""
        await self._line.aclose()

    # --- reading ---

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return what each address reads now, in one command a menu however many there are.

        Raises:
            UnreadableError: the router cannot be asked, or an address is not one of this target's.
        """
        wanted: dict[Resource, dict[str, Address]] = {resource: {} for resource in Resource}
        for text in addresses:
            resource, key = self._parse(text)
            wanted[resource][key] = text
        at_s = int(time.time())
        found: dict[str, Value] = {}
        if addresses:
            try:
                api, version = await self._line.reading()
                for resource, keys in wanted.items():
                    if keys:
                        values = await self._readers[resource](api, version, list(keys))
                        found.update({text: values.get(key, ABSENT) for key, text in keys.items()})
            except RouterError as err:
                raise self._line.unreadable(err) from err
        return {text: Seen(found[text], at_s) for text in addresses}

    async def bind(self, effect: Effect) -> Mapping[Address, Seen]:
        """Return the open sessions of the name that `effect` (a disconnect) is about, each at its own address.

        Raises:
            UnreadableError: the router cannot be asked, or the effect is none of this connector's.
        """
        resource, _ = self._parse(effect.address)
        if effect.verb != DISCONNECT or resource is not Resource.ACTIVE:
            raise UnreadableError(f"{self.target.id}: no effect {effect.verb!r} on that address", reason="refused")
        seen = (await self.read([effect.address]))[effect.address]
        return {
            address(self.target.id, Resource.SESSION, sid): Seen(dict(row), seen.at_s)
            for sid, row in rows_of(seen.value).items()
        }

    async def _rows(self, resource: Resource, api: Api, version: Version, names: Sequence[str]) -> dict[str, Value]:
        menu = menus.menu(_MENU[resource], version)
        rows = await self._print(api, menu.path, menu.proplist(), "name", names)
        by_name: dict[str, list[Mapping[str, str]]] = {}
        for row in rows:
            by_name.setdefault(row.get("name", ""), []).append(row)
        return {
            name: self._row_value(menu, address(self.target.id, resource, name), found)
            for name, found in by_name.items()
        }

    def _row_value(self, menu: Menu, where: Address, rows: Sequence[Mapping[str, str]]) -> Value:
        if len(rows) > 1:
            return {COPIES: str(len(rows))}
        value: dict[str, str | SecretRef] = {}
        for name, text in menu.readable(rows[0]).items():
            known_as = menu.properties.get(name)
            secret = known_as is None or known_as.role in (Role.SECRET, Role.WRITE_ONLY)
            value[name] = SecretRef(self._commit(f"{where} {name}", text)) if secret else text
        return value

    async def _sessions(self, api: Api, _: Version, names: Sequence[str]) -> dict[str, Value]:
        rows = await self._print(api, "/ppp/active", _ACTIVE, "name", names)
        return {name: rows_value((sid, _steady(row)) for sid, row in found) for name, found in _by_name(rows).items()}

    async def _began(self, api: Api, _: Version, names: Sequence[str]) -> dict[str, Value]:
        rows, now_s = await self._print(api, "/ppp/active", _ACTIVE, "name", names), int(time.time())
        found: dict[str, Value] = {}
        for name, sessions in _by_name(rows).items():
            began = {sid: _began_s(row, now_s) for sid, row in sessions}
            found[name] = {sid: str(at_s) for sid, at_s in began.items() if at_s is not None} or ABSENT
        return found

    async def _session(self, api: Api, _: Version, sids: Sequence[str]) -> dict[str, Value]:
        rows = await self._print(api, "/ppp/active", _ACTIVE, "session-id", sids)
        return {sid: dict(_steady(row)) for found in _by_name(rows).values() for sid, row in found}

    async def _listed(self, api: Api, _: Version, ips: Sequence[str]) -> dict[str, Value]:
        wanted = ("list", "address", "dynamic", "disabled")
        rows = await self._print(api, "/ip/firewall/address-list", wanted, "address", ips)
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.get("disabled") != "true":
                kind = "dynamic" if row.get("dynamic") == "true" else "static"
                found.setdefault(row.get("address", ""), {})[row.get("list", "")] = kind
        return dict(found)

    async def _filter(self, api: Api, _: Version, __: Sequence[str]) -> dict[str, Value]:
        # Every matcher counts, also one that this version of ours does not know: so without .proplist.
        rows = (await self._ask(api, "/ip/firewall/filter/print")).rows
        counters = {"bytes", "packets"}
        kept = (({k: v for k, v in row.items() if k not in counters and not k.startswith(".")}) for row in rows)
        return {ALL: rows_value((f"{n}", row) for n, row in enumerate(kept, start=1))}

    async def _online(self, api: Api, _: Version, __: Sequence[str]) -> dict[str, Value]:
        rows = await self._print(api, "/ppp/active", ("name",), "name", ())
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.get("name", "")] = counts.get(row.get("name", ""), 0) + 1
        return {ALL: {name: str(n) for name, n in counts.items()} or ABSENT}

    async def _print(
        self, api: Api, path: str, proplist: Collection[str], key: str, wanted: Sequence[str]
    ) -> tuple[Mapping[str, str], ...]:
        """Return the rows whose `key` is one of `wanted`; a long list is looked up in the whole menu. None: all."""
        # What cannot be sent is not there: nobody's name on a router has such bytes
        asked = [text for text in wanted if "\0" not in text and len(text) <= KEY_MAX]
        query = [f"?{key}={text}" for text in asked] + ["?#|"] * (len(asked) - 1)
        few = 0 < len(asked) <= ONE_BY_ONE_MAX
        answer = await self._ask(api, f"{path}/print", f"=.proplist={','.join(proplist)}", *(query if few else ()))
        chosen = frozenset(wanted)
        return tuple(row for row in answer.rows if not chosen or row.get(key, "") in chosen)

    # --- writing ---

    async def send(self, ticket: Ticket) -> Reply:
        """Write the ticket's transition if the row still reads *before*, or end the bound sessions.

        Raises:
            NotSentError: nothing was sent. DriftedError: nor will it be, the row reads otherwise.
            LostError: the fate is unknown.
        """
        try:
            api, version = await self._line.writing()
        except RouterError as err:
            raise NotSentError(str(self._line.unreadable(err)), reason="unreachable") from err
        except UnreadableError as err:
            raise NotSentError(str(err), reason=err.reason) from err
        if isinstance(ticket.do, tuple):
            return await self._write(api, version, ticket.do, ticket)
        return await self._disconnect(api, ticket.do, ticket)

    async def settle(self) -> None:
        """Return when no lost command can take effect any more. Its connection is closed already: by `api_session`."""
        await trio.sleep_until(max(self._settled_at, trio.current_time()))

    async def _write(self, api: Api, version: Version, transitions: tuple[Transition, ...], ticket: Ticket) -> Reply:
        found = parse(self.target.id, transitions[0].address) if len(transitions) == 1 else None
        if found is None or found[0] is not Resource.SECRET:
            raise NotSentError(f"{self.target.id}: a step changes one PPP secret here", reason="unsupported")
        transition, name = transitions[0], found[1]
        menu = menus.menu(_MENU[Resource.SECRET], version)
        words = self._words(menu, transition)
        try:
            rows = await self._print(api, menu.path, (*menu.proplist(), ".id"), "name", [name])
        except RouterError as err:
            raise NotSentError(str(self._line.unreadable(err)), reason="unreadable") from err
        now = self._row_value(menu, transition.address, rows) if rows else ABSENT
        if now != transition.before.value:
            observed = {transition.address: Seen(now, int(time.time()))}
            raise DriftedError(f"{self.target.id}: the secret no longer reads as planned", observed=observed)
        if ".id" not in rows[0]:
            raise NotSentError(f"{self.target.id}: expected a row with an .id, got none", reason="unreadable")
        return await self._command(api, ticket, f"{menu.path}/set", f"=.id={rows[0]['.id']}", *words)

    def _words(self, menu: Menu, transition: Transition) -> list[str]:
        """Return the words that make *before* into *after*: properties that differ, each one that may be written."""
        before, after = transition.before.value, transition.after
        if isinstance(before, Absent) or isinstance(after, Absent) or before.keys() != after.keys():
            raise NotSentError(f"{self.target.id}: a step changes a secret that is there", reason="unsupported")
        words = []
        for name, text in after.items():
            if text == before[name]:
                continue
            try:
                menu.writable(name)
            except UnwritableError as err:
                raise NotSentError(f"{self.target.id}: {err}", reason="unwritable") from err
            if not isinstance(text, str) or not isinstance(before[name], str):
                raise NotSentError(f"{self.target.id}: {name} is no plain text", reason="unwritable")
            words.append(f"={name}={text}")
        if not words:
            raise NotSentError(f"{self.target.id}: nothing to write", reason="unsupported")
        return words

    async def _disconnect(self, api: Api, effect: Effect, ticket: Ticket) -> Reply:
        if effect.verb != DISCONNECT:
            raise NotSentError(f"{self.target.id}: no effect {effect.verb!r}", reason="unsupported")
        wanted = {found[1]: seen for where, seen in ticket.bound.items() if (found := parse(self.target.id, where))}
        if not wanted:
            return Reply(True, "no-session", "no session is open")
        try:
            rows = await self._print(api, "/ppp/active", (".id", "name", "session-id"), "session-id", sorted(wanted))
        except RouterError as err:
            raise NotSentError(str(self._line.unreadable(err)), reason="unreadable") from err
        # After a reboot an id may be another subscriber's session
        own = [r for r in rows if texts_of(wanted[r["session-id"]].value).get("login") == r.get("name")]
        if not all(".id" in row for row in own):
            raise NotSentError(f"{self.target.id}: expected sessions with an .id, got none", reason="unreadable")
        return await self._end(api, ticket, [row[".id"] for row in own])

    async def _end(self, api: Api, ticket: Ticket, ids: Sequence[str]) -> Reply:
        """End sessions one by one: one that is gone by itself holds up no other."""
        refused: Reply | None = None
        for n, id_ in enumerate(ids):
            try:
                reply = await self._command(api, ticket, "/ppp/active/remove", f"=.id={id_}")
            except NotSentError as err:
                if n:
                    raise LostError(f"{n} of {len(ids)} sessions were ended: {err}", reason="partly-sent") from err
                raise
            if not reply.accepted and _GONE not in reply.detail:
                refused = reply
        return refused or Reply(True, "done" if ids else "no-session", f"{len(ids)} session(s)")

    async def _command(self, api: Api, ticket: Ticket, *words: str) -> Reply:
        """Send what changes something, once; what a refusal of the router changed is read back by the main job."""
        if self._boottime() >= ticket.deadline_s:
            raise NotSentError(f"{self.target.id}: the deadline passed before its turn", reason="expired")
        timeout_s = min(self._config.timeout_s, ticket.deadline_s - self._boottime())
        try:
            await self._call(api, *words, timeout_s=timeout_s)
        except TrapError as err:
            return Reply(False, "refused", str(err))
        except LocalRouterError as err:
            raise NotSentError(f"{self.target.id}: {err}", reason="unwritable") from err
        except (CarrierLostError, RouterTimeoutError) as err:
            if err.sent:
                reason = "timeout" if isinstance(err, RouterTimeoutError) else "cut"
                raise LostError(f"{self.target.id}: {err}", reason=reason) from err
            raise NotSentError(f"{self.target.id}: {err}", reason="unreachable") from err
        except RouterError as err:
            raise LostError(f"{self.target.id}: {err}", reason="malformed") from err
        return Reply(True, "done")

    async def _call(self, api: Api, *words: str, timeout_s: float) -> None:
        """Send a command whose fate, given up for whatever reason, is in doubt for a while."""
        over = False
        try:
            await api.call(*words, timeout_s=timeout_s)
            over = True
        except TrapError:
            over = True
            raise
        finally:
            if not over:
                self._settled_at = trio.current_time() + SETTLE_S

    # --- asking ---

    def _parse(self, text: Address) -> tuple[Resource, str]:
        found = parse(self.target.id, text)
        if found is None:
            raise UnreadableError(f"{self.target.id}: not an address of this target", reason="refused")
        return found

    async def _ask(self, api: Api, *words: str) -> Answer:
        return await api.call(*words, timeout_s=self._config.timeout_s)


def _by_name(rows: Sequence[Mapping[str, str]]) -> dict[str, list[tuple[str, Mapping[str, str]]]]:
    found: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
    for row in rows:
        if not row.get("session-id"):
            raise UnreadableError("expected a session-id of each PPP session, got none", reason="refused")
        found.setdefault(row.get("name", ""), []).append((row["session-id"], row))
    return found


def _steady(row: Mapping[str, str]) -> Mapping[str, str]:
    return {"login": row.get("name", "")} | {k: v for k, v in row.items() if k in _ACTIVE and k not in _VOLATILE and v}


def _began_s(row: Mapping[str, str], now_s: int) -> int | None:
    """Return when a session began, unix seconds, from its uptime as RouterOS writes it; None: it does not say."""
    uptime_s = seconds(row.get("uptime", ""))
    return None if uptime_s is None else now_s - uptime_s
