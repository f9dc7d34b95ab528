"""How a service state becomes RADIUS rows: the access method. Pure: it takes values that were read.

Suspended is a marker group at a low priority, added beside the tariff's group and taken away again: nothing of the
tariff is lost. Whether the marker wins is computed (`evaluator`) before anything is written, since Fall-Through and
operators decide it. A session keeps its policy of the login, so each change ends the sessions; the result is judged
from the sessions that come.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agent.connectors.base import (
    NONE_ENDED,
    WARNING,
    AccessPlan,
    CannotEnforce,
    DeviceNeeds,
    Enforced,
    Example,
    Judgment,
    NetworkState,
    clock_set_s,
)
from agent.connectors.radius.access_text import (
    NO_ADDRESS,
    after_text,
    ghost_rows_text,
    ghosts_text,
    left_text,
    may_live_text,
    mixed_text,
    none_known_text,
    now_text,
    proof_text,
    rejected_after,
    rejected_proof,
    unmet_text,
)
from agent.connectors.radius.addresses import (
    BY_NAME,
    CACHED,
    CLOSE,
    CONFIGURED,
    EACH_ANSWERS,
    IN,
    KNOWN,
    MAY_BE_OVER,
    NAS,
    NOT_IN,
    NOW,
    OUTSIDE,
    RIGHT_SINCE,
    SAME_AS,
    SPARED,
    UNASKED,
    WRITE,
    RadiusResource,
    accounted_fields,
    address,
    began_s,
    clock_of,
    held_key,
    live_sessions,
    parse,
    same_login,
    session_fields,
    sessions_of,
    silent,
)
from agent.connectors.radius.answers import ACK_ALONE, NOT_ASKED, held_why
from agent.connectors.radius.beginnings import CLOCKS_S, Began, is_another, when_began
from agent.connectors.radius.evaluator import (
    Accepted,
    CannotTell,
    Expiring,
    Outcome,
    Rejected,
    effective_reply,
    expires_within,
    holds,
    may_reject,
)
from agent.connectors.radius.garden import (
    addresses_text,
    garden_text,
    goes_on_outside,
    heard_ones,
    in_garden,
    is_outside,
    outside,
    partly_in_garden,
    pins_an_address,
    stays_in_garden,
    sure_ones,
    unheard_text,
)
from agent.connectors.radius.network_state import StateReader, rejection_text
from agent.connectors.radius.reasons import RadiusReason
from agent.connectors.radius.rowset import MalformedRowSetError, fields_of, rows_of
from agent.connectors.radius.schema import NO_PLACES, Database, NasPlaces
from agent.model import (
    ABSENT,
    Access,
    Address,
    Effect,
    EffectKind,
    Enforcement,
    Field,
    ProofKind,
    Replay,
    SecretRef,
    Seen,
    Service,
    ServiceState,
    Step,
    Transition,
    Value,
)
from agent.reasons import MethodReason, ProofReason
from agent.spelling import near_spellings
from trust.moments import moment_text
from trust.plural import counted

if TYPE_CHECKING:
    from agent.connectors.radius.schema import Method, SqlTarget

_GROUP: Final = "group:"
_REPLY: Final = "reply:"
_READ_AT: Final = "read-at"
"""In an enforcement's `expect`: when the rows were read for the preview, in unix seconds."""
_NOT_ASKED: Final = "not-asked"
"""Likewise: names of the NAS that could hold a session, and that nobody asks."""
_REJECTED: Final = "rejected"
"""Likewise: the login is rejected by rows that are not ours, before and after."""
_OPPOSITE: Final = {Access.SUSPENDED: Access.ACTIVE, Access.ACTIVE: Access.SUSPENDED}
_ACTIVE: Final = Access.ACTIVE.value
_PRIORITY: Final = "1"
"""Of a tariff's group where the user had none: the column's default."""

DISCONNECT: Final = "disconnect"
COA: Final = "coa"
EFFECTS: Final[Mapping[str, frozenset[EffectKind]]] = {
    DISCONNECT: frozenset({EffectKind.DISCONNECT}),
    COA: frozenset({EffectKind.CHANGE_OF_AUTHORIZATION}),
}
"""Kinds by verb. Both are requests to a NAS (RFC 5176)."""
_RATE: Final = "Mikrotik-Rate-Limit"
_OWN_ADDRESS: Final = "Framed-IP-Address"
_EXAMPLE: Final = "ispagent-example"
"""The login of a subscriber that does not exist."""
_NONE: Final = Seen(ABSENT, 0)
_NEAR_S: Final = 36 * 3600
"""How near an Expiration is for the server's clock and zone to matter: zones differ by 26 hours at most."""
_SEEN_S: Final = 5
"""How long a CoA may take until a router shows its effect; chosen arbitrarily."""

Session = Mapping[str, str]


@functools.lru_cache(maxsize=CACHED)
def _told_at(what: RadiusResource, target: str, login: str, names: str) -> Mapping[str, Address]:
    """Return where NAS with these names, separated by commas, tell of a login: by name. Each judgment asks for all."""
    each = filter(None, names.split(","))
    return {name: address(target, what, held_key(name, login)) for name in each}


