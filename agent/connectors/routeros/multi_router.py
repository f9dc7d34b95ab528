"""One access method on several routers: a subscriber may be served by any of them, so all of them must hold. Pure.

Each router has rows of its own, and steps of its own. A router that does not know the login serves it nobody, and is
left out; one that refuses for any other reason refuses all, since a subscriber that is suspended on one of two routers
is not suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from agent.connectors.base import (
    CLOCK_SET,
    IN_FORCE,
    NONE_ENDED,
    OPEN,
    AccessMethod,
    AccessPlan,
    CannotEnforce,
    DeviceMethod,
    Enforced,
    Judgment,
    KnowsClients,
    NetworkState,
)
from agent.model import Access, Address, Effect, Enforcement, Seen, Service, ServiceState, Step
from agent.reasons import ProofReason

NOT_HERE: Final = "no-such-login"
"""An access method's reason for refusing that says that its router has nothing of the subscriber."""
_METHOD: Final = "method"
_WORST: Final = (Enforced.NO, Enforced.YES, Enforced.UNPROVEN, Enforced.PENDING)
"""Of several routers: one that does not hold decides; else one that holds; else one that cannot tell."""


class SeveralAccess:
    """Implements `agent.connectors.base.AccessMethod`, `OnDevices` and `KnowsClients` by one for each router."""

    def __init__(self, parts: Sequence[DeviceMethod], *, alone: bool = False) -> None:
        """Take the access methods, by router; the first one's is the method's home.

        Args:
            parts: one a router.
            alone: no other router serves the method's subscribers, by the configuration.
        """
        self.target = parts[0].target
        self._parts = {part.target: part for part in parts}
        looked = f"only {' and '.join(map(_name, self._parts))} {'is' if len(parts) == 1 else 'are'} looked at"
        self._elsewhere = "" if alone else f"other routers that serve this login ({looked})"

    def on_devices(self) -> Mapping[str, DeviceMethod]:
        """Return the access method of each router."""
        return self._parts

    def without(self, targets: Collection[str]) -> SeveralAccess:
        """Return the access method on its other routers."""
        return SeveralAccess([part for target, part in self._parts.items() if target not in targets])

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        """Return the needs of all of them."""
        return [a for part in self._parts.values() for a in part.reads(service, seen)]

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        """Return the state of the routers that know the login together; one that was not read leaves it open."""
        unread = [target for target, part in self._parts.items() if part.reads(service, seen)]
        read = {t: part.network_state(service, seen) for t, part in self._parts.items() if t not in unread}
        known = {target: state for target, state in read.items() if not state.absent} or read
        not_checked = tuple(f"{_name(target)} was not read" for target in unread)
        if not known:
            return NetworkState(None, unknown="; ".join(not_checked), not_checked=not_checked)
        first, sessions = next(iter(known.values())), tuple(one for state in read.values() for one in state.sessions)
        not_checked += tuple(dict.fromkeys(text for state in known.values() for text in state.not_checked))
        ways_out = tuple(dict.fromkeys(text for state in known.values() for text in state.ways_out))
        first = replace(first, sessions=sessions, ways_out=ways_out)
        if unread or len({(state.access, bool(state.refused), state.tariff) for state in known.values()}) > 1:
            told = [f"{_name(target)}: {_state_text(state)}" for target, state in known.items()]
            why = "; ".join((*told, *(f"{_name(target)} was not read" for target in unread)))
            return replace(first, access=None, refused="", unknown=why, not_checked=not_checked)
        if first.access is Access.SUSPENDED and self._elsewhere:
            not_checked += (self._elsewhere,)
        return replace(first, not_checked=not_checked)

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the steps on every router that knows the login, or the first refusal."""
        planned = self._together(
            lambda part: part.plan(wanted, service, seen), suspends=wanted.access is Access.SUSPENDED
        )
        if isinstance(planned, CannotEnforce) or wanted.access is not Access.SUSPENDED or not self._elsewhere:
            return planned
        told = "; ".join(filter(None, (planned.display.get(OPEN), f"not checked: {self._elsewhere}")))
        return replace(planned, display={**planned.display, OPEN: told})

    def disconnect(self, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        """Return the disconnects on every router that knows the login."""
        return self._together(lambda part: part.disconnect(service, seen))

    def ends_of_clients(self, service: Service, ended: Mapping[Address, Seen]) -> Sequence[tuple[str, Effect]]:
        """Return the clients of all routers."""
        parts = [part for part in self._parts.values() if isinstance(part, KnowsClients)]
        return [found for part in parts for found in part.ends_of_clients(service, ended)]

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen]) -> Judgment:
        """Return the verdict on all routers together."""
        gone = sorted(_targets(enforce) - self._parts.keys())
        if gone:  # the configuration changed while the change ran
            text = f"its access method is no longer configured on {', '.join(map(_name, gone))}"
            return Judgment(Enforced.NO, ProofReason.UNMAPPED_METHOD, text)
        found = {t: self._parts[t].judge(own, seen, ended) for t, own in self._own(enforce).items()}
        # Only where all routers reject a login is it rejected; else one that does says nothing of the others
        deciding = {t: j for t, j in found.items() if j.how != ProofReason.STAYS_REJECTED} or found
        worst = min(deciding.values(), key=lambda judgment: _WORST.index(judgment.enforced))
        if len(found) == 1:
            return worst
        told = [f"{_name(t)}: {j.detail}" for t, j in deciding.items() if j.enforced is worst.enforced and j.detail]
        again = tuple(where for judgment in found.values() for where in judgment.again)
        return replace(worst, detail=" · ".join(told), again=again)

    def enforcement_reads(
        self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Mapping[Address, Seen] = NONE_ENDED
    ) -> Collection[Address]:
        """Return the needs of all of them to judge."""
        return [a for t, own in self._own(enforce).items() for a in self._parts[t].enforcement_reads(own, seen, ended)]

    def _together(
        self, plan: Callable[[AccessMethod], AccessPlan | CannotEnforce], *, suspends: bool = False
    ) -> AccessPlan | CannotEnforce:
        found = {target: plan(part) for target, part in self._parts.items()}
        refused = [answer for answer in found.values() if isinstance(answer, CannotEnforce)]
        decisive = [refusal for refusal in refused if refusal.reason != NOT_HERE]
        if decisive or len(refused) == len(found):
            return (decisive or refused)[0]
        plans = {target: answer for target, answer in found.items() if isinstance(answer, AccessPlan)}
        steps: list[Step] = []
        for one in plans.values():
            steps += _renumbered(one.steps, len(steps))
        rests_on = tuple(where for one in plans.values() for where in one.rests_on)
        if suspends:  # a login that comes to a router which did not know it is not looked at there
            rests_on += tuple(where for refusal in refused for where in refusal.absent)
        return AccessPlan(tuple(steps), _enforcement(plans), _display(plans), rests_on)

    def _own(self, enforce: Enforcement) -> Mapping[str, Enforcement]:
        """Return each router's own part of an enforcement, by its target; of one router, all of it."""
        if enforce.target in self._parts and not any(" " in key for key in enforce.expect):
            return {enforce.target: enforce}
        own: dict[str, dict[str, str]] = {}
        of_all = {key: value for key, value in enforce.expect.items() if key in (CLOCK_SET, IN_FORCE)}
        for key, value in enforce.expect.items():
            target, blank, name = key.partition(" ")
            if blank and target in self._parts:
                own.setdefault(target, dict(of_all))[name] = value
        return {
            target: replace(enforce, target=target, address=Address(expect.pop("address")), expect=expect)
            for target, expect in own.items()
        }


