"""CPE against their declared baseline, by last known values: nothing is asked of a CPE for it.

A CPE counts once it has its baseline; before that, and after a reset, provisioning sees to it. Secrets are left out:
CPE return them empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from agent.changes.drifting import SourceFindings
from agent.cpe import verbs
from agent.cpe.baseline import plain_settings
from agent.cpe.intake import CpeIntake
from agent.cpe.reasons import CpeDriftReason
from agent.cpe.verbs import CpePlan, CpeSubject, Wanted
from agent.cpe_model.addresses import VALUE
from agent.cpe_model.baseline import Baseline
from agent.cpe_model.known import Acceptance, Cpe
from agent.inventory.drift_book import Difference, Unread
from agent.model import ABSENT, Effect, Service, Transition, age_text
from agent.reasons import SkipReason

EACH: Final = 20
"""CPE that are compared at once; between them everything else has its turn."""
_SHOWN: Final = 5
"""Parameters of one CPE that are named."""


class CpeDrift:
    """Compares the CPE that have their baseline. A source of `agent.changes.drifting`."""

    def __init__(self, intake: CpeIntake, services: Callable[[], Mapping[str, Service]]) -> None:
        """Take the intake, which plans baselines, and all services by ref."""
        self._intake, self._services = intake, services

    async def __call__(self) -> SourceFindings:
        """Return the CPE that differ from their baseline."""
        found: list[Difference] = []
        unread: list[Unread] = []
        checked, services = 0, self._services()
        for n, cpe in enumerate(self._intake.cpes.all()):
            if n % EACH == 0:
                await trio.lowlevel.checkpoint()
            baseline = self._intake.baseline(cpe)
            if baseline is None or cpe.trust is not Acceptance.ACCEPTED or cpe.provisioned != cpe.resets:
                continue
            other, why = self._compared(cpe, baseline, services.get(cpe.service))
            checked += not why
            unread += [Unread(f"CPE {cpe.name}", why)] if why else []
            found += [other] if other is not None else []
        return SourceFindings(tuple(found), tuple(unread), checked)

    def _compared(self, cpe: Cpe, baseline: Baseline, service: Service | None) -> tuple[Difference | None, str]:
        """Return how a CPE differs, and why it could not be checked whole."""
        subject, now_s = self._intake.subject(cpe), int(self._intake.clock.wall_s())
        writes: list[Transition] = []
        why = ""
        for name, text in plain_settings(baseline, cpe, service).items():
            made = verbs.set_values(subject, Wanted({name: text}), now_s)
            if isinstance(made, CpePlan):
                writes += [t for step in made.steps if not isinstance(step.do, Effect) for t in step.do]
            elif made.code != SkipReason.ALREADY:
                why = why or made.why
        return (_difference(subject, baseline, writes, now_s) if writes else None), why


def _difference(subject: CpeSubject, baseline: Baseline, writes: Sequence[Transition], now_s: int) -> Difference:
    name, oldest = subject.cpe.name, min(t.before.at_s for t in writes)
    shown = writes[:_SHOWN]
    more = f" and {len(writes) - len(shown)} more" if len(shown) < len(writes) else ""
    wanted = ", ".join(f"{verbs.path_of(t)} = {_text(t, after=True)}" for t in shown)
    reads = ", ".join(f"{verbs.path_of(t)} = {_text(t, after=False)}" for t in shown)
    return Difference(
        subject=f"CPE {name}",
        code=CpeDriftReason.BASELINE_DIFFERS.value,
        wanted=f"{wanted}{more} (baseline {baseline.name})",
        reads=f"{reads}{more}",
        where=f"last known values, the oldest of {age_text(now_s - oldest)} ago",
        read_s=oldest,
        known="it had its baseline: it was changed since, or the configuration was",
        asks=(
            (f"ispagent cpe refresh {name}", "read it anew first"),
            (f"ispagent cpe provision {name}", "set the baseline again"),
        ),
    )


def _text(write: Transition, *, after: bool) -> str:
    value = write.after if after else write.before.value
    if value is ABSENT:
        return "nothing"
    found = value.get(VALUE, "…")
    return found if isinstance(found, str) else "…"
