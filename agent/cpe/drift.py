"""CPE against the state that they are to have, by last known values: nothing is asked of a CPE for it.

They are to have their declared baseline, once they got it (before that, and after a reset, provisioning sees to it);
and the parameters that a change set by name, which count more, as long as it is the CPE of that change and serves the
same service. Secrets are left out: CPE return them empty. Rows of tables that a change made are left out too.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from agent.age import age_text
from agent.changes.drifting import SourceFindings
from agent.cpe import verbs
from agent.cpe.baseline import plain_settings
from agent.cpe.intake import CpeIntake
from agent.cpe.reasons import CpeDriftReason
from agent.cpe.verbs import CpePlan, CpeSubject, Wanted
from agent.cpe_model.addresses import VALUE, is_path
from agent.cpe_model.known import Acceptance, Cpe
from agent.inventory.drift_book import Difference, Unread
from agent.model import ABSENT, Effect, ItemState, Service, Transition
from agent.reasons import SkipReason
from agent.services.verbs import Leave
from agent.store.db import Store
from agent.store.vault import Vault
from trust.errors import TrustError
from trust.items import decode_item_untrusted

EACH: Final = 20
"""CPE, or items, that are looked at at once; between them everything else has its turn."""
_SHOWN: Final = 5
"""Parameters of one CPE that are named."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """A text that a parameter is to have, and its origin for people.

    Of a change: for which service, None: nobody's; and `seq`, the entry in the log that says that it was set.
    """

    text: str
    origin: str
    service: str | None = None
    seq: int = 0

    def is_of(self, cpe: Cpe) -> bool:
        """Tell whether a change set it on this CPE, and for whom it serves: not on one that was forgotten since."""
        return self.seq > cpe.accepted_seq and self.service in (None, cpe.service)


class CpeDrift:
    """Compares accepted CPE with the state that they are to have. A source of `agent.changes.drifting`."""

    def __init__(
        self, intake: CpeIntake, services: Callable[[], Mapping[str, Service]], store: Store, vault: Vault
    ) -> None:
        """Take the intake, which plans baselines, all services by ref, and the journal of changes."""
        self._intake, self._services = intake, services
        self._set = _SetByChanges(store, vault)

    async def __call__(self) -> SourceFindings:
        """Return the CPE that differ from the state that they are to have."""
        found: list[Difference] = []
        unread: list[Unread] = []
        await self._set.read_on()
        checked, services = 0, self._services()
        for n, cpe in enumerate(self._intake.cpes.all()):
            if n % EACH == 0:
                await trio.lowlevel.checkpoint()
            service = services.get(cpe.service)
            if cpe.trust is not Acceptance.ACCEPTED or not self._has_wishes(cpe):
                continue
            subject = self._intake.subject(cpe)
            wanted = self._wanted(subject, service)
            if not wanted:
                continue
            other, why = self._compared(subject, wanted)
            checked += not why
            unread += [Unread(f"CPE {cpe.name}", why)] if why else []
            found += [other] if other is not None else []
        return SourceFindings(tuple(found), tuple(unread), checked)

    def _has_wishes(self, cpe: Cpe) -> bool:
        return self._intake.baseline(cpe) is not None or bool(
            self._set.of(self._intake.manager.target_id(cpe.name), cpe)
        )

    def _wanted(self, subject: CpeSubject, service: Service | None) -> Mapping[str, _Wish]:
        """Return the wishes for a CPE, by path or name."""
        cpe, profile = subject.cpe, subject.profile
        baseline = self._intake.baseline(cpe)
        found: dict[str, _Wish] = {}
        if baseline is not None and cpe.provisioned == cpe.resets:
            for name, text in plain_settings(baseline, cpe, service).items():
                path = profile.path(name) if profile is not None else None
                found[path or name] = _Wish(text, f"baseline {baseline.name}")
        return {**found, **self._set.of(subject.target, cpe)}

    def _compared(self, subject: CpeSubject, wanted: Mapping[str, _Wish]) -> tuple[Difference | None, str]:
        """Return the difference of a CPE, and why it could not be checked whole."""
        now_s = int(self._intake.clock.wall_s())
        writes: list[tuple[Transition, str]] = []
        why = ""
        for name, wish in wanted.items():
            # One by one: a plan for all of them says why the first cannot be set, and nothing of the others
            made = verbs.set_values(subject, Wanted({name: wish.text}), now_s)
            if isinstance(made, CpePlan):
                steps = [step.do for step in made.steps if not isinstance(step.do, Effect)]
                writes += [(t, wish.origin) for do in steps for t in do]
            elif isinstance(made, Leave) and made.code != SkipReason.ALREADY:
                why = why or made.why
        return (_difference(subject, writes, now_s) if writes else None), why


class _SetByChanges:
    """The parameters that changes set by name, the last one of each; read on from the journal each time."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store, self._vault = store, vault
        self._seq = 0
        self._found: dict[str, dict[str, _Wish]] = {}

    def of(self, target: str, cpe: Cpe) -> Mapping[str, _Wish]:
        """Return those of one CPE, by path; not those of the house where it was before."""
        return {path: wish for path, wish in self._found.get(target, {}).items() if wish.is_of(cpe)}

    async def read_on(self) -> None:
        """Take note of the items that stand, or were taken back, since the last time.

        By the order in which they did: a batch waits for others of its CPE for days. A plan with a reason sets a
        baseline: no name's wish.
        """
        head = self._store.query("SELECT coalesce(max(seq), 0) AS seq FROM event", ())[0]["seq"]
        items = self._store.query(
            "SELECT p.short, p.requester, i.subject, i.doc, i.state, i.state_seq"
            " FROM plan p JOIN item i USING (plan_id)"
            " WHERE (p.finished_seq IS NULL OR p.finished_seq > ?) AND p.action IN ('cpe-set', 'revert')"
            " AND p.reason = '' AND i.state IN ('applied', 'accepted', 'reverted')"
            " AND i.state_seq > ? AND i.state_seq <= ? ORDER BY i.state_seq",
            (self._seq, self._seq, head),
        )
        for n, row in enumerate(items):
            if n % EACH == 0:
                await trio.lowlevel.checkpoint()
            self._note(row)
        self._seq = head

    def _note(self, row: sqlite3.Row) -> None:
        origin, back = f"change {row['short']} of {row['requester']}", row["state"] == ItemState.REVERTED.value
        opened = self._vault.open_record(bytes(row["subject"]), bytes(row["doc"]))
        if opened is None:
            return  # its subscriber was erased
        try:
            item = decode_item_untrusted(opened[1])
        except TrustError:
            return  # the audit of the log names it
        for step in item.steps:
            for t in () if isinstance(step.do, Effect) else step.do:
                path, value = verbs.path_of(t), t.before.value if back else t.after
                text = None if value is ABSENT else value.get(VALUE)
                if isinstance(text, str) and is_path(path):
                    self._found.setdefault(step.target, {})[path] = _Wish(text, origin, item.subject, row["state_seq"])


