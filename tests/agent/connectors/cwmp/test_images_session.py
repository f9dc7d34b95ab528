"""Firmware images: what is offered, to whom, for how long; over a stream in memory, as an HTTP server serves them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import h11
import pytest
import trio
import trio.testing

from agent.connectors.base import NotSentError
from agent.connectors.cwmp.images import Image
from agent.connectors.cwmp.images_session import CHUNK_BYTES, OFFER_S, Images
from agent.cpe_model.effects import FIRMWARE, WITHIN_S
from agent.cpe_model.manager import ImageFile
from agent.runtime.http_wire import GONE, Wire, WireLimits
from tests.builders.clock import FakeClock
from tests.builders.connector import commit
from tests.builders.expect import expect, present

BASE = "http://acs:7547"
CONTENT = b"version=2.0\n" + bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    (made / "fw-2.0.bin").write_bytes(CONTENT)
    (tmp_path / "secret").write_text("not for CPE")
    return made


@pytest.fixture
def images(folder: Path) -> Images:
    return Images(folder, BASE, FakeClock(), commit)


async def offered(images: Images) -> str:
    """Offer the image, and return its path."""
    image = await images.offer({"file": "fw-2.0.bin", "sha256": SHA256, "version": "2.0"})
    return image.url.removeprefix(BASE)


async def fetch(images: Images, path: str, meanwhile: Callable[[], None] | None = None) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the body was whole. `meanwhile`: happens once its first bytes are there."""
    near, far = trio.testing.lockstep_stream_pair()
    got = bytearray()

    async def serve() -> None:
        wire = Wire(far, WireLimits())
        head = present(await wire.head())
        try:
            await images.serve(head.target.decode(), wire)
        except GONE:
            pass
        finally:
            await far.aclose()

    http = h11.Connection(h11.CLIENT)
    status, whole = 0, False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await near.send_all(http.send(h11.Request(method="GET", target=path, headers=[("Host", "acs")])) or b"")
        await near.send_all(http.send(h11.EndOfMessage()) or b"")
        while not whole:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError:
                break
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await near.receive_some(10_000)))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                got += event.data
                if meanwhile is not None:
                    meanwhile()
                    meanwhile = None
            elif isinstance(event, h11.EndOfMessage):
                whole = True
            else:
                break
        await near.aclose()
    return status, bytes(got), whole


async def test_an_image_that_is_offered_is_fetched(images: Images) -> None:
    assert await images.look("fw-2.0.bin") == ImageFile("fw-2.0.bin", len(CONTENT), SHA256)
    image = expect(Image, await images.offer({"file": "fw-2.0.bin", "sha256": SHA256}))
    assert image.size_bytes == len(CONTENT)
    assert image.url.startswith(f"{BASE}/files/")
    assert image.url.endswith("/fw-2.0.bin")
    for _ in range(2):  # a CPE whose download broke off may begin again
        assert await fetch(images, image.url.removeprefix(BASE)) == (200, CONTENT, True)


async def test_an_empty_file(folder: Path, images: Images) -> None:
    (folder / "empty").touch()
    image = await images.offer({"file": "empty", "sha256": hashlib.sha256().hexdigest()})
    assert await fetch(images, image.url.removeprefix(BASE)) == (200, b"", True)


async def test_every_offer_has_a_name_of_its_own_that_nobody_guesses(images: Images) -> None:
    paths = {await offered(images) for _ in range(20)}
    assert len(paths) == 20
    assert all(len(path.split("/")[2]) >= 16 for path in paths)


@pytest.mark.parametrize(
    "wrong",
    [
        "/files/",
        "/files/fw-2.0.bin",
        "/files//fw-2.0.bin",
        "/files/{token}",
        "/files/{token}/",
        "/files/{token}/other.bin",
        "/files/{token}/fw-2.0.bin/",
        "/files/{token}/fw-2.0.bin?x",
        "/files/{token}x/fw-2.0.bin",
        "/files/{token}/../secret",
        "/files/{token}/..%2Fsecret",
        "/files/{token}/%66w-2.0.bin",
        "/files/../fw-2.0.bin",
    ],
)
async def test_nothing_else_is_served(images: Images, wrong: str) -> None:
    token = (await offered(images)).split("/")[2]
    assert await fetch(images, wrong.format(token=token)) == (404, b"", True)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret", "/etc/passwd", ".hidden", "a/b", "a\\b", "a\n", "a b", "ü", "a" * 101, "-rf"]
)
async def test_names_that_are_none(images: Images, name: str) -> None:
    with pytest.raises(NotSentError) as caught:
        await images.look(name)
    assert caught.value.reason == "no-file"
    assert "not for CPE" not in str(caught.value)


