"""Polled values in the database: the newest of each name, a series, and bounds that a device cannot break."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.connectors.base import Sample
from agent.polling import samples
from agent.polling.samples import NAME_CHARS, NAMES_MAX, VALUE_CHARS, Polled, RecordSamples
from agent.store.db import Store
from tests.agent.store.stores import TRANSITIONS, WALL_S

AT = int(WALL_S)


class HandTime:
    def __init__(self) -> None:
        self.now_s = WALL_S

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Store, HandTime]]:
    time = HandTime()
    store = Store(folder, TRANSITIONS, time)
    try:
        yield store, time
    finally:
        store.close()


def of(**values: str) -> tuple[Sample, ...]:
    return tuple(Sample(name, value) for name, value in values.items())


async def test_the_newest_of_each_name_and_a_series(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, time):
        assert await store.run(RecordSamples("meter/a", of(volts="12.1", state="ok"))) == 2
        time.now_s += 60
        await store.run(RecordSamples("meter/a", of(volts="11.9")))
        await store.run(RecordSamples("meter/b", of(volts="230")))
        assert samples.latest(store, "meter/a") == [Polled("state", "ok", AT), Polled("volts", "11.9", AT + 60)]
        assert samples.series(store, "meter/a", "volts") == [
            Polled("volts", "12.1", AT),
            Polled("volts", "11.9", AT + 60),
        ]
        assert samples.series(store, "meter/a", "amperes") == []
    with opened(tmp_path) as (store, _):
        assert samples.latest(store, "meter/b") == [Polled("volts", "230", AT + 60)]


async def test_two_polls_in_one_second_are_one_value(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        for value in ("1", "2"):
            await store.run(RecordSamples("meter/a", of(volts=value)))
        assert samples.series(store, "meter/a", "volts") == [Polled("volts", "2", AT)]


async def test_old_values_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "KEPT", 5)
    with opened(tmp_path) as (store, time):
        for n in range(8):
            time.now_s = WALL_S + n
            await store.run(RecordSamples("meter/a", of(volts=str(n), **({"state": "ok"} if n == 0 else {}))))
        kept = samples.series(store, "meter/a", "volts")
        assert (len(kept), kept[0].value, kept[-1].value) == (5, "3", "7")
        assert samples.series(store, "meter/a", "state") == [Polled("state", "ok", AT)]


async def test_a_device_cannot_fill_the_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, time):
        many = tuple(Sample(f"n{n}", "1") for n in range(NAMES_MAX + 10))
        assert await store.run(RecordSamples("meter/a", many)) == NAMES_MAX
        time.now_s += 1
        assert await store.run(RecordSamples("meter/a", (Sample("another", "1"), Sample("n0", "2")))) == 1
        assert await store.run(RecordSamples("meter/b", (Sample("x" * 1000, "y" * 1000),))) == 1
        (long,) = samples.latest(store, "meter/b")
        assert (len(long.name), len(long.value)) == (NAME_CHARS, VALUE_CHARS)
