"""Serving firmware images to CPE from a folder of the operator's (`images`).

Nothing is remembered of an offer: its name in the URL carries until when it holds and a MAC over the file as it was
looked at. So a CPE that was told to fetch an image gets it after the agent was started anew, and only that image.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import h11
import trio

from agent.connectors.base import NotSentError
from agent.connectors.cwmp.images import PATH, Image
from agent.connectors.cwmp.reasons import CwmpReason
from agent.cpe_model.effects import FIRMWARE, WITHIN_S
from agent.cpe_model.manager import ImageFile
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from agent.runtime.http_wire import Wire
from trust import chance

OFFER_S: Final = 0.75 * WITHIN_S[FIRMWARE]
"""How long an image can be fetched after it was offered. The rest is for writing and booting it: a CPE that fetched it
later would run it after its change was said to be not applied.
"""
CHUNK_BYTES: Final = 65_536
FILE_BYTES: Final = 512 << 20
_TOKEN: Final = re.compile(r"([0-9a-f]{1,12})-([0-9a-f]{16})-([0-9a-f]{32})", re.ASCII)
"""Until when, unix seconds; a number of its own; the MAC."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


_Stamp = tuple[int, int, int, int, int]
"""Tells that a file is not the one that was looked at, without reading it again: see `_stamp`."""
_SIZE: Final = 2


class Images:
    """The folder, and the offered files."""

    def __init__(self, folder: Path | None, base_url: str, clock: Clock, commit: Callable[[str, str], str]) -> None:
        """Serve a folder, None: no images.

        Args:
            folder: of the operator's.
            base_url: how a CPE reaches the ACS, without a path.
            clock: of how long an offer holds.
            commit: the vault's keyed commitment, (label, value) -> hex digits: the MAC.
        """
        self._folder, self.base_url, self._clock, self._commit = folder, base_url, clock, commit

    async def look(self, name: str) -> ImageFile:
        """Return the present version of a file.

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
                        raise NotSentError(f"{name}: expected at most {FILE_BYTES} bytes", reason=CwmpReason.BAD_FILE)
        except OSError as err:
            raise NotSentError(f"{name}: cannot be read: {err.strerror}", reason=CwmpReason.NO_FILE) from err
        return ImageFile(name, size, digest.hexdigest()), stamp

    def _path(self, name: str) -> Path:
        if self._folder is None:
            raise NotSentError("this agent serves no images ([cwmp] files)", reason=CwmpReason.NO_FILES)
        if not _NAME.fullmatch(name):
            raise NotSentError("expected a file's name of letters, digits, . _ and -", reason=CwmpReason.NO_FILE)
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
            raise NotSentError(f"{found.name} is another file since the preview", reason=TargetReason.DRIFTED)
        terms = f"{int(self._clock.wall_s() + OFFER_S):x}-{chance.token_hex(8)}"
        token = f"{terms}-{self._mac(found.name, stamp, terms)}"
        return Image(f"{self.base_url}{PATH}{token}/{found.name}", found.size_bytes)

    def _mac(self, name: str, stamp: _Stamp, terms: str) -> str:
        return self._commit(f"cwmp/image/{name}", f"{terms} {stamp}")[:32]

    def _offered(self, target: str) -> tuple[Path, str, str] | None:
        """Return the file that a target names, the terms of its offer, and their MAC; None: that is no offer."""
        token, _, name = target.removeprefix(PATH).partition("/")
        found = _TOKEN.fullmatch(token)
        if found is None or not _NAME.fullmatch(name) or int(found[1], 16) <= self._clock.wall_s():
            return None
        return (self._folder / name, f"{found[1]}-{found[2]}", found[3]) if self._folder is not None else None

    async def serve(self, target: str, wire: Wire) -> None:
        """Answer a GET: the image, or 404, also where the file is no longer the one that was offered."""
        offer = self._offered(target)
        if offer is None:
            await wire.answer(404, [], close=True)
            return
        path, terms, mac = offer
        left = 0
        try:
            async with await trio.open_file(path, "rb") as file:
                stamp = _stamp(file.fileno())
                if not hmac.compare_digest(self._mac(path.name, stamp, terms), mac):
                    await wire.answer(404, [], close=True)
                    return
                left = stamp[_SIZE]
                headers = [("content-type", "application/octet-stream"), ("content-length", str(left))]
                await wire.send(h11.Response(status_code=200, headers=headers))
                while left and (chunk := await file.read(min(CHUNK_BYTES, left))):
                    if _stamp(file.fileno()) != stamp or self._offered(target) is None:
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
