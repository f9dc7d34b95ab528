"""The file of series: hours and days, a bound, damage, and what outlives a restart."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.polling.series_rows import Bucket, one_of
from agent.polling.series_sql import DAY_S, SEEN_DAYS, VERSION, BlockRow, BucketRow, SeriesFile

DAY = 20_000
START = DAY * DAY_S
MIB = 1 << 20


@contextmanager
def opened(folder: Path, bytes_most: int = 64 * MIB) -> Iterator[SeriesFile]:
    with closing(SeriesFile(folder / "series.db", bytes_most)) as file:
        yield file


def bucket(*values: float) -> Bucket:
    means = array("f", values)
    return Bucket(1, means, means, means)


def block(number: int, day: int = DAY) -> BlockRow:
    return BlockRow(number, "snmp/a", (("port/1", "in_bps"), ("port/1", "out_bps")), day)


def write_days(file: SeriesFile, days: int) -> None:
    """Write five minutes whose value is the hour of the day."""
    file.write([block(1)], [], START)
    for at_s in range(START, START + days * DAY_S, 300):
        file.write([], [BucketRow(1, at_s, bucket(at_s % DAY_S // 3600, 1.0))], at_s + 320)
    file.write([], [], START + days * DAY_S + 900)


def values(file: SeriesFile, since_s: int, until_s: int, most: int = 400) -> tuple[int, list[object]]:
    step, rows = file.read(1, since_s, until_s, most)
    return step, [one_of(found, 0) for _, found in rows]


def test_hours_and_days_are_made_of_what_is_finer(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        write_days(file, 3)
        assert values(file, START, START + 3600) == (300, [(0.0, 0.0, 0.0)] * 12)
        step, hours = values(file, START, START + 3 * DAY_S)
        assert (step, hours) == (3600, [(float(h), float(h), float(h)) for _ in range(3) for h in range(24)])
        assert values(file, START, START + 3 * DAY_S, 10) == (DAY_S, [(0.0, 11.5, 23.0)] * 3)
        assert file.read(2, START, START + DAY_S, 400) == (300, [])


def test_an_hour_that_is_not_over_is_made_for_the_answer(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        for n in range(6):
            file.write([], [BucketRow(1, START + 300 * n, bucket(n))], START + 300 * n + 320)
        assert values(file, START, START + 7200, 10) == (3600, [(0.0, 2.5, 5.0)])
        assert values(file, START, START + DAY_S, 2) == (DAY_S, [(0.0, 2.5, 5.0)])


def test_a_pause_of_days_is_caught_up(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        file.write([], [BucketRow(1, START, bucket(1.0))], START + 320)
    with opened(tmp_path) as file:
        later = START + 30 * DAY_S
        file.write([], [BucketRow(1, later, bucket(2.0))], later + DAY_S + 900)
        assert values(file, START, later + 2 * DAY_S, 40) == (DAY_S, [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0)])


def test_a_bucket_of_before_a_restart_is_merged(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        file.write([], [BucketRow(1, START, bucket(1.0))], START)
    with opened(tmp_path) as file:
        file.write([], [BucketRow(1, START, bucket(3.0))], START)
        assert values(file, START, START + 300) == (300, [(1.0, 2.0, 3.0)])


def test_the_oldest_go_first_and_the_size_is_bounded(tmp_path: Path) -> None:
    with opened(tmp_path, MIB) as file:
        for n in range(2000):
            at_s = START + 300 * n
            noise = [float(hash((n, slot)) % 1_000_000) for slot in range(128)]
            file.write([], [BucketRow(1, at_s, bucket(*noise)), BucketRow(2, at_s, bucket(*noise))], at_s + 320)
        path = file.path
        assert path.stat().st_size <= MIB + 64 * 1024
        _, fine = file.read(1, START + 300 * 1990, START + 300 * 2000, 400)
        assert len(fine) == 10
        step, rows = file.read(1, START, START + 300 * 2000, 4000)
        assert step == 86_400 or rows[0][0] > START
    with opened(tmp_path, 64 * 1024) as file:
        file.write([], [], START)
        assert len(file.read(1, START, START + 300 * 2000, 400)[1]) < 10


def test_a_file_that_is_none_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "series.db").write_bytes(b"no database" * 1000)
    with opened(tmp_path) as file:
        file.write([block(1)], [], START)
        assert file.blocks(DAY) == [block(1)]
    assert (tmp_path / "series.db.aside").read_bytes().startswith(b"no database")
    with closing(sqlite3.connect(tmp_path / "series.db")) as con:
        con.execute(f"PRAGMA user_version = {VERSION + 1}")
    with opened(tmp_path) as file:
        assert file.blocks(DAY) == []
        file.write([block(7)], [], START)
        file.begin_anew(ValueError("damaged"))
        assert file.blocks(DAY) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        SeriesFile(tmp_path / "nowhere" / "series.db", MIB)


def test_blocks_that_nobody_saw_for_long_are_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        old, young, last = block(1, DAY - SEEN_DAYS - 1), block(2), block(3, 1)
        file.write([old, young, last], [], START)
        assert file.blocks(DAY) == [young, last], "the last number is never given again"