def _difference(subject: CpeSubject, writes: Sequence[tuple[Transition, str]], now_s: int) -> Difference:
    name, oldest = subject.cpe.name, min(t.before.at_s for t, _ in writes)
    shown = writes[:_SHOWN]
    more = f" and {len(writes) - len(shown)} more" if len(shown) < len(writes) else ""
    wanted = ", ".join(f"{verbs.path_of(t)} = {_text(t, after=True)} ({origin})" for t, origin in shown)
    reads = ", ".join(f"{verbs.path_of(t)} = {_text(t, after=False)}" for t, _ in shown)
    sets = " ".join(f"--value {shlex.quote(f'{verbs.path_of(t)}={_text(t, after=True)}')}" for t, _ in writes)
    return Difference(
        subject=f"CPE {name}",
        code=CpeDriftReason.CPE_DIFFERS.value,
        wanted=f"{wanted}{more}",
        reads=f"{reads}{more}",
        where=f"last known values, the oldest of {age_text(now_s - oldest)} ago",
        read_s=oldest,
        known="it had these values: it was changed since, or the configuration was",
        asks=(
            (f"ispagent cpe refresh {name}", "read it anew first"),
            (f"ispagent cpe set {name} {sets}", "set them again"),
        ),
    )


def _text(write: Transition, *, after: bool) -> str:
    value = write.after if after else write.before.value
    if value is ABSENT:
        return "nothing"
    found = value.get(VALUE, "…")
    return found if isinstance(found, str) else "…"