async def test_what_is_not_there_or_no_file(folder: Path, images: Images) -> None:
    (folder / "folder").mkdir()
    for name in ("none.bin", "folder"):
        with pytest.raises(NotSentError, match="cannot be read") as caught:
            await images.look(name)
        assert caught.value.reason == "no-file"
    with pytest.raises(NotSentError) as caught:
        await Images(None, BASE, FakeClock(), commit).look("fw-2.0.bin")
    assert caught.value.reason == "no-files"


async def test_another_file_than_was_previewed_is_not_offered(folder: Path, images: Images) -> None:
    (folder / "fw-2.0.bin").write_bytes(CONTENT + b"!")
    with pytest.raises(NotSentError, match="another file since the preview") as caught:
        await offered(images)
    assert caught.value.reason == "drifted"


async def test_an_offer_ends(images: Images, autojump_clock: trio.testing.MockClock) -> None:
    path = await offered(images)
    await trio.sleep(OFFER_S - 1)
    assert (await fetch(images, path))[0] == 200
    await trio.sleep(2)
    assert (await fetch(images, path))[0] == 404


async def test_an_offer_ends_before_its_change(folder: Path) -> None:
    clock = FakeClock()
    images = Images(folder, BASE, clock, commit)
    status, body, whole = await fetch(images, await offered(images), lambda: clock.pass_s(WITHIN_S[FIRMWARE]))
    assert (status, whole, len(body) < len(CONTENT)) == (200, False, True)


async def test_an_offer_outlives_the_process(folder: Path, images: Images) -> None:
    path = await offered(images)
    assert await fetch(Images(folder, BASE, FakeClock(), commit), path) == (200, CONTENT, True)

    def another(label: str, value: str) -> str:
        return commit(f"another agent {label}", value)

    for other in (Images(folder, BASE, FakeClock(), another), Images(None, BASE, FakeClock(), commit)):
        assert (await fetch(other, path))[0] == 404


async def test_an_offer_cannot_be_made_longer_or_for_another_file(folder: Path, images: Images) -> None:
    (folder / "other.bin").write_bytes(CONTENT)
    until, number, mac = (await offered(images)).split("/")[2].split("-")
    later = f"{int(until, 16) + 3600:x}"
    for wrong in (
        f"/files/{later}-{number}-{mac}/fw-2.0.bin",
        f"/files/{until}-{number[::-1]}-{mac}/fw-2.0.bin",
        f"/files/{until}-{number}-{mac[:-1]}/fw-2.0.bin",
        f"/files/{until}-{number}-{mac}/other.bin",
        f"/files/{'f' * 12}-{number}-{mac}/fw-2.0.bin",
    ):
        assert await fetch(images, wrong) == (404, b"", True)


async def test_a_file_that_is_another_since_the_offer_is_not_served(folder: Path, images: Images) -> None:
    """A CPE fetches its image later: it must be the previewed one."""
    path = await offered(images)
    file = folder / "fw-2.0.bin"
    before = file.stat()
    file.write_bytes(CONTENT[:-1] + b"!")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await fetch(images, path) == (404, b"", True)


async def test_a_file_that_is_replaced_or_removed_since_the_offer(folder: Path, images: Images) -> None:
    path = await offered(images)
    (folder / "new").write_bytes(CONTENT)
    (folder / "new").rename(folder / "fw-2.0.bin")
    assert (await fetch(images, path))[0] == 404
    again = await offered(images)
    assert (await fetch(images, again))[0] == 200
    (folder / "fw-2.0.bin").unlink()
    assert (await fetch(images, again))[0] == 404


async def test_a_file_that_is_removed_while_it_is_served(folder: Path, images: Images) -> None:
    path = await offered(images)
    status, body, whole = await fetch(images, path, (folder / "fw-2.0.bin").unlink)
    assert status == 200
    assert CONTENT.startswith(body)
    assert whole is (body == CONTENT)
    assert (await fetch(images, path))[0] == 404


@pytest.mark.parametrize("how", ["cut", "written"])
async def test_a_file_that_changes_while_it_is_served_breaks_off(folder: Path, images: Images, how: str) -> None:
    """Half of one image and half of another would be the end of a CPE; its Content-Length says that this is not all."""
    path = await offered(images)

    def change() -> None:
        with (folder / "fw-2.0.bin").open("r+b") as file:
            if how == "cut":
                file.truncate(CHUNK_BYTES + 1)
            else:
                file.seek(CHUNK_BYTES * 3)
                file.write(b"!!!!")

    status, body, whole = await fetch(images, path, change)
    assert (status, whole) == (200, False)
    assert CONTENT.startswith(body)


async def test_who_hangs_up_while_it_is_served(images: Images) -> None:
    path = await offered(images)
    near, far = trio.testing.memory_stream_pair()
    await near.send_all(f"GET {path} HTTP/1.1\r\nHost: acs\r\n\r\n".encode())
    wire = Wire(far, WireLimits())
    await wire.head()
    await near.aclose()
    with pytest.raises(GONE):
        await images.serve(path, wire)
    assert (await fetch(images, path))[0] == 200
