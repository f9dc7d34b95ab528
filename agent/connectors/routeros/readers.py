"""Reads of each resource: one command a menu, however many addresses are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from agent.connectors.base import UnreadableError
from agent.connectors.routeros import interfaces, menus, placed_rules
from agent.connectors.routeros.addresses import ALL, RouterResource, address, member, rows_value, texts_of
from agent.connectors.routeros.arrivals import BY_INTERFACE
from agent.connectors.routeros.connections_session import Connections
from agent.connectors.routeros.errors import NO_MENU, TrapError
from agent.connectors.routeros.firewall import garden_lists, source_lists
from agent.connectors.routeros.flows import established, passes
from agent.connectors.routeros.live_sessions import (
    BEGAN_S,
    BEGINNINGS,
    BY_ONE,
    CUT,
    RUNNING,
    began_s,
    by_owner,
    names,
)
from agent.connectors.routeros.matching import FILLS, HELD, MARKS, WIDE, Ruleset, held_by, is_wide
from agent.connectors.routeros.rows import KEPT, KeptMenu, by_key, value_of
from agent.connectors.routeros.rulesets import ruleset_value
from agent.connectors.routeros.values import RouterKind, normalize
from agent.connectors.routeros.versions import known, not_known_text
from agent.connectors.routeros.ways_session import read_ways
from agent.model import ABSENT
from agent.reasons import TargetReason

if TYPE_CHECKING:
    from agent.connectors.routeros.api_session import RouterAnswer, RouterApi
    from agent.connectors.routeros.menus import Menu
    from agent.connectors.routeros.rows import Commit
    from agent.connectors.routeros.versions import Version
    from agent.model import Value

ONE_BY_ONE_MAX: Final = 8
"""Names that are asked for in one query; more, and the whole menu is read: chosen arbitrarily."""

KEY_MAX: Final = 4096
"""Characters of a name that is asked for; chosen arbitrarily, far above RouterOS's own limits."""

BEGUN_MAX: Final = 50_000
"""Sessions to remember the beginning of; chosen arbitrarily, some megabytes."""

OPEN_MAX: Final = 1000
"""Owners to remember the open connections of; chosen arbitrarily, above the most that is cut at a time."""

_Row = Mapping[str, str]
_Reader = Callable[["RouterApi", "Version", Sequence[str]], Awaitable[Mapping[str, "Value"]]]

_RULES: Final = {RouterResource.FILTER: "/ip/firewall/filter", RouterResource.FILTER6: "/ipv6/firewall/filter"}
PLACED: Final = {RouterResource.RULE: "/ip/firewall/filter", RouterResource.RULE6: "/ipv6/firewall/filter"}
"""Menus of rules that are ours, each with a place."""
_ORDER: Final = {RouterResource.ORDER: RouterResource.RULE, RouterResource.ORDER6: RouterResource.RULE6}
_LISTS: Final = {
    RouterResource.MEMBERS: "/ip/firewall/address-list",
    RouterResource.MEMBERS6: "/ipv6/firewall/address-list",
}
_CLIENTS: Final = {
    RouterResource.CLIENTS: "/ip/firewall/address-list",
    RouterResource.CLIENTS6: "/ipv6/firewall/address-list",
}
_POOLS: Final[Mapping[RouterResource, Sequence[str]]] = {
    RouterResource.POOLS: ("/ip/pool", "ranges", "next-pool"),
    RouterResource.POOLS6: ("/ipv6/pool", "prefix"),
}
_HELD: Final = {
    RouterResource.HELD: (
        ("/ppp/active", "PPP session", "name", ("address",), ""),
        ("/ip/hotspot/active", "hotspot session", "user", ("address",), ""),
        ("/ip/dhcp-server/lease", "DHCP lease", "mac-address", ("address", "active-address"), "dynamic"),
    ),
    RouterResource.HELD6: (("/ipv6/dhcp-server/binding", "DHCPv6 binding", "duid", ("address",), "dynamic"),),
}
"""Menus of temporary holders of addresses: the property of the name, of the owner, of the addresses, and the one that
must be `true`.
"""
_LISTED: Final = {
    RouterResource.LISTED: "/ip/firewall/address-list",
    RouterResource.LISTED6: "/ipv6/firewall/address-list",
}
_LISTS_OF: Final = {"/ip/firewall/filter": RouterResource.MEMBERS, "/ipv6/firewall/filter": RouterResource.MEMBERS6}
_OWNED: Final = (RouterResource.SESSION_FLOWS, RouterResource.HOTSPOT_FLOWS, RouterResource.LOGIN_FLOWS)
"""Connections of owners with addresses that are looked up."""
_TRIAL_USER: Final = "T-"
"""Before the client's MAC: the user of a trial's session (manual of RouterOS 2.9), which is nobody else's."""
_BEGINNINGS: Final = {began: active for active, began in BEGINNINGS.items()}
_COUNTERS: Final = frozenset({"bytes", "packets"})
_TRACKING: Final = ("enabled", "loose-tcp-tracking")
_QUEUE: Final = (
    "name",
    "target",
    "dst",
    "max-limit",
    "limit-at",
    "burst-limit",
    "disabled",
    "invalid",
    "dynamic",
    "parent",
    "time",
    "packet-marks",
)
_LEASED: Final = ("mac-address", "status", "active-address", "active-server", "expires-after", "last-seen", "dynamic")
_BINDING: Final = ("mac-address", "address", "server", "type", "disabled")


