"""The loop that polls: each target at its pace, silence of one, and a crash of one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from agent.connectors.base import Connector, DeviceReport, DeviceState, Sample, UnreadableError
from agent.model import Target
from agent.polling import samples
from agent.polling.poller import ANSWER_S, Poller
from agent.reasons import TargetReason
from agent.runtime.clock import SystemClock
from agent.store.db import Store
from tests.agent.polling.test_samples import opened


class Meters:
    """`a` answers, `b` is away, `c` says nothing, `d` makes the connector crash."""

    targets = tuple(Target(f"meter/{name}", "meter") for name in "abcd")
    poll_every_s = 0.01

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.enough = trio.Event()

    async def poll(self, target: Target) -> Sequence[Sample]:
        self.asked.append(target.id)
        if min(self.asked.count("meter/a"), self.asked.count("meter/b")) > 2:
            self.enough.set()
        await trio.lowlevel.checkpoint()
        match target.id:
            case "meter/b":
                raise UnreadableError("b is away", reason=TargetReason.UNREACHABLE)
            case "meter/c":
                await trio.sleep_forever()
            case "meter/d":
                raise ZeroDivisionError
        return [Sample("volts", str(len(self.asked)))]


class Reported(Meters):
    """Reports on its devices itself."""

    def reports(self) -> Sequence[DeviceReport]:
        return ()

    async def probe(self, target: str) -> DeviceReport:
        raise AssertionError


def poller(connectors: Mapping[str, Connector], store: Store) -> Poller:
    return Poller(connectors, store, SystemClock())


async def test_one_that_is_silent_or_crashes_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meters = Meters()
    with opened(tmp_path) as (store, _):
        made = poller({"meter": meters}, store)
        states = {r.target: r.state for r in made.reports()}
        assert set(states.values()) == {DeviceState.NOT_ASKED}
        with caplog.at_level(logging.CRITICAL, "agent.polling"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(made.run)
                with trio.fail_after(60):
                    await meters.enough.wait()
                nursery.cancel_scope.cancel()
        a, b, c, _ = made.reports()
        assert (a.state, a.problem, a.read_s is not None) == (DeviceState.REACHABLE, "", True)
        assert (b.state, b.problem, b.read_s) == (DeviceState.UNREACHABLE, "b is away", None)
        assert (c.state, meters.asked.count("meter/c")) == (DeviceState.NOT_ASKED, 1)
        assert samples.latest(store, "meter/a")
        assert samples.latest(store, "meter/b") == []


async def test_silence_is_a_problem_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.polling.poller.ANSWER_S", 0.01)
    assert ANSWER_S == 60
    with opened(tmp_path) as (store, _):
        found = await poller({"meter": Meters()}, store).probe("meter/c")
    assert (found.state, found.problem) == (DeviceState.UNREACHABLE, "meter/c: expected an answer in 0.01 s, got none")


async def test_a_probe_polls_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        made = poller({"meter": Meters()}, store)
        assert (await made.probe("meter/a")).state is DeviceState.REACHABLE
        assert [p.value for p in samples.latest(store, "meter/a")] == ["1"]
        with pytest.raises(UnreadableError, match="no target meter/x is polled"):
            await made.probe("meter/x")


async def test_a_connector_that_reports_itself_is_only_polled(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        made = poller({"meter": Reported()}, store)
        assert (list(made.reports()), list(made.targets)) == ([], [])
        assert not poller({}, store).targets


async def test_nothing_to_poll_is_the_end_of_it(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        with trio.fail_after(60):
            await poller({}, store).run()
