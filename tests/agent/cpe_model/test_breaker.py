"""The circuit breaker: what is tripped, what is not, and that it survives a restart."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.cpe_model import breaker
from agent.cpe_model.breaker import Breaker, TaskSignature, Tripped

REFRESH = TaskSignature("GetParameterNames", "InternetGatewayDevice.")
READ = TaskSignature("GetParameterValues", "InternetGatewayDevice.DeviceInfo.SoftwareVersion")
REBOOT = TaskSignature("Reboot", "")


def test_a_refresh_that_reboots_for_ever_is_stopped_after_two() -> None:
    """genieacs-gui issue 78: sent, booted, sent again …"""
    machine = Breaker()
    machine.task(REFRESH, 0)
    assert machine.boot(90) is None
    assert machine.allowed(REFRESH) is None
    machine.task(REFRESH, 91)
    tripped = machine.boot(180)
    assert tripped == Tripped(REFRESH, 180, 2) == machine.allowed(REFRESH)
    said = "followed by a boot 2 times in a row; not sent until a person clears it"
    assert str(tripped) == f"GetParameterNames InternetGatewayDevice.: {said}"
    assert machine.allowed(READ) is None
    assert machine.tripped() == (tripped,)


def test_a_boot_is_laid_to_the_last_task_alone() -> None:
    machine = Breaker()
    for start in (0, 1000):
        machine.task(READ, start)
        machine.task(REFRESH, start + 1)
        machine.boot(start + 60)
    assert [tripped.signature for tripped in machine.tripped()] == [REFRESH]


def test_a_run_without_a_boot_ends_the_row() -> None:
    machine = Breaker()
    machine.task(REFRESH, 0)
    machine.boot(60)
    machine.task(REFRESH, 100)  # survives
    machine.task(REFRESH, 10_000)
    assert machine.boot(10_060) is None
    machine.task(REFRESH, 10_100)
    assert machine.boot(10_160) is not None


def test_a_run_whose_end_is_not_known_yet_does_not_end_the_row() -> None:
    machine = Breaker()
    machine.task(REFRESH, 0)
    machine.boot(60)
    machine.task(REFRESH, 100)
    machine.task(REFRESH, 110)
    assert machine.boot(160) is not None


def test_a_boot_counts_once_and_in_time_alone() -> None:
    machine = Breaker(within_s=100)
    assert machine.boot(0) is None
    machine.task(REFRESH, 0)
    assert machine.boot(101) is None
    assert machine.boot(50) is None  # told late: counts once
    assert machine.boot(60) is None
    machine.task(REFRESH, 200)
    assert machine.boot(199) is None  # before it was sent
    assert machine.boot(300) is not None


@pytest.mark.parametrize("method", sorted(breaker.MEANT))
def test_what_is_meant_to_boot_is_never_tripped(method: str) -> None:
    machine = Breaker(times=1)
    for start in (0, 1000, 2000):
        machine.task(READ, start)
        machine.task(TaskSignature(method, "x"), start + 1)
        assert machine.boot(start + 60) is None
        assert machine.boot(start + 120) is None
    assert machine.tripped() == ()


def test_tripped_until_a_person_clears_it() -> None:
    machine = Breaker(times=1)
    assert machine.clear(REFRESH) is False
    machine.task(REFRESH, 0)
    machine.boot(60)
    machine.task(REFRESH, 1000)  # sent all the same, and it survives
    machine.task(REFRESH, 9000)
    assert machine.allowed(REFRESH) == Tripped(REFRESH, 60, 1)
    assert machine.clear(REFRESH) is True
    assert machine.clear(REFRESH) is False
    assert machine.allowed(REFRESH) is None
    assert machine.boot(9001) is None  # of before the decision
    machine.task(REFRESH, 9100)
    assert machine.boot(9160) == Tripped(REFRESH, 9160, 1)


def test_memory_is_bounded_and_what_is_tripped_stays() -> None:
    machine = Breaker(times=1)
    machine.task(REFRESH, 0)
    machine.boot(1)
    for at in range(2000):
        machine.task(TaskSignature("GetParameterValues", f"Device.X.{at}"), 10_000 + at)
    assert len(machine.rows()) == breaker.REMEMBERED + 1
    assert machine.allowed(REFRESH) is not None
    assert machine.rows()[-1][1] == "Device.X.1999"


@given(
    events=st.lists(st.tuples(st.sampled_from([REFRESH, READ, REBOOT, None]), st.integers(0, 900)), max_size=40),
    cut=st.integers(0, 40),
)
def test_a_restart_anywhere_changes_nothing(events: list[tuple[TaskSignature | None, int]], cut: int) -> None:
    whole, parts, now = Breaker(), Breaker(), 0.0
    for at, (signature, pause) in enumerate(events):
        now += pause + 1
        if at == cut:
            parts = Breaker.of(reversed(parts.rows()))
        for machine in (whole, parts):
            if signature is None:
                machine.boot(now)
            else:
                machine.task(signature, now)
    assert parts.rows() == whole.rows()
    assert parts.tripped() == whole.tripped()


@dataclass
class Run:
    signature: TaskSignature
    at_s: float
    laid: bool = False
    boots: list[float] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """Against the whole history: every run with the boots after it."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Breaker(times=2, within_s=100)
        self.now = 1.0
        self.runs: list[Run] = []
        self.tripped: set[TaskSignature] = set()
        self.since: dict[TaskSignature, int] = {}

    @rule(signature=st.sampled_from([REFRESH, READ, REBOOT]))
    def task(self, signature: TaskSignature) -> None:
        self.machine.task(signature, self.now)
        self.runs.append(Run(signature, self.now))

    @rule(pause=st.sampled_from([1.0, 50.0, 100.0, 101.0]))
    def wait(self, pause: float) -> None:
        self.now += pause

    @rule()
    def boot(self) -> None:
        got = self.machine.boot(self.now)
        newly = None
        if self.runs:
            last = self.runs[-1]
            fresh = not last.boots and self.now - last.at_s <= 100 and last.signature.method != "Reboot"
            if fresh and len(self.runs) > self.since.get(last.signature, 0):
                last.laid = True
            for run in self.runs:
                if self.now - run.at_s <= 100:
                    run.boots.append(self.now)
            if last.laid and fresh and last.signature not in self.tripped and self.in_a_row(last.signature) >= 2:
                newly = last.signature
                self.tripped.add(newly)
        assert (got and got.signature) == newly

    @rule(signature=st.sampled_from([REFRESH, READ, REBOOT]))
    def clear(self, signature: TaskSignature) -> None:
        assert self.machine.clear(signature) == (signature in self.tripped)
        self.tripped.discard(signature)
        self.since[signature] = len(self.runs)

    @rule()
    def restart(self) -> None:
        self.machine = Breaker.of(self.machine.rows(), times=2, within_s=100)

    def in_a_row(self, signature: TaskSignature) -> int:
        """Runs since the last that is known to have survived: no boot within 100 s, and the next one came later."""
        count = 0
        mine = [run for run in self.runs[self.since.get(signature, 0) :] if run.signature == signature]
        for at, run in enumerate(mine):
            count += run.laid
            later = mine[at + 1].at_s if at + 1 < len(mine) else run.at_s
            if not run.boots and later - run.at_s > 100:
                count = 0
        return count

    @invariant()
    def what_is_tripped_is_not_allowed_and_nothing_else(self) -> None:
        assert {tripped.signature for tripped in self.machine.tripped()} == self.tripped
        for signature in (REFRESH, READ, REBOOT):
            assert (self.machine.allowed(signature) is not None) == (signature in self.tripped)


TestMachine = Machine.TestCase
