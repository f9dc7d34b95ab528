"""How a service state becomes a hotspot user's profile, or its being disabled: the access method. Pure.

As for PPP secrets (`access`), and for the ways of a hotspot beside a login. A cookie lets a client in again without
asking, so the cookies are forgotten after the write and before the sessions end. An ip-binding that bypasses the
hotspot makes all settings of its user void: a user that may have one is refused. Where no suspended profile is
configured the user is disabled, and then whoever has no session and no cookie is out: nothing else lets anybody by.
A fasttracked connection passes no rule of the hotspot's either, so connections from before are cut after the session.
Those of a client are another login's where that has a session at the client's address by then.

Not known here: whether a client that is not online has an ip-binding (a user is a name; the clients that are looked up
are those of its sessions, of its cookies, and the one that it is pinned to), and whether RouterOS takes a user's name
in another spelling of its case. A trial asks for no user: the preview says where it is on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent.connectors.base import CLIENTS, NONE_ENDED, CannotEnforce, Enforced, Judgment
from agent.connectors.routeros.access import DISABLED, PROFILE, READ_AT, Menus, ProfileAccess
from agent.connectors.routeros.access_text import disabled_proof, disabled_text
from agent.connectors.routeros.addresses import ALL, RouterResource, member, parse, rows_of, texts_of
from agent.connectors.routeros.comment_marker import COMMENT, SUSPENDED, marks_in
from agent.connectors.routeros.flows import left_text, passing
from agent.connectors.routeros.live_sessions import SINCE, end_of
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.values import RouterKind, normalize
from agent.model import Access, Address, Effect, Field, Seen
from agent.reasons import ProofReason
from trust.plural import counted

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import HotspotMethod
    from agent.model import Enforcement, Service, ServiceState

_MACS: Final = "macs"
"""In an enforcement's `expect`: the clients that were known at the preview, comma separated."""
_ONLINE: Final = "online"
"""Likewise: where the sessions of the preview were, each as MAC=ADDRESS."""
_NO_HOTSPOT: Final = "no hotspot is on: nobody needs a login to get out"
_NO_MAC: Final = "00:00:00:00:00:00"
_TRIAL: Final = "trial"
_RADIUS: Final = "radius"
"""Among the ways of a hotspot's profile: it asks RADIUS about logins that no user has."""

_Rows = Mapping[str, Mapping[str, str]]


