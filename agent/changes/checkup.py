"""The checks of targets for `doctor`: each can do all that changes need, and a suspension would hold.

Which checks a target has is its connector's. The sample is of the inventory: the suspension of some services of each
access method and tariff is planned as for a preview, nothing is sent and nothing kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import trio

from agent.changes.engine.devices import Devices
from agent.changes.engine.sessions import Sessions
from agent.connectors.base import (
    AccessMethod,
    Check,
    CheckResult,
    DeviceReport,
    DeviceState,
    SharedCredential,
    UnreadableError,
)
from agent.model import Service
from agent.reasons import TargetReason
from agent.services.network import NetworkReader
from agent.services.readiness import TrialState, sample, try_suspensions

TARGET_S: Final = 60.0
"""How long the checks of one target may take."""
GREETED: Final = 5
"""Devices of a credential that are asked when its secret is set: they tell whether it is right. Chosen arbitrarily."""
SAMPLE: Final = 20
"""Services of an access method to plan a suspension of: enough for each tariff, and quickly read."""
EXAMPLES: Final = 3
"""Services that are named for one reason."""


class Checkup:
    """The checks of all targets that we dial."""

    def __init__(
        self,
        sessions: Sessions,
        devices: Devices,
        access_methods: Mapping[str, AccessMethod],
        look: Callable[[str], Awaitable[None]],
        poll: Callable[[str], None],
    ) -> None:
        """Put the parts together.

        Args:
            sessions: of the targets that are dialed.
            devices: all devices, and their reports.
            access_methods: by name.
            look: looks at a target now.
            poll: has a polled device read soon.
        """
        self._sessions, self._devices, self._look, self._poll = sessions, devices, look, poll
        self._methods = access_methods

    async def targets(self) -> Sequence[Check]:
        """Return the checks of every target and the report of each device; all targets at once."""
        checks = await self._checks("")
        reports = [check for report in self._devices.reports() for check in _of_device(report)]
        return [*checks, *reports]

    def secret_changed(self, name: str) -> None:
        """Have each device read that is asked by a secret: by the one before it was refused, or not asked at all."""
        for one in self._devices.credentials():
            if name in one.secrets:
                for target in one.targets:
                    self._poll(target)

    async def secret(self, name: str) -> Sequence[Check]:
        """Return the checks that prove a secret; empty where nothing that we dial needs it.

        Each target that needs it is looked at, so that its state is of now, not of the last look.
        """
        return [*await self._checks(name), *await self._credentials(name)]

    async def _credentials(self, secret: str) -> Sequence[Check]:
        """Return a check for each credential with this secret: whether some of its devices answer to it."""
        reachable = {report.target for report in self._devices.reports() if report.state is DeviceState.REACHABLE}
        found = []
        for one in self._devices.credentials():
            if secret in one.secrets and one.targets:
                asked = sorted(one.targets, key=lambda target: (target not in reachable, target))[:GREETED]
                found.append(await self._credential(one, asked))
        return found

    async def _credential(self, one: SharedCredential, asked: Sequence[str]) -> Check:
        problems: dict[str, UnreadableError | None] = {}

        async def greet(target: str) -> None:
            problems[target] = UnreadableError(
                f"{target}: no answer in {TARGET_S:g} s", reason=TargetReason.UNREACHABLE
            )
            with trio.move_on_after(TARGET_S):
                try:
                    await self._devices.greet(target)
                except UnreadableError as err:
                    problems[target] = err
                else:
                    problems[target] = None

        async with trio.open_nursery() as nursery:
            for target in asked:
                nursery.start_soon(greet, target)
        bad = {target: err for target, err in sorted(problems.items()) if err is not None}
        about, what = f"credential {one.name}", "answer"
        answer = f"{len(asked) - len(bad)} of {len(asked)} devices that were asked answer to it"
        count = f"{answer}, {len(one.targets)} have it"
        if not bad:
            return Check(about, what, CheckResult.OK, count)
        target, err = next(iter(bad.items()))
        if all(err.reason is TargetReason.MISSING_SECRET for err in bad.values()):
            return Check(about, what, CheckResult.NOT_CHECKED, str(err))
        result = CheckResult.FAILS if len(bad) == len(asked) else CheckResult.WARNING
        mend = f"ispagent device probe {target.partition('/')[2]}"
        return Check(about, what, result, f"{count}; {err}", mend)

    async def _checks(self, secret: str) -> Sequence[Check]:
        found: dict[str, Sequence[Check]] = {}
        async with trio.open_nursery() as nursery:
            for target in self._sessions.dialed_targets:
                nursery.start_soon(partial(self._of_target, target, secret, found))
        # A NAS stands behind each database: it is told once
        distinct = {
            (c.about, c.what, c.detail if c.what != "disconnect" else ""): c for cs in found.values() for c in cs
        }
        return list(distinct.values())

    async def _of_target(self, target: str, secret: str, found: dict[str, Sequence[Check]]) -> None:
        late = f"no answer in {TARGET_S:g} s"
        found[target] = [Check(target, "answer", CheckResult.FAILS, late)] if not secret else []
        with trio.move_on_after(TARGET_S):
            try:
                session = await self._sessions.dialed(target)
                if not secret:
                    await session.answering()  # a device report shows the last read, so read first
                found[target] = await session.check(secret)
                if secret and found[target]:
                    await self._look(target)
            except UnreadableError as err:
                found[target] = [Check(target, "answer", CheckResult.FAILS, str(err).removeprefix(f"{target}: "))]

    async def sample(self, services: Iterable[Service]) -> Sequence[Check]:
        """Return, for each access method, whether a suspension of some of its services would hold.

        Of a method with all its services suspended, whether it still does.
        """
        by_method: dict[str, list[Service]] = {}
        for service in services:
            if service.method in self._methods:
                by_method.setdefault(service.method, []).append(service)
        found = []
        for name, every in sorted(by_method.items()):
            active = [service for service in every if not service.reasons]
            found.append(await self._sample(name, sample(active or every, SAMPLE)))
        return found

    async def _sample(self, name: str, services: Sequence[Service]) -> Check:
        trials = await try_suspensions(NetworkReader(self._sessions, self._methods), services)
        unread = [trial.text for trial in trials if trial.state is TrialState.UNREAD]
        refused: dict[str, list[str]] = {}
        for trial in trials:
            if trial.state is TrialState.REFUSED:
                refused.setdefault(f"{trial.code}: {trial.text}", []).append(trial.ref)
        about, what, n = f"method {name}", "suspension", len(services)
        not_read = f"{len(unread)} of {n} services not read: {unread[0]}" if unread else ""
        if not refused:
            held = f"it would hold for {n} of {n} services that were tried"
            return Check(about, what, CheckResult.NOT_CHECKED if unread else CheckResult.OK, not_read or held)
        failed, tried = sum(map(len, refused.values())), n - len(unread)
        why = "; ".join(f"{text} ({_named(refs)})" for text, refs in refused.items())
        told = f"it would not hold for {failed} of {tried} services that were tried: {why}"
        result = CheckResult.FAILS if failed == tried else CheckResult.WARNING
        mend = f"ispagent change suspend {next(iter(refused.values()))[0]} shows the preview, and sends nothing"
        return Check(about, what, result, "; ".join(filter(None, (told, not_read))), mend)


def _named(refs: Sequence[str]) -> str:
    more = f" and {len(refs) - EXAMPLES} more" if len(refs) > EXAMPLES else ""
    return ", ".join(refs[:EXAMPLES]) + more


def _of_device(report: DeviceReport) -> Iterable[Check]:
    if report.state is DeviceState.REACHABLE:
        yield Check(report.target, "device", CheckResult.OK, f"{report.address} {report.version}".strip())
    elif report.state is DeviceState.NOT_ASKED:
        yield Check(report.target, "device", CheckResult.NOT_CHECKED, "nobody asked it yet")
    else:
        mend = f"ispagent device probe {report.name}"
        yield Check(report.target, "device", CheckResult.FAILS, report.problem, mend)
    for finding in report.findings:
        mend = f"ispagent device show {report.name}"
        yield Check(report.target, str(finding.code), CheckResult.WARNING, finding.text, mend)
