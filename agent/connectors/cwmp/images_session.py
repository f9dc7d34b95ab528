"""Serving firmware images to CPE from a folder of the operator's (`images`)."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h11
import trio

from agent.connectors.base import NotSentError
from agent.connectors.cwmp.images import PATH, Image, ImageFile
from agent.runtime.clock import Clock
from agent.runtime.http_wire import Wire

OFFER_S: Final = 24 * 3600.0
"""How long an image can be fetched after it was offered: a CPE may begin when nobody is home."""
OFFERS: Final = 10_000
CHUNK_BYTES: Final = 65_536
FILE_BYTES: Final = 512 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


_Stamp = tuple[int, int, int, int, int]
"""What tells that a file is not the one that was looked at, without reading it again: see `_stamp`."""


@dataclass(frozen=True, slots=True)
class _Offer:
    path: Path
    size_bytes: int
    stamp: _Stamp
    until_s: float


class Images:
    """The folder, and what is offered of it."""

    def __init__(self, folder: Path | None, base_url: str, clock: Clock) -> None:
        """`folder` None: no images. `base_url`: how a CPE reaches the ACS, without a path."""
        self._folder, self.base_url, self._clock = folder, base_url, clock
        self._offers: dict[str, _Offer] = {}

    async def look(self, name: str) -> ImageFile:
        """Return what a file is now.

        Raises:
            NotSentError: there is no such file, or none is served.
        """
        return (await self._look(name))[0]

    async def _look(self, name: str) -> tuple[ImageFile, _Stamp]:
        path = self._path(name)
        digest, size = hashlib.sha256(), 0
        try:
            async with await trio.open_file(path, "rb") as file:
                stamp = _stamp(file.fileno())  # before it is read: what is written meanwhile changes it
                while chunk := await file.read(CHUNK_BYTES * 16):
                    digest.update(chunk)
                    size += len(chunk)
                    if size > FILE_BYTES:
                        raise NotSentError(f"{name}: expected at most {FILE_BYTES} bytes", reason="bad-file")
        except OSError as err:
            raise NotSentError(f"{name}: cannot be read: {err.strerror}", reason="no-file") from err
        return ImageFile(name, size, digest.hexdigest()), stamp

    def _path(self, name: str) -> Path:
        if self._folder is None:
            raise NotSentError("this agent serves no images ([cwmp] files)", reason="no-files")
        if not _NAME.fullmatch(name):
            raise NotSentError("expected a file's name of letters, digits, . _ and -", reason="no-file")
        return self._folder / name

    async def offer(self, args: Mapping[str, str]) -> Image:
        """Make an effect's image ready to be fetched.

        Args:
            args: `file` and `sha256`, as previewed.

        Raises:
            NotSentError: it is not that file any more.
        """
        found, stamp = await self._look(args["file"])
        if found.sha256 != args["sha256"]:
            raise NotSentError(f"{found.name} is another file since the preview", reason="drifted")
        now = self._clock.boot_s()
        self._offers = {token: o for token, o in self._offers.items() if o.until_s > now}
        if len(self._offers) >= OFFERS:
            raise NotSentError(f"more than {OFFERS} images are offered", reason="too-many")
        token = secrets.token_urlsafe(12)
        self._offers[token] = _Offer(self._path(found.name), found.size_bytes, stamp, now + OFFER_S)
        return Image(f"{self.base_url}{PATH}{token}/{found.name}", found.size_bytes)

    async def serve(self, target: str, wire: Wire) -> None:
        """Answer a GET: the image, or 404, also where the file is no longer the one that was offered."""
        token, _, name = target.removeprefix(PATH).partition("/")
        offer = self._offers.get(token)
        if offer is None or offer.path.name != name or offer.until_s <= self._clock.boot_s():
            await wire.answer(404, [], close=True)
            return
        headers = [("content-type", "application/octet-stream"), ("content-length", str(offer.size_bytes))]
        left = offer.size_bytes
        try:
            async with await trio.open_file(offer.path, "rb") as file:
                if _stamp(file.fileno()) != offer.stamp:
                    await wire.answer(404, [], close=True)
                    return
                await wire.send(h11.Response(status_code=200, headers=headers))
                while left and (chunk := await file.read(min(CHUNK_BYTES, left))):
                    if _stamp(file.fileno()) != offer.stamp:
                        return  # an image that breaks off is no image
                    await wire.send(h11.Data(data=chunk))
                    left -= len(chunk)
        except OSError:
            if wire.may_answer:
                await wire.answer(404, [], close=True)
            return
        if not left:
            await wire.send(h11.EndOfMessage())


def _stamp(fd: int) -> _Stamp:
    """Return which file is open, and when it was changed: whoever writes it cannot set the last of these."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