class RadiusAccess:
    """One access method: implements `agent.connectors.base.DeviceMethod`; of itself it knows no device."""

    def __init__(
        self,
        method: Method,
        target: SqlTarget,
        nas_names: Mapping[str, str],
        zone: tzinfo = UTC,
        watched: Collection[str] = (),
        places: NasPlaces = NO_PLACES,
    ) -> None:
        """Take the access mapping.

        Args:
            method: with the meanings of active and suspended.
            target: the database; its kind says how it compares group names.
            nas_names: accounting address -> name of the NAS, all that are configured.
            zone: the RADIUS server's, in which it reads dates (Expiration).
            watched: accounting addresses of NAS that show the effect of a CoA.
            places: the NAS that could hold a session which accounting does not know.
        """
        self.target = target.id
        self._watched, self._places = watched, places
        self._method, self._sql, self._nas_names, self._zone = method, target, nas_names, zone
        self._clock = address(target.id, RadiusResource.CLOCK, NOW)
        self._reader = StateReader(method, target, nas_names, self._same)
        self._kept: tuple[Seen, Mapping[Address, Seen], Outcome] | None = None

    def example(self) -> Example:
        """Return a subscriber in the first tariff's group, with a password and no session."""
        tariff, group = next(iter(self._method.tariffs.items()), ("", ""))
        service = Service("", "", "an example", "", _EXAMPLE, self._method.name, tariff)
        rows: dict[str, Field] = {"check:Cleartext-Password": SecretRef("00" * 32)}
        rows |= {f"{_GROUP}{group}": _PRIORITY} if group else {}
        return Example(service, {self._user(_EXAMPLE): rows, self._sessions(_EXAMPLE): ABSENT})

    def needs(self, services: Collection[Service]) -> DeviceNeeds:  # noqa: ARG002  it rests on no device
        """Return nothing: RADIUS alone rests on no device."""
        return DeviceNeeds()

    # --- what is read ---

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the user and its sessions, then the groups that it is or may come to be in.

        For a user that is not there, whether one of another spelling is: a person then has to correct that.
        """
        user = self._user(service.login)
        missing = [a for a in (user, self._sessions(service.login)) if a not in seen]
        if user in seen and seen[user].value is ABSENT:
            missing += [a for a in map(self._user, near_spellings(service.login)) if a not in seen]
        if user in seen and SAME_AS not in fields_of(seen[user].value) and seen[user].value is not ABSENT:
            names = {*_groups_of(seen[user].value), self._sql.marker_group, *self._method.tariffs.values()}
            allowed = map(self._privileges, (WRITE, CLOSE))
            missing += [a for a in (*map(self._group, sorted(names)), *allowed) if a not in seen]
            missing = missing or self._clock_reads(seen[user], seen)
        return missing

    def _clock_reads(self, user: Seen, seen: Mapping[Address, Seen]) -> list[Address]:
        """Return where the server's clock is read, if that is missing and an Expiration is near."""
        groups = self._group_values(user.value, seen)
        now = datetime.fromtimestamp(user.at_s, self._zone)
        near = self._clock not in seen and expires_within(user.value, groups, now=now, within_s=_NEAR_S)
        return [self._clock] if near else []

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen] = NONE_ENDED
    ) -> Collection[Address]:
        """Return the sessions and the rows of now, the answers of NAS if there never was a session, and the groups."""
        user = self._user(self._login(enforce))
        if enforce.address not in seen:
            return [a for a in (enforce.address, user) if a not in seen]
        where = seen[enforce.address]
        if not self._ended_known_one(where, ended) and not self._judged(enforce, where):
            told = (*self._held(enforce).values(), *self._held(enforce, RadiusResource.ACKED).values())
            missing = [where for where in told if where not in seen]
            if missing:
                return missing
        if user not in seen:
            return [user]
        sure = self._sure(enforce, self._judged(enforce, where))
        seem_old = self._seem_old(enforce, sure, where.at_s, ended)
        if missing := [a for a in self._accounted(seem_old, ended) if a not in seen]:
            return missing
        missing = [g for g in map(self._group, _groups_of(seen[user].value)) if g not in seen]
        return missing or self._clock_reads(seen[user], seen)

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        """Return the reply of a login now, and its open sessions as accounting has them."""
        user, sessions = seen[self._user(service.login)], self._open_sessions(service, seen)
        refusal = self._refuse_login(service, seen, sessions)
        if refusal:
            outcome: Outcome = CannotTell(refusal.detail)
        else:
            try:
                outcome = self._today(service.login, seen)
            except MalformedRowSetError as err:
                outcome = CannotTell(str(err))
        state = self._reader.state(user.value, outcome, sessions, service.tariff)
        unasked = (*self._places.asked, *self._places.not_asked)
        return replace(state, absent=user.value is ABSENT, unasked=unasked)

    # --- what is done ---

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the row set transition and the disconnect, or why the state would not take effect."""
        try:
            return self._plan(wanted, service, seen)
        except MalformedRowSetError as err:
            return CannotEnforce(MethodReason.CANNOT_TELL, str(err))

    def _plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        before = seen[self._user(service.login)]
        sessions = self._open_sessions(service, seen)
        at_s = seen[self._sessions(service.login)].at_s
        refusal = self._refuse_login(service, seen, sessions)
        refusal = refusal or self._refuse_nas(wanted.access, sessions, at_s)
        if refusal:
            return refusal
        tariff = wanted.tariff if wanted.tariff != service.tariff else None
        refusal = self._refuse_groups(wanted, tariff, seen)
        if refusal:
            return refusal
        after = self._after(before.value, wanted.access, tariff)
        today = self._today(service.login, seen)
        outcome = self._outcome(service.login, Seen(after, before.at_s), seen)
        suspends = wanted.access is Access.SUSPENDED
        # A suspension never turns a reject into an accept: the marker group would let somebody in whom staff keep out
        if suspends and isinstance(today, Rejected) and not isinstance(outcome, Rejected):
            return self._leave_rejected(wanted, service, today, seen)
        reply = self._wanted_reply(wanted.access)
        refusal = self._refuse_turn(wanted, tariff, today, outcome) or self._refuse_outcome(
            wanted.access, outcome, reply, after
        )
        refusal = refusal or self._refuse_guess(wanted.access, before, today, seen)
        if refusal:
            return refusal
        display = {
            **self._display(service, seen, wanted.access),
            "after": self._after_text(wanted.access, outcome),
            "proof": proof_text(wanted.access, self._method, self._places),
        }
        enforce = self._enforcement(service, wanted, reply, before.at_s)
        if isinstance(outcome, Rejected):
            enforce = replace(enforce, expect={**enforce.expect, _REJECTED: "yes"})
            display["proof"] = rejected_proof(wanted.access)
        rate = outcome.get(_RATE) if isinstance(outcome, Accepted) else ()
        if len(rate) == 1 and wanted.access is Access.ACTIVE:
            enforce = replace(enforce, expect={**enforce.expect, "rate": rate[0]})
        own = outcome.get(_OWN_ADDRESS) if isinstance(outcome, Accepted) else ()
        if len(own) == 1 and suspends:
            enforce = replace(enforce, expect={**enforce.expect, "own-address": own[0]})
        groups = self._groups_read(after, seen) if suspends else ()
        right = self._right(wanted, service, sessions, (today, outcome), before.at_s)
        # Sessions that never were suspended have what a restore wants already: to end them helps nobody
        if SPARED in right:
            enforce = replace(enforce, expect={**enforce.expect, SPARED: right[SPARED]})
        drop = self._disconnect(service, wanted.access, sessions, right=right)
        if after == before.value:
            rests_on = (self._user(service.login), *self._groups_read(after, seen))
            ending = AccessPlan((Step(1, self.target, drop),), enforce, display, rests_on)
            if self._may_be_wrong(wanted, service, sessions, enforce, outcome):
                return ending
            return replace(ending, steps=(), enforce=_told(enforce) if isinstance(outcome, Rejected) else None)
        if refusal := self._refuse_unprivileged(WRITE, seen):
            return refusal
        write = Step(1, self.target, (Transition(self._user(service.login), before, after),))
        again = (self._disconnect(service, _OPPOSITE[wanted.access], {}, f"{wanted.access.value}-revert"),)
        live = self._live_change(wanted, service, outcome, sessions, seen)
        if live is None:
            return AccessPlan(
                (write, Step(2, self.target, drop, after=(1,), on_revert=again)), enforce, display, groups
            )
        effects = Step(2, self.target, live, after=(1,)), Step(3, self.target, drop, (1,), again, fallback_for=(2,))
        return AccessPlan((write, *effects), enforce, display)

    def _leave_rejected(
        self, wanted: ServiceState, service: Service, today: Rejected, seen: Mapping[Address, Seen]
    ) -> AccessPlan:
        """Return the plan for a login that is rejected, and that the marker would let in: open sessions are ended."""
        user, sessions = seen[self._user(service.login)], self._open_sessions(service, seen)
        why = rejection_text(today, self._sql, self._same)
        display = {
            **self._display(service, seen, wanted.access),
            "after": rejected_after(wanted.access, why, self._sql.marker_group, written=False),
            "proof": rejected_proof(wanted.access),
        }
        rests_on = (self._user(service.login), *self._groups_read(user.value, seen))
        enforce = self._enforcement(service, wanted, {}, user.at_s)
        enforce = replace(enforce, expect={**enforce.expect, _REJECTED: "yes"})
        if not sessions and not self._unknown(not service.reasons, sessions):
            return AccessPlan((), _told(enforce), display, rests_on)
        drop = Step(1, self.target, self._disconnect(service, wanted.access, sessions))
        return AccessPlan((drop,), enforce, display, rests_on)

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the disconnect alone; no steps when there is no session, nor a NAS to ask for one."""
        sessions = self._open_sessions(service, seen)
        at_s = seen[self._sessions(service.login)].at_s
        may_end = bool(sessions or self._places.asked)
        refusal = self._refuse_login(service, seen, sessions, may_be_absent=may_end)
        refusal = refusal or self._refuse_nas(None, sessions, at_s)
        if refusal:
            return refusal
        display = {**self._display(service, seen), "after": "logs in again, to what it had"}
        steps = (Step(1, self.target, self._disconnect(service, None, sessions, "kick")),) if may_end else ()
        return AccessPlan(steps, None, display)

    def close_ghosts(self, service: Service, seen: Mapping[Address, Seen], silent_h: int) -> AccessPlan | CannotEnforce:
        """Return for each open row on which accounting is silent a question to its NAS, and the row's end.

        The question is a Disconnect-Request for that very session: one that its NAS still has ends by it.
        """
        refusal = self._refuse_login(service, seen, self._open_sessions(service, seen), may_be_absent=True)
        if refusal:
            return refusal
        where = seen[self._sessions(service.login)]
        rows = {u: s for u, s in sessions_of(where.value).items() if silent(s, where.at_s, silent_h)}
        if rows and (refusal := self._refuse_unprivileged(CLOSE, seen)):
            return refusal
        steps: list[Step] = []
        for unique_id, session in rows.items():
            after: tuple[int, ...] = ()
            if session.get("nas", "") in self._nas_names:
                steps.append(Step(len(steps) + 1, self.target, self._ask_about(service, unique_id, session)))
                after = (len(steps),)
            row = address(self.target, RadiusResource.ROW, unique_id)
            write = (Transition(row, Seen(accounted_fields(session), where.at_s), ABSENT),)
            steps.append(Step(len(steps) + 1, self.target, write, after=after))
        told = ghost_rows_text(rows.values(), where.at_s, self._nas_names)
        may_live = may_live_text([s for s in rows.values() if s.get("nas", "") in self._nas_names], self._nas_names)
        display = {**self._display(service, seen), "after": told, WARNING: may_live}
        return AccessPlan(tuple(steps), None, {name: text for name, text in display.items() if text})

    def _ask_about(self, service: Service, unique_id: str, session: Session) -> Effect:
        return Effect(
            address=address(self.target, RadiusResource.SESSION, unique_id),
            verb=DISCONNECT,
            args={"now": f"{session.get('sid', unique_id)} on {self._nas_name(session)}"},
            key=f"{service.ref}:stale:{unique_id}",
            replay=Replay.IF_UNPROVEN,
            proof=ProofKind.GONE,
            within_s=self._method.disconnect_within_s,
        )

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Judge from the sessions that are open now; those in `ended` must be gone.

        A row that its NAS denied is no session. One on no configured NAS is not judged when accounting has been silent
        on it for long: the detail says so.
        """
        where = seen[enforce.address]
        sessions = self._judged(enforce, where)
        sure = self._sure(enforce, sessions)
        if len(sure) < len(sessions):
            found = self._judge_unsure(enforce, sessions, seen, ended)
        elif sessions:
            found = self._judge_open(enforce, sessions, seen, ended)
            if found.enforced is Enforced.YES and self._is_active(enforce) and not heard_ones(sessions, enforce.expect):
                # It is not ended for that: its NAS may have done nothing, and its subscriber be a payer
                text = f"not proven: {unheard_text(sessions.values())}; the next login gets what is wanted"
                found = Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, text)
        else:
            found = self._judge_none(enforce, seen, ended)
        if _REJECTED in enforce.expect and found.enforced is not Enforced.UNPROVEN:
            still_there = found.how in (ProofReason.STILL_ONLINE, ProofReason.NOT_PROVEN)
            found = found if still_there else self._judge_rejected(enforce, sessions, seen) or found
        if found.how in (ProofReason.GARDEN, ProofReason.NONE_KNOWN) and found.enforced is not Enforced.NO:
            found = self._with_next_login(enforce, seen, found)
        if self._is_active(enforce):
            return self._beside_strays(enforce, where, found)
        left = left_text(self._left(live_sessions(where.value), where.at_s).values(), where.at_s)
        return replace(found, detail=f"{found.detail}; {left}") if left else found

    def _beside_strays(self, enforce: Enforcement, where: Seen, found: Judgment) -> Judgment:
        """Return the judgment of a restore beside sessions on no configured NAS, which it leaves as they are.

        One of which accounting heard of late may be in the garden: nobody can ask its NAS, and nothing is proven.
        """
        own = self._own(enforce, where)
        strays = {uid: s for uid, s in own.items() if uid not in self._on_nas(own)}
        left = left_text(strays.values(), where.at_s)
        heard = [s for s in strays.values() if not self._is_silent(s, where.at_s)]
        if found.enforced in (Enforced.YES, Enforced.PENDING) and not all(is_outside(s, enforce.expect) for s in heard):
            return Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, f"not proven: {left}")
        return replace(found, detail=f"{found.detail}; {left}") if left else found

    def _own(self, enforce: Enforcement, where: Seen) -> Mapping[str, Session]:
        """Return the login's own sessions, without ghosts."""
        login = self._login(enforce)
        return {u: s for u, s in live_sessions(where.value).items() if same_login(s.get("login", login), login)}

    def _sure(self, enforce: Enforcement, sessions: Mapping[str, Session]) -> Mapping[str, Session]:
        """Return the sessions that tell something: for a suspension without those in the garden that may be over."""
        return sessions if self._is_active(enforce) else sure_ones(sessions, enforce.expect)

    def _judge_unsure(
        self,
        enforce: Enforcement,
        sessions: Mapping[str, Session],
        seen: Mapping[Address, Seen],
        ended: Mapping[Address, Seen],
    ) -> Judgment:
        """Judge a suspension with a session that may be over: it is not proven, unless another session disproves it."""
        sure = self._sure(enforce, sessions)
        found = self._judge_open(enforce, sure, seen, ended) if sure else None
        if found is not None and found.enforced is Enforced.NO:
            return found
        text = f"not proven: {unheard_text(s for uid, s in sessions.items() if uid not in sure)}"
        return Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, text, (enforce.address,))

    def _judge_open(
        self,
        enforce: Enforcement,
        sessions: Mapping[str, Session],
        seen: Mapping[Address, Seen],
        ended: Mapping[Address, Seen],
    ) -> Judgment:
        suspended = not self._is_active(enforce)
        if left := self._carry_on(enforce, sessions, ended):
            # A database that fails over forgets the end that was seen in it: only the NAS can say how it is. An ACK
            # proves nothing: some NAS and proxies acknowledge a Disconnect for a session that they do not have
            how, text = ProofReason.NOT_PROVEN, f"not proven: {unheard_text(sessions[uid] for uid in left)}"
            if known := [uid for uid in left if not {MAY_BE_OVER, UNASKED} & sessions[uid].keys()]:
                how, text = (
                    ProofReason.STILL_ONLINE,
                    f"{counted(len(known), 'session carries', 'sessions carry')} on as before",
                )
            # A batch stops by it either way: a NAS with another secret answers nothing, and nobody is suspended
            return Judgment(Enforced.NO, how, text, (enforce.address,))
        told = " · ".join(filter(None, map(addresses_text, sessions.values())))
        if suspended and all(in_garden(s, enforce.expect) for s in sessions.values()):
            return Judgment(Enforced.YES, ProofReason.GARDEN, garden_text(sessions.values(), enforce.expect))
        if not suspended and (walled := [s for s in sessions.values() if partly_in_garden(s, enforce.expect)]):
            return Judgment(Enforced.NO, ProofReason.GARDEN, garden_text(walled, enforce.expect, "still "))
        new = self._come(enforce, sessions)
        at_s = seen[enforce.address].at_s
        seem_old = {
            uid: self._began(enforce, uid, session, seen, ended)
            for uid, session in self._seem_old(enforce, sessions, at_s, ended).items()
        }
        if old := [uid for uid, when in seem_old.items() if when is Began.BEFORE]:
            text = f"{counted(len(old), 'session carries', 'sessions carry')} on from before the change"
            return Judgment(Enforced.NO, ProofReason.OLD_SESSION, text)
        if dated := [uid for uid, when in seem_old.items() if when is Began.UNKNOWN]:
            text = f"accounting dates {counted(len(dated), 'session')} before the change, by a clock that is not ours"
            return Judgment(Enforced.NO, ProofReason.AGE_NOT_CERTAIN, text)
        which = f"new session {told}".rstrip() if new else f"session {told}, which never was suspended"
        return self._inferred(enforce, sessions, seen, which)

    def _judge_none(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]
    ) -> Judgment:
        """Judge without a session in accounting: the old one ended, or every NAS denies it.

        Nobody says that no session began since: its Start may be lost. The detail names the evidence, and no more:
        a NAS that ended the session which accounting knew was not asked for others, since a good one may follow it.
        """
        asked = self._held(enforce)
        if self._ended_known_one(seen[enforce.address], ended):
            unasked = (*asked, *filter(None, enforce.expect.get(_NOT_ASKED, "").split(",")))
            return Judgment(Enforced.PENDING, ProofReason.NONE_KNOWN, none_known_text({}, unasked))
        since_s = self._previewed_s(enforce)
        open_ones = {nas: why for nas, where in asked.items() if (why := held_why(seen[where], since_s))}
        for nas, where in self._held(enforce, RadiusResource.ACKED).items():
            if seen[where].value is not ABSENT:  # some do nothing, and of the session that follows nobody has heard
                open_ones.setdefault(nas, ACK_ALONE)
        open_ones |= dict.fromkeys(filter(None, enforce.expect.get(_NOT_ASKED, "").split(",")), NOT_ASKED)
        if open_ones:
            named = ", ".join(f"{nas} {why}" for nas, why in open_ones.items())
            text = f"not proven: accounting has no session and {named}"
            return Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, text)
        now_s = seen[enforce.address].at_s
        ages = {nas: now_s - seen[where].at_s for nas, where in asked.items()}
        return Judgment(Enforced.PENDING, ProofReason.NONE_KNOWN, none_known_text(ages))

    def _ended_known_one(self, where: Seen, ended: Mapping[Address, Seen]) -> bool:
        """Tell whether a session that accounting knew has ended, and no NAS was asked by User-Name.

        Args:
            where: the sessions of the login now.
            ended: those that the item set out to end.
        """
        ghosts = sessions_of(where.value)
        known = [parsed for one in ended if (parsed := parse(self.target, one)) is not None]
        # A NAS ends what it is asked about by User-Name, and the session that follows may be a good one
        if any(what is RadiusResource.HELD for what, _ in known):
            return False
        return any(what is RadiusResource.SESSION and uid not in ghosts for what, uid in known)

    def _with_next_login(self, enforce: Enforcement, seen: Mapping[Address, Seen], found: Judgment) -> Judgment:
        """Return a judgment by sessions, corrected by the rows of now: staff may have edited them."""
        login, active = self._login(enforce), self._is_active(enforce)
        user = seen[self._user(login)]
        marked = any(map(self._is_marker, fields_of(user.value)))
        outcome = self._reply_now(login, user, seen)
        if isinstance(outcome, Rejected) and not active and (marked or _REJECTED in enforce.expect):
            why = rejection_text(outcome, self._sql, self._same)
            return replace(found, detail=f"{found.detail}; and its login is rejected now: {why}")
        if isinstance(outcome, Expiring) and marked and self._held_either_way(enforce, outcome):
            return found
        if isinstance(outcome, CannotTell) and active and not marked and user.value is not ABSENT:
            return replace(found, detail=f"{found.detail}; what the login gets is not certain: {outcome.reason}")
        why = self._not_in_effect(enforce, outcome)
        if not why:
            return found
        if isinstance(outcome, Rejected):
            why = rejection_text(outcome, self._sql, self._same)
        text = f"{found.detail}; but the next login does not get it: {why}"
        return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, text)

    def _held_either_way(self, enforce: Enforcement, outcome: Expiring) -> bool:
        """Tell whether a suspended login is held back whether it has expired or not."""
        each = outcome.replies
        held = all(isinstance(one, Rejected) or not self._not_in_effect(enforce, one) for one in each)
        return held and not self._is_active(enforce)

    def _reply_now(self, login: str, user: Seen, seen: Mapping[Address, Seen]) -> Outcome:
        """Return the reply to a login by the rows as they were read, however they came to be."""
        if mixed := mixed_text(login, user.value):
            return CannotTell(mixed)
        try:
            return self._outcome(login, user, seen)
        except MalformedRowSetError as err:
            return CannotTell(str(err))

    def _held(self, enforce: Enforcement, what: RadiusResource = RadiusResource.HELD) -> Mapping[str, Address]:
        """Return the addresses of NAS' answers on the login, by name, for those that are asked by User-Name."""
        return _told_at(what, self.target, self._login(enforce), enforce.expect.get(BY_NAME, ""))

    def _is_active(self, enforce: Enforcement) -> bool:
        return enforce.expect["state"] == _ACTIVE

    def _judged(self, enforce: Enforcement, where: Seen) -> Mapping[str, Session]:
        """Return the login's own sessions, without ghosts; of an active one only those on a configured NAS."""
        own = self._own(enforce, where)
        left = {} if self._is_active(enforce) else self._left(own, where.at_s)
        return self._on_nas(own) if self._is_active(enforce) else {u: s for u, s in own.items() if u not in left}

    def _left(self, sessions: Mapping[str, Session], at_s: int) -> Mapping[str, Session]:
        """Return the sessions on no configured NAS of which accounting has heard nothing for long: not checked."""
        on_nas = self._on_nas(sessions)
        return {u: s for u, s in sessions.items() if u not in on_nas and self._is_silent(s, at_s)}

    def _is_silent(self, session: Session, at_s: int) -> bool:
        return silent(session, at_s, self._sql.silent_h)

    def _judge_rejected(
        self, enforce: Enforcement, sessions: Mapping[str, Session], seen: Mapping[Address, Seen]
    ) -> Judgment | None:
        """Judge a login that something else rejects, from its rows of now; None: it is judged as any other."""
        login, marker = self._login(enforce), self._sql.marker_group
        user = seen[self._user(login)]
        outcome = self._reply_now(login, user, seen)
        if isinstance(outcome, Rejected):
            if (
                sessions
                and not self._is_active(enforce)
                and all(in_garden(s, enforce.expect) for s in sessions.values())
            ):
                return None  # a suspended session stays what it is, whatever the next login gets
            why = rejection_text(outcome, self._sql, self._same)
            left = (
                f"; {counted(len(sessions), 'session goes', 'sessions go')} on outside of the garden"
                if sessions
                else ""
            )
            if sessions and not (
                self._is_active(enforce) and all(is_outside(s, enforce.expect) for s in sessions.values())
            ):
                text = f"{counted(len(sessions), 'session carries', 'sessions carry')} on though the login is rejected"
                return Judgment(Enforced.NO, ProofReason.OLD_SESSION, text)
            return Judgment(Enforced.YES, ProofReason.STAYS_REJECTED, f"the login stays rejected: {why}{left}")
        if enforce.expect["state"] == Access.ACTIVE.value or any(map(self._is_marker, fields_of(user.value))):
            return None
        why = outcome.reason if isinstance(outcome, CannotTell) else "the login is no longer rejected"
        text = f"{why}, and group {marker} was not written: suspend it again"
        return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, text)

    def _come(self, enforce: Enforcement, sessions: Mapping[str, Session]) -> Mapping[str, Session]:
        """Return the sessions that no address tells of: outside of the garden, and not there at the preview."""
        spared = enforce.expect.get(SPARED, "").split(",")
        kept = [uid for uid, s in sessions.items() if uid in spared and is_outside(s, enforce.expect)]
        return {uid: s for uid, s in sessions.items() if not in_garden(s, enforce.expect) and uid not in kept}

    def _carry_on(
        self, enforce: Enforcement, sessions: Mapping[str, Session], ended: Mapping[Address, Seen]
    ) -> Sequence[str]:
        """Return the sessions that are there though they were to be ended, and are not seen to be as wanted.

        Where a NAS did nothing, accounting hears of a session in the garden again: a suspension wants just that.
        """
        where = {uid: address(self.target, RadiusResource.SESSION, uid) for uid in sessions}
        there = [
            uid
            for uid, one in where.items()
            if one in ended and not is_another(session_fields(ended[one].value), sessions[uid])
        ]
        if self._is_active(enforce):
            return there
        return [uid for uid in there if not stays_in_garden(sessions[uid], enforce.expect)]

    def _seem_old(
        self, enforce: Enforcement, sessions: Mapping[str, Session], now_s: int, ended: Mapping[Address, Seen]
    ) -> Mapping[str, Session]:
        """Return the sessions that began before the change if accounting's clock and ours are alike."""
        if self._carry_on(enforce, sessions, ended):
            return {}  # that decides
        before_s = self._began_before(enforce, now_s, ended)
        return {u: s for u, s in self._come(enforce, sessions).items() if began_s(s, before_s) < before_s}

    def _accounted(self, sessions: Iterable[str], ended: Mapping[Address, Seen]) -> Mapping[Address, str]:
        """Return where accounting tells of sessions and of ended ones what `beginnings` needs; none of no session."""
        over = [known[1] for one in ended if (known := parse(self.target, one)) and known[0] is RadiusResource.SESSION]
        uids = (*sessions, *over) if sessions else ()
        return {address(self.target, RadiusResource.ACCOUNTED, uid): uid for uid in uids}

    def _began(
        self,
        enforce: Enforcement,
        unique_id: str,
        session: Session,
        seen: Mapping[Address, Seen],
        ended: Mapping[Address, Seen],
    ) -> Began:
        told = {uid: session_fields(seen[where].value) for where, uid in self._accounted([unique_id], ended).items()}
        own = told.pop(unique_id)
        return when_began(session, own, told.values(), seen[enforce.address].at_s - self._previewed_s(enforce))

    def _previewed_s(self, enforce: Enforcement) -> int:
        """Return when the change was previewed, unix seconds by our clock of now."""
        return int(enforce.expect.get(_READ_AT, "0")) + clock_set_s(enforce.expect)

    def _began_before(self, enforce: Enforcement, now_s: int, ended: Mapping[Address, Seen]) -> int:
        """Return the unix time before which a session began without the written settings, if clocks are alike.

        When something was ended, only the time of the preview is: after a crash judging may be late. Otherwise it is
        done right after the write, and a session that is much older was merely late in accounting.
        """
        read_at = enforce.expect.get(_READ_AT, "")
        # Accounting has another machine's clock. Nothing tells whether ours was right before it was set or after
        set_s = clock_set_s(enforce.expect)
        sure = int(read_at) + min(set_s, 0) - CLOCKS_S if read_at.isdecimal() else 0
        if ended:
            return sure
        now_s -= max(set_s, 0)
        return max(sure, now_s - enforce.within_s - self._method.disconnect_within_s - CLOCKS_S)

    def _inferred(
        self, enforce: Enforcement, sessions: Mapping[str, Session], seen: Mapping[Address, Seen], which: str
    ) -> Judgment:
        """Judge new or spared sessions by their login's reply now, and by places where a suspended one may not be."""
        login = self._login(enforce)
        user = seen[self._user(login)]
        outcome = self._reply_now(login, user, seen)
        if isinstance(outcome, Expiring):
            if not self._held_either_way(enforce, outcome):
                return Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, f"not proven: {outcome.reason}")
            outcome = next(one for one in outcome.replies if isinstance(one, Accepted))
        why = self._not_in_effect(enforce, outcome)
        if why or not isinstance(outcome, Accepted):
            return Judgment(Enforced.NO, ProofReason.NOT_IN_EFFECT, why)
        pinned = ""
        if enforce.expect["state"] == Access.SUSPENDED.value:
            outs = [outside(s, enforce.expect, outcome) for s in sessions.values()]
            loose = [text for out in outs for text in out.loose]
            if loose:
                return Judgment(Enforced.NO, ProofReason.OUTSIDE_GARDEN, f"{', '.join(loose)} is outside of the garden")
            pinned = ", ".join(text for out in outs for text in out.pinned)
        static = f" ({pinned} is static, by its login's reply: outside of the garden at every login)" if pinned else ""
        return Judgment(Enforced.YES, ProofReason.INFERRED, f"{which}: its login got what is wanted{static}")

    # --- addresses ---

    def _user(self, login: str) -> Address:
        return address(self.target, RadiusResource.USER, login)

    def _sessions(self, login: str) -> Address:
        return address(self.target, RadiusResource.SESSIONS, login)

    def _privileges(self, to: str) -> Address:
        return address(self.target, RadiusResource.PRIVILEGES, to)

    def _group(self, name: str) -> Address:
        return address(self.target, RadiusResource.GROUP, name)

    def _login(self, enforce: Enforcement) -> str:
        parsed = parse(self.target, enforce.address)
        return parsed[1] if parsed else ""

    def _open_sessions(self, service: Service, seen: Mapping[Address, Seen]) -> Mapping[str, Session]:
        return live_sessions(seen[self._sessions(service.login)].value)

    # --- refusals ---

    def _refuse_login(
        self,
        service: Service,
        seen: Mapping[Address, Seen],
        sessions: Mapping[str, Session],
        *,
        may_be_absent: bool = False,
    ) -> CannotEnforce | None:
        login, value = service.login, seen[self._user(service.login)].value
        others = {s.get("login", login) for s in sessions.values()}
        mixed = mixed_text(login, value, {other for other in others if not same_login(other, login)})
        if mixed:
            return CannotEnforce(MethodReason.AMBIGUOUS_LOGIN, mixed)
        if value is ABSENT and not may_be_absent:
            near = [text for text in near_spellings(login) if seen.get(self._user(text), _NONE).value is not ABSENT]
            hint = f"; it has {' and '.join(near)}: is that the one?" if near else ""
            return CannotEnforce(MethodReason.NO_SUCH_LOGIN, f"{self.target} has no user {login}{hint}")
        return None

    def _refuse_nas(self, wanted: Access | None, sessions: Mapping[str, Session], at_s: int) -> CannotEnforce | None:
        """Refuse a change that would leave somebody online. A restore is not held up by a session that accounting left
        open.

        Nor is anything by one of which accounting has heard nothing for long: it is named as not checked.
        """
        heard = [s for s in sessions.values() if not self._is_silent(s, at_s)]
        unknown = sorted({s.get("nas", "") for s in heard} - self._nas_names.keys())
        if not unknown or wanted is Access.ACTIVE:
            return None
        return CannotEnforce(
            RadiusReason.UNKNOWN_NAS,
            f"accounting heard of a session on {', '.join(name or NO_ADDRESS for name in unknown)} less than "
            f"{self._sql.silent_h} h ago, and that is no configured NAS",
        )

    def _refuse_unprivileged(self, to: str, seen: Mapping[Address, Seen]) -> CannotEnforce | None:
        """Refuse a change that the database would refuse after it was approved."""
        where = self._privileges(to)
        missing = fields_of(seen[where].value) if where in seen else {}
        if not missing:
            return None
        why = "; ".join(f"{text}: {' '.join(mend)}" for text, mend in missing.items() if isinstance(mend, tuple))
        return CannotEnforce(RadiusReason.NO_PRIVILEGE, why)

    def _refuse_groups(
        self, wanted: ServiceState, tariff: str | None, seen: Mapping[Address, Seen]
    ) -> CannotEnforce | None:
        needed = [self._sql.marker_group] if wanted.access is Access.SUSPENDED else []
        if tariff is not None:
            if tariff not in self._method.tariffs:
                return CannotEnforce(
                    MethodReason.UNMAPPED_TARIFF, f"method {self._method.name} maps no group to tariff {tariff}"
                )
            needed.append(self._method.tariffs[tariff])
        for name in needed:
            if seen[self._group(name)].value is ABSENT:
                return CannotEnforce(RadiusReason.NO_SUCH_GROUP, f"{self.target} has no rows for group {name}")
        return None

    def _refuse_turn(
        self, wanted: ServiceState, tariff: str | None, today: Outcome, after: Outcome
    ) -> CannotEnforce | None:
        """Refuse a change by which a login could come to be rejected; our marker may always be taken back."""
        if wanted.access is Access.ACTIVE and tariff is None:
            return None
        if isinstance(after, CannotTell):
            return CannotEnforce(MethodReason.CANNOT_TELL, after.reason)
        if isinstance(after, Rejected) and not isinstance(today, Rejected):
            return CannotEnforce(MethodReason.REJECTED, rejection_text(after, self._sql, self._same))
        return None

    def _refuse_guess(
        self, access: Access, before: Seen, today: Outcome, seen: Mapping[Address, Seen]
    ) -> CannotEnforce | None:
        """Refuse a suspension that may let in a login: whether it is rejected today cannot be told."""
        if access is Access.ACTIVE or not isinstance(today, CannotTell):
            return None
        groups = self._group_values(before.value, seen)
        rows = [may_reject(before.value, groups, now=now) for now in self._moments(before, seen)]
        row = next(filter(None, rows), "")
        if not row:
            return None
        why = f"{today.reason}; {row} may reject it today, and group {self._sql.marker_group} would let it in"
        return CannotEnforce(MethodReason.CANNOT_TELL, why)

    def _refuse_outcome(
        self, access: Access, outcome: Outcome, reply: Mapping[str, str], after: Value
    ) -> CannotEnforce | None:
        if not isinstance(outcome, Accepted):
            return None
        unmet = holds(outcome.reply, reply)
        if not unmet:
            return None
        if access is Access.SUSPENDED:
            applied = any(self._same(name, self._sql.marker_group) for name in outcome.groups)
            why = unmet_text(unmet, outcome, "" if applied else self._sql.marker_group, after)
            return CannotEnforce(RadiusReason.MARKER_WOULD_NOT_WIN, why)
        return CannotEnforce(RadiusReason.ACTIVE_WOULD_NOT_HOLD, unmet_text(unmet, outcome, "", after))

    # --- rows ---

    def _same(self, a: str, b: str) -> bool:
        """Tell whether the database holds two group names equal."""
        if self._sql.database is Database.MARIADB:
            return a.rstrip(" ").casefold() == b.rstrip(" ").casefold()
        return a == b

    def _after(self, before: Value, access: Access, tariff: str | None) -> Value:
        after = dict(fields_of(before))
        markers = [key for key in after if self._is_group(key, [self._sql.marker_group])]
        wanted = str(self._sql.marker_priority)
        if access is Access.ACTIVE:
            for key in markers:
                del after[key]
        elif [after[key] for key in markers] != [wanted]:
            for key in markers:
                del after[key]
            after[f"{_GROUP}{self._sql.marker_group}"] = wanted
        if tariff is not None:
            group = self._method.tariffs[tariff]
            olds = {key: after.pop(key) for key in list(after) if self._is_group(key, self._method.tariffs.values())}
            kept = next((key for key in olds if self._is_group(key, [group])), f"{_GROUP}{group}")
            priorities = [p for key, field in olds.items() for p in (row.value for row in rows_of(key, field))]
            after[kept] = min(priorities, key=int, default=_PRIORITY)
        return after

    def _is_group(self, key: str, names: Iterable[str]) -> bool:
        return key.startswith(_GROUP) and any(self._same(key.removeprefix(_GROUP), name) for name in names)

    # --- the effective reply ---

    def _wanted_reply(self, access: Access) -> Mapping[str, str]:
        return self._method.suspended_reply if access is Access.SUSPENDED else self._method.active_reply

    def _outcome(self, login: str, user: Seen, seen: Mapping[Address, Seen]) -> Outcome:
        groups = self._group_values(user.value, seen)
        moments = self._moments(user, seen)
        found = [effective_reply(user.value, groups, {"User-Name": login}, now=now) for now in moments]
        if len(set(map(type, found))) == 1:
            return found[0]
        first, *_, last = sorted(moments, key=lambda now: now.replace(tzinfo=None))
        told = [moment_text(now.timestamp(), now.tzinfo, seconds=True) for now in (first, last)]
        why = "whether its Expiration has passed is not certain: by clocks and zones, the RADIUS server reads"
        return Expiring(f"{why} {' to '.join(told)} now", tuple(found))

    def _group_values(self, user: Value, seen: Mapping[Address, Seen]) -> Mapping[str, Value]:
        """Return the rows of a user's groups, of those that were read."""
        return {n: seen[self._group(n)].value for n in _groups_of(user) if self._group(n) in seen}

    def _moments(self, user: Seen, seen: Mapping[Address, Seen]) -> Sequence[datetime]:
        """Return what the RADIUS server may take for the moment when a user's rows were read, ours first.

        FreeRADIUS compares an Expiration with its own clock, and reads its date in its own zone. Of both the database's
        server tells what is known; that may be another machine, so both of its values and ours count.
        """
        now = datetime.fromtimestamp(user.at_s, self._zone)
        groups = self._group_values(user.value, seen)
        if not expires_within(user.value, groups, now=now, within_s=_NEAR_S):
            return [now]
        clock = clock_of(seen[self._clock].value) if self._clock in seen else None
        ahead_s = clock.ahead_s if clock else 0
        zones = [self._zone]
        if clock and timedelta(seconds=clock.zone_s) != now.utcoffset():
            zones.append(timezone(timedelta(seconds=clock.zone_s)))
        shifts = (0, min(ahead_s, 0) - CLOCKS_S, max(ahead_s, 0) + CLOCKS_S)
        return [datetime.fromtimestamp(user.at_s + shift, zone) for zone in zones for shift in shifts]

    def _groups_read(self, user: Value, seen: Mapping[Address, Seen]) -> tuple[Address, ...]:
        """Return the groups with rows that decide a user's reply."""
        return tuple(where for where in map(self._group, sorted(_groups_of(user))) if where in seen)

    def _after_text(self, access: Access, outcome: Outcome) -> str:
        match outcome:
            case Accepted():
                return after_text(access, outcome, self._method)
            case Rejected():
                why = rejection_text(outcome, self._sql, self._same)
                return rejected_after(access, why, self._sql.marker_group, written=True)
        return (
            f"group {self._sql.marker_group} is in no row of it; what the login gets is not certain: {outcome.reason}"
        )

    def _today(self, login: str, seen: Mapping[Address, Seen]) -> Outcome:
        """Return the reply by the rows as they were read; a preview asks for it twice in a row."""
        user, kept = seen[self._user(login)], self._kept
        if kept is None or kept[0] is not user or kept[1] is not seen:
            kept = self._kept = (user, seen, self._outcome(login, user, seen))
        return kept[2]

    def _not_in_effect(self, enforce: Enforcement, outcome: Outcome) -> str:
        """Return why the login's reply is not as `enforce` wants it, empty when it is."""
        if not isinstance(outcome, Accepted):
            return outcome.reason
        wanted = {k.removeprefix(_REPLY): v for k, v in enforce.expect.items() if k.startswith(_REPLY)}
        unmet = holds(outcome.reply, wanted)
        if unmet:
            return unmet_text(unmet, outcome, "", ABSENT)
        marked = any(self._same(name, self._sql.marker_group) for name in outcome.groups)
        if marked and enforce.expect["state"] == Access.ACTIVE.value:
            return f"group {self._sql.marker_group} is applied"
        group = enforce.expect.get("tariff-group", "")
        if group and not any(self._same(name, group) for name in outcome.groups):
            return f"group {group} is not applied"
        return ""

    # --- parts of the plan ---

    def _live_change(
        self,
        wanted: ServiceState,
        service: Service,
        outcome: Outcome,
        sessions: Mapping[str, Session],
        seen: Mapping[Address, Seen],
    ) -> Effect | None:
        """Return the CoA that makes the present sessions equal to new ones; None: they have to be ended.

        Only for a change of tariff: a suspended session's open connections would carry on, and a CoA adds attributes
        and takes none away. Nor where nobody could see whether it did anything: a router shows a session's speed, in
        its queue, and of all else nothing.
        """
        user = seen[self._user(service.login)]
        before = self._outcome(service.login, user, seen)
        if service.reasons or wanted.access is not Access.ACTIVE or any(map(self._is_marker, fields_of(user.value))):
            return None
        if not isinstance(before, Accepted) or not isinstance(outcome, Accepted) or not sessions:
            return None
        if not all(session.get("nas") in self._watched for session in sessions.values()):
            return None
        names = {name for name, _ in (*before.reply, *outcome.reply) if before.get(name) != outcome.get(name)}
        allowed = {name.lower() for name in self._method.coa}
        changed = {name: outcome.get(name) for name in sorted(names)}
        if not changed or not all(n.lower() in allowed and len(values) == 1 for n, values in changed.items()):
            return None
        if {name.lower() for name in changed} != {_RATE.lower()} or _speeds(before) == _speeds(outcome):
            return None
        return Effect(
            address=self._sessions(service.login),
            verb=COA,
            args={name: values[0] for name, values in changed.items()},
            key=f"{service.ref}:coa",
            replay=Replay.SAFE,
            proof=None,
            within_s=_SEEN_S,
        )

    def _is_marker(self, key: str) -> bool:
        return self._is_group(key, [self._sql.marker_group])

    def _disconnect(
        self,
        service: Service,
        wanted: Access | None,
        sessions: Mapping[str, Session],
        what: str = "",
        right: Mapping[str, str] = MappingProxyType({}),
    ) -> Effect:
        """Return the effect; `sessions` are those of now, shown to people: which end is found when it runs.

        `wanted` is the state that they are ended for (None: nothing changes), `what` names the effect where that does
        not, and `right` says which sessions have it already (`ending.has_it`).
        """
        active = wanted is Access.ACTIVE
        spared = right.get(SPARED, "").split(",")
        ending = {u: s for u, s in (self._on_nas(sessions) if active else sessions).items() if u not in spared}
        shown = ", ".join(f"{s.get('sid', uid)} on {self._nas_name(s)}" for uid, s in ending.items())
        gardens = ",".join(map(str, (*self._method.garden4, *self._method.garden6)))
        args = {
            "now": shown,
            NAS: CONFIGURED if active else "",
            (IN if active else NOT_IN): gardens if wanted else "",
            BY_NAME: ",".join(self._places.asked),
            EACH_ANSWERS: "yes" if wanted is None and self._places.asked else "",
            **right,
        }
        return Effect(
            address=self._sessions(service.login),
            verb=DISCONNECT,
            args={name: text for name, text in args.items() if text},
            key=f"{service.ref}:{what or (wanted.value if wanted else '')}",
            replay=Replay.IF_UNPROVEN,
            proof=ProofKind.GONE,
            within_s=self._method.disconnect_within_s,
        )

    def _right(
        self,
        wanted: ServiceState,
        service: Service,
        sessions: Mapping[str, Session],
        outcomes: tuple[Outcome, Outcome],
        read_at_s: int,
    ) -> Mapping[str, str]:
        """Return the arguments of a disconnect that makes an active state real, by which it spares new sessions.

        An address outside of the garden tells an active session from a suspended one where the login's reply pins none.
        It tells nothing of a tariff: then only a session counts that began after the reply was seen to be right.

        Args:
            wanted: the state that the sessions are ended for.
            service: as it is recorded.
            sessions: those of now.
            outcomes: of a login now, and after the change.
            read_at_s: when the rows were read, unix seconds.
        """
        today, after = outcomes
        if wanted.access is not Access.ACTIVE or not isinstance(after, Accepted):
            return {}
        nets = {"garden4": self._method.garden4, "garden6": self._method.garden6}
        gardens = {name: ",".join(map(str, found)) for name, found in nets.items()}
        told = wanted.tariff == service.tariff and any(gardens.values()) and not pins_an_address(after)
        stays = isinstance(today, Accepted) and today.reply == after.reply
        spared = {OUTSIDE: told, RIGHT_SINCE: stays}
        if not any(spared.values()):
            return {}
        outside = {u: s for u, s in sessions.items() if told and is_outside(s, gardens)}
        shown = [
            uid for uid, s in outside.items() if s.get("nas") in self._watched and not (stays and MAY_BE_OVER in s)
        ]
        kept = [uid for uid in self._on_nas(outside) if uid not in shown]
        known = [uid for uid in sessions if uid not in kept and not (stays and uid in outside)]
        since = {name: str(read_at_s) for name, counts in spared.items() if counts}
        return {**since, KNOWN: ",".join(known), **({SPARED: ",".join(kept)} if kept else {})}

    def _enforcement(
        self, service: Service, wanted: ServiceState, reply: Mapping[str, str], read_at_s: int
    ) -> Enforcement:
        expect = {"method": self._method.name, "state": wanted.access.value, _READ_AT: str(read_at_s)}
        expect |= {f"{_REPLY}{name}": value for name, value in reply.items()}
        if wanted.access is Access.ACTIVE and wanted.tariff != service.tariff:
            expect["tariff-group"] = self._method.tariffs[wanted.tariff]
        gardens = {"garden4": self._method.garden4, "garden6": self._method.garden6}
        expect |= {name: ",".join(map(str, nets)) for name, nets in gardens.items() if nets}
        places = {BY_NAME: self._places.asked, _NOT_ASKED: self._places.not_asked}
        expect |= {name: ",".join(nas) for name, nas in places.items() if nas}
        return Enforcement(self.target, self._sessions(service.login), expect, self._method.redial_within_s)

    def _may_be_wrong(
        self,
        wanted: ServiceState,
        service: Service,
        sessions: Mapping[str, Session],
        enforce: Enforcement,
        outcome: Outcome,
    ) -> bool:
        """Tell whether sessions may be other than wanted though the rows are as wanted: somebody may have edited those.

        Where the record says that the service is not as wanted, every session that is not seen to be right may be
        wrong: one with an unknown policy, and one that accounting may not know. Of a tariff that is another one in the
        record no session can be told to have it: accounting knows no speed.
        """
        if wanted.access is Access.SUSPENDED and isinstance(outcome, Rejected):
            return bool(sessions) or self._unknown(not service.reasons, sessions)
        if wanted.access is Access.SUSPENDED:
            at_large = isinstance(outcome, Accepted) and any(
                MAY_BE_OVER in s or goes_on_outside(s, enforce.expect, outcome) for s in sessions.values()
            )
            right = all(in_garden(s, enforce.expect) for s in sessions.values())
            return at_large or (not service.reasons and not right) or self._unknown(not service.reasons, sessions)
        own = self._on_nas(sessions)
        if any(partly_in_garden(s, enforce.expect) for s in own.values()):
            return True
        other_tariff = wanted.tariff != service.tariff
        outside = all(is_outside(s, enforce.expect) for s in own.values())
        right = outside and bool(heard_ones(own, enforce.expect)) and not other_tariff
        differs = bool(service.reasons) or other_tariff
        return (differs and bool(own) and not right) or self._unknown(differs, own)

    def _unknown(self, differs: bool, sessions: Mapping[str, Session]) -> bool:
        """Tell whether NAS are to be asked for a session: the record differs, and accounting has none."""
        return differs and not sessions and (bool(self._places.asked) or self._places.read)

    def _display(self, service: Service, seen: Mapping[Address, Seen], wanted: Access | None = None) -> dict[str, str]:
        where = seen[self._sessions(service.login)]
        every = live_sessions(where.value)
        left = {u: s for u, s in every.items() if u not in self._on_nas(every)} if wanted is Access.ACTIVE else {}
        left = {**left, **self._left(every, where.at_s)}
        sessions = {uid: s for uid, s in every.items() if uid not in left}
        now = (
            now_text(sessions.values(), where.at_s, self._nas_names),
            left_text(left.values(), where.at_s),
            ghosts_text([s for uid, s in sessions_of(where.value).items() if uid not in every], self._nas_names),
        )
        asked = f" (asked by User-Name: {', '.join(self._places.asked)})" if self._places.asked else ""
        display = {
            "now": "; ".join(filter(None, now)),
            "online": "online" if sessions else f"offline by accounting{asked}",
            "sessions": str(len(sessions)),
        }
        if sessions:
            display["nas"] = self._nas_name(next(iter(sessions.values())))
        return display

    def _on_nas(self, sessions: Mapping[str, Session]) -> Mapping[str, Session]:
        return {uid: s for uid, s in sessions.items() if s.get("nas", "") in self._nas_names}

    def _nas_name(self, session: Session) -> str:
        return self._nas_names.get(session.get("nas", ""), session.get("nas", ""))


def _told(enforce: Enforcement) -> Enforcement:
    """Return the enforcement of a plan without steps: no NAS is asked for it."""
    return replace(enforce, expect={k: v for k, v in enforce.expect.items() if k not in (BY_NAME, _NOT_ASKED)})


def _speeds(outcome: Accepted) -> list[str]:
    """Return the speeds that a reply brings, without burst and priority, which no queue is judged by."""
    return [value.split(" ")[0] for value in outcome.get(_RATE)]


def _groups_of(user: Value) -> list[str]:
    return [key.removeprefix(_GROUP) for key in fields_of(user) if key.startswith(_GROUP)]
