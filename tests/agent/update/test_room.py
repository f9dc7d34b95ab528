"""A disk that is full at each step of a fetch and of a preparation: a real one, of as many pages as the step needs."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.update import repository_session, room
from agent.update.errors import HostError
from agent.update.offers import Package
from agent.update.repository_session import fetch, prepare
from tests.agent.update.small_disk import SmallDisk, with_small_disk
from tests.builders.update import HERE, NEXT, Shop

TOLD = re.compile(
    r"(?P<path>/\S+): the disk is full: .* needs [0-9,]+ KiB, [0-9,]+ KiB are free, ([0-9,]+ KiB are missing|a quota)"
)
HALF = re.compile(r"part$|\.new|\.before|/tmp")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(repository_session, "DOCUMENTS_BYTES", 0)  # 4 MiB would be asked for at each of 1,024 pages
    made = Shop(tmp_path / "shop")
    made.offer(NEXT)
    return made


def full_at_each_page(
    disk: SmallDisk, work: Callable[[], object], whole: Callable[[], object], *, taken_meanwhile: bool
) -> int:
    """Run `work` with 0, 1, 2… free pages until it succeeds; return how often it failed.

    `whole`: what must go on after each failure, once there is room; `taken_meanwhile`: the disk seems to have room for
    everything until something is written.
    """
    for pages in range(1000):
        disk.leave(pages)
        with pytest.MonkeyPatch.context() as patch:
            if taken_meanwhile:
                patch.setattr(room, "require_room", lambda *_: None)
            try:
                work()
            except HostError as err:
                said = str(err)
            else:
                return pages
        told = TOLD.match(said)
        assert told, said
        assert told["path"].startswith(str(disk.folder)), said
        disk.grow()
        left = [str(path.relative_to(disk.folder)) for path in disk.folder.rglob("*")]
        assert [path for path in left if HALF.search(path)] == []
        whole()
    raise AssertionError("it never succeeds")


@pytest.mark.parametrize("taken_meanwhile", [False, True])
def test_a_disk_that_is_full_at_each_step_of_a_fetch(taken_meanwhile: bool, shop: Shop, tmp_path: Path) -> None:
    def run(disk: SmallDisk) -> None:
        channel = replace(shop.channel(), folder=disk.folder / "fetched", applied=tmp_path / "elsewhere")
        assert fetch(channel, HERE, HERE.version) == HERE

        def whole() -> None:
            assert prepare(channel, HERE, HERE.version).offered == HERE

        failed = full_at_each_page(disk, lambda: fetch(channel, HERE), whole, taken_meanwhile=taken_meanwhile)
        assert failed > 3
        assert prepare(channel, HERE).offered == NEXT

    with_small_disk(tmp_path / "disk", run)


@pytest.mark.parametrize("taken_meanwhile", [False, True])
def test_a_disk_that_is_full_at_each_step_of_a_preparation(taken_meanwhile: bool, shop: Shop, tmp_path: Path) -> None:
    def run(disk: SmallDisk) -> None:
        fetched = shop.channel()
        fetch(fetched, HERE)
        channel = replace(fetched, applied=disk.folder / "applied")

        def whole() -> Package:
            return prepare(replace(fetched, applied=tmp_path / "elsewhere"), HERE).offered

        failed = full_at_each_page(disk, lambda: prepare(channel, HERE), whole, taken_meanwhile=taken_meanwhile)
        assert failed > 3
        names = sorted(path.name for path in channel.applied.rglob("*.deb"))
        assert names == ["ispagent_0.1.0_amd64.deb", "ispagent_0.2.0_amd64.deb"]

    with_small_disk(tmp_path / "disk", run)


def test_what_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda _: 3 << 20)
    with pytest.raises(HostError) as told:
        room.require_room(tmp_path / "not-there", 5 << 20, "a copy")
    assert str(told.value) == (
        f"{tmp_path}/not-there: the disk is full: a copy needs 5,120 KiB, 3,072 KiB are free, 2,048 KiB are missing;"
        " nothing was changed"
    )
    full = pytest.raises(HostError, match="needs 1 KiB, 3,072 KiB are free, a quota, or another program, takes it")
    with full, room.room(tmp_path, 10, "it"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    with pytest.raises(OSError, match="other"), room.room(tmp_path, 10, "it"):
        raise OSError(errno.EIO, "other")


def test_what_is_free_where_a_folder_is_going_to_be(tmp_path: Path) -> None:
    assert room.free_bytes(tmp_path / "a" / "b") > 0
