"""Series of readings: what is kept, read back, outlives a restart, and waits for a disk that is full."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from agent.line_model.reading import DeviceReading, Part, PartKind, Sensor
from agent.polling import series
from agent.polling.series import OUTAGE, Newest, Point, SeriesStore
from agent.polling.series_rows import WIDTH
from tests.builders.clock import START, HandClock


@dataclass
class Noted:
    problem: str = ""

    def __call__(self, name: str, problem: str) -> None:
        assert name == OUTAGE
        self.problem = problem


@contextmanager
def opened(folder: Path, note: Noted | None = None) -> Iterator[SeriesStore]:
    with closing(SeriesStore(folder / "series.db", 64 << 20, HandClock())) as store:
        if note is not None:
            store.note = note
        yield store


def reading(at_s: int, octets: int, volts: float | None = 12.0, **more: float) -> DeviceReading:
    part = Part("port/1", PartKind.PORT, "1", counters={"in_octets": octets}, measures={"speed_bps": 1e9, **more})
    sensors = (Sensor("voltage/in", "voltage", "in", volts, "V"), Sensor("state/fan", "state", "fan", text="ok"))
    return DeviceReading("snmp/a", at_s, parts=(part,), sensors=sensors)


async def hour(store: SeriesStore, begin_s: int = START) -> None:
    for n in range(12):
        await store.keep(reading(begin_s + 300 * n + 7, 3_000_000 * n, 12.0 + n))
        HandClock.now_s = begin_s + 300 * n + 8
        await store.flush(begin_s + 300 * n)


async def test_rates_measures_and_sensors_are_series(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        await hour(store)
        assert store.names("snmp/a") == {"port/1": ["in_bps", "speed_bps"], "voltage/in": ["value"]}
        assert store.names("snmp/b") == {}
        newest, read_s = store.newest("snmp/a")
        assert set(newest) == {
            Newest("port/1", "in_bps", 80_000.0),
            Newest("port/1", "speed_bps", 1e9),
            Newest("voltage/in", "value", 23.0),
        }
        assert read_s == START + 3307
        assert store.newest("snmp/b") == ((), 0)
        step, points = await store.read("snmp/a", "voltage/in", "value", START, START + 3600)
        assert (step, [point.mean for point in points]) == (300, [12.0 + n for n in range(12)])
        _, rates = await store.read("snmp/a", "port/1", "in_bps", START, START + 3600)
        assert [point.mean for point in rates] == [80_000.0] * 11
        step, points = await store.read("snmp/a", "voltage/in", "value", START - 86_400 * 5, START + 3600)
        assert (step, points) == (3600, [Point(START, 12.0, 17.5, 23.0)])
        with pytest.raises(KeyError):
            await store.read("snmp/a", "port/1", "out_bps", START, START + 3600)


async def test_several_readings_in_one_bucket(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for n in range(4):
            await store.keep(reading(START + n, 0, float(n)))
        assert await store.read("snmp/a", "voltage/in", "value", START, START + 300) == (
            300,
            [Point(START, 0.0, 1.5, 3.0)],
        )


async def test_it_outlives_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        await store.keep(reading(START, 0, 10.0))
        await store.flush(None)
    with opened(tmp_path) as store:
        assert store.newest("snmp/a") == ((), 0)
        await store.keep(reading(START + 1, 0, 20.0, signal_dbm=-60.0))
        await store.flush(None)
    with opened(tmp_path) as store:
        assert store.names("snmp/a")["port/1"] == ["signal_dbm", "speed_bps"]
        _, points = await store.read("snmp/a", "voltage/in", "value", START, START + 300)
        assert points == [Point(START, 10.0, 15.0, 20.0)]
        _, points = await store.read("snmp/a", "port/1", "signal_dbm", START, START + 300)
        assert points == [Point(START, -60.0, -60.0, -60.0)]


async def test_the_end_writes_the_running_buckets(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        await store.keep(reading(START, 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    with opened(tmp_path) as store:
        assert len((await store.read("snmp/a", "voltage/in", "value", START, START + 300))[1]) == 1


async def test_values_that_are_none_are_left_out(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        await store.keep(reading(START, 0, float("nan"), signal_dbm=float("inf"), snr_db=1e39))
        assert store.names("snmp/a") == {"port/1": ["speed_bps"]}


async def test_a_device_cannot_fill_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "TARGET_SERIES_MOST", 256)
    with opened(tmp_path) as store:
        for n in range(3):
            parts = tuple(Part(f"client/{n}-{i}", PartKind.CLIENT, "", measures={"snr_db": i}) for i in range(150))
            await store.keep(DeviceReading("snmp/a", START + 300 * n, parts=parts))
        assert sum(map(len, store.names("snmp/a").values())) == 2 * WIDTH
        await store.flush(None)
    with opened(tmp_path) as store:
        assert sum(map(len, store.names("snmp/a").values())) == 2 * WIDTH


def stations(at_s: int, *names: str) -> DeviceReading:
    parts = (Part(f"client/{name}", PartKind.CLIENT, name, measures={"signal_dbm": -60.0}) for name in names)
    return DeviceReading("snmp/ap", at_s, parts=tuple(parts))


async def test_stations_without_end_end_the_oldest_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "TARGET_SERIES_MOST", 4 * WIDTH)
    with opened(tmp_path) as store:
        for n in range(40):
            made_up = [f"{n}-{k}" for k in range(60)]
            await store.keep(stations(START + 300 * n, "customer", *made_up))
            await store.flush(START + 300 * n)
            assert sum(len(names) for names in store.names("snmp/ap").values()) <= 4 * WIDTH
        kept = store.names("snmp/ap")
        assert all(f"client/39-{k}" in kept for k in range(60)), "new ones are kept"
        assert not any(key.startswith("client/20-") for key in kept)
        assert "client/customer" in kept
        ((dropped, refused),) = store.crowded().values()
        assert (dropped % WIDTH, dropped > 1_800, refused) == (0, True, False)
        _, points = await store.read("snmp/ap", "client/39-7", "signal_dbm", START, START + 40 * 300)
        assert [point.at_s for point in points] == [START + 39 * 300], "no point of the series that had its place"
        assert (await store.read("snmp/ap", "client/customer", "signal_dbm", START, START + 40 * 300))[1]
    with opened(tmp_path) as store:
        assert store.names("snmp/ap") == kept
        with closing(sqlite3.connect(tmp_path / "series.db")) as con:
            assert con.execute("SELECT count(*) FROM block").fetchone()[0] <= 4


async def test_a_crowded_devices_living_series_stay_new_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "TARGET_SERIES_MOST", 2 * WIDTH)
    with opened(tmp_path) as store:
        names = [str(k) for k in range(300)]
        for n in range(5):
            await store.keep(stations(START + 300 * n, *names))
            assert set(store.names("snmp/ap")) == {f"client/{k}" for k in range(2 * WIDTH)}
        assert store.crowded() == {"snmp/ap": (0, True)}


async def test_all_devices_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "SERIES_MOST", 6 * WIDTH)
    with opened(tmp_path) as store:
        for n in range(30):
            await store.keep(stations(START + 300 * n, *(f"{n}-{k}" for k in range(60))))
            await store.flush(START + 300 * n)
        await store.keep(reading(START + 9000, 0))
        assert set(store.names("snmp/a")) == {"port/1", "voltage/in"}, "another device has room"
        assert set(store.crowded()) == {"snmp/ap"}


class FullDisk:
    """Refuses what is written as long as it is full."""

    error: sqlite3.Error | None = sqlite3.OperationalError("database or disk is full")

    def __init__(self, store: SeriesStore) -> None:
        self.write = store._file.write

    def __call__(self, *args: object) -> None:
        if self.error is not None:
            raise self.error
        self.write(*args)  # type: ignore[arg-type]  # passed through


async def test_a_full_disk_loses_nothing_that_has_room_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted()
    with opened(tmp_path, noted) as store:
        disk = FullDisk(store)
        monkeypatch.setattr(store._file, "write", disk)
        await hour(store)
        assert noted.problem == "series.db cannot be written: database or disk is full"
        assert len((await store.read("snmp/a", "voltage/in", "value", START, START + 3600))[1]) == 12
        disk.error = None
        await store.flush(None)
        assert noted.problem == ""
        assert len((await store.read("snmp/a", "voltage/in", "value", START, START + 3600))[1]) == 12
        disk.error = sqlite3.DatabaseError("database disk image is malformed")
        await store.keep(reading(START + 4000, 0, 5.0))
        await store.flush(None)
        assert (tmp_path / "series.db.aside").exists()
        disk.error = None
        await store.flush(None)
        assert noted.problem == ""
        _, points = await store.read("snmp/a", "voltage/in", "value", START, START + 4200)
        assert [point.mean for point in points] == [5.0], "the damaged file's are gone with it"
