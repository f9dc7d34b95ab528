"""How a service state becomes the profile of a subscriber's row: the access method. Pure: it takes values that were
read.

Suspended is a profile of its own. A row has one profile, so the tariff's is written back at the restore: only profiles
that the configuration maps are touched, and a row with another profile than its tariff's is refused, since that profile
would be lost. Whether the suspended profile keeps anybody off the internet is looked up in the firewall before anything
is written. A session keeps its settings of the login, so each change ends the sessions; the router's own lists then
show the result.

`ProfileAccess` is all of that, `PppAccess` the part for PPP secrets only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from agent.connectors.base import (
    IN_FORCE,
    NONE_ENDED,
    AccessPlan,
    CannotEnforce,
    DeviceNeeds,
    Enforced,
    Example,
    Judgment,
    LiveSession,
    NetworkState,
    clock_set_s,
    still_holding,
)
from agent.connectors.routeros.access_text import after_text, beside_text, now_text, proof_text, rejected_text
from agent.connectors.routeros.addresses import (
    ALL,
    COPIES,
    RouterResource,
    address,
    member,
    networks,
    parse,
    rows_of,
    texts_of,
)
from agent.connectors.routeros.comment_marker import marked
from agent.connectors.routeros.firewall import KeptIn, LetOut, asks_source
from agent.connectors.routeros.flows import Garden, cut_text, garden_of, left_text, passing
from agent.connectors.routeros.live_sessions import SINCE, end_of
from agent.connectors.routeros.matching import PPP, Confined, Ruleset
from agent.connectors.routeros.readiness import LOGIN, example, tariff_of
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.rulesets import Rulesets
from agent.model import (
    ABSENT,
    Absent,
    Access,
    Address,
    Effect,
    Enforcement,
    Field,
    Seen,
    Service,
    ServiceState,
    Step,
    Transition,
    Value,
)
from agent.reasons import MethodReason, ProofReason
from trust.plural import counted

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import HotspotMethod, PppMethod

_FLOWS: Final = "flows"
"""In an enforcement's `expect`: the address that must have no connections from before, or `OF_SESSIONS`."""
_OF_SESSIONS: Final = "sessions"
"""Those of the addresses that the login's sessions have when they are looked at."""
PROFILE: Final = "profile"
DISABLED: Final = "disabled"
REJECTED: Final = "rejected"
"""In an enforcement's `expect`: somebody else's settings reject the login, and go on doing so."""
READ_AT: Final = "read-at"
"""In an enforcement's `expect`: when the row was read for the preview, in unix seconds; sessions from before are not as
wanted. Without it each session is, however old."""
UNTOLD: Final = "untold"
"""In an enforcement's `expect`: no list of the router tells sessions of before the writes from later ones."""
_UPTIME_S: Final = 5
"""How far a session's beginning, told by its uptime, may be off; chosen arbitrarily."""
_IPV6: Final = ("remote-ipv6-prefix-pool", "dhcpv6-pd-pool")
"""Properties of a profile that hand out IPv6, which its address-list does not hold."""
_BESIDE: Final = ("routes", "ipv6-routes", "remote-ipv6-prefix")
"""Properties of a secret that bring addresses beside the session's own."""
_OPPOSITE: Final = {Access.SUSPENDED: Access.ACTIVE, Access.ACTIVE: Access.SUSPENDED}


@dataclass(frozen=True, slots=True)
class Menus:
    """Where a kind of subscriber stands. `what` names a row for people, `kind` its profiles."""

    what: str
    kind: str
    row: RouterResource
    profile: RouterResource
    active: RouterResource
    session: RouterResource
    began: RouterResource


