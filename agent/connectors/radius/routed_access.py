"""Access by RADIUS, with the routers that serve it: completes an access method by the hosts of its sessions. Pure.

RADIUS decides a subscriber's policy; whether that means anything is up to the routers. So where a NAS is known as a
router too (`[nas.NAME] router`), a suspension is refused when no rule drops its address list, or its login has a secret
(or a hotspot's user) there, which hides RADIUS; its effect is seen in that router's lists and queues; and a session
that neither CoA nor Disconnect changed is removed there: the last rung of the ladder.

A router is another connector's target. All that is known of it here is `agent.connectors.base.SessionHost`.

A service that is suspended needs nothing of this to be restored, so a router that is away holds up no restore.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from agent.connectors.base import (
    NONE_ENDED,
    OPEN,
    AccessPlan,
    CannotEnforce,
    ClosesGhosts,
    DeviceMethod,
    DeviceNeeds,
    Enforced,
    Example,
    Judgment,
    LiveSession,
    NetworkState,
    SessionHost,
)
from agent.connectors.radius.addresses import live_sessions, sessions_of
from agent.connectors.radius.garden import heard_ones, in_garden, sure_ones
from agent.connectors.radius.schema import Method, Nas
from agent.model import ABSENT, Access, Address, Effect, Enforcement, Seen, Service, ServiceState, Step
from agent.reasons import MethodReason, ProofReason, TargetReason
from trust.plural import counted

_LIST_ATTRIBUTE: Final = "mikrotik-address-list"
_POOL_ATTRIBUTE: Final = "framed-pool"
_LISTS: Final = "router-lists"
"""In an enforcement's `expect`: the address lists of the suspended policy, comma separated."""
OWN: Final = "own-address"
"""In an enforcement's `expect`: the address that a suspended login has at every login, where it has one."""
_CUT_ON: Final = "cut-on"
"""Likewise: the routers on which that address' connections are cut, comma separated."""
_BY_AGE: Final = (ProofReason.OLD_SESSION, ProofReason.AGE_NOT_CERTAIN)
"""Reasons that a router's own word on the session overrules."""
_NAMED: Final = 3
"""Routers that are named for one reason."""
RATE: Final = "rate"
"""In an enforcement's `expect`: the Mikrotik-Rate-Limit that the login gets, where it gets one."""

Session = Mapping[str, str]