def _state_text(state: NetworkState) -> str:
    """Return a router's state in a few words, where routers differ."""
    access = state.access.value if state.access else ""
    return " ".join(filter(None, (access, state.refused or state.unknown, state.tariff and f"on {state.tariff}")))


def _targets(enforce: Enforcement) -> set[str]:
    """Return the routers that an enforcement is about."""
    return {key.partition(" ")[0] for key in enforce.expect if " " in key} or {enforce.target}


def _renumbered(steps: Sequence[Step], by: int) -> list[Step]:
    def moved(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(n + by for n in numbers)

    return [
        replace(step, n=step.n + by, after=moved(step.after), fallback_for=moved(step.fallback_for)) for step in steps
    ]


def _enforcement(plans: Mapping[str, AccessPlan]) -> Enforcement | None:
    own = {target: one.enforce for target, one in plans.items() if one.enforce is not None}
    if not own:
        return None
    first = next(iter(own.values()))
    if len(own) == 1:
        return first
    expect = {_METHOD: first.expect[_METHOD]}
    for target, enforce in own.items():
        expect |= {f"{target} {name}": value for name, value in enforce.expect.items()}
        expect[f"{target} address"] = enforce.address
    return replace(first, expect=expect, within_s=max(enforce.within_s for enforce in own.values()))


def _display(plans: Mapping[str, AccessPlan]) -> dict[str, str]:
    """Return texts of all routers: differing ones with the router's name, or as they are where somebody is online."""
    every = {target: one.display for target, one in plans.items()}
    online = [display for display in every.values() if display.get("online") == "online"]
    display = dict(online[0] if online else next(iter(every.values())))
    ways = {target: shown.get(OPEN, "") for target, shown in every.items()}
    if len(set(ways.values())) > 1:
        told = [(target, way) for target, text in ways.items() for way in text.split("; ") if way]
        display[OPEN] = "; ".join(way.replace(": ", f": {_name(target)}: ", 1) for target, way in told)
    for key in ("now", "after", "proof"):
        texts = {target: shown[key] for target, shown in every.items() if shown.get(key)}
        if len(set(texts.values())) > 1:
            display[key] = "; ".join(f"{_name(target)}: {text}" for target, text in texts.items())
    if any("sessions" in shown for shown in every.values()):
        display["sessions"] = str(sum(int(shown.get("sessions", "0")) for shown in every.values()))
    return display


def _name(target: str) -> str:
    return target.removeprefix("routeros/")