class Readers:
    """Reads of one router's resources, over whatever connection is open."""

    def __init__(
        self,
        target: str,
        commit: Commit,
        timeout_s: float,
        steady_s: Callable[[], float],
        set_s: Callable[[], float],
    ) -> None:
        """Put the parts together.

        Args:
            target: the router's id.
            commit: the keyed commitment of secrets.
            timeout_s: how long a command may take.
            steady_s: a clock that nobody sets, unix seconds: a hotspot's session is known by its beginning.
            set_s: by how many seconds our clock is ahead of that one.
        """
        self._target, self._commit, self._timeout_s = target, commit, timeout_s
        self._steady_s, self._set_s = steady_s, set_s
        self.connections = Connections(timeout_s)
        self._open: dict[tuple[RouterResource, str], frozenset[str]] = {}
        self._begun: dict[str, int] = {}
        self._readers: dict[RouterResource, _Reader] = {
            RouterResource.QUEUES: self._queues,
            RouterResource.LEASED: self._leased,
            RouterResource.BINDING: self._bindings,
            RouterResource.HOTSPOT_LOGINS: self._logins,
            RouterResource.AAA: self._aaa,
            RouterResource.JOINED: self._joined,
            RouterResource.ONLINE: self._online,
            RouterResource.WAYS: self._ways,
            **{resource: partial(self._rows, resource) for resource in KEPT},
            **{resource: partial(self._of_owners, resource) for resource in RUNNING},
            **{
                resource: partial(self._flows_at, resource)
                for resource in (RouterResource.FLOWS, RouterResource.FLOWS6)
            },
            **{resource: partial(self._flows_of, resource) for resource in _OWNED},
            **{one: partial(self._ones, one) for one in BY_ONE},
            **{resource: partial(self._beginnings, owner) for resource, owner in _BEGINNINGS.items()},
            **{resource: partial(self._rules, path) for resource, path in _RULES.items()},
            **{resource: partial(self._placed, resource) for resource in PLACED},
            **{resource: partial(self._order, placed) for resource, placed in _ORDER.items()},
            **{resource: partial(self._members, path) for resource, path in _LISTS.items()},
            **{resource: partial(self._listed, path) for resource, path in _LISTED.items()},
            **{resource: partial(self._clients, path) for resource, path in _CLIENTS.items()},
            **{resource: partial(self._pools, where) for resource, where in _POOLS.items()},
            **{resource: partial(self._held, resource) for resource in _HELD},
        }

    def read(
        self, api: RouterApi, version: Version, resource: RouterResource, keys: Sequence[str]
    ) -> Awaitable[Mapping[str, Value]]:
        """Return the value of each key of a resource, to be awaited; one that is left out is ABSENT.

        Raises:
            RouterError: the router cannot be asked.
            UnreadableError: its answer cannot be right.
        """
        return self._readers[resource](api, version, keys)

    async def rows(self, api: RouterApi, menu: Menu, kept: KeptMenu, key: str) -> Sequence[_Row]:
        """Return the rows of one key of a kept menu, as the router's release has it, with their `.id`."""
        found = await self.print(api, menu.path, menu.proplist, kept.query, [kept.queried(key)])
        return by_key(kept, found).get(key, ())

    async def running(self, api: RouterApi, resource: RouterResource, keys: Collection[str]) -> Sequence[_Row]:
        """Return the rows of those that are running and named by `keys`, with their `.id`."""
        running, now_s = RUNNING[BY_ONE[resource]], int(self._steady_s())
        if running.verb == CUT:
            return await self.connections.rows(api, running, keys)
        asked = sorted(keys) if running.one_query else ()
        rows = await self.print(api, running.path, (".id", *running.props), running.one_query, asked)
        return [row for row in rows if names(running, row, keys, now_s)]

    async def print(
        self, api: RouterApi, path: str, proplist: Collection[str], key: str, wanted: Sequence[str]
    ) -> tuple[_Row, ...]:
        """Return the rows that have one of `wanted` as their `key`; a long list is looked up in the whole menu. None:
        all.
        """
        # What cannot be sent is not there: nobody's name on a router has such bytes
        asked = [text for text in dict.fromkeys(wanted) if "\0" not in text and len(text) <= KEY_MAX]
        query = [f"?{key}={text}" for text in asked] + ["?#|"] * (len(asked) - 1)
        few = 0 < len(asked) <= ONE_BY_ONE_MAX
        answer = await self._ask(api, f"{path}/print", f"=.proplist={','.join(proplist)}", *(query if few else ()))
        if not wanted:
            return answer.rows
        chosen = frozenset(wanted)
        return tuple([row for row in answer.rows if row.get(key, "") in chosen])

    def _ask(self, api: RouterApi, *words: str) -> Awaitable[RouterAnswer]:
        return api.call(*words, timeout_s=self._timeout_s)

    # --- rows of menus ---

    async def _rows(
        self, resource: RouterResource, api: RouterApi, version: Version, keys: Sequence[str]
    ) -> dict[str, Value]:
        kept = KEPT[resource]
        menu = menus.menu(kept.path, version)
        rows = await self.print(api, menu.path, menu.proplist, kept.query, [kept.queried(key) for key in keys])
        found = by_key(kept, rows)
        return {
            key: value_of(menu, address(self._target, resource, key), found[key], self._commit)
            for key in keys
            if key in found
        }

    # --- what is running ---

    async def _of_owners(
        self, resource: RouterResource, api: RouterApi, _: Version, keys: Sequence[str]
    ) -> dict[str, Value]:
        running, now_s = RUNNING[resource], int(self._steady_s())
        rows = await self.print(api, running.path, running.props, running.query, keys if running.query else ())
        for row in rows:
            if not running.key_of(row, now_s):
                raise UnreadableError(
                    f"expected a session-id of each row of {running.path}, got none", reason=TargetReason.REFUSED
                )
        found = by_owner(running, rows, keys, now_s)
        if resource in BEGINNINGS:
            found = {key: {self._known_as(one): row for one, row in own.items()} for key, own in found.items()}
        return {key: rows_value(own.items()) for key, own in found.items()}

    async def _flows_of(
        self, resource: RouterResource, api: RouterApi, _: Version, owners: Sequence[str]
    ) -> dict[str, Value]:
        """Return the connections of each owner: of all addresses that it has now."""
        places = await self._places(api, resource, owners)
        everywhere = sorted({place for own in places.values() for place in own})
        of_place = await self.connections.of(api, RUNNING[resource], everywhere)
        found: dict[str, Value] = {}
        for owner, own in places.items():
            flows = {key: row for place in own for key, row in of_place.get(place, {}).items()}
            self._open[resource, owner] = frozenset(
                key for key, row in flows.items() if passes(row) or established(key, row)
            )
            found[owner] = rows_value(flows.items())
        while len(self._open) > OPEN_MAX:
            del self._open[next(iter(self._open))]
        return found

    async def still_open(self, api: RouterApi, resource: RouterResource, owner: str) -> Value:
        """Return the connections that the last read of an owner found to pass, or to be established, and still its own.

        Its addresses are looked up again: a connection of an address that it has no more is somebody else's. Nothing
        was read of it yet: none.
        """
        keys = self._open.get((resource, owner), frozenset())
        places = (await self._places(api, resource, [owner])).get(owner, ()) if keys else ()
        if not places:
            return ABSENT
        running = RUNNING[resource]
        owners = running.owners(places)
        rows = await self.connections.rows(api, running, keys)
        return rows_value((running.key_of(row, 0), running.fields(row)) for row in rows if owners(row))

    async def _places(
        self, api: RouterApi, resource: RouterResource, owners: Sequence[str]
    ) -> dict[str, tuple[str, ...]]:
        """Return the addresses that each owner of connections has now; of one that has none, nothing."""
        found: dict[str, dict[str, None]] = {}
        if resource is RouterResource.HOTSPOT_FLOWS:
            return await self._client_places(api, owners)
        if resource is RouterResource.LOGIN_FLOWS:  # of the clients that are logged in so
            active = await self.print(api, "/ip/hotspot/active", ("user", "mac-address"), "user", owners)
            macs = sorted({row.get("mac-address", "") for row in active} - {""})
            of_mac = await self._client_places(api, macs) if macs else {}
            for row in active:
                own = of_mac.get(row.get("mac-address", ""), ())
                found.setdefault(row.get("user", ""), {}).update(dict.fromkeys(own))
        else:
            for row in await self.print(api, "/ppp/active", ("name", "address"), "name", owners):
                found.setdefault(row.get("name", ""), {}).update(dict.fromkeys(filter(None, [row.get("address", "")])))
        return {owner: tuple(own) for owner, own in found.items()}

    async def _client_places(self, api: RouterApi, clients: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the addresses that each hotspot client has now.

        A client is its MAC, or `MAC LOGIN`: then without addresses where another login has a session by now. Somebody
        else may have the device.
        """
        mac, places, macs = "mac-address", ("address", "to-address"), [client.partition(" ")[0] for client in clients]
        hosts = await self.print(api, "/ip/hotspot/host", (mac, *places), mac, macs)
        active: Sequence[_Row] = ()
        if any(" " in client for client in clients):
            active = await self.print(api, "/ip/hotspot/active", (mac, "user", "address"), mac, macs)
        users = {row["address"]: row.get("user", "") for row in active if row.get("address")}
        of_mac: dict[str, list[list[str]]] = {}
        for row in hosts:
            there = [row[prop] for prop in places if row.get(prop)]
            of_mac.setdefault(normalize(RouterKind.MAC, row.get(mac, "")), []).append(there)
        found: dict[str, tuple[str, ...]] = {}
        for client in clients:
            who, _, login = client.partition(" ")
            mine = ("", login, f"{_TRIAL_USER}{who}")
            hosted = of_mac.get(normalize(RouterKind.MAC, who), ())
            known = [one for one in hosted if not login or all(users.get(place, "") in mine for place in one)]
            found[client] = tuple(dict.fromkeys(place for there in known for place in there))
        return found

    async def _flows_at(
        self, resource: RouterResource, api: RouterApi, _: Version, places: Sequence[str]
    ) -> dict[str, Value]:
        """Return the connections of each address or network."""
        found = await self.connections.of(api, RUNNING[resource], places)
        return {place: rows_value(flows.items()) for place, flows in found.items()}

    async def _ones(
        self, resource: RouterResource, api: RouterApi, _: Version, keys: Sequence[str]
    ) -> dict[str, Value]:
        running, now_s = RUNNING[BY_ONE[resource]], int(self._steady_s())
        rows = await self.running(api, resource, keys)
        found: dict[str, Value] = {key: running.fields(row) for row in rows for key in names(running, row, keys, now_s)}
        for key in keys:
            if key not in found:  # the next session of that user and address has a beginning of its own, however soon
                self._begun.pop(key.rpartition("@")[0], None)
        return found

    async def _beginnings(
        self, owner: RouterResource, api: RouterApi, _: Version, logins: Sequence[str]
    ) -> dict[str, Value]:
        running, asked_s = RUNNING[owner], int(self._steady_s())
        rows = await self.print(api, running.path, running.props, running.query, logins)
        now_s, set_s = int(self._steady_s()), round(self._set_s())  # by our clock of now
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            at_s = began_s(row, now_s)
            if at_s is None:
                continue
            # A key is by the clock of before the question, in each read: an answer from far takes longer than `BEGAN_S`
            key = self._known_as(running.key_of(row, asked_s))
            what, _at, first = key.rpartition("@")
            if not what:
                at_s = self._steady(key, at_s)
            elif abs(int(first) - at_s) <= BEGAN_S:
                at_s = int(first)
            found.setdefault(row.get(running.query, ""), {})[key] = str(at_s + set_s)
        return dict(found)

    def _known_as(self, key: str) -> str:
        """Return a session's key with its beginning as it was first told, where that is part of it.

        Two reads, of the sessions and of their beginnings, must give a session one key.
        """
        what, _, at = key.rpartition("@")
        return f"{what}@{self._steady(what, int(at))}" if what and at.isdecimal() else key

    def _steady(self, key: str, at_s: int) -> int:
        """Return when a session began as it was first told: an uptime is cut to seconds, and so is our clock."""
        known_s = self._begun.get(key)
        if known_s is not None and abs(known_s - at_s) <= BEGAN_S:
            return known_s
        if len(self._begun) >= BEGUN_MAX:
            self._begun.clear()
        self._begun[key] = at_s
        return at_s

    async def _online(self, api: RouterApi, _: Version, __: Sequence[str]) -> dict[str, Value]:
        rows = await self.print(api, "/ppp/active", ("name",), "name", ())
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.get("name", "")] = counts.get(row.get("name", ""), 0) + 1
        return {ALL: {name: str(n) for name, n in counts.items()} or ABSENT}

    # --- what is looked up ---

    async def _members(self, path: str, api: RouterApi, _: Version, lists: Sequence[str]) -> dict[str, Value]:
        wanted = ("list", "address", "dynamic", "disabled")
        rows = await self.print(api, path, wanted, "list", lists)
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.get("disabled") != "true":
                kind = "dynamic" if row.get("dynamic") == "true" else "static"
                found.setdefault(row.get("list", ""), {})[normalize(RouterKind.RANGE, row.get("address", ""))] = kind
        return dict(found)

    async def _joined(self, api: RouterApi, _: Version, lists: Sequence[str]) -> dict[str, Value]:
        rows = await self.print(api, "/interface/list/member", ("list", "interface", "disabled"), "list", lists)
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.get("disabled") != "true":
                found.setdefault(row.get("list", ""), {})[row.get("interface", "")] = "yes"
        return dict(found)

    async def _listed(self, path: str, api: RouterApi, _: Version, places: Sequence[str]) -> dict[str, Value]:
        wanted = ("list", "address", "dynamic", "disabled")
        rows = await self.print(api, path, wanted, "address", places)
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.get("disabled") != "true":
                kind = "dynamic" if row.get("dynamic") == "true" else "static"
                found.setdefault(normalize(RouterKind.RANGE, row.get("address", "")), {})[row.get("list", "")] = kind
        return dict(found)

    async def _rules(self, path: str, api: RouterApi, version: Version, _: Sequence[str]) -> dict[str, Value]:
        # Every matcher counts, also one that this version of ours does not know: so without .proplist.
        menu = _Menus(api, self._timeout_s)
        rules = _plain((await self._ask(api, f"{path}/print")).rows)
        raw = _plain(await menu.rows(path.replace("/filter", "/raw"), ()))
        asked = {name for row in (*rules, *raw) for name, text in row.items() if text}
        mangle = _plain(await menu.rows(path.replace("/filter", "/mangle"), ())) if asked & MARKS else None
        every = (*rules, *raw, *(mangle or ()))
        lists, gardens = sorted(source_lists(every)), sorted(garden_lists(every))
        entries = await self._entries_of(path, api, version, sorted({*lists, *gardens}))
        sizes = {name: _size(entries[name]) for name in gardens}
        for row in every:
            row.update(sizes.get(row.get("dst-address-list", "").removeprefix("!"), {}))
        used = {name for row in every for name, text in row.items() if text}
        tracking = _plain(await menu.rows("/ip/firewall/connection/tracking", _TRACKING))
        ruleset = Ruleset(
            filter=rules,
            raw=raw,
            interface_lists=await interfaces.lists(menu) if used & interfaces.BY_NAME else None,
            # of a list that is a destination only it counts whether it is a place
            members={name: entries[name] for name in lists},
            ways_out=await interfaces.ways_out(menu, path) if used & interfaces.OUT else None,
            tracking=tracking[0] if tracking else None,
            filled=await _filled(menu, path) if lists or gardens else frozenset(),
            tunnels=await _tunnels(menu) if "ipsec-policy" in used else None,
            routes=await interfaces.routes(menu, path) if used & BY_INTERFACE else None,
            mangle=mangle,
        )
        return {ALL: ruleset_value(ruleset)}

    async def _entries_of(
        self, path: str, api: RouterApi, version: Version, lists: Sequence[str]
    ) -> Mapping[str, Mapping[str, str]]:
        found = await self._members(_LISTS[_LISTS_OF[path]], api, version, lists) if lists else {}
        return {name: texts_of(found[name]) if name in found else {} for name in lists}

    async def _pools(self, where: Sequence[str], api: RouterApi, _: Version, __: Sequence[str]) -> dict[str, Value]:
        path, prop, *more = where
        rows = await self.print(api, path, ("name", prop, *more), "name", ())
        return {ALL: _with_next(rows, prop) or ABSENT}

    async def every_rule(self, api: RouterApi, resource: RouterResource) -> Sequence[_Row]:
        """Return all rules of a menu of placed ones, in their order and with their `.id`."""
        return (await self._ask(api, f"{PLACED[resource]}/print")).rows

    async def _placed(
        self, resource: RouterResource, api: RouterApi, version: Version, keys: Sequence[str]
    ) -> dict[str, Value]:
        menu, rows = menus.menu(PLACED[resource], version), await self.every_rule(api, resource)
        return {key: placed_rules.value_of(menu, rows, key) for key in keys}

    async def _clients(self, path: str, api: RouterApi, version: Version, lists: Sequence[str]) -> dict[str, Value]:
        rows = (await self._ask(api, "/user/active/print", "=.proplist=address,via")).rows
        clients = sorted({row.get("address", "") for row in rows if row.get("via", "").startswith("api")} - {""})
        held = await self._members(path, api, version, lists)
        found = {name: {one: f"in {name}" for one in clients if member(value, one)} for name, value in held.items()}
        return {name: dict(inside) for name, inside in found.items() if inside}

    async def _order(
        self, resource: RouterResource, api: RouterApi, version: Version, _: Sequence[str]
    ) -> dict[str, Value]:
        if not known(version):  # a property that no table has may be a matcher: nothing is placed there
            why = f"{self._target}: {not_known_text(version)}: rules are placed only on releases that are known"
            raise UnreadableError(f"{why}; add them by hand", reason=TargetReason.UNSUPPORTED)
        return {ALL: placed_rules.order_of(await self.every_rule(api, resource))}

    async def _held(self, resource: RouterResource, api: RouterApi, _: Version, __: Sequence[str]) -> dict[str, Value]:
        found: dict[str, str] = {}
        for path, what, owner, props, only in _HELD[resource]:
            wanted = (owner, *props, *((only,) if only else ()))
            for row in await self._print_if_there(api, path, wanted):
                if not only or row.get(only) == "true":
                    found |= {row[prop]: f"{what} of {row.get(owner, '')}" for prop in props if row.get(prop)}
        return {ALL: dict(found) or ABSENT}

    async def _print_if_there(self, api: RouterApi, path: str, proplist: Collection[str]) -> tuple[_Row, ...]:
        try:
            return await self.print(api, path, proplist, "", ())
        except TrapError as err:
            if NO_MENU in err.message:
                return ()
            raise

    async def _queues(self, api: RouterApi, _: Version, __: Sequence[str]) -> dict[str, Value]:
        rows = await self.print(api, "/queue/simple", _QUEUE, "name", ())
        return {ALL: rows_value((f"{n}", row) for n, row in enumerate(rows))}

    async def _leased(self, api: RouterApi, _: Version, macs: Sequence[str]) -> dict[str, Value]:
        # A lease by client identifier names no MAC: that of its client, once it has one
        props = ("mac-address", "active-mac-address")
        query = [f"?{prop}={mac}" for mac in macs for prop in props] if len(macs) <= ONE_BY_ONE_MAX else []
        query += ["?#|"] * (len(query) - 1)
        wanted = ",".join((*_LEASED, "active-mac-address"))
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for row in (await self._ask(api, "/ip/dhcp-server/lease/print", f"=.proplist={wanted}", *query)).rows:
            told = tuple(f"{name}={text}" for name, text in row.items() if name in _LEASED and text)
            for mac in dict.fromkeys(normalize(RouterKind.MAC, row.get(prop, "")) for prop in props):
                of_mac = found.setdefault(mac, {})
                of_mac[str(len(of_mac))] = told
        return {mac: found[mac] for mac in macs if mac in found}

    async def _bindings(self, api: RouterApi, _: Version, macs: Sequence[str]) -> dict[str, Value]:
        rows = await self.print(api, "/ip/hotspot/ip-binding", _BINDING, "mac-address", ())
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        for number, row in enumerate(rows):
            told = tuple(f"{name}={text}" for name, text in row.items() if name in _BINDING and text)
            for mac in (normalize(RouterKind.MAC, row.get("mac-address", "")), ALL):
                found.setdefault(mac, {})[str(number)] = told
        return {mac: found[mac] for mac in macs if mac in found}

    async def _logins(self, api: RouterApi, _: Version, __: Sequence[str]) -> dict[str, Value]:
        servers = await self.print(api, "/ip/hotspot", ("profile", "disabled", "invalid"), "", ())
        on = {s.get("profile", "default") for s in servers if "true" not in (s.get("disabled"), s.get("invalid"))}
        rows = await self.print(api, "/ip/hotspot/profile", ("name", "login-by", "use-radius"), "name", ())
        radius = {row.get("name") for row in rows if row.get("use-radius") in ("true", "yes")}
        told = {row["name"]: [row.get("login-by", "")] for row in rows if row.get("name") in on}
        ways = {name: ",".join([*by, *(["radius"] if name in radius else [])]) for name, by in told.items()}
        return {ALL: ways or ABSENT}

    async def _ways(self, api: RouterApi, _: Version, keys: Sequence[str]) -> dict[str, Value]:
        return await read_ways(partial(self._ask, api), keys)

    async def _aaa(self, api: RouterApi, _: Version, __: Sequence[str]) -> dict[str, Value]:
        rows = (await self._ask(api, "/ppp/aaa/print")).rows
        return {ALL: {k: v for k, v in rows[0].items() if not k.startswith(".")} if rows else ABSENT}


class _Menus:
    """Prints the menus of one router: implements `interfaces.AsksMenu`."""

    def __init__(self, api: RouterApi, timeout_s: float) -> None:
        self._api, self._timeout_s = api, timeout_s

    async def rows(self, path: str, proplist: Collection[str], *query: str) -> Sequence[_Row]:
        words = (f"=.proplist={','.join(proplist)}",) if proplist else ()
        try:
            return (await self._api.call(f"{path}/print", *words, *query, timeout_s=self._timeout_s)).rows
        except TrapError as err:
            if NO_MENU in err.message:
                return ()
            raise

    async def count(self, path: str, *query: str) -> int:
        answer = await self._api.call(f"{path}/print", "=count-only=", *query, timeout_s=self._timeout_s)
        told = answer.done.get("ret", "")
        return int(told) if told.isdecimal() else len(answer.rows)


def _size(entries: Collection[str]) -> dict[str, str]:
    """Return a list that is a destination, as a property of the rule that names it."""
    if is_wide(entries):
        return {WIDE: "true"}
    held = held_by(entries)
    return {HELD: f"{held[4]} {held[6]}"} if any(held.values()) else {}


async def _tunnels(menu: _Menus) -> frozenset[str]:
    """Return the networks at the other ends of IPsec policies. A template is none: its rows are listed too."""
    rows = await menu.rows("/ip/ipsec/policy", ("dst-address", "disabled", "template", "action"))
    return frozenset(
        row.get("dst-address", "")
        for row in rows
        if not {"true", "yes"} & {row.get("disabled"), row.get("template")}
        and row.get("action", "encrypt") == "encrypt"
    )


async def _filled(menu: _Menus, path: str) -> frozenset[str]:
    """Return the address lists of a family that mangle and nat rules add to as packets come."""
    wanted = [f"?action={action}" for action in sorted(FILLS)]
    family = path.removesuffix("/filter")
    rows = [
        row
        for table in ("mangle", "nat")
        for row in await menu.rows(f"{family}/{table}", ("address-list", "action", "disabled"), *wanted, "?#|")
    ]
    return frozenset(row.get("address-list", "") for row in rows if row.get("disabled") != "true")


def _plain(rows: Sequence[_Row]) -> list[dict[str, str]]:
    """Return rows without ids and counters."""
    return [{k: v for k, v in row.items() if k not in _COUNTERS and not k.startswith(".")} for row in rows]


def _with_next(pools: Sequence[_Row], prop: str) -> dict[str, str]:
    """Return the ranges of each pool, with those of the pools that it goes on to when it is full."""
    by_name = {row.get("name", ""): row for row in pools}
    found = {}
    for name in by_name:
        chain: list[str] = []
        following = name
        while following in by_name and following not in chain:
            chain.append(following)
            following = by_name[following].get("next-pool", "")
        found[name] = ",".join(filter(None, (by_name[one].get(prop, "") for one in chain)))
    return found
