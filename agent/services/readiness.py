"""Would a suspension be kept? Each access method is tried on each of its devices, before anybody has to be suspended.

* A trial is the access method's own plan, from present reads: it cannot say anything else than a preview would.
* Tried are a few subscribers of the inventory, and one that does not exist (`agent.connectors.base.Example`).
* Nothing is written, and no session is ended.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from agent.connectors.base import OPEN, AccessMethod, CannotEnforce, DeviceMethod, Example, OnDevices, UnreadableError
from agent.model import Access, Seen, Service, ServiceState
from agent.reasons import AnyReason, ExplainedReason, MethodReason, TargetReason, explain
from agent.runtime.clock import Clock
from agent.services.network import NetworkReader, Readings

TRIED_MAX: Final = 5
"""Subscribers that are tried of one access method on one device; chosen arbitrarily."""
READ_S: Final = 60.0
"""How long one method on one device may take."""
AT_ONCE: Final = 16
"""Methods that are tried at once, each on one device: chosen arbitrarily."""


class TrialState(enum.Enum):
    """The outcome of a trial; of several together, the first of these that one of them has."""

    REFUSED = "refused"
    UNREAD = "unread"
    KEPT = "kept"
    NOT_CHECKED = "not-checked"
    """Nobody could be tried."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A suspension as it would be planned now. `ref`: of a service; "": of the example.

    `text`: the state afterwards, or the reason that it is refused or not known. `code` and `mend`: of a refusal.
    `ways_out`: as a preview names them under `OPEN`, and values that were made up.
    """

    ref: str
    state: TrialState
    text: str
    code: AnyReason | None = None
    mend: str = ""
    ways_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a suspension by an access method would be kept on a device. `device`: a target's id, "": none is known.

    `services`: how many active services the method has, of which `trials` are a few.
    """

    device: str
    method: str
    services: int
    trials: tuple[Trial, ...]

    @property
    def state(self) -> TrialState:
        """The worst of the trials."""
        states = {trial.state for trial in self.trials}
        return next((state for state in TrialState if state in states), TrialState.NOT_CHECKED)


class ReadinessReader:
    """Tries the access methods of a network reader."""

    def __init__(self, network: NetworkReader, clock: Clock) -> None:
        """Take the reader of previews, and the clock of assumed values."""
        self._network, self._clock = network, clock

    async def read(self, services: Iterable[Service], device: str = "") -> tuple[Readiness, ...]:
        """Return how each access method stands on each of its devices, or on one; by device, then method.

        Args:
            services: the inventory's.
            device: a target's id; "": every one.
        """
        active = [service for service in services if not service.reasons]
        found: list[Readiness] = []
        limit = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for name, method in self._network.access_methods.items():
                own = [service for service in active if service.method == name]
                if isinstance(method, OnDevices):
                    for target, part in method.on_devices().items():
                        if device in ("", target):
                            nursery.start_soon(self._try, target, name, part, own, found, limit)
                elif not device:
                    why = "no device of it is configured, so no rules were judged"
                    found.append(Readiness("", name, len(own), (Trial("", TrialState.NOT_CHECKED, why),)))
        return tuple(sorted(found, key=lambda one: (one.device, one.method)))

    async def _try(
        self,
        target: str,
        name: str,
        method: DeviceMethod,
        services: Sequence[Service],
        found: list[Readiness],
        limit: trio.CapacityLimiter,
    ) -> None:
        example, tried = method.example(), sample(services, TRIED_MAX)
        asked = [*tried, *([example.service] if example is not None else [])]
        trials = [_unread(one, f"no answer within {READ_S:.0f} s", TargetReason.TIMEOUT) for one in asked]
        async with limit:
            with trio.move_on_after(READ_S):
                alone = self._network.alone(name, method)
                trials = await try_suspensions(alone, asked, self._assumed(name, method, example))
        there = [trial for trial in trials if trial.code != MethodReason.NO_SUCH_LOGIN]
        found.append(Readiness(target, name, len(services), _weighed(there, example)))

    def _assumed(self, name: str, method: DeviceMethod, example: Example | None) -> Readings:
        assumed = {} if example is None else example.assumed
        at_s = int(self._clock.wall_s())
        return Readings({name: method}, {where: Seen(value, at_s) for where, value in assumed.items()}, {}, {}, {})


def sample(services: Iterable[Service], most: int) -> Sequence[Service]:
    """Return a few services: one of each tariff first, then more in order; each as if we had never suspended it."""
    every, first = list(services), dict[str, Service]()
    for service in every:
        first.setdefault(service.tariff, service)
    rest = [service for service in every if first[service.tariff] is not service]
    return [replace(service, reasons=frozenset()) for service in (*first.values(), *rest)][:most]


async def try_suspensions(
    network: NetworkReader, services: Sequence[Service], known: Readings | None = None
) -> list[Trial]:
    """Return the preview of each service's suspension, by the network reader's access methods.

    Args:
        network: reads, and knows the access method of each of the services.
        services: as `sample` returns them.
        known: resources that count as read already.
    """
    try:
        read = await network.read(services, known)
    except UnreadableError as err:
        return [_unread(service, str(err), err.reason) for service in services]
    return [_trial(network.access_methods[service.method], service, read) for service in services]


def _trial(method: AccessMethod, service: Service, read: Readings) -> Trial:
    if why := read.missing(service):
        reasons = [read.unread[target].reason for target in read.left[service.ref]]
        return _unread(service, why, reasons[0])
    plan = method.plan(ServiceState(Access.SUSPENDED, service.tariff), service, read.seen)
    if isinstance(plan, CannotEnforce):
        return Trial(service.ref, TrialState.REFUSED, plan.detail, plan.reason, _mend(plan.reason))
    told = plan.display.get(OPEN, "")
    ways = tuple(told.split("; ")) if told else ()
    return Trial(service.ref, TrialState.KEPT, plan.display.get("after", ""), ways_out=ways)


def _weighed(trials: Collection[Trial], example: Example | None) -> tuple[Trial, ...]:
    """Return the trials that count: an example with a made-up address says nothing beside a subscriber."""
    if example is None or not example.made_up:
        return tuple(trials)
    real = tuple(trial for trial in trials if trial.ref)
    if any(trial.state in (TrialState.KEPT, TrialState.REFUSED) for trial in real):
        return real
    return tuple(
        trial if trial.ref else replace(trial, ways_out=(*trial.ways_out, f"not checked: {example.made_up}"))
        for trial in trials
    )


def _unread(service: Service, why: str, code: AnyReason) -> Trial:
    return Trial(service.ref, TrialState.UNREAD, why, code, _mend(code))


def _mend(code: AnyReason) -> str:
    found = code if isinstance(code, ExplainedReason) else explain(code, MethodReason, TargetReason)
    return found.remedy if found else ""