class ProfileAccess:
    """One access method: implements `agent.connectors.base.DeviceMethod`."""

    menus: ClassVar[Menus]
    interface: ClassVar[str] = ""
    """By which interface their packets come in, as `Confined` has it."""

    def __init__(self, method: PppMethod | HotspotMethod) -> None:
        """Take the access mapping."""
        self.target = method.target
        self._method = method
        self._rulesets = Rulesets()
        self._router = method.target.removeprefix("routeros/")

    def example(self) -> Example:
        """Return a subscriber with a row of the first tariff's profile, and no session."""
        row = {"name": LOGIN, PROFILE: tariff_of(self._method), DISABLED: "false"}
        return example(self._method, LOGIN, {self._at(self.menus.row, LOGIN): row})

    def needs(self, services: Collection[Service]) -> DeviceNeeds:  # noqa: ARG002  a profile's list holds IPv4 only
        """Return the suspended profile, and the first tariff's."""
        if not self._method.suspended_profile:
            return DeviceNeeds()
        tariff = tariff_of(self._method)
        like = self._at(self.menus.profile, tariff) if tariff else None
        return DeviceNeeds(profile=self._at(self.menus.profile, self._method.suspended_profile), like=like)

    # --- what is read ---

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the row, its sessions, the profiles that it may come to have, and the firewall's rules."""
        names = {*filter(None, (self._method.suspended_profile,)), *self._method.tariffs.values()}
        wanted = [
            self._at(self.menus.row, service.login),
            self._at(self.menus.active, service.login),
            self._at(self.menus.began, service.login),
            *(self._at(self.menus.profile, name) for name in sorted(names)),
            self._at(RouterResource.FILTER, ALL),
            *self._also_read(service.login),
        ]
        missing = [a for a in wanted if a not in seen]
        return missing or [*self._members_to_read(self._suspended_lists(seen), seen), *self._then_reads(seen)]

    def _members_to_read(self, lists: Collection[str], seen: Mapping[Address, Seen]) -> Collection[Address]:
        wanted = [self._at(RouterResource.MEMBERS, name) for name in sorted(lists)]
        return [a for a in wanted if a not in seen]

    def _then_reads(self, seen: Mapping[Address, Seen]) -> Collection[Address]:  # noqa: ARG002  those who need more say so
        """Return the other needs of a plan, once the rules were read."""
        return ()

    def enforcement_reads(
        self,
        enforce: Enforcement,
        seen: Mapping[Address, Seen],
        ended: Mapping[Address, Seen] = NONE_ENDED,  # noqa: ARG002  its sessions end on the same device
    ) -> Collection[Address]:
        """Return the needs of `judge`: the sessions, and when there are any all rules about them."""
        if enforce.address not in seen:
            return [enforce.address]
        name, sessions = self._name(enforce), rows_of(seen[enforce.address].value)
        wanted = [*self._also_read(name), self._at(self.menus.row, name)]
        if sessions or self._by_profile(enforce):
            wanted += [self._at(self.menus.profile, enforce.expect[PROFILE]), self._at(RouterResource.FILTER, ALL)]
        if sessions:
            wanted.append(self._at(self.menus.began, name))
        members = self._members_to_read(_expected(enforce), seen) if sessions else ()
        missing = [*(a for a in wanted if a not in seen), *members]
        if missing:
            return missing
        if sessions:
            return self._signs_to_read(enforce.expect[PROFILE], seen)
        return self._then_reads(seen) if self._by_profile(enforce) else []

    def _by_profile(self, enforce: Enforcement) -> bool:
        """Tell whether a profile, and the rules about it, are to keep the subscriber in."""
        return enforce.expect["state"] == Access.SUSPENDED.value and DISABLED not in enforce.expect

    def _signs_to_read(self, profile: str, seen: Mapping[Address, Seen]) -> list[Address]:  # noqa: ARG002  as above
        """Return what `_unseen` needs."""
        return []

    def _also_read(self, login: str) -> Sequence[Address]:  # noqa: ARG002  those who need more say so
        """Return the other facts that a plan and its judgment rest on, with or without sessions."""
        return ()

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        """Return the access by the row at the next login, and the router's own sessions."""
        value = seen[self._at(self.menus.row, service.login)].value
        row, sessions = texts_of(value), self._live(service, seen)
        if isinstance(value, Absent):
            why = f"{self._router} has no {self.menus.what} {service.login}"
            return NetworkState(None, unknown=why, sessions=sessions, absent=True)
        copies = self._refuse_copies(service.login, value)
        if copies:
            return NetworkState(None, unknown=copies.detail, sessions=sessions)
        profile = row.get(PROFILE, "")
        refused, beside = self._rejected(service.login, row, seen), self._beside(service.login, row, seen)
        access, unknown = (None, beside) if refused or beside else self._access_now(row)
        tariffs = [tariff for tariff, name in self._method.tariffs.items() if name == profile]
        tariff = service.tariff if service.tariff in tariffs else tariffs[0] if len(tariffs) == 1 else ""
        reply = {PROFILE: profile} | {name: row[name] for name in ("remote-address", "rate-limit") if row.get(name)}
        listed = self._suspended_lists(seen) if access is Access.SUSPENDED else ()
        return NetworkState(access, refused, unknown, tariff, sessions, reply, (profile, *listed))

    def _rejected(self, login: str, row: Mapping[str, str], seen: Mapping[Address, Seen]) -> str:
        """Return why a login is rejected that we did not suspend; "": it is not, or nobody knows."""
        return "" if self._beside(login, row, seen) else self._off(login, row, seen)

    def _off(self, login: str, row: Mapping[str, str], seen: Mapping[Address, Seen]) -> str:  # noqa: ARG002  other kinds look at more
        """Return how somebody else took a row out of use, or nothing."""
        return f"its {self.menus.what} is disabled" if row.get(DISABLED) == "true" else ""

    def _beside(self, login: str, row: Mapping[str, str], seen: Mapping[Address, Seen]) -> str:  # noqa: ARG002  other kinds look
        """Return how a subscriber gets, or may get, out beside a row that is out of use; or nothing."""
        return ""

    def _access_now(self, row: Mapping[str, str]) -> tuple[Access | None, str]:
        """Return the access by a row that is not disabled, or why that cannot be told."""
        profile = row.get(PROFILE, "")
        if self._holds(row):
            return Access.SUSPENDED, ""
        if profile not in self._method.tariffs.values():
            return None, f"its profile is {profile or 'none'}, which no tariff is mapped to"
        return Access.ACTIVE, ""

    def _live(self, service: Service, seen: Mapping[Address, Seen]) -> tuple[LiveSession, ...]:
        began = texts_of(seen[self._at(self.menus.began, service.login)].value)
        found = []
        for sid, session in self._sessions(service, seen).items():
            since, place = began.get(sid, ""), session.get("address", "")
            carries = self._carried(place, seen)
            how = ProofReason.NOT_TOLD if carries is None else ProofReason.SEEN
            since_s = int(since) if since.isdecimal() else None
            found.append(
                LiveSession(self._router, f"router {self._router}", since_s, place, dict(session), carries, how)
            )
        return tuple(found)

    def _carried(self, place: str, seen: Mapping[Address, Seen]) -> Access | None:
        """Return which policy the router's lists say that an address has; None: they do not say."""
        lists = frozenset(self._suspended_lists(seen))
        if not place or not lists:
            return None
        (held,) = self._listed({"": {"address": place}}, lists, seen)
        if not held:
            return Access.ACTIVE
        how = self._effect_of(self._method.suspended_profile, Access.SUSPENDED, seen, (place,))
        return Access.SUSPENDED if held == lists and not isinstance(how, CannotEnforce) else None

    # --- what is done ---

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the row's transition and the disconnect, or why the state would not take effect."""
        before = seen[self._at(self.menus.row, service.login)]
        if isinstance(before.value, Absent):
            why = f"{self.target} has no {self.menus.what} {service.login}"
            return CannotEnforce(MethodReason.NO_SUCH_LOGIN, why, (self._at(self.menus.row, service.login),))
        refusal = self._refuse_row(wanted, service, before.value) or self._refuse_more(wanted, service, seen)
        if refusal:
            return refusal
        fields = self._fields_of(wanted, texts_of(before.value))
        given = self._given(texts_of(before.value), fields[PROFILE], seen)
        how = self._effect_of(fields[PROFILE], wanted.access, seen, given)
        if isinstance(how, CannotEnforce):
            return how
        off = self._off(service.login, texts_of(before.value), seen)
        beside = self._beside(service.login, texts_of(before.value), seen)
        then = self._after_text(wanted.access, fields[PROFILE], how, seen)
        enforce = self._enforcement(service, wanted.access, fields, seen)
        display = {
            **self._display(service, seen),
            "after": beside_text(beside, then) if beside else rejected_text(off, then) if off else then,
            "proof": self._proof_text(enforce),
        }
        if off:
            enforce = replace(enforce, expect={**enforce.expect, REJECTED: "yes"})
        ends = self._ends(service, wanted.access, seen)
        if all(texts_of(before.value).get(name) == text for name, text in fields.items()):
            # The router does not show a session's profile: it may still be that of the former tariff
            had = self._fields(replace(wanted, tariff=service.tariff))
            stays = self._fields(wanted) != had and bool(self._sessions(service, seen))
            rests_on = (self._at(self.menus.row, service.login),)  # no write tells that the row is another one by then
            if not stays and not self._at_large(wanted.access, service, seen):
                passing = self._passing(service, seen) if wanted.access is Access.SUSPENDED else ()
                ends = [end for end in ends if end.address in passing]
                # Its sessions are as wanted and stay, however old they are
                enforce = replace(enforce, expect={k: v for k, v in enforce.expect.items() if k != READ_AT})
                display = {**display, "proof": self._proof_text(enforce)}
            elif not stays:
                ends = [self._since_row(end, service, seen) for end in ends]
            again = tuple(Step(n, self.target, end) for n, end in enumerate(ends, 1))
            if again or off:
                return AccessPlan(again, enforce, display, rests_on)
            if wanted.access is not Access.SUSPENDED:
                return AccessPlan((), None, display, rests_on)
            # Its row tells nothing of the rules that keep it in. Connections are read for a plan where some may pass
            told = replace(enforce, expect={k: v for k, v in enforce.expect.items() if k != _FLOWS})
            return AccessPlan((), still_holding(self, told, seen), display, rests_on)
        after = self._become(before.value, fields)
        write = Step(1, self.target, (Transition(self._at(self.menus.row, service.login), before, after),))
        back = (self._disconnect(service, {}, f"{_OPPOSITE[wanted.access].value}-revert"),)
        steps = [
            Step(n, self.target, end, after=(1,), on_revert=back if end.address == back[0].address else ())
            for n, end in enumerate(ends, 2)
        ]
        return AccessPlan((write, *steps), enforce, display)

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the disconnect alone; no steps when there is no session."""
        refusal = self._refuse_copies(service.login, seen[self._at(self.menus.row, service.login)].value)
        if refusal:
            return refusal
        display = {**self._display(service, seen), "after": "logs in again, to what it had"}
        drop = Step(1, self.target, self._disconnect(service, seen, "kick"))
        return AccessPlan((drop,) if self._sessions(service, seen) else (), None, display)

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Judge from the sessions that are open now; those in `ended` must be gone."""
        sessions = rows_of(seen[enforce.address].value)
        left = [sid for sid in sessions if self._at(self.menus.session, sid) in ended]
        if left and READ_AT in enforce.expect:
            return Judgment(
                Enforced.NO,
                ProofReason.STILL_ONLINE,
                f"{counted(len(left), 'session carries', 'sessions carry')} on as before",
            )
        name = self._name(enforce)
        row = texts_of(seen[self._at(self.menus.row, name)].value)
        off_now = self._off(name, row, seen)
        off = off_now if REJECTED in enforce.expect else ""
        # Staff may have disabled the row since the preview, and RADIUS lets the next login in
        by_row = off or not sessions or enforce.expect["state"] == Access.SUSPENDED.value
        if why := self._differs(enforce, row) or (self._beside(name, row, seen) if by_row else ""):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, why)
        if sessions:
            found = self._judge_sessions(enforce, sessions, seen)
            if not off_now or found.enforced is not Enforced.YES or enforce.expect["state"] != Access.ACTIVE.value:
                return found
            then = f"{found.detail}; then the login is rejected: {off_now}"
            if not off:
                return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, then)
            return replace(found, how=ProofReason.STAYS_REJECTED, detail=then)
        if off:
            return Judgment(Enforced.YES, ProofReason.STAYS_REJECTED, f"the login stays rejected: {off}")
        if why := self._not_at_login(enforce, row, seen):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, why)
        return Judgment(Enforced.PENDING, ProofReason.OFFLINE, "no session: it holds at the next login")

    def _judge_sessions(
        self, enforce: Enforcement, sessions: Mapping[str, Mapping[str, str]], seen: Mapping[Address, Seen]
    ) -> Judgment:
        """Judge the sessions of a row that reads as wanted."""
        began = texts_of(seen[self._at(self.menus.began, self._name(enforce))].value)
        old = self._older(enforce, sessions, began)
        if old:
            return Judgment(
                Enforced.NO,
                ProofReason.OLD_SESSION,
                f"{counted(old, 'session carries', 'sessions carry')} on from before the change",
            )
        if self._began_with_the_write(enforce, sessions, began):
            why = "a session began as the change was written: nothing tells which settings it has"
            return Judgment(Enforced.NO, ProofReason.NOT_PROVEN, why)
        if any(session.get("radius") == "true" for session in sessions.values()):
            why = f"a session came by RADIUS: its {self.menus.what} here says nothing"
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, why)
        if enforce.expect["state"] == Access.SUSPENDED.value:
            places = tuple(sorted(_addresses(sessions)))
            how = self._effect_of(enforce.expect[PROFILE], Access.SUSPENDED, seen, places)
            if isinstance(how, CannotEnforce):
                return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, how.detail)
            if how and not _expected(enforce) and len(places) == len(sessions):
                if unseen := self._unseen(enforce.expect[PROFILE], sessions, seen):
                    return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, unseen)
                return Judgment(Enforced.YES, ProofReason.SEEN, f"new session {' · '.join(places)}: {how}")
        return self._by_lists(enforce, sessions, seen)

    def _not_at_login(self, enforce: Enforcement, row: Mapping[str, str], seen: Mapping[Address, Seen]) -> str:
        """Return why a row that reads as wanted would not suspend, or let in, the next login; or nothing."""
        if not self._by_profile(enforce):
            return self._off(self._name(enforce), row, seen)
        profile = enforce.expect[PROFILE]
        how = self._effect_of(profile, Access.SUSPENDED, seen, self._given(row, profile, seen))
        return how.detail if isinstance(how, CannotEnforce) else ""

    def _differs(self, enforce: Enforcement, row: Mapping[str, str]) -> str:
        """Return the setting of the row that it should not have, or nothing."""
        if COPIES in row:
            return f"there are {row[COPIES]} {self.menus.what}s of that name now"
        got = row.get(PROFILE, "none")
        return "" if got == enforce.expect[PROFILE] else f"its profile is {got}, not {enforce.expect[PROFILE]}"

    def _older(self, enforce: Enforcement, sessions: Collection[str], began: Mapping[str, str]) -> int:
        """Return how many sessions began before the preview; one of which that is not known counts.

        Where no list tells them apart, and nothing looked for sessions since the writes, one that began between the
        preview and these has the former settings: then each counts that began clearly before them.
        """
        if READ_AT not in enforce.expect:
            return 0
        since_s = int(enforce.expect[READ_AT]) + clock_set_s(enforce.expect) - _UPTIME_S
        if UNTOLD in enforce.expect and IN_FORCE in enforce.expect:
            since_s = max(since_s, int(enforce.expect[IN_FORCE]) - _UPTIME_S)
        times = [began.get(sid, "") for sid in sessions]
        return sum(1 for text in times if not text.isdecimal() or int(text) < since_s)

    def _began_with_the_write(self, enforce: Enforcement, sessions: Collection[str], began: Mapping[str, str]) -> bool:
        """Tell whether a session of which none is `_older` did not begin clearly after the writes either."""
        if READ_AT not in enforce.expect or UNTOLD not in enforce.expect or IN_FORCE not in enforce.expect:
            return False
        return any(int(began[sid]) < int(enforce.expect[IN_FORCE]) + _UPTIME_S for sid in sessions)

    def _by_lists(
        self, enforce: Enforcement, sessions: Mapping[str, Mapping[str, str]], seen: Mapping[Address, Seen]
    ) -> Judgment:
        """Judge sessions of after the change by the router's lists: in all of the suspended profile's, or in none."""
        told = " · ".join(sorted(_addresses(sessions)))
        lists = _expected(enforce)
        names = ", ".join(sorted(lists))
        listed = self._listed(sessions, lists, seen)
        if not all(session.get("address") for session in sessions.values()):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, "a session has no address yet")
        if enforce.expect["state"] == Access.ACTIVE.value:
            if any(listed):
                return Judgment(Enforced.NO, ProofReason.GARDEN, f"{told} still in list {names}")
            how = ProofReason.SEEN if lists or DISABLED in enforce.expect else ProofReason.INFERRED
            new = "new session" if READ_AT in enforce.expect else "session"
            return Judgment(Enforced.YES, how, f"{new} {told}{f', not in {names}' if names else ''}")
        if all(lists <= found for found in listed):
            return Judgment(Enforced.YES, ProofReason.SEEN, f"{told} in list {names}")
        return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, f"{told} is not in list {names}")

    def _unseen(
        self,
        profile: str,  # noqa: ARG002  those whose sessions show it look
        sessions: Mapping[str, Mapping[str, str]],  # noqa: ARG002  as above
        seen: Mapping[Address, Seen],  # noqa: ARG002  as above
    ) -> str:
        """Return why sessions of a profile without lists are not seen to have it; "": they are."""
        return ""

    def _listed(
        self, sessions: Mapping[str, Mapping[str, str]], lists: Collection[str], seen: Mapping[Address, Seen]
    ) -> list[frozenset[str]]:
        """Return for each session's address which of the lists hold it."""
        members = {name: seen[self._at(RouterResource.MEMBERS, name)].value for name in lists}
        return [
            frozenset(name for name, value in members.items() if member(value, ip))
            for ip in sorted(_addresses(sessions))
        ]

    # --- connections ---

    def _garden(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Garden:
        """Return where the rules let a suspended subscriber go; nowhere, where they were not read."""
        read = self._at(RouterResource.FILTER, ALL) in seen
        return garden_of(self._ruleset(seen), _expected(enforce)) if read else Garden()

    def _open_flows(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> str:
        """Return the rule that lets connections pass that were open before; "" where none does, or none was read."""
        if self._at(RouterResource.FILTER, ALL) not in seen:
            return ""
        places = tuple(sorted(_addresses(rows_of(seen[enforce.address].value))))
        found = self._kept(seen, self._confined(enforce.expect[PROFILE], _expected(enforce), places, seen))
        return found.open_flows if isinstance(found, KeptIn) else found.text

    # --- parts ---

    def _at(self, resource: RouterResource, key: str) -> Address:
        return address(self.target, resource, key)

    def _name(self, enforce: Enforcement) -> str:
        found = parse(self.target, enforce.address)
        return found[1] if found else ""

    def _fields(self, wanted: ServiceState) -> Mapping[str, str]:
        """Return the row's settings in a state: its profile, at least."""
        suspended = wanted.access is Access.SUSPENDED
        return {PROFILE: self._method.suspended_profile if suspended else self._method.tariffs[wanted.tariff]}

    def _fields_of(self, wanted: ServiceState, row: Mapping[str, str]) -> Mapping[str, str]:  # noqa: ARG002  other kinds look at it
        """Return the fields of a row in a state; a row that staff disabled stays disabled."""
        return self._fields(wanted)

    def _holds(self, row: Mapping[str, Field]) -> bool:
        """Tell whether a row that reads so keeps its subscriber suspended."""
        return row.get(PROFILE) == self._method.suspended_profile

    def _become(self, row: Mapping[str, Field], fields: Mapping[str, Field]) -> Mapping[str, Field]:
        """Return the row with those fields; its comment says of a suspended one that it is so by us."""
        after = {**row, **fields}
        return after if self._holds(after) is self._holds(row) else marked(after, suspended=self._holds(after))

    def _sessions(self, service: Service, seen: Mapping[Address, Seen]) -> Mapping[str, Mapping[str, str]]:
        return rows_of(seen[self._at(self.menus.active, service.login)].value)

    def _at_large(self, access: Access, service: Service, seen: Mapping[Address, Seen]) -> bool:
        """Tell whether a secret that is as wanted already has a session that is not seen to be so."""
        sessions = self._sessions(service, seen)
        lists = frozenset(self._suspended_lists(seen))
        found = self._listed(sessions, lists, seen)
        if lists and access is Access.ACTIVE:
            return any(found)
        if not lists:  # only the address, or its interface, tells a suspended session
            profile = self._method.suspended_profile
            if not sessions or not profile:
                return False
            how = self._effect_of(profile, Access.SUSPENDED, seen, tuple(sorted(_addresses(sessions))))
            held = not isinstance(how, CannotEnforce) and not self._unseen(profile, sessions, seen)
            return held is (access is Access.ACTIVE)
        return len(found) < len(sessions) or not all(lists <= one for one in found)

    def _passing(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:  # noqa: ARG002  those who have addresses look
        """Return where connections pass of the sessions of a suspended subscriber, which are as wanted."""
        return ()

    def _kept_now(self, service: Service, seen: Mapping[Address, Seen]) -> KeptIn | None:
        """Return how the rules hold the sessions of a suspended subscriber; None: they do not, or there are none."""
        lists, places = self._suspended_lists(seen), tuple(sorted(_addresses(self._sessions(service, seen))))
        kept = self._kept(seen, self._confined(self._method.suspended_profile, lists, places, seen))
        return kept if places and isinstance(kept, KeptIn) else None

    def _that_pass(
        self, flows: Collection[Address], service: Service, seen: Mapping[Address, Seen]
    ) -> Collection[Address]:
        """Return those of the addresses of connections where some pass by the rules."""
        kept, mine = self._kept_now(service, seen), _addresses(self._sessions(service, seen))
        open_flows = kept.open_flows if kept else ""
        garden = garden_of(self._ruleset(seen), self._suspended_lists(seen))
        return [at for at in flows if passing(seen[at].value, garden, open_flows, mine)]

    def _suspended_lists(self, seen: Mapping[Address, Seen]) -> tuple[str, ...]:
        profile = seen.get(self._at(self.menus.profile, self._method.suspended_profile))
        return _lists(profile.value) if profile else ()

    def _refuse_copies(self, login: str, value: Value) -> CannotEnforce | None:
        copies = texts_of(value).get(COPIES)
        if copies is None:
            return None
        return CannotEnforce(MethodReason.AMBIGUOUS_LOGIN, f"{self.target} has {copies} {self.menus.what}s {login}")

    def _refuse_row(self, wanted: ServiceState, service: Service, value: Value) -> CannotEnforce | None:
        """Refuse a change that would lose a profile that nobody mapped, or would not let the subscriber in."""
        ambiguous = self._refuse_copies(service.login, value)
        if ambiguous:
            return ambiguous
        row = texts_of(value)
        tariffs = self._method.tariffs
        for tariff in (service.tariff, wanted.tariff):
            if tariff not in tariffs:
                return CannotEnforce(
                    MethodReason.UNMAPPED_TARIFF, f"method {self._method.name} maps no profile to {tariff}"
                )
        now, mine = row.get(PROFILE, ""), tariffs[service.tariff]
        if now not in (self._method.suspended_profile, mine, tariffs[wanted.tariff]):
            why = f"its profile is {now}, and tariff {service.tariff} is profile {mine}: correct one of them first"
            return CannotEnforce(RouterReason.OTHER_PROFILE, why)
        gives_back = wanted.access is Access.ACTIVE and wanted.tariff == service.tariff
        disabled = {**row, **self._fields_of(wanted, row)}.get(DISABLED) == "true"
        if disabled and wanted.access is Access.ACTIVE and not gives_back:
            return CannotEnforce(
                MethodReason.DISABLED, f"its {self.menus.what} is disabled: with any profile it cannot log in"
            )
        beside = [name for name in _BESIDE if row.get(name)]
        if beside and wanted.access is Access.SUSPENDED and self._method.suspended_profile:
            why = f"its {self.menus.what} has {', '.join(beside)}, which no list holds"
            return CannotEnforce(MethodReason.ROUTES_NOT_HELD, why)
        return None

    def _refuse_more(
        self,
        wanted: ServiceState,  # noqa: ARG002  those who refuse more say so
        service: Service,  # noqa: ARG002  as above
        seen: Mapping[Address, Seen],  # noqa: ARG002  as above
    ) -> CannotEnforce | None:
        """Refuse a state that only this kind of subscriber can have."""
        return None

    def _not_held(self, profile: str, row: Mapping[str, str]) -> CannotEnforce | None:  # noqa: ARG002  as above
        """Refuse a suspended profile with a way out that its address list does not hold."""
        return None

    def _effect_of(
        self, profile: str, access: Access, seen: Mapping[Address, Seen], places: tuple[str, ...]
    ) -> str | CannotEnforce:
        """Return the effect of a profile on its users, or why it differs from `access`.

        `places`: the addresses that they have, or of which they get one; empty: not known.
        """
        value = seen[self._at(self.menus.profile, profile)].value
        if isinstance(value, Absent):
            return CannotEnforce(MethodReason.NO_SUCH_PROFILE, f"{self.target} has no {self.menus.kind} {profile}")
        row = texts_of(value)
        rate = f"rate-limit {row['rate-limit']}" if row.get("rate-limit") else ""
        if access is Access.ACTIVE:
            return rate
        not_held = self._not_held(profile, row)
        if not_held:
            return not_held
        lists = _lists(value)
        confined = self._confined(profile, lists, places, seen)
        if not confined.is_told:
            return CannotEnforce(
                MethodReason.NO_LIST, f"profile {profile} has no address-list, so nothing keeps anybody in"
            )
        kept = self._kept(seen, confined)
        if isinstance(kept, LetOut):
            if lists:
                return CannotEnforce(MethodReason.LIST_WITHOUT_RULE, kept.advice)
            return CannotEnforce(MethodReason.NO_LIST, f"profile {profile} has no address-list, and {kept.advice}")
        return " · ".join(filter(None, (kept.text, cut_text(kept), rate)))

    def _confined(
        self, profile: str, lists: Collection[str], places: tuple[str, ...], seen: Mapping[Address, Seen]
    ) -> Confined:
        """Return how a session looks to the rules; its profile names an interface list for it, and a chain."""
        row = texts_of(seen[self._at(self.menus.profile, profile)].value)
        joined = frozenset(filter(None, (row.get("interface-list", ""),)))
        return Confined(frozenset(lists), places, self.interface, joined, row.get("incoming-filter", ""))

    def _ruleset(self, seen: Mapping[Address, Seen]) -> Ruleset:
        return self._rulesets.at(self._at(RouterResource.FILTER, ALL), seen)

    def _kept(self, seen: Mapping[Address, Seen], confined: Confined) -> KeptIn | LetOut:
        return self._rulesets.kept(seen[self._at(RouterResource.FILTER, ALL)].value, confined)

    def _given(self, row: Mapping[str, str], profile: str, seen: Mapping[Address, Seen]) -> tuple[str, ...]:  # noqa: ARG002  those who know say so
        """Return the addresses of which a subscriber with that row and profile gets one; empty: not known."""
        return ()

    def _enforcement(
        self, service: Service, access: Access, fields: Mapping[str, str], seen: Mapping[Address, Seen]
    ) -> Enforcement:
        lists = self._suspended_lists(seen)
        expect = {"method": self._method.name, "state": access.value, **fields, "lists": ",".join(lists)}
        if not self._outlasted(service, access, fields[PROFILE], seen):
            expect[READ_AT] = str(seen[self._at(self.menus.row, service.login)].at_s)
            kept = fields[PROFILE] == self._method.tariffs.get(service.tariff)
            if access is Access.ACTIVE and not (kept and (lists or DISABLED in fields)):
                expect[UNTOLD] = "yes"
        where = self._at(self.menus.active, service.login)
        return Enforcement(self.target, where, expect, self._method.redial_within_s)

    def _outlasted(self, service: Service, access: Access, profile: str, seen: Mapping[Address, Seen]) -> bool:
        """Tell whether sessions of now are as wanted, by the lists that tell it after the change too.

        One that stays active must never have had another profile than that of the tariff, which the row gets back.
        """
        places = [session.get("address", "") for session in self._sessions(service, seen).values()]
        all_carried = all(self._carried(place, seen) is access for place in places)
        told = access is Access.SUSPENDED or profile == self._method.tariffs.get(service.tariff)
        return bool(places) and all_carried and told

    def _ends(self, service: Service, access: Access, seen: Mapping[Address, Seen]) -> Sequence[Effect]:
        """Return the effect that ends sessions from before the change."""
        return (self._disconnect(service, seen, access.value),)

    def _after_text(self, access: Access, profile: str, how: str, seen: Mapping[Address, Seen]) -> str:  # noqa: ARG002  as above
        return after_text(access, profile, how)

    def _proof_text(self, enforce: Enforcement) -> str:
        return proof_text(Access(enforce.expect["state"]), self._method, new=READ_AT in enforce.expect)

    def _since_row(self, end: Effect, service: Service, seen: Mapping[Address, Seen]) -> Effect:
        """Return the end of sessions without those that begin after a row read as wanted: such a login has its setting.

        All sessions of the preview are ended: `SINCE` is later than their beginnings by more than these may be off. No
        session is spared where no list would tell that it is as wanted, nor by a disabled row, which lets nobody in.
        """
        row, lists = seen[self._at(self.menus.row, service.login)], self._suspended_lists(seen)
        began = texts_of(seen[self._at(self.menus.began, service.login)].value)
        times = [began.get(sid, "") for sid in self._sessions(service, seen)]
        known = all(text.isdecimal() for text in times)
        if end.address != self._at(self.menus.active, service.login) or not lists or not known:
            return end
        if texts_of(row.value).get(DISABLED) == "true":
            return end
        since_s = max([row.at_s, *(int(text) + 2 * _UPTIME_S for text in times)])
        return replace(end, args={**end.args, SINCE: str(since_s)})

    def _disconnect(self, service: Service, seen: Mapping[Address, Seen], what: str) -> Effect:
        """Return the effect; the sessions of now are shown to people: which end is found when it runs."""
        where = self._at(self.menus.active, service.login)
        shown = ", ".join(f"{sid} on {self._router}" for sid in rows_of(seen[where].value)) if where in seen else ""
        return end_of(where, f"{service.ref}:{what}", self._method.disconnect_within_s, now=shown)

    def _display(self, service: Service, seen: Mapping[Address, Seen]) -> dict[str, str]:
        where = seen[self._at(self.menus.active, service.login)]
        sessions = rows_of(where.value)
        began = texts_of(seen[self._at(self.menus.began, service.login)].value)
        display = {
            "now": now_text(sessions, began, where.at_s, self._router),
            "online": "online" if sessions else "offline",
            "sessions": str(len(sessions)),
        }
        return display | ({"nas": self._router} if sessions else {})


class PppAccess(ProfileAccess):
    """Subscribers are PPP secrets.

    One with an address of its own has it again after the redial, and mostly one with an address out of a pool. A
    connection that FastTrack took before passes by the rule that drops the list: such connections are cut once the
    session has ended, and none may be left. Those of a pool's address are cut while a session of the login has it,
    since it may be another household's by then: open connections of a former address are nobody's, or somebody else's.
    """

    menus = Menus(
        "PPP secret",
        "PPP profile",
        RouterResource.SECRET,
        RouterResource.PROFILE,
        RouterResource.ACTIVE,
        RouterResource.SESSION,
        RouterResource.BEGAN,
    )

    interface = PPP

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the needs of a profile's access method; of one that is suspended and online then the connections."""
        missing = super().reads(service, seen) or self._aaa_to_read(service.login, seen)
        return missing or [a for a in self._held_flows(service, seen) if a not in seen]

    def _aaa_to_read(self, login: str, seen: Mapping[Address, Seen]) -> list[Address]:
        row, where = texts_of(seen[self._at(RouterResource.SECRET, login)].value), self._at(RouterResource.AAA, ALL)
        return [where] if row.get(DISABLED) == "true" and where not in seen else []

    def _beside(self, login: str, row: Mapping[str, str], seen: Mapping[Address, Seen]) -> str:
        off = self._off(login, row, seen)
        if not off or texts_of(seen[self._at(RouterResource.AAA, ALL)].value).get("use-radius") not in ("true", "yes"):
            return ""
        return f"{off}, and the router may ask RADIUS about the login (/ppp/aaa use-radius=yes)"

    def _held_flows(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return where connections from before the suspension are read: only where the rules let such pass."""
        row = texts_of(seen[self._at(RouterResource.SECRET, service.login)].value)
        kept = self._kept_now(service, seen) if self._holds(row) else None
        if kept is None or not (kept.fasttracks or kept.open_flows):
            return ()
        return (self._flows_at(service.login, self._own_address(service.login, seen) or _OF_SESSIONS),)

    def _passing(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        return self._that_pass(self._held_flows(service, seen), service, seen)

    def _then_reads(self, seen: Mapping[Address, Seen]) -> Collection[Address]:
        # Only where it hangs on the address that a session will have what the rules do with it
        pools, asks = (
            self._at(RouterResource.POOLS, ALL),
            asks_source(self._ruleset(seen), self._suspended_lists(seen)),
        )
        missing = [pools] if asks and pools not in seen else []
        return [*missing, *self._signs_to_read(self._method.suspended_profile, seen)]

    def _signs_to_read(self, profile: str, seen: Mapping[Address, Seen]) -> list[Address]:
        made = self._at(RouterResource.PROFILE, profile)
        row = texts_of(seen[made].value) if made in seen else {}
        joined = "" if row.get("address-list") else row.get("interface-list", "")
        where = self._at(RouterResource.JOINED, joined)
        return [where] if joined and where not in seen else []

    def _unseen(self, profile: str, sessions: Mapping[str, Mapping[str, str]], seen: Mapping[Address, Seen]) -> str:
        """Return why sessions are not seen to have a profile: by their addresses, or by what the login made.

        A login made its interface a member of the profile's interface list, or a jump to the profile's chain.
        """
        places = tuple(sorted(_addresses(sessions)))
        confined = self._confined(profile, (), places, seen)
        if isinstance(self._kept(seen, replace(confined, joins=frozenset(), chain="")), KeptIn):
            return ""
        if len(sessions) > 1:  # a second session's interface may as well be another login's
            return f"{len(sessions)} sessions: it is not seen that each has profile {profile}"
        (session,) = sessions.values()
        interface = f"<{session.get('service', '')}-{session.get('login', '')}>"
        members = {
            one
            for name in confined.joins
            if (where := self._at(RouterResource.JOINED, name)) in seen
            for one in texts_of(seen[where].value)
        }
        jumps = {
            rule.get("in-interface")
            for rule in self._ruleset(seen).filter
            if confined.chain and rule.get("jump-target") == confined.chain and rule.get("dynamic") == "true"
        }
        if interface in members | jumps:
            return ""
        return f"{interface} is not seen to have profile {profile}: {confined.text} does not have it"

    def _given(self, row: Mapping[str, str], profile: str, seen: Mapping[Address, Seen]) -> tuple[str, ...]:
        made = texts_of(seen[self._at(RouterResource.PROFILE, profile)].value)
        place, pools = row.get("remote-address") or made.get("remote-address", ""), self._at(RouterResource.POOLS, ALL)
        if networks(place):
            return (place,)
        ranges = texts_of(seen[pools].value).get(place, "") if pools in seen else ""
        return tuple(filter(None, ranges.split(",")))

    def _not_held(self, profile: str, row: Mapping[str, str]) -> CannotEnforce | None:
        ipv6 = [name for name in _IPV6 if row.get(name)]
        if not ipv6:
            return None
        return CannotEnforce(MethodReason.IPV6_NOT_HELD, f"profile {profile} hands out IPv6 ({', '.join(ipv6)})")

    def _ends(self, service: Service, access: Access, seen: Mapping[Address, Seen]) -> Sequence[Effect]:
        ends = super()._ends(service, access, seen)
        if access is Access.ACTIVE:
            return ends
        where = self._flows_at(service.login, self._own_address(service.login, seen) or _OF_SESSIONS)
        return (*ends, end_of(where, f"{service.ref}:{access.value}:cut", self._method.disconnect_within_s))

    def _flows_at(self, login: str, whose: str) -> Address:
        if whose == _OF_SESSIONS:
            return self._at(RouterResource.SESSION_FLOWS, login)
        return self._at(RouterResource.FLOWS, whose)

    def _enforcement(
        self, service: Service, access: Access, fields: Mapping[str, str], seen: Mapping[Address, Seen]
    ) -> Enforcement:
        enforce = super()._enforcement(service, access, fields, seen)
        if access is Access.ACTIVE:
            return enforce
        whose = self._own_address(service.login, seen) or _OF_SESSIONS
        return replace(enforce, expect={**enforce.expect, _FLOWS: whose})

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen] = NONE_ENDED
    ) -> Collection[Address]:
        """Return the needs of a profile's access method; then connections, and only where nothing else decides."""
        missing = list(super().enforcement_reads(enforce, seen, ended)) or self._aaa_to_read(self._name(enforce), seen)
        where = self._flows_of(enforce, seen) if not missing else None
        if where is None or super().judge(enforce, seen, ended).enforced is Enforced.NO:
            return missing
        return [where] if where not in seen else []

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Judge as a profile's access method does; no connection may be left that passes by the rules."""
        found, where = super().judge(enforce, seen, ended), self._flows_of(enforce, seen)
        if found.enforced is Enforced.NO or where is None:
            return found
        mine = _addresses(rows_of(seen[enforce.address].value))
        if left := passing(seen[where].value, self._garden(enforce, seen), self._open_flows(enforce, seen), mine):
            whose = enforce.expect[_FLOWS]
            if whose == _OF_SESSIONS:
                whose = " · ".join(sorted(_addresses(rows_of(seen[enforce.address].value))))
            return Judgment(Enforced.NO, ProofReason.STILL_ONLINE, left_text(len(left), whose), (where,))
        return found

    def _flows_of(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Address | None:
        """Return where the connections that count are read; None where nobody could have any."""
        whose = enforce.expect.get(_FLOWS)
        if whose is None or (whose == _OF_SESSIONS and not rows_of(seen[enforce.address].value)):
            return None
        return self._flows_at(self._name(enforce), whose)

    def _own_address(self, login: str, seen: Mapping[Address, Seen]) -> str:
        """Return the address that a secret gives its subscriber at every login; empty: it comes out of a pool."""
        value = texts_of(seen[self._at(RouterResource.SECRET, login)].value).get("remote-address", "")
        return value if networks(value) else ""


def _addresses(sessions: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    return frozenset(s["address"] for s in sessions.values() if s.get("address"))


def _expected(enforce: Enforcement) -> frozenset[str]:
    return frozenset(filter(None, enforce.expect["lists"].split(",")))


def _lists(profile: Value) -> tuple[str, ...]:
    text = "" if profile is ABSENT else texts_of(profile).get("address-list", "")
    return tuple(filter(None, text.split(",")))