class RoutedAccess:
    """Implements `agent.connectors.base.DeviceMethod` and `OnDevices` over a RADIUS access method."""

    def __init__(
        self,
        inner: DeviceMethod,
        method: Method,
        routers: Mapping[str, str],
        hosts: Mapping[str, SessionHost],
        others: Sequence[str] = (),
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take the access method that it completes.

        Args:
            inner: the access method by RADIUS alone.
            method: its section of the configuration.
            routers: accounting address of a NAS -> id of the target that is its API; those that have one.
            hosts: the kinds of such targets, by the first word of their ids.
            others: names of the NAS that have none.
            names: of all NAS, by accounting address.
        """
        self.target = inner.target
        self._inner, self._method, self._routers, self._others = inner, method, routers, others
        self._names = names
        self._hosts, self._kind = hosts, method.sessions.value
        texts = [text for name, text in method.suspended_reply.items() if name.lower() == _LIST_ATTRIBUTE]
        self._lists = tuple(texts)
        self._pooled = any(name.lower() == _POOL_ATTRIBUTE for name in method.suspended_reply)

    @property
    def lists(self) -> tuple[str, ...]:
        """The address lists of the suspended policy."""
        return self._lists

    # --- one router alone ---

    def on_devices(self) -> Mapping[str, RoutedAccess]:
        """Return the access method with each router alone: a suspension rests on the rules of all of them."""
        return {target: self._on({target}) for target in self._targets()}

    def without(self, targets: Collection[str]) -> RoutedAccess:
        """Return the access method with its other routers."""
        return self._on({*self._targets()} - {*targets})

    def _on(self, targets: Collection[str]) -> RoutedAccess:
        routers = {nas: router for nas, router in self._routers.items() if router in targets}
        return RoutedAccess(self._inner, self._method, routers, self._hosts, (), self._names)

    def example(self) -> Example | None:
        """Return the RADIUS access method's."""
        return self._inner.example()

    def needs(self, services: Collection[Service]) -> DeviceNeeds:  # noqa: ARG002  the reply names the lists
        """Return the lists of the suspended reply."""
        return DeviceNeeds(self._lists)

    # --- what is read ---

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the needs of RADIUS; for one that is not suspended also every router's rules, secret and sessions."""
        missing = list(self._inner.reads(service, seen))
        if not service.reasons:
            missing += [
                a for target in self._targets() for a in self._of_router(target, service.login) if a not in seen
            ]
        return missing

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen] = NONE_ENDED
    ) -> Collection[Address]:
        """Return the needs of RADIUS to judge; then the lists and queues of the routers that have a session."""
        missing = list(self._inner.enforcement_reads(enforce, seen, ended))
        if missing:
            return missing
        sessions = self._sessions(enforce, seen)
        if not sessions:
            active = [self._active(target, self._login(enforce)) for target in self._could_hold()]
            if missing := [a for a in active if a not in seen]:
                return missing
        wanted = [a for target in self._online_on(enforce, seen) for a in self._evidence(enforce, target)]
        if missing := [a for a in wanted if a not in seen]:
            return missing
        flows = [a for a in self._flows(enforce, seen).values() if a not in seen]
        # A router's connections are many: they are looked at last, and only where nothing else decides
        return flows if flows and self._judge_policy(enforce, seen, ended).enforced is not Enforced.NO else []

    def _ips(self, target: str, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Collection[str]:
        """Return the addresses of the sessions that a login has on a router."""
        sessions = self._sessions(enforce, seen)
        told = [s.get("ip", "") for s in sessions.values() if self._routers.get(s.get("nas", "")) == target]
        lost = self._unaccounted(self._login(enforce), sessions, seen).get(target, {})
        return sorted(filter(None, (*told, *map(_ip, lost.values()))))

    def _left(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Mapping[str, int]:
        """Return how many connections a suspension left, by router, for those with connections that were read."""
        found: dict[str, int] = {}
        for target, where in self._flows(enforce, seen).items():
            host, rules = self._host(target), seen.get(self._host(target).rules(target, 4))
            if where in seen:
                known, lists = rules.value if rules else ABSENT, _lists_of(enforce)
                mine = self._ips(target, enforce, seen)
                open_flows = host.open_flows(known, self._kind, lists, mine) if rules else ""
                left = host.connections_left(seen[where].value, known, lists, open_flows, mine)
                found |= {target: left} if left else {}
        return found

    def _online_on(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Sequence[str]:
        """Return the routers that have a session of the login."""
        sessions = self._sessions(enforce, seen)
        return (*self._targets_of(sessions), *self._unaccounted(self._login(enforce), sessions, seen))

    def _flows(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Mapping[str, Address]:
        """Return where the connections are read that a suspension must not leave, by router.

        Of the address that the login has at every login; else of those that its sessions have now.
        """
        found = dict[str, Address | None]()
        if enforce.expect["state"] == Access.SUSPENDED.value:
            login = self._login(enforce)
            found = {t: self._host(t).session_connections(t, self._kind, login) for t in self._online_on(enforce, seen)}
        for target in filter(None, enforce.expect.get(_CUT_ON, "").split(",")):
            own = self._host(target).connections(target, enforce.expect.get(OWN, ""))
            found[target] = own or found.get(target)
        return {target: where for target, where in found.items() if where is not None}

    def _of_router(self, target: str, login: str) -> tuple[Address, ...]:
        host = self._host(target)
        lists = (host.members(target, name) for name in self._lists)
        return *self._rules(target), self._own(target, login), self._active(target, login), *lists

    def _rules(self, target: str) -> tuple[Address, ...]:
        """Return where the rules are read of the IP versions that a suspended session may have."""
        versions = (4, 6) if self._method.garden6 else (4,)
        return tuple(self._host(target).rules(target, version) for version in versions)

    def _active(self, target: str, login: str) -> Address:
        return self._host(target).sessions(target, self._kind, login)

    def _unaccounted(
        self, login: str, sessions: Mapping[str, Session], seen: Mapping[Address, Seen]
    ) -> Mapping[str, Mapping[str, Session]]:
        """Return the sessions that a router has and accounting tells nothing of, by router."""
        told = self._targets_of(sessions)
        found = {t: seen[a] for t in self._targets() if t not in told and (a := self._active(t, login)) in seen}
        return {target: rows for target, one in found.items() if (rows := self._host(target).sessions_of(one.value))}

    def _strays(
        self, login: str, sessions: Mapping[str, Session], seen: Mapping[Address, Seen], held: Access | None
    ) -> Sequence[str]:
        """Return the routers with a session that accounting tells nothing of, and that does not carry `held`."""
        found = self._unaccounted(login, sessions, seen)
        if held is None:
            return tuple(found)
        return [
            t for t, rows in found.items() if any(self._listed(t, _ip(row), seen) is not held for row in rows.values())
        ]

    def _own(self, target: str, login: str) -> Address:
        return self._host(target).own_entry(target, self._kind, login)

    def _host(self, target: str) -> SessionHost:
        return self._hosts[target.partition("/")[0]]

    def _evidence(self, enforce: Enforcement, target: str) -> list[Address]:
        host = self._host(target)
        wanted = [host.members(target, name) for name in _lists_of(enforce)]
        if enforce.expect["state"] == Access.SUSPENDED.value:
            wanted += self._rules(target)
        elif RATE in enforce.expect:
            wanted.append(host.speeds(target))
        return wanted

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        """Return the state of RADIUS, with the policies that the routers show of its sessions."""
        state = self._inner.network_state(service, seen)
        read = [t for t in self._targets() if all(a in seen for a in self._of_router(t, service.login))]
        unread = [f"sessions, rules and entries on {_name(t)} were not read" for t in self._targets() if t not in read]
        unread += [f"{name} was not asked for sessions: it has no configured router" for name in self._others]
        hiding = [t for t in read if seen[self._own(t, service.login)].value is not ABSENT]
        accounted = self._open(service, seen).values()
        told = tuple(self._shown(one, nas, seen) for one, nas in zip(state.sessions, accounted, strict=True))
        found = replace(
            state,
            sessions=(*told, *self._unaccounted_sessions(service.login, seen)),
            sessions_by=" and ".join((state.sessions_by, *(f"the list of {_name(t)}" for t in read))),
            unasked=(*state.unasked, *(_name(t) for t in self._could_hold() if t not in read)),
            not_checked=tuple(unread),
        )
        if not hiding:
            return found
        noun = self._host(hiding[0]).entry_noun(self._kind)
        why = f"{_name(hiding[0])} has a {noun} of that name: it hides RADIUS there"
        return replace(found, access=None, unknown=found.unknown or why)

    def _shown(self, told: LiveSession, session: Session, seen: Mapping[Address, Seen]) -> LiveSession:
        """Return a session of accounting with the policy that its router shows, where that was read."""
        target = self._routers.get(session.get("nas", ""), "")
        carries = self._listed(target, session.get("ip", ""), seen) if target else None
        return told if carries is None else replace(told, carries=carries, how=ProofReason.SEEN)

    def _unaccounted_sessions(self, login: str, seen: Mapping[Address, Seen]) -> list[LiveSession]:
        accounted = sessions_of(seen[where].value) if (where := self._accounting(login)) in seen else {}
        found = []
        for target, rows in self._unaccounted(login, accounted, seen).items():
            for row in rows.values():
                ip = _ip(row)
                carries = self._listed(target, ip, seen)
                how = ProofReason.NOT_TOLD if carries is None else ProofReason.SEEN
                found.append(LiveSession(_name(target), f"router {_name(target)}", None, ip, dict(row), carries, how))
        return found

    def _listed(self, target: str, ip: str, seen: Mapping[Address, Seen]) -> Access | None:
        """Return which policy the router's lists say that an address has; None: they do not say."""
        host = self._host(target)
        lists = {name: host.members(target, name) for name in self._lists}
        if not ip or not lists or not all(where in seen for where in (*lists.values(), *self._rules(target))):
            return None
        held = [name for name, where in lists.items() if host.is_member(seen[where].value, ip)]
        if not held:
            return Access.ACTIVE
        kept = len(held) == len(lists) and not self._let_out(target, self._lists, (ip,), seen)
        return Access.SUSPENDED if kept else None

    # --- what is done ---

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the RADIUS access method's plan and the last rung, or why the routers would not do it."""
        planned = self._inner.plan(wanted, service, seen)
        if isinstance(planned, CannotEnforce):
            return planned
        suspended = wanted.access is Access.SUSPENDED
        suspends = suspended and not service.reasons
        own = planned.enforce.expect.get(OWN, "") if planned.enforce else ""
        refusal = self._refuse(service, own, seen) if suspends else None
        if refusal is not None:
            return refusal
        display = self._with_unaccounted(planned.display, service, seen)
        if suspends:
            told = (display.get("after", ""), self._checked(), *self._cut_texts(own, seen))
            display["after"] = " · ".join(filter(None, told))
        enforce = planned.enforce
        held = Access.SUSPENDED if suspends and not planned.steps else None
        steps = self._with_last_rung(planned.steps, service, seen, held)
        if enforce is not None:
            steps, cut_on = self._with_cuts(steps, own, service, seen) if suspended else (steps, {})
            enforce = replace(enforce, expect={**enforce.expect, _LISTS: ",".join(self._lists), **cut_on})
            if suspends and cut_on and (uncut := self._uncut(cut_on)):
                display[OPEN] = f"not checked: connections that its address has on {uncut}, if it logs in there next"
        return replace(planned, steps=steps, enforce=enforce, display=display)

    def _with_cuts(
        self, steps: tuple[Step, ...], own: str, service: Service, seen: Mapping[Address, Seen]
    ) -> tuple[tuple[Step, ...], dict[str, str]]:
        """Return the steps, and cuts of fasttracked connections of an address that the login may have again at once.

        Such a connection outlives its session and passes by the rule that drops the list. `own`: the address that the
        login has at every login, if it has one; else it is the addresses that its sessions have when a cut runs.
        """
        sessions = self._open(service, seen)
        targets = dict.fromkeys((*self._targets_of(sessions), *self._unaccounted(service.login, sessions, seen)))
        last = [step for step in steps if isinstance(step.do, Effect)]
        open_there = {t: self._connections_at(t, own, service.login) for t in targets}
        if not last or not open_there:
            return steps, {}
        cuts = [
            Step(n, target, self._cut(target, where, service), last[0].after)
            for n, (target, where) in enumerate(open_there.items(), start=len(steps) + 1)
        ]
        return (*steps, *cuts), {_CUT_ON: ",".join(open_there)}

    def _uncut(self, cut_on: Mapping[str, str]) -> str:
        """Return the routers that the login may roam to, where no step cuts the connections of its next address."""
        cut = cut_on.get(_CUT_ON, "").split(",")
        names = [_name(target) for target in self._could_hold() if target not in cut]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{', '.join(names[:_NAMED])}{more}"

    def _connections_at(self, target: str, own: str, login: str) -> Address:
        host = self._host(target)
        return host.connections(target, own) or host.session_connections(target, self._kind, login)

    def _cut(self, target: str, where: Address, service: Service) -> Effect:
        key = f"{service.ref}:suspended:cut:{target}"
        return self._host(target).end_of(where, key, self._method.disconnect_within_s)

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the RADIUS access method's disconnect and the last rung."""
        planned = self._inner.disconnect(service, seen)
        if isinstance(planned, CannotEnforce):
            return planned
        display = self._with_unaccounted(planned.display, service, seen)
        return replace(planned, steps=self._with_last_rung(planned.steps, service, seen), display=display)

    def close_ghosts(self, service: Service, seen: Mapping[Address, Seen], silent_h: int) -> AccessPlan | CannotEnforce:
        """Return the RADIUS access method's steps: a row is accounting's, and a NAS answers for its own sessions."""
        if not isinstance(self._inner, ClosesGhosts):
            return CannotEnforce(TargetReason.UNSUPPORTED, f"{self.target} keeps no rows of sessions")
        return self._inner.close_ghosts(service, seen, silent_h)

    def _with_unaccounted(
        self, display: Mapping[str, str], service: Service, seen: Mapping[Address, Seen]
    ) -> dict[str, str]:
        """Return the shown state, with the sessions that only the routers know of."""
        told = [
            f"online on {_name(target)} · {row.get('address', '?')}, which accounting does not tell of"
            for target, rows in self._unaccounted(service.login, self._open(service, seen), seen).items()
            for row in rows.values()
        ]
        if not told:
            return dict(display)
        now = display.get("now", "") if display.get("online") == "online" else ""
        return {**display, "now": "; ".join(filter(None, (now, *told))), "online": "online"}

    def _refuse(self, service: Service, own: str, seen: Mapping[Address, Seen]) -> CannotEnforce | None:
        """Return why a suspension would not hold on one of the routers that may serve the login."""
        for target in self._targets():
            if seen[self._own(target, service.login)].value is not ABSENT:
                noun = self._host(target).entry_noun(self._kind)
                why = f"{_name(target)} has a {noun} {service.login}: it hides RADIUS there"
                return CannotEnforce(MethodReason.LOCAL_SECRET, why)
            if let_out := self._let_out(target, self._lists, self._places(own), seen):
                return CannotEnforce(MethodReason.LIST_WITHOUT_RULE, f"{_name(target)}: {let_out}")
        loose = [text for session in self._open(service, seen).values() for text in _ipv6(session).values()]
        if loose and self._lists and not self._method.garden6:
            why = f"its session has {', '.join(loose)}, which no list holds, and the method has no garden6"
            return CannotEnforce(MethodReason.IPV6_NOT_HELD, why)
        return None

    def _places(self, own: str) -> tuple[str, ...]:
        """Return the addresses of which a suspended session has one; empty: not known."""
        garden4 = self._method.garden4 if self._pooled or not self._lists else ()
        return (*((own,) if own else map(str, garden4)), *map(str, self._method.garden6))

    def _cut_texts(self, own: str, seen: Mapping[Address, Seen]) -> list[str]:
        """Return the sentences on rules that let connections from before pass, a router each."""
        places, found = [one for one in self._places(own) if ":" not in one], []
        for target in self._targets() if self._lists or places else ():
            host = self._host(target)
            rules = seen[host.rules(target, 4)].value
            if text := host.cut_text(rules, self._kind, self._lists, places):
                found.append(f"{_name(target)}: {text}")
        return found

    def _checked(self) -> str:
        if not self._lists and not self._places(""):
            return "not checked: the routers' rules, since the policy has neither an address list nor a garden4"
        unseen = f", not {' '.join(self._others)}" if self._others else ""
        return f"rules above FastTrack checked: {' '.join(map(_name, self._targets()))}{unseen}"

    def _with_last_rung(
        self, steps: Sequence[Step], service: Service, seen: Mapping[Address, Seen], held: Access | None = None
    ) -> tuple[Step, ...]:
        """Return the steps, and for each router that has a session now one that removes it.

        If nothing else ended it; of a session that accounting does not tell of, nothing else can. Such a session stays
        where the router shows that it carries `held` already. Where accounting has none of a service that is to be
        restored, each router is looked at that may have one.
        """
        sessions = self._open(service, seen)
        rungs = tuple(step.n for step in steps if isinstance(step.do, Effect))
        before = steps[rungs[-1] - 1] if rungs else None
        key = before.do.key if before and isinstance(before.do, Effect) else f"{service.ref}:kick"
        after, undone = (before.after, before.on_revert) if before else ((), ())
        added: list[Step] = []
        unknown = [*self._strays(service.login, sessions, seen, held)]
        if rungs and service.reasons and not sessions:  # no router was read: each is when its step runs
            unknown = [*self._could_hold()]
        for target in (*(self._targets_of(sessions) if rungs else ()), *unknown):
            again = tuple(self._remove(target, service, effect.key) for effect in undone)
            fallback_for = rungs if target in self._targets_of(sessions) else ()
            n = len(steps) + len(added) + 1
            added.append(Step(n, target, self._remove(target, service, key), after, again, fallback_for))
        return (*steps, *added)

    def _remove(self, target: str, service: Service, key: str) -> Effect:
        where = self._active(target, service.login)
        return self._host(target).end_of(where, f"{key}:{target}", self._method.disconnect_within_s)

    # --- what came of it ---

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Judge by RADIUS and by the routers' lists: a state that they contradict is not so, in spite of RADIUS."""
        found = self._judge_policy(enforce, seen, ended)
        if found.enforced is Enforced.NO:
            return found
        if left := self._left(enforce, seen):
            said = [(n, f"of {self._login(enforce)} on {_name(t)}") for t, n in left.items()]
            told = [
                f"{counted(n, f'connection {of} carries', f'connections {of} carry')} on as before" for n, of in said
            ]
            again = tuple(self._flows(enforce, seen)[target] for target in left)
            return Judgment(Enforced.NO, ProofReason.STILL_ONLINE, " · ".join(told), again)
        return found

    def _judge_policy(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]
    ) -> Judgment:
        """Judge by the policies that the sessions have, whatever is open of before."""
        found = self._inner.judge(enforce, seen, ended)
        if found.how == ProofReason.STILL_ONLINE or (found.enforced, found.how) == (
            Enforced.NO,
            ProofReason.NOT_PROVEN,
        ):
            return found
        if found.enforced is Enforced.UNPROVEN and self._has_strays(enforce, seen):
            return found
        if found.enforced in (Enforced.PENDING, Enforced.UNPROVEN) or found.how == ProofReason.STAYS_REJECTED:
            return self._judge_unaccounted(enforce, seen) or self._with_lists(enforce, seen, found)
        sessions = self._sessions(enforce, seen)
        evidence = [self._of_session(enforce, session, seen) for session in sessions.values()]
        wrong = [text for how, text in evidence if how is Enforced.NO]
        if wrong:
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, "; ".join(wrong))
        told = [text for how, text in evidence if how is Enforced.YES]
        if sessions and len(told) == len(sessions) and (found.enforced is Enforced.YES or found.how in _BY_AGE):
            return Judgment(Enforced.YES, ProofReason.SEEN, "; ".join(told))
        return found

    def _has_strays(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> bool:
        """Tell whether a login to be active has a session on no configured NAS: no router speaks for that."""
        known = {*self._names, *self._routers}
        nas = {s.get("nas", "") for s in live_sessions(seen[enforce.address].value).values()}
        return enforce.expect["state"] == Access.ACTIVE.value and not nas <= known

    def _judge_unaccounted(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Judgment | None:
        """Judge a login that is offline by accounting by the sessions that routers have; None: none has."""
        active = enforce.expect["state"] == Access.ACTIVE.value
        live, sure = live_sessions(seen[enforce.address].value), self._sessions(enforce, seen)
        told: list[str] = []
        for target, rows in self._unaccounted(self._login(enforce), {}, seen).items():
            nas = next(nas for nas, router in self._routers.items() if router == target)
            for row in rows.values():
                there = {"nas": nas, "ip": row.get("address", "")}
                goes_on = next((s for u, s in live.items() if u not in sure and there.items() <= s.items()), None)
                how, text = self._of_session(enforce, goes_on or there, seen)
                where = f"{row.get('address', '?')} on {_name(target)}"
                if how is Enforced.PENDING and active and _lists_of(enforce):
                    how, text = Enforced.YES, f"{where} not in list {', '.join(_lists_of(enforce))}"
                elif how is Enforced.PENDING and active and goes_on:  # a router without lists shows that it is not over
                    how, text = Enforced.YES, f"{where} goes on"
                if how is not Enforced.YES:
                    text = f"{text or where}: a session that accounting does not tell of"
                    return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, text)
                told.append(text)
        # Another one that nobody reads may follow a session that may be over on a NAS without a router
        unread = any(uid not in sure and s.get("nas", "") not in self._routers for uid, s in live.items())
        return Judgment(Enforced.YES, ProofReason.SEEN, "; ".join(told)) if told and not unread else None

    def _with_lists(self, enforce: Enforcement, seen: Mapping[Address, Seen], found: Judgment) -> Judgment:
        """Return a judgment of nobody online, with the lists of the routers: all of them prove it."""
        login = self._login(enforce)
        read = [target for target in self._could_hold() if self._active(target, login) in seen]
        if found.how != ProofReason.NONE_KNOWN or not read:
            return found
        detail = f"{found.detail}; {', '.join(map(_name, read))} listed no session of it"
        unread = [name for name in self._others if not self._method.nas or name in self._method.nas]
        how = ProofReason.NONE_KNOWN if unread or len(read) < len(self._could_hold()) else ProofReason.OFFLINE
        return replace(found, how=how, detail=detail)

    def _login(self, enforce: Enforcement) -> str:
        return enforce.address.removeprefix(f"{self.target}/sessions/")

    def _of_session(self, enforce: Enforcement, session: Session, seen: Mapping[Address, Seen]) -> tuple[Enforced, str]:
        """Return the verdict of a session's router on it; PENDING where it shows nothing that says so."""
        target, ip = self._routers.get(session.get("nas", ""), ""), session.get("ip", "")
        if not target or not ip:
            return Enforced.PENDING, ""
        host, where = self._host(target), f"{ip} on {_name(target)}"
        lists = _lists_of(enforce)
        held = [n for n in lists if host.is_member(seen[host.members(target, n)].value, ip)]
        if enforce.expect["state"] == Access.SUSPENDED.value:
            if not lists and not self._pooled and not self._places(""):
                return Enforced.PENDING, ""  # a policy without a place or list, such as a speed
            if len(held) < len(lists):
                return Enforced.NO, f"{where} is not in list {', '.join(n for n in lists if n not in held)}"
            if let_out := self._let_out(target, lists, (ip, *_ipv6(session).values()), seen):
                return Enforced.NO, f"{where}: {let_out}"
            if not lists:
                return Enforced.PENDING, ""  # the rules are right, and what RADIUS says of the address counts
            loose = _ipv6(session)
            if loose and not enforce.expect.get("garden6"):
                return Enforced.NO, f"{', '.join(loose.values())} on {_name(target)} is in no list"
            if loose and not in_garden(loose, enforce.expect):
                return Enforced.PENDING, ""  # what RADIUS says of it counts
            return Enforced.YES, f"{where} in list {', '.join(held)}"
        if held:
            return Enforced.NO, f"{where} is still in list {', '.join(held)}"
        return self._speed(enforce, session, target, seen) if RATE in enforce.expect else (Enforced.PENDING, "")

    def _speed(
        self, enforce: Enforcement, session: Session, target: str, seen: Mapping[Address, Seen]
    ) -> tuple[Enforced, str]:
        """Return whether the queue that the session brought has the speed that its login gets."""
        rate = enforce.expect[RATE].split(" ")[0]  # rx[/tx]
        host = self._host(target)
        found, text = host.speed_of(seen[host.speeds(target)].value, session.get("login", ""), rate)
        if found is Enforced.NO:
            return found, f"its queue on {_name(target)} has {text}"
        return found, f"queue {text} on {_name(target)}" if found is Enforced.YES else ""

    def _let_out(
        self, target: str, lists: Collection[str], places: Collection[str], seen: Mapping[Address, Seen]
    ) -> str:
        """Return why a router's rules let a session with such lists or addresses out; empty: they keep it in."""
        host, found = self._host(target), []
        for version, where in zip((4, 6), self._rules(target), strict=False):
            of_version = [one for one in places if (":" in one) is (version == 6)]
            # what a router puts in an address list at the login is the IPv4 address
            members = lists if version == 4 else ()
            if members or of_version:
                found.append(host.let_out(seen[where].value, self._kind, members, of_version))
        return "; ".join(filter(None, found))

    # --- parts ---

    def _targets(self) -> Sequence[str]:
        return tuple(dict.fromkeys(self._routers.values()))

    def _could_hold(self) -> Sequence[str]:
        """Return the routers on which a login of the access method may be."""
        named = [
            r for nas, r in self._routers.items() if not self._method.nas or self._names.get(nas) in self._method.nas
        ]
        return tuple(dict.fromkeys(named))

    def _targets_of(self, sessions: Mapping[str, Session]) -> Sequence[str]:
        found = (self._routers.get(session.get("nas", "")) for session in sessions.values())
        return tuple(dict.fromkeys(target for target in found if target))

    def _open(self, service: Service, seen: Mapping[Address, Seen]) -> Mapping[str, Session]:
        where = self._accounting(service.login)
        return live_sessions(seen[where].value) if where in seen else {}

    def _accounting(self, login: str) -> Address:
        return Address(f"{self.target}/sessions/{login}")

    def _sessions(self, enforce: Enforcement, seen: Mapping[Address, Seen]) -> Mapping[str, Session]:
        """Return the sessions of accounting without those that seem to be as wanted, and may be over."""
        live = live_sessions(seen[enforce.address].value)
        active = enforce.expect["state"] == Access.ACTIVE.value
        return heard_ones(live, enforce.expect) if active else sure_ones(live, enforce.expect)


def _lists_of(enforce: Enforcement) -> tuple[str, ...]:
    return tuple(filter(None, enforce.expect.get(_LISTS, "").split(",")))


def _ipv6(session: Session) -> dict[str, str]:
    """Return the IPv6 addresses and prefixes of a session, which a list of IPv4 addresses does not hold."""
    return {name: session[name] for name in ("address6", "ip6", "pd") if session.get(name)}


def _ip(row: Session) -> str:
    """Return the address of a router's session."""
    return row.get("address", "")


def _name(target: str) -> str:
    return target.partition("/")[2]


def read_by_routers(nas: Iterable[Nas], hosts: Mapping[str, SessionHost]) -> Mapping[str, str]:
    """Return the targets that are the APIs of NAS, by the NAS' accounting address, for those with sessions that are
    read.
    """
    return {n.accounting: n.router_target for n in nas if n.router_target.partition("/")[0] in hosts}
