"""The circuit breaker: a task that a CPE answers by a boot, time after time, is not sent to it again. Pure.

A refresh of the whole object reboots a Vigor 2860; the ACS sends it again after the boot, and so for ever (genieacs-gui
issue 78). No profile knows every such CPE. So each CPE has a breaker, which is told each request and each boot: a task
that is followed by a boot, times in a row, is tripped until a person clears it.

A boot is laid to the last task that was sent before it, and to that one alone: a CPE that dies of a task answers
nothing after it. If it dies late, the one after is suspected first; without that, boots come after the right one,
which is tripped in turn. A task that is meant to boot (Reboot, a firmware) is never suspected, and takes its boot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

TIMES: Final = 2
"""Boots after the same task, in a row. One is a power cut; three would be a customer on the telephone."""

WITHIN_S: Final = 600.0
"""From a task to the Inform after the boot. A CPE with DSL boots and trains for up to five minutes; doubled."""

REMEMBERED: Final = 256
"""Signatures of one CPE that are not tripped; the longest unused is forgotten first. Chosen arbitrarily."""

MEANT: Final = frozenset({"Reboot", "FactoryReset", "Download", "ScheduleDownload"})
"""Methods that a boot follows because it was asked for."""

BreakerRow = tuple[str, str, int, float, bool, float | None]
"""A signature for a database: method, path, boots in a row, last sent at, whether a boot came since, tripped at."""


@dataclass(frozen=True, slots=True)
class TaskSignature:
    """The key by which two tasks are the same: the method and its subject, a path or a name."""

    method: str
    path: str

    def __str__(self) -> str:
        """Return both, for people."""
        return f"{self.method} {self.path}".rstrip()


@dataclass(frozen=True, slots=True)
class Tripped:
    """A task that is not to be sent. `at_s`: of the boot that tripped it. `times`: boots in a row."""

    signature: TaskSignature
    at_s: float
    times: int

    def __str__(self) -> str:
        """Return why, for people."""
        return f"{self.signature}: followed by a boot {self.times} times in a row; not sent until a person clears it"


@dataclass(frozen=True, slots=True)
class _Record:
    """The state of a signature. `booted`: within the time after it was last sent."""

    in_a_row: int
    sent_at_s: float
    booted: bool = False
    tripped_at_s: float | None = None


class Breaker:
    """The breaker of one CPE. All times are seconds since 1970, since they outlive the process."""

    def __init__(self, *, times: int = TIMES, within_s: float = WITHIN_S) -> None:
        """Start with nothing known.

        Args:
            times: boots in a row that trip a task, at least 1.
            within_s: the longest from a task to its boot.
        """
        self._times = times
        self._within_s = within_s
        self._records: dict[TaskSignature, _Record] = {}  # in the order of sending

    @classmethod
    def of(cls, rows: Iterable[BreakerRow], *, times: int = TIMES, within_s: float = WITHIN_S) -> Breaker:
        """Return a breaker as `rows` left it.

        Args:
            rows: in any order, but for tasks sent at one moment.
            times: boots in a row that trip a task, at least 1.
            within_s: the longest from a task to its boot.
        """
        breaker = cls(times=times, within_s=within_s)
        for method, path, in_a_row, sent_at_s, booted, tripped_at_s in sorted(rows, key=lambda row: row[3]):
            breaker._records[TaskSignature(method, path)] = _Record(in_a_row, sent_at_s, booted, tripped_at_s)
        return breaker

    def rows(self) -> tuple[BreakerRow, ...]:
        """Return the state, for a database, in the order of sending."""
        return tuple(
            (known.method, known.path, record.in_a_row, record.sent_at_s, record.booted, record.tripped_at_s)
            for known, record in self._records.items()
        )

    def task(self, signature: TaskSignature, at_s: float) -> None:
        """Note that a task is being sent. A run before it that no boot followed in time ends the row."""
        before = self._records.pop(signature, _Record(0, at_s))
        survived = not before.booted and at_s - before.sent_at_s > self._within_s
        in_a_row = 0 if survived and before.tripped_at_s is None else before.in_a_row
        self._records[signature] = _Record(in_a_row, at_s, tripped_at_s=before.tripped_at_s)
        self._forget()

    def boot(self, at_s: float) -> Tripped | None:
        """Note that the CPE booted; return the signature that this trips, None where none.

        Args:
            at_s: when it informed of it. One boot is told once: an Inform with `1 BOOT` and a RetryCount above 0
                repeats one.
        """
        if not self._records:
            return None
        signature = next(reversed(self._records))
        suspect = self._records[signature]
        for known, record in self._records.items():
            if self._follows(at_s, record):
                self._records[known] = replace(record, booted=True)
        if suspect.booted or signature.method in MEANT or not self._follows(at_s, suspect):
            return None
        suspect = replace(suspect, booted=True, in_a_row=suspect.in_a_row + 1)
        trips = suspect.tripped_at_s is None and suspect.in_a_row >= self._times
        self._records[signature] = replace(suspect, tripped_at_s=at_s) if trips else suspect
        return Tripped(signature, at_s, suspect.in_a_row) if trips else None

    def allowed(self, signature: TaskSignature) -> Tripped | None:
        """Return why a task is not to be sent, None where it may be."""
        record = self._records.get(signature)
        if record is None or record.tripped_at_s is None:
            return None
        return Tripped(signature, record.tripped_at_s, record.in_a_row)

    def tripped(self) -> tuple[Tripped, ...]:
        """Return all that is tripped, the first tripped first."""
        found = [tripped for tripped in map(self.allowed, self._records) if tripped is not None]
        return tuple(sorted(found, key=lambda tripped: tripped.at_s))

    def clear(self, signature: TaskSignature) -> bool:
        """Let a task be sent again, as a person decided; return whether it was tripped. Its boots count anew."""
        record = self._records.get(signature)
        if record is None:
            return False
        self._records[signature] = replace(record, in_a_row=0, booted=True, tripped_at_s=None)
        return record.tripped_at_s is not None

    def _follows(self, boot_at_s: float, record: _Record) -> bool:
        return 0 <= boot_at_s - record.sent_at_s <= self._within_s

    def _forget(self) -> None:
        """Forget the tasks sent longest ago that are not tripped, down to the number that is remembered."""
        harmless = [known for known, record in self._records.items() if record.tripped_at_s is None]
        for known in harmless[: max(0, len(harmless) - REMEMBERED)]:
            del self._records[known]