class HotspotAccess(ProfileAccess):
    """Subscribers are users of a hotspot: implements `agent.connectors.base.KnowsClients` too."""

    menus = Menus(
        "hotspot user",
        "hotspot user profile",
        RouterResource.HOTSPOT_USER,
        RouterResource.HOTSPOT_PROFILE,
        RouterResource.HOTSPOT_ACTIVE,
        RouterResource.HOTSPOT_SESSION,
        RouterResource.HOTSPOT_BEGAN,
    )

    def __init__(self, method: HotspotMethod) -> None:
        """Take the access mapping."""
        super().__init__(method)
        self._hotspot = method

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the needs of a profile's access method; of one that is suspended then the connections, if online."""
        missing = super().reads(service, seen)
        if missing or not self._holds(self._row(service, seen)):
            return missing
        return [a for a in self._flows_at(service.login, _macs(self._sessions(service, seen))) if a not in seen]

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen] = NONE_ENDED
    ) -> Collection[Address]:
        """Return the needs of `judge`; all connections of the router last, and only where nothing else decides."""
        missing = list(super().enforcement_reads(enforce, seen, ended))
        if missing or not _is_suspended(enforce) or self._judge_login(enforce, seen, ended).enforced is Enforced.NO:
            return missing
        return [a for a in self._flows_at(self._name(enforce), self._watched(enforce, seen, ended)) if a not in seen]

    def _also_read(self, login: str) -> Sequence[Address]:
        hotspots = self._at(RouterResource.HOTSPOT_LOGINS, ALL)
        return (self._at(RouterResource.COOKIES, login), self._at(RouterResource.BINDING, ALL), hotspots)

    def _off(self, login: str, row: Mapping[str, str], seen: Mapping[Address, Seen]) -> str:
        if row.get(DISABLED) == "true" and not self._disabled_by_us(row):
            return super()._off(login, row, seen)
        sessions = rows_of(seen[self._at(self.menus.active, login)].value)
        macs = self._pinned(row) or {*_macs(sessions), *_macs(self._cookies(login, seen))}
        blocked = [mac for mac in sorted(macs) if self._binding(mac, _places(sessions), seen) == "blocked"]
        return f"an ip-binding blocks {', '.join(blocked)}" if macs and len(blocked) == len(macs) else ""

    def _beside(self, login: str, row: Mapping[str, str], seen: Mapping[Address, Seen]) -> str:
        off, logins = self._off(login, row, seen), self._logins(seen)
        if off and not logins:
            return f"{off}, and {_NO_HOTSPOT}"
        if not off or row.get(DISABLED) != "true" or self._disabled_by_us(row):
            return ""
        sessions, cookies = rows_of(seen[self._at(self.menus.active, login)].value), self._cookies(login, seen)
        macs = {*_macs(sessions), *_macs(cookies), *self._pinned(row)}
        if by := self._bound(macs, _places(sessions), seen, "bypassed"):
            return f"{off}, and an ip-binding lets {by} by the hotspot"
        if cookies:
            return f"{off}, and {counted(len(cookies), 'cookie')} may let it in again"
        asked = sorted(name for name, ways in logins.items() if _RADIUS in ways.split(","))
        return (
            f"{off}, and the router may ask RADIUS about the login (hotspot profile {', '.join(asked)})"
            if asked
            else ""
        )

    def _fields_of(self, wanted: ServiceState, row: Mapping[str, str]) -> Mapping[str, str]:
        fields = dict(super()._fields_of(wanted, row))
        staff = row.get(DISABLED) == "true" and not self._disabled_by_us(row)
        if staff and wanted.access is Access.ACTIVE:
            fields.pop(DISABLED, None)
        return fields

    def _disabled_by_us(self, row: Mapping[str, str]) -> bool:
        """Tell whether a user is disabled and has our mark: staff disable users too, and leave none."""
        return self._disables and self._holds(row) and SUSPENDED in marks_in(row.get(COMMENT, ""))

    # --- judging ---

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Judge by the sessions, and by the ways out without one: a binding, a cookie, a connection."""
        found = self._judge_login(enforce, seen, ended)
        if found.enforced is Enforced.NO or not _is_suspended(enforce):
            return found
        return self._judge_flows(enforce, seen, ended) or found

    def _judge_flows(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]
    ) -> Judgment | None:
        """Return why connections from before are not known to be gone, or None."""
        mine = [session.get("address", "") for session in rows_of(seen[enforce.address].value).values()]
        open_flows = "" if DISABLED in enforce.expect else self._open_flows(enforce, seen)
        for mac in sorted(self._watched(enforce, seen, ended)):
            (where,) = self._flows_at(self._name(enforce), [mac])
            if left := passing(seen[where].value, self._garden(enforce, seen), open_flows, mine):
                return Judgment(Enforced.NO, ProofReason.STILL_ONLINE, left_text(len(left), mac), (where,))
        for session in self._sessions_of(ended).values():
            if not session.get("mac-address"):
                why = f"the router did not tell the client at {session.get('address')}: its connections may carry on"
                return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, why)
        return None

    def _judge_login(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]
    ) -> Judgment:
        if _is_suspended(enforce):
            sessions, cookies = rows_of(seen[enforce.address].value), self._cookies(self._name(enforce), seen)
            macs = {*filter(None, enforce.expect[_MACS].split(",")), *_macs(sessions), *_macs(cookies)}
            places = {*_places(sessions), *(place for _, place in _online(enforce))}
            by = self._bound(macs, places, seen, "bypassed")
            if by:
                return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, f"an ip-binding lets {by} by the hotspot")
            if not self._logins(seen):
                return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, _NO_HOTSPOT)
            if DISABLED in enforce.expect:
                return self._judge_disabled(enforce, sessions, cookies, seen, ended)
        return super().judge(enforce, seen, ended)

    def _judge_disabled(
        self,
        enforce: Enforcement,
        sessions: _Rows,
        cookies: _Rows,
        seen: Mapping[Address, Seen],
        ended: Mapping[Address, Seen],
    ) -> Judgment:
        differs = self._differs(enforce, texts_of(seen[self._at(self.menus.row, self._name(enforce))].value))
        if differs:
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, differs)
        if sessions:
            as_before = any(self._at(self.menus.session, sid) in ended for sid in sessions)
            how = ProofReason.STILL_ONLINE if as_before else ProofReason.NOT_IN_EFFECT
            return Judgment(
                Enforced.NO,
                how,
                f"{counted(len(sessions), 'session is', 'sessions are')} open though the user is disabled",
            )
        if cookies:
            return Judgment(
                Enforced.NO, ProofReason.NOT_IN_EFFECT, f"{counted(len(cookies), 'cookie')} may let it in again"
            )
        return Judgment(Enforced.YES, ProofReason.SEEN, "the user is disabled, and has no session and no cookie")

    def _differs(self, enforce: Enforcement, row: Mapping[str, str]) -> str:
        wanted = enforce.expect.get(DISABLED)
        if wanted is not None and row.get(DISABLED) != wanted:
            return "the user is not disabled" if wanted == "true" else "the user is disabled"
        return super()._differs(enforce, row)

    # --- parts ---

    def _watched(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]
    ) -> frozenset[str]:
        """Return the clients with connections that count: those that had a session, and those that have one."""
        had = (*(mac for mac, _ in _online(enforce)), *enforce.expect.get(CLIENTS, "").split(","))
        have = _macs(rows_of(seen[enforce.address].value))
        return have | _macs(self._sessions_of(ended)) | frozenset(filter(None, had))

    def _flows_at(self, login: str, macs: Collection[str]) -> list[Address]:
        return [self._at(RouterResource.HOTSPOT_FLOWS, f"{mac} {login}") for mac in sorted(macs)]

    @property
    def _disables(self) -> bool:
        return not self._method.suspended_profile

    def _fields(self, wanted: ServiceState) -> Mapping[str, str]:
        if not self._disables:
            return super()._fields(wanted)
        suspended = wanted.access is Access.SUSPENDED
        return {PROFILE: self._method.tariffs[wanted.tariff], DISABLED: "true" if suspended else "false"}

    def _holds(self, row: Mapping[str, Field]) -> bool:
        return row.get(DISABLED) == "true" if self._disables else super()._holds(row)

    def _effect_of(
        self, profile: str, access: Access, seen: Mapping[Address, Seen], places: tuple[str, ...]
    ) -> str | CannotEnforce:
        if self._disables and access is Access.SUSPENDED:
            # A profile that is not there is no hindrance to a user that cannot log in
            return ""
        return super()._effect_of(profile, access, seen, places)

    def _not_held(self, profile: str, row: Mapping[str, str]) -> CannotEnforce | None:
        if row.get("transparent-proxy") not in ("yes", "true"):
            return None
        # The router fetches pages itself, and its own packets are not in chain forward
        return CannotEnforce(
            RouterReason.PROXY_NOT_HELD, f"profile {profile} has transparent-proxy, which no list holds"
        )

    def _refuse_more(
        self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]
    ) -> CannotEnforce | None:
        row, sessions = self._row(service, seen), self._sessions(service, seen)
        if "true" in (row.get("default"), row.get("dynamic")):
            return CannotEnforce(RouterReason.NOT_A_SUBSCRIBER, f"hotspot user {service.login} is the router's own")
        if any(session.get("radius") == "true" for session in sessions.values()):
            why = f"its session came by RADIUS: hotspot user {service.login} says nothing"
            return CannotEnforce(RouterReason.BY_RADIUS, why)
        if wanted.access is Access.SUSPENDED:
            if not self._logins(seen):
                return CannotEnforce(RouterReason.NO_HOTSPOT, _NO_HOTSPOT)
            by = self._bound(self._clients(service, seen), _places(sessions), seen, "bypassed")
            if by:
                return CannotEnforce(
                    RouterReason.BYPASSED, f"an ip-binding lets {by} by the hotspot, whatever its user is"
                )
        elif wanted.tariff != service.tariff and (by := self._bound(self._pinned(row), (), seen, "blocked")):
            return CannotEnforce(
                RouterReason.BLOCKED, f"an ip-binding blocks {by}: it cannot log in, whatever its user is"
            )
        return None

    def _bound(self, macs: Collection[str], places: Collection[str], seen: Mapping[Address, Seen], how: str) -> str:
        """Return the first of the clients, or of their addresses, that an ip-binding is about; or nothing."""
        for row in rows_of(seen[self._at(RouterResource.BINDING, ALL)].value).values():
            if row.get("type", "regular") != how or row.get(DISABLED) == "true":
                continue
            mac, place = normalize(RouterKind.MAC, row.get("mac-address", "")), row.get("address", "")
            if mac in macs:
                return mac
            if mac in ("", _NO_MAC) and not place:
                return "everybody"
            for one in sorted(places):
                if mac in ("", _NO_MAC) and member({normalize(RouterKind.RANGE, place): how}, one):
                    return one
        return ""

    def _binding(self, mac: str, places: Collection[str], seen: Mapping[Address, Seen]) -> str:
        """Return the type of the first ip-binding that is about a client; "": none is, or it is of one hotspot only."""
        for row in rows_of(seen[self._at(RouterResource.BINDING, ALL)].value).values():
            own, place = normalize(RouterKind.MAC, row.get("mac-address", "")), row.get("address", "")
            there = {normalize(RouterKind.RANGE, place): "here"}
            of_all = own in ("", _NO_MAC) and (not place or any(member(there, one) for one in places))
            if (own == mac or of_all) and row.get(DISABLED) != "true":
                return row.get("type", "regular") if row.get("server", "all") in ("all", "") else ""
        return ""

    def _clients(self, service: Service, seen: Mapping[Address, Seen]) -> frozenset[str]:
        """Return the MACs that the user is known to log in from."""
        sessions, cookies = self._sessions(service, seen), self._cookies(service.login, seen)
        return frozenset({*_macs(sessions), *_macs(cookies), *self._pinned(self._row(service, seen))})

    def _row(self, service: Service, seen: Mapping[Address, Seen]) -> Mapping[str, str]:
        return texts_of(seen[self._at(self.menus.row, service.login)].value)

    def _logins(self, seen: Mapping[Address, Seen]) -> Mapping[str, str]:
        return texts_of(seen[self._at(RouterResource.HOTSPOT_LOGINS, ALL)].value)

    def _pinned(self, row: Mapping[str, str]) -> frozenset[str]:
        return frozenset({normalize(RouterKind.MAC, row.get("mac-address", ""))} - {"", _NO_MAC})

    def _cookies(self, login: str, seen: Mapping[Address, Seen]) -> _Rows:
        return rows_of(seen[self._at(RouterResource.COOKIES, login)].value)

    def _at_large(self, access: Access, service: Service, seen: Mapping[Address, Seen]) -> bool:
        if self._disables and access is Access.SUSPENDED:
            return bool(self._sessions(service, seen) or self._cookies(service.login, seen))
        return super()._at_large(access, service, seen)

    def _passing(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        if self._disables:  # then no session is as wanted
            return ()
        flows = self._flows_at(service.login, _macs(self._sessions(service, seen)))
        return self._that_pass(flows, service, seen)

    def _enforcement(
        self, service: Service, access: Access, fields: Mapping[str, str], seen: Mapping[Address, Seen]
    ) -> Enforcement:
        if access is Access.ACTIVE:
            return super()._enforcement(service, access, fields, seen)
        sessions = self._sessions(service, seen).values()
        more = {
            _MACS: ",".join(sorted(self._clients(service, seen))),
            _ONLINE: ",".join(f"{s.get('mac-address', '')}={s.get('address', '')}" for s in sessions),
            CLIENTS: ",".join(sorted(_macs(self._sessions(service, seen)))),
        }
        return super()._enforcement(service, access, {**fields, **more}, seen)

    def _outlasted(self, service: Service, access: Access, profile: str, seen: Mapping[Address, Seen]) -> bool:
        if not self._disables:
            return super()._outlasted(service, access, profile, seen)
        if access is Access.SUSPENDED:
            return False
        # A disabled user kept its tariff's profile, and nobody logs in to it
        return bool(self._sessions(service, seen)) and profile == self._method.tariffs.get(service.tariff)

    def _ends(self, service: Service, access: Access, seen: Mapping[Address, Seen]) -> Sequence[Effect]:
        ends = super()._ends(service, access, seen)
        cookies = self._cookies(service.login, seen)
        if access is Access.ACTIVE:
            row = seen[self._at(self.menus.row, service.login)]
            if not self._disables or not self._holds(texts_of(row.value)):
                return ends
            # A disabled user cannot log in: a session that began after the preview has the restored settings, and must
            # not be ended. The agent may die after the write, and end the older sessions minutes later
            return [replace(end, args={**end.args, SINCE: str(row.at_s)}) for end in ends]
        # With a suspended profile a cookie that comes meanwhile lets the client in to that profile
        if cookies or self._disables:
            shown = ", ".join(f"cookie of {cookie.get('mac-address', '?')}" for cookie in cookies.values())
            where = self._at(RouterResource.COOKIES, service.login)
            ends = (self._end(where, shown, f"{service.ref}:suspended-cookies"), *ends)
        cuts = (self._cut(service, mac) for mac in sorted(_macs(self._sessions(service, seen))))
        return (*ends, *cuts)

    def ends_of_clients(self, service: Service, ended: Mapping[Address, Seen]) -> Sequence[tuple[str, Effect]]:
        """Return the clients of the router's sessions among the ended, each with the cut of its connections."""
        return [(mac, self._cut(service, mac)) for mac in sorted(_macs(self._sessions_of(ended)))]

    def _sessions_of(self, ended: Mapping[Address, Seen]) -> _Rows:
        """Return this router's sessions among running things."""
        kinds = {where: parse(self.target, where) for where in ended}
        ours = [where for where, found in kinds.items() if found is not None and found[0] is self.menus.session]
        return {where: texts_of(ended[where].value) for where in ours}

    def _cut(self, service: Service, mac: str) -> Effect:
        (where,) = self._flows_at(service.login, [mac])
        return self._end(where, f"connections of {mac}", f"{service.ref}:suspended-{mac}")

    def _end(self, where: Address, shown: str, key: str) -> Effect:
        now = f"{shown} on {self._router}" if shown else ""
        return end_of(where, key, self._method.disconnect_within_s, now=now)

    # --- texts ---

    def _display(self, service: Service, seen: Mapping[Address, Seen]) -> dict[str, str]:
        display = super()._display(service, seen)
        cookies = len(self._cookies(service.login, seen))
        if cookies:
            display["now"] += f" · {counted(cookies, 'cookie')}"
        return display

    def _after_text(self, access: Access, profile: str, how: str, seen: Mapping[Address, Seen]) -> str:
        if access is Access.ACTIVE:
            return super()._after_text(access, profile, how, seen)
        text = disabled_text(self.menus.what) if self._disables else super()._after_text(access, profile, how, seen)
        told = [text, "IPv4 only: a hotspot holds no IPv6"]
        asked = [name for name, ways in self._logins(seen).items() if _RADIUS in ways.split(",")]
        if asked and self._disables:
            told.append(f"not checked: whether RADIUS lets the login in (hotspot profile {', '.join(sorted(asked))})")
        trials = [name for name, ways in self._logins(seen).items() if _TRIAL in ways.split(",")]
        if trials:
            told.append(f"a trial is open to anybody (hotspot profile {', '.join(sorted(trials))})")
        return " · ".join(told)

    def _proof_text(self, enforce: Enforcement) -> str:
        if not self._disables:
            return super()._proof_text(enforce)
        return disabled_proof(Access(enforce.expect["state"]), self._hotspot, new=READ_AT in enforce.expect)


def _is_suspended(enforce: Enforcement) -> bool:
    return enforce.expect["state"] == Access.SUSPENDED.value


def _online(enforce: Enforcement) -> list[tuple[str, str]]:
    """Return MAC and address of the sessions of the preview."""
    pairs = (text.partition("=") for text in enforce.expect[_ONLINE].split(",") if text)
    return [(mac, place) for mac, _, place in pairs]


def _places(sessions: _Rows) -> frozenset[str]:
    return frozenset(s["address"] for s in sessions.values() if s.get("address"))


def _macs(rows: _Rows) -> frozenset[str]:
    return frozenset(normalize(RouterKind.MAC, r["mac-address"]) for r in rows.values() if r.get("mac-address"))
